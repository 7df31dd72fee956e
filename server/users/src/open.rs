//! Files of secrets: how one is made, the look at its mode before it is opened, and why it was not opened.
//!
//! A key or a database that others on the host can read is no secret any more; the program says so and stops, instead of
//! quietly mending a mode that somebody may have copied the file under. Nothing here changes the mode of an existing file.

use crate::random;
use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// Why the store or the key could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Group or others may read or write the file.
    #[error("{} is open to group or others (mode {mode:04o}): run chmod 600 on it", path.display())]
    LoosePermissions {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The operating system refused.
    #[error("cannot {action} {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What came back.
        #[source]
        source: io::Error,
    },
    /// The file is not what it should be.
    #[error("{} is no {what}: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What it should have been.
        what: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// The database was written by a later version of the program.
    #[error("{} was made by a newer version of lockgate: use that version, or restore a backup", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// The database engine failed.
    #[error("cannot open the database {}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// What came back.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// No random bytes from the operating system.
    #[error(transparent)]
    Random(#[from] crate::RandomError),
}

/// Refuses a file that group or others may read, write or run.
///
/// # Errors
/// [`OpenError::LoosePermissions`], or [`OpenError::Io`] where the file cannot be looked at.
pub fn refuse_loose_permissions(path: &Path) -> Result<(), OpenError> {
    let facts =
        std::fs::metadata(path).map_err(|source| OpenError::Io { path: path.into(), action: "look at", source })?;
    refuse_loose(path, &facts)
}

/// The same for a file that is open already, so that nobody can swap it between the look and the use.
pub(crate) fn refuse_loose(path: &Path, facts: &Metadata) -> Result<(), OpenError> {
    let mode = facts.mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(OpenError::LoosePermissions { path: path.into(), mode }) }
}

/// Puts the bytes under a name that must be free, mode 0600, whole or not at all, and on disk before this returns.
///
/// They are written and synced under a name beside it, which is then linked: nobody ever sees half a file, and of two that
/// make the same file at once one finds that it exists.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let suffix: String = random::letters::<8>().map_err(io::Error::other)?.iter().collect();
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{suffix}"));
    let beside = Path::new(&beside);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    drop(file);
    let linked = written.and_then(|()| std::fs::hard_link(beside, path));
    std::fs::remove_file(beside)?;
    linked?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
