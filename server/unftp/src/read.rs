//! Reading anywhere in a file of which the back-end gives only a stream.
//!
//! The stream goes on as long as the client does. A little of what was read is kept, and a little ahead is read past, since
//! clients that ask for several pieces at once have them answered out of order; for a longer jump the stream is opened anew, and
//! the file must be the one that it was. Memory is bounded by [`WINDOW`] for each open file, whatever its size.

use crate::{
    Model,
    calls::Stream,
    said::{broken, untrue},
    store::Store,
};
use lockgate_model::VPath;
use lockgate_vfs::{Action, Kind, Metadata, OpenFile, VfsError};
use std::sync::Arc;
use tokio::{io::AsyncReadExt as _, sync::Mutex};

/// Bytes kept of what was read, and the longest jump ahead that is read past.
pub(crate) const WINDOW: usize = 256 * 1024;
/// Bytes read at once.
const PIECE: usize = 64 * 1024;
/// Times that a file may change while it is opened.
const MOST_TRIES: usize = 4;

pub(crate) struct Reading {
    store: Arc<Store>,
    path: VPath,
    metadata: Metadata,
    flow: Mutex<Flow>,
}

/// A stream and where it is.
#[derive(Default)]
struct Flow {
    stream: Option<Stream>,
    /// The place of the next byte of the stream.
    at: u64,
    /// The bytes before that place.
    window: Vec<u8>,
    /// Whether the end was reached and the file was the same then.
    proven: bool,
}

impl Reading {
    /// Opens a file: the stream too, so that what is read is of the moment of opening where the back-end's streams are.
    pub(crate) async fn open(store: Arc<Store>, path: &VPath) -> Result<Self, VfsError> {
        for _ in 0..MOST_TRIES {
            let seen = store.find(path).await?;
            match seen.kind {
                Kind::File => {}
                Kind::Folder => return Err(VfsError::IsFolder(path.clone())),
                Kind::Link => return Err(VfsError::NotFound(path.clone())),
            }
            let metadata = store.metadata(path, &seen);
            let reading = Self { store: Arc::clone(&store), path: path.clone(), metadata, flow: Mutex::default() };
            match reading.begin().await {
                Err(VfsError::Changed(_)) => {}
                done => return done.map(|()| reading),
            }
        }
        Err(VfsError::Changed(path.clone()))
    }

    async fn begin(&self) -> Result<(), VfsError> {
        if self.metadata.size == 0 {
            // Some stores take a range that begins at the end for an error.
            return Ok(());
        }
        let mut flow = self.flow.lock().await;
        self.reopen(&mut flow, 0).await?;
        if self.store.model() == Model::Objects && self.metadata.size <= WINDOW as u64 {
            while flow.at < self.metadata.size {
                self.advance(&mut flow).await?;
            }
            flow.stream = None;
            flow.proven = true;
        }
        self.unchanged().await
    }

    /// Opens the stream anew, at `from` or before it.
    async fn reopen(&self, flow: &mut Flow, from: u64) -> Result<(), VfsError> {
        let from = if self.store.restarts { from } else { 0 };
        flow.stream = None;
        let stream = self.store.calls.get(&self.path, from).await?;
        *flow = Flow { stream: Some(stream), at: from, window: Vec::new(), proven: flow.proven };
        // There are streams that open the file when they are first read.
        self.advance(flow).await
    }

    /// Reads on in the stream. Nothing is lost where the caller goes away.
    async fn advance(&self, flow: &mut Flow) -> Result<(), VfsError> {
        let rest = usize::try_from(self.metadata.size.saturating_sub(flow.at)).unwrap_or(usize::MAX).min(PIECE);
        if flow.window.len() + rest > WINDOW {
            // Half at once: to make room a piece at a time would move all bytes each time.
            flow.window.drain(..(WINDOW / 2).min(flow.window.len()));
        }
        flow.window.reserve_exact(rest);
        let stream = flow.stream.as_mut().ok_or(VfsError::Interrupted)?;
        let got =
            stream.take(rest as u64).read_buf(&mut flow.window).await.map_err(|error| broken(error, &self.path))?;
        if got == 0 {
            flow.stream = None;
            return Err(untrue(Action::Read, "the file ended before the length that the store told"));
        }
        flow.at = flow.at.saturating_add(got as u64);
        Ok(())
    }

    async fn unchanged(&self) -> Result<(), VfsError> {
        match self.store.look(&self.path).await {
            Ok(seen) if self.store.metadata(&self.path, &seen) == self.metadata => Ok(()),
            Ok(_) | Err(VfsError::NotFound(_)) => Err(VfsError::Changed(self.path.clone())),
            Err(error) => Err(error),
        }
    }

    /// Makes the byte at `place`, which is before the end, one of the window.
    async fn reach(&self, flow: &mut Flow, place: u64) -> Result<(), VfsError> {
        let first = flow.at.saturating_sub(flow.window.len() as u64);
        let far = self.store.restarts && place.saturating_sub(flow.at) > WINDOW as u64;
        if place < first || far || flow.stream.is_none() && place >= flow.at {
            self.reopen(flow, place).await?;
            self.unchanged().await?;
        }
        while flow.at <= place {
            self.advance(flow).await?;
        }
        Ok(())
    }
}

impl Flow {
    /// What the window has from `place` on.
    fn kept(&self, place: u64) -> &[u8] {
        let first = self.at.saturating_sub(self.window.len() as u64);
        let skip = place.checked_sub(first).and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.window.get(skip..)).unwrap_or_default()
    }
}

#[async_trait::async_trait]
impl OpenFile for Reading {
    fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, VfsError> {
        let rest = usize::try_from(self.metadata.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = rest.min(buffer.len());
        let mut filled = 0;
        if wanted == 0 {
            return Ok(0);
        }
        let mut flow = self.flow.lock().await;
        while let Some(room) = buffer.get_mut(filled..wanted).filter(|room| !room.is_empty()) {
            let place = offset.saturating_add(filled as u64);
            let mut kept = flow.kept(place);
            if kept.is_empty() {
                self.reach(&mut flow, place).await?;
                kept = flow.kept(place);
            }
            let length = kept.len().min(room.len());
            for (to, from) in room.iter_mut().zip(kept) {
                *to = *from;
            }
            filled += length;
        }
        // A stream that asks piece by piece may have gone from one object to another on the way.
        if wanted == rest && self.store.model() == Model::Objects && !flow.proven {
            self.unchanged().await?;
            flow.proven = true;
        }
        Ok(filled)
    }
}
