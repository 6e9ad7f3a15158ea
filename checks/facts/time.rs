//! Clocks as intervals: what one reading says, what several say together, how far two hosts are apart.
//!
//! A server stamped its time at some real instant between our sending and our receiving (Cristian's bound). Its clock
//! then showed something in `[server_time, server_time + quantum)`. So the offset *server minus us* lies in an
//! interval, never at a point; every rule here keeps the interval honest.

use alloc::vec::Vec;
use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

/// How far a computer's crystal may run away from ours: 200 ppm, twice what a quartz is allowed.
const DRIFT_PER_SECOND: SignedDuration = SignedDuration::from_micros(200);

/// The coarsest tick with which Windows advanced its system time (64 Hz).
pub const WINDOWS_TICK: SignedDuration = SignedDuration::from_millis(16);

/// A clock that shows whole seconds: LDAP `currentTime`, HTTP `Date`, an SMTP banner.
pub const WHOLE_SECOND: SignedDuration = SignedDuration::from_secs(1);

/// Our own two instants around a question: just before it was sent, just after the answer was in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// Our clock just before the question left.
    pub sent: Timestamp,
    /// Our clock just after the answer came.
    pub received: Timestamp,
}

/// A server's time inside any answer, with the instants of its own exchange and not of a whole session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// When we asked and when we heard.
    pub span: Span,
    /// What the server's clock showed, rounded down to its quantum.
    pub server_time: Timestamp,
    /// The step in which that clock is shown.
    pub quantum: SignedDuration,
}

impl Reading {
    /// The offset *server minus us*: `[V - received, V + quantum - sent]`.
    pub fn offset(&self) -> Interval {
        Interval {
            low: self.server_time.duration_since(self.span.received),
            high: self.server_time.duration_since(self.span.sent) + self.quantum,
        }
    }

    /// The offset as it may have become by `instant`, should the two crystals have drifted apart since.
    pub fn offset_at(&self, instant: Timestamp) -> Interval {
        let age = instant.duration_since(self.span.received).abs();
        let seconds = i32::try_from(age.as_secs()).unwrap_or(i32::MAX).saturating_add(1);
        let drift = DRIFT_PER_SECOND.saturating_mul(seconds);
        let offset = self.offset();
        Interval { low: offset.low - drift, high: offset.high + drift }
    }
}

/// A span of durations, both ends included; `low <= high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// The least it can be.
    pub low: SignedDuration,
    /// The most it can be.
    pub high: SignedDuration,
}

impl Interval {
    /// How much is not known.
    pub fn width(&self) -> SignedDuration {
        self.high - self.low
    }

    /// The point in the middle, for showing; no verdict may rest on it.
    pub fn middle(&self) -> SignedDuration {
        self.low + self.width() / 2
    }

    /// What both allow, if anything.
    pub fn intersect(&self, other: &Self) -> Option<Self> {
        let both = Self { low: self.low.max(other.low), high: self.high.min(other.high) };
        (both.low <= both.high).then_some(both)
    }

    /// The smallest interval that holds both.
    pub fn hull(&self, other: &Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    /// The offset of the clock behind `self` as seen from the clock behind `from`: both were measured by one ruler,
    /// ours, which cancels out.
    pub fn relative_to(&self, from: &Self) -> Self {
        Self { low: self.low - from.high, high: self.high - from.low }
    }

    /// The size of what may be negative: how far apart, whichever is ahead.
    pub fn magnitude(&self) -> Self {
        let (low, high) = (self.low.abs(), self.high.abs());
        let spans_zero = self.low <= SignedDuration::ZERO && self.high >= SignedDuration::ZERO;
        Self { low: if spans_zero { SignedDuration::ZERO } else { low.min(high) }, high: low.max(high) }
    }
}

/// The interval that most of `intervals` share and how many share it (Marzullo's algorithm, RFC 5905 section 11.2.1).
/// Where several are shared by equally many, their hull: no majority is no reason to prefer one.
pub fn most_agreed(intervals: &[Interval]) -> Option<(Interval, usize)> {
    let mut best: Option<(Interval, usize)> = None;
    let mut starts: Vec<_> = intervals.iter().map(|interval| interval.low).collect();
    starts.sort_unstable();
    starts.dedup();
    // A region covered by most begins where some interval begins, and ends where the first of those covering it ends.
    for start in starts {
        let covering: Vec<_> = intervals.iter().filter(|i| i.low <= start && start <= i.high).collect();
        let Some(end) = covering.iter().map(|i| i.high).min() else { continue };
        let region = Interval { low: start, high: end };
        best = Some(match best {
            Some((seen, count)) if count > covering.len() => (seen, count),
            Some((seen, count)) if count == covering.len() => (seen.hull(&region), count),
            _ => (region, covering.len()),
        });
    }
    best
}

/// Instants at which to ask a clock of whole seconds so that the answers cut `offset` into `cuts + 1` equal pieces:
/// each is the next instant after `after` at which the server's second would turn, were the offset that cut.
/// `round_trip` is what a question usually takes; half of it passes before the server looks at its clock.
pub fn aimed_instants(offset: Interval, after: Timestamp, round_trip: SignedDuration, cuts: i32) -> Vec<Timestamp> {
    let piece = offset.width() / (cuts + 1);
    let mut instants: Vec<_> = (1..=cuts)
        .filter_map(|cut| {
            let supposed = offset.low + piece * cut;
            // At the server it is `after + supposed`; wait for the rest of that second, less the way there.
            let server_nanos = (after.as_nanosecond() + supposed.as_nanos()).rem_euclid(1_000_000_000);
            let way = (round_trip / 2).as_nanos();
            let wait = (1_000_000_000 - server_nanos - way).rem_euclid(1_000_000_000);
            Timestamp::from_nanosecond(after.as_nanosecond() + wait).ok()
        })
        .collect();
    instants.sort_unstable();
    instants
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(low: i64, high: i64) -> Interval {
        Interval { low: SignedDuration::from_secs(low), high: SignedDuration::from_secs(high) }
    }

    fn stamp(micros: i64) -> Timestamp {
        Timestamp::from_microsecond(micros).expect("test instants lie in range")
    }

    #[test]
    fn most_agreed_prefers_the_majority_and_never_averages() {
        let falseticker = seconds(90, 91);
        assert_eq!(most_agreed(&[seconds(0, 2), seconds(1, 3), falseticker]), Some((seconds(1, 2), 2)));
        assert_eq!(most_agreed(&[seconds(0, 2), falseticker]), Some((seconds(0, 91), 1)));
        assert_eq!(most_agreed(&[]), None);
    }

    #[test]
    fn a_magnitude_that_spans_zero_begins_at_zero() {
        assert_eq!(seconds(-3, 2).magnitude(), seconds(0, 3));
        assert_eq!(seconds(-400, -399).magnitude(), seconds(399, 400));
    }

    /// One poll of a whole-second clock that is `true_offset` micros ahead, with `rtt` split evenly.
    fn poll(sent: Timestamp, true_offset: i64, rtt: i64) -> Reading {
        let server = (sent.as_microsecond() + rtt / 2 + true_offset).div_euclid(1_000_000) * 1_000_000;
        Reading {
            span: Span { sent, received: stamp(sent.as_microsecond() + rtt) },
            server_time: stamp(server),
            quantum: WHOLE_SECOND,
        }
    }

    proptest! {
        /// Three rounds of three aimed polls pin a whole-second clock to a 64th of a second and never lose the truth.
        #[test]
        fn aimed_polls_close_in_on_the_truth(true_offset in -1_000_000_000i64..1_000_000_000, start in 0i64..2_000_000_000_000_000, rtt in 100i64..3_000) {
            let mut at = stamp(start);
            let mut known = poll(at, true_offset, rtt).offset();
            for _ in 0..3 {
                for instant in aimed_instants(known, at, SignedDuration::from_micros(rtt), 3) {
                    let reading = poll(instant, true_offset, rtt);
                    known = known.intersect(&reading.offset()).expect("honest readings meet");
                    at = at.max(reading.span.received);
                }
            }
            let truth = SignedDuration::from_micros(true_offset);
            prop_assert!(known.low <= truth && truth <= known.high);
            prop_assert!(known.width() <= SignedDuration::from_micros(15_625 + 2 * rtt), "{:?}", known.width());
        }

        #[test]
        fn relative_offsets_do_not_depend_on_the_ruler(a in -10_000i64..10_000, b in -10_000i64..10_000, ruler in -10_000_000i64..10_000_000) {
            let shifted = seconds(a + ruler, a + ruler + 1).relative_to(&seconds(b + ruler, b + ruler + 1));
            prop_assert_eq!(shifted, seconds(a, a + 1).relative_to(&seconds(b, b + 1)));
        }

        #[test]
        fn the_most_agreed_interval_is_shared_by_as_many_as_it_says(bounds in proptest::collection::vec((-50i64..50, 0i64..20), 1..8)) {
            let all: Vec<_> = bounds.iter().map(|(low, width)| seconds(*low, low + width)).collect();
            let (agreed, count) = most_agreed(&all).expect("one interval at the least");
            let at_low = all.iter().filter(|i| i.low <= agreed.low && agreed.low <= i.high).count();
            prop_assert_eq!(at_low, count);
            prop_assert!([agreed.low <= agreed.high].iter().all(|ordered| *ordered));
        }
    }
}
