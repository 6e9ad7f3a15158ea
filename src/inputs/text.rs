//! Bytes of a file as text: UTF-8 or UTF-16, with a byte order mark or without. PowerShell writes each of them.

use encoding_rs::{Encoding, UTF_8, UTF_16BE, UTF_16LE};
use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
};

/// So many bytes tell UTF-16 without a byte order mark from UTF-8.
const LOOKED_AT: usize = 512;

/// Reads a file of at most this many bytes. The error is what is wrong, without the file's name.
pub fn bytes(file: &Path, limit: u64) -> Result<Vec<u8>, String> {
    let unreadable = |error: io::Error| format!("cannot be read: {error}");
    let mut bytes = Vec::new();
    let opened = File::open(file).map_err(unreadable)?;
    // A pipe and a file that grows have no length to ask for.
    opened.take(limit + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > limit {
        return Err(format!("has more than {} MiB, which none of its kind has", limit >> 20));
    }
    Ok(bytes)
}

/// The text that bytes stand for. The error is what is wrong, with the line where it begins.
pub fn decoded(bytes: &[u8]) -> Result<String, String> {
    let (encoding, mark) = Encoding::for_bom(bytes).unwrap_or_else(|| (unmarked(bytes), 0));
    let bytes = &bytes[mark..];
    let text = if encoding == UTF_8 {
        let text = str::from_utf8(bytes).map_err(|error| {
            let line = bytes[..error.valid_up_to()].split(|byte| *byte == b'\n').count();
            format!("line {line} is no text in UTF-8 or UTF-16; save it with -Encoding UTF8")
        })?;
        text.to_string()
    } else {
        let text = encoding.decode_without_bom_handling_and_without_replacement(bytes);
        text.ok_or("it is no text in UTF-16; save it with -Encoding UTF8")?.into_owned()
    };
    match text.find('\0') {
        Some(at) => Err(format!("line {} holds a zero byte; this is no text", 1 + text[..at].matches('\n').count())),
        None => Ok(text),
    }
}

/// Letters of English in UTF-16 have a zero for their other half.
fn unmarked(bytes: &[u8]) -> &'static Encoding {
    let looked_at = &bytes[..bytes.len().min(LOOKED_AT)];
    let zeros = |odd: usize| looked_at.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
    let most = looked_at.len() / 4;
    match (zeros(0), zeros(1)) {
        (0, little) if little > most => UTF_16LE,
        (big, 0) if big > most => UTF_16BE,
        _ => UTF_8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wide(text: &str, order: impl Fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(order).collect()
    }

    #[test]
    fn what_is_no_text_is_told_with_its_line() {
        for (bytes, wrong) in [
            (&b"one\ntwo \xff"[..], "line 2 is no text"),
            (b"one\n\0\x01two three four", "line 2 holds a zero byte"),
            (b"\xff\xfea", "no text in UTF-16"),
        ] {
            let told = decoded(bytes).unwrap_err();
            assert!(told.contains(wrong), "{told}");
        }
    }

    proptest! {
        /// However PowerShell wrote it, the text is the same.
        #[test]
        fn every_encoding_gives_the_same_text(text in "[a-zA-Z0-9 ,;\\r\\n]{1,200}[äß€]{0,3}") {
            let (marked, longer) = (format!("\u{feff}{text}"), format!("plain text {text}"));
            for bytes in [
                text.clone().into_bytes(),
                marked.clone().into_bytes(),
                wide(&marked, u16::to_le_bytes),
                wide(&marked, u16::to_be_bytes),
                wide(&longer, u16::to_le_bytes),
            ] {
                let read = decoded(&bytes).unwrap();
                prop_assert!(read == text || read == longer);
            }
        }

        #[test]
        fn any_bytes_are_text_or_not(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(decoded(&bytes).is_ok_and(|text| !text.contains('\0')) || decoded(&bytes).is_err());
        }
    }
}
