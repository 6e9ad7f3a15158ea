//! `site-has-gc`: a server looks recipients up in a global catalog of its own site.

use crate::{
    facts::{
        directory::RootDse,
        dns::{DnsLookup, RecordKind},
        net::{GC_PORT, Transport},
    },
    model::{
        accounts::peers,
        ask::Ask,
        check::{Check, Need},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        informants::{Holding, found, unread},
        meta::{Basis, Fold, Meta, Tier},
        organisation::searches,
        principals::{bystanders, servers_unread},
        reach::Reach,
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};

/// See the module.
pub struct HasGc;

/// More catalogs of one site are not asked whether they answer: one that does is enough.
const MOST: usize = 32;

static META: Meta = Meta {
    id: "site-has-gc",
    area: "site",
    title: "Sites of Exchange have a global catalog",
    question: "Does a global catalog answer in every site that holds Exchange servers?",
    healthy: "a global catalog of the site answers on port 3268",
    why: "Transport looks up every recipient in a global catalog, of its own site before any other. Where that site has none that answers, a server goes to other sites, if it can reach them, and else stops.",
    remedy: &[
        "Let a controller of the site be a global catalog: repadmin /options <CONTROLLER> +IS_GC",
        "See from an Exchange server which it uses: Get-ExchangeServer <SERVER> -Status | fl *GlobalCatalogs*",
        "One that does not answer: Test-NetConnection <CONTROLLER> -Port 3268",
    ],
    references: &[
        "MS-ADTS section 6.1.1.2.2.1.2.1.1",
        "Access to Active Directory by Exchange servers (Microsoft Learn)",
        "Exchange network ports (Microsoft Learn)",
    ],
    symptoms: &["MSExchange ADAccess events 2102, 2103", "MSExchangeADTopology event 2114", "451 4.7.0"],
    tier: Tier::User,
    fold: Fold::Worst,
    evidence: &[Basis::Spec, Basis::Lab],
};

impl Check for HasGc {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        // Which are asked hangs on all that there are.
        if !is_told(estate, evidence) {
            return Vec::new();
        }
        let of_site = |site: &String| {
            let catalogs = catalogs_of(site, estate).into_iter().take(MOST);
            let asks = catalogs.flat_map(|host| lookups(host, estate).into_iter().chain(looks(host, estate)));
            asks.map(|ask| Need { subject: Subject::Site(site.clone()), ask }).collect::<Vec<_>>()
        };
        sites(estate).keys().flat_map(of_site).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let search = estate.informants.first().map(|first| (searches::sites(first), Holding::Domain));
        let untold = search.and_then(|search| unread(&META, &[search], estate, evidence));
        if let Some(untold) = servers_unread(&META, estate, evidence).or(untold) {
            return [untold].into();
        }
        let mut findings: Vec<_> = sites(estate).keys().map(|site| judge_site(site, estate, evidence)).collect();
        findings.extend(peers(estate).into_iter().filter_map(|host| judge_siteless(host, estate)));
        findings.extend(bystanders(&META, estate));
        if findings.is_empty() {
            findings.push(Finding::new(
                &META,
                Subject::Estate,
                Verdict::Skip,
                "the directory shows no Exchange server to this user",
            ));
        }
        findings
    }
}

fn is_told(estate: &Estate, evidence: &Evidence) -> bool {
    let is_told = |search| found(&search, Holding::Domain, estate, evidence).complete().is_some();
    estate.informants.first().is_some_and(|first| is_told(searches::sites(first)) && is_told(searches::servers(first)))
}

/// Sites that hold peers, and how many.
fn sites(estate: &Estate) -> BTreeMap<String, usize> {
    let mut sites = BTreeMap::new();
    for host in peers(estate) {
        if let Some(site) = estate.organisation.servers.get(host).and_then(|server| server.site.clone()) {
            *sites.entry(site).or_default() += 1;
        }
    }
    sites
}

/// Exchange uses no read-only one.
fn catalogs_of<'e>(site: &str, estate: &'e Estate) -> BTreeSet<&'e str> {
    let dsas = estate.organisation.dsas.iter();
    let catalogs = dsas.filter(|(_, dsa)| dsa.is_catalog && !dsa.is_read_only && dsa.site.eq_ignore_ascii_case(site));
    catalogs.map(|(host, _)| host.as_str()).collect()
}

fn lookups(host: &str, estate: &Estate) -> [Ask; 2] {
    [RecordKind::A, RecordKind::Aaaa].map(|kind| estate.lookup(host, kind))
}

/// As `directory-reachable` asks it, so that it is asked once.
fn looks(host: &str, estate: &Estate) -> Vec<Ask> {
    let root_dse = || RootDse { transport: Transport::Tcp };
    estate.endpoints(host, GC_PORT).into_iter().map(|to| Ask::new(to, root_dse())).collect()
}

/// What a catalog shows of itself.
enum Catalog {
    Answers,
    Silent(String),
    NotTold(String),
}

fn catalog(host: &str, estate: &Estate, evidence: &Evidence) -> Catalog {
    let looks = looks(host, estate);
    let reaches: Vec<_> = looks.iter().filter_map(|ask| Reach::of(&evidence.answer::<RootDse>(ask))).collect();
    if reaches.contains(&Reach::Open) {
        return Catalog::Answers;
    }
    if looks.is_empty() {
        let is_looked_up = lookups(host, estate).iter().all(|ask| evidence.answer::<DnsLookup>(ask).facts().is_some());
        let why = if is_looked_up { "its name does not resolve" } else { "its name could not be looked up" };
        return if is_looked_up { Catalog::Silent(why.to_string()) } else { Catalog::NotTold(why.to_string()) };
    }
    if reaches.len() < looks.len() {
        return Catalog::NotTold("the run ended before it was asked".to_string());
    }
    // One address to which there is a way tells more than one without.
    let tried = reaches.iter().find(|reach| !matches!(reach, Reach::NotTried(_)));
    match (tried, reaches.first()) {
        (Some(reach), _) => Catalog::Silent(reach.to_string()),
        (None, Some(reach)) => Catalog::NotTold(reach.to_string()),
        (None, None) => Catalog::NotTold("not asked".to_string()),
    }
}

fn judge_site(site: &str, estate: &Estate, evidence: &Evidence) -> Finding {
    let finding = |verdict, seen: String| Finding::new(&META, Subject::Site(site.to_string()), verdict, seen);
    let all = catalogs_of(site, estate);
    if all.is_empty() {
        let controllers = estate.organisation.dsas.iter().filter(|(_, dsa)| dsa.site.eq_ignore_ascii_case(site));
        let controller = controllers.filter(|(_, dsa)| !dsa.is_read_only).map(|(host, _)| host.as_str()).next();
        return finding(Verdict::Warn, "no global catalog in the site: its servers use other sites'".to_string())
            .code("none")
            .remedy("Let a controller of the site be one:")
            .remedy(format!("    repadmin /options {} +IS_GC", controller.unwrap_or("<CONTROLLER>")));
    }
    let asked: Vec<_> = all.iter().take(MOST).map(|host| (*host, catalog(host, estate, evidence))).collect();
    let answering = asked.iter().filter(|(_, catalog)| matches!(catalog, Catalog::Answers)).count();
    if answering > 0 {
        return finding(Verdict::Pass, format!("{answering} of {} global catalogs answer", asked.len()));
    }
    let told = asked.iter().filter_map(|(host, catalog)| match catalog {
        Catalog::Answers => None,
        Catalog::Silent(why) | Catalog::NotTold(why) => Some(format!("{host}: {why}")),
    });
    let told = told.collect::<Vec<_>>().join("; ");
    let is_untold = asked.iter().any(|(_, catalog)| matches!(catalog, Catalog::NotTold(_)));
    let verdict = match is_untold {
        true => Verdict::Unknown,
        false if stands_in(site, estate) => Verdict::Fail,
        false => Verdict::Warn,
    };
    let finding = finding(verdict, format!("none of {} global catalogs of the site answers: {told}", asked.len()));
    let finding = if is_untold { finding } else { finding.code("silent") };
    asked.iter().fold(finding, |finding, (host, _)| {
        finding
            .suspects(Trouble::Name((*host).to_string()))
            .suspects(Trouble::HostDark((*host).to_string()))
            .suspects(Trouble::PortShut(Subject::Port((*host).to_string(), GC_PORT, Transport::Tcp)))
            .remedy(format!("    Test-NetConnection {host} -Port {GC_PORT}"))
    })
}

/// What does not answer from elsewhere may well answer the site's own servers.
fn stands_in(site: &str, estate: &Estate) -> bool {
    estate.plan.exchange_vantage && estate.our_site.values().any(|ours| ours.eq_ignore_ascii_case(site))
}

fn judge_siteless(host: &str, estate: &Estate) -> Option<Finding> {
    let finding = |verdict, seen| Finding::new(&META, Subject::Host(host.to_string()), verdict, seen);
    match estate.organisation.servers.get(host) {
        None => Some(finding(Verdict::Skip, "the directory knows no Exchange server of this name")),
        Some(server) if server.site.is_none() => Some(
            finding(Verdict::Unknown, "its site is not shown to us, or not set")
                .remedy("On the server: nltest /dsgetsite; then let it write its site: Restart-Service MSExchangeADTopology -Force"),
        ),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        plan::ServerRole,
        testing::{Forest, SITE},
    };

    const SUBJECT: &str = "site/Default-First-Site-Name";

    /// The first controller is no catalog, so that another can be silent; the searches are asked of a third, elsewhere.
    fn with_silent_catalog() -> Forest {
        let mut forest = Forest::new();
        forest.controller("dc2", "Elsewhere", true);
        forest.silent.insert(3268);
        forest
    }

    #[test]
    fn one_that_answers_is_enough() {
        let mut forest = Forest::new();
        forest.silent.insert(3268);
        forest.controller("dc2", SITE, true);
        forest.assert_steady(&HasGc);
        assert_eq!(forest.words(&HasGc, |_| true), [format!("{SUBJECT} pass -")]);
    }

    #[test]
    fn none_that_answers_is_a_warning_from_elsewhere() {
        let forest = with_silent_catalog();
        assert_eq!(forest.troubles(&HasGc), [format!("{SUBJECT} warn silent")]);
        let mut estate = forest.learn(&HasGc);
        estate.0.plan.exchange_vantage = true;
        assert_eq!(HasGc.judge(&estate.0, &estate.1)[0].verdict, Verdict::Warn, "in which site we stand is not known");
        estate.0.our_site.add("dc1".to_string(), SITE.to_lowercase());
        assert_eq!(HasGc.judge(&estate.0, &estate.1)[0].verdict, Verdict::Fail);
        estate.0.plan.exchange_vantage = false;
        assert_eq!(HasGc.judge(&estate.0, &estate.1)[0].verdict, Verdict::Warn);
    }

    #[test]
    fn a_site_without_any_uses_others() {
        let mut forest = Forest::new();
        let settings = forest.entries.iter_mut().find(|entry| entry.dn.starts_with("CN=NTDS Settings,")).unwrap();
        settings.attributes.remove("options");
        assert_eq!(forest.troubles(&HasGc), [format!("{SUBJECT} warn none")]);
        let remedy = forest.finding(&HasGc, SUBJECT).remedy;
        assert!(remedy.contains(&"    repadmin /options dc1.contoso.com +IS_GC".to_string()), "{remedy:?}");
    }

    #[test]
    fn a_catalog_that_cannot_be_looked_up_is_unknown_and_one_without_an_address_silent() {
        let mut forest = Forest::new();
        forest.silent.insert(3268);
        forest.controller("gc9", SITE, true);
        forest.names.remove("gc9.contoso.com");
        assert_eq!(forest.troubles(&HasGc), [format!("{SUBJECT} warn silent")]);
        forest.lost_names.insert("gc9.contoso.com".to_string());
        assert_eq!(forest.troubles(&HasGc), [format!("{SUBJECT} unknown -")]);
    }

    #[test]
    fn a_server_without_a_site_is_unknown_and_one_that_is_only_stated_is_skipped() {
        let mut forest = Forest::new();
        let server = forest.entries.iter_mut().find(|entry| entry.dn.starts_with("CN=EX02,CN=Servers")).unwrap();
        server.attributes.remove("msExchServerSite");
        forest.planned("ex07.contoso.com", ServerRole::Mailbox);
        let words = forest.words(&HasGc, |verdict| verdict != Verdict::Pass);
        assert_eq!(words, ["ex02.contoso.com unknown -", "ex07.contoso.com skip -"]);
    }

    #[test]
    fn an_unread_directory_is_one_unknown() {
        let mut forest = Forest::new();
        forest.refuses = true;
        assert_eq!(forest.words(&HasGc, |_| true), ["estate unknown -"]);
    }
}
