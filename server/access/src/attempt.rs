//! One try to log in: each step consumes the last, so none can be taken twice.

use crate::{Challenge, Evidence, Gate, Session, challenge::Veil};
use lockgate_model::Origin;
use std::{fmt, sync::Arc};

/// The answer to a step.
#[must_use]
#[derive(Debug)]
pub enum Outcome {
    /// The door is open.
    Granted(Session),
    /// One more thing is asked.
    Challenge(Challenge),
    /// No. Why is in the audit trail and nowhere else.
    Denied(Denied),
}

/// No. Carries nothing that a client could learn from; its minimum time has passed when a door gets it.
#[derive(Debug)]
pub struct Denied {
    /// Whether the door should say "later" (429, 421) rather than "no": too much is going on, whoever asks. Never depends on
    /// the name or the evidence.
    pub busy: bool,
}

/// A login that has a name and no evidence yet.
#[must_use = "dropping an attempt abandons the login"]
pub struct LoginAttempt {
    pub(crate) gate: Gate,
    pub(crate) origin: Origin,
    pub(crate) name: String,
}

impl LoginAttempt {
    /// Shows evidence. Consumes the attempt; another try needs another [`Gate::knock`].
    ///
    /// Takes tens of milliseconds of another thread for a password, and at least the minimum answer time where the answer is
    /// [`Outcome::Denied`]. Dropping the future abandons the login; what was spent (a code, a count) stays spent, and the
    /// record is written all the same.
    pub async fn submit(self, evidence: Evidence) -> Outcome {
        Arc::clone(&self.gate.inner).log_in(self.origin, self.name, evidence, Veil::Open).await
    }

    /// As [`LoginAttempt::submit`], for an interactive conversation that asks for password and code one after the other
    /// whatever the truth (SSH's `keyboard-interactive` from the start): a wrong first factor gives a [`Challenge`] like a
    /// right one, after the same time, which no answer satisfies. Where no factor can be due on the protocol it is denied at
    /// once, as always.
    ///
    /// A door that uses this asks in words of its own and shows nothing of the challenge.
    pub async fn submit_veiled(self, evidence: Evidence) -> Outcome {
        Arc::clone(&self.gate.inner).log_in(self.origin, self.name, evidence, Veil::Drawn).await
    }
}

impl fmt::Debug for LoginAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LoginAttempt({:?} over {})", self.name, self.origin.protocol)
    }
}
