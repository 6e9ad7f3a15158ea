use crate::wire::{
    script::*,
    tls::{ECDSA, RSA, acceptor, old_server, raw},
};
use exchange_preflight_checks::{
    facts::{
        raw::Raw,
        smtp::{Exchange, SmtpReply, SmtpSession, Upgrade},
        tls::{Offer, TlsVersion},
    },
    model::{
        ask::Facts,
        evidence::{End, Miss, Reason, Reply, Stage},
    },
};
use proptest::prelude::*;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
    runtime::Builder,
    task::{JoinSet, yield_now},
    time::{sleep, timeout},
};

const USUAL: SmtpSession = SmtpSession { upgrade: Upgrade::StartTls, offer: Offer::Usual };

const GREETING: &str = "220 EX01.contoso.com Microsoft ESMTP MAIL Service ready at Wed, 11 Jan 2023 16:59:51 +0100\r\n";
const HELLO: &str = "250-EX01.contoso.com Hello [127.0.0.1]\r\n250-SIZE 37748736\r\n250-STARTTLS\r\n\
    250-X-ANONYMOUSTLS\r\n250-X-EXPS GSSAPI NTLM\r\n250 XRDST\r\n";
const GO: &str = "220 2.0.0 SMTP server ready\r\n";
const HELLO_INSIDE: &str = "250-EX01.contoso.com Hello [127.0.0.1]\r\n250 AUTH NTLM LOGIN\r\n";
const BYE: &str = "221 2.0.0 Service closing transmission channel\r\n";

/// What a server says before TLS, and inside it: after the greeting each time a line has come.
#[derive(Clone)]
struct Script {
    outside: Vec<Vec<u8>>,
    inside: Vec<Vec<u8>>,
    then: Then,
}

impl Script {
    fn new(outside: &[&str]) -> Self {
        let outside = outside.iter().map(|part| part.as_bytes().to_vec()).collect();
        Self { outside, inside: Vec::new(), then: Then::Close }
    }

    fn inside(mut self, inside: &[&str]) -> Self {
        self.inside = inside.iter().map(|part| part.as_bytes().to_vec()).collect();
        self
    }

    fn then(mut self, then: Then) -> Self {
        self.then = then;
        self
    }
}

type Heard = Arc<Mutex<Vec<String>>>;

/// A server that plays the script with each caller; and every line that it heard, with `close` at the end.
async fn plays(script: Script) -> (SocketAddr, Heard) {
    let heard = Heard::default();
    let address = tcp({
        let heard = Arc::clone(&heard);
        move |stream| play(stream, script.clone(), Arc::clone(&heard))
    })
    .await;
    (address, heard)
}

async fn play(mut stream: TcpStream, script: Script, heard: Heard) {
    let mut outside = script.outside.iter();
    if let Some(greeting) = outside.next() {
        let _ = stream.write_all(greeting).await;
    }
    converse_by(&mut stream, outside.as_slice(), &heard).await;
    if script.inside.is_empty() {
        let rest = line(&mut stream, script.then).await;
        heard.lock().unwrap().extend(rest.into_iter().chain(["close".into()]));
        return end(stream, script.then).await;
    }
    let Ok(mut inside) = acceptor(&[]).accept(stream).await else { return };
    converse_by(&mut inside, &script.inside, &heard).await;
    let rest = line(&mut inside, script.then).await;
    heard.lock().unwrap().extend(rest.into_iter().chain(["close".into()]));
    let (stream, _) = inside.into_inner();
    end(stream, script.then).await;
}

async fn converse_by<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, replies: &[Vec<u8>], heard: &Heard) {
    for reply in replies {
        let Some(command) = line(stream, Then::Wait).await else { return };
        heard.lock().unwrap().push(command);
        let _ = stream.write_all(reply).await;
        let _ = stream.flush().await;
    }
}

/// The next line; who will close does not wait for it.
async fn line<S: AsyncRead + Unpin>(stream: &mut S, then: Then) -> Option<String> {
    if !matches!(then, Then::Wait) {
        return None;
    }
    let mut line = Vec::new();
    loop {
        match stream.read_u8().await {
            Ok(b'\n') => return Some(String::from_utf8(line).unwrap().trim_end().into()),
            Ok(byte) => line.push(byte),
            Err(_) => return None,
        }
    }
}

async fn asked(script: Script) -> (Reply, Heard) {
    let (address, heard) = plays(script).await;
    (ask(address, USUAL).await, heard)
}

/// The verbs that a server heard, once the caller has gone.
async fn verbs(heard: &Heard) -> Vec<String> {
    loop {
        let lines = heard.lock().unwrap().clone();
        if lines.last().is_some_and(|last| last == "close") {
            return lines.iter().map(|line| line.split(' ').next().unwrap_or_default().to_string()).collect();
        }
        yield_now().await;
    }
}

#[track_caller]
fn facts(reply: &Reply) -> &SmtpReply {
    let Some(Facts::SmtpSession(seen)) = &reply.facts else { panic!("no facts: {reply:?}") };
    seen
}

/// The verbs of the exchanges that were kept, those inside TLS in lower case.
#[track_caller]
fn kept(reply: &Reply) -> Vec<String> {
    let verb = |exchange: &Exchange| {
        let verb = exchange.command.split(' ').next().unwrap_or_default();
        if exchange.is_inside { verb.to_lowercase() } else { verb.to_string() }
    };
    facts(reply).exchanges.iter().map(verb).collect()
}

fn said(reply: &Reply) -> &str {
    let End::Miss(Miss { reason: Reason::ServerSaid(text) | Reason::NotTheProtocol(text), .. }) = &reply.end else {
        panic!("nothing was said: {reply:?}")
    };
    text
}

#[tokio::test]
async fn a_session_goes_through_tls_and_ends_in_good_order() {
    for upgrade in [Upgrade::StartTls, Upgrade::AnonymousTls] {
        let script = Script::new(&[GREETING, HELLO, GO]).inside(&[HELLO_INSIDE, BYE]).then(Then::Wait);
        let (address, heard) = plays(script).await;
        let before = exchange_preflight::wire::clock::Clock::start().now();
        let reply = ask(address, SmtpSession { upgrade, offer: Offer::Usual }).await;
        assert_eq!(reply.end, End::Ok);
        assert_eq!(kept(&reply), ["", "EHLO", upgrade.keyword(), "ehlo"]);
        let seen = facts(&reply);
        assert_eq!(seen.tls.as_ref().map(|tls| tls.chain.clone()), Some(vec![raw(ECDSA)]));
        assert_eq!(seen.tls.as_ref().and_then(|tls| tls.version), Some(0x0304));
        assert!(seen.injected.0.is_empty());
        assert_eq!(seen.offers("X-EXPS"), Some(vec!["GSSAPI", "NTLM"]));
        assert_eq!(seen.hello_inside().map(|hello| hello.lines.len()), Some(2));
        let reading = seen.reading().expect("a dated greeting");
        assert!(before <= reading.span.sent && reading.span.sent <= reading.span.received);
        assert_eq!(verbs(&heard).await, ["EHLO", upgrade.keyword(), "EHLO", "QUIT", "close"]);
        let name = gethostname::gethostname().to_string_lossy().into_owned();
        assert_eq!(heard.lock().unwrap()[0], format!("EHLO {name}"));
    }
}

#[tokio::test]
async fn a_second_look_leaves_after_the_handshake() {
    for (offer, expected) in [(Offer::RsaOnly, RSA), (Offer::EcdsaOnly, ECDSA)] {
        let script = Script::new(&[GREETING, HELLO, GO]).inside(&[BYE]).then(Then::Wait);
        let (address, heard) = plays(script).await;
        let reply = ask(address, SmtpSession { upgrade: Upgrade::StartTls, offer }).await;
        assert_eq!(reply.end, End::Ok);
        assert_eq!(kept(&reply), ["", "EHLO", "STARTTLS"]);
        assert_eq!(facts(&reply).tls.as_ref().unwrap().chain, [raw(expected)]);
        assert_eq!(verbs(&heard).await, ["EHLO", "STARTTLS", "QUIT", "close"]);
    }
}

#[tokio::test]
async fn an_old_server_shows_its_certificate_inside_smtp() {
    let server = tcp(|mut stream: TcpStream| async move {
        for part in [GREETING, HELLO, GO] {
            let _ = stream.write_all(part.as_bytes()).await;
            let _ = stream.read(&mut [0; 4096]).await;
        }
        let _ = stream.write_all(&old_server(0x0301, &[raw(RSA)], 200)).await;
        end(stream, Then::Wait).await;
    })
    .await;
    let offer = Offer::UpTo(TlsVersion::Tls10);
    let reply = ask(server, SmtpSession { upgrade: Upgrade::StartTls, offer }).await;
    assert_eq!(reply.end, End::Ok);
    assert_eq!(kept(&reply), ["", "EHLO", "STARTTLS"]);
    assert_eq!(facts(&reply).tls.as_ref().unwrap().chain, [raw(RSA)]);
}

#[tokio::test]
async fn a_server_need_not_offer_tls() {
    let plain = "250-mail.contoso.com\r\n250 SIZE\r\n";
    let only_named_so = "250-STARTTLS\r\n250 SIZE\r\n";
    for (replies, expected) in [
        (&[GREETING, plain, BYE][..], &["EHLO", "QUIT", "close"][..]),
        (&[GREETING, only_named_so, BYE], &["EHLO", "QUIT", "close"]),
        (&[GREETING, HELLO, "454 4.7.0 TLS not available\r\n", BYE], &["EHLO", "STARTTLS", "QUIT", "close"]),
        (&[GREETING, HELLO, "500 5.3.3 Unrecognized command\r\n", BYE], &["EHLO", "STARTTLS", "QUIT", "close"]),
        (&[GREETING, "502 no EHLO here\r\n", "250 mail\r\n", BYE], &["EHLO", "HELO", "QUIT", "close"]),
    ] {
        let (reply, heard) = asked(Script::new(replies).then(Then::Wait)).await;
        assert_eq!(reply.end, End::Ok);
        assert_eq!(facts(&reply).tls, None);
        assert_eq!(verbs(&heard).await, expected);
    }
}

#[tokio::test]
async fn a_refusal_is_told_in_its_own_words() {
    let closing = "421 4.3.2 Service not available\r\n";
    for (replies, stage, exchanges) in [
        (&["421 4.3.2 Too many connections from your host\r\n"][..], Stage::Greet, 1),
        (&["450-try\r\n450 later\r\n", BYE], Stage::Greet, 1),
        (&["554 5.7.1 no service here\r\n", BYE], Stage::Greet, 1),
        (&[GREETING, closing], Stage::Reply, 2),
        (&[GREETING, "550 5.7.1 your name is not liked\r\n", BYE], Stage::Reply, 2),
        (&[GREETING, "451 4.7.0 try later\r\n", BYE], Stage::Reply, 2),
        (&[GREETING, "500 what\r\n", "550 go away\r\n", BYE], Stage::Reply, 3),
        (&[GREETING, HELLO, closing], Stage::Reply, 3),
    ] {
        let (reply, heard) = asked(Script::new(replies).then(Then::Wait)).await;
        assert_eq!(why(&reply), (stage, Why::ServerSaid), "{replies:?}");
        assert_eq!(facts(&reply).exchanges.len(), exchanges);
        let last = facts(&reply).exchanges.last().and_then(Exchange::code).unwrap();
        assert!(said(&reply).starts_with(&last.to_string()), "{}", said(&reply));
        let has_quit = verbs(&heard).await.contains(&"QUIT".into());
        assert_eq!(has_quit, last != 421, "who hangs up is not told goodbye");
    }
    let script = Script::new(&[GREETING, HELLO, GO]).inside(&[closing]).then(Then::Wait);
    let (reply, _) = asked(script).await;
    assert_eq!(why(&reply), (Stage::Reply, Why::ServerSaid));
    assert_eq!(kept(&reply), ["", "EHLO", "STARTTLS", "ehlo"]);
    assert!(facts(&reply).tls.is_some());
}

#[tokio::test]
async fn what_is_no_smtp_is_told_by_what_it_said() {
    for greeting in ["HTTP/1.1 400 Bad Request\r\n", "* OK IMAP4 ready\r\n", "22 x\r\n", "2200 x\r\n", "\r\n", "+OK\n"]
    {
        let (reply, _) = asked(Script::new(&[greeting])).await;
        assert_eq!(missed(&reply), (Stage::Greet, Why::NotTheProtocol), "{greeting:?}");
        assert!(said(&reply).starts_with(greeting.trim_end()), "{}", said(&reply));
    }
    let (address, _) = plays(Script { outside: vec![vec![0x30, 0x84, 0xff, b'\n']], ..Script::new(&[]) }).await;
    assert_eq!(missed(&ask(address, USUAL).await), (Stage::Greet, Why::NotTheProtocol));
    let (reply, _) = asked(Script::new(&["250 what was asked?\r\n"])).await;
    assert_eq!(why(&reply), (Stage::Greet, Why::NotTheProtocol));
    assert_eq!(kept(&reply), [""]);
}

#[tokio::test]
async fn lines_whose_codes_differ_are_kept_and_end_it() {
    for (bent, lines) in [("250-ex01\r\n550 no\r\n", 2), ("250-ex01\r\nhello\r\n", 2), ("what?\r\n", 1)] {
        let (reply, _) = asked(Script::new(&[GREETING, bent])).await;
        assert_eq!(why(&reply), (Stage::Reply, Why::NotTheProtocol), "{bent:?}");
        let hello = facts(&reply).hello().unwrap();
        assert_eq!((hello.lines.len(), hello.code()), (lines, None));
    }
    let (reply, _) = asked(Script::new(&["220-ex01\r\n554 no\r\n"])).await;
    assert_eq!(why(&reply), (Stage::Greet, Why::NotTheProtocol));
    assert_eq!(facts(&reply).greeting().unwrap().lines, ["220-ex01", "554 no"]);
}

#[tokio::test]
async fn odd_bytes_stay_in_their_line() {
    let odd = b"250-a\rb\r\r\n250-\x00\x1b[2J\n250 \xff SIZE\n".to_vec();
    let outside = vec![GREETING.replace("\r\n", "\n").into_bytes(), odd, BYE.into()];
    let (address, _) = plays(Script { outside, ..Script::new(&[]) }.then(Then::Wait)).await;
    let reply = ask(address, USUAL).await;
    assert_eq!(reply.end, End::Ok);
    assert_eq!(facts(&reply).greeting().unwrap().lines, [GREETING.trim_end()]);
    assert_eq!(facts(&reply).hello().unwrap().lines, ["250-a\rb\r", "250-\0\u{1b}[2J", "250 \u{fffd} SIZE"]);
    // In a report they are harmless: `why` looks at that.
    let (reply, _) = asked(Script::new(&["554 \x1b[2J\u{202e}no\r\x00\r\n"])).await;
    assert_eq!(why(&reply), (Stage::Greet, Why::ServerSaid));
}

/// Sends without end, and notices that nobody reads any more.
async fn floods(before: &'static [&'static str], flood: Vec<u8>) -> SocketAddr {
    tcp(move |mut stream: TcpStream| {
        let flood = flood.clone();
        async move {
            for part in before {
                let _ = stream.write_all(part.as_bytes()).await;
                let _ = stream.read(&mut [0; 4096]).await;
            }
            while stream.write_all(&flood).await.is_ok() {}
        }
    })
    .await
}

#[tokio::test]
async fn nothing_is_read_without_a_bound() {
    let long_lines = format!("220-{}\r\n", "x".repeat(1_500)).into_bytes();
    for (flood, expected) in [
        (b"220-mail\r\n".to_vec(), "200 lines"),
        (vec![b'2'; 65_536], "2,000 bytes"),
        ([b"220 ".to_vec(), vec![0; 65_536]].concat(), "2,000 bytes"),
        (long_lines, "64 KiB"),
    ] {
        let reply = ask(floods(&[], flood).await, USUAL).await;
        assert_eq!(missed(&reply), (Stage::Greet, Why::NotTheProtocol));
        assert!(said(&reply).contains(expected), "{}", said(&reply));
    }
    let reply = ask(floods(&[GREETING], b"250-more\r\n".to_vec()).await, USUAL).await;
    assert_eq!(why(&reply), (Stage::Reply, Why::NotTheProtocol));
    assert_eq!(kept(&reply), [""]);
    let script = Script::new(&[GREETING, HELLO, GO]).inside(&[&"250-more\r\n".repeat(201)]);
    let (reply, _) = asked(script).await;
    assert_eq!(why(&reply), (Stage::Reply, Why::NotTheProtocol));
    assert!(facts(&reply).tls.is_some());
}

#[tokio::test]
async fn a_reply_of_just_the_bound_is_read() {
    let line = |separator: &str| format!("250{separator}{}\r\n", "x".repeat(1_996));
    let longest = format!("{}{}", line("-").repeat(31), line(" "));
    let in_pieces = tcp(|mut stream: TcpStream| async move {
        let greeting = format!("220 {}", "x".repeat(1_996));
        for piece in [greeting.as_bytes(), b"\r", b"\n"] {
            let _ = stream.write_all(piece).await;
            sleep(Duration::from_millis(20)).await;
        }
        end(stream, Then::Close).await;
    });
    let reply = ask(in_pieces.await, USUAL).await;
    assert_eq!((why(&reply), kept(&reply).len()), ((Stage::Reply, Why::Closed), 1));
    let most = format!("{}250 end\r\n", "250-x\r\n".repeat(199));
    for hello in [&longest, &most] {
        let (reply, _) = asked(Script::new(&[GREETING, hello, BYE]).then(Then::Wait)).await;
        assert_eq!(reply.end, End::Ok);
    }
}

/// The class of CVE-2011-0411.
#[tokio::test]
async fn plain_text_behind_the_consent_is_never_an_answer() {
    let injected = format!("{GO}250-injected\r\n250 AUTH LOGIN\r\n");
    for offer in [Offer::Usual, Offer::UpTo(TlsVersion::Tls12)] {
        let (address, heard) = plays(Script::new(&[GREETING, HELLO, &injected]).then(Then::Wait)).await;
        let reply = ask(address, SmtpSession { upgrade: Upgrade::StartTls, offer }).await;
        assert_eq!(why(&reply), (Stage::Tls, Why::NotTheProtocol));
        assert_eq!(kept(&reply), ["", "EHLO", "STARTTLS"]);
        assert_eq!(facts(&reply).injected, Raw(b"250-injected\r\n250 AUTH LOGIN\r\n".to_vec()));
        assert_eq!(facts(&reply).tls, None);
        assert_eq!(verbs(&heard).await, ["EHLO", "STARTTLS", "close"], "nothing is said to it any more");
    }
}

#[tokio::test]
async fn an_answer_before_the_question_is_none() {
    for early in ["220 mail\r\n250-mail\r\n250 STARTTLS\r\n", "220 mail\r\n\r\n"] {
        let (reply, _) = asked(Script::new(&[early])).await;
        assert_eq!(why(&reply), (Stage::Reply, Why::NotTheProtocol));
        assert_eq!(kept(&reply), [""]);
    }
}

#[tokio::test]
async fn a_handshake_that_fails_leaves_what_was_said_before() {
    let answers: [(&[u8], Then, Why); 6] = [
        (b"454 4.7.0 not after all\r\n", Then::Wait, Why::NotTheProtocol),
        (&[0; 50], Then::Wait, Why::NotTheProtocol),
        (&[21, 3, 3, 0, 2, 2, 40], Then::Close, Why::ServerSaid),
        (b"", Then::Close, Why::Closed),
        (b"", Then::Reset, Why::Closed),
        (b"", Then::Wait, Why::Silent),
    ];
    for (answer, then, expected) in answers {
        for offer in [Offer::Usual, Offer::UpTo(TlsVersion::Tls10)] {
            let server = tcp(move |mut stream: TcpStream| async move {
                for part in [GREETING.as_bytes(), HELLO.as_bytes(), GO.as_bytes(), answer] {
                    let _ = stream.write_all(part).await;
                    if part != answer {
                        let _ = stream.read(&mut [0; 4096]).await;
                    }
                }
                end(stream, then).await;
            })
            .await;
            let question = SmtpSession { upgrade: Upgrade::StartTls, offer };
            let reply = ask_within(budgets_for(expected), server, question).await;
            assert_eq!(why(&reply), (Stage::Tls, expected));
            assert_eq!(kept(&reply), ["", "EHLO", "STARTTLS"]);
            assert_eq!(facts(&reply).tls, None);
        }
    }
}

#[tokio::test]
async fn a_connection_may_end_in_any_state() {
    let states: [(&[&str], Stage, &[&str]); 6] = [
        (&[], Stage::Greet, &[]),
        (&["220-half"], Stage::Greet, &[]),
        (&["220-half\r\n22"], Stage::Greet, &[]),
        (&[GREETING], Stage::Reply, &[""]),
        (&[GREETING, "250-half\r\n"], Stage::Reply, &[""]),
        (&[GREETING, HELLO], Stage::Reply, &["", "EHLO"]),
    ];
    let mut cases = JoinSet::new();
    for (replies, stage, expected_facts) in states {
        for (then, expected) in [(Then::Close, Why::Closed), (Then::Reset, Why::Closed), (Then::Wait, Why::Silent)] {
            cases.spawn(async move {
                let server = tcp(move |mut stream: TcpStream| async move {
                    for (number, reply) in replies.iter().enumerate() {
                        if number > 0 {
                            let _ = stream.read(&mut [0; 4096]).await;
                        }
                        let _ = stream.write_all(reply.as_bytes()).await;
                    }
                    // A reset must not overtake what was said.
                    if replies.last().is_some_and(|last| [GREETING, HELLO].contains(last)) {
                        let _ = stream.read(&mut [0; 4096]).await;
                    }
                    end(stream, then).await;
                })
                .await;
                let reply = ask_within(budgets_for(expected), server, USUAL).await;
                assert_eq!(why(&reply), (stage, expected), "{replies:?}");
                match expected_facts {
                    [] => assert_eq!(reply.facts, None),
                    _ => assert_eq!(kept(&reply), expected_facts),
                }
            });
        }
    }
    cases.join_all().await;
    let inside = Script::new(&[GREETING, HELLO, GO]).inside(&["250-half\r\n"]);
    for (then, expected) in [(Then::Close, Why::Closed), (Then::Wait, Why::Silent)] {
        let (address, _) = plays(inside.clone().then(then)).await;
        let reply = ask_within(budgets_for(expected), address, USUAL).await;
        assert_eq!(why(&reply), (Stage::Reply, expected));
        assert_eq!(facts(&reply).tls.as_ref().unwrap().chain, [raw(ECDSA)]);
    }
    assert_eq!(missed(&ask(closed_tcp().await, USUAL).await), (Stage::Connect, Why::Refused));
}

#[tokio::test]
async fn a_server_that_drips_is_ended_by_the_budget_of_its_stage() {
    assert_eq!(missed(&ask_briefly(drips(*b"220-mail\r\n").await, USUAL).await), (Stage::Greet, Why::Silent));
    let server = tcp(|mut stream: TcpStream| async move {
        let _ = stream.write_all(GREETING.as_bytes()).await;
        let _ = stream.read(&mut [0; 4096]).await;
        while stream.write_all(b"x").await.is_ok() {
            sleep(Duration::from_millis(40)).await;
        }
    })
    .await;
    let reply = ask_briefly(server, USUAL).await;
    assert_eq!(why(&reply), (Stage::Reply, Why::Silent));
    assert_eq!(kept(&reply), [""]);
}

#[tokio::test]
async fn nobody_waits_for_a_goodbye() {
    let (reply, heard) = asked(Script::new(&[GREETING, "250 mail\r\n"]).then(Then::Wait)).await;
    assert_eq!(reply.end, End::Ok);
    assert_eq!(verbs(&heard).await, ["EHLO", "QUIT", "close"]);
    let (reply, _) = asked(Script::new(&[GREETING, HELLO, GO]).inside(&[HELLO_INSIDE]).then(Then::Wait)).await;
    assert_eq!(reply.end, End::Ok);
}

/// Bytes of any kind, and such as are nearly SMTP.
fn utterance() -> impl Strategy<Value = Vec<u8>> {
    let any = proptest::collection::vec(any::<u8>(), 0..60);
    let nearly = "([0-9]{1,4}[- ]?[a-zA-Z\\x00\\r\u{1b} ]{0,20}[\\r]?\n){0,6}";
    prop_oneof![any, nearly.prop_map(String::into_bytes), Just(GREETING.into()), Just(HELLO.into()), Just(GO.into())]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_a_server_says_ends_in_a_reply(outside in proptest::collection::vec(utterance(), 0..5)) {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let reply = runtime.block_on(async {
            // It goes on whether it was asked or not.
            let server = tcp(move |mut stream: TcpStream| {
                let outside = outside.clone();
                async move {
                    for part in outside {
                        let _ = stream.write_all(&part).await;
                        let _ = timeout(Duration::from_millis(5), stream.read(&mut [0; 4096])).await;
                    }
                    end(stream, Then::Close).await;
                }
            });
            ask(server.await, USUAL).await
        });
        if let End::Miss(_) = reply.end {
            let (stage, _) = why(&reply);
            prop_assert!(matches!(stage, Stage::Greet | Stage::Tls | Stage::Reply));
        }
        if let Some(Facts::SmtpSession(seen)) = &reply.facts {
            prop_assert!(seen.exchanges.iter().all(|exchange| exchange.lines.len() <= 200));
        }
    }
}
