//! The FTP door: libunftp spoken to the gate and the tree.
//!
//! libunftp owns the control channel; this room only translates. One `Server` is built for each connection, so that the
//! authenticator knows the connection it works for: its true address, its place among the strangers, how many tries it had.
//! Known limits of the library (no implicit TLS, a strict parser, fixed replies) are listed in `docs/protocols.md`.
//!
//! Never: looks a user up, takes a password apart, counts against an account, checks a right.

mod door;
mod login;
mod passive;
mod storage;

pub use door::{FtpDoor, FtpSettings};
pub use passive::{PassiveHost, PassivePorts};
