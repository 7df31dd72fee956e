//! The rules of the gate, each from outside: what is shown, what is answered, what is recorded.

mod codes;
mod denials;
mod faults;
mod grants;
mod passwords;
mod sent_codes;
mod sessions;
mod web;
