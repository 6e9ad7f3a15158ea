//! The one place that reads the wall clock.

use jiff::Timestamp;
use std::time::Instant;

/// Our clock: the wall is read once, and the monotonic clock tells how much has passed since. Whoever sets this
/// machine's time in the middle of a run cannot bend a measurement: `L(t) = wall0 + (mono(t) - mono0)`.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    wall: Timestamp,
    mono: Instant,
}

impl Clock {
    /// Reads the wall clock, for the only time.
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    pub fn start() -> Self {
        Self { wall: Timestamp::now(), mono: Instant::now() }
    }

    /// The instant that it is now; a wall clock at the end of the year 9999 stands still.
    pub fn now(&self) -> Timestamp {
        self.wall.checked_add(self.mono.elapsed()).unwrap_or(Timestamp::MAX)
    }
}
