//! `certificate-pinned`: does every connector that names a certificate show that one?
//!
//! Two sides of one question: `receive` holds what receive connectors name against what their ports show; `send` holds what
//! send connectors and the hybrid configuration name against what their source servers have. `alike` mends what befalls both:
//! a name that fits two.

mod alike;
mod receive;
mod send;

use crate::model::{
    check::{Check, Need},
    connectors::{are_read, needs, unread},
    estate::Estate,
    evidence::Evidence,
    finding::{Finding, Subject, Verdict},
    listeners::quote,
    meta::{Basis, Fold, Meta, Tier},
    organisation::{SearchOf, Told, searches},
    outgoing::strangers,
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

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
        "Name the certificate that is to be shown: $c = $null; $c = Get-ExchangeCertificate <THUMBPRINT>; if ($c) { Set-ReceiveConnector \"<CONNECTOR>\" -TlsCertificateName \"<I>$($c.Issuer)<S>$($c.Subject)\" }",
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
        // Before all is read, nothing is said of a connector alone.
        let is_read = are_read(&SEARCHES, estate, evidence);
        let of_connectors = is_read.then(|| receive::needs(estate, evidence));
        needs(&SEARCHES, estate, evidence).into_iter().chain(of_connectors.into_iter().flatten()).collect()
    }

    fn judge(&self, estate: &Estate, evidence: &Evidence) -> Vec<Finding> {
        // Without a logon exports tell of send connectors alone; that nothing else was read is what was asked for.
        let unread = estate.plan.logon.as_ref().and_then(|_| unread(&META, &SEARCHES, estate, evidence));
        let mut findings = Vec::from_iter(unread);
        let is_directory_read = estate.plan.logon.is_some() && findings.is_empty();
        if findings.is_empty() {
            findings = receive::judge(estate, evidence);
        }
        if findings.is_empty() {
            findings.push(nobody(estate));
        }
        findings.extend(send::judge(estate, evidence));
        // Before the directory has told all servers, nobody knows which there are.
        if is_directory_read {
            findings.extend(strangers(estate).into_iter().map(unknown_server));
        }
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

/// A misspelt server must not look like one that is well: what was given of it was held against no connector.
fn unknown_server(host: String) -> Finding {
    let seen = "an export or a log tells of it, and neither the plan nor the directory has such a server: no connector was held against that";
    Finding::new(&META, Subject::Host(host), Verdict::Warn, seen)
        .code("unknown-server")
        .expected("a server of the directory or of the plan")
        .remedy("If one of the servers is meant, give the file under its name as the directory has it (--input <SERVER>=<FILE>):")
        .remedy("    Get-ExchangeServer | fl Name,Fqdn,ServerRole")
        .remedy("If it is another one, as an Edge that is not subscribed, add it to the plan; if it is gone, leave its file out.")
}

/// What a connector names is not written as the name of a certificate is.
fn malformed(subject: Subject, pin: &str) -> Finding {
    Finding::new(&META, subject, Verdict::Warn, format!("{} is no name of a certificate, and names none", quote(pin)))
        .code("malformed")
        .expected("<I>, the issuer, <S>, the subject, as Get-ExchangeCertificate shows them")
}

#[cfg(test)]
mod testing {
    use crate::facts::export::{ExportedCertificate, Services};

    pub(super) const THE_PIN: &str = "<I>CN=Public CA, O=Trust, C=US<S>CN=mail.contoso.com";

    pub(super) const PUBLIC: &str = "C=US, O=Trust, CN=Public CA";

    /// A certificate as an export has it, alive until 2030 and in use by SMTP.
    pub(super) fn row(server: &str, number: u8, issuer: &str, since: &str) -> ExportedCertificate {
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
}

#[cfg(test)]
mod tests {
    use super::{
        testing::{PUBLIC, row},
        *,
    };
    use crate::{
        facts::connector::TransportRole::FrontEnd,
        model::{
            connectors::testing::{EVERYBODY, connector, estate, words},
            organisation::ReceiveConnector,
        },
    };
    use alloc::vec;

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

    #[test]
    fn a_server_that_nobody_knows_is_told_once_the_directory_was_read() {
        let (mut estate, evidence) = estate(&[("EX01", "10.0.0.1")]);
        let rows =
            |servers: &[&str]| servers.iter().map(|server| row(server, 1, PUBLIC, "1969-01-01T00:00:00Z")).collect();
        estate.plan.inputs.certificates = Some(rows(&["EX01", "ex01.contoso.com"]));
        assert_eq!(words(Pinned.judge(&estate, &evidence)), ["skip estate"]);
        estate.plan.inputs.certificates = Some(rows(&["EX01", "EX10", "EX10"]));
        assert_eq!(words(Pinned.judge(&estate, &evidence)), ["skip estate", "warn ex10 unknown-server"]);
        estate.plan.logon = None;
        assert_eq!(words(Pinned.judge(&estate, &evidence)), ["skip estate"], "nobody knows which servers there are");
    }
}
