//! From `Prefs` to each room's own settings. Nothing is decided here: each line carries one key to where it is a rule.

use crate::home::Home;
use anyhow::Context as _;
use lockgate_access::{AccessSettings, BruteForce, ChannelName, Enforce, EnrolmentRule};
use lockgate_config::{
    Prefs, SealError, Sealer, SecretText,
    prefs::{self as words, EmailTemplate, MailTls, SettingValue},
    values::SendTarget,
};
use lockgate_model::{Permissions, Secret, VPath};
use lockgate_net::NetLimits;
use lockgate_plugins::{Deadlines, PluginSettings, PluginSpec};
use lockgate_users::{Account, SecretKey};
use lockgate_vfs::{Durability, MountSpec, StorageSettings, TreeSpec};
use std::{sync::Arc, time::Duration};

/// Connections at once where prefs.xml sets no limit: far above what one machine serves, below what its descriptors allow.
const CONNECTIONS: usize = 10_000;
/// Logins under way at once from one address: beyond it the client is told to come later.
const LOGINS_PER_ADDRESS: u32 = 64;
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
    let count = |number: u32| if number == 0 { u32::MAX } else { number };
    let failures = prefs.bans.failures.as_ref();
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
        send_max_per_minute: prefs.send_limits.per_minute,
        brute_force: BruteForce {
            passwords_per_account: count(prefs.login.pause_after),
            first_pause: prefs.login.pause_first,
            longest_pause: prefs.login.pause_max,
            failures_per_address: failures.map_or(u32::MAX, |rule| count(rule.count)),
            address_window: failures.map_or(Duration::from_secs(15 * 60), |rule| rule.window),
            ban: failures.and_then(|rule| rule.ban).unwrap_or(UNTIL_CLEARED),
            codes_per_account: count(second.pause_after),
            codes_until_frozen: count(second.freeze_after),
        },
        max_sessions: prefs.login.max_sessions.unwrap_or(0),
        logins_per_address: LOGINS_PER_ADDRESS,
        challenge_life: CHALLENGE_LIFE,
    }
}

/// What the listeners go by.
pub(crate) fn net(prefs: &Prefs) -> NetLimits {
    let size = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    NetLimits {
        strangers_per_address: size(prefs.login.max_strangers_per_address),
        strangers: size(prefs.login.max_strangers),
        connections_per_address: prefs.login.max_sessions_per_address.map_or(CONNECTIONS, size),
        login_grace: prefs.login.grace,
    }
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

/// How plugins run.
pub(crate) fn plugin_settings(prefs: &Prefs, home: &Home) -> PluginSettings {
    let mut settings = PluginSettings::new(home.path());
    settings.deadlines = Deadlines {
        call: prefs.plugin_limits.call_timeout,
        person: prefs.plugin_limits.wait_timeout,
        total: prefs.second_factor.channel_timeout,
        ..settings.deadlines
    };
    settings.max_calls = usize::try_from(prefs.plugin_limits.max_calls).unwrap_or(settings.max_calls);
    settings
}

/// The plugins that prefs.xml switches on, with the settings of each: what the keys of the second factor say for the two
/// channels that send, and then what the plugin's own entry says, which wins.
///
/// Reads files and the environment for secrets.
pub(crate) fn plugin_specs(prefs: &Prefs, home: &Home, key: &SecretKey) -> anyhow::Result<Vec<PluginSpec>> {
    let sealer = PrefsSealer(key.clone());
    let resolve = |secret: &SecretText| secret.resolve(home.path(), &sealer).map_err(anyhow::Error::from);
    let mut specs = Vec::new();
    for entry in prefs.plugins.iter().filter(|entry| entry.enabled) {
        let mut settings = match entry.name.as_str() {
            "totp" => vec![text("totp_step_ahead", prefs.second_factor.totp_steps_ahead > 0)],
            "sms" => sms(prefs, resolve)?,
            "email" => email(prefs, resolve)?,
            _ => Vec::new(),
        };
        for setting in &entry.settings {
            let value = match &setting.value {
                SettingValue::Text(text) => Secret::new(text.clone()),
                SettingValue::Secret(secret) => resolve(secret).with_context(|| format!("plugin {}", entry.name))?,
            };
            settings.retain(|(name, _)| *name != setting.name);
            settings.push((setting.name.clone(), value));
        }
        specs.push(PluginSpec {
            channel: entry.instance.clone().unwrap_or_else(|| entry.name.clone()),
            plugin: entry.name.clone(),
            sha256: entry.sha256.clone(),
            settings,
        });
    }
    Ok(specs)
}

type Settings = Vec<(String, Secret<String>)>;

fn text(name: &str, value: impl ToString) -> (String, Secret<String>) {
    (name.to_owned(), Secret::new(value.to_string()))
}

fn sms(prefs: &Prefs, resolve: impl Fn(&SecretText) -> anyhow::Result<Secret<String>>) -> anyhow::Result<Settings> {
    let request = &prefs.code_request;
    // `otp_url` configures one channel: where it says SMTP, this one has only what its own entry says.
    let Some(SendTarget::Request(url)) = &request.target else { return Ok(Vec::new()) };
    let mut settings = vec![text("otp_url", url.as_str()), text("otp_url_verb", request.verb.as_str())];
    let optional = [
        ("otp_post", &request.body),
        ("otp_username", &request.username),
        ("otp_from", &request.from),
        ("otp_extra1", &request.extra1),
        ("otp_extra2", &request.extra2),
    ];
    settings.extend(optional.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| text(name, value))));
    settings.extend(request.proxy.as_ref().map(|proxy| text("otp_proxy", proxy.as_str())));
    if let Some(password) = &request.password {
        settings.push(("otp_password".to_owned(), resolve(password)?));
    }
    Ok(settings)
}

fn email(prefs: &Prefs, resolve: impl Fn(&SecretText) -> anyhow::Result<Secret<String>>) -> anyhow::Result<Settings> {
    let mail = &prefs.mail;
    let Some(host) = &mail.host else { return Ok(Vec::new()) };
    let mut settings = vec![
        text("smtp_server", host),
        text("smtp_port", mail.port),
        text("smtp_ssl", mail.tls == MailTls::Implicit),
        text("smtp_start_tls_allowed", mail.tls == MailTls::StartTls),
        text("smtp_html", mail.html),
    ];
    settings.extend(mail.user.as_ref().map(|user| text("smtp_user", user)));
    settings.extend(mail.from.as_ref().map(|from| text("smtp_from", from)));
    if let Some(password) = &mail.password {
        settings.push(("smtp_pass".to_owned(), resolve(password)?));
    }
    if let Some(template) = prefs.template(EmailTemplate::TWO_FACTOR) {
        let optional = [
            ("template.emailFrom", template.from.clone()),
            ("template.emailReplyTo", template.reply_to.clone()),
            ("template.emailSubject", template.subject.clone()),
            ("template.emailBody", template.body.clone()),
            ("template.emailCC", (!template.cc.is_empty()).then(|| template.cc.join(","))),
            ("template.emailBCC", (!template.bcc.is_empty()).then(|| template.bcc.join(","))),
        ];
        settings.extend(optional.into_iter().filter_map(|(name, value)| value.map(|value| text(name, value))));
    }
    Ok(settings)
}
