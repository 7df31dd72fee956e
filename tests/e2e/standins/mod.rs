//! Stand-ins for what the server talks to outside: an SMS provider (and an HTTP proxy), and a mail server.

pub mod mail;
pub mod provider;
