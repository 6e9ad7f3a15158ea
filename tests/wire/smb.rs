use crate::wire::script::*;
use exchange_preflight_checks::{
    facts::smb::{SmbNegotiate, SmbReply},
    model::{
        ask::Facts,
        evidence::{Reply, Stage},
    },
};

/// A response whose clock shows `ticks`.
fn response(ticks: u64) -> Vec<u8> {
    let mut message = vec![0; 64 + 64];
    message[..4].copy_from_slice(b"\xfeSMB");
    message[4] = 64;
    message[64] = 65;
    message[104..112].copy_from_slice(&ticks.to_le_bytes());
    message
}

async fn says_framed(message: &[u8]) -> Reply {
    ask(says(framed(message), Then::Wait).await, SmbNegotiate).await
}

fn smb_reply(reply: Reply) -> SmbReply {
    let Facts::SmbNegotiate(reply) = told(reply) else { panic!("facts of another kind") };
    reply
}

#[tokio::test]
async fn a_server_shows_its_clock() {
    let healthy = response(134_400_000_000_000_000);
    let reply = smb_reply(ask(says(framed(&healthy), Then::Close).await, SmbNegotiate).await);
    assert!(reply.reading().is_some() && reply.message.0 == healthy);
    for ticks in [0, 1 << 63, u64::MAX] {
        assert_eq!(smb_reply(says_framed(&response(ticks)).await).reading(), None, "{ticks}");
    }
}

#[tokio::test]
async fn a_response_that_breaks_off_has_no_clock() {
    assert_eq!(smb_reply(says_framed(&response(5)[..70]).await).reading(), None);
}

#[tokio::test]
async fn other_messages_are_not_smb2() {
    let mut smb1 = response(5);
    smb1[0] = 0xff;
    let mut session_setup = response(5);
    session_setup[12] = 1;
    for message in [&smb1[..], &session_setup, &response(5)[..13], b"x", b"HTTP/1.1 400 Bad Request"] {
        assert_eq!(missed(&says_framed(message).await), (Stage::Reply, Why::NotTheProtocol), "{message:02x?}");
    }
    for header in [&[0, 0, 0, 0][..], &[0, 0xff, 0xff, 0xff], &[0x85, 0, 0, 0], &[0x80, 0, 0, 1]] {
        let reply = ask(says(header, Then::Wait).await, SmbNegotiate).await;
        assert_eq!(missed(&reply), (Stage::Reply, Why::NotTheProtocol), "{header:02x?}");
    }
}

#[tokio::test]
async fn a_connection_may_end_in_any_state() {
    let whole = framed(&response(5));
    for end in [0, 3, 4, 90] {
        for (then, expected) in [(Then::Close, Why::Closed), (Then::Reset, Why::Closed), (Then::Wait, Why::Silent)] {
            let reply = ask_within(budgets_for(expected), says(&whole[..end], then).await, SmbNegotiate).await;
            assert_eq!(missed(&reply), (Stage::Reply, expected), "{end} bytes");
        }
    }
    assert_eq!(missed(&ask_briefly(drips(whole).await, SmbNegotiate).await), (Stage::Reply, Why::Silent));
    assert_eq!(missed(&ask(closed_tcp().await, SmbNegotiate).await), (Stage::Connect, Why::Refused));
}
