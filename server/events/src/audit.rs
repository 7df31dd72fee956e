//! The audit trail: one JSON object a line, append only.
//!
//! Written in the announcer's thread with one `write` a record: a queue could be made to overflow, and a record that an
//! attacker can suppress is none. Values from strangers go through the JSON encoder, so that nobody can forge a line.

use crate::{Event, Sink};
use lockgate_model::Origin;
use serde_json::{Map, Value, json};
use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The file `logs/audit.jsonl`.
pub struct AuditFile {
    path: PathBuf,
    file: Mutex<Trail>,
    files_too: AtomicBool,
    failing: AtomicBool,
}

struct Trail {
    file: File,
    /// The file ends in half a line.
    torn: bool,
}

impl AuditFile {
    /// Opens `path` for appending, making it with mode 0600.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = Mutex::new(Trail { file: append(path)?, torn: false });
        Ok(Self { path: path.to_owned(), file, files_too: AtomicBool::new(true), failing: AtomicBool::new(false) })
    }

    /// Whether what is done with files is recorded too (`audit_transfers`); logins and changes always are.
    pub fn record_files(&self, too: bool) {
        self.files_too.store(too, Ordering::Relaxed);
    }

    /// Opens the same path anew, for log rotation that moved the file away.
    ///
    /// # Errors
    /// Whatever the system says; the old file stays in use then.
    pub fn reopen(&self) -> io::Result<()> {
        let fresh = Trail { file: append(&self.path)?, torn: false };
        let mut trail = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        // Where nothing was moved away it is the same file, with the same end.
        *trail = Trail { torn: trail.torn, ..fresh };
        Ok(())
    }

    /// Whether the last record could not be written: the disk is full, or the file system is away.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.failing.load(Ordering::SeqCst)
    }
}

impl Sink for AuditFile {
    fn record(&self, event: &Event) {
        if matches!(event, Event::File { .. }) && !self.files_too.load(Ordering::Relaxed) {
            return;
        }
        let line = record(event, SystemTime::now()).to_string();
        let mut trail = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let Trail { file, torn } = &mut *trail;
        let written = write_line(file, torn, &line);
        self.failing.store(written.is_err(), Ordering::SeqCst);
        if let Err(error) = written {
            tracing::error!(path = %self.path.display(), %error, "an audit record could not be written");
        }
    }

    fn healthy(&self) -> bool {
        !self.is_failing()
    }
}

/// Writes a line. Half a line that a failure left behind is ended first, so that it spoils no record but its own.
fn write_line(file: &mut impl io::Write, torn: &mut bool, line: &str) -> io::Result<()> {
    let text = format!("{}{line}\n", if *torn { "\n" } else { "" });
    let mut left = text.as_bytes();
    while !left.is_empty() {
        match file.write(left) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                let (done, rest) = left.split_at(written.min(left.len()));
                *torn = !done.ends_with(b"\n");
                left = rest;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o600).open(path)
}

/// The record of `event`: `time` (RFC 3339, UTC), `kind` (versioned by suffix when its fields change meaning), and fields.
fn record(event: &Event, now: SystemTime) -> Value {
    let time = OffsetDateTime::from(now).format(&Rfc3339).unwrap_or_default();
    let mut fields = Map::new();
    fields.insert("time".into(), time.into());
    let (kind, rest) = body(event);
    fields.insert("kind".into(), kind.into());
    if let Value::Object(rest) = rest {
        fields.extend(rest.into_iter().filter(|(_, value)| !value.is_null()));
    }
    Value::Object(fields)
}

fn body(event: &Event) -> (&'static str, Value) {
    match event {
        Event::Login { result, origin, user, reason, channel, session } => {
            let mut value = json!({
                "result": result.as_str(), "user": user, "reason": reason, "channel": channel, "session": session,
            });
            place(&mut value, origin);
            ("login", value)
        }
        Event::TurnedAway { address, count } => {
            ("logins_turned_away", json!({ "address": address.to_string(), "count": count }))
        }
        Event::SessionEnded { session, user, protocol, reason } => (
            "session_ended",
            json!({ "session": session, "user": user.as_str(), "protocol": protocol.as_str(), "reason": reason }),
        ),
        Event::CodeSent { user, channel, delivered, reason } => (
            "code_sent",
            json!({ "user": user.as_str(), "channel": channel, "delivered": delivered, "reason": reason }),
        ),
        Event::File { action, user, session, path, to, bytes } => (
            "file",
            json!({
                "action": action.as_str(), "user": user.as_str(), "session": session, "path": path.to_string(),
                "to": to.as_ref().map(ToString::to_string), "bytes": bytes.map(|size| size.0),
            }),
        ),
        Event::Ban { address, until_ms, reason } => {
            let kind = if until_ms.is_some() { "ban" } else { "ban_cleared" };
            (kind, json!({ "address": address.to_string(), "until_ms": until_ms, "reason": reason }))
        }
        Event::Plugin { name, what } => ("plugin", json!({ "plugin": name, "what": what })),
        Event::Prefs { accepted, what } => ("prefs", json!({ "accepted": accepted, "what": what })),
        Event::Server { phase } => ("server", json!({ "phase": phase })),
        Event::Administration { actor, action, subject } => {
            ("administration", json!({ "actor": actor, "action": action, "subject": subject }))
        }
    }
}

fn place(value: &mut Value, origin: &Origin) {
    if let Value::Object(fields) = value {
        fields.insert("door".into(), origin.door.as_str().into());
        fields.insert("protocol".into(), origin.protocol.as_str().into());
        fields.insert("address".into(), origin.address().to_string().into());
        fields.insert("port".into(), origin.peer.port().into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::LoginResult;
    use lockgate_model::{Conversation, Door, Protocol};

    #[test]
    fn files_are_left_out_where_that_is_wanted_and_nothing_else_is() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("audit.jsonl");
        let audit = AuditFile::open(&path).unwrap();
        let stored = Event::File {
            action: crate::FileAction::Stored,
            user: lockgate_model::UserName::new("alice").unwrap(),
            session: "s".into(),
            path: lockgate_model::VPath::root(),
            to: None,
            bytes: None,
        };
        for too in [true, false] {
            audit.record_files(too);
            audit.record(&stored);
            audit.record(&Event::Server { phase: "ready" });
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let kinds: Vec<Value> =
            text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["kind"].clone()).collect();
        assert_eq!(kinds, ["file", "server", "server"]);
    }

    /// A disk with room for so many bytes.
    struct Disk {
        kept: Vec<u8>,
        room: usize,
    }

    impl io::Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let fits = bytes.len().min(self.room);
            if fits == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.kept.extend_from_slice(&bytes[..fits]);
            self.room -= fits;
            Ok(fits)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn half_a_line_on_a_full_disk_spoils_no_later_record() {
        for room in 0..=24 {
            let (mut disk, mut torn) = (Disk { kept: Vec::new(), room }, false);
            let lines = [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#];
            let whole = lines.iter().take_while(|line| write_line(&mut disk, &mut torn, line).is_ok()).count();
            // The disk stays full for a while, then has room again.
            if whole < 3 {
                assert!(write_line(&mut disk, &mut torn, r#"{"n":4}"#).is_err());
            }
            disk.room = 1000;
            for later in [r#"{"n":5}"#, r#"{"n":6}"#] {
                write_line(&mut disk, &mut torn, later).unwrap();
            }
            let text = String::from_utf8(disk.kept).unwrap();
            let read: Vec<u64> = text
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok()?["n"].as_u64())
                .filter(|n| *n != 4)
                .collect();
            assert!(read.ends_with(&[5, 6]), "room {room}: {text:?}");
            assert!(read.len() >= whole + 2, "room {room}: {text:?}");
            assert!(!text.contains("\n\n"), "room {room}: {text:?}");
        }
    }

    #[test]
    fn a_trail_that_cannot_be_written_says_so_and_one_that_can_again_too() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("audit.jsonl");
        let full = AuditFile::open(Path::new("/dev/full")).unwrap();
        let audit = AuditFile::open(&path).unwrap();
        let event = Event::Server { phase: "ready" };
        full.record(&event);
        audit.record(&event);
        assert!(full.is_failing() && !full.healthy());
        assert!(!audit.is_failing() && audit.healthy());
        *full.file.lock().unwrap() = Trail { file: append(&path).unwrap(), torn: false };
        full.record(&event);
        assert!(!full.is_failing());
        let bus = crate::EventBus::new([std::sync::Arc::new(audit) as _, std::sync::Arc::new(full) as _]);
        assert!(bus.healthy());
    }

    #[test]
    fn a_name_with_a_line_break_cannot_forge_a_second_record() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("audit.jsonl");
        let audit = AuditFile::open(&path).unwrap();
        audit.record(&Event::Login {
            result: LoginResult::Denied,
            origin: Origin {
                door: Door::Ftp,
                protocol: Protocol::Ftp,
                peer: "192.0.2.1:9".parse().unwrap(),
                local: "192.0.2.2:21".parse().unwrap(),
                client_certificate: None,
                conversation: Conversation::SingleShot,
            },
            user: "eve\n{\"kind\":\"login\",\"result\":\"granted\"}".into(),
            reason: "unknown_user",
            channel: None,
            session: None,
        });
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 1);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["result"], "denied");
        assert_eq!(value["address"], "192.0.2.1");
    }
}
