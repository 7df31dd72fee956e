//! The ledger in SQLite, in the same file as the accounts: what it has answered outlives a crash of the server and of the host.
//!
//! Every order is one statement, so it is atomic among all processes that have the file open. Orders that arrive while others
//! are on their way to disk go together in one commit, and none is answered before that commit is synced: two hundred logins
//! at once wait for a handful of syncs and not for a thousand. If a commit fails, all in it are told so, and all are denied.
//!
//! Never: answers from memory, or lets one login's order change what another's means.

mod order;

use super::{Clock, Count, Ledger, LedgerError, bounds};
use lockgate_users::{
    OpenError,
    sqlite::{self, Pools, Schema},
};
use order::{Answer, Order};
use sqlx::{Row, sqlite::SqliteRow};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::sync::{mpsc, oneshot};

/// A ledger in one SQLite file.
#[derive(Debug)]
pub struct SqliteLedger {
    clock: Clock,
    pub(super) strange_rows: u64,
    pools: Pools,
    orders: mpsc::Sender<Waiting>,
}

/// An order and whoever waits for its answer.
#[derive(Debug)]
struct Waiting {
    order: Order,
    reply: oneshot::Sender<Result<Answer, LedgerError>>,
}

impl SqliteLedger {
    /// Opens the ledger in this file (made with mode 0600 where it is not there), by the host's clock.
    ///
    /// # Errors
    /// [`OpenError`] where the file is open to group or others, is no database, or is of a later version.
    pub async fn open(path: &Path) -> Result<Self, OpenError> {
        Self::within(sqlite::connect(path).await?, Clock::system()).await
    }

    /// The ledger in a database that this process has open already. It needs a tokio runtime, and works on it until it is
    /// dropped.
    ///
    /// # Errors
    /// [`OpenError`] where the tables cannot be made, or are of a later version.
    pub async fn within(pools: Pools, clock: Clock) -> Result<Self, OpenError> {
        pools.prepare(&SCHEMA).await?;
        let (orders, queue) = mpsc::channel(QUEUE);
        tokio::spawn(serve(queue, pools.clone(), clock.clone()));
        Ok(Self { clock, strange_rows: bounds::STRANGE_ROWS, pools, orders })
    }

    /// Waits for the commit under way and closes the file, also for those who share the connections. Later orders fail.
    pub async fn close(&self) {
        self.pools.close().await;
    }

    async fn ask(&self, order: Order) -> Result<Answer, LedgerError> {
        let (reply, answer) = oneshot::channel();
        let asked = async {
            self.orders.send(Waiting { order, reply }).await.map_err(|_| bounds::refused("the ledger is closed"))?;
            answer.await.map_err(|_| bounds::refused("the ledger is closed"))?
        };
        tokio::time::timeout(PATIENCE, asked)
            .await
            .unwrap_or_else(|_| Err(bounds::refused("the ledger did not answer in time")))
    }

    /// Whether there may be more to drop.
    async fn swept(&self, order: Order) -> Result<bool, LedgerError> {
        match self.ask(order).await? {
            Answer::Swept { more } => Ok(more),
            other => Err(other.unexpected()),
        }
    }

    async fn count_up(&self, key: &str, window: Duration, fixed: bool) -> Result<Count, LedgerError> {
        bounds::check_key(key)?;
        match self.ask(Order::Bump { key: key.to_owned(), window, fixed }).await? {
            Answer::Count(count) => Ok(count),
            other => Err(other.unexpected()),
        }
    }
}

/// Takes orders until nobody can give any more.
async fn serve(mut queue: mpsc::Receiver<Waiting>, pools: Pools, clock: Clock) {
    let mut batch = Vec::with_capacity(BATCH);
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        // Who has stopped waiting must not find the change done later.
        batch.retain(|waiting: &Waiting| !waiting.reply.is_closed());
        let outcome = commit(&batch, &pools, &clock).await;
        match outcome {
            Ok(answers) => {
                for (waiting, answer) in batch.drain(..).zip(answers) {
                    // Whoever left meanwhile does not miss the answer.
                    let _ = waiting.reply.send(Ok(answer));
                }
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, orders = batch.len(), "the ledger failed");
                let error = Arc::new(error);
                for waiting in batch.drain(..) {
                    let _ = waiting.reply.send(Err(LedgerError(Box::new(error.clone()))));
                }
            }
        }
    }
}

/// Carries out all orders and syncs them, or none.
async fn commit(batch: &[Waiting], pools: &Pools, clock: &Clock) -> Result<Vec<Answer>, sqlx::Error> {
    let mut answers = Vec::with_capacity(batch.len());
    if batch.is_empty() {
        return Ok(answers);
    }
    let mut transaction = pools.begin().await?;
    for waiting in batch {
        answers.push(waiting.order.carry_out(&mut transaction, clock.now_ms()).await?);
    }
    transaction.commit().await?;
    Ok(answers)
}

#[async_trait::async_trait]
impl Ledger for SqliteLedger {
    async fn use_once(&self, key: &str, ttl: Duration) -> Result<bool, LedgerError> {
        bounds::check_key(key)?;
        match self.ask(Order::UseOnce { key: key.to_owned(), ttl }).await? {
            Answer::First(first) => Ok(first),
            other => Err(other.unexpected()),
        }
    }

    async fn raise(&self, key: &str, n: u64, ttl: Duration) -> Result<bool, LedgerError> {
        bounds::check_key(key)?;
        bounds::check_number(n)?;
        match self.ask(Order::Raise { key: key.to_owned(), n, ttl }).await? {
            Answer::First(first) => Ok(first),
            other => Err(other.unexpected()),
        }
    }

    async fn bump(&self, key: &str, window: Duration) -> Result<Count, LedgerError> {
        self.count_up(key, window, false).await
    }

    async fn bump_fixed(&self, key: &str, window: Duration) -> Result<u64, LedgerError> {
        Ok(self.count_up(key, window, true).await?.n)
    }

    async fn count(&self, key: &str) -> Result<Count, LedgerError> {
        bounds::check_key(key)?;
        let row = sqlx::query("SELECT n, bumped_ms FROM ledger WHERE name = $1 AND kind = 1 AND ends_ms > $2")
            .bind(key)
            .bind(order::signed(self.clock.now_ms()))
            .fetch_optional(&self.pools.readers)
            .await
            .map_err(failed)?;
        row.map_or(Ok(Count { n: 0, previous_ms: 0 }), |row| order::count(&row).map_err(failed))
    }

    async fn put(&self, key: &str, value: &[u8], ttl: Duration) -> Result<(), LedgerError> {
        bounds::check_key(key)?;
        bounds::check_value(value)?;
        self.ask(Order::Put { key: key.to_owned(), value: value.to_vec(), ttl }).await?;
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        bounds::check_key(key)?;
        sqlx::query_scalar("SELECT content FROM ledger WHERE name = $1 AND kind = 2 AND ends_ms > $2")
            .bind(key)
            .bind(order::signed(self.clock.now_ms()))
            .fetch_optional(&self.pools.readers)
            .await
            .map_err(failed)
    }

    async fn take(&self, key: &str) -> Result<Option<Vec<u8>>, LedgerError> {
        bounds::check_key(key)?;
        match self.ask(Order::Take { key: key.to_owned() }).await? {
            Answer::Value(value) => Ok(value),
            other => Err(other.unexpected()),
        }
    }

    async fn remove(&self, key: &str) -> Result<(), LedgerError> {
        bounds::check_key(key)?;
        self.ask(Order::Remove { key: key.to_owned() }).await?;
        Ok(())
    }

    async fn list(&self, prefix: &str, limit: u32) -> Result<Vec<(String, Vec<u8>, u64)>, LedgerError> {
        bounds::check_prefix(prefix)?;
        let rows = sqlx::query(
            "SELECT name, content, ends_ms FROM ledger WHERE name >= $1 AND name < $2 AND kind = 2 AND ends_ms > $3 ORDER BY name LIMIT $4",
        )
        .bind(prefix)
        .bind(bounds::after_prefix(prefix))
        .bind(order::signed(self.clock.now_ms()))
        .bind(i64::from(limit))
        .fetch_all(&self.pools.readers)
        .await
        .map_err(failed)?;
        rows.iter().map(|row| listed(row).map_err(failed)).collect()
    }

    async fn sweep(&self) -> Result<(), LedgerError> {
        // In pieces, so that no login waits behind a long deletion.
        while self.swept(Order::Sweep).await? {}
        for prefix in bounds::STRANGE {
            while self.swept(Order::Evict { prefix, at_most: self.strange_rows }).await? {}
        }
        Ok(())
    }
}

fn listed(row: &SqliteRow) -> Result<(String, Vec<u8>, u64), sqlx::Error> {
    Ok((row.try_get("name")?, row.try_get("content")?, order::unsigned(row.try_get("ends_ms")?)))
}

fn failed(error: sqlx::Error) -> LedgerError {
    LedgerError(error.into())
}

const SCHEMA: Schema = Schema { room: "ledger", steps: &[include_str!("sqlite/schema.sql")] };

/// Orders that may wait; more wait at the door of the queue.
const QUEUE: usize = 1024;
/// Orders in one commit.
const BATCH: usize = 256;
/// How long an order may take, queue included. A login that waits longer is denied.
const PATIENCE: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests;
