//! Mistakes in a file that was given: each with its line and field, all told at once.

use std::fmt::Display;

/// So many mistakes of one file are told; more would hide the first.
const MOST_TOLD: usize = 20;

/// So much of what stands in a file is shown where it is wrong.
const LONGEST_SHOWN: usize = 60;

/// The mistakes of one file.
#[derive(Debug)]
pub struct Mistakes {
    file: String,
    told: Vec<String>,
    more: usize,
}

impl Mistakes {
    /// None yet, of this file as it was named.
    pub fn of(file: &str) -> Self {
        Self { file: file.into(), told: Vec::new(), more: 0 }
    }

    /// The file as a whole is wrong.
    pub fn whole(&mut self, what: impl Display) {
        self.tell("", &what);
    }

    /// A line is wrong.
    pub fn line(&mut self, line: usize, what: impl Display) {
        self.tell(&format!(", line {line}"), &what);
    }

    /// A field of a line is wrong.
    pub fn field(&mut self, line: usize, field: &str, what: impl Display) {
        self.tell(&format!(", line {line}, field {}", shortened(field)), &what);
    }

    fn tell(&mut self, place: &str, what: &dyn Display) {
        if self.told.len() < MOST_TOLD {
            self.told.push(format!("{}{place}: {what}", self.file));
        } else {
            self.more += 1;
        }
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Each as a sentence with its place, and at last how many more there are.
    pub fn into_sentences(self) -> Vec<String> {
        let more = (self.more > 0).then(|| format!("{}: and {} more", self.file, self.more));
        self.told.into_iter().chain(more).collect()
    }
}

/// Text of a file in quotation marks, cut where it is long.
pub fn quoted(text: &str) -> String {
    format!("{:?}", shortened(text))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST_SHOWN) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_told_and_the_others_counted() {
        let mut mistakes = Mistakes::of("a.csv");
        for line in 1..=MOST_TOLD + 3 {
            mistakes.field(line, "Services", "is wrong");
        }
        let told = mistakes.into_sentences();
        assert_eq!(told.len(), MOST_TOLD + 1);
        assert_eq!(told[0], "a.csv, line 1, field Services: is wrong");
        assert_eq!(told[MOST_TOLD], "a.csv: and 3 more");
    }
}
