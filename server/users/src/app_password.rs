//! App passwords: for a client that cannot ask for codes.
//!
//! One is 140 random bits behind a prefix that a person and a secret scanner recognise. A guess is hopeless, so it is kept as
//! a keyed digest and not under a slow hash, and finding it is quick. Never: keeps the password, or decides where it opens.

use crate::{AppPassword, RandomError, SecretKey, UnixMillis, random};
use lockgate_model::{ProtocolSet, Secret, UserName};
use zeroize::Zeroizing;

/// What every app password begins with.
pub const PREFIX: &str = "lg-";

/// Makes one: the text to show once, and the record for [`crate::Directory::add_app_password`].
///
/// # Errors
/// [`RandomError`] where the operating system gives no random bytes.
pub fn mint(
    key: &SecretKey,
    user: &UserName,
    label: &str,
    protocols: ProtocolSet,
    now: UnixMillis,
) -> Result<(Secret<String>, AppPassword), RandomError> {
    let letters = random::letters::<LENGTH>()?;
    let text = Zeroizing::new(random::grouped(&*letters, GROUP));
    let password = Secret::new([PREFIX, &text].concat());
    let record = AppPassword {
        id: random::letters::<ID_LENGTH>()?.iter().collect(),
        label: label.to_owned(),
        protocols,
        digest: digest(key, user, password.expose().as_bytes()),
        created: now,
        last_used: None,
    };
    Ok((password, record))
}

/// Whether the bytes have the shape of an app password, so that it is worth asking the directory for the user's.
#[must_use]
pub fn has_shape(candidate: &[u8]) -> bool {
    candidate.len() == PREFIX.len() + LENGTH + LENGTH / GROUP - 1
        && candidate.strip_prefix(PREFIX.as_bytes()).is_some_and(|rest| {
            rest.split(|byte| *byte == b'-')
                .all(|group| group.len() == GROUP && group.iter().all(|byte| random::ALPHABET.contains(byte)))
        })
}

/// What the directory keeps of an app password of `user`.
#[must_use]
pub fn digest(key: &SecretKey, user: &UserName, candidate: &[u8]) -> Secret<Vec<u8>> {
    let mut bound = Zeroizing::new(Vec::with_capacity(user.as_str().len() + 1 + candidate.len()));
    bound.extend_from_slice(user.as_str().as_bytes());
    bound.push(b'/');
    bound.extend_from_slice(candidate);
    Secret::new(key.keyed_digest("app-password", &bound).to_vec())
}

/// The one of the user's app passwords that `candidate` is; every one is compared, each in constant time.
#[must_use]
pub fn recognise<'a>(
    key: &SecretKey,
    user: &UserName,
    passwords: &'a [AppPassword],
    candidate: &[u8],
) -> Option<&'a AppPassword> {
    if !has_shape(candidate) {
        return None;
    }
    let shown = digest(key, user, candidate);
    // No early end: where in the list it stands is nobody's business.
    passwords.iter().fold(None, |found, known| if known.digest.matches(shown.expose()) { Some(known) } else { found })
}

const LENGTH: usize = 28;
const GROUP: usize = 7;
const ID_LENGTH: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UserName {
        UserName::new(text).unwrap()
    }

    #[test]
    fn an_app_password_is_recognised_as_its_owners_and_nobody_elses() {
        let key = SecretKey::generate().unwrap();
        let (_, other) = mint(&key, &name("alice"), "phone", ProtocolSet::all(), 1).unwrap();
        let (password, record) = mint(&key, &name("alice"), "backup", ProtocolSet::all(), 1).unwrap();
        let kept = [other, record.clone()];
        let shown = password.expose().as_bytes();

        assert_eq!(recognise(&key, &name("alice"), &kept, shown).unwrap().id, record.id);
        assert!(recognise(&key, &name("bob"), &kept, shown).is_none());
        assert!(recognise(&SecretKey::generate().unwrap(), &name("alice"), &kept, shown).is_none());
        assert!(recognise(&key, &name("alice"), &kept, &shown[..shown.len() - 1]).is_none());
    }

    #[test]
    fn an_app_password_has_at_least_128_bits_and_a_shape_of_its_own() {
        let key = SecretKey::generate().unwrap();
        let (password, record) = mint(&key, &name("alice"), "x", ProtocolSet::NONE, 1).unwrap();
        const { assert!(LENGTH * 5 >= 128) };
        assert!(has_shape(password.expose().as_bytes()) && password.expose().starts_with("lg-"));
        assert!(!format!("{record:?}").contains(password.expose().as_str()));
        for other in ["", "lg-", "lg-short", "correct horse battery staple", "lg-aaaaaaa-aaaaaaa-aaaaaaa-aaaaaaau"] {
            assert!(!has_shape(other.as_bytes()), "{other}");
        }
    }
}
