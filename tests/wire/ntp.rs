use crate::wire::script::*;
use exchange_preflight::wire::budget::Budgets;
use exchange_preflight_checks::{
    facts::ntp::{NtpReply, NtpTime},
    model::{
        ask::Facts,
        evidence::{Reply, Stage},
    },
};
use tokio::net::UdpSocket;

/// A healthy server's answer to `request`.
fn answer(request: &[u8]) -> Vec<u8> {
    assert_eq!((request.len(), request[0] & 7), (48, 3), "48 bytes in client mode");
    let mut packet = vec![0; 48];
    packet[0] = 0b00_011_100;
    packet[1] = 2;
    packet[24..32].copy_from_slice(&request[40..48]);
    packet[32..36].copy_from_slice(&[0xee, 0x8a, 0, 0]);
    packet[40..44].copy_from_slice(&[0xee, 0x8a, 0, 0]);
    packet
}

async fn with(change: fn(&mut Vec<u8>)) -> Reply {
    answered_within(patient(), change).await
}

async fn answered_within(budgets: Budgets, change: fn(&mut Vec<u8>)) -> Reply {
    let server = replies(move |request| {
        let mut packet = answer(request);
        change(&mut packet);
        vec![packet]
    })
    .await;
    ask_within(budgets, server, NtpTime).await
}

/// The same where no answer is good enough, so that it lasts until the end.
async fn never_with(change: fn(&mut Vec<u8>)) -> Reply {
    answered_within(brief(), change).await
}

fn ntp_reply(reply: Reply) -> NtpReply {
    let Facts::NtpTime(reply) = told(reply) else { panic!("facts of another kind") };
    reply
}

#[tokio::test]
async fn a_healthy_clock_is_read() {
    let reply = ntp_reply(with(|_| ()).await);
    assert!(reply.reading().is_some() && reply.span.sent <= reply.span.received);
}

#[tokio::test]
async fn whatever_a_server_says_of_itself_is_kept() {
    let header = |reply: Reply| ntp_reply(reply).header();
    assert_eq!(header(with(|p| p[0] |= 0b11 << 6).await).map(|h| h.leap), Some(3));
    assert_eq!(header(with(|p| p[1] = 16).await).map(|h| h.stratum), Some(16));
    let kiss = with(|p| {
        p[1] = 0;
        p[12..16].copy_from_slice(b"RATE");
    });
    assert_eq!(header(kiss.await).and_then(|h| h.kiss_code()).as_deref(), Some("RATE"));
    assert_eq!(header(with(|p| p[40..48].fill(0)).await).map(|h| h.transmit), Some(None));
    assert_eq!(header(with(|p| p[0] = 0b00_100_011).await), None, "no server's mode, but our own timestamp");
    assert_eq!(ntp_reply(with(|p| p.resize(68, 7)).await).packet.0.len(), 68);
}

#[tokio::test]
async fn nothing_but_answers_to_others_is_no_answer() {
    let expected = (Stage::Reply, Why::NotTheProtocol);
    assert_eq!(missed(&never_with(|p| p[24] ^= 1).await), expected, "another origin");
    assert_eq!(missed(&never_with(|p| p[24..32].fill(0)).await), expected, "no origin");
    assert_eq!(missed(&never_with(|p| p.truncate(47)).await), expected, "too short");
    assert_eq!(missed(&never_with(|p| p.truncate(1)).await), expected);
    assert_eq!(missed(&never_with(Vec::clear).await), expected);
}

#[tokio::test]
async fn strays_before_the_answer_are_passed_over() {
    let server = replies(|request| {
        let mut stray = answer(request);
        stray[31] ^= 0x55;
        vec![vec![], vec![1], stray, answer(request), answer(request)]
    })
    .await;
    assert!(ntp_reply(ask(server, NtpTime).await).reading().is_some());
}

#[tokio::test]
async fn an_answer_to_the_first_datagram_counts_after_the_second() {
    let server = udp(|socket| async move {
        let (first, _) = hear(&socket).await;
        let (_, from) = hear(&socket).await;
        let _ = socket.send_to(&answer(&first), from).await;
    })
    .await;
    let reply = ntp_reply(ask(server, NtpTime).await);
    let width = reply.span.received.duration_since(reply.span.sent);
    assert!(width.as_millis() >= 60, "{width:?}: it is the first that was answered");
}

#[tokio::test]
async fn an_answer_from_another_port_does_not_count() {
    let server = udp(|socket| async move {
        let elsewhere = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        loop {
            let (request, from) = hear(&socket).await;
            let _ = elsewhere.send_to(&answer(&request), from).await;
        }
    })
    .await;
    assert_eq!(missed(&ask_briefly(server, NtpTime).await), (Stage::Connect, Why::Silent));
}

#[tokio::test]
async fn closed_and_silent_are_told_apart() {
    assert_eq!(missed(&ask(closed_udp().await, NtpTime).await), (Stage::Connect, Why::Refused));
    assert_eq!(missed(&ask_briefly(replies(|_| vec![]).await, NtpTime).await), (Stage::Connect, Why::Silent));
}
