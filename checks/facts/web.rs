//! HTTP: what a web server shows to anybody, and small files that certificates point to.

use super::{
    raw::Raw,
    time::{Reading, Span, WHOLE_SECOND},
    tls::TlsSeen,
};
use alloc::{string::String, vec::Vec};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use jiff::fmt::rfc2822;
use serde::{Deserialize, Serialize};

/// Web clients: the Default Web Site of Exchange.
pub const HTTPS_PORT: u16 = 443;
/// The Exchange Back End site.
pub const BACK_END_PORT: u16 = 444;
/// Where Exchange Web Services live. Asked without a name it answers 401 with the ways to log on, its clock, and its own name.
pub const EWS_PATH: &str = "/EWS/Exchange.asmx";
/// Where a server of Exchange 2013 or later publishes, to anybody, by which certificate it signs tokens (its Auth certificate).
pub const METADATA_PATH: &str = "/autodiscover/metadata/json/1";

/// One GET over TLS, without logging on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HttpsGet {
    /// The name that is asked for, in SNI and in the field Host.
    pub name: String,
    /// The path.
    pub path: String,
}

/// What came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpsReply {
    /// What the server showed while TLS began.
    pub tls: TlsSeen,
    /// The answer inside TLS, if one came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<HttpAnswer>,
}

/// The head of an HTTP answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpAnswer {
    /// Our instants around the question.
    pub span: Span,
    /// The status code.
    pub status: u16,
    /// Every field in its order, names in lower case.
    pub fields: Vec<(String, String)>,
    /// What follows the head of a 200. It is read of [`METADATA_PATH`] alone.
    #[serde(default, skip_serializing_if = "Raw::is_empty")]
    pub body: Raw,
}

impl HttpAnswer {
    /// The values of a field, whose name is given in lower case.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.fields.iter().filter(move |(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    /// The server's clock, of whole seconds (RFC 9110 section 6.6.1). It counts only where Exchange's own IIS answers and no
    /// proxy before it: `Server: Microsoft-IIS` with `X-FEServer` or a back end's `X-BEServer`.
    pub fn reading(&self) -> Option<Reading> {
        let date = self.values("date").next().filter(|date| date.ends_with(" GMT"))?;
        let server_time = rfc2822::parse(date).ok()?.timestamp();
        Some(Reading { span: self.span, server_time, quantum: WHOLE_SECOND })
    }

    /// Did Exchange's own IIS answer, and no proxy before it?
    pub fn is_exchange(&self) -> bool {
        self.values("server").any(|server| server.starts_with("Microsoft-IIS"))
            && self.fields.iter().any(|(field, _)| field == "x-feserver" || field == "x-beserver")
    }
}

/// The certificates in what a server publishes of itself for OAuth, in its order: those by which its tokens are to be proven
/// (MS-SPS2SAUTH and RFC 7517 section 4.7 write them in two ways). `None` for what is no such document; what is no
/// certificate in base64 is left out.
pub fn signing_certificates(metadata: &[u8]) -> Option<Vec<Vec<u8>>> {
    // More keys than the current one, the one before and the one after it are no server's.
    const MOST: usize = 16;
    let Metadata { keys } = serde_json::from_slice(metadata).ok()?;
    let values = keys.into_iter().take(MOST).flat_map(|key| {
        let own = key.keyvalue.into_iter().map(|value| value.value);
        own.chain(key.x5c.into_iter().take(1)).collect::<Vec<_>>()
    });
    Some(values.filter_map(|value| BASE64_STANDARD.decode(value.trim()).ok()).collect())
}

#[derive(Deserialize)]
struct Metadata {
    keys: Vec<MetadataKey>,
}

#[derive(Deserialize)]
struct MetadataKey {
    #[serde(default)]
    keyvalue: Option<KeyValue>,
    #[serde(default)]
    x5c: Vec<String>,
}

#[derive(Deserialize)]
struct KeyValue {
    #[serde(default)]
    value: String,
}

/// Fetches a small public file over plain HTTP, as certificates name them: an issuer's certificate, a revocation list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HttpFetch {
    /// The path with its query, as the URL has it. Host and port are the endpoint's.
    pub path: String,
}

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpFile {
    /// Our instants around the question.
    pub span: Span,
    /// The status code.
    pub status: u16,
    /// The file, if the status is 200.
    pub body: Raw,
}

/// The parts of an `http://` URL: host (lower case), port, path with query. `None` for any other scheme, for a host that is
/// no DNS name, for user names inside, and for what is longer than a certificate should hold.
pub fn http_url(url: &str) -> Option<(String, u16, String)> {
    const LONGEST: usize = 1_024;
    let is_plain = url.len() <= LONGEST && url.bytes().all(|byte| byte.is_ascii_graphic());
    let rest = url.split_at_checked(7).filter(|(scheme, _)| is_plain && scheme.eq_ignore_ascii_case("http://"))?.1;
    let rest = rest.split('#').next().unwrap_or_default();
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(at);
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0)?),
        None => (authority, 80),
    };
    let host = super::dns::canonical_name(host);
    let path = if path.starts_with('/') { String::from(path) } else { alloc::format!("/{path}") };
    super::dns::is_host_name(&host).then_some((host, port, path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;
    use proptest::prelude::*;

    #[test]
    fn urls_of_certificates_are_taken_apart() {
        let parts = |url| http_url(url).map(|(host, port, path)| alloc::format!("{host} {port} {path}"));
        assert_eq!(parts("http://Crl.Contoso.com/a.crl").as_deref(), Some("crl.contoso.com 80 /a.crl"));
        assert_eq!(parts("HTTP://crl.contoso.com:8080?x=1#y").as_deref(), Some("crl.contoso.com 8080 /?x=1"));
        for wrong in [
            "https://crl.contoso.com/",
            "ldap:///CN=x",
            "http://",
            "http://user@crl.contoso.com/",
            "http://crl.contoso.com:0/",
            "http://crl.contoso.com/ x",
            "http://crl.contoso.com/\r\nHost: x",
        ] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_an_exact_date_is_a_clock() {
        let answer = |date: &str| {
            let span = Span { sent: Timestamp::UNIX_EPOCH, received: Timestamp::UNIX_EPOCH };
            let fields = alloc::vec![("date".into(), date.into())];
            HttpAnswer { span, status: 401, fields, body: Raw::default() }
        };
        let seconds = |date| answer(date).reading().map(|reading| reading.server_time.as_second());
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
        assert_eq!(seconds("Sun, 06 Nov 1994 08:49:37 GMT+3"), None);
        assert_eq!(seconds("soon"), None);
    }

    #[test]
    fn what_signs_tokens_is_read_in_both_ways() {
        let published = r#"{"version":"1.0","name":"Exchange","realm":"contoso.com","issuer":"00000002-0000-0ff1-ce00-000000000000@contoso.com",
            "keys":[{"usage":"signing","keyinfo":{"x5t":"AA=="},"keyvalue":{"type":"x509Certificate","value":"MAA="}},
                {"kty":"RSA","x5c":["MAE=","MAI="]},{"keyvalue":{"value":"?"}}],"endpoints":[{"location":"https://x/"}]}"#;
        assert_eq!(signing_certificates(published.as_bytes()), Some(alloc::vec![b"0\0".to_vec(), b"0\x01".to_vec()]));
        assert_eq!(signing_certificates(br#"{"keys":[]}"#), Some(Vec::new()));
        assert_eq!(signing_certificates(b"<html>"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_metadata_or_none(bytes: Vec<u8>, text in "\\{\"keys\":\\[.{0,40}") {
            let _ = (signing_certificates(&bytes), signing_certificates(text.as_bytes()));
        }

        #[test]
        fn any_text_is_a_url_or_none(text in "(http://)?.{0,40}") {
            if let Some((host, _, path)) = http_url(&text) {
                prop_assert!(!host.is_empty() && path.starts_with('/') && path.is_ascii());
            }
        }
    }
}
