//! The controllers that hold the same and pass changes on to one another: whom they take them from, how far they have come, and
//! where the objects that mail hangs on differ between them.
//!
//! Each is asked by itself for what it holds, and every age is by a controller's own clock: what is told of a change is the time of
//! whoever was written to, and of an attempt that of whoever made it.

use crate::{
    facts::{
        directory::{RootDse, RootDseReply, generalized_time},
        dns::is_host_name,
        net::{KERBEROS_PORT, LDAP_PORT, Transport},
        replication::{Cursors, Neighbour, Stamp, longest_pause, shown_cursor, stored_cursors},
        search::{DirectoryEntries, DirectorySearch, Entry, domain_of_dn, filter, guid, guid_bytes, leaf},
    },
    model::{
        accounts::{Account, Accounts, namespaces, peers, search_of_host, search_of_name, web},
        ask::{Ask, Endpoint},
        check::Need,
        clocks::clock_of,
        estate::Estate,
        evidence::{Answer, End, Evidence},
        finding::{Finding, Subject, Trouble, Verdict},
        held::{Difference, Held, Kind, Object, newest, stamps_of, subject_of},
        informants::{self, Holding, Informant, found},
        link::{Link, Partition},
        meta::Meta,
        organisation::{Dsa, searches},
        principals::strangers,
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::cell::OnceCell;
use jiff::{SignedDuration, Timestamp};

/// So many controllers are compared at the most: those of Exchange's sites come first.
const MOST_CONTROLLERS: usize = 24;

/// And so many objects over all of them, at about 2 kB each: what a run may find in directories is bounded, and other checks search,
/// too.
const MOST_OBJECTS: usize = 4_000;

/// So many accounts are asked for in one search.
const MOST_IN_A_FILTER: usize = 40;

/// So many objects that differ are looked into.
const MOST_LOOKED_INTO: usize = 120;

/// So many partners of a controller are read for each partition: more than any has.
const MOST_PARTNERS: usize = 1_000;

/// Between so many sites ways are looked for, and over so many links in a row.
const MOST_SITES: usize = 500;
const MOST_STEPS: usize = 50;

/// Between two looks at how far a controller has come.
const BETWEEN_LOOKS: SignedDuration = SignedDuration::from_secs(5);

/// What is passed on within a site is there after this: at functional levels before 2003 a controller waits 5 minutes before it tells
/// its partners, and there are three steps at the most (MS-ADTS section 6.2.2.3). Between sites no interval is shorter, either.
const WITHIN_A_SITE: SignedDuration = SignedDuration::from_mins(15);

/// `replInterval` of a site link that says nothing, and what is assumed between sites that no link joins.
const BETWEEN_SITES: SignedDuration = SignedDuration::from_mins(180);

/// Within a site, partners are asked every hour even if they tell nothing (MS-ADTS section 6.2.2.3.4.5).
const WITHIN_AN_HOUR: SignedDuration = SignedDuration::from_hours(1);

/// `tombstoneLifetime` where it is not set (MS-ADTS section 6.1.1.2.4.1.1); forests made since 2003 SP1 have it set to 180.
const DEFAULT_LIFETIME_DAYS: i64 = 60;

/// `options` of nTDSDSA (MS-ADTS section 6.1.1.2.2.1.2.1.1).
const DISABLE_INBOUND: i64 = 2;
const DISABLE_OUTBOUND: i64 = 4;

/// A controller that is compared with the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replica {
    /// Its name.
    pub host: String,
    /// It is in a site of an active server.
    pub is_of_exchange: bool,
    /// Its site, lower case.
    pub site: Option<String>,
    at: Informant,
    /// Its directory.
    to: Endpoint,
}

impl Replica {
    /// The distinguished name of a partition.
    pub fn name_of(&self, partition: Partition) -> &str {
        match partition {
            Partition::Configuration => &self.at.configuration,
            Partition::Domain => &self.at.domain,
        }
    }

    fn root(&self) -> Ask {
        let to = Endpoint { port: LDAP_PORT, ..self.to.clone() };
        Ask::new(to, RootDse { transport: Transport::Tcp })
    }

    fn ask(&self, search: DirectorySearch) -> Ask {
        Ask::new(self.to.clone(), search)
    }

    /// From whom it takes a partition, and how far it has come.
    fn head(&self, partition: Partition) -> Ask {
        let attributes = [
            "objectGUID",
            "repsFrom",
            "replUpToDateVector",
            "msDS-NCReplInboundNeighbors;binary",
            "msDS-NCReplCursors;binary",
        ];
        self.ask(DirectorySearch::of(self.name_of(partition), &attributes))
    }
}

/// All controllers that are compared, and what was left out.
pub struct Replicas<'e> {
    estate: &'e Estate,
    evidence: &'e Evidence,
    /// Them.
    pub all: Vec<Replica>,
    /// Controllers of the domain that answered, and are beyond what one run compares.
    pub left_out: usize,
    /// Controllers of the domain that DNS names, and that did not answer as such.
    pub silent: Vec<String>,
    /// Read-only ones, which Exchange does not use.
    pub read_only: Vec<String>,
    /// Domains of the forest with controllers that we do not log on to.
    pub other_domains: BTreeSet<String>,
    watched: Option<Watched>,
    objects: OnceCell<Compared<'e>>,
    differing: OnceCell<Vec<Object<'e>>>,
    differences: OnceCell<Vec<Difference<'e>>>,
    stamp_searches: OnceCell<BTreeMap<String, Vec<DirectorySearch>>>,
    second_asks: OnceCell<Vec<Ask>>,
    links: OnceCell<Vec<Link>>,
    site_links: OnceCell<Vec<SiteLink>>,
}

/// What is compared.
struct Compared<'e> {
    objects: Vec<Object<'e>>,
    /// So many more were shown.
    left_out: usize,
}

/// What has to be known before anybody is compared: sites, servers and connectors, and the ways between sites.
pub fn groundwork(estate: &Estate) -> Vec<(DirectorySearch, Holding)> {
    let all = [
        searches::sites,
        searches::service,
        searches::servers,
        searches::receive_connectors,
        searches::virtual_directories,
        searches::site_links,
    ];
    let first = estate.informants.first().into_iter();
    first.flat_map(|first| all.map(|search| (search(first), Holding::Domain))).collect()
}

impl<'e> Replicas<'e> {
    /// Whom to compare. `None` until all of the groundwork is answered or has failed: which controllers are asked must not hang on
    /// who was faster.
    pub fn of(estate: &'e Estate, evidence: &'e Evidence) -> Option<Self> {
        let groundwork = groundwork(estate);
        let is_settled = !groundwork.is_empty() && are_settled(&groundwork, estate, evidence);
        is_settled.then_some(())?;
        let logon = estate.plan.logon.as_ref()?;
        let sites = exchange_sites(estate);
        let is_read_only = |host: &str| {
            let known = estate.organisation.dsas.get(host);
            estate.controllers.get(host).is_some_and(|controller| controller.is_read_only)
                || known.is_some_and(|dsa| dsa.is_read_only)
        };
        let replica = |at: &Informant| {
            let site = site_of(&at.host, estate);
            Replica {
                host: at.host.clone(),
                is_of_exchange: site.as_ref().is_some_and(|site| sites.contains(site)),
                site,
                to: Endpoint { host: at.host.clone(), address: Some(at.address), port: logon.way.directory_port() },
                at: at.clone(),
            }
        };
        let writable = estate.informants.iter().filter(|at| !is_read_only(&at.host));
        let mut all: Vec<_> = writable.map(replica).collect();
        all.sort_by_key(|replica| !replica.is_of_exchange);
        let organisation = &estate.organisation;
        let objects = organisation.servers.len() + organisation.receive_connectors.len() + peers(estate).len();
        let most = MOST_CONTROLLERS.min(MOST_OBJECTS / objects.max(1)).max(2);
        let left_out = all.len().saturating_sub(most);
        all.truncate(most);
        let answered: BTreeSet<&str> = estate.informants.iter().map(|at| at.host.as_str()).collect();
        let (read_only, writable): (Vec<_>, Vec<_>) =
            estate.controllers.keys().cloned().partition(|host| is_read_only(host));
        // What DNS alone knows is no controller, or none any more: `directory-located` tells of it.
        let is_one = |host: &String| organisation.dsas.is_empty() || organisation.dsas.contains_key(host);
        let silent = writable.into_iter().filter(|host| is_one(host) && !answered.contains(host.as_str())).collect();
        let domains = organisation.dsas.values().filter_map(|dsa| dsa.domain.clone());
        let other_domains = domains.filter(|domain| *domain != estate.plan.domain).collect();
        let watched = Watched::settled(estate, evidence);
        Some(Self {
            estate,
            evidence,
            all,
            left_out,
            silent,
            read_only,
            other_domains,
            watched,
            objects: OnceCell::new(),
            differing: OnceCell::new(),
            differences: OnceCell::new(),
            stamp_searches: OnceCell::new(),
            second_asks: OnceCell::new(),
            links: OnceCell::new(),
            site_links: OnceCell::new(),
        })
    }

    /// Is there nobody in the forest to pass changes on to?
    pub fn is_alone_in_forest(&self) -> bool {
        self.is_alone() && self.other_domains.is_empty()
    }

    /// Is there nobody in the domain to pass changes on to?
    pub fn is_alone(&self) -> bool {
        let is_other = |dsa: &&Dsa| dsa.domain.as_ref() == Some(&self.estate.plan.domain);
        let known = self.estate.organisation.dsas.values().filter(is_other).count();
        self.all.len() + self.left_out + self.silent.len() <= 1 && known <= 1
    }

    /// What is asked of every one about replication itself.
    pub fn link_asks(&self) -> Vec<Ask> {
        self.all.iter().flat_map(|replica| self.settings_ask(replica).into_iter().chain(heads(replica))).collect()
    }

    /// What is asked of every one about the objects that are watched.
    pub fn object_asks(&self) -> Vec<Ask> {
        let Some(watched) = &self.watched else { return Vec::new() };
        self.all.iter().flat_map(|replica| asks_of(replica, watched)).collect()
    }

    /// Of objects that differ: all again, with the stamps of their attributes, so that both are of one moment.
    pub fn stamp_asks(&self) -> Vec<Ask> {
        if !self.is_told() {
            return Vec::new();
        }
        let searches = |replica: &Replica| -> Vec<Ask> {
            self.stamp_searches(replica).iter().map(|search| replica.ask(search.clone())).collect()
        };
        self.all.iter().filter(|replica| self.missed(replica).is_none()).flat_map(searches).collect()
    }

    fn stamp_searches(&self, replica: &Replica) -> &[DirectorySearch] {
        let of_all = self.stamp_searches.get_or_init(|| {
            let searches = |replica: &Replica| (replica.host.clone(), stamp_searches(replica, self.differing()));
            self.all.iter().map(searches).collect()
        });
        of_all.get(&replica.host).map_or(&[], Vec::as_slice)
    }

    /// The second look at how far those have come that lag behind, or whose links fail.
    pub fn second_asks(&self) -> &[Ask] {
        self.second_asks.get_or_init(|| self.all_second_asks())
    }

    fn all_second_asks(&self) -> Vec<Ask> {
        let is_known = |asks: Vec<Ask>| asks.iter().all(|ask| self.evidence.holds(ask));
        if !self.is_told() || !is_known(self.link_asks()) || !is_known(self.stamp_asks()) {
            return Vec::new();
        }
        let failing = self.links().iter().filter(|link| link.fails());
        let mut hosts: BTreeSet<&String> = failing.flat_map(|link| [&link.source, &link.destination]).collect();
        for difference in self.differences() {
            hosts.extend(&difference.written_at);
            hosts.extend(&difference.lagging);
        }
        let again = |ask: Ask| {
            let when = self.evidence.find(&ask)?.when.checked_add(BETWEEN_LOOKS).ok()?;
            Some(ask.again(2, when))
        };
        let watched = self.all.iter().filter(|replica| hosts.contains(&replica.host));
        watched.flat_map(|replica| [replica.root()].into_iter().chain(heads(replica)).filter_map(again)).collect()
    }

    /// The controller itself did not tell what was asked, and why; `None` where it told all.
    pub fn missed(&self, replica: &Replica) -> Option<String> {
        let watched = self.watched.as_ref()?;
        first_missed(&asks_of(replica, watched), self.evidence)
    }

    /// The same of what is asked about its links.
    pub fn links_missed(&self, replica: &Replica) -> Option<String> {
        let asks: Vec<_> = self.settings_ask(replica).into_iter().chain(heads(replica)).collect();
        first_missed(&asks, self.evidence)
    }

    /// The partitions that it has from others, and shows no partner for: it may have none, or not show them to us.
    pub fn hidden(&self, replica: &Replica) -> Vec<Partition> {
        let is_shared = |partition: &Partition| match partition {
            Partition::Configuration => !self.is_alone_in_forest(),
            Partition::Domain => !self.is_alone(),
        };
        let is_hidden = |partition: &Partition| self.neighbours(replica, *partition).0.is_empty();
        Partition::ALL.into_iter().filter(is_shared).filter(is_hidden).collect()
    }

    /// How many partners it shows in a form that is not known.
    pub fn unreadable(&self, replica: &Replica) -> usize {
        Partition::ALL.into_iter().map(|partition| self.neighbours(replica, partition).1).sum()
    }

    /// Its clock, when it was first asked; where its directory does not tell the time, what its other services say of it.
    pub fn now(&self, replica: &Replica) -> Option<Timestamp> {
        let told = self.evidence.answer::<RootDse>(&replica.root()).facts().and_then(RootDseReply::reading);
        told.map(|reading| reading.server_time).or_else(|| {
            let offset = clock_of(&replica.host, self.evidence).offset()?;
            self.evidence.latest().checked_add(offset.middle()).ok()
        })
    }

    /// Why not all that should be compared is; `None` where it is.
    pub fn shortfall(&self) -> Option<(&'static str, String)> {
        if self.watched.is_none() {
            let seen = "the run ended before the global catalog had told which accounts are to be compared";
            return Some(("interrupted", seen.to_string()));
        }
        let (left_out, more) = (self.compared().left_out, self.not_looked_into().count());
        let too_many = [
            (left_out > 0).then(|| format!("{left_out} objects more than {MOST_OBJECTS} are left out")),
            (more > 0).then(|| {
                format!(
                    "{more} objects more than {MOST_LOOKED_INTO} differ, and how, and since when, was not looked into"
                )
            }),
        ];
        let too_many: Vec<String> = too_many.into_iter().flatten().collect();
        (!too_many.is_empty()).then(|| ("too-many", too_many.join("; ")))
    }

    /// The objects that differ beyond those that are looked into.
    pub fn not_looked_into(&self) -> impl Iterator<Item = &Object<'e>> {
        self.objects().iter().filter(|object| object.differs()).skip(MOST_LOOKED_INTO)
    }

    /// What is called by this name has its account in another domain, and which.
    pub fn elsewhere(&self) -> impl Iterator<Item = (&Subject, &String)> {
        self.watched.iter().flat_map(|watched| &watched.elsewhere)
    }

    /// The replica of this name.
    pub fn called(&self, host: &str) -> Option<&Replica> {
        self.all.iter().find(|replica| replica.host == host)
    }

    /// The accounts, servers and connectors that all should hold alike.
    pub fn objects(&self) -> &[Object<'e>] {
        &self.compared().objects
    }

    fn compared(&self) -> &Compared<'e> {
        self.objects.get_or_init(|| self.all_objects())
    }

    fn all_objects(&self) -> Compared<'e> {
        let Some(watched) = &self.watched else { return Compared { objects: Vec::new(), left_out: 0 } };
        let mut left_out = BTreeSet::new();
        let mut objects: BTreeMap<(Kind, String), Object<'e>> = BTreeMap::new();
        let told: Vec<_> = self.all.iter().filter(|replica| self.missed(replica).is_none()).collect();
        for (kind, guid, subject) in watched.subjects() {
            let object = Object { subject, guid: guid.clone(), kind, held: BTreeMap::new() };
            objects.insert((kind, guid), object);
        }
        for replica in &told {
            for (kind, search) in kinds(replica, watched) {
                for entry in self.entries(replica, search) {
                    let Some((guid, subject)) = entry.guid().zip(subject_of(kind, entry)) else { continue };
                    // What is asked is bounded; what is shown is not.
                    let is_full = objects.len() >= MOST_OBJECTS;
                    let key = (kind, guid);
                    if is_full && !objects.contains_key(&key) {
                        left_out.insert(key);
                        continue;
                    }
                    let object = Object { subject, guid: key.1.clone(), kind, held: BTreeMap::new() };
                    let object = objects.entry(key).or_insert(object);
                    object.held.insert(replica.host.clone(), Held::of(kind, entry));
                }
            }
        }
        let mut objects: Vec<_> = objects.into_values().collect();
        for object in &mut objects {
            for replica in &told {
                object.held.entry(replica.host.clone()).or_insert(Held::Absent);
            }
        }
        Compared { objects, left_out: left_out.len() }
    }

    /// The objects that are not the same everywhere, as far as they are looked into.
    fn differing(&self) -> &[Object<'e>] {
        self.differing.get_or_init(|| {
            self.objects().iter().filter(|object| object.differs()).take(MOST_LOOKED_INTO).cloned().collect()
        })
    }

    /// How the objects differ that do, by what was seen last of them.
    pub fn differences(&self) -> &[Difference<'e>] {
        self.differences.get_or_init(|| {
            let differing = self.differing().iter();
            differing.filter_map(|object| self.difference(&self.seen_again(object))).collect()
        })
    }

    /// The object as the second search shows it, if all who told of it before did so again.
    fn seen_again(&self, object: &Object<'e>) -> Object<'e> {
        let mut again = object.clone();
        let clause = clause_of(&object.guid);
        for (host, held) in &mut again.held {
            let Some(replica) = self.called(host) else { continue };
            let Some(search) = self.stamp_searches(replica).iter().find(|search| search.filter.contains(&clause))
            else {
                return object.clone();
            };
            let Answer::Told(told, None) = self.evidence.answer::<DirectorySearch>(&replica.ask(search.clone())) else {
                return object.clone();
            };
            let entry = told.entries.iter().find(|entry| entry.guid().as_ref() == Some(&object.guid));
            *held = entry.map_or(Held::Absent, |entry| Held::of(object.kind, entry));
        }
        again
    }

    fn difference(&self, object: &Object<'e>) -> Option<Difference<'e>> {
        object.differs().then_some(())?;
        let attributes = object.differing();
        let is_absent = object.held.values().any(|held| *held == Held::Absent);
        let stamps: BTreeMap<&str, Vec<Stamp>> =
            object.shown().filter_map(|(host, entry)| Some((host, stamps_of(entry)?))).collect();
        let has_stamps = object.shown().count() == stamps.len();
        let newest = if has_stamps { newest(&stamps, &attributes, is_absent) } else { None };
        let written_at = newest.as_ref().and_then(|stamp| self.host_of(&stamp.invocation));
        let mut difference = Difference {
            object: object.clone(),
            attributes,
            age: newest.as_ref().and_then(|stamp| self.age(stamp.when?, written_at.as_deref())),
            lagging: object.held.keys().cloned().collect(),
            is_diverged: false,
            written_at,
            newest,
        };
        match &difference.newest {
            // An object's own attribute tells when it last changed here: a change that is older elsewhere came in later.
            None => difference.age = self.age_by_arrival(object),
            Some(newest) if is_absent => {
                let absent = object.held.iter().filter(|(_, held)| **held == Held::Absent).map(|(host, _)| host);
                let (seen, unseen): (Vec<_>, Vec<_>) =
                    absent.partition(|host| self.has_seen(host, object.kind.partition(), newest) != Some(false));
                // Whoever has come past its last change and has it no more has deleted it, and when, nobody shows.
                if seen.is_empty() {
                    difference.lagging = unseen.into_iter().cloned().collect();
                } else {
                    difference.age = None;
                    difference.lagging = object.shown().map(|(host, _)| host.to_string()).collect();
                }
            }
            Some(newest) => {
                let lags = |host: &&str| stamps.get(host).is_some_and(|stamps| !stamps.contains(newest));
                let lagging: BTreeSet<String> = stamps.keys().copied().filter(lags).map(ToString::to_string).collect();
                // The same stamps and other values: nobody is behind, and nobody will notice.
                if lagging.is_empty() {
                    difference.is_diverged = true;
                } else {
                    difference.lagging = lagging;
                }
            }
        }
        Some(difference)
    }

    /// How old by the clock of whoever was written to; where that is not known, by the one that makes it youngest.
    fn age(&self, when: Timestamp, host: Option<&str>) -> Option<SignedDuration> {
        let own = host.and_then(|host| self.called(host)).and_then(|replica| self.now(replica));
        let now = own.or_else(|| self.all.iter().filter_map(|replica| self.now(replica)).min())?;
        Some(now.duration_since(when).max(SignedDuration::ZERO))
    }

    /// The last that it changed on any of those that hold it.
    fn age_by_arrival(&self, object: &Object<'_>) -> Option<SignedDuration> {
        let ages = object.shown().map(|(host, entry)| {
            let when = generalized_time(entry.text("whenChanged")?)?;
            self.age(when, Some(host))
        });
        ages.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// Has it come past this change, or made it itself? `None` where it does not show how far it has come.
    fn has_seen(&self, host: &str, partition: Partition, stamp: &Stamp) -> Option<bool> {
        let replica = self.called(host)?;
        if self.invocation(replica).as_ref() == Some(&stamp.invocation) {
            return Some(true);
        }
        let cursors = self.cursors(replica, partition, 1)?;
        Some(cursors.get(&stamp.invocation).is_some_and(|usn| *usn >= stamp.usn))
    }

    /// How far it has come with the changes of one invocation, at a look.
    pub fn cursor(&self, replica: &Replica, partition: Partition, invocation: &str, look: u8) -> Option<i64> {
        self.cursors(replica, partition, look)?.get(invocation).copied()
    }

    fn cursors(&self, replica: &Replica, partition: Partition, look: u8) -> Option<Cursors> {
        let entry = self.head_entry(replica, partition, look)?;
        let shown: Option<Cursors> =
            entry.values("msDS-NCReplCursors").iter().map(|v| shown_cursor(v.bytes())).collect();
        shown.filter(|cursors| !cursors.is_empty()).or_else(|| stored_cursors(entry.bytes("replUpToDateVector")?))
    }

    /// The last change of its own, at a look.
    pub fn highest(&self, replica: &Replica, look: u8) -> Option<i64> {
        let ask = Ask { look, ..replica.root() };
        self.evidence.answer::<RootDse>(&ask).facts()?.value("highestCommittedUSN")?.parse().ok()
    }

    /// Did it answer the second look? `None` where it was not asked for one.
    pub fn looked_again(&self, replica: &Replica) -> Option<bool> {
        let asks: Vec<_> = self.second_asks().iter().filter(|ask| ask.to.host == replica.host).collect();
        let is_answered =
            |ask: &Ask| self.evidence.find(ask).is_some_and(|observation| observation.reply.end == End::Ok);
        (!asks.is_empty()).then(|| asks.into_iter().all(is_answered))
    }

    /// The name under which its own changes are counted.
    pub fn invocation(&self, replica: &Replica) -> Option<String> {
        guid(self.settings(replica)?.bytes("invocationId")?)
    }

    fn host_of(&self, invocation: &str) -> Option<String> {
        let is_it = |replica: &&Replica| self.invocation(replica).as_deref() == Some(invocation);
        self.all.iter().find(is_it).map(|replica| replica.host.clone())
    }

    /// Every way by which one of them takes changes.
    pub fn links(&self) -> &[Link] {
        self.links.get_or_init(|| self.all_links())
    }

    fn all_links(&self) -> Vec<Link> {
        let names = self.names();
        let mut links: BTreeMap<(String, String), Link> = BTreeMap::new();
        for replica in &self.all {
            for partition in Partition::ALL {
                for neighbour in self.neighbours(replica, partition).0 {
                    let name = names.get(&neighbour.source);
                    let (source, is_known) = (name.unwrap_or(&neighbour.source).clone(), name.is_some());
                    let link = links.entry((source.clone(), replica.host.clone())).or_insert_with(|| Link {
                        interval: self.interval(&source, replica),
                        takes_nothing: self.has_option(&replica.host, DISABLE_INBOUND),
                        sends_nothing: self.has_option(&source, DISABLE_OUTBOUND),
                        source,
                        is_known,
                        destination: replica.host.clone(),
                        now: self.now(replica),
                        parts: Vec::new(),
                    });
                    link.parts.push((partition, neighbour));
                }
            }
        }
        links.into_values().collect()
    }

    fn has_option(&self, host: &str, option: i64) -> bool {
        let settings = self.called(host).and_then(|replica| self.settings(replica));
        settings.and_then(|settings| settings.number("options")).is_some_and(|options| options & option != 0)
    }

    /// What it constructs, where it does, else what it keeps, and how many of that cannot be read. Where nothing of the one form
    /// can, it makes way for the other.
    fn neighbours(&self, replica: &Replica, partition: Partition) -> (Vec<Neighbour>, usize) {
        let Some(entry) = self.head_entry(replica, partition, 1) else { return (Vec::new(), 0) };
        let read = |attribute, read: fn(&[u8]) -> Option<Neighbour>| -> (Vec<Neighbour>, usize) {
            let values = entry.values(attribute);
            let neighbours: Vec<_> =
                values.iter().take(MOST_PARTNERS).filter_map(|value| read(value.bytes())).collect();
            let unread = values.len() - neighbours.len();
            (neighbours, unread)
        };
        let constructed = read("msDS-NCReplInboundNeighbors", Neighbour::shown);
        let stored = || read("repsFrom", Neighbour::stored);
        let (mut neighbours, unread) = if constructed.0.is_empty() {
            let (neighbours, unread) = stored();
            let of_both = if neighbours.is_empty() { unread + constructed.1 } else { unread };
            (neighbours, of_both)
        } else {
            constructed
        };
        neighbours.sort();
        (neighbours, unread)
    }

    fn head_entry(&self, replica: &Replica, partition: Partition, look: u8) -> Option<&'e Entry> {
        let ask = Ask { look, ..replica.head(partition) };
        self.evidence.answer::<DirectorySearch>(&ask).facts()?.entries.first()
    }

    /// Its own NTDS Settings by its own word: elsewhere they may have stayed behind.
    fn settings_ask(&self, replica: &Replica) -> Option<Ask> {
        let root = self.evidence.answer::<RootDse>(&replica.root()).facts()?;
        let attributes = ["objectGUID", "invocationId", "options"];
        Some(replica.ask(DirectorySearch::of(root.value("dsServiceName")?, &attributes)))
    }

    fn settings(&self, replica: &Replica) -> Option<&'e Entry> {
        self.evidence.answer::<DirectorySearch>(&self.settings_ask(replica)?).facts()?.entries.first()
    }

    /// objectGUID of NTDS Settings -> the host: of those that were asked by their own word, of others by the directory's.
    fn names(&self) -> BTreeMap<String, String> {
        let dsas = self.estate.organisation.dsas.iter();
        let known = dsas.filter_map(|(host, dsa)| Some((dsa.guid.clone()?, host.clone())));
        let own = self.all.iter().filter_map(|replica| Some((self.settings(replica)?.guid()?, replica.host.clone())));
        known.chain(own).collect()
    }

    /// How often this way is gone.
    fn interval(&self, source: &str, destination: &Replica) -> SignedDuration {
        match (site_of(source, self.estate), &destination.site) {
            (Some(one), Some(other)) if one != *other => 2 * self.path(&one, other),
            _ => WITHIN_AN_HOUR,
        }
    }

    /// How long a change may take to get everywhere: the way of least cost between the two sites that are the farthest apart, all its
    /// intervals and all the pauses of its schedules. It may come from any that holds the partition, asked or not.
    pub fn slowest_path(&self, partition: Partition) -> SignedDuration {
        let dsas = self.estate.organisation.dsas.values();
        let holds = |dsa: &&Dsa| match partition {
            Partition::Configuration => true,
            Partition::Domain => dsa.domain.as_ref() == Some(&self.estate.plan.domain),
        };
        let known = dsas.filter(holds).map(|dsa| dsa.site.to_lowercase()).filter(|site| !site.is_empty());
        let compared: BTreeSet<String> = self.all.iter().filter_map(|replica| replica.site.clone()).collect();
        let others: BTreeSet<String> = known.filter(|site| !compared.contains(site)).collect();
        let sites: Vec<_> = compared.into_iter().chain(others).take(MOST_SITES).collect();
        let ways = sites.iter().enumerate().flat_map(|(at, one)| {
            let reached = self.reached(one);
            sites.iter().skip(at + 1).map(move |other| time_to(&reached, other)).collect::<Vec<_>>()
        });
        ways.max().unwrap_or_default().max(WITHIN_A_SITE)
    }

    fn path(&self, from: &str, to: &str) -> SignedDuration {
        time_to(&self.reached(from), to)
    }

    /// Site -> what it costs to come there, and how long it takes.
    fn reached(&self, from: &str) -> BTreeMap<String, (i64, SignedDuration)> {
        let links = self.site_links();
        let mut reached: BTreeMap<String, (i64, SignedDuration)> =
            [(from.to_string(), (0, SignedDuration::ZERO))].into();
        // No way of least cost goes over more links than there are.
        for _ in 0..links.len().min(MOST_STEPS) {
            let mut is_changed = false;
            for link in links {
                let here = link.sites.iter().filter_map(|site| reached.get(site)).min().copied();
                let Some((cost, time)) = here else { continue };
                let there = (cost.saturating_add(link.cost), time.saturating_add(link.interval));
                for site in &link.sites {
                    if reached.get(site).is_none_or(|known| there < *known) {
                        reached.insert(site.clone(), there);
                        is_changed = true;
                    }
                }
            }
            if !is_changed {
                break;
            }
        }
        reached
    }

    fn site_links(&self) -> &[SiteLink] {
        self.site_links.get_or_init(|| {
            let first = self.estate.informants.first().map(searches::site_links);
            let told = first.and_then(|search| found(&search, Holding::Domain, self.estate, self.evidence).entries());
            told.into_iter().flat_map(|told| &told.entries).map(SiteLink::read).collect()
        })
    }

    /// How long deleted objects are kept, and so how long a controller may stay away.
    pub fn tombstone_lifetime(&self) -> SignedDuration {
        let first = self.estate.informants.first().map(searches::service);
        let told = first.and_then(|search| found(&search, Holding::Domain, self.estate, self.evidence).entries());
        let days = told.and_then(|told| told.entries.first()?.number("tombstoneLifetime"));
        // A controller goes by its default for what is absurd, as well (MS-ADTS section 6.1.1.2.4.1.1).
        let days = days.filter(|days| (2..=36_500).contains(days)).unwrap_or(DEFAULT_LIFETIME_DAYS);
        SignedDuration::from_hours(24 * days)
    }

    /// Has everything been told, or missed, that is asked at first?
    fn is_told(&self) -> bool {
        let asks = self.object_asks();
        self.watched.is_some() && asks.iter().all(|ask| self.evidence.holds(ask))
    }

    fn entries(&self, replica: &Replica, search: DirectorySearch) -> &'e [Entry] {
        let told = self.evidence.answer::<DirectorySearch>(&replica.ask(search)).facts();
        told.map_or(&[], |told: &DirectoryEntries| &told.entries)
    }
}

/// What is said where even the groundwork was not laid.
pub fn interrupted(meta: &'static Meta) -> Finding {
    let seen = "the run ended before the directory had told which controllers are to be compared";
    Finding::new(meta, Subject::Estate, Verdict::Unknown, seen).code("interrupted")
}

/// What is said beside the verdicts: whom they are about, and who did not tell. `is_alone` is whether there is nobody that the one
/// controller has to agree with, and `missed` what a controller did not tell.
pub fn beside(
    meta: &'static Meta,
    replicas: &Replicas<'_>,
    is_alone: bool,
    missed: impl Fn(&Replica) -> Option<String>,
) -> Vec<Finding> {
    let domain = &replicas.estate.plan.domain;
    let mut findings = vec![of_all(meta, replicas, domain, is_alone)];
    if is_alone {
        return findings;
    }
    let host = |host: &String| Subject::Host(host.clone());
    findings.extend(replicas.read_only.iter().map(|name| {
        Finding::new(
            meta,
            host(name),
            Verdict::Skip,
            "it is read-only: Exchange uses none, and nobody takes changes from it",
        )
    }));
    findings.extend(replicas.silent.iter().map(|name| {
        unread(meta, name, format!("it did not answer as a controller of {domain}, so it could not be asked"))
    }));
    findings.extend(replicas.all.iter().filter_map(|replica| {
        let why = missed(replica)?;
        Some(unread(meta, &replica.host, format!("it did not tell all: {why}")))
    }));
    findings
}

fn of_all(meta: &'static Meta, replicas: &Replicas<'_>, domain: &str, is_alone: bool) -> Finding {
    let finding = |verdict, seen: String| Finding::new(meta, Subject::Estate, verdict, seen);
    let others = names(replicas.other_domains.iter().map(String::as_str));
    if is_alone && others.is_empty() {
        return finding(Verdict::Skip, format!("{domain} has one controller, which has nobody to agree with"));
    }
    if is_alone {
        let seen = format!(
            "{domain} has one controller; those of {others} hold the configuration, too, and are not asked: run there with --domain"
        );
        return finding(Verdict::Skip, seen);
    }
    if !replicas.is_alone() && replicas.all.len() < 2 && replicas.silent.is_empty() {
        let seen = format!("{domain} has more controllers than DNS names, so only one could be asked");
        return finding(Verdict::Unknown, seen)
            .code("one-alone")
            .suspects(Trouble::Name(domain.to_string()))
            .remedy("Let each controller register its records again; on each:")
            .remedy("    nltest /dsregdns");
    }
    let mut seen = format!("asked of {}", names(replicas.all.iter().map(|replica| replica.host.as_str())));
    if replicas.left_out > 0 {
        seen = format!("{seen}; {} controllers more are left out", replicas.left_out);
    }
    if !others.is_empty() {
        seen = format!("{seen}; those of {others} hold the configuration, too: run there with --domain");
    }
    finding(Verdict::Pass, seen)
}

fn unread(meta: &'static Meta, host: &str, seen: String) -> Finding {
    let port = |port| Trouble::PortShut(Subject::Port(host.to_string(), port, Transport::Tcp));
    [
        Trouble::Credential,
        Trouble::Name(host.to_string()),
        Trouble::HostDark(host.to_string()),
        Trouble::DirectoryUnread,
        Trouble::ClockOff(host.to_string()),
        port(LDAP_PORT),
        port(KERBEROS_PORT),
    ]
    .into_iter()
    .fold(Finding::new(meta, Subject::Host(host.to_string()), Verdict::Unknown, seen), Finding::suspects)
    .code("unread")
}

/// The first names of several.
pub fn names<'n>(names: impl Iterator<Item = &'n str>) -> String {
    const SHOWN: usize = 3;
    let names: Vec<_> = names.collect();
    let more = names.len().saturating_sub(SHOWN);
    let shown = names.iter().take(SHOWN).copied().collect::<Vec<_>>().join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// `40 s`, `12 min`, `3 hours`, `9 days`.
pub fn span(duration: SignedDuration) -> String {
    match (duration.as_secs(), duration.as_mins(), duration.as_hours()) {
        (seconds @ ..120, ..) => format!("{seconds} s"),
        (_, minutes @ ..120, _) => format!("{minutes} min"),
        (.., hours @ ..48) => format!("{hours} hours"),
        (.., hours) => format!("{} days", hours / 24),
    }
}

/// The distinguished name of a partition as a command takes it, if it is what it should be.
pub fn in_command(dn: &str) -> &str {
    let domain = dn.strip_prefix("CN=Configuration,").unwrap_or(dn);
    let is_plain = dn.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"=,-".contains(&byte));
    let is_one = is_plain && domain_of_dn(domain).is_some_and(|name| is_host_name(&name));
    if is_one { dn } else { "<PARTITION>" }
}

/// What is asked of one controller, by what it is about.
fn kinds(replica: &Replica, watched: &Watched) -> Vec<(Kind, DirectorySearch)> {
    let accounts = watched.searches(replica.name_of(Partition::Domain));
    let mut kinds: Vec<_> = accounts.into_iter().map(|search| (Kind::Account, search)).collect();
    kinds.push((Kind::Server, searches::servers(&replica.at)));
    kinds.push((Kind::Connector, searches::receive_connectors(&replica.at)));
    kinds
}

fn asks_of(replica: &Replica, watched: &Watched) -> Vec<Ask> {
    kinds(replica, watched).into_iter().map(|(_, search)| replica.ask(search)).collect()
}

fn heads(replica: &Replica) -> [Ask; 2] {
    Partition::ALL.map(|partition| replica.head(partition))
}

/// The searches for what differs, with its stamps.
fn stamp_searches(replica: &Replica, differing: &[Object<'_>]) -> Vec<DirectorySearch> {
    let mut searches = Vec::new();
    for kind in [Kind::Account, Kind::Server, Kind::Connector] {
        let of_kind: Vec<_> = differing.iter().filter(|object| object.kind == kind).collect();
        let (voucher, compared) = kind.attributes();
        let beside =
            ["objectGUID", "whenChanged", "replPropertyMetaData", "msDS-ReplAttributeMetaData;binary", voucher];
        let mut attributes = beside.to_vec();
        attributes.extend(compared.iter().filter(|attribute| **attribute != voucher));
        for chunk in of_kind.chunks(MOST_IN_A_FILTER) {
            let any = filter::any_of(chunk.iter().map(|object| clause_of(&object.guid)));
            searches.push(DirectorySearch::below(replica.name_of(kind.partition()), any, &attributes));
        }
    }
    searches
}

fn clause_of(guid: &str) -> String {
    filter::equal_bytes("objectGUID", &guid_bytes(guid).unwrap_or_default())
}

/// The accounts that are compared.
struct Watched {
    /// objectGUID -> what the account is called.
    accounts: BTreeMap<String, Subject>,
    /// What has its account in another domain, and which.
    elsewhere: BTreeMap<Subject, String>,
}

impl Watched {
    /// `None` until the global catalog has told of all, or failed to.
    fn settled(estate: &Estate, evidence: &Evidence) -> Option<Self> {
        let searches: Vec<_> =
            account_searches(estate).into_iter().map(|(_, search)| (search, Holding::Catalog)).collect();
        are_settled(&searches, estate, evidence).then(|| Self::of(estate, evidence))
    }

    /// Those of peers and those that they share, as the searches for each of them show them, whatever else is found: what is asked
    /// must not hang on other checks.
    fn of(estate: &Estate, evidence: &Evidence) -> Self {
        let (mut accounts, mut elsewhere) = (BTreeMap::new(), BTreeMap::new());
        for (about, search) in account_searches(estate) {
            let told = found(&search, Holding::Catalog, estate, evidence).entries().map(Accounts::told);
            let told = told.unwrap_or_default();
            let is_one = |account: &&Account| {
                account.is_computer && !account.is_conflict() && guid_bytes(&account.guid).is_some()
            };
            for account in told.all().filter(is_one) {
                let subject = match &about {
                    About::Host(host) => account.claims(host).then(|| Subject::Host(host.clone())),
                    // One that is made as alternate service accounts are.
                    About::Name(name) => (account.host.is_none() && account.holds(&web(name)))
                        .then(|| Subject::Account(account.name.clone())),
                };
                let Some((subject, domain)) = subject.zip(account.domain()) else { continue };
                if domain == estate.plan.domain {
                    accounts.entry(account.guid.clone()).or_insert(subject);
                } else if is_host_name(&domain) {
                    elsewhere.entry(subject).or_insert(domain);
                }
            }
        }
        // One of the same name elsewhere is another's.
        elsewhere.retain(|subject, _| !accounts.values().any(|here| here == subject));
        Self { accounts, elsewhere }
    }

    fn subjects(&self) -> impl Iterator<Item = (Kind, String, Subject)> {
        self.accounts.iter().map(|(guid, subject)| (Kind::Account, guid.clone(), subject.clone()))
    }

    /// They, and the account whose key is behind all tickets.
    fn searches(&self, domain: &str) -> Vec<DirectorySearch> {
        let clauses: Vec<_> = [filter::equal("sAMAccountName", "krbtgt")]
            .into_iter()
            .chain(self.accounts.keys().map(|guid| clause_of(guid)))
            .collect();
        let (voucher, compared) = Kind::Account.attributes();
        let mut attributes = vec!["objectGUID", "whenChanged", voucher];
        attributes.extend(compared);
        let search = |chunk: &[String]| DirectorySearch::below(domain, filter::any_of(chunk.to_vec()), &attributes);
        clauses.chunks(MOST_IN_A_FILTER).map(search).collect()
    }
}

enum About {
    Host(String),
    Name(String),
}

/// The searches of a global catalog for the accounts that matter, as other checks ask them.
fn account_searches(estate: &Estate) -> Vec<(About, DirectorySearch)> {
    let hosts = peers(estate).into_iter().map(|host| (About::Host(host.to_string()), search_of_host(host)));
    let names = namespaces(estate).into_iter().map(|name| {
        let search = search_of_name(&name);
        (About::Name(name), search)
    });
    hosts.chain(names).collect()
}

/// The needs of them.
pub fn account_needs(estate: &Estate, evidence: &Evidence) -> Vec<Need> {
    let searches: Vec<_> = account_searches(estate).into_iter().map(|(_, search)| (search, Holding::Catalog)).collect();
    informants::estate_needs(&searches, estate, evidence)
}

/// The peers whose accounts the global catalog did not tell of.
pub fn unknown_accounts(estate: &Estate, evidence: &Evidence) -> Vec<(Subject, DirectorySearch)> {
    let strangers = strangers(estate, evidence);
    let untold = |search: &DirectorySearch| found(search, Holding::Catalog, estate, evidence).complete().is_none();
    let hosts = peers(estate).into_iter().filter(|host| !strangers.contains(host));
    let searches = hosts.map(|host| (Subject::Host(host.to_string()), search_of_host(host)));
    searches.filter(|(_, search)| untold(search)).collect()
}

/// One way between sites.
struct SiteLink {
    sites: BTreeSet<String>,
    cost: i64,
    /// Until a change is taken over it, at the worst.
    interval: SignedDuration,
}

impl SiteLink {
    fn read(entry: &Entry) -> Self {
        const DEFAULT_COST: i64 = 100;
        const LEAST: i64 = 15;
        const MOST: i64 = 10_080;
        let interval = entry.number("replInterval").map(|minutes| minutes.clamp(LEAST, MOST));
        let interval = interval.map_or(BETWEEN_SITES, SignedDuration::from_mins);
        let pause = entry.bytes("schedule").and_then(longest_pause).unwrap_or_default();
        Self {
            sites: entry.texts("siteList").filter_map(leaf).map(|site| site.to_lowercase()).collect(),
            cost: entry.number("cost").unwrap_or(DEFAULT_COST).max(1),
            interval: interval.saturating_add(pause),
        }
    }
}

fn time_to(reached: &BTreeMap<String, (i64, SignedDuration)>, to: &str) -> SignedDuration {
    reached.get(to).map_or(BETWEEN_SITES, |(_, time)| *time)
}

fn site_of(host: &str, estate: &Estate) -> Option<String> {
    let told = estate.controllers.get(host).and_then(|controller| controller.site.clone());
    let known = || estate.organisation.dsas.get(host).map(|dsa| dsa.site.to_lowercase());
    told.or_else(known).filter(|site| !site.is_empty())
}

fn exchange_sites(estate: &Estate) -> BTreeSet<String> {
    let servers = peers(estate).into_iter().filter_map(|host| estate.organisation.servers.get(host));
    servers.filter_map(|server| server.site.as_ref()).map(|site| site.to_lowercase()).collect()
}

fn are_settled(searches: &[(DirectorySearch, Holding)], estate: &Estate, evidence: &Evidence) -> bool {
    let asks = |(search, holding): &(DirectorySearch, Holding)| informants::asks(search, *holding, estate, evidence);
    searches.iter().flat_map(asks).all(|ask| evidence.holds(&ask))
}

/// Why the first of these was not answered in full.
fn first_missed(asks: &[Ask], evidence: &Evidence) -> Option<String> {
    asks.iter().find_map(|ask| match evidence.answer::<DirectorySearch>(ask) {
        Answer::NotAsked => Some("the run ended before it had told all".to_string()),
        Answer::Missed(miss) | Answer::Told(_, Some(miss)) => Some(miss.to_string()),
        Answer::Told(_, None) => None,
    })
}
