use crate::wire::{
    ldap::{done, entry, message},
    script::*,
};
use exchange_preflight_checks::{
    facts::{
        directory::{NetlogonPing, RootDse},
        net::Transport,
    },
    model::{
        ask::Facts,
        evidence::{Reply, Stage},
    },
};

const ROOT: RootDse = RootDse { transport: Transport::Udp };

fn ping() -> NetlogonPing {
    NetlogonPing { domain: "contoso.com".into() }
}

/// The number of a request, which our client writes in as few bytes as it needs.
fn id(request: &[u8]) -> u32 {
    let start = if request[1] < 0x80 { 2 } else { 2 + usize::from(request[1] & 0x7f) };
    let length = usize::from(request[start + 1]);
    request[start + 2..start + 2 + length].iter().fold(0, |id, byte| id << 8 | u32::from(*byte))
}

/// A server that answers with what `operations` makes of nothing but the number.
async fn answers(operations: fn(u32) -> Vec<Vec<u8>>) -> std::net::SocketAddr {
    replies(move |request| operations(id(request))).await
}

fn time() -> Vec<u8> {
    entry(&[("currentTime", &[b"20261122120000.0Z"])])
}

#[tokio::test]
async fn a_root_dse_shows_its_clock() {
    let server = answers(|id| vec![[message(id, &time()), message(id, &done(0, b""))].concat()]).await;
    let Facts::RootDse(reply) = told(ask(server, ROOT).await) else { panic!("of another kind") };
    assert!(reply.reading().is_some() && reply.attributes.len() == 1);
}

#[tokio::test]
async fn a_ping_brings_the_netlogon_attribute() {
    let server = replies(|request| {
        for part in [&b"DnsDomain"[..], b"contoso.com", b"NtVer", &[0x16, 0x00, 0x00, 0x20]] {
            assert!(request.windows(part.len()).any(|window| window == part));
        }
        let blob: &[u8] = &[23, 0, 0, 0, 0xfd, 0x33, 0, 0, 0xff];
        let found = entry(&[("netlogon", &[blob])]);
        vec![[message(id(request), &found), message(id(request), &done(0, b""))].concat()]
    })
    .await;
    let Facts::NetlogonPing(reply) = told(ask(server, ping()).await) else { panic!("of another kind") };
    assert_eq!(reply.netlogon.0[0], 23);
}

#[tokio::test]
async fn a_controller_of_another_domain_says_so() {
    let nothing = answers(|id| vec![message(id, &done(0, b""))]).await;
    assert_eq!(missed(&ask(nothing, ping()).await), (Stage::Reply, Why::ServerSaid));
    let busy = answers(|id| vec![message(id, &done(51, b"busy \x1b[2J"))]).await;
    assert_eq!(missed(&ask(busy, ping()).await), (Stage::Reply, Why::ServerSaid));
}

#[tokio::test]
async fn datagrams_of_other_forms_are_no_answer() {
    let cases: [fn(u32) -> Vec<u8>; 9] = [
        |_| vec![],
        |_| vec![0x30],
        |_| vec![0x30, 0x84, 0x7f, 0xff, 0xff, 0xff],
        |_| b"HTTP/1.1 400".to_vec(),
        |id| message(id, &time())[..20].to_vec(),
        |id| [message(id, &time()), vec![0xff]].concat(),
        |id| message(id, &der(0x64, &[])),
        |id| message(id, &der(0x65, &[])),
        |_| (0..20_000).fold(vec![0x04, 0x00], |inside: Vec<u8>, _| der(0x30, &inside))[..60_000].to_vec(),
    ];
    for case in cases {
        let reply = ask(replies(move |request| vec![case(id(request))]).await, ROOT).await;
        assert_eq!(missed(&reply), (Stage::Reply, Why::NotTheProtocol), "{:02x?}", case(1).get(..10));
    }
    let two =
        answers(|id| vec![[message(id, &time()), message(id, &time()), message(id, &done(0, b""))].concat()]).await;
    assert_eq!(missed(&ask(two, ROOT).await), (Stage::Reply, Why::NotTheProtocol));
    let unasked =
        answers(|id| vec![[message(id, &entry(&[("x", &[b"y"])])), message(id, &done(0, b""))].concat()]).await;
    assert_eq!(missed(&ask(unasked, ping()).await), (Stage::Reply, Why::NotTheProtocol));
}

#[tokio::test]
async fn answers_to_others_are_passed_over() {
    let stray = answers(|id| vec![message(id ^ 1, &time())]).await;
    assert_eq!(missed(&ask_briefly(stray, ROOT).await), (Stage::Reply, Why::NotTheProtocol));
    let both = answers(|id| vec![message(id ^ 1, &done(52, b"")), message(id, &time()), message(id, &time())]).await;
    assert!(matches!(told(ask(both, ROOT).await), Facts::RootDse(_)));
}

#[tokio::test]
async fn closed_and_silent_are_told_apart() {
    let silent = || replies(|_| vec![]);
    let asked = |reply: Reply| missed(&reply);
    assert_eq!(asked(ask(closed_udp().await, ROOT).await), (Stage::Connect, Why::Refused));
    assert_eq!(asked(ask_briefly(silent().await, ROOT).await), (Stage::Connect, Why::Silent));
    assert_eq!(asked(ask(closed_udp().await, ping()).await), (Stage::Connect, Why::Refused));
    assert_eq!(asked(ask_briefly(silent().await, ping()).await), (Stage::Connect, Why::Silent));
}
