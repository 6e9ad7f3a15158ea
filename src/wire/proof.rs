//! The client's side of a Kerberos context with a service of which nothing is wanted but that it takes the ticket.

use super::{
    bind::Context as _,
    conversation::{Trouble, Wire},
    credential::{Credential, Identity},
    fence::fenced,
    frame,
    security::{Establish, Gssapi, Kdc, Layer, Sealing, Target, WithPassword},
    session::{KDC_PORT, in_time, judged, turn},
    ticket::Ticket,
};
use exchange_preflight_checks::{
    facts::{kerberos::KrbError, ticket::RealmKdc},
    model::evidence::{Reason, Stage},
};
use picky_asn1_der::Asn1RawDer;
use picky_krb::gss_api::KrbMessage;
use std::{future::Future, net::SocketAddr};

/// A context, step by step.
pub(super) trait Proving: Send {
    /// The next token, made of the server's; `None` where it waits for nothing but an empty answer.
    fn step(&mut self, token: Vec<u8>) -> impl Future<Output = Result<Option<Vec<u8>>, Trouble>> + Send;

    /// The server has shown that it holds the key of the SPN's account.
    fn is_proven(&self) -> bool;
}

/// A context behind the fence, for libraries that read what a server sends are in it.
pub(super) struct Proof {
    /// Lost where such a library panicked.
    context: Option<Gssapi<Kerberos>>,
}

impl Proof {
    /// Gets the ticket, and makes the first token of it. The password goes nowhere but through the gate to the KDC.
    pub(super) async fn begin(
        wire: &Wire,
        spn: &str,
        kdc: &RealmKdc,
        bindings: Option<Vec<u8>>,
    ) -> Result<(Self, Vec<u8>), Trouble> {
        let Some(credential) = &wire.credential else {
            let why = "nobody logs on; state --user or --logon ticket";
            return Err(Trouble::new(Stage::Bind, Reason::Local(why.into())));
        };
        let target = Target { spn: spn.into(), layer: Layer::Open, bindings };
        let begun = async {
            let kerberos = Kerberos::new(wire, credential, target, kdc).await?;
            let mut proof = Self { context: Some(Gssapi::new(kerberos, Layer::Open)) };
            let token = in_time(wire, Stage::Bind, proof.step(Vec::new())).await?;
            Ok((proof, token.unwrap_or_default()))
        };
        begun.await.map_err(|trouble| judged(credential, trouble))
    }
}

impl Proving for Proof {
    async fn step(&mut self, token: Vec<u8>) -> Result<Option<Vec<u8>>, Trouble> {
        let nonsense = || Trouble::not_the_protocol("a token of Kerberos that says nothing sensible").at(Stage::Bind);
        let mut context = self.context.take().ok_or_else(nonsense)?;
        let stepping = fenced(async move {
            let stepped = context.step(&token).await;
            (context, stepped)
        });
        let (context, stepped) = stepping.await.map_err(|_panicked| nonsense())?;
        self.context = Some(context);
        stepped
    }

    fn is_proven(&self) -> bool {
        self.context.as_ref().is_some_and(Gssapi::is_proven)
    }
}

/// Whoever's ticket it is.
enum Kerberos {
    Password(Box<WithPassword>),
    Ticket(Box<Ticket>),
}

impl Kerberos {
    async fn new(wire: &Wire, credential: &Credential, target: Target, kdc: &RealmKdc) -> Result<Self, Trouble> {
        let Credential { identity, gate, .. } = credential;
        match identity {
            Identity::User(user, password) => {
                let attempt = turn(wire, gate.enter(&kdc.host)).await?;
                let address = SocketAddr::new(kdc.address, KDC_PORT);
                let kdc = Kdc { address, budgets: wire.budgets, clock: wire.clock };
                Ok(Self::Password(Box::new(WithPassword::new(user, password, target, kdc, attempt)?)))
            }
            Identity::Ticket { domain } => Ticket::new(target, domain).map(Box::new).map(Self::Ticket),
        }
    }
}

impl Establish for Kerberos {
    async fn establish(&mut self, token: &[u8]) -> Result<(Option<Vec<u8>>, bool), Trouble> {
        match self {
            Self::Password(kerberos) => kerberos.establish(token).await,
            Self::Ticket(kerberos) => kerberos.establish(token).await,
        }
    }
}

impl Sealing for Kerberos {
    fn wrap(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Self::Password(kerberos) => kerberos.wrap(message),
            Self::Ticket(kerberos) => kerberos.wrap(message),
        }
    }

    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Self::Password(kerberos) => kerberos.sign(message),
            Self::Ticket(kerberos) => kerberos.sign(message),
        }
    }

    fn unwrap(&mut self, token: &[u8]) -> Result<Vec<u8>, String> {
        match self {
            Self::Password(kerberos) => kerberos.unwrap(token),
            Self::Ticket(kerberos) => kerberos.unwrap(token),
        }
    }
}

/// The code of a KRB-ERROR, where a token holds one (RFC 4121 section 4.1), with the frame of the mechanism or without it.
pub(super) fn error_in(token: &[u8]) -> Option<i64> {
    const KRB_ERROR: [u8; 2] = [3, 0];
    // The identifier of the inner token reads like an empty part, so that all of it can be walked.
    if !frame::is_whole(token) {
        return None;
    }
    let framed = KrbMessage::<Asn1RawDer>::decode_application_krb_message(token).ok().map(|framed| framed.0);
    let inner = framed.filter(|framed| framed.krb5_token_id == KRB_ERROR).map(|framed| framed.krb_msg.0);
    KrbError::read(inner.as_deref().unwrap_or(token)).map(|error| error.code)
}

/// The same behind the fence: a parser of others' reads it.
pub(super) async fn error_of(token: Vec<u8>) -> Option<i64> {
    fenced(async move { error_in(&token) }).await.ok().flatten()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A KRB-ERROR as Windows sends it, without names or text, of this code and the realm CONTOSO.COM.
    pub(in crate::wire) fn krb_error(code: u8) -> Vec<u8> {
        let body = [
            &b"\xa0\x03\x02\x01\x05\xa1\x03\x02\x01\x1e\xa4\x11\x18\x0f20261122120000Z\xa5\x03\x02\x01\x00\xa6\x03\x02\x01"[..],
            &[code],
            b"\xa9\x0d\x1b\x0bCONTOSO.COM\xaa\x0d0\x0b\xa0\x03\x02\x01\x02\xa1\x040\x02\x1b\x00",
        ]
        .concat();
        let length = u8::try_from(body.len()).expect("it is short");
        [&[0x7e, length + 2, 0x30, length], &body[..]].concat()
    }

    /// The same in the frame of the mechanism.
    pub(in crate::wire) fn framed(id: [u8; 2], message: &[u8]) -> Vec<u8> {
        let inner = [&b"\x06\x09\x2a\x86\x48\x86\xf7\x12\x01\x02\x02"[..], &id, message].concat();
        [&[0x60, u8::try_from(inner.len()).expect("it is short")], &inner[..]].concat()
    }

    #[test]
    fn an_error_is_seen_in_its_frame_and_without() {
        assert_eq!(error_in(&krb_error(41)), Some(41));
        assert_eq!(error_in(&framed([3, 0], &krb_error(37))), Some(37));
        assert_eq!(error_in(&framed([2, 0], &krb_error(37))), None, "it says that it is an AP-REP");
        for none in [&b""[..], b"\x7e", b"\x60\x02\x06\x00", &framed([3, 0], b"\x30\x00")] {
            assert_eq!(error_in(none), None, "{none:?}");
        }
    }

    proptest! {
        #[test]
        fn any_token_is_an_error_or_none(token in proptest::collection::vec(any::<u8>(), 0..80), at in 0usize..90, byte: u8) {
            let _ = error_in(&token);
            let mut bent = framed([3, 0], &krb_error(41));
            if let Some(place) = bent.get_mut(at) {
                *place = byte;
            }
            let _ = error_in(&bent);
        }
    }
}
