//! Names that are being changed: held while the store is first looked at and then changed, since a `StorageBackend` has no call
//! that does both. Over all mounts of this process that have one identity; what other processes do is not seen.

use lockgate_model::VPath;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

type Locks = HashMap<Vec<u8>, Weak<RwLock<()>>>;

static NAMES: Mutex<Option<Locks>> = Mutex::new(None);

/// How a name is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hold {
    /// It is to stay as it is: a folder in which something is made.
    Stays,
    /// It is to change.
    Changes,
}

/// Names held until this is dropped.
pub(crate) struct Held {
    _stay: Vec<OwnedRwLockReadGuard<()>>,
    _change: Vec<OwnedRwLockWriteGuard<()>>,
}

/// Holds names of the store `identity`; waits for whoever holds them. Whoever holds some asks for no more.
pub(crate) async fn hold(identity: &str, names: &[(&VPath, Hold)]) -> Held {
    // All in one order, so that nobody waits in a circle; of two holds of one name the stronger one.
    let mut names = names.to_vec();
    names.sort_by(|a, b| a.0.cmp(b.0).then(b.1.cmp(&a.1)));
    names.dedup_by(|next, kept| next.0 == kept.0);
    let (mut stay, mut change) = (Vec::new(), Vec::new());
    for (path, how) in names {
        let lock = lock_of(identity, path);
        match how {
            Hold::Stays => stay.push(lock.read_owned().await),
            Hold::Changes => change.push(lock.write_owned().await),
        }
    }
    Held { _stay: stay, _change: change }
}

/// Whether nobody holds a name now.
pub(crate) fn is_free(identity: &str, path: &VPath) -> bool {
    lock_of(identity, path).try_write().is_ok()
}

fn lock_of(identity: &str, path: &VPath) -> Arc<RwLock<()>> {
    let mut key = identity.as_bytes().to_vec();
    if !path.is_root() {
        key.extend_from_slice(path.as_bytes());
    }
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let names = names.get_or_insert_default();
    if let Some(lock) = names.get(&key).and_then(Weak::upgrade) {
        return lock;
    }
    // As many stay as are held: one for each change under way.
    names.retain(|_, lock| lock.strong_count() > 0);
    let lock = Arc::new(RwLock::new(()));
    names.insert(key, Arc::downgrade(&lock));
    lock
}
