//! Names between URL, JSON and tree.
//!
//! In JSON a name is shown, and opened again, as on every door ([`lockgate_model::shown`]); what is shown opens the file in a URL too,
//! where it is percent-encoded ([`lockgate_http_semantics::address`]).

use crate::refusal::Refusal;
use http::StatusCode;
use lockgate_http_semantics::{Malformed, address};
pub(crate) use lockgate_model::shown;
use lockgate_model::{PathError, VPath, named};

/// The path in the tree that the rest of a URL's path names (`raw` is still percent-encoded, without the leading slash).
///
/// # Errors
/// 400 for bad escapes, NUL and encoded slashes; 404 for a path above the root, 414 for one that is too long.
pub(crate) fn from_url(raw: &str) -> Result<VPath, Refusal> {
    Ok(address::path(raw, named)?)
}

/// The path in the tree that a string in JSON names.
///
/// # Errors
/// 404 for a path above the root, 400 for any other that is none.
pub(crate) fn from_text(text: &str) -> Result<VPath, Refusal> {
    let parts: Vec<_> = text.split('/').map(|part| named(part.as_bytes())).collect();
    VPath::parse(parts.join(&b'/')).map_err(|error| match error {
        PathError::Above => Malformed::from(error).into(),
        // The address is as long as it may be; what it brings is not.
        other => Refusal::new(StatusCode::BAD_REQUEST, "bad_path", other.to_string()),
    })
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
    format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", address::segment(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn no_address_leaves_the_tree() {
        lockgate_http_semantics::testing::no_address_leaves_the_tree(|raw| from_url(raw).ok());
    }

    #[test]
    fn no_text_in_json_leaves_the_tree() {
        for text in ["..", "/../etc", "a/../../etc", "a\0"] {
            let refusal = from_text(text).unwrap_err();
            assert!(matches!(refusal.status.as_u16(), 400 | 404), "{text}");
        }
        assert_eq!(from_text("\\x2e\\x2e/\\x2fetc").unwrap().as_bytes(), b"/\\x2e\\x2e/\\x2fetc");
        assert_eq!(from_text(&"a/".repeat(5000)).unwrap_err().status, StatusCode::BAD_REQUEST);
        assert_eq!(from_url(&"a/".repeat(5000)).unwrap_err().status, StatusCode::URI_TOO_LONG);
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
        assert!(value.ends_with("filename*=UTF-8''a%22b%5Cx0d%5Cx0aSet-Cookie%3A%20x%3D%C3%A9"), "{value}");
    }

    proptest! {
        #[test]
        fn a_name_is_opened_by_what_is_shown_of_it(name in proptest::collection::vec(1u8..=255, 1..40)) {
            prop_assume!(!name.contains(&b'/') && name != b"." && name != b"..");
            let text = shown(&name);
            for path in [from_url(&address::segment(text.as_bytes())), from_text(&text)] {
                let path = path.unwrap();
                prop_assert_eq!(path.file_name(), Some(&name[..]));
            }
        }
    }
}
