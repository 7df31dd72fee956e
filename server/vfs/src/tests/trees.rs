//! Folders: made, renamed, copied and removed as a whole.

use super::house::*;
use crate::{Overwrite, TreeSpec, VfsError};
use lockgate_events::FileAction;

#[tokio::test]
async fn an_empty_folder_is_one_in_which_a_user_sees_nothing() {
    let house = House::new();
    let alice = house.alice().await;
    alice.make_folder(&path("/d")).await.unwrap();
    drop(alice.begin_upload("/d/kept", CREATE, b"1").await);
    let live = alice.begin_upload("/d/live", CREATE, b"1").await;
    house.put("d/f", b"x");
    assert!(matches!(alice.remove_folder(&path("/d")).await, Err(VfsError::NotEmpty(_))));
    assert_eq!(house.litter("d").len(), 2, "a refusal removes nothing");
    alice.remove_file(&path("/d/f")).await.unwrap();
    alice.remove_folder(&path("/d")).await.unwrap();
    assert!(!exists(&house.on_disk("d")));
    assert!(matches!(live.commit().await, Err(VfsError::NotFound(_))));
}

#[tokio::test]
async fn a_wide_and_deep_tree_is_removed_without_following_links() {
    let house = House::new();
    let alice = house.alice().await;
    for number in 0..150 {
        house.put(&format!("t/{number}/f"), b"x");
        house.put(&format!("t/f{number}"), b"x");
    }
    house.put(&format!("t{}/f", "/deep".repeat(500)), b"x");
    std::os::unix::fs::symlink("../../outside", house.on_disk("t/link")).unwrap();
    alice.remove_tree(&path("/t")).await.unwrap();
    assert!(!exists(&house.on_disk("t")));
    house.canary_is_untouched();
    alice.store("/f", b"x").await.unwrap();
    alice.remove_tree(&path("/f")).await.unwrap();
    assert!(matches!(alice.remove_tree(&path("/f")).await, Err(VfsError::NotFound(_))));
}

#[tokio::test]
async fn a_rename_replaces_only_when_asked_and_a_folder_only_where_it_is_empty() {
    let house = House::new();
    let alice = house.alice().await;
    for name in ["a", "b", "full/x", "d/y"] {
        house.put(name, name.as_bytes());
    }
    alice.make_folder(&path("/empty")).await.unwrap();
    let rename = async |from: &str, to: &str, overwrite| alice.rename(&path(from), &path(to), overwrite).await;
    assert!(matches!(rename("/a", "/b", Overwrite::Refuse).await, Err(VfsError::Exists(_))));
    assert!(matches!(rename("/d", "/full", Overwrite::Replace).await, Err(VfsError::NotEmpty(_))));
    assert!(matches!(rename("/d", "/empty", Overwrite::Refuse).await, Err(VfsError::Exists(_))));
    assert!(matches!(rename("/a", "/empty", Overwrite::Replace).await, Err(VfsError::IsFolder(_))));
    assert!(matches!(rename("/d", "/a", Overwrite::Replace).await, Err(VfsError::NotFolder(_))));
    assert!(matches!(rename("/d", "/d/inside", Overwrite::Replace).await, Err(VfsError::Impossible { .. })));
    assert!(matches!(rename("/no", "/x", Overwrite::Replace).await, Err(VfsError::NotFound(_))));
    assert!(matches!(rename("/a", "/no/x", Overwrite::Replace).await, Err(VfsError::NotFound(_))));
    rename("/a", "/b", Overwrite::Replace).await.unwrap();
    rename("/d", "/empty", Overwrite::Replace).await.unwrap();
    rename("/b", "/b", Overwrite::Refuse).await.unwrap();
    assert_eq!((house.bytes("b").unwrap(), house.bytes("empty/y").unwrap()), (b"a".to_vec(), b"d/y".to_vec()));
    assert_eq!(alice.names("/").await, ["b", "empty", "full"]);
}

#[tokio::test]
async fn a_copy_is_whole_or_not_there_and_never_into_itself() {
    let house = House::new();
    let alice = house.with_quota("alice", 3_000_000).await;
    let big: Vec<u8> = (0..1_200_000_u32).map(|number| (number % 251) as u8).collect();
    alice.store("/f", &big).await.unwrap();
    let committed = alice.copy(&path("/f"), &path("/g"), Overwrite::Refuse).await.unwrap();
    assert!(committed.created && committed.metadata.size == 1_200_000);
    assert_eq!(house.bytes("g").unwrap(), big);
    assert!(matches!(alice.copy(&path("/f"), &path("/h"), Overwrite::Refuse).await, Err(VfsError::OverQuota { .. })));
    assert_eq!((house.bytes("h"), house.litter("").len()), (None, 0));
    assert_eq!(house.used("alice"), 2_400_000);
    assert!(matches!(alice.copy(&path("/f"), &path("/g"), Overwrite::Refuse).await, Err(VfsError::Exists(_))));
    assert!(matches!(alice.copy(&path("/f"), &path("/f"), Overwrite::Replace).await, Err(VfsError::Impossible { .. })));
    let copied: Vec<_> = house.actions().into_iter().filter(|(action, _)| *action != FileAction::Stored).collect();
    assert_eq!(copied, [(FileAction::Copied, "/f".to_owned())]);
}

#[tokio::test]
async fn a_copied_tree_has_everything_and_a_tree_is_not_copied_into_itself() {
    let house = House::new();
    let alice = house.alice().await;
    for number in 0..300 {
        house.put(&format!("t/many/{number}"), b"x");
    }
    house.put("t/a/b/c", b"abc");
    std::os::unix::fs::symlink("a", house.on_disk("t/link")).unwrap();
    for into in ["/t", "/t/a", "/t/new"] {
        let refused = alice.copy_tree(&path("/t"), &path(into), Overwrite::Replace).await;
        assert!(matches!(refused, Err(VfsError::Impossible { .. })), "{into}");
    }
    alice.copy_tree(&path("/t"), &path("/u"), Overwrite::Refuse).await.unwrap();
    assert_eq!(alice.names("/u/many").await.len(), 300);
    assert_eq!(house.bytes("u/a/b/c").unwrap(), b"abc");
    assert!(!exists(&house.on_disk("u/link")), "links need the right to make them");
    assert!(matches!(alice.copy_tree(&path("/t"), &path("/u"), Overwrite::Refuse).await, Err(VfsError::Exists(_))));
    let linker = house.open(TreeSpec { otherwise: all(), ..house.tree("linker") }).await;
    linker.copy_tree(&path("/t"), &path("/v"), Overwrite::Refuse).await.unwrap();
    assert!(house.on_disk("v/link").is_symlink());
}

#[tokio::test]
async fn times_and_modes_are_set_without_set_id_bits() {
    let house = House::new();
    let alice = house.alice().await;
    house.put("d/f", b"x");
    for name in ["/d", "/d/f"] {
        let facts = crate::Facts { mode: Some(0o6750), ..at(1_234_567) };
        alice.set_facts(&path(name), facts).await.unwrap();
        let found = alice.stat(&path(name)).await.unwrap();
        assert_eq!((found.mode, found.modified), (0o750, at(1_234_567).modified.unwrap()), "{name}");
    }
    assert!(matches!(alice.set_facts(&path("/no"), at(1)).await, Err(VfsError::NotFound(_))));
}

#[tokio::test]
async fn an_open_file_tells_its_facts_of_now_whatever_became_of_its_name() {
    let house = House::new();
    let alice = house.alice().await;
    house.put("f", b"123");
    let reader = alice.open(&path("/f")).await.unwrap();
    std::fs::write(house.on_disk("f"), b"123456").unwrap();
    alice.set_facts(&path("/f"), at(1_234_567)).await.unwrap();
    alice.remove_file(&path("/f")).await.unwrap();
    let now = reader.metadata_now().unwrap();
    assert_eq!((reader.metadata().size, now.size, now.modified), (3, 6, at(1_234_567).modified.unwrap()));
}

#[tokio::test]
async fn a_tree_whose_root_was_removed_is_gone_for_good() {
    let house = House::new();
    let alice = house.alice().await;
    assert!(!alice.is_gone());
    std::fs::remove_dir_all(house.root()).unwrap();
    assert!(alice.is_gone());
    std::fs::create_dir_all(house.root()).unwrap();
    assert!(alice.is_gone() && !house.session("alice", "another").await.is_gone());
}

#[tokio::test]
async fn properties_stay_with_the_file_through_rename_copy_and_upload() {
    let house = House::new();
    let alice = house.alice().await;
    alice.store("/f", b"x").await.unwrap();
    let set = [("colour".to_owned(), Some(b"red".to_vec())), ("size".to_owned(), Some(vec![0, 255]))];
    match alice.set_properties(&path("/f"), &set).await {
        // A file system of the test machine without such attributes.
        Err(VfsError::Unsupported(_)) => return,
        done => done.unwrap(),
    }
    alice.set_properties(&path("/f"), &[("size".to_owned(), None)]).await.unwrap();
    alice.rename(&path("/f"), &path("/g"), Overwrite::Refuse).await.unwrap();
    alice.store("/g", b"new").await.unwrap();
    alice.copy(&path("/g"), &path("/h"), Overwrite::Refuse).await.unwrap();
    for name in ["/g", "/h"] {
        assert_eq!(alice.properties(&path(name)).await.unwrap(), [("colour".to_owned(), b"red".to_vec())], "{name}");
    }
    let large = [("large".to_owned(), Some(vec![0; 70_000])), ("colour".to_owned(), None)];
    assert!(matches!(alice.set_properties(&path("/g"), &large).await, Err(VfsError::NoSpace)));
    assert_eq!(alice.properties(&path("/g")).await.unwrap().len(), 1, "all or none");
}

#[tokio::test]
async fn a_move_between_mounts_removes_only_what_it_has_copied() {
    let house = House::new();
    house.put("f", &vec![7; 40 << 20]);
    house.put("newer", b"came meanwhile");
    let mounts = vec![house.mount("/", "root"), house.mount("/other", "other")];
    let alice = house.open(TreeSpec { mounts, ..house.tree("alice") }).await;
    let moved = {
        let alice = alice.clone();
        tokio::spawn(async move { alice.rename(&path("/f"), &path("/other/f"), Overwrite::Refuse).await })
    };
    while std::fs::read_dir(house.dir.path().join("other")).unwrap().next().is_none() {
        tokio::task::yield_now().await;
    }
    std::fs::rename(house.on_disk("newer"), house.on_disk("f")).unwrap();
    assert!(matches!(moved.await.unwrap(), Err(VfsError::Changed(_))));
    assert_eq!(house.bytes("f").unwrap(), b"came meanwhile");
    assert_eq!(alice.size("/other/f").await.unwrap(), 40 << 20);
}
