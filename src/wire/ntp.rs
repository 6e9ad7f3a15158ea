//! NTP: sntpc makes the request and tells which reply is ours. What else it thinks of a reply does not matter here: it
//! drops the clocks that are worth a finding (free-running, "kiss-o'-death"), so the packet itself is kept.

use super::{
    conversation::{Trouble, Wire},
    random,
    udp::{self, Dialogue, Heard},
};
use exchange_preflight_checks::facts::{ntp::NtpReply, raw::Raw};
use sntpc::{Error, NtpContext, NtpTimestampGenerator, NtpUdpSocket, SendRequestResult};
use std::{
    net::SocketAddr,
    sync::{Mutex, MutexGuard},
};

/// Asks for the time.
pub(super) async fn ask_time(wire: &Wire, to: SocketAddr) -> Result<NtpReply, Trouble> {
    let mut dialogue = Time { to, asked: Vec::new() };
    let (span, packet) = udp::converse(wire, to, &mut dialogue).await?;
    Ok(NtpReply { span, packet: Raw(packet) })
}

struct Time {
    to: SocketAddr,
    asked: Vec<(SendRequestResult, Stamp)>,
}

impl Dialogue for Time {
    type Told = Vec<u8>;

    async fn request(&mut self) -> Result<Vec<u8>, Trouble> {
        let stamp = Stamp::random()?;
        let outbox = Packet::new(self.to, Vec::new());
        let asked = sntpc::sntp_send_request(self.to, &outbox, NtpContext::new(stamp)).await;
        self.asked.push((asked.expect("our adapter takes any packet"), stamp));
        Ok(outbox.bytes().clone())
    }

    async fn hear(&mut self, datagram: Vec<u8>) -> Heard<Vec<u8>> {
        for (number, (asked, stamp)) in self.asked.iter().enumerate() {
            let inbox = Packet::new(self.to, datagram.clone());
            match sntpc::sntp_process_response(self.to, &inbox, NtpContext::new(*stamp), *asked).await {
                // Too short, or the timestamp of another request.
                Err(Error::IncorrectPayload | Error::IncorrectOriginTimestamp) => {}
                _ => return Heard::Answer { request: Some(number), told: datagram },
            }
        }
        Heard::Stray(Trouble::strange(&datagram))
    }
}

/// The timestamp of a request. The server gives it back untouched and never reads it, so it is random: 52 bits that
/// nobody can guess, and this machine's clock stays its own affair.
#[derive(Clone, Copy)]
struct Stamp {
    seconds: u32,
    micros: u32,
}

impl Stamp {
    fn random() -> Result<Self, Trouble> {
        let number = |bytes| u32::from_be_bytes(bytes);
        Ok(Self { seconds: number(random::bytes()?), micros: number(random::bytes()?) % 1_000_000 })
    }
}

impl NtpTimestampGenerator for Stamp {
    fn init(&mut self) {}

    fn timestamp_sec(&self) -> u64 {
        u64::from(self.seconds)
    }

    fn timestamp_subsec_micros(&self) -> u32 {
        self.micros
    }
}

/// Stands in for sntpc's socket: the true one belongs to [`udp`], which sends again and hears ICMP.
struct Packet {
    server: SocketAddr,
    bytes: Mutex<Vec<u8>>,
}

impl Packet {
    fn new(server: SocketAddr, bytes: Vec<u8>) -> Self {
        Self { server, bytes: Mutex::new(bytes) }
    }

    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.bytes.lock().expect("nothing panics while it holds this lock")
    }
}

impl NtpUdpSocket for Packet {
    async fn send_to(&self, buf: &[u8], _to: SocketAddr) -> sntpc::Result<usize> {
        *self.bytes() = buf.to_vec();
        Ok(buf.len())
    }

    async fn recv_from(&self, buf: &mut [u8]) -> sntpc::Result<(usize, SocketAddr)> {
        let held = self.bytes();
        let length = held.len().min(buf.len());
        buf[..length].copy_from_slice(&held[..length]);
        Ok((length, self.server))
    }
}
