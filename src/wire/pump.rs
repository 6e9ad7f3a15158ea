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
        // What came whole goes on at once: of a page of a thousand entries each would cost a call of the system.
        let (length, verdict) = guard.whole();
        if length > 0 {
            let Ok(Ok(())) = timeout(limits.idle, client.write_all(&guard.buffer[..length])).await else {
                // ldap3 has gone, and what it thought of the frames is told elsewhere.
                return Ok(());
            };
            guard.buffer.drain(..length);
        }
        verdict?;
    }
}

/// What has come in and was not looked at yet.
struct Guard {
    buffer: Vec<u8>,
    left: Arc<AtomicUsize>,
    longest: usize,
}

impl Guard {
    /// How much of it are frames that may go on, and whether anything may after them.
    fn whole(&self) -> (usize, Result<(), Trouble>) {
        let mut whole = 0;
        loop {
            match self.first(&self.buffer[whole..]) {
                Ok(Some(length)) => whole += length,
                Ok(None) => return (whole, Ok(())),
                Err(trouble) => return (whole, Err(trouble)),
            }
        }
    }

    /// The length of the first frame of what is left.
    fn first(&self, rest: &[u8]) -> Result<Option<usize>, Trouble> {
        let left = self.left.load(Ordering::Relaxed);
        let length = match frame::check_within(self.longest, rest) {
            Ok(Frame::Complete(length)) => length,
            // The bound of all bytes holds for those as well that wait for the rest of their frame.
            Ok(Frame::Incomplete) if rest.len() > left => return Err(too_much()),
            Ok(Frame::Incomplete) => return Ok(None),
            Err(Broken::Tag) => return Err(Trouble::strange(rest)),
            Err(broken) => return Err(Trouble::not_the_protocol(broken.describe())),
        };
        if let Some(notice) = message::notice(&rest[..length]) {
            return Err(notice);
        }
        if length > left {
            return Err(too_much());
        }
        self.left.fetch_sub(length, Ordering::Relaxed);
        Ok(Some(length))
    }
}

fn too_much() -> Trouble {
    Trouble::not_the_protocol("more LDAP messages than such an answer can have")
}
