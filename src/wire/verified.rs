//! TLS whose other end has shown who it is: the only TLS that a password may follow.

use super::{
    clock::Clock,
    conversation::Trouble,
    stores::Trust,
    text,
    tls::{self, Overheard, passes_through},
};
use exchange_preflight_checks::model::evidence::{Reason, Stage};
use rustls::{
    CertificateError as Wrong, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{self, WebPkiSupportedAlgorithms, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::ParsedCertificate,
    time_provider::TimeProvider,
};
use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

/// A stream inside TLS whose other end has shown a certificate that leads to a root of this machine's or of the plan's, or
/// that is itself in the plan, for the very name that was asked. [`tls::Unverified`] cannot become one.
pub(super) struct Verified<S>(TlsStream<Overheard<S>>);

/// Begins TLS with `host`, or says why it is not to be believed.
pub(super) async fn begin<S>(
    stream: S,
    host: &str,
    trust: &Trust,
    clock: Clock,
    until: Instant,
) -> Result<Verified<S>, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let unproven = |why: &str| Trouble::new(Stage::Tls, Reason::Local(text::cut(why)));
    let name = ServerName::try_from(host.to_owned())
        .map_err(|_| unproven(&format!("no certificate can hold the name {host}; use --logon kerberos")))?;
    let connector = TlsConnector::from(Arc::new(config(trust, clock)));
    let connecting = connector.connect(name, Overheard::over(stream)).into_fallible();
    match timeout_at(until, connecting).await {
        Ok(Ok(stream)) => Ok(Verified(stream)),
        Ok(Err((error, stream))) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
            Some(rustls::Error::InvalidCertificate(wrong)) => Err(unproven(&doubt(wrong, host))),
            _ => Err(tls::failure(&error, &stream.beginning)),
        },
        Err(_) => Err(Trouble::new(Stage::Tls, Reason::Silent)),
    }
}

/// What is wrong with a certificate, and what to do; a password that cannot go this way can go by Kerberos.
fn doubt(wrong: &Wrong, host: &str) -> String {
    let what = match wrong {
        Wrong::NotValidForName | Wrong::NotValidForNameContext { .. } => {
            return format!("the certificate is not for the name {host}; use --logon kerberos");
        }
        Wrong::Expired | Wrong::ExpiredContext { .. } => "has expired by this machine's clock",
        Wrong::NotValidYet | Wrong::NotValidYetContext { .. } => "is not valid yet by this machine's clock",
        Wrong::UnknownIssuer | Wrong::Other(_) => {
            return format!(
                "the certificate of {host} leads to no root that this machine knows; state its CA, or itself, with --trust, \
                 or use --logon kerberos"
            );
        }
        Wrong::Revoked => "was taken back",
        other => {
            let why = text::quoted(&other.to_string());
            return format!("use --logon kerberos; the certificate of {host} is not to be believed: {why}");
        }
    };
    format!("the certificate of {host} {what}; renew it, or use --logon kerberos")
}

fn config(trust: &Trust, clock: Clock) -> ClientConfig {
    let provider = Arc::new(ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let mut roots = RootCertStore::empty();
    // A store may hold what no TLS library reads; it then is no root of anybody.
    roots.add_parsable_certificates(trust.roots.iter().cloned());
    let chains = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build().ok();
    let believing = Believing { chains, named: trust.named.clone(), algorithms };
    let mut config = ClientConfig::builder_with_details(provider, Arc::new(OurTime(clock)))
        .with_safe_default_protocol_versions()
        .expect("ring has suites for TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(believing))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    config
}

/// Believes in a chain to a root, and beyond it in a certificate that the user has named himself.
#[derive(Debug)]
struct Believing {
    /// None where there is no root at all.
    chains: Option<Arc<WebPkiServerVerifier>>,
    named: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Believing {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        staple: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = match &self.chains {
            Some(chains) => chains.verify_server_cert(end_entity, intermediates, name, staple, now),
            None => Err(Wrong::UnknownIssuer.into()),
        };
        match verified {
            // A certificate that signs itself as an authority is no server's to the library, which says so by `Other`. One that
            // has expired stays expired, whoever names it.
            Err(rustls::Error::InvalidCertificate(Wrong::UnknownIssuer | Wrong::Other(_)))
                if self.named.iter().any(|named| named == end_entity) =>
            {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// The one clock, for rustls.
#[derive(Debug)]
struct OurTime(Clock);

impl TimeProvider for OurTime {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().as_second()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

passes_through!(Verified);
