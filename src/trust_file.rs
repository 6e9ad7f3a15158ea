//! Files of certificates that an administrator states: roots in PEM, DER or PKCS#7.

use crate::inputs::{
    certificates::{Held, held},
    text,
};
use rustls::pki_types::CertificateDer;
use std::path::Path;

/// A file larger than this holds no list of roots; Mozilla's whole list has a quarter of a mebibyte.
const LARGEST: u64 = 16 << 20;

/// Reads the certificates of a file. The error is a sentence with the file, and which certificate of it is wrong.
pub fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = file.display();
    let bytes = text::bytes(file, LARGEST).map_err(|wrong| format!("the trust store {shown}: {wrong}"))?;
    match held(&bytes) {
        Ok(Held::Certificates(certificates)) => Ok(certificates),
        Ok(Held::Store) => Err(format!(
            "the trust store {shown}: it is PKCS#12, which holds keys; roots are wanted in PEM, DER or PKCS#7"
        )),
        Err(wrong) => Err(format!("the trust store {shown}: {wrong}")),
    }
}
