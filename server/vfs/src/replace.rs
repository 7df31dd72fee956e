//! Putting a copy, a moved thing or a new folder where something else is, so that the old goes only once the new is there.
//!
//! A file takes the place of a file in one step. Where either is a folder no store can do that: the old one is put aside under
//! a reserved name in its own folder, and comes back if the new one does not come to be. A crash in between leaves it there,
//! where no sweeper takes it.

use crate::{Action, Ended, Kind, Overwrite, Vfs, VfsError, change::detached, reserved, tree::Place};
use lockgate_events::FileAction;
use lockgate_model::{Permission, VPath};

/// What takes the place of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacement {
    /// A copy of the source with everything in it.
    Copy,
    /// An empty folder, for a source that is a folder and copied without what is in it.
    Folder,
    /// The source itself.
    Move,
}

impl Vfs {
    /// Copies or moves `from` to `to` and replaces whatever is there, a folder with everything in it too. On an error the old
    /// target is there as it was.
    ///
    /// Dropping the future does not stop it: it comes to one of its two ends by itself.
    ///
    /// # Errors
    /// As [`Vfs::copy_tree`], [`Vfs::rename`] and, for what is replaced, [`Vfs::remove_tree`].
    pub async fn replace(&self, from: &VPath, to: &VPath, with: Replacement) -> Result<(), VfsError> {
        let (vfs, from, to) = (self.clone(), from.clone(), to.clone());
        detached(async move { vfs.replace_whole(&from, &to, with).await }).await
    }

    async fn replace_whole(&self, from: &VPath, to: &VPath, with: Replacement) -> Result<(), VfsError> {
        let kind = match with {
            Replacement::Copy => self.stat_committed(from).await?.kind,
            Replacement::Folder => Kind::Folder,
            Replacement::Move => self.lstat_committed(from).await?.kind,
        };
        let target = self.settled(to, Action::Write).await?;
        let there = match target.mount.backend.metadata(&target.inner).await {
            Ok(found) => Some(found.kind),
            Err(VfsError::NotFound(_)) => None,
            Err(error) => return Err(target.said(error)),
        };
        match there {
            Some(there) if there == Kind::Folder || kind == Kind::Folder => {
                self.put_aside(from, &target, there, (kind, with)).await
            }
            _ => self.put(from, to, (kind, with), Overwrite::Replace).await.map_err(|(error, _)| error),
        }
    }

    async fn put_aside(
        &self,
        from: &VPath,
        target: &Place,
        there: Kind,
        what: (Kind, Replacement),
    ) -> Result<(), VfsError> {
        let (tree, to) = (&self.view.tree, &target.path);
        tree.require_below(to, Permission::Delete, Action::Delete)?;
        if tree.is_fixed(to) {
            return Err(tree.refusal(to, Action::Delete));
        }
        self.unlocked(target, crate::locks::Change::Tree).map_err(|error| target.said(error))?;
        let name = reserved::aside_name().ok_or(VfsError::Interrupted)?;
        let folder = target.inner.parent().ok_or_else(|| tree.refusal(to, Action::Delete))?;
        let inner = folder.child(name.as_bytes()).map_err(|_| VfsError::BadName)?;
        let aside = Place { inner, ..target.clone() };
        let backend = &target.mount.backend;
        backend.rename(&target.inner, &aside.inner, Overwrite::Refuse).await.map_err(|error| target.said(error))?;
        if let Err((error, began)) = self.put(from, to, what, Overwrite::Refuse).await {
            self.put_back(target, &aside, began).await;
            return Err(error);
        }
        if let Err(error) = self.take_away(&aside, there).await {
            tracing::error!(path = %to, %error, "what was replaced could not be removed whole: a reserved name is left");
        }
        self.locks().forget_key(&target.key());
        self.view.announce(FileAction::Deleted, to, None, None);
        Ok(())
    }

    /// The new state; an error with whether something of it is at the target.
    async fn put(
        &self,
        from: &VPath,
        to: &VPath,
        (kind, with): (Kind, Replacement),
        overwrite: Overwrite,
    ) -> Result<(), (VfsError, bool)> {
        let done = match (with, kind) {
            (Replacement::Move, _) => self.rename_whole(from, to, overwrite).await,
            (Replacement::Folder, _) => self.make_folder(to).await,
            (Replacement::Copy, Kind::Folder) => {
                // Made here, so that it is known whose folder it is that goes again.
                self.make_folder(to).await.map_err(|error| (error, false))?;
                return self.copy_tree(from, to, Overwrite::Replace).await.map_err(|error| (error, true));
            }
            (Replacement::Copy, _) => self.copy(from, to, overwrite).await.map(drop),
        };
        done.map_err(|error| (error, false))
    }

    /// Undoes, whatever became of the session meanwhile.
    async fn put_back(&self, target: &Place, aside: &Place, began: bool) {
        if began && let Err(error) = self.take_away(target, Kind::Folder).await {
            tracing::error!(path = %target.path, %error, "a copy that failed could not be removed");
        }
        let back = target.mount.backend.rename(&aside.inner, &target.inner, Overwrite::Refuse).await;
        if let Err(error) = back {
            let name = String::from_utf8_lossy(aside.inner.file_name().unwrap_or_default()).into_owned();
            tracing::error!(path = %target.path, %error, name, "what was to be replaced is left under a reserved name");
        }
    }

    async fn take_away(&self, place: &Place, kind: Kind) -> Result<(), VfsError> {
        let backend = &place.mount.backend;
        if kind == Kind::Folder {
            let removal = backend.remove_tree(&place.inner, &Ended::default()).await;
            return self.removed(place, removal);
        }
        let bytes = backend.remove_file(&place.inner).await?;
        self.view.release(place, bytes);
        Ok(())
    }
}
