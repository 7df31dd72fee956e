//! An account as a row, and back.
//!
//! Lists that are only ever read whole stand in one column: words with commas where the words allow it, else JSON. A row that
//! cannot be read is an error and never an account with something missing: a rule that is not understood must not vanish.

use crate::{Account, DirectoryError, Epoch, MountPoint, PathRule};
use ipnet::IpNet;
use lockgate_model::{ByteSize, Permissions, ProtocolSet, Secret, UserName, VPath};
use serde_json::{Value, json};
use sqlx::{Row, SqliteConnection, sqlite::SqliteRow};
use std::{
    collections::BTreeMap,
    ffi::OsString,
    os::unix::ffi::{OsStrExt, OsStringExt},
    path::PathBuf,
    str::FromStr,
};

/// The account in a row of `users` with its number of recovery codes; keys and enrolments stand elsewhere.
pub(super) fn read(row: &SqliteRow) -> Result<Account, DirectoryError> {
    let name: String = column(row, "name")?;
    let name = UserName::new(&name).map_err(|_| damaged("name"))?;
    let flags = |column_name, flag| {
        let set: ProtocolSet = words(row, column_name)?;
        Ok::<_, DirectoryError>(set.iter().map(move |protocol| (protocol, flag)).collect::<Vec<_>>())
    };
    let otp_auth_by_protocol = flags("otp_auth_on", true)?.into_iter().chain(flags("otp_auth_off", false)?).collect();
    Ok(Account {
        name,
        epoch: Epoch(number(row, "epoch")?),
        enabled: column(row, "enabled")?,
        admin: column(row, "admin")?,
        password: column::<Option<String>>(row, "password")?.map(Secret::new),
        email: column(row, "email")?,
        phone: column(row, "phone")?,
        otp_auth: column(row, "otp_auth")?,
        otp_auth_by_protocol,
        otp_token_timeout_ms: optional_number(row, "otp_token_timeout")?,
        enrolments: BTreeMap::new(),
        recovery_codes_left: number(row, "recovery_codes_left")?,
        root: column::<Option<Vec<u8>>>(row, "root")?.map(|bytes| PathBuf::from(OsString::from_vec(bytes))),
        mounts: list(row, "mounts", mount)?,
        rules: list(row, "rules", rule)?,
        read_only: column(row, "read_only")?,
        quota: optional_number(row, "quota")?.map(ByteSize),
        allowed_protocols: words(row, "allowed_protocols")?,
        ip_restrictions: column::<String>(row, "ip_restrictions")?
            .split(',')
            .filter(|net| !net.is_empty())
            .map(|net| IpNet::from_str(net).map_err(|_| damaged("ip_restrictions")))
            .collect::<Result<_, _>>()?,
        max_logins: optional_number(row, "max_logins")?,
        expires: optional_number(row, "account_expire")?,
        client_certificate: column(row, "client_certificate")?,
        texts: texts(&column::<String>(row, "texts")?).ok_or_else(|| damaged("texts"))?,
        keys: Vec::new(),
    })
}

/// Writes everything that [`read`] reads, but the password, which only its own operations may change.
pub(super) async fn write(connection: &mut SqliteConnection, account: &Account) -> Result<(), DirectoryError> {
    let flagged = |flag: bool| -> String {
        account
            .otp_auth_by_protocol
            .iter()
            .filter(|(_, set)| **set == flag)
            .map(|(protocol, _)| *protocol)
            .collect::<ProtocolSet>()
            .to_string()
    };
    let nets: Vec<String> = account.ip_restrictions.iter().map(IpNet::to_string).collect();
    let mounts: Vec<Value> = account
        .mounts
        .iter()
        .map(|mount| json!({ "at": bytes(mount.at.as_bytes()), "source": bytes(mount.source.as_os_str().as_bytes()), "permissions": mount.permissions.to_string() }))
        .collect();
    let rules: Vec<Value> = account
        .rules
        .iter()
        .map(|rule| json!({ "path": bytes(rule.path.as_bytes()), "permissions": rule.permissions.to_string() }))
        .collect();
    sqlx::query(
        "UPDATE users SET epoch = $2, enabled = $3, admin = $4, email = $5, phone = $6, otp_auth = $7, otp_auth_on = $8, otp_auth_off = $9, \
         otp_token_timeout = $10, root = $11, mounts = $12, rules = $13, read_only = $14, quota = $15, allowed_protocols = $16, \
         ip_restrictions = $17, max_logins = $18, account_expire = $19, texts = $20, client_certificate = $21 WHERE name = $1",
    )
    .bind(account.name.as_str())
    .bind(signed(account.epoch.0))
    .bind(account.enabled)
    .bind(account.admin)
    .bind(&account.email)
    .bind(&account.phone)
    .bind(account.otp_auth)
    .bind(flagged(true))
    .bind(flagged(false))
    .bind(account.otp_token_timeout_ms.map(signed))
    .bind(account.root.as_ref().map(|root| root.as_os_str().as_bytes()))
    .bind(Value::from(mounts).to_string())
    .bind(Value::from(rules).to_string())
    .bind(account.read_only)
    .bind(account.quota.map(|quota| signed(quota.0)))
    .bind(account.allowed_protocols.to_string())
    .bind(nets.join(","))
    .bind(account.max_logins.map(i64::from))
    .bind(account.expires.map(signed))
    .bind(json!(account.texts).to_string())
    .bind(&account.client_certificate)
    .execute(connection)
    .await
    .map_err(store)?;
    Ok(())
}

/// A column as a type of the driver.
pub(super) fn column<'r, T: sqlx::Decode<'r, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite>>(
    row: &'r SqliteRow,
    name: &str,
) -> Result<T, DirectoryError> {
    row.try_get(name).map_err(store)
}

/// A column of a number that is never negative.
pub(super) fn number<T: TryFrom<i64>>(row: &SqliteRow, name: &'static str) -> Result<T, DirectoryError> {
    T::try_from(column::<i64>(row, name)?).map_err(|_| damaged(name))
}

/// The same where there may be none.
pub(super) fn optional_number<T: TryFrom<i64>>(
    row: &SqliteRow,
    name: &'static str,
) -> Result<Option<T>, DirectoryError> {
    column::<Option<i64>>(row, name)?.map(|value| T::try_from(value).map_err(|_| damaged(name))).transpose()
}

/// A column of words with commas.
pub(super) fn words(row: &SqliteRow, name: &'static str) -> Result<ProtocolSet, DirectoryError> {
    column::<String>(row, name)?.parse().map_err(|_| damaged(name))
}

/// What no row should ever hold.
pub(super) fn damaged(what: &'static str) -> DirectoryError {
    DirectoryError::Store(format!("the {what} of a user is damaged in the database").into())
}

/// A failure of the engine in the words of the port.
pub(super) fn store(error: sqlx::Error) -> DirectoryError {
    DirectoryError::Store(error.into())
}

/// A number as the database has it. Values over its largest number are refused where they are saved.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn list<T>(row: &SqliteRow, name: &'static str, item: impl Fn(&Value) -> Option<T>) -> Result<Vec<T>, DirectoryError> {
    let parsed: Value = serde_json::from_str(&column::<String>(row, name)?).map_err(|_| damaged(name))?;
    let items: Option<Vec<T>> = parsed.as_array().and_then(|items| items.iter().map(item).collect());
    items.ok_or_else(|| damaged(name))
}

fn mount(value: &Value) -> Option<MountPoint> {
    Some(MountPoint {
        at: VPath::parse(from_bytes(value.get("at")?)?).ok()?,
        source: PathBuf::from(OsString::from_vec(from_bytes(value.get("source")?)?)),
        permissions: permissions(value)?,
    })
}

fn rule(value: &Value) -> Option<PathRule> {
    Some(PathRule { path: VPath::parse(from_bytes(value.get("path")?)?).ok()?, permissions: permissions(value)? })
}

fn permissions(value: &Value) -> Option<Permissions> {
    value.get("permissions")?.as_str()?.parse().ok()
}

fn texts(json: &str) -> Option<BTreeMap<String, String>> {
    let parsed: Value = serde_json::from_str(json).ok()?;
    parsed.as_object()?.iter().map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect()
}

/// A path in JSON: text where it is UTF-8, which it nearly always is, else a list of its bytes.
fn bytes(path: &[u8]) -> Value {
    std::str::from_utf8(path).map_or_else(|_| json!(path), Value::from)
}

fn from_bytes(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Array(bytes) => {
            bytes.iter().map(|byte| byte.as_u64().and_then(|byte| u8::try_from(byte).ok())).collect()
        }
        _ => None,
    }
}
