//! A back-end together with its spool: what is at a path, by which way, and under which identity.

use crate::{
    Model, Settings,
    calls::{Calls, Seen},
    names::{self, Held, Hold},
};
use aws_lc_rs::digest;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lockgate_model::VPath;
use lockgate_vfs::{Backend, Durability, FileId, Kind, Metadata, StagedFile, VfsError, local_store};
use std::{
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

/// Questions to the store at once.
const AT_ONCE: usize = 8;
/// Times a folder of the spool is made again when the sweeper takes it for an empty one.
const MOST_TRIES: usize = 8;

pub(crate) struct Store {
    pub(crate) calls: Box<dyn Calls>,
    pub(crate) settings: Settings,
    /// Whether a read can begin anywhere.
    pub(crate) restarts: bool,
    /// Unfinished uploads, each in a folder of the same path as the one it is for.
    pub(crate) spool: Arc<dyn Backend>,
    spool_folder: PathBuf,
    opened: SystemTime,
}

impl Store {
    pub(crate) async fn open(calls: Box<dyn Calls>, settings: Settings, restarts: bool) -> io::Result<Self> {
        // A folder for each identity: an upload interrupted in one store is never gone on with in another.
        let mut name = String::new();
        for byte in digest::digest(&digest::SHA256, settings.identity.as_bytes()).as_ref().iter().take(16) {
            let _ = write!(name, "{byte:02x}");
        }
        let spool_folder = settings.spool.join(name);
        let folder = spool_folder.clone();
        // What is in it is not worth a sync: a crash costs an upload that was not finished.
        let spool = tokio::task::spawn_blocking(move || local_store(&folder, Durability::Rename));
        let spool = spool.await.map_err(io::Error::other)??;
        Ok(Self { calls, settings, restarts, spool, spool_folder, opened: SystemTime::now() })
    }

    pub(crate) fn model(&self) -> Model {
        self.settings.model
    }

    /// Holds names while the store is looked at and changed.
    pub(crate) async fn hold(&self, names: &[(&VPath, Hold)]) -> Held {
        names::hold(&self.settings.identity, names).await
    }

    /// What a name is, by a way that may lead through links.
    pub(crate) async fn look(&self, path: &VPath) -> Result<Seen, VfsError> {
        // The root is there, whatever an object store says of it.
        if path.is_root() { Ok(Seen::bare(Kind::Folder, 0, self.opened)) } else { self.calls.look(path).await }
    }

    /// What a name is, reached through folders alone.
    pub(crate) async fn find(self: &Arc<Self>, path: &VPath) -> Result<Seen, VfsError> {
        match self.look(path).await {
            Err(error @ VfsError::NotFound(_)) => Err(error),
            // Also after an error: that something is below a file has no code of its own, and comes as any.
            seen => self.way(path).await.and(seen),
        }
    }

    /// As [`Store::find`]; `None` where the name is free and its folder is there.
    pub(crate) async fn find_or_free(self: &Arc<Self>, path: &VPath) -> Result<Option<Seen>, VfsError> {
        self.way(path).await?;
        match self.look(path).await {
            Ok(seen) => Ok(Some(seen)),
            Err(VfsError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Checks that whatever is above `path` is a folder: nothing is below a file, and nothing is reached through a link.
    pub(crate) async fn way(self: &Arc<Self>, path: &VPath) -> Result<(), VfsError> {
        let above = std::iter::successors(path.parent(), VPath::parent).filter(|folder| !folder.is_root());
        let above: Vec<VPath> = above.collect();
        let looks = stream::iter(above).map(|folder| {
            let store = Arc::clone(self);
            async move {
                match store.calls.look(&folder).await {
                    Ok(seen) if seen.kind == Kind::Folder => Ok(()),
                    Ok(_) => Err(VfsError::NotFound(folder)),
                    Err(error) => Err(error),
                }
            }
        });
        looks.buffered(AT_ONCE).try_collect().await
    }

    /// The identity of a path, there being none of what lies there; equal where the root of one store lies in another.
    pub(crate) fn id(&self, path: &VPath) -> FileId {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(self.settings.identity.as_bytes());
        if !path.is_root() {
            context.update(path.as_bytes());
        }
        let hash = context.finish();
        let half = |from: usize| hash.as_ref().iter().skip(from).take(8).fold(0, |id, byte| id << 8 | u64::from(*byte));
        (half(0), half(8))
    }

    pub(crate) fn metadata(&self, path: &VPath, seen: &Seen) -> Metadata {
        let modified = seen.modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        Metadata {
            kind: seen.kind,
            size: seen.size,
            modified: seen.modified,
            accessed: seen.modified,
            mode: seen.mode,
            uid: seen.uid,
            gid: seen.gid,
            links: seen.links,
            unique: self.id(path),
            etag: format!("{:x}-{modified:x}", seen.size),
        }
    }

    /// Begins an unfinished upload in the spool.
    pub(crate) async fn spooled(&self, path: &VPath) -> Result<Box<dyn StagedFile>, VfsError> {
        let mut tries = 0;
        loop {
            match self.spool.stage(path).await {
                Err(VfsError::NotFound(_)) if tries < MOST_TRIES => self.make_spool_folder(path).await?,
                done => return done,
            }
            tries += 1;
        }
    }

    /// Makes the folders above `path` in the spool.
    pub(crate) async fn make_spool_folder(&self, path: &VPath) -> Result<(), VfsError> {
        let mut above: Vec<VPath> = std::iter::successors(path.parent(), VPath::parent).collect();
        while let Some(folder) = above.pop() {
            match self.spool.make_folder(&folder).await {
                // Not there where the sweeper took the one above; whoever asked tries again.
                Ok(()) | Err(VfsError::Exists(_) | VfsError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes folders of the spool that nothing is in any more.
    pub(crate) async fn prune_spool(&self) {
        let folder = self.spool_folder.clone();
        // The next sweep goes on where this one could not.
        let _ = tokio::task::spawn_blocking(move || prune(&folder)).await;
    }
}

/// Blocking.
fn prune(folder: &Path) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    // Read to the end first, so that one folder is open at a time.
    let inner: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect();
    for folder in inner {
        prune(&folder);
        // The host refuses what is not empty.
        let _ = std::fs::remove_dir(folder);
    }
}
