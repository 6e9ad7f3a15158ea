//! Several clocks against one another: which of them is held to be right, and of two that are apart, which is off.
//! KB 979174 wants all within a limit of one another; a pair alone does not tell whose fault it is.

use super::time::Interval;
use alloc::vec::Vec;
use core::cmp::Reverse;
use jiff::SignedDuration;

/// A host's clock.
#[derive(Clone, Debug)]
pub struct Clock<'a> {
    /// The host.
    pub host: &'a str,
    /// Host minus us.
    pub offset: Interval,
    /// It is to agree with the others; an outsider's clock is measured by them and has no vote.
    pub is_bound: bool,
}

impl Clock<'_> {
    /// How far apart, whichever is ahead.
    pub fn apart_from(&self, other: &Self) -> Interval {
        self.offset.relative_to(&other.offset).magnitude()
    }
}

/// All clocks, with the one by which the others are measured.
#[derive(Clone, Debug)]
pub struct Quorum<'a> {
    clocks: Vec<Clock<'a>>,
    limit: SignedDuration,
    alike: SignedDuration,
    reference: Option<usize>,
}

impl<'a> Quorum<'a> {
    /// `root` is the host that all others are meant to follow; `limit` is how far clocks may be apart, and two distances
    /// that differ by less than `alike` are the same.
    ///
    /// The root is held to be right unless all others agree that it is not; one other is no majority. Without a root, a
    /// clock with which more than half agree is.
    pub fn new(clocks: Vec<Clock<'a>>, root: Option<&str>, limit: SignedDuration, alike: SignedDuration) -> Self {
        let mut quorum = Self { clocks, limit, alike, reference: None };
        let root = quorum.clocks.iter().position(|clock| Some(clock.host) == root);
        quorum.reference = match root {
            Some(root) if quorum.partners(root) > 0 || quorum.bound().count() < 3 => Some(root),
            _ => quorum.majority().or(root),
        };
        quorum
    }

    /// All clocks, in the order in which they were given.
    pub fn clocks(&self) -> &[Clock<'a>] {
        &self.clocks
    }

    /// The clock that is held to be right.
    pub fn reference(&self) -> Option<&Clock<'a>> {
        Some(&self.clocks[self.reference?])
    }

    /// Is it that one?
    pub fn is_reference(&self, clock: &Clock<'_>) -> bool {
        self.reference().is_some_and(|reference| reference.host == clock.host)
    }

    /// The others that a clock has to agree with, each with its distance: the reference first, then the farthest.
    pub fn others(&self, clock: &Clock<'_>) -> Vec<(&Clock<'a>, Interval)> {
        let others = self.bound().map(|(_, other)| other).filter(|other| other.host != clock.host);
        let mut others: Vec<_> = others.map(|other| (other, clock.apart_from(other))).collect();
        others.sort_by_key(|(other, apart)| (!self.is_reference(other), Reverse(apart.low), other.host));
        others
    }

    /// Of two that are too far apart: is it `clock` that is off? The one farther from the reference is; where both are
    /// about as far, or there is no reference, both are.
    pub fn blames(&self, clock: &Clock<'_>, other: &Clock<'_>) -> bool {
        let Some(reference) = self.reference() else { return true };
        let (own, others) = (clock.apart_from(reference), other.apart_from(reference));
        others.low.saturating_sub(own.high) <= self.alike
    }

    /// Of two of which it cannot be told whether they are too far apart: does the doubt rest on `clock`? Not where it is
    /// surely within the limit of the reference and the other is not.
    pub fn doubts(&self, clock: &Clock<'_>, other: &Clock<'_>) -> bool {
        !self.is_surely_right(clock) || self.is_surely_right(other)
    }

    fn is_surely_right(&self, clock: &Clock<'_>) -> bool {
        let near = |reference: &Clock<'_>| clock.apart_from(reference).high <= self.limit;
        self.is_reference(clock) || self.reference().is_some_and(near)
    }

    fn bound(&self) -> impl Iterator<Item = (usize, &Clock<'a>)> {
        self.clocks.iter().enumerate().filter(|(_, clock)| clock.is_bound)
    }

    /// How many others are surely within the limit of this one.
    fn partners(&self, index: usize) -> usize {
        let clock = &self.clocks[index];
        let agrees =
            |(other, partner): &(usize, &Clock<'_>)| *other != index && clock.apart_from(partner).high <= self.limit;
        self.bound().filter(agrees).count()
    }

    /// The clock with which more than half of all agree, the first of several.
    fn majority(&self) -> Option<usize> {
        let (partners, Reverse(best)) = self.bound().map(|(index, _)| (self.partners(index), Reverse(index))).max()?;
        ((partners + 1) * 2 > self.bound().count()).then_some(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: SignedDuration = SignedDuration::from_secs(300);
    const ALIKE: SignedDuration = SignedDuration::from_secs(30);

    fn quorum<'a>(root: Option<&str>, seconds: &[(&'a str, i64, i64)]) -> Quorum<'a> {
        let clock = |(host, low, high): &(&'a str, i64, i64)| Clock {
            host,
            offset: Interval { low: SignedDuration::from_secs(*low), high: SignedDuration::from_secs(*high) },
            is_bound: true,
        };
        Quorum::new(seconds.iter().map(clock).collect(), root, LIMIT, ALIKE)
    }

    fn blamed<'a>(quorum: &Quorum<'a>) -> Vec<&'a str> {
        let is_off = |clock: &&Clock<'a>| {
            quorum.others(clock).iter().any(|(other, apart)| apart.low > LIMIT && quorum.blames(clock, other))
        };
        quorum.clocks().iter().filter(is_off).map(|clock| clock.host).collect()
    }

    #[test]
    fn the_one_farther_from_the_root_is_off() {
        assert_eq!(blamed(&quorum(Some("dc1"), &[("dc1", 0, 0), ("dc2", 420, 420)])), ["dc2"]);
        assert_eq!(
            blamed(&quorum(Some("dc2"), &[("dc1", 0, 0), ("dc2", 420, 420)])),
            ["dc1"],
            "one other is no majority"
        );
    }

    #[test]
    fn the_root_is_off_where_all_others_agree_that_it_is() {
        assert_eq!(blamed(&quorum(Some("dc1"), &[("dc1", 420, 420), ("dc2", 0, 0), ("ex1", 1, 1)])), ["dc1"]);
    }

    #[test]
    fn two_that_are_equally_far_are_both_off() {
        assert_eq!(blamed(&quorum(Some("dc"), &[("dc", 0, 0), ("a", 200, 200), ("b", -200, -200)])), ["a", "b"]);
    }

    #[test]
    fn without_a_root_and_a_majority_both_are_off() {
        assert_eq!(blamed(&quorum(None, &[("a", 0, 0), ("b", 400, 400)])), ["a", "b"]);
        assert_eq!(blamed(&quorum(None, &[("a", 0, 0), ("b", 400, 400), ("c", 2, 2)])), ["b"]);
    }

    #[test]
    fn doubt_rests_on_the_clock_that_is_not_well_known() {
        let quorum = quorum(Some("dc"), &[("dc", 0, 0), ("vague", 0, 420), ("good", 1, 1)]);
        let [dc, vague, good] = quorum.clocks() else { panic!("three clocks") };
        assert!(quorum.doubts(vague, dc) && quorum.doubts(vague, good));
        assert!(!quorum.doubts(dc, vague) && !quorum.doubts(good, vague));
    }
}
