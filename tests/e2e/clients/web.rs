//! The REST interface with curl: the login in two steps with its cookie and token, as the web pages do it.

use super::{Client, Login, Reply, Second, Verdict, curl, url_path};
use crate::{house::House, program::run_with};
use serde_json::{Value, json};
use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
};

/// curl over HTTP or HTTPS.
pub struct Web {
    /// Whether under TLS.
    pub tls: bool,
}

/// An HTTP answer.
pub struct Answer {
    /// The status; 0 where there was no answer.
    pub status: u16,
    /// The head of the last response.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// Whether this is how a door refuses over HTTP.
    pub fn is_refusal(&self) -> bool {
        matches!(self.status, 401 | 403 | 429)
    }

    /// The value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<String> {
        let mut pairs = self.head.lines().filter_map(|line| line.split_once(':'));
        pairs.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    }

    fn told(&self) -> String {
        format!("{} {}{}", self.status, self.head, self.body)
    }
}

/// A browser's state: one cookie jar, and the token that changes need.
pub struct Browser {
    base: String,
    from: std::net::Ipv4Addr,
    jar: PathBuf,
    csrf: Option<String>,
}

impl Browser {
    /// A fresh one.
    pub fn new(house: &House, tls: bool, from: std::net::Ipv4Addr) -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let jar = house.scratch(&format!("jar-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let scheme = if tls { "https" } else { "http" };
        Self { base: format!("{scheme}://{}", house.door(scheme)), from, jar, csrf: None }
    }

    /// One request; `more` adds arguments of curl.
    pub fn ask(&self, method: &str, path: &str, more: &[&str]) -> Answer {
        let mut command = self.curl();
        command.args(["--request", method]).args(more);
        self.finish(command, path)
    }

    /// A request with a JSON body.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        let text = body.to_string();
        self.ask("POST", path, &["--header", "Content-Type: application/json", "--data-raw", &text])
    }

    /// Where its cookies are.
    pub fn jar(&self) -> &Path {
        &self.jar
    }

    /// Goes on without the token, as a page of somebody else's would.
    pub fn forget_token(&mut self) {
        self.csrf = None;
    }

    fn curl(&self) -> Command {
        let mut command = curl(self.from);
        command.arg("--cookie").arg(&self.jar).arg("--cookie-jar").arg(&self.jar).args(["--include", "--path-as-is"]);
        if let Some(token) = &self.csrf {
            command.args(["--header", &format!("X-CSRF-Token: {token}")]);
        }
        command
    }

    fn finish(&self, mut command: Command, path: &str) -> Answer {
        command.args(["--write-out", "\n%{http_code}"]).arg(format!("{}{}", self.base, url_path_with_query(path)));
        let ran = run_with(command, "");
        let (text, status) = ran.stdout.rsplit_once('\n').unwrap_or((&ran.stdout, "0"));
        let mut rest = text;
        let mut head = "";
        // Interim answers (100 Continue) come first, each with a head of its own.
        while rest.starts_with("HTTP/") {
            (head, rest) = rest.split_once("\r\n\r\n").unwrap_or((rest, ""));
        }
        let said = if ran.stderr.is_empty() { rest.to_owned() } else { format!("{rest}\n{}", ran.stderr) };
        Answer { status: status.parse().unwrap_or(0), head: head.to_owned(), body: said }
    }

    /// The login of a person: password, then the code where one is asked for.
    pub fn log_in(&mut self, login: &Login<'_>) -> Answer {
        let first = self.post("/api/v1/login", &json!({ "username": login.name, "password": login.password }));
        let state = first.json();
        if state["state"] != "challenge" {
            return self.remember(first);
        }
        let code = match login.second {
            Second::Nothing => return first,
            Second::Code(code) => Some(code.to_owned()),
            Second::Asked(obtain) => obtain(),
        };
        let Some(code) = code else { return first };
        let id = state["challenge"]["id"].as_str().unwrap_or_default();
        let second = self.post(&format!("/api/v1/login/{id}"), &json!({ "code": code }));
        self.remember(second)
    }

    fn remember(&mut self, answer: Answer) -> Answer {
        self.csrf = answer.json()["csrf"].as_str().map(str::to_owned);
        answer
    }
}

fn url_path_with_query(path: &str) -> String {
    match path.split_once('?') {
        Some((path, query)) => format!("{}?{query}", url_path(path)),
        None => url_path(path),
    }
}

impl Web {
    /// Logs in and does one thing; the thing must be refused where the login was.
    fn run(&self, house: &House, login: &Login<'_>, act: impl Fn(&Browser) -> Answer) -> Reply {
        let mut browser = Browser::new(house, self.tls, login.from);
        let answered = browser.log_in(login);
        let state = answered.json()["state"].as_str().map(str::to_owned);
        let granted = answered.status == 200 && state.as_deref() == Some("granted");
        let halfway = answered.status == 200 && state.as_deref() == Some("challenge");
        let done = act(&browser);
        let said = format!("login: {}\nthen: {}", answered.told(), done.told());
        let verdict = match (granted, done.status) {
            (true, 200..=299) => Verdict::Granted,
            // A login that did not finish must not open anything.
            (false, _) if done.is_refusal() && (halfway || answered.is_refusal()) => Verdict::Refused,
            _ => Verdict::Broken,
        };
        Reply { verdict, said }
    }
}

impl Client for Web {
    fn protocol(&self) -> &'static str {
        if self.tls { "https" } else { "http" }
    }

    fn name(&self) -> &'static str {
        self.protocol()
    }

    fn login(&self, house: &House, login: &Login<'_>) -> Reply {
        self.run(house, login, |browser| browser.ask("GET", "/api/v1/list/", &[]))
    }

    fn put(&self, house: &House, login: &Login<'_>, local: &Path, remote: &str) -> Reply {
        let local = local.to_str().unwrap();
        self.run(house, login, |browser| {
            browser.ask("PUT", &format!("/api/v1/files/{remote}"), &["--upload-file", local])
        })
    }

    fn get(&self, house: &House, login: &Login<'_>, remote: &str, local: &Path) -> Reply {
        self.run(house, login, |browser| {
            let mut command = curl(browser.from);
            command.arg("--cookie").arg(&browser.jar).arg("--output").arg(local).args(["--write-out", "%{http_code}"]);
            command.arg(format!("{}/api/v1/files/{}", browser.base, url_path(remote)));
            let ran = run_with(command, "");
            Answer { status: ran.stdout.parse().unwrap_or(0), head: String::new(), body: ran.stderr }
        })
    }

    fn repeats(&self) -> bool {
        // The two-step login is answered once; only Basic repeats.
        false
    }
}
