//! WebDAV with curl: HTTP Basic with each request, the code after the password.

use super::{Client, Login, Reply, Second, Verdict, curl, url_path};
use crate::{house::House, program::run_with};
use std::{path::Path, process::Command};

/// curl over HTTP or HTTPS, below `/dav/`.
pub struct WebDav {
    /// Whether under TLS.
    pub tls: bool,
}

impl WebDav {
    fn run(&self, house: &House, login: &Login<'_>, path: &str, more: impl Fn(&mut Command)) -> Reply {
        let first = self.once(house, login, &login.compound(), path, &more);
        let Second::Asked(obtain) = login.second else { return first };
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

    fn once(&self, house: &House, login: &Login<'_>, password: &str, path: &str, more: &dyn Fn(&mut Command)) -> Reply {
        let scheme = if self.tls { "https" } else { "http" };
        let mut command = curl(login.from);
        command.args(["--basic", "--user", &format!("{}:{password}", login.name), "--write-out", "\n%{http_code}"]);
        more(&mut command);
        command.arg(format!("{scheme}://{}/dav/{}", house.door(scheme), url_path(path)));
        let ran = run_with(command, "");
        let status = ran.stdout.rsplit('\n').next().and_then(|word| word.parse().ok()).unwrap_or(0);
        let verdict = match status {
            200..=299 => Verdict::Granted,
            401 | 403 | 429 => Verdict::Refused,
            _ => Verdict::Broken,
        };
        Reply { verdict, said: ran.to_string() }
    }
}

impl Client for WebDav {
    fn protocol(&self) -> &'static str {
        "webdav"
    }

    fn name(&self) -> &'static str {
        if self.tls { "webdav-https" } else { "webdav-http" }
    }

    fn login(&self, house: &House, login: &Login<'_>) -> Reply {
        self.run(house, login, "", |command| {
            command.args(["--request", "PROPFIND", "--header", "Depth: 1"]);
        })
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
