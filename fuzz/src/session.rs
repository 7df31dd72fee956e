//! One session with the FTP door, as the bytes of a fuzzer say.
//!
//! The first byte is switches (see [`Switches`]), the rest is what the client sends, but that a NUL and a letter are an act
//! ([`Act`]). With the switch `lockstep` each line waits for the last reply to the one before, so that it is known which
//! reply is whose; otherwise all comes in bursts.
//!
//! What must hold: no panic; replies are well formed; each line gets exactly one last reply, and one that fits its command;
//! a stranger hears nothing of files; nobody is let in without the porter; the session ends when its client leaves.

use crate::{
    replies::{Replies, Reply},
    verbs::{may_answer, may_be_told_to_a_stranger, takes_a_while},
};
use lockgate_events::EventBus;
use lockgate_ftp::{
    CodePrompt, FtpSettings,
    fuzzing::{self, Understood},
};
use lockgate_model::{ByteSize, Permissions, UserName, VPath};
use lockgate_net::{Connection, Frontend as _, StopSource, Stranger, TlsMaterial};
use lockgate_vfs::{Durability, MountSpec, Storage, StorageSettings, TreeSpec};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    runtime::Runtime,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Whatever takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(15);
/// How long a session may say nothing, and a transfer stand still.
const IDLE: Duration = Duration::from_millis(400);

/// The bits of the first byte.
#[derive(Clone, Copy, Debug)]
struct Switches(u8);

impl Switches {
    const fn has(self, bit: u8) -> bool {
        self.0 & (1 << bit) != 0
    }

    /// The client logs in before anything else.
    const fn logged_in(self) -> bool {
        self.has(0)
    }

    /// One line at a time.
    const fn lockstep(self) -> bool {
        self.has(1)
    }

    /// The client begins with `AUTH TLS`.
    const fn secure(self) -> bool {
        self.has(2)
    }

    fn settings(self) -> FtpSettings {
        FtpSettings {
            require_secure: self.has(3),
            code_prompt: if self.has(4) { CodePrompt::Account } else { CodePrompt::Compound },
            active_mode: self.has(5),
            command_limit: if self.has(7) { 512 } else { 4096 },
            idle: IDLE,
            ..FtpSettings::default()
        }
    }

    /// The user may keep this many bytes.
    fn quota(self) -> Option<ByteSize> {
        self.has(6).then_some(ByteSize(100_000))
    }
}

/// What the client does beside sending.
#[derive(Clone, Copy, Debug)]
enum Act<'a> {
    /// The next data connection sends this many bytes of text.
    Send(u16),
    /// The next data connection sends these bytes.
    Bytes(&'a [u8]),
    /// The next data connection is not made.
    StayAway,
    /// The next data connection is cut as soon as it is there.
    Cut,
    /// Here the address of a port of the client is put into the line.
    Address,
    /// Here a piece ends, and the server is given time for it.
    Pause,
}

/// What all sessions of the process share.
struct World {
    runtime: Runtime,
    folder: tempfile::TempDir,
    tls: TlsMaterial,
    client: Arc<ClientConfig>,
}

static WORLD: OnceLock<World> = OnceLock::new();

/// Makes what all sessions share, so that none is charged with it.
pub fn prepare() {
    WORLD.get_or_init(|| {
        // The file system of the host would be what is measured.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
        TlsMaterial::ensure_self_signed(&certificate, &key, &[]).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&certificate).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        // A fuzzer has no `main` of Rust's, which would see to it that a closed connection is an error and not the end.
        let pipe = runtime.block_on(async { tokio::signal::unix::signal(tokio::signal::unix::SignalKind::pipe()) });
        drop(pipe.unwrap());
        World {
            runtime,
            tls: TlsMaterial::load(&certificate, &key).unwrap(),
            client: Arc::new(client.with_root_certificates(roots).with_no_client_auth()),
            folder,
        }
    });
}

/// Holds the session that the bytes describe.
///
/// # Panics
/// Where something does not hold.
pub fn run(bytes: &[u8]) {
    let Some((switches, script)) = bytes.split_first() else { return };
    let world = WORLD.get().expect("prepared");
    world.runtime.block_on(hold(world, Switches(*switches), script));
}

async fn hold(world: &'static World, switches: Switches, script: &[u8]) {
    let root = world.folder.path().join("root");
    furnish(&root);
    let mount =
        MountSpec { at: VPath::root(), source: root, make: false, permissions: Permissions::full(), counts: true };
    let tree = TreeSpec {
        owner: UserName::new("alice").unwrap(),
        mounts: vec![mount],
        rules: Vec::new(),
        otherwise: Permissions::full(),
        quota: switches.quota(),
    };
    let storage = Storage::new(
        StorageSettings { durability: Durability::Rename, upload_keep: Duration::from_secs(3600) },
        EventBus::new([]),
    );
    let tree = storage.open(tree, "fuzz".into()).await.unwrap();
    let (door, granted) = fuzzing::door(tree, switches.settings(), world.tls.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let local = listener.local_addr().unwrap();
    let (client, accepted) = tokio::join!(TcpStream::connect(local), listener.accept());
    let ((stream, peer), client) = (accepted.unwrap(), client.unwrap());
    // As the listener does: a line that waits for an acknowledgement takes 40 ms.
    stream.set_nodelay(true).unwrap();
    client.set_nodelay(true).unwrap();
    let stop = StopSource::new();
    let connection =
        Connection { stream, peer, local, proxied: false, stranger: Stranger::unlimited(), stop: stop.listener() };
    let serving = tokio::spawn(async move { door.serve(connection).await });
    let mut client = Client::new(world, switches, client, granted);
    client.play(script).await;
    client.leave().await;
    match timeout(PATIENCE, serving).await {
        Ok(served) => served.expect("the door does not panic"),
        Err(_) => panic!("the session does not end when its client has left"),
    }
}

/// The tree each session begins with.
fn furnish(root: &PathBuf) {
    let _ = std::fs::remove_dir_all(root);
    std::fs::create_dir_all(root.join("d/empty")).unwrap();
    std::fs::write(root.join("a"), b"one\ntwo\r\nthree\rend").unwrap();
    std::fs::write(root.join("d/b"), vec![b'\n'; 70_000]).unwrap();
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

struct Client {
    world: &'static World,
    switches: Switches,
    /// `None` once it is closed.
    wire: Option<Wire>,
    replies: Replies,
    granted: Arc<AtomicUsize>,
    /// How often 230 was heard.
    welcomes: usize,
    logged_in: bool,
    /// It is known which line the next reply answers.
    in_step: bool,
    /// Data is under TLS.
    protected: bool,
    /// What the next data connection does.
    next_data: Data,
    /// The last reply was a farewell, or the server may have taken this for another protocol.
    may_end: bool,
    /// Last replies, and what is known to make them.
    count: Count,
    /// What was sent of a line that has no end yet.
    unfinished: Vec<u8>,
}

enum Wire {
    Plain(TcpStream),
    Secure(Box<dyn Stream>),
}

/// For bursts: how many last replies there were, and how many there can be.
#[derive(Default, Debug)]
struct Count {
    lines: usize,
    aborts: usize,
    heard: usize,
    /// Something was sent after which lines may be left without a reply.
    is_open: bool,
}

impl Client {
    fn new(world: &'static World, switches: Switches, stream: TcpStream, granted: Arc<AtomicUsize>) -> Self {
        Self {
            world,
            switches,
            wire: Some(Wire::Plain(stream)),
            replies: Replies::default(),
            granted,
            welcomes: 0,
            logged_in: false,
            in_step: false,
            protected: false,
            next_data: Data::default(),
            may_end: false,
            count: Count::default(),
            unfinished: Vec::new(),
        }
    }

    async fn play(&mut self, script: &[u8]) {
        let greeting = self.last_reply().await.expect("a greeting");
        assert_eq!(greeting.code, 220);
        if self.switches.secure() {
            self.one_line(b"AUTH TLS\r\n").await;
        }
        if self.switches.logged_in() {
            self.one_line(b"USER alice\r\n").await;
            self.one_line(b"PASS right\r\n").await;
        }
        let (mut gathered, mut rest) = (Vec::new(), script);
        while let Some((byte, tail)) = rest.split_first() {
            rest = tail;
            if *byte != 0 {
                gathered.push(*byte);
                continue;
            }
            let (act, tail) = act(rest);
            rest = tail;
            match act {
                None => gathered.push(0),
                Some(Act::Address) => gathered.extend(self.listen().await.into_bytes()),
                Some(Act::Pause) => self.send(&std::mem::take(&mut gathered)).await,
                Some(act) => {
                    self.send(&std::mem::take(&mut gathered)).await;
                    match act {
                        Act::Send(length) => self.next_data.bytes = text(length.into()),
                        Act::Bytes(bytes) => self.next_data.bytes = bytes.to_vec(),
                        Act::StayAway => self.next_data.stays_away = true,
                        Act::Cut | Act::Address | Act::Pause => self.next_data.is_cut = true,
                    }
                }
            }
        }
        self.send(&gathered).await;
    }

    /// Sends a piece: line by line, or as it is.
    async fn send(&mut self, piece: &[u8]) {
        if self.switches.lockstep() {
            self.unfinished.extend_from_slice(piece);
            while let Some(end) = self.unfinished.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.unfinished.drain(..=end).collect();
                self.one_line(&line).await;
            }
            return;
        }
        self.unfinished.extend_from_slice(piece);
        while let Some(end) = self.unfinished.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.unfinished.drain(..=end).collect();
            self.note(&line);
        }
        self.write(piece).await;
        // What is there already is taken, so that neither side waits for the other.
        while self.wire.is_some() && timeout(Duration::from_millis(1), self.take()).await.is_ok() {
            while let Some(reply) = self.replies.next_reply() {
                self.hear(&reply);
            }
        }
    }

    /// Keeps account of a line of a burst.
    fn note(&mut self, line: &[u8]) {
        self.count.lines += 1;
        let (verb, understood) = (verb(line), fuzzing::understand(plain(line)));
        self.count.aborts += usize::from(verb == "ABOR");
        self.count.is_open |= understood == Understood::Foreign
            || line.len() > 512
            || takes_a_while(&verb)
            || matches!(verb.as_str(), "QUIT" | "AUTH" | "PASS" | "ACCT")
            || line.contains(&0xff)
            || line.first().is_some_and(|byte| *byte >= 0xf0 || *byte == 0x16);
    }

    /// Sends one line and hears what answers it.
    async fn one_line(&mut self, line: &[u8]) {
        if self.wire.is_none() {
            return;
        }
        let verb = verb(line);
        // A farewell may come at any time, and a stranger's unknown words are taken for another protocol.
        self.may_end |= line.len() > 512
            || (!self.logged_in && fuzzing::understand(plain(line)) == Understood::Foreign)
            || line.starts_with(&[0x16, 0x03]);
        self.write(line).await;
        self.in_step = true;
        let reply = self.last_reply().await;
        self.in_step = false;
        let Some(reply) = reply else {
            assert!(self.may_end, "closed without a word behind {:?}", line.escape_ascii().to_string());
            return;
        };
        let shown = || format!("{:?} answers {:?}", reply.lines, line.escape_ascii().to_string());
        // Telnet's bytes are taken off before the verb; who sends them is not followed here.
        if !line.contains(&0xff) && !line.first().is_some_and(|byte| *byte >= 0xf0) {
            assert!(may_answer(&verb, reply.code), "{}", shown());
        }
        match (verb.as_str(), reply.code) {
            ("REIN", 220) => self.logged_in = false,
            ("PROT", 200) => self.protected = plain(line).to_ascii_uppercase().ends_with(b"P"),
            (_, 234) => self.secure(plain(line)).await,
            _ => {}
        }
    }

    /// Puts the connection under TLS.
    async fn secure(&mut self, line: &[u8]) {
        let Some(Wire::Plain(stream)) = self.wire.take() else { panic!("AUTH was taken twice") };
        let name = ServerName::try_from("localhost").unwrap();
        let connecting = TlsConnector::from(Arc::clone(&self.world.client)).connect(name, stream);
        let stream = timeout(PATIENCE, connecting).await.expect("TLS comes about").expect("TLS comes about");
        self.wire = Some(Wire::Secure(Box::new(stream)));
        self.logged_in = false;
        let older = line.to_ascii_uppercase();
        self.protected = older.ends_with(b"SSL") || older.ends_with(b"TLS-P");
    }

    async fn write(&mut self, bytes: &[u8]) {
        // A connection that was closed meanwhile shows at the next reply.
        match &mut self.wire {
            Some(Wire::Plain(stream)) => drop(timeout(PATIENCE, stream.write_all(bytes)).await),
            Some(Wire::Secure(stream)) => {
                let _ = timeout(PATIENCE, stream.write_all(bytes)).await;
                let _ = timeout(PATIENCE, stream.flush()).await;
            }
            None => {}
        }
    }

    /// Takes what comes next; the connection is none any more once nothing will.
    async fn take(&mut self) {
        let mut piece = [0; 4096];
        let taken = match &mut self.wire {
            Some(Wire::Plain(stream)) => stream.read(&mut piece).await,
            Some(Wire::Secure(stream)) => stream.read(&mut piece).await,
            None => return,
        };
        match taken {
            Ok(0) | Err(_) => self.wire = None,
            Ok(length) => self.replies.feed(&piece[..length]),
        }
    }

    /// The next reply that is no announcement, nor the first of the two that end a transfer; `None` at the end.
    async fn last_reply(&mut self) -> Option<Reply> {
        loop {
            if let Some(reply) = self.replies.next_reply() {
                self.hear(&reply);
                if !reply.is_preliminary() {
                    return Some(reply);
                }
            } else if self.wire.is_none() {
                assert!(self.replies.is_empty(), "half a reply: {}", self.replies.rest());
                return None;
            } else {
                timeout(PATIENCE, self.take()).await.expect("a reply comes");
            }
        }
    }

    /// What every reply must be.
    fn hear(&mut self, reply: &Reply) {
        self.count.heard += usize::from(!reply.is_preliminary());
        match reply.code {
            230 => {
                self.welcomes += 1;
                assert!(self.welcomes <= self.granted.load(Ordering::SeqCst), "a welcome that nobody granted");
                self.logged_in = true;
            }
            // Where it is not known which command it answers: HOST is refused to users, so it was REIN.
            220 => self.logged_in = false,
            // What comes behind it in a burst is no TLS, and what answers that is no reply.
            234 if !self.in_step => {
                self.may_end = true;
                self.logged_in = false;
                self.wire = None;
                self.replies = Replies::default();
            }
            234 => self.logged_in = false,
            227 | 229 => self.come(reply),
            221 | 421 => self.may_end = true,
            500 if reply.lines[0].contains("too long") => self.may_end = true,
            _ => {}
        }
        assert!(self.logged_in || may_be_told_to_a_stranger(reply.code), "a stranger hears {:?}", reply.lines);
    }

    /// Comes to the port that the server told.
    fn come(&mut self, reply: &Reply) {
        let line = &reply.lines[0];
        let port = if reply.code == 229 {
            line.split('|').nth(3).and_then(|port| port.parse::<u16>().ok())
        } else {
            let inside = line.rsplit('(').next().and_then(|rest| rest.split(')').next()).unwrap_or_default();
            let numbers: Vec<u16> = inside.split(',').filter_map(|part| part.parse().ok()).collect();
            assert_eq!(numbers.len(), 6, "{line}");
            Some(numbers[4] * 256 + numbers[5])
        };
        let port = port.filter(|port| *port > 0).unwrap_or_else(|| panic!("no port in {line:?}"));
        let data = std::mem::take(&mut self.next_data);
        if data.stays_away {
            return;
        }
        let client = self.protected.then(|| Arc::clone(&self.world.client));
        tokio::spawn(async move {
            if let Ok(stream) = TcpStream::connect(("127.0.0.1", port)).await {
                pump(stream, client, data).await;
            }
        });
    }

    /// Opens a port of the client, for the server to come to, and says it as `PORT` wants it.
    async fn listen(&mut self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let [high, low] = listener.local_addr().unwrap().port().to_be_bytes();
        let data = std::mem::take(&mut self.next_data);
        let client = self.protected.then(|| Arc::clone(&self.world.client));
        tokio::spawn(async move {
            if let Ok(Ok((stream, _))) = timeout(IDLE, listener.accept()).await {
                pump(stream, client, data).await;
            }
        });
        format!("127,0,0,1,{high},{low}")
    }

    /// Says no more, hears the rest, and looks whether there were as many replies as lines.
    async fn leave(&mut self) {
        match &mut self.wire {
            Some(Wire::Plain(stream)) => drop(stream.shutdown().await),
            Some(Wire::Secure(stream)) => drop(timeout(PATIENCE, stream.shutdown()).await),
            None => {}
        }
        while self.last_reply().await.is_some() {}
        if self.switches.lockstep() {
            return;
        }
        let Count { lines, aborts, heard, is_open } = self.count;
        // The greeting, what opened the session, and a farewell.
        let before = 1 + usize::from(self.switches.secure()) + 2 * usize::from(self.switches.logged_in());
        assert!(heard <= before + lines + aborts + 1, "{heard} replies to {lines} lines");
        if !is_open && !self.may_end {
            assert!(heard >= before + lines, "{heard} replies only to {lines} lines");
        }
    }
}

/// What the next data connection does.
struct Data {
    bytes: Vec<u8>,
    /// It is not made.
    stays_away: bool,
    /// It is cut at once.
    is_cut: bool,
}

impl Default for Data {
    fn default() -> Self {
        Self { bytes: text(10), stays_away: false, is_cut: false }
    }
}

/// Text with line ends of all kinds.
fn text(length: usize) -> Vec<u8> {
    b"x\ny\r\nz\r".iter().copied().cycle().take(length).collect()
}

/// A data connection: sends some bytes and takes what comes, or is cut at once.
async fn pump(stream: TcpStream, client: Option<Arc<ClientConfig>>, data: Data) {
    if data.is_cut {
        return;
    }
    let stream: Box<dyn Stream> = match client {
        None => Box::new(stream),
        Some(client) => {
            let name = ServerName::try_from("localhost").unwrap();
            match timeout(IDLE, TlsConnector::from(client).connect(name, stream)).await {
                Ok(Ok(stream)) => Box::new(stream),
                _ => return,
            }
        }
    };
    let (mut read, mut write) = tokio::io::split(stream);
    let sending = async {
        let _ = write.write_all(&data.bytes).await;
        let _ = write.shutdown().await;
    };
    let taking = async {
        let mut piece = [0; 16 * 1024];
        while matches!(read.read(&mut piece).await, Ok(length) if length > 0) {}
    };
    let _ = timeout(PATIENCE, async { tokio::join!(sending, taking) }).await;
}

/// The act that these bytes stand for, and what is behind it.
fn act(rest: &[u8]) -> (Option<Act<'_>>, &[u8]) {
    let (act, length) = match rest {
        [b'u', high, low, ..] => (Some(Act::Send(u16::from_be_bytes([*high, *low]))), 3),
        [b'b', length, bytes @ ..] if bytes.len() >= usize::from(*length) => {
            let length = usize::from(*length);
            (Some(Act::Bytes(&bytes[..length])), 2 + length)
        }
        [b'n', ..] => (Some(Act::StayAway), 1),
        [b'x', ..] => (Some(Act::Cut), 1),
        [b'p', ..] => (Some(Act::Address), 1),
        [b'w', ..] => (Some(Act::Pause), 1),
        _ => (None, 0),
    };
    (act, &rest[length..])
}

/// A line without its end.
fn plain(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The first word of a line.
fn verb(line: &[u8]) -> String {
    let word = plain(line).split(|byte| *byte == b' ').next().unwrap_or_default();
    String::from_utf8_lossy(word).to_ascii_uppercase()
}
