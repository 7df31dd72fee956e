//! Waiting for something to become true, with a limit: never a fixed sleep.

use std::{
    thread,
    time::{Duration, Instant},
};

/// What comes of a wait.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Asks until there is an answer, at most for `limit`.
pub fn until<T>(limit: Duration, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        thread::sleep(Duration::from_millis(25));
    }
}

/// As [`until`], for a yes.
pub fn holds(limit: Duration, mut ask: impl FnMut() -> bool) -> bool {
    until(limit, || ask().then_some(())).is_some()
}
