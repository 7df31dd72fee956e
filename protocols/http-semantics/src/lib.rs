//! What RFC 9110 has two doors read and say alike: credentials, addresses, conditions, ranges, and the bytes of files both ways.
//!
//! A file that is fetched or stored under `/api/` and under `/dav/` is the same file, and a client that goes on with a download, or
//! writes over what it knows, must be able to count on one reading of its headers. So they are read here once, from headers to plain
//! values, and each door keeps its own words for what comes of them.
//!
//! Never: routes a request, words an error body, knows JSON or XML, or decides who may do what (the gate and the tree do).

pub mod address;
mod authorization;
mod body;
mod condition;
mod digest;
mod download;
mod malformed;
mod range;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod upload;

pub use authorization::{Credentials, LoginRefused, REALM, credentials, log_in};
pub use body::{Body, counted, empty, full};
pub use condition::{Access, Validators, Verdict, entity_tag, is_conditional, judge, last_modified, wants_new};
pub use digest::{Check, Claims};
pub use download::{Fetch, NotSent};
pub use malformed::Malformed;
pub use range::{Placed, Wanted, content_length, digits, wanted};
pub use upload::{Came, Gathered, NotStored, Plan, Receive, Stored, UPLOAD_OFFSET, as_they_are, committed};
