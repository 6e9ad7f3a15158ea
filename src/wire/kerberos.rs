//! Kerberos without an account: an AS-REQ that names nobody, and an empty envelope for the password service.

use super::{
    conversation::{Trouble, Wire},
    kdc_messages, random, tcp, text,
    udp::{self, Dialogue, Heard},
};
use exchange_preflight_checks::{
    facts::{
        kerberos::{AsReq, KdcAnswer, KdcReply, Kpasswd},
        net::Transport,
        raw::Raw,
        time::Span,
    },
    model::evidence::{Reason, Stage},
};
use std::net::SocketAddr;

/// RFC 3244 section 2: length, version 1, length of the AP-REQ; then an AP-REQ and a KRB-PRIV without content, which
/// no server can mistake for a change of anybody's password.
const KPASSWD_ENVELOPE: [u8; 24] = [
    0x00, 0x18, 0x00, 0x01, 0x00, 0x0e, 0x6e, 0x0c, 0x30, 0x0a, 0xa0, 0x03, 0x02, 0x01, 0x05, 0xa1, 0x03, 0x02, 0x01,
    0x0e, 0x75, 0x02, 0x30, 0x00,
];

/// Asks a KDC for a ticket in nobody's name.
pub(super) async fn as_req(wire: &Wire, to: SocketAddr, question: &AsReq) -> Result<KdcReply, Trouble> {
    let realm = question.realm.clone();
    ask(wire, to, question.transport, move || ticket_request(&realm, random::positive()?)).await
}

/// Knocks at the password service.
pub(super) async fn kpasswd(wire: &Wire, to: SocketAddr, question: &Kpasswd) -> Result<KdcReply, Trouble> {
    ask(wire, to, question.transport, || Ok(KPASSWD_ENVELOPE.to_vec())).await
}

async fn ask<C>(wire: &Wire, to: SocketAddr, transport: Transport, compose: C) -> Result<KdcReply, Trouble>
where
    C: Fn() -> Result<Vec<u8>, Trouble> + Send,
{
    match transport {
        Transport::Udp => {
            let (span, message) = udp::converse(wire, to, &mut Datagrams { compose }).await?;
            judge(span, message)
        }
        Transport::Tcp => {
            let request = compose()?;
            let mut stream = tcp::connect(to, &wire.budgets).await?;
            let (span, message) = tcp::exchange(&mut stream, &request, &wire.clock, wire.budgets.reply).await?;
            judge(span, message)
        }
    }
}

fn judge(span: Span, message: Vec<u8>) -> Result<KdcReply, Trouble> {
    let reply = KdcReply { span, message: Raw(message) };
    match reply.answer() {
        KdcAnswer::Error(_) | KdcAnswer::Ticket => Ok(reply),
        KdcAnswer::NotKerberos => Err(Trouble::strange(&reply.message.0)),
    }
}

/// A KRB-ERROR repeats no nonce, so the first datagram on our port has to be the answer, whichever request it was for.
struct Datagrams<C> {
    compose: C,
}

impl<C: Fn() -> Result<Vec<u8>, Trouble> + Send> Dialogue for Datagrams<C> {
    type Told = Vec<u8>;

    async fn request(&mut self) -> Result<Vec<u8>, Trouble> {
        (self.compose)()
    }

    async fn hear(&mut self, datagram: Vec<u8>) -> Heard<Vec<u8>> {
        Heard::Answer { request: None, told: datagram }
    }
}

fn ticket_request(realm: &str, nonce: u32) -> Result<Vec<u8>, Trouble> {
    kdc_messages::nobodys(realm, nonce).map_err(|why| {
        Trouble::new(Stage::Connect, Reason::Local(text::quoted(&format!("{why}; state another domain"))))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_is_the_one_that_was_tried_in_the_lab() {
        let expected = concat!(
            "6a6f306da103020105a20302010aa461305fa00703050000000000a20d1b0b434f4e544f534f2e434f4d",
            "a320301ea003020102a11730151b066b72627467741b0b434f4e544f534f2e434f4d",
            "a511180f31393730303130313030303030305aa70602041f1eb9d9a8083006020112020111",
        );
        let request = ticket_request("CONTOSO.COM", 0x1f1e_b9d9).expect("the realm is ASCII");
        assert_eq!(hex::encode(request), expected);
    }

    #[test]
    fn a_nonce_is_as_short_as_der_wants_it() {
        let nonce = |value| {
            let request = ticket_request("A", value).expect("the realm is ASCII");
            request.windows(2).any(|two| two == [0xa7, 0x03])
        };
        assert!(nonce(1) && !nonce(0x80));
    }

    #[test]
    fn a_realm_that_kerberos_cannot_carry_is_our_own_trouble() {
        let trouble = ticket_request("MÜNCHEN.DE", 1).expect_err("not ASCII");
        assert!(matches!(trouble.reason, Reason::Local(_)));
    }
}
