//! The address of an upload: all that is known of it, in one text.
//!
//! It holds the announced length, the metadata with the path, and a random part. Nothing is remembered of it elsewhere but the bytes
//! that came, which the tree keeps under the owner and the *whole* text. So a restart takes nothing, no table grows, and a text that
//! was changed in one character, or is shown by another user, is the address of an upload that nobody began. It is no secret and
//! gives no right: who may write to the path is asked anew at each request.

use crate::names;
use aws_lc_rs::rand;
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use lockgate_model::VPath;

/// Bytes of `Upload-Metadata` at most: with it the address stays below what proxies take for one (8 KiB).
pub(super) const MOST_METADATA: usize = 4096;
/// Bytes of a file at most: what an offset on disk can say.
pub(super) const MOST_BYTES: u64 = i64::MAX as u64;

const VERSION: u8 = 1;
const LENGTH: usize = 8;
const RANDOM: usize = 16;
const HEAD: usize = 1 + LENGTH + RANDOM;
/// Characters of an address at most.
const MOST_TEXT: usize = (HEAD + MOST_METADATA).div_ceil(3) * 4;

/// An upload's address, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    /// How it stands in the URL, and the ticket under which the tree keeps the bytes.
    pub(super) text: String,
    /// Bytes of the whole file.
    pub(super) length: u64,
    /// `Upload-Metadata` as it came.
    pub(super) metadata: String,
    /// The name in the tree.
    pub(super) path: VPath,
}

/// Why there is no address for an upload.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoToken {
    /// The metadata is not what tus says it is.
    Metadata,
    /// It has more than [`MOST_METADATA`].
    TooLong,
    /// It has no `path`, or that is none.
    Path,
    /// `path` is a folder's.
    Folder,
    /// The system has no randomness.
    Randomness,
}

impl Token {
    /// A fresh address.
    ///
    /// # Errors
    /// [`NoToken`].
    pub(super) fn new(length: u64, metadata: &str) -> Result<Self, NoToken> {
        let path = path(metadata)?;
        let mut random = [0; RANDOM];
        rand::fill(&mut random).map_err(|_| NoToken::Randomness)?;
        let bytes = [&[VERSION], &length.to_be_bytes()[..], &random, metadata.as_bytes()].concat();
        Ok(Self { text: URL_SAFE_NO_PAD.encode(bytes), length, metadata: metadata.to_owned(), path })
    }

    /// Reads an address; `None` for what is none of ours.
    pub(super) fn read(text: &str) -> Option<Self> {
        if text.len() > MOST_TEXT {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let rest = bytes.strip_prefix(&[VERSION])?;
        let (length, rest) = rest.split_first_chunk::<LENGTH>()?;
        let (_, metadata) = rest.split_first_chunk::<RANDOM>()?;
        let length = Some(u64::from_be_bytes(*length)).filter(|length| *length <= MOST_BYTES)?;
        let metadata = std::str::from_utf8(metadata).ok()?;
        let path = path(metadata).ok()?;
        Some(Self { text: text.to_owned(), length, metadata: metadata.to_owned(), path })
    }

    /// The ticket of the note on how much of it has been checked against checksums.
    pub(super) fn note(&self) -> String {
        // No address has this character in it.
        format!("{}#checked", self.text)
    }
}

/// The path in `Upload-Metadata`: pairs of a key and a value in base64, by commas; a key without a value has none, and no key comes
/// twice. Keys that mean nothing here are kept and told, never obeyed.
fn path(metadata: &str) -> Result<VPath, NoToken> {
    if metadata.len() > MOST_METADATA {
        return Err(NoToken::TooLong);
    }
    let (mut keys, mut found) = (Vec::new(), None);
    for pair in metadata.split(',') {
        let pair = pair.trim_matches(' ');
        let (key, value) = pair.split_once(' ').unwrap_or((pair, ""));
        if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_graphic()) || keys.contains(&key) {
            return Err(NoToken::Metadata);
        }
        keys.push(key);
        let value = STANDARD.decode(value.trim_matches(' ')).map_err(|_| NoToken::Metadata)?;
        if key == "path" {
            found = Some(String::from_utf8(value).map_err(|_| NoToken::Path)?);
        }
    }
    let text = found.filter(|text| !text.is_empty()).ok_or(NoToken::Path)?;
    if text.ends_with('/') {
        return Err(NoToken::Folder);
    }
    names::from_text(&text).map_err(|_| NoToken::Path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn meta(path: &str) -> String {
        format!("path {}", STANDARD.encode(path))
    }

    #[test]
    fn an_address_says_all_of_the_upload_and_no_two_are_alike() {
        let token = Token::new(7, &format!("{},name eA==,flag", meta("in/a.bin"))).unwrap();
        assert_eq!(Token::read(&token.text).unwrap(), token);
        assert_eq!((token.length, token.path.as_bytes()), (7, &b"/in/a.bin"[..]));
        assert_ne!(Token::new(7, &token.metadata).unwrap().text, token.text);
        assert!(token.text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')));
    }

    #[test]
    fn the_target_is_path_and_nothing_else() {
        for (metadata, why) in [
            (String::new(), NoToken::Metadata),
            ("filename YQ==".to_owned(), NoToken::Path),
            ("path".to_owned(), NoToken::Path),
            ("path !".to_owned(), NoToken::Metadata),
            ("path /w==".to_owned(), NoToken::Path),
            (format!("{},path YQ==", meta("b")), NoToken::Metadata),
            (format!("{},", meta("b")), NoToken::Metadata),
            (meta("../b"), NoToken::Path),
            (meta("a/"), NoToken::Folder),
            (meta(&"a/".repeat(3000)), NoToken::TooLong),
        ] {
            assert_eq!(Token::new(1, &metadata), Err(why), "{metadata}");
        }
    }

    #[test]
    fn a_length_that_no_file_can_have_is_in_no_address() {
        let bytes = [&[VERSION][..], &u64::MAX.to_be_bytes(), &[0; RANDOM], meta("a").as_bytes()].concat();
        assert_eq!(Token::read(&URL_SAFE_NO_PAD.encode(bytes)), None);
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_harm(text in "\\PC{0,80}", bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Token::read(&text);
            let _ = Token::new(1, &text);
            let _ = Token::read(&URL_SAFE_NO_PAD.encode(bytes));
        }
    }
}
