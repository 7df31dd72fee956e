//! The seam at which a door comes in.

use crate::{Stop, Stranger};
use lockgate_model::Door;
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// One accepted connection: not banned, within the limits, PROXY header already read, `TCP_NODELAY` set.
#[derive(Debug)]
pub struct Connection {
    /// The bytes. TLS, where the door speaks it, is the door's first step (see [`crate::TlsMaterial`]).
    pub stream: TcpStream,
    /// The client's true address.
    pub peer: SocketAddr,
    /// The address it came in by.
    pub local: SocketAddr,
    /// Whether the address was told by a trusted proxy (so that the socket's own peer differs from [`Connection::peer`]).
    pub proxied: bool,
    /// The place this connection takes among strangers, and its grace time. Call [`Stranger::admit`] once somebody has logged
    /// in; race the login against [`Stranger::evicted`] before.
    pub stranger: Stranger,
    /// Told when the server stops.
    pub stop: Stop,
}

/// A door: what speaks one protocol on accepted connections.
///
/// One value serves all connections of all its listeners. The listener runs each call in a task of its own, holds the task's
/// panics, and drops the future when the shutdown grace is over.
#[async_trait::async_trait]
pub trait Frontend: Send + Sync + 'static {
    /// Which kind of listener this serves.
    fn door(&self) -> Door;

    /// Serves one connection to its end. Errors of a client are the client's: they are logged at debug level and end here.
    async fn serve(&self, connection: Connection);
}
