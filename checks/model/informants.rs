//! Whom the directory is asked: one controller, and the next only where that one did not tell all.

use crate::{
    facts::{
        directory::{Netlogon, NetlogonPing, RootDse},
        dns::{DnsAnswer, DnsLookup, RecordKind, is_host_name, locator, srv_name},
        net::{KERBEROS_PORT, LDAP_PORT, Transport},
        search::{DirectoryEntries, DirectorySearch},
    },
    model::{
        ask::{Ask, Endpoint},
        check::Need,
        estate::Estate,
        evidence::{Answer, Evidence, Miss, Reason, Stage},
        finding::{Finding, Subject, Trouble, Verdict},
        meta::Meta,
        organisation::SearchOf,
    },
};
use alloc::{
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::IpAddr;

/// So many controllers are asked the same at the most.
const MOST: usize = 3;

/// A controller that answers strangers as one of the domain, so that it is worth logging on to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Informant {
    /// Its name.
    pub host: String,
    /// Where it answered.
    pub address: IpAddr,
    /// It is a global catalog.
    pub is_catalog: bool,
    /// The distinguished name of the Configuration partition, as it tells it.
    pub configuration: String,
    /// The distinguished name of its domain.
    pub domain: String,
}

/// Which of its directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holding {
    /// All attributes of its own domain, and the forest's configuration.
    Domain,
    /// Some attributes of every object of the forest.
    Catalog,
}

/// What the directory has to say to a search.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'e> {
    /// There is no controller to ask: none answers, or none is a global catalog; or it is not known yet.
    Nobody,
    /// Not asked, or the answer is still under way.
    NotAsked,
    /// Nobody told anything. Of several, the last one asked.
    Missed(&'e Miss, Endpoint),
    /// Somebody told something; with a Miss, not all.
    Told(&'e DirectoryEntries, Option<&'e Miss>, Endpoint),
}

impl<'e> Found<'e> {
    /// What was told, be it all or not.
    pub fn entries(&self) -> Option<&'e DirectoryEntries> {
        if let Self::Told(entries, ..) = self { Some(entries) } else { None }
    }

    /// What was told, if it is all.
    pub fn complete(&self) -> Option<&'e DirectoryEntries> {
        if let Self::Told(entries, None, _) = self { Some(entries) } else { None }
    }
}

/// The controllers of the domain in the order in which they are asked: those that can be written to, then those of our own
/// site, then by name. None until every one that DNS names has answered the anonymous questions, or failed to: whom we log on
/// to must not depend on who was faster.
pub fn informants(estate: &Estate, evidence: &Evidence) -> Vec<Informant> {
    let Some(located) = located(estate, evidence) else { return Vec::new() };
    if !located.iter().all(|host| is_asked(host, estate, evidence)) {
        return Vec::new();
    }
    let mut informants: Vec<(bool, bool, Informant)> = Vec::new();
    for host in located {
        let Some(controller) = estate.controllers.get(&host) else { continue };
        let places = estate.endpoints(&host, LDAP_PORT);
        let first = places.iter().find_map(|to| by_root_dse(to, estate, evidence));
        let first = first.or_else(|| places.iter().find_map(|to| by_ping(to, estate, evidence)));
        let is_near = controller.site.as_ref().is_some_and(|site| estate.our_site.values().any(|ours| ours == site));
        informants.extend(first.map(|informant| (controller.is_read_only, !is_near, informant)));
    }
    informants.sort_by(|one, other| (one.0, one.1, &one.2.host).cmp(&(other.0, other.1, &other.2.host)));
    informants.into_iter().map(|(.., informant)| informant).collect()
}

/// Has everyone who is asked for these answered, or failed to? True as well where it has turned out that there is nobody to ask.
pub fn are_settled(searches: &[SearchOf], estate: &Estate, evidence: &Evidence) -> bool {
    let Some(located) = located(estate, evidence) else { return false };
    let is_asked = located.iter().all(|host| is_asked(host, estate, evidence));
    let of_first = |first| searches.iter().flat_map(move |of| asks(&of(first), Holding::Domain, estate, evidence));
    is_asked && estate.informants.first().into_iter().flat_map(of_first).all(|ask| evidence.holds(&ask))
}

/// The controllers that the domain's own records name; `None` until all of these are looked up.
pub fn located(estate: &Estate, evidence: &Evidence) -> Option<BTreeSet<String>> {
    let lookups =
        locator::OF_A_DOMAIN.map(|service| estate.lookup(&srv_name(service, &estate.plan.domain), RecordKind::Srv));
    lookups.iter().all(|ask| evidence.holds(ask)).then(|| {
        let answers = lookups.iter().filter_map(|ask| evidence.answer::<DnsLookup>(ask).facts());
        let names = answers.flat_map(DnsAnswer::targets).filter(|name| is_host_name(name));
        names.map(ToString::to_string).collect()
    })
}

fn is_asked(host: &str, estate: &Estate, evidence: &Evidence) -> bool {
    let names = [RecordKind::A, RecordKind::Aaaa].map(|kind| estate.lookup(host, kind));
    let at = |to: Endpoint| {
        let ping = Ask::new(to.clone(), NetlogonPing { domain: estate.plan.domain.clone() });
        [ping, Ask::new(to, RootDse { transport: Transport::Tcp })]
    };
    let questions = estate.endpoints(host, LDAP_PORT).into_iter().flat_map(at);
    names.into_iter().chain(questions).all(|ask| evidence.holds(&ask))
}

/// `None` for who is of another domain, or another host: a ticket would be for somebody else.
fn by_root_dse(to: &Endpoint, estate: &Estate, evidence: &Evidence) -> Option<Informant> {
    let told = evidence.get(to, &RootDse { transport: Transport::Tcp }).facts()?;
    let is_itself = told.value("dnsHostName").is_none_or(|name| name.eq_ignore_ascii_case(&to.host));
    let is_of_domain = told.domain_of("defaultNamingContext").as_deref() == Some(&estate.plan.domain);
    (is_itself && is_of_domain).then_some(())?;
    let says_so = told.flag("isGlobalCatalogReady");
    Some(Informant {
        host: to.host.clone(),
        address: to.address?,
        is_catalog: says_so.unwrap_or_else(|| ping(to, estate, evidence).is_some_and(|ping| ping.is_gc())),
        configuration: told.value("configurationNamingContext")?.to_string(),
        domain: told.value("defaultNamingContext")?.to_string(),
    })
}

/// Where 389 is shut, 636 may be open: a domain's distinguished name follows from its name (MS-ADTS section 3.1.1.1.5).
fn by_ping(to: &Endpoint, estate: &Estate, evidence: &Evidence) -> Option<Informant> {
    let told = ping(to, estate, evidence)?;
    let is_right = told.host == to.host && told.domain == estate.plan.domain && is_host_name(&told.forest);
    is_right.then_some(())?;
    let dn = |domain: &str| domain.split('.').map(|label| format!("DC={label}")).collect::<Vec<_>>().join(",");
    Some(Informant {
        host: to.host.clone(),
        address: to.address?,
        is_catalog: told.is_gc(),
        configuration: format!("CN=Configuration,{}", dn(&told.forest)),
        domain: dn(&told.domain),
    })
}

fn ping(to: &Endpoint, estate: &Estate, evidence: &Evidence) -> Option<Netlogon> {
    evidence.get(to, &NetlogonPing { domain: estate.plan.domain.clone() }).facts()?.netlogon()
}

/// Everything to be asked for this search by what is known so far. Nothing, where nobody logs on.
pub fn asks(search: &DirectorySearch, holding: Holding, estate: &Estate, evidence: &Evidence) -> Vec<Ask> {
    let mut asks = Vec::new();
    for ask in in_turn(search, holding, estate) {
        let answer = evidence.answer::<DirectorySearch>(&ask);
        let is_next = answer.miss().is_some_and(is_worth_another);
        asks.push(ask);
        if !is_next {
            break;
        }
    }
    asks
}

/// Might another controller do better? Not where the credential was refused, nor where the bound is our own.
pub fn is_worth_another(miss: &Miss) -> bool {
    match (miss.stage, &miss.reason) {
        (Stage::Bind, reason) => matches!(reason, Reason::NoLogon(_)),
        (_, reason) => !matches!(reason, Reason::Local(_) | Reason::Interrupted),
    }
}

/// The same as needs of a check.
pub fn needs(
    subject: &Subject,
    search: &DirectorySearch,
    holding: Holding,
    estate: &Estate,
    evidence: &Evidence,
) -> impl Iterator<Item = Need> {
    let subject = subject.clone();
    asks(search, holding, estate, evidence).into_iter().map(move |ask| Need { subject: subject.clone(), ask })
}

/// What the directory has to say: whoever told all speaks, else whoever told most.
pub fn found<'e>(search: &DirectorySearch, holding: Holding, estate: &Estate, evidence: &'e Evidence) -> Found<'e> {
    let asks = asks(search, holding, estate, evidence);
    let mut best = if asks.is_empty() { Found::Nobody } else { Found::NotAsked };
    for ask in asks {
        let this = match evidence.answer::<DirectorySearch>(&ask) {
            Answer::NotAsked => return best,
            Answer::Missed(miss) => Found::Missed(miss, ask.to),
            Answer::Told(entries, miss) => Found::Told(entries, miss, ask.to),
        };
        let told = |found: &Found<'_>| match found {
            Found::Nobody | Found::NotAsked => 0,
            Found::Missed(..) => 1,
            Found::Told(entries, Some(_), _) => 2 + entries.entries.len(),
            Found::Told(_, None, _) => usize::MAX,
        };
        if told(&this) >= told(&best) {
            best = this;
        }
    }
    best
}

fn in_turn(search: &DirectorySearch, holding: Holding, estate: &Estate) -> Vec<Ask> {
    places(holding, estate).into_iter().map(|to| Ask::new(to, search.clone())).collect()
}

/// Who is asked for what this directory holds, one after the other. Nobody, where nobody logs on.
pub fn places(holding: Holding, estate: &Estate) -> Vec<Endpoint> {
    let Some(logon) = &estate.plan.logon else { return Vec::new() };
    let port = match holding {
        Holding::Domain => logon.way.directory_port(),
        Holding::Catalog => logon.way.catalog_port(),
    };
    let serves = |informant: &&Informant| holding == Holding::Domain || informant.is_catalog;
    let endpoint =
        |informant: &Informant| Endpoint { host: informant.host.clone(), address: Some(informant.address), port };
    estate.informants.iter().filter(serves).take(MOST).map(endpoint).collect()
}

/// What a check says of the whole estate where one of these searches did not tell all. `None` where all did.
pub fn unread(
    meta: &'static Meta,
    searches: &[(DirectorySearch, Holding)],
    estate: &Estate,
    evidence: &Evidence,
) -> Option<Finding> {
    let domain = &estate.plan.domain;
    let mut told = searches.iter().map(|(search, holding)| (*holding, found(search, *holding, estate, evidence)));
    let (holding, found) = told.find(|(_, found)| found.complete().is_none())?;
    let unknown = |seen: String| {
        Finding::new(meta, Subject::Estate, Verdict::Unknown, seen)
            .suspects(Trouble::Credential)
            .suspects(Trouble::DirectoryUnread)
    };
    let finding = match found {
        Found::Nobody if holding == Holding::Catalog && !estate.informants.is_empty() => {
            unknown(format!("no controller of {domain} that answers is a global catalog"))
                .remedy("Make one of them a global catalog (NTDS Settings in Active Directory Sites and Services), or see why the one there is does not answer.")
        }
        Found::Nobody => {
            let finding = unknown(format!("no controller of {domain} answered as one, so the directory could not be read"));
            estate.controllers.keys().fold(finding.suspects(Trouble::Name(domain.clone())), |finding, host| {
                finding.suspects(Trouble::HostDark(host.clone()))
            })
        }
        Found::NotAsked => unknown("the run ended before the directory had told all".to_string()),
        Found::Missed(miss, at) => unknown(format!("{at} told nothing: {miss}"))
            .suspects(Trouble::HostDark(at.host.clone()))
            // Before it is asked, its KDC gives the ticket.
            .suspects(Trouble::PortShut(Subject::Port(at.host.clone(), KERBEROS_PORT, Transport::Tcp)))
            .suspects(Trouble::PortShut(Subject::Port(at.host, at.port, Transport::Tcp))),
        Found::Told(entries, miss, at) => {
            let why = miss.map(ToString::to_string).unwrap_or_default();
            unknown(format!("{at} told only a part ({} objects): {why}", entries.entries.len()))
        }
    };
    Some(finding)
}

/// The needs of several searches about the estate as such.
pub fn estate_needs(searches: &[(DirectorySearch, Holding)], estate: &Estate, evidence: &Evidence) -> Vec<Need> {
    let one = |(search, holding): &(DirectorySearch, Holding)| {
        needs(&Subject::Estate, search, *holding, estate, evidence).collect::<Vec<_>>()
    };
    searches.iter().map(one).collect::<Vec<_>>().concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        ask::Facts,
        evidence::{End, Observation, Reply},
        plan::{Logon, LogonWay, Plan},
    };
    use alloc::vec;
    use jiff::{SignedDuration, Timestamp};

    fn plan() -> Plan {
        Plan {
            logon: Some(Logon { user: Some("reader@contoso.com".into()), way: LogonWay::Kerberos }),
            ..Plan::of("contoso.com")
        }
    }

    fn estate_with(hosts: &[&str]) -> Estate {
        let mut estate = Estate::learn(&plan(), &Evidence::default());
        estate.informants = hosts
            .iter()
            .enumerate()
            .map(|(index, host)| Informant {
                host: host.to_string(),
                address: [10, 0, 0, u8::try_from(index).unwrap()].into(),
                is_catalog: index > 0,
                configuration: "CN=Configuration,DC=contoso,DC=com".into(),
                domain: "DC=contoso,DC=com".into(),
            })
            .collect();
        estate
    }

    fn observe(ask: &Ask, entries: Option<usize>, miss: Option<Stage>) -> Observation {
        let told = |count| DirectoryEntries {
            entries: vec![crate::facts::search::Entry::default(); count],
            references: 0,
            result: Some(0),
        };
        let end =
            miss.map_or(End::Ok, |stage| End::Miss(Miss { stage, reason: Reason::Silent, took: SignedDuration::ZERO }));
        let facts = entries.map(|count| Facts::DirectorySearch(told(count)));
        Observation { ask: ask.clone(), reply: Reply { facts, end }, when: Timestamp::UNIX_EPOCH }
    }

    #[test]
    fn the_next_is_asked_only_where_the_one_before_did_not_tell_all() {
        let estate = estate_with(&["dc1", "dc2", "dc3", "dc4"]);
        let search = DirectorySearch::of("DC=contoso,DC=com", &["cn"]);
        let mut evidence = Evidence::default();
        let asked = |evidence: &Evidence| asks(&search, Holding::Domain, &estate, evidence);
        assert_eq!(asked(&evidence).len(), 1);
        evidence.insert(observe(&asked(&evidence)[0], Some(3), Some(Stage::Reply)));
        assert_eq!(asked(&evidence).len(), 2);
        evidence.insert(observe(&asked(&evidence)[1], Some(1), Some(Stage::Reply)));
        assert!(
            matches!(found(&search, Holding::Domain, &estate, &evidence), Found::Told(told, Some(_), _) if told.entries.len() == 3)
        );
        evidence.insert(observe(&asked(&evidence)[2], Some(5), None));
        assert_eq!(asked(&evidence).len(), MOST, "three are enough");
        assert!(found(&search, Holding::Domain, &estate, &evidence).complete().is_some());
    }

    #[test]
    fn who_was_refused_asks_nobody_else() {
        let estate = estate_with(&["dc1", "dc2"]);
        let search = DirectorySearch::of("DC=contoso,DC=com", &["cn"]);
        let mut evidence = Evidence::default();
        let ask = asks(&search, Holding::Domain, &estate, &evidence).remove(0);
        evidence.insert(observe(&ask, None, Some(Stage::Bind)));
        assert_eq!(asks(&search, Holding::Domain, &estate, &evidence).len(), 1);
    }

    #[test]
    fn a_catalog_is_asked_by_its_own_port() {
        let estate = estate_with(&["dc1", "dc2"]);
        let search = DirectorySearch::below("", "(cn=*)", &["cn"]);
        let asks = asks(&search, Holding::Catalog, &estate, &Evidence::default());
        assert_eq!((asks[0].to.host.as_str(), asks[0].to.port), ("dc2", 3268));
    }
}
