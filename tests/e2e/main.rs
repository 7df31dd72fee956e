//! The rules of the house, checked from outside: the built program, stock clients, real sockets.
//!
//! Every rule that holds for more than one door runs over each of them ([`clients::every_door`]). A test makes a house of
//! its own ([`house::House`]) on free ports, so all of them run side by side. Nothing here links the server: what a test
//! can see, a user can see. `tests/setup` installs the clients.

#![expect(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test may fail loudly")]

mod authenticator;
mod clients;
mod house;
mod newcomer;
mod process;
mod program;
mod rules;
mod standins;
mod waiting;
