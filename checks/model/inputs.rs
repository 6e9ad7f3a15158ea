//! What an administrator gave beside what the wire tells: exports of cmdlets, logs, and a certificate that is supposed to be there.
//! They stand in the plan, so that a recording has them and a replay says the same. `None` is not given; an empty list was given
//! and is empty.

use crate::facts::{
    export::{AcceptedDomain, ExportedCertificate, ExportedSendConnector, InboundConnector, OutboundConnector},
    protocol_log::SendSession,
    raw::Raw,
};
use alloc::{string::String, vec::Vec};
use core::net::IpAddr;
use serde::{Deserialize, Serialize};

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Inputs {
    /// The files, in the order in which they were given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<InputFile>,
    /// `Get-ExchangeCertificate`, of the servers that its rows name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificates: Option<Vec<ExportedCertificate>>,
    /// `Get-InboundConnector` of the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound: Option<Vec<InboundConnector>>,
    /// `Get-OutboundConnector` of the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound: Option<Vec<OutboundConnector>>,
    /// `Get-AcceptedDomain` of the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted_domains: Option<Vec<AcceptedDomain>>,
    /// `Get-SendConnector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_connectors: Option<Vec<ExportedSendConnector>>,
    /// Send protocol logs of the servers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub send_log: Option<Vec<SendSession>>,
    /// What a rehearsal supposes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supposed: Option<Supposed>,
}

impl Inputs {
    /// Nothing was given.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A file that was given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// As it was named.
    pub name: String,
    /// What it holds: `Get-ExchangeCertificate`, `send log`.
    pub kind: String,
    /// How many rows of it matter.
    pub rows: usize,
}

/// What a rehearsal supposes: a certificate that is not there yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Supposed {
    /// The new certificate, and what came with it.
    pub chain: Vec<Raw>,
    /// The hosts that have it and use it for SMTP.
    pub on: Vec<String>,
    /// Thumbprints of certificates that these hosts have no longer.
    #[serde(default)]
    pub removed: Vec<String>,
    /// It is the internal transport certificate as well: somebody answered Yes.
    #[serde(default)]
    pub is_internal: bool,
    /// It comes in the place of one that SMTP does not use, and is not given that service.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub is_for_web_alone: bool,
}

/// What is stated of a hybrid organisation: the table `[hybrid]` of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HybridPlan {
    /// The domains whose users send through Exchange Online.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sender_domains: Vec<String>,
    /// The addresses from which Exchange Online sees the servers come, behind any translation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub egress: Vec<IpAddr>,
}

impl HybridPlan {
    /// Nothing is stated.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
