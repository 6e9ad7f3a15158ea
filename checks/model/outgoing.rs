//! By which connectors mail goes out, from which servers, and which certificate each shows there as a client. What a server
//! shows as a client no port tells: it is known from a send log, or follows from an export of its certificates.

mod commands;

pub use commands::{
    SYNC, enabled, fetched, holders, is_inside, listed, naming, of_exchange, of_windows, pin_to,
    remove_unless_internal, restarted, spelt_in_command, synchronised,
};

use crate::{
    facts::{
        connector::CertificateName,
        dns::{canonical_name, may_be_public},
        protocol_log::{LoggedCertificate, SendSession},
    },
    model::{
        clocks::estate_now,
        estate::Estate,
        evidence::Evidence,
        finding::Subject,
        hybrid::{is_exchange_online, tenant_changed},
        listeners::server_name,
        organisation::Told,
        plan::ServerState,
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
use core::net::IpAddr;

/// Bits of `msExchSmtpSendFlags`.
const CLOUD_SERVICES_MAIL: i64 = 131_072;
const FRONTEND_PROXY: i64 = 8192;

/// Where every tenant has its own domain (`contoso.onmicrosoft.com`, `contoso.mail.onmicrosoft.com`).
pub const TENANTS: &str = ".onmicrosoft.com";

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

    /// Does it lead to Exchange Online, its own tenant or another?
    pub fn is_to_exchange_online(&self) -> bool {
        // The TlsDomain that the wizard sets is the domain above all tenants itself.
        let is_online = |name: &str| is_exchange_online(name) || canonical_name(name) == "mail.protection.outlook.com";
        self.is_cloud
            || self.smart_hosts.iter().any(|host| is_online(host))
            || self.tls_domain.as_deref().is_some_and(is_online)
            // What a smart host of others does with it is their affair.
            || self.smart_hosts.is_empty() && self.domains().any(|domain| domain.ends_with(TENANTS))
    }

    /// The domains of its address spaces, without the `*.` that stands for all below.
    pub fn domains(&self) -> impl Iterator<Item = String> {
        self.address_spaces.iter().filter_map(|space| {
            let space = space.split(';').next()?;
            let domain = canonical_name(space.split_once(':').map_or(space, |(_, domain)| domain).trim());
            Some(domain.strip_prefix("*.").map_or_else(|| domain.clone(), ToString::to_string))
        })
    }

    /// Does mail leave the organisation by it? A fax gateway takes none, and a smart host of one's own is no stranger: a server of the
    /// estate, or one with a name or an address that only the company's own network knows.
    pub fn faces_outside(&self, estate: &Estate) -> bool {
        let is_smtp = |space: &String| space.split_once(':').is_none_or(|(kind, _)| kind.eq_ignore_ascii_case("smtp"));
        let carries_mail = self.address_spaces.is_empty() || self.address_spaces.iter().any(is_smtp);
        let is_outside = |host: &String| !is_own(host, estate);
        let leads_outside = self.smart_hosts.is_empty() || self.smart_hosts.iter().any(is_outside);
        self.is_to_exchange_online() || carries_mail && leads_outside
    }

    /// Does anybody look at what its servers show as clients? Exchange Online does; of others that is only known where the plan states
    /// that a peer demands a client's certificate.
    pub fn is_looked_at(&self, estate: &Estate) -> bool {
        let is_demanded = |host: &String| estate.servers.get(host).is_some_and(|server| server.client_auth);
        self.is_to_exchange_online() || self.sources.iter().any(is_demanded)
    }
}

/// Is a smart host one of the company's own?
fn is_own(host: &str, estate: &Estate) -> bool {
    let host = canonical_name(host.trim());
    let literal = host.trim_start_matches('[').trim_end_matches(']');
    match literal.strip_prefix("ipv6:").unwrap_or(literal).parse() {
        Ok(IpAddr::V4(address)) => address.is_private() || address.is_loopback() || address.is_link_local(),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
        Err(_) => {
            let mut domains = estate.forest.values().chain([&estate.plan.domain]);
            let is_below = |domain: &String| {
                !domain.is_empty()
                    && (host == *domain || host.strip_suffix(domain.as_str()).is_some_and(|below| below.ends_with('.')))
            };
            estate.servers.contains_key(&host) || !may_be_public(&host) || domains.any(is_below)
        }
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
    /// Is it stated to work? What does not sends nothing.
    pub state: ServerState,
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

    /// What is said of one that sends nothing now. `is_ready`: it has what the connector is to show.
    pub fn why_away(&self, is_ready: bool) -> String {
        match self.state {
            ServerState::Retired => "retired, as you stated; take it from the connector's sources".into(),
            _ if is_ready => "in maintenance, as you stated".into(),
            _ => "in maintenance, as you stated; before it returns, import there what the connector is to show".into(),
        }
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
            state: estate.servers.get(host).map(|server| server.state).unwrap_or_default(),
            loses_named: is_supposed && stock.is_some_and(|stock| stock.removed.iter().any(is_named)),
        }
    };
    connector.sources.iter().map(of).collect()
}

/// Those that send now, and those that are stated not to.
pub fn at_work<'p, 's>(presented: &'p [Presented<'s>]) -> (Vec<&'p Presented<'s>>, Vec<&'p Presented<'s>>) {
    presented.iter().partition(|one| one.state == ServerState::Active)
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

/// Is it stated not to work now, or not any more? Then it sends nothing, whatever it has.
pub fn is_away(host: &str, estate: &Estate) -> bool {
    estate.servers.get(host).is_some_and(|server| server.state != ServerState::Active)
}

/// Is it only in maintenance?
pub fn returns(host: &str, estate: &Estate) -> bool {
    estate.servers.get(host).is_some_and(|server| server.state == ServerState::Maintenance)
}

/// Does a rehearsal suppose something of this server?
pub fn is_supposed(host: &str, estate: &Estate) -> bool {
    let supposed = estate.plan.inputs.supposed.iter().flat_map(|supposed| &supposed.on);
    supposed.map(|name| host_called(name, estate)).any(|name| name == host)
}

/// Did a session stay inside, between two servers of the estate, or of transport with the front end that dials for it? What is
/// shown there nobody outside sees.
pub fn is_internal(session: &SendSession, estate: &Estate) -> bool {
    let is_own = |remote| estate.servers.keys().any(|host| estate.addresses(host).any(|address| address == remote));
    session.is_to_front_end || session.remote.is_some_and(is_own)
}

/// The last session of a host by a connector in which it showed a certificate to somebody outside.
fn last_session<'e>(connector: &str, host: &str, estate: &'e Estate) -> Option<&'e SendSession> {
    let sessions = estate.plan.inputs.send_log.iter().flatten();
    let is_its = |session: &&SendSession| {
        session.connector.eq_ignore_ascii_case(connector)
            && session.sent.is_some()
            && session_host(session, estate).as_deref() == Some(host)
            && !is_internal(session, estate)
    };
    sessions.filter(is_its).max_by_key(|session| session.when)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::connectors::testing::estate;

    #[test]
    fn what_leads_to_the_company_itself_does_not_face_outside() {
        let (estate, _) = estate(&[("EX01", "10.0.0.1")]);
        let faces = |smart_hosts: &[&str], spaces: &[&str]| {
            let all = |names: &[&str]| names.iter().map(|name| String::from(*name)).collect();
            let connector = Outgoing {
                name: "Out".into(),
                pin: Told::NotSet,
                fqdn: None,
                sources: BTreeSet::new(),
                smart_hosts: all(smart_hosts),
                address_spaces: all(spaces),
                tls_domain: None,
                is_enabled: true,
                is_cloud: false,
                is_proxied: false,
            };
            connector.faces_outside(&estate)
        };
        let outside = [&[][..], &["gateway.fabrikam.com"], &["[203.0.113.7]"], &["[10.1.2.3]", "gateway.fabrikam.com"]];
        assert!(outside.iter().all(|hosts| faces(hosts, &["SMTP:*;1"])));
        let own = [
            "[10.20.30.40]",
            "10.1.2.3",
            "[fd00::1]",
            "ex01.contoso.com",
            "sap01.contoso.com",
            "relay.corp.local",
            "relay",
        ];
        for host in own {
            assert!(!faces(&[host], &["SMTP:*;1"]), "{host}");
        }
        assert!(
            !faces(&["gateway.fabrikam.com"], &["FAX:*;1"]) && faces(&["gateway.fabrikam.com"], &["FAX:*;1", "*;1"])
        );
        assert!(faces(&["contoso-com.mail.protection.outlook.com"], &["FAX:*;1"]));
    }
}
