//! Walking whole trees on a blocking thread: counting, sweeping, removing.
//!
//! No recursion, and memory that depends on the depth alone: each level remembers a handful of subfolders and where to go on
//! reading. One folder is open at a time, each opened anew below the top with no link followed, so that a tree that is
//! rearranged meanwhile cannot lead the walk out of it.

use super::{
    Local,
    errno::refused,
    root::{guard, reach_below},
    rows::read_names,
    stat,
};
use crate::{
    Action, Ended, FileId, PartialEntry, Removal, Usage, VfsError,
    reserved::{Litter, is_reserved, litter},
};
use lockgate_model::VPath;
use rustix::{
    fs::{self, AtFlags, FileType, FlockOperation, Mode, OFlags, SeekFrom},
    io::Errno,
};
use std::{
    os::fd::OwnedFd,
    time::{Duration, SystemTime},
};

/// Subfolders remembered at a level before they are walked.
const BATCH: usize = 32;

/// What is done on a walk.
trait Visitor {
    /// A name that is no folder.
    fn name(&mut self, folder: &OwnedFd, name: &[u8]) -> Result<(), Errno>;

    /// Whether to walk a folder.
    fn enter(&mut self, _folder: &OwnedFd, _name: &[u8]) -> bool {
        true
    }

    /// A folder that was walked, given by the one it is in.
    fn leave(&mut self, _folder: &OwnedFd, _name: &[u8]) -> Result<(), Errno> {
        Ok(())
    }

    /// Whether a folder that cannot be opened ends the walk.
    fn skip(&mut self, _errno: Errno) -> bool {
        true
    }
}

struct Level {
    /// Length of the path of the folder.
    length: usize,
    pending: Vec<Vec<u8>>,
    cookie: u64,
    read: bool,
}

impl Level {
    fn new(length: usize) -> Self {
        Self { length, pending: Vec::new(), cookie: 0, read: false }
    }
}

fn walk(top: &OwnedFd, whole_paths: bool, visitor: &mut dyn Visitor) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let open = |path: &[u8]| reach_below(top, if path.is_empty() { b"." } else { path }, flags, whole_paths);
    let mut path: Vec<u8> = Vec::new();
    let mut levels = vec![Level::new(0)];
    while let Some(level) = levels.last_mut() {
        path.truncate(level.length);
        if let Some(name) = level.pending.pop() {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&name);
            levels.push(Level::new(path.len()));
            continue;
        }
        if !level.read {
            match open(&path).and_then(|folder| read_level(&folder, level, visitor)) {
                Ok(()) => {}
                // Gone meanwhile, not ours to read, or deeper than a path can say.
                Err(errno) if levels.len() > 1 && visitor.skip(errno) => {
                    levels.pop();
                }
                Err(errno) => return Err(errno),
            }
            continue;
        }
        levels.pop();
        let at = path.iter().rposition(|byte| *byte == b'/');
        let (folder, name) = match at {
            Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).unwrap_or_default()),
            None => (b"".as_slice(), path.as_slice()),
        };
        if !name.is_empty() {
            visitor.leave(&open(folder)?, name)?;
        }
    }
    Ok(())
}

/// Reads on in a folder until it ends or [`BATCH`] subfolders are there to be walked.
fn read_level(folder: &OwnedFd, level: &mut Level, visitor: &mut dyn Visitor) -> Result<(), Errno> {
    if level.cookie != 0 {
        fs::seek(folder, SeekFrom::Start(level.cookie))?;
    }
    while level.pending.len() < BATCH {
        let names = read_names(folder)?;
        if names.is_empty() {
            level.read = true;
            break;
        }
        for name in names {
            let kind = match name.kind {
                FileType::Unknown => match stat::at(folder, &name.bytes) {
                    Ok(facts) => FileType::from_raw_mode(facts.stx_mode.into()),
                    Err(_) => continue,
                },
                known => known,
            };
            level.cookie = name.cookie;
            if kind != FileType::Directory {
                visitor.name(folder, &name.bytes)?;
            } else if visitor.enter(folder, &name.bytes) {
                level.pending.push(name.bytes);
                if level.pending.len() >= BATCH {
                    break;
                }
            }
        }
    }
    Ok(())
}

struct Count<'a> {
    owner: u64,
    skip: &'a [FileId],
    usage: Usage,
}

impl Visitor for Count<'_> {
    fn name(&mut self, folder: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        let what = litter(name);
        let Ok(facts) = stat::at(folder, name) else { return Ok(()) };
        match what {
            None => self.usage.bytes = self.usage.bytes.saturating_add(stat::bytes(&facts)),
            Some(Litter::Partial(owner)) if owner == self.owner => {
                self.usage.partials.push(PartialEntry { owner, id: stat::id(&facts), bytes: stat::bytes(&facts) });
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn enter(&mut self, folder: &OwnedFd, name: &[u8]) -> bool {
        self.skip.is_empty() || stat::at(folder, name).is_ok_and(|facts| !self.skip.contains(&stat::id(&facts)))
    }
}

/// Looks at no other name, so that a large tree costs little more than reading its folders.
struct Partials {
    owner: u64,
    found: Vec<PartialEntry>,
}

impl Visitor for Partials {
    fn name(&mut self, folder: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        if litter(name) == Some(Litter::Partial(self.owner))
            && let Ok(facts) = stat::at(folder, name)
        {
            let (id, bytes) = (stat::id(&facts), stat::bytes(&facts));
            self.found.push(PartialEntry { owner: self.owner, id, bytes });
        }
        Ok(())
    }
}

struct Sweep {
    keep: Duration,
    removed: Vec<PartialEntry>,
}

impl Visitor for Sweep {
    fn name(&mut self, folder: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        if let Some(what) = litter(name) {
            // What cannot be judged now is judged at the next sweep.
            let _ = self.judge(folder, name, what);
        }
        Ok(())
    }
}

impl Sweep {
    fn judge(&mut self, folder: &OwnedFd, name: &[u8], what: Litter) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(folder, name, flags, Mode::empty())?;
        let locks = match fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) => return Ok(()),
            done => done.is_ok(),
        };
        let facts = stat::of(&file)?;
        let age = SystemTime::now().duration_since(stat::touched(&facts)).unwrap_or_default();
        // Without locks a staged file looks the same with and without its upload; only its age tells.
        if age < self.keep && (!locks || what != Litter::Staged) {
            return Ok(());
        }
        let _guard = guard(stat::id(&stat::of(folder)?), name);
        if stat::id(&stat::at(folder, name)?) != stat::id(&facts) {
            return Ok(());
        }
        fs::unlinkat(folder, name, AtFlags::empty())?;
        if let Litter::Partial(owner) = what {
            self.removed.push(PartialEntry { owner, id: stat::id(&facts), bytes: stat::bytes(&facts) });
        }
        Ok(())
    }
}

#[derive(Default)]
struct Remove {
    bytes: u64,
    partials: Vec<PartialEntry>,
    ended: Ended,
}

impl Visitor for Remove {
    fn name(&mut self, folder: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        if self.ended.is_over() {
            return Err(Errno::CANCELED);
        }
        let facts = match stat::at(folder, name) {
            Err(Errno::NOENT) => return Ok(()),
            facts => facts?,
        };
        match fs::unlinkat(folder, name, AtFlags::empty()) {
            Err(Errno::NOENT) => return Ok(()),
            done => done?,
        }
        match litter(name) {
            None => self.bytes = self.bytes.saturating_add(stat::bytes(&facts)),
            Some(Litter::Partial(owner)) => {
                self.partials.push(PartialEntry { owner, id: stat::id(&facts), bytes: stat::bytes(&facts) });
            }
            // The upload is told at its commit, and gives its own bytes back.
            Some(Litter::Staged) => {}
        }
        Ok(())
    }

    fn leave(&mut self, folder: &OwnedFd, name: &[u8]) -> Result<(), Errno> {
        if self.ended.is_over() {
            return Err(Errno::CANCELED);
        }
        match fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOENT) => Ok(()),
            done => done,
        }
    }

    fn skip(&mut self, errno: Errno) -> bool {
        errno == Errno::NOENT
    }
}

impl Local {
    /// Blocking.
    pub(super) fn usage_now(&self, owner: u64, skip: &[FileId]) -> Result<Usage, VfsError> {
        let said = |errno| refused(errno, Action::List, &VPath::root());
        let top = self.root.reach(&VPath::root(), OFlags::RDONLY | OFlags::DIRECTORY).map_err(said)?;
        let skip: Vec<FileId> = skip.iter().copied().filter(|id| *id != self.root.id()).collect();
        let mut count = Count { owner, skip: &skip, usage: Usage::default() };
        walk(&top, self.root.whole_paths(), &mut count).map_err(said)?;
        Ok(count.usage)
    }

    /// Blocking.
    pub(super) fn partials_now(&self, owner: u64) -> Result<Vec<PartialEntry>, VfsError> {
        let said = |errno| refused(errno, Action::List, &VPath::root());
        let top = self.root.reach(&VPath::root(), OFlags::RDONLY | OFlags::DIRECTORY).map_err(said)?;
        let mut partials = Partials { owner, found: Vec::new() };
        walk(&top, self.root.whole_paths(), &mut partials).map_err(said)?;
        Ok(partials.found)
    }

    /// Blocking.
    pub(super) fn sweep_now(&self, keep: Duration) -> Vec<PartialEntry> {
        let mut sweep = Sweep { keep, removed: Vec::new() };
        let top = self.root.reach(&VPath::root(), OFlags::RDONLY | OFlags::DIRECTORY);
        if let Err(errno) = top.and_then(|top| walk(&top, self.root.whole_paths(), &mut sweep)) {
            tracing::warn!(error = %std::io::Error::from(errno), "a folder of files could not be swept");
        }
        sweep.removed
    }

    /// Blocking.
    pub(super) fn remove_tree_now(&self, path: &VPath, ended: Ended) -> Removal {
        let mut remove = Remove { ended, ..Remove::default() };
        let outcome = self.remove_below(path, &mut remove);
        Removal { bytes: remove.bytes, partials: remove.partials, outcome }
    }

    fn remove_below(&self, path: &VPath, remove: &mut Remove) -> Result<(), VfsError> {
        let said = |errno| match errno {
            Errno::CANCELED => VfsError::Interrupted,
            other => refused(other, Action::Delete, path),
        };
        let (folder, name) = self.root.folder_of(path, OFlags::PATH, Action::Delete)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = reach_below(&folder, name, flags, self.root.whole_paths()).map_err(said)?;
        walk(&top, self.root.whole_paths(), remove).map_err(said)?;
        fs::unlinkat(&folder, name, AtFlags::REMOVEDIR).map_err(said)
    }

    /// Removes a folder that is empty but for what uploads left there. Blocking where there is such.
    pub(super) fn remove_folder_now(&self, path: &VPath) -> Removal {
        let mut remove = Remove::default();
        let outcome = self.remove_empty(path, &mut remove);
        Removal { bytes: remove.bytes, partials: remove.partials, outcome }
    }

    fn remove_empty(&self, path: &VPath, remove: &mut Remove) -> Result<(), VfsError> {
        let (folder, name) = self.root.folder_of(path, OFlags::PATH, Action::Delete)?;
        let said = |errno| match errno {
            Errno::NOTDIR => VfsError::NotFolder(path.clone()),
            other => refused(other, Action::Delete, path),
        };
        match fs::unlinkat(&folder, name, AtFlags::REMOVEDIR) {
            Err(Errno::NOTEMPTY | Errno::EXIST) => {}
            done => return done.map_err(said),
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let inside = reach_below(&folder, name, flags, self.root.whole_paths()).map_err(said)?;
        clear_litter(&inside, remove).map_err(said)?;
        match fs::unlinkat(&folder, name, AtFlags::REMOVEDIR) {
            Err(Errno::EXIST) => Err(VfsError::NotEmpty(path.clone())),
            done => done.map_err(said),
        }
    }
}

/// Removes what uploads left in a folder where there is nothing else; [`Errno::NOTEMPTY`] where there is.
fn clear_litter(folder: &OwnedFd, remove: &mut Remove) -> Result<(), Errno> {
    let mut all = Vec::new();
    loop {
        let names = read_names(folder)?;
        if names.is_empty() {
            break;
        }
        for name in names {
            if !is_reserved(&name.bytes) || name.kind == FileType::Directory {
                return Err(Errno::NOTEMPTY);
            }
            all.push(name.bytes);
        }
    }
    all.iter().try_for_each(|name| remove.name(folder, name))
}
