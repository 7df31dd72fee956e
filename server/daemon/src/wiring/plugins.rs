//! From `Prefs` to what plugins are given.

use super::PrefsSealer;
use crate::home::Home;
use anyhow::{Context as _, bail};
use lockgate_config::{
    Prefs, SecretText,
    prefs::{EmailTemplate, MailTls, PluginEntry, SettingValue},
    values::SendTarget,
};
use lockgate_model::Secret;
use lockgate_plugins::{Deadlines, PluginSettings, PluginSpec};
use lockgate_users::SecretKey;
use std::{fs, io::Read as _, path::Path};

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

/// The plugins that prefs.xml switches on, with the settings of each: for the channel that `otp_url` configures what the keys
/// of the second factor say, and then what the plugin's own entry says, which wins.
///
/// An entry with an `otp_url` or `smtp_server` of its own is another provider's, and gets nothing of the keys at the top: the
/// password of one provider is none of the other's business.
///
/// Reads files and the environment for secrets.
pub(crate) fn plugin_specs(prefs: &Prefs, home: &Home, key: &SecretKey) -> anyhow::Result<Vec<PluginSpec>> {
    let sealer = PrefsSealer(key.clone());
    let resolve = |secret: &SecretText| secret.resolve(home.path(), &sealer).map_err(anyhow::Error::from);
    let mut specs = Vec::new();
    for entry in prefs.plugins.iter().filter(|entry| entry.enabled) {
        let mut settings = match entry.name.as_str() {
            "totp" => vec![text("totp_step_ahead", prefs.second_factor.totp_steps_ahead > 0)],
            "sms" if !entry.sets("otp_url") => sms(prefs, resolve)?,
            "email" => email(prefs, entry, home, resolve)?,
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
            channel: entry.channel().to_owned(),
            plugin: entry.name.clone(),
            file: entry.file.clone(),
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

/// The mail server where `otp_url` says so, and the template wherever a mail server is known.
fn email(
    prefs: &Prefs,
    entry: &PluginEntry,
    home: &Home,
    resolve: impl Fn(&SecretText) -> anyhow::Result<Secret<String>>,
) -> anyhow::Result<Settings> {
    let mut settings = template(prefs);
    let chosen = prefs.code_request.target == Some(SendTarget::Email);
    let mail = &prefs.mail;
    let Some(host) = mail.host.as_ref().filter(|_| chosen && !entry.sets("smtp_server")) else { return Ok(settings) };
    settings.extend([
        text("smtp_server", host),
        text("smtp_port", mail.port),
        text("smtp_ssl", mail.tls == MailTls::Implicit),
        text("smtp_start_tls_allowed", mail.tls == MailTls::StartTls),
        text("smtp_html", mail.html),
    ]);
    settings.extend(mail.user.as_ref().map(|user| text("smtp_user", user)));
    settings.extend(mail.from.as_ref().map(|from| text("smtp_from", from)));
    if let Some(password) = &mail.password {
        settings.push(("smtp_pass".to_owned(), resolve(password)?));
    }
    if let Some(file) = &mail.authority {
        settings.push(text("smtp_tls_ca", certificate(&home.path().join(file))?));
    }
    Ok(settings)
}

/// The certificate itself and not its path: a plugin's worker may read no file of the home.
fn certificate(path: &Path) -> anyhow::Result<String> {
    /// A certificate, or a chain of some.
    const LARGEST: u64 = 64 * 1024;
    let mut pem = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(LARGEST).read_to_string(&mut pem))
        .with_context(|| format!("smtp_tls_ca: cannot read {}", path.display()))?;
    if !pem.contains("-----BEGIN CERTIFICATE-----") {
        bail!("smtp_tls_ca: {} holds no certificate in PEM", path.display());
    }
    Ok(pem)
}

fn template(prefs: &Prefs) -> Settings {
    let Some(template) = prefs.template(EmailTemplate::TWO_FACTOR) else { return Vec::new() };
    let optional = [
        ("template.emailFrom", template.from.clone()),
        ("template.emailReplyTo", template.reply_to.clone()),
        ("template.emailSubject", template.subject.clone()),
        ("template.emailBody", template.body.clone()),
        ("template.emailCC", (!template.cc.is_empty()).then(|| template.cc.join(","))),
        ("template.emailBCC", (!template.bcc.is_empty()).then(|| template.bcc.join(","))),
    ];
    optional.into_iter().filter_map(|(name, value)| value.map(|value| text(name, value))).collect()
}
