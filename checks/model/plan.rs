//! What the user stated. A plan holds no secret, so that it can stand in every recording.

use crate::{
    facts::{
        net::{GC_PORT, LDAP_PORT},
        tls::{GC_LDAPS_PORT, LDAPS_PORT},
    },
    model::inputs::{HybridPlan, Inputs},
};
use alloc::{collections::BTreeSet, string::String, vec::Vec};
use core::net::SocketAddr;
use jiff::SignedDuration;
use serde::{Deserialize, Serialize};

/// What the user stated, after every mistake in it was refused.
#[expect(clippy::struct_excessive_bools, reason = "each is a word of the user by itself")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The Active Directory domain: lower case, without the dot at its end.
    pub domain: String,
    /// The name server to ask; `None` for the one that the machine is set to use.
    #[serde(default)]
    pub resolver: Option<SocketAddr>,
    /// The servers that carry mail and cannot be found without logging on.
    #[serde(default)]
    pub servers: Vec<PlannedServer>,
    /// How far clocks may be apart.
    #[serde(default)]
    pub clock: ClockLimits,
    /// Trust stores beside Mozilla's and the operating system's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stores: Vec<StatedStore>,
    /// Certificates have to live at least so long from now on: until the end of a change window, or past a holiday.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlive: Option<SignedDuration>,
    /// TLS 1.0 and 1.1 are to be off. Otherwise that they are on is nothing to speak of.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub forbid_old_tls: bool,
    /// As whom the directory is read, and how that is proven; nobody logs on without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logon: Option<Logon>,
    /// How many SPNs are looked at.
    #[serde(default, skip_serializing_if = "SpnScope::is_default")]
    pub spn_scan: SpnScope,
    /// Servers are to prove that they take a ticket, by one logon each. A refusal is written into their logs.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub prove_login: bool,
    /// Does this machine stand where an Exchange server stands? Then what a firewall drops here, it drops for mail.
    #[serde(default)]
    pub exchange_vantage: bool,
    /// Ask also what is rarely needed and writes into other people's logs.
    #[serde(default)]
    pub deep: bool,
    /// Which checks to run.
    #[serde(default)]
    pub selection: Selection,
    /// What is stated of a hybrid organisation.
    #[serde(default, skip_serializing_if = "HybridPlan::is_empty")]
    pub hybrid: HybridPlan,
    /// What was given beside: exports, logs.
    #[serde(default, skip_serializing_if = "Inputs::is_empty")]
    pub inputs: Inputs,
}

impl Plan {
    /// Nothing is stated but the domain.
    pub fn of(domain: &str) -> Self {
        Self {
            domain: domain.into(),
            resolver: None,
            servers: Vec::new(),
            clock: ClockLimits::default(),
            stores: Vec::new(),
            outlive: None,
            forbid_old_tls: false,
            logon: None,
            spn_scan: SpnScope::default(),
            prove_login: false,
            exchange_vantage: false,
            deep: false,
            selection: Selection::default(),
            hybrid: HybridPlan::default(),
            inputs: Inputs::default(),
        }
    }
}

/// How many SPNs are looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpnScope {
    /// Those that servers and web clients use, each by a search of its own.
    #[default]
    Targeted,
    /// All of the forest, streamed from one global catalog, as `setspn -X -F` does: products that watch over identities notice it.
    Forest,
}

impl SpnScope {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// As whom the directory is read. The password is in nobody's plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logon {
    /// `reader@contoso.com` or `CONTOSO\\reader`; none for the ticket of whoever is logged on to this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// How. Where one way fails, no other is tried.
    #[serde(default)]
    pub way: LogonWay,
}

/// Ways of logging on to a directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogonWay {
    /// The password, by Kerberos; every message is signed and sealed (RFC 4752, MS-KILE).
    #[default]
    Kerberos,
    /// The password in a simple bind, over LDAPS with a verified certificate.
    Ldaps,
    /// The password in a simple bind, over StartTLS with a verified certificate.
    Starttls,
    /// The ticket of the current logon; every message is signed and sealed.
    Ticket,
}

impl LogonWay {
    /// Its word in plans and on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Kerberos => "kerberos",
            Self::Ldaps => "ldaps",
            Self::Starttls => "starttls",
            Self::Ticket => "ticket",
        }
    }

    /// The port of a controller's directory.
    pub const fn directory_port(self) -> u16 {
        if let Self::Ldaps = self { LDAPS_PORT } else { LDAP_PORT }
    }

    /// The port of its global catalog.
    pub const fn catalog_port(self) -> u16 {
        if let Self::Ldaps = self { GC_LDAPS_PORT } else { GC_PORT }
    }
}

/// A server of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedServer {
    /// Its fully qualified name.
    pub name: String,
    /// What it does.
    #[serde(default)]
    pub role: ServerRole,
    /// Is it meant to work now?
    #[serde(default)]
    pub state: ServerState,
    /// The names by which mail servers outside reach its port 25. Where there are any, its certificate is judged as the world
    /// judges it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outward: Vec<String>,
    /// The names by which web clients reach its port 443.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub web: Vec<String>,
    /// A peer demands that the certificate of its port 25 may also be used as a client's.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub client_auth: bool,
}

impl PlannedServer {
    /// One that works, and of which nothing is stated but what it does.
    pub fn new(name: String, role: ServerRole) -> Self {
        Self { name, role, state: ServerState::Active, outward: Vec::new(), web: Vec::new(), client_auth: false }
    }
}

/// A trust store of the plan. Its roots stay in the wire's hands; those that matter become evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatedStore {
    /// What it is called.
    pub name: String,
    /// The file of its roots, as it was stated.
    #[serde(default)]
    pub file: String,
    /// Peers outside trust its roots as they trust the public ones.
    #[serde(default)]
    pub public: bool,
}

/// What a server does in the flow of mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerRole {
    /// A domain-joined Mailbox server, or a 2010 Hub Transport or Client Access server.
    #[default]
    Mailbox,
    /// An Edge Transport server: in no domain, so Kerberos does not bind its clock.
    Edge,
    /// Any other gateway on the way of mail.
    Gateway,
}

/// Is a server meant to work?
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServerState {
    /// Yes.
    #[default]
    Active,
    /// Not now.
    Maintenance,
    /// Not any more.
    Retired,
}

/// How far clocks may be apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockLimits {
    /// Beyond this Kerberos may fail: "Maximum tolerance for computer clock synchronization", 5 minutes by default (KB 979174).
    pub limit: SignedDuration,
    /// Beyond this something is about to go wrong.
    pub warn: SignedDuration,
}

impl Default for ClockLimits {
    fn default() -> Self {
        Self { limit: SignedDuration::from_secs(300), warn: SignedDuration::from_secs(30) }
    }
}

/// Checks by id or by area. An empty `only` means all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Run these and no others.
    pub only: BTreeSet<String>,
    /// Do not run these.
    pub skip: BTreeSet<String>,
}

impl Selection {
    /// Why a check is not to run, or `None` if it is.
    pub fn reason_to_skip(&self, id: &str, area: &str) -> Option<&'static str> {
        let names = |set: &BTreeSet<String>| set.contains(id) || set.contains(area);
        if names(&self.skip) {
            Some("you told us not to (--skip)")
        } else if !self.only.is_empty() && !names(&self.only) {
            Some("not among the checks you asked for (--only)")
        } else {
            None
        }
    }
}
