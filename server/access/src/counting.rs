//! Failures, counted in the ledger so that a restart forgives nothing: wrong passwords (N17), wrong codes (N7), addresses.
//!
//! Wrong passwords count for the name *and* the address, unknown names like known ones, so that a stranger slows down nobody
//! but themself; a second count over all addresses that the user has never come from slows down those addresses alone. Wrong
//! codes count for the account wherever they come from, but only behind a right first factor, so that strangers cannot reach
//! them; a question that the web puts is one until it is answered. An address that is denied too often altogether is shut out.
//!
//! Never: decides whether evidence is right, or tells anyone outside why.

use crate::{BruteForce, Count, Ledger, LedgerError, bans, candidate::user_key, codes::millis};
use lockgate_events::EventBus;
use lockgate_model::{Origin, UserName};
use lockgate_net::AddressBook;
use lockgate_users::SecretKey;
use std::time::Duration;

/// A count of wrong passwords is forgotten after so long without one.
const PASSWORD_MEMORY: Duration = Duration::from_secs(24 * 3600);
/// A count of wrong codes is forgotten by a right one, a recovery or an administrator; this is only so that the ledger does
/// not keep it for ever.
const CODE_MEMORY: Duration = Duration::from_secs(400 * 24 * 3600);
/// Over all strange addresses together an account takes this many times what one address may do.
const STRANGERS: u32 = 10;
/// How many paused addresses of one user an unlock finds.
const UNLOCK_LIMIT: u32 = 10_000;

/// How a name stands at an address, or an account with its codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Nothing is accepted now, right or wrong.
    pub(crate) paused: bool,
    /// Failures in a row so far.
    pub(crate) failures: u64,
}

/// The counters under one set of limits.
pub(crate) struct Counting<'a> {
    pub(crate) ledger: &'a dyn Ledger,
    pub(crate) limits: &'a BruteForce,
    pub(crate) now_ms: u64,
}

impl Counting<'_> {
    /// How the name behind `user` stands at the address. `known`: the user has logged in from there before.
    pub(crate) async fn passwords(&self, user: &str, origin: &Origin, known: bool) -> Result<Standing, LedgerError> {
        let here = self.ledger.count(&at_address(user, origin)).await?;
        let strangers = self.ledger.count(&from_strangers(user)).await?;
        let limit = self.limits.passwords_per_account;
        let paused =
            self.is_paused(here, limit) || (!known && self.is_paused(strangers, limit.saturating_mul(STRANGERS)));
        Ok(Standing { paused, failures: here.n })
    }

    /// A wrong password, outside of a pause.
    pub(crate) async fn wrong_password(&self, user: &str, origin: &Origin, known: bool) -> Result<(), LedgerError> {
        let key = at_address(user, origin);
        let count = self.ledger.bump(&key, PASSWORD_MEMORY).await?;
        if !known {
            self.ledger.bump(&from_strangers(user), PASSWORD_MEMORY).await?;
        }
        if count.n >= u64::from(self.limits.passwords_per_account) {
            // Only a signpost for `unlock`; the pause itself is computed from the count.
            let pause = self.pause(count.n, self.limits.passwords_per_account);
            self.ledger.put(&format!("paused/{user}/{}", origin.address_key()), key.as_bytes(), pause).await?;
        }
        Ok(())
    }

    /// A right password ends the row.
    pub(crate) async fn right_password(
        &self,
        user: &str,
        origin: &Origin,
        standing: Standing,
    ) -> Result<(), LedgerError> {
        if standing.failures > 0 {
            self.ledger.remove(&at_address(user, origin)).await?;
        }
        Ok(())
    }

    /// How an account stands with its codes; `true` beside it where they are frozen.
    pub(crate) async fn codes(&self, user: &str) -> Result<(Standing, bool), LedgerError> {
        let count = self.ledger.count(&wrong_codes(user)).await?;
        let paused = self.is_paused(count, self.limits.codes_per_account);
        Ok((Standing { paused, failures: count.n }, count.n >= u64::from(self.limits.codes_until_frozen)))
    }

    /// A wrong code behind a right first factor, outside of a pause. The count afterwards.
    pub(crate) async fn wrong_code(&self, user: &str) -> Result<u64, LedgerError> {
        Ok(self.ledger.bump(&wrong_codes(user), CODE_MEMORY).await?.n)
    }

    /// A right code ends the row. Nothing else does: no right password, no other user's success.
    pub(crate) async fn right_code(&self, user: &str, standing: Standing) -> Result<(), LedgerError> {
        if standing.failures > 0 {
            self.ledger.remove(&wrong_codes(user)).await?;
        }
        Ok(())
    }

    /// A failure of the address, over all names; at the limit it is shut out.
    pub(crate) async fn address_failed(
        &self,
        origin: &Origin,
        book: &AddressBook,
        events: &EventBus,
    ) -> Result<(), LedgerError> {
        if book.is_exempt(origin.address()) {
            return Ok(());
        }
        let key = format!("failed/{}", origin.address_key());
        let failures = self.ledger.bump_fixed(&key, self.limits.address_window).await?;
        if self.limits.failures_per_address > 0 && failures >= u64::from(self.limits.failures_per_address) {
            let until_ms = self.now_ms.saturating_add(millis(self.limits.ban));
            bans::add(self.ledger, origin.address(), self.limits.ban, "too_many_failures").await?;
            book.ban(origin.address(), until_ms);
            events.announce(&lockgate_events::Event::Ban {
                address: origin.address(),
                until_ms: Some(until_ms),
                reason: "too_many_failures".into(),
            });
            self.ledger.remove(&key).await?;
        }
        Ok(())
    }

    fn is_paused(&self, count: Count, limit: u32) -> bool {
        let pause = self.pause(count.n, limit);
        !pause.is_zero() && count.previous_ms.saturating_add(millis(pause)) > self.now_ms
    }

    /// The pause after the `n`th failure in a row: none before `limit`, then doubling from the first to the longest.
    fn pause(&self, n: u64, limit: u32) -> Duration {
        let Some(beyond) = n.checked_sub(u64::from(limit.max(1))) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(u32::try_from(beyond).unwrap_or(u32::MAX)).unwrap_or(u32::MAX);
        self.limits.first_pause.checked_mul(factor).unwrap_or(self.limits.longest_pause).min(self.limits.longest_pause)
    }
}

/// Forgets the failures and pauses of a user: what `lockgate user unlock` does. Works on the ledger of a running server.
///
/// # Errors
/// [`LedgerError`]; what was forgotten before it stays forgotten.
pub async fn unlock(ledger: &dyn Ledger, server: &SecretKey, user: &UserName) -> Result<(), LedgerError> {
    let user = user_key(server, user.as_str().as_bytes());
    for (signpost, key, _) in ledger.list(&format!("paused/{user}/"), UNLOCK_LIMIT).await? {
        if let Ok(key) = std::str::from_utf8(&key) {
            ledger.remove(key).await?;
        }
        ledger.remove(&signpost).await?;
    }
    ledger.remove(&from_strangers(&user)).await?;
    ledger.remove(&wrong_codes(&user)).await
}

fn at_address(user: &str, origin: &Origin) -> String {
    format!("password/{user}/{}", origin.address_key())
}

fn from_strangers(user: &str) -> String {
    format!("strangers/{user}")
}

fn wrong_codes(user: &str) -> String {
    format!("codes/{user}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ledger::MemoryLedger, testing::settings};

    #[test]
    fn pauses_begin_at_the_limit_and_double_to_the_longest() {
        let limits = settings().brute_force;
        let ledger = MemoryLedger::new();
        let counting = Counting { ledger: &ledger, limits: &limits, now_ms: 0 };
        let pauses: Vec<u64> =
            [0, 9, 10, 11, 12, 13, 14, 15, 100, u64::MAX].iter().map(|n| counting.pause(*n, 10).as_secs()).collect();
        assert_eq!(pauses, [0, 0, 30, 60, 120, 240, 480, 900, 900, 900]);
    }
}
