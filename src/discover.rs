//! Finding the domain where nobody stated it, and drafting a plan for a person to review.

use crate::{render::escape::printable, wire::conversation::Wire};
use exchange_preflight_checks::{
    facts::dns::{DnsLookup, RecordKind, canonical_name, is_host_name, locator, srv_name},
    model::{
        ask::Ask,
        estate::{self, Estate},
        evidence::{Evidence, Observation},
        plan::{ClockLimits, Logon, Plan, PlannedServer, StatedStore},
    },
};
use hickory_resolver::system_conf::read_system_conf;
use jiff::Timestamp;
use std::{env, fs, net::SocketAddr, path::PathBuf};

/// A domain that the machine's own configuration suggests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its name.
    pub domain: String,
    /// Where it stands.
    pub source: String,
}

/// What the user who logs on and the machine's own configuration suggest, the likeliest first, each domain once.
pub fn candidates(user: Option<&str>) -> Vec<Candidate> {
    let mut candidates: Vec<Candidate> = Vec::new();
    let of_machine = from_environment().into_iter().chain(from_resolver()).chain(from_krb5_conf());
    let found = user.and_then(from_user).into_iter().chain(of_machine);
    for (domain, source) in found {
        let domain = canonical_name(&domain);
        // A configuration can say anything; the domain is printed in commands and kept in recordings.
        if is_host_name(&domain) && candidates.iter().all(|candidate| candidate.domain != domain) {
            candidates.push(Candidate { domain, source });
        }
    }
    candidates
}

/// The first candidate that DNS knows as an Active Directory domain.
pub async fn first_domain(candidates: Vec<Candidate>, wire: &Wire, resolver: Option<SocketAddr>) -> Option<Candidate> {
    for candidate in candidates {
        let lookup = DnsLookup { name: srv_name(locator::CONTROLLERS, &candidate.domain), records: RecordKind::Srv };
        let ask = Ask::new(estate::resolver(resolver), lookup);
        let reply = wire.converse(&ask).await;
        let evidence: Evidence =
            [Observation { ask: ask.clone(), reply, when: Timestamp::UNIX_EPOCH }].into_iter().collect();
        if evidence.answer::<DnsLookup>(&ask).facts().is_some_and(|answer| answer.targets().next().is_some()) {
            return Some(candidate);
        }
    }
    None
}

/// A plan in TOML: all that was stated, and what was found as comments beside it.
pub fn draft(plan: &Plan, evidence: &Evidence) -> String {
    let mut lines = vec![
        format!("# A draft by exchange-preflight {}: review it, then", env!("CARGO_PKG_VERSION")),
        "#     exchange-preflight run --plan THIS_FILE".into(),
        String::new(),
        format!("domain = {:?}", plan.domain),
    ];
    lines.extend(plan.resolver.map(|resolver| format!("resolver = \"{resolver}\"")));
    lines.extend(plan.exchange_vantage.then(|| "exchange-vantage = true".into()));
    lines.extend(plan.deep.then(|| "deep = true".into()));
    lines.extend(plan.forbid_old_tls.then(|| "forbid-old-tls = true".into()));
    lines.extend(plan.outlive.map(|outlive| format!("outlive = \"{}h\"", outlive.as_hours())));
    for (key, checks) in [("only", &plan.selection.only), ("skip", &plan.selection.skip)] {
        let checks: Vec<_> = checks.iter().map(|check| format!("{check:?}")).collect();
        lines.extend((!checks.is_empty()).then(|| format!("{key} = [{}]", checks.join(", "))));
    }
    lines.push(String::new());
    lines.extend(found(plan, evidence));
    if let Some(Logon { user, way }) = &plan.logon {
        lines.extend([String::new(), "[logon]".into()]);
        lines.extend(user.as_deref().map(|user| format!("user = {}", toml::Value::from(user))));
        lines.push(format!("way = \"{}\"", way.word()));
    }
    let ClockLimits { limit, warn } = plan.clock;
    if plan.clock != ClockLimits::default() {
        lines.extend([
            String::new(),
            "[clock]".into(),
            format!("limit = \"{limit:#}\""),
            format!("warn = \"{warn:#}\""),
        ]);
    }
    lines.extend(plan.stores.iter().flat_map(store));
    lines.extend([
        String::new(),
        "# Exchange servers cannot be found without logging on. State each that carries mail.".into(),
    ]);
    lines.extend(plan.servers.iter().flat_map(server));
    if plan.servers.is_empty() {
        let name = format!("# name = \"ex01.{}\"", plan.domain);
        lines.extend(["# [[server]]".into(), name, "# role = \"mailbox\"       # or edge, gateway".into()]);
    }
    lines.join("\n") + "\n"
}

fn store(store: &StatedStore) -> Vec<String> {
    let StatedStore { name, file, public } = store;
    let file = toml::Value::from(file.as_str());
    let public = public.then(|| "public = true".into());
    let lines = [String::new(), "[[store]]".into(), format!("name = {name:?}"), format!("file = {file}")];
    lines.into_iter().chain(public).collect()
}

fn server(server: &PlannedServer) -> Vec<String> {
    // The words of roles and states are the ones that a plan is read by.
    let word = |value: serde_json::Value| value.to_string();
    let PlannedServer { name, role, state, outward, web, client_auth } = server;
    let mut lines = vec![
        "[[server]]".into(),
        format!("name = {name:?}"),
        format!("role = {}", word(serde_json::json!(role))),
        format!("state = {}", word(serde_json::json!(state))),
    ];
    for (key, names) in [("outward", outward), ("web", web)] {
        lines.extend((!names.is_empty()).then(|| format!("{key} = {}", word(serde_json::json!(names)))));
    }
    lines.extend(client_auth.then(|| "client-auth = true".into()));
    lines.push(String::new());
    lines
}

/// What was found, as comments. Names in it come from the network.
fn found(plan: &Plan, evidence: &Evidence) -> Vec<String> {
    let estate = Estate::learn(plan, evidence);
    let mut lines = vec![
        "# Found without logging on; nothing of it needs to be stated:".to_string(),
        format!("#   forest       {}", estate.forest.agreed().map_or("not told", String::as_str)),
    ];
    for (name, controller) in &estate.controllers {
        let addresses: Vec<_> = estate.addresses(name).map(|address| address.to_string()).collect();
        let addresses = if addresses.is_empty() { "no address".into() } else { addresses.join(", ") };
        let catalog = if controller.is_gc { ", global catalog" } else { "" };
        let root = if estate.time_root() == Some(name) { ", root of time" } else { "" };
        let site = controller.site.as_ref().map(|site| format!(", site {site}")).unwrap_or_default();
        lines.push(printable(&format!("#   controller   {name} ({addresses}){catalog}{root}{site}")).into_owned());
    }
    lines
}

/// The suffix of a UPN mostly is the domain's name; where it is not, DNS knows no controllers of it.
fn from_user(user: &str) -> Option<(String, String)> {
    let (_, suffix) = user.rsplit_once('@')?;
    Some((suffix.into(), "the user who logs on".into()))
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
