//! One GET by hyper on a stream that is ours: no redirect is followed, and nothing is read without a bound.

use super::{clock::Clock, conversation::Trouble, text};
use exchange_preflight_checks::{
    facts::time::Span,
    model::evidence::{Reason, Stage},
};
use http_body_util::{BodyExt as _, Empty, LengthLimitError, Limited};
use hyper::{
    Request, Response, StatusCode, Uri,
    body::{Bytes, Incoming},
    client::conn::http1,
    header,
    http::response::Parts,
};
use hyper_util::rt::TokioIo;
use std::{error::Error, io, pin::pin};
use tokio::io::{AsyncRead, AsyncWrite};

/// All of an answer's head.
const LONGEST_HEAD: usize = 64 * 1024;
const MOST_FIELDS: usize = 200;

/// A request for a path. `host` is the field Host: a name, with a port where it is not the usual one.
pub(super) fn get(host: &str, path: &str) -> Result<Request<Empty<Bytes>>, Trouble> {
    let unusable = || {
        let why = format!("no URL can be made of {} and {}", text::quoted(host), text::quoted(path));
        Trouble::new(Stage::Connect, Reason::Local(text::quoted(&why)))
    };
    // Without its slash a path would be taken for a host.
    let uri: Uri =
        Some(path).filter(|path| path.starts_with('/')).and_then(|path| path.parse().ok()).ok_or_else(unusable)?;
    Request::get(uri)
        .header(header::HOST, host)
        .header(header::USER_AGENT, "exchange-preflight")
        .header(header::ACCEPT, "*/*")
        .body(Empty::new())
        .map_err(|_| unusable())
}

/// What came back.
pub(super) struct Answer {
    pub(super) span: Span,
    pub(super) head: Parts,
    pub(super) body: Vec<u8>,
}

/// Asks, and reads the head; of a 200, also a body up to `largest_body`. Without that, no body is read at all.
pub(super) async fn ask<S>(
    stream: S,
    request: Request<Empty<Bytes>>,
    clock: Clock,
    largest_body: Option<usize>,
) -> Result<Answer, Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut builder = http1::Builder::new();
    builder.max_buf_size(LONGEST_HEAD).max_headers(MOST_FIELDS);
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| trouble(&error))?;
    let asking = async move {
        let sent = clock.now();
        let response = sender.send_request(request).await.map_err(|error| trouble(&error))?;
        let span = Span { sent, received: clock.now() };
        let (head, body) = Response::into_parts(response);
        let body = match largest_body {
            Some(largest) if head.status == StatusCode::OK => read(body, largest).await?,
            _ => Vec::new(),
        };
        Ok(Answer { span, head, body })
    };
    let mut asking = pin!(asking);
    tokio::select! {
        biased;
        answer = &mut asking => answer,
        // Whatever the connection came to, it has told those who wait for it.
        _ = connection => asking.await,
    }
}

async fn read(body: Incoming, largest: usize) -> Result<Vec<u8>, Trouble> {
    match Limited::new(body, largest).collect().await {
        Ok(whole) => Ok(whole.to_bytes().to_vec()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(Trouble::not_the_protocol(format!("a file of more than {} MiB", largest / (1024 * 1024))))
        }
        Err(error) => Err(error
            .downcast_ref::<hyper::Error>()
            .map_or_else(|| Trouble::not_the_protocol(text::quoted(&error.to_string())), trouble)),
    }
}

/// What an error of hyper's says of the server.
fn trouble(error: &hyper::Error) -> Trouble {
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return Trouble::new(Stage::Reply, Reason::Closed);
    }
    match error.source().and_then(|source| source.downcast_ref::<io::Error>()) {
        Some(error) => Trouble::broken(error),
        None => Trouble::not_the_protocol(text::quoted(&error.to_string())),
    }
}
