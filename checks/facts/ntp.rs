//! NTP: the question for a server's time, and what its 48 bytes say (RFC 5905 section 7.3, MS-SNTP 3.2.5.1).

use super::{
    raw::Raw,
    time::{Reading, Span},
};
use alloc::string::String;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// "What time is it?", in 48 bytes and client mode. A Windows controller ignores any other length but its own signed ones.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NtpTime;

/// The reply whose origin timestamp was ours, whatever else it says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NtpReply {
    /// Our instants.
    pub span: Span,
    /// The packet, 48 bytes or more.
    pub packet: Raw,
}

/// The header's fields that tell whether this clock is one to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NtpHeader {
    /// 3: the server says of itself that it is not synchronised.
    pub leap: u8,
    /// 3 or 4; Windows answers 3 to 4.
    pub version: u8,
    /// 4 is a server's answer.
    pub mode: u8,
    /// 1 to 15 when synchronised; 0 with a code in `reference` is a kiss-o'-death; 16 is "unsynchronised".
    pub stratum: u8,
    /// Whom it follows: four letters at stratum 0 and 1, an address or hash below.
    pub reference: [u8; 4],
    /// The step of the server's clock as it tells it, from a second down to a microsecond.
    pub quantum: SignedDuration,
    /// When the answer left, by the server's clock. `None` where the field is zero.
    pub transmit: Option<Timestamp>,
}

impl NtpHeader {
    /// The four letters of a kiss-o'-death, RFC 5905 section 7.4; letters that are none are shown as `?`.
    pub fn kiss_code(&self) -> Option<String> {
        let shown = |byte: u8| if byte.is_ascii_graphic() { char::from(byte) } else { '?' };
        (self.stratum == 0 && self.reference != [0; 4]).then(|| self.reference.map(shown).iter().collect())
    }
}

impl NtpReply {
    /// The header; `None` for fewer than 48 bytes or for what is no server's answer (mode 4).
    pub fn header(&self) -> Option<NtpHeader> {
        let packet: &[u8; 48] = self.packet.0.first_chunk()?;
        let flags = packet[0];
        let header = NtpHeader {
            leap: flags >> 6,
            version: (flags >> 3) & 7,
            mode: flags & 7,
            stratum: packet[1],
            reference: [packet[12], packet[13], packet[14], packet[15]],
            quantum: quantum(packet[3]),
            transmit: timestamp(*packet[40..].first_chunk()?),
        };
        (header.mode == 4).then_some(header)
    }

    /// The server's clock. An unsynchronised server has a clock too, and a drifting one is just what must be seen.
    pub fn reading(&self) -> Option<Reading> {
        let header = self.header()?;
        Some(Reading { span: self.span, server_time: header.transmit?, quantum: header.quantum })
    }
}

/// `precision` is the step's power of two in seconds, a signed byte; Windows before Server 2016 tells 2^-6.
fn quantum(precision: u8) -> SignedDuration {
    // Not negative: a clock of whole seconds, or coarser than any clock is.
    let finer = u32::from(precision.cast_signed().min(0).unsigned_abs()).min(20);
    SignedDuration::from_micros(1_000_000 >> finer).max(SignedDuration::from_micros(1))
}

/// A 64-bit NTP timestamp in the era nearest to 1968 to 2104 (RFC 4330 section 3); zero means "not set".
fn timestamp(bytes: [u8; 8]) -> Option<Timestamp> {
    const UNIX_EPOCH_IN_NTP: i64 = 2_208_988_800;
    const ERA: i64 = 1 << 32;
    let word = u64::from_be_bytes(bytes);
    if word == 0 {
        return None;
    }
    let (seconds, fraction) = (i64::try_from(word >> 32).ok()?, word & 0xffff_ffff);
    let era = if seconds >= ERA / 2 { 0 } else { ERA };
    let nanos = i32::try_from((fraction * 1_000_000_000) >> 32).ok()?;
    Timestamp::new(seconds + era - UNIX_EPOCH_IN_NTP, nanos).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn reply(packet: Vec<u8>) -> NtpReply {
        let span = Span { sent: Timestamp::UNIX_EPOCH, received: Timestamp::UNIX_EPOCH };
        NtpReply { span, packet: Raw(packet) }
    }

    #[test]
    fn era_one_begins_in_2036() {
        assert_eq!(timestamp([0, 0, 0, 1, 0, 0, 0, 0]).map(Timestamp::as_second), Some(2_085_978_497));
        assert_eq!(timestamp([0x83, 0xaa, 0x7e, 0x80, 0, 0, 0, 0]).map(Timestamp::as_second), Some(0));
    }

    #[test]
    fn a_kiss_of_death_shows_its_code_and_no_control_character() {
        let mut packet = alloc::vec![0; 48];
        packet[0] = 0b11_011_100;
        packet[12..16].copy_from_slice(b"RA\x1bE");
        assert_eq!(reply(packet).header().and_then(|h| h.kiss_code()).as_deref(), Some("RA?E"));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_but_never_panic(packet in proptest::collection::vec(any::<u8>(), 0..100)) {
            let reply = reply(packet.clone());
            let header = reply.header();
            prop_assert_eq!(header.is_some(), packet.len() >= 48 && packet[0] & 7 == 4);
            let _ = reply.reading();
        }
    }
}
