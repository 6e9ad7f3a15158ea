//! Which certificates each server has, as far as anybody tells: an export has them all; the wire shows some, the send log and the
//! directory name others; and a rehearsal supposes one more.

use crate::{
    facts::{
        certificate::Certificate,
        distinguished::DistinguishedName,
        export::{ExportedCertificate, RootKind, Services},
        protocol_log::{LoggedCertificate, SendSession},
    },
    model::{
        certificates::{Certificates, Shown},
        estate::Estate,
        evidence::Evidence,
        inputs::Supposed,
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
    /// These are all that it has: an export says so, and nothing that was seen since contradicts it.
    pub is_whole: bool,
    /// There is an export, and something that it does not have was seen since.
    pub is_outdated: bool,
    /// By thumbprint.
    pub certificates: BTreeMap<String, Stocked>,
    /// Those that only a log names, where these are all that it has: it had them once. By thumbprint.
    pub gone: BTreeMap<String, Stocked>,
    /// Those that a rehearsal takes away.
    pub removed: Vec<Stocked>,
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
    /// Who trusts it.
    pub standing: Standing,
    /// The whole certificate, where it is known.
    pub certificate: Option<Certificate>,
    /// Who tells of it.
    pub sources: BTreeSet<Source>,
}

/// Who trusts a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// Everybody: it leads to a public root.
    Public,
    /// Those alone whom the company told to: it leads to a root of its own.
    Private,
    /// Nobody but by name: it signed itself.
    SelfSigned,
    /// What stands above it is not known.
    #[default]
    Untold,
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
    fn named(thumbprint: &str, subject: DistinguishedName, issuer: DistinguishedName) -> Self {
        Self {
            thumbprint: thumbprint.into(),
            is_self_signed: !subject.text.is_empty() && subject == issuer,
            subject,
            issuer,
            names: Vec::new(),
            not_before: None,
            not_after: None,
            has_key: None,
            serves_smtp: None,
            services: None,
            is_internal: false,
            root: None,
            status: None,
            standing: Standing::Untold,
            certificate: None,
            sources: BTreeSet::new(),
        }
    }

    fn of(certificate: &Certificate) -> Self {
        let name = DistinguishedName::of;
        Self {
            names: certificate.dns_names.clone(),
            not_before: Some(certificate.not_before),
            not_after: Some(certificate.not_after),
            is_self_signed: certificate.is_self_issued(),
            certificate: Some(certificate.clone()),
            ..Self::named(&certificate.thumbprint, name(&certificate.subject), name(&certificate.issuer))
        }
    }

    fn exported(row: &ExportedCertificate) -> Self {
        let parsed = row.der.as_ref().and_then(|der| Certificate::parse(&der.0).ok());
        let written = || {
            let name = DistinguishedName::read;
            let named = Self::named(&row.thumbprint, name(&row.subject), name(&row.issuer));
            let is_self_signed = row.is_self_signed.unwrap_or(named.is_self_signed);
            let (not_before, not_after) = (row.not_before, row.not_after);
            Self { is_self_signed, names: row.domains.clone(), not_before, not_after, ..named }
        };
        Self {
            has_key: row.has_private_key,
            serves_smtp: row.services.map(Services::smtp),
            services: row.services,
            root: row.root,
            status: row.status.clone(),
            ..parsed.as_ref().map_or_else(written, Self::of)
        }
    }

    fn logged(row: &LoggedCertificate) -> Self {
        let name = DistinguishedName::read;
        Self {
            names: row.names.clone(),
            not_before: row.not_before,
            not_after: row.not_after,
            has_key: Some(true),
            ..Self::named(&row.thumbprint, name(&row.subject), name(&row.issuer))
        }
    }

    /// Does only a log tell of it, so that it may be gone by now?
    pub fn is_only_logged(&self) -> bool {
        self.sources.iter().all(|source| *source == Source::Log)
    }

    /// Its subject, as people call it: by its common name, else whole.
    pub fn called(&self) -> &str {
        self.subject.common_name().unwrap_or(&self.subject.text)
    }

    /// The same certificate, told of twice: what one does not tell the other may. What the certificate itself says counts
    /// most, and where nobody has that, whoever says more.
    fn join(&mut self, other: Self) {
        let worth = |one: &Self| (one.certificate.is_some(), !one.subject.text.is_empty(), one.names.len());
        let (mut base, rest) = if worth(&other) > worth(self) { (other, self.clone()) } else { (self.clone(), other) };
        base.has_key = base.has_key.or(rest.has_key);
        base.services = base.services.or(rest.services);
        // A port that shows it proves more than an export of yesterday.
        let is_shown = base.serves_smtp == Some(true) || rest.serves_smtp == Some(true);
        base.serves_smtp = if is_shown { Some(true) } else { base.serves_smtp.or(rest.serves_smtp) };
        base.is_internal |= rest.is_internal;
        base.root = base.root.or(rest.root);
        base.status = base.status.take().or(rest.status);
        base.not_before = base.not_before.or(rest.not_before);
        base.not_after = base.not_after.or(rest.not_after);
        base.sources.extend(rest.sources);
        *self = base;
    }

    /// Who trusts it: by what is known of the certificates above it, else where Windows has its root (`RootCAType`). A root that
    /// was put there by hand may be anybody's.
    fn stand(&mut self, seen: &Certificates) {
        let by_chain = match &self.certificate {
            _ if self.is_self_signed => Standing::SelfSigned,
            Some(certificate) => seen.standing(certificate),
            None => seen.standing_below(&self.issuer),
        };
        let by_root = match self.root {
            Some(RootKind::ThirdParty) => Standing::Public,
            Some(RootKind::Enterprise | RootKind::GroupPolicy) => Standing::Private,
            Some(RootKind::SelfSigned) => Standing::SelfSigned,
            Some(RootKind::Registry) | None => Standing::Untold,
        };
        self.standing = match (by_chain, by_root) {
            (Standing::Untold, by_root) => by_root,
            // Windows has roots among its public ones that Mozilla does not have.
            (Standing::Private, Standing::Public) => Standing::Untold,
            (by_chain, _) => by_chain,
        };
    }
}

impl Stock {
    /// The certificate that a rehearsal supposes here.
    pub fn supposed(&self) -> Option<&Stocked> {
        self.certificates.values().find(|one| one.sources.contains(&Source::Supposed))
    }

    fn add(&mut self, mut stocked: Stocked, source: Source) {
        stocked.sources.insert(source);
        match self.certificates.get_mut(&stocked.thumbprint) {
            Some(known) => known.join(stocked),
            None => drop(self.certificates.insert(stocked.thumbprint.clone(), stocked)),
        }
    }

    /// An export is older than what was shown since, and than a certificate that went out and is younger than all that an authority
    /// has issued in it.
    fn find_outdated(&mut self) {
        let of_export = |one: &&Stocked| one.sources.contains(&Source::Export) && !one.is_self_signed;
        let latest = self.certificates.values().filter(of_export).filter_map(|one| one.not_before).max();
        let is_younger = |one: &Stocked| {
            let began = one.not_before.filter(|_| one.is_only_logged() && !one.is_self_signed);
            began.zip(latest).is_some_and(|(began, latest)| began > latest)
        };
        let is_newer = |one: &Stocked| is_shown_since(one) || is_younger(one);
        self.is_outdated = self.is_whole && self.certificates.values().any(is_newer);
        self.is_whole &= !self.is_outdated;
    }

    /// Where an export has all, what only a log names is no longer there: it neither is chosen nor competes.
    fn part_with_gone(&mut self) {
        if self.is_whole {
            let all = core::mem::take(&mut self.certificates);
            (self.gone, self.certificates) = all.into_iter().partition(|(_, one)| one.is_only_logged());
        }
    }

    /// What a rehearsal supposes: what was removed is gone, and the new one may be shown.
    fn suppose(&mut self, supposed: &Supposed) {
        let is_gone = |thumbprint: &String| supposed.removed.iter().any(|gone| gone.eq_ignore_ascii_case(thumbprint));
        let (removed, kept) =
            core::mem::take(&mut self.certificates).into_iter().partition(|(thumbprint, _)| is_gone(thumbprint));
        self.certificates = kept;
        let removed: BTreeMap<String, Stocked> = removed;
        self.removed.extend(removed.into_values());
        let Some(new) = supposed.chain.first().and_then(|der| Certificate::parse(&der.0).ok()) else { return };
        if supposed.is_internal {
            self.certificates.values_mut().for_each(|other| other.is_internal = false);
        }
        let new = Stocked {
            has_key: Some(true),
            serves_smtp: Some(!supposed.is_for_web_alone),
            is_internal: supposed.is_internal,
            ..Stocked::of(&new)
        };
        self.add(new, Source::Supposed);
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
        let hosts: BTreeSet<_> = supposed.on.iter().map(|host| host_called(host, estate)).collect();
        for (_, stock) in stocks.iter_mut().filter(|(host, _)| hosts.contains(*host)) {
            stock.suppose(supposed);
        }
    }
    for stock in stocks.values_mut() {
        stock.certificates.values_mut().for_each(|stocked| stocked.stand(&seen));
        stock.find_outdated();
        stock.part_with_gone();
    }
    stocks
}

/// What SMTP shows and the export does not have came after the export.
fn is_shown_since(one: &Stocked) -> bool {
    let is_told_by = |source| one.sources.contains(&source);
    let is_shown = is_told_by(Source::Wire) && one.serves_smtp == Some(true);
    is_shown && !is_told_by(Source::Export) && !is_told_by(Source::Supposed)
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
pub fn session_host(session: &SendSession, estate: &Estate) -> Option<String> {
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

#[cfg(test)]
mod tests {
    use super::{testing::stock_of, *};
    use alloc::{format, vec};

    #[test]
    fn what_only_a_log_names_is_gone_where_an_export_has_all() {
        let row = |number: u8| ExportedCertificate { thumbprint: hex::encode([number; 20]), ..Default::default() };
        let logged = LoggedCertificate { thumbprint: hex::encode([2; 20]), ..LoggedCertificate::default() };
        let mut stock = stock_of(&[row(1)]);
        stock.add(Stocked::logged(&logged), Source::Log);
        let mut partial = Stock { is_whole: false, ..stock.clone() };
        stock.part_with_gone();
        partial.part_with_gone();
        assert_eq!((stock.certificates.len(), stock.gone.len()), (1, 1));
        assert_eq!((partial.certificates.len(), partial.gone.len()), (2, 0), "what else it has nobody told");
        let removed = vec![hex::encode([1; 20])];
        stock.suppose(&Supposed { removed, ..Supposed::default() });
        assert_eq!((stock.certificates.len(), stock.removed.len()), (0, 1));
    }

    #[test]
    fn a_log_of_a_younger_certificate_makes_an_export_old() {
        let at = |day: &str| format!("2026-{day}T00:00:00Z").parse().ok();
        let row = ExportedCertificate {
            thumbprint: hex::encode([1; 20]),
            not_before: at("03-01"),
            ..ExportedCertificate::default()
        };
        for (began, is_outdated) in [(at("10-01"), true), (at("01-01"), false), (None, false)] {
            let mut stock = stock_of(core::slice::from_ref(&row));
            let logged = LoggedCertificate {
                thumbprint: hex::encode([2; 20]),
                subject: "CN=mail.contoso.com".into(),
                issuer: "CN=R11".into(),
                not_before: began,
                ..LoggedCertificate::default()
            };
            stock.add(Stocked::logged(&logged), Source::Log);
            stock.find_outdated();
            stock.part_with_gone();
            assert_eq!((stock.is_outdated, stock.gone.is_empty()), (is_outdated, is_outdated), "{began:?}");
        }
    }
}
