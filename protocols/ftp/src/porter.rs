//! Who lets people in: the gate, as this door speaks to it.
//!
//! A door carries a name and what was shown to the gate and words its answer; it looks nobody up and counts nothing. The
//! trait is here so that whole conversations can be tested, and a fuzzer can hold them, without a gate.

use futures_util::future::BoxFuture;
use lockgate_access::{Activity, Challenge, Evidence, Gate, Outcome, Session};
use lockgate_model::{Conversation, Origin, Protocol, Secret};
use lockgate_vfs::Vfs;

/// Whoever has logged in.
pub(crate) struct Guest {
    /// Their files.
    pub(crate) vfs: Vfs,
    /// Their name, for `STAT`.
    pub(crate) name: String,
    /// Where it is told what they do.
    pub(crate) activity: Activity,
    /// Dropped, the session ends.
    pub(crate) _hold: Option<Session>,
}

/// Resolves when a session must end. Does not keep it alive.
pub(crate) type Ended = BoxFuture<'static, ()>;

/// The answer to what was shown.
pub(crate) enum Verdict {
    /// In.
    Granted(Guest, Ended),
    /// One more thing is asked, in words for a person.
    Asked(Box<dyn Question>, String),
    /// No.
    Denied,
    /// Later: too much is going on.
    Busy,
}

/// What waits for its answer.
#[async_trait::async_trait]
pub(crate) trait Question: Send + Sync {
    /// The code in what was said under `PASS`; `None` where nothing in it could be one. A client says its password there
    /// whatever was asked, and an answer goes to whoever judges codes.
    fn code_in(&self, said: &Secret<String>) -> Option<Secret<String>>;

    /// Answers it.
    async fn answer(self: Box<Self>, origin: &Origin, code: Secret<String>) -> Verdict;
}

/// See the module.
#[async_trait::async_trait]
pub(crate) trait Porter: Send + Sync {
    /// A name and a password, or password and code in one.
    async fn log_in(&self, origin: &Origin, name: &str, password: Secret<String>) -> Verdict;

    /// What the certificate that the client proved opens under this name: a session, a question, or, for whoever asks,
    /// nothing at all. `None` looks the same to the client whatever the reason: it is asked for a password.
    async fn recognise(&self, origin: &Origin, name: &str) -> Option<Verdict> {
        let _ = (origin, name);
        None
    }

    /// Whether anybody may need a code.
    fn may_ask(&self) -> bool;
}

#[async_trait::async_trait]
impl Porter for Gate {
    async fn log_in(&self, origin: &Origin, name: &str, password: Secret<String>) -> Verdict {
        let evidence = Evidence::Password(password);
        if let Some(session) = self.resume(origin, name, &evidence).await {
            return session.into();
        }
        verdict(self, self.knock(origin.clone(), name).submit(evidence).await)
    }

    async fn recognise(&self, origin: &Origin, name: &str) -> Option<Verdict> {
        let subject = origin.client_certificate.as_deref()?;
        // A certificate for something else is no wrong login.
        if !self.would_accept_certificate(origin, name, subject).await {
            return None;
        }
        // The password is not needed any more, so its place is free for a code: this client can be asked.
        let origin = Origin { conversation: Conversation::Interactive, ..origin.clone() };
        let evidence = Evidence::ClientCertificate(subject.to_owned());
        match verdict(self, self.knock(origin, name).submit(evidence).await) {
            Verdict::Denied => None,
            verdict => Some(verdict),
        }
    }

    fn may_ask(&self) -> bool {
        [Protocol::Ftp, Protocol::Ftps].into_iter().any(|protocol| Self::may_ask(self, protocol))
    }
}

/// A question, and the gate that knows what its answers look like.
struct Due(Gate, Challenge);

#[async_trait::async_trait]
impl Question for Due {
    fn code_in(&self, said: &Secret<String>) -> Option<Secret<String>> {
        let Self(gate, challenge) = self;
        gate.code_in(challenge, said)
    }

    async fn answer(self: Box<Self>, origin: &Origin, code: Secret<String>) -> Verdict {
        let Self(gate, challenge) = *self;
        verdict(&gate, challenge.answer(origin, code).await)
    }
}

impl From<Session> for Verdict {
    fn from(session: Session) -> Self {
        let ended = session.ended();
        let ended = Box::pin(async move {
            ended.await;
        });
        let guest = Guest {
            vfs: session.vfs().clone(),
            name: session.user().to_string(),
            activity: session.activity().clone(),
            _hold: Some(session),
        };
        Self::Granted(guest, ended)
    }
}

fn verdict(gate: &Gate, outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Granted(session) => session.into(),
        Outcome::Challenge(challenge) => {
            let prompt = challenge.prompt().to_owned();
            Verdict::Asked(Box::new(Due(gate.clone(), challenge)), prompt)
        }
        Outcome::Denied(denied) if denied.busy => Verdict::Busy,
        Outcome::Denied(_) => Verdict::Denied,
    }
}
