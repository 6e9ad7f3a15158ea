//! Connectors as the directory writes them: flags, bindings, address ranges, and the names of pinned certificates.
//!
//! Where the encoding is not documented (facts of recorded objects only), what cannot be read is kept aside and never decides.

use alloc::{
    collections::BTreeMap,
    string::{String, ToString},
    vec::Vec,
};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Bits of `msExchSMTPReceiveInboundSecurityFlag`: the parameter AuthMechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AuthMechanism(pub i64);

impl AuthMechanism {
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

/// Reads a value of `msExchSmtpReceiveBindings`: `0.0.0.0:25`, `[::]:25`.
pub fn binding(text: &str) -> Option<SocketAddr> {
    text.trim().parse().ok()
}

/// Do two bindings take connections to the same place? `0.0.0.0` and `::` are every address of their family.
pub fn binds(binding: SocketAddr, to: SocketAddr) -> bool {
    let is_family = binding.is_ipv4() == to.is_ipv4();
    binding.port() == to.port() && is_family && (binding.ip().is_unspecified() || binding.ip() == to.ip())
}

/// A value of `msExchSmtpReceiveRemoteIPRanges`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

    /// Is this address in it?
    pub fn holds(&self, address: IpAddr) -> bool {
        self.from.is_ipv4() == address.is_ipv4() && self.from <= address && address <= self.to
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

    /// Does it name a certificate with this subject and issuer, as `Certificate` writes them? Distinguished names are compared
    /// part by part, without letter case, in either order: tools write them both ways round.
    pub fn fits(&self, subject: &str, issuer: &str) -> bool {
        is_same_name(&self.subject, subject) && self.issuer.as_ref().is_none_or(|own| is_same_name(own, issuer))
    }
}

/// Are two distinguished names one, whichever way round each is written?
pub fn is_same_name(one: &str, other: &str) -> bool {
    let (one, other) = (name_parts(one), name_parts(other));
    let mut backwards = other.clone();
    backwards.reverse();
    one == other || one == backwards
}

/// `(type, value)` in lower case, by one name for each type however a tool calls it.
fn name_parts(name: &str) -> Vec<(String, String)> {
    let part = |part: String| {
        let (key, value) = part.split_once('=').unwrap_or((part.as_str(), ""));
        let key = key.trim().to_lowercase();
        let key = synonyms().get(key.as_str()).map_or(key.clone(), ToString::to_string);
        let value = value.trim();
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = quoted.map_or(value.to_string(), |value| value.replace("\"\"", "\""));
        (key, value.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase())
    };
    split_name(name).into_iter().filter(|text| !text.trim().is_empty()).map(part).collect()
}

/// What .NET, OpenSSL and RFC 4514 call one type.
fn synonyms() -> BTreeMap<&'static str, &'static str> {
    [
        ("s", "st"),
        ("e", "email"),
        ("emailaddress", "email"),
        ("oid.1.2.840.113549.1.9.1", "email"),
        ("1.2.840.113549.1.9.1", "email"),
        ("oid.2.5.4.5", "serialnumber"),
        ("2.5.4.5", "serialnumber"),
        ("oid.2.5.4.15", "businesscategory"),
        ("2.5.4.15", "businesscategory"),
        ("oid.2.5.4.17", "postalcode"),
        ("2.5.4.17", "postalcode"),
        ("oid.1.3.6.1.4.1.311.60.2.1.3", "jurisdictionc"),
        ("1.3.6.1.4.1.311.60.2.1.3", "jurisdictionc"),
        ("jurisdictioncountry", "jurisdictionc"),
        ("oid.1.3.6.1.4.1.311.60.2.1.2", "jurisdictionst"),
        ("1.3.6.1.4.1.311.60.2.1.2", "jurisdictionst"),
        ("sn", "surname"),
        ("g", "givenname"),
        ("t", "title"),
    ]
    .into_iter()
    .collect()
}

/// Splits at commas outside quotation marks; `\,` is a comma that belongs to its part (RFC 4514).
fn split_name(name: &str) -> Vec<String> {
    let (mut parts, mut part, mut in_quotes, mut is_escaped) = (Vec::new(), String::new(), false, false);
    for letter in name.chars() {
        match letter {
            _ if is_escaped => {
                part.push(letter);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => {
                in_quotes = !in_quotes;
                part.push(letter);
            }
            ',' | ';' if !in_quotes => parts.push(core::mem::take(&mut part)),
            _ => part.push(letter),
        }
    }
    parts.push(part);
    parts
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

    #[test]
    fn a_pinned_name_is_read_and_compared_both_ways_round() {
        let pin = "<I>CN=GeoTrust TLS RSA CA G1, OU=www.digicert.com, O=DigiCert Inc, C=US<S>CN=*.365labs.net";
        let pin = CertificateName::read(pin).unwrap();
        let issuer = "C=US, O=DigiCert Inc, OU=www.digicert.com, CN=GeoTrust TLS RSA CA G1";
        assert!(pin.fits("cn=*.365LABS.net", issuer));
        assert!(!pin.fits("CN=*.365labs.net", "C=US, O=DigiCert Inc, CN=GeoTrust TLS RSA CA G2"));
        assert!(CertificateName::read("<s>CN=mail.contoso.com").unwrap().fits("CN=mail.contoso.com", "CN=anybody"));
        for wrong in ["", "<I>CN=issuer", "CN=mail", "<I>CN=issuer<S>", "<I"] {
            assert_eq!(CertificateName::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn quoted_and_escaped_commas_belong_to_their_part() {
        assert!(is_same_name("CN=mail, O=\"Contoso, Ltd.\", S=Kent", "ST=Kent, O=Contoso\\, Ltd., CN=mail"));
        assert!(!is_same_name("CN=mail, O=Contoso", "CN=mail"));
    }

    #[test]
    fn mechanisms_are_named_as_the_cmdlet_takes_them() {
        assert_eq!(AuthMechanism(23).names(), "Tls,Integrated,BasicAuth,ExchangeServer");
        assert_eq!(AuthMechanism(0).names(), "None");
        assert!(AuthMechanism(29).exchange_server() && !AuthMechanism(15).exchange_server());
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
            let _ = (binding(&text), IpRange::read(&text), CertificateName::read(&text), is_same_name(&text, "CN=x"));
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
