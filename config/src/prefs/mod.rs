//! The typed view: what prefs.xml says, in types that the daemon turns into each room's own settings.
//!
//! A [`Prefs`] exists only where the whole file was right; there is no half-read one. Durations are `Duration`, sizes
//! `ByteSize`, lists lists, and secrets stay unresolved in [`SecretText`](crate::SecretText).
//!
//! Never: opens, resolves, binds or connects to anything to find out whether it would work.

mod access;
mod doors;
mod listeners;
mod mail;
mod plugins;
mod reader;
mod second_factor;
mod survey;
mod words;

pub use access::{BanRule, Bans, LoginLimits, PasswordPolicy};
pub use doors::{Audit, Dav, Files, Ftp, Http, Server, Ssh, Tls};
pub use listeners::Listener;
pub use mail::{EmailTemplate, Mail, MailTls};
pub use plugins::{PluginEntry, PluginLimits, PluginSetting, SettingValue};
pub use second_factor::{CodeRequest, SecondFactor, SendLimits};
pub use words::{Durability, Enforce, Enrolment, FtpPrompt, ListenerKind, SessionReuse, TlsMinimum, Verb, Words};

pub(crate) use plugins::{entries, entry_label, is_entry, is_secret_setting, setting_label};
pub(crate) use reader::given;

use crate::{
    error::{PrefsError, Refusal, Warning},
    tree::{Element, Tree},
    values::Mistake,
};
use lockgate_model::Protocol;
use reader::{Findings, Reader};

/// The name of the root element.
pub const ROOT: &str = "server_prefs";

/// Everything prefs.xml says.
#[derive(Clone, Debug, PartialEq)]
pub struct Prefs {
    /// When a second factor is due, and how it is asked for.
    pub second_factor: SecondFactor,
    /// The request that sends a code (`otp_url` and its variables).
    pub code_request: CodeRequest,
    /// How much is sent at most.
    pub send_limits: SendLimits,
    /// The mail server.
    pub mail: Mail,
    /// The texts of messages.
    pub templates: Vec<EmailTemplate>,
    /// The listeners, in the order of the file, switched-off ones too.
    pub listeners: Vec<Listener>,
    /// Limits before and during login.
    pub login: LoginLimits,
    /// When addresses are banned.
    pub bans: Bans,
    /// What a new password must have, and how passwords are checked.
    pub passwords: PasswordPolicy,
    /// FTP.
    pub ftp: Ftp,
    /// SSH.
    pub ssh: Ssh,
    /// HTTP.
    pub http: Http,
    /// WebDAV.
    pub dav: Dav,
    /// Uploads.
    pub files: Files,
    /// The server as a whole.
    pub server: Server,
    /// Certificates of the server.
    pub tls: Tls,
    /// The audit log.
    pub audit: Audit,
    /// What plugins are given.
    pub plugin_limits: PluginLimits,
    /// The plugins, in the order of the file, switched-off ones too.
    pub plugins: Vec<PluginEntry>,
}

/// A file that was read: what it says, and what is probably not meant in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// What it says.
    pub prefs: Prefs,
    /// What is probably not meant.
    pub warnings: Vec<Warning>,
}

impl Prefs {
    /// Reads a document.
    ///
    /// # Errors
    /// [`Refusal`] with every mistake in the file; the file is refused as a whole.
    pub fn read(tree: &Tree) -> Result<Reading, Refusal> {
        let mut findings = Findings::default();
        let prefs = read_all(tree.root(), &mut findings);
        let Findings { errors, mut warnings, .. } = findings;
        warnings.sort_by_key(|warning| warning.place);
        if errors.is_empty() { Ok(Reading { prefs, warnings }) } else { Err(Refusal { errors, warnings }) }
    }

    /// The template of this name.
    #[must_use]
    pub fn template(&self, name: &str) -> Option<&EmailTemplate> {
        self.templates.iter().find(|template| template.name == name)
    }

    /// Whether a code may be read on its way: a factor is due on a protocol that some listener speaks in clear.
    /// Start-up notes it.
    #[must_use]
    pub fn codes_may_travel_in_clear(&self) -> bool {
        let due = |protocol| self.second_factor.switched_on && self.second_factor.protocols.contains(protocol);
        self.listeners.iter().filter(|listener| listener.enabled).any(|listener| match listener.kind {
            ListenerKind::Ftp => due(Protocol::Ftp) && !listener.require_secure,
            ListenerKind::Http => due(Protocol::Http) || (listener.allow_webdav && due(Protocol::Webdav)),
            _ => false,
        })
    }
}

fn read_all(root: &Element, findings: &mut Findings) -> Prefs {
    if root.name() != ROOT {
        findings.errors.push(PrefsError::Conflict {
            place: Some(root.place()),
            key: root.name().to_owned(),
            problem: "is not the root element of a prefs.xml".to_owned(),
            advice: format!("put everything inside <{ROOT} type=\"properties\">"),
        });
    }
    survey::survey(root, None, "", findings);
    let mail = mail::read_server(&mut Reader::top(root, findings));
    let templates = mail::read_templates(root, findings);
    let listeners = listeners::read(root, findings);
    let plugins = plugins::read(root, findings);
    let mut top = Reader::top(root, findings);
    let prefs = Prefs {
        second_factor: second_factor::read(&mut top),
        code_request: second_factor::read_request(&mut top, &mail),
        send_limits: second_factor::read_limits(&mut top),
        mail,
        templates,
        listeners,
        login: access::read_login(&mut top),
        bans: access::read_bans(&mut top),
        passwords: access::read_passwords(&mut top),
        ftp: doors::read_ftp(&mut top),
        ssh: doors::read_ssh(&mut top),
        http: doors::read_http(&mut top),
        dav: doors::read_dav(&mut top),
        files: doors::read_files(&mut top),
        server: doors::read_server(&mut top),
        tls: doors::read_tls(&mut top),
        audit: doors::read_audit(&mut top),
        plugin_limits: plugins::read_limits(&mut top),
        plugins,
    };
    plugins::check_channels(&prefs, root, findings);
    prefs
}

/// The most items of one vector. Items are compared with each other, and a file must not be work without end.
pub(crate) const MAX_ITEMS: usize = 500;

/// The items of a vector; none where the vector is absent. Text where items belong is a mistake.
fn items<'e>(root: &'e Element, vector: &'static str, findings: &mut Findings) -> Vec<&'e Element> {
    let Some(list) = root.child(vector) else { return Vec::new() };
    if list.text().is_ok_and(|text| !text.trim().is_empty()) {
        findings.errors.push(PrefsError::Value {
            place: Some(list.place()),
            key: vector.to_owned(),
            value: None,
            expected: Mistake::from("a list of items, each an element of its own").expected,
            advice: None,
        });
    }
    let items: Vec<_> = if vector == "plugins" { entries(list) } else { list.elements().collect() };
    if items.len() > MAX_ITEMS {
        findings.conflict(
            Some(list.place()),
            vector,
            format!("has {}; at most {MAX_ITEMS} items are read", items.len()),
            "remove some",
        );
    }
    items.into_iter().take(MAX_ITEMS).collect()
}

#[cfg(test)]
mod tests;
