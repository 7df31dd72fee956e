//! Files on their way: one module for each direction, and line ends.

mod ascii;
mod retrieve;
mod store;

pub(crate) use ascii::ToWire;
pub(crate) use retrieve::retrieve;
pub(crate) use store::{Begin, store};
