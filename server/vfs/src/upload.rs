//! One upload: bytes that commit under a name as a whole, or vanish.
//!
//! The value is the only thing that can make a name change, and it does so once, at [`Upload::commit`]. Everything else that
//! can happen to it, a lost client, a full disk, a panic, a stopped server, is a drop, and a drop leaves the old state.

use crate::{
    Action, Facts, FileId, LockToken, Metadata, Overwrite, PartialKey, StagedFile, Vfs, VfsError, account::Charge,
    change::detached, locks::Change, session::OpenUpload, tree::Place, view::View,
};
use lockgate_events::FileAction;
use lockgate_model::VPath;
use std::{
    os::fd::{BorrowedFd, OwnedFd},
    sync::Arc,
};

/// Pieces that may lie ahead of the whole beginning and are still remembered.
const MOST_AHEAD: usize = 64;

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
    /// They stay as the user's partial for `upload_keep`, so that the client can go on (FTP, SFTP).
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
    body: Option<Body>,
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
    pub(crate) charge: Option<Charge>,
    /// Where the first write has to be.
    pub(crate) first: Option<u64>,
    pub(crate) prefix: Prefix,
    pub(crate) failed: bool,
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
    fn aborted(&self, view: &View, path: &VPath, len: u64) {
        if *self == Self::Client {
            view.announce(FileAction::UploadAborted, path, None, Some(len));
        }
    }
}

impl Upload {
    pub(crate) fn new(path: VPath, body: Body, open: Arc<OpenUpload>) -> Self {
        Self { path, body: Some(body), open }
    }

    /// The name that it will commit under.
    #[must_use]
    pub fn path(&self) -> &VPath {
        &self.path
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
        // Unless this comes to its end, by an error or by a caller that goes away, the upload cannot be trusted.
        body.failed = true;
        let at = body.begin_write(&self.open, offset, data.len() as u64)?;
        let written = body.staged.write_at(at, data).await;
        body.end_write(&self.open, at, data.len() as u64, written.is_ok());
        body.failed = written.is_err();
        written.map_err(|error| body.place.said(error))
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
        body.failed = true;
        body.patch_unlocked()?;
        body.charge(length, body.held(&self.open), Extent::Exactly)?;
        body.staged.set_len(length).await.map_err(|error| body.place.said(error))?;
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
        body.staged.sync().await.map_err(|error| body.place.said(error))
    }

    /// Says whether an upload of `total` bytes has room, by quota and disk, so that a client that announces its length can be
    /// refused before it sends. No promise: others write too.
    ///
    /// # Errors
    /// [`VfsError::OverQuota`], [`VfsError::NoSpace`].
    pub async fn check_room(&self, total: u64) -> Result<(), VfsError> {
        let body = self.body.as_ref().ok_or(VfsError::Interrupted)?;
        let more = total.saturating_sub(body.held(&self.open));
        if body.charge.is_some() {
            body.vfs.view.account.reserve(more, body.vfs.view.quota)?;
            body.vfs.view.account.release(more);
        }
        let folder = body.place.inner.parent().unwrap_or_else(VPath::root);
        let space = body.place.mount.backend.space(&folder).await.map_err(|error| body.place.said(error))?;
        if space.free < more { Err(VfsError::NoSpace) } else { Ok(()) }
    }

    /// The descriptor, for doors that can `splice` into it; `None` for stores without one, and for a patch. What goes in this
    /// way is announced by [`Upload::grow`] before and [`Upload::wrote`] after.
    #[must_use]
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.body.as_ref().filter(|body| body.way == Way::Staged && !body.append)?.staged.descriptor()
    }

    /// Reserves quota for `length` bytes that are about to be put in at `offset` through [`Upload::descriptor`].
    ///
    /// # Errors
    /// As [`Upload::write_at`].
    pub fn grow(&mut self, offset: u64, length: u64) -> Result<(), VfsError> {
        let body = self.body.as_mut().ok_or(VfsError::Interrupted)?;
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

    /// A descriptor of its own to the bytes, for copies on other threads.
    pub(crate) fn own_descriptor(&self) -> Option<OwnedFd> {
        self.descriptor()?.try_clone_to_owned().ok()
    }

    /// Commits: synced (where the mount says so), renamed over the name, folder synced, quota settled, announced. When this
    /// returns `Ok` the bytes are in the file under its final name; before, the old state is untouched.
    ///
    /// Dropping the future does not stop a commit that began: it comes to one of its two ends by itself.
    ///
    /// # Errors
    /// [`VfsError::Exists`] for [`Intent::CreateNew`], [`VfsError::NotFound`] where the folder went, [`VfsError::Locked`], and
    /// as [`Upload::write_at`]. The upload is aborted then.
    pub async fn commit(self) -> Result<Committed, VfsError> {
        self.commit_holding(None).await
    }

    /// As [`Upload::commit`], with the lock tokens of the request that ends the upload instead of those it began with.
    ///
    /// # Errors
    /// As [`Upload::commit`].
    pub async fn commit_with(self, tokens: Vec<LockToken>) -> Result<Committed, VfsError> {
        self.commit_holding(Some(tokens)).await
    }

    async fn commit_holding(mut self, tokens: Option<Vec<LockToken>>) -> Result<Committed, VfsError> {
        let body = self.body.as_mut().ok_or(VfsError::Interrupted)?;
        if let Some(tokens) = tokens {
            body.vfs = body.vfs.with_tokens(tokens);
        }
        detached(self.end()).await
    }

    async fn end(mut self) -> Result<Committed, VfsError> {
        let body = self.body.as_mut().ok_or(VfsError::Interrupted)?;
        if body.failed {
            return Err(VfsError::Interrupted);
        }
        body.allowed().await?;
        body.staged.set_facts(self.open.facts());
        body.staged.settle().await.map_err(|error| body.place.said(error))?;
        // The sync may have taken seconds, in which somebody took a lock.
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

impl Body {
    /// Bytes that the quota has been charged for: the longest the file was, and for a patch what it has now.
    fn held(&self, open: &OpenUpload) -> u64 {
        match self.way {
            Way::Staged => open.len(),
            // Others may write to the same file.
            Way::InPlace => self.staged.metadata().map_or(open.len(), |metadata| metadata.size),
        }
    }

    fn charge(&mut self, length: u64, held: u64, extent: Extent) -> Result<(), VfsError> {
        let length = if extent == Extent::AtLeast { length.max(held) } else { length };
        match (&mut self.charge, self.way) {
            (Some(charge), Way::Staged) => charge.hold(length),
            (Some(charge), Way::InPlace) => charge.change(held, length),
            (None, _) => Ok(()),
        }
    }

    /// Where a write goes, once it may be made.
    fn begin_write(&mut self, open: &OpenUpload, offset: u64, length: u64) -> Result<u64, VfsError> {
        let held = if self.way == Way::Staged || self.append || offset.saturating_add(length) > open.len() {
            self.held(open)
        } else {
            open.len()
        };
        let at = if self.append { held } else { offset };
        if let Some(expected) = self.first
            && at != expected
        {
            return Err(VfsError::WrongOffset { expected });
        }
        let end = at.checked_add(length).filter(|end| i64::try_from(*end).is_ok()).ok_or(VfsError::NoSpace)?;
        self.patch_unlocked()?;
        self.charge(end, held, Extent::AtLeast)?;
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
            Way::InPlace if whole && !self.append => open.wrote(open.len().max(end)),
            Way::InPlace => {
                let now = self.staged.metadata().map_or(open.len(), |metadata| metadata.size);
                if !whole && let Some(charge) = &mut self.charge {
                    // What was charged for and did not fit goes back.
                    let _ = charge.change(end.max(now), now);
                }
                open.wrote(now);
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

    async fn publish(mut self, path: &VPath, len: u64) -> Result<Committed, VfsError> {
        let view = std::sync::Arc::clone(&self.vfs.view);
        let published = match self.staged.publish(self.overwrite).await {
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
        let bytes = Some(published.metadata.size);
        match &self.origin {
            Origin::Client => view.announce(FileAction::Stored, path, None, bytes),
            Origin::Copy(from) => view.announce(FileAction::Copied, from, Some(path), bytes),
            Origin::Move => {}
        }
        Ok(Committed { path: path.clone(), created: published.replaced.is_none(), metadata: published.metadata })
    }

    fn abort(mut self, path: &VPath, len: u64) {
        let charge = self.charge.take();
        let whole = self.prefix.whole();
        let keeps = self.on_abort == OnAbort::Keep && whole > 0 && !self.vfs.view.upload_keep.is_zero();
        if self.way == Way::Staged && keeps {
            match (self.staged.keep(&self.key, whole), charge) {
                (Some(kept), Some(charge)) => charge.keep(&kept),
                (_, charge) => drop(charge),
            }
        } else {
            self.staged.discard();
        }
        self.origin.aborted(&self.vfs.view, path, len);
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

/// How far an upload is whole from its beginning, where writes come out of order: only so much of it can be gone on with.
#[derive(Default)]
pub(crate) struct Prefix {
    end: u64,
    /// Pieces ahead of the end, in order, apart from each other.
    ahead: Vec<(u64, u64)>,
}

impl Prefix {
    pub(crate) fn new(end: u64) -> Self {
        Self { end, ahead: Vec::new() }
    }

    pub(crate) fn whole(&self) -> u64 {
        self.end
    }

    pub(crate) fn add(&mut self, from: u64, to: u64) {
        if from <= self.end {
            self.end = self.end.max(to);
        } else {
            let place = self.ahead.partition_point(|(start, _)| *start < from);
            self.ahead.insert(place, (from, to));
            self.merge();
            // A piece that is forgotten only makes the resumed upload begin earlier.
            self.ahead.truncate(MOST_AHEAD);
        }
        while let Some((_, to)) = self.ahead.first().copied().filter(|(from, _)| *from <= self.end) {
            self.end = self.end.max(to);
            self.ahead.remove(0);
        }
    }

    fn merge(&mut self) {
        self.ahead.dedup_by(|next, kept| {
            let meets = next.0 <= kept.1;
            if meets {
                kept.1 = kept.1.max(next.1);
            }
            meets
        });
    }

    pub(crate) fn cut(&mut self, length: u64) {
        self.end = self.end.min(length);
        self.ahead.retain(|(from, _)| *from < length);
        if let Some(last) = self.ahead.last_mut() {
            last.1 = last.1.min(length);
        }
    }
}

/// The refusal of a name that only a folder can have.
pub(crate) fn is_folder(path: &VPath) -> VfsError {
    VfsError::IsFolder(path.clone())
}

/// The refusal of an action that a store does not know.
pub(crate) fn cannot_patch() -> VfsError {
    VfsError::Unsupported(Action::Write)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_whole_beginning_never_reaches_past_a_hole(writes in proptest::collection::vec((0_u64..200, 1_u64..40), 0..40)) {
            let mut prefix = Prefix::default();
            let mut bytes = [false; 256];
            for (from, length) in writes {
                prefix.add(from, from + length);
                for at in from..from + length {
                    bytes[usize::try_from(at).unwrap()] = true;
                }
            }
            let whole = bytes.iter().take_while(|there| **there).count();
            prop_assert_eq!(prefix.whole(), whole as u64);
        }
    }
}
