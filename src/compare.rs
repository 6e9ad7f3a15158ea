//! What changed between two judgements of one estate, by check and subject.

use crate::{
    recording::{Origin, Recording},
    renewal::Renewal,
    report::Report,
};
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

/// All changes, the worst kind first, then in the order of the report. What follows from another change is left out. What is
/// said of a renewed certificate is held against what was said of the one in whose place it stands: that the thumbprint is
/// another is no change of its own.
pub fn compare<'a>(before: &'a Report, after: &'a Report, renewal: Option<&Renewal>) -> Vec<Change<'a>> {
    let predecessors = renewal.map(Renewal::predecessors).unwrap_or_default();
    let former = |subject: &Subject| match subject {
        Subject::Certificate(new) => predecessors.get(new).cloned().map(Subject::Certificate),
        _ => None,
    };
    let (old, new) = (by_key(before), by_key(after));
    let mut changed: BTreeMap<Key, Change<'a>> = BTreeMap::new();
    let mut matched: BTreeSet<Key> = BTreeSet::new();
    for (key, after) in &new {
        let inherited = || Some((key.0, former(&key.1)?));
        let known = Some(key.clone()).filter(|key| old.contains_key(key)).or_else(inherited);
        let before = known.as_ref().and_then(|key| old.get(key)).copied();
        matched.extend(known);
        if let Some(kind) = kind(before, Some(after)) {
            changed.insert(key.clone(), Change { kind, before, after: Some(after) });
        }
    }
    for (key, before) in old.iter().filter(|(key, _)| !matched.contains(key)) {
        if let Some(kind) = kind(Some(before), None) {
            changed.insert(key.clone(), Change { kind, before: Some(before), after: None });
        }
    }
    // What was said of the former certificate stands, by now, with the new one.
    let successors: BTreeMap<_, _> = predecessors.iter().map(|(new, old)| (old.as_str(), new)).collect();
    let latter = |subject: &Subject| match subject {
        Subject::Certificate(old) => successors.get(old.as_str()).map(|new| Subject::Certificate((*new).clone())),
        _ => None,
    };
    // A change is left out only for another that is at least as grave: a new Fail does not hide behind an old one.
    let follows = |change: &Change<'a>| {
        let trouble = if change.kind < Kind::Fixed { change.after } else { change.before };
        let Some((check, subject)) = trouble.and_then(|finding| finding.because.clone()) else { return false };
        let of = |subject: Subject| changed.get(&(check, subject));
        let cause = of(subject.clone()).or_else(|| of(latter(&subject)?));
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

/// 1 where something broke, came or grew worse that fails now, or a renewal changed what it should not; 3 where something came
/// that cannot be told; else 0.
pub fn exit_code(changes: &[Change<'_>], renewal: Option<&Renewal>) -> u8 {
    if renewal.is_some_and(Renewal::is_marred) {
        return 1;
    }
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
    note(one.inputs.files != other.inputs.files, "they were not given the same files (--input)");
    note(before.origin == Origin::Supposed, "the first is supposed, not seen");
    note(after.origin == Origin::Supposed, "the second is supposed, not seen");
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
type Key = (&'static str, Subject);

fn by_key(report: &Report) -> BTreeMap<Key, &Finding> {
    report.findings.iter().map(|finding| ((finding.check.id, finding.subject.clone()), finding)).collect()
}
