//! Looking at and changing single names: a few system calls each, in the caller's task.

use super::{
    Local,
    errno::refused,
    file::{self, LocalFile},
    root::{guard, guard_both},
    rows::LocalRows,
    staged::{hold, rename_to_new},
    stat,
};
use crate::{Action, Facts, Kind, Metadata, Overwrite, Space, VfsError};
use lockgate_model::VPath;
use rustix::{
    fs::{self, AtFlags, Mode, OFlags, XattrFlags},
    io::Errno,
};
use std::{os::fd::OwnedFd, sync::Arc};

/// The extended attribute that keeps opaque properties.
const PROPERTIES: &str = "user.lockgate.properties";
/// The kernel's own limit of an attribute.
const MOST_PROPERTIES: usize = 64 * 1024;

impl Local {
    pub(super) fn metadata_now(&self, path: &VPath) -> Result<Metadata, VfsError> {
        let said = |errno| refused(errno, Action::List, path);
        let fd = self.root.reach(path, OFlags::PATH | OFlags::NOFOLLOW).map_err(said)?;
        stat::metadata(&stat::of(&fd).map_err(said)?).ok_or_else(|| VfsError::NotFound(path.clone()))
    }

    pub(super) fn open_now(&self, path: &VPath) -> Result<LocalFile, VfsError> {
        let said = |errno| refused(errno, Action::Read, path);
        let fd = self.root.reach(path, stat::READ).map_err(said)?;
        let metadata = stat::metadata(&stat::of(&fd).map_err(said)?);
        match metadata {
            Some(metadata) if metadata.kind == Kind::File => {
                Ok(LocalFile { file: Arc::new(fd), metadata, pace: self.root.pace() })
            }
            Some(metadata) if metadata.kind == Kind::Folder => Err(VfsError::IsFolder(path.clone())),
            _ => Err(VfsError::NotFound(path.clone())),
        }
    }

    pub(super) fn list_now(&self, path: &VPath) -> Result<LocalRows, VfsError> {
        match self.root.reach(path, OFlags::RDONLY | OFlags::DIRECTORY) {
            Ok(folder) => Ok(LocalRows::new(folder, path.clone())),
            Err(Errno::NOTDIR) => {
                // Either the name itself is no folder, or one on the way.
                self.metadata_now(path)?;
                Err(VfsError::NotFolder(path.clone()))
            }
            Err(errno) => Err(refused(errno, Action::List, path)),
        }
    }

    /// The folder it is in, to be synced.
    pub(super) fn make_folder_now(&self, path: &VPath) -> Result<OwnedFd, VfsError> {
        if path.is_root() {
            return Err(VfsError::Exists(path.clone()));
        }
        let (folder, name) = self.root.folder_of(path, OFlags::RDONLY, Action::MakeFolder)?;
        fs::mkdirat(&folder, name, Mode::from_raw_mode(0o777))
            .map_err(|errno| refused(errno, Action::MakeFolder, path))?;
        Ok(folder)
    }

    pub(super) fn remove_file_now(&self, path: &VPath) -> Result<u64, VfsError> {
        let said = |errno| refused(errno, Action::Delete, path);
        let (folder, name) = self.root.folder_of(path, OFlags::PATH, Action::Delete)?;
        let guard = guard(stat::id(&stat::of(&folder).map_err(said)?), name);
        let (held, facts) = hold(&folder, name).map_err(said)?.ok_or_else(|| VfsError::NotFound(path.clone()))?;
        match stat::kind(&facts) {
            Some(Kind::Folder) => return Err(VfsError::IsFolder(path.clone())),
            None => return Err(VfsError::NotFound(path.clone())),
            Some(_) => {}
        }
        fs::unlinkat(&folder, name, AtFlags::empty()).map_err(said)?;
        drop(guard);
        // Looked at again: a writer in place who cut it before the name went has given those bytes back already.
        let bytes = stat::of(&held).map_or(0, |facts| stat::bytes(&facts));
        file::close_elsewhere(held, bytes);
        Ok(bytes)
    }

    /// The bytes of a replaced file, and the folders to be synced.
    pub(super) fn rename_now(
        &self,
        from: &VPath,
        to: &VPath,
        overwrite: Overwrite,
    ) -> Result<(Option<u64>, Vec<Arc<OwnedFd>>), VfsError> {
        let said = |errno| match errno {
            // A folder into itself.
            Errno::INVAL => VfsError::Impossible { action: Action::Rename, path: from.clone() },
            Errno::EXIST | Errno::NOTEMPTY => VfsError::NotEmpty(to.clone()),
            Errno::NOTDIR => VfsError::NotFolder(to.clone()),
            Errno::ISDIR => VfsError::IsFolder(to.clone()),
            Errno::NOENT => VfsError::NotFound(from.clone()),
            other => refused(other, Action::Rename, from),
        };
        let (old_folder, old) = self.root.folder_of(from, OFlags::RDONLY, Action::Rename)?;
        let (new_folder, new) = self.root.folder_of(to, OFlags::RDONLY, Action::Rename)?;
        let old_id = stat::id(&stat::of(&old_folder).map_err(said)?);
        let new_id = stat::id(&stat::of(&new_folder).map_err(said)?);
        let guards = guard_both((old_id, old), (new_id, new));
        let source = stat::at(&old_folder, old).map_err(said)?;
        let target = hold(&new_folder, new).map_err(said)?;
        if stat::kind(&source).is_none() {
            return Err(VfsError::NotFound(from.clone()));
        }
        if target.as_ref().is_some_and(|(_, facts)| overwrite == Overwrite::Refuse || stat::kind(facts).is_none()) {
            return Err(VfsError::Exists(to.clone()));
        }
        match overwrite {
            Overwrite::Replace => fs::renameat(&old_folder, old, &new_folder, new).map_err(said)?,
            Overwrite::Refuse => rename_to_new(&old_folder, old, &new_folder, new).map_err(|errno| match errno {
                Errno::EXIST => VfsError::Exists(to.clone()),
                other => said(other),
            })?,
        }
        drop(guards);
        // Two names of one file: the kernel leaves both.
        let replaced = target.filter(|(_, facts)| stat::id(facts) != stat::id(&source)).map(|(held, facts)| {
            let bytes = stat::bytes(&facts);
            file::close_elsewhere(held, bytes);
            bytes
        });
        let mut folders = vec![Arc::new(new_folder)];
        if old_id != new_id {
            folders.push(Arc::new(old_folder));
        }
        Ok((replaced, folders))
    }

    pub(super) fn set_facts_now(&self, path: &VPath, facts: Facts) -> Result<(), VfsError> {
        let said = |errno| refused(errno, Action::SetFacts, path);
        let fd = match self.root.reach(path, stat::READ) {
            Err(Errno::ACCESS) => self.root.reach(path, OFlags::PATH),
            fd => fd,
        }
        .map_err(said)?;
        match stat::kind(&stat::of(&fd).map_err(said)?) {
            Some(Kind::File | Kind::Folder) => stat::apply(&fd, facts).map_err(said),
            _ => Err(VfsError::NotFound(path.clone())),
        }
    }

    pub(super) fn set_link_facts_now(&self, path: &VPath, facts: Facts) -> Result<(), VfsError> {
        let (folder, name) = self.root.folder_of(path, OFlags::PATH, Action::SetFacts)?;
        let said = |errno| refused(errno, Action::SetFacts, path);
        match stat::kind(&stat::at(&folder, name).map_err(said)?) {
            Some(Kind::Link) => stat::apply_to_link(&folder, name, facts).map_err(said),
            _ => Err(VfsError::NotFound(path.clone())),
        }
    }

    pub(super) fn read_link_now(&self, path: &VPath) -> Result<Vec<u8>, VfsError> {
        let said = |errno| refused(errno, Action::Link, path);
        let fd = self.root.reach(path, OFlags::PATH | OFlags::NOFOLLOW).map_err(said)?;
        match stat::kind(&stat::of(&fd).map_err(said)?) {
            Some(Kind::Link) => Ok(fs::readlinkat(&fd, "", Vec::new()).map_err(said)?.into_bytes()),
            Some(_) => Err(VfsError::Unsupported(Action::Link)),
            None => Err(VfsError::NotFound(path.clone())),
        }
    }

    pub(super) fn symlink_now(&self, target: &[u8], path: &VPath) -> Result<(), VfsError> {
        let (folder, name) = self.root.folder_of(path, OFlags::PATH, Action::Link)?;
        fs::symlinkat(target, &folder, name).map_err(|errno| refused(errno, Action::Link, path))
    }

    pub(super) fn hard_link_now(&self, from: &VPath, to: &VPath) -> Result<u64, VfsError> {
        let said = |errno| match errno {
            Errno::EXIST => VfsError::Exists(to.clone()),
            other => refused(other, Action::Link, from),
        };
        let (old_folder, old) = self.root.folder_of(from, OFlags::PATH, Action::Link)?;
        let (new_folder, new) = self.root.folder_of(to, OFlags::PATH, Action::Link)?;
        let source = stat::at(&old_folder, old).map_err(said)?;
        match stat::kind(&source) {
            Some(Kind::File) => {}
            Some(Kind::Folder) => return Err(VfsError::IsFolder(from.clone())),
            _ => return Err(VfsError::Unsupported(Action::Link)),
        }
        fs::linkat(&old_folder, old, &new_folder, new, AtFlags::empty()).map_err(said)?;
        let made = stat::at(&new_folder, new).map_err(said)?;
        if stat::id(&made) != stat::id(&source) {
            // The name was swapped in between; what it stands for now was not judged.
            let _ = fs::unlinkat(&new_folder, new, AtFlags::empty());
            return Err(VfsError::NotFound(from.clone()));
        }
        Ok(stat::bytes(&made))
    }

    pub(super) fn space_now(&self, path: &VPath) -> Result<Space, VfsError> {
        let said = |errno| refused(errno, Action::List, path);
        let fd = self.root.reach(path, OFlags::PATH).map_err(said)?;
        let room = fs::fstatvfs(&fd).map_err(said)?;
        let block = room.f_frsize.max(1);
        Ok(Space {
            total: room.f_blocks.saturating_mul(block),
            free: room.f_bavail.saturating_mul(block),
            used: room.f_blocks.saturating_sub(room.f_bfree).saturating_mul(block),
            block,
            files: room.f_files,
            files_free: room.f_favail,
            name_max: room.f_namemax,
        })
    }

    pub(super) fn properties_now(&self, path: &VPath) -> Result<Vec<u8>, VfsError> {
        let said = |errno| refused(errno, Action::List, path);
        let fd = self.root.reach(path, stat::READ).map_err(said)?;
        let mut value = Vec::with_capacity(MOST_PROPERTIES);
        match fs::fgetxattr(&fd, PROPERTIES, rustix::buffer::spare_capacity(&mut value)) {
            Ok(_) => Ok(value),
            Err(Errno::NODATA) => Ok(Vec::new()),
            Err(errno) => Err(said(errno)),
        }
    }

    pub(super) fn set_properties_now(&self, path: &VPath, value: &[u8]) -> Result<(), VfsError> {
        let said = |errno| match errno {
            Errno::TOOBIG | Errno::RANGE => VfsError::NoSpace,
            other => refused(other, Action::SetFacts, path),
        };
        let fd = self.root.reach(path, stat::READ).map_err(said)?;
        if !value.is_empty() {
            return fs::fsetxattr(&fd, PROPERTIES, value, XattrFlags::empty()).map_err(said);
        }
        match fs::fremovexattr(&fd, PROPERTIES) {
            Err(Errno::NODATA) => Ok(()),
            done => done.map_err(said),
        }
    }
}
