//! The tree as libunftp's storage: names to paths, streams to uploads, errors to reply codes.
//!
//! Bytes go in pieces of 512 KiB (the library's own file back-end copies in 4 KiB pieces and is several times slower).

use crate::login::FtpUser;
use lockgate_model::VPath;
use lockgate_vfs::{FileReader, Intent, Kind, OnAbort, Overwrite, VfsError};
use std::{
    fmt::Debug,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::SystemTime,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use unftp_core::storage::{Error, ErrorKind, FEATURE_RESTART, Fileinfo, Metadata, Permissions, Result, StorageBackend};

/// Bytes moved at once: measured best between 256 KiB and 1 MiB.
const PIECE: usize = 512 * 1024;
/// Rows read from a folder at once.
const ROWS: usize = 1_024;

/// The user's tree. It holds nothing: each call brings the session.
#[derive(Debug)]
pub(crate) struct Tree;

/// Facts in the library's shape.
#[derive(Debug)]
pub(crate) struct Facts(lockgate_vfs::Metadata);

impl Metadata for Facts {
    fn len(&self) -> u64 {
        self.0.size
    }

    fn is_dir(&self) -> bool {
        self.0.kind == Kind::Folder
    }

    fn is_file(&self) -> bool {
        self.0.kind == Kind::File
    }

    fn is_symlink(&self) -> bool {
        self.0.kind == Kind::Link
    }

    fn modified(&self) -> Result<SystemTime> {
        Ok(self.0.modified)
    }

    fn gid(&self) -> u32 {
        self.0.gid
    }

    fn uid(&self) -> u32 {
        self.0.uid
    }

    fn links(&self) -> u64 {
        self.0.links
    }

    fn permissions(&self) -> Permissions {
        Permissions(self.0.mode)
    }
}

#[async_trait::async_trait]
impl StorageBackend<FtpUser> for Tree {
    type Metadata = Facts;

    fn supported_features(&self) -> u32 {
        FEATURE_RESTART
    }

    async fn metadata<P: AsRef<Path> + Send + Debug>(&self, user: &FtpUser, path: P) -> Result<Facts> {
        user.0.vfs().stat(&parse(path.as_ref())?).await.map(Facts).map_err(reply)
    }

    async fn list<P: AsRef<Path> + Send + Debug>(&self, user: &FtpUser, path: P) -> Result<Vec<Fileinfo<PathBuf, Facts>>> {
        let place = parse(path.as_ref())?;
        let vfs = user.0.vfs();
        let facts = vfs.stat(&place).await.map_err(reply)?;
        if facts.kind != Kind::Folder {
            return Ok(vec![Fileinfo { path: path.as_ref().to_owned(), metadata: Facts(facts) }]);
        }
        let mut listing = vfs.list(&place).await.map_err(reply)?;
        let mut rows = Vec::new();
        loop {
            let batch = listing.next_batch(ROWS).await.map_err(reply)?;
            if batch.is_empty() {
                return Ok(rows);
            }
            rows.extend(batch.into_iter().map(|entry| Fileinfo {
                path: path.as_ref().join(std::ffi::OsStr::from_bytes(&entry.name)),
                metadata: Facts(entry.metadata),
            }));
        }
    }

    async fn get_into<'a, P, W>(&self, user: &FtpUser, path: P, start: u64, output: &'a mut W) -> Result<u64>
    where
        W: AsyncWrite + Unpin + Sync + Send + ?Sized,
        P: AsRef<Path> + Send + Debug,
    {
        let file = user.0.vfs().open(&parse(path.as_ref())?).await.map_err(reply)?;
        let mut buffer = vec![0_u8; PIECE];
        let mut sent = 0;
        loop {
            let piece = next_piece(user, &file, start + sent, &mut buffer).await?;
            if piece.is_empty() {
                output.flush().await?;
                return Ok(sent);
            }
            output.write_all(piece).await?;
            sent += piece.len() as u64;
        }
    }

    /// Not on the way of `RETR`, which writes straight into the data connection above.
    async fn get<P: AsRef<Path> + Send + Debug>(
        &self,
        user: &FtpUser,
        path: P,
        start: u64,
    ) -> Result<Box<dyn AsyncRead + Send + Sync + Unpin>> {
        let file = user.0.vfs().open(&parse(path.as_ref())?).await.map_err(reply)?;
        let (read, mut write) = tokio::io::duplex(PIECE);
        let user = FtpUser(user.0.clone());
        tokio::spawn(async move {
            let mut buffer = vec![0_u8; PIECE];
            let mut at = start;
            while let Ok(piece) = next_piece(&user, &file, at, &mut buffer).await {
                at += piece.len() as u64;
                if piece.is_empty() || write.write_all(piece).await.is_err() {
                    break;
                }
            }
        });
        Ok(Box::new(read))
    }

    async fn put<P, R>(&self, user: &FtpUser, mut input: R, path: P, start: u64) -> Result<u64>
    where
        P: AsRef<Path> + Send + Debug,
        R: AsyncRead + Send + Sync + Unpin + 'static,
    {
        let path = parse(path.as_ref())?;
        let intent = if start == 0 { Intent::Create } else { Intent::Patch { offset: Some(start), append: false } };
        let mut upload = user.0.vfs().create(&path, intent, OnAbort::Keep).await.map_err(reply)?;
        let mut buffer = vec![0_u8; PIECE];
        let mut received = 0;
        loop {
            // An end without its proof (a TLS connection cut short) is an error here, and drops the upload.
            let piece = fill(&mut input, &mut buffer).await?;
            if user.0.is_over().is_some() {
                return Err(ErrorKind::ConnectionClosed.into());
            }
            if piece.is_empty() {
                break;
            }
            upload.write_at(start + received, piece).await.map_err(reply)?;
            received += piece.len() as u64;
        }
        upload.commit().await.map_err(reply)?;
        Ok(received)
    }

    async fn del<P: AsRef<Path> + Send + Debug>(&self, user: &FtpUser, path: P) -> Result<()> {
        user.0.vfs().remove_file(&parse(path.as_ref())?).await.map_err(reply)
    }

    async fn mkd<P: AsRef<Path> + Send + Debug>(&self, user: &FtpUser, path: P) -> Result<()> {
        user.0.vfs().make_folder(&parse(path.as_ref())?).await.map_err(reply)
    }

    async fn rename<P: AsRef<Path> + Send + Debug>(&self, user: &FtpUser, from: P, to: P) -> Result<()> {
        let (from, to) = (parse(from.as_ref())?, parse(to.as_ref())?);
        user.0.vfs().rename(&from, &to, Overwrite::Replace).await.map_err(reply)
    }

    async fn rmd<P: AsRef<Path> + Send + Debug>(&self, user: &FtpUser, path: P) -> Result<()> {
        user.0.vfs().remove_folder(&parse(path.as_ref())?).await.map_err(reply)
    }

    async fn cwd<P: AsRef<Path> + Send + Debug>(&self, user: &FtpUser, path: P) -> Result<()> {
        let path = parse(path.as_ref())?;
        match user.0.vfs().stat(&path).await.map_err(reply)?.kind {
            Kind::Folder => Ok(()),
            Kind::File | Kind::Link => Err(reply(VfsError::NotFolder(path))),
        }
    }
}

/// Reads on; a session that was ended meanwhile gets nothing more.
async fn next_piece<'b>(user: &FtpUser, file: &FileReader, at: u64, buffer: &'b mut [u8]) -> Result<&'b [u8]> {
    if user.0.is_over().is_some() {
        return Err(ErrorKind::ConnectionClosed.into());
    }
    let length = file.read_at(at, buffer).await.map_err(reply)?;
    Ok(buffer.get(..length).unwrap_or_default())
}

/// Fills the buffer as far as the stream goes: fewer and larger writes.
async fn fill<'b>(input: &mut (impl AsyncRead + Unpin), buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
    let mut length = 0;
    while let Some(room) = buffer.get_mut(length..).filter(|room| !room.is_empty()) {
        match input.read(room).await? {
            0 => break,
            more => length += more,
        }
    }
    Ok(buffer.get(..length).unwrap_or_default())
}

fn parse(path: &Path) -> Result<VPath> {
    VPath::parse(path.as_os_str().as_bytes()).map_err(|error| Error::new(ErrorKind::FileNameNotAllowedError, error.to_string()))
}

/// The one table from what the tree says to what FTP says (files.md, "What each failure says").
fn reply(error: VfsError) -> Error {
    let kind = match &error {
        VfsError::Locked(_) => ErrorKind::TransientFileNotAvailable,
        VfsError::OverQuota { .. } => ErrorKind::ExceededStorageAllocationError,
        VfsError::NoSpace => ErrorKind::InsufficientStorageSpaceError,
        VfsError::Interrupted => ErrorKind::ConnectionClosed,
        VfsError::Backend { .. } => ErrorKind::LocalError,
        VfsError::BadName => ErrorKind::FileNameNotAllowedError,
        VfsError::Forbidden { .. } | VfsError::ReadOnly(_) => ErrorKind::PermissionDenied,
        VfsError::NotEmpty(_) => ErrorKind::PermanentDirectoryNotEmpty,
        VfsError::NotFolder(_) => ErrorKind::PermanentDirectoryNotAvailable,
        VfsError::Unsupported(_) => ErrorKind::CommandNotImplemented,
        _ => ErrorKind::PermanentFileNotAvailable,
    };
    if let VfsError::Backend { source, .. } = &error {
        tracing::error!(%source, "the store failed");
    }
    Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_model::ByteSize;

    #[test]
    fn each_failure_has_the_reply_of_the_table() {
        let path = VPath::root;
        let cases = [
            (VfsError::NotFound(path()), "550"),
            (VfsError::Exists(path()), "550"),
            (VfsError::Locked(path()), "450"),
            (VfsError::OverQuota { used: ByteSize(1), limit: ByteSize(1) }, "552"),
            (VfsError::NoSpace, "452"),
            (VfsError::Interrupted, "426"),
            (VfsError::Backend { action: lockgate_vfs::Action::Read, source: io::ErrorKind::Other.into() }, "451"),
            (VfsError::ReadOnly(path()), "550"),
        ];
        for (error, code) in cases {
            let text = error.to_string();
            assert!(reply(error).kind().to_string().starts_with(code), "{text}");
        }
    }

    #[tokio::test]
    async fn a_piece_is_filled_across_small_reads() {
        let mut input = tokio_test_reader();
        let mut buffer = [0_u8; 8];
        assert_eq!(fill(&mut input, &mut buffer).await.unwrap(), b"abcdefgh");
        assert_eq!(fill(&mut input, &mut buffer).await.unwrap(), b"i");
        assert_eq!(fill(&mut input, &mut buffer).await.unwrap(), b"");
    }

    fn tokio_test_reader() -> impl AsyncRead + Unpin {
        (&b"abc"[..]).chain((&b"def"[..]).chain(&b"ghi"[..]))
    }
}
