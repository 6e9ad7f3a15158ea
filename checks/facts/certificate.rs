//! X.509 certificates as they are written (RFC 5280): what each says of itself, and whose key signed it. How certificates
//! join into a chain is [`chain`](super::chain)'s; what is too weak or too old, checks say.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};
use core::fmt;
use jiff::{SignedDuration, Timestamp, civil::date, tz::TimeZone};
use ring::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, digest},
    signature::{self as algorithm, UnparsedPublicKey, VerificationAlgorithm},
};
use x509_parser::{
    certificate::{X509Certificate, X509CertificateParser},
    der_parser::asn1_rs::BmpString,
    extensions::{DistributionPointName, GeneralName, ParsedExtension},
    nom::Parser as _,
    oid_registry::{self as oid, Oid},
    prelude::FromDer as _,
    public_key::PublicKey,
    revocation_list::CertificateRevocationList,
    time::ASN1Time,
    x509::{AlgorithmIdentifier, AttributeTypeAndValue, SubjectPublicKeyInfo, X509Name},
};

/// A distinguished name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// As it stands in the certificate; chains compare these bytes (RFC 5280 section 7.1, the binary comparison).
    pub der: Vec<u8>,
    /// For people: `CN=ex01, O=Contoso`.
    pub text: String,
    /// The common name, which certificates of today need not have.
    pub common_name: Option<String>,
}

impl Name {
    /// Its parts in their order, those that stand together in one: object identifier and value. What is no text is written as
    /// hexadecimal digits.
    pub fn parts(&self) -> Vec<Vec<(String, String)>> {
        let Ok((_, name)) = X509Name::from_der(&self.der) else { return Vec::new() };
        let part = |attribute: &AttributeTypeAndValue<'_>| {
            let value = attribute.attr_value();
            let text = match BmpString::try_from(value.clone()) {
                Ok(wide) => wide.string(),
                Err(_) => str::from_utf8(value.data).map_or_else(|_| hex::encode(value.data), ToString::to_string),
            };
            (attribute.attr_type().to_id_string(), text)
        };
        name.iter_rdn().map(|together| together.iter().map(part).collect()).collect()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A hostile certificate may bear a whole page for a name.
        const LONGEST: usize = 100;
        let name = self.common_name.as_deref().unwrap_or(&self.text);
        match name.char_indices().nth(LONGEST) {
            _ if name.is_empty() => f.pad("(no name)"),
            Some((end, _)) => write!(f, "{}...", &name[..end]),
            None => f.pad(name),
        }
    }
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// RSA, and the bits of its modulus.
    Rsa(usize),
    /// ECDSA over a curve: P-256, P-384, P-521, or its object identifier.
    Ec(String),
    /// Ed25519.
    Ed25519,
    /// Another kind, by its object identifier.
    Other(String),
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rsa(bits) => write!(f, "RSA {bits}"),
            Self::Ec(curve) => write!(f, "ECDSA {curve}"),
            Self::Ed25519 => f.write_str("Ed25519"),
            Self::Other(identifier) => write!(f, "a key of kind {identifier}"),
        }
    }
}

/// The hash inside a signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hash {
    /// MD2 or MD5: broken.
    Md5,
    /// SHA-1: refused by TLS libraries of today.
    Sha1,
    /// SHA-256 or stronger.
    Sha2,
    /// Another algorithm, by its object identifier.
    Other(String),
}

/// Bits of the extension keyUsage (RFC 5280 section 4.2.1.3) that matter to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "they are the bits of one extension")]
pub struct KeyUsage {
    /// digitalSignature: what every ephemeral key exchange needs.
    pub signs: bool,
    /// keyEncipherment: the RSA key exchange of old.
    pub enciphers: bool,
    /// keyAgreement: key exchanges with a fixed key, which nobody uses; OpenSSL takes such a certificate all the same.
    pub agrees: bool,
    /// keyCertSign: what an issuer needs.
    pub signs_certificates: bool,
}

/// What a certificate may be used for (RFC 5280 section 4.2.1.12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExtendedUsage {
    /// serverAuth, or any usage.
    pub server: bool,
    /// serverAuth itself: for "any" alone OpenSSL and rustls take no server, as RFC 5280 lets them.
    pub names_server: bool,
    /// clientAuth, or any usage.
    pub client: bool,
}

/// A certificate that could be read.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// All of it.
    pub der: Vec<u8>,
    /// SHA-1 over all of it, 40 hexadecimal digits in lower case: how Windows names a certificate.
    pub thumbprint: String,
    /// Whom it is for.
    pub subject: Name,
    /// Who signed it.
    pub issuer: Name,
    /// The serial number's bytes.
    pub serial: Vec<u8>,
    /// The first instant of its life.
    pub not_before: Timestamp,
    /// The last instant of its life.
    pub not_after: Timestamp,
    /// DNS names of the subject alternative name, lower case.
    pub dns_names: Vec<String>,
    /// The subject's key.
    pub key: Key,
    /// The hash with which its issuer signed it.
    pub hash: Hash,
    /// Basic constraints say that it is a certificate authority.
    pub is_ca: bool,
    /// keyUsage, if it has that extension.
    pub key_usage: Option<KeyUsage>,
    /// extKeyUsage, if it has that extension; without it, it may be used for anything.
    pub extended_usage: Option<ExtendedUsage>,
    /// Where the issuer's own certificate can be fetched (authority information access, caIssuers).
    pub issuer_urls: Vec<String>,
    /// Where lists of revoked certificates can be fetched.
    pub list_urls: Vec<String>,
    /// The key itself, as it stands in the certificate.
    pub key_der: Vec<u8>,
}

impl Certificate {
    /// Reads a certificate; the error is a sentence.
    pub fn parse(der: &[u8]) -> Result<Self, String> {
        let (rest, read) = X509Certificate::from_der(der).map_err(|_| "it is no X.509 certificate".to_string())?;
        if !rest.is_empty() {
            return Err(format!("{} bytes follow the certificate", rest.len()));
        }
        let mut certificate = Self {
            der: der.to_vec(),
            thumbprint: hex::encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, der)),
            subject: name(read.subject()),
            issuer: name(read.issuer()),
            serial: read.raw_serial().to_vec(),
            not_before: instant(read.validity().not_before),
            not_after: instant(read.validity().not_after),
            dns_names: Vec::new(),
            key: key(read.public_key()),
            hash: hash(&read.signature_algorithm),
            is_ca: false,
            key_usage: None,
            extended_usage: None,
            issuer_urls: Vec::new(),
            list_urls: Vec::new(),
            key_der: read.public_key().raw.to_vec(),
        };
        for extension in read.extensions() {
            certificate.learn(extension.parsed_extension());
        }
        Ok(certificate)
    }

    fn learn(&mut self, extension: &ParsedExtension<'_>) {
        match extension {
            ParsedExtension::BasicConstraints(basic) => self.is_ca = basic.ca,
            ParsedExtension::KeyUsage(usage) => {
                self.key_usage = Some(KeyUsage {
                    signs: usage.digital_signature(),
                    enciphers: usage.key_encipherment(),
                    agrees: usage.key_agreement(),
                    signs_certificates: usage.key_cert_sign(),
                });
            }
            ParsedExtension::ExtendedKeyUsage(usage) => {
                self.extended_usage = Some(ExtendedUsage {
                    server: usage.server_auth || usage.any,
                    names_server: usage.server_auth,
                    client: usage.client_auth || usage.any,
                });
            }
            ParsedExtension::SubjectAlternativeName(names) => {
                let dns_name = |name: &GeneralName<'_>| {
                    if let GeneralName::DNSName(name) = name { Some(name.to_ascii_lowercase()) } else { None }
                };
                self.dns_names = names.general_names.iter().filter_map(dns_name).collect();
            }
            ParsedExtension::AuthorityInfoAccess(access) => {
                let issuers = access
                    .iter()
                    .filter(|description| description.access_method == oid::OID_PKIX_ACCESS_DESCRIPTOR_CA_ISSUERS);
                self.issuer_urls = issuers.filter_map(|description| url(&description.access_location)).collect();
            }
            ParsedExtension::CRLDistributionPoints(points) => {
                let names = points.iter().filter_map(|point| match &point.distribution_point {
                    Some(DistributionPointName::FullName(names)) => Some(names),
                    _ => None,
                });
                self.list_urls = names.flatten().filter_map(url).collect();
            }
            _ => {}
        }
    }

    /// Issuer and subject are one name. Whether it really signed itself, [`signed_by`](Self::signed_by) tells.
    pub fn is_self_issued(&self) -> bool {
        self.subject.der == self.issuer.der
    }

    /// Issuer and subject are one name, and the signature is of its own key.
    pub fn is_self_signed(&self) -> bool {
        self.is_self_issued() && self.signed_by(self) != Signed::No
    }

    /// How long it lives in all.
    pub fn lifetime(&self) -> SignedDuration {
        self.not_after.duration_since(self.not_before)
    }

    /// Did the key of `issuer` make this certificate's signature?
    pub fn signed_by(&self, issuer: &Self) -> Signed {
        let read = X509Certificate::from_der(&self.der);
        let Ok((_, read)) = read else { return Signed::NotCheckable };
        verify(issuer, &read.signature_algorithm, read.tbs_certificate.as_ref(), &read.signature_value.data)
    }

    /// May it stand above another certificate (RFC 5280 section 6.1.4, items k and n)?
    pub fn may_issue(&self) -> bool {
        self.is_ca && self.key_usage.is_none_or(|usage| usage.signs_certificates)
    }

    /// Does it constrain names other than those of hosts, if it is an authority's (RFC 5280 section 4.2.1.10)?
    pub fn constrains_other_names(&self) -> bool {
        let Ok((_, read)) = X509Certificate::from_der(&self.der) else { return false };
        let Ok(Some(constraints)) = read.name_constraints() else { return false };
        let subtrees =
            constraints.value.permitted_subtrees.iter().chain(&constraints.value.excluded_subtrees).flatten();
        let mut bases = subtrees.map(|subtree| &subtree.base);
        bases.any(|base| !matches!(base, GeneralName::DNSName(_) | GeneralName::IPAddress(_)))
    }

    /// How its names cover `name`, by RFC 9525: only the subject alternative name counts, and a wildcard stands for exactly
    /// one label, the leftmost. No library lets one stand right below the top level.
    pub fn covers(&self, name: &str) -> Cover {
        let name = name.to_ascii_lowercase();
        let name = name.as_str();
        let parent = name.split_once('.').map(|(_, parent)| parent);
        let is_wildcard_of =
            |pattern: &str, parent: &str| pattern.strip_prefix("*.").is_some_and(|rest| rest == parent);
        let below_top = parent.filter(|parent| parent.contains('.'));
        if self.dns_names.iter().any(|pattern| pattern == name || below_top.is_some_and(|p| is_wildcard_of(pattern, p)))
        {
            return Cover::Yes;
        }
        let above =
            parent.into_iter().flat_map(|parent| core::iter::successors(Some(parent), |p| Some(p.split_once('.')?.1)));
        if above.into_iter().skip(1).any(|parent| self.dns_names.iter().any(|pattern| is_wildcard_of(pattern, parent)))
        {
            return Cover::WildcardTooHigh;
        }
        let is_common_name = self.dns_names.is_empty()
            && self.subject.common_name.as_ref().is_some_and(|common| common.eq_ignore_ascii_case(name));
        if is_common_name { Cover::CommonNameOnly } else { Cover::No }
    }
}

/// The kind of a certificate's key, read without reading anything else.
pub fn key_of(der: &[u8]) -> Option<Key> {
    let (_, read) = X509CertificateParser::new().with_deep_parse_extensions(false).parse(der).ok()?;
    Some(key(read.public_key()))
}

/// How a certificate covers a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// It does.
    Yes,
    /// It has a wildcard, but for another depth: `*.contoso.com` is not for `a.b.contoso.com`.
    WildcardTooHigh,
    /// It has no DNS names, and the name is its common name, which counts nowhere any more.
    CommonNameOnly,
    /// It does not.
    No,
}

/// Whether a key made a signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signed {
    /// It did.
    Yes,
    /// It did not.
    No,
    /// Our library knows no such signature or key, which says nothing against them.
    NotCheckable,
}

/// The serial numbers that an issuer has revoked.
pub struct RevocationList {
    der: Vec<u8>,
    /// When it was issued.
    pub this_update: Timestamp,
    /// When the next one is due.
    pub next_update: Option<Timestamp>,
    /// Serial numbers, as their bytes stand in certificates.
    revoked: alloc::collections::BTreeSet<Vec<u8>>,
}

impl RevocationList {
    /// Reads a list in DER.
    pub fn parse(der: &[u8]) -> Option<Self> {
        let (_, list) = CertificateRevocationList::from_der(der).ok()?;
        // removeFromCRL stands only in delta lists, which are not fetched (RFC 5280 section 5.3.1).
        let revoked = list.iter_revoked_certificates().map(|entry| entry.raw_serial().to_vec()).collect();
        let next_update = list.next_update().map(instant);
        Some(Self { this_update: instant(list.last_update()), next_update, revoked, der: der.to_vec() })
    }

    /// Is the certificate on the list?
    pub fn names(&self, certificate: &Certificate) -> bool {
        self.revoked.contains(&certificate.serial)
    }

    /// Did the issuer's key sign it?
    pub fn signed_by(&self, issuer: &Certificate) -> Signed {
        let Ok((_, list)) = CertificateRevocationList::from_der(&self.der) else { return Signed::NotCheckable };
        verify(issuer, &list.signature_algorithm, list.tbs_cert_list.as_ref(), &list.signature_value.data)
    }
}

/// How long a certificate of a public authority may live, by when it was issued (CA/Browser Forum Baseline Requirements
/// section 6.3.2, ballots SC-22, SC31 and SC-081v3). Private authorities are not bound.
pub fn longest_public_lifetime(issued: Timestamp) -> SignedDuration {
    const LIMITS: [((i16, i8, i8), i64); 5] =
        [((2029, 3, 15), 47), ((2027, 3, 15), 100), ((2026, 3, 15), 200), ((2020, 9, 1), 398), ((2018, 3, 1), 825)];
    let began = |(year, month, day)| TimeZone::UTC.to_timestamp(date(year, month, day).at(0, 0, 0, 0));
    let limit = LIMITS.into_iter().find(|(day, _)| began(*day).is_ok_and(|began| issued >= began));
    days(limit.map_or(39 * 31, |(_, days)| days))
}

/// A number of days.
pub fn days(number: i64) -> SignedDuration {
    SignedDuration::from_hours(number.saturating_mul(24))
}

/// When public authorities stop putting clientAuth into certificates for servers, for people to read.
pub const CLIENT_AUTH_ENDS: &[(&str, &str)] = &[
    ("Let's Encrypt", "ended 2026-02-11 (profile tlsclient: 2026-07-08)"),
    ("Sectigo", "2027-02-10"),
    ("DigiCert", "2027-03-01"),
    ("Chrome Root Program 1.8, all others", "2027-03-15"),
];

fn verify(issuer: &Certificate, by: &AlgorithmIdentifier<'_>, message: &[u8], signature: &[u8]) -> Signed {
    let Ok((_, key)) = SubjectPublicKeyInfo::from_der(&issuer.key_der) else { return Signed::NotCheckable };
    let algorithms = algorithms(by, &issuer.key);
    if algorithms.is_empty() {
        // A signature of another family than the key's was surely not made by it.
        return if is_of_family(by, &issuer.key) { Signed::NotCheckable } else { Signed::No };
    }
    let is_good = |algorithm: &&'static dyn VerificationAlgorithm| {
        UnparsedPublicKey::new(*algorithm, &key.subject_public_key.data).verify(message, signature).is_ok()
    };
    if algorithms.iter().any(is_good) { Signed::Yes } else { Signed::No }
}

/// Could such a key make such a signature at all? Object identifiers begin alike in a family (RFC 8017 appendix C, RFC 5758
/// section 3.2). Of unknown keys nothing is known.
fn is_of_family(by: &AlgorithmIdentifier<'_>, key: &Key) -> bool {
    let by = &by.algorithm;
    match key {
        Key::Rsa(_) => by.starts_with(&x509_parser::der_parser::oid!(1.2.840.113549.1.1)),
        Key::Ec(_) => by.starts_with(&x509_parser::der_parser::oid!(1.2.840.10045.4)),
        Key::Ed25519 => *by == oid::OID_SIG_ED25519,
        Key::Other(_) => true,
    }
}

/// What ring has for a signature algorithm and a key; nothing where it has nothing. RSA keys from 1024 bits and SHA-1 are
/// verified too: whether a link is genuine and whether it is strong are two questions.
fn algorithms(by: &AlgorithmIdentifier<'_>, key: &Key) -> Vec<&'static dyn VerificationAlgorithm> {
    let by = &by.algorithm;
    let one = |algorithm: &'static dyn VerificationAlgorithm| alloc::vec![algorithm];
    match key {
        Key::Rsa(bits @ 1024..=8192) => {
            if *by == oid::OID_PKCS1_SHA1WITHRSA || *by == oid::OID_SHA1_WITH_RSA {
                one(&algorithm::RSA_PKCS1_1024_8192_SHA1_FOR_LEGACY_USE_ONLY)
            } else if *by == oid::OID_PKCS1_SHA256WITHRSA {
                one(&algorithm::RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY)
            } else if *by == oid::OID_PKCS1_SHA512WITHRSA {
                one(&algorithm::RSA_PKCS1_1024_8192_SHA512_FOR_LEGACY_USE_ONLY)
            } else if *by == oid::OID_PKCS1_SHA384WITHRSA && *bits >= 2048 {
                one(&algorithm::RSA_PKCS1_2048_8192_SHA384)
            } else if *by == oid::OID_PKCS1_RSASSAPSS && *bits >= 2048 {
                // The parameters name one; a signature fits no other.
                alloc::vec![
                    &algorithm::RSA_PSS_2048_8192_SHA256,
                    &algorithm::RSA_PSS_2048_8192_SHA384,
                    &algorithm::RSA_PSS_2048_8192_SHA512,
                ]
            } else {
                Vec::new()
            }
        }
        Key::Ec(curve) => match curve.as_str() {
            "P-256" if *by == oid::OID_SIG_ECDSA_WITH_SHA256 => one(&algorithm::ECDSA_P256_SHA256_ASN1),
            "P-256" if *by == oid::OID_SIG_ECDSA_WITH_SHA384 => one(&algorithm::ECDSA_P256_SHA384_ASN1),
            "P-384" if *by == oid::OID_SIG_ECDSA_WITH_SHA256 => one(&algorithm::ECDSA_P384_SHA256_ASN1),
            "P-384" if *by == oid::OID_SIG_ECDSA_WITH_SHA384 => one(&algorithm::ECDSA_P384_SHA384_ASN1),
            _ => Vec::new(),
        },
        Key::Ed25519 if *by == oid::OID_SIG_ED25519 => one(&algorithm::ED25519),
        _ => Vec::new(),
    }
}

fn name(name: &X509Name<'_>) -> Name {
    let common_name = name.iter_common_name().last().and_then(|common| common.as_str().ok()).map(ToString::to_string);
    Name { der: name.as_raw().to_vec(), text: name.to_string(), common_name }
}

fn instant(time: ASN1Time) -> Timestamp {
    // Years beyond 9999 cannot be written, so the bound is never met.
    Timestamp::from_second(time.timestamp()).unwrap_or(Timestamp::MAX)
}

fn key(info: &SubjectPublicKeyInfo<'_>) -> Key {
    let kind = &info.algorithm.algorithm;
    if *kind == oid::OID_SIG_ED25519 {
        return Key::Ed25519;
    }
    match info.parsed() {
        Ok(PublicKey::RSA(rsa)) => Key::Rsa(rsa.key_size()),
        Ok(PublicKey::EC(_)) => {
            let curve = info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
            Key::Ec(match curve {
                Some(curve) if curve == oid::OID_EC_P256 => "P-256".into(),
                Some(curve) if curve == oid::OID_NIST_EC_P384 => "P-384".into(),
                Some(curve) if curve == oid::OID_NIST_EC_P521 => "P-521".into(),
                Some(curve) => curve.to_id_string(),
                None => "of a curve of its own".into(),
            })
        }
        _ => Key::Other(kind.to_id_string()),
    }
}

fn hash(by: &AlgorithmIdentifier<'_>) -> Hash {
    // RFC 5758 section 3.2; the registry does not have it.
    const ECDSA_WITH_SHA1: Oid<'static> = x509_parser::der_parser::oid!(1.2.840.10045.4.1);
    let by = &by.algorithm;
    if *by == oid::OID_PKCS1_MD5WITHRSAENC || *by == oid::OID_PKCS1_MD2WITHRSAENC {
        Hash::Md5
    } else if *by == oid::OID_PKCS1_SHA1WITHRSA || *by == oid::OID_SHA1_WITH_RSA || *by == ECDSA_WITH_SHA1 {
        Hash::Sha1
    } else if [
        oid::OID_PKCS1_SHA256WITHRSA,
        oid::OID_PKCS1_SHA384WITHRSA,
        oid::OID_PKCS1_SHA512WITHRSA,
        oid::OID_PKCS1_RSASSAPSS,
        oid::OID_SIG_ECDSA_WITH_SHA256,
        oid::OID_SIG_ECDSA_WITH_SHA384,
        oid::OID_SIG_ECDSA_WITH_SHA512,
        oid::OID_SIG_ED25519,
    ]
    .contains(by)
    {
        Hash::Sha2
    } else {
        Hash::Other(by.to_id_string())
    }
}

fn url(name: &GeneralName<'_>) -> Option<String> {
    if let GeneralName::URI(url) = name { Some((*url).to_string()) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Made by tests/chains/generate --samples.
    const SERVER: &[u8] = include_bytes!("../../tests/chains/samples/server.der");
    const AUTHORITY: &[u8] = include_bytes!("../../tests/chains/samples/authority.der");
    const LIST: &[u8] = include_bytes!("../../tests/chains/samples/list.der");

    fn read(der: &[u8]) -> Certificate {
        Certificate::parse(der).expect("a certificate")
    }

    fn named(names: &[&str]) -> Certificate {
        Certificate { dns_names: names.iter().map(ToString::to_string).collect(), ..read(SERVER) }
    }

    #[test]
    fn a_certificate_says_what_it_is() {
        let (server, authority) = (read(SERVER), read(AUTHORITY));
        assert_eq!(server.dns_names, ["ex01.contoso.com", "*.contoso.com"]);
        assert_eq!(server.issuer_urls, ["http://pki.contoso.com/issuer.cer"]);
        assert_eq!(server.list_urls, ["http://pki.contoso.com/list.crl"]);
        assert_eq!((server.key.to_string(), &server.hash), ("RSA 2048".into(), &Hash::Sha2));
        assert!(!server.is_ca && authority.is_ca && authority.may_issue() && !server.may_issue());
        assert!(authority.is_self_signed() && !server.is_self_issued());
        assert_eq!((server.signed_by(&authority), server.signed_by(&server)), (Signed::Yes, Signed::No));
    }

    #[test]
    fn a_list_names_what_its_issuer_revoked() {
        let list = RevocationList::parse(LIST).expect("a list");
        assert!(list.names(&read(SERVER)) && !list.names(&read(AUTHORITY)));
        assert_eq!((list.signed_by(&read(AUTHORITY)), list.signed_by(&read(SERVER))), (Signed::Yes, Signed::No));
    }

    #[test]
    fn names_are_covered_as_peers_have_it() {
        let cover = |names: &[&str], name: &str| named(names).covers(name);
        assert_eq!(cover(&["mail.contoso.com", "ex01.contoso.com"], "EX01.contoso.com"), Cover::Yes);
        assert_eq!(cover(&["*.contoso.com"], "ex01.contoso.com"), Cover::Yes);
        assert_eq!(cover(&["*.contoso.com"], "contoso.com"), Cover::No);
        assert_eq!(cover(&["*.contoso.com"], "a.ex01.contoso.com"), Cover::WildcardTooHigh);
        assert_eq!(cover(&["*.com"], "contoso.com"), Cover::No);
        assert_eq!(cover(&["*"], "contoso"), Cover::No);
        assert_eq!(cover(&["ex*.contoso.com"], "ex02.contoso.com"), Cover::No);
        assert_eq!(cover(&[], "ex01.contoso.com"), Cover::CommonNameOnly);
        assert_eq!(cover(&["mail.contoso.com"], "ex01.contoso.com"), Cover::No);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = Certificate::parse(&bytes);
            let _ = RevocationList::parse(&bytes);
        }

        /// Changed anywhere, cut and lengthened: what is read can be asked everything.
        #[test]
        fn changed_ones_are_read_or_refused(
            which in 0usize..3,
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
            cut in proptest::option::of(any::<prop::sample::Index>()),
            more in proptest::collection::vec(any::<u8>(), 0..4),
        ) {
            let mut der = [SERVER, AUTHORITY, LIST][which].to_vec();
            for (at, byte) in changes {
                let at = at.index(der.len());
                der[at] = byte;
            }
            if let Some(cut) = cut {
                der.truncate(cut.index(der.len()));
            }
            der.extend(more);
            if let Ok(certificate) = Certificate::parse(&der) {
                certificate.covers("ex01.contoso.com");
                certificate.signed_by(&read(AUTHORITY));
                read(SERVER).signed_by(&certificate);
                let _ = (certificate.is_self_signed(), certificate.constrains_other_names(), certificate.may_issue());
                let _ = (certificate.lifetime(), certificate.subject.to_string(), certificate.key.to_string());
            }
            if let Some(list) = RevocationList::parse(&der) {
                list.signed_by(&read(AUTHORITY));
                list.names(&read(SERVER));
            }
        }

        /// Nothing that a certificate or an administrator writes as a name breaks this, and case does not count.
        #[test]
        fn any_names_are_compared(names in proptest::collection::vec("([*a-zA-Z0-9]{0,3}\\.){0,3}\\PC{0,3}", 0..4), name in "([*a-zA-Z]{0,3}\\.){0,3}\\PC{0,3}") {
            let names: Vec<_> = names.iter().map(|name| name.to_ascii_lowercase()).collect();
            let certificate = Certificate { dns_names: names.clone(), ..read(SERVER) };
            let cover = certificate.covers(&name);
            prop_assert_eq!(certificate.covers(&name.to_ascii_uppercase()), cover);
            let stands_there = names.iter().any(|known| known.eq_ignore_ascii_case(&name) || known.starts_with("*."));
            prop_assert!(cover != Cover::Yes || stands_there);
        }
    }
}
