//! TLS with rustls, for looking and for nothing else: whatever certificate a server shows is taken, and kept as it came.

use super::{
    conversation::{Outcome, Trouble, Wire},
    hello, tcp, text,
};
use exchange_preflight_checks::{
    facts::{
        raw::Raw,
        tls::{Offer, TlsSeen, TlsSession, TlsVersion},
    },
    model::{
        ask::Facts,
        evidence::{Reason, Stage},
    },
};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme, SupportedCipherSuite,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{self, WebPkiSupportedAlgorithms, ring},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    time::{Instant, timeout, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use x509_parser::{prelude::FromDer as _, public_key::PublicKey};

/// HTTP/1.1 (RFC 7301 section 6): the only protocol that Windows authentication and Exchange's sites speak with us.
pub(super) const HTTP_1_1: &[u8] = b"http/1.1";

/// How long we try to take our leave.
pub(super) const FAREWELL: Duration = Duration::from_secs(1);

/// TLS from the first byte on, and nothing inside it.
pub(super) async fn session(wire: &Wire, to: SocketAddr, host: &str, question: &TlsSession) -> Outcome {
    let stream = match tcp::connect(to, &wire.budgets).await {
        Ok(stream) => stream,
        Err(trouble) => return trouble.into(),
    };
    let until = Instant::now() + wire.budgets.reply;
    let host = question.name.as_deref().unwrap_or(host);
    let mut seen = None;
    let looked = match Way::of(question.offer) {
        Way::FirstFlight(version) => hello::look(stream, version, host, until, &mut seen).await,
        Way::Through(keys) => match begin(stream, keys, host, None, until, &mut seen).await {
            Ok(inside) => {
                close(inside).await;
                Ok(())
            }
            Err(trouble) => Err(trouble),
        },
    };
    Outcome { facts: seen.map(Facts::TlsSession), trouble: looked.err() }
}

/// How an offer is carried out.
pub(super) enum Way {
    /// A handshake that is completed, with these kinds of keys.
    Through(Keys),
    /// An old client's hello, and what the server says to it in plain text.
    FirstFlight(TlsVersion),
}

/// Certificates with which keys are asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    Any,
    Rsa,
    Ecdsa,
}

impl Way {
    pub(super) fn of(offer: Offer) -> Self {
        match offer {
            Offer::Usual => Self::Through(Keys::Any),
            Offer::RsaOnly => Self::Through(Keys::Rsa),
            Offer::EcdsaOnly => Self::Through(Keys::Ecdsa),
            Offer::UpTo(version) => Self::FirstFlight(version),
        }
    }
}

/// Begins TLS on a stream. `protocol` is offered by ALPN; `seen` is what was learnt, also where the handshake fails later.
pub(super) async fn begin<S>(
    stream: S,
    keys: Keys,
    name: &str,
    protocol: Option<&[u8]>,
    until: Instant,
    seen: &mut Option<TlsSeen>,
) -> Result<Unverified<S>, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let look = Arc::new(Look::new(keys));
    let connector = TlsConnector::from(Arc::new(config(Arc::clone(&look), protocol)));
    let connecting = connector.connect(sni(name), Overheard::over(stream)).into_fallible();
    let begun = match timeout_at(until, connecting).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err((error, stream))) => Err(failure(&error, &stream.beginning)),
        Err(_) => Err(Trouble::new(Stage::Tls, Reason::Silent)),
    };
    let mut shown = look.seen();
    if let Ok(stream) = &begun {
        let (_, session) = stream.get_ref();
        shown.version = session.protocol_version().map(u16::from);
        shown.suite = session.negotiated_cipher_suite().map(|suite| u16::from(suite.suite()));
    }
    *seen = Some(shown).filter(|shown| !shown.chain.is_empty());
    begun.map(Unverified)
}

/// Says goodbye as TLS wants it, and closes.
pub(super) async fn close<S: AsyncRead + AsyncWrite + Unpin>(mut stream: Unverified<S>) {
    // Nobody depends on it, and the server may be gone.
    let _ = timeout(FAREWELL, stream.shutdown()).await;
}

/// The name that a hello bears. An address stands for "none", as it is never sent (RFC 6066 section 3).
pub(super) fn sni(name: &str) -> ServerName<'static> {
    ServerName::try_from(name.to_owned()).unwrap_or_else(|_| Ipv4Addr::UNSPECIFIED.into())
}

/// A stream inside TLS whose other end is whoever answered: no certificate was verified. **No password may ever follow
/// it.** It can be read and written and nothing else, and is never turned into another type; what sends a password takes
/// a type of its own, which is made by verifying. Only a Kerberos ticket goes this way, where the user asked for it
/// (`--prove-login`): whoever is not the service can read nothing in it.
pub(super) struct Unverified<S>(TlsStream<Overheard<S>>);

fn config(look: Arc<Look>, protocol: Option<&[u8]>) -> ClientConfig {
    let mut provider = ring::default_provider();
    // In TLS 1.2 the cipher suite says how the server signs, in TLS 1.3 the signature schemes alone do.
    provider.cipher_suites.retain(|suite| match suite {
        SupportedCipherSuite::Tls12(suite) => suite.sign.iter().any(|scheme| look.schemes.contains(scheme)),
        SupportedCipherSuite::Tls13(_) => true,
    });
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .expect("ring has suites for TLS 1.2 and 1.3, with keys of either kind")
        .dangerous()
        .with_custom_certificate_verifier(look)
        .with_no_client_auth();
    // A session that is taken up again shows no certificate.
    config.resumption = Resumption::disabled();
    config.alpn_protocols = protocol.into_iter().map(<[u8]>::to_vec).collect();
    config
}

/// Takes every certificate, and keeps it.
#[derive(Debug)]
struct Look {
    algorithms: WebPkiSupportedAlgorithms,
    schemes: Vec<SignatureScheme>,
    seen: Mutex<TlsSeen>,
}

impl Look {
    fn new(keys: Keys) -> Self {
        let algorithms = ring::default_provider().signature_verification_algorithms;
        let mut schemes = algorithms.supported_schemes();
        // They are offered last, as Windows does: a server may show no certificate signed by a scheme that nobody offers
        // (RFC 5246 section 7.4.2), and it is the old ones that we come to see.
        schemes.extend([SignatureScheme::RSA_PKCS1_SHA1, SignatureScheme::ECDSA_SHA1_Legacy]);
        schemes.retain(|scheme| match keys {
            Keys::Any => true,
            Keys::Rsa => is_rsa(*scheme),
            Keys::Ecdsa => is_ecdsa(*scheme),
        });
        Self { algorithms, schemes, seen: Mutex::default() }
    }

    fn seen(&self) -> TlsSeen {
        self.seen.lock().expect("nothing panics while it holds this lock").clone()
    }

    /// What the server signed is checked, and a doubt is no reason to stop looking.
    fn note(
        &self,
        checked: Result<HandshakeSignatureValid, rustls::Error>,
        certificate: &[u8],
        scheme: SignatureScheme,
    ) -> HandshakeSignatureValid {
        checked.unwrap_or_else(|error| {
            let is_known = self.algorithms.supported_schemes().contains(&scheme);
            let mut seen = self.seen.lock().expect("nothing panics while it holds this lock");
            seen.unproven = not_checkable(&error, certificate, (!is_known).then_some(scheme));
            seen.disproven = seen.unproven.is_none();
            HandshakeSignatureValid::assertion()
        })
    }
}

fn is_rsa(scheme: SignatureScheme) -> bool {
    use SignatureScheme as S;
    let is_pss = matches!(scheme, S::RSA_PSS_SHA256 | S::RSA_PSS_SHA384 | S::RSA_PSS_SHA512);
    is_pss || matches!(scheme, S::RSA_PKCS1_SHA1 | S::RSA_PKCS1_SHA256 | S::RSA_PKCS1_SHA384 | S::RSA_PKCS1_SHA512)
}

fn is_ecdsa(scheme: SignatureScheme) -> bool {
    use SignatureScheme as S;
    let is_nist = matches!(scheme, S::ECDSA_NISTP256_SHA256 | S::ECDSA_NISTP384_SHA384 | S::ECDSA_NISTP521_SHA512);
    is_nist || scheme == S::ECDSA_SHA1_Legacy
}

/// The library says "bad signature" of keys that it never checks as well; those are told apart here.
fn not_checkable(error: &rustls::Error, certificate: &[u8], unknown: Option<SignatureScheme>) -> Option<String> {
    const SHORTEST_RSA: usize = 2048;
    if let Some(scheme) = unknown {
        return Some(text::quoted(&format!("not checkable: it signs by {scheme:?}, which our library does not check")));
    }
    match rsa_bits(certificate) {
        Some(bits) if bits < SHORTEST_RSA => {
            let bound = format!("our library checks no RSA key of less than {SHORTEST_RSA} bits, and it has {bits}");
            Some(format!("not checkable: {bound}"))
        }
        // What it signed does not fit the key of its certificate.
        _ if *error == rustls::Error::InvalidCertificate(CertificateError::BadSignature) => None,
        _ => Some(text::quoted(&format!("not checkable: {error}"))),
    }
}

fn rsa_bits(certificate: &[u8]) -> Option<usize> {
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(certificate).ok()?;
    match certificate.public_key().parsed().ok()? {
        PublicKey::RSA(key) => Some(key.key_size()),
        _ => None,
    }
}

impl ServerCertVerifier for Look {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        staple: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let mut seen = self.seen.lock().expect("nothing panics while it holds this lock");
        seen.chain = std::iter::once(end_entity).chain(intermediates).map(|one| Raw(one.to_vec())).collect();
        seen.has_staple = !staple.is_empty();
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let checked = crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms);
        Ok(self.note(checked, certificate, signed.scheme))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let checked = crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms);
        Ok(self.note(checked, certificate, signed.scheme))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.schemes.clone()
    }
}

/// What a handshake that failed says. `beginning` is what the server began with.
pub(super) fn failure(error: &io::Error, beginning: &[u8]) -> Trouble {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let reason = match tls {
        None => return Trouble::broken(error).at(Stage::Tls),
        Some(rustls::Error::AlertReceived(alert)) => said_alert((*alert).into()),
        Some(_) if !is_tls(beginning) => Reason::NotTheProtocol(text::sketch(beginning)),
        Some(rustls::Error::PeerIncompatible(why)) => Reason::ServerSaid(text::quoted(&format!(
            "a version or a way of TLS that clients of today do not take ({why:?})"
        ))),
        Some(other) => Reason::NotTheProtocol(text::quoted(&other.to_string())),
    };
    Trouble::new(Stage::Tls, reason)
}

/// Records of TLS begin with their type and the version 3.x (RFC 8446 section 5.1).
pub(super) fn is_tls(beginning: &[u8]) -> bool {
    matches!(beginning, [20..=23, 3, ..])
}

/// The server refused by an alert.
pub(super) fn said_alert(number: u8) -> Reason {
    Reason::ServerSaid(match alert_name(number) {
        Some(name) => format!("TLS alert {name}"),
        None => format!("TLS alert {number}"),
    })
}

/// Alerts that a server sends, as the specifications spell them (RFC 8446 section 6, RFC 5246 section 7.2, RFC 6066, RFC 7507).
fn alert_name(number: u8) -> Option<&'static str> {
    use AlertDescription as A;
    Some(match AlertDescription::from(number) {
        A::CloseNotify => "close_notify",
        A::UnexpectedMessage => "unexpected_message",
        A::BadRecordMac => "bad_record_mac",
        A::RecordOverflow => "record_overflow",
        A::HandshakeFailure => "handshake_failure",
        A::BadCertificate => "bad_certificate",
        A::UnsupportedCertificate => "unsupported_certificate",
        A::CertificateUnknown => "certificate_unknown",
        A::IllegalParameter => "illegal_parameter",
        A::AccessDenied => "access_denied",
        A::DecodeError => "decode_error",
        A::DecryptError => "decrypt_error",
        A::ProtocolVersion => "protocol_version",
        A::InsufficientSecurity => "insufficient_security",
        A::InternalError => "internal_error",
        A::InappropriateFallback => "inappropriate_fallback",
        A::UserCanceled => "user_canceled",
        A::NoRenegotiation => "no_renegotiation",
        A::MissingExtension => "missing_extension",
        A::UnsupportedExtension => "unsupported_extension",
        A::UnrecognisedName => "unrecognized_name",
        A::CertificateRequired => "certificate_required",
        A::NoApplicationProtocol => "no_application_protocol",
        _ => return None,
    })
}

/// A stream of which the first bytes are kept, to say who it is that speaks no TLS.
pub(super) struct Overheard<S> {
    stream: S,
    pub(super) beginning: Vec<u8>,
}

impl<S> Overheard<S> {
    pub(super) fn over(stream: S) -> Self {
        Self { stream, beginning: Vec::new() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Overheard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        const KEPT: usize = 200;
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let room = KEPT.saturating_sub(self.beginning.len());
        self.beginning.extend(buf.filled()[before..].iter().take(room));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Overheard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What is read and written passes through to the stream inside. The types around it stay apart, so that a password can follow
/// one of them and not the other.
macro_rules! passes_through {
    ($around:ident) => {
        impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for $around<S> {
            fn poll_read(
                mut self: Pin<&mut Self>,
                cx: &mut Context<'_>,
                buf: &mut ReadBuf<'_>,
            ) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_read(cx, buf)
            }
        }

        impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for $around<S> {
            fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
                Pin::new(&mut self.0).poll_write(cx, buf)
            }

            fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_flush(cx)
            }

            fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
                Pin::new(&mut self.0).poll_shutdown(cx)
            }
        }
    };
}
pub(super) use passes_through;

passes_through!(Unverified);
