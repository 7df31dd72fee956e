//! Names of files as text on one line, and back.
//!
//! Names on disk are bytes; replies, listings and JSON are UTF-8, and a reply of FTP is one line (RFC 2640). What cannot
//! stand there, a byte that is not UTF-8 or a control character, is shown as `\xNN`, and the shown text opens the file again; a
//! backslash that could be taken for such an escape is shown as `\x5c`, so the two directions are exact inverses. One rule for
//! all doors: the same text means the same file on each of them.
//!
//! Clients compare names, so a mark that is drawn as nothing stays in them as it is; operators are shown paths by the `Display`
//! of [`crate::VPath`], which escapes those too.
//!
//! Never: looks at a slash. Whoever has a path takes it apart first.

use std::{borrow::Cow, fmt::Write as _};

/// The text that shows a name, and opens it again by [`named`]. Holds no control character.
#[must_use]
pub fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        let valid = chunk.valid();
        for (place, c) in valid.char_indices() {
            if c.is_control() {
                // The C1 controls are two bytes each.
                escape(&mut text, c.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
            text.push(c);
            let rest = valid.as_bytes().get(place + 1..).unwrap_or_default();
            if c == '\\' && escape_at(rest).is_some() {
                text.push_str("x5c");
            }
        }
        escape(&mut text, chunk.invalid());
    }
    text
}

/// The name that a text shows. Bytes that show no name, raw ones among them, stand for themselves.
#[must_use]
pub fn named(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'\\') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        match (*first == b'\\').then(|| escape_at(tail)).flatten() {
            Some(byte) => {
                bytes.push(byte);
                rest = tail.get(3..).unwrap_or_default();
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    if shown(&bytes).as_bytes() == text { Cow::Owned(bytes) } else { Cow::Borrowed(text) }
}

fn escape(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "\\x{byte:02x}");
    }
}

/// The byte that `xNN` after a backslash stands for: one that is never shown as it is, or the backslash itself. No name has a
/// NUL, so none is shown as one.
fn escape_at(rest: &[u8]) -> Option<u8> {
    let digits = rest.strip_prefix(b"x")?.get(..2)?;
    if digits.iter().any(|digit| !digit.is_ascii_hexdigit() || digit.is_ascii_uppercase()) {
        return None;
    }
    let byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    (byte >= 0x7f || byte == b'\\' || (1..0x20).contains(&byte)).then_some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_cannot_stand_on_a_line_is_shown_escaped_and_named_by_that_escape() {
        assert_eq!(shown(b"caf\xe9\r\n226 x\x7f"), "caf\\xe9\\x0d\\x0a226 x\\x7f");
        assert_eq!(shown("a\u{85}".as_bytes()), "a\\xc2\\x85");
        assert_eq!(named(b"caf\\xe9\\x0a").as_ref(), b"caf\xe9\n");
        assert_eq!(named(b"caf\xe9").as_ref(), b"caf\xe9");
    }

    #[test]
    fn a_backslash_is_an_ordinary_character_where_no_escape_begins() {
        assert_eq!(shown(b"..\\..\\etc"), "..\\..\\etc");
        assert_eq!(shown(b"\\xe9"), "\\x5cxe9");
        for text in [&b"..\\..\\etc"[..], b"\\xE9", b"\\x2f", b"\\x41", b"\\x00", b"\\x"] {
            assert_eq!(named(text).as_ref(), text);
        }
    }

    proptest! {
        #[test]
        fn every_name_on_disk_is_named_by_what_is_shown(name in proptest::collection::vec(1_u8..=255, 0..40)) {
            let text = shown(&name);
            prop_assert!(!text.contains(char::is_control));
            let bytes = named(text.as_bytes());
            prop_assert_eq!(bytes.as_ref(), &name[..]);
        }

        #[test]
        fn names_full_of_backslashes_survive_too(name in "[\\\\x5c01a8e9é]{0,24}") {
            let text = shown(name.as_bytes());
            let bytes = named(text.as_bytes());
            prop_assert_eq!(bytes.as_ref(), name.as_bytes());
        }
    }
}
