//! UDP: one question, asked up to three times from one fresh port.
//!
//! The socket is connected, so that no datagram from anywhere else can come in, and so that ICMP errors do.

use super::{
    conversation::{Trouble, Wire},
    icmp::{self, Watch},
};
use exchange_preflight_checks::{
    facts::time::Span,
    model::evidence::{Reason, Stage},
};
use jiff::Timestamp;
use std::{
    future::Future,
    io::{self, ErrorKind as Kind},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};
use tokio::{
    io::Interest,
    net::UdpSocket,
    time::{Instant, timeout_at},
};

/// What a protocol brings along: its requests, and an ear for its answers.
pub(super) trait Dialogue: Send {
    /// What an answer tells.
    type Told: Send;

    /// The next request; each is new, lest an answer to an earlier one be taken from a cache (MIT's KDC keeps one).
    fn request(&mut self) -> impl Future<Output = Result<Vec<u8>, Trouble>> + Send;

    /// May it be sent again where nothing comes back?
    fn may_repeat(&self) -> bool {
        true
    }

    /// What a datagram is to us.
    fn hear(&mut self, datagram: Vec<u8>) -> impl Future<Output = Heard<Self::Told>> + Send;
}

/// What a datagram is.
pub(super) enum Heard<T> {
    /// The answer. `request` is the number of the request that it answers, where it tells.
    Answer { request: Option<usize>, told: T },
    /// What ends the conversation.
    Trouble(Trouble),
    /// No answer to any request of ours: late, doubled, or a guess of somebody else's. We go on waiting.
    Stray(Trouble),
}

/// Asks, asks again, and gives up when the budget is spent.
pub(super) async fn converse<D: Dialogue>(
    wire: &Wire,
    to: SocketAddr,
    dialogue: &mut D,
) -> Result<(Span, D::Told), Trouble> {
    let began = Instant::now();
    let end = began + wire.budgets.connect;
    let way = Way::open(to).await?;
    let mut sent: Vec<Timestamp> = Vec::new();
    // A server that sends nothing but strays is not silent; the last of them says what it is.
    let mut silence = Trouble::new(Stage::Connect, Reason::Silent);
    let mut resends = wire.budgets.retransmits.map(|after| began + after).into_iter().filter(|at| *at < end);
    loop {
        let request = dialogue.request().await?;
        sent.push(wire.clock.now());
        way.send(&request).await?;
        let next = if dialogue.may_repeat() { resends.next() } else { None };
        while let Ok(datagram) = timeout_at(next.unwrap_or(end), way.receive()).await {
            let datagram = datagram?;
            let received = wire.clock.now();
            match dialogue.hear(datagram).await {
                Heard::Answer { request, told } => {
                    // Where nothing tells which request it was, only the first keeps the interval honest.
                    let sent = request.and_then(|number| sent.get(number)).unwrap_or(&sent[0]);
                    return Ok((Span { sent: *sent, received }, told));
                }
                Heard::Trouble(trouble) => return Err(trouble),
                Heard::Stray(trouble) => silence = trouble,
            }
        }
        if next.is_none() {
            return Err(silence);
        }
    }
}

/// The next datagram of a connected socket, or the ICMP error before it. Tokio's own `recv` sleeps through an error that
/// comes without a datagram, because such a socket is not readable; it has an error, which is another thing to wait for.
pub(super) async fn receive(socket: &UdpSocket, datagram: &mut [u8]) -> io::Result<usize> {
    loop {
        let ready = socket.ready(Interest::READABLE | Interest::ERROR).await?;
        if ready.is_error() {
            socket
                .try_io(Interest::ERROR, || socket.take_error()?.map_or_else(|| Err(Kind::WouldBlock.into()), Err))
                .or_else(would_block)?;
        }
        match socket.try_recv(datagram) {
            Err(error) if error.kind() == Kind::WouldBlock => {}
            received => return received,
        }
    }
}

fn would_block(error: io::Error) -> io::Result<()> {
    if error.kind() == Kind::WouldBlock { Ok(()) } else { Err(error) }
}

/// A connected socket and the ear for ICMP beside it.
struct Way {
    to: SocketAddr,
    socket: UdpSocket,
    watch: Watch,
}

impl Way {
    async fn open(to: SocketAddr) -> Result<Self, Trouble> {
        let trouble = |error| Trouble::new(Stage::Connect, icmp::reason(&error, to, None));
        let any = match to {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        let socket = UdpSocket::bind(any).await.map_err(trouble)?;
        let watch = Watch::over(&socket, to);
        socket.connect(to).await.map_err(trouble)?;
        Ok(Self { to, socket, watch })
    }

    async fn send(&self, request: &[u8]) -> Result<(), Trouble> {
        self.socket.send(request).await.map(drop).map_err(|error| self.trouble(&error))
    }

    async fn receive(&self) -> Result<Vec<u8>, Trouble> {
        const LARGEST: usize = 65_535;
        // The room is made when something is there: hundreds of questions wait at once, most of them for nothing.
        let ready = self.socket.ready(Interest::READABLE | Interest::ERROR).await;
        ready.map_err(|error| self.trouble(&error))?;
        let mut room = vec![0; LARGEST];
        let length = receive(&self.socket, &mut room).await.map_err(|error| self.trouble(&error))?;
        Ok(room[..length].to_vec())
    }

    fn trouble(&self, error: &io::Error) -> Trouble {
        Trouble::new(Stage::Connect, icmp::reason(error, self.to, self.watch.notice()))
    }
}
