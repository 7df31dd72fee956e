//! What each command does.

mod otp;
mod plugin;
mod prefs;
mod running;
mod user;

pub(crate) use plugin::plugin_row;

use crate::{cli, home::Home, init, output, serve};
use anyhow::Context as _;
use clap::CommandFactory as _;
use lockgate_model::{Secret, UserName};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::{
    io::{self, BufRead as _, Read as _},
    process::ExitCode,
};

/// Runs one command to its end.
pub(crate) fn run(cli: cli::Cli) -> anyhow::Result<ExitCode> {
    // The worker is handed what it may see and opens nothing of the home.
    if let cli::Command::PluginWorker { file } = &cli.command {
        return Ok(plugin::worker(file));
    }
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    if let cli::Command::Completions { shell } = cli.command {
        clap_complete::generate(shell, &mut cli::Cli::command(), "lockgate", &mut io::stdout());
        return Ok(ExitCode::SUCCESS);
    }
    let home = Home::locate(cli.home)?;
    let json = cli.json;
    match cli.command {
        cli::Command::Serve(first) => {
            serve::run(&home, &first)?;
            Ok(ExitCode::SUCCESS)
        }
        cli::Command::Init(wanted) => {
            let made = wait(init::run(&home, &wanted))?;
            init::tell(&home, &made, json);
            Ok(ExitCode::SUCCESS)
        }
        cli::Command::Status => running::status(&home, json),
        cli::Command::User(command) => wait(user::run(&home, command, json)),
        cli::Command::Otp(command) => wait(otp::run(&home, command, json)),
        cli::Command::Prefs(command) => prefs::run(&home, command, json),
        cli::Command::Plugin(command) => wait(plugin::run(&home, command, json)),
        cli::Command::Session(command) => running::session(&home, command, json),
        cli::Command::Ban(command) => wait(running::ban(&home, command, json)),
        cli::Command::Completions { .. } | cli::Command::PluginWorker { .. } => Ok(ExitCode::SUCCESS),
    }
}

/// Runs a command that waits for stores, on a small runtime of its own.
fn wait<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start a runtime")?.block_on(work)
}

/// A user's name as given on the command line.
fn name(text: &str) -> anyhow::Result<UserName> {
    UserName::new(text).map_err(|error| output::Usage(format!("{text:?} is no user name: {error}")).into())
}

/// One line of standard input, without its line end: exactly as typed otherwise.
fn password_from_stdin() -> anyhow::Result<Secret<String>> {
    /// Far above the longest password, so that one that is too long is refused by the rule and not cut here.
    const LONGEST_LINE: u64 = 64 * 1024;
    let _silent = Silent::on_a_terminal();
    let mut line = String::new();
    io::stdin()
        .lock()
        .take(LONGEST_LINE)
        .read_line(&mut line)
        .context("cannot read the password from standard input")?;
    let length = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(length);
    Ok(Secret::new(line))
}

/// A terminal that does not show what is typed, until this is dropped.
struct Silent(Termios);

impl Silent {
    /// Asks for the secret and stops the echo, where standard input is a terminal.
    fn on_a_terminal() -> Option<Self> {
        let before = tcgetattr(io::stdin()).ok()?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent).ok()?;
        output::note("type the secret, then press Enter; it is not shown");
        Some(Self(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}
