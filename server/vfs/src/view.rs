//! One session's view of the tree: mounts, rights, quota and locks applied.
//!
//! Every operation goes the same way: the path is placed in a mount, the right is checked, the store is asked. A store that
//! meets a symbolic link does not follow it but says so; then the path that the link leads to is found, checked like any
//! other, and asked for instead. So a rule about a folder holds whatever way leads there.

use crate::{
    Action, Entry, Kind, LastLink, LockToken, Locks, Metadata, OpenFile, PartialKey, Rows, Space, VfsError,
    account::Account,
    locks::Change,
    session::Session,
    storage::Shared,
    tree::{Place, Tree},
};
use lockgate_events::{Event, FileAction};
use lockgate_model::{ByteSize, Permission, Permissions, VPath};
use std::{
    collections::{BTreeSet, VecDeque},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    os::fd::BorrowedFd,
    sync::Arc,
    time::{Duration, SystemTime},
};

/// Times a path may turn out to lead through a link before the tree counts as being played with.
const MOST_TURNS: usize = 8;

/// What to do when the target of a rename or copy exists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overwrite {
    /// Fail with [`VfsError::Exists`].
    Refuse,
    /// Replace a file (needs the right to delete it); a folder is replaced only where it is empty.
    Replace,
}

/// Whether one's own unfinished uploads answer for a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unfinished {
    Shown,
    Hidden,
}

/// What the clones of a [`Vfs`] share.
pub(crate) struct View {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tree: Tree,
    pub(crate) account: Arc<Account>,
    pub(crate) quota: Option<ByteSize>,
    pub(crate) session: Arc<Session>,
    pub(crate) session_id: String,
    pub(crate) upload_keep: Duration,
    pub(crate) opened: SystemTime,
}

impl View {
    pub(crate) fn announce(&self, action: FileAction, path: &VPath, to: Option<&VPath>, bytes: Option<u64>) {
        self.shared.events.announce(&Event::File {
            action,
            user: self.tree.owner().clone(),
            session: self.session_id.clone(),
            path: path.clone(),
            to: to.cloned(),
            bytes: bytes.map(ByteSize),
        });
    }

    /// Gives back bytes that are no longer in a place.
    pub(crate) fn release(&self, place: &Place, bytes: u64) {
        if place.mount.counts {
            self.account.release(bytes);
        }
    }

    /// Facts of a folder that is in no store.
    fn virtual_folder(&self, path: &VPath) -> Metadata {
        let mut hasher = DefaultHasher::new();
        path.hash(&mut hasher);
        Metadata {
            kind: Kind::Folder,
            size: 0,
            modified: self.opened,
            accessed: self.opened,
            mode: 0o755,
            uid: 0,
            gid: 0,
            links: 1,
            unique: (0, hasher.finish()),
            etag: format!("folder-{:x}", hasher.finish()),
        }
    }
}

/// The files of one session. Cheap to clone; all clones are the same view.
#[derive(Clone)]
pub struct Vfs {
    pub(crate) view: Arc<View>,
    pub(crate) tokens: Arc<[LockToken]>,
    locks: Locks,
}

impl Vfs {
    pub(crate) fn new(view: View) -> Self {
        let view = Arc::new(view);
        Self { locks: Locks::new(Arc::clone(&view)), view, tokens: Arc::default() }
    }

    /// Facts of what `path` stands for, links followed. Within the session that made it, an open staged upload or one's own
    /// partial (where no committed file has the name) answers too.
    ///
    /// A folder answers to whoever has any right on it or below it; a file only to who may list or read it, and is not found
    /// otherwise.
    ///
    /// # Errors
    /// [`VfsError::NotFound`], [`VfsError::Forbidden`].
    pub async fn stat(&self, path: &VPath) -> Result<Metadata, VfsError> {
        self.facts(path, LastLink::Follow, Unfinished::Shown).await
    }

    /// As [`Vfs::stat`] for what everybody sees: neither one's open upload nor one's partial answers (HTTP and WebDAV, where a
    /// validator must be that of bytes which can be fetched).
    ///
    /// # Errors
    /// As [`Vfs::stat`].
    pub async fn stat_committed(&self, path: &VPath) -> Result<Metadata, VfsError> {
        self.facts(path, LastLink::Follow, Unfinished::Hidden).await
    }

    /// As [`Vfs::stat`], a link at the end not followed.
    ///
    /// # Errors
    /// As [`Vfs::stat`].
    pub async fn lstat(&self, path: &VPath) -> Result<Metadata, VfsError> {
        self.facts(path, LastLink::Keep, Unfinished::Shown).await
    }

    /// As [`Vfs::stat_committed`], a link at the end not followed.
    ///
    /// # Errors
    /// As [`Vfs::stat`].
    pub async fn lstat_committed(&self, path: &VPath) -> Result<Metadata, VfsError> {
        self.facts(path, LastLink::Keep, Unfinished::Hidden).await
    }

    async fn facts(&self, path: &VPath, last: LastLink, unfinished: Unfinished) -> Result<Metadata, VfsError> {
        self.lives()?;
        let tree = &self.view.tree;
        let mut next = tree.place(path, Action::List)?;
        for _ in 0..MOST_TURNS {
            let Some(place) = next else {
                return if tree.is_visible(path) {
                    Ok(self.view.virtual_folder(path))
                } else {
                    Err(tree.refusal(path, Action::List))
                };
            };
            if unfinished == Unfinished::Shown
                && let Some(upload) = self.view.session.find(&place.key())
            {
                return Ok(upload.metadata());
            }
            if !tree.is_visible(&place.path) {
                return Err(tree.refusal(path, Action::List));
            }
            match place.mount.backend.metadata(&place.inner).await {
                Err(VfsError::ThroughLink(_)) => next = Some(self.led(&place, last, Action::List)?),
                Ok(found) if found.kind == Kind::Link && last == LastLink::Follow => {
                    next = Some(self.led(&place, last, Action::List)?);
                }
                Ok(found) if found.kind == Kind::Folder || self.shows_files(&place.path) => return Ok(found),
                Ok(_) => return Err(VfsError::NotFound(path.clone())),
                Err(VfsError::NotFound(_)) if tree.is_virtual(&place.path) => {
                    return Ok(self.view.virtual_folder(path));
                }
                Err(VfsError::NotFound(_)) if unfinished == Unfinished::Shown => {
                    return self.own_partial(&place).await?.ok_or_else(|| VfsError::NotFound(path.clone()));
                }
                Err(error) => return Err(place.said(error)),
            }
        }
        Err(VfsError::NotFound(path.clone()))
    }

    fn shows_files(&self, path: &VPath) -> bool {
        let rights = self.view.tree.permissions(path);
        rights.allows(Permission::List) || rights.allows(Permission::Read)
    }

    /// Facts of one's own interrupted upload of a name.
    pub(crate) async fn own_partial(&self, place: &Place) -> Result<Option<Metadata>, VfsError> {
        if place.inner.is_root() {
            return Ok(None);
        }
        let key = PartialKey::of_name(self.view.tree.owner(), &place.inner);
        match place.mount.backend.partial(&place.inner, &key).await {
            // No folder, no partial.
            Err(VfsError::NotFound(_) | VfsError::NotFolder(_)) => Ok(None),
            done => done.map_err(|error| place.said(error)),
        }
    }

    /// Begins to list a folder.
    ///
    /// Without the right to list it, a folder shows the ways to folders with rights of their own, if there are such.
    ///
    /// # Errors
    /// [`VfsError::NotFound`], [`VfsError::NotFolder`], [`VfsError::Forbidden`].
    pub async fn list(&self, path: &VPath) -> Result<Listing, VfsError> {
        self.lives()?;
        let tree = &self.view.tree;
        let place = tree.place(path, Action::List)?;
        let listing = |folder: VPath, shown: BTreeSet<Vec<u8>>, rows| Listing {
            own_rights: tree.has_own_rights(&folder),
            first: shown.iter().cloned().collect(),
            shown,
            rows,
            folder,
            vfs: self.clone(),
        };
        if !tree.permissions(path).allows(Permission::List) {
            let signposts = tree.signposts(path);
            return if signposts.is_empty() {
                Err(tree.refusal(path, Action::List))
            } else {
                Ok(listing(path.clone(), signposts, None))
            };
        }
        let Some(_) = place else { return Ok(listing(path.clone(), tree.mounted_names(path), None)) };
        let found = self
            .at(path, Permission::List, Action::List, LastLink::Follow, |place| async move {
                let rows = place.mount.backend.list(&place.inner).await?;
                Ok((place, rows))
            })
            .await;
        match found {
            Ok((place, rows)) => Ok(listing(place.path.clone(), tree.mounted_names(&place.path), Some(rows))),
            Err(VfsError::NotFound(_)) if tree.is_virtual(path) => {
                Ok(listing(path.clone(), tree.mounted_names(path), None))
            }
            Err(error) => Err(error),
        }
    }

    /// Opens a file for reading.
    ///
    /// # Errors
    /// [`VfsError::NotFound`], [`VfsError::IsFolder`], [`VfsError::Forbidden`].
    pub async fn open(&self, path: &VPath) -> Result<FileReader, VfsError> {
        let file = self.open_quietly(path).await?;
        self.view.announce(FileAction::Fetched, path, None, None);
        Ok(file)
    }

    pub(crate) async fn open_quietly(&self, path: &VPath) -> Result<FileReader, VfsError> {
        let file = self
            .at(path, Permission::Read, Action::Read, LastLink::Follow, |place| async move {
                place.mount.backend.open(&place.inner).await
            })
            .await?;
        Ok(FileReader::new(file))
    }

    /// Room at `path`.
    ///
    /// # Errors
    /// [`VfsError::NotFound`].
    pub async fn space(&self, path: &VPath) -> Result<Space, VfsError> {
        self.facts(path, LastLink::Follow, Unfinished::Shown).await?;
        let Some(mut place) = self.view.tree.place(path, Action::List)? else {
            return Err(VfsError::Unsupported(Action::List));
        };
        for _ in 0..MOST_TURNS {
            match place.mount.backend.space(&place.inner).await {
                Err(VfsError::ThroughLink(_)) => place = self.led(&place, LastLink::Follow, Action::List)?,
                Err(error) => return Err(place.said(error)),
                Ok(space) => return Ok(self.within_quota(&place, space)),
            }
        }
        Err(VfsError::NotFound(path.clone()))
    }

    fn within_quota(&self, place: &Place, space: Space) -> Space {
        let Some(limit) = self.view.quota.filter(|_| place.mount.counts) else { return space };
        let used = self.view.account.used();
        Space { total: space.total.min(limit.0), free: space.free.min(limit.0.saturating_sub(used)), used, ..space }
    }

    /// Ends the session's hold on its files: whatever is under way for it stops at the next file or piece, an upload does not
    /// commit any more, and every further call is [`VfsError::Interrupted`]. Partials stay. Called by whoever revokes a
    /// session; a server that stops does not, so that commits come to their end.
    pub fn end(&self) {
        self.view.session.ended.end();
    }

    /// Whether a folder that the tree is made of was removed from the host: a new session would find what is there now, this one
    /// never will. Quick.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.view.tree.mounts().iter().any(|mount| mount.backend.is_gone())
    }

    /// How long an upload that was cut is kept (`upload_keep`); zero: not at all.
    #[must_use]
    pub fn upload_keep(&self) -> std::time::Duration {
        self.view.upload_keep
    }

    /// Whether the session still may do anything.
    pub(crate) fn lives(&self) -> Result<(), VfsError> {
        if self.view.session.ended.is_over() { Err(VfsError::Interrupted) } else { Ok(()) }
    }

    /// Whether this session has a staged upload of the name open, on whichever of its channels.
    #[must_use]
    pub fn is_uploading(&self, path: &VPath) -> bool {
        let place = self.placed(path, LastLink::Follow, Action::Write);
        place.is_ok_and(|place| self.view.session.find(&place.key()).is_some())
    }

    /// The rights on `path`: for listings that say what can be done (MLSD `perm`, WebDAV privileges). Not a check: every
    /// method checks for itself.
    #[must_use]
    pub fn permissions(&self, path: &VPath) -> Permissions {
        self.view.tree.permissions(path)
    }

    /// The same view, holding these lock tokens for its writes.
    #[must_use]
    pub fn with_tokens(&self, tokens: Vec<LockToken>) -> Self {
        Self { tokens: tokens.into(), ..self.clone() }
    }

    /// The locks that bind all doors.
    #[must_use]
    pub fn locks(&self) -> &Locks {
        &self.locks
    }

    /// Where `path` lies, once `right` on it is there.
    pub(crate) fn spot(&self, path: &VPath, right: Permission, action: Action) -> Result<Place, VfsError> {
        self.lives()?;
        let place = self.view.tree.place(path, action)?;
        self.view.tree.require(path, right, action)?;
        place.ok_or_else(|| match action {
            Action::Read | Action::Write => VfsError::IsFolder(path.clone()),
            Action::MakeFolder => VfsError::Exists(path.clone()),
            _ => VfsError::Forbidden { action, path: path.clone() },
        })
    }

    /// The place that a path with links in it leads to. No right on it is checked yet.
    pub(crate) fn led(&self, place: &Place, last: LastLink, action: Action) -> Result<Place, VfsError> {
        let inner = place.mount.backend.resolve(&place.inner, last).map_err(|error| place.said(error))?;
        self.view.tree.place_in(place, &inner, action)
    }

    /// Does `work` at the place of `path`, or where links lead from there, with `right` checked wherever that is.
    pub(crate) async fn at<T, F>(
        &self,
        path: &VPath,
        right: Permission,
        action: Action,
        last: LastLink,
        work: impl Fn(Place) -> F + Send,
    ) -> Result<T, VfsError>
    where
        F: Future<Output = Result<T, VfsError>> + Send,
    {
        let mut place = self.spot(path, right, action)?;
        for _ in 0..MOST_TURNS {
            match work(place.clone()).await {
                Err(VfsError::ThroughLink(_)) => {
                    place = self.led(&place, last, action)?;
                    self.view.tree.require(&place.path, right, action)?;
                }
                done => return done.map_err(|error| place.said(error)),
            }
        }
        Err(VfsError::NotFound(path.clone()))
    }

    /// Checks that no lock forbids a change.
    pub(crate) fn unlocked(&self, place: &Place, change: Change) -> Result<(), VfsError> {
        if self.view.shared.locks.is_empty() {
            return Ok(());
        }
        // The error is of the store, as others are, until the mount's place is put before it.
        self.locks.allow(&place.inner, &place.key(), change, &self.tokens)
    }
}

/// A folder being listed. Reserved names and staging files are not in it. Memory is bounded by the batch.
pub struct Listing {
    vfs: Vfs,
    folder: VPath,
    /// Names that the tree adds, still to be shown.
    first: VecDeque<Vec<u8>>,
    /// The same, to be left out of the store's rows.
    shown: BTreeSet<Vec<u8>>,
    rows: Option<Box<dyn Rows>>,
    own_rights: bool,
}

impl Listing {
    /// The next rows, at most `limit`; empty at the end. The order is the store's.
    ///
    /// # Errors
    /// [`VfsError::Backend`]; [`VfsError::Interrupted`] after a call that was dropped before its end.
    pub async fn next_batch(&mut self, limit: usize) -> Result<Vec<Entry>, VfsError> {
        self.vfs.lives()?;
        let limit = limit.max(1);
        let mut batch = Vec::new();
        while batch.len() < limit
            && let Some(name) = self.first.pop_front()
        {
            let Ok(path) = self.folder.child(&name) else { continue };
            match self.vfs.lstat(&path).await {
                Ok(metadata) => batch.push(Entry { name, metadata }),
                Err(VfsError::NotFound(_) | VfsError::Forbidden { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        while batch.is_empty() {
            let Some(rows) = &mut self.rows else { break };
            let more = rows.next_rows(limit).await.map_err(|error| error.below(&self.folder))?;
            if more.is_empty() {
                self.rows = None;
                break;
            }
            batch.extend(more.into_iter().filter(|row| self.is_shown(&row.name)));
        }
        Ok(batch)
    }

    fn is_shown(&self, name: &[u8]) -> bool {
        if self.shown.contains(name) {
            return false;
        }
        !self.own_rights || self.folder.child(name).is_ok_and(|path| self.vfs.view.tree.is_visible(&path))
    }
}

/// A file open for reading: the bytes of the moment it was opened, as far as the store can promise.
pub struct FileReader {
    file: Box<dyn OpenFile>,
}

impl FileReader {
    pub(crate) fn new(file: Box<dyn OpenFile>) -> Self {
        Self { file }
    }

    /// Facts at the time of opening.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        self.file.metadata()
    }

    /// Facts now, whatever the file is called by now or whether it has a name at all: it may have grown, or others may have
    /// changed its times.
    ///
    /// # Errors
    /// [`VfsError::Backend`].
    pub fn metadata_now(&self) -> Result<Metadata, VfsError> {
        self.file.metadata_now()
    }

    /// Fills `buffer` from `offset`; less than its length only at the end of the file, 0 past it. Page-cache reads happen in
    /// the caller's task; slow stores go to blocking threads by themselves.
    ///
    /// # Errors
    /// [`VfsError::Backend`].
    pub async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, VfsError> {
        self.file.read_at(offset, buffer).await
    }

    /// The descriptor, for doors that can `sendfile`, where `length` bytes from `offset` on are in memory: then the call does not
    /// keep its thread waiting. `None` where they are not, or where the store has no descriptor; then [`FileReader::read_at`].
    #[must_use]
    pub fn ready(&self, offset: u64, length: u64) -> Option<BorrowedFd<'_>> {
        self.file.descriptor().filter(|_| self.file.is_ready(offset, length))
    }

    /// The descriptor, for copies on threads that may wait; `None` for stores without one.
    pub(crate) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.file.descriptor()
    }
}
