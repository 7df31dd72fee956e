//! The body of a `PUT` on its way into the tree: staged, and committed only when the announced length or the last chunk is here and
//! nothing else was said.
//!
//! A short body never touches what is under the name, nor does one that is not what its digest says; and a part that the client says is
//! not the last is kept and never committed.
//! Never: judges conditions (the door has, and says which state must still be there at the end), or words a reply.

use crate::{Body, Check, Claims, Malformed, Placed, wants_new};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, header};
use http_body_util::BodyExt as _;
use lockgate_model::VPath;
use lockgate_vfs::{Committed, Facts, Intent, Metadata, OnAbort, Upload, Vfs, VfsError};
use std::{
    future::Future,
    pin::{Pin, pin},
    time::SystemTime,
};

/// How much of an unfinished upload is kept, in bytes.
pub const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");

/// Bytes of one write: a frame over HTTP/2 has 16 KiB, which is too little for a call each.
const PIECE: usize = 256 * 1024;

/// Where the bytes of an upload belong, and how many are announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    intent: Intent,
    start: u64,
    announced: Option<u64>,
    more_follows: bool,
}

impl Plan {
    /// What a `PUT` means: a whole new state, or a part by `Content-Range`. `length` is what it says of its body's length.
    ///
    /// # Errors
    /// [`Malformed::Doubled`], [`Malformed::ContentRange`], and [`Malformed::Lengths`] where the two lengths differ.
    pub fn of_put(headers: &HeaderMap, length: Option<u64>) -> Result<Self, Malformed> {
        match Placed::read(headers)? {
            Some(placed) if length.is_some_and(|length| length != placed.count) => Err(Malformed::Lengths),
            Some(placed) => {
                Ok(Self { more_follows: placed.more_follows(), ..Self::part(placed.first, Some(placed.count)) })
            }
            None => {
                let intent = if wants_new(headers) { Intent::CreateNew } else { Intent::Create };
                Ok(Self { intent, start: 0, announced: length, more_follows: false })
            }
        }
    }

    /// A part that ends the file, or lies in one that is there, from `start` on.
    #[must_use]
    pub fn part(start: u64, length: Option<u64>) -> Self {
        let intent = Intent::Patch { offset: Some(start), append: false };
        Self { intent, start, announced: length, more_follows: false }
    }

    /// Offset of the first byte.
    #[must_use]
    pub fn start(&self) -> u64 {
        self.start
    }

    /// Whether it is a part, which goes on with what is there.
    fn is_part(&self) -> bool {
        matches!(self.intent, Intent::Patch { .. })
    }

    /// What was there before a cut is still there after the next.
    fn on_abort(&self) -> OnAbort {
        if self.is_part() { OnAbort::Keep } else { OnAbort::Discard }
    }
}

/// Whether the bytes come as they are to be stored.
///
/// # Errors
/// [`Malformed::Encoded`].
pub fn as_they_are(headers: &HeaderMap) -> Result<(), Malformed> {
    let plain = headers
        .get_all(header::CONTENT_ENCODING)
        .iter()
        .all(|value| value.as_bytes().trim_ascii().eq_ignore_ascii_case(b"identity"));
    if plain { Ok(()) } else { Err(Malformed::Encoded) }
}

/// One upload to be received.
pub struct Receive<'a> {
    /// The tree, with the lock tokens that the request shows.
    pub vfs: &'a Vfs,
    /// The name.
    pub path: &'a VPath,
    /// Where the bytes belong.
    pub plan: Plan,
    /// The tag of the state that must still be there at the end: somebody else may be faster while the bytes come.
    pub over: Option<String>,
    /// The time that the file is to have; `None`: now.
    pub modified: Option<SystemTime>,
    /// What the request says of the bytes.
    pub claims: Claims,
}

/// What became of an upload.
#[derive(Debug)]
pub enum Stored {
    /// It is the file now.
    Committed(Committed),
    /// The client said that more follows: it is the user's partial, of this length.
    Kept(u64),
}

/// Why an upload was not stored.
#[derive(Debug, thiserror::Error)]
pub enum NotStored {
    /// The tree's reason. A body that was cut is [`VfsError::Interrupted`].
    #[error(transparent)]
    Tree(#[from] VfsError),
    /// More bytes came than were announced.
    #[error("the body is longer than announced")]
    Longer,
    /// Fewer did, and nothing said that the body was cut.
    #[error("the body is shorter than announced")]
    Shorter,
    /// The body is not what its digest says. Of a part that goes on with a partial nothing was kept; one in a file that is there has
    /// been written, as any write in place.
    #[error("the body is not what its digest says")]
    Mismatch,
    /// The session ended before the upload did.
    #[error("the session has ended")]
    Ended,
}

impl Receive<'_> {
    /// Takes in `body`, in a session that lives until `ended`. `Ok` only on the proof of its end.
    ///
    /// Dropping the future abandons the upload: a part is kept as far as it came, anything else is gone.
    ///
    /// # Errors
    /// [`NotStored`].
    pub async fn take<E>(self, body: Body, ended: impl Future<Output = E>) -> Result<Stored, NotStored> {
        let Self { vfs, path, plan, over, modified, claims } = self;
        let mut check = if plan.is_part() { claims.of_part() } else { claims.of_whole() };
        // In a file that is there already a part is written in its place, and there is nothing to keep.
        let goes_on = plan.more_follows && committed(vfs, path).await?.is_none();
        let mut upload = vfs.create(path, plan.intent, plan.on_abort()).await?;
        if let Some(length) = plan.announced {
            upload.check_room(plan.start.saturating_add(length)).await?;
        }
        if let Some(etag) = over {
            upload.only_over(etag);
        }
        let end = fill(&mut upload, pin!(ended), body, plan, &mut check).await?;
        if !check.holds() {
            if plan.is_part() && !upload.is_in_place() {
                upload.set_len(plan.start).await?;
            }
            return Err(NotStored::Mismatch);
        }
        if goes_on {
            return keep(upload, vfs, path, end).await;
        }
        if modified.is_some() {
            upload.set_facts(Facts { modified, ..Facts::default() });
        }
        Ok(Stored::Committed(upload.commit().await?))
    }
}

/// What everybody sees under a name: an upload that was cut is nothing that a condition can be about.
///
/// # Errors
/// As [`Vfs::stat_committed`], but for the absence of the name.
pub async fn committed(vfs: &Vfs, path: &VPath) -> Result<Option<Metadata>, VfsError> {
    match vfs.stat_committed(path).await {
        Ok(facts) => Ok(Some(facts)),
        Err(VfsError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Leaves an upload as the user's partial, and says so only once it is one.
async fn keep(mut upload: Upload, vfs: &Vfs, path: &VPath, length: u64) -> Result<Stored, NotStored> {
    upload.sync().await?;
    drop(upload);
    match vfs.stat(path).await {
        Ok(facts) if facts.size == length => Ok(Stored::Kept(length)),
        _ => Err(VfsError::Interrupted.into()),
    }
}

/// Writes the body, and says where it ended.
async fn fill<E>(
    upload: &mut Upload,
    mut ended: Pin<&mut impl Future<Output = E>>,
    body: Body,
    plan: Plan,
    check: &mut Check,
) -> Result<u64, NotStored> {
    let mut gathered = Gathered::new(plan.start);
    match gathered.take_in(upload, body, plan.announced, ended.as_mut(), |bytes| check.add(bytes)).await? {
        Came::Whole => gathered.flush(upload).await?,
        Came::Cut => {
            gathered.flush(upload).await?;
            return Err(VfsError::Interrupted.into());
        }
        Came::TooMany => return Err(NotStored::Longer),
        Came::Stopped(_) => return Err(NotStored::Ended),
    }
    if plan.announced.is_some_and(|announced| gathered.at - plan.start < announced) {
        return Err(NotStored::Shorter);
    }
    // The last bytes may have come together with the end of the right to send them.
    if ended.now_or_never().is_some() { Err(NotStored::Ended) } else { Ok(gathered.at) }
}

/// How the bytes of a request came to their end.
#[derive(Debug)]
pub enum Came<S> {
    /// In order.
    Whole,
    /// By an error.
    Cut,
    /// More came than may.
    TooMany,
    /// They were not waited for any longer, for this reason.
    Stopped(S),
}

/// Bytes that wait until they are worth a write: never more than 256 KiB of them.
#[derive(Debug)]
pub struct Gathered {
    /// Where they belong.
    at: u64,
    bytes: Vec<u8>,
}

impl Gathered {
    /// None yet, for this place.
    #[must_use]
    pub fn new(at: u64) -> Self {
        Self { at, bytes: Vec::new() }
    }

    /// Takes in a body of at most `most` bytes, until it ends or `stop` comes; `each` sees every piece. What waits at the end is
    /// the caller's to flush.
    ///
    /// # Errors
    /// As [`Upload::write_at`].
    pub async fn take_in<S>(
        &mut self,
        upload: &mut Upload,
        body: Body,
        most: Option<u64>,
        mut stop: Pin<&mut impl Future<Output = S>>,
        mut each: impl FnMut(&[u8]),
    ) -> Result<Came<S>, VfsError> {
        let mut body = pin!(body);
        let mut left = most;
        loop {
            let frame = tokio::select! {
                biased;
                why = stop.as_mut() => return Ok(Came::Stopped(why)),
                frame = body.frame() => frame,
            };
            match frame {
                // A body ends in order only after its whole length, its last chunk, or the stream's own end.
                None => return Ok(Came::Whole),
                Some(Err(error)) => {
                    tracing::debug!(%error, "upload cut");
                    return Ok(Came::Cut);
                }
                Some(Ok(frame)) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if let Some(left) = &mut left {
                        let Some(rest) = left.checked_sub(data.len() as u64) else { return Ok(Came::TooMany) };
                        *left = rest;
                    }
                    each(&data);
                    self.add(upload, &data).await?;
                }
            }
        }
    }

    async fn add(&mut self, upload: &mut Upload, data: &[u8]) -> Result<(), VfsError> {
        if self.bytes.len() + data.len() > PIECE {
            self.flush(upload).await?;
        }
        if data.len() >= PIECE / 4 && self.bytes.is_empty() {
            upload.write_at(self.at, data).await?;
            self.at += data.len() as u64;
        } else {
            self.bytes.extend_from_slice(data);
        }
        Ok(())
    }

    /// Writes what waits.
    ///
    /// # Errors
    /// As [`Upload::write_at`].
    pub async fn flush(&mut self, upload: &mut Upload) -> Result<(), VfsError> {
        upload.write_at(self.at, &self.bytes).await?;
        self.at += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{House, body, body_while, path};
    use bytes::Bytes;
    use futures_util::stream;
    use http::HeaderValue;
    use http_body::Frame;
    use http_body_util::StreamBody;
    use std::{
        future::{pending, ready},
        time::{Duration, UNIX_EPOCH},
    };

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn plan(pairs: &[(HeaderName, &str)]) -> Plan {
        Plan::of_put(&headers(pairs), None).unwrap()
    }

    fn part(range: &str) -> Plan {
        plan(&[(header::CONTENT_RANGE, range)])
    }

    fn receive<'a>(house: &'a House, path: &'a VPath, plan: Plan) -> Receive<'a> {
        Receive { vfs: &house.vfs, path, plan, over: None, modified: None, claims: Claims::default() }
    }

    async fn put(house: &House, plan: Plan, body: Body) -> Result<Stored, NotStored> {
        receive(house, &path("/a"), plan).take(body, pending::<()>()).await
    }

    #[test]
    fn a_put_is_a_whole_new_state_unless_it_says_otherwise() {
        let whole = Plan::of_put(&HeaderMap::new(), Some(5)).unwrap();
        assert_eq!(whole, Plan { intent: Intent::Create, start: 0, announced: Some(5), more_follows: false });
        assert_eq!(plan(&[(header::IF_NONE_MATCH, "*")]).intent, Intent::CreateNew);
        let last = Plan { announced: Some(3), ..Plan::part(3, None) };
        assert_eq!(part("bytes 3-5/*"), last);
        assert_eq!(part("bytes 3-5/9"), Plan { more_follows: true, ..last });
    }

    #[test]
    fn a_partial_upload_must_say_one_length_and_one_place() {
        let read = |pairs: &[(HeaderName, &str)], length| Plan::of_put(&headers(pairs), length);
        let range = (header::CONTENT_RANGE, "bytes 5-9/20");
        assert!(read(std::slice::from_ref(&range), Some(5)).is_ok());
        assert_eq!(read(std::slice::from_ref(&range), Some(6)), Err(Malformed::Lengths));
        assert_eq!(read(&[(header::CONTENT_RANGE, "bytes 9-5/20")], None), Err(Malformed::ContentRange));
        let mut twice = headers(&[range]);
        twice.append(header::CONTENT_RANGE, HeaderValue::from_static("bytes 5-9/20"));
        assert_eq!(Plan::of_put(&twice, None), Err(Malformed::Doubled("Content-Range")));
    }

    #[test]
    fn a_coded_body_is_not_stored_as_if_it_were_the_file() {
        let mut both = headers(&[(header::CONTENT_ENCODING, "Identity")]);
        assert_eq!(as_they_are(&both), Ok(()));
        both.append(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert_eq!(as_they_are(&both), Err(Malformed::Encoded));
    }

    #[tokio::test]
    async fn an_upload_is_there_whole_with_the_time_that_was_asked_for() {
        let house = House::new().await;
        let modified = Some(UNIX_EPOCH + Duration::from_secs(1_000_000));
        let at = path("/a");
        let wish = Receive { modified, ..receive(&house, &at, plan(&[])) };
        let Stored::Committed(done) = wish.take(body(&[Some(b"who"), Some(b"le")]), pending::<()>()).await.unwrap()
        else {
            panic!()
        };
        assert_eq!(
            (done.created, Some(done.metadata.modified), house.bytes("a").unwrap()),
            (true, modified, b"whole".to_vec())
        );
        let Stored::Committed(again) = put(&house, plan(&[]), body(&[])).await.unwrap() else { panic!() };
        assert_eq!((again.created, house.bytes("a").unwrap()), (false, Vec::new()));
    }

    #[tokio::test]
    async fn a_body_of_another_length_than_announced_is_not_stored() {
        let house = House::new().await;
        let announced = |length| Plan::of_put(&HeaderMap::new(), Some(length)).unwrap();
        assert!(matches!(put(&house, announced(3), body(&[Some(b"four")])).await, Err(NotStored::Longer)));
        assert!(matches!(put(&house, announced(5), body(&[Some(b"four")])).await, Err(NotStored::Shorter)));
        assert_eq!((house.bytes("a"), house.kept("a").await), (None, None));
    }

    #[tokio::test]
    async fn a_body_that_is_not_what_its_digest_says_leaves_everything_as_it_was() {
        let house = House::new().await;
        let at = path("/a");
        let claims =
            |name: &'static str, digest: &str| Claims::of(&headers(&[(HeaderName::from_static(name), digest)]));
        let of_whole = "sha-256=:ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=:";
        for old in [None, Some(&b"old"[..])] {
            if let Some(bytes) = old {
                house.put("a", bytes);
            }
            let wish = Receive { claims: claims("repr-digest", of_whole), ..receive(&house, &at, plan(&[])) };
            let wrong = wish.take(body(&[Some(b"ab"), Some(b"d")]), pending::<()>()).await;
            assert!(matches!(wrong, Err(NotStored::Mismatch)));
            assert_eq!((house.bytes("a").as_deref(), house.kept("a").await), (old, None));
        }
        let wish = Receive { claims: claims("repr-digest", of_whole), ..receive(&house, &at, plan(&[])) };
        wish.take(body(&[Some(b"ab"), Some(b"c")]), pending::<()>()).await.unwrap();
        assert_eq!(house.bytes("a").unwrap(), b"abc");
    }

    #[tokio::test]
    async fn a_part_that_is_not_what_its_digest_says_is_taken_back_and_can_be_sent_again() {
        let house = House::new().await;
        house.interrupted("/a", b"0123").await;
        let at = path("/a");
        let digest = headers(&[(HeaderName::from_static("content-md5"), "kAFQmDzST7DWlj99KOF/cg==")]);
        let wish = |range| Receive { claims: Claims::of(&digest), ..receive(&house, &at, part(range)) };
        for range in ["bytes 4-6/7", "bytes 4-6/9"] {
            let wrong = wish(range).take(body(&[Some(b"abd")]), pending::<()>()).await;
            assert!(matches!(wrong, Err(NotStored::Mismatch)));
            assert_eq!((house.bytes("a"), house.kept("a").await), (None, Some(4)));
        }
        wish("bytes 4-6/7").take(body(&[Some(b"abc")]), pending::<()>()).await.unwrap();
        assert_eq!(house.bytes("a").unwrap(), b"0123abc");
    }

    #[tokio::test]
    async fn an_upload_that_is_cut_leaves_nothing_behind() {
        let house = House::new().await;
        let cut = put(&house, plan(&[]), body(&[Some(b"half"), None])).await;
        assert!(matches!(cut, Err(NotStored::Tree(VfsError::Interrupted))));
        assert_eq!((house.bytes("a"), house.kept("a").await), (None, None));
    }

    #[tokio::test]
    async fn a_part_that_is_not_the_last_is_kept_and_never_committed() {
        let house = House::new().await;
        house.interrupted("/a", b"0123").await;
        assert!(matches!(put(&house, part("bytes 4-5/8"), body(&[Some(b"45")])).await, Ok(Stored::Kept(6))));
        assert_eq!((house.bytes("a"), house.kept("a").await), (None, Some(6)));
        let last = put(&house, part("bytes 6-7/8"), body(&[Some(b"67")])).await;
        assert!(matches!(last, Ok(Stored::Committed(Committed { created: true, .. }))));
        assert_eq!(house.bytes("a").unwrap(), b"01234567");
        // In a file that is there, any part has its place.
        put(&house, part("bytes 1-2/8"), body(&[Some(b"xy")])).await.unwrap();
        assert_eq!(house.bytes("a").unwrap(), b"0xy34567");
    }

    #[tokio::test]
    async fn a_resumed_upload_that_is_cut_again_can_be_resumed_again() {
        let house = House::new().await;
        house.interrupted("/a", b"0123").await;
        let rest = part("bytes 4-9/10");
        assert!(put(&house, rest, body(&[Some(b"45"), None])).await.is_err());
        assert_eq!(house.kept("a").await, Some(6));
        let again = put(&house, rest, body(&[Some(b"45")])).await;
        assert!(matches!(again, Err(NotStored::Tree(VfsError::WrongOffset { expected: 6 }))));
        put(&house, part("bytes 6-9/10"), body(&[Some(b"6789")])).await.unwrap();
        assert_eq!(house.bytes("a").unwrap(), b"0123456789");
    }

    #[tokio::test]
    async fn what_changed_while_the_bytes_came_is_not_replaced() {
        let house = House::new().await;
        house.put("a", b"first");
        let over = Some(house.vfs.stat(&path("/a")).await.unwrap().etag);
        let other = house.on_disk("a");
        let body = body_while(b"mine", move || std::fs::write(&other, b"somebody else's").unwrap());
        let at = path("/a");
        let result = Receive { over, ..receive(&house, &at, plan(&[])) }.take(body, pending::<()>()).await;
        assert!(matches!(result, Err(NotStored::Tree(VfsError::Changed(_)))));
        assert_eq!(house.bytes("a").unwrap(), b"somebody else's");
    }

    #[tokio::test]
    async fn no_upload_is_committed_after_the_end_of_its_session() {
        let house = House::new().await;
        let at = path("/a");
        let early = receive(&house, &at, plan(&[])).take(body(&[Some(b"all")]), ready(())).await;
        assert!(matches!(early, Err(NotStored::Ended)));
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let mut end = Some(end);
        let body = body_while(b"all", move || drop(end.take()));
        let late = receive(&house, &at, plan(&[])).take(body, ended).await;
        assert!(matches!(late, Err(NotStored::Ended)));
        assert_eq!(house.bytes("a"), None);
    }

    #[tokio::test]
    async fn small_and_large_frames_come_together_in_order() {
        let house = House::new().await;
        let sizes = [1, PIECE - 1, 1, 16 * 1024, PIECE / 4, 7, 3 * PIECE, 100, PIECE / 4, 0, 5];
        let mut all = Vec::new();
        let mut pieces = Vec::new();
        for (place, size) in sizes.into_iter().enumerate() {
            let piece = vec![u8::try_from(place).unwrap(); size];
            all.extend_from_slice(&piece);
            pieces.push(Ok(Frame::data(Bytes::from(piece))));
        }
        put(&house, plan(&[]), StreamBody::new(stream::iter(pieces)).boxed_unsync()).await.unwrap();
        assert!(house.bytes("a").unwrap() == all);
    }
}
