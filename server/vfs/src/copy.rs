//! Copies inside the tree: one file as an upload that nobody sends, folders as many of them.

use crate::{
    Action, Committed, Entry, Facts, FileReader, Intent, Kind, LastLink, Listing, OnAbort, Overwrite, Upload, Vfs,
    VfsError, create::Begin, local::no_room, tree::Place, upload::Origin,
};
use lockgate_model::{Permission, VPath};
use rustix::{fs::copy_file_range, io::Errno};
use std::{collections::VecDeque, io, os::fd::OwnedFd, sync::Arc};

/// Bytes of one call to the kernel's copy.
const KERNEL_PIECE: u64 = 16 * 1024 * 1024;
/// Bytes of one read and write.
const PIECE: usize = 512 * 1024;
/// Levels of folders copied; each holds one open folder.
const MOST_LEVELS: usize = 100;
/// Rows taken from a folder at a time.
const ROWS: usize = 256;

impl Vfs {
    /// Copies one file; the copy commits like an upload. Its properties come along, its mode and times do not.
    ///
    /// # Errors
    /// As [`Vfs::create`] and [`Vfs::open`].
    pub async fn copy(&self, from: &VPath, to: &VPath, overwrite: Overwrite) -> Result<Committed, VfsError> {
        if from == to {
            return Err(VfsError::Impossible { action: Action::Write, path: to.clone() });
        }
        let reader = self.open_quietly(from).await?;
        if let Ok(target) = self.committed_id(to).await
            && target == reader.metadata().unique
        {
            // Two names of one file: a copy would be the same bytes once more.
            return Err(VfsError::Impossible { action: Action::Write, path: to.clone() });
        }
        let intent = match overwrite {
            Overwrite::Refuse => Intent::CreateNew,
            Overwrite::Replace => Intent::Create,
        };
        let begin = Begin::new(intent, OnAbort::Discard, Origin::Copy(from.clone()));
        let mut upload = self.begin(to, begin).await?;
        pour(&reader, &mut upload).await?;
        let committed = upload.commit().await?;
        self.carry_properties(from, to).await;
        Ok(committed)
    }

    async fn committed_id(&self, path: &VPath) -> Result<crate::FileId, VfsError> {
        let place = self.settled(path, Action::Write).await?;
        place.mount.backend.metadata(&place.inner).await.map(|found| found.unique)
    }

    /// Properties are worth a try, not a failed copy: the store may have none.
    async fn carry_properties(&self, from: &VPath, to: &VPath) {
        let (Ok(source), Ok(target)) = (self.settled(from, Action::Read).await, self.settled(to, Action::Write).await)
        else {
            return;
        };
        if let Ok(value) = source.mount.backend.properties(&source.inner).await {
            let _ = target.mount.backend.set_properties(&target.inner, &value).await;
        }
    }

    /// Moves a file to another store: a copy with the file's times and mode, committed, and the old name removed after.
    pub(crate) async fn carry(&self, source: &Place, target: &Place, overwrite: Overwrite) -> Result<(), VfsError> {
        self.view.tree.require(&source.path, Permission::Read, Action::Read)?;
        let file = source.mount.backend.open(&source.inner).await.map_err(|error| source.said(error))?;
        let reader = FileReader::new(file);
        let intent = if overwrite == Overwrite::Refuse { Intent::CreateNew } else { Intent::Create };
        let begin = Begin::new(intent, OnAbort::Discard, Origin::Move);
        let mut upload = self.begin(&target.path, begin).await?;
        pour(&reader, &mut upload).await?;
        let facts = reader.metadata();
        upload.set_facts(Facts {
            modified: Some(facts.modified),
            accessed: Some(facts.accessed),
            mode: Some(facts.mode),
        });
        upload.commit().await?;
        self.carry_properties(&source.path, &target.path).await;
        // Only what was copied goes: a file that came under the name meanwhile, or was written to, stays beside the copy.
        let now = source.mount.backend.metadata(&source.inner).await.map_err(|error| source.said(error))?;
        if (now.unique, &now.etag) != (reader.metadata().unique, &reader.metadata().etag) {
            return Err(VfsError::Changed(source.path.clone()));
        }
        let bytes = source.mount.backend.remove_file(&source.inner).await.map_err(|error| source.said(error))?;
        self.view.release(source, bytes);
        Ok(())
    }

    /// Copies a file or a folder with everything in it. Refuses to copy a folder into itself.
    ///
    /// Into a folder that exists, with [`Overwrite::Replace`], the copy goes beside what is there. Links are made anew where the
    /// user may make links, and left out otherwise.
    ///
    /// # Errors
    /// As [`Vfs::copy`]; what was copied before the error stays. [`VfsError::Impossible`] for a tree of more than 100 levels.
    pub async fn copy_tree(&self, from: &VPath, to: &VPath, overwrite: Overwrite) -> Result<(), VfsError> {
        if self.stat(from).await?.kind != Kind::Folder {
            return self.copy(from, to, overwrite).await.map(|_| ());
        }
        let tree = &self.view.tree;
        // What a link leads to is what is copied.
        let source = self.placed(from, LastLink::Follow, Action::Read)?;
        let target = self.settled(to, Action::Write).await?;
        if target.path.is_within(&source.path)
            || to.is_within(from)
            || target.key().starts_with(&[source.key(), b"/".to_vec()].concat())
        {
            return Err(VfsError::Impossible { action: Action::Write, path: to.clone() });
        }
        for right in [Permission::Read, Permission::List] {
            tree.require_below(from, right, Action::Read)?;
        }
        tree.require_below(to, Permission::Write, Action::Write)?;
        let mut levels = vec![self.copy_level(from.clone(), to.clone(), overwrite).await?];
        while let Some(level) = levels.last_mut() {
            let Some(row) = level.next().await? else {
                levels.pop();
                continue;
            };
            let (Ok(from), Ok(to)) = (level.from.child(&row.name), level.to.child(&row.name)) else {
                return Err(VfsError::BadName);
            };
            match row.metadata.kind {
                Kind::File => drop(self.copy(&from, &to, overwrite).await?),
                Kind::Link => self.copy_link(&from, &to).await?,
                Kind::Folder if levels.len() >= MOST_LEVELS => {
                    return Err(VfsError::Impossible { action: Action::Write, path: from });
                }
                Kind::Folder => levels.push(self.copy_level(from, to, overwrite).await?),
            }
        }
        Ok(())
    }

    async fn copy_level(&self, from: VPath, to: VPath, overwrite: Overwrite) -> Result<Level, VfsError> {
        let listing = self.list(&from).await?;
        match self.make_folder(&to).await {
            Err(VfsError::Exists(_))
                if overwrite == Overwrite::Replace && self.stat(&to).await?.kind == Kind::Folder => {}
            made => made?,
        }
        self.carry_properties(&from, &to).await;
        Ok(Level { listing, rows: VecDeque::new(), from, to })
    }

    async fn copy_link(&self, from: &VPath, to: &VPath) -> Result<(), VfsError> {
        if !self.view.tree.permissions(to).allows(Permission::Link) {
            return Ok(());
        }
        match self.read_link(from).await {
            Ok(target) => self.symlink(&target, to).await,
            Err(VfsError::Forbidden { .. }) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

struct Level {
    listing: Listing,
    rows: VecDeque<Entry>,
    from: VPath,
    to: VPath,
}

impl Level {
    async fn next(&mut self) -> Result<Option<Entry>, VfsError> {
        if self.rows.is_empty() {
            self.rows = self.listing.next_batch(ROWS).await?.into();
        }
        Ok(self.rows.pop_front())
    }
}

/// Puts all of a file into an upload.
async fn pour(reader: &FileReader, upload: &mut Upload) -> Result<(), VfsError> {
    let descriptors = reader.descriptor().and_then(|from| from.try_clone_to_owned().ok()).zip(upload.own_descriptor());
    let mut at = 0;
    if let Some((from, to)) = descriptors {
        let pair = Arc::new((from, to));
        while at < reader.metadata().size {
            let piece = KERNEL_PIECE.min(reader.metadata().size - at);
            upload.grow(at, piece)?;
            match kernel_copy(&pair, at, piece).await? {
                None => break,
                // The file got shorter.
                Some(0) => break,
                Some(done) => {
                    upload.wrote(at, done);
                    at += done;
                }
            }
        }
    }
    let mut buffer = vec![0; PIECE];
    loop {
        let got = reader.read_at(at, &mut buffer).await?;
        let Some(bytes) = buffer.get(..got).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
        upload.write_at(at, bytes).await?;
        at += got as u64;
        // Cached bytes never wait, so that nobody else would get a turn.
        tokio::task::yield_now().await;
    }
}

/// Copies a piece inside the kernel (or only its reference, where the store can); `None` where this pair cannot.
async fn kernel_copy(pair: &Arc<(OwnedFd, OwnedFd)>, at: u64, piece: u64) -> Result<Option<u64>, VfsError> {
    let pair = Arc::clone(pair);
    let copied = tokio::task::spawn_blocking(move || {
        let (mut from, mut to) = (at, at);
        copy_file_range(&pair.0, Some(&mut from), &pair.1, Some(&mut to), usize::try_from(piece).unwrap_or(usize::MAX))
    });
    match copied.await.map_err(|_| VfsError::Interrupted)? {
        Ok(done) => Ok(Some(done as u64)),
        Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::BADF | Errno::PERM) => Ok(None),
        Err(errno) if no_room(errno) => Err(VfsError::NoSpace),
        Err(errno) => Err(VfsError::Backend { action: Action::Write, source: io::Error::from(errno) }),
    }
}
