//! What every ledger refuses, and how it reckons an end: the same in each adapter, so that none is laxer than another.

use super::LedgerError;
use std::time::Duration;

/// The longest key, in bytes.
pub(super) const MAX_KEY: usize = 512;
/// The longest value, in bytes.
pub(super) const MAX_VALUE: usize = 64 * 1024;

/// What strangers can have counted without knowing anything: names that are nobody's, addresses. Each of these kinds is bounded
/// by forgetting the oldest; a count that is pushed out by so many others would have been forgotten within the day. What a
/// stranger cannot make (used codes, wrong codes, bans) is never dropped to make room.
pub(super) const STRANGE: [&str; 4] = ["password/", "strangers/", "failed/", "paused/"];
/// How many of each kind are kept.
pub(super) const STRANGE_ROWS: u64 = 100_000;

/// Refuses what a store could not hold as a number.
pub(super) fn check_number(n: u64) -> Result<(), LedgerError> {
    if n > i64::MAX as u64 { Err(refused("a high-water mark is at most 2^63 - 1")) } else { Ok(()) }
}

/// Refuses what is no key. A key that could be cut or folded by a store might be two things at once.
pub(super) fn check_key(key: &str) -> Result<(), LedgerError> {
    if key.is_empty() { Err(refused("a key cannot be empty")) } else { check_prefix(key) }
}

/// Refuses what no key can begin with.
pub(super) fn check_prefix(prefix: &str) -> Result<(), LedgerError> {
    if prefix.len() > MAX_KEY {
        return Err(refused("a key has at most 512 bytes"));
    }
    if prefix.bytes().all(|byte| (0x20..0x7f).contains(&byte)) {
        Ok(())
    } else {
        Err(refused("a key is printable ASCII"))
    }
}

/// Refuses what is too long for a value.
pub(super) fn check_value(value: &[u8]) -> Result<(), LedgerError> {
    if value.len() > MAX_VALUE { Err(refused("a value has at most 64 KiB")) } else { Ok(()) }
}

/// Unix milliseconds at which what lives for `life` from now has passed: at least one from now, at most what every store holds.
pub(super) fn end(now_ms: u64, life: Duration) -> u64 {
    let life = u64::try_from(life.as_millis()).unwrap_or(u64::MAX).max(1);
    now_ms.saturating_add(life).min(i64::MAX as u64)
}

/// The end of every key that begins with `prefix`: all keys are below it that have the prefix, and none else above the prefix.
pub(super) fn after_prefix(prefix: &str) -> String {
    // Keys are ASCII, so this sorts behind every continuation of the prefix.
    format!("{prefix}\u{7f}")
}

pub(super) fn refused(why: &'static str) -> LedgerError {
    LedgerError(why.into())
}
