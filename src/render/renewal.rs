//! A renewal, for a person: which certificate stands in whose place, and what of that was meant.

use crate::{
    render::text::{INDENT, style, wrapped},
    renewal::{Class, Pair, Renewal},
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
        for change in changes {
            let style = style_of(class);
            let first = format!("    {style}{:<22}{style:#} ", change.code);
            if class == Class::Wanted {
                writeln!(out, "    {}", super::escape::printable(&change.subject))?;
                continue;
            }
            wrapped(&change.subject, &first, INDENT, out)?;
            wrapped(&change.said, INDENT, INDENT, out)?;
        }
    }
    Ok(())
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
