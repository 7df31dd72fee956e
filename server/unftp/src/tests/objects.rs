//! A back-end as those of object stores are: flat keys, whole objects, and little care.

use async_trait::async_trait;
use std::{
    collections::BTreeMap,
    fmt::Debug,
    io::Cursor,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use unftp_core::{
    auth::UserDetail,
    storage::{Error, ErrorKind, Fileinfo, Metadata, Result, StorageBackend},
};

#[derive(Clone, Debug, Default)]
pub(super) struct Objects(Arc<Bucket>);

/// Bytes, and when they were put.
type Object = (Arc<Vec<u8>>, u64);

#[derive(Debug, Default)]
struct Bucket {
    /// A key that ends in a slash is the marker of a folder.
    objects: Mutex<BTreeMap<String, Object>>,
    ticks: AtomicUsize,
    gets: AtomicUsize,
    /// A put takes half of the bytes, keeps them, and fails.
    breaks: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Facts {
    length: u64,
    folder: bool,
    tick: u64,
}

impl Metadata for Facts {
    fn len(&self) -> u64 {
        self.length
    }

    fn is_dir(&self) -> bool {
        self.folder
    }

    fn is_file(&self) -> bool {
        !self.folder
    }

    fn is_symlink(&self) -> bool {
        false
    }

    fn modified(&self) -> Result<SystemTime> {
        Ok(UNIX_EPOCH + Duration::from_secs(self.tick))
    }

    fn gid(&self) -> u32 {
        0
    }

    fn uid(&self) -> u32 {
        0
    }
}

fn key(path: impl AsRef<Path>) -> String {
    path.as_ref().to_str().unwrap().trim_start_matches('/').to_owned()
}

fn missing() -> Error {
    ErrorKind::PermanentFileNotAvailable.into()
}

impl Objects {
    fn all(&self) -> MutexGuard<'_, BTreeMap<String, Object>> {
        self.0.objects.lock().unwrap()
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.all().keys().cloned().collect()
    }

    /// Puts an object past the adapter, as another program would.
    pub(super) fn put_now(&self, key: &str, bytes: &[u8]) {
        let tick = self.0.ticks.fetch_add(1, Ordering::Relaxed) as u64;
        self.all().insert(key.to_owned(), (Arc::new(bytes.to_vec()), tick));
    }

    pub(super) fn break_puts(&self, breaks: bool) {
        self.0.breaks.store(breaks, Ordering::Relaxed);
    }

    /// How often a stream was opened.
    pub(super) fn gets(&self) -> usize {
        self.0.gets.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl<U: UserDetail> StorageBackend<U> for Objects {
    type Metadata = Facts;

    async fn metadata<P: AsRef<Path> + Send + Debug>(&self, _: &U, path: P) -> Result<Facts> {
        let key = key(path);
        let all = self.all();
        let (bytes, tick) = all.get(&key).ok_or_else(missing)?;
        Ok(Facts { length: bytes.len() as u64, folder: key.ends_with('/'), tick: *tick })
    }

    async fn list<P: AsRef<Path> + Send + Debug>(&self, _: &U, path: P) -> Result<Vec<Fileinfo<PathBuf, Facts>>> {
        let prefix = key(path);
        let mut rows = BTreeMap::new();
        for (key, (bytes, tick)) in self.all().iter().filter(|(key, _)| key.starts_with(&prefix)) {
            let rest = &key[prefix.len()..];
            let (name, folder) = match rest.find('/') {
                Some(at) => (&key[..=prefix.len() + at], true),
                None => (key.as_str(), key.ends_with('/')),
            };
            let length = if folder { 0 } else { bytes.len() as u64 };
            rows.insert(name.to_owned(), Facts { length, folder, tick: *tick });
        }
        Ok(rows.into_iter().map(|(name, metadata)| Fileinfo { path: name.into(), metadata }).collect())
    }

    async fn get<P: AsRef<Path> + Send + Debug>(
        &self,
        _: &U,
        path: P,
        start_pos: u64,
    ) -> Result<Box<dyn AsyncRead + Send + Sync + Unpin>> {
        self.0.gets.fetch_add(1, Ordering::Relaxed);
        let (bytes, _) = self.all().get(&key(path)).cloned().ok_or_else(missing)?;
        // As HTTP has it: a range that begins at the end is an error.
        let rest = bytes.get(usize::try_from(start_pos).unwrap()..).filter(|rest| !rest.is_empty());
        Ok(Box::new(Cursor::new(rest.ok_or(ErrorKind::LocalError)?.to_vec())))
    }

    async fn put<P: AsRef<Path> + Send + Debug, R: AsyncRead + Send + Sync + Unpin + 'static>(
        &self,
        _: &U,
        mut input: R,
        path: P,
        _: u64,
    ) -> Result<u64> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes).await?;
        if self.0.breaks.load(Ordering::Relaxed) {
            self.put_now(&key(path), &bytes[..bytes.len() / 2]);
            return Err(ErrorKind::LocalError.into());
        }
        self.put_now(&key(path), &bytes);
        Ok(bytes.len() as u64)
    }

    async fn del<P: AsRef<Path> + Send + Debug>(&self, _: &U, path: P) -> Result<()> {
        // What is not there is removed already.
        self.all().remove(&key(path));
        Ok(())
    }

    async fn mkd<P: AsRef<Path> + Send + Debug>(&self, _: &U, path: P) -> Result<()> {
        self.put_now(&format!("{}/", key(path)), b"");
        Ok(())
    }

    async fn rename<P: AsRef<Path> + Send + Debug>(&self, _: &U, _: P, _: P) -> Result<()> {
        Err(ErrorKind::CommandNotImplemented.into())
    }

    async fn rmd<P: AsRef<Path> + Send + Debug>(&self, _: &U, path: P) -> Result<()> {
        let prefix = key(path);
        self.all().retain(|key, _| !key.starts_with(&prefix));
        Ok(())
    }

    async fn cwd<P: AsRef<Path> + Send + Debug>(&self, _: &U, path: P) -> Result<()> {
        let prefix = format!("{}/", key(path).trim_end_matches('/'));
        if self.all().keys().any(|key| key.starts_with(&prefix)) {
            return Ok(());
        }
        Err(ErrorKind::PermanentDirectoryNotAvailable.into())
    }
}
