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
use std::{net::SocketAddr, sync::atomic::Ordering};
use tokio::time::timeout;

/// Lists of public authorities are cut into parts that are far smaller.
const LARGEST_FILE: usize = 8 * 1024 * 1024;
/// All files of one run: each stays in memory, and in the recording.
const MOST_IN_ALL: usize = 16 * 1024 * 1024;

/// Fetches the file.
pub(super) async fn fetch(wire: &Wire, to: SocketAddr, host: &str, question: &HttpFetch) -> Result<HttpFile, Trouble> {
    let host = match to.port() {
        80 => host.into(),
        port => format!("{host}:{port}"),
    };
    let request = http::get(&host, &question.path)?;
    let stream = tcp::connect(to, &wire.budgets).await?;
    let left = MOST_IN_ALL.saturating_sub(wire.fetched.load(Ordering::Relaxed));
    if left == 0 {
        let why = format!("this run has fetched {} MiB already", MOST_IN_ALL >> 20);
        return Err(Trouble::new(Stage::Reply, Reason::Local(why)));
    }
    let asking = http::ask(stream, request, wire.clock, Some(LARGEST_FILE.min(left)));
    match timeout(wire.budgets.reply, asking).await {
        Ok(Ok(answer)) => {
            wire.fetched.fetch_add(answer.body.len(), Ordering::Relaxed);
            Ok(HttpFile { span: answer.span, status: answer.head.status.as_u16(), body: Raw(answer.body) })
        }
        Ok(Err(trouble)) => Err(trouble),
        Err(_) => Err(Trouble::new(Stage::Reply, Reason::Silent)),
    }
}
