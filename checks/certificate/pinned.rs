//! `certificate-pinned`: does every connector that names a certificate show that one?

use crate::{
    facts::{
        certificate::Certificate,
        connector::{CertificateName, binds},
        distinguished::DistinguishedName,
        dns::canonical_name,
        protocol_log::SendSession,
        smtp::Upgrade,
    },
    model::{
        accounts::peers,
        certificates::Certificates,
        check::{Check, Need},
        connectors::{Connectors, are_read, identity, in_command, needs, subject, unread},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        hybrid::Refusal,
        listeners::{Listener, peer_listeners, quote, server_name},
        meta::{Basis, Fold, Meta, Tier},
        organisation::{Organisation, ReceiveConnector, SearchOf, Told, searches},
        outgoing::{
            Outgoing, Presented, how_to_tell, outgoing, pin_to, presented, remove_unless_internal, spelt_in_command,
            together,
        },
        selection::{Choice, Selected, Wanted, bears, is_pinnable, may_be_pinned, select},
        stock::{Standing, Stock, Stocked, host_called, stocks},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::net::SocketAddr;
use jiff::Timestamp;

/// See the module.
pub struct Pinned;

static META: Meta = Meta {
    id: "certificate-pinned",
    area: "certificate",
    title: "Connectors show the certificate that they name",
    question: "Does every connector that names a certificate show that one?",
    healthy: "the certificate that a port shows has the issuer and the subject that its connector names, and no other on that server has",
    why: "TlsCertificateName names a certificate by issuer and subject. After a renewal by another authority it names none that is there, and STARTTLS disappears (event 12014); mail that demands TLS then waits outside. Where two certificates fit, Exchange shows the one that it finds first, which may be the old one.",
    remedy: &[
        "Name the certificate that is to be shown: $c = Get-ExchangeCertificate <THUMBPRINT>; Set-ReceiveConnector \"<CONNECTOR>\" -TlsCertificateName \"<I>$($c.Issuer)<S>$($c.Subject)\"",
        "Then, on each server, Restart-Service MSExchangeTransport,MSExchangeFrontEndTransport",
        "Same issuer and subject as before: remove the old certificate once the new one has the service SMTP, and restart both services",
    ],
    references: &[
        "Microsoft KB 2989382",
        "Selection of inbound STARTTLS certificates (Microsoft Learn)",
        "Set-ReceiveConnector, parameter TlsCertificateName (Microsoft Learn)",
    ],
    symptoms: &[
        "MSExchangeTransport event 12014",
        "451 5.7.3 STARTTLS is required to send mail",
        "A special Rpc error occurs on server: tagged with following Send Connectors",
    ],
    tier: Tier::UserOrInput,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Field, Basis::Lab],
};

const SEARCHES: [SearchOf; 4] =
    [searches::servers, searches::receive_connectors, searches::send_connectors, searches::names];

impl Check for Pinned {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let of_connector = |connector: &ReceiveConnector| -> Vec<Need> {
            let asks = listeners_of(connector, estate).into_iter().flat_map(|at| at.asks(estate, evidence));
            asks.map(|ask| Need { subject: subject(connector), ask }).collect()
        };
        // Before all is read, nothing is said of a connector alone.
        let is_read = are_read(&SEARCHES, estate, evidence);
        let pinned = estate
            .organisation
            .receive_connectors
            .iter()
            .filter(|connector| is_read && connector.pin.value().is_some());
        needs(&SEARCHES, estate, evidence).into_iter().chain(pinned.flat_map(of_connector)).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        // Without a logon exports tell of send connectors alone; that nothing else was read is what was asked for.
        let unread = estate.plan.logon.as_ref().and_then(|_| unread(&META, &SEARCHES, estate, evidence));
        let organisation = &estate.organisation;
        let mut findings = Vec::from_iter(unread);
        if findings.is_empty() {
            let receive = organisation.receive_connectors.iter();
            findings.extend(receive.filter_map(|connector| judge_receive(connector, estate, evidence)));
        }
        if findings.is_empty() {
            findings.push(nobody(estate));
        }
        let stocks = stocks(estate, evidence);
        let connectors = outgoing(estate);
        let client = |subject, connector: &Outgoing| judge_client(subject, connector, &stocks, estate, evidence);
        findings.extend(connectors.iter().filter_map(|connector| client(connector.subject(), connector)));
        let hybrid = as_sent_by_hybrid(organisation, estate);
        let hybrid = hybrid.and_then(|hybrid| client(hybrid_subject(), &hybrid)).map(|finding| {
            // The wizard's own note alone stops no mail, where the connectors name another one.
            let is_other = |it: &&Outgoing| {
                it.is_enabled && it.is_to_exchange_online() && it.pin.value() != hybrid_pin(organisation)
            };
            let is_note = finding.verdict == Verdict::Fail && connectors.iter().any(|it| is_other(&it));
            if is_note { Finding { verdict: Verdict::Warn, ..finding } } else { finding }
        });
        findings.extend(hybrid);
        findings
    }
}

/// No receive connector names a certificate, as far as that is shown.
fn nobody(estate: &Estate) -> Finding {
    let connectors = &estate.organisation.receive_connectors;
    let unread = connectors.iter().filter(|connector| connector.pin == Told::Unread).count();
    let (verdict, seen) = if connectors.is_empty() && estate.plan.logon.is_none() {
        let said = "what receive connectors name, a user of the domain is shown (--user)";
        (Verdict::Skip, said.to_string())
    } else if connectors.is_empty() {
        (Verdict::Skip, "the directory has no receive connector that this user is shown".to_string())
    } else if unread > 0 {
        (
            Verdict::Unknown,
            format!("whether {unread} of {} connectors name one is not shown to this user", connectors.len()),
        )
    } else {
        (Verdict::Pass, "no receive connector names a certificate: each shows the one that fits its Fqdn".to_string())
    };
    Finding::new(&META, Subject::Estate, verdict, seen)
}

fn hybrid_subject() -> Subject {
    Subject::Configured("hybrid".into(), "TlsCertificateName".into())
}

fn hybrid_pin(organisation: &Organisation) -> Option<&String> {
    organisation.hybrid.as_ref()?.pin.as_ref()
}

/// The certificate of the hybrid configuration, as if it were a send connector of the servers that it names as senders.
fn as_sent_by_hybrid(organisation: &Organisation, estate: &Estate) -> Option<Outgoing> {
    let (hybrid, pin) = (organisation.hybrid.as_ref()?, hybrid_pin(organisation)?.clone());
    let sources = hybrid.senders.iter().map(|name| host_called(name, estate)).collect();
    Some(Outgoing {
        name: String::new(),
        pin: Told::Is(pin),
        fqdn: None,
        sources,
        smart_hosts: Vec::new(),
        address_spaces: Vec::new(),
        tls_domain: None,
        is_enabled: true,
        is_cloud: true,
        is_proxied: false,
    })
}

/// What a pin comes to on one source server.
struct Held<'s> {
    host: &'s str,
    verdict: Verdict,
    code: Option<&'static str>,
    said: String,
    /// The one that is shown there.
    chosen: Option<&'s str>,
}

/// What a send connector or the hybrid configuration names, held against what its servers have.
fn judge_client(
    subject: Subject,
    connector: &Outgoing,
    stocks: &BTreeMap<String, Stock>,
    estate: &Estate,
    evidence: &Evidence,
) -> Option<Finding> {
    let pin = connector.pin.value()?;
    let Some(name) = CertificateName::read(pin) else { return Some(malformed(subject, pin)) };
    let new = |verdict, seen: String| Finding::new(&META, subject.clone(), verdict, seen);
    let presented = presented(connector, stocks, estate, evidence);
    let (told, mut untold): (Vec<_>, Vec<_>) = presented.iter().partition(|one| one.is_told());
    if told.is_empty() {
        let seen =
            format!("it names {}; what Exchange presents as a client is seen only in exports and logs", quote(pin));
        return Some(new(Verdict::Skip, seen));
    }
    if !connector.is_enabled {
        return Some(new(Verdict::Skip, "it is disabled".into()));
    }
    let is_supposed = told.iter().any(|one| one.is_supposed);
    let mut held: Vec<_> = told.iter().map(|one| hold(connector, &name, one)).collect();
    // A renewal is rehearsed on some of the servers, and nothing else is known of the others.
    if is_supposed && let [first, ..] = untold.as_slice() {
        let said = "it sends by it as well, and is not among those that get the new one".to_string();
        held.push(Held { host: &first.host, verdict: Verdict::Warn, code: Some("left-out"), said, chosen: None });
        untold.clear();
    }
    let said = |held: &[Held<'_>]| {
        let said = held.iter().map(|held| (held.host, held.said.clone()));
        let untold = untold.iter().map(|one| (one.host.as_str(), one.why_untold()));
        format!("it names {}; {}", quote(pin), together(said.chain(untold)))
    };
    let worst = held.iter().max_by_key(|held| held.verdict)?;
    if worst.verdict < Verdict::Warn && !untold.is_empty() {
        return Some(how_to_tell(&untold).into_iter().fold(new(Verdict::Unknown, said(&held)), Finding::remedy));
    }
    let Some(code) = worst.code else { return Some(new(worst.verdict, said(&held))) };
    let without = if worst.verdict == Verdict::Fail { WITHOUT } else { "" };
    let finding = new(worst.verdict, format!("{}{without}", said(&held))).code(code);
    // One cause, one alarm: the hybrid configuration names what its connector names.
    let finding = if connector.name.is_empty() {
        let alike = outgoing(estate).into_iter().filter(|other| other.pin.value() == Some(pin));
        alike.fold(finding, |finding, other| finding.suspects(Trouble::PinStale(other.subject())))
    } else {
        finding.is(Trouble::PinStale(subject.clone()))
    };
    if code == "two-fit" {
        let all: Vec<_> = told.iter().filter_map(|one| alike(one)).collect();
        return Some(one_of_two(finding, &all, &name, stocks, estate));
    }
    let in_trouble: Vec<_> = held.iter().filter(|held| held.code == Some(code)).collect();
    Some(mend_client(connector, &name, &told, &in_trouble, code).into_iter().fold(finding, Finding::remedy))
}

/// Certificates of one server that a connector names alike, by thumbprint, with the beginnings of their lives.
struct Alike<'s> {
    host: &'s str,
    certificates: BTreeMap<&'s str, Option<Timestamp>>,
}

fn alike<'s>(one: &'s Presented<'_>) -> Option<Alike<'s>> {
    let selected = one.selected.as_ref().filter(|selected| matches!(selected.choice, Choice::Any(_)))?;
    let all = selected.candidates().into_iter().map(|one| (one.thumbprint.as_str(), one.not_before));
    Some(Alike { host: &one.host, certificates: all.collect() })
}

fn hold<'s>(connector: &Outgoing, name: &CertificateName, one: &'s Presented<'_>) -> Held<'s> {
    let host = one.host.as_str();
    let chosen = one.selected.as_ref().and_then(Selected::one).map(|one| one.thumbprint.as_str());
    let new = |verdict, code, said: String| Held { host, verdict, code: Some(code), said, chosen };
    let well = |said| Held { host, verdict: Verdict::Pass, code: None, said, chosen };
    let matters = if connector.is_to_exchange_online() { Verdict::Fail } else { Verdict::Warn };
    let Some(selected) = one.selected.as_ref().filter(|_| one.is_chosen_from_all()) else {
        let sent = one.logged.and_then(|session| session.sent.as_ref());
        let fits = sent.is_some_and(|sent| {
            name.fits(&DistinguishedName::read(&sent.subject), &DistinguishedName::read(&sent.issuer))
        });
        let shown =
            sent.map_or_else(|| "none".into(), |sent| format!("{} ({})", sent.thumbprint, quote(&sent.subject)));
        let when = one.logged.map_or_else(String::new, |session| session.when.strftime("%Y-%m-%d").to_string());
        if fits {
            return well(format!("it showed that one on {when}, {shown}"));
        }
        // It may have been named since, and the tenant's connector mended.
        let is_refused = !one.is_answer_stale && one.logged.is_some_and(is_refused);
        let verdict = if is_refused { matters } else { Verdict::Warn };
        return new(verdict, "pin-fits-none", format!("it showed another on {when}, {shown}"));
    };
    if !is_pinnable(name) {
        let said = "the common name is no domain, and by such a name it finds none".to_string();
        return new(Verdict::Warn, "cannot-be-pinned", said);
    }
    let none = || selected.words();
    match (&selected.choice, one.stock.and_then(Stock::supposed)) {
        // Of what was not seen, one may fit; unless the one that was named is what was taken away.
        (Choice::Nothing, _) if one.stock.is_some_and(|stock| !stock.is_whole) && !one.loses_named => {
            let said = "of the certificates that it is known to have, none fits; what it sends only an export tells";
            Held { host: &one.host, verdict: Verdict::Skip, code: None, said: said.into(), chosen: None }
        }
        (Choice::Nothing, _) => new(Verdict::Fail, "pin-fits-none", none()),
        (Choice::Any(any), _) => {
            new(Verdict::Warn, "two-fit", format!("{} fit, and it shows whichever it finds first", any.len()))
        }
        (Choice::One(chosen), _) if chosen.serves_smtp == Some(false) => {
            let said =
                format!("{} fits and has not the service SMTP: TLS fails with UnknownCredentials", chosen.thumbprint);
            new(Verdict::Fail, "pin-without-smtp", said)
        }
        (Choice::One(chosen), _) if !selected.is_valid(chosen) => {
            let said = format!("{} fits, and is not valid (any more)", chosen.thumbprint);
            // Whoever looks at the dates refuses it; what the server thinks of it otherwise, it may yet show.
            let is_sure = selected.is_certain || selected.is_expired(chosen);
            new(if is_sure { matters } else { Verdict::Warn }, "pin-not-valid", said)
        }
        (Choice::One(_), Some(new_one)) if !may_be_pinned(new_one) => {
            let said = format!(
                "it goes on with another: no connector can name the new one, {}, which has no common name that is a domain",
                new_one.thumbprint
            );
            new(Verdict::Warn, "cannot-be-pinned", said)
        }
        // It goes on with one of its own, unless that is the one in whose place the new one comes.
        (Choice::One(chosen), Some(new_one))
            if chosen.thumbprint != new_one.thumbprint && chosen.subject.is(&new_one.subject) =>
        {
            let said = format!(
                "it goes on with {}: the new one, {}, is not what the connector names",
                chosen.thumbprint, new_one.thumbprint
            );
            new(Verdict::Warn, "keeps-the-old", said)
        }
        (Choice::One(chosen), _) => well(format!("it shows {}{}", chosen.thumbprint, one.stale_words())),
    }
}

/// Was it refused for what it showed: by an answer of the other end, or by the tenant's word, which nobody else has?
fn is_refused(session: &SendSession) -> bool {
    let is_of_tenant = |said: &String| matches!(Refusal::of(said), Some(Refusal::Domain | Refusal::Attribution));
    session.refusals.iter().any(is_of_tenant) || session.replies.iter().any(|said| Refusal::of(said).is_some())
}

/// What becomes of mail without the certificate that is named.
const WITHOUT: &str = ". Then TLS fails (NoCredentials) and mail waits, or goes without a certificate, for which Exchange Online refuses it with 550 5.7.64";

/// The one to be named: what a rehearsal supposes; else the newest that is alive, that SMTP may show on every source server, that
/// bears the connector's name and that the other end trusts. With a server that has it.
fn right_one<'s>(
    connector: &Outgoing,
    name: &CertificateName,
    told: &[&Presented<'s>],
) -> Option<(&'s str, &'s Stocked)> {
    let supposed = told.iter().find_map(|one| Some((one.stock?.host.as_str(), one.stock?.supposed()?)));
    if let Some(supposed) = supposed.filter(|(_, one)| may_be_pinned(one)) {
        return Some(supposed);
    }
    let common = DistinguishedName::read(&name.subject);
    let wanted = canonical_name(connector.fqdn.as_deref().or(common.common_name())?);
    let looks_right = |held: &Presented<'_>, one: &Stocked| {
        let is_alive =
            held.selected.as_ref().is_some_and(|selected| selected.is_valid(one) && !selected.is_expired(one));
        let is_trusted = one.standing == Standing::Public || !connector.is_to_exchange_online() && !one.is_self_signed;
        let is_usable = one.has_key != Some(false) && one.serves_smtp == Some(true) && may_be_pinned(one);
        is_usable && is_alive && is_trusted && bears(one, &wanted)
    };
    let first = told.first()?;
    let of_first = first.stock?.certificates.values().filter(|one| {
        let has_it = |held: &&Presented<'_>| {
            held.stock
                .and_then(|stock| stock.certificates.get(&one.thumbprint))
                .is_some_and(|one| looks_right(held, one))
        };
        told.len() == connector.sources.len() && told.iter().copied().all(|held| has_it(&held))
    });
    let newest = of_first.max_by_key(|one| (one.not_before, &one.thumbprint))?;
    Some((first.stock?.host.as_str(), newest))
}

fn mend_client(
    connector: &Outgoing,
    name: &CertificateName,
    told: &[&Presented<'_>],
    in_trouble: &[&Held<'_>],
    code: &str,
) -> Vec<String> {
    let host = in_trouble.first().map_or("<SERVER>", |held| held.host);
    let server = spelt_in_command(host);
    let (holder, right) = right_one(connector, name, told)
        .map_or((host, "<THUMBPRINT>"), |(holder, one)| (holder, one.thumbprint.as_str()));
    if connector.name.is_empty() {
        return vec![
            "Run the Hybrid Configuration Wizard again, and choose the certificate that is in service on its page of transport certificates:".into(),
            format!("    Get-ExchangeCertificate -Server {server} | fl Thumbprint,Issuer,Subject,Services,NotAfter"),
        ];
    }
    let mut steps = vec![
        "See which certificates its servers have:".to_string(),
        format!("    Get-ExchangeCertificate -Server {server} | fl Thumbprint,Issuer,Subject,Services,NotAfter"),
    ];
    if code == "pin-without-smtp" {
        steps.push("Give the one that is named the service SMTP, answering No when asked to overwrite the default SMTP certificate:".into());
        steps.extend(in_trouble.iter().map(|held| {
            let (server, chosen) = (spelt_in_command(held.host), held.chosen.unwrap_or("<THUMBPRINT>"));
            format!("    Enable-ExchangeCertificate -Server {server} -Thumbprint {chosen} -Services SMTP")
        }));
        return steps;
    }
    if code == "cannot-be-pinned" {
        steps.push(
            "Have one issued whose common name is one of its names (CN=mail.contoso.com), and name that one:".into(),
        );
        steps.extend(pin_to(connector, host, "<THUMBPRINT>"));
        return steps;
    }
    steps.push("Name the one that is to be shown:".into());
    steps.extend(pin_to(connector, holder, right));
    steps
}

fn malformed(subject: Subject, pin: &str) -> Finding {
    Finding::new(&META, subject, Verdict::Warn, format!("{} is no name of a certificate, and names none", quote(pin)))
        .code("malformed")
        .expected("<I>, the issuer, <S>, the subject, as Get-ExchangeCertificate shows them")
}

/// The listeners behind a connector's bindings.
fn listeners_of(connector: &ReceiveConnector, estate: &Estate) -> Vec<Listener> {
    let is_its = |listener: &Listener| {
        let to = listener.to.address.map(|address| SocketAddr::new(address, listener.to.port));
        Some(&listener.to.host) == connector.host.as_ref()
            && to.is_some_and(|to| connector.bindings.iter().any(|binding| binds(*binding, to)))
    };
    peer_listeners(estate).filter(is_its).collect()
}

/// What the wire says of a pin at one place.
enum Sight<'c> {
    Fits,
    Differs(&'c Certificate),
    Gone,
    /// The same, though another connector may have answered that has no STARTTLS to offer.
    PerhapsGone,
    Unseen(String),
}

fn judge_receive(connector: &ReceiveConnector, estate: &Estate, evidence: &Evidence) -> Option<Finding> {
    let pin = connector.pin.value()?;
    let skip = |why: &str| Some(Finding::new(&META, subject(connector), Verdict::Skip, why));
    let is_peers = connector.host.as_deref().is_some_and(|host| peers(estate).contains(host));
    if !is_peers {
        return skip("its server is no Mailbox server that is meant to work");
    }
    if !connector.is_enabled {
        return skip("it is disabled");
    }
    let Some(name) = connector.pinned() else { return Some(malformed(subject(connector), pin)) };
    if connector.mechanisms.value().is_some_and(|mechanisms| !mechanisms.tls()) {
        return skip("it has no Tls, so that it shows no certificate");
    }
    let certificates = Certificates::seen(estate, evidence);
    let mut worst: Option<Finding> = None;
    for listener in listeners_of(connector, estate) {
        let sight = look(connector, &name, &listener, &certificates, estate, evidence);
        let finding = judge_sight(connector, pin, &listener, &sight).at(listener.to.address);
        if worst.as_ref().is_none_or(|worst| finding.verdict > worst.verdict) {
            worst = Some(finding);
        }
    }
    let unheard = || Finding::new(&META, subject(connector), Verdict::Unknown, "it listens where nothing was asked");
    let host = connector.host.clone().unwrap_or_default();
    let stocks = stocks(estate, evidence);
    let stock = stocks.get(&host);
    let finding = worst.unwrap_or_else(unheard).suspects(Trouble::Name(host));
    let fitting = fitting(connector, &name, &certificates, stock);
    if fitting.len() > 1 && (finding.verdict < Verdict::Warn || finding.verdict == Verdict::Unknown) {
        return Some(two_fit(connector, &name, fitting, estate, &stocks));
    }
    // Where the port was not seen, an export tells whether there is anything to show.
    if finding.verdict == Verdict::Unknown && fitting.is_empty() && stock.is_some_and(|stock| stock.is_whole) {
        return Some(none_to_show(connector, pin));
    }
    Some(finding)
}

/// The server has none that fits, by its export; its port was not seen.
fn none_to_show(connector: &ReceiveConnector, pin: &str) -> Finding {
    let host = connector_host(connector);
    let seen = format!(
        "it names {}, and by its export {host} has none that fits: STARTTLS will be gone (event 12014)",
        quote(pin)
    );
    Finding::new(&META, subject(connector), Verdict::Warn, seen)
        .code("pin-fits-none")
        .remedy("See which certificates it has:")
        .remedy(list_command(host))
        .remedy("Name the one that is to be shown; without the service SMTP give it that first (Enable-ExchangeCertificate -Services SMTP, answering No):")
        .remedy(pin_command(connector, host))
        .remedy("    Restart-Service MSExchangeTransport,MSExchangeFrontEndTransport")
}

fn list_command(host: &str) -> String {
    format!("    Get-ExchangeCertificate -Server {host} | fl Thumbprint,Issuer,Subject,Services,NotAfter")
}

fn pin_command(connector: &ReceiveConnector, host: &str) -> String {
    let identity = identity(connector);
    format!(
        "    $c = Get-ExchangeCertificate -Server {host} <THUMBPRINT>; Set-ReceiveConnector {identity} -TlsCertificateName \"<I>$($c.Issuer)<S>$($c.Subject)\""
    )
}

fn look<'c>(
    connector: &ReceiveConnector,
    name: &CertificateName,
    listener: &Listener,
    certificates: &'c Certificates,
    estate: &Estate,
    evidence: &Evidence,
) -> Sight<'c> {
    let place = listener.to.address.map(|address| SocketAddr::new(address, listener.to.port));
    let connectors = Connectors::of(&listener.to.host, estate, evidence);
    let Some((connectors, place)) = connectors.zip(place) else { return Sight::Unseen("it was not asked".into()) };
    // This machine meets whichever connector has its address; of that, nothing is known but what is likely.
    if connectors.default_at(place) != Some(connector) {
        return Sight::Unseen("another connector answers whoever is not in its range, as this machine may be".into());
    }
    let first = listener.first_look(evidence);
    if let Some(why) = first.inspected() {
        return Sight::Unseen(why);
    }
    let Some(session) = first.talked() else {
        let why = first.unwilling().or_else(|| first.miss.map(ToString::to_string));
        return Sight::Unseen(why.unwrap_or_else(|| "the run ended before it answered".into()));
    };
    if session.offers(Upgrade::StartTls.keyword()).is_none() {
        let has_tls = |other: &&ReceiveConnector| other.mechanisms.value().is_some_and(|mechanisms| mechanisms.tls());
        return if connectors.at(place).iter().all(has_tls) { Sight::Gone } else { Sight::PerhapsGone };
    }
    let mut shown = certificates
        .shown
        .iter()
        .filter(|shown| shown.listener.to == listener.to && shown.upgrade == Some(Upgrade::StartTls));
    let Some(first) = shown.next() else {
        return Sight::Unseen("STARTTLS is offered, and no certificate was seen".into());
    };
    let first = certificates.leaf(first);
    let fits = |certificate: &Certificate| name.names(certificate);
    if fits(first) || shown.any(|shown| fits(certificates.leaf(shown))) { Sight::Fits } else { Sight::Differs(first) }
}

fn judge_sight(connector: &ReceiveConnector, pin: &str, listener: &Listener, sight: &Sight<'_>) -> Finding {
    let (host, port) = (server_name(&listener.to.host), listener.to.port);
    let finding = |verdict, seen: String| {
        Finding::new(&META, subject(connector), verdict, seen)
            .suspects(Trouble::HostDark(listener.to.host.clone()))
            .suspects(Trouble::PortShut(listener.subject()))
    };
    let list = || list_command(host);
    let pin_anew = || pin_command(connector, host);
    let restart = || "    Restart-Service MSExchangeTransport,MSExchangeFrontEndTransport".to_string();
    match sight {
        Sight::Fits => finding(Verdict::Pass, format!("{port} shows the certificate that it names")),
        Sight::Unseen(why) => {
            finding(Verdict::Unknown, format!("it names {}, and what {port} shows was not seen: {why}", quote(pin)))
        }
        Sight::Differs(shown) => finding(
            Verdict::Warn,
            format!(
                "it names {}, and {port} shows {} of {} ({})",
                quote(pin),
                quote(&shown.subject.text),
                quote(&shown.issuer.text),
                shown.thumbprint
            ),
        )
        .code("differs")
        .remedy(format!("See whether {host} has the certificate that is named, with the service SMTP:"))
        .remedy(list())
        .remedy("If it has, and controllers have replicated, the service only has to take it up; on it:")
        .remedy(restart())
        .remedy("If the one that is shown is right, name that one:")
        .remedy(pin_anew()),
        Sight::Gone | Sight::PerhapsGone => {
            let verdict = if matches!(sight, Sight::Gone) { Verdict::Fail } else { Verdict::Warn };
            let seen = format!(
                "{port} offers no STARTTLS, though it has Tls: it names {}, which {host} seems not to have",
                quote(pin)
            );
            let finding = finding(verdict, seen);
            // Where another connector may have answered, this one explains nothing.
            let finding = match sight {
                Sight::Gone => finding.is(Trouble::PinStale(listener.subject())),
                _ => finding,
            };
            finding
                .code("starttls-gone")
                .remedy("See which certificates it has (event 12014 names the one that it looks for):")
                .remedy(list())
                .remedy("Name the one that is to be shown; without the service SMTP give it that first (Enable-ExchangeCertificate -Services SMTP, answering No):")
                .remedy(pin_anew())
                .remedy(restart())
        }
    }
}

/// Certificates of a server that a pin names, by thumbprint, with the beginnings of their lives: those that it shows by STARTTLS, and
/// those that an export has.
fn fitting<'c>(
    connector: &ReceiveConnector,
    name: &CertificateName,
    certificates: &'c Certificates,
    stock: Option<&'c Stock>,
) -> BTreeMap<&'c str, Option<Timestamp>> {
    let is_here = |host: &String| connector.host.as_ref() == Some(host);
    let here = certificates
        .shown
        .iter()
        .filter(|shown| shown.upgrade == Some(Upgrade::StartTls) && is_here(&shown.listener.to.host));
    let leaves = here.map(|shown| certificates.leaf(shown)).filter(|leaf| name.names(leaf));
    let shown = leaves.map(|leaf| (leaf.thumbprint.as_str(), Some(leaf.not_before)));
    let wanted = Wanted { pin: connector.pin.value().map(String::as_str), fqdn: None, host: "" };
    let whole = stock.filter(|stock| stock.is_whole).map(|stock| select(stock, &wanted, certificates.now));
    let had = whole.into_iter().flat_map(|selected| selected.candidates());
    shown.chain(had.map(|one| (one.thumbprint.as_str(), one.not_before))).collect()
}

fn two_fit(
    connector: &ReceiveConnector,
    name: &CertificateName,
    fitting: BTreeMap<&str, Option<Timestamp>>,
    estate: &Estate,
    stocks: &BTreeMap<String, Stock>,
) -> Finding {
    let day = |when: &Option<Timestamp>| {
        when.map_or_else(String::new, |when| format!(" since {}", when.strftime("%Y-%m-%d")))
    };
    let told: Vec<_> = fitting.iter().map(|(thumbprint, since)| format!("{thumbprint}{}", day(since))).collect();
    let seen = format!("it names {} certificates of the server alike: {}", fitting.len(), told.join(", "));
    let finding = Finding::new(&META, subject(connector), Verdict::Warn, seen).code("two-fit");
    let host = connector.host.as_deref().unwrap_or("<SERVER>");
    one_of_two(finding, &[Alike { host, certificates: fitting }], name, stocks, estate)
}

/// Leaves the newest of those that are named alike, in the order that is safe. Nothing is removed before every server that has to
/// show the new one has it.
fn one_of_two(
    finding: Finding,
    alike: &[Alike<'_>],
    name: &CertificateName,
    stocks: &BTreeMap<String, Stock>,
    estate: &Estate,
) -> Finding {
    let newest =
        alike.iter().flat_map(|one| &one.certificates).max_by_key(|(thumbprint, since)| (**since, **thumbprint));
    let Some((new, _)) = newest else { return finding };
    let has_new = |host: &str| {
        alike.iter().any(|one| one.host == host && one.certificates.contains_key(new))
            || stocks.get(host).is_some_and(|stock| stock.certificates.contains_key(*new))
    };
    let (subject, issuer) =
        (DistinguishedName::read(&name.subject), name.issuer.as_deref().map(DistinguishedName::read));
    let names_it = |pin: &String| {
        CertificateName::read(pin).is_some_and(|other| match &issuer {
            Some(issuer) => other.fits(&subject, issuer),
            None => DistinguishedName::read(&other.subject) == subject,
        })
    };
    let connectors = outgoing(estate);
    let senders: Vec<_> = connectors.iter().filter(|c| c.pin.value().is_some_and(names_it)).collect();
    let hybrid = as_sent_by_hybrid(&estate.organisation, estate).filter(|c| c.pin.value().is_some_and(names_it));
    let sources: BTreeSet<_> = senders.iter().copied().chain(&hybrid).flat_map(|sender| &sender.sources).collect();
    let is_hybrid = hybrid.is_some();
    let all = alike.iter().map(|one| one.host).chain(sources.iter().map(|host| host.as_str()));
    let lacking: BTreeSet<_> = all.filter(|host| !has_new(host)).collect();
    if !lacking.is_empty() {
        let lacking: Vec<_> = lacking.into_iter().map(spelt_in_command).collect();
        return finding.remedy(format!(
            "Import {new} on the others first ({}), which are not known to have it; then give exports of all of them (--input) and run again. Remove nothing before that.",
            lacking.join(", ")
        ));
    }
    let server = alike.first().map_or("<SERVER>", |one| server_name(spelt_in_command(one.host)));
    let remove = |finding: Finding| {
        let each = alike.iter().flat_map(|one| {
            let old = one.certificates.keys().filter(|thumbprint| *thumbprint != new);
            old.map(|old| remove_unless_internal(one.host, old, stocks, estate))
        });
        each.flatten().fold(finding, Finding::remedy)
    };
    if senders.is_empty() && !is_hybrid {
        let finding = finding.remedy("Once every service that needs it has the new one, remove the old one, and let both transport services look again:");
        return remove(finding).remedy("    Restart-Service MSExchangeTransport,MSExchangeFrontEndTransport");
    }
    // Exchange refuses to remove a certificate that a send connector names.
    let sources: Vec<_> = sources.into_iter().map(|host| spelt_in_command(host)).collect();
    let sources = if sources.is_empty() { String::new() } else { format!(" ({})", sources.join(", ")) };
    let names: Vec<_> = match senders.as_slice() {
        [] => vec![in_command("")],
        senders => senders.iter().map(|sender| in_command(&sender.name)).collect(),
    };
    let each = |finding: Finding, value: &str| {
        names.iter().fold(finding, |finding, name| {
            finding.remedy(format!("    Set-SendConnector {name} -TlsCertificateName {value}"))
        })
    };
    let finding = finding
        .remedy("A send connector or the hybrid configuration names it too, and Exchange keeps what is named. Once every service that needs it has the new one:")
        .remedy(format!("On every source server{sources} keep mail from going out meanwhile:"))
        .remedy("    Stop-Service MSExchangeTransport")
        .remedy("Take the name away, let controllers replicate, and remove the old one:");
    let finding = each(finding, "$null").remedy("    repadmin /syncall /AdeP");
    let finding = remove(finding)
        .remedy("Name the new one again, and start what was stopped:")
        .remedy(format!("    $c = Get-ExchangeCertificate -Server {server} {new}"));
    each(finding, "\"<I>$($c.Issuer)<S>$($c.Subject)\"")
        .remedy("    Start-Service MSExchangeTransport; Restart-Service MSExchangeFrontEndTransport")
}

fn connector_host(connector: &ReceiveConnector) -> &str {
    connector.host.as_deref().map_or("<SERVER>", server_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::{
            certificate::Name,
            connector::TransportRole::FrontEnd,
            export::{ExportedCertificate, RootKind, Services},
            protocol_log::{LoggedCertificate, SendSession},
            raw::Raw,
        },
        model::{
            connectors::testing::{EVERYBODY, connector, estate, heard, words},
            inputs::Supposed,
            organisation::SendConnector,
        },
    };

    const SHOWN: &[u8] = include_bytes!("../../tests/chains/samples/pinned.der");
    const OTHER: &[u8] = include_bytes!("../../tests/chains/samples/server.der");

    /// The pin of the certificate `SHOWN`, without its issuer.
    const PIN: &str = "<S>CN=mail.contoso.com + OU=Mail, E=post@contoso.com, OU=\"R+D\", O=\"Contoso, Ltd.\", L=Zürich, S=Kent, \
        PostalCode=8000, SERIALNUMBER=3014267, OID.1.3.6.1.4.1.311.60.2.1.3=US, OID.2.5.4.15=Private Organization, C=US";

    fn judge(pin: &str, keywords: &[&str], shown: Option<&[u8]>, more: &[ReceiveConnector]) -> Vec<String> {
        let (mut estate, mut evidence) = estate(&[("EX01", "10.0.0.1")]);
        let front = connector("EX01", "Front", 25, FrontEnd, 31, &EVERYBODY);
        estate.organisation.receive_connectors = vec![ReceiveConnector { pin: Told::Is(pin.into()), ..front }];
        estate.organisation.receive_connectors.extend_from_slice(more);
        heard(&mut evidence, ("EX01", "10.0.0.1", 25), Upgrade::StartTls, keywords, shown);
        words(Pinned.judge(&estate, &evidence))
    }

    #[test]
    fn what_is_named_is_held_against_what_is_shown() {
        assert_eq!(judge(PIN, &["STARTTLS"], Some(SHOWN), &[]), ["pass EX01/Front"]);
        assert_eq!(judge(PIN, &["STARTTLS"], Some(OTHER), &[]), ["warn EX01/Front differs"]);
        assert_eq!(judge(PIN, &[], None, &[]), ["fail EX01/Front starttls-gone"]);
        assert_eq!(judge("mail.contoso.com", &["STARTTLS"], Some(SHOWN), &[]), ["warn EX01/Front malformed"]);
        let relay = connector("EX01", "Relay", 25, FrontEnd, 0, &["10.0.0.9"]);
        assert_eq!(judge(PIN, &[], None, &[relay]), ["warn EX01/Front starttls-gone"], "perhaps the relay answered");
    }

    #[test]
    fn what_a_send_connector_names_is_set_free_before_it_is_removed() {
        let certificate = Certificate::parse(SHOWN).unwrap();
        let (old, since) = (hex::encode([1; 20]), Some(certificate.not_before));
        let fitting = BTreeMap::from([(certificate.thumbprint.as_str(), since), (old.as_str(), None)]);
        let front = connector("EX01", "Front", 25, FrontEnd, 31, &EVERYBODY);
        let (estate, _) = estate(&[("EX01", "10.0.0.1"), ("EX02", "10.0.0.2")]);
        let remedy = |send_connectors: Vec<SendConnector>| {
            let mut estate = estate.clone();
            estate.organisation.send_connectors = send_connectors;
            let name = CertificateName::read(PIN).unwrap();
            two_fit(&front, &name, fitting.clone(), &estate, &BTreeMap::new()).remedy.join("\n")
        };
        let alone = remedy(Vec::new());
        assert!(alone.contains("Remove-ExchangeCertificate -Server ex01") && !alone.contains("Set-SendConnector"));
        let sender = |name: &str, pin: &str| SendConnector {
            name: name.into(),
            smart_hosts: Vec::new(),
            address_spaces: Vec::new(),
            fqdn: None,
            pin: Told::Is(pin.into()),
            sources: vec!["EX01".into()],
            is_enabled: true,
            flags: 0,
            tls_domain: None,
        };
        let send_connectors = vec![sender("Out", PIN), sender("Other", "<S>CN=other.contoso.com")];
        let far = SendConnector { sources: vec!["EX02".into()], ..sender("Far", PIN) };
        let lacking = remedy(vec![far]);
        assert!(
            lacking.contains("ex02") && !lacking.contains("Remove-Exchange") && !lacking.contains("$null"),
            "{lacking}"
        );
        let named = remedy(send_connectors);
        let at = |step: &str| named.find(step).unwrap_or_else(|| panic!("{step} in {named}"));
        let order = [
            "Stop-Service",
            "\"Out\" -TlsCertificateName $null",
            "Remove-Exchange",
            "\"Out\" -TlsCertificateName \"<I>",
        ];
        assert!(order.map(at).is_sorted(), "{named}");
        assert!(!named.contains("Other"));
    }

    #[test]
    fn a_connector_that_answers_others_was_not_seen() {
        let everybody = connector("EX01", "Wide", 25, FrontEnd, 31, &EVERYBODY);
        let narrow = ReceiveConnector {
            pin: Told::Is(PIN.into()),
            ..connector("EX01", "Narrow", 25, FrontEnd, 31, &["10.0.0.9"])
        };
        let (mut estate, mut evidence) = estate(&[("EX01", "10.0.0.1")]);
        estate.organisation.receive_connectors = vec![everybody, narrow];
        heard(&mut evidence, ("EX01", "10.0.0.1", 25), Upgrade::StartTls, &["STARTTLS"], Some(OTHER));
        assert_eq!(words(Pinned.judge(&estate, &evidence)), ["unknown EX01/Narrow"]);
    }

    #[test]
    fn where_nobody_names_one_all_is_well() {
        let (mut estate, evidence) = estate(&[("EX01", "10.0.0.1")]);
        assert_eq!(words(Pinned.judge(&estate, &evidence)), ["skip estate"]);
        let front = connector("EX01", "Front", 25, FrontEnd, 31, &EVERYBODY);
        estate.organisation.receive_connectors = vec![front.clone()];
        assert_eq!(words(Pinned.judge(&estate, &evidence)), ["pass estate"]);
        estate.organisation.receive_connectors.push(ReceiveConnector { pin: Told::Unread, ..front });
        assert_eq!(words(Pinned.judge(&estate, &evidence)), ["unknown estate"]);
    }

    const THE_PIN: &str = "<I>CN=Public CA, O=Trust, C=US<S>CN=mail.contoso.com";

    fn row(server: &str, number: u8, issuer: &str, since: &str) -> ExportedCertificate {
        ExportedCertificate {
            server: server.into(),
            thumbprint: hex::encode([number; 20]),
            subject: "CN=mail.contoso.com".into(),
            issuer: issuer.into(),
            services: Some(Services(16)),
            not_before: since.parse().ok(),
            not_after: "2030-01-01T00:00:00Z".parse().ok(),
            has_private_key: Some(true),
            ..ExportedCertificate::default()
        }
    }

    const PUBLIC: &str = "C=US, O=Trust, CN=Public CA";

    fn client(pin: &str, change: impl Fn(&mut Estate)) -> Vec<String> {
        words(found(pin, change))
    }

    fn found(pin: &str, change: impl Fn(&mut Estate)) -> Vec<Finding> {
        let (mut estate, evidence) = estate(&[("EX01", "10.0.0.1"), ("EX02", "10.0.0.2")]);
        estate.organisation.send_connectors = vec![SendConnector {
            name: "Out".into(),
            smart_hosts: vec!["contoso-com.mail.protection.outlook.com".into()],
            address_spaces: Vec::new(),
            fqdn: None,
            pin: Told::Is(pin.into()),
            sources: vec!["EX01".into(), "EX02".into()],
            is_enabled: true,
            flags: 0,
            tls_domain: None,
        }];
        change(&mut estate);
        let findings = Pinned.judge(&estate, &evidence);
        findings.into_iter().filter(|finding| finding.subject != Subject::Estate).collect()
    }

    fn exported(pin: &str, rows: &[ExportedCertificate]) -> String {
        client(pin, |estate| estate.plan.inputs.certificates = Some(rows.to_vec())).join(" | ")
    }

    #[test]
    fn what_is_named_for_clients_is_held_against_exports() {
        let on = |number, issuer| {
            [row("ex01", number, issuer, "1969-01-01T00:00:00Z"), row("EX02", number, issuer, "1969-01-01T00:00:00Z")]
        };
        assert_eq!(client(THE_PIN, |_| ()), ["skip send connector/Out"]);
        assert_eq!(exported(THE_PIN, &on(1, PUBLIC)), "pass send connector/Out");
        assert_eq!(exported(THE_PIN, &on(1, PUBLIC)[..1]), "unknown send connector/Out");
        assert_eq!(exported(THE_PIN, &on(1, "CN=New CA")), "fail send connector/Out pin-fits-none");
        let two = [&on(1, PUBLIC)[..], &on(2, PUBLIC)[..]].concat();
        assert_eq!(exported(THE_PIN, &two), "warn send connector/Out two-fit");
        let changed = |change: &dyn Fn(&mut ExportedCertificate)| {
            let mut rows = on(1, PUBLIC);
            rows.iter_mut().for_each(change);
            exported(THE_PIN, &rows)
        };
        assert_eq!(changed(&|row| row.services = Some(Services(8))), "fail send connector/Out pin-without-smtp");
        assert_eq!(changed(&|row| row.has_private_key = Some(false)), "fail send connector/Out pin-fits-none");
        // The evidence of these tests is of 1970.
        assert_eq!(
            changed(&|row| row.not_after = "1969-12-01T00:00:00Z".parse().ok()),
            "fail send connector/Out pin-not-valid"
        );
        let rows = on(1, PUBLIC).map(|row| ExportedCertificate { subject: "O=Contoso".into(), ..row });
        assert_eq!(
            exported("<I>CN=Public CA, O=Trust, C=US<S>O=Contoso", &rows),
            "warn send connector/Out cannot-be-pinned"
        );
    }

    #[test]
    fn nothing_is_removed_where_the_new_one_is_not() {
        let on = |server, number, since| row(server, number, PUBLIC, since);
        let (old, new) = ("1969-01-01T00:00:00Z", "1969-06-01T00:00:00Z");
        let remedy = |rows: &[ExportedCertificate]| {
            let found = found(THE_PIN, |estate| estate.plan.inputs.certificates = Some(rows.to_vec()));
            let found = found.into_iter().find(|finding| finding.code == Some("two-fit")).unwrap();
            found.remedy.join("\n")
        };
        let rows = [on("EX01", 1, old), on("EX02", 1, old), on("EX02", 2, new)];
        let lacking = remedy(&rows);
        assert!(lacking.contains("ex01.contoso.com") && !lacking.contains("Remove-Exchange"), "{lacking}");
        let (first, second) = (hex::encode([1; 20]), hex::encode([2; 20]));
        let rows = [on("EX01", 2, new), on("EX02", 1, old), on("EX02", 2, new)];
        let both = remedy(&rows);
        assert!(
            both.contains(&format!("Remove-ExchangeCertificate -Server ex02.contoso.com -Thumbprint {first}")),
            "{both}"
        );
        assert!(
            !both.contains("-Server ex01.contoso.com -Thumbprint") && !both.contains(&format!("-Thumbprint {second}"))
        );
        assert!(both.contains("internal transport certificate"), "whether it is that one nobody told: {both}");
    }

    #[test]
    fn the_one_to_be_named_is_one_that_the_cloud_trusts() {
        let remedy = |root: RootKind| {
            let of = |server| ExportedCertificate {
                domains: vec!["mail.contoso.com".into()],
                root: Some(root),
                ..row(server, 3, "CN=Some CA", "1969-01-01T00:00:00Z")
            };
            let rows = vec![of("EX01"), of("EX02")];
            let found = found(THE_PIN, |estate| estate.plan.inputs.certificates = Some(rows.clone()));
            found.into_iter().find(|finding| finding.code == Some("pin-fits-none")).unwrap().remedy.join("\n")
        };
        let it = hex::encode([3; 20]);
        assert!(remedy(RootKind::ThirdParty).contains(&it));
        assert!(!remedy(RootKind::Enterprise).contains(&it));
    }

    #[test]
    fn what_was_shown_once_may_have_been_named_since() {
        let logged = |issuer: &str, refusals: &[&str]| {
            let sent = LoggedCertificate {
                thumbprint: hex::encode([1; 20]),
                subject: "CN=mail.contoso.com".into(),
                issuer: issuer.into(),
                ..LoggedCertificate::default()
            };
            let session = |server: &str| SendSession {
                server: Some(server.into()),
                local: None,
                connector: "OUT".into(),
                remote: None,
                remote_name: None,
                when: "2026-11-22T10:00:00Z".parse().unwrap(),
                sent: Some(sent.clone()),
                received: None,
                refusals: refusals.iter().map(ToString::to_string).collect(),
                replies: Vec::new(),
            };
            let sessions = vec![session("EX01"), session("EX02")];
            client(THE_PIN, |estate| estate.plan.inputs.send_log = Some(sessions.clone())).join(" | ")
        };
        assert_eq!(logged(PUBLIC, &[]), "pass send connector/Out");
        assert_eq!(logged("CN=Other CA", &[]), "warn send connector/Out pin-fits-none");
        assert_eq!(logged("CN=Other CA", &["550 5.7.64 TenantAttribution"]), "fail send connector/Out pin-fits-none");
    }

    #[test]
    fn a_rehearsal_tells_what_a_pin_will_come_to() {
        let chain = vec![Raw(OTHER.to_vec())];
        let new = Certificate::parse(OTHER).unwrap();
        let supposed = |pin: &str, on: &[&str], removed: &[u8]| {
            let on = on.iter().map(ToString::to_string).collect();
            let removed = removed.iter().map(|number| hex::encode([*number; 20])).collect();
            let supposed = Supposed { chain: chain.clone(), on, removed, ..Supposed::default() };
            let rows = ["ex01", "ex02"].map(|server| row(server, 1, PUBLIC, "1969-06-01T00:00:00Z"));
            let change = |estate: &mut Estate| {
                estate.plan.inputs.certificates = Some(rows.to_vec());
                estate.plan.inputs.supposed = Some(supposed.clone());
            };
            client(pin, change).join(" | ")
        };
        let both = ["ex01.contoso.com", "ex02.contoso.com"];
        assert_eq!(supposed(THE_PIN, &both, &[]), "pass send connector/Out", "the new one is for another name");
        assert_eq!(supposed(THE_PIN, &both, &[1]), "fail send connector/Out pin-fits-none");
        let bare = |removed: u8| {
            let removed = vec![hex::encode([removed; 20])];
            let on = both.iter().map(ToString::to_string).collect();
            let supposed = Supposed { chain: chain.clone(), on, removed, ..Supposed::default() };
            client(THE_PIN, |estate| estate.plan.inputs.supposed = Some(supposed.clone())).join(" | ")
        };
        assert_eq!(bare(9), "skip send connector/Out", "what was removed is not what is named");
        let name = |name: &Name| name.text.clone();
        let pin = format!("<I>{}<S>{}", name(&new.issuer), name(&new.subject));
        assert_eq!(supposed(&pin, &both[..1], &[]), "fail send connector/Out pin-fits-none", "EX02 does not have it");
    }

    #[test]
    fn an_export_tells_what_a_port_that_was_not_seen_can_show() {
        let (mut estate, evidence) = estate(&[("EX01", "10.0.0.1")]);
        let front = connector("EX01", "Front", 25, FrontEnd, 31, &EVERYBODY);
        estate.organisation.receive_connectors = vec![ReceiveConnector { pin: Told::Is(THE_PIN.into()), ..front }];
        let with = |rows: &[ExportedCertificate]| {
            let mut estate = estate.clone();
            estate.plan.inputs.certificates = Some(rows.to_vec());
            words(Pinned.judge(&estate, &evidence)).concat()
        };
        let one = row("EX01", 1, PUBLIC, "1969-01-01T00:00:00Z");
        assert_eq!(with(&[row("EX01", 1, "CN=New CA", "1969-01-01T00:00:00Z")]), "warn EX01/Front pin-fits-none");
        assert_eq!(with(core::slice::from_ref(&one)), "unknown EX01/Front");
        assert_eq!(with(&[one, row("EX01", 2, PUBLIC, "1969-02-01T00:00:00Z")]), "warn EX01/Front two-fit");
    }
}
