//! One logon to an SMTP server by `AUTH GSSAPI` (RFC 4954, RFC 4752), and nothing after it but QUIT. No other mechanism is ever
//! tried: NTLM would succeed where Kerberos is broken, and hide it.

use super::{
    conversation::{Outcome, Trouble, Wire},
    proof::{Proof, Proving, error_of},
    smtp::{self, Dialogue, Errand},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use exchange_preflight_checks::{
    facts::{
        login::{SmtpLogin, SmtpLoginReply},
        raw::Raw,
        smtp::{SmtpReply, SmtpSession, Upgrade, offers},
        tls::Offer,
    },
    model::{ask::Facts, evidence::Stage},
};
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::debug;

/// The client says three things: the ticket, nothing, and the layer that it chooses (RFC 4752 section 3.1).
const MOST_TOKENS: usize = 4;

const LOGON: &str = "AUTH GSSAPI";

/// Gets the ticket first, so that a server is only spoken to where there is one.
pub(super) async fn log_on(wire: &Wire, to: SocketAddr, host: &str, question: &SmtpLogin) -> Outcome {
    let (proof, token) = match Proof::begin(wire, &question.spn, &question.kdc, None).await {
        Ok(begun) => begun,
        Err(trouble) => return trouble.into(),
    };
    let mut seen = SmtpReply { exchanges: Vec::new(), injected: Raw::default(), tls: None };
    let mut logon = LogOn { proof, token, error: None };
    let session = SmtpSession { upgrade: Upgrade::StartTls, offer: Offer::Usual };
    let trouble = smtp::talk(wire, to, host, &session, &mut logon, &mut seen).await.err();
    let (is_proven, error) = (logon.proof.is_proven(), logon.error);
    debug!(%to, spn = question.spn, is_proven, error, trouble = ?trouble, "one logon");
    let facts =
        (!seen.exchanges.is_empty()).then_some(Facts::SmtpLogin(SmtpLoginReply { session: seen, is_proven, error }));
    Outcome { facts, trouble }
}

/// A logon, with its first token.
struct LogOn<P> {
    proof: P,
    token: Vec<u8>,
    /// What the server's token said instead.
    error: Option<i64>,
}

impl<P: Proving> Errand for LogOn<P> {
    async fn run<S: AsyncRead + AsyncWrite + Unpin + Send>(
        &mut self,
        dialogue: &mut Dialogue<'_, S>,
    ) -> Result<(), Trouble> {
        let is_offered = offers(dialogue.last(), "AUTH").is_some_and(|all| all.contains(&"GSSAPI"));
        // The token does not come with the command, which a server may cut at 512 bytes. What it says to the command is no
        // token, either: Exchange says "334 GSSAPI supported".
        if !is_offered || dialogue.private(LOGON).await?.0 != GO_ON {
            return Ok(());
        }
        let mut token = std::mem::take(&mut self.token);
        for _ in 0..MOST_TOKENS {
            let (code, lines) = dialogue.private(&BASE64_STANDARD.encode(&token)).await?;
            if code != GO_ON {
                return Ok(());
            }
            let text = lines.first().and_then(|line| line.get(4..)).unwrap_or_default();
            let Ok(answer) = BASE64_STANDARD.decode(text.trim()) else {
                return Err(leave(dialogue, strange("what is no token where one was expected")).await);
            };
            self.error = error_of(answer.clone()).await;
            if self.error.is_some() {
                cancel(dialogue).await;
                return Ok(());
            }
            token = match self.proof.step(answer).await {
                Ok(token) => token.unwrap_or_default(),
                Err(trouble) => return Err(leave(dialogue, trouble).await),
            };
        }
        Err(leave(dialogue, strange("a logon without end")).await)
    }
}

/// The server waits for more.
const GO_ON: u16 = 334;

/// Gives the logon up (RFC 4954 section 4). What the server says to that is its word on it.
async fn cancel<S: AsyncRead + AsyncWrite + Unpin>(dialogue: &mut Dialogue<'_, S>) {
    let _ = dialogue.private("*").await;
}

async fn leave<S: AsyncRead + AsyncWrite + Unpin>(dialogue: &mut Dialogue<'_, S>, why: Trouble) -> Trouble {
    cancel(dialogue).await;
    dialogue.quit().await;
    why
}

fn strange(what: &str) -> Trouble {
    Trouble::not_the_protocol(what).at(Stage::Bind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{
        budget::Budgets,
        clock::Clock,
        proof::tests::{framed, krb_error},
        stores::Stores,
    };
    use exchange_preflight_checks::{facts::smtp::Exchange, model::evidence::Reason};
    use std::time::Duration;
    use tokio::{
        io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
        net::TcpListener,
    };

    /// A context that waits for these words, one after another, and answers each.
    struct Says(Vec<(&'static str, Option<&'static str>)>);

    impl Proving for Says {
        async fn step(&mut self, token: Vec<u8>) -> Result<Option<Vec<u8>>, Trouble> {
            match self.0.pop() {
                Some((expected, answer)) if expected.as_bytes() == token => {
                    Ok(answer.map(|word| word.as_bytes().to_vec()))
                }
                _ => Err(strange("another word")),
            }
        }

        fn is_proven(&self) -> bool {
            self.0.len() < 2
        }
    }

    const TICKET: &str = "a ticket, of which nobody is to find a copy in any recording";

    /// What a server hears, and what comes of it, that says this to the lines of a logon, and 221 to QUIT.
    async fn log_on(replies: &[&str]) -> (Vec<String>, SmtpLoginReply, Option<Trouble>) {
        talk(replies, true).await
    }

    async fn talk(replies: &[&str], is_as_if_inside: bool) -> (Vec<String>, SmtpLoginReply, Option<Trouble>) {
        let hello = "250-mail\r\n250 AUTH NTLM GSSAPI\r\n";
        let script: Vec<String> = ["220 mail\r\n", hello].iter().chain(replies).map(ToString::to_string).collect();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let to = listener.local_addr().expect("it is bound");
        let server = tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a client");
            let mut stream = BufReader::new(stream);
            let mut script = script.iter();
            let mut heard = Vec::new();
            loop {
                let reply = match script.next() {
                    _ if heard.last().is_some_and(|line| line == "QUIT") => "221 bye\r\n",
                    Some(reply) => reply.as_str(),
                    None => return heard,
                };
                let _ = stream.write_all(reply.as_bytes()).await;
                let mut line = String::new();
                if !matches!(stream.read_line(&mut line).await, Ok(1..)) {
                    return heard;
                }
                heard.push(line.trim_end().to_owned());
            }
        });
        let second = Duration::from_secs(30);
        let budgets = Budgets { connect: second, reply: second, retransmits: [second, second] };
        let wire = Wire::new(Clock::start(), budgets, None, Stores::default(), None).expect("a wire");
        let proof = Says(vec![("layers?", Some("none")), ("it is me", None)]);
        let mut logon = LogOn { proof, token: TICKET.into(), error: None };
        let mut seen = SmtpReply { exchanges: Vec::new(), injected: Raw::default(), tls: None };
        let session = SmtpSession { upgrade: Upgrade::StartTls, offer: Offer::Usual };
        let ended = if is_as_if_inside {
            smtp::talk_as_if_inside(&wire, to, &mut logon, &mut seen).await
        } else {
            smtp::talk(&wire, to, "script", &session, &mut logon, &mut seen).await
        };
        let heard = server.await.expect("it ends");
        let reply = SmtpLoginReply { session: seen, is_proven: logon.proof.is_proven(), error: logon.error };
        (heard, reply, ended.err())
    }

    /// `it is me`, `layers?`
    const ME: &str = "334 aXQgaXMgbWU=\r\n";
    const LAYERS: &str = "334 bGF5ZXJzPw==\r\n";
    const BEGIN: &str = "334 GSSAPI supported\r\n";
    const WELL: &str = "235 2.7.0 Authentication successful\r\n";
    const NO: &str = "535 5.7.3 Authentication unsuccessful\r\n";

    fn code(reply: &SmtpLoginReply) -> Option<u16> {
        reply.verdict().and_then(Exchange::code)
    }

    #[tokio::test]
    async fn one_logon_and_goodbye() {
        let (heard, reply, trouble) = log_on(&[BEGIN, ME, LAYERS, WELL]).await;
        let ticket = BASE64_STANDARD.encode(TICKET);
        assert_eq!(heard[1..], ["AUTH GSSAPI", &ticket, "", "bm9uZQ==", "QUIT"]);
        assert_eq!((reply.is_proven, code(&reply), reply.error, trouble), (true, Some(235), None, None));
    }

    #[tokio::test]
    async fn without_tls_nobody_logs_on() {
        let (heard, reply, trouble) = talk(&[BEGIN, ME, LAYERS, WELL], false).await;
        assert_eq!(heard[1..], ["QUIT"]);
        assert_eq!((reply.is_begun(), reply.is_proven, trouble), (false, false, None));
        assert_eq!(reply.session.exchanges.len(), 2);
    }

    #[tokio::test]
    async fn whatever_it_says_there_is_one_attempt_and_a_goodbye() {
        for (replies, is_proven, expected) in [
            (&[WELL][..], false, Some(235)),
            (&[BEGIN, WELL], false, Some(235)),
            (&["504 5.7.4 Unrecognized authentication type\r\n"], false, Some(504)),
            (&[BEGIN, NO], false, Some(535)),
            (&[BEGIN, ME, NO], true, Some(535)),
            (&[BEGIN, ME, LAYERS, "454 4.7.0 Temporary authentication failure\r\n"], true, Some(454)),
        ] {
            let (heard, reply, trouble) = log_on(replies).await;
            assert_eq!((reply.is_proven, code(&reply), trouble), (is_proven, expected, None), "{replies:?}");
            assert_eq!(heard.iter().filter(|line| line.starts_with("AUTH")).count(), 1, "{heard:?}");
            assert_eq!(heard.last().map(String::as_str), Some("QUIT"));
        }
    }

    #[tokio::test]
    async fn what_is_no_logon_is_given_up() {
        for replies in [
            &[BEGIN, "334 no token\r\n", "501 5.7.0 cancelled\r\n"][..],
            &[BEGIN, "334 c29tZXRoaW5n\r\n", "501 5.7.0 cancelled\r\n"],
            &[BEGIN, ME, LAYERS, "334 bW9yZQ==\r\n", "501 5.7.0 cancelled\r\n"],
        ] {
            let (heard, reply, trouble) = log_on(replies).await;
            let is_told = matches!(&trouble, Some(Trouble { stage: Stage::Bind, reason: Reason::NotTheProtocol(_) }));
            assert!(is_told, "{trouble:?}");
            assert_eq!(heard[heard.len() - 2..], ["*", "QUIT"]);
            assert_eq!(code(&reply), None);
        }
    }

    #[tokio::test]
    async fn a_server_that_hangs_up_ends_it() {
        for replies in [&[][..], &[BEGIN], &[BEGIN, ME], &[BEGIN, ME, LAYERS]] {
            let (heard, _, trouble) = log_on(replies).await;
            assert!(matches!(trouble, Some(Trouble { reason: Reason::Closed, .. })), "{trouble:?}");
            assert!(heard.iter().filter(|line| line.starts_with("AUTH")).count() <= 1);
        }
    }

    #[tokio::test]
    async fn an_error_of_kerberos_is_kept_by_its_code() {
        let token = BASE64_STANDARD.encode(framed([3, 0], &krb_error(41)));
        let (heard, reply, trouble) = log_on(&[BEGIN, &format!("334 {token}\r\n"), NO]).await;
        assert_eq!((reply.error, reply.is_proven, trouble), (Some(41), false, None));
        assert_eq!(heard[heard.len() - 2..], ["*", "QUIT"]);
    }

    /// Some servers repeat what they do not understand.
    #[tokio::test]
    async fn no_token_is_kept() {
        let echo = format!("500 5.3.3 Unrecognized command '{}'\r\n", BASE64_STANDARD.encode(TICKET));
        let (_, reply, _) = log_on(&[BEGIN, &echo]).await;
        let kept = format!("{:?}", reply.session);
        assert!(kept.contains("(token)") && kept.contains("Unrecognized command '(token)'"), "{kept}");
        assert!(!kept.contains(&BASE64_STANDARD.encode(TICKET)[..40]), "{kept}");
    }
}
