//! What happened, as data.
//!
//! Rooms announce facts; the audit file, and later metrics and hooks, subscribe. The list of events is closed, so that
//! every one can be documented and none is a free text. Nothing here decides, and no event has room for a secret.

mod audit;
mod bus;
mod event;

pub use audit::AuditFile;
pub use bus::{EventBus, Memory, Sink};
pub use event::{Event, FileAction, LoginResult};
