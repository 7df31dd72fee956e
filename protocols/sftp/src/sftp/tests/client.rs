//! A client of the engine for tests: writes requests, reads replies, has a window, and a folder of the host behind it all.

use crate::{
    sftp::{
        Engine, Fault, Later, Outlet,
        attrs::Attrs,
        fields::{Fields, Packet},
        kind,
        split::WRITE,
    },
    testing::{Folder, alice, all_rights},
    work::Work,
};
use lockgate_access::Activity;
use lockgate_model::Permissions;
use lockgate_net::StopSource;
use std::path::PathBuf;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

pub(super) const READ: u32 = 1;
pub(super) const PUT: u32 = 2;
pub(super) const APPEND: u32 = 4;
pub(super) const CREATE: u32 = 8;
pub(super) const TRUNCATE: u32 = 16;
pub(super) const EXCLUSIVE: u32 = 32;

/// A reply, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Status(u32, String),
    Handle(Vec<u8>),
    Data(Vec<u8>),
    Names(Vec<Vec<u8>>),
    Attrs(Attrs),
    Other(u8, Vec<u8>),
}

impl Reply {
    pub(super) fn is_ok(&self) -> bool {
        matches!(self, Self::Status(0, _))
    }

    pub(super) fn code(&self) -> u32 {
        match self {
            Self::Status(code, _) => *code,
            other => panic!("no status: {other:?}"),
        }
    }

    pub(super) fn handle(self) -> Vec<u8> {
        match self {
            Self::Handle(handle) => handle,
            other => panic!("no handle: {other:?}"),
        }
    }

    pub(super) fn names(self) -> Vec<Vec<u8>> {
        match self {
            Self::Names(names) => names,
            other => panic!("no names: {other:?}"),
        }
    }

    pub(super) fn attrs(self) -> Attrs {
        match self {
            Self::Attrs(attrs) => attrs,
            other => panic!("no attributes: {other:?}"),
        }
    }

    fn parse(packet: &[u8]) -> (u32, Self) {
        let mut fields = Fields::of(packet);
        assert_eq!(fields.u32().unwrap() as usize, packet.len() - 4, "the length is that of the packet");
        let (kind, body) = (packet[4], &packet[5..]);
        let mut fields = Fields::of(body);
        let id = fields.u32().unwrap();
        let reply = match kind {
            101 => {
                let code = fields.u32().unwrap();
                let text = String::from_utf8(fields.string().unwrap().to_vec()).unwrap();
                fields.string().unwrap();
                Self::Status(code, text)
            }
            kind::HANDLE => Self::Handle(fields.string().unwrap().to_vec()),
            kind::DATA => Self::Data(fields.string().unwrap().to_vec()),
            kind::NAME => {
                let count = fields.u32().unwrap();
                let name = |fields: &mut Fields<'_>| {
                    let name = fields.string().unwrap().to_vec();
                    fields.string().unwrap();
                    Attrs::read(fields).unwrap();
                    name
                };
                Self::Names((0..count).map(|_| name(&mut fields)).collect())
            }
            kind::ATTRS => Self::Attrs(Attrs::read(&mut fields).unwrap()),
            other => return (id, Self::Other(other, body[4..].to_vec())),
        };
        assert!(fields.is_empty(), "nothing is left over");
        (id, reply)
    }
}

/// The channel: keeps what the window has no room for, as russh does.
pub(super) struct Pipe {
    pub(super) window: usize,
    waiting: Vec<u8>,
    arrived: Vec<u8>,
    late: (UnboundedSender<Vec<u8>>, UnboundedReceiver<Vec<u8>>),
}

impl Outlet for Pipe {
    fn send(&mut self, packet: Vec<u8>) -> Result<(), russh::Error> {
        self.waiting.extend(packet);
        self.flush();
        Ok(())
    }

    fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    fn later(&self) -> Later {
        let late = self.late.0.clone();
        Box::new(move |packet| {
            Box::pin(async move {
                let _ = late.send(packet);
            })
        })
    }
}

impl Pipe {
    fn flush(&mut self) {
        let room = self.window.min(self.waiting.len());
        self.window -= room;
        self.arrived.extend(self.waiting.drain(..room));
    }

    pub(super) fn held(&self) -> usize {
        self.waiting.len()
    }
}

/// One channel with a user's folder behind it.
pub(super) struct Client {
    pub(super) engine: Engine,
    pub(super) pipe: Pipe,
    pub(super) stop: StopSource,
    pub(super) work: Work,
    pub(super) activity: Activity,
    folder: Folder,
    next: u32,
}

impl Client {
    pub(super) async fn new() -> Self {
        let mut client = Self::silent(all_rights(), usize::MAX).await;
        client.hello().await;
        client
    }

    /// A client that has not said hello.
    pub(super) async fn silent(rights: Permissions, window: usize) -> Self {
        let folder = Folder::new();
        let (stop, work) = (StopSource::new(), Work::none());
        let vfs = folder.view(rights, "one").await;
        let activity = Activity::default();
        let engine =
            Engine::new(vfs, alice(), activity.clone(), work.clone(), stop.listener(), CancellationToken::new());
        let pipe = Pipe { window, waiting: Vec::new(), arrived: Vec::new(), late: unbounded_channel() };
        Self { engine, pipe, stop, work, activity, folder, next: 0 }
    }

    /// The same user in another session, over the same store.
    pub(super) async fn reconnect(&mut self) {
        self.engine = self.engine_of("two").await;
        self.hello().await;
    }

    /// A second channel of the session in place of the first, which is given back.
    pub(super) async fn another_channel(&mut self) -> Engine {
        let engine = self.engine_of("one").await;
        let first = std::mem::replace(&mut self.engine, engine);
        self.hello().await;
        first
    }

    async fn engine_of(&self, session: &str) -> Engine {
        let vfs = self.folder.view(all_rights(), session).await;
        let (activity, cut) = (Activity::default(), CancellationToken::new());
        Engine::new(vfs, alice(), activity, self.work.clone(), self.stop.listener(), cut)
    }

    async fn hello(&mut self) {
        let reply = self.raw(&Packet::of(kind::INIT).u32(3).finish()).await.unwrap();
        assert_eq!(reply[4], kind::VERSION);
    }

    pub(super) fn on_disk(&self, name: &str) -> PathBuf {
        self.folder.on_disk(name)
    }

    pub(super) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        self.folder.bytes(name)
    }

    /// Feeds bytes; what arrived for them.
    pub(super) async fn raw(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        for part in bytes.chunks(32 << 10) {
            self.engine.feed(part, &mut self.pipe).await?;
        }
        Ok(std::mem::take(&mut self.pipe.arrived))
    }

    /// Opens the window by so much; what arrives then.
    pub(super) async fn widen(&mut self, by: usize) -> Vec<(u32, Reply)> {
        self.pipe.window += by;
        self.pipe.flush();
        let left = u32::try_from(self.pipe.window).unwrap_or(u32::MAX);
        self.engine.resume(left, &mut self.pipe).await.unwrap();
        self.arrived()
    }

    /// The whole replies that have arrived, with their ids.
    pub(super) fn arrived(&mut self) -> Vec<(u32, Reply)> {
        let mut bytes = std::mem::take(&mut self.pipe.arrived);
        let mut replies = Vec::new();
        while bytes.len() >= 4 {
            let length = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize + 4;
            if bytes.len() < length {
                break;
            }
            replies.push(Reply::parse(&bytes[..length]));
            bytes.drain(..length);
        }
        self.pipe.arrived = bytes;
        replies
    }

    /// A request with an id of its own; not sent yet.
    pub(super) fn request(&mut self, kind: u8) -> Packet {
        self.next += 1;
        Packet::answer(kind, self.next)
    }

    /// Sends one request; its reply.
    pub(super) async fn ask(&mut self, request: Packet) -> Reply {
        self.raw_ask(&request.finish()).await
    }

    /// Sends one request whose reply may come later; the reply.
    pub(super) async fn wait_for(&mut self, request: Packet) -> Reply {
        let mut arrived = self.raw(&request.finish()).await.unwrap();
        if arrived.is_empty() {
            arrived = self.late().await;
        }
        let (id, reply) = Reply::parse(&arrived);
        assert_eq!(id, self.next);
        reply
    }

    /// The next packet that comes later.
    pub(super) async fn late(&mut self) -> Vec<u8> {
        self.pipe.late.1.recv().await.unwrap()
    }

    async fn raw_ask(&mut self, request: &[u8]) -> Reply {
        let arrived = self.raw(request).await.unwrap();
        let (id, reply) = Reply::parse(&arrived);
        assert_eq!(id, self.next);
        reply
    }

    pub(super) async fn open(&mut self, name: &str, flags: u32) -> Reply {
        self.open_with(name.as_bytes(), flags, Attrs::default()).await
    }

    pub(super) async fn open_with(&mut self, name: &[u8], flags: u32, attrs: Attrs) -> Reply {
        let request = self.request(kind::OPEN).string(name).u32(flags);
        self.ask(attrs.write(request)).await
    }

    pub(super) async fn write(&mut self, handle: &[u8], offset: u64, data: &[u8]) -> Reply {
        let request = self.request(WRITE).string(handle).u64(offset).string(data);
        self.ask(request).await
    }

    pub(super) async fn read(&mut self, handle: &[u8], offset: u64, length: u32) -> Reply {
        let request = self.request(kind::READ).string(handle).u64(offset).u32(length);
        self.ask(request).await
    }

    pub(super) async fn close(&mut self, handle: &[u8]) -> Reply {
        let request = self.request(kind::CLOSE).string(handle);
        self.ask(request).await
    }

    pub(super) async fn about(&mut self, kind: u8, name: &[u8]) -> Reply {
        let request = self.request(kind).string(name);
        self.ask(request).await
    }

    pub(super) async fn pair(&mut self, kind: u8, one: &[u8], other: &[u8]) -> Reply {
        let request = self.request(kind).string(one).string(other);
        self.ask(request).await
    }

    pub(super) async fn set(&mut self, kind: u8, name: &[u8], attrs: Attrs) -> Reply {
        let request = self.request(kind).string(name);
        self.ask(attrs.write(request)).await
    }

    pub(super) fn extension(&mut self, name: &[u8]) -> Packet {
        self.request(kind::EXTENDED).string(name)
    }

    /// A whole upload.
    pub(super) async fn put(&mut self, name: &str, data: &[u8]) {
        let handle = self.open(name, PUT | CREATE | TRUNCATE).await.handle();
        for (place, part) in data.chunks(200_000).enumerate() {
            assert!(self.write(&handle, place as u64 * 200_000, part).await.is_ok());
        }
        assert!(self.close(&handle).await.is_ok());
    }
}
