//! The host's side of the border: it reads a plugin's table, makes calls, and answers `get`, `set`, `log` and `now`.
//!
//! The worker process speaks to every plugin through this module, and a plugin's own tests can do the same, so that what
//! they try is the border and not a picture of it.
//!
//! Never: trusts a length, a pointer it can refuse or a status. What a plugin does to its own memory it cannot see; that
//! is why plugins run in a process of their own.

use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fmt, ptr};

use zeroize::Zeroizing;

use crate::abi::{self, Function, HostTable, PluginTable, RawCall};

/// Names and values, in order. Values are wiped when they are dropped.
pub type Fields = Vec<(String, Zeroizing<Vec<u8>>)>;

/// The functions of a plugin that work on an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// Can this user use the factor?
    Serves,
    /// Makes what is kept for a user.
    Enroll,
    /// Carries the code, or puts the question.
    Begin,
    /// Is the answer right?
    Verify,
    /// Is the password right?
    CheckPassword,
    /// Something happened.
    Event,
}

/// Why a table is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableError {
    /// The entry function returned null.
    Missing,
    /// Made for another border.
    Abi {
        /// The number that the plugin says.
        plugin: u32,
    },
    /// Smaller than ABI 1 has it, or beyond reason.
    Size {
        /// The number that the plugin says.
        plugin: u32,
    },
    /// A text is missing, not UTF-8 or too long.
    Text {
        /// Which one.
        which: &'static str,
    },
    /// A function is missing that a role needs, or there is no role.
    Role {
        /// Which one.
        which: &'static str,
    },
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ours = abi::ABI;
        match self {
            Self::Missing => f.write_str("lockgate_plugin_v1 returned no table"),
            Self::Abi { plugin } => write!(
                f,
                "the plugin is made for ABI {plugin}, this Lockgate speaks ABI {ours}; build it anew against lockgate_plugin.h"
            ),
            Self::Size { plugin } => write!(
                f,
                "the plugin's table says {plugin} bytes, ABI {ours} has {}; build it anew against lockgate_plugin.h",
                size_of::<PluginTable>()
            ),
            Self::Text { which } => {
                write!(f, "the plugin's {which} is missing, not UTF-8 or too long")
            }
            Self::Role { which } => write!(f, "the plugin's table does not give {which}"),
        }
    }
}

impl std::error::Error for TableError {}

/// A plugin's table after it was checked, with its texts copied.
pub struct Table {
    raw: &'static PluginTable,
    /// As in `lockgate_NAME.so`.
    pub name: String,
    /// The plugin's own version.
    pub version: String,
    /// One sentence.
    pub summary: String,
    /// JSON Schema of the settings; empty where there is none.
    pub settings: String,
}

impl Table {
    /// Checks what the entry function returned.
    ///
    /// # Errors
    /// [`TableError`]; the numbers are read before anything else is believed.
    ///
    /// # Safety
    /// `raw` is null or what `lockgate_plugin_v1` of a loaded, never unloaded object returned.
    pub unsafe fn read(raw: *const PluginTable) -> Result<Self, TableError> {
        if raw.is_null() {
            return Err(TableError::Missing);
        }
        // SAFETY: both numbers stand at the beginning of every table, whatever its ABI.
        let (number, size) = unsafe { ((*raw).abi, (*raw).size) };
        if number != abi::ABI {
            return Err(TableError::Abi { plugin: number });
        }
        // A table that grew is fine; one that says a megabyte is not a table.
        if !(size_of::<PluginTable>()..=MAX_TABLE).contains(&(size as usize)) {
            return Err(TableError::Size { plugin: size });
        }
        // SAFETY: of our ABI, at least as long as ours, and the object is never unloaded.
        let raw: &'static PluginTable = unsafe { &*raw };
        // SAFETY: the header says that these are NUL-terminated static strings or null.
        let (name, version, summary, settings) = unsafe {
            (
                text(raw.name, "name", 64)?,
                text(raw.version, "version", 64)?,
                text(raw.summary, "summary", 1024)?,
                if raw.settings.is_null() { String::new() } else { text(raw.settings, "settings", abi::MAX_VALUE)? },
            )
        };
        let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if !(1..=32).contains(&name.len()) || !name.bytes().all(plain) {
            return Err(TableError::Text { which: "name" });
        }
        let table = Self { raw, name, version, summary, settings };
        table.roles_are_backed()?;
        Ok(table)
    }

    /// [`abi::DELIVERS`] and its like; bits that ABI 1 does not know are dropped.
    #[must_use]
    pub fn roles(&self) -> u32 {
        self.raw.roles & (abi::DELIVERS | abi::VERIFIES | abi::DIRECTORY | abi::EVENTS)
    }

    /// [`abi::SINGLE_THREADED`] and its like; bits that ABI 1 does not know are dropped.
    #[must_use]
    pub fn flags(&self) -> u32 {
        self.raw.flags & (abi::SINGLE_THREADED | abi::WAITS_FOR_PERSON)
    }

    /// Whether a user has to be enrolled before the factor serves.
    #[must_use]
    pub fn enrols(&self) -> bool {
        self.raw.enroll.is_some()
    }

    fn roles_are_backed(&self) -> Result<(), TableError> {
        let (raw, roles) = (self.raw, self.roles());
        let factor = roles & (abi::DELIVERS | abi::VERIFIES) != 0;
        for (there, which) in [
            (roles != 0, "a role"),
            (raw.open.is_some(), "open"),
            (!factor || raw.serves.is_some(), "serves, which a factor needs"),
            (!factor || raw.begin.is_some(), "begin, which a factor needs"),
            (roles & abi::VERIFIES == 0 || raw.verify.is_some(), "verify, which a factor that verifies needs"),
            (roles & abi::DIRECTORY == 0 || raw.check_password.is_some(), "check_password, which a directory needs"),
            (roles & abi::EVENTS == 0 || raw.event.is_some(), "event, which the role events needs"),
        ] {
            if !there {
                return Err(TableError::Role { which });
            }
        }
        Ok(())
    }

    fn function(&self, what: What) -> Option<Function> {
        match what {
            What::Serves => self.raw.serves,
            What::Enroll => self.raw.enroll,
            What::Begin => self.raw.begin,
            What::Verify => self.raw.verify,
            What::CheckPassword => self.raw.check_password,
            What::Event => self.raw.event,
        }
    }

    /// Makes an instance. `settings` are fields named `setting.KEY`.
    ///
    /// # Errors
    /// The plugin's own words, or that it had none.
    pub fn open(self, settings: Fields, now: u64) -> Result<Instance, String> {
        let Some(open) = self.raw.open else {
            return Err("no function open".to_owned());
        };
        let mut instance = ptr::null_mut();
        // SAFETY: the function comes from a checked table; host table, call and out pointer live long enough.
        let (status, answer) = exchange(settings, now, |call| unsafe { open(&raw const HOST, call, &mut instance) });
        if status == abi::OK {
            return Ok(Instance { table: self, raw: instance });
        }
        let why = answer.iter().find(|(name, _)| name == "error").map(|(_, why)| why.as_slice());
        Err(why.map_or_else(
            || format!("open returned {status} and no reason"),
            |why| String::from_utf8_lossy(why).into_owned(),
        ))
    }
}

/// An instance of a plugin, ready for calls.
pub struct Instance {
    table: Table,
    raw: *mut c_void,
}

// SAFETY: the border says that functions may be called from any thread, and from several at once unless the flags say
// otherwise, which the worker honours by calling from one thread only.
unsafe impl Send for Instance {}
// SAFETY: as above.
unsafe impl Sync for Instance {}

impl Instance {
    /// What the plugin says about itself.
    #[must_use]
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Calls one function. The status is the plugin's, as it came; a function that the plugin lacks is an error.
    #[must_use]
    pub fn call(&self, what: What, fields: Fields, now: u64) -> (i32, Fields) {
        match self.table.function(what) {
            // SAFETY: the function comes from a checked table and gets the instance that the same table made.
            Some(function) => exchange(fields, now, |call| unsafe { function(self.raw, call) }),
            None => (abi::ERROR, vec![("error".to_owned(), Zeroizing::new(b"no such function".to_vec()))]),
        }
    }

    /// Ends the instance. No other call may be running.
    pub fn close(self) {
        if let Some(close) = self.table.raw.close {
            // SAFETY: made by the same table; taken by value, so it is not used again.
            unsafe { close(self.raw) }
        }
    }
}

/// Where `log` goes. The first listener stays; without one, lines are dropped.
pub fn listen(sink: impl Fn(u32, &str) + Send + Sync + 'static) {
    let _ = SINK.set(Box::new(sink));
}

type Sink = Box<dyn Fn(u32, &str) + Send + Sync>;

/// One call, as it lies behind the pointer that the plugin sees.
struct Exchange {
    input: Vec<(CString, Zeroizing<Vec<u8>>)>,
    output: Mutex<Fields>,
    now: u64,
}

fn exchange(fields: Fields, now: u64, run: impl FnOnce(*mut RawCall) -> i32) -> (i32, Fields) {
    let input = fields.into_iter().filter_map(|(name, value)| Some((CString::new(name).ok()?, value)));
    let exchange = Exchange { input: input.collect(), output: Mutex::default(), now };
    let status = run((&raw const exchange).cast_mut().cast());
    (status, exchange.output.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// # Safety
/// `raw` is null or a NUL-terminated string.
unsafe fn text(raw: *const c_char, which: &'static str, max: usize) -> Result<String, TableError> {
    if raw.is_null() {
        return Err(TableError::Text { which });
    }
    // SAFETY: not null, and NUL-terminated by the caller's promise.
    match unsafe { CStr::from_ptr(raw) }.to_str() {
        Ok(text) if text.len() <= max => Ok(text.to_owned()),
        _ => Err(TableError::Text { which }),
    }
}

/// # Safety
/// The plugin's promises: a live call, a NUL-terminated name, two places for the answer.
unsafe extern "C" fn get(call: *mut RawCall, name: *const c_char, value: *mut *const u8, len: *mut usize) -> i32 {
    if name.is_null() || value.is_null() || len.is_null() {
        return 0;
    }
    // SAFETY: a call that the plugin was given is an `Exchange` of ours that is only read while it is alive.
    let Some(exchange) = (unsafe { call.cast::<Exchange>().cast_const().as_ref() }) else {
        return 0;
    };
    // SAFETY: checked not to be null; NUL-terminated by the plugin's promise.
    let name = unsafe { CStr::from_ptr(name) };
    match exchange.input.iter().find(|(known, _)| known.as_c_str() == name) {
        Some((_, found)) => {
            // SAFETY: checked not to be null; the plugin promises two places to write to.
            unsafe {
                *value = found.as_ptr();
                *len = found.len();
            }
            1
        }
        None => 0,
    }
}

/// # Safety
/// The plugin's promises: a live call, a NUL-terminated name, `len` bytes at `value`.
unsafe extern "C" fn set(call: *mut RawCall, name: *const c_char, value: *const u8, len: usize) -> i32 {
    // The length is judged before a byte is read.
    if name.is_null() || len > abi::MAX_VALUE || (value.is_null() && len > 0) {
        return 0;
    }
    // SAFETY: a call that the plugin was given is an `Exchange` of ours that is only read while it is alive.
    let Some(exchange) = (unsafe { call.cast::<Exchange>().cast_const().as_ref() }) else {
        return 0;
    };
    // SAFETY: checked not to be null; NUL-terminated by the plugin's promise.
    let name = match unsafe { CStr::from_ptr(name) }.to_str() {
        Ok(name) if !name.is_empty() && name.len() <= abi::MAX_NAME => name,
        _ => return 0,
    };
    let bytes = if len == 0 {
        Vec::new()
    } else {
        // SAFETY: not null, and `len` bytes by the plugin's promise.
        unsafe { std::slice::from_raw_parts(value, len) }.to_vec()
    };
    let bytes = Zeroizing::new(bytes);
    let mut output = exchange.output.lock().unwrap_or_else(PoisonError::into_inner);
    let known = output.iter().position(|(known, _)| known == name);
    let others: usize =
        output.iter().filter(|(known, _)| known != name).map(|(name, value)| name.len() + value.len()).sum();
    if others + name.len() + len > MAX_ANSWER || (known.is_none() && output.len() >= abi::MAX_FIELDS) {
        return 0;
    }
    match known.and_then(|at| output.get_mut(at)) {
        Some((_, old)) => *old = bytes,
        None => output.push((name.to_owned(), bytes)),
    }
    1
}

/// # Safety
/// The plugin's promise: `len` bytes at `text`.
unsafe extern "C" fn log(level: u32, text: *const c_char, len: usize) {
    let Some(sink) = SINK.get() else { return };
    if text.is_null() || len == 0 {
        return;
    }
    // SAFETY: not null, and at least this many bytes by the plugin's promise.
    let bytes = unsafe { std::slice::from_raw_parts(text.cast::<u8>(), len.min(MAX_LINE)) };
    sink(level, &String::from_utf8_lossy(bytes));
}

/// # Safety
/// The plugin's promise: a live call, or null.
unsafe extern "C" fn now(call: *mut RawCall) -> u64 {
    // SAFETY: a call that the plugin was given is an `Exchange` of ours that is only read while it is alive.
    match unsafe { call.cast::<Exchange>().cast_const().as_ref() } {
        Some(exchange) => exchange.now,
        None => SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs()),
    }
}

static HOST: HostTable = HostTable { abi: abi::ABI, size: size_of::<HostTable>() as u32, get, set, log, now };
static SINK: OnceLock<Sink> = OnceLock::new();

/// Bytes of all names and values that one answer may have.
pub const MAX_ANSWER: usize = 192 * 1024;
const MAX_TABLE: usize = 64 * 1024;
const MAX_LINE: usize = 1024;

#[cfg(test)]
mod tests;
