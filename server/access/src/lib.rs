//! The gate: the one place where a stranger becomes a session.
//!
//! Four protocols ask for names and secrets in four ways, and each is tempted to decide for itself. A door may only carry
//! evidence in and an [`Outcome`] out; lockout, policy, factors and timing stay behind this gate, so a rule fixed here is
//! fixed everywhere.
//!
//! Never: reads a socket, words a reply, tells "no such user" from "wrong password". The whole road is in ARCHITECTURE.md,
//! "One login".

mod activity;
mod attempt;
pub mod bans;
mod candidate;
mod challenge;
mod channels;
mod codes;
mod compound;
mod connections;
mod cookies;
mod counting;
mod crowd;
mod evidence;
mod factor;
mod first_factor;
mod gate;
mod grants;
pub mod invitations;
pub mod ledger;
mod login;
mod opening;
mod parked;
pub mod policy;
mod ports;
mod reason;
mod second_factor;
mod sending;
mod session;
mod settings;
mod standing;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod turned_away;
mod turns;
mod watch;

pub use activity::{Activity, ActivityView, Doing};
pub use attempt::{Denied, LoginAttempt, Outcome};
pub use challenge::{Because, Challenge, ChallengeId, Expects};
pub use counting::unlock;
pub use evidence::Evidence;
pub use factor::{Enrolment, Factor, FactorError, FactorKind, FactorOrigin, FactorUser, Prompt, Verdict};
pub use gate::{Gate, GateParts, LedgerHealth};
pub use ledger::{Count, Ledger, LedgerError};
pub use session::{Session, SessionEnd, SessionId, SessionView, WebSession, WebToken};
pub use settings::{
    AccessSettings, BruteForce, ChannelName, Enforce, EnrolmentRule, FactorPatience, HashLimits, SendLimits,
    WebSessions,
};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes a lock. A panic elsewhere while it was held leaves a table that is whole: no entry is ever half written.
pub(crate) fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
