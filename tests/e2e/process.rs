//! The processes of a running server: signals, and the workers in which plugins live.

use crate::{
    program::clean_command,
    waiting::{self, PATIENCE},
};
use std::fs;

/// Sends a signal, by its name without `SIG`.
pub fn signal(pid: u32, name: &str) {
    let sent = clean_command("kill").args([format!("-{name}"), pid.to_string()]).output().unwrap();
    assert!(sent.status.success(), "kill -{name} {pid}: {}", String::from_utf8_lossy(&sent.stderr));
}

/// Whether the process is there and not a corpse.
pub fn is_alive(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| state != "Z")
}

/// The worker of a plugin, once it runs.
pub fn worker(server: u32, plugin: &str) -> u32 {
    waiting::until(PATIENCE, || workers(server, plugin).first().copied())
        .unwrap_or_else(|| panic!("no worker of {plugin} runs below process {server}"))
}

/// The workers of a plugin that run now.
pub fn workers(server: u32, plugin: &str) -> Vec<u32> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    processes.filter(|pid| is_worker(*pid, server, plugin)).collect()
}

fn is_worker(pid: u32, server: u32, plugin: &str) -> bool {
    let ours = stat(pid).is_some_and(|(state, parent)| parent == server && state != "Z");
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let line = String::from_utf8_lossy(&line);
    ours && line.contains("plugin-worker") && line.contains(&format!("lockgate_{plugin}"))
}

/// A process's state and its parent.
fn stat(pid: u32) -> Option<(String, u32)> {
    let line = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold blanks.
    let mut words = line.rsplit(')').next()?.split_whitespace();
    Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
}
