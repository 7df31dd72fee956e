//! What can be said while bytes move, and what is known of them meanwhile.

use super::house::{Client, House, under_tls};
use rustix::net::SendFlags;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Waits until `holds`, which something under way makes true.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("not within 10 s: {what}");
}

/// Asks how far it is until the answer has this in it.
pub(super) async fn until_stat_tells(client: &mut Client, what: &str) {
    let mut told = String::new();
    for _ in 0..2000 {
        told = client.expect(&[("STAT", 213)]).await;
        if told.contains(what) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{what:?} is not in {told:?}");
}

#[tokio::test]
async fn a_session_is_listed_with_its_command_and_path_for_as_long_as_it_is_at_it() {
    let house = House::new().await;
    std::fs::create_dir(house.root().join("d")).unwrap();
    house.put("d/big", &vec![1; 32 << 20]);
    let mut client = house.user().await;
    assert_eq!(house.activity.view().doing, None);
    client.expect(&[("CWD d", 250)]).await;
    let _data = client.passive().await;
    client.expect(&[("RETR big", 150)]).await;
    until("bytes are counted", || house.activity.view().bytes > 0).await;
    assert_eq!(house.activity.view().doing.as_deref(), Some("RETR /d/big"));
    client.expect(&[("ABOR", 426)]).await;
    client.must(226).await;
    assert_eq!(house.activity.view().doing, None);
    let mut data = client.passive().await;
    client.expect(&[("STOR new", 150)]).await;
    let before = house.activity.view().bytes;
    data.write_all(b"12345").await.unwrap();
    until("the bytes have come", || house.activity.view().bytes - before == 5).await;
    assert_eq!(house.activity.view().doing.as_deref(), Some("STOR /d/new"));
    data.shutdown().await.unwrap();
    client.must(226).await;
    let view = house.activity.view();
    assert_eq!((view.doing, view.bytes - before), (None, 5));
    assert!(view.idle < Duration::from_secs(5));
}

#[tokio::test]
async fn a_session_that_is_ended_goes_at_once_though_its_client_takes_nothing() {
    let house = House::new().await;
    house.put("big", &vec![1; 32 << 20]);
    let mut client = house.user().await;
    let data = client.passive().await;
    client.expect(&[("RETR big", 150)]).await;
    until("bytes move", || house.activity.view().bytes > 0).await;
    house.end.send_replace(true);
    client.must(421).await;
    client.must_be_closed().await;
    assert_eq!(house.activity.view().doing, None);
    drop(data);
}

#[tokio::test]
async fn stat_tells_how_far_a_transfer_is_whichever_way_it_goes() {
    let house = House::new().await;
    house.put("big", &vec![1; 32 << 20]);
    let mut client = house.user().await;
    let mut data = client.passive().await;
    client.expect(&[("RETR big", 150)]).await;
    let mut piece = vec![0; 100_000];
    data.read_exact(&mut piece).await.unwrap();
    let told = client.expect(&[("STAT", 213)]).await;
    assert!(told.contains(" RETR /big: ") && !told.contains(": 0 bytes"), "{told}");
    client.expect(&[("STAT", 213), ("ABOR", 426)]).await;
    client.must(226).await;
    let mut data = client.passive().await;
    client.expect(&[("APPE up", 150)]).await;
    data.write_all(&vec![2; 300_000]).await.unwrap();
    until_stat_tells(&mut client, " APPE /up: 300000 bytes").await;
    data.shutdown().await.unwrap();
    client.must(226).await;
    assert!(client.expect(&[("STAT", 211)]).await.contains("Type image"));
}

#[tokio::test]
async fn abor_before_the_client_came_for_its_data_closes_the_port() {
    let house = House::new().await;
    house.put("a", b"a");
    let mut client = house.user().await;
    let reply = client.expect(&[("EPSV", 229)]).await;
    let port: u16 = reply.split('|').nth(3).unwrap().parse().unwrap();
    client.send("RETR a\r\n").await;
    client.expect(&[("ABOR", 426)]).await;
    client.must(226).await;
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
    client.expect(&[("RETR a", 425)]).await;
    assert_eq!(client.get("RETR a").await.0, b"a");
}

#[tokio::test]
async fn abor_of_an_upload_stores_nothing_and_the_upload_can_go_on() {
    let house = House::new().await;
    house.put("old", b"old");
    let mut client = house.user().await;
    for name in ["old", "new"] {
        let mut data = client.passive().await;
        client.expect(&[(&format!("STOR {name}"), 150)]).await;
        data.write_all(&vec![3; 1 << 20]).await.unwrap();
        until_stat_tells(&mut client, ": 1048576 bytes").await;
        client.expect(&[("ABOR", 426)]).await;
        client.must(226).await;
        // The data connection is closed, and what is still sent on it goes nowhere.
        let mut rest = Vec::new();
        let _ = data.read_to_end(&mut rest).await;
        assert_eq!(rest, b"");
    }
    assert_eq!((house.bytes("old").unwrap(), house.bytes("new")), (b"old".into(), None));
    client.expect(&[("SIZE new", 213), ("REST 1048576", 350)]).await;
    assert!(client.put("STOR new", b"end").await.starts_with("226"));
    assert_eq!(house.bytes("new").unwrap().len(), (1 << 20) + 3);
}

#[tokio::test]
async fn abor_ends_a_protected_transfer_too() {
    let house = House::new().await;
    house.put("big", &vec![1; 32 << 20]);
    let mut client = house.secure_user().await;
    let data = client.passive().await;
    client.expect(&[("RETR big", 150)]).await;
    let mut data = under_tls(data, &house.client).await.unwrap();
    let mut piece = vec![0; 100_000];
    data.read_exact(&mut piece).await.unwrap();
    // Under TLS the Telnet prefix is bytes like others.
    client.stream.write_all(b"\xff\xf4\xff\xf2ABOR\r\n").await.unwrap();
    client.must(426).await;
    client.must(226).await;
    let mut rest = Vec::new();
    assert!(data.read_to_end(&mut rest).await.is_err(), "a part must not look like the whole");
    client.expect(&[("PWD", 257)]).await;
}

#[tokio::test]
async fn an_abor_that_comes_after_the_end_ends_nothing() {
    let house = House::new().await;
    let mut client = house.user().await;
    assert!(client.put("STOR x", b"12345").await.starts_with("226"));
    client.send("ABOR\r\nABOR\r\nSIZE x\r\n").await;
    client.must(226).await;
    client.must(226).await;
    assert_eq!(client.reply().await, "213 5\r\n");
}

#[tokio::test]
async fn commands_sent_as_urgent_data_are_heard_however_the_telnet_prefix_is_cut() {
    let house = House::new().await;
    house.put("big", &vec![1; 32 << 20]);
    let urgent = TcpStream::connect(house.at).await.unwrap().into_std().unwrap();
    let stream = TcpStream::from_std(urgent.try_clone().unwrap()).unwrap();
    let mut client = Client::over(Box::new(stream));
    client.must(220).await;
    client.log_in().await;
    // The pieces, and whether each is urgent: the whole line (Python), and IP and DM with the mark in four places.
    let ways: [&[(&[u8], bool)]; 5] = [
        &[(b"ABOR\r\n", true)],
        &[(b"\xff\xf4\xff", true), (b"\xf2ABOR\r\n", false)],
        &[(b"\xff\xf4", false), (b"\xff", true), (b"\xf2ABOR\r\n", false)],
        &[(b"\xff\xf4\xff\xf2", true), (b"ABOR\r\n", false)],
        &[(b"\xff", true), (b"\xf4\xff\xf2AB", false), (b"OR\r\n", false)],
    ];
    for way in ways {
        let _data = client.passive().await;
        client.expect(&[("RETR big", 150)]).await;
        for (piece, is_urgent) in [(&b"\xff\xf4\xff"[..], true), (b"\xf2STAT\r\n", false)].iter().chain(way) {
            let flags = if *is_urgent { SendFlags::OOB } else { SendFlags::empty() };
            rustix::net::send(&urgent, piece, flags).unwrap();
        }
        client.must(213).await;
        client.must(426).await;
        client.must(226).await;
    }
    client.expect(&[("PWD", 257)]).await;
}
