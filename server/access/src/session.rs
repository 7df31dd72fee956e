//! What whoever passed the gate holds, and the list of all of them.

use crate::{
    Activity, ActivityView,
    first_factor::First,
    grants::Held,
    locked,
    reason::{Reason, Refusal},
};
use lockgate_events::{Event, EventBus};
use lockgate_model::{Origin, Protocol, Secret, UserName};
use lockgate_users::Epoch;
use lockgate_vfs::Vfs;
use std::{
    collections::HashMap,
    fmt,
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, Weak, atomic::AtomicU64},
    time::SystemTime,
};
use tokio::sync::watch;

/// A session's own id, as shown in `session list` and the audit trail. Knowing it opens nothing.
#[derive(Clone, PartialEq, Eq, Hash, Debug, PartialOrd, Ord)]
pub struct SessionId(pub(crate) String);

impl SessionId {
    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of a text that somebody typed. Knowing one opens nothing.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Why a session must end now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEnd {
    /// The user was removed, disabled, changed or has reached their end, or a factor became due.
    Revoked,
    /// An administrator ended it.
    Killed,
    /// The server stops.
    Shutdown,
    /// The owner logged out elsewhere, or its time is over.
    Closed,
}

impl SessionEnd {
    /// The word in the audit trail.
    const fn word(self) -> &'static str {
        match self {
            Self::Revoked => "revoked",
            Self::Killed => "killed",
            Self::Shutdown => "shutdown",
            Self::Closed => "closed",
        }
    }
}

/// Proof of a finished login, and the handle to the user's files. There is no constructor outside this crate.
///
/// Clones are the same session; it ends when the last is dropped, or when [`Session::ended`] says so: then a door closes
/// its connection at once.
#[derive(Clone)]
pub struct Session {
    pub(crate) inner: Arc<SessionInner>,
}

pub(crate) struct SessionInner {
    pub(crate) id: SessionId,
    pub(crate) user: UserName,
    pub(crate) admin: bool,
    pub(crate) origin: Origin,
    pub(crate) vfs: Vfs,
    pub(crate) since: SystemTime,
    /// The second factor that was proven; `None`: none was due.
    pub(crate) factor: Option<String>,
    pub(crate) first: First,
    /// The account's state that it was made in.
    pub(crate) epoch: Epoch,
    /// The serial number of the preferences that it was last judged by.
    pub(crate) judged_by: AtomicU64,
    pub(crate) end: watch::Sender<Option<SessionEnd>>,
    pub(crate) place: Place,
    /// When the account ends, as it was when last looked at; Unix ms, `u64::MAX` for never.
    pub(crate) until_ms: AtomicU64,
    /// The grant that it came from, kept alive.
    pub(crate) hold: Option<Held>,
    pub(crate) activity: Activity,
}

impl Session {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.inner.id
    }

    /// Whose it is.
    #[must_use]
    pub fn user(&self) -> &UserName {
        &self.inner.user
    }

    /// Whether the user administers the server.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.inner.admin
    }

    /// Where it came from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.inner.origin
    }

    /// The user's files.
    #[must_use]
    pub fn vfs(&self) -> &Vfs {
        &self.inner.vfs
    }

    /// The second factor that it was made with (`totp`, `recovery`, `app_password`, …); `None` where none was due.
    #[must_use]
    pub fn factor(&self) -> Option<&str> {
        self.inner.factor.as_deref()
    }

    /// What it does at the moment: doors write it, `session list` shows it. It does not keep the session alive.
    #[must_use]
    pub fn activity(&self) -> &Activity {
        &self.inner.activity
    }

    /// Whether it has been ended.
    #[must_use]
    pub fn is_over(&self) -> Option<SessionEnd> {
        *self.inner.end.borrow()
    }

    /// Resolves when the session must end, within 2 s of what ended it. Cancel safe; many may wait. It does not keep the
    /// session alive, and resolves too when the last holder has dropped it.
    pub fn ended(&self) -> impl Future<Output = SessionEnd> + Send + 'static {
        let mut end = self.inner.end.subscribe();
        async move { end.wait_for(Option::is_some).await.ok().and_then(|end| *end).unwrap_or(SessionEnd::Closed) }
    }

    /// Ends it for all its holders. The first reason stays.
    pub fn end(&self, why: SessionEnd) {
        let first = self.inner.end.send_if_modified(|end| end.is_none() && end.replace(why).is_none());
        if first {
            // A server that stops lets commits come to their end; whoever lost the right to be here commits nothing more.
            if why != SessionEnd::Shutdown {
                self.inner.vfs.end();
            }
            self.inner.place.leave(why.word());
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({} of {})", self.inner.id.0, self.inner.user)
    }
}

/// A session as an administrator sees it.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub user: UserName,
    /// Where from.
    pub origin: Origin,
    /// Since when.
    pub since: SystemTime,
    /// The second factor it was made with (`totp`, `recovery`, `app_password`, …); `None` where none was due.
    pub factor: Option<String>,
    /// What it does now.
    pub activity: ActivityView,
}

/// The value of a session cookie: 256 random bits as text. The gate keeps only its digest.
pub type WebToken = Secret<String>;

/// A session found by its cookie.
#[derive(Clone, Debug)]
pub struct WebSession {
    /// The session.
    pub session: Session,
    /// What a changing request must show in `X-CSRF-Token`.
    pub csrf: Secret<String>,
}

/// The live sessions, and how many a user has.
#[derive(Clone)]
pub(crate) struct Sessions {
    table: Arc<Mutex<Table>>,
    events: EventBus,
}

#[derive(Default)]
struct Table {
    live: HashMap<SessionId, Weak<SessionInner>>,
    by_user: HashMap<UserName, u32>,
    by_address: HashMap<String, u32>,
}

/// How many sessions there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Of the user; `None`: no limit.
    pub(crate) of_user: Option<u32>,
    /// Of the address; 0: no limit.
    pub(crate) of_address: u32,
    /// In all; 0: no limit.
    pub(crate) in_all: u32,
}

/// A session's line in the list. Crossed out when dropped.
pub(crate) struct Place {
    sessions: Sessions,
    id: SessionId,
    user: UserName,
    address: String,
    protocol: Protocol,
}

impl Sessions {
    pub(crate) fn new(events: EventBus) -> Self {
        Self { table: Arc::default(), events }
    }

    /// A line for one more session, where the limits of the user, of the address and of the server allow it.
    pub(crate) fn enter(&self, id: &SessionId, user: &UserName, origin: &Origin, room: Room) -> Result<Place, Refusal> {
        let address = origin.address_key();
        let mut table = locked(&self.table);
        let has = table.by_user.get(user).copied().unwrap_or(0);
        if room.of_user.is_some_and(|limit| has >= limit) {
            return Err(Reason::TooManyOfUser.into());
        }
        let here = table.by_address.get(&address).copied().unwrap_or(0);
        if room.of_address > 0 && here >= room.of_address {
            return Err(Reason::TooManyOfAddress.into());
        }
        if room.in_all > 0 && table.live.len() >= usize::try_from(room.in_all).unwrap_or(usize::MAX) {
            return Err(Reason::TooMany.into());
        }
        table.live.insert(id.clone(), Weak::new());
        table.by_user.insert(user.clone(), has.saturating_add(1));
        table.by_address.insert(address.clone(), here.saturating_add(1));
        let (id, user) = (id.clone(), user.clone());
        Ok(Place { sessions: self.clone(), id, user, address, protocol: origin.protocol })
    }

    /// All sessions that live.
    pub(crate) fn all(&self) -> Vec<Session> {
        let live: Vec<_> = locked(&self.table).live.values().filter_map(Weak::upgrade).collect();
        live.into_iter().map(|inner| Session { inner }).collect()
    }

    /// The session of an id.
    pub(crate) fn find(&self, id: &SessionId) -> Option<Session> {
        let inner = locked(&self.table).live.get(id).and_then(Weak::upgrade)?;
        Some(Session { inner })
    }
}

impl Place {
    /// Writes the session into its line.
    pub(crate) fn fill(session: &Session) {
        let place = &session.inner.place;
        locked(&place.sessions.table).live.insert(place.id.clone(), Arc::downgrade(&session.inner));
    }

    /// Crosses the line out, once.
    fn leave(&self, why: &'static str) {
        let was = {
            let mut table = locked(&self.sessions.table);
            let was = table.live.remove(&self.id);
            if was.is_some() {
                one_less(&mut table.by_user, &self.user);
                one_less(&mut table.by_address, &self.address);
            }
            was
        };
        // A line that was never filled is a login that failed at its last step: no session began, so none ended.
        if was.is_some_and(|session| !session.ptr_eq(&Weak::new())) {
            self.sessions.events.announce(&Event::SessionEnded {
                session: self.id.as_str().to_owned(),
                user: self.user.clone(),
                protocol: self.protocol,
                reason: why,
            });
        }
    }
}

fn one_less<K: Hash + Eq>(counts: &mut HashMap<K, u32>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(key);
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave(SessionEnd::Closed.word());
    }
}
