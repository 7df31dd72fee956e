//! What the running server says of itself over the control socket.

use super::Server;
use crate::control::Answers;
use lockgate_access::{LedgerHealth, SessionEnd};
use serde_json::{Value, json};
use std::time::SystemTime;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

#[async_trait::async_trait]
impl Answers for Server {
    async fn answer(&self, question: &Value) -> Value {
        match question.get("ask").and_then(Value::as_str) {
            Some("status") => self.status(),
            Some("sessions") => self.sessions(),
            Some("kill") => {
                let wanted = question.get("id").and_then(Value::as_str).unwrap_or_default();
                let found = self.gate.sessions().into_iter().find(|view| view.id.as_str() == wanted);
                let killed = found.is_some_and(|view| self.gate.end_session(&view.id, SessionEnd::Killed));
                json!({ "killed": killed })
            }
            Some("plugins") => self.plugins(),
            _ => json!({ "error": "unknown question" }),
        }
    }
}

impl Server {
    pub(super) fn status(&self) -> Value {
        let listeners: Vec<Value> = self
            .doors
            .listeners()
            .into_iter()
            .map(|listener| json!({ "protocol": listener.door.as_str(), "addr": listener.address.to_string() }))
            .collect();
        let state = self.state();
        let mut warnings = state.warnings.clone();
        warnings.extend(self.doors.refused_certificates());
        let mut value = json!({
            "ready": state.ready && !self.stop.listener().is_stopping(),
            "version": env!("CARGO_PKG_VERSION"),
            "pid": std::process::id(),
            "uptime_s": self.started.elapsed().as_secs(),
            "sessions": self.gate.sessions().len(),
            "listeners": listeners,
            "ledger": if self.gate.ledger_health() == LedgerHealth::Well { "well" } else { "failing" },
            "warnings": warnings,
        });
        if let (Some(error), Some(fields)) = (&state.prefs_error, value.as_object_mut()) {
            fields.insert("prefs_error".into(), error.as_str().into());
        }
        value
    }

    fn sessions(&self) -> Value {
        let rows: Vec<Value> = self
            .gate
            .sessions()
            .into_iter()
            .map(|view| {
                let now = view.activity;
                let since = view.since.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
                json!({
                    "id": view.id.as_str(), "user": view.user.as_str(), "protocol": view.origin.protocol.as_str(),
                    "address": view.origin.address().to_string(), "since": moment(since.saturating_mul(1000)), "factor": view.factor,
                    "doing": now.doing, "others": now.others, "bytes": now.bytes, "bytes_per_s": now.bytes_per_s,
                    "idle_s": now.idle.as_secs(),
                })
            })
            .collect();
        json!({ "sessions": rows })
    }

    fn plugins(&self) -> Value {
        let plugins = std::sync::Arc::clone(&self.state().plugins);
        let rows: Vec<Value> = plugins.reports().iter().map(crate::commands::plugin_row).collect();
        json!({ "plugins": rows })
    }
}

/// Unix milliseconds as RFC 3339 in UTC, to the second.
pub(crate) fn moment(ms: u64) -> String {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX);
    OffsetDateTime::from_unix_timestamp(seconds)
        .ok()
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_else(|| "for ever".to_owned())
}
