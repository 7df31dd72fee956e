//! How much of their quota each user has used, over all sessions and doors.
//!
//! One number for each user, counted once from the disk and moved by every operation since. An upload reserves bytes before
//! it writes them, under one lock, so that any number of uploads at once stay below the limit together; what is reserved
//! belongs to a [`Charge`] and comes back by itself unless the bytes stay.

use crate::{FileId, Kept, PartialEntry, Usage, VfsError, unfinished::Unfinished};
use lockgate_model::ByteSize;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// After this long without a session the disk is counted again at the next login: others may have changed it.
const RECOUNT: Duration = Duration::from_secs(600);

/// The count of one user.
#[derive(Default)]
pub(crate) struct Account {
    /// Counts uploads, where all else here counts bytes.
    pub(crate) unfinished: Unfinished,
    state: Mutex<State>,
    counting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    /// May be below zero for a moment while the disk has not been counted.
    used: i64,
    counted: Option<Instant>,
    /// The stores that are counted.
    stores: Vec<Vec<u8>>,
    partials: HashMap<FileId, u64>,
}

impl State {
    /// Once the disk has been counted nobody has less than nothing: what is given back twice, because others write there too,
    /// is no credit.
    fn take_off(&mut self, bytes: u64) {
        self.used = self.used.saturating_sub(signed(bytes));
        if self.counted.is_some() {
            self.used = self.used.max(0);
        }
    }
}

impl Account {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes in use.
    pub(crate) fn used(&self) -> u64 {
        u64::try_from(self.state().used).unwrap_or_default()
    }

    /// Takes bytes, all or none.
    pub(crate) fn reserve(&self, bytes: u64, limit: Option<ByteSize>) -> Result<(), VfsError> {
        self.reserve_over(bytes, limit, None)
    }

    /// As [`Account::reserve`], the bytes of the partial `ending` not counted against the limit: it goes when these stay.
    fn reserve_over(&self, bytes: u64, limit: Option<ByteSize>, ending: Option<FileId>) -> Result<(), VfsError> {
        let mut state = self.state();
        let used = u64::try_from(state.used).unwrap_or_default();
        let ends = ending.and_then(|id| state.partials.get(&id)).copied().unwrap_or_default();
        if let Some(limit) = limit
            && bytes > 0
            && used.saturating_sub(ends).checked_add(bytes).is_none_or(|sum| sum > limit.0)
        {
            return Err(VfsError::OverQuota { used: ByteSize(used), limit });
        }
        state.used = state.used.saturating_add(signed(bytes));
        Ok(())
    }

    /// Gives bytes back.
    pub(crate) fn release(&self, bytes: u64) {
        self.state().take_off(bytes);
    }

    /// Notes a partial whose bytes are in the count already.
    fn keep(&self, kept: &Kept) {
        let mut state = self.state();
        if let Some(old) = kept.replaced {
            let bytes = state.partials.remove(&old.id).unwrap_or_default();
            state.take_off(bytes);
        }
        state.partials.insert(kept.partial.id, kept.partial.bytes);
    }

    /// Gives back the bytes of a partial that is gone.
    pub(crate) fn drop_partial(&self, partial: &PartialEntry) {
        self.unfinished.ended(partial.id);
        let mut state = self.state();
        if let Some(bytes) = state.partials.remove(&partial.id) {
            state.take_off(bytes);
        }
    }

    /// Makes a partial's bytes an upload's. One that another process left is counted from now on.
    fn take_partial(&self, id: FileId, bytes: u64) {
        let mut state = self.state();
        let counted = state.partials.remove(&id).unwrap_or_default();
        state.used = state.used.saturating_add(signed(bytes)).saturating_sub(signed(counted));
    }

    /// Takes note of the identities of the stores that are counted.
    pub(crate) fn counts(&self, stores: Vec<Vec<u8>>) {
        self.state().stores = stores;
    }

    /// Whether one of `stores` is among the ones counted here, above one of them, or below.
    pub(crate) fn meets(&self, stores: &[Vec<u8>]) -> bool {
        let below = |one: &[u8], other: &[u8]| {
            one.strip_prefix(other).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
        };
        self.state().stores.iter().any(|own| stores.iter().any(|other| below(own, other) || below(other, own)))
    }

    /// Counts by `count` unless that was done; several at once wait for one. `idle`: nobody has a session now. `shared`: other
    /// users' bytes come and go in the same stores without being moved here, so that an old count is in doubt.
    ///
    /// # Errors
    /// Those of `count`.
    pub(crate) async fn count<F>(&self, idle: bool, shared: bool, count: F) -> Result<(), VfsError>
    where
        F: Future<Output = Result<Usage, VfsError>> + Send,
    {
        let _one = self.counting.lock().await;
        let before = {
            let state = self.state();
            match state.counted {
                Some(at) if !idle || (!shared && at.elapsed() < RECOUNT) => return Ok(()),
                _ => state.used,
            }
        };
        let usage = count.await?;
        let partials: u64 = usage.partials.iter().map(|partial| partial.bytes).sum();
        let mut state = self.state();
        // What was moved during the count is added; only files that changed just then can be counted wrong.
        let moved = state.used.saturating_sub(before);
        state.used = signed(usage.bytes.saturating_add(partials)).saturating_add(moved);
        state.partials = usage.partials.iter().map(|partial| (partial.id, partial.bytes)).collect();
        state.counted = Some(Instant::now());
        Ok(())
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Bytes that an upload holds. Dropped, they go back.
pub(crate) struct Charge {
    account: Arc<Account>,
    limit: Option<ByteSize>,
    held: u64,
    /// The partial whose place the bytes will take.
    ending: Option<FileId>,
}

impl Charge {
    pub(crate) fn new(account: Arc<Account>, limit: Option<ByteSize>) -> Self {
        Self { account, limit, held: 0, ending: None }
    }

    /// The bytes will take the place of the partial `id`, which is counted until then.
    pub(crate) fn instead_of(&mut self, id: FileId) {
        self.ending = Some(id);
    }

    /// Whether `more` bytes would fit.
    pub(crate) fn fits(&self, more: u64) -> Result<(), VfsError> {
        self.account.reserve_over(more, self.limit, self.ending)?;
        self.account.release(more);
        Ok(())
    }

    /// Takes over a partial.
    pub(crate) fn adopt(&mut self, id: FileId, bytes: u64) {
        self.account.take_partial(id, bytes);
        self.held = self.held.saturating_add(bytes);
    }

    /// Holds `bytes` in all from now on.
    pub(crate) fn hold(&mut self, bytes: u64) -> Result<(), VfsError> {
        match bytes.checked_sub(self.held) {
            Some(more) => self.account.reserve_over(more, self.limit, self.ending)?,
            None => self.account.release(self.held.saturating_sub(bytes)),
        }
        self.held = bytes;
        Ok(())
    }

    /// Takes `more` for a committed file with this many names, each of which is counted; for a file without a name they are
    /// held, and come back with the upload.
    pub(crate) fn grow(&mut self, more: u64, names: u64) -> Result<(), VfsError> {
        if names == 0 {
            return self.hold(self.held.saturating_add(more));
        }
        self.account.reserve(more.saturating_mul(names), self.limit)
    }

    /// Gives back what a committed file got shorter by. One name's worth: that the other names are this user's is not known.
    /// Nothing for a file without a name: whoever removed that has given back all of it.
    pub(crate) fn shrink(&mut self, less: u64, names: u64) {
        if names > 0 {
            self.account.release(less);
        }
    }

    /// Gives back what was taken by [`Charge::grow`] and not used.
    pub(crate) fn ungrow(&mut self, less: u64, names: u64) {
        if names == 0 {
            let _ = self.hold(self.held.saturating_sub(less));
        } else {
            self.account.release(less.saturating_mul(names));
        }
    }

    /// The bytes stay as a committed file of `bytes`, which took the place of one of `replaced` bytes.
    pub(crate) fn settle(mut self, bytes: u64, replaced: u64) {
        let _ = self.hold(bytes.min(self.held));
        self.account.release(replaced);
        self.held = 0;
    }

    /// The bytes stay as a partial.
    pub(crate) fn keep(mut self, kept: &Kept) {
        self.account.keep(kept);
        self.account.release(self.held.saturating_sub(kept.partial.bytes));
        self.held = 0;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.release(self.held);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_given_back_twice_is_no_credit() {
        let account = Account::default();
        account.count(false, false, async { Ok(Usage { bytes: 5, partials: Vec::new() }) }).await.unwrap();
        account.release(5);
        account.release(5);
        assert!(account.reserve(11, Some(ByteSize(10))).is_err());
        account.reserve(10, Some(ByteSize(10))).unwrap();
        assert_eq!(account.used(), 10);
    }

    #[test]
    fn a_charge_that_is_dropped_gives_its_bytes_back_and_a_settled_one_does_not() {
        let account = Arc::new(Account::default());
        let mut charge = Charge::new(Arc::clone(&account), Some(ByteSize(10)));
        charge.hold(8).unwrap();
        assert!(matches!(account.reserve(3, Some(ByteSize(10))), Err(VfsError::OverQuota { .. })));
        drop(charge);
        assert_eq!(account.used(), 0);
        let mut charge = Charge::new(Arc::clone(&account), Some(ByteSize(10)));
        charge.hold(8).unwrap();
        charge.settle(8, 2);
        assert_eq!(account.used(), 6);
    }
}
