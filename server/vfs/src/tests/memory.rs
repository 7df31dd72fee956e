//! A store in memory: no descriptors, no links, no properties, no patches. It is here to show that nothing above the port
//! needs a file system.

use crate::{
    Action, Backend, Capabilities, Ended, Entry, Facts, FileId, Kept, Kind, LastLink, Metadata, OpenFile, Overwrite,
    PartialEntry, PartialKey, Published, Removal, Rows, Space, StagedFile, Usage, VfsError,
};
use lockgate_model::VPath;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

#[derive(Clone, Default)]
pub(super) struct MemoryStore(Arc<Mutex<Disk>>);

#[derive(Default)]
struct Disk {
    nodes: BTreeMap<VPath, Node>,
    partials: BTreeMap<(VPath, String), (u64, Node)>,
    last: u64,
    /// What was done to put partials on the disk, in order.
    done: Vec<&'static str>,
    /// Whether syncs fail.
    failing: bool,
}

impl Disk {
    fn sync(&self) -> Result<(), VfsError> {
        let source = || std::io::ErrorKind::Other.into();
        if self.failing { Err(VfsError::Backend { action: Action::Write, source: source() }) } else { Ok(()) }
    }
}

#[derive(Clone)]
struct Node {
    id: u64,
    /// `None` for a folder.
    bytes: Option<Arc<Vec<u8>>>,
    facts: Facts,
}

impl Node {
    fn len(&self) -> u64 {
        self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)
    }

    fn metadata(&self) -> Metadata {
        Metadata {
            kind: if self.bytes.is_some() { Kind::File } else { Kind::Folder },
            size: self.len(),
            modified: self.facts.modified.unwrap_or(UNIX_EPOCH),
            accessed: self.facts.accessed.unwrap_or(UNIX_EPOCH),
            mode: self.facts.mode.unwrap_or(0o644),
            uid: 0,
            gid: 0,
            links: 1,
            unique: (0, self.id),
            etag: format!("{}-{}", self.id, self.len()),
        }
    }
}

fn not_found(path: &VPath) -> VfsError {
    VfsError::NotFound(path.clone())
}

impl Disk {
    fn node(&self, path: &VPath) -> Result<Node, VfsError> {
        if path.is_root() {
            return Ok(Node { id: 0, bytes: None, facts: Facts::default() });
        }
        self.nodes.get(path).cloned().ok_or_else(|| not_found(path))
    }

    fn folder(&self, path: &VPath) -> Result<u64, VfsError> {
        match self.node(path)? {
            Node { bytes: None, id, .. } => Ok(id),
            _ => Err(VfsError::NotFolder(path.clone())),
        }
    }

    fn parent(&self, path: &VPath) -> Result<u64, VfsError> {
        self.folder(&path.parent().unwrap())
    }

    fn fresh(&mut self, bytes: Option<Arc<Vec<u8>>>) -> Node {
        self.last += 1;
        Node { id: self.last, bytes, facts: Facts::default() }
    }

    fn below(&self, path: &VPath) -> Vec<VPath> {
        self.nodes.keys().filter(|node| *node != path && node.is_within(path)).cloned().collect()
    }

    fn take_partials(&mut self, folder: &VPath) -> Vec<PartialEntry> {
        let keys: Vec<_> = self.partials.keys().filter(|(at, _)| at.is_within(folder)).cloned().collect();
        keys.into_iter().map(|key| entry(&self.partials.remove(&key).unwrap())).collect()
    }
}

fn entry((owner, node): &(u64, Node)) -> PartialEntry {
    PartialEntry { owner: *owner, id: (0, node.id), bytes: node.len() }
}

fn slot(path: &VPath, key: &PartialKey) -> (VPath, String) {
    (path.parent().unwrap(), key.file_name())
}

impl MemoryStore {
    fn disk(&self) -> MutexGuard<'_, Disk> {
        self.0.lock().unwrap()
    }

    /// Lets syncs fail from now on, or succeed.
    pub(super) fn fail(&self, failing: bool) {
        self.disk().failing = failing;
    }

    pub(super) fn done(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.disk().done)
    }

    fn staged(&self, path: &VPath, bytes: Vec<u8>, id: u64) -> Box<dyn StagedFile> {
        let folder = self.disk().parent(path).unwrap();
        Box::new(Staged { store: self.clone(), path: path.clone(), folder, bytes, id, facts: Facts::default() })
    }
}

struct Staged {
    store: MemoryStore,
    path: VPath,
    folder: u64,
    bytes: Vec<u8>,
    id: u64,
    facts: Facts,
}

fn read(bytes: &[u8], offset: u64, buffer: &mut [u8]) -> usize {
    let rest = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
    let got = rest.len().min(buffer.len());
    buffer[..got].copy_from_slice(&rest[..got]);
    got
}

#[async_trait::async_trait]
impl StagedFile for Staged {
    async fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), VfsError> {
        let at = usize::try_from(offset).unwrap();
        self.bytes.resize(self.bytes.len().max(at + data.len()), 0);
        self.bytes[at..at + data.len()].copy_from_slice(data);
        Ok(())
    }

    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, VfsError> {
        Ok(read(&self.bytes, offset, buffer))
    }

    async fn set_len(&mut self, length: u64) -> Result<(), VfsError> {
        self.store.disk().done.push("cut");
        self.bytes.resize(usize::try_from(length).unwrap(), 0);
        Ok(())
    }

    fn metadata(&self) -> Result<Metadata, VfsError> {
        Ok(Node { id: self.id, bytes: Some(Arc::new(self.bytes.clone())), facts: self.facts }.metadata())
    }

    fn set_facts(&mut self, facts: Facts) {
        self.facts = self.facts.then(facts);
    }

    async fn sync(&mut self) -> Result<(), VfsError> {
        let mut disk = self.store.disk();
        disk.done.push("sync");
        disk.sync()
    }

    async fn settle(&mut self) -> Result<(), VfsError> {
        self.store.disk().sync()
    }

    async fn publish(mut self: Box<Self>, overwrite: Overwrite) -> Result<Published, VfsError> {
        let mut disk = self.store.disk();
        let parent = self.path.parent().unwrap();
        if disk.folder(&parent).ok() != Some(self.folder) {
            return Err(VfsError::NotFound(parent));
        }
        let old = disk.nodes.get(&self.path);
        match old {
            Some(Node { bytes: None, .. }) => return Err(VfsError::IsFolder(self.path.clone())),
            Some(_) if overwrite == Overwrite::Refuse => return Err(VfsError::Exists(self.path.clone())),
            _ => {}
        }
        let replaced = old.map(Node::len);
        let facts = Facts { modified: Some(SystemTime::now()), ..Facts::default() }.then(self.facts);
        let node = Node { id: self.id, bytes: Some(Arc::new(std::mem::take(&mut self.bytes))), facts };
        let metadata = node.metadata();
        disk.nodes.insert(self.path.clone(), node);
        Ok(Published { metadata, replaced })
    }

    fn keep(mut self: Box<Self>, key: &PartialKey, length: u64) -> Option<Kept> {
        self.bytes.truncate(usize::try_from(length).ok()?);
        let mut disk = self.store.disk();
        disk.done.push("keep");
        let node = Node { id: self.id, bytes: Some(Arc::new(self.bytes.clone())), facts: Facts::default() };
        let held = (key.owner_tag(), node);
        let partial = entry(&held);
        let replaced = disk.partials.insert(slot(&self.path, key), held).map(|old| entry(&old));
        Some(Kept { partial, replaced })
    }

    fn discard(self: Box<Self>) {}
}

struct Open(Node, Metadata);

#[async_trait::async_trait]
impl OpenFile for Open {
    fn metadata(&self) -> &Metadata {
        &self.1
    }

    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, VfsError> {
        Ok(read(self.0.bytes.as_ref().unwrap(), offset, buffer))
    }
}

struct Listed(Vec<Entry>);

#[async_trait::async_trait]
impl Rows for Listed {
    async fn next_rows(&mut self, limit: usize) -> Result<Vec<Entry>, VfsError> {
        let rest = self.0.split_off(limit.min(self.0.len()));
        Ok(std::mem::replace(&mut self.0, rest))
    }
}

#[async_trait::async_trait]
impl Backend for MemoryStore {
    fn identity(&self) -> &[u8] {
        b"memory:"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { links: false, properties: false, patch: false, rename: true }
    }

    fn resolve(&self, path: &VPath, _last: LastLink) -> Result<VPath, VfsError> {
        Ok(path.clone())
    }

    async fn metadata(&self, path: &VPath) -> Result<Metadata, VfsError> {
        Ok(self.disk().node(path)?.metadata())
    }

    async fn open(&self, path: &VPath) -> Result<Box<dyn OpenFile>, VfsError> {
        match self.disk().node(path)? {
            Node { bytes: None, .. } => Err(VfsError::IsFolder(path.clone())),
            node => Ok(Box::new(Open(node.clone(), node.metadata()))),
        }
    }

    async fn list(&self, path: &VPath) -> Result<Box<dyn Rows>, VfsError> {
        let disk = self.disk();
        disk.folder(path)?;
        let inside = disk.nodes.iter().filter(|(name, _)| name.parent().as_ref() == Some(path));
        let rows =
            inside.map(|(name, node)| Entry { name: name.file_name().unwrap().to_vec(), metadata: node.metadata() });
        Ok(Box::new(Listed(rows.collect())))
    }

    async fn stage(&self, path: &VPath) -> Result<Box<dyn StagedFile>, VfsError> {
        let id = {
            let mut disk = self.disk();
            disk.parent(path)?;
            disk.fresh(None).id
        };
        Ok(self.staged(path, Vec::new(), id))
    }

    async fn patch(&self, _path: &VPath, _append: bool) -> Result<Box<dyn StagedFile>, VfsError> {
        Err(VfsError::Unsupported(Action::Write))
    }

    async fn partial(&self, path: &VPath, key: &PartialKey) -> Result<Option<Metadata>, VfsError> {
        Ok(self.disk().partials.get(&slot(path, key)).map(|(_, node)| node.metadata()))
    }

    async fn resume(&self, path: &VPath, key: &PartialKey) -> Result<Option<Box<dyn StagedFile>>, VfsError> {
        let taken = self.disk().partials.remove(&slot(path, key));
        Ok(taken.map(|(_, node)| self.staged(path, node.bytes.unwrap().to_vec(), node.id)))
    }

    async fn drop_partial(&self, path: &VPath, key: &PartialKey) -> Result<Option<PartialEntry>, VfsError> {
        Ok(self.disk().partials.remove(&slot(path, key)).map(|held| entry(&held)))
    }

    async fn make_folder(&self, path: &VPath) -> Result<(), VfsError> {
        let mut disk = self.disk();
        disk.parent(path)?;
        if disk.nodes.contains_key(path) {
            return Err(VfsError::Exists(path.clone()));
        }
        let node = disk.fresh(None);
        disk.nodes.insert(path.clone(), node);
        Ok(())
    }

    async fn remove_file(&self, path: &VPath) -> Result<u64, VfsError> {
        let mut disk = self.disk();
        match disk.node(path)? {
            Node { bytes: None, .. } => Err(VfsError::IsFolder(path.clone())),
            _ => Ok(disk.nodes.remove(path).unwrap().len()),
        }
    }

    async fn remove_folder(&self, path: &VPath) -> Removal {
        let mut disk = self.disk();
        let outcome = disk
            .folder(path)
            .and_then(|_| if disk.below(path).is_empty() { Ok(()) } else { Err(VfsError::NotEmpty(path.clone())) });
        let mut partials = Vec::new();
        if outcome.is_ok() {
            partials = disk.take_partials(path);
            disk.nodes.remove(path);
        }
        Removal { bytes: 0, partials, outcome }
    }

    async fn remove_tree(&self, path: &VPath, _ended: &Ended) -> Removal {
        let mut disk = self.disk();
        if let Err(error) = disk.folder(path) {
            return Removal { bytes: 0, partials: Vec::new(), outcome: Err(error) };
        }
        let bytes = disk.below(path).iter().map(|node| disk.nodes.remove(node).unwrap().len()).sum();
        disk.nodes.remove(path);
        Removal { bytes, partials: disk.take_partials(path), outcome: Ok(()) }
    }

    async fn rename(&self, from: &VPath, to: &VPath, overwrite: Overwrite) -> Result<Option<u64>, VfsError> {
        let mut disk = self.disk();
        disk.node(from)?;
        disk.parent(to)?;
        if to.is_within(from) {
            return Err(VfsError::Impossible { action: Action::Rename, path: from.clone() });
        }
        let replaced = disk.nodes.get(to).map(Node::len);
        if replaced.is_some() && overwrite == Overwrite::Refuse {
            return Err(VfsError::Exists(to.clone()));
        }
        if !disk.below(to).is_empty() {
            return Err(VfsError::NotEmpty(to.clone()));
        }
        let mut moved = disk.below(from);
        moved.push(from.clone());
        for old in moved {
            let node = disk.nodes.remove(&old).unwrap();
            let rest = old.strip(from).unwrap();
            disk.nodes.insert(to.join(rest).unwrap(), node);
        }
        Ok(replaced)
    }

    async fn set_facts(&self, path: &VPath, facts: Facts) -> Result<(), VfsError> {
        let mut disk = self.disk();
        let node = disk.nodes.get_mut(path).ok_or_else(|| not_found(path))?;
        node.facts = node.facts.then(facts);
        Ok(())
    }

    async fn read_link(&self, _path: &VPath) -> Result<Vec<u8>, VfsError> {
        Err(VfsError::Unsupported(Action::Link))
    }

    async fn symlink(&self, _target: &[u8], _path: &VPath) -> Result<(), VfsError> {
        Err(VfsError::Unsupported(Action::Link))
    }

    async fn hard_link(&self, _from: &VPath, _to: &VPath) -> Result<u64, VfsError> {
        Err(VfsError::Unsupported(Action::Link))
    }

    async fn space(&self, path: &VPath) -> Result<Space, VfsError> {
        self.disk().node(path)?;
        let room = 1 << 40;
        Ok(Space { total: room, free: room, used: 0, block: 1, files: room, files_free: room, name_max: 255 })
    }

    async fn properties(&self, _path: &VPath) -> Result<Vec<u8>, VfsError> {
        Err(VfsError::Unsupported(Action::SetFacts))
    }

    async fn set_properties(&self, _path: &VPath, _value: &[u8]) -> Result<(), VfsError> {
        Err(VfsError::Unsupported(Action::SetFacts))
    }

    async fn usage(&self, owner: u64, skip: &[FileId]) -> Result<Usage, VfsError> {
        let disk = self.disk();
        let skipped =
            |path: &VPath| disk.nodes.iter().any(|(at, node)| skip.contains(&(0, node.id)) && path.is_within(at));
        let bytes = disk.nodes.iter().filter(|(path, _)| !skipped(path)).map(|(_, node)| node.len()).sum();
        let partials = disk.partials.values().filter(|(tag, _)| *tag == owner).map(entry).collect();
        Ok(Usage { bytes, partials })
    }

    async fn sync_folder_of(&self, _path: &VPath) -> Result<(), VfsError> {
        self.disk().done.push("sync folder");
        Ok(())
    }

    async fn sweep(&self, keep: Duration) -> Vec<PartialEntry> {
        if keep.is_zero() { self.disk().take_partials(&VPath::root()) } else { Vec::new() }
    }
}
