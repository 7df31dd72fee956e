//! What an administrator or a user may change, as operations.
//!
//! The command line and, later, the REST interface call the same ones, so that a rule about a change is kept once and every
//! change leaves one record in the audit trail. It renders nothing: callers choose between text and JSON.

mod accounts;
mod password_rules;
mod properties;
mod second_factor;

pub use accounts::{Accounts, NewAccount};
pub use password_rules::PasswordRules;
pub use properties::{PropertyError, apply_property, properties_of};
pub use second_factor::{Enrolled, Invitation};

use lockgate_access::{FactorError, LedgerError};
use lockgate_users::DirectoryError;

/// Why a change did not happen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AdminError {
    /// The directory says why.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The ledger failed.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The factor could not do its part.
    #[error(transparent)]
    Factor(#[from] FactorError),
    /// A property or its value cannot be.
    #[error(transparent)]
    Property(#[from] PropertyError),
    /// A value that cannot be.
    #[error("{0}")]
    Invalid(String),
    /// The system's random source failed.
    #[error("the system gives no random numbers")]
    Random,
}
