//! What a worker gives up before it loads a plugin: descriptors, privileges, memory, files.
//!
//! The order matters. Descriptors are closed while nothing of ours is open; the limits and the Landlock rules stand
//! before the first instruction of the plugin runs, because an object's constructors run while it is loaded; all of it is
//! done on the first thread, so that each later one inherits it.
//!
//! Never: gives anything back. A kernel without Landlock runs the plugin all the same, and the report says so.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError, RulesetStatus, Scope, path_beneath_rules,
};
use rustix::fs::FileType;
use rustix::process::{DumpableBehavior, Resource, Rlimit};

use super::group;

/// Variables that a worker is handed; everything else of the server's environment stays behind.
pub(crate) const PASSED: [&str; 11] = [
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "TZ",
];

/// What the server handed to the worker.
pub(super) struct Handed {
    /// Both ways, to and from the server.
    pub(super) socket: OwnedFd,
    /// The shared object.
    pub(super) object: OwnedFd,
    /// What else the plugin may read.
    pub(super) folder: Option<OwnedFd>,
}

/// Takes what stands in the places of the standard descriptors and closes every other one.
///
/// A plugin that uses the standard ones reads nothing, rather than the server's requests, and prints nowhere: its words may
/// quote what a user typed.
///
/// # Errors
/// As the system calls.
pub(super) fn keep_only_what_was_handed() -> io::Result<Handed> {
    let socket = rustix::io::fcntl_dupfd_cloexec(io::stdin(), 3)?;
    let object = rustix::io::fcntl_dupfd_cloexec(io::stdout(), 3)?;
    let folder = rustix::io::fcntl_dupfd_cloexec(io::stderr(), 3)?;
    let nothing = fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;
    drop(nothing);
    let is_folder = FileType::from_raw_mode(rustix::fs::fstat(&folder)?.st_mode).is_dir();
    let folder = Some(folder).filter(|_| is_folder);
    let kept = [Some(&socket), Some(&object), folder.as_ref()].map(|kept| kept.map(AsRawFd::as_raw_fd));
    let listed: Vec<RawFd> = match fs::read_dir("/proc/self/fd") {
        Ok(entries) => entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect(),
        Err(_) => (0..1024).collect(),
    };
    for descriptor in listed {
        if descriptor <= 2 || kept.contains(&Some(descriptor)) {
            continue;
        }
        // SAFETY: nothing in this process owns it: the worker has opened only what it keeps, so it was inherited, or is
        // closed by now (the list's own one), which is asked first because closing it again would be a fault.
        unsafe {
            if rustix::io::fcntl_getfd(BorrowedFd::borrow_raw(descriptor)).is_ok() {
                rustix::io::close(descriptor);
            }
        }
    }
    Ok(Handed { socket, object, folder })
}

/// Gives up privileges, memory beyond the limits, the way out of the process group, and the file system except what a
/// plugin needs: `object`, `folder`, and what every program reads.
///
/// Returns how far the kernel's cages could be had: `full`, `partial` or `none`.
///
/// # Errors
/// Where something cannot be given up that every kernel can.
pub(super) fn shut_in(object: &OwnedFd, folder: Option<OwnedFd>) -> io::Result<&'static str> {
    for (resource, most) in
        [(Resource::Core, 0), (Resource::As, ADDRESS_SPACE), (Resource::Data, DATA), (Resource::Nofile, DESCRIPTORS)]
    {
        // Never more than was allowed before.
        let before = rustix::process::getrlimit(resource);
        let most = before.maximum.map_or(most, |maximum| maximum.min(most));
        rustix::process::setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    let kept_together = group::keep().is_ok();
    Ok(match landlock(object, folder).unwrap_or("none") {
        "full" if !kept_together => "partial",
        landlock => landlock,
    })
}

fn landlock(object: &OwnedFd, folder: Option<OwnedFd>) -> Result<&'static str, RulesetError> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))?
        // Neither a signal to the server, which runs as the same user, nor an abstract socket of another program.
        .scope(Scope::from_all(LANDLOCK))?
        .create()?
        .add_rules(path_beneath_rules(readable(), read))?
        .add_rule(PathBeneath::new(object, AccessFs::ReadFile))?
        .add_rules(folder.map(|folder| Ok::<_, RulesetError>(PathBeneath::new(folder, read))))?
        .add_rules(path_beneath_rules(["/dev/null"], AccessFs::ReadFile | AccessFs::WriteFile))?
        .add_rules(path_beneath_rules(NAME_SERVICES, AccessFs::ResolveUnix))?
        .restrict_self()?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => "full",
        RulesetStatus::PartiallyEnforced => "partial",
        RulesetStatus::NotEnforced => "none",
    })
}

/// Paths that do not exist are passed over when the rules are made.
fn readable() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = READABLE.iter().map(PathBuf::from).collect();
    // Often a link to a place under /run.
    paths.extend(fs::canonicalize("/etc/resolv.conf"));
    paths.extend(env::var_os("SSL_CERT_FILE").map(PathBuf::from));
    paths.extend(env::var_os("SSL_CERT_DIR").iter().flat_map(split));
    paths
}

fn split(folders: &OsString) -> Vec<PathBuf> {
    env::split_paths(folders).collect()
}

/// Shared objects, TLS roots, the resolver's and the clock's files.
///
/// Of the folders of TLS those with certificates alone: a server that runs as root could read the keys beside them.
const READABLE: [&str; 31] = [
    "/lib",
    "/lib64",
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/nix/store",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/ssl/certs",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/openssl.cnf",
    "/etc/pki/ca-trust",
    "/etc/pki/tls/certs",
    "/etc/pki/tls/cert.pem",
    "/etc/ca-certificates",
    "/var/lib/ca-certificates",
    "/usr/share/ca-certificates",
    "/usr/local/share/ca-certificates",
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/localtime",
    "/usr/share/zoneinfo",
    "/dev/urandom",
    "/dev/random",
    "/sys/devices/system/cpu",
];
/// Sockets of the system's name services, for kernels whose Landlock knows about sockets in the file system.
const NAME_SERVICES: [&str; 3] = ["/run/systemd/resolve", "/run/nscd", "/run/avahi-daemon"];

/// Asks for all that Landlock had by then; older kernels give what they have.
const LANDLOCK: ABI = ABI::V9;
/// Virtual memory; much of it is never touched (allocator arenas and thread stacks).
const ADDRESS_SPACE: u64 = 4 << 30;
/// Memory that the plugin really fills.
const DATA: u64 = 512 << 20;
const DESCRIPTORS: u64 = 256;
