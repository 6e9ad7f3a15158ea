//! From a server's certificate towards a root: which way the certificates at hand lead, where it ends, and what forbids it.
//!
//! We look for the way ourselves, because a library that builds paths has one word ("unknown issuer") for four different
//! troubles. Whether a way that reaches a root is lawful (RFC 5280 section 6: constraints on names and length, critical
//! extensions) rustls-webpki says, at an instant inside the lives of all its certificates: that something has expired must
//! not hide whether it was ever trusted.

use super::{
    certificate::{Certificate, Hash, Key, Signed},
    verification::{LEAST_RSA_BITS, Refusal, refusal_of_any_name},
};
use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::time::Duration;
use jiff::Timestamp;
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{
    ALL_VERIFICATION_ALGS, EndEntityCert, Error, ExtendedKeyUsageValidator, KeyPurposeIdIter, anchor_from_trusted_cert,
};

/// No lawful chain of a mail server comes near this.
const LONGEST: usize = 8;
/// So many ways are looked at, and so many signatures checked to find them: a hostile server may send certificates of which
/// each signed each. Lawful pools, with authorities renewed and cross-signed, need some dozens. Of each way that reaches a
/// root rustls-webpki checks 100 at the most.
const MOST_WAYS: usize = 64;
const MOST_CHECKS: usize = 256;

/// A way from a server's certificate upwards.
#[derive(Clone, Debug)]
pub struct Way<'c> {
    /// The server's own certificate.
    pub leaf: &'c Certificate,
    /// What stands above it: each signed the one before.
    pub above: Vec<&'c Certificate>,
    /// What stands above the last.
    pub end: End<&'c Certificate>,
    /// What forbids a way that reaches a root; `None` where nothing does, and for ways that reach none.
    pub fault: Option<Fault>,
}

/// What stands above the last certificate of a way.
#[derive(Clone, Copy, Debug)]
pub enum End<C> {
    /// A root of the stores, which signed the last, or which the last itself is.
    Root(C),
    /// Nothing: it signed itself, and is no root of the stores.
    SelfSigned,
    /// A certificate of which only the subject's name is known.
    NoIssuer,
    /// One that bears the issuer's name and whose key did not make the signature.
    Forged(C),
    /// One that bears the issuer's name; our library cannot check the signature.
    NotCheckable(C),
    /// It went on for too long, or there was too much to try.
    TooLong,
}

impl<C> End<C> {
    /// The same end, with the certificate in another form.
    pub fn map<D>(self, to: impl FnOnce(C) -> D) -> End<D> {
        match self {
            Self::Root(root) => End::Root(to(root)),
            Self::SelfSigned => End::SelfSigned,
            Self::NoIssuer => End::NoIssuer,
            Self::Forged(issuer) => End::Forged(to(issuer)),
            Self::NotCheckable(issuer) => End::NotCheckable(to(issuer)),
            Self::TooLong => End::TooLong,
        }
    }
}

/// Why a way that reaches a root is not lawful.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A certificate above the first is no authority: basic constraints or key usage do not let it sign.
    NotAnAuthority(String),
    /// A name in it is one that an authority above may not sign.
    NameConstraints,
    /// More authorities stand below one than it allows.
    PathLength,
    /// The server's certificate is an authority's own. Some libraries take it, others refuse it, and RFC 5280 does not mind.
    AuthorityAsServer,
    /// The library refuses it for another reason, which is told.
    Refused(String),
    /// The library cannot judge it, for a reason which is told.
    NotCheckable(String),
}

impl<'c> Way<'c> {
    /// The root at its end.
    pub fn root(&self) -> Option<&'c Certificate> {
        if let End::Root(root) = self.end { Some(root) } else { None }
    }

    /// The last certificate of it.
    pub fn last(&self) -> &'c Certificate {
        self.above.last().copied().unwrap_or(self.leaf)
    }

    /// The certificates between the server's and the root.
    pub fn between(&self) -> impl Iterator<Item = &'c Certificate> {
        let root = self.root();
        self.above.iter().copied().filter(move |step| !root.is_some_and(|root| is_same_entity(step, root)))
    }

    /// Every certificate below the root: those that have to be alive.
    pub fn below_root(&self) -> impl Iterator<Item = &'c Certificate> {
        core::iter::once(self.leaf).chain(self.between())
    }

    /// Is every certificate below the root alive at this instant?
    pub fn lives_at(&self, instant: Timestamp) -> bool {
        self.below_root().all(|c| c.not_before <= instant && instant <= c.not_after)
    }

    fn rank(&self) -> u8 {
        match self.end {
            End::Root(_) => 5,
            // What cannot be told may be good, and the rest is bad.
            End::NotCheckable(_) => 4,
            End::SelfSigned => 3,
            End::NoIssuer => 2,
            End::Forged(_) => 1,
            End::TooLong => 0,
        }
    }
}

/// One name and one key: certificates that say so of an authority are about the same one (RFC 4158 section 5.2).
fn is_same_entity(one: &Certificate, other: &Certificate) -> bool {
    one.subject.der == other.subject.der && one.key_der == other.key_der
}

/// The best way up from `leaf` by way of `others`, which may be in any order and hold strangers, to one of `roots`. Of several
/// that reach one, the best is the one that a peer which verifies takes at `instant`, as that peer would look for it too; then
/// the lawful one that lives, then the shortest.
pub fn best_way<'c>(
    leaf: &'c Certificate,
    others: &[&'c Certificate],
    roots: &[&'c Certificate],
    instant: Timestamp,
) -> Way<'c> {
    let worth = |way: &Way<'_>| {
        let standing = match refusal_of_any_name(way, instant) {
            None => 4,
            Some(Refusal::Unlawful(Fault::NotCheckable(_))) => 3,
            Some(Refusal::Weak(_) | Refusal::Usage | Refusal::WrongName) => 2,
            Some(Refusal::NotAlive(_)) => 1,
            Some(Refusal::NoRoot | Refusal::Unlawful(_)) => 0,
        };
        (way.rank(), standing, way.lives_at(instant), core::cmp::Reverse(way.above.len()))
    };
    let start = Way { leaf, above: Vec::new(), end: End::NoIssuer, fault: None };
    let mut found = Search::of(&start, others, roots, instant).found.into_iter();
    let mut best = (found.next().unwrap_or(start), None);
    for way in found {
        // Of equals the first stays: the one in the order in which the server sent.
        if worth(&way) > *best.1.get_or_insert_with(|| worth(&best.0)) {
            best = (way, None);
        }
    }
    best.0
}

/// The search for all ways up from a certificate, which is bounded.
struct Search<'p, 'c> {
    others: &'p [&'c Certificate],
    roots: &'p [&'c Certificate],
    /// The ways, which are one at the least.
    found: Vec<Way<'c>>,
    /// So many signatures may still be checked.
    checks_left: usize,
    /// When whoever goes such a way would go it.
    instant: Timestamp,
}

impl<'p, 'c> Search<'p, 'c> {
    fn of(start: &Way<'c>, others: &'p [&'c Certificate], roots: &'p [&'c Certificate], instant: Timestamp) -> Self {
        let mut search = Self { others, roots, found: Vec::new(), checks_left: MOST_CHECKS, instant };
        search.climb(start);
        search
    }

    /// Gathers every way that continues `way`.
    fn climb(&mut self, way: &Way<'c>) {
        let last = way.last();
        let instant = self.instant;
        let ended = |end| {
            let ended = Way { leaf: way.leaf, above: way.above.clone(), end, fault: None };
            Way { fault: ended.find_fault(instant), ..ended }
        };
        if self.found.len() >= MOST_WAYS {
            return;
        }
        // A root may be sent along, and may be known under another signature: name and key make it. A server's own certificate
        // is a root only if nothing stands above it.
        let is_end = !way.above.is_empty() || self.signed_itself(last);
        if let Some(root) = self.roots.iter().find(|root| is_end && is_same_entity(root, last)) {
            return self.found.push(ended(End::Root(*root)));
        }
        if way.above.len() >= LONGEST {
            return self.found.push(ended(End::TooLong));
        }
        let (others, roots) = (self.others, self.roots);
        let bears_the_name = |issuer: &&&'c Certificate| issuer.subject.der == last.issuer.der;
        let before = self.found.len();
        let mut doubtful = None;
        for root in roots.iter().filter(bears_the_name) {
            match self.check(last, root) {
                Some(Signed::Yes) => self.found.push(ended(End::Root(*root))),
                Some(Signed::No) => doubtful = doubtful.or(Some(End::Forged(*root))),
                Some(Signed::NotCheckable) => doubtful = Some(End::NotCheckable(*root)),
                None => doubtful = Some(End::TooLong),
            }
        }
        let is_new = |other: &&&'c Certificate| way.below_root().all(|step| !is_same_entity(step, other));
        for other in others.iter().filter(bears_the_name).filter(is_new) {
            match self.check(last, other) {
                Some(Signed::Yes) => {
                    let above = way.above.iter().copied().chain([*other]).collect();
                    self.climb(&Way { leaf: way.leaf, above, end: End::NoIssuer, fault: None });
                }
                Some(Signed::No) => doubtful = doubtful.or(Some(End::Forged(*other))),
                Some(Signed::NotCheckable) => doubtful = Some(End::NotCheckable(*other)),
                None => doubtful = Some(End::TooLong),
            }
        }
        if self.found.len() == before {
            let end = if self.signed_itself(last) { End::SelfSigned } else { doubtful.unwrap_or(End::NoIssuer) };
            self.found.push(ended(end));
        }
    }

    fn signed_itself(&mut self, certificate: &Certificate) -> bool {
        certificate.is_self_issued() && self.check(certificate, certificate).is_some_and(|signed| signed != Signed::No)
    }

    /// Did `issuer` sign it? `None` where too much has been checked already.
    fn check(&mut self, certificate: &Certificate, issuer: &Certificate) -> Option<Signed> {
        self.checks_left = self.checks_left.checked_sub(1)?;
        Some(certificate.signed_by(issuer))
    }
}

impl Way<'_> {
    fn find_fault(&self, instant: Timestamp) -> Option<Fault> {
        let root = self.root()?;
        if let Some(stranger) = self.between().find(|step| !step.may_issue()) {
            return Some(Fault::NotAnAuthority(stranger.subject.to_string()));
        }
        // A server's own certificate in a store is trusted because somebody said so.
        if self.leaf.der == root.der {
            return None;
        }
        let (born, dead) = self.below_root().fold((Timestamp::MIN, Timestamp::MAX), |(born, dead), step| {
            (born.max(step.not_before), dead.min(step.not_after))
        });
        // Where no instant is in the lives of all, the trouble is one of dates and told elsewhere.
        (born <= dead).then(|| self.ask_webpki(root, instant.clamp(born, dead)))?
    }

    /// Is there a signature on it that only we verify, with SHA-1 or by a short RSA key?
    fn has_old_signature(&self) -> bool {
        let is_short = |issuer: &Certificate| matches!(issuer.key, Key::Rsa(bits) if bits < LEAST_RSA_BITS);
        self.below_root().any(|link| link.hash == Hash::Sha1) || self.between().chain(self.root()).any(is_short)
    }

    fn ask_webpki(&self, root: &Certificate, instant: Timestamp) -> Option<Fault> {
        let not_checkable = |what: &str| Some(Fault::NotCheckable(format!("the library says: {what}")));
        let anchor_der = CertificateDer::from(root.der.as_slice());
        let leaf = CertificateDer::from(self.leaf.der.as_slice());
        let between: Vec<_> = self.between().map(|step| CertificateDer::from(step.der.as_slice())).collect();
        let Ok(anchor) = anchor_from_trusted_cert(&anchor_der) else {
            return not_checkable("the root cannot be an anchor");
        };
        let leaf = match EndEntityCert::try_from(&leaf) {
            Ok(leaf) => leaf,
            Err(error) => return not_checkable(&error.to_string()),
        };
        let seconds = u64::try_from(instant.as_second()).unwrap_or(0);
        let time = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let anchors = [anchor];
        let verified = leaf.verify_for_usage(ALL_VERIFICATION_ALGS, &anchors, &between, time, AnyUsage, None, None);
        match verified.err()? {
            // It refuses whatever stands below constraints on names that it does not know, even those that are kept.
            Error::NameConstraintViolation if self.between().chain([root]).any(Certificate::constrains_other_names) => {
                not_checkable("an authority constrains names of other kinds than those of hosts")
            }
            Error::NameConstraintViolation => Some(Fault::NameConstraints),
            // It counts authorities that renewed their own key, which do not count (RFC 5280 section 6.1.4, item l).
            Error::PathLenConstraintViolated if self.between().any(Certificate::is_self_issued) => {
                not_checkable("the path is too long, counting authorities that signed a key of their own")
            }
            Error::PathLenConstraintViolated => Some(Fault::PathLength),
            Error::EndEntityUsedAsCa => Some(Fault::NotAnAuthority(self.last().subject.to_string())),
            Error::CaUsedAsEndEntity => Some(Fault::AuthorityAsServer),
            Error::CertDistrusted => Some(Fault::Refused("its authority was struck off the public roots".into())),
            // These signatures we have verified ourselves; their weakness is another question.
            Error::UnsupportedSignatureAlgorithmContext(_)
            | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
            | Error::InvalidSignatureForPublicKey
                if self.has_old_signature() =>
            {
                None
            }
            error => not_checkable(&error.to_string()),
        }
    }
}

/// Lets every usage pass: whether it is the right one is another question.
struct AnyUsage;

impl ExtendedKeyUsageValidator for AnyUsage {
    fn validate(&self, _: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::verification::refusal;
    use proptest::prelude::*;
    use ring::signature::{Ed25519KeyPair, KeyPair as _};
    use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

    // Made by tests/chains/generate --samples.
    const SERVER: &[u8] = include_bytes!("../../tests/chains/samples/server.der");
    const AUTHORITY: &[u8] = include_bytes!("../../tests/chains/samples/authority.der");
    const HOST: &str = "ex01.contoso.com";

    fn now() -> Timestamp {
        "2026-06-15T12:00:00Z".parse().expect("an instant")
    }

    fn read(der: &[u8]) -> Certificate {
        Certificate::parse(der).expect("a certificate")
    }

    fn key(number: u8) -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[number; 32]).expect("any seed makes a key")
    }

    /// The sample authority, which has Ed25519 and one name above and below, with this key and signed by that.
    fn authority(key: &Ed25519KeyPair, signer: &Ed25519KeyPair) -> Certificate {
        let mut der = AUTHORITY.to_vec();
        let old = read(AUTHORITY).key_der;
        let old = &old[old.len() - 32..];
        let at = der.windows(32).position(|bytes| bytes == old).expect("its key stands in it");
        der[at..at + 32].copy_from_slice(key.public_key().as_ref());
        let signature = {
            let (_, read) = X509Certificate::from_der(&der).expect("a certificate");
            signer.sign(read.tbs_certificate.as_ref())
        };
        let at = der.len() - 64;
        der[at..].copy_from_slice(signature.as_ref());
        read(&der)
    }

    /// Nine keys of one name, of which each signed each: 72 certificates.
    fn mesh() -> Vec<Certificate> {
        let keys: Vec<_> = (1..=9).map(key).collect();
        let pairs = keys.iter().flat_map(|key| keys.iter().map(move |signer| (key, signer)));
        pairs
            .filter(|(key, signer)| key.public_key().as_ref() != signer.public_key().as_ref())
            .map(|(key, signer)| authority(key, signer))
            .collect()
    }

    #[test]
    fn a_hostile_pool_is_searched_for_so_long_and_no_longer() {
        let (pool, leaf) = (mesh(), authority(&key(100), &key(1)));
        let pool: Vec<_> = pool.iter().collect();
        let start = Way { leaf: &leaf, above: Vec::new(), end: End::NoIssuer, fault: None };
        let search = Search::of(&start, &pool, &[], Timestamp::UNIX_EPOCH);
        // All of it would be a hundred thousand ways.
        assert_eq!(search.checks_left, 0, "the pool is not hostile enough");
        assert!(!search.found.is_empty() && search.found.len() <= MOST_WAYS, "{}", search.found.len());
        assert!(search.found.iter().all(|way| way.above.len() <= LONGEST));
        assert!(matches!(best_way(&leaf, &pool, &[], now()).end, End::TooLong | End::Forged(_)));
    }

    #[test]
    fn a_root_right_above_is_found_in_a_hostile_pool() {
        let (pool, leaf, root) = (mesh(), authority(&key(100), &key(1)), authority(&key(1), &key(1)));
        let way = best_way(&leaf, &pool.iter().collect::<Vec<_>>(), &[&root], now());
        assert_eq!(way.root().map(|root| &root.der), Some(&root.der));
    }

    #[test]
    fn a_root_is_found_by_its_name_and_key_whatever_signed_it() {
        let (root, crossed, leaf) =
            (authority(&key(1), &key(1)), authority(&key(1), &key(2)), authority(&key(100), &key(1)));
        let way = best_way(&leaf, &[&crossed], &[&root], now());
        assert_eq!(way.between().count(), 0);
        assert_eq!(way.root().map(|root| &root.der), Some(&root.der));
    }

    proptest! {
        /// Whatever becomes of a certificate on its way here, nobody takes it for what was signed.
        #[test]
        fn a_changed_certificate_is_never_taken(changes in proptest::collection::vec((any::<prop::sample::Index>(), 1u8..), 1..4)) {
            let root = read(AUTHORITY);
            let refused = |leaf: &Certificate| refusal(&best_way(leaf, &[], &[&root], now()), HOST, now());
            prop_assert_eq!(refused(&read(SERVER)), None);
            let mut der = SERVER.to_vec();
            for (at, flip) in changes {
                let at = at.index(der.len());
                der[at] ^= flip;
            }
            prop_assume!(der != SERVER);
            prop_assert!(Certificate::parse(&der).map_or(true, |changed| refused(&changed).is_some()));
        }
    }
}
