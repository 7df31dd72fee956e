//! What the kernel said, in the words of this room.

use crate::{Action, VfsError};
use lockgate_model::VPath;
use rustix::io::Errno;
use std::io;

/// Whether it says that there is no room left.
pub(crate) fn no_room(errno: Errno) -> bool {
    matches!(errno, Errno::NOSPC | Errno::DQUOT | Errno::FBIG)
}

/// Translates an error of an operation on `path`. No host path is in it: an [`io::Error`] made of a number has none.
pub(super) fn refused(errno: Errno, action: Action, path: &VPath) -> VfsError {
    let path = path.clone();
    match errno {
        // NXIO: a socket or pipe, for which a file server has no word.
        Errno::NOENT | Errno::NOTDIR | Errno::NXIO => VfsError::NotFound(path),
        Errno::ACCESS | Errno::PERM => VfsError::Forbidden { action, path },
        Errno::EXIST => VfsError::Exists(path),
        Errno::NOTEMPTY => VfsError::NotEmpty(path),
        Errno::ISDIR => VfsError::IsFolder(path),
        Errno::LOOP => VfsError::ThroughLink(path),
        Errno::ROFS => VfsError::ReadOnly(path),
        full if no_room(full) => VfsError::NoSpace,
        Errno::NAMETOOLONG | Errno::ILSEQ => VfsError::BadName,
        Errno::XDEV | Errno::MLINK => VfsError::Impossible { action, path },
        Errno::OPNOTSUPP | Errno::NOSYS => VfsError::Unsupported(action),
        other => VfsError::Backend { action, source: io::Error::from(other) },
    }
}

/// The same where no path is at hand: reading and writing what is open already.
pub(super) fn broken(errno: Errno, action: Action) -> VfsError {
    match errno {
        full if no_room(full) => VfsError::NoSpace,
        Errno::OPNOTSUPP => VfsError::Unsupported(action),
        other => VfsError::Backend { action, source: io::Error::from(other) },
    }
}
