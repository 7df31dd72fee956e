//! The email factor: the code goes out as a letter over SMTP.
//!
//! The keys are those of prefs.xml: `smtp_*`, and `template.*` for the fields of the template `Two Factor Auth`; there is a
//! built-in text where there is no template. `smtp_tls_ca` names the one authority to trust for a mail server of one's own.
//!
//! Never: sends to another machine in clear, switches verification off, lets a user's text become a header or a recipient,
//! or says more of an error than its kind and number: a server's words may quote the letter.

mod letter;
mod route;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use lettre::transport::smtp::Error;
use lettre::{Message, SmtpTransport, Transport};
use lockgate_plugin::{Begin, Begun, Factor, Failure, Plugin, Settings, User};

use letter::Letter;
use route::Route;

/// A mail server and a letter, or neither where the operator has not set `smtp_server`.
struct Email {
    post: Option<Post>,
}

struct Post {
    route: Route,
    letter: Letter,
    /// Made with the first letter: it brings the system's certificates into memory.
    transport: OnceLock<SmtpTransport>,
    /// Letters under way, those included that nobody waits for any more.
    under_way: Arc<AtomicUsize>,
}

impl Plugin for Email {
    fn open(settings: &Settings<'_>) -> Result<Self, Failure> {
        let Some(route) = Route::parse(settings)? else { return Ok(Self { post: None }) };
        let letter = Letter::parse(settings)?;
        let post = Post { route, letter, transport: OnceLock::new(), under_way: Arc::default() };
        Ok(Self { post: Some(post) })
    }
}

impl Factor for Email {
    fn serves(&self, user: &User<'_>) -> Result<bool, Failure> {
        Ok(self.post.is_some() && user.email().is_some())
    }

    fn begin(&self, ask: &Begin<'_>) -> Result<Begun, Failure> {
        let post = self.post.as_ref().ok_or_else(|| Failure::unavailable("smtp_server is not set"))?;
        let user = ask.user();
        let to = user.email().ok_or_else(|| Failure::unavailable("the user has no mail address"))?;
        let (code, name) = (ask.code()?, user.name()?);
        let letter = post.letter.write(to, |place| {
            let value = match place {
                "auth_token" => code,
                "user_name" => name,
                "user_email" => to,
                _ => place.strip_prefix("user_x_").and_then(|name| user.extra(name)).unwrap_or_default(),
            };
            value.to_owned()
        })?;
        post.send(letter)?;
        Ok(Begun::prompt("Code sent by email"))
    }
}

impl Post {
    /// Sends, and waits so long that the worker is not ended for it: the library bounds each step of the conversation, but
    /// neither the finding of the server's address nor the whole.
    fn send(&self, letter: Message) -> Result<(), Failure> {
        let transport = match self.transport.get() {
            Some(transport) => transport,
            None => {
                let transport = self.route.transport()?;
                self.transport.get_or_init(|| transport)
            }
        };
        let slot = Slot::take(&self.under_way).ok_or_else(|| Failure::unavailable("too many letters are under way"))?;
        let (told, outcome) = channel();
        let transport = transport.clone();
        let sending = thread::Builder::new().name("letter".to_owned()).spawn(move || {
            let sent = transport.send(&letter).map(|_| ()).map_err(|error| what_went_wrong(&error));
            drop(slot);
            // Nobody may be waiting any more.
            let _ = told.send(sent);
        });
        sending.map_err(|_| Failure::unavailable("no thread to send the letter"))?;
        match outcome.recv_timeout(IN_ALL) {
            Ok(sent) => sent.map_err(Failure::unavailable),
            Err(RecvTimeoutError::Timeout) => Err(Failure::unavailable("the mail server did not answer in time")),
            Err(RecvTimeoutError::Disconnected) => Err(Failure::error("sending the letter broke off")),
        }
    }
}

/// One of the letters that may be under way.
struct Slot(Arc<AtomicUsize>);

impl Slot {
    fn take(counter: &Arc<AtomicUsize>) -> Option<Self> {
        let slot = Self(Arc::clone(counter));
        (slot.0.fetch_add(1, Ordering::SeqCst) < MOST).then_some(slot)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn what_went_wrong(error: &Error) -> String {
    if let Some(code) = error.status() {
        return format!("the mail server answered {code}");
    }
    let what = if error.is_timeout() || waited_in_vain(error) {
        "the mail server did not answer in time"
    } else if error.is_tls() {
        "the mail server's certificate is not one that this system trusts; see smtp_tls_ca"
    } else if error.is_client() {
        "the mail server does not offer what is needed: STARTTLS, or a way to log in"
    } else if error.is_response() {
        "the mail server speaks no SMTP"
    } else {
        "the mail server cannot be reached, or broke off"
    };
    what.to_owned()
}

/// What Unix says of a read that had a time limit.
fn waited_in_vain(error: &Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        if error.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::WouldBlock) {
            return true;
        }
        cause = error.source();
    }
    false
}

lockgate_plugin::export! {
    plugin: Email,
    name: "email",
    summary: "sends the code by email, over SMTP",
    settings: include_str!("settings.json"),
    roles: [delivers],
    flags: [],
}

/// Below the 5 s after which the worker would be ended.
const IN_ALL: Duration = Duration::from_millis(4300);
const MOST: usize = 32;

#[cfg(test)]
mod tests;
