//! One logon to an SMTP server by `AUTH GSSAPI` (RFC 4954, RFC 4752), and nothing after it but QUIT. No other mechanism is ever
//! tried: NTLM would succeed where Kerberos is broken, and hide it.

use super::{
    conversation::{Outcome, Trouble, Wire},
    proof::{Proof, Proving, error_in},
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
            self.error = error_in(&answer);
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
