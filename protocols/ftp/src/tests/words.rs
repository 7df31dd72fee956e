//! Replies in an operator's words, and the states between which a conversation goes.

use super::house::House;
use crate::{FtpSettings, FtpTexts};
use std::time::{Duration, Instant};

#[tokio::test]
async fn an_operators_words_are_one_reply_each() {
    let house = House::set(|settings: &mut FtpSettings| {
        settings.texts = FtpTexts {
            greeting: Some("Welcome, {client_ip}\n230 Logged in\nby {protocol}".into()),
            logged_in: Some("Hello {user_name}\nand welcome".into()),
            goodbye: Some("Goodbye {user_name}".into()),
            denied: Some("Not you.\nAsk the desk.".into()),
        };
    })
    .await;
    let mut client = super::house::Client::over(Box::new(tokio::net::TcpStream::connect(house.at).await.unwrap()));
    assert_eq!(client.must(220).await, "220-Welcome, 127.0.0.1\r\n220-230 Logged in\r\n220 by ftp\r\n");
    let mut denials = Vec::new();
    for (name, password) in [("alice", "wrong"), ("nobody", "right")] {
        client.expect(&[(&format!("USER {name}"), 331)]).await;
        denials.push(client.say(&format!("PASS {password}")).await);
    }
    assert_eq!(denials, ["530-Not you.\r\n530 Ask the desk.\r\n"; 2]);
    client.expect(&[("USER alice", 331)]).await;
    assert_eq!(client.say("PASS right").await, "230-Hello alice\r\n230 and welcome\r\n");
    assert_eq!(client.say("QUIT").await, "221 Goodbye alice\r\n");
    let mut client = house.connect().await;
    assert_eq!(client.say("QUIT").await, "221 Goodbye \r\n");
}

#[tokio::test]
async fn after_rein_somebody_must_log_in_within_the_time_of_a_stranger() {
    let house = House::new().await;
    let mut client = house.user().await;
    let begun = Instant::now();
    client.expect(&[("REIN", 220), ("NOOP", 200)]).await;
    client.must(421).await;
    client.must_be_closed().await;
    assert!(begun.elapsed() >= Duration::from_secs(1));
    let mut client = house.user().await;
    client.expect(&[("REIN", 220), ("HOST x", 220), ("USER alice", 331), ("HOST x", 503), ("PASS right", 230)]).await;
    // Nothing tells that a clock stands still.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    client.expect(&[("PWD", 257), ("HOST x", 503)]).await;
}
