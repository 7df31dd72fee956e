//! Uploads: what stands under the name, and when.

use super::client::*;
use crate::sftp::{attrs::Attrs, kind};

#[tokio::test]
async fn an_upload_is_under_its_name_only_when_it_was_closed() {
    let mut client = Client::new().await;
    client.put("/a", b"old").await;
    let handle = client.open("/a", PUT | CREATE | TRUNCATE).await.handle();
    assert!(client.write(&handle, 0, b"new and longer").await.is_ok());
    assert_eq!(client.bytes("a").unwrap(), b"old");
    assert!(client.close(&handle).await.is_ok());
    assert_eq!(client.bytes("a").unwrap(), b"new and longer");
    assert_eq!(client.close(&handle).await.code(), 4, "a handle closes once");
}

#[tokio::test]
async fn what_is_done_with_an_open_file_is_told_until_it_is_closed() {
    let mut client = Client::new().await;
    let handle = client.open("/a", PUT | CREATE).await.handle();
    assert!(client.write(&handle, 0, b"12345").await.is_ok());
    let told = client.activity.view();
    assert_eq!((told.doing.as_deref(), told.bytes), (Some("WRITE /a"), 5));
    assert!(client.close(&handle).await.is_ok());
    let handle = client.open("/a", READ).await.handle();
    assert_eq!(client.read(&handle, 1, 100).await, Reply::Data(b"2345".into()));
    let told = client.activity.view();
    assert_eq!((told.doing.as_deref(), told.bytes), (Some("READ /a"), 9));
    assert!(client.close(&handle).await.is_ok());
    assert_eq!(client.activity.view().doing, None);
}

#[tokio::test]
async fn a_channel_that_ends_without_close_leaves_the_old_file_and_a_partial_to_go_on_with() {
    let mut client = Client::new().await;
    let handle = client.open("/a", PUT | CREATE | TRUNCATE).await.handle();
    assert!(client.write(&handle, 0, b"first half").await.is_ok());
    client.engine.end_of_requests();
    assert!(client.engine.is_done());
    assert_eq!(client.bytes("a"), None);

    client.reconnect().await;
    assert_eq!(client.about(kind::STAT, b"/a").await.attrs().size, Some(10));
    let handle = client.open("/a", PUT | CREATE).await.handle();
    assert!(client.write(&handle, 10, b" and the rest").await.is_ok());
    assert!(client.close(&handle).await.is_ok());
    assert_eq!(client.bytes("a").unwrap(), b"first half and the rest");
}

#[tokio::test]
async fn an_upload_gone_on_with_at_another_place_fails_and_says_so_at_the_close_too() {
    let mut client = Client::new().await;
    let handle = client.open("/a", PUT | CREATE | TRUNCATE).await.handle();
    assert!(client.write(&handle, 0, b"1234").await.is_ok());
    client.engine.end_of_requests();
    client.reconnect().await;
    let handle = client.open("/a", PUT | CREATE).await.handle();
    assert_eq!(client.write(&handle, 2, b"xx").await.code(), 4);
    assert_eq!(client.write(&handle, 4, b"56").await.code(), 4, "nothing of it counts any more");
    assert_eq!(client.close(&handle).await.code(), 4);
    assert_eq!(client.bytes("a"), None);
}

#[tokio::test]
async fn a_large_upload_arrives_byte_for_byte_whatever_the_pieces() {
    let mut client = Client::new().await;
    let data: Vec<u8> = (0..700_001u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    client.put("/big", &data).await;
    assert_eq!(client.bytes("big").unwrap(), data);
    let handle = client.open("/big", READ).await.handle();
    let mut back = Vec::new();
    loop {
        match client.read(&handle, back.len() as u64, 300_000).await {
            Reply::Data(part) => {
                assert!(part.len() <= 261_120);
                back.extend(part);
            }
            Reply::Status(1, _) => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(back, data);
}

#[tokio::test]
async fn an_exclusive_open_takes_only_a_free_name() {
    let mut client = Client::new().await;
    client.put("/a", b"old").await;
    assert_eq!(client.open("/a", PUT | CREATE | EXCLUSIVE).await.code(), 4);
    let handle = client.open("/b", PUT | CREATE | EXCLUSIVE).await.handle();
    std::fs::write(client.on_disk("b"), b"somebody was faster").unwrap();
    assert_eq!(client.close(&handle).await.code(), 4);
    assert_eq!(client.bytes("b").unwrap(), b"somebody was faster");
}

#[tokio::test]
async fn appending_goes_to_the_end_whatever_the_offset_says() {
    let mut client = Client::new().await;
    for (name, before) in [("/new", None), ("/old", Some(&b"log:"[..]))] {
        if let Some(before) = before {
            client.put(name, before).await;
        }
        let handle = client.open(name, PUT | CREATE | APPEND).await.handle();
        assert!(client.write(&handle, 0, b"one,").await.is_ok());
        assert!(client.write(&handle, 0, b"two").await.is_ok());
        assert!(client.close(&handle).await.is_ok());
    }
    assert_eq!(client.bytes("new").unwrap(), b"one,two");
    assert_eq!(client.bytes("old").unwrap(), b"log:one,two");
}

#[tokio::test]
async fn opening_without_create_takes_only_what_is_there() {
    let mut client = Client::new().await;
    assert_eq!(client.open("/none", PUT).await.code(), 2);
    assert_eq!(client.open("/none", PUT | TRUNCATE).await.code(), 2);
    client.put("/a", b"123456").await;
    let handle = client.open("/a", PUT).await.handle();
    assert!(client.write(&handle, 2, b"xx").await.is_ok());
    assert!(client.close(&handle).await.is_ok());
    assert_eq!(client.bytes("a").unwrap(), b"12xx56");
}

#[tokio::test]
async fn one_handle_can_write_and_read_back() {
    let mut client = Client::new().await;
    let handle = client.open("/a", READ | PUT | CREATE | TRUNCATE).await.handle();
    assert!(client.write(&handle, 0, b"hello").await.is_ok());
    assert_eq!(client.read(&handle, 1, 100).await, Reply::Data(b"ello".to_vec()));
    assert_eq!(client.read(&handle, 5, 100).await.code(), 1);
    let handle = client.open("/b", PUT | CREATE | TRUNCATE).await.handle();
    assert_eq!(client.read(&handle, 0, 1).await.code(), 4, "not opened for reading");
}

#[tokio::test]
async fn a_new_file_has_the_mode_of_its_open_and_times_that_were_set() {
    let mut client = Client::new().await;
    let attrs = Attrs { mode: Some(0o775), ..Attrs::default() };
    let handle = client.open_with(b"/a", PUT | CREATE | TRUNCATE, attrs).await.handle();
    let times = Attrs { times: Some((1_000_000_000, 1_100_000_000)), ..Attrs::default() };
    assert!(client.set(kind::FSETSTAT, &handle, times).await.is_ok());
    assert_eq!(client.about(kind::FSTAT, &handle).await.attrs().times, Some((1_000_000_000, 1_100_000_000)));
    assert!(client.close(&handle).await.is_ok());
    let now = client.about(kind::STAT, b"/a").await.attrs();
    assert_eq!((now.mode, now.times.map(|times| times.1)), (Some(0o755), Some(1_100_000_000)));
}

#[tokio::test]
async fn a_file_that_is_replaced_keeps_its_mode() {
    let mut client = Client::new().await;
    client.put("/a", b"x").await;
    assert!(client.set(kind::SETSTAT, b"/a", Attrs { mode: Some(0o600), ..Attrs::default() }).await.is_ok());
    let attrs = Attrs { mode: Some(0o644), ..Attrs::default() };
    let handle = client.open_with(b"/a", PUT | CREATE | TRUNCATE, attrs).await.handle();
    assert!(client.close(&handle).await.is_ok());
    assert_eq!(client.about(kind::STAT, b"/a").await.attrs().mode, Some(0o600));
}

#[tokio::test]
async fn truncation_by_name_and_by_handle() {
    let mut client = Client::new().await;
    client.put("/a", b"123456").await;
    assert!(client.set(kind::SETSTAT, b"/a", Attrs { size: Some(2), ..Attrs::default() }).await.is_ok());
    assert_eq!(client.bytes("a").unwrap(), b"12");
    let handle = client.open("/a", PUT).await.handle();
    assert!(client.set(kind::FSETSTAT, &handle, Attrs { size: Some(4), ..Attrs::default() }).await.is_ok());
    assert!(client.close(&handle).await.is_ok());
    assert_eq!(client.bytes("a").unwrap(), b"12\0\0");
}

#[tokio::test]
async fn a_handle_for_reading_tells_of_its_file_and_never_changes_another() {
    let mut client = Client::new().await;
    client.put("/a", b"123").await;
    let handle = client.open("/a", READ).await.handle();
    std::fs::write(client.on_disk("a"), b"123456").unwrap();
    assert_eq!(client.about(kind::FSTAT, &handle).await.attrs().size, Some(6));
    let mode = Attrs { mode: Some(0o600), ..Attrs::default() };
    assert!(client.set(kind::FSETSTAT, &handle, mode).await.is_ok());
    assert!(client.pair(kind::RENAME, b"/a", b"/b").await.is_ok());
    assert_eq!(client.set(kind::FSETSTAT, &handle, mode).await.code(), 2);
    client.put("/a", b"another").await;
    let before = client.about(kind::STAT, b"/a").await.attrs();
    assert_eq!(client.set(kind::FSETSTAT, &handle, mode).await.code(), 4);
    assert_eq!(client.about(kind::STAT, b"/a").await.attrs(), before);
    assert_eq!(client.about(kind::FSTAT, &handle).await.attrs().size, Some(6), "under its new name");
}

#[tokio::test]
async fn an_open_upload_answers_stat_in_its_own_session() {
    let mut client = Client::new().await;
    let handle = client.open("/a", PUT | CREATE | EXCLUSIVE).await.handle();
    assert!(client.write(&handle, 0, b"abc").await.is_ok());
    assert_eq!(client.about(kind::LSTAT, b"/a").await.attrs().size, Some(3));
    let extended = client.extension(b"fsync@openssh.com").string(&handle);
    assert!(client.ask(extended).await.is_ok());
    assert_eq!(client.bytes("a"), None, "on disk is not yet under the name");
}

#[tokio::test]
async fn what_is_set_by_name_meets_one_s_own_upload_under_way() {
    let mut client = Client::new().await;
    let handle = client.open("/a", PUT | CREATE | EXCLUSIVE).await.handle();
    assert!(client.write(&handle, 0, b"abcdef").await.is_ok());
    let attrs = Attrs { size: Some(3), mode: Some(0o640), times: Some((5, 1_000_000_000)), ..Attrs::default() };
    assert!(client.set(kind::SETSTAT, b"/a", attrs).await.is_ok());
    assert!(client.close(&handle).await.is_ok());
    let now = client.about(kind::STAT, b"/a").await.attrs();
    assert_eq!((now.size, now.mode, now.times.unwrap().1), (Some(3), Some(0o640), 1_000_000_000));
}

#[tokio::test]
async fn a_length_set_by_another_name_or_on_another_channel_never_meets_the_old_file() {
    let mut client = Client::new().await;
    client.put("/a", b"old file").await;
    std::os::unix::fs::symlink("a", client.on_disk("link")).unwrap();
    let handle = client.open("/a", PUT | CREATE | TRUNCATE).await.handle();
    assert!(client.write(&handle, 0, b"abcdef").await.is_ok());
    let size = |size| Attrs { size: Some(size), ..Attrs::default() };
    assert!(client.set(kind::SETSTAT, b"/link", size(5)).await.is_ok());
    let first = client.another_channel().await;
    assert_eq!(client.set(kind::SETSTAT, b"/a", size(2)).await.code(), 4);
    assert_eq!(client.bytes("a").unwrap(), b"old file");
    client.engine = first;
    assert!(client.close(&handle).await.is_ok());
    assert_eq!(client.bytes("a").unwrap(), b"abcde");
}

#[tokio::test]
async fn an_interrupted_upload_that_is_opened_and_closed_or_cut_by_name_stays_interrupted() {
    let mut client = Client::new().await;
    let handle = client.open("/a", PUT | CREATE | TRUNCATE).await.handle();
    assert!(client.write(&handle, 0, b"first half").await.is_ok());
    client.engine.end_of_requests();
    client.reconnect().await;
    for flags in [PUT, READ | PUT, PUT | CREATE, PUT | CREATE | APPEND] {
        let handle = client.open("/a", flags).await.handle();
        assert!(client.close(&handle).await.is_ok());
        assert_eq!(client.bytes("a"), None, "{flags}");
    }
    assert!(client.set(kind::SETSTAT, b"/a", Attrs { size: Some(5), ..Attrs::default() }).await.is_ok());
    assert_eq!(client.bytes("a"), None);
    assert_eq!(client.about(kind::STAT, b"/a").await.attrs().size, Some(5));
}

#[tokio::test]
async fn who_may_not_look_appends_and_replaces_nothing_by_it() {
    let mut client = Client::silent("write,delete".parse().unwrap(), usize::MAX).await;
    client.raw(&crate::sftp::fields::Packet::of(kind::INIT).u32(3).finish()).await.unwrap();
    std::fs::write(client.on_disk("log"), b"old,").unwrap();
    for flags in [PUT | CREATE | APPEND, PUT | CREATE] {
        let handle = client.open("/log", flags).await.handle();
        assert!(client.write(&handle, 0, b"new,").await.is_ok());
        assert!(client.close(&handle).await.is_ok());
    }
    assert_eq!(client.bytes("log").unwrap(), b"new,new,", "the second wrote in place at 0, as it asked");
    let handle = client.open("/other", PUT | CREATE).await.handle();
    assert!(client.write(&handle, 0, b"1").await.is_ok());
    assert!(client.close(&handle).await.is_ok());
    assert_eq!(client.bytes("other").unwrap(), b"1");
}

#[tokio::test]
async fn without_the_right_nothing_is_opened_for_writing() {
    let mut client = Client::silent("read,view".parse().unwrap(), usize::MAX).await;
    client.raw(&crate::sftp::fields::Packet::of(kind::INIT).u32(3).finish()).await.unwrap();
    assert_eq!(client.open("/a", PUT | CREATE | TRUNCATE).await.code(), 3);
}

#[tokio::test]
async fn a_stopping_server_opens_nothing_and_still_commits() {
    let mut client = Client::new().await;
    let handle = client.open("/a", PUT | CREATE | TRUNCATE).await.handle();
    client.stop.stop();
    assert_eq!(client.open("/b", PUT | CREATE | TRUNCATE).await.code(), 4);
    assert!(client.write(&handle, 0, b"abc").await.is_ok());
    assert!(client.close(&handle).await.is_ok());
    client.work.done().await;
    assert_eq!(client.bytes("a").unwrap(), b"abc");
}

#[tokio::test]
async fn bytes_are_copied_on_the_server() {
    let mut client = Client::new().await;
    client.put("/from", b"0123456789").await;
    let from = client.open("/from", READ).await.handle();
    let to = client.open("/to", PUT | CREATE | TRUNCATE).await.handle();
    let copy = client.extension(b"copy-data").string(&from).u64(2).u64(5).string(&to).u64(0);
    assert!(client.ask(copy).await.is_ok());
    let copy = client.extension(b"copy-data").string(&from).u64(7).u64(0).string(&to).u64(5);
    assert!(client.ask(copy).await.is_ok());
    let copy = client.extension(b"copy-data").string(&to).u64(0).u64(0).string(&to).u64(5);
    assert_eq!(client.ask(copy).await.code(), 4);
    assert!(client.close(&to).await.is_ok());
    assert_eq!(client.bytes("to").unwrap(), b"23456789");
}
