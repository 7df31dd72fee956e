//! The path of a URL and the path in the tree: decoded once, component by component.
//!
//! What decodes to a slash or NUL is refused, so that no spelling moves the border between two names; dots are resolved by the path
//! itself, which never climbs.

use crate::Malformed;
use http::{HeaderMap, Uri, header};
use lockgate_model::VPath;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use std::borrow::Cow;

/// Everything but the unreserved characters of RFC 3986.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// The same, but for the slash between names.
const PATH: &AsciiSet = &SEGMENT.remove(b'/');

/// The path in the tree that the rest of a URL's path names: `raw` is still percent-encoded and has no leading slash. `name` says what
/// a decoded component stands for.
///
/// # Errors
/// [`Malformed::Escape`], [`Malformed::Slash`], [`Malformed::Path`].
pub fn path(raw: &str, name: impl Fn(&[u8]) -> Cow<'_, [u8]>) -> Result<VPath, Malformed> {
    let mut path = Vec::with_capacity(raw.len() + 1);
    for part in raw.split('/') {
        let bytes = decode(part).ok_or(Malformed::Escape)?;
        let bytes = name(&bytes);
        if bytes.contains(&b'/') {
            return Err(Malformed::Slash);
        }
        path.push(b'/');
        path.extend_from_slice(&bytes);
    }
    Ok(VPath::parse(&path)?)
}

/// A name as one percent-encoded segment.
#[must_use]
pub fn segment(name: &[u8]) -> String {
    percent_encode(name, SEGMENT).to_string()
}

/// A path, percent-encoded, with its leading slash.
#[must_use]
pub fn encoded(path: &VPath) -> String {
    percent_encode(path.as_bytes(), PATH).to_string()
}

/// The host that the client meant: from `Host`, else from the address in HTTP/2 and in absolute requests.
#[must_use]
pub fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .or_else(|| uri.authority().map(|authority| authority.as_str()))
}

/// Decodes `%NN` once; `None` where a `%` is not followed by two hex digits.
fn decode(part: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let ([high, low], tail) = tail.split_first_chunk()?;
            bytes.push(u8::try_from(hex(*high)? * 16 + hex(*low)?).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    Some(bytes)
}

fn hex(digit: u8) -> Option<u32> {
    char::from(digit).to_digit(16)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    fn plain(raw: &str) -> Result<VPath, Malformed> {
        path(raw, |name| Cow::Borrowed(name))
    }

    #[test]
    fn a_path_is_decoded_once_and_never_climbs() {
        assert_eq!(plain("a%20b/%C3%A9").unwrap().as_bytes(), "/a b/é".as_bytes());
        assert_eq!(plain("a%2520b").unwrap().as_bytes(), b"/a%20b");
        assert_eq!(plain("a/%2e%2e/b").unwrap().as_bytes(), b"/b");
        assert_eq!(plain("%2e%2e/etc").unwrap_err().status(), 404);
        assert_eq!(plain("").unwrap(), VPath::root());
    }

    #[test]
    fn broken_escapes_nul_and_encoded_slashes_are_refused() {
        for raw in ["%", "%2", "%zz", "a%00b", "a%2fb", "..%2f..%2fetc", "%+1", "%é"] {
            assert_eq!(plain(raw).unwrap_err().status(), 400, "{raw}");
        }
        assert_eq!(path("a", |_| Cow::Borrowed(b"b/c")), Err(Malformed::Slash), "whoever reads names in their own way");
    }

    #[test]
    fn no_address_leaves_the_tree() {
        crate::testing::no_address_leaves_the_tree(|raw| plain(raw).ok());
    }

    /// A name with some of its bytes encoded, in digits of either case.
    fn spelled() -> impl Strategy<Value = (Vec<u8>, String)> {
        vec((any::<u8>(), any::<bool>(), any::<bool>()), 0..30).prop_map(|bytes| {
            let mut text = String::new();
            for (byte, encode, upper) in &bytes {
                match (*encode || !byte.is_ascii_alphanumeric(), upper) {
                    (false, _) => text.push(char::from(*byte)),
                    (true, false) => text.push_str(&format!("%{byte:02x}")),
                    (true, true) => text.push_str(&format!("%{byte:02X}")),
                }
            }
            (bytes.into_iter().map(|(byte, ..)| byte).collect(), text)
        })
    }

    proptest! {
        #[test]
        fn every_spelling_of_a_name_is_that_name((name, text) in spelled()) {
            prop_assert_eq!(decode(&text), Some(name));
        }

        #[test]
        fn what_can_be_decoded_is_decoded_as_the_standard_says(raw in "([ -~]|%[0-9a-fA-F]{2}){0,40}") {
            if let Some(bytes) = decode(&raw) {
                prop_assert_eq!(bytes, percent_encoding::percent_decode_str(&raw).collect::<Vec<_>>());
            }
        }

        #[test]
        fn every_address_is_a_clean_path_or_a_refusal(raw in "\\PC{0,80}") {
            if let Ok(path) = plain(&raw) {
                prop_assert!(path.components().all(|part| part != b".." && part != b"." && !part.contains(&0)));
                prop_assert_eq!(plain(encoded(&path).trim_start_matches('/')), Ok(path));
            }
        }

        #[test]
        fn a_segment_comes_back_as_the_same_name(name in vec(1u8..=255, 1..40)) {
            prop_assume!(!name.contains(&b'/') && name != b"." && name != b"..");
            let path = plain(&segment(&name)).unwrap();
            prop_assert_eq!(path.components().next().unwrap(), &name[..]);
        }
    }
}
