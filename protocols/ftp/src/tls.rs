//! TLS on both connections of a session, and how the second is tied to the first.
//!
//! Control and data share one configuration, so that a data connection can resume the session of the control connection.
//! A ticket alone would prove only that its holder spoke to this server once; so each control connection puts a tag of its
//! own into its tickets (sealed by rustls), and a data connection is *its* data connection only where it resumed a session
//! with that very tag. Without it, whoever can use the client's address could take the data connection. It is offered to all
//! and demanded only where an operator says so: some clients never resume, and some not after an upload, because they read
//! nothing on its connection and so miss the next ticket.

use crate::reply::{Reply, say};
use lockgate_net::TlsMaterial;
use rustls::{HandshakeKind, ServerConfig};
use std::{io, sync::Arc, time::Duration};
use tokio::{io::BufReader, net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// What tells one control connection's tickets from another's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionTag([u8; 16]);

impl SessionTag {
    /// A fresh one.
    pub(crate) fn new() -> io::Result<Self> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| io::Error::other("no random numbers"))?;
        Ok(Self(bytes))
    }
}

/// A data connection under TLS. The buffer below TLS is for uploads: rustls by itself reads a record at a time.
pub(crate) type DataTls = TlsStream<BufReader<TcpStream>>;

/// What protects the data connections of one control connection.
#[derive(Clone)]
pub(crate) struct DataGuard {
    down: Arc<ServerConfig>,
    /// Sends no tickets, which an uploading client would leave unread: its system would then cut the upload's tail off.
    up: Arc<ServerConfig>,
    tag: SessionTag,
    reuse: Reuse,
}

/// Whether a data connection must resume the control connection's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reuse {
    Demanded,
    Offered,
}

/// Which way the bytes of a data connection go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
}

/// Protocol names of FTP; a client that offers only others is refused (ALPACA). Some offer one of their own for data.
const ALPN: &[&[u8]] = &[b"ftp", b"ftp-data"];
/// Read ahead below TLS in uploads.
const READ_AHEAD: usize = 256 * 1024;

/// The server's side of the handshake on a control connection.
pub(crate) async fn accept_control(
    tls: &TlsMaterial,
    stream: TcpStream,
    tag: SessionTag,
    limit: Duration,
) -> io::Result<TlsStream<TcpStream>> {
    let handshake =
        TlsAcceptor::from(tls.server_config(ALPN)).accept_with(stream, |tls| tls.set_resumption_data(&tag.0));
    timeout(limit, handshake).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

impl DataGuard {
    pub(crate) fn new(tls: &TlsMaterial, tag: SessionTag, reuse: Reuse) -> Self {
        let (down, up) = (tls.server_config(ALPN), tls.server_config_without_tickets(ALPN));
        Self { down, up, tag, reuse }
    }

    /// The handshake on a data connection, and whether it belongs to this session.
    ///
    /// # Errors
    /// The reply to give.
    pub(crate) async fn accept(
        &self,
        stream: TcpStream,
        way: Direction,
        limit: Duration,
    ) -> Result<Box<DataTls>, Reply> {
        // A buffer of one byte is never used: reads go past it.
        let ahead = if way == Direction::Up { READ_AHEAD } else { 1 };
        let stream = BufReader::with_capacity(ahead, stream);
        let config = if way == Direction::Up { &self.up } else { &self.down };
        let handshake =
            TlsAcceptor::from(Arc::clone(config)).accept_with(stream, |tls| tls.set_resumption_data(&self.tag.0));
        let stream = match timeout(limit, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "TLS did not come about on a data connection");
                return Err(say::DATA_TLS_FAILED);
            }
            Err(_) => return Err(say::DATA_TLS_FAILED),
        };
        let tls = stream.get_ref().1;
        let resumed = tls.handshake_kind() == Some(HandshakeKind::Resumed)
            && tls.received_resumption_data() == Some(self.tag.0.as_slice());
        if self.reuse == Reuse::Demanded && !resumed { Err(say::NOT_RESUMED) } else { Ok(Box::new(stream)) }
    }
}
