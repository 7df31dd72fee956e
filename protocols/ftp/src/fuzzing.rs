//! What the fuzzers in `fuzz/` reach of this door, and nothing that ships: only the feature `fuzzing` has it.
//!
//! The parts of the door are private, and a fuzzer is another program. Here are the pure ones as functions over bytes, and
//! the whole door over a porter that knows one password and counts whom it let in.

use crate::{
    FtpDoor, FtpSettings,
    command::{self, Command, Fault},
    line::{Lines, TooLong},
    names,
    porter::{Guest, Porter, Question, Verdict},
};
use lockgate_access::Activity;
use lockgate_model::{Origin, Secret, VPath};
use lockgate_net::TlsMaterial;
use lockgate_vfs::Vfs;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// The lines of what came in these pieces, and whether one of them was longer than the limit (then it is the end).
#[must_use]
pub fn lines<'a>(limit: usize, pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, bool) {
    let (mut lines, mut found) = (Lines::new(limit), Vec::new());
    for piece in pieces {
        lines.feed(piece);
        loop {
            match lines.next() {
                Ok(Some(line)) => found.push(line.to_vec()),
                Ok(None) => break,
                Err(TooLong) => return (found, true),
            }
        }
    }
    (found, false)
}

/// What a line was taken for.
#[derive(Debug, PartialEq, Eq)]
pub enum Understood {
    /// A command of anybody.
    Open,
    /// A command of users.
    Inside,
    /// Another protocol.
    Foreign,
    /// No command.
    Unknown,
    /// A command that was not given rightly: whether it is one of users, and the bytes of the reply.
    Refused(bool, Vec<u8>),
}

/// Understands a line.
#[must_use]
pub fn understand(line: &[u8]) -> Understood {
    match command::parse(line) {
        Ok(Command::Open(_)) => Understood::Open,
        Ok(Command::Inside(_)) => Understood::Inside,
        Err(Fault::Foreign) => Understood::Foreign,
        Err(Fault::Unknown) => Understood::Unknown,
        Err(Fault::Refused { inside, reply }) => Understood::Refused(inside, reply.encode()),
    }
}

/// The path that a name means from a folder; the bytes of the reply where it means none.
///
/// # Errors
/// That reply.
pub fn path(cwd: &VPath, name: &[u8]) -> Result<VPath, Vec<u8>> {
    names::path(cwd, name).map_err(|reply| reply.encode())
}

/// A name as it is shown.
#[must_use]
pub fn shown(name: &[u8]) -> String {
    names::shown(name)
}

/// Whether a name fits a pattern.
#[must_use]
pub fn fits(pattern: &[u8], name: &[u8]) -> bool {
    names::fits(pattern, name)
}

/// A door over one tree: `alice` gets in with the password `right`, and with `half` and the code `123456`. The number counts
/// whom it let in.
#[must_use]
pub fn door(tree: Vfs, settings: FtpSettings, tls: TlsMaterial) -> (FtpDoor, Arc<AtomicUsize>) {
    let granted = Arc::new(AtomicUsize::new(0));
    let porter = OnePassword { tree, granted: Arc::clone(&granted) };
    (FtpDoor::with_porter(Box::new(porter), settings, tls), granted)
}

#[derive(Clone)]
struct OnePassword {
    tree: Vfs,
    granted: Arc<AtomicUsize>,
}

impl OnePassword {
    fn grant(&self) -> Verdict {
        self.granted.fetch_add(1, Ordering::SeqCst);
        let guest = Guest { vfs: self.tree.clone(), name: "alice".into(), activity: Activity::default(), _hold: None };
        Verdict::Granted(guest, Box::pin(std::future::pending()))
    }
}

#[async_trait::async_trait]
impl Porter for OnePassword {
    async fn log_in(&self, _origin: &Origin, name: &str, password: Secret<String>) -> Verdict {
        match (name, password.expose().as_str()) {
            ("alice", "right") => self.grant(),
            ("alice", "half") => Verdict::Asked(Box::new(OneCode(self.clone())), "Verification code".into()),
            ("busy", _) => Verdict::Busy,
            _ => Verdict::Denied,
        }
    }

    fn may_ask(&self) -> bool {
        true
    }
}

struct OneCode(OnePassword);

#[async_trait::async_trait]
impl Question for OneCode {
    fn code_in(&self, said: &Secret<String>) -> Option<Secret<String>> {
        Some(said.clone())
    }

    async fn answer(self: Box<Self>, _origin: &Origin, code: Secret<String>) -> Verdict {
        if code.matches(b"123456") { self.0.grant() } else { Verdict::Asked(self, "Verification code".into()) }
    }
}
