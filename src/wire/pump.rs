//! Between a server and ldap3: bytes are copied from one to the other, and each frame of the server's is looked at on
//! its way. ldap3 never holds a socket that leads out of this process.

use super::{
    conversation::Trouble,
    frame::{self, Broken, Frame},
    message,
};
use exchange_preflight_checks::model::evidence::{Reason, Stage};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    time::timeout,
};

/// The bounds of one conversation.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// All bytes that the server may still send; whoever asks something new on an open connection allows anew.
    pub(super) left: Arc<AtomicUsize>,
    /// The largest single frame.
    pub(super) longest: usize,
    /// How long both sides may be quiet.
    pub(super) idle: Duration,
}

/// Copies until one side ends; the error is the server's fault. The client's end of the stream is closed then, which is
/// how ldap3 learns of it.
pub(super) async fn pump<S, C>(mut server: S, mut client: C, limits: Limits) -> Result<(), Trouble>
where
    S: AsyncRead + AsyncWrite + Unpin,
    C: AsyncRead + AsyncWrite + Unpin,
{
    const CHUNK: usize = 16 * 1024;
    let (mut from_client, mut from_server) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut guard = Guard { buffer: Vec::new(), left: limits.left, longest: limits.longest };
    loop {
        let step = async {
            tokio::select! {
                // An error of the client's is its end as well.
                read = client.read(&mut from_client) => match read.unwrap_or(0) {
                    0 => Ok(Some(())),
                    length => server.write_all(&from_client[..length]).await.map(|()| None),
                },
                read = server.read(&mut from_server) => match read? {
                    0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof)),
                    length => {
                        guard.buffer.extend(&from_server[..length]);
                        Ok(None)
                    }
                },
            }
        };
        match timeout(limits.idle, step).await {
            Ok(Ok(None)) => {}
            Ok(Ok(Some(()))) => return Ok(()),
            Ok(Err(error)) => return Err(Trouble::broken(&error)),
            Err(_) => return Err(Trouble::new(Stage::Reply, Reason::Silent)),
        }
        while let Some(frame) = guard.next()? {
            let Ok(Ok(())) = timeout(limits.idle, client.write_all(&frame)).await else {
                // ldap3 has gone, and what it thought of the frame is told elsewhere.
                return Ok(());
            };
        }
    }
}

/// What has come in and was not looked at yet.
struct Guard {
    buffer: Vec<u8>,
    left: Arc<AtomicUsize>,
    longest: usize,
}

impl Guard {
    /// The next frame that may go on.
    fn next(&mut self) -> Result<Option<Vec<u8>>, Trouble> {
        let left = self.left.load(Ordering::Relaxed);
        let length = match frame::check_within(self.longest, &self.buffer) {
            Ok(Frame::Complete(length)) => length,
            // The bound of all bytes holds for those as well that wait for the rest of their frame.
            Ok(Frame::Incomplete) if self.buffer.len() > left => return Err(too_much()),
            Ok(Frame::Incomplete) => return Ok(None),
            Err(Broken::Tag) => return Err(Trouble::strange(&self.buffer)),
            Err(broken) => return Err(Trouble::not_the_protocol(broken.describe())),
        };
        let frame: Vec<u8> = self.buffer.drain(..length).collect();
        if let Some(notice) = message::notice(&frame) {
            return Err(notice);
        }
        if length > left {
            return Err(too_much());
        }
        self.left.fetch_sub(length, Ordering::Relaxed);
        Ok(Some(frame))
    }
}

fn too_much() -> Trouble {
    Trouble::not_the_protocol("more LDAP messages than such an answer can have")
}
