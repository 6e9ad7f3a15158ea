//! What is said on a connection to a directory before ldap3 gets it: StartTLS, and who we are. A password goes over verified
//! TLS or not at all: the types see to it.

use super::{
    conversation::Trouble,
    credential::{Attempt, Password, User},
    frame::{self, Broken, Frame},
    message, refusal,
    verified::Verified,
};
use exchange_preflight_checks::model::{
    evidence::{Reason, Stage},
    plan::LogonWay,
};
use lber::{
    common::TagClass,
    structure::StructureTag,
    structures::{OctetString, Sequence, Tag},
};
use ldap3::LdapResult;
use std::future::Future;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use zeroize::Zeroizing;

/// Before anybody has logged on a server has little to say: tickets and results.
const LONGEST_ANSWER: usize = 128 * 1024;

/// A SASL mechanism needs three or four steps (RFC 4752 section 3.1).
const MOST_STEPS: usize = 8;

/// The result codes that are no refusal (RFC 4511 appendix A.1).
const SUCCESS: u32 = 0;
const SASL_BIND_IN_PROGRESS: u32 = 14;

/// A connection on which one request is made at a time.
pub(super) struct Line<S> {
    stream: S,
    unread: Vec<u8>,
    last: u32,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, unread: Vec::new(), last: 0 }
    }

    /// Asks for TLS (RFC 4511 section 4.14), and gives the stream back on which it begins.
    pub(super) async fn start_tls(mut self) -> Result<S, Trouble> {
        const EXTENDED: u64 = 23;
        const START_TLS: &str = "1.3.6.1.4.1.1466.20037";
        let name = Tag::OctetString(OctetString { class: TagClass::Context, id: 0, inner: START_TLS.into() });
        let answer = self.ask(EXTENDED, vec![name]).await.map_err(|trouble| trouble.at(Stage::Tls))?;
        if answer.result.rc != SUCCESS {
            let words = refusal::result_text(&answer.result);
            let why = format!("it does not begin TLS ({words}); use --logon ldaps or kerberos");
            return Err(Trouble::new(Stage::Tls, Reason::ServerSaid(why)));
        }
        // What came before the handshake nobody has vouched for, and it must not be read as if it came after.
        self.end("its consent to begin TLS").map_err(|trouble| trouble.at(Stage::Tls))
    }

    /// Logs on by SASL GSSAPI (RFC 4752), whose first token is `token`, and gives the stream back on which sealed messages
    /// follow.
    pub(super) async fn sasl<C: Context>(mut self, context: &mut C, way: LogonWay) -> Result<S, Trouble> {
        const MECHANISM: &str = "GSSAPI";
        let mut token = context.step(&[]).await?;
        for _ in 0..MOST_STEPS {
            let credentials = std::mem::take(&mut token).map(message::octets);
            let inner = [message::octets(MECHANISM)].into_iter().chain(credentials).collect();
            let sasl = Tag::Sequence(Sequence { class: TagClass::Context, id: 3, inner });
            let answer = self.ask(BIND, vec![message::integer(3), message::octets(""), sasl]).await.map_err(at_bind)?;
            match answer.result.rc {
                SUCCESS if context.is_sealed() => return self.end("its consent to log on").map_err(at_bind),
                SUCCESS => return Err(strange("it lets us in before it has proven itself")),
                SASL_BIND_IN_PROGRESS => token = context.step(&answer.token.unwrap_or_default()).await?,
                _ => return Err(said(refusal::of_bind(&answer.result, way).why)),
            }
        }
        Err(strange("a logon without end"))
    }

    /// Gives the stream back, on which the server has said nothing more.
    fn end(self, after: &str) -> Result<S, Trouble> {
        if self.unread.is_empty() {
            return Ok(self.stream);
        }
        Err(Trouble::not_the_protocol(format!("{} bytes in plain text behind {after}", self.unread.len())))
    }

    async fn ask(&mut self, operation: u64, inner: Vec<Tag>) -> Result<Answer, Trouble> {
        self.last += 1;
        let operation = Sequence { class: TagClass::Application, id: operation, inner };
        let request = Zeroizing::new(message::request(self.last, operation));
        let broken = |error| Trouble::broken(&error);
        self.stream.write_all(&request).await.map_err(broken)?;
        self.stream.flush().await.map_err(broken)?;
        let frame = self.frame().await?;
        if let Some(notice) = message::notice(&frame) {
            return Err(notice);
        }
        let message = message::read(&frame).filter(|message| message.id == u64::from(self.last));
        let answer = message.and_then(|message| Answer::read(message.operation));
        answer.ok_or_else(|| Trouble::not_the_protocol("an answer to a request that was not made"))
    }

    async fn frame(&mut self) -> Result<Vec<u8>, Trouble> {
        loop {
            match frame::check_within(LONGEST_ANSWER, &self.unread) {
                Ok(Frame::Complete(length)) => return Ok(self.unread.drain(..length).collect()),
                Ok(Frame::Incomplete) => {}
                Err(Broken::Tag) => return Err(Trouble::strange(&self.unread)),
                Err(broken) => return Err(Trouble::not_the_protocol(broken.describe())),
            }
            self.unread.reserve(4096);
            if self.stream.read_buf(&mut self.unread).await.map_err(|error| Trouble::broken(&error))? == 0 {
                return Err(Trouble::new(Stage::Reply, Reason::Closed));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<Verified<S>> {
    /// Logs on by a simple bind (RFC 4513 section 5.1.3).
    pub(super) async fn simple(
        mut self,
        user: &User,
        password: &Password,
        way: LogonWay,
        attempt: &mut Attempt,
    ) -> Result<Verified<S>, Trouble> {
        let secret = OctetString { class: TagClass::Context, id: 0, inner: password.expose().into() };
        let bind = vec![message::integer(3), message::octets(user.bind_name.as_str()), Tag::OctetString(secret)];
        attempt.sent();
        let answer = self.ask(BIND, bind).await.map_err(at_bind)?;
        if answer.result.rc == SUCCESS {
            attempt.accepted();
            return self.end("its consent to log on").map_err(at_bind);
        }
        Err(attempt.answered(&refusal::of_bind(&answer.result, way)))
    }
}

/// One side of a security context, which a SASL mechanism carries.
pub(super) trait Context {
    /// The next token, made of the server's.
    fn step(&mut self, token: &[u8]) -> impl Future<Output = Result<Option<Vec<u8>>, Trouble>> + Send;

    /// Both have proven who they are, and agreed to seal what follows.
    fn is_sealed(&self) -> bool;
}

/// `BindRequest`.
const BIND: u64 = 0;

/// What a server says to a request that has one answer.
struct Answer {
    result: LdapResult,
    /// `serverSaslCreds` (RFC 4511 section 4.2.2).
    token: Option<Vec<u8>>,
}

impl Answer {
    fn read(operation: StructureTag) -> Option<Self> {
        const BIND_RESPONSE: u64 = 1;
        const EXTENDED_RESPONSE: u64 = 24;
        const SERVER_SASL_CREDS: u64 = 7;
        if ![BIND_RESPONSE, EXTENDED_RESPONSE].contains(&operation.id) {
            return None;
        }
        let result = message::result(operation.clone())?;
        let parts = operation.expect_constructed()?;
        let is_token = |part: &StructureTag| part.class == TagClass::Context && part.id == SERVER_SASL_CREDS;
        let token = parts.into_iter().find(is_token).and_then(StructureTag::expect_primitive);
        Some(Self { result, token })
    }
}

fn at_bind(trouble: Trouble) -> Trouble {
    trouble.at(Stage::Bind)
}

fn said(why: String) -> Trouble {
    Trouble::new(Stage::Bind, Reason::ServerSaid(why))
}

fn strange(what: &str) -> Trouble {
    Trouble::not_the_protocol(what).at(Stage::Bind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{DuplexStream, duplex};

    /// A context that says one thing after another, and is sealed at its end.
    struct Says(Vec<&'static str>);

    impl Context for Says {
        async fn step(&mut self, _token: &[u8]) -> Result<Option<Vec<u8>>, Trouble> {
            Ok(self.0.pop().map(|word| word.as_bytes().to_vec()))
        }

        fn is_sealed(&self) -> bool {
            self.0.is_empty()
        }
    }

    /// A server that answers each request with the next of these results.
    async fn answers(mut stream: DuplexStream, results: &'static [u32], behind: &'static [u8]) -> Vec<Vec<u8>> {
        let mut heard = Vec::new();
        for (id, code) in (1..).zip(results) {
            let mut request = vec![0; 1024];
            let Ok(length @ 1..) = stream.read(&mut request).await else { break };
            request.truncate(length);
            heard.push(request);
            let code = lber::structures::Enumerated { inner: i64::from(*code), ..Default::default() };
            let inner = vec![Tag::Enumerated(code), message::octets(""), message::octets("words")];
            let mut bytes = message::request(id, Sequence { class: TagClass::Application, id: 1, inner });
            bytes.extend(behind);
            let _ = stream.write_all(&bytes).await;
        }
        heard
    }

    async fn sasl(
        results: &'static [u32],
        words: &[&'static str],
        behind: &'static [u8],
    ) -> (Result<(), Trouble>, usize) {
        let (near, far) = duplex(4096);
        let mut context = Says(words.to_vec());
        let bound = async { Line::new(near).sasl(&mut context, LogonWay::Kerberos).await.map(drop) };
        let (bound, heard) = tokio::join!(bound, answers(far, results, behind));
        (bound, heard.len())
    }

    #[tokio::test]
    async fn a_logon_ends_well_only_when_both_have_proven_themselves() {
        assert_eq!(sasl(&[14, 14, 0], &["two", "one"], b"").await, (Ok(()), 3));
        let (early, _) = sasl(&[0], &["three", "two", "one"], b"").await;
        assert!(matches!(early, Err(Trouble { stage: Stage::Bind, reason: Reason::NotTheProtocol(_) })), "{early:?}");
        let (injected, _) = sasl(&[0], &["one"], b"plain").await;
        assert!(matches!(injected, Err(Trouble { reason: Reason::NotTheProtocol(_), .. })), "{injected:?}");
    }

    #[tokio::test]
    async fn a_refusal_is_told_and_a_logon_without_end_has_one() {
        let (refused, _) = sasl(&[14, 8], &["two", "one"], b"").await;
        let Err(Trouble { stage: Stage::Bind, reason: Reason::ServerSaid(words) }) = refused else {
            panic!("{refused:?}")
        };
        assert!(words.contains("--logon ldaps"), "{words}");
        let (endless, heard) = sasl(&[14; 20], &[], b"").await;
        assert!(endless.is_err());
        assert_eq!(heard, MOST_STEPS);
    }

    #[tokio::test]
    async fn what_answers_no_request_is_no_answer() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            b"0\x84\x7f\xff\xff\xff",
            b"0\x0c\x02\x01\x07a\x07\n\x01\0\x04\0\x04\0",
        ] {
            let (near, mut far) = duplex(4096);
            far.write_all(bytes).await.expect("there is room");
            let answer = Line::new(near).start_tls().await.err();
            assert!(
                matches!(answer, Some(Trouble { stage: Stage::Tls, reason: Reason::NotTheProtocol(_) })),
                "{answer:?}"
            );
        }
    }
}
