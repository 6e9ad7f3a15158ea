//! A small forest for tests of what the directory tells: one controller, dc1, and two Mailbox servers, ex01 and ex02, of
//! contoso.com. It answers what is asked of it as the wire would write it down, so that a test sees a check from its needs to its
//! findings.

use crate::{
    facts::{
        census::{SpnCensus, SpnScan, SpnScanned},
        directory::{RootDse, RootDseReply},
        dns::{DnsAnswer, DnsLookup, Record, RecordKind},
        kerberos::{AsReq, KdcReply},
        net::Transport,
        raw::Raw,
        replication::blobs,
        search::{DirectoryEntries, DirectorySearch, Entry, SearchScope, Value, is_same_dn, parent, result},
        ticket::{Grant, Hop, HopAnswer, RealmKdc, ServiceTicket, TicketGranting, TicketReply},
        time::Span,
    },
    model::{
        ask::{Ask, Facts, Question},
        check::{Check, judge, wanted},
        estate::Estate,
        evidence::{End, Evidence, Miss, Observation, Reason, Reply, Stage},
        finding::{Finding, Verdict},
        plan::{Logon, LogonWay, Plan, PlannedServer, ServerRole},
    },
};
use alloc::{
    borrow::ToOwned as _,
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::net::{IpAddr, Ipv4Addr};
use jiff::{SignedDuration, Timestamp};

pub(crate) const DOMAIN: &str = "DC=contoso,DC=com";
pub(crate) const CONFIGURATION: &str = "CN=Configuration,DC=contoso,DC=com";
const EXCHANGE: &str =
    "CN=Servers,CN=Group,CN=First,CN=Microsoft Exchange,CN=Services,CN=Configuration,DC=contoso,DC=com";
pub(crate) const SITE: &str = "Default-First-Site-Name";

/// A forest, and how it answers.
pub(crate) struct Forest {
    pub(crate) plan: Plan,
    /// What its directory holds, Configuration partition and accounts alike.
    pub(crate) entries: Vec<Entry>,
    /// Names -> addresses.
    pub(crate) names: BTreeMap<String, Vec<IpAddr>>,
    /// Ports of dc1 at which nobody answers.
    pub(crate) silent: BTreeSet<u16>,
    /// Lookups of these names fail.
    pub(crate) lost_names: BTreeSet<String>,
    /// The password is refused.
    pub(crate) refuses: bool,
    /// A census shows the first so many objects that hold SPNs, and breaks off.
    pub(crate) breaks_off_after: Option<usize>,
    /// What servers that are no controllers answer.
    pub(crate) servers_say: Option<Box<ServersSay>>,
    /// What KDCs say where they do not give a ticket in AES: KDC and what is wanted of it, over one transport or both.
    tickets: BTreeMap<(String, String, Option<Transport>), KdcSays>,
    /// What a controller holds otherwise than the others: host -> distinguished name -> its own, or nothing.
    pub(crate) own: BTreeMap<String, BTreeMap<String, Option<Entry>>>,
    /// The same at the second look.
    pub(crate) later: BTreeMap<String, BTreeMap<String, Option<Entry>>>,
    /// Controllers that answer no search.
    pub(crate) mute: BTreeSet<String>,
}

/// `None` where nobody answers.
pub(crate) type ServersSay = dyn Fn(&Ask) -> Option<Reply>;

/// How a KDC answers a request for a ticket.
#[derive(Clone, Copy, Debug)]
pub(crate) enum KdcSays {
    /// With one of this encryption type.
    Ticket(i64),
    /// With this KRB-ERROR.
    Error(u8),
    /// With a ticket for this realm's KDC.
    Refers(&'static str),
    /// Not at all.
    Nothing,
    /// Over UDP, that its answer is too big; over TCP, it gives it.
    TooBig,
    /// The same, and TCP is shut.
    TooBigAndShut,
}

impl Forest {
    /// Everything is as it should be.
    pub(crate) fn new() -> Self {
        let logon = Logon { user: Some("reader@contoso.com".to_owned()), way: LogonWay::Kerberos };
        let mut forest = Self {
            plan: Plan { logon: Some(logon), ..Plan::of("contoso.com") },
            entries: Vec::new(),
            names: BTreeMap::new(),
            silent: BTreeSet::new(),
            lost_names: BTreeSet::new(),
            refuses: false,
            servers_say: None,
            tickets: BTreeMap::new(),
            breaks_off_after: None,
            own: BTreeMap::new(),
            later: BTreeMap::new(),
            mute: BTreeSet::new(),
        };
        forest.entry(DOMAIN, &[("objectClass", &["domainDNS"])]);
        forest.entry(&format!("CN=Sites,{CONFIGURATION}"), &[("objectClass", &["sitesContainer"])]);
        forest.entry(&format!("CN={SITE},CN=Sites,{CONFIGURATION}"), &[("objectClass", &["site"])]);
        forest.controller("dc1", SITE, true);
        let service = format!("CN=Directory Service,CN=Windows NT,CN=Services,{CONFIGURATION}");
        forest.entry(&service, &[("objectClass", &["nTDSService"]), ("sPNMappings", &["host=alerter,http,w3svc"])]);
        let partition = format!("CN=CONTOSO,CN=Partitions,{CONFIGURATION}");
        forest.entry(
            &partition,
            &[
                ("objectClass", &["crossRef"]),
                ("nCName", &[DOMAIN]),
                ("dnsRoot", &["contoso.com"]),
                ("nETBIOSName", &["CONTOSO"]),
                ("systemFlags", &["3"]),
            ],
        );
        forest.server("EX01");
        forest.server("EX02");
        forest
    }

    /// An object, spelt as the directory does.
    pub(crate) fn entry(&mut self, dn: &str, attributes: &[(&str, &[&str])]) -> &mut Entry {
        let text = |value: &&str| Value::Text((*value).to_owned());
        let mut entry = Entry { dn: dn.to_owned(), attributes: BTreeMap::new() };
        for (attribute, values) in attributes {
            entry.attributes.insert((*attribute).to_owned(), values.iter().map(text).collect());
        }
        let number = u128::try_from(self.entries.len() + 1).unwrap();
        entry.attributes.insert("objectGUID".to_owned(), vec![Value::Bytes(Raw(number.to_le_bytes().to_vec()))]);
        self.entries.push(entry);
        self.entries.last_mut().unwrap()
    }

    /// A controller of the domain, in the directory and in DNS.
    pub(crate) fn controller(&mut self, name: &str, site: &str, is_catalog: bool) {
        let host = format!("{name}.contoso.com");
        let dn = format!("CN={},CN=Servers,CN={site},CN=Sites,{CONFIGURATION}", name.to_uppercase());
        self.entry(&dn, &[("objectClass", &["server"]), ("dNSHostName", &[&host])]);
        let options = if is_catalog { "1" } else { "0" };
        let settings = format!("CN=NTDS Settings,{dn}");
        self.entry(
            &settings,
            &[("objectClass", &["nTDSDSA"]), ("options", &[options]), ("msDS-HasMasterNCs", &[DOMAIN, CONFIGURATION])],
        );
        self.name(&host);
    }

    /// What a KDC (`dc1.contoso.com`) says to whoever wants this of it.
    pub(crate) fn kdc_says(&mut self, kdc: &str, wanted: &str, says: KdcSays) {
        self.tickets.insert((kdc.to_owned(), wanted.to_owned(), None), says);
    }

    /// The same, over one transport alone.
    pub(crate) fn kdc_says_over(&mut self, transport: Transport, kdc: &str, wanted: &str, says: KdcSays) {
        self.tickets.insert((kdc.to_owned(), wanted.to_owned(), Some(transport)), says);
    }

    /// Two controllers, dc1 and dc2, that have just taken all changes of one another.
    pub(crate) fn replicated() -> Self {
        let mut forest = Self::new();
        forest.controller("dc2", SITE, true);
        forest.entry(CONFIGURATION, &[("objectClass", &["configuration"])]);
        for (host, other) in [("dc1", "dc2"), ("dc2", "dc1")] {
            let host = format!("{host}.contoso.com");
            for partition in [DOMAIN, CONFIGURATION] {
                forest.hears(&host, partition, other, SignedDuration::from_secs(60), 0, 0);
                forest.has_come(&host, partition, other, 5000);
            }
            let settings = settings_of(&host);
            let invocation = Value::Bytes(Raw(invocation(&host).to_vec()));
            let entry = forest.entries.iter_mut().find(|entry| entry.dn == settings).unwrap();
            entry.attributes.insert("invocationId".to_owned(), vec![invocation]);
        }
        forest
    }

    /// How a controller says that it takes a partition from another one.
    pub(crate) fn hears(
        &mut self,
        host: &str,
        partition: &str,
        source: &str,
        ago: SignedDuration,
        failures: u32,
        result: u32,
    ) {
        let settings = settings_of(source);
        let source = self.entries.iter().find(|entry| entry.dn == settings).unwrap().bytes("objectGUID").unwrap();
        let blob = blobs::reps_from(source.try_into().unwrap(), now() - ago, failures, result);
        self.held(host, partition).attributes.insert("repsFrom".to_owned(), vec![Value::new(blob)]);
    }

    /// How far it says that it has come with another one's changes.
    pub(crate) fn has_come(&mut self, host: &str, partition: &str, source: &str, usn: i64) {
        let blob = blobs::vector(&[(invocation(source), usn)]);
        self.held(host, partition).attributes.insert("replUpToDateVector".to_owned(), vec![Value::new(blob)]);
    }

    /// An object as one controller alone holds it.
    pub(crate) fn held(&mut self, host: &str, dn: &str) -> &mut Entry {
        let shared = self.entries.iter().find(|entry| is_same_dn(&entry.dn, dn)).unwrap().clone();
        let own = self.own.entry(host.to_owned()).or_default().entry(dn.to_owned());
        own.or_insert(Some(shared)).as_mut().unwrap()
    }

    /// What a controller holds, at a look.
    fn holdings(&self, host: &str, look: u8) -> Vec<Entry> {
        let of = |own: &'_ BTreeMap<String, BTreeMap<String, Option<Entry>>>, dn: &str| {
            own.get(host).and_then(|own| own.get(dn)).cloned()
        };
        let entry = |entry: &Entry| {
            let later = if look > 1 { of(&self.later, &entry.dn) } else { None };
            later.or_else(|| of(&self.own, &entry.dn)).unwrap_or_else(|| Some(entry.clone()))
        };
        self.entries.iter().filter_map(entry).collect()
    }

    /// An Exchange 2019 server with its account.
    pub(crate) fn server(&mut self, name: &str) {
        let host = format!("{}.contoso.com", name.to_lowercase());
        self.exchange_server(
            name,
            &[("serialNumber", &["Version 15.2 (Build 31118.7)"]), ("msExchCurrentServerRoles", &["16439"])],
        );
        let classes = [
            "IMAP",
            "IMAP4",
            "POP",
            "POP3",
            "exchangeRFR",
            "exchangeAB",
            "exchangeMDB",
            "SMTP",
            "SmtpSvc",
            "WSMAN",
            "TERMSRV",
            "RestrictedKrbHost",
            "HOST",
        ];
        let spns: Vec<_> =
            classes.iter().flat_map(|class| [format!("{class}/{name}"), format!("{class}/{host}")]).collect();
        let spns: Vec<_> = spns.iter().map(String::as_str).collect();
        self.computer(
            name,
            &[
                ("servicePrincipalName", &spns),
                ("dNSHostName", &[&host]),
                ("memberOf", &["CN=Exchange Servers,OU=Microsoft Exchange Security Groups,DC=contoso,DC=com"]),
                ("msDS-SupportedEncryptionTypes", &["28"]),
            ],
        );
        self.name(&host);
    }

    /// An Exchange server's object alone.
    pub(crate) fn exchange_server(&mut self, name: &str, attributes: &[(&str, &[&str])]) {
        let network = format!("ncacn_ip_tcp:{}.contoso.com", name.to_lowercase());
        let site = format!("CN={SITE},CN=Sites,{CONFIGURATION}");
        let entry = self.entry(&format!("CN={name},{EXCHANGE}"), attributes);
        for (attribute, value) in
            [("objectClass", "msExchExchangeServer"), ("networkAddress", &network), ("msExchServerSite", &site)]
        {
            entry.attributes.entry(attribute.to_owned()).or_insert_with(|| vec![Value::Text(value.to_owned())]);
        }
    }

    /// A computer's account.
    pub(crate) fn computer(&mut self, name: &str, attributes: &[(&str, &[&str])]) -> &mut Entry {
        let account = format!("{name}$");
        self.account(
            name,
            &[
                ("objectClass", &["user", "computer"]),
                ("sAMAccountName", &[&account]),
                ("userAccountControl", &["4096"]),
            ],
            attributes,
        )
    }

    /// A user's account.
    pub(crate) fn user(&mut self, name: &str, attributes: &[(&str, &[&str])]) -> &mut Entry {
        self.account(
            name,
            &[("objectClass", &["user"]), ("sAMAccountName", &[name]), ("userAccountControl", &["512"])],
            attributes,
        )
    }

    fn account(&mut self, name: &str, common: &[(&str, &[&str])], attributes: &[(&str, &[&str])]) -> &mut Entry {
        let dn = format!("CN={},CN=Computers,{DOMAIN}", name.replace('\n', "\\0A"));
        let names = [name];
        let mut all = vec![("cn", &names[..]), ("pwdLastSet", &["133700000000000000"][..])];
        all.extend(common);
        all.extend(attributes);
        self.entry(&dn, &all)
    }

    /// A virtual directory with an internal URL, or without.
    pub(crate) fn virtual_directory(&mut self, server: &str, name: &str, internal_url: Option<&str>) {
        let dn = format!("CN={name},CN=HTTP,CN=Protocols,CN={server},{EXCHANGE}");
        let entry = self.entry(&dn, &[("objectClass", &["msExchVirtualDirectory", "msExchOWAVirtualDirectory"])]);
        let url = internal_url.map(|url| vec![Value::Text(url.to_owned())]);
        entry.attributes.extend(url.map(|url| ("msExchInternalHostName".to_owned(), url)));
    }

    /// A name that resolves, to an address of its own.
    pub(crate) fn name(&mut self, host: &str) {
        let number = u8::try_from(self.names.len() + 1).unwrap();
        self.names.insert(host.to_owned(), vec![Ipv4Addr::new(10, 0, 0, number).into()]);
    }

    /// A server of the plan.
    pub(crate) fn planned(&mut self, host: &str, role: ServerRole) -> &mut PlannedServer {
        self.plan.servers.push(PlannedServer::new(host.to_owned(), role));
        self.plan.servers.last_mut().unwrap()
    }

    /// The object with this leaf.
    pub(crate) fn object(&mut self, name: &str) -> &mut Entry {
        let start = format!("CN={name},CN=Computers,");
        self.entries.iter_mut().find(|entry| entry.dn.starts_with(&start)).unwrap()
    }

    /// Sets an attribute of an account; with no values, it is not set.
    pub(crate) fn set(&mut self, name: &str, attribute: &str, values: &[&str]) {
        let values: Vec<_> = values.iter().map(|value| Value::Text((*value).to_owned())).collect();
        let attributes = &mut self.object(name).attributes;
        attributes.remove(attribute);
        if !values.is_empty() {
            attributes.insert(attribute.to_owned(), values);
        }
    }

    /// Takes an SPN from an account.
    pub(crate) fn take(&mut self, name: &str, spn: &str) {
        let spns = self.object(name).attributes.get_mut("servicePrincipalName").unwrap();
        let before = spns.len();
        spns.retain(|held| held.text() != Some(spn));
        assert_eq!(spns.len() + 1, before, "{name} has no {spn}");
    }

    /// Gives an SPN to an account.
    pub(crate) fn give(&mut self, name: &str, spn: &str) {
        let spns = self.object(name).attributes.entry("servicePrincipalName".to_owned()).or_default();
        spns.push(Value::Text(spn.to_owned()));
    }

    /// All that can be learnt for a check, and the estate that comes of it.
    pub(crate) fn learn(&self, check: &'static dyn Check) -> (Estate, Evidence) {
        let mut evidence = Evidence::default();
        loop {
            let new: Vec<_> =
                wanted(&self.plan, &[check], &evidence).into_iter().filter(|ask| !evidence.holds(ask)).collect();
            if new.is_empty() {
                return (Estate::learn(&self.plan, &evidence), evidence);
            }
            for ask in new {
                let reply = self.reply(&ask);
                evidence.insert(Observation { ask, reply, when: Timestamp::UNIX_EPOCH });
            }
        }
    }

    /// Whatever comes in first, nothing that was wanted is unwanted later, and in the end the same is known.
    pub(crate) fn assert_steady(&self, check: &'static dyn Check) {
        let whole = self.learn(check).1;
        for is_last_first in [false, true] {
            let (mut evidence, mut before) = (Evidence::default(), BTreeSet::new());
            loop {
                let now = wanted(&self.plan, &[check], &evidence);
                assert!(before.is_subset(&now), "no longer wanted: {:?}", before.difference(&now).next());
                let mut new = now.iter().filter(|ask| !evidence.holds(ask));
                let Some(ask) = (if is_last_first { new.next_back() } else { new.next() }).cloned() else { break };
                evidence.insert(Observation { reply: self.reply(&ask), ask, when: Timestamp::UNIX_EPOCH });
                before = now;
            }
            assert_eq!(evidence, whole);
        }
    }

    /// What a check finds, with what the engine adds to it.
    pub(crate) fn findings(&self, check: &'static dyn Check) -> Vec<Finding> {
        judge(&self.plan, &[check], &self.learn(check).1)
    }

    /// `subject verdict code` of every finding that is no Pass and no Skip.
    pub(crate) fn troubles(&self, check: &'static dyn Check) -> Vec<String> {
        self.words(check, Verdict::is_trouble)
    }

    /// The same of the findings of these verdicts.
    pub(crate) fn words(&self, check: &'static dyn Check, wanted: impl Fn(Verdict) -> bool) -> Vec<String> {
        let findings = self.findings(check).into_iter().filter(|finding| wanted(finding.verdict));
        let mut words: Vec<_> = findings
            .map(|finding| format!("{} {} {}", finding.subject, finding.verdict, finding.code.unwrap_or("-")))
            .collect();
        words.sort();
        words
    }

    /// What is said of a subject.
    pub(crate) fn finding(&self, check: &'static dyn Check, subject: &str) -> Finding {
        let mut findings = self.findings(check).into_iter();
        findings.find(|finding| finding.subject.to_string() == subject).unwrap()
    }

    fn reply(&self, ask: &Ask) -> Reply {
        let miss =
            |stage, reason| Reply { facts: None, end: End::Miss(Miss { stage, reason, took: SignedDuration::ZERO }) };
        match &ask.what {
            Question::DnsLookup(lookup) if self.lost_names.contains(&lookup.name) => miss(Stage::Reply, Reason::Silent),
            Question::DnsLookup(lookup) => told(Facts::DnsLookup(self.lookup(lookup))),
            _ if ask.to.host == "dc1.contoso.com" && self.silent.contains(&ask.to.port) => {
                miss(Stage::Connect, Reason::Silent)
            }
            Question::RootDse(RootDse { transport: Transport::Tcp }) if ask.to.host.starts_with("dc") => {
                told(Facts::RootDse(root_dse(&ask.to.host)))
            }
            Question::DirectorySearch(_) if self.refuses => {
                miss(Stage::Bind, Reason::ServerSaid("data 52e: the password is wrong".to_owned()))
            }
            Question::DirectorySearch(_) if self.mute.contains(&ask.to.host) => miss(Stage::Reply, Reason::Silent),
            Question::DirectorySearch(search) => {
                told(Facts::DirectorySearch(search_of(&self.holdings(&ask.to.host, ask.look), search)))
            }
            Question::AsReq(AsReq { realm, .. }) if ask.to.host.starts_with("dc") => {
                told(Facts::AsReq(KdcReply { span: SPAN, message: krb_error(6, realm) }))
            }
            Question::TicketGranting(_) | Question::ServiceTicket(_) if self.refuses => {
                miss(Stage::Bind, Reason::ServerSaid("KRB-ERROR 24: the password is wrong".to_owned()))
            }
            Question::TicketGranting(TicketGranting { transport }) => {
                let reply = self.tickets(Facts::TicketGranting, ask, &krbtgt("CONTOSO.COM"), *transport, &[]);
                let Some(Facts::TicketGranting(told)) = &reply.facts else { return reply };
                // Who is not logged on, is told so beside the answer.
                let is_refused = reply.end == End::Ok && told.last().is_some_and(|hop| hop.grant().is_none());
                let refusal = miss(Stage::Bind, Reason::ServerSaid("KRB-ERROR".to_owned()));
                if is_refused { Reply { end: refusal.end, ..reply } } else { reply }
            }
            Question::ServiceTicket(ServiceTicket { spn, transport, path }) => {
                self.tickets(Facts::ServiceTicket, ask, spn, *transport, path)
            }
            Question::SpnScan(scan) => self.census(scan),
            _ => {
                let said = self.servers_say.as_ref().and_then(|say| say(ask));
                said.unwrap_or_else(|| miss(Stage::Connect, Reason::Refused))
            }
        }
    }

    /// Whatever stands on the way is given, the last as the KDC says.
    fn tickets(
        &self,
        facts: fn(TicketReply) -> Facts,
        ask: &Ask,
        wanted: &str,
        transport: Transport,
        path: &[RealmKdc],
    ) -> Reply {
        let mut at = ("CONTOSO.COM", ask.to.host.as_str());
        let mut hops = Vec::new();
        for next in path {
            let wanted = krbtgt(&next.realm);
            hops.push(hop(at.0, &wanted, transport, granted(&wanted, 18)));
            at = (&next.realm, &next.host);
        }
        let says = |by| self.tickets.get(&(at.1.to_owned(), wanted.to_owned(), by));
        let says = says(Some(transport)).or_else(|| says(None)).copied().unwrap_or(KdcSays::Ticket(18));
        let too_big = || hop(at.0, wanted, Transport::Udp, HopAnswer::Refused(krb_error(52, at.0)));
        let is_datagram = transport == Transport::Udp;
        let mut miss = None;
        match says {
            KdcSays::Ticket(etype) => hops.push(hop(at.0, wanted, transport, granted(wanted, etype))),
            KdcSays::Error(code) => {
                hops.push(hop(at.0, wanted, transport, HopAnswer::Refused(krb_error(code, at.0))));
            }
            KdcSays::Refers(realm) => hops.push(hop(at.0, wanted, transport, granted(&krbtgt(realm), 18))),
            KdcSays::Nothing => miss = Some((Stage::Reply, Reason::Silent)),
            KdcSays::TooBig => {
                hops.extend(is_datagram.then(too_big));
                hops.push(hop(at.0, wanted, Transport::Tcp, granted(wanted, 18)));
            }
            KdcSays::TooBigAndShut => {
                hops.extend(is_datagram.then(too_big));
                miss = Some((Stage::Connect, Reason::Refused));
            }
        }
        let end = miss.map_or(End::Ok, |(stage, reason)| End::Miss(Miss { stage, reason, took: SignedDuration::ZERO }));
        let is_told = !hops.is_empty();
        Reply { facts: is_told.then(|| facts(TicketReply { hops })), end }
    }

    fn census(&self, scan: &SpnScan) -> Reply {
        let mut census = SpnCensus::new(scan);
        let holders = self.entries.iter().filter(|entry| entry.shows("servicePrincipalName"));
        for entry in holders.take(self.breaks_off_after.unwrap_or(usize::MAX)) {
            let guid = entry.bytes("objectGUID").unwrap().try_into().unwrap();
            census.push(guid, entry.values("servicePrincipalName").iter().map(Value::bytes)).unwrap();
        }
        let is_whole = self.breaks_off_after.is_none();
        let facts = SpnScanned { result: is_whole.then_some(result::SUCCESS), ..census.finish() };
        let miss = Miss { stage: Stage::Reply, reason: Reason::Closed, took: SignedDuration::ZERO };
        Reply { facts: Some(Facts::SpnScan(facts)), end: if is_whole { End::Ok } else { End::Miss(miss) } }
    }

    fn lookup(&self, lookup: &DnsLookup) -> DnsAnswer {
        let known = self.names.get(&lookup.name);
        let of_domain = lookup.name.rsplit_once("_msdcs.").or_else(|| lookup.name.rsplit_once("_tcp."));
        let is_of_domain = |name: &str| name.split_once('.').map(|(_, of)| of) == of_domain.map(|(_, domain)| domain);
        match lookup.records {
            RecordKind::Srv if self.names.keys().any(|name| is_of_domain(name)) => {
                let controllers = self.names.keys().filter(|name| name.starts_with("dc") && is_of_domain(name));
                let record = |host: &String| Record::Srv { priority: 0, weight: 100, port: 389, target: host.clone() };
                DnsAnswer::Records(controllers.map(record).collect())
            }
            RecordKind::A if known.is_some() => {
                DnsAnswer::Records(known.into_iter().flatten().map(|address| Record::Address(*address)).collect())
            }
            _ if known.is_some() => DnsAnswer::NoRecords,
            _ => DnsAnswer::NoSuchName,
        }
    }
}

/// A base that is not there has no entries and its own result code.
fn search_of(held: &[Entry], search: &DirectorySearch) -> DirectoryEntries {
    let is_there = search.base.is_empty() || held.iter().any(|entry| is_same_dn(&entry.dn, &search.base));
    let filter = Filter::read(&search.filter);
    let found = held.iter().filter(|entry| is_in_scope(entry, search) && filter.takes(entry));
    let shown = |entry: &Entry| {
        let plain = |name: &String| name.split(';').next().unwrap_or_default().to_owned();
        let wanted = |name: &String| search.attributes.iter().any(|wanted| plain(wanted).eq_ignore_ascii_case(name));
        let attributes = entry.attributes.iter().filter(|(name, _)| wanted(name));
        Entry {
            dn: entry.dn.clone(),
            attributes: attributes.map(|(name, values)| (name.clone(), values.clone())).collect(),
        }
    };
    let entries: Vec<_> = found.map(shown).collect();
    let is_missing = !is_there && entries.is_empty() && search.scope == SearchScope::Base;
    let result = if is_missing { result::NO_SUCH_OBJECT } else { result::SUCCESS };
    DirectoryEntries { entries, references: 0, result: Some(result) }
}

/// What the clock of every controller shows.
pub(crate) fn now() -> Timestamp {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// Under which the changes of a controller are counted.
pub(crate) fn invocation(host: &str) -> [u8; 16] {
    [host.as_bytes()[2]; 16]
}

fn settings_of(host: &str) -> String {
    let name = host.split('.').next().unwrap().to_uppercase();
    format!("CN=NTDS Settings,CN={name},CN=Servers,CN={SITE},CN=Sites,{CONFIGURATION}")
}

const SPAN: Span = Span { sent: Timestamp::UNIX_EPOCH, received: Timestamp::UNIX_EPOCH };

fn krbtgt(realm: &str) -> String {
    format!("krbtgt/{realm}")
}

fn hop(realm: &str, wanted: &str, transport: Transport, answer: HopAnswer) -> Hop {
    Hop { realm: realm.to_owned(), wanted: wanted.to_owned(), transport, span: SPAN, answer }
}

fn granted(server: &str, etype: i64) -> HopAnswer {
    let (starts, ends) = (Some(Timestamp::UNIX_EPOCH), Timestamp::from_second(36_000).ok());
    let realm = "CONTOSO.COM".to_owned();
    HopAnswer::Granted(Grant {
        realm,
        server: server.to_owned(),
        etype,
        kvno: Some(2),
        session_etype: 18,
        starts,
        ends,
    })
}

/// A KRB-ERROR of the form that Windows sends (RFC 4120 section 5.9.1).
fn krb_error(code: u8, realm: &str) -> Raw {
    let tagged = |tag: u8, value: &[u8]| [&[tag, u8::try_from(value.len()).unwrap()], value].concat();
    let integer = |number: u8| tagged(0x02, &[number]);
    let string = |text: &str| tagged(0x1b, text.as_bytes());
    let names = tagged(0x30, &[string("krbtgt"), string(realm)].concat());
    let sname = tagged(0x30, &[tagged(0xa0, &integer(2)), tagged(0xa1, &names)].concat());
    let body = [
        tagged(0xa0, &integer(5)),
        tagged(0xa1, &integer(30)),
        tagged(0xa4, &tagged(0x18, b"20261122120000Z")),
        tagged(0xa5, &integer(7)),
        tagged(0xa6, &integer(code)),
        tagged(0xa9, &string(realm)),
        tagged(0xaa, &sname),
    ];
    Raw(tagged(0x7e, &tagged(0x30, &body.concat())))
}

fn told(facts: Facts) -> Reply {
    Reply { facts: Some(facts), end: End::Ok }
}

fn root_dse(host: &str) -> RootDseReply {
    let settings = settings_of(host);
    let attributes = [
        ("currentTime", "20261122120000.0Z"),
        ("highestCommittedUSN", "5000"),
        ("dsServiceName", &settings),
        ("dnsHostName", host),
        ("defaultNamingContext", DOMAIN),
        ("rootDomainNamingContext", DOMAIN),
        ("configurationNamingContext", CONFIGURATION),
        ("isGlobalCatalogReady", "TRUE"),
    ];
    let span = Span { sent: Timestamp::UNIX_EPOCH, received: Timestamp::UNIX_EPOCH };
    RootDseReply {
        span,
        attributes: attributes.map(|(name, value)| (name.to_string(), vec![value.to_string()])).into(),
    }
}

fn is_in_scope(entry: &Entry, search: &DirectorySearch) -> bool {
    let is_base = is_same_dn(&entry.dn, &search.base);
    match search.scope {
        SearchScope::Base => is_base,
        SearchScope::OneLevel => parent(&entry.dn).is_some_and(|holder| is_same_dn(holder, &search.base)),
        SearchScope::Subtree => {
            search.base.is_empty()
                || is_base
                || entry.dn.to_lowercase().ends_with(&format!(",{}", search.base.to_lowercase()))
        }
    }
}

/// RFC 4515, as far as searches use it.
enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Item { attribute: String, value: Vec<u8>, is_beginning: bool },
}

impl Filter {
    fn read(text: &str) -> Self {
        let (filter, rest) = Self::begin(text);
        assert_eq!(rest, "", "{text}");
        filter
    }

    fn begin(text: &str) -> (Self, &str) {
        let inner = text.strip_prefix('(').unwrap();
        let kind = inner.as_bytes()[0];
        if !b"&|!".contains(&kind) {
            let (item, rest) = inner.split_once(')').unwrap();
            let (attribute, value) = item.split_once('=').unwrap();
            let (value, is_beginning) = value.strip_suffix('*').map_or((value, false), |value| (value, true));
            return (Self::Item { attribute: attribute.to_owned(), value: unescaped(value), is_beginning }, rest);
        }
        let (mut parts, mut rest) = (Vec::new(), &inner[1..]);
        while !rest.starts_with(')') {
            let (part, after) = Self::begin(rest);
            parts.push(part);
            rest = after;
        }
        let filter = match kind {
            b'&' => Self::All(parts),
            b'|' => Self::Any(parts),
            _ => Self::Not(Box::new(parts.pop().unwrap())),
        };
        (filter, &rest[1..])
    }

    fn takes(&self, entry: &Entry) -> bool {
        match self {
            Self::All(parts) => parts.iter().all(|part| part.takes(entry)),
            Self::Any(parts) => parts.iter().any(|part| part.takes(entry)),
            Self::Not(part) => !part.takes(entry),
            Self::Item { attribute, value, is_beginning } => entry.values(attribute).iter().any(|held| {
                // Only of text letter case is no matter.
                let is_text = held.text().is_some();
                let fold = |bytes: &[u8]| if is_text { bytes.to_ascii_lowercase() } else { bytes.to_vec() };
                let (held, value) = (fold(held.bytes()), fold(value));
                if *is_beginning { held.starts_with(&value) } else { held == value }
            }),
        }
    }
}

fn unescaped(value: &str) -> Vec<u8> {
    let mut parts = value.split('\\');
    let mut plain = parts.next().unwrap().as_bytes().to_vec();
    for part in parts {
        plain.extend(hex::decode(&part[..2]).unwrap());
        plain.extend(&part.as_bytes()[2..]);
    }
    plain
}
