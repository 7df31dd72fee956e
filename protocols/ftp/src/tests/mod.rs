//! Whole conversations over real sockets, without a gate: the porter here knows one password.

mod certificates;
mod data;
mod deflate;
mod differential;
mod during;
mod house;
mod login;
mod previous;
mod proxies;
mod reuse;
mod storm;
mod talk;
mod words;
