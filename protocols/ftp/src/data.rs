//! Data connections: how one is agreed on, made, protected, written and closed.

use crate::{
    deflate::{Damaged, Level, Packer, STEP, Unpacker},
    job::Progress,
    passive::Waiting,
    reply::{Reply, say},
    tls::{DataGuard, DataTls, Direction},
};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    ops::Range,
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::yield_now,
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
    /// The compressed stream stopped before its end.
    Unfinished,
    /// The compressed stream is none, or has something behind its end: what came of it cannot be trusted.
    Damaged,
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
            Self::Unfinished => say::STREAM_UNFINISHED,
            Self::Damaged => say::STREAM_DAMAGED,
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

impl From<Damaged> for Cut {
    fn from(_: Damaged) -> Self {
        Self::Damaged
    }
}

/// Writes all of `bytes`; `patience` is for each piece of progress.
pub(crate) async fn write_all(
    stream: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    patience: Duration,
) -> Result<(), Cut> {
    while !bytes.is_empty() {
        match timeout(patience, stream.write(bytes)).await {
            Ok(Ok(0)) => return Err(Cut::Broken(io::ErrorKind::WriteZero.into())),
            Ok(Ok(length)) => bytes = bytes.get(length..).unwrap_or_default(),
            Ok(Err(error)) => return Err(Cut::Broken(error)),
            Err(_) => return Err(Cut::Stalled),
        }
    }
    Ok(())
}

/// The socket of a data connection, with or without TLS.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<DataTls>),
}

impl Wire {
    async fn write_all(&mut self, bytes: &[u8], patience: Duration) -> Result<(), Cut> {
        match self {
            Self::Plain(stream) => write_all(stream, bytes, patience).await,
            Self::Tls(stream) => write_all(stream, bytes, patience).await,
        }
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

    /// Sends what is left and ends it in order: close_notify under TLS, then FIN.
    async fn finish(mut self, patience: Duration) -> Result<(), Cut> {
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

/// A data connection.
pub(crate) enum Data {
    /// Its bytes are those of the file.
    Stream(Wire),
    /// `MODE Z`, towards the client.
    Packed(Wire, Box<Packer>),
    /// `MODE Z`, from the client.
    Unpacked(Wire, Box<Inflow>),
}

/// A compressed stream that is coming.
pub(crate) struct Inflow {
    unpacker: Unpacker,
    came: Vec<u8>,
    /// What of `came` was not looked at yet.
    left: Range<usize>,
}

impl Data {
    /// Protects a connection where a guard is given, and packs its bytes where a level is.
    ///
    /// # Errors
    /// The reply to give.
    pub(crate) async fn new(
        stream: TcpStream,
        guard: Option<&DataGuard>,
        way: Direction,
        packed: Option<Level>,
    ) -> Result<Self, Reply> {
        let wire = match guard {
            None => Wire::Plain(stream),
            Some(guard) => Wire::Tls(guard.accept(stream, way, HANDSHAKE).await?),
        };
        Ok(match (packed, way) {
            (None, _) => Self::Stream(wire),
            (Some(level), Direction::Down) => Self::Packed(wire, Box::new(Packer::new(level))),
            (Some(_), Direction::Up) => {
                Self::Unpacked(wire, Box::new(Inflow { unpacker: Unpacker::new(), came: vec![0; STEP], left: 0..0 }))
            }
        })
    }

    /// The socket where nothing stands between its bytes and those of the file: for calls of the kernel that copy by themselves.
    pub(crate) const fn bare(&mut self) -> Option<&mut TcpStream> {
        match self {
            Self::Stream(Wire::Plain(stream)) => Some(stream),
            _ => None,
        }
    }

    /// Writes all of `bytes`; `patience` is for each piece of progress.
    pub(crate) async fn write_all(&mut self, mut bytes: &[u8], patience: Duration) -> Result<(), Cut> {
        match self {
            Self::Stream(wire) | Self::Unpacked(wire, _) => wire.write_all(bytes, patience).await,
            Self::Packed(wire, packer) => {
                while !bytes.is_empty() {
                    let (step, out) = packer.step(bytes)?;
                    wire.write_all(out, patience).await?;
                    bytes = bytes.get(step.taken..).unwrap_or_default();
                    yield_now().await;
                }
                Ok(())
            }
        }
    }

    /// Fills the buffer as far as the stream goes, for fewer and larger writes to the file: how much came, and whether it
    /// was the orderly end. What came before a cut is there too. `progress` hears of bytes as they come.
    pub(crate) async fn fill(
        &mut self,
        buffer: &mut [u8],
        patience: Duration,
        progress: &Progress,
    ) -> (usize, Result<bool, Cut>) {
        let mut length = 0;
        while let Some(room) = buffer.get_mut(length..).filter(|room| !room.is_empty()) {
            let read = match self {
                Self::Stream(wire) | Self::Packed(wire, _) => wire.read(room, patience).await,
                Self::Unpacked(wire, inflow) => inflow.read(wire, room, patience).await,
            };
            match read {
                Ok(0) => return (length, Ok(true)),
                Ok(more) => {
                    length += more;
                    progress.moved(more as u64);
                }
                Err(cut) => return (length, Err(cut)),
            }
        }
        (length, Ok(false))
    }

    /// Sends what is left and ends it in order: the end of the compressed stream, close_notify under TLS, then FIN.
    pub(crate) async fn finish(self, patience: Duration) -> Result<(), Cut> {
        let wire = match self {
            Self::Stream(wire) | Self::Unpacked(wire, _) => wire,
            Self::Packed(mut wire, mut packer) => loop {
                let (step, out) = packer.step(&[])?;
                wire.write_all(out, patience).await?;
                if step.ended {
                    break wire;
                }
            },
        };
        wire.finish(patience).await
    }
}

impl Inflow {
    /// As [`Wire::read`], of what the stream stands for.
    async fn read(&mut self, wire: &mut Wire, room: &mut [u8], patience: Duration) -> Result<usize, Cut> {
        loop {
            if self.left.is_empty() {
                self.left = 0..wire.read(&mut self.came, patience).await?;
                if self.left.is_empty() {
                    return if self.unpacker.has_ended() { Ok(0) } else { Err(Cut::Unfinished) };
                }
            }
            let step = self.unpacker.step(self.came.get(self.left.clone()).unwrap_or_default(), room)?;
            self.left.start += step.taken;
            yield_now().await;
            if step.made > 0 {
                return Ok(step.made);
            }
        }
    }
}

/// How long a client may take to come for its data, and the server to reach it.
const ARRIVAL: Duration = if cfg!(feature = "fuzzing") {
    Duration::from_millis(10)
} else {
    Duration::from_secs(if cfg!(test) { 2 } else { 30 })
};
/// How long TLS on a data connection may take.
const HANDSHAKE: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 30 });
