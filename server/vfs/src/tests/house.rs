//! A folder of the host, a store over it, and short words for what the tests do.

use crate::{
    Committed, Durability, Facts, Intent, MountSpec, OnAbort, Storage, StorageSettings, TreeSpec, Upload, Vfs, VfsError,
};
use lockgate_events::{Event, EventBus, FileAction, Memory};
use lockgate_model::{ByteSize, Permission, Permissions, UserName, VPath};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

pub(super) const DAY: Duration = Duration::from_secs(86_400);

/// A folder with `root` (the user's) and `outside` with a canary in it.
pub(super) struct House {
    pub(super) dir: tempfile::TempDir,
    pub(super) storage: Storage,
    pub(super) events: Arc<Memory>,
}

pub(super) fn path(text: &str) -> VPath {
    VPath::parse(text).unwrap()
}

pub(super) fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

pub(super) fn rights(words: &str) -> Permissions {
    words.parse().unwrap()
}

pub(super) fn all() -> Permissions {
    Permission::ALL.into_iter().collect()
}

pub(super) const CREATE: Intent = Intent::Create;
pub(super) const APPEND: Intent = Intent::Patch { offset: None, append: true };

pub(super) const UNKNOWN: Intent = Intent::Patch { offset: None, append: false };

pub(super) fn patch(offset: u64) -> Intent {
    Intent::Patch { offset: Some(offset), append: false }
}

impl House {
    pub(super) fn new() -> Self {
        Self::with(Durability::Full, DAY)
    }

    pub(super) fn with(durability: Durability, upload_keep: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        std::fs::write(dir.path().join("outside/canary"), b"canary").unwrap();
        let events = Arc::new(Memory::default());
        let storage = Storage::new(StorageSettings { durability, upload_keep }, bus(&events));
        Self { dir, storage, events }
    }

    /// A new process over the same folder.
    pub(super) fn restart(&mut self, upload_keep: Duration) {
        self.storage = Storage::new(StorageSettings { durability: Durability::Full, upload_keep }, bus(&self.events));
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.path().join("root")
    }

    pub(super) fn on_disk(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    pub(super) fn bytes(&self, name: &str) -> Option<Vec<u8>> {
        std::fs::read(self.on_disk(name)).ok()
    }

    pub(super) fn put(&self, name: &str, bytes: &[u8]) {
        if let Some(folder) = self.on_disk(name).parent() {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(self.on_disk(name), bytes).unwrap();
    }

    pub(super) fn tree(&self, owner: &str) -> TreeSpec {
        TreeSpec {
            owner: user(owner),
            mounts: vec![self.mount("/", "root")],
            rules: Vec::new(),
            otherwise: Permissions::full(),
            quota: None,
        }
    }

    pub(super) fn mount(&self, at: &str, folder: &str) -> MountSpec {
        MountSpec { at: path(at), source: self.dir.path().join(folder), make: true, permissions: all(), counts: true }
    }

    pub(super) async fn open(&self, tree: TreeSpec) -> Vfs {
        self.storage.open(tree, "session".into()).await.unwrap()
    }

    pub(super) async fn alice(&self) -> Vfs {
        self.open(self.tree("alice")).await
    }

    pub(super) async fn session(&self, owner: &str, id: &str) -> Vfs {
        self.storage.open(self.tree(owner), id.into()).await.unwrap()
    }

    pub(super) async fn with_quota(&self, owner: &str, quota: u64) -> Vfs {
        self.open(TreeSpec { quota: Some(ByteSize(quota)), ..self.tree(owner) }).await
    }

    pub(super) fn used(&self, owner: &str) -> u64 {
        self.storage.usage(&user(owner)).unwrap().0
    }

    pub(super) fn used_or_zero(&self, owner: &str) -> u64 {
        self.storage.usage(&user(owner)).map_or(0, |used| used.0)
    }

    pub(super) fn actions(&self) -> Vec<(FileAction, String)> {
        let events = self.events.events();
        let files = events.iter().filter_map(|event| match event {
            Event::File { action, path, .. } => Some((*action, path.to_string())),
            _ => None,
        });
        files.collect()
    }

    /// Names in a folder that begin with the reserved prefix.
    pub(super) fn litter(&self, folder: &str) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.on_disk(folder)) else { return Vec::new() };
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(".lockgate-")).collect()
    }

    /// Nothing outside was read into the root, changed, or added to.
    pub(super) fn canary_is_untouched(&self) {
        let outside = self.dir.path().join("outside");
        assert_eq!(std::fs::read(outside.join("canary")).unwrap(), b"canary");
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1, "something was made outside");
    }
}

fn bus(events: &Arc<Memory>) -> EventBus {
    EventBus::new([Arc::clone(events) as Arc<dyn lockgate_events::Sink>])
}

/// What the tests say often.
impl Vfs {
    pub(super) async fn begin_upload(&self, name: &str, intent: Intent, bytes: &[u8]) -> Upload {
        let mut upload = self.create(&path(name), intent, OnAbort::Keep).await.unwrap();
        let at = upload.len();
        upload.write_at(at, bytes).await.unwrap();
        upload
    }

    pub(super) async fn store(&self, name: &str, bytes: &[u8]) -> Result<Committed, VfsError> {
        let mut upload = self.create(&path(name), CREATE, OnAbort::Discard).await?;
        upload.write_at(0, bytes).await?;
        upload.commit().await
    }

    pub(super) async fn fetch(&self, name: &str) -> Result<Vec<u8>, VfsError> {
        let reader = self.open(&path(name)).await?;
        let mut bytes = vec![0; 1 << 20];
        let got = reader.read_at(0, &mut bytes).await?;
        bytes.truncate(got);
        Ok(bytes)
    }

    pub(super) async fn size(&self, name: &str) -> Result<u64, VfsError> {
        Ok(self.stat(&path(name)).await?.size)
    }

    pub(super) async fn names(&self, folder: &str) -> Vec<String> {
        let mut listing = self.list(&path(folder)).await.unwrap();
        let mut names = Vec::new();
        loop {
            let batch = listing.next_batch(3).await.unwrap();
            if batch.is_empty() {
                names.sort();
                return names;
            }
            names.extend(batch.into_iter().map(|row| String::from_utf8(row.name).unwrap()));
        }
    }
}

pub(super) fn at(seconds: u64) -> Facts {
    Facts { modified: Some(std::time::UNIX_EPOCH + Duration::from_secs(seconds)), ..Facts::default() }
}

pub(super) fn exists(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}
