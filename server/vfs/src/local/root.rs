//! The root of a local store, held as a descriptor, and the only ways to a file below it.
//!
//! Every path goes to the kernel as one string below the root's descriptor with `RESOLVE_BENEATH` and `RESOLVE_NO_SYMLINKS`:
//! what is opened is what was named, and a folder that somebody swaps for a link in between gives an error, not another file.
//! Where links are to be followed, [`Root::resolve`] reads them one by one and yields a path without links, which is judged
//! by the rights and then opened in the same strict way. A kernel without `openat2` gets the same component by component.
//! Nothing here joins a path to the host's name of the root; that name serves only as the store's identity.

use super::{errno::refused, stat};
use crate::{Action, FileId, Kind, LastLink, VfsError};
use lockgate_model::VPath;
use rustix::{
    fs::{self, CWD, Mode, OFlags, ResolveFlags},
    io::Errno,
};
use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Links followed in one path before it counts as a circle (as the kernel does).
const MOST_LINKS: usize = 40;
/// How often a resolution that raced with a rename is tried again.
const MOST_TRIES: usize = 64;
/// Names are guarded in this many groups.
const STRIPES: usize = 64;

static NAMES: [Mutex<()>; STRIPES] = [const { Mutex::new(()) }; STRIPES];

/// How a file system behaves when asked for what is not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// All in memory: never waits.
    Memory,
    /// A disk behind a page cache: writes go to memory, reads say when they would wait.
    PageCache,
    /// Network, FUSE, unknown: everything may wait.
    Slow,
}

/// An open root.
pub(super) struct Root {
    fd: OwnedFd,
    id: FileId,
    counts_links: bool,
    identity: Vec<u8>,
    pace: Pace,
    whole_paths: bool,
}

impl Root {
    /// Opens a folder of the host as a root. Blocking.
    pub(super) fn open(source: &Path) -> io::Result<Self> {
        let fd = fs::openat(CWD, source, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let facts = stat::of(&fd)?;
        // Of the folder that is open now, whatever happens to the name later; `canonicalize` where /proc is missing.
        let host = source.canonicalize()?;
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let whole_paths = fs::openat2(&fd, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), beneath).is_ok();
        if !whole_paths {
            tracing::info!("the kernel or its filter lacks openat2: paths are walked component by component");
        }
        let mut identity = b"local:".to_vec();
        if host.as_os_str().as_bytes() != b"/" {
            identity.extend_from_slice(host.as_os_str().as_bytes());
        }
        let (id, counts_links) = (stat::id(&facts), facts.stx_nlink > 0);
        Ok(Self { pace: pace(&fd), fd, id, counts_links, identity, whole_paths })
    }

    /// Whether `source` still names the folder that is open, and that is still linked anywhere.
    pub(super) fn is_current(&self, source: &Path) -> bool {
        let same = stat::of_path(source).is_ok_and(|now| stat::id(&now) == self.id);
        same && !self.is_gone()
    }

    /// Whether the folder that is open was removed. A file system that never counts links says nothing by it.
    pub(super) fn is_gone(&self) -> bool {
        match stat::of(&self.fd) {
            Ok(own) => self.counts_links && own.stx_nlink == 0,
            Err(errno) => matches!(errno, Errno::STALE | Errno::NOENT),
        }
    }

    pub(super) fn id(&self) -> FileId {
        self.id
    }

    pub(super) fn identity(&self) -> &[u8] {
        &self.identity
    }

    /// Whether the kernel resolves whole paths strictly.
    pub(super) fn whole_paths(&self) -> bool {
        self.whole_paths
    }

    pub(super) fn pace(&self) -> Pace {
        self.pace
    }

    #[cfg(test)]
    pub(super) fn slow_down(&mut self) {
        self.pace = Pace::Slow;
    }

    #[cfg(test)]
    pub(super) fn walk_by_component(&mut self) {
        self.whole_paths = false;
    }

    /// Opens what `path` names. [`Errno::LOOP`] where a link is in the way; a link at the end is opened itself only with
    /// `PATH | NOFOLLOW`.
    pub(super) fn reach(&self, path: &VPath, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC;
        let below = match path.as_bytes() {
            b"/" => b".".as_slice(),
            bytes => bytes.get(1..).unwrap_or_default(),
        };
        reach_below(&self.fd, below, flags, self.whole_paths)
    }

    /// Opens the folder that `path` is in, and gives the name in it. With [`OFlags::RDONLY`] it can be listed and synced.
    pub(super) fn folder_of<'p>(
        &self,
        path: &'p VPath,
        flags: OFlags,
        action: Action,
    ) -> Result<(OwnedFd, &'p [u8]), VfsError> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(VfsError::Forbidden { action, path: path.clone() });
        };
        let folder = self.reach(&parent, flags | OFlags::DIRECTORY).map_err(|errno| match errno {
            Errno::LOOP => VfsError::ThroughLink(path.clone()),
            Errno::NOTDIR => VfsError::NotFolder(parent.clone()),
            other => refused(other, action, &parent),
        })?;
        Ok((folder, name))
    }

    /// As [`crate::Backend::resolve`].
    pub(super) fn resolve(&self, path: &VPath, last: LastLink) -> Result<VPath, VfsError> {
        if self.is_plain(path, last) {
            return Ok(path.clone());
        }
        let forbidden = || VfsError::Forbidden { action: Action::List, path: path.clone() };
        let mut todo: Vec<Vec<u8>> = path.components().map(<[u8]>::to_vec).collect();
        todo.reverse();
        let (mut done, mut links) = (VPath::root(), 0);
        while let Some(part) = todo.pop() {
            match part.as_slice() {
                b"" | b"." => continue,
                b".." => {
                    done = done.parent().ok_or_else(forbidden)?;
                    continue;
                }
                _ => {}
            }
            let here = done.child(&part).map_err(|_| VfsError::BadName)?;
            if todo.is_empty() && last == LastLink::Keep && links == 0 {
                return Ok(here);
            }
            let fd = match self.reach(&here, OFlags::PATH | OFlags::NOFOLLOW) {
                Ok(fd) => fd,
                Err(Errno::NOENT) if todo.is_empty() => return Ok(here),
                // A folder that was none a moment ago: somebody plays with links.
                Err(Errno::LOOP) => return Err(VfsError::NotFound(path.clone())),
                Err(errno) => return Err(refused(errno, Action::List, path)),
            };
            let is_link = stat::of(&fd).is_ok_and(|facts| stat::kind(&facts) == Some(Kind::Link));
            if !is_link || (todo.is_empty() && last == LastLink::Keep) {
                done = here;
                continue;
            }
            links += 1;
            let target = fs::readlinkat(&fd, "", Vec::new()).map_err(|errno| refused(errno, Action::List, path))?;
            if links > MOST_LINKS || target.as_bytes().first() == Some(&b'/') {
                return Err(forbidden());
            }
            todo.extend(target.as_bytes().split(|byte| *byte == b'/').rev().map(<[u8]>::to_vec));
        }
        Ok(done)
    }
}

impl Root {
    /// Whether a path has no links to be resolved: one system call for nearly every path.
    fn is_plain(&self, path: &VPath, last: LastLink) -> bool {
        match last {
            LastLink::Keep => {
                let parent = path.parent().unwrap_or_else(VPath::root);
                self.reach(&parent, OFlags::PATH | OFlags::DIRECTORY).is_ok()
            }
            LastLink::Follow => self
                .reach(path, OFlags::PATH | OFlags::NOFOLLOW)
                .and_then(|fd| stat::of(&fd))
                .is_ok_and(|facts| stat::kind(&facts) != Some(Kind::Link)),
        }
    }
}

/// Opens `path` below `top` with no link followed and nothing above reached.
pub(super) fn reach_below(top: &OwnedFd, path: &[u8], flags: OFlags, whole_paths: bool) -> Result<OwnedFd, Errno> {
    if !whole_paths {
        return reach_by_component(top, path, flags);
    }
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mut last = Errno::AGAIN;
    for _ in 0..MOST_TRIES {
        match fs::openat2(top, path, flags, Mode::empty(), beneath) {
            Err(errno @ (Errno::AGAIN | Errno::INTR)) => last = errno,
            done => return done,
        }
    }
    Err(last)
}

fn reach_by_component(top: &OwnedFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let way = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = fs::openat(top, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let mut parts = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).peekable();
    while let Some(part) = parts.next() {
        if part == b".." {
            return Err(Errno::XDEV);
        }
        let flags = if parts.peek().is_some() { way } else { flags | OFlags::NOFOLLOW };
        at = fs::openat(&at, part, flags, Mode::empty()).map_err(|errno| match errno {
            // With DIRECTORY and NOFOLLOW a link looks like any other thing that is no folder.
            Errno::NOTDIR if is_link(&at, part) => Errno::LOOP,
            other => other,
        })?;
    }
    Ok(at)
}

fn is_link(folder: impl AsFd, name: &[u8]) -> bool {
    stat::at(folder, name).is_ok_and(|facts| stat::kind(&facts) == Some(Kind::Link))
}

/// Guards a name of a folder within the process, so that looking at it and changing it is one step. Held for a few system
/// calls at most, never across an await.
pub(super) fn guard(folder: FileId, name: &[u8]) -> MutexGuard<'static, ()> {
    lock(stripe(folder, name))
}

/// As [`guard`] for two names at once, without a deadlock.
pub(super) fn guard_both(
    one: (FileId, &[u8]),
    two: (FileId, &[u8]),
) -> (MutexGuard<'static, ()>, Option<MutexGuard<'static, ()>>) {
    let (a, b) = (stripe(one.0, one.1), stripe(two.0, two.1));
    if a == b {
        return (lock(a), None);
    }
    (lock(a.min(b)), Some(lock(a.max(b))))
}

fn stripe(folder: FileId, name: &[u8]) -> usize {
    let mut hasher = DefaultHasher::new();
    (folder, name).hash(&mut hasher);
    usize::try_from(hasher.finish() % STRIPES as u64).unwrap_or_default()
}

fn lock(stripe: usize) -> MutexGuard<'static, ()> {
    #[expect(clippy::indexing_slicing, reason = "a number below STRIPES")]
    NAMES[stripe % STRIPES].lock().unwrap_or_else(PoisonError::into_inner)
}

fn pace(fd: &OwnedFd) -> Pace {
    const MEMORY: [u32; 2] = [0x0102_1994, 0x8584_58f6]; // tmpfs, ramfs
    // ext, XFS, btrfs, F2FS, overlayfs, ZFS, bcachefs
    const DISK: [u32; 7] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010, 0x794C_7630, 0x2FC1_2FC1, 0xCA45_1A4E];
    let Ok(system) = fs::fstatfs(fd) else { return Pace::Slow };
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "magic numbers have 32 bits")]
    let magic = system.f_type as u32;
    if MEMORY.contains(&magic) {
        Pace::Memory
    } else if DISK.contains(&magic) {
        Pace::PageCache
    } else {
        Pace::Slow
    }
}
