//! Files of the host, below a root that is held as a descriptor.

mod errno;
mod file;
mod names;
mod root;
mod rows;
mod staged;
mod stat;
mod walk;

use crate::{
    Action, Backend, Capabilities, Durability, Ended, Facts, FileId, LastLink, Metadata, OpenFile, Overwrite,
    PartialEntry, PartialKey, Removal, Rows, Space, StagedFile, Usage, VfsError,
};
use errno::broken;
pub(crate) use errno::no_room;
use lockgate_model::VPath;
use root::{Pace, Root};
use rustix::fs::{self, OFlags};
use std::{
    io,
    os::fd::OwnedFd,
    path::Path,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::sync::Semaphore;

/// Syncs in flight: several at once share a write of the file system's journal, hundreds only hold threads.
const MOST_SYNCS: usize = 16;

static SYNCS: Semaphore = Semaphore::const_new(MOST_SYNCS);

/// An open root that sessions share; each session adds its own durability.
pub(crate) struct LocalRoot(Arc<Root>);

impl LocalRoot {
    /// Opens `source`; with `make` it is made where it is missing, for the server's user alone. Blocking.
    pub(crate) fn open(source: &Path, make: bool) -> io::Result<Self> {
        if make {
            use std::os::unix::fs::DirBuilderExt as _;
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(source)?;
        }
        Ok(Self(Arc::new(Root::open(source)?)))
    }

    /// The store as a session uses it.
    pub(crate) fn backend(&self, durability: Durability) -> Local {
        Local { root: Arc::clone(&self.0), durability }
    }

    /// A hold that does not keep the root open.
    pub(crate) fn downgrade(&self) -> WeakRoot {
        WeakRoot(Arc::downgrade(&self.0))
    }

    /// Whether `source` still names this folder. Blocking.
    pub(crate) fn is_current(&self, source: &Path) -> bool {
        self.0.is_current(source)
    }

    #[cfg(test)]
    pub(crate) fn open_slow(source: &Path) -> io::Result<Self> {
        let mut root = Root::open(source)?;
        root.slow_down();
        Ok(Self(Arc::new(root)))
    }

    #[cfg(test)]
    pub(crate) fn open_without_openat2(source: &Path) -> io::Result<Self> {
        let mut root = Root::open(source)?;
        root.walk_by_component();
        Ok(Self(Arc::new(root)))
    }
}

/// A folder of the host as a store for whoever keeps there what another store cannot keep: unfinished uploads. It is made, for
/// the server's user alone, where it is missing. Blocking.
///
/// # Errors
/// Those of the host.
pub fn local_store(folder: &Path, durability: Durability) -> io::Result<Arc<dyn Backend>> {
    Ok(Arc::new(LocalRoot::open(folder, true)?.backend(durability)))
}

/// See [`LocalRoot::downgrade`].
pub(crate) struct WeakRoot(Weak<Root>);

impl WeakRoot {
    pub(crate) fn upgrade(&self) -> Option<LocalRoot> {
        self.0.upgrade().map(LocalRoot)
    }
}

/// A folder of the host as a store.
#[derive(Clone)]
pub(crate) struct Local {
    root: Arc<Root>,
    durability: Durability,
}

#[async_trait::async_trait]
impl Backend for Local {
    fn identity(&self) -> &[u8] {
        self.root.identity()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { links: true, properties: true, patch: true, rename: true }
    }

    fn is_gone(&self) -> bool {
        self.root.is_gone()
    }

    fn resolve(&self, path: &VPath, last: LastLink) -> Result<VPath, VfsError> {
        self.root.resolve(path, last)
    }

    async fn metadata(&self, path: &VPath) -> Result<Metadata, VfsError> {
        self.metadata_now(path)
    }

    async fn open(&self, path: &VPath) -> Result<Box<dyn OpenFile>, VfsError> {
        Ok(Box::new(self.open_now(path)?))
    }

    async fn list(&self, path: &VPath) -> Result<Box<dyn Rows>, VfsError> {
        Ok(Box::new(self.list_now(path)?))
    }

    async fn stage(&self, path: &VPath) -> Result<Box<dyn StagedFile>, VfsError> {
        Ok(Box::new(self.stage_now(path)?))
    }

    async fn patch(&self, path: &VPath, append: bool) -> Result<Box<dyn StagedFile>, VfsError> {
        Ok(Box::new(self.patch_now(path, append)?))
    }

    async fn partial(&self, path: &VPath, key: &PartialKey) -> Result<Option<Metadata>, VfsError> {
        self.partial_now(path, key)
    }

    async fn resume(&self, path: &VPath, key: &PartialKey) -> Result<Option<Box<dyn StagedFile>>, VfsError> {
        Ok(self.resume_now(path, key)?.map(|staged| Box::new(staged) as Box<dyn StagedFile>))
    }

    async fn go_on(&self, path: &VPath, key: &PartialKey) -> Result<Option<Box<dyn StagedFile>>, VfsError> {
        Ok(self.go_on_now(path, key)?.map(|staged| Box::new(staged) as Box<dyn StagedFile>))
    }

    async fn drop_partial(&self, path: &VPath, key: &PartialKey) -> Result<Option<PartialEntry>, VfsError> {
        self.drop_partial_now(path, key)
    }

    async fn make_folder(&self, path: &VPath) -> Result<(), VfsError> {
        let folder = self.make_folder_now(path)?;
        durable(self.durability, self.root.pace(), vec![Arc::new(folder)]).await
    }

    async fn remove_file(&self, path: &VPath) -> Result<u64, VfsError> {
        self.remove_file_now(path)
    }

    async fn remove_folder(&self, path: &VPath) -> Removal {
        let (local, path) = (self.clone(), path.clone());
        removal(move || local.remove_folder_now(&path)).await
    }

    async fn remove_tree(&self, path: &VPath, ended: &Ended) -> Removal {
        let (local, path, ended) = (self.clone(), path.clone(), ended.clone());
        removal(move || local.remove_tree_now(&path, ended)).await
    }

    async fn rename(&self, from: &VPath, to: &VPath, overwrite: Overwrite) -> Result<Option<u64>, VfsError> {
        let (replaced, folders) = self.rename_now(from, to, overwrite)?;
        durable(self.durability, self.root.pace(), folders).await?;
        Ok(replaced)
    }

    async fn set_facts(&self, path: &VPath, facts: Facts) -> Result<(), VfsError> {
        self.set_facts_now(path, facts)
    }

    async fn set_link_facts(&self, path: &VPath, facts: Facts) -> Result<(), VfsError> {
        self.set_link_facts_now(path, facts)
    }

    async fn read_link(&self, path: &VPath) -> Result<Vec<u8>, VfsError> {
        self.read_link_now(path)
    }

    async fn symlink(&self, target: &[u8], path: &VPath) -> Result<(), VfsError> {
        self.symlink_now(target, path)
    }

    async fn hard_link(&self, from: &VPath, to: &VPath) -> Result<u64, VfsError> {
        self.hard_link_now(from, to)
    }

    async fn space(&self, path: &VPath) -> Result<Space, VfsError> {
        self.space_now(path)
    }

    async fn properties(&self, path: &VPath) -> Result<Vec<u8>, VfsError> {
        self.properties_now(path)
    }

    async fn set_properties(&self, path: &VPath, value: &[u8]) -> Result<(), VfsError> {
        self.set_properties_now(path, value)
    }

    async fn usage(&self, owner: u64, skip: &[FileId]) -> Result<Usage, VfsError> {
        let (local, skip) = (self.clone(), skip.to_vec());
        blocking(move || local.usage_now(owner, &skip)).await
    }

    async fn partials(&self, owner: u64) -> Result<Vec<PartialEntry>, VfsError> {
        let local = self.clone();
        blocking(move || local.partials_now(owner)).await
    }

    async fn sync_folder_of(&self, path: &VPath) -> Result<(), VfsError> {
        let (folder, _) = self.root.folder_of(path, OFlags::RDONLY, Action::Write)?;
        durable(self.durability, self.root.pace(), vec![Arc::new(folder)]).await
    }

    async fn sweep(&self, keep: Duration) -> Vec<PartialEntry> {
        let local = self.clone();
        blocking(move || Ok(local.sweep_now(keep))).await.unwrap_or_default()
    }
}

/// Runs what may wait on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VfsError> + Send + 'static,
) -> Result<T, VfsError> {
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(VfsError::Interrupted))
}

async fn removal(work: impl FnOnce() -> Removal + Send + 'static) -> Removal {
    let lost = |_| Removal { bytes: 0, partials: Vec::new(), outcome: Err(VfsError::Interrupted) };
    tokio::task::spawn_blocking(work).await.unwrap_or_else(lost)
}

/// Waits until changed names are on the disk, where the durability asks for it.
async fn durable(durability: Durability, pace: Pace, folders: Vec<Arc<OwnedFd>>) -> Result<(), VfsError> {
    if durability != Durability::Full || pace == Pace::Memory {
        return Ok(());
    }
    let _place = SYNCS.acquire().await.map_err(|_| VfsError::Interrupted)?;
    blocking(move || {
        folders.iter().try_for_each(|folder| fs::fsync(&**folder)).map_err(|errno| broken(errno, Action::Write))
    })
    .await
}
