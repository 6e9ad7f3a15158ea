//! The guard before every parser of LDAP and of tickets. A reply nested 20,000 levels deep overflows a parser's stack, which nothing can
//! catch, and a length of 2 GB makes it collect that much: so each frame is looked at here first.

/// The largest frame that is let through: a page of a thousand large entries is smaller.
pub(super) const LONGEST_FRAME: usize = 16 * 1024 * 1024;

/// LDAP's deepest answer (a search result entry) has 6 levels, and controls nest little deeper.
pub(super) const DEEPEST_NESTING: usize = 12;

/// A parser makes some sixty bytes of a part that takes two; Active Directory sends at most 5,000 values at a time.
pub(super) const MOST_PARTS: usize = 100_000;

/// Where the first frame of a buffer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// It is this long, it is complete, and it is well-formed.
    Complete(usize),
    /// More bytes are needed, and they are worth waiting for.
    Incomplete,
}

/// Why a frame must not reach a parser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It begins with anything but a SEQUENCE (RFC 4511 section 4.1.1).
    Tag,
    /// A length that no answer has, or one without a bound.
    Length,
    /// Its parts do not fill it, or do not fit.
    Contents,
    /// Nested deeper than any answer.
    Depth,
    /// More parts than any answer has.
    Parts,
}

impl Broken {
    /// In words.
    pub(super) fn describe(self) -> &'static str {
        match self {
            Self::Tag => "a message that is not LDAP",
            Self::Length => "an LDAP message of impossible length",
            Self::Contents => "an LDAP message whose parts do not fit",
            Self::Parts => "an LDAP message of more parts than any answer has",
            Self::Depth => "an LDAP message nested deeper than any answer",
        }
    }
}

/// Looks at the first frame of `buffer`. It needs no more than the header to refuse a frame that is too large.
pub(super) fn check(buffer: &[u8]) -> Result<Frame, Broken> {
    check_within(LONGEST_FRAME, buffer)
}

/// The same where frames may be so long, at most [`LONGEST_FRAME`].
pub(super) fn check_within(longest: usize, buffer: &[u8]) -> Result<Frame, Broken> {
    const SEQUENCE: u8 = 0x30;
    if buffer.first().is_some_and(|tag| *tag != SEQUENCE) {
        return Err(Broken::Tag);
    }
    let Some(header) = Header::read(buffer)? else { return Ok(Frame::Incomplete) };
    let end = header.size + header.length;
    if end > longest {
        return Err(Broken::Length);
    }
    let Some(contents) = buffer.get(header.size..end) else { return Ok(Frame::Incomplete) };
    walk(contents)?;
    Ok(Frame::Complete(end))
}

/// Is this one message of BER and nothing behind it, of whatever protocol and with the same bounds?
pub(super) fn is_whole(message: &[u8]) -> bool {
    let header = Header::read(message).ok().flatten();
    header.is_some_and(|header| header.size + header.length == message.len()) && walk(message).is_ok()
}

/// Is this message 0, the one that answers no request (RFC 4511 section 4.4)? The frame is one that was let through.
pub(super) fn is_unasked(frame: &[u8]) -> bool {
    let contents = Header::read(frame).ok().flatten().and_then(|header| frame.get(header.size..));
    contents.is_some_and(|contents| contents.starts_with(&[0x02, 0x01, 0x00]))
}

/// Walks all parts without recursion: `ends` holds where each open part ends.
fn walk(contents: &[u8]) -> Result<(), Broken> {
    let mut ends = vec![contents.len()];
    let mut at = 0;
    let mut parts = 0;
    while let Some(&end) = ends.last() {
        if at == end {
            ends.pop();
            continue;
        }
        let header = Header::read(&contents[at..end])?.ok_or(Broken::Contents)?;
        at += header.size;
        parts += 1;
        if parts > MOST_PARTS {
            return Err(Broken::Parts);
        }
        if header.length > end - at {
            return Err(Broken::Contents);
        }
        if !header.is_constructed {
            at += header.length;
        } else if ends.len() == DEEPEST_NESTING {
            return Err(Broken::Depth);
        } else {
            ends.push(at + header.length);
        }
    }
    Ok(())
}

/// Tag and length of one part.
struct Header {
    is_constructed: bool,
    /// How long the header itself is.
    size: usize,
    /// How long its contents are.
    length: usize,
}

impl Header {
    /// `None` while bytes are missing. What LDAP forbids is refused, so that no two parsers can read it differently:
    /// lengths without a bound (RFC 4511 section 5.1), and tags of several bytes, which it does not have.
    fn read(bytes: &[u8]) -> Result<Option<Self>, Broken> {
        const SEVERAL_BYTES: u8 = 0x1f;
        let &[tag, first, ref rest @ ..] = bytes else { return Ok(None) };
        if tag & SEVERAL_BYTES == SEVERAL_BYTES {
            return Err(Broken::Contents);
        }
        let is_constructed = tag & 0x20 != 0;
        let count = match first {
            0..=0x7f => return Ok(Some(Self { is_constructed, size: 2, length: first.into() })),
            0x81..=0x84 => usize::from(first - 0x80),
            _ => return Err(Broken::Length),
        };
        let Some(digits) = rest.get(..count) else { return Ok(None) };
        let length = digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit));
        if length > LONGEST_FRAME {
            Err(Broken::Length)
        } else {
            Ok(Some(Self { is_constructed, size: 2 + count, length }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::encode;
    use super::*;
    use lber::{
        common::TagClass,
        structure::{PL, StructureTag},
    };
    use proptest::prelude::*;

    fn part() -> impl Strategy<Value = StructureTag> {
        let leaf = proptest::collection::vec(any::<u8>(), 0..300).prop_map(PL::P);
        let payload = leaf.prop_recursive(8, 40, 6, |inner| {
            proptest::collection::vec((0u64..31, inner), 0..6).prop_map(|parts| {
                PL::C(
                    parts
                        .into_iter()
                        .map(|(id, payload)| StructureTag { class: TagClass::Context, id, payload })
                        .collect(),
                )
            })
        });
        proptest::collection::vec(payload, 0..4).prop_map(|parts| StructureTag {
            class: TagClass::Universal,
            id: 16,
            payload: PL::C(
                parts.into_iter().map(|payload| StructureTag { class: TagClass::Universal, id: 4, payload }).collect(),
            ),
        })
    }

    fn nested(levels: usize) -> Vec<u8> {
        (0..levels).fold(vec![4, 0], |inside, _| {
            let mut part = vec![0x30, 0x84];
            part.extend(u32::try_from(inside.len()).expect("small").to_be_bytes());
            part.extend(inside);
            part
        })
    }

    #[test]
    fn a_frame_of_two_gigabytes_is_refused_by_its_header() {
        assert_eq!(check(&[0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]), Err(Broken::Length));
        assert_eq!(check(&[0x30, 0x80]), Err(Broken::Length), "a length without a bound");
        assert_eq!(check(&[0x30, 0x88, 0, 0, 0, 0, 0, 0, 0, 1, 4]), Err(Broken::Length));
        assert_eq!(check(&[0x30, 0x84, 0x01, 0x00, 0x00, 0x00]), Err(Broken::Length), "one header too long");
    }

    #[test]
    fn depth_has_a_bound() {
        assert_eq!(check(&nested(20_000)), Err(Broken::Depth));
        assert_eq!(check(&nested(DEEPEST_NESTING + 1)), Err(Broken::Depth));
        assert!(matches!(check(&nested(DEEPEST_NESTING)), Ok(Frame::Complete(_))));
    }

    #[test]
    fn the_number_of_parts_has_a_bound() {
        let parts = |count: usize| {
            let header = [&[0x30, 0x84][..], &u32::try_from(2 * count).expect("small").to_be_bytes()].concat();
            check(&[header, [0x05, 0x00].repeat(count)].concat())
        };
        assert!(matches!(parts(MOST_PARTS), Ok(Frame::Complete(_))));
        assert_eq!(parts(MOST_PARTS + 1), Err(Broken::Parts));
    }

    #[test]
    fn what_is_not_ldap_is_refused_at_its_first_byte() {
        for greeting in [&b"H"[..], b"\x16\x03\x01", b"220 mail ESMTP", b"\0"] {
            assert_eq!(check(greeting), Err(Broken::Tag));
        }
        assert_eq!(check(&[]), Ok(Frame::Incomplete));
    }

    proptest! {
        #[test]
        fn what_lber_writes_is_let_through_and_no_part_of_it_is_complete(part in part(), cut: proptest::sample::Index) {
            let bytes = encode(part);
            match check(&bytes) {
                Ok(frame) => {
                    prop_assert_eq!(frame, Frame::Complete(bytes.len()));
                    prop_assert_eq!(check(&bytes[..cut.index(bytes.len())]), Ok(Frame::Incomplete));
                }
                Err(broken) => prop_assert_eq!(broken, Broken::Depth),
            }
        }

        /// Whatever passes, lber reads whole and without complaint: the guard and the parser agree.
        #[test]
        fn what_passes_is_read_by_lber(part in part(), changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..8)) {
            let mut bytes = encode(part);
            for (place, value) in changes {
                let at = place.index(bytes.len());
                bytes[at] = value;
            }
            if let Ok(Frame::Complete(length)) = check(&bytes) {
                let (rest, _) = lber::parse::parse_tag(&bytes[..length]).expect("the guard let it through");
                prop_assert!(rest.is_empty());
            }
        }

        #[test]
        fn any_bytes_end(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = check(&bytes);
            let _ = check(&[&[0x30, 0x81, 0x80], bytes.as_slice()].concat());
        }
    }
}
