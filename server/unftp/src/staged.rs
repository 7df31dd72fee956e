//! An upload: in the spool until its commit, and then in the store as a whole.
//!
//! In a store of files it is put beside its name first ([`StagedFile::settle`]) and renamed over it ([`StagedFile::publish`]). In
//! a store of objects the put is the commit. What is beside a name is removed again unless it becomes the file, by whoever drops
//! it or, after a crash, by the sweeper.

use crate::{
    Model,
    calls::{Seen, Spooled},
    names::{Held, Hold},
    said::untrue,
    store::Store,
};
use lockgate_model::VPath;
use lockgate_vfs::{
    Action, Facts, Kept, Kind, Metadata, Overwrite, PartialKey, Published, StagedFile, VfsError, staged_name,
};
use std::{fs::File, io, os::fd::BorrowedFd, sync::Arc, time::SystemTime};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

pub(crate) struct Staged {
    store: Arc<Store>,
    path: VPath,
    spooled: Box<dyn StagedFile>,
    beside: Option<Beside>,
}

/// A file under a reserved name in the store; dropped, it is removed.
struct Beside {
    store: Arc<Store>,
    path: VPath,
    /// `None` once it has another name. Held, so that no sweeper takes it.
    held: Option<Held>,
}

impl Drop for Beside {
    fn drop(&mut self) {
        let (Some(held), Ok(runtime)) = (self.held.take(), tokio::runtime::Handle::try_current()) else { return };
        let (store, path) = (Arc::clone(&self.store), self.path.clone());
        runtime.spawn(async move {
            match store.calls.remove_file(&path).await {
                Ok(()) | Err(VfsError::NotFound(_)) => {}
                Err(error) => tracing::warn!(%path, %error, "what an upload left in the store stays until it is swept"),
            }
            drop(held);
        });
    }
}

impl Staged {
    pub(crate) fn new(store: Arc<Store>, path: VPath, spooled: Box<dyn StagedFile>) -> Self {
        Self { store, path, spooled, beside: None }
    }

    /// The bytes to be put, and how many.
    async fn bytes(&self) -> Result<(Spooled, u64), VfsError> {
        let broken = |source| VfsError::Backend { action: Action::Write, source };
        let length = self.spooled.metadata()?.size;
        let file = self.spooled.descriptor().ok_or(VfsError::Interrupted)?.try_clone_to_owned().map_err(broken)?;
        let mut file = tokio::fs::File::from_std(File::from(file));
        file.seek(io::SeekFrom::Start(0)).await.map_err(broken)?;
        Ok((file.take(length), length))
    }

    /// Puts the bytes under a reserved name in the folder.
    async fn put_beside(&self) -> Result<Beside, VfsError> {
        let name = staged_name().ok_or_else(|| untrue(Action::Write, "no randomness for the name of a staged file"))?;
        let folder = self.path.parent().ok_or_else(|| VfsError::IsFolder(self.path.clone()))?;
        let path = folder.child(name).map_err(|_| VfsError::BadName)?;
        let held = self.store.hold(&[(&path, Hold::Changes)]).await;
        let beside = Beside { store: Arc::clone(&self.store), path, held: Some(held) };
        let (bytes, length) = self.bytes().await?;
        let took = self.store.calls.put(&beside.path, bytes, &self.path).await?;
        let seen = self.store.look(&beside.path).await?;
        if (took, seen.size, seen.kind) != (length, length, Kind::File) {
            return Err(untrue(Action::Write, "the store did not take the whole file"));
        }
        Ok(beside)
    }

    async fn publish_now(mut self, overwrite: Overwrite) -> Result<Published, VfsError> {
        if self.store.model() == Model::Files && self.beside.is_none() {
            self.beside = Some(self.put_beside().await?);
        }
        let length = self.spooled.metadata()?.size;
        let parent = self.path.parent().ok_or_else(|| VfsError::IsFolder(self.path.clone()))?;
        let _held = self.store.hold(&[(&self.path, Hold::Changes), (&parent, Hold::Stays)]).await;
        let before = self.store.find_or_free(&self.path).await?;
        match before.as_ref().map(|seen| seen.kind) {
            Some(Kind::Folder) => return Err(VfsError::IsFolder(self.path)),
            Some(Kind::File) if overwrite == Overwrite::Replace => {}
            Some(_) => return Err(VfsError::Exists(self.path)),
            None => {}
        }
        match &mut self.beside {
            Some(beside) => {
                let renamed = self.store.calls.rename(&beside.path, &self.path, &self.path).await;
                renamed.map_err(|error| match error {
                    VfsError::Impossible { action, .. } => {
                        let store = &self.store.settings.identity;
                        tracing::error!(store, "this back-end renames nothing: mount it with `Model::Objects`");
                        VfsError::Unsupported(action)
                    }
                    // The upload is there; what is not is the folder.
                    VfsError::NotFound(_) => VfsError::NotFound(parent.clone()),
                    other => other,
                })?;
                beside.held = None;
            }
            None => self.put_over(before.as_ref()).await?,
        }
        // Committed is committed, also where the store does not answer now.
        let seen = self.store.look(&self.path).await;
        let seen = seen.unwrap_or_else(|_| Seen::bare(Kind::File, length, SystemTime::now()));
        let metadata = self.store.metadata(&self.path, &seen);
        self.spooled.discard();
        Ok(Published { metadata, replaced: before.map(|seen| seen.size) })
    }

    /// Puts the bytes under the name itself.
    async fn put_over(&self, before: Option<&Seen>) -> Result<(), VfsError> {
        let (bytes, length) = self.bytes().await?;
        let put = self.store.calls.put(&self.path, bytes, &self.path).await;
        let after = self.store.look(&self.path).await;
        let error = match (put, &after) {
            (Ok(took), Ok(seen)) if (took, seen.size) == (length, length) => return Ok(()),
            (Ok(took), Err(_)) if took == length => return Ok(()),
            (Ok(_), _) => untrue(Action::Write, "the store did not take the whole file"),
            (Err(error), _) => error,
        };
        // There are back-ends that finish an object whose bytes broke off. A cut file that looks whole is worse than none.
        if let Ok(seen) = &after
            && Some(seen) != before
        {
            let removed = self.store.calls.remove_file(&self.path).await;
            tracing::error!(path = %self.path, ?removed, "a put that failed left something else under the name");
        }
        Err(error)
    }
}

#[async_trait::async_trait]
impl StagedFile for Staged {
    async fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), VfsError> {
        self.beside = None;
        self.spooled.write_at(offset, data).await
    }

    fn wrote(&mut self, offset: u64, length: u64) {
        self.beside = None;
        self.spooled.wrote(offset, length);
    }

    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, VfsError> {
        self.spooled.read_at(offset, buffer).await
    }

    async fn set_len(&mut self, length: u64) -> Result<(), VfsError> {
        self.beside = None;
        self.spooled.set_len(length).await
    }

    fn metadata(&self) -> Result<Metadata, VfsError> {
        self.spooled.metadata()
    }

    /// Wishes that no back-end can be told: the store's own facts are shown after the commit. To refuse the upload for them
    /// would refuse every client that sends a mode when it opens a file.
    fn set_facts(&mut self, _facts: Facts) {}

    async fn sync(&mut self) -> Result<(), VfsError> {
        self.spooled.sync().await
    }

    async fn settle(&mut self) -> Result<(), VfsError> {
        self.store.way(&self.path).await?;
        if self.store.model() == Model::Files {
            self.beside = Some(self.put_beside().await?);
        }
        Ok(())
    }

    async fn publish(self: Box<Self>, overwrite: Overwrite) -> Result<Published, VfsError> {
        // In a task of its own: a caller that goes away does not cut a put in the middle.
        tokio::spawn(self.publish_now(overwrite)).await.unwrap_or(Err(VfsError::Interrupted))
    }

    fn keep(self: Box<Self>, key: &PartialKey, length: u64) -> Option<Kept> {
        self.spooled.keep(key, length)
    }

    fn discard(self: Box<Self>) {
        self.spooled.discard();
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.spooled.descriptor()
    }

    fn is_quick(&self) -> bool {
        self.spooled.is_quick()
    }
}
