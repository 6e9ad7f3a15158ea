//! What receive connectors name: does the port behind each show that certificate? Where the port was not seen, an export tells
//! whether there is one to show.

use super::{
    META,
    alike::{Alike, one_of_two},
    malformed,
};
use crate::{
    facts::{
        certificate::Certificate,
        connector::{CertificateName, binds},
        smtp::Upgrade,
    },
    model::{
        accounts::peers,
        certificates::Certificates,
        check::Need,
        connectors::{Connectors, identity, subject},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Trouble, Verdict},
        listeners::{Listener, peer_listeners, quote, server_name},
        organisation::ReceiveConnector,
        outgoing::naming,
        selection::{Wanted, select},
        stock::{Stock, stocks},
    },
};
use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::SocketAddr;
use jiff::Timestamp;

/// What the ports behind those that name one show.
pub(super) fn needs(estate: &Estate, evidence: &Evidence) -> Vec<Need> {
    let of_connector = |connector: &ReceiveConnector| -> Vec<Need> {
        let asks = listeners_of(connector, estate).into_iter().flat_map(|at| at.asks(estate, evidence));
        asks.map(|ask| Need { subject: subject(connector), ask }).collect()
    };
    let connectors = estate.organisation.receive_connectors.iter();
    connectors.filter(|connector| connector.pin.value().is_some()).flat_map(of_connector).collect()
}

/// What all of them name that name one.
pub(super) fn judge(estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
    let connectors = estate.organisation.receive_connectors.iter();
    connectors.filter_map(|connector| judge_one(connector, estate, evidence)).collect()
}

fn judge_one(connector: &ReceiveConnector, estate: &Estate, evidence: &Evidence) -> Option<Finding> {
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
    let fetched = format!("$c = Get-ExchangeCertificate -Server {host} <THUMBPRINT>");
    naming(&fetched, &format!("Set-ReceiveConnector {}", identity(connector)))
}

fn connector_host(connector: &ReceiveConnector) -> &str {
    connector.host.as_deref().map_or("<SERVER>", server_name)
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

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Pinned,
            testing::{PUBLIC, THE_PIN, row},
        },
        *,
    };
    use crate::{
        facts::{connector::TransportRole::FrontEnd, export::ExportedCertificate},
        model::{
            check::Check,
            connectors::testing::{EVERYBODY, connector, estate, heard, words},
            organisation::Told,
        },
    };
    use alloc::vec;

    const SHOWN: &[u8] = include_bytes!("../../../tests/chains/samples/pinned.der");
    const OTHER: &[u8] = include_bytes!("../../../tests/chains/samples/server.der");

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
