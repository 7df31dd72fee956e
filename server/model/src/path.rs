//! Paths as a user sees them: absolute, resolved, bytes.
//!
//! `.` and `..` are resolved here, before any disk is asked, and never climb above the root; so the same string means the
//! same file on every door, and a rule about a folder holds for every spelling that reaches it.

use crate::name::is_unfit;
use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

/// An absolute path in a user's tree. Components are non-empty, free of NUL and `/`, and never `.` or `..`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VPath(Arc<[u8]>);

/// Why bytes are no path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A NUL byte inside.
    #[error("a path has no NUL byte")]
    Nul,
    /// Longer than [`VPath::MAX_BYTES`], or a component longer than [`VPath::MAX_COMPONENT`].
    #[error("the path or a name in it is too long")]
    TooLong,
    /// `..` above the root.
    #[error("the path leaves the tree")]
    Above,
    /// A single name was wanted and this is none.
    #[error("this is not a single name")]
    NotAName,
}

impl VPath {
    /// The longest path in bytes (Linux's `PATH_MAX`, less the terminator).
    pub const MAX_BYTES: usize = 4095;
    /// The longest single name in bytes (Linux's `NAME_MAX`).
    pub const MAX_COMPONENT: usize = 255;

    /// The root of the tree.
    #[must_use]
    pub fn root() -> Self {
        Self(Arc::from(&b"/"[..]))
    }

    /// Parses a path; one without a leading `/` starts at the root. A trailing `/` is dropped.
    ///
    /// # Errors
    /// [`PathError`] where the bytes cannot be a path in the tree.
    pub fn parse(bytes: impl AsRef<[u8]>) -> Result<Self, PathError> {
        Self::root().join(bytes)
    }

    /// Resolves `bytes` against this path: absolute where it begins with `/`, else below this one.
    ///
    /// # Errors
    /// [`PathError`] where the result is no path in the tree.
    pub fn join(&self, bytes: impl AsRef<[u8]>) -> Result<Self, PathError> {
        let bytes = bytes.as_ref();
        if bytes.len() > Self::MAX_BYTES {
            return Err(PathError::TooLong);
        }
        if bytes.contains(&0) {
            return Err(PathError::Nul);
        }
        let mut parts: Vec<&[u8]> = if bytes.first() == Some(&b'/') { Vec::new() } else { self.components().collect() };
        for part in bytes.split(|b| *b == b'/') {
            match part {
                b"" | b"." => {}
                b".." => {
                    parts.pop().ok_or(PathError::Above)?;
                }
                name if name.len() > Self::MAX_COMPONENT => return Err(PathError::TooLong),
                name => parts.push(name),
            }
        }
        Self::from_parts(&parts)
    }

    /// This path with one more component.
    ///
    /// # Errors
    /// [`PathError`] where `name` is not one plain name or the path grows too long.
    pub fn child(&self, name: impl AsRef<[u8]>) -> Result<Self, PathError> {
        let name = name.as_ref();
        if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') {
            return Err(PathError::NotAName);
        }
        self.join(name)
    }

    /// The folder this path is in; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let mut parts: Vec<&[u8]> = self.components().collect();
        parts.pop()?;
        Self::from_parts(&parts).ok()
    }

    /// The last component; `None` for the root.
    #[must_use]
    pub fn file_name(&self) -> Option<&[u8]> {
        self.components().last()
    }

    /// The components from the root on.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|b| *b == b'/').filter(|part| !part.is_empty())
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.len() == 1
    }

    /// Whether this path is `folder` or lies below it, by whole components.
    #[must_use]
    pub fn is_within(&self, folder: &Self) -> bool {
        self.strip(folder).is_some()
    }

    /// What remains of this path below `folder`, without a leading `/` (empty for the folder itself); `None` outside it.
    #[must_use]
    pub fn strip(&self, folder: &Self) -> Option<&[u8]> {
        if folder.is_root() {
            return self.0.get(1..);
        }
        let rest = self.0.strip_prefix(&*folder.0)?;
        match rest.first() {
            None => Some(rest),
            Some(b'/') => rest.get(1..),
            Some(_) => None,
        }
    }

    /// The path as bytes, beginning with `/`.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn from_parts(parts: &[&[u8]]) -> Result<Self, PathError> {
        let length = parts.iter().map(|part| part.len() + 1).sum::<usize>().max(1);
        if length > Self::MAX_BYTES {
            return Err(PathError::TooLong);
        }
        let mut bytes = Vec::with_capacity(length);
        for part in parts {
            bytes.push(b'/');
            bytes.extend_from_slice(part);
        }
        if bytes.is_empty() {
            bytes.push(b'/');
        }
        Ok(Self(bytes.into()))
    }
}

impl fmt::Display for VPath {
    /// For operators: logs, the audit trail, terminals. UTF-8 as it is; other bytes, control characters and what is drawn as
    /// nothing or turns the line around escaped, so that a line stays one line and looks like what it says. Clients are shown
    /// names by [`crate::shown()`], which leaves the last two as they are: they open the file again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_control() {
                    write!(f, "{}", c.escape_default())?;
                } else if is_unfit(c) || c == ARABIC_LETTER_MARK {
                    escape(f, c.encode_utf8(&mut [0; 4]).as_bytes())?;
                } else {
                    f.write_char(c)?;
                }
            }
            escape(f, chunk.invalid())?;
        }
        Ok(())
    }
}

fn escape(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))
}

/// Sets the direction of what is around it, and is drawn as nothing. No name of a user is denied for it.
const ARABIC_LETTER_MARK: char = '\u{61c}';

impl fmt::Debug for VPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dots_are_resolved_and_never_climb_above_the_root() {
        assert_eq!(VPath::parse("/a/./b/../c//").unwrap().as_bytes(), b"/a/c");
        assert_eq!(VPath::parse("a/../..").unwrap_err(), PathError::Above);
        assert_eq!(VPath::parse("").unwrap(), VPath::root());
    }

    #[test]
    fn a_neighbour_with_the_same_beginning_is_not_inside() {
        let folder = VPath::parse("/pay").unwrap();
        assert!(!VPath::parse("/payroll/x").unwrap().is_within(&folder));
        assert_eq!(VPath::parse("/pay/x/y").unwrap().strip(&folder), Some(&b"x/y"[..]));
        assert_eq!(folder.strip(&folder), Some(&b""[..]));
    }

    #[test]
    fn an_operator_sees_no_character_that_hides_or_turns_text_and_a_client_sees_its_own_name() {
        let text = |path: &str| VPath::parse(path).unwrap().to_string();
        assert_eq!(text("/Zoë/日本"), "/Zoë/日本");
        assert_eq!(text("/a\n\u{1b}[2J"), "/a\\n\\u{1b}[2J");
        assert_eq!(text("/invoice\u{202e}fdp.exe"), "/invoice\\xe2\\x80\\xaefdp.exe");
        let marks = ['\u{61c}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}', '\u{feff}'];
        for c in marks
            .into_iter()
            .chain('\u{200b}'..='\u{200d}')
            .chain('\u{202a}'..='\u{202e}')
            .chain('\u{2066}'..='\u{2069}')
        {
            let name = format!("a{c}b");
            let escaped: String = c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("\\x{byte:02x}")).collect();
            assert_eq!(text(&name), format!("/a{escaped}b"));
            assert_eq!(crate::shown(name.as_bytes()), name);
        }
    }

    proptest! {
        #[test]
        fn any_bytes_parse_to_a_clean_path_or_an_error(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(path) = VPath::parse(&bytes) {
                prop_assert!(path.as_bytes().starts_with(b"/"));
                for part in path.components() {
                    prop_assert!(part != b".." && part != b"." && !part.contains(&0));
                }
                prop_assert_eq!(VPath::parse(path.as_bytes()).unwrap(), path);
            }
        }
    }
}
