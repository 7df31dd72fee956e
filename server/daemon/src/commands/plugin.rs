//! `lockgate plugin`, and the worker process in which a plugin lives.

use crate::{cli::Plugin, control, factors, home::Home, output, preferences};
use lockgate_plugins::{PluginHost, PluginReport};
use lockgate_users::SecretKey;
use serde_json::{Value, json};
use std::{path::Path, process::ExitCode};

/// The worker: never returns to the rest of the program.
pub(super) fn worker(file: &Path) -> ExitCode {
    lockgate_plugins::worker::run(file)
}

/// Runs one of the `plugin` commands.
pub(crate) async fn run(home: &Home, command: Plugin, as_json: bool) -> anyhow::Result<ExitCode> {
    match command {
        Plugin::List => list(home, as_json).await?,
        Plugin::Check { file } => {
            let settings = lockgate_plugins::PluginSettings::new(home.path());
            let report = PluginHost::check(&settings, file).await?;
            let row = plugin_row(&report);
            if as_json {
                output::json(&row);
            } else {
                output::line(format_args!("a plugin: {} {} ({})", report.plugin, report.version, roles(&report)));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Asks the running server, whose workers have a history; without one the plugins are loaded for a look.
async fn list(home: &Home, as_json: bool) -> anyhow::Result<()> {
    let running = control::ask(home, &json!({ "ask": "plugins" }))?;
    let rows = match running.as_ref().and_then(|value| value.get("plugins")).and_then(Value::as_array) {
        Some(rows) => rows.clone(),
        None => {
            let prefs = preferences::load(home)?.prefs;
            let host = factors::start(home, &prefs, &SecretKey::load(&home.secret_key())?).await?;
            host.reports().iter().map(plugin_row).collect()
        }
    };
    if as_json {
        output::json(&Value::Array(rows));
        return Ok(());
    }
    if rows.is_empty() {
        output::line("no plugins are enabled: see `plugins` in prefs.xml");
        return Ok(());
    }
    let word = |row: &Value, key: &str| match row.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(list)) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(","),
        Some(Value::Null) | None => String::new(),
        Some(other) => other.to_string(),
    };
    let rows: Vec<[String; 7]> = rows
        .iter()
        .map(|row| ["name", "version", "roles", "state", "calls", "failures", "last_error"].map(|key| word(row, key)))
        .collect();
    output::table(["NAME", "VERSION", "ROLES", "STATE", "CALLS", "FAILURES", "LAST ERROR"], &rows);
    Ok(())
}

/// A report as JSON.
pub(crate) fn plugin_row(report: &PluginReport) -> Value {
    json!({
        "name": report.channel, "plugin": report.plugin, "version": report.version, "summary": report.summary,
        "file": report.file, "roles": report.roles.iter().map(|role| role.word()).collect::<Vec<_>>(),
        "state": report.state.word(), "calls": report.calls, "failures": report.failures, "last_error": report.last_error,
    })
}

fn roles(report: &PluginReport) -> String {
    report.roles.iter().map(|role| role.word()).collect::<Vec<_>>().join(", ")
}
