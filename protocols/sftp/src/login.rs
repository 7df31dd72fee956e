//! A login over SSH: its messages become evidence, the gate's outcomes become answers.
//!
//! SSH lets a client mix methods and change its user name between messages, and russh remembers nothing of what was passed
//! (RFC 4252 section 5). What is remembered here is one challenge for one user name, and it is dropped the moment another
//! name is spoken: a factor proven as one user never counts for another.
//!
//! Never: decides what is missing, waits to hide a reason (the gate's denials have taken their time), counts anything but the
//! wrong answers of this one connection.

use lockgate_access::{Because, Challenge, Evidence, Expects, Gate, Outcome, Session};
use lockgate_model::{Origin, Secret};
use russh::{
    MethodKind, MethodSet,
    server::{Auth, Response},
};
use std::borrow::Cow;

/// The login of one connection, from the first name to the session.
pub(crate) struct Login {
    gate: Gate,
    origin: Origin,
    /// The name that what follows belongs to, exactly as it was sent.
    user: String,
    pending: Option<Challenge>,
    asked: Asked,
    /// Whether the challenge may be a decoy, because the password came as the answer to a prompt.
    veiled: bool,
    wrong_answers: u8,
    granted: Option<Session>,
}

/// What the last keyboard-interactive request asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Nothing,
    Password,
    Code,
}

impl Login {
    /// Nobody has said anything yet.
    pub(crate) fn new(gate: Gate, origin: Origin) -> Self {
        Self {
            gate,
            origin,
            user: String::new(),
            pending: None,
            asked: Asked::Nothing,
            veiled: false,
            wrong_answers: 0,
            granted: None,
        }
    }

    /// The session, once, when the login is done.
    pub(crate) fn take_session(&mut self) -> Option<Session> {
        self.granted.take()
    }

    /// Whether this connection has had all its tries and should be closed. Everything is refused from then on, unasked.
    pub(crate) fn is_spent(&self) -> bool {
        self.wrong_answers >= WRONG_ANSWERS
    }

    /// The `none` method: how clients ask for the list of methods. Always refused, alike for every name.
    pub(crate) fn none(&mut self, user: &str) -> Auth {
        self.speak_as(user);
        self.reject()
    }

    /// A public key is offered, nothing is proven.
    pub(crate) async fn offer(&mut self, user: &str, blob: &[u8]) -> Auth {
        self.speak_as(user);
        if self.is_spent() || !self.gate.would_accept_key(&self.origin, user, blob).await {
            return self.reject();
        }
        Auth::Accept
    }

    /// A public key whose signature over this connection was verified.
    pub(crate) async fn key(&mut self, user: &str, blob: Vec<u8>) -> Auth {
        self.speak_as(user);
        self.show(Evidence::PublicKey(blob)).await
    }

    /// The `password` method.
    pub(crate) async fn password(&mut self, user: &str, password: &str) -> Auth {
        self.speak_as(user);
        self.show(Evidence::Password(Secret::new(password.to_owned()))).await
    }

    /// The `keyboard-interactive` method: `response` is `None` where the client begins.
    pub(crate) async fn interactive(&mut self, user: &str, response: Option<Response<'_>>) -> Auth {
        self.speak_as(user);
        if self.is_spent() {
            return self.reject();
        }
        let Some(response) = response else {
            return if self.pending.is_some() { self.ask_for_code() } else { self.ask_for_password() };
        };
        let asked = std::mem::replace(&mut self.asked, Asked::Nothing);
        // One prompt was put: one answer is an answer.
        let answer = only(response).and_then(|bytes| String::from_utf8(bytes).ok()).map(Secret::new);
        match (asked, answer) {
            (Asked::Password, Some(password)) => {
                // Asked for one after the other, password and code are asked for whatever the truth (security.md S19).
                self.veiled = true;
                let evidence = Evidence::Password(password);
                let outcome = match self.gate.resume(&self.origin, &self.user, &evidence).await {
                    Some(session) => Outcome::Granted(session),
                    None => self.gate.knock(self.origin.clone(), &self.user).submit_veiled(evidence).await,
                };
                self.converse(outcome)
            }
            (Asked::Code, Some(code)) => match self.pending.take() {
                Some(challenge) => {
                    let outcome = challenge.answer(&self.origin, code).await;
                    self.converse(outcome)
                }
                None => self.reject(),
            },
            (Asked::Nothing, _) | (_, None) => {
                self.pending = None;
                self.wrong();
                self.reject()
            }
        }
    }

    /// Forgets everything where the name is not the one before.
    fn speak_as(&mut self, user: &str) {
        if self.user != user {
            user.clone_into(&mut self.user);
            self.pending = None;
            self.asked = Asked::Nothing;
            self.veiled = false;
        }
    }

    /// Evidence that came with a method of its own: the answer to a challenge goes by keyboard-interactive.
    async fn show(&mut self, evidence: Evidence) -> Auth {
        self.asked = Asked::Nothing;
        self.pending = None;
        self.veiled = false;
        if self.is_spent() {
            return self.reject();
        }
        match self.submit(evidence).await {
            Outcome::Granted(session) => self.accept(session),
            Outcome::Challenge(challenge) => {
                // RFC 4252 section 5.1: true only if what was just shown was right.
                let partial_success = challenge.because() == Because::NextFactor;
                if !partial_success {
                    self.wrong();
                }
                self.pending = Some(challenge);
                Auth::Reject { proceed_with_methods: Some(self.methods()), partial_success }
            }
            Outcome::Denied(_) => {
                self.wrong();
                self.reject()
            }
        }
    }

    async fn submit(&mut self, evidence: Evidence) -> Outcome {
        if let Some(session) = self.gate.resume(&self.origin, &self.user, &evidence).await {
            return Outcome::Granted(session);
        }
        self.gate.knock(self.origin.clone(), &self.user).submit(evidence).await
    }

    /// The next message of a keyboard-interactive conversation.
    fn converse(&mut self, outcome: Outcome) -> Auth {
        match outcome {
            Outcome::Granted(session) => self.accept(session),
            Outcome::Challenge(challenge) => {
                if challenge.because() == Because::TryAgain {
                    self.wrong();
                }
                self.pending = Some(challenge);
                if self.is_spent() { self.reject() } else { self.ask_for_code() }
            }
            Outcome::Denied(_) => {
                self.wrong();
                self.reject()
            }
        }
    }

    fn accept(&mut self, session: Session) -> Auth {
        self.pending = None;
        self.granted = Some(session);
        Auth::Accept
    }

    fn wrong(&mut self) {
        self.wrong_answers = self.wrong_answers.saturating_add(1);
        if self.is_spent() {
            self.pending = None;
        }
    }

    fn reject(&self) -> Auth {
        Auth::Reject { proceed_with_methods: Some(self.methods()), partial_success: false }
    }

    fn methods(&self) -> MethodSet {
        if self.pending.is_some() { MethodSet::from(&[MethodKind::KeyboardInteractive][..]) } else { first_methods() }
    }

    fn ask_for_password(&mut self) -> Auth {
        self.asked = Asked::Password;
        ask("", "Password: ", Echo::Off)
    }

    fn ask_for_code(&mut self) -> Auth {
        self.asked = Asked::Code;
        let (instructions, expects) = match &self.pending {
            Some(challenge) if challenge.because() == Because::TryAgain => ("wrong code", challenge.expects()),
            // A decoy must look like a challenge: nothing of either is shown.
            Some(_) if self.veiled => ("", Expects::Code),
            Some(challenge) => (challenge.prompt(), challenge.expects()),
            None => ("", Expects::Code),
        };
        let prompt = match expects {
            Expects::Code => "Verification code: ",
            Expects::Nothing => "Confirm the login where you are asked to, then press Enter: ",
        };
        ask(instructions, prompt, Echo::On)
    }
}

/// The methods of a login that has proven nothing, whoever logs in.
pub(crate) fn first_methods() -> MethodSet {
    MethodSet::from(&[MethodKind::PublicKey, MethodKind::Password, MethodKind::KeyboardInteractive][..])
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Echo {
    On,
    Off,
}

/// One prompt a request, in the words of OpenSSH with PAM: what graphical clients recognise.
fn ask(instructions: &str, prompt: &'static str, echo: Echo) -> Auth {
    Auth::Partial {
        name: Cow::Borrowed(""),
        instructions: Cow::Owned(instructions.to_owned()),
        prompts: Cow::Owned(vec![(Cow::Borrowed(prompt), echo == Echo::On)]),
    }
}

fn only(mut response: Response<'_>) -> Option<Vec<u8>> {
    let answer = response.next()?;
    response.next().is_none().then(|| answer.to_vec())
}

/// Wrong answers of any kind that end the connection: as many as one challenge takes (N7a), so that neither `password:CODE`
/// nor a fresh round of prompts gives more guesses than answering one challenge would.
const WRONG_ANSWERS: u8 = 3;
