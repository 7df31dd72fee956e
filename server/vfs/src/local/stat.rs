//! Facts from and to the kernel.

use crate::{Facts, FileId, Kind, Metadata};
use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, Statx, StatxFlags, StatxTimestamp, Timespec, Timestamps, UTIME_OMIT},
    io::Errno,
};
use std::{
    fmt::Write as _,
    os::fd::{AsFd, AsRawFd as _, OwnedFd},
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// Permission bits that a client may set: no set-id bits.
const SETTABLE: u32 = 0o1777;

/// Facts of what is open.
pub(super) fn of(fd: impl AsFd) -> Result<Statx, Errno> {
    fs::statx(fd, "", AtFlags::EMPTY_PATH, StatxFlags::BASIC_STATS)
}

/// Facts of a single name in an open folder; a link is answered as a link.
pub(super) fn at(folder: impl AsFd, name: &[u8]) -> Result<Statx, Errno> {
    fs::statx(folder, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BASIC_STATS)
}

/// Facts of what a path of the host names now, links followed.
pub(super) fn of_path(path: &Path) -> Result<Statx, Errno> {
    fs::statx(fs::CWD, path, AtFlags::empty(), StatxFlags::BASIC_STATS)
}

pub(super) fn id(facts: &Statx) -> FileId {
    (fs::makedev(facts.stx_dev_major, facts.stx_dev_minor), facts.stx_ino)
}

/// What it is; `None` for what a file server has no word for (devices, pipes, sockets).
pub(super) fn kind(facts: &Statx) -> Option<Kind> {
    match FileType::from_raw_mode(facts.stx_mode.into()) {
        FileType::RegularFile => Some(Kind::File),
        FileType::Directory => Some(Kind::Folder),
        FileType::Symlink => Some(Kind::Link),
        _ => None,
    }
}

/// The bytes that count for a quota.
pub(super) fn bytes(facts: &Statx) -> u64 {
    if kind(facts) == Some(Kind::File) { facts.stx_size } else { 0 }
}

pub(super) fn metadata(facts: &Statx) -> Option<Metadata> {
    let kind = kind(facts)?;
    let mut etag = String::with_capacity(64);
    let nanos = |time: &StatxTimestamp| i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec);
    let _ = write!(
        etag,
        "{:x}-{:x}-{:x}-{:x}",
        facts.stx_ino,
        facts.stx_size,
        nanos(&facts.stx_mtime),
        nanos(&facts.stx_ctime)
    );
    Some(Metadata {
        kind,
        size: if kind == Kind::Folder { 0 } else { facts.stx_size },
        modified: time(&facts.stx_mtime),
        accessed: time(&facts.stx_atime),
        mode: u32::from(facts.stx_mode) & 0o7777,
        uid: facts.stx_uid,
        gid: facts.stx_gid,
        links: facts.stx_nlink.into(),
        unique: id(facts),
        etag,
    })
}

/// When the file or its inode last changed, whichever is later.
pub(super) fn touched(facts: &Statx) -> SystemTime {
    time(&facts.stx_mtime).max(time(&facts.stx_ctime))
}

fn time(stamp: &StatxTimestamp) -> SystemTime {
    let part = Duration::from_nanos(stamp.tv_nsec.into());
    let seconds = Duration::from_secs(stamp.tv_sec.unsigned_abs());
    let whole = if stamp.tv_sec < 0 { UNIX_EPOCH.checked_sub(seconds) } else { UNIX_EPOCH.checked_add(seconds) };
    whole.and_then(|whole| whole.checked_add(part)).unwrap_or(UNIX_EPOCH)
}

/// Sets times and mode of what is open; works with a `PATH` descriptor too, for files that the server may change but not read.
pub(super) fn apply(fd: &OwnedFd, facts: Facts) -> Result<(), Errno> {
    if let Some(mode) = facts.mode {
        let mode = Mode::from_raw_mode(mode & SETTABLE);
        match fs::fchmod(fd, mode) {
            // A PATH descriptor. The link in /proc is the kernel's own and leads to this very inode.
            Err(Errno::BADF) => fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), mode)?,
            done => done?,
        }
    }
    if let Some(times) = times(facts) {
        match fs::futimens(fd, &times) {
            Err(Errno::BADF) => fs::utimensat(fd, "", &times, AtFlags::EMPTY_PATH)?,
            done => done?,
        }
    }
    Ok(())
}

/// Sets the times of a link itself; it has no mode of its own.
pub(super) fn apply_to_link(folder: &OwnedFd, name: &[u8], facts: Facts) -> Result<(), Errno> {
    if facts.mode.is_some() {
        return Err(Errno::OPNOTSUPP);
    }
    match times(facts) {
        Some(times) => fs::utimensat(folder, name, &times, AtFlags::SYMLINK_NOFOLLOW),
        None => Ok(()),
    }
}

/// The times among the facts; `None` where there are none to be set.
fn times(facts: Facts) -> Option<Timestamps> {
    let any = facts.modified.is_some() || facts.accessed.is_some();
    any.then(|| Timestamps { last_access: timespec(facts.accessed), last_modification: timespec(facts.modified) })
}

fn timespec(time: Option<SystemTime>) -> Timespec {
    let Some(time) = time else { return Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT } };
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => Timespec {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: after.subsec_nanos().into(),
        },
        Err(before) => {
            // Seconds count down, the part within the second counts up.
            let before = before.duration();
            let (seconds, nanos) = (i64::try_from(before.as_secs()).unwrap_or(i64::MAX), before.subsec_nanos());
            if nanos == 0 {
                Timespec { tv_sec: -seconds, tv_nsec: 0 }
            } else {
                Timespec { tv_sec: -seconds - 1, tv_nsec: (1_000_000_000 - nanos).into() }
            }
        }
    }
}

/// Gives `to` the owner, mode and extended attributes of `from`, as far as the server may: an upload over a file changes its
/// bytes, not whose it is. Set-id bits and what grants privileges do not come along, as with any write.
pub(super) fn inherit(from: &OwnedFd, to: &OwnedFd) -> Result<(), Errno> {
    let (old, new) = (of(from)?, of(to)?);
    if (old.stx_uid, old.stx_gid) != (new.stx_uid, new.stx_gid) {
        let (user, group) = (fs::Uid::from_raw(old.stx_uid), fs::Gid::from_raw(old.stx_gid));
        if fs::fchown(to, Some(user), Some(group)).is_err() {
            let _ = fs::fchown(to, None, Some(group));
        }
    }
    fs::fchmod(to, Mode::from_raw_mode(u32::from(old.stx_mode) & SETTABLE))?;
    inherit_attributes(from, to);
    Ok(())
}

fn inherit_attributes(from: &OwnedFd, to: &OwnedFd) {
    const MOST: usize = 64 * 1024;
    let mut names = Vec::with_capacity(MOST);
    if fs::flistxattr(from, rustix::buffer::spare_capacity(&mut names)).is_err() {
        return;
    }
    let mut value = Vec::with_capacity(MOST);
    for name in
        names.split(|byte| *byte == 0).filter(|name| name.starts_with(b"user.") || *name == b"system.posix_acl_access")
    {
        value.clear();
        if fs::fgetxattr(from, name, rustix::buffer::spare_capacity(&mut value)).is_ok() {
            // A store that cannot hold one is no reason to lose the upload.
            let _ = fs::fsetxattr(to, name, &value, fs::XattrFlags::empty());
        }
    }
}

/// Flags to open a file of unknown kind without ever waiting for a peer or becoming a terminal's session.
pub(super) const READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY);
