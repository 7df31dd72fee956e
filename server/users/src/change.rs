//! What a change makes of an account, whatever it is kept in: values judged, and whether sessions must end over it.
//!
//! One pure function, so that every store refuses the same values and bumps the epoch for the same reasons. Never: touches
//! passwords, keys or enrolments; those have operations of their own.

use crate::{Account, AccountChange, DirectoryError, Epoch, Field, MountPoint, PathRule, contact};
use std::{
    collections::BTreeSet,
    os::unix::ffi::OsStrExt,
    path::{Component, Path},
};

/// Applies `change`, and bumps the epoch where what was granted before must end: see [`ends_sessions`].
///
/// # Errors
/// [`DirectoryError::Invalid`] where a value cannot be; the account is then half changed and must be thrown away.
pub(crate) fn apply(account: &mut Account, change: AccountChange) -> Result<(), DirectoryError> {
    let before = account.clone();
    set(&mut account.enabled, change.enabled);
    set(&mut account.admin, change.admin);
    put(&mut account.email, change.email, |text| contact::email(&text).map_err(|error| invalid(&error)))?;
    put(&mut account.phone, change.phone, |text| contact::phone(&text).map_err(|error| invalid(&error)))?;
    set(&mut account.otp_auth, change.otp_auth);
    for (protocol, flag) in change.otp_auth_by_protocol {
        match flag {
            Some(flag) => account.otp_auth_by_protocol.insert(protocol, flag),
            None => account.otp_auth_by_protocol.remove(&protocol),
        };
    }
    put(&mut account.otp_token_timeout_ms, change.otp_token_timeout_ms, |ms| {
        within(
            ms,
            1_000,
            MAX_TOKEN_MS,
            "otp_token_timeout is 1000 to 600000 ms: a sent code lives for ten minutes at most",
        )
    })?;
    put(&mut account.root, change.root, |root| host_folder(&root, "root").map(|()| root))?;
    set(&mut account.mounts, change.mounts);
    check_mounts(&account.mounts)?;
    set(&mut account.rules, change.rules);
    check_rules(&account.rules)?;
    set(&mut account.read_only, change.read_only);
    put(&mut account.quota, change.quota, |quota| within(quota.0, 0, MAX_NUMBER, "quota is too large").map(|_| quota))?;
    set(&mut account.allowed_protocols, change.allowed_protocols);
    set(&mut account.ip_restrictions, change.ip_restrictions);
    at_most(account.ip_restrictions.len(), 256, "ip_restrictions")?;
    put(&mut account.max_logins, change.max_logins, |logins| {
        within(logins, 1, u32::MAX, "max_logins is at least 1; clear it for no limit")
    })?;
    put(&mut account.expires, change.expires, |ms| within(ms, 0, MAX_NUMBER, "account_expire is too far away"))?;
    put(&mut account.client_certificate, change.client_certificate, |subject| {
        contact::subject(&subject).map_err(|error| invalid(&error)).map(|()| subject)
    })?;
    for (name, value) in change.texts {
        contact::text_name(&name).map_err(|error| invalid(&error))?;
        match value {
            Some(value) => {
                contact::text_value(&value).map_err(|error| invalid(&error))?;
                account.texts.insert(name, value);
            }
            None => {
                account.texts.remove(&name);
            }
        }
    }
    at_most(account.texts.len(), 64, "texts x_NAME")?;
    if ends_sessions(&before, account) {
        account.epoch = Epoch(account.epoch.0.saturating_add(1));
    }
    Ok(())
}

/// Whether what was granted to `before` must not outlive the change to `after`.
///
/// What a session was built from (rights, folders, addresses, protocols) and what decides its second factor ends it whenever
/// it differs, in either direction: a session cannot be told in part. A larger quota, a later end, more logins at once, free
/// texts and the life of a code take nothing away, and end nothing.
fn ends_sessions(before: &Account, after: &Account) -> bool {
    let narrowed =
        |before: Option<u64>, after: Option<u64>| after.is_some_and(|after| before.is_none_or(|before| after < before));
    (before.enabled && !after.enabled)
        || before.admin != after.admin
        || before.email != after.email
        || before.phone != after.phone
        || before.otp_auth != after.otp_auth
        || before.otp_auth_by_protocol != after.otp_auth_by_protocol
        || before.root != after.root
        || before.mounts != after.mounts
        || before.rules != after.rules
        || before.read_only != after.read_only
        || before.allowed_protocols != after.allowed_protocols
        || before.ip_restrictions != after.ip_restrictions
        // One that is given to a user who had none takes nothing away, as with keys.
        || (before.client_certificate.is_some() && before.client_certificate != after.client_certificate)
        || narrowed(before.quota.map(|quota| quota.0), after.quota.map(|quota| quota.0))
        || narrowed(before.expires, after.expires)
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn put<T>(
    place: &mut Option<T>,
    field: Field<T>,
    judge: impl FnOnce(T) -> Result<T, DirectoryError>,
) -> Result<(), DirectoryError> {
    match field {
        Field::Keep => {}
        Field::Set(value) => *place = Some(judge(value)?),
        Field::Clear => *place = None,
    }
    Ok(())
}

fn within<T: PartialOrd>(value: T, least: T, most: T, why: &str) -> Result<T, DirectoryError> {
    if value < least || value > most { Err(DirectoryError::Invalid(why.into())) } else { Ok(value) }
}

pub(crate) fn at_most(count: usize, most: usize, what: &str) -> Result<(), DirectoryError> {
    if count > most { Err(DirectoryError::Invalid(format!("a user has at most {most} {what}"))) } else { Ok(()) }
}

fn check_mounts(mounts: &[MountPoint]) -> Result<(), DirectoryError> {
    at_most(mounts.len(), 64, "mounts")?;
    let mut places = BTreeSet::new();
    for mount in mounts {
        if mount.at.is_root() || !places.insert(&mount.at) {
            return Err(DirectoryError::Invalid(format!("nothing can be mounted at {}: it is taken", mount.at)));
        }
        host_folder(&mount.source, "the source of a mount")?;
    }
    Ok(())
}

fn check_rules(rules: &[PathRule]) -> Result<(), DirectoryError> {
    at_most(rules.len(), 256, "rules")?;
    let mut paths = BTreeSet::new();
    match rules.iter().find(|rule| !paths.insert(&rule.path)) {
        Some(rule) => Err(DirectoryError::Invalid(format!("there are two rules for {}", rule.path))),
        None => Ok(()),
    }
}

/// Absolute and without `..`, so that it means the same folder whoever reads it from wherever.
fn host_folder(path: &Path, what: &str) -> Result<(), DirectoryError> {
    let bytes = path.as_os_str().as_bytes();
    let plain = path.is_absolute()
        && bytes.len() <= 4095
        && !bytes.contains(&0)
        && !path.components().any(|part| part == Component::ParentDir);
    if plain {
        Ok(())
    } else {
        Err(DirectoryError::Invalid(format!("{what} must be an absolute path without ..: {}", path.display())))
    }
}

fn invalid(error: &contact::ContactError) -> DirectoryError {
    DirectoryError::Invalid(error.to_string())
}

/// NIST SP 800-63B-4 section 3.1.3 lets a code that was sent live for ten minutes at most.
const MAX_TOKEN_MS: u64 = 600_000;
/// What fits the signed 64 bits of every database.
const MAX_NUMBER: u64 = i64::MAX as u64;

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_model::{ByteSize, Permissions, Protocol, ProtocolSet, UserName, VPath};

    fn account() -> Account {
        let mut account = Account::empty(UserName::new("alice").unwrap(), Epoch(5));
        account.quota = Some(ByteSize(100));
        account.expires = Some(100);
        account.client_certificate = Some("CN=a".into());
        account
    }

    fn epoch_after(change: AccountChange) -> u64 {
        let mut account = account();
        apply(&mut account, change).unwrap();
        account.epoch.0
    }

    #[test]
    fn a_change_that_restricts_or_alters_the_login_bumps_the_epoch() {
        let changes = [
            AccountChange { enabled: Some(false), ..Default::default() },
            AccountChange { admin: Some(true), ..Default::default() },
            AccountChange { email: Field::Set("a@b".into()), ..Default::default() },
            AccountChange { phone: Field::Set("+15550100".into()), ..Default::default() },
            AccountChange { otp_auth: Some(true), ..Default::default() },
            AccountChange { otp_auth_by_protocol: [(Protocol::Ftp, Some(true))].into(), ..Default::default() },
            AccountChange { root: Field::Set("/srv/a".into()), ..Default::default() },
            AccountChange { read_only: Some(true), ..Default::default() },
            AccountChange { quota: Field::Set(ByteSize(99)), ..Default::default() },
            AccountChange { expires: Field::Set(99), ..Default::default() },
            AccountChange { allowed_protocols: Some(ProtocolSet::NONE), ..Default::default() },
            AccountChange { ip_restrictions: Some(vec!["10.0.0.0/8".parse().unwrap()]), ..Default::default() },
            AccountChange { client_certificate: Field::Set("CN=b".into()), ..Default::default() },
            AccountChange { client_certificate: Field::Clear, ..Default::default() },
        ];
        for change in changes {
            assert_eq!(epoch_after(change.clone()), 6, "{change:?}");
        }
    }

    #[test]
    fn a_change_that_takes_nothing_away_ends_no_session() {
        let changes = [
            AccountChange::default(),
            AccountChange {
                enabled: Some(true),
                admin: Some(false),
                otp_auth: Some(false),
                email: Field::Clear,
                ..Default::default()
            },
            AccountChange {
                quota: Field::Clear,
                expires: Field::Set(101),
                max_logins: Field::Set(3),
                ..Default::default()
            },
            AccountChange {
                texts: [("a".into(), Some("b".into()))].into(),
                otp_token_timeout_ms: Field::Set(5000),
                ..Default::default()
            },
        ];
        for change in changes {
            assert_eq!(epoch_after(change.clone()), 5, "{change:?}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_refuses_the_change() {
        let mount = |at: &str, source: &str| MountPoint {
            at: VPath::parse(at).unwrap(),
            source: source.into(),
            permissions: Permissions::full(),
        };
        let rule = PathRule { path: VPath::root(), permissions: Permissions::NONE };
        let changes = [
            AccountChange { email: Field::Set("a@b,c@d".into()), ..Default::default() },
            AccountChange { phone: Field::Set("+1&to=2".into()), ..Default::default() },
            AccountChange { otp_token_timeout_ms: Field::Set(600_001), ..Default::default() },
            AccountChange { root: Field::Set("files".into()), ..Default::default() },
            AccountChange { root: Field::Set("/srv/../etc".into()), ..Default::default() },
            AccountChange { mounts: Some(vec![mount("/", "/srv")]), ..Default::default() },
            AccountChange { mounts: Some(vec![mount("/a", "/srv"), mount("/a", "/opt")]), ..Default::default() },
            AccountChange { mounts: Some(vec![mount("/a", "srv")]), ..Default::default() },
            AccountChange { rules: Some(vec![rule.clone(), rule]), ..Default::default() },
            AccountChange { quota: Field::Set(ByteSize(u64::MAX)), ..Default::default() },
            AccountChange { max_logins: Field::Set(0), ..Default::default() },
            AccountChange { client_certificate: Field::Set("CN = a, O = b".into()), ..Default::default() },
            AccountChange { texts: [("a b".into(), Some(String::new()))].into(), ..Default::default() },
            AccountChange { texts: [("a".into(), Some("b\r\nc".into()))].into(), ..Default::default() },
        ];
        for change in changes {
            assert!(matches!(apply(&mut account(), change.clone()), Err(DirectoryError::Invalid(_))), "{change:?}");
        }
    }
}
