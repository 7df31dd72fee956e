//! Why a plugin did not load or a call did not come back. For the operator: log, `plugin list`, `plugin check`.
//!
//! Nothing of this reaches a client; there, a channel that cannot serve looks like every other denial.

use std::path::PathBuf;
use std::time::Duration;

/// What went wrong between the server and a plugin.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum PluginError {
    /// The name cannot be that of a plugin.
    #[error("{name:?} is no plugin name; use 1 to 32 letters a-z, digits and -, and no path")]
    Name {
        /// As the preferences have it.
        name: String,
    },
    /// No file of that name in any of the places.
    #[error("the plugin {name} is in none of {}; put lockgate_{name}.so into the first of them", listed(.places))]
    NotFound {
        /// The plugin.
        name: String,
        /// The files that were looked for.
        places: Vec<PathBuf>,
    },
    /// The file or its folder can be changed by somebody it must not be.
    #[error("{} is not to be trusted: {why}", .path.display())]
    Untrusted {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong, and what to do.
        why: String,
    },
    /// The file could not be looked at.
    #[error("{} cannot be read: {why}", .path.display())]
    Unreadable {
        /// The file or folder.
        path: PathBuf,
        /// As the system says it.
        why: String,
    },
    /// The worker could not be started.
    #[error("the plugin's worker cannot be started: {why}")]
    Spawn {
        /// As the system says it.
        why: String,
    },
    /// The file is no plugin that can be used; the worker says why.
    #[error("{} cannot be loaded: {why}", .path.display())]
    Refused {
        /// The file.
        path: PathBuf,
        /// As the worker or the system says it.
        why: String,
    },
    /// The plugin says of itself something else than when it was first loaded.
    #[error("the plugin's {what} changed since the server loaded it first; restart the server to take it as it is now")]
    Changed {
        /// What changed.
        what: &'static str,
    },
    /// The plugin does not take its settings.
    #[error("the plugin does not take its settings: {why}")]
    Settings {
        /// The plugin's words.
        why: String,
    },
    /// The call or the start took too long; the worker was ended.
    #[error("the plugin did not answer within {} ms; its worker was ended", .after.as_millis())]
    Late {
        /// The deadline that passed.
        after: Duration,
    },
    /// The worker went away.
    #[error("the plugin's worker ended unexpectedly")]
    Gone,
    /// The worker sent what is no answer; it was ended.
    #[error("the plugin's worker sent garbage and was ended")]
    Garbage,
    /// The worker failed a moment ago and is not started again yet.
    #[error("the plugin failed before and is tried again in {} ms", .again.as_millis())]
    Resting {
        /// How long from now.
        again: Duration,
    },
    /// Too many calls are waiting.
    #[error("too many calls are waiting for the plugin")]
    Busy,
    /// The plugin says that it cannot serve now.
    #[error("the plugin cannot serve now: {why}")]
    Unavailable {
        /// The plugin's words.
        why: String,
    },
    /// The plugin says that something is wrong, or says what cannot be.
    #[error("the plugin reports an error: {why}")]
    Plugin {
        /// The plugin's words, or ours.
        why: String,
    },
}

fn listed(places: &[PathBuf]) -> String {
    let places: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    places.join(", ")
}
