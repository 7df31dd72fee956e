//! The engine over a real store: what a client gets for what it sends.

mod checks;
mod client;
mod pressure;
mod requests;
mod uploads;
