//! One upload: bytes that commit under a name as a whole, or vanish.
//!
//! The value is the only thing that can make a name change, and it does so once, at [`Upload::commit`]. Everything else that
//! can happen to it, a lost client, a full disk, a panic, a stopped server, is a drop, and a drop leaves the old state.

use crate::{
    Action, Facts, FileId, LastLink, Metadata, Overwrite, PartialKey, StagedFile, Vfs, VfsError, account::Charge,
    change::detached, local::no_room, locks::Change, prefix::Prefix, session::OpenUpload, tree::Place, view::View,
};
use lockgate_events::FileAction;
use lockgate_model::VPath;
use rustix::io::Errno;
use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    sync::Arc,
};

/// What the client did, in the words of files.md.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// A new state of the name from its first byte: staged.
    Create,
    /// The same, and the commit fails with [`VfsError::Exists`] if the name exists by then.
    CreateNew,
    /// In place on the committed file, or onward on one's own partial, from `offset`; a client that then writes elsewhere in
    /// a committed file may do so.
    ///
    /// Where neither is there: with `append` it is a [`Intent::Create`] (FTP `APPE`), with an offset above 0
    /// [`VfsError::WrongOffset`], and [`VfsError::NotFound`] otherwise (SFTP without `CREAT`).
    Patch {
        /// Where the client means to write first; `None`: unknown (SFTP), decided by the first write.
        offset: Option<u64>,
        /// Every write goes to the end of the file, whatever its offset says.
        append: bool,
    },
}

/// What becomes of the bytes when the upload ends without its proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnAbort {
    /// They go (HTTP).
    Discard,
    /// They stay as the user's partial for `upload_keep`, so that the client can go on (FTP, SFTP); unless the disk was
    /// full: what came then would keep it so for everybody, and only what was a partial before is one again.
    Keep,
}

/// What a commit made.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The name.
    pub path: VPath,
    /// The file's facts now.
    pub metadata: Metadata,
    /// Whether the name is new.
    pub created: bool,
}

/// An upload under way. Dropped without [`Upload::commit`] it is an abort, as the [`OnAbort`] it was made with says.
///
/// Writes of several callers to one upload are theirs to order: the value is not shared.
#[must_use = "dropping an upload aborts it"]
pub struct Upload {
    pub(crate) path: VPath,
    body: Option<Box<Body>>,
    open: Arc<OpenUpload>,
}

/// Where the bytes of an upload go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Beside the name, until the commit.
    Staged,
    /// Into the committed file.
    InPlace,
}

/// What an upload is made of.
pub(crate) struct Body {
    pub(crate) vfs: Vfs,
    pub(crate) place: Place,
    pub(crate) staged: Box<dyn StagedFile>,
    pub(crate) way: Way,
    pub(crate) append: bool,
    pub(crate) overwrite: Overwrite,
    pub(crate) on_abort: OnAbort,
    pub(crate) key: PartialKey,
    /// Whether it is known by a ticket, and thus kept while nothing is in it too.
    pub(crate) ticketed: bool,
    pub(crate) charge: Option<Charge>,
    /// Where the first write has to be.
    pub(crate) first: Option<u64>,
    pub(crate) prefix: Prefix,
    /// What there was before the write that is under way.
    pub(crate) before: Held,
    /// What an earlier upload left, which nothing was written to yet and whose client has not said where it goes on.
    pub(crate) untouched: bool,
    pub(crate) failed: bool,
    /// Whether the disk was full: then nothing that came is kept, since a partial would hold the last of it.
    pub(crate) no_room: bool,
    /// Whether a sync failed: the kernel says so once and forgets, so a later sync that succeeds proves nothing of these bytes.
    pub(crate) unsynced: bool,
    /// The partial that was taken up, with the bytes that it had then.
    pub(crate) kept_before: Option<(FileId, u64)>,
    /// Whether the user's partial of the name goes with the commit.
    pub(crate) ends_partial: bool,
    /// The only validator that the commit may replace.
    pub(crate) over: Option<String>,
    /// What the end is called, and from where the bytes came.
    pub(crate) origin: Origin,
}

/// Why an upload is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client sends it.
    Client,
    /// It is a copy of this path.
    Copy(VPath),
    /// It is one half of a move, which is announced as a whole.
    Move,
}

impl Origin {
    pub(crate) fn aborted(&self, view: &View, path: &VPath, len: u64) {
        if *self == Self::Client {
            view.announce(FileAction::UploadAborted, path, None, Some(len));
        }
    }
}

impl Upload {
    pub(crate) fn new(path: VPath, body: Body, open: Arc<OpenUpload>) -> Self {
        Self { path, body: Some(Box::new(body)), open }
    }

    /// The commit takes the place of the user's partial of the name too.
    pub(crate) fn ends_partial(&mut self, partial: FileId) {
        let Some(body) = &mut self.body else { return };
        body.ends_partial = true;
        if let Some(charge) = &mut body.charge {
            charge.instead_of(partial);
        }
    }

    /// The name that it will commit under.
    #[must_use]
    pub fn path(&self) -> &VPath {
        &self.path
    }

    /// Whether `path` stands for the name that it is for, by whatever links.
    #[must_use]
    pub fn is_for(&self, path: &VPath) -> bool {
        let Some(body) = &self.body else { return false };
        let place = body.vfs.placed(path, LastLink::Follow, Action::Write);
        *path == self.path || place.is_ok_and(|place| place.key() == body.place.key())
    }

    /// Whether it writes into a committed file, where there is nothing to commit.
    #[must_use]
    pub fn is_in_place(&self) -> bool {
        self.body.as_ref().is_some_and(|body| body.way == Way::InPlace)
    }

    /// Bytes in it now (the file's length, for a patch).
    #[must_use]
    pub fn len(&self) -> u64 {
        self.open.len()
    }

    /// Whether nothing is in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes all of `data` at `offset` (at the end, where the intent said append). Quota is charged as it grows.
    ///
    /// # Errors
    /// [`VfsError::OverQuota`], [`VfsError::NoSpace`], [`VfsError::WrongOffset`], [`VfsError::Backend`]. After an error the
    /// upload can only be dropped.
    pub async fn write_at(&mut self, offset: u64, data: &[u8]) -> Result<(), VfsError> {
        if data.is_empty() {
            return Ok(());
        }
        let body = self.body.as_mut().ok_or(VfsError::Interrupted)?;
        let _alone = body.alone().await;
        // Unless this comes to its end, by an error or by a caller that goes away, the upload cannot be trusted.
        body.failed = true;
        let at = body.begin_write(&self.open, offset, data.len() as u64)?;
        let written = body.staged.write_at(at, data).await;
        body.end_write(&self.open, at, data.len() as u64, written.is_ok());
        body.failed = written.is_err();
        written.map_err(|error| body.broke(error))
    }

    /// Reads back what was written, for clients that open for both. Returns 0 at the end.
    ///
    /// # Errors
    /// [`VfsError::Backend`].
    pub async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, VfsError> {
        let body = self.body.as_ref().ok_or(VfsError::Interrupted)?;
        body.staged.read_at(offset, buffer).await.map_err(|error| body.place.said(error))
    }

    /// Cuts or extends to `length`.
    ///
    /// # Errors
    /// As [`Upload::write_at`].
    pub async fn set_len(&mut self, length: u64) -> Result<(), VfsError> {
        let body = self.body.as_mut().ok_or(VfsError::Interrupted)?;
        let _alone = body.alone().await;
        body.failed = true;
        body.vfs.lives()?;
        body.patch_unlocked()?;
        match body.way {
            Way::Staged => {
                body.charge(length, Held::of(self.open.len()), Extent::Exactly)?;
                body.staged.set_len(length).await.map_err(|error| body.broke(error))?;
            }
            Way::InPlace => {
                let held = body.held(&self.open)?;
                body.charge(length, held, Extent::AtLeast)?;
                let cut = body.staged.set_len(length).await;
                body.settle_in_place(held, length);
                cut.map_err(|error| body.place.said(error))?;
            }
        }
        body.failed = false;
        body.prefix.cut(length);
        self.open.wrote(length);
        Ok(())
    }

    /// Facts that the file is to have after the commit.
    pub fn set_facts(&mut self, facts: Facts) {
        self.open.set_facts(facts);
    }

    /// The facts as `STAT` of the open upload should show them.
    #[must_use]
    pub fn metadata(&self) -> Metadata {
        self.open.metadata()
    }

    /// Lets the commit happen only over the file with this validator ([`VfsError::Changed`] otherwise): `If-Match`, looked at
    /// again when all bytes are there.
    pub fn only_over(&mut self, etag: String) {
        if let Some(body) = &mut self.body {
            body.over = Some(etag);
        }
    }

    /// Puts what was written on disk, without committing (`fsync@openssh.com`).
    ///
    /// # Errors
    /// [`VfsError::Backend`].
    pub async fn sync(&mut self) -> Result<(), VfsError> {
        let body = self.body.as_mut().ok_or(VfsError::Interrupted)?;
        body.staged.sync().await.map_err(|error| body.broke_at_sync(error))
    }

    /// Says whether an upload of `total` bytes has room, by quota and disk, so that a client that announces its length can be
    /// refused before it sends. No promise: others write too.
    ///
    /// # Errors
    /// [`VfsError::OverQuota`], [`VfsError::NoSpace`].
    pub async fn check_room(&self, total: u64) -> Result<(), VfsError> {
        let body = self.body.as_ref().ok_or(VfsError::Interrupted)?;
        let more = total.saturating_sub(body.held(&self.open)?.bytes);
        if let Some(charge) = &body.charge {
            charge.fits(more)?;
        }
        let folder = body.place.inner.parent().unwrap_or_else(VPath::root);
        let space = body.place.mount.backend.space(&folder).await.map_err(|error| body.place.said(error))?;
        if space.free < more { Err(VfsError::NoSpace) } else { Ok(()) }
    }

    /// The descriptor, for doors that can `splice` into it; `None` for stores without one, for those where writing may wait for
    /// a network, and for a patch. What goes in this way is announced by [`Upload::grow`] before and [`Upload::wrote`] after.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.staged().filter(|staged| staged.is_quick())?.descriptor()
    }

    fn staged(&self) -> Option<&dyn StagedFile> {
        self.body.as_ref().filter(|body| body.way == Way::Staged && !body.append).map(|body| &*body.staged)
    }

    /// Reserves quota for `length` bytes of a staged file that are about to be put in at `offset` through [`Upload::descriptor`].
    ///
    /// # Errors
    /// As [`Upload::write_at`].
    pub fn grow(&mut self, offset: u64, length: u64) -> Result<(), VfsError> {
        let body = self.body.as_mut().ok_or(VfsError::Interrupted)?;
        if body.way == Way::InPlace {
            return Err(cannot_patch());
        }
        body.failed = true;
        body.begin_write(&self.open, offset, length)?;
        body.failed = false;
        Ok(())
    }

    /// Takes note of `length` bytes put in at `offset` through [`Upload::descriptor`].
    pub fn wrote(&mut self, offset: u64, length: u64) {
        if let Some(body) = &mut self.body {
            body.staged.wrote(offset, length);
            body.end_write(&self.open, offset, length, true);
        }
    }

    /// Takes note that putting bytes in through [`Upload::descriptor`] failed, and says it as the other writes do.
    pub fn broke(&mut self, source: io::Error) -> VfsError {
        let error = match Errno::from_io_error(&source) {
            Some(errno) if no_room(errno) => VfsError::NoSpace,
            _ => VfsError::Backend { action: Action::Write, source },
        };
        match &mut self.body {
            Some(body) => {
                body.failed = true;
                body.broke(error)
            }
            None => error,
        }
    }

    /// A descriptor of its own to the bytes, for copies on other threads.
    pub(crate) fn own_descriptor(&self) -> Option<OwnedFd> {
        self.staged()?.descriptor()?.try_clone_to_owned().ok()
    }

    /// Commits: synced (where the mount says so), renamed over the name, folder synced, quota settled, announced. When this
    /// returns `Ok` the bytes are in the file under its final name; before, the old state is untouched.
    ///
    /// Dropping the future does not stop a commit that began: it comes to one of its two ends by itself.
    ///
    /// A partial that was taken up by [`Intent::Patch`] without an offset and not written to is a partial again, and that is
    /// success too: opening and closing a name is no proof that an upload is whole.
    ///
    /// # Errors
    /// [`VfsError::Exists`] for [`Intent::CreateNew`], [`VfsError::NotFound`] where the folder went, [`VfsError::Locked`], and
    /// as [`Upload::write_at`]. The upload is aborted then.
    pub async fn commit(self) -> Result<Committed, VfsError> {
        detached(self.end()).await
    }

    /// Leaves what came as the user's partial, so that the client goes on later: what it announced, and no abort. Bytes and name
    /// are on the disk (the name where the mount says so) when this returns `Ok`; the length of the partial.
    ///
    /// # Errors
    /// [`VfsError::Interrupted`] where it cannot be kept, and as [`Upload::write_at`]. The upload is aborted then. An error of
    /// the folder's disk alone leaves the partial there.
    pub async fn keep(mut self) -> Result<u64, VfsError> {
        let body = self.body.as_mut().ok_or(VfsError::Interrupted)?;
        // What is cut off must be so on the disk too: a longer file after a crash would be taken for more that came.
        if let Some(length) = body.keeps().filter(|length| *length < self.open.len()) {
            body.staged.set_len(length).await.map_err(|error| body.broke(error))?;
        }
        self.sync().await?;
        let body = self.body.take().ok_or(VfsError::Interrupted)?;
        let place = body.place.clone();
        let kept = body.keep().ok_or(VfsError::Interrupted)?;
        place.mount.backend.sync_folder_of(&place.inner).await.map_err(|error| place.said(error))?;
        Ok(kept)
    }

    async fn end(mut self) -> Result<Committed, VfsError> {
        let body = self.body.as_mut().ok_or(VfsError::Interrupted)?;
        if body.failed {
            return Err(VfsError::Interrupted);
        }
        if body.untouched {
            // Opened and closed: that says nothing of the end. It is a partial again.
            return Ok(Committed { path: self.path.clone(), metadata: self.open.metadata(), created: false });
        }
        body.vfs.lives()?;
        body.allowed().await?;
        body.staged.set_facts(self.open.facts());
        body.staged.settle().await.map_err(|error| body.broke_at_sync(error))?;
        // The sync may have taken seconds, in which somebody took a lock, or the session ended.
        body.vfs.lives()?;
        body.allowed().await?;
        body.unchanged().await?;
        let Some(body) = self.body.take() else { return Err(VfsError::Interrupted) };
        body.publish(&self.path, self.open.len()).await
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Some(body) = self.body.take() {
            body.abort(&self.path, self.open.len());
        }
    }
}

/// How a charge follows a length.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    /// Up to there, if it was less.
    AtLeast,
    /// Just so.
    Exactly,
}

/// What the quota has been charged for.
#[derive(Clone, Copy, Default)]
pub(crate) struct Held {
    bytes: u64,
    /// Names that a committed file has.
    names: u64,
}

impl Held {
    fn of(bytes: u64) -> Self {
        Self { bytes, names: 1 }
    }
}

/// Writers in place are alone with their file, in this many groups of files: what a file has, what is charged for it and what
/// is written to it are one step.
const GROUPS: usize = 64;

static PATCHED: [tokio::sync::Mutex<()>; GROUPS] = [const { tokio::sync::Mutex::const_new(()) }; GROUPS];

impl Body {
    /// Waits for the other writers in place to this file; nothing for a staged one, which has no other.
    async fn alone(&self) -> Option<tokio::sync::MutexGuard<'static, ()>> {
        if self.way == Way::Staged {
            return None;
        }
        let (device, number) = self.staged.metadata().map(|metadata| metadata.unique).unwrap_or_default();
        let group = usize::try_from((device ^ number) % GROUPS as u64).unwrap_or_default();
        Some(PATCHED.get(group)?.lock().await)
    }

    /// Bytes that the quota has been charged for: the longest the file was, and for a patch what it has now: others write to
    /// it too.
    fn held(&self, open: &OpenUpload) -> Result<Held, VfsError> {
        match self.way {
            Way::Staged => Ok(Held::of(open.len())),
            Way::InPlace => {
                let metadata = self.staged.metadata().map_err(|error| self.place.said(error))?;
                Ok(Held { bytes: metadata.size, names: metadata.links })
            }
        }
    }

    fn charge(&mut self, length: u64, held: Held, extent: Extent) -> Result<(), VfsError> {
        let length = if extent == Extent::AtLeast { length.max(held.bytes) } else { length };
        let charged = match (&mut self.charge, self.way) {
            (Some(charge), Way::Staged) => charge.hold(length),
            (Some(charge), Way::InPlace) => charge.grow(length.saturating_sub(held.bytes), held.names),
            (None, _) => Ok(()),
        };
        charged.map_err(|error| self.broke(error))
    }

    /// What an error of the store is called outside; a full disk is remembered.
    fn broke(&mut self, error: VfsError) -> VfsError {
        self.no_room |= matches!(error, VfsError::NoSpace);
        self.place.said(error)
    }

    /// The same of a sync that failed.
    fn broke_at_sync(&mut self, error: VfsError) -> VfsError {
        self.unsynced = true;
        self.broke(error)
    }

    /// Gives back what a change in place was charged for up to `end` and did not take, or what it took away.
    fn settle_in_place(&mut self, held: Held, end: u64) {
        let (Some(charge), Ok(now)) = (&mut self.charge, self.staged.metadata()) else { return };
        let charged = end.max(held.bytes);
        charge.ungrow(charged.saturating_sub(now.size.max(held.bytes)), held.names);
        // The names of now: once the last one went, all of it was given back.
        charge.shrink(held.bytes.saturating_sub(now.size), now.links);
    }

    /// Where a write goes, once it may be made.
    fn begin_write(&mut self, open: &OpenUpload, offset: u64, length: u64) -> Result<u64, VfsError> {
        self.vfs.lives()?;
        let held = self.held(open)?;
        let at = if self.append { held.bytes } else { offset };
        if let Some(expected) = self.first
            && at != expected
        {
            return Err(VfsError::WrongOffset { expected });
        }
        let end = at.checked_add(length).filter(|end| i64::try_from(*end).is_ok()).ok_or(VfsError::NoSpace)?;
        self.patch_unlocked()?;
        self.charge(end, held, Extent::AtLeast)?;
        self.before = held;
        self.untouched = false;
        self.first = None;
        Ok(at)
    }

    fn end_write(&mut self, open: &OpenUpload, at: u64, length: u64, whole: bool) {
        let end = at.saturating_add(length);
        match self.way {
            Way::Staged => {
                open.wrote(open.len().max(end));
                if whole {
                    self.prefix.add(at, end);
                }
            }
            Way::InPlace => {
                if !whole {
                    self.settle_in_place(self.before, end);
                }
                open.wrote(self.staged.metadata().map_or(open.len(), |metadata| metadata.size));
            }
        }
    }

    /// Whether locks let the next write in place happen; for a staged file only the commit counts.
    fn patch_unlocked(&self) -> Result<(), VfsError> {
        match self.way {
            Way::InPlace => self.vfs.unlocked(&self.place, Change::Content).map_err(|error| self.place.said(error)),
            Way::Staged => Ok(()),
        }
    }

    /// Whether locks let the commit happen; what was written in place is there already.
    async fn allowed(&self) -> Result<(), VfsError> {
        if self.way == Way::InPlace || self.vfs.view.shared.locks.is_empty() {
            return Ok(());
        }
        let change = match self.place.mount.backend.metadata(&self.place.inner).await {
            Ok(_) => Change::Content,
            Err(_) => Change::Member,
        };
        self.vfs.unlocked(&self.place, change).map_err(|error| self.place.said(error))
    }

    async fn unchanged(&self) -> Result<(), VfsError> {
        let Some(over) = self.over.as_ref().filter(|_| self.way == Way::Staged) else { return Ok(()) };
        match self.place.mount.backend.metadata(&self.place.inner).await {
            Ok(found) if found.etag == *over => Ok(()),
            Ok(_) | Err(VfsError::NotFound(_)) => Err(VfsError::Changed(self.place.path.clone())),
            Err(error) => Err(self.place.said(error)),
        }
    }
}

/// A charge for a fresh or resumed upload.
pub(crate) fn charge(vfs: &Vfs, place: &Place, partial: Option<(FileId, u64)>) -> Option<Charge> {
    let mut charge = place.mount.counts.then(|| Charge::new(Arc::clone(&vfs.view.account), vfs.view.quota))?;
    if let Some((id, bytes)) = partial {
        charge.adopt(id, bytes);
    }
    Some(charge)
}

/// The refusal of a name that only a folder can have.
pub(crate) fn is_folder(path: &VPath) -> VfsError {
    VfsError::IsFolder(path.clone())
}

/// The refusal of an action that a store does not know.
pub(crate) fn cannot_patch() -> VfsError {
    VfsError::Unsupported(Action::Write)
}
