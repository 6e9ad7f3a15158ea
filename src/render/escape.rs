//! Text from the network is hostile: nothing of it may move a terminal's cursor or turn its line around.

use std::borrow::Cow;

/// The text with control characters, line separators and changes of direction written as `\u{...}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hostile) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if is_hostile(character) { safe.extend(character.escape_unicode()) } else { safe.push(character) }
    }
    Cow::Owned(safe)
}

fn is_hostile(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_are_shown_and_plain_text_is_not_touched() {
        assert_eq!(printable("a\u{1b}[31mb\u{9b}c\u{202e}d"), r"a\u{1b}[31mb\u{9b}c\u{202e}d");
        assert!(matches!(printable("Exchange für alle"), Cow::Borrowed(_)));
    }

    proptest! {
        #[test]
        fn nothing_hostile_is_left(text in any::<String>()) {
            prop_assert!(!printable(&text).contains(is_hostile));
        }
    }
}
