//! Names between the wire and the tree.
//!
//! A name is shown, and opened again, as on every door ([`lockgate_model::shown`]); raw bytes are understood as well.

use crate::reply::{Reply, say};
pub(crate) use lockgate_model::shown;
use lockgate_model::{PathError, VPath, named};

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
    let parts: Vec<_> = name.split(|byte| *byte == b'/').map(named).collect();
    cwd.join(parts.join(&b'/'))
}

/// As [`shown`], in quotes as RFC 959 appendix II wants it in 257: quotes inside are doubled.
pub(crate) fn quoted(path: &VPath) -> String {
    format!("\"{}\"", shown(path.as_bytes()).replace('"', "\"\""))
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
}
