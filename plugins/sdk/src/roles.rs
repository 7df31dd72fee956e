//! The parts that a plugin can play, as traits, and the words that go in and out.
//!
//! Never: a decision about policy. A factor carries a code or judges one answer; how often may be asked, what a right
//! answer opens and what was used before is the server's to say.

use std::fmt;

use crate::call::{Call, Origin, Settings, User};

/// Why a call did not do what it was asked. The text goes to the operator's log and to nobody else; it never holds a
/// code, a password or a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// Cannot serve now (a gateway is away, a limit is reached): another channel is tried.
    Unavailable(String),
    /// Something is wrong that waiting does not mend.
    Error(String),
}

impl Failure {
    /// Cannot serve now.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::Unavailable(why.into())
    }

    /// Something is wrong.
    pub fn error(why: impl Into<String>) -> Self {
        Self::Error(why.into())
    }

    /// The text for the log.
    #[must_use]
    pub fn why(&self) -> &str {
        match self {
            Self::Unavailable(why) | Self::Error(why) => why,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why())
    }
}

impl std::error::Error for Failure {}

/// How an instance is made. Dropping it ends it.
pub trait Plugin: Send + Sync + Sized + 'static {
    /// Reads the settings and makes an instance. Called when the server starts (to check the settings) and again
    /// when the worker does; it opens no connection that the first login does not need.
    ///
    /// # Errors
    /// Where a setting is missing or wrong; the message names the key, never a secret value.
    fn open(settings: &Settings<'_>) -> Result<Self, Failure>;
}

/// A second factor: carries a code to the user, or judges an answer itself.
pub trait Factor: Plugin {
    /// Whether this user can use the factor. Asked at each login: answered from what the call says, without a network.
    ///
    /// # Errors
    /// As any call; the factor then does not serve.
    fn serves(&self, user: &User<'_>) -> Result<bool, Failure>;

    /// Makes what is kept for a user. Only for a factor that enrols.
    ///
    /// # Errors
    /// As any call; nothing is enrolled then.
    fn enroll(&self, user: &User<'_>) -> Result<Enrolment, Failure> {
        let _ = user;
        Err(Failure::error("this factor does not enrol"))
    }

    /// Sends the code of [`Begin::code`], or puts the question in its own way.
    ///
    /// # Errors
    /// As any call; another channel is tried then.
    fn begin(&self, ask: &Begin<'_>) -> Result<Begun, Failure>;

    /// Judges an answer. Only for a factor that verifies.
    ///
    /// # Errors
    /// As any call; the answer then counts for nothing.
    fn verify(&self, ask: &Verify<'_>) -> Result<Verdict, Failure> {
        let _ = ask;
        Err(Failure::error("this factor does not verify"))
    }
}

/// A first factor: checks a name and a password elsewhere (LDAP, a database of people).
pub trait Directory: Plugin {
    /// Checks a password.
    ///
    /// # Errors
    /// Where the other side does not answer; the login is not let through then.
    fn check_password(&self, ask: &CheckPassword<'_>) -> Result<Standing, Failure>;
}

/// Is told what happened, and cannot stop it.
pub trait Events: Plugin {
    /// One event as a JSON object.
    ///
    /// # Errors
    /// Are logged, and change nothing.
    fn event(&self, json: &str) -> Result<(), Failure>;
}

/// What a factor made for a user.
pub struct Enrolment {
    /// Kept for the user, encrypted, and handed back as [`User::secret`].
    pub secret: Vec<u8>,
    /// `otpauth://` or another URI, shown once. May be empty.
    pub uri: String,
}

/// The question that [`Factor::begin`] is to put.
pub struct Begin<'a>(pub(crate) Call<'a>);

impl<'a> Begin<'a> {
    /// Who is asked.
    #[must_use]
    pub fn user(&self) -> User<'a> {
        User(self.0)
    }

    /// Where the login comes from.
    #[must_use]
    pub fn origin(&self) -> Origin<'a> {
        Origin(self.0)
    }

    /// The code to carry.
    ///
    /// # Errors
    /// Where there is none: the factor is not one that delivers.
    pub fn code(&self) -> Result<&'a str, Failure> {
        self.0.text("code").ok_or_else(|| Failure::error("the call brings no code to deliver"))
    }

    /// Seconds since 1970 UTC by the server's clock.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0.now()
    }
}

/// What came of [`Factor::begin`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Begun {
    /// One sentence that says what is asked for. Never the code. Empty where the factor has no words of its own.
    pub prompt: String,
    /// The form of the answer.
    pub expects: Expects,
    /// Handed back to [`Factor::verify`].
    pub state: Vec<u8>,
}

/// The form of the answer to a question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expects {
    /// A code to type.
    #[default]
    Code,
    /// Nothing but patience: the person answers elsewhere, as by a push.
    Nothing,
}

impl Begun {
    /// A prompt that asks for a code, and nothing to remember.
    pub fn prompt(prompt: impl Into<String>) -> Self {
        Self { prompt: prompt.into(), ..Self::default() }
    }
}

/// The answer that [`Factor::verify`] is to judge.
pub struct Verify<'a>(pub(crate) Call<'a>);

impl<'a> Verify<'a> {
    /// Who answers.
    #[must_use]
    pub fn user(&self) -> User<'a> {
        User(self.0)
    }

    /// Where the login comes from.
    #[must_use]
    pub fn origin(&self) -> Origin<'a> {
        Origin(self.0)
    }

    /// What [`Begun::state`] said.
    #[must_use]
    pub fn state(&self) -> &'a [u8] {
        self.0.bytes("state").unwrap_or_default()
    }

    /// What the user typed; empty where it is not text.
    #[must_use]
    pub fn answer(&self) -> &'a str {
        self.0.text("answer").unwrap_or_default()
    }

    /// Seconds since 1970 UTC by the server's clock.
    #[must_use]
    pub fn now(&self) -> u64 {
        self.0.now()
    }
}

/// What a verifying factor says about an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Right, and this much is spent by it.
    Right(Used),
    /// Wrong.
    Wrong,
    /// Not decided yet: ask again.
    Later,
}

/// What must never be accepted again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Used {
    /// This time step or counter and the ones before it, for this user.
    Step(u64),
    /// These very bytes, for this user: the id of a push, a signature. 1 to 256 bytes.
    Once(Vec<u8>),
}

/// The name and password that [`Directory::check_password`] is to judge.
pub struct CheckPassword<'a>(pub(crate) Call<'a>);

impl<'a> CheckPassword<'a> {
    /// The name as typed.
    #[must_use]
    pub fn name(&self) -> &'a str {
        self.0.text("name").unwrap_or_default()
    }

    /// The password as typed.
    #[must_use]
    pub fn password(&self) -> &'a [u8] {
        self.0.bytes("password").unwrap_or_default()
    }

    /// Where the login comes from.
    #[must_use]
    pub fn origin(&self) -> Origin<'a> {
        Origin(self.0)
    }
}

/// What a directory says about a name and a password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// Right; the account's properties by name: `email`, `phone`, `name`, `x_NAME`.
    Right(Vec<(String, String)>),
    /// The name is known here, the password is wrong.
    Wrong,
    /// The name is not known here.
    Unknown,
}
