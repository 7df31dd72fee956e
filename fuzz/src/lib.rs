//! What the fuzz targets share: how replies are read, and a client that does what the bytes say.
//!
//! Each target in `fuzz_targets/` is a few lines over this. Everything here may fail loudly: a panic is a finding.

pub mod replies;
pub mod session;
mod verbs;
