//! Security contexts of Kerberos (RFC 4121): of a user's password by sspi, and of the current logon's ticket by the system.
//! What is sealed by one travels behind a length of four bytes (RFC 4422 section 3.7).

use super::{
    bind::Context,
    budget::Budgets,
    clock::Clock,
    conversation::Trouble,
    credential::{Attempt, Password, User},
    refusal, tcp, text,
};
use exchange_preflight_checks::{
    facts::{
        kerberos::{KdcAnswer, KdcReply},
        raw::Raw,
        time::Reading,
    },
    model::evidence::{Reason, Stage},
};
use picky_asn1::wrapper::{
    Asn1SequenceOf, ExplicitContextTag0, ExplicitContextTag1, ExplicitContextTag2, ExplicitContextTag6,
    ExplicitContextTag8, IntegerAsn1, OctetStringAsn1, Optional,
};
use picky_krb::{
    constants::key_usages::{AP_REQ_AUTHENTICATOR, INITIATOR_SEAL},
    crypto::{
        CipherSuite,
        aes::{AesSize, checksum_sha_aes},
    },
    data_types::{Authenticator, AuthorizationData, AuthorizationDataInner},
    gss_api::{ApplicationTag0, KrbMessage, WrapToken},
    messages::ApReq,
};
use sspi::{
    AuthIdentityBuffers, BufferType, ClientRequestFlags, CredentialsBuffers, DataRepresentation, EncryptionFlags,
    Kerberos, KerberosConfig, NetworkRequest, SecurityBuffer, SecurityBufferRef, SecurityStatus, Sspi as _,
    SspiImpl as _, generator::GeneratorState,
};
use std::{future::Future, net::SocketAddr};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tracing::debug;

/// The largest sealed message that we take, and say so to the server: more than a directory makes of one entry.
const LONGEST_TOKEN: usize = 4 * 1024 * 1024;

/// Seals and unseals.
pub(super) trait Sealing: Send {
    /// Seals a message.
    fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, String>;

    /// Signs a message, and leaves it readable.
    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, String>;

    /// Opens one. What was only signed counts where a mechanism settles what is to be sealed, and never after.
    fn unwrap(&mut self, token: &[u8]) -> Result<Vec<u8>, String>;
}

/// A mechanism of Kerberos alone: until its last step it settles with the server what is done to the messages that follow
/// (RFC 4752 section 3.1).
pub(super) struct Gssapi<C> {
    kerberos: C,
    layer: Layer,
    state: State,
    /// The largest message that the server takes.
    longest: usize,
}

/// What is done to the messages that follow a logon (RFC 4752 section 3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    /// All are sealed: a directory shows them to us alone.
    Sealed,
    /// Nothing: who has proven himself says no more than goodbye. It is also the only layer that Exchange knows.
    Open,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// The context is not established yet.
    Beginning,
    /// The server is to say which layers it offers.
    Settling,
    Settled,
}

/// How a context is established, step by step.
pub(super) trait Establish: Send {
    /// The next token, and whether the context is established by now.
    fn establish(&mut self, token: &[u8]) -> impl Future<Output = Result<(Option<Vec<u8>>, bool), Trouble>> + Send;
}

impl<C: Sealing + 'static> Gssapi<C> {
    pub(super) fn new(kerberos: C, layer: Layer) -> Self {
        Self { kerberos, layer, state: State::Beginning, longest: 0 }
    }

    /// The server has shown that it holds the key of the SPN's account: its token (RFC 4120 section 5.5.2) could be read with
    /// the session's key, which only that account's key gives away.
    pub(super) fn is_proven(&self) -> bool {
        self.state != State::Beginning
    }

    /// Whatever Kerberos it is.
    pub(super) fn boxed(self) -> Gssapi<Box<dyn Sealing>> {
        Gssapi { kerberos: Box::new(self.kerberos), layer: self.layer, state: self.state, longest: self.longest }
    }
}

impl<C: Establish + Sealing + 'static> Context for Gssapi<C> {
    async fn step(&mut self, token: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
        match self.state {
            State::Beginning => {
                let (token, is_established) = self.kerberos.establish(token).await?;
                if is_established {
                    self.state = State::Settling;
                }
                Ok(token)
            }
            State::Settling => {
                let offered = self.kerberos.unwrap(token).map_err(|why| not_ours(&why))?;
                let (answer, longest) = settle(&offered, self.layer)?;
                self.longest = longest;
                let answer = match self.layer {
                    Layer::Sealed => self.kerberos.wrap(&answer),
                    Layer::Open => self.kerberos.sign(&answer),
                };
                self.state = State::Settled;
                Ok(Some(answer.map_err(|why| not_ours(&why))?))
            }
            State::Settled => Err(not_ours("more steps than the mechanism has")),
        }
    }

    fn is_sealed(&self) -> bool {
        self.state == State::Settled && self.layer == Layer::Sealed
    }
}

/// The layers that the server offers and the size that it takes, and our answer: sealed, and our size; or open, and no size at
/// all, as RFC 4752 section 3.1 wants it then.
fn settle(offered: &[u8], layer: Layer) -> Result<([u8; 4], usize), Trouble> {
    const NONE: u8 = 1;
    const CONFIDENTIALITY: u8 = 4;
    let Ok([layers, size @ ..]) = <[u8; 4]>::try_from(offered) else {
        return Err(not_ours("an offer of layers that is none"));
    };
    if layer == Layer::Open {
        return if layers & NONE == 0 {
            Err(not_ours("it wants what follows to be signed or sealed, which nobody asked for"))
        } else {
            Ok(([NONE, 0, 0, 0], 0))
        };
    }
    if layers & CONFIDENTIALITY == 0 {
        let why = "it offers no sealed session; use --logon ldaps".into();
        return Err(Trouble::new(Stage::Bind, Reason::ServerSaid(why)));
    }
    // A layer in the first byte, a size in the other three.
    let mut answer = u32::try_from(LONGEST_TOKEN).expect("it is below 2^24").to_be_bytes();
    answer[0] = CONFIDENTIALITY;
    let longest = size.iter().fold(0, |size, byte| size << 8 | usize::from(*byte));
    Ok((answer, longest))
}

fn not_ours(why: &str) -> Trouble {
    Trouble::not_the_protocol(text::quoted(&format!("a token of Kerberos that does not fit ({why})"))).at(Stage::Bind)
}

/// Carries messages between a server that speaks sealed and a client that does not, until one of them ends.
pub(super) async fn seal<S, P>(
    mut context: Gssapi<Box<dyn Sealing>>,
    mut server: S,
    mut plain: P,
) -> Result<(), Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
    P: AsyncRead + AsyncWrite + Unpin,
{
    const CHUNK: usize = 16 * 1024;
    // A token is longer than its message by a header, a confounder, a checksum: some sixty bytes with AES.
    const OVERHEAD: usize = 256;
    let at_once = CHUNK.min(context.longest.saturating_sub(OVERHEAD)).max(1);
    let (mut to_seal, mut sealed) = (vec![0; at_once], vec![0; CHUNK]);
    let mut tokens = Tokens::default();
    loop {
        tokio::select! {
            read = plain.read(&mut to_seal) => match read.unwrap_or(0) {
                0 => {
                    // Nobody depends on it, and the server may be gone.
                    let _ = server.shutdown().await;
                    return Ok(());
                }
                length => {
                    let token = context.kerberos.wrap(&to_seal[..length]).map_err(|why| unreadable(&why))?;
                    let length = u32::try_from(token.len()).map_err(|_| unreadable("too long"))?;
                    let framed = [&length.to_be_bytes(), &token[..]].concat();
                    server.write_all(&framed).await.map_err(|error| Trouble::broken(&error))?;
                }
            },
            read = server.read(&mut sealed) => match read.map_err(|error| Trouble::broken(&error))? {
                0 => return Err(Trouble::new(Stage::Reply, Reason::Closed)),
                length => tokens.add(&sealed[..length]),
            },
        }
        while let Some(token) = tokens.next()? {
            let message = context.kerberos.unwrap(&token).map_err(|why| unreadable(&why))?;
            if plain.write_all(&message).await.is_err() {
                return Ok(());
            }
        }
    }
}

fn unreadable(why: &str) -> Trouble {
    Trouble::not_the_protocol(text::quoted(&format!("a sealed message that cannot be opened ({why})")))
}

/// What came in sealed and is not complete yet.
#[derive(Default)]
struct Tokens {
    buffer: Vec<u8>,
}

impl Tokens {
    fn add(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
    }

    /// The next token that is complete. One that is too long is refused by its length alone.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        let Some((length, rest)) = self.buffer.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length == 0 || length > LONGEST_TOKEN {
            return Err(Trouble::strange(&self.buffer[..4]));
        }
        if rest.len() < length {
            return Ok(None);
        }
        let token = rest[..length].to_vec();
        self.buffer.drain(..4 + length);
        Ok(Some(token))
    }
}

/// Kerberos with a user's password: nothing of NTLM is in it, so that there is nothing to fall back to.
pub(super) struct WithPassword {
    kerberos: Kerberos,
    credentials: Option<CredentialsBuffers>,
    target: Target,
    kdc: Kdc,
    attempt: Attempt,
    /// The last number of the server's messages; none is left out and none comes twice (RFC 4121 section 4.2.6.2), which
    /// the library does not look at.
    received: Option<u64>,
}

/// Whom a ticket is for, and for what.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// The service.
    pub(super) spn: String,
    /// What is done to messages.
    pub(super) layer: Layer,
    /// What ties the ticket to the TLS in which it is sent (RFC 5929), so that nobody in between can pass it on.
    pub(super) bindings: Option<Vec<u8>>,
}

impl Target {
    /// A directory.
    pub(super) fn directory(host: &str) -> Self {
        Self { spn: format!("ldap/{host}"), layer: Layer::Sealed, bindings: None }
    }
}

/// Where tickets are asked for.
pub(super) struct Kdc {
    pub(super) address: SocketAddr,
    pub(super) budgets: Budgets,
    pub(super) clock: Clock,
}

impl WithPassword {
    /// For a session with a service; the KDC may be the controller itself that is to be read.
    pub(super) fn new(
        user: &User,
        password: &Password,
        target: Target,
        kdc: Kdc,
        attempt: Attempt,
    ) -> Result<Self, Trouble> {
        let local = |why: String| Trouble::new(Stage::Bind, Reason::Local(text::quoted(&why)));
        if !user.principal.is_ascii() || !user.domain.is_ascii() {
            let why =
                format!("Kerberos is tried with ASCII names only, and {} is none; use --logon ldaps", user.principal);
            return Err(local(why));
        }
        let url = format!("tcp://{}", kdc.address);
        let config = KerberosConfig::new_with_kdc_url(&url, gethostname::gethostname().to_string_lossy().into_owned());
        let kerberos = Kerberos::new_client_from_config(config).map_err(|error| local(error.to_string()))?;
        let identity = AuthIdentityBuffers::from_utf8(&user.principal, &user.domain, password.expose());
        let credentials = Some(CredentialsBuffers::AuthIdentity(identity));
        Ok(Self { kerberos, credentials, target, kdc, attempt, received: None })
    }
}

impl Establish for WithPassword {
    async fn establish(&mut self, token: &[u8]) -> Result<(Option<Vec<u8>>, bool), Trouble> {
        let Self { kerberos, credentials, target, kdc, attempt, .. } = self;
        let spn = target.spn.as_str();
        let bindings = target.bindings.as_deref().map(channel_bindings);
        let bindings = bindings.map(|bindings| SecurityBuffer::new(bindings, BufferType::ChannelBindings));
        let mut input: Vec<_> =
            [SecurityBuffer::new(token.to_vec(), BufferType::Token)].into_iter().chain(bindings).collect();
        let mut output = [SecurityBuffer::new(Vec::new(), BufferType::Token)];
        let mut wanted = ClientRequestFlags::MUTUAL_AUTH
            | ClientRequestFlags::INTEGRITY
            | ClientRequestFlags::SEQUENCE_DETECT
            | ClientRequestFlags::REPLAY_DETECT;
        if target.layer == Layer::Sealed {
            wanted |= ClientRequestFlags::CONFIDENTIALITY;
        }
        let mut builder = kerberos
            .initialize_security_context()
            .with_credentials_handle(credentials)
            .with_context_requirements(wanted)
            .with_target_data_representation(DataRepresentation::Native)
            .with_target_name(spn)
            .with_input(&mut input)
            .with_output(&mut output);
        let mut asking = Asking { kdc, attempt, spn, is_known: false, skew: None, said: None };
        let mut generator =
            kerberos.initialize_security_context_impl(&mut builder).map_err(|error| not_ours(&error.to_string()))?;
        let mut state = generator.start();
        let done = loop {
            match state {
                GeneratorState::Suspended(request) => {
                    let reply = asking.ask(&request).await?;
                    state = generator.resume(Ok(reply));
                }
                GeneratorState::Completed(done) => break done,
            }
        };
        drop(generator);
        let status = match done {
            Ok(done) => done.status,
            Err(error) => return Err(asking.refused(&error)),
        };
        let [SecurityBuffer { mut buffer, .. }] = output;
        if token.is_empty() && self.target.bindings.is_some() {
            let keys = self.kerberos.query_context_session_key().map_err(|error| not_ours(&error.to_string()))?;
            let said = say_bound(&buffer, keys.session_key.as_ref());
            buffer = said.ok_or_else(|| not_ours("it cannot be said that it is bound to a channel"))?;
        }
        let is_established = status == SecurityStatus::Ok;
        if is_established {
            // From here on the session has keys of its own.
            self.credentials = None;
        }
        Ok(((!buffer.is_empty()).then_some(buffer), is_established))
    }
}

/// `SEC_CHANNEL_BINDINGS` (Windows SDK, sspi.h): kinds, lengths and places of two addresses, of which there are none, and of
/// what the application has to say, which follows.
fn channel_bindings(application: &[u8]) -> Vec<u8> {
    const HEADER: u32 = 32;
    let length = u32::try_from(application.len()).expect("a name and a digest are short");
    let header = [0, 0, 0, 0, 0, 0, length, HEADER].map(u32::to_le_bytes);
    [header.as_flattened(), application].concat()
}

/// Says in a request that the client binds to channels, as MS-KILE section 3.2.5.8 has it: four bytes inside AD-IF-RELEVANT. The
/// library says it in two bytes, for which acceptors of MIT's refuse the ticket. The binding itself stays as it is.
fn say_bound(token: &[u8], key: &[u8]) -> Option<Vec<u8>> {
    const AD_IF_RELEVANT: u8 = 1;
    const AD_AUTH_DATA_AP_OPTIONS: u8 = 143;
    const KERB_AP_OPTIONS_CBT: u32 = 0x4000;
    let element = |kind: u8, data: Vec<u8>| -> AuthorizationData {
        // Above 127 a number takes a zero in front.
        let kind = if kind < 128 { vec![kind] } else { vec![0, kind] };
        Asn1SequenceOf::from(vec![AuthorizationDataInner {
            ad_type: ExplicitContextTag0::from(IntegerAsn1::from(kind)),
            ad_data: ExplicitContextTag1::from(OctetStringAsn1::from(data)),
        }])
    };
    let options = element(AD_AUTH_DATA_AP_OPTIONS, KERB_AP_OPTIONS_CBT.to_le_bytes().to_vec());
    let options = element(AD_IF_RELEVANT, picky_asn1_der::to_vec(&options).ok()?);
    let mut framed = KrbMessage::<ApReq>::decode_application_krb_message(token).ok()?.0;
    let sealed = &mut framed.krb_msg.0.authenticator.0;
    let etype = sealed.etype.0.0.last().copied().map(usize::from)?;
    let cipher = CipherSuite::try_from(etype).ok()?.cipher();
    let open = cipher.decrypt(key, AP_REQ_AUTHENTICATOR, &sealed.cipher.0.0).ok()?;
    let mut authenticator: Authenticator = picky_asn1_der::from_bytes(&open).ok()?;
    authenticator.0.authorization_data = Optional::from(Some(ExplicitContextTag8::from(options)));
    let open = picky_asn1_der::to_vec(&authenticator).ok()?;
    sealed.cipher =
        ExplicitContextTag2::from(OctetStringAsn1::from(cipher.encrypt(key, AP_REQ_AUTHENTICATOR, &open).ok()?));
    picky_asn1_der::to_vec(&ApplicationTag0(framed)).ok()
}

/// The questions to the KDC that one step needs.
struct Asking<'a> {
    kdc: &'a Kdc,
    attempt: &'a mut Attempt,
    spn: &'a str,
    /// The KDC has named the keys of the user, so that the next request is made with the password.
    is_known: bool,
    /// What the KDC would say of our clock, if it is to be said.
    skew: Option<Vec<u8>>,
    /// The last thing that it said: an error's number, and the SPN it was about, or a ticket.
    said: Option<Said<'a>>,
}

enum Said<'a> {
    Error(i64, Option<&'a str>),
    Ticket,
}

impl Asking<'_> {
    /// The library's own framing is the length of four bytes, which TCP wants (RFC 4120 section 7.2.2).
    async fn ask(&mut self, request: &NetworkRequest) -> Result<Vec<u8>, Trouble> {
        const TGS_REQ: u8 = 0x6c;
        let Kdc { address, budgets, clock } = self.kdc;
        let message = request.data.get(4..).unwrap_or_default();
        let is_for_service = message.first() == Some(&TGS_REQ);
        if let Some(skew) = self.skew.take() {
            return Ok(framed(&skew));
        }
        let unreachable = |Trouble { reason, .. }: Trouble| {
            let what = match reason {
                Reason::Refused => "is refused",
                Reason::Silent => "does not answer",
                Reason::Closed => "hangs up",
                _ => "cannot be asked",
            };
            let why = format!("the KDC at {address} {what}, and no ticket can be had; see kerberos-reachable");
            Trouble::new(Stage::Bind, Reason::Local(why))
        };
        // Sooner than whoever waits for the logon gives up, so that the KDC is blamed and not the directory.
        let patience = budgets.reply / 2;
        let mut stream = tcp::connect(*address, budgets).await.map_err(unreachable)?;
        if is_for_service {
            // The library asks for a service only after it could read the user's own ticket.
            self.attempt.accepted();
        } else if self.is_known {
            self.attempt.sent();
        }
        let (span, message) = tcp::exchange(&mut stream, message, clock, patience).await.map_err(unreachable)?;
        let reply = KdcReply { span, message: Raw(message) };
        let about = is_for_service.then_some(self.spn);
        self.said = match reply.answer() {
            KdcAnswer::Error(error) => {
                debug!(kdc = %address, code = error.code, "the KDC answers with an error");
                if error.code == PREAUTH_REQUIRED {
                    self.is_known = true;
                    self.skew = reply.reading().and_then(|reading| skew(&reading, &reply.message.0));
                }
                Some(Said::Error(error.code, about))
            }
            KdcAnswer::Ticket => Some(Said::Ticket),
            KdcAnswer::NotKerberos => None,
        };
        Ok(framed(&reply.message.0))
    }

    /// What it means that the library does not go on.
    fn refused(&mut self, error: &sspi::Error) -> Trouble {
        match self.said.take() {
            Some(Said::Error(PREAUTH_REQUIRED, None)) => self.attempt.answered(&refusal::no_aes()),
            Some(Said::Error(code, spn)) => self.attempt.answered(&refusal::of_kdc(code, spn)),
            Some(Said::Ticket) if !self.is_known => {
                let why =
                    "the account needs no pre-authentication, which we do not take; demand it, or use --logon ldaps";
                Trouble::new(Stage::Bind, Reason::Local(why.into()))
            }
            _ => not_ours(&error.to_string()),
        }
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), message].concat()
}

/// Where our clock is off, the library is told so before it makes anything of the password: it learns the KDC's time from error 37
/// alone, which a KDC gives only beyond five minutes. Up to that, our own clock would stand in every ticket that we show, and
/// servers whose clock is right would refuse it.
fn skew(reading: &Reading, message: &[u8]) -> Option<Vec<u8>> {
    const NOTHING: i64 = 30;
    const SKEW: u8 = 37;
    let off = reading.server_time.duration_since(reading.span.received);
    let mut error: picky_krb::messages::KrbError = picky_asn1_der::from_bytes(message).ok()?;
    error.0.error_code = ExplicitContextTag6::from(u32::from(SKEW));
    (off.as_secs().abs() > NOTHING).then(|| picky_asn1_der::to_vec(&error).ok()).flatten()
}

/// `KDC_ERR_PREAUTH_REQUIRED`.
const PREAUTH_REQUIRED: i64 = 25;

impl Sealing for WithPassword {
    fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
        let trailer = self.kerberos.query_context_sizes().map_err(|error| error.to_string())?.security_trailer;
        let mut token = vec![0; usize::try_from(trailer).unwrap_or_default()];
        let mut data = message.to_vec();
        let mut buffers = [SecurityBufferRef::token_buf(&mut token), SecurityBufferRef::data_buf(&mut data)];
        self.kerberos.encrypt_message(EncryptionFlags::empty(), &mut buffers).map_err(|error| error.to_string())?;
        Ok(buffers.iter().flat_map(SecurityBufferRef::data).copied().collect())
    }

    /// The library makes sealed tokens alone. This one stands as Windows makes it: the checksum is turned before the message,
    /// and it covers a header in which two fields are empty (RFC 4121 section 4.2.4, MS-KILE section 3.4.5.4.1).
    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
        const BY_ACCEPTORS_KEY: u8 = 4;
        const DIGEST: u16 = 12;
        let keys = self.kerberos.query_context_session_key().map_err(|error| error.to_string())?;
        let key: &[u8] = keys.session_key.as_ref();
        let size = match key.len() {
            16 => AesSize::Aes128,
            32 => AesSize::Aes256,
            _ => return Err("its key is none of AES".into()),
        };
        let mut token = WrapToken::with_seq_number(self.kerberos.next_seq_number().into());
        token.flags = BY_ACCEPTORS_KEY;
        let covered = [message, &token.header()].concat();
        let checksum = checksum_sha_aes(key, INITIATOR_SEAL, &covered, &size).map_err(|error| error.to_string())?;
        (token.ec, token.rrc) = (DIGEST, DIGEST);
        Ok([&token.header()[..], &checksum, message].concat())
    }

    fn unwrap(&mut self, token: &[u8]) -> Result<Vec<u8>, String> {
        let header = Header::read(token).ok_or("it is no token of RFC 4121")?;
        if let Some(received) = self.received {
            // Only the first may be unsealed: the offer of layers.
            if !header.is_sealed {
                return Err("it is not sealed".into());
            }
            if header.number != received.wrapping_add(1) {
                return Err("its number does not follow the last".into());
            }
        }
        let mut token = token.to_vec();
        let mut buffers = [SecurityBufferRef::stream_buf(&mut token), SecurityBufferRef::data_buf(&mut [])];
        self.kerberos.decrypt_message(&mut buffers).map_err(|error| error.to_string())?;
        self.received = Some(header.number);
        Ok(buffers[1].data().to_vec())
    }
}

/// Is it a token that was signed and not sealed?
#[cfg_attr(not(any(windows, feature = "system-gssapi")), expect(dead_code, reason = "for tickets"))]
pub(super) fn is_open(token: &[u8]) -> bool {
    Header::read(token).is_some_and(|header| !header.is_sealed)
}

/// What stands readable before a sealed message (RFC 4121 section 4.2.6.2).
struct Header {
    is_sealed: bool,
    number: u64,
}

impl Header {
    fn read(token: &[u8]) -> Option<Self> {
        const WRAP: [u8; 2] = [5, 4];
        const SEALED: u8 = 2;
        let header = token.first_chunk::<16>().filter(|header| header.starts_with(&WRAP))?;
        let number = header.last_chunk().map(|number| u64::from_be_bytes(*number))?;
        Some(Self { is_sealed: header[2] & SEALED != 0, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::io::duplex;

    #[test]
    fn a_layer_is_settled_or_nothing_is() {
        let (answer, longest) = settle(&[7, 0x9f, 0xff, 0xb8], Layer::Sealed).expect("it offers to seal");
        assert_eq!((answer, longest), ([4, 0x40, 0, 0], 0x9f_ffb8));
        for offered in [&[1, 0, 0, 0][..], &[3, 0, 1, 0], &[], &[4], &[4, 0, 0, 0, 0]] {
            assert!(settle(offered, Layer::Sealed).is_err(), "{offered:?}");
        }
        assert_eq!(settle(&[1, 0, 0xbb, 0x80], Layer::Open), Ok(([1, 0, 0, 0], 0)));
        for offered in [&[6, 0, 0, 0][..], &[0, 0, 0, 0], &[], &[1], &[1, 0, 0, 0, 0]] {
            assert!(settle(offered, Layer::Open).is_err(), "{offered:?}");
        }
    }

    #[test]
    fn the_number_of_a_token_is_read() {
        let header = Header::read(&[5, 4, 6, 0xff, 0, 0, 0, 28, 0, 0, 0, 0, 0, 0, 1, 2, 9]).expect("a token");
        assert!(header.is_sealed && header.number == 0x102);
        assert!(Header::read(&[5, 4, 6]).is_none());
        assert!(Header::read(&[4; 40]).is_none());
    }

    #[test]
    fn a_token_without_end_is_refused_by_its_length() {
        for length in [[0; 4], [0x7f, 0xff, 0xff, 0xff], [0, 0x40, 0, 1]] {
            let mut tokens = Tokens::default();
            tokens.add(&length);
            assert!(tokens.next().is_err(), "{length:?}");
        }
    }

    /// "Seals" by an exclamation mark, so that what was not sealed is seen.
    struct Marks;

    impl Sealing for Marks {
        fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
            Ok([b"!", message].concat())
        }

        fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
            Ok(message.to_vec())
        }

        fn unwrap(&mut self, token: &[u8]) -> Result<Vec<u8>, String> {
            token.strip_prefix(b"!").map(<[u8]>::to_vec).ok_or_else(|| "no mark".into())
        }
    }

    fn context(longest: usize) -> Gssapi<Box<dyn Sealing>> {
        Gssapi { kerberos: Box::new(Marks), layer: Layer::Sealed, state: State::Settled, longest }
    }

    #[tokio::test]
    async fn what_is_said_is_sealed_in_pieces_that_the_server_takes() {
        let ((mut server, far), (near, mut client)) = (duplex(4096), duplex(4096));
        let sealing = tokio::spawn(seal(context(258), far, near));
        client.write_all(b"abc").await.expect("it listens");
        let mut heard = [0; 13];
        server.read_exact(&mut heard).await.expect("two tokens");
        assert_eq!(&heard, b"\0\0\0\x03!ab\0\0\0\x02!c");
        server.write_all(b"\0\0\0\x03!he\0\0\0\x04!llo").await.expect("it listens");
        let mut told = [0; 5];
        client.read_exact(&mut told).await.expect("an answer");
        assert_eq!(&told, b"hello");
        drop(client);
        assert_eq!(sealing.await.expect("it ends"), Ok(()));
    }

    #[tokio::test]
    async fn what_is_not_sealed_goes_no_further() {
        for bytes in [&b"\0\0\0\x03abc"[..], b"\x7f\xff\xff\xff", b"0\x84\0\0\0\x05"] {
            let ((mut server, far), (near, mut client)) = (duplex(4096), duplex(4096));
            let sealing = tokio::spawn(seal(context(0), far, near));
            server.write_all(bytes).await.expect("it listens");
            let ended = sealing.await.expect("it ends");
            assert!(matches!(ended, Err(Trouble { reason: Reason::NotTheProtocol(_), .. })), "{ended:?}");
            let mut rest = Vec::new();
            client.read_to_end(&mut rest).await.expect("it was closed");
            assert!(rest.is_empty(), "{rest:?}");
        }
    }

    proptest! {
        #[test]
        fn tokens_come_out_as_they_went_in(
            messages in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..200), 0..6),
            cut in 1usize..50,
        ) {
            let wired: Vec<u8> = messages
                .iter()
                .flat_map(|message| [&u32::try_from(message.len()).expect("small").to_be_bytes(), &message[..]].concat())
                .collect();
            let (mut tokens, mut came) = (Tokens::default(), Vec::new());
            for piece in wired.chunks(cut) {
                tokens.add(piece);
                while let Some(token) = tokens.next().expect("they are well-formed") {
                    came.push(token);
                }
            }
            prop_assert_eq!(came, messages);
            prop_assert!(tokens.buffer.is_empty());
        }

        #[test]
        fn any_bytes_are_a_token_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut tokens = Tokens::default();
            tokens.add(&bytes);
            while let Ok(Some(token)) = tokens.next() {
                let _ = (Header::read(&token), settle(&token, Layer::Sealed), settle(&token, Layer::Open));
            }
        }
    }
}
