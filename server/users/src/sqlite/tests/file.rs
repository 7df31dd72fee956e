//! The rules of the file itself: private, shared between processes, whole after a crash, never taken for what it is not.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_change_one_file_and_neither_loses_a_change() {
    let home = Home::with_users(&["alice"]).await;
    let before = home.epoch("alice").await;
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let directory = home.opened_again().await;
        writers.spawn(async move {
            for n in 0..25 {
                let text = [(format!("t{writer}"), Some(n.to_string()))].into();
                directory
                    .update(&name("alice"), AccountChange { texts: text, ..AccountChange::default() })
                    .await
                    .unwrap();
                directory.set_password(&name("alice"), Some(secret("$x"))).await.unwrap();
            }
        });
    }
    writers.join_all().await;
    let account = home.account("alice").await;
    assert_eq!(account.epoch.0, before + 100);
    assert_eq!(account.texts.values().map(String::as_str).collect::<Vec<_>>(), ["24"; 4]);
}

/// This test is its own other process: told to by the environment, it is a command that opens the file, looks, and ends.
#[tokio::test]
async fn a_command_that_ends_leaves_the_log_of_the_running_server_alone() {
    const TOLD: &str = "LOCKGATE_TEST_USERS_FILE";
    if let Some(path) = std::env::var_os(TOLD) {
        let mut connection = SqliteConnectOptions::new().filename(path).connect().await.unwrap();
        sqlx::query("UPDATE users SET email = 'a@b'").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        return;
    }
    let home = Home::with_users(&["alice"]).await;
    // The server opens its file for more than one room; none of it may cost the locks of the others.
    let ledger = connect(&home.file()).await.unwrap();
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", std::thread::current().name().unwrap()])
        .env(TOLD, home.file())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    assert!(home.folder.path().join("lockgate.db-wal").exists(), "the command took the log away under the server");
    assert_eq!(home.account("alice").await.email.as_deref(), Some("a@b"));
    ledger.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_that_open_a_fresh_home_at_once_all_succeed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("lockgate.db");
    let (start, mut openers, key) = (Arc::new(Barrier::new(8)), JoinSet::new(), SecretKey::generate().unwrap());
    for n in 0..8 {
        let (start, file, key) = (start.clone(), file.clone(), key.clone());
        openers.spawn(async move {
            start.wait().await;
            let directory = SqliteDirectory::open(&file, key).await.unwrap();
            directory.create(&name(&format!("user{n}")), AccountChange::default()).await.unwrap();
        });
    }
    openers.join_all().await;
    let directory = SqliteDirectory::open(&file, key).await.unwrap();
    let names: BTreeSet<_> = directory.list(None, 100).await.unwrap().into_iter().map(|account| account.name).collect();
    assert_eq!(names.len(), 8);
}

#[tokio::test]
async fn every_file_of_the_database_is_private() {
    let home = Home::with_users(&["alice"]).await;
    let mut seen = 0;
    for file in std::fs::read_dir(home.folder.path()).unwrap() {
        let file = file.unwrap();
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600, "{:?}", file.file_name());
        seen += 1;
    }
    assert!(seen >= 2, "the write-ahead log should be there");
}

#[tokio::test]
async fn a_database_open_to_others_is_refused_with_what_to_do() {
    let home = Home::with_users(&["alice"]).await;
    for (file, mode) in [("lockgate.db", 0o640), ("lockgate.db", 0o602), ("lockgate.db-wal", 0o644)] {
        let path = home.folder.path().join(file);
        std::fs::set_permissions(&path, Mode::from_mode(mode)).unwrap();
        let error = SqliteDirectory::open(&home.file(), home.key.clone()).await.unwrap_err();
        assert!(error.to_string().contains("chmod 600") && error.to_string().contains(file), "{error}");
        std::fs::set_permissions(&path, Mode::from_mode(0o600)).unwrap();
    }
}

#[tokio::test]
async fn a_database_of_a_later_version_is_refused_unchanged() {
    let home = Home::with_users(&["alice"]).await;
    sqlx::query("INSERT INTO schema_steps (room, version) VALUES ('users', 999)")
        .execute(&home.raw().await)
        .await
        .unwrap();
    let error = SqliteDirectory::open(&home.file(), home.key.clone()).await.unwrap_err();
    assert!(matches!(error, OpenError::Newer { .. }), "{error}");
}

#[tokio::test]
async fn what_is_no_database_is_refused_and_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lockgate.db");
    std::fs::write(&path, "this is something else entirely, and long enough to have a header of its own: keep it")
        .unwrap();
    std::fs::set_permissions(&path, Mode::from_mode(0o600)).unwrap();
    let before = std::fs::read(&path).unwrap();
    assert!(SqliteDirectory::open(&path, SecretKey::generate().unwrap()).await.is_err());
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

#[tokio::test]
async fn what_was_answered_is_there_after_the_process_is_gone_without_a_word() {
    let home = Home::with_users(&["alice"]).await;
    home.directory.replace_recovery_codes(&name("alice"), vec![vec![1; 32]]).await.unwrap();
    assert!(home.directory.spend_recovery_code(&name("alice"), &[1; 32]).await.unwrap());
    // A copy of the files as they are on disk now is what a restart after a kill finds.
    let after = tempfile::tempdir().unwrap();
    for file in ["lockgate.db", "lockgate.db-wal"] {
        let copy = after.path().join(file);
        std::fs::copy(home.folder.path().join(file), &copy).unwrap();
        std::fs::set_permissions(&copy, Mode::from_mode(0o600)).unwrap();
    }
    let restarted = SqliteDirectory::open(&after.path().join("lockgate.db"), home.key.clone()).await.unwrap();
    assert!(!restarted.spend_recovery_code(&name("alice"), &[1; 32]).await.unwrap());
}

#[tokio::test]
async fn a_commit_is_synced_and_readers_cannot_write() {
    let home = Home::with_users(&["alice"]).await;
    let Pools { writer, readers, .. } = home.directory.pools();
    for pool in [writer, readers] {
        let ask = |pragma: &'static str| sqlx::query_scalar::<_, i64>(pragma).fetch_one(pool);
        assert_eq!(ask("PRAGMA synchronous").await.unwrap(), 2, "FULL");
        assert_eq!(ask("PRAGMA foreign_keys").await.unwrap(), 1);
        assert_eq!(ask("PRAGMA busy_timeout").await.unwrap(), 5000);
        let journal: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(pool).await.unwrap();
        assert_eq!(journal, "wal");
    }
    assert!(sqlx::query("DELETE FROM users").execute(readers).await.is_err());
}

#[tokio::test]
async fn a_copy_holds_everything_is_private_and_overwrites_nothing() {
    let home = Home::with_users(&["alice"]).await;
    home.directory.enrol(&name("alice"), "totp", Secret::new(b"seed".to_vec())).await.unwrap();
    let copy = home.folder.path().join("copy of it's.db");
    home.directory.copy_to(&copy).await.unwrap();
    assert_eq!(std::fs::metadata(&copy).unwrap().permissions().mode() & 0o777, 0o600);
    let copied = SqliteDirectory::open(&copy, home.key.clone()).await.unwrap();
    assert_eq!(copied.find(&name("alice")).await.unwrap().unwrap().enrolments["totp"].expose(), b"seed");
    assert!(home.directory.copy_to(&copy).await.is_err());
}
