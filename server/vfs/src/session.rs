//! The uploads that a session has open, for the one exception to "everybody sees the old state until commit": within the
//! same session a name with an open staged upload answers for the upload (sshfs asks right after opening, and gives up
//! otherwise).

use crate::{Ended, Facts, Metadata};
use std::{
    sync::{Arc, Mutex, PoisonError, Weak},
    time::SystemTime,
};

/// One session's open uploads.
#[derive(Default)]
pub(crate) struct Session {
    /// Set for good when the session may do nothing any more.
    pub(crate) ended: Ended,
    uploads: Mutex<Vec<Weak<OpenUpload>>>,
}

impl Session {
    pub(crate) fn add(&self, upload: &Arc<OpenUpload>) {
        let mut uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.retain(|upload| upload.strong_count() > 0);
        uploads.push(Arc::downgrade(upload));
    }

    /// The latest open upload to what has this key.
    pub(crate) fn find(&self, key: &[u8]) -> Option<Arc<OpenUpload>> {
        let uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        uploads.iter().rev().filter_map(Weak::upgrade).find(|upload| upload.key == key)
    }
}

/// What others of the session may know of an upload.
pub(crate) struct OpenUpload {
    key: Vec<u8>,
    base: Metadata,
    now: Mutex<Now>,
}

#[derive(Clone, Copy)]
struct Now {
    len: u64,
    writes: u64,
    modified: SystemTime,
    facts: Facts,
}

impl OpenUpload {
    pub(crate) fn new(key: Vec<u8>, base: Metadata) -> Self {
        let now = Now { len: base.size, writes: 0, modified: base.modified, facts: Facts::default() };
        Self { key, base, now: Mutex::new(now) }
    }

    fn now(&self) -> Now {
        *self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn len(&self) -> u64 {
        self.now().len
    }

    /// Takes note of a write that left the file with `len` bytes.
    pub(crate) fn wrote(&self, len: u64) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.len = len;
        now.writes += 1;
        now.modified = SystemTime::now();
    }

    pub(crate) fn set_facts(&self, facts: Facts) {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        now.facts = now.facts.then(facts);
    }

    pub(crate) fn facts(&self) -> Facts {
        self.now().facts
    }

    pub(crate) fn metadata(&self) -> Metadata {
        let now = self.now();
        Metadata {
            size: now.len,
            modified: now.facts.modified.unwrap_or(now.modified),
            accessed: now.facts.accessed.unwrap_or(self.base.accessed),
            mode: now.facts.mode.unwrap_or(self.base.mode),
            etag: format!("{}-{:x}-{:x}", self.base.etag, now.len, now.writes),
            ..self.base.clone()
        }
    }
}
