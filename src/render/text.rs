//! The report for a person: causes first with their consequences folded, what was judged area by area, one gate line.

use crate::{
    compare::{Change, Kind},
    render::escape::printable,
    report::{Gate, Report},
};
use anstyle::{AnsiColor, Style};
use exchange_preflight_checks::model::finding::{Finding, Verdict};
use std::{
    collections::BTreeMap,
    io::{self, Write},
};
use textwrap::Options;

/// Text of ours keeps within this many columns; a command is never broken.
const WIDTH: usize = 80;
const INDENT: &str = "      ";
const LABEL: usize = 10;

/// Writes the report. With `verbose` what passed and what was skipped is told one by one.
pub fn report(report: &Report, verbose: bool, out: &mut dyn Write) -> io::Result<()> {
    head(report, out)?;
    for note in &report.notes {
        writeln!(out)?;
        wrapped(&format!("Note: {note}"), "", "      ", out)?;
    }
    for cause in report.root_causes() {
        writeln!(out)?;
        trouble(cause, &report.consequences(cause), out)?;
    }
    writeln!(out)?;
    judged(report, out)?;
    if verbose {
        writeln!(out)?;
        one_by_one(report, out)?;
    }
    writeln!(out)?;
    gate(&report.gate, out)
}

/// Writes what changed between two reports.
pub fn comparison(before: &Report, after: &Report, changes: &[Change<'_>], out: &mut dyn Write) -> io::Result<()> {
    wrapped(&format!("{}, before and after", printable(&after.domain)), "", "", out)?;
    for (word, report) in [("before", before), ("after", after)] {
        let gate = if report.gate.is_open() { "open" } else { "closed" };
        writeln!(out, "  {word:<7} {}  gate {gate}, exit {}", clock(report.finished), report.gate.exit_code)?;
    }
    let mut told = None;
    for change in changes {
        if told.replace(change.kind) != Some(change.kind) {
            let count = changes.iter().filter(|other| other.kind == change.kind).count();
            writeln!(out, "\n{} ({count})", heading(change.kind))?;
        }
        one_change(change, out)?;
    }
    if changes.is_empty() {
        writeln!(out, "\nNothing changed: no trouble went and none came.")?;
    }
    Ok(())
}

fn head(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let from: Vec<_> = report.vantages.iter().map(|vantage| vantage.host.as_str()).collect();
    let head = format!("{}: {}, seen from {}", report.tool, report.domain, from.join(", "));
    wrapped(&head, "", "  ", out)?;
    let took = report.finished.duration_since(report.started).as_secs_f64();
    let (controllers, servers) = (count(report.controllers, "controller"), count(report.servers, "server"));
    writeln!(out, "{}, {took:.1} s, {controllers}, {servers}", clock(report.started))
}

fn trouble(finding: &Finding, consequences: &[&Finding], out: &mut dyn Write) -> io::Result<()> {
    let word = finding.verdict.word().to_uppercase();
    let style = style(finding.verdict);
    let subject = finding.subject.to_string();
    writeln!(out, "{style}{word}{style:#}  {}  {}", finding.check.id, printable(&subject))?;
    labelled("seen", &finding.seen, out)?;
    labelled("expected", &finding.expected, out)?;
    if let Some((place, others)) = differing_places(finding) {
        labelled("where", &format!("{place}; {others}"), out)?;
    }
    let mut label = "mend";
    for step in &finding.remedy {
        remedy_step(label, step, out)?;
        label = "";
    }
    if !consequences.is_empty() {
        labelled("causes", &told_briefly(consequences), out)?;
    }
    Ok(())
}

/// Consequences by check: the subject where it is one, their number where they are more.
fn told_briefly(consequences: &[&Finding]) -> String {
    let told: Vec<_> = consequences
        .chunk_by(|one, other| one.check.id == other.check.id)
        .map(|same| match same {
            [one] => format!("{} of {} ({})", one.check.id, one.subject, one.verdict),
            [one, ..] => format!("{} of {} subjects ({})", one.check.id, same.len(), one.verdict),
            [] => String::new(),
        })
        .collect();
    told.join(", ")
}

/// Where places say different things: those of the finding's verdict, and the others in a word.
fn differing_places(finding: &Finding) -> Option<(String, String)> {
    let address = |place: &exchange_preflight_checks::model::finding::Place| {
        let vantage = place.vantage.as_ref().map_or("", |vantage| vantage.host.as_str());
        place.address.map_or_else(|| format!("from {vantage}"), |address| format!("{address} from {vantage}"))
    };
    let (these, others): (Vec<_>, Vec<_>) = finding.places.iter().partition(|place| place.verdict == finding.verdict);
    if others.is_empty() {
        return None;
    }
    let these: Vec<_> = these.into_iter().map(address).collect();
    let others: Vec<_> = others.into_iter().map(|place| format!("{}: {}", address(place), place.verdict)).collect();
    Some((these.join(", "), others.join(", ")))
}

fn remedy_step(label: &str, step: &str, out: &mut dyn Write) -> io::Result<()> {
    // An indented step is a command: it is copied, so it stays on one line, however long.
    if step.starts_with("    ") {
        return writeln!(out, "{INDENT}{label:<LABEL$}{}", printable(step));
    }
    labelled(label, step, out)
}

fn judged(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let mut checks: Vec<(&str, &str, BTreeMap<Verdict, usize>)> = Vec::new();
    for finding in &report.findings {
        if checks.last().is_none_or(|(_, id, _)| *id != finding.check.id) {
            checks.push((finding.check.area, finding.check.id, BTreeMap::new()));
        }
        if let Some((.., counts)) = checks.last_mut() {
            *counts.entry(finding.verdict).or_default() += 1;
        }
    }
    writeln!(out, "Judged")?;
    let mut area_before = "";
    for (area, id, counts) in checks {
        let told: Vec<_> = counts.iter().rev().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        let area_shown = if area == area_before { "" } else { area };
        writeln!(out, "  {area_shown:<11} {id:<22} {}", told.join(", "))?;
        area_before = area;
    }
    Ok(())
}

fn one_by_one(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for finding in &report.findings {
        let line = format!("{:<8}{}  {}: {}", finding.verdict, finding.check.id, finding.subject, finding.seen);
        wrapped(&line, "", "        ", out)?;
    }
    Ok(())
}

fn gate(gate: &Gate, out: &mut dyn Write) -> io::Result<()> {
    let (word, style) = if gate.is_open() { ("open", style(Verdict::Pass)) } else { ("closed", style(Verdict::Fail)) };
    let line = format!("Gate {word}, exit {}: {}.", gate.exit_code, gate.reason);
    write!(out, "{style}")?;
    wrapped(&line, "", "  ", out)?;
    write!(out, "{style:#}")
}

fn one_change(change: &Change<'_>, out: &mut dyn Write) -> io::Result<()> {
    let Some(finding) = change.finding() else { return Ok(()) };
    let word = |finding: Option<&Finding>| finding.map_or("not judged", |finding| finding.verdict.word());
    let verdicts = format!("{} -> {}", word(change.before), word(change.after));
    let line = format!("{verdicts:<18} {}  {}", finding.check.id, finding.subject);
    wrapped(&line, "  ", "      ", out)?;
    let seen = [change.before, change.after].into_iter().flatten().map(|finding| finding.seen.as_str());
    let mut seen: Vec<_> = seen.collect();
    seen.dedup();
    wrapped(&seen.join(" -> "), INDENT, INDENT, out)
}

fn heading(kind: Kind) -> &'static str {
    match kind {
        Kind::Broke => "Broke",
        Kind::New => "New",
        Kind::StillFailing => "Still failing",
        Kind::Fixed => "Fixed",
        Kind::Gone => "Gone",
    }
}

fn labelled(label: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
    let first = format!("{INDENT}{label:<LABEL$}");
    wrapped(text, &first, &" ".repeat(INDENT.len() + LABEL), out)
}

fn wrapped(text: &str, first: &str, rest: &str, out: &mut dyn Write) -> io::Result<()> {
    let options = Options::new(WIDTH).initial_indent(first).subsequent_indent(rest).break_words(false);
    for line in textwrap::wrap(&printable(text), options) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

fn count(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

fn clock(instant: jiff::Timestamp) -> String {
    instant.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

fn style(verdict: Verdict) -> Style {
    let colour = match verdict {
        Verdict::Fail => AnsiColor::Red,
        Verdict::Unknown => AnsiColor::Magenta,
        Verdict::Warn => AnsiColor::Yellow,
        Verdict::Pass => AnsiColor::Green,
        Verdict::Skip => return Style::new(),
    };
    Style::new().fg_color(Some(colour.into())).bold()
}
