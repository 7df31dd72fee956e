//! `STOR`, `APPE`, `STOU`: a file from the client.
//!
//! What came becomes the file only on the client's own proof of the end: the orderly close of the data connection, under TLS
//! its close_notify (files.md). Everything else drops the upload, which keeps it as the client's partial.
//!
//! In clear the bytes of a large file go through a pipe from the socket to the page cache (`splice`), which saves a copy; the
//! first ones are read, so that a small file costs no pipe.

use super::{Turn, ascii::ToFile};
use crate::{
    command::Representation,
    data::{Cut, Data},
    job::{Errand, Progress},
    names::shown,
    reply::{Reply, refused},
    tls::Direction,
};
use lockgate_model::VPath;
use lockgate_vfs::{Intent, OnAbort, Upload, VfsError};
use rustix::{
    fd::OwnedFd,
    io::Errno,
    pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice},
};
use std::{io, time::Duration};
use tokio::{io::Interest, net::TcpStream, time::timeout};

/// How an upload begins.
pub(crate) struct Begin {
    pub(crate) path: VPath,
    pub(crate) intent: Intent,
    /// Where its first byte goes; not looked at where the intent says append.
    pub(crate) at: u64,
    /// What the client said it would need (`ALLO`).
    pub(crate) announced: Option<u64>,
    pub(crate) how: Representation,
    /// What 150 says.
    pub(crate) opening: Reply,
}

/// Serves one upload.
pub(crate) async fn store(mut errand: Errand, begin: Begin) -> Result<Reply, Reply> {
    let said = |error: VfsError| refused(&error);
    let upload = errand.vfs.create(&begin.path, begin.intent, OnAbort::Keep).await.map_err(said)?;
    let before = upload.len();
    if let Some(more) = begin.announced {
        let appends = matches!(begin.intent, Intent::Patch { append: true, .. });
        let from = if appends { before } else { begin.at };
        upload.check_room(from.saturating_add(more)).await.map_err(said)?;
    }
    let mut data = errand.open(Direction::Up, begin.opening).await?;
    let mut writing = Writing { upload, at: begin.at, progress: &errand.progress, patience: errand.patience };
    let received = match begin.how {
        Representation::Ascii => writing.as_text(&mut data).await,
        Representation::Image => match data.bare() {
            Some(stream) => writing.in_clear(stream).await,
            None => writing.buffered(&mut data).await,
        },
    };
    if let Err(Cut::Damaged) = received
        && !writing.upload.is_in_place()
    {
        // Nothing of it can be trusted, so nothing is kept to go on with but what was there before.
        writing.upload.set_len(before).await.map_err(said)?;
    }
    received.map_err(|cut| cut.reply())?;
    errand.progress.commits();
    writing.upload.commit().await.map_err(said)?;
    // The client has ended its side; that it hears of the end of ours is a courtesy.
    let _ = data.finish(COURTESY).await;
    Ok(Reply::new(226, format!("Stored {}", shown(begin.path.as_bytes()))))
}

/// Bytes that are read before a pipe is made, and of one read in TYPE A.
const FIRST_PIECE: usize = 64 * 1024;
/// Bytes of one write: between 256 KiB and 1 MiB is best.
const PIECE: usize = 256 * 1024;
/// What a pipe holds; also the most of one `splice`.
const PIPE: usize = 1 << 20;
/// How long the end of our side is waited for.
const COURTESY: Duration = Duration::from_secs(2);

struct Writing<'a> {
    upload: Upload,
    at: u64,
    progress: &'a Progress,
    patience: Duration,
}

impl Writing<'_> {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Cut> {
        self.upload.write_at(self.at, bytes).await?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    async fn in_clear(&mut self, stream: &mut TcpStream) -> Result<(), Cut> {
        let mut buffer = vec![0; FIRST_PIECE];
        if !self.fill_and_write(stream, &mut buffer).await? {
            return Ok(());
        }
        if self.upload.descriptor().is_some()
            && let Some((out, into)) = pipe()
        {
            drop(buffer);
            return self.through(stream, &out, &into).await;
        }
        buffer.resize(PIPE, 0);
        let mut turn = Turn::default();
        while self.fill_and_write(stream, &mut buffer).await? {
            turn.took(PIPE).await;
        }
        Ok(())
    }

    /// Reads a buffer full and writes it; false at the end. What came whole before a cut is kept for a resume.
    async fn fill_and_write(&mut self, stream: &TcpStream, buffer: &mut [u8]) -> Result<bool, Cut> {
        let mut length = 0;
        let end = loop {
            let Some(room) = buffer.get_mut(length..).filter(|room| !room.is_empty()) else { break Ok(false) };
            match timeout(self.patience, stream.readable()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => break Err(Cut::Broken(error)),
                Err(_) => break Err(Cut::Stalled),
            }
            match stream.try_read(room) {
                Ok(0) => break Ok(true),
                Ok(read) => {
                    length += read;
                    self.progress.moved(read as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => break Err(Cut::Broken(error)),
            }
        };
        self.write(buffer.get(..length).unwrap_or_default()).await?;
        end.map(|end| !end)
    }

    /// Moves the rest through a pipe. The pipe is empty before each call, so "would block" always means the socket.
    async fn through(&mut self, stream: &TcpStream, out: &OwnedFd, into: &OwnedFd) -> Result<(), Cut> {
        let mut turn = Turn::default();
        loop {
            timeout(self.patience, stream.readable()).await.map_err(|_| Cut::Stalled)??;
            let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
            match stream.try_io(Interest::READABLE, || Ok(splice(stream, None, into, None, PIPE, flags)?)) {
                Ok(0) => return Ok(()),
                Ok(length) => {
                    self.drain(out, length)?;
                    turn.took(length).await;
                }
                Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind()) => {}
                Err(error) => return Err(Cut::Broken(error)),
            }
        }
    }

    /// Moves what is in the pipe to the file.
    fn drain(&mut self, out: &OwnedFd, length: usize) -> Result<(), Cut> {
        self.upload.grow(self.at, length as u64)?;
        let file = self.upload.descriptor().ok_or(VfsError::Interrupted)?;
        let (mut place, mut left) = (self.at, length);
        while left > 0 {
            match splice(out, None, file, Some(&mut place), left, SpliceFlags::MOVE) {
                Ok(0) => return Err(VfsError::Interrupted.into()),
                Ok(moved) => left = left.saturating_sub(moved),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(self.upload.broke(errno.into()).into()),
            }
        }
        self.upload.wrote(self.at, length as u64);
        self.at += length as u64;
        self.progress.moved(length as u64);
        Ok(())
    }

    async fn buffered(&mut self, data: &mut Data) -> Result<(), Cut> {
        let (mut buffer, mut turn) = (vec![0; PIECE], Turn::default());
        loop {
            let (length, end) = data.fill(&mut buffer, self.patience, self.progress).await;
            self.write(buffer.get(..length).unwrap_or_default()).await?;
            if end? {
                return Ok(());
            }
            turn.took(length).await;
        }
    }

    async fn as_text(&mut self, data: &mut Data) -> Result<(), Cut> {
        let (mut buffer, mut out, mut ends) = (vec![0; FIRST_PIECE], Vec::new(), ToFile::default());
        let mut turn = Turn::default();
        loop {
            let (length, end) = data.fill(&mut buffer, self.patience, self.progress).await;
            out.clear();
            ends.push(buffer.get(..length).unwrap_or_default(), &mut out);
            self.write(&out).await?;
            if end? {
                out.clear();
                ends.finish(&mut out);
                return self.write(&out).await;
            }
            turn.took(length).await;
        }
    }
}

/// A pipe of a useful size; `None` where the system has none left for us.
fn pipe() -> Option<(OwnedFd, OwnedFd)> {
    let (out, into) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC).ok()?;
    fcntl_setpipe_size(&into, PIPE).ok()?;
    Some((out, into))
}
