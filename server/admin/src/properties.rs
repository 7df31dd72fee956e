//! A user's properties under the names that prefs.md gives them, as text: for `--set KEY=VALUE`, export and import.

use ipnet::IpNet;
use lockgate_model::{ByteSize, Permissions, Protocol, ProtocolSet, VPath};
use lockgate_users::{Account, AccountChange, Field, MountPoint, PathRule};
use std::{path::PathBuf, str::FromStr};
use time::{
    Date, OffsetDateTime, PrimitiveDateTime, format_description::well_known::Rfc3339, macros::format_description,
};

/// A property that is none, or a value that cannot be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PropertyError {
    /// No property has this name.
    #[error("unknown property {0:?}; known are {known}, otp_auth_PROTOCOL and x_NAME", known = KNOWN.join(", "))]
    Unknown(String),
    /// The value does not fit.
    #[error("{key}: {value:?} is not {expected}")]
    Value {
        /// Which property.
        key: String,
        /// What was given.
        value: String,
        /// What was expected.
        expected: &'static str,
    },
}

const KNOWN: [&str; 16] = [
    "enabled",
    "admin",
    "otp_auth",
    "otp_token_timeout",
    "phone",
    "email",
    "root",
    "read_only",
    "max_logins",
    "ip_restrictions",
    "allowed_protocols",
    "quota",
    "account_expire",
    "permissions",
    "mounts",
    "client_certificate",
];

/// Puts one property into a change. An empty value removes what can be removed.
///
/// # Errors
/// [`PropertyError`]; the change is untouched then.
pub fn apply_property(change: &mut AccountChange, key: &str, value: &str) -> Result<(), PropertyError> {
    let bad = |expected| PropertyError::Value { key: key.to_owned(), value: value.to_owned(), expected };
    if let Some(word) = key.strip_prefix("otp_auth_") {
        let protocol = Protocol::from_str(word).map_err(|_| PropertyError::Unknown(key.to_owned()))?;
        let flag = if value.is_empty() { None } else { Some(truth(value).ok_or_else(|| bad("true, false or empty"))?) };
        change.otp_auth_by_protocol.insert(protocol, flag);
        return Ok(());
    }
    if let Some(name) = key.strip_prefix("x_") {
        let text = (!value.is_empty()).then(|| value.to_owned());
        change.texts.insert(name.to_owned(), text);
        return Ok(());
    }
    match key {
        "enabled" => change.enabled = Some(truth(value).ok_or_else(|| bad("true or false"))?),
        "admin" => change.admin = Some(truth(value).ok_or_else(|| bad("true or false"))?),
        "otp_auth" => change.otp_auth = Some(truth(value).ok_or_else(|| bad("true or false"))?),
        "read_only" => change.read_only = Some(truth(value).ok_or_else(|| bad("true or false"))?),
        "email" => change.email = field(value, |text| Some(text.to_owned())).ok_or_else(|| bad("an address"))?,
        "phone" => change.phone = field(value, |text| Some(text.to_owned())).ok_or_else(|| bad("a number"))?,
        "root" => change.root = field(value, absolute).ok_or_else(|| bad("an absolute folder of the host"))?,
        "otp_token_timeout" => {
            change.otp_token_timeout_ms = field(value, |text| text.parse().ok()).ok_or_else(|| bad("milliseconds"))?;
        }
        "max_logins" => change.max_logins = field(value, |text| text.parse().ok()).ok_or_else(|| bad("a number"))?,
        "quota" => {
            change.quota =
                field(value, |text| text.parse().ok().map(ByteSize)).ok_or_else(|| bad("a number of bytes"))?;
        }
        "account_expire" => {
            change.expires =
                field(value, end_of).ok_or_else(|| bad("a date such as 2030-12-31, or with a time as in RFC 3339"))?;
        }
        "allowed_protocols" => {
            let set: ProtocolSet = value.parse().map_err(|_| bad("a list of ftp, ftps, sftp, http, https, webdav"))?;
            change.allowed_protocols = Some(set);
        }
        "ip_restrictions" => {
            let networks = value.split(',').map(str::trim).filter(|word| !word.is_empty()).map(network);
            change.ip_restrictions =
                Some(networks.collect::<Option<_>>().ok_or_else(|| bad("a list of addresses or networks"))?);
        }
        "permissions" => {
            change.rules =
                Some(rules(value).ok_or_else(|| bad("PATH=RIGHTS;PATH=RIGHTS with rights such as read,view"))?)
        }
        "client_certificate" => {
            let subject = |text: &str| lockgate_users::contact::subject(text).is_ok().then(|| text.to_owned());
            change.client_certificate =
                field(value, subject).ok_or_else(|| bad("a subject as RFC 4514 has it, such as CN=alice,O=Example"))?;
        }
        "mounts" => change.mounts = Some(mounts(value).ok_or_else(|| bad("PATH=FOLDER[=RIGHTS];…"))?),
        _ => return Err(PropertyError::Unknown(key.to_owned())),
    }
    Ok(())
}

/// Every property of an account that is set, as text, in a stable order. Never a secret.
#[must_use]
pub fn properties_of(account: &Account) -> Vec<(String, String)> {
    let mut list = vec![
        ("enabled".to_owned(), account.enabled.to_string()),
        ("admin".to_owned(), account.admin.to_string()),
        ("otp_auth".to_owned(), account.otp_auth.to_string()),
    ];
    list.extend(
        account.otp_auth_by_protocol.iter().map(|(protocol, flag)| (format!("otp_auth_{protocol}"), flag.to_string())),
    );
    let mut put = |key: &str, value: Option<String>| list.extend(value.map(|value| (key.to_owned(), value)));
    put("otp_token_timeout", account.otp_token_timeout_ms.map(|ms| ms.to_string()));
    put("phone", account.phone.clone());
    put("email", account.email.clone());
    put("root", account.root.as_ref().map(|root| root.display().to_string()));
    put("read_only", account.read_only.then(|| "true".to_owned()));
    put("max_logins", account.max_logins.map(|n| n.to_string()));
    let networks: Vec<String> = account.ip_restrictions.iter().map(ToString::to_string).collect();
    put("ip_restrictions", (!networks.is_empty()).then(|| networks.join(",")));
    put("allowed_protocols", Some(account.allowed_protocols.to_string()));
    put("quota", account.quota.map(|quota| quota.0.to_string()));
    put("account_expire", account.expires.and_then(date_of));
    let rules: Vec<String> = account.rules.iter().map(|rule| format!("{}={}", rule.path, rule.permissions)).collect();
    put("permissions", (!rules.is_empty()).then(|| rules.join(";")));
    let mounts: Vec<String> =
        account.mounts.iter().map(|m| format!("{}={}={}", m.at, m.source.display(), m.permissions)).collect();
    put("mounts", (!mounts.is_empty()).then(|| mounts.join(";")));
    list.extend(account.client_certificate.clone().map(|subject| ("client_certificate".to_owned(), subject)));
    list.extend(account.texts.iter().map(|(name, text)| (format!("x_{name}"), text.clone())));
    list
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

fn field<T>(text: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<Field<T>> {
    if text.is_empty() { Some(Field::Clear) } else { parse(text).map(Field::Set) }
}

fn absolute(text: &str) -> Option<PathBuf> {
    let path = PathBuf::from(text);
    path.is_absolute().then_some(path)
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}

fn rules(text: &str) -> Option<Vec<PathRule>> {
    text.split(';')
        .filter(|part| !part.trim().is_empty())
        .map(|part| {
            let (path, rights) = part.trim().split_once('=')?;
            let path = VPath::parse(path).ok()?;
            Some(PathRule { path, permissions: rights.parse().ok()? })
        })
        .collect()
}

fn mounts(text: &str) -> Option<Vec<MountPoint>> {
    text.split(';')
        .filter(|part| !part.trim().is_empty())
        .map(|part| {
            let mut words = part.trim().splitn(3, '=');
            let at = VPath::parse(words.next()?).ok().filter(|at| !at.is_root())?;
            let source = absolute(words.next()?)?;
            let permissions = words.next().map_or_else(|| Some(Permissions::full()), |rights| rights.parse().ok())?;
            Some(MountPoint { at, source, permissions })
        })
        .collect()
}

/// The moment an account ends: the given time, or the end of the given day (UTC).
fn end_of(text: &str) -> Option<u64> {
    let moment = if let Ok(moment) = OffsetDateTime::parse(text, &Rfc3339) {
        moment
    } else {
        let day = Date::parse(text, format_description!("[year]-[month]-[day]")).ok()?;
        PrimitiveDateTime::new(day, time::Time::MAX).assume_utc()
    };
    u64::try_from(moment.unix_timestamp_nanos() / 1_000_000).ok()
}

fn date_of(ms: u64) -> Option<String> {
    let moment = OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).ok()?;
    moment.replace_millisecond(0).ok()?.format(&Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_ends_the_account_with_that_day() {
        let mut change = AccountChange::default();
        apply_property(&mut change, "account_expire", "2030-12-31").unwrap();
        let Field::Set(ms) = change.expires else { panic!("not set") };
        assert_eq!(date_of(ms).unwrap(), "2030-12-31T23:59:59Z");
    }

    #[test]
    fn an_unknown_property_is_named_and_changes_nothing() {
        let mut change = AccountChange::default();
        assert_eq!(apply_property(&mut change, "otp_atuh", "true"), Err(PropertyError::Unknown("otp_atuh".into())));
        assert_eq!(
            apply_property(&mut change, "otp_auth_scp", "true"),
            Err(PropertyError::Unknown("otp_auth_scp".into()))
        );
    }

    #[test]
    fn an_empty_value_removes_and_rules_parse_whole_or_not_at_all() {
        let mut change = AccountChange::default();
        apply_property(&mut change, "phone", "").unwrap();
        assert_eq!(change.phone, Field::Clear);
        apply_property(&mut change, "permissions", "/=read,view;/in=write,view,makedir").unwrap();
        assert_eq!(change.rules.unwrap().len(), 2);
        let mut other = AccountChange::default();
        assert!(apply_property(&mut other, "permissions", "/=read;/in=fly").is_err());
        assert!(other.rules.is_none());
    }
}
