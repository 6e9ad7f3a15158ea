//! A corpus of chains, good ones and what becomes of them (`tests/chains/generate`), judged by us, by rustls and by
//! OpenSSL: whoever answers otherwise than we do has a reason that stands in a table here.

use crate::judgement::root;
use Peer::{OpenSsl, Rustls};
use Said::{ByThem, ByUs};
use exchange_preflight_checks::facts::{certificate::Certificate, chain::best_way, verification};
use jiff::Timestamp;
use rustls::{
    RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier},
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
    process::Command,
    sync::Arc,
    thread,
    time::Duration,
};

#[derive(Deserialize)]
struct Corpus {
    now: i64,
    chains: Vec<Chain>,
}

#[derive(Deserialize)]
struct Chain {
    folder: String,
    name: String,
    changes: Vec<Change>,
    host: String,
}

#[derive(Deserialize)]
struct Change {
    kind: String,
    what: String,
    at: String,
}

/// Whoever judges chains beside us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Peer {
    Rustls,
    OpenSsl,
}

/// Taken, or why not, in the words of whoever refuses.
type Answer = Result<(), String>;

/// What was said of one chain.
struct Judged<'c> {
    chain: &'c Chain,
    ours: Answer,
    theirs: [(Peer, Answer); 2],
}

/// Why a peer may answer otherwise than we do.
struct Explanation {
    peer: Peer,
    /// What was changed, each anywhere, or at a place such as `expired@root`.
    after: &'static [&'static str],
    /// What we say where we refuse, or they where they do: part of it.
    said: Said,
    /// The rule of each, and where it stands.
    because: &'static str,
}

enum Said {
    /// We refuse with these words, and they take it.
    ByUs(&'static str),
    /// They refuse with these words, and we take it.
    ByThem(&'static str),
}
const EXPLANATIONS: &[Explanation] = &[
    // Rustls.
    Explanation {
        peer: Rustls,
        after: &["no-key-cert-sign"],
        said: ByUs("is no authority"),
        because: "rustls-webpki does not look at keyUsage of issuers (verify_cert.rs says so); RFC 5280 section 6.1.4 (n) has it checked, and OpenSSL does",
    },
    Explanation {
        peer: Rustls,
        after: &["rsa-1024@leaf"],
        said: ByUs("an RSA key of 1024 bits only"),
        because: "rustls meets the leaf's key in the handshake only, and refuses it there (ring verifies RSA from 2048 bits)",
    },
    Explanation {
        peer: Rustls,
        after: &["self-signed-authority-and-known", "self-signed-and-known"],
        said: ByThem(""),
        because: "a server's own certificate that is known itself is trusted because somebody said so, whatever it is and however signed; rustls verifies it all the same",
    },
    // OpenSSL, where it takes what we refuse.
    Explanation {
        peer: OpenSsl,
        after: &["issuer-in-other-string-type", "issuer-in-other-case"],
        said: ByUs("no root that it knows"),
        because: "OpenSSL brings names into one form before it compares them (RFC 5280 section 7.1); rustls and we compare bytes, which authorities keep alike",
    },
    Explanation {
        peer: OpenSsl,
        after: ANYTHING,
        said: ByUs("cannot be checked here"),
        because: "ring verifies neither P-521 nor SHA-512 with P-256 or P-384; we say that we cannot tell",
    },
    Explanation {
        peer: OpenSsl,
        after: &["7-authorities"],
        said: ByUs("MaximumPathDepthExceeded"),
        because: "rustls-webpki takes 6 authorities below a root (MAX_SUB_CA_COUNT), OpenSSL 100 (its manual, X509_VERIFY_PARAM_set_depth); we say that we cannot tell",
    },
    Explanation {
        peer: OpenSsl,
        after: &["8-authorities", "9-authorities", "10-authorities"],
        said: ByUs("no root that it knows"),
        because: "we look for ways of 8 certificates at the most (LONGEST)",
    },
    Explanation {
        peer: OpenSsl,
        after: &["began-in-1930", "began-in-1960"],
        said: ByUs("BadDerTime"),
        because: "rustls-webpki knows no time before 1970; we say that we cannot tell",
    },
    Explanation {
        peer: OpenSsl,
        after: &["length-not-minimal"],
        said: ByUs("TrailingData"),
        because: "OpenSSL reads BER where RFC 5280 section 4.1 wants DER; rustls-webpki does not, and we say that we cannot tell",
    },
    Explanation {
        peer: OpenSsl,
        after: &["bytes-follow@leaf"],
        said: ByUs("bytes follow the certificate"),
        because: "OpenSSL's reader of files drops what follows a certificate; in TLS it refuses that (tls_process_server_certificate, CERT_LENGTH_MISMATCH)",
    },
    Explanation {
        peer: OpenSsl,
        after: &["bytes-follow@between"],
        said: ByUs(""),
        because: "the same of an issuer's: we leave out what cannot be read",
    },
    Explanation {
        peer: OpenSsl,
        after: &["leaf-of-version-1"],
        said: ByUs("UnsupportedCertVersion"),
        because: "rustls-webpki reads version 3 alone; we say that we cannot tell",
    },
    Explanation {
        peer: OpenSsl,
        after: &["policies-critical", "explicit-policy-required"],
        said: ByUs("UnsupportedCriticalExtension"),
        because: "rustls-webpki processes no policies and so refuses critical ones (RFC 5280 section 4.2); we say that we cannot tell",
    },
    Explanation {
        peer: OpenSsl,
        after: &["permitted-directory", "excluded-another-directory", "permitted-mail-only"],
        said: ByUs("names of other kinds"),
        because: "rustls-webpki refuses constraints on names other than those of hosts (subject_name/mod.rs: not implemented); we say that we cannot tell",
    },
    Explanation {
        peer: OpenSsl,
        after: &["wildcard-reaches-excluded", "excluded-exactly", "permitted-and-excluded"],
        said: ByUs("may not sign for such a name"),
        because: "a wildcard that could stand for an excluded name is excluded to rustls-webpki; OpenSSL compares it as text (RFC 5280 does not speak of wildcards)",
    },
    Explanation {
        peer: OpenSsl,
        after: &[
            "malformed-name-beside-permitted",
            "beside-address-as-name",
            "beside-bare-star",
            "beside-empty",
            "beside-nul",
            "beside-space",
            "wildcard-in-part",
        ],
        said: ByUs("MalformedDnsIdentifier"),
        because: "a name that is none cannot be held against constraints: rustls-webpki refuses it, OpenSSL compares its bytes; we say that we cannot tell",
    },
    Explanation {
        peer: OpenSsl,
        after: &["path-length-huge"],
        said: ByUs("BadDer"),
        because: "rustls-webpki reads path lengths of one byte; we say that we cannot tell",
    },
    Explanation {
        peer: OpenSsl,
        after: &["path-length-and-self-issued", "renewed-key"],
        said: ByUs("the library says"),
        because: "authorities that signed a new key of their own do not count (RFC 5280 section 6.1.4, item l); rustls-webpki counts them, and we say that we cannot tell",
    },
    Explanation {
        peer: OpenSsl,
        after: &["common-name-only", "leaf-without-extensions", "no-dns-name", "name-as-url", "names-empty"],
        said: ByUs("the name is not in it"),
        because: "OpenSSL falls back to the common name where there is no DNS name (X509_check_host); RFC 9525 section 2 forbids it",
    },
    Explanation {
        peer: OpenSsl,
        after: &["wildcard-in-part"],
        said: ByUs("the name is not in it"),
        because: "OpenSSL lets a wildcard be part of a label (X509_check_host); RFC 9525 section 6.3 wants it to be all of it",
    },
    Explanation {
        peer: OpenSsl,
        after: &["leaf-is-authority"],
        said: ByUs("an authority's own"),
        because: "rustls-webpki, and Firefox, take no authority's certificate for a server's (CaUsedAsEndEntity); RFC 5280 does not forbid it",
    },
    // OpenSSL, where it refuses what we take.
    Explanation {
        peer: OpenSsl,
        after: &["expired@root", "ended-a-second-ago@root", "ends-before-it-begins@root"],
        said: ByThem("certificate has expired"),
        because: "OpenSSL wants a root to be alive; to RFC 5280 section 6.1.1 (d) it is a name and a key without dates, and to rustls",
    },
    Explanation {
        peer: OpenSsl,
        after: &["not-yet@root", "begins-in-a-second@root", "ends-before-it-begins@root"],
        said: ByThem("certificate is not yet valid"),
        because: "the same of a root that is too young",
    },
    Explanation {
        peer: OpenSsl,
        after: &["root-no-authority", "root-no-key-cert-sign", "root-for-clients", "unknown-critical@root"],
        said: ByThem("error"),
        because: "OpenSSL applies a root's own usages and critical extensions; to RFC 5280 section 6.1.1 (d) it is a name and a key, and to rustls",
    },
    Explanation {
        peer: OpenSsl,
        after: &["root-path-length-too-short"],
        said: ByThem("path length constraint exceeded"),
        because: "the same of a root's path length",
    },
    Explanation {
        peer: OpenSsl,
        after: &["ends-now"],
        said: ByThem("certificate has expired"),
        because: "the last second belongs to the life (RFC 5280 section 4.1.2.5); to OpenSSL it does not (X509_cmp_time: equal is earlier)",
    },
    Explanation {
        peer: OpenSsl,
        after: TWINS,
        said: ByThem("error"),
        because: "of issuers that bear the name, and the key identifier where one is named, OpenSSL takes the first that lives and never goes back; rustls and we try the next (RFC 4158 section 2.4)",
    },
    Explanation {
        peer: OpenSsl,
        after: &["intermediate-known-as-root"],
        said: ByThem("unable to get issuer certificate"),
        because: "OpenSSL wants a root that signed itself, unless told otherwise (X509_V_FLAG_PARTIAL_CHAIN)",
    },
    Explanation {
        peer: OpenSsl,
        after: &["leaf-only-signs-lists", "leaf-only-signs-documents"],
        said: ByThem("unsuitable certificate purpose"),
        because: "OpenSSL wants a server's keyUsage to sign, encipher or agree; rustls does not look, and with us it is the question of certificate-usage",
    },
    Explanation {
        peer: OpenSsl,
        after: &["leaf-usage-empty"],
        said: ByThem("unable to get local issuer certificate"),
        because: "the same of a keyUsage without any bit, which RFC 5280 section 4.2.1.3 forbids",
    },
    Explanation {
        peer: OpenSsl,
        after: &[
            "garbage-sent-alone",
            "garbage-sent",
            "garbled-stranger-sent",
            "null-sent",
            "first-byte-wrong@between",
            "cut-short@between",
            "cut-in-half@between",
        ],
        said: ByThem("Could not read any untrusted certificates"),
        because: "OpenSSL wants to read everything that is sent; rustls and we leave out what cannot be read",
    },
];

/// The words say enough.
const ANYTHING: &[&str] = &[];
/// What leaves several certificates of one name to choose from, of which one is bad.
const TWINS: &[&str] = &[
    "another-key-sent-first",
    "ends-now@between",
    "renewed-key",
    "reversed",
    "shuffled",
    "leads-also-to-a-stranger",
    "twin-by-a-stranger-first",
    "twin-critical-first",
    "twin-for-clients-first",
    "twin-forged-first",
    "twin-no-authority-first",
    "twin-not-permitted-first",
    "twin-sha1-first",
];

#[test]
#[ignore = "needs openssl and python3-cryptography, which the lab installs"]
fn we_judge_chains_as_rustls_and_openssl_do_or_can_say_why_not() {
    let folder = tempfile::tempdir().unwrap();
    run(Command::new(root().join("tests/bench/lib/need")).args(["openssl", "python3-cryptography"]));
    run(Command::new(root().join("tests/chains/generate")).arg(folder.path()));
    let corpus: Corpus = serde_json::from_slice(&fs::read(folder.path().join("index.json")).unwrap()).unwrap();
    let judged = judge_all(&corpus, folder.path());

    let (mut unexplained, mut used) = (String::new(), BTreeMap::new());
    for judged in &judged {
        for (peer, theirs) in &judged.theirs {
            if theirs.is_ok() == judged.ours.is_ok() {
                continue;
            }
            match EXPLANATIONS.iter().position(|explanation| explanation.fits(*peer, judged, theirs)) {
                Some(index) => *used.entry(index).or_insert(0) += 1,
                None => writeln!(
                    unexplained,
                    "{}\n    we {}; {peer:?} {}",
                    judged.chain.name,
                    told(&judged.ours),
                    told(theirs)
                )
                .unwrap(),
            }
        }
    }
    println!("{} chains; of answers that differ from ours are explained:", judged.len());
    for (index, number) in &used {
        println!("{number:5} of {:?}: {}", EXPLANATIONS[*index].peer, EXPLANATIONS[*index].because);
    }
    assert!(unexplained.is_empty(), "these differ and nothing explains it:\n{unexplained}");
    let unused: Vec<_> = (0..EXPLANATIONS.len()).filter(|index| !used.contains_key(index)).collect();
    let unused: Vec<_> = unused.into_iter().map(|index| EXPLANATIONS[index].because).collect();
    assert!(unused.is_empty(), "these explain nothing: {unused:#?}");
    for (kind, (taken, refused)) in worth(&judged) {
        println!("{kind:12} {taken:4} taken {refused:4} refused");
        assert!(taken >= 10 && refused >= 10, "too little of {kind}: {taken} taken, {refused} refused");
    }
}

impl Explanation {
    fn fits(&self, peer: Peer, judged: &Judged<'_>, theirs: &Answer) -> bool {
        let is_after = |change: &Change| {
            self.after.iter().any(|after| *after == change.what || *after == format!("{}@{}", change.what, change.at))
        };
        let is_said = match self.said {
            ByUs(words) => judged.ours.as_ref().is_err_and(|said| said.contains(words)),
            ByThem(words) => theirs.as_ref().is_err_and(|said| said.contains(words)),
        };
        self.peer == peer && is_said && (self.after.is_empty() || judged.chain.changes.iter().any(is_after))
    }
}

/// How many chains with each kind of change are taken and refused. Good chains are good to everybody.
fn worth<'c>(judged: &[Judged<'c>]) -> BTreeMap<&'c str, (usize, usize)> {
    let mut counts: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for judged in judged {
        if judged.chain.changes.is_empty() {
            assert_eq!(judged.ours, Ok(()), "{} is good", judged.chain.name);
        }
        for kind in judged.chain.changes.iter().map(|change| change.kind.as_str()).collect::<BTreeSet<_>>() {
            let (taken, refused) = counts.entry(kind).or_default();
            *if judged.ours.is_ok() { taken } else { refused } += 1;
        }
    }
    assert!(judged.len() >= 300 && counts.len() >= 12, "{} chains, {} kinds of change", judged.len(), counts.len());
    counts
}

fn told(answer: &Answer) -> String {
    answer.as_ref().map_or_else(|why| format!("refuse: {why}"), |()| "take it".into())
}

fn judge_all<'c>(corpus: &'c Corpus, folder: &Path) -> Vec<Judged<'c>> {
    // Most of the time goes into starting openssl.
    const AT_ONCE: usize = 4;
    let judge = |chain: &'c Chain| {
        let files = folder.join(&chain.folder);
        let theirs = [(Rustls, by_rustls(chain, &files, corpus.now)), (OpenSsl, by_openssl(chain, &files, corpus.now))];
        Judged { chain, ours: by_us(chain, &files, corpus.now), theirs }
    };
    thread::scope(|scope| {
        let parts = corpus.chains.chunks(corpus.chains.len().div_ceil(AT_ONCE));
        let parts: Vec<_> = parts.map(|part| scope.spawn(move || part.iter().map(judge).collect::<Vec<_>>())).collect();
        parts.into_iter().flat_map(|part| part.join().unwrap()).collect()
    })
}

/// As the checks do with what a server sent.
fn by_us(chain: &Chain, files: &Path, now: i64) -> Answer {
    let now = Timestamp::from_second(now).unwrap();
    let leaf = Certificate::parse(&read(files, "leaf")[0])?;
    let parsed = |file| read(files, file).iter().filter_map(|der| Certificate::parse(der).ok()).collect::<Vec<_>>();
    let (sent, store) = (parsed("sent"), parsed("store"));
    let way = best_way(&leaf, &sent.iter().collect::<Vec<_>>(), &store.iter().collect::<Vec<_>>(), now);
    verification::refusal(&way, &chain.host, now).map_or(Ok(()), |refusal| Err(refusal.to_string()))
}

fn by_rustls(chain: &Chain, files: &Path, now: i64) -> Answer {
    let mut roots = RootCertStore::empty();
    for der in read(files, "store") {
        roots.add(der).map_err(|error| format!("no root: {error}"))?;
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now).unwrap()));
    let name = ServerName::try_from(chain.host.as_str()).unwrap();
    let answer = verifier.verify_server_cert(&read(files, "leaf")[0], &read(files, "sent"), &name, &[], now);
    answer.map(drop).map_err(|error| error.to_string())
}

/// As OpenSSL judges a server in TLS: not by `-x509_strict`, which no client sets, and at security level 2, where Debian
/// has its clients (OpenSSL's manual `SSL_CTX_set_security_level`: RSA of 2048 bits, no SHA-1).
fn by_openssl(chain: &Chain, files: &Path, now: i64) -> Answer {
    let mut openssl = Command::new("openssl");
    openssl.current_dir(files).args(["verify", "-purpose", "sslserver", "-auth_level", "2"]);
    openssl.args(["-no-CApath", "-no-CAstore", "-CAfile", "store.pem", "-verify_hostname", &chain.host]);
    openssl.args(["-attime", &now.to_string()]);
    if !read(files, "sent").is_empty() {
        openssl.args(["-untrusted", "sent.pem"]);
    }
    let output = openssl.arg("leaf.pem").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(()) } else { Err(said.trim().replace('\n', " | ")) }
}

fn read(files: &Path, file: &str) -> Vec<CertificateDer<'static>> {
    let found = CertificateDer::pem_file_iter(files.join(format!("{file}.pem"))).unwrap();
    found.collect::<Result<_, _>>().unwrap()
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}
