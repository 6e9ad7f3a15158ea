//! Kerberos: the questions that need no account, and what a KDC's answer says (RFC 4120, RFC 3244, MS-KILE).
//!
//! Every KRB-ERROR carries the KDC's clock. None of it is signed, so it may decide what is reachable and how clocks
//! stand, and never whom to trust.

use super::{
    net::Transport,
    raw::Raw,
    time::{Reading, Span, WINDOWS_TICK},
};
use alloc::string::{String, ToString};
use jiff::{SignedDuration, Timestamp, civil::DateTime, tz::TimeZone};
use picky_asn1::wrapper::{
    ExplicitContextTag0, ExplicitContextTag1, ExplicitContextTag2, ExplicitContextTag3, ExplicitContextTag4,
    ExplicitContextTag5, ExplicitContextTag6, ExplicitContextTag7, ExplicitContextTag8, ExplicitContextTag9,
    ExplicitContextTag10, ExplicitContextTag11, ExplicitContextTag12, IntegerAsn1, OctetStringAsn1, Optional,
};
use picky_asn1_der::application_tag::ApplicationTag;
use picky_krb::data_types::{KerberosStringAsn1, KerberosTime, PrincipalName, Realm};
use serde::{Deserialize, Serialize};

/// An AS-REQ without a client name: any KDC that lives answers it with a KRB-ERROR, and it names no account.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AsReq {
    /// The realm asked for, in upper case.
    pub realm: String,
    /// The transport; a KDC serves both on port 88.
    pub transport: Transport,
}

/// A password-change envelope (RFC 3244) around an empty AP-REQ: it cannot change anything, and is answered by a KRB-ERROR.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Kpasswd {
    /// The transport; the service listens on port 464.
    pub transport: Transport,
}

/// What a KDC or its password service sent back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KdcReply {
    /// Our instants.
    pub span: Span,
    /// The message without the length that TCP puts before it.
    pub message: Raw,
}

/// What the message is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KdcAnswer {
    /// The answer that every probe of ours should get.
    Error(KrbError),
    /// A ticket for a request without a name: no Kerberos server does that, but it is Kerberos.
    Ticket,
    /// Not a message of Kerberos at all.
    NotKerberos,
}

/// The fields of a KRB-ERROR (RFC 4120 section 5.9.1) that rules read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KrbError {
    /// `error-code`, RFC 4120 section 7.5.9.
    pub code: i64,
    /// `stime` and `susec`; `None` where they are no time.
    pub server_time: Option<Timestamp>,
    /// `realm`: on Windows the realm that the KDC serves, elsewhere often the one it was asked for.
    pub realm: String,
    /// `e-text`, which Windows leaves out.
    pub text: Option<String>,
    /// `e-data`: with code 25 what keys the account has (RFC 4120 section 5.9.1).
    pub data: Option<Raw>,
}

impl KrbError {
    /// Reads a message.
    pub fn read(message: &[u8]) -> Option<Self> {
        picky_asn1_der::from_bytes::<ApplicationTag<KrbErrorBody, 30>>(message).ok().map(|error| error.0.into())
    }
}

impl KdcReply {
    /// Reads the message.
    pub fn answer(&self) -> KdcAnswer {
        const AS_REP: u8 = 0x6b;
        let message = self.without_envelope();
        if message.first() == Some(&AS_REP) {
            return KdcAnswer::Ticket;
        }
        KrbError::read(message).map_or(KdcAnswer::NotKerberos, KdcAnswer::Error)
    }

    /// The KDC's clock, if the answer shows one.
    pub fn reading(&self) -> Option<Reading> {
        let KdcAnswer::Error(KrbError { server_time: Some(server_time), .. }) = self.answer() else {
            return None;
        };
        Some(Reading { span: self.span, server_time, quantum: WINDOWS_TICK })
    }

    /// A password service wraps its KRB-ERROR as `length, version, AP-REP length`; a zero last length says that an error follows.
    fn without_envelope(&self) -> &[u8] {
        match self.message.0.as_slice() {
            [0, _, _, _, 0, 0, error @ ..] => error,
            message => message,
        }
    }
}

/// What a code of RFC 4120 section 7.5.9 or MS-KILE means to somebody who has to mend it.
pub fn describe_error(code: i64) -> &'static str {
    match code {
        6 => "client principal unknown",
        7 => "service principal unknown: the SPN is missing, or on two accounts",
        8 => "principal not unique",
        9 => "the account has no key: its password was never set",
        11 => "ticket would never be valid: often the clock",
        12 => "refused by a logon restriction",
        13 => "the KDC does not allow an option that was asked for",
        14 => "no common encryption type",
        18 => "account disabled, expired or locked out",
        23 => "password expired",
        24 => "pre-authentication failed: wrong password",
        25 => "pre-authentication required",
        29 => "a service the KDC depends on is not available",
        31 => "decrypted to nonsense: the key does not fit",
        32 => "the ticket has expired: often the clock",
        33 => "the ticket does not count yet: the clock of who reads it is behind",
        34 => "the request was there before: a packet came twice",
        37 => "clock skew too great",
        41 => "message modified: the key does not fit",
        52 => "answer too large for UDP",
        60 => "generic error",
        61 => "field too long",
        68 => "wrong realm",
        _ => "see RFC 4120 section 7.5.9",
    }
}

/// KRB-ERROR on the wire. picky-krb has this type too, but reads `cusec` as a time and `error-code` as unsigned, so that
/// a valid message with either would be lost. DER is positional, so fields that no rule reads stand here too.
#[derive(Debug, PartialEq, Deserialize)]
struct KrbErrorBody {
    pvno: ExplicitContextTag0<IntegerAsn1>,
    msg_type: ExplicitContextTag1<IntegerAsn1>,
    ctime: Optional<Option<ExplicitContextTag2<KerberosTime>>>,
    cusec: Optional<Option<ExplicitContextTag3<IntegerAsn1>>>,
    stime: ExplicitContextTag4<KerberosTime>,
    susec: ExplicitContextTag5<IntegerAsn1>,
    error_code: ExplicitContextTag6<IntegerAsn1>,
    crealm: Optional<Option<ExplicitContextTag7<Realm>>>,
    cname: Optional<Option<ExplicitContextTag8<PrincipalName>>>,
    realm: ExplicitContextTag9<Realm>,
    sname: ExplicitContextTag10<PrincipalName>,
    #[serde(default)]
    e_text: Optional<Option<ExplicitContextTag11<KerberosStringAsn1>>>,
    #[serde(default)]
    e_data: Optional<Option<ExplicitContextTag12<OctetStringAsn1>>>,
}

impl From<KrbErrorBody> for KrbError {
    fn from(wire: KrbErrorBody) -> Self {
        Self {
            code: integer(&wire.error_code.0).unwrap_or(-1),
            server_time: server_time(&wire.stime.0, integer(&wire.susec.0)),
            realm: wire.realm.0.0.to_string(),
            text: wire.e_text.0.map(|text| text.0.0.to_string()),
            data: wire.e_data.0.map(|data| Raw(data.0.0)),
        }
    }
}

/// `stime` has whole seconds, `susec` the rest; a KDC whose `susec` is out of range has no clock that can be read.
fn server_time(stime: &KerberosTime, susec: Option<i64>) -> Option<Timestamp> {
    let susec = susec.filter(|micros| (0..1_000_000).contains(micros))?;
    let micros = SignedDuration::from_micros(susec);
    instant(stime)?.checked_add(micros).ok()
}

/// An instant of a ticket, in whole seconds (RFC 4120 section 5.2.3).
pub fn instant(time: &KerberosTime) -> Option<Timestamp> {
    let part = |value: u8| i8::try_from(value).ok();
    let date = &time.0;
    let time = DateTime::new(
        i16::try_from(date.year()).ok()?,
        part(date.month())?,
        part(date.day())?,
        part(date.hour())?,
        part(date.minute())?,
        part(date.second())?,
        0,
    );
    TimeZone::UTC.to_timestamp(time.ok()?).ok()
}

/// A DER INTEGER of up to eight bytes, two's complement.
pub fn integer(value: &IntegerAsn1) -> Option<i64> {
    let bytes = &value.0;
    let first = *bytes.first()?;
    let mut wide = [if first & 0x80 == 0 { 0 } else { 0xff }; 8];
    wide[8usize.checked_sub(bytes.len())?..].copy_from_slice(bytes);
    Some(i64::from_be_bytes(wide))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn reply(message: Vec<u8>) -> KdcReply {
        let span = Span { sent: Timestamp::UNIX_EPOCH, received: Timestamp::UNIX_EPOCH };
        KdcReply { span, message: Raw(message) }
    }

    /// A KRB-ERROR of the form that Windows sends (no crealm, cname or e-text), code 68, realm CONTOSO.COM.
    fn windows_wrong_realm() -> Vec<u8> {
        let body = concat!(
            "a003020105",
            "a10302011e",
            "a411180f32303236313132323132303030305a",
            "a50502030acd15",
            "a603020144",
            "a90d1b0b434f4e544f534f2e434f4d",
            "aa20301ea003020102a11730151b066b72627467741b0b434f4e544f534f2e434f4d",
        );
        let body = hex::decode(body).expect("the literal is hex");
        let length = |bytes: usize| u8::try_from(bytes).expect("short form");
        let mut message = alloc::vec![0x7e, length(body.len() + 2), 0x30, length(body.len())];
        message.extend(body);
        message
    }

    #[test]
    fn a_windows_error_is_read_whole() {
        let KdcAnswer::Error(error) = reply(windows_wrong_realm()).answer() else { panic!("a KRB-ERROR") };
        assert_eq!((error.code, error.realm.as_str(), error.text), (68, "CONTOSO.COM", None));
        assert_eq!(error.server_time.map(|t| t.to_string()).as_deref(), Some("2026-11-22T12:00:00.707861Z"));
    }

    #[test]
    fn a_password_service_wraps_its_error() {
        let error = windows_wrong_realm();
        let mut wrapped = alloc::vec![0, 0x6e, 0, 1, 0, 0];
        wrapped.extend(&error);
        assert_eq!(reply(wrapped).answer(), reply(error).answer());
    }

    #[test]
    fn an_impossible_instant_is_no_reading() {
        let text = |stime: &[u8; 15], susec: u8| {
            let mut message = windows_wrong_realm();
            let at = message.windows(4).position(|four| four == b"2026").expect("stime is there");
            message[at..at + 15].copy_from_slice(stime);
            message[at + 19] = susec;
            reply(message).reading()
        };
        assert!(text(b"20261122120000Z", 0x0a).is_some());
        assert!(text(b"20260230120000Z", 0x0a).is_none(), "30 February");
        assert!(text(b"20261122125960Z", 0x0a).is_none(), "second 60");
        assert!(text(b"20261122120000Z", 0x7f).is_none(), "susec of eight million");
        assert!(text(b"20261122120000Z", 0x80).is_none(), "a negative susec");
    }

    proptest! {
        #[test]
        fn any_mutation_is_read_or_refused(cut in 0usize..120, at in 0usize..110, byte: u8) {
            let mut message = windows_wrong_realm();
            if let Some(place) = message.get_mut(at) { *place = byte; }
            message.truncate(cut);
            let _ = reply(message).reading();
        }

        #[test]
        fn any_bytes_are_read_or_refused(message in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = reply(message).reading();
        }
    }
}
