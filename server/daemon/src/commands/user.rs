//! `lockgate user`: the life of an account.

use super::{name, password_from_stdin};
use crate::{
    cli::{AppPassword, Key, Properties, User, UserAdd, UserSet},
    home::Home,
    output::{self, Usage},
    preferences,
    stores::Stores,
    wiring,
};
use anyhow::Context as _;
use lockgate_admin::{NewAccount, apply_property, properties_of};
use lockgate_model::{Protocol, ProtocolSet, Secret};
use lockgate_users::{Account, AccountChange};
use serde_json::{Map, Value, json};
use std::{io::Read as _, path::Path, process::ExitCode};

/// Runs one of the `user` commands.
pub(crate) async fn run(home: &Home, command: User, as_json: bool) -> anyhow::Result<ExitCode> {
    let stores = Stores::open(home).await?;
    match command {
        User::Add(wanted) => add(&stores, wanted).await?,
        User::Set(wanted) => set(&stores, wanted).await?,
        User::List => list(&stores, as_json).await?,
        User::Show { name: who } => show(&stores, &who, as_json).await?,
        User::Del { name: who } => stores.accounts().remove(&name(&who)?).await?,
        User::Password { name: who, password_stdin } => {
            if !password_stdin {
                return Err(Usage("give the password on standard input, with --password-stdin".into()).into());
            }
            stores.accounts().set_password(&name(&who)?, &new_password(&stores)?).await?;
        }
        User::Key(command) => key(&stores, command, as_json).await?,
        User::Certificate { name: who, file, .. } => certificate(&stores, &who, file.as_deref()).await?,
        User::AppPassword(command) => app_password(&stores, command, as_json).await?,
        User::Unlock { name: who } => {
            let who = name(&who)?;
            stores.accounts().show(&who).await?;
            lockgate_access::unlock(&*stores.ledger, &stores.key, &who).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn add(stores: &Stores, wanted: UserAdd) -> anyhow::Result<()> {
    let who = name(&wanted.name)?;
    let mut change = AccountChange::default();
    properties(&mut change, &wanted.properties)?;
    let password = if wanted.password_stdin { Some(new_password(stores)?) } else { None };
    let without = password.is_none();
    stores.accounts().add(NewAccount { name: who.clone(), password, properties: change }).await?;
    if without {
        output::note(format_args!("{who} has no password: lockgate user password {who} --password-stdin sets one"));
    }
    Ok(())
}

async fn set(stores: &Stores, wanted: UserSet) -> anyhow::Result<()> {
    let who = name(&wanted.name)?;
    let mut change = AccountChange::default();
    properties(&mut change, &wanted.properties)?;
    if wanted.no_admin {
        change.admin = Some(false);
    }
    if wanted.no_otp {
        change.otp_auth = Some(false);
    }
    if wanted.no_read_only {
        change.read_only = Some(false);
    }
    if wanted.disable {
        change.enabled = Some(false);
    }
    if wanted.enable {
        change.enabled = Some(true);
    }
    let accounts = stores.accounts();
    // The password first: a password that cannot be leaves everything as it was.
    if wanted.password_stdin {
        accounts.set_password(&who, &new_password(stores)?).await?;
    }
    accounts.set(&who, change).await?;
    Ok(())
}

/// A password from standard input. One that `min_password_*` would not have is warned about and taken: whoever is at this
/// command line may know better.
fn new_password(stores: &Stores) -> anyhow::Result<Secret<String>> {
    let password = password_from_stdin()?;
    let lacks = wiring::password_rules(&preferences::load(&stores.home)?.prefs).shortfalls(password.expose());
    if !lacks.is_empty() {
        output::warn(format_args!(
            "the password is weaker than prefs.xml asks for: it should have {}",
            lacks.join(", ")
        ));
    }
    Ok(password)
}

/// What the flags say, under the names that the properties have.
fn properties(change: &mut AccountChange, flags: &Properties) -> anyhow::Result<()> {
    let mut put = |key: &str, value: &str| {
        apply_property(change, key, value).map_err(|error| anyhow::Error::from(Usage(error.to_string())))
    };
    if flags.admin {
        put("admin", "true")?;
    }
    if flags.otp {
        put("otp_auth", "true")?;
    }
    if flags.read_only {
        put("read_only", "true")?;
    }
    if let Some(email) = &flags.email {
        put("email", email)?;
    }
    if let Some(phone) = &flags.phone {
        put("phone", phone)?;
    }
    if let Some(quota) = &flags.quota {
        put("quota", quota)?;
    }
    if let Some(expires) = &flags.expires {
        put("account_expire", expires)?;
    }
    if let Some(root) = &flags.root {
        let root = std::path::absolute(root).with_context(|| format!("{}: no such path", root.display()))?;
        put("root", &root.to_string_lossy())?;
    }
    if let Some(list) = &flags.otp_protocols {
        let due: ProtocolSet = list.parse().map_err(|error| Usage(format!("--otp-protocols: {error}")))?;
        for protocol in Protocol::ALL {
            let flag = if due.is_empty() {
                ""
            } else if due.contains(protocol) {
                "true"
            } else {
                "false"
            };
            put(&format!("otp_auth_{protocol}"), flag)?;
        }
    }
    for pair in &flags.set {
        let (key, value) = pair.split_once('=').ok_or_else(|| Usage(format!("--set {pair}: write KEY=VALUE")))?;
        put(key, value)?;
    }
    Ok(())
}

async fn list(stores: &Stores, as_json: bool) -> anyhow::Result<()> {
    let accounts = stores.accounts().list().await?;
    if as_json {
        output::json(&accounts.iter().map(summary).collect());
        return Ok(());
    }
    if accounts.is_empty() {
        output::line("no users yet: lockgate user add NAME --password-stdin");
        return Ok(());
    }
    let yes = |flag: bool| if flag { "yes" } else { "" }.to_owned();
    let rows: Vec<[String; 5]> = accounts
        .iter()
        .map(|account| {
            let factors: Vec<&str> = account.enrolments.keys().map(String::as_str).collect();
            [
                account.name.to_string(),
                yes(account.enabled),
                yes(account.admin),
                yes(account.otp_auth),
                factors.join(","),
            ]
        })
        .collect();
    output::table(["NAME", "ENABLED", "ADMIN", "OTP", "ENROLLED"], &rows);
    Ok(())
}

async fn show(stores: &Stores, who: &str, as_json: bool) -> anyhow::Result<()> {
    let account = stores.accounts().show(&name(who)?).await?;
    if as_json {
        output::json(&summary(&account));
        return Ok(());
    }
    output::line(format_args!("{:24}{}", "name", account.name));
    for (key, value) in properties_of(&account) {
        output::line(format_args!("{key:24}{value}"));
    }
    let factors: Vec<&str> = account.enrolments.keys().map(String::as_str).collect();
    output::line(format_args!("{:24}{}", "enrolled", factors.join(",")));
    output::line(format_args!("{:24}{}", "recovery codes left", account.recovery_codes_left));
    for key in &account.keys {
        output::line(format_args!("{:24}{} {}", "ssh key", key.fingerprint, key.comment));
    }
    Ok(())
}

/// An account as JSON: every property under its name and type, what it is enrolled with, never a secret.
fn summary(account: &Account) -> Value {
    let mut fields = Map::new();
    fields.insert("name".into(), account.name.as_str().into());
    for (key, value) in properties_of(account) {
        let number = matches!(key.as_str(), "quota" | "max_logins" | "otp_token_timeout");
        let value = match value.as_str() {
            "true" if !key.starts_with("x_") => Value::Bool(true),
            "false" if !key.starts_with("x_") => Value::Bool(false),
            text if number => text.parse::<u64>().map_or_else(|_| text.into(), Value::from),
            text => text.into(),
        };
        fields.insert(key, value);
    }
    fields.insert("has_password".into(), account.password.is_some().into());
    fields.insert("enrolled".into(), account.enrolments.keys().map(String::as_str).collect());
    fields.insert("recovery_codes_left".into(), account.recovery_codes_left.into());
    let keys = account.keys.iter().map(|key| json!({ "fingerprint": key.fingerprint, "comment": key.comment }));
    fields.insert("ssh_public_keys".into(), keys.collect());
    Value::Object(fields)
}

async fn key(stores: &Stores, command: Key, as_json: bool) -> anyhow::Result<()> {
    let accounts = stores.accounts();
    match command {
        Key::Add { name: who, file } => {
            for key in accounts.add_keys(&name(&who)?, &key_text(&file)?).await? {
                output::line(key.fingerprint);
            }
        }
        Key::List { name: who } => {
            let account = accounts.show(&name(&who)?).await?;
            if as_json {
                output::json(&account.keys.iter().map(|key| json!({ "fingerprint": key.fingerprint, "comment": key.comment, "added_ms": key.added })).collect());
            } else if account.keys.is_empty() {
                output::line(format_args!("{who} has no keys: lockgate user key add {who} FILE"));
            } else {
                let rows: Vec<[String; 2]> =
                    account.keys.iter().map(|key| [key.fingerprint.clone(), key.comment.clone()]).collect();
                output::table(["FINGERPRINT", "COMMENT"], &rows);
            }
        }
        Key::Del { name: who, fingerprint } => accounts.remove_key(&name(&who)?, &fingerprint).await?,
    }
    Ok(())
}

fn key_text(file: &Path) -> anyhow::Result<String> {
    /// An `authorized_keys` file of some thousand lines.
    const LARGEST: u64 = 4 * 1024 * 1024;
    let mut text = String::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(LARGEST).read_to_string(&mut text)
    } else {
        std::fs::File::open(file).and_then(|open| open.take(LARGEST).read_to_string(&mut text))
    };
    read.with_context(|| format!("cannot read {}", file.display()))?;
    Ok(text)
}

/// Names the subject of a certificate, or none.
async fn certificate(stores: &Stores, who: &str, file: Option<&Path>) -> anyhow::Result<()> {
    let subject = file.map(lockgate_net::TlsMaterial::subject_in_file).transpose()?;
    let mut change = AccountChange::default();
    apply_property(&mut change, "client_certificate", subject.as_deref().unwrap_or_default())?;
    stores.accounts().set(&name(who)?, change).await?;
    if let Some(subject) = subject {
        output::line(subject);
    }
    Ok(())
}

async fn app_password(stores: &Stores, command: AppPassword, as_json: bool) -> anyhow::Result<()> {
    let accounts = stores.accounts();
    match command {
        AppPassword::Add { name: who, protocols, label } => {
            let protocols: ProtocolSet = protocols.parse().map_err(|error| Usage(format!("--protocols: {error}")))?;
            let (secret, record) = accounts.add_app_password(&name(&who)?, &label, protocols).await?;
            if as_json {
                output::json(
                    &json!({ "id": record.id, "password": secret.expose(), "protocols": protocols.to_string() }),
                );
            } else {
                output::line(secret.expose());
            }
        }
        AppPassword::List { name: who } => {
            let who = name(&who)?;
            accounts.show(&who).await?;
            let records = accounts.app_passwords(&who).await?;
            if as_json {
                output::json(&records.iter().map(|r| json!({ "id": r.id, "label": r.label, "protocols": r.protocols.to_string(), "created_ms": r.created, "last_used_ms": r.last_used })).collect());
            } else if records.is_empty() {
                output::line(format_args!(
                    "{who} has no app passwords: lockgate user app-password add {who} --protocols LIST"
                ));
            } else {
                let rows: Vec<[String; 3]> =
                    records.iter().map(|r| [r.id.clone(), r.protocols.to_string(), r.label.clone()]).collect();
                output::table(["ID", "PROTOCOLS", "LABEL"], &rows);
            }
        }
        AppPassword::Del { name: who, id } => accounts.remove_app_password(&name(&who)?, &id).await?,
    }
    Ok(())
}
