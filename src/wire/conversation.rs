//! One question to one server: whom it goes to, how long it may take, how it ended.

use super::{
    budget::Budgets,
    cldap,
    clock::Clock,
    credential::Credential,
    directory, dns, fence, fetch, http_login, https, kerberos, ldap, ntp,
    session::{self, Sessions},
    smb, smtp, smtp_login,
    stores::{self, Stores, Trust},
    tcp, text,
    tickets::{self, Tickets},
    tls,
};
use exchange_preflight_checks::{
    facts::net::{Connected, Transport},
    model::{
        ask::{Ask, Endpoint, Facts, Question},
        evidence::{End, Miss, Reason, Reply, Stage},
    },
};
use jiff::SignedDuration;
use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::AtomicUsize},
    time::{Duration, Instant},
};
use tokio::{sync::OnceCell, time::timeout};

/// Everything a conversation needs. Put it behind an `Arc`: the futures of [`Wire::converse`] are `Send`, so they may be
/// spawned on any runtime of tokio.
pub struct Wire {
    pub(super) clock: Clock,
    pub(super) budgets: Budgets,
    pub(super) resolver: dns::Configured,
    pub(super) stores: Arc<Stores>,
    /// Bytes of the files that were fetched.
    pub(super) fetched: AtomicUsize,
    /// What to log on with, if anybody is to.
    pub(super) credential: Option<Credential>,
    pub(super) sessions: Sessions,
    pub(super) tickets: Tickets,
    /// Whom a password may be shown to.
    pub(super) trust: OnceCell<Trust>,
    /// About what the entries of directories take in memory that were found.
    pub(super) found: AtomicUsize,
}

impl Wire {
    /// `resolver` replaces the one that this machine is set to use. Where neither is there, each lookup says so. Without a
    /// credential nobody logs on.
    pub fn new(
        clock: Clock,
        budgets: Budgets,
        resolver: Option<SocketAddr>,
        stores: Stores,
        credential: Option<Credential>,
    ) -> Result<Self, String> {
        fence::silence_fenced_panics();
        let resolver = dns::Configured::new(resolver, &budgets)?;
        Ok(Self {
            clock,
            budgets,
            resolver,
            stores: Arc::new(stores),
            fetched: AtomicUsize::new(0),
            credential,
            sessions: Sessions::default(),
            tickets: Tickets::default(),
            trust: OnceCell::new(),
            found: AtomicUsize::new(0),
        })
    }

    /// Asks, and says what came back. It ends within its budgets whatever the server does.
    pub async fn converse(&self, ask: &Ask) -> Reply {
        let started = Instant::now();
        // Each stage below has its own bound. This one is for a stage that forgets.
        let outcome = match timeout(self.bound(&ask.what), self.put(ask)).await {
            Ok(outcome) => outcome,
            Err(_) => Trouble::new(Stage::Reply, Reason::Silent).into(),
        };
        outcome.into_reply(started)
    }

    fn bound(&self, what: &Question) -> Duration {
        let Budgets { connect, reply, .. } = self.budgets;
        match what {
            // Their own bounds come to four replies at most, and a goodbye; what was learnt until then must not be lost here.
            Question::SmtpSession(_) | Question::TlsSession(_) | Question::HttpsGet(_) | Question::HttpFetch(_) => {
                connect + 4 * reply + 4 * tls::FAREWELL
            }
            Question::RootsNamed(_) | Question::PlatformTrust(_) => stores::PATIENCE + reply,
            Question::DirectorySearch(_) => directory::bound(self),
            // The ticket, the turn before the password, and the session itself.
            Question::SmtpLogin(_) | Question::HttpLogin(_) => {
                session::opening(self) + connect + 4 * reply + 4 * tls::FAREWELL
            }
            Question::TicketGranting(_) => tickets::bound(self, &[]),
            Question::ServiceTicket(question) => tickets::bound(self, &question.path),
            _ => connect + reply,
        }
    }

    async fn put(&self, ask: &Ask) -> Outcome {
        // What goes to no address that is stated: the resolver may be the system's own, and stores are this machine's.
        match &ask.what {
            Question::DnsLookup(lookup) => {
                return dns::look_up(self, &ask.to, lookup).await.map(Facts::DnsLookup).into();
            }
            Question::RootsNamed(question) => {
                return stores::roots(&self.stores, question).await.map(Facts::RootsNamed).into();
            }
            Question::PlatformTrust(question) => {
                return stores::platform(self.clock, question).await.map(Facts::PlatformTrust).into();
            }
            _ => {}
        }
        let to = match address(&ask.to) {
            Ok(to) => to,
            Err(trouble) => return trouble.into(),
        };
        let host = &ask.to.host;
        match &ask.what {
            Question::DnsLookup(_) | Question::RootsNamed(_) | Question::PlatformTrust(_) => {
                unreachable!("they were answered above")
            }
            Question::NtpTime(_) => ntp::ask_time(self, to).await.map(Facts::NtpTime).into(),
            Question::AsReq(question) => kerberos::as_req(self, to, question).await.map(Facts::AsReq).into(),
            Question::Kpasswd(question) => kerberos::kpasswd(self, to, question).await.map(Facts::Kpasswd).into(),
            Question::RootDse(question) => match question.transport {
                Transport::Tcp => ldap::root_dse(self, to).await,
                Transport::Udp => cldap::root_dse(self, to).await.map(Facts::RootDse).into(),
            },
            Question::NetlogonPing(question) => cldap::ping(self, to, question).await.map(Facts::NetlogonPing).into(),
            Question::SmbNegotiate(_) => smb::negotiate(self, to).await.map(Facts::SmbNegotiate).into(),
            Question::SmtpSession(question) => smtp::session(self, to, host, question).await,
            Question::TlsSession(question) => tls::session(self, to, host, question).await,
            Question::HttpsGet(question) => https::get(self, to, question).await,
            // It is by far the largest of these futures, and they all would have its size.
            Question::DirectorySearch(question) => Box::pin(directory::search(self, to, &ask.to, question)).await,
            Question::TicketGranting(question) => Box::pin(tickets::granting(self, to, host, question)).await,
            Question::ServiceTicket(question) => Box::pin(tickets::service(self, to, host, question)).await,
            Question::SmtpLogin(question) => Box::pin(smtp_login::log_on(self, to, host, question)).await,
            Question::HttpLogin(question) => Box::pin(http_login::log_on(self, to, question)).await,
            Question::SpnScan(_) => Trouble::new(Stage::Connect, Reason::Local("not built yet".into())).into(),
            Question::HttpFetch(question) => fetch::fetch(self, to, host, question).await.map(Facts::HttpFetch).into(),
            Question::Connect(_) => {
                tcp::connect(to, &self.budgets).await.map(|_closed_at_once| Facts::Connect(Connected)).into()
            }
        }
    }
}

fn address(to: &Endpoint) -> Result<SocketAddr, Trouble> {
    match to.address {
        Some(address) => Ok(SocketAddr::new(address, to.port)),
        None => Err(Trouble::new(Stage::Resolve, Reason::Local(format!("no address is known of {}", to.host)))),
    }
}

/// What was learnt, and what went wrong: one of them or both.
pub(super) struct Outcome {
    pub(super) facts: Option<Facts>,
    pub(super) trouble: Option<Trouble>,
}

impl Outcome {
    fn into_reply(self, started: Instant) -> Reply {
        let took = || SignedDuration::try_from(started.elapsed()).unwrap_or(SignedDuration::MAX);
        let end = match self.trouble {
            None => End::Ok,
            Some(Trouble { stage, reason }) => End::Miss(Miss { stage, reason, took: took() }),
        };
        Reply { facts: self.facts, end }
    }
}

impl From<Result<Facts, Trouble>> for Outcome {
    fn from(result: Result<Facts, Trouble>) -> Self {
        match result {
            Ok(facts) => Self { facts: Some(facts), trouble: None },
            Err(trouble) => trouble.into(),
        }
    }
}

impl From<Trouble> for Outcome {
    fn from(trouble: Trouble) -> Self {
        Self { facts: None, trouble: Some(trouble) }
    }
}

/// A Miss of which it is not known yet how long it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    pub(super) stage: Stage,
    pub(super) reason: Reason,
}

impl Trouble {
    pub(super) fn new(stage: Stage, reason: Reason) -> Self {
        Self { stage, reason }
    }

    /// What came was not the protocol; `message` is what came.
    pub(super) fn strange(message: &[u8]) -> Self {
        Self::not_the_protocol(text::sketch(message))
    }

    /// What came was not the protocol, in words.
    pub(super) fn not_the_protocol(what: impl Into<String>) -> Self {
        Self::new(Stage::Reply, Reason::NotTheProtocol(what.into()))
    }

    /// The same at another stage.
    pub(super) fn at(mut self, stage: Stage) -> Self {
        self.stage = stage;
        self
    }

    /// What a connection that was open says when it breaks.
    pub(super) fn broken(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        let reason = match error.kind() {
            Kind::UnexpectedEof
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::NotConnected
            | Kind::WriteZero => Reason::Closed,
            Kind::TimedOut => Reason::Silent,
            _ => Reason::Local(text::local_error(error)),
        };
        Self::new(Stage::Reply, reason)
    }
}
