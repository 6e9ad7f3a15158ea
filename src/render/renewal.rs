//! A renewal, for a person: which certificate stands in whose place, and what of that was meant.

use crate::{
    render::text::{INDENT, style, wrapped},
    renewal::{Change, Class, Code, Pair, Renewal},
};
use anstyle::Style;
use exchange_preflight_checks::model::finding::Verdict;
use jiff::Timestamp;
use std::io::{self, Write};

/// What was not meant comes first.
const ORDER: [(Class, &str); 3] =
    [(Class::Unwanted, "Unwanted"), (Class::Left, "Still to be done"), (Class::Wanted, "Renewed, as wanted")];

/// Writes it.
pub(super) fn section(renewal: &Renewal, out: &mut dyn Write) -> io::Result<()> {
    let word = if renewal.is_complete() { "complete" } else { "not complete" };
    told(&format!("Renewal, {word}"), renewal, out)
}

/// Writes one that is only supposed.
pub(super) fn supposed_section(renewal: &Renewal, out: &mut dyn Write) -> io::Result<()> {
    let word = if renewal.is_complete() { "it would be complete" } else { "it would not be complete" };
    told(&format!("The renewal, if it were done so, without the steps below that mend it: {word}"), renewal, out)
}

fn told(head: &str, renewal: &Renewal, out: &mut dyn Write) -> io::Result<()> {
    wrapped(&format!("{head}: {}", renewal.reason()), "", "  ", out)?;
    renewal.pairs.iter().try_for_each(|pair| one_pair(pair, out))?;
    for (class, heading) in ORDER {
        let changes: Vec<_> = renewal.of(class).collect();
        if changes.is_empty() {
            continue;
        }
        writeln!(out, "  {heading} ({})", changes.len())?;
        if class == Class::Wanted {
            let subjects: Vec<_> = changes.iter().map(|change| change.subject.as_str()).collect();
            by_host(&subjects).iter().try_for_each(|line| wrapped(line, "    ", INDENT, out))?;
            continue;
        }
        for cause in by_cause(&changes) {
            let style = style_of(class);
            let first = format!("    {style}{:<22}{style:#} ", cause.code.word());
            let each = if cause.subjects.len() > 1 { "each: " } else { "" };
            wrapped(&together(&cause.subjects), &first, INDENT, out)?;
            wrapped(&format!("{each}{}", cause.said), INDENT, INDENT, out)?;
        }
    }
    Ok(())
}

/// What is said in the same words of several.
struct Cause<'c> {
    code: Code,
    said: &'c str,
    subjects: Vec<&'c str>,
}

/// One cause is told once, however many servers and connectors have it.
fn by_cause<'c>(changes: &[&'c Change]) -> Vec<Cause<'c>> {
    let mut causes: Vec<Cause<'c>> = Vec::new();
    for change in changes {
        match causes.iter_mut().find(|cause| (cause.code, cause.said) == (change.code, &*change.said)) {
            Some(cause) => cause.subjects.push(&change.subject),
            None => causes.push(Cause { code: change.code, said: &change.said, subjects: vec![&change.subject] }),
        }
    }
    causes
}

/// Ports by their host, and else one after another.
fn together(subjects: &[&str]) -> String {
    let is_place =
        |subject: &&str| subject.split_once(':').is_some_and(|(host, port)| host != "sha1" && number(port).is_some());
    if subjects.len() > 1 && subjects.iter().all(is_place) { by_host(subjects).join("; ") } else { subjects.join(", ") }
}

/// `ex01.contoso.com: 25, 443`
fn by_host(subjects: &[&str]) -> Vec<String> {
    let mut hosts: Vec<(&str, Vec<&str>)> = Vec::new();
    for subject in subjects {
        let (host, port) = subject.split_once(':').unwrap_or((subject, ""));
        match hosts.iter_mut().find(|(known, _)| *known == host) {
            Some((_, ports)) => ports.push(port),
            None => hosts.push((host, vec![port])),
        }
    }
    let line = |(host, mut ports): (&str, Vec<&str>)| {
        ports.sort_by_key(|port| number(port));
        format!("{host}: {}", ports.join(", "))
    };
    hosts.into_iter().map(line).collect()
}

/// The number of `25 (X-ANONYMOUSTLS)`.
fn number(port: &str) -> Option<u16> {
    port.split(' ').next()?.parse().ok()
}

fn one_pair(Pair { old, new }: &Pair, out: &mut dyn Write) -> io::Result<()> {
    let life = |end: Option<Timestamp>| end.map(|end| end.strftime(", until %Y-%m-%d").to_string()).unwrap_or_default();
    wrapped(&format!("{}: {}{}", old.name(), old.short(), life(old.not_after)), "  ", INDENT, out)?;
    wrapped(&format!("-> {}: {}{}", new.name(), new.short(), life(new.not_after)), "  ", INDENT, out)
}

fn style_of(class: Class) -> Style {
    match class {
        Class::Unwanted => style(Verdict::Fail),
        Class::Left => style(Verdict::Warn),
        Class::Wanted => style(Verdict::Pass),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(code: Code, subject: &str, said: &str) -> Change {
        Change { code, subject: subject.into(), said: said.into() }
    }

    #[test]
    fn a_cause_is_told_once() {
        let changes = [
            change(Code::PinStale, "EX01/Default Frontend EX01", "it names another"),
            change(Code::PinStale, "EX02/Default Frontend EX02", "it names another"),
            change(Code::PinStale, "send connector/Outbound", "it names a third"),
            change(Code::StarttlsGone, "ex01.contoso.com:587", "it offers none"),
            change(Code::StarttlsGone, "ex01.contoso.com:25", "it offers none"),
            change(Code::StarttlsGone, "ex02.contoso.com:25", "it offers none"),
        ];
        let causes = by_cause(&changes.iter().collect::<Vec<_>>());
        let told: Vec<_> = causes.iter().map(|cause| format!("{} {}", together(&cause.subjects), cause.said)).collect();
        assert_eq!(
            told,
            [
                "EX01/Default Frontend EX01, EX02/Default Frontend EX02 it names another",
                "send connector/Outbound it names a third",
                "ex01.contoso.com: 25, 587; ex02.contoso.com: 25 it offers none",
            ]
        );
        assert_eq!(together(&["sha1:0011", "sha1:2233"]), "sha1:0011, sha1:2233", "a thumbprint is no place");
    }
}
