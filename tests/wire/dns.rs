use crate::wire::script::*;
use exchange_preflight::wire::{budget::Budgets, clock::Clock, conversation::Wire, stores::Stores};
use exchange_preflight_checks::{
    facts::dns::{DnsAnswer, DnsLookup, Record, RecordKind},
    model::{
        ask::{Ask, Endpoint, Facts},
        evidence::{Reply, Stage},
    },
};
use hickory_resolver::proto::{
    op::{Message, ResponseCode},
    rr::{
        Name, RData, Record as Wired,
        rdata::{A, AAAA, CNAME, MX, SRV},
    },
};
use std::{net::SocketAddr, sync::Arc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
};

/// What a scripted name server does with a question: its bytes, or nothing.
type Script = Arc<dyn Fn(&Message, bool) -> Option<Vec<u8>> + Send + Sync>;

/// A name server on one port for both transports; the script's flag says whether it was asked over TCP.
async fn server(script: impl Fn(&Message, bool) -> Option<Vec<u8>> + Send + Sync + 'static) -> SocketAddr {
    let script: Script = Arc::new(script);
    let (udp, tcp) = both().await;
    let address = udp.local_addr().expect("an address");
    let over_udp = Arc::clone(&script);
    tokio::spawn(async move {
        loop {
            let (request, from) = hear(&udp).await;
            let Ok(question) = Message::from_vec(&request) else { continue };
            if let Some(answer) = over_udp(&question, false) {
                let _ = udp.send_to(&answer, from).await;
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            let script = Arc::clone(&script);
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u16().await {
                    let mut request = vec![0; length.into()];
                    let Ok(_) = stream.read_exact(&mut request).await else { return };
                    let Ok(question) = Message::from_vec(&request) else { return };
                    let Some(answer) = script(&question, true) else { return };
                    let length = u16::try_from(answer.len()).expect("small").to_be_bytes();
                    let _ = stream.write_all(&[&length[..], &answer].concat()).await;
                }
            });
        }
    });
    address
}

async fn both() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().expect("an address")).await {
            return (udp, tcp);
        }
    }
}

/// An answer with these records.
fn answer(question: &Message, code: ResponseCode, records: Vec<RData>) -> Message {
    let name = question.queries[0].name().clone();
    answer_named(question, code, records.into_iter().map(|data| (name.clone(), data)).collect())
}

fn answer_named(question: &Message, code: ResponseCode, records: Vec<(Name, RData)>) -> Message {
    let mut message = Message::response(question.metadata.id, question.metadata.op_code);
    message.metadata.response_code = code;
    message.metadata.recursion_desired = true;
    message.metadata.recursion_available = true;
    message.add_queries(question.queries.iter().cloned());
    message.add_answers(records.into_iter().map(|(name, data)| Wired::from_rdata(name, 60, data)));
    message
}

#[expect(clippy::unnecessary_wraps, reason = "a script may also be silent")]
fn bytes(message: &Message) -> Option<Vec<u8>> {
    Some(message.to_vec().expect("it can be written"))
}

fn name(text: &str) -> Name {
    Name::from_ascii(text).expect("a name")
}

fn srv(target: &str) -> RData {
    RData::SRV(SRV::new(0, 100, 389, name(target)))
}

async fn look_up(server: SocketAddr, budgets: Budgets, asked: &str, records: RecordKind) -> Reply {
    let wire = Wire::new(Clock::start(), budgets, Some(server), Stores::default(), None).expect("a wire");
    let lookup = DnsLookup { name: asked.into(), records };
    converse(&wire, &Ask::new(Endpoint::system_resolver(), lookup)).await
}

fn found(reply: Reply) -> DnsAnswer {
    let Facts::DnsLookup(answer) = told(reply) else { panic!("facts of another kind") };
    answer
}

#[tokio::test]
async fn records_are_sorted_and_names_are_canonical() {
    let server = server(|question, _| {
        let targets = ["DC2.Contoso.COM.", "dc1.contoso.com.", ".", "DC2.contoso.com."];
        bytes(&answer(question, ResponseCode::NoError, targets.into_iter().map(srv).collect()))
    })
    .await;
    let answer = found(look_up(server, patient(), "_ldap._tcp.dc._msdcs.contoso.com", RecordKind::Srv).await);
    let record = |target: &str| Record::Srv { priority: 0, weight: 100, port: 389, target: target.into() };
    assert_eq!(answer, DnsAnswer::Records(vec![record(""), record("dc1.contoso.com"), record("dc2.contoso.com")]));
    assert_eq!(answer.targets().count(), 2);
}

#[tokio::test]
async fn who_takes_mail_is_told_by_preference() {
    let server = server(|question, _| {
        let exchanges = [(20, "mx2.contoso.com."), (10, "MX1.Contoso.com.")];
        let exchanges = exchanges.into_iter().map(|(preference, host)| RData::MX(MX::new(preference, name(host))));
        bytes(&answer(question, ResponseCode::NoError, exchanges.collect()))
    })
    .await;
    let answer = found(look_up(server, patient(), "contoso.com", RecordKind::Mx).await);
    assert_eq!(answer.exchanges().collect::<Vec<_>>(), ["mx1.contoso.com", "mx2.contoso.com"]);
}

#[tokio::test]
async fn an_alias_is_read_where_it_is_asked_for() {
    let server = server(|question, _| {
        let alias = RData::CNAME(hickory_resolver::proto::rr::rdata::CNAME(name("DC1.Contoso.com.")));
        bytes(&answer(question, ResponseCode::NoError, vec![alias]))
    })
    .await;
    let answer = found(look_up(server, patient(), "0f3a._msdcs.contoso.com", RecordKind::Cname).await);
    assert_eq!(answer, DnsAnswer::Records(vec![Record::Alias("dc1.contoso.com".into())]));
}

#[tokio::test]
async fn addresses_of_both_families_are_read() {
    let server = server(|question, over_tcp| {
        let data = match question.queries[0].query_type() {
            hickory_resolver::proto::rr::RecordType::A => (0..200).map(|n| RData::A(A::new(192, 0, 2, n))).collect(),
            _ => vec![RData::AAAA(AAAA::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))],
        };
        let mut message = answer(question, ResponseCode::NoError, data);
        if !over_tcp && message.answers.len() > 1 {
            message.answers.truncate(20);
            message.metadata.truncation = true;
        }
        bytes(&message)
    })
    .await;
    let lookup = |records| look_up(server, patient(), "DC1.contoso.local", records);
    assert_eq!(found(lookup(RecordKind::A).await).addresses().count(), 200);
    assert_eq!(found(lookup(RecordKind::Aaaa).await).addresses().count(), 1);
}

#[tokio::test]
async fn an_ask_may_name_its_server_itself() {
    let server = server(|question, _| bytes(&answer(question, ResponseCode::NXDomain, vec![]))).await;
    let wire = Wire::new(Clock::start(), patient(), Some(closed_udp().await), Stores::default(), None).expect("a wire");
    let to = Endpoint { host: "dc1".into(), address: Some(server.ip()), port: server.port() };
    let lookup = DnsLookup { name: "contoso.com".into(), records: RecordKind::A };
    assert_eq!(found(converse(&wire, &Ask::new(to, lookup)).await), DnsAnswer::NoSuchName);
}

#[tokio::test]
async fn there_is_none_is_an_answer() {
    let none = |code| async move {
        let server = server(move |question, _| bytes(&answer(question, code, vec![]))).await;
        look_up(server, patient(), "nobody.contoso.com", RecordKind::A).await
    };
    assert_eq!(found(none(ResponseCode::NXDomain).await), DnsAnswer::NoSuchName);
    assert_eq!(found(none(ResponseCode::NoError).await), DnsAnswer::NoRecords);
    for refusal in [ResponseCode::ServFail, ResponseCode::Refused, ResponseCode::NotImp, ResponseCode::FormErr] {
        assert_eq!(missed(&none(refusal).await), (Stage::Reply, Why::ServerSaid), "{refusal}");
    }
}

#[tokio::test]
async fn an_answer_that_was_cut_is_fetched_over_tcp() {
    let server = server(|question, over_tcp| {
        let data = if over_tcp { vec![srv("dc1.contoso.com.")] } else { vec![] };
        let mut message = answer(question, ResponseCode::NoError, data);
        message.metadata.truncation = !over_tcp;
        bytes(&message)
    })
    .await;
    let answer = found(look_up(server, patient(), "_kerberos._tcp.contoso.com", RecordKind::Srv).await);
    assert_eq!(answer.targets().collect::<Vec<_>>(), ["dc1.contoso.com"]);
}

#[tokio::test]
async fn an_answer_that_stays_cut_is_none() {
    let server = server(|question, _| {
        let mut message = answer(question, ResponseCode::NoError, vec![]);
        message.metadata.truncation = true;
        bytes(&message)
    })
    .await;
    let reply = look_up(server, patient(), "_kerberos._tcp.contoso.com", RecordKind::Srv).await;
    assert_eq!(missed(&reply), (Stage::Reply, Why::NotTheProtocol));
}

#[tokio::test]
async fn aliases_that_lead_in_circles_end() {
    let server = server(|question, _| {
        let asked = question.queries[0].name().clone();
        let next = if asked == name("a.contoso.com.") { "b.contoso.com." } else { "a.contoso.com." };
        bytes(&answer(question, ResponseCode::NoError, vec![RData::CNAME(CNAME(name(next)))]))
    })
    .await;
    let reply = look_up(server, patient(), "a.contoso.com", RecordKind::A).await;
    assert!(reply.facts.is_none() || found(reply) == DnsAnswer::NoRecords);
}

#[tokio::test]
async fn an_alias_is_followed() {
    let server = server(|question, _| {
        let asked = question.queries[0].name().clone();
        let target = name("dc1.contoso.com.");
        let records = vec![(asked, RData::CNAME(CNAME(target.clone()))), (target, RData::A(A::new(192, 0, 2, 1)))];
        bytes(&answer_named(question, ResponseCode::NoError, records))
    })
    .await;
    assert_eq!(found(look_up(server, patient(), "alias.contoso.com", RecordKind::A).await).addresses().count(), 1);
}

#[tokio::test]
async fn rubbish_and_silence_end() {
    let silent = server(|_, _| None).await;
    let reply = look_up(silent, brief(), "contoso.com", RecordKind::A).await;
    assert_eq!(missed(&reply), (Stage::Connect, Why::Silent));
    for rubbish in [vec![], vec![0], vec![0xff; 12], vec![0xc0; 600]] {
        let server = server(move |question, _| {
            let id = question.metadata.id.to_be_bytes();
            Some(rubbish.iter().enumerate().map(|(at, byte)| *id.get(at).unwrap_or(byte)).collect())
        })
        .await;
        let _ended = missed(&look_up(server, brief(), "contoso.com", RecordKind::A).await);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_refuses() {
    let reply = look_up(closed_udp().await, patient(), "contoso.com", RecordKind::A).await;
    assert_eq!(missed(&reply), (Stage::Connect, Why::Refused));
}

#[tokio::test]
async fn a_name_that_dns_cannot_carry_is_our_own_trouble() {
    let server = server(|_, _| None).await;
    for wrong in [&"x".repeat(64), "a..b", &"abcdefg.".repeat(40)] {
        let reply = look_up(server, brief(), wrong, RecordKind::A).await;
        assert_eq!(missed(&reply), (Stage::Resolve, Why::Local), "{wrong}");
    }
}
