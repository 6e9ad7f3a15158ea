//! DNS: the records that lead to controllers (RFC 2782, MS-ADTS section 6.3.2.3).

use alloc::{format, string::String, vec::Vec};
use core::{fmt, net::IpAddr};
use serde::{Deserialize, Serialize};

/// The services under which a domain's controllers are registered (MS-ADTS section 6.3.2.3); [`srv_name`] completes them.
pub mod locator {
    /// All controllers.
    pub const CONTROLLERS: &str = "_ldap._tcp.dc._msdcs";
    /// The PDC emulator.
    pub const PDC: &str = "_ldap._tcp.pdc._msdcs";
    /// KDCs, as Windows looks for them.
    pub const KDCS: &str = "_kerberos._tcp.dc._msdcs";
    /// KDCs, as other systems look for them.
    pub const GENERIC_KDCS: &str = "_kerberos._tcp";
    /// Password services.
    pub const PASSWORD_SERVICES: &str = "_kpasswd._tcp";
    /// Global catalogs, in the forest root.
    pub const CATALOGS: &str = "_gc._tcp";
    /// What a domain registers; its controllers are what these lead to.
    pub const OF_A_DOMAIN: [&str; 5] = [CONTROLLERS, PDC, KDCS, GENERIC_KDCS, PASSWORD_SERVICES];
}

/// A service of a domain: `_ldap._tcp.dc._msdcs.contoso.com`.
pub fn srv_name(service: &str, domain: &str) -> String {
    format!("{service}.{domain}")
}

/// The controllers that cover a site.
pub fn site_service(site: &str) -> String {
    format!("_ldap._tcp.{}._sites.dc._msdcs", site.to_lowercase())
}

/// One lookup of a fully qualified name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DnsLookup {
    /// The name in lower case, without the dot at its end.
    pub name: String,
    /// Which records.
    pub records: RecordKind,
}

/// The record types that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum RecordKind {
    /// Where a service is.
    Srv,
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Who takes mail for a domain (RFC 5321 section 5.1).
    Mx,
    /// Another name's alias, as replication partners are found (`<DSA GUID>._msdcs`, MS-ADTS section 6.3.2.4).
    Cname,
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Srv => "SRV",
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Mx => "MX",
            Self::Cname => "CNAME",
        })
    }
}

/// What the name server said; "there is none" is an answer, and no failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DnsAnswer {
    /// The records, sorted.
    Records(Vec<Record>),
    /// The name exists and has no such record.
    NoRecords,
    /// NXDOMAIN.
    NoSuchName,
}

/// One record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Record {
    /// RFC 2782.
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// Share among equals.
        weight: u16,
        /// Where it listens.
        port: u16,
        /// Whose; lower case, without the dot at its end; empty for the target `.`, "not offered here".
        target: String,
    },
    /// A or AAAA.
    Address(IpAddr),
    /// RFC 5321 section 5.1.
    Mx {
        /// Lower is tried first.
        preference: u16,
        /// Who takes the mail; lower case, without the dot at its end; empty for `.`, "no mail here" (RFC 7505).
        exchange: String,
    },
    /// CNAME; lower case, without the dot at its end.
    Alias(String),
}

impl DnsAnswer {
    /// The hosts that SRV records name, without the target `.`.
    pub fn targets(&self) -> impl Iterator<Item = &str> {
        self.records().filter_map(|record| match record {
            Record::Srv { target, .. } if !target.is_empty() => Some(target.as_str()),
            _ => None,
        })
    }

    /// The addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.records().filter_map(|record| match record {
            Record::Address(address) => Some(*address),
            Record::Srv { .. } | Record::Mx { .. } | Record::Alias(_) => None,
        })
    }

    /// The hosts that take mail, the first ones first, without the target `.`.
    pub fn exchanges(&self) -> impl Iterator<Item = &str> {
        self.records().filter_map(|record| match record {
            Record::Mx { exchange, .. } if !exchange.is_empty() => Some(exchange.as_str()),
            _ => None,
        })
    }

    fn records(&self) -> impl Iterator<Item = &Record> {
        match self {
            Self::Records(records) => records.as_slice(),
            Self::NoRecords | Self::NoSuchName => &[],
        }
        .iter()
    }
}

/// Is it a name that a host can have: labels of letters, digits, hyphens and underscores (RFC 952, RFC 1123 section 2.1,
/// and the underscore that Windows allows)? What remedies print as part of a command must be one.
pub fn is_host_name(name: &str) -> bool {
    const LONGEST_NAME: usize = 253;
    const LONGEST_LABEL: usize = 63;
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() <= LONGEST_NAME && name.split('.').all(is_label)
}

/// May a public authority sign for it, by its last label? None does for a name of one label, or below one that is set aside for
/// networks of one's own (Baseline Requirements, "Internal Name"; RFC 6762 appendix G, RFC 8375).
pub fn may_be_public(name: &str) -> bool {
    const OWN: [&str; 11] = [
        "local",
        "localdomain",
        "localhost",
        "lan",
        "internal",
        "intranet",
        "private",
        "corp",
        "home",
        "test",
        "invalid",
    ];
    let name = canonical_name(name);
    let last = name.rsplit_once('.').map(|(_, last)| last);
    last.is_some_and(|last| !OWN.contains(&last)) && !name.ends_with(".home.arpa")
}

/// A name as this project compares it: lower case, without the dot at its end.
pub fn canonical_name(name: &str) -> String {
    name.trim_end_matches('.').to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ones_own_network_are_not_public() {
        let public = ["mail.contoso.com", "*.contoso.com", "contoso.de."];
        assert!(public.iter().all(|name| may_be_public(name)));
        let own = ["ex01", "ex01.corp.local", "EX01.CONTOSO.LAN.", "nas.home.arpa"];
        assert!(own.iter().all(|name| !may_be_public(name)));
    }
}
