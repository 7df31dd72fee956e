//! Secrets as prefs.xml holds them: plain, by reference to the environment or a file, or sealed.
//!
//! Reading preferences must not open anything, and the key that unseals is the daemon's. So a secret stays in the form in
//! which it was written until someone who has the home and the key asks for it.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lockgate_model::Secret;
use std::{
    fmt,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};
use zeroize::{Zeroize, Zeroizing};

/// The beginning of a sealed value: standard base64 of what [`Sealer::seal`] returned follows.
const SEALED: &str = "enc:v1:";
/// The most bytes of a secret read from a file.
const FILE_LIMIT: u64 = 64 << 10;

/// Seals and unseals under a key that is not this crate's (`keys/secret.key`).
///
/// `label` is the name of the key whose value it is (`smtp_pass`). It is to be bound into the seal as associated data,
/// so that a sealed value moved to another key does not open there.
pub trait Sealer {
    /// Seals.
    ///
    /// # Errors
    /// [`SealError`] where the key cannot be used.
    fn seal(&self, plain: &[u8], label: &str) -> Result<Vec<u8>, SealError>;

    /// Opens what [`Sealer::seal`] returned for the same label.
    ///
    /// # Errors
    /// [`SealError`] where it was sealed under another key or label, or was changed.
    fn open(&self, sealed: &[u8], label: &str) -> Result<Secret<Vec<u8>>, SealError>;
}

/// Why sealing or opening did not work; the text says what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SealError(pub String);

/// A secret from prefs.xml, not yet resolved. Shows nothing of itself in `Debug`.
#[derive(Clone)]
pub struct SecretText {
    label: String,
    form: Form,
}

#[derive(Clone)]
enum Form {
    Plain(Secret<String>),
    Environment(String),
    File(PathBuf),
    Sealed(Vec<u8>),
}

/// Why a secret could not be had. Never holds any of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// `env:NAME`, and no such variable, or one that is not UTF-8.
    #[error("{key} is to come from the environment variable {variable}, which is not set (or not UTF-8); set it")]
    Environment {
        /// The key of the secret.
        key: String,
        /// The variable.
        variable: String,
    },
    /// `file:PATH`, and the file cannot be read.
    #[error("{key} is to come from the file {path}, which cannot be read")]
    File {
        /// The key of the secret.
        key: String,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file holds what cannot be a secret.
    #[error("{key} is to come from the file {path}, which {problem}")]
    Content {
        /// The key of the secret.
        key: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A sealed value that does not open.
    #[error("{key} is stored encrypted and does not open: {source}; set it again with `lockgate prefs set {key}`")]
    Sealed {
        /// The key of the secret.
        key: String,
        /// Why.
        source: SealError,
    },
}

impl SecretText {
    /// Takes a stored value apart; `None` where it is empty.
    ///
    /// # Errors
    /// What was expected, where the value begins like a reference and is none.
    pub(crate) fn parse(label: &str, stored: &str) -> Result<Option<Self>, &'static str> {
        if stored.trim().is_empty() {
            return Ok(None);
        }
        // A reference is read without the blanks around it; a plain secret is taken to the letter.
        let trimmed = stored.trim();
        let form = if let Some(name) = trimmed.strip_prefix("env:") {
            if name.is_empty() || name.contains(['=', '\0']) || name.contains(char::is_whitespace) {
                return Err("the name of an environment variable after env:");
            }
            Form::Environment(name.to_owned())
        } else if let Some(path) = trimmed.strip_prefix("file:") {
            if path.is_empty() {
                return Err("the path of a file after file:");
            }
            Form::File(path.into())
        } else if trimmed.starts_with("enc:") {
            let sealed = trimmed.strip_prefix(SEALED).and_then(|text| STANDARD.decode(text).ok());
            Form::Sealed(
                sealed
                    .filter(|bytes| !bytes.is_empty())
                    .ok_or("enc:v1: and base64, as `lockgate prefs set` stores it")?,
            )
        } else {
            Form::Plain(Secret::new(stored.to_owned()))
        };
        Ok(Some(Self { label: label.to_owned(), form }))
    }

    /// The key whose value this is.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The secret itself. Paths of files are taken from `home` where they are relative.
    ///
    /// Reads a file where the form says so: not for a runtime's own threads.
    ///
    /// # Errors
    /// [`SecretError`] where the variable, the file or the key is not to be had.
    pub fn resolve(&self, home: &Path, sealer: &dyn Sealer) -> Result<Secret<String>, SecretError> {
        match &self.form {
            Form::Plain(secret) => Ok(secret.clone()),
            Form::Environment(variable) => std::env::var(variable)
                .map(Secret::new)
                .map_err(|_| SecretError::Environment { key: self.label.clone(), variable: variable.clone() }),
            Form::File(path) => self.read(&home.join(path)),
            Form::Sealed(sealed) => {
                let failed = |source| SecretError::Sealed { key: self.label.clone(), source };
                let plain = sealer.open(sealed, &self.label).map_err(failed)?;
                String::from_utf8(plain.expose().clone()).map(Secret::new).map_err(|error| {
                    error.into_bytes().zeroize();
                    failed(SealError("what it holds is not text".to_owned()))
                })
            }
        }
    }

    /// How this may be shown to an administrator: a reference as it is, anything else by its kind alone.
    #[must_use]
    pub fn masked(&self) -> String {
        match &self.form {
            Form::Plain(_) => MASK.to_owned(),
            Form::Environment(name) => format!("env:{name}"),
            Form::File(path) => format!("file:{}", path.display()),
            Form::Sealed(_) => "(encrypted, not shown)".to_owned(),
        }
    }

    /// Whether the secret stands readable in the file.
    #[must_use]
    pub const fn is_plain(&self) -> bool {
        matches!(self.form, Form::Plain(_))
    }

    fn read(&self, path: &Path) -> Result<Secret<String>, SecretError> {
        let failed = |source| SecretError::File { key: self.label.clone(), path: path.to_owned(), source };
        let unfit = |problem| SecretError::Content { key: self.label.clone(), path: path.to_owned(), problem };
        // Opening a pipe would wait for a writer, perhaps for ever.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(unfit("is not a regular file"));
        }
        let mut bytes = Zeroizing::new(Vec::new());
        File::open(path).and_then(|file| file.take(FILE_LIMIT + 1).read_to_end(&mut bytes)).map_err(failed)?;
        if bytes.len() as u64 > FILE_LIMIT {
            return Err(unfit("is larger than 64 KiB"));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| unfit("is not UTF-8"))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() { Err(unfit("is empty")) } else { Ok(Secret::new(text.to_owned())) }
    }
}

/// What stands for a secret wherever one may not be shown.
pub const MASK: &str = "(secret, not shown)";

/// The stored form of a secret that someone typed: references stay, anything else is sealed.
pub(crate) fn store(value: &str, label: &str, sealer: &dyn Sealer) -> Result<Zeroizing<String>, SealError> {
    match SecretText::parse(label, value) {
        Ok(None) => Ok(Zeroizing::new(String::new())),
        Ok(Some(SecretText { form: Form::Plain(plain), .. })) => {
            let sealed = sealer.seal(plain.expose().as_bytes(), label)?;
            Ok(Zeroizing::new(format!("{SEALED}{}", STANDARD.encode(sealed))))
        }
        Ok(Some(_)) | Err(_) => Ok(Zeroizing::new(value.trim().to_owned())),
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretText({}: {})", self.label, self.masked())
    }
}

impl PartialEq for SecretText {
    /// Whether both say the same in the same form; told apart so that a reload notices a change.
    fn eq(&self, other: &Self) -> bool {
        self.label == other.label
            && match (&self.form, &other.form) {
                (Form::Plain(a), Form::Plain(b)) => a.matches(b.expose().as_bytes()),
                (Form::Environment(a), Form::Environment(b)) => a == b,
                (Form::File(a), Form::File(b)) => a == b,
                (Form::Sealed(a), Form::Sealed(b)) => a == b,
                _ => false,
            }
    }
}

/// Whether a name sounds like that of a secret: for keys that no declaration covers (a plugin's settings, keys of other
/// products). Errs on the side of hiding.
#[must_use]
pub fn sounds_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let last = lower.rsplit(['_', '-', '.']).next().unwrap_or(&lower);
    ["secret", "passw", "passphrase", "token", "apikey", "credential", "privatekey"].iter().any(|part| lower.contains(part))
        || matches!(last, "pass" | "key" | "pw" | "pwd" | "pin")
        || lower.ends_with("pass")
        // apiKey, authKey: camel case has no separator to split at.
        || name.ends_with("Key")
}

#[cfg(test)]
pub(crate) mod tests;
