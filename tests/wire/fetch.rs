use crate::wire::script::*;
use exchange_preflight_checks::{
    facts::web::{HttpFetch, HttpFile},
    model::{
        ask::Facts,
        evidence::{Reply, Stage},
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

fn question() -> HttpFetch {
    HttpFetch { path: "/CertEnroll/ca.crl?x=1".into() }
}

async fn fetch(bytes: impl Into<Vec<u8>>, then: Then) -> Reply {
    ask(says(bytes, then).await, question()).await
}

fn file(reply: Reply) -> HttpFile {
    let Facts::HttpFetch(file) = told(reply) else { panic!("facts of another kind") };
    file
}

#[tokio::test]
async fn a_file_is_fetched_whole() {
    for (answer, then) in [
        (&b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\x30\x03\x02\x01\x00"[..], Then::Wait),
        (b"HTTP/1.0 200 OK\r\n\r\n\x30\x03\x02\x01\x00", Then::Close),
        (
            b"HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n\x30\x03\r\n3\r\n\x02\x01\x00\r\n0\r\n\r\n",
            Then::Wait,
        ),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n\x30\x03\x02\x01\x00", Then::Wait),
    ] {
        let file = file(fetch(answer, then).await);
        assert_eq!((file.status, file.body.0), (200, vec![0x30, 3, 2, 1, 0]));
        assert!(file.span.sent <= file.span.received);
    }
}

#[tokio::test]
async fn of_anything_but_a_200_the_body_is_left() {
    for status in ["404 Not Found", "302 Found\r\nLocation: /elsewhere", "206 Partial Content"] {
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 1000000\r\n\r\nsorry");
        let file = file(fetch(answer, Then::Wait).await);
        assert_eq!((file.status.to_string().as_str(), file.body.0.len()), (&status[..3], 0));
    }
}

#[tokio::test]
async fn the_request_says_what_is_wanted_and_no_more() {
    let heard = Arc::new(Mutex::new(String::new()));
    let server = tcp({
        let heard = Arc::clone(&heard);
        move |mut stream: TcpStream| {
            let heard = Arc::clone(&heard);
            async move {
                let mut request = vec![0; 4096];
                let length = stream.read(&mut request).await.unwrap_or(0);
                heard.lock().unwrap().push_str(&String::from_utf8_lossy(&request[..length]));
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
            }
        }
    })
    .await;
    file(ask(server, question()).await);
    let expected = format!(
        "GET /CertEnroll/ca.crl?x=1 HTTP/1.1\r\nhost: script:{}\r\nuser-agent: exchange-preflight\r\naccept: */*\r\n\r\n",
        server.port()
    );
    assert_eq!(*heard.lock().unwrap(), expected);
}

/// A server that sends `head`, and then `more` without end.
async fn floods(head: &'static str, more: &'static [u8]) -> SocketAddr {
    tcp(move |mut stream: TcpStream| async move {
        let _ = stream.read(&mut [0; 4096]).await;
        let _ = stream.write_all(head.as_bytes()).await;
        while stream.write_all(more).await.is_ok() {}
    })
    .await
}

#[tokio::test]
async fn a_file_without_end_is_not_kept() {
    const CHUNK: &[u8] = &[b'x'; 65_536];
    let chunked: &[u8] = &[b"10000\r\n", CHUNK, b"\r\n"].concat();
    let cases = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", CHUNK.to_vec()),
        ("HTTP/1.0 200 OK\r\n\r\n", CHUNK.to_vec()),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", chunked.to_vec()),
        ("HTTP/1.1 200 OK\r\n", b"X: y\r\n".repeat(100)),
        ("HTTP/1.1 200 OK\r\nX: ", CHUNK.to_vec()),
    ];
    for (head, more) in cases {
        let reply = ask(floods(head, more.leak()).await, question()).await;
        assert_eq!(missed(&reply), (Stage::Reply, Why::NotTheProtocol), "{head}");
    }
}

#[tokio::test]
async fn a_connection_may_end_in_any_state() {
    let whole = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde";
    for length in [0, 5, 20, whole.len() - 5, whole.len() - 1] {
        for (then, expected) in [(Then::Close, Why::Closed), (Then::Wait, Why::Silent)] {
            let reply = ask_within(budgets_for(expected), says(&whole[..length], then).await, question()).await;
            assert_eq!(missed(&reply), (Stage::Reply, expected), "{length} bytes");
        }
    }
    let reply = ask_briefly(drips(*b"HTTP/1.1 200 OK\r\nX: y\r\n").await, question()).await;
    assert_eq!(missed(&reply).0, Stage::Reply);
    let reply =
        ask_briefly(floods("HTTP/1.1 103 Early Hints\r\n\r\n", b"HTTP/1.1 103 x\r\n\r\n").await, question()).await;
    assert_eq!(missed(&reply), (Stage::Reply, Why::Silent));
}

#[tokio::test]
async fn what_is_no_http_is_told() {
    for bytes in [&b"220 mail.contoso.com ESMTP\r\n"[..], b"\x15\x03\x01\x00\x02\x02\x0a", &[0; 100]] {
        assert_eq!(missed(&fetch(bytes, Then::Wait).await), (Stage::Reply, Why::NotTheProtocol));
    }
}
