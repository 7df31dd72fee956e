//! A folder of the host with a store and a spool in it, and short words for what the tests do.

use super::objects::Objects;
use crate::{Settings, Unftp};
use lockgate_events::EventBus;
use lockgate_model::{ByteSize, Permission, UserName, VPath};
use lockgate_vfs::{
    Backend, Durability, Intent, MountSpec, OnAbort, OpenFile, Storage, StorageSettings, TreeSpec, Vfs, VfsError,
};
use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use unftp_core::auth::DefaultUser;

pub(super) const DAY: Duration = Duration::from_secs(86_400);

pub(super) struct House {
    dir: tempfile::TempDir,
}

pub(super) fn path(text: &str) -> VPath {
    VPath::parse(text).unwrap()
}

pub(super) fn alice() -> UserName {
    UserName::new("alice").unwrap()
}

impl House {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("files")).unwrap();
        Self { dir }
    }

    pub(super) fn host(&self, name: &str) -> PathBuf {
        self.dir.path().join("files").join(name)
    }

    pub(super) fn spool(&self) -> PathBuf {
        self.dir.path().join("spool")
    }

    /// The identity is the house's own: names are held by identity in all the process, in which other tests run too.
    fn identity(&self, kind: &str) -> String {
        format!("{kind}:{}", self.dir.path().display())
    }

    pub(super) fn file_settings(&self) -> Settings {
        Settings::files(self.identity("files"), self.spool())
    }

    pub(super) fn object_settings(&self) -> Settings {
        Settings::objects(self.identity("objects"), self.spool())
    }

    pub(super) async fn files(&self) -> Unftp {
        let back_end = unftp_sbe_fs::Filesystem::new(self.host("")).unwrap();
        Unftp::mount(back_end, DefaultUser, self.file_settings()).await.unwrap()
    }

    pub(super) async fn objects(&self, objects: &Objects) -> Unftp {
        Unftp::mount(objects.clone(), DefaultUser, self.object_settings()).await.unwrap()
    }

    /// All names below the folder of the store.
    pub(super) fn on_disk(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.host(""))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

/// Alice's tree with `store` at its root.
pub(super) async fn tree_over(store: &Unftp, quota: Option<u64>) -> (Storage, Vfs) {
    let settings = StorageSettings { durability: Durability::Full, upload_keep: DAY };
    let storage = Storage::new(settings, EventBus::new([]));
    let all = Permission::ALL.into_iter().collect();
    let mounts =
        vec![MountSpec { at: VPath::root(), source: PathBuf::new(), make: false, permissions: all, counts: true }];
    let quota = quota.map(ByteSize);
    let tree = TreeSpec { owner: alice(), mounts, rules: Vec::new(), otherwise: all, quota };
    let vfs = storage.open_on(tree, vec![Arc::new(store.clone())], "session".into()).await.unwrap();
    (storage, vfs)
}

pub(super) async fn store(vfs: &Vfs, name: &str, bytes: &[u8]) -> Result<(), VfsError> {
    let mut upload = vfs.create(&path(name), Intent::Create, OnAbort::Keep).await?;
    upload.write_at(0, bytes).await?;
    upload.commit().await.map(drop)
}

pub(super) async fn read(store: &Unftp, name: &str) -> Result<Vec<u8>, VfsError> {
    let file = store.open(&path(name)).await?;
    let length = usize::try_from(file.metadata().size).unwrap();
    piece(file.as_ref(), 0, length + 1).await
}

pub(super) async fn piece(file: &dyn OpenFile, at: u64, length: usize) -> Result<Vec<u8>, VfsError> {
    let mut bytes = vec![0; length];
    let got = file.read_at(at, &mut bytes).await?;
    bytes.truncate(got);
    Ok(bytes)
}

pub(super) async fn names(store: &Unftp, folder: &str) -> Vec<String> {
    let mut rows = store.list(&path(folder)).await.unwrap();
    let mut names: Vec<String> =
        rows.next_rows(1000).await.unwrap().into_iter().map(|row| String::from_utf8(row.name).unwrap()).collect();
    names.sort();
    names
}

/// Waits for what a dropped value does in a task of its own.
pub(super) async fn until(holds: impl Fn() -> bool) {
    let begin = Instant::now();
    while !holds() {
        assert!(begin.elapsed() < Duration::from_secs(10), "it never happened");
        tokio::task::yield_now().await;
    }
}

/// Bytes of which no two pieces are alike.
pub(super) fn bytes(length: u32) -> Vec<u8> {
    (0..length).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}
