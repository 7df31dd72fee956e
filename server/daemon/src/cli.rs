//! The command line: words and their meaning, as the contract has them. What each does is in [`crate::commands`].

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::{net::IpAddr, path::PathBuf};

/// A file-transfer server with a second gate on every protocol.
#[derive(Parser)]
#[command(
    name = "lockgate",
    version,
    about = "A file-transfer server with a second gate on every protocol",
    propagate_version = true
)]
pub(crate) struct Cli {
    /// Where prefs.xml, users, files and keys are.
    #[arg(long, global = true, env = "LOCKGATE_HOME", value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// Print data as JSON.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Make a home: prefs.xml, database, keys, certificate and an administrator.
    Init(Init),
    /// Run the server in the foreground; makes the home first where it is empty.
    Serve(Init),
    /// Say whether the server runs, and where its doors are.
    Status,
    /// Users and what they may do.
    #[command(subcommand)]
    User(User),
    /// Second factors of users.
    #[command(subcommand)]
    Otp(Otp),
    /// prefs.xml.
    #[command(subcommand)]
    Prefs(Prefs),
    /// Plugins.
    #[command(subcommand)]
    Plugin(Plugin),
    /// Live sessions.
    #[command(subcommand)]
    Session(Session),
    /// Addresses that are shut out.
    #[command(subcommand)]
    Ban(Ban),
    /// Print a completion script for a shell.
    Completions {
        /// Which shell.
        shell: clap_complete::Shell,
    },
    /// The process in which one plugin lives. Started by the server, not by people.
    #[command(hide = true)]
    PluginWorker {
        /// The shared object.
        file: PathBuf,
    },
}

#[derive(Args, Clone)]
pub(crate) struct Init {
    /// The address that the listeners take.
    #[arg(long, value_name = "IP", default_value = "0.0.0.0")]
    pub(crate) bind: IpAddr,
    /// Fixed ports, or any free ones.
    #[arg(long, value_enum, default_value_t = Ports::Default)]
    pub(crate) ports: Ports,
    /// Name of the first administrator.
    #[arg(long, value_name = "NAME", default_value = "admin")]
    pub(crate) admin: String,
}

#[derive(Clone, Copy, ValueEnum, PartialEq, Eq)]
pub(crate) enum Ports {
    /// 2121, 2990, 2222, 8080, 8443 and 50000-50099.
    Default,
    /// Port 0 on every listener: the system chooses, `lockgate status` tells.
    Ephemeral,
}

#[derive(Subcommand)]
pub(crate) enum User {
    /// Make a user.
    Add(UserAdd),
    /// Change a user.
    Set(UserSet),
    /// List the users.
    List,
    /// Show a user.
    Show { name: String },
    /// Remove a user; the files stay.
    Del { name: String },
    /// Set a user's password.
    Password {
        name: String,
        /// Read the password from standard input (one line).
        #[arg(long)]
        password_stdin: bool,
    },
    /// Public keys for SSH.
    #[command(subcommand)]
    Key(Key),
    /// Name the client certificate that opens a user's account instead of the password, on FTP under TLS.
    Certificate {
        name: String,
        /// The certificate, PEM: its subject is what counts, as long as an authority of the listener vouches for it.
        #[arg(required_unless_present = "clear")]
        file: Option<PathBuf>,
        /// Name none any more.
        #[arg(long, conflicts_with = "file")]
        clear: bool,
    },
    /// Passwords for clients that cannot ask for a code.
    #[command(subcommand)]
    AppPassword(AppPassword),
    /// Forget a user's failures and pauses.
    Unlock { name: String },
}

#[derive(Args)]
pub(crate) struct UserAdd {
    pub(crate) name: String,
    /// Read the password from standard input (one line). Without it the user has no password.
    #[arg(long)]
    pub(crate) password_stdin: bool,
    #[command(flatten)]
    pub(crate) properties: Properties,
}

#[derive(Args)]
pub(crate) struct UserSet {
    pub(crate) name: String,
    /// Read a new password from standard input (one line).
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// Take the administrator's rights away.
    #[arg(long, conflicts_with = "admin")]
    pub(crate) no_admin: bool,
    /// Clear the two-factor flag.
    #[arg(long, conflicts_with = "otp")]
    pub(crate) no_otp: bool,
    /// Let the user write again.
    #[arg(long, conflicts_with = "read_only")]
    pub(crate) no_read_only: bool,
    /// No logins any more; live sessions end.
    #[arg(long, conflicts_with = "enable")]
    pub(crate) disable: bool,
    /// Logins again.
    #[arg(long)]
    pub(crate) enable: bool,
    #[command(flatten)]
    pub(crate) properties: Properties,
}

#[derive(Args)]
pub(crate) struct Properties {
    /// Make the user an administrator.
    #[arg(long)]
    pub(crate) admin: bool,
    /// Mail address.
    #[arg(long, value_name = "A")]
    pub(crate) email: Option<String>,
    /// Phone number, as +49170…
    #[arg(long, value_name = "N")]
    pub(crate) phone: Option<String>,
    /// Set the two-factor flag.
    #[arg(long)]
    pub(crate) otp: bool,
    /// The protocols on which this user needs a code, and no others: sets otp_auth_PROTOCOL for each. Empty: as the
    /// preferences say.
    #[arg(long, value_name = "LIST")]
    pub(crate) otp_protocols: Option<String>,
    /// The folder of the host where the user's files are.
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Option<PathBuf>,
    /// Read and list only.
    #[arg(long)]
    pub(crate) read_only: bool,
    /// The most that the user's files may take, in bytes.
    #[arg(long, value_name = "BYTES")]
    pub(crate) quota: Option<String>,
    /// The day the account ends, as 2030-12-31.
    #[arg(long, value_name = "DATE")]
    pub(crate) expires: Option<String>,
    /// Any property under its name in prefs.xml; an empty value removes it. Can be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

#[derive(Subcommand)]
pub(crate) enum Key {
    /// Add the public keys of a file, or of standard input for `-`.
    Add { name: String, file: PathBuf },
    /// List a user's keys.
    List { name: String },
    /// Remove a key.
    Del { name: String, fingerprint: String },
}

#[derive(Subcommand)]
pub(crate) enum AppPassword {
    /// Make one; it is printed once.
    Add {
        name: String,
        /// Where it opens: a list of ftp, ftps, sftp, http, https, webdav.
        #[arg(long, value_name = "LIST")]
        protocols: String,
        /// What it is for.
        #[arg(long, default_value = "")]
        label: String,
    },
    /// List a user's app passwords.
    List { name: String },
    /// Remove one by its id.
    Del { name: String, id: String },
}

#[derive(Subcommand)]
pub(crate) enum Otp {
    /// Make an authenticator secret for a user and enrol it at once.
    Enroll { name: String },
    /// Remove a user's enrolment.
    Reset { name: String },
    /// Make fresh recovery codes; the old ones stop working.
    Recovery { name: String },
    /// Print a single-use link with which a user enrols on the web (24 h).
    Invite { name: String },
    /// Say for each protocol whether a factor is due, by which rule, through which channels.
    Explain {
        name: String,
        /// One protocol only.
        #[arg(long, value_name = "P")]
        protocol: Option<String>,
        /// As if the user came from this address.
        #[arg(long, value_name = "ADDRESS")]
        from: Option<IpAddr>,
    },
}

#[derive(Subcommand)]
pub(crate) enum Prefs {
    /// Print the value of a key.
    Get { key: String },
    /// Set a key; the file is checked as a whole before it is written.
    Set {
        key: String,
        /// The value; `-` reads one line of standard input, for secrets.
        #[arg(allow_hyphen_values = true)]
        value: String,
    },
    /// Check the file.
    Check,
    /// Print every key with its value.
    Show {
        /// Print the defaults and what each key means instead.
        #[arg(long)]
        defaults: bool,
    },
}

#[derive(Subcommand)]
pub(crate) enum Plugin {
    /// The plugins that prefs.xml names, their versions and health.
    List,
    /// Say whether a file is a plugin that could be loaded.
    Check { file: PathBuf },
}

#[derive(Subcommand)]
pub(crate) enum Session {
    /// The live sessions.
    List,
    /// End one.
    Kill { id: String },
}

#[derive(Subcommand)]
pub(crate) enum Ban {
    /// The addresses that are shut out.
    List,
    /// Shut an address out.
    Add {
        address: IpAddr,
        /// For how many minutes.
        #[arg(long, default_value_t = 60, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=52_560_000))]
        minutes: u64,
    },
    /// Let an address in again, or all where none is given.
    Clear { address: Option<IpAddr> },
}
