//! The census: every SPN of a forest, streamed from one global catalog and reduced to what collides.

use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

/// All SPNs that a global catalog holds, page by page.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SpnScan {
    /// The classes for which `HOST` stands, as the forest's `sPNMappings` has them, lower case.
    pub aliases: Vec<String>,
}

/// What was counted, and what collided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpnScanned {
    /// Objects that hold an SPN.
    pub objects: u64,
    /// SPNs.
    pub spns: u64,
    /// The result code of the last page; none where the scan broke off before its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<u32>,
    /// Objects that seem to share an SPN, letter case and look aside: to be confirmed by what they really hold.
    pub shared: Vec<Shared>,
    /// Objects among them that seem to share one only by an alias: `HOST/x` on one, `http/x` on the other.
    pub aliased: Vec<Shared>,
    /// Collisions beyond those that are kept.
    #[serde(default)]
    pub left_out: u64,
}

/// Objects that share something, by their objectGUIDs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Shared(pub Vec<String>);
