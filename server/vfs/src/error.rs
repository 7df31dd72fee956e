//! Why a file operation did not happen. Doors translate; nobody else does.

use lockgate_model::{ByteSize, VPath};
use std::{fmt, io};

/// What was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Reading bytes.
    Read,
    /// Writing bytes.
    Write,
    /// Listing a folder or looking at facts.
    List,
    /// Removing.
    Delete,
    /// Renaming or moving.
    Rename,
    /// Making a folder.
    MakeFolder,
    /// Changing times or modes.
    SetFacts,
    /// Making a link.
    Link,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::List => "list",
            Self::Delete => "delete",
            Self::Rename => "rename",
            Self::MakeFolder => "make the folder",
            Self::SetFacts => "change the facts of",
            Self::Link => "link",
        })
    }
}

/// Why a file operation did not happen. The text is for the person: what, and what to do; never a path of the host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VfsError {
    /// Nothing has this name.
    #[error("no such file or folder: {0}")]
    NotFound(VPath),
    /// The right is missing, or the name is reserved.
    #[error("not permitted to {action} {path}")]
    Forbidden {
        /// What was tried.
        action: Action,
        /// On what.
        path: VPath,
    },
    /// The mount or the store does not take writes.
    #[error("read-only: {0}")]
    ReadOnly(VPath),
    /// The name is taken.
    #[error("exists already: {0}")]
    Exists(VPath),
    /// A folder that must be empty is not.
    #[error("folder not empty: {0}")]
    NotEmpty(VPath),
    /// A folder where a file is wanted.
    #[error("is a folder: {0}")]
    IsFolder(VPath),
    /// A file where a folder is wanted.
    #[error("is not a folder: {0}")]
    NotFolder(VPath),
    /// Locked by somebody whose token was not shown.
    #[error("locked by another client: {0}")]
    Locked(VPath),
    /// It would take more than the user may have.
    #[error("quota exceeded: {used} of {limit} used")]
    OverQuota {
        /// In use.
        used: ByteSize,
        /// Allowed.
        limit: ByteSize,
    },
    /// The disk is full.
    #[error("no space left on the server")]
    NoSpace,
    /// A committed file and an interrupted upload of the same name exist: to go on would splice two files.
    #[error("an interrupted upload of {0} exists: upload it again from the start, or delete it")]
    PartialExists(VPath),
    /// A resume at a place where the partial does not end.
    #[error("an interrupted upload can go on only where it stopped, at {expected} bytes")]
    WrongOffset {
        /// Where it stopped.
        expected: u64,
    },
    /// A condition of the request does not hold (`If-Match`, a new name that exists by now).
    #[error("{0} was changed meanwhile")]
    Changed(VPath),
    /// A rename or copy across two stores, or of a folder into itself.
    #[error("cannot {action} {path} there")]
    Impossible {
        /// What was tried.
        action: Action,
        /// On what.
        path: VPath,
    },
    /// A symbolic link stands on the way. Only a [`crate::Backend`] says so; [`crate::Vfs`] looks where the link leads and
    /// judges that path.
    #[error("{0} leads through a link")]
    ThroughLink(VPath),
    /// The name cannot be on this store.
    #[error("not a possible name")]
    BadName,
    /// The operation is not known to this store.
    #[error("this store cannot {0}")]
    Unsupported(Action),
    /// The transfer was cut.
    #[error("the transfer was interrupted")]
    Interrupted,
    /// The store failed; the cause is for the operator.
    #[error("storage error")]
    Backend {
        /// What was tried.
        action: Action,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

impl VfsError {
    /// The same error of a store that stands at `mount` in the tree.
    pub(crate) fn below(self, mount: &VPath) -> Self {
        let place = |path: VPath| mount.join(path.as_bytes().get(1..).unwrap_or_default()).unwrap_or(path);
        match self {
            Self::NotFound(path) => Self::NotFound(place(path)),
            Self::Forbidden { action, path } => Self::Forbidden { action, path: place(path) },
            Self::ReadOnly(path) => Self::ReadOnly(place(path)),
            Self::Exists(path) => Self::Exists(place(path)),
            Self::NotEmpty(path) => Self::NotEmpty(place(path)),
            Self::IsFolder(path) => Self::IsFolder(place(path)),
            Self::NotFolder(path) => Self::NotFolder(place(path)),
            Self::Locked(path) => Self::Locked(place(path)),
            Self::PartialExists(path) => Self::PartialExists(place(path)),
            Self::Changed(path) => Self::Changed(place(path)),
            Self::ThroughLink(path) => Self::ThroughLink(place(path)),
            Self::Impossible { action, path } => Self::Impossible { action, path: place(path) },
            other => other,
        }
    }
}
