//! Listing a folder: raw directory reads in a small buffer, facts asked name by name when they are due.

use super::{blocking, errno::refused, stat};
use crate::{Action, Entry, Rows, VfsError, reserved};
use lockgate_model::VPath;
use rustix::{
    fs::{FileType, RawDir},
    io::Errno,
};
use std::{collections::VecDeque, os::fd::OwnedFd, sync::Arc};

/// Bytes of names read at once: some hundred names, whatever the folder's size.
const BUFFER: usize = 32 * 1024;

/// A name read from a folder, `.` and `..` left out.
pub(super) struct Name {
    pub(super) bytes: Vec<u8>,
    pub(super) kind: FileType,
    /// Where to go on behind it.
    pub(super) cookie: u64,
}

/// Reads the next names of an open folder; empty at the end. Blocking.
pub(super) fn read_names(folder: &OwnedFd) -> Result<VecDeque<Name>, Errno> {
    let mut buffer = Vec::with_capacity(BUFFER);
    loop {
        let mut names = VecDeque::new();
        let mut raw = RawDir::new(folder, buffer.spare_capacity_mut());
        let mut any = false;
        while let Some(entry) = raw.next() {
            let entry = entry?;
            any = true;
            let bytes = entry.file_name().to_bytes();
            if bytes != b"." && bytes != b".." {
                names.push_back(Name {
                    bytes: bytes.to_vec(),
                    kind: entry.file_type(),
                    cookie: entry.next_entry_cookie(),
                });
            }
            if raw.is_buffer_empty() {
                break;
            }
        }
        if !names.is_empty() || !any {
            return Ok(names);
        }
    }
}

/// A listing of a local folder.
pub(super) struct LocalRows {
    state: Option<State>,
    path: VPath,
}

struct State {
    folder: Arc<OwnedFd>,
    names: VecDeque<Name>,
    over: bool,
}

impl LocalRows {
    pub(super) fn new(folder: OwnedFd, path: VPath) -> Self {
        Self { state: Some(State { folder: Arc::new(folder), names: VecDeque::new(), over: false }), path }
    }
}

impl State {
    fn next_rows(&mut self, limit: usize) -> Result<Vec<Entry>, Errno> {
        let mut rows = Vec::with_capacity(limit.min(1024));
        while rows.len() < limit && !self.over {
            let Some(name) = self.names.pop_front() else {
                self.names = read_names(&self.folder)?;
                self.over = self.names.is_empty();
                continue;
            };
            if reserved::is_reserved(&name.bytes) {
                continue;
            }
            match stat::at(&*self.folder, &name.bytes) {
                Ok(facts) => {
                    rows.extend(stat::metadata(&facts).map(|metadata| Entry { name: name.bytes, metadata }));
                }
                // Gone since its name was read, or not to be seen.
                Err(Errno::NOENT | Errno::ACCESS) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(rows)
    }
}

#[async_trait::async_trait]
impl Rows for LocalRows {
    async fn next_rows(&mut self, limit: usize) -> Result<Vec<Entry>, VfsError> {
        // Facts of cold names wait for the disk; one hop for a whole batch costs nothing. A dropped call
        // takes the place in the folder with it, and a listing with a hole is none.
        let Some(mut state) = self.state.take() else { return Err(VfsError::Interrupted) };
        let path = self.path.clone();
        let (state, rows) = blocking(move || {
            let rows = state.next_rows(limit).map_err(|errno| refused(errno, Action::List, &path));
            Ok((state, rows))
        })
        .await?;
        self.state = Some(state);
        rows
    }
}
