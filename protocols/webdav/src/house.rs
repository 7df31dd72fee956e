//! A folder of the host with a tree over it, for tests.

use lockgate_events::EventBus;
use lockgate_model::{Permissions, UserName, VPath};
use lockgate_vfs::{Durability, Intent, MountSpec, OnAbort, Storage, StorageSettings, TreeSpec, Vfs};
use std::{path::PathBuf, time::Duration};

/// One user's files.
pub(crate) struct House {
    dir: tempfile::TempDir,
    pub(crate) vfs: Vfs,
}

pub(crate) fn path(text: &str) -> VPath {
    VPath::parse(text).unwrap()
}

impl House {
    pub(crate) async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let settings = StorageSettings { durability: Durability::Rename, upload_keep: Duration::from_secs(3600) };
        let tree = TreeSpec {
            owner: UserName::new("alice").unwrap(),
            mounts: vec![MountSpec {
                at: VPath::root(),
                source: dir.path().to_owned(),
                make: false,
                permissions: Permissions::full(),
                counts: true,
            }],
            rules: Vec::new(),
            otherwise: Permissions::full(),
            quota: None,
        };
        let vfs = Storage::new(settings, EventBus::new([])).open(tree, "1".to_owned()).await.unwrap();
        Self { dir, vfs }
    }

    pub(crate) fn on_disk(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The bytes under a name.
    pub(crate) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.on_disk(name)).ok()
    }

    pub(crate) fn put(&self, name: &str, bytes: &[u8]) {
        std::fs::write(self.on_disk(name), bytes).unwrap();
    }

    /// An upload of `name` that was cut after `bytes`.
    pub(crate) async fn interrupted(&self, name: &str, bytes: &[u8]) {
        let mut upload = self.vfs.create(&path(name), Intent::Create, OnAbort::Keep).await.unwrap();
        upload.write_at(0, bytes).await.unwrap();
    }

    /// How much of an upload that was cut is there.
    pub(crate) async fn kept(&self, name: &str) -> Option<u64> {
        self.bytes(name).is_none().then_some(())?;
        self.vfs.stat(&path(name)).await.ok().map(|facts| facts.size)
    }
}
