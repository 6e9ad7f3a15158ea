//! On what kind of host a certificate is in service, and how it is looked at and replaced there.

use crate::{
    facts::dns::is_host_name,
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
    /// The subject and the names of the certificate, as a request for the next one would have them.
    request: (String, String),
}

/// Kinds of hosts, by what renews a certificate there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Exchange, Edge Transport included.
    Exchange,
    /// A domain controller: LDAPS takes what stands in the computer's store.
    Controller,
    /// A mail gateway of another make.
    Gateway,
}

impl<'e> Holder<'e> {
    /// The host of the first place where it was shown; all places of one certificate are of a kind, nearly always.
    pub fn of(leaf: &'e Leaf<'_>, estate: &Estate) -> Self {
        let request = request(leaf);
        let Some(listener) = leaf.shown.first().map(|shown| &shown.listener) else {
            return Self { host: "<SERVER>", kind: Kind::Exchange, request };
        };
        let role = estate.servers.get(&listener.to.host).map(|server| server.role);
        let kind = match (listener.service, role) {
            (Service::Directory, _) => Kind::Controller,
            (_, Some(ServerRole::Gateway)) => Kind::Gateway,
            _ => Kind::Exchange,
        };
        Self { host: &listener.to.host, kind, request }
    }

    /// See which certificates there are, and which of them is in service.
    pub fn look(&self) -> Vec<String> {
        let host = self.host;
        match self.kind {
            Kind::Exchange => {
                let server = server_name(host);
                vec![
                    format!("See which certificates {host} has, and which of them serve SMTP:"),
                    format!(
                        "    Get-ExchangeCertificate -Server {server} | fl Thumbprint,Subject,Issuer,CertificateDomains,Services,NotAfter"
                    ),
                ]
            }
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
            Kind::Exchange => vec![
                format!("Have it issued anew with all its names, import it on every server that shows it ({host} among them), and give it its service:"),
                format!("    New-ExchangeCertificate -GenerateRequest -KeySize 2048 -SubjectName {} -DomainName {}", self.request.0, self.request.1),
                "    Enable-ExchangeCertificate -Thumbprint <NEW> -Services SMTP".into(),
                "Answer No when asked to overwrite the default SMTP certificate; set TlsCertificateName where a connector names the old one; restart MSExchangeTransport and MSExchangeFrontEndTransport; remove the old one last.".into(),
            ],
            Kind::Controller => vec![
                format!("On {host}, have it enrolled anew from the company's authority; LDAPS takes the new one by itself:"),
                "    certutil -pulse".into(),
            ],
            Kind::Gateway => vec![format!(
                "Have it issued anew, put it with all its intermediates into the configuration of {host}'s mail service, and reload that."
            )],
        }
    }

    /// Let another certificate be shown that is there already.
    pub fn pin(&self) -> Vec<String> {
        match self.kind {
            Kind::Exchange => vec![
                "Let the connector show the right one by name:".to_string(),
                "    $c = Get-ExchangeCertificate <THUMBPRINT>; Set-ReceiveConnector \"<CONNECTOR>\" -TlsCertificateName \"<I>$($c.Issuer)<S>$($c.Subject)\"".to_string(),
            ],
            Kind::Controller | Kind::Gateway => Vec::new(),
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
        if self.kind == Kind::Exchange {
            steps.push("    Restart-Service MSExchangeTransport,MSExchangeFrontEndTransport".into());
        }
        steps
    }
}

/// What stands in the certificate now. Names that came over the network enter a command only if they are names.
fn request(leaf: &Leaf<'_>) -> (String, String) {
    let is_name = |name: &&String| is_host_name(name.strip_prefix("*.").unwrap_or(name));
    let names = &leaf.certificate.dns_names;
    let all =
        if names.is_empty() || !names.iter().all(|name| is_name(&name)) { "<NAMES>".into() } else { names.join(",") };
    let common_name = leaf.certificate.subject.common_name.as_ref().map(|name| name.to_lowercase());
    let subject = common_name.filter(|name| is_name(&name)).or_else(|| names.first().filter(is_name).cloned());
    (subject.map_or_else(|| "<SUBJECT>".into(), |name| format!("\"CN={name}\"")), all)
}
