//! `clock-witnesses`: services of one host share one clock. Where they contradict each other, something stands between.

use crate::model::{
    check::{Check, Need},
    clocks::{clock_needs, clock_of},
    estate::Estate,
    evidence::Evidence,
    finding::{Finding, Subject, Trouble, Verdict},
    meta::{Basis, Fold, Meta, Tier},
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// See the module.
pub struct Witnesses;

static META: Meta = Meta {
    id: "clock-witnesses",
    area: "clock",
    title: "A host's services show one clock",
    question: "Do all services of a host that show a clock show the same one?",
    healthy: "all services of the host show the same time",
    why: "Two times from one name mean that two machines answer to it (a balancer, a wrong address in DNS), or that a proxy answers in its place. Then other verdicts about this host may be about two hosts.",
    remedy: &[
        "Look whether one machine answers at all of the host's addresses and ports: nslookup <HOST>",
        "On the host: w32tm /stripchart /computer:<HOST> /samples:3 /dataonly",
    ],
    references: &["RFC 5905 section 11.2.1"],
    symptoms: &[],
    tier: Tier::Anonymous,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Lab],
};

impl Check for Witnesses {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        clock_needs(estate, evidence)
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let hosts = estate.hosts().into_iter().filter(|host| estate.addresses(host).next().is_some());
        hosts.map(|host| judge_host(host, evidence)).collect()
    }
}

fn judge_host(host: &str, evidence: &Evidence) -> Finding {
    let clock = clock_of(host, evidence);
    let subject = Subject::Host(host.to_string());
    let names: Vec<_> = clock.sources().iter().map(ToString::to_string).collect();
    match clock.witnesses.len() {
        0 => return Finding::new(&META, subject, Verdict::Skip, "no service of the host shows a clock"),
        1 => return Finding::new(&META, subject, Verdict::Skip, format!("only {} shows a clock", names[0])),
        _ if clock.is_of_one_mind() => {
            return Finding::new(&META, subject, Verdict::Pass, format!("{} at all addresses", names.join(", ")));
        }
        _ => {}
    }
    let told: Vec<String> = clock
        .witnesses
        .iter()
        .map(|((source, address), offset)| {
            let at = address.map(|address| format!(" at {address}")).unwrap_or_default();
            format!("{source}{at} is {:+.3} s from this machine", offset.middle().as_secs_f64())
        })
        .collect();
    Finding::new(&META, subject, Verdict::Warn, told.join("; "))
        .suspects(Trouble::Name(host.to_string()))
        .remedy(format!("Find out whether one machine answers at all addresses and ports of {host}:"))
        .remedy(format!("    nslookup {host}"))
        .remedy("If it does, restart the service whose clock stands out; if not, mend DNS or the balancer.")
}
