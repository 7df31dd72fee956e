//! Loads, checks and calls plugins in workers of their own, and never trusts one.
//!
//! Two halves that are never in the same process. The server holds a [`PluginHost`]: it decides which file may be loaded,
//! starts a worker process for it, speaks to it over a socket with a deadline on every call, and turns it into a
//! [`Factor`](lockgate_access::Factor) for the gate. The worker ([`worker::run`]) gives up what rights it can and loads the
//! file. A plugin that hangs, crashes or lies costs its worker, and the login it happened in is denied or goes to another
//! channel.
//!
//! Never: a plugin's code in the server's process; a length, a status or a role that is believed unread; a failure that
//! counts as a yes.

mod directory;
mod error;
mod factor;
mod host;
mod line;
mod process;
mod redact;
mod report;
mod start;
mod trust;
mod wire;
pub mod worker;

pub use directory::{PluginDirectory, Standing};
pub use error::PluginError;
pub use host::{PluginHost, PluginSettings, PluginSpec};
pub use line::Deadlines;
pub use process::WorkerCommand;
pub use report::{PluginReport, PluginState, Role};
pub use trust::SearchPath;
