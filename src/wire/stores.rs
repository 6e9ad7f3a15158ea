//! Trust stores, which this machine is asked for: Mozilla's roots, the system's, and those that the plan states. No socket
//! of ours is opened, but the system's own verifier may open some.

use super::{clock::Clock, conversation::Trouble, text};
use exchange_preflight_checks::{
    facts::{
        raw::Raw,
        trust::{MOZILLA, PlatformTrust, PlatformWord, RootsFound, RootsNamed, SYSTEM},
    },
    model::evidence::{Reason, Stage},
};
use rustls::{
    client::danger::ServerCertVerifier as _,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use rustls_platform_verifier::Verifier;
use sha2::{Digest as _, Sha256};
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{task::spawn_blocking, time::timeout};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

/// Windows' verifier may look for issuers and revocation lists for 10 s.
pub(super) const PATIENCE: Duration = Duration::from_secs(12);

/// All stores that can be asked for. What nobody asks for is not loaded.
#[derive(Default)]
pub struct Stores {
    stated: BTreeMap<String, Stated>,
    mozilla: OnceLock<Store>,
    system: OnceLock<Result<Store, String>>,
}

impl Stores {
    /// The two that are always there, and these by their names.
    pub fn new(stated: BTreeMap<String, Vec<CertificateDer<'static>>>) -> Self {
        let lazy = |(name, certificates)| (name, Stated { certificates, store: OnceLock::new() });
        Self { stated: stated.into_iter().map(lazy).collect(), ..Self::default() }
    }

    /// Is this store here?
    pub fn has(&self, name: &str) -> bool {
        matches!(name, MOZILLA | SYSTEM) || self.stated.contains_key(name)
    }

    /// The roots of a store that bear a name. The error says why it cannot be told.
    pub fn find(&self, RootsNamed { store, subject }: &RootsNamed) -> Result<RootsFound, String> {
        let store = self.named(store)?;
        let certificates = store.by_subject.get(&subject.0).cloned().unwrap_or_default();
        Ok(RootsFound { digest: store.digest.clone(), certificates })
    }

    fn named(&self, name: &str) -> Result<&Store, String> {
        match name {
            MOZILLA => Ok(self.mozilla.get_or_init(|| Store::of(webpki_root_certs::TLS_SERVER_ROOT_CERTS))),
            SYSTEM => self.system.get_or_init(system).as_ref().map_err(Clone::clone),
            other => match self.stated.get(other) {
                Some(Stated { certificates, store }) => Ok(store.get_or_init(|| Store::of(certificates))),
                None => Err(text::quoted(&format!("no trust store is stated as {other}; add it to the plan"))),
            },
        }
    }
}

/// A store of the plan's.
struct Stated {
    certificates: Vec<CertificateDer<'static>>,
    store: OnceLock<Store>,
}

fn system() -> Result<Store, String> {
    let loaded = rustls_native_certs::load_native_certs();
    if !loaded.certs.is_empty() {
        return Ok(Store::of(&loaded.certs));
    }
    let why = loaded.errors.first().map_or_else(|| "it has none".into(), ToString::to_string);
    Err(text::quoted(&format!("the system's roots cannot be read ({why}); install its package of CA certificates")))
}

/// Whom a password may be shown to: the holders of certificates that lead to the system's roots, or to what the plan states.
/// The list of Mozilla's that we carry is not among them: this machine's administrator has not chosen it.
pub(super) struct Trust {
    /// Roots, of the system's store and the plan's.
    pub(super) roots: Vec<CertificateDer<'static>>,
    /// What the plan states. A server may also show one of them itself.
    pub(super) named: Vec<CertificateDer<'static>>,
}

/// Whom a password may be shown to.
pub(super) async fn trust(stores: &Arc<Stores>) -> Result<Trust, Trouble> {
    let stores = Arc::clone(stores);
    blocking(move || {
        let named: Vec<_> = stores.stated.values().flat_map(|stated| &stated.certificates).cloned().collect();
        // A system that has no store is no trouble where the plan has one.
        let system = stores.named(SYSTEM).into_iter().flat_map(|store| store.by_subject.values().flatten());
        let system = system.map(|certificate| CertificateDer::from(certificate.0.clone()));
        Ok(Trust { roots: system.chain(named.iter().cloned()).collect(), named })
    })
    .await
}

/// A store, by the names of its certificates.
struct Store {
    digest: String,
    by_subject: BTreeMap<Vec<u8>, Vec<Raw>>,
}

impl Store {
    fn of(certificates: &[CertificateDer<'_>]) -> Self {
        let mut ordered: Vec<&[u8]> = certificates.iter().map(|certificate| &certificate[..]).collect();
        ordered.sort_unstable();
        // Two files of a system's often hold the same one.
        ordered.dedup();
        let mut digest = Sha256::new();
        let mut by_subject: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for certificate in ordered {
            digest.update(certificate);
            if let Ok((_, parsed)) = X509Certificate::from_der(certificate) {
                by_subject.entry(parsed.subject().as_raw().to_vec()).or_default().push(Raw(certificate.to_vec()));
            }
        }
        Self { digest: hex::encode(digest.finalize()), by_subject }
    }
}

/// The roots that bear a name.
pub(super) async fn roots(stores: &Arc<Stores>, question: &RootsNamed) -> Result<RootsFound, Trouble> {
    let (stores, question) = (Arc::clone(stores), question.clone());
    blocking(move || stores.find(&question)).await
}

/// What the system's own verifier says of a chain.
pub(super) async fn platform(clock: Clock, question: &PlatformTrust) -> Result<PlatformWord, Trouble> {
    let question = question.clone();
    blocking(move || {
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new(provider).map_err(|error| {
            text::quoted(&format!(
                "its verifier of certificates does not start ({error}); install its package of CA certificates"
            ))
        })?;
        let said = verify(&verifier, clock, question).err().unwrap_or_default();
        Ok(PlatformWord { trusts: said.is_empty(), said })
    })
    .await
}

/// The error is what the verifier has against the chain.
fn verify(verifier: &Verifier, clock: Clock, PlatformTrust { chain, name }: PlatformTrust) -> Result<(), String> {
    let chain: Vec<_> = chain.into_iter().map(|certificate| CertificateDer::from(certificate.0)).collect();
    let (leaf, others) = chain.split_first().ok_or("the server sent no certificate")?;
    let name = ServerName::try_from(name).map_err(|_| "the name that was asked for can stand in no certificate")?;
    let seconds = u64::try_from(clock.now().as_second()).unwrap_or_default();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    let answer = verifier.verify_server_cert(leaf, others, &name, &[], now);
    answer.map(|_| ()).map_err(|error| text::quoted(&error.to_string()))
}

/// Files are read and the system is asked on a thread of its own; who hangs there is left behind.
async fn blocking<T, F>(work: F) -> Result<T, Trouble>
where
    T: Send + 'static,
    F: FnOnce() -> Result<T, String> + Send + 'static,
{
    let why = match timeout(PATIENCE, spawn_blocking(work)).await {
        Ok(Ok(Ok(done))) => return Ok(done),
        Ok(Ok(Err(why))) => why,
        Ok(Err(_panicked)) => {
            "a fault of the library that reads certificates; please report it with the recording".into()
        }
        Err(_) => "its store of certificates did not answer in 12 s; look at the network that it may ask".into(),
    };
    Err(Trouble::new(Stage::Reply, Reason::Local(why)))
}
