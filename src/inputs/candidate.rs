//! The certificate that is to be installed, from the file that its authority sent or Windows exported, with what came beside it.

use super::{
    certificates::{Held, StoreError, held, of_store},
    text,
};
use crate::password;
use exchange_preflight_checks::facts::{
    certificate::{Certificate, Signed},
    raw::Raw,
};
use std::path::Path;
use zeroize::Zeroizing;

/// A certificate with all its intermediates has some kibibytes.
const LARGEST: u64 = 16 << 20;

/// A certificate, and what came with it.
#[derive(Debug)]
pub struct Candidate {
    /// Itself first, then its issuers as far as they are there, then the rest.
    pub chain: Vec<Raw>,
    /// It is in a form that its key is in, too, and that Windows takes so (PKCS#12).
    pub has_key: bool,
}

/// Reads a certificate and what came with it. The empty password is tried before any is asked for. The error is a sentence with
/// the file.
pub fn read(file: &Path, password_fd: Option<u32>) -> Result<Candidate, String> {
    let shown = file.display().to_string();
    let in_file = |wrong: String| format!("the certificate {shown}: {wrong}");
    let bytes = Zeroizing::new(text::bytes(file, LARGEST).map_err(in_file)?);
    let (certificates, has_key) = match held(&bytes).map_err(in_file)? {
        Held::Certificates(certificates) => (certificates, false),
        Held::Store => {
            password::keep_no_core();
            (stored(&bytes, || password::of_certificate(&shown, password_fd)).map_err(in_file)?, true)
        }
    };
    let parsed = certificates.iter().map(|der| Certificate::parse(der)).collect::<Result<Vec<_>, _>>();
    let chain = in_order(parsed.map_err(in_file)?).map_err(in_file)?;
    Ok(Candidate { chain, has_key })
}

fn stored(
    bytes: &[u8],
    password: impl FnOnce() -> Result<Zeroizing<String>, String>,
) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, String> {
    let told = |error| match error {
        StoreError::Password => "its password is another".to_string(),
        StoreError::Unreadable(wrong) => format!("it is PKCS#12 and cannot be read: {wrong}"),
    };
    match of_store(bytes, "") {
        Err(StoreError::Password) => of_store(bytes, &password()?).map_err(told),
        read => read.map_err(told),
    }
}

/// The one that is no authority and has issued none of the others stands first.
fn in_order(mut certificates: Vec<Certificate>) -> Result<Vec<Raw>, String> {
    let mut seen = Vec::new();
    certificates.retain(|certificate| {
        let is_new = !seen.contains(&certificate.thumbprint);
        seen.push(certificate.thumbprint.clone());
        is_new
    });
    let issued = |one: &Certificate| {
        certificates.iter().any(|other| one.thumbprint != other.thumbprint && is_signed(other, one))
    };
    let leaves: Vec<_> =
        certificates.iter().enumerate().filter(|(_, one)| !one.may_issue() && !issued(one)).map(|(at, _)| at).collect();
    let mut chain = match leaves.as_slice() {
        [at] => vec![certificates.remove(*at)],
        [] => return Err("it holds authorities only, and no certificate of a server".into()),
        several => {
            let name = |at: &usize| format!("{} (sha1 {})", certificates[*at].subject, certificates[*at].thumbprint);
            let names: Vec<_> = several.iter().map(name).collect();
            return Err(format!(
                "it holds {} certificates of servers; one is wanted: {}",
                several.len(),
                names.join(", ")
            ));
        }
    };
    while let Some(at) = chain.last().and_then(|last| certificates.iter().position(|one| is_signed(last, one))) {
        chain.push(certificates.remove(at));
    }
    chain.extend(certificates);
    Ok(chain.into_iter().map(|certificate| Raw(certificate.der)).collect())
}

fn is_signed(certificate: &Certificate, issuer: &Certificate) -> bool {
    certificate.issuer.der == issuer.subject.der && certificate.signed_by(issuer) != Signed::No
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    fn sample(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/inputs").join(name)
    }

    #[test]
    fn the_certificate_stands_before_its_issuers() {
        let der = std::fs::read(sample("candidate.der")).unwrap();
        for (name, count) in [
            ("candidate.der", 1),
            ("candidate.pem", 2),
            ("candidate.p7b", 3),
            ("candidate.p7b.pem", 2),
            ("candidate-no-password.pfx", 2),
        ] {
            let Candidate { chain, has_key } = read(&sample(name), None).unwrap();
            assert_eq!((chain.len(), &chain[0].0), (count, &der), "{name}");
            assert_eq!(has_key, name.contains("password"), "{name}");
        }
    }

    #[test]
    fn a_store_is_asked_with_nothing_first() {
        let bytes = std::fs::read(sample("candidate.pfx")).unwrap();
        assert_eq!(stored(&bytes, || Ok(Zeroizing::new("rehearse".into()))).unwrap().len(), 2);
        assert_eq!(stored(&bytes, || Ok(Zeroizing::new("other".into()))).unwrap_err(), "its password is another");
        let open = std::fs::read(sample("candidate-no-password.pfx")).unwrap();
        assert!(stored(&open, || panic!("no password is needed")).is_ok());
    }

    #[test]
    fn two_servers_certificates_are_one_too_many() {
        let parse = |name: &str| {
            let Ok(Held::Certificates(found)) = held(&std::fs::read(sample(name)).unwrap()) else { panic!("{name}") };
            found.iter().map(|der| Certificate::parse(der).unwrap()).collect::<Vec<_>>()
        };
        let authorities = parse("candidate.p7b").into_iter().filter(Certificate::may_issue).collect();
        assert!(in_order(authorities).unwrap_err().contains("authorities only"));
        let other = include_str!("../../fixtures/inputs/certificates.json");
        let rows: Vec<serde_json::Value> = serde_json::from_str(other.trim_start_matches('\u{feff}')).unwrap();
        let old = super::super::values::bytes(&rows[0]["RawData"]).unwrap().unwrap();
        let two = [parse("candidate.pem"), vec![Certificate::parse(&old).unwrap()]].concat();
        let told = in_order(two).unwrap_err();
        assert!(told.contains("2 certificates of servers") && told.contains("mail.contoso.com"), "{told}");
        let twice = [parse("candidate.pem"), parse("candidate.p7b")].concat();
        assert_eq!(in_order(twice).unwrap().len(), 3, "the same one twice is one");
    }
}
