//! The forest and its Exchange organisation, as one controller tells them to whoever has logged on: sites, controllers, domains
//! and trusts; servers, connectors, virtual directories and names.
//!
//! Objects are found by their class from the Configuration partition on, never by name: names are localised, and administrative
//! groups may be called anything.

use crate::{
    facts::{
        connector::{AuthMechanism, CertificateName, IpRange, TransportRole, binding},
        dns::{canonical_name, is_host_name},
        search::{DirectoryEntries, DirectorySearch, Entry, dn_parts, domain_of_dn, filter, is_same_dn, leaf, parent},
        spn::Mappings,
    },
    model::{
        estate::Estate,
        evidence::Evidence,
        informants::{Found, Holding, Informant, found},
        plan::ServerRole,
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec::Vec,
};
use core::net::SocketAddr;

/// A value that stands in an attribute. What an ordinary user may not read looks as if it were not there, so that only an
/// attribute beside it tells the two apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Told<T> {
    /// Not asked, or not shown to us.
    #[default]
    Unread,
    /// The object is shown, and this attribute has no value.
    NotSet,
    /// The value.
    Is(T),
}

impl<T> Told<T> {
    /// The value, if it has one.
    pub fn value(&self) -> Option<&T> {
        if let Self::Is(value) = self { Some(value) } else { None }
    }

    /// Could it be read, be it set or not?
    pub fn is_read(&self) -> bool {
        !matches!(self, Self::Unread)
    }

    /// `value` of an object of which we are shown what else there is to it.
    fn of(value: Option<T>, is_shown: bool) -> Self {
        match value {
            Some(value) => Self::Is(value),
            None if is_shown => Self::NotSet,
            None => Self::Unread,
        }
    }
}

/// What is asked of the directory to learn the estate. Each is one search; all begin at names that the root DSE tells.
pub mod searches {
    use super::{DirectorySearch, Informant, filter};
    use alloc::format;

    /// Sites, and the controllers in them (MS-ADTS section 6.1.1.2.2).
    pub fn sites(at: &Informant) -> DirectorySearch {
        let classes = ["site", "server", "nTDSDSA"].map(|class| filter::equal("objectClass", class));
        let attributes =
            ["objectClass", "objectGUID", "dNSHostName", "options", "msDS-isRODC", "invocationId", "msDS-HasMasterNCs"];
        DirectorySearch::below(format!("CN=Sites,{}", at.configuration), filter::any_of(classes), &attributes)
    }

    /// Ways between sites, and how often they are gone (MS-ADTS section 6.1.1.2.2.3). Not asked by everybody.
    pub fn site_links(at: &Informant) -> DirectorySearch {
        let attributes = ["siteList", "replInterval", "cost", "options", "schedule"];
        let base = format!("CN=Inter-Site Transports,CN=Sites,{}", at.configuration);
        DirectorySearch::below(base, filter::equal("objectClass", "siteLink"), &attributes)
    }

    /// The domains of the forest (MS-ADTS section 6.1.1.2.1.1).
    pub fn partitions(at: &Informant) -> DirectorySearch {
        let attributes = ["nCName", "dnsRoot", "nETBIOSName", "systemFlags"];
        DirectorySearch::below(
            format!("CN=Partitions,{}", at.configuration),
            filter::equal("objectClass", "crossRef"),
            &attributes,
        )
    }

    /// Who is the PDC emulator.
    pub fn domain(at: &Informant) -> DirectorySearch {
        DirectorySearch::of(&*at.domain, &["fSMORoleOwner", "objectGUID"])
    }

    /// Trusts of the domain (MS-ADTS section 6.1.6.7).
    pub fn trusts(at: &Informant) -> DirectorySearch {
        let attributes = ["trustPartner", "trustDirection", "trustType", "trustAttributes", "flatName"];
        DirectorySearch::below(
            format!("CN=System,{}", at.domain),
            filter::equal("objectClass", "trustedDomain"),
            &attributes,
        )
    }

    /// `sPNMappings` and `dSHeuristics` (MS-ADTS section 6.1.1.2.4.1).
    pub fn service(at: &Informant) -> DirectorySearch {
        let attributes = ["objectClass", "sPNMappings", "dSHeuristics", "tombstoneLifetime"];
        DirectorySearch::of(format!("CN=Directory Service,CN=Windows NT,CN=Services,{}", at.configuration), &attributes)
    }

    /// Authorities that the forest trusts or passes on.
    pub fn authorities(at: &Informant) -> DirectorySearch {
        let base = format!("CN=Public Key Services,CN=Services,{}", at.configuration);
        DirectorySearch::below(base, filter::equal("objectClass", "certificationAuthority"), &["cACertificate"])
    }

    /// Exchange servers.
    pub fn servers(at: &Informant) -> DirectorySearch {
        let attributes = [
            "networkAddress",
            "serialNumber",
            "versionNumber",
            "msExchCurrentServerRoles",
            "msExchServerSite",
            "msExchServerInternalTLSCert",
            "objectGUID",
        ];
        below_exchange(at, "msExchExchangeServer", &attributes)
    }

    /// How receive connectors are set.
    pub const CONNECTOR_SETTINGS: [&str; 9] = [
        "msExchSMTPReceiveConnectorFQDN",
        "msExchSmtpReceiveBindings",
        "msExchSmtpReceiveRemoteIPRanges",
        "msExchSMTPReceiveInboundSecurityFlag",
        "msExchSmtpTLSCertificate",
        "msExchSmtpReceiveTlsDomainCapabilities",
        "msExchSmtpReceiveRole",
        "msExchSmtpReceiveEnabled",
        "msExchSmtpReceiveProtocolOptions",
    ];

    /// Receive connectors.
    pub fn receive_connectors(at: &Informant) -> DirectorySearch {
        let attributes = [&CONNECTOR_SETTINGS[..], &["objectGUID"]].concat();
        below_exchange(at, "msExchSmtpReceiveConnector", &attributes)
    }

    /// Send connectors.
    pub fn send_connectors(at: &Informant) -> DirectorySearch {
        let attributes = [
            "msExchSmtpSmartHost",
            "routingList",
            "msExchSMTPSendConnectorFQDN",
            "msExchSmtpTLSCertificate",
            "msExchSourceBridgeheadServersDN",
            "msExchSmtpSendEnabled",
            "msExchSmtpSendTlsDomain",
            "msExchSmtpSendFlags",
            "msExchSmtpOutboundSecurityFlag",
            "objectGUID",
        ];
        below_exchange(at, "msExchRoutingSMTPConnector", &attributes)
    }

    /// Virtual directories.
    pub fn virtual_directories(at: &Informant) -> DirectorySearch {
        let attributes = ["objectClass", "msExchInternalHostName", "msExchExternalHostName"];
        let virtual_directory = filter::equal("objectClass", "msExchVirtualDirectory");
        let no_container = format!("(!{})", filter::equal("objectClass", "container"));
        DirectorySearch::below(exchange(at), filter::all_of([virtual_directory, no_container]), &attributes)
    }

    /// Accepted domains, and the objects of a hybrid organisation.
    pub fn names(at: &Informant) -> DirectorySearch {
        let classes =
            ["msExchAcceptedDomain", "msExchCoexistenceRelationship"].map(|class| filter::equal("objectClass", class));
        let attributes = [
            "objectClass",
            "msExchAcceptedDomainName",
            "msExchAcceptedDomainFlags",
            "msExchCoexistenceSecureMailCertificateThumbprint",
            "msExchCoexistenceOnPremisesSmartHost",
            "msExchCoexistenceTransportServers",
            "msExchCoexistenceFrontendTransportServers",
            "msExchCoexistenceDomains",
        ];
        DirectorySearch::below(exchange(at), filter::any_of(classes), &attributes)
    }

    fn exchange(at: &Informant) -> alloc::string::String {
        format!("CN=Microsoft Exchange,CN=Services,{}", at.configuration)
    }

    fn below_exchange(at: &Informant, class: &str, attributes: &[&str]) -> DirectorySearch {
        DirectorySearch::below(exchange(at), filter::equal("objectClass", class), attributes)
    }

    /// All of them.
    pub const ALL: [fn(&Informant) -> DirectorySearch; 11] = [
        sites,
        partitions,
        domain,
        trusts,
        service,
        authorities,
        servers,
        receive_connectors,
        send_connectors,
        virtual_directories,
        names,
    ];
}

/// A search by what it is about, before anybody is known who could be asked.
pub type SearchOf = fn(&Informant) -> DirectorySearch;

/// The forest and its Exchange organisation, as far as they are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Organisation {
    /// Sites by name.
    pub sites: BTreeSet<String>,
    /// Controllers of all domains, by name.
    pub dsas: BTreeMap<String, Dsa>,
    /// Domains of the forest: DNS name -> NetBIOS name.
    pub domains: BTreeMap<String, String>,
    /// Trusts of the domain.
    pub trusts: Vec<DomainTrust>,
    /// The domain's PDC emulator by name.
    pub pdc: Option<String>,
    /// Which classes of SPNs stand for others.
    pub mappings: Told<Mappings>,
    /// `dSHeuristics`.
    pub heuristics: Told<String>,
    /// Certificates of the forest's own authorities, DER.
    pub authorities: Vec<Vec<u8>>,
    /// Exchange servers by fully qualified name.
    pub servers: BTreeMap<String, ExchangeServer>,
    /// Receive connectors.
    pub receive_connectors: Vec<ReceiveConnector>,
    /// Send connectors.
    pub send_connectors: Vec<SendConnector>,
    /// Virtual directories.
    pub virtual_directories: Vec<VirtualDirectory>,
    /// Accepted domains; a leading `*.` stands for all below.
    pub accepted_domains: BTreeSet<String>,
    /// The hybrid organisation, if there is one.
    pub hybrid: Option<Hybrid>,
}

/// A controller as the Configuration partition has it: an nTDSDSA object (MS-ADTS section 6.1.1.2.2.1.2.1.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dsa {
    /// Its objectGUID, under which partners look for it in DNS.
    pub guid: Option<String>,
    /// Its site.
    pub site: String,
    /// It is a global catalog (`NTDSDSA_OPT_IS_GC`).
    pub is_catalog: bool,
    /// It is read-only.
    pub is_read_only: bool,
    /// The domain of which it holds a writable copy; an RODC holds none.
    pub domain: Option<String>,
}

/// A trust of the domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DomainTrust {
    /// The other domain.
    pub partner: String,
    /// 1 in, 2 out, 3 both ways.
    pub direction: i64,
    /// `trustAttributes`: 32 within the forest, 8 between forests.
    pub attributes: i64,
}

/// An Exchange server's object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExchangeServer {
    /// Its distinguished name.
    pub dn: String,
    /// What it is called in the directory: its NetBIOS name.
    pub name: String,
    /// Major and minor version: 14 is 2010, 15.0 2013, 15.1 2016, 15.2 2019 and SE.
    pub version: Told<(u32, u32)>,
    /// `msExchCurrentServerRoles`.
    pub roles: Told<i64>,
    /// Its site.
    pub site: Option<String>,
    /// The internal transport certificate, DER. `Err` for a list that holds none.
    pub internal_certificate: Told<Result<Vec<u8>, ()>>,
}

impl ExchangeServer {
    /// Edge Transport: in no domain, known here by its subscription.
    pub fn is_edge(&self) -> bool {
        self.roles.value().is_some_and(|roles| roles & 64 != 0)
    }

    /// Prepared for a server that was never installed.
    pub fn is_only_provisioned(&self) -> bool {
        const MAIL: i64 = MAILBOX | CLIENT_ACCESS | HUB | 64 | FRONT_END;
        const PROVISIONED: i64 = 4096;
        self.roles.value().is_some_and(|roles| roles & PROVISIONED != 0 && roles & MAIL == 0)
    }

    /// Exchange 2010 or older.
    pub fn is_of_2010(&self) -> bool {
        self.version.value().is_some_and(|(major, _)| *major < 15)
    }

    /// Exchange 2013 with the Client Access role alone: it has the front end, and no transport service behind it.
    pub fn is_front_alone(&self) -> bool {
        self.roles_of_2013().is_some_and(|roles| roles & (MAILBOX | HUB) == 0 && roles & FRONT_END != 0)
    }

    /// Exchange 2013 with the Mailbox role alone: its transport service has 25, which the front end has elsewhere.
    pub fn is_back_alone(&self) -> bool {
        self.roles_of_2013().is_some_and(|roles| roles & (MAILBOX | HUB) != 0 && roles & FRONT_END == 0)
    }

    /// Since Exchange 2016 all roles are one.
    fn roles_of_2013(&self) -> Option<i64> {
        self.roles.value().copied().filter(|_| self.version == Told::Is((15, 0)))
    }

    /// What it does in the flow of mail; `None` for one that carries none: only provisioned, or without a transport role.
    pub fn role(&self) -> Option<ServerRole> {
        // Up to Exchange 2010 transport is a role of its own: neither Mailbox nor Client Access servers listen for SMTP.
        let carries_mail = match self.version {
            Told::Is((15.., _)) => MAILBOX | HUB | FRONT_END,
            Told::Is(_) => HUB,
            Told::NotSet | Told::Unread => MAILBOX | CLIENT_ACCESS | HUB | FRONT_END,
        };
        match &self.roles {
            _ if self.is_edge() => Some(ServerRole::Edge),
            _ if self.is_only_provisioned() => None,
            Told::Is(roles) => (roles & carries_mail != 0).then_some(ServerRole::Mailbox),
            Told::NotSet | Told::Unread => Some(ServerRole::Mailbox),
        }
    }
}

/// Bits of `msExchCurrentServerRoles`.
const MAILBOX: i64 = 2;
const CLIENT_ACCESS: i64 = 4;
const HUB: i64 = 32;
const FRONT_END: i64 = 16384;

/// A receive connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceiveConnector {
    /// The server's name in the directory.
    pub server: String,
    /// Its fully qualified name, if that is known.
    pub host: Option<String>,
    /// What it is called.
    pub name: String,
    /// The name by which it answers EHLO.
    pub fqdn: Option<String>,
    /// Where it listens.
    pub bindings: Vec<SocketAddr>,
    /// From where it takes connections.
    pub ranges: Vec<IpRange>,
    /// Bindings and ranges that could not be read: then nothing is certain about who is answered by this connector.
    pub unreadable: Vec<String>,
    /// How those who connect may prove who they are.
    pub mechanisms: Told<AuthMechanism>,
    /// Which service has it.
    pub role: Option<TransportRole>,
    /// It is in service.
    pub is_enabled: bool,
    /// `msExchSmtpReceiveProtocolOptions`.
    pub options: i64,
    /// The certificate that it shows, by name.
    pub pin: Told<String>,
    /// TlsDomainCapabilities.
    pub capabilities: Vec<String>,
}

impl ReceiveConnector {
    /// The certificate that it shows, if one is named in a way that can be read.
    pub fn pinned(&self) -> Option<CertificateName> {
        CertificateName::read(self.pin.value()?)
    }
}

/// A send connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SendConnector {
    /// What it is called.
    pub name: String,
    /// Smart hosts; none where it looks the way up in DNS.
    pub smart_hosts: Vec<String>,
    /// `SMTP:*;1`
    pub address_spaces: Vec<String>,
    /// The name that it says in EHLO.
    pub fqdn: Option<String>,
    /// The certificate that it shows, by name.
    pub pin: Told<String>,
    /// The servers that use it, by their names in the directory.
    pub sources: Vec<String>,
    /// It is in service.
    pub is_enabled: bool,
    /// `msExchSmtpSendFlags`.
    pub flags: i64,
    /// The name that its smart hosts must prove.
    pub tls_domain: Option<String>,
}

/// A virtual directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VirtualDirectory {
    /// The server's name in the directory.
    pub server: String,
    /// Its fully qualified name, if that is known.
    pub host: Option<String>,
    /// What it is called: `owa (Default Web Site)`.
    pub name: String,
    /// Its most special class.
    pub class: String,
    /// InternalUrl.
    pub internal_url: Told<String>,
    /// ExternalUrl.
    pub external_url: Told<String>,
}

/// A hybrid organisation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hybrid {
    /// The certificate of the hybrid connectors, by name; the attribute is called a thumbprint and holds `<I>...<S>...`.
    pub pin: Option<String>,
    /// Where Exchange Online hands mail over.
    pub smart_host: Option<String>,
    /// Servers that send to Exchange Online, by their names in the directory.
    pub senders: Vec<String>,
    /// Servers that receive from it.
    pub receivers: Vec<String>,
}

impl Organisation {
    /// What the evidence tells.
    pub fn learn(estate: &Estate, evidence: &Evidence) -> Self {
        let mut told = Self::default();
        let Some(first) = estate.informants.first() else { return told };
        let entries = |search: SearchOf| -> Vec<&Entry> {
            let found: Found<'_> = found(&search(first), Holding::Domain, estate, evidence);
            found.entries().map(|DirectoryEntries { entries, .. }| entries.iter().collect()).unwrap_or_default()
        };
        told.learn_sites(&entries(searches::sites));
        for entry in entries(searches::partitions) {
            // FLAG_CR_NTDS_DOMAIN: it is a domain, and no application partition.
            if entry.number("systemFlags").is_some_and(|flags| flags & 2 != 0)
                && let Some(name) = entry.text("dnsRoot").map(canonical_name).filter(|name| is_host_name(name))
            {
                told.domains.insert(name, entry.text("nETBIOSName").unwrap_or_default().to_string());
            }
        }
        for entry in entries(searches::trusts) {
            let number = |attribute| entry.number(attribute).unwrap_or_default();
            if let Some(partner) = entry.text("trustPartner").map(canonical_name) {
                let (direction, attributes) = (number("trustDirection"), number("trustAttributes"));
                told.trusts.push(DomainTrust { partner, direction, attributes });
            }
        }
        let owner =
            entries(searches::domain).first().and_then(|entry| entry.text("fSMORoleOwner").map(ToString::to_string));
        told.pdc = owner.and_then(|dn| host_of_settings(&dn, &entries(searches::sites)));
        for entry in entries(searches::service) {
            let mappings = entry.shows("sPNMappings").then(|| Mappings::read(entry.texts("sPNMappings")));
            told.mappings = Told::of(mappings, entry.shows("objectClass"));
            told.heuristics = Told::of(entry.text("dSHeuristics").map(ToString::to_string), entry.shows("objectClass"));
        }
        let authorities = entries(searches::authorities).into_iter().flat_map(|entry| entry.values("cACertificate"));
        told.authorities = authorities.map(|value| value.bytes().to_vec()).filter(|der| !der.is_empty()).collect();
        told.authorities.sort();
        told.authorities.dedup();
        for entry in entries(searches::servers) {
            if let Some(host) = network_name(entry) {
                told.servers.insert(host, exchange_server(entry));
            }
        }
        told.learn_connectors(&entries(searches::receive_connectors), &entries(searches::send_connectors));
        told.virtual_directories = entries(searches::virtual_directories)
            .into_iter()
            .filter_map(|entry| told.virtual_directory(entry))
            .collect();
        told.learn_names(&entries(searches::names));
        // A directory shows its objects in no order.
        told.receive_connectors.sort_by(|one, other| (&one.server, &one.name).cmp(&(&other.server, &other.name)));
        told.send_connectors.sort_by(|one, other| one.name.cmp(&other.name));
        told.virtual_directories.sort_by(|one, other| (&one.server, &one.name).cmp(&(&other.server, &other.name)));
        told
    }

    /// The server with this name in the directory.
    pub fn server_called(&self, name: &str) -> Option<(&String, &ExchangeServer)> {
        self.servers.iter().find(|(_, server)| server.name.eq_ignore_ascii_case(name))
    }

    /// The receive connectors of a host.
    pub fn receive_connectors_of<'o>(&'o self, host: &'o str) -> impl Iterator<Item = &'o ReceiveConnector> {
        self.receive_connectors.iter().filter(move |connector| connector.host.as_deref() == Some(host))
    }

    fn learn_sites(&mut self, entries: &[&Entry]) {
        for entry in entries {
            if entry.is_a("site") {
                self.sites.extend(leaf(&entry.dn));
            } else if entry.is_a("nTDSDSA")
                && let Some(holder) = parent(&entry.dn)
                && let Some(server) = entries.iter().find(|server| is_same_dn(&server.dn, holder))
                && let Some(host) = server.text("dNSHostName").map(canonical_name).filter(|name| is_host_name(name))
            {
                let is_read_only = entry.flag("msDS-isRODC") == Some(true) || entry.is_a("nTDSDSARO");
                // Partitions that are domains consist of domain components only; DomainDnsZones does, too.
                let masters = entry.texts("msDS-HasMasterNCs").filter_map(domain_of_dn);
                let domain = masters
                    .filter(|name| !name.starts_with("domaindnszones.") && !name.starts_with("forestdnszones."))
                    .min_by_key(String::len);
                let dsa = Dsa {
                    guid: entry.guid(),
                    site: site_of(&server.dn).unwrap_or_default(),
                    is_catalog: entry.number("options").is_some_and(|options| options & 1 != 0),
                    is_read_only,
                    domain,
                };
                self.dsas.insert(host, dsa);
            }
        }
    }

    fn learn_connectors(&mut self, receive: &[&Entry], send: &[&Entry]) {
        let connectors = receive.iter().filter_map(|entry| self.receive_connector(entry));
        self.receive_connectors = connectors.collect();
        self.send_connectors = send.iter().filter_map(|entry| send_connector(entry)).collect();
    }

    fn receive_connector(&self, entry: &Entry) -> Option<ReceiveConnector> {
        let server = server_above(&entry.dn)?;
        // Whoever may read a connector reads all of it, so one attribute that each must have vouches for the others.
        let is_shown = entry.shows("msExchSmtpReceiveBindings");
        let (mut bindings, mut ranges, mut unreadable) = (Vec::new(), Vec::new(), Vec::new());
        for text in entry.texts("msExchSmtpReceiveBindings") {
            binding(text).map_or_else(|| unreadable.push(text.to_string()), |binding| bindings.push(binding));
        }
        for text in entry.texts("msExchSmtpReceiveRemoteIPRanges") {
            IpRange::read(text).map_or_else(|| unreadable.push(text.to_string()), |range| ranges.push(range));
        }
        bindings.sort();
        ranges.sort();
        // An attribute at its default need not be written.
        let mechanisms = entry.number("msExchSMTPReceiveInboundSecurityFlag").map(AuthMechanism);
        let mechanisms = mechanisms.or_else(|| is_shown.then_some(AuthMechanism::DEFAULT));
        Some(ReceiveConnector {
            host: self.server_called(&server).map(|(host, _)| host.clone()),
            server,
            name: leaf(&entry.dn)?,
            fqdn: entry.text("msExchSMTPReceiveConnectorFQDN").map(canonical_name),
            bindings,
            ranges,
            unreadable,
            mechanisms: Told::of(mechanisms, is_shown),
            role: TransportRole::read(entry.number("msExchSmtpReceiveRole")),
            is_enabled: entry.flag("msExchSmtpReceiveEnabled") != Some(false),
            options: entry.number("msExchSmtpReceiveProtocolOptions").unwrap_or_default(),
            pin: Told::of(entry.text("msExchSmtpTLSCertificate").map(ToString::to_string), is_shown),
            capabilities: entry.texts("msExchSmtpReceiveTlsDomainCapabilities").map(ToString::to_string).collect(),
        })
    }

    fn virtual_directory(&self, entry: &Entry) -> Option<VirtualDirectory> {
        let server = server_above(&entry.dn)?;
        let is_shown = entry.shows("objectClass");
        let url = |attribute| Told::of(entry.text(attribute).map(ToString::to_string), is_shown);
        Some(VirtualDirectory {
            host: self.server_called(&server).map(|(host, _)| host.clone()),
            server,
            name: leaf(&entry.dn)?,
            class: entry.texts("objectClass").last().unwrap_or_default().to_string(),
            internal_url: url("msExchInternalHostName"),
            external_url: url("msExchExternalHostName"),
        })
    }

    fn learn_names(&mut self, entries: &[&Entry]) {
        for entry in entries {
            if entry.is_a("msExchCoexistenceRelationship") {
                let text = |attribute| entry.text(attribute).map(ToString::to_string);
                let servers = |attribute| entry.texts(attribute).filter_map(server_above).collect();
                self.hybrid = Some(Hybrid {
                    pin: text("msExchCoexistenceSecureMailCertificateThumbprint"),
                    smart_host: text("msExchCoexistenceOnPremisesSmartHost"),
                    senders: servers("msExchCoexistenceTransportServers"),
                    receivers: servers("msExchCoexistenceFrontendTransportServers"),
                });
            } else if let Some(name) = entry.text("msExchAcceptedDomainName") {
                self.accepted_domains.insert(name.to_lowercase());
            }
        }
    }
}

fn send_connector(entry: &Entry) -> Option<SendConnector> {
    let texts = |attribute| entry.texts(attribute).map(ToString::to_string).collect::<Vec<_>>();
    let is_shown = entry.shows("routingList");
    Some(SendConnector {
        name: leaf(&entry.dn)?,
        smart_hosts: texts("msExchSmtpSmartHost")
            .iter()
            .flat_map(|hosts| hosts.split([',', ';']))
            .map(|host| host.trim().to_string())
            .filter(|host| !host.is_empty())
            .collect(),
        address_spaces: texts("routingList"),
        fqdn: entry.text("msExchSMTPSendConnectorFQDN").map(canonical_name),
        pin: Told::of(entry.text("msExchSmtpTLSCertificate").map(ToString::to_string), is_shown),
        sources: entry.texts("msExchSourceBridgeheadServersDN").filter_map(server_above).collect(),
        is_enabled: entry.flag("msExchSmtpSendEnabled") != Some(false),
        flags: entry.number("msExchSmtpSendFlags").unwrap_or_default(),
        tls_domain: entry.text("msExchSmtpSendTlsDomain").map(canonical_name),
    })
}

fn exchange_server(entry: &Entry) -> ExchangeServer {
    let is_shown = entry.shows("networkAddress");
    let certificate = entry.bytes("msExchServerInternalTLSCert").map(|list| serialized_certificate(list).ok_or(()));
    ExchangeServer {
        name: leaf(&entry.dn).unwrap_or_default(),
        version: Told::of(entry.text("serialNumber").and_then(version), is_shown),
        roles: Told::of(entry.number("msExchCurrentServerRoles"), is_shown),
        site: entry.text("msExchServerSite").and_then(leaf),
        internal_certificate: Told::of(certificate, is_shown),
        dn: entry.dn.clone(),
    }
}

/// `ncacn_ip_tcp:ex01.contoso.com` among the values of networkAddress.
pub(crate) fn network_name(entry: &Entry) -> Option<String> {
    let names = entry.texts("networkAddress").filter_map(|value| {
        let (kind, name) = value.split_once(':')?;
        kind.eq_ignore_ascii_case("ncacn_ip_tcp").then(|| canonical_name(name))
    });
    names.filter(|name| is_host_name(name)).max_by_key(|name| name.contains('.'))
}

/// `Version 15.2 (Build 31118.7)`
fn version(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.trim().strip_prefix("Version ")?.split_once('.')?;
    let minor = rest.split(|letter: char| !letter.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The certificate in a serialized property list of CryptoAPI: `{ identifier u32, encoding u32, length u32, data }`, where
/// property 32 is the certificate itself (`CERT_CERT_PROP_ID`). A bare certificate is taken as it is.
pub fn serialized_certificate(list: &[u8]) -> Option<Vec<u8>> {
    const CERTIFICATE: u32 = 32;
    const SEQUENCE: u8 = 0x30;
    let mut rest = list;
    while let Some((head, tail)) = rest.split_first_chunk::<12>() {
        let number = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let Some((data, next)) = usize::try_from(number(8)).ok().and_then(|length| tail.split_at_checked(length))
        else {
            break;
        };
        if number(0) == CERTIFICATE {
            return Some(data.to_vec());
        }
        rest = next;
    }
    (list.first() == Some(&SEQUENCE)).then(|| list.to_vec())
}

/// The name of the server below which an object stands: `..., CN=Protocols,CN=EX01,CN=Servers,...`, or of the server itself.
pub(crate) fn server_above(dn: &str) -> Option<String> {
    let parts = dn_parts(dn)?;
    let servers = parts.iter().position(|(key, value)| key == "cn" && value.eq_ignore_ascii_case("Servers"))?;
    parts.get(servers.checked_sub(1)?).map(|(_, name)| name.clone())
}

/// `CN=DC1,CN=Servers,CN=<site>,CN=Sites,...`
fn site_of(dn: &str) -> Option<String> {
    let parts = dn_parts(dn)?;
    let sites = parts.iter().position(|(key, value)| key == "cn" && value.eq_ignore_ascii_case("Sites"))?;
    parts.get(sites.checked_sub(1)?).map(|(_, name)| name.clone())
}

/// The host whose NTDS Settings these are.
fn host_of_settings(dn: &str, entries: &[&Entry]) -> Option<String> {
    let holder = parent(dn)?;
    let server = entries.iter().find(|entry| is_same_dn(&entry.dn, holder))?;
    server.text("dNSHostName").map(canonical_name).filter(|name| is_host_name(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_serialized_certificate_is_found_among_its_properties() {
        let property = |id: u32, data: &[u8]| {
            let length = u32::try_from(data.len()).unwrap();
            [&id.to_le_bytes()[..], &1u32.to_le_bytes(), &length.to_le_bytes(), data].concat()
        };
        let list = [property(3, &[0; 20]), property(32, b"\x30der"), property(11, b"n\0")].concat();
        assert_eq!(serialized_certificate(&list).as_deref(), Some(&b"\x30der"[..]));
        assert_eq!(serialized_certificate(&property(3, &[0; 20])), None);
        assert_eq!(serialized_certificate(b"\x30\x82\x01").as_deref(), Some(&b"\x30\x82\x01"[..]));
    }

    #[test]
    fn roles_are_told_apart() {
        let server = |roles| ExchangeServer { roles: Told::Is(roles), ..ExchangeServer::default() };
        assert_eq!(server(16439).role(), Some(ServerRole::Mailbox));
        assert_eq!(server(38).role(), Some(ServerRole::Mailbox));
        assert_eq!(server(64).role(), Some(ServerRole::Edge));
        assert_eq!(server(4096).role(), None);
        assert_eq!(server(16).role(), None, "unified messaging alone carries no mail");
        let of = |version, roles| ExchangeServer { version: Told::Is(version), ..server(roles) };
        assert_eq!([2, 4, 6].map(|roles| of((14, 3), roles).role()), [None; 3], "transport is a role of its own");
        assert_eq!(of((14, 3), 38).role(), Some(ServerRole::Mailbox));
        assert_eq!(of((14, 3), 64).role(), Some(ServerRole::Edge));
        assert_eq!([54, 16385, 16439].map(|roles| of((15, 0), roles).role()), [Some(ServerRole::Mailbox); 3]);
    }

    #[test]
    fn separate_roles_of_2013_are_told_apart() {
        let of = |version, roles| {
            let server =
                ExchangeServer { version: Told::Is(version), roles: Told::Is(roles), ..ExchangeServer::default() };
            (server.is_front_alone(), server.is_back_alone())
        };
        assert_eq!(of((15, 0), 16385), (true, false));
        assert_eq!(of((15, 0), 54), (false, true));
        assert_eq!(of((15, 0), 16439), (false, false));
        assert_eq!(of((14, 3), 38), (false, false));
        assert_eq!(of((15, 2), 54), (false, false), "whatever its object says");
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(version("Version 15.2 (Build 31118.7)"), Some((15, 2)));
        assert_eq!(version("Version 14.3 (Build 30123.4)"), Some((14, 3)));
        assert_eq!(version("15.2"), None);
    }

    #[test]
    fn places_are_read_from_names() {
        let dn =
            "CN=Default EX01,CN=SMTP Receive Connectors,CN=Protocols,CN=EX01,CN=Servers,CN=Group,DC=contoso,DC=com";
        assert_eq!(server_above(dn).as_deref(), Some("EX01"));
        assert_eq!(site_of("CN=DC1,CN=Servers,CN=Berlin,CN=Sites,CN=Configuration,DC=x").as_deref(), Some("Berlin"));
    }

    proptest! {
        #[test]
        fn any_list_is_read_or_refused(list in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = serialized_certificate(&list);
        }

        #[test]
        fn any_text_is_a_version_or_none(text in ".{0,30}") {
            let _ = (version(&text), server_above(&text), site_of(&text));
        }
    }
}
