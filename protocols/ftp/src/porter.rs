//! Who lets people in: the gate, as this door speaks to it.
//!
//! A door carries a name and what was shown to the gate and words its answer; it looks nobody up and counts nothing. The
//! trait is here so that whole conversations can be tested, and a fuzzer can hold them, without a gate.

use futures_util::future::BoxFuture;
use lockgate_access::{Challenge, Evidence, Gate, Outcome, Session};
use lockgate_model::{Origin, Protocol, Secret};
use lockgate_vfs::Vfs;

/// Whoever has logged in.
pub(crate) struct Guest {
    /// Their files.
    pub(crate) vfs: Vfs,
    /// Their name, for `STAT`.
    pub(crate) name: String,
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
    /// Answers it.
    async fn answer(self: Box<Self>, origin: &Origin, code: Secret<String>) -> Verdict;
}

/// See the module.
#[async_trait::async_trait]
pub(crate) trait Porter: Send + Sync {
    /// A name and a password, or password and code in one.
    async fn log_in(&self, origin: &Origin, name: &str, password: Secret<String>) -> Verdict;

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
        self.knock(origin.clone(), name).submit(evidence).await.into()
    }

    fn may_ask(&self) -> bool {
        [Protocol::Ftp, Protocol::Ftps].into_iter().any(|protocol| Self::may_ask(self, protocol))
    }
}

#[async_trait::async_trait]
impl Question for Challenge {
    async fn answer(self: Box<Self>, origin: &Origin, code: Secret<String>) -> Verdict {
        Challenge::answer(*self, origin, code).await.into()
    }
}

impl From<Session> for Verdict {
    fn from(session: Session) -> Self {
        let ended = session.ended();
        let ended = Box::pin(async move {
            ended.await;
        });
        let guest = Guest { vfs: session.vfs().clone(), name: session.user().to_string(), _hold: Some(session) };
        Self::Granted(guest, ended)
    }
}

impl From<Outcome> for Verdict {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Granted(session) => session.into(),
            Outcome::Challenge(challenge) => {
                let prompt = challenge.prompt().to_owned();
                Self::Asked(Box::new(challenge), prompt)
            }
            Outcome::Denied(denied) if denied.busy => Self::Busy,
            Outcome::Denied(_) => Self::Denied,
        }
    }
}
