//! What a channel has open.
//!
//! A handle is a number that is never given twice on one channel, so that a late request cannot hit another file. The
//! connection's open handles are counted together and limited.

use super::status::Failure;
use crate::work::{Job, Work};
use lockgate_access::{Activity, Doing};
use lockgate_model::VPath;
use lockgate_vfs::{Entry, Facts, FileReader, Listing, Upload};
use std::{collections::HashMap, sync::Arc};

/// Open handles of one connection at once.
pub(crate) const MOST_HANDLES: usize = 256;

/// A file open for writing.
pub(crate) struct Writer {
    /// `None` after an error: then only the failure is left to tell.
    pub(crate) upload: Option<Upload>,
    /// Whether every write goes to the end.
    pub(crate) append: bool,
    /// Whether it was opened for reading too.
    pub(crate) readable: bool,
    /// Facts that the client has set so far.
    pub(crate) facts: Facts,
    /// The first error. The close tells it again: it is what clients look at.
    pub(crate) failure: Option<Failure>,
}

/// A folder being listed.
pub(crate) struct Folder {
    /// `.` and `..`, until they are told.
    pub(crate) dots: Vec<Entry>,
    /// The rest.
    pub(crate) listing: Listing,
}

/// What a handle stands for.
pub(crate) enum Open {
    /// A file open for reading; shared with the sums that are taken of it.
    Reader(Arc<FileReader>),
    /// A file open for writing.
    Writer(Writer),
    /// A folder.
    Folder(Folder),
}

/// One open handle.
pub(crate) struct Handle {
    /// What it stands for.
    pub(crate) open: Open,
    /// The name it was opened by.
    pub(crate) path: VPath,
    /// Requests about it that wait.
    waiting: usize,
    /// What it is in the list of sessions.
    pub(crate) doing: Doing,
    _job: Job,
}

/// The open handles of a channel.
#[derive(Default)]
pub(crate) struct Handles {
    open: HashMap<u32, Handle>,
    next: u32,
    activity: Activity,
}

/// The number that a client's handle stands for.
pub(crate) fn number(handle: &[u8]) -> Option<u32> {
    handle.try_into().ok().map(u32::from_be_bytes)
}

impl Handles {
    /// None are open; what is done with them is told there.
    pub(crate) fn new(activity: Activity) -> Self {
        Self { activity, ..Self::default() }
    }

    /// Reserves a place, before anything is opened.
    pub(crate) fn place(work: &Work) -> Result<Job, Failure> {
        work.begin(MOST_HANDLES).ok_or_else(|| Failure::because("too many open files: close some first"))
    }

    /// Puts something at the place; the handle for the client.
    pub(crate) fn put(&mut self, place: Job, open: Open, path: VPath) -> [u8; 4] {
        let number = self.next;
        self.next = self.next.wrapping_add(1);
        let verb = match open {
            Open::Reader(_) => "READ",
            Open::Writer(_) => "WRITE",
            Open::Folder(_) => "READDIR",
        };
        let doing = self.activity.begin(verb, &path);
        self.open.insert(number, Handle { open, path, waiting: 0, doing, _job: place });
        number.to_be_bytes()
    }

    /// Something else begins on the channel, for the list of sessions.
    pub(crate) fn begin(&self, verb: &'static str, path: &VPath) -> Doing {
        self.activity.begin(verb, path)
    }

    /// What a handle stands for.
    pub(crate) fn get(&self, number: u32) -> Option<&Handle> {
        self.open.get(&number)
    }

    /// The same, to be changed.
    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut Handle> {
        self.open.get_mut(&number)
    }

    /// The writer behind a handle.
    pub(crate) fn writer(&mut self, number: u32) -> Option<&mut Writer> {
        match self.get_mut(number)?.open {
            Open::Writer(ref mut writer) => Some(writer),
            Open::Reader(_) | Open::Folder(_) => None,
        }
    }

    /// Counts bytes that went into it.
    pub(crate) fn moved(&self, number: u32, bytes: usize) {
        if let Some(handle) = self.get(number) {
            handle.doing.moved(bytes as u64);
        }
    }

    /// The latest writer of the name that is still well.
    pub(crate) fn writer_of(&mut self, path: &VPath) -> Option<&mut Writer> {
        let writers = self.open.iter_mut().filter_map(|(number, handle)| match &mut handle.open {
            Open::Writer(writer) if writer.upload.as_ref().is_some_and(|upload| upload.is_for(path)) => {
                Some((*number, writer))
            }
            Open::Writer(_) | Open::Reader(_) | Open::Folder(_) => None,
        });
        writers.max_by_key(|(number, _)| *number).map(|(_, writer)| writer)
    }

    /// Ends a handle.
    pub(crate) fn take(&mut self, number: u32) -> Option<Handle> {
        self.open.remove(&number)
    }

    /// Puts a handle back that was taken for a moment.
    pub(crate) fn restore(&mut self, number: u32, handle: Handle) {
        self.open.insert(number, handle);
    }

    /// A request about it waits.
    pub(crate) fn wait(&mut self, number: u32) {
        if let Some(handle) = self.get_mut(number) {
            handle.waiting += 1;
        }
    }

    /// A request about it waits no longer.
    pub(crate) fn waited(&mut self, number: u32) {
        if let Some(handle) = self.get_mut(number) {
            handle.waiting = handle.waiting.saturating_sub(1);
        }
    }

    /// Whether a request about it waits.
    pub(crate) fn is_waited_for(&self, number: u32) -> bool {
        self.get(number).is_some_and(|handle| handle.waiting > 0)
    }

    /// Drops everything that no waiting request needs: uploads among it are aborted.
    pub(crate) fn drop_idle(&mut self) {
        self.open.retain(|_, handle| handle.waiting > 0);
    }
}
