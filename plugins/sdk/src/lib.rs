//! For authors of plugins: a Rust trait and a macro over the C border of `lockgate_plugin.h`.
//!
//! Implement [`Plugin`] (how an instance is made) and any of [`Factor`], [`Directory`] and [`Events`], then write
//! [`export!`] once. The macro makes the static table and the one symbol; panics are caught at the border and become an
//! error, so that the login they happen in is denied. Blocking code is the normal case: a plugin lives in a worker
//! process of its own, its calls come from several threads, and a call that outlives its deadline ends with its worker.
//!
//! ```
//! use lockgate_plugin::{Begin, Begun, Failure, Factor, Plugin, Settings, User};
//!
//! struct Pager { line: String }
//!
//! impl Plugin for Pager {
//!     fn open(settings: &Settings<'_>) -> Result<Self, Failure> {
//!         Ok(Self { line: settings.required("line")?.to_owned() })
//!     }
//! }
//!
//! impl Factor for Pager {
//!     fn serves(&self, user: &User<'_>) -> Result<bool, Failure> {
//!         Ok(user.extra("pager").is_some())
//!     }
//!     fn begin(&self, ask: &Begin<'_>) -> Result<Begun, Failure> {
//!         let _number = ask.user().extra("pager").ok_or_else(|| Failure::unavailable("no pager"))?;
//!         let _code = ask.code()?; // carried to the pager over self.line, and never logged
//!         Ok(Begun::prompt("Code from your pager"))
//!     }
//! }
//!
//! lockgate_plugin::export! {
//!     plugin: Pager,
//!     name: "pager",
//!     summary: "sends the code to a pager",
//!     settings: r#"{"type":"object","properties":{"line":{"type":"string"}},"required":["line"]}"#,
//!     roles: [delivers],
//!     flags: [],
//! }
//! ```
//!
//! The crate imports nothing of Lockgate's, so that a third party can build against it alone.
//!
//! Never: a Rust type across the border, an allocation freed by the other side, a tokio or TLS static shared with the
//! server. A plugin that wants TLS installs its own provider; one that wants async brings its own runtime.

pub mod abi;
mod call;
pub mod exchange;
#[doc(hidden)]
pub mod export;
mod roles;
pub mod template;

pub use call::{Call, Host, Level, Origin, Settings, User};
pub use roles::{
    Begin, Begun, CheckPassword, Directory, Enrolment, Events, Expects, Factor, Failure, Plugin, Standing, Used,
    Verdict, Verify,
};
