//! What a back-end said, in the words of the tree: one table.
//!
//! `unftp-core` has the reply codes of FTP for errors, in which "not there", "there already" and "is a folder" are one code;
//! the cause, where the back-end kept it, says more and is asked first. No text of a back-end reaches a user: it may name a path
//! of its host, and is for the operator, as the source of [`VfsError::Backend`].

use lockgate_model::VPath;
use lockgate_vfs::{Action, VfsError};
use std::io;
use unftp_core::storage::{Error, ErrorKind};

/// Translates an error of a call for `path`.
pub(crate) fn said(error: Error, action: Action, path: &VPath) -> VfsError {
    if let Some(known) = error.get_io_error().and_then(|cause| of_host(cause.kind(), action, path)) {
        return known;
    }
    let path = path.clone();
    match error.kind() {
        ErrorKind::PermanentFileNotAvailable | ErrorKind::PermanentDirectoryNotAvailable => VfsError::NotFound(path),
        ErrorKind::PermanentDirectoryNotEmpty => VfsError::NotEmpty(path),
        ErrorKind::PermissionDenied => VfsError::Forbidden { action, path },
        ErrorKind::ConnectionClosed => VfsError::Interrupted,
        // Whose quota, and how much of it is used, is not said.
        ErrorKind::InsufficientStorageSpaceError | ErrorKind::ExceededStorageAllocationError => VfsError::NoSpace,
        ErrorKind::FileNameNotAllowedError => VfsError::BadName,
        ErrorKind::CommandNotImplemented => VfsError::Unsupported(action),
        ErrorKind::TransientFileNotAvailable | ErrorKind::LocalError | ErrorKind::PageTypeUnknown => {
            VfsError::Backend { action, source: io::Error::other(error) }
        }
    }
}

/// An error while a stream is read.
pub(crate) fn broken(error: io::Error, path: &VPath) -> VfsError {
    of_host(error.kind(), Action::Read, path).unwrap_or(VfsError::Backend { action: Action::Read, source: error })
}

/// What the back-end did is not what it said.
pub(crate) fn untrue(action: Action, what: &'static str) -> VfsError {
    VfsError::Backend { action, source: io::Error::other(what) }
}

fn of_host(kind: io::ErrorKind, action: Action, path: &VPath) -> Option<VfsError> {
    let path = path.clone();
    Some(match kind {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => VfsError::NotFound(path),
        io::ErrorKind::AlreadyExists => VfsError::Exists(path),
        io::ErrorKind::IsADirectory => VfsError::IsFolder(path),
        io::ErrorKind::DirectoryNotEmpty => VfsError::NotEmpty(path),
        io::ErrorKind::PermissionDenied => VfsError::Forbidden { action, path },
        io::ErrorKind::ReadOnlyFilesystem => VfsError::ReadOnly(path),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => VfsError::NoSpace,
        io::ErrorKind::InvalidFilename => VfsError::BadName,
        io::ErrorKind::CrossesDevices => VfsError::Impossible { action, path },
        io::ErrorKind::Unsupported => VfsError::Unsupported(action),
        _ => return None,
    })
}
