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

/// A file on local disk that is being written: staged, or a committed one in place.
pub(super) struct LocalWriter {
    root: Arc<Root>,
    durability: Durability,
    file: Arc<OwnedFd>,
    facts: Facts,
    write_back: WriteBack,
    /// `None` where it is written in place.
    stage: Option<Stage>,
}

/// Where a staged file waits for its name.
struct Stage {
    folder: Arc<OwnedFd>,
    folder_id: FileId,
    /// The name it will have.
    target: VPath,
    /// The reserved name it has; `None` once it ended.
    name: Option<String>,
}

impl Local {
    /// Begins a staged file.
    pub(super) fn stage_now(&self, target: &VPath) -> Result<LocalWriter, VfsError> {
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

    fn staged(&self, file: OwnedFd, folder: OwnedFd, folder_id: FileId, target: &VPath, name: String) -> LocalWriter {
        let stage = Stage { folder: Arc::new(folder), folder_id, target: target.clone(), name: Some(name) };
        self.writer(file, Some(stage))
    }

    fn writer(&self, file: OwnedFd, stage: Option<Stage>) -> LocalWriter {
        LocalWriter {
            root: Arc::clone(&self.root),
            durability: self.durability,
            file: Arc::new(file),
            facts: Facts::default(),
            write_back: WriteBack::default(),
            stage,
        }
    }

    /// Facts of a partial: one that nobody is writing to, or that is gone on with in its place.
    pub(super) fn partial_now(&self, target: &VPath, key: &PartialKey) -> Result<Option<Metadata>, VfsError> {
        let (folder, _) = self.root.folder_of(target, OFlags::PATH, Action::List)?;
        match stat::at(&folder, key.file_name().as_bytes()) {
            Ok(facts) => Ok(stat::metadata(&facts).filter(|metadata| metadata.kind == Kind::File)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(refused(errno, Action::List, target)),
        }
    }

    /// Makes a partial a staged file again.
    pub(super) fn resume_now(&self, target: &VPath, key: &PartialKey) -> Result<Option<LocalWriter>, VfsError> {
        let name = reserved::staged_name().ok_or(VfsError::Interrupted)?;
        self.take_up(target, key, |folder, partial| fs::renameat(folder, partial, folder, name.as_str()).map(|()| name))
    }

    /// As [`Local::resume_now`], under the name that it has: the lock alone says that it is in use.
    pub(super) fn go_on_now(&self, target: &VPath, key: &PartialKey) -> Result<Option<LocalWriter>, VfsError> {
        self.take_up(target, key, |_, partial| Ok(partial.to_owned()))
    }

    /// Takes up a partial under the name that `name` gives it.
    fn take_up(
        &self,
        target: &VPath,
        key: &PartialKey,
        name: impl FnOnce(&OwnedFd, &str) -> Result<String, Errno>,
    ) -> Result<Option<LocalWriter>, VfsError> {
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
        let name = name(&folder, &partial).map_err(said)?;
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
    pub(super) fn patch_now(&self, path: &VPath, append: bool) -> Result<LocalWriter, VfsError> {
        let said = |errno| refused(errno, Action::Write, path);
        let end = if append { OFlags::APPEND } else { OFlags::empty() };
        let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::NOCTTY | end;
        let file = self.root.reach(path, flags).map_err(said)?;
        match stat::kind(&stat::of(&file).map_err(said)?) {
            Some(Kind::File) => {}
            Some(Kind::Folder) => return Err(VfsError::IsFolder(path.clone())),
            _ => return Err(VfsError::NotFound(path.clone())),
        }
        Ok(self.writer(file, None))
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

impl Stage {
    fn said(&self, errno: Errno) -> VfsError {
        refused(errno, Action::Write, &self.target)
    }

    fn target_name(&self) -> &[u8] {
        self.target.file_name().unwrap_or_default()
    }

    /// Whether the folder is still the one that the path names.
    fn folder_stays(&self, root: &Root) -> Result<(), VfsError> {
        let parent = self.target.parent().unwrap_or_else(VPath::root);
        let now = root.reach(&parent, OFlags::PATH | OFlags::DIRECTORY).and_then(|folder| stat::of(&folder));
        match now {
            Ok(facts) if stat::id(&facts) == self.folder_id => Ok(()),
            _ => Err(VfsError::NotFound(parent)),
        }
    }

    /// Renames over the target; the bytes of the file that was there.
    fn publish(&mut self, root: &Root, overwrite: Overwrite) -> Result<Option<u64>, VfsError> {
        self.folder_stays(root)?;
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
        Ok(held.map(|(old, facts)| {
            let bytes = stat::bytes(&facts);
            file::close_elsewhere(old, bytes);
            bytes
        }))
    }

    /// Takes over mode, owner and extended attributes of the file that will be replaced.
    fn inherit(&self, file: &OwnedFd) {
        // Where the old file cannot be read its mode and owner stay behind, as they would on any server without the right to.
        let flags = stat::READ | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        if let Ok(old) = fs::openat(&*self.folder, self.target_name(), flags, Mode::empty())
            && stat::of(&old).is_ok_and(|facts| stat::kind(&facts) == Some(Kind::File))
        {
            let _ = stat::inherit(&old, file);
        }
    }

    fn keep(&mut self, file: &OwnedFd, key: &PartialKey, length: u64) -> Option<Kept> {
        let partial = key.file_name();
        fs::ftruncate(file, length).ok()?;
        let _guard = guard(self.folder_id, partial.as_bytes());
        let replaced = entry_of(&self.folder, &partial, key);
        fs::renameat(&*self.folder, self.name.as_deref()?, &*self.folder, partial.as_str()).ok()?;
        self.name = None;
        // Others may hold the file for a moment longer, for its write-back; whoever goes on with it need not wait for that.
        let _ = fs::flock(file, FlockOperation::Unlock);
        Some(Kept { partial: entry_of(&self.folder, &partial, key)?, replaced })
    }

    fn unlink(&mut self, file: &OwnedFd) {
        if let Some(name) = self.name.take() {
            let _ = fs::unlinkat(&*self.folder, name.as_str(), AtFlags::empty());
            // The blocks go with the last descriptor: not here, when they are many.
            if let Ok(facts) = stat::of(file)
                && file::is_large(stat::bytes(&facts))
                && let Ok(hold) = file.try_clone()
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
impl StagedFile for LocalWriter {
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
        file::set_len(&self.file, self.root.pace(), length).await
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
        if let Some(stage) = &self.stage {
            stage.inherit(&self.file);
        }
        stat::apply(&self.file, self.facts).map_err(|errno| match &self.stage {
            Some(stage) => stage.said(errno),
            None => broken(errno, Action::SetFacts),
        })?;
        if self.durability == Durability::Full {
            sync_data(&self.file, self.root.pace()).await?;
        }
        Ok(())
    }

    async fn publish(mut self: Box<Self>, overwrite: Overwrite) -> Result<Published, VfsError> {
        let Some(stage) = &mut self.stage else {
            let metadata = self.metadata()?;
            return Ok(Published { replaced: Some(metadata.size), metadata });
        };
        let replaced = stage.publish(&self.root, overwrite)?;
        let folder = Arc::clone(&stage.folder);
        let metadata = self.metadata()?;
        durable(self.durability, self.root.pace(), vec![folder]).await?;
        Ok(Published { metadata, replaced })
    }

    fn keep(mut self: Box<Self>, key: &PartialKey, length: u64) -> Option<Kept> {
        let file = Arc::clone(&self.file);
        self.stage.as_mut()?.keep(&file, key, length)
    }

    fn discard(self: Box<Self>) {}

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn is_quick(&self) -> bool {
        self.root.pace() != Pace::Slow
    }
}

impl Drop for LocalWriter {
    fn drop(&mut self) {
        if let Some(stage) = &mut self.stage {
            stage.unlink(&self.file);
        }
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
