//! A whole gate with everything around it in memory, and a clock that the test turns.

use super::{Accounts, Authenticator, Breakable, Messenger, account, origin, settings};
use crate::{
    AccessSettings, Challenge, Evidence, Factor, Gate, GateParts, Outcome, Session,
    ledger::{Clock, MemoryLedger},
};
use lockgate_events::{Event, EventBus, LoginResult, Memory, Sink};
use lockgate_model::{Origin, Permissions, Protocol, Secret, UserName, VPath};
use lockgate_net::AddressBook;
use lockgate_users::{Account, Directory as _, SecretKey, app_password, password, recovery};
use lockgate_vfs::{Durability, MountSpec, Storage, StorageSettings, TreeSpec};
use std::{
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, SystemTime},
};

/// Everybody's password.
pub(crate) const PASSWORD: &str = "correct horse";
static HASH: LazyLock<Secret<String>> = LazyLock::new(|| password::hash(&Secret::new(PASSWORD.to_owned())).unwrap());

/// One record of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) result: LoginResult,
    pub(crate) user: String,
    pub(crate) reason: &'static str,
    pub(crate) channel: Option<String>,
}

/// See the module.
pub(crate) struct House {
    pub(crate) gate: Gate,
    pub(crate) directory: Arc<Accounts>,
    pub(crate) ledger: Arc<Breakable>,
    pub(crate) totp: Arc<Authenticator>,
    pub(crate) sms: Arc<Messenger>,
    pub(crate) email: Arc<Messenger>,
    pub(crate) addresses: AddressBook,
    pub(crate) key: SecretKey,
    pub(crate) settings: AccessSettings,
    pub(crate) home: tempfile::TempDir,
    pub(crate) trail: Arc<Trail>,
    events: Arc<Memory>,
    now: Arc<AtomicU64>,
}

/// An audit trail that can be made to fail: at once, or with the record of the next session.
#[derive(Default)]
pub(crate) struct Trail {
    pub(crate) failing: AtomicBool,
    pub(crate) fails_when_granted: AtomicBool,
}

impl Sink for Trail {
    fn record(&self, event: &Event) {
        let granted = matches!(event, Event::Login { result: LoginResult::Granted, .. });
        if granted && self.fails_when_granted.load(Ordering::SeqCst) {
            self.failing.store(true, Ordering::SeqCst);
        }
    }

    fn healthy(&self) -> bool {
        !self.failing.load(Ordering::SeqCst)
    }
}

impl House {
    /// A house by the default settings, with a user `alice` who has a password and no second factor.
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    /// The same with other settings.
    pub(crate) fn with(change: impl FnOnce(&mut AccessSettings)) -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        // The middle of a half minute, so that a code of the present step lives for a while.
        let now = Arc::new(AtomicU64::new(u64::try_from(since.as_millis()).unwrap() / 30_000 * 30_000 + 15_000));
        let clock = clock_of(&now);
        let mut settings = settings();
        change(&mut settings);
        let events = Arc::new(Memory::default());
        let ledger = Breakable { inner: MemoryLedger::with_clock(clock.clone()), broken: AtomicBool::new(false) };
        let house = Parts {
            directory: Arc::default(),
            ledger: Arc::new(ledger),
            totp: Arc::new(Authenticator::new("totp", clock)),
            sms: Arc::new(Messenger::new("sms")),
            email: Arc::new(Messenger::new("email")),
            key: SecretKey::generate().unwrap(),
            home: tempfile::tempdir().unwrap(),
            events,
            now,
        };
        let house = house.build(settings);
        house.add(account("alice"));
        house
    }

    /// The same house after a restart: what was in memory is gone.
    pub(crate) fn restarted(self) -> Self {
        let Self { directory, ledger, totp, sms, email, key, home, events, now, settings, gate, .. } = self;
        drop(gate);
        Parts { directory, ledger, totp, sms, email, key, home, events, now }.build(settings)
    }

    /// Adds a user with everybody's password.
    pub(crate) fn add(&self, account: Account) {
        self.directory.put(Account { password: Some(HASH.clone()), ..account });
    }

    /// A user who has enrolled an authenticator.
    pub(crate) fn add_enrolled(&self, name: &str) {
        let mut account = account(name);
        account.enrolments.insert("totp".into(), vec![7].into());
        self.add(account);
    }

    /// A user who gets codes by SMS, and by mail where that fails.
    pub(crate) fn add_reachable(&self, name: &str) {
        let mut account = account(name);
        account.otp_auth = true;
        account.phone = Some(format!("+49{}", name.len()));
        account.email = Some(format!("{name}@example.org"));
        self.add(account);
    }

    /// Gives a user recovery codes and says the first.
    pub(crate) async fn recovery_code(&self, name: &str) -> String {
        let name = UserName::new(name).unwrap();
        let codes = recovery::generate().unwrap();
        let digests = codes.iter().map(|code| recovery::digest(&self.key, &name, code.expose()).unwrap()).collect();
        self.directory.replace_recovery_codes(&name, digests).await.unwrap();
        codes[0].expose().clone()
    }

    /// Makes an app password.
    pub(crate) async fn app_password(&self, name: &str, protocols: &[Protocol]) -> String {
        let name = UserName::new(name).unwrap();
        let (text, record) =
            app_password::mint(&self.key, &name, "test", protocols.iter().copied().collect(), 0).unwrap();
        self.directory.add_app_password(&name, record).await.unwrap();
        text.expose().clone()
    }

    /// Shows a password.
    pub(crate) async fn show(&self, origin: &Origin, name: &str, password: &str) -> Outcome {
        let evidence = Evidence::Password(Secret::new(password.to_owned()));
        self.gate.knock(origin.clone(), name).submit(evidence).await
    }

    /// Shows a password over `protocol` from a fixed address.
    pub(crate) async fn log_in(&self, protocol: Protocol, name: &str, password: &str) -> Outcome {
        self.show(&origin(protocol, "192.0.2.1"), name, password).await
    }

    /// Shows everybody's password and expects a question.
    pub(crate) async fn asked(&self, origin: &Origin, name: &str) -> Challenge {
        match self.show(origin, name, PASSWORD).await {
            Outcome::Challenge(challenge) => challenge,
            other => panic!("no challenge but {other:?}: {:?}", self.said()),
        }
    }

    pub(crate) fn clock(&self) -> Clock {
        clock_of(&self.now)
    }

    /// Turns the clock.
    pub(crate) fn pass(&self, time: Duration) {
        self.now.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// Sets the clock back.
    pub(crate) fn set_back(&self, time: Duration) {
        self.now.fetch_sub(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }

    /// The factors of the house.
    pub(crate) fn factors(&self) -> Vec<Arc<dyn Factor>> {
        vec![Arc::clone(&self.totp) as _, Arc::clone(&self.sms) as _, Arc::clone(&self.email) as _]
    }

    /// The records of logins so far.
    pub(crate) fn said(&self) -> Vec<Said> {
        let login = |event| match event {
            Event::Login { result, user, reason, channel, .. } => Some(Said { result, user, reason, channel }),
            _ => None,
        };
        self.events.events().into_iter().filter_map(login).collect()
    }

    /// The last reason.
    pub(crate) fn reason(&self) -> &'static str {
        self.said().last().unwrap().reason
    }

    /// What stands against an address.
    pub(crate) async fn failures(&self, address: &str) -> u64 {
        crate::Ledger::count(&self.ledger.inner, &format!("failed/{address}")).await.unwrap().n
    }

    /// Every event, as text.
    pub(crate) fn everything_said(&self) -> String {
        format!("{:?}", self.events.events())
    }
}

struct Parts {
    directory: Arc<Accounts>,
    ledger: Arc<Breakable>,
    totp: Arc<Authenticator>,
    sms: Arc<Messenger>,
    email: Arc<Messenger>,
    key: SecretKey,
    home: tempfile::TempDir,
    events: Arc<Memory>,
    now: Arc<AtomicU64>,
}

impl Parts {
    fn build(self, settings: AccessSettings) -> House {
        let trail = Arc::<Trail>::default();
        let bus = EventBus::new([Arc::clone(&self.events) as Arc<dyn Sink>, Arc::clone(&trail) as _]);
        let addresses = AddressBook::new();
        let files = self.home.path().to_owned();
        let storage = StorageSettings { durability: Durability::Rename, upload_keep: Duration::from_secs(60) };
        let parts = GateParts {
            directory: Arc::clone(&self.directory) as _,
            ledger: Arc::clone(&self.ledger) as _,
            factors: vec![Arc::clone(&self.totp) as _, Arc::clone(&self.sms) as _, Arc::clone(&self.email) as _],
            storage: Storage::new(storage, bus.clone()),
            tree: Arc::new(move |account| TreeSpec {
                owner: account.name.clone(),
                mounts: vec![MountSpec {
                    at: VPath::root(),
                    source: account.root.clone().unwrap_or_else(|| files.join(account.name.as_str())),
                    make: account.root.is_none(),
                    permissions: Permissions::full(),
                    counts: true,
                }],
                rules: Vec::new(),
                otherwise: Permissions::full(),
                quota: None,
            }),
            addresses: addresses.clone(),
            events: bus,
            key: self.key.clone(),
            settings: settings.clone(),
        };
        let gate = Gate::with_clock(parts, clock_of(&self.now));
        let Self { directory, ledger, totp, sms, email, key, home, events, now } = self;
        House { gate, directory, ledger, totp, sms, email, addresses, key, settings, home, trail, events, now }
    }
}

fn clock_of(now: &Arc<AtomicU64>) -> Clock {
    let now = Arc::clone(now);
    Clock::from_fn(move || now.load(Ordering::SeqCst))
}

impl Outcome {
    /// The session, or a panic that says what came instead.
    #[track_caller]
    pub(crate) fn session(self) -> Session {
        match self {
            Self::Granted(session) => session,
            other => panic!("no session but {other:?}"),
        }
    }

    #[track_caller]
    pub(crate) fn question(self) -> Challenge {
        match self {
            Self::Challenge(challenge) => challenge,
            other => panic!("no challenge but {other:?}"),
        }
    }

    pub(crate) fn is_granted(&self) -> bool {
        matches!(self, Self::Granted(_))
    }

    /// Denied, and not for want of room.
    pub(crate) fn is_denied(&self) -> bool {
        matches!(self, Self::Denied(denied) if !denied.busy)
    }
}
