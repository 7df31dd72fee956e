//! The C functions that stand between the host and the traits, and the macro that puts them into a table.
//!
//! Each body is inside `catch_unwind`, because a panic that leaves an `extern "C"` function ends the process. What the
//! panic said is not passed on: it may quote what a user typed.
//!
//! Public only for the macro; a plugin never names what is here.

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::abi::{self, HostTable, RawCall};
use crate::call::{Call, Host, Settings, User};
use crate::roles::{
    Begin, CheckPassword, Directory, Events, Expects, Factor, Failure, Plugin, Standing, Used, Verdict, Verify,
};

/// An instance as it lies behind the host's pointer.
struct Instance<T> {
    host: Host,
    plugin: T,
}

/// # Safety
/// The host's promises: a host table that outlives the process, a live call, a place for the instance.
pub unsafe extern "C" fn open<T: Plugin>(
    host: *const HostTable,
    call: *mut RawCall,
    instance: *mut *mut c_void,
) -> i32 {
    // SAFETY: the host promises that its table lives as long as the process.
    let Some(host) = (unsafe { Host::new(host) }) else {
        return abi::ERROR;
    };
    if call.is_null() || instance.is_null() {
        return abi::ERROR;
    }
    // SAFETY: the host passed this call to this very function.
    let call = unsafe { Call::new(host, call) };
    guarded(call, || {
        let plugin = T::open(&Settings(call))?;
        let made = Box::into_raw(Box::new(Instance { host, plugin }));
        // SAFETY: checked above not to be null; the host promises a place for one pointer.
        unsafe { *instance = made.cast() };
        Ok(abi::OK)
    })
}

/// # Safety
/// `instance` is null or was made by [`open`] for the same `T`, and is not used afterwards.
pub unsafe extern "C" fn close<T: Plugin>(instance: *mut c_void) {
    if instance.is_null() {
        return;
    }
    // SAFETY: made by `Box::into_raw` in `open`, and handed back once.
    let instance = unsafe { Box::from_raw(instance.cast::<Instance<T>>()) };
    let _ = catch_unwind(AssertUnwindSafe(move || drop(instance)));
}

/// # Safety
/// As [`with`].
pub unsafe extern "C" fn serves<T: Factor>(instance: *mut c_void, call: *mut RawCall) -> i32 {
    // SAFETY: the host's promises, passed on.
    unsafe { with::<T>(instance, call, |plugin, call| Ok(if plugin.serves(&User(call))? { abi::OK } else { abi::NO })) }
}

/// # Safety
/// As [`with`].
pub unsafe extern "C" fn enroll<T: Factor>(instance: *mut c_void, call: *mut RawCall) -> i32 {
    // SAFETY: the host's promises, passed on.
    unsafe {
        with::<T>(instance, call, |plugin, call| {
            let made = plugin.enroll(&User(call))?;
            call.set("secret", &made.secret)?;
            call.set("uri", made.uri.as_bytes())?;
            Ok(abi::OK)
        })
    }
}

/// # Safety
/// As [`with`].
pub unsafe extern "C" fn begin<T: Factor>(instance: *mut c_void, call: *mut RawCall) -> i32 {
    // SAFETY: the host's promises, passed on.
    unsafe {
        with::<T>(instance, call, |plugin, call| {
            let begun = plugin.begin(&Begin(call))?;
            call.set("prompt", begun.prompt.as_bytes())?;
            if begun.expects == Expects::Nothing {
                call.set("expects", b"nothing")?;
            }
            call.set("state", &begun.state)?;
            Ok(abi::OK)
        })
    }
}

/// # Safety
/// As [`with`].
pub unsafe extern "C" fn verify<T: Factor>(instance: *mut c_void, call: *mut RawCall) -> i32 {
    // SAFETY: the host's promises, passed on.
    unsafe {
        with::<T>(instance, call, |plugin, call| match plugin.verify(&Verify(call))? {
            Verdict::Right(used) => {
                match used {
                    Used::Step(step) => call.set("used", step.to_string().as_bytes())?,
                    Used::Once(bytes) => call.set("used", &bytes)?,
                }
                Ok(abi::OK)
            }
            Verdict::Wrong => Ok(abi::NO),
            Verdict::Later => Ok(abi::LATER),
        })
    }
}

/// # Safety
/// As [`with`].
pub unsafe extern "C" fn check_password<T: Directory>(instance: *mut c_void, call: *mut RawCall) -> i32 {
    // SAFETY: the host's promises, passed on.
    unsafe {
        with::<T>(instance, call, |plugin, call| match plugin.check_password(&CheckPassword(call))? {
            Standing::Right(properties) => {
                for (key, value) in properties {
                    call.set(&format!("account.{key}"), value.as_bytes())?;
                }
                Ok(abi::OK)
            }
            Standing::Wrong => Ok(abi::NO),
            Standing::Unknown => {
                call.set("unknown", b"1")?;
                Ok(abi::NO)
            }
        })
    }
}

/// # Safety
/// As [`with`].
pub unsafe extern "C" fn event<T: Events>(instance: *mut c_void, call: *mut RawCall) -> i32 {
    // SAFETY: the host's promises, passed on.
    unsafe {
        with::<T>(instance, call, |plugin, call| {
            let json = call.text("event").ok_or_else(|| Failure::error("the call brings no event"))?;
            plugin.event(json)?;
            Ok(abi::OK)
        })
    }
}

/// Runs `body` on the instance, with every panic and failure turned into a status.
///
/// # Safety
/// `instance` was made by [`open`] for the same `T` and is not closed; `call` is the one that the host passed.
unsafe fn with<T: Plugin>(
    instance: *mut c_void,
    call: *mut RawCall,
    body: impl FnOnce(&T, Call<'_>) -> Result<i32, Failure>,
) -> i32 {
    if call.is_null() {
        return abi::ERROR;
    }
    // SAFETY: made by `open` for the same type; shared, because calls come from several threads (T is Sync).
    let Some(instance) = (unsafe { instance.cast::<Instance<T>>().as_ref() }) else {
        return abi::ERROR;
    };
    // SAFETY: the host passed this call to this very function.
    let call = unsafe { Call::new(instance.host, call) };
    guarded(call, || body(&instance.plugin, call))
}

fn guarded(call: Call<'_>, body: impl FnOnce() -> Result<i32, Failure>) -> i32 {
    let (status, why) = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(status)) => return status,
        Ok(Err(Failure::Unavailable(why))) => (abi::UNAVAILABLE, why),
        Ok(Err(Failure::Error(why))) => (abi::ERROR, why),
        Err(payload) => {
            // Dropping what was thrown may panic in turn, and must not do so outside.
            std::mem::forget(payload);
            (abi::ERROR, "the plugin panicked".to_owned())
        }
    };
    // A text that the host refuses is a text less; the status stands.
    let _ = call.set("error", why.as_bytes());
    status
}

/// The bytes of `text` and a closing NUL; `N` is one more than its length.
#[must_use]
pub const fn terminated<const N: usize>(text: &str) -> [u8; N] {
    let mut bytes = [0; N];
    let (mut rest, mut at) = (text.as_bytes(), 0);
    while let [first, others @ ..] = rest {
        #[expect(clippy::indexing_slicing, reason = "evaluated by the compiler, which refuses what is out of bounds")]
        let place = &mut bytes[at];
        *place = *first;
        rest = others;
        at += 1;
    }
    bytes
}

/// Makes the plugin's table and the one symbol that the host looks for. Once a shared object.
///
/// `roles` is any of `delivers`, `verifies`, `enrols` (besides `verifies`), `directory`, `events`; `flags` any of
/// `single_threaded`, `waits_for_person`. `settings` is a JSON Schema of the settings: any constant
/// expression, such as a literal or `include_str!`. The version is that of the crate it stands in.
#[macro_export]
macro_rules! export {
    (
        plugin: $plugin:ty,
        name: $name:literal,
        summary: $summary:literal,
        settings: $settings:expr,
        roles: [$($role:ident),* $(,)?],
        flags: [$($flag:ident),* $(,)?] $(,)?
    ) => {
        const _: () = {
            const LOCKGATE_PLUGIN_SETTINGS: &str = $settings;
            static LOCKGATE_PLUGIN_SCHEMA: [u8; LOCKGATE_PLUGIN_SETTINGS.len() + 1] = $crate::export::terminated(LOCKGATE_PLUGIN_SETTINGS);
            static LOCKGATE_PLUGIN_TABLE: $crate::abi::PluginTable = {
                #[allow(unused_mut, reason = "a plugin without roles changes nothing")]
                let mut table = $crate::abi::PluginTable {
                    abi: $crate::abi::ABI,
                    size: ::core::mem::size_of::<$crate::abi::PluginTable>() as u32,
                    roles: 0,
                    flags: 0 $(| $crate::__flag!($flag))*,
                    name: concat!($name, "\0").as_ptr().cast(),
                    version: concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast(),
                    summary: concat!($summary, "\0").as_ptr().cast(),
                    settings: LOCKGATE_PLUGIN_SCHEMA.as_ptr().cast(),
                    open: Some($crate::export::open::<$plugin>),
                    close: Some($crate::export::close::<$plugin>),
                    serves: None,
                    enroll: None,
                    begin: None,
                    verify: None,
                    check_password: None,
                    event: None,
                };
                $($crate::__role!(table, $plugin, $role);)*
                table
            };

            /// The plugin's table.
            // SAFETY: the name is Lockgate's own, and stands once in a shared object.
            #[unsafe(no_mangle)]
            pub extern "C" fn lockgate_plugin_v1() -> *const $crate::abi::PluginTable {
                &LOCKGATE_PLUGIN_TABLE
            }
        };
    };
}

/// A flag's bit.
#[doc(hidden)]
#[macro_export]
macro_rules! __flag {
    (single_threaded) => {
        $crate::abi::SINGLE_THREADED
    };
    (waits_for_person) => {
        $crate::abi::WAITS_FOR_PERSON
    };
}

/// A role's bit and functions.
#[doc(hidden)]
#[macro_export]
macro_rules! __role {
    ($table:ident, $plugin:ty, delivers) => {
        $table.roles |= $crate::abi::DELIVERS;
        $table.serves = Some($crate::export::serves::<$plugin>);
        $table.begin = Some($crate::export::begin::<$plugin>);
    };
    ($table:ident, $plugin:ty, verifies) => {
        $table.roles |= $crate::abi::VERIFIES;
        $table.serves = Some($crate::export::serves::<$plugin>);
        $table.begin = Some($crate::export::begin::<$plugin>);
        $table.verify = Some($crate::export::verify::<$plugin>);
    };
    ($table:ident, $plugin:ty, enrols) => {
        $table.enroll = Some($crate::export::enroll::<$plugin>);
    };
    ($table:ident, $plugin:ty, directory) => {
        $table.roles |= $crate::abi::DIRECTORY;
        $table.check_password = Some($crate::export::check_password::<$plugin>);
    };
    ($table:ident, $plugin:ty, events) => {
        $table.roles |= $crate::abi::EVENTS;
        $table.event = Some($crate::export::event::<$plugin>);
    };
}
