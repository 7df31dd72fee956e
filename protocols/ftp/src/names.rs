//! Names between the wire and the tree.
//!
//! Names on disk are bytes, names on the wire are UTF-8 on one line (RFC 2640). What cannot stand there, a byte that is not
//! UTF-8 or a control character, is shown as `\xNN`, and the shown text opens the file again; a backslash that could be
//! taken for such an escape is shown as `\x5c`, so the two directions are exact inverses. Raw bytes are understood as well.

use crate::reply::{Reply, say};
use lockgate_model::{PathError, VPath};

/// The path that a client's words mean from the folder `cwd`. One above the root is as absent as any other.
///
/// # Errors
/// The reply to give.
pub(crate) fn path(cwd: &VPath, name: &[u8]) -> Result<VPath, Reply> {
    resolve(cwd, name).map_err(|error| match error {
        PathError::Above => Reply::new(550, format!("no such file or folder: {}", shown(name))),
        PathError::Nul | PathError::TooLong | PathError::NotAName => say::BAD_NAME,
    })
}

fn resolve(cwd: &VPath, name: &[u8]) -> Result<VPath, PathError> {
    // The empty name is no name: `DELE ` must not mean the folder one is in.
    if name.is_empty() {
        return Err(PathError::NotAName);
    }
    let parts: Vec<_> = name.split(|byte| *byte == b'/').map(unescape).collect();
    cwd.join(parts.join(&b'/'))
}

/// The text that shows a path or a name, and opens it again.
pub(crate) fn shown(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        let valid = chunk.valid();
        for (place, c) in valid.char_indices() {
            if c.is_ascii_control() {
                text.push_str(&format!("\\x{:02x}", u32::from(c)));
                continue;
            }
            // The C1 controls are two bytes each.
            if c.is_control() {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    text.push_str(&format!("\\x{byte:02x}"));
                }
                continue;
            }
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

/// As [`shown`], in quotes as RFC 959 appendix II wants it in 257: quotes inside are doubled.
pub(crate) fn quoted(path: &VPath) -> String {
    format!("\"{}\"", shown(path.as_bytes()).replace('"', "\"\""))
}

/// The bytes that a shown name stands for; bytes that are no shown name stand for themselves.
fn unescape(name: &[u8]) -> Vec<u8> {
    if !name.contains(&b'\\') {
        return name.to_vec();
    }
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

/// The byte that `xNN` after a backslash stands for: one that is never shown as it is, or the backslash itself.
fn escape_at(rest: &[u8]) -> Option<u8> {
    let digits = rest.strip_prefix(b"x")?.get(..2)?;
    if digits.iter().any(|digit| !digit.is_ascii_hexdigit() || digit.is_ascii_uppercase()) {
        return None;
    }
    let byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    (byte >= 0x7f || byte == b'\\' || (1..0x20).contains(&byte)).then_some(byte)
}

/// Whether a name fits a pattern with `*` and `?`, as clients use it in `NLST *.txt`. Linear in both but for one step back.
pub(crate) fn fits(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        match (pattern.get(p), name.get(n)) {
            (Some(b'*'), _) => {
                star = Some((p, n));
                p += 1;
            }
            (Some(b'?'), Some(_)) => {
                p += 1;
                n += 1;
            }
            (Some(wanted), Some(found)) if wanted == found => {
                p += 1;
                n += 1;
            }
            (None, None) => return true,
            _ => match star {
                // The star takes one byte more.
                Some((place, taken)) if taken < name.len() => {
                    star = Some((place, taken + 1));
                    p = place + 1;
                    n = taken + 1;
                }
                _ => return false,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_name_that_cannot_stand_on_a_line_is_shown_escaped_and_opened_by_that_escape() {
        assert_eq!(shown(b"caf\xe9\r\n226 x"), "caf\\xe9\\x0d\\x0a226 x");
        let root = VPath::root();
        assert_eq!(resolve(&root, b"caf\\xe9\\x0a").unwrap().as_bytes(), b"/caf\xe9\n");
        assert_eq!(resolve(&root, b"caf\xe9").unwrap().as_bytes(), b"/caf\xe9");
        assert_eq!(resolve(&root, b"..\\..\\etc").unwrap().as_bytes(), b"/..\\..\\etc");
        assert!(resolve(&root, b"").is_err());
    }

    #[test]
    fn a_pattern_fits_as_in_a_shell() {
        for (pattern, name, fit) in [
            ("*.txt", "a.txt", true),
            ("*.txt", "a.txt.gz", false),
            ("*", "", true),
            ("a*b*c", "a-b-b-c", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("**a", "bbba", true),
        ] {
            assert_eq!(fits(pattern.as_bytes(), name.as_bytes()), fit, "{pattern} {name}");
        }
    }

    proptest! {
        #[test]
        fn every_name_on_disk_is_opened_by_what_is_shown(name in proptest::collection::vec(1_u8..=255, 0..40)) {
            let text = shown(&name);
            prop_assert!(!text.contains(char::is_control));
            prop_assert_eq!(unescape(text.as_bytes()), name);
        }

        #[test]
        fn names_full_of_backslashes_survive_too(name in "[\\\\x5c01a8e9é]{0,24}") {
            prop_assert_eq!(unescape(shown(name.as_bytes()).as_bytes()), name.as_bytes());
        }
    }
}
