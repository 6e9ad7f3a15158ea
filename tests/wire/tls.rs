use crate::wire::script::*;
use exchange_preflight::wire::{clock::Clock, conversation::Wire, stores::Stores};
use exchange_preflight_checks::{
    facts::{
        raw::Raw,
        tls::{Offer, TlsSeen, TlsSession, TlsVersion},
    },
    model::{
        ask::{Ask, Endpoint, Facts},
        evidence::{End, Miss, Reason, Reply, Stage},
    },
};
use std::{
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig, SupportedProtocolVersion,
        crypto::ring,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
        server::{ClientHello, ResolvesServerCert},
        sign::CertifiedKey,
        version::{TLS12, TLS13},
    },
};

pub(super) const RSA: &[u8] = include_bytes!("certificates/rsa.pem");
const RSA_KEY: &[u8] = include_bytes!("certificates/rsa.key");
pub(super) const ECDSA: &[u8] = include_bytes!("certificates/ecdsa.pem");
const ECDSA_KEY: &[u8] = include_bytes!("certificates/ecdsa.key");
const WEAK: &[u8] = include_bytes!("certificates/weak.pem");
const STRAY_KEY: &[u8] = include_bytes!("certificates/stray.key");

const BOTH: &[&SupportedProtocolVersion] = &[&TLS13, &TLS12];

pub(super) fn certificate(pem: &[u8]) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem).expect("a certificate")
}

pub(super) fn raw(pem: &[u8]) -> Raw {
    Raw(certificate(pem).to_vec())
}

/// A chain with the key of its first.
fn pair(chain: Vec<CertificateDer<'static>>, key: &[u8]) -> CertifiedKey {
    let key = PrivateKeyDer::from_pem_slice(key).expect("a key");
    CertifiedKey::new(chain, ring::sign::any_supported_type(&key).expect("a usable key"))
}

fn rsa() -> CertifiedKey {
    pair(vec![certificate(RSA)], RSA_KEY)
}

fn ecdsa() -> CertifiedKey {
    pair(vec![certificate(ECDSA)], ECDSA_KEY)
}

/// Shows the first certificate that the client can take, as servers with two do, and remembers which name was asked for.
#[derive(Debug)]
struct Shows {
    certificates: Vec<Arc<CertifiedKey>>,
    asked: Arc<Mutex<Vec<Option<String>>>>,
}

impl ResolvesServerCert for Shows {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.asked.lock().unwrap().push(hello.server_name().map(Into::into));
        let fits = |one: &&Arc<CertifiedKey>| one.key.choose_scheme(hello.signature_schemes()).is_some();
        self.certificates.iter().find(fits).cloned()
    }
}

type Asked = Arc<Mutex<Vec<Option<String>>>>;

fn config(certificates: Vec<CertifiedKey>, versions: &[&'static SupportedProtocolVersion]) -> (ServerConfig, Asked) {
    let asked = Asked::default();
    let certificates = certificates.into_iter().map(Arc::new).collect();
    let shows = Shows { certificates, asked: Arc::clone(&asked) };
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .expect("versions")
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shows));
    (config, asked)
}

/// A server's side with both certificates, ECDSA first; `protocols` are its own of ALPN.
pub(super) fn acceptor(protocols: &[&[u8]]) -> TlsAcceptor {
    let (mut config, _) = config(vec![ecdsa(), rsa()], BOTH);
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// A server that begins TLS and hears what comes.
async fn server(
    certificates: Vec<CertifiedKey>,
    versions: &[&'static SupportedProtocolVersion],
) -> (SocketAddr, Asked) {
    let (config, asked) = config(certificates, versions);
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let address = tcp(move |stream: TcpStream| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                while stream.read(&mut [0; 4096]).await.is_ok_and(|length| length > 0) {}
            }
        }
    })
    .await;
    (address, asked)
}

async fn look(to: SocketAddr, offer: Offer) -> Reply {
    ask(to, TlsSession { offer, name: None }).await
}

fn seen(reply: Reply) -> TlsSeen {
    let Facts::TlsSession(seen) = told(reply) else { panic!("facts of another kind") };
    seen
}

fn said(reply: &Reply) -> &str {
    let End::Miss(Miss { reason: Reason::ServerSaid(text) | Reason::NotTheProtocol(text), .. }) = &reply.end else {
        panic!("nothing was said: {reply:?}")
    };
    text
}

#[tokio::test]
async fn the_whole_chain_is_kept_whatever_it_is_worth() {
    for (version, number) in [(&TLS13, 0x0304), (&TLS12, 0x0303)] {
        // Each is self-signed, so this is a chain of nothing.
        let chain = vec![certificate(RSA), certificate(WEAK), certificate(ECDSA)];
        let (address, _) = server(vec![pair(chain, RSA_KEY)], &[version]).await;
        let seen = seen(look(address, Offer::Usual).await);
        assert_eq!(seen.chain, [raw(RSA), raw(WEAK), raw(ECDSA)]);
        assert_eq!((seen.version, seen.unproven, seen.has_staple), (Some(number), None, false));
        assert!(seen.suite.is_some());
    }
}

#[tokio::test]
async fn a_server_with_two_certificates_shows_the_one_that_is_asked_for() {
    for versions in [&[&TLS13][..], &[&TLS12], BOTH] {
        for certificates in [|| vec![rsa(), ecdsa()], || vec![ecdsa(), rsa()]] {
            let (address, _) = server(certificates(), versions).await;
            for (offer, expected) in [(Offer::RsaOnly, RSA), (Offer::EcdsaOnly, ECDSA)] {
                assert_eq!(seen(look(address, offer).await).chain, [raw(expected)], "{offer:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_kind_of_certificate_that_is_not_there_is_an_alert() {
    for versions in [&[&TLS13][..], &[&TLS12], BOTH] {
        for (only, offer) in [(rsa(), Offer::EcdsaOnly), (ecdsa(), Offer::RsaOnly)] {
            let (address, _) = server(vec![only], versions).await;
            let reply = look(address, offer).await;
            assert_eq!(missed(&reply), (Stage::Tls, Why::ServerSaid));
            assert!(said(&reply).starts_with("TLS alert "), "{}", said(&reply));
        }
    }
}

#[tokio::test]
async fn a_proof_that_does_not_fit_is_told_and_does_not_stop_the_look() {
    for version in [&TLS13, &TLS12] {
        let chain = || vec![certificate(ECDSA)];
        let (stray, _) = server(vec![pair(chain(), STRAY_KEY)], &[version]).await;
        let shown = seen(look(stray, Offer::Usual).await);
        assert_eq!(shown.chain, [raw(ECDSA)]);
        assert!(shown.disproven && shown.unproven.is_none());
        let (weak, _) = server(vec![pair(vec![certificate(WEAK)], RSA_KEY)], &[version]).await;
        let weak = seen(look(weak, Offer::Usual).await);
        assert!(!weak.disproven, "not checkable is not bad");
        let unproven = weak.unproven.expect("it cannot be checked");
        assert!(unproven.starts_with("not checkable: ") && unproven.ends_with("1024"), "{unproven}");
        let nonsense = CertificateDer::from(b"no certificate \x1b[2J".to_vec());
        let (bent, _) = server(vec![pair(vec![nonsense.clone()], ECDSA_KEY)], &[version]).await;
        let shown = seen(look(bent, Offer::Usual).await);
        assert_eq!(shown.chain, [Raw(nonsense.to_vec())]);
        assert!(shown.unproven.is_some_and(|why| why.starts_with("not checkable: ")));
    }
}

#[tokio::test]
async fn a_staple_is_noticed() {
    for version in [&TLS13, &TLS12] {
        let mut stapled = rsa();
        stapled.ocsp = Some(b"whatever it says".to_vec());
        let (address, _) = server(vec![stapled], &[version]).await;
        assert!(seen(look(address, Offer::Usual).await).has_staple);
    }
}

#[tokio::test]
async fn only_a_name_is_sent_as_a_name() {
    let (address, asked) = server(vec![rsa()], BOTH).await;
    let wire = Wire::new(Clock::start(), patient(), None, Stores::default(), None).expect("a wire");
    for offer in [Offer::Usual, Offer::UpTo(TlsVersion::Tls12)] {
        for host in ["mail.contoso.com", "192.0.2.1", "::1", "two words", ""] {
            let to = Endpoint { host: host.into(), address: Some(address.ip()), port: address.port() };
            seen(converse(&wire, &Ask::new(to, TlsSession { offer, name: None })).await);
            let name = (host == "mail.contoso.com").then(|| host.to_string());
            assert_eq!(asked.lock().unwrap().pop(), Some(name), "{host}");
        }
    }
}

#[tokio::test]
async fn a_chain_may_be_long_but_not_without_end() {
    let long = |certificates| pair(vec![certificate(RSA); certificates], RSA_KEY);
    let (address, _) = server(vec![long(60)], BOTH).await;
    assert_eq!(seen(look(address, Offer::Usual).await).chain.len(), 60);
    let (address, _) = server(vec![long(400)], BOTH).await;
    for offer in [Offer::Usual, Offer::UpTo(TlsVersion::Tls12)] {
        assert_eq!(why(&look(address, offer).await), (Stage::Tls, Why::NotTheProtocol));
    }
}

const OFFERS: [Offer; 3] = [Offer::Usual, Offer::RsaOnly, Offer::UpTo(TlsVersion::Tls10)];

#[tokio::test]
async fn who_speaks_no_tls_is_told_by_what_he_said() {
    for offer in OFFERS {
        for plain in ["220 mail.contoso.com ESMTP ready\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"] {
            let reply = look(says(plain, Then::Wait).await, offer).await;
            assert_eq!(missed(&reply), (Stage::Tls, Why::NotTheProtocol), "{plain}");
            assert!(said(&reply).starts_with(&plain[..12]), "{}", said(&reply));
        }
        let bent: [&[u8]; 5] = [
            &[0x30, 0x0c, 0x02, 0x01, 0x00, 0x78],
            &[0; 100],
            &[0xff; 100],
            &[0x16, 3, 3, 0xff, 0xff, 0],
            &[0x16, 3, 3, 0, 6, 2, 0, 0, 2, 3, 3],
        ];
        for bytes in bent {
            let reply = look(says(bytes, Then::Wait).await, offer).await;
            assert_eq!(missed(&reply), (Stage::Tls, Why::NotTheProtocol), "{bytes:02x?}");
        }
    }
}

#[tokio::test]
async fn an_alert_is_told_by_its_name() {
    for offer in OFFERS {
        for (number, name) in [(40, "handshake_failure"), (70, "protocol_version"), (80, "internal_error"), (99, "99")]
        {
            let reply = look(says([21, 3, 1, 0, 2, 2, number], Then::Close).await, offer).await;
            assert_eq!(missed(&reply), (Stage::Tls, Why::ServerSaid));
            assert_eq!(said(&reply), format!("TLS alert {name}"));
        }
    }
}

#[tokio::test]
async fn a_handshake_may_end_in_any_state() {
    // A ServerHello that has begun.
    let begun = [0x16, 3, 3, 0, 80, 2, 0, 0, 76, 3, 3, 7, 7, 7];
    let mut cases = JoinSet::new();
    for offer in OFFERS {
        for length in [0, 1, 6, begun.len()] {
            for (then, expected) in [(Then::Close, Why::Closed), (Then::Reset, Why::Closed), (Then::Wait, Why::Silent)]
            {
                cases.spawn(async move {
                    let server = says(&begun[..length], then).await;
                    let reply = ask_within(budgets_for(expected), server, TlsSession { offer, name: None }).await;
                    assert_eq!(missed(&reply), (Stage::Tls, expected), "{length} bytes");
                });
            }
        }
        cases.spawn(async move {
            let dripping = ask_briefly(drips(begun).await, TlsSession { offer, name: None }).await;
            assert_eq!(missed(&dripping), (Stage::Tls, Why::Silent));
            assert_eq!(missed(&look(closed_tcp().await, offer).await), (Stage::Connect, Why::Refused));
        });
    }
    cases.join_all().await;
}

/// What an old server sends: records of a version, cut where the test says.
pub(super) fn old_server(version: u16, chain: &[Raw], record: usize) -> Vec<u8> {
    let sized = |width: usize, contents: &[u8]| {
        let length = u32::try_from(contents.len()).expect("small").to_be_bytes();
        [&length[4 - width..], contents].concat()
    };
    let message = |kind: u8, contents: &[u8]| [&[kind][..], &sized(3, contents)].concat();
    let hello = [&version.to_be_bytes()[..], &[9; 32], &[0, 0, 0x35, 0]].concat();
    let chain: Vec<u8> = chain.iter().flat_map(|certificate| sized(3, &certificate.0)).collect();
    let messages = [message(2, &hello), message(11, &sized(3, &chain)), message(14, &[])].concat();
    let in_record = |part: &[u8]| [&[22][..], &version.to_be_bytes(), &sized(2, part)].concat();
    messages.chunks(record).flat_map(in_record).collect()
}

#[tokio::test]
async fn an_old_server_shows_its_chain_to_an_old_client() {
    let chain = [raw(WEAK), raw(RSA)];
    for (up_to, version) in [(TlsVersion::Tls10, 0x0301), (TlsVersion::Tls11, 0x0302), (TlsVersion::Tls12, 0x0301)] {
        for record in [16_384, 100, 3] {
            let server = says(old_server(version, &chain, record), Then::Wait).await;
            let seen = seen(look(server, Offer::UpTo(up_to)).await);
            assert_eq!((seen.version, seen.suite), (Some(version), Some(0x0035)));
            assert_eq!(seen.chain, chain);
        }
    }
}

#[tokio::test]
async fn what_an_old_server_showed_outlives_what_came_after() {
    let whole = old_server(0x0301, &[raw(WEAK)], 16_384);
    for (then, expected) in [(Then::Close, Why::Closed), (Then::Wait, Why::Silent)] {
        let server = says(&whole[..300], then).await;
        let offer = Offer::UpTo(TlsVersion::Tls10);
        let reply = ask_within(budgets_for(expected), server, TlsSession { offer, name: None }).await;
        assert_eq!(why(&reply).1, expected);
        // The record was not whole, so not even the hello is known.
        assert_eq!(reply.facts, None);
        let server = says(&old_server(0x0301, &[raw(WEAK)], 100)[..300], then).await;
        let reply = ask_within(budgets_for(expected), server, TlsSession { offer, name: None }).await;
        assert_eq!(why(&reply), (Stage::Tls, expected));
        let Some(Facts::TlsSession(seen)) = reply.facts else { panic!("the hello was there: {reply:?}") };
        assert_eq!((seen.version, seen.chain.len()), (Some(0x0301), 0));
    }
}

/// A server of today is another implementation of what the hello says.
#[tokio::test]
async fn a_library_takes_the_hello_of_an_old_client() {
    for certificates in [vec![rsa()], vec![ecdsa()]] {
        let expected: Vec<_> = certificates[0].cert.iter().map(|one| Raw(one.to_vec())).collect();
        let (address, _) = server(certificates, BOTH).await;
        let seen = seen(look(address, Offer::UpTo(TlsVersion::Tls12)).await);
        assert_eq!((seen.version, seen.chain), (Some(0x0303), expected));
        let reply = look(address, Offer::UpTo(TlsVersion::Tls11)).await;
        assert_eq!(missed(&reply), (Stage::Tls, Why::ServerSaid));
        assert!(said(&reply).starts_with("TLS alert "), "{}", said(&reply));
    }
}

#[tokio::test]
async fn an_answer_of_old_is_no_other_protocol() {
    let server = says(old_server(0x0301, &[raw(WEAK)], 16_384), Then::Wait).await;
    assert_eq!(missed(&look(server, Offer::Usual).await), (Stage::Tls, Why::ServerSaid));
}

#[tokio::test]
async fn a_client_that_leaves_says_so() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let server = tcp({
        let heard = Arc::clone(&heard);
        move |mut stream| {
            let heard = Arc::clone(&heard);
            async move {
                let _ = stream.read(&mut [0; 4096]).await;
                let _ = stream.write_all(&old_server(0x0302, &[raw(RSA)], 16_384)).await;
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
                heard.lock().unwrap().push(rest);
            }
        }
    })
    .await;
    seen(look(server, Offer::UpTo(TlsVersion::Tls11)).await);
    while heard.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(heard.lock().unwrap()[0], [21, 3, 2, 0, 2, 1, 90, 21, 3, 2, 0, 2, 1, 0]);
}

/// `openssl s_server`, which speaks what rustls has forgotten.
struct OldServer {
    process: Child,
    address: SocketAddr,
}

impl OldServer {
    fn start(certificate: &str, options: &[&str]) -> Self {
        let file = |kind: &str| {
            let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/certificates");
            format!("{root}/{certificate}.{kind}")
        };
        let mut process = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-cert", &file("pem"), "-key", &file("key")])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        let lines = BufReader::new(process.stdout.take().expect("it is piped")).lines();
        let address = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("ACCEPT ")?.parse().ok())
            .expect("openssl says where it listens");
        Self { process, address }
    }
}

impl Drop for OldServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
#[ignore = "needs openssl for an old server"]
async fn openssl_of_old_shows_its_chain() {
    let versions = [
        ("-tls1", TlsVersion::Tls10, &["ECDHE-RSA-AES128-SHA", "AES256-SHA", "DHE-RSA-AES128-SHA"][..]),
        ("-tls1_1", TlsVersion::Tls11, &["ECDHE-RSA-AES256-SHA", "AES128-SHA"]),
        ("-tls1_2", TlsVersion::Tls12, &["ECDHE-RSA-AES128-SHA256", "AES256-GCM-SHA384", "DHE-RSA-AES256-SHA256"]),
    ];
    for certificate in [("rsa", RSA), ("weak", WEAK)] {
        for (option, version, ciphers) in versions {
            for cipher in ciphers {
                let cipher = format!("{cipher}:@SECLEVEL=0");
                let server = OldServer::start(certificate.0, &[option, "-cipher", &cipher]);
                let seen = seen(look(server.address, Offer::UpTo(version)).await);
                assert_eq!((seen.version, seen.chain), (Some(version.number()), vec![raw(certificate.1)]), "{cipher}");
                let reply = look(server.address, Offer::Usual).await;
                assert_eq!(missed(&reply), (Stage::Tls, Why::ServerSaid), "{cipher}");
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs openssl for an old server"]
async fn a_weak_key_is_seen_and_not_called_bad() {
    let server = OldServer::start("weak", &["-tls1_2", "-cipher", "ALL:@SECLEVEL=0"]);
    let seen = seen(look(server.address, Offer::Usual).await);
    assert_eq!(seen.chain, [raw(WEAK)]);
    assert!(seen.unproven.is_some_and(|why| why.starts_with("not checkable: ")));
}

#[tokio::test]
#[ignore = "needs openssl for an old server"]
async fn openssl_shows_the_certificate_that_is_asked_for() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/wire/certificates");
    let (certificate, key) = (format!("{root}/ecdsa.pem"), format!("{root}/ecdsa.key"));
    for version in ["-tls1_2", "-tls1_3"] {
        let server = OldServer::start("rsa", &[version, "-dcert", &certificate, "-dkey", &key]);
        for (offer, expected) in [(Offer::RsaOnly, RSA), (Offer::EcdsaOnly, ECDSA)] {
            assert_eq!(seen(look(server.address, offer).await).chain, [raw(expected)], "{version} {offer:?}");
        }
        let server = OldServer::start("rsa", &[version]);
        let reply = look(server.address, Offer::EcdsaOnly).await;
        assert_eq!((missed(&reply), said(&reply)), ((Stage::Tls, Why::ServerSaid), "TLS alert handshake_failure"));
    }
}
