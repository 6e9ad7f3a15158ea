//! The hello of an old client, by hand, for servers that our TLS library does not speak with: up to TLS 1.2 the server's
//! certificate comes in plain text, so nothing has to be encrypted to see it. tls-parser reads the messages.

use super::{
    conversation::Trouble,
    random, text,
    tls::{self, FAREWELL},
};
use exchange_preflight_checks::{
    facts::{
        raw::Raw,
        tls::{TlsSeen, TlsVersion, version_name},
    },
    model::evidence::{Reason, Stage},
};
use rustls::pki_types::ServerName;
use tls_parser::{TlsMessageHandshake, parse_tls_handshake_msg_certificate, parse_tls_handshake_msg_server_hello};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::{Instant, timeout, timeout_at},
};

/// All that a server may send until its certificate is in.
const LONGEST_FLIGHT: usize = 256 * 1024;

/// Types of records (RFC 5246 section 6.2.1) and of handshake messages (section 7.4).
const RECORD_HEADER: usize = 5;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const MESSAGE_HEADER: usize = 4;
const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const SERVER_HELLO_DONE: u8 = 14;

/// Says hello, hears the server's hello and certificate, and goes away. `seen` is what was learnt, also where it fails.
pub(super) async fn look<S>(
    stream: S,
    up_to: TlsVersion,
    name: &str,
    until: Instant,
    seen: &mut Option<TlsSeen>,
) -> Result<(), Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut flight = Flight::new(up_to);
    let heard = timeout_at(until, hear(stream, up_to, name, &mut flight)).await;
    *seen = Some(flight.seen).filter(|seen| seen.version.is_some());
    match heard {
        Ok(heard) => heard.map_err(|trouble| trouble.at(Stage::Tls)),
        Err(_) => Err(Trouble::new(Stage::Tls, Reason::Silent)),
    }
}

async fn hear<S>(mut stream: S, up_to: TlsVersion, name: &str, flight: &mut Flight) -> Result<(), Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let hello = client_hello(up_to, random::bytes()?, name);
    stream.write_all(&hello).await.map_err(|error| Trouble::broken(&error))?;
    let mut chunk = vec![0; 16 * 1024];
    loop {
        let length = match stream.read(&mut chunk).await {
            Ok(0) => return Err(Trouble::new(Stage::Tls, Reason::Closed)),
            Ok(length) => length,
            Err(error) => return Err(Trouble::broken(&error)),
        };
        if flight.take(&chunk[..length])? {
            break;
        }
    }
    // RFC 5246 section 7.2.1 and 7.2.2: we leave on purpose (90), and close (0). Nobody waits for it.
    let version = up_to.number().to_be_bytes();
    let goodbye = [&[ALERT][..], &version, &[0, 2, 1, 90, ALERT], &version, &[0, 2, 1, 0]].concat();
    let leaving = async {
        stream.write_all(&goodbye).await?;
        stream.shutdown().await
    };
    let _ = timeout(FAREWELL, leaving).await;
    Ok(())
}

/// Every suite with a certificate that a server of the last twenty years may insist on, by their numbers in the registry of
/// IANA. A row each: ECDHE with ECDSA, ECDHE with RSA, DHE with RSA, RSA alone; in a row GCM comes first, then CBC, 3DES and
/// RC4. The last is no suite: it says that we know of the attack on renegotiation (RFC 5746 section 3.3), without which some
/// servers hang up.
const SUITES: [u16; 33] = [
    0xc02c, 0xc02b, 0xc024, 0xc023, 0xc00a, 0xc009, 0xc008, 0xc007, //
    0xc030, 0xc02f, 0xc028, 0xc027, 0xc014, 0xc013, 0xc012, 0xc011, //
    0x009f, 0x009e, 0x006b, 0x0067, 0x0039, 0x0033, 0x0016, //
    0x009d, 0x009c, 0x003d, 0x003c, 0x0035, 0x002f, 0x000a, 0x0005, 0x0004, //
    0x00ff,
];

/// A `ClientHello` in its record (RFC 5246 section 7.4.1.2). The record says TLS 1.0, as old servers want it (appendix E.1).
fn client_hello(up_to: TlsVersion, random: [u8; 32], name: &str) -> Vec<u8> {
    const NO_COMPRESSION: [u8; 2] = [1, 0];
    let suites: Vec<u8> = SUITES.into_iter().flat_map(u16::to_be_bytes).collect();
    let body = [
        &up_to.number().to_be_bytes()[..],
        &random,
        &[0], // No session to take up again.
        &sized(&suites),
        &NO_COMPRESSION,
        &sized(&extensions(up_to, name)),
    ]
    .concat();
    let message = [&[CLIENT_HELLO, 0][..], &sized(&body)].concat();
    [&[HANDSHAKE, 3, 1][..], &sized(&message)].concat()
}

fn extensions(up_to: TlsVersion, name: &str) -> Vec<u8> {
    /// secp256r1, secp384r1, secp521r1, x25519 (RFC 8422 section 5.1.1).
    const GROUPS: [u16; 4] = [23, 24, 25, 29];
    /// SHA-256, 384, 512, 1 with RSA and with ECDSA (RFC 5246 section 7.4.1.4.1); PSS for certificates of that kind (RFC 8446
    /// section 4.2.3).
    const SIGNATURES: [u16; 11] =
        [0x0401, 0x0403, 0x0501, 0x0503, 0x0601, 0x0603, 0x0804, 0x0805, 0x0806, 0x0201, 0x0203];
    let extension = |number: u16, contents: &[u8]| [&number.to_be_bytes()[..], &sized(contents)].concat();
    let list = |numbers: &[u16]| sized(&numbers.iter().flat_map(|number| number.to_be_bytes()).collect::<Vec<_>>());
    let mut all = Vec::new();
    if let ServerName::DnsName(name) = tls::sni(name) {
        // RFC 6066 section 3: one host name.
        all.extend(extension(0, &sized(&[&[0][..], &sized(name.as_ref().as_bytes())].concat())));
    }
    all.extend(extension(10, &list(&GROUPS)));
    // Uncompressed points (RFC 8422 section 5.1.2).
    all.extend(extension(11, &[1, 0]));
    if up_to == TlsVersion::Tls12 {
        // No older version knows it.
        all.extend(extension(13, &list(&SIGNATURES)));
    }
    all
}

/// Behind its length of two bytes.
fn sized(contents: &[u8]) -> Vec<u8> {
    let length = u16::try_from(contents.len()).expect("our hello has a few hundred bytes");
    [&length.to_be_bytes()[..], contents].concat()
}

/// What the server sent so far. Records and messages know nothing of each other: a message may fill many records, and a
/// record many messages (RFC 5246 section 6.2.1).
struct Flight {
    up_to: TlsVersion,
    records: Vec<u8>,
    messages: Vec<u8>,
    left: usize,
    seen: TlsSeen,
}

/// Reads a flight that comes in pieces: whether the certificate is in, and what is known by then.
pub(super) fn read(pieces: &[&[u8]]) -> (Result<bool, Trouble>, TlsSeen) {
    let mut flight = Flight::new(TlsVersion::Tls12);
    let mut done = Ok(false);
    for piece in pieces {
        done = flight.take(piece);
        if done != Ok(false) {
            break;
        }
    }
    (done, flight.seen)
}

impl Flight {
    fn new(up_to: TlsVersion) -> Self {
        Self { up_to, records: Vec::new(), messages: Vec::new(), left: LONGEST_FLIGHT, seen: TlsSeen::default() }
    }

    /// Takes what came. `true` when the certificate is in.
    fn take(&mut self, bytes: &[u8]) -> Result<bool, Trouble> {
        let Some(left) = self.left.checked_sub(bytes.len()) else {
            return Err(strange(format!("more than {} KiB before its certificate was through", LONGEST_FLIGHT / 1024)));
        };
        self.left = left;
        self.records.extend(bytes);
        let mut records = std::mem::take(&mut self.records);
        let mut read = 0;
        while let Some((kind, contents)) = record(&records[read..])? {
            read += RECORD_HEADER + contents.len();
            match kind {
                ALERT => alert(contents)?,
                HANDSHAKE => {
                    self.messages.extend(contents);
                    if self.read_messages()? {
                        return Ok(true);
                    }
                }
                _ => return Err(strange(format!("a record of type {kind} within its hello"))),
            }
        }
        records.drain(..read);
        self.records = records;
        Ok(false)
    }

    fn read_messages(&mut self) -> Result<bool, Trouble> {
        let mut messages = std::mem::take(&mut self.messages);
        let mut read = 0;
        while let Some((kind, contents)) = message(&messages[read..]) {
            read += MESSAGE_HEADER + contents.len();
            match kind {
                SERVER_HELLO => self.read_hello(contents)?,
                CERTIFICATE => return self.read_certificate(contents).map(|()| true),
                SERVER_HELLO_DONE => return Err(strange("no certificate in all of its hello")),
                // Whatever else stands between them tells nothing about the certificate.
                _ => {}
            }
        }
        messages.drain(..read);
        self.messages = messages;
        Ok(false)
    }

    fn read_hello(&mut self, contents: &[u8]) -> Result<(), Trouble> {
        let Ok((_, TlsMessageHandshake::ServerHello(hello))) = parse_tls_handshake_msg_server_hello(contents) else {
            return Err(strange("a ServerHello that cannot be read"));
        };
        if self.seen.version.is_some() {
            return Err(strange("a second ServerHello"));
        }
        self.seen.version = Some(hello.version.0);
        self.seen.suite = Some(hello.cipher.0);
        if hello.version.0 > self.up_to.number() {
            return Err(strange(format!("{}, which was not offered", version_name(hello.version.0))));
        }
        Ok(())
    }

    fn read_certificate(&mut self, contents: &[u8]) -> Result<(), Trouble> {
        if self.seen.version.is_none() {
            return Err(strange("a certificate before its hello"));
        }
        let Ok((_, TlsMessageHandshake::Certificate(chain))) = parse_tls_handshake_msg_certificate(contents) else {
            return Err(strange("a Certificate message that cannot be read"));
        };
        self.seen.chain = chain.cert_chain.iter().map(|certificate| Raw(certificate.data.to_vec())).collect();
        if self.seen.chain.is_empty() { Err(strange("a chain without any certificate")) } else { Ok(()) }
    }
}

/// The first record, if it is whole: its type and its contents.
fn record(bytes: &[u8]) -> Result<Option<(u8, &[u8])>, Trouble> {
    /// RFC 5246 section 6.2.3: 2^14, and what encryption may add.
    const LONGEST: usize = (1 << 14) + 2048;
    let [kind, _, _, high, low, rest @ ..] = bytes else {
        // Three bytes of something else must not wait for a header.
        let is_begun = matches!(bytes, [] | [20..=23] | [20..=23, 3, ..]);
        return if is_begun { Ok(None) } else { Err(Trouble::strange(bytes)) };
    };
    if !tls::is_tls(bytes) {
        return Err(Trouble::strange(bytes));
    }
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    if length > LONGEST {
        return Err(strange(format!("a record of {length} bytes")));
    }
    Ok(rest.get(..length).map(|contents| (*kind, contents)))
}

/// The first handshake message, if it is whole: its type and its contents. One that is longer than a flight may be never
/// becomes whole.
fn message(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let [kind, high, middle, low, rest @ ..] = bytes else { return None };
    let length = u32::from_be_bytes([0, *high, *middle, *low]);
    let contents = rest.get(..usize::try_from(length).ok()?)?;
    Some((*kind, contents))
}

/// An alert ends it, unless it is a mere warning such as "I do not know that name" (RFC 5246 section 7.2).
fn alert(contents: &[u8]) -> Result<(), Trouble> {
    const WARNING: u8 = 1;
    match *contents {
        [_, 0] => Err(Trouble::new(Stage::Tls, Reason::Closed)),
        [WARNING, _] => Ok(()),
        [_, number] => Err(Trouble::new(Stage::Tls, tls::said_alert(number))),
        _ => Err(strange("an alert that cannot be read")),
    }
}

fn strange(what: impl AsRef<str>) -> Trouble {
    Trouble::not_the_protocol(text::quoted(what.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tls_parser::{TlsMessage, parse_tls_client_hello_extensions, parse_tls_plaintext};

    #[test]
    fn the_hello_is_what_a_parser_reads() {
        for version in [TlsVersion::Tls10, TlsVersion::Tls11, TlsVersion::Tls12] {
            let bytes = client_hello(version, [7; 32], "mail.contoso.com");
            let (rest, record) = parse_tls_plaintext(&bytes).expect("a record");
            assert!(rest.is_empty());
            let [TlsMessage::Handshake(TlsMessageHandshake::ClientHello(hello))] = &record.msg[..] else {
                panic!("no hello: {record:?}")
            };
            assert_eq!((record.hdr.version.0, hello.version.0), (0x0301, version.number()));
            let known = hello.get_ciphers().into_iter().flatten().count();
            assert_eq!(known, SUITES.len(), "every number is a suite, or the signal of RFC 5746");
            let (rest, extensions) = parse_tls_client_hello_extensions(hello.ext.expect("extensions")).expect("read");
            assert!(rest.is_empty());
            assert_eq!(extensions.len(), if version == TlsVersion::Tls12 { 4 } else { 3 });
            assert!(bytes.windows(16).any(|part| part == b"mail.contoso.com"));
        }
    }

    #[test]
    fn an_address_and_what_is_no_name_are_not_sent() {
        for name in ["10.0.0.1", "::1", "", "two words", &"x".repeat(300)] {
            let bytes = client_hello(TlsVersion::Tls10, [7; 32], name);
            assert_eq!(bytes.len(), client_hello(TlsVersion::Tls10, [7; 32], "").len(), "{name}");
        }
    }

    fn framed(kind: u8, contents: &[u8]) -> Vec<u8> {
        [&[kind, 0][..], &sized(contents)].concat()
    }

    /// A server's hello and chain, as handshake messages.
    fn messages(version: u16, chain: &[&[u8]]) -> Vec<u8> {
        let hello = [&version.to_be_bytes()[..], &[9; 32], &[0, 0xc0, 0x14, 0]].concat();
        let chain: Vec<u8> = chain.iter().flat_map(|one| [&[0][..], &sized(one)].concat()).collect();
        [framed(SERVER_HELLO, &hello), framed(CERTIFICATE, &[&[0][..], &sized(&chain)].concat())].concat()
    }

    proptest! {
        #[test]
        fn a_chain_is_read_however_it_is_cut(record in 1..90_usize, piece in 1..90_usize) {
            let messages = messages(0x0302, &[b"leaf", b"", &[3; 90]]);
            let bytes: Vec<u8> =
                messages.chunks(record).flat_map(|part| [&[HANDSHAKE, 3, 2][..], &sized(part)].concat()).collect();
            let pieces: Vec<_> = bytes.chunks(piece).collect();
            let (done, seen) = read(&pieces);
            prop_assert_eq!(done, Ok(true));
            prop_assert_eq!((seen.version, seen.suite), (Some(0x0302), Some(0xc014)));
            prop_assert_eq!(seen.chain, [Raw(b"leaf".to_vec()), Raw(vec![]), Raw(vec![3; 90])]);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400), piece in 1..50_usize) {
            let framed = [&[HANDSHAKE, 3, 1][..], &sized(&bytes)].concat();
            let hello = [messages(0x0301, &[]), bytes.clone()].concat();
            let in_hello = [&[HANDSHAKE, 3, 1][..], &sized(&hello)].concat();
            for bytes in [bytes, framed, in_hello] {
                let _ = read(&bytes.chunks(piece).collect::<Vec<_>>());
            }
        }

        #[test]
        fn a_chain_with_a_bent_byte_is_read_or_refused(at in 0..190_usize, bent in any::<u8>()) {
            let mut bytes = [&[HANDSHAKE, 3, 3][..], &sized(&messages(0x0303, &[b"leaf", &[3; 90]]))].concat();
            let at = at % bytes.len();
            bytes[at] = bent;
            let _ = read(&[&bytes]);
        }
    }

    #[test]
    fn what_is_no_such_flight_is_refused() {
        let record = |kind: u8, contents: &[u8]| [&[kind, 3, 1][..], &sized(contents)].concat();
        let above = record(HANDSHAKE, &messages(0x0304, &[b"leaf"]));
        let twice = record(HANDSHAKE, &[messages(0x0303, &[]), messages(0x0303, &[b"leaf"])].concat());
        let only_chain = record(HANDSHAKE, &messages(0x0303, &[b"leaf"])[42..]);
        let no_chain = record(HANDSHAKE, &framed(SERVER_HELLO_DONE, &[]));
        let data = record(23, b"x");
        let long = [HANDSHAKE, 3, 1, 0xff, 0xff];
        for bytes in
            [&above[..], &twice, &only_chain, &no_chain, &data, &long, b"220 mail", b"HT", &record(ALERT, &[2])]
        {
            let (done, _) = read(&[bytes]);
            let reason = done.expect_err("refused").reason;
            assert!(matches!(reason, Reason::NotTheProtocol(_)), "{bytes:02x?}: {reason:?}");
        }
    }

    #[test]
    fn a_warning_is_passed_over_and_an_alert_ends_it() {
        let unknown_name = [ALERT, 3, 1, 0, 2, 1, 112];
        let hello = [&[HANDSHAKE, 3, 1][..], &sized(&messages(0x0301, &[b"leaf"]))].concat();
        assert_eq!(read(&[&unknown_name, &hello]).0, Ok(true));
        let reason = |alert: [u8; 7]| read(&[&alert]).0.expect_err("an end").reason;
        assert_eq!(reason([ALERT, 3, 1, 0, 2, 2, 40]), Reason::ServerSaid("TLS alert handshake_failure".into()));
        assert_eq!(reason([ALERT, 3, 1, 0, 2, 2, 200]), Reason::ServerSaid("TLS alert 200".into()));
        assert_eq!(reason([ALERT, 3, 1, 0, 2, 1, 0]), Reason::Closed);
    }

    #[test]
    fn a_flight_without_end_is_cut() {
        let mut flight = Flight::new(TlsVersion::Tls12);
        let record = [&[HANDSHAKE, 3, 1][..], &sized(&[0xff; 16_000])].concat();
        let refused = (0..100).find_map(|_| flight.take(&record).err()).expect("a bound");
        assert!(matches!(refused.reason, Reason::NotTheProtocol(_)));
        assert!(flight.messages.len() <= LONGEST_FLIGHT);
    }
}
