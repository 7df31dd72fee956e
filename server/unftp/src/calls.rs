//! The calls of a back-end without its types: what each room above needs, with paths, facts and errors in the words of the tree.
//!
//! A back-end is asked for paths as libunftp asks: from `/` of what the user entered, with names that a [`VPath`] can hold, so
//! never for `.` or `..` or an empty one. Folders that are listed or removed end in a slash: to a file system that says nothing,
//! and in an object store `a` without it would stand for `ab` too.

use crate::{Model, said::said};
use lockgate_model::VPath;
use lockgate_vfs::{Action, Kind, VfsError};
use std::{
    ffi::OsString,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::io::AsyncRead;
use unftp_core::{
    auth::UserDetail,
    storage::{Fileinfo, Metadata, StorageBackend},
};

/// The bytes of a file from somewhere on.
pub(crate) type Stream = Box<dyn AsyncRead + Send + Sync + Unpin>;

/// The bytes of an upload, as many as it has.
pub(crate) type Spooled = tokio::io::Take<tokio::fs::File>;

/// A name in a folder.
pub(crate) type Row = (Vec<u8>, Seen);

/// What is in a folder.
#[derive(Default)]
pub(crate) struct Inside {
    /// All names that a path can hold, reserved ones too.
    pub(crate) rows: Vec<Row>,
    /// Whether there is more: what no path can hold, or what a file server has no word for.
    pub(crate) more: bool,
}

/// What a back-end says of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) kind: Kind,
    pub(crate) size: u64,
    pub(crate) modified: SystemTime,
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) links: u64,
    /// Where a link leads, if that is said.
    pub(crate) target: Option<Vec<u8>>,
}

impl Seen {
    /// A folder or file of which no more is known.
    pub(crate) fn bare(kind: Kind, size: u64, modified: SystemTime) -> Self {
        let mode = if kind == Kind::Folder { 0o755 } else { 0o644 };
        Self { kind, size, modified, mode, uid: 0, gid: 0, links: 1, target: None }
    }

    /// `None` for what a file server has no word for.
    fn of(facts: &impl Metadata) -> Option<Self> {
        let kind = if facts.is_symlink() {
            Kind::Link
        } else if facts.is_dir() {
            Kind::Folder
        } else if facts.is_file() {
            Kind::File
        } else {
            return None;
        };
        Some(Self {
            kind,
            size: if kind == Kind::File { facts.len() } else { 0 },
            modified: facts.modified().unwrap_or(UNIX_EPOCH),
            // The kind is among them, and the default has a set-id bit.
            mode: facts.permissions().0 & 0o777,
            uid: facts.uid(),
            gid: facts.gid(),
            links: facts.links(),
            target: facts.readlink().map(|target| target.as_os_str().as_bytes().to_vec()),
        })
    }
}

/// A back-end that a user has entered. Nothing but [`Calls::look`] is called for the root.
#[async_trait::async_trait]
pub(crate) trait Calls: Send + Sync {
    async fn look(&self, path: &VPath) -> Result<Seen, VfsError>;

    /// In an object store a folder that is not there is an empty one.
    async fn list(&self, folder: &VPath) -> Result<Inside, VfsError>;

    async fn get(&self, path: &VPath, from: u64) -> Result<Stream, VfsError>;

    /// The bytes that the back-end says it took. Errors speak of `named`: `path` may be a reserved name.
    async fn put(&self, path: &VPath, bytes: Spooled, named: &VPath) -> Result<u64, VfsError>;

    async fn remove_file(&self, path: &VPath) -> Result<(), VfsError>;

    /// The folder is empty: some back-ends remove what is in it too.
    async fn remove_folder(&self, path: &VPath) -> Result<(), VfsError>;

    async fn make_folder(&self, path: &VPath) -> Result<(), VfsError>;

    /// Errors speak of `named`, as with [`Calls::put`].
    async fn rename(&self, from: &VPath, to: &VPath, named: &VPath) -> Result<(), VfsError>;
}

pub(crate) struct Entered<S, U> {
    pub(crate) backend: S,
    pub(crate) user: U,
    pub(crate) model: Model,
}

fn on_store(path: &VPath) -> PathBuf {
    PathBuf::from(OsString::from_vec(path.as_bytes().to_vec()))
}

fn folder_on_store(path: &VPath) -> PathBuf {
    let mut bytes = path.as_bytes().to_vec();
    if !path.is_root() {
        bytes.push(b'/');
    }
    PathBuf::from(OsString::from_vec(bytes))
}

#[async_trait::async_trait]
impl<S, U> Calls for Entered<S, U>
where
    S: StorageBackend<U> + 'static,
    U: UserDetail + 'static,
{
    async fn look(&self, path: &VPath) -> Result<Seen, VfsError> {
        let missing = || VfsError::NotFound(path.clone());
        let seen = match self.backend.metadata(&self.user, on_store(path)).await {
            Ok(facts) => return Seen::of(&facts).ok_or_else(missing),
            Err(error) => said(error, Action::List, path),
        };
        if self.model == Model::Files || !matches!(seen, VfsError::NotFound(_)) {
            return Err(seen);
        }
        // An object store has a folder under a name with a slash, or only because something is in it.
        if let Ok(facts) = self.backend.metadata(&self.user, folder_on_store(path)).await
            && facts.is_dir()
        {
            return Seen::of(&facts).ok_or_else(missing);
        }
        match self.backend.cwd(&self.user, on_store(path)).await {
            Ok(()) => Ok(Seen::bare(Kind::Folder, 0, UNIX_EPOCH)),
            Err(error) => match said(error, Action::List, path) {
                VfsError::NotFound(_) => Err(seen),
                other => Err(other),
            },
        }
    }

    async fn list(&self, folder: &VPath) -> Result<Inside, VfsError> {
        let all = self.backend.list(&self.user, folder_on_store(folder)).await;
        let all = all.map_err(|error| said(error, Action::List, folder))?;
        let mut inside = Inside::default();
        for Fileinfo { path, metadata } in all.into_iter().filter(|row| !is_itself(folder, &row.path)) {
            match name_in(folder, &path).zip(Seen::of(&metadata)) {
                Some(row) => inside.rows.push(row),
                None => inside.more = true,
            }
        }
        Ok(inside)
    }

    async fn get(&self, path: &VPath, from: u64) -> Result<Stream, VfsError> {
        let stream = self.backend.get(&self.user, on_store(path), from).await;
        stream.map_err(|error| said(error, Action::Read, path))
    }

    async fn put(&self, path: &VPath, bytes: Spooled, named: &VPath) -> Result<u64, VfsError> {
        let put = self.backend.put(&self.user, bytes, on_store(path), 0).await;
        put.map_err(|error| said(error, Action::Write, named))
    }

    async fn remove_file(&self, path: &VPath) -> Result<(), VfsError> {
        let removed = self.backend.del(&self.user, on_store(path)).await;
        removed.map_err(|error| said(error, Action::Delete, path))
    }

    async fn remove_folder(&self, path: &VPath) -> Result<(), VfsError> {
        let removed = self.backend.rmd(&self.user, folder_on_store(path)).await;
        removed.map_err(|error| said(error, Action::Delete, path))
    }

    async fn make_folder(&self, path: &VPath) -> Result<(), VfsError> {
        let made = self.backend.mkd(&self.user, on_store(path)).await;
        made.map_err(|error| said(error, Action::MakeFolder, path))
    }

    async fn rename(&self, from: &VPath, to: &VPath, named: &VPath) -> Result<(), VfsError> {
        let renamed = self.backend.rename(&self.user, on_store(from), on_store(to)).await;
        renamed.map_err(|error| match said(error, Action::Rename, named) {
            VfsError::Unsupported(action) => VfsError::Impossible { action, path: named.clone() },
            other => other,
        })
    }
}

/// Whether a listed path is the folder that is listed, as some object stores have it.
fn is_itself(folder: &VPath, listed: &Path) -> bool {
    // A back-end may list bare names or paths from its root: in `/a` the name `a` is a child of its own, `a/` is the folder.
    let bytes = listed.as_os_str().as_bytes();
    bytes.is_empty() || bytes.ends_with(b"/") && VPath::parse(bytes).is_ok_and(|listed| listed == *folder)
}

/// The name of a listed path; `None` for what no path can hold.
fn name_in(folder: &VPath, listed: &Path) -> Option<Vec<u8>> {
    let name = listed.file_name()?.as_bytes();
    folder.child(name).is_ok().then(|| name.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_path_is_a_name_of_its_folder_or_the_folder_itself() {
        let folder = VPath::parse("/a").unwrap();
        let name =
            |listed: &str| name_in(&folder, Path::new(listed)).filter(|_| !is_itself(&folder, Path::new(listed)));
        for itself in ["a/", "/a/", ""] {
            assert!(is_itself(&folder, Path::new(itself)));
        }
        assert!(is_itself(&VPath::root(), Path::new("/")));
        assert_eq!(name("a"), Some(b"a".to_vec()));
        assert_eq!(name("a/a/"), Some(b"a".to_vec()));
        assert_eq!(name("a/b"), Some(b"b".to_vec()));
        assert_eq!((name(".."), name(&"x".repeat(256))), (None, None));
    }
}
