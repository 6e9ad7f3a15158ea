//! `smtp-starttls`: STARTTLS is offered, and TLS begins.

use crate::{
    facts::{
        net::SMTP_PORT,
        smtp::{SmtpReply, SmtpSession, Upgrade},
        tls::{Offer, TlsSeen, version_name},
    },
    model::{
        ask::{Ask, Question},
        check::{Check, Need},
        estate::Estate,
        evidence::{Evidence, Miss, Reason, Stage},
        finding::{Finding, Trouble, Verdict},
        listeners::{Facing, Listener, Look, quote, server_name, smtp_listeners, smtp_port, unresolved},
        meta::{Basis, Fold, Meta, Tier},
        plan::ServerRole,
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

/// See the module.
pub struct StartTls;

static META: Meta = Meta {
    id: "smtp-starttls",
    area: "smtp",
    title: "STARTTLS is offered and works",
    question: "Does every SMTP port that should begin TLS offer STARTTLS, and does the handshake succeed?",
    healthy: "STARTTLS is offered, and the handshake succeeds",
    why: "Exchange takes STARTTLS out of its offer where the certificate that a connector names is not there, as after a renewal. Exchange Online and every sender that demands TLS then stop.",
    remedy: &[
        "See which certificate each connector names, and which there are:",
        "    Get-ReceiveConnector <SERVER>\\* | fl Identity,Bindings,AuthMechanism,TlsCertificateName",
        "    Get-ExchangeCertificate -Server <SERVER> | fl Thumbprint,Subject,Issuer,Services,NotAfter",
        "Name one that is there:",
        "    $c = $null; $c = Get-ExchangeCertificate <THUMBPRINT>; if ($c) { Set-ReceiveConnector \"<CONNECTOR>\" -TlsCertificateName \"<I>$($c.Issuer)<S>$($c.Subject)\" }",
        "Then Restart-Service MSExchangeTransport,MSExchangeFrontEndTransport",
    ],
    references: &[
        "RFC 3207",
        "RFC 3207 section 4.2",
        "Microsoft KB 2989382",
        "Microsoft KB 4051498",
        "Selection of inbound STARTTLS certificates (Microsoft Learn)",
    ],
    symptoms: &[
        "MSExchangeTransport event 12014",
        "451 5.7.3 STARTTLS is required to send mail",
        "TLS negotiation failed with error UnknownCredentials",
    ],
    tier: Tier::Anonymous,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Field, Basis::Lab],
};

impl Check for StartTls {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let of_listener = |listener: Listener| -> Vec<Need> {
            handshakes(&listener, estate, evidence).into_iter().map(|ask| listener.need(ask)).collect()
        };
        smtp_listeners(estate).flat_map(of_listener).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let judge_port = |listener: Listener| {
            let finding = judge_listener(&listener, estate, evidence)?;
            Some(finding.at(listener.to.address))
        };
        let ports = smtp_listeners(estate).filter_map(judge_port);
        let nameless = unresolved(&META, estate, evidence)
            .map(|(server, finding)| finding.suspects(Trouble::HostDark(server.name.clone())));
        ports.chain(nameless).collect()
    }
}

/// The usual handshake by STARTTLS, and those of old that are tried where it fails.
fn handshakes(listener: &Listener, estate: &Estate, evidence: &Evidence) -> Vec<Ask> {
    let begins = |ask: &Ask| {
        matches!(
            ask.what,
            Question::SmtpSession(SmtpSession { upgrade: Upgrade::StartTls, offer: Offer::Usual | Offer::UpTo(_) })
        )
    };
    listener.asks(estate, evidence).into_iter().filter(begins).collect()
}

/// `None` where the engine has the right words: not asked, interrupted, a way that this machine does not have.
fn judge_listener(listener: &Listener, estate: &Estate, evidence: &Evidence) -> Option<Finding> {
    let look = listener.first_look(evidence);
    if !look.is_answered || look.miss.is_some_and(|miss| matches!(miss.reason, Reason::Interrupted | Reason::Local(_)))
    {
        return None;
    }
    if let Some(why) = look.unwilling() {
        return Some(Finding::new(&META, listener.subject(), Verdict::Skip, why));
    }
    let Some(session) = look.talked() else { return unreached(listener, look.miss?, evidence) };
    if !session.injected.0.is_empty() {
        return Some(injection(listener, session));
    }
    let Some(upgrade) = session.upgrade() else { return Some(not_offered(listener, &look, estate)) };
    if upgrade.code() != Some(220) {
        let said = quote(&upgrade.lines.join(" "));
        let finding = trouble(listener, Verdict::Warn, "refused", format!("offered, and then refused: {said}"));
        return Some(name_certificate(finding, listener, estate));
    }
    match look.miss.filter(|miss| miss.stage == Stage::Tls) {
        Some(miss) => handshake_failed(listener, miss, estate, evidence),
        None => Some(passed(listener, &look)),
    }
}

fn unreached(listener: &Listener, miss: &Miss, evidence: &Evidence) -> Option<Finding> {
    if miss.is_no_route() || evidence.is_dead_address(&listener.to) {
        return None;
    }
    let subject = listener.subject();
    if listener.to.port != SMTP_PORT {
        return Some(Finding::new(&META, subject, Verdict::Skip, format!("nothing to look at: {miss}")));
    }
    let finding = Finding::new(&META, subject.clone(), Verdict::Unknown, format!("nothing could be seen: {miss}"))
        .suspects(Trouble::HostDark(listener.to.host.clone()))
        .suspects(Trouble::PortShut(subject));
    Some(finding.remedy("Run from a place where the server talks with who asks."))
}

/// The class of CVE-2011-0411: what was said before TLS is taken for said inside it.
fn injection(listener: &Listener, session: &SmtpReply) -> Finding {
    let count = session.injected.0.len();
    let seen = format!("behind its consent to begin TLS it sends {count} bytes more in plain text");
    trouble(listener, Verdict::Fail, "injection", seen)
        .remedy(format!("Something on the way to {} writes into the conversation, or its mail service is one with a known hole.", listener.to))
        .remedy("Run from the server's own network: if it is gone, look for a proxy that handles SMTP; if not, update the service.")
}

fn not_offered(listener: &Listener, look: &Look<'_>, estate: &Estate) -> Finding {
    // It takes X-ANONYMOUSTLS alone: only servers of the organisation dial it.
    if listener.to.port == smtp_port::DELIVERY {
        let seen = "not offered; Mailbox Transport Delivery takes X-ANONYMOUSTLS alone";
        return Finding::new(&META, listener.subject(), Verdict::Skip, seen);
    }
    let verdict = if listener.facing == Facing::Outside { Verdict::Fail } else { Verdict::Warn };
    if let Some(why) = look.inspected() {
        return trouble(listener, verdict, "not-offered", format!("not offered; {why}"))
            .remedy("A firewall that inspects SMTP is likelier than the connector: switch the inspection off for this server, and run again.");
    }
    let finding = trouble(listener, verdict, "not-offered", "not offered".to_string())
        .suspects(Trouble::PinStale(listener.subject()));
    let role = estate.servers.get(&listener.to.host).map(|server| server.role);
    if listener.facing == Facing::Outside || role == Some(ServerRole::Gateway) {
        return name_certificate(finding, listener, estate);
    }
    let (host, port) = (server_name(&listener.to.host), listener.to.port);
    let finding = finding
        .remedy(format!("See which connector answers on {port}; one of your own, as for relay, whose RemoteIPRanges hold this machine's address may have answered instead:"))
        .remedy(format!("    Get-ReceiveConnector -Server {host} | fl Identity,Bindings,RemoteIPRanges,AuthMechanism"));
    name_certificate(finding, listener, estate)
}

fn handshake_failed(listener: &Listener, miss: &Miss, estate: &Estate, evidence: &Evidence) -> Option<Finding> {
    let looks: Vec<_> = handshakes(listener, estate, evidence).iter().map(|ask| listener.look(ask, evidence)).collect();
    let first = listener.first_look(evidence);
    if let Some(old) = looks.iter().find_map(Look::seen).filter(|_| first.seen().is_none()) {
        let version = old.version.map_or("an old version of TLS", version_name);
        let seen = format!(
            "TLS begins with clients of old alone ({version}{}); inside it nothing could be seen. A client of today: {miss}",
            suite_of(old)
        );
        return Some(Finding::new(&META, listener.subject(), Verdict::Pass, seen));
    }
    if looks.iter().any(|look| !look.is_answered) {
        return None;
    }
    // A certificate was shown: then it may be our library that would not go on, and not the server.
    let is_outer = listener.facing == Facing::Outside && first.seen().is_none();
    let verdict = if is_outer { Verdict::Fail } else { Verdict::Warn };
    let finding =
        trouble(listener, verdict, "handshake-failed", format!("offered, and then the handshake fails: {miss}"));
    let finding = finding.remedy("The server's protocol log says why; UnknownCredentials or NoCredentials there: the certificate is not bound to SMTP, or its private key cannot be read.");
    Some(name_certificate(finding, listener, estate))
}

fn suite_of(seen: &TlsSeen) -> String {
    seen.suite.map(|suite| format!(", cipher suite 0x{suite:04x}")).unwrap_or_default()
}

fn passed(listener: &Listener, look: &Look<'_>) -> Finding {
    let version = look.seen.and_then(|seen| seen.version).map_or("TLS", version_name);
    let seen = match look.miss {
        None => format!("offered, and {version} begins"),
        Some(miss) => format!("offered, and {version} begins; inside it: {miss}"),
    };
    Finding::new(&META, listener.subject(), Verdict::Pass, seen)
}

/// That no certificate is seen here follows from it: as far as TLS goes, the port is shut.
fn trouble(listener: &Listener, verdict: Verdict, code: &'static str, seen: String) -> Finding {
    let subject = listener.subject();
    Finding::new(&META, subject.clone(), verdict, seen).code(code).is(Trouble::PortShut(subject))
}

/// The certificate that a connector names is there no more, or not for SMTP: what takes STARTTLS away or makes it fail.
fn name_certificate(finding: Finding, listener: &Listener, estate: &Estate) -> Finding {
    let host = server_name(&listener.to.host);
    let service = match (estate.servers.get(&listener.to.host).map(|server| server.role), listener.to.port) {
        (Some(ServerRole::Gateway), _) => {
            return finding
                .remedy(format!("On {host}, give its mail service a certificate, and let it offer STARTTLS."));
        }
        (Some(ServerRole::Edge), _) | (_, smtp_port::TRANSPORT | smtp_port::CLIENT_PROXY) => "MSExchangeTransport",
        _ => "MSExchangeFrontEndTransport",
    };
    finding
        .remedy("See whether the connector has Tls, and names a certificate that is there (event 12014 says if not):")
        .remedy(format!("    Get-ReceiveConnector {host}\\* | fl Identity,Bindings,AuthMechanism,TlsCertificateName"))
        .remedy(format!("    Get-ExchangeCertificate -Server {host} | fl Thumbprint,Subject,Issuer,Services,NotAfter"))
        .remedy("If it names another, name the one with the service SMTP that is to be shown, and restart:")
        .remedy("    $c = $null; $c = Get-ExchangeCertificate <THUMBPRINT>; if ($c) { Set-ReceiveConnector \"<CONNECTOR>\" -TlsCertificateName \"<I>$($c.Issuer)<S>$($c.Subject)\" }")
        .remedy(format!("    Restart-Service {service}"))
}
