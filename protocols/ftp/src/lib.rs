//! The FTP door: a control channel of our own, spoken to the gate and the tree.
//!
//! FTP is what this product is for, so its control channel is not a library's (ARCHITECTURE.md says why). A line becomes a
//! command ([`command`]), a conversation obeys one at a time ([`conversation`]), what touches files is a method of a room that
//! only a login can make ([`room`]), and what takes a while is a job beside the conversation ([`job`], [`transfer`],
//! [`listing`]). Where this differs from the standards is told in `docs/protocols.md`.
//!
//! Never: looks a user up, takes a password apart, counts against an account, checks a right.

mod advertised;
mod command;
mod control;
mod conversation;
mod data;
mod date;
mod deflate;
mod digest;
mod door;
mod ends;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod job;
mod line;
mod listing;
mod marks;
mod names;
mod passive;
mod porter;
mod reply;
mod room;
#[cfg(test)]
mod tests;
mod texts;
mod ties;
mod tls;
mod transfer;

pub use advertised::{PassiveHost, PassiveHosts};
pub use door::{CodePrompt, FtpDoor, FtpSettings};
pub use passive::PassivePorts;
pub use texts::FtpTexts;
pub use ties::SessionReuse;
