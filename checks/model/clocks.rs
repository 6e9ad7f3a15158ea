//! What all evidence together says of each host's clock. Facts, no opinion: which offset is too much, checks say.

use crate::{
    facts::{
        certificate::Certificate,
        directory::RootDse,
        kerberos::Kpasswd,
        net::{KERBEROS_PORT, KPASSWD_PORT, LDAP_PORT, NTP_PORT, SMB_PORT, SMTP_PORT, Transport},
        ntp::NtpTime,
        smb::SmbNegotiate,
        time::{Interval, Reading, aimed_instants, most_agreed},
    },
    model::{
        ask::{Ask, Endpoint, Facts},
        check::Need,
        estate::Estate,
        evidence::{Answer, Evidence, Observation},
        finding::Subject,
        listeners::{Listener, Service, listeners, smtp_port},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::ToString,
    vec,
    vec::Vec,
};
use core::{fmt, net::IpAddr};
use jiff::{SignedDuration, Timestamp};

/// Aimed polling goes on until a clock of whole seconds is known this well, or [`AIMED_ROUNDS`] have passed.
const WELL_ENOUGH: SignedDuration = SignedDuration::from_millis(17);
const AIMED_ROUNDS: u8 = 4;
const POLLS_A_ROUND: u8 = 3;

/// The services of a host that show its clock, each from a process of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// NTP.
    Ntp,
    /// The KDC, on its ports 88 and 464.
    Kdc,
    /// `currentTime` of the root DSE.
    Ldap,
    /// `SystemTime` of SMB2.
    Smb,
    /// The date in Exchange's SMTP greeting.
    Smtp,
    /// The date of an answer of Exchange's own web server.
    Http,
}

impl Source {
    /// A line of text that a proxy or an administrator may have written: it counts only where no better source tells.
    fn is_hearsay(self) -> bool {
        matches!(self, Self::Smtp | Self::Http)
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ntp => "NTP",
            Self::Kdc => "Kerberos",
            Self::Ldap => "LDAP",
            Self::Smb => "SMB",
            Self::Smtp => "SMTP",
            Self::Http => "HTTP",
        })
    }
}

/// Who shows a clock: a service at one of the host's addresses, behind which there may be another machine.
pub type Witness = (Source, Option<IpAddr>);

/// A host's clock, measured against ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostClock {
    /// What each witness says.
    pub witnesses: BTreeMap<Witness, Interval>,
    /// No witness contradicted itself.
    is_steady: bool,
}

impl HostClock {
    /// The offset *host minus us* that most witnesses share, of those whose word counts; `None` where none told.
    pub fn offset(&self) -> Option<Interval> {
        let shared = |is_hearsay: bool| {
            let witnesses = self.witnesses.iter().filter(|((source, _), _)| source.is_hearsay() == is_hearsay);
            let intervals: Vec<_> = witnesses.map(|(_, interval)| *interval).collect();
            most_agreed(&intervals).map(|(offset, _)| offset)
        };
        shared(false).or_else(|| shared(true))
    }

    /// The services that show a clock.
    pub fn sources(&self) -> BTreeSet<Source> {
        self.witnesses.keys().map(|(source, _)| *source).collect()
    }

    /// Can all readings be true at once?
    pub fn is_of_one_mind(&self) -> bool {
        let intervals: Vec<_> = self.witnesses.values().copied().collect();
        self.is_steady && most_agreed(&intervals).is_none_or(|(_, agreeing)| agreeing == intervals.len())
    }
}

/// The clock of `host`, all readings brought to one instant: two crystals drift while a run lasts.
pub fn clock_of(host: &str, evidence: &Evidence) -> HostClock {
    let mut said: BTreeMap<Witness, Vec<Interval>> = BTreeMap::new();
    for (to, source, reading) in readings(host, evidence) {
        said.entry((source, to.address)).or_default().push(reading.offset_at(evidence.latest()));
    }
    let mut clock = HostClock { witnesses: BTreeMap::new(), is_steady: true };
    for (witness, intervals) in said {
        // What one process says several times is true at once, if it is true at all.
        if let Some((interval, agreeing)) = most_agreed(&intervals) {
            clock.is_steady &= agreeing == intervals.len();
            clock.witnesses.insert(witness, interval);
        }
    }
    clock
}

/// What the estate's own clocks showed when the last answer came in: of the middle ones of them the one nearer to ours, or ours
/// where no host shows one. Dates of certificates are held against it, so that a machine whose clock is off judges as any other.
/// A banner or a web server alone is hearsay, and moves nothing. A certificate that is only supposed to be there is there no
/// sooner than it lives.
pub fn estate_now(estate: &Estate, evidence: &Evidence) -> Timestamp {
    let is_hearsay =
        |clock: &HostClock| clock.sources().iter().all(|source| matches!(source, Source::Smtp | Source::Http));
    let clocks = estate.hosts().into_iter().map(|host| clock_of(host, evidence)).filter(|clock| !is_hearsay(clock));
    let mut offsets: Vec<_> = clocks.filter_map(|clock| Some(clock.offset()?.middle())).collect();
    offsets.sort_unstable();
    let middle = [offsets.len().saturating_sub(1) / 2, offsets.len() / 2];
    let middle = middle.into_iter().filter_map(|at| offsets.get(at)).min_by_key(|offset| offset.abs());
    let offset = middle.copied().unwrap_or_default();
    let now = evidence.latest().checked_add(offset).unwrap_or_else(|_| evidence.latest());
    let supposed = estate.plan.inputs.supposed.as_ref().and_then(|supposed| supposed.chain.first());
    let begins = supposed.and_then(|der| Certificate::parse(&der.0).ok()).map(|new| new.not_before);
    begins.map_or(now, |begins| now.max(begins))
}

/// What must be asked to learn every host's clock.
pub fn clock_needs(estate: &Estate, evidence: &Evidence) -> Vec<Need> {
    let of_host = |host: &str| -> Vec<Need> {
        let subject = Subject::Host(host.to_string());
        let asks = clock_asks(host, estate, evidence).into_iter();
        asks.map(|ask| Need { subject: subject.clone(), ask }).collect()
    };
    let of_listener = |listener: Listener| -> Vec<Need> {
        let subject = Subject::Host(listener.to.host.clone());
        let asks = listener.first_asks(evidence).into_iter();
        asks.map(|ask| Need { subject: subject.clone(), ask }).collect()
    };
    let dated = listeners(estate).into_iter().filter(shows_a_date).flat_map(of_listener);
    estate.hosts().into_iter().flat_map(of_host).chain(dated).collect()
}

/// Where Exchange tells the time in passing: in the greetings of both its transport services, and in every answer of its web
/// server. They are asked as the checks of these ports ask, so it costs no connection.
fn shows_a_date(listener: &Listener) -> bool {
    match listener.service {
        Service::Smtp => [SMTP_PORT, smtp_port::TRANSPORT].contains(&listener.to.port),
        Service::Web => true,
        Service::Directory => false,
    }
}

fn clock_asks(host: &str, estate: &Estate, evidence: &Evidence) -> Vec<Ask> {
    let mut asks = Vec::new();
    for to in estate.endpoints(host, NTP_PORT) {
        let at = |port| Endpoint { port, ..to.clone() };
        let mut fine = vec![Ask::new(to.clone(), NtpTime), Ask::new(at(SMB_PORT), SmbNegotiate)];
        if estate.controllers.contains_key(host) {
            for transport in [Transport::Tcp, Transport::Udp] {
                fine.push(Ask::new(at(KERBEROS_PORT), estate.as_req(transport)));
            }
            fine.push(Ask::new(at(KPASSWD_PORT), Kpasswd { transport: Transport::Tcp }));
            if estate.plan.deep {
                fine.push(Ask::new(at(KPASSWD_PORT), Kpasswd { transport: Transport::Udp }));
            }
            asks.push(Ask::new(at(LDAP_PORT), RootDse { transport: Transport::Tcp }));
            asks.extend(aimed_polls(&at(LDAP_PORT), &fine, evidence));
        }
        asks.extend(fine);
    }
    asks
}

/// Where no fine clock answered but LDAP did, CLDAP's whole seconds are polled at aimed instants, in rounds that each cut what is
/// not known into four. A round is asked when the one before is over, so asking never depends on who was faster.
fn aimed_polls(to: &Endpoint, fine: &[Ask], evidence: &Evidence) -> Vec<Ask> {
    // Text is not waited for: with it, what is asked would depend on who answered first.
    let is_fine = |(at, source, _): (&Endpoint, Source, Reading)| {
        at.address == to.address && source != Source::Ldap && !source.is_hearsay()
    };
    let speaks_ldap = |observation: &Observation| {
        let facts = observation.reply.facts.as_ref();
        observation.ask.to == *to && matches!(facts, Some(Facts::NetlogonPing(_) | Facts::RootDse(_)))
    };
    let is_left_to_ldap = fine.iter().all(|ask| evidence.holds(ask)) && !readings(&to.host, evidence).any(is_fine);
    if !is_left_to_ldap || !evidence.of_host(&to.host).any(speaks_ldap) {
        return Vec::new();
    }
    let first = Ask::new(to.clone(), RootDse { transport: Transport::Udp });
    let mut asks = vec![first.clone()];
    for round in 0..AIMED_ROUNDS {
        let polled: Vec<_> = asks.iter().map(|ask| evidence.answer::<RootDse>(ask)).collect();
        if polled.contains(&Answer::NotAsked) {
            break;
        }
        let readings: Vec<_> = polled.iter().filter_map(|answer| answer.facts()?.reading()).collect();
        let offset = readings.iter().map(Reading::offset).reduce(|a, b| a.intersect(&b).unwrap_or(a));
        let (Some(offset), Some(last)) = (offset, readings.iter().map(|r| r.span.received).max()) else { break };
        if offset.width() <= WELL_ENOUGH {
            break;
        }
        let round_trip = readings.iter().map(|r| r.span.received.duration_since(r.span.sent)).min().unwrap_or_default();
        let look = 2 + round * POLLS_A_ROUND;
        let instants = aimed_instants(offset, after(last, round_trip), round_trip, i32::from(POLLS_A_ROUND));
        asks.extend((look..).zip(instants).map(|(look, instant)| first.clone().again(look, instant)));
    }
    asks
}

/// Leaves the survey time to get ready.
fn after(last: Timestamp, round_trip: SignedDuration) -> Timestamp {
    last.checked_add(round_trip.abs() + SignedDuration::from_millis(20)).unwrap_or(last)
}

/// Every reading of `host`, with the endpoint that showed it.
fn readings<'e>(host: &str, evidence: &'e Evidence) -> impl Iterator<Item = (&'e Endpoint, Source, Reading)> {
    evidence.of_host(host).filter_map(|observation| {
        let (source, reading) = reading_of(observation)?;
        Some((&observation.ask.to, source, reading))
    })
}

fn reading_of(observation: &Observation) -> Option<(Source, Reading)> {
    let (source, reading) = match observation.reply.facts.as_ref()? {
        // A kiss-o'-death carries no time worth reading (RFC 5905 section 7.4).
        Facts::NtpTime(reply) if reply.header()?.kiss_code().is_some() => return None,
        Facts::NtpTime(reply) => (Source::Ntp, reply.reading()),
        Facts::AsReq(reply) | Facts::Kpasswd(reply) => (Source::Kdc, reply.reading()),
        Facts::RootDse(reply) => (Source::Ldap, reply.reading()),
        Facts::SmbNegotiate(reply) => (Source::Smb, reply.reading()),
        Facts::SmtpSession(reply) => (Source::Smtp, reply.reading().filter(|_| reply.is_exchange())),
        Facts::HttpsGet(reply) => {
            (Source::Http, reply.answer.as_ref().filter(|answer| answer.is_exchange())?.reading())
        }
        Facts::DnsLookup(_)
        | Facts::NetlogonPing(_)
        | Facts::Connect(_)
        | Facts::TlsSession(_)
        | Facts::HttpFetch(_)
        | Facts::RootsNamed(_)
        | Facts::PlatformTrust(_)
        | Facts::DirectorySearch(_)
        | Facts::SpnScan(_)
        // A KDC's clock is known from the question that needs no logon.
        | Facts::TicketGranting(_)
        | Facts::ServiceTicket(_)
        | Facts::SmtpLogin(_)
        | Facts::HttpLogin(_) => return None,
    };
    Some((source, reading?))
}
