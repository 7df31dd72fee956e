//! A session that was ended does nothing more, whatever was under way.

use super::house::*;
use crate::{Facts, LastLink, OnAbort, Overwrite, VfsError};

#[tokio::test]
async fn an_ended_session_writes_nothing_and_commits_nothing() {
    let house = House::new();
    house.put("old", b"1234");
    let alice = house.alice().await;
    let mut staged = alice.begin_upload("/f", CREATE, b"12").await;
    let done = alice.begin_upload("/g", CREATE, b"34").await;
    let mut patch = alice.create(&path("/old"), patch(0), OnAbort::Keep).await.unwrap();
    let mut listing = alice.list(&path("/")).await.unwrap();
    alice.end();
    assert!(matches!(staged.write_at(2, b"3").await, Err(VfsError::Interrupted)));
    assert!(matches!(done.commit().await, Err(VfsError::Interrupted)));
    assert!(matches!(patch.write_at(0, b"x").await, Err(VfsError::Interrupted)));
    assert!(matches!(patch.set_len(0).await, Err(VfsError::Interrupted)));
    assert!(matches!(listing.next_batch(1).await, Err(VfsError::Interrupted)));
    for result in [
        alice.stat(&path("/old")).await.map(drop),
        alice.open(&path("/old")).await.map(drop),
        alice.list(&path("/")).await.map(drop),
        alice.make_folder(&path("/d")).await,
        alice.remove_file(&path("/old")).await,
        alice.remove_tree(&path("/old")).await,
        alice.rename(&path("/old"), &path("/new"), Overwrite::Refuse).await,
        alice.copy(&path("/old"), &path("/new"), Overwrite::Refuse).await.map(drop),
        alice.set_facts(&path("/old"), Facts::default()).await,
        alice.with_tokens(Vec::new()).create(&path("/n"), CREATE, OnAbort::Keep).await.map(drop),
        alice.placed(&path("/old"), LastLink::Keep, crate::Action::Read).map(drop),
    ] {
        assert!(matches!(result, Err(VfsError::Interrupted)), "{result:?}");
    }
    assert_eq!((house.bytes("old").unwrap(), house.bytes("g")), (b"1234".to_vec(), None));
    let next = house.session("alice", "next").await;
    drop(staged);
    assert_eq!(next.size("/g").await.unwrap(), 2, "what had arrived is kept, and another session goes on");
}

#[tokio::test]
async fn a_copy_of_a_tree_stops_at_the_next_file() {
    let house = House::new();
    for number in 0..300 {
        house.put(&format!("from/{number}"), b"1");
    }
    let alice = house.alice().await;
    let copy = {
        let alice = alice.clone();
        tokio::spawn(async move { alice.copy_tree(&path("/from"), &path("/to"), Overwrite::Refuse).await })
    };
    let copied = || std::fs::read_dir(house.on_disk("to")).map_or(0, std::iter::Iterator::count);
    while copied() < 3 {
        tokio::task::yield_now().await;
    }
    alice.end();
    assert!(matches!(copy.await.unwrap(), Err(VfsError::Interrupted)));
    assert!(copied() < 300);
}

#[tokio::test]
async fn removing_a_tree_stops_where_the_session_ends() {
    use crate::{Backend as _, Durability, Ended, local::LocalRoot};
    let house = House::new();
    house.put("d/f", b"1");
    let store = LocalRoot::open(&house.root(), false).unwrap().backend(Durability::Rename);
    let ended = Ended::default();
    ended.end();
    let removal = store.remove_tree(&path("/d"), &ended).await;
    assert!(matches!(removal.outcome, Err(VfsError::Interrupted)));
    assert_eq!(house.bytes("d/f").unwrap(), b"1");
}
