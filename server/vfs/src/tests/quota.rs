//! Quota: counted once, moved by every operation, never exceeded by uploads together.

use super::house::*;
use crate::{Intent, MountSpec, OnAbort, Overwrite, TreeSpec, VfsError};
use lockgate_model::ByteSize;

#[tokio::test]
async fn what_is_there_already_is_counted_at_the_first_session() {
    let house = House::new();
    house.put("a/b/c", &[0; 100]);
    house.put("d", &[0; 11]);
    std::os::unix::fs::symlink("d", house.on_disk("link")).unwrap();
    let alice = house.with_quota("alice", 1000).await;
    assert_eq!(house.used("alice"), 111);
    let space = alice.space(&path("/")).await.unwrap();
    assert_eq!((space.total, space.used, space.free), (1000, 111, 889));
}

#[tokio::test]
async fn an_upload_past_the_quota_is_refused_and_the_old_file_stays() {
    let house = House::new();
    house.put("f", b"old");
    let alice = house.with_quota("alice", 10).await;
    let mut upload = alice.create(&path("/f"), CREATE, OnAbort::Discard).await.unwrap();
    upload.write_at(0, &[1; 7]).await.unwrap();
    let error = upload.write_at(7, b"x").await.unwrap_err();
    assert!(matches!(error, VfsError::OverQuota { used: ByteSize(10), limit: ByteSize(10) }), "{error}");
    drop(upload);
    assert_eq!((house.bytes("f").unwrap(), house.used("alice")), (b"old".to_vec(), 3));
}

#[tokio::test]
async fn a_replaced_file_is_given_back_at_the_commit_and_a_removed_one_at_once() {
    let house = House::new();
    let alice = house.with_quota("alice", 100).await;
    alice.store("/f", &[0; 40]).await.unwrap();
    let upload = alice.begin_upload("/f", CREATE, &[0; 30]).await;
    assert_eq!(house.used("alice"), 70);
    upload.commit().await.unwrap();
    assert_eq!(house.used("alice"), 30);
    alice.store("/g", &[0; 5]).await.unwrap();
    alice.rename(&path("/g"), &path("/f"), Overwrite::Replace).await.unwrap();
    assert_eq!(house.used("alice"), 5);
    alice.copy(&path("/f"), &path("/h"), Overwrite::Refuse).await.unwrap();
    alice.make_folder(&path("/d")).await.unwrap();
    alice.rename(&path("/h"), &path("/d/h"), Overwrite::Refuse).await.unwrap();
    assert_eq!(house.used("alice"), 10);
    alice.remove_tree(&path("/d")).await.unwrap();
    alice.remove_file(&path("/f")).await.unwrap();
    assert_eq!(house.used("alice"), 0);
}

#[tokio::test]
async fn partials_count_until_they_are_gone() {
    let house = House::new();
    let alice = house.with_quota("alice", 100).await;
    alice.make_folder(&path("/d")).await.unwrap();
    drop(alice.begin_upload("/d/f", CREATE, &[0; 40]).await);
    assert_eq!(house.used("alice"), 40);
    drop(alice.begin_upload("/d/f", patch(40), &[0; 10]).await);
    assert_eq!(house.used("alice"), 50);
    let mut upload = alice.begin_upload("/d/f", patch(50), &[0; 10]).await;
    upload.set_len(55).await.unwrap();
    upload.commit().await.unwrap();
    assert_eq!(house.used("alice"), 55);
    drop(alice.begin_upload("/d/g", CREATE, &[0; 40]).await);
    alice.remove_tree(&path("/d")).await.unwrap();
    assert_eq!(house.used("alice"), 0);
}

#[tokio::test]
async fn two_uploads_of_one_name_cut_off_leave_one_partial_and_its_bytes() {
    let house = House::new();
    let alice = house.with_quota("alice", 100).await;
    let (a, b) = (alice.begin_upload("/f", CREATE, &[0; 10]).await, alice.begin_upload("/f", CREATE, &[0; 20]).await);
    drop(a);
    drop(b);
    assert_eq!((house.used("alice"), house.litter("").len()), (20, 1));
    assert_eq!(alice.size("/f").await.unwrap(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_uploads_at_once_never_exceed_the_quota_together() {
    const QUOTA: u64 = 1_000_000;
    let house = House::with(crate::Durability::Rename, DAY);
    let alice = house.with_quota("alice", QUOTA).await;
    let watch = {
        let storage = house.storage.clone();
        move || storage.usage(&user("alice")).unwrap().0
    };
    let tasks: Vec<_> = (0..20)
        .map(|number| {
            let (vfs, watch) = (alice.clone(), watch.clone());
            tokio::spawn(async move {
                let mut upload = vfs.create(&path(&format!("/{number}")), CREATE, OnAbort::Discard).await.unwrap();
                for at in 0..100 {
                    if let Err(error) = upload.write_at(at * 1000, &[7; 1000]).await {
                        assert!(matches!(error, VfsError::OverQuota { .. }), "{error}");
                        return 0;
                    }
                    assert!(watch() <= QUOTA);
                    tokio::task::yield_now().await;
                }
                upload.commit().await.unwrap().metadata.size
            })
        })
        .collect();
    let mut stored = 0;
    for task in tasks {
        stored += task.await.unwrap();
    }
    assert!(stored <= QUOTA);
    assert_eq!(watch(), stored);
    let on_disk: u64 =
        std::fs::read_dir(house.root()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(on_disk, stored);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_racing_for_one_name_are_each_given_back_but_the_last() {
    let house = House::with(crate::Durability::Rename, DAY);
    let alice = house.with_quota("alice", 1_000_000).await;
    let tasks: Vec<_> = (0..30_usize)
        .map(|number| {
            let vfs = alice.clone();
            tokio::spawn(async move { vfs.store("/f", &vec![0; 100 + number]).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(house.used("alice"), house.bytes("f").unwrap().len() as u64);
}

#[tokio::test]
async fn only_mounts_that_count_are_counted_and_a_move_between_them_settles_both() {
    let house = House::new();
    let mounts = vec![house.mount("/", "root"), MountSpec { counts: false, ..house.mount("/free", "free") }];
    let alice = house.open(TreeSpec { mounts, quota: Some(ByteSize(10)), ..house.tree("alice") }).await;
    alice.store("/free/f", &[0; 20]).await.unwrap();
    assert_eq!(house.used("alice"), 0);
    let refused = alice.rename(&path("/free/f"), &path("/f"), Overwrite::Refuse).await;
    assert!(matches!(refused, Err(VfsError::OverQuota { .. })));
    alice.store("/g", &[0; 8]).await.unwrap();
    alice.set_facts(&path("/g"), at(5_000)).await.unwrap();
    alice.rename(&path("/g"), &path("/free/g"), Overwrite::Refuse).await.unwrap();
    assert_eq!((house.used("alice"), house.bytes("g")), (0, None));
    assert_eq!(alice.stat(&path("/free/g")).await.unwrap().modified, at(5_000).modified.unwrap());
    assert!(alice.size("/free/f").await.is_ok(), "a move that failed moved nothing");
}

#[tokio::test]
async fn one_users_sessions_share_a_count_and_two_users_do_not() {
    let house = House::new();
    let (one, two) = (house.with_quota("alice", 10).await, house.with_quota("alice", 10).await);
    one.store("/f", &[0; 6]).await.unwrap();
    assert!(matches!(two.store("/g", &[0; 6]).await, Err(VfsError::OverQuota { .. })));
    let mounts = vec![house.mount("/", "other")];
    let bob = house.open(TreeSpec { mounts, quota: Some(ByteSize(10)), ..house.tree("bob") }).await;
    bob.store("/g", &[0; 6]).await.unwrap();
    assert_eq!((house.used("alice"), house.used("bob")), (6, 6));
}

#[tokio::test]
async fn a_user_who_shares_a_root_is_counted_anew_when_they_come_back() {
    let house = House::new();
    let bob = house.with_quota("bob", 100).await;
    drop(house.with_quota("alice", 100).await);
    bob.store("/f", &[0; 60]).await.unwrap();
    assert_eq!(house.used("alice"), 0);
    let alice = house.with_quota("alice", 100).await;
    assert_eq!(house.used("alice"), 60);
    alice.remove_file(&path("/f")).await.unwrap();
    assert_eq!(house.used("alice"), 0);
}

#[tokio::test]
async fn a_writer_in_place_pays_for_what_another_has_cut() {
    let house = House::new();
    let alice = house.with_quota("alice", 100).await;
    alice.store("/f", &[0; 80]).await.unwrap();
    let mut one = alice.create(&path("/f"), UNKNOWN, OnAbort::Keep).await.unwrap();
    let mut two = alice.create(&path("/f"), UNKNOWN, OnAbort::Keep).await.unwrap();
    two.set_len(0).await.unwrap();
    assert_eq!(house.used("alice"), 0);
    alice.store("/g", &[0; 50]).await.unwrap();
    one.write_at(0, &[1; 50]).await.unwrap();
    assert_eq!(house.used("alice"), 100);
    assert!(matches!(one.write_at(50, &[1; 30]).await, Err(VfsError::OverQuota { .. })));
    assert!(matches!(two.set_len(51).await, Err(VfsError::OverQuota { .. })));
    assert_eq!((house.bytes("f").unwrap().len(), house.used("alice")), (50, 100));
}

#[tokio::test]
async fn a_file_is_given_back_once_whether_it_is_cut_before_or_after_its_name_went() {
    let house = House::new();
    let alice = house.with_quota("alice", 100).await;
    alice.store("/keep", &[0; 40]).await.unwrap();
    for cut_first in [true, false] {
        alice.store("/f", &[0; 60]).await.unwrap();
        let mut open = alice.create(&path("/f"), UNKNOWN, OnAbort::Keep).await.unwrap();
        if cut_first {
            open.set_len(0).await.unwrap();
        }
        alice.remove_file(&path("/f")).await.unwrap();
        open.set_len(0).await.unwrap();
        assert_eq!(house.used("alice"), 40);
        open.write_at(0, &[1; 60]).await.unwrap();
        assert_eq!(house.used("alice"), 100, "bytes without a name take room as long as they are open");
        assert!(matches!(open.write_at(60, b"1").await, Err(VfsError::OverQuota { .. })));
        drop(open);
        assert_eq!(house.used("alice"), 40);
    }
}

#[tokio::test]
async fn a_file_with_several_names_pays_for_each_as_it_grows() {
    let house = House::new();
    let alice = house.open(TreeSpec { otherwise: all(), quota: Some(ByteSize(100)), ..house.tree("alice") }).await;
    alice.store("/a", &[0; 10]).await.unwrap();
    alice.hard_link(&path("/a"), &path("/b")).await.unwrap();
    let mut upload = alice.create(&path("/a"), UNKNOWN, OnAbort::Keep).await.unwrap();
    assert!(matches!(upload.set_len(60).await, Err(VfsError::OverQuota { .. })));
    let mut upload = alice.create(&path("/a"), UNKNOWN, OnAbort::Keep).await.unwrap();
    upload.set_len(40).await.unwrap();
    assert_eq!(house.used("alice"), 80);
    drop(upload);
    alice.remove_file(&path("/a")).await.unwrap();
    alice.remove_file(&path("/b")).await.unwrap();
    assert_eq!(house.used("alice"), 0);
}

#[tokio::test]
async fn a_folder_mounted_twice_or_below_another_is_counted_once() {
    let house = House::new();
    house.put("sub/f", &[0; 7]);
    house.put("g", &[0; 3]);
    let mounts = vec![house.mount("/", "root"), house.mount("/again", "root"), house.mount("/below", "root/sub")];
    house.open(TreeSpec { mounts, quota: Some(ByteSize(100)), ..house.tree("alice") }).await;
    assert_eq!(house.used("alice"), 10);
}

#[tokio::test]
async fn an_announced_length_that_cannot_fit_is_refused_before_a_byte_comes() {
    let house = House::new();
    let alice = house.with_quota("alice", 10).await;
    let upload = alice.create(&path("/f"), Intent::Create, OnAbort::Discard).await.unwrap();
    upload.check_room(10).await.unwrap();
    assert!(matches!(upload.check_room(11).await, Err(VfsError::OverQuota { .. })));
    assert_eq!(house.used("alice"), 0);
    drop(upload);
    let free = house.open(house.tree("bob")).await;
    let upload = free.create(&path("/f"), Intent::Create, OnAbort::Discard).await.unwrap();
    assert!(matches!(upload.check_room(u64::MAX / 4).await, Err(VfsError::NoSpace)));
}
