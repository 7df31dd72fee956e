//! TLS on both connections of a session, and how the second is tied to the first.
//!
//! Control and data share one configuration, so that a data connection can resume the session of the control connection.
//! Whether one that comes in must have done so is for the [`Ties`] of the two to say.

use crate::{
    marks::Marks,
    reply::{Reply, say},
    ties::{Kin, SessionReuse, Ties},
};
use lockgate_net::TlsMaterial;
use rustls::ServerConfig;
use std::{io, net::IpAddr, sync::Arc, time::Duration};
use tokio::{io::BufReader, net::TcpStream, time::timeout};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

/// A data connection under TLS. The buffer below TLS is for uploads: rustls by itself reads a record at a time.
pub(crate) type DataTls = TlsStream<BufReader<TcpStream>>;

/// What protects the data connections of one control connection.
#[derive(Clone)]
pub(crate) struct DataGuard {
    down: Arc<ServerConfig>,
    /// Sends no tickets, which an uploading client would leave unread: its system would then cut the upload's tail off.
    up: Arc<ServerConfig>,
    ties: Arc<Ties>,
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

/// A control connection under TLS, and what came of it.
pub(crate) struct Protected {
    pub(crate) stream: TlsStream<TcpStream>,
    pub(crate) guard: DataGuard,
    /// The subject that the client proved with a certificate.
    pub(crate) subject: Option<Arc<str>>,
}

/// The server's side of the handshake on a control connection.
pub(crate) async fn accept_control(
    tls: &TlsMaterial,
    stream: TcpStream,
    (reuse, kin): (SessionReuse, &Kin),
    limit: Duration,
) -> io::Result<Protected> {
    let (down, up) = (tls.server_config(ALPN), tls.server_config_without_tickets(ALPN));
    let ties = Arc::new(Ties::new(reuse, down.send_tls13_tickets, kin)?);
    let (config, _) = Marks::put_on(&down, ties.in_control_tickets());
    let handshake = TlsAcceptor::from(config).accept(stream);
    let stream = timeout(limit, handshake).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    let subject = tls.client_subject(stream.get_ref().1).map(Arc::from);
    Ok(Protected { stream, guard: DataGuard { down, up, ties }, subject })
}

impl DataGuard {
    /// Somebody has logged in on the control connection.
    pub(crate) fn belong_to(&self, user: &str, address: IpAddr) {
        self.ties.belong_to(user, address);
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
        let (config, marks) = Marks::put_on(config, self.ties.in_data_tickets());
        let handshake = TlsAcceptor::from(config).accept(stream);
        let stream = match timeout(limit, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "TLS did not come about on a data connection");
                return Err(say::DATA_TLS_FAILED);
            }
            Err(_) => return Err(say::DATA_TLS_FAILED),
        };
        if self.ties.admits(marks.resumed(stream.get_ref().1)) { Ok(Box::new(stream)) } else { Err(say::NOT_RESUMED) }
    }
}
