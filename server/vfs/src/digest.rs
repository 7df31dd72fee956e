//! Digests of stored bytes, by which clients verify what they sent or got: one pass over an open file for all that are wanted.
//!
//! The bytes are read through what is open already, so that a digest is of the very file that a door also sends. The summing is
//! done on threads that may be busy, in pieces, and as many pieces at once as there are cores: a hundred digests of large files
//! take turns, and keep no connection waiting. CRC-32, MD5 and SHA-1 tell whether a copy is whole, which is what clients use them
//! for; nothing in the house relies on them.
//!
//! Never: remembers a digest (a file may be changed by other hands), or says that two files are one.

use crate::{FileReader, Upload, VfsError};
use aws_lc_rs::digest::{Algorithm, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA224, SHA256, SHA384, SHA512};
use flate2::Crc;
use md5::{Digest as _, Md5};
use std::{
    fmt,
    ops::{ControlFlow, Range},
    sync::{Arc, LazyLock},
    thread::available_parallelism,
};
use tokio::sync::Semaphore;

/// Bytes of one turn: some milliseconds of the slowest digest, and much more than a hop to another thread costs.
const PIECE: usize = 1024 * 1024;
/// So little is summed in less time than the hop takes.
const AT_ONCE: usize = 32 * 1024;

/// Pieces that are summed at the same moment.
static TURNS: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(available_parallelism().map_or(1, usize::from))));

/// The digests that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Digest {
    /// CRC-32 as in zip and Ethernet (ISO 3309).
    Crc32,
    /// MD5.
    Md5,
    /// SHA-1.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Digest {
    /// Bytes of the digest.
    #[must_use]
    pub const fn length(self) -> usize {
        match self {
            Self::Crc32 => 4,
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha224 => 28,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
}

/// A digest of the bytes so far.
pub struct Sum(State);

enum State {
    Crc(Crc),
    Md5(Box<Md5>),
    Sha(Box<Context>),
}

impl Sum {
    /// Of no bytes yet.
    #[must_use]
    pub fn new(digest: Digest) -> Self {
        let sha = |algorithm: &'static Algorithm| State::Sha(Box::new(Context::new(algorithm)));
        Self(match digest {
            Digest::Crc32 => State::Crc(Crc::new()),
            Digest::Md5 => State::Md5(Box::new(Md5::new())),
            Digest::Sha1 => sha(&SHA1_FOR_LEGACY_USE_ONLY),
            Digest::Sha224 => sha(&SHA224),
            Digest::Sha256 => sha(&SHA256),
            Digest::Sha384 => sha(&SHA384),
            Digest::Sha512 => sha(&SHA512),
        })
    }

    /// Adds bytes, in the caller's thread.
    pub fn add(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Crc(crc) => crc.update(bytes),
            State::Md5(context) => context.update(bytes),
            State::Sha(context) => context.update(bytes),
        }
    }

    /// The digest; a CRC with its highest byte first.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        match self.0 {
            State::Crc(crc) => crc.sum().to_be_bytes().to_vec(),
            State::Md5(context) => context.finalize().to_vec(),
            State::Sha(context) => context.finish().as_ref().to_vec(),
        }
    }
}

impl fmt::Debug for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sum")
    }
}

/// What is open and can be read at any place.
#[derive(Clone, Copy)]
pub enum Readable<'a> {
    /// A file open for reading.
    File(&'a FileReader),
    /// A file being written.
    Upload(&'a Upload),
}

impl Readable<'_> {
    async fn read_at(self, offset: u64, buffer: &mut [u8]) -> Result<usize, VfsError> {
        match self {
            Self::File(file) => file.read_at(offset, buffer).await,
            Self::Upload(upload) => upload.read_at(offset, buffer).await,
        }
    }
}

/// Adds the bytes in `part`, as far as there are any, to all of `sums`; these, and where the bytes ended. `each` is told of every
/// piece how long it was, and may end it all.
///
/// Cancel safe; at most one piece is summed to its end after that. Takes 1 MiB of memory meanwhile, or less for a short part.
///
/// # Errors
/// [`VfsError::Backend`]; [`VfsError::Interrupted`] where `each` said so.
pub async fn summed(
    source: Readable<'_>,
    part: Range<u64>,
    mut sums: Vec<Sum>,
    mut each: impl FnMut(u64) -> ControlFlow<()>,
) -> Result<(Vec<Sum>, u64), VfsError> {
    let mut at = part.start;
    let mut buffer = Vec::new();
    while at < part.end {
        let wanted = usize::try_from(part.end - at).unwrap_or(PIECE).min(PIECE);
        buffer.resize(wanted, 0);
        let length = source.read_at(at, &mut buffer).await?;
        if length == 0 {
            break;
        }
        buffer.truncate(length);
        (sums, buffer) = add(sums, buffer).await?;
        at += length as u64;
        if each(length as u64).is_break() {
            return Err(VfsError::Interrupted);
        }
    }
    Ok((sums, at))
}

/// One turn.
async fn add(mut sums: Vec<Sum>, bytes: Vec<u8>) -> Result<(Vec<Sum>, Vec<u8>), VfsError> {
    let is_short = bytes.len() <= AT_ONCE;
    let work = move || {
        for sum in &mut sums {
            sum.add(&bytes);
        }
        (sums, bytes)
    };
    if is_short {
        return Ok(work());
    }
    let turn = Arc::clone(&TURNS).acquire_owned().await.map_err(|_| VfsError::Interrupted)?;
    let done = tokio::task::spawn_blocking(move || {
        // Held by the work itself, which goes on where nobody waits for it any more.
        let _turn = turn;
        work()
    });
    done.await.map_err(|_| VfsError::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};

    const ALL: [Digest; 7] =
        [Digest::Crc32, Digest::Md5, Digest::Sha1, Digest::Sha224, Digest::Sha256, Digest::Sha384, Digest::Sha512];

    fn hex(sum: Sum) -> String {
        sum.finish().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn digests_of_a_known_text_are_the_known_ones() {
        let known = [
            (Digest::Crc32, "cbf43926"),
            (Digest::Md5, "25f9e794323b453885f5181f1b624d0b"),
            (Digest::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Digest::Sha224, "9b3e61bf29f17c75572fae2e86e17809a4513d07c8a18152acf34521"),
            (Digest::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ];
        for (digest, wanted) in known {
            let mut sum = Sum::new(digest);
            sum.add(b"1234");
            sum.add(b"56789");
            assert_eq!(hex(sum), wanted, "{digest:?}");
        }
    }

    proptest! {
        #[test]
        fn in_how_many_pieces_bytes_come_does_not_matter(pieces in vec(vec(any::<u8>(), 0..200), 0..8)) {
            for digest in ALL {
                let (mut parts, mut whole) = (Sum::new(digest), Sum::new(digest));
                pieces.iter().for_each(|piece| parts.add(piece));
                whole.add(&pieces.concat());
                prop_assert_eq!(parts.finish(), whole.finish());
            }
        }
    }
}
