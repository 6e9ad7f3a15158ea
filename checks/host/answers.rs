//! `host-answers`: a host that answers nowhere is one trouble, not one a port.

use crate::{
    facts::{
        directory::RootDse,
        net::{Connect, LDAP_PORT, SMB_PORT, SMTP_PORT, Transport},
        smb::SmbNegotiate,
    },
    model::{
        ask::Ask,
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        listeners::smtp_listeners,
        meta::{Basis, Fold, Meta, Tier},
    },
};
use alloc::{collections::BTreeSet, format, string::ToString, vec::Vec};

/// See the module.
pub struct Answers;

static META: Meta = Meta {
    id: "host-answers",
    area: "host",
    title: "Hosts answer",
    question: "Does each host answer at any of the ports that were asked?",
    healthy: "the host answers at one port at the least",
    why: "A host that is down, or wholly behind a firewall, makes every other check of it fail. It is named once, and what follows from it is folded under it.",
    remedy: &[
        "See whether the host runs and has the address that DNS gives: Test-NetConnection <HOST>",
        "If it does, look for a firewall between this machine and the host, or run from another place.",
    ],
    references: &["design rule: one cause, one alarm"],
    symptoms: &["451 4.4.0", "441 4.4.1"],
    tier: Tier::Anonymous,
    fold: Fold::Worst,
    evidence: &[Basis::Lab],
};

impl Check for Answers {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let mut needs = Vec::new();
        let mut need = |ask: Ask| needs.push(Need { subject: Subject::Host(ask.to.host.clone()), ask });
        for host in estate.hosts() {
            for to in estate.endpoints(host, SMB_PORT) {
                need(Ask::new(to, SmbNegotiate));
            }
            if estate.controllers.contains_key(host) {
                for to in estate.endpoints(host, LDAP_PORT) {
                    need(Ask::new(to, RootDse { transport: Transport::Tcp }));
                }
            } else if !estate.servers.contains_key(host) {
                // The root of time in another domain of the forest.
                for to in estate.endpoints(host, SMTP_PORT) {
                    need(Ask::new(to, Connect));
                }
            }
        }
        for listener in smtp_listeners(estate).filter(|listener| listener.to.port == SMTP_PORT) {
            listener.first_asks(evidence).into_iter().for_each(&mut need);
        }
        needs
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        estate.hosts().into_iter().filter_map(|host| judge_host(host, estate, evidence)).collect()
    }
}

fn judge_host(host: &str, estate: &Estate, evidence: &Evidence) -> Option<Finding> {
    let subject = Subject::Host(host.to_string());
    if evidence.is_alive(host) {
        return Some(judge_addresses(subject, host, estate, evidence));
    }
    // Not alive and not dark: the reasons are this machine's own, and the engine tells them.
    if !evidence.is_dark(host) {
        return None;
    }
    let asked: BTreeSet<u16> = evidence.of_host(host).map(|observation| observation.ask.to.port).collect();
    let ports: Vec<_> = asked.iter().map(ToString::to_string).collect();
    let seen = format!("not one packet came back from any of the ports {}", ports.join(", "));
    if estate.is_outsider(host) {
        let seen = format!("{seen}; a server outside the domain need not show itself here");
        return Some(Finding::new(&META, subject, Verdict::Skip, seen));
    }
    // From where an Exchange server stands, a dead controller among living ones stops nobody; all of them stop mail.
    let stops_mail =
        estate.plan.exchange_vantage && are_all_dark(estate, evidence) && estate.controllers.contains_key(host);
    let verdict = if stops_mail { Verdict::Fail } else { Verdict::Unknown };
    let finding = Finding::new(&META, subject, verdict, seen)
        .is(Trouble::HostDark(host.to_string()))
        .suspects(Trouble::Name(host.to_string()))
        .remedy(format!("See whether {host} runs and has the address that DNS gives:"))
        .remedy(format!("    Test-NetConnection {host} -Port 445"));
    Some(if estate.plan.exchange_vantage {
        finding.remedy("If it does, a firewall shuts it off from where an Exchange server stands: open the way.")
    } else {
        finding.remedy("If it does, a firewall stands between this machine and the host: run from another place.")
    })
}

fn are_all_dark(estate: &Estate, evidence: &Evidence) -> bool {
    estate.controllers.keys().all(|controller| evidence.is_dark(controller))
}

/// The host lives; an address of it that does not is one that every client tries in vain.
fn judge_addresses(subject: Subject, host: &str, estate: &Estate, evidence: &Evidence) -> Finding {
    let dead: Vec<_> = estate
        .endpoints(host, SMB_PORT)
        .into_iter()
        .filter(|at| evidence.is_dead_address(at))
        .filter_map(|at| Some(at.address?.to_string()))
        .collect();
    if dead.is_empty() {
        return Finding::new(&META, subject, Verdict::Pass, "it answers");
    }
    let seen = format!("it answers, but not one packet came back from its address {}", dead.join(", "));
    Finding::new(&META, subject, Verdict::Warn, seen)
        .expected("the host answers at every address that DNS gives")
        .remedy(format!(
            "If {host} should not be reached there (a replication or backup network), on it, for that adapter:"
        ))
        .remedy(
            "    Set-DnsClient -InterfaceAlias <ADAPTER> -RegisterThisConnectionsAddress $false; ipconfig /registerdns",
        )
        .remedy("If it should, open the way there; clients lose seconds on it each time.")
}
