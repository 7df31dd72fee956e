//! Walking whole trees of a store: counting, sweeping, removing. No recursion; memory is that of the lists of the folders on the
//! way, which a back-end hands over whole.

use crate::{
    calls::{Row, Seen},
    names::{self, Hold},
    store::Store,
};
use lockgate_model::VPath;
use lockgate_vfs::{Ended, FileId, Kind, PartialEntry, Removal, Usage, VfsError, is_reserved, is_staged};
use std::{
    sync::Arc,
    time::{Duration, SystemTime},
    vec,
};

/// What a walk comes to.
enum Step {
    /// A file or link, or a folder that can be entered.
    Name(VPath, Seen),
    /// A folder of which everything was seen.
    Left(VPath),
}

struct Walk {
    store: Arc<Store>,
    levels: Vec<(VPath, vec::IntoIter<Row>)>,
}

impl Walk {
    fn new(store: &Arc<Store>) -> Self {
        Self { store: Arc::clone(store), levels: Vec::new() }
    }

    /// Goes into a folder. One that went meanwhile is empty.
    async fn enter(&mut self, folder: VPath) -> Result<(), VfsError> {
        let rows = match self.store.calls.list(&folder).await {
            Err(VfsError::NotFound(_)) => Vec::new(),
            inside => inside?.rows,
        };
        self.levels.push((folder, rows.into_iter()));
        Ok(())
    }

    fn next(&mut self) -> Option<Step> {
        loop {
            let (folder, rows) = self.levels.last_mut()?;
            let Some((name, seen)) = rows.next() else {
                return self.levels.pop().map(|(folder, _)| Step::Left(folder));
            };
            // Deeper than a path can say: no door leads there.
            if let Ok(path) = folder.child(name) {
                return Some(Step::Name(path, seen));
            }
        }
    }
}

fn last(path: &VPath) -> &[u8] {
    path.file_name().unwrap_or_default()
}

impl Store {
    pub(crate) async fn usage(self: &Arc<Self>, owner: u64, skip: &[FileId]) -> Result<Usage, VfsError> {
        let (mut bytes, mut skipped) = (0_u64, Vec::new());
        let mut walk = Walk::new(self);
        walk.enter(VPath::root()).await?;
        while let Some(step) = walk.next() {
            let Step::Name(path, seen) = step else { continue };
            match seen.kind {
                Kind::Folder if skip.contains(&self.id(&path)) => {
                    skipped.extend(self.spool.metadata(&path).await.map(|metadata| metadata.unique));
                }
                Kind::Folder => match walk.enter(path).await {
                    Err(VfsError::Forbidden { .. }) => {}
                    entered => entered?,
                },
                Kind::File if !is_reserved(last(&path)) => bytes = bytes.saturating_add(seen.size),
                Kind::File | Kind::Link => {}
            }
        }
        let partials = self.spool.usage(owner, &skipped).await?.partials;
        Ok(Usage { bytes, partials })
    }

    pub(crate) async fn sweep(self: &Arc<Self>, keep: Duration) -> Vec<PartialEntry> {
        let partials = self.spool.sweep(keep).await;
        self.prune_spool().await;
        if let Err(error) = self.sweep_store(keep).await {
            tracing::warn!(store = self.settings.identity, %error, "a store could not be swept whole");
        }
        partials
    }

    async fn sweep_store(self: &Arc<Self>, keep: Duration) -> Result<(), VfsError> {
        let mut walk = Walk::new(self);
        walk.enter(VPath::root()).await?;
        while let Some(step) = walk.next() {
            let Step::Name(path, seen) = step else { continue };
            // Another process may be about to commit what is young.
            let old = SystemTime::now().duration_since(seen.modified).unwrap_or_default() >= keep;
            match seen.kind {
                Kind::Folder => walk.enter(path).await?,
                Kind::File if is_staged(last(&path)) && old && names::is_free(&self.settings.identity, &path) => {
                    self.calls.remove_file(&path).await?;
                }
                Kind::File | Kind::Link => {}
            }
        }
        Ok(())
    }

    pub(crate) async fn remove_tree(self: &Arc<Self>, top: &VPath, ended: &Ended) -> Removal {
        let mut bytes = 0;
        let outcome = self.remove_below(top, ended, &mut bytes).await;
        let partials = if outcome.is_ok() { self.drop_spooled(top).await } else { Vec::new() };
        Removal { bytes, partials, outcome }
    }

    async fn remove_below(self: &Arc<Self>, top: &VPath, ended: &Ended, bytes: &mut u64) -> Result<(), VfsError> {
        self.require_folder(top).await?;
        let mut walk = Walk::new(self);
        walk.enter(top.clone()).await?;
        while let Some(step) = walk.next() {
            if ended.is_over() {
                return Err(VfsError::Interrupted);
            }
            let (path, done) = match step {
                Step::Name(path, seen) if seen.kind == Kind::Folder => {
                    walk.enter(path).await?;
                    continue;
                }
                Step::Name(path, seen) => {
                    let done = self.remove_seen(&path, &seen, bytes).await;
                    (path, done)
                }
                Step::Left(path) => {
                    let done = self.remove_empty(&path).await;
                    (path, done)
                }
            };
            match done {
                // A folder of an object store is gone with the last thing in it.
                Err(VfsError::NotFound(missing)) if missing == path => {}
                done => done?,
            }
        }
        Ok(())
    }

    async fn remove_seen(&self, path: &VPath, seen: &Seen, bytes: &mut u64) -> Result<(), VfsError> {
        if is_staged(last(path)) {
            // An upload that is being committed is not waited for: its folder goes, and it is told so.
            return self.calls.remove_file(path).await;
        }
        let _held = self.hold(&[(path, Hold::Changes)]).await;
        self.calls.remove_file(path).await?;
        *bytes = bytes.saturating_add(seen.size);
        Ok(())
    }

    /// Removes a folder in which there is nothing but what uploads left.
    pub(crate) async fn remove_folder(self: &Arc<Self>, path: &VPath) -> Removal {
        let outcome = match self.require_folder(path).await {
            Ok(()) => self.remove_empty(path).await,
            refused => refused,
        };
        let partials = if outcome.is_ok() { self.drop_spooled(path).await } else { Vec::new() };
        Removal { bytes: 0, partials, outcome }
    }

    async fn require_folder(self: &Arc<Self>, path: &VPath) -> Result<(), VfsError> {
        match self.find(path).await?.kind {
            Kind::Folder => Ok(()),
            Kind::File | Kind::Link => Err(VfsError::NotFolder(path.clone())),
        }
    }

    async fn remove_empty(&self, path: &VPath) -> Result<(), VfsError> {
        // Looked at here, whatever the back-end checks: some remove what is in a folder too. No commit goes in meanwhile.
        let _held = self.hold(&[(path, Hold::Changes)]).await;
        let inside = self.calls.list(path).await?;
        if inside.more || inside.rows.iter().any(|(name, seen)| !is_staged(name) || seen.kind == Kind::Folder) {
            return Err(VfsError::NotEmpty(path.clone()));
        }
        for (name, _) in inside.rows {
            self.calls.remove_file(&path.child(name).map_err(|_| VfsError::BadName)?).await?;
        }
        self.calls.remove_folder(path).await
    }

    /// Drops unfinished uploads whose folder went; the ones that were kept.
    async fn drop_spooled(&self, folder: &VPath) -> Vec<PartialEntry> {
        self.spool.remove_tree(folder, &Ended::default()).await.partials
    }
}
