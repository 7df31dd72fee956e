//! prefs.xml on disk: read whole, replaced whole, never found half-written.
//!
//! The server and the command line both write this file, and an administrator has it open in an editor. So a save is a
//! rename of a finished file, it is refused where the file is no longer the one that was read, and the one before stays
//! beside it as `prefs.xml.1`. The replacement belongs to whom the file belonged to: a `prefs set` by root must not lock
//! the server out of its own configuration.
//!
//! Everything here blocks: from a runtime, call it on a thread for that.

use crate::{
    edit::{self, EditError, Edited},
    error::{PrefsError, Refusal, Warning},
    keypath::KeyPath,
    prefs::{Prefs, Reading},
    secret::Sealer,
    tree::{MAX_BYTES, Tree},
};
use std::{
    fs::{self, File, Metadata, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};
use zeroize::Zeroizing;

/// How long a save waits for another one to finish.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// How often a file that changes while it is read is read again.
const READ_TRIES: u32 = 5;

/// A prefs.xml as it was read.
#[derive(Debug)]
pub struct PrefsFile {
    path: PathBuf,
    tree: Tree,
    fingerprint: Fingerprint,
}

/// What `prefs check` found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Why the file is refused; empty where it is not.
    pub errors: Vec<PrefsError>,
    /// What is probably not meant.
    pub warnings: Vec<Warning>,
}

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

/// Why a prefs.xml could not be read, made or replaced. On disk nothing has changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is none.
    #[error("{path} is not there; `lockgate init` makes one")]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be read.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is a folder, a pipe or the like.
    #[error("{path} is not a regular file")]
    NotAFile {
        /// The file.
        path: PathBuf,
    },
    /// It goes on changing while it is read.
    #[error("{path} is being written; try again")]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// Its content is refused.
    #[error("{path}: {refusal}")]
    Refused {
        /// The file.
        path: PathBuf,
        /// Why.
        refusal: Refusal,
    },
    /// A change is refused.
    #[error("{source}")]
    Edit {
        /// Why.
        source: EditError,
    },
    /// One is there already.
    #[error("{path} is there already; nothing was changed")]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// It changed since it was read.
    #[error("{path} was changed by someone else in the meantime; nothing was written, try again")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// It cannot be written.
    #[error("{path} cannot be written: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It belongs to another user, whom the replacement cannot be given to.
    #[error("{path} belongs to user number {owner}: run this as that user or as root")]
    Owner {
        /// The file.
        path: PathBuf,
        /// The number of its owner.
        owner: u32,
    },
}

impl From<EditError> for FileError {
    fn from(source: EditError) -> Self {
        Self::Edit { source }
    }
}

impl Fingerprint {
    /// The state of the file at `path` now; `None` where there is none that can be looked at.
    #[must_use]
    pub fn of(path: &Path) -> Option<Self> {
        fs::metadata(path).ok().map(|facts| Self::from(&facts))
    }
}

impl From<&Metadata> for Fingerprint {
    fn from(facts: &Metadata) -> Self {
        Self {
            device: facts.dev(),
            inode: facts.ino(),
            length: facts.len(),
            modified: (facts.mtime(), facts.mtime_nsec()),
            changed: (facts.ctime(), facts.ctime_nsec()),
        }
    }
}

impl PrefsFile {
    /// Reads the file. Its values are not judged yet: see [`PrefsFile::read`].
    ///
    /// # Errors
    /// [`FileError`] where it cannot be read whole or is no document.
    pub fn load(path: &Path) -> Result<Self, FileError> {
        // A link stays a link: what it leads to is what is read and replaced.
        let path = fs::canonicalize(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => FileError::Missing { path: path.to_owned() },
            _ => FileError::Read { path: path.to_owned(), source },
        })?;
        for _ in 0..READ_TRIES {
            if let Some((bytes, fingerprint)) = read_once(&path)? {
                let tree = Tree::parse(&bytes)
                    .map_err(|error| FileError::Refused { path: path.clone(), refusal: error.into() })?;
                return Ok(Self { path, tree, fingerprint });
            }
        }
        Err(FileError::Busy { path })
    }

    /// Makes a new file, mode 0600. One that is there is left alone.
    ///
    /// # Errors
    /// [`FileError::Exists`], or another where it cannot be written.
    pub fn create(path: &Path, text: &str) -> Result<Self, FileError> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => FileError::Exists { path: path.to_owned() },
            _ => FileError::Write { path: path.to_owned(), source },
        };
        let staged = Staged::write(path, text.as_bytes(), 0o600, None).map_err(failed)?;
        // Unlike a rename, a link does not replace.
        fs::hard_link(&staged.path, path).map_err(failed)?;
        drop(staged);
        sync_folder(path).map_err(failed)?;
        Self::load(path)
    }

    /// Everything that is wrong or odd about the file: `prefs check`.
    ///
    /// # Errors
    /// [`FileError`] where it cannot be read at all. A file that is refused is no error here but what was asked for.
    pub fn check(path: &Path) -> Result<Report, FileError> {
        let (errors, mut warnings) = match Self::load(path).and_then(|file| file.read()) {
            Ok(reading) => (Vec::new(), reading.warnings),
            Err(FileError::Refused { refusal, .. }) => (refusal.errors, refusal.warnings),
            Err(error) => return Err(error),
        };
        if fs::metadata(path).is_ok_and(|facts| is_open(&facts)) {
            let text = "can be read or written by others than its owner, and secrets stand in it: chmod 600";
            warnings.push(Warning { place: None, key: path.display().to_string(), text: text.to_owned() });
        }
        Ok(Report { errors, warnings })
    }

    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The document.
    #[must_use]
    pub const fn tree(&self) -> &Tree {
        &self.tree
    }

    /// The state of the file when it was read or last saved.
    #[must_use]
    pub const fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// Whether the file is another than the one that was read. A file that is gone has changed.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        Fingerprint::of(&self.path) != Some(self.fingerprint)
    }

    /// What the file says.
    ///
    /// # Errors
    /// [`FileError::Refused`] with every mistake in it.
    pub fn read(&self) -> Result<Reading, FileError> {
        Prefs::read(&self.tree).map_err(|refusal| FileError::Refused { path: self.path.clone(), refusal })
    }

    /// Whether others than the owner can read or write the file, in which secrets stand: a reason for a warning. A group
    /// may read it, for a server that runs under another user than the one who configures it.
    #[must_use]
    pub fn is_open_to_others(&self) -> bool {
        fs::metadata(&self.path).is_ok_and(|facts| is_open(&facts))
    }

    /// Sets keys and saves. See [`edit::set_all`].
    ///
    /// # Errors
    /// [`FileError`] where the result would be refused or cannot be written; nothing has changed then.
    pub fn set(&mut self, changes: &[(KeyPath, &str)], sealer: &dyn Sealer) -> Result<Reading, FileError> {
        let edited = edit::set_all(&self.tree, changes, sealer)?;
        self.replace(edited)
    }

    /// Removes a key or an item and saves. See [`edit::unset`].
    ///
    /// # Errors
    /// As [`PrefsFile::set`].
    pub fn unset(&mut self, path: &KeyPath) -> Result<Reading, FileError> {
        let edited = edit::unset(&self.tree, path)?;
        self.replace(edited)
    }

    /// Puts an edited document in the place of the file; the old one becomes `prefs.xml.1`.
    ///
    /// # Errors
    /// As [`PrefsFile::set`].
    pub fn replace(&mut self, edited: Edited) -> Result<Reading, FileError> {
        let failed = |source: io::Error| FileError::Write { path: self.path.clone(), source };
        let text = edited.tree.render();
        let _lock = self.lock()?;
        let facts = fs::metadata(&self.path).map_err(|_| self.changed())?;
        if Fingerprint::from(&facts) != self.fingerprint {
            return Err(self.changed());
        }
        let owner = Some((facts.uid(), facts.gid()));
        let mode = (facts.mode() & 0o640) | 0o600;
        let staged = Staged::write(&self.path, text.as_bytes(), mode, owner).map_err(|source| {
            if source.kind() == io::ErrorKind::PermissionDenied && is_foreign(&facts, &self.path) {
                return FileError::Owner { path: self.path.clone(), owner: facts.uid() };
            }
            failed(source)
        })?;
        let old = beside(&self.path, ".1");
        Staged::write(&old, self.tree.render().as_bytes(), mode, owner)
            .and_then(|copy| copy.rename(&old))
            .map_err(|source| FileError::Write { path: old.clone(), source })?;
        staged.rename(&self.path).map_err(failed)?;
        sync_folder(&self.path).map_err(failed)?;
        self.fingerprint = Fingerprint::of(&self.path).ok_or_else(|| self.changed())?;
        self.tree = edited.tree;
        Ok(edited.reading)
    }

    fn changed(&self) -> FileError {
        FileError::Changed { path: self.path.clone() }
    }

    /// Keeps other writers out between looking at the file and replacing it. The lock is on the folder, because the file
    /// itself is another one afterwards.
    fn lock(&self) -> Result<File, FileError> {
        let failed = |source| FileError::Write { path: self.path.clone(), source };
        let folder = File::open(folder_of(&self.path)).map_err(failed)?;
        let start = Instant::now();
        loop {
            match folder.try_lock() {
                Ok(()) => return Ok(folder),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
                Err(TryLockError::WouldBlock) if start.elapsed() > LOCK_PATIENCE => {
                    return Err(FileError::Busy { path: self.path.clone() });
                }
                Err(TryLockError::WouldBlock) => thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

/// What a file held, and in which state it did.
type Content = (Zeroizing<Vec<u8>>, Fingerprint);

/// Reads the file; `None` where it changed in between.
fn read_once(path: &Path) -> Result<Option<Content>, FileError> {
    let failed = |source| FileError::Read { path: path.to_owned(), source };
    // Opening a pipe would wait for a writer.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(FileError::NotAFile { path: path.to_owned() });
    }
    let file = File::open(path).map_err(failed)?;
    let before = Fingerprint::from(&file.metadata().map_err(failed)?);
    let mut bytes = Zeroizing::new(Vec::new());
    (&file).take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    let after = Fingerprint::from(&file.metadata().map_err(failed)?);
    Ok((before == after && Fingerprint::of(path) == Some(after)).then_some((bytes, after)))
}

/// A finished file under a passing name; removed unless it is renamed.
struct Staged {
    path: PathBuf,
    /// Once it is renamed the name may be someone else's.
    renamed: bool,
}

impl Staged {
    fn write(target: &Path, bytes: &[u8], mode: u32, owner: Option<(u32, u32)>) -> io::Result<Self> {
        let (staged, mut file) = Self::open(target)?;
        if let Some((user, group)) = owner {
            let facts = file.metadata()?;
            if (facts.uid(), facts.gid()) != (user, group) {
                fchown(&file, Some(user), Some(group))?;
            }
        }
        file.set_permissions(fs::Permissions::from_mode(mode))?;
        file.write_all(bytes)?;
        file.sync_all()?;
        Ok(staged)
    }

    /// Two programs may stage at once, and one that was killed may have left its file: the name is tried until it is new.
    fn open(target: &Path) -> io::Result<(Self, File)> {
        let mut attempt = 0_u32;
        loop {
            let path = beside(target, &format!(".{}-{attempt}.new", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => return Ok((Self { path, renamed: false }, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 1_000 => attempt += 1,
                Err(error) => return Err(error),
            }
        }
    }

    fn rename(mut self, target: &Path) -> io::Result<()> {
        fs::rename(&self.path, target)?;
        self.renamed = true;
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.renamed {
            // What could fail here leaves a stray file, and there is nobody to tell.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_open(facts: &Metadata) -> bool {
    facts.mode() & 0o027 != 0
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder_of(path))?.sync_all()
}

/// Whether the file belongs to someone else than those who make files here now.
fn is_foreign(facts: &Metadata, path: &Path) -> bool {
    let probe = Staged::open(path).and_then(|(staged, file)| file.metadata().map(|own| (staged, own)));
    probe.is_ok_and(|(_staged, own)| own.uid() != facts.uid())
}

#[cfg(test)]
mod tests;
