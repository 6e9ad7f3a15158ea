//! Files of certificates that an administrator states: PEM with one or many, or DER with one.

use exchange_preflight_checks::facts::certificate::Certificate;
use rustls::pki_types::{
    CertificateDer,
    pem::{self, PemObject as _},
};
use std::{fs, path::Path};

/// A file larger than this holds no list of roots; Mozilla's whole list has a quarter of a mebibyte.
const LARGEST: u64 = 16 << 20;

/// Reads the certificates of a file. The error is a sentence with the file, and which certificate of it is wrong.
pub fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = file.display();
    let unreadable = |error| format!("the trust store {shown} cannot be read: {error}");
    let size = fs::metadata(file).map_err(unreadable)?.len();
    if size > LARGEST {
        return Err(format!("the trust store {shown} has {size} bytes, which no list of roots has"));
    }
    let bytes = fs::read(file).map_err(unreadable)?;
    parse(&bytes).map_err(|wrong| format!("the trust store {shown}: {wrong}"))
}

fn parse(bytes: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    // DER begins with a SEQUENCE of two or more bytes of length, PEM with text.
    let certificates = if bytes.starts_with(&[0x30, 0x82]) {
        vec![CertificateDer::from(bytes.to_vec())]
    } else {
        let read = CertificateDer::pem_slice_iter(bytes).enumerate();
        let numbered =
            read.map(|(index, one)| one.map_err(|error| format!("certificate {}: {}", index + 1, in_words(&error))));
        numbered.collect::<Result<Vec<_>, _>>()?
    };
    if certificates.is_empty() {
        return Err("it holds no certificate; PEM begins with -----BEGIN CERTIFICATE-----".into());
    }
    for (index, certificate) in certificates.iter().enumerate() {
        Certificate::parse(certificate).map_err(|wrong| format!("certificate {}: {wrong}", index + 1))?;
    }
    Ok(certificates)
}

fn in_words(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::MissingSectionEnd { .. } => "its end is missing",
        pem::Error::Base64Decode(_) => "it is not base64",
        _ => "it is no PEM",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, wrong) in [
            ("", "no certificate"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n", "certificate 1: its end is missing"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "certificate 1: it is no X.509"),
            ("-----BEGIN CERTIFICATE-----\n?\n-----END CERTIFICATE-----\n", "certificate 1: it is not base64"),
        ] {
            let told = parse(text.as_bytes()).unwrap_err();
            assert!(told.contains(wrong), "{told}");
        }
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), der: bool) {
            let head: &[u8] = if der { &[0x30, 0x82] } else { b"-----BEGIN CERTIFICATE-----\n" };
            prop_assert!(parse(&[head, &bytes].concat()).is_err());
        }
    }
}
