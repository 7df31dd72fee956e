//! The ledger in memory: for tests, and for a server that may forget everything when it stops.
//!
//! It is bounded. When it is full it first drops what has passed, at most once a second, so that a flood does not turn each
//! call into a walk over everything; if that makes no room it fails, and whoever asked is denied. Nothing that still counts
//! is ever dropped to make room: a used code that was forgotten would be a code that works twice.

use super::{Clock, Count, Ledger, LedgerError, bounds};
use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

/// A ledger in memory.
#[derive(Debug)]
pub struct MemoryLedger {
    clock: Clock,
    limits: Limits,
    pub(super) strange_rows: u64,
    state: Mutex<State>,
}

/// How much a [`MemoryLedger`] may hold.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Marks, counters and values together.
    pub entries: usize,
    /// Bytes of all keys and values together.
    pub bytes: usize,
}

impl Default for Limits {
    /// A million entries and 128 MiB.
    fn default() -> Self {
        Self { entries: 1_000_000, bytes: 128 * 1024 * 1024 }
    }
}

#[derive(Debug, Default)]
struct State {
    /// Key to end.
    marks: HashMap<Box<str>, u64>,
    raised: HashMap<Box<str>, Raised>,
    counters: HashMap<Box<str>, Counter>,
    /// Sorted, to be listed by prefix.
    values: BTreeMap<Box<str>, Value>,
    bytes: usize,
    swept_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Counter {
    n: u64,
    bumped_ms: u64,
    ends_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Raised {
    n: u64,
    ends_ms: u64,
}

#[derive(Debug)]
struct Value {
    bytes: Box<[u8]>,
    put_ms: u64,
    ends_ms: u64,
}

/// Whether a bump begins the window anew.
#[derive(Clone, Copy)]
enum Window {
    Sliding,
    Fixed,
}

impl MemoryLedger {
    /// An empty ledger of the usual size, by the host's clock.
    #[must_use]
    pub fn new() -> Self {
        Self::with_clock(Clock::system())
    }

    /// An empty ledger of the usual size, by another clock.
    #[must_use]
    pub fn with_clock(clock: Clock) -> Self {
        Self::with_limits(Limits::default(), clock)
    }

    /// An empty ledger of another size.
    #[must_use]
    pub fn with_limits(limits: Limits, clock: Clock) -> Self {
        Self { clock, limits, strange_rows: bounds::STRANGE_ROWS, state: Mutex::default() }
    }

    fn state(&self) -> Result<MutexGuard<'_, State>, LedgerError> {
        // A panic while the lock was held may have left half a change.
        self.state.lock().map_err(|_| bounds::refused("the memory of the ledger is damaged"))
    }

    fn count_up(&self, key: &str, window: Duration, kind: Window) -> Result<Count, LedgerError> {
        bounds::check_key(key)?;
        let now = self.clock.now_ms();
        let ends_ms = bounds::end(now, window);
        let mut state = self.state()?;
        if let Some(counter) = state.counters.get_mut(key) {
            let alive = counter.ends_ms > now;
            let before = *counter;
            counter.n = if alive { before.n.saturating_add(1) } else { 1 };
            counter.bumped_ms = now;
            if !alive || matches!(kind, Window::Sliding) {
                counter.ends_ms = ends_ms;
            }
            return Ok(Count { n: counter.n, previous_ms: if alive { before.bumped_ms } else { 0 } });
        }
        state.make_room(key.len(), self.limits, now)?;
        state.counters.insert(key.into(), Counter { n: 1, bumped_ms: now, ends_ms });
        Ok(Count { n: 1, previous_ms: 0 })
    }
}

impl Default for MemoryLedger {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait::async_trait]
impl Ledger for MemoryLedger {
    async fn use_once(&self, key: &str, ttl: Duration) -> Result<bool, LedgerError> {
        bounds::check_key(key)?;
        let now = self.clock.now_ms();
        let end = bounds::end(now, ttl);
        let mut state = self.state()?;
        if let Some(until) = state.marks.get_mut(key) {
            let free = *until <= now;
            if free {
                *until = end;
            }
            return Ok(free);
        }
        state.make_room(key.len(), self.limits, now)?;
        state.marks.insert(key.into(), end);
        Ok(true)
    }

    async fn raise(&self, key: &str, n: u64, ttl: Duration) -> Result<bool, LedgerError> {
        bounds::check_key(key)?;
        bounds::check_number(n)?;
        let now = self.clock.now_ms();
        let raised = Raised { n, ends_ms: bounds::end(now, ttl) };
        let mut state = self.state()?;
        if let Some(mark) = state.raised.get_mut(key) {
            let higher = mark.ends_ms <= now || mark.n < n;
            if higher {
                *mark = raised;
            }
            return Ok(higher);
        }
        state.make_room(key.len(), self.limits, now)?;
        state.raised.insert(key.into(), raised);
        Ok(true)
    }

    async fn bump(&self, key: &str, window: Duration) -> Result<Count, LedgerError> {
        self.count_up(key, window, Window::Sliding)
    }

    async fn bump_fixed(&self, key: &str, window: Duration) -> Result<u64, LedgerError> {
        Ok(self.count_up(key, window, Window::Fixed)?.n)
    }

    async fn count(&self, key: &str) -> Result<Count, LedgerError> {
        bounds::check_key(key)?;
        let now = self.clock.now_ms();
        let state = self.state()?;
        let alive = state.counters.get(key).filter(|counter| counter.ends_ms > now);
        Ok(alive
            .map_or(Count { n: 0, previous_ms: 0 }, |counter| Count { n: counter.n, previous_ms: counter.bumped_ms }))
    }

    async fn put(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), LedgerError> {
        bounds::check_key(key)?;
        bounds::check_value(value)?;
        let now = self.clock.now_ms();
        let mut state = self.state()?;
        let older = state.forget_value(key);
        if let Err(full) = state.make_room(key.len() + value.len(), self.limits, now) {
            if let Some(older) = older {
                state.bytes += key.len() + older.bytes.len();
                state.values.insert(key.into(), older);
            }
            return Err(full);
        }
        state.values.insert(key.into(), Value { bytes: value.into(), put_ms: now, ends_ms: bounds::end(now, ttl) });
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        bounds::check_key(key)?;
        let now = self.clock.now_ms();
        Ok(self.state()?.values.get(key).filter(|value| value.ends_ms > now).map(|value| value.bytes.to_vec()))
    }

    async fn take(&self, key: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        bounds::check_key(key)?;
        let now = self.clock.now_ms();
        Ok(self.state()?.forget_value(key).filter(|value| value.ends_ms > now).map(|value| value.bytes.into_vec()))
    }

    async fn remove(&self, key: &str) -> Result<(), LedgerError> {
        bounds::check_key(key)?;
        let mut state = self.state()?;
        state.forget_value(key);
        let gone = usize::from(state.marks.remove(key).is_some())
            + usize::from(state.raised.remove(key).is_some())
            + usize::from(state.counters.remove(key).is_some());
        state.bytes -= gone * key.len();
        Ok(())
    }

    async fn list(&self, prefix: &str, limit: u32) -> Result<Vec<(String, Vec<u8>, u64)>, LedgerError> {
        bounds::check_prefix(prefix)?;
        let now = self.clock.now_ms();
        let state = self.state()?;
        Ok(state
            .values
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .filter(|(_, value)| value.ends_ms > now)
            .take(usize::try_from(limit).unwrap_or(usize::MAX))
            .map(|(key, value)| (key.to_string(), value.bytes.to_vec(), value.ends_ms))
            .collect())
    }

    async fn sweep(&self) -> Result<(), LedgerError> {
        let now = self.clock.now_ms();
        let mut state = self.state()?;
        state.drop_passed(now);
        state.drop_strange(usize::try_from(self.strange_rows).unwrap_or(usize::MAX));
        Ok(())
    }
}

impl State {
    /// Takes note of `bytes` more in one more entry.
    fn make_room(&mut self, bytes: usize, limits: Limits, now: u64) -> Result<(), LedgerError> {
        if self.is_full(bytes, limits) && now.abs_diff(self.swept_ms) >= 1000 {
            self.drop_passed(now);
        }
        if self.is_full(bytes, limits) {
            return Err(bounds::refused("the ledger is full"));
        }
        self.bytes += bytes;
        Ok(())
    }

    fn is_full(&self, bytes: usize, limits: Limits) -> bool {
        self.marks.len() + self.raised.len() + self.counters.len() + self.values.len() >= limits.entries
            || self.bytes.saturating_add(bytes) > limits.bytes
    }

    fn forget_value(&mut self, key: &str) -> Option<Value> {
        let value = self.values.remove(key)?;
        self.bytes -= key.len() + value.bytes.len();
        Some(value)
    }

    fn drop_passed(&mut self, now: u64) {
        self.swept_ms = now;
        self.marks.retain(|_, end| *end > now);
        self.raised.retain(|_, mark| mark.ends_ms > now);
        self.counters.retain(|_, counter| counter.ends_ms > now);
        self.values.retain(|_, value| value.ends_ms > now);
        self.weigh();
    }

    fn weigh(&mut self) {
        let keys = self.marks.keys().chain(self.raised.keys()).chain(self.counters.keys()).chain(self.values.keys());
        self.bytes = keys.map(|key| key.len()).sum::<usize>()
            + self.values.values().map(|value| value.bytes.len()).sum::<usize>();
    }

    fn drop_strange(&mut self, at_most: usize) {
        for prefix in bounds::STRANGE {
            let counters = self.counters.iter().map(|(key, counter)| (counter.bumped_ms, key.clone()));
            let values = self.values.iter().map(|(key, value)| (value.put_ms, key.clone()));
            let mut rows: Vec<_> = counters.chain(values).filter(|(_, key)| key.starts_with(prefix)).collect();
            rows.sort_unstable();
            for (_, key) in rows.iter().take(rows.len().saturating_sub(at_most)) {
                self.counters.remove(key);
                self.values.remove(key);
            }
        }
        self.weigh();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    fn small() -> (MemoryLedger, Arc<AtomicU64>) {
        let hand = Arc::new(AtomicU64::new(1_000_000));
        let clock = Clock::from_fn({
            let hand = hand.clone();
            move || hand.load(Ordering::SeqCst)
        });
        (MemoryLedger::with_limits(Limits { entries: 3, bytes: 100 }, clock), hand)
    }

    #[tokio::test]
    async fn a_full_ledger_says_no_and_forgets_nothing_that_still_counts() {
        let (ledger, hand) = small();
        let minute = Duration::from_secs(60);
        assert!(ledger.use_once("code", minute).await.unwrap());
        ledger.bump("count", minute).await.unwrap();
        ledger.put("value", b"v", minute).await.unwrap();

        assert!(ledger.use_once("other", minute).await.is_err());
        assert!(ledger.bump("other", minute).await.is_err() && ledger.put("other", b"v", minute).await.is_err());
        assert!(!ledger.use_once("code", minute).await.unwrap(), "the used code is forgotten");
        assert_eq!(ledger.bump("count", minute).await.unwrap().n, 2);

        hand.fetch_add(61_000, Ordering::SeqCst);
        assert!(ledger.use_once("other", minute).await.unwrap(), "what has passed makes room");
    }

    #[tokio::test]
    async fn bytes_are_bounded_too_and_given_back() {
        let (ledger, _) = small();
        let minute = Duration::from_secs(60);
        for _ in 0..10 {
            ledger.put("value", &[0; 90], minute).await.unwrap();
            assert!(ledger.put("other", &[0; 90], minute).await.is_err());
            ledger.take("value").await.unwrap();
            ledger.use_once("mark", minute).await.unwrap();
            ledger.bump("mark", minute).await.unwrap();
            ledger.remove("mark").await.unwrap();
        }
        assert_eq!(ledger.state().unwrap().bytes, 0);
    }
}
