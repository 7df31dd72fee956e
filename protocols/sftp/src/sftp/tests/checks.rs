//! Digests of files: in which form they are told, of what, and how they keep out of the way.

use super::client::*;
use crate::sftp::{
    Fault,
    check::{MOST_BLOCKS, MOST_CHECKS},
    fields::{Fields, Packet},
    kind,
};
use lockgate_vfs::{Digest, Sum};

/// How a request names its file, and what stands before the name of the digest in the reply.
const BY_NAME: &[u8] = b"check-file-name";
const BY_HANDLE: &[u8] = b"check-file-handle";
const PARAMIKO: &[u8] = b"check-file";

fn sum(digest: Digest, bytes: &[u8]) -> Vec<u8> {
    let mut sum = Sum::new(digest);
    sum.add(bytes);
    sum.finish()
}

/// A request for the sums of a part of a file in blocks.
fn request(
    client: &mut Client,
    how: &[u8],
    what: &[u8],
    wishes: &str,
    (from, length, block): (u64, u64, u32),
) -> Packet {
    client.extension(how).string(what).string(wishes.as_bytes()).u64(from).u64(length).u32(block)
}

/// The name of the digest and the sums, as a reply to a request of the draft tells them.
fn told(reply: Reply) -> (String, Vec<u8>) {
    let Reply::Other(kind::EXTENDED_REPLY, body) = reply else { panic!("no sums: {reply:?}") };
    let name = Fields::of(&body).string().unwrap();
    (String::from_utf8(name.to_vec()).unwrap(), body[4 + name.len()..].to_vec())
}

#[tokio::test]
async fn a_file_is_summed_by_name_and_by_handle_and_for_paramiko_in_its_own_form() {
    let mut client = Client::new().await;
    client.put("/a", b"some bytes").await;
    let handle = client.open("/a", READ).await.handle();
    let wanted = sum(Digest::Sha256, b"some bytes");
    for (how, what) in [(BY_NAME, &b"a"[..]), (BY_HANDLE, &handle)] {
        let asked = request(&mut client, how, what, "whirlpool,sha256,md5", (0, 0, 0));
        assert_eq!(told(client.wait_for(asked).await), ("sha256".to_owned(), wanted.clone()));
    }
    let asked = request(&mut client, PARAMIKO, &handle, "md5", (0, 0, 0));
    let Reply::Other(kind::EXTENDED_REPLY, body) = client.wait_for(asked).await else { panic!("no sums") };
    assert_eq!(
        body,
        Packet::of(0).string(b"check-file").string(b"md5").raw(&sum(Digest::Md5, b"some bytes")).finish()[5..]
    );
}

#[tokio::test]
async fn blocks_and_parts_have_their_own_sums_and_end_with_the_file() {
    let mut client = Client::new().await;
    let bytes: Vec<u8> = (0..1000).map(|place| (place % 251) as u8).collect();
    client.put("/a", &bytes).await;
    for (part, blocks) in [
        ((0, 0, 256), vec![&bytes[..256], &bytes[256..512], &bytes[512..768], &bytes[768..]]),
        ((100, 300, 256), vec![&bytes[100..356], &bytes[356..400]]),
        ((900, 500, 0), vec![&bytes[900..]]),
        ((1000, 0, 0), vec![&[][..]]),
        ((1000, 0, 256), vec![]),
    ] {
        let asked = request(&mut client, BY_NAME, b"/a", "crc32", part);
        let wanted: Vec<u8> = blocks.into_iter().flat_map(|block| sum(Digest::Crc32, block)).collect();
        assert_eq!(told(client.wait_for(asked).await).1, wanted, "{part:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_summed_is_refused_and_the_channel_goes_on() {
    let mut client = Client::new().await;
    client.put("/a", &vec![7; 256 * usize::try_from(MOST_BLOCKS).unwrap() + 1]).await;
    for (what, wishes, part, code) in [
        (&b"/a"[..], "whirlpool", (0, 0, 0), 4),
        (b"/a", "", (0, 0, 0), 4),
        (b"/a", "md5", (0, 0, 255), 4),
        (b"/a", "md5", (0, 0, 256), 4),
        (b"/a", "md5", (200_000, 0, 0), 1),
        (b"/a", "md5", (u64::MAX, u64::MAX, u32::MAX), 1),
        (b"/none", "md5", (0, 0, 0), 2),
        (b"/", "md5", (0, 0, 0), 4),
        (b"/../a", "md5", (0, 0, 0), 2),
    ] {
        let asked = request(&mut client, BY_NAME, what, wishes, part);
        assert_eq!(client.wait_for(asked).await.code(), code, "{wishes} {part:?}");
    }
    for how in [BY_HANDLE, PARAMIKO] {
        let asked = request(&mut client, how, b"\0\0\0\x63", "md5", (0, 0, 0));
        assert_eq!(client.wait_for(asked).await.code(), 4);
    }
    let cut = client.extension(BY_NAME).string(b"/a").string(b"md5").u64(0);
    assert!(matches!(client.raw(&cut.finish()).await, Err(Fault::Malformed(_))));
}

#[tokio::test]
async fn who_may_not_read_gets_no_sum() {
    let mut client = Client::silent("view,write".parse().unwrap(), usize::MAX).await;
    client.raw(&Packet::of(kind::INIT).u32(3).finish()).await.unwrap();
    std::fs::write(client.on_disk("a"), b"secret").unwrap();
    let asked = request(&mut client, BY_NAME, b"/a", "md5", (0, 0, 0));
    assert_eq!(client.wait_for(asked).await.code(), 3);
}

#[tokio::test]
async fn an_upload_that_may_be_read_is_summed_as_far_as_it_came_and_another_is_not() {
    let mut client = Client::new().await;
    let both = client.open("/a", READ | PUT | CREATE | TRUNCATE).await.handle();
    let blind = client.open("/b", PUT | CREATE | TRUNCATE).await.handle();
    assert!(client.write(&both, 0, b"so far").await.is_ok());
    let asked = request(&mut client, BY_HANDLE, &both, "sha1", (0, 0, 0));
    assert_eq!(told(client.wait_for(asked).await).1, sum(Digest::Sha1, b"so far"));
    let asked = request(&mut client, BY_HANDLE, &blind, "sha1", (0, 0, 0));
    assert_eq!(client.wait_for(asked).await.code(), 4);
}

#[tokio::test]
async fn a_channel_goes_on_while_a_file_is_summed_and_the_handle_may_be_closed_meanwhile() {
    let mut client = Client::new().await;
    let bytes = vec![7; 3 << 20];
    client.put("/a", &bytes).await;
    let handle = client.open("/a", READ).await.handle();
    let asked = request(&mut client, BY_HANDLE, &handle, "sha512", (0, 0, 0));
    assert!(client.raw(&asked.finish()).await.unwrap().is_empty());
    assert_eq!(client.about(kind::REALPATH, b"/").await.names().len(), 1);
    assert!(client.close(&handle).await.is_ok());
    let packet = client.late().await;
    assert!(packet.ends_with(&sum(Digest::Sha512, &bytes)));
    client.work.done().await;
}

#[tokio::test]
async fn only_so_many_sums_are_owed_at_once_and_they_end_with_the_channel() {
    let mut client = Client::new().await;
    client.put("/a", &vec![7; 8 << 20]).await;
    let mut refused = 0;
    for _ in 0..=MOST_CHECKS {
        let asked = request(&mut client, BY_NAME, b"/a", "md5", (0, 0, 0));
        refused += usize::from(!client.raw(&asked.finish()).await.unwrap().is_empty());
    }
    assert_eq!(refused, 1);
    client.reconnect().await;
    client.work.done().await;
}
