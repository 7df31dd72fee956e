//! Recovery codes: what lets a user in once when the phone is gone.
//!
//! A code is 50 random bits, shown once in two groups, and kept as a keyed digest that names its owner. The alphabet has no
//! characters that look alike; those a reader may put for others (`O` for `0`, `I` or `l` for `1`) are read as what was
//! meant. Never: keeps a code, or spends one: that is [`crate::Directory::spend_recovery_code`], which is atomic.

use crate::{RandomError, SecretKey, random};
use lockgate_model::{Secret, UserName};
use zeroize::Zeroizing;

/// How many codes a set has.
pub const COUNT: usize = 10;

/// A fresh set, as it is shown to the user once: `xxxxx-xxxxx`.
///
/// # Errors
/// [`RandomError`] where the operating system gives no random bytes.
pub fn generate() -> Result<Vec<Secret<String>>, RandomError> {
    (0..COUNT)
        .map(|_| random::letters::<LENGTH>().map(|letters| Secret::new(random::grouped(&*letters, GROUP))))
        .collect()
}

/// The code behind what was typed: blanks, dashes, case and look-alikes are forgiven.
///
/// `None` where it has not the shape of a recovery code. No code of six to eight digits has that shape.
#[must_use]
pub fn normalise(entry: &str) -> Option<Secret<String>> {
    if entry.len() > MAX_TYPED {
        return None;
    }
    let mut code = Zeroizing::new(String::with_capacity(LENGTH));
    for c in entry.chars().filter(|c| !matches!(c, ' ' | '-')) {
        // A push past the capacity would leave a copy of the code behind in freed memory.
        if code.len() == LENGTH {
            return None;
        }
        code.push(random::typed(c)?);
    }
    (code.len() == LENGTH).then(|| Secret::new(std::mem::take(&mut *code)))
}

/// What the directory keeps of a code of `user`; `None` where `entry` has not the shape of one.
#[must_use]
pub fn digest(key: &SecretKey, user: &UserName, entry: &str) -> Option<Vec<u8>> {
    let code = normalise(entry)?;
    let bound = Zeroizing::new(format!("{user}/{}", code.expose()));
    Some(key.keyed_digest("recovery", bound.as_bytes()).to_vec())
}

const LENGTH: usize = 10;
const GROUP: usize = 5;
/// A code with every blank and dash that anybody would put in.
const MAX_TYPED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_set_has_ten_different_codes_in_two_groups() {
        let codes = generate().unwrap();
        let texts: BTreeSet<_> = codes.iter().map(|code| code.expose().clone()).collect();
        assert_eq!(texts.len(), COUNT);
        for text in &texts {
            assert!(text.len() == 11 && text.as_bytes()[5] == b'-', "{text}");
            assert!(!text.contains(['i', 'l', 'o', 'u']), "{text}");
        }
    }

    #[test]
    fn a_code_is_recognised_however_it_is_copied() {
        let key = SecretKey::generate().unwrap();
        let user = UserName::new("alice").unwrap();
        let kept = digest(&key, &user, "0a1bc-de2fg").unwrap();
        for typed in ["0A1BC-DE2FG", "0a1bcde2fg", " oalbc de2fg ", "OAIBC-DE2FG"] {
            assert_eq!(digest(&key, &user, typed).as_ref(), Some(&kept), "{typed}");
        }
        assert_ne!(digest(&key, &UserName::new("bob").unwrap(), "0a1bc-de2fg"), Some(kept));
    }

    #[test]
    fn other_codes_have_not_the_shape_of_a_recovery_code() {
        for typed in
            ["", "123456", "12345678", "0a1bc-de2f", "0a1bc-de2fgh", "0a1bc_de2fg", "0a1bc-de2fu", "0a1bc-de2f\u{e9}"]
        {
            assert!(normalise(typed).is_none(), "{typed}");
        }
        assert!(normalise(&"-".repeat(10_000)).is_none());
    }
}
