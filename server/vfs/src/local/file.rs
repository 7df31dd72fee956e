//! Positional reading and writing of local files.
//!
//! What is in the page cache is read and written in the caller's task: a hop to another thread costs more than the copy
//! (measured: uploads over SFTP need twice the CPU with one hop a message). A read that would wait for the disk is noticed
//! (`RWF_NOWAIT`) and handed to a blocking thread, and so is everything on stores that are not disks.

use super::{blocking, errno::broken, root::Pace, stat};
use crate::{Action, Metadata, OpenFile, VfsError};
use rustix::{
    fs::{self, Advice},
    io::{self, Errno, ReadWriteFlags},
};
use std::{
    io::IoSliceMut,
    num::NonZeroU64,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

/// Most bytes of one hop to a blocking thread.
const HOP: usize = 1024 * 1024;
/// Dirty bytes after which write-back begins while the upload goes on, so that the sync at its end finds little to do.
const WRITE_BACK: u64 = 16 * 1024 * 1024;
/// What the kernel reads ahead at a time unless it is told otherwise.
const READ_AHEAD: u64 = 128 * 1024;
/// Files whose blocks may take a while to be freed.
const LARGE: u64 = 64 * 1024 * 1024;

/// A local file open for reading.
pub(super) struct LocalFile {
    pub(super) file: Arc<OwnedFd>,
    pub(super) metadata: Metadata,
    pub(super) pace: Pace,
}

#[async_trait::async_trait]
impl OpenFile for LocalFile {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    fn metadata_now(&self) -> Result<Metadata, VfsError> {
        let facts = stat::of(&*self.file).map_err(|errno| broken(errno, Action::List))?;
        stat::metadata(&facts).ok_or(VfsError::Interrupted)
    }

    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, VfsError> {
        read_at(&self.file, self.pace, offset, buffer, Some(self.metadata.size)).await
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.file.as_fd())
    }

    fn is_ready(&self, offset: u64, length: u64) -> bool {
        match self.pace {
            Pace::Memory => true,
            Pace::PageCache => is_cached(&self.file, offset, length),
            Pace::Slow => false,
        }
    }
}

/// Whether every part of a range is in the page cache, as far as one byte in each stretch of read-ahead tells: what the kernel
/// reads and gives up it reads and gives up in such stretches. Past the end of the file there is nothing to wait for.
fn is_cached(file: &OwnedFd, offset: u64, length: u64) -> bool {
    let last = offset.saturating_add(length.saturating_sub(1));
    let mut place = offset;
    loop {
        match io::preadv2(file, &mut [IoSliceMut::new(&mut [0])], place, ReadWriteFlags::NOWAIT) {
            Ok(0) => return true,
            Ok(_) if place >= last => return true,
            Ok(_) => place = place.saturating_add(READ_AHEAD).min(last),
            Err(_) => return false,
        }
    }
}

/// Fills `buffer` from `offset` as far as the file goes. A short read that ends at or past `size` is taken for the end; any
/// other may be where the cached part ends.
pub(super) async fn read_at(
    file: &Arc<OwnedFd>,
    pace: Pace,
    offset: u64,
    buffer: &mut [u8],
    size: Option<u64>,
) -> Result<usize, VfsError> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let Some(at) = offset.checked_add(filled as u64).filter(|at| i64::try_from(*at).is_ok()) else { break };
        let got = match read_cached(file, pace, at, rest) {
            Ok(got) => got,
            Err(Errno::INTR) => continue,
            Err(Errno::AGAIN) => read_cold(file, at, rest).await?,
            Err(errno) => return Err(broken(errno, Action::Read)),
        };
        let short = got < rest.len();
        filled += got;
        if got == 0 || short && size.is_some_and(|size| at.saturating_add(got as u64) >= size) {
            break;
        }
    }
    Ok(filled)
}

/// Reads what needs no waiting; [`Errno::AGAIN`] where waiting is needed.
fn read_cached(file: &OwnedFd, pace: Pace, at: u64, buffer: &mut [u8]) -> Result<usize, Errno> {
    match pace {
        Pace::Memory => io::pread(file, buffer, at),
        Pace::Slow => Err(Errno::AGAIN),
        Pace::PageCache => match io::preadv2(file, &mut [IoSliceMut::new(buffer)], at, ReadWriteFlags::NOWAIT) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => Err(Errno::AGAIN),
            done => done,
        },
    }
}

async fn read_cold(file: &Arc<OwnedFd>, at: u64, buffer: &mut [u8]) -> Result<usize, VfsError> {
    let (file, wanted) = (Arc::clone(file), buffer.len().min(HOP));
    let bytes = blocking(move || {
        let mut bytes = vec![0; wanted];
        loop {
            match io::pread(&file, bytes.as_mut_slice(), at) {
                Ok(got) => {
                    bytes.truncate(got);
                    return Ok(bytes);
                }
                Err(Errno::INTR) => {}
                Err(errno) => return Err(broken(errno, Action::Read)),
            }
        }
    })
    .await?;
    for (to, from) in buffer.iter_mut().zip(&bytes) {
        *to = *from;
    }
    Ok(bytes.len())
}

/// Writes all of `data` at `offset`.
pub(super) async fn write_at(file: &Arc<OwnedFd>, pace: Pace, offset: u64, data: &[u8]) -> Result<(), VfsError> {
    if pace != Pace::Slow {
        return write_all(file, offset, data);
    }
    for (place, piece) in data.chunks(HOP).enumerate() {
        let (file, piece) = (Arc::clone(file), piece.to_vec());
        let at = offset.saturating_add((place * HOP) as u64);
        blocking(move || write_all(&file, at, &piece)).await?;
    }
    Ok(())
}

fn write_all(file: &OwnedFd, mut offset: u64, mut data: &[u8]) -> Result<(), VfsError> {
    while !data.is_empty() {
        match io::pwrite(file, data, offset) {
            Ok(0) => return Err(VfsError::NoSpace),
            Ok(done) => {
                offset = offset.saturating_add(done as u64);
                data = data.get(done..).unwrap_or_default();
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(broken(errno, Action::Write)),
        }
    }
    Ok(())
}

/// Cuts or extends.
pub(super) async fn set_len(file: &Arc<OwnedFd>, pace: Pace, length: u64) -> Result<(), VfsError> {
    if pace != Pace::Slow {
        return fs::ftruncate(&**file, length).map_err(|errno| broken(errno, Action::Write));
    }
    let file = Arc::clone(file);
    blocking(move || fs::ftruncate(&*file, length).map_err(|errno| broken(errno, Action::Write))).await
}

/// Begins write-back while a file is being written.
#[derive(Default)]
pub(super) struct WriteBack {
    from: u64,
    dirty: u64,
    running: Arc<AtomicBool>,
}

impl WriteBack {
    /// Takes note of a write, and begins write-back of what has gathered; at most one at a time, never waited for.
    pub(super) fn wrote(&mut self, file: &Arc<OwnedFd>, offset: u64, length: u64) {
        if self.dirty == 0 {
            self.from = offset;
        }
        self.from = self.from.min(offset);
        self.dirty = self.dirty.saturating_add(length);
        if self.dirty < WRITE_BACK || self.running.swap(true, Ordering::AcqRel) {
            return;
        }
        let (file, running) = (Arc::clone(file), Arc::clone(&self.running));
        let (from, length) = (self.from, NonZeroU64::new(offset.saturating_add(length).saturating_sub(self.from)));
        self.dirty = 0;
        tokio::task::spawn_blocking(move || {
            // Asks for write-back of the range without waiting for it, which is what is wanted; pages that are dirty or on
            // their way to the disk stay in memory. (`sync_file_range` says the same more plainly, but has no safe wrapper.)
            let _ = fs::fadvise(&*file, from, length, Advice::DontNeed);
            running.store(false, Ordering::Release);
        });
    }
}

/// Closes a descriptor that may be the last hold on a large file, where freeing it does not keep the caller waiting.
pub(super) fn close_elsewhere(file: OwnedFd, bytes: u64) {
    if is_large(bytes)
        && let Ok(runtime) = tokio::runtime::Handle::try_current()
    {
        runtime.spawn_blocking(move || drop(file));
    }
}

/// Whether freeing so many bytes may take a while.
pub(super) fn is_large(bytes: u64) -> bool {
    bytes >= LARGE
}
