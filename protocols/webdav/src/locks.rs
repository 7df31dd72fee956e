//! The library's lock system over the locks of the tree, as one request sees them.

use crate::{address, xml};
use dav_server::{
    davpath::DavPath,
    ls::{DavLock, DavLockSystem, LsFuture},
};
use lockgate_model::VPath;
use lockgate_vfs::{Lock, LockDepth, LockScope, LockToken, Vfs};
use std::{
    fmt,
    future::ready,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};
use xmltree::{Element, Namespace};

/// What a client may ask for (RFC 4918 section 15.10).
pub(crate) const SUPPORTED: &str = "<D:lockentry><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>\
     <D:lockentry><D:lockscope><D:shared/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockentry>";

/// The life of a lock whose client does not say (N15).
const LIFE: Duration = Duration::from_secs(600);

/// The locks of one request. What it takes anew it also holds: a locked name that does not exist yet is made under its lock.
#[derive(Clone)]
pub(crate) struct TreeLocks {
    vfs: Vfs,
    shown: Vec<LockToken>,
    taken: Arc<Mutex<Vec<LockToken>>>,
}

impl TreeLocks {
    /// `shown` are the tokens that the request shows.
    pub(crate) fn new(vfs: Vfs, shown: Vec<LockToken>) -> Self {
        Self { vfs, shown, taken: Arc::default() }
    }

    /// The tokens that the request shows, and those of locks that it took.
    pub(crate) fn tokens(&self) -> Vec<LockToken> {
        let mut tokens = self.shown.clone();
        tokens.extend_from_slice(&self.taken.lock().unwrap_or_else(PoisonError::into_inner));
        tokens
    }

    fn take(
        &self,
        path: &DavPath,
        note: Option<&Element>,
        life: Option<Duration>,
        shared: bool,
        deep: bool,
    ) -> Result<DavLock, DavLock> {
        let scope = if shared { LockScope::Shared } else { LockScope::Exclusive };
        let depth = if deep { LockDepth::Infinity } else { LockDepth::Zero };
        let note = note.and_then(kept);
        let taken =
            plain(path).and_then(|at| self.vfs.locks().lock(&at, scope, depth, note, life.unwrap_or(LIFE)).ok());
        match taken {
            Some(lock) => {
                self.taken.lock().unwrap_or_else(PoisonError::into_inner).push(lock.token.clone());
                Ok(shown(lock, path))
            }
            None => Err(nobody(path)),
        }
    }
}

impl fmt::Debug for TreeLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TreeLocks")
    }
}

impl DavLockSystem for TreeLocks {
    fn lock(
        &self,
        path: &DavPath,
        _principal: Option<&str>,
        owner: Option<&Element>,
        timeout: Option<Duration>,
        shared: bool,
        deep: bool,
    ) -> LsFuture<'_, Result<DavLock, DavLock>> {
        Box::pin(ready(self.take(path, owner, timeout, shared, deep)))
    }

    fn unlock(&self, path: &DavPath, token: &str) -> LsFuture<'_, Result<(), ()>> {
        let token = LockToken(token.to_owned());
        let done = plain(path).ok_or(()).and_then(|at| self.vfs.locks().unlock(&at, &token).map_err(|_| ()));
        Box::pin(ready(done))
    }

    fn refresh(&self, path: &DavPath, token: &str, timeout: Option<Duration>) -> LsFuture<'_, Result<DavLock, ()>> {
        let token = LockToken(token.to_owned());
        let lock = plain(path).ok_or(()).and_then(|at| {
            self.vfs.locks().refresh(&at, &token, timeout.unwrap_or(LIFE)).map(|lock| shown(lock, path)).map_err(|_| ())
        });
        Box::pin(ready(lock))
    }

    /// With `ignore_principal` the library asks, for one condition of an `If` header, whether the path is locked with that token.
    fn check(
        &self,
        path: &DavPath,
        _principal: Option<&str>,
        ignore_principal: bool,
        deep: bool,
        submitted_tokens: &[String],
    ) -> LsFuture<'_, Result<(), DavLock>> {
        let Some(at) = plain(path) else { return Box::pin(ready(Err(nobody(path)))) };
        let answer = if ignore_principal {
            let held = self.vfs.locks().discover(&at).iter().any(|lock| submitted_tokens.contains(&lock.token.0));
            if held { Ok(()) } else { Err(nobody(path)) }
        } else {
            self.vfs.locks().conflict(&at, deep, &self.tokens()).map_or(Ok(()), |lock| Err(shown(lock, path)))
        };
        Box::pin(ready(answer))
    }

    fn discover(&self, path: &DavPath) -> LsFuture<'_, Vec<DavLock>> {
        let locks = plain(path).map(|at| self.vfs.locks().discover(&at)).unwrap_or_default();
        Box::pin(ready(locks.into_iter().map(|lock| shown(lock, path)).collect()))
    }

    fn delete(&self, path: &DavPath) -> LsFuture<'_, Result<(), ()>> {
        if let Some(at) = plain(path) {
            self.vfs.locks().forget(&at);
        }
        Box::pin(ready(Ok(())))
    }
}

/// What a client said of itself, as an element that can be read again: the library gives it the prefix `D` and does not bind it.
fn kept(note: &Element) -> Option<Vec<u8>> {
    let mut note = note.clone();
    let mut bound = note.namespaces.take().unwrap_or_else(Namespace::empty);
    bound.force_put("D", "DAV:");
    note.namespaces = Some(bound);
    let mut text = Vec::new();
    note.write(&mut text).ok().map(|()| text)
}

/// The library's path as the tree's.
pub(crate) fn plain(path: &DavPath) -> Option<VPath> {
    VPath::parse(path.as_bytes()).ok()
}

/// `activelock` of one lock. The token of another user's lock is not known here, and so not told.
pub(crate) fn active(lock: &Lock) -> String {
    let scope = if lock.scope == LockScope::Shared { "shared" } else { "exclusive" };
    let depth = if lock.depth == LockDepth::Infinity { "infinity" } else { "0" };
    let token = match lock.token.0.as_str() {
        "" => String::new(),
        token => format!("<D:locktoken><D:href>{}</D:href></D:locktoken>", xml::escaped(token)),
    };
    let note = lock.owner_note.as_deref().and_then(xml::embed).unwrap_or_default();
    format!(
        "<D:activelock><D:lockscope><D:{scope}/></D:lockscope><D:locktype><D:write/></D:locktype><D:depth>{depth}</D:depth>{note}\
         <D:timeout>Second-{}</D:timeout>{token}<D:lockroot><D:href>{}</D:href></D:lockroot></D:activelock>",
        left(lock).as_secs(),
        address::href(&lock.path),
    )
}

/// What is left of a lock's life, in whole seconds.
fn left(lock: &Lock) -> Duration {
    let left = lock.expires.duration_since(SystemTime::now()).unwrap_or_default();
    Duration::from_secs(left.as_millis().div_ceil(1000).try_into().unwrap_or(0))
}

fn dav_path(path: &VPath) -> Option<DavPath> {
    let mut dav = DavPath::new(&address::href(path)).ok()?;
    dav.set_prefix("/dav/").ok()?;
    Some(dav)
}

/// A lock as the library shows it; `asked` stands in where its path makes no address.
fn shown(lock: Lock, asked: &DavPath) -> DavLock {
    let whole = left(&lock);
    DavLock {
        token: lock.token.0,
        path: Box::new(dav_path(&lock.path).unwrap_or_else(|| asked.clone())),
        principal: None,
        owner: lock.owner_note.and_then(|note| Element::parse(note.as_slice()).ok()).map(Box::new),
        timeout_at: Some(lock.expires),
        timeout: Some(whole),
        shared: lock.scope == LockScope::Shared,
        deep: lock.depth == LockDepth::Infinity,
    }
}

/// Stands for a lock that is in the way and of which nothing is said. The library only looks at there being one.
fn nobody(path: &DavPath) -> DavLock {
    DavLock {
        token: String::new(),
        path: Box::new(path.clone()),
        principal: None,
        owner: None,
        timeout_at: None,
        timeout: None,
        shared: false,
        deep: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_client_said_of_itself_is_shown_again() {
        for said in
            ["<owner xmlns=\"DAV:\">the suite</owner>", "<x:owner xmlns:x=\"DAV:\"><x:href>mailto:a</x:href></x:owner>"]
        {
            let mut note = Element::parse(said.as_bytes()).unwrap();
            note.prefix = Some("D".into());
            let shown = xml::embed(&kept(&note).unwrap()).unwrap();
            assert!(shown.starts_with("<D:owner") && shown.contains("xmlns:D=\"DAV:\""), "{shown}");
        }
    }
}
