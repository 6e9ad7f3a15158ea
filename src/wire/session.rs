//! Sessions with directories: opened once, logged on once, and kept for all searches that go there.

use super::{
    bind::Line,
    conversation::{Trouble, Wire},
    credential::{Credential, Identity},
    fence::fenced,
    ldap,
    pump::{Limits, pump},
    security::{Establish, Gssapi, Kdc, Layer, Sealing, Target, WithPassword, seal},
    stores, tcp, text,
    ticket::Ticket,
    verified,
};
use exchange_preflight_checks::model::{
    ask::Endpoint,
    evidence::{Reason, Stage},
    plan::LogonWay,
};
use ldap3::Ldap;
use std::{
    collections::BTreeMap,
    future::Future,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, duplex},
    net::TcpStream,
    sync::OwnedMutexGuard,
    task::JoinSet,
    time::{Instant, timeout},
};
use tracing::debug;

/// The largest message of a search. Active Directory shows 1,500 values of an attribute at a time, and 5,000 at the most; each
/// message is in memory several times while it is unsealed and read.
const LONGEST_MESSAGE: usize = 4 * 1024 * 1024;

/// A service that broke off twice is left in peace, and at once where nobody could log on.
const MOST_FAILURES: usize = 2;

pub(super) const KDC_PORT: u16 = 88;

/// One slot for each service. Who has the slot has the session: searches of one service follow one another.
#[derive(Default)]
pub(super) struct Sessions {
    slots: Mutex<BTreeMap<Endpoint, Arc<tokio::sync::Mutex<Slot>>>>,
}

impl Sessions {
    /// The slot of a service, once it is free.
    pub(super) async fn slot(&self, to: &Endpoint) -> OwnedMutexGuard<Slot> {
        let slot = {
            let mut slots = self.slots.lock().expect("nothing panics while it holds this lock");
            Arc::clone(slots.entry(to.clone()).or_default())
        };
        slot.lock_owned().await
    }
}

/// What is known of a service.
#[derive(Default)]
pub(super) struct Slot {
    session: Option<Session>,
    failures: usize,
    /// What went wrong the last time.
    last: Option<Trouble>,
}

impl Slot {
    /// The session, opened where there is none. One that broke is opened once more.
    pub(super) async fn session(
        &mut self,
        wire: &Wire,
        credential: &Credential,
        to: SocketAddr,
        host: &str,
    ) -> Result<&Session, Trouble> {
        if let Some(broken) = self.session.as_ref().and_then(Session::broken) {
            self.fail(broken);
        }
        if self.session.is_none() {
            if let Some(last) = self.last.as_ref().filter(|_| self.failures >= MOST_FAILURES) {
                return Err(last.clone());
            }
            let opened = Box::pin(open(wire, credential, to, host)).await;
            match opened.map_err(|trouble| judged(credential, trouble)) {
                Ok(session) => {
                    debug!(%to, host, way = credential.way.word(), "bound");
                    self.session = Some(session);
                }
                Err(trouble) => {
                    debug!(%to, host, stage = ?trouble.stage, reason = ?trouble.reason, "not bound");
                    self.fail(trouble.clone());
                    self.failures = MOST_FAILURES;
                    return Err(trouble);
                }
            }
        }
        Ok(self.session.as_ref().expect("it was opened if it was not there"))
    }

    /// The session is of no use any more.
    pub(super) fn fail(&mut self, why: Trouble) {
        self.session = None;
        // Who says nothing would keep every search waiting once more.
        self.failures = if why.reason == Reason::Silent { MOST_FAILURES } else { self.failures + 1 };
        self.last = Some(why);
    }

    /// The session, where one is open.
    pub(super) fn open(&self) -> Option<&Session> {
        self.session.as_ref()
    }

    /// The session is closed, and nobody is to blame.
    pub(super) fn close(&mut self) {
        self.session = None;
    }
}

/// An open session. It ends when it is dropped.
pub(super) struct Session {
    pub(super) ldap: Ldap,
    left: Arc<AtomicUsize>,
    ended: Ended,
    _tasks: JoinSet<()>,
}

impl Session {
    /// The server may send so much from now on.
    pub(super) fn allow(&self, bytes: usize) {
        self.left.store(bytes, Ordering::Relaxed);
    }

    /// Why it ended, as far as anybody noticed.
    pub(super) fn broken(&self) -> Option<Trouble> {
        self.ended.get()
    }

    /// A client over a stream on which somebody has logged on. `sealed` is what unseals it, where it is sealed.
    async fn over<S>(stream: S, sealed: Option<Gssapi<Box<dyn Sealing>>>) -> Result<Self, Trouble>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        // Larger than any request of ours, so that who reads an answer never waits for who writes a request.
        const PIPE: usize = 64 * 1024;
        let (mut tasks, ended, left) = (JoinSet::new(), Ended::default(), Arc::default());
        let limits = Limits { left: Arc::clone(&left), longest: LONGEST_MESSAGE, idle: Duration::from_hours(24) };
        let (mut ours, theirs) = ldap::pair().await.map_err(|error| Trouble::broken(&error))?;
        let note = ended.clone();
        if let Some(context) = sealed {
            let (plain, mut inner) = duplex(PIPE);
            let first = ended.clone();
            spawn(&mut tasks, async move { first.note(seal(context, stream, &mut inner).await) });
            spawn(&mut tasks, async move { note.note(pump(plain, &mut ours, limits).await) });
        } else {
            spawn(&mut tasks, async move { note.note(pump(stream, &mut ours, limits).await) });
        }
        let client = ldap::client(theirs).await;
        let (connection, ldap) = client.map_err(|error| Trouble::not_the_protocol(text::quoted(&error.to_string())))?;
        spawn(&mut tasks, async move {
            // Whoever waits for an answer learns of its end.
            let _ = connection.drive().await;
        });
        Ok(Self { ldap, left, ended, _tasks: tasks })
    }
}

/// In the background, and behind the fence.
fn spawn(tasks: &mut JoinSet<()>, future: impl Future<Output = ()> + Send + 'static) {
    tasks.spawn(async move {
        let _ = fenced(future).await;
    });
}

/// Why a session ended: the first who noticed has the word. It is noted before the stream is closed by which others learn of
/// the end.
#[derive(Clone, Default)]
struct Ended(Arc<Mutex<Option<Trouble>>>);

impl Ended {
    fn note(&self, how: Result<(), Trouble>) {
        if let Err(trouble) = how {
            self.0.lock().expect("nothing panics while it holds this lock").get_or_insert(trouble);
        }
    }

    fn get(&self) -> Option<Trouble> {
        self.0.lock().expect("nothing panics while it holds this lock").clone()
    }
}

/// Did anybody say no to the credential? What else keeps us from logging on says nothing of the next controller.
pub(super) fn judged(credential: &Credential, trouble: Trouble) -> Trouble {
    if trouble.stage != Stage::Bind || credential.gate.closed().is_some() {
        return trouble;
    }
    let reason = match trouble.reason {
        Reason::Silent => Reason::NoLogon("it gave no answer".into()),
        Reason::Closed => Reason::NoLogon("it closed the connection".into()),
        Reason::ServerSaid(what) | Reason::NotTheProtocol(what) | Reason::Local(what) => Reason::NoLogon(what),
        other => other,
    };
    Trouble::new(Stage::Bind, reason)
}

async fn open(wire: &Wire, credential: &Credential, to: SocketAddr, host: &str) -> Result<Session, Trouble> {
    let server = tcp::connect(to, &wire.budgets).await?;
    debug!(%to, host, "connected");
    let Credential { way, identity, gate, .. } = credential;
    match identity {
        Identity::User(user, password) => {
            if *way == LogonWay::Kerberos {
                let attempt = turn(wire, gate.enter(host)).await?;
                let (budgets, clock) = (wire.budgets, wire.clock);
                let kdc = Kdc { address: SocketAddr::new(to.ip(), KDC_PORT), budgets, clock };
                let context = WithPassword::new(user, password, Target::directory(host), kdc, attempt)?;
                return Box::pin(sealed(wire, server, context, *way)).await;
            }
            let until = || Instant::now() + wire.budgets.reply;
            let server = match way {
                LogonWay::Starttls => in_time(wire, Stage::Tls, Line::new(server).start_tls()).await?,
                _ => server,
            };
            let trust = wire.trust.get_or_try_init(|| stores::trust(&wire.stores)).await?;
            let inside = verified::begin(server, host, trust, wire.clock, until()).await?;
            let mut attempt = turn(wire, gate.enter(host)).await?;
            let binding = Line::new(inside).simple(user, password, *way, &mut attempt);
            Session::over(in_time(wire, Stage::Bind, binding).await?, None).await
        }
        Identity::Ticket { domain } => {
            let context = Ticket::new(Target::directory(host), domain)?;
            Box::pin(sealed(wire, server, context, *way)).await
        }
    }
}

/// Logs on by Kerberos. Libraries that read what a server sends are in here, so it is fenced.
async fn sealed<C>(wire: &Wire, server: TcpStream, kerberos: C, way: LogonWay) -> Result<Session, Trouble>
where
    C: Establish + Sealing + 'static,
{
    let binding = fenced(async move {
        let mut context = Gssapi::new(kerberos, Layer::Sealed);
        let stream = Line::new(server).sasl(&mut context, way).await?;
        Ok((stream, context.boxed()))
    });
    let bound = in_time(wire, Stage::Bind, async { Ok(binding.await) }).await?;
    let (stream, context) = bound.unwrap_or_else(|_panicked| {
        Err(Trouble::not_the_protocol("a token of Kerberos that says nothing sensible").at(Stage::Bind))
    })?;
    Session::over(stream, Some(context)).await
}

/// Waits while another server is asked whether the password is right.
pub(super) async fn turn<T>(wire: &Wire, entering: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
    timeout(waiting(wire), entering).await.unwrap_or_else(|_| {
        let why = "other servers are still being asked whether the password is right".into();
        Err(Trouble::new(Stage::Bind, Reason::Local(why)))
    })
}

/// How long that may take.
pub(super) fn waiting(wire: &Wire) -> Duration {
    2 * (wire.budgets.connect + wire.budgets.reply)
}

/// How long it may take until somebody has logged on.
pub(super) fn opening(wire: &Wire) -> Duration {
    let (connect, reply) = (wire.budgets.connect, wire.budgets.reply);
    connect + stores::PATIENCE + 3 * reply + waiting(wire)
}

pub(super) async fn in_time<T>(
    wire: &Wire,
    stage: Stage,
    work: impl Future<Output = Result<T, Trouble>>,
) -> Result<T, Trouble> {
    timeout(wire.budgets.reply, work).await.unwrap_or_else(|_| Err(Trouble::new(stage, Reason::Silent)))
}
