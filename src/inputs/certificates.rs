//! Certificates in a file, however they are wrapped: PEM, DER, PKCS#7 (RFC 2315, RFC 5652), PKCS#12 (RFC 7292). A key that lies beside
//! them is not looked at.

use super::text;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cms::{
    cert::{
        CertificateChoices,
        x509::der::{Decode as _, Encode as _, SliceReader},
    },
    content_info::ContentInfo,
    signed_data::SignedData,
};
use exchange_preflight_checks::facts::certificate::Certificate;
use p12_keystore::Pkcs12Archive;
use rustls::pki_types::CertificateDer;
use x509_parser::{
    certification_request::X509CertificationRequest, prelude::FromDer as _, revocation_list::CertificateRevocationList,
};
use zeroize::Zeroizing;

/// signedData (RFC 5652 section 5.1).
const SIGNED_DATA: &str = "1.2.840.113549.1.7.2";

/// A file holds no more certificates than this; Mozilla's whole list has a hundred and a half.
const MOST: usize = 4096;

/// What a file holds.
pub enum Held {
    /// Certificates, in their order.
    Certificates(Vec<CertificateDer<'static>>),
    /// A PKCS#12 store, which may need a password.
    Store,
}

/// Finds the certificates in the bytes of a file. The error is what is wrong, and which certificate of it.
pub fn held(bytes: &[u8]) -> Result<Held, String> {
    if bytes.first() == Some(&0x30) {
        return binary(bytes);
    }
    let text = Zeroizing::new(text::decoded(bytes)?);
    written(&text).map(Held::Certificates)
}

/// The certificates of a PKCS#12 store. The library decrypts the keys in it on the way, and does not wipe them: they are given back to
/// the system at once, and see [`crate::password::keep_no_core`].
pub fn of_store(bytes: &[u8], password: &str) -> Result<Vec<CertificateDer<'static>>, StoreError> {
    let archive = Pkcs12Archive::from_pkcs12(bytes, password).map_err(|error| match error {
        // A wrong password shows in the first of these that is there.
        p12_keystore::error::Error::MacError(_) => StoreError::Password,
        other => StoreError::Unreadable(other.to_string()),
    })?;
    let certificates: Vec<_> =
        archive.certs.iter().map(|bag| CertificateDer::from(bag.cert.as_der().to_vec())).collect();
    if certificates.is_empty() {
        return Err(StoreError::Unreadable("it holds no certificate".into()));
    }
    sound(certificates).map_err(StoreError::Unreadable)
}

/// Why a store could not be read.
#[derive(Debug)]
pub enum StoreError {
    /// By its password.
    Password,
    /// By something else.
    Unreadable(String),
}

fn binary(bytes: &[u8]) -> Result<Held, String> {
    if Certificate::parse(bytes).is_ok() {
        return Ok(Held::Certificates(vec![CertificateDer::from(bytes.to_vec())]));
    }
    if is_store(bytes) {
        return Ok(Held::Store);
    }
    if let Some(certificates) = signed_data(bytes) {
        return sound(certificates?).map(Held::Certificates);
    }
    if X509CertificationRequest::from_der(bytes).is_ok() {
        return Err(REQUEST.into());
    }
    if CertificateRevocationList::from_der(bytes).is_ok() {
        return Err(LIST.into());
    }
    match Certificate::parse(bytes) {
        Ok(_) => Err("it is no certificate".into()),
        Err(wrong) => Err(format!("certificate 1: {wrong}")),
    }
}

const REQUEST: &str = "it holds a request (CSR), which nobody has signed yet";
const LIST: &str = "it holds a list of revoked certificates (CRL), and no certificate";
const KEY: &str = "it holds a key and no certificate; keep it to yourself";

/// `PFX ::= SEQUENCE { version INTEGER {v3(3)}, ...` (RFC 7292 section 4).
fn is_store(bytes: &[u8]) -> bool {
    let Some(body) = sequence(bytes) else { return false };
    body.starts_with(&[0x02, 0x01, 0x03, 0x30])
}

/// What is in an outermost SEQUENCE, of definite length or not.
fn sequence(bytes: &[u8]) -> Option<&[u8]> {
    let length = *bytes.strip_prefix(&[0x30])?.first()?;
    let more = if length & 0x80 == 0 { 0 } else { usize::from(length & 0x7f) };
    bytes.get(2 + more..)
}

/// The certificates of a PKCS#7 file, as they stand in it; `None` if it is none.
fn signed_data(bytes: &[u8]) -> Option<Result<Vec<CertificateDer<'static>>, String>> {
    // The identifier stands first, even where the rest cannot be read.
    const IDENTIFIER: [u8; 11] = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
    if !sequence(bytes)?.starts_with(&IDENTIFIER) {
        return None;
    }
    let refused = || {
        "it is PKCS#7 in a form that is not DER; `openssl pkcs7 -inform DER -print_certs` makes PEM of it".to_string()
    };
    let read = || {
        // What a tool wrote behind its end matters to nobody.
        let mut reader = SliceReader::new(bytes).ok()?;
        let content = ContentInfo::decode(&mut reader).ok()?;
        if content.content_type.to_string() != SIGNED_DATA {
            return None;
        }
        let data: SignedData = content.content.decode_as().ok()?;
        let (mut certificates, mut behind) = (Vec::new(), 0);
        // One more than the most is enough to be refused.
        for choice in data.certificates.iter().flat_map(|set| set.0.iter()).take(MOST + 1) {
            let CertificateChoices::Certificate(certificate) = choice else { continue };
            let der = certificate.to_der().ok()?;
            // Written anew it must be what stood there, else its thumbprint would be another's.
            let find = |from: usize| {
                let at = bytes.get(from..)?.windows(der.len()).position(|window| window == der)?;
                Some(from + at + der.len())
            };
            // Most stand in their order; only for the others the search begins anew.
            behind = find(behind).or_else(|| find(0))?;
            certificates.push(CertificateDer::from(der));
        }
        Some(certificates)
    };
    Some(read().ok_or_else(refused))
}

/// The certificates of a PEM file (RFC 7468). Of other sections only the names are looked at, so that no key is decoded.
fn written(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    const BEGIN: &str = "-----BEGIN ";
    let (mut certificates, mut labels) = (Vec::new(), Vec::new());
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let Some((label, body)) = after.split_once("-----") else { break };
        rest = body;
        labels.push(label);
        if !["CERTIFICATE", "X509 CERTIFICATE", "PKCS7", "CMS"].contains(&label) {
            continue;
        }
        let at = certificates.len() + 1;
        let (section, behind) = body
            .split_once(&format!("-----END {label}-----"))
            .filter(|(section, _)| !section.contains(BEGIN))
            .ok_or_else(|| format!("certificate {at}: its end is missing"))?;
        rest = behind;
        let compact: String = section.split_whitespace().collect();
        let der = STANDARD.decode(compact).map_err(|_| format!("certificate {at}: it is not base64"))?;
        match signed_data(&der) {
            // Active Directory's web pages call PKCS#7 a certificate, too.
            Some(found) => certificates.extend(found?),
            None => certificates.push(CertificateDer::from(der)),
        }
        if certificates.len() > MOST {
            return Err(format!("it holds more than {MOST} certificates"));
        }
    }
    if certificates.is_empty() {
        let is_there = |word: &str| labels.iter().any(|label| label.contains(word));
        return Err(match () {
            () if is_there("CERTIFICATE REQUEST") => REQUEST.into(),
            () if is_there("X509 CRL") => LIST.into(),
            () if is_there("KEY") => KEY.into(),
            () => "it holds no certificate; PEM begins with -----BEGIN CERTIFICATE-----".into(),
        });
    }
    sound(certificates)
}

fn sound(certificates: Vec<CertificateDer<'static>>) -> Result<Vec<CertificateDer<'static>>, String> {
    if certificates.len() > MOST {
        return Err(format!("it holds more than {MOST} certificates"));
    }
    for (index, certificate) in certificates.iter().enumerate() {
        Certificate::parse(certificate).map_err(|wrong| format!("certificate {}: {wrong}", index + 1))?;
    }
    Ok(certificates)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    macro_rules! sample {
        ($name:literal) => {
            include_bytes!(concat!("../../fixtures/inputs/", $name))
        };
    }

    fn read(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
        match held(bytes)? {
            Held::Certificates(certificates) => Ok(certificates),
            Held::Store => of_store(bytes, "rehearse").map_err(|error| format!("{error:?}")),
        }
    }

    #[test]
    fn every_wrapping_gives_the_same_certificate() {
        let new = CertificateDer::from(sample!("candidate.der").to_vec());
        for (bytes, count) in [
            (&sample!("candidate.der")[..], 1),
            (sample!("candidate.pem"), 2),
            (sample!("candidate.p7b"), 3),
            (sample!("candidate.p7b.pem"), 2),
            (sample!("candidate.pfx"), 2),
            (sample!("candidate-3des.pfx"), 2),
        ] {
            let certificates = read(bytes).unwrap();
            assert_eq!(certificates.len(), count);
            assert!(certificates.contains(&new));
        }
        let renamed = String::from_utf8_lossy(sample!("candidate.p7b.pem")).replace("PKCS7", "CERTIFICATE");
        assert_eq!(read(renamed.as_bytes()).unwrap().len(), 2, "as certsrv writes it");
    }

    #[test]
    fn what_is_no_certificate_is_called_what_it_is() {
        let pem = |label: &str| format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n").into_bytes();
        for (bytes, wrong) in [
            (sample!("candidate.csr").to_vec(), "it holds a request (CSR)"),
            (pem("NEW CERTIFICATE REQUEST"), "it holds a request (CSR)"),
            (pem("X509 CRL"), "it holds a list of revoked certificates"),
            (pem("EC PRIVATE KEY"), "it holds a key and no certificate"),
            (pem("CERTIFICATE"), "certificate 1: it is no X.509"),
            (b"-----BEGIN CERTIFICATE-----\nAAAA\n".to_vec(), "certificate 1: its end is missing"),
            (
                b"-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n".to_vec(),
                "certificate 1: it is not base64",
            ),
            (Vec::new(), "it holds no certificate"),
        ] {
            let told = read(&bytes).unwrap_err();
            assert!(told.contains(wrong), "{told}");
        }
    }

    #[test]
    fn a_wrong_password_is_told_apart() {
        assert!(matches!(of_store(sample!("candidate.pfx"), "wrong"), Err(StoreError::Password)));
        assert!(matches!(of_store(sample!("candidate-3des.pfx"), ""), Err(StoreError::Password)));
        assert_eq!(of_store(sample!("candidate-no-password.pfx"), "").unwrap().len(), 2);
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), der: bool) {
            let head: &[u8] = if der { &[0x30, 0x82] } else { b"-----BEGIN CERTIFICATE-----\n" };
            prop_assert!(read(&[head, &bytes].concat()).is_err());
        }

        #[test]
        fn a_byte_that_is_wrong_is_borne(at in 0usize..2000, byte: u8, which in 0usize..5) {
            let samples: [&[u8]; 5] = [
                sample!("candidate.der"), sample!("candidate.pem"), sample!("candidate.p7b"), sample!("candidate.p7b.pem"),
                sample!("candidate.csr"),
            ];
            let mut bytes = samples[which].to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            let _ = read(&bytes);
            let _ = read(&bytes[..at]);
        }
    }
}
