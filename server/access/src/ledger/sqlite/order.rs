//! The orders of a ledger, each one statement.
//!
//! Statements that answer with `RETURNING` are read to their end: the change of one that is left halfway is not yet made.

use super::super::{Count, LedgerError, bounds};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use std::time::Duration;

/// A change of the ledger.
#[derive(Debug)]
pub(super) enum Order {
    /// Mark as used.
    UseOnce { key: String, ttl: Duration },
    /// Raise a high-water mark.
    Raise { key: String, n: u64, ttl: Duration },
    /// Count one more.
    Bump { key: String, window: Duration, fixed: bool },
    /// Keep a value.
    Put { key: String, value: Vec<u8>, ttl: Duration },
    /// Remove a value and hand it out.
    Take { key: String },
    /// Forget a key.
    Remove { key: String },
    /// Drop some of what has passed.
    Sweep,
    /// Drop some of the oldest below a prefix that are more than so many.
    Evict { prefix: &'static str, at_most: u64 },
}

/// What came of an order.
#[derive(Debug)]
pub(super) enum Answer {
    /// Whether it was the first use, or the highest number so far.
    First(bool),
    /// The counter now.
    Count(Count),
    /// The value that was taken.
    Value(Option<Vec<u8>>),
    /// Whether there may be more to drop.
    Swept { more: bool },
    /// Done.
    Done,
}

impl Order {
    /// Carries the order out at the time `now_ms`.
    pub(super) async fn carry_out(
        &self,
        connection: &mut SqliteConnection,
        now_ms: u64,
    ) -> Result<Answer, sqlx::Error> {
        let now = signed(now_ms);
        let end = |life: &Duration| signed(bounds::end(now_ms, *life));
        match self {
            Self::UseOnce { key, ttl } => {
                let rows = sqlx::query(USE_ONCE).bind(key).bind(now).bind(end(ttl)).fetch_all(connection).await?;
                Ok(Answer::First(!rows.is_empty()))
            }
            Self::Raise { key, n, ttl } => {
                let number = signed(*n);
                let rows =
                    sqlx::query(RAISE).bind(key).bind(now).bind(end(ttl)).bind(number).fetch_all(connection).await?;
                Ok(Answer::First(!rows.is_empty()))
            }
            Self::Bump { key, window, fixed } => {
                let sql = if *fixed { BUMP_FIXED } else { BUMP };
                let rows = sqlx::query(sql).bind(key).bind(now).bind(end(window)).fetch_all(connection).await?;
                let row = rows.first().ok_or(sqlx::Error::RowNotFound)?;
                Ok(Answer::Count(Count {
                    n: unsigned(row.try_get("n")?),
                    previous_ms: unsigned(row.try_get("previous_ms")?),
                }))
            }
            Self::Put { key, value, ttl } => {
                sqlx::query(PUT).bind(key).bind(now).bind(value).bind(end(ttl)).execute(connection).await?;
                Ok(Answer::Done)
            }
            Self::Take { key } => {
                let rows = sqlx::query(TAKE).bind(key).bind(now).fetch_all(connection).await?;
                Ok(Answer::Value(rows.first().map(|row| row.try_get("content")).transpose()?))
            }
            Self::Remove { key } => {
                sqlx::query("DELETE FROM ledger WHERE name = $1").bind(key).execute(connection).await?;
                Ok(Answer::Done)
            }
            Self::Sweep => {
                let dropped =
                    sqlx::query(SWEEP).bind(now).bind(signed(SWEEP_PIECE)).execute(connection).await?.rows_affected();
                Ok(Answer::Swept { more: dropped >= SWEEP_PIECE })
            }
            Self::Evict { prefix, at_most } => {
                let (first, last) = (*prefix, bounds::after_prefix(prefix));
                let rows: i64 =
                    sqlx::query_scalar(HOW_MANY).bind(first).bind(&last).fetch_one(&mut *connection).await?;
                let beyond = unsigned(rows).saturating_sub(*at_most);
                let piece = beyond.min(EVICT_PIECE);
                if piece > 0 {
                    sqlx::query(EVICT).bind(first).bind(&last).bind(signed(piece)).execute(connection).await?;
                }
                Ok(Answer::Swept { more: beyond > piece })
            }
        }
    }
}

impl Answer {
    /// The failure of an order that was answered with something else.
    pub(super) fn unexpected(&self) -> LedgerError {
        LedgerError(format!("the ledger answered something else: {self:?}").into())
    }
}

/// A counter as it stands, from a row with `n` and `bumped_ms`.
pub(super) fn count(row: &SqliteRow) -> Result<Count, sqlx::Error> {
    Ok(Count { n: unsigned(row.try_get("n")?), previous_ms: unsigned(row.try_get("bumped_ms")?) })
}

pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

const USE_ONCE: &str = "INSERT INTO ledger (name, kind, n, previous_ms, bumped_ms, ends_ms) VALUES ($1, 0, 1, 0, $2, $3) \
                        ON CONFLICT (name, kind) DO UPDATE SET bumped_ms = excluded.bumped_ms, ends_ms = excluded.ends_ms \
                        WHERE ledger.ends_ms <= $2 RETURNING n";
const RAISE: &str = "INSERT INTO ledger (name, kind, n, previous_ms, bumped_ms, ends_ms) VALUES ($1, 3, $4, 0, $2, $3) \
                     ON CONFLICT (name, kind) DO UPDATE SET n = excluded.n, bumped_ms = excluded.bumped_ms, ends_ms = excluded.ends_ms \
                     WHERE ledger.ends_ms <= $2 OR ledger.n < excluded.n RETURNING n";
const BUMP: &str = "INSERT INTO ledger (name, kind, n, previous_ms, bumped_ms, ends_ms) VALUES ($1, 1, 1, 0, $2, $3) \
                    ON CONFLICT (name, kind) DO UPDATE SET \
                    n = CASE WHEN ledger.ends_ms <= $2 THEN 1 ELSE ledger.n + 1 END, \
                    previous_ms = CASE WHEN ledger.ends_ms <= $2 THEN 0 ELSE ledger.bumped_ms END, \
                    bumped_ms = excluded.bumped_ms, ends_ms = excluded.ends_ms RETURNING n, previous_ms";
const BUMP_FIXED: &str = "INSERT INTO ledger (name, kind, n, previous_ms, bumped_ms, ends_ms) VALUES ($1, 1, 1, 0, $2, $3) \
                          ON CONFLICT (name, kind) DO UPDATE SET \
                          n = CASE WHEN ledger.ends_ms <= $2 THEN 1 ELSE ledger.n + 1 END, \
                          previous_ms = CASE WHEN ledger.ends_ms <= $2 THEN 0 ELSE ledger.bumped_ms END, \
                          bumped_ms = excluded.bumped_ms, \
                          ends_ms = CASE WHEN ledger.ends_ms <= $2 THEN excluded.ends_ms ELSE ledger.ends_ms END \
                          RETURNING n, previous_ms";
const PUT: &str = "INSERT INTO ledger (name, kind, n, previous_ms, bumped_ms, content, ends_ms) VALUES ($1, 2, 1, 0, $2, $3, $4) \
                   ON CONFLICT (name, kind) DO UPDATE SET bumped_ms = excluded.bumped_ms, content = excluded.content, \
                   ends_ms = excluded.ends_ms";
const TAKE: &str = "DELETE FROM ledger WHERE name = $1 AND kind = 2 AND ends_ms > $2 RETURNING content";
const SWEEP: &str =
    "DELETE FROM ledger WHERE (name, kind) IN (SELECT name, kind FROM ledger WHERE ends_ms <= $1 LIMIT $2)";
const HOW_MANY: &str = "SELECT COUNT(*) FROM ledger WHERE name >= $1 AND name < $2";
const EVICT: &str = "DELETE FROM ledger WHERE (name, kind) IN \
                     (SELECT name, kind FROM ledger WHERE name >= $1 AND name < $2 ORDER BY bumped_ms LIMIT $3)";

/// Rows that one order of a sweep drops.
const SWEEP_PIECE: u64 = 500;
/// And one eviction, which has to sort what it chooses from.
const EVICT_PIECE: u64 = 5000;
