//! A mail server (aiosmtpd, run by `mail.py`): it speaks SMTP in clear, with STARTTLS or under implicit TLS, and keeps
//! every message as it came.

use crate::{
    program::{clean_command, python, sources},
    waiting::{self, PATIENCE},
};
use serde_json::Value;
use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Stdio},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
};

/// How it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// In clear.
    Plain,
    /// STARTTLS offered and demanded.
    StartTls,
    /// TLS from the first byte.
    Implicit,
}

/// One message with its envelope.
#[derive(Clone, Debug)]
pub struct Message {
    /// The envelope's sender.
    pub from: String,
    /// The envelope's recipients.
    pub to: Vec<String>,
    /// The header fields in order: name, and value with the folding undone.
    pub fields: Vec<(String, String)>,
    /// The text, decoded.
    pub text: String,
    /// Whether it came under TLS.
    pub tls: bool,
    /// Who logged in, where somebody did.
    pub login: Option<String>,
}

impl Message {
    /// The values of one field.
    pub fn field(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(field, _)| field.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }
}

/// The stand-in. Ends when dropped.
pub struct MailServer {
    process: Child,
    port: u16,
    authority: PathBuf,
    messages: Arc<Mutex<Vec<Message>>>,
}

impl MailServer {
    /// Starts one that keeps its certificate authority in `folder`.
    pub fn open(line: Line, folder: &Path) -> Self {
        let authority = folder.join("mail-ca.pem");
        let mode = match line {
            Line::Plain => "plain",
            Line::StartTls => "starttls",
            Line::Implicit => "implicit",
        };
        let mut command = clean_command(python());
        // Its libraries' warnings about each other are nobody's business here.
        command.args(["-W", "ignore"]).arg(sources().join("tests/e2e/standins/mail.py")).arg(mode).arg(&authority);
        let mut process = command.env("HOME", folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (lines, heard) = mpsc::channel();
        let output = BufReader::new(process.stdout.take().unwrap());
        let messages = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&messages);
        thread::spawn(move || {
            for value in
                output.lines().map_while(Result::ok).filter_map(|line| serde_json::from_str::<Value>(&line).ok())
            {
                if let Some(port) = value["port"].as_u64() {
                    let _ = lines.send(port);
                } else {
                    kept.lock().unwrap_or_else(PoisonError::into_inner).push(message(&value));
                }
            }
        });
        let port = heard.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("the mail server did not start"));
        Self { process, port: u16::try_from(port).unwrap(), authority, messages }
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The authority that its certificate is signed by, in PEM.
    pub fn authority(&self) -> &Path {
        &self.authority
    }

    /// Every message so far.
    pub fn messages(&self) -> Vec<Message> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits for the `nth` (from 1) message to an address.
    pub fn message(&self, address: &str, nth: usize) -> Option<Message> {
        waiting::until(PATIENCE, || {
            self.messages().into_iter().filter(|message| message.to.iter().any(|to| to == address)).nth(nth - 1)
        })
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn message(value: &Value) -> Message {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    Message {
        from: text(&value["from"]),
        to: list(&value["to"]).iter().map(text).collect(),
        fields: list(&value["fields"]).iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect(),
        text: text(&value["text"]),
        tls: value["tls"] == true,
        login: value["login"].as_str().map(str::to_owned),
    }
}
