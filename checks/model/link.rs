//! Ways by which controllers take changes of one another, as the one that takes them tells it.

use crate::{
    facts::replication::{Neighbour, Outcome},
    model::finding::Subject,
};
use alloc::{string::String, vec::Vec};
use jiff::{SignedDuration, Timestamp};

/// The partitions that mail hangs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Partition {
    /// The forest's configuration: servers and connectors.
    Configuration,
    /// The domain: accounts.
    Domain,
}

impl Partition {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Configuration, Self::Domain];
}

/// A way by which changes are taken, for all partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// From whom: its name, or where nobody knows that its GUID.
    pub source: String,
    /// There is a controller of this name.
    pub is_known: bool,
    /// By whom.
    pub destination: String,
    /// What the destination says of each partition.
    pub parts: Vec<(Partition, Neighbour)>,
    /// The destination's clock.
    pub now: Option<Timestamp>,
    /// How often the way is gone at the least.
    pub interval: SignedDuration,
    /// The destination is told to take nothing.
    pub takes_nothing: bool,
    /// The source is told to send nothing.
    pub sends_nothing: bool,
}

impl Link {
    /// Does it not work now, for any partition?
    pub fn fails(&self) -> bool {
        Partition::ALL.into_iter().any(|partition| self.fails_for(partition))
    }

    /// Does it not work now, for this one?
    pub fn fails_for(&self, partition: Partition) -> bool {
        let mut of_it = self.of(partition).peekable();
        of_it.peek().is_some() && (self.is_off() || of_it.any(Neighbour::fails))
    }

    /// Did the last attempt for this partition go well?
    pub fn is_well_for(&self, partition: Partition) -> bool {
        let went_well =
            |neighbour: &Neighbour| neighbour.result == Outcome::SUCCESS && neighbour.last_success.is_some();
        !self.is_off() && self.of(partition).any(went_well) && !self.fails_for(partition)
    }

    fn of(&self, partition: Partition) -> impl Iterator<Item = &Neighbour> {
        self.parts.iter().filter(move |(of, _)| *of == partition).map(|(_, neighbour)| neighbour)
    }

    fn is_off(&self) -> bool {
        self.takes_nothing() || self.sends_nothing()
    }

    /// The destination is told to take nothing, or has said so.
    pub fn takes_nothing(&self) -> bool {
        self.takes_nothing || self.ends_in(Outcome::SINK_DISABLED)
    }

    /// The source is told to send nothing, or has said so.
    pub fn sends_nothing(&self) -> bool {
        self.sends_nothing || self.ends_in(Outcome::SOURCE_DISABLED)
    }

    fn ends_in(&self, outcome: Outcome) -> bool {
        self.parts.iter().any(|(_, neighbour)| neighbour.fails() && neighbour.result == outcome)
    }

    /// How long ago it last went well for a partition, by the destination's clock; `None` for never, or where the clock is not known.
    pub fn age(&self, neighbour: &Neighbour) -> Option<SignedDuration> {
        Some(self.now?.duration_since(neighbour.last_success?).max(SignedDuration::ZERO))
    }

    /// May replication be forced over it? Not where the two have not met for longer than deleted objects are kept.
    pub fn may_be_forced(&self, lifetime: SignedDuration) -> bool {
        let is_late = |neighbour: &Neighbour| self.age(neighbour).is_some_and(|age| age > lifetime);
        !self.parts.iter().any(|(_, neighbour)| neighbour.result.is_of_lingering() || is_late(neighbour))
    }

    /// What it is called.
    pub fn subject(&self) -> Subject {
        Subject::Link(self.source.clone(), self.destination.clone())
    }
}
