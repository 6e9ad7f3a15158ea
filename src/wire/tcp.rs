//! TCP: the one way in which a connection is opened, and what it means when it is not.

use super::{
    budget::Budgets,
    clock::Clock,
    conversation::Trouble,
    icmp::{self, Watch},
};
use exchange_preflight_checks::{
    facts::time::Span,
    model::evidence::{Reason, Stage},
};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// No single message of Kerberos or SMB that we ask for comes near this.
const LONGEST_MESSAGE: u32 = 64 * 1024;

/// Opens a connection within its budget.
pub(super) async fn connect(to: SocketAddr, budgets: &Budgets) -> Result<TcpStream, Trouble> {
    let local = |error| Trouble::new(Stage::Connect, icmp::reason(&error, to, None));
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(local)?;
    let watch = Watch::over(&socket, to);
    match timeout(budgets.connect, socket.connect(to)).await {
        Ok(Ok(stream)) => {
            // From here on an ICMP error is a passing matter that TCP itself gets over (RFC 1122 section 4.2.3.9).
            watch.end();
            // We say little at a time and wait for the answer: nothing is to be held back for a fuller packet. Where the
            // system does not let us, it is only slower.
            let _ = stream.set_nodelay(true);
            Ok(stream)
        }
        Ok(Err(error)) => Err(Trouble::new(Stage::Connect, icmp::reason(&error, to, watch.notice()))),
        Err(_) => Err(Trouble::new(Stage::Connect, Reason::Silent)),
    }
}

/// One message and its answer, each behind a big-endian length of four bytes: Kerberos (RFC 4120 section 7.2.2) and
/// SMB2 (MS-SMB2 section 2.1, whose first byte is 0 and therefore the highest of the length).
pub(super) async fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    clock: &Clock,
    budget: Duration,
) -> Result<(Span, Vec<u8>), Trouble> {
    let both = async {
        let length = u32::try_from(request.len()).expect("we send messages of a few hundred bytes");
        let mut framed = length.to_be_bytes().to_vec();
        framed.extend(request);
        let sent = clock.now();
        stream.write_all(&framed).await.map_err(|error| Trouble::broken(&error))?;
        let message = read_message(stream).await?;
        Ok((Span { sent, received: clock.now() }, message))
    };
    match timeout(budget, both).await {
        Ok(done) => done,
        Err(_) => Err(Trouble::new(Stage::Reply, Reason::Silent)),
    }
}

async fn read_message(stream: &mut TcpStream) -> Result<Vec<u8>, Trouble> {
    let mut header = [0; 4];
    stream.read_exact(&mut header).await.map_err(|error| Trouble::broken(&error))?;
    let length = u32::from_be_bytes(header);
    // RFC 5021 keeps the highest bit for itself; it is far beyond the limit as well.
    if length == 0 || length > LONGEST_MESSAGE {
        return Err(Trouble::strange(&header));
    }
    let mut message = vec![0; length as usize];
    stream.read_exact(&mut message).await.map_err(|error| Trouble::broken(&error))?;
    Ok(message)
}
