//! The directory before anybody logs on: rootDSE (MS-ADTS section 3.1.1.3.2) and the NetLogon ping (section 6.3.3).

use super::{
    net::Transport,
    raw::Raw,
    search::domain_of_dn,
    time::{Reading, Span, WHOLE_SECOND},
};
use alloc::{collections::BTreeMap, string::String, vec::Vec};
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde::{Deserialize, Serialize};

/// What a controller tells anybody of itself. All of it is kept as evidence, so that a later rule needs no new recording;
/// it is asked for by name because some of it is constructed.
pub const ROOT_DSE_ATTRIBUTES: &[&str] = &[
    "currentTime",
    "dnsHostName",
    "serverName",
    "dsServiceName",
    "defaultNamingContext",
    "configurationNamingContext",
    "rootDomainNamingContext",
    "namingContexts",
    "highestCommittedUSN",
    "isSynchronized",
    "isGlobalCatalogReady",
    "domainFunctionality",
    "forestFunctionality",
    "domainControllerFunctionality",
    "supportedSASLMechanisms",
    "supportedCapabilities",
    "ldapServiceName",
];

/// The root DSE: over TCP all of [`ROOT_DSE_ATTRIBUTES`]; over UDP (CLDAP) `currentTime` alone, to stay in one datagram.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RootDse {
    /// The transport.
    pub transport: Transport,
}

/// The values as the server spelt them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootDseReply {
    /// Our instants around the search, not the connection.
    pub span: Span,
    /// Attribute -> values. Values that are not UTF-8 are left out.
    pub attributes: BTreeMap<String, Vec<String>>,
}

impl RootDseReply {
    /// The only value of `attribute`, whatever the letter case of its name.
    pub fn value(&self, attribute: &str) -> Option<&str> {
        let (_, values) = self.attributes.iter().find(|(name, _)| name.eq_ignore_ascii_case(attribute))?;
        values.first().map(String::as_str)
    }

    /// A Boolean; `None` where it is not told.
    pub fn flag(&self, attribute: &str) -> Option<bool> {
        match self.value(attribute)? {
            "TRUE" => Some(true),
            "FALSE" => Some(false),
            _ => None,
        }
    }

    /// `currentTime`, which shows whole seconds.
    pub fn reading(&self) -> Option<Reading> {
        let server_time = generalized_time(self.value("currentTime")?)?;
        Some(Reading { span: self.span, server_time, quantum: WHOLE_SECOND })
    }

    /// The site in `serverName`: `CN=DC1,CN=Servers,CN=<site>,CN=Sites,CN=Configuration,...`.
    pub fn site(&self) -> Option<&str> {
        let mut parts = self.value("serverName")?.split(',').skip(1);
        let (servers, site, sites) = (parts.next()?, parts.next()?, parts.next()?);
        let is_placed = servers.eq_ignore_ascii_case("CN=Servers") && sites.eq_ignore_ascii_case("CN=Sites");
        is_placed.then(|| site.get(3..)).flatten()
    }

    /// The DNS name of a naming context: `DC=contoso,DC=com` is `contoso.com` (RFC 2247).
    pub fn domain_of(&self, attribute: &str) -> Option<String> {
        domain_of_dn(self.value(attribute)?)
    }
}

/// The DC locator's question over CLDAP: who are you, for this domain? (MS-ADTS section 6.3.3.2)
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NetlogonPing {
    /// The DNS domain asked for.
    pub domain: String,
}

/// The attribute `Netlogon` of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetlogonReply {
    /// Our instants.
    pub span: Span,
    /// A `NETLOGON_SAM_LOGON_RESPONSE_EX`.
    pub netlogon: Raw,
}

/// The fields of `NETLOGON_SAM_LOGON_RESPONSE_EX` (MS-ADTS section 6.3.1.9) that rules read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Netlogon {
    /// `DS_FLAG` bits, MS-ADTS section 6.3.1.2.
    pub flags: u32,
    /// The forest root.
    pub forest: String,
    /// The domain.
    pub domain: String,
    /// The controller's own name.
    pub host: String,
    /// The controller's site.
    pub dc_site: String,
    /// The site of the address that asked; empty where no subnet covers it.
    pub client_site: String,
}

impl Netlogon {
    /// It is a global catalog (`DS_GC_FLAG`).
    pub fn is_gc(&self) -> bool {
        self.flags & 0x4 != 0
    }

    /// It can be written to, so it is no RODC (`DS_WRITABLE_FLAG`).
    pub fn is_writable(&self) -> bool {
        self.flags & 0x100 != 0
    }
}

impl NetlogonReply {
    /// Reads the response; `None` for another operation code or for what breaks off.
    pub fn netlogon(&self) -> Option<Netlogon> {
        const LOGON_SAM_LOGON_RESPONSE_EX: u16 = 23;
        const NAMES: usize = 24;
        let message = self.netlogon.0.as_slice();
        let opcode = u16::from_le_bytes(*message.first_chunk()?);
        let flags = u32::from_le_bytes(*message.get(4..)?.first_chunk()?);
        if opcode != LOGON_SAM_LOGON_RESPONSE_EX {
            return None;
        }
        let mut at = NAMES;
        let mut next = || compressed_name(message, &mut at);
        let (forest, domain, host) = (next()?, next()?, next()?);
        let (_netbios_domain, _netbios_host, _user) = (next()?, next()?, next()?);
        let (dc_site, client_site) = (next()?, next()?);
        Some(Netlogon { flags, forest, domain, host, dc_site, client_site })
    }
}

/// A name in the compression of RFC 1035 section 4.1.4, as MS-ADTS section 6.3.7 uses it. Pointers may only lead
/// backwards, so that no message can send us round in circles.
fn compressed_name(message: &[u8], at: &mut usize) -> Option<String> {
    const LONGEST_NAME: usize = 255;
    let mut name = String::new();
    let mut here = *at;
    let mut jumped = false;
    loop {
        let length = *message.get(here)?;
        match length {
            0 => {
                if !jumped {
                    *at = here + 1;
                }
                return Some(name.to_lowercase());
            }
            0xc0.. => {
                let target = usize::from(length & 0x3f) << 8 | usize::from(*message.get(here + 1)?);
                if !jumped {
                    *at = here + 2;
                }
                jumped = true;
                here = (target < here).then_some(target)?;
            }
            0x40.. => return None,
            _ => {
                let label = message.get(here + 1..here + 1 + usize::from(length))?;
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(core::str::from_utf8(label).ok()?);
                if name.len() > LONGEST_NAME {
                    return None;
                }
                here += 1 + usize::from(length);
            }
        }
    }
}

/// GeneralizedTime as LDAP writes it: `20261122120000.0Z` (RFC 4517 section 3.3.13).
pub fn generalized_time(text: &str) -> Option<Timestamp> {
    let whole = text.strip_suffix('Z')?.split('.').next()?;
    if whole.len() != 14 {
        return None;
    }
    let time = DateTime::strptime("%Y%m%d%H%M%S", whole).ok()?;
    // strptime takes a leap second for the second before; a clock that says 60 is not one to measure by.
    (!whole.ends_with("60")).then(|| TimeZone::UTC.to_timestamp(time).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn generalized_time_is_read_strictly() {
        let second = |text| generalized_time(text).map(Timestamp::as_second);
        assert_eq!(second("20261122120000.0Z"), Some(1_795_348_800));
        assert_eq!(second("20261122120000Z"), Some(1_795_348_800));
        for wrong in
            ["20261122120000.0+0100", "20260230120000.0Z", "2026112212000.0Z", "20261122125960.0Z", "", "Z", "２０２６"]
        {
            assert_eq!(second(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn pointers_that_lead_forward_or_in_circles_end() {
        let mut circle = alloc::vec![23, 0, 0, 0, 0, 0, 0, 0];
        circle.resize(24, 0);
        circle.extend([0xc0, 24, 0xc0, 24]);
        let span = Span { sent: Timestamp::UNIX_EPOCH, received: Timestamp::UNIX_EPOCH };
        assert_eq!(NetlogonReply { span, netlogon: Raw(circle) }.netlogon(), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut message in proptest::collection::vec(any::<u8>(), 0..400), opcode: bool) {
            if opcode && message.len() > 2 { message[..2].copy_from_slice(&[23, 0]); }
            let span = Span { sent: Timestamp::UNIX_EPOCH, received: Timestamp::UNIX_EPOCH };
            let _ = NetlogonReply { span, netlogon: Raw(message) }.netlogon();
        }

        #[test]
        fn any_text_is_a_time_or_none(text in ".{0,20}") {
            let _ = generalized_time(&text);
        }
    }
}
