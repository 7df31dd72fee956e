//! The gate's two stores, each call with an end: a store that hangs is a store that failed, and a store that failed is "no".
//!
//! Never: retries, caches, or turns an error into an answer.

use crate::{Count, Ledger, LedgerError, LedgerHealth};
use lockgate_model::UserName;
use lockgate_users::{Account, AppPassword, Directory, DirectoryError, Epoch};
use std::{
    collections::BTreeMap,
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// How long a store may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
#[error("no answer within {} s", PATIENCE.as_secs())]
struct Late;

/// A [`Ledger`] whose every call ends, and which remembers whether the last one went well.
pub(crate) struct TimedLedger {
    store: Arc<dyn Ledger>,
    well: AtomicBool,
}

impl TimedLedger {
    pub(crate) fn new(store: Arc<dyn Ledger>) -> Self {
        Self { store, well: AtomicBool::new(true) }
    }

    pub(crate) fn health(&self) -> LedgerHealth {
        if self.well.load(Ordering::Relaxed) { LedgerHealth::Well } else { LedgerHealth::Failing }
    }

    async fn ask<T>(&self, call: impl Future<Output = Result<T, LedgerError>> + Send) -> Result<T, LedgerError> {
        let answer = tokio::time::timeout(PATIENCE, call).await.unwrap_or_else(|_| Err(LedgerError(Box::new(Late))));
        self.well.store(answer.is_ok(), Ordering::Relaxed);
        answer
    }
}

#[async_trait::async_trait]
impl Ledger for TimedLedger {
    async fn use_once(&self, key: &str, ttl: Duration) -> Result<bool, LedgerError> {
        self.ask(self.store.use_once(key, ttl)).await
    }

    async fn raise(&self, key: &str, n: u64, ttl: Duration) -> Result<bool, LedgerError> {
        self.ask(self.store.raise(key, n, ttl)).await
    }

    async fn bump(&self, key: &str, window: Duration) -> Result<Count, LedgerError> {
        self.ask(self.store.bump(key, window)).await
    }

    async fn bump_fixed(&self, key: &str, window: Duration) -> Result<u64, LedgerError> {
        self.ask(self.store.bump_fixed(key, window)).await
    }

    async fn count(&self, key: &str) -> Result<Count, LedgerError> {
        self.ask(self.store.count(key)).await
    }

    async fn put(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), LedgerError> {
        self.ask(self.store.put(key, value, ttl)).await
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        self.ask(self.store.get(key)).await
    }

    async fn take(&self, key: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        self.ask(self.store.take(key)).await
    }

    async fn remove(&self, key: &str) -> Result<(), LedgerError> {
        self.ask(self.store.remove(key)).await
    }

    async fn list(&self, prefix: &str, limit: u32) -> Result<Vec<(String, Vec<u8>, u64)>, LedgerError> {
        self.ask(self.store.list(prefix, limit)).await
    }

    async fn sweep(&self) -> Result<(), LedgerError> {
        self.ask(self.store.sweep()).await
    }
}

/// What the gate asks the directory, each call with an end.
#[derive(Clone)]
pub(crate) struct Accounts {
    store: Arc<dyn Directory>,
}

impl Accounts {
    pub(crate) fn new(store: Arc<dyn Directory>) -> Self {
        Self { store }
    }

    /// The directory itself, for what happens behind a login and may take its time.
    pub(crate) fn store(&self) -> Arc<dyn Directory> {
        Arc::clone(&self.store)
    }

    /// The account of a name; a text that is no name is asked about too, as a name that nobody can have, so that it costs
    /// the same.
    pub(crate) async fn find(&self, name: Option<&UserName>) -> Result<Option<Account>, DirectoryError> {
        match name {
            Some(name) => ask(self.store.find(name)).await,
            None => Ok(None),
        }
    }

    pub(crate) async fn app_passwords(&self, name: &UserName) -> Result<Vec<AppPassword>, DirectoryError> {
        ask(self.store.app_passwords(name)).await
    }

    pub(crate) async fn spend_recovery_code(&self, name: &UserName, digest: &[u8]) -> Result<bool, DirectoryError> {
        ask(self.store.spend_recovery_code(name, digest)).await
    }

    /// Whether the user has come from this address before; nobody has come from anywhere under a name that is none.
    pub(crate) async fn knows_address(&self, name: Option<&UserName>, address: &str) -> Result<bool, DirectoryError> {
        match name {
            Some(name) => match ask(self.store.knows_address(name, address)).await {
                Err(DirectoryError::NoSuchUser(_)) => Ok(false),
                answer => answer,
            },
            None => Ok(false),
        }
    }

    pub(crate) async fn remember_address(&self, name: &UserName, address: &str) -> Result<(), DirectoryError> {
        ask(self.store.remember_address(name, address)).await
    }

    pub(crate) async fn epochs(&self, names: &[UserName]) -> Result<BTreeMap<UserName, Epoch>, DirectoryError> {
        ask(self.store.epochs(names)).await
    }

    pub(crate) async fn second_factor_users(&self) -> Result<u64, DirectoryError> {
        ask(self.store.second_factor_users()).await
    }
}

async fn ask<T>(call: impl Future<Output = Result<T, DirectoryError>> + Send) -> Result<T, DirectoryError> {
    tokio::time::timeout(PATIENCE, call).await.unwrap_or_else(|_| Err(DirectoryError::Store(Box::new(Late))))
}
