//! The JSON report, version 1. Fields may be added; none changes. These types are the contract and no inner type is:
//! `exchange-preflight schema` prints them as a JSON schema.

use crate::{
    compare::{Change, exit_code},
    report::Report,
};
use exchange_preflight_checks::model::finding::{Finding, Measure, Verdict};
use jiff::SignedDuration;
use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use std::io;

/// The judgement of an estate.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "exchange-preflight report, version 1")]
struct JsonReport {
    /// `exchange-preflight/report/1`.
    schema: &'static str,
    /// The program and its version.
    tool: String,
    /// From where was looked.
    vantages: Vec<JsonVantage>,
    /// What was examined.
    estate: JsonEstate,
    /// When the first run began, RFC 3339, by the clock of the machine that ran.
    started: String,
    /// When the last run ended.
    finished: String,
    /// May the change go on?
    gate: JsonGate,
    /// Findings that follow from no other, by verdict.
    counts: JsonCounts,
    /// Every finding, in an order that does not depend on the network.
    findings: Vec<JsonFinding>,
    /// What is worth saying and judges nothing.
    notes: Vec<String>,
}

/// From where was looked.
#[derive(Serialize, JsonSchema)]
struct JsonVantage {
    /// The machine's own name.
    host: String,
    /// Its addresses, as far as they were used.
    addresses: Vec<String>,
}

/// What was examined.
#[derive(Serialize, JsonSchema)]
struct JsonEstate {
    /// The domain.
    domain: String,
    /// The forest's root domain; null where no controller told it, or they contradict each other.
    forest: Option<String>,
}

/// May the change go on?
#[derive(Serialize, JsonSchema)]
struct JsonGate {
    /// True for exit code 0.
    open: bool,
    /// 0 nothing failed and nothing is unknown; 1 something failed; 2 nothing was judged; 3 something is unknown; 130 interrupted.
    exit_code: u8,
    /// Why, in a sentence.
    reason: String,
}

/// Findings that follow from no other, by verdict.
#[derive(Serialize, JsonSchema)]
struct JsonCounts {
    /// As it should be.
    pass: usize,
    /// Not applicable, or not to be looked at.
    skip: usize,
    /// Does not break mail now.
    warn: usize,
    /// Asked, and could not be told.
    unknown: usize,
    /// Breaks mail.
    fail: usize,
    /// Troubles that somebody answers for.
    waived: usize,
    /// Troubles that follow from another finding and are counted there.
    consequences: usize,
}

/// What one check says about one subject.
#[derive(Serialize, JsonSchema)]
struct JsonFinding {
    /// The check's id; never used again for something else.
    check: &'static str,
    /// The check's area.
    area: &'static str,
    /// The word.
    verdict: JsonVerdict,
    /// A host, an endpoint (`host:port`, `host:port/udp`), a certificate (`sha1:` and 40 hexadecimal digits), or `estate`; the
    /// same whatever address answered.
    subject: String,
    /// Other subjects for which it speaks as well: the endpoints at which a certificate is shown.
    speaks_for: Vec<String>,
    /// Which of the troubles that the check knows this is, kebab-case; null where there is none, or where it has no name.
    code: Option<&'static str>,
    /// The check in a few words.
    title: &'static str,
    /// What should be.
    expected: String,
    /// What is.
    seen: String,
    /// What mends it, a line a step; indented lines are commands.
    remedy: Vec<String>,
    /// The finding from which this one follows.
    because: Option<JsonKey>,
    /// Where it was seen, each with the word there.
    places: Vec<JsonPlace>,
    /// Who answers for it; null where nobody does.
    waiver: Option<String>,
    /// What the rule rests on.
    evidence: Vec<&'static str>,
    /// Numbers, each with what is not known about it.
    measured: Vec<JsonMeasure>,
}

/// The word of a check.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum JsonVerdict {
    Pass,
    Skip,
    Warn,
    Unknown,
    Fail,
}

/// A finding's identity.
#[derive(Serialize, JsonSchema)]
struct JsonKey {
    /// The check's id.
    check: &'static str,
    /// The subject.
    subject: String,
}

/// Where a finding was made.
#[derive(Serialize, JsonSchema)]
struct JsonPlace {
    /// The machine that looked.
    vantage: Option<String>,
    /// The address that was asked; null where it does not matter.
    address: Option<String>,
    /// The word there.
    verdict: JsonVerdict,
    /// What was seen there.
    seen: String,
}

/// A number in seconds, as the interval in which it surely lies.
#[derive(Serialize, JsonSchema)]
struct JsonMeasure {
    /// What was measured.
    name: &'static str,
    /// The least it can be, seconds.
    low: f64,
    /// The most it can be, seconds.
    high: f64,
}

/// What changed between two recordings.
#[derive(Serialize, JsonSchema)]
#[schemars(title = "exchange-preflight comparison, version 1")]
struct JsonComparison {
    /// `exchange-preflight/comparison/1`.
    schema: &'static str,
    /// The program and its version.
    tool: String,
    /// 1 something broke, came or grew worse that fails; 3 something came that cannot be told; else 0.
    exit_code: u8,
    /// Why the two may differ although nothing changed.
    notes: Vec<String>,
    /// The changes, the worst kind first.
    changes: Vec<JsonChange>,
}

/// One change.
#[derive(Serialize, JsonSchema)]
struct JsonChange {
    /// `broke`, `new`, `worse`, `still failing`, `fixed` or `gone`.
    change: &'static str,
    /// The check's id.
    check: &'static str,
    /// The subject.
    subject: String,
    /// What was said before.
    before: Option<JsonFinding>,
    /// What is said after.
    after: Option<JsonFinding>,
}

/// Writes the report.
pub fn report(report: &Report, out: &mut dyn io::Write) -> io::Result<()> {
    write(&json_report(report), out)
}

/// Writes what changed.
pub fn comparison(changes: &[Change<'_>], notes: &[String], out: &mut dyn io::Write) -> io::Result<()> {
    let changes_told = changes.iter().filter_map(|change| {
        let finding = change.finding()?;
        Some(JsonChange {
            change: change.kind.word(),
            check: finding.check.id,
            subject: finding.subject.to_string(),
            before: change.before.map(json_finding),
            after: change.after.map(json_finding),
        })
    });
    let comparison = JsonComparison {
        schema: "exchange-preflight/comparison/1",
        tool: format!("exchange-preflight {}", env!("CARGO_PKG_VERSION")),
        exit_code: exit_code(changes),
        notes: notes.to_vec(),
        changes: changes_told.collect(),
    };
    write(&comparison, out)
}

/// Writes the schema of the report.
pub fn report_schema(out: &mut dyn io::Write) -> io::Result<()> {
    write(&schema_for!(JsonReport), out)
}

/// Writes the schema of a comparison.
pub fn comparison_schema(out: &mut dyn io::Write) -> io::Result<()> {
    write(&schema_for!(JsonComparison), out)
}

fn json_report(report: &Report) -> JsonReport {
    let counts = report.counts();
    let vantage = |vantage: &exchange_preflight_checks::model::evidence::Vantage| JsonVantage {
        host: vantage.host.clone(),
        addresses: vantage.addresses.iter().map(ToString::to_string).collect(),
    };
    JsonReport {
        schema: "exchange-preflight/report/1",
        tool: report.tool.clone(),
        vantages: report.vantages.iter().map(vantage).collect(),
        estate: JsonEstate { domain: report.domain.clone(), forest: report.forest.clone() },
        started: report.started.to_string(),
        finished: report.finished.to_string(),
        gate: JsonGate {
            open: report.gate.is_open(),
            exit_code: report.gate.exit_code,
            reason: report.gate.reason.clone(),
        },
        counts: JsonCounts {
            pass: counts.of(Verdict::Pass),
            skip: counts.of(Verdict::Skip),
            warn: counts.of(Verdict::Warn),
            unknown: counts.of(Verdict::Unknown),
            fail: counts.of(Verdict::Fail),
            waived: 0,
            consequences: report.findings.iter().filter(|finding| finding.because.is_some()).count(),
        },
        findings: report.findings.iter().map(json_finding).collect(),
        notes: report.notes.clone(),
    }
}

fn json_finding(finding: &Finding) -> JsonFinding {
    let because = finding.because.as_ref();
    let places = finding.places.iter().map(|place| JsonPlace {
        vantage: place.vantage.as_ref().map(|vantage| vantage.host.clone()),
        address: place.address.map(|address| address.to_string()),
        verdict: json_verdict(place.verdict),
        seen: place.seen.clone(),
    });
    JsonFinding {
        check: finding.check.id,
        area: finding.check.area,
        verdict: json_verdict(finding.verdict),
        subject: finding.subject.to_string(),
        speaks_for: finding.speaks_for.iter().map(ToString::to_string).collect(),
        code: finding.code,
        title: finding.check.title,
        expected: finding.expected.clone(),
        seen: finding.seen.clone(),
        remedy: finding.remedy.clone(),
        because: because.map(|(check, subject)| JsonKey { check, subject: subject.to_string() }),
        places: places.collect(),
        waiver: None,
        evidence: finding.check.evidence.iter().map(|basis| basis.word()).collect(),
        measured: finding.measures.iter().map(json_measure).collect(),
    }
}

fn json_measure(measure: &Measure) -> JsonMeasure {
    let seconds = |duration: SignedDuration| duration.as_secs_f64();
    JsonMeasure { name: measure.name, low: seconds(measure.interval.low), high: seconds(measure.interval.high) }
}

fn json_verdict(verdict: Verdict) -> JsonVerdict {
    match verdict {
        Verdict::Pass => JsonVerdict::Pass,
        Verdict::Skip => JsonVerdict::Skip,
        Verdict::Warn => JsonVerdict::Warn,
        Verdict::Unknown => JsonVerdict::Unknown,
        Verdict::Fail => JsonVerdict::Fail,
    }
}

/// Indented JSON. JSON itself escapes only the first 32 control characters; a terminal obeys those from 0x7f on as well.
fn write(value: &impl Serialize, out: &mut dyn io::Write) -> io::Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
    for safe in text.split_inclusive(is_late_control) {
        match safe.chars().next_back().filter(|last| is_late_control(*last)) {
            Some(last) => write!(out, "{}\\u{:04x}", safe.trim_end_matches(last), u32::from(last))?,
            None => out.write_all(safe.as_bytes())?,
        }
    }
    writeln!(out)
}

fn is_late_control(character: char) -> bool {
    matches!(character, '\u{7f}'..='\u{9f}')
}
