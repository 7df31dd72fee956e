//! What uploads leave behind goes: at start what nobody owns, by age what nobody came back for.

use super::house::*;
use std::time::{Duration, SystemTime};

fn staged(house: &House, name: &str) {
    house.put(name, b"left by a process that died");
}

#[tokio::test]
async fn at_start_staging_files_that_no_upload_owns_go_and_nothing_else() {
    let mut house = House::new();
    staged(&house, ".lockgate-up-0123456789abcdef0123456789abcdef");
    staged(&house, "a/b/.lockgate-up-0123456789abcdef0123456789abcdef");
    house.put("a/b/file", b"x");
    drop(house.alice().await.begin_upload("/a/kept", CREATE, b"123").await);
    house.restart(DAY);
    house.storage.sweep(&[house.root()]).await;
    assert_eq!((house.litter(""), house.litter("a/b")), (vec![], vec![]));
    assert_eq!(house.litter("a").len(), 1, "the partial stays");
    assert_eq!(house.bytes("a/b/file").unwrap(), b"x");
}

#[tokio::test]
async fn an_upload_under_way_is_never_swept_by_this_or_another_process() {
    let house = House::new();
    let alice = house.alice().await;
    let upload = alice.begin_upload("/f", CREATE, b"123").await;
    drop(alice.begin_upload("/g", CREATE, b"12").await);
    let resumed = alice.begin_upload("/g", patch(2), b"3").await;
    let other = House { dir: tempfile::tempdir().unwrap(), ..House::new() };
    other.storage.sweep(&[house.root()]).await;
    house.storage.sweep(&[]).await;
    upload.commit().await.unwrap();
    resumed.commit().await.unwrap();
    assert_eq!((house.bytes("f").unwrap(), house.bytes("g").unwrap()), (b"123".to_vec(), b"123".to_vec()));
}

#[tokio::test]
async fn partials_go_when_their_time_is_over_and_are_given_back() {
    let house = House::with(crate::Durability::Full, Duration::from_millis(1));
    let alice = house.with_quota("alice", 100).await;
    drop(alice.begin_upload("/f", CREATE, b"123").await);
    assert_eq!(house.used("alice"), 3);
    let made = SystemTime::now();
    while made.elapsed().unwrap() < Duration::from_millis(50) {
        tokio::task::yield_now().await;
    }
    house.storage.sweep(&[]).await;
    assert_eq!((house.used("alice"), house.litter("").len()), (0, 0));
    assert!(alice.size("/f").await.is_err());
}

#[tokio::test]
async fn a_sweep_follows_no_link_and_survives_a_missing_root() {
    let house = House::new();
    let outside = house.dir.path().join("outside");
    std::fs::remove_file(outside.join("canary")).unwrap();
    std::fs::write(outside.join(".lockgate-up-0"), b"not ours").unwrap();
    std::os::unix::fs::symlink("../outside", house.on_disk("link")).unwrap();
    house.storage.sweep(&[house.root(), house.dir.path().join("no-such")]).await;
    assert!(outside.join(".lockgate-up-0").exists());
}

#[tokio::test]
async fn sweeping_while_uploads_begin_and_end_disturbs_none() {
    let house = House::with(crate::Durability::Rename, DAY);
    let alice = house.alice().await;
    let storage = house.storage.clone();
    let sweeper = tokio::spawn(async move {
        for _ in 0..100 {
            storage.sweep(&[]).await;
        }
    });
    let mut stored = 0;
    while !sweeper.is_finished() {
        alice.store(&format!("/{}", stored % 10), b"whole").await.unwrap();
        drop(alice.begin_upload("/cut", CREATE, b"12").await);
        alice.begin_upload("/cut", patch(2), b"3").await.commit().await.unwrap();
        alice.remove_file(&path("/cut")).await.unwrap();
        stored += 1;
    }
    sweeper.await.unwrap();
    assert!(stored > 0);
}
