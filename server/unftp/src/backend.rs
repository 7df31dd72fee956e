//! The store as the tree asks it.

use crate::{Unftp, calls::Row, names::Hold, read::Reading, staged::Staged, store::Store};
use lockgate_model::VPath;
use lockgate_vfs::{
    Action, Backend, Capabilities, Ended, Entry, Facts, FileId, Kind, LastLink, Metadata, OpenFile, Overwrite,
    PartialEntry, PartialKey, Removal, Rows, Space, StagedFile, Usage, VfsError, is_reserved,
};
use std::{sync::Arc, time::Duration, vec};

/// A listing: rows as the back-end gave them, their facts put into the tree's words a batch at a time.
struct Listed {
    store: Arc<Store>,
    folder: VPath,
    rows: vec::IntoIter<Row>,
}

#[async_trait::async_trait]
impl Rows for Listed {
    async fn next_rows(&mut self, limit: usize) -> Result<Vec<Entry>, VfsError> {
        let (store, folder) = (&self.store, &self.folder);
        let rows = self.rows.by_ref().filter(|(name, _)| !is_reserved(name)).filter_map(|(name, seen)| {
            let metadata = store.metadata(&folder.child(&name).ok()?, &seen);
            Some(Entry { name, metadata })
        });
        Ok(rows.take(limit).collect())
    }
}

impl Unftp {
    /// The spool has no folder for a name of which no upload was ever begun.
    fn none<T>(found: Result<Option<T>, VfsError>) -> Result<Option<T>, VfsError> {
        match found {
            Err(VfsError::NotFound(_) | VfsError::NotFolder(_)) => Ok(None),
            found => found,
        }
    }

    /// An upload whose bytes the spool has.
    fn over(&self, path: &VPath, spooled: Option<Box<dyn StagedFile>>) -> Option<Box<dyn StagedFile>> {
        let staged = Staged::new(Arc::clone(&self.store), path.clone(), spooled?);
        Some(Box::new(staged))
    }

    async fn rename_held(&self, from: &VPath, to: &VPath, overwrite: Overwrite) -> Result<Option<u64>, VfsError> {
        let source = self.store.find(from).await?;
        let target = self.store.find_or_free(to).await?;
        match (source.kind, target.as_ref().map(|seen| seen.kind)) {
            (_, Some(_)) if overwrite == Overwrite::Refuse => return Err(VfsError::Exists(to.clone())),
            (Kind::Folder, Some(Kind::Folder)) => {
                let inside = self.store.calls.list(to).await?;
                if inside.more || inside.rows.iter().any(|(name, _)| !is_reserved(name)) {
                    return Err(VfsError::NotEmpty(to.clone()));
                }
            }
            (Kind::Folder, Some(_)) => return Err(VfsError::NotFolder(to.clone())),
            (_, Some(Kind::Folder)) => return Err(VfsError::IsFolder(to.clone())),
            _ => {}
        }
        self.store.calls.rename(from, to, from).await?;
        if source.kind == Kind::Folder {
            self.rename_spooled(from, to).await;
        }
        Ok(target.map(|seen| seen.size))
    }

    /// Unfinished uploads go with their folder, where there are any.
    async fn rename_spooled(&self, from: &VPath, to: &VPath) {
        let spool = &self.store.spool;
        let moved = async {
            self.store.make_spool_folder(to).await?;
            spool.rename(from, to, Overwrite::Replace).await
        };
        match moved.await {
            Ok(_) | Err(VfsError::NotFound(_)) => {}
            Err(error) => tracing::debug!(%error, "interrupted uploads stay under the old name of their folder"),
        }
    }
}

#[async_trait::async_trait]
impl Backend for Unftp {
    fn identity(&self) -> &[u8] {
        self.store.settings.identity.as_bytes()
    }

    fn capabilities(&self) -> Capabilities {
        let rename = self.store.model() == crate::Model::Files;
        Capabilities { links: false, properties: false, patch: false, rename }
    }

    fn resolve(&self, path: &VPath, _last: LastLink) -> Result<VPath, VfsError> {
        // Nothing is reached through a link, so there is nothing else that a path could stand for.
        Ok(path.clone())
    }

    async fn metadata(&self, path: &VPath) -> Result<Metadata, VfsError> {
        let seen = self.store.find(path).await?;
        Ok(self.store.metadata(path, &seen))
    }

    async fn open(&self, path: &VPath) -> Result<Box<dyn OpenFile>, VfsError> {
        Ok(Box::new(Reading::open(Arc::clone(&self.store), path).await?))
    }

    async fn list(&self, path: &VPath) -> Result<Box<dyn Rows>, VfsError> {
        match self.store.find(path).await?.kind {
            Kind::Folder => {}
            Kind::File => return Err(VfsError::NotFolder(path.clone())),
            Kind::Link => return Err(VfsError::NotFound(path.clone())),
        }
        let rows = self.store.calls.list(path).await?.rows.into_iter();
        Ok(Box::new(Listed { store: Arc::clone(&self.store), folder: path.clone(), rows }))
    }

    async fn stage(&self, path: &VPath) -> Result<Box<dyn StagedFile>, VfsError> {
        self.store.way(path).await?;
        let spooled = self.store.spooled(path).await?;
        Ok(Box::new(Staged::new(Arc::clone(&self.store), path.clone(), spooled)))
    }

    async fn patch(&self, _path: &VPath, _append: bool) -> Result<Box<dyn StagedFile>, VfsError> {
        Err(VfsError::Unsupported(Action::Write))
    }

    async fn partial(&self, path: &VPath, key: &PartialKey) -> Result<Option<Metadata>, VfsError> {
        Self::none(self.store.spool.partial(path, key).await)
    }

    async fn resume(&self, path: &VPath, key: &PartialKey) -> Result<Option<Box<dyn StagedFile>>, VfsError> {
        Ok(self.over(path, Self::none(self.store.spool.resume(path, key).await)?))
    }

    async fn go_on(&self, path: &VPath, key: &PartialKey) -> Result<Option<Box<dyn StagedFile>>, VfsError> {
        Ok(self.over(path, Self::none(self.store.spool.go_on(path, key).await)?))
    }

    async fn drop_partial(&self, path: &VPath, key: &PartialKey) -> Result<Option<PartialEntry>, VfsError> {
        Self::none(self.store.spool.drop_partial(path, key).await)
    }

    async fn make_folder(&self, path: &VPath) -> Result<(), VfsError> {
        let Some(parent) = path.parent() else { return Err(VfsError::Exists(path.clone())) };
        let _held = self.store.hold(&[(path, Hold::Changes), (&parent, Hold::Stays)]).await;
        match self.store.find_or_free(path).await? {
            Some(_) => Err(VfsError::Exists(path.clone())),
            None => self.store.calls.make_folder(path).await,
        }
    }

    async fn remove_file(&self, path: &VPath) -> Result<u64, VfsError> {
        let _held = self.store.hold(&[(path, Hold::Changes)]).await;
        let seen = self.store.find(path).await?;
        if seen.kind == Kind::Folder {
            return Err(VfsError::IsFolder(path.clone()));
        }
        self.store.calls.remove_file(path).await?;
        Ok(seen.size)
    }

    async fn remove_folder(&self, path: &VPath) -> Removal {
        if path.is_root() {
            return root_stays();
        }
        self.store.remove_folder(path).await
    }

    async fn remove_tree(&self, path: &VPath, ended: &Ended) -> Removal {
        if path.is_root() {
            return root_stays();
        }
        self.store.remove_tree(path, ended).await
    }

    async fn rename(&self, from: &VPath, to: &VPath, overwrite: Overwrite) -> Result<Option<u64>, VfsError> {
        let impossible = || VfsError::Impossible { action: Action::Rename, path: from.clone() };
        if !self.capabilities().rename || to.is_within(from) {
            return Err(impossible());
        }
        let (Some(old), Some(new)) = (from.parent(), to.parent()) else { return Err(impossible()) };
        let names = [(from, Hold::Changes), (to, Hold::Changes), (&old, Hold::Stays), (&new, Hold::Stays)];
        let _held = self.store.hold(&names).await;
        self.rename_held(from, to, overwrite).await
    }

    async fn set_facts(&self, path: &VPath, _facts: Facts) -> Result<(), VfsError> {
        self.store.find(path).await?;
        Err(VfsError::Unsupported(Action::SetFacts))
    }

    async fn read_link(&self, path: &VPath) -> Result<Vec<u8>, VfsError> {
        self.store.find(path).await?.target.ok_or(VfsError::Unsupported(Action::Link))
    }

    async fn symlink(&self, _target: &[u8], _path: &VPath) -> Result<(), VfsError> {
        Err(VfsError::Unsupported(Action::Link))
    }

    async fn hard_link(&self, _from: &VPath, _to: &VPath) -> Result<u64, VfsError> {
        Err(VfsError::Unsupported(Action::Link))
    }

    /// That of the spool: no upload can be longer, and a store does not say how much room it has.
    async fn space(&self, _path: &VPath) -> Result<Space, VfsError> {
        self.store.spool.space(&VPath::root()).await
    }

    async fn properties(&self, _path: &VPath) -> Result<Vec<u8>, VfsError> {
        Err(VfsError::Unsupported(Action::SetFacts))
    }

    async fn set_properties(&self, _path: &VPath, _value: &[u8]) -> Result<(), VfsError> {
        Err(VfsError::Unsupported(Action::SetFacts))
    }

    async fn usage(&self, owner: u64, skip: &[FileId]) -> Result<Usage, VfsError> {
        self.store.usage(owner, skip).await
    }

    async fn partials(&self, owner: u64) -> Result<Vec<PartialEntry>, VfsError> {
        self.store.spool.partials(owner).await
    }

    async fn sync_folder_of(&self, path: &VPath) -> Result<(), VfsError> {
        self.store.spool.sync_folder_of(path).await
    }

    async fn sweep(&self, keep: Duration) -> Vec<PartialEntry> {
        self.store.sweep(keep).await
    }
}

fn root_stays() -> Removal {
    let refusal = VfsError::Forbidden { action: Action::Delete, path: VPath::root() };
    Removal { bytes: 0, partials: Vec::new(), outcome: Err(refusal) }
}
