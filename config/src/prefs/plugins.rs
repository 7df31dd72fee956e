//! The plugins that may load, and the settings each of them is given.
//!
//! CrushFTP nests one vector in another (a plugin, its instances); a flat vector of entries is read the same. What a
//! setting means is the plugin's to say, so its names are free and its values text.

use super::{Prefs, items, reader::Findings, reader::Reader};
use crate::{
    error::PrefsError,
    keys,
    secret::{SecretText, sounds_secret},
    tree::{Element, Place},
    values::{SendTarget, is_channel_name, is_plain_name},
};
use std::{collections::BTreeMap, time::Duration};

/// One plugin entry.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginEntry {
    /// `pluginName`.
    pub name: String,
    /// `subItem`; `None` where the plugin is there once.
    pub instance: Option<String>,
    /// `enabled`.
    pub enabled: bool,
    /// `file`: the file in the home's plugin folder; `None` where it is called after the plugin.
    pub file: Option<String>,
    /// `sha256` in lower-case hexadecimal, which the file must have.
    pub sha256: Option<String>,
    /// Everything else in the entry, in order.
    pub settings: Vec<PluginSetting>,
}

impl PluginEntry {
    /// What it is called in `otp_channels`: the name of the instance, or of the plugin.
    #[must_use]
    pub fn channel(&self) -> &str {
        self.instance.as_deref().unwrap_or(&self.name)
    }

    /// Whether the entry itself sets this.
    #[must_use]
    pub fn sets(&self, name: &str) -> bool {
        self.settings.iter().any(|setting| setting.name == name)
    }
}

/// One setting of a plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginSetting {
    /// The name.
    pub name: String,
    /// The value.
    pub value: SettingValue,
}

/// The value of a plugin's setting.
#[derive(Clone, PartialEq)]
pub enum SettingValue {
    /// Text.
    Text(String),
    /// A secret: its name sounds like one, or it is stored encrypted.
    Secret(SecretText),
}

impl std::fmt::Debug for SettingValue {
    /// What a setting holds is not known here, so none is printed.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(_) => f.write_str("Text(..)"),
            Self::Secret(secret) => secret.fmt(f),
        }
    }
}

/// What plugins are given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginLimits {
    /// `plugin_call_timeout`.
    pub call_timeout: Duration,
    /// `plugin_wait_timeout`, for one that waits for a person.
    pub wait_timeout: Duration,
    /// `plugin_max_calls`: calls of one plugin at once.
    pub max_calls: u32,
}

pub(super) fn read_limits(top: &mut Reader<'_>) -> PluginLimits {
    PluginLimits {
        call_timeout: top.duration("plugin_call_timeout"),
        wait_timeout: top.duration("plugin_wait_timeout"),
        max_calls: top.count("plugin_max_calls"),
    }
}

/// The entries of the `plugins` element, in order, out of both shapes.
pub(crate) fn entries(plugins: &Element) -> Vec<&Element> {
    plugins.elements().flat_map(|item| if is_entry(item) { vec![item] } else { item.elements().collect() }).collect()
}

/// An entry holds properties; a group holds entries.
pub(crate) fn is_entry(item: &Element) -> bool {
    item.child("pluginName").is_some() || item.attribute("type").is_none_or(|kind| kind != "vector")
}

/// Whether an element of an entry is one of its keys, and not a setting of the plugin.
fn is_reserved(name: &str) -> bool {
    keys::find(Some("plugins"), name).is_some()
}

/// How an entry is called: `sms`, or `sms:backup` for an instance.
pub(crate) fn entry_label(entry: &Element) -> String {
    let text = |name: &str| {
        entry.child(name).and_then(|child| child.text().ok()).map(|text| text.trim().to_owned()).unwrap_or_default()
    };
    let (name, instance) = (text("pluginName"), text("subItem"));
    if instance.is_empty() { name } else { format!("{name}:{instance}") }
}

pub(super) fn read(root: &Element, findings: &mut Findings) -> Vec<PluginEntry> {
    let mut read: Vec<PluginEntry> = Vec::new();
    for (index, entry) in items(root, "plugins", findings).into_iter().enumerate() {
        let settings = settings(entry, index, findings);
        let mut reader = Reader::item(entry, "plugins", index, findings);
        let name = reader.text("pluginName").unwrap_or_default();
        let found = PluginEntry {
            instance: reader.text("subItem"),
            enabled: reader.switch("enabled"),
            file: reader.text("file"),
            sha256: reader.text("sha256"),
            settings,
            name,
        };
        let (place, key) = (reader.place("pluginName").or(Some(entry.place())), reader.path("pluginName"));
        if reader.is_given("pluginName") && !is_plain_name(&found.name) {
            findings.conflict(place, key, "is no name of a plugin", "write letters, digits, _ and -");
        } else if found.enabled
            && reader.is_given("pluginName")
            && !(is_channel_name(&found.name) && is_channel_name(found.channel()))
        {
            let problem = format!("is {:?}, which cannot be put to use", entry_label(entry));
            let advice =
                "write pluginName and subItem in lower-case letters, digits and -, at most 32, or set enabled to false";
            findings.conflict(place, key, problem, advice);
        } else if read.iter().any(|other| other.name == found.name && other.instance == found.instance) {
            let problem = format!("is {:?}, which another entry is already", entry_label(entry));
            findings.conflict(place, key, problem, "give one of them another subItem, or remove it");
        }
        read.push(found);
    }
    read
}

fn settings(entry: &Element, index: usize, findings: &mut Findings) -> Vec<PluginSetting> {
    let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
    let mut settings = Vec::new();
    for child in entry.elements() {
        let name = child.name();
        let path = format!("plugins[{index}].{name}");
        if let Some(&first) = seen.get(name) {
            findings.errors.push(PrefsError::Repeated { place: child.place(), first, key: path });
            continue;
        }
        seen.insert(name, child.place());
        if is_reserved(name) {
            continue;
        }
        match child.text() {
            Err(_) => findings.warn(
                Some(child.place()),
                path,
                "has elements inside: plugins are given text, it is kept and not passed on",
            ),
            Ok(text) => match setting_value(&entry_label(entry), name, &text) {
                Ok(value) => settings.push(PluginSetting { name: name.to_owned(), value }),
                Err(expected) => findings.errors.push(PrefsError::Value {
                    place: Some(child.place()),
                    key: path,
                    value: None,
                    expected: expected.to_owned(),
                    advice: None,
                }),
            },
        }
    }
    settings
}

fn setting_value(entry: &str, name: &str, text: &str) -> Result<SettingValue, &'static str> {
    if is_secret_setting(name) || text.trim_start().starts_with("enc:v1:") {
        let secret = SecretText::parse(&setting_label(entry, name), text)?;
        return Ok(secret.map_or_else(|| SettingValue::Text(String::new()), SettingValue::Secret));
    }
    Ok(SettingValue::Text(text.to_owned()))
}

/// Whether a plugin's setting is treated as a secret.
pub(crate) fn is_secret_setting(name: &str) -> bool {
    sounds_secret(name)
}

/// The label under which a plugin's secret is sealed: by name, so that moving entries about does not void it.
pub(crate) fn setting_label(entry: &str, name: &str) -> String {
    format!("plugins[{entry}].{name}")
}

/// Channels that nothing can serve deny every login that needs a factor: better said before than found out.
pub(super) fn check_channels(prefs: &Prefs, root: &Element, findings: &mut Findings) {
    if !prefs.second_factor.switched_on {
        return;
    }
    let serves = |channel: &str| prefs.plugins.iter().any(|plugin| plugin.enabled && plugin.channel() == channel);
    let given = root.child("otp_channels").map(Element::place);
    let place = given.or_else(|| root.child("plugins").map(Element::place));
    let channels = &prefs.second_factor.channels;
    if !channels.iter().any(|channel| serves(channel)) {
        let text = "names no channel whose plugin is enabled: every login that needs a code is denied";
        findings.warn(place, "otp_channels", text);
        return;
    }
    // The default names more than every server has; only what was written down, and the authenticator, is missed.
    for channel in channels.iter().filter(|channel| !serves(channel) && (given.is_some() || *channel == "totp")) {
        let text = format!("names {channel}, for which no plugin is enabled: nobody can log in with it");
        findings.warn(place, "otp_channels", text);
    }
    check_sending(prefs, root, findings);
}

/// `otp_url` configures one channel that sends, which must then be there; the other one has what its own entry says.
fn check_sending(prefs: &Prefs, root: &Element, findings: &mut Findings) {
    let (what, plugin) = match &prefs.code_request.target {
        Some(SendTarget::Request(_)) => ("a request", "sms"),
        Some(SendTarget::Email) => ("SMTP", "email"),
        None => ("", ""),
    };
    let place = |name| root.child(name).map(Element::place);
    let mut sending = prefs.plugins.iter().filter(|entry| entry.enabled && entry.name == plugin).peekable();
    if !plugin.is_empty() && sending.peek().is_none() {
        let text = format!("is {what}, but the plugin {plugin} is not enabled: no code is sent by it");
        findings.warn(place("otp_url"), "otp_url", text);
    } else if !plugin.is_empty()
        && !sending.any(|entry| prefs.second_factor.channels.iter().any(|channel| channel == entry.channel()))
    {
        let text = format!("is {what}, but otp_channels does not name {plugin}: no code is sent by it");
        findings.warn(place("otp_url"), "otp_url", text);
    }
    let idle_mail = |entry: &PluginEntry| entry.enabled && entry.name == "email" && !entry.sets("smtp_server");
    if plugin != "email" && prefs.mail.host.is_some() && prefs.plugins.iter().any(idle_mail) {
        let text = "is set, but otp_url is not SMTP: no code goes by email; write SMTP there, or put smtp_server and the \
                    rest into the email plugin's own entry";
        findings.warn(place("smtp_server"), "smtp_server", text);
    }
}
