//! The HTTP doors: login, files, lists, and the page at the root.
//!
//! Translates requests into evidence for the gate and into file calls, and their outcomes into replies. hyper is driven directly:
//! a connection here is a stranger with a clock until somebody has logged in on it, and a router is a handful of exact spellings,
//! so that no second spelling of a path can reach what the first one guards.
//!
//! Never: looks up a user, judges a code, counts a failure, checks a right, remembers a credential, or imports another protocol.
//! WebDAV comes in as a [`Mounted`] service that the daemon hands over.

mod body;
mod caller;
mod door;
mod download;
mod forwarded;
mod json;
mod listing;
mod login;
mod names;
mod pages;
mod refusal;
mod routes;
mod tree;
mod tus;
mod upload;
mod visit;
mod wire;

pub use body::Body;
pub use door::{HttpDoor, HttpSettings, Mounted};
