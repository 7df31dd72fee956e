//! Everything that must be counted, or used once: used codes, live codes, grants, failure counts, bans, send limits.
//!
//! One small port, so that many nodes can share one memory later. Every adapter passes the same contract test, in which
//! 64 tasks race for one [`Ledger::use_once`] and exactly one wins. A ledger that fails is a denied login, never an open one.

mod bounds;
mod clock;
#[cfg(test)]
mod contract;
mod memory;
mod sqlite;

pub use clock::Clock;
pub use memory::{Limits, MemoryLedger};
pub use sqlite::SqliteLedger;

use std::time::Duration;

/// The ledger could not answer. Whoever asks must treat it as "no".
#[derive(Debug, thiserror::Error)]
#[error("the ledger failed")]
pub struct LedgerError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// What happened to a counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The count after this call.
    pub n: u64,
    /// Unix milliseconds of the last time it was bumped before this call; 0 where never.
    pub previous_ms: u64,
}

/// Shared memory of the gate. Keys are ASCII, at most 512 bytes, `/`-separated, the first part names the kind of thing.
/// Values are at most 64 KiB.
///
/// Every call is atomic among all users of the same store, and durable as the store is: an answer given is not forgotten by
/// a restart within its time to live. Dropping a future leaves the change done or not done.
#[async_trait::async_trait]
pub trait Ledger: Send + Sync + 'static {
    /// Marks `key` used for `ttl`: `true` exactly once until it has passed.
    async fn use_once(&self, key: &str, ttl: Duration) -> Result<bool, LedgerError>;

    /// Raises a high-water mark to `n` and keeps it for `ttl`: `true` exactly where `n` is above the mark that was there, or none
    /// was. Of many that raise one key to one number at once, one gets `true`. What is refused changes nothing. `n` is at most
    /// `i64::MAX`.
    async fn raise(&self, key: &str, n: u64, ttl: Duration) -> Result<bool, LedgerError>;

    /// Adds one to a counter that forgets itself when it was not bumped for `window`.
    async fn bump(&self, key: &str, window: Duration) -> Result<Count, LedgerError>;

    /// Adds one to a counter of a fixed window that begins at the first bump: at most a limit *in* a time. Returns the count.
    async fn bump_fixed(&self, key: &str, window: Duration) -> Result<u64, LedgerError>;

    /// The counter as it is, without bumping it.
    async fn count(&self, key: &str) -> Result<Count, LedgerError>;

    /// Keeps a value for `ttl`, over an older one.
    async fn put(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), LedgerError>;

    /// The value, where it lives.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Removes and returns the value: of many that ask at once, one gets it.
    async fn take(&self, key: &str) -> Result<Option<Vec<u8>>, LedgerError>;

    /// Forgets values, counters, marks and high-water marks under `key`.
    async fn remove(&self, key: &str) -> Result<(), LedgerError>;

    /// The live values whose keys begin with `prefix`, at most `limit`, by key: `(key, value, Unix ms of the end)`.
    async fn list(&self, prefix: &str, limit: u32) -> Result<Vec<(String, Vec<u8>, u64)>, LedgerError>;

    /// Drops what has passed, and of what strangers cause to be counted (`password/`, `strangers/`, `failed/`, `paused/`) the
    /// oldest beyond 100,000 of each. Never drops anything else that lives. Called now and then; a ledger works without it, but
    /// grows.
    async fn sweep(&self) -> Result<(), LedgerError>;
}
