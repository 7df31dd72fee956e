//! WebDAV locks bind all doors.

use super::house::*;
use crate::{Lock, LockDepth, LockLimits, LockScope, LockToken, OnAbort, Overwrite, Vfs, VfsError};
use std::time::{Duration, SystemTime};

const LIFE: Duration = Duration::from_secs(100);

fn lock(vfs: &Vfs, name: &str, depth: LockDepth) -> LockToken {
    vfs.locks().lock(&path(name), LockScope::Exclusive, depth, None, LIFE).unwrap().token
}

#[tokio::test]
async fn without_the_token_every_write_to_a_locked_name_is_refused() {
    let house = House::new();
    let (alice, bob) = (house.session("alice", "1").await, house.session("bob", "2").await);
    house.put("d/f", b"x");
    house.put("g", b"x");
    let token = lock(&alice, "/d/f", LockDepth::Zero);
    let (f, g) = (path("/d/f"), path("/g"));
    // The holder without the token is a stranger too.
    for vfs in [&alice, &bob, &bob.with_tokens(vec![token.clone()])] {
        let refused = [
            vfs.create(&f, CREATE, OnAbort::Keep).await.err(),
            vfs.create(&f, APPEND, OnAbort::Keep).await.err(),
            vfs.remove_file(&f).await.err(),
            vfs.remove_tree(&f).await.err(),
            vfs.remove_tree(&path("/d")).await.err(),
            vfs.rename(&f, &path("/x"), Overwrite::Replace).await.err(),
            vfs.rename(&g, &f, Overwrite::Replace).await.err(),
            vfs.rename(&path("/d"), &path("/e"), Overwrite::Replace).await.err(),
            vfs.copy(&g, &f, Overwrite::Replace).await.err(),
            vfs.set_facts(&f, at(1)).await.err(),
            vfs.set_properties(&f, &[]).await.err(),
        ];
        for (place, error) in refused.into_iter().enumerate() {
            assert!(matches!(error, Some(VfsError::Locked(_))), "{place}: {error:?}");
        }
        assert_eq!(vfs.fetch("/d/f").await.unwrap(), b"x");
    }
    let holder = alice.with_tokens(vec![token]);
    holder.store("/d/f", b"y").await.unwrap();
    holder.remove_tree(&path("/d")).await.unwrap();
    assert!(alice.locks().discover(&f).is_empty(), "a lock goes with its name");
}

#[tokio::test]
async fn a_lock_taken_during_an_upload_stops_its_commit() {
    let house = House::new();
    let (alice, bob) = (house.session("alice", "1").await, house.session("bob", "2").await);
    let upload = bob.begin_upload("/f", CREATE, b"x").await;
    let token = lock(&alice, "/f", LockDepth::Zero);
    assert!(matches!(upload.commit().await, Err(VfsError::Locked(_))));
    let upload = alice.create(&path("/f"), CREATE, OnAbort::Discard).await;
    assert!(matches!(upload, Err(VfsError::Locked(_))));
    alice.with_tokens(vec![token]).store("/f", b"y").await.unwrap();
}

#[tokio::test]
async fn a_lock_taken_during_a_patch_stops_its_next_write() {
    let house = House::new();
    let (alice, bob) = (house.session("alice", "1").await, house.session("bob", "2").await);
    house.put("f", b"0123");
    let mut upload = bob.create(&path("/f"), patch(0), OnAbort::Keep).await.unwrap();
    upload.write_at(0, b"a").await.unwrap();
    lock(&alice, "/f", LockDepth::Zero);
    assert!(matches!(upload.write_at(1, b"b").await, Err(VfsError::Locked(_))));
    assert!(matches!(upload.set_len(0).await, Err(VfsError::Locked(_))));
    assert_eq!(house.bytes("f").unwrap(), b"a123");
}

#[tokio::test]
async fn a_locked_folder_takes_no_new_names_and_a_deep_lock_no_writes_below() {
    let house = House::new();
    let (alice, bob) = (house.session("alice", "1").await, house.session("bob", "2").await);
    house.put("flat/f", b"x");
    house.put("deep/a/f", b"x");
    let flat = lock(&alice, "/flat", LockDepth::Zero);
    let deep = lock(&alice, "/deep", LockDepth::Infinity);
    assert!(matches!(bob.store("/flat/new", b"x").await, Err(VfsError::Locked(_))));
    assert!(matches!(bob.make_folder(&path("/flat/new")).await, Err(VfsError::Locked(_))));
    assert!(matches!(bob.remove_file(&path("/flat/f")).await, Err(VfsError::Locked(_))));
    bob.store("/flat/f", b"y").await.unwrap();
    for name in ["/deep/a/f", "/deep/a/new", "/deep/new"] {
        assert!(matches!(bob.store(name, b"x").await, Err(VfsError::Locked(_))), "{name}");
    }
    let holder = alice.with_tokens(vec![flat, deep]);
    holder.store("/deep/a/new", b"x").await.unwrap();
    holder.make_folder(&path("/flat/new")).await.unwrap();
}

#[tokio::test]
async fn two_users_paths_to_one_file_meet_in_one_lock() {
    let house = House::new();
    house.put("team/f", b"x");
    std::os::unix::fs::symlink("team", house.on_disk("way")).unwrap();
    let alice = house.session("alice", "1").await;
    let mounts = vec![house.mount("/", "other"), house.mount("/shared", "root/team")];
    let bob = house.open(crate::TreeSpec { mounts, ..house.tree("bob") }).await;
    let lock = alice.locks().lock(&path("/way"), LockScope::Exclusive, LockDepth::Infinity, None, LIFE).unwrap();
    assert!(matches!(bob.store("/shared/f", b"y").await, Err(VfsError::Locked(_))));
    let seen = bob.locks().discover(&path("/shared/f"));
    assert_eq!(seen.len(), 1);
    assert_eq!(
        (seen[0].token.0.as_str(), seen[0].path.clone()),
        ("", path("/shared")),
        "tokens of others are not told"
    );
    assert!(matches!(bob.locks().unlock(&path("/shared"), &lock.token), Err(VfsError::Forbidden { .. })));
    alice.locks().unlock(&path("/team"), &lock.token).unwrap();
    bob.store("/shared/f", b"y").await.unwrap();
}

#[tokio::test]
async fn exclusive_locks_stand_alone_and_shared_ones_together() {
    let house = House::new();
    let (alice, bob) = (house.session("alice", "1").await, house.session("bob", "2").await);
    let f = path("/d/f");
    let take = |vfs: &Vfs, name: &str, scope, depth| vfs.locks().lock(&path(name), scope, depth, None, LIFE);
    let one = take(&alice, "/d/f", LockScope::Shared, LockDepth::Zero).unwrap();
    let two = take(&bob, "/d/f", LockScope::Shared, LockDepth::Zero).unwrap();
    assert!(matches!(take(&bob, "/d/f", LockScope::Exclusive, LockDepth::Zero), Err(VfsError::Locked(_))));
    assert!(matches!(take(&bob, "/d", LockScope::Exclusive, LockDepth::Infinity), Err(VfsError::Locked(_))));
    take(&bob, "/d", LockScope::Exclusive, LockDepth::Zero).unwrap();
    assert!(alice.locks().conflict(&f, false, &[]).is_some());
    assert!(alice.locks().conflict(&f, false, std::slice::from_ref(&one.token)).is_none());
    assert!(alice.locks().conflict(&f, false, &[two.token]).is_some(), "another user's token is none");
    alice.locks().forget(&path("/d"));
    assert!(alice.locks().conflict(&f, true, &[]).is_none());
}

#[tokio::test]
async fn locks_end_by_themselves_are_refreshed_only_by_their_user_and_are_bounded() {
    let house = House::new();
    let (alice, bob) = (house.session("alice", "1").await, house.session("bob", "2").await);
    let f = path("/f");
    let take =
        |vfs: &Vfs, name: &str, life| vfs.locks().lock(&path(name), LockScope::Exclusive, LockDepth::Zero, None, life);
    take(&alice, "/f", Duration::ZERO).unwrap();
    assert!(alice.locks().conflict(&f, false, &[]).is_none());
    let lock = take(&alice, "/f", Duration::from_secs(1_000_000)).unwrap();
    assert!(lock.expires <= std::time::SystemTime::now() + Duration::from_secs(600));
    assert!(matches!(bob.locks().refresh(&f, &lock.token, LIFE), Err(VfsError::NotFound(_))));
    assert!(alice.locks().refresh(&f, &lock.token, LIFE).unwrap().expires < lock.expires);
    assert!(matches!(alice.locks().unlock(&f, &LockToken("urn:uuid:0".into())), Err(VfsError::NotFound(_))));
    for number in 1..100 {
        take(&alice, &format!("/{number}"), LIFE).unwrap();
    }
    assert!(matches!(take(&alice, "/more", LIFE), Err(VfsError::Forbidden { .. })));
    take(&bob, "/more", LIFE).unwrap();
    let tree = crate::TreeSpec { otherwise: lockgate_model::Permissions::read_only(), ..house.tree("eve") };
    let reader = house.open(tree).await;
    assert!(matches!(take(&reader, "/x", LIFE), Err(VfsError::Forbidden { .. })), "no lock without the right to write");
    house.put("closed/f", b"x");
    std::os::unix::fs::symlink("closed", house.on_disk("way")).unwrap();
    let rules = vec![(path("/closed"), lockgate_model::Permissions::read_only())];
    let half = house.open(crate::TreeSpec { rules, ..house.tree("half") }).await;
    assert!(matches!(take(&half, "/way/f", LIFE), Err(VfsError::Forbidden { .. })), "nor by a link that leads there");
}

#[tokio::test]
async fn changed_limits_hold_for_the_next_lock_and_the_next_refresh() {
    let house = House::new();
    let alice = house.session("alice", "1").await;
    let limits = LockLimits { per_user: 2, longest: Duration::from_secs(5) };
    let first = lock(&alice, "/a", LockDepth::Zero);
    house.storage.limit_locks(limits);
    let soon = |lock: &Lock| lock.expires <= SystemTime::now() + limits.longest;
    assert!(soon(&alice.locks().refresh(&path("/a"), &first, LIFE).unwrap()));
    let second = alice.locks().lock(&path("/b"), LockScope::Exclusive, LockDepth::Zero, None, LIFE).unwrap();
    assert!(soon(&second));
    let third = alice.locks().lock(&path("/c"), LockScope::Exclusive, LockDepth::Zero, None, LIFE);
    assert!(matches!(third, Err(VfsError::Forbidden { .. })));
}
