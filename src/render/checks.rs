//! The checks themselves, for `list` and `explain`. Their prose is in their Meta; here it is only laid out.

use exchange_preflight_checks::{CHECKS, model::check::Meta};
use std::io::{self, Write};
use textwrap::Options;

const WIDTH: usize = 80;

/// One line a check.
pub fn list(out: &mut dyn Write) -> io::Result<()> {
    for meta in CHECKS.iter().map(|check| check.meta()) {
        writeln!(out, "{:<22} {}", meta.id, meta.question)?;
    }
    Ok(())
}

/// Explains every check that `about` names or points to. False if there is none.
pub fn explain(about: &str, out: &mut dyn Write) -> io::Result<bool> {
    let found: Vec<_> = CHECKS.iter().map(|check| check.meta()).filter(|meta| is_about(meta, about)).collect();
    for (index, meta) in found.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        one(meta, out)?;
    }
    Ok(!found.is_empty())
}

/// A check's id, its area, or a whole word of a symptom such as `454` or `1035`.
fn is_about(meta: &Meta, about: &str) -> bool {
    let is_word = |text: &str| {
        text.split(|c: char| !(c.is_alphanumeric() || c == '.')).any(|word| word.eq_ignore_ascii_case(about))
    };
    meta.id == about || meta.area == about || meta.symptoms.iter().any(|symptom| is_word(symptom) || *symptom == about)
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

fn list_of(label: &str, lines: &[&str], out: &mut dyn Write) -> io::Result<()> {
    let mut label = label;
    for line in lines {
        paragraph(label, line, out)?;
        label = "";
    }
    Ok(())
}

fn paragraph(label: &str, text: &str, out: &mut dyn Write) -> io::Result<()> {
    let first = format!("  {label:<10}");
    if text.starts_with("    ") {
        return writeln!(out, "{first}{text}");
    }
    let options = Options::new(WIDTH).initial_indent(&first).subsequent_indent("            ").break_words(false);
    for line in textwrap::wrap(text, options) {
        writeln!(out, "{line}")?;
    }
    Ok(())
}
