//! Service principal names (MS-ADTS section 3.1.1.5.1.3): how they are taken apart, and when two of them are one.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
};
use core::fmt;
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};
use unicode_security::confusable_detection::skeleton;

/// The classes of SPNs that rules speak of, spelt as Exchange asks for them.
pub mod class {
    /// What a peer asks a ticket for before it hands mail over.
    pub const SMTPSVC: &str = "SMTPSVC";
    /// What other mail programs ask a ticket for.
    pub const SMTP: &str = "SMTP";
    /// What browsers, Outlook and front ends ask a ticket for.
    pub const HTTP: &str = "HTTP";
    /// What stands for the services of a computer that have no SPN of their own.
    pub const HOST: &str = "HOST";
}

/// `class/host`, the form that mail needs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spn {
    /// The service.
    pub class: String,
    /// The host, lower case.
    pub host: String,
}

impl Spn {
    /// The SPN of a service on a host.
    pub fn new(class: &str, host: &str) -> Self {
        Self { class: class.to_string(), host: host.to_lowercase() }
    }

    /// As Windows compares it.
    pub fn key(&self) -> String {
        key(&self.to_string())
    }
}

impl fmt::Display for Spn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{}/{}", self.class, self.host))
    }
}

/// Two SPNs with the same key are one: "SPNs aren't case sensitive when used by Microsoft Windows-based computers" (setspn).
pub fn key(spn: &str) -> String {
    spn.to_lowercase()
}

/// Two SPNs with the same look may be taken for each other: by whoever reads them, or by a directory that overlooks width, marks
/// and what is invisible (CVE-2026-25177). Only where one of them is not plain ASCII does that mean anything: `1` looks like
/// `l` in any name.
pub fn look(spn: &str) -> String {
    look_of_folded(&folded(spn))
}

/// The same of one that is folded already.
pub fn look_of_folded(folded: &str) -> String {
    skeleton(folded).collect()
}

/// Two SPNs that are folded to the same may be one to a directory: it overlooks width, marks and what is invisible, and keeps
/// letters of different scripts apart.
pub fn folded(spn: &str) -> String {
    let visible = |letter: &char| !is_combining_mark(*letter) && !is_ignorable(*letter);
    spn.nfkd().filter(visible).collect::<String>().to_lowercase()
}

/// What is drawn as nothing (the property `Default_Ignorable_Code_Point` of Unicode, without its unassigned parts).
fn is_ignorable(letter: char) -> bool {
    matches!(
        letter,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

/// `sPNMappings`: the classes that another one stands for where nobody registered them (MS-DRSR section 4.1.4.2.19).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mappings(BTreeMap<String, String>);

impl Mappings {
    /// Reads values such as `host=alerter,appmgmt,http`.
    pub fn read<'v>(values: impl Iterator<Item = &'v str>) -> Self {
        let mut stands_for = BTreeMap::new();
        for (alias, classes) in values.filter_map(|value| value.split_once('=')) {
            let alias = alias.trim().to_lowercase();
            for class in classes.split(',').map(|class| class.trim().to_lowercase()).filter(|class| !class.is_empty()) {
                stands_for.entry(class).or_insert_with(|| alias.clone());
            }
        }
        Self(stands_for)
    }

    /// The class that stands for `class`, if one does.
    pub fn alias_of(&self, class: &str) -> Option<&str> {
        self.0.get(&class.to_lowercase()).map(String::as_str)
    }

    /// The classes for which `alias` stands, lower case.
    pub fn classes_of(&self, alias: &str) -> impl Iterator<Item = &str> {
        let of_alias = self.0.iter().filter(move |(_, stands)| stands.eq_ignore_ascii_case(alias));
        of_alias.map(|(class, _)| class.as_str())
    }
}

/// The character of `dSHeuristics` that switches checks of uniqueness off, the twenty-first (MS-ADTS section 6.1.1.2.4.1.2);
/// `None` where all are on.
pub fn uniqueness_off(heuristics: &str) -> Option<char> {
    heuristics.chars().nth(20).filter(|switch| *switch != '0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn letter_case_makes_no_other_spn() {
        assert_eq!(key("SmtpSvc/EX01.contoso.com"), Spn::new(class::SMTPSVC, "ex01.Contoso.com").key());
        assert_ne!(key("SMTP/ex01"), key("SMTPSVC/ex01"));
    }

    #[test]
    fn what_looks_alike_is_found() {
        let plain = look("SMTPSVC/ex01.contoso.com");
        let fullwidth = "SMTPSVC/ex0\u{ff11}.contoso.com";
        let invisible = "SMTPSVC/ex\u{200b}01.contoso.com";
        let marked = "SMTPSVC/e\u{301}x01.contoso.com";
        let cyrillic = "SMTPSVC/\u{435}x01.contoso.com";
        for twin in [fullwidth, invisible, marked, cyrillic] {
            assert_eq!(look(twin), plain, "{twin:?}");
        }
        for twin in [fullwidth, invisible, marked] {
            assert_eq!(folded(twin), "smtpsvc/ex01.contoso.com", "{twin:?}");
        }
        assert_ne!(folded(cyrillic), folded("SMTPSVC/ex01.contoso.com"));
        assert_ne!(look("SMTPSVC/ex02.contoso.com"), plain);
    }

    #[test]
    fn host_stands_for_http_and_not_for_smtp() {
        let mappings = Mappings::read(["host=alerter,HTTP,w3svc", "broken", "=x"].into_iter());
        assert_eq!(mappings.alias_of("http"), Some("host"));
        assert_eq!(mappings.alias_of("W3SVC"), Some("host"));
        assert_eq!(mappings.alias_of("SMTPSVC"), None);
        assert!(mappings.classes_of("HOST").eq(["alerter", "http", "w3svc"]));
    }

    #[test]
    fn the_twenty_first_character_counts() {
        assert_eq!(uniqueness_off("000000000100000000021"), Some('1'));
        assert_eq!(uniqueness_off("000000000100000000020"), None);
        assert_eq!(uniqueness_off(""), None);
    }

    proptest! {
        #[test]
        fn any_text_has_a_key_and_a_look(text in ".{0,60}") {
            let _ = (key(&text), look(&text), uniqueness_off(&text), Mappings::read(core::iter::once(text.as_str())));
        }
    }
}
