//! libunftp over the same tree: the door as it was, kept as a peer to compare with.

use lockgate_model::VPath;
use lockgate_vfs::{Intent, Kind, OnAbort, Overwrite, Vfs, VfsError};
use std::{
    fmt,
    fmt::Debug,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use unftp_core::{
    auth::{
        AuthenticationError, Authenticator, Credentials, Principal, UserDetail, UserDetailError, UserDetailProvider,
    },
    storage::{Error, ErrorKind, FEATURE_RESTART, Fileinfo, Metadata, Permissions, Result, StorageBackend},
};

/// Serves one connection.
pub(crate) async fn serve(stream: TcpStream, vfs: Vfs) {
    let server = libunftp::ServerBuilder::with_user_detail_provider(Box::new(|| Tree), Arc::new(Provider(vfs)))
        .authenticator(Arc::new(Password))
        .active_passive_mode(libunftp::options::ActivePassiveMode::ActiveAndPassive)
        .build()
        .unwrap();
    let _ = server.service(stream).await;
}

#[derive(Debug)]
struct Password;

#[async_trait::async_trait]
impl Authenticator for Password {
    async fn authenticate(
        &self,
        name: &str,
        credentials: &Credentials,
    ) -> std::result::Result<Principal, AuthenticationError> {
        match (name, credentials.password.as_deref()) {
            ("alice", Some("right")) => Ok(Principal { username: name.to_owned() }),
            _ => Err(AuthenticationError::BadPassword),
        }
    }
}

struct Provider(Vfs);

impl Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Provider")
    }
}

#[async_trait::async_trait]
impl UserDetailProvider for Provider {
    type User = FtpUser;

    async fn provide_user_detail(&self, _principal: &Principal) -> std::result::Result<FtpUser, UserDetailError> {
        Ok(FtpUser(self.0.clone()))
    }
}

struct FtpUser(Vfs);

impl UserDetail for FtpUser {}

impl fmt::Display for FtpUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("alice")
    }
}

impl Debug for FtpUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FtpUser")
    }
}

/// Rows read from a folder at once.
const ROWS: usize = 1_024;

/// The user's tree. It holds nothing: each call brings the session.
#[derive(Debug)]
struct Tree;

/// Facts in the library's shape.
#[derive(Debug)]
struct Facts(lockgate_vfs::Metadata);

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
        user.0.stat(&parse(path.as_ref())?).await.map(Facts).map_err(reply)
    }

    async fn list<P: AsRef<Path> + Send + Debug>(
        &self,
        user: &FtpUser,
        path: P,
    ) -> Result<Vec<Fileinfo<PathBuf, Facts>>> {
        let place = parse(path.as_ref())?;
        let vfs = &user.0;
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
        let file = user.0.open(&parse(path.as_ref())?).await.map_err(reply)?;
        let mut bytes = vec![0; usize::try_from(file.metadata().size.saturating_sub(start)).unwrap()];
        let length = file.read_at(start, &mut bytes).await.map_err(reply)?;
        output.write_all(&bytes[..length]).await?;
        output.flush().await?;
        Ok(length as u64)
    }

    async fn get<P: AsRef<Path> + Send + Debug>(
        &self,
        user: &FtpUser,
        path: P,
        start: u64,
    ) -> Result<Box<dyn AsyncRead + Send + Sync + Unpin>> {
        let mut bytes = Vec::new();
        self.get_into(user, path, start, &mut bytes).await?;
        Ok(Box::new(io::Cursor::new(bytes)))
    }

    async fn put<P, R>(&self, user: &FtpUser, mut input: R, path: P, start: u64) -> Result<u64>
    where
        P: AsRef<Path> + Send + Debug,
        R: AsyncRead + Send + Sync + Unpin + 'static,
    {
        let path = parse(path.as_ref())?;
        let intent = if start == 0 { Intent::Create } else { Intent::Patch { offset: Some(start), append: false } };
        let mut upload = user.0.create(&path, intent, OnAbort::Keep).await.map_err(reply)?;
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes).await?;
        upload.write_at(start, &bytes).await.map_err(reply)?;
        upload.commit().await.map_err(reply)?;
        Ok(bytes.len() as u64)
    }

    async fn del<P: AsRef<Path> + Send + Debug>(&self, user: &FtpUser, path: P) -> Result<()> {
        user.0.remove_file(&parse(path.as_ref())?).await.map_err(reply)
    }

    async fn mkd<P: AsRef<Path> + Send + Debug>(&self, user: &FtpUser, path: P) -> Result<()> {
        user.0.make_folder(&parse(path.as_ref())?).await.map_err(reply)
    }

    async fn rename<P: AsRef<Path> + Send + Debug>(&self, user: &FtpUser, from: P, to: P) -> Result<()> {
        let (from, to) = (parse(from.as_ref())?, parse(to.as_ref())?);
        user.0.rename(&from, &to, Overwrite::Replace).await.map_err(reply)
    }

    async fn rmd<P: AsRef<Path> + Send + Debug>(&self, user: &FtpUser, path: P) -> Result<()> {
        user.0.remove_folder(&parse(path.as_ref())?).await.map_err(reply)
    }

    async fn cwd<P: AsRef<Path> + Send + Debug>(&self, user: &FtpUser, path: P) -> Result<()> {
        let path = parse(path.as_ref())?;
        match user.0.stat(&path).await.map_err(reply)?.kind {
            Kind::Folder => Ok(()),
            Kind::File | Kind::Link => Err(reply(VfsError::NotFolder(path))),
        }
    }
}

fn parse(path: &Path) -> Result<VPath> {
    VPath::parse(path.as_os_str().as_bytes())
        .map_err(|error| Error::new(ErrorKind::FileNameNotAllowedError, error.to_string()))
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
    Error::new(kind, error)
}
