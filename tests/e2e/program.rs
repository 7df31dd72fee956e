//! The program under test, and running its commands.
//!
//! `LOCKGATE_BIN` names a program to test; otherwise the debug build beside this test is brought up to date once, with
//! the plugins that ship with it. The environment of every command is made here, so that no variable of the person who
//! runs the tests (a proxy, a home) changes what is tested.

use serde_json::Value;
use std::{
    env, fmt,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Output, Stdio},
    sync::OnceLock,
};

/// The packages that make a server: the program and the factors that ship with it.
const PACKAGES: [&str; 4] = ["lockgate", "lockgate-totp", "lockgate-sms", "lockgate-email"];

/// The program's path.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| match env::var_os("LOCKGATE_BIN") {
        Some(path) => std::path::absolute(path).unwrap(),
        None => build(),
    })
}

/// The root of the sources.
pub fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The Python of the tests, with the libraries that `tests/setup` installs.
pub fn python() -> PathBuf {
    let python = sources().join("target/venv/bin/python");
    assert!(python.exists(), "{} is missing: run tests/setup", python.display());
    python
}

fn build() -> PathBuf {
    // This test is target/PROFILE/deps/e2e-HASH.
    let test = env::current_exe().unwrap();
    let folder = test.parent().and_then(Path::parent).unwrap().to_owned();
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--locked"]).current_dir(sources());
    for package in PACKAGES {
        cargo.args(["-p", package]);
    }
    if folder.ends_with("release") {
        cargo.arg("--release");
    }
    let built = cargo.stdin(Stdio::null()).output().unwrap();
    assert!(built.status.success(), "the program does not build:\n{}", String::from_utf8_lossy(&built.stderr));
    folder.join("lockgate")
}

/// A command with nothing of the caller's environment but the way to other programs.
pub fn clean_command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", search_path()).env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
    command
}

/// The caller's path, where Debian keeps servers, and where `tests/setup` keeps what Debian no longer has.
fn search_path() -> String {
    let old = sources().join("target/old-clients/usr/bin");
    format!("{}:/usr/sbin:/sbin:{}", env::var("PATH").unwrap_or_default(), old.display())
}

/// What a command came to.
pub struct Ran {
    /// How it ended.
    pub status: ExitStatus,
    /// What it printed.
    pub stdout: String,
    /// What it complained about.
    pub stderr: String,
}

impl Ran {
    /// The exit code; -1 for a signal.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Standard output of a command that must have worked.
    pub fn ok(self) -> String {
        assert!(self.status.success(), "{self}");
        self.stdout
    }

    /// Standard output of a command that must have worked, as JSON.
    pub fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|cause| panic!("not JSON ({cause}): {text}"))
    }

    /// The one line with which a command must have failed.
    pub fn complaint(&self) -> &str {
        assert_eq!(self.code(), 1, "{self}");
        let lines: Vec<&str> = self.stderr.lines().filter(|line| !line.trim().is_empty()).collect();
        assert_eq!(lines.len(), 1, "one clear line was wanted: {self}");
        lines[0]
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { status: output.status, stdout: text(output.stdout), stderr: text(output.stderr) }
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\nstdout: {}\nstderr: {}", self.status, self.stdout, self.stderr)
    }
}

/// Runs a command to its end, with `input` on its standard input.
pub fn run_with(mut command: Command, input: &str) -> Ran {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that ends before it has read everything is judged by its status.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap().into()
}
