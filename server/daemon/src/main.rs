//! The lockgate program: wiring and commands, nothing else.
//!
//! The only room that knows all others: it reads prefs.xml, builds each room from its own settings, starts, reloads and stops.
//! No rule lives here; where `main` would need an `if` about users, the rule belongs elsewhere.

mod cli;
mod commands;
mod control;
mod factors;
mod home;
mod init;
mod logging;
mod output;
mod preferences;
mod serve;
mod stores;
mod wiring;

use clap::Parser as _;
use std::process::ExitCode;

/// Exit status for wrong usage; clap uses the same.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    match commands::run(cli) {
        Ok(code) => code,
        Err(error) => {
            output::complain(&error);
            if error.is::<output::Usage>() { ExitCode::from(USAGE) } else { ExitCode::FAILURE }
        }
    }
}
