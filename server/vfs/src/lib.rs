//! The tree a user sees, and the bytes below it.
//!
//! The same rules for all doors (files.md): an upload is there whole or not at all; success means on disk; a name is
//! checked on the resolved path and opened below the mount's root by the kernel, never by joining strings. It never learns
//! which protocol asked, speaks no reply codes, hands out no path of the host.

mod account;
mod backend;
mod change;
#[cfg(any(test, feature = "contract"))]
pub mod contract;
mod copy;
mod create;
mod digest;
mod ending;
mod error;
mod facts;
mod local;
mod locks;
mod prefix;
mod properties;
mod replace;
mod reserved;
mod session;
mod storage;
#[cfg(test)]
mod tests;
mod tree;
mod unfinished;
mod upload;
mod view;

pub use backend::{
    Backend, Capabilities, Ended, FileId, Kept, LastLink, OpenFile, PartialEntry, Published, Removal, Rows, StagedFile,
    Usage,
};
pub use digest::{Digest, Readable, Sum, summed};
pub use error::{Action, VfsError};
pub use facts::{Entry, Facts, Kind, Metadata, Space};
pub use local::local_store;
pub use locks::{Lock, LockDepth, LockLimits, LockScope, LockToken, Locks};
pub use replace::Replacement;
pub use reserved::{PartialKey, is_reserved, is_staged, staged_name};
pub use storage::{Durability, MountSpec, Storage, StorageSettings, TreeSpec};
pub use upload::{Committed, Intent, OnAbort, Upload};
pub use view::{FileReader, Listing, Overwrite, Vfs};
