//! Which uploads are being worked on, and which have just come to their end: the only things that are remembered beside the bytes.
//!
//! One request at a time works on an upload. A client that was cut off comes back before the server has noticed, and would be locked
//! out by its own dead request; so one that stands still is told to make way, and keeps what came. The uploads that were committed
//! last are remembered for a while, so that a client whose last answer got lost learns that it has nothing left to send. Both are
//! the process's and not a listener's: all of them lead to the same files.

use lockgate_vfs::PartialKey;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

/// How long a request that another one waits for may go without a byte until it is told to make way.
const STILL: Duration = Duration::from_secs(2);
/// How long one waits for another that is at work.
const WAIT: Duration = Duration::from_secs(1);
/// How long one waits for another that was told to make way: it may be syncing.
const MAKE_WAY: Duration = Duration::from_secs(5);
/// Committed uploads that are remembered, and for how long.
const MOST_DONE: usize = 1024;
const REMEMBERED: Duration = Duration::from_secs(600);

static TABLE: LazyLock<Mutex<Table>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Table {
    /// As many as there are requests.
    running: HashMap<PartialKey, Arc<Work>>,
    done: Done,
}

/// The uploads that were committed last, the oldest first.
#[derive(Default)]
struct Done(VecDeque<(PartialKey, Instant)>);

impl Done {
    fn add(&mut self, key: PartialKey, now: Instant) {
        self.0.push_back((key, now));
        let old = |entry: &(PartialKey, Instant)| now.duration_since(entry.1) > REMEMBERED;
        while self.0.len() > MOST_DONE || self.0.front().is_some_and(old) {
            self.0.pop_front();
        }
    }

    fn has(&self, wanted: &PartialKey, now: Instant) -> bool {
        self.0.iter().any(|(key, at)| key == wanted && now.duration_since(*at) <= REMEMBERED)
    }

    fn forget(&mut self, wanted: &PartialKey) {
        self.0.retain(|(key, _)| key != wanted);
    }
}

/// A request at work.
struct Work {
    stop: CancellationToken,
    over: CancellationToken,
    moved: Mutex<Instant>,
}

fn table() -> MutexGuard<'static, Table> {
    TABLE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What becomes of another request that works on the upload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// It goes on while bytes come.
    GoOn,
    /// It makes way.
    MakeWay,
}

/// The right to work on an upload. Held until its bytes are where they stay.
pub(super) struct Hold {
    key: PartialKey,
    work: Arc<Work>,
}

impl Hold {
    /// Takes the upload; `None` where another request goes on working on it.
    pub(super) async fn take(key: PartialKey, others: Others) -> Option<Self> {
        let deadline = Instant::now() + MAKE_WAY;
        loop {
            let other = match Self::claim(key) {
                Ok(hold) => return Some(hold),
                Err(other) => other,
            };
            if Instant::now() >= deadline {
                return None;
            }
            let still = || other.moved.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= STILL;
            if others == Others::MakeWay || still() {
                other.stop.cancel();
                timeout(MAKE_WAY, other.over.cancelled()).await.ok()?;
            } else if timeout(WAIT, other.over.cancelled()).await.is_err() && !still() {
                return None;
            }
        }
    }

    fn claim(key: PartialKey) -> Result<Self, Arc<Work>> {
        let mut table = table();
        if let Some(other) = table.running.get(&key) {
            return Err(Arc::clone(other));
        }
        let work = Arc::new(Work {
            stop: CancellationToken::new(),
            over: CancellationToken::new(),
            moved: Mutex::new(Instant::now()),
        });
        table.running.insert(key, Arc::clone(&work));
        Ok(Self { key, work })
    }

    /// Takes note that bytes came.
    pub(super) fn moved(&self) {
        *self.work.moved.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Told to make way.
    pub(super) async fn stopped(&self) {
        self.work.stop.cancelled().await;
    }

    /// Takes note that the upload is committed.
    pub(super) fn done(&self) {
        table().done.add(self.key, Instant::now());
    }

    /// Whether it was committed a while ago.
    pub(super) fn is_done(&self) -> bool {
        table().done.has(&self.key, Instant::now())
    }

    /// Forgets that it was.
    pub(super) fn forget(&self) {
        table().done.forget(&self.key);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        table().running.remove(&self.key);
        self.work.over.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_model::UserName;

    fn key(ticket: &str) -> PartialKey {
        PartialKey::of_ticket(&UserName::new("alice").unwrap(), ticket)
    }

    #[tokio::test]
    async fn one_request_at_a_time_works_on_an_upload() {
        let hold = Hold::take(key("table-1"), Others::GoOn).await.unwrap();
        let moves = async {
            loop {
                hold.moved();
                tokio::time::sleep(STILL / 10).await;
            }
        };
        tokio::select! {
            () = moves => {}
            second = Hold::take(key("table-1"), Others::GoOn) => assert!(second.is_none()),
        }
        assert!(Hold::take(key("table-2"), Others::GoOn).await.is_some());
        drop(hold);
        assert!(Hold::take(key("table-1"), Others::GoOn).await.is_some());
    }

    #[tokio::test]
    async fn a_request_makes_way_for_one_that_ends_the_upload_at_once() {
        let hold = Hold::take(key("table-3"), Others::GoOn).await.unwrap();
        let first = tokio::spawn(async move { hold.stopped().await });
        assert!(Hold::take(key("table-3"), Others::MakeWay).await.is_some());
        first.await.unwrap();
    }

    #[test]
    fn uploads_are_remembered_after_their_end_within_bounds() {
        let (mut done, now) = (Done::default(), Instant::now());
        done.add(key("first"), now);
        assert!(done.has(&key("first"), now) && !done.has(&key("other"), now));
        for n in 0..MOST_DONE {
            done.add(key(&n.to_string()), now);
        }
        assert!(!done.has(&key("first"), now) && done.0.len() == MOST_DONE);
        let later = now + REMEMBERED * 2;
        assert!(!done.has(&key("9"), later));
        done.add(key("last"), later);
        assert_eq!(done.0.len(), 1);
        done.forget(&key("last"));
        assert!(!done.has(&key("last"), later));
    }
}
