//! scp over a real store: the conversation as OpenSSH's client leads it.

use super::{
    Direction, Plan, sink, source,
    talk::{Break, Talk},
};
use crate::testing::{Folder, all_rights};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex},
    task::JoinHandle,
};

/// The client's end of a running scp.
struct Client {
    pipe: DuplexStream,
    server: JoinHandle<Result<(), Break>>,
}

impl Client {
    async fn run(folder: &Folder, command: &str) -> Self {
        let vfs = folder.view(all_rights(), "one").await;
        let plan = Plan::parse(command.as_bytes()).unwrap();
        let (pipe, theirs) = duplex(1 << 20);
        let server = tokio::spawn(async move {
            let (from, to) = tokio::io::split(theirs);
            let mut talk = Talk::new(from, to, Duration::from_secs(5));
            match plan.direction {
                Direction::Receive => sink::receive(&plan, &vfs, &mut talk).await,
                Direction::Send => source::send(&plan, &vfs, &mut talk).await,
            }
        });
        Self { pipe, server }
    }

    async fn say(&mut self, bytes: &[u8]) -> &mut Self {
        self.pipe.write_all(bytes).await.unwrap();
        self
    }

    /// The server's answer: nothing where it is well, its words where it is not.
    async fn answer(&mut self) -> String {
        match self.pipe.read_u8().await.unwrap() {
            0 => String::new(),
            _ => self.line().await,
        }
    }

    async fn line(&mut self) -> String {
        let mut line = Vec::new();
        loop {
            match self.pipe.read_u8().await.unwrap() {
                b'\n' => return String::from_utf8(line).unwrap(),
                byte => line.push(byte),
            }
        }
    }

    async fn well(&mut self) {
        assert_eq!(self.answer().await, "");
    }

    async fn end(mut self) -> Result<(), Break> {
        self.pipe.shutdown().await.unwrap();
        self.server.await.unwrap()
    }
}

#[tokio::test]
async fn a_file_is_stored_after_its_last_byte_and_the_client_s_word() {
    let folder = Folder::new();
    let mut client = Client::run(&folder, "scp -t /a").await;
    client.well().await;
    client.say(b"C0640 5 ignored\n").await.well().await;
    client.say(b"hello").await;
    assert_eq!(folder.bytes("a"), None);
    client.say(b"\0").await.well().await;
    assert_eq!(folder.bytes("a").unwrap(), b"hello");
    assert_eq!(client.end().await, Ok(()));
}

#[tokio::test]
async fn a_file_that_is_cut_off_or_taken_back_is_not_stored() {
    let folder = Folder::new();
    let mut client = Client::run(&folder, "scp -t /a").await;
    client.well().await;
    client.say(b"C0640 5 a\n").await.well().await;
    client.say(b"hel").await;
    assert_eq!(client.end().await, Err(Break::Gone));
    assert_eq!(folder.bytes("a"), None);

    let mut client = Client::run(&folder, "scp -t /a").await;
    client.well().await;
    client.say(b"C0640 5 a\n").await.well().await;
    client.say(b"hello\x01scp: the disk here has a fault\n").await.well().await;
    assert_eq!(client.end().await, Err(Break::Told));
    assert_eq!(folder.bytes("a"), None);
}

#[tokio::test]
async fn a_folder_arrives_with_its_times_and_nothing_outside_it() {
    let folder = Folder::new();
    let mut client = Client::run(&folder, "scp -r -p -t /").await;
    client.well().await;
    for line in ["T1000000000 0 1000000001 0\n", "D0750 0 sub\n", "T1100000000 0 1100000000 0\n", "C0600 2 one\n"] {
        client.say(line.as_bytes()).await.well().await;
    }
    client.say(b"ab\0").await.well().await;
    client.say(b"E\n").await.well().await;
    client.say(b"C0644 1 ../up\n").await;
    assert!(client.answer().await.contains("not of scp"));
    assert_eq!(client.end().await, Err(Break::Told));
    assert_eq!(folder.bytes("sub/one").unwrap(), b"ab");
    let modified = |name: &str| {
        let time = std::fs::metadata(folder.on_disk(name)).unwrap().modified().unwrap();
        time.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
    };
    assert_eq!((modified("sub/one"), modified("sub")), (1_100_000_000, 1_000_000_000));
}

#[tokio::test]
async fn a_file_that_cannot_be_stored_is_told_and_the_next_one_goes_on() {
    let folder = Folder::new();
    let mut client = Client::run(&folder, "scp -t /").await;
    client.well().await;
    std::fs::create_dir(folder.on_disk("taken")).unwrap();
    client.say(b"C0644 3 taken\n").await;
    assert!(client.answer().await.contains("is a folder"));
    client.say(b"C0644 3 free\n").await.well().await;
    client.say(b"abc\0").await.well().await;
    assert_eq!(client.end().await, Err(Break::Told));
    assert_eq!(folder.bytes("free").unwrap(), b"abc");
}

#[tokio::test]
async fn folders_and_patterns_are_sent_as_asked() {
    let folder = Folder::new();
    folder.view(all_rights(), "zero").await;
    std::fs::create_dir_all(folder.on_disk("d/e")).unwrap();
    std::fs::write(folder.on_disk("d/a.txt"), b"12345").unwrap();
    std::fs::write(folder.on_disk("d/b.bin"), b"b").unwrap();

    let mut client = Client::run(&folder, "scp -f /d/*.txt").await;
    client.say(b"\0").await;
    assert!(client.line().await.ends_with(" 5 a.txt"));
    client.say(b"\0").await;
    let mut data = [0; 6];
    client.pipe.read_exact(&mut data).await.unwrap();
    assert_eq!(&data, b"12345\0");
    client.say(b"\0").await;
    assert_eq!(client.end().await, Ok(()));

    let mut client = Client::run(&folder, "scp -f /d").await;
    client.say(b"\0").await;
    assert!(client.answer().await.contains("is a folder"));
    assert_eq!(client.end().await, Err(Break::Told));

    let mut client = Client::run(&folder, "scp -r -f /d/e").await;
    client.say(b"\0").await;
    assert!(client.line().await.starts_with('D'));
    client.say(b"\0").await;
    assert_eq!(client.line().await, "E");
    client.say(b"\0").await;
    assert_eq!(client.end().await, Ok(()));
}
