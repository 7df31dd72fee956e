//! The extensions of OpenSSH that clients count on. Only what is here is announced.

use super::{
    Answer, Engine, MOST_HANDLES, No,
    attrs::Attrs,
    fields::{Fields, Packet},
    files::MOST_READ,
    handles::{Handle, Open, Writer, number},
    kind,
    names::{path_reply, read_path, resolve},
    split::MOST,
    status::{Failure, done},
};
use lockgate_model::VPath;
use lockgate_vfs::{Kind, Overwrite, Space};

/// Name and version of each.
pub(super) const ANNOUNCED: [(&[u8], &[u8]); 11] = [
    (b"posix-rename@openssh.com", b"1"),
    (b"statvfs@openssh.com", b"2"),
    (b"fstatvfs@openssh.com", b"2"),
    (b"hardlink@openssh.com", b"1"),
    (b"fsync@openssh.com", b"1"),
    (b"lsetstat@openssh.com", b"1"),
    (b"limits@openssh.com", b"1"),
    (b"expand-path@openssh.com", b"1"),
    (b"copy-data", b"1"),
    (b"home-directory", b"1"),
    (b"check-file", b"1"),
];

/// What is copied between two looks at the cord.
const COPIED_AT_ONCE: usize = 256 << 10;

impl Engine {
    pub(super) async fn extended(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let mut whole = *fields;
        match fields.string()? {
            b"posix-rename@openssh.com" => {
                let (from, to) = (read_path(fields)?, read_path(fields)?);
                self.vfs.rename(&from, &to, Overwrite::Replace).await?;
                Ok(done(id))
            }
            b"statvfs@openssh.com" => self.room(id, &read_path(fields)?).await,
            b"fstatvfs@openssh.com" => {
                let path = self.handle(fields)?.path.clone();
                self.room(id, &path).await
            }
            b"hardlink@openssh.com" => {
                let (from, to) = (read_path(fields)?, read_path(fields)?);
                self.vfs.hard_link(&from, &to).await?;
                Ok(done(id))
            }
            b"fsync@openssh.com" => self.sync(id, fields).await,
            b"lsetstat@openssh.com" => {
                let path = read_path(fields)?;
                let attrs = Attrs::read(fields)?;
                match self.vfs.lstat(&path).await? {
                    link if link.kind == Kind::Link => self.set_link_attrs(&path, attrs, &link).await?,
                    _ => self.set_attrs(&path, attrs).await?,
                }
                Ok(done(id))
            }
            b"limits@openssh.com" => Ok(limits(id)),
            b"expand-path@openssh.com" => Ok(path_reply(id, &self.expand(fields.string()?)?)),
            b"home-directory" => match fields.string()? {
                name if name.is_empty() || name == self.user.as_str().as_bytes() => Ok(path_reply(id, &VPath::root())),
                _ => Err(Failure::because("only one's own folder is known here").into()),
            },
            b"copy-data" => self.copy_data(id, fields).await,
            b"check-file-handle" | b"check-file" => self.check_in_turn(id, &mut whole).await,
            _ => Err(Failure::unsupported().into()),
        }
    }

    fn handle(&self, fields: &mut Fields<'_>) -> Result<&Handle, No> {
        let number = number(fields.string()?);
        Ok(number.and_then(|number| self.handles.get(number)).ok_or_else(Failure::bad_handle)?)
    }

    async fn room(&self, id: u32, path: &VPath) -> Answer {
        let Space { total, free, block, files, files_free, name_max, .. } = self.vfs.space(path).await?;
        let block = block.max(1);
        Ok(Packet::answer(kind::EXTENDED_REPLY, id)
            .u64(block)
            .u64(block)
            .u64(total / block)
            .u64(free / block)
            .u64(free / block)
            .u64(files)
            .u64(files_free)
            .u64(files_free)
            // No identity of the host's file system, no flags.
            .u64(0)
            .u64(0)
            .u64(name_max)
            .finish())
    }

    async fn sync(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let number = number(fields.string()?).ok_or_else(Failure::bad_handle)?;
        let handle = self.handles.get_mut(number).ok_or_else(Failure::bad_handle)?;
        match &mut handle.open {
            Open::Writer(writer) => {
                if let Some(failure) = &writer.failure {
                    return Err(failure.clone().into());
                }
                let upload = writer.upload.as_mut().ok_or_else(Failure::bad_handle)?;
                if let Err(error) = upload.sync().await {
                    return Err(writer.fail(error).into());
                }
                Ok(done(id))
            }
            Open::Reader(_) => Ok(done(id)),
            Open::Folder(_) => Err(Failure::bad_handle().into()),
        }
    }

    /// `~`, `~/…` and `~NAME` of oneself; anything else as REALPATH.
    fn expand(&self, path: &[u8]) -> Result<VPath, No> {
        let Some(rest) = path.strip_prefix(b"~") else {
            return Ok(resolve(path)?);
        };
        let (name, below) = match rest.iter().position(|byte| *byte == b'/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, &b""[..]),
        };
        if name.is_empty() || name == self.user.as_str().as_bytes() {
            return Ok(resolve(below)?);
        }
        Err(Failure::because("only one's own folder is known here").into())
    }

    async fn copy_data(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let (from, offset, length) = (number(fields.string()?), fields.u64()?, fields.u64()?);
        let (to, at) = (number(fields.string()?), fields.u64()?);
        let (Some(from), Some(to)) = (from, to) else {
            return Err(Failure::bad_handle().into());
        };
        if from == to {
            return Err(Failure::because("a file cannot be copied into itself").into());
        }
        // Out of the table for the time of the copy, so that both can be held.
        let mut target = self.handles.take(to).ok_or_else(Failure::bad_handle)?;
        let result = self.copy_between(from, offset, length, &mut target, at).await;
        self.handles.restore(to, target);
        result?;
        Ok(done(id))
    }

    async fn copy_between(
        &self,
        from: u32,
        offset: u64,
        length: u64,
        target: &mut Handle,
        at: u64,
    ) -> Result<(), Failure> {
        let source = self.handles.get(from).ok_or_else(Failure::bad_handle)?;
        let Open::Writer(writer) = &mut target.open else {
            return Err(Failure::bad_handle());
        };
        if let Some(failure) = &writer.failure {
            return Err(failure.clone());
        }
        let mut at = match &writer.upload {
            Some(upload) if writer.append => upload.len(),
            _ => at,
        };
        let mut offset = offset;
        // By the extension's definition zero means to the end.
        let mut left = if length == 0 { u64::MAX } else { length };
        let mut room = vec![0; COPIED_AT_ONCE];
        while left > 0 && !self.cord.is_cancelled() {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(COPIED_AT_ONCE);
            let part = room.get_mut(..most).unwrap_or_default();
            let read = match &source.open {
                Open::Reader(reader) => reader.read_at(offset, part).await?,
                Open::Writer(Writer { readable: true, upload: Some(upload), .. }) => {
                    upload.read_at(offset, part).await?
                }
                Open::Writer(_) | Open::Folder(_) => return Err(Failure::bad_handle()),
            };
            if read == 0 {
                break;
            }
            writer.write(at, room.get(..read).unwrap_or_default()).await?;
            let read = read as u64;
            (offset, at, left) = (offset.saturating_add(read), at.saturating_add(read), left.saturating_sub(read));
            // A long copy is not to starve the other connections of this thread.
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

fn limits(id: u32) -> Vec<u8> {
    Packet::answer(kind::EXTENDED_REPLY, id)
        .u64(MOST as u64)
        .u64(MOST_READ.into())
        .u64(MOST_READ.into())
        .u64(MOST_HANDLES as u64)
        .finish()
}
