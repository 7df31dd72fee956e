//! The keys by which clients know this server.
//!
//! Made on first use, with mode 0600 from the first byte; a key that others can read is refused rather than repaired, since
//! nobody knows who has read it. RSA host keys are refused: the signing code has an open timing flaw, and no client of this
//! century needs one.

use russh::keys::{
    Algorithm, HashAlg, PrivateKey,
    ssh_key::{
        LineEnding,
        private::{Ed25519Keypair, KeypairData},
    },
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};
use zeroize::Zeroizing;

/// Why a host key is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostKeyError {
    /// The file could not be made or read.
    #[error("cannot {what} the host key {path}: {source}")]
    File {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The key may be read by others.
    #[error(
        "the host key {path} may be read by others (mode {mode:o}): chmod 600 {path}, or replace it if it may be known"
    )]
    Loose {
        /// The file.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// The contents are no host key.
    #[error("the host key {path} is of no use: {reason}")]
    Unusable {
        /// The file.
        path: String,
        /// Why, and what to do.
        reason: String,
    },
}

/// The loaded host keys. Clones share nothing secret beyond the keys themselves.
#[derive(Clone)]
pub struct HostKeys {
    keys: Vec<PrivateKey>,
}

impl HostKeys {
    /// Loads the key at `path`, making an Ed25519 key with mode 0600 there first where there is none. The folder must exist.
    ///
    /// # Errors
    /// [`HostKeyError`], each naming the file.
    pub fn ensure(path: &Path) -> Result<Self, HostKeyError> {
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => make(path)?,
            Err(source) => return Err(file_error("look at", path, source)),
            Ok(_) => {}
        }
        Ok(Self { keys: vec![load(path)?] })
    }

    /// Adds a further key that must exist (a client chooses by its own preference).
    ///
    /// # Errors
    /// [`HostKeyError`], each naming the file.
    pub fn and(mut self, path: &Path) -> Result<Self, HostKeyError> {
        self.keys.push(load(path)?);
        Ok(self)
    }

    /// The SHA-256 fingerprint of each key, as `ssh-keygen -l` writes it.
    #[must_use]
    pub fn fingerprints(&self) -> Vec<String> {
        self.keys.iter().map(|key| key.public_key().fingerprint(HashAlg::Sha256).to_string()).collect()
    }

    pub(crate) fn keys(&self) -> Vec<PrivateKey> {
        self.keys.clone()
    }
}

impl std::fmt::Debug for HostKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HostKeys({})", self.fingerprints().join(", "))
    }
}

fn load(path: &Path) -> Result<PrivateKey, HostKeyError> {
    let mut file = File::open(path).map_err(|source| file_error("open", path, source))?;
    // Asked of the open file, so that it cannot be exchanged between the question and the reading.
    let facts = file.metadata().map_err(|source| file_error("look at", path, source))?;
    let mode = facts.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(HostKeyError::Loose { path: path.display().to_string(), mode });
    }
    if facts.len() > LONGEST {
        return Err(unusable(path, "it is far too long for a key"));
    }
    let mut text = Zeroizing::new(String::with_capacity(usize::try_from(facts.len()).unwrap_or(0)));
    file.read_to_string(&mut text).map_err(|source| file_error("read", path, source))?;
    let key = PrivateKey::from_openssh(text.as_bytes())
        .map_err(|error| unusable(path, &format!("{error}; an unencrypted key in OpenSSH's format is wanted")))?;
    if key.is_encrypted() {
        return Err(unusable(path, "it is encrypted: remove the passphrase with ssh-keygen -p"));
    }
    match key.algorithm() {
        Algorithm::Ed25519 | Algorithm::Ecdsa { .. } => Ok(key),
        other => Err(unusable(path, &format!("{other} is not accepted here: use an Ed25519 or ECDSA key"))),
    }
}

/// Writes a fresh key beside `path` and links it into place: two that start at once end up with one key, and a crash leaves
/// no half key under the name.
fn make(path: &Path) -> Result<(), HostKeyError> {
    let mut seed = Zeroizing::new([0u8; 32]);
    let mut tag = [0u8; 8];
    random(&mut *seed, path)?;
    random(&mut tag, path)?;
    let pair = Ed25519Keypair::from_seed(&seed);
    let key =
        PrivateKey::new(KeypairData::Ed25519(pair), "lockgate").map_err(|error| unusable(path, &error.to_string()))?;
    let text = key.to_openssh(LineEnding::LF).map_err(|error| unusable(path, &error.to_string()))?;

    let mut draft = path.as_os_str().to_owned();
    draft.push(format!(".{:016x}", u64::from_be_bytes(tag)));
    let draft = Path::new(&draft);
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(draft)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| fs::hard_link(draft, path))
        .and_then(|()| path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all()));
    let _ = fs::remove_file(draft);
    match written {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(source) => Err(file_error("make", path, source)),
        Ok(()) => Ok(()),
    }
}

fn random(bytes: &mut [u8], path: &Path) -> Result<(), HostKeyError> {
    aws_lc_rs::rand::fill(bytes).map_err(|_| unusable(path, "the system gave no random bytes"))
}

fn file_error(what: &'static str, path: &Path, source: io::Error) -> HostKeyError {
    HostKeyError::File { what, path: path.display().to_string(), source }
}

fn unusable(path: &Path, reason: &str) -> HostKeyError {
    HostKeyError::Unusable { path: path.display().to_string(), reason: reason.to_owned() }
}

/// A 16,384-bit key is shorter.
const LONGEST: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn mode_of(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn a_missing_key_is_made_once_for_its_owner_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("ssh_host_ed25519_key");
        let first = HostKeys::ensure(&path).unwrap();
        let second = HostKeys::ensure(&path).unwrap();
        assert_eq!(first.fingerprints(), second.fingerprints());
        assert!(first.fingerprints().concat().starts_with("SHA256:"));
        assert_eq!(mode_of(&path), 0o600);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1, "no draft is left behind");
    }

    #[test]
    fn two_servers_share_no_key() {
        let home = tempfile::tempdir().unwrap();
        let one = HostKeys::ensure(&home.path().join("a")).unwrap();
        let other = HostKeys::ensure(&home.path().join("b")).unwrap();
        assert_ne!(one.fingerprints(), other.fingerprints());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_cure() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key");
        HostKeys::ensure(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = HostKeys::ensure(&path).unwrap_err();
        assert!(matches!(error, HostKeyError::Loose { mode: 0o640, .. }));
        assert!(error.to_string().contains("chmod 600"));
        assert_eq!(mode_of(&path), 0o640, "refused, not repaired");
    }

    #[test]
    fn what_is_no_key_is_refused_and_left_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key");
        fs::write(&path, "something else").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(matches!(HostKeys::ensure(&path), Err(HostKeyError::Unusable { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "something else");
    }

    #[test]
    fn the_key_itself_is_never_printed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("key");
        let keys = HostKeys::ensure(&path).unwrap();
        let printed = format!("{keys:?}");
        assert!(printed.starts_with("HostKeys(SHA256:") && !printed.contains("PRIVATE"));
    }
}
