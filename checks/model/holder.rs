//! On what kind of host a certificate is in service, and how it is looked at and replaced there.

use crate::{
    facts::{dns::is_host_name, smtp::Upgrade, web::BACK_END_PORT},
    model::{
        certificates::Leaf,
        estate::Estate,
        listeners::{Service, server_name},
        plan::ServerRole,
    },
};
use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

/// Whoever holds a certificate.
pub struct Holder<'e> {
    host: &'e str,
    kind: Kind,
    /// What it is in service for, at all places of this kind.
    duties: Duties,
    /// Its thumbprint, where it signed itself.
    self_signed: Option<&'e str>,
    /// The subject and the names of the certificate, as a request for the next one would have them.
    request: (String, String),
}

/// Kinds of hosts, by what renews a certificate there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A Mailbox server.
    Exchange,
    /// Edge Transport, which no shell reaches from inside.
    Edge,
    /// A domain controller: LDAPS takes what stands in the computer's store.
    Controller,
    /// A mail gateway of another make.
    Gateway,
}

/// What an Exchange server shows a certificate for.
#[derive(Clone, Copy, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each duty is there or not, whatever the others are")]
struct Duties {
    smtp: bool,
    web: bool,
    back_end: bool,
    /// It is the internal transport certificate.
    internal: bool,
}

impl<'e> Holder<'e> {
    /// The host of the first place where it was shown; all places of one certificate are of a kind, nearly always.
    pub fn of(leaf: &'e Leaf<'_>, estate: &Estate) -> Self {
        let request = request(leaf);
        let mut duties = Duties::default();
        for shown in &leaf.shown {
            match (shown.listener.service, shown.upgrade) {
                (Service::Smtp, Some(Upgrade::AnonymousTls)) => duties.internal = true,
                (Service::Smtp, _) => duties.smtp = true,
                (Service::Web, _) if shown.listener.to.port == BACK_END_PORT => duties.back_end = true,
                (Service::Web, _) => duties.web = true,
                (Service::Directory, _) => {}
            }
        }
        let self_signed = leaf.certificate.is_self_issued().then_some(leaf.certificate.thumbprint.as_str());
        let Some(listener) = leaf.shown.first().map(|shown| &shown.listener) else {
            return Self { host: "<SERVER>", kind: Kind::Exchange, duties, self_signed, request };
        };
        let role = estate.servers.get(&listener.to.host).map(|server| server.role);
        let kind = match (listener.service, role) {
            (Service::Directory, _) => Kind::Controller,
            (_, Some(ServerRole::Gateway)) => Kind::Gateway,
            (_, Some(ServerRole::Edge)) => Kind::Edge,
            _ => Kind::Exchange,
        };
        Self { host: &listener.to.host, kind, duties, self_signed, request }
    }

    /// See which certificates there are, and which of them is in service.
    pub fn look(&self) -> Vec<String> {
        const SHOWN: &str = "fl Thumbprint,Subject,Issuer,CertificateDomains,Services,NotAfter";
        let host = self.host;
        match self.kind {
            Kind::Exchange => vec![
                format!("See which certificates {host} has, and for which services:"),
                format!("    Get-ExchangeCertificate -Server {} | {SHOWN}", server_name(host)),
            ],
            Kind::Edge => vec![
                format!("On {host} itself, see which certificates it has, and for which services:"),
                format!("    Get-ExchangeCertificate | {SHOWN}"),
            ],
            Kind::Controller => vec![
                format!("See which certificates {host} has for Server Authentication:"),
                format!(
                    "    Invoke-Command {host} {{ dir Cert:\\LocalMachine\\My | fl Thumbprint,DnsNameList,NotAfter,EnhancedKeyUsageList }}"
                ),
            ],
            Kind::Gateway => {
                vec![format!("See in the configuration of {host}'s mail service which certificate it shows.")]
            }
        }
    }

    /// Put another certificate into service, and take the old one out last.
    pub fn replace(&self) -> Vec<String> {
        let host = self.host;
        match self.kind {
            Kind::Exchange | Kind::Edge => self.replace_in_exchange(),
            Kind::Controller => vec![
                format!(
                    "On {host}, have it enrolled anew from the company's authority; LDAPS takes the new one by itself:"
                ),
                "    certutil -pulse".into(),
            ],
            Kind::Gateway => vec![format!(
                "Have it issued anew, put it with all its intermediates into the configuration of {host}'s mail service, and reload that."
            )],
        }
    }

    fn replace_in_exchange(&self) -> Vec<String> {
        let Self { host, duties, request: (subject, names), .. } = self;
        let mut steps = Vec::new();
        if let Some(thumbprint) = self.self_signed {
            steps.push(format!("On {host}, make its successor, which takes over name and services:"));
            steps.push(format!("    Get-ExchangeCertificate {thumbprint} | New-ExchangeCertificate"));
        } else {
            steps.push(format!(
                "Have it issued anew with all its names, and import it on every server that shows it ({host} among them):"
            ));
            steps.push(format!(
                "    New-ExchangeCertificate -GenerateRequest -PrivateKeyExportable $true -KeySize 2048 -SubjectName {subject} -DomainName {names}"
            ));
        }
        let services: Vec<_> = [("SMTP", duties.smtp), ("IIS", duties.web)].into_iter().filter(|(_, on)| *on).collect();
        let services: Vec<_> = services.into_iter().map(|(service, _)| service).collect();
        if !services.is_empty() && self.self_signed.is_none() {
            steps.push(format!("    Enable-ExchangeCertificate -Thumbprint <NEW> -Services {}", services.join(",")));
        }
        if duties.back_end {
            steps.push(format!("    {}", bound_at_back_end("<NEW>")));
        }
        if duties.internal {
            let edge = if self.kind == Kind::Edge {
                "; then make the Edge subscription anew (New-EdgeSubscription)"
            } else {
                ""
            };
            steps.push(format!("It is the internal transport certificate: answer Yes when asked to overwrite the default SMTP certificate{edge}."));
        } else if duties.smtp {
            steps.push("Answer No when asked to overwrite the default SMTP certificate; set TlsCertificateName where a connector names the old one.".into());
        }
        if duties.smtp || duties.internal {
            steps.push(format!("    {}", self.restart()));
        }
        steps.push("Remove the old one last.".into());
        steps
    }

    fn restart(&self) -> &'static str {
        if self.kind == Kind::Edge {
            "Restart-Service MSExchangeTransport"
        } else {
            "Restart-Service MSExchangeTransport,MSExchangeFrontEndTransport"
        }
    }

    /// Let another certificate be shown that is there already.
    pub fn pin(&self) -> Vec<String> {
        match self.kind {
            Kind::Exchange | Kind::Edge if self.duties.smtp => vec![
                "Let the connector show the right one by name:".to_string(),
                "    $c = $null; $c = Get-ExchangeCertificate <THUMBPRINT>; if ($c) { Set-ReceiveConnector \"<CONNECTOR>\" -TlsCertificateName \"<I>$($c.Issuer)<S>$($c.Subject)\" }".to_string(),
            ],
            Kind::Exchange if self.duties.web => vec![
                "Give the websites the right one:".to_string(),
                "    Enable-ExchangeCertificate -Thumbprint <THUMBPRINT> -Services IIS".to_string(),
            ],
            _ => Vec::new(),
        }
    }

    /// Send an intermediate along. `file` is its file, `names` what it is called.
    pub fn send_along(&self, names: &str, file: &str) -> Vec<String> {
        let host = self.host;
        if self.kind == Kind::Gateway {
            return vec![format!(
                "On {host}, append {names} to the file of the certificate that its mail service shows, and reload that."
            )];
        }
        let mut steps = vec![
            format!("On {host}, put {names} into the computer's store of intermediates:"),
            format!("    certutil -addstore CA {file}"),
        ];
        if self.kind != Kind::Controller && self.duties.smtp {
            steps.push(format!("    {}", self.restart()));
        }
        steps
    }
}

/// What stands in the certificate now. Names that came over the network enter a command only if they are names.
fn request(leaf: &Leaf<'_>) -> (String, String) {
    // More than any public authority signs for at once are no names to type.
    const MOST: usize = 100;
    let is_name = |name: &&String| is_host_name(name.strip_prefix("*.").unwrap_or(name));
    let names = &leaf.certificate.dns_names;
    let all = if names.is_empty() || names.len() > MOST || !names.iter().all(|name| is_name(&name)) {
        "<NAMES>".into()
    } else {
        names.join(",")
    };
    let common_name = leaf.certificate.subject.common_name.as_ref().map(|name| name.to_lowercase());
    let subject = common_name.filter(|name| is_name(&name)).or_else(|| names.first().filter(is_name).cloned());
    (subject.map_or_else(|| "<SUBJECT>".into(), |name| format!("\"CN={name}\"")), all)
}

/// Binds a certificate, by its thumbprint, to the site Exchange Back End, which Enable-ExchangeCertificate leaves alone.
pub fn bound_at_back_end(thumbprint: &str) -> String {
    format!("(Get-WebBinding -Name 'Exchange Back End' -Port 444).AddSslCertificate('{thumbprint}', 'My')")
}
