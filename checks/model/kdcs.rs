//! Which KDCs are asked for tickets: those of the sites where Exchange servers are, for there servers get theirs.

use crate::{
    facts::{
        dns::{DnsLookup, RecordKind, is_host_name, locator, srv_name},
        kerberos::{AsReq, KdcAnswer, KdcReply},
        net::{KERBEROS_PORT, Transport},
        ticket::RealmKdc,
    },
    model::{
        accounts::peers,
        ask::{Ask, Endpoint},
        estate::Estate,
        evidence::{Answer, Evidence},
        informants::{are_settled, located},
        listeners::quote,
        organisation::{Dsa, searches},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};

/// So many of one site are asked for tickets.
const MOST_OF_A_SITE: usize = 3;

/// So many are asked in one run.
const MOST: usize = 8;

/// So many of another realm are looked at, until one is found that answers.
const MOST_ABROAD: usize = 3;

/// So many addresses of each of these.
const MOST_ADDRESSES_ABROAD: usize = 2;

/// The KDCs of the domain that are asked for tickets, in their order. None until it is told which there are and where the servers
/// are: whom we ask must not depend on who was faster.
pub fn of_estate(estate: &Estate, evidence: &Evidence) -> Vec<RealmKdc> {
    Kdcs::of(estate, evidence).chosen.into_iter().map(|chosen| chosen.kdc).collect()
}

/// What comes of the choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kdcs {
    /// Those that are asked.
    pub chosen: Vec<Chosen>,
    /// How many more of these sites answer, and are not asked.
    pub left_out: usize,
    /// The choice is made, be it that nobody answers.
    pub is_settled: bool,
    /// What has to be asked before it can be made.
    pub asks: Vec<Ask>,
    /// Everyone who could have been chosen.
    pub candidates: BTreeSet<String>,
}

/// One that is asked for tickets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Where it is.
    pub kdc: RealmKdc,
    /// The first of its site: what is asked of one alone, is asked of this one.
    pub is_first: bool,
}

impl Chosen {
    /// Its port.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint { host: self.kdc.host.clone(), address: Some(self.kdc.address), port: KERBEROS_PORT }
    }
}

impl Kdcs {
    /// What the evidence comes to.
    pub fn of(estate: &Estate, evidence: &Evidence) -> Self {
        let mut kdcs = Self::default();
        if !are_settled(&[searches::sites, searches::servers], estate, evidence) {
            return kdcs;
        }
        let Candidates { sites, elsewhere, most_of_a_site } = candidates(estate, evidence);
        let mut groups: Vec<_> = sites.iter().map(|hosts| kdcs.heard(hosts, estate, evidence)).collect();
        // A site without a KDC of its own goes to others.
        if groups.iter().any(|group| group.as_ref().is_some_and(Vec::is_empty)) {
            groups.push(kdcs.heard(&elsewhere, estate, evidence));
        }
        let Some(groups) = groups.into_iter().collect::<Option<Vec<_>>>() else { return kdcs };
        kdcs.is_settled = true;
        // Every site has its first before any has its second.
        let of_rank = |rank| groups.iter().filter_map(move |group| Some((rank, group.get(rank)?)));
        let by_rank = (0..most_of_a_site).flat_map(of_rank);
        let chosen = by_rank.take(MOST).map(|(rank, kdc)| Chosen { kdc: kdc.clone(), is_first: rank == 0 });
        kdcs.chosen = chosen.collect();
        kdcs.left_out = groups.iter().map(Vec::len).sum::<usize>() - kdcs.chosen.len();
        kdcs
    }

    /// Those that answer strangers over TCP in the domain's realm, each at one address; `None` until all of them are asked.
    fn heard(&mut self, hosts: &[String], estate: &Estate, evidence: &Evidence) -> Option<Vec<RealmKdc>> {
        self.candidates.extend(hosts.iter().cloned());
        let realm = estate.plan.domain.to_uppercase();
        let looks: Vec<_> = hosts.iter().map(|host| look(host, &realm, usize::MAX, estate, evidence)).collect();
        let is_settled = looks.iter().all(|(asks, _)| asks.iter().all(|ask| evidence.holds(ask)));
        let (asks, kdcs): (Vec<_>, Vec<_>) = looks.into_iter().unzip();
        self.asks.extend(asks.into_iter().flatten());
        is_settled.then(|| kdcs.into_iter().flatten().collect())
    }
}

/// The domain's controllers, writable ones first.
struct Candidates {
    /// Of each site where Exchange servers are; where sites are not told, all are one.
    sites: Vec<Vec<String>>,
    /// All others.
    elsewhere: Vec<String>,
    most_of_a_site: usize,
}

impl Candidates {
    fn of_one_site(hosts: Vec<String>) -> Self {
        Self { sites: [hosts].into(), elsewhere: Vec::new(), most_of_a_site: MOST }
    }
}

/// Where the directory does not tell, those that DNS names.
fn candidates(estate: &Estate, evidence: &Evidence) -> Candidates {
    let organisation = &estate.organisation;
    let of_domain: BTreeMap<&String, &Dsa> =
        organisation.dsas.iter().filter(|(host, dsa)| is_of_domain(host, dsa, estate)).collect();
    if of_domain.is_empty() {
        return Candidates::of_one_site(located(estate, evidence).unwrap_or_default().into_iter().collect());
    }
    let of_servers = peers(estate).into_iter().filter_map(|host| organisation.servers.get(host)?.site.as_ref());
    let sites: BTreeSet<String> = of_servers.map(|site| site.to_lowercase()).collect();
    let of_site = |wanted: &dyn Fn(&str) -> bool| -> Vec<String> {
        let mut hosts: Vec<_> = of_domain.iter().filter(|(_, dsa)| wanted(&dsa.site.to_lowercase())).collect();
        hosts.sort_by_key(|(host, dsa)| (dsa.is_read_only, host.as_str()));
        hosts.into_iter().map(|(host, _)| (*host).clone()).collect()
    };
    if sites.is_empty() {
        return Candidates::of_one_site(of_site(&|_| true));
    }
    Candidates {
        sites: sites.iter().map(|site| of_site(&|of| of == site)).collect(),
        elsewhere: of_site(&|of| !sites.contains(of)),
        most_of_a_site: MOST_OF_A_SITE,
    }
}

/// A read-only controller has a writable copy of nothing, so that only its name tells its domain.
fn is_of_domain(host: &str, dsa: &Dsa, estate: &Estate) -> bool {
    let is_named_so = || host.split_once('.').is_some_and(|(_, domain)| domain == estate.plan.domain);
    dsa.domain.as_ref().map_or_else(|| dsa.is_read_only && is_named_so(), |domain| *domain == estate.plan.domain)
}

/// What has to be asked to know whether a host is a KDC of this realm, and the first address where it is.
fn look(host: &str, realm: &str, most: usize, estate: &Estate, evidence: &Evidence) -> (Vec<Ask>, Option<RealmKdc>) {
    let mut asks: Vec<_> = [RecordKind::A, RecordKind::Aaaa].map(|kind| estate.lookup(host, kind)).into();
    // Which of several addresses count hangs on all that there are.
    if !asks.iter().all(|ask| evidence.holds(ask)) {
        return (asks, None);
    }
    let question = AsReq { realm: realm.to_string(), transport: Transport::Tcp };
    let places = estate.endpoints(host, KERBEROS_PORT).into_iter().take(most);
    let questions: Vec<_> = places.map(|to| Ask::new(to, question.clone())).collect();
    let serves = |ask: &&Ask| evidence.answer::<AsReq>(ask).facts().is_some_and(|reply| serves_realm(reply, realm));
    let address = questions.iter().find(serves).and_then(|ask| ask.to.address);
    asks.extend(questions);
    let kdc = address.map(|address| RealmKdc { realm: realm.to_string(), host: host.to_string(), address });
    (asks, kdc)
}

/// One that names another realm as its own gives no ticket of this one; `kerberos-realm` tells of it.
fn serves_realm(reply: &KdcReply, realm: &str) -> bool {
    const WRONG_REALM: i64 = 68;
    match reply.answer() {
        KdcAnswer::Error(error) => error.code != WRONG_REALM || error.realm.eq_ignore_ascii_case(realm),
        KdcAnswer::Ticket => true,
        KdcAnswer::NotKerberos => false,
    }
}

/// A KDC of another realm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Abroad {
    /// Nobody knows yet.
    Untold,
    /// Here.
    At(RealmKdc),
    /// None can be asked, and why.
    Nowhere(String),
}

/// The KDC of another realm as DNS has it (RFC 4120 section 7.2.3.2), and what has to be asked to find it. Its name may come from
/// a KDC's answer: what can be no domain's is not looked up.
pub fn of_realm(realm: &str, estate: &Estate, evidence: &Evidence) -> (Vec<Ask>, Abroad) {
    let domain = realm.to_lowercase();
    if !is_host_name(&domain) {
        return (Vec::new(), Abroad::Nowhere("its name can be no domain's".to_string()));
    }
    let records = estate.lookup(&srv_name(locator::GENERIC_KDCS, &domain), RecordKind::Srv);
    let told = match evidence.answer::<DnsLookup>(&records) {
        Answer::NotAsked => return ([records].into(), Abroad::Untold),
        Answer::Missed(miss) => {
            let why = format!("DNS does not tell its KDCs: {miss}");
            return ([records].into(), Abroad::Nowhere(why));
        }
        Answer::Told(told, _) => told,
    };
    let mut hosts: Vec<&str> = Vec::new();
    for host in told.targets().filter(|host| is_host_name(host)) {
        if !hosts.contains(&host) && hosts.len() < MOST_ABROAD {
            hosts.push(host);
        }
    }
    let realm = realm.to_uppercase();
    let looks = hosts.iter().map(|host| look(host, &realm, MOST_ADDRESSES_ABROAD, estate, evidence));
    let (asks, kdcs): (Vec<_>, Vec<_>) = looks.unzip();
    let asks: Vec<_> = [records].into_iter().chain(asks.into_iter().flatten()).collect();
    let found = match kdcs.into_iter().flatten().next() {
        _ if !asks.iter().all(|ask| evidence.holds(ask)) => Abroad::Untold,
        Some(kdc) => Abroad::At(kdc),
        None if hosts.is_empty() => Abroad::Nowhere("DNS names no KDC of it".to_string()),
        None => {
            let named: Vec<_> = hosts.iter().map(|host| quote(host)).collect();
            Abroad::Nowhere(format!("none of its KDCs answers: {}", named.join(", ")))
        }
    };
    (asks, found)
}
