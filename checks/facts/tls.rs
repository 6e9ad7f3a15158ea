//! TLS as a client sees it begin: what it offers, and what the server shows. No verdict rests on a handshake succeeding.

use super::raw::Raw;
use core::fmt;
use serde::{Deserialize, Serialize};

use alloc::{string::String, vec::Vec};

/// LDAP over TLS.
pub const LDAPS_PORT: u16 = 636;
/// The global catalog over TLS.
pub const GC_LDAPS_PORT: u16 = 3269;

/// What a client offers in its first message. It decides which of several certificates a server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offer {
    /// What any client of today offers: TLS 1.2 and 1.3, certificates with RSA and with ECDSA keys. The handshake is completed.
    Usual,
    /// The same, but certificates with RSA keys alone.
    RsaOnly,
    /// The same, but certificates with ECDSA keys alone.
    EcdsaOnly,
    /// An old client's: no version above this, and every cipher suite that such a server may still want. The server's
    /// certificate comes in plain text, and the handshake goes no further.
    UpTo(TlsVersion),
}

/// A version of TLS that shows certificates in plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TlsVersion {
    /// TLS 1.0.
    Tls10,
    /// TLS 1.1.
    Tls11,
    /// TLS 1.2.
    Tls12,
}

impl TlsVersion {
    /// As it stands in a hello (RFC 5246 appendix E.1).
    pub fn number(self) -> u16 {
        match self {
            Self::Tls10 => 0x0301,
            Self::Tls11 => 0x0302,
            Self::Tls12 => 0x0303,
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(version_name(self.number()))
    }
}

/// The name of a version number.
pub fn version_name(number: u16) -> &'static str {
    match number {
        0x0300 => "SSL 3.0",
        0x0301 => "TLS 1.0",
        0x0302 => "TLS 1.1",
        0x0303 => "TLS 1.2",
        0x0304 => "TLS 1.3",
        _ => "an unknown version of TLS",
    }
}

/// What a server showed of itself while TLS began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsSeen {
    /// The version that it chose, as a number: `0x0303` is TLS 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u16>,
    /// The cipher suite that it chose, by its number in the registry of IANA.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suite: Option<u16>,
    /// Every certificate that it sent, in DER, in the order in which it sent them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chain: Vec<Raw>,
    /// It sent an OCSP answer along.
    #[serde(default)]
    pub has_staple: bool,
    /// Why its proof that it holds the certificate's key could not be checked; with certificates of old kinds our library cannot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unproven: Option<String>,
    /// Its proof was checked and does not fit: whoever answered does not hold the certificate's key.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub disproven: bool,
}

/// TLS from the first byte on, and nothing inside it: LDAPS, and second looks at HTTPS.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct TlsSession {
    /// What is offered.
    pub offer: Offer,
    /// The name that is asked for, where it is not the host's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
