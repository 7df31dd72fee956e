//! A house: a home in a folder of its own, and the server that runs on it.
//!
//! Dropping it kills the server and removes the folder; after a failed test the folder stays, and the end of the
//! server's log is shown.

use crate::{
    newcomer::Newcomer,
    process,
    program::{Ran, clean_command, program, run_with},
    waiting::{self, PATIENCE},
};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// How soon a running server must follow a changed prefs.xml.
pub const FOLLOWS_WITHIN: Duration = Duration::from_secs(2);

/// One server and its home.
pub struct House {
    folder: Option<TempDir>,
    program: PathBuf,
    server: Option<Child>,
    doors: BTreeMap<String, SocketAddr>,
    environment: Vec<(String, String)>,
}

impl House {
    /// A fresh home with a running server.
    pub fn open() -> Self {
        let mut house = Self::made();
        house.serve();
        house
    }

    /// A fresh home whose server runs with these preferences.
    pub fn open_with(prefs: &[(&str, &str)]) -> Self {
        let mut house = Self::made();
        house.set(prefs);
        house.serve();
        house
    }

    /// A fresh home; nothing runs.
    pub fn made() -> Self {
        let house = Self::empty();
        house.run(&["init", "--bind", "127.0.0.1", "--ports", "ephemeral"]).ok();
        house
    }

    /// A folder that is no home yet.
    pub fn empty() -> Self {
        let folder = tempfile::Builder::new().prefix("lockgate-e2e-").tempdir().unwrap();
        let program = program().to_owned();
        Self { folder: Some(folder), program, server: None, doors: BTreeMap::new(), environment: Vec::new() }
    }

    /// Runs another copy of the program from now on.
    pub fn use_program(&mut self, program: PathBuf) {
        self.program = program;
    }

    /// Puts a variable into the server's environment, from its next start on.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// The test's folder. The home is below it.
    pub fn folder(&self) -> &Path {
        self.folder.as_ref().unwrap().path()
    }

    /// The home.
    pub fn home(&self) -> PathBuf {
        self.folder().join("home")
    }

    /// A fresh path for a file of the test, outside the home.
    pub fn scratch(&self, name: &str) -> PathBuf {
        let folder = self.folder().join("scratch");
        fs::create_dir_all(&folder).unwrap();
        folder.join(name)
    }

    /// Runs a command of the program on this home.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, "")
    }

    /// As [`House::run`], with something on standard input.
    pub fn run_with(&self, arguments: &[&str], input: &str) -> Ran {
        run_with(self.command(arguments), input)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = clean_command(&self.program);
        command
            .args(arguments)
            .arg("--home")
            .arg(self.home())
            .env("HOME", self.folder())
            .envs(self.environment.iter().cloned());
        command
    }

    /// Sets preferences.
    pub fn set(&self, prefs: &[(&str, &str)]) {
        for (key, value) in prefs {
            self.run(&["prefs", "set", key, value]).ok();
        }
    }

    /// The file of the preferences, for what only an editor can do to it.
    pub fn prefs_file(&self) -> PathBuf {
        self.home().join("prefs.xml")
    }

    /// Someone new.
    pub fn newcomer(&self, name: &str) -> Newcomer<'_> {
        Newcomer::new(self, name)
    }

    /// Starts the server and waits until it is ready.
    pub fn serve(&mut self) {
        self.serve_by(self.serve_command());
    }

    /// As [`House::serve`], by another command that becomes the server.
    pub fn serve_by(&mut self, command: Command) {
        self.begin(command);
        let status = waiting::until(PATIENCE, || {
            let status = self.run(&["status", "--json"]);
            let ended = self.server.as_mut().and_then(|server| server.try_wait().unwrap());
            assert!(ended.is_none(), "the server ended before it was ready ({ended:?}):\n{}", self.log());
            (status.code() == 0).then(|| status.json())
        });
        let status = status.unwrap_or_else(|| panic!("the server was not ready in time:\n{}", self.log()));
        assert_eq!(status["ready"], Value::Bool(true), "{status}");
        assert_eq!(status["pid"].as_u64(), Some(u64::from(self.pid())), "{status}");
        self.doors.clear();
        for listener in status["listeners"].as_array().unwrap() {
            let word = |key: &str| listener[key].as_str().unwrap().to_owned();
            self.doors.insert(word("protocol"), word("addr").parse().unwrap());
        }
    }

    /// Runs `serve` to its end: for starts that must fail.
    pub fn serve_in_vain(&self) -> Ran {
        let mut child = self.command(&["serve"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        if !waiting::holds(PATIENCE, || child.try_wait().unwrap().is_some()) {
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            panic!("the server should have refused to start:\n{}", Ran::from(output));
        }
        child.wait_with_output().unwrap().into()
    }

    /// Starts a server without waiting for it.
    pub fn begin(&mut self, mut command: Command) {
        assert!(self.server.is_none(), "a server runs already");
        let log = File::options().create(true).append(true).open(self.log_file()).unwrap();
        let child = command.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap();
        self.server = Some(child);
    }

    /// The command that [`House::serve`] starts, for a test that wraps it.
    pub fn serve_command(&self) -> Command {
        self.command(&["serve"])
    }

    /// As [`House::serve`], behind another program that takes the command as its last arguments.
    pub fn serve_behind(&mut self, mut outer: Command) {
        let inner = self.serve_command();
        outer.arg(inner.get_program()).args(inner.get_args());
        outer.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.serve_by(outer);
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().unwrap().id()
    }

    /// Asks the server to stop, and waits for it.
    pub fn stop(&mut self) -> ExitStatus {
        let mut server = self.server.take().unwrap();
        process::signal(server.id(), "TERM");
        if !waiting::holds(PATIENCE * 2, || server.try_wait().unwrap().is_some()) {
            server.kill().unwrap();
            panic!("the server did not stop:\n{}", self.log());
        }
        server.wait().unwrap()
    }

    /// Kills the server as a power cut would.
    pub fn kill(&mut self) {
        if let Some(mut server) = self.server.take() {
            server.kill().unwrap();
            server.wait().unwrap();
        }
    }

    /// Stops and starts the server.
    pub fn restart(&mut self) {
        assert!(self.stop().success(), "{}", self.log());
        self.serve();
    }

    /// Where a listener of this kind is: `ftp`, `ftps`, `sftp`, `http`, `https`.
    pub fn door(&self, kind: &str) -> SocketAddr {
        *self.doors.get(kind).unwrap_or_else(|| panic!("no {kind} listener: {:?}\n{}", self.doors, self.log()))
    }

    /// Whether there is a listener of this kind.
    pub fn has_door(&self, kind: &str) -> bool {
        self.doors.contains_key(kind)
    }

    /// What `status --json` says.
    pub fn status(&self) -> Value {
        self.run(&["status", "--json"]).json()
    }

    /// Everything that the server has written so far.
    pub fn log(&self) -> String {
        fs::read(self.log_file()).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Waits until the log has a line with all these words; says whether it came.
    pub fn logs(&self, words: &[&str]) -> bool {
        waiting::holds(PATIENCE, || self.log().lines().any(|line| words.iter().all(|word| line.contains(word))))
    }

    /// The audit records so far.
    pub fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.home().join("logs/audit.jsonl")).unwrap_or_default();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap_or_else(|cause| panic!("{cause} in audit record {line:?}")))
            .collect()
    }

    fn log_file(&self) -> PathBuf {
        self.folder().join("server.log")
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let log = self.log();
            let end: Vec<&str> = log.lines().rev().take(40).collect();
            let end: Vec<&str> = end.into_iter().rev().collect();
            if let Some(folder) = self.folder.take() {
                eprintln!("the house stays at {}; its log ends:\n{}", folder.keep().display(), end.join("\n"));
            }
        }
    }
}
