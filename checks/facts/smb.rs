//! SMB2 NEGOTIATE: every Windows server shows its clock in it, to anybody (MS-SMB2 section 2.2.4).

use super::{
    raw::Raw,
    time::{Reading, Span, WINDOWS_TICK},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Offers dialects 2.0.2 to 3.0.2 and logs on to nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SmbNegotiate;

/// The server's first message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmbReply {
    /// Our instants.
    pub span: Span,
    /// The message without its four bytes of transport length.
    pub message: Raw,
}

impl SmbReply {
    /// Is this SMB2 at all (MS-SMB2 section 2.2.1: `0xFE 'S' 'M' 'B'`, command 0)?
    pub fn is_negotiate(&self) -> bool {
        self.message.0.starts_with(b"\xfeSMB") && self.message.0.get(12..14) == Some(&[0, 0])
    }

    /// `SystemTime` of a NEGOTIATE response: a FILETIME 40 bytes into the body, which follows a header of 64.
    pub fn reading(&self) -> Option<Reading> {
        const SYSTEM_TIME: usize = 64 + 40;
        if !self.is_negotiate() {
            return None;
        }
        let field = self.message.0.get(SYSTEM_TIME..)?.first_chunk()?;
        let server_time = filetime(u64::from_le_bytes(*field))?;
        Some(Reading { span: self.span, server_time, quantum: WINDOWS_TICK })
    }
}

/// A Windows FILETIME, 100 ns since 1601 (MS-DTYP section 2.3.3); zero means "not told".
pub fn filetime(ticks: u64) -> Option<Timestamp> {
    const UNIX_EPOCH_IN_FILETIME: i128 = 116_444_736_000_000_000;
    if ticks == 0 {
        return None;
    }
    Timestamp::from_nanosecond((i128::from(ticks) - UNIX_EPOCH_IN_FILETIME) * 100).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    #[test]
    fn filetime_knows_its_bounds() {
        assert_eq!(filetime(116_444_736_000_000_000), Some(Timestamp::UNIX_EPOCH));
        assert_eq!(filetime(0), None);
        assert_eq!(filetime(u64::MAX), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(mut message in proptest::collection::vec(any::<u8>(), 0..300), like_smb: bool) {
            if like_smb && message.len() > 14 {
                message[..4].copy_from_slice(b"\xfeSMB");
                message[12..14].fill(0);
            }
            let long_enough: Vec<_> = message.iter().skip(104).take(8).collect();
            let tells = like_smb && long_enough.len() == 8;
            let span = Span { sent: Timestamp::UNIX_EPOCH, received: Timestamp::UNIX_EPOCH };
            let reply = SmbReply { span, message: Raw(message) };
            prop_assert!(tells || reply.reading().is_none());
        }
    }
}
