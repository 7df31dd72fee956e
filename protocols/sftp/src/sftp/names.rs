//! Requests about names: facts, renames, links, folders.

use super::{
    Answer, Engine, No,
    attrs::Attrs,
    fields::{Fields, Packet},
    files::no_owner,
    kind,
    status::{Failure, done},
};
use lockgate_model::{PathError, VPath};
use lockgate_vfs::{Facts, Intent, Metadata, OnAbort, Overwrite, VfsError};

/// A path as the client writes it: what is not absolute begins at the root, where every session begins.
pub(super) fn read_path(fields: &mut Fields<'_>) -> Result<VPath, No> {
    Ok(VPath::parse(fields.string()?)?)
}

impl Engine {
    pub(super) async fn stat(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let metadata = self.vfs.stat(&read_path(fields)?).await?;
        Ok(Packet::answer(kind::ATTRS, id).attrs(&metadata).finish())
    }

    pub(super) async fn lstat(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let metadata = self.vfs.lstat(&read_path(fields)?).await?;
        Ok(Packet::answer(kind::ATTRS, id).attrs(&metadata).finish())
    }

    pub(super) async fn setstat(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let path = read_path(fields)?;
        self.set_attrs(&path, Attrs::read(fields)?).await?;
        Ok(done(id))
    }

    /// Sets what the client sent; a length too, which is a small upload in place, or one's own that is under way.
    pub(super) async fn set_attrs(&mut self, path: &VPath, attrs: Attrs) -> Result<(), No> {
        if let Some(owner) = attrs.owner {
            let now = self.vfs.stat(path).await?;
            if (now.uid, now.gid) != owner {
                return Err(no_owner().into());
            }
        }
        match attrs.size {
            None => {}
            Some(length) => match self.handles.writer_of(path) {
                Some(writer) => writer.set_len(length).await?,
                // Another channel's: what is under the name now is not what the client means.
                None if self.vfs.is_uploading(path) => {
                    return Err(
                        Failure::because("the file is being uploaded: set its length by the open handle").into()
                    );
                }
                None => {
                    let intent = Intent::Patch { offset: None, append: false };
                    let mut upload = self.vfs.create(path, intent, OnAbort::Keep).await?;
                    upload.set_len(length).await?;
                    upload.commit().await?;
                }
            },
        }
        if attrs.facts() != Facts::default() {
            self.vfs.set_facts(path, attrs.facts()).await?;
        }
        Ok(())
    }

    /// Sets what a link has of its own: its times.
    pub(super) async fn set_link_attrs(&self, path: &VPath, attrs: Attrs, link: &Metadata) -> Result<(), No> {
        if attrs.owner.is_some_and(|owner| owner != (link.uid, link.gid)) {
            return Err(no_owner().into());
        }
        if attrs.size.is_some() || attrs.mode.is_some() {
            return Err(Failure::unsupported().into());
        }
        self.vfs.set_link_facts(path, attrs.facts()).await?;
        Ok(())
    }

    pub(super) async fn remove(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        self.vfs.remove_file(&read_path(fields)?).await?;
        Ok(done(id))
    }

    /// The mode that clients send along only takes away: most send 0777 and mean nothing by it, but 0700 is meant.
    pub(super) async fn make_folder(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let path = read_path(fields)?;
        let attrs = Attrs::read(fields)?;
        self.vfs.make_folder(&path).await?;
        if let Some(asked) = attrs.mode
            && let Ok(made) = self.vfs.lstat(&path).await
            && made.mode & 0o777 & !asked != 0
        {
            let facts = Facts { mode: Some(made.mode & (asked | !0o777)), ..Facts::default() };
            match self.vfs.set_facts(&path, facts).await {
                // Who may make folders and not change them gets what everybody gets.
                Ok(()) | Err(VfsError::Forbidden { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done(id))
    }

    pub(super) async fn remove_folder(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        self.vfs.remove_folder(&read_path(fields)?).await?;
        Ok(done(id))
    }

    /// Version 3 does not replace the target; `posix-rename@openssh.com` does.
    pub(super) async fn rename(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let (from, to) = (read_path(fields)?, read_path(fields)?);
        self.vfs.rename(&from, &to, Overwrite::Refuse).await?;
        Ok(done(id))
    }

    pub(super) fn real_path(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        Ok(path_reply(id, &resolve(fields.string()?)?))
    }

    pub(super) async fn read_link(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let target = self.vfs.read_link(&read_path(fields)?).await.map_err(|error| match error {
            VfsError::Unsupported(_) => Failure::because("this is no link"),
            error => error.into(),
        })?;
        Ok(Packet::answer(kind::NAME, id).u32(1).string(&target).string(&target).no_attrs().finish())
    }

    /// The draft says link, then target; OpenSSH has always said target, then link, and so does everybody since.
    pub(super) async fn symlink(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let target = fields.string()?;
        let path = read_path(fields)?;
        if target.is_empty() || target.len() > VPath::MAX_BYTES || target.contains(&0) {
            return Err(Failure::because("this is no target for a link").into());
        }
        self.vfs.symlink(target, &path).await?;
        Ok(done(id))
    }
}

/// Resolves a path without looking at the disk. Going up from the root stays there, as on any host, so that `cd ..` is
/// harmless; a path that then goes down again is no path.
pub(super) fn resolve(path: &[u8]) -> Result<VPath, PathError> {
    match VPath::parse(path) {
        Err(PathError::Above) if path.iter().all(|byte| matches!(byte, b'.' | b'/')) => Ok(VPath::root()),
        other => other,
    }
}

/// A NAME reply with one path and nothing else.
pub(super) fn path_reply(id: u32, path: &VPath) -> Vec<u8> {
    Packet::answer(kind::NAME, id).u32(1).string(path.as_bytes()).string(path.as_bytes()).no_attrs().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn going_up_from_the_root_stays_there_and_reaches_nothing_else() {
        assert_eq!(resolve(b"").unwrap(), VPath::root());
        assert_eq!(resolve(b"/..").unwrap(), VPath::root());
        assert_eq!(resolve(b"../../.").unwrap(), VPath::root());
        assert_eq!(resolve(b"/a/../b").unwrap().as_bytes(), b"/b");
        assert_eq!(resolve(b"/../etc").unwrap_err(), PathError::Above);
    }
}
