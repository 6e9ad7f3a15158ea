//! SMB2 NEGOTIATE (MS-SMB2 section 2.2.3), by hand: one message out, one in, and nobody logs on.

use super::{
    conversation::{Trouble, Wire},
    random, tcp,
};
use exchange_preflight_checks::facts::{raw::Raw, smb::SmbReply};
use std::net::SocketAddr;

/// Dialects 2.0.2 to 3.0.2. 3.1.1 would want negotiate contexts and tells nothing more.
const DIALECTS: [u16; 4] = [0x0202, 0x0210, 0x0300, 0x0302];

/// Asks which dialect the server takes, and hears its clock.
pub(super) async fn negotiate(wire: &Wire, to: SocketAddr) -> Result<SmbReply, Trouble> {
    let request = request(random::bytes()?);
    let mut stream = tcp::connect(to, &wire.budgets).await?;
    let (span, message) = tcp::exchange(&mut stream, &request, &wire.clock, wire.budgets.reply).await?;
    let reply = SmbReply { span, message: Raw(message) };
    if reply.is_negotiate() { Ok(reply) } else { Err(Trouble::strange(&reply.message.0)) }
}

fn request(client: [u8; 16]) -> Vec<u8> {
    const SIGNING_ENABLED: u16 = 1;
    let dialects = u16::try_from(DIALECTS.len()).expect("they are four");
    let mut message = Vec::new();
    // The header, section 2.2.1.2: command 0, one credit asked for, everything else zero.
    message.extend(b"\xfeSMB");
    message.extend(64u16.to_le_bytes());
    message.extend([0; 8]);
    message.extend(1u16.to_le_bytes());
    message.resize(64, 0);
    // The body: its size, dialects, security mode, reserved, no capability, who we are, an unused time.
    message.extend(36u16.to_le_bytes());
    message.extend(dialects.to_le_bytes());
    message.extend(SIGNING_ENABLED.to_le_bytes());
    message.extend([0; 2 + 4]);
    message.extend(client);
    message.extend([0; 8]);
    message.extend(DIALECTS.into_iter().flat_map(u16::to_le_bytes));
    message
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_stand_where_the_specification_puts_them() {
        let message = request([0xab; 16]);
        assert_eq!(message.len(), 64 + 36 + 2 * DIALECTS.len());
        assert_eq!(message[12..16], [0, 0, 1, 0], "command, credits");
        assert_eq!(message[64..68], [36, 0, 4, 0], "StructureSize, DialectCount");
        assert_eq!(message[76..92], [0xab; 16], "ClientGuid");
        assert_eq!(message[100..104], [0x02, 0x02, 0x10, 0x02], "Dialects");
    }
}
