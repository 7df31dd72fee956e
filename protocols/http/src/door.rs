//! The door itself: one accepted connection, from TLS to its end.

use crate::{
    body::Body,
    visit::{HEAD_LIMIT, Visit},
    wire::{Framing, Wire},
};
use futures_util::future::BoxFuture;
use http::{Request, Response};
use hyper::{
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use ipnet::IpNet;
use lockgate_access::Gate;
use lockgate_model::{Door, Origin};
use lockgate_net::{Connection, Frontend, Stranger, TlsMaterial};
use std::{
    convert::Infallible,
    future::Future,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// What is mounted below `/dav/`: a request with its path as it came, where it comes from (protocol `webdav`), the stranger to admit
/// once somebody has logged in, and a token that cuts the connection when a session in use on it has ended.
///
/// Only types that both sides know already, so that the daemon joins two doors that do not know each other.
pub type Mounted = Arc<
    dyn Fn(Request<Body>, Origin, Arc<Stranger>, CancellationToken) -> BoxFuture<'static, Response<Body>> + Send + Sync,
>;

/// Settings of one listener.
#[derive(Clone, Debug)]
pub struct HttpSettings {
    /// Addresses whose `X-Forwarded-For` is believed (`trusted_proxies`).
    pub trusted_proxies: Vec<IpNet>,
    /// Whether `/dav/` is there (`allow_webdav`).
    pub allow_webdav: bool,
    /// How long a client may take for the head of a request over HTTP/1 (`http_head_timeout`, N1: 15 s).
    pub head_timeout: Duration,
}

impl Default for HttpSettings {
    /// No proxy is believed, no WebDAV, 15 s for a head.
    fn default() -> Self {
        Self { trusted_proxies: Vec::new(), allow_webdav: false, head_timeout: HANDSHAKE_TIME }
    }
}

/// What the connections of a door share.
pub(crate) struct Front {
    pub(crate) door: Door,
    pub(crate) gate: Gate,
    pub(crate) dav: Option<Mounted>,
    tls: Option<TlsMaterial>,
    pub(crate) settings: HttpSettings,
}

/// The HTTP or HTTPS door.
#[derive(Clone)]
pub struct HttpDoor {
    front: Arc<Front>,
}

impl HttpDoor {
    /// HTTP in clear.
    #[must_use]
    pub fn clear(gate: Gate, dav: Option<Mounted>, settings: HttpSettings) -> Self {
        Self::new(Door::Http, gate, dav, None, settings)
    }

    /// HTTP under TLS: HTTP/2 and HTTP/1.1, as the client prefers.
    #[must_use]
    pub fn secure(gate: Gate, tls: TlsMaterial, dav: Option<Mounted>, settings: HttpSettings) -> Self {
        Self::new(Door::Https, gate, dav, Some(tls), settings)
    }

    fn new(door: Door, gate: Gate, dav: Option<Mounted>, tls: Option<TlsMaterial>, settings: HttpSettings) -> Self {
        Self { front: Arc::new(Front { door, gate, dav, tls, settings }) }
    }
}

/// Time for a TLS handshake (N1).
const HANDSHAKE_TIME: Duration = Duration::from_secs(15);
/// How long an HTTP/2 connection may stand without a request.
const IDLE: Duration = Duration::from_secs(180);
/// What is left to a connection whose session has ended: the reply to a logout still goes out.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Bytes that a client may send ahead of what has been taken, over HTTP/2 on one stream and on all of a connection together. With
/// half of it an upload waits for the next window half of its time where the machine is busy; the whole of it is what a connection
/// can make the server hold, before a login too.
const STREAM_WINDOW: u32 = 1024 * 1024;
const CONNECTION_WINDOW: u32 = 2 * 1024 * 1024;
const ALPN: &[&[u8]] = &[b"h2", b"http/1.1"];

#[async_trait::async_trait]
impl Frontend for HttpDoor {
    fn door(&self) -> Door {
        self.front.door
    }

    async fn serve(&self, connection: Connection) {
        let Connection { stream, peer, local, stranger, stop, .. } = connection;
        let evicted = stranger.evicted();
        let visit = Arc::new(Visit {
            front: Arc::clone(&self.front),
            socket: peer,
            local,
            stranger: Arc::new(stranger),
            stop,
            secure: self.front.tls.is_some(),
            cut: CancellationToken::new(),
            framing: Arc::default(),
            requests: AtomicUsize::new(0),
            running: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
        });
        let talk = async {
            match &self.front.tls {
                None => Arc::clone(&visit).http1(stream).await,
                Some(tls) => match tls.accept(stream, ALPN, HANDSHAKE_TIME).await {
                    Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
                        Arc::clone(&visit).http2(stream).await
                    }
                    Ok(stream) => Arc::clone(&visit).http1(stream).await,
                    Err(error) => tracing::debug!(%peer, %error, "TLS handshake failed"),
                },
            }
        };
        tokio::select! {
            () = talk => {}
            why = evicted => tracing::debug!(%peer, ?why, "connection closed: nobody logged in on it"),
        }
    }
}

impl Visit {
    async fn http1<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self: Arc<Self>, stream: S) {
        let wire = Wire::new(stream, Some(Arc::<Framing>::clone(&self.framing)));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.front.settings.head_timeout)
            .max_headers(100)
            .max_header_size(HEAD_LIMIT)
            .serve_connection(TokioIo::new(wire), service_fn(|request| self.service(request)));
        self.run(connection, |connection| connection.graceful_shutdown()).await;
    }

    async fn http2<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self: Arc<Self>, stream: S) {
        let wire = Wire::new(stream, None);
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(64)
            .max_header_list_size(u32::try_from(HEAD_LIMIT).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(20)
            .max_local_error_reset_streams(128)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(20))
            .serve_connection(TokioIo::new(wire), service_fn(|request| self.service(request)));
        self.run(connection, |connection| connection.graceful_shutdown()).await;
    }

    fn service(
        self: &Arc<Self>,
        request: Request<hyper::body::Incoming>,
    ) -> impl Future<Output = Result<Response<Body>, Infallible>> + Send + 'static {
        let visit = Arc::clone(self);
        async move { Ok(visit.answer(request).await) }
    }

    /// Drives a connection to its end: by the client, by the order to stop, by idleness, or because a session on it has ended.
    async fn run<C: Future<Output = hyper::Result<()>>>(&self, connection: C, wind_down: impl Fn(Pin<&mut C>)) {
        let mut connection = pin!(connection);
        let mut winding_down = false;
        let (mut idle, mut seen) = (Duration::ZERO, 0);
        let mut tick = tokio::time::interval(IDLE / 6);
        tick.tick().await;
        loop {
            tokio::select! {
                result = connection.as_mut() => {
                    if let Err(error) = result {
                        tracing::debug!(peer = %self.socket, %error, "connection ended");
                    }
                    return;
                }
                () = self.stop.stopping(), if !winding_down => {
                    winding_down = true;
                    wind_down(connection.as_mut());
                }
                () = self.cut.cancelled() => {
                    wind_down(connection.as_mut());
                    let _ = tokio::time::timeout(LAST_WORDS, connection).await;
                    return;
                }
                _ = tick.tick() => {
                    let begun = self.requests.load(Ordering::Relaxed);
                    let still = begun == seen && self.running.load(Ordering::Relaxed) == 0;
                    idle = if still { idle + IDLE / 6 } else { Duration::ZERO };
                    seen = begun;
                    if idle >= IDLE && !winding_down {
                        winding_down = true;
                        wind_down(connection.as_mut());
                    }
                }
            }
        }
    }
}
