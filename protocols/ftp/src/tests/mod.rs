//! Whole conversations over real sockets, without a gate: the porter here knows one password.

mod data;
mod differential;
mod house;
mod login;
mod previous;
mod storm;
mod talk;
