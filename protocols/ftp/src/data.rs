//! Data connections: how one is agreed on, made, protected, written and closed.

use crate::{
    passive::Waiting,
    reply::{Reply, say},
    tls::{DataGuard, DataTls, Direction},
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// How the next data connection comes about.
#[derive(Default)]
pub(crate) enum Agreed {
    /// Not at all yet.
    #[default]
    Nothing,
    /// The client comes to this port.
    Passive(Waiting),
    /// The client is gone to, from this address.
    Active { to: SocketAddr, from: IpAddr },
}

impl Agreed {
    /// Lets a passive client in as soon as it comes; for ever nothing otherwise. Cancel safe.
    pub(crate) async fn arrive(&mut self) {
        match self {
            Self::Passive(waiting) => waiting.arrive().await,
            Self::Nothing | Self::Active { .. } => std::future::pending().await,
        }
    }

    /// The connection, in clear.
    ///
    /// # Errors
    /// The reply to give.
    pub(crate) async fn connect(self) -> Result<TcpStream, Reply> {
        let stream = match self {
            Self::Nothing => return Err(say::NO_DATA_CONNECTION),
            Self::Passive(waiting) => timeout(ARRIVAL, waiting.take()).await.map_err(|_| say::NOBODY_CAME)?,
            Self::Active { to, from } => match timeout(ARRIVAL, call(to, from)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(%to, %error, "an active data connection was not made");
                    return Err(say::CANNOT_REACH);
                }
                Err(_) => return Err(say::CANNOT_REACH),
            },
        };
        // Where it cannot be set the last piece may wait for an acknowledgement; nothing else.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

async fn call(to: SocketAddr, from: IpAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(to).await
}

/// Why a transfer stopped on its way.
#[derive(Debug)]
pub(crate) enum Cut {
    /// The data connection broke.
    Broken(io::Error),
    /// Nothing moved for too long.
    Stalled,
    /// TLS ended without its close (RFC 4217 section 12.4): whether the file is whole nobody knows.
    NotClosed,
    /// The tree refused.
    Refused(lockgate_vfs::VfsError),
}

impl Cut {
    /// What to say.
    pub(crate) fn reply(&self) -> Reply {
        match self {
            Self::Broken(error) => {
                tracing::debug!(%error, "a data connection broke");
                say::DATA_CUT
            }
            Self::Stalled => say::DATA_STALLED,
            Self::NotClosed => say::NO_CLOSE_NOTIFY,
            Self::Refused(error) => crate::reply::refused(error),
        }
    }
}

impl From<io::Error> for Cut {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl From<lockgate_vfs::VfsError> for Cut {
    fn from(error: lockgate_vfs::VfsError) -> Self {
        Self::Refused(error)
    }
}

/// A data connection.
pub(crate) enum Data {
    Plain(TcpStream),
    Tls(Box<DataTls>),
}

impl Data {
    /// Protects a connection where a guard is given.
    ///
    /// # Errors
    /// The reply to give.
    pub(crate) async fn new(stream: TcpStream, guard: Option<&DataGuard>, way: Direction) -> Result<Self, Reply> {
        match guard {
            None => Ok(Self::Plain(stream)),
            Some(guard) => Ok(Self::Tls(guard.accept(stream, way, HANDSHAKE).await?)),
        }
    }

    /// Writes all of `bytes`; `patience` is for each piece of progress.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8], patience: Duration) -> Result<(), Cut> {
        while !bytes.is_empty() {
            let written = match self {
                Self::Plain(stream) => timeout(patience, stream.write(bytes)).await,
                Self::Tls(stream) => timeout(patience, stream.write(bytes)).await,
            };
            match written {
                Ok(Ok(0)) => return Err(Cut::Broken(io::ErrorKind::WriteZero.into())),
                Ok(Ok(length)) => bytes = bytes.get(length..).unwrap_or_default(),
                Ok(Err(error)) => return Err(Cut::Broken(error)),
                Err(_) => return Err(Cut::Stalled),
            }
        }
        Ok(())
    }

    /// Reads what is there, at most a buffer full; 0 at the orderly end.
    async fn read(&mut self, buffer: &mut [u8], patience: Duration) -> Result<usize, Cut> {
        let read = match self {
            Self::Plain(stream) => timeout(patience, stream.read(buffer)).await,
            Self::Tls(stream) => timeout(patience, stream.read(buffer)).await,
        };
        match read {
            Ok(Ok(length)) => Ok(length),
            Ok(Err(error)) if matches!(self, Self::Tls(_)) && error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(Cut::NotClosed)
            }
            Ok(Err(error)) => Err(Cut::Broken(error)),
            Err(_) => Err(Cut::Stalled),
        }
    }

    /// Fills the buffer as far as the stream goes, for fewer and larger writes to the file: how much came, and whether it
    /// was the orderly end. What came before a cut is there too.
    pub(crate) async fn fill(&mut self, buffer: &mut [u8], patience: Duration) -> (usize, Result<bool, Cut>) {
        let mut length = 0;
        while let Some(room) = buffer.get_mut(length..).filter(|room| !room.is_empty()) {
            match self.read(room, patience).await {
                Ok(0) => return (length, Ok(true)),
                Ok(more) => length += more,
                Err(cut) => return (length, Err(cut)),
            }
        }
        (length, Ok(false))
    }

    /// Sends what is left and ends it in order: close_notify under TLS, then FIN.
    pub(crate) async fn finish(mut self, patience: Duration) -> Result<(), Cut> {
        let ended = match &mut self {
            Self::Plain(stream) => timeout(patience, stream.shutdown()).await,
            Self::Tls(stream) => timeout(patience, stream.shutdown()).await,
        };
        match ended {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Cut::Broken(error)),
            Err(_) => Err(Cut::Stalled),
        }
    }
}

/// How long a client may take to come for its data, and the server to reach it.
const ARRIVAL: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 30 });
/// How long TLS on a data connection may take.
const HANDSHAKE: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 30 });
