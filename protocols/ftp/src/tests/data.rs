//! Bytes over data connections: whole or not at all.

use super::house::{House, under_tls};
use rustls::{ClientConfig, client::Resumption};
use std::{sync::Arc, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

fn some_bytes(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 31 % 251) as u8).collect()
}

#[tokio::test]
async fn files_of_every_size_come_back_as_they_went() {
    let house = House::new().await;
    let mut client = house.user().await;
    // Around the pieces that are read, the first of them and those of the pipe.
    for length in [0, 1, 65_535, 65_536, 65_537, (1 << 20) + 1, 5 << 20] {
        let bytes = some_bytes(length);
        assert!(client.put("STOR x", &bytes).await.starts_with("226"), "{length}");
        assert!(house.bytes("x").unwrap() == bytes, "{length}");
        let (got, reply) = client.get("RETR x").await;
        assert!(got == bytes && reply.starts_with("226"), "{length}: {reply}");
    }
}

#[tokio::test]
async fn transfers_go_on_where_they_stopped() {
    let house = House::new().await;
    let bytes = some_bytes(3 << 20);
    house.put("whole", &bytes);
    let mut client = house.user().await;
    client.expect(&[("REST 1000000", 350)]).await;
    let (got, _) = client.get("RETR whole").await;
    assert!(got == bytes[1_000_000..]);
    // The offset was for that transfer alone.
    assert!(client.get("RETR whole").await.0 == bytes);
    client.expect(&[("REST 3145729", 350)]).await;
    assert!(client.get("RETR whole").await.1.starts_with("554"));
    assert!(client.put("APPE new", &bytes[..10]).await.starts_with("226"));
    assert!(client.put("APPE new", &bytes[10..]).await.starts_with("226"));
    assert!(house.bytes("new").unwrap() == bytes);
    client.expect(&[("REST 5", 350)]).await;
    assert!(client.put("STOR new", b"xyz").await.starts_with("226"));
    assert_eq!(house.bytes("new").unwrap()[..9], [&bytes[..5], b"xyz", &bytes[8..9]].concat());
}

#[tokio::test]
async fn a_file_that_got_shorter_while_it_was_sent_does_not_look_whole() {
    let house = House::new().await;
    for (mode, secure) in [("S", false), ("Z", false), ("S", true)] {
        house.put("x", &some_bytes(64 << 20));
        let mut client = if secure { house.secure_user().await } else { house.user().await };
        client.expect(&[(&format!("MODE {mode}"), 200)]).await;
        let data = client.passive().await;
        client.expect(&[("RETR x", 150)]).await;
        let mut data: Box<dyn super::house::Stream> =
            if secure { Box::new(under_tls(data, &house.client).await.unwrap()) } else { Box::new(data) };
        data.read_exact(&mut [0; 1000]).await.unwrap();
        std::fs::OpenOptions::new().write(true).open(house.root().join("x")).unwrap().set_len(40 << 20).unwrap();
        let ended = data.read_to_end(&mut Vec::new()).await;
        client.must(451).await;
        assert_eq!(ended.is_err(), secure, "under TLS the end is missing");
    }
}

#[tokio::test]
async fn an_upload_that_was_cut_is_gone_on_with_and_was_nothing_before() {
    let house = House::new().await;
    let bytes = some_bytes(2 << 20);
    let mut client = house.user().await;
    let mut data = client.passive().await;
    client.expect(&[("STOR cut", 150)]).await;
    data.write_all(&bytes[..1 << 20]).await.unwrap();
    // Until the server has it all: then a reset loses nothing of it.
    while !client.say("STAT").await.contains(": 1048576 bytes") {}
    rustix::net::sockopt::set_socket_linger(&data, Some(Duration::ZERO)).unwrap();
    drop(data);
    client.must(426).await;
    assert_eq!(house.bytes("cut"), None);
    assert_eq!(client.say("SIZE cut").await, "213 1048576\r\n");
    client.expect(&[("REST 1048576", 350)]).await;
    assert!(client.put("STOR cut", &bytes[1 << 20..]).await.starts_with("226"));
    assert!(house.bytes("cut").unwrap() == bytes);
}

#[tokio::test]
async fn an_upload_under_tls_counts_only_with_its_close_notify() {
    let house = House::new().await;
    house.put("old", b"old");
    let mut client = house.secure_user().await;
    let data = client.passive().await;
    client.expect(&[("STOR old", 150)]).await;
    let mut data = under_tls(data, &house.client).await.unwrap();
    data.write_all(b"new bytes").await.unwrap();
    data.flush().await.unwrap();
    // The TCP connection ends in order; TLS does not.
    data.get_mut().0.shutdown().await.unwrap();
    client.must(426).await;
    assert_eq!(house.bytes("old").unwrap(), b"old");
    let data = client.passive().await;
    client.expect(&[("STOR old", 150)]).await;
    let mut data = under_tls(data, &house.client).await.unwrap();
    let bytes = some_bytes(700_000);
    data.write_all(&bytes).await.unwrap();
    data.shutdown().await.unwrap();
    client.must(226).await;
    assert!(house.bytes("old").unwrap() == bytes);
    let data = client.passive().await;
    client.expect(&[("RETR old", 150)]).await;
    let mut data = under_tls(data, &house.client).await.unwrap();
    let mut got = Vec::new();
    // An end without close_notify would be an error here.
    data.read_to_end(&mut got).await.unwrap();
    assert!(got == bytes);
    client.must(226).await;
}

#[tokio::test]
async fn where_it_is_demanded_a_data_connection_resumes_its_own_control_connection() {
    let house = House::set(|settings| settings.session_reuse = crate::SessionReuse::Always).await;
    let without = |house: &House| {
        let mut config = ClientConfig::clone(&house.client);
        config.resumption = Resumption::disabled();
        Arc::new(config)
    };
    let fresh = |house: &House| {
        let mut config = ClientConfig::clone(&house.client);
        config.resumption = Resumption::in_memory_sessions(8);
        Arc::new(config)
    };
    let (mine, other) = (fresh(&house), fresh(&house));
    let mut client = house.secure_with(&mine).await;
    client.log_in().await;
    client.expect(&[("PBSZ 0", 200), ("PROT P", 200)]).await;
    let mut stranger = house.secure_with(&other).await;
    stranger.expect(&[("NOOP", 200)]).await;
    for (config, code) in [(&without(&house), 522), (&other, 522), (&mine, 226), (&mine, 226)] {
        let data = client.passive().await;
        client.expect(&[("NLST", 150)]).await;
        let mut got = Vec::new();
        if let Ok(mut data) = under_tls(data, config).await {
            let _ = data.read_to_end(&mut got).await;
        }
        client.must(code).await;
    }
}

#[tokio::test]
async fn what_is_no_tls_on_a_protected_data_connection_ends_that_transfer_alone() {
    let house = House::new().await;
    let mut client = house.secure_user().await;
    let mut data = client.passive().await;
    client.expect(&[("STOR x", 150)]).await;
    data.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    client.must(425).await;
    client.expect(&[("PWD", 257), ("SIZE x", 550)]).await;
}

#[tokio::test]
async fn text_has_the_line_ends_of_its_side() {
    let house = House::new().await;
    house.put("unix", b"one\ntwo\n");
    let mut client = house.user().await;
    client.expect(&[("TYPE A", 200), ("REST 5", 501), ("REST 0", 350)]).await;
    assert_eq!(client.get("RETR unix").await.0, b"one\r\ntwo\r\n");
    assert!(client.put("STOR dos", b"one\r\ntwo\r\n").await.starts_with("226"));
    assert_eq!(house.bytes("dos").unwrap(), b"one\ntwo\n");
    // A file that has the ends of the wire keeps them there, and a CR by itself is no end of a line.
    house.put("mixed", b"a\r\nb\rc\n\r\n\n\r");
    assert_eq!(client.get("RETR mixed").await.0, b"a\r\nb\rc\r\n\r\n\r\n\r");
    assert!(client.put("APPE dos", b"b\rc\r\r\n\r").await.starts_with("226"));
    assert_eq!(house.bytes("dos").unwrap(), b"one\ntwo\nb\rc\r\n\r");
    client.expect(&[("TYPE A T", 504), ("TYPE A N", 200), ("TYPE E", 504), ("TYPE L 8", 200)]).await;
    assert_eq!(client.get("RETR unix").await.0, b"one\ntwo\n");
}

#[tokio::test]
async fn an_offset_into_bytes_is_none_into_text() {
    let house = House::new().await;
    house.put("f", b"one\ntwo\n");
    let mut client = house.user().await;
    for (say, code) in [("RETR f", 554), ("STOR f", 554), ("RETR f", 150)] {
        let _data = client.passive().await;
        if code == 554 {
            client.expect(&[("TYPE I", 200), ("REST 2", 350), ("TYPE A", 200)]).await;
        }
        client.expect(&[(say, code)]).await;
    }
    client.must(226).await;
    assert_eq!(house.bytes("f").unwrap(), b"one\ntwo\n");
}

#[tokio::test]
async fn an_offset_is_gone_behind_a_transfer_or_an_offset_that_was_refused() {
    let house = House::new().await;
    let mut client = house.user().await;
    for refused in ["RETR", "STOR", "APPE", "REST", "REST -1"] {
        house.put("f", b"0123456789");
        client.expect(&[("REST 2", 350), (refused, 501)]).await;
        assert!(client.put("STOR f", b"new").await.starts_with("226"), "{refused}");
        assert_eq!(house.bytes("f").unwrap(), b"new", "{refused}");
    }
    client.expect(&[("REST 2", 350), ("SIZE", 501)]).await;
    assert_eq!(client.get("RETR f").await.0, b"w");
}

#[tokio::test]
async fn line_ends_are_right_wherever_the_pieces_end_with_and_without_tls() {
    let house = House::new().await;
    // Lines of odd lengths, so that every border of a piece falls into the middle of an end somewhere.
    let unix: Vec<u8> = (0..40_000).flat_map(|line| [vec![b'x'; line % 23], b"\n".to_vec()].concat()).collect();
    let wire: Vec<u8> = (0..40_000).flat_map(|line| [vec![b'x'; line % 23], b"\r\n".to_vec()].concat()).collect();
    house.put("unix", &unix);
    let mut client = house.user().await;
    client.expect(&[("TYPE A", 200)]).await;
    assert!(client.get("RETR unix").await.0 == wire);
    assert!(client.put("STOR back", &wire).await.starts_with("226"));
    assert!(house.bytes("back").unwrap() == unix);
    let mut client = house.secure_user().await;
    client.expect(&[("TYPE A", 200)]).await;
    let data = client.passive().await;
    client.expect(&[("RETR unix", 150)]).await;
    let mut got = Vec::new();
    under_tls(data, &house.client).await.unwrap().read_to_end(&mut got).await.unwrap();
    client.must(226).await;
    assert!(got == wire);
    let data = client.passive().await;
    client.expect(&[("STOR secure", 150)]).await;
    let mut data = under_tls(data, &house.client).await.unwrap();
    data.write_all(&wire).await.unwrap();
    data.shutdown().await.unwrap();
    client.must(226).await;
    assert!(house.bytes("secure").unwrap() == unix);
}

#[tokio::test]
async fn an_upload_past_the_quota_leaves_the_old_file() {
    let house = House::with(|_| {}, Some(300_000)).await;
    let mut client = house.user().await;
    assert!(client.put("STOR x", b"old").await.starts_with("226"));
    for length in [290_000_usize, 4 << 20] {
        let reply = client.put("STOR x", &some_bytes(length)).await;
        assert_eq!(reply.starts_with("226"), length < 300_000, "{length}: {reply}");
        assert!(length < 300_000 || reply.starts_with("552"), "{reply}");
    }
    assert!(house.bytes("x").unwrap() == some_bytes(290_000));
    client.expect(&[("ALLO 900000", 200)]).await;
    assert!(client.put("STOR y", b"1").await.starts_with("552"));
    assert!(client.put("STOR y", b"1").await.starts_with("226"));
}

#[tokio::test]
async fn room_that_is_asked_for_is_looked_at_once_and_from_where_the_upload_begins() {
    let house = House::with(|_| {}, Some(1000)).await;
    let mut client = house.user().await;
    assert!(client.put("STOR half", &[0; 500]).await.starts_with("226"));
    client.expect(&[("ALLO", 501), ("ALLO -1", 501), ("ALLO x", 501), ("ALLO 10 R 5", 200), ("ALLO 0", 200)]).await;
    assert!(client.put("STOR a", b"a").await.starts_with("226"));
    client.expect(&[("ALLO 600", 200)]).await;
    assert!(client.put("APPE half", b"b").await.starts_with("552"));
    // Whatever became of it, it was for that upload.
    assert!(client.put("APPE half", b"b").await.starts_with("226"));
    client.expect(&[("ALLO 300", 200)]).await;
    assert!(client.put("APPE half", b"b").await.starts_with("226"));
}

#[tokio::test]
async fn a_unique_name_is_told_and_new() {
    let house = House::new().await;
    std::fs::create_dir(house.root().join("d")).unwrap();
    let mut client = house.user().await;
    client.expect(&[("CWD d", 250)]).await;
    let mut names = Vec::new();
    // The name that some clients put behind it is not taken, and an offset means nothing here.
    for line in ["STOU", "STOU mine", "STOU ../up"] {
        client.expect(&[("REST 3", 350)]).await;
        let mut data = client.passive().await;
        let opening = client.expect(&[(line, 150)]).await;
        let name = opening.trim_end().strip_prefix("150 FILE: ").unwrap().to_owned();
        data.write_all(line.as_bytes()).await.unwrap();
        data.shutdown().await.unwrap();
        client.must(226).await;
        assert_eq!(house.bytes(&format!("d/{name}")).unwrap(), line.as_bytes());
        names.push(name);
    }
    names.sort();
    names.dedup();
    assert_eq!((names.len(), house.bytes("d/mine"), house.bytes("up")), (3, None, None));
}

#[tokio::test]
async fn active_mode_is_off_and_where_it_is_on_goes_to_the_client_alone() {
    let house = House::new().await;
    let mut client = house.user().await;
    client.expect(&[("PORT 127,0,0,1,200,1", 504), ("EPRT |1|127.0.0.1|2000|", 504), ("LIST", 425)]).await;
    let house = House::set(|settings| settings.active_mode = true).await;
    house.put("a", b"abc");
    let mut client = house.user().await;
    for (line, code) in [
        ("PORT 127,0,0,2,200,1", 501),
        ("PORT 127,0,0,1,0,21", 504),
        ("PORT 10,0,0,1,200,1", 501),
        ("EPRT |2|::1|2000|", 522),
        ("EPRT |3|somewhere|2000|", 522),
        ("EPRT |1|127.0.0.1|1023|", 504),
    ] {
        client.expect(&[(line, code), ("LIST", 425)]).await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    client.expect(&[(&format!("EPRT |1|127.0.0.1|{port}|"), 200)]).await;
    client.send("RETR a\r\n").await;
    let (mut data, _) = listener.accept().await.unwrap();
    client.must(150).await;
    let mut got = Vec::new();
    data.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"abc");
    client.must(226).await;
}

#[tokio::test]
async fn after_epsv_all_there_is_nothing_but_epsv() {
    let house = House::new().await;
    let mut client = house.user().await;
    client
        .expect(&[
            ("PASV", 227),
            ("EPSV 2", 522),
            ("EPSV 1", 229),
            ("EPSV ALL", 200),
            ("PASV", 501),
            ("PORT 127,0,0,1,200,1", 501),
            ("EPSV", 229),
        ])
        .await;
}
