//! What changed between two judgements of one estate, by check and subject.

use crate::report::Report;
use exchange_preflight_checks::model::finding::{Finding, Subject, Verdict};
use std::collections::{BTreeMap, BTreeSet};

/// What became of one check's word about one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It passed, and is a trouble now.
    Broke,
    /// It was not judged before, and is a trouble now.
    New,
    /// It was a trouble and still is, perhaps of another weight.
    StillFailing,
    /// It was a trouble, and passes now.
    Fixed,
    /// It was a trouble, and is not judged any more: the subject is gone, or could not be asked about.
    Gone,
}

impl Kind {
    /// The word that people and machines read.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Broke => "broke",
            Self::New => "new",
            Self::StillFailing => "still failing",
            Self::Fixed => "fixed",
            Self::Gone => "gone",
        }
    }
}

/// One change.
pub struct Change<'a> {
    /// What became of it.
    pub kind: Kind,
    /// The finding before, if there was one.
    pub before: Option<&'a Finding>,
    /// The finding after, if there is one.
    pub after: Option<&'a Finding>,
}

impl<'a> Change<'a> {
    /// The finding that speaks: what is, else what was.
    pub fn finding(&self) -> Option<&'a Finding> {
        self.after.or(self.before)
    }
}

/// All changes, the worst kind first, then in the order of the report.
pub fn compare<'a>(before: &'a Report, after: &'a Report) -> Vec<Change<'a>> {
    let (old, new) = (by_key(before), by_key(after));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    let mut changes: Vec<_> = keys
        .into_iter()
        .filter_map(|key| {
            let (before, after) = (old.get(key).copied(), new.get(key).copied());
            Some(Change { kind: kind(before, after)?, before, after })
        })
        .collect();
    let place = |change: &Change<'a>| {
        let (finding, report) = match change.after {
            Some(finding) => (finding, after),
            None => (change.before?, before),
        };
        report.findings.iter().position(|other| std::ptr::eq(other, finding))
    };
    changes.sort_by_key(|change| (change.kind, place(change)));
    changes
}

/// 1 where something broke or came that fails, 3 where something came that cannot be told, else 0.
pub fn exit_code(changes: &[Change<'_>]) -> u8 {
    let worse = changes.iter().filter(|change| matches!(change.kind, Kind::Broke | Kind::New));
    match worse.filter_map(|change| change.after).map(|finding| finding.verdict).max() {
        Some(Verdict::Fail) => 1,
        Some(Verdict::Unknown) => 3,
        _ => 0,
    }
}

fn kind(before: Option<&Finding>, after: Option<&Finding>) -> Option<Kind> {
    let is_trouble = |finding: Option<&Finding>| finding.is_some_and(|finding| finding.verdict.is_trouble());
    let passes = |finding: Option<&Finding>| finding.is_some_and(|finding| finding.verdict == Verdict::Pass);
    match (is_trouble(before), is_trouble(after)) {
        (true, true) => Some(Kind::StillFailing),
        (true, false) if passes(after) => Some(Kind::Fixed),
        (true, false) => Some(Kind::Gone),
        (false, true) if passes(before) => Some(Kind::Broke),
        (false, true) => Some(Kind::New),
        (false, false) => None,
    }
}

fn by_key(report: &Report) -> BTreeMap<(&'static str, &Subject), &Finding> {
    report.findings.iter().map(|finding| ((finding.check.id, &finding.subject), finding)).collect()
}
