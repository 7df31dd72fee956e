//! One after the other, for each name: what must be counted exactly is not counted by two at once.
//!
//! Two hundred guesses that arrive in the same moment are checked as if they had been made one by one, so that a limit of ten
//! is ten (S10, S11). The ledger stays the judge between several nodes; this is what makes it exact within one.

use crate::locked;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};

/// Whose turn it is, by name. Holds nothing for names that nobody waits for.
#[derive(Default)]
pub(crate) struct Turns {
    waiting: Mutex<HashMap<String, Weak<Turn<()>>>>,
}

impl Turns {
    /// Waits for the turn of `name`, at most `patience`; it lasts until the guard is dropped.
    pub(crate) async fn take(&self, name: &str, patience: Duration) -> Option<OwnedMutexGuard<()>> {
        tokio::time::timeout(patience, self.turn(name).lock_owned()).await.ok()
    }

    fn turn(&self, name: &str) -> Arc<Turn<()>> {
        let mut waiting = locked(&self.waiting);
        if let Some(turn) = waiting.get(name).and_then(Weak::upgrade) {
            return turn;
        }
        // Those under way are few (see `Crowd`), so that what is left of the others is swept at little cost.
        if waiting.len() >= SWEEP_AT {
            waiting.retain(|_, turn| turn.strong_count() > 0);
        }
        let turn = Arc::new(Turn::new(()));
        waiting.insert(name.to_owned(), Arc::downgrade(&turn));
        turn
    }
}

const SWEEP_AT: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn two_of_one_name_wait_for_each_other_and_two_names_do_not() {
        let turns = Turns::default();
        let alice = turns.take("alice", Duration::from_secs(1)).await.unwrap();
        assert!(turns.take("bob", Duration::from_millis(1)).await.is_some());
        assert!(turns.take("alice", Duration::from_millis(1)).await.is_none());
        drop(alice);
        assert!(turns.take("alice", Duration::from_millis(1)).await.is_some());
    }

    #[tokio::test]
    async fn names_that_nobody_waits_for_are_forgotten() {
        let turns = Turns::default();
        for n in 0..SWEEP_AT * 3 {
            drop(turns.take(&n.to_string(), Duration::from_secs(1)).await);
        }
        assert!(locked(&turns.waiting).len() <= SWEEP_AT);
    }
}
