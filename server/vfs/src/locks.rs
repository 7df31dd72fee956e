//! WebDAV locks, kept here because they bind every door: a write to a locked name without its token is refused on FTP, SFTP
//! and HTTP too (files.md).
//!
//! One table for the process. A lock's key is the store's identity and the path in it, so that two users' paths to one file
//! meet in one lock, whichever way each of them came. Locks do not outlive the process.

use crate::{Action, LastLink, VfsError, tree::Place, view::View};
use aws_lc_rs::rand;
use lockgate_model::{Permission, UserName, VPath};
use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant, SystemTime},
};

/// How many locks there may be, and for how long (N15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockLimits {
    /// Locks that a user holds at most (`dav_locks_per_user`, 100).
    pub per_user: usize,
    /// How long a lock lives at most without being refreshed (`dav_lock_timeout`, 10 min).
    pub longest: Duration,
}

impl Default for LockLimits {
    fn default() -> Self {
        Self { per_user: 100, longest: Duration::from_secs(600) }
    }
}

/// Bytes of an owner's note at most.
const MOST_NOTE: usize = 4096;

/// `urn:uuid:…`, unguessable.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LockToken(pub String);

impl LockToken {
    fn new() -> Option<Self> {
        let mut bytes = [0_u8; 16];
        rand::fill(&mut bytes).ok()?;
        let mut text = String::from("urn:uuid:");
        for (place, byte) in bytes.into_iter().enumerate() {
            // RFC 9562 section 5.4: version 4 and the variant.
            let byte = match place {
                6 => byte & 0x0f | 0x40,
                8 => byte & 0x3f | 0x80,
                _ => byte,
            };
            let dash = if matches!(place, 4 | 6 | 8 | 10) { "-" } else { "" };
            let _ = write!(text, "{dash}{byte:02x}");
        }
        Some(Self(text))
    }
}

/// Exclusive or shared (RFC 4918 section 6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockScope {
    /// One holder.
    Exclusive,
    /// Several holders.
    Shared,
}

/// The name alone, or everything below too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockDepth {
    /// Depth 0.
    Zero,
    /// Depth infinity.
    Infinity,
}

/// One lock.
#[derive(Clone, Debug)]
pub struct Lock {
    /// Its token.
    pub token: LockToken,
    /// On which path of the asking session's tree.
    pub path: VPath,
    /// Whose.
    pub owner: UserName,
    /// What the client said of the owner (XML, opaque).
    pub owner_note: Option<Vec<u8>>,
    /// Scope.
    pub scope: LockScope,
    /// Depth.
    pub depth: LockDepth,
    /// When it ends by itself.
    pub expires: SystemTime,
}

/// The locks of the process.
#[derive(Default)]
pub(crate) struct LockTable {
    held: Mutex<Table>,
    limits: Mutex<LockLimits>,
}

struct Held {
    lock: Lock,
    until: Instant,
    /// Components of its key.
    level: usize,
}

impl Held {
    fn lives(&self) -> bool {
        self.until > Instant::now()
    }

    fn is_deep(&self) -> bool {
        self.lock.depth == LockDepth::Infinity
    }
}

type Table = BTreeMap<Vec<u8>, Vec<Held>>;

impl LockTable {
    fn held(&self) -> MutexGuard<'_, Table> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn limits(&self) -> LockLimits {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over changed limits; locks that are held keep their lives until they are refreshed.
    pub(crate) fn limit(&self, limits: LockLimits) {
        *self.limits.lock().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Whether there is any lock at all: most of the time there is none, and nothing else has to be asked.
    pub(crate) fn is_empty(&self) -> bool {
        self.held().is_empty()
    }
}

/// A change to a name, as locks see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The bytes or facts of the name.
    Content,
    /// The name comes or goes: its folder changes too (RFC 4918 section 7.4).
    Member,
    /// The name and everything below it comes or goes.
    Tree,
}

/// The locks as one session sees them. Paths are the session's; two users' paths to one file of a store meet in one lock.
#[derive(Clone)]
pub struct Locks {
    view: Arc<View>,
}

impl Locks {
    pub(crate) fn new(view: Arc<View>) -> Self {
        Self { view }
    }

    /// Takes a lock. Its life and the number that a user holds are cut to [`LockLimits`].
    ///
    /// # Errors
    /// [`VfsError::Locked`] where another lock stands in the way, [`VfsError::Forbidden`] past the number or without the right
    /// to write.
    pub fn lock(
        &self,
        path: &VPath,
        scope: LockScope,
        depth: LockDepth,
        note: Option<Vec<u8>>,
        life: Duration,
    ) -> Result<Lock, VfsError> {
        let forbidden = || VfsError::Forbidden { action: Action::Write, path: path.clone() };
        self.view.tree.require(path, Permission::Write, Action::Write)?;
        let place = self.place(path, Action::Write)?;
        self.view.tree.require(&place.path, Permission::Write, Action::Write)?;
        let key = place.key();
        if note.as_ref().is_some_and(|note| note.len() > MOST_NOTE) {
            return Err(VfsError::NoSpace);
        }
        let owner = self.view.tree.owner();
        let mut held = self.view.shared.locks.held();
        held.retain(|_, locks| {
            locks.retain(Held::lives);
            !locks.is_empty()
        });
        let met = meeting(&held, &key, depth == LockDepth::Infinity);
        if met.into_iter().any(|met| scope == LockScope::Exclusive || met.lock.scope == LockScope::Exclusive) {
            return Err(VfsError::Locked(path.clone()));
        }
        let limits = self.view.shared.locks.limits();
        if held.values().flatten().filter(|held| held.lock.owner == *owner).count() >= limits.per_user {
            return Err(forbidden());
        }
        let life = life.min(limits.longest);
        let lock = Lock {
            token: LockToken::new().ok_or_else(forbidden)?,
            path: path.clone(),
            owner: owner.clone(),
            owner_note: note,
            scope,
            depth,
            expires: SystemTime::now() + life,
        };
        let (until, level) = (Instant::now() + life, level(&key));
        held.entry(key).or_default().push(Held { lock: lock.clone(), until, level });
        Ok(lock)
    }

    /// Gives a lock a new life.
    ///
    /// # Errors
    /// [`VfsError::NotFound`] where there is none of this token for the session's user at the path.
    pub fn refresh(&self, path: &VPath, token: &LockToken, life: Duration) -> Result<Lock, VfsError> {
        let key = self.key(path, Action::List)?;
        let owner = self.view.tree.owner();
        let life = life.min(self.view.shared.locks.limits().longest);
        let mut held = self.view.shared.locks.held();
        let found = covering_mut(&mut held, &key).find(|held| held.lock.token == *token && held.lock.owner == *owner);
        let found = found.ok_or_else(|| VfsError::NotFound(path.clone()))?;
        found.until = Instant::now() + life;
        found.lock.expires = SystemTime::now() + life;
        Ok(found.lock.clone())
    }

    /// Ends a lock.
    ///
    /// # Errors
    /// [`VfsError::NotFound`] as above; [`VfsError::Forbidden`] where it is another user's.
    pub fn unlock(&self, path: &VPath, token: &LockToken) -> Result<(), VfsError> {
        let key = self.key(path, Action::List)?;
        let owner = self.view.tree.owner();
        let mut held = self.view.shared.locks.held();
        let found = covering_mut(&mut held, &key).find(|held| held.lock.token == *token);
        match found.map(|held| held.lock.owner == *owner) {
            None => return Err(VfsError::NotFound(path.clone())),
            Some(false) => return Err(VfsError::Forbidden { action: Action::Write, path: path.clone() }),
            Some(true) => {}
        }
        held.values_mut().for_each(|locks| locks.retain(|held| held.lock.token != *token));
        Ok(())
    }

    /// Whether a write to `path` (and below it, where `deep`) is possible with `tokens`; the lock in the way otherwise. A
    /// token counts only for the user whose lock it is.
    #[must_use]
    pub fn conflict(&self, path: &VPath, deep: bool, tokens: &[LockToken]) -> Option<Lock> {
        let key = self.key(path, Action::List).ok()?;
        let change = if deep { Change::Tree } else { Change::Content };
        let held = self.view.shared.locks.held();
        in_the_way(&held, &key, change, tokens, self.view.tree.owner()).map(|held| self.shown(held, path, &key))
    }

    /// The locks on `path`, inherited ones included. Tokens of other users are emptied.
    #[must_use]
    pub fn discover(&self, path: &VPath) -> Vec<Lock> {
        let Ok(key) = self.key(path, Action::List) else { return Vec::new() };
        covering(&self.view.shared.locks.held(), &key).map(|held| self.shown(held, path, &key)).collect()
    }

    /// Ends all locks on `path` and below, after it was removed or moved away.
    pub fn forget(&self, path: &VPath) {
        if let Ok(key) = self.key(path, Action::List) {
            self.forget_key(&key);
        }
    }

    pub(crate) fn forget_key(&self, key: &[u8]) {
        let mut held = self.view.shared.locks.held();
        if !held.is_empty() {
            held.retain(|other, _| !is_within(other, key));
        }
    }

    /// Whether `change` to what has this key is possible with `tokens`.
    pub(crate) fn allow(&self, path: &VPath, key: &[u8], change: Change, tokens: &[LockToken]) -> Result<(), VfsError> {
        let held = self.view.shared.locks.held();
        if held.is_empty() {
            return Ok(());
        }
        match in_the_way(&held, key, change, tokens, self.view.tree.owner()) {
            Some(_) => Err(VfsError::Locked(path.clone())),
            None => Ok(()),
        }
    }

    fn key(&self, path: &VPath, action: Action) -> Result<Vec<u8>, VfsError> {
        Ok(self.place(path, action)?.key())
    }

    /// Where a path leads. A missing folder or a bad link leads nowhere but to itself.
    fn place(&self, path: &VPath, action: Action) -> Result<Place, VfsError> {
        let tree = &self.view.tree;
        let place = tree.place(path, action)?.ok_or_else(|| VfsError::Forbidden { action, path: path.clone() })?;
        match place.mount.backend.resolve(&place.inner, LastLink::Follow) {
            Ok(inner) => tree.place_in(&place, &inner, action),
            Err(_) => Ok(place),
        }
    }

    /// A lock as this session may see it, met on the way to `path`, whose key is `key`.
    fn shown(&self, held: &Held, path: &VPath, key: &[u8]) -> Lock {
        let mut lock = held.lock.clone();
        if lock.owner != *self.view.tree.owner() {
            lock.token = LockToken(String::new());
            // The holder's path is one of another tree: say the same place in this one, as far as it reaches.
            let mut here = path.clone();
            for _ in held.level..level(key) {
                here = here.parent().unwrap_or_else(VPath::root);
            }
            lock.path = here;
        }
        lock
    }
}

fn level(key: &[u8]) -> usize {
    key.iter().filter(|byte| **byte == b'/').count()
}

fn is_within(key: &[u8], folder: &[u8]) -> bool {
    key.strip_prefix(folder).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

fn parent(key: &[u8]) -> &[u8] {
    let end = key.iter().rposition(|byte| *byte == b'/').unwrap_or_default();
    key.get(..end).unwrap_or_default()
}

/// The keys of the folders above `key`.
fn above(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    key.iter().enumerate().filter(|(_, byte)| **byte == b'/').filter_map(|(at, _)| key.get(..at))
}

/// The locks that hold on `key`: its own, and deep ones above.
fn covering<'t>(held: &'t Table, key: &[u8]) -> impl Iterator<Item = &'t Held> {
    let own = held.get(key).into_iter().flatten();
    let deep: Vec<&Held> =
        above(key).filter_map(|folder| held.get(folder)).flatten().filter(|held| held.is_deep()).collect();
    own.chain(deep).filter(|held| held.lives())
}

fn covering_mut<'t>(held: &'t mut Table, key: &[u8]) -> impl Iterator<Item = &'t mut Held> {
    let key = key.to_vec();
    held.iter_mut().flat_map(move |(at, locks)| {
        let (own, below) = (*at == key, is_within(&key, at));
        locks.iter_mut().filter(move |held| held.lives() && (own || below && held.is_deep()))
    })
}

/// The names below `key` that have locks.
fn below<'t>(held: &'t Table, key: &[u8]) -> impl Iterator<Item = &'t Vec<Held>> {
    let mut start = key.to_vec();
    start.push(b'/');
    let prefix = start.clone();
    held.range(start..).take_while(move |(at, _)| at.starts_with(&prefix)).map(|(_, locks)| locks)
}

/// The locks that a new lock would meet.
fn meeting<'t>(held: &'t Table, key: &[u8], deep: bool) -> Vec<&'t Held> {
    let mut met: Vec<&Held> = covering(held, key).collect();
    if deep {
        met.extend(below(held, key).flatten());
    }
    met
}

/// The first lock that forbids a change. Of shared locks on one name the token of any is enough.
fn in_the_way<'t>(
    held: &'t Table,
    key: &[u8],
    change: Change,
    tokens: &[LockToken],
    user: &UserName,
) -> Option<&'t Held> {
    let closed = |locks: Option<&'t Vec<Held>>, deep_only: bool| {
        let locks = locks.into_iter().flatten().filter(|held| held.lives() && (!deep_only || held.is_deep()));
        let (mut first, mut open) = (None, false);
        for held in locks {
            open |= held.lock.owner == *user && tokens.contains(&held.lock.token);
            first = first.or(Some(held));
        }
        first.filter(|_| !open)
    };
    above(key)
        .find_map(|folder| closed(held.get(folder), true))
        .or_else(|| closed(held.get(key), false))
        .or_else(|| closed(held.get(parent(key)).filter(|_| change != Change::Content), false))
        .or_else(|| below(held, key).filter(|_| change == Change::Tree).find_map(|locks| closed(Some(locks), false)))
}
