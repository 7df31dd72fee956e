//! The server's log: to standard error, so that whoever runs it decides where it goes.

use std::io::{self, IsTerminal as _};
use tracing_subscriber::EnvFilter;

/// Starts logging at `info`, or as `LOCKGATE_LOG` says (`debug`, `lockgate_sftp=trace`, …).
///
/// Libraries that log what clients send stay quiet at every level: a password must not be one `debug` away.
pub(crate) fn start() {
    let wanted = std::env::var("LOCKGATE_LOG").unwrap_or_else(|_| "info".to_owned());
    let quiet = ["russh=warn", "hyper=warn", "h2=warn", "rustls=error", "sqlx=warn", "dav_server=warn"];
    let mut filter = EnvFilter::try_new(&wanted).unwrap_or_else(|_| EnvFilter::new("info"));
    for rule in quiet {
        if let Ok(directive) = rule.parse() {
            filter = filter.add_directive(directive);
        }
    }
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .try_init();
}
