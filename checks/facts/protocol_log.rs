//! What Exchange's protocol logs of sending tell: which certificate a server showed to whom, and who refused it. A log has a row
//! for every line of SMTP; only what is kept here matters, and nothing of who wrote to whom.

use crate::facts::distinguished::DistinguishedName;
use alloc::{string::String, vec::Vec};
use core::net::IpAddr;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The end of a session's certificate exchange, and what the other end said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SendSession {
    /// The server, where whoever gave the log names it.
    #[serde(default)]
    pub server: Option<String>,
    /// The address from which it sent (`local-endpoint`).
    #[serde(default)]
    pub local: Option<IpAddr>,
    /// The send connector (`connector-id`).
    pub connector: String,
    /// Where it went (`remote-endpoint`).
    #[serde(default)]
    pub remote: Option<IpAddr>,
    /// It went to port 717, where a front end takes what it is to send on (`FrontendProxyEnabled`).
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub is_to_front_end: bool,
    /// What the other end calls itself: the name in its banner.
    #[serde(default)]
    pub remote_name: Option<String>,
    /// When the session began.
    pub when: Timestamp,
    /// What it showed, if it showed anything (`Sending certificate`).
    #[serde(default)]
    pub sent: Option<LoggedCertificate>,
    /// What it was shown (`Received certificate` or `Remote certificate`).
    #[serde(default)]
    pub received: Option<LoggedCertificate>,
    /// Answers and remarks that refuse it: `550 5.7.64 ...`, `UntrustedRoot`, `ATTR36`. At most 200 characters each.
    #[serde(default)]
    pub refusals: Vec<String>,
    /// Those of them that the other end itself answered. What the server only remarks may as well be about the other end's
    /// certificate.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replies: Vec<String>,
}

impl SendSession {
    /// Takes a row of the log that may refuse it: an answer of the other end (the event `<`), or a remark of the server (`*`).
    /// So many refusals are kept at the most.
    pub fn heed(&mut self, is_reply: bool, text: &str, most: usize) {
        let Some(said) = refusal(text) else { return };
        let keep = |all: &mut Vec<String>| {
            if all.len() < most && !all.contains(&said) {
                all.push(said.clone());
            }
        };
        keep(&mut self.refusals);
        if is_reply {
            keep(&mut self.replies);
        }
    }
}

/// A certificate as a log names it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoggedCertificate {
    /// 40 hexadecimal digits in lower case.
    pub thumbprint: String,
    /// As Windows writes it; empty where the log has none.
    #[serde(default)]
    pub subject: String,
    /// As Windows writes it; empty where the log has none.
    #[serde(default)]
    pub issuer: String,
    /// In hexadecimal digits, lower case.
    #[serde(default)]
    pub serial: Option<String>,
    /// From when on it is valid.
    #[serde(default)]
    pub not_before: Option<Timestamp>,
    /// Until when it is valid.
    #[serde(default)]
    pub not_after: Option<Timestamp>,
    /// Its alternative names, lower case.
    #[serde(default)]
    pub names: Vec<String>,
}

/// Whose certificate a row of a log is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Of whoever wrote the log.
    Own,
    /// Of the other end.
    Other,
}

/// What a row of a log tells of a certificate: its column `context` says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateRow {
    /// All of it, in one row: the form of Exchange 2016 and later.
    Whole(Side),
    /// Rows of it follow: the form of old (KB 4051498).
    Begin(Side),
    /// Whose it is.
    Subject,
    /// Who signed it.
    Issuer,
    /// Its number.
    Serial,
    /// SHA-1 over all of it.
    Thumbprint,
    /// Its alternative names.
    Names,
}

impl CertificateRow {
    /// Reads the column `context`.
    pub fn read(context: &str) -> Option<Self> {
        const SIDES: [(&str, Side); 3] = [
            ("sending certificate", Side::Own),
            ("received certificate", Side::Other),
            ("remote certificate", Side::Other),
        ];
        const PARTS: [(&str, CertificateRow); 5] = [
            ("certificate subject", CertificateRow::Subject),
            ("certificate issuer name", CertificateRow::Issuer),
            ("certificate serial number", CertificateRow::Serial),
            ("certificate thumbprint", CertificateRow::Thumbprint),
            ("certificate alternate names", CertificateRow::Names),
        ];
        let context = context.trim().to_ascii_lowercase();
        if let Some((_, part)) = PARTS.iter().find(|(words, _)| *words == context) {
            return Some(*part);
        }
        let (rest, side) = SIDES.iter().find_map(|(words, side)| Some((context.strip_prefix(words)?, *side)))?;
        Some(if rest.contains("thumbprint") { Self::Whole(side) } else { Self::Begin(side) })
    }
}

impl LoggedCertificate {
    /// Reads a certificate that stands in one row: subject, issuer, serial number, thumbprint, two dates and the alternative names,
    /// with nothing but blanks between them. Only the thumbprint tells where it begins and ends, so that all else is found from
    /// there. Dates are taken where they are told in UTC; those of a culture's own form say neither their order nor their zone.
    pub fn read(row: &str) -> Option<Self> {
        let words = words(row);
        let at = thumbprint_at(&words)?;
        let (serial_at, serial) = words[at - 1];
        let (subject, issuer) = two_names(row[..serial_at].trim());
        let mut rest: Vec<_> = words[at + 1..].iter().map(|(_, word)| *word).collect();
        // Both dates have as many words; one word more is that of the names.
        let names = if rest.len() % 2 == 1 { rest.pop() } else { None };
        let (from, to) = rest.split_at(rest.len() / 2);
        let date = |words: &[&str]| words.join(" ").parse().ok();
        Some(Self {
            thumbprint: words[at].1.to_ascii_lowercase(),
            subject: subject.into(),
            issuer: issuer.into(),
            serial: Some(serial.to_ascii_lowercase()),
            not_before: date(from),
            not_after: date(to),
            names: Self::names(names.unwrap_or_default()),
        })
    }

    /// The alternative names of a row, which stand between semicolons.
    pub fn names(text: &str) -> Vec<String> {
        text.split(';').map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty()).collect()
    }
}

/// Is it a thumbprint: SHA-1 in hexadecimal digits?
pub fn is_thumbprint(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What refuses a session, if it does: a reply or a remark with one of the words by which Exchange and Exchange Online do so. No
/// address of anybody is kept of it, and 200 characters at the most.
pub fn refusal(text: &str) -> Option<String> {
    const LONGEST: usize = 200;
    const SIGNS: [&str; 7] = [
        "5.7.64",
        "tenantattribution",
        "attr36",
        "att36",
        "untrustedroot",
        "tls channel could not be established",
        "tls negotiation failed with error",
    ];
    let lower = text.to_ascii_lowercase();
    let is_whole = |at: usize, sign: &str| !lower[at + sign.len()..].starts_with(|next: char| next.is_ascii_digit());
    let is_there = |sign: &&str| lower.match_indices(sign).any(|(at, _)| is_whole(at, sign));
    SIGNS.iter().find(|sign| is_there(sign))?;
    let words = text.split_whitespace().map(|word| if word.contains('@') { "..." } else { word });
    Some(words.collect::<Vec<_>>().join(" ").chars().take(LONGEST).collect())
}

/// The words of a row, and where each begins.
fn words(row: &str) -> Vec<(usize, &str)> {
    let mut at = 0;
    let mut words = Vec::new();
    for word in row.split(' ') {
        if !word.is_empty() {
            words.push((at, word));
        }
        at += word.len() + 1;
    }
    words
}

/// Which word is the thumbprint: behind the serial number, which may look the same.
fn thumbprint_at(words: &[(usize, &str)]) -> Option<usize> {
    let is_thumbprint_here = |at: usize| words.get(at).is_some_and(|(_, word)| is_thumbprint(word));
    let is_serial = |(_, word): &(usize, &str)| word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let first = (1..words.len()).find(|at| is_thumbprint_here(*at) && is_serial(&words[at - 1]))?;
    Some(if is_thumbprint_here(first + 1) { first + 1 } else { first })
}

/// Parts a subject from the issuer behind it. A second name begins where a type stands that no comma joins to what is before it.
/// One name alone is the issuer's, for only a subject may be empty (RFC 5280 section 4.1.2.4); where several partings are possible
/// and none is likelier, neither name is told.
fn two_names(text: &str) -> (&str, &str) {
    let begins: Vec<_> = words(text).iter().map(|(at, _)| *at).filter(|at| begins_name(text, *at)).collect();
    let part = |at: usize| (text[..at].trim_end(), &text[at..]);
    let is_one = |at: &usize| DistinguishedName::read(part(*at).0) == DistinguishedName::read(part(*at).1);
    let is_common = |at: &usize| text[*at..].to_ascii_uppercase().starts_with("CN=");
    let common: Vec<_> = begins.iter().copied().filter(is_common).collect();
    match (begins.as_slice(), common.as_slice()) {
        ([], _) => ("", text),
        ([at], _) | (_, [at]) => part(*at),
        (many, _) => many.iter().copied().find(is_one).map_or(("", ""), part),
    }
}

/// Does another name begin here: a type and an equals sign, outside quotation marks, with no comma or plus sign before it?
fn begins_name(text: &str, at: usize) -> bool {
    let (before, here) = text.split_at(at);
    let before = before.trim_end();
    let is_type = |key: &str| {
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.') && key.len() <= 64
    };
    let is_quoted = before.matches('"').count() % 2 == 1;
    !before.is_empty()
        && !before.ends_with([',', '+', ';'])
        && !is_quoted
        && here.split_once('=').is_some_and(|(key, _)| is_type(key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const THUMBPRINT: &str = "FCB8B54E6FBE6DF4D1B636FFB776CA0660DA1F16";
    const SERIAL: &str = "0A1B2C3D4E5F60718293A4B5C6D7E8F9";
    const NAMES: &str = "mail.contoso.com;*.contoso.com";
    const SUBJECT: &str = "CN=mail.contoso.com, O=\"Contoso, Ltd.\", C=US";
    const ISSUER: &str = "CN=Fabrikam TLS CA 1, O=Fabrikam, C=US";

    fn read(parts: &[&str]) -> LoggedCertificate {
        LoggedCertificate::read(&parts.join(" ")).unwrap()
    }

    #[test]
    fn a_row_is_read_from_its_thumbprint_in_every_culture() {
        for dates in [
            ["2025-12-01T00:00:00.000Z", "2026-12-30T00:00:00.000Z"],
            ["12/1/2025 12:00:00 AM", "12/30/2026 12:00:00 AM"],
            ["01.12.2025 00:00:00", "30.12.2026 00:00:00"],
            ["1. 12. 2025 0:00:00", "30. 12. 2026 0:00:00"],
        ] {
            let certificate = read(&["", SUBJECT, ISSUER, SERIAL, THUMBPRINT, dates[0], dates[1], NAMES]);
            assert_eq!(certificate.thumbprint, THUMBPRINT.to_lowercase());
            assert_eq!((certificate.subject.as_str(), certificate.issuer.as_str()), (SUBJECT, ISSUER), "{dates:?}");
            assert_eq!(certificate.serial, Some(SERIAL.to_lowercase()));
            assert_eq!(certificate.names, ["mail.contoso.com", "*.contoso.com"], "{dates:?}");
            assert_eq!(certificate.not_before.is_some(), dates[0].ends_with('Z'), "{dates:?}");
            let nameless = read(&["", SUBJECT, ISSUER, SERIAL, THUMBPRINT, dates[0], dates[1], ""]);
            assert!(nameless.names.is_empty(), "{dates:?}");
        }
    }

    #[test]
    fn a_serial_number_may_look_like_a_thumbprint() {
        let serial = "0B1B2C3D4E5F60718293A4B5C6D7E8F90A1B2C3D";
        // The last word before it is hexadecimal, too.
        let certificate = read(&["CN=mail.contoso.com", "CN=Enterprise CA", serial, THUMBPRINT]);
        assert_eq!(certificate.thumbprint, THUMBPRINT.to_lowercase());
        assert_eq!(certificate.serial, Some(serial.to_lowercase()));
        assert_eq!(certificate.issuer, "CN=Enterprise CA");
    }

    #[test]
    fn names_are_parted_where_the_second_begins() {
        for (text, parted) in [
            ("CN=EX01 CN=EX01", ("CN=EX01", "CN=EX01")),
            ("CN=Fabrikam TLS CA 1, O=Fabrikam", ("", "CN=Fabrikam TLS CA 1, O=Fabrikam")),
            ("CN=a, OU=b OU=c, O=d", ("CN=a, OU=b", "OU=c, O=d")),
            ("CN=a, OU=\"b O=c\" CN=d", ("CN=a, OU=\"b O=c\"", "CN=d")),
            ("CN=a, OU=b L=c O=d, C=e", ("", "")),
            ("CN=x L=y CN=x L=y", ("CN=x L=y", "CN=x L=y")),
            ("", ("", "")),
        ] {
            assert_eq!(two_names(text), parted, "{text}");
        }
    }

    #[test]
    fn the_context_says_what_a_row_tells() {
        for (context, row) in [
            (
                "Sending certificate Subject Issuer name Serial number Thumbprint Not before Not after Subject alternate names",
                Some(CertificateRow::Whole(Side::Own)),
            ),
            ("Sending certificate", Some(CertificateRow::Begin(Side::Own))),
            ("Received certificate", Some(CertificateRow::Begin(Side::Other))),
            ("Remote certificate", Some(CertificateRow::Begin(Side::Other))),
            ("Certificate thumbprint", Some(CertificateRow::Thumbprint)),
            ("Client certificate chain validation status: 'EmptyCertificate'", None),
            ("", None),
        ] {
            assert_eq!(CertificateRow::read(context), row, "{context}");
        }
    }

    #[test]
    fn a_refusal_is_kept_without_anybody_in_it() {
        assert_eq!(
            refusal("550 5.7.64 TenantAttribution; Relay Access Denied <ann@contoso.com> [AM0]").as_deref(),
            Some("550 5.7.64 TenantAttribution; Relay Access Denied ... [AM0]")
        );
        assert!(refusal("454 4.7.0 TLS channel could not be established: UntrustedRoot").is_some());
        assert!(refusal("550 5.7.64 Relay Access Denied ATTR36").is_some());
        assert_eq!(refusal("550 5.7.640 another"), None);
        assert_eq!(refusal("250 2.1.0 Sender OK"), None);
    }

    #[test]
    fn who_refuses_whom_is_kept() {
        let mut session = SendSession::default();
        session.heed(false, "TLS negotiation failed with error UntrustedRoot", 8);
        assert_eq!((session.refusals.len(), session.replies.len()), (1, 0));
        session.heed(true, "550 5.7.64 TenantAttribution", 8);
        session.heed(true, "250 2.1.0 Sender OK", 8);
        assert_eq!(session.refusals.len(), 2);
        assert_eq!(session.replies, ["550 5.7.64 TenantAttribution"]);
    }

    proptest! {
        #[test]
        fn any_row_is_read_or_not(row in "\\PC{0,80}") {
            let _ = (LoggedCertificate::read(&row), refusal(&row), CertificateRow::read(&row));
        }

        /// Whatever stands around it, a thumbprint behind a serial number is found.
        #[test]
        fn a_thumbprint_is_found(subject in "[a-zA-Z =,\"]{0,30}", serial in "[0-9A-F]{2,40}", after in "[0-9:./ ]{0,30}") {
            let certificate = read(&[&subject, &serial, THUMBPRINT, &after]);
            prop_assert_eq!(certificate.thumbprint, THUMBPRINT.to_lowercase());
            prop_assert_eq!(certificate.serial, Some(serial.to_lowercase()));
        }
    }
}
