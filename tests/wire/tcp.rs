use crate::wire::script::*;
use exchange_preflight::wire::{clock::Clock, conversation::Wire, stores::Stores};
use exchange_preflight_checks::{
    facts::{
        directory::RootDse,
        net::{Connect, Connected, Transport},
        smb::SmbNegotiate,
    },
    model::{
        ask::{Ask, Endpoint, Facts},
        evidence::Stage,
    },
};
use tokio::net::TcpListener;

#[tokio::test]
async fn a_port_that_listens_takes_the_connection() {
    // Nobody even accepts: the kernel's backlog is enough.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    assert_eq!(told(ask(address, Connect).await), Facts::Connect(Connected));
}

#[tokio::test]
async fn a_port_that_does_not_listen_refuses() {
    assert_eq!(missed(&ask(closed_tcp().await, Connect).await), (Stage::Connect, Why::Refused));
}

#[tokio::test]
async fn who_accepts_and_never_reads_is_open_and_silent() {
    let server = tcp(|stream| end(stream, Then::Wait)).await;
    assert_eq!(missed(&ask_briefly(server, SmbNegotiate).await), (Stage::Reply, Why::Silent));
    assert_eq!(missed(&ask_briefly(server, RootDse { transport: Transport::Tcp }).await), (Stage::Reply, Why::Silent));
}

#[tokio::test]
async fn a_host_without_an_address_is_not_asked() {
    let wire = Wire::new(Clock::start(), brief(), None, Stores::default(), None).expect("a wire");
    let nowhere = Endpoint { host: "dc1.contoso.com".into(), address: None, port: 88 };
    assert_eq!(missed(&converse(&wire, &Ask::new(nowhere, Connect)).await), (Stage::Resolve, Why::Local));
}
