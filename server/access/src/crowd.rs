//! How much may go on at once before anybody is known (P9): logins under way, and password hashes.
//!
//! Both limits look at the load and the address alone, never at the name or what was shown; so being turned away here says
//! nothing but "later".

use crate::locked;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::Semaphore;

/// Logins under way in all. An Argon2id each would be 5 GiB, but those wait their turn in [`Hashing`].
const LOGINS_IN_ALL: usize = 256;
/// Hashes at once at most (N6); each takes 19 MiB.
const HASHES_AT_ONCE: usize = 4;
/// Logins that wait for a hash (N6).
const HASH_QUEUE: usize = 64;

/// Logins under way, by address.
#[derive(Clone, Default)]
pub(crate) struct Crowd {
    under_way: Arc<Mutex<HashMap<String, usize>>>,
    in_all: Arc<AtomicUsize>,
}

/// The place of one login among those under way. Freed when dropped.
pub(crate) struct Place {
    crowd: Crowd,
    address: String,
}

impl Crowd {
    /// A place for one more login from `address`, or `None` where there are `limit` from it (0: no limit) or too many in all.
    pub(crate) fn enter(&self, address: &str, limit: u32) -> Option<Place> {
        let limit = if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
        let mut under_way = locked(&self.under_way);
        if self.in_all.load(Ordering::Relaxed) >= LOGINS_IN_ALL {
            return None;
        }
        let here = under_way.entry(address.to_owned()).or_insert(0);
        if *here >= limit {
            return None;
        }
        *here += 1;
        self.in_all.fetch_add(1, Ordering::Relaxed);
        Some(Place { crowd: self.clone(), address: address.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = locked(&self.crowd.under_way);
        self.crowd.in_all.fetch_sub(1, Ordering::Relaxed);
        if let Some(here) = under_way.get_mut(&self.address) {
            *here = here.saturating_sub(1);
            if *here == 0 {
                under_way.remove(&self.address);
            }
        }
    }
}

/// The queue for password hashing.
#[derive(Clone)]
pub(crate) struct Hashing {
    cores: Arc<Semaphore>,
    asked: Arc<AtomicUsize>,
    at_most: usize,
}

/// The queue is full.
#[derive(Debug)]
pub(crate) struct QueueFull;

impl Hashing {
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from).min(HASHES_AT_ONCE);
        Self { cores: Arc::new(Semaphore::new(cores)), asked: Arc::default(), at_most: cores + HASH_QUEUE }
    }

    /// Runs `work` on a blocking thread when its turn has come. `Ok(None)` where it panicked.
    ///
    /// Cancel safe: work that has begun runs to its end and keeps its core until then, so that strangers who hang up cannot
    /// get more cores than there are.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Option<T>, QueueFull> {
        let asked = Asked::join(&self.asked, self.at_most).ok_or(QueueFull)?;
        let Ok(core) = Arc::clone(&self.cores).acquire_owned().await else { return Ok(None) };
        let done = tokio::task::spawn_blocking(move || {
            let _held = (core, asked);
            work()
        });
        Ok(done.await.ok())
    }
}

struct Asked(Arc<AtomicUsize>);

impl Asked {
    fn join(count: &Arc<AtomicUsize>, at_most: usize) -> Option<Self> {
        let before = count.fetch_add(1, Ordering::Relaxed);
        let asked = Self(Arc::clone(count));
        (before < at_most).then_some(asked)
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_with_all_its_logins_under_way_is_turned_away_until_one_ends() {
        let crowd = Crowd::default();
        let first = crowd.enter("192.0.2.1", 2).unwrap();
        let _second = crowd.enter("192.0.2.1", 2).unwrap();
        assert!(crowd.enter("192.0.2.1", 2).is_none());
        assert!(crowd.enter("192.0.2.2", 2).is_some());
        drop(first);
        assert!(crowd.enter("192.0.2.1", 2).is_some());
    }

    #[test]
    fn all_addresses_together_have_a_limit_and_leave_nothing_behind() {
        let crowd = Crowd::default();
        let places: Vec<_> = (0..LOGINS_IN_ALL).map(|n| crowd.enter(&n.to_string(), 0).unwrap()).collect();
        assert!(crowd.enter("one more", 0).is_none());
        drop(places);
        assert!(locked(&crowd.under_way).is_empty());
    }

    #[tokio::test]
    async fn work_beyond_the_queue_is_turned_away() {
        let hashing = Hashing { cores: Arc::new(Semaphore::new(0)), asked: Arc::default(), at_most: 1 };
        let waiting = tokio::spawn({
            let hashing = hashing.clone();
            async move { hashing.run(|| 7).await.unwrap() }
        });
        while hashing.asked.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        assert!(hashing.run(|| 8).await.is_err());
        hashing.cores.add_permits(1);
        assert_eq!(waiting.await.unwrap(), Some(7));
    }
}
