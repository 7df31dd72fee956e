//! `password:CODE` in one string: where it may be taken apart.
//!
//! Only a tail that could be a code is split off, at the last colon; whether the whole string is the password itself is found
//! out by hashing, not here. What is decided here looks at the string and the preferences alone and never at a user, so that
//! the same string costs the same number of hashes whoever it is said for.

use crate::{AccessSettings, FactorKind, codes, gate::Rules};
use lockgate_users::recovery;

/// What a code may look like under the present preferences.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CodeShape {
    sent_length: usize,
    sent_numeric: bool,
    /// A factor that verifies codes of its own making is loaded: codes may look like anything short.
    foreign: bool,
}

/// The longest code of a foreign factor (a YubiKey's is 44 characters).
const LONGEST_FOREIGN: usize = 64;
/// The shortest.
const SHORTEST_FOREIGN: usize = 4;

impl CodeShape {
    /// The shape of codes under these rules.
    pub(crate) fn of(rules: &Rules) -> Self {
        let foreign = rules
            .factors
            .iter()
            .any(|factor| factor.kind() == FactorKind::Verifies && factor.channel().as_str() != "totp");
        Self::new(&rules.settings, foreign)
    }

    pub(crate) fn new(settings: &AccessSettings, foreign: bool) -> Self {
        Self {
            sent_length: usize::try_from(settings.token_length).unwrap_or(usize::MAX),
            sent_numeric: settings.token_numeric,
            foreign,
        }
    }

    /// Whether `tail` could be a code.
    pub(crate) fn fits(self, tail: &str) -> bool {
        let digits = tail.bytes().all(|byte| byte.is_ascii_digit());
        let authenticator = digits && (6..=8).contains(&tail.len());
        let sent = tail.len() == self.sent_length && tail.bytes().all(|byte| codes::may_be_in(byte, self.sent_numeric));
        let written = tail.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let recovery = written && recovery::normalise(tail).is_some();
        let foreign = self.foreign && written && (SHORTEST_FOREIGN..=LONGEST_FOREIGN).contains(&tail.len());
        !tail.is_empty() && (authenticator || sent || recovery || foreign)
    }

    /// `(password, code)` where the tail after the last colon could be a code.
    pub(crate) fn split(self, whole: &str) -> Option<(&str, &str)> {
        whole.rsplit_once(':').filter(|(_, tail)| self.fits(tail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shape(sent_length: usize, sent_numeric: bool) -> CodeShape {
        CodeShape { sent_length, sent_numeric, foreign: false }
    }

    #[test]
    fn a_tail_is_split_off_at_the_last_colon_where_it_could_be_a_code() {
        let shape = shape(6, true);
        assert_eq!(shape.split("pass:word:123456"), Some(("pass:word", "123456")));
        assert_eq!(shape.split("pass:123456:12345678"), Some(("pass:123456", "12345678")));
        assert_eq!(shape.split("pass:0a1bc-de2fg"), Some(("pass", "0a1bc-de2fg")));
        assert_eq!(shape.split(":123456"), Some(("", "123456")));
    }

    #[test]
    fn a_tail_that_could_be_no_code_stays_in_the_password() {
        let shape = shape(6, true);
        for whole in [
            "password",
            "pass:word",
            "pass:",
            "pass:12345",
            "pass:123456789",
            "pass:123 456",
            "pass:12345\u{664}",
            "pass:hello world",
        ] {
            assert_eq!(shape.split(whole), None, "{whole}");
        }
    }

    #[test]
    fn sent_codes_of_letters_are_known_by_their_length_and_alphabet() {
        let shape = shape(7, false);
        assert!(shape.fits("ABC2345") && shape.fits("abc2345"));
        assert!(!shape.fits("ABC23450") && !shape.fits("AB!2345"));
    }

    #[test]
    fn a_loaded_foreign_factor_widens_what_a_code_may_be() {
        let foreign = CodeShape { foreign: true, ..shape(6, true) };
        assert!(foreign.fits("cccccbhuinjdcccccbhuinjdcccccbhuinjdcccccbhu"));
        assert!(!foreign.fits("abc") && !foreign.fits("with blank"));
    }

    proptest! {
        #[test]
        fn what_is_split_is_the_string_again_when_put_together(whole in "\\PC{0,40}(:[0-9a-zA-Z-]{0,12})?", numeric: bool) {
            let shape = CodeShape { foreign: false, ..shape(6, numeric) };
            if let Some((head, tail)) = shape.split(&whole) {
                prop_assert_eq!(format!("{head}:{tail}"), whole.as_str());
                prop_assert!(!tail.contains(':') && shape.fits(tail));
            }
        }

        #[test]
        fn a_code_behind_any_password_is_found(password in "\\PC{0,40}", code in "[0-9]{6,8}") {
            let whole = format!("{password}:{code}");
            prop_assert_eq!(shape(6, true).split(&whole), Some((password.as_str(), code.as_str())));
        }
    }
}
