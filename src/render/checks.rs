//! The checks themselves, for `list` and `explain`, and what `compare` tells of renewals. Their prose is in their Meta, and with the
//! codes; here it is only laid out.

use crate::renewal::{Class, Code, Told};
use exchange_preflight_checks::{CHECKS, model::meta::Meta};
use std::io::{self, Write};
use textwrap::Options;

const WIDTH: usize = 80;

/// More explanations than these are more than a screen, and begin with a list.
const A_FEW: usize = 3;

/// One line a check, by area.
pub fn list(out: &mut dyn Write) -> io::Result<()> {
    let mut area_before = "";
    for Meta { area, id, question, .. } in CHECKS.iter().map(|check| check.meta()) {
        let shown = if *area == area_before { "" } else { area };
        writeln!(out, "{shown:<11} {id:<22} {question}")?;
        area_before = area;
    }
    Ok(())
}

/// Explains every check that `about` names or points to, or what a renewal did by this name. False if there is none.
pub fn explain(about: &str, out: &mut dyn Write) -> io::Result<bool> {
    if let Some((code, told)) = Code::called(about).and_then(|code| Some((code, code.told()?))) {
        of_renewal(code, told, out)?;
        return Ok(true);
    }
    let found: Vec<_> = CHECKS.iter().map(|check| check.meta()).filter(|meta| is_about(meta, about)).collect();
    if found.len() > A_FEW {
        writeln!(out, "{} checks lead to it; each is explained below, and run --only ID runs one.\n", found.len())?;
        for meta in &found {
            writeln!(out, "  {:<22} {}", meta.id, meta.title)?;
        }
        writeln!(out)?;
    }
    for (index, meta) in found.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        one(meta, out)?;
    }
    Ok(!found.is_empty())
}

/// A check's id or area, or words that all stand in one of its symptoms: `454`, `454 4.7.0`, `event 1035`.
fn is_about(meta: &Meta, about: &str) -> bool {
    let asked = words(about);
    let is_symptom = |symptom: &&str| {
        let told = words(symptom);
        !asked.is_empty() && asked.iter().all(|word| told.contains(word))
    };
    about.eq_ignore_ascii_case(meta.id) || about.eq_ignore_ascii_case(meta.area) || meta.symptoms.iter().any(is_symptom)
}

fn words(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !(c.is_alphanumeric() || c == '.' || c == '_'));
    let plain = |word: &str| word.trim_matches('.').trim_end_matches('s').to_lowercase();
    words.map(plain).filter(|word| !word.is_empty()).collect()
}

fn one(meta: &Meta, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}  {}", meta.id, meta.title)?;
    paragraph("Asks", meta.question, out)?;
    paragraph("Healthy", meta.healthy, out)?;
    paragraph("Why", meta.why, out)?;
    list_of("Mends it", meta.remedy, out)?;
    list_of("Explains", meta.symptoms, out)?;
    list_of("Sources", meta.references, out)?;
    let basis: Vec<_> = meta.evidence.iter().map(|basis| basis.word()).collect();
    paragraph("Rests on", &basis.join(", "), out)
}

/// What `compare` and `rehearse` tell by a word.
fn of_renewal(code: Code, told: &Told, out: &mut dyn Write) -> io::Result<()> {
    let class = match code.class() {
        Class::Wanted => "wanted",
        Class::Unwanted if code.is_harmless_alone() => "not wanted; it breaks nothing by itself",
        Class::Unwanted => "not wanted",
        Class::Left => "still to be done",
    };
    writeln!(out, "{}  {}", code.word(), told.title)?;
    paragraph("Told by", "compare and rehearse, of a renewal", out)?;
    paragraph("It is", class, out)?;
    paragraph("Why", told.why, out)?;
    list_of("Mends it", told.mends, out)?;
    list_of("See also", told.checks, out)
}

/// Lines that are copied, so none is broken.
fn list_of(label: &str, lines: &[&str], out: &mut dyn Write) -> io::Result<()> {
    let mut label = label;
    for line in lines {
        writeln!(out, "  {label:<10}{line}")?;
        label = "";
    }
    Ok(())
}

fn paragraph(label: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
    let first = format!("  {label:<10}");
    let options = Options::new(WIDTH).initial_indent(&first).subsequent_indent("            ").break_words(false);
    for line in textwrap::wrap(text, options) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
