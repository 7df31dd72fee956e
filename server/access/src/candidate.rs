//! Whoever says a name: the name itself where it is one, and the keys under which everything about it is counted.

use lockgate_model::UserName;
use lockgate_users::SecretKey;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::time::Duration;

/// Denials of one name take this long at least: more than an idle server needs for two password hashes and its stores.
/// Tests are denied by the hundred and wait less.
pub(crate) const ANSWER_FLOOR: Duration = Duration::from_millis(if cfg!(test) { 20 } else { 300 });
/// What a name's own share of the floor can be. It comes from the server's key, so it stays the same however often it is
/// measured; it is this small because two names must not be told apart by it either (N16).
const OWN_SHARE_MICROS: u16 = 64;
/// Characters of a name in a record: every try writes one, so that its size is what a stranger can make the disk take.
const LONGEST_SAID: usize = 128;

/// A text that claims to be a user's name.
#[derive(Clone)]
pub(crate) struct Candidate {
    /// The name, where the text is one.
    pub(crate) name: Option<UserName>,
    /// For the audit trail: the name, or the text escaped and cut.
    pub(crate) said: String,
    /// The part of ledger keys that stands for this name: a keyed digest, because people type passwords into the wrong field.
    pub(crate) key: String,
    /// No denial is faster than this.
    pub(crate) floor: Duration,
}

impl Candidate {
    /// Normalises; a text that is no name is still somebody who is counted.
    pub(crate) fn new(server: &SecretKey, text: &str) -> Self {
        let name = UserName::new(text).ok();
        let said = match &name {
            Some(name) => cut(name.as_str()),
            None => cut(&text.chars().take(UserName::MAX_BYTES).flat_map(char::escape_debug).collect::<String>()),
        };
        let counted = name.as_ref().map_or(text.as_bytes(), |name| name.as_str().as_bytes());
        let key = user_key(server, counted);
        let [a, b, ..] = server.keyed_digest("answer-time", counted);
        let own = u16::from_be_bytes([a, b]) % OWN_SHARE_MICROS;
        Self { name, said, key, floor: ANSWER_FLOOR + Duration::from_micros(own.into()) }
    }
}

/// As much of a name as a record has room for.
fn cut(said: &str) -> String {
    match said.char_indices().nth(LONGEST_SAID) {
        Some((end, _)) => format!("{}\u{2026}", said.get(..end).unwrap_or_default()),
        None => said.to_owned(),
    }
}

/// The part of a ledger key that stands for a name.
pub(crate) fn user_key(server: &SecretKey, name: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(server.keyed_digest("ledger-name", name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_spellings_of_a_name_are_counted_as_one() {
        let server = SecretKey::generate().unwrap();
        let composed = Candidate::new(&server, "Jos\u{e9}");
        let decomposed = Candidate::new(&server, "Jose\u{301}");
        assert_eq!(composed.key, decomposed.key);
        assert_ne!(composed.key, Candidate::new(&server, "jos\u{e9}").key);
    }

    #[test]
    fn a_text_that_is_no_name_is_counted_escaped_and_cut() {
        let server = SecretKey::generate().unwrap();
        let broken = Candidate::new(&server, "eve\r\n\u{202e}");
        assert!(broken.name.is_none());
        assert_eq!(broken.said, "eve\\r\\n\\u{202e}");
        for text in ["a/".repeat(100_000), "\u{202e}".repeat(200), "a".repeat(200), "\u{e9}".repeat(127)] {
            assert!(Candidate::new(&server, &text).said.chars().count() <= LONGEST_SAID + 1);
        }
        assert_eq!(Candidate::new(&server, &"a".repeat(128)).said, "a".repeat(128));
    }

    #[test]
    fn the_answer_time_of_a_name_stays_the_same() {
        let server = SecretKey::generate().unwrap();
        assert_eq!(Candidate::new(&server, "alice").floor, Candidate::new(&server, "alice").floor);
    }
}
