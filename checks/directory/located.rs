//! `directory-located`: can a controller be found at all?

use crate::{
    facts::dns::{DnsAnswer, DnsLookup, Record, RecordKind, is_host_name, locator, site_service, srv_name},
    model::{
        ask::{Ask, Question},
        check::{Check, Need},
        connectors::are_read,
        estate::{Estate, MOST_ADDRESSES, MOST_CONTROLLERS},
        evidence::{Answer, Evidence, Miss},
        finding::{Finding, Subject, Trouble, Verdict},
        meta::{Basis, Fold, Meta, Tier},
        organisation::{Dsa, searches},
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
    tier: Tier::Anonymous,
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

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let locators = locators(estate)
            .into_iter()
            .map(|locator| Need { subject: Subject::Estate, ask: estate.lookup(&locator.name, RecordKind::Srv) });
        let targets = estate.hosts().into_iter().flat_map(|host| {
            [RecordKind::A, RecordKind::Aaaa]
                .map(|kind| Need { subject: Subject::Host(host.to_string()), ask: estate.lookup(host, kind) })
        });
        let registered = dsas(estate, evidence).into_iter().flat_map(|(host, dsa)| {
            let need = |ask| Need { subject: Subject::Host(host.to_string()), ask };
            site_record(dsa, estate).into_iter().chain(alias(dsa, estate)).map(need)
        });
        locators.chain(targets).chain(registered).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let mut findings = vec![judge_records(estate, evidence)];
        findings.extend(estate.hosts().into_iter().filter_map(|host| judge_name(host, estate, evidence)));
        findings.extend(judge_against_directory(estate, evidence));
        findings
    }
}

fn locators(estate: &Estate) -> Vec<Locator> {
    let domain = &estate.plan.domain;
    let locator = |service, finds, if_missing| Locator { name: srv_name(service, domain), finds, if_missing };
    let mut locators = vec![
        locator(locator::CONTROLLERS, "controllers", Verdict::Fail),
        locator(locator::KDCS, "KDCs", Verdict::Fail),
        // Windows asks below _msdcs; what other systems ask does not stop mail between Exchange servers.
        locator(locator::GENERIC_KDCS, "KDCs for systems other than Windows", Verdict::Warn),
        locator(locator::PASSWORD_SERVICES, "password services", Verdict::Warn),
        locator(locator::PDC, "the PDC emulator", Verdict::Warn),
    ];
    if let Some(forest) = estate.forest.agreed() {
        let name = srv_name(locator::CATALOGS, forest);
        locators.push(Locator { name, finds: "global catalogs", if_missing: Verdict::Fail });
    }
    locators
}

fn judge_records(estate: &Estate, evidence: &Evidence) -> Finding {
    let (mut verdict, mut troubles, mut absent, mut misses) = (Verdict::Pass, Vec::new(), 0, Vec::new());
    let locators = locators(estate);
    for locator in &locators {
        let answer = evidence.answer::<DnsLookup>(&estate.lookup(&locator.name, RecordKind::Srv));
        let (word, trouble) = match answer {
            Answer::Told(answer, _) if answer.targets().next().is_some() => continue,
            Answer::Told(answer, _) => {
                absent += usize::from(*answer == DnsAnswer::NoSuchName);
                (locator.if_missing, format!("{} ({}): {}", locator.name, locator.finds, absence(answer)))
            }
            Answer::Missed(miss) => {
                misses.push(miss.to_string());
                (Verdict::Unknown, format!("{}: {miss}", locator.name))
            }
            Answer::NotAsked => (Verdict::Unknown, format!("{}: not asked", locator.name)),
        };
        verdict = verdict.max(word);
        troubles.push(trouble);
    }
    let name_server = name_server(estate);
    if absent == locators.len() {
        return no_such_domain(estate, &name_server);
    }
    if misses.len() == locators.len() {
        misses.sort();
        misses.dedup();
        troubles = vec![format!("{name_server} gave no answer to any lookup: {}", misses.join("; "))];
    }
    if !estate.controllers.is_empty()
        && estate.controllers.keys().all(|host| name_of(host, estate, evidence) == Name::Absent)
    {
        verdict = Verdict::Fail;
        troubles.push("no controller's name resolves".to_string());
    }
    for (word, trouble) in oddities(estate) {
        verdict = verdict.max(word);
        troubles.push(trouble);
    }
    let domain = &estate.plan.domain;
    if troubles.is_empty() {
        let seen = format!("{} controllers of {domain}, by {name_server}", estate.controllers.len());
        return Finding::new(&META, Subject::Estate, Verdict::Pass, seen);
    }
    Finding::new(&META, Subject::Estate, verdict, troubles.join("; "))
        .is(Trouble::Name(domain.clone()))
        .remedy(format!("See what {name_server} knows of the domain:"))
        .remedy(nslookup(estate))
        .remedy("If it is the domain's own, let each controller register its records again; on each:")
        .remedy("    nltest /dsregdns")
        .remedy("    dcdiag /test:dns /v")
}

/// What DNS says that no estate in order says.
fn oddities(estate: &Estate) -> Vec<(Verdict, String)> {
    const SHOWN: usize = 5;
    let mut odd = Vec::new();
    if !estate.strange_targets.is_empty() {
        let names: Vec<_> = estate.strange_targets.iter().take(SHOWN).map(|name| format!("{name:?}")).collect();
        let count = estate.strange_targets.len();
        odd.push((Verdict::Warn, format!("SRV records name {count} that can be no host: {}", names.join(", "))));
    }
    if estate.controllers_left_out > 0 {
        let count = estate.controllers_left_out;
        odd.push((Verdict::Unknown, format!("{count} controllers beyond {MOST_CONTROLLERS} were left out")));
    }
    if estate.addresses_left_out > 0 {
        let count = estate.addresses_left_out;
        odd.push((Verdict::Unknown, format!("{count} addresses beyond {MOST_ADDRESSES} a host were left out")));
    }
    odd
}

/// Not one of its records exists: likelier a wrong name, or the wrong name server, than a domain without any.
fn no_such_domain(estate: &Estate, name_server: &str) -> Finding {
    let domain = &estate.plan.domain;
    Finding::new(
        &META,
        Subject::Estate,
        Verdict::Fail,
        format!("{name_server} knows no domain {domain}: none of its records exists"),
    )
    .is(Trouble::Name(domain.clone()))
    .remedy(format!("Is {domain} the full DNS name of the Active Directory domain? If not, state it:"))
    .remedy("    exchange-preflight run --domain <DOMAIN>")
    .remedy("If it is, ask a name server that knows it (--resolver <CONTROLLER'S ADDRESS>). What this one says:")
    .remedy(nslookup(estate))
}

fn name_server(estate: &Estate) -> String {
    let stated = estate.plan.resolver.map(|address| format!("the name server {address}"));
    stated.unwrap_or_else(|| "this machine's name server".to_string())
}

fn nslookup(estate: &Estate) -> String {
    let server = estate.plan.resolver.map(|address| format!(" {}", address.ip())).unwrap_or_default();
    format!("    nslookup -type=SRV {}{server}", srv_name(locator::CONTROLLERS, &estate.plan.domain))
}

fn absence(answer: &DnsAnswer) -> &'static str {
    match answer {
        DnsAnswer::NoSuchName => "there is no such name",
        DnsAnswer::NoRecords | DnsAnswer::Records(_) => "there is no such record",
    }
}

/// What DNS says of a host's name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Name<'e> {
    Resolves,
    /// Neither an A nor an AAAA record, by its own word.
    Absent,
    NotTold(Option<&'e Miss>),
}

fn name_of<'e>(host: &str, estate: &Estate, evidence: &'e Evidence) -> Name<'e> {
    if estate.addresses(host).next().is_some() {
        return Name::Resolves;
    }
    let answers =
        [RecordKind::A, RecordKind::Aaaa].map(|kind| evidence.answer::<DnsLookup>(&estate.lookup(host, kind)));
    if answers.iter().all(|answer| answer.facts().is_some()) {
        return Name::Absent;
    }
    Name::NotTold(answers.iter().find_map(Answer::miss))
}

fn judge_name(host: &str, estate: &Estate, evidence: &Evidence) -> Option<Finding> {
    let subject = Subject::Host(host.to_string());
    match name_of(host, estate, evidence) {
        Name::Resolves => {
            let addresses: Vec<_> = estate.addresses(host).map(|address| address.to_string()).collect();
            Some(Finding::new(&META, subject, Verdict::Pass, format!("resolves to {}", addresses.join(", "))))
        }
        Name::Absent => Some(judge_absent_name(host, estate)),
        Name::NotTold(Some(miss)) => Some(
            Finding::new(&META, subject, Verdict::Unknown, format!("{} gave no answer: {miss}", name_server(estate)))
                .suspects(Trouble::Name(estate.plan.domain.clone()))
                .remedy(format!(
                    "Ask another name server (--resolver), or see why this one does not answer for {host}."
                )),
        ),
        Name::NotTold(None) => None,
    }
}

/// Controllers that the Configuration partition has; none unless it told all of them.
fn dsas<'e>(estate: &'e Estate, evidence: &Evidence) -> Vec<(&'e str, &'e Dsa)> {
    if !are_read(&[searches::sites], estate, evidence) {
        return Vec::new();
    }
    let all = estate.organisation.dsas.iter().take(MOST_CONTROLLERS);
    all.map(|(host, dsa)| (host.as_str(), dsa)).filter(|(_, dsa)| is_of(dsa, estate)).collect()
}

/// A read-only one holds no domain for writing, so that its domain is not told here; it registers records of its site alone.
fn is_of(dsa: &Dsa, estate: &Estate) -> bool {
    !dsa.is_read_only && dsa.domain.as_ref() == Some(&estate.plan.domain)
}

/// The record of a controller's own site: one of a branch may be registered there alone (`DnsAvoidRegisterRecords`).
fn site_record(dsa: &Dsa, estate: &Estate) -> Option<Ask> {
    let service = is_host_name(&dsa.site).then(|| site_service(&dsa.site))?;
    Some(estate.lookup(&srv_name(&service, &estate.plan.domain), RecordKind::Srv))
}

/// The name by which replication partners look for it.
fn alias(dsa: &Dsa, estate: &Estate) -> Option<Ask> {
    let (guid, forest) = (dsa.guid.as_ref()?, estate.forest.agreed()?);
    Some(estate.lookup(&format!("{guid}._msdcs.{forest}"), RecordKind::Cname))
}

/// What DNS and the Configuration partition do not have in common.
fn judge_against_directory(estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
    if !are_read(&[searches::sites], estate, evidence) {
        return Vec::new();
    }
    let known = &estate.organisation.dsas;
    if known.is_empty() {
        // Whoever reads the directory reads it from one of them, so this user is not shown them.
        return Vec::new();
    }
    let gone =
        estate.controllers.keys().filter(|host| !known.contains_key(*host)).map(|host| not_in_directory(host, estate));
    let read_only = known.iter().filter(|(_, dsa)| dsa.is_read_only).map(|(host, _)| {
        Finding::new(
            &META,
            Subject::Host(host.clone()),
            Verdict::Skip,
            "it is read-only, and registers its site's records alone",
        )
    });
    let registered = dsas(estate, evidence).into_iter();
    let registered = registered.flat_map(|(host, dsa)| {
        judge_registered(host, dsa, estate, evidence).into_iter().chain(judge_alias(host, dsa, estate, evidence))
    });
    gone.chain(read_only).chain(registered).collect()
}

fn not_in_directory(host: &str, estate: &Estate) -> Finding {
    let seen = "named by SRV records, and no such controller stands in the directory";
    Finding::new(&META, Subject::Host(host.to_string()), Verdict::Warn, seen)
        .code("not-in-directory")
        .expected("every controller that DNS names has its NTDS Settings object")
        .remedy(format!("If {host} is gone, delete what is left of it in DNS:"))
        .remedy(remove_records(host, estate))
        .remedy("If it was promoted just now, its object is still on its way to the controller that was asked:")
        .remedy("    repadmin /replsummary")
}

/// Is a controller found by any of the records that lead to all, or to those of its site?
fn judge_registered(host: &str, dsa: &Dsa, estate: &Estate, evidence: &Evidence) -> Option<Finding> {
    let names = |ask: &Ask| {
        let answer = evidence.answer::<DnsLookup>(ask);
        answer.facts().map(|answer| answer.targets().any(|target| target == host))
    };
    let generic =
        locator::OF_A_DOMAIN.map(|service| estate.lookup(&srv_name(service, &estate.plan.domain), RecordKind::Srv));
    let asks: Vec<_> = generic.into_iter().chain(site_record(dsa, estate)).collect();
    let told: Vec<_> = asks.iter().map(names).collect();
    if told.contains(&Some(true)) {
        let seen = format!("stands in the directory, in {:?}, and in DNS", dsa.site);
        return Some(Finding::new(&META, Subject::Host(host.to_string()), Verdict::Pass, seen));
    }
    if told.contains(&None) {
        // Not asked, or not answered: whoever was asked in vain is told about by the engine's own words.
        let miss = asks.iter().find_map(|ask| evidence.answer::<DnsLookup>(ask).miss())?;
        let seen = format!("whether it is registered could not be told: {miss}");
        return Some(
            Finding::new(&META, Subject::Host(host.to_string()), Verdict::Unknown, seen)
                .suspects(Trouble::Name(estate.plan.domain.clone())),
        );
    }
    let seen =
        format!("stands in the directory, in {:?}, and no SRV record names it, not even one of that site", dsa.site);
    Some(
        Finding::new(&META, Subject::Host(host.to_string()), Verdict::Warn, seen)
            .code("unregistered")
            .expected("every controller is named by SRV records, at least by those of its site")
            .remedy(format!("On {host}, let it register its records again:"))
            .remedy("    nltest /dsregdns")
            .remedy("If they do not come, Netlogon says why (events 5774 and 5781); see also whether it is kept from it:")
            .remedy("    reg query HKLM\\SYSTEM\\CurrentControlSet\\Services\\Netlogon\\Parameters /v DnsAvoidRegisterRecords"),
    )
}

/// Replication looks for its partners by these names alone (MS-ADTS section 6.3.2.4).
fn judge_alias(host: &str, dsa: &Dsa, estate: &Estate, evidence: &Evidence) -> Option<Finding> {
    let ask = alias(dsa, estate)?;
    let answer = match evidence.answer::<DnsLookup>(&ask) {
        Answer::Told(answer, _) => answer,
        Answer::Missed(miss) => return Some(alias_untold(host, &ask, miss, estate)),
        Answer::NotAsked => return None,
    };
    let (code, said) = match answer {
        DnsAnswer::Records(records) => {
            let leads =
                records.iter().find_map(|record| if let Record::Alias(to) = record { Some(to) } else { None })?;
            if leads == host {
                return None;
            }
            ("alias-elsewhere", format!("leads to {leads:?}"))
        }
        DnsAnswer::NoRecords | DnsAnswer::NoSuchName => ("alias-missing", "does not exist".to_string()),
    };
    let guid = dsa.guid.as_deref().unwrap_or_default();
    let forest = estate.forest.agreed().map_or("", String::as_str);
    let seen = format!("its alias {guid}._msdcs.{forest}, by which its partners replicate from it, {said}");
    Some(
        Finding::new(&META, Subject::Host(host.to_string()), Verdict::Warn, seen)
            .code(code)
            .expected("the alias of its NTDS Settings object leads to it")
            .remedy(format!("On {host}, let it register its records again; its partners tell 8524 until then:"))
            .remedy("    nltest /dsregdns")
            .remedy("    repadmin /showrepl"),
    )
}

/// Of the alias itself: what is known of the controller's own name must not stand for it.
fn alias_untold(host: &str, ask: &Ask, miss: &Miss, estate: &Estate) -> Finding {
    let name = if let Question::DnsLookup(lookup) = &ask.what { lookup.name.clone() } else { host.to_string() };
    let seen =
        format!("whether this alias leads to {host}, from which partners replicate by it, could not be told: {miss}");
    Finding::new(&META, Subject::Host(name), Verdict::Unknown, seen)
        .expected("the alias of its NTDS Settings object leads to it")
        .suspects(Trouble::Name(estate.plan.domain.clone()))
        .remedy(format!("Ask another name server (--resolver), or see why {} does not answer.", name_server(estate)))
}

fn judge_absent_name(host: &str, estate: &Estate) -> Finding {
    let is_controller = estate.controllers.contains_key(host);
    let named_by = if is_controller || !estate.servers.contains_key(host) { "SRV records" } else { "you" };
    // A server that was stated and DNS does not know: one of both is wrong, and nothing can be told of it.
    let verdict = if estate.servers.contains_key(host) && !is_controller { Verdict::Unknown } else { Verdict::Warn };
    let seen = format!("named by {named_by}, but the name has no address");
    let finding = Finding::new(&META, Subject::Host(host.to_string()), verdict, seen)
        .expected("the name resolves")
        .is(Trouble::Name(host.to_string()));
    if verdict == Verdict::Unknown {
        let domain = &estate.plan.domain;
        return if host.contains('.') {
            finding.remedy(format!("Is {host} spelt as in DNS? If so, on it: ipconfig /registerdns"))
        } else {
            finding.remedy(format!("State its full name, such as {host}.{domain}"))
        };
    }
    finding
        .remedy(format!("If {host} is a controller, on it:"))
        .remedy("    nltest /dsregdns")
        .remedy("If it is gone, delete its computer object in Active Directory Users and Computers (that cleans up its metadata),")
        .remedy("and what is left of it in DNS:")
        .remedy(remove_records(host, estate))
}

/// Below `_msdcs` the forest root's records have a zone of their own; all others stand in the domain's.
fn remove_records(host: &str, estate: &Estate) -> String {
    let forest = estate.forest.agreed().unwrap_or(&estate.plan.domain);
    let domain = &estate.plan.domain;
    format!(
        "    '_msdcs.{forest}','{domain}' | % {{ $z = $_; Get-DnsServerResourceRecord -ZoneName $z -RRType Srv | \
         ? {{ $_.RecordData.DomainName -eq '{host}.' }} | Remove-DnsServerResourceRecord -ZoneName $z }}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        ask::Facts,
        connectors::testing::{estate, told, words},
        evidence::{End, Observation, Reason, Reply, Stage},
    };
    use jiff::{SignedDuration, Timestamp};

    const GUID: &str = "2ad3a5e2-0e0a-4a64-9b3a-1d3c0e8ff0b1";

    /// What is said of dc1 and dc2, of which the directory has these, by the records that name them.
    fn judge(dsas: &[(&str, bool)], generic: &[&str], of_site: &[&str], alias: Option<&str>) -> Vec<String> {
        let (mut estate, mut evidence) = estate(&[]);
        estate.forest.add("dc1".into(), "contoso.com".into());
        for (host, is_read_only) in dsas {
            let domain = (!is_read_only).then(|| "contoso.com".to_string());
            let dsa = Dsa {
                guid: Some(GUID.into()),
                site: "Berlin".into(),
                is_catalog: true,
                is_read_only: *is_read_only,
                domain,
            };
            estate.organisation.dsas.insert(host.to_string(), dsa);
        }
        let target = |host: &&str| Record::Srv { priority: 0, weight: 100, port: 389, target: host.to_string() };
        let answer = |hosts: &[&str]| match hosts {
            [] => DnsAnswer::NoSuchName,
            hosts => DnsAnswer::Records(hosts.iter().map(target).collect()),
        };
        for service in locator::OF_A_DOMAIN {
            let ask = estate.lookup(&srv_name(service, "contoso.com"), RecordKind::Srv);
            told(&mut evidence, ask, Facts::DnsLookup(answer(generic)));
        }
        let ask = estate.lookup(&srv_name(&site_service("Berlin"), "contoso.com"), RecordKind::Srv);
        told(&mut evidence, ask, Facts::DnsLookup(answer(of_site)));
        let ask = estate.lookup(&format!("{GUID}._msdcs.contoso.com"), RecordKind::Cname);
        let leads = alias.map_or(DnsAnswer::NoSuchName, |to| DnsAnswer::Records(vec![Record::Alias(to.into())]));
        told(&mut evidence, ask, Facts::DnsLookup(leads));
        for host in generic.iter().chain(of_site) {
            estate.controllers.entry(host.to_string()).or_default();
        }
        words(judge_against_directory(&estate, &evidence))
    }

    #[test]
    fn an_alias_that_could_not_be_asked_for_is_unknown() {
        let (mut estate, mut evidence) = estate(&[]);
        estate.forest.add("dc1".into(), "contoso.com".into());
        let dsa = Dsa { guid: Some(GUID.into()), ..Dsa::default() };
        let ask = alias(&dsa, &estate).expect("a forest");
        assert!(judge_alias("dc1", &dsa, &estate, &evidence).is_none(), "not asked yet");
        let miss = Miss { stage: Stage::Reply, reason: Reason::Silent, took: SignedDuration::ZERO };
        let reply = Reply { facts: None, end: End::Miss(miss) };
        evidence.insert(Observation { ask, reply, when: Timestamp::UNIX_EPOCH });
        let said = words(judge_alias("dc1", &dsa, &estate, &evidence).into_iter().collect());
        assert_eq!(said, [format!("unknown {GUID}._msdcs.contoso.com")]);
    }

    #[test]
    fn dns_and_directory_are_held_against_each_other() {
        let here = [("dc1", false)];
        assert_eq!(judge(&here, &["dc1"], &[], Some("dc1")), ["pass dc1"]);
        assert_eq!(judge(&here, &[], &["dc1"], Some("dc1")), ["pass dc1"], "a controller of a branch");
        assert_eq!(judge(&here, &[], &[], Some("dc1")), ["warn dc1 unregistered"]);
        assert_eq!(judge(&here, &["dc1"], &[], None), ["pass dc1", "warn dc1 alias-missing"]);
        assert_eq!(judge(&here, &["dc1"], &[], Some("dc2")), ["pass dc1", "warn dc1 alias-elsewhere"]);
        let stale = ["pass dc1", "warn dc2 not-in-directory"];
        assert_eq!(judge(&here, &["dc1", "dc2"], &[], Some("dc1")), stale);
        assert_eq!(judge(&[("dc1", true)], &[], &["dc1"], None), ["skip dc1"]);
    }
}
