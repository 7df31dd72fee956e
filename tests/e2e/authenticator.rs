//! An authenticator app: the codes of one secret, each given out once.
//!
//! The server takes the current and the previous step, and none that is not newer than the last one used. So an app has
//! two codes at once and then a new one every 30 s; [`Authenticator::code`] gives the oldest that is still good and
//! waits where there is none. A test that needs many logins makes more users instead of waiting.

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use totp_rs::{Builder, Secret, Totp};

/// Seconds that a code is current.
const STEP: u64 = 30;
/// The previous step is given out only while it has this many seconds to live: a login on a busy machine takes a while.
const ROOM: u64 = 12;

/// The app of one user.
pub struct Authenticator {
    totp: Totp,
    last: Mutex<u64>,
}

impl Authenticator {
    /// Takes in the secret as the server tells it, in Base32.
    pub fn new(secret: &str) -> Self {
        let totp = Builder::new().with_secret(Secret::try_from_base32(secret).unwrap()).build().unwrap();
        Self { totp, last: Mutex::new(0) }
    }

    /// A code that was not given out before and is good for some seconds.
    pub fn code(&self) -> String {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = seconds();
        let current = now / STEP;
        let oldest = if STEP - now % STEP > ROOM { current - 1 } else { current };
        self.give_out(oldest, &mut last, now)
    }

    /// As [`Authenticator::code`], but good for half a minute at least: for a client that takes its time to the login.
    pub fn lasting_code(&self) -> String {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = seconds();
        self.give_out(now / STEP, &mut last, now)
    }

    fn give_out(&self, earliest: u64, last: &mut u64, now: u64) -> String {
        let step = earliest.max(*last + 1);
        *last = step;
        thread::sleep(Duration::from_secs((step * STEP).saturating_sub(now)));
        self.at(step)
    }

    /// A code of the right shape that is good at no time near now.
    pub fn wrong_code(&self) -> String {
        let current = seconds() / STEP;
        let near: Vec<String> = (current - 4..=current + 4).map(|step| self.at(step)).collect();
        (0..).map(|n| format!("{n:06}")).find(|code| !near.contains(code)).unwrap()
    }

    /// The code of three steps ago: too old by a full step whatever the clock does during a test.
    pub fn stale_code(&self) -> String {
        self.at(seconds() / STEP - 3)
    }

    fn at(&self, step: u64) -> String {
        self.totp.generate(step * STEP).to_string()
    }
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}
