//! `directory-ready`: is what answers the controller that was meant, of the domain that was meant, and in service?

use crate::{
    facts::{
        directory::{RootDse, RootDseReply},
        dns::canonical_name,
        net::{GC_PORT, LDAP_PORT, Transport},
    },
    model::{
        ask::{Ask, Endpoint},
        check::{Check, Need},
        estate::{Controller, Estate},
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        meta::{Basis, Fold, Meta, Tier},
    },
};
use alloc::{format, string::ToString, vec::Vec};

/// See the module.
pub struct Ready;

static META: Meta = Meta {
    id: "directory-ready",
    area: "directory",
    title: "Controllers are ready",
    question: "Is each controller the one that was asked, of this domain, synchronised and in service?",
    healthy: "the controller that was asked, of this domain, with its first synchronisation behind it",
    why: "A controller that has not finished its first synchronisation, or a name that leads to another machine, answers with a directory that is not the one mail needs.",
    remedy: &[
        "Not synchronised: repadmin /showrepl <DC>, then repadmin /syncall /AdeP only if no link is past the tombstone lifetime",
        "Another machine answers: correct the address records of <DC>",
        "Global catalog not ready: dcdiag /s:<DC> /test:advertising",
    ],
    references: &["MS-ADTS section 3.1.1.3.2", "Microsoft KB 910204"],
    symptoms: &["MSExchange ADAccess event 2080", "NTDS General events 1119, 1578"],
    tier: Tier::Anonymous,
    fold: Fold::Worst,
    evidence: &[Basis::Spec, Basis::Lab],
};

const ROOT_DSE: RootDse = RootDse { transport: Transport::Tcp };

impl Check for Ready {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, _: &Evidence) -> Vec<Need> {
        let mut needs = Vec::new();
        for (host, controller) in &estate.controllers {
            let ports = [Some(LDAP_PORT), controller.is_gc.then_some(GC_PORT)];
            for to in ports.into_iter().flatten().flat_map(|port| estate.endpoints(host, port)) {
                needs.push(Need { subject: Subject::Host(host.clone()), ask: Ask::new(to, ROOT_DSE) });
            }
        }
        needs
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (host, controller) in &estate.controllers {
            for to in estate.endpoints(host, LDAP_PORT) {
                // The global catalog's port shows the same root DSE, where the first is shut.
                let catalog = Endpoint { port: GC_PORT, ..to.clone() };
                let told = [&to, &catalog].into_iter().find_map(|at| evidence.get(at, &ROOT_DSE).facts());
                let finding = match (told, evidence.get(&to, &ROOT_DSE).miss()) {
                    (Some(root_dse), _) => judge_root_dse(host, controller, root_dse, estate),
                    (None, Some(_)) if controller.is_read_only => {
                        let seen = "it did not answer; a read-only controller, which Exchange does not use";
                        Finding::new(&META, Subject::Host(host.clone()), Verdict::Skip, seen)
                    }
                    (None, Some(miss)) if !miss.is_no_route() && !evidence.is_dead_address(&to) => {
                        let port = Subject::Port(host.clone(), LDAP_PORT, Transport::Tcp);
                        Finding::new(&META, Subject::Host(host.clone()), Verdict::Unknown, miss)
                            .suspects(Trouble::HostDark(host.clone()))
                            .suspects(Trouble::PortShut(port))
                    }
                    _ => continue,
                };
                findings.push(finding.at(to.address));
            }
        }
        findings
    }
}

fn judge_root_dse(host: &str, controller: &Controller, root_dse: &RootDseReply, estate: &Estate) -> Finding {
    let subject = Subject::Host(host.to_string());
    let domain = &estate.plan.domain;
    let finding = |verdict, seen: &str| Finding::new(&META, subject.clone(), verdict, seen);

    match root_dse.domain_of("defaultNamingContext") {
        None => return finding(Verdict::Unknown, "it does not tell its domain (no defaultNamingContext)"),
        Some(other) if other != *domain => {
            return finding(Verdict::Fail, &format!("it is a controller of {other}"))
                .expected(format!("a controller of {domain}"))
                .is(Trouble::Name(host.to_string()))
                .remedy(format!("Remove {host} from the SRV records of {domain}, or correct its address records:"))
                .remedy(format!("    nslookup {host}"));
        }
        Some(_) => {}
    }
    if root_dse.flag("isSynchronized") == Some(false) {
        return finding(Verdict::Fail, "it has not finished its first synchronisation (isSynchronized FALSE)")
            .suspects(Trouble::ClockOff(host.to_string()))
            .remedy("See which partner it waits for, and mend that link:")
            .remedy(format!("    repadmin /showrepl {host}"))
            .remedy(format!("    dcdiag /s:{host} /test:replications /test:advertising"));
    }
    let own_name = root_dse.value("dnsHostName").map(canonical_name);
    if let Some(other) = own_name.filter(|own| own != host) {
        return finding(Verdict::Warn, &format!("{other} answers at this address"))
            .expected(format!("{host} itself answers"))
            .is(Trouble::Name(host.to_string()))
            .remedy(format!("Correct the address records of {host}; on it:"))
            .remedy("    ipconfig /registerdns")
            .remedy("    nltest /dsregdns");
    }
    if controller.is_gc && root_dse.flag("isGlobalCatalogReady") == Some(false) {
        return finding(
            Verdict::Warn,
            "it is to be a global catalog and is not ready as one (isGlobalCatalogReady FALSE)",
        )
        .remedy("See what it still has to replicate:")
        .remedy(format!("    dcdiag /s:{host} /test:advertising"));
    }
    finding(Verdict::Pass, "synchronised, and the one that was asked")
}
