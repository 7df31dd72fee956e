//! Storage back-ends made for libunftp (`unftp-sbe-fs`, `-gcs`, `-opendal`, one's own), mounted as stores of the tree, so that
//! the rules of uploads, rights, quotas and locks hold over them on every door.
//!
//! A `StorageBackend` sends a file as one stream and takes one as one stream; a [`Backend`] reads and writes anywhere, and
//! shows nothing before its commit. Between them stands a folder of this host, the *spool*: an upload is written there, can be
//! gone on with from there, and goes to the store as a whole at its commit. Reading opens the stream anew where a client jumps.
//! What a back-end has no call for (times and modes, links, writing in place, renames of objects) is refused as
//! [`VfsError::Unsupported`] or [`VfsError::Impossible`].
//!
//! What is **not** promised, because `unftp-core` has no word for it:
//! * that success means on disk: [`Settings::durability`] repeats what the operator knows of the store and brings nothing about;
//! * that nobody else changes the store in the moment between a look at a name and its change: within this process names are
//!   held meanwhile, other processes are not seen (a commit that may not replace looks, and then renames or puts);
//! * that a validator (ETag) tells two states of one length apart that a store's clock does not;
//! * that a list is small: a back-end hands over whole folders;
//! * times, mode and owner of an upload: the store's own are shown once it is committed.
//!
//! Nothing is reached through a symbolic link of the store: rights are judged by path, and a back-end does not say where a link
//! leads. So each folder on the way is looked at; that costs one question for each, eight at once.
//!
//! Never: a path of the host (a store is asked for `/`, and names of a [`VPath`](lockgate_model::VPath) below it, as libunftp
//! asks), part of the default program.
//!
//! # Mounting
//! A program that puts the rooms together by itself registers the store where it makes the [`Storage`](lockgate_vfs::Storage)
//! that its gate opens trees with; then every door serves it. The default program links no back-end and has no key for one.
//! ```
//! use lockgate_events::EventBus;
//! use lockgate_model::{ByteSize, Permission, UserName, VPath};
//! use lockgate_unftp::{Settings, Unftp};
//! use lockgate_vfs::{Durability, Intent, MountSpec, OnAbort, Storage, StorageSettings, TreeSpec};
//! use std::{sync::Arc, time::Duration};
//! use unftp_core::auth::DefaultUser;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! # std::fs::create_dir(dir.path().join("files"))?;
//! let back_end = unftp_sbe_fs::Filesystem::new(dir.path().join("files"))?;
//! let settings = Settings::files("archive", dir.path().join("spool"));
//! let store = Arc::new(Unftp::mount(back_end, DefaultUser, settings).await?);
//!
//! let keep = Duration::from_secs(24 * 3600);
//! let storage = Storage::new(StorageSettings { durability: Durability::Full, upload_keep: keep }, EventBus::new([]));
//! storage.register("archive".into(), store);
//! let all = Permission::ALL.into_iter().collect();
//! let tree = TreeSpec {
//!     owner: UserName::new("alice")?,
//!     mounts: vec![MountSpec {
//!         at: VPath::root(),
//!         source: "archive".into(),
//!         make: false,
//!         permissions: all,
//!         counts: true,
//!     }],
//!     rules: Vec::new(),
//!     otherwise: all,
//!     quota: Some(ByteSize(1 << 30)),
//! };
//! let alice = storage.open(tree, "session".to_owned()).await?;
//! let mut upload = alice.create(&VPath::parse("/report")?, Intent::Create, OnAbort::Keep).await?;
//! upload.write_at(0, b"all of it, or nothing").await?;
//! upload.commit().await?;
//! # assert_eq!(std::fs::read(dir.path().join("files/report"))?, b"all of it, or nothing");
//!
//! // At start, and now and then: what a crash left, and uploads that nobody went on with.
//! storage.sweep(&[]).await;
//! # Ok(())
//! # }
//! ```

mod backend;
mod calls;
mod names;
mod read;
mod said;
mod staged;
mod store;
#[cfg(test)]
mod tests;
mod walk;

pub use lockgate_vfs::{Backend, VfsError};

use calls::Entered;
use lockgate_vfs::Durability;
use std::{io, path::PathBuf, sync::Arc};
use store::Store;
use unftp_core::{
    auth::UserDetail,
    storage::{FEATURE_RESTART, StorageBackend},
};

/// What the calls of a back-end mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// As of a file system: `rename` replaces a file in one step, `metadata` knows folders and does not follow links, and a
    /// stream that began goes on with the file that it began with. A commit is a `put` under a reserved name in the same folder,
    /// and a `rename`.
    Files,
    /// As of an object store: `put` replaces an object in one step or leaves it, nothing is renamed (files are copied, folders
    /// refused), folders may be known to `cwd` alone, and a stream may come from another object than it began with. A commit is
    /// a `put`. A file of more than 256 KiB that changes while it is read is told as changed; smaller ones are read at once.
    Objects,
}

/// Where `get` can begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reads {
    /// Anywhere, if the back-end offers `FEATURE_RESTART`; otherwise only at the start, and what a client does not want is read
    /// past.
    AsOffered,
    /// Anywhere. For back-ends that do not offer it because of their `put` (`unftp-sbe-gcs`, `unftp-sbe-opendal`).
    Anywhere,
}

/// What the operator says of a store.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Names the store for locks and quotas: the same for two mounts if, and only if, the same path leads to the same file in
    /// both. A user's own part of a store is another store, `store/alice`.
    pub identity: String,
    /// What its calls mean.
    pub model: Model,
    /// Where its reads can begin.
    pub reads: Reads,
    /// What the store itself keeps to once a call has succeeded: [`Durability::Full`] only where a `put` (and, with
    /// [`Model::Files`], a `rename`) that succeeded outlives a loss of power. Only repeated by [`Unftp::durability`].
    pub durability: Durability,
    /// Folder of this host for uploads under way, and for interrupted ones until they are gone on with; it must have room for
    /// them. Several stores may share it. Made, for the server's user alone, where it is missing.
    pub spool: PathBuf,
}

impl Settings {
    /// For a back-end over a file system. [`Durability::Rename`] until the operator knows better: `unftp-sbe-fs` syncs nothing.
    #[must_use]
    pub fn files(identity: impl Into<String>, spool: impl Into<PathBuf>) -> Self {
        Self {
            identity: identity.into(),
            model: Model::Files,
            reads: Reads::AsOffered,
            durability: Durability::Rename,
            spool: spool.into(),
        }
    }

    /// For a back-end over an object store whose reads can begin anywhere. [`Durability::Rename`] until the operator knows
    /// better.
    #[must_use]
    pub fn objects(identity: impl Into<String>, spool: impl Into<PathBuf>) -> Self {
        Self { model: Model::Objects, reads: Reads::Anywhere, ..Self::files(identity, spool) }
    }
}

/// Why a back-end was not mounted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MountError {
    /// The user detail says that the account is disabled.
    #[error("the account is disabled")]
    Disabled,
    /// The identity is empty or ends in a slash.
    #[error("a store needs an identity that is not empty and does not end in a slash")]
    Identity,
    /// The back-end refused the user.
    #[error("the storage back-end does not let the user enter")]
    Enter(#[source] io::Error),
    /// The spool cannot be used.
    #[error("the folder for unfinished uploads cannot be opened: make it writable for the server, or choose another")]
    Spool(#[source] io::Error),
}

/// A mounted back-end. Cheap to clone: all clones are the same store.
#[derive(Clone)]
pub struct Unftp {
    store: Arc<Store>,
}

impl Unftp {
    /// Mounts a back-end for one user, who enters it here and is shown to each of its calls. One mount serves all sessions of
    /// that user, and of all users where the back-end makes no difference between them.
    ///
    /// # Errors
    /// [`MountError`]. Whether the store can be reached is not asked.
    pub async fn mount<S, U>(mut backend: S, user: U, settings: Settings) -> Result<Self, MountError>
    where
        S: StorageBackend<U> + 'static,
        U: UserDetail + 'static,
    {
        if !user.account_enabled() {
            return Err(MountError::Disabled);
        }
        if settings.identity.is_empty() || settings.identity.ends_with('/') {
            return Err(MountError::Identity);
        }
        backend.enter(&user).map_err(MountError::Enter)?;
        if settings.durability != Durability::Full {
            tracing::info!(store = settings.identity, "uploads to this store are whole, but not synced before success");
        }
        let restarts = settings.reads == Reads::Anywhere || backend.supported_features() & FEATURE_RESTART != 0;
        let calls = Box::new(Entered { backend, user, model: settings.model });
        let store = Store::open(calls, settings, restarts).await.map_err(MountError::Spool)?;
        Ok(Self { store: Arc::new(store) })
    }

    /// What success means in this store, as the operator said: the adapter can neither sync a back-end nor see whether it does.
    #[must_use]
    pub fn durability(&self) -> Durability {
        self.store.settings.durability
    }
}
