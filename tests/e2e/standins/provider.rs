//! An HTTP server that stands for an SMS provider, or for a proxy on the way to one. It records each request whole and
//! answers as told.

use crate::waiting::{self, PATIENCE};
use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Request {
    /// The method.
    pub method: String,
    /// The target as it stood in the request line.
    pub target: String,
    /// The fields in order, as sent.
    pub fields: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Request {
    /// A field's value, whatever the case of its name.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// A value of the form in the body.
    pub fn form(&self, name: &str) -> Option<String> {
        let pairs = self.body.split('&').filter_map(|pair| pair.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| form_decoded(value)).next()
    }
}

/// What it does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mood {
    /// `201` with a body as Twilio has it.
    Works,
    /// This status.
    Answers(u16),
    /// Keeps the connection and never answers.
    Hangs,
    /// Something that is not HTTP.
    TalksNonsense,
}

/// The stand-in. Serves until the process ends.
pub struct Provider {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    mood: Mood,
    requests: Vec<Request>,
}

impl Provider {
    /// One that works.
    pub fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State { mood: Mood::Works, requests: Vec::new() }));
        let serving = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&serving);
                thread::spawn(move || converse(&state, stream));
            }
        });
        Self { address, state }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The preferences of a server that sends its codes through it, in the words of CrushFTP's manual for Twilio.
    pub fn prefs(&self) -> Vec<(&'static str, String)> {
        let host = self.address;
        let url = format!(
            "http://{{otp_username}}:{{otp_password}}@{host}/2010-04-01/Accounts/{{otp_username}}/Messages.json"
        );
        vec![
            ("otp_username", ACCOUNT.to_owned()),
            ("otp_password", TOKEN.to_owned()),
            ("otp_from", SENDER.to_owned()),
            ("otp_post", "To={otp_to}&From={otp_from}&Body={otp_token}".to_owned()),
            ("otp_url", url),
        ]
    }

    /// Changes what it does.
    pub fn be(&self, mood: Mood) {
        locked(&self.state).mood = mood;
    }

    /// Every request so far.
    pub fn requests(&self) -> Vec<Request> {
        locked(&self.state).requests.clone()
    }

    /// The requests to one number.
    pub fn sent_to(&self, number: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| request.form("To").as_deref() == Some(number)).collect()
    }

    /// Waits for the `nth` (from 1) code to a number; `None` where it does not come.
    pub fn code(&self, number: &str, nth: usize) -> Option<String> {
        waiting::until(PATIENCE, || self.sent_to(number).get(nth - 1)?.form("Body"))
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

fn converse(state: &Mutex<State>, stream: TcpStream) {
    let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
    let mut reader = BufReader::new(stream);
    while let Some(request) = read_request(&mut reader) {
        let mood = {
            let mut state = locked(state);
            state.requests.push(request);
            state.mood
        };
        let answer = match mood {
            Mood::Works => answer(201, r#"{"status":"queued"}"#),
            Mood::Answers(status) => answer(status, r#"{"code":20003,"message":"no"}"#),
            Mood::TalksNonsense => "220 mail.example.org ESMTP\r\n".to_owned(),
            Mood::Hangs => {
                // Until the other side gives up.
                let _ = reader.read(&mut [0; 1]);
                return;
            }
        };
        if reader.get_mut().write_all(answer.as_bytes()).is_err() || mood == Mood::TalksNonsense {
            return;
        }
    }
}

fn answer(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn read_request(reader: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = || {
        let mut text = String::new();
        reader.read_line(&mut text).ok().filter(|length| *length > 0)?;
        Some(text.trim_end().to_owned())
    };
    let start = line()?;
    let mut words = start.split(' ');
    let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut fields = Vec::new();
    loop {
        let text = line()?;
        let Some((name, value)) = text.split_once(':') else { break };
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut request = Request { method, target, fields, body: String::new() };
    let length = request.field("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    request.body = String::from_utf8(body).ok()?;
    Some(request)
}

/// Undoes the encoding of a form.
fn form_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'+', _) => bytes.push(b' '),
            (b'%', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                rest = after;
            }
            _ => bytes.push(*first),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// The account that stands in the URL and as the user of Basic. Obviously not a real one.
pub const ACCOUNT: &str = "ACexample";
/// Its token, with characters that a URL must encode.
pub const TOKEN: &str = "not/a:real@token";
/// The sender.
pub const SENDER: &str = "+15550100";
