//! One logon to a website by `Negotiate` (RFC 4559), tied to the TLS in which it goes (RFC 5929): Extended Protection refuses
//! any other, and nobody who stands in between can use it.
//!
//! The token is that of SPNEGO (RFC 4178), as RFC 4559 has it, with Kerberos alone in it. IIS would take the bare one as well.

use super::{
    conversation::{Outcome, Trouble, Wire},
    fence::fenced,
    frame, http,
    proof::{Proof, Proving, error_of},
    tcp,
    tls::{self, HTTP_1_1, Keys},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use exchange_preflight_checks::{
    facts::{
        login::{HttpLogin, HttpLoginReply},
        raw::Raw,
        tls::TlsSeen,
        web::{HTTPS_PORT, HttpAnswer, HttpsReply},
    },
    model::{
        ask::Facts,
        evidence::{Reason, Stage},
    },
};
use hyper::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use picky_asn1::wrapper::{
    Asn1SequenceOf, ExplicitContextTag0, ExplicitContextTag2, ObjectIdentifierAsn1, OctetStringAsn1, Optional,
};
use picky_krb::gss_api::{ApplicationTag0, GssApiNegInit, NegTokenInit, NegTokenTarg1};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use std::net::SocketAddr;
use tokio::time::{Instant, timeout};
use tracing::debug;
use x509_parser::{prelude::FromDer as _, signature_algorithm::SignatureAlgorithm};

/// What is kept of an answer: what rules read. Whatever else a server says to who has logged on may be a key to it.
const KEPT: [&str; 7] =
    ["server", "date", "www-authenticate", "x-feserver", "x-beserver", "x-owa-version", "request-id"];

/// Begins TLS, and asks for the path with a ticket.
pub(super) async fn log_on(wire: &Wire, to: SocketAddr, question: &HttpLogin) -> Outcome {
    let (mut tls, mut heard) = (None, Heard::default());
    let trouble = talk(wire, to, question, &mut tls, &mut heard).await.err();
    let Heard { answer, is_proven, error } = heard;
    debug!(%to, spn = question.spn, is_proven, error, trouble = ?trouble, "one logon");
    let reply = |tls| HttpLoginReply { answer: HttpsReply { tls, answer }, is_proven, error };
    Outcome { facts: tls.map(reply).map(Facts::HttpLogin), trouble }
}

#[derive(Default)]
struct Heard {
    answer: Option<HttpAnswer>,
    is_proven: bool,
    error: Option<i64>,
}

async fn talk(
    wire: &Wire,
    to: SocketAddr,
    question: &HttpLogin,
    seen: &mut Option<TlsSeen>,
    heard: &mut Heard,
) -> Result<(), Trouble> {
    let host = match to.port() {
        HTTPS_PORT => question.name.clone(),
        port => format!("{}:{port}", question.name),
    };
    let mut request = http::get(&host, &question.path)?;
    let stream = tcp::connect(to, &wire.budgets).await?;
    let until = Instant::now() + wire.budgets.reply;
    let inside = tls::begin(stream, Keys::Any, &question.name, Some(HTTP_1_1), until, seen).await?;
    let bindings = seen.as_ref().and_then(|seen| end_point(&seen.chain.first()?.0));
    let (mut proof, token) = Proof::begin(wire, &question.spn, &question.kdc, bindings).await?;
    let field = negotiation(token).and_then(|token| authorization(&token));
    let field = field.ok_or_else(|| Trouble::new(Stage::Bind, Reason::Local("no token can be made".into())))?;
    request.headers_mut().insert(AUTHORIZATION, field);
    let asking = http::ask(inside, request, wire.clock, None);
    let answer = match timeout(wire.budgets.reply, asking).await {
        Ok(answered) => answered?,
        Err(_) => return Err(Trouble::new(Stage::Reply, Reason::Silent)),
    };
    let (status, fields) = (answer.head.status.as_u16(), kept(&answer.head.headers));
    heard.answer = Some(HttpAnswer { span: answer.span, status, fields, body: Raw::default() });
    let Some(token) = token_in(&answer.head.headers) else { return Ok(()) };
    let Ok(Some(token)) = fenced(async move { response_in(token) }).await else { return Ok(()) };
    heard.error = error_of(token.clone()).await;
    if heard.error.is_none() {
        proof.step(token).await?;
        heard.is_proven = proof.is_proven();
    }
    Ok(())
}

/// `tls-server-end-point` (RFC 5929 section 4): the certificate by the hash of its own signature, and never by an old one.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    const SHA384: [&str; 3] = ["1.2.840.113549.1.1.12", "1.2.840.10045.4.3.3", "2.16.840.1.101.3.4.2.2"];
    const SHA512: [&str; 3] = ["1.2.840.113549.1.1.13", "1.2.840.10045.4.3.4", "2.16.840.1.101.3.4.2.3"];
    let (_, read) = x509_parser::certificate::X509Certificate::from_der(certificate).ok()?;
    let by = match SignatureAlgorithm::try_from(&read.signature_algorithm) {
        // What it signs by stands in its parameters.
        Ok(SignatureAlgorithm::RSASSA_PSS(parameters)) => parameters.hash_algorithm_oid().to_id_string(),
        _ => read.signature_algorithm.algorithm.to_id_string(),
    };
    let digest = match by.as_str() {
        by if SHA384.contains(&by) => Sha384::digest(certificate).to_vec(),
        by if SHA512.contains(&by) => Sha512::digest(certificate).to_vec(),
        _ => Sha256::digest(certificate).to_vec(),
    };
    Some([&b"tls-server-end-point:"[..], &digest].concat())
}

/// The first token of SPNEGO, which offers Kerberos and begins it (RFC 4178 section 4.2.1).
fn negotiation(token: Vec<u8>) -> Option<Vec<u8>> {
    const SPNEGO: &[u8] = b"\x06\x06\x2b\x06\x01\x05\x05\x02";
    const KERBEROS: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02";
    let identifier = |der| picky_asn1_der::from_bytes::<ObjectIdentifierAsn1>(der).ok();
    let neg_token_init = NegTokenInit {
        mech_types: Optional::from(Some(ExplicitContextTag0::from(Asn1SequenceOf::from(vec![identifier(KERBEROS)?])))),
        req_flags: Optional::from(None),
        mech_token: Optional::from(Some(ExplicitContextTag2::from(OctetStringAsn1::from(token)))),
        mech_list_mic: Optional::from(None),
    };
    let first = GssApiNegInit { oid: identifier(SPNEGO)?, neg_token_init: ExplicitContextTag0::from(neg_token_init) };
    picky_asn1_der::to_vec(&ApplicationTag0(first)).ok()
}

fn authorization(token: &[u8]) -> Option<HeaderValue> {
    let mut field = HeaderValue::try_from(format!("Negotiate {}", BASE64_STANDARD.encode(token))).ok()?;
    field.set_sensitive(true);
    Some(field)
}

/// The server's token, whatever it is of.
fn token_in(headers: &HeaderMap) -> Option<Vec<u8>> {
    let values = headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
    let offers = values.flat_map(|value| value.split(','));
    let mut tokens = offers.filter_map(|offer| {
        let (scheme, token) = offer.trim().split_once(' ')?;
        let token = scheme.eq_ignore_ascii_case("Negotiate").then_some(token)?;
        BASE64_STANDARD.decode(token.trim()).ok()
    });
    tokens.next()
}

/// The token of Kerberos: inside SPNEGO (RFC 4178 section 4.2.2), or bare.
pub(super) fn response_in(token: Vec<u8>) -> Option<Vec<u8>> {
    if !frame::is_whole(&token) {
        return Some(token);
    }
    match picky_asn1_der::from_bytes::<NegTokenTarg1>(&token) {
        Ok(negotiated) => negotiated.0.response_token.0.map(|inner| inner.0.0),
        Err(_) => Some(token),
    }
}

/// The fields of an answer, without what nobody is to find in a recording.
fn kept(headers: &HeaderMap) -> Vec<(String, String)> {
    let known = headers.iter().filter(|(name, _)| KEPT.contains(&name.as_str()));
    let text = |name: &str, value: &[u8]| {
        let text = String::from_utf8_lossy(value);
        if name == WWW_AUTHENTICATE.as_str() { schemes(&text) } else { text.into_owned() }
    };
    known.map(|(name, value)| (name.as_str().into(), text(name.as_str(), value.as_bytes()))).collect()
}

/// Ways to log on: `Negotiate (token), NTLM`.
fn schemes(value: &str) -> String {
    let one = |offer: &str| match offer.trim().split_once(' ') {
        Some((scheme, rest)) if !rest.contains('"') => format!("{scheme} (token)"),
        _ => offer.trim().to_owned(),
    };
    value.split(',').map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::proof::error_in;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().expect("a name"), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn the_token_is_found_bare_and_in_its_frame() {
        let token = |value| token_in(&headers(&[("www-authenticate", value)])).and_then(response_in);
        assert_eq!(token("Negotiate AQID"), Some(vec![1, 2, 3]));
        assert_eq!(token("NTLM, negotiate AQID"), Some(vec![1, 2, 3]));
        // accept-completed, and in the response token the bytes 1, 2, 3.
        assert_eq!(token("Negotiate oRAwDqADCgEAogcEBQECAwQF"), Some(vec![1, 2, 3, 4, 5]));
        for none in ["Negotiate", "NTLM AQID", "Negotiate ?", "Negotiate oQkwB6ADCgEBogA="] {
            assert!(token(none).is_none_or(|token| error_in(&token).is_none()), "{none}");
        }
    }

    #[test]
    fn nothing_that_could_be_used_is_kept() {
        let said = headers(&[
            ("server", "Microsoft-IIS/10.0"),
            ("set-cookie", "cadata=secret"),
            ("www-authenticate", "Negotiate oRAwDqADCgEAogcEBQECAwQF"),
            ("www-authenticate", "NTLM, Basic realm=\"mail\""),
        ]);
        let kept = kept(&said);
        let text = format!("{kept:?}");
        assert!(!text.contains("secret") && !text.contains("oRAw"), "{text}");
        assert!(text.contains("Negotiate (token)") && text.contains("NTLM, Basic realm"), "{text}");
    }

    #[test]
    fn a_first_token_offers_kerberos_alone() {
        let token = negotiation(vec![1, 2, 3]).expect("it can be made");
        assert!(token.starts_with(b"\x60"), "the frame of RFC 2743 section 3.1");
        assert_eq!(&token[2..10], b"\x06\x06\x2b\x06\x01\x05\x05\x02", "SPNEGO");
        assert_eq!(token[token.len() - 3..], [1, 2, 3]);
        assert!(authorization(&token).is_some_and(|field| field.is_sensitive()));
    }
}
