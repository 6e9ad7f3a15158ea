use crate::wire::script::*;
use exchange_preflight_checks::{
    facts::{
        directory::{RootDse, RootDseReply},
        net::Transport,
    },
    model::{
        ask::Facts,
        evidence::{Reply, Stage},
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{Duration, sleep},
};

const QUESTION: RootDse = RootDse { transport: Transport::Tcp };

/// One message.
pub(super) fn message(id: u32, operation: &[u8]) -> Vec<u8> {
    let digits: Vec<_> = [&[0][..], &id.to_be_bytes()].concat();
    let zeros = digits.windows(2).take_while(|two| two[0] == 0 && two[1] < 0x80).count();
    der(0x30, &[der(0x02, &digits[zeros..]), operation.to_vec()].concat())
}

/// A search result entry.
pub(super) fn entry(attributes: &[(&str, &[&[u8]])]) -> Vec<u8> {
    let attribute = |(name, values): &(&str, &[&[u8]])| {
        let values: Vec<u8> = values.iter().flat_map(|value| der(0x04, value)).collect();
        der(0x30, &[der(0x04, name.as_bytes()), der(0x31, &values)].concat())
    };
    let attributes: Vec<u8> = attributes.iter().flat_map(attribute).collect();
    der(0x64, &[der(0x04, b""), der(0x30, &attributes)].concat())
}

/// A search result.
pub(super) fn done(code: u8, text: &[u8]) -> Vec<u8> {
    der(0x65, &[der(0x0a, &[code]), der(0x04, b""), der(0x04, text)].concat())
}

fn healthy() -> Vec<u8> {
    entry(&[("currentTime", &[b"20261122120000.0Z"]), ("dnsHostName", &[b"dc1.contoso.com"])])
}

/// The first message id that ldap3 gives out.
const ID: u32 = 1;

fn messages(operations: &[Vec<u8>]) -> Vec<u8> {
    operations.iter().flat_map(|operation| message(ID, operation)).collect()
}

async fn over(bytes: impl Into<Vec<u8>>, then: Then) -> Reply {
    ask(says(bytes, then).await, QUESTION).await
}

fn root_dse(reply: Reply) -> RootDseReply {
    let Facts::RootDse(reply) = told(reply) else { panic!("facts of another kind") };
    reply
}

#[tokio::test]
async fn a_root_dse_is_read_however_the_bytes_arrive() {
    let whole = messages(&[healthy(), done(0, b"")]);
    for then in [Then::Wait, Then::Close] {
        let reply = root_dse(ask(says(whole.clone(), then).await, QUESTION).await);
        assert_eq!(reply.value("DNSHOSTNAME"), Some("dc1.contoso.com"));
        assert!(reply.reading().is_some() && reply.span.sent <= reply.span.received);
    }
    let in_pieces = tcp(move |mut stream| {
        let whole = whole.clone();
        async move {
            let _ = stream.read(&mut [0; 4096]).await;
            for piece in whole.chunks(7) {
                let _ = stream.write_all(piece).await;
                let _ = stream.flush().await;
                sleep(Duration::from_millis(1)).await;
            }
            end(stream, Then::Wait).await;
        }
    })
    .await;
    assert!(root_dse(ask(in_pieces, QUESTION).await).reading().is_some());
}

#[tokio::test]
async fn the_span_is_that_of_the_search_and_not_of_the_connection() {
    let whole = messages(&[healthy(), done(0, b"")]);
    let server = says(whole, Then::Wait).await;
    let before = exchange_preflight::wire::clock::Clock::start().now();
    let reply = root_dse(ask(server, QUESTION).await);
    assert!(reply.span.sent >= before);
}

#[tokio::test]
async fn a_value_that_is_no_text_is_left_out_and_its_neighbours_stay() {
    let mixed = entry(&[
        ("supportedCapabilities", &[b"1.2", &[0xff, 0xfe], b"1.3"]),
        ("serverName", &[]),
        ("unasked", &[b"x"]),
    ]);
    let reply = root_dse(over(messages(&[mixed, done(0, b"")]), Then::Wait).await);
    let mut values = reply.attributes["supportedCapabilities"].clone();
    values.sort();
    assert_eq!(values, ["1.2", "1.3"]);
    assert_eq!(reply.attributes["serverName"], Vec::<String>::new());
    assert!(!reply.attributes.contains_key("unasked"), "what nobody asked for is no answer");
}

#[tokio::test]
async fn a_malformed_time_is_kept_and_is_no_reading() {
    for time in [&b"yesterday"[..], b"20260230120000.0Z", b"", b"\x1b[2J"] {
        let bent = entry(&[("currentTime", &[time])]);
        let reply = root_dse(over(messages(&[bent, done(0, b"")]), Then::Wait).await);
        assert_eq!(reply.reading(), None);
        assert_eq!(reply.value("currentTime").map(str::as_bytes), Some(time));
    }
}

#[tokio::test]
async fn frames_that_would_break_a_parser_never_reach_it() {
    let deep = (0..20_000).fold(vec![0x04, 0x00], |inside: Vec<u8>, _| {
        let length = u32::try_from(inside.len()).expect("small").to_be_bytes();
        [&[0x30, 0x84][..], &length, &inside].concat()
    });
    let cases = [
        deep,
        vec![0x30, 0x84, 0x7f, 0xff, 0xff, 0xff, 0x02, 0x01, 0x01],
        vec![0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        vec![0x30, 0x80, 0x02, 0x01, 0x01, 0, 0],
        vec![0x30, 0x05, 0x02, 0x09, 0x01, 0x01, 0x01],
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        vec![0x15, 0x03, 0x01, 0x00, 0x02, 0x02, 0x0a],
        vec![0x16, 0x03, 0x03, 0x00, 0x7a, 0x02],
    ];
    for bytes in cases {
        let reply = over(&bytes[..], Then::Wait).await;
        assert_eq!(missed(&reply), (Stage::Reply, Why::NotTheProtocol), "{:02x?}", &bytes[..6]);
    }
}

/// The server would go on for ever: its 2 GB never come, because nobody waits for them.
#[tokio::test]
async fn a_header_of_two_gigabytes_ends_the_connection() {
    let server = tcp(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]).await;
        while stream.write_all(&vec![0x04; 65_536]).await.is_ok() {}
    })
    .await;
    assert_eq!(missed(&ask(server, QUESTION).await), (Stage::Reply, Why::NotTheProtocol));
}

#[tokio::test]
async fn entries_without_end_have_an_end() {
    let server = tcp(|mut stream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let large = message(ID, &entry(&[("a", &[&vec![b'x'; 30_000]])]));
        while stream.write_all(&large).await.is_ok() {}
    })
    .await;
    assert_eq!(missed(&ask(server, QUESTION).await), (Stage::Reply, Why::NotTheProtocol));
}

/// Well-formed BER, and no LDAP: ldap3 panics on most of these, which must not be more than a Miss.
#[tokio::test]
async fn messages_that_make_ldap3_panic_are_a_miss() {
    let cases = [
        der(0x30, &[]),
        der(0x30, &der(0x02, &[1])),
        der(0x30, &[der(0x04, b"x"), healthy()].concat()),
        message(ID, &der(0x64, &[])),
        message(ID, &der(0x64, &[der(0x04, &[0xff]), der(0x30, &[])].concat())),
        message(ID, &der(0x65, &[])),
        message(ID, &der(0x65, &[der(0x02, &[0]), der(0x04, b""), der(0x04, b"")].concat())),
        message(ID, &der(0x65, &[der(0x0a, &[0]), der(0x04, &[0xff]), der(0x04, &[0xff])].concat())),
        message(ID, &der(0x7f - 0x10, &[])),
        message(ID, &der(0x44, b"primitive")),
        message(ID, &[healthy(), der(0xa0, &der(0x04, b"no control"))].concat()),
    ];
    for bytes in cases {
        let shown = bytes.clone();
        let mut all = bytes;
        all.extend(message(ID, &done(0, b"")));
        let (stage, why) = missed(&ask_briefly(says(all, Then::Wait).await, QUESTION).await);
        assert_eq!(stage, Stage::Reply, "{shown:02x?}");
        assert!(matches!(why, Why::NotTheProtocol | Why::ServerSaid | Why::Silent), "{why:?} {shown:02x?}");
    }
}

#[tokio::test]
async fn an_answer_to_another_message_is_none() {
    let others = [message(2, &healthy()), message(2, &done(0, b""))].concat();
    assert_eq!(missed(&ask_briefly(says(others, Then::Wait).await, QUESTION).await), (Stage::Reply, Why::Silent));
}

#[tokio::test]
async fn two_entries_for_the_one_root_dse_are_not_believed() {
    let two = messages(&[healthy(), healthy(), done(0, b"")]);
    assert_eq!(missed(&over(two, Then::Wait).await), (Stage::Reply, Why::NotTheProtocol));
}

#[tokio::test]
async fn referrals_are_not_followed() {
    let elsewhere = der(0x73, &der(0x04, b"ldap://127.0.0.1:1/"));
    let reply = root_dse(over(messages(&[elsewhere.clone(), healthy(), elsewhere, done(0, b"")]), Then::Wait).await);
    assert!(reply.reading().is_some());
    let referral = der(
        0x65,
        &[
            der(0x0a, &[10]),
            der(0x04, b""),
            der(0x04, b"0000202B: RefErr"),
            der(0xa3, &der(0x04, b"ldap://127.0.0.1:1/")),
        ]
        .concat(),
    );
    assert_eq!(missed(&over(messages(&[referral]), Then::Wait).await), (Stage::Reply, Why::ServerSaid));
}

#[tokio::test]
async fn what_the_server_refuses_it_says_itself() {
    for code in [1, 8, 51, 52, 53] {
        let reply = over(messages(&[done(code, b"\x1b[31m00002028: LdapErr\r\n")]), Then::Wait).await;
        assert_eq!(missed(&reply), (Stage::Reply, Why::ServerSaid), "{code}");
    }
    let partial = over(messages(&[healthy(), done(4, b"size limit")]), Then::Wait).await;
    assert_eq!(why(&partial), (Stage::Reply, Why::ServerSaid));
    assert!(matches!(partial.facts, Some(Facts::RootDse(_))), "what came before it is kept");
    assert_eq!(missed(&over(messages(&[done(0, b"")]), Then::Wait).await), (Stage::Reply, Why::ServerSaid));
}

#[tokio::test]
async fn a_notice_of_disconnection_is_heard() {
    let oid = der(0x8a, b"1.3.6.1.4.1.1466.20036");
    let result = [der(0x0a, &[52]), der(0x04, b""), der(0x04, b"shutting down")].concat();
    let inside = message(0, &der(0x78, &[result.clone(), oid.clone()].concat()));
    // Active Directory puts the OID behind the operation.
    let behind = message(0, &[der(0x78, &result), oid].concat());
    for notice in [inside, behind, message(0, &der(0x78, b""))] {
        assert_eq!(missed(&over(notice, Then::Close).await), (Stage::Reply, Why::ServerSaid));
    }
}

#[tokio::test]
async fn a_connection_may_end_in_any_state() {
    let whole = messages(&[healthy(), done(0, b"")]);
    for end in [0, 1, 5, 40, whole.len() - 1] {
        for (then, expected) in [(Then::Close, Why::Closed), (Then::Reset, Why::Closed), (Then::Wait, Why::Silent)] {
            let reply = ask_within(budgets_for(expected), says(&whole[..end], then).await, QUESTION).await;
            assert_eq!(missed(&reply), (Stage::Reply, expected), "{end} bytes");
        }
    }
    assert_eq!(missed(&ask_briefly(drips(whole).await, QUESTION).await), (Stage::Reply, Why::Silent));
    assert_eq!(missed(&ask(closed_tcp().await, QUESTION).await), (Stage::Connect, Why::Refused));
}
