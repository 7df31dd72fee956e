//! FTP with curl: in clear, under explicit TLS, under implicit TLS. The code comes with the password, after a colon.

use super::{Client, Login, Reply, Second, Verdict, curl, url_path};
use crate::{
    house::House,
    program::{Ran, run_with},
};
use std::{path::Path, process::Command};

/// The kinds of FTP.
#[derive(Clone, Copy)]
pub enum Ftp {
    /// Control and data in clear.
    Clear,
    /// `AUTH TLS`, and protected data connections.
    ExplicitTls,
    /// TLS from the first byte.
    ImplicitTls,
}

/// curl's exit code where the server refused the login.
const LOGIN_DENIED: i32 = 67;

impl Ftp {
    fn run(self, house: &House, login: &Login<'_>, path: &str, more: impl Fn(&mut Command)) -> Reply {
        let first = self.once(house, login, &login.compound(), path, &more);
        let Second::Asked(obtain) = login.second else { return first };
        // The first try sends the code and is refused like every other; the second proves the password again.
        if first.verdict != Verdict::Refused {
            return Reply {
                verdict: Verdict::Broken,
                said: format!("let in before the code was known: {}", first.said),
            };
        }
        match obtain() {
            Some(code) => self.once(house, login, &format!("{}:{code}", login.password), path, &more),
            None => first,
        }
    }

    fn once(self, house: &House, login: &Login<'_>, password: &str, path: &str, more: &dyn Fn(&mut Command)) -> Reply {
        let mut command = curl(login.from);
        let (scheme, door) = match self {
            Self::Clear | Self::ExplicitTls => ("ftp", "ftp"),
            Self::ImplicitTls => ("ftps", "ftps"),
        };
        if matches!(self, Self::ExplicitTls) {
            command.arg("--ssl-reqd");
        }
        command.args(["--user", &format!("{}:{password}", login.name)]);
        more(&mut command);
        command.arg(format!("{scheme}://{}/{}", house.door(door), url_path(path)));
        Reply::judge(&run_with(command, ""), is_refusal)
    }
}

/// 530, or 421 for an address that must wait.
fn is_refusal(ran: &Ran) -> bool {
    ran.code() == LOGIN_DENIED || ran.stderr.contains("421")
}

impl Client for Ftp {
    fn protocol(&self) -> &'static str {
        match self {
            Self::Clear => "ftp",
            Self::ExplicitTls | Self::ImplicitTls => "ftps",
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Clear => "ftp",
            Self::ExplicitTls => "ftps-explicit",
            Self::ImplicitTls => "ftps-implicit",
        }
    }

    fn login(&self, house: &House, login: &Login<'_>) -> Reply {
        self.run(house, login, "", |_| {})
    }

    fn put(&self, house: &House, login: &Login<'_>, local: &Path, remote: &str) -> Reply {
        self.run(house, login, remote, |command| {
            command.arg("--upload-file").arg(local);
        })
    }

    fn get(&self, house: &House, login: &Login<'_>, remote: &str, local: &Path) -> Reply {
        self.run(house, login, remote, |command| {
            command.arg("--output").arg(local);
        })
    }

    fn repeats(&self) -> bool {
        true
    }
}
