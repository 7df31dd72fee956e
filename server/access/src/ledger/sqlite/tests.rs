//! What only a ledger on disk promises: that it forgets nothing when its process ends, however it ends.

use super::*;
use std::{
    io::{BufRead, BufReader, Write},
    path::PathBuf,
    pin::pin,
    process::{Command, Stdio},
    task::{Context, Waker},
};
use tokio::task::JoinSet;

const HOUR: Duration = Duration::from_secs(3600);

fn file(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("lockgate.db")
}

#[tokio::test]
async fn everything_is_still_there_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let first = SqliteLedger::open(&file(&folder)).await.unwrap();
    assert!(first.use_once("code/alice/1", HOUR).await.unwrap());
    first.bump("wrong/alice", HOUR).await.unwrap();
    first.bump_fixed("sent/alice", HOUR).await.unwrap();
    first.put("challenge/1", b"state", HOUR).await.unwrap();
    first.close().await;
    assert!(first.use_once("code/alice/2", HOUR).await.is_err(), "a closed ledger must not say yes");

    let second = SqliteLedger::open(&file(&folder)).await.unwrap();
    assert!(!second.use_once("code/alice/1", HOUR).await.unwrap());
    assert_eq!(second.bump("wrong/alice", HOUR).await.unwrap().n, 2);
    assert_eq!(second.bump_fixed("sent/alice", HOUR).await.unwrap(), 2);
    assert_eq!(second.take("challenge/1").await.unwrap().as_deref(), Some(&b"state"[..]));
}

/// This test is its own other process: told to by the environment, it uses a code, says so, and waits to be killed.
#[tokio::test]
async fn a_used_code_stays_used_when_the_process_is_killed_at_once() {
    const TOLD: &str = "LOCKGATE_TEST_LEDGER_FILE";
    if let Some(path) = std::env::var_os(TOLD) {
        let ledger = SqliteLedger::open(Path::new(&path)).await.unwrap();
        assert!(ledger.use_once("code/alice/1", HOUR).await.unwrap());
        writeln!(std::io::stdout(), "used").unwrap();
        std::future::pending::<()>().await;
    }
    let folder = tempfile::tempdir().unwrap();
    let name = std::thread::current().name().unwrap().to_owned();
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(TOLD, file(&folder))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let said_so = BufReader::new(process.stdout.take().unwrap()).lines().any(|line| line.unwrap().contains("used"));
    process.kill().unwrap();
    process.wait().unwrap();
    assert!(said_so, "the other process ended before it had used the code");

    let ledger = SqliteLedger::open(&file(&folder)).await.unwrap();
    assert!(!ledger.use_once("code/alice/1", HOUR).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_logins_at_once_are_all_answered_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = Arc::new(SqliteLedger::open(&file(&folder)).await.unwrap());
    let command = SqliteLedger::open(&file(&folder)).await.unwrap();
    let mut logins = JoinSet::new();
    for login in 0..200 {
        let ledger = ledger.clone();
        logins.spawn(async move {
            ledger.bump("tries/10.0.0.1", HOUR).await.unwrap();
            ledger.count(&format!("wrong/{login}")).await.unwrap();
            ledger.put(&format!("challenge/{login}"), &[7; 500], HOUR).await.unwrap();
            assert!(ledger.use_once(&format!("code/{login}/1"), HOUR).await.unwrap());
            assert!(ledger.take(&format!("challenge/{login}")).await.unwrap().is_some());
            ledger.put(&format!("grant/{login}"), &[7; 200], HOUR).await.unwrap();
            ledger.remove(&format!("wrong/{login}")).await.unwrap();
        });
    }
    // An administrator's command in another process gets its turn too.
    for n in 0..20 {
        command.put(&format!("ban/{n}"), b"", HOUR).await.unwrap();
    }
    while let Some(login) = logins.join_next().await {
        login.unwrap();
    }
    assert_eq!(ledger.count("tries/10.0.0.1").await.unwrap().n, 200);
    assert_eq!(
        (ledger.list("ban/", 100).await.unwrap().len(), ledger.list("grant/", 1000).await.unwrap().len()),
        (20, 200)
    );
}

#[tokio::test]
async fn who_stops_waiting_in_the_queue_finds_nothing_changed_later() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(&file(&folder)).await.unwrap();
    // Holds the only way to write, so that the order below waits.
    let writing = ledger.pools.begin().await.unwrap();
    let mut nobody_wakes = Context::from_waker(Waker::noop());
    let mut first = pin!(ledger.use_once("first", HOUR));
    assert!(first.as_mut().poll(&mut nobody_wakes).is_pending());
    tokio::task::yield_now().await;
    {
        let abandoned = pin!(ledger.use_once("abandoned", HOUR));
        assert!(abandoned.poll(&mut nobody_wakes).is_pending());
    }
    drop(writing);
    assert!(first.await.unwrap());
    assert!(ledger.use_once("abandoned", HOUR).await.unwrap());
}

#[tokio::test]
async fn the_accounts_and_the_ledger_share_one_file_and_one_writer() {
    let folder = tempfile::tempdir().unwrap();
    let key = lockgate_users::SecretKey::generate().unwrap();
    let directory = lockgate_users::SqliteDirectory::open(&file(&folder), key).await.unwrap();
    let ledger = SqliteLedger::within(directory.pools().clone(), Clock::system()).await.unwrap();
    assert!(ledger.use_once("code/alice/1", HOUR).await.unwrap());
    assert!(SqliteLedger::open(&file(&folder)).await.unwrap().count("code/alice/1").await.unwrap().n == 0);
    assert!(!SqliteLedger::open(&file(&folder)).await.unwrap().use_once("code/alice/1", HOUR).await.unwrap());
}

#[tokio::test]
async fn a_sweep_leaves_nothing_of_what_has_passed() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = SqliteLedger::open(&file(&folder)).await.unwrap();
    let mut puts = JoinSet::new();
    let ledger = Arc::new(ledger);
    for n in 0..1200 {
        let ledger = ledger.clone();
        puts.spawn(async move { ledger.put(&format!("old/{n}"), b"", Duration::ZERO).await.unwrap() });
    }
    puts.join_all().await;
    ledger.put("new", b"", HOUR).await.unwrap();
    while !ledger.list("old/", 1).await.unwrap().is_empty() {}
    ledger.sweep().await.unwrap();
    let rows: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM ledger").fetch_one(&ledger.pools.readers).await.unwrap();
    assert_eq!(rows, 1);
}
