//! Words that came from the network: cut short, and harmless on a terminal.

use std::{fmt::Write as _, io};

/// No text of a server fills more than this many characters of a report.
const LONGEST: usize = 200;

/// The text with everything that is not plainly printable escaped: control characters, and those that turn the
/// direction of writing. Letters of any script stay.
pub(super) fn quoted(text: &str) -> String {
    let mut shown = String::new();
    for (count, letter) in text.chars().flat_map(escaped).enumerate() {
        if count == LONGEST {
            break;
        }
        shown.push(letter);
    }
    shown
}

/// A sentence of our own, in which what came from the network is quoted already: cut short, and nothing else.
pub(super) fn cut(sentence: &str) -> String {
    sentence.chars().take(LONGEST).collect()
}

fn escaped(letter: char) -> impl Iterator<Item = char> {
    let plain = matches!(letter, '"' | '\'').then_some(letter);
    let other = plain.is_none().then(|| letter.escape_debug());
    plain.into_iter().chain(other.into_iter().flatten())
}

/// What a message looks like, for somebody who wonders which server this is.
pub(super) fn sketch(message: &[u8]) -> String {
    const BEGINNING: usize = 16;
    match message {
        [] => "an empty message".into(),
        // RFC 8446 section 5.1: an alert or a handshake message, version 3.x.
        [0x15 | 0x16, 3, ..] => "TLS where plain text was expected".into(),
        _ if message.iter().take(BEGINNING).all(|byte| matches!(byte, b' '..=b'~' | b'\r' | b'\n' | b'\t')) => {
            quoted(&String::from_utf8_lossy(&message[..message.len().min(LONGEST)]))
        }
        _ => message.iter().take(BEGINNING).fold(format!("{} bytes:", message.len()), |mut hex, byte| {
            write!(hex, " {byte:02x}").expect("writing to a String cannot fail");
            hex
        }),
    }
}

/// This machine's own trouble: what, and what to do.
pub(super) fn local_error(error: &io::Error) -> String {
    let advice = match error.raw_os_error() {
        // EMFILE and ENFILE; WSAEMFILE.
        Some(23 | 24 | 10_024) => "too many sockets are open; raise the limit of open files (`ulimit -n`)",
        // ENOBUFS and ENOMEM; WSAENOBUFS.
        Some(12 | 105 | 10_055) => "the system has no memory for another socket; close programs and try again",
        // EADDRNOTAVAIL; WSAEADDRNOTAVAIL.
        Some(99 | 10_049) => "no local port is free; wait a minute and try again",
        _ => match error.kind() {
            io::ErrorKind::PermissionDenied => "this machine's own firewall or routing forbids it; allow it there",
            _ => "look at this machine's network",
        },
    };
    quoted(&format!("{error}: {advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_reaches_the_terminal_but_text() {
        assert_eq!(quoted("\u{1b}[2J\u{202e}Zoë's \"x\"\r\n\0"), r#"\u{1b}[2J\u{202e}Zoë's "x"\r\n\0"#);
        assert_eq!(sketch(b"HTTP/1.1 400 Bad\x20Request\r\n\x1b"), r"HTTP/1.1 400 Bad Request\r\n\u{1b}");
        assert_eq!(sketch(&[0, 1, 2]), "3 bytes: 00 01 02");
        assert_eq!(sketch(&[0x15, 3, 1, 0, 2]), "TLS where plain text was expected");
    }

    proptest! {
        #[test]
        fn any_text_is_short_and_printable(text in any::<String>(), bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for shown in [quoted(&text), quoted(&text.repeat(50)), sketch(&bytes)] {
                prop_assert!(shown.chars().count() <= 200);
                prop_assert!(!shown.chars().any(char::is_control), "{shown:?}");
            }
        }
    }
}
