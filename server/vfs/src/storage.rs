//! What all sessions share: open roots, quota counts, locks, partials, and the sweeper of what uploads left behind.

use crate::{
    Action, Backend, PartialEntry, Usage, Vfs, VfsError,
    account::Account,
    local::{LocalRoot, WeakRoot},
    locks::{LockLimits, LockTable},
    reserved::owner_tag,
    session::Session,
    tree::{Mount, Tree},
    view::View,
};
use lockgate_events::EventBus;
use lockgate_model::{ByteSize, Permissions, UserName, VPath};
use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, SystemTime},
};

/// Whether success waits for the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Data and folder are synced before success is told.
    #[default]
    Full,
    /// Atomic, not synced.
    Rename,
}

/// Settings of the whole store.
#[derive(Clone, Debug)]
pub struct StorageSettings {
    /// Default durability of mounts.
    pub durability: Durability,
    /// How long a partial is kept (`upload_keep`, 24 h by default).
    pub upload_keep: Duration,
}

/// One folder of the host in a user's tree.
#[derive(Clone, Debug)]
pub struct MountSpec {
    /// Where in the tree; `/` for the user's own root.
    pub at: VPath,
    /// The host's folder, or what a store was registered under.
    pub source: PathBuf,
    /// Made where it is missing (a user's own folder below the home), or an error.
    pub make: bool,
    /// What may be done at most.
    pub permissions: Permissions,
    /// Whether its bytes count for the user's quota.
    pub counts: bool,
}

/// What a user's tree is made of.
#[derive(Clone, Debug)]
pub struct TreeSpec {
    /// Whose.
    pub owner: UserName,
    /// Mounts; one is at `/`.
    pub mounts: Vec<MountSpec>,
    /// Rights by path; the longest matching folder wins, [`TreeSpec::otherwise`] where none matches.
    pub rules: Vec<(VPath, Permissions)>,
    /// Rights where no rule matches.
    pub otherwise: Permissions,
    /// Limit of the bytes that count.
    pub quota: Option<ByteSize>,
}

/// The store of the process. Cheap to clone.
#[derive(Clone)]
pub struct Storage {
    shared: Arc<Shared>,
}

/// What views hold of the store.
pub(crate) struct Shared {
    settings: Mutex<StorageSettings>,
    pub(crate) events: EventBus,
    pub(crate) locks: LockTable,
    /// Changes of properties read, merge and write: one at a time.
    pub(crate) properties: tokio::sync::Mutex<()>,
    roots: Mutex<HashMap<PathBuf, WeakRoot>>,
    /// Stores that are no folders of the host, by the source that stands for them.
    stores: Mutex<HashMap<PathBuf, Arc<dyn Backend>>>,
    accounts: Mutex<HashMap<UserName, Arc<Account>>>,
    sessions: Mutex<HashMap<(UserName, String), Weak<Session>>>,
}

impl Storage {
    /// Makes the store. Nothing is opened yet.
    #[must_use]
    pub fn new(settings: StorageSettings, events: EventBus) -> Self {
        Self {
            shared: Arc::new(Shared {
                settings: Mutex::new(settings),
                events,
                locks: LockTable::default(),
                properties: tokio::sync::Mutex::default(),
                roots: Mutex::default(),
                stores: Mutex::default(),
                accounts: Mutex::default(),
                sessions: Mutex::default(),
            }),
        }
    }

    /// Takes over changed settings; sessions that live keep theirs.
    pub fn reconfigure(&self, settings: StorageSettings) {
        *hold(&self.shared.settings) = settings;
    }

    /// Takes over changed limits of locks.
    pub fn limit_locks(&self, limits: LockLimits) {
        self.shared.locks.limit(limits);
    }

    /// From now on mounts with this `source` are `store`, and no folder of the host: for programs that bring stores of their own.
    /// Sessions that live keep what they have.
    pub fn register(&self, source: PathBuf, store: Arc<dyn Backend>) {
        hold(&self.shared.stores).insert(source, store);
    }

    /// Opens a user's tree for one session: `session` is the id in events, and the scope of "the same session" in files.md.
    ///
    /// A user with a quota has their files counted at the first session; that can take a while for a large tree. The quota is
    /// of the root and not of who wrote there: of several users with one root each is charged for what was there at the count
    /// and for their own changes since, and counted anew whenever they come back after their last session ended.
    ///
    /// # Errors
    /// [`VfsError::Backend`] where a root cannot be opened: the login is denied and the operator told why.
    pub async fn open(&self, tree: TreeSpec, session: String) -> Result<Vfs, VfsError> {
        let durability = hold(&self.shared.settings).durability;
        let (shared, specs) = (Arc::clone(&self.shared), tree.mounts.clone());
        let backends = tokio::task::spawn_blocking(move || {
            specs.iter().map(|spec| shared.store(spec, durability)).collect::<io::Result<Vec<_>>>()
        })
        .await
        .map_err(|_| VfsError::Interrupted)?
        .map_err(|source| VfsError::Backend { action: Action::List, source })?;
        self.open_on(tree, backends, session).await
    }

    /// As [`Storage::open`], with a store of the caller's for each mount in order; what the mounts say of the host's folders
    /// is not looked at.
    ///
    /// # Errors
    /// [`VfsError::Backend`] where the bytes in a store cannot be counted.
    pub async fn open_on(
        &self,
        tree: TreeSpec,
        backends: Vec<Arc<dyn Backend>>,
        session: String,
    ) -> Result<Vfs, VfsError> {
        let settings = hold(&self.shared.settings).clone();
        let (account, idle) = self.shared.account(&tree.owner);
        let mounts = tree.mounts.into_iter().zip(backends);
        let mounts = mounts.map(|(spec, backend)| Mount {
            at: spec.at,
            backend,
            permissions: spec.permissions,
            counts: spec.counts,
        });
        let owner = tree.owner.clone();
        let tree_of = Tree::new(tree.owner, mounts.collect(), tree.rules, tree.otherwise);
        let counted = tree_of.mounts().iter().filter(|mount| mount.counts);
        let stores: Vec<_> = counted.map(|mount| mount.backend.identity().to_vec()).collect();
        account.counts(stores.clone());
        if tree.quota.is_some() {
            let shared = self.shared.others_in(&owner, &stores);
            account.count(idle, shared, usage(&tree_of, owner_tag(&owner))).await?;
        }
        Ok(Vfs::new(View {
            session: self.shared.session(owner, session.clone()),
            shared: Arc::clone(&self.shared),
            tree: tree_of,
            account,
            quota: tree.quota,
            session_id: session,
            upload_keep: settings.upload_keep,
            opened: SystemTime::now(),
        }))
    }

    /// Removes staging files that no upload owns and partials past their time, in the registered stores and below the roots
    /// opened so far and `roots`. Run at start and now and then.
    pub async fn sweep(&self, roots: &[PathBuf]) {
        let keep = hold(&self.shared.settings).upload_keep;
        let mut sources: BTreeSet<PathBuf> = hold(&self.shared.roots).keys().cloned().collect();
        sources.extend(roots.iter().cloned());
        let registered = hold(&self.shared.stores).clone();
        sources.retain(|source| !registered.contains_key(source));
        let shared = Arc::clone(&self.shared);
        let opened = tokio::task::spawn_blocking(move || {
            let opened = sources.into_iter().filter_map(|source| match shared.root(&source, false) {
                Ok(root) => Some(Arc::new(root.backend(Durability::Rename)) as Arc<dyn Backend>),
                Err(error) => {
                    // A user's folder that was removed needs no sweeping.
                    tracing::debug!(%error, "a root cannot be opened for sweeping");
                    None
                }
            });
            opened.collect::<Vec<_>>()
        });
        let mut stores = opened.await.unwrap_or_default();
        stores.sort_by(|a, b| a.identity().cmp(b.identity()));
        let folders = stores.len();
        stores.extend(registered.into_values());
        let mut done: Vec<Vec<u8>> = Vec::new();
        for (place, store) in stores.into_iter().enumerate() {
            let identity = store.identity();
            // A folder below another is swept with it; what a registered store keeps elsewhere is its own affair.
            let swept = |done: &Vec<u8>| match identity.strip_prefix(done.as_slice()) {
                Some([]) => true,
                Some([b'/', ..]) => place < folders,
                _ => false,
            };
            if done.iter().any(swept) {
                continue;
            }
            done.push(identity.to_vec());
            let removed = store.sweep(keep).await;
            self.shared.credit(&removed);
        }
    }

    /// Bytes that count for `owner`'s quota, as far as a session of theirs had them counted.
    #[must_use]
    pub fn usage(&self, owner: &UserName) -> Option<ByteSize> {
        hold(&self.shared.accounts).get(owner).map(|account| ByteSize(account.used()))
    }
}

async fn usage(tree: &Tree, owner: u64) -> Result<Usage, VfsError> {
    let counted = || tree.mounts().iter().filter(|mount| mount.counts);
    let mut roots = Vec::new();
    for mount in counted() {
        roots.push(mount.backend.metadata(&VPath::root()).await?.unique);
    }
    let mut sum = Usage::default();
    let mut seen = BTreeSet::new();
    for mount in counted() {
        // One folder mounted twice is counted once, and one below another not twice.
        if !seen.insert(mount.backend.identity().to_vec()) {
            continue;
        }
        let usage = mount.backend.usage(owner, &roots).await?;
        sum.bytes = sum.bytes.saturating_add(usage.bytes);
        sum.partials.extend(usage.partials);
    }
    Ok(sum)
}

impl Shared {
    /// The store of a mount. Blocking.
    fn store(&self, spec: &MountSpec, durability: Durability) -> io::Result<Arc<dyn Backend>> {
        if let Some(store) = hold(&self.stores).get(&spec.source) {
            return Ok(Arc::clone(store));
        }
        Ok(Arc::new(self.root(&spec.source, spec.make)?.backend(durability)))
    }

    /// Opens a root, or finds it open. Blocking.
    fn root(&self, source: &Path, make: bool) -> io::Result<LocalRoot> {
        let open = hold(&self.roots).get(source).and_then(WeakRoot::upgrade);
        if let Some(root) = open.filter(|root| root.is_current(source)) {
            return Ok(root);
        }
        let root = LocalRoot::open(source, make)?;
        hold(&self.roots).insert(source.to_owned(), root.downgrade());
        Ok(root)
    }

    /// A user's account, and whether nobody else uses it now.
    fn account(&self, owner: &UserName) -> (Arc<Account>, bool) {
        let mut accounts = hold(&self.accounts);
        let account = accounts.entry(owner.clone()).or_default();
        let idle = Arc::strong_count(account) == 1;
        (Arc::clone(account), idle)
    }

    /// Whether others have had their sessions in these stores too.
    fn others_in(&self, owner: &UserName, stores: &[Vec<u8>]) -> bool {
        hold(&self.accounts).iter().any(|(other, account)| other != owner && account.meets(stores))
    }

    fn session(&self, owner: UserName, id: String) -> Arc<Session> {
        let mut sessions = hold(&self.sessions);
        sessions.retain(|_, session| session.strong_count() > 0);
        let slot = sessions.entry((owner, id)).or_default();
        slot.upgrade().unwrap_or_else(|| {
            let session = Arc::new(Session::default());
            *slot = Arc::downgrade(&session);
            session
        })
    }

    /// Gives back the bytes of partials that are gone, whoever removed them.
    pub(crate) fn credit(&self, removed: &[PartialEntry]) {
        if removed.is_empty() {
            return;
        }
        let accounts = hold(&self.accounts);
        let by_tag: HashMap<u64, &Arc<Account>> =
            accounts.iter().map(|(owner, account)| (owner_tag(owner), account)).collect();
        for partial in removed {
            if let Some(account) = by_tag.get(&partial.owner) {
                account.drop_partial(partial);
            }
        }
    }
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
