//! Connections on which nobody has logged in yet: few, and not for long.
//!
//! The crowd of strangers is one for all listeners (N3): past the limit of an address, or of all, the oldest must go, so
//! that silent connections never keep a newcomer out. A stranger learns its end through [`Stranger::evicted`], which the
//! door races against the login so that it can still word a farewell; the listener ends the connection a moment later
//! whatever the door does. Nothing here knows who a connection turns out to be.

use crate::{AddressBook, NetLimits};
use lockgate_model::address_key;
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    future::{Future, pending},
    net::IpAddr,
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// Why a stranger must go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Eviction {
    /// The grace time (N1) is over.
    Grace,
    /// More strangers came than there is room for, and this one is the oldest (N3).
    Crowded,
    /// The address was banned meanwhile.
    Banned,
}

/// The place of one connection among the strangers. Freed when dropped or admitted.
#[derive(Debug)]
pub struct Stranger {
    fate: Arc<Fate>,
    place: Option<Place>,
}

impl Stranger {
    /// Somebody has logged in: the connection is no stranger's any more, its grace timer stops and its place is free.
    ///
    /// Comes too late after an eviction: the connection is closed all the same.
    pub fn admit(&self) {
        if self.fate.settle(ADMITTED) {
            self.leave();
        }
    }

    /// Resolves when this connection must be closed because nobody logged in. Never resolves after [`Stranger::admit`].
    ///
    /// The future stands on its own: it may outlive the stranger, and dropping it is harmless. Cancel safe.
    pub fn evicted(&self) -> impl Future<Output = Eviction> + Send + 'static {
        let fate = Arc::clone(&self.fate);
        let watched = self.place.as_ref().map(|place| (place.book.clone(), place.address, place.deadline));
        async move {
            let Some((book, address, deadline)) = watched else { return fate.settled().await };
            // Where no ban counts, an empty book stands in.
            let book = book.unwrap_or_default();
            let mut changes = book.changes();
            loop {
                if book.is_banned(address) {
                    fate.settle(BANNED);
                }
                tokio::select! {
                    why = fate.settled() => return why,
                    () = sleep_until(deadline) => {
                        fate.settle(GRACE);
                        return fate.settled().await;
                    }
                    // The book outlives this future, so its sender does too.
                    _ = changes.changed() => {}
                }
            }
        }
    }

    /// A stranger without limits, for tests of doors.
    #[must_use]
    pub fn unlimited() -> Self {
        Self { fate: Arc::new(Fate::default()), place: None }
    }

    fn leave(&self) {
        if let Some(place) = &self.place {
            place.crowd.floor().remove(place.id);
        }
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Where a stranger stands, and until when.
struct Place {
    id: u64,
    crowd: Arc<Crowd>,
    book: Option<AddressBook>,
    address: IpAddr,
    deadline: Instant,
}

impl std::fmt::Debug for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Place").field("id", &self.id).field("address", &self.address).finish_non_exhaustive()
    }
}

const WAITING: u8 = 0;
const ADMITTED: u8 = 1;
const GRACE: u8 = 2;
const CROWDED: u8 = 3;
const BANNED: u8 = 4;

/// What becomes of a stranger; settled once.
#[derive(Debug, Default)]
struct Fate {
    state: AtomicU8,
    news: Notify,
}

impl Fate {
    /// Settles it, unless it was settled before; says whether it did.
    fn settle(&self, state: u8) -> bool {
        let first = self.state.compare_exchange(WAITING, state, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if first {
            self.news.notify_waiters();
        }
        first
    }

    /// Waits for an eviction; for ever where the stranger was admitted.
    async fn settled(&self) -> Eviction {
        loop {
            let mut news = pin!(self.news.notified());
            // Listening begins before looking, so that no news falls between the two.
            news.as_mut().enable();
            match self.state.load(Ordering::Acquire) {
                WAITING => news.await,
                GRACE => return Eviction::Grace,
                CROWDED => return Eviction::Crowded,
                BANNED => return Eviction::Banned,
                _ => return pending().await,
            }
        }
    }
}

/// All strangers of all listeners, and all connections by address.
#[derive(Debug, Default)]
pub(crate) struct Crowd {
    floor: Mutex<Floor>,
}

/// Strangers by age, and how many each address has.
#[derive(Debug, Default)]
struct Floor {
    next: u64,
    strangers: BTreeMap<u64, (String, Arc<Fate>)>,
    by_address: HashMap<String, BTreeSet<u64>>,
    connections: HashMap<String, usize>,
}

impl Crowd {
    /// Takes a newcomer in, at the cost of the oldest where there is no room. Without a book no ban sends it away.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr, limits: &NetLimits, book: Option<&AddressBook>) -> Stranger {
        let key = address_key(address);
        let fate = Arc::new(Fate::default());
        let mut floor = self.floor();
        while floor.by_address.get(&key).is_some_and(|own| own.len() >= limits.strangers_per_address.max(1)) {
            let oldest = floor.by_address.get(&key).and_then(|own| own.first().copied());
            floor.evict(oldest);
        }
        while floor.strangers.len() >= limits.strangers.max(1) {
            let oldest = floor.strangers.keys().next().copied();
            floor.evict(oldest);
        }
        let id = floor.next;
        floor.next += 1;
        floor.by_address.entry(key.clone()).or_default().insert(id);
        floor.strangers.insert(id, (key, Arc::clone(&fate)));
        drop(floor);
        let deadline = Instant::now() + limits.login_grace;
        let place = Place { id, crowd: Arc::clone(self), book: book.cloned(), address, deadline };
        Stranger { fate, place: Some(place) }
    }

    /// Sends the oldest stranger away, where there is one: room for whoever has a better claim.
    pub(crate) fn evict_oldest(&self) {
        let mut floor = self.floor();
        let oldest = floor.strangers.keys().next().copied();
        floor.evict(oldest);
    }

    /// Counts one more connection from the address, unless it has its fill.
    pub(crate) fn sit(self: &Arc<Self>, address: IpAddr, limits: &NetLimits) -> Option<Seat> {
        let key = address_key(address);
        let mut floor = self.floor();
        let count = floor.connections.entry(key.clone()).or_default();
        if *count >= limits.connections_per_address.max(1) {
            return None;
        }
        *count += 1;
        Some(Seat { key, crowd: Arc::clone(self) })
    }

    #[cfg(test)]
    pub(crate) fn strangers(&self) -> usize {
        self.floor().strangers.len()
    }

    fn floor(&self) -> MutexGuard<'_, Floor> {
        self.floor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Floor {
    fn evict(&mut self, id: Option<u64>) {
        if let Some((_, fate)) = id.and_then(|id| self.remove(id)) {
            fate.settle(CROWDED);
        }
    }

    fn remove(&mut self, id: u64) -> Option<(String, Arc<Fate>)> {
        let (key, fate) = self.strangers.remove(&id)?;
        if let Some(own) = self.by_address.get_mut(&key) {
            own.remove(&id);
            if own.is_empty() {
                self.by_address.remove(&key);
            }
        }
        Some((key, fate))
    }
}

/// One connection counted against its address, from accept to close.
#[derive(Debug)]
pub(crate) struct Seat {
    key: String,
    crowd: Arc<Crowd>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut floor = self.crowd.floor();
        if let Some(count) = floor.connections.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                floor.connections.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::time::timeout;

    const LIMITS: NetLimits = NetLimits {
        strangers_per_address: 2,
        strangers: 3,
        connections_per_address: 2,
        connection_ban: None,
        login_grace: Duration::from_secs(60),
    };

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    /// What is settled already; what is not settles later or never.
    async fn verdict(stranger: &Stranger) -> Option<Eviction> {
        timeout(Duration::from_millis(20), stranger.evicted()).await.ok()
    }

    #[tokio::test]
    async fn the_oldest_stranger_of_a_crowded_address_goes_first() {
        let (crowd, book) = (Arc::new(Crowd::default()), AddressBook::new());
        let first = crowd.enter(address(1), &LIMITS, Some(&book));
        let second = crowd.enter(address(1), &LIMITS, Some(&book));
        let third = crowd.enter(address(1), &LIMITS, Some(&book));
        assert_eq!(verdict(&first).await, Some(Eviction::Crowded));
        assert_eq!((verdict(&second).await, verdict(&third).await), (None, None));
    }

    #[tokio::test]
    async fn the_oldest_stranger_of_all_goes_where_the_house_is_full() {
        let (crowd, book) = (Arc::new(Crowd::default()), AddressBook::new());
        let strangers: Vec<_> = (1..=4).map(|n| crowd.enter(address(n), &LIMITS, Some(&book))).collect();
        assert_eq!(verdict(&strangers[0]).await, Some(Eviction::Crowded));
        assert_eq!(verdict(&strangers[1]).await, None);
        assert_eq!(crowd.strangers(), 3);
    }

    #[tokio::test]
    async fn grace_ends_a_stranger_but_not_one_who_logged_in() {
        let (crowd, book) = (Arc::new(Crowd::default()), AddressBook::new());
        let limits = NetLimits { login_grace: Duration::from_millis(30), ..LIMITS };
        let idle = crowd.enter(address(1), &limits, Some(&book));
        let known = crowd.enter(address(1), &limits, Some(&book));
        let (idle_end, known_end) = (idle.evicted(), known.evicted());
        known.admit();
        assert_eq!(idle_end.await, Eviction::Grace);
        assert!(timeout(Duration::from_millis(60), known_end).await.is_err());
        assert_eq!(verdict(&known).await, None);
    }

    #[tokio::test]
    async fn who_logged_in_takes_no_strangers_place() {
        let (crowd, book) = (Arc::new(Crowd::default()), AddressBook::new());
        let known = crowd.enter(address(1), &LIMITS, Some(&book));
        known.admit();
        let others: Vec<_> = (0..2).map(|_| crowd.enter(address(1), &LIMITS, Some(&book))).collect();
        for other in &others {
            assert_eq!(verdict(other).await, None);
        }
        drop(others);
        assert_eq!(crowd.strangers(), 0, "a place is free once its stranger is gone");
    }

    #[tokio::test]
    async fn a_ban_reaches_the_strangers_that_are_in() {
        let (crowd, book) = (Arc::new(Crowd::default()), AddressBook::new());
        let caught = crowd.enter(address(1), &LIMITS, Some(&book));
        let other = crowd.enter(address(2), &LIMITS, Some(&book));
        let end = tokio::spawn(caught.evicted());
        tokio::task::yield_now().await;
        book.ban(address(1), u64::MAX);
        assert_eq!(end.await.unwrap(), Eviction::Banned);
        assert_eq!(verdict(&other).await, None);
    }

    #[test]
    fn an_address_has_its_fill_of_connections_until_one_ends() {
        let crowd = Arc::new(Crowd::default());
        let first = crowd.sit(address(1), &LIMITS).unwrap();
        let _second = crowd.sit(address(1), &LIMITS).unwrap();
        assert!(crowd.sit(address(1), &LIMITS).is_none());
        assert!(crowd.sit(address(2), &LIMITS).is_some());
        drop(first);
        assert!(crowd.sit(address(1), &LIMITS).is_some());
    }

    #[tokio::test]
    async fn a_stranger_of_a_test_is_never_evicted() {
        let stranger = Stranger::unlimited();
        assert_eq!(verdict(&stranger).await, None);
        stranger.admit();
        assert_eq!(verdict(&stranger).await, None);
    }
}
