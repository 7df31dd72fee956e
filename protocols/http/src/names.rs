//! Names between URL, JSON and tree.
//!
//! A URL's path is decoded once, component by component; what decodes to a slash or NUL is refused, so that no spelling moves the
//! border between two components. Names on disk are bytes: where they are not UTF-8, JSON shows them with `\xNN` for each odd byte,
//! and the shown text opens the file again. A backslash that could be taken for such an escape is shown as `\x5c`, so the two
//! directions are exact inverses.

use crate::refusal::Refusal;
use http::StatusCode;
use lockgate_model::{PathError, VPath};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

/// Everything but the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// The path in the tree that the rest of a URL's path names (`raw` is still percent-encoded, without the leading slash).
///
/// # Errors
/// 400 for bad escapes, NUL and encoded slashes; 404 for a path above the root.
pub(crate) fn from_url(raw: &str) -> Result<VPath, Refusal> {
    let mut path = Vec::with_capacity(raw.len());
    for part in raw.split('/') {
        let bytes = decode(part).ok_or_else(|| bad_path("the address has a broken %-escape"))?;
        if bytes.contains(&b'/') {
            return Err(bad_path("a name has no slash, not even an encoded one"));
        }
        path.push(b'/');
        path.extend_from_slice(&unescape(&bytes));
    }
    parse(&path)
}

/// The path in the tree that a string in JSON names.
///
/// # Errors
/// As [`from_url`].
pub(crate) fn from_text(text: &str) -> Result<VPath, Refusal> {
    let parts: Vec<_> = text.split('/').map(|part| unescape(part.as_bytes())).collect();
    parse(&parts.join(&b'/'))
}

/// The text that shows a name, and opens it again.
pub(crate) fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        let valid = chunk.valid();
        for (place, c) in valid.char_indices() {
            text.push(c);
            let rest = valid.as_bytes().get(place + 1..).unwrap_or_default();
            if c == '\\' && escape_at(rest).is_some() {
                text.push_str("x5c");
            }
        }
        for byte in chunk.invalid() {
            text.push_str(&format!("\\x{byte:02x}"));
        }
    }
    text
}

/// A name as one percent-encoded segment of a URL.
pub(crate) fn segment(name: &[u8]) -> String {
    percent_encode(name, SEGMENT).to_string()
}

/// `Content-Disposition: attachment` with the name in both forms of RFC 6266: plain ASCII for old clients, UTF-8 by RFC 8187.
pub(crate) fn attachment(name: &[u8]) -> String {
    let text = shown(name);
    let plain: String = text
        .chars()
        .map(|c| if c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '%') || c == ' ' { c } else { '_' })
        .collect();
    if plain == text {
        return format!("attachment; filename=\"{plain}\"");
    }
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", segment(text.as_bytes()))
}

fn parse(path: &[u8]) -> Result<VPath, Refusal> {
    VPath::parse(path).map_err(|error| match error {
        // The same answer as for a name that is not there: nothing is said about what lies above the root.
        PathError::Above => Refusal::new(StatusCode::NOT_FOUND, "not_found", "no such file or folder"),
        other => bad_path(other.to_string()),
    })
}

fn bad_path(message: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, "bad_path", message)
}

/// Decodes `%NN` once; `None` where a `%` is not followed by two hex digits.
fn decode(part: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let (digits, tail) = tail.split_at_checked(2)?;
            bytes.push(hex(digits)?);
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    Some(bytes)
}

/// The bytes that a shown name stands for; bytes that are no shown name stand for themselves.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
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
    if shown(&bytes).as_bytes() == name { bytes } else { name.to_vec() }
}

/// The byte that `xNN` after a backslash stands for: a byte that can be part of no ASCII text, or the backslash itself.
fn escape_at(rest: &[u8]) -> Option<u8> {
    let digits = rest.strip_prefix(b"x")?.get(..2)?;
    if digits.iter().any(u8::is_ascii_uppercase) {
        return None;
    }
    hex(digits).filter(|byte| *byte >= 0x80 || *byte == b'\\')
}

fn hex(digits: &[u8]) -> Option<u8> {
    let digit = |b: &u8| char::from(*b).to_digit(16);
    match digits {
        [high, low] => u8::try_from(digit(high)? * 16 + digit(low)?).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_path_is_decoded_once_and_never_climbs() {
        assert_eq!(from_url("a%20b/%C3%A9").unwrap().as_bytes(), "/a b/é".as_bytes());
        assert_eq!(from_url("a%2520b").unwrap().as_bytes(), b"/a%20b");
        assert_eq!(from_url("a/%2e%2e/b").unwrap().as_bytes(), b"/b");
        assert_eq!(from_url("%2e%2e/etc").unwrap_err().status, StatusCode::NOT_FOUND);
        assert_eq!(from_url("").unwrap(), VPath::root());
    }

    #[test]
    fn broken_escapes_nul_and_encoded_slashes_are_refused() {
        for raw in ["%", "%2", "%zz", "a%00b", "a%2fb", "..%2f..%2fetc", "%+1"] {
            assert_eq!(from_url(raw).unwrap_err().status, StatusCode::BAD_REQUEST, "{raw}");
        }
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_shown_escaped_and_opened_by_that_escape() {
        assert_eq!(shown(b"caf\xe9"), "caf\\xe9");
        assert_eq!(from_url("caf%5Cxe9").unwrap().as_bytes(), b"/caf\xe9");
        assert_eq!(from_url("caf%E9").unwrap().as_bytes(), b"/caf\xe9");
        assert_eq!(from_text("/caf\\xe9").unwrap().as_bytes(), b"/caf\xe9");
    }

    #[test]
    fn a_backslash_is_an_ordinary_character() {
        assert_eq!(from_url("a%5Cb").unwrap().as_bytes(), b"/a\\b");
        assert_eq!(from_url("..%5C..%5Cetc").unwrap().as_bytes(), b"/..\\..\\etc");
        assert_eq!(from_url("literal%5Cx5cxe9").unwrap().as_bytes(), b"/literal\\xe9");
    }

    #[test]
    fn a_header_value_has_no_quote_break_and_keeps_the_name() {
        assert_eq!(attachment(b"plain name.txt"), "attachment; filename=\"plain name.txt\"");
        let value = attachment("a\"b\r\nSet-Cookie: x=é".as_bytes());
        assert!(!value.contains(['\r', '\n']) && value.matches('"').count() == 2, "{value}");
        assert!(value.ends_with("filename*=UTF-8''a%22b%0D%0ASet-Cookie%3A%20x%3D%C3%A9"), "{value}");
    }

    proptest! {
        #[test]
        fn every_name_on_disk_is_opened_by_what_is_shown(name in proptest::collection::vec(any::<u8>(), 0..40)) {
            prop_assert_eq!(unescape(shown(&name).as_bytes()), name);
        }

        #[test]
        fn names_full_of_backslashes_survive_too(name in "[\\\\x5c8e9é]{0,24}") {
            prop_assert_eq!(unescape(shown(name.as_bytes()).as_bytes()), name.as_bytes());
        }

        #[test]
        fn every_address_is_a_clean_path_or_a_refusal(raw in "[ -~]{0,80}") {
            if let Ok(path) = from_url(&raw) {
                prop_assert!(path.components().all(|part| part != b".." && part != b"." && !part.contains(&0)));
            }
        }

        #[test]
        fn a_segment_comes_back_as_the_same_name(name in proptest::collection::vec(1u8..=255, 1..40)) {
            prop_assume!(!name.contains(&b'/') && name != b"." && name != b".." && unescape(&name) == name);
            let path = from_url(&segment(&name)).unwrap();
            prop_assert_eq!(path.components().next().unwrap(), &name[..]);
        }
    }
}
