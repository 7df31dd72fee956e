//! `lockgate prefs`: prefs.xml without an editor.

use crate::{
    cli::Prefs,
    home::Home,
    output::{self, Usage},
    preferences,
    stores::Stores,
    wiring::{self, PrefsSealer},
};
use anyhow::bail;
use lockgate_config::{KeyPath, PrefsFile, reference, show};
use lockgate_model::Secret;
use lockgate_users::SecretKey;
use serde_json::{Value, json};
use std::process::ExitCode;

/// Runs one of the `prefs` commands.
pub(crate) fn run(home: &Home, command: Prefs, as_json: bool) -> anyhow::Result<ExitCode> {
    if let Prefs::Show { defaults: true } = command {
        defaults(as_json);
        return Ok(ExitCode::SUCCESS);
    }
    home.require()?;
    match command {
        Prefs::Get { key } => get(home, &key, as_json)?,
        Prefs::Set { key, value } => {
            let path = path(&key)?;
            // What stands on a command line can be read by every process of the machine.
            let value = if value == "-" { super::password_from_stdin()? } else { Secret::new(value) };
            let sealer = PrefsSealer(SecretKey::load(&home.secret_key())?);
            PrefsFile::load(&home.prefs())?.set(&[(path, value.expose())], &sealer)?;
        }
        Prefs::Check => return check(home, as_json),
        Prefs::Show { .. } => {
            let file = PrefsFile::load(&home.prefs())?;
            tell(&show::show(file.tree()), as_json);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn path(key: &str) -> anyhow::Result<KeyPath> {
    key.parse().map_err(|error: lockgate_config::KeyPathError| Usage(error.to_string()).into())
}

fn get(home: &Home, key: &str, as_json: bool) -> anyhow::Result<()> {
    let file = PrefsFile::load(&home.prefs())?;
    let found = show::get(file.tree(), &path(key)?)?;
    if let [one] = found.as_slice()
        && one.path == key
        && !as_json
    {
        output::line(one.value.as_deref().unwrap_or_default());
        return Ok(());
    }
    if let [one] = found.as_slice()
        && as_json
    {
        output::json(&json!({ "key": one.path, "value": one.value, "default": one.is_default }));
        return Ok(());
    }
    if found.is_empty() {
        bail!("{key} has no items");
    }
    tell(&found, as_json);
    Ok(())
}

fn tell(rows: &[show::Shown], as_json: bool) {
    if as_json {
        let rows: Vec<Value> =
            rows.iter().map(|row| json!({ "key": row.path, "value": row.value, "default": row.is_default })).collect();
        output::json(&Value::Array(rows));
        return;
    }
    for row in rows {
        let mark = if row.is_default { "   (default)" } else { "" };
        output::line(format_args!("{} = {}{mark}", row.path, row.value.as_deref().unwrap_or_default()));
    }
}

fn defaults(as_json: bool) {
    let rows = reference::rows();
    if as_json {
        let rows: Vec<Value> = rows
            .iter()
            .map(|row| json!({ "key": row.path, "expected": row.kind, "default": row.default, "meaning": row.doc }))
            .collect();
        output::json(&Value::Array(rows));
        return;
    }
    for row in rows {
        output::line(format_args!("{} = {}\n    {} ({})", row.path, row.default, row.doc, row.kind));
    }
}

/// Says everything that is wrong and everything that is probably not meant; fails for the first kind alone.
fn check(home: &Home, as_json: bool) -> anyhow::Result<ExitCode> {
    let (errors, mut warnings) = match preferences::load(home) {
        Ok(reading) => {
            let mut warnings: Vec<String> = reading.warnings.iter().map(ToString::to_string).collect();
            if !reading.prefs.second_factor.switched_on {
                warnings.extend(off_while_enrolled(home));
            }
            (beyond_the_file(home, &reading.prefs), warnings)
        }
        Err(error) => match error.downcast_ref::<lockgate_config::FileError>() {
            Some(lockgate_config::FileError::Refused { refusal, .. }) => (
                refusal.errors.iter().map(ToString::to_string).collect(),
                refusal.warnings.iter().map(ToString::to_string).collect(),
            ),
            _ => (vec![format!("{error:#}")], Vec::new()),
        },
    };
    if PrefsFile::load(&home.prefs()).is_ok_and(|file| file.is_open_to_others()) {
        warnings.push("prefs.xml can be read by others, and secrets may stand in it: chmod 600 prefs.xml".to_owned());
    }
    if as_json {
        output::json(&json!({ "ok": errors.is_empty(), "errors": errors, "warnings": warnings }));
    } else {
        warnings.iter().for_each(|warning| output::line(format_args!("warning: {warning}")));
        if errors.is_empty() {
            output::line("prefs.xml is good");
        }
    }
    if errors.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if !as_json {
        bail!("prefs.xml is refused: {}", errors.join("; "));
    }
    Ok(ExitCode::FAILURE)
}

/// What the file alone does not show, and a start would refuse: databases, secrets and files that are named in it.
fn beyond_the_file(home: &Home, prefs: &lockgate_config::Prefs) -> Vec<String> {
    let key = match SecretKey::load(&home.secret_key()) {
        Ok(key) => key,
        Err(error) => return vec![error.to_string()],
    };
    let databases = wiring::databases(prefs, home, &key).err();
    let plugins = wiring::plugin_specs(prefs, home, &key).err();
    databases.into_iter().chain(plugins).map(|error| format!("{error:#}")).collect()
}

/// The warning of login.md, row 1: the master switch is off while somebody has a second factor.
fn off_while_enrolled(home: &Home) -> Option<String> {
    let count = super::wait(async {
        let stores = Stores::open(home).await?;
        Ok(stores.directory.second_factor_users().await?)
    });
    match count {
        Ok(0) => None,
        Ok(users) => Some(format!(
            "otp_validated_logins is false while {users} users have a second factor: none is asked for it"
        )),
        Err(error) => Some(format!("the users could not be looked at: {error:#}")),
    }
}
