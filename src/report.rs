//! From recordings to the one answer that everything else reads: folded findings, their causes, the counts, the gate.

use crate::recording::Recording;
use exchange_preflight_checks::{
    CHECKS,
    model::{
        cause,
        check::judge,
        clocks::clock_of,
        estate::Estate,
        evidence::Vantage,
        finding::{Finding, Verdict, fold},
    },
};
use jiff::Timestamp;

/// What is made of troubles that are no Fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Strictness {
    /// A Warn closes the gate like a Fail.
    pub fail_on_warn: bool,
    /// What an Unknown does.
    pub on_unknown: OnUnknown,
}

/// What an Unknown does to the gate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum OnUnknown {
    /// Exit code 3 where nothing failed.
    #[default]
    Report,
    /// It counts as a Fail.
    Fail,
    /// It counts as nothing.
    Ignore,
}

/// The judgement of one run, or of several from different vantages.
pub struct Report {
    /// Who judged.
    pub tool: String,
    /// From where was looked.
    pub vantages: Vec<Vantage>,
    /// The domain.
    pub domain: String,
    /// The forest root, where controllers told it and agree.
    pub forest: Option<String>,
    /// How many controllers and servers were examined.
    pub controllers: usize,
    /// See `controllers`.
    pub servers: usize,
    /// When the first run began.
    pub started: Timestamp,
    /// When the last run ended.
    pub finished: Timestamp,
    /// All findings, in the order of `CHECKS` and then of their subjects.
    pub findings: Vec<Finding>,
    /// What is worth saying and judges nothing.
    pub notes: Vec<String>,
    /// The answer.
    pub gate: Gate,
}

/// The answer, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gate {
    /// The exit code.
    pub exit_code: u8,
    /// One sentence.
    pub reason: String,
}

impl Gate {
    /// May the change go on?
    pub fn is_open(&self) -> bool {
        self.exit_code == 0
    }
}

/// How many findings of each verdict, leaving out those that follow from another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([usize; 5]);

impl Counts {
    /// How many of one verdict.
    pub fn of(&self, verdict: Verdict) -> usize {
        self.0[verdict as usize]
    }
}

impl Report {
    /// Judges. The recordings must be of one estate; the error names what differs.
    pub fn of(recordings: &[Recording], strictness: Strictness) -> Result<Self, String> {
        let Some(first) = recordings.first() else { return Err("there is no recording to judge".into()) };
        for other in &recordings[1..] {
            same_estate(first, other)?;
        }
        let mut findings = Vec::new();
        for recording in recordings {
            let mut judged = judge(&recording.plan, CHECKS, &recording.evidence);
            for place in judged.iter_mut().flat_map(|finding| &mut finding.places) {
                place.vantage = Some(recording.vantage.clone());
            }
            findings.append(&mut judged);
        }
        let order_of = |id: &str| CHECKS.iter().position(|check| check.meta().id == id).unwrap_or(usize::MAX);
        let mut findings = fold(findings, order_of);
        cause::link(&mut findings);

        let estate = Estate::learn(&first.plan, &first.evidence);
        let interrupted = recordings.iter().any(|recording| recording.interrupted);
        let gate = gate(&findings, strictness, interrupted);
        Ok(Self {
            tool: format!("exchange-preflight {}", env!("CARGO_PKG_VERSION")),
            vantages: recordings.iter().map(|recording| recording.vantage.clone()).collect(),
            domain: first.plan.domain.clone(),
            forest: estate.forest.agreed().cloned(),
            controllers: estate.controllers.len(),
            servers: estate.servers.len(),
            started: recordings.iter().map(|r| r.started).min().unwrap_or(first.started),
            finished: recordings.iter().map(|r| r.finished).max().unwrap_or(first.finished),
            notes: recordings.iter().flat_map(notes).collect(),
            findings,
            gate,
        })
    }

    /// The counts of the findings that stand for themselves.
    pub fn counts(&self) -> Counts {
        counts(&self.findings)
    }

    /// Findings that are troubles and follow from no other, the gravest first, then as in `findings`.
    pub fn root_causes(&self) -> Vec<&Finding> {
        let mut roots: Vec<_> =
            self.findings.iter().filter(|finding| finding.because.is_none() && finding.verdict.is_trouble()).collect();
        roots.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
        roots
    }

    /// What follows from a finding, directly or through others.
    pub fn consequences<'a>(&'a self, of: &Finding) -> Vec<&'a Finding> {
        let mut found: Vec<&Finding> = Vec::new();
        let is_because = |finding: &Finding, cause: &Finding| {
            finding
                .because
                .as_ref()
                .is_some_and(|(check, subject)| *check == cause.check.id && *subject == cause.subject)
        };
        let mut causes = vec![of];
        while let Some(cause) = causes.pop() {
            let next: Vec<&Finding> = self.findings.iter().filter(|finding| is_because(finding, cause)).collect();
            causes.extend(&next);
            found.extend(next);
        }
        found
    }
}

/// Two recordings can be judged or compared together only when they are of one estate. The error names the difference.
pub fn same_estate(one: &Recording, other: &Recording) -> Result<(), String> {
    let forest = |recording: &Recording| Estate::learn(&recording.plan, &recording.evidence).forest.agreed().cloned();
    if one.plan.domain != other.plan.domain {
        let (a, b) = (&one.plan.domain, &other.plan.domain);
        return Err(format!("these are recordings of two estates: one is of the domain {a}, the other of {b}"));
    }
    if let (Some(a), Some(b)) = (forest(one), forest(other))
        && a != b
    {
        return Err(format!("these are recordings of two estates: one is of the forest {a}, the other of {b}"));
    }
    Ok(())
}

fn counts(findings: &[Finding]) -> Counts {
    let mut counts = Counts::default();
    for finding in findings.iter().filter(|finding| finding.because.is_none()) {
        counts.0[finding.verdict as usize] += 1;
    }
    counts
}

fn gate(findings: &[Finding], strictness: Strictness, interrupted: bool) -> Gate {
    let counts = counts(findings);
    let gate = |exit_code, reason: String| Gate { exit_code, reason };
    let judged = findings.len() - findings.iter().filter(|finding| finding.verdict == Verdict::Skip).count();
    let worst = |verdict| findings.iter().find(|f| f.because.is_none() && f.verdict == verdict);
    let named = |verdict, word: &str| {
        let (count, first) = (counts.of(verdict), worst(verdict));
        let first = first.map(|f| format!("{} of {}", f.check.id, f.subject)).unwrap_or_default();
        if count == 1 { format!("{first} {word}") } else { format!("{first} and {} more {word}", count - 1) }
    };
    if interrupted {
        return gate(130, "the run was interrupted; what was not asked any more is unknown".into());
    }
    if judged == 0 {
        return gate(2, "nothing was judged: every check was skipped".into());
    }
    if counts.of(Verdict::Fail) > 0 {
        return gate(1, named(Verdict::Fail, "failed"));
    }
    if strictness.on_unknown == OnUnknown::Fail && counts.of(Verdict::Unknown) > 0 {
        return gate(
            1,
            format!("{}, and you asked that to count as failed", named(Verdict::Unknown, "could not be told")),
        );
    }
    if strictness.fail_on_warn && counts.of(Verdict::Warn) > 0 {
        return gate(1, format!("{}, and you asked that to count as failed", named(Verdict::Warn, "warned")));
    }
    if strictness.on_unknown == OnUnknown::Report && counts.of(Verdict::Unknown) > 0 {
        return gate(3, format!("nothing failed, but {}", named(Verdict::Unknown, "could not be told")));
    }
    let and_warned = match counts.of(Verdict::Warn) {
        0 => String::new(),
        count => format!(", {count} warned"),
    };
    let and_unknown = match counts.of(Verdict::Unknown) {
        0 => String::new(),
        count => format!(", {count} unknown and left out as you asked"),
    };
    gate(0, format!("nothing failed: {} passed{and_warned}{and_unknown}", counts.of(Verdict::Pass)))
}

/// What is worth saying about a run and judges nothing.
fn notes(recording: &Recording) -> Vec<String> {
    let estate = Estate::learn(&recording.plan, &recording.evidence);
    let mut notes = Vec::new();
    let root = estate.time_root.as_deref().or_else(|| estate.controllers.keys().next().map(String::as_str));
    if let Some((root, offset)) = root.and_then(|root| Some((root, clock_of(root, &recording.evidence).offset()?)))
        && offset.magnitude().low > recording.plan.clock.warn
    {
        let ours = if offset.middle().is_negative() { "ahead of" } else { "behind" };
        let by = offset.middle().abs().round(jiff::Unit::Second).unwrap_or_default();
        let host = &recording.vantage.host;
        notes.push(format!(
            "The clock of this machine ({host}) is {by:#} {ours} {root}. No verdict depends on it, but instants in this report do."
        ));
    }
    if estate.servers.is_empty() {
        notes.push(
            "No server that carries mail was stated, and without logging on none can be found: only controllers were \
             judged. Name them with --server or in a plan."
                .into(),
        );
    }
    if !recording.carried.is_empty() {
        let count = recording.carried.len();
        notes.push(format!(
            "{count} observations are of kinds that this version does not know; they judge nothing here."
        ));
    }
    notes
}
