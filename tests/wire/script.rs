//! Servers that do what a test tells them, and the one way in which all tests ask.

use exchange_preflight::wire::{budget::Budgets, clock::Clock, conversation::Wire, stores::Stores};
use exchange_preflight_checks::model::ask::{Ask, Endpoint, Facts, Question};
use exchange_preflight_checks::model::evidence::{End, Miss, Reason, Reply, Stage};
use std::{future::Future, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    time::{sleep, timeout},
};

/// Long enough for any machine; a test that comes near it hangs.
const HANGS: Duration = Duration::from_mins(1);

/// Short enough that waiting for silence costs nothing.
pub(super) fn brief() -> Budgets {
    let millis = Duration::from_millis;
    Budgets { connect: millis(600), reply: millis(600), retransmits: [millis(60), millis(150)] }
}

/// Brief where silence is expected.
pub(super) fn budgets_for(expected: Why) -> Budgets {
    if expected == Why::Silent { brief() } else { patient() }
}

/// Patient: for answers that must come, however slow the machine is.
pub(super) fn patient() -> Budgets {
    let seconds = Duration::from_secs;
    Budgets { connect: seconds(30), reply: seconds(30), retransmits: [Duration::from_millis(60), seconds(20)] }
}

/// Asks, and waits as long as it takes.
pub(super) async fn ask(to: SocketAddr, what: impl Into<Question>) -> Reply {
    ask_within(patient(), to, what).await
}

/// Asks where silence is the answer.
pub(super) async fn ask_briefly(to: SocketAddr, what: impl Into<Question>) -> Reply {
    ask_within(brief(), to, what).await
}

/// Asks with stated budgets.
pub(super) async fn ask_within(budgets: Budgets, to: SocketAddr, what: impl Into<Question>) -> Reply {
    let to = Endpoint { host: "script".into(), address: Some(to.ip()), port: to.port() };
    converse(&Wire::new(Clock::start(), budgets, None, Stores::default(), None).expect("a wire"), &Ask::new(to, what))
        .await
}

/// Asks on a wire that is there already. The conversation must be fit to be sent to another thread.
pub(super) async fn converse(wire: &Wire, ask: &Ask) -> Reply {
    fn sendable<F: Future<Output = Reply> + Send>(future: F) -> F {
        future
    }
    timeout(HANGS, sendable(wire.converse(ask))).await.expect("a conversation ends")
}

/// What a Miss is, without its prose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Refused,
    Silent,
    Closed,
    NotTheProtocol,
    ServerSaid,
    NoLogon,
    Local,
    Other,
}

/// Nothing was learnt, and this is why.
#[track_caller]
pub(super) fn missed(reply: &Reply) -> (Stage, Why) {
    assert_eq!(reply.facts, None, "facts beside {:?}", reply.end);
    why(reply)
}

/// How it failed, whatever was learnt.
#[track_caller]
pub(super) fn why(reply: &Reply) -> (Stage, Why) {
    let End::Miss(Miss { stage, reason, .. }) = &reply.end else { panic!("no miss: {reply:?}") };
    if let Reason::NotTheProtocol(text) | Reason::ServerSaid(text) | Reason::NoLogon(text) | Reason::Local(text) =
        reason
    {
        assert!(text.chars().count() <= 200 && !text.chars().any(char::is_control), "{text:?}");
    }
    let why = match reason {
        Reason::Refused => Why::Refused,
        Reason::Silent => Why::Silent,
        Reason::Closed => Why::Closed,
        Reason::NotTheProtocol(_) => Why::NotTheProtocol,
        Reason::ServerSaid(_) => Why::ServerSaid,
        Reason::NoLogon(_) => Why::NoLogon,
        Reason::Local(_) => Why::Local,
        Reason::Prohibited | Reason::Unreachable | Reason::NoRoute | Reason::Interrupted => Why::Other,
    };
    (*stage, why)
}

/// It went well, and brought this.
#[track_caller]
pub(super) fn told(reply: Reply) -> Facts {
    assert_eq!(reply.end, End::Ok);
    reply.facts.expect("what ends well brings facts")
}

/// A TCP server that plays `script` with each caller.
pub(super) async fn tcp<S, F>(script: S) -> SocketAddr
where
    S: Fn(TcpStream) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(script(stream));
        }
    });
    address
}

/// What a TCP server does once it has said its piece.
#[derive(Clone, Copy)]
pub(super) enum Then {
    Close,
    Reset,
    Wait,
}

/// A TCP server that hears something, says `bytes`, and then ends in its way.
pub(super) async fn says(bytes: impl Into<Vec<u8>>, then: Then) -> SocketAddr {
    let bytes = bytes.into();
    tcp(move |mut stream| {
        let bytes = bytes.clone();
        async move {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(&bytes).await;
            end(stream, then).await;
        }
    })
    .await
}

/// A TCP server that says one byte at a time, so slowly that it never comes to an end.
pub(super) async fn drips(bytes: impl Into<Vec<u8>>) -> SocketAddr {
    let bytes = bytes.into();
    tcp(move |mut stream| {
        let bytes = bytes.clone();
        async move {
            for byte in bytes.iter().cycle() {
                if stream.write_all(&[*byte]).await.is_err() {
                    return;
                }
                sleep(Duration::from_millis(40)).await;
            }
        }
    })
    .await
}

/// Ends a connection.
pub(super) async fn end(mut stream: TcpStream, then: Then) {
    match then {
        Then::Close => {
            let _ = stream.shutdown().await;
            // Reading on keeps an unread byte from turning the close into a reset.
            while stream.read(&mut [0; 4096]).await.is_ok_and(|length| length > 0) {}
        }
        Then::Reset => stream.set_zero_linger().expect("a socket option"),
        Then::Wait => sleep(HANGS).await,
    }
}

/// A UDP server that plays `script` on a socket of its own.
pub(super) async fn udp<S, F>(script: S) -> SocketAddr
where
    S: FnOnce(UdpSocket) -> F,
    F: Future<Output = ()> + Send + 'static,
{
    let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    let address = socket.local_addr().expect("an address");
    tokio::spawn(script(socket));
    address
}

/// A UDP server that answers each datagram with what `answers` makes of it.
pub(super) async fn replies<A>(answers: A) -> SocketAddr
where
    A: Fn(&[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static,
{
    udp(|socket| async move {
        loop {
            let (request, from) = hear(&socket).await;
            for answer in answers(&request) {
                let _ = socket.send_to(&answer, from).await;
            }
        }
    })
    .await
}

/// The next datagram.
pub(super) async fn hear(socket: &UdpSocket) -> (Vec<u8>, SocketAddr) {
    let mut request = vec![0; 65_535];
    let (length, from) = socket.recv_from(&mut request).await.expect("a datagram");
    request.truncate(length);
    (request, from)
}

/// A port of loopback on which nothing listens.
pub(super) async fn closed_udp() -> SocketAddr {
    UdpSocket::bind("127.0.0.1:0").await.and_then(|socket| socket.local_addr()).expect("a port")
}

/// A port of loopback on which nothing listens.
pub(super) async fn closed_tcp() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr()).expect("a port")
}

/// A message behind its length of four bytes.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = u32::try_from(message.len()).expect("small").to_be_bytes().to_vec();
    framed.extend(message);
    framed
}

/// One DER part.
pub(super) fn der(tag: u8, contents: &[u8]) -> Vec<u8> {
    let mut part = vec![tag];
    match contents.len() {
        length @ 0..=0x7f => part.push(u8::try_from(length).expect("short form")),
        length => {
            let digits = u32::try_from(length).expect("small").to_be_bytes();
            let skipped = digits.iter().take_while(|digit| **digit == 0).count();
            part.push(0x84 - u8::try_from(skipped).expect("at most three"));
            part.extend(&digits[skipped..]);
        }
    }
    part.extend(contents);
    part
}
