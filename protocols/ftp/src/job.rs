//! Work that takes a while, and what the control connection knows of it meanwhile.
//!
//! A transfer runs beside the control connection, so that `ABOR`, `STAT` and `NOOP` are answered during it. It owns all it
//! needs and touches nothing of the conversation; it speaks through replies: some on its way (150), one at its end.
//! Dropped, it is over: an upload in it is aborted by its own drop.

use crate::{
    data::{Agreed, Data},
    deflate::Level,
    reply::Reply,
    tls::{DataGuard, Direction},
};
use futures_util::future::BoxFuture;
use lockgate_access::Doing;
use lockgate_vfs::Vfs;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;

/// Work under way.
pub(crate) struct Job {
    /// Ends with the last reply.
    pub(crate) work: BoxFuture<'static, Reply>,
    /// Replies on the way.
    pub(crate) told: mpsc::Receiver<Reply>,
    /// How far it is.
    pub(crate) progress: Arc<Progress>,
}

/// How far a job is. The same numbers are in the list of sessions.
pub(crate) struct Progress {
    doing: Doing,
    committing: AtomicBool,
}

impl Progress {
    fn new(doing: Doing) -> Arc<Self> {
        Arc::new(Self { doing, committing: AtomicBool::new(false) })
    }

    /// Counts bytes.
    pub(crate) fn moved(&self, bytes: u64) {
        self.doing.moved(bytes);
    }

    /// From here on the upload becomes the file whatever the client says.
    pub(crate) fn commits(&self) {
        self.committing.store(true, Ordering::Relaxed);
    }

    /// Whether it is too late to end it.
    pub(crate) fn is_committing(&self) -> bool {
        self.committing.load(Ordering::Relaxed)
    }

    /// For a person.
    pub(crate) fn line(&self) -> String {
        let (bytes, time, rate) = self.doing.so_far();
        format!("{}: {bytes} bytes in {} s, {rate} bytes a second", self.doing, time.as_secs())
    }
}

/// What a transfer takes along.
pub(crate) struct Errand {
    pub(crate) vfs: Vfs,
    /// How long nothing may move.
    pub(crate) patience: Duration,
    pub(crate) progress: Arc<Progress>,
    road: Road,
    tell: mpsc::Sender<Reply>,
}

/// How a data connection comes about, and what is done to the bytes on it.
pub(crate) struct Road {
    pub(crate) agreed: Agreed,
    pub(crate) guard: Option<DataGuard>,
    /// `MODE Z`.
    pub(crate) packed: Option<Level>,
}

impl Errand {
    /// Begins a job that needs a data connection.
    pub(crate) fn run<F>(
        doing: Doing,
        (vfs, patience): (Vfs, Duration),
        road: Road,
        work: impl FnOnce(Self) -> F,
    ) -> Job
    where
        F: Future<Output = Result<Reply, Reply>> + Send + 'static,
    {
        let (tell, told) = mpsc::channel(1);
        let progress = Progress::new(doing);
        let work = work(Self { vfs, patience, progress: Arc::clone(&progress), road, tell });
        Job { work: Box::pin(async move { work.await.unwrap_or_else(|refusal| refusal) }), told, progress }
    }

    /// Makes the data connection: first the client must be there, then it hears `opening`, then TLS is made, which clients
    /// begin only once they have heard.
    ///
    /// # Errors
    /// The reply to give.
    pub(crate) async fn open(&mut self, way: Direction, opening: Reply) -> Result<Data, Reply> {
        let stream = std::mem::take(&mut self.road.agreed).connect().await?;
        // Nobody to tell: then the job is about to be dropped.
        let _ = self.tell.send(opening).await;
        Data::new(stream, self.road.guard.as_ref(), way, self.road.packed).await
    }
}

/// A job without a data connection.
pub(crate) fn quiet<F>(doing: Doing, work: impl FnOnce(Arc<Progress>) -> F) -> Job
where
    F: Future<Output = Result<Reply, Reply>> + Send + 'static,
{
    let (_, told) = mpsc::channel(1);
    let progress = Progress::new(doing);
    let work = work(Arc::clone(&progress));
    Job { work: Box::pin(async move { work.await.unwrap_or_else(|refusal| refusal) }), told, progress }
}
