//! The tables of `lockgate_plugin.h` as Rust sees them, word for word.
//!
//! The header is the source of truth; `tests/border.rs` compiles it and compares every size, offset and constant with
//! what stands here. The host uses these same types to read a plugin's table.
//!
//! Never: behaviour. Whoever calls through these pointers checks `abi` and `size` first.

use std::ffi::{c_char, c_void};

/// The number of the border; both tables begin with it.
pub const ABI: u32 = 1;

/// Went wrong; the field `error` says why. Zero, so that a value left unset lets nobody in.
pub const ERROR: i32 = 0;
/// Yes, done, right.
pub const OK: i32 = 1;
/// No, wrong.
pub const NO: i32 = 2;
/// Not decided yet, ask again. From `verify` only.
pub const LATER: i32 = 3;
/// Cannot serve now: another channel is tried.
pub const UNAVAILABLE: i32 = 4;

/// Role: carries a code that the host made and checks.
pub const DELIVERS: u32 = 1;
/// Role: says itself whether an answer is right.
pub const VERIFIES: u32 = 2;
/// Role: checks names and passwords.
pub const DIRECTORY: u32 = 4;
/// Role: is told what happened.
pub const EVENTS: u32 = 8;

/// Flag: one call at a time, always on the same thread.
pub const SINGLE_THREADED: u32 = 1;
/// Flag: `begin` and `verify` may take 60 s instead of 5 s.
pub const WAITS_FOR_PERSON: u32 = 2;

/// Level of [`HostTable::log`]: something is broken.
pub const LOG_ERROR: u32 = 1;
/// Level of [`HostTable::log`]: something needs a look.
pub const LOG_WARN: u32 = 2;
/// Level of [`HostTable::log`]: something worth knowing.
pub const LOG_INFO: u32 = 3;
/// Level of [`HostTable::log`]: detail.
pub const LOG_DEBUG: u32 = 4;

/// Bytes that a field's name may have.
pub const MAX_NAME: usize = 255;
/// Bytes that a field's value may have.
pub const MAX_VALUE: usize = 65536;
/// Fields that a call may have, each way.
pub const MAX_FIELDS: usize = 256;

/// The name of the one exported symbol.
pub const ENTRY: &std::ffi::CStr = c"lockgate_plugin_v1";

/// `lockgate_call`: opaque to a plugin, made by the host, dead when the function returns.
#[repr(C)]
pub struct RawCall {
    opaque: [u8; 0],
    neither_send_nor_sync: std::marker::PhantomData<(*mut u8, std::marker::PhantomPinned)>,
}

/// `lockgate_host`: what a plugin may call.
#[repr(C)]
pub struct HostTable {
    /// [`ABI`] of the host.
    pub abi: u32,
    /// Bytes of this table as the host knows it.
    pub size: u32,
    /// Reads a field: 1 and where it is, or 0.
    pub get: unsafe extern "C" fn(*mut RawCall, *const c_char, *mut *const u8, *mut usize) -> i32,
    /// Puts a field into the answer: 1, or 0 where it is refused.
    pub set: unsafe extern "C" fn(*mut RawCall, *const c_char, *const u8, usize) -> i32,
    /// Says something to the operator.
    pub log: unsafe extern "C" fn(u32, *const c_char, usize),
    /// Seconds since 1970 UTC, by the server's clock.
    pub now: unsafe extern "C" fn(*mut RawCall) -> u64,
}

/// `lockgate_function`: every function that works on an instance.
pub type Function = unsafe extern "C" fn(*mut c_void, *mut RawCall) -> i32;
/// Makes an instance.
pub type Open = unsafe extern "C" fn(*const HostTable, *mut RawCall, *mut *mut c_void) -> i32;
/// Ends an instance.
pub type Close = unsafe extern "C" fn(*mut c_void);
/// The type of the one exported symbol.
pub type Entry = unsafe extern "C" fn() -> *const PluginTable;

/// `lockgate_plugin`: what a plugin says about itself, and its functions.
#[repr(C)]
pub struct PluginTable {
    /// [`ABI`] that the plugin was made for.
    pub abi: u32,
    /// Bytes of this table as the plugin knows it.
    pub size: u32,
    /// [`DELIVERS`], [`VERIFIES`], [`DIRECTORY`], [`EVENTS`].
    pub roles: u32,
    /// [`SINGLE_THREADED`], [`WAITS_FOR_PERSON`].
    pub flags: u32,
    /// As in `lockgate_NAME.so`.
    pub name: *const c_char,
    /// The plugin's own version.
    pub version: *const c_char,
    /// One sentence.
    pub summary: *const c_char,
    /// JSON Schema of the settings, or null.
    pub settings: *const c_char,
    /// Makes an instance.
    pub open: Option<Open>,
    /// Ends an instance.
    pub close: Option<Close>,
    /// Can this user use the factor?
    pub serves: Option<Function>,
    /// Makes what is kept for a user.
    pub enroll: Option<Function>,
    /// Carries the code, or puts the question.
    pub begin: Option<Function>,
    /// Is the answer right?
    pub verify: Option<Function>,
    /// Is the password right?
    pub check_password: Option<Function>,
    /// Something happened.
    pub event: Option<Function>,
}

// SAFETY: the table is static and never changed; its pointers lead to static strings and to functions.
unsafe impl Sync for PluginTable {}
