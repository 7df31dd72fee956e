//! The ends of an upload: under its name, as a partial, or without a trace.
//!
//! Each of them settles what the upload held: its charge, and its place among the user's unfinished uploads. What was kept once is
//! never less afterwards, unless the client cut it itself.

use crate::{
    Committed, OnAbort, VfsError,
    upload::{Body, Origin, Way},
};
use lockgate_events::FileAction;
use lockgate_model::VPath;
use std::sync::Arc;

impl Body {
    pub(crate) async fn publish(mut self, path: &VPath, len: u64) -> Result<Committed, VfsError> {
        let view = Arc::clone(&self.vfs.view);
        let published = self.staged.publish(self.overwrite).await;
        // Whichever way it went, the partial that it was is none any more.
        if let Some((partial, _)) = self.kept_before {
            view.account.unfinished.ended(partial);
        }
        let published = match published {
            Ok(published) => published,
            Err(error) => {
                self.origin.aborted(&view, path, len);
                return Err(self.place.said(error));
            }
        };
        if let Some(charge) = self.charge.take() {
            match self.way {
                Way::Staged => charge.settle(published.metadata.size, published.replaced.unwrap_or_default()),
                Way::InPlace => charge.settle(0, 0),
            }
        }
        // The file is there; a partial that cannot go now goes by its age.
        if self.ends_partial
            && let Err(error) = self.vfs.drop_own_partial(&self.place).await
        {
            tracing::debug!(%error, "the partial of a name that was uploaded anew stays");
        }
        let bytes = Some(published.metadata.size);
        match &self.origin {
            Origin::Client => view.announce(FileAction::Stored, path, None, bytes),
            Origin::Copy(from) => view.announce(FileAction::Copied, from, Some(path), bytes),
            Origin::Move => {}
        }
        Ok(Committed { path: path.clone(), created: published.replaced.is_none(), metadata: published.metadata })
    }

    /// How much of it a partial would have; `None` where there is nothing to keep, or no time to do so.
    pub(crate) fn keeps(&self) -> Option<u64> {
        if self.way == Way::InPlace || self.vfs.view.upload_keep.is_zero() {
            return None;
        }
        let whole = self.prefix.whole();
        // What has a ticket was synced before it was acknowledged; of any other partial nobody knows by now.
        if self.unsynced && !self.ticketed {
            return None;
        }
        // On a full disk only what came since is given back: the rest was acknowledged.
        let length = if self.no_room || self.unsynced { self.kept_before?.1.min(whole) } else { whole };
        (length > 0 || self.ticketed).then_some(length)
    }

    /// Makes it the user's partial, where there is something to keep; its length.
    pub(crate) fn keep(mut self) -> Option<u64> {
        let (charge, length) = (self.charge.take(), self.keeps());
        let unfinished = &self.vfs.view.account.unfinished;
        let kept = match length {
            Some(length) => self.staged.keep(&self.key, length),
            None => {
                self.staged.discard();
                None
            }
        };
        let Some(kept) = kept else {
            if let Some((partial, _)) = self.kept_before {
                unfinished.ended(partial);
            }
            return None;
        };
        unfinished.kept(&kept);
        if let Some(charge) = charge {
            charge.keep(&kept);
        }
        Some(kept.partial.bytes)
    }

    pub(crate) fn abort(self, path: &VPath, len: u64) {
        let (origin, vfs) = (self.origin.clone(), self.vfs.clone());
        if self.on_abort == OnAbort::Keep {
            self.keep();
        } else {
            self.staged.discard();
        }
        origin.aborted(&vfs.view, path, len);
    }
}
