//! Requests about open files and folders: open, read, write, list, close.
//!
//! CLOSE is the client's proof that an upload is whole, and the only one: it commits, and its answer is the truth about
//! that. Whatever ends a handle otherwise aborts the upload.

use super::{
    Answer, Engine, Fault, LaterWrite, MOST_WAITING_BYTES, Waiting,
    attrs::{Attrs, merge},
    fields::{Fields, Packet},
    handles::{Folder, Handle, Handles, Open, Writer, number},
    kind,
    long_name::long_name,
    names::read_path,
    status::{Code, Failure, done, status},
};
use lockgate_model::VPath;
use lockgate_vfs::{Entry, Facts, Intent, OnAbort, VfsError};
use std::{sync::Arc, time::SystemTime};

/// Flags of OPEN.
mod flag {
    pub(super) const WRITE: u32 = 2;
    pub(super) const READ: u32 = 1;
    pub(super) const APPEND: u32 = 4;
    pub(super) const CREATE: u32 = 8;
    pub(super) const TRUNCATE: u32 = 16;
    pub(super) const EXCLUSIVE: u32 = 32;
}

/// The longest answer to one READ, as `limits@openssh.com` announces it: a packet of 256 KiB less its heads.
pub(super) const MOST_READ: u32 = 255 << 10;
/// Length, type, id and length of the data: what stands before the bytes of a DATA reply.
const DATA_HEAD: usize = 13;
/// Read at once past the end that a file had when it was opened: it may have grown.
const TAIL: u64 = 32 << 10;
/// Rows of one answer to READDIR.
const ROWS: usize = 128;
/// What a new file's mode never has unless it is set by name afterwards: what `umask 022` takes away.
const MASKED: u32 = 0o022;

/// The WRITE whose payload is arriving.
pub(super) enum Writing {
    /// None.
    Nothing,
    /// Into an upload, from here on.
    Upload { id: u32, handle: u32, at: u64 },
    /// It waits for reads of the same handle.
    Later(Box<LaterWrite>),
    /// Nowhere: the answer is known.
    Refused { id: u32, failure: Failure },
}

impl Engine {
    pub(super) async fn open(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let path = read_path(fields)?;
        let flags = fields.u32()?;
        let attrs = Attrs::read(fields)?;
        let place = self.place()?;
        let open = if flags & flag::WRITE == 0 {
            Open::Reader(Arc::new(self.vfs.open(&path).await?))
        } else {
            Open::Writer(self.open_writer(&path, flags, attrs).await?)
        };
        let handle = self.handles.put(place, open, path);
        Ok(Packet::answer(kind::HANDLE, id).string(&handle).finish())
    }

    async fn open_writer(&self, path: &VPath, flags: u32, attrs: Attrs) -> Result<Writer, VfsError> {
        let has = |flag: u32| flags & flag != 0;
        let begin = async |intent| self.vfs.create(path, intent, OnAbort::Keep).await;
        let (mut upload, exists) = if has(flag::CREATE) && has(flag::EXCLUSIVE) {
            (begin(Intent::CreateNew).await?, false)
        } else if has(flag::TRUNCATE) {
            let before = self.vfs.stat(path).await;
            let exists = before.is_ok();
            if !has(flag::CREATE) {
                before?;
            }
            (begin(Intent::Create).await?, exists)
        } else {
            // The store says what is there, and not STAT: who may not look may still write, and must not replace by it.
            let upload = match begin(Intent::Patch { offset: None, append: has(flag::APPEND) }).await {
                Err(VfsError::NotFound(_)) if has(flag::CREATE) => begin(Intent::Create).await?,
                begun => begun?,
            };
            let exists = upload.is_in_place() || !upload.is_empty();
            (upload, exists)
        };
        // As `open` of a host takes it: for a new file only, less what the umask takes away.
        let mode = attrs.mode.filter(|_| !exists).map(|mode| mode & 0o777 & !MASKED);
        let facts = Facts { mode, ..Facts::default() };
        if mode.is_some() {
            upload.set_facts(facts);
        }
        let (append, readable) = (has(flag::APPEND), has(flag::READ));
        Ok(Writer { upload: Some(upload), append, readable, facts, failure: None })
    }

    pub(super) async fn open_folder(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let path = read_path(fields)?;
        let place = self.place()?;
        let listing = self.vfs.list(&path).await?;
        let mut dots = Vec::new();
        for (name, folder) in [("..", path.parent().unwrap_or_else(VPath::root)), (".", path.clone())] {
            if let Ok(metadata) = self.vfs.stat(&folder).await {
                dots.push(Entry { name: name.into(), metadata });
            }
        }
        let handle = self.handles.put(place, Open::Folder(Folder { dots, listing }), path);
        Ok(Packet::answer(kind::HANDLE, id).string(&handle).finish())
    }

    /// A place for one more handle.
    fn place(&self) -> Result<crate::work::Job, Failure> {
        if self.stop.is_stopping() {
            return Err(Failure::because("the server is stopping: try again later"));
        }
        Handles::place(&self.work)
    }

    pub(super) async fn close(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let handle =
            number(fields.string()?).and_then(|number| self.handles.take(number)).ok_or_else(Failure::bad_handle)?;
        let Open::Writer(writer) = handle.open else {
            return Ok(done(id));
        };
        if let Some(failure) = writer.failure {
            return Err(failure.into());
        }
        let upload = writer.upload.ok_or_else(Failure::bad_handle)?;
        upload.commit().await?;
        Ok(done(id))
    }

    pub(super) async fn fstat(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let handle =
            number(fields.string()?).and_then(|number| self.handles.get(number)).ok_or_else(Failure::bad_handle)?;
        let metadata = match &handle.open {
            Open::Reader(reader) => reader.metadata_now()?,
            Open::Writer(Writer { upload: Some(upload), .. }) => upload.metadata(),
            Open::Writer(_) | Open::Folder(_) => self.vfs.stat(&handle.path).await?,
        };
        Ok(Packet::answer(kind::ATTRS, id).attrs(&metadata).finish())
    }

    pub(super) async fn fsetstat(&mut self, id: u32, fields: &mut Fields<'_>) -> Answer {
        let number = number(fields.string()?).ok_or_else(Failure::bad_handle)?;
        let attrs = Attrs::read(fields)?;
        let handle = self.handles.get(number).ok_or_else(Failure::bad_handle)?;
        let path = handle.path.clone();
        // Facts are set by the name: whoever has it by now is not who the client means.
        if let Open::Reader(reader) = &handle.open
            && self.vfs.stat(&path).await?.unique != reader.metadata().unique
        {
            return Err(Failure::because("the file has another name by now: change it by that").into());
        }
        let Some(writer) = self.handles.writer(number) else {
            self.set_attrs(&path, attrs).await?;
            return Ok(done(id));
        };
        if let Some(failure) = &writer.failure {
            return Err(failure.clone().into());
        }
        let upload = writer.upload.as_ref().ok_or_else(Failure::bad_handle)?;
        if let Some((uid, gid)) = attrs.owner {
            let now = upload.metadata();
            if (now.uid, now.gid) != (uid, gid) {
                return Err(no_owner().into());
            }
        }
        if let Some(length) = attrs.size {
            writer.set_len(length).await?;
        }
        writer.facts = merge(writer.facts, attrs.facts());
        if let Some(upload) = &mut writer.upload {
            upload.set_facts(writer.facts);
        }
        Ok(done(id))
    }

    /// The answer to a READ whose turn has come.
    pub(super) async fn read(&self, id: u32, handle: u32, offset: u64, length: u32) -> Vec<u8> {
        match self.read_data(id, handle, offset, length.min(MOST_READ)).await {
            Ok(Some(reply)) => reply,
            Ok(None) => status(id, Code::Eof, "end of file"),
            Err(failure) => failure.packet(id),
        }
    }

    async fn read_data(&self, id: u32, handle: u32, offset: u64, length: u32) -> Result<Option<Vec<u8>>, Failure> {
        let Handle { open, doing, .. } = self.handles.get(handle).ok_or_else(Failure::bad_handle)?;
        let size = match open {
            Open::Reader(reader) => reader.metadata().size,
            Open::Writer(Writer { readable: true, upload: Some(upload), .. }) => upload.len(),
            Open::Writer(_) | Open::Folder(_) => return Err(Failure::bad_handle()),
        };
        // No more memory than there are bytes to come, and a little past the end for a file that grows.
        let wanted = u64::from(length).min(if offset < size { size - offset } else { TAIL });
        let mut reply = vec![0; DATA_HEAD + usize::try_from(wanted).unwrap_or(0)];
        let room = reply.get_mut(DATA_HEAD..).unwrap_or_default();
        let read = match open {
            Open::Reader(reader) => reader.read_at(offset, room).await?,
            Open::Writer(Writer { upload: Some(upload), .. }) => upload.read_at(offset, room).await?,
            Open::Writer(_) | Open::Folder(_) => 0,
        };
        if read == 0 && length > 0 {
            return Ok(None);
        }
        doing.moved(read as u64);
        reply.truncate(DATA_HEAD + read);
        let count = u32::try_from(read).unwrap_or(0);
        let head = Packet::answer(kind::DATA, id).u32(count).finish();
        if let Some(place) = reply.get_mut(..DATA_HEAD) {
            place.copy_from_slice(&head);
        }
        if let Some(place) = reply.get_mut(..4) {
            place.copy_from_slice(&(count + DATA_LENGTH).to_be_bytes());
        }
        Ok(Some(reply))
    }

    /// The answer to a READDIR whose turn has come.
    pub(super) async fn list(&mut self, id: u32, handle: u32) -> Vec<u8> {
        let Some(Open::Folder(folder)) = self.handles.get_mut(handle).map(|handle| &mut handle.open) else {
            return Failure::bad_handle().packet(id);
        };
        let mut rows = match folder.listing.next_batch(ROWS).await {
            Ok(rows) => rows,
            Err(error) => return Failure::from(error).packet(id),
        };
        while let Some(dot) = folder.dots.pop() {
            rows.push(dot);
        }
        if rows.is_empty() { status(id, Code::Eof, "end of folder") } else { name_reply(id, &rows) }
    }

    /// A WRITE begins: where its payload goes is settled before the first byte of it.
    pub(super) fn begin_write(&mut self, id: u32, handle: &[u8], offset: u64, length: usize) -> Result<(), Fault> {
        let Some(handle) = number(handle) else {
            self.writing = Writing::Refused { id, failure: Failure::bad_handle() };
            return Ok(());
        };
        if self.handles.is_waited_for(handle) {
            if self.waiting_bytes + length > MOST_WAITING_BYTES {
                return Err(Fault::TooMuchWaiting);
            }
            self.writing =
                Writing::Later(Box::new(LaterWrite { id, handle, offset, data: Vec::with_capacity(length) }));
            return Ok(());
        }
        self.writing = match self.place_of_write(handle, offset) {
            Ok(at) => Writing::Upload { id, handle, at },
            Err(failure) => Writing::Refused { id, failure },
        };
        Ok(())
    }

    fn place_of_write(&mut self, handle: u32, offset: u64) -> Result<u64, Failure> {
        let writer = self.handles.writer(handle).ok_or_else(Failure::bad_handle)?;
        if let Some(failure) = &writer.failure {
            return Err(failure.clone());
        }
        let upload = writer.upload.as_ref().ok_or_else(Failure::bad_handle)?;
        Ok(if writer.append { upload.len() } else { offset })
    }

    /// A part of the payload.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        match &mut self.writing {
            Writing::Upload { id, handle, at } => {
                let Some(writer) = self.handles.writer(*handle) else { return };
                match writer.write(*at, bytes).await {
                    Ok(()) => {
                        *at = at.saturating_add(bytes.len() as u64);
                        self.handles.moved(*handle, bytes.len());
                    }
                    Err(failure) => self.writing = Writing::Refused { id: *id, failure },
                }
            }
            Writing::Later(later) => later.data.extend_from_slice(bytes),
            Writing::Nothing | Writing::Refused { .. } => {}
        }
    }

    /// The payload is complete: the answer, unless it waits.
    pub(super) fn end_write(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        match std::mem::replace(&mut self.writing, Writing::Nothing) {
            Writing::Nothing => Ok(None),
            Writing::Upload { id, .. } => Ok(Some(done(id))),
            Writing::Refused { id, failure } => Ok(Some(failure.packet(id))),
            Writing::Later(later) => {
                let (handle, length) = (later.handle, later.data.len());
                self.put_off(handle, length, Waiting::Write(later))?;
                Ok(None)
            }
        }
    }

    /// A WRITE that has waited.
    pub(super) async fn write_at_once(&mut self, id: u32, handle: u32, offset: u64, data: &[u8]) -> Vec<u8> {
        let at = match self.place_of_write(handle, offset) {
            Ok(at) => at,
            Err(failure) => return failure.packet(id),
        };
        let Some(writer) = self.handles.writer(handle) else {
            return Failure::bad_handle().packet(id);
        };
        match writer.write(at, data).await {
            Ok(()) => {
                self.handles.moved(handle, data.len());
                done(id)
            }
            Err(failure) => failure.packet(id),
        }
    }
}

impl Writer {
    /// Writes, or remembers why not: after an error nothing of this upload counts any more.
    pub(super) async fn write(&mut self, at: u64, bytes: &[u8]) -> Result<(), Failure> {
        let upload = self.upload.as_mut().ok_or_else(Failure::bad_handle)?;
        match upload.write_at(at, bytes).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error)),
        }
    }

    /// Cuts or extends, or remembers why not.
    pub(super) async fn set_len(&mut self, length: u64) -> Result<(), Failure> {
        let upload = self.upload.as_mut().ok_or_else(Failure::bad_handle)?;
        match upload.set_len(length).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.fail(error)),
        }
    }

    pub(super) fn fail(&mut self, error: VfsError) -> Failure {
        let failure = Failure::from(error);
        self.upload = None;
        self.failure = Some(failure.clone());
        failure
    }
}

/// Owners cannot be given away.
pub(super) fn no_owner() -> Failure {
    Failure::new(Code::PermissionDenied, "the owner of a file cannot be changed here")
}

/// A NAME reply with these rows.
fn name_reply(id: u32, rows: &[Entry]) -> Vec<u8> {
    let now = SystemTime::now();
    let count = u32::try_from(rows.len()).unwrap_or(0);
    rows.iter()
        .fold(Packet::answer(kind::NAME, id).u32(count), |packet, row| {
            packet.string(&row.name).string(&long_name(&row.name, &row.metadata, now)).attrs(&row.metadata)
        })
        .finish()
}

/// What the length field of a DATA reply counts besides the data.
const DATA_LENGTH: u32 = 9;
