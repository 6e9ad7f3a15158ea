//! Tickets from a KDC, by the user's password: the first one, those for further realms, and those for services. Each KDC is
//! asked for the first ticket once, whoever wants something of it; and by its own clock, so that ours does not matter.

use super::{
    conversation::{Outcome, Trouble, Wire},
    credential::{Attempt, Credential, Identity, Password, User},
    fence::fenced,
    kdc_messages::{self, Answer, Client, Exchange, Held, Key, NoRecipe, Recipe, Unread},
    random,
    refusal::{self, Judged},
    session, tcp, text, ticket,
    udp::{self, Dialogue, Heard},
};
use exchange_preflight_checks::{
    facts::{
        kerberos::KrbError,
        net::Transport,
        raw::Raw,
        ticket::{Grant, Hop, HopAnswer, MOST_REALMS, RealmKdc, ServiceTicket, TicketGranting, TicketReply},
        time::{Reading, Span, WINDOWS_TICK},
    },
    model::{
        ask::Facts,
        evidence::{Reason, Stage},
    },
};
use jiff::{SignedDuration, Timestamp};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tracing::debug;

/// `KDC_ERR_PREAUTH_REQUIRED`, `KRB_AP_ERR_SKEW` and `KRB_ERR_RESPONSE_TOO_BIG`.
const PREAUTH_REQUIRED: i64 = 25;
const SKEW: i64 = 37;
const RESPONSE_TOO_BIG: i64 = 52;

/// What was had of KDCs, and how their clocks stand.
#[derive(Default)]
pub(super) struct Tickets {
    slots: Mutex<BTreeMap<Way, Slot>>,
    /// By how much a KDC's clock is ahead of ours.
    offsets: Mutex<BTreeMap<SocketAddr, SignedDuration>>,
}

/// Who has the lock asks; the others wait, and find what came of it.
type Slot = Arc<tokio::sync::Mutex<Option<Got>>>;

/// How a ticket for a KDC is come by: of the first KDC by the password, and from each to the next.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Way {
    kdc: SocketAddr,
    transport: Transport,
    path: Vec<RealmKdc>,
}

/// What came of asking for one.
#[derive(Clone)]
struct Got {
    hops: Vec<Hop>,
    /// The ticket; or why there is none, where the last answer does not tell it all.
    held: Result<Arc<Held>, Trouble>,
}

/// Logs on at a KDC.
pub(super) async fn granting(wire: &Wire, to: SocketAddr, host: &str, question: &TicketGranting) -> Outcome {
    let user = match user(wire) {
        Ok(Some(user)) => user,
        Ok(None) => {
            let why = "the ticket of the current logon is the system's own; use --logon kerberos".into();
            return Trouble::new(Stage::Bind, Reason::Local(why)).into();
        }
        Err(trouble) => return trouble.into(),
    };
    let mut asking = Asking { wire, host, transport: question.transport, hops: Vec::new() };
    let held = match question.transport {
        Transport::Tcp => asking.first_ticket(to, &user).await,
        Transport::Udp => match session::turn(wire, user.credential.gate.enter(host)).await {
            Ok(mut attempt) => asking.log_on(to, &user, &mut attempt).await,
            Err(trouble) => Err(trouble),
        },
    };
    // Where the KDC judged nobody, its error is the answer.
    let is_told = asking.hops.last().is_some_and(|hop| hop.error().is_some_and(|error| !refuses(&error)));
    let trouble = held.err().filter(|trouble| !is_told || trouble.stage != Stage::Bind);
    asking.outcome(trouble, Facts::TicketGranting)
}

/// Gets a ticket for a service.
pub(super) async fn service(wire: &Wire, to: SocketAddr, host: &str, question: &ServiceTicket) -> Outcome {
    let ServiceTicket { spn, transport, path } = question;
    let user = match user(wire) {
        Ok(Some(user)) => user,
        Ok(None) => return of_the_logon(wire, spn).await,
        Err(trouble) => return trouble.into(),
    };
    if let Some(why) = endless(&user.credential.realm, path) {
        return Trouble::new(Stage::Connect, Reason::Local(why)).into();
    }
    let mut asking = Asking { wire, host, transport: *transport, hops: Vec::new() };
    let trouble = asking.service_ticket(to, &user, spn, path).await.err();
    asking.outcome(trouble, Facts::ServiceTicket)
}

/// How long it may take; only what hangs unnoticed comes so far.
pub(super) fn bound(wire: &Wire, path: &[RealmKdc]) -> Duration {
    // A datagram, and a connection where the answer is too large for it.
    let request = 2 * wire.budgets.connect + wire.budgets.reply;
    let first = session::waiting(wire) + 2 * request;
    // The second try is by the right clock. Who waits for another's answer waits as long as the other.
    let further = 2 * request * (u32::try_from(path.len()).unwrap_or(u32::MAX).saturating_add(1));
    2 * (first + further)
}

/// Who logs on by a password.
struct Who<'a> {
    credential: &'a Credential,
    user: &'a User,
    password: &'a Password,
    /// The realm of the user's domain, which may be stated by its NetBIOS name: the KDC knows both.
    realm: String,
}

impl Who<'_> {
    fn client(&self) -> Client<'_> {
        Client { name: &self.user.principal, realm: &self.realm }
    }
}

/// Who asks: nobody where it is the ticket of the current logon.
fn user(wire: &Wire) -> Result<Option<Who<'_>>, Trouble> {
    let Some(credential) = &wire.credential else {
        let why = "nobody logs on; state --user or --logon ticket";
        return Err(Trouble::new(Stage::Bind, Reason::Local(why.into())));
    };
    if let Some(closed) = credential.gate.closed() {
        return Err(closed);
    }
    Ok(match &credential.identity {
        Identity::User(user, password) => Some(Who { credential, user, password, realm: user.domain.to_uppercase() }),
        Identity::Ticket { .. } => None,
    })
}

/// Why a way through realms is none.
fn endless(first: &str, path: &[RealmKdc]) -> Option<String> {
    if path.len() > MOST_REALMS {
        return Some(format!("a way through {} realms; no client follows more than {MOST_REALMS}", path.len()));
    }
    let mut seen = vec![first];
    for RealmKdc { realm, .. } in path {
        if seen.iter().any(|other| other.eq_ignore_ascii_case(realm)) {
            return Some(format!("a way through realms that comes back to {}", text::quoted(realm)));
        }
        seen.push(realm);
    }
    None
}

/// The requests of one question.
struct Asking<'a> {
    wire: &'a Wire,
    host: &'a str,
    transport: Transport,
    hops: Vec<Hop>,
}

/// One request, however often and over whatever it is sent.
struct Request<'a> {
    to: SocketAddr,
    /// The realm that is asked, and for whom.
    realm: &'a str,
    wanted: &'a str,
    exchange: Exchange,
    /// With what the answer is encrypted.
    key: Option<Key>,
    compose: &'a (dyn Fn(u32) -> Result<Vec<u8>, String> + Sync),
}

/// What came back.
enum Said {
    Error(KrbError),
    Ticket(Arc<Held>),
    Sealed,
}

impl Asking<'_> {
    fn outcome(self, trouble: Option<Trouble>, facts: impl FnOnce(TicketReply) -> Facts) -> Outcome {
        let facts = (!self.hops.is_empty()).then(|| facts(TicketReply { hops: self.hops }));
        Outcome { facts, trouble }
    }

    async fn service_ticket(
        &mut self,
        to: SocketAddr,
        who: &Who<'_>,
        spn: &str,
        path: &[RealmKdc],
    ) -> Result<(), Trouble> {
        let mut held = self.first_ticket(to, who).await?;
        let (mut at, mut realm) = (to, who.credential.realm.as_str());
        for (number, next) in (1..).zip(path) {
            let way = Way { kdc: to, transport: self.transport, path: path[..number].to_vec() };
            let slot = self.wire.tickets.slot(way);
            let mut slot = slot.lock().await;
            let got = match &*slot {
                Some(got) => got.clone(),
                None => slot.insert(self.next_ticket(at, realm, &held, &next.realm).await).clone(),
            };
            drop(slot);
            self.hops.extend(got.hops);
            let was = at;
            // Another KDC listens on the same port.
            (at, realm) = (SocketAddr::new(next.address, to.port()), &next.realm);
            held = got.held?;
            self.wire.tickets.guess(at, was);
            if !self.leads_to(realm) {
                // The KDC refuses, or refers to yet another realm: that is the answer.
                return Ok(());
            }
        }
        self.by_ticket(at, realm, &held, spn).await.map(drop)
    }

    /// The first ticket of a KDC, which it is asked for once, over TCP.
    async fn first_ticket(&mut self, to: SocketAddr, who: &Who<'_>) -> Result<Arc<Held>, Trouble> {
        let slot = self.wire.tickets.slot(Way { kdc: to, transport: Transport::Tcp, path: Vec::new() });
        let mut slot = slot.lock().await;
        let got = if let Some(got) = &*slot {
            got.clone()
        } else {
            // That others take long is no word of this KDC's, and not kept.
            let mut attempt = session::turn(self.wire, who.credential.gate.enter(self.host)).await?;
            let mut asking = Asking { transport: Transport::Tcp, hops: Vec::new(), ..*self };
            let held = asking.log_on(to, who, &mut attempt).await;
            slot.insert(Got { hops: asking.hops, held }).clone()
        };
        self.hops.extend(got.hops);
        got.held
    }

    /// RFC 4120 section 3.1: first without the password, so that the KDC names the keys of the user and the time.
    async fn log_on(&mut self, to: SocketAddr, who: &Who<'_>, attempt: &mut Attempt) -> Result<Arc<Held>, Trouble> {
        let (client, realm) = (who.client(), who.credential.realm.as_str());
        let wanted = format!("krbtgt/{realm}");
        let exchange = Exchange::Authentication;
        let compose = |nonce| kdc_messages::first(&client, None, nonce);
        let request = Request { to, realm, wanted: &wanted, exchange, key: None, compose: &compose };
        let error = match self.ask(&request, None).await? {
            Said::Error(error) if error.code == PREAUTH_REQUIRED => error,
            Said::Error(error) => return Err(attempt.answered(&refusal::of_kdc(error.code, None))),
            Said::Ticket(_) | Said::Sealed => {
                let why =
                    "the account needs no pre-authentication, which we do not take; demand it, or use --logon ldaps";
                return Err(Trouble::new(Stage::Bind, Reason::Local(why.into())));
            }
        };
        let recipe = match Recipe::read(error.data.as_ref().map_or(&[], |data| &data.0)) {
            Ok(recipe) => recipe,
            Err(NoRecipe::NoAes) => return Err(attempt.answered(&refusal::no_aes())),
            Err(NoRecipe::Unusual) => {
                let why = "the KDC makes keys of passwords in a way that is not known here; use --logon ldaps";
                return Err(Trouble::new(Stage::Bind, Reason::Local(why.into())));
            }
        };
        let Some(key) = recipe.key(&client, who.password.expose()) else {
            return Err(Trouble::new(Stage::Bind, Reason::Local("no key can be made of the password".into())));
        };
        let compose = |nonce| kdc_messages::first(&client, Some((&key, self.wire.tickets.now(self.wire, to))), nonce);
        let request = Request { to, realm, wanted: &wanted, exchange, key: Some(key.clone()), compose: &compose };
        match self.ask(&request, Some(attempt)).await? {
            Said::Ticket(held) => {
                attempt.accepted();
                Ok(held)
            }
            Said::Error(error) => Err(attempt.answered(&refusal::of_kdc(error.code, None))),
            Said::Sealed => unreachable!("it was read with a key"),
        }
    }

    /// A ticket for the KDCs of another realm.
    async fn next_ticket(&self, to: SocketAddr, realm: &str, held: &Arc<Held>, next: &str) -> Got {
        let mut asking = Asking { hops: Vec::new(), ..*self };
        let said = asking.by_ticket(to, realm, held, &format!("krbtgt/{next}")).await;
        // Where the KDC gives none, nobody looks at what is held.
        let held = said.map(|said| if let Said::Ticket(held) = said { held } else { Arc::clone(held) });
        Got { hops: asking.hops, held }
    }

    /// Is the last answer a ticket for this realm's KDCs?
    fn leads_to(&self, realm: &str) -> bool {
        let grant = self.hops.last().and_then(Hop::grant);
        let to = grant.and_then(|grant| grant.server.strip_prefix("krbtgt/"));
        to.is_some_and(|to| to.eq_ignore_ascii_case(realm))
    }

    /// RFC 4120 section 3.3. A KDC that finds our clock wrong tells its own, and is asked once more by it.
    async fn by_ticket(
        &mut self,
        to: SocketAddr,
        realm: &str,
        held: &Arc<Held>,
        wanted: &str,
    ) -> Result<Said, Trouble> {
        let compose = |nonce| kdc_messages::further(held, realm, wanted, self.wire.tickets.now(self.wire, to), nonce);
        let key = Some(held.key.clone());
        let request = Request { to, realm, wanted, exchange: Exchange::TicketGranting, key, compose: &compose };
        match self.ask(&request, None).await? {
            Said::Error(KrbError { code: SKEW, server_time: Some(_), .. }) => self.ask(&request, None).await,
            said => Ok(said),
        }
    }

    /// Asks, and over TCP once more where the answer does not fit into a datagram (RFC 4120 section 7.2.1).
    async fn ask(&mut self, request: &Request<'_>, mut attempt: Option<&mut Attempt>) -> Result<Said, Trouble> {
        let Request { to, realm, wanted, .. } = *request;
        let mut transport = self.transport;
        loop {
            let (span, answer) = match transport {
                Transport::Udp => self.by_datagrams(request, attempt.as_deref_mut()).await?,
                Transport::Tcp => self.by_stream(request, attempt.as_deref_mut()).await?,
            };
            let mut note = |answer| {
                self.hops.push(Hop { realm: realm.into(), wanted: wanted.into(), transport, span, answer });
            };
            match answer {
                Told::Error(message, error) => {
                    debug!(kdc = %to, wanted, %transport, code = error.code, "the KDC answers with an error");
                    note(HopAnswer::Refused(Raw(message)));
                    self.wire.tickets.learn(to, span, &error);
                    if error.code != RESPONSE_TOO_BIG || transport == Transport::Tcp {
                        return Ok(Said::Error(error));
                    }
                    // It could have given a ticket: no password was refused. Whoever forges this answer wins one more
                    // try at most: the one over TCP counts as sent, and there the answer stands, whatever it is.
                    if let Some(attempt) = &mut attempt {
                        attempt.undecided();
                    }
                    transport = Transport::Tcp;
                }
                Told::Ticket(held, grant) => {
                    debug!(kdc = %to, wanted, %transport, server = ?grant.server, etype = grant.etype, "a ticket");
                    note(HopAnswer::Granted(grant));
                    return Ok(Said::Ticket(Arc::new(*held)));
                }
                Told::Sealed => return Ok(Said::Sealed),
            }
        }
    }

    async fn by_stream(&self, request: &Request<'_>, attempt: Option<&mut Attempt>) -> Result<(Span, Told), Trouble> {
        let Wire { budgets, clock, .. } = self.wire;
        let nonce = random::positive()?;
        let bytes = composed(request, nonce)?;
        let mut stream = tcp::connect(request.to, budgets).await?;
        if let Some(attempt) = attempt {
            attempt.sent();
        }
        let (span, message) = tcp::exchange(&mut stream, &bytes, clock, budgets.reply).await?;
        match read(request, message, vec![nonce]).await {
            Ok((_, told)) => Ok((span, told)),
            Err(Stray { trouble, .. }) => Err(trouble),
        }
    }

    async fn by_datagrams(
        &self,
        request: &Request<'_>,
        attempt: Option<&mut Attempt>,
    ) -> Result<(Span, Told), Trouble> {
        let mut datagrams = Datagrams { request, attempt, nonces: Vec::new() };
        udp::converse(self.wire, request.to, &mut datagrams).await
    }
}

/// What a message tells.
enum Told {
    Error(Vec<u8>, KrbError),
    Ticket(Box<Held>, Grant),
    Sealed,
}

/// A message that answers nothing.
struct Stray {
    /// It is Kerberos, and may be the answer to something else.
    is_kerberos: bool,
    trouble: Trouble,
}

struct Datagrams<'a, 'b> {
    request: &'a Request<'b>,
    attempt: Option<&'a mut Attempt>,
    nonces: Vec<u32>,
}

impl Dialogue for Datagrams<'_, '_> {
    type Told = Told;

    async fn request(&mut self) -> Result<Vec<u8>, Trouble> {
        let nonce = random::positive()?;
        let bytes = composed(self.request, nonce)?;
        self.nonces.push(nonce);
        // A right password locks no account, and answers in datagrams do get lost.
        if let Some(attempt) = self.attempt.as_mut() {
            attempt.sent();
        }
        Ok(bytes)
    }

    /// A wrong password that is sent twice may count twice, so it goes out once as long as nobody knows.
    fn may_repeat(&self) -> bool {
        self.attempt.as_ref().is_none_or(|attempt| attempt.is_known_good())
    }

    /// An error repeats no number, so that the first on our port has to be the answer.
    async fn hear(&mut self, datagram: Vec<u8>) -> Heard<Told> {
        match read(self.request, datagram, self.nonces.clone()).await {
            Ok((request, told)) => Heard::Answer { request, told },
            Err(Stray { is_kerberos: true, trouble }) => Heard::Stray(trouble),
            Err(Stray { trouble, .. }) => Heard::Trouble(trouble),
        }
    }
}

/// Reads behind the fence what came from the network.
async fn read(request: &Request<'_>, message: Vec<u8>, nonces: Vec<u32>) -> Result<(Option<usize>, Told), Stray> {
    let (exchange, key) = (request.exchange, request.key.clone());
    let reading = fenced(async move {
        let answer = kdc_messages::read(exchange, &message, key.as_ref(), &nonces);
        (answer, message)
    });
    let Ok((answer, message)) = reading.await else {
        let trouble = Trouble::not_the_protocol("a message of Kerberos that says nothing sensible");
        return Err(Stray { is_kerberos: false, trouble });
    };
    match answer {
        Ok(Answer::Error(error)) => Ok((None, Told::Error(message, error))),
        Ok(Answer::Ticket { request, held, grant }) => Ok((Some(request), Told::Ticket(held, grant))),
        Ok(Answer::Sealed) => Ok((None, Told::Sealed)),
        Err(Unread::NotKerberos) => Err(Stray { is_kerberos: false, trouble: Trouble::strange(&message) }),
        Err(Unread::Unfit(why)) => {
            let trouble = Trouble::not_the_protocol(format!("a ticket that is of no use ({why})"));
            Err(Stray { is_kerberos: true, trouble })
        }
    }
}

fn composed(request: &Request<'_>, nonce: u32) -> Result<Vec<u8>, Trouble> {
    (request.compose)(nonce).map_err(|why| Trouble::new(Stage::Connect, Reason::Local(text::quoted(&why))))
}

impl Tickets {
    fn slot(&self, way: Way) -> Slot {
        let mut slots = self.slots.lock().expect("nothing panics while it holds this lock");
        Arc::clone(slots.entry(way).or_default())
    }

    /// The time that it is by a KDC's clock, as far as that is known.
    fn now(&self, wire: &Wire, kdc: SocketAddr) -> Timestamp {
        let offset = self.offsets().get(&kdc).copied().unwrap_or_default();
        let now = wire.clock.now();
        now.checked_add(offset).unwrap_or(now)
    }

    /// What an error shows of a clock, where it matters: before a password is sent, and where ours was refused.
    fn learn(&self, kdc: SocketAddr, span: Span, error: &KrbError) {
        if let (PREAUTH_REQUIRED | SKEW, Some(server_time)) = (error.code, error.server_time) {
            let offset = Reading { span, server_time, quantum: WINDOWS_TICK }.offset().middle();
            self.offsets().insert(kdc, offset);
        }
    }

    /// Clocks of KDCs stand as their neighbours' until they say otherwise.
    fn guess(&self, kdc: SocketAddr, like: SocketAddr) {
        let mut offsets = self.offsets();
        if let Some(offset) = offsets.get(&like).copied() {
            offsets.entry(kdc).or_insert(offset);
        }
    }

    fn offsets(&self) -> std::sync::MutexGuard<'_, BTreeMap<SocketAddr, SignedDuration>> {
        self.offsets.lock().expect("nothing panics while it holds this lock")
    }
}

/// Does this error judge the user?
fn refuses(error: &KrbError) -> bool {
    error.code == PREAUTH_REQUIRED || refusal::of_kdc(error.code, None).of != Judged::Nobody
}

/// The ticket of the current logon is for the system to get, from a KDC of its choice.
async fn of_the_logon(wire: &Wire, service: &str) -> Outcome {
    let Some(credential) = &wire.credential else { unreachable!("somebody logs on") };
    let realm = credential.realm.clone();
    let sent = wire.clock.now();
    let token = match ticket::token(service, &realm).await {
        Ok(token) => token,
        Err(trouble) => return trouble.into(),
    };
    let span = Span { sent, received: wire.clock.now() };
    let Ok(Some(grant)) = fenced(async move { kdc_messages::shown(&token) }).await else {
        let why = "the system's Kerberos shows no ticket".into();
        return Trouble::new(Stage::Bind, Reason::Local(why)).into();
    };
    let answer = HopAnswer::Granted(grant);
    let hops = vec![Hop { realm, wanted: service.into(), transport: Transport::Tcp, span, answer }];
    Outcome { facts: Some(Facts::ServiceTicket(TicketReply { hops })), trouble: None }
}
