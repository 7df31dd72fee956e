//! Digests of files: `HASH` and the older `XCRC`, `XMD5`, `XSHA…`.
//!
//! The tree sums; here are the part that is meant and the form that FTP has for the result.

use crate::{
    command::Digest,
    job::Progress,
    reply::{Reply, refused},
};
use lockgate_model::VPath;
use lockgate_vfs::{Readable, Sum, Vfs, summed};
use std::ops::ControlFlow;

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
    let (from, to) = part.unwrap_or((0, u64::MAX));
    let moved = |bytes| {
        progress.moved(bytes);
        ControlFlow::Continue(())
    };
    let (sums, end) = summed(Readable::File(&file), from..to, vec![Sum::new(digest.into())], moved)
        .await
        .map_err(|error| refused(&error))?;
    let bytes = sums.into_iter().flat_map(Sum::finish);
    Ok((bytes.map(|byte| format!("{byte:02x}")).collect(), end))
}

impl From<Digest> for lockgate_vfs::Digest {
    fn from(digest: Digest) -> Self {
        match digest {
            Digest::Crc32 => Self::Crc32,
            Digest::Md5 => Self::Md5,
            Digest::Sha1 => Self::Sha1,
            Digest::Sha256 => Self::Sha256,
            Digest::Sha512 => Self::Sha512,
        }
    }
}
