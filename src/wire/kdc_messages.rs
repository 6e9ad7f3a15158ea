//! What is said to a KDC and what it says, in its own terms (RFC 4120 sections 5.4 and 5.5). Keys are of the AES family
//! alone (RFC 3962), and none of them can be printed.

use super::frame;
use exchange_preflight_checks::facts::{
    kerberos::{KrbError, instant, integer},
    ticket::Grant,
};
use jiff::{Timestamp, tz::TimeZone};
use picky_asn1::{
    bit_string::BitString,
    date::Date,
    restricted_string::Ia5String,
    wrapper::{
        Asn1SequenceOf, ExplicitContextTag0, ExplicitContextTag1, ExplicitContextTag2, ExplicitContextTag3,
        ExplicitContextTag4, ExplicitContextTag5, ExplicitContextTag7, ExplicitContextTag8, IntegerAsn1,
        OctetStringAsn1, Optional,
    },
};
use picky_krb::{
    constants::key_usages::{
        AS_REP_ENC, AS_REQ_TIMESTAMP, TGS_REP_ENC_SESSION_KEY, TGS_REQ_PA_DATA_AP_REQ_AUTHENTICATOR,
        TGS_REQ_PA_DATA_AP_REQ_AUTHENTICATOR_CKSUM,
    },
    crypto::CipherSuite,
    data_types::{
        Authenticator, AuthenticatorInner, Checksum, EncryptedData, EtypeInfo2, KerberosFlags, KerberosStringAsn1,
        KerberosTime, PaData, PaEncTsEnc, PrincipalName, Realm, Ticket,
    },
    gss_api::KrbMessage,
    messages::{
        ApReq, ApReqInner, AsRep, AsReq, EncAsRepPart, EncTgsRepPart, KdcRep, KdcReq, KdcReqBody, TgsRep, TgsReq,
    },
};
use serde::Serialize;
use zeroize::Zeroizing;

/// What a message is an answer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    /// Of a user's first ticket, in which the password takes part.
    Authentication,
    /// Of all others, in which a ticket does.
    TicketGranting,
}

/// A ticket, and what it takes to use it.
pub(super) struct Held {
    ticket: Ticket,
    pub(super) key: Key,
    client_realm: Realm,
    client: PrincipalName,
}

/// A key, wiped from memory at its end.
#[derive(Clone)]
pub(super) struct Key {
    suite: CipherSuite,
    bytes: Zeroizing<Vec<u8>>,
}

/// What a KDC said.
pub(super) enum Answer {
    Error(KrbError),
    /// A ticket, read with our key; and which of our requests it answers.
    Ticket {
        request: usize,
        held: Box<Held>,
        grant: Grant,
    },
    /// A ticket, and we had no key to read it with.
    Sealed,
}

/// Why it is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    NotKerberos,
    /// It is a ticket, but it does not fit what was asked.
    Unfit(&'static str),
}

/// How the user's key is made of the password.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Recipe {
    etype: i64,
    salt: Option<String>,
}

/// Why there is no key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoRecipe {
    /// The account has none of the AES family.
    NoAes,
    /// It is made in a way that nobody but Kerberos' own tests uses.
    Unusual,
}

/// The principal that logs on.
pub(super) struct Client<'a> {
    pub(super) name: &'a str,
    pub(super) realm: &'a str,
}

/// A request in nobody's name (RFC 4120 section 5.4.1), which no KDC gives a ticket for.
pub(super) fn nobodys(realm: &str, nonce: u32) -> Result<Vec<u8>, String> {
    // The epoch asks for as long as the KDC grants.
    let body = body(0, None, realm, &format!("krbtgt/{realm}"), date(1970, 1, 1), nonce)?;
    write(&AsReq::from(request(10, vec![], body)))
}

/// A request for the first ticket. `proof` is the user's key and the KDC's time (RFC 4120 section 5.2.7.2).
pub(super) fn first(client: &Client<'_>, proof: Option<(&Key, Timestamp)>, nonce: u32) -> Result<Vec<u8>, String> {
    const NT_PRINCIPAL: u8 = 1;
    /// RFC 6806 section 5.
    const NT_ENTERPRISE: u8 = 10;
    const PA_ENC_TIMESTAMP: u8 = 2;
    let mut padata = Vec::new();
    if let Some((key, now)) = proof {
        let (time, micros) = time(now)?;
        let stamp = PaEncTsEnc {
            patimestamp: ExplicitContextTag0::from(time),
            pausec: Optional::from(Some(ExplicitContextTag1::from(micros))),
        };
        padata.push(pa_data(PA_ENC_TIMESTAMP, write(&key.seal(AS_REQ_TIMESTAMP, &stamp)?)?));
    }
    let kind = if client.name.contains('@') { NT_ENTERPRISE } else { NT_PRINCIPAL };
    let name = PrincipalName {
        name_type: ExplicitContextTag0::from(number(kind)),
        name_string: ExplicitContextTag1::from(Asn1SequenceOf(vec![string(client.name)?])),
    };
    let body = body(CANONICALIZE, Some(name), client.realm, &format!("krbtgt/{}", client.realm), no_end(), nonce)?;
    write(&AsReq::from(request(10, padata, body)))
}

/// A request for a ticket for `server`, by a ticket for the KDC itself (RFC 4120 section 5.4.1). It asks for nothing that a KDC
/// might not want to give: a renewable one it refuses where the first was none.
pub(super) fn further(held: &Held, realm: &str, server: &str, now: Timestamp, nonce: u32) -> Result<Vec<u8>, String> {
    const PA_TGS_REQ: u8 = 1;
    let body = body(CANONICALIZE, None, realm, server, no_end(), nonce)?;
    let (ctime, cusec) = time(now)?;
    let authenticator = Authenticator::from(AuthenticatorInner {
        authenticator_vno: ExplicitContextTag0::from(number(5)),
        crealm: ExplicitContextTag1::from(held.client_realm.clone()),
        cname: ExplicitContextTag2::from(held.client.clone()),
        cksum: Optional::from(Some(ExplicitContextTag3::from(held.key.checksum(&write(&body)?)?))),
        cusec: ExplicitContextTag4::from(cusec),
        ctime: ExplicitContextTag5::from(ctime),
        subkey: Optional::from(None),
        seq_number: Optional::from(None),
        authorization_data: Optional::from(None),
    });
    let proof = ApReq::from(ApReqInner {
        pvno: ExplicitContextTag0::from(number(5)),
        msg_type: ExplicitContextTag1::from(number(14)),
        ap_options: ExplicitContextTag2::from(flags(0)),
        ticket: ExplicitContextTag3::from(held.ticket.clone()),
        authenticator: ExplicitContextTag4::from(held.key.seal(TGS_REQ_PA_DATA_AP_REQ_AUTHENTICATOR, &authenticator)?),
    });
    let padata = vec![pa_data(PA_TGS_REQ, write(&proof)?)];
    write(&TgsReq::from(request(12, padata, body)))
}

/// Reads what a KDC said to the requests with these numbers. `key` is what its own part is encrypted with.
pub(super) fn read(exchange: Exchange, message: &[u8], key: Option<&Key>, nonces: &[u32]) -> Result<Answer, Unread> {
    const KRB_ERROR: u8 = 0x7e;
    if !frame::is_whole(message) {
        return Err(Unread::NotKerberos);
    }
    if message.first() == Some(&KRB_ERROR) {
        return KrbError::read(message).map(Answer::Error).ok_or(Unread::NotKerberos);
    }
    let reply: Option<KdcRep> = match exchange {
        Exchange::Authentication => picky_asn1_der::from_bytes::<AsRep>(message).ok().map(|reply| reply.0),
        Exchange::TicketGranting => picky_asn1_der::from_bytes::<TgsRep>(message).ok().map(|reply| reply.0),
    };
    let reply = reply.ok_or(Unread::NotKerberos)?;
    let Some(key) = key else { return Ok(Answer::Sealed) };
    open(exchange, reply, key, nonces)
}

fn open(exchange: Exchange, reply: KdcRep, key: &Key, nonces: &[u32]) -> Result<Answer, Unread> {
    let unfit = |why| Err(Unread::Unfit(why));
    let usage = match exchange {
        Exchange::Authentication => AS_REP_ENC,
        Exchange::TicketGranting => TGS_REP_ENC_SESSION_KEY,
    };
    let Some(plain) = key.unseal(usage, &reply.enc_part.0) else {
        return unfit("it is not encrypted with our key");
    };
    if !frame::is_whole(&plain) {
        return unfit("what is encrypted in it says nothing");
    }
    // MIT's KDC takes the tag of the other exchange, which RFC 4120 section 5.4.2 allows.
    let part = picky_asn1_der::from_bytes::<EncAsRepPart>(&plain).map(|part| part.0);
    let Ok(part) = part.or_else(|_| picky_asn1_der::from_bytes::<EncTgsRepPart>(&plain).map(|part| part.0)) else {
        return unfit("what is encrypted in it says nothing");
    };
    let number = integer(&part.nonce.0);
    let Some(request) = nonces.iter().position(|nonce| number == Some((*nonce).into())) else {
        return unfit("it answers another request");
    };
    let ticket = reply.ticket.0;
    let (realm, server) = (part.srealm.0.to_string(), joined(&part.sname.0));
    // What stands outside could be anybody's; MIT's client looks at it too.
    if (ticket.0.realm.0.to_string(), joined(&ticket.0.sname.0)) != (realm.clone(), server.clone()) {
        return unfit("it is for somebody else than it says");
    }
    let session_etype = integer(&part.key.0.key_type.0).unwrap_or_default();
    let bytes = Zeroizing::new(part.key.0.key_value.0.0);
    let Some(key) = Key::new(session_etype, bytes) else { return unfit("its session key is none of AES") };
    let (etype, kvno) = clear(&ticket);
    let starts = part.start_time.0.as_ref().map_or(&part.auth_time.0, |time| &time.0);
    let grant =
        Grant { realm, server, etype, kvno, session_etype, starts: instant(starts), ends: instant(&part.end_time.0) };
    let held = Held { ticket, key, client_realm: reply.crealm.0, client: reply.cname.0 };
    Ok(Answer::Ticket { request, held: Box::new(held), grant })
}

/// What the first token of a security context shows of its ticket (RFC 4121 section 4.1). With the session key its authenticator
/// is encrypted.
pub(super) fn shown(token: &[u8]) -> Option<Grant> {
    let token = KrbMessage::<ApReq>::decode_application_krb_message(token).ok()?;
    let ApReqInner { ticket, authenticator, .. } = token.0.krb_msg.0;
    let (etype, kvno) = clear(&ticket.0);
    Some(Grant {
        realm: ticket.0.0.realm.0.to_string(),
        server: joined(&ticket.0.0.sname.0),
        etype,
        kvno,
        session_etype: integer(&authenticator.0.etype.0)?,
        starts: None,
        ends: None,
    })
}

impl Recipe {
    /// The first way of ours that the KDC names (RFC 4120 section 5.2.7.5); `data` is the METHOD-DATA of its error.
    pub(super) fn read(data: &[u8]) -> Result<Self, NoRecipe> {
        const PA_ETYPE_INFO2: i64 = 19;
        /// RFC 3962 section 4, where it is not stated.
        const ITERATIONS: [u8; 4] = 4096_u32.to_be_bytes();
        let methods = Some(data).filter(|data| frame::is_whole(data));
        let methods = methods.and_then(|data| picky_asn1_der::from_bytes::<Asn1SequenceOf<PaData>>(data).ok());
        let methods = methods.ok_or(NoRecipe::NoAes)?.0;
        let info = methods.into_iter().find(|method| integer(&method.padata_type.0) == Some(PA_ETYPE_INFO2));
        let info = info.map(|method| method.padata_data.0.0).filter(|info| frame::is_whole(info));
        let info = info.and_then(|info| picky_asn1_der::from_bytes::<EtypeInfo2>(&info).ok());
        for entry in info.ok_or(NoRecipe::NoAes)?.0 {
            let etype = integer(&entry.etype.0).unwrap_or_default();
            if suite(etype).is_none() {
                continue;
            }
            if entry.s2kparams.0.is_some_and(|iterations| iterations.0.0 != ITERATIONS) {
                return Err(NoRecipe::Unusual);
            }
            return Ok(Self { etype, salt: entry.salt.0.map(|salt| salt.0.to_string()) });
        }
        Err(NoRecipe::NoAes)
    }

    /// The key. Where no salt is named, it is the realm and the name (RFC 4120 section 4).
    pub(super) fn key(&self, client: &Client<'_>, password: &str) -> Option<Key> {
        let salt = self.salt.clone().unwrap_or_else(|| format!("{}{}", client.realm, client.name));
        let made = suite(self.etype)?.cipher().generate_key_from_password(password.as_bytes(), salt.as_bytes());
        Key::new(self.etype, Zeroizing::new(made.ok()?))
    }
}

impl Key {
    fn new(etype: i64, bytes: Zeroizing<Vec<u8>>) -> Option<Self> {
        let suite = suite(etype)?;
        (suite.cipher().key_size() == bytes.len()).then_some(Self { suite, bytes })
    }

    fn seal<T: Serialize>(&self, usage: i32, part: &T) -> Result<EncryptedData, String> {
        let sealed =
            self.suite.cipher().encrypt(&self.bytes, usage, &write(part)?).map_err(|error| error.to_string())?;
        Ok(EncryptedData {
            etype: ExplicitContextTag0::from(number((&self.suite).into())),
            kvno: Optional::from(None),
            cipher: ExplicitContextTag2::from(OctetStringAsn1(sealed)),
        })
    }

    fn unseal(&self, usage: i32, sealed: &EncryptedData) -> Option<Zeroizing<Vec<u8>>> {
        if integer(&sealed.etype.0) != Some(u8::from(&self.suite).into()) {
            return None;
        }
        self.suite.cipher().decrypt(&self.bytes, usage, &sealed.cipher.0.0).ok().map(Zeroizing::new)
    }

    /// Binds a request to its authenticator, so that nobody changes what is asked for.
    fn checksum(&self, message: &[u8]) -> Result<Checksum, String> {
        let kind = self.suite.cipher().checksum_type();
        let sum = kind.hasher().checksum(&self.bytes, TGS_REQ_PA_DATA_AP_REQ_AUTHENTICATOR_CKSUM, message);
        Ok(Checksum {
            cksumtype: ExplicitContextTag0::from(number(kind.into())),
            checksum: ExplicitContextTag1::from(OctetStringAsn1(sum.map_err(|error| error.to_string())?)),
        })
    }
}

/// `canonicalize`: the KDC may say whom it means by a name, and refer to another realm (RFC 6806 section 3).
const CANONICALIZE: u32 = 0x0001_0000;

const AES256_CTS_HMAC_SHA1: u8 = 18;
const AES128_CTS_HMAC_SHA1: u8 = 17;

fn body(
    options: u32,
    client: Option<PrincipalName>,
    realm: &str,
    server: &str,
    till: KerberosTime,
    nonce: u32,
) -> Result<KdcReqBody, String> {
    const NT_SRV_INST: u8 = 2;
    Ok(KdcReqBody {
        kdc_options: ExplicitContextTag0::from(flags(options)),
        cname: Optional::from(client.map(ExplicitContextTag1::from)),
        realm: ExplicitContextTag2::from(string(realm)?),
        sname: Optional::from(Some(ExplicitContextTag3::from(PrincipalName {
            name_type: ExplicitContextTag0::from(number(NT_SRV_INST)),
            name_string: ExplicitContextTag1::from(Asn1SequenceOf(
                server.split('/').map(string).collect::<Result<_, _>>()?,
            )),
        }))),
        from: Optional::from(None),
        till: ExplicitContextTag5::from(till),
        rtime: Optional::from(None),
        // Windows takes a request for changed whose numbers are longer than DER wants them.
        nonce: ExplicitContextTag7::from(IntegerAsn1::from_bytes_be_unsigned(nonce.to_be_bytes().to_vec())),
        etype: ExplicitContextTag8::from(Asn1SequenceOf(vec![
            number(AES256_CTS_HMAC_SHA1),
            number(AES128_CTS_HMAC_SHA1),
        ])),
        addresses: Optional::from(None),
        enc_authorization_data: Optional::from(None),
        additional_tickets: Optional::from(None),
    })
}

fn request(kind: u8, padata: Vec<PaData>, body: KdcReqBody) -> KdcReq {
    let padata = (!padata.is_empty()).then(|| ExplicitContextTag3::from(Asn1SequenceOf(padata)));
    KdcReq {
        pvno: ExplicitContextTag1::from(number(5)),
        msg_type: ExplicitContextTag2::from(number(kind)),
        padata: Optional::from(padata),
        req_body: ExplicitContextTag4::from(body),
    }
}

fn pa_data(kind: u8, data: Vec<u8>) -> PaData {
    PaData {
        padata_type: ExplicitContextTag1::from(number(kind)),
        padata_data: ExplicitContextTag2::from(OctetStringAsn1(data)),
    }
}

/// Encryption type and version of the key with which the service reads the ticket.
fn clear(ticket: &Ticket) -> (i64, Option<i64>) {
    let part = &ticket.0.enc_part.0;
    let kvno = part.kvno.0.as_ref().and_then(|kvno| integer(&kvno.0));
    (integer(&part.etype.0).unwrap_or_default(), kvno)
}

fn joined(name: &PrincipalName) -> String {
    let parts: Vec<String> = name.name_string.0.0.iter().map(|part| part.0.to_string()).collect();
    parts.join("/")
}

fn suite(etype: i64) -> Option<CipherSuite> {
    match u8::try_from(etype).ok()? {
        AES256_CTS_HMAC_SHA1 => Some(CipherSuite::Aes256CtsHmacSha196),
        AES128_CTS_HMAC_SHA1 => Some(CipherSuite::Aes128CtsHmacSha196),
        _ => None,
    }
}

fn string(text: &str) -> Result<KerberosStringAsn1, String> {
    let string = Ia5String::from_string(text.to_owned());
    string.map(KerberosStringAsn1::from).map_err(|_| format!("no Kerberos message can carry `{text}`"))
}

fn number(value: u8) -> IntegerAsn1 {
    IntegerAsn1(vec![value])
}

fn flags(bits: u32) -> KerberosFlags {
    KerberosFlags::from(BitString::with_bytes(bits.to_be_bytes()))
}

fn date(year: u16, month: u8, day: u8) -> KerberosTime {
    KerberosTime::from(Date::new(year, month, day, 0, 0, 0).expect("a date of this file"))
}

/// What Windows asks for: the last day that a 32-bit KDC knows is in 2038.
fn no_end() -> KerberosTime {
    date(2037, 9, 13)
}

/// Whole seconds, and the rest.
fn time(instant: Timestamp) -> Result<(KerberosTime, IntegerAsn1), String> {
    let civil = TimeZone::UTC.to_datetime(instant);
    let part = |value: i8| u8::try_from(value).unwrap_or_default();
    let date = u16::try_from(civil.year()).ok().and_then(|year| {
        let (month, day) = (part(civil.month()), part(civil.day()));
        Date::new(year, month, day, part(civil.hour()), part(civil.minute()), part(civil.second()))
    });
    let date = date.ok_or_else(|| format!("no Kerberos message can carry the time {instant}"))?;
    let micros = u32::try_from(civil.subsec_nanosecond() / 1_000).unwrap_or_default();
    Ok((KerberosTime::from(date), IntegerAsn1::from_bytes_be_unsigned(micros.to_be_bytes().to_vec())))
}

fn write<T: Serialize>(message: &T) -> Result<Vec<u8>, String> {
    picky_asn1_der::to_vec(message).map_err(|error| format!("the request could not be written: {error}"))
}
