//! The database file: made private, opened in one way by everybody, its schema brought up to date.
//!
//! Several processes have the file open at once (the server, and each command that an administrator runs), and a commit that
//! was answered must outlive a crash: hence WAL, a busy timeout, one writer a process, and a sync with every commit.
//! Never: opens a file that group or others can read, or one that a later version has changed.

use crate::{OpenError, open};
use sqlx::{
    ConnectOptions, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// The two ways into one database file. Rooms of one process that keep something in the same file share them: writers then
/// wait in one fair queue, and never poll each other's lock.
#[derive(Clone, Debug)]
pub struct Pools {
    path: PathBuf,
    /// A single connection, so that writers of this process queue here and not in front of a lock.
    pub writer: SqlitePool,
    /// Connections that cannot write, and see what was committed before they ask.
    pub readers: SqlitePool,
}

/// The tables that one room keeps in the file.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The room's name.
    pub room: &'static str,
    /// The SQL of each step, in order. A step is applied once, and never changed after it was released.
    pub steps: &'static [&'static str],
}

/// Opens the file, made with mode 0600 where it is not there.
///
/// Every commit is synced to disk before it is answered. A writer that finds another process writing waits up to 5 s.
///
/// # Errors
/// [`OpenError`] where the file or what belongs to it is open to group or others, or is no database.
pub async fn connect(path: &Path) -> Result<Pools, OpenError> {
    make_private(path)?;
    let failed = |source: sqlx::Error| OpenError::Database { path: path.into(), source: source.into() };
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(false)
        .busy_timeout(BUSY)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // What is removed here is removed for good: a spent code, a sealed secret.
        .pragma("secure_delete", "ON")
        // A schema that somebody has tampered with must not run functions of its own.
        .pragma("trusted_schema", "OFF")
        .disable_statement_logging();
    let writer = retry_busy(|| pool(1).connect_with(options.clone())).await.map_err(failed)?;
    let readers =
        retry_busy(|| pool(READERS).connect_with(options.clone().pragma("query_only", "ON"))).await.map_err(failed)?;
    Ok(Pools { path: path.into(), writer, readers })
}

impl Pools {
    /// Brings the tables of `schema` up to date.
    ///
    /// # Errors
    /// [`OpenError::Newer`] where a later version of the program has changed them, [`OpenError::Database`] where the engine
    /// fails.
    pub async fn prepare(&self, schema: &Schema) -> Result<(), OpenError> {
        let present = self
            .apply(schema)
            .await
            .map_err(|source| OpenError::Database { path: self.path.clone(), source: source.into() })?;
        let known = i64::try_from(schema.steps.len()).unwrap_or(i64::MAX);
        if present > known { Err(OpenError::Newer { path: self.path.clone() }) } else { Ok(()) }
    }

    /// Begins a transaction that holds the write lock from the start, so that what it has read stays true until it commits.
    ///
    /// # Errors
    /// What the engine says, after waiting for other writers.
    pub async fn begin(&self) -> Result<sqlx::Transaction<'static, sqlx::Sqlite>, sqlx::Error> {
        retry_busy(|| self.writer.begin_with("BEGIN IMMEDIATE")).await
    }

    /// Applies the steps that are lacking, and tells how many there were before.
    async fn apply(&self, schema: &Schema) -> Result<i64, sqlx::Error> {
        // The write lock is taken around the whole: two processes that open a fresh file at once must not both make the tables.
        let mut transaction = self.begin().await?;
        sqlx::query(
            "CREATE TABLE IF NOT EXISTS schema_steps (room TEXT NOT NULL, version BIGINT NOT NULL, PRIMARY KEY (room, version))",
        )
        .execute(&mut *transaction)
        .await?;
        let present: i64 = sqlx::query_scalar("SELECT COALESCE(MAX(version), 0) FROM schema_steps WHERE room = $1")
            .bind(schema.room)
            .fetch_one(&mut *transaction)
            .await?;
        for (version, sql) in (1..).zip(schema.steps).filter(|(version, _)| *version > present) {
            sqlx::raw_sql(*sql).execute(&mut *transaction).await?;
            sqlx::query("INSERT INTO schema_steps (room, version) VALUES ($1, $2)")
                .bind(schema.room)
                .bind(version)
                .execute(&mut *transaction)
                .await?;
        }
        transaction.commit().await?;
        Ok(present)
    }

    /// Waits for what is under way and closes every connection.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

/// Whether another process was writing, so that nothing has happened and the same can be tried again.
fn is_busy(error: &sqlx::Error) -> bool {
    let code =
        error.as_database_error().and_then(sqlx::error::DatabaseError::code).and_then(|code| code.parse::<u32>().ok());
    // The low byte of an extended code is the plain one: SQLITE_BUSY and SQLITE_LOCKED.
    matches!(code.map(|code| code & 0xff), Some(5 | 6))
}

/// Tries again where the engine gives up at once instead of waiting, as it does while the journal mode changes, or where
/// others were luckier for the whole of its waiting time.
async fn retry_busy<T, F: Future<Output = Result<T, sqlx::Error>>>(
    mut act: impl FnMut() -> F,
) -> Result<T, sqlx::Error> {
    let give_up = Instant::now() + PATIENCE;
    loop {
        match act().await {
            Err(error) if is_busy(&error) && Instant::now() < give_up => {
                tokio::time::sleep(Duration::from_millis(20)).await
            }
            other => return other,
        }
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Creates the file where there is none; looks at the modes of it and of the files that SQLite keeps beside it.
///
/// An existing file is looked at and never opened here: when a process closes any handle of a file, the system drops all the
/// locks that it holds on that file, also those of SQLite, and a second process could then take the log away under the first.
fn make_private(path: &Path) -> Result<(), OpenError> {
    let failed = |action| move |source| OpenError::Io { path: path.into(), action, source };
    if !path.try_exists().map_err(failed("look at"))? {
        match open::write_new(path, b"") {
            Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {}
            other => other.map_err(failed("create"))?,
        }
    }
    let facts = std::fs::metadata(path).map_err(failed("look at"))?;
    if !facts.is_file() {
        return Err(OpenError::Malformed { path: path.into(), what: "database", why: "it is no file".into() });
    }
    open::refuse_loose(path, &facts)?;
    for beside in ["-wal", "-shm"] {
        let mut name = path.as_os_str().to_owned();
        name.push(beside);
        match open::refuse_loose_permissions(Path::new(&name)) {
            Err(OpenError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

const BUSY: Duration = Duration::from_secs(5);
const ACQUIRE: Duration = Duration::from_secs(20);
const READERS: u32 = 4;
/// How long to go on after the engine gave up.
const PATIENCE: Duration = Duration::from_secs(8);
