//! `certificate-internal`: do peers see the internal transport certificate that the directory names?

use crate::{
    facts::{certificate::Certificate, connector::suppresses_anonymous_tls, net::SMTP_PORT, smtp::Upgrade},
    model::{
        ask::{Ask, Question},
        certificates::Certificates,
        check::{Check, Need},
        connectors::{Connectors, are_read},
        estate::Estate,
        evidence::Evidence,
        finding::{Finding, Subject, Trouble, Verdict},
        listeners::{Listener, is_anothers, peer_listeners, server_name, smtp_port, unresolved_peers},
        meta::{Basis, Fold, Meta, Tier},
        organisation::{Told, searches},
        plan::{ServerRole, ServerState},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::net::SocketAddr;

/// See the module.
pub struct Internal;

static META: Meta = Meta {
    id: "certificate-internal",
    area: "certificate",
    title: "Peers see the internal transport certificate",
    question: "Does each server show its peers the internal transport certificate that the directory has for it?",
    healthy: "X-ANONYMOUSTLS shows the certificate of the server's object in the directory",
    why: "Between Exchange servers TLS begins by X-ANONYMOUSTLS, with a certificate of its own, whose thumbprint stands in the directory. Where it is overwritten, removed or lost with its key at a renewal, X-ANONYMOUSTLS is not offered any more; where it was replaced, services show the former one until they are restarted.",
    remedy: &[
        "See which it is: Get-TransportService <SERVER> | fl InternalTransportCertificateThumbprint; Get-ExchangeCertificate -Server <SERVER> | fl Thumbprint,Subject,Services,NotAfter",
        "Make another, and answer Yes when asked to overwrite the default SMTP certificate: New-ExchangeCertificate -SubjectName \"CN=<SERVER>\" -DomainName <SERVER>,<SERVER'S FULL NAME> -Services SMTP",
        "    Restart-Service MSExchangeTransport,MSExchangeFrontEndTransport,MSExchangeDelivery",
    ],
    references: &[
        "Selection of inbound anonymous TLS certificates (Microsoft Learn)",
        "Enable-ExchangeCertificate (Microsoft Learn)",
        "Set-ReceiveConnector, parameter SuppressXAnonymousTls (Microsoft Learn)",
    ],
    symptoms: &[
        "MSExchangeTransport event 12012",
        "MSExchangeTransport event 12013",
        "451 5.7.3 Cannot load Internal Transport Certificate",
    ],
    tier: Tier::Anonymous,
    fold: Fold::BestInformed,
    evidence: &[Basis::Spec, Basis::Field, Basis::Lab],
};

impl Check for Internal {
    fn meta(&self) -> &'static Meta {
        &META
    }

    fn needs(&self, estate: &Estate, evidence: &Evidence) -> Vec<Need> {
        let of_listener = |listener: Listener| -> Vec<Need> {
            let subject = || Subject::Host(listener.to.host.clone());
            listener.asks(estate, evidence).into_iter().map(|ask| Need { subject: subject(), ask }).collect()
        };
        dialled(estate).flat_map(of_listener).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        let mut hosts: BTreeMap<String, Vec<Listener>> = BTreeMap::new();
        for listener in dialled(estate) {
            let listeners = hosts.entry(listener.to.host.clone()).or_default();
            if !is_anothers(&listener, estate, evidence) {
                listeners.push(listener);
            }
        }
        let peers = hosts.iter().map(|(host, listeners)| Sight::of(host, listeners, estate, evidence).judge());
        peers.chain(outsiders(estate)).chain(unresolved_peers(&META, estate, evidence)).collect()
    }
}

/// Where servers of the organisation hand mail to one another.
fn dialled(estate: &Estate) -> impl Iterator<Item = Listener> {
    let ports = [SMTP_PORT, smtp_port::TRANSPORT, smtp_port::DELIVERY];
    peer_listeners(estate).filter(move |listener| ports.contains(&listener.to.port))
}

/// An Edge shows its peers a certificate that its subscription names: that is another question.
fn outsiders(estate: &Estate) -> impl Iterator<Item = Finding> {
    let servers = estate.servers.iter();
    let outside =
        servers.filter(|(_, server)| server.role != ServerRole::Mailbox && server.state == ServerState::Active);
    let seen = "it is no Mailbox server, and the directory names no such certificate for it";
    outside.map(move |(host, _)| Finding::new(&META, Subject::Host(host.clone()), Verdict::Skip, seen))
}

/// Everything about the certificate of one server.
struct Sight<'e> {
    host: &'e str,
    /// What the directory has; unread where nobody logged on.
    told: Told<Option<Certificate>>,
    /// Thumbprints, and on which ports they were shown.
    shown: BTreeMap<String, BTreeSet<u16>>,
    /// Ports that offer X-EXPS and no X-ANONYMOUSTLS, though no connector there suppresses it.
    withheld: BTreeSet<u16>,
    /// The same, where it may be suppressed.
    suppressed: BTreeSet<u16>,
    /// Why X-ANONYMOUSTLS, which is offered, led to no certificate.
    failed: Option<String>,
    /// Why what it offers does not come through.
    inspected: Option<String>,
    /// A port said what it offers.
    has_talked: bool,
    /// Why all ports keep silent, where `smtp-reachable` has told it.
    unwilling: Option<String>,
}

impl<'e> Sight<'e> {
    fn of(host: &'e str, listeners: &[Listener], estate: &Estate, evidence: &Evidence) -> Self {
        let is_read = are_read(&[searches::servers], estate, evidence);
        let server = estate.organisation.servers.get(host).filter(|_| is_read);
        let told = match server.map(|server| &server.internal_certificate) {
            Some(Told::Is(told)) => Told::Is(told.as_ref().ok().and_then(|der| Certificate::parse(der).ok())),
            Some(Told::NotSet) => Told::NotSet,
            Some(Told::Unread) | None => Told::Unread,
        };
        let certificates = Certificates::seen(estate, evidence);
        let mut shown: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
        let anonymous = certificates.shown.iter().filter(|shown| shown.upgrade == Some(Upgrade::AnonymousTls));
        for seen in anonymous.filter(|shown| listeners.contains(&shown.listener)) {
            let ports = shown.entry(certificates.leaf(seen).thumbprint.clone()).or_default();
            ports.insert(seen.listener.to.port);
        }
        let (mut withheld, mut suppressed) = (BTreeSet::new(), BTreeSet::new());
        let (mut failed, mut inspected) = (None, None);
        for listener in listeners {
            let first = listener.first_look(evidence);
            let Some(session) = first.talked() else { continue };
            if let Some(why) = first.inspected() {
                inspected = Some(why);
            } else if session.offers(Upgrade::AnonymousTls.keyword()).is_some() {
                failed = failed.or_else(|| Some(why_unseen(listener, estate, evidence)));
            } else if session.offers("X-EXPS").is_some() {
                let ports =
                    if suppresses_nothing(listener, estate, evidence) { &mut withheld } else { &mut suppressed };
                ports.insert(listener.to.port);
            }
        }
        let looks = || listeners.iter().map(|listener| listener.first_look(evidence));
        let unwilling: Option<Vec<_>> = looks().map(|look| look.unwilling()).collect();
        let unwilling = unwilling.and_then(|all| all.into_iter().next());
        let has_talked = looks().any(|look| look.talked().is_some());
        Self { host, told, shown, withheld, suppressed, failed, inspected, has_talked, unwilling }
    }

    fn judge(&self) -> Finding {
        let finding = |verdict, seen: String| Finding::new(&META, Subject::Host(self.host.to_string()), verdict, seen);
        if !self.withheld.is_empty() {
            return self.not_offered();
        }
        match &self.told {
            Told::Is(None) => {
                finding(Verdict::Unknown, "what the directory has for it holds no certificate that can be read".into())
            }
            // Exchange writes its name before it shows it: likelier this user is not shown the attribute.
            Told::NotSet if !self.shown.is_empty() || !self.suppressed.is_empty() => finding(
                Verdict::Unknown,
                format!("the directory shows this user none for it, so that nothing can be compared{}", self.shows()),
            ),
            Told::Is(Some(told)) if self.shown.keys().any(|shown| *shown != told.thumbprint) => {
                let seen = format!("the directory names {}{}", told.thumbprint, self.shows());
                restart(finding(Verdict::Warn, seen).code("differs"), self.host, &told.thumbprint)
            }
            Told::Unread if self.shown.len() > 1 => {
                let seen = format!("not every service shows the same{}", self.shows());
                restart(finding(Verdict::Warn, seen).code("differs"), self.host, "<THUMBPRINT>")
            }
            Told::Is(Some(told)) if !self.shown.is_empty() => finding(
                Verdict::Pass,
                format!("{} is shown on {}, as the directory has it", told.thumbprint, self.ports()),
            ),
            Told::Unread if !self.shown.is_empty() => {
                let said = "is shown; whether the directory names it, was not asked";
                finding(Verdict::Pass, format!("{} {said}", self.shown.keys().next().map_or("", String::as_str)))
            }
            _ => self.unseen(),
        }
    }

    /// No certificate is known from the wire.
    fn unseen(&self) -> Finding {
        let finding = |verdict, seen: &str| Finding::new(&META, Subject::Host(self.host.to_string()), verdict, seen);
        if let Some(why) = &self.failed {
            return finding(
                Verdict::Unknown,
                &format!("X-ANONYMOUSTLS is offered, and no certificate was seen: {why}"),
            );
        }
        if let Some(why) = &self.inspected {
            return finding(Verdict::Unknown, why);
        }
        if !self.suppressed.is_empty() {
            let seen = "X-ANONYMOUSTLS is not offered beside X-EXPS, as where SuppressXAnonymousTls is set";
            return finding(Verdict::Pass, seen);
        }
        if self.has_talked {
            return finding(Verdict::Skip, "neither X-EXPS nor X-ANONYMOUSTLS is offered, see smtp-exchange-auth");
        }
        if let Some(why) = &self.unwilling {
            return finding(Verdict::Skip, why);
        }
        finding(Verdict::Unknown, "it answered EHLO on none of 25, 2525 and 475")
            .suspects(Trouble::Name(self.host.to_string()))
            .suspects(Trouble::HostDark(self.host.to_string()))
            .remedy("Run from a place where the server talks with who asks.")
    }

    fn not_offered(&self) -> Finding {
        let ports: Vec<_> = self.withheld.iter().map(ToString::to_string).collect();
        let why = match &self.told {
            Told::NotSet => "the directory names no certificate for it (event 12012)".to_string(),
            Told::Is(Some(told)) => {
                format!("the directory names {}, which it lacks, or its key (event 12013)", told.thumbprint)
            }
            Told::Is(None) | Told::Unread => "it has no certificate for it (event 12012 or 12013)".to_string(),
        };
        let seen = format!(
            "on {} X-EXPS is offered and X-ANONYMOUSTLS is not, and nothing suppresses it: {why}",
            ports.join(", ")
        );
        let finding =
            Finding::new(&META, Subject::Host(self.host.to_string()), Verdict::Fail, seen).code("not-offered");
        make_another(finding, self.host)
    }

    /// Which certificates are shown where, as the end of a sentence.
    fn shows(&self) -> String {
        let one =
            |(thumbprint, ports): (&String, &BTreeSet<u16>)| format!("{thumbprint} is shown on {}", listed(ports));
        let all: Vec<_> = self.shown.iter().map(one).collect();
        if all.is_empty() { String::new() } else { format!("; {}", all.join(", ")) }
    }

    fn ports(&self) -> String {
        listed(&self.shown.values().flatten().copied().collect())
    }
}

fn listed(ports: &BTreeSet<u16>) -> String {
    ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// How the conversation ended that was to show it.
fn why_unseen(listener: &Listener, estate: &Estate, evidence: &Evidence) -> String {
    let is_anonymous =
        |ask: &&Ask| matches!(&ask.what, Question::SmtpSession(session) if session.upgrade == Upgrade::AnonymousTls);
    let asks = listener.asks(estate, evidence);
    let miss = asks.iter().find(is_anonymous).and_then(|ask| listener.look(ask, evidence).miss);
    miss.map_or_else(|| "the run ended before it was asked".to_string(), ToString::to_string)
}

/// Is it certain that no connector that may have answered has SuppressXAnonymousTls? The connector of 475 is built in, and what
/// it has stands nowhere.
fn suppresses_nothing(listener: &Listener, estate: &Estate, evidence: &Evidence) -> bool {
    let connectors = Connectors::of(&listener.to.host, estate, evidence);
    let Some((connectors, address)) = connectors.zip(listener.to.address) else { return false };
    let at = connectors.at(SocketAddr::new(address, listener.to.port));
    let is_certain = !at.is_empty() && connectors.unreadable().next().is_none();
    is_certain && at.iter().all(|connector| !suppresses_anonymous_tls(connector.options))
}

fn restart(finding: Finding, host: &str, thumbprint: &str) -> Finding {
    let short = server_name(host);
    finding
        .remedy(format!("See whether {host} has the certificate of the directory:"))
        .remedy(format!("    Get-ExchangeCertificate -Server {short} | fl Thumbprint,Subject,Services,NotAfter"))
        .remedy("If it has, and controllers have replicated, its services only have to take it up:")
        .remedy(format!("    Invoke-Command {host} {{ Restart-Service MSExchangeTransport,MSExchangeFrontEndTransport,MSExchangeDelivery }}"))
        .remedy("If it has not, or its key is lost, name one that it has; answer Yes when asked to overwrite the default SMTP certificate:")
        .remedy(format!("    Enable-ExchangeCertificate -Server {short} -Thumbprint <THUMBPRINT> -Services SMTP"))
        .remedy(format!("Remove neither before {thumbprint} is shown on all of 25, 2525 and 475."))
}

fn make_another(finding: Finding, host: &str) -> Finding {
    let short = server_name(host);
    finding
        .remedy(format!("On {host}, make one that is for this alone; answer Yes when asked to overwrite the default SMTP certificate:"))
        .remedy(format!("    New-ExchangeCertificate -SubjectName \"CN={short}\" -DomainName {short},{host} -Services SMTP"))
        .remedy("    Restart-Service MSExchangeTransport,MSExchangeFrontEndTransport,MSExchangeDelivery")
        .remedy("Where an Edge is subscribed, make its subscription anew (New-EdgeSubscription).")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        facts::connector::TransportRole::Hub,
        model::{
            connectors::testing::{EVERYBODY, connector, estate, heard, words},
            organisation::ReceiveConnector,
        },
    };

    const ONE: &[u8] = include_bytes!("../../tests/chains/samples/server.der");
    const OTHER: &[u8] = include_bytes!("../../tests/chains/samples/pinned.der");
    const BOTH: [&str; 2] = ["X-EXPS GSSAPI NTLM", "X-ANONYMOUSTLS"];

    /// What is said of a server by what the directory has, and what 2525 offers and shows.
    fn judge(told: Told<Result<Vec<u8>, ()>>, options: i64, keywords: &[&str], shown: Option<&[u8]>) -> Vec<String> {
        let (mut estate, mut evidence) = estate(&[("EX01", "10.0.0.1")]);
        let hub = ReceiveConnector { options, ..connector("EX01", "Default EX01", 2525, Hub, 31, &EVERYBODY) };
        estate.organisation.receive_connectors = [hub].into();
        if let Some(server) = estate.organisation.servers.get_mut("ex01.contoso.com") {
            server.internal_certificate = told;
        }
        let at = ("EX01", "10.0.0.1", 2525);
        heard(&mut evidence, at, Upgrade::StartTls, keywords, None);
        if keywords.contains(&"X-ANONYMOUSTLS") {
            heard(&mut evidence, at, Upgrade::AnonymousTls, keywords, shown);
        }
        words(Internal.judge(&estate, &evidence))
    }

    #[test]
    fn what_is_shown_is_held_against_the_directory() {
        let is = |der: &[u8]| Told::Is(Ok(der.to_vec()));
        let pass = ["pass ex01.contoso.com"];
        assert_eq!(judge(is(ONE), 445, &BOTH, Some(ONE)), pass);
        assert_eq!(judge(is(OTHER), 445, &BOTH, Some(ONE)), ["warn ex01.contoso.com differs"]);
        assert_eq!(judge(Told::NotSet, 445, &BOTH, Some(ONE)), ["unknown ex01.contoso.com"]);
        assert_eq!(judge(Told::Is(Err(())), 445, &BOTH, Some(ONE)), ["unknown ex01.contoso.com"]);
        assert_eq!(judge(Told::Unread, 445, &BOTH, Some(ONE)), pass);
    }

    #[test]
    fn what_is_not_offered_fails_where_nothing_suppresses_it() {
        let exps = ["X-EXPS GSSAPI NTLM"];
        assert_eq!(judge(Told::NotSet, 445, &exps, None), ["fail ex01.contoso.com not-offered"]);
        assert_eq!(judge(Told::Unread, 4541, &exps, None), ["pass ex01.contoso.com"]);
        assert_eq!(judge(Told::NotSet, 4541, &exps, None), ["unknown ex01.contoso.com"]);
        assert_eq!(judge(Told::Unread, 445, &[], None), ["skip ex01.contoso.com"], "smtp-exchange-auth speaks of it");
    }
}
