//! Everything under examination, as far as the plan states it and the evidence so far tells it.

use crate::{
    facts::{
        directory::{NetlogonPing, NetlogonReply, RootDse},
        dns::{DnsAnswer, DnsLookup, RecordKind, canonical_name, is_host_name, locator, site_service, srv_name},
        kerberos::AsReq,
        net::{LDAP_PORT, Transport},
    },
    model::{
        ask::{Ask, Endpoint},
        certificates::Certificates,
        check::Need,
        evidence::Evidence,
        informants::{self, Holding, Informant, informants},
        organisation::{Organisation, searches},
        plan::{Plan, PlannedServer, ServerRole, ServerState},
        stock::Stock,
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    rc::Rc,
    string::{String, ToString},
    vec::Vec,
};
use core::{
    cell::OnceCell,
    net::{IpAddr, SocketAddr},
};

/// More hosts than this are not examined in one run; what was left out is said by `directory-located`.
pub const MOST_CONTROLLERS: usize = 2_000;

/// More addresses of one host and family are not asked: a name server must not send us to scan a network.
pub const MOST_ADDRESSES: usize = 16;

/// A value that may differ between those who tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims<T>(BTreeMap<String, T>);

impl<T: PartialEq> Claims<T> {
    /// Notes what `source` says.
    pub fn add(&mut self, source: String, value: T) {
        self.0.insert(source, value);
    }

    /// What all say, if anybody says anything and nobody else.
    pub fn agreed(&self) -> Option<&T> {
        let first = self.0.values().next()?;
        self.0.values().all(|value| value == first).then_some(first)
    }

    /// What anybody says.
    pub fn values(&self) -> impl Iterator<Item = &T> {
        self.0.values()
    }
}

/// Everything under examination.
#[derive(Clone, Debug)]
pub struct Estate {
    /// What the user stated.
    pub plan: Plan,
    /// The forest's root domain, as controllers tell it.
    pub forest: Claims<String>,
    /// The domain's controllers by name.
    pub controllers: BTreeMap<String, Controller>,
    /// What SRV records name that can be no host: neither asked nor printed in a command.
    pub strange_targets: BTreeSet<String>,
    /// How many controllers there were beyond [`MOST_CONTROLLERS`].
    pub controllers_left_out: usize,
    /// Whom the directory is asked, in this order.
    pub informants: Vec<Informant>,
    /// What the directory tells whoever has logged on.
    pub organisation: Organisation,
    /// The servers by name: those of the plan, and those that the directory tells.
    pub servers: BTreeMap<String, PlannedServer>,
    /// How many addresses there were beyond [`MOST_ADDRESSES`] a host.
    pub addresses_left_out: usize,
    /// PDC emulators of all forests that controllers claim to be of; more than one only where they contradict each other.
    time_roots: BTreeMap<String, String>,
    /// The site of the address from which we ask.
    pub our_site: Claims<String>,
    /// Every site that a controller claims to be in.
    claimed_sites: BTreeSet<String>,
    addresses: BTreeMap<String, BTreeSet<IpAddr>>,
    /// What several checks derive from the evidence that this estate was learnt from.
    pub(crate) derived: Derived,
}

/// What is derived once and shared: an estate lives as long as one look at the evidence does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Derived {
    /// What must be asked to follow certificates to their roots.
    pub(crate) trust_needs: OnceCell<Rc<Vec<Need>>>,
    /// Every certificate that was seen.
    pub(crate) certificates: OnceCell<Rc<Certificates>>,
    /// Which certificates each server has.
    pub(crate) stocks: OnceCell<Rc<BTreeMap<String, Stock>>>,
    /// Which connectors led to the own tenant before what a rehearsal supposes.
    pub(crate) own_before: OnceCell<Rc<BTreeSet<String>>>,
}

/// A domain controller.
#[derive(Clone, Debug, Default)]
pub struct Controller {
    /// DNS or the controller itself says that it is a global catalog.
    pub is_gc: bool,
    /// Its site, as it tells it.
    pub site: Option<String>,
    /// It is no RODC, as it tells it; what has not told is taken for writable.
    pub is_read_only: bool,
}

impl Estate {
    /// What is known. A pure fold: the order of arrival does not matter.
    pub fn learn(plan: &Plan, evidence: &Evidence) -> Self {
        let mut estate = Self {
            plan: plan.clone(),
            forest: Claims::default(),
            controllers: BTreeMap::new(),
            strange_targets: BTreeSet::new(),
            controllers_left_out: 0,
            informants: Vec::new(),
            organisation: Organisation::default(),
            servers: BTreeMap::new(),
            addresses_left_out: 0,
            time_roots: BTreeMap::new(),
            our_site: Claims::default(),
            claimed_sites: BTreeSet::new(),
            addresses: BTreeMap::new(),
            derived: Derived::default(),
        };
        estate.servers = plan.servers.iter().map(|server| (server.name.clone(), server.clone())).collect();
        for (_, lookup, answer) in evidence.all::<DnsLookup>() {
            if let Some(answer) = answer.facts() {
                estate.learn_records(lookup, answer);
            }
        }
        estate.learn_from_controllers(evidence);
        estate.learn_from_forest(evidence);
        estate.informants = informants(&estate, evidence);
        estate.organisation = Organisation::learn(&estate, evidence);
        estate.learn_servers();
        estate.controllers_left_out = estate.controllers.len().saturating_sub(MOST_CONTROLLERS);
        while estate.controllers.len() > MOST_CONTROLLERS {
            estate.controllers.pop_last();
        }
        estate
    }

    /// What the estate itself has to learn, whichever checks run.
    pub fn discovery(&self, plan: &Plan, evidence: &Evidence) -> Vec<Ask> {
        let resolver = resolver(plan.resolver);
        let lookup = |name: String, records| Ask::new(resolver.clone(), DnsLookup { name, records });
        let mut asks: Vec<Ask> = self.locator_names().into_iter().map(|name| lookup(name, RecordKind::Srv)).collect();
        for host in self.hosts() {
            asks.push(lookup(host.to_string(), RecordKind::A));
            asks.push(lookup(host.to_string(), RecordKind::Aaaa));
        }
        for controller in self.controllers.keys() {
            for to in self.endpoints(controller, LDAP_PORT) {
                asks.push(Ask::new(to.clone(), NetlogonPing { domain: plan.domain.clone() }));
                asks.push(Ask::new(to, RootDse { transport: Transport::Tcp }));
            }
        }
        if let Some(first) = self.informants.first() {
            asks.extend(
                searches::ALL
                    .iter()
                    .flat_map(|search| informants::asks(&search(first), Holding::Domain, self, evidence)),
            );
        }
        asks
    }

    /// A lookup as [`Self::discovery`] asks it.
    pub fn lookup(&self, name: &str, records: RecordKind) -> Ask {
        Ask::new(resolver(self.plan.resolver), DnsLookup { name: canonical_name(name), records })
    }

    /// The SRV names through which controllers are located.
    fn locator_names(&self) -> BTreeSet<String> {
        let of_sites: Vec<_> =
            self.our_site.values().chain(&self.claimed_sites).map(|site| site_service(site)).collect();
        let services = locator::OF_A_DOMAIN.into_iter().chain(of_sites.iter().map(String::as_str));
        let of_domain = services.map(|service| srv_name(service, &self.plan.domain));
        let of_forests =
            self.forest.values().flat_map(|forest| [locator::CATALOGS, locator::PDC].map(|s| srv_name(s, forest)));
        of_domain.chain(of_forests).collect()
    }

    /// Every host by name: controllers, servers that are meant to work, the root of time.
    pub fn hosts(&self) -> BTreeSet<&str> {
        let servers = self.servers.iter().filter(|(_, server)| server.state == ServerState::Active);
        let hosts = self.controllers.keys().chain(servers.map(|(name, _)| name)).chain(self.time_roots.values());
        hosts.map(String::as_str).collect()
    }

    /// Servers that are stated and meant to work, and whose names lead to no address: a mistake in a name must not look like
    /// good news.
    pub fn unresolved_servers(&self) -> impl Iterator<Item = &PlannedServer> {
        let servers = self.servers.values().filter(|server| server.state == ServerState::Active);
        servers.filter(|server| self.addresses(&server.name).next().is_none())
    }

    /// The forest root's PDC emulator, the root of the domain's time; unknown while controllers contradict each other.
    pub fn time_root(&self) -> Option<&str> {
        let is_untold = self.forest.values().next().is_none();
        let forest = if is_untold { Some(&self.plan.domain) } else { self.forest.agreed() };
        self.time_roots.get(forest?).map(String::as_str)
    }

    /// The nameless AS-REQ for the domain's realm.
    pub fn as_req(&self, transport: Transport) -> AsReq {
        AsReq { realm: self.plan.domain.to_uppercase(), transport }
    }

    /// A port of a host at each of its addresses.
    pub fn endpoints(&self, host: &str, port: u16) -> Vec<Endpoint> {
        let endpoint = |address: &IpAddr| Endpoint { host: host.to_string(), address: Some(*address), port };
        self.addresses.get(host).into_iter().flatten().map(endpoint).collect()
    }

    /// The host's addresses.
    pub fn addresses(&self, host: &str) -> impl Iterator<Item = IpAddr> {
        self.addresses.get(host).into_iter().flatten().copied()
    }

    /// Is it outside the domain, so that Kerberos does not bind its clock?
    pub fn is_outsider(&self, host: &str) -> bool {
        self.servers.get(host).is_some_and(|server| server.role != ServerRole::Mailbox)
            && !self.controllers.contains_key(host)
    }

    /// Adds the servers that carry mail by the word of the directory. What is stated about one counts more.
    fn learn_servers(&mut self) {
        for (host, server) in &self.organisation.servers {
            if let Some(role) = server.role() {
                self.servers.entry(host.clone()).or_insert_with(|| PlannedServer::new(host.clone(), role));
            }
        }
    }

    fn learn_records(&mut self, lookup: &DnsLookup, answer: &DnsAnswer) {
        match lookup.records {
            RecordKind::A | RecordKind::Aaaa => {
                let told: BTreeSet<_> = answer.addresses().collect();
                self.addresses_left_out += told.len().saturating_sub(MOST_ADDRESSES);
                self.addresses.entry(lookup.name.clone()).or_default().extend(told.into_iter().take(MOST_ADDRESSES));
            }
            RecordKind::Srv if leads_to_controllers(&lookup.name, &self.plan.domain) => {
                for target in answer.targets() {
                    if is_host_name(target) {
                        self.controllers.entry(target.to_string()).or_default();
                    } else {
                        self.strange_targets.insert(target.to_string());
                    }
                }
            }
            RecordKind::Srv | RecordKind::Mx | RecordKind::Cname => {}
        }
    }

    fn learn_from_controllers(&mut self, evidence: &Evidence) {
        for (ask, _, answer) in evidence.all::<NetlogonPing>() {
            let Some(netlogon) = answer.facts().and_then(NetlogonReply::netlogon) else { continue };
            let Some(controller) = self.controllers.get_mut(&ask.to.host) else { continue };
            controller.is_gc |= netlogon.is_gc();
            controller.is_read_only |= !netlogon.is_writable();
            if netlogon.domain == self.plan.domain {
                self.claim_site(&ask.to.host, Some(&netlogon.dc_site));
                self.claim_forest(ask, netlogon.forest);
                if is_host_name(&netlogon.client_site) {
                    self.our_site.add(ask.to.to_string(), netlogon.client_site);
                }
            }
        }
        for (ask, _, answer) in evidence.all::<RootDse>() {
            let Some(root_dse) = answer.facts().filter(|_| self.controllers.contains_key(&ask.to.host)) else {
                continue;
            };
            if root_dse.domain_of("defaultNamingContext").as_deref() == Some(&self.plan.domain) {
                self.claim_site(&ask.to.host, root_dse.site());
                if let Some(forest) = root_dse.domain_of("rootDomainNamingContext") {
                    self.claim_forest(ask, forest);
                }
            }
        }
    }

    /// The first claim, in the order of evidence, is the controller's site; DNS is asked about every one.
    fn claim_site(&mut self, host: &str, site: Option<&str>) {
        let Some(site) = site.map(str::to_lowercase).filter(|site| is_host_name(site)) else { return };
        self.claimed_sites.insert(site.clone());
        if let Some(controller) = self.controllers.get_mut(host) {
            controller.site.get_or_insert(site);
        }
    }

    fn claim_forest(&mut self, ask: &Ask, forest: String) {
        if is_host_name(&forest) {
            self.forest.add(format!("{} {}", ask.to, ask.what.kind()), forest);
        }
    }

    fn learn_from_forest(&mut self, evidence: &Evidence) {
        let forests: BTreeSet<String> = self.forest.values().chain([&self.plan.domain]).cloned().collect();
        for forest in forests {
            let targets = |service: &str| -> Vec<String> {
                let ask = self.lookup(&srv_name(service, &forest), RecordKind::Srv);
                let answer = evidence.answer::<DnsLookup>(&ask);
                answer.facts().map(|answer| answer.targets().map(ToString::to_string).collect()).unwrap_or_default()
            };
            let (catalogs, pdcs) = (targets(locator::CATALOGS), targets(locator::PDC));
            if let Some(pdc) = pdcs.into_iter().find(|target| is_host_name(target)) {
                self.time_roots.insert(forest, pdc);
            }
            for catalog in catalogs {
                if let Some(controller) = self.controllers.get_mut(&catalog) {
                    controller.is_gc = true;
                }
            }
        }
    }
}

/// Is this a name under which the domain itself registers its controllers, and not a domain above or below it?
fn leads_to_controllers(name: &str, domain: &str) -> bool {
    let Some(service) = name.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.')) else { return false };
    let site = service.strip_prefix("_ldap._tcp.").and_then(|rest| rest.strip_suffix("._sites.dc._msdcs"));
    locator::OF_A_DOMAIN.contains(&service) || site.is_some_and(is_host_name)
}

/// The endpoint of a stated name server, or of the one that the machine is set to use.
pub fn resolver(stated: Option<SocketAddr>) -> Endpoint {
    match stated {
        Some(address) => Endpoint { host: address.ip().to_string(), address: Some(address.ip()), port: address.port() },
        None => Endpoint::system_resolver(),
    }
}
