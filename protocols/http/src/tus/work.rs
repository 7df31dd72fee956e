//! What is done to an upload: begun, gone on with, looked at, ended. All bytes that are kept are bytes that a client may count on.
//!
//! What came without a checksum stays, however the request ended. What was to be checked is noted before it comes (as the length that
//! was right until then) and cut off again unless it was right, also by the first request after the server died in the middle of it.
//!
//! An upload that is whole and not committed, because the server died in between or the name was locked, is committed by whoever asks
//! for it next: a client takes the full offset for success.

use super::{
    after,
    table::{Hold, Others},
    token::Token,
    too_large, unknown,
};
use crate::{body::Body, refusal::Refusal};
use futures_util::FutureExt as _;
use http::StatusCode;
use http_body_util::BodyExt as _;
use lockgate_http_semantics::{Check, Gathered};
use lockgate_model::UserName;
use lockgate_vfs::{OnAbort, PartialKey, Upload, Vfs, VfsError};
use std::{
    future::Future,
    pin::{Pin, pin},
    sync::Arc,
    time::SystemTime,
};

/// Unfinished uploads that one user may have, those by other protocols too. An empty one costs a file and no quota.
const MOST_OPEN: usize = 1000;

/// One upload by its address, for one user.
pub(super) struct Target<'a> {
    vfs: &'a Vfs,
    key: PartialKey,
    token: Token,
}

/// The bytes that a request brings.
pub(super) struct Piece {
    pub(super) offset: u64,
    pub(super) checksum: Option<Check>,
}

/// How far an upload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) offset: u64,
    pub(super) ends: Ends,
}

/// What is to become of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ends {
    /// It is the file now.
    Committed,
    /// What is there of it is kept until then.
    At(SystemTime),
}

/// Why the rest of a request is not waited for.
enum Stopped {
    /// The session is over.
    Ended,
    /// Another request of the client's takes over.
    MakesWay,
}

type Came = lockgate_http_semantics::Came<Stopped>;

impl<'a> Target<'a> {
    pub(super) fn new(vfs: &'a Vfs, owner: &UserName, token: Token) -> Self {
        Self { vfs, key: PartialKey::of_ticket(owner, &token.text), token }
    }

    pub(super) fn address(&self) -> String {
        format!("/api/v1/uploads/{}", self.token.text)
    }

    /// Bytes announced.
    pub(super) fn length(&self) -> u64 {
        self.token.length
    }

    pub(super) fn metadata(&self) -> &str {
        &self.token.metadata
    }

    /// Begins it, with what came along. Until this succeeds the client knows no address, and so nothing is kept.
    pub(super) async fn create<E>(
        &self,
        piece: Option<Piece>,
        body: Body,
        ended: impl Future<Output = E>,
    ) -> Result<Standing, Refusal> {
        if self.vfs.upload_keep().is_zero() {
            let message = "uploads that were cut are not kept here: send the file in one piece, by PUT";
            return Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, "not_supported", message));
        }
        if self.vfs.unfinished(MOST_OPEN).await? >= MOST_OPEN {
            let message = format!(
                "{MOST_OPEN} of your uploads are unfinished, which is the most: finish or end some of them, or wait until they expire"
            );
            return Err(Refusal::new(StatusCode::INSUFFICIENT_STORAGE, "too_many_uploads", message));
        }
        let hold = Arc::new(self.hold(Others::GoOn).await?);
        let mut upload = self.vfs.create_ticketed(&self.token.path, &self.token.text, OnAbort::Discard).await?;
        upload.check_room(self.token.length).await?;
        if let Some(Piece { offset, mut checksum }) = piece {
            match self.fill(&mut upload, &hold, (offset, &mut checksum), body, pin!(ended)).await? {
                Came::Whole if checksum.is_none_or(Check::holds) => {}
                Came::Whole => return Err(mismatch()),
                came => return Err(refused(came)),
            }
        }
        if upload.len() == self.token.length {
            return self.commit(upload, &hold).await;
        }
        match upload.keep().await {
            Ok(offset) => Ok(self.open(offset, SystemTime::now())),
            Err(error) => {
                // It may be kept, and only its folder not be on the disk.
                let _ = self.vfs.drop_ticketed(&self.token.path, &self.token.text).await;
                Err(error.into())
            }
        }
    }

    /// How far it is.
    pub(super) async fn standing(&self) -> Result<Standing, Refusal> {
        let hold = Arc::new(self.hold(Others::GoOn).await?);
        self.settled(&hold).await
    }

    /// Goes on with it.
    pub(super) async fn append<E>(
        &self,
        piece: Piece,
        body: Body,
        ended: impl Future<Output = E>,
    ) -> Result<Standing, Refusal> {
        let hold = Arc::new(self.hold(Others::GoOn).await?);
        let standing = self.settled(&hold).await?;
        if standing.offset != piece.offset {
            return Err(VfsError::WrongOffset { expected: standing.offset }.into());
        }
        if standing.ends == Ends::Committed {
            return nothing_more(body).await.map(|()| standing);
        }
        if piece.checksum.is_some() {
            self.note(piece.offset).await?;
        }
        let mut upload = self.resume().await?;
        let Piece { offset, mut checksum } = piece;
        let checked = checksum.is_some();
        let came = self.fill(&mut upload, &hold, (offset, &mut checksum), body, pin!(ended)).await;
        match came {
            Ok(Came::Whole) if checksum.is_none_or(Check::holds) => {}
            other => {
                if matches!(other, Ok(Came::TooMany)) {
                    upload.set_len(offset).await?;
                }
                // A drop keeps what came; what was to be checked goes again.
                match upload.keep().await {
                    Ok(_) | Err(VfsError::Interrupted) => {}
                    Err(error) => tracing::debug!(%error, "what came of an upload is not kept"),
                }
                if checked {
                    self.back_to_note().await?;
                }
                return Err(match other? {
                    Came::Whole => mismatch(),
                    came => refused(came),
                });
            }
        }
        let standing = if upload.len() == self.token.length {
            self.commit(upload, &hold).await?
        } else {
            self.open(upload.keep().await?, SystemTime::now())
        };
        if checked {
            // The bytes are right: a note that cannot go now only has them sent again.
            let _ = self.vfs.drop_ticketed(&self.token.path, &self.token.note()).await;
        }
        Ok(standing)
    }

    /// Ends it. The file of one that is committed stays.
    pub(super) async fn terminate(&self) -> Result<(), Refusal> {
        let hold = self.hold(Others::MakeWay).await?;
        if hold.is_done() {
            hold.forget();
            return Ok(());
        }
        self.kept().await?.ok_or_else(unknown)?;
        for ticket in [&self.token.text, &self.token.note()] {
            self.vfs.drop_ticketed(&self.token.path, ticket).await?;
        }
        Ok(())
    }

    async fn hold(&self, others: Others) -> Result<Hold, Refusal> {
        Hold::take(self.key, others).await.ok_or_else(busy)
    }

    /// Where it stands once everything is in order that an earlier request left.
    async fn settled(&self, hold: &Arc<Hold>) -> Result<Standing, Refusal> {
        if hold.is_done() {
            return Ok(Standing { offset: self.token.length, ends: Ends::Committed });
        }
        let mut kept = self.kept().await?.ok_or_else(unknown)?;
        if self.back_to_note().await? {
            kept = self.kept().await?.ok_or_else(unknown)?;
        }
        if kept.0 == self.token.length {
            let upload = self.resume().await?;
            return self.commit(upload, hold).await;
        }
        // More than was announced is not of our making.
        if kept.0 > self.token.length {
            return Err(unknown());
        }
        Ok(self.open(kept.0, kept.1))
    }

    fn open(&self, offset: u64, touched: SystemTime) -> Standing {
        Standing { offset, ends: Ends::At(after(touched, self.vfs.upload_keep())) }
    }

    /// What is kept of it: how much, and when it was last touched. Where the path is none that may be written to there is nothing to be
    /// told, either: the address may be another user's.
    async fn kept(&self) -> Result<Option<(u64, SystemTime)>, Refusal> {
        match self.vfs.ticketed(&self.token.path, &self.token.text).await {
            Ok(facts) => Ok(facts.map(|facts| (facts.size, facts.modified))),
            Err(
                VfsError::NotFound(_)
                | VfsError::NotFolder(_)
                | VfsError::IsFolder(_)
                | VfsError::Forbidden { .. }
                | VfsError::ReadOnly(_)
                | VfsError::BadName,
            ) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    async fn resume(&self) -> Result<Upload, Refusal> {
        match self.vfs.resume_ticketed(&self.token.path, &self.token.text).await {
            // It is there, so another process has it, or the sweeper for a moment.
            Err(VfsError::NotFound(_)) if self.kept().await?.is_some() => Err(busy()),
            Err(VfsError::NotFound(_)) => Err(unknown()),
            done => Ok(done?),
        }
    }

    /// Commits, and remembers it, whether or not the client still waits for it.
    async fn commit(&self, upload: Upload, hold: &Arc<Hold>) -> Result<Standing, Refusal> {
        let hold = Arc::clone(hold);
        let task = tokio::spawn(async move {
            let committed = upload.commit().await;
            if committed.is_ok() {
                hold.done();
            }
            committed
        });
        task.await.unwrap_or(Err(VfsError::Interrupted))?;
        Ok(Standing { offset: self.token.length, ends: Ends::Committed })
    }

    /// Writes the body, as far as it goes.
    async fn fill<E>(
        &self,
        upload: &mut Upload,
        hold: &Hold,
        (offset, checksum): (u64, &mut Option<Check>),
        body: Body,
        mut ended: Pin<&mut impl Future<Output = E>>,
    ) -> Result<Came, VfsError> {
        let mut gathered = Gathered::new(offset);
        let most = self.token.length.saturating_sub(offset);
        let stop = async {
            tokio::select! {
                biased;
                _ = ended.as_mut() => Stopped::Ended,
                () = hold.stopped() => Stopped::MakesWay,
            }
        };
        let each = |data: &[u8]| {
            hold.moved();
            if let Some(checksum) = checksum {
                checksum.add(data);
            }
        };
        let came = gathered.take_in(upload, body, Some(most), pin!(stop), each).await?;
        gathered.flush(upload).await?;
        // The last bytes may have come together with the end of the right to send them.
        let late = matches!(came, Came::Whole) && ended.now_or_never().is_some();
        Ok(if late { Came::Stopped(Stopped::Ended) } else { came })
    }

    /// Notes that what comes after `length` is not checked yet.
    async fn note(&self, length: u64) -> Result<(), Refusal> {
        let (path, ticket) = (&self.token.path, self.token.note());
        let mut note = self.vfs.create_ticketed(path, &ticket, OnAbort::Discard).await?;
        note.write_at(0, &length.to_be_bytes()).await?;
        note.keep().await?;
        Ok(())
    }

    /// Cuts off what came after the note and was not checked. Whether there was a note.
    async fn back_to_note(&self) -> Result<bool, Refusal> {
        let (path, ticket) = (&self.token.path, self.token.note());
        if self.vfs.ticketed(path, &ticket).await?.is_none() {
            return Ok(false);
        }
        let note = self.vfs.resume_ticketed(path, &ticket).await?;
        let mut bytes = [0; 8];
        let noted = note.read_at(0, &mut bytes).await? == bytes.len();
        note.keep().await?;
        // A note that is cut itself was written before anything came.
        if noted {
            let mut upload = self.resume().await?;
            let right = u64::from_be_bytes(bytes).min(upload.len());
            upload.set_len(right).await?;
            upload.keep().await?;
        }
        self.vfs.drop_ticketed(path, &ticket).await?;
        Ok(true)
    }
}

/// A request for what is committed may bring nothing.
async fn nothing_more(body: Body) -> Result<(), Refusal> {
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| refused(Came::Cut))?;
        if frame.data_ref().is_some_and(|data| !data.is_empty()) {
            return Err(too_large());
        }
    }
    Ok(())
}

fn mismatch() -> Refusal {
    let status = StatusCode::from_u16(460).unwrap_or(StatusCode::BAD_REQUEST);
    Refusal::new(status, "checksum_mismatch", "the bytes are not those of the checksum: send them again")
}

fn busy() -> Refusal {
    Refusal::new(StatusCode::LOCKED, "busy", "another request works on this upload: try again in a moment")
}

fn refused(came: Came) -> Refusal {
    match came {
        Came::TooMany => too_large(),
        Came::Stopped(Stopped::Ended) => Refusal::denied(),
        Came::Stopped(Stopped::MakesWay) => busy(),
        Came::Whole | Came::Cut => VfsError::Interrupted.into(),
    }
}
