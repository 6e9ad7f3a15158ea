//! The census: every SPN of a forest, from one global catalog, counted while it streams by. No entry is kept.

use super::{
    conversation::{Outcome, Trouble, Wire},
    directory::{
        Fault, MOST_BYTES, MOST_EMPTY_PAGES, MOST_RANGES, Range, Stop, after, in_time, next_cookie, nobody_logs_on,
        strange, unreadable,
    },
    fence::fenced,
    message, refusal,
    session::{self, Session},
    text,
};
use exchange_preflight_checks::{
    facts::{
        census::{Full, MOST_SPNS, SpnCensus, SpnScan, SpnScanned},
        search::result,
    },
    model::{
        ask::{Endpoint, Facts},
        evidence::{Reason, Stage},
    },
};
use lber::structure::StructureTag;
use ldap3::{
    Ldap, LdapResult, Scope,
    controls::{MakeCritical as _, PagedResults, RawControl},
};
use std::{
    mem,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::spawn_blocking,
    time::{Instant, timeout_at},
};
use tracing::debug;

/// What a domain controller shows at once (`MaxPageSize`, KB 315071).
const PAGE: i32 = 1000;

/// How long all of it may take. A million objects take seconds over a fast line, and an hour is more than anybody waits.
const LONGEST: Duration = Duration::from_mins(30);

/// To put millions in order.
const SORTING: Duration = Duration::from_mins(1);

const SPN: &str = SpnScan::ATTRIBUTES[0];
const GUID: &str = SpnScan::ATTRIBUTES[1];

/// Counts, and says what was counted until the end, however it came.
pub(super) async fn scan(wire: &Wire, to: SocketAddr, endpoint: &Endpoint, question: &SpnScan) -> Outcome {
    let Some(credential) = &wire.credential else { return nobody_logs_on().into() };
    let mut slot = wire.scans.slot(endpoint).await;
    if let Some(closed) = credential.gate.closed() {
        return closed.into();
    }
    let session = match slot.session(wire, credential, to, &endpoint.host).await {
        Ok(session) => session,
        Err(trouble) => return trouble.into(),
    };
    debug!(%to, filter = SpnScan::FILTER, "census");
    let counted = Arc::new(Mutex::new(Counted::new(question)));
    let ended = run(wire, session, &counted).await;
    let Counted { census, nameless, mut result } = mem::replace(&mut *lock(&counted), Counted::new(question));
    let trouble = match ended {
        Ok(()) => None,
        Err(Stop::Refused(trouble)) => Some(trouble),
        // A page may have ended well, and the census did not.
        Err(Stop::Enough(trouble) | Stop::Broken(trouble)) => {
            result = None;
            Some(trouble)
        }
    };
    // Nobody asks here again.
    slot.close();
    let objects = census.objects();
    debug!(%to, objects, result, trouble = ?trouble, "counted");
    let trouble = trouble.map(|trouble| after(objects, "objects", trouble));
    if objects == 0 && nameless == 0 && result.is_none() {
        return Outcome { facts: None, trouble };
    }
    // The runtime has one thread, on which the instants of other answers are taken.
    let scanned = spawn_blocking(move || SpnScanned { nameless, result, ..census.finish() }).await;
    let scanned = scanned.expect("numbers are put in order without panicking");
    Outcome { facts: Some(Facts::SpnScan(scanned)), trouble }
}

/// How long all of it may take; only what hangs unnoticed comes so far.
pub(super) fn bound(wire: &Wire) -> Duration {
    session::opening(wire) + LONGEST + SORTING + wire.budgets.reply
}

async fn run(wire: &Wire, session: &Session, counted: &Arc<Mutex<Counted>>) -> Result<(), Stop> {
    let deadline = Instant::now() + LONGEST;
    let scanning = Scanning {
        ldap: session.ldap.clone(),
        left: Arc::clone(&session.left),
        patience: wire.budgets.reply,
        counted: Arc::clone(counted),
    };
    let lost =
        || session.broken().unwrap_or_else(|| Trouble::not_the_protocol("an LDAP message that says nothing sensible"));
    match timeout_at(deadline, fenced(scanning.all_pages())).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(Fault::Stop(stop)))) => Err(stop),
        Ok(Ok(Err(Fault::Lost)) | Err(_)) => Err(Stop::Broken(lost())),
        Err(_) => {
            let why = format!("it takes longer than {} minutes", LONGEST.as_secs() / 60);
            Err(Stop::Enough(Trouble::new(Stage::Reply, Reason::Local(why))))
        }
    }
}

/// What was counted so far; it is kept however the census ends.
struct Counted {
    census: SpnCensus,
    /// Objects without an objectGUID.
    nameless: u64,
    result: Option<u32>,
}

impl Counted {
    fn new(question: &SpnScan) -> Self {
        Self { census: SpnCensus::new(question), nameless: 0, result: None }
    }
}

fn lock(counted: &Mutex<Counted>) -> MutexGuard<'_, Counted> {
    counted.lock().expect("nothing panics while it holds this lock")
}

/// A census under way, on its own side of the fence.
struct Scanning {
    ldap: Ldap,
    /// What the server may still send.
    left: Arc<AtomicUsize>,
    /// How long the server may take for one message.
    patience: Duration,
    counted: Arc<Mutex<Counted>>,
}

/// One page.
struct Page {
    result: LdapResult,
    /// The first object of which anything was counted.
    first: Option<[u8; 16]>,
    /// Objects of which there is more.
    unfinished: Vec<Rest>,
}

/// The rest of an object's SPNs.
struct Rest {
    dn: String,
    guid: [u8; 16],
    next: u32,
}

impl Scanning {
    async fn all_pages(mut self) -> Result<(), Fault> {
        let (mut cookie, mut before, mut empty) = (Vec::new(), None, 0);
        loop {
            let page = self.page(cookie).await?;
            let code = page.result.rc;
            lock(&self.counted).result = Some(code);
            for rest in page.unfinished {
                self.complete(rest).await?;
            }
            if code != result::SUCCESS {
                let words = Reason::ServerSaid(text::cut(&refusal::of_search(&page.result)));
                return Err(Stop::Refused(Trouble::new(Stage::Reply, words)).into());
            }
            cookie = next_cookie(&page.result).map_err(|()| strange("a cookie of pages that is none"))?;
            if cookie.is_empty() {
                return Ok(());
            }
            // Samba's cookie is the same for all pages, so that a page which is sent again is known by how it begins.
            if page.first.is_some() && page.first == before {
                return Err(strange("the same page of entries again").into());
            }
            empty = if page.first.is_none() { empty + 1 } else { 0 };
            if empty > MOST_EMPTY_PAGES {
                return Err(strange("empty pages without end").into());
            }
            before = page.first.or(before);
            lock(&self.counted).result = None;
        }
    }

    async fn page(&mut self, cookie: Vec<u8>) -> Result<Page, Fault> {
        // No server finds all before it shows the first: `MaxQueryDuration` is 120 s.
        const FIRST: u32 = 6;
        let attributes = SpnScan::ATTRIBUTES.to_vec();
        let paged: RawControl = PagedResults { size: PAGE, cookie }.critical().into();
        self.left.store(MOST_BYTES, Ordering::Relaxed);
        let mut stream = self
            .ldap
            .with_controls(vec![paged])
            .streaming_search("", Scope::Subtree, SpnScan::FILTER, attributes)
            .await?;
        let (mut first, mut unfinished, mut patience) = (None, Vec::new(), FIRST * self.patience);
        while let Some(item) = in_time(patience, stream.next()).await? {
            patience = self.patience;
            if item.is_ref() || item.is_intermediate() {
                continue;
            }
            let Object { dn, guid, spns, next } = Object::read(item.0).ok_or_else(unreadable)?;
            let mut counted = lock(&self.counted);
            match guid {
                Some(guid) if !spns.is_empty() => {
                    counted.census.push(&guid, spns.iter().map(Vec::as_slice)).map_err(|Full| full())?;
                    first = first.or(Some(guid));
                    unfinished.extend(next.map(|next| Rest { dn, guid, next }));
                }
                Some(_) => {}
                None => counted.nameless += 1,
            }
        }
        Ok(Page { result: stream.finish().await, first, unfinished })
    }

    /// Asks for the rest of an object's SPNs until there is none.
    async fn complete(&mut self, rest: Rest) -> Result<(), Fault> {
        let Rest { dn, guid, mut next } = rest;
        for _ in 0..MOST_RANGES {
            let wanted = vec![format!("{SPN};range={next}-*")];
            self.left.store(MOST_BYTES, Ordering::Relaxed);
            let mut stream = self.ldap.streaming_search(&dn, Scope::Base, "(objectClass=*)", wanted).await?;
            let mut came = None;
            while let Some(item) = in_time(self.patience, stream.next()).await? {
                if !item.is_ref() && !item.is_intermediate() {
                    came = Some(message::entry_of(item.0).ok_or_else(unreadable)?);
                }
            }
            let done = stream.finish().await;
            if done.rc != result::SUCCESS {
                let words = Reason::ServerSaid(text::cut(&refusal::of_search(&done)));
                return Err(Stop::Refused(Trouble::new(Stage::Reply, words)).into());
            }
            let range = came.into_iter().flat_map(|(_, attributes)| attributes).find_map(|(name, values)| {
                let range = Range::read(&name).filter(|range| range.plain.eq_ignore_ascii_case(SPN))?;
                Some((range, values))
            });
            // A range that stands still or jumps would never end, or hide what lies between.
            let Some((range, values)) = range.filter(|(range, values)| range.from == next && !values.is_empty()) else {
                return Err(strange("values in ranges that do not follow one another").into());
            };
            lock(&self.counted).census.more(&guid, values.iter().map(Vec::as_slice)).map_err(|Full| full())?;
            match range.next {
                None => return Ok(()),
                Some(following) if following > next => next = following,
                Some(_) => return Err(strange("values in ranges that do not follow one another").into()),
            }
        }
        let why = "it shows more SPNs of one object than are asked for".into();
        Err(Stop::Enough(Trouble::new(Stage::Reply, Reason::Local(why))).into())
    }
}

fn full() -> Stop {
    let why = format!("it shows more than {MOST_SPNS} SPNs");
    Stop::Enough(Trouble::new(Stage::Reply, Reason::Local(why)))
}

/// What is looked at of an entry.
struct Object {
    dn: String,
    /// None where it is not shown, or is none.
    guid: Option<[u8; 16]>,
    spns: Vec<Vec<u8>>,
    /// From which SPN on there is more.
    next: Option<u32>,
}

impl Object {
    fn read(entry: StructureTag) -> Option<Self> {
        let (dn, attributes) = message::entry_of(entry)?;
        let mut object = Self { dn, guid: None, spns: Vec::new(), next: None };
        for (name, values) in attributes {
            if name.eq_ignore_ascii_case(GUID) {
                object.guid = values.into_iter().next().and_then(|guid| guid.try_into().ok());
            } else if name.eq_ignore_ascii_case(SPN) {
                object.spns.extend(values);
            } else if let Some(range) = Range::read(&name).filter(|range| range.plain.eq_ignore_ascii_case(SPN)) {
                // Active Directory sends it beside an empty one of its plain name.
                object.spns.extend(values);
                object.next = range.next;
            }
        }
        Some(object)
    }
}
