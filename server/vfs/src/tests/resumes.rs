//! Going on after a cut.

use super::house::*;
use crate::{Durability, Intent, OnAbort, VfsError};
use lockgate_events::FileAction;
use rustix::io::Errno;
use std::time::Duration;

#[tokio::test]
async fn a_kept_upload_answers_its_owner_with_its_size_and_nobody_else() {
    let house = House::new();
    let (alice, bob) = (house.session("alice", "1").await, house.session("bob", "2").await);
    drop(alice.begin_upload("/f", CREATE, b"12345").await);
    let again = house.session("alice", "3").await;
    assert_eq!(again.size("/f").await.unwrap(), 5);
    assert!(matches!(bob.size("/f").await, Err(VfsError::NotFound(_))));
    assert_eq!(again.names("/").await, Vec::<String>::new());
    assert!(matches!(again.fetch("/f").await, Err(VfsError::NotFound(_))));
}

#[tokio::test]
async fn a_patch_at_the_end_of_the_partial_goes_on_and_its_end_commits_it() {
    let house = House::new();
    let alice = house.alice().await;
    drop(alice.begin_upload("/f", CREATE, b"12345").await);
    let upload = alice.begin_upload("/f", patch(5), b"678").await;
    assert!(upload.commit().await.unwrap().created);
    assert_eq!(house.bytes("f").unwrap(), b"12345678");
    assert_eq!(house.litter(""), Vec::<String>::new());
}

#[tokio::test]
async fn a_patch_at_another_offset_is_an_error_that_says_where_it_stopped() {
    let house = House::new();
    let alice = house.alice().await;
    drop(alice.begin_upload("/f", CREATE, b"12345").await);
    for offset in [0, 4, 6] {
        let error = alice.create(&path("/f"), patch(offset), OnAbort::Keep).await.err().unwrap();
        assert!(matches!(error, VfsError::WrongOffset { expected: 5 }), "{offset}: {error}");
    }
    let mut upload = alice.create(&path("/f"), UNKNOWN, OnAbort::Keep).await.unwrap();
    assert!(matches!(upload.write_at(3, b"x").await, Err(VfsError::WrongOffset { expected: 5 })));
    drop(upload);
    assert_eq!(alice.size("/f").await.unwrap(), 5, "the partial is as it was");
}

#[tokio::test]
async fn an_append_goes_on_with_the_partial_at_its_end() {
    let house = House::new();
    let alice = house.alice().await;
    drop(alice.begin_upload("/f", CREATE, b"12345").await);
    let mut upload = alice.create(&path("/f"), APPEND, OnAbort::Keep).await.unwrap();
    upload.write_at(0, b"678").await.unwrap();
    upload.write_at(0, b"9").await.unwrap();
    upload.commit().await.unwrap();
    assert_eq!(house.bytes("f").unwrap(), b"123456789");
}

#[tokio::test]
async fn a_patch_of_nothing_is_a_create_only_when_it_appends() {
    let house = House::new();
    let alice = house.alice().await;
    let create = |intent| alice.create(&PATH, intent, OnAbort::Keep);
    static PATH: std::sync::LazyLock<lockgate_model::VPath> = std::sync::LazyLock::new(|| path("/f"));
    assert!(matches!(create(UNKNOWN).await, Err(VfsError::NotFound(_))));
    assert!(matches!(create(patch(7)).await, Err(VfsError::WrongOffset { expected: 0 })));
    let mut upload = create(APPEND).await.unwrap();
    upload.write_at(0, b"new").await.unwrap();
    assert!(upload.commit().await.unwrap().created);
}

#[tokio::test]
async fn a_patch_beside_a_committed_file_and_a_partial_of_it_is_refused() {
    let house = House::new();
    let (alice, bob) = (house.session("alice", "1").await, house.session("bob", "2").await);
    house.put("f", b"committed");
    drop(alice.begin_upload("/f", CREATE, b"123").await);
    assert_eq!(alice.size("/f").await.unwrap(), 9, "names answer for the committed file");
    for intent in [patch(3), APPEND, UNKNOWN] {
        let error = alice.create(&path("/f"), intent, OnAbort::Keep).await.err().unwrap();
        assert!(matches!(error, VfsError::PartialExists(_)), "{error}");
    }
    drop(bob.create(&path("/f"), APPEND, OnAbort::Keep).await.unwrap());
    alice.store("/f", b"again").await.unwrap();
    drop(alice.create(&path("/f"), APPEND, OnAbort::Keep).await.unwrap());
}

#[tokio::test]
async fn a_new_create_or_a_delete_drops_the_partial() {
    let house = House::new();
    let alice = house.with_quota("alice", 1000).await;
    drop(alice.begin_upload("/f", CREATE, b"12345").await);
    alice.store("/f", b"1").await.unwrap();
    assert_eq!((house.litter("").len(), house.used("alice")), (0, 1));
    alice.remove_file(&path("/f")).await.unwrap();
    drop(alice.begin_upload("/f", CREATE, b"12345").await);
    alice.remove_file(&path("/f")).await.unwrap();
    assert!(matches!(alice.size("/f").await, Err(VfsError::NotFound(_))));
    assert!(matches!(alice.remove_file(&path("/f")).await, Err(VfsError::NotFound(_))));
    assert_eq!(house.used("alice"), 0);
}

#[tokio::test]
async fn an_upload_begun_anew_that_does_not_commit_leaves_the_partial() {
    let house = House::new();
    let alice = house.with_quota("alice", 1000).await;
    drop(alice.begin_upload("/f", CREATE, b"12345").await);
    for intent in [CREATE, Intent::CreateNew] {
        let mut upload = alice.create(&path("/f"), intent, OnAbort::Discard).await.unwrap();
        upload.write_at(0, b"1").await.unwrap();
        drop(upload);
        drop(alice.create(&path("/f"), intent, OnAbort::Keep).await.unwrap());
        assert_eq!((alice.size("/f").await.unwrap(), house.used("alice")), (5, 5));
    }
    drop(alice.begin_upload("/f", CREATE, b"123").await);
    assert_eq!((alice.size("/f").await.unwrap(), house.used("alice"), house.litter("").len()), (3, 3, 1));
}

#[tokio::test]
async fn a_partial_does_not_stand_in_the_way_of_the_upload_that_takes_its_place() {
    let house = House::new();
    let alice = house.with_quota("alice", 10).await;
    drop(alice.begin_upload("/f", CREATE, b"1234567").await);
    let mut upload = alice.begin_upload("/f", CREATE, b"12345678").await;
    upload.check_room(10).await.unwrap();
    assert!(matches!(upload.write_at(8, b"90+").await, Err(VfsError::OverQuota { .. })));
    drop(upload);
    assert_eq!((alice.size("/f").await.unwrap(), house.used("alice")), (8, 8));
    assert!(matches!(alice.store("/g", b"123").await, Err(VfsError::OverQuota { .. })));
    alice.store("/f", b"1234567890").await.unwrap();
    assert_eq!((house.used("alice"), house.litter("").len()), (10, 0));
}

#[tokio::test]
async fn committed_facts_are_those_of_the_committed_file_alone() {
    let house = House::new();
    let alice = house.alice().await;
    let upload = alice.begin_upload("/f", CREATE, b"12345").await;
    assert!(matches!(alice.stat_committed(&path("/f")).await, Err(VfsError::NotFound(_))));
    assert!(matches!(alice.lstat_committed(&path("/f")).await, Err(VfsError::NotFound(_))));
    drop(upload);
    assert_eq!(alice.size("/f").await.unwrap(), 5);
    assert!(matches!(alice.stat_committed(&path("/f")).await, Err(VfsError::NotFound(_))));
    house.put("f", b"1");
    let upload = alice.begin_upload("/f", CREATE, b"123").await;
    let (open, committed) = (alice.size("/f").await.unwrap(), alice.stat_committed(&path("/f")).await.unwrap());
    assert_eq!((open, committed.size), (3, 1));
    drop(upload);
}

#[tokio::test]
async fn a_partial_survives_a_restart_of_the_server() {
    let mut house = House::new();
    drop(house.alice().await.begin_upload("/f", CREATE, b"12345").await);
    house.restart(DAY);
    house.storage.sweep(&[house.root()]).await;
    let alice = house.with_quota("alice", 1000).await;
    assert_eq!((alice.size("/f").await.unwrap(), house.used("alice")), (5, 5));
    alice.begin_upload("/f", patch(5), b"6").await.commit().await.unwrap();
    assert_eq!(house.bytes("f").unwrap(), b"123456");
    assert_eq!(house.used("alice"), 6);
}

#[tokio::test]
async fn a_partial_is_only_what_is_whole_from_the_beginning() {
    let house = House::new();
    let alice = house.alice().await;
    let mut upload = alice.begin_upload("/f", CREATE, b"12345").await;
    upload.write_at(100, b"far ahead").await.unwrap();
    drop(upload);
    assert_eq!(alice.size("/f").await.unwrap(), 5);
}

#[tokio::test]
async fn a_partial_cut_again_is_kept_again_and_an_empty_upload_never() {
    let house = House::new();
    let alice = house.alice().await;
    drop(alice.begin_upload("/f", CREATE, b"12").await);
    drop(alice.begin_upload("/f", patch(2), b"34").await);
    assert_eq!(alice.size("/f").await.unwrap(), 4);
    drop(alice.create(&path("/g"), CREATE, OnAbort::Keep).await.unwrap());
    assert!(matches!(alice.size("/g").await, Err(VfsError::NotFound(_))));
    assert_eq!(house.litter("").len(), 1);
}

#[tokio::test]
async fn one_partial_is_gone_on_with_by_one_upload_at_a_time() {
    let house = House::new();
    let alice = house.alice().await;
    drop(alice.begin_upload("/f", CREATE, b"12").await);
    let first = alice.begin_upload("/f", patch(2), b"34").await;
    assert!(alice.create(&path("/f"), patch(2), OnAbort::Keep).await.is_err());
    first.commit().await.unwrap();
    assert_eq!(house.bytes("f").unwrap(), b"1234");
}

#[tokio::test]
async fn a_partial_that_was_opened_and_closed_without_a_write_is_a_partial_still() {
    let house = House::new();
    let alice = house.with_quota("alice", 1000).await;
    drop(alice.begin_upload("/f", CREATE, b"12345").await);
    for (intent, length, left) in [(UNKNOWN, None, 5), (APPEND, None, 5), (UNKNOWN, Some(9), 5), (UNKNOWN, Some(3), 3)]
    {
        let mut upload = alice.create(&path("/f"), intent, OnAbort::Discard).await.unwrap();
        if let Some(length) = length {
            upload.set_len(length).await.unwrap();
        }
        upload.commit().await.unwrap();
        assert_eq!(house.bytes("f"), None, "half a file is under no name");
        assert_eq!((alice.size("/f").await.unwrap(), house.used("alice")), (left, left), "{intent:?} {length:?}");
    }
    alice.create(&path("/f"), patch(3), OnAbort::Keep).await.unwrap().commit().await.unwrap();
    assert_eq!(house.bytes("f").unwrap(), b"123", "who said where it goes on has said where it ends");
}

#[tokio::test]
async fn going_on_with_a_partial_never_loses_it() {
    let house = House::new();
    let alice = house.alice().await;
    drop(alice.begin_upload("/f", CREATE, b"123").await);
    let mut upload = alice.create(&path("/f"), patch(3), OnAbort::Discard).await.unwrap();
    upload.write_at(3, b"4").await.unwrap();
    drop(upload);
    assert_eq!(alice.size("/f").await.unwrap(), 4);
}

#[tokio::test]
async fn with_no_time_to_keep_nothing_is_kept() {
    let house = House::with(Durability::Full, Duration::ZERO);
    let alice = house.alice().await;
    drop(alice.begin_upload("/f", CREATE, b"12").await);
    assert_eq!(house.litter(""), Vec::<String>::new());
}

#[tokio::test]
async fn a_patch_of_a_committed_file_writes_in_place_and_an_abort_takes_nothing_back() {
    let house = House::new();
    let alice = house.with_quota("alice", 100).await;
    alice.store("/f", b"0123456789").await.unwrap();
    let before = alice.stat(&path("/f")).await.unwrap();
    let mut upload = alice.create(&path("/f"), patch(3), OnAbort::Keep).await.unwrap();
    upload.write_at(3, b"abc").await.unwrap();
    assert_eq!(house.bytes("f").unwrap(), b"012abc6789");
    upload.write_at(10, b"xy").await.unwrap();
    let committed = upload.commit().await.unwrap();
    assert!(!committed.created);
    assert_eq!(committed.metadata.unique, before.unique);
    assert_ne!(committed.metadata.etag, before.etag);
    assert_eq!(house.used("alice"), 12);
    drop(alice.begin_upload("/f", APPEND, b"!").await);
    assert_eq!(house.bytes("f").unwrap(), b"012abc6789xy!");
    assert_eq!((house.used("alice"), house.litter("").len()), (13, 0));
    assert!(matches!(house.actions().last(), Some((FileAction::UploadAborted, _))));
}

#[tokio::test]
async fn a_patch_past_the_end_of_a_committed_file_is_refused() {
    let house = House::new();
    let alice = house.alice().await;
    house.put("f", b"1234");
    let error = alice.create(&path("/f"), patch(5), OnAbort::Keep).await.err().unwrap();
    assert!(matches!(error, VfsError::WrongOffset { expected: 4 }));
    drop(alice.create(&path("/f"), patch(4), OnAbort::Keep).await.unwrap());
}

#[tokio::test]
async fn two_appends_at_once_lose_nothing() {
    let house = House::new();
    let alice = house.with_quota("alice", 10_000).await;
    alice.store("/log", b"").await.unwrap();
    let mut one = alice.create(&path("/log"), APPEND, OnAbort::Keep).await.unwrap();
    let mut two = alice.create(&path("/log"), APPEND, OnAbort::Keep).await.unwrap();
    for _ in 0..20 {
        one.write_at(0, b"1").await.unwrap();
        two.write_at(0, b"2").await.unwrap();
    }
    one.commit().await.unwrap();
    two.commit().await.unwrap();
    assert_eq!(house.bytes("log").unwrap(), b"12".repeat(20));
    assert_eq!(house.used("alice"), 40);
}

#[tokio::test]
async fn an_upload_kept_under_a_ticket_is_never_reachable_by_its_name() {
    let mut house = House::new();
    let alice = house.alice().await;
    let mut upload = alice.create_ticketed(&path("/f"), "url-1", OnAbort::Keep).await.unwrap();
    upload.write_at(0, b"123").await.unwrap();
    drop(upload);
    assert!(matches!(alice.size("/f").await, Err(VfsError::NotFound(_))));
    house.restart(DAY);
    let alice = house.alice().await;
    assert!(matches!(alice.resume_ticketed(&path("/f"), "url-2").await, Err(VfsError::NotFound(_))));
    let mut upload = alice.resume_ticketed(&path("/f"), "url-1").await.unwrap();
    assert_eq!(upload.len(), 3);
    upload.write_at(3, b"4").await.unwrap();
    upload.commit().await.unwrap();
    assert_eq!(house.bytes("f").unwrap(), b"1234");
    let mut upload = alice.create_ticketed(&path("/g"), "url-3", OnAbort::Keep).await.unwrap();
    upload.write_at(0, b"123").await.unwrap();
    drop(upload);
    alice.drop_ticketed(&path("/g"), "url-3").await.unwrap();
    assert_eq!(house.litter(""), Vec::<String>::new());
}

#[tokio::test]
async fn an_upload_kept_under_a_ticket_is_there_also_while_it_is_empty() {
    let mut house = House::new();
    let alice = house.alice().await;
    let upload = alice.create_ticketed(&path("/f"), "url-1", OnAbort::Discard).await.unwrap();
    assert_eq!(upload.keep().await.unwrap(), 0);
    house.restart(DAY);
    let alice = house.alice().await;
    assert_eq!(alice.ticketed(&path("/f"), "url-1").await.unwrap().unwrap().size, 0);
    alice.resume_ticketed(&path("/f"), "url-1").await.unwrap().commit().await.unwrap();
    assert_eq!(house.bytes("f").unwrap(), b"");
    drop(alice.create_ticketed(&path("/g"), "url-2", OnAbort::Discard).await.unwrap());
    assert!(alice.ticketed(&path("/g"), "url-2").await.unwrap().is_none());
}

#[tokio::test]
async fn what_came_of_an_upload_with_a_ticket_stays_in_its_place_while_somebody_goes_on_with_it() {
    let house = House::new();
    let alice = house.with_quota("alice", 10).await;
    let mut upload = alice.create_ticketed(&path("/f"), "url-1", OnAbort::Keep).await.unwrap();
    upload.write_at(0, b"123").await.unwrap();
    upload.keep().await.unwrap();
    let mut upload = alice.resume_ticketed(&path("/f"), "url-1").await.unwrap();
    upload.write_at(3, b"4").await.unwrap();
    assert_eq!(alice.ticketed(&path("/f"), "url-1").await.unwrap().unwrap().size, 4);
    assert!(matches!(alice.resume_ticketed(&path("/f"), "url-1").await, Err(VfsError::NotFound(_))));
    assert!(matches!(alice.size("/f").await, Err(VfsError::NotFound(_))));
    House::with(Durability::Full, Duration::ZERO).storage.sweep(&[house.root()]).await;
    assert_eq!(upload.keep().await.unwrap(), 4);
    assert_eq!(house.used("alice"), 4);
    let mut upload = alice.resume_ticketed(&path("/f"), "url-1").await.unwrap();
    assert!(matches!(upload.write_at(4, b"5678901").await, Err(VfsError::OverQuota { .. })));
    alice.drop_ticketed(&path("/f"), "url-1").await.unwrap();
    assert!(upload.keep().await.is_err(), "it was dropped meanwhile");
    assert_eq!((house.used("alice"), house.litter("")), (0, Vec::<String>::new()));
}

#[tokio::test]
async fn an_upload_with_a_ticket_takes_the_place_of_the_partial_of_its_name_at_its_commit() {
    let house = House::new();
    let alice = house.with_quota("alice", 10).await;
    let mut upload = alice.create(&path("/f"), Intent::Create, OnAbort::Keep).await.unwrap();
    upload.write_at(0, b"named").await.unwrap();
    drop(upload);
    alice.create_ticketed(&path("/f"), "url-1", OnAbort::Keep).await.unwrap().keep().await.unwrap();
    let mut upload = alice.resume_ticketed(&path("/f"), "url-1").await.unwrap();
    upload.write_at(0, b"12345678").await.unwrap();
    assert_eq!(alice.size("/f").await.unwrap(), 5);
    upload.commit().await.unwrap();
    assert_eq!((house.used("alice"), house.litter("")), (8, Vec::<String>::new()));
}

#[tokio::test]
async fn on_a_full_disk_only_what_came_since_is_given_back() {
    let house = House::new();
    let alice = house.with_quota("alice", 100).await;
    let mut fresh = alice.begin_upload("/f", CREATE, b"12345").await;
    fresh.broke(Errno::NOSPC.into());
    drop(fresh);
    assert_eq!((house.litter("").len(), house.used("alice")), (0, 0), "of a fresh one nothing was acknowledged");
    drop(alice.begin_upload("/f", CREATE, b"12345").await);
    for intent in [patch(5), APPEND, UNKNOWN] {
        let mut upload = alice.begin_upload("/f", intent, b"678").await;
        upload.broke(Errno::NOSPC.into());
        drop(upload);
        assert_eq!((alice.size("/f").await.unwrap(), house.used("alice")), (5, 5), "{intent:?}");
    }
    let mut upload = alice.create(&path("/f"), UNKNOWN, OnAbort::Keep).await.unwrap();
    upload.set_len(4).await.unwrap();
    upload.broke(Errno::NOSPC.into());
    drop(upload);
    assert_eq!((alice.size("/f").await.unwrap(), house.used("alice")), (4, 4), "what the client cut stays cut");
    alice.begin_upload("/f", patch(4), b"5").await.commit().await.unwrap();
    assert_eq!(house.bytes("f").unwrap(), b"12345");
}

#[tokio::test]
async fn on_a_full_disk_an_upload_with_a_ticket_has_what_was_acknowledged_last() {
    let house = House::new();
    let alice = house.with_quota("alice", 100).await;
    alice.create_ticketed(&path("/f"), "url-1", OnAbort::Discard).await.unwrap().keep().await.unwrap();
    for keeps in [true, false] {
        let mut upload = alice.resume_ticketed(&path("/f"), "url-1").await.unwrap();
        upload.write_at(0, b"123").await.unwrap();
        upload.broke(Errno::NOSPC.into());
        if keeps {
            assert_eq!(upload.keep().await.unwrap(), 0);
        } else {
            drop(upload);
        }
        assert_eq!(alice.ticketed(&path("/f"), "url-1").await.unwrap().unwrap().size, 0);
    }
    let mut upload = alice.resume_ticketed(&path("/f"), "url-1").await.unwrap();
    upload.write_at(0, b"123").await.unwrap();
    upload.keep().await.unwrap();
    let mut upload = alice.resume_ticketed(&path("/f"), "url-1").await.unwrap();
    upload.write_at(3, b"456").await.unwrap();
    upload.broke(Errno::NOSPC.into());
    drop(upload);
    assert_eq!(alice.ticketed(&path("/f"), "url-1").await.unwrap().unwrap().size, 3);
    assert_eq!((house.used("alice"), alice.unfinished(10).await.unwrap()), (3, 1));
}

#[tokio::test]
async fn unfinished_uploads_are_counted_by_what_the_stores_have_also_after_a_restart() {
    let mut house = House::new();
    let alice = house.alice().await;
    drop(alice.begin_upload("/named", CREATE, b"12").await);
    drop(house.session("bob", "2").await.begin_upload("/named", CREATE, b"12").await);
    assert_eq!(alice.unfinished(10).await.unwrap(), 1);
    for ticket in ["url-1", "url-2", "url-3"] {
        let upload = alice.create_ticketed(&path("/f"), ticket, OnAbort::Discard).await.unwrap();
        upload.keep().await.unwrap();
    }
    assert_eq!(alice.unfinished(10).await.unwrap(), 4);
    house.restart(DAY);
    let alice = house.alice().await;
    let upload = alice.resume_ticketed(&path("/f"), "url-1").await.unwrap();
    assert_eq!(alice.unfinished(10).await.unwrap(), 4, "one that is gone on with is unfinished");
    upload.commit().await.unwrap();
    alice.drop_ticketed(&path("/f"), "url-2").await.unwrap();
    drop(alice.create_ticketed(&path("/f"), "url-4", OnAbort::Discard).await.unwrap());
    assert_eq!(alice.unfinished(10).await.unwrap(), 2);
    alice.remove_file(&path("/named")).await.unwrap();
    assert_eq!(alice.unfinished(10).await.unwrap(), 1);
}
