//! The report for a person: causes first with their consequences folded, what was judged area by area, one gate line.

use crate::{
    compare::{Change, Kind, exit_code},
    render::{chain, escape::printable, renewal},
    renewal::Renewal,
    report::{Gate, Report, Unjudged, called},
    sightings::{Connections, SeenCertificate},
};
use anstyle::{AnsiColor, Style};
use exchange_preflight_checks::model::{
    ask::Endpoint,
    finding::{Finding, Place, Subject, Verdict},
    meta::Meta,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
    net::IpAddr,
};
use textwrap::{Options, WordSplitter};

/// Text of ours keeps within this many columns; a command is never broken.
pub(super) const WIDTH: usize = 80;
pub(super) const INDENT: &str = "      ";
pub(super) const LABEL: usize = 10;

/// Writes the report. With `verbose` what passed and what was skipped is told one by one.
pub fn report(report: &Report, verbose: bool, out: &mut dyn Write) -> io::Result<()> {
    head(report, out)?;
    for note in &report.notes {
        writeln!(out)?;
        wrapped(&format!("Note: {note}"), "", "      ", out)?;
    }
    let roots = report.root_causes();
    // Of a run that was cut short, what it did not come to is one line; -v tells it one by one.
    let is_unasked = |finding: &&&Finding| report.interrupted && finding.verdict == Verdict::Unknown;
    let mut drawn = BTreeSet::new();
    for cause in roots.iter().filter(|finding| !is_unasked(finding)) {
        writeln!(out)?;
        trouble(cause, &report.consequences(cause), out)?;
        // Several findings may be about one certificate: it is drawn with the first.
        let certificate = report.certificate(&cause.subject).filter(|seen| drawn.insert(&seen.thumbprint));
        certificate.map_or(Ok(()), |seen| chain::certificate(seen, out))?;
    }
    let unasked = roots.iter().filter(is_unasked).count();
    if unasked > 0 {
        let are = if unasked == 1 { "is unknown (--verbose names it)" } else { "are unknown (--verbose names them)" };
        writeln!(out, "\nThe run was interrupted: {} {are}.", count(unasked, "finding"))?;
    }
    writeln!(out)?;
    judged(report, out)?;
    if verbose {
        writeln!(out)?;
        one_by_one(report, out)?;
        certificates(&report.certificates, out)?;
        connections(report, out)?;
    }
    writeln!(out)?;
    gate(&report.gate, out)
}

/// Writes what changed between two reports.
pub fn comparison(
    before: &Report,
    after: &Report,
    changes: &[Change<'_>],
    renewal: Option<&Renewal>,
    notes: &[String],
    out: &mut dyn Write,
) -> io::Result<()> {
    wrapped(&format!("{}, before and after", after.domain), "", "", out)?;
    for (word, report) in [("before", before), ("after", after)] {
        let gate = if report.gate.is_open() { "open" } else { "closed" };
        let supposed = if report.supposed { "  supposed, not seen" } else { "" };
        writeln!(out, "  {word:<7} {}  gate {gate}, exit {}{supposed}", clock(report.started), report.gate.exit_code)?;
    }
    for note in notes {
        wrapped(&format!("Note: {note}; not every difference need be a change."), "", "      ", out)?;
    }
    if let Some(renewal) = renewal {
        writeln!(out)?;
        renewal::section(renewal, out)?;
    }
    self::changes(changes, out)?;
    if changes.is_empty() {
        writeln!(out, "\nNothing changed: no trouble went and none came.")?;
    }
    let (exit, word) = match exit_code(changes, renewal) {
        _ if renewal.is_some_and(Renewal::is_marred) => (1, "the renewal changed what nobody wanted changed"),
        0 => (0, "nothing broke"),
        1 => (1, "something broke, came or grew worse that fails"),
        code => (code, "something came that could not be told"),
    };
    writeln!(out, "\nCompared, exit {exit}: {word}.")
}

/// Writes changes of findings, each kind under its heading.
pub(super) fn changes(changes: &[Change<'_>], out: &mut dyn Write) -> io::Result<()> {
    let mut told = None;
    for change in changes {
        if told.replace(change.kind) != Some(change.kind) {
            let count = changes.iter().filter(|other| other.kind == change.kind).count();
            writeln!(out, "\n{} ({count})", heading(change.kind))?;
        }
        one_change(change, out)?;
    }
    Ok(())
}

fn head(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let from: Vec<_> = report.vantages.iter().map(|vantage| vantage.host.as_str()).collect();
    let seen = if report.supposed { "supposed, not seen; rehearsed on what was seen from" } else { "seen from" };
    let head = format!("{}: {}, {seen} {}", report.tool, report.domain, from.join(", "));
    wrapped(&head, "", "  ", out)?;
    let took = report.finished.duration_since(report.started).as_secs_f64();
    let (controllers, servers) = (count(report.controllers, "controller"), count(report.servers, "server"));
    writeln!(out, "{}, {took:.1} s, {controllers}, {servers}", clock(report.started))
}

fn trouble(finding: &Finding, consequences: &[&Finding], out: &mut dyn Write) -> io::Result<()> {
    let word = finding.verdict.word().to_uppercase();
    let style = style(finding.verdict);
    match (&finding.subject, &finding.named) {
        (Subject::Certificate(thumbprint), Some(name)) => {
            let heading = format!("{}  {name}", finding.check.id);
            wrapped(&heading, &format!("{style}{word}{style:#}  "), "        ", out)?;
            labelled("sha1", thumbprint, out)?;
        }
        (subject, _) => {
            writeln!(out, "{style}{word}{style:#}  {}  {}", finding.check.id, printable(&subject.to_string()))?;
        }
    }
    labelled("seen", seen_beside(finding, finding), out)?;
    labelled("expected", &finding.expected, out)?;
    if let Some((place, others)) = differing_places(finding) {
        labelled("where", &format!("{place}; {others}"), out)?;
    }
    let mut label = "mend";
    for step in &finding.remedy {
        remedy_step(label, step, out)?;
        label = "";
    }
    consequences_of(finding, consequences, out)
}

/// What is seen, without the name and the places with which it begins where the heading says the same.
fn seen_beside<'f>(finding: &'f Finding, heading: &Finding) -> &'f str {
    let named = finding.named.as_deref().filter(|_| finding.named == heading.named);
    let rest = named.and_then(|named| finding.seen.strip_prefix(named)?.strip_prefix(": "));
    rest.unwrap_or(&finding.seen)
}

/// What follows from a finding, or shows the same trouble from another side: a line each where they are few, else by check.
fn consequences_of(finding: &Finding, consequences: &[&Finding], out: &mut dyn Write) -> io::Result<()> {
    const FEW: usize = 3;
    if consequences.is_empty() {
        return Ok(());
    }
    // Of one subject the checks alone differ.
    if let [first, .., last] = consequences
        && consequences.len() > FEW
        && consequences.iter().all(|other| other.subject == first.subject && other.verdict == last.verdict)
    {
        let about = if first.subject == finding.subject { String::new() } else { format!(" of {}", called(first)) };
        let checks: Vec<_> = consequences.iter().map(|other| other.check.id).collect();
        return labelled("with it", &format!("{}{about} ({})", checks.join(", "), first.verdict), out);
    }
    if consequences.len() > FEW {
        let by_check: Vec<_> = consequences.chunk_by(|one, other| one.check.id == other.check.id).map(brief).collect();
        return labelled("with it", &by_check.join(", "), out);
    }
    let mut label = "with it";
    for other in consequences {
        let about = if other.subject == finding.subject { String::new() } else { format!(" of {}", called(other)) };
        let seen = seen_beside(other, if about.is_empty() { finding } else { other });
        labelled(label, &format!("{}{about} ({}): {seen}", other.check.id, other.verdict), out)?;
        label = "";
    }
    Ok(())
}

/// Findings of one check: the subject where it is one, their number and the worst word where they are more.
fn brief(same: &[&Finding]) -> String {
    let worst = same.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Unknown);
    match same {
        [one] => format!("{} of {} ({worst})", one.check.id, called(one)),
        [one, ..] => format!("{} of {} subjects ({worst})", one.check.id, same.len()),
        [] => String::new(),
    }
}

/// Where places say different things: those of the finding's verdict, and the others in a word.
fn differing_places(finding: &Finding) -> Option<(String, String)> {
    let address = |place: &Place| {
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
    writeln!(out, "Judged")?;
    let mut area_before = "";
    for findings in report.findings.chunk_by(|one, other| one.check.id == other.check.id) {
        let Meta { id, area, .. } = findings[0].check;
        if findings.iter().all(|finding| finding.verdict == Verdict::Skip && finding.subject == Subject::Estate) {
            continue;
        }
        let mut counts: BTreeMap<Verdict, usize> = BTreeMap::new();
        for finding in findings {
            *counts.entry(finding.verdict).or_default() += 1;
        }
        let told: Vec<_> = counts.iter().rev().map(|(verdict, count)| format!("{count} {verdict}")).collect();
        let area_shown = if *area == area_before { "" } else { area };
        writeln!(out, "  {area_shown:<11} {id:<22} {}", told.join(", "))?;
        area_before = area;
    }
    let Unjudged { left_out, for_users, on_request, for_inputs, idle } = &report.unjudged;
    let reasons = [
        ("left out, as you asked", left_out),
        ("need any user of the domain (--user)", for_users),
        ("log on to servers, only on request (--prove-login)", on_request),
        ("need an export or a log (--input)", for_inputs),
        ("had nothing to judge", idle),
    ];
    for (why, checks) in reasons {
        if !checks.is_empty() {
            wrapped(&format!("{why}: {}", checks.join(", ")), "  ", "    ", out)?;
        }
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

fn certificates(certificates: &[SeenCertificate], out: &mut dyn Write) -> io::Result<()> {
    if certificates.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nCertificates")?;
    for (index, certificate) in certificates.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        chain::listed(certificate, out)?;
    }
    Ok(())
}

/// Whoever finds us in a server's log reads here why we came.
fn connections(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    if report.connections.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nConnections")?;
    for Alike { vantage, host, ports, addresses, reasons } in alike(&report.connections) {
        let ports: Vec<_> = ports.iter().map(ToString::to_string).collect();
        let at = if addresses.is_empty() { String::new() } else { format!(" at {}", listed(&addresses)) };
        let from = if report.vantages.len() > 1 { format!(" from {vantage}") } else { String::new() };
        let each = if ports.len() * addresses.len() > 1 { " each" } else { "" };
        let made = format!("{host}: {}{at}{from}, {}{each}", ports.join(", "), count(reasons.len(), "connection"));
        if let [reason] = reasons {
            wrapped(&format!("{made}: {reason}"), "  ", INDENT, out)?;
            continue;
        }
        wrapped(&format!("{made}:"), "  ", INDENT, out)?;
        reasons.iter().try_for_each(|reason| wrapped(reason, INDENT, "        ", out))?;
    }
    Ok(())
}

/// Connections to ports of a host that were made for the same reasons: to each port at each address.
struct Alike<'a> {
    vantage: &'a str,
    host: &'a str,
    ports: BTreeSet<u16>,
    addresses: Vec<IpAddr>,
    reasons: &'a [String],
}

fn alike(connections: &[Connections]) -> Vec<Alike<'_>> {
    // First the addresses of each port that have the same reasons, then the ports that have the same addresses.
    let mut of_ports: Vec<Alike<'_>> = Vec::new();
    for Connections { vantage, to: Endpoint { host, address, port }, reasons } in connections {
        let ports = BTreeSet::from([*port]);
        let one = Alike { vantage, host, ports, addresses: address.iter().copied().collect(), reasons };
        match of_ports.iter_mut().find(|other| other.is_of(&one) && other.ports == one.ports) {
            Some(same) => same.addresses.extend(one.addresses),
            None => of_ports.push(one),
        }
    }
    let mut alike: Vec<Alike<'_>> = Vec::new();
    for one in of_ports {
        match alike.iter_mut().find(|other| other.is_of(&one) && other.addresses == one.addresses) {
            Some(same) => same.ports.extend(one.ports),
            None => alike.push(one),
        }
    }
    alike
}

impl Alike<'_> {
    fn is_of(&self, other: &Self) -> bool {
        (self.vantage, self.host, self.reasons) == (other.vantage, other.host, other.reasons)
    }
}

/// `a, b and c`.
fn listed(addresses: &[IpAddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    match texts.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => texts.concat(),
    }
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
        Kind::Worse => "Worse",
        Kind::StillFailing => "Still failing",
        Kind::Fixed => "Fixed",
        Kind::Gone => "Gone",
    }
}

pub(super) fn labelled(label: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
    let first = format!("{INDENT}{label:<LABEL$}");
    wrapped(text, &first, &" ".repeat(INDENT.len() + LABEL), out)
}

pub(super) fn wrapped(text: &str, first: &str, rest: &str, out: &mut dyn Write) -> io::Result<()> {
    let options = Options::new(WIDTH)
        .initial_indent(first)
        .subsequent_indent(rest)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation);
    for line in textwrap::wrap(&printable(text), options) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}

/// `1 server`, `2 servers`.
pub(crate) fn count(number: usize, word: &str) -> String {
    if number == 1 { format!("1 {word}") } else { format!("{number} {word}s") }
}

pub(super) fn clock(instant: jiff::Timestamp) -> String {
    instant.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

pub(super) fn style(verdict: Verdict) -> Style {
    let colour = match verdict {
        Verdict::Fail => AnsiColor::Red,
        Verdict::Unknown => AnsiColor::Magenta,
        Verdict::Warn => AnsiColor::Yellow,
        Verdict::Pass => AnsiColor::Green,
        Verdict::Skip => return Style::new(),
    };
    Style::new().fg_color(Some(colour.into())).bold()
}

#[cfg(test)]
mod tests {
    use super::*;
    use exchange_preflight_checks::CHECKS;

    fn told(finding: &Finding, with: &[&Finding]) -> String {
        let mut out = Vec::new();
        trouble(finding, with, &mut out).unwrap();
        anstream::adapter::strip_str(&String::from_utf8(out).unwrap()).to_string()
    }

    #[test]
    fn a_certificate_is_called_by_its_name_and_its_thumbprint_stands_alone() {
        let subject = Subject::Certificate("0123456789abcdef0123456789abcdef01234567".into());
        let named = "mail.contoso.com at edge01.contoso.com:25, edge02.contoso.com:25";
        let of = |check: usize, said: &str| {
            let seen = format!("{named}: {said}");
            let finding = Finding::new(CHECKS[check].meta(), subject.clone(), Verdict::Fail, seen);
            Finding { named: Some(named.into()), expected: "alive".into(), ..finding }
        };
        insta::assert_snapshot!(told(&of(0, "it expired"), &[&of(1, "too weak")]), @r"
        FAIL  host-answers  mail.contoso.com at edge01.contoso.com:25,
                edge02.contoso.com:25
              sha1      0123456789abcdef0123456789abcdef01234567
              seen      it expired
              expected  alive
              with it   clock-agreement (fail): too weak
        ");
        assert_eq!(called(&of(0, "")), "mail.contoso.com at edge01.contoso.com:25 (and 1 more place)");
        let elsewhere =
            Finding { named: Some("mail.contoso.com at edge01.contoso.com:25".into()), ..of(1, "too weak") };
        assert!(
            told(&of(0, "it expired"), &[&elsewhere]).contains("edge02.contoso.com:25: too"),
            "the heading says less"
        );
    }

    #[test]
    fn ports_and_addresses_that_were_asked_for_the_same_reasons_are_one_line() {
        let to = |port, address: &str, reasons: &[&str]| Connections {
            vantage: "vm".into(),
            to: Endpoint { host: "ex01".into(), address: Some(address.parse().unwrap()), port },
            reasons: reasons.iter().map(ToString::to_string).collect(),
        };
        let made = [
            to(25, "10.0.0.1", &["usual"]),
            to(25, "fd53::1", &["usual"]),
            to(465, "10.0.0.1", &["usual"]),
            to(465, "fd53::1", &["usual"]),
            to(587, "10.0.0.1", &["usual"]),
            to(587, "fd53::1", &["usual", "old"]),
        ];
        let alike = alike(&made);
        let line = |one: &Alike<'_>| format!("{:?} at {}, {}", one.ports, listed(&one.addresses), one.reasons.len());
        assert_eq!(
            alike.iter().map(line).collect::<Vec<_>>(),
            ["{25, 465} at 10.0.0.1 and fd53::1, 1", "{587} at 10.0.0.1, 1", "{587} at fd53::1, 2"]
        );
    }
}
