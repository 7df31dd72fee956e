//! The two that are asked: a server, a folder behind it, and the connection to it.

use super::words::Way;
use crate::tests::house::Client;
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    time::timeout,
};

/// How long a reply or the end of a data connection is waited for; what takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server to talk to.
pub(super) struct Place {
    pub(super) name: &'static str,
    pub(super) at: SocketAddr,
    pub(super) root: PathBuf,
    /// Who files belong to, where the server is not who runs the tests.
    pub(super) owner: Option<u32>,
    /// Its name for `alice`.
    pub(super) alice: &'static str,
}

/// What is in the folder: the bytes of files, nothing for folders.
pub(super) type Tree = BTreeMap<String, Option<Vec<u8>>>;

impl Place {
    /// Empties the folder and lays out what every session begins with.
    pub(super) fn furnish(&self) {
        for entry in std::fs::read_dir(&self.root).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                std::fs::remove_dir_all(entry.path()).unwrap();
            } else {
                std::fs::remove_file(entry.path()).unwrap();
            }
        }
        // Not the moment of the test: times can be compared then.
        let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
        for folder in ["d", "d/e", "empty", "d e"] {
            std::fs::create_dir(self.root.join(folder)).unwrap();
            self.give(&self.root.join(folder));
        }
        let files: &[(&str, &[u8])] = &[
            ("a", b"0123456789"),
            ("text", b"one\ntwo\r\nthree\rend\n"),
            ("d/c", b"c"),
            ("d/e/f", &[7; 100_000]),
            ("a b", b"blank"),
            ("caf\u{e9}", b"accent"),
        ];
        for (name, bytes) in files {
            let path = self.root.join(name);
            std::fs::write(&path, bytes).unwrap();
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
            self.give(&path);
        }
    }

    fn give(&self, path: &Path) {
        if let Some(owner) = self.owner {
            std::os::unix::fs::chown(path, Some(owner), None).unwrap();
        }
    }

    /// Says whether the server may write into the folder itself. vsftpd lets no guest in where he may, and asks only then.
    fn let_write(&self, may: bool) {
        if let Some(owner) = self.owner {
            std::os::unix::fs::chown(&self.root, Some(if may { owner } else { 0 }), None).unwrap();
        }
    }

    /// What is there now.
    pub(super) fn tree(&self) -> Tree {
        let (mut found, mut open) = (Tree::new(), vec![(self.root.clone(), String::new())]);
        while let Some((folder, prefix)) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                // Uploads that were broken off are kept, and are no part of what a client sees.
                if name.contains(".lockgate-") {
                    continue;
                }
                if entry.file_type().unwrap().is_dir() {
                    open.push((entry.path(), format!("{name}/")));
                    found.insert(name, None);
                } else {
                    found.insert(name, Some(std::fs::read(entry.path()).unwrap()));
                }
            }
        }
        found
    }
}

/// What came of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    /// The codes of all replies.
    pub(super) codes: String,
    /// What in the reply has one meaning on every server: a path, a size, a time that the test set.
    pub(super) told: String,
    /// What came over the data connection.
    pub(super) data: Option<Vec<u8>>,
    /// What the server said, for whoever reads a failure.
    pub(super) said: String,
}

/// Somebody who talks to one of them.
pub(super) struct Side<'a> {
    pub(super) place: &'a Place,
    /// `None` after the server has closed.
    client: Option<Client>,
}

impl<'a> Side<'a> {
    /// Connects, and logs in.
    pub(super) async fn new(place: &'a Place, logs_in: bool) -> Self {
        let mut side = Self { place, client: None };
        side.again(logs_in).await;
        side
    }

    /// Leaves, connects, and logs in.
    pub(super) async fn again(&mut self, logs_in: bool) {
        self.place.let_write(false);
        let _told = OnPanic(self.place);
        let mut client = Client::over(Box::new(TcpStream::connect(self.place.at).await.unwrap()));
        client.must(220).await;
        if logs_in {
            client.expect(&[(&format!("USER {}", self.place.alice), 331), ("PASS right", 230), ("TYPE I", 200)]).await;
            self.place.let_write(true);
        }
        self.client = Some(client);
    }

    /// Whether the server has closed.
    pub(super) const fn is_closed(&self) -> bool {
        self.client.is_none()
    }

    /// Says a line that needs no data.
    pub(super) async fn speak(&mut self, line: &str) -> Outcome {
        let mut outcome = Outcome::default();
        self.say(line, &mut outcome).await;
        self.probe(&mut outcome).await;
        if ["CWD", "CDUP", "XCWD", "XCUP"].contains(&line.split(' ').next().unwrap_or_default())
            && outcome.codes.starts_with('2')
        {
            let mut place = Outcome::default();
            self.say("PWD", &mut place).await;
            outcome.told = place.told;
        }
        outcome
    }

    /// Some servers end the connection behind a line that they do not understand, and say so only by that.
    async fn probe(&mut self, outcome: &mut Outcome) {
        if outcome.codes.starts_with("50") && self.client.is_some() {
            let mut probe = Outcome::default();
            self.say("NOOP", &mut probe).await;
            if self.client.is_none() {
                outcome.codes.push_str(" closed");
            }
        }
    }

    async fn say(&mut self, line: &str, outcome: &mut Outcome) {
        let line = if line == "USER alice" { format!("USER {}", self.place.alice) } else { line.to_owned() };
        let Some(client) = &mut self.client else { return outcome.codes.push_str("closed") };
        client.send(&format!("{line}\r\n")).await;
        self.hear(outcome).await;
        let last = outcome.said.lines().last().unwrap_or_default();
        outcome.told = match (line.split(' ').next().unwrap_or_default(), outcome.codes.as_str()) {
            ("PWD" | "XPWD", "257") => last.rsplit('"').nth(1).unwrap_or_default().to_owned(),
            ("SIZE", "213") => last[4..].to_owned(),
            // Of files that the session made only the year is sure.
            ("MDTM", "213") => if last.starts_with("213 2020") { &last[4..] } else { "now" }.to_owned(),
            _ => String::new(),
        };
    }

    /// Takes replies until one is the last.
    async fn hear(&mut self, outcome: &mut Outcome) {
        loop {
            let Some(client) = &mut self.client else { return };
            let reply = timeout(PATIENCE, client.reply()).await;
            let (code, text) = match &reply {
                Ok(reply) if reply.is_empty() => ("closed", ""),
                Ok(reply) => (&reply[..3], reply.as_str()),
                Err(_) => ("silence", ""),
            };
            outcome.said.push_str(text);
            if !outcome.codes.is_empty() {
                outcome.codes.push(' ');
            }
            outcome.codes.push_str(code);
            if code == "230" {
                self.place.let_write(true);
            }
            if matches!(code, "closed" | "silence" | "421" | "221") {
                self.client = None;
            }
            if !code.starts_with('1') {
                return;
            }
        }
    }

    /// Agrees on a data connection: what was said, and the connection where there is to be one.
    pub(super) async fn agree(&mut self, way: Way) -> (Outcome, Option<Link>) {
        if matches!(way, Way::Pasv | Way::Epsv) {
            let outcome = self.speak(way.verb()).await;
            let Some(port) = port(&outcome) else { return (outcome, None) };
            let stream = TcpStream::connect(("127.0.0.1", port)).await.ok();
            return (outcome, stream.map(Link::There));
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let [high, low] = port.to_be_bytes();
        let line = if way == Way::Port {
            format!("PORT 127,0,0,1,{high},{low}")
        } else {
            format!("EPRT |1|127.0.0.1|{port}|")
        };
        let outcome = self.speak(&line).await;
        let link = outcome.codes.starts_with('2').then_some(Link::Comes(listener));
        (outcome, link)
    }

    /// Says a line that moves data, and moves it.
    pub(super) async fn transfer(&mut self, link: Link, line: &str, bytes: Option<&[u8]>) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(client) = &mut self.client else { return outcome };
        client.send(&format!("{line}\r\n")).await;
        let moving = tokio::spawn(carry(link, bytes.map(<[u8]>::to_vec)));
        self.hear(&mut outcome).await;
        if outcome.codes.starts_with('1') {
            let came = timeout(PATIENCE, moving).await.ok().and_then(Result::unwrap);
            outcome.data = came.filter(|_| bytes.is_none());
        } else {
            moving.abort();
            self.probe(&mut outcome).await;
        }
        outcome
    }
}

/// A data connection.
pub(super) enum Link {
    There(TcpStream),
    /// The server is to come to it.
    Comes(TcpListener),
}

fn port(outcome: &Outcome) -> Option<u16> {
    if outcome.codes == "229" {
        return outcome.said.split('|').nth(3)?.parse().ok();
    }
    let inside = outcome.said.strip_prefix("227")?.split(['(', ')']).nth(1)?;
    let numbers: Vec<u16> = inside.split(',').filter_map(|number| number.parse().ok()).collect();
    Some(numbers.get(4)? * 256 + numbers.get(5)?)
}

/// Sends what is to be sent, and takes what comes; nothing where it broke.
async fn carry(link: Link, bytes: Option<Vec<u8>>) -> Option<Vec<u8>> {
    let mut stream = match link {
        Link::There(stream) => stream,
        Link::Comes(listener) => listener.accept().await.ok()?.0,
    };
    if let Some(bytes) = bytes {
        stream.write_all(&bytes).await.ok()?;
        stream.shutdown().await.ok()?;
    }
    let mut came = Vec::new();
    stream.read_to_end(&mut came).await.ok()?;
    Some(came)
}

/// Says which of the two it was that nobody could log in to.
struct OnPanic<'a>(&'a Place);

impl Drop for OnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the login at {} did not come about", self.0.name);
        }
    }
}
