//! Logins that may be repeated: FTP's further connections, and Basic with each request.
//!
//! The gate remembers a keyed fingerprint of user, address, protocol and evidence, never the evidence; so the same string from
//! elsewhere is no grant but a used code. For HTTP and WebDAV a grant is one session for all requests; for FTP each connection
//! is a session, and the grant lives as long as one of them does and a minute longer. A grant exists only after a whole login
//! with this very evidence, and never longer than `otp_grant_max`.

use crate::{
    Evidence, Session, SessionEnd,
    first_factor::First,
    gate::{Inner, Rules},
    ledger::Clock,
    locked,
    opening::{Opening, splits_sessions},
    policy::{self, PolicyInput},
    reason::Reason,
    standing::standing,
};
use lockgate_events::LoginResult;
use lockgate_model::{Origin, Secret, UserName};
use lockgate_users::{Account, Epoch, SecretKey};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};
use zeroize::Zeroizing;

/// How long a grant for FTP outlives its last connection.
const LINGER_MS: u64 = 60_000;
const OF_A_USER: usize = 64;
const IN_ALL: usize = 16_384;

/// What a grant is found by.
pub(crate) type Fingerprint = [u8; 32];

/// What a login showed before it was asked for a code, for a client that will show both again.
///
/// By itself it is no fingerprint of a grant: whoever shows the first factor alone is not let in by it.
#[derive(Clone, Copy)]
pub(crate) struct Half(pub(crate) Fingerprint);

impl Half {
    /// What was shown was all.
    pub(crate) const fn whole(self) -> Fingerprint {
        self.0
    }

    /// The two together.
    pub(crate) fn with(self, key: &SecretKey, code: &Secret<String>) -> Fingerprint {
        let mut bound = Zeroizing::new(Vec::with_capacity(self.0.len() + code.expose().len()));
        bound.extend_from_slice(&self.0);
        bound.extend_from_slice(code.expose().as_bytes());
        key.keyed_digest("grant with a code", &bound)
    }
}

/// Grants in force.
#[derive(Default)]
pub(crate) struct Grants {
    table: Mutex<HashMap<Fingerprint, Grant>>,
}

struct Grant {
    user: UserName,
    epoch: Epoch,
    made_ms: u64,
    used_ms: u64,
    /// When the account ends.
    until_ms: u64,
    kept: Kept,
}

enum Kept {
    /// One session for every request.
    Same(Session),
    /// A session for every connection, and what each of them is made with.
    Each { hold: Hold, first: First, factor: Option<String> },
}

/// Whether connections of a grant live.
#[derive(Clone)]
pub(crate) struct Hold {
    uses: Arc<Uses>,
}

struct Uses {
    live: AtomicUsize,
    left_ms: AtomicU64,
    clock: Clock,
}

/// One live connection of a grant.
pub(crate) struct Held(Arc<Uses>);

impl Hold {
    pub(crate) fn new(clock: &Clock) -> Self {
        let uses = Uses { live: AtomicUsize::new(0), left_ms: AtomicU64::new(clock.now_ms()), clock: clock.clone() };
        Self { uses: Arc::new(uses) }
    }

    /// Counts one more connection until what is returned is dropped.
    pub(crate) fn held(self) -> Held {
        self.uses.live.fetch_add(1, Ordering::SeqCst);
        Held(self.uses)
    }

    fn lives(&self, now_ms: u64) -> bool {
        self.uses.live.load(Ordering::SeqCst) > 0
            || self.uses.left_ms.load(Ordering::SeqCst).saturating_add(LINGER_MS) > now_ms
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.left_ms.store(self.0.clock.now_ms(), Ordering::SeqCst);
        self.0.live.fetch_sub(1, Ordering::SeqCst);
    }
}

/// How long grants live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lives {
    pub(crate) idle_ms: u64,
    pub(crate) max_ms: u64,
    pub(crate) now_ms: u64,
}

impl Lives {
    pub(crate) fn over(self, made_ms: u64, used_ms: u64) -> bool {
        made_ms.saturating_add(self.max_ms) <= self.now_ms || used_ms.saturating_add(self.idle_ms) <= self.now_ms
    }
}

impl Grant {
    fn lives(&self, lives: Lives) -> bool {
        let account = self.until_ms > lives.now_ms;
        account
            && match &self.kept {
                Kept::Same(session) => session.is_over().is_none() && !lives.over(self.made_ms, self.used_ms),
                Kept::Each { hold, .. } => hold.lives(lives.now_ms) && !lives.over(self.made_ms, lives.now_ms),
            }
    }
}

impl Grants {
    /// Remembers a login. `hold`: each connection is a session of its own.
    pub(crate) fn remember(&self, fingerprint: Fingerprint, session: &Session, hold: Option<Hold>, now_ms: u64) {
        let inner = &session.inner;
        let kept = match hold {
            Some(hold) => Kept::Each { hold, first: inner.first, factor: inner.factor.clone() },
            None => Kept::Same(session.clone()),
        };
        let (user, epoch, until_ms) = (inner.user.clone(), inner.epoch, inner.until_ms.load(Ordering::Relaxed));
        let grant = Grant { user, epoch, made_ms: now_ms, used_ms: now_ms, until_ms, kept };
        let mut table = locked(&self.table);
        // Looked at under the lock, so that whoever ends the session finds the grant or is found here.
        if session.is_over().is_some() {
            return;
        }
        let mut dropped = make_room(&mut table, OF_A_USER, |other| other.user == grant.user);
        dropped.extend(make_room(&mut table, IN_ALL, |_| true));
        dropped.extend(table.insert(fingerprint, grant));
        // Sessions that end with their grants take locks of their own.
        drop(table);
        drop(dropped);
    }

    /// The one session of a grant for requests; none where its files are gone, so that the next login finds those of now.
    pub(crate) fn same(&self, fingerprint: &Fingerprint, epoch: Epoch, lives: Lives) -> Option<Session> {
        let session = {
            let mut table = locked(&self.table);
            let grant = table.get_mut(fingerprint).filter(|grant| grant.epoch == epoch && grant.lives(lives))?;
            grant.used_ms = lives.now_ms;
            match &grant.kept {
                Kept::Same(session) => session.clone(),
                Kept::Each { .. } => return None,
            }
        };
        (!session.vfs().is_gone()).then_some(session)
    }

    /// What the next connection of a grant is made with.
    fn each(&self, fingerprint: &Fingerprint, lives: Lives) -> Option<(Epoch, Hold, First, Option<String>)> {
        let mut table = locked(&self.table);
        let grant = table.get_mut(fingerprint).filter(|grant| grant.lives(lives))?;
        grant.used_ms = lives.now_ms;
        match &grant.kept {
            Kept::Same(_) => None,
            Kept::Each { hold, first, factor } => Some((grant.epoch, hold.clone(), *first, factor.clone())),
        }
    }

    fn epoch(&self, fingerprint: &Fingerprint) -> Option<Epoch> {
        locked(&self.table).get(fingerprint).map(|grant| grant.epoch)
    }

    /// The hold of a live grant, for another whole login with the same evidence.
    pub(crate) fn hold(&self, fingerprint: &Fingerprint, epoch: Epoch, lives: Lives) -> Option<Hold> {
        self.each(fingerprint, lives).filter(|(of, ..)| *of == epoch).map(|(_, hold, ..)| hold)
    }

    /// Ends the grant that a session came from: with the same evidence it cannot be had again.
    pub(crate) fn forget_of(&self, session: &Session) {
        let from = |grant: &Grant| match (&grant.kept, &session.inner.hold) {
            (Kept::Same(same), _) => same.id() == session.id(),
            (Kept::Each { hold, .. }, Some(held)) => Arc::ptr_eq(&hold.uses, &held.0),
            (Kept::Each { .. }, None) => false,
        };
        let mut table = locked(&self.table);
        let own: Vec<Fingerprint> =
            table.iter().filter(|(_, grant)| from(grant)).map(|(fingerprint, _)| *fingerprint).collect();
        let dropped: Vec<_> = own.iter().filter_map(|fingerprint| table.remove(fingerprint)).collect();
        drop(table);
        drop(dropped);
    }

    /// Whose grants there are, each with the state of the account that it was made in.
    pub(crate) fn users(&self) -> Vec<(UserName, Epoch)> {
        locked(&self.table).values().map(|grant| (grant.user.clone(), grant.epoch)).collect()
    }

    /// Ends the grants that `ends` says, and what has passed.
    pub(crate) fn retain(&self, lives: Lives, mut stays: impl FnMut(&UserName, Epoch) -> bool) {
        let mut dropped = Vec::new();
        let mut table = locked(&self.table);
        let over: Vec<Fingerprint> = table
            .iter()
            .filter(|(_, grant)| !grant.lives(lives) || !stays(&grant.user, grant.epoch))
            .map(|(fingerprint, _)| *fingerprint)
            .collect();
        dropped.extend(over.iter().filter_map(|fingerprint| table.remove(fingerprint)));
        drop(table);
        drop(dropped);
    }
}

fn make_room(table: &mut HashMap<Fingerprint, Grant>, limit: usize, counts: impl Fn(&Grant) -> bool) -> Vec<Grant> {
    let mut own: Vec<(u64, Fingerprint)> = table
        .iter()
        .filter(|(_, grant)| counts(grant))
        .map(|(fingerprint, grant)| (grant.used_ms, *fingerprint))
        .collect();
    if own.len() < limit {
        return Vec::new();
    }
    own.sort_unstable();
    own.iter().take(own.len() + 1 - limit).filter_map(|(_, fingerprint)| table.remove(fingerprint)).collect()
}

impl Inner {
    pub(crate) fn lives(&self) -> Lives {
        let rules = self.rules();
        Lives {
            idle_ms: crate::codes::millis(rules.settings.grant_idle),
            max_ms: crate::codes::millis(rules.settings.grant_max),
            now_ms: self.clock.now_ms(),
        }
    }

    /// What a login is remembered by.
    pub(crate) fn fingerprint(&self, origin: &Origin, user: &UserName, evidence: &Evidence) -> Fingerprint {
        let (kind, first, second): (&str, &[u8], &[u8]) = match evidence {
            Evidence::Password(password) => ("password", password.expose().as_bytes(), &[]),
            Evidence::Compound(password, code) => ("compound", password.expose().as_bytes(), code.expose().as_bytes()),
            Evidence::PublicKey(blob) => ("key", blob, &[]),
            Evidence::ClientCertificate(subject) => ("certificate", subject.as_bytes(), &[]),
        };
        let place = format!("{kind}\n{}\n{}\n{}\n", origin.address(), origin.protocol, first.len());
        let size = place.len() + user.as_str().len() + first.len() + second.len() + 1;
        let mut bound = Zeroizing::new(Vec::with_capacity(size));
        for part in [place.as_bytes(), user.as_str().as_bytes(), b"\n", first, second] {
            bound.extend_from_slice(part);
        }
        self.key.keyed_digest("grant", &bound)
    }

    /// The session of a repeated login; see [`crate::Gate::resume`].
    pub(crate) async fn resume(self: &Arc<Self>, origin: &Origin, name: &str, evidence: &Evidence) -> Option<Session> {
        let rules = self.rules();
        if !rules.settings.grant_protocols.contains(origin.protocol)
            || self.addresses.is_banned(origin.address())
            || !self.watch_is_fresh()
            || !self.events.healthy()
        {
            return None;
        }
        let user = UserName::new(name).ok()?;
        let fingerprint = self.fingerprint(origin, &user, evidence);
        let lives = self.lives();
        if !splits_sessions(origin) {
            let epoch = self.grants.epoch(&fingerprint)?;
            return self.grants.same(&fingerprint, epoch, lives);
        }
        // Nobody is looked up for a login that is no repetition.
        self.grants.epoch(&fingerprint)?;
        let account = self.accounts.find(Some(&user)).await.ok()??;
        let session = self.resume_as(&rules, origin, &account, &fingerprint).await?;
        let (channel, id) = (session.inner.factor.clone(), Some(session.id().as_str().to_owned()));
        self.record(LoginResult::Granted, origin, user.as_str(), Reason::Resumed, channel, id);
        if !self.events.healthy() {
            session.end(SessionEnd::Revoked);
            return None;
        }
        Some(session)
    }

    /// One more connection of a live grant, where the account and the policy still give it. The record is the caller's.
    pub(crate) async fn resume_as(
        self: &Arc<Self>,
        rules: &Rules,
        origin: &Origin,
        account: &Account,
        fingerprint: &Fingerprint,
    ) -> Option<Session> {
        let lives = self.lives();
        let (epoch, hold, first, factor) = self.grants.each(fingerprint, lives)?;
        let stands = account.epoch == epoch && standing(account, origin, lives.now_ms).is_ok();
        let due = policy::due(&PolicyInput::of(&rules.settings, account, origin.protocol, origin.address())).due;
        let app_password_off = first == First::AppPassword && !rules.settings.app_passwords;
        if !stands || (due && factor.is_none()) || app_password_off {
            return None;
        }
        let opening = Opening { rules, account, origin, first, factor, remembered: None };
        let session = self.make(&opening, Some(hold)).await.ok()?;
        // The session that it all came from may have been killed meanwhile.
        if self.grants.hold(fingerprint, epoch, lives).is_none() {
            session.end(SessionEnd::Killed);
            return None;
        }
        Some(session)
    }
}
