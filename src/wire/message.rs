//! LDAP messages (RFC 4511 section 4.1.1) outside ldap3: those of CLDAP, and the one nobody asked for. lber reads and
//! writes them, and only what [`frame`] let through.

use super::{
    conversation::Trouble,
    frame::{self, Frame},
    text,
};
use exchange_preflight_checks::model::evidence::{Reason, Stage};
use lber::{
    common::TagClass,
    parse::{parse_tag, parse_uint},
    structure::{PL, StructureTag},
    structures::{ASNTag as _, Boolean, Enumerated, Integer, OctetString, Sequence, Tag},
};
use ldap3::LdapResult;

/// `SearchResultEntry`.
pub(super) const ENTRY: u64 = 4;
/// `SearchResultDone`.
pub(super) const DONE: u64 = 5;

/// One message.
pub(super) struct Message {
    /// Which request it answers; 0 for what nobody asked for.
    pub(super) id: u64,
    /// The operation.
    pub(super) operation: StructureTag,
}

/// All messages of a datagram. `None` where a part of it is anything else.
pub(super) fn read_all(mut datagram: &[u8]) -> Option<Vec<Message>> {
    let mut messages = Vec::new();
    while !datagram.is_empty() {
        let Ok(Frame::Complete(length)) = frame::check(datagram) else { return None };
        let (first, rest) = datagram.split_at(length);
        messages.push(read(first)?);
        datagram = rest;
    }
    Some(messages)
}

/// One message, of a frame that was checked.
pub(super) fn read(frame: &[u8]) -> Option<Message> {
    let (_, message) = parse_tag(frame).ok()?;
    let mut parts = message.expect_constructed()?.into_iter();
    let id = unsigned(parts.next()?)?;
    let operation = parts.next().filter(|operation| operation.class == TagClass::Application)?;
    Some(Message { id, operation })
}

/// What a server says of its own accord (message 0): that it ends the connection, RFC 4511 section 4.4.1.
pub(super) fn read_unasked(frame: &[u8]) -> Option<LdapResult> {
    if !frame::is_unasked(frame) {
        return None;
    }
    let unreadable = LdapResult { rc: 80, matched: String::new(), text: String::new(), refs: vec![], ctrls: vec![] };
    Some(read(frame).and_then(|message| result(message.operation)).unwrap_or(unreadable))
}

/// What a server says of its own accord, as a Miss.
pub(super) fn notice(frame: &[u8]) -> Option<Trouble> {
    let result = read_unasked(frame)?;
    let words = text::quoted(&format!("notice of disconnection, {result}"));
    Some(Trouble::new(Stage::Reply, Reason::ServerSaid(words)))
}

/// The first entry's attributes, as the wire has them (RFC 4511 section 4.5.2).
pub(super) fn attributes(entry: StructureTag) -> Option<Attributes> {
    entry_of(entry).map(|(_name, attributes)| attributes)
}

/// Names of attributes, with all values as they came.
pub(super) type Attributes = Vec<(String, Vec<Vec<u8>>)>;

/// A search result entry: its distinguished name, and its attributes.
pub(super) fn entry_of(entry: StructureTag) -> Option<(String, Attributes)> {
    let mut parts = entry.match_id(ENTRY)?.expect_constructed()?.into_iter();
    let name = String::from_utf8_lossy(&parts.next()?.expect_primitive()?).into_owned();
    let attributes: Option<_> = parts.next()?.expect_constructed()?.into_iter().map(attribute).collect();
    Some((name, attributes?))
}

fn attribute(part: StructureTag) -> Option<(String, Vec<Vec<u8>>)> {
    let mut parts = part.expect_constructed()?.into_iter();
    let name = String::from_utf8(parts.next()?.expect_primitive()?).ok()?;
    let parts = parts.next()?.expect_constructed()?;
    let mut values = Vec::with_capacity(parts.len());
    for part in parts {
        values.push(part.expect_primitive()?);
    }
    Some((name, values))
}

/// The `LDAPResult` inside an operation (RFC 4511 section 4.1.9).
pub(super) fn result(operation: StructureTag) -> Option<LdapResult> {
    let mut parts = operation.expect_constructed()?.into_iter();
    let rc = u32::try_from(unsigned(parts.next()?)?).ok()?;
    let mut words = || Some(String::from_utf8_lossy(&parts.next()?.expect_primitive()?).into_owned());
    let (matched, text) = (words()?, words()?);
    Some(LdapResult { rc, matched, text, refs: Vec::new(), ctrls: Vec::new() })
}

/// A result other than success, as a Miss.
pub(super) fn refusal(result: &LdapResult) -> Trouble {
    Trouble::new(Stage::Reply, Reason::ServerSaid(text::quoted(&result.to_string())))
}

fn unsigned(part: StructureTag) -> Option<u64> {
    let bytes = part.expect_primitive()?;
    if bytes.is_empty() || bytes.len() > 8 {
        return None;
    }
    parse_uint(&bytes).ok().map(|(_, number)| number)
}

/// A search of the root DSE itself for one attribute (RFC 4511 section 4.5.1).
pub(super) fn root_search(id: u32, filter: StructureTag, attribute: &str) -> Vec<u8> {
    const SEARCH: u64 = 3;
    const BASE_OBJECT: i64 = 0;
    const NEVER_DEREFERENCE: i64 = 0;
    let search = Sequence {
        class: TagClass::Application,
        id: SEARCH,
        inner: vec![
            octets(""),
            Tag::Enumerated(Enumerated { inner: BASE_OBJECT, ..Enumerated::default() }),
            Tag::Enumerated(Enumerated { inner: NEVER_DEREFERENCE, ..Enumerated::default() }),
            // No limit of entries, none of seconds; values as well as names.
            integer(0),
            integer(0),
            Tag::Boolean(Boolean { inner: false, ..Boolean::default() }),
            Tag::StructureTag(filter),
            Tag::Sequence(Sequence { inner: vec![octets(attribute)], ..Sequence::default() }),
        ],
    };
    request(id, search)
}

/// A request, of an operation.
pub(super) fn request(id: u32, operation: Sequence) -> Vec<u8> {
    let message = Sequence { inner: vec![integer(id.into()), Tag::Sequence(operation)], ..Sequence::default() };
    encode(message.into_structure())
}

/// The bytes of a part.
#[expect(clippy::default_trait_access, reason = "lber does not show the type of its buffer")]
pub(super) fn encode(message: StructureTag) -> Vec<u8> {
    let mut buffer = Default::default();
    lber::write::encode_into(&mut buffer, message).expect("writing to memory cannot fail");
    buffer.to_vec()
}

/// `(attribute=*)`.
pub(super) fn present(attribute: &str) -> StructureTag {
    context(7, PL::P(attribute.into()))
}

/// `(&...)`.
pub(super) fn all_of(filters: Vec<StructureTag>) -> StructureTag {
    context(0, PL::C(filters))
}

/// `(attribute=value)`, the value as it is.
pub(super) fn equal(attribute: &str, value: &[u8]) -> StructureTag {
    context(3, PL::C(vec![octets(attribute).into_structure(), octets(value).into_structure()]))
}

fn context(id: u64, payload: PL) -> StructureTag {
    StructureTag { class: TagClass::Context, id, payload }
}

pub(super) fn octets(octets: impl Into<Vec<u8>>) -> Tag {
    Tag::OctetString(OctetString { inner: octets.into(), ..OctetString::default() })
}

pub(super) fn integer(inner: i64) -> Tag {
    Tag::Integer(Integer { inner, ..Integer::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_search_is_encoded_as_it_was_tried_in_the_lab() {
        let expected = concat!(
            "3032020101632d04000a01000a0100020100020100010100",
            "870b6f626a656374436c617373300d040b63757272656e7454696d65",
        );
        let request = root_search(1, present("objectClass"), "currentTime");
        assert_eq!(hex::encode(request), expected);
    }

    proptest! {
        #[test]
        fn a_request_is_read_back(id in 1u32..=0x7fff_ffff, domain in ".{0,40}") {
            let request = root_search(id, all_of(vec![equal("DnsDomain", domain.as_bytes())]), "Netlogon");
            let messages = read_all(&request).expect("it is LDAP");
            prop_assert_eq!(messages.iter().map(|message| message.id).collect::<Vec<_>>(), vec![u64::from(id)]);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), at: proptest::sample::Index, byte: u8) {
            let mut request = root_search(7, present("objectClass"), "currentTime");
            let place = at.index(request.len());
            request[place] = byte;
            for datagram in [bytes, request] {
                for message in read_all(&datagram).into_iter().flatten() {
                    let _ = attributes(message.operation.clone());
                    let _ = result(message.operation);
                }
            }
        }
    }
}
