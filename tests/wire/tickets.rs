use crate::wire::{kdc::*, script::*};
use exchange_preflight::wire::{
    budget::Budgets,
    clock::Clock,
    conversation::Wire,
    credential::{Credential, Password},
    stores::Stores,
};
use exchange_preflight_checks::{
    facts::{
        net::Transport,
        ticket::{Hop, RealmKdc, ServiceTicket, TicketGranting},
    },
    model::{
        ask::{Ask, Endpoint, Facts},
        evidence::{End, Reply, Stage},
        plan::{Logon, LogonWay},
    },
};
use jiff::SignedDuration;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::task::JoinSet;

const TCP: Transport = Transport::Tcp;
const UDP: Transport = Transport::Udp;
const SPN: &str = "SMTPSVC/ex01.contoso.com";
const HONEST: Honest = Honest { ahead: SignedDuration::ZERO };

fn wire_with(budgets: Budgets, password: &str) -> Wire {
    let logon = Logon { user: Some("reader".into()), way: LogonWay::Kerberos };
    let password = Password::new(password.to_string().into()).expect("a password");
    let credential = Credential::new(&logon, "contoso.com", Some(password)).expect("a credential");
    Wire::new(Clock::start(), budgets, None, Stores::default(), Some(credential)).expect("a wire")
}

fn wire() -> Wire {
    wire_with(patient(), PASSWORD)
}

/// For silence behind an answer, which takes its time on a busy machine.
fn silence() -> Budgets {
    Budgets { connect: Duration::from_secs(4), reply: Duration::from_secs(4), ..brief() }
}

fn endpoint(to: SocketAddr) -> Endpoint {
    Endpoint { host: "dc1.contoso.com".into(), address: Some(to.ip()), port: to.port() }
}

async fn log_on(wire: &Wire, to: SocketAddr, transport: Transport) -> Reply {
    converse(wire, &Ask::new(endpoint(to), TicketGranting { transport })).await
}

async fn get(wire: &Wire, to: SocketAddr, spn: &str, transport: Transport, path: &[RealmKdc]) -> Reply {
    let question = ServiceTicket { spn: spn.into(), transport, path: path.to_vec() };
    converse(wire, &Ask::new(endpoint(to), question)).await
}

fn hops(reply: &Reply) -> &[Hop] {
    match &reply.facts {
        Some(Facts::TicketGranting(reply) | Facts::ServiceTicket(reply)) => &reply.hops,
        None => &[],
        Some(other) => panic!("facts of another kind: {other:?}"),
    }
}

/// Of each request what carried it, and the error or `None` for a ticket.
fn course(reply: &Reply) -> Vec<(Transport, Option<i64>)> {
    hops(reply).iter().map(|hop| (hop.transport, hop.error().map(|error| error.code))).collect()
}

/// How it ended well.
#[track_caller]
fn ended(reply: &Reply) -> Vec<(Transport, Option<i64>)> {
    assert_eq!(reply.end, End::Ok);
    course(reply)
}

fn passwords(log: &Log) -> usize {
    log.lock().unwrap().iter().filter(|asked| asked.password.is_some()).count()
}

fn count(log: &Log) -> usize {
    log.lock().unwrap().len()
}

async fn honest() -> (SocketAddr, Log) {
    kdc(anywhere(), &[TCP, UDP], |asked| Says::This(HONEST.answer(asked))).await
}

/// Honest until it is asked for the ticket of a service.
async fn at_services<S>(script: S) -> SocketAddr
where
    S: Fn(&Asked) -> Says + Send + Sync + 'static,
{
    let script = move |asked: &Asked| {
        if asked.is_first_ticket { Says::This(HONEST.answer(asked)) } else { script(asked) }
    };
    kdc(anywhere(), &[TCP, UDP], script).await.0
}

#[tokio::test]
async fn a_first_ticket_comes_over_either_transport() {
    for transport in [TCP, UDP] {
        let (to, log) = honest().await;
        let reply = log_on(&wire(), to, transport).await;
        assert_eq!(ended(&reply), [(transport, Some(25)), (transport, None)]);
        let grant = hops(&reply)[1].grant().expect("a ticket");
        assert_eq!((grant.realm.as_str(), grant.server.as_str()), ("CONTOSO.COM", "krbtgt/CONTOSO.COM"));
        assert_eq!((grant.etype, grant.kvno, grant.session_etype), (23, Some(3), 18));
        assert_eq!(grant.ends.map(|ends| ends.to_string()).as_deref(), Some("2026-11-23T12:00:00Z"));
        assert_eq!(passwords(&log), 1);
    }
}

#[tokio::test]
async fn thirty_tickets_take_one_logon() {
    let (to, log) = honest().await;
    let wire = Arc::new(wire());
    let mut tasks = JoinSet::new();
    for number in 0..30 {
        let wire = Arc::clone(&wire);
        let transport = if number % 2 == 0 { TCP } else { UDP };
        tasks.spawn(async move { get(&wire, to, &format!("SMTPSVC/ex{number}/more"), transport, &[]).await });
    }
    while let Some(reply) = tasks.join_next().await {
        let reply = reply.expect("it ends");
        assert_eq!(ended(&reply)[..2], [(TCP, Some(25)), (TCP, None)], "what was had before is told again");
        let last = hops(&reply).last().and_then(Hop::grant).expect("a ticket");
        assert!(last.server.starts_with("SMTPSVC/ex") && last.server.ends_with("/more"), "{last:?}");
    }
    let firsts = log.lock().unwrap().iter().filter(|asked| asked.is_first_ticket).count();
    assert_eq!((firsts, passwords(&log)), (2, 1));
}

#[tokio::test]
async fn what_does_not_fit_into_a_datagram_comes_over_tcp() {
    let script = |asked: &Asked| match (asked.transport, asked.password.is_none() && asked.is_first_ticket) {
        (UDP, false) => Says::This(HONEST.error(52, None)),
        _ => Says::This(HONEST.answer(asked)),
    };
    let (to, log) = kdc(anywhere(), &[TCP, UDP], script).await;
    let wire = wire();
    assert_eq!(ended(&log_on(&wire, to, UDP).await), [(UDP, Some(25)), (UDP, Some(52)), (TCP, None)]);
    assert_eq!(passwords(&log), 2);
    let reply = get(&wire, to, SPN, UDP, &[]).await;
    assert_eq!(ended(&reply)[2..], [(UDP, Some(52)), (TCP, None)]);
}

#[tokio::test]
async fn where_tcp_is_shut_both_are_told_and_nobody_is_to_blame() {
    let script = |asked: &Asked| match asked.password {
        Some(_) => Says::This(HONEST.error(52, None)),
        None => Says::This(HONEST.answer(asked)),
    };
    let (to, _) = kdc(anywhere(), &[UDP], script).await;
    let wire = wire();
    let reply = log_on(&wire, to, UDP).await;
    assert_eq!(course(&reply), [(UDP, Some(25)), (UDP, Some(52))]);
    assert_eq!(why(&reply), (Stage::Connect, Why::Refused));
    // No password was judged, so that another controller may be asked.
    assert_eq!(ended(&log_on(&wire, honest().await.0, TCP).await).len(), 2);
}

#[tokio::test]
async fn no_clock_of_ours_matters() {
    for minutes in [-10, 10] {
        let near = Honest { ahead: SignedDuration::from_mins(minutes) };
        let far = Honest { ahead: SignedDuration::from_mins(-minutes) };
        let (to, _) = kdc(anywhere(), &[TCP, UDP], move |asked| Says::This(near.answer(asked))).await;
        let wire = wire();
        for transport in [TCP, UDP] {
            assert_eq!(ended(&log_on(&wire, to, transport).await).len(), 2);
            assert_eq!(ended(&get(&wire, to, SPN, transport, &[]).await).len(), 3);
        }
        // The clock of a KDC further on is known once it has said so.
        let beyond = SocketAddr::from(([127, 0, 0, 2], to.port()));
        kdc(beyond, &[TCP], move |asked| Says::This(far.answer(asked))).await;
        let other = step("OTHER.COM", beyond);
        let reply = get(&wire, to, SPN, TCP, std::slice::from_ref(&other)).await;
        assert_eq!(ended(&reply)[2..], [(TCP, None), (TCP, Some(37)), (TCP, None)]);
        assert_eq!(ended(&get(&wire, to, "HTTP/b", TCP, &[other]).await)[2..], [(TCP, None), (TCP, None)]);
    }
}

#[tokio::test]
async fn a_refused_password_is_sent_to_nobody_any_more() {
    for transport in [TCP, UDP] {
        let ((one, log), (two, others)) = (honest().await, honest().await);
        let wire = wire_with(patient(), "wrong");
        let reply = log_on(&wire, one, transport).await;
        assert_eq!(course(&reply), [(transport, Some(25)), (transport, Some(24))]);
        assert_eq!(why(&reply), (Stage::Bind, Why::ServerSaid));
        for to in [one, two] {
            for transport in [TCP, UDP] {
                assert_eq!(missed(&log_on(&wire, to, transport).await), (Stage::Bind, Why::ServerSaid));
                assert_eq!(missed(&get(&wire, to, SPN, transport, &[]).await), (Stage::Bind, Why::ServerSaid));
            }
        }
        assert_eq!((passwords(&log), count(&others)), (1, 0));
    }
}

#[tokio::test]
async fn a_password_is_sent_once_and_silence_is_a_try() {
    for transport in [TCP, UDP] {
        let script = |asked: &Asked| match asked.password {
            Some(_) => Says::Nothing,
            None => Says::This(HONEST.answer(asked)),
        };
        let (to, log) = kdc(anywhere(), &[TCP, UDP], script).await;
        let wire = wire_with(silence(), PASSWORD);
        let reply = log_on(&wire, to, transport).await;
        let stage = if transport == TCP { Stage::Reply } else { Stage::Connect };
        assert_eq!((course(&reply), why(&reply)), (vec![(transport, Some(25))], (stage, Why::Silent)));
        let (other, others) = honest().await;
        assert_eq!(missed(&log_on(&wire, other, transport).await), (Stage::Bind, Why::Local));
        assert_eq!((passwords(&log), count(&others)), (1, 0));
    }
}

#[tokio::test]
async fn a_password_that_was_taken_may_be_sent_again_in_a_datagram() {
    let script = |asked: &Asked| match asked.password {
        Some(_) => Says::Nothing,
        None => Says::This(HONEST.answer(asked)),
    };
    let (deaf, log) = kdc(anywhere(), &[UDP], script).await;
    let (to, _) = honest().await;
    let wire = wire_with(Budgets { reply: patient().reply, ..silence() }, PASSWORD);
    assert_eq!(ended(&log_on(&wire, to, TCP).await).len(), 2);
    assert_eq!(why(&log_on(&wire, deaf, UDP).await), (Stage::Connect, Why::Silent));
    assert_eq!(passwords(&log), 3);
    assert_eq!(ended(&get(&wire, to, SPN, TCP, &[]).await).len(), 3, "and the gate is open");
}

#[tokio::test]
async fn who_cannot_be_asked_judges_nobody() {
    let wire = wire();
    assert_eq!(missed(&log_on(&wire, closed_tcp().await, TCP).await), (Stage::Connect, Why::Refused));
    assert_eq!(missed(&log_on(&wire, closed_udp().await, UDP).await), (Stage::Connect, Why::Refused));
    let shut = closed_tcp().await;
    assert_eq!(missed(&get(&wire, shut, SPN, TCP, &[]).await), (Stage::Connect, Why::Refused));
    assert_eq!(ended(&get(&wire, honest().await.0, SPN, TCP, &[]).await).len(), 3);
}

#[tokio::test]
async fn an_error_that_judges_nobody_is_an_answer() {
    let script = |asked: &Asked| match asked.password {
        Some(_) => Says::This(HONEST.error(29, None)),
        None => Says::This(HONEST.answer(asked)),
    };
    let (to, log) = kdc(anywhere(), &[TCP, UDP], script).await;
    let wire = wire();
    assert_eq!(ended(&log_on(&wire, to, TCP).await), [(TCP, Some(25)), (TCP, Some(29))]);
    let reply = get(&wire, to, SPN, TCP, &[]).await;
    assert_eq!((course(&reply).len(), why(&reply)), (2, (Stage::Bind, Why::ServerSaid)));
    assert_eq!(passwords(&log), 1, "it is asked once");
    assert_eq!(ended(&log_on(&wire, honest().await.0, TCP).await).len(), 2);
}

#[tokio::test]
async fn a_service_that_the_kdc_does_not_know_is_an_answer() {
    let to = at_services(|_| Says::This(HONEST.error(7, None))).await;
    for transport in [TCP, UDP] {
        let reply = get(&wire(), to, SPN, transport, &[]).await;
        assert_eq!(ended(&reply)[2..], [(transport, Some(7))]);
        assert_eq!(hops(&reply)[2].wanted, SPN);
    }
}

#[tokio::test]
async fn an_account_without_pre_authentication_or_without_aes_is_not_used() {
    let (open, log) = kdc(anywhere(), &[TCP], |asked| Says::This(ticket(asked, &asked.server, Bent::Not))).await;
    assert_eq!(missed(&log_on(&wire(), open, TCP).await), (Stage::Bind, Why::Local));
    assert_eq!(passwords(&log), 0);
    for data in [None, Some(methods(23)), Some(vec![0x30, 0x80, 0, 0]), Some(vec![4; 2000])] {
        let says = HONEST.error(25, data.as_deref());
        let (old, log) = kdc(anywhere(), &[TCP], move |_| Says::This(says.clone())).await;
        let reply = log_on(&wire(), old, TCP).await;
        assert_eq!((course(&reply), why(&reply)), (vec![(TCP, Some(25))], (Stage::Bind, Why::ServerSaid)));
        assert_eq!(passwords(&log), 0);
    }
}

const BENT: [Bent; 7] =
    [Bent::Nonce, Bent::Garbage, Bent::OtherName, Bent::OtherKey, Bent::OtherExchange, Bent::Trailing, Bent::ShortKey];

#[tokio::test]
async fn a_ticket_that_does_not_fit_is_none() {
    for bent in BENT {
        let to = at_services(move |asked| Says::This(ticket(asked, &asked.server, bent))).await;
        let reply = get(&wire(), to, SPN, TCP, &[]).await;
        assert_eq!((course(&reply).len(), why(&reply)), (2, (Stage::Reply, Why::NotTheProtocol)), "{bent:?}");
        let script = move |asked: &Asked| match asked.password {
            Some(_) => Says::This(ticket(asked, &asked.server, bent)),
            None => Says::This(HONEST.answer(asked)),
        };
        let (to, _) = kdc(anywhere(), &[TCP], script).await;
        let reply = log_on(&wire(), to, TCP).await;
        assert_eq!((course(&reply).len(), why(&reply)), (1, (Stage::Reply, Why::NotTheProtocol)), "{bent:?}");
    }
}

#[tokio::test]
async fn a_ticket_cut_at_any_byte_is_none() {
    let to = at_services(|asked| {
        let whole = ticket(asked, SPN, Bent::Not);
        let at: usize = asked.server.strip_prefix("cut/").expect("a place").parse().expect("a number");
        Says::This(whole[..at.min(whole.len())].to_vec())
    })
    .await;
    let wire = wire();
    for end in 1..600 {
        let reply = get(&wire, to, &format!("cut/{end}"), TCP, &[]).await;
        assert_eq!((course(&reply).len(), why(&reply)), (2, (Stage::Reply, Why::NotTheProtocol)), "{end} bytes");
    }
}

#[tokio::test]
async fn a_datagram_that_answers_nothing_is_passed_over() {
    let to = at_services(|asked| {
        let says = |bent| ticket(asked, &asked.server, bent);
        Says::Bytes(vec![says(Bent::Nonce), says(Bent::OtherKey), says(Bent::Not), says(Bent::Not)])
    })
    .await;
    assert_eq!(ended(&get(&wire(), to, SPN, UDP, &[]).await)[2..], [(UDP, None)]);
}

#[tokio::test]
async fn lengths_that_no_message_has_and_bytes_now_and_then_end_it() {
    for header in [[0; 4], [0x80, 0, 0, 1], [0x7f, 0xff, 0xff, 0xff]] {
        let to = at_services(move |_| Says::Bytes(vec![header.to_vec()])).await;
        assert_eq!(why(&get(&wire(), to, SPN, TCP, &[]).await), (Stage::Reply, Why::NotTheProtocol));
    }
    let to = at_services(|asked| Says::Drips(HONEST.answer(asked))).await;
    let wire = wire_with(silence(), PASSWORD);
    assert_eq!(why(&get(&wire, to, SPN, TCP, &[]).await), (Stage::Reply, Why::Silent));
}

#[tokio::test]
async fn sixty_kilobytes_of_text_with_escapes_are_kept_as_they_are() {
    let text: Vec<u8> = b"\x1b]0;owned\x07".iter().copied().cycle().take(60_000).collect();
    let long = HONEST.error_saying(7, None, Some(&text));
    let says = long.clone();
    let to = at_services(move |_| Says::This(says.clone())).await;
    let reply = get(&wire(), to, SPN, TCP, &[]).await;
    assert_eq!(ended(&reply)[2..], [(TCP, Some(7))]);
}

fn step(realm: &str, at: SocketAddr) -> RealmKdc {
    RealmKdc { realm: realm.into(), host: "dc1.other.com".into(), address: at.ip() }
}

#[tokio::test]
async fn a_referral_is_an_answer_and_a_way_through_realms_is_walked_once() {
    let (to, log) = kdc(anywhere(), &[TCP], |asked| match asked.server.as_str() {
        SPN | "krbtgt/THIRD.COM" => Says::This(ticket(asked, "krbtgt/OTHER.COM", Bent::Not)),
        "krbtgt/NONE.COM" => Says::This(HONEST.error(7, None)),
        _ => Says::This(HONEST.answer(asked)),
    })
    .await;
    let beyond = SocketAddr::from(([127, 0, 0, 2], to.port()));
    let (_, others) = kdc(beyond, &[TCP], |asked| Says::This(HONEST.answer(asked))).await;
    let wire = wire();
    let reply = get(&wire, to, SPN, TCP, &[]).await;
    let last = hops(&reply).last().expect("an answer");
    assert_eq!(last.grant().and_then(|grant| grant.refers_to(&last.realm)), Some("OTHER.COM"));

    for spn in [SPN, "HTTP/b"] {
        let reply = get(&wire, to, spn, TCP, &[step("OTHER.COM", beyond)]).await;
        let asked: Vec<_> = hops(&reply)[2..].iter().map(|hop| (hop.realm.as_str(), hop.wanted.as_str())).collect();
        assert_eq!(asked, [("CONTOSO.COM", "krbtgt/OTHER.COM"), ("OTHER.COM", spn)]);
    }
    assert_eq!((count(&log), count(&others)), (4, 2), "the way is walked once");
    assert_eq!(others.lock().unwrap()[0].realm, "OTHER.COM");

    // Where the KDC refuses or refers elsewhere, nobody further on is asked.
    for realm in ["THIRD.COM", "NONE.COM"] {
        let reply = get(&wire, to, SPN, TCP, &[step(realm, beyond)]).await;
        assert_eq!(ended(&reply).len(), 3, "{realm}");
    }
    assert_eq!(count(&others), 2);
}

#[tokio::test]
async fn a_way_that_comes_back_or_has_no_end_is_not_begun() {
    let (to, log) = honest().await;
    let back = [step("OTHER.COM", to), step("contoso.com", to)];
    let endless: Vec<_> = (0..9).map(|number| step(&format!("R{number}.COM"), to)).collect();
    for path in [&back[..], &endless] {
        assert_eq!(missed(&get(&wire(), to, SPN, TCP, path).await), (Stage::Connect, Why::Local));
    }
    assert_eq!(count(&log), 0);
}

#[tokio::test]
async fn without_a_credential_nobody_is_asked() {
    let (to, log) = honest().await;
    assert_eq!(missed(&ask(to, TicketGranting { transport: TCP }).await), (Stage::Bind, Why::Local));
    assert_eq!(count(&log), 0);
}

#[tokio::test]
async fn a_name_that_kerberos_cannot_carry_is_our_own_trouble() {
    let (to, _) = honest().await;
    let reply = get(&wire(), to, "SMTPSVC/münchen.de", TCP, &[]).await;
    assert_eq!(why(&reply), (Stage::Connect, Why::Local));
}
