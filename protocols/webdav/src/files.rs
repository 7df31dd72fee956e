//! The library's file system over the tree, as one request sees it: facts, setting properties, new folders, and the empty file that a
//! lock on a new name makes. Bytes and listings go other ways (`store`, `fetch`, `propfind`), and are refused here.

use crate::{
    locks::{TreeLocks, plain},
    xml::{self, Name},
};
use bytes::{Buf, Bytes};
use dav_server::{
    davpath::DavPath,
    fs::{
        DavDirEntry, DavFile, DavFileSystem, DavMetaData, DavProp, FsError, FsFuture, FsResult, FsStream, OpenOptions,
        ReadDirMeta,
    },
};
use http::StatusCode;
use lockgate_model::VPath;
use lockgate_vfs::{Intent, Kind, Metadata, OnAbort, Vfs, VfsError};
use std::{
    future::{Future, ready},
    io::SeekFrom,
    pin::Pin,
    time::SystemTime,
};

/// The tree of one request.
#[derive(Clone)]
pub(crate) struct Files {
    vfs: Vfs,
    locks: TreeLocks,
}

impl Files {
    pub(crate) fn new(vfs: Vfs, locks: TreeLocks) -> Self {
        Self { vfs, locks }
    }
}

fn at(path: &DavPath) -> FsResult<VPath> {
    plain(path).ok_or(FsError::NotFound)
}

fn refused(error: VfsError) -> FsError {
    match error {
        // A name below a file is a name that is not there.
        VfsError::NotFound(_) | VfsError::NotFolder(_) => FsError::NotFound,
        VfsError::Exists(_) => FsError::Exists,
        VfsError::OverQuota { .. } | VfsError::NoSpace => FsError::InsufficientStorage,
        VfsError::Unsupported(_) => FsError::NotImplemented,
        VfsError::Backend { action, source } => {
            tracing::error!(%action, error = %source, "storage failed");
            FsError::GeneralFailure
        }
        VfsError::Interrupted => FsError::GeneralFailure,
        _ => FsError::Forbidden,
    }
}

impl DavFileSystem for Files {
    fn open<'a>(&'a self, path: &'a DavPath, options: OpenOptions) -> FsFuture<'a, Box<dyn DavFile>> {
        Box::pin(async move {
            // Only a lock on a new name comes here (RFC 4918 section 7.3): an empty file, made under the lock.
            if !options.write {
                return Err(FsError::NotImplemented);
            }
            let vfs = self.vfs.with_tokens(self.locks.tokens());
            let upload = vfs.create(&at(path)?, Intent::CreateNew, OnAbort::Discard).await.map_err(refused)?;
            let committed = upload.commit().await.map_err(refused)?;
            Ok(Box::new(Fresh(committed.metadata)) as Box<dyn DavFile>)
        })
    }

    /// Listings go another way (see `propfind`).
    fn read_dir<'a>(&'a self, _path: &'a DavPath, _meta: ReadDirMeta) -> FsFuture<'a, FsStream<Box<dyn DavDirEntry>>> {
        Box::pin(ready(Err(FsError::NotImplemented)))
    }

    fn metadata<'a>(&'a self, path: &'a DavPath) -> FsFuture<'a, Box<dyn DavMetaData>> {
        Box::pin(async move {
            // An upload that was cut has no resource yet.
            let facts = self.vfs.stat_committed(&at(path)?).await.map_err(refused)?;
            Ok(Box::new(Shown(facts)) as Box<dyn DavMetaData>)
        })
    }

    fn symlink_metadata<'a>(&'a self, path: &'a DavPath) -> FsFuture<'a, Box<dyn DavMetaData>> {
        Box::pin(async move {
            let facts = self.vfs.lstat(&at(path)?).await.map_err(refused)?;
            Ok(Box::new(Shown(facts)) as Box<dyn DavMetaData>)
        })
    }

    fn create_dir<'a>(&'a self, path: &'a DavPath) -> FsFuture<'a, ()> {
        Box::pin(async move { self.vfs.make_folder(&at(path)?).await.map_err(refused) })
    }

    fn have_props<'a>(&'a self, _path: &'a DavPath) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(ready(true))
    }

    fn patch_props<'a>(
        &'a self,
        path: &'a DavPath,
        patch: Vec<(bool, DavProp)>,
    ) -> FsFuture<'a, Vec<(StatusCode, DavProp)>> {
        Box::pin(async move {
            let path = at(path)?;
            let changes: Vec<(String, Option<Vec<u8>>)> =
                patch.iter().map(|(set, prop)| (key(prop), prop.xml.clone().filter(|_| *set))).collect();
            // What could not be shown again is not kept.
            let shows = changes.iter().all(|(_, value)| value.as_ref().is_none_or(|value| xml::embed(value).is_some()));
            let done = if shows { self.vfs.set_properties(&path, &changes).await } else { Err(VfsError::NoSpace) };
            let status = match done {
                Ok(()) => StatusCode::OK,
                Err(VfsError::NoSpace | VfsError::OverQuota { .. }) => StatusCode::INSUFFICIENT_STORAGE,
                Err(VfsError::Locked(_)) => StatusCode::LOCKED,
                Err(VfsError::Unsupported(_) | VfsError::Forbidden { .. } | VfsError::ReadOnly(_)) => {
                    StatusCode::FORBIDDEN
                }
                Err(error) => return Err(refused(error)),
            };
            Ok(patch.into_iter().map(|(_, prop)| (status, DavProp { xml: None, ..prop })).collect())
        })
    }
}

fn key(prop: &DavProp) -> String {
    Name::new(prop.namespace.as_deref().unwrap_or_default(), &prop.name).key()
}

#[derive(Clone, Debug)]
struct Shown(Metadata);

impl DavMetaData for Shown {
    fn len(&self) -> u64 {
        self.0.size
    }

    fn modified(&self) -> FsResult<SystemTime> {
        Ok(self.0.modified)
    }

    fn is_dir(&self) -> bool {
        self.0.kind == Kind::Folder
    }

    fn is_symlink(&self) -> bool {
        self.0.kind == Kind::Link
    }

    fn etag(&self) -> Option<String> {
        (self.0.kind == Kind::File).then(|| self.0.etag.clone())
    }

    fn accessed(&self) -> FsResult<SystemTime> {
        Ok(self.0.accessed)
    }

    /// Not kept by every store; the time of the bytes is the nearest that is always there.
    fn created(&self) -> FsResult<SystemTime> {
        Ok(self.0.modified)
    }

    fn executable(&self) -> FsResult<bool> {
        if self.0.kind == Kind::File { Ok(self.0.mode & 0o100 != 0) } else { Err(FsError::NotImplemented) }
    }
}

/// The empty file of a fresh lock.
#[derive(Debug)]
struct Fresh(Metadata);

impl DavFile for Fresh {
    fn metadata(&mut self) -> FsFuture<'_, Box<dyn DavMetaData>> {
        let facts = self.0.clone();
        Box::pin(async move { Ok(Box::new(Shown(facts)) as Box<dyn DavMetaData>) })
    }

    fn write_buf(&mut self, _buf: Box<dyn Buf + Send>) -> FsFuture<'_, ()> {
        Box::pin(ready(Err(FsError::NotImplemented)))
    }

    fn write_bytes(&mut self, _buf: Bytes) -> FsFuture<'_, ()> {
        Box::pin(ready(Err(FsError::NotImplemented)))
    }

    fn read_bytes(&mut self, _count: usize) -> FsFuture<'_, Bytes> {
        Box::pin(ready(Err(FsError::NotImplemented)))
    }

    fn seek(&mut self, _pos: SeekFrom) -> FsFuture<'_, u64> {
        Box::pin(ready(Err(FsError::NotImplemented)))
    }

    fn flush(&mut self) -> FsFuture<'_, ()> {
        Box::pin(ready(Ok(())))
    }
}
