//! By which connectors mail goes out, from which servers, and which certificate each shows there as a client. What a server
//! shows as a client no port tells: it is known from a send log, or follows from an export of its certificates.

use crate::{
    facts::protocol_log::SendSession,
    model::{
        clocks::estate_now,
        estate::Estate,
        evidence::Evidence,
        finding::Subject,
        organisation::Told,
        selection::{Selected, Wanted, select},
        stock::{Stock, host_called, session_host},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
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
        let is_online = |name: &str| {
            let name = name.trim_end_matches('.').to_lowercase();
            name.ends_with("mail.protection.outlook.com") || name.ends_with(".mx.microsoft")
        };
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
        match all.get_mut(&row.name.to_lowercase()) {
            // The directory is of today.
            Some(known) if known.pin.is_read() => {}
            Some(known) => known.pin = pin,
            None => {
                let one = Outgoing {
                    name: row.name.clone(),
                    pin,
                    fqdn: row.fqdn.clone(),
                    sources: row.sources.iter().map(|name| host_called(name, estate)).collect(),
                    smart_hosts: row.smart_hosts.clone(),
                    address_spaces: row.address_spaces.clone(),
                    tls_domain: row.tls_domain.clone(),
                    is_enabled: row.is_enabled,
                    is_cloud: row.is_cloud,
                    is_proxied: row.is_proxied,
                };
                all.insert(row.name.to_lowercase(), one);
            }
        }
    }
    all.into_values().collect()
}

/// What one server shows as a client by one connector.
#[derive(Clone, Debug)]
pub struct Presented<'s> {
    /// The server.
    pub host: String,
    /// The last session of its send log by this connector in which it showed a certificate.
    pub logged: Option<&'s SendSession>,
    /// What Exchange's selection leads to, by what is known of its certificates.
    pub selected: Option<Selected<'s>>,
}

/// What each source server of a connector shows.
pub fn presented<'s>(
    connector: &Outgoing,
    stocks: &'s BTreeMap<String, Stock>,
    estate: &'s Estate,
    evidence: &Evidence,
) -> Vec<Presented<'s>> {
    let now = estate_now(estate, evidence);
    let of = |host: &String| {
        let wanted = Wanted { pin: connector.pin.value().map(String::as_str), fqdn: connector.fqdn.as_deref(), host };
        // Where nobody tells whether it names one, nothing follows.
        let stock = stocks.get(host).filter(|_| connector.pin.is_read());
        Presented {
            host: host.clone(),
            logged: last_session(&connector.name, host, estate),
            selected: stock.map(|stock| select(stock, &wanted, now)),
        }
    };
    connector.sources.iter().map(of).collect()
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
