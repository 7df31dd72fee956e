//! From `Prefs` to each room's own settings. Nothing is decided here: each line carries one key to where it is a rule.

mod plugins;
#[cfg(test)]
mod tests;

pub(crate) use plugins::{plugin_settings, plugin_specs};

use crate::home::Home;
use anyhow::bail;
use lockgate_access::{
    AccessSettings, BruteForce, ChannelName, Enforce, EnrolmentRule, FactorPatience, HashLimits, SendLimits,
    WebSessions,
};
use lockgate_admin::PasswordRules;
use lockgate_config::{Prefs, SealError, Sealer, SecretText, prefs as words};
use lockgate_model::{Permissions, Secret, VPath};
use lockgate_net::{ConnectionBan, NetLimits, OldestTls};
use lockgate_users::{Account, SecretKey};
use lockgate_vfs::{Durability, LockLimits, MountSpec, StorageSettings, TreeSpec};
use std::{path::PathBuf, sync::Arc, time::Duration};

/// Connections at once where prefs.xml sets no limit: far above what one machine serves, below what its descriptors allow.
const CONNECTIONS: usize = 10_000;
/// Connections at once from one address: room for an office behind one, and not for one that wants all there is.
const CONNECTIONS_PER_ADDRESS: usize = 1_000;
/// Logins under way at once from one address: beyond it the client is told to come later.
const LOGINS_PER_ADDRESS: u32 = 10;
/// Life of a challenge (N9).
const CHALLENGE_LIFE: Duration = Duration::from_secs(5 * 60);
/// The ban where `ban_failures_time` names none: until an administrator clears it, told as a century.
const UNTIL_CLEARED: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// The key of the home as prefs.xml needs it.
pub(crate) struct PrefsSealer(pub(crate) SecretKey);

impl Sealer for PrefsSealer {
    fn seal(&self, plain: &[u8], label: &str) -> Result<Vec<u8>, SealError> {
        self.0.seal(&context(label), plain).map_err(|error| SealError(error.to_string()))
    }

    fn open(&self, sealed: &[u8], label: &str) -> Result<Secret<Vec<u8>>, SealError> {
        self.0.open(&context(label), sealed).map_err(|error| SealError(error.to_string()))
    }
}

fn context(label: &str) -> String {
    format!("prefs/{label}")
}

/// What the gate goes by.
pub(crate) fn access(prefs: &Prefs) -> AccessSettings {
    let second = &prefs.second_factor;
    AccessSettings {
        validated_logins: second.switched_on,
        auto_otp_enable: second.enrolment_switches_on,
        otp_protocols: second.protocols,
        enforce: match second.enforce {
            words::Enforce::Flagged => Enforce::Flagged,
            words::Enforce::Admins => Enforce::Admins,
            words::Enforce::All => Enforce::All,
        },
        trusted_networks: second.trusted_networks.clone(),
        channels: second.channels.iter().filter_map(|name| ChannelName::new(name)).collect(),
        max_attempts: second.max_attempts,
        token_timeout: second.sent_code_life,
        token_length: u32::from(second.code_length),
        token_numeric: second.code_is_numeric,
        grant_idle: second.grant_idle,
        grant_max: second.grant_max,
        grant_protocols: second.grant_protocols,
        app_passwords: second.app_passwords,
        enrolment: match second.enrolment {
            words::Enrolment::Invite => EnrolmentRule::Invite,
            words::Enrolment::Password => EnrolmentRule::Password,
        },
        send: SendLimits {
            interval: prefs.send_limits.interval,
            per_hour: prefs.send_limits.per_hour,
            per_hour_and_address: prefs.send_limits.per_hour_and_address,
            per_minute: prefs.send_limits.per_minute,
        },
        patience: FactorPatience {
            call: prefs.plugin_limits.call_timeout,
            channels: second.channel_timeout,
            person: prefs.plugin_limits.wait_timeout,
        },
        web: WebSessions {
            idle: prefs.http.session_idle,
            max: prefs.http.session_max,
            bound_to_address: prefs.http.session_bound_to_address,
        },
        hashing: HashLimits { at_once: prefs.passwords.hash_parallel, queue: prefs.passwords.hash_queue },
        brute_force: brute_force(prefs),
        max_sessions: prefs.login.max_sessions.unwrap_or(0),
        max_sessions_per_address: prefs.login.max_sessions_per_address.unwrap_or(0),
        logins_per_address: LOGINS_PER_ADDRESS,
        challenge_life: CHALLENGE_LIFE,
    }
}

fn brute_force(prefs: &Prefs) -> BruteForce {
    let count = |number: u32| if number == 0 { u32::MAX } else { number };
    let failures = prefs.bans.failures.as_ref();
    BruteForce {
        passwords_per_account: count(prefs.login.pause_after),
        first_pause: prefs.login.pause_first,
        longest_pause: prefs.login.pause_max,
        failures_per_address: failures.map_or(u32::MAX, |rule| count(rule.count)),
        address_window: failures.map_or(Duration::from_secs(15 * 60), |rule| rule.window),
        ban: failures.and_then(|rule| rule.ban).unwrap_or(UNTIL_CLEARED),
        codes_per_account: count(prefs.second_factor.pause_after),
        codes_until_frozen: count(prefs.second_factor.freeze_after),
    }
}

/// What a new password should have.
pub(crate) fn password_rules(prefs: &Prefs) -> PasswordRules {
    let policy = &prefs.passwords;
    PasswordRules {
        length: policy.min_length,
        digits: policy.min_digits,
        lowers: policy.min_lowers,
        uppers: policy.min_uppers,
        specials: policy.min_specials,
    }
}

/// What the listeners go by.
pub(crate) fn net(prefs: &Prefs) -> NetLimits {
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    NetLimits {
        strangers_per_address: size(prefs.login.max_strangers_per_address),
        strangers: size(prefs.login.max_strangers),
        // Sessions of an address are the gate's to count: a browser has several connections for one.
        connections_per_address: CONNECTIONS_PER_ADDRESS,
        connection_ban: prefs.bans.connections.as_ref().map(|rule| ConnectionBan {
            connections: rule.count,
            window: rule.window,
            ban: rule.ban.unwrap_or(UNTIL_CLEARED),
        }),
        login_grace: prefs.login.grace,
    }
}

/// The oldest version of TLS.
pub(crate) fn oldest_tls(prefs: &Prefs) -> OldestTls {
    match prefs.tls.minimum {
        words::TlsMinimum::Tls12 => OldestTls::Tls12,
        words::TlsMinimum::Tls13 => OldestTls::Tls13,
    }
}

/// Which files the users and what must be counted are kept in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Databases {
    pub(crate) users: PathBuf,
    /// `None`: in the database of users.
    pub(crate) ledger: Option<PathBuf>,
}

/// What `users_url` and `ledger_url` say; refuses every database that this version cannot open.
///
/// Reads files and the environment where an address stands there.
pub(crate) fn databases(prefs: &Prefs, home: &Home, key: &SecretKey) -> anyhow::Result<Databases> {
    let sealer = PrefsSealer(key.clone());
    let file = |name: &str, url: &Option<SecretText>| match url {
        Some(url) => sqlite_file(name, url.resolve(home.path(), &sealer)?.expose(), home).map(Some),
        None => Ok(None),
    };
    let users = file("users_url", &prefs.server.users_url)?.unwrap_or_else(|| home.database());
    let ledger = file("ledger_url", &prefs.server.ledger_url)?.filter(|own| *own != users);
    Ok(Databases { users, ledger })
}

/// `sqlite:PATH` or `sqlite://PATH`, from the home where it is relative. An address may hold a password, so none is shown.
fn sqlite_file(name: &str, url: &str, home: &Home) -> anyhow::Result<PathBuf> {
    let Some(path) = url.trim().strip_prefix("sqlite:") else {
        bail!("{name}: this version keeps everything in SQLite: write sqlite:PATH, or remove the element");
    };
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.starts_with(':') || path.contains('?') {
        bail!("{name}: write sqlite: and the path of a file, without parameters");
    }
    Ok(home.path().join(path))
}

/// Connections at once on one listener.
pub(crate) fn connections(limit: Option<u32>) -> usize {
    limit.map_or(CONNECTIONS, |number| usize::try_from(number).unwrap_or(usize::MAX))
}

/// What the store goes by.
pub(crate) fn storage(prefs: &Prefs) -> StorageSettings {
    StorageSettings {
        durability: match prefs.files.durability {
            words::Durability::Full => Durability::Full,
            words::Durability::Rename => Durability::Rename,
        },
        upload_keep: prefs.files.upload_keep,
    }
}

/// How many locks there may be, and for how long.
pub(crate) fn locks(prefs: &Prefs) -> LockLimits {
    LockLimits {
        per_user: usize::try_from(prefs.dav.locks_per_user).unwrap_or(usize::MAX),
        longest: prefs.dav.lock_timeout,
    }
}

/// How an account's tree is made: its own folder at the root, its mounts, its rules.
pub(crate) fn tree(home: &Home) -> Arc<dyn Fn(&Account) -> TreeSpec + Send + Sync> {
    let files = home.files();
    Arc::new(move |account| {
        let own = MountSpec {
            at: VPath::root(),
            source: account.root.clone().unwrap_or_else(|| files.join(account.name.as_str())),
            // A folder of the host that an administrator named must be there: one made in its place would hide the mistake.
            make: account.root.is_none(),
            permissions: Permissions::full(),
            counts: true,
        };
        let others = account.mounts.iter().map(|mount| MountSpec {
            at: mount.at.clone(),
            source: mount.source.clone(),
            make: false,
            permissions: mount.permissions,
            counts: false,
        });
        let most = if account.read_only { Permissions::read_only() } else { Permissions::full() };
        let rules = account.rules.iter().map(|rule| {
            let permissions = if account.read_only { rule.permissions.intersect(most) } else { rule.permissions };
            (rule.path.clone(), permissions)
        });
        TreeSpec {
            owner: account.name.clone(),
            mounts: std::iter::once(own).chain(others).collect(),
            rules: rules.collect(),
            otherwise: if account.rules.is_empty() { most } else { Permissions::NONE },
            quota: account.quota,
        }
    })
}
