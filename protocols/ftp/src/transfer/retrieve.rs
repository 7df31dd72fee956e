//! `RETR`: a file to the client.
//!
//! In clear the kernel copies from the page cache to the socket (`sendfile`), a piece at a time and without blocking, so that
//! many downloads share a few threads. What is not in memory would block such a call; so the tree is asked before each piece,
//! and a cold one goes through its own reading, which waits on other threads. Under TLS, and for TYPE A and MODE Z, the bytes
//! pass through a buffer.

use super::{ToWire, Turn};
use crate::{
    command::Representation,
    data::{Cut, Data, write_all},
    job::{Errand, Progress},
    names::shown,
    reply::{Reply, refused, say},
    tls::Direction,
};
use lockgate_model::VPath;
use lockgate_vfs::FileReader;
use rustix::io::Errno;
use std::{io, os::fd::BorrowedFd, time::Duration};
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
    let sent = match how {
        Representation::Ascii => reading.as_text(&mut data, from).await,
        Representation::Image => match data.bare() {
            Some(stream) => reading.in_clear(stream, from).await,
            None => reading.buffered(&mut data, from).await,
        },
    };
    match sent {
        // It got shorter meanwhile: what the client has is neither the old file nor the new one, and must not look whole.
        Ok(end) if end < size => return Err(say::READ_SHORT),
        Ok(_) => data.finish(errand.patience).await.map_err(|cut| cut.reply())?,
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

/// Each way sends from an offset to the end of the file, and says where that was.
impl Reading<'_> {
    async fn in_clear(&self, stream: &mut TcpStream, mut at: u64) -> Result<u64, Cut> {
        let (mut buffer, mut turn) = (Vec::new(), Turn::default());
        loop {
            // Looked at when the client can take it and no earlier: what was in memory before a long wait may be gone.
            timeout(self.patience, stream.writable()).await.map_err(|_| Cut::Stalled)??;
            let length = match self.file.ready(at, PIECE as u64).map(|file| send(stream, file, at)) {
                Some(Ok(Some(length))) => length,
                Some(Ok(None)) => continue,
                // A store whose files cannot be sent this way is read from.
                Some(Err(error)) if error.raw_os_error() != Some(Errno::INVAL.raw_os_error()) => {
                    return Err(Cut::Broken(error));
                }
                Some(Err(_)) | None => {
                    buffer.resize(PIECE, 0);
                    let length = self.file.read_at(at, &mut buffer).await?;
                    write_all(stream, buffer.get(..length).unwrap_or_default(), self.patience).await?;
                    length
                }
            };
            if length == 0 {
                return Ok(at);
            }
            at += length as u64;
            self.progress.moved(length as u64);
            turn.took(length).await;
        }
    }

    async fn buffered(&self, data: &mut Data, mut at: u64) -> Result<u64, Cut> {
        let mut buffer = vec![0; TLS_PIECE];
        loop {
            let length = self.file.read_at(at, &mut buffer).await?;
            if length == 0 {
                return Ok(at);
            }
            data.write_all(buffer.get(..length).unwrap_or_default(), self.patience).await?;
            at += length as u64;
            self.progress.moved(length as u64);
        }
    }

    async fn as_text(&self, data: &mut Data, mut at: u64) -> Result<u64, Cut> {
        let (mut buffer, mut out, mut ends) = (vec![0; TEXT_PIECE], Vec::new(), ToWire::default());
        loop {
            let length = self.file.read_at(at, &mut buffer).await?;
            if length == 0 {
                return Ok(at);
            }
            out.clear();
            ends.push(buffer.get(..length).unwrap_or_default(), &mut out);
            data.write_all(&out, self.patience).await?;
            at += length as u64;
            self.progress.moved(out.len() as u64);
        }
    }
}

/// Sends a piece from memory: how much, 0 at the end of the file; `None` where the client takes nothing just now.
fn send(stream: &TcpStream, file: BorrowedFd<'_>, mut at: u64) -> io::Result<Option<usize>> {
    match stream.try_io(Interest::WRITABLE, || Ok(rustix::fs::sendfile(stream, file, Some(&mut at), PIECE)?)) {
        Ok(length) => Ok(Some(length)),
        Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted].contains(&error.kind()) => Ok(None),
        Err(error) => Err(error),
    }
}
