use crate::wire::{
    script::*,
    tls::{ECDSA, RSA, certificate, raw},
};
use exchange_preflight::wire::{clock::Clock, conversation::Wire, stores::Stores};
use exchange_preflight_checks::{
    facts::{
        raw::Raw,
        trust::{MOZILLA, PlatformTrust, PlatformWord, RootsFound, RootsNamed, SYSTEM},
    },
    model::{
        ask::{Ask, Endpoint, Facts, Question},
        evidence::{Reply, Stage},
    },
};
use std::collections::BTreeMap;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

async fn here(stores: Stores, what: impl Into<Question>) -> Reply {
    let wire = Wire::new(Clock::start(), brief(), None, stores, None).expect("a wire");
    converse(&wire, &Ask::new(Endpoint::this_machine(), what)).await
}

fn roots(reply: Reply) -> RootsFound {
    let Facts::RootsNamed(found) = told(reply) else { panic!("facts of another kind") };
    found
}

fn named(store: &str, subject: &[u8]) -> RootsNamed {
    RootsNamed { store: store.into(), subject: Raw(subject.to_vec()) }
}

fn subject(certificate: &[u8]) -> Vec<u8> {
    X509Certificate::from_der(certificate).expect("a certificate").1.subject().as_raw().to_vec()
}

fn stated(certificates: &[&[u8]]) -> Stores {
    let certificates = certificates.iter().map(|pem| certificate(pem)).collect();
    Stores::new(BTreeMap::from([("contoso".into(), certificates)]))
}

#[tokio::test]
async fn the_public_roots_are_found_by_their_names() {
    let root = &webpki_root_certs::TLS_SERVER_ROOT_CERTS[7];
    let found = roots(here(Stores::default(), named(MOZILLA, &subject(root))).await);
    assert!(found.certificates.contains(&Raw(root.to_vec())));
    assert!(found.digest.len() == 64 && found.digest.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let none = roots(here(Stores::default(), named(MOZILLA, b"nobody's name")).await);
    assert_eq!((none.certificates.len(), none.digest), (0, found.digest));
}

#[tokio::test]
async fn a_stated_store_is_known_by_its_certificates_and_not_by_their_order() {
    let asked = named("contoso", &subject(&certificate(RSA)));
    let found = roots(here(stated(&[RSA, ECDSA]), asked.clone()).await);
    assert_eq!(found.certificates, [raw(RSA)]);
    assert_eq!(roots(here(stated(&[ECDSA, RSA, RSA]), asked.clone()).await), found);
    assert_ne!(roots(here(stated(&[RSA]), asked).await).digest, found.digest);
}

#[tokio::test]
async fn a_store_that_nobody_stated_is_not_an_empty_one() {
    for name in ["fabrikam", "", "\u{1b}[2J"] {
        let reply = here(stated(&[RSA]), named(name, &subject(&certificate(RSA)))).await;
        assert_eq!(missed(&reply), (Stage::Reply, Why::Local));
    }
}

/// Whether this machine has roots is not for a test to say; it has to be told either way.
#[tokio::test]
async fn the_system_says_what_it_trusts_or_why_it_cannot() {
    let reply = here(Stores::default(), named(SYSTEM, &subject(&certificate(RSA)))).await;
    let question = |chain: &[&[u8]], name: &str| PlatformTrust {
        chain: chain.iter().map(|pem| raw(pem)).collect(),
        name: name.into(),
    };
    if reply.facts.is_none() {
        assert_eq!(missed(&reply), (Stage::Reply, Why::Local));
        let reply = here(Stores::default(), question(&[RSA], "mail.contoso.com")).await;
        assert_eq!(missed(&reply), (Stage::Reply, Why::Local));
        return;
    }
    assert_eq!(roots(reply).certificates, []);
    for asked in [
        question(&[RSA], "mail.contoso.com"),
        question(&[RSA, ECDSA], "other.contoso.com"),
        question(&[], "mail.contoso.com"),
        question(&[RSA], "two words"),
        PlatformTrust { chain: vec![Raw(b"no certificate".to_vec())], name: "mail.contoso.com".into() },
    ] {
        let Facts::PlatformTrust(PlatformWord { trusts, said }) = told(here(Stores::default(), asked).await) else {
            panic!("facts of another kind")
        };
        assert!(!trusts && !said.is_empty() && said.chars().count() <= 200, "{said}");
    }
}
