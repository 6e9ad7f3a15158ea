use crate::wire::script::*;
use exchange_preflight::wire::budget::Budgets;
use exchange_preflight_checks::{
    facts::{
        kerberos::{AsReq, KdcAnswer, KdcReply, Kpasswd},
        net::Transport,
    },
    model::{
        ask::Facts,
        evidence::{Reply, Stage},
    },
};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::net::UdpSocket;

fn as_req(transport: Transport) -> AsReq {
    AsReq { realm: "CONTOSO.COM".into(), transport }
}

/// The fields of a KRB-ERROR that tests bend.
struct Error {
    stime: &'static [u8],
    susec: &'static [u8],
    code: &'static [u8],
    text: Option<Vec<u8>>,
}

impl Default for Error {
    fn default() -> Self {
        Self { stime: b"20261122120000Z", susec: &[0x0a, 0xcd, 0x15], code: &[0x44], text: None }
    }
}

impl Error {
    fn encode(&self) -> Vec<u8> {
        let integer = |bytes: &[u8]| der(0x02, bytes);
        let string = |bytes: &[u8]| der(0x1b, bytes);
        let names = [string(b"krbtgt"), string(b"CONTOSO.COM")].concat();
        let sname = [der(0xa0, &integer(&[2])), der(0xa1, &der(0x30, &names))].concat();
        let mut body = [
            der(0xa0, &integer(&[5])),
            der(0xa1, &integer(&[30])),
            der(0xa4, &der(0x18, self.stime)),
            der(0xa5, &integer(self.susec)),
            der(0xa6, &integer(self.code)),
            der(0xa9, &string(b"CONTOSO.COM")),
            der(0xaa, &der(0x30, &sname)),
        ]
        .concat();
        if let Some(text) = &self.text {
            body.extend(der(0xab, &string(text)));
        }
        der(0x7e, &der(0x30, &body))
    }
}

fn kdc_reply(reply: Reply) -> KdcReply {
    match told(reply) {
        Facts::AsReq(reply) | Facts::Kpasswd(reply) => reply,
        other => panic!("facts of another kind: {other:?}"),
    }
}

async fn over_tcp(bytes: impl Into<Vec<u8>>, then: Then) -> Reply {
    ask(says(bytes, then).await, as_req(Transport::Tcp)).await
}

async fn over_udp(datagram: Vec<u8>) -> Reply {
    ask(replies(move |_| vec![datagram.clone()]).await, as_req(Transport::Udp)).await
}

#[tokio::test]
async fn an_error_is_the_answer_over_either_transport() {
    let error = Error::default().encode();
    let tcp = kdc_reply(ask(says(framed(&error), Then::Wait).await, as_req(Transport::Tcp)).await);
    assert_eq!(tcp.message.0, error);
    assert!(tcp.span.sent <= tcp.span.received && tcp.reading().is_some());
    let answer = error.clone();
    let server = replies(move |_| vec![answer.clone()]).await;
    assert_eq!(kdc_reply(ask(server, as_req(Transport::Udp)).await).message.0, error);
}

#[tokio::test]
async fn the_password_service_is_heard_through_its_envelope() {
    let error = Error::default().encode();
    let total = u16::try_from(error.len() + 6).expect("small").to_be_bytes();
    let wrapped = [&total[..], &[0, 1, 0, 0], &error].concat();
    for transport in [Transport::Tcp, Transport::Udp] {
        let server = match transport {
            Transport::Tcp => says(framed(&wrapped), Then::Wait).await,
            Transport::Udp => {
                let answer = wrapped.clone();
                replies(move |request| {
                    assert_eq!(request.len(), 24);
                    vec![answer.clone()]
                })
                .await
            }
        };
        let reply = kdc_reply(ask(server, Kpasswd { transport }).await);
        assert!(matches!(reply.answer(), KdcAnswer::Error(_)));
    }
}

#[tokio::test]
async fn lengths_that_no_message_has_end_it_before_any_body() {
    for header in [&[0, 0, 0, 0][..], &[0x80, 0, 0, 1], &[0x7f, 0xff, 0xff, 0xff], b"HTTP/1.1 400 Bad Request\r\n\r\n"]
    {
        assert_eq!(missed(&over_tcp(header, Then::Wait).await), (Stage::Reply, Why::NotTheProtocol), "{header:02x?}");
    }
}

#[tokio::test]
async fn a_message_cut_at_any_byte_is_not_kerberos() {
    let error = Error::default().encode();
    for end in 0..error.len() {
        let cut = &error[..end];
        let expected = (Stage::Reply, Why::NotTheProtocol);
        assert_eq!(missed(&over_tcp(framed(cut), Then::Wait).await), expected, "TCP, {end} bytes");
        assert_eq!(missed(&over_udp(cut.to_vec()).await), expected, "UDP, {end} bytes");
    }
}

#[tokio::test]
async fn messages_of_other_forms_are_not_kerberos() {
    let mut wrong_tag = Error::default().encode();
    wrong_tag[0] = 0x7f;
    let deep = (0..1000).fold(vec![0x05, 0x00], |inside, _| der(0x30, &inside));
    let within = [&[0x7e][..], &der(0x30, &deep)[1..]].concat();
    let cases = [
        wrong_tag,
        deep,
        within,
        vec![0x7e, 0x80, 0x30, 0x80, 0, 0, 0, 0],
        vec![0x7e, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x30],
        vec![0x15, 3, 1, 0, 2, 2, 40],
        Error { susec: &[1; 10], ..Error::default() }.encode()[1..].to_vec(),
    ];
    for message in cases {
        assert_eq!(missed(&over_tcp(framed(&message), Then::Wait).await), (Stage::Reply, Why::NotTheProtocol));
        assert_eq!(missed(&over_udp(message).await), (Stage::Reply, Why::NotTheProtocol));
    }
}

#[tokio::test]
async fn a_clock_that_cannot_be_is_no_reading() {
    let bent = [
        Error { stime: b"20260230120000Z", ..Error::default() },
        Error { stime: b"99991231235960Z", ..Error::default() },
        Error { stime: b"20261122120000.5Z", ..Error::default() },
        Error { stime: b"20261122120000+0100", ..Error::default() },
        Error { susec: &[0x0f, 0x42, 0x40], ..Error::default() },
        Error { susec: &[0xff], ..Error::default() },
        Error { susec: &[1; 10], ..Error::default() },
    ];
    for error in bent {
        let reply = over_udp(error.encode()).await;
        let reading = reply.facts.and_then(|facts| match facts {
            Facts::AsReq(reply) => reply.reading(),
            _ => None,
        });
        assert_eq!(reading, None);
    }
}

#[tokio::test]
async fn sixty_kilobytes_of_text_with_escapes_are_kept_as_they_are() {
    let text: Vec<u8> = b"\x1b]0;owned\x07\0".iter().copied().cycle().take(60_000).collect();
    let long = Error { text: Some(text), ..Error::default() }.encode();
    for reply in
        [ask(says(framed(&long), Then::Wait).await, as_req(Transport::Tcp)).await, over_udp(long.clone()).await]
    {
        assert_eq!(kdc_reply(reply).message.0, long);
    }
    let strange = Error { text: Some(vec![0xff, 0xfe, 0x80]), code: &[0x7f, 0xff, 0xff, 0xff], ..Error::default() };
    let reply = over_udp(strange.encode()).await;
    assert!(reply.facts.is_some() || missed(&reply) == (Stage::Reply, Why::NotTheProtocol));
}

#[tokio::test]
async fn a_ticket_for_nobody_is_kerberos_all_the_same() {
    let reply = over_udp(der(0x6b, &der(0x30, &[]))).await;
    assert_eq!(kdc_reply(reply).answer(), KdcAnswer::Ticket);
}

#[tokio::test]
async fn a_connection_may_end_in_any_state() {
    let whole = framed(&Error::default().encode());
    for end in [0, 2, 4, 40] {
        for then in [Then::Close, Then::Reset] {
            assert_eq!(missed(&over_tcp(&whole[..end], then).await), (Stage::Reply, Why::Closed), "{end} bytes");
        }
        let mute = says(&whole[..end], Then::Wait).await;
        assert_eq!(
            missed(&ask_briefly(mute, as_req(Transport::Tcp)).await),
            (Stage::Reply, Why::Silent),
            "{end} bytes"
        );
    }
}

#[tokio::test]
async fn a_byte_now_and_then_does_not_stretch_the_budget() {
    let server = drips(framed(&Error::default().encode())).await;
    assert_eq!(missed(&ask_briefly(server, as_req(Transport::Tcp)).await), (Stage::Reply, Why::Silent));
}

#[tokio::test]
async fn a_port_that_is_closed_refuses() {
    let expected = (Stage::Connect, Why::Refused);
    assert_eq!(missed(&ask(closed_tcp().await, as_req(Transport::Tcp)).await), expected);
    assert_eq!(missed(&ask(closed_udp().await, as_req(Transport::Udp)).await), expected);
}

/// ICMP wakes us up, and not the next datagram: with none to follow it would be silence.
#[tokio::test]
async fn a_datagram_that_is_refused_is_found_at_once() {
    let hour = Duration::from_hours(1);
    let once = Budgets { retransmits: [hour, hour], ..patient() };
    let reply = ask_within(once, closed_udp().await, as_req(Transport::Udp)).await;
    assert_eq!(missed(&reply), (Stage::Connect, Why::Refused));
}

#[tokio::test]
async fn each_datagram_has_a_nonce_of_its_own_and_silence_ends() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let keep = Arc::clone(&heard);
    let server = replies(move |request| {
        keep.lock().unwrap().push(request.to_vec());
        vec![]
    })
    .await;
    assert_eq!(missed(&ask_briefly(server, as_req(Transport::Udp)).await), (Stage::Connect, Why::Silent));
    let mut heard = heard.lock().unwrap().clone();
    assert_eq!(heard.len(), 3);
    heard.sort();
    heard.dedup();
    assert_eq!(heard.len(), 3);
}

#[tokio::test]
async fn an_answer_to_the_second_datagram_counts_from_the_first() {
    let error = Error::default().encode();
    let server = udp(|socket| async move {
        let _lost = hear(&socket).await;
        let (_, from) = hear(&socket).await;
        let _ = socket.send_to(&error, from).await;
        // A doubled reply, after the socket may be gone.
        let _ = socket.send_to(&error, from).await;
    })
    .await;
    let reply = kdc_reply(ask(server, as_req(Transport::Udp)).await);
    let width = reply.span.received.duration_since(reply.span.sent);
    assert!(width.as_millis() >= 60, "{width:?}: no shorter than the time until the second datagram");
}

#[tokio::test]
async fn an_answer_from_another_port_does_not_count() {
    let error = Error::default().encode();
    let server = udp(|socket| async move {
        let elsewhere = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        loop {
            let (_, from) = hear(&socket).await;
            let _ = elsewhere.send_to(&error, from).await;
        }
    })
    .await;
    assert_eq!(missed(&ask_briefly(server, as_req(Transport::Udp)).await), (Stage::Connect, Why::Silent));
}

#[tokio::test]
async fn a_late_answer_does_not_reach_the_next_conversation() {
    let (late, right) = (Error { code: &[0x06], ..Error::default() }.encode(), Error::default().encode());
    let expected = right.clone();
    let server = udp(|socket| async move {
        let (_, first) = hear(&socket).await;
        let second = loop {
            let (_, from) = hear(&socket).await;
            if from != first {
                break from;
            }
        };
        let _ = socket.send_to(&late, first).await;
        let _ = socket.send_to(&right, second).await;
    })
    .await;
    assert_eq!(missed(&ask_briefly(server, as_req(Transport::Udp)).await), (Stage::Connect, Why::Silent));
    assert_eq!(kdc_reply(ask(server, as_req(Transport::Udp)).await).message.0, expected);
}
