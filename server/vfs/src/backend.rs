//! The port to what keeps bytes. Local files first; other stores implement the same traits.
//!
//! A backend knows names and bytes below one root and nothing else: no user's rights, no quota, no locks, no mounts. What it
//! promises about staging, committing and partials is files.md, and `contract` (a shared test suite) says whether a new
//! backend keeps it. Paths are [`VPath`]s whose root is the backend's own root; errors carry those paths, and [`crate::Vfs`]
//! puts the mount's place before them. A backend never follows a symbolic link by itself: it answers
//! [`VfsError::ThroughLink`], so that rights are checked on the path that a link leads to before anything is opened there.

use crate::{Action, Entry, Facts, Metadata, Overwrite, PartialKey, Space, VfsError};
use lockgate_model::VPath;
use std::{
    os::fd::BorrowedFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// Identity of a file or folder within the process: equal for two names of one file. As [`Metadata::unique`].
pub type FileId = (u64, u64);

/// Whether the session that asked has been ended: long work looks at it between two files, and stops.
#[derive(Clone, Debug, Default)]
pub struct Ended(Arc<AtomicBool>);

impl Ended {
    /// Ends it, for all clones and for good.
    pub fn end(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it has been ended.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// What a store can do beyond the least. A caller looks at these values and never asks for the concrete kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Symbolic and hard links.
    pub links: bool,
    /// Opaque properties kept with a name. Single files may still refuse.
    pub properties: bool,
    /// Writing into a committed file.
    pub patch: bool,
    /// Renaming in one step. Without it every [`Backend::rename`] is [`VfsError::Impossible`], and [`crate::Vfs`] copies files.
    pub rename: bool,
}

/// What to do with a link at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastLink {
    /// Go where it leads.
    Follow,
    /// Stay at the link itself.
    Keep,
}

/// What a staged file became.
#[derive(Clone, Debug)]
pub struct Published {
    /// Facts of the file under its name.
    pub metadata: Metadata,
    /// Bytes of the file whose place it took; `None` where the name is new.
    pub replaced: Option<u64>,
}

/// A partial that ended or came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartialEntry {
    /// Whose (see [`PartialKey::owner_tag`]).
    pub owner: u64,
    /// Which file.
    pub id: FileId,
    /// Bytes in it.
    pub bytes: u64,
}

/// What [`StagedFile::keep`] did.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// The partial that there is now.
    pub partial: PartialEntry,
    /// An older one of the same key, which it took the place of.
    pub replaced: Option<PartialEntry>,
}

/// What a removal took away. Filled in even where `outcome` is an error: what was removed before it stays removed.
#[derive(Debug)]
pub struct Removal {
    /// Bytes of committed files.
    pub bytes: u64,
    /// Partials that went with their folder.
    pub partials: Vec<PartialEntry>,
    /// How it ended.
    pub outcome: Result<(), VfsError>,
}

/// What a store holds: the base of a quota.
#[derive(Clone, Debug, Default)]
pub struct Usage {
    /// Bytes of committed files, each name counted.
    pub bytes: u64,
    /// Partials of the asked owner.
    pub partials: Vec<PartialEntry>,
}

/// A store below one root.
///
/// Methods that look at or change one name may run in the caller's task; whatever has no bound (walks, copies, syncs) goes to
/// blocking threads by itself. Dropping a future of this trait leaves the store in the old or in the new state.
#[async_trait::async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Names the store: identity, `/` and path are equal for two backends that reach the same file, also where the root of one
    /// lies below the other's. Not for people.
    fn identity(&self) -> &[u8];

    /// What it can do beyond the least.
    fn capabilities(&self) -> Capabilities;

    /// Whether the store's root was removed, so that nothing will ever be found in it again. Quick.
    fn is_gone(&self) -> bool {
        false
    }

    /// The path without links that `path` stands for, whether or not something is there. Quick: no network.
    ///
    /// # Errors
    /// [`VfsError::Forbidden`] for a link that leaves the root, [`VfsError::NotFound`] for a missing folder on the way.
    fn resolve(&self, path: &VPath, last: LastLink) -> Result<VPath, VfsError>;

    /// Facts of a name; a link is answered as a link.
    ///
    /// # Errors
    /// [`VfsError::NotFound`]; [`VfsError::ThroughLink`] where a folder on the way is a link (as all methods below).
    async fn metadata(&self, path: &VPath) -> Result<Metadata, VfsError>;

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`VfsError::NotFound`], [`VfsError::IsFolder`].
    async fn open(&self, path: &VPath) -> Result<Box<dyn OpenFile>, VfsError>;

    /// Begins to list a folder.
    ///
    /// # Errors
    /// [`VfsError::NotFound`], [`VfsError::NotFolder`].
    async fn list(&self, path: &VPath) -> Result<Box<dyn Rows>, VfsError>;

    /// Begins a staged file for the name `path`, whether or not that exists.
    ///
    /// # Errors
    /// [`VfsError::NotFound`] for a missing folder.
    async fn stage(&self, path: &VPath) -> Result<Box<dyn StagedFile>, VfsError>;

    /// Opens a committed file for writing in place; with `append` every write goes to its end.
    ///
    /// # Errors
    /// [`VfsError::NotFound`], [`VfsError::IsFolder`].
    async fn patch(&self, path: &VPath, append: bool) -> Result<Box<dyn StagedFile>, VfsError>;

    /// Facts of the partial of `path` under `key` that nobody is writing to.
    ///
    /// # Errors
    /// As [`Backend::metadata`]; that there is none is no error.
    async fn partial(&self, path: &VPath, key: &PartialKey) -> Result<Option<Metadata>, VfsError>;

    /// Takes up a partial: it is a staged file again, and no partial until it is kept again.
    ///
    /// # Errors
    /// As [`Backend::partial`].
    async fn resume(&self, path: &VPath, key: &PartialKey) -> Result<Option<Box<dyn StagedFile>>, VfsError>;

    /// As [`Backend::resume`], but the file stays under `key` while it is written to, so that a process that dies leaves what
    /// came: for keys that one upload alone has. `None` too while somebody goes on with it; [`Backend::partial`] answers for
    /// it then. A store that cannot do so loses such an upload with its process.
    ///
    /// # Errors
    /// As [`Backend::partial`].
    async fn go_on(&self, path: &VPath, key: &PartialKey) -> Result<Option<Box<dyn StagedFile>>, VfsError> {
        self.resume(path, key).await
    }

    /// Drops a partial.
    ///
    /// # Errors
    /// As [`Backend::partial`].
    async fn drop_partial(&self, path: &VPath, key: &PartialKey) -> Result<Option<PartialEntry>, VfsError>;

    /// Makes one folder.
    ///
    /// # Errors
    /// [`VfsError::Exists`], [`VfsError::NotFound`] for a missing parent.
    async fn make_folder(&self, path: &VPath) -> Result<(), VfsError>;

    /// Removes a file or link; the bytes given back.
    ///
    /// # Errors
    /// [`VfsError::NotFound`], [`VfsError::IsFolder`].
    async fn remove_file(&self, path: &VPath) -> Result<u64, VfsError>;

    /// Removes a folder in which there is nothing but what uploads left.
    async fn remove_folder(&self, path: &VPath) -> Removal;

    /// Removes a folder with everything in it; [`VfsError::Interrupted`] once `ended` is over, with the rest still there.
    async fn remove_tree(&self, path: &VPath, ended: &Ended) -> Removal;

    /// Renames atomically; the bytes of a file that was replaced.
    ///
    /// # Errors
    /// [`VfsError::Exists`], [`VfsError::NotEmpty`], [`VfsError::NotFound`]; [`VfsError::Impossible`] where the store cannot
    /// do it in one step.
    async fn rename(&self, from: &VPath, to: &VPath, overwrite: Overwrite) -> Result<Option<u64>, VfsError>;

    /// Sets times and mode.
    ///
    /// # Errors
    /// [`VfsError::NotFound`].
    async fn set_facts(&self, path: &VPath, facts: Facts) -> Result<(), VfsError>;

    /// Sets the times of a symbolic link itself.
    ///
    /// # Errors
    /// [`VfsError::NotFound`] where it is no link, [`VfsError::Unsupported`] for a mode: a link has none of its own.
    async fn set_link_facts(&self, _path: &VPath, _facts: Facts) -> Result<(), VfsError> {
        Err(VfsError::Unsupported(Action::SetFacts))
    }

    /// The target of a symbolic link.
    ///
    /// # Errors
    /// [`VfsError::Unsupported`] where it is no link.
    async fn read_link(&self, path: &VPath) -> Result<Vec<u8>, VfsError>;

    /// Makes a symbolic link. The caller has judged the target.
    ///
    /// # Errors
    /// [`VfsError::Exists`], [`VfsError::Unsupported`].
    async fn symlink(&self, target: &[u8], path: &VPath) -> Result<(), VfsError>;

    /// Makes a second name for a file; its bytes.
    ///
    /// # Errors
    /// As [`Backend::symlink`].
    async fn hard_link(&self, from: &VPath, to: &VPath) -> Result<u64, VfsError>;

    /// Room in the store at `path`.
    ///
    /// # Errors
    /// As [`Backend::metadata`].
    async fn space(&self, path: &VPath) -> Result<Space, VfsError>;

    /// The opaque properties kept with a name; empty where there are none.
    ///
    /// # Errors
    /// [`VfsError::NotFound`], [`VfsError::Unsupported`].
    async fn properties(&self, path: &VPath) -> Result<Vec<u8>, VfsError>;

    /// Puts the opaque properties in place of the old; empty removes them.
    ///
    /// # Errors
    /// [`VfsError::NotFound`], [`VfsError::Unsupported`], [`VfsError::NoSpace`].
    async fn set_properties(&self, path: &VPath, value: &[u8]) -> Result<(), VfsError>;

    /// Counts what is in the store and the partials of `owner`, leaving out the folders in `skip` with all below them.
    ///
    /// # Errors
    /// [`VfsError::Backend`].
    async fn usage(&self, owner: u64, skip: &[FileId]) -> Result<Usage, VfsError>;

    /// The partials of `owner`, also those that somebody goes on with in their place; no network.
    ///
    /// # Errors
    /// [`VfsError::Backend`].
    async fn partials(&self, owner: u64) -> Result<Vec<PartialEntry>, VfsError> {
        Ok(self.usage(owner, &[]).await?.partials)
    }

    /// Waits until the names in the folder of `path` are on the disk, where the durability asks for it: after
    /// [`StagedFile::keep`], which does not wait.
    ///
    /// # Errors
    /// [`VfsError::NotFound`] where the folder went, [`VfsError::Backend`].
    async fn sync_folder_of(&self, _path: &VPath) -> Result<(), VfsError> {
        Ok(())
    }

    /// Removes staged files that no upload owns and partials older than `keep`; the partials removed.
    async fn sweep(&self, keep: Duration) -> Vec<PartialEntry>;
}

/// A folder being listed.
#[async_trait::async_trait]
pub trait Rows: Send + Sync {
    /// The next rows, at most `limit`; empty at the end. No `.`, no `..`, no reserved names, only files, folders and links.
    ///
    /// # Errors
    /// [`VfsError::Backend`].
    async fn next_rows(&mut self, limit: usize) -> Result<Vec<Entry>, VfsError>;
}

/// A file open for reading.
#[async_trait::async_trait]
pub trait OpenFile: Send + Sync {
    /// Facts at the time of opening.
    fn metadata(&self) -> &Metadata;

    /// As [`crate::FileReader::metadata_now`]; stores whose open files do not change need not say more than at the opening.
    ///
    /// # Errors
    /// [`VfsError::Backend`].
    fn metadata_now(&self) -> Result<Metadata, VfsError> {
        Ok(self.metadata().clone())
    }

    /// As [`crate::FileReader::read_at`].
    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, VfsError>;

    /// The descriptor, for threads that may wait; `None` for stores without one.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Whether `length` bytes from `offset` can be had through [`OpenFile::descriptor`] without waiting for a disk or a network.
    /// Quick.
    fn is_ready(&self, _offset: u64, _length: u64) -> bool {
        false
    }
}

/// A file being written, not yet under its name; or, from [`Backend::patch`], a committed file being written in place, for
/// which [`StagedFile::publish`] only syncs and the two ends that abort change nothing.
///
/// Dropped without one of its ends it is discarded.
#[async_trait::async_trait]
pub trait StagedFile: Send + Sync {
    /// Writes all of `data` at `offset`.
    ///
    /// # Errors
    /// [`VfsError::NoSpace`], [`VfsError::Backend`].
    async fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), VfsError>;

    /// Takes note of bytes that came in through [`StagedFile::descriptor`], past [`StagedFile::write_at`].
    fn wrote(&mut self, _offset: u64, _length: u64) {}

    /// Reads back; 0 at the end.
    ///
    /// # Errors
    /// [`VfsError::Backend`].
    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, VfsError>;

    /// Cuts or extends.
    ///
    /// # Errors
    /// As [`StagedFile::write_at`].
    async fn set_len(&mut self, length: u64) -> Result<(), VfsError>;

    /// Facts of the file as it is now.
    ///
    /// # Errors
    /// [`VfsError::Backend`].
    fn metadata(&self) -> Result<Metadata, VfsError>;

    /// Facts for the file once it is committed; later calls add to earlier ones.
    fn set_facts(&mut self, facts: Facts);

    /// Waits until what was written is on the disk, whatever the durability.
    ///
    /// # Errors
    /// [`VfsError::Backend`].
    async fn sync(&mut self) -> Result<(), VfsError>;

    /// First half of a commit: gives the file the mode, owner and extended attributes of the one it will replace and its
    /// facts, and syncs it where the durability asks for it. The name still stands for the old state afterwards.
    ///
    /// # Errors
    /// As [`StagedFile::write_at`].
    async fn settle(&mut self) -> Result<(), VfsError>;

    /// Second half of a commit: puts the file under its name in one step and syncs the folder where the durability asks for it.
    ///
    /// # Errors
    /// [`VfsError::Exists`] with [`Overwrite::Refuse`], [`VfsError::IsFolder`], [`VfsError::NotFound`] where the folder is no
    /// longer where it was. The file is discarded then.
    async fn publish(self: Box<Self>, overwrite: Overwrite) -> Result<Published, VfsError>;

    /// Keeps the first `length` bytes as the partial of `key`. Quick, never waits for a disk; `None` where it could not.
    fn keep(self: Box<Self>, key: &PartialKey, length: u64) -> Option<Kept>;

    /// Ends it without a trace. Quick.
    fn discard(self: Box<Self>);

    /// The descriptor, for threads that may wait; `None` for stores without one.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Whether writing through [`StagedFile::descriptor`] goes to memory and waits for no network.
    fn is_quick(&self) -> bool {
        false
    }
}
