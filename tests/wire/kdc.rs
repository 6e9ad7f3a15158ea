//! A KDC that really encrypts, and otherwise does what a test tells it.

use crate::wire::script::{der, framed, hear};
use exchange_preflight::wire::clock::Clock;
use exchange_preflight_checks::facts::{
    kerberos::{instant, integer},
    net::Transport,
};
use jiff::{SignedDuration, Timestamp};
use picky_asn1::{
    bit_string::BitString,
    date::Date,
    restricted_string::Ia5String,
    wrapper::{
        Asn1SequenceOf, ExplicitContextTag0, ExplicitContextTag1, ExplicitContextTag2, ExplicitContextTag3,
        ExplicitContextTag4, ExplicitContextTag5, ExplicitContextTag6, ExplicitContextTag7, ExplicitContextTag9,
        ExplicitContextTag10, IntegerAsn1, OctetStringAsn1, Optional,
    },
};
use picky_krb::{
    constants::key_usages::{
        AS_REP_ENC, AS_REQ_TIMESTAMP, TGS_REP_ENC_SESSION_KEY, TGS_REQ_PA_DATA_AP_REQ_AUTHENTICATOR,
        TGS_REQ_PA_DATA_AP_REQ_AUTHENTICATOR_CKSUM,
    },
    crypto::CipherSuite,
    data_types::{
        Authenticator, EncryptedData, EncryptionKey, KerberosFlags, KerberosStringAsn1, KerberosTime, PaEncTsEnc,
        PrincipalName, Ticket, TicketInner,
    },
    messages::{ApReq, AsRep, AsReq, EncAsRepPart, EncKdcRepPart, EncTgsRepPart, KdcRep, KdcReq, TgsRep, TgsReq},
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, OnceLock},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    time::{Duration, sleep},
};

/// The password of all users.
pub(super) const PASSWORD: &str = "Lab";
const SALT: &str = "CONTOSO.COMreader";
/// Of every ticket for a KDC, so that one KDC takes what another gave.
const KDC_SESSION: [u8; 32] = [7; 32];
const SERVICE_SESSION: [u8; 32] = [9; 32];

/// A request, as a KDC hears it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) transport: Transport,
    pub(super) is_first_ticket: bool,
    /// The password was part of it, and it was the right one.
    pub(super) password: Option<bool>,
    pub(super) realm: String,
    pub(super) server: String,
    /// The time of the client, where it tells.
    time: Option<Timestamp>,
    nonce: IntegerAsn1,
}

/// What it says.
pub(super) enum Says {
    /// A message.
    This(Vec<u8>),
    /// Several datagrams, or bytes of a connection without a length before them.
    Bytes(Vec<Vec<u8>>),
    /// A byte now and then.
    Drips(Vec<u8>),
    Nothing,
}

/// How an answer is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bent {
    Not,
    Nonce,
    Garbage,
    OtherName,
    OtherKey,
    OtherExchange,
    Trailing,
    ShortKey,
}

/// A KDC whose clock is ahead by so much.
pub(super) struct Honest {
    pub(super) ahead: SignedDuration,
}

impl Honest {
    pub(super) fn now(&self) -> Timestamp {
        Clock::start().now() + self.ahead
    }

    /// As the real ones answer.
    pub(super) fn answer(&self, asked: &Asked) -> Vec<u8> {
        match asked.password {
            None if asked.is_first_ticket => return self.error(25, Some(&methods(18))),
            Some(false) => return self.error(24, None),
            _ => {}
        }
        let skew = asked.time.map(|time| time.duration_since(self.now()).abs());
        if skew.is_some_and(|skew| skew > SignedDuration::from_mins(5)) {
            return self.error(37, None);
        }
        ticket(asked, &asked.server, Bent::Not)
    }

    pub(super) fn error(&self, code: u8, data: Option<&[u8]>) -> Vec<u8> {
        self.error_saying(code, data, None)
    }

    pub(super) fn error_saying(&self, code: u8, data: Option<&[u8]>, text: Option<&[u8]>) -> Vec<u8> {
        let integer = |value: u8| der(0x02, &[value]);
        let string = |bytes: &[u8]| der(0x1b, bytes);
        let names = [string(b"krbtgt"), string(b"CONTOSO.COM")].concat();
        let sname = [der(0xa0, &integer(2)), der(0xa1, &der(0x30, &names))].concat();
        let stime = self.now().strftime("%Y%m%d%H%M%SZ").to_string();
        let body = [
            der(0xa0, &integer(5)),
            der(0xa1, &integer(30)),
            der(0xa4, &der(0x18, stime.as_bytes())),
            der(0xa5, &integer(0)),
            der(0xa6, &integer(code)),
            der(0xa9, &string(b"CONTOSO.COM")),
            der(0xaa, &der(0x30, &sname)),
            text.map(|text| der(0xab, &string(text))).unwrap_or_default(),
            data.map(|data| der(0xac, &der(0x04, data))).unwrap_or_default(),
        ];
        der(0x7e, &der(0x30, &body.concat()))
    }
}

/// METHOD-DATA with an ETYPE-INFO2 of this encryption type.
pub(super) fn methods(etype: u8) -> Vec<u8> {
    let entry = [der(0xa0, &der(0x02, &[etype])), der(0xa1, &der(0x1b, SALT.as_bytes()))].concat();
    let info = der(0x30, &der(0x30, &entry));
    der(0x30, &der(0x30, &[der(0xa1, &der(0x02, &[19])), der(0xa2, &der(0x04, &info))].concat()))
}

/// A ticket for `server`.
pub(super) fn ticket(asked: &Asked, server: &str, bent: Bent) -> Vec<u8> {
    let is_first = asked.is_first_ticket;
    let session = if server.starts_with("krbtgt/") { KDC_SESSION } else { SERVICE_SESSION };
    let session = if bent == Bent::ShortKey { vec![7; 16] } else { session.to_vec() };
    let part = EncKdcRepPart {
        key: ExplicitContextTag0::from(EncryptionKey {
            key_type: ExplicitContextTag0::from(number(18)),
            key_value: ExplicitContextTag1::from(OctetStringAsn1(session)),
        }),
        last_req: ExplicitContextTag1::from(Asn1SequenceOf(vec![])),
        nonce: ExplicitContextTag2::from(if bent == Bent::Nonce { number(1) } else { asked.nonce.clone() }),
        key_expiration: Optional::from(None),
        flags: ExplicitContextTag4::from(KerberosFlags::from(BitString::with_bytes([0; 4]))),
        auth_time: ExplicitContextTag5::from(day(22)),
        start_time: Optional::from(None),
        end_time: ExplicitContextTag7::from(day(23)),
        renew_till: Optional::from(None),
        srealm: ExplicitContextTag9::from(string(&asked.realm)),
        sname: ExplicitContextTag10::from(name(if bent == Bent::OtherName { "HTTP/other" } else { server })),
        caddr: Optional::from(None),
        encrypted_pa_data: Optional::from(None),
    };
    let plain = match bent {
        Bent::Garbage => Ok(vec![0x79, 0x03, 1, 2]),
        _ if is_first => picky_asn1_der::to_vec(&EncAsRepPart::from(part)),
        _ => picky_asn1_der::to_vec(&EncTgsRepPart::from(part)),
    };
    let (usage, key) =
        if is_first { (AS_REP_ENC, user_key()) } else { (TGS_REP_ENC_SESSION_KEY, KDC_SESSION.as_slice()) };
    let key = if bent == Bent::OtherKey { &[8; 32] } else { key };
    let sealed = CipherSuite::Aes256CtsHmacSha196.cipher().encrypt(key, usage, &plain.expect("it is written"));
    let rep = KdcRep {
        pvno: ExplicitContextTag0::from(number(5)),
        msg_type: ExplicitContextTag1::from(number(if is_first { 11 } else { 13 })),
        padata: Optional::from(None),
        crealm: ExplicitContextTag3::from(string("CONTOSO.COM")),
        cname: ExplicitContextTag4::from(name("reader")),
        ticket: ExplicitContextTag5::from(Ticket::from(TicketInner {
            tkt_vno: ExplicitContextTag0::from(number(5)),
            realm: ExplicitContextTag1::from(string(&asked.realm)),
            sname: ExplicitContextTag2::from(name(server)),
            // RC4, as of an account from long ago; nobody here can read it anyway.
            enc_part: ExplicitContextTag3::from(encrypted(23, Some(3), vec![0; 300])),
        })),
        enc_part: ExplicitContextTag6::from(encrypted(18, None, sealed.expect("the key fits"))),
    };
    let mut message = if is_first == (bent != Bent::OtherExchange) {
        picky_asn1_der::to_vec(&AsRep::from(rep))
    } else {
        picky_asn1_der::to_vec(&TgsRep::from(rep))
    }
    .expect("it is written");
    if bent == Bent::Trailing {
        message.extend([5, 0]);
    }
    message
}

/// Who was asked what.
pub(super) type Log = Arc<Mutex<Vec<Asked>>>;

/// A KDC over both transports, or only over one of them, the other being shut.
pub(super) async fn kdc<S>(at: SocketAddr, over: &[Transport], script: S) -> (SocketAddr, Log)
where
    S: Fn(&Asked) -> Says + Send + Sync + 'static,
{
    let (listener, socket) = both(at).await;
    let address = socket.local_addr().expect("an address");
    let (log, script) = (Log::default(), Arc::new(script));
    if over.contains(&Transport::Udp) {
        let (log, script) = (Arc::clone(&log), Arc::clone(&script));
        tokio::spawn(async move {
            loop {
                let (request, from) = hear(&socket).await;
                let asked = Asked::read(&request, Transport::Udp);
                log.lock().unwrap().push(asked.clone());
                match script(&asked) {
                    Says::This(message) => drop(socket.send_to(&message, from).await),
                    Says::Bytes(messages) => {
                        for message in messages {
                            drop(socket.send_to(&message, from).await);
                        }
                    }
                    Says::Drips(_) | Says::Nothing => {}
                }
            }
        });
    }
    if over.contains(&Transport::Tcp) {
        let (log, script) = (Arc::clone(&log), script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (log, script) = (Arc::clone(&log), Arc::clone(&script));
                tokio::spawn(async move { serve(stream, &log, &*script).await });
            }
        });
    }
    (address, log)
}

/// On loopback, at a port of its own.
pub(super) fn anywhere() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

async fn both(at: SocketAddr) -> (TcpListener, UdpSocket) {
    for _ in 0..20 {
        let listener = TcpListener::bind(at).await.expect("a port");
        if let Ok(socket) = UdpSocket::bind(listener.local_addr().expect("an address")).await {
            return (listener, socket);
        }
    }
    panic!("no port is free over both transports")
}

async fn serve(mut stream: TcpStream, log: &Log, script: &(dyn Fn(&Asked) -> Says + Send + Sync)) {
    let Ok(length) = stream.read_u32().await else { return };
    let mut request = vec![0; length as usize];
    if stream.read_exact(&mut request).await.is_err() {
        return;
    }
    let asked = Asked::read(&request, Transport::Tcp);
    log.lock().unwrap().push(asked.clone());
    match script(&asked) {
        Says::This(message) => drop(stream.write_all(&framed(&message)).await),
        Says::Bytes(messages) => drop(stream.write_all(&messages.concat()).await),
        Says::Drips(message) => {
            for byte in framed(&message) {
                let _ = stream.write_all(&[byte]).await;
                sleep(Duration::from_millis(40)).await;
            }
        }
        Says::Nothing => {}
    }
    // Until the client hangs up.
    while stream.read(&mut [0; 64]).await.is_ok_and(|length| length > 0) {}
}

impl Asked {
    /// What a KDC would refuse in a request fails the test.
    fn read(request: &[u8], transport: Transport) -> Self {
        let is_first_ticket = request.first() == Some(&0x6a);
        let KdcReq { padata, req_body, .. } = if is_first_ticket {
            picky_asn1_der::from_bytes::<AsReq>(request).expect("an AS-REQ").0
        } else {
            picky_asn1_der::from_bytes::<TgsReq>(request).expect("a TGS-REQ").0
        };
        let body = req_body.0;
        let etypes: Vec<_> = body.etype.0.0.iter().map(integer).collect();
        assert_eq!(etypes, [Some(18), Some(17)], "AES only");
        let aes = CipherSuite::Aes256CtsHmacSha196.cipher();
        let first = padata.0.map(|padata| padata.0.0.into_iter().next().expect("not empty"));
        let first = first.map(|first| (integer(&first.padata_type.0), first.padata_data.0.0));
        let (password, time) = match &first {
            None => (None, None),
            Some((Some(2), data)) => {
                let sealed: EncryptedData = picky_asn1_der::from_bytes(data).expect("it is encrypted");
                match aes.decrypt(user_key(), AS_REQ_TIMESTAMP, &sealed.cipher.0.0) {
                    Ok(plain) => {
                        let stamp: PaEncTsEnc = picky_asn1_der::from_bytes(&plain).expect("a timestamp");
                        (Some(true), instant(&stamp.patimestamp.0))
                    }
                    Err(_) => (Some(false), None),
                }
            }
            Some((Some(1), data)) => {
                let proof: ApReq = picky_asn1_der::from_bytes(data).expect("an AP-REQ");
                let sealed = &proof.0.authenticator.0.cipher.0.0;
                let plain = aes.decrypt(&KDC_SESSION, TGS_REQ_PA_DATA_AP_REQ_AUTHENTICATOR, sealed);
                let authenticator: Authenticator =
                    picky_asn1_der::from_bytes(&plain.expect("the key fits")).expect("an authenticator");
                let signed = picky_asn1_der::to_vec(&body).expect("it is written");
                let hasher = aes.checksum_type().hasher();
                let sum = hasher.checksum(&KDC_SESSION, TGS_REQ_PA_DATA_AP_REQ_AUTHENTICATOR_CKSUM, &signed);
                let told = authenticator.0.cksum.0.as_ref().expect("a checksum").checksum.0.0.clone();
                assert_eq!(told, sum.expect("the key fits"));
                (None, instant(&authenticator.0.ctime.0))
            }
            other => panic!("pre-authentication of another kind: {other:?}"),
        };
        let sname = body.sname.0.expect("a server").0;
        let server: Vec<_> = sname.name_string.0.0.iter().map(|part| part.0.to_string()).collect();
        let realm = body.realm.0.0.to_string();
        Self { transport, is_first_ticket, password, realm, server: server.join("/"), time, nonce: body.nonce.0 }
    }
}

fn user_key() -> &'static [u8] {
    static KEY: OnceLock<Vec<u8>> = OnceLock::new();
    KEY.get_or_init(|| {
        let aes = CipherSuite::Aes256CtsHmacSha196.cipher();
        aes.generate_key_from_password(PASSWORD.as_bytes(), SALT.as_bytes()).expect("a key")
    })
}

fn encrypted(etype: u8, kvno: Option<u8>, cipher: Vec<u8>) -> EncryptedData {
    EncryptedData {
        etype: ExplicitContextTag0::from(number(etype)),
        kvno: Optional::from(kvno.map(|kvno| ExplicitContextTag1::from(number(kvno)))),
        cipher: ExplicitContextTag2::from(OctetStringAsn1(cipher)),
    }
}

fn name(name: &str) -> PrincipalName {
    PrincipalName {
        name_type: ExplicitContextTag0::from(number(2)),
        name_string: ExplicitContextTag1::from(Asn1SequenceOf(name.split('/').map(string).collect())),
    }
}

fn string(text: &str) -> KerberosStringAsn1 {
    KerberosStringAsn1::from(Ia5String::from_string(text.to_owned()).expect("ASCII"))
}

fn number(value: u8) -> IntegerAsn1 {
    IntegerAsn1(vec![value])
}

fn day(day: u8) -> KerberosTime {
    KerberosTime::from(Date::new(2026, 11, day, 12, 0, 0).expect("a date"))
}
