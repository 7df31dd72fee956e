//! A worker process as the server holds it: how it is started, spoken to and ended.
//!
//! The child is handed three descriptors in the places of the standard ones, so nothing has to be unsafe: the far end of a
//! socket pair, the file to load, and the folder that it may read. It gets a process group of its own, which the worker's
//! cage does not let anybody leave: what a plugin forks ends with it, and a Ctrl-C meant for the server does not reach it.
//! Secrets go over the socket only, never into arguments or environment.
//!
//! A signal at the parent's death is not asked for: the kernel means the parent's thread by it, and the runtime's threads
//! come and go. A worker ends with its socket.
//!
//! Never: blocks on a worker. Reading and writing are tasks of their own, and what waits for them has a deadline.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;
use zeroize::Zeroizing;

use crate::PluginError;
use crate::trust::Trusted;
use crate::wire::{self, Report};

/// The program that plays the worker, and its arguments before the plugin's file.
#[derive(Debug, Clone)]
pub struct WorkerCommand {
    program: PathBuf,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, OsString)>,
}

impl WorkerCommand {
    /// The running program itself, `plugin-worker FILE`; still the same one after its file was replaced.
    #[must_use]
    pub fn this_program() -> Self {
        Self::new("/proc/self/exe").argument("plugin-worker")
    }

    /// Another program that calls [`crate::worker::run`].
    pub fn new(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), arguments: Vec::new(), environment: Vec::new() }
    }

    /// One more argument before the file.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// One more variable beside those that every worker is handed (proxies, TLS roots, time zone). No secrets: other
    /// processes of the same user can read it.
    #[must_use]
    pub fn variable(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    pub(crate) fn spawn(&self, trusted: Trusted) -> Result<Worker, PluginError> {
        let failed = |error: std::io::Error| PluginError::Spawn { why: error.to_string() };
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(failed)?;
        ours.set_nonblocking(true).map_err(failed)?;
        let passed = crate::worker::PASSED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)));
        let child = Command::new(&self.program)
            .args(&self.arguments)
            // For people who look at the list of processes: what is loaded is the descriptor.
            .arg(&trusted.path)
            .env_clear()
            .envs(passed)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/")
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(trusted.file))
            .stderr(trusted.data.map_or_else(Stdio::null, Stdio::from))
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let (reader, writer) = UnixStream::from_std(ours).map_err(failed)?.into_split();
        let (requests, to_write) = mpsc::channel(OUTSTANDING);
        let (read, reports) = mpsc::channel(OUTSTANDING);
        tokio::spawn(write(writer, to_write));
        tokio::spawn(listen(reader, read));
        Ok(Worker { child, requests: Some(requests), reports })
    }
}

/// What comes out of a worker.
pub(crate) enum Heard {
    /// One report that reads.
    Report(Report),
    /// Something else; nothing follows.
    Garbage,
}

/// A running worker. Dropping it ends the process at once.
pub(crate) struct Worker {
    child: Child,
    requests: Option<mpsc::Sender<Zeroizing<Vec<u8>>>>,
    reports: mpsc::Receiver<Heard>,
}

impl Worker {
    /// Hands over one encoded request without waiting; `false` where the worker does not take any more.
    pub(crate) fn send(&self, frame: Zeroizing<Vec<u8>>) -> bool {
        self.requests.as_ref().is_some_and(|requests| requests.try_send(frame).is_ok())
    }

    /// The next report; `None` once the worker has closed its end. Safe to drop half-way.
    pub(crate) async fn hear(&mut self) -> Option<Heard> {
        self.reports.recv().await
    }

    /// Lets the worker close its instance, for a moment, and ends it then in any case. Returns at once.
    pub(crate) fn part(mut self) {
        self.requests = None;
        tokio::spawn(async move {
            // Not by waiting for the process: its id would be free then, and what it forked could not be ended by it.
            let silence = async { while self.hear().await.is_some() {} };
            let _ = tokio::time::timeout(PARTING, silence).await;
            drop(self);
        });
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // The id is there until the process was waited for, so it cannot be another's. `kill_on_drop` reaps the child.
        if let Some(group) = self.child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = rustix::process::kill_process_group(group, Signal::KILL);
        }
    }
}

async fn write(mut socket: OwnedWriteHalf, mut frames: mpsc::Receiver<Zeroizing<Vec<u8>>>) {
    while let Some(frame) = frames.recv().await {
        if socket.write_all(&frame).await.is_err() {
            // The reading side notices that the worker is gone.
            return;
        }
    }
    let _ = socket.shutdown().await;
}

async fn listen(mut socket: OwnedReadHalf, heard: mpsc::Sender<Heard>) {
    loop {
        let mut head = [0; 4];
        match socket.read_exact(&mut head).await {
            Ok(_) => {}
            // The end, between two frames or within a head: either way the worker is gone.
            Err(_) => return,
        }
        let Some(length) = wire::body_length(head) else {
            let _ = heard.send(Heard::Garbage).await;
            return;
        };
        let mut body = Zeroizing::new(vec![0; length]);
        if socket.read_exact(&mut body).await.is_err() {
            return;
        }
        let report = match Report::decode(&body) {
            Ok(report) => Heard::Report(report),
            Err(wire::Garbage) => Heard::Garbage,
        };
        let last = matches!(report, Heard::Garbage);
        if heard.send(report).await.is_err() || last {
            return;
        }
    }
}

/// Frames that may wait on each side; more than calls that may run at once.
const OUTSTANDING: usize = 64;
/// What a worker gets to end by itself.
const PARTING: Duration = Duration::from_secs(2);
