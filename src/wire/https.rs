//! One GET over TLS, without logging on: the certificate, and the head of what a web server shows to anybody; of the document in
//! which it publishes its Auth certificate, the rest as well.

use super::{
    conversation::{Outcome, Trouble, Wire},
    http, tcp,
    tls::{self, HTTP_1_1, Keys},
};
use exchange_preflight_checks::{
    facts::{
        raw::Raw,
        tls::TlsSeen,
        web::{HTTPS_PORT, HttpAnswer, HttpsGet, HttpsReply, METADATA_PATH},
    },
    model::{
        ask::Facts,
        evidence::{Reason, Stage},
    },
};
use std::net::SocketAddr;
use tokio::time::{Instant, timeout};

/// What a server publishes for OAuth takes a few thousand bytes.
const LARGEST_METADATA: usize = 1024 * 1024;

/// Begins TLS, and asks for the path.
pub(super) async fn get(wire: &Wire, to: SocketAddr, question: &HttpsGet) -> Outcome {
    let mut seen = None;
    let answered = look(wire, to, question, &mut seen).await;
    let (answer, trouble) = match answered {
        Ok(answer) => (Some(answer), None),
        Err(trouble) => (None, Some(trouble)),
    };
    Outcome { facts: seen.map(|tls| Facts::HttpsGet(HttpsReply { tls, answer })), trouble }
}

async fn look(
    wire: &Wire,
    to: SocketAddr,
    question: &HttpsGet,
    seen: &mut Option<TlsSeen>,
) -> Result<HttpAnswer, Trouble> {
    let host = match to.port() {
        HTTPS_PORT => question.name.clone(),
        port => format!("{}:{port}", question.name),
    };
    let request = http::get(&host, &question.path)?;
    let stream = tcp::connect(to, &wire.budgets).await?;
    let until = Instant::now() + wire.budgets.reply;
    let inside = tls::begin(stream, Keys::Any, &question.name, Some(HTTP_1_1), until, seen).await?;
    let largest = (question.path == METADATA_PATH).then_some(LARGEST_METADATA);
    let asking = http::ask(inside, request, wire.clock, largest);
    let answer = match timeout(wire.budgets.reply, asking).await {
        Ok(answered) => answered?,
        Err(_) => return Err(Trouble::new(Stage::Reply, Reason::Silent)),
    };
    // A value need not be text; what is none is shown as such.
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    let fields = answer.head.headers.iter().map(|(name, value)| (name.as_str().into(), text(value.as_bytes())));
    let (span, status, body) = (answer.span, answer.head.status.as_u16(), Raw(answer.body));
    Ok(HttpAnswer { span, status, fields: fields.collect(), body })
}
