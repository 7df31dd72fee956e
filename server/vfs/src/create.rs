//! Beginning an upload: which of the intents of files.md applies to what is there.

use crate::{
    Action, Intent, Kind, LastLink, Metadata, OnAbort, Overwrite, PartialKey, StagedFile, Upload, Vfs, VfsError,
    locks::Change,
    prefix::Prefix,
    session::OpenUpload,
    tree::Place,
    upload::{Body, Held, Origin, Way, cannot_patch, charge, is_folder},
};
use lockgate_model::{Permission, VPath};
use std::sync::Arc;

/// Links followed at the name itself, and races with them.
const MOST_TURNS: usize = 8;

/// How an upload is begun.
pub(crate) struct Begin {
    pub(crate) intent: Intent,
    pub(crate) on_abort: OnAbort,
    pub(crate) origin: Origin,
    /// Whether it is known by a ticket, and by no name.
    pub(crate) ticketed: bool,
}

impl Begin {
    pub(crate) fn new(intent: Intent, on_abort: OnAbort, origin: Origin) -> Self {
        Self { intent, on_abort, origin, ticketed: false }
    }

    fn ticketed(on_abort: OnAbort) -> Self {
        Self { ticketed: true, ..Self::new(Intent::Create, on_abort, Origin::Client) }
    }
}

impl Vfs {
    /// Begins an upload.
    ///
    /// # Errors
    /// [`VfsError::Forbidden`], [`VfsError::IsFolder`], [`VfsError::NotFound`] for a missing folder, [`VfsError::Exists`],
    /// [`VfsError::PartialExists`], [`VfsError::WrongOffset`], [`VfsError::Locked`], [`VfsError::OverQuota`].
    pub async fn create(&self, path: &VPath, intent: Intent, on_abort: OnAbort) -> Result<Upload, VfsError> {
        self.begin(path, Begin::new(intent, on_abort, Origin::Client)).await
    }

    pub(crate) async fn begin(&self, path: &VPath, begin: Begin) -> Result<Upload, VfsError> {
        let (place, existing) = self.target(path, begin.intent).await?;
        let key = PartialKey::of_name(self.view.tree.owner(), &place.inner);
        self.begin_at(path, place, existing, key, begin).await
    }

    /// Begins an upload that is known by `ticket` and not by its name (tus): kept, by [`Upload::keep`] or by an abort with
    /// [`OnAbort::Keep`], it is so under the ticket alone, even where it is empty, and [`Vfs::resume_ticketed`] finds it, also
    /// after a restart. No two uploads have one ticket.
    ///
    /// # Errors
    /// As [`Vfs::create`].
    pub async fn create_ticketed(&self, path: &VPath, ticket: &str, on_abort: OnAbort) -> Result<Upload, VfsError> {
        let begin = Begin::ticketed(on_abort);
        let (place, existing) = self.target(path, begin.intent).await?;
        let key = PartialKey::of_ticket(self.view.tree.owner(), ticket);
        self.begin_at(path, place, existing, key, begin).await
    }

    /// Goes on with an upload that was kept under a ticket; its length says where. What came of it stays where the store can
    /// do so ([`crate::Backend::go_on`]), even if the process dies meanwhile.
    ///
    /// # Errors
    /// [`VfsError::NotFound`] where none is kept (or somebody goes on with it now), and as [`Vfs::create`].
    pub async fn resume_ticketed(&self, path: &VPath, ticket: &str) -> Result<Upload, VfsError> {
        let begin = Begin::ticketed(OnAbort::Keep);
        let (place, existing) = self.target(path, begin.intent).await?;
        let key = PartialKey::of_ticket(self.view.tree.owner(), ticket);
        self.replaceable(&place, existing.as_ref(), begin.intent)?;
        let staged = place.mount.backend.go_on(&place.inner, &key).await.map_err(|error| place.said(error))?;
        let staged = staged.ok_or_else(|| VfsError::NotFound(path.clone()))?;
        let old = self.own_partial(&place).await?.map(|partial| partial.unique);
        let mut upload = self.staged_upload(path, place, staged, key, begin, Resumed::Yes)?;
        if let Some(old) = old {
            upload.ends_partial(old);
        }
        Ok(upload)
    }

    /// Facts of an upload that was kept under a ticket, also while somebody goes on with it where the store can tell.
    ///
    /// # Errors
    /// As [`Vfs::create`]; that there is none is no error.
    pub async fn ticketed(&self, path: &VPath, ticket: &str) -> Result<Option<Metadata>, VfsError> {
        let (place, _) = self.target(path, Intent::Create).await?;
        let key = PartialKey::of_ticket(self.view.tree.owner(), ticket);
        place.mount.backend.partial(&place.inner, &key).await.map_err(|error| place.said(error))
    }

    /// Drops an upload that was kept under a ticket; one that somebody goes on with in its place does not commit any more. That
    /// there is none is no error.
    ///
    /// # Errors
    /// [`VfsError::Forbidden`], [`VfsError::Backend`].
    pub async fn drop_ticketed(&self, path: &VPath, ticket: &str) -> Result<(), VfsError> {
        let key = PartialKey::of_ticket(self.view.tree.owner(), ticket);
        let dropped = self
            .at(path, Permission::Write, Action::Write, LastLink::Follow, |place| async move {
                place.mount.backend.drop_partial(&place.inner, &key).await
            })
            .await;
        match dropped {
            Ok(partial) => self.view.shared.credit(partial.as_slice()),
            Err(VfsError::NotFound(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Where an upload to `path` goes, and what is there now.
    async fn target(&self, path: &VPath, intent: Intent) -> Result<(Place, Option<Metadata>), VfsError> {
        let tree = &self.view.tree;
        let mut place = self.spot(path, Permission::Write, Action::Write)?;
        for _ in 0..MOST_TURNS {
            if tree.is_fixed(&place.path) {
                return Err(is_folder(path));
            }
            match place.mount.backend.metadata(&place.inner).await {
                Ok(found) if found.kind == Kind::Link && intent == Intent::CreateNew => {
                    return Err(VfsError::Exists(path.clone()));
                }
                Ok(found) if found.kind != Kind::Link => return Ok((place, Some(found))),
                Ok(_) | Err(VfsError::ThroughLink(_)) => {
                    place = self.led(&place, LastLink::Follow, Action::Write)?;
                    tree.require(&place.path, Permission::Write, Action::Write)?;
                }
                Err(VfsError::NotFound(_)) => return Ok((place, None)),
                Err(error) => return Err(place.said(error)),
            }
        }
        Err(VfsError::NotFound(path.clone()))
    }

    async fn begin_at(
        &self,
        path: &VPath,
        place: Place,
        existing: Option<Metadata>,
        key: PartialKey,
        begin: Begin,
    ) -> Result<Upload, VfsError> {
        let change = if existing.is_some() { Change::Content } else { Change::Member };
        self.unlocked(&place, change).map_err(|error| place.said(error))?;
        if existing.as_ref().is_some_and(|found| found.kind == Kind::Folder) {
            return Err(is_folder(path));
        }
        let Intent::Patch { offset, append } = begin.intent else {
            return self.begin_staged(path, place, existing.as_ref(), key, begin).await;
        };
        let partial = self.own_partial(&place).await?;
        match (existing, partial) {
            (Some(_), Some(_)) => Err(VfsError::PartialExists(path.clone())),
            (Some(found), None) => self.begin_in_place(path, place, &found, key, begin).await,
            (None, Some(partial)) => {
                if offset.is_some_and(|offset| !append && offset != partial.size) {
                    return Err(VfsError::WrongOffset { expected: partial.size });
                }
                let staged = place.mount.backend.resume(&place.inner, &key).await.map_err(|error| place.said(error))?;
                let staged = staged.ok_or_else(|| VfsError::NotFound(path.clone()))?;
                self.staged_upload(path, place, staged, key, begin, Resumed::Yes)
            }
            (None, None) if append => self.begin_staged(path, place, None, key, begin).await,
            (None, None) if offset.is_some_and(|offset| offset > 0) => Err(VfsError::WrongOffset { expected: 0 }),
            (None, None) => Err(VfsError::NotFound(path.clone())),
        }
    }

    /// Whether a new state may take the place of what is there.
    fn replaceable(&self, place: &Place, existing: Option<&Metadata>, intent: Intent) -> Result<(), VfsError> {
        let Some(found) = existing else { return Ok(()) };
        if found.kind == Kind::Folder {
            return Err(is_folder(&place.path));
        }
        if intent == Intent::CreateNew {
            return Err(VfsError::Exists(place.path.clone()));
        }
        self.view.tree.require(&place.path, Permission::Delete, Action::Write)
    }

    async fn begin_staged(
        &self,
        path: &VPath,
        place: Place,
        existing: Option<&Metadata>,
        key: PartialKey,
        begin: Begin,
    ) -> Result<Upload, VfsError> {
        self.replaceable(&place, existing, begin.intent)?;
        let staged = place.mount.backend.stage(&place.inner).await.map_err(|error| place.said(error))?;
        // Whoever begins anew does not go on: the old partial goes when the new bytes have come, and not before.
        let old = self.own_partial(&place).await?.map(|partial| partial.unique);
        let mut upload = self.staged_upload(path, place, staged, key, begin, Resumed::No)?;
        if let Some(old) = old {
            upload.ends_partial(old);
        }
        Ok(upload)
    }

    fn staged_upload(
        &self,
        path: &VPath,
        place: Place,
        staged: Box<dyn StagedFile>,
        key: PartialKey,
        begin: Begin,
        resumed: Resumed,
    ) -> Result<Upload, VfsError> {
        let base = staged.metadata().map_err(|error| place.said(error))?;
        let adopted = (resumed == Resumed::Yes).then_some((base.unique, base.size));
        let append = matches!(begin.intent, Intent::Patch { append: true, .. });
        // Without the right to replace, nothing may have the name by then either.
        let replaces =
            begin.intent != Intent::CreateNew && self.view.tree.permissions(&place.path).allows(Permission::Delete);
        let body = Body {
            charge: charge(self, &place, adopted),
            staged,
            way: Way::Staged,
            append,
            overwrite: if replaces { Overwrite::Replace } else { Overwrite::Refuse },
            // What was kept once is not lost by going on with it.
            on_abort: if resumed == Resumed::Yes { OnAbort::Keep } else { begin.on_abort },
            key,
            ticketed: begin.ticketed,
            first: (resumed == Resumed::Yes).then_some(base.size),
            prefix: Prefix::new(base.size),
            before: Held::default(),
            untouched: resumed == Resumed::Yes && matches!(begin.intent, Intent::Patch { offset: None, .. }),
            failed: false,
            no_room: false,
            unsynced: false,
            kept_before: adopted,
            ends_partial: false,
            over: None,
            origin: begin.origin,
            vfs: self.clone(),
            place,
        };
        Ok(self.opened(path, body, base))
    }

    async fn begin_in_place(
        &self,
        path: &VPath,
        place: Place,
        found: &Metadata,
        key: PartialKey,
        begin: Begin,
    ) -> Result<Upload, VfsError> {
        let Intent::Patch { offset, append } = begin.intent else { return Err(cannot_patch()) };
        self.view.tree.require(&place.path, Permission::Delete, Action::Write)?;
        if !place.mount.backend.capabilities().patch {
            return Err(cannot_patch());
        }
        if offset.is_some_and(|offset| !append && offset > found.size) {
            return Err(VfsError::WrongOffset { expected: found.size });
        }
        let staged = place.mount.backend.patch(&place.inner, append).await.map_err(|error| place.said(error))?;
        let base = staged.metadata().map_err(|error| place.said(error))?;
        let body = Body {
            charge: charge(self, &place, None),
            staged,
            way: Way::InPlace,
            append,
            overwrite: Overwrite::Replace,
            on_abort: begin.on_abort,
            key,
            ticketed: begin.ticketed,
            first: None,
            prefix: Prefix::default(),
            before: Held::default(),
            untouched: false,
            failed: false,
            no_room: false,
            unsynced: false,
            kept_before: None,
            ends_partial: false,
            over: None,
            origin: begin.origin,
            vfs: self.clone(),
            place,
        };
        Ok(self.opened(path, body, base))
    }

    fn opened(&self, path: &VPath, body: Body, base: Metadata) -> Upload {
        let open = Arc::new(OpenUpload::new(body.place.key(), base));
        // In place the committed file answers for itself, and what has a ticket has no name.
        if body.way == Way::Staged && !body.ticketed {
            self.view.session.add(&open);
        }
        Upload::new(path.clone(), body, open)
    }
}

/// Whether bytes are there from an earlier time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Resumed {
    Yes,
    No,
}
