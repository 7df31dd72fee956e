//! What an operator can know of a plugin: `plugin list`, `plugin check`, the admin pages.

use std::path::PathBuf;
use std::time::Duration;

use lockgate_plugin::abi;

use crate::wire::Description;

/// A part that a plugin can play.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Factor: carries a code to the user.
    Delivers,
    /// Factor: judges an answer itself.
    Verifies,
    /// Checks names and passwords.
    Directory,
    /// Is told what happened.
    Events,
}

impl Role {
    /// The word for lists and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Delivers => "delivers",
            Self::Verifies => "verifies",
            Self::Directory => "directory",
            Self::Events => "events",
        }
    }

    fn bit(self) -> u32 {
        match self {
            Self::Delivers => abi::DELIVERS,
            Self::Verifies => abi::VERIFIES,
            Self::Directory => abi::DIRECTORY,
            Self::Events => abi::EVENTS,
        }
    }
}

/// What a plugin is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PluginState {
    /// Loadable; its worker starts with the first call.
    Ready,
    /// Its worker runs.
    Running,
    /// It failed; its worker is started again with the first call after this time.
    Resting {
        /// From the moment of the report.
        again: Duration,
    },
    /// It could not be loaded, or does not take its settings; tried again with the next call.
    Broken,
}

impl PluginState {
    /// The word for lists and JSON.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Running => "running",
            Self::Resting { .. } => "resting",
            Self::Broken => "broken",
        }
    }
}

/// One plugin, at the moment of asking. Texts are the plugin's own, cut and without control characters.
#[derive(Debug, Clone)]
pub struct PluginReport {
    /// The channel it serves as; for `plugin check` the plugin's own name.
    pub channel: String,
    /// The plugin's name as the preferences have it.
    pub plugin: String,
    /// The file, where one was found.
    pub file: Option<PathBuf>,
    /// The plugin's own version; empty while it was never loaded.
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// JSON Schema of its settings; empty where it has none.
    pub settings: String,
    /// The parts it plays.
    pub roles: Vec<Role>,
    /// Whether users enrol with it.
    pub enrols: bool,
    /// Whether it may wait for a person, and so has 60 s instead of 5 s.
    pub waits_for_person: bool,
    /// Whether it takes one call at a time.
    pub single_threaded: bool,
    /// How far its worker could be shut in by the kernel: `full`, `partial`, `none`; empty while it was never loaded.
    pub sandbox: String,
    /// What it is doing.
    pub state: PluginState,
    /// Calls that were made.
    pub calls: u64,
    /// Calls and starts that failed.
    pub failures: u64,
    /// What failed last, without secrets.
    pub last_error: Option<String>,
}

impl PluginReport {
    pub(crate) fn new(channel: &str, plugin: &str) -> Self {
        Self {
            channel: channel.to_owned(),
            plugin: plugin.to_owned(),
            file: None,
            version: String::new(),
            summary: String::new(),
            settings: String::new(),
            roles: Vec::new(),
            enrols: false,
            waits_for_person: false,
            single_threaded: false,
            sandbox: String::new(),
            state: PluginState::Broken,
            calls: 0,
            failures: 0,
            last_error: None,
        }
    }

    pub(crate) fn describe(&mut self, said: &Description) {
        let plain = |text: &str| crate::redact::Secrets::default().blot(text, [].into_iter());
        self.version = plain(&said.version);
        self.summary = plain(&said.summary);
        self.settings = said.settings.clone();
        self.sandbox = plain(&said.sandbox);
        self.roles = [Role::Delivers, Role::Verifies, Role::Directory, Role::Events]
            .into_iter()
            .filter(|role| said.roles & role.bit() != 0)
            .collect();
        self.enrols = said.enrols;
        self.waits_for_person = said.flags & abi::WAITS_FOR_PERSON != 0;
        self.single_threaded = said.flags & abi::SINGLE_THREADED != 0;
    }
}
