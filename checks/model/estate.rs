//! Everything under examination, as far as the plan states it and the evidence so far tells it.

use crate::{
    facts::{
        directory::{NetlogonPing, RootDse},
        dns::{DnsAnswer, DnsLookup, RecordKind, canonical_name, is_host_name},
        net::Transport,
    },
    model::{
        ask::{Ask, Endpoint},
        evidence::Evidence,
        plan::{Plan, ServerRole, ServerState},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::IpAddr;

/// More hosts than this are not examined in one run; what was left out is said by `directory-located`.
pub const MOST_CONTROLLERS: usize = 2_000;

/// LDAP.
pub const LDAP_PORT: u16 = 389;
/// The global catalog.
pub const GC_PORT: u16 = 3268;

/// A value that may differ between those who tell it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims<T>(BTreeMap<String, T>);

impl<T: PartialEq> Claims<T> {
    /// Notes what `source` says.
    pub fn add(&mut self, source: &str, value: T) {
        self.0.insert(source.to_string(), value);
    }

    /// What all say, if anybody says anything and nobody else.
    pub fn agreed(&self) -> Option<&T> {
        let first = self.0.values().next()?;
        self.0.values().all(|value| value == first).then_some(first)
    }

    /// Who says what.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(source, value)| (source.as_str(), value))
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
    /// The servers of the plan by name.
    pub servers: BTreeMap<String, Server>,
    /// The forest root's PDC emulator, the root of the domain's time (MS-ADTS section 6.3.2.3, `_ldap._tcp.pdc._msdcs`).
    pub time_root: Option<String>,
    /// The site of the address from which we ask.
    pub our_site: Claims<String>,
    addresses: BTreeMap<String, BTreeSet<IpAddr>>,
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

/// A server of the plan.
#[derive(Clone, Copy, Debug)]
pub struct Server {
    /// What it does.
    pub role: ServerRole,
    /// Is it meant to work?
    pub state: ServerState,
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
            servers: BTreeMap::new(),
            time_root: None,
            our_site: Claims::default(),
            addresses: BTreeMap::new(),
        };
        estate.servers =
            plan.servers.iter().map(|s| (s.name.clone(), Server { role: s.role, state: s.state })).collect();
        for (_, lookup, answer) in evidence.all::<DnsLookup>() {
            if let Some(answer) = answer.facts() {
                estate.learn_records(lookup, answer);
            }
        }
        estate.learn_from_controllers(evidence);
        estate.learn_from_forest(evidence);
        estate.controllers_left_out = estate.controllers.len().saturating_sub(MOST_CONTROLLERS);
        while estate.controllers.len() > MOST_CONTROLLERS {
            estate.controllers.pop_last();
        }
        estate
    }

    /// What the estate itself has to learn, whichever checks run.
    pub fn discovery(&self, plan: &Plan) -> Vec<Ask> {
        let resolver = resolver(plan);
        let lookup = |name: String, records| Ask::new(resolver.clone(), DnsLookup { name, records });
        let mut asks: Vec<Ask> = self.locator_names().map(|name| lookup(name, RecordKind::Srv)).collect();
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
        asks
    }

    /// A lookup as [`Self::discovery`] asks it.
    pub fn lookup(&self, name: &str, records: RecordKind) -> Ask {
        Ask::new(resolver(&self.plan), DnsLookup { name: canonical_name(name), records })
    }

    /// The SRV names through which controllers are located.
    fn locator_names(&self) -> impl Iterator<Item = String> {
        let domain = &self.plan.domain;
        let sites: BTreeSet<_> = self
            .our_site
            .iter()
            .map(|(_, site)| site)
            .chain(self.controllers.values().filter_map(|controller| controller.site.as_ref()))
            .filter(|site| is_host_name(site))
            .collect();
        let of_sites: Vec<_> =
            sites.into_iter().map(|site| format!("_ldap._tcp.{site}._sites.dc._msdcs.{domain}")).collect();
        let of_forest = self.forest.agreed().map(|forest| [global_catalog_name(forest), pdc_name(forest)]);
        ["_ldap._tcp.dc._msdcs", "_ldap._tcp.pdc._msdcs", "_kerberos._tcp.dc._msdcs", "_kerberos._tcp", "_kpasswd._tcp"]
            .into_iter()
            .map(move |service| format!("{service}.{domain}"))
            .chain(of_sites)
            .chain(of_forest.into_iter().flatten())
    }

    /// Every host by name: controllers, servers that are meant to work, the root of time.
    pub fn hosts(&self) -> BTreeSet<&str> {
        let servers = self.servers.iter().filter(|(_, server)| server.state == ServerState::Active);
        self.controllers
            .keys()
            .chain(servers.map(|(name, _)| name))
            .chain(self.time_root.as_ref())
            .map(String::as_str)
            .collect()
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

    fn learn_records(&mut self, lookup: &DnsLookup, answer: &DnsAnswer) {
        match lookup.records {
            RecordKind::A | RecordKind::Aaaa => {
                self.addresses.entry(lookup.name.clone()).or_default().extend(answer.addresses());
            }
            RecordKind::Srv if !lookup.name.starts_with("_gc.") && belongs_to(&lookup.name, &self.plan.domain) => {
                for target in answer.targets() {
                    if is_host_name(target) {
                        self.controllers.entry(target.to_string()).or_default();
                    } else {
                        self.strange_targets.insert(target.to_string());
                    }
                }
            }
            RecordKind::Srv => {}
        }
    }

    fn learn_from_controllers(&mut self, evidence: &Evidence) {
        for (ask, _, answer) in evidence.all::<NetlogonPing>() {
            let Some(netlogon) = answer.facts().and_then(super::super::facts::directory::NetlogonReply::netlogon)
            else {
                continue;
            };
            let Some(controller) = self.controllers.get_mut(&ask.to.host) else { continue };
            controller.is_gc |= netlogon.is_gc();
            controller.is_read_only |= !netlogon.is_writable();
            if netlogon.domain == self.plan.domain && is_host_name(&netlogon.forest) {
                controller.site = Some(netlogon.dc_site);
                self.forest.add(&ask.to.host, netlogon.forest);
                self.our_site.add(&ask.to.host, netlogon.client_site);
            }
        }
        for (ask, _, answer) in evidence.all::<RootDse>() {
            let Some(root_dse) = answer.facts() else { continue };
            let is_ours = root_dse.domain_of("defaultNamingContext").as_deref() == Some(&self.plan.domain);
            let forest = root_dse.domain_of("rootDomainNamingContext").filter(|forest| is_host_name(forest));
            if let (true, Some(forest)) = (is_ours, forest) {
                self.forest.add(&ask.to.host, forest);
            }
        }
    }

    fn learn_from_forest(&mut self, evidence: &Evidence) {
        let forest = self.forest.agreed().unwrap_or(&self.plan.domain).clone();
        let targets = |name: &str| -> Vec<String> {
            let answer = evidence.answer::<DnsLookup>(&self.lookup(name, RecordKind::Srv));
            answer.facts().map(|answer| answer.targets().map(ToString::to_string).collect()).unwrap_or_default()
        };
        let catalogs = targets(&global_catalog_name(&forest));
        self.time_root = targets(&pdc_name(&forest)).into_iter().find(|target| is_host_name(target));
        for catalog in catalogs {
            if let Some(controller) = self.controllers.get_mut(&catalog) {
                controller.is_gc = true;
            }
        }
    }
}

/// The SRV name of a forest's global catalogs.
pub fn global_catalog_name(forest: &str) -> String {
    format!("_gc._tcp.{forest}")
}

/// The SRV name of a domain's PDC emulator.
pub fn pdc_name(domain: &str) -> String {
    format!("_ldap._tcp.pdc._msdcs.{domain}")
}

/// Is this `_service...` name one of the domain itself, and not of a domain below it?
fn belongs_to(name: &str, domain: &str) -> bool {
    let service = name.strip_suffix(domain).and_then(|rest| rest.strip_suffix('.'));
    service.is_some_and(|service| service.starts_with('_'))
}

fn resolver(plan: &Plan) -> Endpoint {
    match plan.resolver {
        Some(address) => Endpoint { host: address.ip().to_string(), address: Some(address.ip()), port: address.port() },
        None => Endpoint::system_resolver(),
    }
}
