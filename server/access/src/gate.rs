//! The gate itself: what doors call.

use crate::{
    AccessSettings, Challenge, Enforce, Evidence, Factor, Ledger, LoginAttempt, Session, SessionEnd, SessionId,
    SessionView, WebSession, WebToken,
    connections::Connections,
    cookies::Cookies,
    crowd::{Crowd, Hashing},
    first_factor::opens,
    grants::Grants,
    ledger::Clock,
    login::hold_to,
    parked::Parked,
    ports::{Accounts, TimedLedger},
    session::Sessions,
    turned_away::TurnedAway,
    turns::Turns,
    watch,
};
use lockgate_events::{EventBus, LoginResult};
use lockgate_model::{Origin, Protocol, UserName};
use lockgate_net::AddressBook;
use lockgate_users::{Account, Directory, SecretKey};
use lockgate_vfs::{Storage, TreeSpec};
use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// What a gate is made of.
pub struct GateParts {
    /// The accounts.
    pub directory: Arc<dyn Directory>,
    /// The shared memory.
    pub ledger: Arc<dyn Ledger>,
    /// The second factors that are loaded.
    pub factors: Vec<Arc<dyn Factor>>,
    /// The files.
    pub storage: Storage,
    /// How an account's tree is made: the daemon knows where homes are.
    pub tree: Arc<dyn Fn(&Account) -> TreeSpec + Send + Sync>,
    /// Who is shut out.
    pub addresses: AddressBook,
    /// Who is told.
    pub events: EventBus,
    /// The server's own secret, from which stable delays and keyed digests are derived.
    pub key: SecretKey,
    /// From prefs.xml.
    pub settings: AccessSettings,
}

/// Whether the shared memory answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LedgerHealth {
    /// It does.
    Well,
    /// It does not: logins are denied.
    Failing,
}

/// The one place where a stranger becomes a session. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    pub(crate) inner: Arc<Inner>,
}

/// What all clones of a gate share.
pub(crate) struct Inner {
    rules: RwLock<Arc<Rules>>,
    pub(crate) accounts: Accounts,
    pub(crate) ledger: Arc<TimedLedger>,
    pub(crate) storage: Storage,
    pub(crate) tree: Arc<dyn Fn(&Account) -> TreeSpec + Send + Sync>,
    pub(crate) addresses: AddressBook,
    pub(crate) events: EventBus,
    pub(crate) key: SecretKey,
    pub(crate) clock: Clock,
    pub(crate) crowd: Crowd,
    pub(crate) password_turns: Turns,
    pub(crate) code_turns: Turns,
    /// Who begins with a factor that may call people.
    pub(crate) calling_turns: Turns,
    pub(crate) connections: Connections,
    /// Keys that were offered, by connection.
    pub(crate) offers: Connections,
    pub(crate) turned_away: TurnedAway,
    pub(crate) sessions: Sessions,
    pub(crate) grants: Grants,
    pub(crate) cookies: Cookies,
    pub(crate) parked: Parked,
    pub(crate) second_factor_users: AtomicU64,
    /// When revocation was last looked at with success.
    pub(crate) looked: Mutex<Instant>,
}

/// The preferences and factors in force. One login sees one of these from beginning to end.
pub(crate) struct Rules {
    pub(crate) settings: AccessSettings,
    pub(crate) factors: Vec<Arc<dyn Factor>>,
    /// The queue for password hashing.
    pub(crate) hashing: Hashing,
    /// Counts the changes.
    pub(crate) serial: u64,
}

impl Gate {
    /// Builds the gate and starts its own tasks (revocation watch every second, ban list, sweeping) on the present runtime.
    #[must_use]
    pub fn new(parts: GateParts) -> Self {
        Self::with_clock(parts, Clock::system())
    }

    /// The same by another clock, which should be the ledger's: for tests that do not wait.
    #[must_use]
    pub fn with_clock(parts: GateParts, clock: Clock) -> Self {
        let inner = Arc::new(Inner {
            rules: RwLock::new(Arc::new(Rules {
                hashing: Hashing::new(parts.settings.hashing),
                settings: parts.settings,
                factors: parts.factors,
                serial: 0,
            })),
            accounts: Accounts::new(parts.directory),
            ledger: Arc::new(TimedLedger::new(parts.ledger)),
            storage: parts.storage,
            tree: parts.tree,
            addresses: parts.addresses,
            sessions: Sessions::new(parts.events.clone()),
            events: parts.events,
            key: parts.key,
            clock,
            crowd: Crowd::default(),
            password_turns: Turns::default(),
            code_turns: Turns::default(),
            calling_turns: Turns::default(),
            connections: Connections::default(),
            offers: Connections::default(),
            turned_away: TurnedAway::default(),
            grants: Grants::default(),
            cookies: Cookies::default(),
            parked: Parked::default(),
            // Until the first count: somebody might.
            second_factor_users: AtomicU64::new(1),
            looked: Mutex::new(Instant::now()),
        });
        watch::start(&inner);
        Self { inner }
    }

    /// Takes over changed settings and factors: in force for every login from now on; sessions, grants and challenges that
    /// would not be given any more end within 2 s.
    pub fn reconfigure(&self, settings: AccessSettings, factors: Vec<Arc<dyn Factor>>) {
        let mut rules = self.inner.rules.write().unwrap_or_else(PoisonError::into_inner);
        // What is under way keeps its turn: a queue of other sizes begins empty beside it.
        let same = rules.settings.hashing == settings.hashing;
        let hashing = if same { rules.hashing.clone() } else { Hashing::new(settings.hashing) };
        *rules = Arc::new(Rules { settings, factors, hashing, serial: rules.serial.saturating_add(1) });
    }

    /// A stranger says a name. Never fails visibly: an impossible name is an attempt that will be denied.
    pub fn knock(&self, origin: Origin, name: &str) -> LoginAttempt {
        LoginAttempt { gate: self.clone(), origin, name: name.to_owned() }
    }

    /// A client repeats credentials (FTP's further connections, Basic with each request): the session of a live grant for the
    /// very same user, address, protocol and evidence; `None`: log in. One fingerprint, no password hashing.
    ///
    /// Asked before [`Gate::knock`] by doors whose clients repeat. For `ftp`, `ftps` and `sftp` each call gives a new session
    /// under the old grant; for the others the same session.
    pub async fn resume(&self, origin: &Origin, name: &str, evidence: &Evidence) -> Option<Session> {
        self.inner.resume(origin, name, evidence).await
    }

    /// Whether this public key might open the account: the answer to an SSH *offer*, without counting. Proves nothing; unknown
    /// names are answered alike, and in the same time: answers come in steps of 20 ms. A connection has 32 of them; every
    /// further offer is answered no without a look.
    pub async fn would_accept_key(&self, origin: &Origin, name: &str, blob: &[u8]) -> bool {
        let started = Instant::now();
        let offered = |account: &Account| account.keys.iter().any(|key| key.blob == blob);
        let fits = self.inner.offered_by(origin, name, offered).await;
        hold_to(started, OFFER_STEP, OFFER_STEP).await;
        fits
    }

    /// Whether the certificate that the TLS layer verified might open the account: asked before it is shown, since a client
    /// that has a certificate for something else and logs in with a password has tried nothing. Like
    /// [`Gate::would_accept_key`] in all else.
    pub async fn would_accept_certificate(&self, origin: &Origin, name: &str, subject: &str) -> bool {
        let started = Instant::now();
        let fits = self.inner.offered_by(origin, name, |account| opens(account, subject)).await;
        hold_to(started, OFFER_STEP, OFFER_STEP).await;
        fits
    }

    /// Brings a parked challenge back: once, for the client that it was made for. Anybody else gets `None` and consumes nothing;
    /// that is a denial, which is recorded and counted against the address.
    pub async fn unpark(&self, origin: &Origin, id: &str) -> Option<Challenge> {
        match self.inner.parked.take(origin, id, self.inner.clock.now_ms()) {
            Ok(challenge) => Some(challenge),
            Err((reason, said)) => {
                self.inner.count_denial(origin, reason).await;
                self.inner.record(LoginResult::Denied, origin, &said, reason, None, None);
                None
            }
        }
    }

    /// Makes a cookie for a session; older cookies of the session die.
    pub async fn issue_cookie(&self, session: &Session) -> (WebToken, WebSession) {
        self.inner.issue_cookie(session)
    }

    /// The session of a cookie, where it lives and comes from the address it was made for (unless `http_session_bind_address`
    /// is off).
    pub async fn by_cookie(&self, origin: &Origin, token: &str) -> Option<WebSession> {
        self.inner.by_cookie(origin, token)
    }

    /// Whether any user may need a code on `protocol`: for greetings. Says nothing about a single user.
    #[must_use]
    pub fn may_ask(&self, protocol: Protocol) -> bool {
        self.inner.may_ask(&self.inner.rules(), protocol)
    }

    /// The live sessions.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionView> {
        let view = |session: Session| SessionView {
            id: session.id().clone(),
            user: session.user().clone(),
            origin: session.origin().clone(),
            since: session.inner.since,
            factor: session.inner.factor.clone(),
            activity: session.activity().view(),
        };
        self.inner.sessions.all().into_iter().map(view).collect()
    }

    /// Ends a session, and the grant that it came from: the same evidence does not bring it back without a whole login. `false`
    /// where there is none of this id.
    pub fn end_session(&self, id: &SessionId, why: SessionEnd) -> bool {
        let session = self.inner.sessions.find(id);
        if let Some(session) = &session {
            session.end(why);
            self.inner.grants.forget_of(session);
        }
        session.is_some()
    }

    /// Whether the ledger answered last time.
    #[must_use]
    pub fn ledger_health(&self) -> LedgerHealth {
        self.inner.ledger.health()
    }
}

/// Offers of keys are answered in steps of this.
const OFFER_STEP: Duration = Duration::from_millis(20);
/// Offers that one connection may make. A client offers each key of its agent, few of them.
const OFFERS: u32 = 32;
/// The name under which the offers of a connection are counted.
const OFFER: &str = "offer";

impl Drop for Inner {
    fn drop(&mut self) {
        self.tell_rest(self.turned_away.all());
    }
}

impl Inner {
    async fn offered_by(&self, origin: &Origin, name: &str, fits: impl FnOnce(&Account) -> bool) -> bool {
        if self.addresses.is_banned(origin.address()) || self.offers.is_spent(origin.peer, OFFER, OFFERS) {
            return false;
        }
        self.offers.missed(origin.peer, OFFER);
        let name = UserName::new(name).ok();
        match self.accounts.find(name.as_ref()).await {
            Ok(Some(account)) => account.enabled && fits(&account),
            Ok(None) | Err(_) => false,
        }
    }

    /// What is in force now.
    pub(crate) fn rules(&self) -> Arc<Rules> {
        Arc::clone(&self.rules.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn may_ask(&self, rules: &Rules, protocol: Protocol) -> bool {
        let settings = &rules.settings;
        // Somebody with a factor may have a setting of their own for a protocol that the list does not name.
        let somebody = self.second_factor_users.load(Ordering::Relaxed) > 0;
        let enforced = settings.enforce != Enforce::Flagged && settings.otp_protocols.contains(protocol);
        settings.validated_logins && (somebody || enforced)
    }
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gate(..)")
    }
}
