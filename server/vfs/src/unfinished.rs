//! How many unfinished uploads each user has lying in the stores, so that a door can put a bound to them: empty ones cost no quota.
//!
//! The stores know it and nobody else, so they are asked once, when it is first wanted; from then on it is moved by each upload that
//! is kept or ends. What goes without this process (another one swept, an operator removed files) is found out by counting anew,
//! which happens only in doubt, and seldom.

use crate::{FileId, Kept, Vfs, VfsError, change::detached, reserved::owner_tag};
use std::{
    collections::HashSet,
    future::Future,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// A count younger than this is not doubted: whoever is at the bound could have the tree walked without end.
const FRESH: Duration = Duration::from_secs(60);

/// The unfinished uploads of one user.
#[derive(Default)]
pub(crate) struct Unfinished {
    state: Mutex<State>,
    counting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    known: HashSet<FileId>,
    counted: Option<Instant>,
}

impl Unfinished {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of a partial, which stays one while somebody goes on with it.
    pub(crate) fn kept(&self, kept: &Kept) {
        let mut state = self.state();
        if let Some(old) = kept.replaced {
            state.known.remove(&old.id);
        }
        state.known.insert(kept.partial.id);
    }

    /// Takes note that a partial is none any more.
    pub(crate) fn ended(&self, partial: FileId) {
        self.state().known.remove(&partial);
    }

    /// How many there are; where nobody has counted yet, or there are `doubt` and the last count is old, as `walk` finds them.
    /// Several at once wait for one count.
    async fn count<F>(&self, doubt: usize, walk: F) -> Result<usize, VfsError>
    where
        F: Future<Output = Result<Vec<FileId>, VfsError>> + Send,
    {
        let _one = self.counting.lock().await;
        let before = {
            let state = self.state();
            match state.counted {
                Some(at) if state.known.len() < doubt || at.elapsed() < FRESH => return Ok(state.known.len()),
                _ => state.known.clone(),
            }
        };
        let found = walk.await?;
        let mut state = self.state();
        // What was kept during the walk is there, seen by it or not. What ended during it and was seen is found out next time.
        state.known = state.known.difference(&before).copied().chain(found).collect();
        state.counted = Some(Instant::now());
        Ok(state.known.len())
    }
}

impl Vfs {
    /// How many unfinished uploads the user has in all mounts, by name or by ticket, those that somebody goes on with included.
    /// At the first call since the start the trees are walked, which can take a while; again from `doubt` uploads on, at most once
    /// a minute, since others may have removed some. Requests at the same moment each see the number before them.
    ///
    /// Dropping the future does not stop a walk.
    ///
    /// # Errors
    /// [`VfsError::Backend`] where a store cannot be walked.
    pub async fn unfinished(&self, doubt: usize) -> Result<usize, VfsError> {
        let vfs = self.clone();
        detached(async move {
            let view = &vfs.view;
            let walk = async {
                let (owner, mut found) = (owner_tag(view.tree.owner()), Vec::new());
                for mount in view.tree.mounts() {
                    let partials = mount.backend.partials(owner).await?;
                    found.extend(partials.into_iter().map(|partial| partial.id));
                }
                Ok(found)
            };
            view.account.unfinished.count(doubt, walk).await
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PartialEntry;

    fn kept(number: u64) -> Kept {
        Kept { partial: PartialEntry { owner: 0, id: (0, number), bytes: 0 }, replaced: None }
    }

    #[tokio::test]
    async fn what_is_kept_during_the_walk_is_counted_once_and_a_fresh_count_is_not_doubted() {
        let unfinished = Unfinished::default();
        unfinished.kept(&kept(1));
        let walk = async {
            unfinished.kept(&kept(2));
            unfinished.kept(&kept(3));
            Ok(vec![(0, 2), (0, 4)])
        };
        assert_eq!(unfinished.count(9, walk).await.unwrap(), 3, "the first went without us");
        unfinished.ended((0, 4));
        unfinished.ended((0, 4));
        let again = async { Ok(Vec::new()) };
        assert_eq!(unfinished.count(1, again).await.unwrap(), 2);
    }
}
