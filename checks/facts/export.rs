//! What Exchange's cmdlets tell of a server's certificates, of connectors and of domains: rows of exports that an administrator
//! made (`Get-ExchangeCertificate`, `Get-InboundConnector`, `Get-OutboundConnector`, `Get-AcceptedDomain`, `Get-SendConnector`).
//! Fields bear the names of Exchange's own, less what stands in their type.

use crate::facts::{connector::IpRange, raw::Raw};
use alloc::{string::String, vec::Vec};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What an Exchange server uses a certificate for: bits of `AllowedServices`, the property Services.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Services(pub u32);

impl Services {
    /// Each bit with its word, as Get-ExchangeCertificate shows it.
    pub const NAMES: [(u32, &'static str); 7] =
        [(1, "IMAP"), (2, "POP"), (4, "UM"), (8, "IIS"), (16, "SMTP"), (32, "Federation"), (64, "UMCallRouter")];

    /// It may be shown by SMTP.
    pub fn smtp(self) -> bool {
        self.0 & 16 != 0
    }

    /// The websites have it.
    pub fn iis(self) -> bool {
        self.0 & 8 != 0
    }
}

/// Where a certificate's root stands on its server: `RootCAType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RootKind {
    /// It signed itself (`None`).
    SelfSigned,
    /// Published by Active Directory (`Enterprise`).
    Enterprise,
    /// Put there by a group policy (`GroupPolicy`).
    GroupPolicy,
    /// Put there by hand (`Registry`).
    Registry,
    /// Among Windows' own public roots (`ThirdParty`).
    ThirdParty,
}

/// A certificate of a server: a row of `Get-ExchangeCertificate`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedCertificate {
    /// The server, as the export or whoever gave it names it: its short or its full name.
    pub server: String,
    /// 40 hexadecimal digits in lower case.
    pub thumbprint: String,
    /// As Windows writes it.
    pub subject: String,
    /// As Windows writes it.
    pub issuer: String,
    /// `CertificateDomains`, in lower case.
    #[serde(default)]
    pub domains: Vec<String>,
    /// What it is used for, if that is told.
    #[serde(default)]
    pub services: Option<Services>,
    /// From when on it is valid.
    #[serde(default)]
    pub not_before: Option<Timestamp>,
    /// Until when it is valid.
    #[serde(default)]
    pub not_after: Option<Timestamp>,
    /// `IsSelfSigned`.
    #[serde(default)]
    pub is_self_signed: Option<bool>,
    /// `HasPrivateKey`: without one it can be shown by nobody.
    #[serde(default)]
    pub has_private_key: Option<bool>,
    /// `RootCAType`, where it says anything.
    #[serde(default)]
    pub root: Option<RootKind>,
    /// Status: `Valid`, `Invalid`, `DateInvalid`, `Untrusted`, `Revoked`, `RevocationCheckFailure`, `PendingRequest`.
    #[serde(default)]
    pub status: Option<String>,
    /// The certificate itself (`RawData`), where the export has it. What it says counts more than the other fields.
    #[serde(default)]
    pub der: Option<Raw>,
}

/// A connector of Exchange Online by which mail comes to it: a row of `Get-InboundConnector`.
#[expect(clippy::struct_excessive_bools, reason = "each is a property of Exchange's by itself")]
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InboundConnector {
    /// What it is called.
    pub name: String,
    /// It is in service.
    pub is_enabled: bool,
    /// `ConnectorType` `OnPremises`: whoever comes by it is of the organisation.
    pub is_on_premises: bool,
    /// `RequireTls`.
    #[serde(default)]
    pub requires_tls: bool,
    /// `TlsSenderCertificateName`: a domain, perhaps with a leading `*.`; lower case.
    #[serde(default)]
    pub certificate_name: Option<String>,
    /// `SenderIPAddresses`.
    #[serde(default)]
    pub addresses: Vec<IpRange>,
    /// `SenderDomains`, without `smtp:` and priority; `*` is all. Lower case.
    #[serde(default)]
    pub sender_domains: Vec<String>,
    /// `RestrictDomainsToCertificate`.
    #[serde(default)]
    pub restricts_to_certificate: bool,
    /// `RestrictDomainsToIPAddresses`.
    #[serde(default)]
    pub restricts_to_addresses: bool,
    /// `CloudServicesMailEnabled`.
    #[serde(default)]
    pub is_cloud: bool,
    /// `WhenChangedUTC`.
    #[serde(default)]
    pub changed: Option<Timestamp>,
}

/// A connector of Exchange Online by which mail goes out: a row of `Get-OutboundConnector`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboundConnector {
    /// What it is called.
    pub name: String,
    /// It is in service.
    pub is_enabled: bool,
    /// `ConnectorType` `OnPremises`.
    pub is_on_premises: bool,
    /// `SmartHosts`: names or addresses, lower case; none with `UseMXRecord`.
    #[serde(default)]
    pub smart_hosts: Vec<String>,
    /// `TlsDomain`: the name that the certificate at the other end has to bear; lower case.
    #[serde(default)]
    pub tls_domain: Option<String>,
    /// `TlsSettings`: `EncryptionOnly`, `CertificateValidation`, `DomainValidation`.
    #[serde(default)]
    pub tls_settings: Option<String>,
    /// `RecipientDomains`, lower case; `*` is all.
    #[serde(default)]
    pub recipient_domains: Vec<String>,
}

/// A domain of which an organisation takes mail: a row of `Get-AcceptedDomain`, there or in Exchange Online.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AcceptedDomain {
    /// `DomainName`, lower case; a leading `*.` stands for all below.
    pub name: String,
    /// `DomainType`: `Authoritative`, `InternalRelay`, `ExternalRelay`.
    #[serde(default)]
    pub kind: Option<String>,
    /// `MatchSubDomains`.
    #[serde(default)]
    pub matches_subdomains: bool,
}

/// A send connector of the servers: a row of `Get-SendConnector`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExportedSendConnector {
    /// What it is called.
    pub name: String,
    /// It is in service.
    pub is_enabled: bool,
    /// The name that it says in EHLO; lower case.
    #[serde(default)]
    pub fqdn: Option<String>,
    /// TlsCertificateName.
    #[serde(default)]
    pub pin: Option<String>,
    /// `SourceTransportServers`, as they are written there.
    #[serde(default)]
    pub sources: Vec<String>,
    /// `SmartHosts`; none with `DNSRoutingEnabled`. Lower case.
    #[serde(default)]
    pub smart_hosts: Vec<String>,
    /// `AddressSpaces`: `SMTP:*;1`.
    #[serde(default)]
    pub address_spaces: Vec<String>,
    /// `TlsDomain`, lower case.
    #[serde(default)]
    pub tls_domain: Option<String>,
    /// `CloudServicesMailEnabled`.
    #[serde(default)]
    pub is_cloud: bool,
    /// `FrontendProxyEnabled`.
    #[serde(default)]
    pub is_proxied: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_bits() {
        let all = Services::NAMES.iter().fold(0, |all, (bit, _)| all | bit);
        assert_eq!(all, 127);
        assert!(Services(24).smtp() && Services(24).iis() && !Services(7).smtp());
    }
}
