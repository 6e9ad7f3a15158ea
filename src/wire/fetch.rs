//! Small public files over plain HTTP: an issuer's certificate, a revocation list.

use super::{
    conversation::{Trouble, Wire},
    http, tcp,
};
use exchange_preflight_checks::{
    facts::{
        raw::Raw,
        web::{HttpFetch, HttpFile},
    },
    model::evidence::{Reason, Stage},
};
use std::net::SocketAddr;
use tokio::time::timeout;

/// The revocation lists of the largest issuers have about 10 MiB.
const LARGEST_FILE: usize = 16 * 1024 * 1024;

/// Fetches the file.
pub(super) async fn fetch(wire: &Wire, to: SocketAddr, host: &str, question: &HttpFetch) -> Result<HttpFile, Trouble> {
    let host = match to.port() {
        80 => host.into(),
        port => format!("{host}:{port}"),
    };
    let request = http::get(&host, &question.path)?;
    let stream = tcp::connect(to, &wire.budgets).await?;
    let asking = http::ask(stream, request, wire.clock, Some(LARGEST_FILE));
    match timeout(wire.budgets.reply, asking).await {
        Ok(Ok(answer)) => {
            Ok(HttpFile { span: answer.span, status: answer.head.status.as_u16(), body: Raw(answer.body) })
        }
        Ok(Err(trouble)) => Err(trouble),
        Err(_) => Err(Trouble::new(Stage::Reply, Reason::Silent)),
    }
}
