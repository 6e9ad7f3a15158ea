//! What came back. Evidence is ordered by what was asked and never by when it arrived.

use crate::model::ask::{Ask, Endpoint, Facts, Query};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};
use core::{fmt, net::IpAddr};
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// What was reached, and how it ended. Both may be: "EHLO known, handshake failed".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reply {
    /// What was learnt before the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub facts: Option<Facts>,
    /// The end.
    pub end: End,
}

/// How a conversation ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// As it should.
    Ok,
    /// Before it was through.
    Miss(Miss),
}

/// Why a question was not answered. It is data and no error: a closed port is what some questions want to know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miss {
    /// How far it came.
    pub stage: Stage,
    /// What happened there.
    pub reason: Reason,
    /// How long it took, from the moment it was our turn.
    pub took: SignedDuration,
}

/// The stages of a conversation, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Finding the address.
    Resolve,
    /// Opening the connection, or sending the datagram.
    Connect,
    /// The server's greeting.
    Greet,
    /// The TLS handshake.
    Tls,
    /// Logging on.
    Bind,
    /// The answer itself.
    Reply,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The host says that nothing listens: a TCP reset, or ICMP port unreachable.
    Refused,
    /// Nothing came back in time: a firewall drops, or the host is down.
    Silent,
    /// A firewall said so: ICMP "administratively prohibited".
    Prohibited,
    /// A router said that the host or its network cannot be reached.
    Unreachable,
    /// This machine has no route there, as one without IPv6 has none to an IPv6 address.
    NoRoute,
    /// The server closed the connection.
    Closed,
    /// What came was not the protocol.
    NotTheProtocol(String),
    /// The server answered that it cannot: SERVFAIL, an LDAP result, `421`.
    ServerSaid(String),
    /// Nobody could log on there, and nobody judged the credential: its KDC is silent, the server is busy or wants another way.
    NoLogon(String),
    /// This machine could not: out of sockets, a broken resolver configuration.
    Local(String),
    /// The run was interrupted before the answer.
    Interrupted,
}

impl Miss {
    /// No packet that any listener sent came back: the silence that a dark host and a firewall have in common.
    pub fn is_darkness(&self) -> bool {
        self.stage == Stage::Connect && matches!(self.reason, Reason::Silent | Reason::Unreachable | Reason::Prohibited)
    }

    /// It is this machine's lack of a route and says nothing about the host.
    pub fn is_no_route(&self) -> bool {
        self.reason == Reason::NoRoute
    }
}

impl fmt::Display for Miss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after = self.stage > Stage::Connect;
        match &self.reason {
            Reason::Refused => f.write_str("refused"),
            // It was silent before, and was not asked anew.
            Reason::Silent if after && self.took.as_secs() == 0 => f.write_str("open, but it gave no answer"),
            Reason::Silent if after => write!(f, "open, but no answer within {:.0} s", self.took.as_secs_f64()),
            Reason::Silent => f.write_str("filtered: no answer at all"),
            Reason::Prohibited => f.write_str("prohibited: a firewall refuses it (ICMP administratively prohibited)"),
            Reason::Unreachable => f.write_str("unreachable: a router knows no way to the host"),
            Reason::NoRoute => f.write_str("this machine has no route to the address"),
            Reason::Closed => f.write_str("the server closed the connection without an answer"),
            Reason::NotTheProtocol(what) => write!(f, "another protocol answered: {what}"),
            Reason::ServerSaid(what) => write!(f, "the server said: {what}"),
            Reason::NoLogon(what) => write!(f, "nobody could log on: {what}"),
            Reason::Local(what) => write!(f, "this machine could not ask: {what}"),
            Reason::Interrupted => f.write_str("the run was interrupted before the answer"),
        }
    }
}

/// One Ask with its Reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// The question.
    pub ask: Ask,
    /// The answer.
    pub reply: Reply,
    /// When the answer was in, by our clock.
    pub when: Timestamp,
}

impl Observation {
    /// The question with its answer, if it is of this kind.
    pub fn of_kind<Q: Query>(&self) -> Option<(&Ask, &Q, Answer<'_, Q::Facts>)> {
        Some((&self.ask, Q::of(&self.ask.what)?, answer_of::<Q>(&self.reply)))
    }
}

/// From where a run looked.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Vantage {
    /// The machine's own name.
    pub host: String,
    /// Its addresses, as far as they were used.
    pub addresses: Vec<IpAddr>,
}

/// All that one vantage observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Evidence {
    /// By host first: an Ask's order begins with its host too, so both levels together are in the order of Asks.
    hosts: BTreeMap<String, BTreeMap<Ask, Observation>>,
    latest: Timestamp,
}

/// What evidence has to say to a question.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer<'e, F> {
    /// Nobody asked, or the answer is still under way.
    NotAsked,
    /// Nothing was learnt.
    Missed(&'e Miss),
    /// Something was learnt, and the conversation ended well or, with a Miss, early.
    Told(&'e F, Option<&'e Miss>),
}

impl<'e, F> Answer<'e, F> {
    /// The facts, however it ended.
    pub fn facts(&self) -> Option<&'e F> {
        if let Self::Told(facts, _) = self { Some(facts) } else { None }
    }

    /// How it failed, if it did.
    pub fn miss(&self) -> Option<&'e Miss> {
        match self {
            Self::Missed(miss) | Self::Told(_, Some(miss)) => Some(miss),
            Self::NotAsked | Self::Told(_, None) => None,
        }
    }
}

impl Evidence {
    /// Adds an observation; a later one of an equal Ask would be a bug of the survey and does not replace the first.
    pub fn insert(&mut self, observation: Observation) {
        self.latest = self.latest.max(observation.when);
        let host = self.hosts.entry(observation.ask.to.host.clone()).or_default();
        host.entry(observation.ask.clone()).or_insert(observation);
    }

    /// When the last answer was in.
    pub fn latest(&self) -> Timestamp {
        self.latest
    }

    /// Was this asked and answered, well or not?
    pub fn holds(&self, ask: &Ask) -> bool {
        self.find(ask).is_some()
    }

    /// All observations in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Observation> {
        self.hosts.values().flat_map(BTreeMap::values)
    }

    /// All observations of one host.
    pub fn of_host(&self, host: &str) -> impl Iterator<Item = &Observation> {
        self.hosts.get(host).into_iter().flat_map(BTreeMap::values)
    }

    /// The observation of an Ask.
    pub fn find(&self, ask: &Ask) -> Option<&Observation> {
        self.hosts.get(&ask.to.host)?.get(ask)
    }

    /// The answer to a question's first look.
    pub fn get<Q: Query>(&self, to: &Endpoint, question: &Q) -> Answer<'_, Q::Facts> {
        self.answer::<Q>(&Ask::new(to.clone(), question.clone()))
    }

    /// The answer to an Ask.
    pub fn answer<Q: Query>(&self, ask: &Ask) -> Answer<'_, Q::Facts> {
        match self.find(ask) {
            None => Answer::NotAsked,
            Some(observation) => answer_of::<Q>(&observation.reply),
        }
    }

    /// All questions of one kind with their answers.
    pub fn all<Q: Query>(&self) -> impl Iterator<Item = (&Ask, &Q, Answer<'_, Q::Facts>)> {
        self.iter().filter_map(Observation::of_kind)
    }

    /// A host is dark when it was asked at two ports or more and no packet ever came back from any.
    pub fn is_dark(&self, host: &str) -> bool {
        is_dark(self.of_host(host))
    }

    /// A host is alive when anything came back from it, be it a refusal.
    pub fn is_alive(&self, host: &str) -> bool {
        self.of_host(host).any(|observation| match &observation.reply {
            Reply { facts: Some(_), .. } | Reply { end: End::Ok, .. } => true,
            Reply { end: End::Miss(miss), .. } => miss.stage > Stage::Connect || miss.reason == Reason::Refused,
        })
    }

    /// Was the run interrupted before all of the host's questions were answered?
    pub fn was_cut_short(&self, host: &str) -> bool {
        self.of_host(host).any(|o| matches!(&o.reply.end, End::Miss(Miss { reason: Reason::Interrupted, .. })))
    }

    /// An address is dead when it is dark and the host is not: a record in DNS that leads nowhere.
    pub fn is_dead_address(&self, at: &Endpoint) -> bool {
        is_dark(self.of_host(&at.host).filter(|o| o.ask.to.address == at.address)) && !self.is_dark(&at.host)
    }
}

fn is_dark<'e>(observations: impl Iterator<Item = &'e Observation>) -> bool {
    let mut ports = BTreeSet::new();
    for Observation { ask, reply, .. } in observations {
        match reply {
            Reply { end: End::Miss(miss), .. } if miss.is_no_route() => {}
            Reply { facts: None, end: End::Miss(miss) } if miss.is_darkness() => drop(ports.insert(ask.to.port)),
            _ => return false,
        }
    }
    ports.len() >= 2
}

impl FromIterator<Observation> for Evidence {
    fn from_iter<I: IntoIterator<Item = Observation>>(observations: I) -> Self {
        let mut evidence = Self::default();
        observations.into_iter().for_each(|observation| evidence.insert(observation));
        evidence
    }
}

fn answer_of<Q: Query>(reply: &Reply) -> Answer<'_, Q::Facts> {
    let miss = if let End::Miss(miss) = &reply.end { Some(miss) } else { None };
    match (reply.facts.as_ref().and_then(Q::facts), miss) {
        (Some(facts), miss) => Answer::Told(facts, miss),
        (None, Some(miss)) => Answer::Missed(miss),
        (None, None) => Answer::NotAsked,
    }
}
