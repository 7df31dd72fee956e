//! A ledger that can be broken.

use crate::{Count, Ledger, LedgerError, ledger::MemoryLedger};
use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// See the module.
pub(crate) struct Breakable {
    pub(crate) inner: MemoryLedger,
    pub(crate) broken: AtomicBool,
}

impl Breakable {
    fn whole(&self) -> Result<&MemoryLedger, LedgerError> {
        if self.broken.load(Ordering::SeqCst) { Err(LedgerError("broken by the test".into())) } else { Ok(&self.inner) }
    }
}

#[async_trait::async_trait]
impl Ledger for Breakable {
    async fn use_once(&self, key: &str, ttl: Duration) -> Result<bool, LedgerError> {
        self.whole()?.use_once(key, ttl).await
    }
    async fn raise(&self, key: &str, n: u64, ttl: Duration) -> Result<bool, LedgerError> {
        self.whole()?.raise(key, n, ttl).await
    }
    async fn bump(&self, key: &str, window: Duration) -> Result<Count, LedgerError> {
        self.whole()?.bump(key, window).await
    }
    async fn bump_fixed(&self, key: &str, window: Duration) -> Result<u64, LedgerError> {
        self.whole()?.bump_fixed(key, window).await
    }
    async fn count(&self, key: &str) -> Result<Count, LedgerError> {
        self.whole()?.count(key).await
    }
    async fn put(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), LedgerError> {
        self.whole()?.put(key, value, ttl).await
    }
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        self.whole()?.get(key).await
    }
    async fn take(&self, key: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        self.whole()?.take(key).await
    }
    async fn remove(&self, key: &str) -> Result<(), LedgerError> {
        self.whole()?.remove(key).await
    }
    async fn list(&self, prefix: &str, limit: u32) -> Result<Vec<(String, Vec<u8>, u64)>, LedgerError> {
        self.whole()?.list(prefix, limit).await
    }
    async fn sweep(&self) -> Result<(), LedgerError> {
        self.whole()?.sweep().await
    }
}
