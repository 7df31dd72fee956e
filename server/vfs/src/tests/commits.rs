//! Staged uploads: there whole or not at all.

use super::house::*;
use crate::{Facts, Intent, OnAbort, VfsError};
use lockgate_events::FileAction;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

#[tokio::test]
async fn until_commit_everybody_sees_the_old_state_of_the_name() {
    let house = House::new();
    let (alice, bob) = (house.session("alice", "a").await, house.session("bob", "b").await);
    house.put("old", b"old");
    let over = alice.begin_upload("/old", CREATE, b"new bytes").await;
    let fresh = alice.begin_upload("/fresh", CREATE, b"fresh").await;
    assert_eq!(bob.fetch("/old").await.unwrap(), b"old");
    assert_eq!(alice.fetch("/old").await.unwrap(), b"old");
    assert!(matches!(bob.size("/fresh").await, Err(VfsError::NotFound(_))));
    assert_eq!(bob.names("/").await, ["old"]);
    over.commit().await.unwrap();
    fresh.commit().await.unwrap();
    assert_eq!(bob.fetch("/old").await.unwrap(), b"new bytes");
    assert_eq!(bob.fetch("/fresh").await.unwrap(), b"fresh");
}

#[tokio::test]
async fn within_the_same_session_a_name_with_an_open_upload_answers_for_the_upload() {
    let house = House::new();
    let alice = house.session("alice", "one").await;
    let other = house.session("alice", "two").await;
    let same = house.session("alice", "one").await;
    house.put("name", b"old");
    let mut upload = alice.begin_upload("/name", CREATE, b"12345").await;
    assert_eq!(alice.size("/name").await.unwrap(), 5);
    assert_eq!(same.lstat(&path("/name")).await.unwrap().size, 5);
    assert_eq!(other.size("/name").await.unwrap(), 3);
    upload.write_at(5, b"678").await.unwrap();
    assert_eq!(alice.size("/name").await.unwrap(), 8);
    drop(upload);
    assert_eq!(alice.size("/name").await.unwrap(), 3);
}

#[tokio::test]
async fn facts_set_by_name_during_an_upload_are_the_files_after_the_commit() {
    let house = House::new();
    let alice = house.alice().await;
    let upload = alice.begin_upload("/name", CREATE, b"x").await;
    alice.set_facts(&path("/name"), Facts { mode: Some(0o6640), ..at(1_000_000) }).await.unwrap();
    assert_eq!(alice.stat(&path("/name")).await.unwrap().mode, 0o6640);
    let committed = upload.commit().await.unwrap();
    let facts = alice.stat(&path("/name")).await.unwrap();
    assert_eq!((facts.mode, facts.modified), (0o640, at(1_000_000).modified.unwrap()));
    assert_eq!(committed.metadata.etag, facts.etag);
}

#[tokio::test]
async fn a_commit_says_whether_the_name_is_new_and_what_the_file_is_now() {
    let house = House::new();
    let alice = house.alice().await;
    let first = alice.store("/f", b"one").await.unwrap();
    let second = alice.store("/f", b"three").await.unwrap();
    assert!(first.created && !second.created);
    assert_eq!(second.metadata.size, 5);
    assert_ne!(first.metadata.etag, second.metadata.etag);
    assert_eq!(second.metadata, alice.stat(&path("/f")).await.unwrap());
}

#[tokio::test]
async fn mode_and_attributes_of_a_replaced_file_stay_and_set_id_bits_do_not() {
    let house = House::new();
    let alice = house.alice().await;
    house.put("f", b"old");
    let old = house.on_disk("f");
    let kept = rustix::fs::setxattr(&old, "user.colour", b"red", rustix::fs::XattrFlags::empty()).is_ok();
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o4751)).unwrap();
    alice.store("/f", b"new").await.unwrap();
    assert_eq!(std::fs::metadata(&old).unwrap().mode() & 0o7777, 0o751);
    if kept {
        let mut value = [0; 16];
        let length = rustix::fs::getxattr(&old, "user.colour", &mut value).unwrap();
        assert_eq!(value.get(..length), Some(&b"red"[..]));
    }
}

#[tokio::test]
async fn create_new_fails_at_once_or_at_the_commit_if_the_name_exists_by_then() {
    let house = House::new();
    let alice = house.alice().await;
    house.put("taken", b"");
    let refused = alice.create(&path("/taken"), Intent::CreateNew, OnAbort::Discard).await.err().unwrap();
    assert!(matches!(refused, VfsError::Exists(name) if name == path("/taken")));
    let upload = alice.begin_upload("/late", Intent::CreateNew, b"mine").await;
    house.put("late", b"theirs");
    assert!(matches!(upload.commit().await, Err(VfsError::Exists(_))));
    assert_eq!(house.bytes("late").unwrap(), b"theirs");
}

#[tokio::test]
async fn an_abort_of_a_discarded_upload_leaves_nothing_and_changes_nothing() {
    let house = House::new();
    let alice = house.alice().await;
    house.put("old", b"old");
    let mut upload = alice.create(&path("/old"), CREATE, OnAbort::Discard).await.unwrap();
    upload.write_at(0, b"half").await.unwrap();
    assert_eq!(house.litter("").len(), 1);
    drop(upload);
    assert_eq!(house.bytes("old").unwrap(), b"old");
    assert_eq!(house.litter(""), Vec::<String>::new());
    assert_eq!(house.actions(), [(FileAction::UploadAborted, "/old".to_owned())]);
}

#[tokio::test]
async fn of_two_uploads_to_one_name_each_is_whole_and_the_later_commit_wins() {
    let house = House::new();
    let (one, two) = (house.session("alice", "1").await, house.session("alice", "2").await);
    let (mut a, mut b) = (one.begin_upload("/f", CREATE, b"aa").await, two.begin_upload("/f", CREATE, b"bbb").await);
    for at in 1..50 {
        a.write_at(at * 2, b"aa").await.unwrap();
        b.write_at(at * 3, b"bbb").await.unwrap();
    }
    assert!(b.commit().await.unwrap().created);
    assert_eq!(house.bytes("f").unwrap(), [b'b'; 150]);
    assert!(!a.commit().await.unwrap().created);
    assert_eq!(house.bytes("f").unwrap(), [b'a'; 100]);
    assert_eq!(house.litter(""), Vec::<String>::new());
}

#[tokio::test]
async fn an_upload_whose_folder_was_removed_or_moved_fails_at_commit() {
    let house = House::new();
    let alice = house.alice().await;
    for (place, change) in [("gone", "removed"), ("away", "moved")] {
        alice.make_folder(&path(place)).await.unwrap();
        let upload = alice.begin_upload(&format!("/{place}/f"), CREATE, b"x").await;
        match change {
            "removed" => alice.remove_tree(&path(place)).await.unwrap(),
            _ => alice.rename(&path(place), &path("/elsewhere"), crate::Overwrite::Refuse).await.unwrap(),
        }
        assert!(matches!(upload.commit().await, Err(VfsError::NotFound(_))), "{change}");
    }
    assert_eq!(house.litter("elsewhere"), Vec::<String>::new());
    assert!(!exists(&house.on_disk("elsewhere/f")));
}

#[tokio::test]
async fn rename_or_delete_of_the_target_during_an_upload_does_not_disturb_it() {
    let house = House::new();
    let alice = house.alice().await;
    house.put("a", b"old a");
    house.put("b", b"old b");
    let (a, b) = (alice.begin_upload("/a", CREATE, b"new a").await, alice.begin_upload("/b", CREATE, b"new b").await);
    alice.rename(&path("/a"), &path("/moved"), crate::Overwrite::Refuse).await.unwrap();
    alice.remove_file(&path("/b")).await.unwrap();
    assert!(a.commit().await.unwrap().created);
    b.commit().await.unwrap();
    assert_eq!(house.bytes("moved").unwrap(), b"old a");
    assert_eq!((house.bytes("a").unwrap(), house.bytes("b").unwrap()), (b"new a".to_vec(), b"new b".to_vec()));
}

#[tokio::test]
async fn an_upload_onto_a_folder_is_refused_at_once_and_at_the_commit() {
    let house = House::new();
    let alice = house.alice().await;
    alice.make_folder(&path("/d")).await.unwrap();
    assert!(matches!(alice.store("/d", b"x").await, Err(VfsError::IsFolder(_))));
    let upload = alice.begin_upload("/e", CREATE, b"x").await;
    alice.make_folder(&path("/e")).await.unwrap();
    assert!(matches!(upload.commit().await, Err(VfsError::IsFolder(_))));
}

#[tokio::test]
async fn an_upload_into_a_missing_folder_is_not_found_and_names_the_folder() {
    let house = House::new();
    let alice = house.alice().await;
    let error = alice.store("/no/such/f", b"x").await.unwrap_err();
    assert!(matches!(&error, VfsError::NotFound(folder) if *folder == path("/no/such")), "{error}");
}

#[tokio::test]
async fn after_a_failed_write_an_upload_can_only_be_dropped() {
    let house = House::new();
    let alice = house.with_quota("alice", 10).await;
    let mut upload = alice.create(&path("/f"), CREATE, OnAbort::Discard).await.unwrap();
    upload.write_at(0, b"12345").await.unwrap();
    assert!(matches!(upload.write_at(u64::MAX - 1, b"xx").await, Err(VfsError::NoSpace)));
    assert!(matches!(upload.write_at(5, b"1234567").await, Err(VfsError::OverQuota { .. })));
    assert!(matches!(upload.commit().await, Err(VfsError::Interrupted)));
    assert_eq!(house.bytes("f"), None);
}

#[tokio::test]
async fn a_dropped_commit_comes_to_its_end_and_never_to_half_of_one() {
    let house = House::new();
    let alice = house.alice().await;
    house.put("f", b"old");
    let upload = alice.begin_upload("/f", CREATE, b"new bytes").await;
    let mut commit = Box::pin(upload.commit());
    // Polled once, so that it began, and dropped.
    let began =
        std::future::poll_fn(|context| std::task::Poll::Ready(commit.as_mut().poll(context).is_pending())).await;
    drop(commit);
    let stored = || house.actions().iter().any(|(action, _)| *action == FileAction::Stored);
    while !stored() {
        assert!(began, "a commit that is over was announced");
        tokio::task::yield_now().await;
    }
    assert_eq!(house.bytes("f").unwrap(), b"new bytes");
    assert_eq!(house.litter(""), Vec::<String>::new());
}

#[tokio::test]
async fn success_is_announced_once_after_the_file_is_there_and_an_abort_as_an_abort() {
    let house = House::new();
    let alice = house.alice().await;
    alice.store("/f", b"x").await.unwrap();
    drop(alice.begin_upload("/g", CREATE, b"y").await);
    alice.fetch("/f").await.unwrap();
    alice.remove_file(&path("/f")).await.unwrap();
    let expected = [
        (FileAction::Stored, "/f".to_owned()),
        (FileAction::UploadAborted, "/g".to_owned()),
        (FileAction::Fetched, "/f".to_owned()),
        (FileAction::Deleted, "/f".to_owned()),
    ];
    assert_eq!(house.actions(), expected);
}

#[tokio::test]
async fn an_upload_meant_for_one_state_of_a_file_does_not_replace_another() {
    let house = House::new();
    let alice = house.alice().await;
    let first = alice.store("/f", b"one").await.unwrap().metadata.etag;
    let mut late = alice.begin_upload("/f", CREATE, b"late").await;
    late.only_over(first.clone());
    let mut early = alice.begin_upload("/f", CREATE, b"early").await;
    early.only_over(first);
    early.commit().await.unwrap();
    assert!(matches!(late.commit().await, Err(VfsError::Changed(_))));
    assert_eq!(house.bytes("f").unwrap(), b"early");
}

#[tokio::test]
async fn written_bytes_can_be_read_back_and_cut_before_the_commit() {
    let house = House::new();
    let alice = house.alice().await;
    let mut upload = alice.begin_upload("/f", CREATE, b"0123456789").await;
    upload.set_len(4).await.unwrap();
    upload.sync().await.unwrap();
    let mut buffer = [0; 16];
    assert_eq!(upload.read_at(1, &mut buffer).await.unwrap(), 3);
    assert_eq!(&buffer[..3], b"123");
    assert_eq!(upload.commit().await.unwrap().metadata.size, 4);
}

#[tokio::test]
async fn errors_never_name_a_folder_of_the_host() {
    let house = House::new();
    let alice = house.alice().await;
    let host = house.dir.path().to_str().unwrap().to_owned();
    house.put("file", b"");
    let name = path("/file/below");
    let errors = [
        alice.store("/no/f", b"").await.unwrap_err(),
        alice.stat(&name).await.unwrap_err(),
        alice.list(&path("/file")).await.err().unwrap(),
        alice.make_folder(&name).await.unwrap_err(),
        alice.remove_folder(&path("/file")).await.unwrap_err(),
        house
            .storage
            .open(
                crate::TreeSpec {
                    mounts: vec![crate::MountSpec { make: false, ..house.mount("/", "no") }],
                    ..house.tree("x")
                },
                "s".into(),
            )
            .await
            .err()
            .unwrap(),
    ];
    for error in errors {
        let text = format!("{error} {error:?}");
        assert!(!text.contains(&host), "{text}");
    }
}
