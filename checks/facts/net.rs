//! Ports and transports: the question that asks no protocol at all.

use core::fmt;
use serde::{Deserialize, Serialize};

/// Kerberos.
pub const KERBEROS_PORT: u16 = 88;
/// NTP.
pub const NTP_PORT: u16 = 123;
/// LDAP.
pub const LDAP_PORT: u16 = 389;
/// SMB.
pub const SMB_PORT: u16 = 445;
/// The Kerberos password service.
pub const KPASSWD_PORT: u16 = 464;
/// The global catalog.
pub const GC_PORT: u16 = 3268;
/// SMTP.
pub const SMTP_PORT: u16 = 25;

/// What carries a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// A stream.
    Tcp,
    /// A datagram.
    Udp,
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        })
    }
}

/// Does this TCP port take a connection? Asked only where no protocol question goes to the port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Connect;

/// The port took the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connected;
