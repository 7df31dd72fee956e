//! Digests of files: `HASH` and the older `XCRC`, `XMD5`, `XSHA…`.
//!
//! MD5, SHA-1 and CRC32 tell whether a copy is whole, which is what clients use them for; nothing here relies on them.

use crate::{
    command::Digest,
    job::Progress,
    reply::{Reply, refused},
};
use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512};
use lockgate_model::VPath;
use lockgate_vfs::Vfs;
use md5::{Digest as _, Md5};

/// Bytes of one read.
const PIECE: usize = 256 * 1024;

/// The digest of a part of a file (the whole without one), in hex, and where the part ends.
///
/// # Errors
/// The reply to give.
pub(crate) async fn digest(
    vfs: &Vfs,
    path: &VPath,
    digest: Digest,
    part: Option<(u64, u64)>,
    progress: &Progress,
) -> Result<(String, u64), Reply> {
    let file = vfs.open(path).await.map_err(|error| refused(&error))?;
    let (mut at, end) = part.unwrap_or((0, u64::MAX));
    let mut sum = Sum::new(digest);
    let mut buffer = vec![0; PIECE];
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
        let length =
            file.read_at(at, buffer.get_mut(..wanted).unwrap_or_default()).await.map_err(|error| refused(&error))?;
        if length == 0 {
            break;
        }
        sum.update(buffer.get(..length).unwrap_or_default());
        at += length as u64;
        progress.moved(length as u64);
        // Reading from the page cache waits for nothing: others have their turn here.
        tokio::task::yield_now().await;
    }
    Ok((sum.finish(), at))
}

enum Sum {
    Crc(u32),
    Md5(Box<Md5>),
    Sha(Box<Context>),
}

impl Sum {
    fn new(digest: Digest) -> Self {
        match digest {
            Digest::Crc32 => Self::Crc(!0),
            Digest::Md5 => Self::Md5(Box::new(Md5::new())),
            Digest::Sha1 => Self::Sha(Box::new(Context::new(&SHA1_FOR_LEGACY_USE_ONLY))),
            Digest::Sha256 => Self::Sha(Box::new(Context::new(&SHA256))),
            Digest::Sha512 => Self::Sha(Box::new(Context::new(&SHA512))),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Crc(crc) => *crc = crc32(*crc, bytes),
            Self::Md5(context) => context.update(bytes),
            Self::Sha(context) => context.update(bytes),
        }
    }

    fn finish(self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Crc(crc) => format!("{:08x}", !crc),
            Self::Md5(context) => hex(&context.finalize()),
            Self::Sha(context) => hex(context.finish().as_ref()),
        }
    }
}

/// CRC-32 as in zip and Ethernet, a byte at a time by table.
fn crc32(crc: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(crc, |crc, byte| {
        let place = usize::from(crc.to_le_bytes()[0] ^ byte);
        crc >> 8 ^ CRC_TABLE.get(place).copied().unwrap_or_default()
    })
}

#[expect(clippy::indexing_slicing, reason = "at compile time, where a place out of bounds does not compile")]
const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut place = 0;
    while place < 256 {
        let (mut crc, mut bit) = (place as u32, 0);
        while bit < 8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            bit += 1;
        }
        table[place] = crc;
        place += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_of_a_known_text_are_the_known_ones() {
        let known = [
            (Digest::Crc32, "cbf43926"),
            (Digest::Md5, "25f9e794323b453885f5181f1b624d0b"),
            (Digest::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (Digest::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ];
        for (digest, hex) in known {
            let mut sum = Sum::new(digest);
            sum.update(b"1234");
            sum.update(b"56789");
            assert_eq!(sum.finish(), hex, "{digest:?}");
        }
    }
}
