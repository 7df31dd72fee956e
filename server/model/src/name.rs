//! User names as they are compared, counted and stored.

use std::{fmt, sync::Arc};
use unicode_normalization::UnicodeNormalization;

/// A user's name: NFC, 1 to 255 bytes, no control characters, no `/`, not `.` or `..`.
///
/// Normalised once at the edge, so that every rule, counter and limit sees one spelling. Case counts: `Alice` and `alice`
/// are two names, and only the stored spelling is a user.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UserName(Arc<str>);

/// Why a text is no user name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// No text at all.
    #[error("a user name cannot be empty")]
    Empty,
    /// Longer than [`UserName::MAX_BYTES`] after normalisation.
    #[error("a user name has at most {} bytes", UserName::MAX_BYTES)]
    TooLong,
    /// Control or invisible characters, a slash, or a name that is a relative path.
    #[error("a user name has no control or invisible characters, no slash, and is not a dot or two")]
    Forbidden,
}

impl UserName {
    /// The longest name, in bytes of UTF-8 after normalisation.
    pub const MAX_BYTES: usize = 255;

    /// Parses and normalises a name.
    ///
    /// # Errors
    /// [`NameError`] where the text cannot be a name. A door hands such a name to the gate all the same (as text), so
    /// that it walks the whole road of a denied login.
    pub fn new(text: &str) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        // Normalisation grows a text at most threefold; what is far too long is not worth normalising.
        if text.len() > Self::MAX_BYTES * 4 {
            return Err(NameError::TooLong);
        }
        let normal: String = text.nfc().collect();
        if normal.len() > Self::MAX_BYTES {
            return Err(NameError::TooLong);
        }
        if normal == "." || normal == ".." || normal.contains('/') || normal.chars().any(is_unfit) {
            return Err(NameError::Forbidden);
        }
        Ok(Self(normal.into()))
    }

    /// The normalised text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Control characters, and the marks that are drawn as nothing: two names that look alike must be alike.
pub(crate) fn is_unfit(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_one_name_are_one_name() {
        assert_eq!(UserName::new("Jose\u{301}").unwrap(), UserName::new("Jos\u{e9}").unwrap());
    }

    #[test]
    fn control_and_invisible_characters_and_paths_are_no_names() {
        for text in ["a\0b", "a\nb", "a\u{200b}b", "..", ".", "a/b", "\u{feff}a"] {
            assert_eq!(UserName::new(text), Err(NameError::Forbidden), "{text:?}");
        }
        assert_eq!(UserName::new(""), Err(NameError::Empty));
        assert_eq!(UserName::new(&"a".repeat(256)), Err(NameError::TooLong));
    }
}
