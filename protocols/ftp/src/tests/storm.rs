//! Random conversations: whatever a client sends, the door lives, answers in well-formed lines, and lets the next one in.

use super::house::House;
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

const WORDS: &[&str] = &[
    "USER alice",
    "PASS right",
    "PASS wrong",
    "AUTH TLS",
    "PBSZ 0",
    "PROT P",
    "PROT C",
    "CCC",
    "FEAT",
    "REIN",
    "SYST",
    "PASV",
    "EPSV",
    "EPSV ALL",
    "PORT 127,0,0,1,0,1",
    "LIST",
    "NLST *",
    "MLSD",
    "MLST",
    "RETR a",
    "STOR b",
    "STOU",
    "APPE b",
    "REST 3",
    "REST -1",
    "TYPE A",
    "TYPE I",
    "MODE Z",
    "MODE S",
    "OPTS MODE Z LEVEL 3",
    "ALLO 5",
    "RNFR a",
    "RNTO c",
    "DELE c",
    "MKD d",
    "CWD d",
    "CWD ..",
    "CDUP",
    "RMD d",
    "SIZE a",
    "MDTM a",
    "HASH a",
    "XCRC a",
    "ABOR",
    "STAT",
    "STAT .",
    "NOOP",
    "SITE CHMOD 0 a",
    "OPTS MLST x",
    "HOST x",
    "ACCT 1",
    "\u{ff}\u{f4}ABOR",
];

#[tokio::test]
async fn no_conversation_stops_the_door() {
    let house = House::set(|settings| settings.idle = Duration::from_millis(300)).await;
    house.put("a", b"some bytes");
    let mut runner = TestRunner::new(Config::default());
    let piece = prop_oneof![
        8 => proptest::sample::select(WORDS).prop_map(|word| format!("{word}\r\n").into_bytes()),
        1 => proptest::sample::select(WORDS).prop_map(|word| format!("{word}\n").into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
        1 => Just(b"\xff\xf4\xff\xf2ABOR\r\n".to_vec()),
    ];
    let storm = (any::<bool>(), proptest::collection::vec(piece, 0..30));
    for _ in 0..40 {
        let (logged_in, pieces) = storm.new_tree(&mut runner).unwrap().current();
        let mut stream = TcpStream::connect(house.at).await.unwrap();
        let mut sent = if logged_in { b"USER alice\r\nPASS right\r\n".to_vec() } else { Vec::new() };
        sent.extend(pieces.concat());
        let (mut read, mut write) = stream.split();
        let mut said = Vec::new();
        let talk = async {
            let _ = write.write_all(&sent).await;
            let _ = write.shutdown().await;
            let _ = read.read_to_end(&mut said).await;
        };
        assert!(
            timeout(Duration::from_secs(20), talk).await.is_ok(),
            "hangs after {:?}",
            String::from_utf8_lossy(&sent)
        );
        if let Ok(text) = std::str::from_utf8(&said) {
            assert!(text.is_empty() || text.ends_with("\r\n"), "{text:?}");
        }
    }
    house.user().await.expect(&[("PWD", 257)]).await;
}
