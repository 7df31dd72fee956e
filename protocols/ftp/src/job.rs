//! Work that takes a while, and what the control connection knows of it meanwhile.
//!
//! A transfer runs beside the control connection, so that `ABOR`, `STAT` and `NOOP` are answered during it. It owns all it
//! needs and touches nothing of the conversation; it speaks through replies: some on its way (150), one at its end.
//! Dropped, it is over: an upload in it is aborted by its own drop.

use crate::{
    data::{Agreed, Data},
    reply::Reply,
    tls::{DataGuard, Direction},
};
use futures_util::future::BoxFuture;
use lockgate_vfs::Vfs;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
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

/// How far a job is.
pub(crate) struct Progress {
    what: String,
    began: Instant,
    moved: AtomicU64,
    committing: AtomicBool,
}

impl Progress {
    fn new(what: String) -> Self {
        Self { what, began: Instant::now(), moved: AtomicU64::new(0), committing: AtomicBool::new(false) }
    }

    /// Counts bytes.
    pub(crate) fn moved(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
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
        let (bytes, time) = (self.moved.load(Ordering::Relaxed), self.began.elapsed());
        let rate = u128::from(bytes) * 1000 / time.as_millis().max(1);
        format!("{}: {bytes} bytes in {} s, {rate} bytes a second", self.what, time.as_secs())
    }
}

/// What a transfer takes along.
pub(crate) struct Errand {
    pub(crate) vfs: Vfs,
    /// How long nothing may move.
    pub(crate) patience: Duration,
    pub(crate) progress: Arc<Progress>,
    agreed: Agreed,
    guard: Option<DataGuard>,
    tell: mpsc::Sender<Reply>,
}

impl Errand {
    /// Begins a job that needs a data connection.
    pub(crate) fn run<F>(
        what: String,
        (vfs, patience): (Vfs, Duration),
        (agreed, guard): (Agreed, Option<DataGuard>),
        work: impl FnOnce(Self) -> F,
    ) -> Job
    where
        F: Future<Output = Result<Reply, Reply>> + Send + 'static,
    {
        let (tell, told) = mpsc::channel(1);
        let progress = Arc::new(Progress::new(what));
        let work = work(Self { vfs, patience, progress: Arc::clone(&progress), agreed, guard, tell });
        Job { work: Box::pin(async move { work.await.unwrap_or_else(|refusal| refusal) }), told, progress }
    }

    /// Makes the data connection: first the client must be there, then it hears `opening`, then TLS is made, which clients
    /// begin only once they have heard.
    ///
    /// # Errors
    /// The reply to give.
    pub(crate) async fn open(&mut self, way: Direction, opening: Reply) -> Result<Data, Reply> {
        let stream = std::mem::take(&mut self.agreed).connect().await?;
        // Nobody to tell: then the job is about to be dropped.
        let _ = self.tell.send(opening).await;
        Data::new(stream, self.guard.as_ref(), way).await
    }
}

/// A job without a data connection.
pub(crate) fn quiet<F>(what: String, work: impl FnOnce(Arc<Progress>) -> F) -> Job
where
    F: Future<Output = Result<Reply, Reply>> + Send + 'static,
{
    let (_, told) = mpsc::channel(1);
    let progress = Arc::new(Progress::new(what));
    let work = work(Arc::clone(&progress));
    Job { work: Box::pin(async move { work.await.unwrap_or_else(|refusal| refusal) }), told, progress }
}
