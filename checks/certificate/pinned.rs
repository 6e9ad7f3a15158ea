//! `certificate-pinned`: does every connector that names a certificate show that one?

use crate::{
    facts::{
        certificate::Certificate,
        connector::{CertificateName, binds},
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
        listeners::{Listener, peer_listeners, quote, server_name},
        meta::{Basis, Fold, Meta, Tier},
        organisation::{Organisation, ReceiveConnector, SearchOf, SendConnector, Told, searches},
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
    tier: Tier::User,
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
        if let Some(unread) = unread(&META, &SEARCHES, estate, evidence) {
            return vec![unread];
        }
        let organisation = &estate.organisation;
        let receive = organisation.receive_connectors.iter();
        let mut findings: Vec<_> = receive.filter_map(|connector| judge_receive(connector, estate, evidence)).collect();
        if findings.is_empty() {
            findings.push(nobody(estate));
        }
        let send = organisation.send_connectors.iter().filter_map(judge_send);
        let hybrid = organisation.hybrid.as_ref().and_then(|hybrid| hybrid.pin.as_ref());
        let hybrid =
            hybrid.map(|pin| as_client(Subject::Configured("hybrid".into(), "TlsCertificateName".into()), pin));
        findings.into_iter().chain(send).chain(hybrid).collect()
    }
}

/// No receive connector names a certificate, as far as that is shown.
fn nobody(estate: &Estate) -> Finding {
    let connectors = &estate.organisation.receive_connectors;
    let unread = connectors.iter().filter(|connector| connector.pin == Told::Unread).count();
    let (verdict, seen) = if connectors.is_empty() {
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

fn judge_send(connector: &SendConnector) -> Option<Finding> {
    let pin = connector.pin.value()?;
    Some(as_client(Subject::Configured("send connector".into(), connector.name.clone()), pin))
}

/// What is named for the client's side.
fn as_client(subject: Subject, pin: &str) -> Finding {
    if CertificateName::read(pin).is_none() {
        return malformed(subject, pin);
    }
    let seen = format!("it names {}; what Exchange presents as a client is seen only in exports and logs", quote(pin));
    Finding::new(&META, subject, Verdict::Skip, seen)
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
    let finding = worst.unwrap_or_else(unheard).suspects(Trouble::Name(host));
    let fitting = fitting(connector, &name, &certificates);
    if finding.verdict < Verdict::Warn && fitting.len() > 1 {
        return Some(two_fit(connector, &fitting, &estate.organisation));
    }
    Some(finding)
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
    let list =
        || format!("    Get-ExchangeCertificate -Server {host} | fl Thumbprint,Issuer,Subject,Services,NotAfter");
    let pin_anew = || {
        let identity = identity(connector);
        format!(
            "    $c = Get-ExchangeCertificate -Server {host} <THUMBPRINT>; Set-ReceiveConnector {identity} -TlsCertificateName \"<I>$($c.Issuer)<S>$($c.Subject)\""
        )
    };
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

/// Certificates that a server shows by STARTTLS and that a pin names, by thumbprint.
fn fitting<'c>(
    connector: &ReceiveConnector,
    name: &CertificateName,
    certificates: &'c Certificates,
) -> BTreeMap<&'c str, &'c Certificate> {
    let is_here = |host: &String| connector.host.as_ref() == Some(host);
    let here = certificates
        .shown
        .iter()
        .filter(|shown| shown.upgrade == Some(Upgrade::StartTls) && is_here(&shown.listener.to.host));
    let leaves = here.map(|shown| certificates.leaf(shown)).filter(|leaf| name.names(leaf));
    leaves.map(|leaf| (leaf.thumbprint.as_str(), leaf)).collect()
}

fn two_fit(
    connector: &ReceiveConnector,
    fitting: &BTreeMap<&str, &Certificate>,
    organisation: &Organisation,
) -> Finding {
    let mut all: Vec<_> = fitting.values().collect();
    all.sort_by_key(|certificate| certificate.not_before);
    let told = all.iter().map(|one| format!("{} since {}", one.thumbprint, one.not_before.strftime("%Y-%m-%d")));
    let told: Vec<String> = told.collect();
    let old = all.first().map_or("<THUMBPRINT>", |certificate| certificate.thumbprint.as_str());
    let seen = format!("it names {} certificates of the server alike: {}", all.len(), told.join(", "));
    let finding = Finding::new(&META, subject(connector), Verdict::Warn, seen).code("two-fit");
    let remove = format!("    Remove-ExchangeCertificate -Server {} -Thumbprint {old}", connector_host(connector));
    let names_it = |pin: &String| {
        CertificateName::read(pin).is_some_and(|name| all.iter().any(|certificate| name.names(certificate)))
    };
    let senders: Vec<_> = organisation.send_connectors.iter().filter(|c| c.pin.value().is_some_and(names_it)).collect();
    let is_hybrid = organisation.hybrid.as_ref().and_then(|hybrid| hybrid.pin.as_ref()).is_some_and(names_it);
    if senders.is_empty() && !is_hybrid {
        return finding
            .remedy("Once every service that needs it has the new one, remove the old one, and let both transport services look again:")
            .remedy(remove)
            .remedy("    Restart-Service MSExchangeTransport,MSExchangeFrontEndTransport");
    }
    // Exchange refuses to remove a certificate that a send connector names.
    let sources: BTreeSet<_> = senders.iter().flat_map(|sender| &sender.sources).map(|name| quote(name)).collect();
    let sources: Vec<_> = sources.into_iter().collect();
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
    let finding = each(finding, "$null")
        .remedy("    repadmin /syncall /AdeP")
        .remedy(remove)
        .remedy("Name the new one again, and start what was stopped:")
        .remedy("    $c = Get-ExchangeCertificate <THUMBPRINT OF THE NEW ONE>");
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
        facts::connector::TransportRole::FrontEnd,
        model::connectors::testing::{EVERYBODY, connector, estate, heard, words},
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
        let fitting = BTreeMap::from([(certificate.thumbprint.as_str(), &certificate)]);
        let front = connector("EX01", "Front", 25, FrontEnd, 31, &EVERYBODY);
        let remedy = |organisation: &Organisation| two_fit(&front, &fitting, organisation).remedy.join("\n");
        let alone = remedy(&Organisation::default());
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
        let named = remedy(&Organisation { send_connectors, ..Organisation::default() });
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
}
