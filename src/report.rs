//! From recordings to the one answer that everything else reads: folded findings, their causes, the counts, the gate.

use crate::{
    recording::{Origin, Recording},
    sightings::{self, Connections, SeenCertificate},
};
use exchange_preflight_checks::{
    CHECKS,
    model::{
        cause,
        check::judge,
        clocks::clock_of,
        estate::Estate,
        evidence::Vantage,
        finding::{Finding, Subject, Verdict, fold},
        meta::{Meta, Tier},
    },
};
use jiff::Timestamp;
use std::collections::BTreeSet;

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
    /// How many controllers and servers could be examined: those whose names resolve.
    pub controllers: usize,
    /// See `controllers`.
    pub servers: usize,
    /// When the first run began.
    pub started: Timestamp,
    /// When the last run ended.
    pub finished: Timestamp,
    /// All findings, in the order of `CHECKS` and then of their subjects.
    pub findings: Vec<Finding>,
    /// Every server's own certificate once; what faces outside comes first.
    pub certificates: Vec<SeenCertificate>,
    /// Every port that speaks TLS and was connected to, in the order of the evidence.
    pub connections: Vec<Connections>,
    /// Checks that judged nothing, by why.
    pub unjudged: Unjudged,
    /// What is worth saying and judges nothing.
    pub notes: Vec<String>,
    /// A run was interrupted.
    pub interrupted: bool,
    /// It was supposed by a rehearsal, and not seen.
    pub supposed: bool,
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

/// Checks that judged nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unjudged {
    /// They were not to run.
    pub left_out: Vec<&'static str>,
    /// They need somebody who has logged on, and nobody has.
    pub for_users: Vec<&'static str>,
    /// They log on to servers, and nobody asked for that.
    pub on_request: Vec<&'static str>,
    /// They need a file, an export or a log, and nobody gave one.
    pub for_inputs: Vec<&'static str>,
    /// There was nothing for them to judge.
    pub idle: Vec<&'static str>,
}

impl Report {
    /// Judges. The recordings must be of one estate; the error names what differs.
    pub fn of(recordings: &[Recording], strictness: Strictness) -> Result<Self, String> {
        let Some(first) = recordings.first() else { return Err("there is no recording to judge".into()) };
        for other in &recordings[1..] {
            same_estate(first, other)?;
        }
        let vantages = vantages(recordings);
        let mut findings = Vec::new();
        for (recording, vantage) in recordings.iter().zip(&vantages) {
            let mut judged = judge(&recording.plan, CHECKS, &recording.evidence);
            if recording.origin == Origin::Supposed {
                excuse(&mut judged, recording);
            }
            for place in judged.iter_mut().flat_map(|finding| &mut finding.places) {
                place.vantage = Some(vantage.clone());
            }
            findings.append(&mut judged);
        }
        let order_of = |id: &str| CHECKS.iter().position(|check| check.meta().id == id).unwrap_or(usize::MAX);
        let mut findings = fold(findings, order_of);
        cause::link(&mut findings);

        let estate = Estate::learn(&first.plan, &first.evidence);
        let resolves = |host: &str| estate.addresses(host).next().is_some();
        let interrupted = recordings.iter().any(|recording| recording.interrupted);
        let mut gate = gate(&findings, strictness, interrupted);
        if estate.servers.is_empty() {
            gate.reason.push_str(" (no server that carries mail is known)");
        }
        let unjudged = unjudged(recordings, &findings);
        match unjudged.for_users.len() {
            0 => {}
            _ if gate.exit_code == 2 => {
                gate.reason = "nothing was judged: it needs a user of the domain (--user)".into();
            }
            count => gate.reason = format!("{}; {count} checks need a user (--user)", gate.reason),
        }
        if !unjudged.on_request.is_empty() {
            gate.reason = format!("{}; {} checks wait for --prove-login", gate.reason, unjudged.on_request.len());
        }
        let runs = || recordings.iter().zip(&vantages);
        Ok(Self {
            tool: format!("exchange-preflight {}", env!("CARGO_PKG_VERSION")),
            domain: first.plan.domain.clone(),
            forest: estate.forest.agreed().cloned(),
            controllers: estate.controllers.keys().filter(|host| resolves(host)).count(),
            servers: estate.servers.keys().filter(|host| resolves(host)).count(),
            started: recordings.iter().map(|r| r.started).min().unwrap_or(first.started),
            finished: recordings.iter().map(|r| r.finished).max().unwrap_or(first.finished),
            certificates: sightings::certificates(recordings, &vantages, &findings),
            connections: runs().flat_map(|(run, vantage)| sightings::connections(run, &vantage.host)).collect(),
            notes: notes(recordings, &vantages, &estate, &findings),
            vantages,
            unjudged,
            interrupted,
            supposed: recordings.iter().any(|recording| recording.origin == Origin::Supposed),
            findings,
            gate,
        })
    }

    /// The counts of the findings that stand for themselves.
    pub fn counts(&self) -> Counts {
        counts(&self.findings)
    }

    /// The certificate that a subject names.
    pub fn certificate(&self, subject: &Subject) -> Option<&SeenCertificate> {
        let Subject::Certificate(thumbprint) = subject else { return None };
        self.certificates.iter().find(|certificate| certificate.thumbprint == *thumbprint)
    }

    /// Findings that are troubles and follow from no other, the gravest first, then as in `findings`.
    pub fn root_causes(&self) -> Vec<&Finding> {
        let mut roots: Vec<_> =
            self.findings.iter().filter(|finding| finding.because.is_none() && finding.verdict.is_trouble()).collect();
        roots.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
        roots
    }

    /// What follows from a finding, directly or through others, in the order of the report.
    pub fn consequences<'a>(&'a self, of: &'a Finding) -> Vec<&'a Finding> {
        let mut explained = BTreeSet::from([(of.check.id, &of.subject)]);
        // A chain of causes is no longer than there are kinds of trouble, so this ends soon.
        loop {
            let follows = |finding: &&Finding| {
                let cause = finding.because.as_ref();
                cause.is_some_and(|(check, subject)| explained.contains(&(*check, subject)))
            };
            let found: Vec<_> = self.findings.iter().filter(follows).collect();
            if found.len() + 1 == explained.len() {
                return found;
            }
            explained.extend(found.iter().map(|finding| (finding.check.id, &finding.subject)));
        }
    }
}

/// What a rehearsal could not ask is no alarm: a list of revoked certificates, an issuer at its URL, the platform's own word.
fn excuse(judged: &mut [Finding], Recording { plan, evidence, .. }: &Recording) {
    let estate = Estate::learn(plan, evidence);
    for check in CHECKS {
        let is_its =
            |finding: &&mut Finding| finding.check.id == check.meta().id && finding.verdict == Verdict::Unknown;
        let mut unknown = judged.iter_mut().filter(is_its).peekable();
        if unknown.peek().is_none() {
            continue;
        }
        let open = check.needs(&estate, evidence).into_iter().filter(|need| !evidence.holds(&need.ask));
        let open: BTreeSet<Subject> = open.map(|need| need.subject).collect();
        let subjects =
            |finding: &Finding| [&finding.subject].into_iter().chain(&finding.speaks_for).any(|s| open.contains(s));
        unknown.filter(|finding| subjects(finding)).for_each(make_skip);
    }
}

/// With this begins what is said of what cannot be rehearsed.
const UNREHEARSED: &str = "cannot be rehearsed: ";

/// Why it cannot be rehearsed, if that is what the finding says.
pub fn unrehearsed(finding: &Finding) -> Option<&str> {
    let named = finding.named.as_deref().and_then(|named| finding.seen.strip_prefix(named)?.strip_prefix(": "));
    let seen = named.unwrap_or(&finding.seen);
    seen.strip_prefix(UNREHEARSED).filter(|_| finding.verdict == Verdict::Skip)
}

fn make_skip(finding: &mut Finding) {
    let named = finding.named.as_ref().map(|named| format!("{named}: ")).unwrap_or_default();
    let excused = |seen: &str| match seen.strip_prefix(&named) {
        Some(rest) => format!("{named}{UNREHEARSED}{rest}"),
        None => format!("{UNREHEARSED}{seen}"),
    };
    (finding.verdict, finding.seen) = (Verdict::Skip, excused(&finding.seen));
    finding.remedy.clear();
    for place in finding.places.iter_mut().filter(|place| place.verdict == Verdict::Unknown) {
        (place.verdict, place.seen) = (Verdict::Skip, excused(&place.seen));
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

/// The vantages, each under a name of its own: of one machine that looked several times, with the instant or the number of the run.
fn vantages(recordings: &[Recording]) -> Vec<Vantage> {
    let second = |recording: &Recording| recording.started.strftime("%Y-%m-%d %H:%M:%S UTC").to_string();
    let named = recordings.iter().enumerate().map(|(index, recording)| {
        let Vantage { host, addresses } = &recording.vantage;
        let same: Vec<_> = recordings.iter().filter(|other| other.vantage.host == *host).collect();
        let host = match same.iter().filter(|other| second(other) == second(recording)).count() {
            _ if same.len() == 1 => host.clone(),
            1 => format!("{host} ({})", second(recording)),
            _ => format!("{host} (run {})", index + 1),
        };
        Vantage { host, addresses: addresses.clone() }
    });
    named.collect()
}

fn unjudged(recordings: &[Recording], findings: &[Finding]) -> Unjudged {
    let is_judged = |meta: &Meta| {
        let said = |finding: &Finding| finding.verdict != Verdict::Skip || finding.subject != Subject::Estate;
        findings.iter().any(|finding| finding.check.id == meta.id && said(finding))
    };
    let is_unwanted = |meta: &Meta| {
        recordings.iter().all(|recording| recording.plan.selection.reason_to_skip(meta.id, meta.area).is_some())
    };
    let nobody_logged_on = recordings.iter().all(|recording| recording.plan.logon.is_none());
    let nobody_gave = recordings.iter().all(|recording| recording.plan.inputs.is_empty());
    let nobody_asked = recordings.iter().all(|recording| !recording.plan.prove_login);
    let is_for_users = |tier| matches!(tier, Tier::User | Tier::Proof) || tier == Tier::UserOrInput && nobody_gave;
    let mut unjudged = Unjudged::default();
    for meta in CHECKS.iter().map(|check| check.meta()).filter(|meta| !is_judged(meta)) {
        let why = if is_unwanted(meta) {
            &mut unjudged.left_out
        } else if meta.tier == Tier::Input && nobody_gave {
            &mut unjudged.for_inputs
        } else if is_for_users(meta.tier) && nobody_logged_on {
            &mut unjudged.for_users
        } else if meta.tier == Tier::Proof && nobody_asked {
            &mut unjudged.on_request
        } else {
            &mut unjudged.idle
        };
        why.push(meta.id);
    }
    unjudged
}

/// The subject of a finding in a sentence: a certificate by its name and the first of its places.
pub fn called(finding: &Finding) -> String {
    let by_name = || {
        // No place has a space before it but the first, however the certificate is called.
        let (name, places) = finding.named.as_ref()?.rsplit_once(" at ")?;
        let mut places = places.split(", ");
        let first = places.next()?;
        let more = match places.count() {
            0 => String::new(),
            1 => " (and 1 more place)".into(),
            count => format!(" (and {count} more places)"),
        };
        Some(format!("{name} at {first}{more}"))
    };
    by_name().unwrap_or_else(|| finding.subject.to_string())
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
    let is_nothing_judged = findings.iter().all(|finding| finding.verdict == Verdict::Skip);
    let worst = |verdict| findings.iter().find(|f| f.because.is_none() && f.verdict == verdict);
    let named = |verdict, word: &str| {
        let (count, first) = (counts.of(verdict), worst(verdict));
        let first = first.map(|f| format!("{} of {}", f.check.id, called(f))).unwrap_or_default();
        if count == 1 { format!("{first} {word}") } else { format!("{first} and {} more {word}", count - 1) }
    };
    if interrupted {
        return gate(130, "the run was interrupted; what was not asked any more is unknown".into());
    }
    if is_nothing_judged {
        return gate(2, "nothing was judged: no host was found, or every check was left out".into());
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

/// What is worth saying about all runs together and judges nothing.
fn notes(recordings: &[Recording], called: &[Vantage], estate: &Estate, findings: &[Finding]) -> Vec<String> {
    let mut notes = Vec::new();
    for (recording, called) in recordings.iter().zip(called) {
        notes.extend(own_clock(recording, &called.host, findings));
        if !recording.carried.is_empty() {
            notes.push(match recording.carried.len() {
                1 => "1 observation is of a kind that this version does not know; it judges nothing here.".into(),
                count => format!(
                    "{count} observations are of kinds that this version does not know; they judge nothing here."
                ),
            });
        }
    }
    let vantages: BTreeSet<_> = recordings.iter().map(|recording| &recording.vantage).collect();
    if vantages.len() < recordings.len() {
        notes.push(
            "Some of these recordings are of one and the same vantage: the worst of them is told. To see what changed \
             between two, use compare."
                .into(),
        );
    }
    if estate.servers.is_empty() && !estate.controllers.is_empty() {
        notes.push(
            if estate.plan.logon.is_some() {
                "No server that carries mail was stated, and the directory shows none: only controllers were judged. Name \
                 them with --server or in a plan."
            } else {
                "No server that carries mail was stated, and without logging on (--user) none can be found: only \
                 controllers were judged. Name them with --server or in a plan."
            }
            .into(),
        );
    }
    notes
}

/// Is this machine's own clock off? A host whose clock passed is who may say so.
fn own_clock(recording: &Recording, host: &str, findings: &[Finding]) -> Option<String> {
    let mut passed = findings.iter().filter(|finding| finding.verdict == Verdict::Pass && !finding.measures.is_empty());
    let witness = passed.find_map(|finding| finding.subject.host())?;
    let offset = clock_of(witness, &recording.evidence).offset()?;
    if offset.magnitude().low <= recording.plan.clock.warn {
        return None;
    }
    let ours = if offset.middle().is_negative() { "ahead of" } else { "behind" };
    let by = offset.middle().abs().round(jiff::Unit::Second).unwrap_or_default();
    Some(format!(
        "The clock of this machine ({host}) is {by:#} {ours} {witness}. No verdict depends on it, but instants in this report do."
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn recording(host: &str, started: &str, skip: &[&str]) -> Recording {
        let recording = json!({
            "format": "exchange-preflight recording",
            "version": 1,
            "tool": "0.1.0",
            "vantage": { "host": host, "addresses": [] },
            "started": started,
            "finished": "2026-11-23T00:10:00Z",
            "plan": { "domain": "contoso.com", "selection": { "only": [], "skip": skip } },
            "observations": [],
        });
        Recording::parse(&recording.to_string()).unwrap()
    }

    #[test]
    fn runs_of_one_machine_are_told_apart() {
        let hosts = |recordings: &[Recording]| -> Vec<_> {
            vantages(recordings).into_iter().map(|vantage| vantage.host).collect()
        };
        let (at, later) = ("2026-11-23T00:00:00Z", "2026-11-23T00:05:00Z");
        let of = |host, started| recording(host, started, &[]);
        assert_eq!(hosts(&[of("vm", at), of("other", at)]), ["vm", "other"]);
        let by_time = ["vm (2026-11-23 00:00:00 UTC)", "vm (2026-11-23 00:05:00 UTC)"];
        assert_eq!(hosts(&[of("vm", at), of("vm", later)]), by_time);
        assert_eq!(hosts(&[of("vm", at), of("vm", at)]), ["vm (run 1)", "vm (run 2)"]);
    }

    #[test]
    fn what_was_left_out_is_told_from_what_had_nothing_to_judge() {
        let at = "2026-11-23T00:00:00Z";
        let report = Report::of(&[recording("vm", at, &["clock"])], Strictness::default()).unwrap();
        assert_eq!(report.unjudged.left_out, ["clock-agreement", "clock-source", "clock-witnesses"]);
        assert!(
            report.unjudged.idle.contains(&"certificate-single") && report.unjudged.idle.contains(&"smtp-reachable")
        );
        // Where one of two runs looked, nobody left it out.
        let both = [recording("vm", at, &["clock"]), recording("other", at, &[])];
        assert_eq!(Report::of(&both, Strictness::default()).unwrap().unjudged.left_out, [""; 0]);
    }
}
