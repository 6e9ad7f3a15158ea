use crate::wire::{
    script::*,
    tls::{ECDSA, acceptor, raw},
};
use exchange_preflight_checks::{
    facts::{
        tls::TlsSeen,
        web::{EWS_PATH, HttpAnswer, HttpsGet, METADATA_PATH},
    },
    model::{
        ask::Facts,
        evidence::{End, Reply, Stage},
    },
};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

type Heard = Arc<Mutex<Vec<u8>>>;

fn question(path: &str) -> HttpsGet {
    HttpsGet { name: "mail.contoso.com".into(), path: path.into() }
}

/// A web server that hears a request, answers `bytes` `times` over, and ends in its way.
async fn web(bytes: impl Into<Vec<u8>>, times: usize, then: Then, protocols: &[&[u8]]) -> (SocketAddr, Heard) {
    let (bytes, acceptor, heard) = (bytes.into(), acceptor(protocols), Heard::default());
    let address = tcp({
        let heard = Arc::clone(&heard);
        move |stream: TcpStream| {
            let (bytes, acceptor, heard) = (bytes.clone(), acceptor.clone(), Arc::clone(&heard));
            async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                heard.lock().unwrap().extend(&request[..length]);
                for _ in 0..times {
                    if stream.write_all(&bytes).await.is_err() {
                        return;
                    }
                }
                let _ = stream.flush().await;
                let (stream, _) = stream.into_inner();
                end(stream, then).await;
            }
        }
    })
    .await;
    (address, heard)
}

async fn answered(bytes: impl Into<Vec<u8>>, then: Then) -> Reply {
    let (address, _) = web(bytes, 1, then, &[]).await;
    ask_within(patient(), address, question(EWS_PATH)).await
}

#[track_caller]
fn parts(reply: &Reply) -> (&TlsSeen, Option<&HttpAnswer>) {
    let Some(Facts::HttpsGet(seen)) = &reply.facts else { panic!("no facts: {reply:?}") };
    (&seen.tls, seen.answer.as_ref())
}

const EXCHANGE: &str = "HTTP/1.1 401 Unauthorized\r\nServer: Microsoft-IIS/10.0\r\nX-FEServer: EX02\r\n\
    WWW-Authenticate: Negotiate\r\nWWW-Authenticate: NTLM\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n\
    Content-Length: 1000000\r\n\r\n";

#[tokio::test]
async fn the_head_of_an_answer_is_told_and_its_body_is_not_waited_for() {
    let (address, heard) = web(EXCHANGE, 1, Then::Wait, &[b"h2", b"http/1.1"]).await;
    let reply = ask(address, question(EWS_PATH)).await;
    assert_eq!(reply.end, End::Ok);
    let (tls, Some(answer)) = parts(&reply) else { panic!("no answer: {reply:?}") };
    assert_eq!(tls.chain, [raw(ECDSA)]);
    assert_eq!(answer.status, 401);
    assert_eq!(answer.values("www-authenticate").collect::<Vec<_>>(), ["Negotiate", "NTLM"]);
    assert!(answer.is_exchange());
    assert_eq!(answer.reading().map(|reading| reading.server_time.as_second()), Some(784_111_777));
    assert!(answer.span.sent <= answer.span.received);
    let request = String::from_utf8(heard.lock().unwrap().clone()).unwrap();
    let port = address.port();
    assert_eq!(
        request,
        format!(
            "GET /EWS/Exchange.asmx HTTP/1.1\r\nhost: mail.contoso.com:{port}\r\nuser-agent: exchange-preflight\r\n\
             accept: */*\r\n\r\n"
        )
    );
}

#[tokio::test]
async fn the_body_is_read_where_it_matters_and_has_an_end() {
    let ask_for = async |path, answer: &str| {
        let (address, _) = web(format!("HTTP/1.1 {answer}"), 1, Then::Wait, &[]).await;
        ask_within(patient(), address, question(path)).await
    };
    let body = |reply: &Reply| parts(reply).1.map(|answer| answer.body.0.clone());
    let small = "200 OK\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(body(&ask_for(METADATA_PATH, small).await).as_deref(), Some(&b"{}"[..]));
    assert_eq!(body(&ask_for(EWS_PATH, small).await).as_deref(), Some(&[][..]));
    let refused = "404 Not Found\r\nContent-Length: 2\r\n\r\n{}";
    assert_eq!(body(&ask_for(METADATA_PATH, refused).await).as_deref(), Some(&[][..]));
    let endless = format!("200 OK\r\nContent-Length: 9999999\r\n\r\n{}", " ".repeat(2 * 1024 * 1024));
    assert_eq!(why(&ask_for(METADATA_PATH, &endless).await), (Stage::Reply, Why::NotTheProtocol));
}

#[tokio::test]
async fn a_value_that_is_no_text_is_kept_as_well_as_it_can_be() {
    let mut bytes = b"HTTP/1.1 200 OK\r\nX-Odd: caf".to_vec();
    bytes.extend(b"\xe9\r\nContent-Length: 0\r\n\r\n");
    let reply = answered(bytes, Then::Wait).await;
    let (_, Some(answer)) = parts(&reply) else { panic!("no answer: {reply:?}") };
    assert_eq!(answer.values("x-odd").collect::<Vec<_>>(), ["caf\u{fffd}"]);
}

#[tokio::test]
async fn a_redirect_is_an_answer() {
    let reply = answered("HTTP/1.1 302 Found\r\nLocation: https://127.0.0.1:1/owa/\r\n\r\n", Then::Wait).await;
    assert_eq!(reply.end, End::Ok);
    let (_, Some(answer)) = parts(&reply) else { panic!("no answer: {reply:?}") };
    assert_eq!((answer.status, answer.values("location").next()), (302, Some("https://127.0.0.1:1/owa/")));
}

#[tokio::test]
async fn the_certificate_outlives_a_get_that_fails() {
    for (bytes, then, expected) in [
        ("", Then::Close, Why::Closed),
        ("", Then::Reset, Why::Closed),
        ("", Then::Wait, Why::Silent),
        ("HTTP/1.1 200 OK\r\nServ", Then::Close, Why::Closed),
        ("HTTP/1.1 200 OK\r\nServ", Then::Wait, Why::Silent),
        ("220 mail.contoso.com ESMTP\r\n", Then::Wait, Why::NotTheProtocol),
        ("HTTP/1.1 200 OK\r\nno field\r\n\r\n", Then::Wait, Why::NotTheProtocol),
        ("\0\x1b[2J\r\n\r\n", Then::Wait, Why::NotTheProtocol),
    ] {
        let (address, _) = web(bytes, 1, then, &[]).await;
        let reply = ask_within(budgets_for(expected), address, question(EWS_PATH)).await;
        assert_eq!(why(&reply), (Stage::Reply, expected), "{bytes:?}");
        let (tls, answer) = parts(&reply);
        assert_eq!((&tls.chain[..], answer), (&[raw(ECDSA)][..], None));
    }
}

#[tokio::test]
async fn a_head_without_end_is_cut() {
    for field in ["X: 1\r\n".to_string(), format!("X: {}\r\n", "x".repeat(5_000)), "x".repeat(5_000)] {
        let (address, _) = web(format!("HTTP/1.1 200 OK\r\n{field}"), 1_000_000, Then::Wait, &[]).await;
        let reply = ask(address, question(EWS_PATH)).await;
        assert_eq!(why(&reply), (Stage::Reply, Why::NotTheProtocol));
    }
}

#[tokio::test]
async fn a_server_without_http_1_refuses_by_an_alert() {
    let (address, _) = web(EXCHANGE, 1, Then::Wait, &[b"h2"]).await;
    let reply = ask(address, question(EWS_PATH)).await;
    assert_eq!(missed(&reply), (Stage::Tls, Why::ServerSaid));
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_not() {
    for path in ["", "x", "/a b", "/a\r\nHost: x"] {
        let reply = ask(closed_tcp().await, question(path)).await;
        assert_eq!(missed(&reply), (Stage::Connect, Why::Local), "{path:?}");
    }
    let bent = HttpsGet { name: "mail\r\nX: y".into(), path: "/".into() };
    assert_eq!(missed(&ask(closed_tcp().await, bent).await), (Stage::Connect, Why::Local));
    assert_eq!(missed(&ask(closed_tcp().await, question("/")).await), (Stage::Connect, Why::Refused));
}
