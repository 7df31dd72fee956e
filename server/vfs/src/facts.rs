//! What is known of a file without its bytes.

use std::time::SystemTime;

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link (only where it was looked at without following).
    Link,
}

/// Facts of a file or folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What it is.
    pub kind: Kind,
    /// Bytes; 0 for folders.
    pub size: u64,
    /// Last change of the bytes.
    pub modified: SystemTime,
    /// Last reading, as the store keeps it.
    pub accessed: SystemTime,
    /// Permission bits of the host, `0o7777` at most.
    pub mode: u32,
    /// Numeric owner of the host: shown, never used for a decision.
    pub uid: u32,
    /// Numeric group of the host.
    pub gid: u32,
    /// Number of hard links.
    pub links: u64,
    /// Opaque identity within the store: equal for two names of one file.
    pub unique: (u64, u64),
    /// Strong validator: changes whenever the bytes may have changed. ASCII without quotes.
    pub etag: String,
}

/// One row of a listing.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The name: one component, bytes as on the store.
    pub name: Vec<u8>,
    /// Its facts, links not followed.
    pub metadata: Metadata,
}

/// Facts to set; `None` leaves as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Modification time.
    pub modified: Option<SystemTime>,
    /// Access time.
    pub accessed: Option<SystemTime>,
    /// Permission bits; set-id bits are dropped.
    pub mode: Option<u32>,
}

impl Facts {
    /// These facts, and over them the ones of `later`.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        Self {
            modified: later.modified.or(self.modified),
            accessed: later.accessed.or(self.accessed),
            mode: later.mode.or(self.mode),
        }
    }
}

/// Room in the store as this user sees it: the smaller of quota and disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Bytes in all.
    pub total: u64,
    /// Bytes that can still be written.
    pub free: u64,
    /// Bytes used by the user (quota) or on the disk.
    pub used: u64,
    /// Preferred block size.
    pub block: u64,
    /// File slots in all.
    pub files: u64,
    /// Free file slots.
    pub files_free: u64,
    /// Longest name.
    pub name_max: u64,
}
