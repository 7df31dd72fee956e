//! What each protocol has of its own, files, the server as a whole, its certificates and its audit log.

use super::{
    reader::Reader,
    words::{Durability, FtpPrompt, SessionReuse, TlsMinimum},
};
use crate::{secret::SecretText, url::ServiceUrl};
use lockgate_model::ByteSize;
use std::{path::PathBuf, time::Duration};

/// FTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ftp {
    /// `ftp_command_limit`: the longest command line.
    pub command_limit: ByteSize,
    /// `otp_ftp_prompt`: how a code is asked for.
    pub prompt: FtpPrompt,
    /// `require_session_reuse`: whether data connections must resume the control connection's TLS session.
    pub session_reuse: SessionReuse,
    /// `ftp_active_mode`: whether `PORT` and `EPRT` are obeyed.
    pub active_mode: bool,
    /// `ftp_welcome_message`: the greeting, in lines.
    pub welcome: Option<String>,
    /// `ftp_login_message`: what a user hears who has logged in.
    pub logged_in: Option<String>,
    /// `ftp_goodbye_message`.
    pub goodbye: Option<String>,
    /// `ftp_denied_message`: what everybody hears who is not let in, whatever the reason.
    pub denied: Option<String>,
}

/// SSH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssh {
    /// `ssh_host_keys`, from the home where relative; the preferred one first.
    pub host_keys: Vec<PathBuf>,
    /// `ssh_banner`.
    pub banner: Option<String>,
    /// `ssh_rsa_user_keys`.
    pub rsa_user_keys: bool,
}

/// HTTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Http {
    /// `http_head_timeout`.
    pub head_timeout: Duration,
    /// `http_session_idle`.
    pub session_idle: Duration,
    /// `http_session_max`.
    pub session_max: Duration,
    /// `http_session_bind_address`.
    pub session_bound_to_address: bool,
    /// `public_url`.
    pub public_url: Option<ServiceUrl>,
}

/// WebDAV.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dav {
    /// `dav_lock_timeout`.
    pub lock_timeout: Duration,
    /// `dav_locks_per_user`.
    pub locks_per_user: u32,
}

/// Uploads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Files {
    /// `durability`.
    pub durability: Durability,
    /// `upload_keep`.
    pub upload_keep: Duration,
}

/// The server as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Server {
    /// `shutdown_grace`.
    pub shutdown_grace: Duration,
    /// `idle_timeout`, of sessions on every door.
    pub idle_timeout: Duration,
    /// `users_url`; `None` is SQLite in the home.
    pub users_url: Option<SecretText>,
    /// `ledger_url`; `None` is the database of users.
    pub ledger_url: Option<SecretText>,
}

/// Certificates of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tls {
    /// `tls_cert`, from the home where relative.
    pub certificate: PathBuf,
    /// `tls_key`, likewise.
    pub key: PathBuf,
    /// `tls_min_version`.
    pub minimum: TlsMinimum,
    /// `acme_enabled`, not in effect in this version.
    pub acme_enabled: bool,
    /// `acme_domains`, likewise.
    pub acme_domains: Vec<String>,
    /// `acme_email`, likewise.
    pub acme_email: Option<String>,
    /// `acme_directory`, likewise.
    pub acme_directory: Option<ServiceUrl>,
}

/// The audit log and metrics.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// `audit_file`, from the home where relative.
    pub file: PathBuf,
    /// `audit_transfers`.
    pub transfers: bool,
    /// `metrics_enabled`, not in effect in this version.
    pub metrics: bool,
    /// `metrics_token`, likewise.
    pub metrics_token: Option<SecretText>,
}

pub(super) fn read_ftp(top: &mut Reader<'_>) -> Ftp {
    Ftp {
        command_limit: top.size("ftp_command_limit"),
        prompt: top.word("otp_ftp_prompt", FtpPrompt::Compound),
        session_reuse: top.word("require_session_reuse", SessionReuse::Always),
        active_mode: top.switch("ftp_active_mode"),
        welcome: top.text("ftp_welcome_message"),
        logged_in: top.text("ftp_login_message"),
        goodbye: top.text("ftp_goodbye_message"),
        denied: top.text("ftp_denied_message"),
    }
}

pub(super) fn read_ssh(top: &mut Reader<'_>) -> Ssh {
    let host_keys: Vec<_> = top.list("ssh_host_keys").into_iter().map(PathBuf::from).collect();
    if host_keys.is_empty() {
        let place = top.place("ssh_host_keys");
        top.findings.conflict(
            place,
            "ssh_host_keys",
            "is empty",
            "name a key, or remove the element to use the default",
        );
    }
    Ssh { host_keys, banner: top.text("ssh_banner"), rsa_user_keys: top.switch("ssh_rsa_user_keys") }
}

pub(super) fn read_http(top: &mut Reader<'_>) -> Http {
    Http {
        head_timeout: top.duration("http_head_timeout"),
        session_idle: top.duration("http_session_idle"),
        session_max: top.duration("http_session_max"),
        session_bound_to_address: top.switch("http_session_bind_address"),
        public_url: top.url("public_url"),
    }
}

pub(super) fn read_dav(top: &mut Reader<'_>) -> Dav {
    Dav { lock_timeout: top.duration("dav_lock_timeout"), locks_per_user: top.count("dav_locks_per_user") }
}

pub(super) fn read_files(top: &mut Reader<'_>) -> Files {
    Files { durability: top.word("durability", Durability::Full), upload_keep: top.duration("upload_keep") }
}

pub(super) fn read_server(top: &mut Reader<'_>) -> Server {
    Server {
        shutdown_grace: top.duration("shutdown_grace"),
        idle_timeout: top.duration("idle_timeout"),
        users_url: top.secret("users_url"),
        ledger_url: top.secret("ledger_url"),
    }
}

pub(super) fn read_tls(top: &mut Reader<'_>) -> Tls {
    Tls {
        certificate: top.required_path("tls_cert"),
        key: top.required_path("tls_key"),
        minimum: top.word("tls_min_version", TlsMinimum::Tls12),
        acme_enabled: top.switch("acme_enabled"),
        acme_domains: top.list("acme_domains"),
        acme_email: top.text("acme_email"),
        acme_directory: top.url("acme_directory"),
    }
}

pub(super) fn read_audit(top: &mut Reader<'_>) -> Audit {
    Audit {
        file: top.required_path("audit_file"),
        transfers: top.switch("audit_transfers"),
        metrics: top.switch("metrics_enabled"),
        metrics_token: top.secret("metrics_token"),
    }
}
