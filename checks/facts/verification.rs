//! What a peer that verifies a certificate makes of a way to a root: the one question behind "who breaks".

use super::{
    certificate::{Certificate, Cover, Hash, Key},
    chain::{End, Fault, Way},
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
            Self::Unlawful(Fault::AuthorityAsServer) => f.write_str("it is an authority's own certificate"),
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
    refusal_of_any_name(way, now).or_else(|| (way.leaf.covers(name) != Cover::Yes).then_some(Refusal::WrongName))
}

/// The first reason for which such a peer refuses, whatever name it asks for.
pub fn refusal_of_any_name(way: &Way<'_>, now: Timestamp) -> Option<Refusal> {
    let root = match way.end {
        End::Root(root) => root,
        End::NotCheckable(issuer) => {
            let why = format!("a signature by \"{}\" ({}) cannot be checked here", issuer.subject, issuer.key);
            return Some(Refusal::Unlawful(Fault::NotCheckable(why)));
        }
        _ => return Some(Refusal::NoRoot),
    };
    if let Some(fault) = &way.fault {
        return Some(Refusal::Unlawful(fault.clone()));
    }
    if let Some(dead) = way.below_root().find(|link| now < link.not_before || link.not_after < now) {
        return Some(Refusal::NotAlive(dead.subject.to_string()));
    }
    // A root is known by its key, so that the signature on it never counts.
    let of_root = || Some((root, weak_key(root)?));
    if let Some((link, weak)) = way.below_root().find_map(|link| Some((link, weakness(link)?))).or_else(of_root) {
        return Some(Refusal::Weak(format!("\"{}\" has {weak}", link.subject)));
    }
    way.below_root().any(|link| link.extended_usage.is_some_and(|usage| !usage.names_server)).then_some(Refusal::Usage)
}

/// What is too weak about a certificate below a root: its key, or the signature on it. What signed itself is known by its key, so
/// that its own signature never counts.
pub fn weakness(link: &Certificate) -> Option<String> {
    let by = match link.hash {
        Hash::Md5 => "MD5",
        Hash::Sha1 => "SHA-1",
        Hash::Sha2 | Hash::Other(_) => return weak_key(link),
    };
    weak_key(link).or_else(|| (!link.is_self_signed()).then(|| format!("a signature with {by}")))
}

/// What is too weak about a certificate's key.
pub fn weak_key(of: &Certificate) -> Option<String> {
    match of.key {
        Key::Rsa(bits) if bits < LEAST_RSA_BITS => Some(format!("an RSA key of {bits} bits only")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{certificate::ExtendedUsage, chain::best_way};

    // Made by tests/chains/generate --samples. What peers make of a thousand other chains stands in tests/chains.rs.
    const SERVER: &[u8] = include_bytes!("../../tests/chains/samples/server.der");
    const AUTHORITY: &[u8] = include_bytes!("../../tests/chains/samples/authority.der");

    fn refused(change: impl Fn(&mut Certificate, &mut Certificate), name: &str, now: &str) -> Option<Refusal> {
        let read = |der| Certificate::parse(der).expect("a certificate");
        let (mut server, mut root) = (read(SERVER), read(AUTHORITY));
        change(&mut server, &mut root);
        let now = now.parse().expect("an instant");
        refusal(&best_way(&server, &[], &[&root], now), name, now)
    }

    #[test]
    fn the_first_reason_is_told() {
        let (host, now) = ("ex01.contoso.com", "2026-06-15T12:00:00Z");
        assert_eq!(refused(|_, _| {}, host, now), None);
        assert_eq!(refused(|_, _| {}, "ex01.fabrikam.com", now), Some(Refusal::WrongName));
        let dead = Some(Refusal::NotAlive(host.to_string()));
        assert_eq!(refused(|_, _| {}, "ex01.fabrikam.com", "2027-06-15T12:00:00Z"), dead);
        assert_eq!(refused(|_, root| root.subject.der.clear(), host, now), Some(Refusal::NoRoot));
        let no_server = |server: &mut Certificate| {
            server.extended_usage = Some(ExtendedUsage { server: true, names_server: false, client: true });
        };
        assert_eq!(refused(|server, _| no_server(server), host, now), Some(Refusal::Usage));
        let weak = Some(Refusal::Weak("\"ex01.contoso.com\" has an RSA key of 1024 bits only".into()));
        assert_eq!(refused(|server, _| server.key = Key::Rsa(1024), host, now), weak);
        let weak = Some(Refusal::Weak("\"ex01.contoso.com\" has a signature with SHA-1".into()));
        assert_eq!(refused(|server, _| server.hash = Hash::Sha1, host, now), weak);
    }
}
