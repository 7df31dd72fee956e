//! Staged files, partials, and writing in place.
//!
//! A staged file lies in the folder of its target under a random reserved name and is locked (`flock`) as long as it is open:
//! the lock goes with the process, so that the sweeper of any process can tell litter from an upload under way without a
//! record. It holds its folder as a descriptor; at the commit the folder must still be where the path says.

use super::{
    Local, blocking, durable,
    errno::{broken, refused},
    file::{self, WriteBack},
    root::{Pace, Root, guard},
    stat,
};
use crate::{
    Action, Durability, Facts, FileId, Kept, Kind, Metadata, Overwrite, PartialEntry, PartialKey, Published,
    StagedFile, VfsError, reserved,
};
use lockgate_model::VPath;
use rustix::{
    fs::{self, AtFlags, FlockOperation, Mode, OFlags, RenameFlags, Statx},
    io::Errno,
};
use std::{
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::Arc,
};

/// Fresh names tried before giving up; one is enough unless the sweeper takes it at its birth.
const MOST_NAMES: usize = 16;

/// A staged file on local disk.
pub(super) struct LocalStaged {
    root: Arc<Root>,
    durability: Durability,
    file: Arc<OwnedFd>,
    folder: Arc<OwnedFd>,
    folder_id: FileId,
    /// The name it will have.
    target: VPath,
    /// The reserved name it has; `None` once it ended.
    name: Option<String>,
    facts: Facts,
    write_back: WriteBack,
}

impl Local {
    /// Begins a staged file.
    pub(super) fn stage_now(&self, target: &VPath) -> Result<LocalStaged, VfsError> {
        let (folder, _) = self.root.folder_of(target, OFlags::RDONLY, Action::Write)?;
        let said = |errno| refused(errno, Action::Write, target);
        let folder_id = stat::id(&stat::of(&folder).map_err(said)?);
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..MOST_NAMES {
            let name = reserved::staged_name().ok_or(VfsError::Backend {
                action: Action::Write,
                source: std::io::Error::other("no randomness for the name of a staged file"),
            })?;
            let file = fs::openat(&folder, name.as_str(), flags, Mode::from_raw_mode(0o666)).map_err(said)?;
            if !claim(&file) {
                continue;
            }
            return Ok(self.staged(file, folder, folder_id, target, name));
        }
        Err(VfsError::Interrupted)
    }

    fn staged(&self, file: OwnedFd, folder: OwnedFd, folder_id: FileId, target: &VPath, name: String) -> LocalStaged {
        LocalStaged {
            root: Arc::clone(&self.root),
            durability: self.durability,
            file: Arc::new(file),
            folder: Arc::new(folder),
            folder_id,
            target: target.clone(),
            name: Some(name),
            facts: Facts::default(),
            write_back: WriteBack::default(),
        }
    }

    /// Facts of a partial that nobody is writing to.
    pub(super) fn partial_now(&self, target: &VPath, key: &PartialKey) -> Result<Option<Metadata>, VfsError> {
        let (folder, _) = self.root.folder_of(target, OFlags::PATH, Action::List)?;
        match stat::at(&folder, key.file_name().as_bytes()) {
            Ok(facts) => Ok(stat::metadata(&facts).filter(|metadata| metadata.kind == Kind::File)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(refused(errno, Action::List, target)),
        }
    }

    /// Makes a partial a staged file again.
    pub(super) fn resume_now(&self, target: &VPath, key: &PartialKey) -> Result<Option<LocalStaged>, VfsError> {
        let (folder, _) = self.root.folder_of(target, OFlags::RDONLY, Action::Write)?;
        let said = |errno| refused(errno, Action::Write, target);
        let folder_id = stat::id(&stat::of(&folder).map_err(said)?);
        let partial = key.file_name();
        let _guard = guard(folder_id, partial.as_bytes());
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match fs::openat(&folder, partial.as_str(), flags, Mode::empty()) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(said(errno)),
        };
        if !claim(&file) || stat::kind(&stat::of(&file).map_err(said)?) != Some(Kind::File) {
            return Ok(None);
        }
        let name = reserved::staged_name().ok_or(VfsError::Interrupted)?;
        fs::renameat(&folder, partial.as_str(), &folder, name.as_str()).map_err(said)?;
        Ok(Some(self.staged(file, folder, folder_id, target, name)))
    }

    /// Removes a partial.
    pub(super) fn drop_partial_now(&self, target: &VPath, key: &PartialKey) -> Result<Option<PartialEntry>, VfsError> {
        let (folder, _) = self.root.folder_of(target, OFlags::PATH, Action::Delete)?;
        let said = |errno| refused(errno, Action::Delete, target);
        let folder_id = stat::id(&stat::of(&folder).map_err(said)?);
        let partial = key.file_name();
        let _guard = guard(folder_id, partial.as_bytes());
        let Some(entry) = entry_of(&folder, &partial, key) else { return Ok(None) };
        match fs::unlinkat(&folder, partial.as_str(), AtFlags::empty()) {
            Ok(()) => Ok(Some(entry)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(said(errno)),
        }
    }

    /// Opens a committed file for writing in place.
    pub(super) fn patch_now(&self, path: &VPath, append: bool) -> Result<LocalPatch, VfsError> {
        let said = |errno| refused(errno, Action::Write, path);
        let end = if append { OFlags::APPEND } else { OFlags::empty() };
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | end;
        let file = self.root.reach(path, flags).map_err(said)?;
        match stat::kind(&stat::of(&file).map_err(said)?) {
            Some(Kind::File) => {}
            Some(Kind::Folder) => return Err(VfsError::IsFolder(path.clone())),
            _ => return Err(VfsError::NotFound(path.clone())),
        }
        Ok(LocalPatch {
            root: Arc::clone(&self.root),
            durability: self.durability,
            file: Arc::new(file),
            facts: Facts::default(),
            write_back: WriteBack::default(),
        })
    }
}

/// Locks a reserved file as this upload's own; false where the sweeper has it or had it. A store without `flock` leaves the
/// sweeper to judge by age.
fn claim(file: &OwnedFd) -> bool {
    match fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => false,
        _ => stat::of(file).is_ok_and(|facts| facts.stx_nlink > 0),
    }
}

fn entry_of(folder: &OwnedFd, name: &str, key: &PartialKey) -> Option<PartialEntry> {
    let facts = stat::at(folder, name.as_bytes()).ok()?;
    Some(PartialEntry { owner: key.owner_tag(), id: stat::id(&facts), bytes: stat::bytes(&facts) })
}

impl LocalStaged {
    fn said(&self, errno: Errno) -> VfsError {
        refused(errno, Action::Write, &self.target)
    }

    fn target_name(&self) -> &[u8] {
        self.target.file_name().unwrap_or_default()
    }

    /// Whether the folder is still the one that the path names.
    fn folder_stays(&self) -> Result<(), VfsError> {
        let parent = self.target.parent().unwrap_or_else(VPath::root);
        let now = self.root.reach(&parent, OFlags::PATH | OFlags::DIRECTORY).and_then(|folder| stat::of(&folder));
        match now {
            Ok(facts) if stat::id(&facts) == self.folder_id => Ok(()),
            _ => Err(VfsError::NotFound(parent)),
        }
    }

    fn publish_now(&mut self, overwrite: Overwrite) -> Result<Published, VfsError> {
        self.folder_stays()?;
        let name = self.name.clone().ok_or(VfsError::Interrupted)?;
        let held = {
            let target = self.target_name();
            let _guard = guard(self.folder_id, target);
            let held = hold(&self.folder, target).map_err(|errno| self.said(errno))?;
            if let Some((_, facts)) = &held {
                match stat::kind(facts) {
                    Some(Kind::Folder) => return Err(VfsError::IsFolder(self.target.clone())),
                    // A pipe or device: not seen here, and not ours to replace.
                    None => return Err(VfsError::Exists(self.target.clone())),
                    Some(_) if overwrite == Overwrite::Refuse => return Err(VfsError::Exists(self.target.clone())),
                    Some(_) => {}
                }
            }
            let renamed = match overwrite {
                Overwrite::Replace => fs::renameat(&self.folder, name.as_str(), &self.folder, target),
                Overwrite::Refuse => rename_to_new(&self.folder, name.as_bytes(), &self.folder, target),
            };
            renamed.map_err(|errno| match errno {
                Errno::NOENT => VfsError::NotFound(self.target.parent().unwrap_or_else(VPath::root)),
                other => self.said(other),
            })?;
            held
        };
        self.name = None;
        let facts = stat::of(&*self.file).map_err(|errno| self.said(errno))?;
        let metadata = stat::metadata(&facts).ok_or(VfsError::Interrupted)?;
        let replaced = held.map(|(old, facts)| {
            let bytes = stat::bytes(&facts);
            file::close_elsewhere(old, bytes);
            bytes
        });
        Ok(Published { metadata, replaced })
    }

    fn inherit(&self) {
        // Where the old file cannot be read its mode and owner stay behind, as they would on any server without the right to.
        let flags = stat::READ | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(old) = fs::openat(&*self.folder, self.target_name(), flags, Mode::empty())
            && stat::of(&old).is_ok_and(|facts| stat::kind(&facts) == Some(Kind::File))
        {
            let _ = stat::inherit(&old, &self.file);
        }
    }

    fn unlink(&mut self) {
        if let Some(name) = self.name.take() {
            let _ = fs::unlinkat(&*self.folder, name.as_str(), AtFlags::empty());
            // The blocks go with the last descriptor: not here, when they are many.
            if let Ok(facts) = stat::of(&*self.file)
                && file::is_large(stat::bytes(&facts))
                && let Ok(hold) = self.file.try_clone()
            {
                file::close_elsewhere(hold, stat::bytes(&facts));
            }
        }
    }
}

/// Holds what has a name, so that replacing or removing the name frees nothing yet.
pub(super) fn hold(folder: &OwnedFd, name: &[u8]) -> Result<Option<(OwnedFd, Statx)>, Errno> {
    match fs::openat(folder, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
        Ok(held) => {
            let facts = stat::of(&held)?;
            Ok(Some((held, facts)))
        }
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Renames to a name that nothing may have.
pub(super) fn rename_to_new(from: &OwnedFd, old: &[u8], to: &OwnedFd, new: &[u8]) -> Result<(), Errno> {
    match fs::renameat_with(from, old, to, new, RenameFlags::NOREPLACE) {
        // A store that does not know the flag: a second link refuses a taken name just as well, for files.
        Err(Errno::INVAL | Errno::NOSYS) => {
            fs::linkat(from, old, to, new, AtFlags::empty())?;
            fs::unlinkat(from, old, AtFlags::empty())
        }
        done => done,
    }
}

#[async_trait::async_trait]
impl StagedFile for LocalStaged {
    async fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), VfsError> {
        file::write_at(&self.file, self.root.pace(), offset, data).await?;
        self.wrote(offset, data.len() as u64);
        Ok(())
    }

    fn wrote(&mut self, offset: u64, length: u64) {
        if self.durability == Durability::Full && self.root.pace() != Pace::Memory {
            self.write_back.wrote(&self.file, offset, length);
        }
    }

    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, VfsError> {
        file::read_at(&self.file, self.root.pace(), offset, buffer, None).await
    }

    async fn set_len(&mut self, length: u64) -> Result<(), VfsError> {
        fs::ftruncate(&*self.file, length).map_err(|errno| broken(errno, Action::Write))
    }

    fn metadata(&self) -> Result<Metadata, VfsError> {
        let facts = stat::of(&*self.file).map_err(|errno| self.said(errno))?;
        stat::metadata(&facts).ok_or(VfsError::Interrupted)
    }

    fn set_facts(&mut self, facts: Facts) {
        self.facts = self.facts.then(facts);
    }

    async fn sync(&mut self) -> Result<(), VfsError> {
        sync_data(&self.file, self.root.pace()).await
    }

    async fn settle(&mut self) -> Result<(), VfsError> {
        self.inherit();
        stat::apply(&self.file, self.facts).map_err(|errno| self.said(errno))?;
        if self.durability == Durability::Full {
            sync_data(&self.file, self.root.pace()).await?;
        }
        Ok(())
    }

    async fn publish(mut self: Box<Self>, overwrite: Overwrite) -> Result<Published, VfsError> {
        let published = self.publish_now(overwrite)?;
        durable(self.durability, self.root.pace(), vec![Arc::clone(&self.folder)]).await?;
        Ok(published)
    }

    fn keep(mut self: Box<Self>, key: &PartialKey, length: u64) -> Option<Kept> {
        let partial = key.file_name();
        fs::ftruncate(&*self.file, length).ok()?;
        let _guard = guard(self.folder_id, partial.as_bytes());
        let replaced = entry_of(&self.folder, &partial, key);
        fs::renameat(&*self.folder, self.name.as_deref()?, &*self.folder, partial.as_str()).ok()?;
        self.name = None;
        Some(Kept { partial: entry_of(&self.folder, &partial, key)?, replaced })
    }

    fn discard(mut self: Box<Self>) {
        self.unlink();
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}

impl Drop for LocalStaged {
    fn drop(&mut self) {
        self.unlink();
    }
}

/// Data on the disk, and of the facts what is needed to read it back. At most [`super::SYNCS`] at a time.
async fn sync_data(file: &Arc<OwnedFd>, pace: Pace) -> Result<(), VfsError> {
    if pace == Pace::Memory {
        return Ok(());
    }
    let _place = super::SYNCS.acquire().await.map_err(|_| VfsError::Interrupted)?;
    let file = Arc::clone(file);
    blocking(move || fs::fdatasync(&*file).map_err(|errno| broken(errno, Action::Write))).await
}

/// A committed file being written in place.
pub(super) struct LocalPatch {
    root: Arc<Root>,
    durability: Durability,
    file: Arc<OwnedFd>,
    facts: Facts,
    write_back: WriteBack,
}

#[async_trait::async_trait]
impl StagedFile for LocalPatch {
    async fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), VfsError> {
        file::write_at(&self.file, self.root.pace(), offset, data).await?;
        self.wrote(offset, data.len() as u64);
        Ok(())
    }

    fn wrote(&mut self, offset: u64, length: u64) {
        if self.durability == Durability::Full && self.root.pace() != Pace::Memory {
            self.write_back.wrote(&self.file, offset, length);
        }
    }

    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, VfsError> {
        file::read_at(&self.file, self.root.pace(), offset, buffer, None).await
    }

    async fn set_len(&mut self, length: u64) -> Result<(), VfsError> {
        fs::ftruncate(&*self.file, length).map_err(|errno| broken(errno, Action::Write))
    }

    fn metadata(&self) -> Result<Metadata, VfsError> {
        let facts = stat::of(&*self.file).map_err(|errno| broken(errno, Action::Write))?;
        stat::metadata(&facts).ok_or(VfsError::Interrupted)
    }

    fn set_facts(&mut self, facts: Facts) {
        self.facts = self.facts.then(facts);
    }

    async fn sync(&mut self) -> Result<(), VfsError> {
        sync_data(&self.file, self.root.pace()).await
    }

    async fn settle(&mut self) -> Result<(), VfsError> {
        stat::apply(&self.file, self.facts).map_err(|errno| broken(errno, Action::SetFacts))?;
        if self.durability == Durability::Full {
            sync_data(&self.file, self.root.pace()).await?;
        }
        Ok(())
    }

    async fn publish(self: Box<Self>, _overwrite: Overwrite) -> Result<Published, VfsError> {
        let metadata = self.metadata()?;
        Ok(Published { replaced: Some(metadata.size), metadata })
    }

    fn keep(self: Box<Self>, _key: &PartialKey, _length: u64) -> Option<Kept> {
        None
    }

    fn discard(self: Box<Self>) {}

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }
}
