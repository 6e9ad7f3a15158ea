//! Asks all that is wanted, until nothing new is: the loop, and the rules by which it spares other people's servers.

use crate::wire::{clock::Clock, conversation::Wire};
use exchange_preflight_checks::facts::net::Transport;
use exchange_preflight_checks::model::{
    ask::{Ask, Facts, Question},
    check::{Check, wanted},
    evidence::{End, Evidence, Miss, Observation, Reason, Reply, Stage},
    plan::Plan,
};
use jiff::SignedDuration;
use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, futures::Notified},
    task::{Id, JoinError, JoinSet, spawn_blocking},
    time::{Instant, sleep},
};

/// Conversations at once with one service at one address. Two is what a client and its retry are.
const PER_SERVICE: usize = 2;
/// Questions at once to one resolver: single datagrams, and hundreds of names are looked up.
const PER_RESOLVER: usize = 32;
/// Connections at once to one address. Datagrams need none, so that a dark host costs one timeout and not a sum.
const PER_ADDRESS: usize = 16;
/// Conversations at once in all, however many descriptors there are.
const MOST_IN_ALL: u64 = 4096;
/// How long a server that says 421, "too busy", is left alone by one of the two.
const BACK_OFF: Duration = Duration::from_secs(2);
/// After an interruption, time for a last word.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// What a survey brought home.
pub struct Survey {
    /// All observations. What was interrupted is among them as a Miss.
    pub evidence: Evidence,
    /// It was interrupted.
    pub interrupted: bool,
}

/// How far a survey is.
#[derive(Clone, Copy, Debug)]
pub struct Progress {
    /// Questions answered, well or not.
    pub answered: usize,
    /// Questions asked so far; more may follow from the answers.
    pub asked: usize,
}

/// Asks until nothing new is wanted, or until `interrupt` is notified.
pub async fn survey(
    plan: Arc<Plan>,
    checks: &'static [&'static dyn Check],
    wire: Arc<Wire>,
    clock: Clock,
    interrupt: Notified<'_>,
    mut progress: impl FnMut(Progress),
) -> Survey {
    let mut evidence = Evidence::default();
    let mut asked = BTreeSet::new();
    let mut under_way = UnderWay::new(wire, clock);
    tokio::pin!(interrupt);
    loop {
        let thinking = Instant::now();
        let wishes;
        (evidence, wishes) = think(Arc::clone(&plan), checks, evidence).await;
        for ask in wishes {
            if asked.insert(ask.clone()) {
                under_way.ask(ask);
            }
        }
        let thought = thinking.elapsed();
        progress(Progress { answered: asked.len() - under_way.len(), asked: asked.len() });
        tokio::select! {
            biased;
            () = &mut interrupt => {
                under_way.last_words(&mut evidence).await;
                return Survey { evidence, interrupted: true };
            }
            observation = under_way.next() => match observation {
                Some(observation) => evidence.insert(observation),
                None => return Survey { evidence, interrupted: false },
            }
        }
        // Thinking costs the more the more is known: let answers gather, so that it never takes more than half the time.
        sleep(thought).await;
        while let Some(observation) = under_way.next_ready() {
            evidence.insert(observation);
        }
    }
}

/// Thinks on a thread of its own: on the thread of the sockets it would hold up answers whose instants are measured.
async fn think(
    plan: Arc<Plan>,
    checks: &'static [&'static dyn Check],
    evidence: Evidence,
) -> (Evidence, BTreeSet<Ask>) {
    let thought = spawn_blocking(move || {
        let asks = wanted(&plan, checks, &evidence);
        (evidence, asks)
    });
    thought
        .await
        .expect("what checks need is computed without panicking: the judgement tests run it on hostile evidence")
}

/// The conversations that are going on.
struct UnderWay {
    wire: Arc<Wire>,
    clock: Clock,
    permits: Permits,
    tasks: JoinSet<Observation>,
    asks: HashMap<Id, Ask>,
}

impl UnderWay {
    fn new(wire: Arc<Wire>, clock: Clock) -> Self {
        Self { wire, clock, permits: Permits::new(), tasks: JoinSet::new(), asks: HashMap::new() }
    }

    fn len(&self) -> usize {
        self.asks.len()
    }

    fn ask(&mut self, ask: Ask) {
        let (wire, clock, permits) = (Arc::clone(&self.wire), self.clock, self.permits.of(&ask));
        let kept = ask.clone();
        let task = self.tasks.spawn(async move {
            if let Some(instant) = ask.not_before {
                let wait = instant.duration_since(clock.now());
                sleep(Duration::try_from(wait).unwrap_or_default()).await;
            }
            let held = permits.acquire().await;
            let reply = wire.converse(&ask).await;
            held.give_back(&reply);
            Observation { when: clock.now(), ask, reply }
        });
        self.asks.insert(task.id(), kept);
    }

    async fn next(&mut self) -> Option<Observation> {
        let ended = self.tasks.join_next_with_id().await?;
        Some(self.ended(ended))
    }

    fn next_ready(&mut self) -> Option<Observation> {
        let ended = self.tasks.try_join_next_with_id()?;
        Some(self.ended(ended))
    }

    fn ended(&mut self, ended: Result<(Id, Observation), JoinError>) -> Observation {
        match ended {
            Ok((id, observation)) => {
                self.asks.remove(&id);
                observation
            }
            Err(error) => {
                let ask = self.asks.remove(&error.id()).expect("every task that was spawned has its ask here");
                let reason = Reason::Local("a fault in this program; please report it with the recording".into());
                self.unanswered(ask, reason)
            }
        }
    }

    fn unanswered(&self, ask: Ask, reason: Reason) -> Observation {
        let miss = Miss { stage: Stage::Connect, reason, took: SignedDuration::ZERO };
        Observation { ask, reply: Reply { facts: None, end: End::Miss(miss) }, when: self.clock.now() }
    }

    /// Gives what is under way a moment to end in good order, and notes what did not.
    async fn last_words(mut self, evidence: &mut Evidence) {
        let deadline = sleep(LAST_WORDS);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                () = &mut deadline => break,
                observation = self.next() => match observation {
                    Some(observation) => evidence.insert(observation),
                    None => return,
                }
            }
        }
        self.tasks.abort_all();
        for ask in std::mem::take(&mut self.asks).into_values() {
            evidence.insert(self.unanswered(ask, Reason::Interrupted));
        }
    }
}

/// Who may talk at once. Permits are always taken in one order, address, service, global, so that no two wait for each other.
struct Permits {
    addresses: HashMap<Option<IpAddr>, Arc<Semaphore>>,
    services: HashMap<Service, Arc<Semaphore>>,
    global: Arc<Semaphore>,
}

/// What counts its conversations by itself.
#[derive(PartialEq, Eq, Hash)]
enum Service {
    Port(Option<IpAddr>, u16, Transport),
    /// This machine's own verifier of certificates, which may ask the network.
    Verifier,
    /// All ports of SMTP: a server of mail counts the connections of a client whichever of them it came by.
    Smtp(Option<IpAddr>),
}

impl Service {
    fn of(ask: &Ask) -> Self {
        match ask.what {
            Question::SmtpSession(_) => Self::Smtp(ask.to.address),
            Question::PlatformTrust(_) => Self::Verifier,
            _ => Self::Port(ask.to.address, ask.to.port, ask.what.transport()),
        }
    }
}

/// The permits that one conversation needs.
struct PermitsOfOne {
    address: Option<Arc<Semaphore>>,
    service: Arc<Semaphore>,
    global: Arc<Semaphore>,
}

/// The permits that one conversation has.
struct Held {
    address: Option<OwnedSemaphorePermit>,
    service: OwnedSemaphorePermit,
    global: OwnedSemaphorePermit,
}

impl Permits {
    fn new() -> Self {
        // A conversation holds up to three descriptors: the socket, its twin for ICMP messages, the pair that LDAP talks through.
        let third = usize::try_from((descriptors() / 3).clamp(1, MOST_IN_ALL)).unwrap_or(1);
        Self { addresses: HashMap::new(), services: HashMap::new(), global: Arc::new(Semaphore::new(third)) }
    }

    fn of(&mut self, ask: &Ask) -> PermitsOfOne {
        let new = |permits| move || Arc::new(Semaphore::new(permits));
        let address = self.addresses.entry(ask.to.address);
        let service = self.services.entry(Service::of(ask));
        let per_service = if matches!(ask.what, Question::DnsLookup(_) | Question::RootsNamed(_)) {
            PER_RESOLVER
        } else {
            PER_SERVICE
        };
        PermitsOfOne {
            address: (ask.what.transport() == Transport::Tcp)
                .then(|| Arc::clone(address.or_insert_with(new(PER_ADDRESS)))),
            service: Arc::clone(service.or_insert_with(new(per_service))),
            global: Arc::clone(&self.global),
        }
    }
}

impl PermitsOfOne {
    async fn acquire(self) -> Held {
        let address = match self.address {
            Some(address) => Some(one_of(address).await),
            None => None,
        };
        Held { address, service: one_of(self.service).await, global: one_of(self.global).await }
    }
}

async fn one_of(semaphore: Arc<Semaphore>) -> OwnedSemaphorePermit {
    semaphore.acquire_owned().await.expect("no semaphore of a survey is ever closed")
}

impl Held {
    /// Who said that he is too busy is asked again a little later; what he said is known at once.
    fn give_back(self, reply: &Reply) {
        let Self { address, service, global } = self;
        drop((address, global));
        if is_busy(reply) {
            tokio::spawn(async move {
                sleep(BACK_OFF).await;
                drop(service);
            });
        }
    }
}

/// Did an SMTP server say 421 (RFC 5321 section 3.8)?
fn is_busy(reply: &Reply) -> bool {
    let Some(Facts::SmtpSession(seen)) = &reply.facts else { return false };
    seen.exchanges.iter().any(|exchange| exchange.code() == Some(421))
}

/// How many files this process may have open.
fn descriptors() -> u64 {
    #[cfg(unix)]
    return rlimit::Resource::NOFILE.get_soft().unwrap_or(256);
    #[cfg(not(unix))]
    return 3 * MOST_IN_ALL;
}

#[cfg(test)]
mod tests {
    use super::*;
    use exchange_preflight_checks::{
        facts::{
            raw::Raw,
            smtp::{Exchange, SmtpReply, SmtpSession, Upgrade},
            time::Span,
            tls::{Offer, TlsSession},
        },
        model::ask::Endpoint,
    };
    use jiff::Timestamp;

    fn smtp(port: u16) -> Ask {
        let to = Endpoint { host: "ex01".into(), address: Some([10, 0, 0, 1].into()), port };
        Ask::new(to, SmtpSession { upgrade: Upgrade::StartTls, offer: Offer::Usual })
    }

    fn reply(line: &str) -> Reply {
        let span = Span { sent: Timestamp::UNIX_EPOCH, received: Timestamp::UNIX_EPOCH };
        let greeting = Exchange { command: String::new(), span, lines: vec![line.into()], is_inside: false };
        let seen = SmtpReply { exchanges: vec![greeting], injected: Raw::default(), tls: None };
        Reply { facts: Some(Facts::SmtpSession(seen)), end: End::Ok }
    }

    #[test]
    fn the_ports_of_a_mail_server_count_together() {
        let mut permits = Permits::new();
        let (first, second) = (permits.of(&smtp(25)), permits.of(&smtp(587)));
        assert!(Arc::ptr_eq(&first.service, &second.service));
        let other = Ask { what: TlsSession { offer: Offer::Usual, name: None }.into(), ..smtp(25) };
        assert!(!Arc::ptr_eq(&first.service, &permits.of(&other).service));
    }

    #[tokio::test]
    async fn who_is_too_busy_is_left_alone_for_a_while() {
        let mut permits = Permits::new();
        let service = Arc::clone(&permits.of(&smtp(25)).service);
        permits.of(&smtp(25)).acquire().await.give_back(&reply("220 mail"));
        assert_eq!(service.available_permits(), PER_SERVICE);
        permits.of(&smtp(587)).acquire().await.give_back(&reply("421 4.3.2 too busy"));
        assert_eq!(service.available_permits(), PER_SERVICE - 1);
        let both = [permits.of(&smtp(25)).acquire().await, permits.of(&smtp(2525)).acquire().await];
        assert_eq!(service.available_permits() + both.len(), PER_SERVICE, "it came back in the end");
    }
}
