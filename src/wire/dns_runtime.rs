//! hickory-resolver's sockets, with two differences. Its UDP sockets are connected here, as ICMP's "port unreachable"
//! reaches no others, and a name server that is not there would look like one that a firewall hides. And how a socket
//! failed is kept, as hickory forgets it.

use super::{
    icmp::{self, Watch},
    udp,
};
use exchange_preflight_checks::model::evidence::Reason;
use hickory_resolver::net::runtime::{
    DnsUdpSocket, RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime, iocompat::AsyncIoTokioAsStd,
};
use std::{
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::ReadBuf,
    net::{TcpStream, UdpSocket},
};

/// Tokio's runtime, with sockets that hear ICMP.
#[derive(Clone, Default)]
pub(super) struct Runtime {
    tokio: TokioRuntimeProvider,
    failure: Failure,
}

impl Runtime {
    /// How a socket to a name server failed last.
    pub(super) fn last_failure(&self) -> Option<Reason> {
        self.failure.0.lock().expect("nothing panics while it holds this lock").clone()
    }
}

type Opening<T> = Pin<Box<dyn Send + Future<Output = io::Result<T>>>>;
type Receiving<'call> = Pin<Box<dyn Send + Future<Output = io::Result<(usize, SocketAddr)>> + 'call>>;

impl RuntimeProvider for Runtime {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = Connected;
    type Tcp = AsyncIoTokioAsStd<TcpStream>;

    fn create_handle(&self) -> TokioHandle {
        self.tokio.create_handle()
    }

    fn connect_tcp(&self, server: SocketAddr, from: Option<SocketAddr>, wait: Option<Duration>) -> Opening<Self::Tcp> {
        let (failure, opening) = (self.failure.clone(), self.tokio.connect_tcp(server, from, wait));
        Box::pin(async move { failure.keep(server, None, opening.await) })
    }

    fn bind_udp(&self, from: SocketAddr, server: SocketAddr) -> Opening<Connected> {
        let failure = self.failure.clone();
        Box::pin(async move {
            let socket = failure.keep(server, None, UdpSocket::bind(from).await)?;
            let watch = Watch::over(&socket, server);
            failure.keep(server, None, socket.connect(server).await)?;
            Ok(Connected { socket, server, watch, failure })
        })
    }
}

/// A UDP socket that knows one name server only.
pub(super) struct Connected {
    socket: UdpSocket,
    server: SocketAddr,
    watch: Watch,
    failure: Failure,
}

impl Connected {
    fn keep<T>(&self, result: io::Result<T>) -> io::Result<T> {
        self.failure.keep(self.server, Some(&self.watch), result)
    }
}

impl DnsUdpSocket for Connected {
    type Time = TokioTime;

    fn poll_recv_from(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut datagram = ReadBuf::new(buf);
        self.keep(ready!(self.socket.poll_recv(cx, &mut datagram)))?;
        Poll::Ready(Ok((datagram.filled().len(), self.server)))
    }

    /// What hickory calls, in the form that its macro gives to an `async fn`: unlike polling, it wakes for an ICMP error.
    fn recv_from<'socket, 'buffer, 'call>(&'socket self, buf: &'buffer mut [u8]) -> Receiving<'call>
    where
        'socket: 'call,
        'buffer: 'call,
        Self: 'call,
    {
        Box::pin(async move {
            let length = self.keep(udp::receive(&self.socket, buf).await)?;
            Ok((length, self.server))
        })
    }

    fn poll_send_to(&self, cx: &mut Context<'_>, buf: &[u8], _server: SocketAddr) -> Poll<io::Result<usize>> {
        self.socket.poll_send(cx, buf).map(|sent| self.keep(sent))
    }
}

/// The last failure of any socket.
#[derive(Clone, Default)]
struct Failure(Arc<Mutex<Option<Reason>>>);

impl Failure {
    fn keep<T>(&self, server: SocketAddr, watch: Option<&Watch>, result: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &result {
            let reason = icmp::reason(error, server, watch.and_then(Watch::notice));
            *self.0.lock().expect("nothing panics while it holds this lock") = Some(reason);
        }
        result
    }
}
