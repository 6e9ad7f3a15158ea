//! By which connectors mail goes out, from which servers, and which certificate each shows there as a client. What a server
//! shows as a client no port tells: it is known from a send log, or follows from an export of its certificates.

use crate::{
    facts::{
        connector::CertificateName,
        dns::{canonical_name, is_host_name},
        protocol_log::{LoggedCertificate, SendSession},
    },
    model::{
        clocks::estate_now,
        connectors::in_command,
        estate::Estate,
        evidence::Evidence,
        finding::Subject,
        hybrid::{is_exchange_online, tenant_changed},
        listeners::server_name,
        organisation::Told,
        selection::{Selected, Wanted, select},
        stock::{Stock, Stocked, host_called, session_host},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

/// Bits of `msExchSmtpSendFlags`.
const CLOUD_SERVICES_MAIL: i64 = 131_072;
const FRONTEND_PROXY: i64 = 8192;

/// A send connector, as the directory has it or an export.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// What it is called.
    pub name: String,
    /// TlsCertificateName.
    pub pin: Told<String>,
    /// The name that it says in EHLO.
    pub fqdn: Option<String>,
    /// The hosts that use it.
    pub sources: BTreeSet<String>,
    /// Smart hosts, lower case; none where it looks the way up in DNS.
    pub smart_hosts: Vec<String>,
    /// `SMTP:*;1`
    pub address_spaces: Vec<String>,
    /// The name that the other end must prove.
    pub tls_domain: Option<String>,
    /// It is in service.
    pub is_enabled: bool,
    /// `CloudServicesMailEnabled`: headers of the organisation go along to Exchange Online.
    pub is_cloud: bool,
    /// The front end dials for it.
    pub is_proxied: bool,
}

impl Outgoing {
    /// What findings about it name.
    pub fn subject(&self) -> Subject {
        Subject::Configured("send connector".into(), self.name.clone())
    }

    /// Does it lead to Exchange Online?
    pub fn is_to_exchange_online(&self) -> bool {
        // The TlsDomain that the wizard sets is the domain above all tenants itself.
        let is_online = |name: &str| is_exchange_online(name) || canonical_name(name) == "mail.protection.outlook.com";
        let is_tenant = |space: &String| space.to_lowercase().contains(".mail.onmicrosoft.com");
        self.is_cloud
            || self.smart_hosts.iter().any(|host| is_online(host))
            || self.tls_domain.as_deref().is_some_and(is_online)
            || self.address_spaces.iter().any(is_tenant)
    }

    /// Does mail leave the organisation by it? A smart host of one's own is no stranger, if DNS knows it as a server of the estate.
    pub fn faces_outside(&self, estate: &Estate) -> bool {
        let is_own = |host: &String| estate.servers.contains_key(host);
        self.is_to_exchange_online() || self.smart_hosts.is_empty() || !self.smart_hosts.iter().all(is_own)
    }
}

/// All send connectors: the directory's, and those that only an export tells. What one does not tell the other may.
pub fn outgoing(estate: &Estate) -> Vec<Outgoing> {
    let mut all: BTreeMap<String, Outgoing> = BTreeMap::new();
    for connector in &estate.organisation.send_connectors {
        let lower = |names: &[String]| names.iter().map(|name| name.to_lowercase()).collect();
        let one = Outgoing {
            name: connector.name.clone(),
            pin: connector.pin.clone(),
            fqdn: connector.fqdn.clone(),
            sources: connector.sources.iter().map(|name| host_called(name, estate)).collect(),
            smart_hosts: lower(&connector.smart_hosts),
            address_spaces: connector.address_spaces.clone(),
            tls_domain: connector.tls_domain.clone(),
            is_enabled: connector.is_enabled,
            is_cloud: connector.flags & CLOUD_SERVICES_MAIL != 0,
            is_proxied: connector.flags & FRONTEND_PROXY != 0,
        };
        all.insert(connector.name.to_lowercase(), one);
    }
    for row in estate.plan.inputs.send_connectors.iter().flatten() {
        let pin = row.pin.clone().map_or(Told::NotSet, Told::Is);
        let sources = || row.sources.iter().map(|name| host_called(name, estate)).collect();
        let Some(known) = all.get_mut(&row.name.to_lowercase()) else {
            let one = Outgoing {
                name: row.name.clone(),
                pin,
                fqdn: row.fqdn.clone(),
                sources: sources(),
                smart_hosts: row.smart_hosts.clone(),
                address_spaces: row.address_spaces.clone(),
                tls_domain: row.tls_domain.clone(),
                is_enabled: row.is_enabled,
                is_cloud: row.is_cloud,
                is_proxied: row.is_proxied,
            };
            all.insert(row.name.to_lowercase(), one);
            continue;
        };
        // The directory is of today; what it does not show to this user, the export may.
        if !known.pin.is_read() {
            known.pin = pin;
        }
        known.fqdn = known.fqdn.take().or_else(|| row.fqdn.clone());
        if known.sources.is_empty() {
            known.sources = sources();
        }
    }
    all.into_values().collect()
}

/// What one server shows as a client by one connector.
#[derive(Clone, Debug)]
pub struct Presented<'s> {
    /// The server.
    pub host: String,
    /// The certificates that it has, as far as anybody tells.
    pub stock: Option<&'s Stock>,
    /// The last session of its send log by this connector in which it showed a certificate, if it still tells what it shows.
    pub logged: Option<&'s SendSession>,
    /// The same, where what it showed there is not what it has today: its export has that no longer, or has one which is to be
    /// shown and has begun to live since.
    pub stale: Option<&'s SendSession>,
    /// The tenant's connectors have been changed since its log was written, so that a refusal may be of the past.
    pub is_answer_stale: bool,
    /// What Exchange's selection leads to, by what is known of its certificates.
    pub selected: Option<Selected<'s>>,
    /// A rehearsal supposes something of it.
    pub is_supposed: bool,
    /// And that one is gone which the connector names.
    pub loses_named: bool,
}

impl<'s> Presented<'s> {
    /// Does an export, a log or a supposition tell what it shows? Its ports alone do not.
    pub fn is_told(&self) -> bool {
        self.logged.is_some() || self.selected.is_some() && self.is_chosen_from_all()
    }

    /// Is enough known of its certificates to say which is chosen, and not only which was shown once?
    pub fn is_chosen_from_all(&self) -> bool {
        self.is_supposed || self.stock.is_some_and(|stock| stock.is_whole)
    }

    /// What its log shows, as its stock has it.
    pub fn was_shown(&self) -> Option<&'s Stocked> {
        self.stock?.certificates.get(&self.logged?.sent.as_ref()?.thumbprint)
    }

    /// What its log has to say beside, where that is out of date; nothing otherwise.
    pub fn stale_words(&self) -> String {
        self.stale.map_or_else(String::new, |session| {
            let day = session.when.strftime("%Y-%m-%d");
            format!(" (its log, of {day}, is older)")
        })
    }

    /// What it shows: what its log shows, else what follows from all of its certificates.
    pub fn shows(&self) -> Option<&'s Stocked> {
        let chosen = || self.selected.as_ref().filter(|_| self.is_chosen_from_all()).and_then(Selected::one);
        self.was_shown().or_else(chosen)
    }

    /// Why nothing is known of what it shows.
    pub fn why_untold(&self) -> String {
        match self.stock {
            Some(stock) if self.selected.is_none() && stock.is_whole => {
                "whether the connector names a certificate is not shown to this user".into()
            }
            Some(stock) if stock.is_outdated => "what it shows by SMTP is not in its export, which is older".into(),
            _ => "there is no export, and no log of this connector".into(),
        }
    }
}

/// What each source server of a connector shows. Of a server for which a rehearsal supposes something, no log tells any more.
pub fn presented<'s>(
    connector: &Outgoing,
    stocks: &'s BTreeMap<String, Stock>,
    estate: &'s Estate,
    evidence: &Evidence,
) -> Vec<Presented<'s>> {
    let now = estate_now(estate, evidence);
    let pin = connector.pin.value().and_then(|pin| CertificateName::read(pin));
    let is_named = |one: &Stocked| pin.as_ref().is_some_and(|pin| pin.fits(&one.subject, &one.issuer));
    let is_before_change = |session: &SendSession| tenant_changed(session.when, estate).is_some();
    let of = |host: &String| {
        let wanted = Wanted { pin: connector.pin.value().map(String::as_str), fqdn: connector.fqdn.as_deref(), host };
        let (stock, is_supposed) = (stocks.get(host), is_supposed(host, estate));
        // Where nobody tells whether it names one, nothing follows.
        let selected = stock.filter(|_| connector.pin.is_read()).map(|stock| select(stock, &wanted, now));
        let last = last_session(&connector.name, host, estate).filter(|_| !is_supposed);
        let (stale, logged) = match last {
            Some(session) if is_stale(session, stock, selected.as_ref()) => (Some(session), None),
            last => (None, last),
        };
        Presented {
            host: host.clone(),
            stock,
            logged,
            stale,
            is_answer_stale: connector.is_to_exchange_online() && last.is_some_and(is_before_change),
            selected,
            is_supposed,
            loses_named: is_supposed && stock.is_some_and(|stock| stock.removed.iter().any(is_named)),
        }
    };
    connector.sources.iter().map(of).collect()
}

/// Is it of the past what was shown there?
fn is_stale(session: &SendSession, stock: Option<&Stock>, selected: Option<&Selected<'_>>) -> bool {
    let is_gone = |sent: &LoggedCertificate| stock.is_some_and(|stock| stock.gone.contains_key(&sent.thumbprint));
    session.sent.as_ref().is_some_and(is_gone) || successor(session, selected).is_some()
}

/// The certificate that is surely shown now, if that is another than this session's, and has begun to live since.
pub fn successor<'s>(session: &SendSession, selected: Option<&Selected<'s>>) -> Option<&'s Stocked> {
    let shown = selected.and_then(Selected::sure)?;
    let is_another = session.sent.as_ref().is_none_or(|sent| sent.thumbprint != shown.thumbprint);
    let is_younger = shown.not_before.is_some_and(|begin| begin > session.when);
    (is_another && is_younger).then_some(shown)
}

/// What is said of servers, each thing once: `ex01.contoso.com, ex02.contoso.com: what both show; ex03.contoso.com: ...`.
pub fn together<'a>(told: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let mut groups: Vec<(Vec<&str>, String)> = Vec::new();
    for (host, said) in told {
        match groups.iter_mut().find(|(_, known)| *known == said) {
            Some((hosts, _)) => hosts.push(host),
            None => groups.push((vec![host], said)),
        }
    }
    let each = groups.iter().map(|(hosts, said)| format!("{}: {said}", hosts.join(", ")));
    each.collect::<Vec<_>>().join("; ")
}

/// How to learn what source servers show, where nobody told.
pub fn how_to_tell(untold: &[&Presented<'_>], estate: &Estate) -> Vec<String> {
    let servers: Vec<_> = untold.iter().map(|one| server_name(&one.host)).collect();
    let servers = servers.join(", ");
    let export = format!(
        "Give an export of its certificates ({servers}) by --input; exchange-preflight explain inputs has the command."
    );
    [export].into_iter().chain(mend_spelling(estate)).collect()
}

/// Servers of which a file tells (`EX99=certificates.json`, a column Server) and nobody else: neither plan nor directory, nor is it a
/// source of a connector. The name is misspelt, or the server is an Edge or one of elsewhere.
pub fn strangers(estate: &Estate) -> BTreeSet<String> {
    let inputs = &estate.plan.inputs;
    let of_exports = inputs.certificates.iter().flatten().map(|row| &row.server);
    let of_logs = inputs.send_log.iter().flatten().filter_map(|session| session.server.as_ref());
    let named: BTreeSet<_> = of_exports.chain(of_logs).collect();
    let mut hosts: BTreeSet<_> = named.into_iter().map(|name| host_called(name, estate)).collect();
    hosts.retain(|host| !estate.servers.contains_key(host) && !estate.organisation.servers.contains_key(host));
    if !hosts.is_empty() {
        let sources: BTreeSet<_> = outgoing(estate).into_iter().flat_map(|connector| connector.sources).collect();
        hosts.retain(|host| !sources.contains(host));
    }
    hosts
}

/// What to do where something of a server is missing, and a file tells of one that nobody knows.
pub fn mend_spelling(estate: &Estate) -> Option<String> {
    let strangers: Vec<_> = strangers(estate).into_iter().collect();
    (!strangers.is_empty()).then(|| {
        format!(
            "What was given tells of {} too, which neither the plan has nor the directory, as far as that was read. If it is one of \
             these, spell it so (--input <SERVER>=<FILE>); if not, add it to the plan.",
            strangers.join(", ")
        )
    })
}

/// Lets a send connector show this certificate, and its source servers take that up.
pub fn pin_to(connector: &Outgoing, host: &str, thumbprint: &str) -> Vec<String> {
    let (name, server) = (in_command(&connector.name), spelt_in_command(host));
    let services =
        if connector.is_proxied { "MSExchangeTransport,MSExchangeFrontEndTransport" } else { "MSExchangeTransport" };
    let restart =
        |host: &String| format!("    Invoke-Command {} {{ Restart-Service {services} }}", spelt_in_command(host));
    let pin = format!(
        "    $c = Get-ExchangeCertificate -Server {server} {thumbprint}; Set-SendConnector {name} -TlsCertificateName \"<I>$($c.Issuer)<S>$($c.Subject)\""
    );
    [pin, "Every source server has to have that certificate. Once controllers have replicated:".to_string()]
        .into_iter()
        .chain(connector.sources.iter().map(restart))
        .collect()
}

/// Removes a certificate of a server, unless servers of the organisation know the server by it.
pub fn remove_unless_internal(
    host: &str,
    thumbprint: &str,
    stocks: &BTreeMap<String, Stock>,
    estate: &Estate,
) -> Vec<String> {
    let is_internal =
        stocks.get(host).and_then(|stock| stock.certificates.get(thumbprint)).is_some_and(|one| one.is_internal);
    if is_internal {
        return vec![format!("{thumbprint} is the internal transport certificate of {host}: leave it there.")];
    }
    let is_known = estate
        .organisation
        .servers
        .get(host)
        .is_some_and(|server| matches!(server.internal_certificate.value(), Some(Ok(_))));
    let server = spelt_in_command(host);
    let remove = format!("    Remove-ExchangeCertificate -Server {server} -Thumbprint {thumbprint}");
    if is_known {
        return vec![remove];
    }
    vec![
        format!(
            "Unless it is the internal transport certificate of {server}, which certificate-internal tells a user of the domain:"
        ),
        remove,
    ]
}

/// A host as a command takes it. What is no name is left for the reader to fill in.
pub fn spelt_in_command(host: &str) -> &str {
    if is_host_name(host) && host.parse::<core::net::IpAddr>().is_err() { host } else { "<SERVER>" }
}

/// Does a rehearsal suppose something of this server?
pub fn is_supposed(host: &str, estate: &Estate) -> bool {
    let supposed = estate.plan.inputs.supposed.iter().flat_map(|supposed| &supposed.on);
    supposed.map(|name| host_called(name, estate)).any(|name| name == host)
}

/// The last session of a host by a connector in which it showed a certificate.
fn last_session<'e>(connector: &str, host: &str, estate: &'e Estate) -> Option<&'e SendSession> {
    let sessions = estate.plan.inputs.send_log.iter().flatten();
    let is_its = |session: &&SendSession| {
        session.connector.eq_ignore_ascii_case(connector)
            && session.sent.is_some()
            && session_host(session, estate).as_deref() == Some(host)
    };
    sessions.filter(is_its).max_by_key(|session| session.when)
}
