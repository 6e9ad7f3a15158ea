//! What a directory shows to whoever has logged on: searches (RFC 4511 section 4.5) and what they find.

use super::raw::Raw;
use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
    vec::Vec,
};
use serde::{Deserialize, Serialize};

/// One search by somebody who has logged on; how, stands in the plan. Asked of port 3268 or 3269 it is answered from the
/// global catalog.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct DirectorySearch {
    /// The distinguished name of where it begins; empty for the whole forest of a global catalog.
    pub base: String,
    /// How far it goes from there.
    pub scope: SearchScope,
    /// RFC 4515.
    pub filter: String,
    /// The attributes wanted.
    pub attributes: Vec<String>,
}

impl DirectorySearch {
    /// All below `base`.
    pub fn below(base: impl Into<String>, filter: impl Into<String>, attributes: &[&str]) -> Self {
        Self::new(base, SearchScope::Subtree, filter, attributes)
    }

    /// The object itself.
    pub fn of(dn: impl Into<String>, attributes: &[&str]) -> Self {
        Self::new(dn, SearchScope::Base, filter::present("objectClass"), attributes)
    }

    fn new(base: impl Into<String>, scope: SearchScope, filter: impl Into<String>, attributes: &[&str]) -> Self {
        let attributes = attributes.iter().map(ToString::to_string).collect();
        Self { base: base.into(), scope, filter: filter.into(), attributes }
    }
}

/// How far a search goes (RFC 4511 section 4.5.1.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SearchScope {
    /// The base itself.
    Base,
    /// What is right below it.
    OneLevel,
    /// The base and all below.
    Subtree,
}

/// Filters of RFC 4515.
pub mod filter {
    use super::{String, format};

    /// `(attribute=*)`.
    pub fn present(attribute: &str) -> String {
        format!("({attribute}=*)")
    }

    /// `(attribute=value)`, whatever is in the value.
    pub fn equal(attribute: &str, value: &str) -> String {
        format!("({attribute}={})", escaped(value))
    }

    /// `(attribute=value)` of a value that is no text: a GUID, a SID.
    pub fn equal_bytes(attribute: &str, value: &[u8]) -> String {
        let digits = hex::encode(value);
        let mut escaped = String::with_capacity(value.len() * 3);
        for (at, digit) in digits.chars().enumerate() {
            if at % 2 == 0 {
                escaped.push('\\');
            }
            escaped.push(digit);
        }
        format!("({attribute}={escaped})")
    }

    /// `(attribute=value*)`.
    pub fn begins(attribute: &str, value: &str) -> String {
        format!("({attribute}={}*)", escaped(value))
    }

    /// `(&...)`.
    pub fn all_of(parts: impl IntoIterator<Item = String>) -> String {
        format!("(&{})", parts.into_iter().collect::<String>())
    }

    /// `(|...)`.
    pub fn any_of(parts: impl IntoIterator<Item = String>) -> String {
        format!("(|{})", parts.into_iter().collect::<String>())
    }

    /// RFC 4515 section 3: NUL, parentheses, asterisk and backslash.
    fn escaped(value: &str) -> String {
        let mut escaped = String::with_capacity(value.len());
        for letter in value.chars() {
            match letter {
                '\0' | '(' | ')' | '*' | '\\' => {
                    let mut byte = [0];
                    letter.encode_utf8(&mut byte);
                    escaped.push('\\');
                    escaped.push_str(&hex::encode(byte));
                }
                other => escaped.push(other),
            }
        }
        escaped
    }
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryEntries {
    /// The entries, in the order in which they came. Values of an attribute that came in ranges stand together.
    pub entries: Vec<Entry>,
    /// How many other partitions the server pointed to (RFC 4511 section 4.5.3); none of them is followed.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub references: usize,
    /// The result code, of the last page (RFC 4511 section 4.1.9); none where the search broke off before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<u32>,
}

/// The result codes that rules tell apart (RFC 4511 appendix A).
pub mod result {
    /// All was shown.
    pub const SUCCESS: u32 = 0;
    /// There is no such base, or it is not shown to this user.
    pub const NO_SUCH_OBJECT: u32 = 32;
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// An object, as far as it was asked for and is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its distinguished name.
    pub dn: String,
    /// Attribute -> values, spelt as the server does, without options such as `;range=`.
    pub attributes: BTreeMap<String, Vec<Value>>,
}

/// A value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Value {
    /// Readable as UTF-8.
    Text(String),
    /// Anything else.
    Bytes(Raw),
}

impl Value {
    /// A value as the wire has it.
    pub fn new(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Bytes(Raw(error.into_bytes())),
        }
    }

    /// The bytes; those of text are its UTF-8.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Bytes(Raw(bytes)) => bytes,
        }
    }

    /// The text; `None` for what is none.
    pub fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }
}

impl Entry {
    /// All values of an attribute, whatever the letter case of its name.
    pub fn values(&self, attribute: &str) -> &[Value] {
        let found = self.attributes.iter().find(|(name, _)| name.eq_ignore_ascii_case(attribute));
        found.map_or(&[], |(_, values)| values)
    }

    /// All values that are text.
    pub fn texts(&self, attribute: &str) -> impl Iterator<Item = &str> {
        self.values(attribute).iter().filter_map(Value::text)
    }

    /// The first value that is text.
    pub fn text(&self, attribute: &str) -> Option<&str> {
        self.texts(attribute).next()
    }

    /// The first value's bytes.
    pub fn bytes(&self, attribute: &str) -> Option<&[u8]> {
        self.values(attribute).first().map(Value::bytes)
    }

    /// An INTEGER; Active Directory writes flags above 2^31 as negative numbers.
    pub fn number(&self, attribute: &str) -> Option<i64> {
        self.text(attribute)?.parse().ok()
    }

    /// A Boolean.
    pub fn flag(&self, attribute: &str) -> Option<bool> {
        match self.text(attribute)? {
            "TRUE" => Some(true),
            "FALSE" => Some(false),
            _ => None,
        }
    }

    /// Is anything of this attribute shown?
    pub fn shows(&self, attribute: &str) -> bool {
        !self.values(attribute).is_empty()
    }

    /// Is it of this class?
    pub fn is_a(&self, class: &str) -> bool {
        self.texts("objectClass").any(|known| known.eq_ignore_ascii_case(class))
    }

    /// `objectGUID`, as Windows writes it; it stays the same whatever the object is called.
    pub fn guid(&self) -> Option<String> {
        guid(self.bytes("objectGUID")?)
    }
}

/// A GUID as Windows writes it: the first three groups little-endian (MS-DTYP section 2.3.4.2).
pub fn guid(bytes: &[u8]) -> Option<String> {
    let b: &[u8; 16] = bytes.try_into().ok()?;
    let (a, c, d) = ([b[3], b[2], b[1], b[0]], [b[5], b[4]], [b[7], b[6]]);
    let groups = [&a[..], &c, &d, &b[8..10], &b[10..]];
    Some(groups.map(hex::encode).join("-"))
}

/// The bytes of a GUID that Windows wrote.
pub fn guid_bytes(text: &str) -> Option<[u8; 16]> {
    let groups: Vec<Vec<u8>> = text.split('-').map(hex::decode).collect::<Result<_, _>>().ok()?;
    let is_mixed = |at: usize| at < 3;
    let in_order = groups.into_iter().enumerate().flat_map(|(at, mut group)| {
        if is_mixed(at) {
            group.reverse();
        }
        group
    });
    in_order.collect::<Vec<u8>>().try_into().ok().filter(|bytes: &[u8; 16]| guid(bytes).as_deref() == Some(text))
}

/// A distinguished name, taken apart at its commas (RFC 4514): `(type, value)`, the leaf first, escapes undone. `None` for
/// what is none.
pub fn dn_parts(dn: &str) -> Option<Vec<(String, String)>> {
    split(dn, ',')
        .into_iter()
        .map(|part| {
            let (key, value) = part.split_once('=')?;
            Some((key.trim().to_lowercase(), unescaped(value)?))
        })
        .collect()
}

/// The value of a distinguished name's first part: what the object is called.
pub fn leaf(dn: &str) -> Option<String> {
    dn_parts(dn)?.into_iter().next().map(|(_, value)| value)
}

/// The distinguished name of what holds the object.
pub fn parent(dn: &str) -> Option<&str> {
    let first = split(dn, ',').into_iter().next()?;
    dn.get(first.len() + 1..)
}

/// Are two distinguished names one? Active Directory compares them without letter case.
pub fn is_same_dn(one: &str, other: &str) -> bool {
    match (dn_parts(one), dn_parts(other)) {
        (Some(one), Some(other)) => {
            let folded = |parts: Vec<(String, String)>| -> Vec<_> {
                parts.into_iter().map(|(key, value)| (key, value.to_lowercase())).collect()
            };
            folded(one) == folded(other)
        }
        _ => one.eq_ignore_ascii_case(other),
    }
}

/// `DC=contoso,DC=com` is `contoso.com` (RFC 2247); `None` where a part is anything but a domain component.
pub fn domain_of_dn(dn: &str) -> Option<String> {
    let labels: Option<Vec<_>> = dn_parts(dn)?.into_iter().map(|(key, value)| (key == "dc").then_some(value)).collect();
    labels.filter(|labels| !labels.is_empty()).map(|labels| labels.join(".").to_lowercase())
}

/// Splits at a separator that no backslash stands before.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut from, mut is_escaped) = (Vec::new(), 0, false);
    for (at, letter) in text.char_indices() {
        if is_escaped {
            is_escaped = false;
        } else if letter == '\\' {
            is_escaped = true;
        } else if letter == separator {
            parts.push(&text[from..at]);
            from = at + letter.len_utf8();
        }
    }
    parts.push(&text[from..]);
    parts
}

/// RFC 4514 section 2.4: a backslash stands before the character that is meant, or before two hexadecimal digits of a byte.
fn unescaped(value: &str) -> Option<String> {
    let bytes = value.trim_start_matches(' ').as_bytes();
    let (mut plain, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        if byte != b'\\' {
            plain.push(byte);
            at += 1;
        } else if let Some(byte) = bytes.get(at + 1..at + 3).and_then(|digits| hex::decode(digits).ok()) {
            plain.extend(byte);
            at += 3;
        } else {
            plain.push(*bytes.get(at + 1)?);
            at += 2;
        }
    }
    String::from_utf8(plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn distinguished_names_are_taken_apart() {
        let dn = "CN=EX01\\0ACNF:9f3c\\, too,CN=Servers,DC=Contoso,DC=com";
        assert_eq!(leaf(dn).as_deref(), Some("EX01\nCNF:9f3c, too"));
        assert_eq!(parent(dn), Some("CN=Servers,DC=Contoso,DC=com"));
        assert_eq!(parent("DC=com"), None);
        assert!(is_same_dn("CN=A, DC=x", "cn=a,dc=X"));
        assert!(!is_same_dn("CN=A\\,DC=x", "CN=A,DC=x"));
        assert_eq!(domain_of_dn("DC=Contoso, dc=com").as_deref(), Some("contoso.com"));
        assert_eq!(domain_of_dn("CN=Configuration,DC=contoso,DC=com"), None);
        assert_eq!(domain_of_dn(""), None);
    }

    #[test]
    fn a_filter_holds_any_value() {
        assert_eq!(filter::equal("cn", "a*(b)\\\0"), "(cn=a\\2a\\28b\\29\\5c\\00)");
        let both = filter::any_of([filter::begins("cn", "EX"), filter::present("cn")]);
        assert_eq!(both, "(|(cn=EX*)(cn=*))");
    }

    #[test]
    fn a_guid_is_written_as_windows_does() {
        let bytes: Vec<u8> = (0..16).collect();
        assert_eq!(guid(&bytes).as_deref(), Some("03020100-0504-0706-0809-0a0b0c0d0e0f"));
        assert_eq!(guid(&bytes[1..]), None);
        assert_eq!(guid_bytes("03020100-0504-0706-0809-0a0b0c0d0e0f").map(Vec::from), Some(bytes));
        for wrong in ["", "03020100", "0302010005040706-0809-0a0b0c0d0e0f", "0302010g-0504-0706-0809-0a0b0c0d0e0f"] {
            assert_eq!(guid_bytes(wrong), None, "{wrong}");
        }
        assert_eq!(filter::equal_bytes("objectGUID", b"*A\xff"), "(objectGUID=\\2a\\41\\ff)");
    }

    proptest! {
        #[test]
        fn any_text_is_a_name_or_none(dn in ".{0,60}") {
            let _ = (dn_parts(&dn), leaf(&dn), parent(&dn), domain_of_dn(&dn));
        }

        #[test]
        fn a_value_keeps_its_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let value = Value::new(bytes.clone());
            let kept = value.bytes().to_vec();
            prop_assert_eq!(kept, bytes);
        }
    }
}
