//! Which certificates each server has, as far as anybody tells: an export has them all; the wire shows some, the send log and the
//! directory name others; and a rehearsal supposes one more.

use crate::{
    facts::{
        certificate::Certificate,
        distinguished::DistinguishedName,
        export::{ExportedCertificate, RootKind, Services},
        protocol_log::LoggedCertificate,
    },
    model::{
        certificates::{Certificates, Shown},
        estate::Estate,
        evidence::Evidence,
        listeners::Service,
        plan::{ServerRole, ServerState},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    string::String,
    vec::Vec,
};
use jiff::Timestamp;

/// The certificates of one server.
#[derive(Clone, Debug, Default)]
pub struct Stock {
    /// The server.
    pub host: String,
    /// These are all that it has: an export says so.
    pub is_whole: bool,
    /// By thumbprint.
    pub certificates: BTreeMap<String, Stocked>,
}

/// A certificate of a server, as far as its selection matters.
#[derive(Clone, Debug)]
pub struct Stocked {
    /// 40 hexadecimal digits in lower case.
    pub thumbprint: String,
    /// Whose it is.
    pub subject: DistinguishedName,
    /// Who signed it.
    pub issuer: DistinguishedName,
    /// Its alternative names, lower case.
    pub names: Vec<String>,
    /// From when on it is valid, if that is told.
    pub not_before: Option<Timestamp>,
    /// Until when it is valid, if that is told.
    pub not_after: Option<Timestamp>,
    /// It signed itself.
    pub is_self_signed: bool,
    /// The server holds its key.
    pub has_key: Option<bool>,
    /// It may be shown by SMTP.
    pub serves_smtp: Option<bool>,
    /// All that it is used for, where an export tells.
    pub services: Option<Services>,
    /// It is the internal transport certificate by the word of the directory.
    pub is_internal: bool,
    /// Where the server has its root, where an export tells.
    pub root: Option<RootKind>,
    /// What the server thinks of it, where an export tells: `Valid`, `Untrusted`.
    pub status: Option<String>,
    /// The whole certificate, where it is known.
    pub certificate: Option<Certificate>,
    /// Who tells of it.
    pub sources: BTreeSet<Source>,
}

/// Who tells of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// `Get-ExchangeCertificate`.
    Export,
    /// A port showed it.
    Wire,
    /// A send log names it.
    Log,
    /// The directory has it as the internal transport certificate.
    Directory,
    /// A rehearsal supposes it.
    Supposed,
}

impl Stocked {
    fn of(certificate: &Certificate) -> Self {
        Self {
            thumbprint: certificate.thumbprint.clone(),
            subject: DistinguishedName::of(&certificate.subject),
            issuer: DistinguishedName::of(&certificate.issuer),
            names: certificate.dns_names.clone(),
            not_before: Some(certificate.not_before),
            not_after: Some(certificate.not_after),
            is_self_signed: certificate.is_self_issued(),
            has_key: None,
            serves_smtp: None,
            services: None,
            is_internal: false,
            root: None,
            status: None,
            certificate: Some(certificate.clone()),
            sources: BTreeSet::new(),
        }
    }

    fn exported(row: &ExportedCertificate) -> Self {
        let parsed = row.der.as_ref().and_then(|der| Certificate::parse(&der.0).ok());
        let base = parsed.as_ref().map_or_else(
            || {
                let (subject, issuer) = (DistinguishedName::read(&row.subject), DistinguishedName::read(&row.issuer));
                Self {
                    thumbprint: row.thumbprint.clone(),
                    is_self_signed: row.is_self_signed.unwrap_or(subject == issuer),
                    subject,
                    issuer,
                    names: row.domains.clone(),
                    not_before: row.not_before,
                    not_after: row.not_after,
                    has_key: None,
                    serves_smtp: None,
                    services: None,
                    is_internal: false,
                    root: None,
                    status: None,
                    certificate: None,
                    sources: BTreeSet::new(),
                }
            },
            Self::of,
        );
        Self {
            has_key: row.has_private_key,
            serves_smtp: row.services.map(Services::smtp),
            services: row.services,
            root: row.root,
            status: row.status.clone(),
            ..base
        }
    }

    fn logged(row: &LoggedCertificate) -> Self {
        let (subject, issuer) = (DistinguishedName::read(&row.subject), DistinguishedName::read(&row.issuer));
        Self {
            thumbprint: row.thumbprint.clone(),
            is_self_signed: !row.issuer.is_empty() && subject == issuer,
            subject,
            issuer,
            names: row.names.clone(),
            not_before: row.not_before,
            not_after: row.not_after,
            has_key: Some(true),
            serves_smtp: None,
            services: None,
            is_internal: false,
            root: None,
            status: None,
            certificate: None,
            sources: BTreeSet::new(),
        }
    }

    /// The same certificate, told of twice: what one does not tell the other may.
    fn join(&mut self, other: Self) {
        if self.certificate.is_none() && other.certificate.is_some() {
            let certificate = other.certificate.as_ref().map(Self::of);
            if let Some(told) = certificate {
                let kept = core::mem::replace(self, told);
                self.take_settings(kept);
            }
        }
        self.take_settings(other);
    }

    fn take_settings(&mut self, other: Self) {
        self.has_key = self.has_key.or(other.has_key);
        self.services = self.services.or(other.services);
        // A port that shows it proves more than an export of yesterday.
        let is_shown = self.serves_smtp == Some(true) || other.serves_smtp == Some(true);
        self.serves_smtp = if is_shown { Some(true) } else { self.serves_smtp.or(other.serves_smtp) };
        self.is_internal |= other.is_internal;
        self.root = self.root.or(other.root);
        self.status = self.status.take().or(other.status);
        self.not_before = self.not_before.or(other.not_before);
        self.not_after = self.not_after.or(other.not_after);
        self.sources.extend(other.sources);
    }
}

impl Stock {
    fn add(&mut self, mut stocked: Stocked, source: Source) {
        stocked.sources.insert(source);
        match self.certificates.get_mut(&stocked.thumbprint) {
            Some(known) => known.join(stocked),
            None => drop(self.certificates.insert(stocked.thumbprint.clone(), stocked)),
        }
    }
}

/// The stocks of all servers that Exchange runs on, by host; and of those that exports name and nobody else.
pub fn stocks(estate: &Estate, evidence: &Evidence) -> Rc<BTreeMap<String, Stock>> {
    Rc::clone(estate.derived.stocks.get_or_init(|| Rc::new(take(estate, evidence))))
}

fn take(estate: &Estate, evidence: &Evidence) -> BTreeMap<String, Stock> {
    let mut stocks: BTreeMap<String, Stock> = BTreeMap::new();
    let of_exchange = estate
        .servers
        .values()
        .filter(|server| server.state == ServerState::Active && server.role != ServerRole::Gateway);
    for server in of_exchange {
        stocks.insert(server.name.clone(), Stock { host: server.name.clone(), ..Stock::default() });
    }
    let inputs = &estate.plan.inputs;
    for row in inputs.certificates.iter().flatten() {
        let host = host_called(&row.server, estate);
        let stock = stocks.entry(host.clone()).or_default();
        stock.host = host;
        stock.is_whole = true;
        stock.add(Stocked::exported(row), Source::Export);
    }
    let seen = Certificates::seen(estate, evidence);
    for shown in &seen.shown {
        if let Some(stock) = stocks.get_mut(&shown.listener.to.host) {
            stock.add(of_wire(&seen, shown), Source::Wire);
        }
    }
    for (host, server) in &estate.organisation.servers {
        let Some(Ok(der)) = server.internal_certificate.value() else { continue };
        if let Some((stock, certificate)) = stocks.get_mut(host).zip(Certificate::parse(der).ok()) {
            stock.add(Stocked { is_internal: true, ..Stocked::of(&certificate) }, Source::Directory);
        }
    }
    for session in inputs.send_log.iter().flatten() {
        let Some(sent) = &session.sent else { continue };
        if let Some(stock) = session_host(session, estate).and_then(|host| stocks.get_mut(&host)) {
            stock.add(Stocked::logged(sent), Source::Log);
        }
    }
    if let Some(supposed) = &inputs.supposed {
        let certificate = supposed.chain.first().and_then(|der| Certificate::parse(&der.0).ok());
        for stock in supposed.on.iter().filter_map(|host| stocks.remove(host)).collect::<Vec<_>>() {
            let mut stock = stock;
            stock.certificates.retain(|thumbprint, _| !supposed.removed.contains(thumbprint));
            if let Some(certificate) = &certificate {
                let has = Some(true);
                let new = Stocked { has_key: has, serves_smtp: has, ..Stocked::of(certificate) };
                stock.add(Stocked { is_internal: supposed.is_internal, ..new }, Source::Supposed);
            }
            stocks.insert(stock.host.clone(), stock);
        }
    }
    stocks
}

fn of_wire(seen: &Certificates, shown: &Shown) -> Stocked {
    let by_smtp = (shown.listener.service == Service::Smtp).then_some(true);
    Stocked { has_key: (!shown.disproven).then_some(true), serves_smtp: by_smtp, ..Stocked::of(seen.leaf(shown)) }
}

/// The host that an export or a person calls so: by its name in the directory, its full name, or the first part of it.
pub fn host_called(name: &str, estate: &Estate) -> String {
    let lower = name.trim().trim_end_matches('.').to_lowercase();
    if estate.servers.contains_key(&lower) {
        return lower;
    }
    if let Some((host, _)) = estate.organisation.server_called(&lower) {
        return host.clone();
    }
    let is_its = |host: &&String| host.split('.').next() == Some(&lower);
    let mut short = estate.servers.keys().filter(is_its);
    match (short.next(), short.next()) {
        (Some(host), None) => host.clone(),
        _ => lower,
    }
}

/// The host that made a session: whose log it is by the word of who gave it, else whose address it sent from.
pub fn session_host(session: &crate::facts::protocol_log::SendSession, estate: &Estate) -> Option<String> {
    if let Some(server) = &session.server {
        return Some(host_called(server, estate));
    }
    let local = session.local?;
    let mut holders = estate.servers.keys().filter(|host| estate.addresses(host).any(|address| address == local));
    let first = holders.next()?;
    holders.next().is_none().then(|| first.clone())
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;

    /// All certificates of one server, as an export has them.
    pub(crate) fn stock_of(rows: &[ExportedCertificate]) -> Stock {
        let mut stock = Stock { host: "ex01.contoso.com".into(), is_whole: true, ..Stock::default() };
        for row in rows {
            stock.add(Stocked::exported(row), Source::Export);
        }
        stock
    }
}
