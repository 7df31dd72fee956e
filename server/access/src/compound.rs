//! `password:CODE` in one string: where it may be taken apart.
//!
//! Only a tail that could be a code is split off, at the last colon; whether the whole string is the password itself is found
//! out by hashing, not here. What is decided here looks at the string and the preferences alone and never at a user, so that
//! the same string costs the same number of hashes whoever it is said for.
//!
//! The same shapes say what of an answer may go to a factor where a client sends its password instead: the code and nothing else.

use crate::{AccessSettings, Challenge, Expects, Factor, FactorKind, Gate, codes, gate::Rules};
use lockgate_model::Secret;
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
        Self::new(&rules.settings, rules.factors.iter().any(|factor| is_foreign(&**factor)))
    }

    /// The shape of what answers a question that goes to one channel.
    fn of_answers(rules: &Rules, channel: &str) -> Self {
        let asked = |factor: &dyn Factor| factor.channel().as_str() == channel && is_foreign(factor);
        Self::new(&rules.settings, rules.factors.iter().any(|factor| asked(&**factor)))
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
        let recovery = is_written(tail) && recovery::normalise(tail).is_some();
        recovery || self.fits_a_factor(tail)
    }

    /// Whether a factor could take `tail` for a code.
    fn fits_a_factor(self, tail: &str) -> bool {
        let digits = tail.bytes().all(|byte| byte.is_ascii_digit());
        let authenticator = digits && (6..=8).contains(&tail.len());
        let sent = tail.len() == self.sent_length && tail.bytes().all(|byte| codes::may_be_in(byte, self.sent_numeric));
        let foreign = self.foreign && is_written(tail) && (SHORTEST_FOREIGN..=LONGEST_FOREIGN).contains(&tail.len());
        !tail.is_empty() && (authenticator || sent || foreign)
    }

    /// `(password, code)` where the tail after the last colon could be a code.
    pub(crate) fn split(self, whole: &str) -> Option<(&str, &str)> {
        whole.rsplit_once(':').filter(|(_, tail)| self.fits(tail))
    }

    /// The code in what was said where a code was asked for: all of it, or what is behind its last colon.
    ///
    /// Stricter than [`CodeShape::fits`] in one thing: without its dash a recovery code looks like many a password.
    fn code_in(self, said: &str) -> Option<&str> {
        let said = said.trim();
        let tail = said.rsplit_once(':').map_or(said, |(_, tail)| tail);
        (is_recovery(tail) || self.fits_a_factor(tail)).then_some(tail)
    }

    /// The answer to a question in what was said.
    fn answer_in(self, said: &str, expects: Expects) -> Option<&str> {
        let code = self.code_in(said);
        match expects {
            Expects::Code => code,
            // The person answers elsewhere, whatever the client says.
            Expects::Nothing => Some(code.filter(|code| is_recovery(code)).unwrap_or_default()),
        }
    }
}

impl Gate {
    /// The code in what a client said under a command that usually carries a password, where `challenge` asked for a code:
    /// `CODE`, or the tail of `PASSWORD:CODE`. `None` where there is none in it that could answer the question.
    ///
    /// Clients send the password that they have stored whatever was asked, and an answer goes to a factor, which must not come
    /// to know it. So nothing else of what was said may be handed on. Looks at the text alone: no user, nothing counted.
    #[must_use]
    pub fn code_in(&self, challenge: &Challenge, said: &Secret<String>) -> Option<Secret<String>> {
        let shape = CodeShape::of_answers(&self.inner.rules(), challenge.channel().as_str());
        shape.answer_in(said.expose(), challenge.expects()).map(|code| Secret::new(code.to_owned()))
    }
}

/// Whether a factor verifies codes of its own making.
fn is_foreign(factor: &dyn Factor) -> bool {
    factor.kind() == FactorKind::Verifies && factor.channel().as_str() != "totp"
}

fn is_written(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Whether it is a recovery code as users were shown theirs.
fn is_recovery(text: &str) -> bool {
    let dashed = text.split_once('-').is_some_and(|(left, right)| left.len() == right.len() && !right.contains('-'));
    dashed && is_written(text) && recovery::normalise(text).is_some()
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

    #[test]
    fn a_factor_that_waits_for_the_person_is_told_nothing_of_what_was_said_but_a_recovery_code() {
        let shape = CodeShape { foreign: true, ..shape(6, true) };
        for said in ["", "password", "pass:123456", "123456"] {
            assert_eq!(shape.answer_in(said, Expects::Nothing), Some(""), "{said}");
        }
        assert_eq!(shape.answer_in("pass:0a1bc-de2fg", Expects::Nothing), Some("0a1bc-de2fg"));
        assert_eq!(shape.answer_in("pass word", Expects::Code), None);
    }

    #[test]
    fn in_what_is_said_where_a_code_was_asked_for_nothing_but_a_code_is_found() {
        let shape = shape(6, true);
        for said in ["123456", " 123456 ", "pass:word:123456", ":123456"] {
            assert_eq!(shape.code_in(said), Some("123456"), "{said}");
        }
        assert_eq!(shape.code_in("pass:0A1BC-de2fg"), Some("0A1BC-de2fg"));
        for said in
            ["", ":", "password", "password12", "pass:word", "secret-word", "123456:", "123456:pass", "12 34 56"]
        {
            assert_eq!(shape.code_in(said), None, "{said}");
        }
        let foreign = CodeShape { foreign: true, ..shape };
        assert_eq!(foreign.code_in("pass word:cccccbhuinjd"), Some("cccccbhuinjd"));
        assert_eq!(foreign.code_in("pass word"), None);
    }

    proptest! {
        #[test]
        fn what_is_found_where_a_code_was_asked_for_could_be_one(said in "\\PC{0,40}(:[0-9a-zA-Z-]{0,12})?") {
            let shape = shape(6, true);
            if let Some(code) = shape.code_in(&said) {
                prop_assert!(shape.fits(code) && said.trim().ends_with(code) && !code.contains(':'));
            }
        }

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
