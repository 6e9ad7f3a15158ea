//! Finding the domain where nobody stated it, and drafting a plan for a person to review.

use crate::wire::conversation::Wire;
use exchange_preflight_checks::{
    facts::dns::{DnsLookup, RecordKind, canonical_name},
    model::{
        ask::{Ask, Endpoint},
        estate::Estate,
        evidence::{Evidence, Observation},
        plan::Plan,
    },
};
use hickory_resolver::system_conf::read_system_conf;
use jiff::Timestamp;
use std::{env, fmt::Write as _, fs, net::SocketAddr, path::PathBuf};

/// A domain that the machine's own configuration suggests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub domain: String,
    /// Where it stands.
    pub source: String,
}

/// What the machine's own configuration suggests, the likeliest first, each domain once.
pub fn candidates() -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    let found = from_environment().into_iter().chain(from_resolver()).chain(from_krb5_conf());
    for (domain, source) in found {
        let domain = canonical_name(&domain);
        if !domain.is_empty() && candidates.iter().all(|candidate| candidate.domain != domain) {
            candidates.push(Candidate { domain, source });
        }
    }
    candidates
}

/// The first candidate that DNS knows as an Active Directory domain.
pub async fn first_domain(candidates: Vec<Candidate>, wire: &Wire, resolver: Option<SocketAddr>) -> Option<Candidate> {
    for candidate in candidates {
        let lookup = DnsLookup { name: format!("_ldap._tcp.dc._msdcs.{}", candidate.domain), records: RecordKind::Srv };
        let to = resolver.map_or_else(Endpoint::system_resolver, |address| Endpoint {
            host: address.ip().to_string(),
            address: Some(address.ip()),
            port: address.port(),
        });
        let ask = Ask::new(to, lookup);
        let reply = wire.converse(&ask).await;
        let evidence: Evidence =
            [Observation { ask: ask.clone(), reply, when: Timestamp::UNIX_EPOCH }].into_iter().collect();
        if evidence.answer::<DnsLookup>(&ask).facts().is_some_and(|answer| answer.targets().next().is_some()) {
            return Some(candidate);
        }
    }
    None
}

/// A plan in TOML, with what was found as comments beside it.
pub fn draft(plan: &Plan, evidence: &Evidence) -> String {
    let estate = Estate::learn(plan, evidence);
    let mut text = String::new();
    let mut line = |args: std::fmt::Arguments<'_>| writeln!(text, "{args}").expect("writing to a String cannot fail");
    line(format_args!("# A draft by exchange-preflight {}: review it, then", env!("CARGO_PKG_VERSION")));
    line(format_args!("#     exchange-preflight run --plan THIS_FILE"));
    line(format_args!(""));
    line(format_args!("domain = {:?}", plan.domain));
    if let Some(resolver) = plan.resolver {
        line(format_args!("resolver = \"{resolver}\""));
    }
    line(format_args!(""));
    line(format_args!("# Found without logging on; nothing of it needs to be stated:"));
    line(format_args!("#   forest       {}", estate.forest.agreed().map_or("not told", String::as_str)));
    for (name, controller) in &estate.controllers {
        let addresses: Vec<_> = estate.addresses(name).map(|address| address.to_string()).collect();
        let catalog = if controller.is_gc { ", global catalog" } else { "" };
        let root = if estate.time_root.as_ref() == Some(name) { ", PDC emulator" } else { "" };
        let site = controller.site.as_ref().map(|site| format!(", site {site}")).unwrap_or_default();
        line(format_args!("#   controller   {name} ({}){catalog}{root}{site}", addresses.join(", ")));
    }
    line(format_args!(""));
    line(format_args!("# Exchange servers cannot be found without logging on. State each that carries mail:"));
    for server in &plan.servers {
        line(format_args!("[[server]]"));
        line(format_args!("name = {:?}", server.name));
    }
    if plan.servers.is_empty() {
        line(format_args!("# [[server]]"));
        line(format_args!("# name = \"ex01.{}\"", plan.domain));
        line(format_args!("# role = \"mailbox\"       # or edge, gateway"));
    }
    text
}

fn from_environment() -> Option<(String, String)> {
    Some((env::var("USERDNSDOMAIN").ok()?, "the environment variable USERDNSDOMAIN".into()))
}

fn from_resolver() -> Vec<(String, String)> {
    let Ok((config, _)) = read_system_conf() else { return Vec::new() };
    let names = config.domain().into_iter().chain(config.search());
    names.map(|name| (name.to_utf8(), "this machine's DNS search list".to_string())).collect()
}

/// `default_realm` of krb5.conf: the realm of an Active Directory domain is its DNS name.
fn from_krb5_conf() -> Option<(String, String)> {
    let path = env::var_os("KRB5_CONFIG").map_or_else(|| PathBuf::from("/etc/krb5.conf"), PathBuf::from);
    let text = fs::read_to_string(&path).ok()?;
    let realm = text.lines().find_map(|line| line.trim().strip_prefix("default_realm")?.trim().strip_prefix('='))?;
    Some((realm.trim().to_string(), format!("default_realm in {}", path.display())))
}
