//! Objects that mail hangs on as each controller holds them, and how they differ.

use crate::{
    facts::{
        replication::{Stamp, shown_stamp, stored_stamps},
        search::{Entry, leaf},
    },
    model::{
        finding::Subject,
        link::Partition,
        organisation::{network_name, searches, server_above},
    },
};
use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::{String, ToString},
    vec::Vec,
};
use jiff::SignedDuration;

/// What kind of object is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A server's account, or another that mail hangs on.
    Account,
    /// An Exchange server.
    Server,
    /// A receive connector.
    Connector,
}

impl Kind {
    /// Where such objects are.
    pub fn partition(self) -> Partition {
        match self {
            Self::Account => Partition::Domain,
            Self::Server | Self::Connector => Partition::Configuration,
        }
    }

    /// What mail hangs on. Each stands with the attribute that everyone is shown who is shown the others.
    pub(super) fn attributes(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Account => (
                "sAMAccountName",
                &["servicePrincipalName", "pwdLastSet", "userAccountControl", "msDS-SupportedEncryptionTypes"],
            ),
            Self::Server => {
                ("networkAddress", &["networkAddress", "msExchCurrentServerRoles", "msExchServerInternalTLSCert"])
            }
            Self::Connector => ("msExchSmtpReceiveBindings", &searches::CONNECTOR_SETTINGS),
        }
    }
}

/// What a controller holds of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Held<'e> {
    /// It told all, and this is not among it.
    Absent,
    /// It is there, and not shown to us.
    Hidden,
    /// This.
    Shown(&'e Entry),
}

impl<'e> Held<'e> {
    pub(super) fn of(kind: Kind, entry: &'e Entry) -> Self {
        if entry.shows(kind.attributes().0) { Self::Shown(entry) } else { Self::Hidden }
    }
}

/// An object, on every controller that told all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object<'e> {
    /// What it is called.
    pub subject: Subject,
    /// Its objectGUID.
    pub guid: String,
    /// What it is.
    pub kind: Kind,
    /// Controller -> what it holds.
    pub held: BTreeMap<String, Held<'e>>,
}

impl<'e> Object<'e> {
    /// Those who show it.
    pub fn shown(&self) -> impl Iterator<Item = (&str, &'e Entry)> {
        self.held.iter().filter_map(|(host, held)| match held {
            Held::Shown(entry) => Some((host.as_str(), *entry)),
            Held::Absent | Held::Hidden => None,
        })
    }

    /// Is it not the same everywhere? What is hidden says nothing, and an account that no one has is no account.
    pub fn differs(&self) -> bool {
        let is_absent = self.held.values().any(|held| *held == Held::Absent);
        (is_absent && self.shown().next().is_some()) || !self.differing().is_empty()
    }

    /// The attributes that are not the same everywhere.
    pub fn differing(&self) -> Vec<&'static str> {
        let differs = |attribute: &&'static str| {
            let mut all = self.shown().map(|(_, entry)| values(entry, attribute));
            let first = all.next();
            all.any(|other| Some(&other) != first.as_ref())
        };
        self.kind.attributes().1.iter().copied().filter(differs).collect()
    }
}

/// The values of an attribute, for comparison: they stand in no order, and the letter case of an SPN means nothing.
pub fn values(entry: &Entry, attribute: &str) -> BTreeSet<Vec<u8>> {
    let folded = |bytes: &[u8]| match core::str::from_utf8(bytes) {
        Ok(text) if attribute == "servicePrincipalName" => text.to_lowercase().into_bytes(),
        _ => bytes.to_vec(),
    };
    entry.values(attribute).iter().map(|value| folded(value.bytes())).collect()
}

/// How an object differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference<'e> {
    /// The object, as it was seen last.
    pub object: Object<'e>,
    /// The attributes that differ; none where it is only that not all have it.
    pub attributes: Vec<&'static str>,
    /// The last change that not all have.
    pub newest: Option<Stamp>,
    /// The controller that was written to.
    pub written_at: Option<String>,
    /// How old the last change is; `None` where nobody tells.
    pub age: Option<SignedDuration>,
    /// Those who do not have it yet; all, where nobody tells.
    pub lagging: BTreeSet<String>,
    /// The values differ and the stamps do not: every controller takes itself for even with the others.
    pub is_diverged: bool,
}

impl Difference<'_> {
    /// Is it known who is behind?
    pub fn has_laggards(&self) -> bool {
        self.newest.is_some() && !self.is_diverged
    }
}

/// When each attribute was written, as far as it is told.
pub(super) fn stamps_of(entry: &Entry) -> Option<Vec<Stamp>> {
    let stored = entry.bytes("replPropertyMetaData").and_then(stored_stamps);
    stored.or_else(|| {
        let shown: Vec<_> =
            entry.values("msDS-ReplAttributeMetaData").iter().filter_map(|v| shown_stamp(v.bytes())).collect();
        // Each controller stamps an object's own name for itself.
        (!shown.is_empty())
            .then(|| shown.into_iter().filter(|stamp| stamp.attribute.as_deref() != Some("cn")).collect())
    })
}

/// The last change that not all have: of the attributes that differ, where their numbers are known in every forest, else of any
/// whose stamps differ. An object that is not everywhere counts as a whole. Where the stamps of all that differ are known and the
/// same, what other attributes were written with explains nothing.
pub(super) fn newest(stamps: &BTreeMap<&str, Vec<Stamp>>, attributes: &[&str], is_absent: bool) -> Option<Stamp> {
    let all = || stamps.values().flatten();
    let is_of = |stamp: &&Stamp| {
        let name = stamp.attribute.as_deref().unwrap_or_default();
        attributes.iter().any(|attribute| attribute.eq_ignore_ascii_case(name))
    };
    let is_shared = |stamp: &Stamp| stamps.values().all(|stamps| stamps.contains(stamp));
    let last = |stamps: Vec<&Stamp>| stamps.into_iter().max_by_key(|stamp| (stamp.when, *stamp)).cloned();
    if is_absent {
        return last(all().collect());
    }
    let differing: Vec<_> = all().filter(|stamp| !is_shared(stamp)).collect();
    let named: Vec<_> = differing.iter().copied().filter(is_of).collect();
    let is_stamped = |attribute: &&str| {
        let is_it = |stamp: &Stamp| stamp.attribute.as_deref().is_some_and(|name| name.eq_ignore_ascii_case(attribute));
        stamps.values().all(|stamps| stamps.iter().any(is_it))
    };
    if named.is_empty() && !attributes.is_empty() && attributes.iter().all(is_stamped) {
        return last(all().filter(is_of).collect());
    }
    last(named)
        .or_else(|| last(differing))
        .or_else(|| last(all().filter(is_of).collect()))
        .or_else(|| last(all().collect()))
}

/// What an object is called.
pub(super) fn subject_of(kind: Kind, entry: &Entry) -> Option<Subject> {
    Some(match kind {
        Kind::Account => {
            Subject::Account(entry.text("sAMAccountName").map_or_else(|| leaf(&entry.dn), |n| Some(n.to_string()))?)
        }
        Kind::Server => Subject::Host(network_name(entry)?),
        Kind::Connector => Subject::Configured(server_above(&entry.dn)?, leaf(&entry.dn)?),
    })
}
