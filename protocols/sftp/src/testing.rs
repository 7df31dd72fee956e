//! What the tests of this door build on: a user's folder of the host, and views of it.

use lockgate_events::EventBus;
use lockgate_model::{Permission, Permissions, UserName, VPath};
use lockgate_vfs::{Durability, MountSpec, Storage, StorageSettings, TreeSpec, Vfs};
use std::{path::PathBuf, time::Duration};

/// The folder of `alice`, gone with the value.
pub(crate) struct Folder {
    dir: tempfile::TempDir,
    storage: Storage,
}

impl Folder {
    /// An empty one.
    pub(crate) fn new() -> Self {
        let settings = StorageSettings { durability: Durability::Rename, upload_keep: Duration::from_secs(3600) };
        Self { dir: tempfile::tempdir().unwrap(), storage: Storage::new(settings, EventBus::default()) }
    }

    /// A session's view of it.
    pub(crate) async fn view(&self, rights: Permissions, session: &str) -> Vfs {
        let source = self.dir.path().join("root");
        let mount = MountSpec { at: VPath::root(), source, make: true, permissions: rights, counts: true };
        let tree = TreeSpec { owner: alice(), mounts: vec![mount], rules: Vec::new(), otherwise: rights, quota: None };
        self.storage.open(tree, session.into()).await.unwrap()
    }

    /// Where a name is on the host.
    pub(crate) fn on_disk(&self, name: &str) -> PathBuf {
        self.dir.path().join("root").join(name)
    }

    /// What is under a name on the host.
    pub(crate) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.on_disk(name)).ok()
    }
}

/// Whose it is.
pub(crate) fn alice() -> UserName {
    UserName::new("alice").unwrap()
}

/// Every right.
pub(crate) fn all_rights() -> Permissions {
    Permission::ALL.into_iter().collect()
}
