//! From certificates of both sides to roots, by all that either side knows: a renewal must not look worse because the run after
//! it knew less.

use super::side::{Side, Spot};
use exchange_preflight_checks::facts::{
    certificate::Certificate,
    chain::{End, Way, best_way},
};
use jiff::Timestamp;
use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

/// All that either side knows of authorities.
pub(super) struct Lineage {
    above: Vec<Certificate>,
    roots: Vec<(Certificate, bool)>,
    looked_up: BTreeSet<Vec<u8>>,
    now: Timestamp,
    /// The intermediates of certificates whose way was found: many places show the same one.
    needed: RefCell<BTreeMap<Vec<u8>, Needed>>,
}

/// The intermediates that a peer needs which has none, in DER.
#[derive(Clone)]
struct Needed {
    between: Vec<Vec<u8>>,
    is_issuer_unknown: bool,
}

/// What a place does not send of a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// So many intermediates of those that are known to be needed.
    Of { missing: usize, sent: usize },
    /// Nobody knows who signed it, and nothing was sent.
    Unknown,
}

impl Lineage {
    pub(super) fn of(before: &Side, after: &Side) -> Self {
        let mut above: Vec<Certificate> = Vec::new();
        for one in before.above().into_iter().chain(after.above()) {
            if !above.iter().any(|known| known.der == one.der) {
                above.push(one);
            }
        }
        let mut roots: Vec<(Certificate, bool)> = Vec::new();
        for (root, is_public) in before.roots().into_iter().chain(after.roots()) {
            match roots.iter_mut().find(|(known, _)| known.der == root.der) {
                Some((_, known)) => *known |= is_public,
                None => roots.push((root, is_public)),
            }
        }
        let looked_up = before.looked_up().union(&after.looked_up()).cloned().collect();
        Self { above, roots, looked_up, now: after.seen.now, needed: RefCell::default() }
    }

    /// Does a public root stand above it?
    pub(super) fn is_public(&self, leaf: &Certificate) -> bool {
        let way = self.way(leaf, true);
        way.root().is_some() && way.fault.is_none()
    }

    /// Is it known that none does? Where its issuer is not known at all, it is not.
    pub(super) fn is_surely_not_public(&self, leaf: &Certificate) -> bool {
        if self.way(leaf, true).root().is_some() {
            return false;
        }
        let way = self.way(leaf, false);
        match way.end {
            End::Root(_) | End::SelfSigned => true,
            End::NoIssuer => !way.above.is_empty() && self.looked_up.contains(&way.last().issuer.der),
            End::Forged(_) | End::NotCheckable(_) | End::TooLong => false,
        }
    }

    /// What one place does not send; of several addresses the worst.
    pub(super) fn lacks(&self, side: &Side, spot: &Spot) -> Option<Lack> {
        let of = |shown| {
            let (leaf, sent) = (side.seen.leaf(shown), side.seen.others(shown));
            let needed = self.needed(leaf);
            if needed.is_issuer_unknown && sent.is_empty() && self.looked_up.contains(&leaf.issuer.der) {
                return Lack::Unknown;
            }
            let is_sent = |der: &&Vec<u8>| sent.iter().any(|other| other.der == **der);
            let count = needed.between.iter().filter(is_sent).count();
            Lack::Of { missing: needed.between.len() - count, sent: count }
        };
        let weight = |lack: &Lack| if let Lack::Of { missing, .. } = lack { *missing } else { usize::MAX };
        side.at(spot).map(of).max_by_key(weight)
    }

    fn needed(&self, leaf: &Certificate) -> Needed {
        if let Some(known) = self.needed.borrow().get(&leaf.der) {
            return known.clone();
        }
        let way = self.way(leaf, false);
        let between = way.between().filter(|step| !step.is_self_issued()).map(|step| step.der.clone());
        let is_issuer_unknown = matches!(way.end, End::NoIssuer) && way.above.is_empty() && !leaf.is_self_issued();
        let needed = Needed { between: between.collect(), is_issuer_unknown };
        self.needed.borrow_mut().insert(leaf.der.clone(), needed.clone());
        needed
    }

    fn way<'c>(&'c self, leaf: &'c Certificate, public_only: bool) -> Way<'c> {
        let above: Vec<_> = self.above.iter().collect();
        let roots: Vec<_> =
            self.roots.iter().filter(|(_, is_public)| *is_public || !public_only).map(|(root, _)| root).collect();
        best_way(leaf, &above, &roots, self.now)
    }
}

/// Why less is sent than was, if it is.
pub(super) fn is_shorter(had: Option<Lack>, has: Option<Lack>) -> Option<String> {
    let (had_missing, had_sent) = match had {
        Some(Lack::Of { missing, sent }) => (missing, sent),
        Some(Lack::Unknown) => return None,
        None => (0, 0),
    };
    match has? {
        Lack::Of { missing, .. } if missing > had_missing => {
            let which = if missing == 1 { "an intermediate".into() } else { format!("{missing} intermediates") };
            Some(format!("{which} of the new one is not sent: peers that fetch none refuse it"))
        }
        Lack::Unknown if had_sent > 0 => {
            Some("no intermediate is sent any more, and nobody here knows who signed the new one".into())
        }
        Lack::Of { .. } | Lack::Unknown => None,
    }
}
