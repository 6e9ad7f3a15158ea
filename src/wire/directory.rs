//! Searches by somebody who has logged on (RFC 4511 section 4.5): page by page (RFC 2696), with all values of long attributes
//! (MS-ADTS section 3.1.1.3.1.3.3), and never to another server than the one that was asked.

use super::{
    conversation::{Outcome, Trouble, Wire},
    fence::fenced,
    frame::{self, Frame},
    message, refusal,
    session::{self, Session},
    text,
};
use exchange_preflight_checks::{
    facts::{
        net::LDAP_PORT,
        search::{DirectoryEntries, DirectorySearch, Entry, SearchScope, Value, result},
        tls::LDAPS_PORT,
    },
    model::{
        ask::{Endpoint, Facts},
        evidence::{Reason, Stage},
    },
};
use lber::parse::parse_tag;
use ldap3::{
    Ldap, LdapError, LdapResult, Scope,
    controls::{MakeCritical as _, PagedResults, RawControl},
};
use std::{
    collections::{BTreeMap, HashSet},
    future::Future,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, atomic::Ordering},
    time::Duration,
};
use tokio::time::timeout;
use tracing::debug;

/// Half of what a domain controller shows at once (`MaxPageSize`, KB 315071).
const PAGE: i32 = 500;

/// So many pages of nothing may follow one another, while the server walks an index.
pub(super) const MOST_EMPTY_PAGES: usize = 20;

/// Estates have hundreds of mail servers and connectors, not tens of thousands.
const MOST_ENTRIES: usize = 20_000;

/// What one search may send, and what it may take in memory, where a value of one byte takes sixty: what a hostile server
/// makes of all searches of a run stays within a few tens of MiB.
pub(super) const MOST_BYTES: usize = 16 * 1024 * 1024;
const MOST_IN_ALL: usize = 24 * 1024 * 1024;

/// The rest of an attribute is asked for so many times: 1,500 values at a time.
pub(super) const MOST_RANGES: usize = 100;

/// Searches, and says what was found until the end, however it came.
pub(super) async fn search(wire: &Wire, to: SocketAddr, endpoint: &Endpoint, question: &DirectorySearch) -> Outcome {
    let Some(credential) = &wire.credential else { return nobody_logs_on().into() };
    let mut slot = wire.sessions.slot(endpoint).await;
    if let Some(closed) = credential.gate.closed() {
        return closed.into();
    }
    let room = MOST_IN_ALL.saturating_sub(wire.found.load(Ordering::Relaxed)).min(MOST_BYTES);
    if room == 0 {
        let why = format!("this run has found {} MiB in directories already", MOST_IN_ALL >> 20);
        return Trouble::new(Stage::Reply, Reason::Local(why)).into();
    }
    let session = match slot.session(wire, credential, to, &endpoint.host).await {
        Ok(session) => session,
        Err(trouble) => return trouble.into(),
    };
    debug!(%to, base = question.base, filter = question.filter, "search");
    session.allow(MOST_BYTES);
    let found = Arc::new(Mutex::new(Found { room, ..Found::default() }));
    let ended = run(wire, session, to, question, &found).await;
    let mut found = std::mem::take(&mut *lock(&found));
    wire.found.fetch_add(room - found.room, Ordering::Relaxed);
    let trouble = match ended {
        Ok(()) => None,
        Err(Stop::Refused(trouble)) => Some(trouble),
        // A page may have ended well, and the search did not.
        Err(Stop::Enough(trouble)) => {
            found.entries.result = None;
            slot.close();
            Some(trouble)
        }
        Err(Stop::Broken(trouble)) => {
            found.entries.result = None;
            slot.fail(trouble.clone());
            Some(trouble)
        }
    };
    if let Some(session) = slot.open() {
        // Nothing is to come while nobody asks.
        session.allow(0);
    }
    let count = found.entries.entries.len();
    debug!(%to, entries = count, result = found.entries.result, trouble = ?trouble, "searched");
    let is_empty = found.entries == DirectoryEntries::default();
    let trouble = trouble.map(|trouble| after(count, "entries", trouble));
    found.entries.entries.shrink_to_fit();
    Outcome { facts: (!is_empty).then_some(Facts::DirectorySearch(found.entries)), trouble }
}

pub(super) fn nobody_logs_on() -> Trouble {
    let why = "nobody logs on; state --user or --logon ticket";
    Trouble::new(Stage::Bind, Reason::Local(why.into()))
}

/// What was found before it went wrong is said first.
pub(super) fn after(count: usize, what: &str, Trouble { stage, reason }: Trouble) -> Trouble {
    let behind = |words: String| match count {
        0 => words,
        _ => text::cut(&format!("only the first {count} {what}: {words}")),
    };
    let reason = match reason {
        Reason::ServerSaid(words) => Reason::ServerSaid(behind(words)),
        Reason::NotTheProtocol(words) => Reason::NotTheProtocol(behind(words)),
        Reason::Local(words) => Reason::Local(behind(words)),
        other => other,
    };
    Trouble::new(stage, reason)
}

/// How long all of it may take; only what hangs unnoticed comes so far.
pub(super) fn bound(wire: &Wire) -> Duration {
    // Two conversations with a service go on at once, and the second waits for the first.
    2 * (session::opening(wire) + patience(wire)) + wire.budgets.reply
}

/// How long a search may take: `MaxQueryDuration` is 120 s, but what is asked here takes milliseconds.
fn patience(wire: &Wire) -> Duration {
    3 * wire.budgets.reply
}

async fn run(
    wire: &Wire,
    session: &Session,
    to: SocketAddr,
    question: &DirectorySearch,
    found: &Arc<Mutex<Found>>,
) -> Result<(), Stop> {
    let searching = Searching {
        ldap: session.ldap.clone(),
        // A global catalog answers for all domains; everywhere else other partitions are not even to be named.
        is_catalog: ![LDAP_PORT, LDAPS_PORT].contains(&to.port()),
        patience: wire.budgets.reply,
        found: Arc::clone(found),
    };
    let lost =
        || session.broken().unwrap_or_else(|| Trouble::not_the_protocol("an LDAP message that says nothing sensible"));
    match timeout(patience(wire), fenced(searching.all_pages(question.clone()))).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(Fault::Stop(stop)))) => Err(stop),
        Ok(Ok(Err(Fault::Lost)) | Err(_)) => Err(Stop::Broken(lost())),
        Err(_) => Err(Stop::Broken(Trouble::new(Stage::Reply, Reason::Silent))),
    }
}

/// Why a search ended before its end.
pub(super) enum Stop {
    /// The server said so, and can be asked other things.
    Refused(Trouble),
    /// We want no more of it.
    Enough(Trouble),
    /// The session is of no use any more.
    Broken(Trouble),
}

/// What ends a search from within.
pub(super) enum Fault {
    Stop(Stop),
    /// ldap3 gave up; why, the session knows better.
    Lost,
}

impl From<Stop> for Fault {
    fn from(stop: Stop) -> Self {
        Self::Stop(stop)
    }
}

impl From<LdapError> for Fault {
    fn from(error: LdapError) -> Self {
        match error {
            LdapError::FilterParsing => {
                let why = "a filter that is none; please report it with the recording".into();
                Stop::Refused(Trouble::new(Stage::Reply, Reason::Local(why))).into()
            }
            _ => Self::Lost,
        }
    }
}

/// What was found so far; it is kept however the search ends.
#[derive(Default)]
struct Found {
    entries: DirectoryEntries,
    /// Entries that are there already, by name.
    names: HashSet<String>,
    /// How much more may be kept.
    room: usize,
}

impl Found {
    /// Keeps an entry; `None` where it was there before.
    fn keep(&mut self, entry: Entry) -> Result<Option<usize>, Stop> {
        if self.entries.entries.len() == MOST_ENTRIES {
            return Err(enough(&format!("more than {MOST_ENTRIES} entries")));
        }
        if !self.names.insert(entry.dn.to_lowercase()) {
            return Ok(None);
        }
        self.pay(price(&entry))?;
        self.entries.entries.push(entry);
        Ok(Some(self.entries.entries.len() - 1))
    }

    fn pay(&mut self, price: usize) -> Result<(), Stop> {
        self.room = self.room.checked_sub(price).ok_or_else(|| enough("more than is kept in memory"))?;
        Ok(())
    }
}

/// About what an entry takes in memory: a map of its own, a list for each attribute, an allocation for each value.
fn price(entry: &Entry) -> usize {
    const ENTRY: usize = 800;
    const ATTRIBUTE: usize = 120;
    let attribute = |(name, values): (&String, &Vec<Value>)| ATTRIBUTE + name.len() + price_of(values);
    ENTRY + 2 * entry.dn.len() + entry.attributes.iter().map(attribute).sum::<usize>()
}

fn price_of(values: &[Value]) -> usize {
    const VALUE: usize = 60;
    values.iter().map(|value| VALUE + value.bytes().len()).sum()
}

fn enough(what: &str) -> Stop {
    Stop::Enough(Trouble::new(Stage::Reply, Reason::Local(format!("it shows {what}; ask less at once"))))
}

pub(super) fn strange(what: &str) -> Stop {
    Stop::Broken(Trouble::not_the_protocol(what))
}

fn lock(found: &Mutex<Found>) -> MutexGuard<'_, Found> {
    found.lock().expect("nothing panics while it holds this lock")
}

/// A search under way, on its own side of the fence.
struct Searching {
    ldap: Ldap,
    is_catalog: bool,
    /// How long the server may take for one message.
    patience: Duration,
    found: Arc<Mutex<Found>>,
}

/// One page.
struct Page {
    result: LdapResult,
    entries: usize,
    /// Those that were not there before.
    new: usize,
    /// Attributes of which there is more.
    unfinished: Vec<Rest>,
}

/// The rest of an attribute.
struct Rest {
    entry: usize,
    attribute: String,
    next: u32,
}

impl Searching {
    async fn all_pages(mut self, question: DirectorySearch) -> Result<(), Fault> {
        let (mut cookie, mut empty) = (Vec::new(), 0);
        loop {
            let page = self.page(&question, cookie).await?;
            let code = page.result.rc;
            lock(&self.found).entries.result = Some(code);
            for rest in page.unfinished {
                self.complete(rest).await?;
            }
            if code == result::NO_SUCH_OBJECT {
                return Ok(());
            }
            if code != result::SUCCESS {
                let words = Reason::ServerSaid(text::cut(&refusal::of_search(&page.result)));
                return Err(Stop::Refused(Trouble::new(Stage::Reply, words)).into());
            }
            cookie = next_cookie(&page.result).map_err(|()| strange("a cookie of pages that is none"))?;
            if cookie.is_empty() {
                return Ok(());
            }
            // Samba's cookie is the same for all pages, so that a page which is sent again is known by its entries.
            empty = if page.entries == 0 { empty + 1 } else { 0 };
            if page.new == 0 && page.entries > 0 {
                return Err(strange("the same page of entries again").into());
            }
            if empty > MOST_EMPTY_PAGES {
                return Err(strange("empty pages without end").into());
            }
            lock(&self.found).entries.result = None;
        }
    }

    async fn page(&mut self, question: &DirectorySearch, cookie: Vec<u8>) -> Result<Page, Fault> {
        let DirectorySearch { base, scope, filter, attributes } = question;
        let (mut entries, mut new, mut unfinished) = (0, 0, Vec::new());
        let controls = self.controls(*scope, cookie);
        let scope = match scope {
            SearchScope::Base => Scope::Base,
            SearchScope::OneLevel => Scope::OneLevel,
            SearchScope::Subtree => Scope::Subtree,
        };
        let ldap = self.ldap.with_controls(controls);
        let mut stream = ldap.streaming_search(base, scope, filter, attributes.clone()).await?;
        while let Some(item) = in_time(self.patience, stream.next()).await? {
            if item.is_ref() {
                lock(&self.found).entries.references += 1;
            } else if !item.is_intermediate() {
                let (entry, rests) = read(item.0)?;
                entries += 1;
                if let Some(index) = lock(&self.found).keep(entry)? {
                    new += 1;
                    let rests = rests.into_iter().map(|(attribute, next)| Rest { entry: index, attribute, next });
                    unfinished.extend(rests);
                }
            }
        }
        Ok(Page { result: stream.finish().await, entries, new, unfinished })
    }

    fn controls(&self, scope: SearchScope, cookie: Vec<u8>) -> Vec<RawControl> {
        // LDAP_SERVER_DOMAIN_SCOPE_OID (MS-ADTS section 3.1.1.3.4.1.4).
        const DOMAIN_SCOPE: &str = "1.2.840.113556.1.4.1339";
        let scoped = RawControl { ctype: DOMAIN_SCOPE.into(), crit: false, val: None };
        // A server that knows no pages is to say so instead of showing the first thousand.
        let paged = PagedResults { size: PAGE, cookie }.critical();
        let is_one = scope == SearchScope::Base;
        (!is_one).then(|| paged.into()).into_iter().chain((!self.is_catalog).then_some(scoped)).collect()
    }

    /// Asks for the rest of an attribute's values until there is none.
    async fn complete(&mut self, rest: Rest) -> Result<(), Fault> {
        let Rest { entry, attribute, mut next } = rest;
        let dn = lock(&self.found).entries.entries[entry].dn.clone();
        for _ in 0..MOST_RANGES {
            let wanted = vec![format!("{attribute};range={next}-*")];
            let ldap = self.ldap.with_controls(self.controls(SearchScope::Base, Vec::new()));
            let mut stream = ldap.streaming_search(&dn, Scope::Base, "(objectClass=*)", wanted).await?;
            let mut came = None;
            while let Some(item) = in_time(self.patience, stream.next()).await? {
                if !item.is_ref() && !item.is_intermediate() {
                    let (_, attributes) = message::entry_of(item.0).ok_or_else(unreadable)?;
                    came = attributes.into_iter().find_map(|(name, values)| {
                        let range = Range::read(&name).filter(|range| range.plain.eq_ignore_ascii_case(&attribute))?;
                        Some((range, values))
                    });
                }
            }
            let done = stream.finish().await;
            if done.rc != result::SUCCESS {
                let words = Reason::ServerSaid(text::cut(&refusal::of_search(&done)));
                return Err(Stop::Refused(Trouble::new(Stage::Reply, words)).into());
            }
            // A range that stands still or jumps would never end, or hide what lies between.
            let Some((range, values)) = came.filter(|(range, values)| range.from == next && !values.is_empty()) else {
                return Err(strange("values in ranges that do not follow one another").into());
            };
            let values: Vec<_> = values.into_iter().map(Value::new).collect();
            let mut found = lock(&self.found);
            found.pay(price_of(&values))?;
            add(&mut found.entries.entries[entry].attributes, &attribute, values);
            drop(found);
            match range.next {
                None => return Ok(()),
                Some(following) if following > next => next = following,
                Some(_) => return Err(strange("values in ranges that do not follow one another").into()),
            }
        }
        Err(enough("more values of one attribute than are asked for").into())
    }
}

pub(super) async fn in_time<T>(
    patience: Duration,
    work: impl Future<Output = Result<T, LdapError>>,
) -> Result<T, Fault> {
    match timeout(patience, work).await {
        Ok(done) => Ok(done?),
        Err(_) => Err(Stop::Broken(Trouble::new(Stage::Reply, Reason::Silent)).into()),
    }
}

pub(super) fn unreadable() -> Stop {
    strange("an LDAP entry that says nothing sensible")
}

/// An entry, and of which attributes there is more, from which value on.
fn read(entry: lber::structure::StructureTag) -> Result<(Entry, Vec<(String, u32)>), Stop> {
    let (dn, attributes) = message::entry_of(entry).ok_or_else(unreadable)?;
    let (mut entry, mut rests) = (Entry { dn, attributes: BTreeMap::new() }, Vec::new());
    for (name, values) in attributes {
        let values = values.into_iter().map(Value::new).collect();
        match Range::read(&name) {
            None => add(&mut entry.attributes, &name, values),
            Some(Range { plain, next, .. }) => {
                add(&mut entry.attributes, &plain, values);
                rests.extend(next.map(|next| (plain, next)));
            }
        }
    }
    Ok((entry, rests))
}

/// Puts values to those that are there, under the name without options: `;binary` says how a value is written, and who asked for it
/// knows. Active Directory sends an attribute in ranges beside an empty one of its plain name.
fn add(attributes: &mut BTreeMap<String, Vec<Value>>, name: &str, values: Vec<Value>) {
    let name = name.split(';').next().unwrap_or(name);
    let known = attributes.keys().find(|known| known.eq_ignore_ascii_case(name)).cloned();
    attributes.entry(known.unwrap_or_else(|| name.to_owned())).or_default().extend(values);
}

/// `servicePrincipalName;range=0-1499`; the last one ends in `-*`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Range {
    /// The name without the range; other options such as `;binary` belong to it.
    pub(super) plain: String,
    pub(super) from: u32,
    /// Where the next range begins.
    pub(super) next: Option<u32>,
}

impl Range {
    pub(super) fn read(name: &str) -> Option<Self> {
        let range_of = |option: &str| {
            let (key, range) = option.split_once('=')?;
            let (from, to) = range.split_once('-').filter(|_| key.eq_ignore_ascii_case("range"))?;
            let from = from.parse().ok()?;
            let next = match to {
                "*" => None,
                to => Some(to.parse::<u32>().ok().filter(|to| *to >= from)?.checked_add(1)?),
            };
            Some((from, next))
        };
        let (from, next) = name.split(';').skip(1).find_map(range_of)?;
        let plain: Vec<_> = name
            .split(';')
            .enumerate()
            .filter(|(at, part)| *at == 0 || range_of(part).is_none())
            .map(|(_, part)| part)
            .collect();
        Some(Self { plain: plain.join(";"), from, next })
    }
}

/// The cookie with which the next page is asked for; empty after the last (RFC 2696 section 2).
pub(super) fn next_cookie(result: &LdapResult) -> Result<Vec<u8>, ()> {
    const PAGED_RESULTS: &str = "1.2.840.113556.1.4.319";
    let Some(control) = result.ctrls.iter().find(|control| control.1.ctype == PAGED_RESULTS) else {
        return Ok(Vec::new());
    };
    let value = control.1.val.as_deref().ok_or(())?;
    // The guard before ldap3 looks into no value, and a parser's stack is no deeper here.
    if frame::check(value) != Ok(Frame::Complete(value.len())) {
        return Err(());
    }
    let (_, parts) = parse_tag(value).map_err(|_| ())?;
    let cookie = parts.expect_constructed().and_then(|parts| parts.into_iter().nth(1));
    cookie
        .and_then(lber::structure::StructureTag::expect_primitive)
        .filter(|cookie| cookie.len() <= LONGEST_COOKIE)
        .ok_or(())
}

/// `MaxResultSetSize` of Active Directory is 256 KiB for the cookies of all searches together (KB 315071).
const LONGEST_COOKIE: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range(plain: &str, from: u32, next: Option<u32>) -> Range {
        Range { plain: plain.into(), from, next }
    }

    #[test]
    fn ranges_are_read_and_other_options_stay() {
        assert_eq!(Range::read("member;range=0-1499"), Some(range("member", 0, Some(1500))));
        assert_eq!(Range::read("member;Range=1500-*"), Some(range("member", 1500, None)));
        assert_eq!(Range::read("userCertificate;binary;range=2-2"), Some(range("userCertificate;binary", 2, Some(3))));
        for none in ["member", "member;binary", "range=0-1", "member;range=", "member;range=5-4", "member;range=a-*"] {
            assert_eq!(Range::read(none), None, "{none}");
        }
        assert_eq!(Range::read("member;range=0-4294967295"), None, "there is no next");
    }

    #[test]
    fn values_in_ranges_stand_under_the_plain_name() {
        let mut attributes = BTreeMap::from([("Member".to_string(), vec![])]);
        add(&mut attributes, "member", vec![Value::Text("a".into())]);
        add(&mut attributes, "MEMBER", vec![Value::Text("b".into())]);
        assert_eq!(
            attributes,
            BTreeMap::from([("Member".into(), vec![Value::Text("a".into()), Value::Text("b".into())])])
        );
    }

    #[test]
    fn values_stand_under_the_name_without_options() {
        let mut attributes = BTreeMap::new();
        add(&mut attributes, "msDS-NCReplCursors;binary", vec![Value::Text("a".into())]);
        assert_eq!(attributes, BTreeMap::from([("msDS-NCReplCursors".into(), vec![Value::Text("a".into())])]));
    }

    proptest! {
        #[test]
        fn a_range_is_read_as_it_was_written(name in "[a-zA-Z][a-zA-Z0-9-]{0,20}", from in 0u32..1_000_000, more in 0u32..5000, is_last: bool) {
            let end = if is_last { "*".to_string() } else { (from + more).to_string() };
            let next = (!is_last).then_some(from + more + 1);
            prop_assert_eq!(Range::read(&format!("{name};range={from}-{end}")), Some(range(&name, from, next)));
        }

        #[test]
        fn any_name_is_a_range_or_none(name in ".{0,40}", option in "[rR]ange=[0-9*-]{0,14}") {
            for name in [name.clone(), format!("{name};{option}")] {
                if let Some(range) = Range::read(&name) {
                    prop_assert!(range.next.is_none_or(|next| next > range.from));
                }
            }
        }

        #[test]
        fn any_control_is_a_cookie_or_none(val in proptest::collection::vec(any::<u8>(), 0..60)) {
            let raw = RawControl { ctype: "1.2.840.113556.1.4.319".into(), crit: false, val: Some(val) };
            let result = LdapResult {
                rc: 0,
                matched: String::new(),
                text: String::new(),
                refs: vec![],
                ctrls: vec![ldap3::controls::Control(None, raw)],
            };
            let _ = next_cookie(&result);
        }
    }
}
