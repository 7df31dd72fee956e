//! The plain words every room shares: who, from where, over what, which path, with which rights.
//!
//! Construction parses; a value that exists is valid, so no room checks twice and no room can forget to. Nothing here
//! does I/O, knows the time, logs, or prints a secret.

mod name;
mod origin;
mod path;
mod permission;
mod protocol;
mod secret;
mod shown;
mod size;

pub use name::{NameError, UserName};
pub use origin::{Conversation, Door, Origin, address_key};
pub use path::{PathError, VPath};
pub use permission::{Permission, Permissions, UnknownPermission};
pub use protocol::{Protocol, ProtocolSet, UnknownProtocol};
pub use secret::Secret;
pub use shown::{named, shown};
pub use size::ByteSize;
