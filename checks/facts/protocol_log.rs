//! What Exchange's protocol logs of sending tell: which certificate a server showed to whom, and who refused it. A log has a row
//! for every line of SMTP; only what is kept here matters, and nothing of who wrote to whom.

use alloc::{string::String, vec::Vec};
use core::net::IpAddr;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The end of a session's certificate exchange, and what the other end said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendSession {
    /// The server, where whoever gave the log names it.
    #[serde(default)]
    pub server: Option<String>,
    /// The address from which it sent (`local-endpoint`).
    #[serde(default)]
    pub local: Option<IpAddr>,
    /// The send connector (`connector-id`).
    pub connector: String,
    /// Where it went (`remote-endpoint`).
    #[serde(default)]
    pub remote: Option<IpAddr>,
    /// What the other end calls itself: the name in its banner.
    #[serde(default)]
    pub remote_name: Option<String>,
    /// When the session began.
    pub when: Timestamp,
    /// What it showed, if it showed anything (`Sending certificate`).
    #[serde(default)]
    pub sent: Option<LoggedCertificate>,
    /// What it was shown (`Received certificate` or `Remote certificate`).
    #[serde(default)]
    pub received: Option<LoggedCertificate>,
    /// Answers and remarks that refuse it: `550 5.7.64 ...`, `UntrustedRoot`, `ATTR36`. At most 200 characters each.
    #[serde(default)]
    pub refusals: Vec<String>,
}

/// A certificate as a log names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedCertificate {
    /// 40 hexadecimal digits in lower case.
    pub thumbprint: String,
    /// As Windows writes it; empty where the log has none.
    #[serde(default)]
    pub subject: String,
    /// As Windows writes it; empty where the log has none.
    #[serde(default)]
    pub issuer: String,
    /// In hexadecimal digits, lower case.
    #[serde(default)]
    pub serial: Option<String>,
    /// From when on it is valid.
    #[serde(default)]
    pub not_before: Option<Timestamp>,
    /// Until when it is valid.
    #[serde(default)]
    pub not_after: Option<Timestamp>,
    /// Its alternative names, lower case.
    #[serde(default)]
    pub names: Vec<String>,
}
