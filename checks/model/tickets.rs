//! Tickets of services: for which SPNs they are asked, of whom, and what came of it.

use crate::{
    facts::{
        dns::is_host_name,
        kerberos::{KrbError, describe_error},
        net::Transport,
        spn::{Spn, class},
        ticket::{Grant, Hop, MOST_REALMS, RealmKdc, ServiceTicket, TicketGranting, TicketReply, etype},
    },
    model::{
        accounts::{needed, peers},
        ask::Ask,
        check::Need,
        connectors::Connectors,
        estate::Estate,
        evidence::{Answer, Evidence, Miss},
        finding::Subject,
        informants::are_settled,
        kdcs::{Abroad, Chosen, Kdcs, of_realm},
        listeners::quote,
        organisation::searches,
        plan::LogonWay,
        principals::strangers,
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::{fmt, net::SocketAddr};

/// A transport by which tickets are asked for.
pub const TRANSPORTS: [Transport; 2] = [Transport::Tcp, Transport::Udp];

/// Whoever logs on with a ticket of this machine has it from a KDC that the system chose.
pub fn is_systems_own(estate: &Estate) -> bool {
    estate.plan.logon.as_ref().is_some_and(|logon| logon.way == LogonWay::Ticket)
}

/// The SPNs for which peers ask a ticket before they hand mail over, and whose host each is: its own name, and the one by which its
/// connector answers EHLO. None until it is told which servers there are.
pub fn needed_spns(estate: &Estate, evidence: &Evidence) -> BTreeMap<Spn, String> {
    if !are_settled(&[searches::servers], estate, evidence) {
        return BTreeMap::new();
    }
    let strangers = strangers(estate, evidence);
    let known: Vec<_> = peers(estate).into_iter().filter(|host| !strangers.contains(host)).collect();
    let mut spns = BTreeMap::new();
    for host in &known {
        for name in names_of_connectors(host, estate, evidence) {
            spns.insert(Spn::new(class::SMTPSVC, &name), (*host).to_string());
        }
    }
    // A name that another server's connector bears stays its owner's.
    spns.extend(known.iter().map(|host| (needed(host), (*host).to_string())));
    spns
}

fn names_of_connectors(host: &str, estate: &Estate, evidence: &Evidence) -> BTreeSet<String> {
    let Some(connectors) = Connectors::of(host, estate, evidence) else { return BTreeSet::new() };
    let Some(port) = connectors.dialled_by(false) else { return BTreeSet::new() };
    let places = estate.addresses(host).map(|address| SocketAddr::new(address, port));
    let names = places.filter_map(|place| connectors.default_at(place)?.fqdn.clone());
    names.filter(|name| is_host_name(name)).collect()
}

/// A ticket-granting ticket of this KDC.
pub fn ticket_granting(chosen: &Chosen, transport: Transport) -> Ask {
    Ask::new(chosen.endpoint(), TicketGranting { transport })
}

/// Did it give one?
pub fn gave_ticket_granting(chosen: &Chosen, transport: Transport, evidence: &Evidence) -> bool {
    let answer = evidence.answer::<TicketGranting>(&ticket_granting(chosen, transport));
    answer.miss().is_none() && answer.facts().and_then(TicketReply::last).and_then(Hop::grant).is_some()
}

/// The KDCs that are asked for service tickets, with the transports that come into question: those over which they gave a
/// ticket-granting ticket. Where the system chooses, there is one.
pub fn granting(kdcs: &Kdcs, estate: &Estate, evidence: &Evidence) -> Vec<(Chosen, Vec<Transport>)> {
    if is_systems_own(estate) {
        return kdcs.chosen.first().map(|first| (first.clone(), [Transport::Tcp].into())).into_iter().collect();
    }
    let of = |chosen: &Chosen| {
        let gave = |transport: &Transport| gave_ticket_granting(chosen, *transport, evidence);
        (chosen.clone(), TRANSPORTS.into_iter().filter(gave).collect())
    };
    kdcs.chosen.iter().map(of).filter(|(_, transports): &(_, Vec<_>)| !transports.is_empty()).collect()
}

/// What every check needs that judges tickets: to know whom to ask, and that they give any.
pub fn needs_of_kdcs(kdcs: &Kdcs, transports: &[Transport], estate: &Estate) -> Vec<Need> {
    let mut needs: Vec<_> = kdcs.asks.iter().map(|ask| Need { subject: Subject::Estate, ask: ask.clone() }).collect();
    if !is_systems_own(estate) {
        for (chosen, transport) in kdcs.chosen.iter().flat_map(|one| transports.iter().map(move |t| (one, *t))) {
            let to = chosen.endpoint();
            let subject = Subject::Port(to.host, to.port, transport);
            needs.push(Need { subject, ask: ticket_granting(chosen, transport) });
        }
    }
    needs
}

/// A service ticket, asked of this KDC.
pub fn service_ticket(chosen: &Chosen, spn: &str, transport: Transport, path: &[RealmKdc]) -> Ask {
    Ask::new(chosen.endpoint(), ServiceTicket { spn: spn.to_string(), transport, path: path.to_vec() })
}

/// A way from a KDC to a ticket, through other realms where it refers to them.
#[derive(Debug)]
pub struct Walk<'e> {
    /// Everything to be asked on it, by what is known so far.
    pub asks: Vec<Ask>,
    /// The realms on the way behind the first.
    pub path: Vec<RealmKdc>,
    /// How it ended.
    pub end: WalkEnd<'e>,
}

/// How a way to a ticket ended.
#[derive(Debug)]
pub enum WalkEnd<'e> {
    /// With a ticket.
    Granted(&'e Grant),
    /// A KDC refused it.
    Refused(KrbError),
    /// A KDC on the way refused the way itself.
    Barred(String, KrbError),
    /// A KDC refers to a realm that it came from.
    Loop(String),
    /// Through too many realms.
    TooFar,
    /// It leads through a realm of which no KDC can be asked, and why.
    Lost(String, String),
    /// No answer.
    Missed(&'e Miss),
    /// Not asked yet, or nothing that can be read.
    Untold,
}

/// Walks from a KDC to the ticket over TCP, as far as the evidence leads.
pub fn walk<'e>(from: &Chosen, spn: &str, estate: &Estate, evidence: &'e Evidence) -> Walk<'e> {
    let (mut asks, mut path): (Vec<Ask>, Vec<RealmKdc>) = (Vec::new(), Vec::new());
    loop {
        let ask = service_ticket(from, spn, Transport::Tcp, &path);
        let next = step(&evidence.answer::<ServiceTicket>(&ask), spn);
        asks.push(ask);
        let realm = match next {
            Step::Ended(end) => return Walk { asks, path, end },
            Step::On(realm) => realm,
        };
        let was_there = [&from.kdc].into_iter().chain(&path).any(|kdc| kdc.realm.eq_ignore_ascii_case(realm));
        if was_there {
            return Walk { asks, path, end: WalkEnd::Loop(quote(realm)) };
        }
        if path.len() == MOST_REALMS {
            return Walk { asks, path, end: WalkEnd::TooFar };
        }
        let (lookups, abroad) = of_realm(realm, estate, evidence);
        asks.extend(lookups);
        match abroad {
            Abroad::At(kdc) => path.push(kdc),
            Abroad::Untold => return Walk { asks, path, end: WalkEnd::Untold },
            Abroad::Nowhere(why) => return Walk { asks, path, end: WalkEnd::Lost(quote(realm), why) },
        }
    }
}

enum Step<'e> {
    Ended(WalkEnd<'e>),
    On(&'e str),
}

fn step<'e>(answer: &Answer<'e, TicketReply>, spn: &str) -> Step<'e> {
    let last = match answer {
        Answer::NotAsked => return Step::Ended(WalkEnd::Untold),
        Answer::Missed(miss) | Answer::Told(_, Some(miss)) => return Step::Ended(WalkEnd::Missed(miss)),
        Answer::Told(reply, None) => reply.last(),
    };
    let Some(last) = last else { return Step::Ended(WalkEnd::Untold) };
    if let Some(grant) = last.grant() {
        let is_it = grant.server.eq_ignore_ascii_case(spn);
        return match grant.refers_to(&last.realm).filter(|_| !is_it) {
            Some(realm) => Step::On(realm),
            None => Step::Ended(WalkEnd::Granted(grant)),
        };
    }
    Step::Ended(match last.error() {
        Some(error) if last.wanted.eq_ignore_ascii_case(spn) => WalkEnd::Refused(error),
        Some(error) => WalkEnd::Barred(quote(&last.wanted), error),
        None => WalkEnd::Untold,
    })
}

/// `KRB-ERROR 7, service principal unknown: ...`
pub fn describe(error: &KrbError) -> String {
    format!("KRB-ERROR {}, {}", error.code, describe_error(error.code))
}

/// An encryption type as administrators call it.
pub struct EtypeName(pub i64);

impl fmt::Display for EtypeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            17 => f.write_str("AES-128"),
            18 => f.write_str("AES-256"),
            19 => f.write_str("AES-128 with SHA-2"),
            20 => f.write_str("AES-256 with SHA-2"),
            etype::RC4 => f.write_str("RC4"),
            1 | 3 => f.write_str("DES"),
            other => write!(f, "encryption type {other}"),
        }
    }
}
