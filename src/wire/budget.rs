//! How long a conversation may take.

use std::time::Duration;

/// The time that each stage has, counted from the moment it begins.
#[derive(Clone, Copy, Debug)]
pub struct Budgets {
    /// To open a TCP connection; and for all of a conversation over UDP or with a name server.
    pub connect: Duration,
    /// For greeting and answer over TCP: Exchange's tarpit alone takes 5 s.
    pub reply: Duration,
    /// When a datagram is sent again, counted from the first.
    pub retransmits: [Duration; 2],
}

impl Default for Budgets {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(5), reply: seconds(20), retransmits: [seconds(1), seconds(3)] }
    }
}
