//! A renewal, for a person: which certificate stands in whose place, and what of that was meant.

use crate::{
    render::text::{INDENT, style, wrapped},
    renewal::{Change, Class, Pair, Renewal},
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
    wrapped(&format!("Renewal, {word}: {}", renewal.reason()), "", "  ", out)?;
    renewal.pairs.iter().try_for_each(|pair| one_pair(pair, out))?;
    for (class, heading) in ORDER {
        let changes: Vec<_> = renewal.of(class).collect();
        if changes.is_empty() {
            continue;
        }
        writeln!(out, "  {heading} ({})", changes.len())?;
        if class == Class::Wanted {
            by_host(&changes).iter().try_for_each(|line| wrapped(line, "    ", INDENT, out))?;
            continue;
        }
        for change in changes {
            let style = style_of(class);
            let first = format!("    {style}{:<22}{style:#} ", change.code);
            wrapped(&change.subject, &first, INDENT, out)?;
            wrapped(&change.said, INDENT, INDENT, out)?;
        }
    }
    Ok(())
}

/// `ex01.contoso.com: 25, 443`
fn by_host(changes: &[&Change]) -> Vec<String> {
    let mut hosts: Vec<(&str, Vec<&str>)> = Vec::new();
    for change in changes {
        let (host, port) = change.subject.split_once(':').unwrap_or((&change.subject, ""));
        match hosts.iter_mut().find(|(known, _)| *known == host) {
            Some((_, ports)) => ports.push(port),
            None => hosts.push((host, vec![port])),
        }
    }
    let line = |(host, mut ports): (&str, Vec<&str>)| {
        ports.sort_by_key(|port| port.split(' ').next().and_then(|number| number.parse::<u16>().ok()));
        format!("{host}: {}", ports.join(", "))
    };
    hosts.into_iter().map(line).collect()
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
