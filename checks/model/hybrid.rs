//! Mail from the servers to Exchange Online: by which connectors it goes, what each server shows there as a client, and by which
//! inbound connector of the tenant it is known again.
//!
//! Exchange Online attributes a session to a tenant by the certificate's domain, then by the domain of MAIL FROM, then by that
//! of RCPT TO (MC1226222); where none leads to the tenant it answers `550 5.7.64 TenantAttribution`.

use crate::{
    facts::{
        connector::CertificateName,
        distinguished::DistinguishedName,
        dns::{canonical_name, is_host_name},
        export::{AcceptedDomain, InboundConnector},
        protocol_log::{LoggedCertificate, SendSession},
    },
    model::{
        estate::{Derived, Estate},
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        informants::are_settled,
        listeners::quote,
        meta::Meta,
        organisation::{SearchOf, Told, searches},
        outgoing::{Outgoing, Presented, TENANTS, is_internal, outgoing, presented, successor},
        selection::{By, Choice, Selected},
        stock::{Source, Stock, Stocked, session_host, stocks},
    },
};
use alloc::{
    boxed::Box,
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use jiff::Timestamp;

/// A connector by which mail goes to Exchange Online, and the servers that use it.
#[derive(Clone, Debug)]
pub struct Route<'e> {
    /// The connector, as the directory has it, an export, or only a log.
    pub connector: Outgoing,
    /// Its source servers.
    pub senders: Vec<Sender<'e>>,
    /// Where it leads.
    pub tenant: Tenant,
    /// Neither the directory nor an export has it.
    pub is_logged_alone: bool,
}

/// Whose part of Exchange Online a connector leads to. Partners have theirs there as well, and their connectors are none of the
/// exported tenant's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tenant {
    /// The organisation's own: the one that was exported, if any was.
    Own,
    /// Another one, as far as is told.
    Another,
    /// Nobody tells.
    Untold,
}

/// A server that sends by a connector.
#[derive(Clone, Debug)]
pub struct Sender<'e> {
    /// The server; where a log names none, the address from which it sent.
    pub host: String,
    /// It is named as the server, and not only found by an address.
    pub is_named: bool,
    /// What findings about it name.
    pub subject: Subject,
    /// Its logged sessions by this connector, the oldest first.
    pub sessions: Vec<&'e SendSession>,
    /// Where it has none, but hands all over to a front end whose log nobody gave: its sessions with that, the oldest first.
    pub handed_on: Vec<&'e SendSession>,
    /// What it shows there as a client.
    pub shows: Shows,
    /// What was changed after its newest session, so that this tells nothing sure of today.
    pub since: Option<Since>,
    /// Which one of its certificates Exchange selects, where nothing is left open.
    pub selected: Option<Client>,
    /// Every certificate that it is known to have.
    pub stock: Vec<Client>,
}

/// What a server shows as a client.
#[derive(Clone, Debug)]
pub enum Shows {
    /// Nobody tells.
    Untold,
    /// None of its certificates fits what its connector asks for.
    Nothing,
    /// This one; of several, whichever Exchange comes upon first.
    These(Vec<Client>, Teller),
}

/// What was changed after a session.
#[derive(Clone, Debug)]
pub enum Since {
    /// The certificate: this one is selected now, and began later.
    Certificate(Box<Client>),
    /// An inbound connector of the tenant, at this time.
    Connector(Timestamp),
}

/// Who tells what a server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Teller {
    /// A session of its log.
    Log(Timestamp),
    /// Exchange's selection among its certificates.
    Selection,
}

/// A certificate that is shown by a client, as far as that matters to who sees it.
#[derive(Clone, Debug)]
pub struct Client {
    /// 40 hexadecimal digits in lower case.
    pub thumbprint: String,
    /// Whose it is.
    pub subject: DistinguishedName,
    /// Who signed it.
    pub issuer: DistinguishedName,
    /// Its names, the common name first; lower case. None where a log has kept only the thumbprint.
    pub names: Vec<String>,
    /// From when on it is valid, if that is told.
    pub not_before: Option<Timestamp>,
    /// Until when it is valid, if that is told.
    pub not_after: Option<Timestamp>,
    /// It signed itself.
    pub is_self_signed: bool,
}

impl Client {
    fn new(subject: DistinguishedName, issuer: DistinguishedName, alternative: &[String]) -> Self {
        let common = subject.common_name().map(canonical_name).filter(|name| is_pattern(name));
        let mut names: Vec<String> = common.into_iter().collect();
        for name in alternative.iter().map(|name| canonical_name(name)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let is_self_signed = !issuer.text.is_empty() && subject == issuer;
        let thumbprint = String::new();
        Self { thumbprint, subject, issuer, names, not_before: None, not_after: None, is_self_signed }
    }

    fn stocked(one: &Stocked) -> Self {
        Self {
            thumbprint: one.thumbprint.clone(),
            not_before: one.not_before,
            not_after: one.not_after,
            is_self_signed: one.is_self_signed,
            ..Self::new(one.subject.clone(), one.issuer.clone(), &one.names)
        }
    }

    fn logged(row: &LoggedCertificate) -> Self {
        let name = |text: &str| DistinguishedName::read(text);
        Self {
            thumbprint: row.thumbprint.clone(),
            not_before: row.not_before,
            not_after: row.not_after,
            ..Self::new(name(&row.subject), name(&row.issuer), &row.names)
        }
    }

    /// The name by which it is best known, where it has one.
    pub fn name(&self) -> Option<&str> {
        self.names.first().map(String::as_str)
    }
}

/// How the names of a certificate fit what an inbound connector asks for. The later, the better.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// Not at all.
    No,
    /// Only if a wildcard stood for more than one label, or for none: this name.
    TooDeep(String),
    /// By a wildcard of the certificate, where the connector has a plain name: this wildcard.
    ItsWildcard(String),
    /// Exactly: the name of the certificate.
    Yes(String),
}

/// How these names fit a `TlsSenderCertificateName`: a domain, perhaps with a leading `*.` for one label (Set-InboundConnector).
pub fn fit(pattern: &str, names: &[String]) -> Fit {
    let of_name = |name: &String| -> Fit {
        if name == pattern {
            return Fit::Yes(name.clone());
        }
        match (pattern.strip_prefix("*."), name.strip_prefix("*.")) {
            (Some(domain), None) if is_right_below(name, domain) => Fit::Yes(name.clone()),
            (Some(domain), None) if is_at_or_below(name, domain) => Fit::TooDeep(name.clone()),
            (None, Some(domain)) if is_right_below(pattern, domain) => Fit::ItsWildcard(name.clone()),
            (None, Some(domain)) if is_at_or_below(pattern, domain) => Fit::TooDeep(name.clone()),
            _ => Fit::No,
        }
    };
    names.iter().map(of_name).max().unwrap_or(Fit::No)
}

fn is_right_below(name: &str, domain: &str) -> bool {
    name.split_once('.').is_some_and(|(_, parent)| parent == domain)
}

fn is_at_or_below(name: &str, domain: &str) -> bool {
    name == domain || name.strip_suffix(domain).is_some_and(|below| below.ends_with('.'))
}

/// Is it a name of a host or a domain, perhaps with a leading `*.`, so that it can stand in a command?
pub fn is_pattern(name: &str) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    name.contains('.') && is_host_name(name)
}

/// Is this name, or a domain above it, one that the tenant accepts mail for?
pub fn is_accepted<'a>(name: &str, accepted: impl IntoIterator<Item = &'a AcceptedDomain>) -> bool {
    let name = name.strip_prefix("*.").unwrap_or(name);
    accepted.into_iter().any(|domain| is_at_or_below(name, domain.name.strip_prefix("*.").unwrap_or(&domain.name)))
}

/// The connectors of the tenant by which mail of the organisation itself comes in.
pub fn inbound(estate: &Estate) -> impl Iterator<Item = &InboundConnector> {
    let all = estate.plan.inputs.inbound.iter().flatten();
    all.filter(|connector| connector.is_enabled && connector.is_on_premises)
}

/// When an inbound connector of the tenant was last changed, if that was after this: what the tenant answered until then may be of the past.
pub fn tenant_changed(when: Timestamp, estate: &Estate) -> Option<Timestamp> {
    inbound(estate).filter_map(|connector| connector.changed).max().filter(|changed| *changed > when)
}

/// How a certificate fits the inbound connector that it fits best; `None` where none of them names a certificate.
pub fn best_fit<'e>(client: &Client, estate: &'e Estate) -> Option<(Fit, &'e InboundConnector)> {
    let fits = inbound(estate).filter_map(|connector| {
        let pattern = canonical_name(connector.certificate_name.as_ref()?);
        Some((fit(&pattern, &client.names), connector))
    });
    fits.reduce(|best, other| if other.0 > best.0 { other } else { best })
}

/// Does Exchange Online know the sender by this certificate, as far as its connectors tell?
pub fn is_known_by(client: &Client, estate: &Estate) -> Option<bool> {
    best_fit(client, estate).map(|(fit, _)| matches!(fit, Fit::Yes(_)))
}

/// What findings about an inbound connector name.
pub fn inbound_subject(connector: &InboundConnector) -> Subject {
    Subject::Configured("inbound connector".into(), connector.name.clone())
}

/// What a server at the other end calls itself, or a connector is told to reach: is it Exchange Online?
pub fn is_exchange_online(name: &str) -> bool {
    let name = canonical_name(name);
    [".mail.protection.outlook.com", ".mx.microsoft"].iter().any(|domain| name.ends_with(domain))
}

/// How a session was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// `ATTR36`: neither the certificate's domain nor the sender's is one of the tenant's (KB 4019940).
    Domain,
    /// `550 5.7.64`: whose mail it is, is not known.
    Attribution,
    /// `UntrustedRoot` and its like: the certificate is not taken.
    Certificate,
}

impl Refusal {
    /// What a line of a log says.
    pub fn of(text: &str) -> Option<Self> {
        let text = text.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if says(&["attr36", "att36"]) {
            Some(Self::Domain)
        } else if says(&["5.7.64", "tenantattribution"]) {
            Some(Self::Attribution)
        } else if says(&["untrustedroot", "certificateexpired", "chainbuildfailed", "revoked", "4.7.5"]) {
            Some(Self::Certificate)
        } else {
            None
        }
    }
}

/// The first refusal of a session that says anything, with its words.
pub fn refusal(session: &SendSession) -> Option<(Refusal, &str)> {
    let all = session.refusals.iter().filter_map(|text| Some((Refusal::of(text)?, text.as_str())));
    all.min_by_key(|(refusal, _)| *refusal)
}

impl Sender<'_> {
    /// Its newest session, if that was refused, and nothing that matters was changed since.
    pub fn refused(&self) -> Option<(Refusal, &str)> {
        if self.since.is_some() {
            return None;
        }
        refusal(self.sessions.last()?)
    }

    /// It shows what its log has, and the tenant's connectors were changed after that: whether both still belong together is not
    /// known, since the Hybrid Configuration Wizard changes both.
    pub fn is_of_before(&self, estate: &Estate) -> bool {
        matches!(self.shows, Shows::These(_, Teller::Log(when)) if tenant_changed(when, estate).is_some())
    }
}

impl Route<'_> {
    /// The newest session of a server by it was refused.
    pub fn refused(&self) -> Option<(Refusal, &str)> {
        self.senders.iter().filter_map(Sender::refused).min_by_key(|(refusal, _)| *refusal)
    }

    /// And that because Exchange Online did not know whose mail it was.
    pub fn refused_as_unknown(&self) -> Option<&str> {
        let (refusal, said) = self.refused()?;
        matches!(refusal, Refusal::Domain | Refusal::Attribution).then_some(said)
    }

    /// Every certificate that was ever shown by it is one that the tenant asks for, as far as logs tell.
    fn fits_whole(&self, estate: &Estate) -> bool {
        let sessions = self.senders.iter().flat_map(|sender| &sender.sessions);
        let mut sent = sessions.filter_map(|session| session.sent.as_ref()).map(Client::logged);
        sent.all(|client| is_known_by(&client, estate) == Some(true))
    }
}

/// Is it known that there is a hybrid organisation, or that mail goes to Exchange Online?
pub fn is_known(estate: &Estate, evidence: &Evidence) -> bool {
    estate.organisation.hybrid.is_some()
        || !estate.plan.hybrid.is_empty()
        || inbound(estate).next().is_some()
        || !routes(estate, evidence).is_empty()
}

/// What tells of it in the directory.
pub const SEARCHES: [SearchOf; 3] = [searches::servers, searches::send_connectors, searches::names];

/// Has the directory told all that it will? Before, connectors may change whose they are.
pub fn is_settled(estate: &Estate, evidence: &Evidence) -> bool {
    estate.plan.logon.is_none() || are_settled(&SEARCHES, estate, evidence)
}

/// Why a check of what is sent to Exchange Online has nothing to judge, if it has not. It rests on this file of the tenant's.
pub fn nothing_to_judge(
    meta: &'static Meta,
    is_given: bool,
    needed: &str,
    estate: &Estate,
    evidence: &Evidence,
) -> Option<Finding> {
    let seen = if !is_known(estate, evidence) {
        NOT_KNOWN.to_string()
    } else if goes_nowhere(&routes(estate, evidence), estate, evidence) {
        GOES_NOWHERE.to_string()
    } else if !is_given {
        alloc::format!("it needs {needed}, and nobody gave that (--input)")
    } else {
        return None;
    };
    Some(Finding::new(meta, Subject::Estate, Verdict::Skip, seen))
}

/// What is said of an organisation that has nothing to do with Exchange Online.
pub const NOT_KNOWN: &str = "no hybrid organisation and no connector to Exchange Online is known";

/// What is said where others stand between.
pub const GOES_NOWHERE: &str =
    "nothing goes from the servers to Exchange Online itself: none of their send connectors leads there";

/// All send connectors are known, and none leads to Exchange Online: a gateway of others may stand between.
pub fn goes_nowhere(routes: &[Route<'_>], estate: &Estate, evidence: &Evidence) -> bool {
    routes.is_empty() && are_connectors_known(estate, evidence)
}

fn are_connectors_known(estate: &Estate, evidence: &Evidence) -> bool {
    let is_read = || !estate.organisation.send_connectors.is_empty() && is_settled(estate, evidence);
    estate.plan.inputs.send_connectors.is_some() || is_read()
}

/// What there is to say of a connector that is not known to lead to the organisation's own tenant; nothing where it does.
pub fn strange(meta: &'static Meta, subject: Subject, route: &Route<'_>) -> Option<Finding> {
    let skip = |seen| Some(Finding::new(meta, subject.clone(), Verdict::Skip, seen));
    match (route.tenant, route.refused_as_unknown()) {
        (Tenant::Own, _) => None,
        (Tenant::Another, _) => skip("it leads to another tenant than the one that was exported, as far as is told"),
        (Tenant::Untold, None) => {
            skip("whether it leads to the own tenant or to another one is not told (Get-AcceptedDomain of the tenant)")
        }
        (Tenant::Untold, Some(said)) => {
            let said = quote(said);
            let seen = alloc::format!(
                "Exchange Online refused a session: {said}; whether the own tenant was meant is not told"
            );
            let give = if route.is_logged_alone { "the send connectors" } else { "the accepted domains of the tenant" };
            let command = if route.is_logged_alone { "Get-SendConnector" } else { "Get-AcceptedDomain" };
            let remedy = alloc::format!(
                "Give {give} by --input ({command}); exchange-preflight explain inputs has the command that exports them."
            );
            Some(Finding::new(meta, subject, Verdict::Unknown, seen).remedy(remedy))
        }
    }
}

/// Every way to Exchange Online, and whose tenant it leads to.
///
/// A server shows a certificate to any partner whose mail is there. So a connector that only a log tells of is a way to the own
/// tenant only by a certificate that this asks for; and what was refused as unknown may be, as long as nothing better is known.
pub fn routes<'e>(estate: &'e Estate, evidence: &Evidence) -> Vec<Route<'e>> {
    let log: Vec<&SendSession> = estate.plan.inputs.send_log.iter().flatten().collect();
    let known = outgoing(estate);
    let stocks = stocks(estate, evidence);
    let own_before = own_before(estate, evidence);
    let draw = |connector: &Outgoing, sessions: &[&'e SendSession]| {
        route(connector.clone(), sessions, &own_before, &stocks, estate, evidence)
    };
    let mut routes = Vec::new();
    for connector in known.iter().filter(|connector| connector.is_enabled && connector.is_to_exchange_online()) {
        let mut sessions: Vec<_> = log.iter().copied().filter(|session| is_of(session, &connector.name)).collect();
        let is_dialled = |session: &&SendSession| !is_internal(session, estate);
        if connector.is_proxied && !sessions.iter().any(is_dialled) {
            sessions.extend(log.iter().copied().filter(|session| is_of_front_end(session, connector, &known, estate)));
        }
        routes.push(draw(connector, &sessions));
    }
    if are_connectors_known(estate, evidence) {
        return routes;
    }
    let mut logged: BTreeMap<String, Vec<&SendSession>> = BTreeMap::new();
    for session in log.iter().copied().filter(|session| !known.iter().any(|one| is_of(session, &one.name))) {
        logged.entry(session.connector.to_lowercase()).or_default().push(session);
    }
    let logged = logged.into_values().filter(|sessions| sessions.iter().any(|session| is_online(session)));
    let drawn = logged.map(|sessions| {
        let route = draw(&of_log(sessions[0]), &sessions);
        let tenant = if route.tenant == Tenant::Own { Tenant::Own } else { Tenant::Untold };
        Route { is_logged_alone: true, tenant, ..route }
    });
    let (own, others): (Vec<_>, Vec<_>) = drawn.partition(|route| route.tenant == Tenant::Own);
    // Where one server shows its only certificate to everybody, a way to strangers seems to fit in part.
    let has_whole = own.iter().any(|route| route.fits_whole(estate));
    let is_meant = |route: &Route<'_>| !has_whole || route.fits_whole(estate) || route.refused_as_unknown().is_some();
    routes.extend(own.into_iter().filter(is_meant));
    if !routes.iter().any(|route| route.tenant == Tenant::Own) {
        routes.extend(others.into_iter().filter(|route| route.refused_as_unknown().is_some()));
    }
    routes
}

fn is_of(session: &SendSession, connector: &str) -> bool {
    session.connector.eq_ignore_ascii_case(connector)
}

fn is_online(session: &SendSession) -> bool {
    session.remote_name.as_deref().is_some_and(is_exchange_online)
        || matches!(refusal(session), Some((Refusal::Domain | Refusal::Attribution, _)))
}

/// The front end dials for a connector, and logs that under a connector of its own. Where it dials for several, only the certificate
/// tells which one was meant.
fn is_of_front_end(session: &SendSession, connector: &Outgoing, known: &[Outgoing], estate: &Estate) -> bool {
    let is_known = known.iter().any(|one| is_of(session, &one.name));
    let is_sole = known.iter().filter(|one| one.is_enabled && one.is_proxied).count() == 1;
    let pin = connector.pin.value().and_then(|pin| CertificateName::read(pin));
    let is_meant = |client: &Client| {
        let is_named = pin.as_ref().is_some_and(|pin| pin.fits(&client.subject, &client.issuer));
        is_named || is_known_by(client, estate) == Some(true)
    };
    let is_its = || is_sole || session.sent.as_ref().map(Client::logged).is_some_and(|client| is_meant(&client));
    !is_known && is_online(session) && is_its()
}

/// By a certificate that a rehearsal takes away a connector was known until now, and is to be found again.
fn own_before(estate: &Estate, evidence: &Evidence) -> Rc<BTreeSet<String>> {
    let look = || {
        if estate.plan.inputs.supposed.is_none() {
            return Rc::default();
        }
        let mut before = estate.clone();
        (before.plan.inputs.supposed, before.derived) = (None, Derived::default());
        let own = |route: Route<'_>| (route.tenant == Tenant::Own).then_some(route.connector.name);
        Rc::new(routes(&before, evidence).into_iter().filter_map(own).collect())
    };
    Rc::clone(estate.derived.own_before.get_or_init(look))
}

/// Whose tenant a connector leads to. What the Hybrid Configuration Wizard made leads to the own one, unless an address space
/// names the domain of another.
fn tenant(connector: &Outgoing, senders: &[Sender<'_>], estate: &Estate) -> Tenant {
    let sent = |sender: &Sender<'_>| {
        let logged = sender.sessions.iter().filter_map(|session| session.sent.as_ref()).map(Client::logged);
        let shown = if let Shows::These(clients, _) = &sender.shows { clients.clone() } else { Vec::new() };
        logged.chain(shown).any(|client| is_known_by(&client, estate) == Some(true))
    };
    if senders.iter().any(sent) {
        return Tenant::Own;
    }
    let is_of_a_tenant = |domain: &str| domain.ends_with(TENANTS);
    let Some(accepted) = &estate.plan.inputs.accepted_domains else {
        let is_own = connector.is_cloud || connector.domains().any(|domain| is_of_a_tenant(&domain));
        return if is_own { Tenant::Own } else { Tenant::Untold };
    };
    let own: BTreeSet<_> = accepted.iter().filter_map(|domain| tenant_name(&domain.name)).collect();
    let is_own_domain =
        |domain: String| is_accepted(&domain, accepted) || tenant_name(&domain).is_some_and(|name| own.contains(name));
    let is_exchanger = |host: &String| accepted.iter().any(|domain| is_exchanger_of(host, &domain.name));
    if connector.domains().any(is_own_domain) || connector.smart_hosts.iter().any(is_exchanger) {
        return Tenant::Own;
    }
    let leads_elsewhere = !own.is_empty() && connector.domains().any(|domain| is_of_a_tenant(&domain));
    if connector.is_cloud && !leads_elsewhere { Tenant::Own } else { Tenant::Another }
}

/// `contoso` of `contoso.onmicrosoft.com` and `contoso.mail.onmicrosoft.com`.
fn tenant_name(domain: &str) -> Option<&str> {
    let name = domain.strip_suffix(TENANTS)?;
    Some(name.strip_suffix(".mail").unwrap_or(name))
}

/// Is it the host to which the MX record of a domain in Exchange Online leads? `contoso.com` has
/// `contoso-com.mail.protection.outlook.com`, or the same before a zone of `mx.microsoft`.
fn is_exchanger_of(host: &str, domain: &str) -> bool {
    let host = canonical_name(host);
    let label = host.split('.').next().filter(|_| is_exchange_online(&host));
    let domain = domain.strip_prefix("*.").unwrap_or(domain);
    label.is_some_and(|label| label == domain.replace('.', "-") || tenant_name(domain) == Some(label))
}

/// A connector of which only a log tells.
fn of_log(session: &SendSession) -> Outgoing {
    Outgoing {
        name: session.connector.clone(),
        pin: Told::Unread,
        fqdn: None,
        sources: BTreeSet::new(),
        smart_hosts: Vec::new(),
        address_spaces: Vec::new(),
        tls_domain: None,
        is_enabled: true,
        is_cloud: false,
        is_proxied: false,
    }
}

fn route<'e>(
    mut connector: Outgoing,
    logged: &[&'e SendSession],
    own_before: &BTreeSet<String>,
    stocks: &BTreeMap<String, Stock>,
    estate: &Estate,
    evidence: &Evidence,
) -> Route<'e> {
    let (hops, sessions): (Vec<_>, Vec<_>) = logged.iter().copied().partition(|session| is_internal(session, estate));
    let host_of = |session: &SendSession| {
        let address = || session.local.map_or("<SERVER>".to_string(), |address| address.to_string());
        session_host(session, estate).unwrap_or_else(address)
    };
    let of_named = logged.iter().filter(|session| session.server.is_some()).map(|session| host_of(session));
    let named: BTreeSet<String> = connector.sources.iter().cloned().chain(of_named).collect();
    connector.sources.extend(logged.iter().map(|session| host_of(session)));
    let senders = presented(&connector, stocks, estate, evidence).into_iter().map(|one| {
        let of_host = |all: &[&'e SendSession]| {
            let mut own: Vec<_> = all.iter().copied().filter(|session| host_of(session) == one.host).collect();
            own.sort_by_key(|session| session.when);
            own
        };
        let own = of_host(&sessions);
        let stock = stocks.get(&one.host);
        let selected = one.selected.as_ref();
        Sender {
            subject: Subject::Configured(one.host.clone(), connector.name.clone()),
            shows: shows(&one, &own, estate),
            since: own.last().and_then(|session| since(session, selected, estate)),
            selected: selected.and_then(Selected::sure).map(Client::stocked),
            stock: stock.into_iter().flat_map(|stock| stock.certificates.values().map(Client::stocked)).collect(),
            handed_on: if own.is_empty() { of_host(&hops) } else { Vec::new() },
            sessions: own,
            is_named: named.contains(&one.host),
            host: one.host,
        }
    });
    let senders: Vec<_> = senders.collect();
    let is_own = own_before.contains(&connector.name);
    let tenant = if is_own { Tenant::Own } else { tenant(&connector, &senders, estate) };
    Route { senders, tenant, is_logged_alone: false, connector }
}

/// A session of the log counts more than what Exchange is thought to select; where a certificate is supposed that was not there
/// when the log was written, it is the other way round. What an export has no more still counts: whether a server shows another than
/// it would choose is asked here.
fn shows(one: &Presented<'_>, sessions: &[&SendSession], estate: &Estate) -> Shows {
    let selected = one.selected.as_ref();
    // What is surely selected now, and was not there or not meant when the log was written, counts more than the log.
    let is_superseded = |session: &SendSession, sent: &LoggedCertificate| {
        let is_another = selected.and_then(Selected::sure).is_some_and(|sure| sure.thumbprint != sent.thumbprint);
        is_another && since(session, selected, estate).is_some()
    };
    let sent = sessions.iter().rev().find_map(|session| Some((*session, session.sent.as_ref()?)));
    let sent = sent.filter(|(session, sent)| !one.is_supposed && !is_superseded(session, sent));
    if let Some((when, sent)) = sent.map(|(session, sent)| (session.when, sent)) {
        // What a log has cut short, an export or a port may tell.
        let known = one.stock.and_then(|stock| stock.certificates.get(&sent.thumbprint)).map(Client::stocked);
        let logged = Client::logged(sent);
        let client = known.filter(|known| !known.names.is_empty()).unwrap_or(logged);
        return Shows::These(vec![client], Teller::Log(when));
    }
    let clients = |all: &[&Stocked]| all.iter().map(|one| Client::stocked(one)).collect();
    match selected {
        Some(selected) if counts(selected) => match &selected.choice {
            Choice::One(one) => Shows::These(clients(&[one]), Teller::Selection),
            Choice::Any(any) => Shows::These(clients(any), Teller::Selection),
            Choice::Nothing => Shows::Nothing,
        },
        _ => Shows::Untold,
    }
}

/// What was changed after a session, as far as is known.
fn since(session: &SendSession, selected: Option<&Selected<'_>>, estate: &Estate) -> Option<Since> {
    let certificate = successor(session, selected).map(|one| Since::Certificate(Box::new(Client::stocked(one))));
    certificate.or_else(|| tenant_changed(session.when, estate).map(Since::Connector))
}

/// Is a selection sure enough to be judged? Where not all certificates of a server are known, one that its connector names and
/// that a port shows is; so is one that is only supposed, which is what a rehearsal is for.
fn counts(selected: &Selected<'_>) -> bool {
    let is = |one: &Stocked, source| one.sources.contains(&source);
    let is_named = matches!(selected.by, By::Pin(_));
    selected.is_certain
        || match &selected.choice {
            Choice::One(one) => is(one, Source::Supposed) || is_named && is(one, Source::Wire),
            Choice::Any(any) => any.iter().any(|one| is(one, Source::Supposed) || is_named && is(one, Source::Wire)),
            Choice::Nothing => false,
        }
}

/// Ties what a check cannot tell of a connector to what tells it of its servers.
pub fn suspects_client_side(finding: Finding, route: &Route<'_>) -> Finding {
    let of_servers = route.senders.iter().map(|sender| sender.subject.clone());
    let all = of_servers.chain([Subject::Estate]);
    all.fold(finding, |finding, subject| finding.suspects(Trouble::ClientSideUntold(subject)))
}

#[cfg(test)]
pub(crate) mod testing {
    use super::*;
    use crate::{
        facts::export::{ExportedCertificate, ExportedSendConnector, Services},
        model::{inputs::Inputs, plan::Plan},
    };
    use alloc::format;

    pub(crate) const CLOUD: &str = "Outbound to Office 365";
    pub(crate) const ISSUER: &str = "CN=Public CA, O=Trust, C=US";

    pub(crate) fn instant(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    /// The connector that the Hybrid Configuration Wizard makes, used by these servers.
    pub(crate) fn sender(pin: Option<&str>, sources: &[&str]) -> ExportedSendConnector {
        ExportedSendConnector {
            name: CLOUD.into(),
            is_enabled: true,
            fqdn: Some("mail.contoso.com".into()),
            pin: pin.map(ToString::to_string),
            sources: sources.iter().map(ToString::to_string).collect(),
            address_spaces: vec!["SMTP:contoso.mail.onmicrosoft.com;1".into()],
            tls_domain: Some("mail.protection.outlook.com".into()),
            is_cloud: true,
            ..ExportedSendConnector::default()
        }
    }

    /// The connector of the tenant that names a certificate.
    pub(crate) fn comes_in(name: Option<&str>, addresses: &[&str]) -> InboundConnector {
        let range = |text: &&str| crate::facts::connector::IpRange::read(text).unwrap();
        InboundConnector {
            name: "Inbound from Contoso".into(),
            is_enabled: true,
            is_on_premises: true,
            requires_tls: true,
            certificate_name: name.map(ToString::to_string),
            addresses: addresses.iter().map(range).collect(),
            is_cloud: true,
            ..InboundConnector::default()
        }
    }

    pub(crate) fn accepted(names: &[&str]) -> Vec<AcceptedDomain> {
        names.iter().map(|name| AcceptedDomain { name: (*name).into(), ..AcceptedDomain::default() }).collect()
    }

    /// A certificate of ex01 as an export has it, by its first byte and its names.
    pub(crate) fn held(thumbprint: u8, names: &[&str]) -> ExportedCertificate {
        ExportedCertificate {
            server: "EX01".into(),
            thumbprint: hex::encode([thumbprint; 20]),
            subject: format!("CN={}", names[0]),
            issuer: ISSUER.into(),
            domains: names.iter().map(ToString::to_string).collect(),
            services: Some(Services(16)),
            not_before: Some(instant("1969-01-01T00:00:00Z")),
            not_after: Some(instant("2027-11-01T00:00:00Z")),
            has_private_key: Some(true),
            ..ExportedCertificate::default()
        }
    }

    /// A session of ex01 with Exchange Online.
    pub(crate) fn session(when: &str, thumbprint: u8, names: &[&str], refusals: &[&str]) -> SendSession {
        let sent = LoggedCertificate {
            thumbprint: hex::encode([thumbprint; 20]),
            subject: format!("CN={}", names[0]),
            issuer: ISSUER.into(),
            names: names.iter().map(ToString::to_string).collect(),
            ..LoggedCertificate::default()
        };
        SendSession {
            server: Some("EX01".into()),
            local: Some([10, 0, 0, 1].into()),
            connector: CLOUD.into(),
            remote: None,
            is_to_front_end: false,
            remote_name: Some("DB5EUR01FT003.mail.protection.outlook.com".into()),
            when: instant(when),
            sent: Some(sent),
            received: None,
            refusals: refusals.iter().map(ToString::to_string).collect(),
            replies: Vec::new(),
        }
    }

    pub(crate) fn estate(inputs: Inputs) -> Estate {
        Estate::learn(&Plan { inputs, ..Plan::of("contoso.com") }, &Evidence::default())
    }
}

#[cfg(test)]
mod tests {
    use super::{testing::*, *};
    use crate::{
        facts::export::{ExportedCertificate, ExportedSendConnector},
        model::inputs::{Inputs, Supposed},
    };

    fn fits(pattern: &str, name: &str) -> Fit {
        fit(pattern, &[name.to_string()])
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let yes = |name: &str| Fit::Yes(name.into());
        let too_deep = |name: &str| Fit::TooDeep(name.into());
        assert_eq!(fits("mail.contoso.com", "mail.contoso.com"), yes("mail.contoso.com"));
        assert_eq!(fits("*.contoso.com", "mail.contoso.com"), yes("mail.contoso.com"));
        assert_eq!(fits("*.contoso.com", "*.contoso.com"), yes("*.contoso.com"));
        assert_eq!(fits("*.contoso.com", "contoso.com"), too_deep("contoso.com"));
        assert_eq!(fits("*.contoso.com", "a.b.contoso.com"), too_deep("a.b.contoso.com"));
        assert_eq!(fits("mail.contoso.com", "*.contoso.com"), Fit::ItsWildcard("*.contoso.com".into()));
        assert_eq!(fits("contoso.com", "*.contoso.com"), too_deep("*.contoso.com"));
        for (pattern, name) in [
            ("mail.contoso.com", "contoso.com"),
            ("*.contoso.com", "mail.notcontoso.com"),
            ("contoso.com", "mail.contoso.com"),
            ("*.contoso.com", "*.b.contoso.com"),
        ] {
            assert_eq!(fits(pattern, name), Fit::No, "{pattern} {name}");
        }
        assert_eq!(fit("a.x.com", &["*.x.com".into(), "a.x.com".into(), "b".into()]), yes("a.x.com"));
    }

    #[test]
    fn a_domain_above_is_enough_to_be_the_tenants() {
        let domains = accepted(&["contoso.com", "*.fabrikam.com"]);
        for name in ["contoso.com", "mail.contoso.com", "*.contoso.com", "a.fabrikam.com"] {
            assert!(is_accepted(name, &domains), "{name}");
        }
        assert!(!is_accepted("notcontoso.com", &domains) && !is_accepted("com", &domains));
    }

    #[test]
    fn refusals_are_read() {
        assert_eq!(Refusal::of("550 5.7.64 Relay Access Denied ATTR36"), Some(Refusal::Domain));
        let attribution = "550 5.7.64 TenantAttribution; Relay Access Denied SMTP";
        assert_eq!(Refusal::of(attribution), Some(Refusal::Attribution));
        assert_eq!(Refusal::of("TLS negotiation failed with error UntrustedRoot"), Some(Refusal::Certificate));
        assert_eq!(Refusal::of("550 5.1.1 no such user"), None);
    }

    fn shown(inputs: Inputs) -> Vec<String> {
        let estate = estate(inputs);
        let routes = routes(&estate, &Evidence::default());
        let senders = routes.iter().flat_map(|route| &route.senders);
        let told = |sender: &Sender<'_>| match &sender.shows {
            Shows::Untold => alloc::format!("{} ?", sender.host),
            Shows::Nothing => alloc::format!("{} -", sender.host),
            Shows::These(all, teller) => {
                let all: Vec<_> = all.iter().map(|one| &one.thumbprint[..2]).collect();
                let by = if *teller == Teller::Selection { "selected" } else { "logged" };
                alloc::format!("{} {} {by}", sender.host, all.join("|"))
            }
        };
        senders.map(told).collect()
    }

    #[test]
    fn a_log_counts_more_than_a_selection_and_a_supposition_more_than_a_log() {
        let mail = ["mail.contoso.com"];
        let with = |pin: Option<&str>| Inputs {
            send_connectors: Some(vec![sender(pin, &["EX01"])]),
            certificates: Some(vec![held(1, &mail)]),
            ..Inputs::default()
        };
        assert_eq!(shown(with(None)), ["ex01 01 selected"]);
        assert_eq!(shown(with(Some("<I>CN=Other<S>CN=mail.contoso.com"))), ["ex01 -"]);
        let logged = |inputs| Inputs { send_log: Some(vec![session("1970-01-01T00:00:00Z", 2, &mail, &[])]), ..inputs };
        assert_eq!(shown(logged(with(None))), ["ex01 02 logged"]);
        let supposed = Supposed { on: vec!["ex01".into()], ..Supposed::default() };
        let rehearsed = Inputs { supposed: Some(supposed), ..logged(with(None)) };
        assert_eq!(shown(rehearsed), ["ex01 01 selected"]);
        let asked = Inputs { inbound: Some(vec![comes_in(Some("mail.contoso.com"), &[])]), ..Inputs::default() };
        assert_eq!(shown(logged(asked)), ["ex01 02 logged"], "a log alone tells of the connector");
        let unknown = Inputs { send_connectors: Some(vec![sender(None, &["EX01", "EX02"])]), ..Inputs::default() };
        assert_eq!(shown(logged(unknown)), ["ex01 02 logged", "ex02 ?"]);
    }

    #[test]
    fn what_an_export_has_no_more_is_not_among_what_a_sender_has() {
        let mail = ["mail.contoso.com"];
        let had = |certificates: &[ExportedCertificate]| {
            let estate = estate(Inputs {
                send_connectors: Some(vec![sender(None, &["EX01"])]),
                send_log: Some(vec![session("1970-01-01T00:00:00Z", 2, &mail, &[])]),
                certificates: Some(certificates.to_vec()),
                ..Inputs::default()
            });
            let routes = routes(&estate, &Evidence::default());
            let stock = routes.iter().flat_map(|route| &route.senders).flat_map(|sender| &sender.stock);
            stock.map(|one| one.thumbprint[..2].to_string()).collect::<Vec<_>>()
        };
        assert_eq!(had(&[held(1, &mail), held(3, &mail)]), ["01", "03"]);
        assert_eq!(had(&[held(1, &mail), held(2, &mail)]), ["01", "02"]);
    }

    /// Where connectors lead, by their names.
    fn led(inputs: Inputs) -> Vec<String> {
        let estate = estate(inputs);
        let routes = routes(&estate, &Evidence::default());
        routes.iter().map(|route| alloc::format!("{} {:?}", route.connector.name, route.tenant)).collect()
    }

    fn led_by(change: impl FnOnce(&mut ExportedSendConnector), domains: Option<&[&str]>) -> Vec<String> {
        let mut connector = ExportedSendConnector { name: "c".into(), is_cloud: false, ..sender(None, &["EX01"]) };
        change(&mut connector);
        let accepted_domains = domains.map(accepted);
        led(Inputs { send_connectors: Some(vec![connector]), accepted_domains, ..Inputs::default() })
    }

    #[test]
    fn a_connector_leads_to_the_tenant_whose_domains_it_names() {
        let of_tenant: Option<&[&str]> = Some(&["contoso.com", "contoso.onmicrosoft.com"]);
        let by = |host: &'static str, space: &'static str, is_cloud: bool| {
            move |it: &mut ExportedSendConnector| {
                it.smart_hosts = if host.is_empty() { Vec::new() } else { vec![host.into()] };
                (it.address_spaces, it.is_cloud) = (vec![space.into()], is_cloud);
            }
        };
        let own = "contoso-com.mail.protection.outlook.com";
        for (host, space, is_cloud, untold, told) in [
            ("", "SMTP:contoso.mail.onmicrosoft.com;1", false, "c Own", "c Own"),
            ("", "SMTP:fabrikam.mail.onmicrosoft.com;1", false, "c Own", "c Another"),
            ("", "SMTP:fabrikam.mail.onmicrosoft.com;1", true, "c Own", "c Another"),
            ("", "smtp:*.contoso.com;5", false, "c Untold", "c Own"),
            ("", "SMTP:*;1", true, "c Own", "c Own"),
            (own, "SMTP:*;1", false, "c Untold", "c Own"),
            ("contoso-com.a-v1.mx.microsoft", "SMTP:*;1", false, "c Untold", "c Own"),
            ("contoso.mail.protection.outlook.com", "SMTP:*;1", false, "c Untold", "c Own"),
            ("fabrikam-com.mail.protection.outlook.com", "SMTP:fabrikam.com;1", false, "c Untold", "c Another"),
        ] {
            assert_eq!(led_by(by(host, space, is_cloud), None), [untold], "{host} {space}");
            assert_eq!(led_by(by(host, space, is_cloud), of_tenant), [told], "{host} {space}");
        }
        let renamed = by("", "SMTP:contoso.mail.onmicrosoft.com;1", true);
        assert_eq!(led_by(renamed, Some(&["fabrikam.com"])), ["c Own"], "not all domains were given");
        let through_others = |it: &mut ExportedSendConnector| {
            (it.smart_hosts, it.tls_domain) = (vec!["gateway.provider.example".into()], None);
        };
        assert!(led_by(through_others, None).is_empty());
    }

    #[test]
    fn what_fits_the_tenant_leads_there_before_and_after_a_rehearsal() {
        let to_partner = ExportedSendConnector {
            is_cloud: false,
            smart_hosts: vec!["fabrikam-com.mail.protection.outlook.com".into()],
            address_spaces: vec!["SMTP:fabrikam.com;1".into()],
            ..sender(None, &["EX01"])
        };
        let inputs = |name: &str| Inputs {
            send_connectors: Some(vec![to_partner.clone()]),
            inbound: Some(vec![comes_in(Some("mail.contoso.com"), &[])]),
            certificates: Some(vec![held(1, &[name])]),
            ..Inputs::default()
        };
        assert_eq!(led(inputs("ex01.contoso.com")), ["Outbound to Office 365 Untold"]);
        assert_eq!(led(inputs("mail.contoso.com")), ["Outbound to Office 365 Own"]);
        let removed = vec![hex::encode([1; 20])];
        let supposed = Supposed { on: vec!["ex01".into()], removed, ..Supposed::default() };
        let rehearsed = Inputs { supposed: Some(supposed), ..inputs("mail.contoso.com") };
        assert_eq!(led(rehearsed), ["Outbound to Office 365 Own"]);
    }

    #[test]
    fn a_log_alone_tells_of_a_way_to_the_tenant_only_by_what_fits() {
        let (mail, own) = (["mail.contoso.com"], ["ex01.contoso.com"]);
        let by = |connector: &str, number: u8, names: &[&str], refusals: &[&str]| SendSession {
            connector: connector.into(),
            ..session("1970-01-01T00:00:00Z", number, names, refusals)
        };
        let of = |sessions: &[SendSession]| Inputs {
            inbound: Some(vec![comes_in(Some("mail.contoso.com"), &[])]),
            send_log: Some(sessions.to_vec()),
            ..Inputs::default()
        };
        let refused = ["550 5.7.64 TenantAttribution"];
        let (cloud, internet) = (by("Cloud", 1, &mail, &[]), by("Internet", 2, &own, &[]));
        assert_eq!(led(of(&[cloud.clone(), internet.clone()])), ["Cloud Own"]);
        assert!(led(of(core::slice::from_ref(&internet))).is_empty(), "a stranger's mail may be there as well");
        assert_eq!(led(of(&[cloud.clone(), by("Internet", 2, &own, &refused)])), ["Cloud Own"]);
        assert_eq!(led(of(&[by("Internet", 2, &own, &refused)])), ["Internet Untold"]);
        let in_part = [internet.clone(), by("Internet", 1, &mail, &[])];
        assert_eq!(led(of(&in_part)), ["Internet Own"], "it may have been renewed");
        assert_eq!(led(of(&[cloud.clone(), internet, by("Internet", 1, &mail, &[])])), ["Cloud Own"]);
        let exported = vec![ExportedSendConnector { name: "Internet".into(), ..ExportedSendConnector::default() }];
        let known = Inputs { send_connectors: Some(exported), ..of(&[cloud]) };
        assert!(led(known).is_empty(), "all connectors are known");
    }

    #[test]
    fn what_stays_inside_shows_nothing() {
        let mail = ["mail.contoso.com"];
        let hop = SendSession { is_to_front_end: true, ..session("1970-01-02T00:00:00Z", 2, &["ex01"], &[]) };
        let with = |sessions: &[SendSession]| Inputs {
            send_connectors: Some(vec![ExportedSendConnector { is_proxied: true, ..sender(None, &["EX01"]) }]),
            inbound: Some(vec![comes_in(Some("mail.contoso.com"), &[])]),
            send_log: Some(sessions.to_vec()),
            ..Inputs::default()
        };
        let dialled = |number, names: &[&str]| SendSession {
            connector: "Front End".into(),
            ..session("1970-01-01T00:00:00Z", number, names, &[])
        };
        assert_eq!(shown(with(core::slice::from_ref(&hop))), ["ex01 ?"]);
        assert_eq!(shown(with(&[hop.clone(), dialled(1, &mail)])), ["ex01 01 logged"], "the front end's own log");
        assert_eq!(shown(with(&[hop.clone(), dialled(3, &["smtp.contoso.com"])])), ["ex01 03 logged"]);
        let exported = Inputs { certificates: Some(vec![held(1, &mail)]), ..with(core::slice::from_ref(&hop)) };
        assert_eq!(shown(exported), ["ex01 01 selected"]);
        let mut several = with(&[hop, dialled(1, &mail), dialled(3, &["ex01.contoso.com"])]);
        let internet = ExportedSendConnector { name: "Internet".into(), is_enabled: true, ..sender(None, &["EX01"]) };
        let internet = ExportedSendConnector {
            is_cloud: false,
            is_proxied: true,
            tls_domain: None,
            address_spaces: vec!["SMTP:*;1".into()],
            ..internet
        };
        several.send_connectors.as_mut().unwrap().push(internet);
        assert_eq!(shown(several), ["ex01 01 logged"], "the other one is by the other connector");
    }
}
