//! `RETR`: a file to the client.
//!
//! In clear the kernel copies from the page cache to the socket (`sendfile`), a piece at a time and without blocking, so that
//! many downloads share a few threads. What is not in the page cache would block such a call; so each piece is looked at
//! first, and a cold one goes through the tree's own reading, which waits on other threads. Under TLS, and for TYPE A, the
//! bytes pass through a buffer.

use super::ToWire;
use crate::{
    command::Representation,
    data::{Cut, Data},
    job::{Errand, Progress},
    names::shown,
    reply::{Reply, refused, say},
    tls::Direction,
};
use lockgate_model::VPath;
use lockgate_vfs::FileReader;
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::{
    io::{self, IoSliceMut},
    os::fd::BorrowedFd,
    time::Duration,
};
use tokio::{io::Interest, net::TcpStream, time::timeout};

/// Serves one `RETR`.
pub(crate) async fn retrieve(mut errand: Errand, path: VPath, from: u64, how: Representation) -> Result<Reply, Reply> {
    let file = errand.vfs.open(&path).await.map_err(|error| refused(&error))?;
    let size = file.metadata().size;
    if from > size {
        return Err(Reply::new(554, format!("The file has {size} bytes only")));
    }
    let name = shown(path.as_bytes());
    let opening = Reply::new(150, format!("Opening data connection for {name} ({size} bytes)"));
    let mut data = errand.open(Direction::Down, opening).await?;
    let reading = Reading { file, progress: &errand.progress, patience: errand.patience };
    let sent = match (&mut data, how) {
        (data, Representation::Ascii) => reading.as_text(data, from).await,
        (Data::Plain(stream), Representation::Image) => reading.in_clear(stream, from).await,
        (data, Representation::Image) => reading.buffered(data, from).await,
    };
    match sent {
        Ok(()) => data.finish(errand.patience).await.map_err(|cut| cut.reply())?,
        Err(Cut::Refused(_)) => return Err(say::READ_SHORT),
        Err(cut) => return Err(cut.reply()),
    }
    Ok(Reply::new(226, format!("Sent {name}")))
}

/// Bytes of one `sendfile`: enough that calls do not count, few enough that one client cannot hold a thread for long.
const PIECE: usize = 1 << 20;
/// Bytes of one read under TLS: more gains nothing there.
const TLS_PIECE: usize = 256 * 1024;
/// Bytes of one read in TYPE A.
const TEXT_PIECE: usize = 64 * 1024;

struct Reading<'a> {
    file: FileReader,
    progress: &'a Progress,
    patience: Duration,
}

/// Whether a piece can be sent without waiting for a disk.
#[derive(PartialEq, Eq)]
enum Warmth {
    Warm,
    Cold,
    /// The store does not say.
    Unknown,
}

impl Reading<'_> {
    async fn in_clear(&self, stream: &mut TcpStream, mut at: u64) -> Result<(), Cut> {
        let mut buffer = Vec::new();
        loop {
            let warmth = self.file.descriptor().map_or(Warmth::Unknown, |file| warmth(file, at));
            if warmth == Warmth::Warm {
                match self.send_piece(stream, &mut at).await {
                    Ok(true) => continue,
                    Ok(false) => return Ok(()),
                    // A store whose files cannot be sent this way.
                    Err(Cut::Broken(error)) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => {}
                    Err(cut) => return Err(cut),
                }
            }
            buffer.resize(PIECE, 0);
            let length = self.file.read_at(at, &mut buffer).await?;
            if length == 0 {
                return Ok(());
            }
            write_all(stream, buffer.get(..length).unwrap_or_default(), self.patience).await?;
            at += length as u64;
            self.progress.moved(length as u64);
        }
    }

    /// Sends a piece from the page cache; false at the end of the file.
    async fn send_piece(&self, stream: &TcpStream, at: &mut u64) -> Result<bool, Cut> {
        timeout(self.patience, stream.writable()).await.map_err(|_| Cut::Stalled)??;
        let Some(file) = self.file.descriptor() else { return Ok(false) };
        let mut place = *at;
        match stream.try_io(Interest::WRITABLE, || Ok(rustix::fs::sendfile(stream, file, Some(&mut place), PIECE)?)) {
            Ok(0) => Ok(false),
            Ok(length) => {
                *at += length as u64;
                self.progress.moved(length as u64);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock || error.kind() == io::ErrorKind::Interrupted => {
                Ok(true)
            }
            Err(error) => Err(Cut::Broken(error)),
        }
    }

    async fn buffered(&self, data: &mut Data, mut at: u64) -> Result<(), Cut> {
        let mut buffer = vec![0; TLS_PIECE];
        loop {
            let length = self.file.read_at(at, &mut buffer).await?;
            if length == 0 {
                return Ok(());
            }
            data.write_all(buffer.get(..length).unwrap_or_default(), self.patience).await?;
            at += length as u64;
            self.progress.moved(length as u64);
        }
    }

    async fn as_text(&self, data: &mut Data, mut at: u64) -> Result<(), Cut> {
        let (mut buffer, mut out, mut ends) = (vec![0; TEXT_PIECE], Vec::new(), ToWire::default());
        loop {
            let length = self.file.read_at(at, &mut buffer).await?;
            if length == 0 {
                return Ok(());
            }
            out.clear();
            ends.push(buffer.get(..length).unwrap_or_default(), &mut out);
            data.write_all(&out, self.patience).await?;
            at += length as u64;
            self.progress.moved(out.len() as u64);
        }
    }
}

async fn write_all(stream: &mut TcpStream, bytes: &[u8], patience: Duration) -> Result<(), Cut> {
    let mut left = bytes;
    while !left.is_empty() {
        timeout(patience, stream.writable()).await.map_err(|_| Cut::Stalled)??;
        match stream.try_write(left) {
            Ok(0) => return Err(Cut::Broken(io::ErrorKind::WriteZero.into())),
            Ok(length) => left = left.get(length..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(Cut::Broken(error)),
        }
    }
    Ok(())
}

/// Looks at the first and the last byte of the piece at `at`.
fn warmth(file: BorrowedFd<'_>, at: u64) -> Warmth {
    for place in [at, at.saturating_add(PIECE as u64 - 1)] {
        let mut byte = [0];
        match preadv2(file, &mut [IoSliceMut::new(&mut byte)], place, ReadWriteFlags::NOWAIT) {
            Ok(_) => {}
            Err(Errno::AGAIN) => return Warmth::Cold,
            Err(_) => return Warmth::Unknown,
        }
    }
    Warmth::Warm
}
