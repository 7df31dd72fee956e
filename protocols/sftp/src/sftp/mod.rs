//! The SFTP engine: version 3 (draft-ietf-secsh-filexfer-02) with OpenSSH's extensions, one value for each channel.
//!
//! Requests are answered as they arrive, in the connection's own task; only reads and listings, whose answers are long, wait
//! for the client's window, and digests of files are taken beside it. What would overtake such a waiting request on the same
//! handle waits with it. Names are bytes from end to end. Every number that a client sends is bounded before it sizes anything.
//!
//! Never: opens a host path, checks a right, knows who the user is beyond the name; all of that is behind [`Vfs`].

mod attrs;
mod check;
mod extended;
mod fields;
mod files;
mod flow;
mod handles;
mod long_name;
mod names;
mod split;
mod status;

#[cfg(test)]
mod tests;

use crate::work::Work;
use check::Checks;
use fields::{Fields, Malformed, Packet};
use files::Writing;
use flow::Flow;
use handles::Handles;
use lockgate_access::Activity;
use lockgate_model::{PathError, UserName};
use lockgate_net::Stop;
use lockgate_vfs::{Vfs, VfsError};
use split::{Piece, Splitter};
use status::Failure;
use std::collections::VecDeque;
use tokio_util::sync::CancellationToken;

pub(crate) use check::Later;
pub(crate) use handles::MOST_HANDLES;

/// Where replies go: the channel.
pub(crate) trait Outlet: Send {
    /// Sends one packet, or keeps it where the client's window is used up.
    fn send(&mut self, packet: Vec<u8>) -> Result<(), russh::Error>;

    /// Whether something is kept already.
    fn is_waiting(&self) -> bool;

    /// The way for one packet that is not known yet.
    fn later(&self) -> Later;
}

/// Why a channel cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// A packet that is none.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// Something before INIT.
    #[error("the first packet was not INIT")]
    NotGreeted,
    /// More requests are waiting than any client needs.
    #[error("more requests are waiting for the client than are kept")]
    TooMuchWaiting,
    /// The connection is gone.
    #[error(transparent)]
    Ssh(#[from] russh::Error),
}

/// Why a request gets no answer of its own kind.
enum No {
    /// It is malformed: the channel ends.
    Malformed,
    /// It is refused: the client is told.
    Refused(Failure),
}

impl From<Malformed> for No {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl From<Failure> for No {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

impl From<VfsError> for No {
    fn from(error: VfsError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<PathError> for No {
    fn from(error: PathError) -> Self {
        Self::Refused(error.into())
    }
}

/// The reply to a request.
type Answer = Result<Vec<u8>, No>;

/// A request that waits for the client to read, or for one that does.
enum Waiting {
    Read { id: u32, handle: u32, length: u32, offset: u64 },
    List { id: u32, handle: u32 },
    Request(Box<LaterRequest>),
    Write(Box<LaterWrite>),
}

struct LaterRequest {
    id: u32,
    handle: u32,
    kind: u8,
    body: Vec<u8>,
}

struct LaterWrite {
    id: u32,
    handle: u32,
    offset: u64,
    data: Vec<u8>,
}

/// One channel's SFTP.
pub(crate) struct Engine {
    vfs: Vfs,
    user: UserName,
    work: Work,
    stop: Stop,
    cord: CancellationToken,
    splitter: Splitter,
    greeted: bool,
    ended: bool,
    handles: Handles,
    checks: Checks,
    writing: Writing,
    flow: Flow,
    waiting: VecDeque<Waiting>,
    /// Bytes of requests and payloads that wait.
    waiting_bytes: usize,
}

impl Engine {
    /// A channel on which nothing was said yet. `work` counts open handles over all channels of the connection; long work
    /// inside one request ends when `cord` is cut.
    pub(crate) fn new(
        vfs: Vfs,
        user: UserName,
        activity: Activity,
        work: Work,
        stop: Stop,
        cord: CancellationToken,
    ) -> Self {
        Self {
            vfs,
            user,
            work,
            stop,
            checks: Checks::new(&cord),
            cord,
            splitter: Splitter::default(),
            greeted: false,
            ended: false,
            handles: Handles::new(activity),
            writing: Writing::Nothing,
            flow: Flow::default(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
        }
    }

    /// Takes what the client sent.
    ///
    /// Dropping the future in the middle leaves the engine fit for nothing but being dropped.
    pub(crate) async fn feed(&mut self, data: &[u8], out: &mut impl Outlet) -> Result<(), Fault> {
        if self.ended {
            return Ok(());
        }
        let mut rest = data;
        while let Some(piece) = self.splitter.next(&mut rest)? {
            match piece {
                Piece::Packet { kind, body } => self.packet(kind, body, out).await?,
                Piece::Write { .. } if !self.greeted => return Err(Fault::NotGreeted),
                Piece::Write { id, handle, offset, length } => self.begin_write(id, &handle, offset, length)?,
                Piece::Payload { bytes, last } => {
                    self.write(bytes).await;
                    if last && let Some(reply) = self.end_write()? {
                        self.send_short(reply, out)?;
                    }
                }
            }
        }
        self.answer_waiting(out).await?;
        self.refuse_what_nothing_would_wake(out)
    }

    /// The client has made room: its window has `window` bytes now.
    pub(crate) async fn resume(&mut self, window: u32, out: &mut impl Outlet) -> Result<(), Fault> {
        self.flow.adjusted(window);
        self.answer_waiting(out).await
    }

    /// The client sends no more requests. Uploads that it has not closed are aborted; answers that wait are still given.
    pub(crate) fn end_of_requests(&mut self) {
        self.ended = true;
        self.writing = Writing::Nothing;
        self.handles.drop_idle();
    }

    /// Whether everything is answered and nothing more will be asked.
    pub(crate) fn is_done(&self) -> bool {
        self.ended && self.waiting.is_empty()
    }

    async fn packet(&mut self, kind: u8, body: Vec<u8>, out: &mut impl Outlet) -> Result<(), Fault> {
        let mut fields = Fields::of(&body);
        if !self.greeted {
            return self.greet(kind, &mut fields, out);
        }
        let id = fields.u32()?;
        match kind {
            kind::READ => {
                let (handle, offset, length) = (fields.string()?, fields.u64()?, fields.u32()?);
                let read = |handle| Waiting::Read { id, handle, length, offset };
                self.wait_for_window(id, handle, read, out)
            }
            kind::READDIR => {
                let list = |handle| Waiting::List { id, handle };
                self.wait_for_window(id, fields.string()?, list, out)
            }
            _ => {
                if let Some(handle) = self.must_wait(kind, fields)? {
                    return self.put_off(
                        handle,
                        body.len(),
                        Waiting::Request(Box::new(LaterRequest { id, handle, kind, body })),
                    );
                }
                if kind == kind::EXTENDED && check::is_check(fields) {
                    return self.check(id, &mut fields, out).await;
                }
                let reply = self.reply(kind, id, fields).await?;
                self.send_short(reply, out)
            }
        }
    }

    fn greet(&mut self, kind: u8, fields: &mut Fields<'_>, out: &mut impl Outlet) -> Result<(), Fault> {
        if kind != kind::INIT {
            return Err(Fault::NotGreeted);
        }
        fields.u32()?;
        self.greeted = true;
        // Whatever the client can do besides, version 3 is what is spoken here.
        let hello = extended::ANNOUNCED
            .iter()
            .fold(Packet::of(kind::VERSION).u32(3), |packet, (name, version)| packet.string(name).string(version));
        self.send_short(hello.finish(), out)
    }

    /// The answer to a request that does not wait.
    async fn reply(&mut self, kind: u8, id: u32, mut fields: Fields<'_>) -> Result<Vec<u8>, Malformed> {
        let fields = &mut fields;
        let answer = match kind {
            kind::OPEN => self.open(id, fields).await,
            kind::CLOSE => self.close(id, fields).await,
            kind::LSTAT => self.lstat(id, fields).await,
            kind::FSTAT => self.fstat(id, fields).await,
            kind::SETSTAT => self.setstat(id, fields).await,
            kind::FSETSTAT => self.fsetstat(id, fields).await,
            kind::OPENDIR => self.open_folder(id, fields).await,
            kind::REMOVE => self.remove(id, fields).await,
            kind::MKDIR => self.make_folder(id, fields).await,
            kind::RMDIR => self.remove_folder(id, fields).await,
            kind::REALPATH => self.real_path(id, fields),
            kind::STAT => self.stat(id, fields).await,
            kind::RENAME => self.rename(id, fields).await,
            kind::READLINK => self.read_link(id, fields).await,
            kind::SYMLINK => self.symlink(id, fields).await,
            kind::EXTENDED => self.extended(id, fields).await,
            _ => Err(Failure::unsupported().into()),
        };
        match answer {
            Ok(reply) => Ok(reply),
            Err(No::Refused(failure)) => Ok(failure.packet(id)),
            Err(No::Malformed) => Err(Malformed),
        }
    }

    /// The handle that this request is about, where something waits on it that must come first.
    fn must_wait(&self, kind: u8, mut fields: Fields<'_>) -> Result<Option<u32>, Malformed> {
        let handle = match kind {
            kind::CLOSE | kind::FSETSTAT => handles::number(fields.string()?),
            kind::EXTENDED => check::handle_of(fields)?,
            _ => None,
        };
        Ok(handle.filter(|number| self.handles.is_waited_for(*number)))
    }

    fn wait_for_window(
        &mut self,
        id: u32,
        handle: &[u8],
        request: impl FnOnce(u32) -> Waiting,
        out: &mut impl Outlet,
    ) -> Result<(), Fault> {
        match handles::number(handle).filter(|number| self.handles.get(*number).is_some()) {
            Some(number) => self.put_off(number, 0, request(number)),
            None => self.send_short(Failure::bad_handle().packet(id), out),
        }
    }

    fn put_off(&mut self, handle: u32, bytes: usize, request: Waiting) -> Result<(), Fault> {
        if self.waiting.len() >= MOST_WAITING || self.waiting_bytes + bytes > MOST_WAITING_BYTES {
            return Err(Fault::TooMuchWaiting);
        }
        self.waiting_bytes += bytes;
        self.handles.wait(handle);
        self.waiting.push_back(request);
        Ok(())
    }

    /// Answers what waits, in order, as long as the client's window is open and for so much at a time.
    async fn answer_waiting(&mut self, out: &mut impl Outlet) -> Result<(), Fault> {
        let mut budget = AT_A_TIME;
        while budget > 0 && self.flow.is_open(out.is_waiting()) {
            let Some(request) = self.waiting.pop_front() else { break };
            let reply = self.answer_one(request).await?;
            budget = budget.saturating_sub(reply.len());
            self.send(reply, out)?;
        }
        if self.waiting.is_empty() {
            // A long queue is not kept for the rest of the connection.
            self.waiting = VecDeque::new();
        }
        Ok(())
    }

    async fn answer_one(&mut self, request: Waiting) -> Result<Vec<u8>, Fault> {
        Ok(match request {
            Waiting::Read { id, handle, length, offset } => {
                self.handles.waited(handle);
                self.read(id, handle, offset, length).await
            }
            Waiting::List { id, handle } => {
                self.handles.waited(handle);
                self.list(id, handle).await
            }
            Waiting::Write(later) => {
                let LaterWrite { id, handle, offset, data } = *later;
                self.waiting_bytes = self.waiting_bytes.saturating_sub(data.len());
                self.handles.waited(handle);
                self.write_at_once(id, handle, offset, &data).await
            }
            Waiting::Request(later) => {
                let LaterRequest { id, handle, kind, body } = *later;
                self.waiting_bytes = self.waiting_bytes.saturating_sub(body.len());
                self.handles.waited(handle);
                let mut fields = Fields::of(&body);
                fields.u32()?;
                self.reply(kind, id, fields).await?
            }
        })
    }

    /// A client whose window never closes may still ask for more in one breath than is held ready for it; since such a client
    /// need not send anything again, nothing would wake the rest.
    fn refuse_what_nothing_would_wake(&mut self, out: &mut impl Outlet) -> Result<(), Fault> {
        if !self.flow.is_endless(out.is_waiting()) {
            return Ok(());
        }
        while let Some(Waiting::Read { id, handle, .. } | Waiting::List { id, handle }) = self.waiting.front() {
            let (id, handle) = (*id, *handle);
            self.waiting.pop_front();
            self.handles.waited(handle);
            self.send_short(Failure::because("too much was asked for at once").packet(id), out)?;
        }
        Ok(())
    }

    /// Sends a reply that does not wait for the window: short ones, of which a client can have only so many outstanding.
    fn send_short(&mut self, reply: Vec<u8>, out: &mut impl Outlet) -> Result<(), Fault> {
        if !self.flow.may_owe(reply.len(), out.is_waiting()) {
            return Err(Fault::TooMuchWaiting);
        }
        self.send(reply, out)
    }

    fn send(&mut self, reply: Vec<u8>, out: &mut impl Outlet) -> Result<(), Fault> {
        self.flow.sent(reply.len(), out.is_waiting());
        out.send(reply)?;
        Ok(())
    }
}

/// Feeds `bytes` to the splitter and every decoder behind it, as a client's stream in parts of `cut`; the most bytes held.
pub(crate) fn exercise(bytes: &[u8], cut: usize) -> usize {
    let mut splitter = Splitter::default();
    let mut most = 0;
    for mut part in bytes.chunks(cut.max(1)) {
        while let Ok(Some(piece)) = splitter.next(&mut part) {
            if let Piece::Packet { body, .. } = piece {
                let mut fields = Fields::of(&body);
                let _ = fields.u32();
                let _ = fields.string();
                let _ = attrs::Attrs::read(&mut fields);
            }
            most = most.max(splitter.held());
        }
        most = most.max(splitter.held());
    }
    most
}

/// Types of packets.
mod kind {
    pub(super) const INIT: u8 = 1;
    pub(super) const VERSION: u8 = 2;
    pub(super) const OPEN: u8 = 3;
    pub(super) const CLOSE: u8 = 4;
    pub(super) const READ: u8 = 5;
    pub(super) const LSTAT: u8 = 7;
    pub(super) const FSTAT: u8 = 8;
    pub(super) const SETSTAT: u8 = 9;
    pub(super) const FSETSTAT: u8 = 10;
    pub(super) const OPENDIR: u8 = 11;
    pub(super) const READDIR: u8 = 12;
    pub(super) const REMOVE: u8 = 13;
    pub(super) const MKDIR: u8 = 14;
    pub(super) const RMDIR: u8 = 15;
    pub(super) const REALPATH: u8 = 16;
    pub(super) const STAT: u8 = 17;
    pub(super) const RENAME: u8 = 18;
    pub(super) const READLINK: u8 = 19;
    pub(super) const SYMLINK: u8 = 20;
    pub(super) const HANDLE: u8 = 102;
    pub(super) const DATA: u8 = 103;
    pub(super) const NAME: u8 = 104;
    pub(super) const ATTRS: u8 = 105;
    pub(super) const EXTENDED: u8 = 200;
    pub(super) const EXTENDED_REPLY: u8 = 201;
}

/// Requests that may wait on one channel. Some clients ask for a whole file at once, in pieces of 32 KiB: this is 16 GiB of
/// it, for 12 MiB of memory.
const MOST_WAITING: usize = 1 << 19;
/// Bytes of payload and requests that may wait behind reads of the same handle.
const MOST_WAITING_BYTES: usize = 2 << 20;
/// What is made ready at a time for a client whose window is larger than that.
const AT_A_TIME: usize = 16 << 20;
