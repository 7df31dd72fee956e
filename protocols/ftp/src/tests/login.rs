//! From the greeting to a session, and what must not lead there.

use super::house::House;
use crate::{CodePrompt, FtpSettings};
use std::sync::atomic::Ordering;

#[tokio::test]
async fn a_burst_of_passwords_opens_only_where_asking_one_by_one_would_have() {
    for (place, opens) in [(1, true), (3, true), (4, false), (50, false)] {
        let house = House::new().await;
        let mut client = house.connect().await;
        let tries = (1..=60).map(|n| format!("USER alice\r\nPASS {}\r\n", if n == place { "right" } else { "wrong" }));
        client.send(&tries.collect::<String>()).await;
        let mut said = String::new();
        loop {
            let reply = client.reply().await;
            if reply.is_empty() || reply.starts_with("230") {
                assert_eq!(reply.starts_with("230"), opens, "place {place}: {said}{reply}");
                break;
            }
            said.push_str(&reply);
        }
        assert!(opens || said.trim_end().lines().last().unwrap().starts_with("421"), "{said}");
        assert_eq!(house.tries.load(Ordering::SeqCst), place.min(3));
    }
}

#[tokio::test]
async fn every_denied_login_gets_the_same_reply() {
    let house = House::new().await;
    let mut replies = Vec::new();
    for (name, password) in [("alice", "wrong"), ("nobody", "right"), ("alice", ""), ("a\u{1}b", "x")] {
        let mut client = house.connect().await;
        let asked = client.say(&format!("USER {name}")).await;
        replies.push((asked, client.say(&format!("PASS {password}")).await));
    }
    assert!(replies.windows(2).all(|pair| pair[0] == pair[1]), "{replies:?}");
}

#[tokio::test]
async fn before_a_login_no_command_touches_a_file_or_opens_a_port() {
    let house = House::new().await;
    let mut client = house.connect().await;
    for line in [
        "LIST",
        "RETR x",
        "STOR x",
        "MKD x",
        "RNTO x",
        "PASV",
        "EPSV",
        "PORT 1",
        "SITE CHMOD 777 x",
        "SITE",
        "STAT",
        "ABOR",
        "OPTS MLST size;",
        "REST x",
    ] {
        let reply = client.say(line).await;
        assert!(reply.starts_with("530"), "{line}: {reply}");
    }
    client
        .expect(&[
            ("FEAT", 211),
            ("SYST", 215),
            ("OPTS UTF8 ON", 200),
            ("HOST ftp.example.org", 220),
            ("CLNT x", 200),
            ("NOOP", 200),
            ("PASS right", 503),
        ])
        .await;
    assert_eq!(house.tries.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_is_not_ftp_gets_no_byte_and_three_unknown_words_are_the_end() {
    let house = House::new().await;
    for line in ["GET / HTTP/1.1", "SSH-2.0-x", "\u{16}\u{3}\u{1}", "{\"a\":1}"] {
        let mut client = house.connect().await;
        client.send(&format!("{line}\r\n")).await;
        client.must_be_closed().await;
    }
    let mut client = house.connect().await;
    client.expect(&[("HELO", 500), ("EHLO", 500), ("MAIL", 421)]).await;
    client.must_be_closed().await;
    // Whoever has logged in may mistype.
    let mut client = house.user().await;
    client.expect(&[("HELO", 500), ("EHLO", 500), ("MAIL", 500), ("GET x", 500), ("NOOP", 200)]).await;
}

#[tokio::test]
async fn a_line_without_an_end_is_cut_off() {
    let house = House::new().await;
    let mut client = house.connect().await;
    client.send(&"A".repeat(10_000)).await;
    client.must(500).await;
    client.must_be_closed().await;
}

#[tokio::test]
async fn nothing_said_before_tls_counts_after_it() {
    let house = House::new().await;
    let mut client = house.connect().await;
    // Commands behind AUTH in one piece are never obeyed.
    client.send("AUTH TLS\r\nUSER alice\r\nPASS right\r\n").await;
    client.must(421).await;
    client.must_be_closed().await;
    assert_eq!(house.tries.load(Ordering::SeqCst), 0);
    // A name from before is forgotten.
    let mut stream = tokio::net::TcpStream::connect(house.at).await.unwrap();
    {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut came = [0; 512];
        stream.write_all(b"USER alice\r\n").await.unwrap();
        let mut said = String::new();
        while !said.contains("331") {
            let length = stream.read(&mut came).await.unwrap();
            said.push_str(std::str::from_utf8(&came[..length]).unwrap());
        }
        stream.write_all(b"AUTH TLS\r\n").await.unwrap();
        let length = stream.read(&mut came).await.unwrap();
        assert!(came[..length].starts_with(b"234"));
    }
    let stream = super::house::under_tls(stream, &house.client).await.unwrap();
    let mut client = super::house::Client::over(Box::new(stream));
    client
        .expect(&[
            ("PASS right", 503),
            ("AUTH TLS", 503),
            ("USER alice", 331),
            ("PASS right", 230),
            ("CCC", 533),
            ("REIN", 502),
        ])
        .await;
}

#[tokio::test]
async fn where_tls_is_demanded_nothing_in_clear_gets_as_far_as_a_password() {
    let house = House::set(|settings: &mut FtpSettings| settings.require_secure = true).await;
    let mut client = house.connect().await;
    client.expect(&[("USER alice", 530), ("PASS right", 530), ("ACCT 1", 530), ("LIST", 530)]).await;
    assert_eq!(house.tries.load(Ordering::SeqCst), 0);
    let mut client = house.secure().await;
    client.log_in().await;
    client
        .expect(&[
            ("EPSV", 229),
            ("LIST", 521),
            ("PROT P", 503),
            ("PBSZ 0", 200),
            ("PROT C", 534),
            ("PROT P", 200),
            ("PROT S", 536),
        ])
        .await;
}

#[tokio::test]
async fn under_implicit_tls_the_greeting_comes_after_the_handshake() {
    let house = House::set(|settings: &mut FtpSettings| settings.implicit = true).await;
    let stream = tokio::net::TcpStream::connect(house.at).await.unwrap();
    let stream = super::house::under_tls(stream, &house.client).await.unwrap();
    let mut client = super::house::Client::over(Box::new(stream));
    client.must(220).await;
    client.expect(&[("AUTH TLS", 503), ("USER alice", 331), ("PASS right", 230)]).await;
    // Text where TLS is expected is no conversation.
    let mut client = super::house::Client::over(Box::new(tokio::net::TcpStream::connect(house.at).await.unwrap()));
    client.send("USER alice\r\n").await;
    assert!(!client.reply().await.starts_with("220"));
}

#[tokio::test]
async fn where_the_client_can_be_asked_the_code_comes_by_acct() {
    let house = House::set(|settings: &mut FtpSettings| settings.code_prompt = CodePrompt::Account).await;
    let mut client = house.connect().await;
    client
        .expect(&[
            ("ACCT 123456", 503),
            ("USER alice", 331),
            ("PASS half", 332),
            ("ACCT 000000", 332),
            ("ACCT 123456", 230),
            ("PWD", 257),
        ])
        .await;
    let mut client = house.connect().await;
    client.expect(&[("USER alice", 331), ("PASS half", 332), ("ACCT 1", 332), ("ACCT 2", 332), ("ACCT 3", 530)]).await;
    client.must(421).await;
    client.must_be_closed().await;
    // A question is for the name that it was asked of.
    let mut client = house.connect().await;
    client.expect(&[("USER alice", 331), ("PASS half", 332), ("USER bob", 331), ("ACCT 123456", 503)]).await;
}

#[tokio::test]
async fn rein_ends_the_session_and_all_that_was_set() {
    let house = House::new().await;
    house.put("a", b"a");
    let mut client = house.user().await;
    client
        .expect(&[
            ("RNFR a", 350),
            ("REIN", 220),
            ("RNTO b", 530),
            ("PWD", 530),
            ("USER alice", 331),
            ("PASS right", 230),
            ("RNTO b", 503),
        ])
        .await;
}

#[tokio::test]
async fn too_much_going_on_is_told_as_such() {
    let house = House::new().await;
    let mut client = house.connect().await;
    client.expect(&[("USER busy", 331), ("PASS x", 421)]).await;
    client.must_be_closed().await;
}
