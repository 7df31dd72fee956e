//! What is replaced goes only once the new is there.

use super::house::*;
use crate::{Replacement, TreeSpec, VfsError};
use lockgate_model::{ByteSize, Permissions};

const ALL: [Replacement; 3] = [Replacement::Copy, Replacement::Folder, Replacement::Move];

#[tokio::test]
async fn whatever_is_at_the_target_is_replaced_and_given_back() {
    for (with, old) in ALL.into_iter().flat_map(|with| ["old", "old/deep/f"].map(|old| (with, old))) {
        let house = House::new();
        house.put("new/sub/g", b"123");
        house.put(old, b"1234567");
        let alice = house.with_quota("alice", 100).await;
        alice.replace(&path("/new"), &path("/old"), with).await.unwrap();
        let (there, used) = match with {
            Replacement::Copy => (Some(b"123".to_vec()), 6),
            Replacement::Folder => (None, 3),
            Replacement::Move => (Some(b"123".to_vec()), 3),
        };
        assert_eq!((house.bytes("old/sub/g"), house.used("alice")), (there, used), "{with:?} {old}");
        assert!(!exists(&house.on_disk("old/deep")) && house.on_disk("old").is_dir());
        assert_eq!(house.litter(""), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_file_takes_the_place_of_a_folder() {
    for with in [Replacement::Copy, Replacement::Move] {
        let house = House::new();
        house.put("f", b"new");
        house.put("d/g", b"old");
        let alice = house.alice().await;
        alice.replace(&path("/f"), &path("/d"), with).await.unwrap();
        assert_eq!((house.bytes("d").unwrap(), house.litter("").len()), (b"new".to_vec(), 0));
    }
}

#[tokio::test]
async fn a_copy_without_room_leaves_the_old_target_as_it_was() {
    let house = House::new();
    for (name, length) in [("new/a", 10), ("new/b", 40), ("old/f", 20), ("big", 40), ("small", 5)] {
        house.put(name, &vec![7; length]);
    }
    let alice = house.with_quota("alice", 130).await;
    for (from, to) in [("/new", "/old"), ("/new", "/small"), ("/big", "/old"), ("/big", "/small")] {
        let error = alice.replace(&path(from), &path(to), Replacement::Copy).await.unwrap_err();
        assert!(matches!(error, VfsError::OverQuota { .. }), "{from} {to}: {error}");
        assert_eq!((house.bytes("old/f").unwrap().len(), house.bytes("small").unwrap().len()), (20, 5));
        assert_eq!((house.used("alice"), house.litter("").len()), (115, 0), "{from} {to}");
    }
}

#[tokio::test]
async fn a_move_that_is_not_permitted_leaves_both_as_they_were() {
    let house = House::new();
    house.put("in/new/f", b"new");
    house.put("out/old/f", b"old");
    let rules = vec![(path("/in"), Permissions::read_only()), (path("/keep"), rights("read,write,view,rename"))];
    let alice = house.open(TreeSpec { rules, ..house.tree("alice") }).await;
    let error = alice.replace(&path("/in/new"), &path("/out/old"), Replacement::Move).await.unwrap_err();
    assert!(matches!(error, VfsError::Forbidden { .. }));
    house.put("keep/old/f", b"kept");
    let error = alice.replace(&path("/in/new"), &path("/keep/old"), Replacement::Copy).await.unwrap_err();
    assert!(matches!(error, VfsError::Forbidden { .. }), "nothing is replaced without the right to delete");
    assert_eq!((house.bytes("in/new/f").unwrap(), house.bytes("out/old/f").unwrap()), (b"new".into(), b"old".into()));
    assert_eq!((house.bytes("keep/old/f").unwrap(), house.litter("out").len()), (b"kept".to_vec(), 0));
}

#[tokio::test]
async fn a_target_that_holds_its_own_source_is_not_lost() {
    let house = House::new();
    house.put("d/sub/f", b"1");
    let alice = house.alice().await;
    for with in [Replacement::Copy, Replacement::Move] {
        assert!(alice.replace(&path("/d/sub"), &path("/d"), with).await.is_err());
        assert!(alice.replace(&path("/d"), &path("/d/sub"), with).await.is_err());
        assert!(alice.replace(&path("/d"), &path("/d"), with).await.is_err() || with == Replacement::Move);
        assert_eq!((house.bytes("d/sub/f").unwrap(), house.litter("").len()), (b"1".to_vec(), 0));
    }
}

#[tokio::test]
async fn a_session_that_ends_during_a_copy_leaves_the_old_target_as_it_was() {
    let house = House::new();
    for number in 0..200 {
        house.put(&format!("new/{number}"), &[1; 10]);
    }
    house.put("old/f", b"old");
    let alice = house.open(TreeSpec { quota: Some(ByteSize(100_000)), ..house.tree("alice") }).await;
    let copy = {
        let alice = alice.clone();
        tokio::spawn(async move { alice.replace(&path("/new"), &path("/old"), Replacement::Copy).await })
    };
    while house.used("alice") <= 2003 {
        tokio::task::yield_now().await;
    }
    alice.end();
    assert!(matches!(copy.await.unwrap(), Err(VfsError::Interrupted)));
    assert_eq!((house.bytes("old/f").unwrap(), house.used("alice")), (b"old".to_vec(), 2003));
}
