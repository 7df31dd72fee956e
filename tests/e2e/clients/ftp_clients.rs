//! The FTP clients that users have: each goes through the same steps by a script of its own in `scripts/`.
//!
//! A script is what a user of that client would write. It is told by its environment where the server is, in which mode
//! to speak, and who to be (`HOST`, `PORT`, `MODE`, `NAME`, `PASSWORD`, and `CERTIFICATE`, the server's); it works in the
//! folder that it is started in, and ends with 0 only if nothing failed. It judges no bytes: the rule does, on both disks.

use crate::{
    house::House,
    program::{Ran, clean_command, python, run_with, sources},
};
use std::{fmt, path::Path};

/// How the control connection is protected, and with it the data connections.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Not at all.
    Plain,
    /// By `AUTH TLS`.
    Explicit,
    /// By TLS from the first byte.
    Implicit,
}

impl Mode {
    /// Every mode.
    pub const ALL: [Self; 3] = [Self::Plain, Self::Explicit, Self::Implicit];

    /// The protocol word that governs it.
    pub fn protocol(self) -> &'static str {
        if self == Self::Plain { "ftp" } else { "ftps" }
    }

    /// The listener that speaks it.
    fn door(self) -> &'static str {
        if self == Self::Implicit { "ftps" } else { "ftp" }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Explicit => "explicit",
            Self::Implicit => "implicit",
        })
    }
}

/// Runs a script in `work`, for at most two minutes. Interrupted, a script takes down what it has put up.
pub fn run_script(script: &str, house: &House, mode: Mode, name: &str, password: &str, work: &Path) -> Ran {
    let mut command = clean_command("timeout");
    command.args(["--signal=INT", "--kill-after=10", "120"]);
    match script.rsplit('.').next() {
        Some("sh") => command.arg("bash"),
        Some("py") => command.arg(python()),
        Some("pl") => command.arg("perl"),
        Some("js") => command.arg("node"),
        Some("java") => command.args(["java", "-XX:TieredStopAtLevel=1"]),
        _ => panic!("nothing runs {script}"),
    };
    let door = house.door(mode.door());
    command.arg(sources().join("tests/e2e/clients/scripts").join(script)).current_dir(work);
    command
        .env("HOME", work)
        .env("HOST", door.ip().to_string())
        .env("PORT", door.port().to_string())
        .env("MODE", mode.to_string())
        .env("NAME", name)
        .env("PASSWORD", password)
        .env("CERTIFICATE", house.home().join("keys/tls.crt"))
        .env("CLASSPATH", "/usr/share/java/commons-net.jar")
        .env("NODE_PATH", sources().join("target/npm/node_modules"));
    run_with(command, "")
}
