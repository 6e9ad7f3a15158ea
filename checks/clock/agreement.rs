//! `clock-agreement`: all clocks within five minutes of one another (KB 979174, cause 1).
//!
//! Every pair is judged, in intervals. Our own clock is the ruler and cancels out.

use crate::{
    facts::time::Interval,
    model::{
        cause::Trouble,
        check::{Basis, Check, Meta, Need},
        clocks::{clock_needs, clock_of},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Fold, Subject, Verdict},
        plan::{ClockLimits, ServerState},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::cmp::Reverse;
use jiff::SignedDuration;

/// See the module.
pub struct Agreement;

static META: Meta = Meta {
    id: "clock-agreement",
    area: "clock",
    title: "Clocks agree",
    question: "Are the clocks of all controllers and mail servers within 5 minutes of one another?",
    healthy: "within 5 min of every other controller and server",
    why: "Kerberos refuses tickets across a larger difference. A logon may still work, because a client corrects itself by the controller's answer, while the servers that hand mail to each other answer 454 4.7.0.",
    remedy: &[
        "On a member or a controller that is not the forest root's PDC emulator:",
        "    w32tm /config /syncfromflags:domhier /update",
        "    w32tm /resync /rediscover",
        "Only the forest root's PDC emulator gets outside time sources:",
        "    w32tm /config /manualpeerlist:\"<NTP SERVER>,0x8\" /syncfromflags:manual /reliable:yes /update",
        "On virtual controllers stop the hypervisor's time synchronisation. Never step the clock of a mounted DAG member far back.",
    ],
    references: &["Microsoft KB 979174", "Microsoft KB 956627", "MS-KILE section 3.1.1.2", "RFC 4120 section 1.6"],
    symptoms: &["454 4.7.0 Temporary authentication failure", "MSExchangeTransport event 1035", "KRB_AP_ERR_SKEW (37)"],
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Lab],
};

impl Check for Agreement {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        clock_needs(estate, evidence)
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let (mut clocks, mut unseen) = (Vec::new(), Vec::new());
        for host in estate.hosts() {
            match clock_of(host, evidence).offset() {
                Some(offset) => clocks.push(Clock { host, offset, is_outsider: estate.is_outsider(host) }),
                None if estate.addresses(host).next().is_some() && !evidence.was_cut_short(host) => unseen.push(host),
                None => {}
            }
        }
        let set = ClockSet::new(clocks, estate);
        let judged = set.clocks.iter().map(|clock| judge_clock(clock, &set));
        let unseen = unseen.into_iter().map(|host| judge_unseen(host, estate));
        judged.chain(unseen).chain(idle(estate)).collect()
    }
}

/// Servers that the plan takes out of service are not asked, and said to be so.
fn idle(estate: &Estate) -> impl Iterator<Item = Finding> {
    estate.servers.iter().filter_map(|(name, server)| {
        let reason = match server.state {
            ServerState::Active => return None,
            ServerState::Maintenance => "the plan says that it is in maintenance",
            ServerState::Retired => "the plan says that it is retired",
        };
        Some(Finding::new(&META, Subject::Host(name.clone()), Verdict::Skip, reason))
    })
}

/// A host with a clock that was seen.
struct Clock<'a> {
    host: &'a str,
    /// Host minus us.
    offset: Interval,
    /// An Edge server or gateway: no Kerberos binds it.
    is_outsider: bool,
}

impl Clock<'_> {
    fn apart_from(&self, other: &Self) -> Interval {
        self.offset.relative_to(&other.offset).magnitude()
    }
}

/// All clocks, with the one by which the others are blamed.
struct ClockSet<'a> {
    clocks: Vec<Clock<'a>>,
    estate: &'a Estate,
    /// Index of the clock that is held to be right.
    reference: Option<usize>,
}

impl<'a> ClockSet<'a> {
    fn new(clocks: Vec<Clock<'a>>, estate: &'a Estate) -> Self {
        let mut set = Self { clocks, estate, reference: None };
        let root = set.clocks.iter().position(|clock| set.is_time_root(clock));
        set.reference = match root {
            // The root of time is right unless all others agree that it is not; one other is no majority.
            Some(root) if set.partners(root) > 0 || set.bound().count() < 3 => Some(root),
            _ => set.majority().or(root),
        };
        set
    }

    fn limits(&self) -> ClockLimits {
        self.estate.plan.clock
    }

    fn is_time_root(&self, clock: &Clock<'_>) -> bool {
        self.estate.time_root() == Some(clock.host)
    }

    fn reference(&self) -> Option<&Clock<'a>> {
        Some(&self.clocks[self.reference?])
    }

    fn is_reference(&self, clock: &Clock<'_>) -> bool {
        self.reference().is_some_and(|reference| reference.host == clock.host)
    }

    fn bound(&self) -> impl Iterator<Item = (usize, &Clock<'a>)> {
        self.clocks.iter().enumerate().filter(|(_, clock)| !clock.is_outsider)
    }

    /// How many others are surely within the limit of this one.
    fn partners(&self, index: usize) -> usize {
        let clock = &self.clocks[index];
        self.bound()
            .filter(|(other, partner)| *other != index && clock.apart_from(partner).high <= self.limits().limit)
            .count()
    }

    /// The clock with which more than half of all agree, the first by name of several.
    fn majority(&self) -> Option<usize> {
        let best = self.bound().map(|(index, _)| index).max_by_key(|index| (self.partners(*index), Reverse(*index)))?;
        ((self.partners(best) + 1) * 2 > self.bound().count()).then_some(best)
    }

    /// It is the reference, or surely within the limit of it: then what another clock is not sure of is that clock's matter.
    fn is_surely_right(&self, clock: &Clock<'_>) -> bool {
        self.is_reference(clock)
            || self.reference().is_some_and(|reference| clock.apart_from(reference).high <= self.limits().limit)
    }

    /// The estate is known to be one host, so that there is nothing to be compared.
    fn is_alone(&self) -> bool {
        self.estate.hosts().len() == 1 && !self.estate.controllers.is_empty()
    }

    /// Of two that are too far apart: is it `clock` that is off? The one farther from the reference is; where both are
    /// about as far, or there is no reference, both are.
    fn blames(&self, clock: &Clock<'_>, other: &Clock<'_>) -> bool {
        let Some(reference) = self.reference() else { return true };
        let (own, others) = (clock.apart_from(reference), other.apart_from(reference));
        others.low.saturating_sub(own.high) <= self.limits().warn
    }
}

/// A partner, and how far away it is.
type Apart<'s, 'a> = (&'s Clock<'a>, Interval);

fn judge_clock(clock: &Clock<'_>, set: &ClockSet<'_>) -> Finding {
    let others = set.bound().map(|(_, other)| other).filter(|other| other.host != clock.host);
    let mut apart: Vec<Apart<'_, '_>> = others.map(|other| (other, clock.apart_from(other))).collect();
    // The reference first: "7 minutes ahead of the root of time" says more than any other pair, if it decides too.
    apart.sort_by_key(|(other, interval)| (!set.is_reference(other), Reverse(interval.low), other.host));
    let blamed = |(other, _): &&Apart<'_, '_>| set.blames(clock, other);
    let ClockLimits { limit, warn } = set.limits();
    let beyond = apart.iter().filter(|(_, interval)| interval.low > limit).find(blamed);
    let straddling = apart
        .iter()
        .filter(|(_, interval)| interval.low <= limit && interval.high > limit)
        .find(|(other, _)| !set.is_surely_right(clock) || set.is_surely_right(other));
    let drifting = apart.iter().filter(|(_, interval)| interval.low > warn).find(blamed);

    let finding = match (beyond, straddling, drifting) {
        (Some(pair), ..) if !clock.is_outsider => off(Verdict::Fail, clock, pair, set),
        (None, Some(pair), _) if !clock.is_outsider => undecided(clock, pair, set),
        (.., Some(pair)) => off(Verdict::Warn, clock, pair, set),
        _ if apart.is_empty() && !set.is_alone() => incomparable(clock),
        _ => fits(clock, apart.first(), set),
    };
    let finding = finding.expected(expected(clock, set.limits())).measure("offset-from-this-machine", clock.offset);
    match set.reference() {
        Some(reference) if reference.host != clock.host => {
            finding.measure("offset-from-reference", clock.offset.relative_to(&reference.offset))
        }
        _ => finding,
    }
}

fn expected(clock: &Clock<'_>, limits: ClockLimits) -> String {
    if clock.is_outsider {
        format!("within {:#} of the domain's clocks (outside the domain Kerberos does not bind it)", limits.warn)
    } else {
        format!("within {:#} of every other controller and server; healthy is under {:#}", limits.limit, limits.warn)
    }
}

fn fits(clock: &Clock<'_>, nearest: Option<&Apart<'_, '_>>, set: &ClockSet<'_>) -> Finding {
    let seen = match nearest {
        None => "the only clock that was seen".to_string(),
        Some(_) if set.is_reference(clock) => "the clock by which the others are judged".to_string(),
        Some((other, interval)) => format!("at most {} from {}", seconds(interval.high), other.host),
    };
    Finding::new(&META, Subject::Host(clock.host.to_string()), Verdict::Pass, seen)
}

fn incomparable(clock: &Clock<'_>) -> Finding {
    let subject = Subject::Host(clock.host.to_string());
    Finding::new(
        &META,
        subject,
        Verdict::Unknown,
        "it is the only clock that was seen, so there is none to compare it with",
    )
}

fn off(verdict: Verdict, clock: &Clock<'_>, (other, interval): &Apart<'_, '_>, set: &ClockSet<'_>) -> Finding {
    let is_ahead = clock.offset.middle() > other.offset.middle();
    let direction = if is_ahead { "ahead of" } else { "behind" };
    let seen =
        format!("{} {direction} {} (+/- {})", seconds(interval.middle()), other.host, seconds(interval.width() / 2));
    let host = clock.host.to_string();
    let finding = Finding::new(&META, Subject::Host(host.clone()), verdict, seen).is(Trouble::ClockOff(host));
    remedies(finding, clock, set)
}

fn undecided(clock: &Clock<'_>, (other, interval): &Apart<'_, '_>, set: &ClockSet<'_>) -> Finding {
    let seen = format!(
        "between {} and {} from {}: the limit lies within what could not be measured better",
        seconds(interval.low),
        seconds(interval.high),
        other.host
    );
    let finding = Finding::new(&META, Subject::Host(clock.host.to_string()), Verdict::Unknown, seen);
    remedies(finding, clock, set)
}

fn remedies(finding: Finding, clock: &Clock<'_>, set: &ClockSet<'_>) -> Finding {
    let host = clock.host;
    if clock.is_outsider {
        return finding.remedy(format!("On {host}, point its time service to the source that the domain follows."));
    }
    if set.is_time_root(clock) {
        return finding
            .remedy(format!("{host} is the root of the domain's time. Give it outside sources; on it:"))
            .remedy(
                "    w32tm /config /manualpeerlist:\"<NTP SERVER>,0x8\" /syncfromflags:manual /reliable:yes /update",
            )
            .remedy("    w32tm /resync /rediscover");
    }
    let finding = if set.estate.controllers.contains_key(host) {
        finding.remedy(format!("On {host}, follow the domain's time again; if it is virtual, first stop the hypervisor's time synchronisation:"))
    } else {
        finding.remedy(format!(
            "On {host}, follow the domain's time again; a DAG member first hands over its mounted databases:"
        ))
    };
    finding.remedy("    w32tm /config /syncfromflags:domhier /update").remedy("    w32tm /resync /rediscover")
}

fn judge_unseen(host: &str, estate: &Estate) -> Finding {
    let subject = Subject::Host(host.to_string());
    let seen = "none of the services that were asked shows the host's clock";
    if estate.is_outsider(host) {
        return Finding::new(&META, subject, Verdict::Skip, format!("{seen}; outside the domain nothing binds it"));
    }
    Finding::new(&META, subject, Verdict::Unknown, seen)
        .suspects(Trouble::HostDark(host.to_string()))
        .remedy(format!("Run from a place that reaches 445/tcp of {host}, or see on the host itself:"))
        .remedy(format!("    w32tm /monitor /computers:{host}"))
}

/// A duration for a person: whole minutes and seconds from a minute up, milliseconds below a second.
fn seconds(duration: SignedDuration) -> String {
    let magnitude = duration.abs();
    if magnitude < SignedDuration::from_secs(1) {
        let millis = (magnitude.as_micros() + 999) / 1_000;
        return format!("{millis} ms");
    }
    if magnitude < SignedDuration::from_secs(60) {
        return format!("{:.1} s", magnitude.as_secs_f64());
    }
    format!("{:#}", magnitude.round(jiff::Unit::Second).unwrap_or(magnitude))
}
