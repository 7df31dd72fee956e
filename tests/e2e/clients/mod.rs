//! Stock clients, one per protocol word, behind one trait: so a rule is written once and run over every door.
//!
//! A client tells apart what the rules must tell apart: it was let in (and could list the root, so that a greeting alone
//! does not count), it was refused in the words of its protocol, or something else happened. The last is never taken for
//! a refusal: a door that crashes or hangs fails the test.

pub mod extra;
mod ftp;
pub mod ftp_clients;
pub mod halves;
mod sftp;
mod web;
mod webdav;

pub use ftp::Ftp;
pub use sftp::{Method, OpenSsh};
pub use web::{Answer, Browser, Web};
pub use webdav::WebDav;

use crate::{
    house::House,
    program::{Ran, clean_command},
};
use std::{fmt, net::Ipv4Addr, path::Path, process::Command};

/// What comes after the first factor.
#[derive(Clone, Copy)]
pub enum Second<'a> {
    /// Nothing: the password is all.
    Nothing,
    /// This code, known beforehand.
    Code(&'a str),
    /// A code that is known only once the first factor was shown, as from an SMS; `None` where none came.
    Asked(&'a (dyn Fn() -> Option<String> + Sync)),
}

/// What a client shows, and from where.
#[derive(Clone, Copy)]
pub struct Login<'a> {
    /// The user's name.
    pub name: &'a str,
    /// The password.
    pub password: &'a str,
    /// The second factor.
    pub second: Second<'a>,
    /// The source address.
    pub from: Ipv4Addr,
}

impl<'a> Login<'a> {
    /// Name and password, from loopback.
    pub fn new(name: &'a str, password: &'a str) -> Self {
        Self { name, password, second: Second::Nothing, from: Ipv4Addr::LOCALHOST }
    }

    /// The same from another address.
    pub fn from(self, from: Ipv4Addr) -> Self {
        Self { from, ..self }
    }

    /// The password, or `password:CODE` where the code is known: for doors that cannot ask.
    pub fn compound(&self) -> String {
        match self.second {
            Second::Code(code) => format!("{}:{code}", self.password),
            Second::Nothing | Second::Asked(_) => self.password.to_owned(),
        }
    }
}

/// How a door answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let in, and the root could be listed.
    Granted,
    /// Refused in the words of the protocol.
    Refused,
    /// Neither: an error of another kind, a hang, a cut line.
    Broken,
}

/// A door's answer with all that the client saw.
pub struct Reply {
    /// In one word.
    pub verdict: Verdict,
    /// What the client said.
    pub said: String,
}

impl Reply {
    /// The answer of a run whose exit code and words have a meaning.
    pub fn judge(ran: &Ran, refused: impl FnOnce(&Ran) -> bool) -> Self {
        let verdict = match ran.code() {
            0 => Verdict::Granted,
            _ if refused(ran) => Verdict::Refused,
            _ => Verdict::Broken,
        };
        Self { verdict, said: ran.to_string() }
    }

    /// Fails the test unless the login was let in.
    #[track_caller]
    pub fn must_be_granted(&self, whom: impl fmt::Display) {
        assert_eq!(self.verdict, Verdict::Granted, "{whom}: {}", self.said);
    }

    /// Fails the test unless the login was refused.
    #[track_caller]
    pub fn must_be_refused(&self, whom: impl fmt::Display) {
        assert_eq!(self.verdict, Verdict::Refused, "{whom}: {}", self.said);
    }
}

/// A stock client of one door.
pub trait Client: Sync {
    /// The protocol word that governs it: `ftp`, `ftps`, `sftp`, `http`, `https`, `webdav`.
    fn protocol(&self) -> &'static str;

    /// A name that tells it from the others, fit for a user's name.
    fn name(&self) -> &'static str;

    /// Logs in, lists the root, and goes.
    fn login(&self, house: &House, login: &Login<'_>) -> Reply;

    /// Logs in and uploads a file.
    fn put(&self, house: &House, login: &Login<'_>, local: &Path, remote: &str) -> Reply;

    /// Logs in and downloads a file.
    fn get(&self, house: &House, login: &Login<'_>, remote: &str, local: &Path) -> Reply;

    /// Whether the protocol has the gate remember a login for a client that repeats the same credentials from the same
    /// address (`otp_grant_protocols`).
    fn repeats(&self) -> bool;
}

/// A client for each protocol word. WebDAV is there over HTTP and over HTTPS, FTPS explicit and, where the house has such
/// a listener, implicit.
pub fn every_door(house: &House) -> Vec<Box<dyn Client>> {
    let mut doors: Vec<Box<dyn Client>> = vec![
        Box::new(Ftp::Clear),
        Box::new(Ftp::ExplicitTls),
        Box::new(OpenSsh(Method::Any)),
        Box::new(Web { tls: false }),
        Box::new(Web { tls: true }),
        Box::new(WebDav { tls: false }),
        Box::new(WebDav { tls: true }),
    ];
    if house.has_door("ftps") {
        doors.push(Box::new(Ftp::ImplicitTls));
    }
    doors
}

/// curl, bound to a source address, with nothing of the caller's configuration.
fn curl(from: Ipv4Addr) -> Command {
    let mut command = clean_command("curl");
    // -q must come first. The self-signed certificate is not what these tests are about.
    command.args(["-q", "--silent", "--show-error", "--insecure", "--max-time", "40", "--noproxy", "*", "--interface"]);
    command.arg(from.to_string());
    command
}

/// Percent-encodes one path for a URL, slashes kept.
pub fn url_path(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}
