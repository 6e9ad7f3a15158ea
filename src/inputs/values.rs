//! What a field of an export holds. One value has many forms: as PowerShell shows it, as its JSON has it, and as an object of an
//! older shell gives it with the text inside.

use super::mistake::quoted;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use exchange_preflight_checks::facts::export::Services;
use jiff::{Timestamp, civil::DateTime, tz::TimeZone};
use serde_json::{Map, Value};

/// Objects of PowerShell are no deeper than this.
const DEEPEST: usize = 4;

/// Text. `None` where there is none; the error is what is wrong.
pub fn text(value: &Value) -> Result<Option<String>, String> {
    text_within(value, DEEPEST).map(|text| text.filter(|text| !text.is_empty()))
}

/// Several texts: a list, or one text in which they stand side by side as PowerShell shows them: `{a, b}`.
pub fn list(value: &Value) -> Result<Vec<String>, String> {
    match value {
        Value::Array(items) => items.iter().filter_map(|item| text(item).transpose()).collect(),
        Value::Object(fields) if wrapped(fields).is_some() => list(wrapped(fields).unwrap_or(&Value::Null)),
        Value::String(written) => {
            let Some(written) = plain(written)? else { return Ok(Vec::new()) };
            let within = written.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(&written);
            if within.trim_end().ends_with(['\u{2026}']) || within.trim_end().ends_with("...") {
                return Err(format!("{} breaks off; what is left out cannot be told", quoted(&written)));
            }
            Ok(within.split([',', ' ']).filter(|one| !one.is_empty()).map(Into::into).collect())
        }
        other => Ok(text(other)?.into_iter().collect()),
    }
}

/// Yes or no.
pub fn flag(value: &Value) -> Result<Option<bool>, String> {
    let Some(text) = text(value)? else { return Ok(None) };
    match text.trim_start_matches('$').to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(Some(true)),
        "false" | "0" => Ok(Some(false)),
        _ => Err(format!("{} is neither True nor False", quoted(&text))),
    }
}

/// A point in time. One without a zone is taken as UTC only where the field's name says so.
pub fn time(value: &Value, is_utc: bool) -> Result<Option<Timestamp>, String> {
    if let Value::Object(fields) = value {
        // Windows PowerShell: {"value": "/Date(1699999999000)/", "DateTime": "..."}
        let inner = field(fields, "value").or_else(|| field(fields, "DateTime")).unwrap_or(&Value::Null);
        return time(inner, is_utc);
    }
    let Some(text) = text(value)? else { return Ok(None) };
    if let Some(date) = text.strip_prefix("/Date(").and_then(|rest| rest.strip_suffix(")/")) {
        // An offset behind it is for display; the number is UTC.
        let digits = date.find(['+', '-']).filter(|at| *at > 0).map_or(date, |at| &date[..at]);
        let read = digits.parse().ok().and_then(|number| Timestamp::from_millisecond(number).ok());
        return read.map(Some).ok_or_else(|| format!("{} is no date", quoted(&text)));
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(Some(time));
    }
    let utc = text.parse::<DateTime>().ok().filter(|_| is_utc && text.starts_with(|c: char| c.is_ascii_digit()));
    let utc = utc.and_then(|time| time.to_zoned(TimeZone::UTC).ok());
    utc.map(|time| Some(time.timestamp())).ok_or_else(|| {
        format!("{} is a date that only its own computer can read, or none; 2026-11-22T10:00:00Z is one", quoted(&text))
    })
}

/// Bytes: base64, or a list of numbers. `None` where the export has their type in place of them, as CSV does.
pub fn bytes(value: &Value) -> Result<Option<Vec<u8>>, String> {
    match value {
        Value::Array(numbers) if !numbers.is_empty() => {
            let byte = |number: &Value| number.as_u64().and_then(|number| u8::try_from(number).ok());
            let read: Option<Vec<u8>> = numbers.iter().map(byte).collect();
            read.map(Some).ok_or_else(|| "is no list of bytes from 0 to 255".into())
        }
        Value::Object(fields) if wrapped(fields).is_some() => bytes(wrapped(fields).unwrap_or(&Value::Null)),
        Value::String(written) if written.trim() == "System.Byte[]" => Ok(None),
        _ => {
            let Some(text) = text(value)? else { return Ok(None) };
            let compact: String = text.split_whitespace().collect();
            STANDARD.decode(compact).map(Some).map_err(|_| "is not base64".into())
        }
    }
}

/// What a certificate is used for: a number, words, or the letters that the shell's tables show (`IP.WS..`).
pub fn services(value: &Value) -> Result<Option<Services>, String> {
    /// One place each in a table of Get-ExchangeCertificate.
    const LETTERS: [(char, u32); 6] = [('I', 1), ('P', 2), ('U', 4), ('W', 8), ('S', 16), ('F', 32)];
    let all = Services::NAMES.iter().fold(0, |all, (bit, _)| all | bit);
    let Some(text) = text(value)? else { return Ok(None) };
    let unknown =
        || format!("{} is no list of IMAP, POP, UM, IIS, SMTP, Federation, UMCallRouter, None", quoted(&text));
    if let Ok(number) = text.parse::<u32>() {
        return if number & !all == 0 { Ok(Some(Services(number))) } else { Err(unknown()) };
    }
    if text.contains('.') && text.chars().all(|letter| letter == '.' || LETTERS.iter().any(|(l, _)| *l == letter)) {
        let bits = text.chars().filter_map(|letter| LETTERS.iter().find(|(known, _)| *known == letter));
        return Ok(Some(Services(bits.fold(0, |all, (_, bit)| all | bit))));
    }
    let mut services = 0;
    for word in text.split([',', ' ']).filter(|word| !word.is_empty()) {
        let known = Services::NAMES.iter().find(|(_, name)| name.eq_ignore_ascii_case(word));
        services |= match known {
            Some((bit, _)) => *bit,
            None if word.eq_ignore_ascii_case("None") => 0,
            None => return Err(unknown()),
        };
    }
    Ok(Some(Services(services)))
}

/// A word of an enumeration, or its number.
pub fn word(value: &Value, words: &[(u32, &'static str)]) -> Result<Option<&'static str>, String> {
    let Some(text) = text(value)? else { return Ok(None) };
    let number = text.parse::<u32>().ok();
    let known = words.iter().find(|(of, word)| word.eq_ignore_ascii_case(&text) || number == Some(*of));
    let all = || words.iter().map(|(_, word)| *word).collect::<Vec<_>>().join(", ");
    known.map(|(_, word)| Some(*word)).ok_or_else(|| format!("{} is none of {}", quoted(&text), all()))
}

fn text_within(value: &Value, depth: usize) -> Result<Option<String>, String> {
    match value {
        Value::Null => Ok(None),
        Value::Bool(flag) => Ok(Some(if *flag { "True".into() } else { "False".into() })),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::String(text) => plain(text),
        Value::Array(items) => match items.as_slice() {
            [] => Ok(None),
            [one] if depth > 0 => text_within(one, depth - 1),
            _ => Err("holds several values where one is expected".into()),
        },
        Value::Object(fields) => {
            if depth == 0 {
                return Err("is an object with no text inside".into());
            }
            inside(fields, depth - 1)
        }
    }
}

/// Text, but for what PowerShell writes where it has none: the name of a type.
fn plain(text: &str) -> Result<Option<String>, String> {
    const TYPES: [&str; 4] = ["System.", "Microsoft.Exchange.", "Deserialized.", "@{"];
    let text = text.trim();
    if TYPES.iter().any(|name| text.starts_with(name)) {
        return Err(format!("{} is the name of a type in place of what it holds", quoted(text)));
    }
    Ok(Some(text.to_string()).filter(|text| !text.is_empty()))
}

/// The text in an object of Exchange's, by the field that its type keeps it in.
fn inside(fields: &Map<String, Value>, depth: usize) -> Result<Option<String>, String> {
    /// The first of these that is there and not empty: an address before the name that it may stand for, the address of a
    /// SmtpDomainWithSubdomains (`*.contoso.com`) before its domain (`contoso.com`), the word of an enumeration before its number.
    const HOLDERS: [&str; 9] = [
        "IPAddressToString",
        "Address",
        "SmtpDomain",
        "Domain",
        "HostnameString",
        "DomainName",
        "Name",
        "Value",
        "DistinguishedName",
    ];
    let of = |name: &str| field(fields, name).map_or(Ok(None), |value| text_within(value, depth));
    if let Some(subject) = of("CertificateSubject")? {
        // SmtpX509Identifier: TlsCertificateName.
        let issuer = of("CertificateIssuer")?.map(|issuer| format!("<I>{issuer}")).unwrap_or_default();
        return Ok(Some(format!("{issuer}<S>{subject}")));
    }
    if let (Some(kind), Some(address), Some(cost)) = (of("Type")?, of("Address")?, of("Cost")?) {
        // AddressSpace.
        return Ok(Some(format!("{kind}:{address};{cost}")));
    }
    for name in HOLDERS {
        if let Some(text) = of(name)? {
            return Ok(Some(text));
        }
    }
    Err("is an object with no text inside".into())
}

/// What stands in an object that PowerShell puts around lists: `{"value": [...], "Count": 2}`.
fn wrapped(fields: &Map<String, Value>) -> Option<&Value> {
    field(fields, "value").filter(|value| value.is_array())
}

/// A field, letter case aside; the words of an enumeration stand in `Value` beside the number in `value`.
fn field<'v>(fields: &'v Map<String, Value>, name: &str) -> Option<&'v Value> {
    let is_it = |(key, _): &(&String, &Value)| key.eq_ignore_ascii_case(name);
    fields.get(name).or_else(|| fields.iter().find(is_it).map(|(_, value)| value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn text_is_found_in_objects_of_exchange() {
        for (value, expected) in [
            (json!("  mail.contoso.com "), Some("mail.contoso.com")),
            (json!({ "Domain": "contoso.com", "Address": "*.contoso.com" }), Some("*.contoso.com")),
            (
                json!({ "Domain": { "HostnameString": "smtp.fabrikam.com" }, "Address": null }),
                Some("smtp.fabrikam.com"),
            ),
            (json!({ "Address": { "Address": 7, "IPAddressToString": "203.0.113.7" } }), Some("203.0.113.7")),
            (json!({ "Type": "SMTP", "Address": "*", "Cost": 1 }), Some("SMTP:*;1")),
            (json!({ "CertificateIssuer": "CN=a", "CertificateSubject": "CN=b" }), Some("<I>CN=a<S>CN=b")),
            (json!({ "value": 24, "Value": "IIS, SMTP" }), Some("IIS, SMTP")),
            (json!([]), None),
            (json!(null), None),
            (json!(""), None),
        ] {
            assert_eq!(text(&value).unwrap().as_deref(), expected, "{value}");
        }
        for wrong in [json!("System.Object[]"), json!("@{Domain=a}"), json!({ "LowerBound": 1 }), json!(["a", "b"])] {
            assert!(text(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_come_in_many_forms() {
        for value in [
            json!(["a.com", "b.com"]),
            json!("a.com, b.com"),
            json!("{a.com, b.com}"),
            json!("a.com b.com"),
            json!({ "value": ["a.com", "b.com"], "Count": 2 }),
            json!([{ "Domain": "a.com" }, { "Address": "b.com" }]),
        ] {
            assert_eq!(list(&value).unwrap(), ["a.com", "b.com"], "{value}");
        }
        assert_eq!(list(&json!("{}")).unwrap(), Vec::<String>::new());
        for wrong in
            ["{a.com, b.com...}", "System.String[]", "Microsoft.Exchange.Data.MultiValuedProperty`1[System.Net]"]
        {
            assert!(list(&json!(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn dates_are_read_where_they_say_when() {
        let expected: Timestamp = "2026-11-22T10:00:00Z".parse().unwrap();
        for value in [
            json!("2026-11-22T10:00:00.0000000Z"),
            json!("2026-11-22T11:00:00.0000000+01:00"),
            json!("/Date(1795341600000)/"),
            json!("/Date(1795341600000+0100)/"),
            json!({ "value": "/Date(1795341600000)/", "DateTime": "Sunday, November 22, 2026 10:00:00 AM" }),
        ] {
            assert_eq!(time(&value, false), Ok(Some(expected)), "{value}");
        }
        assert_eq!(time(&json!("2026-11-22T10:00:00"), true), Ok(Some(expected)));
        for wrong in ["2026-11-22T10:00:00", "11/22/2026 10:00:00 AM", "22.11.2026 10:00", "/Date(x)/"] {
            assert!(time(&json!(wrong), false).is_err(), "{wrong}");
        }
    }

    #[test]
    fn services_are_numbers_words_or_letters() {
        for value in [json!(24), json!("24"), json!("IIS, SMTP"), json!("smtp iis"), json!("...WS.")] {
            assert_eq!(services(&value), Ok(Some(Services(24))), "{value}");
        }
        assert_eq!(services(&json!("None")), Ok(Some(Services(0))));
        assert!(services(&json!("SMTP, HTTP")).is_err() && services(&json!(128)).is_err());
    }

    #[test]
    fn bytes_are_base64_or_numbers() {
        assert_eq!(bytes(&json!("MAA=")), Ok(Some(vec![0x30, 0])));
        assert_eq!(bytes(&json!([48, 0])), Ok(Some(vec![0x30, 0])));
        assert_eq!(bytes(&json!("System.Byte[]")), Ok(None));
        assert!(bytes(&json!([256])).is_err() && bytes(&json!("?")).is_err());
    }

    proptest! {
        #[test]
        fn any_text_is_a_value_or_a_mistake(written in "\\PC{0,40}") {
            let value = json!(written);
            let _ = (text(&value), list(&value), flag(&value), time(&value, true), bytes(&value), services(&value));
        }
    }
}
