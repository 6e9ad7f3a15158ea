//! `clock-agreement`: all clocks within five minutes of one another (KB 979174, cause 1).
//!
//! Every pair is judged, in intervals. Our own clock is the ruler and cancels out.

use crate::{
    facts::{
        quorum::{Clock, Quorum},
        time::Interval,
    },
    model::{
        check::{Check, Need},
        clocks::{clock_needs, clock_of},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        meta::{Basis, Fold, Meta, Tier},
        plan::{ClockLimits, ServerState},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
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
    tier: Tier::Anonymous,
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
                Some(offset) => clocks.push(Clock { host, offset, is_bound: !estate.is_outsider(host) }),
                None if estate.addresses(host).next().is_some() && !evidence.was_cut_short(host) => unseen.push(host),
                None => {}
            }
        }
        let ClockLimits { limit, warn } = estate.plan.clock;
        let quorum = Quorum::new(clocks, estate.time_root(), limit, warn);
        let judged = quorum.clocks().iter().map(|clock| judge_clock(clock, &quorum, estate));
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

/// A partner, and how far away it is.
type Apart<'s, 'a> = (&'s Clock<'a>, Interval);

fn judge_clock(clock: &Clock<'_>, quorum: &Quorum<'_>, estate: &Estate) -> Finding {
    let ClockLimits { limit, warn } = estate.plan.clock;
    let others = quorum.others(clock);
    let blamed = |(other, _): &&Apart<'_, '_>| quorum.blames(clock, other);
    let beyond = others.iter().filter(|(_, apart)| apart.low > limit).find(blamed);
    let straddling = others.iter().filter(|(_, apart)| apart.low <= limit && apart.high > limit);
    let doubtful = straddling.into_iter().find(|(other, _)| quorum.doubts(clock, other));
    let drifting = others.iter().filter(|(_, apart)| apart.low > warn).find(blamed);
    // The domain is known to be one host: then there is nothing to compare.
    let bound = estate.hosts().into_iter().filter(|host| !estate.is_outsider(host)).count();
    let is_alone = bound == 1 && !estate.controllers.is_empty();

    let finding = match (beyond, doubtful, drifting) {
        (Some(pair), ..) if clock.is_bound => off(Verdict::Fail, clock, pair, estate),
        (None, Some(pair), _) if clock.is_bound => undecided(clock, pair, estate),
        (.., Some(pair)) => off(Verdict::Warn, clock, pair, estate),
        _ if clock.is_bound && others.is_empty() && !is_alone => incomparable(clock),
        _ => fits(clock, others.first(), quorum),
    };
    let finding =
        finding.expected(expected(clock, estate.plan.clock)).measure("offset-from-this-machine", clock.offset);
    match quorum.reference() {
        Some(reference) if reference.host != clock.host => {
            finding.measure("offset-from-reference", clock.offset.relative_to(&reference.offset))
        }
        _ => finding,
    }
}

fn expected(clock: &Clock<'_>, limits: ClockLimits) -> String {
    if clock.is_bound {
        format!("within {:#} of every other controller and server; healthy is under {:#}", limits.limit, limits.warn)
    } else {
        format!("within {:#} of the domain's clocks (outside the domain Kerberos does not bind it)", limits.warn)
    }
}

fn fits(clock: &Clock<'_>, nearest: Option<&Apart<'_, '_>>, quorum: &Quorum<'_>) -> Finding {
    let seen = match nearest {
        None => "the domain's only clock".to_string(),
        Some(_) if quorum.is_reference(clock) => "the clock by which the others are judged".to_string(),
        Some((other, interval)) => format!("at most {} from {}", seconds(interval.high), other.host),
    };
    Finding::new(&META, Subject::Host(clock.host.to_string()), Verdict::Pass, seen)
}

fn incomparable(clock: &Clock<'_>) -> Finding {
    let seen = "it is the domain's only clock that was seen, so there is none to compare it with";
    Finding::new(&META, Subject::Host(clock.host.to_string()), Verdict::Unknown, seen)
}

fn off(verdict: Verdict, clock: &Clock<'_>, (other, interval): &Apart<'_, '_>, estate: &Estate) -> Finding {
    let is_ahead = clock.offset.middle() > other.offset.middle();
    let direction = if is_ahead { "ahead of" } else { "behind" };
    let seen =
        format!("{} {direction} {} (+/- {})", seconds(interval.middle()), other.host, seconds(interval.width() / 2));
    let host = clock.host.to_string();
    let finding = Finding::new(&META, Subject::Host(host.clone()), verdict, seen).is(Trouble::ClockOff(host));
    remedies(finding, clock, estate)
}

fn undecided(clock: &Clock<'_>, (other, interval): &Apart<'_, '_>, estate: &Estate) -> Finding {
    let seen = format!(
        "between {} and {} from {}: the limit lies within what could not be measured better",
        seconds(interval.low),
        seconds(interval.high),
        other.host
    );
    let finding = Finding::new(&META, Subject::Host(clock.host.to_string()), Verdict::Unknown, seen);
    remedies(finding, clock, estate)
}

fn remedies(finding: Finding, clock: &Clock<'_>, estate: &Estate) -> Finding {
    let host = clock.host;
    if !clock.is_bound {
        return finding.remedy(format!("On {host}, point its time service to the source that the domain follows."));
    }
    if estate.time_root() == Some(host) {
        return finding
            .remedy(format!("{host} is the root of the domain's time. Give it outside sources; on it:"))
            .remedy(
                "    w32tm /config /manualpeerlist:\"<NTP SERVER>,0x8\" /syncfromflags:manual /reliable:yes /update",
            )
            .remedy("    w32tm /resync /rediscover");
    }
    let finding = if estate.controllers.contains_key(host) {
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
    let root = estate.time_root().unwrap_or("<CONTROLLER>");
    Finding::new(&META, subject, Verdict::Unknown, seen)
        .suspects(Trouble::HostDark(host.to_string()))
        .remedy(format!("Run from a place that reaches 445/tcp of {host}, or see on the host itself:"))
        .remedy(format!("    w32tm /stripchart /computer:{root} /samples:3 /dataonly"))
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
