//! The control connection: lines in, replies out, in clear or under TLS.
//!
//! It is small while nobody speaks, since most sessions are idle most of the time: the line buffer is there only while a
//! line is coming. Urgent data is taken in line: a client that sends `ABOR` as urgent data (Python's whole line, others its
//! Telnet prefix) would otherwise lose the byte that was marked, and with it the end of the line. A read stops before such a
//! byte, which the runtime takes for the end of what is there; so the socket is asked once more before it is waited for.

use crate::{
    line::{Line, Lines},
    reply::Reply,
    ties::{Kin, SessionReuse},
    tls::{DataGuard, Protected, accept_control},
};
use lockgate_net::TlsMaterial;
use rustix::net::RecvFlags;
use std::{io, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::server::TlsStream;

/// Why there is no next line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoLine {
    /// The client closed the connection, or it broke.
    Closed,
    /// A line without an end.
    TooLong,
    /// TLS where none was expected.
    Foreign,
}

/// See the module.
pub(crate) struct Control {
    wire: Wire,
    lines: Lines,
    /// How long a client has to take a reply.
    patience: Duration,
}

enum Wire {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Between the two, or after a handshake that failed.
    Gone,
}

impl Control {
    pub(crate) fn new(stream: TcpStream, limit: usize, patience: Duration) -> Self {
        // Where the system refuses, an urgent ABOR may come without its end; nothing else depends on it.
        let _ = rustix::net::sockopt::set_socket_oobinline(&stream, true);
        Self { wire: Wire::Plain(stream), lines: Lines::new(limit), patience }
    }

    /// Whether it is under TLS.
    pub(crate) const fn is_secure(&self) -> bool {
        matches!(self.wire, Wire::Tls(_))
    }

    /// The next line. Cancel safe.
    pub(crate) async fn line(&mut self) -> Result<Line, NoLine> {
        loop {
            match self.lines.next() {
                Ok(Some(line)) => return Ok(line),
                Ok(None) if !self.is_secure() && self.lines.looks_like_tls() => return Err(NoLine::Foreign),
                Ok(None) => {}
                Err(_) => return Err(NoLine::TooLong),
            }
            let mut piece = [0_u8; 512];
            let length = match &mut self.wire {
                Wire::Plain(stream) => match rustix::net::recv(&*stream, &mut piece, RecvFlags::DONTWAIT) {
                    Ok((length, _)) => Ok(length),
                    Err(_) => stream.read(&mut piece).await,
                },
                Wire::Tls(stream) => stream.read(&mut piece).await,
                Wire::Gone => Ok(0),
            };
            match length {
                Ok(0) | Err(_) => return Err(NoLine::Closed),
                Ok(length) => self.lines.feed(piece.get(..length).unwrap_or_default()),
            }
        }
    }

    /// Whether something came that was not taken as a line yet.
    pub(crate) fn has_more(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Says a reply.
    ///
    /// # Errors
    /// A client that is gone or does not read.
    pub(crate) async fn say(&mut self, reply: &Reply) -> io::Result<()> {
        let bytes = reply.encode();
        let sent = async {
            match &mut self.wire {
                Wire::Plain(stream) => stream.write_all(&bytes).await,
                Wire::Tls(stream) => {
                    stream.write_all(&bytes).await?;
                    stream.flush().await
                }
                Wire::Gone => Err(io::ErrorKind::NotConnected.into()),
            }
        };
        timeout(self.patience, sent).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    /// Puts the connection under TLS. What came in clear is forgotten. What its data connections are protected by comes back,
    /// and the subject that the client proved with a certificate.
    ///
    /// # Errors
    /// What the handshake says; the connection is of no more use then.
    pub(crate) async fn protect(
        &mut self,
        tls: &TlsMaterial,
        reuse: (SessionReuse, &Kin),
        limit: Duration,
    ) -> io::Result<(DataGuard, Option<Arc<str>>)> {
        self.lines.clear();
        let Wire::Plain(stream) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        let Protected { stream, guard, subject } = accept_control(tls, stream, reuse, limit).await?;
        self.wire = Wire::Tls(Box::new(stream));
        Ok((guard, subject))
    }

    /// The subject that the client proved with a certificate, where it counts at this moment.
    pub(crate) fn client_subject(&self, tls: &TlsMaterial) -> Option<Arc<str>> {
        match &self.wire {
            Wire::Tls(stream) => tls.client_subject(stream.get_ref().1).map(Arc::from),
            Wire::Plain(_) | Wire::Gone => None,
        }
    }

    /// Closes in order, and takes a little of what is still coming so that the last reply is not lost to a reset.
    pub(crate) async fn close(mut self) {
        let parting = async {
            let stream = match &mut self.wire {
                Wire::Plain(stream) => {
                    stream.shutdown().await?;
                    stream
                }
                Wire::Tls(stream) => {
                    stream.shutdown().await?;
                    stream.get_mut().0
                }
                Wire::Gone => return Ok(()),
            };
            let (mut piece, mut left) = ([0_u8; 1024], MOST_AFTER_THE_END);
            while left > 0 {
                match stream.read(&mut piece).await? {
                    0 => break,
                    length => left = left.saturating_sub(length),
                }
            }
            io::Result::Ok(())
        };
        let _ = timeout(PARTING, parting).await;
    }
}

/// How long a client has to take its leave.
const PARTING: Duration = Duration::from_millis(500);
/// Bytes taken after the last reply.
const MOST_AFTER_THE_END: usize = 64 * 1024;
