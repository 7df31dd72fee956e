//! Accounts, keys and enrolments, and how they are kept.
//!
//! It answers "here is the record" or "there is none", to `access` and `admin` only. It never judges a login, counts a
//! failure, or tells a stranger anything. All callers go through [`Directory`], so that another store can come in without
//! touching one of them.

pub mod app_password;
pub mod contact;
pub mod keys;
pub mod password;
pub mod recovery;
pub mod sqlite;

mod account;
mod change;
mod directory;
mod open;
mod random;
mod secret_key;

pub use account::{Account, AppPassword, AuthorizedKey, Epoch, MountPoint, PathRule, UnixMillis};
pub use directory::{AccountChange, Directory, DirectoryError, Field};
pub use open::{OpenError, refuse_loose_permissions};
pub use random::RandomError;
pub use secret_key::{SealError, SecretKey};
pub use sqlite::SqliteDirectory;
