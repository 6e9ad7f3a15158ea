//! Trust stores as evidence: which roots of a store bear a name, and what the platform itself says. Asked of this machine, so
//! that a replay elsewhere and later rests on the same roots.

use super::raw::Raw;
use alloc::{string::String, vec::Vec};
use serde::{Deserialize, Serialize};

/// The roots that Mozilla ships, which stand for "the public roots".
pub const MOZILLA: &str = "mozilla";
/// The roots of this machine's operating system.
pub const SYSTEM: &str = "system";

/// The authorities in the forest's own directory, which every member of a domain trusts.
pub const FOREST: &str = "forest";

/// Which roots of a store bear this subject?
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RootsNamed {
    /// [`MOZILLA`], [`SYSTEM`], or the name of a store of the plan.
    pub store: String,
    /// The subject's distinguished name, in DER.
    pub subject: Raw,
}

/// The roots that were found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootsFound {
    /// SHA-256 over all certificates of the store, each after the other, ordered: which state of it was asked.
    pub digest: String,
    /// Those whose subject is the one asked for, in DER.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub certificates: Vec<Raw>,
}

/// Would this workstation's own verifier trust such a chain for this name? On Windows it may fetch what the server did not
/// send, so its word is told and decides nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PlatformTrust {
    /// The chain as the server sent it, in DER.
    pub chain: Vec<Raw>,
    /// The name that was asked for.
    pub name: String,
}

/// The platform's word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlatformWord {
    /// It trusts the chain.
    pub trusts: bool,
    /// What it said where it does not.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub said: String,
}
