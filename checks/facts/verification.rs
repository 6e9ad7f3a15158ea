//! What a peer that verifies a certificate makes of a way to a root: the one question behind "who breaks".

use super::{
    certificate::{Certificate, Cover, Hash, Key},
    chain::{Fault, Way},
};
use alloc::{
    format,
    string::{String, ToString},
};
use core::fmt;
use jiff::Timestamp;

/// The least modulus that TLS libraries take (CA/Browser Forum Baseline Requirements section 6.1.5).
pub const LEAST_RSA_BITS: usize = 2048;

/// Why a peer refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It leads to no root that the peer knows.
    NoRoot,
    /// Something forbids the way.
    Unlawful(Fault),
    /// A certificate on it has expired or does not live yet; its name.
    NotAlive(String),
    /// It does not bear the name that was asked for.
    WrongName,
    /// A key or a signature on it is too weak; which, in words.
    Weak(String),
    /// It may not be used by a server.
    Usage,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoot => f.write_str("no root that it knows stands above it"),
            Self::Unlawful(Fault::NotAnAuthority(name)) => write!(f, "\"{name}\" is no authority"),
            Self::Unlawful(Fault::NameConstraints) => f.write_str("an authority above may not sign for such a name"),
            Self::Unlawful(Fault::PathLength) => f.write_str("more authorities than one above allows"),
            Self::Unlawful(Fault::Refused(why) | Fault::NotCheckable(why)) => f.write_str(why),
            Self::NotAlive(name) => write!(f, "\"{name}\" is not in date"),
            Self::WrongName => f.write_str("the name is not in it"),
            Self::Weak(what) => f.write_str(what),
            Self::Usage => f.write_str("it may not be used by a server"),
        }
    }
}

/// The first reason for which a peer that verifies refuses, going this way, at this instant, asking for this name.
pub fn refusal(way: &Way<'_>, name: &str, now: Timestamp) -> Option<Refusal> {
    if way.root().is_none() {
        return Some(Refusal::NoRoot);
    }
    if let Some(fault) = way.fault(now) {
        return Some(Refusal::Unlawful(fault));
    }
    if let Some(dead) = way.below_root().find(|link| now < link.not_before || link.not_after < now) {
        return Some(Refusal::NotAlive(dead.subject.to_string()));
    }
    if let Some(weak) = way.below_root().find_map(|link| Some(format!("\"{}\" has {}", link.subject, weakness(link)?)))
    {
        return Some(Refusal::Weak(weak));
    }
    if way.below_root().any(|link| link.extended_usage.is_some_and(|usage| !usage.server)) {
        return Some(Refusal::Usage);
    }
    (way.leaf.covers(name) != Cover::Yes).then_some(Refusal::WrongName)
}

/// What is too weak about a certificate below a root: its key, or the signature on it. What signed itself is known by its key, so
/// that its own signature never counts.
pub fn weakness(link: &Certificate) -> Option<String> {
    match (&link.key, &link.hash) {
        (Key::Rsa(bits), _) if *bits < LEAST_RSA_BITS => Some(format!("an RSA key of {bits} bits only")),
        _ if link.is_self_issued() => None,
        (_, Hash::Md5) => Some("a signature with MD5".into()),
        (_, Hash::Sha1) => Some("a signature with SHA-1".into()),
        _ => None,
    }
}
