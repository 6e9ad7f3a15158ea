//! `directory-located`: can a controller be found at all?

use crate::{
    facts::dns::{DnsAnswer, DnsLookup, RecordKind},
    model::{
        cause::Trouble,
        check::{Basis, Check, Meta, Need},
        estate::{Estate, MOST_CONTROLLERS, global_catalog_name, pdc_name},
        evidence::{Answer, Evidence, Miss},
        finding::{Finding, Fold, Subject, Verdict},
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

/// See the module.
pub struct Located;

static META: Meta = Meta {
    id: "directory-located",
    area: "directory",
    title: "Controllers are found in DNS",
    question: "Do the SRV records of the domain lead to controllers whose names resolve?",
    healthy: "SRV records for LDAP, Kerberos and the global catalog, and every target resolves",
    why: "Exchange finds its controllers, and every server its KDC, through these records. Without them no server can authenticate to another.",
    remedy: &[
        "On the controller that is missing: nltest /dsregdns",
        "or restart its Netlogon service: Restart-Service Netlogon",
        "A controller that is gone: delete its computer object (that cleans up its metadata), then what is left of it in DNS.",
        "Check the result: dcdiag /test:dns /v",
    ],
    references: &["MS-ADTS section 6.3.2.3", "RFC 2782"],
    symptoms: &["454 4.7.0 Temporary authentication failure", "MSExchangeADTopology event 2114", "NETLOGON event 5774"],
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Lab],
};

/// An SRV name, what is found through it, and the verdict if it is not there.
struct Locator {
    name: String,
    finds: &'static str,
    if_missing: Verdict,
}

impl Check for Located {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, _: &Evidence) -> Vec<Need> {
        let locators = locators(estate)
            .into_iter()
            .map(|locator| Need { subject: Subject::Estate, ask: estate.lookup(&locator.name, RecordKind::Srv) });
        let targets = estate.controllers.keys().flat_map(|host| {
            [RecordKind::A, RecordKind::Aaaa]
                .map(|kind| Need { subject: Subject::Host(host.clone()), ask: estate.lookup(host, kind) })
        });
        locators.chain(targets).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let mut findings = vec![judge_records(estate, evidence)];
        findings.extend(estate.hosts().into_iter().map(|host| judge_name(host, estate, evidence)));
        findings
    }
}

fn locators(estate: &Estate) -> Vec<Locator> {
    let domain = &estate.plan.domain;
    let locator = |name: String, finds, if_missing| Locator { name, finds, if_missing };
    let mut locators = vec![
        locator(format!("_ldap._tcp.dc._msdcs.{domain}"), "controllers", Verdict::Fail),
        locator(format!("_kerberos._tcp.dc._msdcs.{domain}"), "KDCs", Verdict::Fail),
        // Windows asks below _msdcs; what other systems ask does not stop mail between Exchange servers.
        locator(format!("_kerberos._tcp.{domain}"), "KDCs for systems other than Windows", Verdict::Warn),
        locator(format!("_kpasswd._tcp.{domain}"), "password services", Verdict::Warn),
        locator(pdc_name(domain), "the PDC emulator", Verdict::Warn),
    ];
    if let Some(forest) = estate.forest.agreed() {
        locators.push(locator(global_catalog_name(forest), "global catalogs", Verdict::Fail));
    }
    locators
}

fn judge_records(estate: &Estate, evidence: &Evidence) -> Finding {
    let (mut verdict, mut troubles) = (Verdict::Pass, Vec::new());
    for locator in locators(estate) {
        let answer = evidence.answer::<DnsLookup>(&estate.lookup(&locator.name, RecordKind::Srv));
        let (word, trouble) = match answer {
            Answer::Told(answer, _) if answer.targets().next().is_some() => continue,
            Answer::Told(answer, _) => {
                (locator.if_missing, format!("{} ({}): {}", locator.name, locator.finds, absence(answer)))
            }
            Answer::Missed(miss) => (Verdict::Unknown, format!("{}: {}", locator.name, lookup_miss(miss))),
            Answer::NotAsked => (Verdict::Unknown, format!("{}: not asked", locator.name)),
        };
        verdict = verdict.max(word);
        troubles.push(trouble);
    }
    let resolves = |host: &String| estate.addresses(host).next().is_some();
    if !estate.controllers.is_empty() && !estate.controllers.keys().any(resolves) {
        verdict = Verdict::Fail;
        troubles.push("no controller's name resolves".to_string());
    }
    if !estate.strange_targets.is_empty() {
        let names: Vec<_> = estate.strange_targets.iter().map(|name| format!("{name:?}")).collect();
        verdict = verdict.max(Verdict::Warn);
        troubles.push(format!("SRV records name what can be no host: {}", names.join(", ")));
    }
    if estate.controllers_left_out > 0 {
        verdict = verdict.max(Verdict::Unknown);
        troubles.push(format!("{} controllers beyond {MOST_CONTROLLERS} were left out", estate.controllers_left_out));
    }
    let domain = &estate.plan.domain;
    if troubles.is_empty() {
        let seen = format!("{} controllers of {domain}", estate.controllers.len());
        return Finding::new(&META, Subject::Estate, Verdict::Pass, seen);
    }
    Finding::new(&META, Subject::Estate, verdict, troubles.join("; "))
        .is(Trouble::Name(domain.clone()))
        .remedy("See that this machine asks a name server that knows the domain:")
        .remedy(format!("    nslookup -type=SRV _ldap._tcp.dc._msdcs.{domain}"))
        .remedy("If it does, let each controller register its records again:")
        .remedy("    nltest /dsregdns")
        .remedy("    dcdiag /test:dns /v")
}

fn absence(answer: &DnsAnswer) -> &'static str {
    match answer {
        DnsAnswer::NoSuchName => "there is no such name",
        DnsAnswer::NoRecords | DnsAnswer::Records(_) => "there is no such record",
    }
}

fn lookup_miss(miss: &Miss) -> String {
    format!("the name server gave no answer ({miss})")
}

fn judge_name(host: &str, estate: &Estate, evidence: &Evidence) -> Finding {
    let subject = Subject::Host(host.to_string());
    let addresses: Vec<_> = estate.addresses(host).map(|address| address.to_string()).collect();
    if !addresses.is_empty() {
        return Finding::new(&META, subject, Verdict::Pass, format!("resolves to {}", addresses.join(", ")));
    }
    let answers =
        [RecordKind::A, RecordKind::Aaaa].map(|kind| evidence.answer::<DnsLookup>(&estate.lookup(host, kind)));
    let is_controller = estate.controllers.contains_key(host);
    if let Some(miss) = answers.iter().find_map(super::super::model::evidence::Answer::miss) {
        return Finding::new(&META, subject, Verdict::Unknown, lookup_miss(miss))
            .suspects(Trouble::Name(estate.plan.domain.clone()));
    }
    // A server that the plan names and DNS does not know: the plan or DNS is wrong, and nothing can be told of it.
    let verdict = if is_controller { Verdict::Warn } else { Verdict::Unknown };
    let named_by = if is_controller { "SRV records of the domain" } else { "the plan" };
    let finding = Finding::new(&META, subject, verdict, format!("named by {named_by}, but the name has no address"))
        .expected("the name resolves")
        .is(Trouble::Name(host.to_string()));
    if is_controller {
        finding
            .remedy(format!("If {host} is a controller, on it:"))
            .remedy("    nltest /dsregdns")
            .remedy("If it is gone, delete its computer object (that cleans up its metadata), and what is left in DNS:")
            .remedy(remove_records(host, estate))
    } else {
        finding.remedy(format!("Correct the name in the plan, or register {host} in DNS."))
    }
}

fn remove_records(host: &str, estate: &Estate) -> String {
    let zone = format!("_msdcs.{}", estate.forest.agreed().unwrap_or(&estate.plan.domain));
    format!(
        "    Get-DnsServerResourceRecord -ZoneName {zone} -RRType Srv | ? {{ $_.RecordData.DomainName -eq '{host}.' }} | \
         Remove-DnsServerResourceRecord -ZoneName {zone}"
    )
}
