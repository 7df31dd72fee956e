//! The key outside the database: it seals what must be readable again, and digests what only has to be recognised.
//!
//! A copy of `lockgate.db` alone is worth little: authenticator secrets in it are sealed with AES-256-GCM, recovery codes
//! and app passwords are HMAC digests, both under this key. What is sealed is bound to a context (whose it is and what for),
//! so that a value moved to another row does not open there.
//!
//! The file is text, one key a line, `ID BASE64`, the newest first. The first line seals, every line opens, and digests
//! always use the last, so that a key can be put in front without voiding everybody's recovery codes. Never: a key in an
//! error, a log line or `Debug`; a key file that others can read.

use crate::{OpenError, RandomError, open, random};
use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey},
    hmac,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use lockgate_model::Secret;
use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::Path,
    sync::Arc,
};
use zeroize::Zeroizing;

/// A sealed value was not opened, or a value could not be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SealError {
    /// Damaged, cut short, sealed for another context, or no sealed value at all.
    #[error("the sealed value is damaged or belongs elsewhere")]
    Damaged,
    /// Sealed with a key that the key file does not have.
    #[error("the value is sealed with key {0}, which is not in keys/secret.key")]
    UnknownKey(u8),
    /// No random bytes for the nonce.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// The keys of `keys/secret.key`. Clones share them.
#[derive(Clone)]
pub struct SecretKey(Arc<Ring>);

struct Ring {
    /// Seals.
    newest: NumberedKey,
    /// Open only.
    older: Vec<NumberedKey>,
}

struct NumberedKey {
    id: u8,
    bytes: Zeroizing<[u8; KEY_LEN]>,
}

impl SecretKey {
    /// Makes a random key that is in no file.
    ///
    /// # Errors
    /// [`RandomError`] where the operating system gives no random bytes.
    pub fn generate() -> Result<Self, RandomError> {
        let newest = NumberedKey { id: 1, bytes: random::bytes()? };
        Ok(Self(Arc::new(Ring { newest, older: Vec::new() })))
    }

    /// Makes a random key and its file, mode 0600, on disk before this returns. An existing file is never touched.
    ///
    /// # Errors
    /// [`OpenError`] where the file exists or cannot be written.
    pub fn create(path: &Path) -> Result<Self, OpenError> {
        let key = Self::generate()?;
        let NumberedKey { id, bytes } = &key.0.newest;
        let encoded = Zeroizing::new(STANDARD.encode(bytes.as_slice()));
        let line = Zeroizing::new(format!("{id} {}\n", *encoded));
        open::write_new(path, line.as_bytes()).map_err(|source| OpenError::Io {
            path: path.into(),
            action: "create",
            source,
        })?;
        Ok(key)
    }

    /// Reads the file.
    ///
    /// # Errors
    /// [`OpenError`] where the file is missing, open to group or others, or no key file.
    pub fn load(path: &Path) -> Result<Self, OpenError> {
        let failed = |action| move |source| OpenError::Io { path: path.into(), action, source };
        let file = File::open(path).map_err(failed("open"))?;
        open::refuse_loose(path, &file.metadata().map_err(failed("look at"))?)?;
        let mut text = Zeroizing::new(String::with_capacity(MAX_FILE));
        file.take(MAX_FILE as u64).read_to_string(&mut text).map_err(failed("read"))?;
        Self::parse(&text).map_err(|why| OpenError::Malformed { path: path.into(), what: "key file", why: why.into() })
    }

    /// Loads the file, or creates it where there is none. Two processes that do so at once end up with one key.
    ///
    /// # Errors
    /// Those of [`SecretKey::load`] and [`SecretKey::create`].
    pub fn load_or_create(path: &Path) -> Result<Self, OpenError> {
        match Self::load(path) {
            Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => match Self::create(path) {
                Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
                other => other,
            },
            other => other,
        }
    }

    /// Encrypts `plaintext` so that only this key opens it, and only under the same `context`.
    ///
    /// The result is a version byte, the key's id, a random nonce of 12 bytes, the ciphertext and a tag of 16 bytes.
    ///
    /// # Errors
    /// [`SealError::Random`] where there is no nonce.
    pub fn seal(&self, context: &str, plaintext: &[u8]) -> Result<Vec<u8>, SealError> {
        let key = &self.0.newest;
        let mut secret = Zeroizing::new(Vec::with_capacity(plaintext.len() + AES_256_GCM.tag_len()));
        secret.extend_from_slice(plaintext);
        let nonce = sealing_key(key)?
            .seal_in_place_append_tag(Aad::from(bound_to(key.id, context)), &mut *secret)
            .map_err(|_| SealError::Random(RandomError))?;
        let mut sealed = Vec::with_capacity(HEADER_LEN + secret.len());
        sealed.extend_from_slice(&[VERSION, key.id]);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&secret);
        Ok(sealed)
    }

    /// Opens what [`SecretKey::seal`] made under the same `context`.
    ///
    /// # Errors
    /// [`SealError`] where the value is not whole, not for this context, or sealed with a key that is not here.
    pub fn open(&self, context: &str, sealed: &[u8]) -> Result<Secret<Vec<u8>>, SealError> {
        let Some((&[VERSION, id], rest)) = sealed.split_first_chunk::<2>() else {
            return Err(SealError::Damaged);
        };
        let Some((nonce, ciphertext)) = rest.split_first_chunk::<NONCE_LEN>() else {
            return Err(SealError::Damaged);
        };
        let key = self.keys().find(|key| key.id == id).ok_or(SealError::UnknownKey(id))?;
        let mut secret = Zeroizing::new(ciphertext.to_vec());
        let length = sealing_key(key)?
            .open_in_place(Nonce::from(nonce), Aad::from(bound_to(id, context)), &mut secret)
            .map_err(|_| SealError::Damaged)?
            .len();
        secret.truncate(length);
        Ok(Secret::new(std::mem::take(&mut *secret)))
    }

    /// A key of its own for the purpose `label`. Stable as long as the key file is.
    #[must_use]
    pub fn derive(&self, label: &str) -> Secret<[u8; 32]> {
        let oldest = self.0.older.last().unwrap_or(&self.0.newest);
        Secret::new(derive(oldest, "digest", label))
    }

    /// HMAC-SHA-256 of `data` under the key that [`SecretKey::derive`] makes for `label`.
    ///
    /// For what has to be recognised and never read again: recovery codes, app passwords, sent codes, fingerprints of grants,
    /// the delay that belongs to a name. Join several parts with a separator that none of them can hold.
    #[must_use]
    pub fn keyed_digest(&self, label: &str, data: &[u8]) -> [u8; 32] {
        hmac_sha256(self.derive(label).expose(), &[data])
    }

    fn keys(&self) -> impl Iterator<Item = &NumberedKey> {
        std::iter::once(&self.0.newest).chain(&self.0.older)
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let mut keys: Vec<NumberedKey> = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let (id, encoded) = line.split_once(' ').ok_or("a line is `ID BASE64`")?;
            let id = id.parse().map_err(|_| "an id is a number from 0 to 255")?;
            let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).map_err(|_| "the key is not base64")?);
            let bytes =
                Zeroizing::new(<[u8; KEY_LEN]>::try_from(decoded.as_slice()).map_err(|_| "a key has 32 bytes")?);
            if keys.iter().any(|key| key.id == id) {
                return Err("two keys have the same id");
            }
            keys.push(NumberedKey { id, bytes });
        }
        let mut keys = keys.into_iter();
        let newest = keys.next().ok_or("it holds no key")?;
        Ok(Self(Arc::new(Ring { newest, older: keys.collect() })))
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

fn sealing_key(key: &NumberedKey) -> Result<RandomizedNonceKey, SealError> {
    let bytes = Zeroizing::new(derive(key, "seal", ""));
    RandomizedNonceKey::new(&AES_256_GCM, &*bytes).map_err(|_| SealError::Damaged)
}

/// What the tag covers besides the ciphertext.
fn bound_to(id: u8, context: &str) -> Vec<u8> {
    [&[VERSION, id], context.as_bytes()].concat()
}

fn derive(key: &NumberedKey, purpose: &str, label: &str) -> [u8; 32] {
    hmac_sha256(&key.bytes, &[b"lockgate\0", purpose.as_bytes(), b"\0", label.as_bytes()])
}

fn hmac_sha256(key: &[u8; KEY_LEN], parts: &[&[u8]]) -> [u8; 32] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(part);
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.sign().as_ref());
    digest
}

const KEY_LEN: usize = 32;
const VERSION: u8 = 1;
const HEADER_LEN: usize = 2 + NONCE_LEN;
/// Far more keys than anybody rotates through.
const MAX_FILE: usize = 8192;

#[cfg(test)]
mod tests {
    use super::*;
    use std::{fs::Permissions, os::unix::fs::PermissionsExt};

    #[test]
    fn a_sealed_value_opens_under_its_own_context_only() {
        let key = SecretKey::generate().unwrap();
        let sealed = key.seal("enrolment/alice/totp", b"seed").unwrap();
        assert_eq!(key.open("enrolment/alice/totp", &sealed).unwrap().expose(), b"seed");
        for foreign in ["enrolment/bob/totp", "enrolment/alice/sms", ""] {
            assert_eq!(key.open(foreign, &sealed).unwrap_err(), SealError::Damaged, "{foreign}");
        }
        assert_eq!(
            SecretKey::generate().unwrap().open("enrolment/alice/totp", &sealed).unwrap_err(),
            SealError::Damaged
        );
    }

    #[test]
    fn a_changed_or_cut_sealed_value_does_not_open() {
        let key = SecretKey::generate().unwrap();
        let sealed = key.seal("c", b"seed").unwrap();
        for place in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[place] ^= 1;
            assert!(key.open("c", &changed).is_err(), "byte {place} changed");
            assert!(key.open("c", &sealed[..place]).is_err(), "cut at {place}");
        }
    }

    #[test]
    fn the_same_value_is_never_sealed_the_same_way_twice() {
        let key = SecretKey::generate().unwrap();
        assert_ne!(key.seal("c", b"seed").unwrap(), key.seal("c", b"seed").unwrap());
    }

    #[test]
    fn the_key_file_is_private_and_gives_the_same_key_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        let key = SecretKey::create(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);

        let again = SecretKey::load_or_create(&path).unwrap();
        assert_eq!(again.keyed_digest("x", b"y"), key.keyed_digest("x", b"y"));
        assert!(again.open("c", &key.seal("c", b"seed").unwrap()).is_ok());
        assert!(SecretKey::create(&path).is_err(), "an existing key must never be overwritten");
    }

    #[test]
    fn a_key_file_open_to_others_is_refused_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        SecretKey::create(&path).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o644] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let error = SecretKey::load(&path).unwrap_err();
            assert!(matches!(error, OpenError::LoosePermissions { .. }), "{mode:o}: {error}");
            assert!(error.to_string().contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn many_that_create_the_key_at_once_share_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        let digests: Vec<_> = std::thread::scope(|scope| {
            let open = || SecretKey::load_or_create(&path).unwrap().keyed_digest("x", b"y");
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(digests.iter().all(|digest| *digest == digests[0]));
    }

    #[test]
    fn after_a_rotation_old_values_open_and_digests_stay() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        let old = SecretKey::create(&path).unwrap();
        let sealed = old.seal("c", b"seed").unwrap();
        let fresh = STANDARD.encode(random::bytes::<32>().unwrap().as_slice());
        let rotated = SecretKey::parse(&format!("2 {fresh}\n{}", std::fs::read_to_string(&path).unwrap())).unwrap();

        assert_eq!(rotated.open("c", &sealed).unwrap().expose(), b"seed");
        assert_eq!(rotated.keyed_digest("x", b"y"), old.keyed_digest("x", b"y"));
        assert_eq!(old.open("c", &rotated.seal("c", b"seed").unwrap()).unwrap_err(), SealError::UnknownKey(2));
    }

    #[test]
    fn what_is_no_key_file_is_refused_without_showing_it() {
        for text in ["", "# nothing\n", "1", "1 c2hvcnQ=", "300 AAAA", "x AAAA", "1 !!!"] {
            assert!(SecretKey::parse(text).is_err(), "{text:?}");
        }
        let key = STANDARD.encode([7; 32]);
        let error = SecretKey::parse(&format!("1 {key}\n1 {key}")).unwrap_err();
        assert!(!error.contains(&key));
    }
}
