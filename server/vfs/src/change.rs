//! Operations that change names: making, removing, renaming, linking, and facts.

use crate::{Action, Facts, Kind, LastLink, Overwrite, PartialKey, Removal, Vfs, VfsError, locks::Change, tree::Place};
use lockgate_events::FileAction;
use lockgate_model::{Permission, Permissions, VPath};

/// Runs what must not stop half-way in a task of its own: a caller that goes away does not take it along.
pub(crate) async fn detached<T: Send + 'static>(
    work: impl Future<Output = Result<T, VfsError>> + Send + 'static,
) -> Result<T, VfsError> {
    tokio::spawn(work).await.unwrap_or(Err(VfsError::Interrupted))
}

impl Vfs {
    /// Makes one folder.
    ///
    /// # Errors
    /// [`VfsError::Exists`], [`VfsError::NotFound`] for a missing parent, [`VfsError::Forbidden`].
    pub async fn make_folder(&self, path: &VPath) -> Result<(), VfsError> {
        if self.view.tree.is_fixed(path) {
            return Err(VfsError::Exists(path.clone()));
        }
        self.at(path, Permission::MakeFolder, Action::MakeFolder, LastLink::Keep, |place| async move {
            self.unlocked(&place, Change::Member)?;
            place.mount.backend.make_folder(&place.inner).await
        })
        .await?;
        self.view.announce(FileAction::FolderMade, path, None, None);
        Ok(())
    }

    /// Removes a file or a link (not what it points to), and one's partial of the name.
    ///
    /// # Errors
    /// [`VfsError::NotFound`], [`VfsError::IsFolder`], [`VfsError::Forbidden`], [`VfsError::Locked`].
    pub async fn remove_file(&self, path: &VPath) -> Result<(), VfsError> {
        if self.view.tree.is_fixed(path) {
            return Err(VfsError::IsFolder(path.clone()));
        }
        let bytes = self
            .at(path, Permission::Delete, Action::Delete, LastLink::Keep, |place| async move {
                self.unlocked(&place, Change::Member)?;
                match place.mount.backend.remove_file(&place.inner).await {
                    Ok(bytes) => {
                        self.view.release(&place, bytes);
                        self.locks().forget_key(&place.key());
                        self.drop_own_partial(&place).await?;
                        Ok(bytes)
                    }
                    Err(error @ VfsError::NotFound(_)) => self.drop_own_partial(&place).await?.ok_or(error),
                    failed => failed,
                }
            })
            .await?;
        self.view.announce(FileAction::Deleted, path, None, Some(bytes));
        Ok(())
    }

    /// Drops one's own interrupted upload of a name; its bytes, in the store's own terms.
    pub(crate) async fn drop_own_partial(&self, place: &Place) -> Result<Option<u64>, VfsError> {
        let key = PartialKey::of_name(self.view.tree.owner(), &place.inner);
        let dropped = match place.mount.backend.drop_partial(&place.inner, &key).await {
            Err(VfsError::NotFound(_)) => None,
            done => done?,
        };
        if let Some(partial) = dropped {
            self.view.shared.credit(&[partial]);
        }
        Ok(dropped.map(|partial| partial.bytes))
    }

    /// Removes an empty folder.
    ///
    /// # Errors
    /// [`VfsError::NotEmpty`], [`VfsError::NotFolder`], and as [`Vfs::remove_file`].
    pub async fn remove_folder(&self, path: &VPath) -> Result<(), VfsError> {
        if self.view.tree.is_fixed(path) {
            return Err(self.view.tree.refusal(path, Action::Delete));
        }
        self.at(path, Permission::Delete, Action::Delete, LastLink::Keep, |place| async move {
            self.unlocked(&place, Change::Tree)?;
            let vfs = self.clone();
            detached(async move {
                let removal = place.mount.backend.remove_folder(&place.inner).await;
                vfs.removed(&place, removal)
            })
            .await
        })
        .await?;
        self.view.announce(FileAction::Deleted, path, None, None);
        Ok(())
    }

    /// Removes a file or a folder with everything in it.
    ///
    /// # Errors
    /// As [`Vfs::remove_file`]; what was removed before the error stays removed.
    pub async fn remove_tree(&self, path: &VPath) -> Result<(), VfsError> {
        let tree = &self.view.tree;
        if tree.is_fixed(path) {
            return Err(tree.refusal(path, Action::Delete));
        }
        // Not `lstat`: what may be removed need not be seen.
        let kind = self
            .at(path, Permission::Delete, Action::Delete, LastLink::Keep, |place| async move {
                place.mount.backend.metadata(&place.inner).await.map(|found| found.kind)
            })
            .await;
        match kind {
            Ok(Kind::Folder) => {}
            Ok(_) | Err(VfsError::NotFound(_)) => return self.remove_file(path).await,
            Err(error) => return Err(error),
        }
        let place = self.settled(path, Action::Delete).await?;
        for path in [path, &place.path] {
            tree.require_below(path, Permission::Delete, Action::Delete)?;
            if tree.is_fixed(path) {
                return Err(tree.refusal(path, Action::Delete));
            }
        }
        self.unlocked(&place, Change::Tree).map_err(|error| place.said(error))?;
        let vfs = self.clone();
        detached(async move {
            let removal = place.mount.backend.remove_tree(&place.inner, &vfs.view.session.ended).await;
            vfs.removed(&place, removal).map_err(|error| place.said(error))
        })
        .await?;
        self.view.announce(FileAction::Deleted, path, None, None);
        Ok(())
    }

    pub(crate) fn removed(&self, place: &Place, removal: Removal) -> Result<(), VfsError> {
        self.view.release(place, removal.bytes);
        self.view.shared.credit(&removal.partials);
        if removal.outcome.is_ok() {
            self.locks().forget_key(&place.key());
        }
        removal.outcome
    }

    /// Renames or moves within a store, atomically; between two mounts files are copied, committed and then removed.
    ///
    /// # Errors
    /// [`VfsError::Exists`], [`VfsError::Forbidden`], [`VfsError::Impossible`] (a folder into itself, or between two mounts),
    /// [`VfsError::Locked`].
    pub async fn rename(&self, from: &VPath, to: &VPath, overwrite: Overwrite) -> Result<(), VfsError> {
        let (vfs, from, to) = (self.clone(), from.clone(), to.clone());
        detached(async move { vfs.rename_whole(&from, &to, overwrite).await }).await
    }

    pub(crate) async fn rename_whole(&self, from: &VPath, to: &VPath, overwrite: Overwrite) -> Result<(), VfsError> {
        let tree = &self.view.tree;
        for path in [from, to] {
            // Rights first: a path that may not be touched says nothing of the tree's shape.
            self.spot(path, Permission::Rename, Action::Rename)?;
            if tree.is_fixed(path) {
                return Err(tree.refusal(path, Action::Rename));
            }
        }
        tree.require_below(from, Permission::Rename, Action::Rename)?;
        let source = self.settled(from, Action::Rename).await?;
        let target = self.settled(to, Action::Rename).await?;
        for place in [&source, &target] {
            tree.require_below(&place.path, Permission::Rename, Action::Rename)?;
            if tree.is_fixed(&place.path) {
                return Err(tree.refusal(&place.path, Action::Rename));
            }
        }
        if target.path != source.path && target.path.is_within(&source.path) {
            return Err(VfsError::Impossible { action: Action::Rename, path: from.clone() });
        }
        let found = source.mount.backend.metadata(&source.inner).await.map_err(|error| source.said(error))?;
        if target.path == source.path {
            return Ok(());
        }
        tree.moves(&source.path, &target.path)?;
        let overwrite = self.may_replace(&target, overwrite, Action::Rename).await?;
        self.unlocked(&source, Change::Tree).map_err(|error| source.said(error))?;
        self.unlocked(&target, Change::Tree).map_err(|error| target.said(error))?;
        let moved = if source.same_store(&target) {
            source.mount.backend.rename(&source.inner, &target.inner, overwrite).await
        } else {
            Err(VfsError::Impossible { action: Action::Rename, path: source.inner.clone() })
        };
        match moved {
            Ok(replaced) => self.view.release(&target, replaced.unwrap_or_default()),
            Err(VfsError::Impossible { .. }) if found.kind == Kind::File => {
                self.carry(&source, &target, overwrite).await?
            }
            Err(error) => return Err(source.said(error)),
        }
        self.locks().forget_key(&source.key());
        self.locks().forget_key(&target.key());
        self.view.announce(FileAction::Renamed, from, Some(to), None);
        Ok(())
    }

    /// The place of a path with the links on the way to it resolved, the name itself kept.
    pub(crate) async fn settled(&self, path: &VPath, action: Action) -> Result<Place, VfsError> {
        self.placed(path, LastLink::Keep, action)
    }

    /// The place of a path with the links on the way to it resolved, and at its end as `last` says.
    pub(crate) fn placed(&self, path: &VPath, last: LastLink, action: Action) -> Result<Place, VfsError> {
        self.lives()?;
        let Some(place) = self.view.tree.place(path, action)? else {
            return Err(VfsError::Forbidden { action, path: path.clone() });
        };
        self.led(&place, last, action)
    }

    /// What may be done to the name `target`: to replace something, the right to delete it is needed; without it nothing may
    /// be there, now or when it happens.
    async fn may_replace(&self, target: &Place, wish: Overwrite, action: Action) -> Result<Overwrite, VfsError> {
        if self.view.tree.permissions(&target.path).allows(Permission::Delete) || wish == Overwrite::Refuse {
            return Ok(wish);
        }
        match target.mount.backend.metadata(&target.inner).await {
            Err(VfsError::NotFound(_)) => Ok(Overwrite::Refuse),
            Ok(_) => Err(self.view.tree.refusal(&target.path, action)),
            Err(error) => Err(target.said(error)),
        }
    }

    /// Sets times and mode. Within the session that made it, an open staged upload takes them for its commit.
    ///
    /// # Errors
    /// [`VfsError::NotFound`], [`VfsError::Forbidden`].
    pub async fn set_facts(&self, path: &VPath, facts: Facts) -> Result<(), VfsError> {
        self.at(path, Permission::SetFacts, Action::SetFacts, LastLink::Follow, |place| async move {
            if let Some(upload) = self.view.session.find(&place.key()) {
                upload.set_facts(facts);
                return Ok(());
            }
            if self.view.tree.is_fixed(&place.path) {
                return Err(VfsError::Forbidden { action: Action::SetFacts, path: place.inner.clone() });
            }
            self.unlocked(&place, Change::Content)?;
            place.mount.backend.set_facts(&place.inner, facts).await
        })
        .await
    }

    /// Sets the times of a symbolic link itself, which has no mode of its own.
    ///
    /// # Errors
    /// [`VfsError::NotFound`] where it is no link, [`VfsError::Forbidden`], [`VfsError::Unsupported`] for a mode.
    pub async fn set_link_facts(&self, path: &VPath, facts: Facts) -> Result<(), VfsError> {
        self.at(path, Permission::SetFacts, Action::SetFacts, LastLink::Keep, |place| async move {
            self.unlocked(&place, Change::Content)?;
            place.mount.backend.set_link_facts(&place.inner, facts).await
        })
        .await
    }

    /// Where a symbolic link points, as it stands in the store. A link that leaves the mount says nothing.
    ///
    /// # Errors
    /// [`VfsError::NotFound`], [`VfsError::Unsupported`] where it is no link, [`VfsError::Forbidden`].
    pub async fn read_link(&self, path: &VPath) -> Result<Vec<u8>, VfsError> {
        self.at(path, Permission::List, Action::List, LastLink::Keep, |place| async move {
            let target = place.mount.backend.read_link(&place.inner).await?;
            if leaves(&place.inner, &target) {
                return Err(VfsError::Forbidden { action: Action::List, path: place.inner.clone() });
            }
            Ok(target)
        })
        .await
    }

    /// Makes a symbolic link at `path` to `target`; refused where it would point out of the mount. An absolute target counts
    /// as pointing out.
    ///
    /// # Errors
    /// [`VfsError::Forbidden`] without the right (off by default), [`VfsError::Exists`].
    pub async fn symlink(&self, target: &[u8], path: &VPath) -> Result<(), VfsError> {
        self.spot(path, Permission::Link, Action::Link)?;
        if target.is_empty() || target.contains(&0) || target.len() > VPath::MAX_BYTES {
            return Err(VfsError::BadName);
        }
        if self.view.tree.is_fixed(path) {
            return Err(VfsError::Exists(path.clone()));
        }
        self.at(path, Permission::Link, Action::Link, LastLink::Keep, |place| async move {
            if !place.mount.backend.capabilities().links {
                return Err(VfsError::Unsupported(Action::Link));
            }
            if leaves(&place.inner, target) {
                return Err(VfsError::Forbidden { action: Action::Link, path: place.inner.clone() });
            }
            self.unlocked(&place, Change::Member)?;
            place.mount.backend.symlink(target, &place.inner).await
        })
        .await
    }

    /// Makes a second name for a file. The new name may grant nothing that the old one does not.
    ///
    /// # Errors
    /// As [`Vfs::symlink`]; [`VfsError::Impossible`] between two mounts.
    pub async fn hard_link(&self, from: &VPath, to: &VPath) -> Result<(), VfsError> {
        let tree = &self.view.tree;
        self.spot(to, Permission::Link, Action::Link)?;
        if tree.is_fixed(to) {
            return Err(VfsError::Exists(to.clone()));
        }
        let (source, target) = (self.settled(from, Action::Link).await?, self.settled(to, Action::Link).await?);
        tree.require(&target.path, Permission::Link, Action::Link)?;
        let (old, new) = (tree.permissions(&source.path), tree.permissions(&target.path));
        if old == Permissions::NONE || old.intersect(new) != new {
            return Err(VfsError::Forbidden { action: Action::Link, path: from.clone() });
        }
        if !source.same_store(&target) {
            return Err(VfsError::Impossible { action: Action::Link, path: from.clone() });
        }
        self.unlocked(&target, Change::Member).map_err(|error| target.said(error))?;
        let bytes =
            source.mount.backend.hard_link(&source.inner, &target.inner).await.map_err(|error| source.said(error))?;
        if source.mount.counts && self.view.account.reserve(bytes, self.view.quota).is_err() {
            // The count is by names; a name too many goes again.
            let _ = target.mount.backend.remove_file(&target.inner).await;
            let limit = self.view.quota.unwrap_or_default();
            return Err(VfsError::OverQuota { used: lockgate_model::ByteSize(self.view.account.used()), limit });
        }
        Ok(())
    }
}

/// Whether a link at `link` to `target` leaves the store, by its text alone. What the text hides (a link on the way) is seen
/// when it is followed.
fn leaves(link: &VPath, target: &[u8]) -> bool {
    if target.first() == Some(&b'/') {
        return true;
    }
    let folder = link.parent().unwrap_or_else(VPath::root);
    !folder.join(target).is_ok_and(|path| !crate::reserved::reaches_reserved(&path))
}
