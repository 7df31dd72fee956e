//! Clients that ask for much and read little; order among requests that wait; limits.

use super::client::*;
use crate::sftp::{Fault, MOST_HANDLES, fields::Packet, kind, split::WRITE};
use proptest::prelude::*;

const MIB: usize = 1 << 20;

/// A client with a 4 MiB file open and a window of `window`.
async fn reader(window: usize) -> (Client, Vec<u8>, Vec<u8>) {
    let mut client = Client::new().await;
    let data: Vec<u8> = (0..4 * MIB).map(|n| (n >> 9) as u8).collect();
    std::fs::write(client.on_disk("big"), &data).unwrap();
    let handle = client.open("/big", READ).await.handle();
    client.pipe.window = window;
    (client, handle, data)
}

fn read(id: u32, handle: &[u8], offset: usize, length: u32) -> Vec<u8> {
    Packet::answer(kind::READ, id).string(handle).u64(offset as u64).u32(length).finish()
}

#[tokio::test]
async fn a_client_that_stops_reading_costs_no_more_than_its_window_and_a_few_reads() {
    let (mut client, handle, _) = reader(2 * MIB).await;
    let requests: Vec<u8> = (0..64).flat_map(|n| read(1000 + n, &handle, n as usize * 65_000, 261_120)).collect();
    client.raw(&requests).await.unwrap();
    assert!(client.pipe.held() <= MIB, "{} bytes are held", client.pipe.held());
}

#[tokio::test]
async fn reads_that_wait_are_answered_in_order_as_the_client_reads() {
    let (mut client, handle, data) = reader(MIB).await;
    let requests: Vec<u8> = (0..128).flat_map(|n| read(1000 + n, &handle, n as usize * 32_768, 32_768)).collect();
    for part in requests.chunks(777) {
        client.engine.feed(part, &mut client.pipe).await.unwrap();
    }
    let mut replies = client.arrived();
    while replies.len() < 128 {
        let more = client.widen(100_000).await;
        assert!(client.pipe.held() <= 600_000);
        replies.extend(more);
    }
    for (n, (id, reply)) in replies.into_iter().enumerate() {
        assert_eq!(id, 1000 + n as u32);
        assert_eq!(reply, Reply::Data(data[n * 32_768..(n + 1) * 32_768].to_vec()));
    }
}

#[tokio::test]
async fn a_close_behind_reads_that_wait_does_not_overtake_them() {
    let (mut client, handle, _) = reader(100_000).await;
    let mut requests: Vec<u8> = (0..8).flat_map(|n| read(1000 + n, &handle, 0, 261_120)).collect();
    requests.extend(Packet::answer(kind::CLOSE, 2000).string(&handle).finish());
    requests.extend(Packet::answer(kind::STAT, 2001).string(b"/big").finish());
    client.engine.feed(&requests, &mut client.pipe).await.unwrap();
    client.engine.end_of_requests();
    assert!(!client.engine.is_done());
    let mut replies = client.arrived();
    while !client.engine.is_done() || client.pipe.held() > 0 {
        let more = client.widen(300_000).await;
        replies.extend(more);
    }
    let place = |wanted| replies.iter().position(|(id, _)| *id == wanted).unwrap();
    assert!((0..8).all(|n| place(1000 + n) < place(2000)));
    assert!(replies.iter().filter(|(id, _)| *id < 2000).all(|(_, reply)| matches!(reply, Reply::Data(_))));
    assert!(place(2001) < place(2000), "what is about something else does not wait");
}

#[tokio::test]
async fn a_write_behind_a_read_that_waits_does_not_change_what_is_read() {
    let mut client = Client::new().await;
    let handle = client.open("/a", READ | PUT | CREATE | TRUNCATE).await.handle();
    let old = vec![b'o'; 200_000];
    assert!(client.write(&handle, 0, &old).await.is_ok());
    client.pipe.window = 0;
    // The first takes what is sent on credit; the last must still see the old bytes.
    let mut requests: Vec<u8> = (0..5).flat_map(|n| read(1000 + n, &handle, 0, 200_000)).collect();
    requests.extend(Packet::answer(WRITE, 2000).string(&handle).u64(0).string(b"new").finish());
    requests.extend(Packet::answer(kind::CLOSE, 2001).string(&handle).finish());
    client.engine.feed(&requests, &mut client.pipe).await.unwrap();
    let mut replies = Vec::new();
    while replies.len() < 7 {
        let more = client.widen(100_000).await;
        replies.extend(more);
    }
    assert!(replies[..5].iter().all(|(_, reply)| *reply == Reply::Data(old.clone())));
    assert_eq!(replies[5].0, 2000);
    assert!(replies[5].1.is_ok() && replies[6].1.is_ok());
    assert_eq!(&client.bytes("a").unwrap()[..4], b"newo");
}

#[tokio::test]
async fn endless_writes_behind_a_read_that_waits_end_the_channel() {
    let mut client = Client::new().await;
    let handle = client.open("/a", READ | PUT | CREATE | TRUNCATE).await.handle();
    assert!(client.write(&handle, 0, &[1; 200_000]).await.is_ok());
    client.pipe.window = 0;
    let reads: Vec<u8> = (0..5).flat_map(|n| read(1000 + n, &handle, 0, 200_000)).collect();
    client.engine.feed(&reads, &mut client.pipe).await.unwrap();
    let write = Packet::answer(WRITE, 2000).string(&handle).u64(0).string(&[2; 200_000]).finish();
    let mut writes = 0;
    let fault = loop {
        match client.engine.feed(&write, &mut client.pipe).await {
            Ok(()) => writes += 1,
            Err(fault) => break fault,
        }
    };
    assert!(matches!(fault, Fault::TooMuchWaiting));
    assert!(writes <= 11, "{writes}");
}

#[tokio::test]
async fn questions_without_reading_the_answers_end_the_channel() {
    let mut client = Client::new().await;
    client.pipe.window = 0;
    let stat = Packet::answer(kind::STAT, 1).string(b"/").finish().repeat(100);
    let fault = loop {
        if let Err(fault) = client.engine.feed(&stat, &mut client.pipe).await {
            break fault;
        }
    };
    assert!(matches!(fault, Fault::TooMuchWaiting));
    assert!(client.pipe.held() <= 3 * MIB);
}

#[tokio::test]
async fn more_reads_in_one_breath_than_are_held_ready_are_refused_where_nothing_would_wake_them() {
    let (mut client, handle, _) = reader(usize::MAX).await;
    let requests: Vec<u8> = (0..1000).flat_map(|n| read(1000 + n, &handle, 0, 261_120)).collect();
    client.engine.feed(&requests, &mut client.pipe).await.unwrap();
    let replies = client.arrived();
    assert_eq!(replies.len(), 1000, "each gets an answer");
    let given = replies.iter().filter(|(_, reply)| matches!(reply, Reply::Data(_))).count();
    assert!(given * 261_120 <= 17 * MIB, "{given}");
}

#[tokio::test]
async fn a_small_file_read_in_large_pieces_costs_a_small_answer() {
    let mut client = Client::new().await;
    client.put("/a", b"abc").await;
    let handle = client.open("/a", READ).await.handle();
    assert_eq!(client.read(&handle, 0, u32::MAX).await, Reply::Data(b"abc".to_vec()));
    assert_eq!(client.read(&handle, u64::MAX, u32::MAX).await.code(), 1);
    std::fs::write(client.on_disk("a"), b"abcdef").unwrap();
    assert_eq!(client.read(&handle, 3, 100).await, Reply::Data(b"def".to_vec()), "a file may grow");
}

#[tokio::test]
async fn open_handles_are_counted_and_limited() {
    let mut client = Client::new().await;
    client.put("/a", b"").await;
    let mut handles = Vec::new();
    for _ in 0..MOST_HANDLES {
        handles.push(client.open("/a", READ).await.handle());
    }
    assert_eq!(client.open("/a", READ).await.code(), 4);
    assert_eq!(client.about(kind::OPENDIR, b"/").await.code(), 4);
    assert!(client.close(&handles[7]).await.is_ok());
    let fresh = client.open("/a", READ).await.handle();
    assert!(!handles.contains(&fresh), "a handle is never given twice");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn any_bytes_after_hello_are_answered_or_end_the_channel(
        packets in proptest::collection::vec((0u8..=25, proptest::collection::vec(any::<u8>(), 0..40)), 0..30),
        tail in proptest::collection::vec(any::<u8>(), 0..100),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut client = Client::new().await;
            let handle = client.open("/a", READ | PUT | CREATE | TRUNCATE).await.handle();
            for (kind, body) in packets {
                // Half of them get as far as a string that is the handle.
                let packet = Packet::of(kind);
                let packet = if body.len() % 2 == 0 { packet.u32(7).string(&handle) } else { packet };
                if client.raw(&packet.raw(&body).finish()).await.is_err() {
                    return;
                }
            }
            let _ = client.raw(&tail).await;
        });
    }
}
