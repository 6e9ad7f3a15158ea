//! DNS: the records that lead to controllers (RFC 2782, MS-ADTS section 6.3.2.3).

use alloc::{string::String, vec::Vec};
use core::{fmt, net::IpAddr};
use serde::{Deserialize, Serialize};

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
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Srv => "SRV",
            Self::A => "A",
            Self::Aaaa => "AAAA",
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
            Record::Srv { .. } => None,
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
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    name.len() <= LONGEST_NAME && name.split('.').all(is_label)
}

/// A name as this project compares it: lower case, without the dot at its end.
pub fn canonical_name(name: &str) -> String {
    name.trim_end_matches('.').to_lowercase()
}
