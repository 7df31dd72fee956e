//! Requests about names, and requests that are none.

use super::client::*;
use crate::sftp::{
    Fault,
    attrs::Attrs,
    fields::{Fields, Packet},
    kind,
};
use std::os::unix::ffi::OsStrExt as _;

#[tokio::test]
async fn names_are_bytes_from_end_to_end() {
    let mut client = Client::new().await;
    let name = b"/na\xffme\x01 \xc3\xa9";
    let handle = client.open_with(name, PUT | CREATE | TRUNCATE, Attrs::default()).await.handle();
    assert!(client.close(&handle).await.is_ok());
    assert!(std::fs::metadata(client.on_disk("").join(std::ffi::OsStr::from_bytes(&name[1..]))).is_ok());
    let folder = client.about(kind::OPENDIR, b"/").await.handle();
    assert!(client.about(kind::READDIR, &folder).await.names().contains(&name[1..].to_vec()));
}

#[tokio::test]
async fn a_listing_comes_in_parts_and_ends() {
    let mut client = Client::new().await;
    for n in 0..300 {
        std::fs::write(client.on_disk(&format!("f{n}")), b"").unwrap();
    }
    let folder = client.about(kind::OPENDIR, b"").await.handle();
    let mut names = Vec::new();
    let end = loop {
        match client.about(kind::READDIR, &folder).await {
            Reply::Names(part) => names.extend(part),
            other => break other,
        }
    };
    assert_eq!(end.code(), 1);
    assert_eq!(names.len(), 302);
    assert!(names.contains(&b".".to_vec()) && names.contains(&b"..".to_vec()));
    assert!(client.close(&folder).await.is_ok());
}

#[tokio::test]
async fn the_life_of_folders_and_names() {
    let mut client = Client::new().await;
    assert!(client.set(kind::MKDIR, b"/d", Attrs { mode: Some(0o777), ..Attrs::default() }).await.is_ok());
    assert_eq!(client.set(kind::MKDIR, b"/d", Attrs::default()).await.code(), 4);
    client.put("/d/a", b"a").await;
    client.put("/d/b", b"b").await;
    assert_eq!(client.about(kind::RMDIR, b"/d").await.code(), 4, "not empty");
    assert_eq!(client.pair(kind::RENAME, b"/d/a", b"/d/b").await.code(), 4, "version 3 does not replace");
    let replace = client.extension(b"posix-rename@openssh.com").string(b"/d/a").string(b"/d/b");
    assert!(client.ask(replace).await.is_ok());
    assert_eq!(client.bytes("d/b").unwrap(), b"a");
    assert_eq!(client.about(kind::REMOVE, b"/d").await.code(), 4, "a folder is no file");
    assert!(client.about(kind::REMOVE, b"/d/b").await.is_ok());
    assert!(client.about(kind::RMDIR, b"/d").await.is_ok());
    assert_eq!(client.about(kind::LSTAT, b"/d").await.code(), 2);
}

#[tokio::test]
async fn links_are_made_in_openssh_order_and_read() {
    let mut client = Client::new().await;
    client.put("/a", b"abc").await;
    assert!(client.pair(kind::SYMLINK, b"a", b"/l").await.is_ok());
    assert_eq!(client.about(kind::READLINK, b"/l").await.names(), [b"a".to_vec()]);
    assert_eq!(client.about(kind::STAT, b"/l").await.attrs().size, Some(3));
    let hard = client.extension(b"hardlink@openssh.com").string(b"/a").string(b"/h");
    assert!(client.ask(hard).await.is_ok());
    assert_eq!(client.bytes("h").unwrap(), b"abc");
    let times = Attrs { times: Some((1, 2)), ..Attrs::default() };
    let request = client.extension(b"lsetstat@openssh.com").string(b"/h");
    assert!(client.ask(times.write(request)).await.is_ok());
    let request = client.extension(b"lsetstat@openssh.com").string(b"/l");
    assert!(client.ask(times.write(request)).await.is_ok());
    assert_eq!(client.about(kind::LSTAT, b"/l").await.attrs().times, Some((1, 2)));
    let mode = Attrs { mode: Some(0o600), ..times };
    let request = client.extension(b"lsetstat@openssh.com").string(b"/l");
    assert_eq!(client.ask(mode.write(request)).await.code(), 8, "a link has no mode of its own");
    assert_eq!(client.about(kind::READLINK, b"/a").await.code(), 4, "no link");
}

#[tokio::test]
async fn the_mode_of_a_new_folder_takes_away_and_adds_nothing() {
    let mut client = Client::new().await;
    let mut made = async |name: &[u8], mode| {
        assert!(client.set(kind::MKDIR, name, Attrs { mode, ..Attrs::default() }).await.is_ok());
        client.about(kind::STAT, name).await.attrs().mode.unwrap() & 0o7777
    };
    let usual = made(b"/usual", None).await;
    assert_eq!(made(b"/all", Some(0o7777)).await, usual);
    assert_eq!(made(b"/own", Some(0o700)).await, 0o700);
}

#[tokio::test]
async fn paths_are_resolved_inside_the_tree() {
    let mut client = Client::new().await;
    for (asked, told) in
        [(&b""[..], &b"/"[..]), (b".", b"/"), (b"a/../b//c/", b"/b/c"), (b"/..", b"/"), (b"/x\xff", b"/x\xff")]
    {
        assert_eq!(client.about(kind::REALPATH, asked).await.names(), [told.to_vec()]);
    }
    let outside = client.about(kind::STAT, b"/../../etc/passwd").await;
    assert_eq!(outside.code(), 2);
    assert_eq!(client.about(kind::STAT, b"/a\0b").await.code(), 2);
    assert_eq!(client.about(kind::STAT, &[b'a'; 300]).await.code(), 2);
}

#[tokio::test]
async fn home_is_the_root_and_nobody_elses_is_known() {
    let mut client = Client::new().await;
    for (asked, told) in [(&b"~"[..], &b"/"[..]), (b"~/a/../b", b"/b"), (b"~alice/x", b"/x"), (b"/y/.", b"/y")] {
        let request = client.extension(b"expand-path@openssh.com").string(asked);
        assert_eq!(client.ask(request).await.names(), [told.to_vec()]);
    }
    let request = client.extension(b"expand-path@openssh.com").string(b"~root");
    assert_eq!(client.ask(request).await.code(), 4);
    let request = client.extension(b"home-directory").string(b"alice");
    assert_eq!(client.ask(request).await.names(), [b"/".to_vec()]);
}

#[tokio::test]
async fn owners_stay_and_the_present_owner_may_be_named() {
    let mut client = Client::new().await;
    client.put("/a", b"").await;
    let now = client.about(kind::STAT, b"/a").await.attrs().owner.unwrap();
    assert!(client.set(kind::SETSTAT, b"/a", Attrs { owner: Some(now), ..Attrs::default() }).await.is_ok());
    let other = Some((now.0 + 1, now.1));
    assert_eq!(client.set(kind::SETSTAT, b"/a", Attrs { owner: other, ..Attrs::default() }).await.code(), 3);
}

#[tokio::test]
async fn limits_and_room_are_told() {
    let mut client = Client::new().await;
    let request = client.extension(b"limits@openssh.com");
    let Reply::Other(kind::EXTENDED_REPLY, body) = client.ask(request).await else { panic!("no limits") };
    let mut fields = Fields::of(&body);
    let told: Vec<u64> = (0..4).map(|_| fields.u64().unwrap()).collect();
    assert_eq!(told, [262_144, 261_120, 261_120, 256]);
    let request = client.extension(b"statvfs@openssh.com").string(b"/");
    let Reply::Other(kind::EXTENDED_REPLY, body) = client.ask(request).await else { panic!("no room") };
    assert_eq!(body.len(), 11 * 8);
}

#[tokio::test]
async fn what_is_not_known_is_unsupported_and_the_channel_goes_on() {
    let mut client = Client::new().await;
    let request = client.extension(b"nonsense@example.org");
    assert_eq!(client.ask(request).await.code(), 8);
    let request = client.request(99);
    assert_eq!(client.ask(request).await.code(), 8);
    assert_eq!(client.about(kind::CLOSE, b"\0\0\0\x09").await.code(), 4);
    assert_eq!(client.about(kind::CLOSE, b"a handle that we never give").await.code(), 4);
    assert_eq!(client.read(b"\0\0\0\x09", 0, 1).await.code(), 4);
    assert_eq!(client.write(b"\0\0\0\x09", 0, b"some bytes").await.code(), 4);
    assert_eq!(client.about(kind::REALPATH, b"/").await.names().len(), 1);
}

#[tokio::test]
async fn a_malformed_request_ends_the_channel() {
    for (kind, body) in [
        (kind::OPEN, &b"\0\0\0\x01"[..]),
        (kind::STAT, b"\0\0\0\x01\0\0\0\x09abc"),
        (kind::READ, b"\0\0"),
        (kind::SETSTAT, b""),
    ] {
        let mut client = Client::new().await;
        let packet = Packet::of(kind).raw(body).finish();
        assert!(matches!(client.raw(&packet).await, Err(Fault::Malformed(_))), "{kind}");
    }
}

#[tokio::test]
async fn nothing_is_answered_before_hello() {
    for kind in [kind::STAT, kind::OPENDIR] {
        let mut client = Client::silent("read,view".parse().unwrap(), usize::MAX).await;
        let packet = Packet::answer(kind, 1).string(b"/").finish();
        assert!(matches!(client.raw(&packet).await, Err(Fault::NotGreeted)));
    }
    let mut client = Client::silent("read,view".parse().unwrap(), usize::MAX).await;
    let packet = Packet::answer(6, 1).string(b"\0\0\0\0").u64(0).string(b"x").finish();
    assert!(matches!(client.raw(&packet).await, Err(Fault::NotGreeted)));
}
