//! `lockgate status`, `session`, `ban`: the running server and whom it shuts out.

use crate::{
    cli::{Ban, Session},
    control,
    home::Home,
    output,
    stores::Stores,
};
use anyhow::bail;
use lockgate_access::bans;
use lockgate_events::Event;
use lockgate_model::ByteSize;
use serde_json::{Value, json};
use std::{
    process::ExitCode,
    time::{Duration, SystemTime},
};

/// The reason of a ban that an administrator made or cleared.
const BY_HAND: &str = "administrator";

/// Prints whether the server is ready and where its doors are; fails while it is not.
pub(crate) fn status(home: &Home, as_json: bool) -> anyhow::Result<ExitCode> {
    let answer = control::ask(home, &json!({ "ask": "status" }))?;
    let value = answer.unwrap_or_else(|| json!({ "ready": false, "version": env!("CARGO_PKG_VERSION") }));
    let ready = value.get("ready").and_then(Value::as_bool) == Some(true);
    if as_json {
        output::json(&value);
    } else if !ready {
        output::line(format_args!("not running: lockgate serve --home {}", home.path().display()));
    } else {
        tell(&value);
    }
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(value: &Value) {
    let text = |key: &str| value.get(key).map(ToString::to_string).unwrap_or_default();
    output::line(format_args!("ready, pid {}, up {} s, {} sessions", text("pid"), text("uptime_s"), text("sessions")));
    for listener in value.get("listeners").and_then(Value::as_array).into_iter().flatten() {
        let word = |key: &str| listener.get(key).and_then(Value::as_str).unwrap_or_default();
        output::line(format_args!("  {:6}{}", word("protocol"), word("addr")));
    }
    for warning in value.get("warnings").and_then(Value::as_array).into_iter().flatten() {
        output::line(format_args!("warning: {}", warning.as_str().unwrap_or_default()));
    }
    if let Some(error) = value.get("prefs_error").and_then(Value::as_str) {
        output::line(format_args!("prefs.xml is refused, the preferences before it are in force: {error}"));
    }
}

/// Lists or ends sessions.
pub(crate) fn session(home: &Home, command: Session, as_json: bool) -> anyhow::Result<ExitCode> {
    home.require()?;
    match command {
        Session::List => {
            let answer = control::ask(home, &json!({ "ask": "sessions" }))?;
            let rows =
                answer.and_then(|value| value.get("sessions").and_then(Value::as_array).cloned()).unwrap_or_default();
            if as_json {
                output::json(&Value::Array(rows));
            } else if rows.is_empty() {
                output::line("no sessions");
            } else {
                let rows: Vec<_> = rows.iter().map(session_row).collect();
                output::table(SESSION_HEAD, &rows);
            }
        }
        Session::Kill { id } => {
            let answer = control::ask(home, &json!({ "ask": "kill", "id": id }))?;
            if answer.as_ref().and_then(|value| value.get("killed")).and_then(Value::as_bool) != Some(true) {
                bail!("no live session {id}: see `lockgate session list`");
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

const SESSION_HEAD: [&str; 10] =
    ["ID", "USER", "PROTOCOL", "ADDRESS", "FACTOR", "SINCE", "IDLE", "MOVED", "RATE", "DOING"];

/// What a session does stands last: a path has any length.
fn session_row(row: &Value) -> [String; 10] {
    let word = |key: &str| row.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |key: &str| row.get(key).and_then(Value::as_u64).unwrap_or_default();
    let [id, user, protocol, address, factor, since, doing] =
        ["id", "user", "protocol", "address", "factor", "since", "doing"].map(word);
    let rate = if doing.is_empty() { String::new() } else { format!("{}/s", ByteSize(number("bytes_per_s"))) };
    let doing = match number("others") {
        0 => doing,
        others => format!("{doing} (and {others} more)"),
    };
    let (idle, moved) = (format!("{} s", number("idle_s")), ByteSize(number("bytes")).to_string());
    [id, user, protocol, address, factor, since, idle, moved, rate, doing]
}

/// Lists, adds or clears bans. They are in the ledger, so a running server follows within a second or two.
pub(crate) async fn ban(home: &Home, command: Ban, as_json: bool) -> anyhow::Result<ExitCode> {
    let stores = Stores::open(home).await?;
    let ledger = &*stores.ledger;
    match command {
        Ban::List => {
            let bans = bans::list(ledger).await?;
            if as_json {
                output::json(&bans.iter().map(|ban| json!({ "address": ban.address.to_string(), "until_ms": ban.until_ms, "reason": ban.reason })).collect());
            } else if bans.is_empty() {
                output::line("no bans");
            } else {
                let rows: Vec<[String; 3]> = bans
                    .into_iter()
                    .map(|ban| [ban.address.to_string(), crate::serve::moment(ban.until_ms), ban.reason])
                    .collect();
                output::table(["ADDRESS", "UNTIL", "REASON"], &rows);
            }
        }
        Ban::Add { address, minutes } => {
            let life = Duration::from_secs(minutes.saturating_mul(60));
            bans::add(ledger, address, life, BY_HAND).await?;
            let until = SystemTime::now() + life;
            let until_ms = until
                .duration_since(SystemTime::UNIX_EPOCH)
                .ok()
                .and_then(|since| u64::try_from(since.as_millis()).ok());
            stores.events.announce(&Event::Ban { address, until_ms, reason: BY_HAND.to_owned() });
        }
        Ban::Clear { address } => {
            let cleared = match address {
                Some(address) => vec![address],
                None => bans::list(ledger).await?.into_iter().map(|ban| ban.address).collect(),
            };
            for address in cleared {
                bans::clear(ledger, address).await?;
                stores.events.announce(&Event::Ban { address, until_ms: None, reason: BY_HAND.to_owned() });
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
