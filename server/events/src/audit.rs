//! The audit trail: one JSON object a line, append only.
//!
//! Written in the announcer's thread with one `write` a record: a queue could be made to overflow, and a record that an
//! attacker can suppress is none. Values from strangers go through the JSON encoder, so that nobody can forge a line.

use crate::{Event, Sink};
use lockgate_model::Origin;
use serde_json::{Map, Value, json};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::SystemTime,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// The file `logs/audit.jsonl`.
pub struct AuditFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl AuditFile {
    /// Opens `path` for appending, making it with mode 0600.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: Mutex::new(append(path)?) })
    }

    /// Opens the same path anew, for log rotation that moved the file away.
    ///
    /// # Errors
    /// Whatever the system says; the old file stays in use then.
    pub fn reopen(&self) -> io::Result<()> {
        let fresh = append(&self.path)?;
        *self.file.lock().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }
}

impl Sink for AuditFile {
    fn record(&self, event: &Event) {
        let mut line = record(event, SystemTime::now()).to_string();
        line.push('\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = file.write_all(line.as_bytes()) {
            tracing::error!(path = %self.path.display(), %error, "an audit record could not be written");
        }
    }
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
            ("ban", json!({ "address": address.to_string(), "until_ms": until_ms, "reason": reason }))
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
