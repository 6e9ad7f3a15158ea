//! Connectors as the directory writes them: flags, bindings, address ranges, and the names of pinned certificates.
//!
//! Where the encoding is not documented (facts of recorded objects only), what cannot be read is kept aside and never decides.

use crate::facts::{certificate::Certificate, distinguished::DistinguishedName};
use alloc::{
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};
use serde::{Deserialize, Serialize};

/// Bits of `msExchSMTPReceiveInboundSecurityFlag`: the parameter AuthMechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthMechanism(pub i64);

impl AuthMechanism {
    /// What a connector has that says nothing, the default of the schema: `Tls,BasicAuth,BasicAuthRequireTLS,ExchangeServer`.
    pub const DEFAULT: Self = Self(29);

    const NAMES: [(i64, &'static str); 6] = [
        (1, "Tls"),
        (2, "Integrated"),
        (4, "BasicAuth"),
        (8, "BasicAuthRequireTLS"),
        (16, "ExchangeServer"),
        (32, "ExternalAuthoritative"),
    ];

    /// STARTTLS is offered.
    pub fn tls(self) -> bool {
        self.0 & 1 != 0
    }

    /// Servers of the organisation may prove who they are.
    pub fn exchange_server(self) -> bool {
        self.0 & 16 != 0
    }

    /// Whoever connects is believed. Exchange takes no `ExchangeServer` beside it.
    pub fn external_authoritative(self) -> bool {
        self.0 & 32 != 0
    }

    /// The same with `ExchangeServer`, and without what excludes it.
    pub fn with_exchange_server(self) -> Self {
        Self((self.0 | 16) & !32)
    }

    /// As `Set-ReceiveConnector -AuthMechanism` takes it; `None` for none at all.
    pub fn names(self) -> String {
        let names: Vec<_> = Self::NAMES.iter().filter(|(bit, _)| self.0 & bit != 0).map(|(_, name)| *name).collect();
        if names.is_empty() { "None".to_string() } else { names.join(",") }
    }
}

/// Bits of `msExchSmtpReceiveProtocolOptions`: SuppressXAnonymousTls.
pub fn suppresses_anonymous_tls(options: i64) -> bool {
    options & 4096 != 0
}

/// Which service has a receive connector: `msExchSmtpReceiveRole`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TransportRole {
    /// The transport service.
    Hub,
    /// The front end.
    FrontEnd,
}

impl TransportRole {
    /// 32 and 16384; servers before 2013 write none, and have the transport service only.
    pub fn read(value: Option<i64>) -> Option<Self> {
        match value {
            None | Some(32) => Some(Self::Hub),
            Some(16384) => Some(Self::FrontEnd),
            Some(_) => None,
        }
    }
}

/// Reads a value of `msExchSmtpReceiveBindings`: `0.0.0.0:25`, `[::]:25`; as Exchange 2007 and 2010 write it, `:::25`.
pub fn binding(text: &str) -> Option<SocketAddr> {
    let bare = || {
        let (address, port) = text.rsplit_once(':')?;
        let address = address.trim();
        let address = address.strip_prefix('[').and_then(|inside| inside.strip_suffix(']')).unwrap_or(address);
        Some(SocketAddr::new(address.parse().ok()?, port.trim().parse().ok()?))
    };
    text.trim().parse().ok().or_else(bare)
}

/// Do two bindings take connections to the same place? `0.0.0.0` and `::` are every address of their family.
pub fn binds(binding: SocketAddr, to: SocketAddr) -> bool {
    let is_family = binding.is_ipv4() == to.is_ipv4();
    binding.port() == to.port() && is_family && (binding.ip().is_unspecified() || binding.ip() == to.ip())
}

/// A value of `msExchSmtpReceiveRemoteIPRanges`. In a recording it stands as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct IpRange {
    from: IpAddr,
    to: IpAddr,
}

impl IpRange {
    /// Reads `10.0.0.1`, `10.0.0.1-10.0.0.9`, `10.0.0.0/24` and `10.0.0.0(255.255.255.0)`, as Exchange's cmdlets take them.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some((from, to)) = text.split_once('-') {
            let (from, to): (IpAddr, IpAddr) = (from.trim().parse().ok()?, to.trim().parse().ok()?);
            return (from.is_ipv4() == to.is_ipv4() && from <= to).then_some(Self { from, to });
        }
        if let Some((base, bits)) = text.split_once('/') {
            return Self::prefix(base.trim().parse().ok()?, bits.trim().parse().ok()?);
        }
        if let Some((base, mask)) = text.strip_suffix(')').and_then(|text| text.split_once('(')) {
            let mask: Ipv4Addr = mask.trim().parse().ok()?;
            let bits = mask.to_bits();
            let is_mask = bits.leading_ones() + bits.trailing_zeros() >= 32;
            return if is_mask { Self::prefix(base.trim().parse().ok()?, bits.leading_ones()) } else { None };
        }
        let address = text.parse().ok()?;
        Some(Self { from: address, to: address })
    }

    fn prefix(base: IpAddr, bits: u32) -> Option<Self> {
        match base {
            IpAddr::V4(base) => {
                let host = if bits > 32 { return None } else { u32::MAX.checked_shr(bits).unwrap_or(0) };
                let from = base.to_bits() & !host;
                Some(Self { from: Ipv4Addr::from_bits(from).into(), to: Ipv4Addr::from_bits(from | host).into() })
            }
            IpAddr::V6(base) => {
                let host = if bits > 128 { return None } else { u128::MAX.checked_shr(bits).unwrap_or(0) };
                let from = base.to_bits() & !host;
                Some(Self { from: Ipv6Addr::from_bits(from).into(), to: Ipv6Addr::from_bits(from | host).into() })
            }
        }
    }

    /// Is it of addresses of IPv4?
    pub fn is_ipv4(&self) -> bool {
        self.from.is_ipv4()
    }

    /// Is this address in it?
    pub fn holds(&self, address: IpAddr) -> bool {
        self.from.is_ipv4() == address.is_ipv4() && self.from <= address && address <= self.to
    }

    /// What is left of it without this address.
    pub fn without(self, address: IpAddr) -> Vec<Self> {
        if !self.holds(address) {
            return vec![self];
        }
        let (before, after) = match address {
            IpAddr::V4(address) => {
                let at = |bits: Option<u32>| bits.map(|bits| IpAddr::from(Ipv4Addr::from_bits(bits)));
                (at(address.to_bits().checked_sub(1)), at(address.to_bits().checked_add(1)))
            }
            IpAddr::V6(address) => {
                let at = |bits: Option<u128>| bits.map(|bits| IpAddr::from(Ipv6Addr::from_bits(bits)));
                (at(address.to_bits().checked_sub(1)), at(address.to_bits().checked_add(1)))
            }
        };
        let below = before.map(|to| Self { to, ..self });
        let above = after.map(|from| Self { from, ..self });
        below.into_iter().chain(above).filter(|left| left.from <= left.to).collect()
    }

    /// How many addresses beside one it holds: of several ranges that hold an address, the one with the fewest wins ("the most
    /// specific match", Receive connectors, Microsoft Learn).
    pub fn breadth(&self) -> u128 {
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => u128::from(to.to_bits() - from.to_bits()),
            (IpAddr::V6(from), IpAddr::V6(to)) => to.to_bits() - from.to_bits(),
            _ => u128::MAX,
        }
    }
}

impl TryFrom<String> for IpRange {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::read(&text).ok_or("no range of addresses")
    }
}

impl From<IpRange> for String {
    fn from(range: IpRange) -> Self {
        range.to_string()
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.from == self.to { write!(f, "{}", self.from) } else { write!(f, "{}-{}", self.from, self.to) }
    }
}

/// A certificate as a connector names it: `<I>CN=Issuer, O=...<S>CN=mail.contoso.com, O=...` (TlsCertificateName).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateName {
    /// The issuer, if it is named.
    pub issuer: Option<String>,
    /// The subject.
    pub subject: String,
}

impl CertificateName {
    /// Reads it; the tags may be of any letter case, and the issuer may be missing.
    pub fn read(text: &str) -> Option<Self> {
        let text = text.trim();
        let tag = |text: &str, tag: &str| text.get(..3).is_some_and(|begins| begins.eq_ignore_ascii_case(tag));
        let (issuer, rest) = if tag(text, "<I>") {
            let end = text.get(3..)?.find('<')? + 3;
            (Some(text.get(3..end)?.trim().to_string()), text.get(end..)?)
        } else {
            (None, text)
        };
        let subject = tag(rest, "<S>").then(|| rest.get(3..)).flatten()?.trim().to_string();
        (!subject.is_empty()).then_some(Self { issuer, subject })
    }

    /// Does it name this certificate?
    pub fn names(&self, certificate: &Certificate) -> bool {
        let name = DistinguishedName::of;
        self.fits(&name(&certificate.subject), &name(&certificate.issuer))
    }

    /// Does it name a certificate of this subject and issuer?
    pub fn fits(&self, subject: &DistinguishedName, issuer: &DistinguishedName) -> bool {
        let is_one = |own: &str, other: &DistinguishedName| DistinguishedName::read(own).is(other);
        is_one(&self.subject, subject) && self.issuer.as_ref().is_none_or(|own| is_one(own, issuer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges_are_read_as_the_cmdlets_write_them() {
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let holds = |range: &str, inside: &str| IpRange::read(range).unwrap().holds(address(inside));
        assert!(holds("0.0.0.0-255.255.255.255", "10.53.0.21"));
        assert!(!holds("0.0.0.0-255.255.255.255", "fd53::21"));
        assert!(holds("::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fd53::21"));
        assert!(holds("10.53.0.0/24", "10.53.0.255") && !holds("10.53.0.0/24", "10.53.1.0"));
        assert!(holds("10.53.0.0(255.255.255.0)", "10.53.0.1"));
        assert!(holds("10.53.0.21", "10.53.0.21"));
        assert!(holds("0.0.0.0/0", "1.2.3.4") && holds("::/0", "::1"));
        for wrong in ["", "10.0.0.9-10.0.0.1", "10.0.0.0/33", "10.0.0.0(255.0.255.0)", "10.0.0.1-::1", "mail"] {
            assert_eq!(IpRange::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_narrower_range_is_the_more_specific() {
        let breadth = |range: &str| IpRange::read(range).unwrap().breadth();
        assert_eq!(breadth("10.0.0.1"), 0);
        assert!(breadth("10.0.0.0/24") < breadth("0.0.0.0-255.255.255.255"));
        assert_eq!(breadth("::/0"), u128::MAX);
    }

    /// `O="Contoso, Ltd."`, a plus sign in a value, two parts that stand together, UTF-8, an e-mail address, the types of an
    /// extended validation; issued by a name of the like. Made by OpenSSL.
    const PINNED: &[u8] = include_bytes!("../../tests/chains/samples/pinned.der");

    /// As .NET Framework writes it, the common name first.
    const PIN: &str = "<I>CN=Contoso Issuing R1, O=\"Contoso, Ltd.\", C=US<S>CN=mail.contoso.com + OU=Mail, E=post@contoso.com, OU=\"R+D\", \
        O=\"Contoso, Ltd.\", L=Zürich, S=Kent, PostalCode=8000, SERIALNUMBER=3014267, OID.1.3.6.1.4.1.311.60.2.1.3=US, \
        OID.2.5.4.15=Private Organization, C=US";

    #[test]
    fn a_pinned_name_is_read() {
        let pin = "<I>CN=GeoTrust TLS RSA CA G1, OU=www.digicert.com, O=DigiCert Inc, C=US<S>CN=*.365labs.net";
        let pin = CertificateName::read(pin).unwrap();
        assert_eq!((pin.issuer.is_some(), pin.subject.as_str()), (true, "CN=*.365labs.net"));
        assert_eq!(CertificateName::read("<s>CN=mail.contoso.com").unwrap().issuer, None);
        for wrong in ["", "<I>CN=issuer", "CN=mail", "<I>CN=issuer<S>", "<I"] {
            assert_eq!(CertificateName::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_pin_names_its_certificate_as_dotnet_writes_both() {
        let certificate = Certificate::parse(PINNED).expect("a certificate");
        let pin = CertificateName::read(PIN).unwrap();
        assert!(pin.names(&certificate), "{:?} {:?}", certificate.subject.parts(), certificate.issuer.parts());
        let by_openssl = "C = US, businessCategory = Private Organization, jurisdictionC = US, serialNumber = 3014267, \
            postalCode = 8000, ST = Kent, L = Zürich, O = \"Contoso, Ltd.\", OU = \"R+D\", emailAddress = post@contoso.com, \
            OU = Mail + CN = mail.contoso.com";
        assert!(CertificateName { issuer: None, subject: by_openssl.into() }.names(&certificate));
        let renewed =
            CertificateName { issuer: pin.issuer.as_ref().map(|name| name.replace("R1", "R2")), ..pin.clone() };
        assert!(!renewed.names(&certificate));
        let shorter = CertificateName { subject: "CN=mail.contoso.com".into(), issuer: None };
        assert!(!shorter.names(&certificate));
    }

    #[test]
    fn mechanisms_are_named_as_the_cmdlet_takes_them() {
        assert_eq!(AuthMechanism(23).names(), "Tls,Integrated,BasicAuth,ExchangeServer");
        assert_eq!(AuthMechanism(0).names(), "None");
        assert_eq!(AuthMechanism(33).with_exchange_server().names(), "Tls,ExchangeServer");
        assert!(AuthMechanism(29).exchange_server() && !AuthMechanism(15).exchange_server());
    }

    #[test]
    fn bindings_of_every_age_are_read() {
        let is = |text: &str, as_today: &str| assert_eq!(binding(text), as_today.parse().ok(), "{text}");
        is(" 0.0.0.0:25 ", "0.0.0.0:25");
        is("0.0.0.0 : 25", "0.0.0.0:25");
        is(":::25", "[::]:25");
        is("fd53::1:25", "[fd53::1]:25");
        is("[::] :25", "[::]:25");
        for wrong in ["", ":25", "0.0.0.0", "::", "0.0.0.0:", "0.0.0.0:70000", "mail:25", "[::1:25"] {
            assert_eq!(binding(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_binding_takes_what_comes_to_it() {
        let at = |text: &str| binding(text).unwrap();
        assert!(binds(at("0.0.0.0:25"), at("10.0.0.1:25")) && binds(at("[::]:25"), at("[fd53::1]:25")));
        assert!(!binds(at("0.0.0.0:25"), at("10.0.0.1:2525")) && !binds(at("10.0.0.2:25"), at("10.0.0.1:25")));
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}") {
            let _ = (binding(&text), IpRange::read(&text), CertificateName::read(&text));
        }

        #[test]
        fn what_is_left_holds_all_but_one(from in 0u32..20, size in 0u32..20, hole in 0u32..40) {
            let address = |bits: u32| IpAddr::from(Ipv4Addr::from_bits(bits));
            let range = IpRange { from: address(from), to: address(from + size) };
            let left = range.without(address(hole));
            for bits in 0..60 {
                let is_left = left.iter().any(|range| range.holds(address(bits)));
                prop_assert_eq!(is_left, bits != hole && range.holds(address(bits)));
            }
        }

        #[test]
        fn a_prefix_holds_its_base(base: u32, bits in 0u32..=32) {
            let base = Ipv4Addr::from_bits(base);
            let range = IpRange::prefix(base.into(), bits).unwrap();
            prop_assert!(range.holds(base.into()));
            prop_assert_eq!(range.breadth() + 1, 1u128 << (32 - bits));
        }
    }
}
