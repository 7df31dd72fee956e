//! SFTP with OpenSSH. What a person would type comes from a script that ssh asks: it tells the prompts apart, and waits
//! for the code where that is known only after the first factor.

use super::{Client, Login, Reply, Second};
use crate::{
    house::House,
    program::{Ran, clean_command},
};
use std::{
    fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
};

/// Which methods the client tries.
#[derive(Clone)]
pub enum Method {
    /// What it tries by itself: keyboard-interactive, then password.
    Any,
    /// `password`, then keyboard-interactive for the code.
    Password,
    /// Keyboard-interactive from the start.
    KeyboardInteractive,
    /// `password` alone, with the code after a colon, for clients that cannot ask.
    Compound,
    /// A public key with this private half, then keyboard-interactive for the code.
    Key(PathBuf),
}

/// The `sftp` of OpenSSH.
pub struct OpenSsh(pub Method);

/// Answers ssh's questions. The code is in a file that may appear later; an empty file means that there is none.
const ASKPASS: &str = r#"#!/bin/sh
case "$1" in
*"erification code"*)
    printf '%s\n' "$1" >>"$TEST_PROMPTS"
    tries=0
    while [ ! -e "$TEST_CODE" ] && [ $tries -lt 1200 ]; do
        tries=$((tries + 1))
        sleep 0.05
    done
    [ -s "$TEST_CODE" ] || exit 1
    cat "$TEST_CODE"
    ;;
*) printf '%s\n' "$TEST_PASSWORD" ;;
esac
"#;

impl OpenSsh {
    /// Logs in and does what the batch says, to its first failure.
    pub fn run(&self, house: &House, login: &Login<'_>, batch: &str) -> Reply {
        let (door, talk) = (house.door("sftp"), Talk::prepare(house));
        let mut command = self.command("sftp", house, login, &talk);
        // -b would switch questions off, had BatchMode not been set before.
        command.args(["-b", "-", "-P", &door.port().to_string(), &format!("{}@{}", login.name, door.ip())]);
        self.converse(command, login, &talk, batch)
    }

    /// Runs `scp` with the arguments that `ends` makes of `USER@HOST`.
    pub fn copy(&self, house: &House, login: &Login<'_>, ends: impl Fn(&str) -> [String; 2]) -> Reply {
        let (door, talk) = (house.door("sftp"), Talk::prepare(house));
        let mut command = self.command("scp", house, login, &talk);
        command.args(["-P", &door.port().to_string()]).args(ends(&format!("{}@{}", login.name, door.ip())));
        self.converse(command, login, &talk, "")
    }

    fn converse(&self, mut command: Command, login: &Login<'_>, talk: &Talk, batch: &str) -> Reply {
        let secret = if matches!(self.0, Method::Compound) { login.compound() } else { login.password.to_owned() };
        command.env("TEST_PASSWORD", secret).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match login.second {
            Second::Nothing => talk.tell(""),
            Second::Code(code) => talk.tell(code),
            Second::Asked(_) => {}
        }
        let mut child = command.spawn().unwrap();
        let _ = child.stdin.take().unwrap().write_all(batch.as_bytes());
        if let Second::Asked(obtain) = login.second {
            talk.tell(&obtain().unwrap_or_default());
        }
        let ran = Ran::from(child.wait_with_output().unwrap());
        Reply::judge(&ran, is_refusal)
    }

    fn command(&self, program: &str, house: &House, login: &Login<'_>, talk: &Talk) -> Command {
        let mut command = clean_command(program);
        command.env("HOME", house.folder());
        command.env("SSH_ASKPASS", &talk.script).env("SSH_ASKPASS_REQUIRE", "force").env("DISPLAY", ":0");
        command.env("TEST_CODE", &talk.code).env("TEST_PROMPTS", &talk.prompts);
        command.args(["-q", "-F", "/dev/null"]);
        let from = format!("BindAddress={}", login.from);
        let fixed = [
            "BatchMode=no",
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "IdentityAgent=none",
            "NumberOfPasswordPrompts=1",
            "ConnectTimeout=20",
            "LogLevel=ERROR",
            &from,
        ];
        for option in fixed {
            command.args(["-o", option]);
        }
        let methods = match &self.0 {
            Method::Any => "keyboard-interactive,password",
            Method::Password => "password,keyboard-interactive",
            Method::KeyboardInteractive => "keyboard-interactive",
            Method::Compound => "password",
            Method::Key(key) => {
                command.args(["-o", "IdentitiesOnly=yes", "-i"]).arg(key);
                "publickey,keyboard-interactive"
            }
        };
        command.args(["-o", &format!("PreferredAuthentications={methods}")]);
        command
    }
}

/// What passes between the test and the script that ssh asks.
struct Talk {
    script: PathBuf,
    code: PathBuf,
    prompts: PathBuf,
}

impl Talk {
    fn prepare(house: &House) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let [script, code, prompts] =
            ["askpass", "code", "prompts"].map(|kind| house.scratch(&format!("ssh-{number}-{kind}")));
        fs::write(&script, ASKPASS).unwrap();
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
        Self { script, code, prompts }
    }

    /// Appears whole: the script waits for the name.
    fn tell(&self, code: &str) {
        let staged = self.code.with_extension("staged");
        fs::write(&staged, code).unwrap();
        fs::rename(&staged, &self.code).unwrap();
    }
}

/// The end of the methods, or a disconnect that says so.
fn is_refusal(ran: &Ran) -> bool {
    let refusals =
        ["Permission denied", "Too many authentication failures", "Connection closed", "Received disconnect"];
    ran.code() == 255 && refusals.iter().any(|words| ran.stderr.contains(words))
}

/// A path as sftp's batch language takes it.
fn quoted(path: &str) -> String {
    format!("\"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
}

impl Client for OpenSsh {
    fn protocol(&self) -> &'static str {
        "sftp"
    }

    fn name(&self) -> &'static str {
        match self.0 {
            Method::Any => "sftp",
            Method::Password => "sftp-password",
            Method::KeyboardInteractive => "sftp-keyboard-interactive",
            Method::Compound => "sftp-compound",
            Method::Key(_) => "sftp-key",
        }
    }

    fn login(&self, house: &House, login: &Login<'_>) -> Reply {
        self.run(house, login, "ls\n")
    }

    fn put(&self, house: &House, login: &Login<'_>, local: &Path, remote: &str) -> Reply {
        self.run(house, login, &format!("put {} {}\n", quoted(local.to_str().unwrap()), quoted(remote)))
    }

    fn get(&self, house: &House, login: &Login<'_>, remote: &str, local: &Path) -> Reply {
        self.run(house, login, &format!("get {} {}\n", quoted(remote), quoted(local.to_str().unwrap())))
    }

    fn repeats(&self) -> bool {
        false
    }
}
