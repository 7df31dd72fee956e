//! How much may go on at once before anybody is known (P9): logins under way, and password hashes.
//!
//! Both limits look at the load and the address alone, never at the name or what was shown; so being turned away here says
//! nothing but "later".

use crate::{HashLimits, locked};
use lockgate_users::password::Workspace;
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
/// Hashes at once at most where no number is set (N6); each takes 19 MiB.
const HASHES_AT_ONCE: usize = 4;
/// One address may hold one part in this many of the queue for hashing.
const SHARE: usize = 4;

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
    /// A place for one more login from `address`, unless there are `limit` from it (0: no limit) or too many in all.
    pub(crate) fn enter(&self, address: &str, limit: u32) -> Result<Place, Full> {
        let limit = if limit == 0 { usize::MAX } else { usize::try_from(limit).unwrap_or(usize::MAX) };
        let mut under_way = locked(&self.under_way);
        let here = under_way.get(address).copied().unwrap_or(0);
        if here >= limit {
            return Err(Full::OfAddress);
        }
        if self.in_all.load(Ordering::Relaxed) >= LOGINS_IN_ALL {
            return Err(Full::InAll);
        }
        under_way.insert(address.to_owned(), here + 1);
        self.in_all.fetch_add(1, Ordering::Relaxed);
        Ok(Place { crowd: self.clone(), address: address.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = locked(&self.crowd.under_way);
        self.crowd.in_all.fetch_sub(1, Ordering::Relaxed);
        one_less(&mut under_way, &self.address);
    }
}

/// The queue for password hashing.
#[derive(Clone)]
pub(crate) struct Hashing {
    cores: Arc<Semaphore>,
    /// The memory of the cores that are idle; there are never more than cores.
    spaces: Arc<Mutex<Vec<Workspace>>>,
    asked: Arc<Mutex<Asked>>,
    at_most: usize,
}

/// Who waits for a hash, or has one computed.
#[derive(Default)]
struct Asked {
    by_address: HashMap<String, usize>,
    in_all: usize,
}

/// Why there is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The address has its share.
    OfAddress,
    /// There are too many in all.
    InAll,
}

impl Hashing {
    pub(crate) fn new(limits: HashLimits) -> Self {
        let usual = || std::thread::available_parallelism().map_or(1, usize::from).min(HASHES_AT_ONCE);
        let cores = limits.at_once.map_or_else(usual, |number| number.clamp(1, Semaphore::MAX_PERMITS));
        let at_most = cores.saturating_add(limits.queue);
        Self { cores: Arc::new(Semaphore::new(cores)), spaces: Arc::default(), asked: Arc::default(), at_most }
    }

    /// Runs `work` on a blocking thread when its turn has come, in memory that is used again. `Ok(None)` where it panicked.
    ///
    /// One address holds a quarter of the queue at most, so that a flood from one leaves room for the rest.
    ///
    /// Cancel safe: work that has begun runs to its end and keeps its core until then, so that strangers who hang up cannot
    /// get more cores than there are.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        address: &str,
        work: impl FnOnce(&mut Workspace) -> T + Send + 'static,
    ) -> Result<Option<T>, Full> {
        let turn = self.ask(address)?;
        let Ok(core) = Arc::clone(&self.cores).acquire_owned().await else { return Ok(None) };
        let spaces = Arc::clone(&self.spaces);
        let done = tokio::task::spawn_blocking(move || {
            let _held = (core, turn);
            let mut space = locked(&spaces).pop().unwrap_or_default();
            let done = work(&mut space);
            locked(&spaces).push(space);
            done
        });
        Ok(done.await.ok())
    }

    fn ask(&self, address: &str) -> Result<Turn, Full> {
        let mut asked = locked(&self.asked);
        let here = asked.by_address.get(address).copied().unwrap_or(0);
        if here >= (self.at_most / SHARE).max(1) {
            return Err(Full::OfAddress);
        }
        if asked.in_all >= self.at_most {
            return Err(Full::InAll);
        }
        asked.by_address.insert(address.to_owned(), here + 1);
        asked.in_all += 1;
        Ok(Turn { asked: Arc::clone(&self.asked), address: address.to_owned() })
    }
}

/// One place in the queue. Freed when dropped.
struct Turn {
    asked: Arc<Mutex<Asked>>,
    address: String,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut asked = locked(&self.asked);
        asked.in_all -= 1;
        one_less(&mut asked.by_address, &self.address);
    }
}

fn one_less(counts: &mut HashMap<String, usize>, key: &str) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
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
        assert_eq!(crowd.enter("192.0.2.1", 2).err(), Some(Full::OfAddress));
        assert!(crowd.enter("192.0.2.2", 2).is_ok());
        drop(first);
        assert!(crowd.enter("192.0.2.1", 2).is_ok());
    }

    #[test]
    fn all_addresses_together_have_a_limit_and_leave_nothing_behind() {
        let crowd = Crowd::default();
        let places: Vec<_> = (0..LOGINS_IN_ALL).map(|n| crowd.enter(&n.to_string(), 0).unwrap()).collect();
        assert_eq!(crowd.enter("one more", 0).err(), Some(Full::InAll));
        drop(places);
        assert!(locked(&crowd.under_way).is_empty());
    }

    async fn until(mut so: impl FnMut() -> bool) {
        while !so() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn work_beyond_the_queue_is_turned_away() {
        let hashing = Hashing::new(HashLimits { at_once: Some(1), queue: 0 });
        let core = Arc::clone(&hashing.cores).acquire_owned().await.unwrap();
        let waiting = tokio::spawn({
            let hashing = hashing.clone();
            async move { hashing.run("192.0.2.1", |_| 7).await.unwrap() }
        });
        until(|| locked(&hashing.asked).in_all == 1).await;
        assert_eq!(hashing.run("192.0.2.2", |_| 8).await.unwrap_err(), Full::InAll);
        drop(core);
        assert_eq!(waiting.await.unwrap(), Some(7));
        assert!(locked(&hashing.asked).by_address.is_empty());
    }

    #[tokio::test]
    async fn one_address_holds_a_quarter_of_the_queue_for_hashing_at_most() {
        let hashing = Hashing::new(HashLimits { at_once: Some(2), queue: 6 });
        let cores = Arc::clone(&hashing.cores).acquire_many_owned(2).await.unwrap();
        let wait = |address: &'static str| {
            let hashing = hashing.clone();
            tokio::spawn(async move { hashing.run(address, |_| ()).await })
        };
        let mut waiting = vec![wait("192.0.2.1"), wait("192.0.2.1")];
        until(|| locked(&hashing.asked).in_all == 2).await;
        assert_eq!(hashing.run("192.0.2.1", |_| ()).await.unwrap_err(), Full::OfAddress);
        waiting.push(wait("192.0.2.2"));
        until(|| locked(&hashing.asked).in_all == 3).await;
        drop(cores);
        for waited in waiting {
            assert!(waited.await.unwrap().is_ok());
        }
    }

    #[tokio::test]
    async fn two_hundred_hashes_at_once_keep_the_memory_of_as_many_as_there_are_cores() {
        let hashing = Hashing::new(HashLimits { at_once: Some(2), queue: 1000 });
        let work = (0..200).map(|n| {
            let (hashing, address) = (hashing.clone(), n.to_string());
            async move { hashing.run(&address, |space| std::ptr::from_mut(space) as usize).await.unwrap() }
        });
        assert_eq!(futures_util::future::join_all(work).await.iter().flatten().count(), 200);
        assert!((1..=2).contains(&locked(&hashing.spaces).len()));
    }
}
