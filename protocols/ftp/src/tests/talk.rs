//! What a guest can say, and how a conversation ends.

use super::house::House;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

#[tokio::test]
async fn folders_and_names_are_changed_as_the_replies_say() {
    let house = House::new().await;
    house.put("a \"b\"", b"abc");
    let mut client = house.user().await;
    client
        .expect(&[
            ("MKD d", 257),
            ("MKD d", 550),
            ("CWD d", 250),
            ("CDUP", 250),
            ("CDUP", 250),
            ("CWD ..", 550),
            ("CWD a \"b\"", 550),
        ])
        .await;
    assert!(client.say("CWD d").await.starts_with("250"));
    assert_eq!(client.say("PWD").await, "257 \"/d\" is the folder you are in\r\n");
    assert!(client.say("MKD /d/q\"q").await.starts_with("257 \"/d/q\"\"q\""));
    client
        .expect(&[
            ("RMD q\"q", 250),
            ("RNFR /a \"b\"", 350),
            ("RNTO c", 250),
            ("SIZE c", 213),
            ("DELE c", 250),
            ("DELE c", 550),
            ("RMD /d", 250),
        ])
        .await;
}

#[tokio::test]
async fn a_rename_is_two_commands_in_a_row() {
    let house = House::new().await;
    house.put("a", b"a");
    let mut client = house.user().await;
    client
        .expect(&[("RNTO b", 503), ("RNFR a", 350), ("PWD", 257), ("RNTO b", 503), ("RNFR nope", 550), ("RNTO b", 503)])
        .await;
    for (refused, code) in [("RNFR", 501), ("DELE", 501), ("TYPE X", 504), ("XYZZY", 500)] {
        client.expect(&[("RNFR a", 350), (refused, code), ("RNTO b", 503)]).await;
    }
    assert!(house.bytes("a").is_some());
}

#[tokio::test]
async fn a_name_above_the_root_is_as_absent_as_any_other() {
    let house = House::new().await;
    let mut client = house.user().await;
    for verb in ["RETR", "SIZE", "MDTM", "MLST", "DELE", "CWD", "RNFR", "HASH", "STAT"] {
        let mut replies = Vec::new();
        for name in ["../../etc/passwd", "nothing-here"] {
            let _port = client.say("EPSV").await;
            replies.push(client.say(&format!("{verb} {name}")).await);
        }
        let codes: Vec<_> = replies.iter().map(|reply| &reply[..3]).collect();
        assert_eq!(codes, ["550", "550"], "{verb}: {replies:?}");
    }
}

#[tokio::test]
async fn a_name_in_a_folder_cannot_forge_a_row_or_a_reply() {
    let house = House::new().await;
    house.put("x\r\n226 done\r\n", b"1");
    let mut client = house.user().await;
    let (rows, reply) = client.get("NLST").await;
    assert!(reply.starts_with("226"));
    assert_eq!(rows, b"x\\x0d\\x0a226 done\\x0d\\x0a\r\n");
    client.expect(&[("SIZE x\\x0d\\x0a226 done\\x0d\\x0a", 213)]).await;
    assert_eq!(client.say("STAT .").await.lines().count(), 3);
}

#[tokio::test]
async fn listings_come_in_three_shapes_and_a_missing_folder_is_an_error() {
    let house = House::new().await;
    std::fs::create_dir(house.root().join("sub")).unwrap();
    house.put("sub/one.txt", b"12345");
    house.put("sub/two.bin", b"");
    let mut client = house.user().await;
    let (rows, _) = client.get("LIST -la sub").await;
    let rows = String::from_utf8(rows).unwrap();
    assert!(rows.lines().all(|row| row.starts_with("-rw") && row.split_whitespace().count() == 9), "{rows}");
    let (names, _) = client.get("NLST sub/*.txt").await;
    assert_eq!(names, b"sub/one.txt\r\n");
    let (file, _) = client.get("LIST sub/one.txt").await;
    assert!(String::from_utf8(file).unwrap().ends_with(" one.txt\r\n"));
    client.expect(&[("OPTS MLST type;size;perm;", 200)]).await;
    let (facts, _) = client.get("MLSD sub").await;
    assert!(String::from_utf8(facts).unwrap().contains("type=file;size=5;perm=adfrw; one.txt\r\n"));
    assert!(client.say("MLST sub").await.contains("\r\n type=dir;perm=cdeflmp; /sub\r\n"));
    for line in ["LIST nope", "NLST nope", "MLSD nope", "MLSD sub/one.txt"] {
        assert!(client.get(line).await.1.starts_with("550"), "{line}");
    }
    let (nothing, reply) = client.get("NLST *.none").await;
    assert!(nothing.is_empty() && reply.starts_with("226"), "{reply}");
}

#[tokio::test]
async fn times_and_modes_are_set_and_told() {
    let house = House::new().await;
    house.put("a", b"a");
    let mut client = house.user().await;
    client.expect(&[("MFMT 20200102030405 a", 213)]).await;
    assert_eq!(client.say("MDTM a").await, "213 20200102030405\r\n");
    assert_eq!(
        client.say("MFF Modify=20210102030405;UNIX.mode=0600; a").await,
        "213 Modify=20210102030405;UNIX.mode=0600; a\r\n"
    );
    assert!(client.say("MLST a").await.contains("modify=20210102030405;perm=adfrw;"));
    client.expect(&[("SITE CHMOD 640 a", 200), ("SITE UTIME 20220102030405 a", 213), ("SITE UMASK 1", 504)]).await;
    assert!(client.say("MLST a").await.contains("UNIX.mode=0640;"));
}

#[tokio::test]
async fn sizes_and_digests_are_of_what_would_come() {
    let house = House::new().await;
    house.put("a", b"1\n2\n");
    let mut client = house.user().await;
    assert_eq!(client.say("SIZE a").await, "213 4\r\n");
    client.expect(&[("TYPE A", 200)]).await;
    assert_eq!(client.say("SIZE a").await, "213 6\r\n");
    client.expect(&[("OPTS HASH CRC32", 200), ("RANG 0 1", 350)]).await;
    assert_eq!(client.say("HASH a").await, "213 CRC32 0-1 83dcefb7 a\r\n");
    assert!(client.say("HASH a").await.starts_with("213 CRC32 0-4 "));
    assert_eq!(client.say("XMD5 \"a\" 0 1").await, "250 C4CA4238A0B923820DCC509A6F75849B\r\n");
    client.expect(&[("OPTS HASH NONE", 504), ("XCRC nope", 550), ("AVBL", 213), ("SIZE /", 550)]).await;
}

#[tokio::test]
async fn an_idle_session_ends_with_a_word() {
    let house = House::set(|settings| settings.idle = Duration::from_millis(50)).await;
    let mut client = house.user().await;
    client.must(421).await;
    client.must_be_closed().await;
}

#[tokio::test]
async fn a_stopping_server_ends_idle_sessions_at_once_and_lets_transfers_finish() {
    let house = House::new().await;
    let bytes = vec![7; 8 << 20];
    house.put("big", &bytes);
    let (mut idle, mut busy) = (house.user().await, house.user().await);
    let mut data = busy.passive().await;
    busy.expect(&[("RETR big", 150)]).await;
    house.stop.stop();
    idle.must(421).await;
    idle.must_be_closed().await;
    let mut got = Vec::new();
    data.read_to_end(&mut got).await.unwrap();
    assert!(got == bytes);
    busy.must(226).await;
    busy.must(421).await;
}

#[tokio::test]
async fn a_session_that_is_ended_is_closed_in_the_middle_of_a_transfer() {
    let house = House::new().await;
    let mut client = house.user().await;
    let mut data = client.passive().await;
    client.expect(&[("STOR x", 150)]).await;
    data.write_all(b"some bytes").await.unwrap();
    house.end.send_replace(true);
    client.must(421).await;
    client.must_be_closed().await;
    assert_eq!(house.bytes("x"), None);
}

#[tokio::test]
async fn abor_stat_and_noop_are_answered_during_a_transfer() {
    let house = House::new().await;
    house.put("big", &vec![1; 32 << 20]);
    let mut client = house.user().await;
    let mut data = client.passive().await;
    client.expect(&[("RETR big", 150), ("NOOP", 200)]).await;
    assert!(client.say("STAT").await.contains("RETR /big"));
    client.expect(&[("ABOR", 426)]).await;
    client.must(226).await;
    let mut rest = Vec::new();
    let _ = data.read_to_end(&mut rest).await;
    assert!(rest.len() < 32 << 20);
    client.expect(&[("ABOR", 226), ("PWD", 257)]).await;
}

#[tokio::test]
async fn a_command_that_comes_during_a_transfer_has_its_turn_after_it() {
    let house = House::new().await;
    let mut client = house.user().await;
    let mut data = client.passive().await;
    client.expect(&[("STOR x", 150)]).await;
    client.send("SIZE x\r\nQUIT\r\n").await;
    data.write_all(b"12345").await.unwrap();
    data.shutdown().await.unwrap();
    client.must(226).await;
    assert_eq!(client.reply().await, "213 5\r\n");
    client.must(221).await;
}

#[tokio::test]
async fn a_client_that_leaves_breaks_its_transfer_off_unless_it_said_quit() {
    let house = House::new().await;
    for (name, last_word) in [("left", ""), ("quit", "QUIT\r\n")] {
        let mut client = house.user().await;
        let mut data = client.passive().await;
        client.expect(&[(&format!("STOR {name}"), 150)]).await;
        client.send(&format!("NOOP\r\nPWD\r\n{last_word}")).await;
        client.must(200).await;
        client.stream.shutdown().await.unwrap();
        if last_word.is_empty() {
            client.must_be_closed().await;
        }
        let _ = data.write_all(b"12345").await;
        let _ = data.shutdown().await;
        client.reply().await;
        assert_eq!(house.bytes(name).is_some(), !last_word.is_empty());
    }
}
