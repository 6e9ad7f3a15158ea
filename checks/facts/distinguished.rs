//! Distinguished names for comparison. Tools write one name in many ways: .NET begins with the common name, OpenSSL and the
//! certificate itself end with it; types are called `S` or `ST`, `E` or `emailAddress`; values are quoted or escaped.

use crate::facts::certificate::Name;
use alloc::{
    string::{String, ToString},
    vec,
    vec::Vec,
};
use core::fmt;

/// The object identifier of a common name.
const COMMON_NAME: &str = "2.5.4.3";

/// A distinguished name that can be compared with another, however each was written. Exchange compares part by part, without
/// letter case (facts of `TlsCertificateName`).
#[derive(Clone, Debug)]
pub struct DistinguishedName {
    /// As it was written.
    pub text: String,
    parts: NameParts,
    common_name: Option<String>,
}

impl DistinguishedName {
    /// Reads one from text, as Windows PowerShell, OpenSSL or RFC 4514 write it. Any text is a name, if not a good one.
    pub fn read(text: &str) -> Self {
        Self::of_parts(text.trim().to_string(), written_parts(text))
    }

    /// That of a certificate.
    pub fn of(name: &Name) -> Self {
        Self::of_parts(name.text.clone(), name.parts())
    }

    fn of_parts(text: String, parts: NameParts) -> Self {
        let all = parts.iter().flatten();
        let mut common =
            all.filter(|(key, _)| identifier(key) == COMMON_NAME).map(|(_, value)| value.trim().to_string());
        let common_name = common.next_back().filter(|name| !name.is_empty());
        Self { text, parts: canonical(parts), common_name }
    }

    /// Are both one name, whichever way round each was written?
    pub fn is(&self, other: &Self) -> bool {
        self.parts == other.parts || self.parts.iter().eq(other.parts.iter().rev())
    }

    /// The common name, which a certificate of today need not have.
    pub fn common_name(&self) -> Option<&str> {
        self.common_name.as_deref()
    }
}

impl PartialEq for DistinguishedName {
    fn eq(&self, other: &Self) -> bool {
        self.is(other)
    }
}

impl Eq for DistinguishedName {}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

/// A name for comparison: one element a relative distinguished name.
type NameParts = Vec<Vec<(String, String)>>;

/// `(type, value)` as they are written.
fn written_parts(name: &str) -> NameParts {
    let part = |part: &String| {
        let (key, value) = part.split_once('=').unwrap_or((part.as_str(), ""));
        let value = value.trim();
        let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        (key.trim().to_string(), quoted.map_or(value.to_string(), |value| value.replace("\"\"", "\"")))
    };
    split_name(name).iter().map(|together| together.iter().map(part).collect()).collect()
}

/// In lower case, by one name for each type however a tool calls it.
fn canonical(parts: NameParts) -> NameParts {
    let one = |(key, value): (String, String)| {
        let value = value.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase();
        (identifier(&key), value)
    };
    let together = |parts: Vec<(String, String)>| -> Vec<(String, String)> {
        let mut parts: Vec<_> = parts.into_iter().map(one).collect();
        // The order of parts that stand together is no part of the name (X.501 section 9.2).
        parts.sort();
        parts
    };
    parts.into_iter().map(together).collect()
}

/// The object identifier of a type: what .NET, OpenSSL and RFC 4514 call differently is one there. What nobody knows stays as
/// it is.
fn identifier(key: &str) -> String {
    const KNOWN: [(&str, &[&str]); 22] = [
        ("2.5.4.3", &["cn"]),
        ("2.5.4.4", &["sn", "surname"]),
        ("2.5.4.5", &["serialnumber"]),
        ("2.5.4.6", &["c"]),
        ("2.5.4.7", &["l"]),
        ("2.5.4.8", &["s", "st"]),
        ("2.5.4.9", &["street", "streetaddress"]),
        ("2.5.4.10", &["o"]),
        ("2.5.4.11", &["ou"]),
        ("2.5.4.12", &["t", "title"]),
        ("2.5.4.13", &["description"]),
        ("2.5.4.15", &["businesscategory"]),
        ("2.5.4.17", &["postalcode"]),
        ("2.5.4.20", &["phone", "telephonenumber"]),
        ("2.5.4.42", &["g", "gn", "givenname"]),
        ("2.5.4.43", &["i", "initials"]),
        ("2.5.4.97", &["organizationidentifier"]),
        ("0.9.2342.19200300.100.1.25", &["dc"]),
        ("1.2.840.113549.1.9.1", &["e", "email", "emailaddress"]),
        ("1.3.6.1.4.1.311.60.2.1.1", &["jurisdictionl", "jurisdictionlocality"]),
        ("1.3.6.1.4.1.311.60.2.1.2", &["jurisdictionst", "jurisdictionstateorprovince"]),
        ("1.3.6.1.4.1.311.60.2.1.3", &["jurisdictionc", "jurisdictioncountry"]),
    ];
    let key = key.to_lowercase();
    let key = key.strip_prefix("oid.").unwrap_or(&key);
    let known = KNOWN.iter().find(|(_, names)| names.contains(&key));
    known.map_or(key, |(identifier, _)| identifier).to_string()
}

/// Splits at commas outside quotation marks, and each part at the plus signs between what stands together; `\,` is a comma that
/// belongs to its part (RFC 4514).
fn split_name(name: &str) -> Vec<Vec<String>> {
    let (mut all, mut together, mut part) = (Vec::new(), Vec::new(), String::new());
    let (mut in_quotes, mut is_escaped) = (false, false);
    for letter in name.chars().chain([',']) {
        match letter {
            _ if is_escaped => {
                part.push(letter);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => {
                in_quotes = !in_quotes;
                part.push(letter);
            }
            ',' | ';' | '+' if !in_quotes => {
                together.extend(Some(core::mem::take(&mut part)).filter(|part| !part.trim().is_empty()));
                if letter != '+' && !together.is_empty() {
                    all.push(core::mem::take(&mut together));
                }
            }
            _ => part.push(letter),
        }
    }
    // What an open quotation mark keeps from its end.
    if !part.trim().is_empty() {
        all.push(vec![part]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_same(one: &str, other: &str) -> bool {
        DistinguishedName::read(one) == DistinguishedName::read(other)
    }

    #[test]
    fn quoted_and_escaped_commas_belong_to_their_part() {
        assert!(is_same("CN=mail, O=\"Contoso, Ltd.\", S=Kent", "ST=Kent, O=Contoso\\, Ltd., CN=mail"));
        assert!(is_same("CN=a, O=\"the \"\"new\"\" one\"", "cn=A,o=\"the \"\"new\"\"  one\""));
        assert!(is_same("CN=a + OU=b, C=x", "C=x, OU=b + CN=a"));
        assert!(!is_same("CN=mail, O=Contoso", "CN=mail"));
    }

    #[test]
    fn the_common_name_is_found_whichever_way_round() {
        let common = |text: &str| DistinguishedName::read(text).common_name().map(ToString::to_string);
        assert_eq!(common("CN=*.Contoso.com, O=Contoso").as_deref(), Some("*.Contoso.com"));
        assert_eq!(common("C=US, O=Contoso, cn=mail").as_deref(), Some("mail"));
        assert_eq!(common("O=Contoso"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_that_is_itself(text in ".{0,60}") {
            prop_assert!(is_same(&text, &text));
        }
    }
}
