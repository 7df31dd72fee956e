//! The to and fro of scp: lines, one-byte answers, and bytes between them.

use lockgate_model::VPath;
use std::{fmt::Display, io, time::Duration};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    time::timeout,
};

/// Why an scp ends before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Break {
    /// The client was told why.
    Told,
    /// The client is gone, silent for too long, or speaks something else.
    Gone,
}

impl From<io::Error> for Break {
    fn from(_: io::Error) -> Self {
        Self::Gone
    }
}

/// What a client answers to a line or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// Good.
    Fine,
    /// This one failed at the client; go on with the next.
    Failed,
}

/// One end of the conversation.
pub(crate) struct Talk<R, W> {
    from: BufReader<R>,
    to: W,
    idle: Duration,
    failed: bool,
}

impl<R: AsyncRead + Unpin, W: AsyncWrite + Unpin> Talk<R, W> {
    /// Every step must move within `idle`.
    pub(crate) fn new(from: R, to: W, idle: Duration) -> Self {
        Self { from: BufReader::with_capacity(BUFFER, from), to, idle, failed: false }
    }

    /// Sends bytes.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Break> {
        let sending = async {
            self.to.write_all(bytes).await?;
            self.to.flush().await
        };
        timeout(self.idle, sending).await.map_err(|_| Break::Gone)??;
        Ok(())
    }

    /// Says that all is well so far.
    pub(crate) async fn fine(&mut self) -> Result<(), Break> {
        self.send(&[0]).await
    }

    /// Tells of something that failed, and goes on: the whole ends with status 1.
    pub(crate) async fn complain(&mut self, about: &VPath, why: impl Display) -> Result<(), Break> {
        self.failed = true;
        self.send(format!("\u{1}scp: {about}: {why}\n").as_bytes()).await
    }

    /// Tells why nothing more is done.
    pub(crate) async fn give_up(&mut self, why: impl Display) -> Break {
        match self.send(format!("\u{2}scp: {why}\n").as_bytes()).await {
            Ok(()) => Break::Told,
            Err(gone) => gone,
        }
    }

    /// The end of it all.
    pub(crate) fn result(&self) -> Result<(), Break> {
        if self.failed { Err(Break::Told) } else { Ok(()) }
    }

    /// A line without its line break; `None` where the client is done.
    pub(crate) async fn line(&mut self) -> Result<Option<Vec<u8>>, Break> {
        let mut line = Vec::new();
        let mut limited = (&mut self.from).take(LONGEST_LINE);
        let length = timeout(self.idle, limited.read_until(b'\n', &mut line)).await.map_err(|_| Break::Gone)??;
        if length == 0 {
            return Ok(None);
        }
        if line.pop() != Some(b'\n') {
            return Err(Break::Gone);
        }
        Ok(Some(line))
    }

    /// The client's answer.
    pub(crate) async fn reply(&mut self) -> Result<Reply, Break> {
        match timeout(self.idle, self.from.read_u8()).await.map_err(|_| Break::Gone)?? {
            0 => Ok(Reply::Fine),
            1 => {
                self.line().await?;
                self.failed = true;
                Ok(Reply::Failed)
            }
            _ => Err(Break::Gone),
        }
    }

    /// At most `room.len()` bytes, at least one.
    pub(crate) async fn some(&mut self, room: &mut [u8]) -> Result<usize, Break> {
        match timeout(self.idle, self.from.read(room)).await.map_err(|_| Break::Gone)?? {
            0 => Err(Break::Gone),
            length => Ok(length),
        }
    }
}

const BUFFER: usize = 64 << 10;
/// A letter, two numbers and the longest name, generously.
const LONGEST_LINE: u64 = 1024;
