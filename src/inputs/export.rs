//! Rows of exports as what they are: certificates, connectors, domains. What a row is, its fields tell; they are called as
//! Exchange calls them.

use super::{
    mistake::{Mistakes, quoted},
    rows::{Field, Row},
    values,
};
use exchange_preflight_checks::{
    facts::{
        certificate::Certificate,
        connector::IpRange,
        dns::{canonical_name, is_host_name},
        export::{
            AcceptedDomain, ExportedCertificate, ExportedSendConnector, InboundConnector, OutboundConnector, RootKind,
        },
        protocol_log::is_thumbprint,
        raw::Raw,
    },
    model::inputs::Inputs,
};
use jiff::Timestamp;
use serde_json::Value;

/// Where the commands stand that make files which can be read.
pub const HINT: &str = "`exchange-preflight explain inputs` has the command that makes a usable export";

/// What rows are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `Get-ExchangeCertificate`
    Certificates,
    /// `Get-InboundConnector`
    Inbound,
    /// `Get-OutboundConnector`
    Outbound,
    /// `Get-AcceptedDomain`
    AcceptedDomains,
    /// `Get-SendConnector`
    SendConnectors,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::Certificates, Self::Inbound, Self::Outbound, Self::AcceptedDomains, Self::SendConnectors];

    /// The command that shows such rows.
    pub const fn command(self) -> &'static str {
        match self {
            Self::Certificates => "Get-ExchangeCertificate",
            Self::Inbound => "Get-InboundConnector",
            Self::Outbound => "Get-OutboundConnector",
            Self::AcceptedDomains => "Get-AcceptedDomain",
            Self::SendConnectors => "Get-SendConnector",
        }
    }

    /// What a row is, by its fields.
    pub fn of(row: &Row) -> Option<Self> {
        let has = |names: &[&str]| names.iter().all(|name| row.has(name));
        if has(&["Thumbprint"]) && (row.has("Services") || row.has("CertificateDomains")) {
            Some(Self::Certificates)
        } else if has(&["TlsSenderCertificateName"]) {
            Some(Self::Inbound)
        } else if has(&["AddressSpaces", "SourceTransportServers"]) {
            Some(Self::SendConnectors)
        } else if has(&["RecipientDomains"]) && (row.has("TlsSettings") || row.has("SmartHosts")) {
            Some(Self::Outbound)
        } else if has(&["DomainName", "DomainType"]) {
            Some(Self::AcceptedDomains)
        } else {
            None
        }
    }

    /// Nothing of this kind is there: somebody looked.
    pub fn given(self, inputs: &mut Inputs) {
        match self {
            Self::Certificates => drop(inputs.certificates.get_or_insert_default()),
            Self::Inbound => drop(inputs.inbound.get_or_insert_default()),
            Self::Outbound => drop(inputs.outbound.get_or_insert_default()),
            Self::AcceptedDomains => drop(inputs.accepted_domains.get_or_insert_default()),
            Self::SendConnectors => drop(inputs.send_connectors.get_or_insert_default()),
        }
    }
}

/// Reads a row into what was given so far. `server` is whose file it is, by the word of who gave it.
pub fn read(kind: Kind, row: &Row, server: Option<&str>, inputs: &mut Inputs, mistakes: &mut Mistakes) {
    let mut cells = Cells { row, mistakes };
    kind.given(inputs);
    match kind {
        Kind::Certificates => {
            let read = cells.certificate(server);
            inputs.certificates.get_or_insert_default().extend(read);
        }
        Kind::Inbound => {
            let read = cells.inbound();
            inputs.inbound.get_or_insert_default().extend(read);
        }
        Kind::Outbound => {
            let read = cells.outbound();
            inputs.outbound.get_or_insert_default().extend(read);
        }
        Kind::AcceptedDomains => {
            let read = cells.accepted_domain();
            inputs.accepted_domains.get_or_insert_default().extend(read);
        }
        Kind::SendConnectors => {
            let read = cells.send_connector();
            inputs.send_connectors.get_or_insert_default().extend(read);
        }
    }
}

/// Reads an accepted domain of which a row has nothing but the name, in `domain`.
pub fn read_domain_alone(row: &Row, inputs: &mut Inputs, mistakes: &mut Mistakes) {
    let mut cells = Cells { row, mistakes };
    Kind::AcceptedDomains.given(inputs);
    let name = cells.required("domain").and_then(|written| cells.domain("domain", &written));
    let domain = name.map(|name| AcceptedDomain { name, ..AcceptedDomain::default() });
    inputs.accepted_domains.get_or_insert_default().extend(domain);
}

/// The fields of one row, and where mistakes in them go.
struct Cells<'r, 'm> {
    row: &'r Row,
    mistakes: &'m mut Mistakes,
}

impl Cells<'_, '_> {
    fn certificate(&mut self, server: Option<&str>) -> Option<ExportedCertificate> {
        let thumbprint = self.thumbprint()?;
        let server = self.server(server);
        let der = self.certificate_itself(&thumbprint);
        let is_told = der.is_some();
        let row = ExportedCertificate {
            server: server?,
            thumbprint,
            subject: self.text("Subject").unwrap_or_default(),
            issuer: self.text("Issuer").unwrap_or_default(),
            domains: self.list("CertificateDomains").into_iter().map(|name| name.to_lowercase()).collect(),
            services: self.optional("Services", values::services),
            not_before: self.date("NotBefore", is_told),
            not_after: self.date("NotAfter", is_told),
            is_self_signed: self.flag("IsSelfSigned"),
            has_private_key: self.flag("HasPrivateKey"),
            root: self.root(),
            status: self.optional("Status", |value| values::word(value, &STATUS)).map(Into::into),
            der,
        };
        if !is_told && (row.subject.is_empty() && row.domains.is_empty() || row.issuer.is_empty()) {
            self.wrong("Issuer", &format!("whose the certificate is and who signed it is needed, or RawData; {HINT}"));
        }
        Some(row)
    }

    fn thumbprint(&mut self) -> Option<String> {
        let written = self.required("Thumbprint")?;
        // The certificate dialogue of Windows puts blanks in it, and a mark that nobody sees before it.
        let is_kept = |letter: &char| !letter.is_whitespace() && *letter != '\u{200e}';
        let thumbprint: String = written.chars().filter(is_kept).collect::<String>().to_ascii_lowercase();
        if is_thumbprint(&thumbprint) {
            return Some(thumbprint);
        }
        self.wrong("Thumbprint", &format!("{} is no thumbprint, which has 40 hexadecimal digits", quoted(&written)));
        None
    }

    /// Whose certificate it is. The computer that a remote shell spoke with comes last: it may have asked for another's.
    fn server(&mut self, named: Option<&str>) -> Option<String> {
        let identity = self.text("Identity").and_then(|text| Some(text.rsplit_once('\\')?.0.to_string()));
        let own = self.text("Server").or_else(|| self.text("ServerName")).or(identity);
        let (field, server) = match (named, own) {
            (Some(named), Some(own)) if !is_one_host(named, &own) => {
                let what = format!("the row is of {}, and the file was said to be of {}", quoted(&own), quoted(named));
                self.mistakes.line(self.row.line, what);
                return None;
            }
            // The longer of two names is the full one.
            (Some(named), Some(own)) => ("Server", if own.len() > named.len() { own } else { named.to_string() }),
            (Some(named), None) => ("Server", named.to_string()),
            (None, Some(own)) => ("Server", own),
            (None, None) => {
                let Some(name) = self.text("PSComputerName") else {
                    let what = format!("nothing says whose certificate it is; give the file as SERVER=FILE, or {HINT}");
                    self.mistakes.line(self.row.line, what);
                    return None;
                };
                ("PSComputerName", name)
            }
        };
        let server = canonical_name(server.trim());
        if !is_host_name(&server) {
            self.wrong(field, &format!("{} is no name of a server", quoted(&server)));
            return None;
        }
        Some(server)
    }

    /// `RawData`, where it is there: it has to be the certificate that the row is about.
    fn certificate_itself(&mut self, thumbprint: &str) -> Option<Raw> {
        let der = self.optional("RawData", values::bytes)?;
        match Certificate::parse(&der) {
            Ok(certificate) if certificate.thumbprint == thumbprint => return Some(Raw(der)),
            Ok(other) => {
                self.wrong("RawData", &format!("is another certificate: its thumbprint is {}", other.thumbprint));
            }
            Err(wrong) => self.wrong("RawData", &format!("is no certificate: {wrong}")),
        }
        None
    }

    fn root(&mut self) -> Option<RootKind> {
        // As a number it cannot be told: nothing documents which is which.
        let told = self.row.field("RootCAType").filter(|field| !is_number(&field.value))?;
        let words = ["None", "ThirdParty", "Enterprise", "Registry", "GroupPolicy", "Unknown"];
        let words: Vec<_> = words.map(|word| (u32::MAX, word)).into();
        match values::word(&told.value, &words) {
            Ok(Some("None")) => Some(RootKind::SelfSigned),
            Ok(Some("ThirdParty")) => Some(RootKind::ThirdParty),
            Ok(Some("Enterprise")) => Some(RootKind::Enterprise),
            Ok(Some("Registry")) => Some(RootKind::Registry),
            Ok(Some("GroupPolicy")) => Some(RootKind::GroupPolicy),
            Ok(_) => None,
            Err(wrong) => {
                self.wrong("RootCAType", &wrong);
                None
            }
        }
    }

    fn inbound(&mut self) -> Option<InboundConnector> {
        let name = self.name();
        let is_on_premises = self.is_on_premises();
        let is_enabled = self.required_flag("Enabled");
        let certificate_name = self.text("TlsSenderCertificateName");
        let certificate_name = certificate_name.and_then(|text| self.domain("TlsSenderCertificateName", &text));
        let mut addresses = Vec::new();
        for text in self.required_list("SenderIPAddresses") {
            match IpRange::read(&text) {
                Some(range) => addresses.push(range),
                None => {
                    self.wrong("SenderIPAddresses", &format!("{} is no address and no range of them", quoted(&text)));
                }
            }
        }
        let sender_domains = self.required_list("SenderDomains").iter().map(|text| sender_domain(text)).collect();
        let row = InboundConnector {
            name: name?,
            is_enabled: is_enabled?,
            is_on_premises: is_on_premises?,
            requires_tls: self.required_flag("RequireTls")?,
            certificate_name,
            addresses,
            sender_domains,
            restricts_to_certificate: self.required_flag("RestrictDomainsToCertificate")?,
            restricts_to_addresses: self.required_flag("RestrictDomainsToIPAddresses")?,
            is_cloud: self.required_flag("CloudServicesMailEnabled")?,
            changed: self.changed(),
        };
        Some(row)
    }

    fn changed(&mut self) -> Option<Timestamp> {
        let field = if self.row.has("WhenChangedUTC") { "WhenChangedUTC" } else { "WhenChanged" };
        self.optional(field, |value| values::time(value, field == "WhenChangedUTC"))
    }

    fn outbound(&mut self) -> Option<OutboundConnector> {
        let name = self.name();
        let is_on_premises = self.is_on_premises();
        let is_enabled = self.required_flag("Enabled");
        let levels = [(1, "EncryptionOnly"), (2, "CertificateValidation"), (4, "DomainValidation")];
        let row = OutboundConnector {
            name: name?,
            is_enabled: is_enabled?,
            is_on_premises: is_on_premises?,
            smart_hosts: self.smart_hosts(),
            tls_domain: self.tls_domain(),
            tls_settings: self.optional("TlsSettings", |value| values::word(value, &levels)).map(Into::into),
            recipient_domains: self.required_list("RecipientDomains").iter().map(|text| text.to_lowercase()).collect(),
        };
        Some(row)
    }

    fn accepted_domain(&mut self) -> Option<AcceptedDomain> {
        let kinds = [(0, "Authoritative"), (1, "ExternalRelay"), (2, "InternalRelay")];
        let written = self.required("DomainName")?;
        let name = self.domain("DomainName", &written)?;
        Some(AcceptedDomain {
            name,
            kind: self.optional("DomainType", |value| values::word(value, &kinds)).map(Into::into),
            matches_subdomains: self.flag("MatchSubDomains").unwrap_or_default(),
        })
    }

    fn send_connector(&mut self) -> Option<ExportedSendConnector> {
        let name = self.name();
        let is_enabled = self.required_flag("Enabled");
        self.present("TlsCertificateName");
        let sources = self.required_list("SourceTransportServers");
        for source in &sources {
            if !is_host_name(source) {
                self.wrong("SourceTransportServers", &format!("{} is no name of a server", quoted(source)));
            }
        }
        let fqdn = self.text("Fqdn").and_then(|text| self.domain("Fqdn", &text));
        let row = ExportedSendConnector {
            name: name?,
            is_enabled: is_enabled?,
            fqdn,
            pin: self.text("TlsCertificateName"),
            sources,
            smart_hosts: self.smart_hosts(),
            address_spaces: self.required_list("AddressSpaces"),
            tls_domain: self.tls_domain(),
            is_cloud: self.flag("CloudServicesMailEnabled").unwrap_or_default(),
            is_proxied: self.flag("FrontendProxyEnabled").unwrap_or_default(),
        };
        Some(row)
    }

    fn name(&mut self) -> Option<String> {
        let field = if self.row.has("Name") { "Name" } else { "Identity" };
        self.required(field)
    }

    fn is_on_premises(&mut self) -> Option<bool> {
        self.required("ConnectorType")?;
        let kinds = [(1, "OnPremises"), (2, "Partner")];
        self.optional("ConnectorType", |value| values::word(value, &kinds)).map(|kind| kind == "OnPremises")
    }

    /// Names, or addresses, which stand in brackets.
    fn smart_hosts(&mut self) -> Vec<String> {
        let mut hosts = Vec::new();
        for written in self.required_list("SmartHosts") {
            let host = canonical_name(written.trim_matches(['[', ']']));
            if is_host_name(&host) || host.parse::<std::net::IpAddr>().is_ok() {
                hosts.push(host);
            } else {
                self.wrong("SmartHosts", &format!("{} is neither a name nor an address", quoted(&written)));
            }
        }
        hosts
    }

    fn tls_domain(&mut self) -> Option<String> {
        self.present("TlsDomain")?;
        let written = self.text("TlsDomain")?;
        self.domain("TlsDomain", &written)
    }

    /// A domain, perhaps with a leading `*.`.
    fn domain(&mut self, field: &str, written: &str) -> Option<String> {
        let domain = canonical_name(written);
        if is_domain(&domain) {
            return Some(domain);
        }
        self.wrong(field, &format!("{} is no domain, such as mail.contoso.com or *.contoso.com", quoted(written)));
        None
    }

    /// The certificate itself tells its dates better than a text that only its own computer can read.
    fn date(&mut self, field: &str, is_told: bool) -> Option<Timestamp> {
        let found = self.row.field(field)?;
        match values::time(&found.value, false) {
            Ok(time) => time,
            Err(_) if is_told => None,
            Err(wrong) => {
                self.wrong(field, &format!("{wrong}; {HINT}"));
                None
            }
        }
    }

    fn text(&mut self, field: &str) -> Option<String> {
        self.optional(field, values::text)
    }

    fn list(&mut self, field: &str) -> Vec<String> {
        self.optional(field, |value| values::list(value).map(Some)).unwrap_or_default()
    }

    fn flag(&mut self, field: &str) -> Option<bool> {
        self.optional(field, values::flag)
    }

    /// A field that has to be there and may be empty. What an export leaves out is not known to be empty.
    fn present(&mut self, field: &str) -> Option<&Field> {
        if !self.row.has(field) {
            self.mistakes.field(self.row.line, field, format!("is missing; {HINT}"));
        }
        self.row.field(field)
    }

    fn required(&mut self, field: &str) -> Option<String> {
        match values::text(&self.present(field)?.value) {
            Ok(Some(text)) => return Some(text),
            Ok(None) => self.wrong(field, "is empty"),
            Err(wrong) => self.wrong(field, &format!("{wrong}; {HINT}")),
        }
        None
    }

    fn required_flag(&mut self, field: &str) -> Option<bool> {
        self.required(field)?;
        self.flag(field)
    }

    fn required_list(&mut self, field: &str) -> Vec<String> {
        if self.present(field).is_none() { Vec::new() } else { self.list(field) }
    }

    fn optional<T>(&mut self, field: &str, read: impl Fn(&Value) -> Result<Option<T>, String>) -> Option<T> {
        match read(&self.row.field(field)?.value) {
            Ok(read) => read,
            Err(wrong) => {
                self.wrong(field, &format!("{wrong}; {HINT}"));
                None
            }
        }
    }

    fn wrong(&mut self, field: &str, what: &str) {
        let line = self.row.field(field).map_or(self.row.line, |field| field.line);
        self.mistakes.field(line, field, what);
    }
}

/// `CertificateStatus`, by its numbers.
const STATUS: [(u32, &str); 8] = [
    (0, "Unknown"),
    (1, "Valid"),
    (2, "Revoked"),
    (3, "DateInvalid"),
    (4, "Untrusted"),
    (5, "Invalid"),
    (6, "RevocationCheckFailure"),
    (7, "PendingRequest"),
];

/// A domain, perhaps with a leading `*.`; `*` alone is all.
pub fn is_domain(domain: &str) -> bool {
    is_host_name(domain.strip_prefix("*.").unwrap_or(domain)) || domain == "*"
}

/// `smtp:*.contoso.com;1` is `*.contoso.com`.
fn sender_domain(text: &str) -> String {
    let lower = text.trim().to_lowercase();
    let domain = lower.strip_prefix("smtp:").unwrap_or(&lower);
    domain.split(';').next().unwrap_or_default().to_string()
}

/// A short name is that of every full one that begins with it.
fn is_one_host(one: &str, other: &str) -> bool {
    let (one, other) = (canonical_name(one), canonical_name(other));
    let first = |name: &str| name.split('.').next().map(ToString::to_string);
    one == other || (!one.contains('.') || !other.contains('.')) && first(&one) == first(&other)
}

fn is_number(value: &Value) -> bool {
    match value {
        Value::Number(_) => true,
        Value::String(text) => text.trim().parse::<u32>().is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::{super::rows::Json, *};
    use exchange_preflight_checks::facts::export::Services;

    fn given(text: &str, server: Option<&str>) -> (Inputs, Vec<String>) {
        let (mut inputs, mut mistakes) = (Inputs::default(), Mistakes::of("a.json"));
        for row in Json::read(text, &mut mistakes).unwrap().rows(&mut mistakes) {
            read(Kind::of(&row).unwrap(), &row, server, &mut inputs, &mut mistakes);
        }
        (inputs, mistakes.into_sentences())
    }

    /// Fields as Windows PowerShell gives them (ConvertTo-Json, Microsoft Learn), with a certificate of our own.
    #[test]
    fn a_certificate_is_read_as_windows_powershell_writes_it() {
        let text = include_str!("../../fixtures/inputs/certificates-5.1.json");
        let (inputs, mistakes) = given(text, None);
        assert_eq!(mistakes, Vec::<String>::new());
        let rows = inputs.certificates.unwrap();
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!(row.server, "ex02.contoso.com", "Identity counts, and not who was spoken with");
        assert_eq!(row.thumbprint, "b9a9283fa00d61b9e6fb3469044280f78c15c30a");
        assert_eq!(row.domains, ["mail.contoso.com", "autodiscover.contoso.com", "contoso.com"]);
        assert_eq!((row.services, row.status.as_deref(), row.root), (Some(Services(24)), Some("Valid"), None));
        assert_eq!(row.not_before, "2026-11-20T00:00:00Z".parse().ok());
        assert!(row.der.is_some());
    }

    #[test]
    fn every_mistake_is_told_with_line_and_field() {
        let text = include_str!("../../fixtures/inputs/certificates-5.1.json");
        for (from, to, wrong) in [
            ("\"Services\": 24", "\"Services\": \"SMPT\"", "field Services: \"SMPT\" is no list of IMAP"),
            ("\"Thumbprint\": \"B9", "\"Thumbprint\": \"B", "field Thumbprint: "),
            (
                "\"Thumbprint\": \"B9",
                "\"Thumbprint\": \"B8",
                "field RawData: is another certificate: its thumbprint is b9a9",
            ),
            ("\"Identity\"", "\"Id\"", ""),
            (
                "\"HasPrivateKey\": true",
                "\"HasPrivateKey\": \"perhaps\"",
                "field HasPrivateKey: \"perhaps\" is neither",
            ),
            ("        48,\r\n        130,", "        48,\r\n        1300,", "field RawData: is no list of bytes"),
        ] {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            let (_, mistakes) = given(&changed, None);
            assert_eq!(mistakes.is_empty(), wrong.is_empty(), "{mistakes:?}");
            assert!(
                mistakes.iter().all(|told| told.contains(wrong) && told.contains("line ")),
                "{wrong}: {mistakes:?}"
            );
        }
    }

    #[test]
    fn whose_a_certificate_is_has_to_be_said() {
        let row = |field: &str| {
            format!(
                "{{\"Thumbprint\": \"{:040}\", \"Services\": \"SMTP\", \"Subject\": \"CN=a\", \"Issuer\": \"CN=b\"{field}}}",
                1
            )
        };
        let server = |field: &str, named: Option<&str>| {
            let (inputs, mistakes) = given(&row(field), named);
            inputs.certificates.unwrap().pop().map(|row| row.server).ok_or(mistakes)
        };
        assert_eq!(server("", Some("EX01")).as_deref(), Ok("ex01"));
        assert_eq!(server(", \"Server\": \"EX01.contoso.com\"", Some("ex01")).as_deref(), Ok("ex01.contoso.com"));
        assert_eq!(server(", \"PSComputerName\": \"EX01\"", None).as_deref(), Ok("ex01"));
        assert!(server("", None).unwrap_err()[0].contains("SERVER=FILE"));
        assert!(server(", \"Server\": \"EX02\"", Some("EX01")).unwrap_err()[0].contains("said to be of \"EX01\""));
        assert!(server(", \"Server\": \"EX 02\"", None).unwrap_err()[0].contains("no name of a server"));
    }

    #[test]
    fn connectors_are_read_as_exchange_names_their_fields() {
        let (inputs, mistakes) = given(include_str!("../../fixtures/inputs/inbound.json"), None);
        assert_eq!(mistakes, Vec::<String>::new());
        let rows = inputs.inbound.unwrap();
        assert!(rows[0].is_enabled && rows[0].is_on_premises && rows[0].is_cloud);
        assert_eq!(
            (rows[0].certificate_name.as_deref(), rows[0].sender_domains.as_slice()),
            (Some("mail.contoso.com"), &["*".into()][..])
        );
        assert_eq!(rows[1].addresses, ["203.0.113.0/24", "198.51.100.7"].map(|text| IpRange::read(text).unwrap()));
        assert_eq!(rows[1].sender_domains, ["*.fabrikam.com"]);
        let (inputs, mistakes) = given(include_str!("../../fixtures/inputs/outbound.json"), None);
        assert_eq!(mistakes, Vec::<String>::new());
        let [row] = &inputs.outbound.unwrap()[..] else { panic!("one is there") };
        assert_eq!(
            (row.smart_hosts.as_slice(), row.tls_settings.as_deref()),
            (&["mail.contoso.com".into()][..], Some("DomainValidation"))
        );
    }

    /// What an export leaves out is not empty: nobody knows.
    #[test]
    fn a_column_that_is_left_out_is_a_mistake() {
        let text = include_str!("../../fixtures/inputs/inbound.json");
        for field in ["SenderIPAddresses", "RequireTls", "ConnectorType", "Enabled", "SenderDomains"] {
            let (_, mistakes) = given(&text.replacen(&format!("\"{field}\""), "\"Other\"", 1), None);
            assert!(
                mistakes[0].contains(&format!("line 2, field {field}: is missing; `exchange-preflight explain")),
                "{mistakes:?}"
            );
        }
    }
}
