//! How much a connection has under way: what a stopping server waits for.

use std::sync::Arc;
use tokio::sync::watch;

/// Counts the open files and running copies of one connection. Clones count together.
#[derive(Clone, Debug)]
pub(crate) struct Work(Arc<watch::Sender<usize>>);

/// One thing under way; over when dropped.
#[derive(Debug)]
pub(crate) struct Job(Work);

impl Work {
    /// Nothing is under way.
    pub(crate) fn none() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }

    /// Begins one thing, unless `most` are under way.
    pub(crate) fn begin(&self, most: usize) -> Option<Job> {
        let mut begun = false;
        self.0.send_if_modified(|count| {
            begun = *count < most;
            *count += usize::from(begun);
            begun
        });
        begun.then(|| Job(self.clone()))
    }

    /// Waits until nothing is under way. Cancel safe.
    pub(crate) async fn done(&self) {
        let mut count = self.0.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = count.wait_for(|count| *count == 0).await;
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn done_waits_for_the_last_job_and_the_limit_holds() {
        let work = Work::none();
        work.done().await;
        let job = work.begin(1).unwrap();
        assert!(work.begin(1).is_none());
        let waiting = tokio::spawn({
            let work = work.clone();
            async move { work.done().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        drop(job);
        waiting.await.unwrap();
    }
}
