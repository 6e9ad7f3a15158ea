//! A rehearsal, for a person: what is supposed, what of it would be good and what not, and what to do then.

use crate::{
    compare::{Change, Kind, exit_code},
    rehearse::Rehearsal,
    render::{
        escape::printable,
        renewal::supposed_section,
        steps::Step,
        text::{INDENT, changes as changes_told, clock, labelled, wrapped},
    },
    renewal::{Leaf, Renewal},
    report::{Report, called, unrehearsed},
};
use exchange_preflight_checks::model::listeners::quote;
use std::{
    collections::BTreeSet,
    io::{self, Write},
};

/// Writes it.
pub fn tell(
    rehearsal: &Rehearsal,
    supposed_report: &Report,
    changes: &[Change<'_>],
    renewal: Option<&Renewal>,
    steps: &[Step],
    out: &mut dyn Write,
) -> io::Result<()> {
    let before = &rehearsal.before;
    let head = format!("{}, supposed and not seen, from what was seen {}", before.plan.domain, clock(before.started));
    wrapped(&head, "", "  ", out)?;
    supposed(rehearsal, out)?;
    for note in &rehearsal.notes {
        wrapped(&format!("Note: {note}"), "", INDENT, out)?;
    }
    writeln!(out)?;
    match renewal {
        Some(renewal) => supposed_section(renewal, out)?,
        None => wrapped("No place would show another certificate than it shows.", "", "  ", out)?,
    }
    changes_told(changes, out)?;
    let unrehearsed: Vec<_> =
        supposed_report.findings.iter().filter_map(|finding| Some((finding, unrehearsed(finding)?))).collect();
    if !unrehearsed.is_empty() {
        writeln!(out, "\nCannot be rehearsed ({})", unrehearsed.len())?;
    }
    let mut whys: Vec<_> = unrehearsed.iter().map(|(_, why)| *why).collect();
    let mut told = BTreeSet::new();
    whys.retain(|why| told.insert(*why));
    for why in whys {
        for (finding, _) in unrehearsed.iter().filter(|(_, other)| *other == why) {
            wrapped(&format!("{}  {}", finding.check.id, called(finding)), "  ", INDENT, out)?;
        }
        wrapped(why, INDENT, INDENT, out)?;
    }
    if !steps.is_empty() {
        writeln!(out, "\nDo this, in this order")?;
    }
    for (index, step) in steps.iter().enumerate() {
        wrapped(&step.said, &format!("{:>4}. ", index + 1), INDENT, out)?;
        // A command is copied, so it stays on one line, however long.
        step.commands.iter().try_for_each(|command| writeln!(out, "{INDENT}    {}", printable(command)))?;
    }
    let is_worse = changes.iter().any(|change| matches!(change.kind, Kind::Broke | Kind::New | Kind::Worse));
    let (exit, word) = match exit_code(changes, renewal) {
        1 if renewal.is_some_and(Renewal::is_marred) => (1, "the renewal would change what nobody wants changed"),
        1 => (1, "something would break, come or grow worse that fails"),
        0 if is_worse => (0, "nothing would break, and something would warn"),
        0 => (0, "nothing would break"),
        code => (code, "something would come that cannot be told"),
    };
    writeln!(out, "\nRehearsed, exit {exit}: {word}.")
}

fn supposed(rehearsal: &Rehearsal, out: &mut dyn Write) -> io::Result<()> {
    const DAY: &str = "%Y-%m-%d";
    let (new, leaf, supposed) = (&rehearsal.new, Leaf::from(&rehearsal.new), rehearsal.supposition());
    labelled("new", &format!("{}, {}", leaf.name(), leaf.short()), out)?;
    let life = (new.not_before.strftime(DAY), new.not_after.strftime(DAY));
    labelled("", &format!("{}, {} to {}, issued by {}", new.key, life.0, life.1, quote(&new.issuer.text)), out)?;
    let names: Vec<_> = leaf.all_names().collect();
    labelled("bears", if names.is_empty() { "no name".into() } else { names.join(", ") }.as_str(), out)?;
    labelled("on", &supposed.on.join(", "), out)?;
    for old in &rehearsal.replaced {
        let places: Vec<_> = old.places.iter().cloned().collect();
        let at = if places.is_empty() { "which no port shows".into() } else { format!("at {}", places.join(", ")) };
        labelled("replaces", &format!("{}, {}, {at}", old.leaf.name(), old.leaf.short()), out)?;
    }
    if !supposed.removed.is_empty() {
        let removed: Vec<_> = supposed.removed.iter().map(|one| format!("sha1:{one}")).collect();
        labelled("removed", &removed.join(", "), out)?;
    }
    if supposed.is_internal {
        labelled("default", "overwritten: it is the internal transport certificate as well", out)?;
    }
    Ok(())
}
