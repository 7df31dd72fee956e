//! `MODE Z`: the same files through one compressed stream, and no file from anything else.

use super::house::{Client, House, under_tls};
use crate::deflate::tests::packed;
use flate2::read::ZlibDecoder;
use std::{io::Read as _, time::Duration};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

fn text(length: usize) -> Vec<u8> {
    (0..length).map(|place| b"a line of text, and the next one\n"[place * 7 % 11 + place % 17]).collect()
}

fn unpacked(stream: &[u8]) -> Vec<u8> {
    let mut decoder = ZlibDecoder::new(stream);
    let mut bytes = Vec::new();
    decoder.read_to_end(&mut bytes).unwrap();
    assert_eq!(decoder.total_in(), stream.len() as u64, "something is behind the end");
    bytes
}

async fn packing(house: &House) -> Client {
    let mut client = house.user().await;
    client.expect(&[("MODE Z", 200)]).await;
    client
}

#[tokio::test]
async fn the_mode_is_offered_agreed_on_and_given_back() {
    let house = House::new().await;
    house.put("a", &text(5000));
    let mut client = house.user().await;
    assert!(client.say("FEAT").await.contains("\r\n MODE Z\r\n"));
    client
        .expect(&[
            ("MODE B", 504),
            ("MODE", 501),
            ("OPTS MODE Z LEVEL 0", 501),
            ("OPTS MODE Z LEVEL 10", 501),
            ("OPTS MODE Z LEVEL", 501),
            ("OPTS MODE Z LEVEL x", 501),
            ("OPTS MODE Z TABLE 1", 501),
            ("OPTS MODE Y", 501),
            ("OPTS MODE Z", 200),
            ("OPTS MODE Z ENGINE ZLIB METHOD 8 LEVEL 9", 200),
            ("MODE Z", 200),
        ])
        .await;
    assert!(client.say("STAT").await.contains("mode deflate"));
    assert!(unpacked(&client.get("RETR a").await.0) == text(5000));
    client.expect(&[("mode s", 200)]).await;
    assert!(client.get("RETR a").await.0 == text(5000));
}

#[tokio::test]
async fn files_of_every_size_and_level_come_back_as_they_went() {
    let house = House::new().await;
    let mut client = packing(&house).await;
    for (length, level) in [(0, 6), (1, 1), (65_535, 9), (65_536, 1), (200_000, 5), (3 << 20, 2)] {
        client.expect(&[(&format!("OPTS MODE Z LEVEL {level}"), 200)]).await;
        let bytes = text(length);
        let stream = packed(&bytes, level);
        assert!(client.put("STOR x", &stream).await.starts_with("226"), "{length}");
        assert!(house.bytes("x").unwrap() == bytes, "{length}");
        let (got, reply) = client.get("RETR x").await;
        assert!(reply.starts_with("226") && unpacked(&got) == bytes, "{length}: {reply}");
        assert!(length < 1000 || got.len() < length / 2, "{length}: {} bytes on the wire", got.len());
    }
    // What cannot be made smaller goes through as well.
    let noise: Vec<u8> =
        (0..300_000_u32).map(|place| (place.wrapping_mul(2_654_435_761).rotate_left(place % 31) >> 13) as u8).collect();
    assert!(client.put("STOR x", &packed(&noise, 9)).await.starts_with("226"));
    assert!(unpacked(&client.get("RETR x").await.0) == noise);
}

#[tokio::test]
async fn listings_text_and_unique_names_are_packed_too() {
    let house = House::new().await;
    house.put("unix", b"one\ntwo\n");
    let mut client = packing(&house).await;
    assert_eq!(unpacked(&client.get("NLST").await.0), b"unix\r\n");
    assert!(String::from_utf8(unpacked(&client.get("MLSD").await.0)).unwrap().contains("; unix\r\n"));
    client.expect(&[("TYPE A", 200)]).await;
    assert_eq!(unpacked(&client.get("RETR unix").await.0), b"one\r\ntwo\r\n");
    assert!(client.put("STOR dos", &packed(b"one\r\ntwo\r\n", 6)).await.starts_with("226"));
    assert_eq!(house.bytes("dos").unwrap(), b"one\ntwo\n");
    client.expect(&[("TYPE I", 200)]).await;
    let mut data = client.passive().await;
    let opening = client.expect(&[("STOU", 150)]).await;
    let name = opening.trim_end().strip_prefix("150 FILE: ").unwrap().to_owned();
    data.write_all(&packed(b"x", 6)).await.unwrap();
    data.shutdown().await.unwrap();
    client.must(226).await;
    assert_eq!(house.bytes(&name).unwrap(), b"x");
}

#[tokio::test]
async fn an_offset_is_one_of_the_file_and_not_of_the_stream() {
    let house = House::new().await;
    let bytes = text(300_000);
    house.put("whole", &bytes);
    let mut client = packing(&house).await;
    client.expect(&[("REST 200000", 350)]).await;
    assert!(unpacked(&client.get("RETR whole").await.0) == bytes[200_000..]);
    client.expect(&[("REST 299999", 350)]).await;
    assert!(client.put("STOR whole", &packed(b"Zend", 6)).await.starts_with("226"));
    assert_eq!(house.bytes("whole").unwrap()[299_998..], [&bytes[299_998..299_999], b"Zend"].concat());
    assert!(client.put("APPE whole", &packed(b"more", 6)).await.starts_with("226"));
    assert!(house.bytes("whole").unwrap().ends_with(b"Zendmore"));
}

#[tokio::test]
async fn a_stream_that_was_cut_is_no_file_and_is_gone_on_with() {
    let house = House::new().await;
    let bytes = text(400_000);
    house.put("old", b"old");
    let mut client = packing(&house).await;
    let stream = packed(&bytes, 6);
    for (name, sent) in [("old", &stream[..stream.len() - 1]), ("new", &stream[..stream.len() / 2]), ("empty", b"")] {
        assert!(client.put(&format!("STOR {name}"), sent).await.starts_with("426"), "{name}");
    }
    assert_eq!((house.bytes("old").unwrap(), house.bytes("new"), house.bytes("empty")), (b"old".into(), None, None));
    let size = client.expect(&[("SIZE new", 213)]).await;
    let at: usize = size.trim_end().strip_prefix("213 ").unwrap().parse().unwrap();
    assert!((1..bytes.len()).contains(&at));
    client.expect(&[(&format!("REST {at}"), 350)]).await;
    assert!(client.put("STOR new", &packed(&bytes[at..], 6)).await.starts_with("226"));
    assert!(house.bytes("new").unwrap() == bytes);
}

#[tokio::test]
async fn nothing_that_came_of_a_damaged_stream_is_kept() {
    let house = House::new().await;
    house.put("old", b"old");
    let mut client = packing(&house).await;
    let stream = packed(&text(400_000), 6);
    let mut wrong_sum = stream.clone();
    *wrong_sum.last_mut().unwrap() ^= 1;
    for (what, sent) in [
        ("a wrong checksum", wrong_sum),
        ("something behind the end", [&stream[..], b"x"].concat()),
        ("two streams", [&stream[..], &stream].concat()),
        ("no stream", b"plain bytes of a client that forgot the mode".to_vec()),
    ] {
        for name in ["old", "new"] {
            let reply = client.put(&format!("STOR {name}"), &sent).await;
            assert!(reply.starts_with("451"), "{what}: {reply}");
        }
        assert_eq!((house.bytes("old").unwrap(), house.bytes("new")), (b"old".into(), None), "{what}");
        client.expect(&[("SIZE new", 550)]).await;
    }
    // What an earlier upload left well stays to go on with.
    assert!(client.put("STOR new", &stream[..stream.len() / 2]).await.starts_with("426"));
    let size = client.expect(&[("SIZE new", 213)]).await;
    let at = size.trim_end().strip_prefix("213 ").unwrap();
    client.expect(&[(&format!("REST {at}"), 350)]).await;
    assert!(client.put("STOR new", b"plain bytes").await.starts_with("451"));
    assert_eq!(client.say("SIZE new").await, size);
}

#[tokio::test]
async fn a_bomb_ends_at_the_quota_and_leaves_nothing() {
    let house = House::with(|_| {}, Some(1_000_000)).await;
    let mut client = packing(&house).await;
    let bomb = packed(&vec![0; 256 << 20], 9);
    assert!(bomb.len() < 300_000);
    let reply = client.put("STOR x", &bomb).await;
    assert!(reply.starts_with("552"), "{reply}");
    assert_eq!(house.bytes("x"), None);
    client.expect(&[("ALLO 2000000", 200)]).await;
    assert!(client.put("STOR y", &packed(b"1", 6)).await.starts_with("552"));
}

#[tokio::test]
async fn packed_bytes_are_protected_as_others_are() {
    let house = House::new().await;
    let bytes = text(500_000);
    let mut client = house.secure_user().await;
    client.expect(&[("MODE Z", 200)]).await;
    let data = client.passive().await;
    client.expect(&[("STOR x", 150)]).await;
    let mut data = under_tls(data, &house.client).await.unwrap();
    data.write_all(&packed(&bytes, 6)).await.unwrap();
    data.flush().await.unwrap();
    // The compressed stream is whole, TLS is not: that is no proof.
    data.get_mut().0.shutdown().await.unwrap();
    client.must(426).await;
    assert_eq!(house.bytes("x"), None);
    let data = client.passive().await;
    client.expect(&[("STOR x", 150)]).await;
    let mut data = under_tls(data, &house.client).await.unwrap();
    data.write_all(&packed(&bytes, 6)).await.unwrap();
    data.shutdown().await.unwrap();
    client.must(226).await;
    let data = client.passive().await;
    client.expect(&[("RETR x", 150)]).await;
    let mut data = under_tls(data, &house.client).await.unwrap();
    let mut got = Vec::new();
    data.read_to_end(&mut got).await.unwrap();
    client.must(226).await;
    assert!(unpacked(&got) == bytes);
}

#[tokio::test]
async fn packing_and_unpacking_are_ended_by_abor_and_others_are_served_meanwhile() {
    let house = House::new().await;
    house.put("big", &text(48 << 20));
    let mut client = packing(&house).await;
    client.expect(&[("OPTS MODE Z LEVEL 9", 200)]).await;
    let mut data = client.passive().await;
    client.expect(&[("RETR big", 150)]).await;
    let reading = tokio::spawn(async move {
        let mut got = Vec::new();
        let _ = data.read_to_end(&mut got).await;
    });
    let other = tokio::time::timeout(Duration::from_secs(5), house.user()).await;
    other.expect("nobody else is served").expect(&[("PWD", 257)]).await;
    client.expect(&[("ABOR", 426)]).await;
    client.must(226).await;
    reading.await.unwrap();
    let mut data = client.passive().await;
    client.expect(&[("STOR bomb", 150)]).await;
    let bomb = packed(&vec![0; 200 << 20], 9);
    let writing = tokio::spawn(async move {
        let _ = data.write_all(&bomb).await;
        data
    });
    for _ in 0..2000 {
        if house.activity.view().bytes_per_s > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    client.expect(&[("ABOR", 426)]).await;
    client.must(226).await;
    drop(writing.await);
    assert_eq!(house.bytes("bomb"), None);
    client.expect(&[("PWD", 257)]).await;
}
