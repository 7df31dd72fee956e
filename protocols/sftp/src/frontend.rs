//! The door as the listener sees it: one connection from its first byte to its last.
//!
//! russh runs the protocol in a task of its own; what stands here decides when that task must end: grace over, tries used up,
//! session revoked, server stopping. It says goodbye first and cuts the wire if the client does not leave.

use crate::{HostKeys, algorithms, door::Door as Conversation, login::first_methods, wire::Wire, work::Work};
use lockgate_access::{Gate, Session, SessionEnd};
use lockgate_model::{Door, Origin, Protocol};
use lockgate_net::{Connection, Frontend, Stop};
use russh::{
    Disconnect, Limits, SshId,
    server::{Config, RunningSession, run_stream},
};
use std::{
    borrow::Cow,
    pin::pin,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What the daemon tells the door out of prefs.xml.
#[derive(Clone, Debug)]
pub struct SftpSettings {
    /// The keys by which clients know the server.
    pub host_keys: HostKeys,
    /// Shown before the login. Says nothing about users.
    pub banner: Option<String>,
    /// Whether legacy scp (`scp -O`) is served besides SFTP. Off by default.
    pub scp_legacy: bool,
    /// A connection on which nothing moves for so long is closed.
    pub idle: Duration,
    /// Whether users may log in with RSA keys, by SHA-2 signatures (`ssh_rsa_user_keys`).
    pub rsa_user_keys: bool,
}

impl SftpSettings {
    /// The defaults: no banner, no legacy scp, 10 minutes of silence, RSA keys of users.
    #[must_use]
    pub fn new(host_keys: HostKeys) -> Self {
        Self { host_keys, banner: None, scp_legacy: false, idle: Duration::from_secs(600), rsa_user_keys: true }
    }
}

/// The SFTP door.
pub struct SftpFrontend {
    gate: Gate,
    present: RwLock<Arc<Present>>,
}

/// The settings in force, as russh and the conversation want them.
pub(crate) struct Present {
    ssh: Arc<Config>,
    pub(crate) banner: Option<String>,
    pub(crate) scp_legacy: bool,
    pub(crate) idle: Duration,
    pub(crate) rsa_user_keys: bool,
}

/// What a conversation tells the one who watches over its connection.
pub(crate) enum Notice {
    /// Somebody has logged in.
    Granted(Session),
    /// All tries of this connection are used up.
    Spent,
}

impl SftpFrontend {
    /// Makes the door.
    #[must_use]
    pub fn new(gate: Gate, settings: SftpSettings) -> Self {
        Self { gate, present: RwLock::new(Arc::new(Present::of(settings))) }
    }

    /// Takes over changed settings for connections to come.
    pub fn reconfigure(&self, settings: SftpSettings) {
        *self.present.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(Present::of(settings));
    }

    fn present(&self) -> Arc<Present> {
        self.present.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Present {
    fn of(settings: SftpSettings) -> Self {
        let SftpSettings { host_keys, banner, scp_legacy, idle, rsa_user_keys } = settings;
        let ssh = Config {
            server_id: SshId::Standard(Cow::Borrowed("SSH-2.0-Lockgate")),
            methods: first_methods(),
            // The gate's denials have taken their time already; a second wait would only tell the two apart.
            auth_rejection_time: Duration::ZERO,
            auth_rejection_time_initial: Some(Duration::ZERO),
            keys: host_keys.keys(),
            limits: Limits::default(),
            window_size: WINDOW,
            maximum_packet_size: PACKET,
            preferred: algorithms::preferred(rsa_user_keys),
            max_auth_attempts: AUTH_REFUSALS,
            inactivity_timeout: Some(idle),
            nodelay: true,
            ..Config::default()
        };
        // A line break of the banner is CR LF on the wire (RFC 4252 section 5.4).
        let banner = banner.map(|text| text.lines().fold(String::new(), |all, line| all + line + "\r\n"));
        Self { ssh: Arc::new(ssh), banner, scp_legacy, idle, rsa_user_keys }
    }
}

#[async_trait::async_trait]
impl Frontend for SftpFrontend {
    fn door(&self) -> Door {
        Door::Sftp
    }

    async fn serve(&self, connection: Connection) {
        let Connection { stream, peer, local, stranger, stop, .. } = connection;
        let origin = Origin {
            door: Door::Sftp,
            protocol: Protocol::Sftp,
            peer,
            local,
            client_certificate: None,
            conversation: lockgate_model::Conversation::Interactive,
        };
        let present = self.present();
        let work = Work::none();
        let cord = CancellationToken::new();
        let (notify, notices) = mpsc::unbounded_channel();
        // Whatever happens to this future, the task of russh does not outlive it by more than a poll.
        let _cut = cord.clone().drop_guard();
        let conversation = Conversation::new(
            self.gate.clone(),
            origin,
            present.clone(),
            notify,
            work.clone(),
            stop.clone(),
            cord.clone(),
        );
        let mut evicted = pin!(stranger.evicted());
        let started = tokio::select! {
            started = run_stream(present.ssh.clone(), Wire::new(stream, cord.clone()), conversation) => started,
            eviction = &mut evicted => {
                tracing::debug!(%peer, ?eviction, "a stranger was turned out before saying anything");
                return;
            }
            () = stop.stopping() => return,
        };
        let running = match started {
            Ok(running) => running,
            Err(error) => {
                tracing::debug!(%peer, %error, "an SSH connection did not get as far as a handshake");
                return;
            }
        };
        let watch = Watch { running, notices, work, stop, cut: cord.drop_guard() };
        watch.over(evicted, || stranger.admit()).await;
    }
}

/// Who watches over one running connection.
struct Watch {
    running: RunningSession<Conversation>,
    notices: mpsc::UnboundedReceiver<Notice>,
    work: Work,
    stop: Stop,
    cut: DropGuard,
}

/// Why a connection is ended from this side.
#[derive(Clone, Copy, Debug)]
enum Farewell {
    Evicted,
    Spent,
    Over(SessionEnd),
    Stopping,
}

impl Watch {
    async fn over(mut self, evicted: impl Future<Output = lockgate_net::Eviction>, admit: impl Fn()) {
        let mut evicted = pin!(evicted);
        let mut session: Option<Session> = None;
        let mut ended = pin!(futures_util::future::OptionFuture::from(None));
        let mut stopping = false;
        let farewell = loop {
            tokio::select! {
                result = &mut self.running => {
                    note_end(result.err());
                    return;
                }
                _ = &mut evicted, if session.is_none() => break Farewell::Evicted,
                Some(notice) = self.notices.recv() => match notice {
                    Notice::Spent => break Farewell::Spent,
                    Notice::Granted(granted) => {
                        admit();
                        ended.set(Some(granted.ended()).into());
                        session = Some(granted);
                    }
                },
                Some(why) = &mut ended, if session.is_some() => break Farewell::Over(why),
                () = self.stop.stopping(), if !stopping => stopping = true,
                () = self.work.done(), if stopping => break Farewell::Stopping,
            }
        };
        if let (Farewell::Stopping, Some(session)) = (farewell, &session) {
            session.end(SessionEnd::Shutdown);
        }
        self.part(farewell).await;
    }

    /// Says why, gives the client a moment to leave, and cuts the wire.
    async fn part(mut self, farewell: Farewell) {
        let (reason, text) = match farewell {
            Farewell::Evicted => (Disconnect::ByApplication, "login took too long"),
            Farewell::Spent => (Disconnect::NoMoreAuthMethodsAvailable, "too many authentication failures"),
            Farewell::Over(SessionEnd::Shutdown) | Farewell::Stopping => {
                (Disconnect::ByApplication, "the server is stopping")
            }
            Farewell::Over(_) => (Disconnect::ByApplication, "the session was ended"),
        };
        tracing::debug!(?farewell, "an SSH connection is ended from this side");
        let handle = self.running.handle();
        let goodbye = async {
            let _ = handle.disconnect(reason, text.to_owned(), String::new()).await;
            (&mut self.running).await
        };
        if tokio::time::timeout(GOODBYE, goodbye).await.is_err() {
            drop(self.cut);
            // What the task still does (a commit, say) is finished or dropped by it; the client is gone either way.
            let _ = tokio::time::timeout(GOODBYE, &mut self.running).await;
        }
    }
}

fn note_end(error: Option<russh::Error>) {
    match error {
        None => {}
        Some(russh::Error::Join(error)) => tracing::error!(%error, "the task of an SSH connection failed"),
        Some(error) => tracing::debug!(%error, "an SSH connection ended"),
    }
}

/// What a client may send ahead. russh opens it again once half of it is used, so that an upload moves half of it in a round trip:
/// as much as OpenSSH's server lets its own clients have. Over a line of 100 ms twice as fast as with 2 MiB, and on a short one no
/// slower; from 16 MiB on OpenSSH's client spends its time copying what waits.
const WINDOW: u32 = 4 << 20;
/// The longest channel packet that clients may send.
const PACKET: u32 = 32 << 10;
/// Refused messages of the login, the probing `none` and unknown keys included, before the connection is closed. Wrong
/// answers end it sooner.
const AUTH_REFUSALS: usize = 7;
/// How long a client has to take its leave.
const GOODBYE: Duration = Duration::from_secs(1);
