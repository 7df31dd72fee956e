//! A door with a folder behind it, and a client that speaks by hand.

use crate::{
    FtpDoor, FtpSettings,
    porter::{Ended, Guest, Porter, Question, Verdict},
};
use lockgate_access::Activity;
use lockgate_events::EventBus;
use lockgate_model::{ByteSize, Origin, Permissions, Secret, UserName, VPath};
use lockgate_net::{ClientTrust, Connection, Frontend, OldestTls, StopSource, Stranger, TlsMaterial, announced_client};
use lockgate_vfs::{Durability, MountSpec, Storage, StorageSettings, TreeSpec, Vfs};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinHandle,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Whatever takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// A stream of either kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// See the module.
pub(crate) struct House {
    pub(crate) at: SocketAddr,
    pub(crate) stop: StopSource,
    /// Passwords that were shown to the porter.
    pub(crate) tries: Arc<AtomicUsize>,
    /// Answers to its questions.
    pub(crate) answers: Arc<AtomicUsize>,
    /// What it shows, and whose certificates count.
    pub(crate) tls: TlsMaterial,
    /// Sending true ends every session.
    pub(crate) end: watch::Sender<bool>,
    /// What its guests do.
    pub(crate) activity: Activity,
    pub(crate) client: Arc<ClientConfig>,
    dir: tempfile::TempDir,
    serving: JoinHandle<()>,
}

impl Drop for House {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Knows the password `right`, and asks for the code `123456` behind `half`.
#[derive(Clone)]
struct TestPorter {
    vfs: Vfs,
    tries: Arc<AtomicUsize>,
    answers: Arc<AtomicUsize>,
    end: watch::Receiver<bool>,
    activity: Activity,
}

impl TestPorter {
    fn granted(&self) -> Verdict {
        let mut end = self.end.clone();
        let ended: Ended = Box::pin(async move {
            // A house that is gone ends nothing.
            if end.wait_for(|end| *end).await.is_err() {
                std::future::pending::<()>().await;
            }
        });
        Verdict::Granted(
            Guest { vfs: self.vfs.clone(), name: "alice".into(), activity: self.activity.clone(), _hold: None },
            ended,
        )
    }
}

#[async_trait::async_trait]
impl Porter for TestPorter {
    async fn log_in(&self, _origin: &Origin, name: &str, password: Secret<String>) -> Verdict {
        self.tries.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(5)).await;
        match (name, password.expose().as_str()) {
            ("alice", "right") => self.granted(),
            ("alice", "half") => Verdict::Asked(Box::new(Code(self.clone())), "Verification code".into()),
            ("busy", _) => Verdict::Busy,
            _ => Verdict::Denied,
        }
    }

    async fn recognise(&self, origin: &Origin, name: &str) -> Option<Verdict> {
        match (name, origin.client_certificate.as_deref()?) {
            ("alice", "CN=alice,O=Example") => Some(self.granted()),
            ("alice", "CN=half,O=Example") => {
                Some(Verdict::Asked(Box::new(Code(self.clone())), "Verification code".into()))
            }
            ("alice", "CN=busy,O=Example") => Some(Verdict::Busy),
            _ => None,
        }
    }

    fn may_ask(&self) -> bool {
        false
    }
}

struct Code(TestPorter);

#[async_trait::async_trait]
impl Question for Code {
    fn code_in(&self, said: &Secret<String>) -> Option<Secret<String>> {
        let tail = said.expose().rsplit(':').next().unwrap_or_default();
        (tail.len() == 6 && tail.bytes().all(|byte| byte.is_ascii_digit())).then(|| Secret::new(tail.to_owned()))
    }

    async fn answer(self: Box<Self>, _origin: &Origin, code: Secret<String>) -> Verdict {
        self.0.answers.fetch_add(1, Ordering::SeqCst);
        if code.matches(b"123456") { self.0.granted() } else { Verdict::Asked(self, "Verification code".into()) }
    }
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}, None).await
    }

    pub(crate) async fn set(change: impl FnOnce(&mut FtpSettings)) -> Self {
        Self::with(change, None).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut FtpSettings), quota: Option<u64>) -> Self {
        Self::make(change, quota, None).await
    }

    /// One that asks for certificates of these authorities (PEM).
    pub(crate) async fn trusting(change: impl FnOnce(&mut FtpSettings), authorities: &str) -> Self {
        Self::make(change, None, Some(authorities)).await
    }

    async fn make(change: impl FnOnce(&mut FtpSettings), quota: Option<u64>, authorities: Option<&str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let vfs = tree(dir.path().join("root"), quota).await;
        let (certificate, key) = (dir.path().join("tls.crt"), dir.path().join("tls.key"));
        TlsMaterial::ensure_self_signed(&certificate, &key, &[]).unwrap();
        let trust = authorities.map(|pem| {
            std::fs::write(dir.path().join("ca.pem"), pem).unwrap();
            ClientTrust { authorities: dir.path().join("ca.pem"), revoked: None }
        });
        let tls = TlsMaterial::load_asking(&certificate, &key, OldestTls::Tls12, trust.as_ref()).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&certificate).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let client = Arc::new(client.with_root_certificates(roots).with_no_client_auth());
        let mut settings = FtpSettings::default();
        change(&mut settings);
        let proxied = !settings.proxies.is_empty();
        let (end, ended) = watch::channel(false);
        let (tries, answers) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let activity = Activity::default();
        let porter = TestPorter {
            vfs,
            tries: Arc::clone(&tries),
            answers: Arc::clone(&answers),
            end: ended,
            activity: activity.clone(),
        };
        let door = Arc::new(FtpDoor::with_porter(Box::new(porter), settings, tls.clone()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, stop) = (listener.local_addr().unwrap(), StopSource::new());
        let order = stop.listener();
        let serving = tokio::spawn(async move {
            loop {
                let (mut stream, mut peer) = listener.accept().await.unwrap();
                if proxied {
                    peer = announced_client(&mut stream).await.unwrap().unwrap();
                }
                stream.set_nodelay(true).unwrap();
                let (local, stop) = (stream.local_addr().unwrap(), order.clone());
                let connection = Connection { stream, peer, local, proxied, stranger: Stranger::unlimited(), stop };
                let door = Arc::clone(&door);
                tokio::spawn(async move { door.serve(connection).await });
            }
        });
        Self { at, stop, tries, answers, tls, end, activity, client, dir, serving }
    }

    /// A client that speaks TLS 1.2.
    pub(crate) fn twelve(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.dir.path().join("tls.crt")).unwrap()).unwrap();
        let provider = Arc::clone(self.client.crypto_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS12]);
        config.unwrap().with_root_certificates(roots).with_no_client_auth()
    }

    /// Whose certificates count from now on (PEM).
    pub(crate) fn trust(&self, authorities: &str) {
        std::fs::write(self.dir.path().join("ca.pem"), authorities).unwrap();
        self.tls.reload().unwrap();
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.root().join(name), bytes).unwrap();
    }

    pub(crate) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.root().join(name)).ok()
    }

    /// A connection in clear, greeted.
    pub(crate) async fn connect(&self) -> Client {
        let mut client = Client { stream: Box::new(TcpStream::connect(self.at).await.unwrap()), came: Vec::new() };
        client.must(220).await;
        client
    }

    /// A connection in clear, logged in.
    pub(crate) async fn user(&self) -> Client {
        let mut client = self.connect().await;
        client.log_in().await;
        client
    }

    /// A connection under explicit TLS, not logged in.
    pub(crate) async fn secure(&self) -> Client {
        self.secure_with(&self.client).await
    }

    pub(crate) async fn secure_with(&self, config: &Arc<ClientConfig>) -> Client {
        let mut stream = TcpStream::connect(self.at).await.unwrap();
        read_line(&mut stream).await;
        stream.write_all(b"AUTH TLS\r\n").await.unwrap();
        assert!(read_line(&mut stream).await.starts_with("234"));
        Client { stream: Box::new(under_tls(stream, config).await.unwrap()), came: Vec::new() }
    }

    /// A connection under explicit TLS, logged in, its data protected.
    pub(crate) async fn secure_user(&self) -> Client {
        let mut client = self.secure().await;
        client.log_in().await;
        client.expect(&[("PBSZ 0", 200), ("PROT P", 200)]).await;
        client
    }
}

/// A tree over a folder of the host.
pub(crate) async fn tree(source: PathBuf, quota: Option<u64>) -> Vfs {
    std::fs::create_dir_all(&source).unwrap();
    let settings = StorageSettings { durability: Durability::Rename, upload_keep: Duration::from_secs(3600) };
    let mount = MountSpec { at: VPath::root(), source, make: false, permissions: Permissions::full(), counts: true };
    let spec = TreeSpec {
        owner: UserName::new("alice").unwrap(),
        mounts: vec![mount],
        rules: Vec::new(),
        otherwise: Permissions::full(),
        quota: quota.map(ByteSize),
    };
    Storage::new(settings, EventBus::new([])).open(spec, "test".into()).await.unwrap()
}

async fn read_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        line.push(stream.read_u8().await.unwrap());
    }
    String::from_utf8(line).unwrap()
}

pub(crate) async fn under_tls(
    stream: TcpStream,
    config: &Arc<ClientConfig>,
) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}

/// A control connection spoken by hand.
pub(crate) struct Client {
    pub(crate) stream: Box<dyn Stream>,
    came: Vec<u8>,
}

impl Client {
    pub(crate) fn over(stream: Box<dyn Stream>) -> Self {
        Self { stream, came: Vec::new() }
    }

    /// One whole reply; empty at the end of the connection.
    pub(crate) async fn reply(&mut self) -> String {
        let mut whole = String::new();
        loop {
            let Some(end) = self.came.iter().position(|byte| *byte == b'\n') else {
                let mut piece = [0; 1024];
                match timeout(PATIENCE, self.stream.read(&mut piece)).await.expect("no reply came") {
                    Ok(0) | Err(_) => return whole,
                    Ok(length) => self.came.extend_from_slice(&piece[..length]),
                }
                continue;
            };
            let line: Vec<u8> = self.came.drain(..=end).collect();
            let line = String::from_utf8(line).unwrap();
            let last =
                line.len() > 3 && line.as_bytes()[3] == b' ' && line[..3].bytes().all(|byte| byte.is_ascii_digit());
            whole.push_str(&line);
            if last {
                return whole;
            }
        }
    }

    pub(crate) async fn send(&mut self, text: &str) {
        // A connection that is closed meanwhile shows at the next reply.
        let _ = self.stream.write_all(text.as_bytes()).await;
        let _ = self.stream.flush().await;
    }

    pub(crate) async fn say(&mut self, line: &str) -> String {
        self.send(&format!("{line}\r\n")).await;
        self.reply().await
    }

    /// A reply that must have this code.
    #[track_caller]
    pub(crate) fn must(&mut self, code: u16) -> impl Future<Output = String> {
        let at = std::panic::Location::caller();
        async move {
            let reply = self.reply().await;
            assert!(reply.starts_with(&code.to_string()), "{at}: {reply:?} is not {code}");
            reply
        }
    }

    /// Says each line, and each must get this code.
    #[track_caller]
    pub(crate) fn expect(&mut self, lines: &[(&str, u16)]) -> impl Future<Output = String> {
        let at = std::panic::Location::caller();
        async move {
            let mut last = String::new();
            for (line, code) in lines {
                last = self.say(line).await;
                assert!(last.starts_with(&code.to_string()), "{at}: {line}: {last:?} is not {code}");
            }
            last
        }
    }

    /// That the server closes, saying nothing more.
    #[track_caller]
    pub(crate) fn must_be_closed(&mut self) -> impl Future<Output = ()> {
        let at = std::panic::Location::caller();
        async move {
            let reply = self.reply().await;
            assert!(reply.is_empty(), "{at}: {reply:?} instead of an end");
        }
    }

    pub(crate) async fn log_in(&mut self) {
        self.expect(&[("USER alice", 331), ("PASS right", 230), ("TYPE I", 200)]).await;
    }

    /// A passive data connection in clear.
    pub(crate) async fn passive(&mut self) -> TcpStream {
        let reply = self.expect(&[("EPSV", 229)]).await;
        let port: u16 = reply.split('|').nth(3).unwrap().parse().unwrap();
        TcpStream::connect(("127.0.0.1", port)).await.unwrap()
    }

    /// Uploads in clear, and says what came at the end.
    pub(crate) async fn put(&mut self, line: &str, bytes: &[u8]) -> String {
        let mut data = self.passive().await;
        let opening = self.say(line).await;
        if !opening.starts_with("150") {
            return opening;
        }
        let _ = data.write_all(bytes).await;
        let _ = data.shutdown().await;
        self.reply().await
    }

    /// Downloads in clear: the bytes, and what came at the end.
    pub(crate) async fn get(&mut self, line: &str) -> (Vec<u8>, String) {
        let mut data = self.passive().await;
        let opening = self.say(line).await;
        if !opening.starts_with("150") {
            return (Vec::new(), opening);
        }
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes).await.unwrap();
        (bytes, self.reply().await)
    }
}
