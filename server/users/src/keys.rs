//! Public keys for SSH, as they stand in `authorized_keys` lines.
//!
//! A line is parsed once, when it is saved, and what comes out is a key blob that is exactly one well-formed key: right
//! type, right lengths, nothing behind it. So the login only compares bytes. Options in front of a key (`from=`,
//! `command=`) would promise something that is not done here; a line with options is refused, never half obeyed.
//!
//! Never: a private key, a certificate, DSA, RSA under 2048 bits.

use crate::{AuthorizedKey, UnixMillis};
use aws_lc_rs::{
    digest,
    signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P384_SHA384_ASN1, ECDSA_P521_SHA512_ASN1, ED25519, ParsedPublicKey},
};
use base64::{
    Engine,
    engine::general_purpose::{STANDARD, STANDARD_NO_PAD},
};

/// Why a line is no key that can be kept.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Blank, or a comment.
    #[error("there is no key in this line")]
    Empty,
    /// Longer than any key.
    #[error("the line is longer than any public key")]
    TooLong,
    /// Control characters inside.
    #[error("the line has control characters")]
    Control,
    /// A private key.
    #[error("this is a private key: give the public one, from the file that ends in .pub")]
    Private,
    /// Another file format.
    #[error("this is not the one-line form of OpenSSH: convert it with ssh-keygen -i -f FILE")]
    OtherFormat,
    /// Options in front.
    #[error("options before the key are not supported: give the line from the key's type on")]
    Options,
    /// A certificate.
    #[error("certificates are not supported: give the public key itself")]
    Certificate,
    /// DSA.
    #[error("DSA keys are too weak: use ssh-ed25519")]
    Dsa,
    /// A type that is not known.
    #[error("unknown key type {0:?}; known are {known}", known = KINDS.map(|(name, _)| name).join(", "))]
    UnknownType(String),
    /// Not base64, or none there.
    #[error("what stands after the key type is not base64")]
    Base64,
    /// The type in front is not the type inside.
    #[error("the key is not of the type that stands before it")]
    TypeMismatch,
    /// Not a well-formed key of its type.
    #[error("the key is damaged: {0}")]
    Damaged(&'static str),
    /// RSA of a wrong size.
    #[error("an RSA key of {0} bits: it must have 2048 to 16384")]
    RsaSize(usize),
}

/// Parses one line `TYPE BASE64 [COMMENT]`. A comment over [`MAX_COMMENT`] bytes is cut.
///
/// # Errors
/// [`KeyError`] where the line is not exactly that.
pub fn parse_line(line: &str, added: UnixMillis) -> Result<AuthorizedKey, KeyError> {
    if line.len() > MAX_LINE {
        return Err(KeyError::TooLong);
    }
    let line = line.trim_ascii();
    if line.chars().any(|c| c.is_control() && c != '\t') {
        return Err(KeyError::Control);
    }
    let (word, rest) = next_word(line);
    let kind = kind_of(word, rest)?;
    let (encoded, comment) = next_word(rest);
    let blob = STANDARD.decode(encoded).ok().filter(|blob| !blob.is_empty()).ok_or(KeyError::Base64)?;
    check_blob(word, kind, &blob)?;
    let comment = comment.get(..comment.floor_char_boundary(MAX_COMMENT)).unwrap_or_default();
    Ok(AuthorizedKey { fingerprint: fingerprint(&blob), blob, comment: comment.trim_ascii_end().to_owned(), added })
}

/// Parses a whole file: blank lines and comments are skipped, anything else must be a key.
///
/// # Errors
/// The number of the first bad line, from 1, and what is wrong with it; line 0 and [`KeyError::Empty`] where there is no
/// key at all.
pub fn parse_file(text: &str, added: UnixMillis) -> Result<Vec<AuthorizedKey>, (usize, KeyError)> {
    let mut keys = Vec::new();
    for (place, line) in text.lines().enumerate() {
        match parse_line(line, added) {
            Ok(key) => keys.push(key),
            Err(KeyError::Empty) => {}
            Err(error) => return Err((place + 1, error)),
        }
    }
    if keys.is_empty() { Err((0, KeyError::Empty)) } else { Ok(keys) }
}

/// The fingerprint of a key blob as ssh-keygen prints it: `SHA256:` and 43 characters of base64.
#[must_use]
pub fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(digest::digest(&digest::SHA256, blob)))
}

/// The longest comment that is kept, in bytes.
pub const MAX_COMMENT: usize = 255;

#[derive(Clone, Copy)]
enum Kind {
    Ed25519,
    Ecdsa(Curve),
    SkEd25519,
    SkEcdsa,
    Rsa,
}

#[derive(Clone, Copy)]
enum Curve {
    P256,
    P384,
    P521,
}

fn next_word(text: &str) -> (&str, &str) {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    (word, rest.trim_ascii_start())
}

fn kind_of(word: &str, rest: &str) -> Result<Kind, KeyError> {
    let known = |word: &str| KINDS.iter().find(|(name, _)| *name == word).map(|(_, kind)| *kind);
    if let Some(kind) = known(word) {
        return Ok(kind);
    }
    Err(match word {
        "" => KeyError::Empty,
        comment if comment.starts_with('#') => KeyError::Empty,
        "-----BEGIN" if rest.contains("PRIVATE") => KeyError::Private,
        "-----BEGIN" | "----" => KeyError::OtherFormat,
        "ssh-dss" => KeyError::Dsa,
        certificate if certificate.contains("-cert-v0") => KeyError::Certificate,
        _ if rest.split_ascii_whitespace().any(|word| known(word).is_some()) => KeyError::Options,
        other => KeyError::UnknownType(other.chars().take(64).collect()),
    })
}

/// RFC 4253 section 6.6 (RSA), RFC 5656 section 3.1, RFC 8709 section 4, and OpenSSH's PROTOCOL.u2f.
fn check_blob(word: &str, kind: Kind, blob: &[u8]) -> Result<(), KeyError> {
    let mut fields = Fields(blob);
    if fields.next()? != word.as_bytes() {
        return Err(KeyError::TypeMismatch);
    }
    match kind {
        Kind::Ed25519 => check_ed25519(fields.next()?)?,
        Kind::Ecdsa(curve) => check_ecdsa(curve, &mut fields)?,
        Kind::SkEd25519 => {
            check_ed25519(fields.next()?)?;
            check_application(fields.next()?)?;
        }
        Kind::SkEcdsa => {
            check_ecdsa(Curve::P256, &mut fields)?;
            check_application(fields.next()?)?;
        }
        Kind::Rsa => {
            let (exponent, modulus) = (fields.next()?, fields.next()?);
            check_rsa(exponent, modulus)?;
        }
    }
    if fields.0.is_empty() { Ok(()) } else { Err(KeyError::Damaged("something stands behind the key")) }
}

fn check_ed25519(point: &[u8]) -> Result<(), KeyError> {
    if point.len() != 32 {
        return Err(KeyError::Damaged("an Ed25519 key has 32 bytes"));
    }
    ParsedPublicKey::new(&ED25519, point).map_err(|_| KeyError::Damaged("this is no Ed25519 key"))?;
    Ok(())
}

fn check_ecdsa(curve: Curve, fields: &mut Fields<'_>) -> Result<(), KeyError> {
    let (name, length, algorithm): (&[u8], _, _) = match curve {
        Curve::P256 => (b"nistp256", 65, &ECDSA_P256_SHA256_ASN1),
        Curve::P384 => (b"nistp384", 97, &ECDSA_P384_SHA384_ASN1),
        Curve::P521 => (b"nistp521", 133, &ECDSA_P521_SHA512_ASN1),
    };
    if fields.next()? != name {
        return Err(KeyError::TypeMismatch);
    }
    let point = fields.next()?;
    if point.len() != length || point.first() != Some(&4) {
        return Err(KeyError::Damaged("the point has a wrong length or form"));
    }
    ParsedPublicKey::new(algorithm, point).map_err(|_| KeyError::Damaged("the point is not on its curve"))?;
    Ok(())
}

fn check_application(application: &[u8]) -> Result<(), KeyError> {
    let fits = (1..=255).contains(&application.len()) && application.iter().all(u8::is_ascii_graphic);
    if fits { Ok(()) } else { Err(KeyError::Damaged("the application of a security key is no plain text")) }
}

fn check_rsa(exponent: &[u8], modulus: &[u8]) -> Result<(), KeyError> {
    let (exponent, modulus) = (positive(exponent)?, positive(modulus)?);
    let odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    if !odd(exponent) || exponent == [1] || exponent.len() > 8 {
        return Err(KeyError::Damaged("the exponent must be odd, at least 3, and at most 64 bits long"));
    }
    let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
    if !(2048..=16_384).contains(&bits) {
        return Err(KeyError::RsaSize(bits));
    }
    if odd(modulus) { Ok(()) } else { Err(KeyError::Damaged("the modulus is even")) }
}

/// The bytes of a positive `mpint` in its only right form (RFC 4251 section 5), without the zero in front.
fn positive(mpint: &[u8]) -> Result<&[u8], KeyError> {
    match mpint {
        [0, rest @ ..] if rest.first().is_some_and(|next| *next >= 0x80) => Ok(rest),
        [1..=0x7f, ..] => Ok(mpint),
        _ => Err(KeyError::Damaged("a number is not positive or not in its shortest form")),
    }
}

/// The `string` fields of a key blob (RFC 4251 section 5).
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn next(&mut self) -> Result<&'a [u8], KeyError> {
        let cut = KeyError::Damaged("it ends too early");
        let (length, rest) = self.0.split_first_chunk::<4>().ok_or(cut.clone())?;
        let length = usize::try_from(u32::from_be_bytes(*length)).map_err(|_| cut.clone())?;
        let (field, rest) = rest.split_at_checked(length).ok_or(cut)?;
        self.0 = rest;
        Ok(field)
    }
}

const KINDS: [(&str, Kind); 7] = [
    ("ssh-ed25519", Kind::Ed25519),
    ("ecdsa-sha2-nistp256", Kind::Ecdsa(Curve::P256)),
    ("ecdsa-sha2-nistp384", Kind::Ecdsa(Curve::P384)),
    ("ecdsa-sha2-nistp521", Kind::Ecdsa(Curve::P521)),
    ("sk-ssh-ed25519@openssh.com", Kind::SkEd25519),
    ("sk-ecdsa-sha2-nistp256@openssh.com", Kind::SkEcdsa),
    ("ssh-rsa", Kind::Rsa),
];

/// An RSA key of 16384 bits has about 2800 characters.
const MAX_LINE: usize = 8192;

#[cfg(test)]
mod tests;
