//! One call as a plugin sees it: fields by name, and what the host can be asked.
//!
//! Everything borrowed here ends with the call, which the lifetimes say. Values come from users and from the operator:
//! text that is not UTF-8 reads as absent.
//!
//! Never: interprets a field. What a field means is in `lockgate_plugin.h`.

use std::ffi::CString;
use std::marker::PhantomData;
use std::ptr;

use crate::Failure;
use crate::abi::{self, HostTable, RawCall};

/// How much a line of the log matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Something is broken.
    Error,
    /// Something needs a look.
    Warn,
    /// Something worth knowing.
    Info,
    /// Detail.
    Debug,
}

/// The host, for what needs no call. Cheap to copy, good from any thread for as long as the process lives.
#[derive(Clone, Copy)]
pub struct Host {
    table: &'static HostTable,
}

impl Host {
    /// `None` where the host speaks another ABI or knows less than this crate needs.
    ///
    /// # Safety
    /// `table` is null or leads to a host table that lives as long as the process.
    pub(crate) unsafe fn new(table: *const HostTable) -> Option<Self> {
        if table.is_null() {
            return None;
        }
        // SAFETY: both numbers stand at the beginning of every host table, whatever its ABI.
        let (abi, size) = unsafe { ((*table).abi, (*table).size) };
        if abi != abi::ABI || (size as usize) < size_of::<HostTable>() {
            return None;
        }
        // SAFETY: the table is at least as long as ours and lives as long as the process.
        unsafe { table.as_ref() }.map(|table| Self { table })
    }

    /// Says something to the operator. Never a code, a password or a secret. Cut at 1,024 bytes.
    pub fn log(&self, level: Level, text: &str) {
        let level = match level {
            Level::Error => abi::LOG_ERROR,
            Level::Warn => abi::LOG_WARN,
            Level::Info => abi::LOG_INFO,
            Level::Debug => abi::LOG_DEBUG,
        };
        // SAFETY: pointer and length are those of one string, which the host copies before it returns.
        unsafe { (self.table.log)(level, text.as_ptr().cast(), text.len()) }
    }
}

/// A call in progress.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    host: Host,
    raw: *mut RawCall,
    borrowed: PhantomData<&'a RawCall>,
}

impl<'a> Call<'a> {
    /// # Safety
    /// `raw` is the call that the host passed to the function running now, on this thread, and `'a` ends with it.
    pub(crate) unsafe fn new(host: Host, raw: *mut RawCall) -> Self {
        Self { host, raw, borrowed: PhantomData }
    }

    /// The value of a field, or `None` where the call has no such field.
    #[must_use]
    pub fn bytes(&self, name: &str) -> Option<&'a [u8]> {
        let name = CString::new(name).ok()?;
        let (mut value, mut len) = (ptr::null(), 0);
        // SAFETY: the call is alive (see `new`), the name is NUL-terminated, both out pointers are ours.
        let found = unsafe { (self.host.table.get)(self.raw, name.as_ptr(), &mut value, &mut len) };
        if found != 1 {
            return None;
        }
        if len == 0 {
            return Some(&[]);
        }
        // SAFETY: the host hands out a pointer and its length that stay as they are until the call returns, which is 'a.
        (!value.is_null()).then(|| unsafe { std::slice::from_raw_parts(value, len) })
    }

    /// The value of a field that is text; `None` also where it is not UTF-8.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.bytes(name)?).ok()
    }

    /// Puts a field into the answer.
    ///
    /// # Errors
    /// Where the host refuses it: larger than [`abi::MAX_VALUE`], or too many.
    pub fn set(&self, name: &str, value: &[u8]) -> Result<(), Failure> {
        let refused = || Failure::error(format!("the host refuses the field {name}: too large or too many"));
        let c_name = CString::new(name).map_err(|_| refused())?;
        // SAFETY: the call is alive (see `new`), name and value are ours and are copied before the function returns.
        let taken = unsafe { (self.host.table.set)(self.raw, c_name.as_ptr(), value.as_ptr(), value.len()) };
        if taken == 1 { Ok(()) } else { Err(refused()) }
    }

    /// Seconds since 1970 UTC by the server's clock, as it was when the call was made.
    #[must_use]
    pub fn now(&self) -> u64 {
        // SAFETY: the call is alive (see `new`).
        unsafe { (self.host.table.now)(self.raw) }
    }

    /// The host, to keep beyond this call.
    #[must_use]
    pub fn host(&self) -> Host {
        self.host
    }
}

/// The settings of the plugin, as the operator wrote them.
#[derive(Clone, Copy)]
pub struct Settings<'a>(pub(crate) Call<'a>);

impl<'a> Settings<'a> {
    /// The text of a setting, or `None` where it is not set or blank.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&'a str> {
        self.0.text(&format!("setting.{key}")).filter(|value| !value.trim().is_empty())
    }

    /// The text of a setting that has to be there.
    ///
    /// # Errors
    /// Where it is not set or blank; the message names the key.
    pub fn required(&self, key: &str) -> Result<&'a str, Failure> {
        self.text(key).ok_or_else(|| Failure::error(format!("the setting {key} is missing")))
    }

    /// A setting that is `true` or `false`; `default` where it is not set.
    ///
    /// # Errors
    /// Where it is anything else.
    pub fn flag(&self, key: &str, default: bool) -> Result<bool, Failure> {
        match self.text(key).map(str::trim) {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(Failure::error(format!("the setting {key} is neither true nor false"))),
        }
    }

    /// A setting that is a number; `default` where it is not set.
    ///
    /// # Errors
    /// Where it is not a number of that size.
    pub fn number<N: std::str::FromStr>(&self, key: &str, default: N) -> Result<N, Failure> {
        self.text(key).map_or(Ok(default), |value| {
            let wrong = |_| Failure::error(format!("the setting {key} is not a number that fits"));
            value.trim().parse().map_err(wrong)
        })
    }

    /// The host, to keep beyond this call.
    #[must_use]
    pub fn host(&self) -> Host {
        self.0.host()
    }
}

/// The user that a call is about: no more of them than the call hands over.
#[derive(Clone, Copy)]
pub struct User<'a>(pub(crate) Call<'a>);

impl<'a> User<'a> {
    /// The account's name.
    ///
    /// # Errors
    /// Where the host did not say it.
    pub fn name(&self) -> Result<&'a str, Failure> {
        self.0.text("user.name").ok_or_else(|| Failure::error("the call names no user"))
    }

    /// The mail address, where the account has one.
    #[must_use]
    pub fn email(&self) -> Option<&'a str> {
        self.present("user.email")
    }

    /// The telephone number, where the account has one.
    #[must_use]
    pub fn phone(&self) -> Option<&'a str> {
        self.present("user.phone")
    }

    /// One of the account's own texts, `x_NAME`.
    #[must_use]
    pub fn extra(&self, name: &str) -> Option<&'a str> {
        self.present(&format!("user.x_{name}"))
    }

    /// Whether the account's two-factor flag is on.
    #[must_use]
    pub fn flagged(&self) -> bool {
        self.0.bytes("user.flagged") == Some(b"1")
    }

    /// What [`Factor::enroll`](crate::Factor::enroll) made for this user; `None` while they are not enrolled.
    #[must_use]
    pub fn secret(&self) -> Option<&'a [u8]> {
        self.0.bytes("user.secret").filter(|secret| !secret.is_empty())
    }

    fn present(&self, field: &str) -> Option<&'a str> {
        self.0.text(field).filter(|value| !value.trim().is_empty())
    }
}

/// Where a login comes from.
#[derive(Clone, Copy)]
pub struct Origin<'a>(pub(crate) Call<'a>);

impl<'a> Origin<'a> {
    /// `ftp`, `ftps`, `sftp`, `http`, `https` or `webdav`.
    #[must_use]
    pub fn protocol(&self) -> Option<&'a str> {
        self.0.text("origin.protocol")
    }

    /// The peer's IP address.
    #[must_use]
    pub fn address(&self) -> Option<&'a str> {
        self.0.text("origin.address")
    }
}
