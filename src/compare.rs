//! What changed between two judgements of one estate, by check and subject.

use crate::{recording::Recording, report::Report};
use exchange_preflight_checks::{
    CHECKS,
    model::finding::{Finding, Subject, Verdict},
};
use std::collections::{BTreeMap, BTreeSet};

/// What became of one check's word about one subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// It passed, and is a trouble now.
    Broke,
    /// It was not judged before, and is a trouble now.
    New,
    /// It was a trouble, and is a graver one now.
    Worse,
    /// It was a trouble and still is, of the same weight or a lesser one.
    StillFailing,
    /// It was a trouble, and passes now.
    Fixed,
    /// It is not judged any more: the subject is gone, or could not be asked about.
    Gone,
}

impl Kind {
    /// The word that people and machines read.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Broke => "broke",
            Self::New => "new",
            Self::Worse => "worse",
            Self::StillFailing => "still failing",
            Self::Fixed => "fixed",
            Self::Gone => "gone",
        }
    }
}

/// One change.
#[derive(Clone, Copy)]
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

/// All changes, the worst kind first, then in the order of the report. What follows from another change is left out.
pub fn compare<'a>(before: &'a Report, after: &'a Report) -> Vec<Change<'a>> {
    let (old, new) = (by_key(before), by_key(after));
    let keys: BTreeSet<Key<'a>> = old.keys().chain(new.keys()).copied().collect();
    let changed: BTreeMap<Key<'a>, Change<'a>> = keys
        .into_iter()
        .filter_map(|key| {
            let (before, after) = (old.get(&key).copied(), new.get(&key).copied());
            Some((key, Change { kind: kind(before, after)?, before, after }))
        })
        .collect();
    // A change is left out only for another that is at least as grave: a new Fail does not hide behind an old one.
    let follows = |change: &Change<'a>| {
        let trouble = if change.kind < Kind::Fixed { change.after } else { change.before };
        let cause = trouble.and_then(|finding| finding.because.as_ref());
        let cause = cause.and_then(|(check, subject)| changed.get(&(*check, subject)));
        cause.is_some_and(|cause| cause.kind <= change.kind)
    };
    let order = |change: &Change<'a>| {
        let check = change.finding().map(|finding| finding.check.id);
        CHECKS.iter().position(|other| Some(other.meta().id) == check)
    };
    let mut told: Vec<_> = changed.values().filter(|change| !follows(change)).copied().collect();
    told.sort_by_key(|change| (change.kind, order(change)));
    told
}

/// 1 where something broke, came or grew worse that fails now, 3 where something came that cannot be told, else 0.
pub fn exit_code(changes: &[Change<'_>]) -> u8 {
    let worse = changes.iter().filter(|change| matches!(change.kind, Kind::Broke | Kind::New | Kind::Worse));
    match worse.filter_map(|change| change.after).map(|finding| finding.verdict).max() {
        Some(Verdict::Fail) => 1,
        Some(Verdict::Unknown) => 3,
        _ => 0,
    }
}

/// Why two runs may differ without anything having changed: they were not asked the same, or not from the same place.
pub fn differences(before: &Recording, after: &Recording) -> Vec<String> {
    let (one, other) = (&before.plan, &after.plan);
    let mut differ = Vec::new();
    let mut note = |differs: bool, what: &str| differ.extend(differs.then(|| what.to_string()));
    note(before.started > after.started, "the first recording is the later one");
    note(before.vantage.host != after.vantage.host, "they were made from different machines");
    note(one.exchange_vantage != other.exchange_vantage, "only one was made with --exchange-vantage");
    note(one.selection != other.selection, "they ran different checks (--only, --skip)");
    note(one.clock != other.clock, "their limits for clocks differ");
    note(one.servers != other.servers, "different servers were stated");
    note(one.deep != other.deep, "only one was made with --deep");
    note(one.spn_scan != other.spn_scan, "only one looked at all SPNs of the forest (--spn-scan)");
    note(one.prove_login != other.prove_login, "only one was made with --prove-login");
    note(one.logon != other.logon, "they were not made by the same logon (--user, --logon)");
    note(before.interrupted || after.interrupted, "a run was interrupted");
    differ
}

fn kind(before: Option<&Finding>, after: Option<&Finding>) -> Option<Kind> {
    let trouble = |finding: Option<&Finding>| finding.map(|f| f.verdict).filter(|verdict| verdict.is_trouble());
    let passes = |finding: Option<&Finding>| finding.is_some_and(|finding| finding.verdict == Verdict::Pass);
    match (trouble(before), trouble(after)) {
        (Some(before), Some(after)) if after > before => Some(Kind::Worse),
        (Some(_), Some(_)) => Some(Kind::StillFailing),
        (Some(_), None) if passes(after) => Some(Kind::Fixed),
        (Some(_), None) => Some(Kind::Gone),
        (None, Some(_)) if passes(before) => Some(Kind::Broke),
        (None, Some(_)) => Some(Kind::New),
        (None, None) => (passes(before) && after.is_none()).then_some(Kind::Gone),
    }
}

/// A finding's identity.
type Key<'a> = (&'static str, &'a Subject);

fn by_key(report: &Report) -> BTreeMap<Key<'_>, &Finding> {
    report.findings.iter().map(|finding| ((finding.check.id, &finding.subject), finding)).collect()
}
