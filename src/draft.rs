//! Drafting a plan for a person to review: all that was stated, what was found as tables, and what need not be stated as
//! comments beside them.

use crate::render::escape::printable;
use exchange_preflight_checks::model::{
    accounts::host_of_url,
    estate::Estate,
    evidence::Evidence,
    informants::{Found, Holding, found},
    inputs::HybridPlan,
    organisation::{ExchangeServer, Organisation, ReceiveConnector, SendConnector, Told, VirtualDirectory, searches},
    plan::{ClockLimits, Logon, Plan, PlannedServer, ServerRole, SpnScope, StatedStore},
};
use std::collections::BTreeSet;

/// A plan in TOML.
pub fn draft(plan: &Plan, evidence: &Evidence) -> String {
    let estate = Estate::learn(plan, evidence);
    let mut lines = vec![
        format!("# A draft by exchange-preflight {}: review it, then", env!("CARGO_PKG_VERSION")),
        "#     exchange-preflight run --plan THIS_FILE".into(),
        String::new(),
        format!("domain = {:?}", plan.domain),
    ];
    lines.extend(stated(plan));
    lines.push(String::new());
    lines.extend(strangers(&estate));
    lines.extend(members(&estate, evidence));
    let ClockLimits { limit, warn } = plan.clock;
    if plan.clock != ClockLimits::default() {
        lines.extend([
            String::new(),
            "[clock]".into(),
            format!("limit = \"{limit:#}\""),
            format!("warn = \"{warn:#}\""),
        ]);
    }
    lines.extend(hybrid(&plan.hybrid));
    lines.extend(plan.logon.iter().flat_map(logon));
    lines.extend(plan.stores.iter().flat_map(store));
    lines.push(String::new());
    lines.extend(servers(&estate));
    // Names in all of it come from the network; none may end its line.
    let lines: Vec<_> = lines.iter().map(|line| printable(line)).collect();
    lines.join("\n") + "\n"
}

/// Why nothing is known of what only whoever has logged on is told; `None` where nobody wanted to, or something is.
pub fn untold(estate: &Estate, evidence: &Evidence) -> Option<String> {
    estate.plan.logon.as_ref()?;
    let Some(first) = estate.informants.first() else {
        return Some("no controller answered as one of the domain, so that nobody could log on".to_string());
    };
    match found(&searches::servers(first), Holding::Domain, estate, evidence) {
        Found::Missed(miss, at) => Some(format!("{at} told nothing to whoever logged on: {miss}")),
        Found::Nobody | Found::NotAsked => Some("nobody could log on to any controller".to_string()),
        Found::Told(..) => None,
    }
}

/// The keys before the first table.
fn stated(plan: &Plan) -> Vec<String> {
    let mut lines = Vec::new();
    lines.extend(plan.resolver.map(|resolver| format!("resolver = \"{resolver}\"")));
    lines.extend((plan.spn_scan == SpnScope::Forest).then(|| "spn-scan = \"forest\"".into()));
    lines.extend(plan.exchange_vantage.then(|| "exchange-vantage = true".into()));
    lines.extend(plan.deep.then(|| "deep = true".into()));
    lines.extend(plan.forbid_old_tls.then(|| "forbid-old-tls = true".into()));
    lines.extend(plan.outlive.map(|outlive| format!("outlive = \"{}h\"", outlive.as_hours())));
    for (key, checks) in [("only", &plan.selection.only), ("skip", &plan.selection.skip)] {
        let checks: Vec<_> = checks.iter().map(|check| format!("{check:?}")).collect();
        lines.extend((!checks.is_empty()).then(|| format!("{key} = [{}]", checks.join(", "))));
    }
    // One file may hold several kinds of rows.
    let mut files: Vec<_> =
        plan.inputs.files.iter().map(|file| toml::Value::from(file.name.as_str()).to_string()).collect();
    files.dedup();
    lines.extend((!files.is_empty()).then(|| format!("inputs = [{}]", files.join(", "))));
    lines
}

fn hybrid(hybrid: &HybridPlan) -> Vec<String> {
    let domains: Vec<_> = hybrid.sender_domains.iter().map(|domain| format!("{domain:?}")).collect();
    let egress: Vec<_> = hybrid.egress.iter().map(|address| format!("\"{address}\"")).collect();
    let keys = [("sender-domains", domains), ("egress", egress)].into_iter().filter(|(_, values)| !values.is_empty());
    let keys: Vec<_> = keys.map(|(key, values)| format!("{key} = [{}]", values.join(", "))).collect();
    let head = (!keys.is_empty()).then(|| [String::new(), "[hybrid]".into()]);
    head.into_iter().flatten().chain(keys).collect()
}

/// The password is asked for; no plan holds one.
fn logon(logon: &Logon) -> Vec<String> {
    let user = logon.user.as_ref().map(|user| format!("user = {}", toml::Value::from(user.as_str())));
    let lines = [String::new(), "[logon]".into()];
    lines.into_iter().chain(user).chain([format!("way = {:?}", logon.way.word())]).collect()
}

fn store(store: &StatedStore) -> Vec<String> {
    let StatedStore { name, file, public } = store;
    let file = toml::Value::from(file.as_str());
    let public = public.then(|| "public = true".into());
    let lines = [String::new(), "[[store]]".into(), format!("name = {name:?}"), format!("file = {file}")];
    lines.into_iter().chain(public).collect()
}

/// Those of the plan, and those that the directory knows.
fn servers(estate: &Estate) -> Vec<String> {
    let organisation = &estate.organisation;
    let mut lines = Vec::new();
    let is_read = !organisation.servers.is_empty();
    lines.push(if is_read {
        "# The directory knows these servers, so that none has to be stated; what is stated of one counts more."
            .to_string()
    } else {
        "# Exchange servers cannot be found without logging on (--user). State each that carries mail.".to_string()
    });
    for (host, planned) in &estate.servers {
        if let Some(known) = organisation.servers.get(host) {
            lines.push(format!("# {}", told_of(known)));
        }
        lines.extend(server(planned, &web_names(host, organisation)));
    }
    for (host, known) in organisation.servers.iter().filter(|(host, _)| !estate.servers.contains_key(*host)) {
        lines.push(format!("# {host} carries no mail: {}", told_of(known)));
    }
    if estate.servers.is_empty() {
        let name = format!("# name = \"ex01.{}\"", estate.plan.domain);
        lines.extend(["# [[server]]".into(), name, "# role = \"mailbox\"       # or edge, gateway".into()]);
    }
    lines
}

fn told_of(server: &ExchangeServer) -> String {
    let version = server.version.value().map(|(major, minor)| format!("version {major}.{minor}"));
    let roles = server.roles.value().map(|roles| format!("roles {roles}"));
    let site = server.site.as_ref().map(|site| format!("site {site}"));
    let only_prepared = server.is_only_provisioned().then(|| "only prepared, never installed".to_string());
    let told: Vec<_> = version.into_iter().chain(roles).chain(site).chain(only_prepared).collect();
    format!("{}: {}", server.name, told.join(", "))
}

/// The names in the internal URLs of a server's virtual directories, but for its own.
fn web_names(host: &str, organisation: &Organisation) -> Vec<String> {
    let of_host = organisation.virtual_directories.iter().filter(|directory| directory.host.as_deref() == Some(host));
    let names: BTreeSet<String> = of_host
        .filter_map(|directory| host_of_url(directory.internal_url.value()?))
        .filter(|name| name != host)
        .collect();
    names.into_iter().collect()
}

fn server(server: &PlannedServer, found: &[String]) -> Vec<String> {
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
    // Whether clients outside see it, nobody but its administrator knows.
    if web.is_empty() && !found.is_empty() {
        lines.push(format!(
            "# web = {}   # its internal URLs: judge its certificate by these names, and as clients see it",
            word(serde_json::json!(found))
        ));
    }
    if *role == ServerRole::Edge && outward.is_empty() {
        lines.push("# outward = [\"mail.contoso.com\"]   # names by which peers outside reach it: judge its certificate as the world does".into());
    }
    lines.extend(client_auth.then(|| "client-auth = true".into()));
    lines.push(String::new());
    lines
}

/// What anybody is told.
fn strangers(estate: &Estate) -> Vec<String> {
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
        lines.push(format!("#   controller   {name} ({addresses}){catalog}{root}{site}"));
    }
    lines
}

/// What whoever has logged on is told.
fn members(estate: &Estate, evidence: &Evidence) -> Vec<String> {
    if estate.plan.logon.is_none() {
        return Vec::new();
    }
    let told = &estate.organisation;
    if let Some(why) = untold(estate, evidence) {
        return vec![String::new(), format!("# {why}")];
    }
    let mut lines = vec![String::new(), "# Found by logging on; nothing of it needs to be stated either:".to_string()];
    let mut tell = |what: &str, value: String| lines.push(format!("#   {what:<12} {value}"));
    for (domain, netbios) in &told.domains {
        tell("domain", format!("{domain} ({netbios})"));
    }
    for site in &told.sites {
        tell("site", site.clone());
    }
    for (host, dsa) in &told.dsas {
        let read_only = if dsa.is_read_only { ", read-only" } else { "" };
        let catalog = if dsa.is_catalog { ", global catalog" } else { "" };
        let pdc = if told.pdc.as_ref() == Some(host) { ", PDC emulator" } else { "" };
        tell("controller", format!("{host} in site {}{catalog}{read_only}{pdc}", dsa.site));
    }
    for trust in &told.trusts {
        tell("trust", format!("{} ({})", trust.partner, direction(trust.direction)));
    }
    for connector in &told.receive_connectors {
        tell("receives", receives(connector));
    }
    for connector in &told.send_connectors {
        tell("sends", sends(connector));
    }
    for directory in &told.virtual_directories {
        tell("web", web(directory));
    }
    for domain in &told.accepted_domains {
        tell("accepts", domain.clone());
    }
    if let Some(hybrid) = &told.hybrid {
        let smart_host = hybrid.smart_host.as_deref().unwrap_or("no smart host");
        let (senders, receivers) = (hybrid.senders.join(", "), hybrid.receivers.join(", "));
        tell("hybrid", format!("{smart_host}, sent by {senders}, received by {receivers}"));
    }
    lines
}

/// `trustDirection` (MS-ADTS section 6.1.6.7.12).
fn direction(direction: i64) -> &'static str {
    match direction {
        1 => "it trusts us",
        2 => "we trust it",
        3 => "both ways",
        _ => "switched off",
    }
}

fn receives(connector: &ReceiveConnector) -> String {
    let ReceiveConnector { server, name, bindings, mechanisms, is_enabled, pin, .. } = connector;
    let bindings: Vec<_> = bindings.iter().map(ToString::to_string).collect();
    let mechanisms = mechanisms.value().map_or("mechanisms not shown".into(), |mechanisms| mechanisms.names());
    let off = if *is_enabled { "" } else { ", disabled" };
    let pin = if let Told::Is(pin) = pin { format!(", certificate {pin}") } else { String::new() };
    format!("{server}\\{name} at {}: {mechanisms}{off}{pin}", bindings.join(", "))
}

fn sends(connector: &SendConnector) -> String {
    let SendConnector { name, smart_hosts, address_spaces, sources, is_enabled, .. } = connector;
    let way = if smart_hosts.is_empty() { "by DNS".to_string() } else { format!("by {}", smart_hosts.join(", ")) };
    let off = if *is_enabled { "" } else { ", disabled" };
    format!("{name} to {} {way}, from {}{off}", address_spaces.join(", "), sources.join(", "))
}

fn web(directory: &VirtualDirectory) -> String {
    let url = directory.internal_url.value().map_or("no internal URL", String::as_str);
    let outside = directory.external_url.value().map(|url| format!(", outside {url}")).unwrap_or_default();
    format!("{}\\{}: {url}{outside}", directory.server, directory.name)
}
