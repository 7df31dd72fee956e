//! `GET` and `HEAD` of a file. What a user stored is never shown as a page of ours: always an attachment, never sniffed, in a sandbox.

use crate::{
    Access, Body, Verdict, Wanted, counted, digest::Wishes, empty, entity_tag, full, judge, last_modified, wanted,
};
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use lockgate_access::Session;
use lockgate_model::VPath;
use lockgate_vfs::{FileReader, Kind, Metadata, Vfs, VfsError};
use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

/// A file up to this size goes out as one piece.
const SMALL: u64 = 64 * 1024;
/// Pieces under TLS: what one pass of encryption keeps in the cache.
const SECURE_PIECE: usize = 256 * 1024;
/// Pieces in clear. A download holds two of them; twice as much gains nothing that is sure.
const CLEAR_PIECE: usize = 512 * 1024;

/// A request for a file.
pub struct Fetch<'a> {
    /// The tree.
    pub vfs: &'a Vfs,
    /// The name.
    pub path: &'a VPath,
    /// `GET` or `HEAD`.
    pub method: &'a Method,
    /// Its headers: conditions, ranges, and the digests that are wanted are read from them.
    pub headers: &'a HeaderMap,
    /// Whether the bytes go out under TLS.
    pub secure: bool,
}

/// Why a file is not sent.
#[derive(Debug, thiserror::Error)]
pub enum NotSent {
    /// The tree's reason; of a folder [`VfsError::IsFolder`].
    #[error(transparent)]
    Tree(#[from] VfsError),
    /// 412.
    #[error("a condition of the request does not hold")]
    Precondition,
    /// 416, with this `Content-Range`.
    #[error("the file has no such part")]
    Range(HeaderValue),
}

impl Fetch<'_> {
    /// The reply: 200, 206, or 304. What it says of the file is the same for both methods; its type and the name to save it under are
    /// the door's to add. The body is counted as the session's doing; one that takes its time goes on while the session lives, and
    /// holds what `watch` makes as long as it is there.
    ///
    /// # Errors
    /// [`NotSent`].
    pub async fn reply_in<W: Send + 'static>(
        self,
        session: &Session,
        watch: impl Fn() -> W,
    ) -> Result<Response<Body>, NotSent> {
        let path = self.path;
        // Shown as long as it is not the body's turn.
        let summing = Wishes::read(self.headers).any().then(|| session.activity().begin("HASH", path));
        let goes_on = || {
            let (session, watch) = (session.clone(), watch());
            move || {
                let _while_it_lives = &watch;
                session.is_over().is_none()
            }
        };
        let reply = self.reply(goes_on).await?;
        drop(summing);
        Ok(reply.map(|body| counted(body, session.activity().begin("GET", path))))
    }

    /// `watch` makes, for bodies and digests that take their time, the question whether they may still go on; it is asked at each
    /// piece, and what it holds lives as long as the body does.
    ///
    /// # Errors
    /// [`NotSent`].
    async fn reply<W: FnMut() -> bool + Send + 'static>(
        self,
        watch: impl Fn() -> W,
    ) -> Result<Response<Body>, NotSent> {
        let wishes = Wishes::read(self.headers);
        // A question about a file is not a fetch of it, unless it is one about its bytes.
        let is_head = self.method == Method::HEAD;
        let file = if is_head && !wishes.any() { None } else { Some(self.vfs.open(self.path).await?) };
        let facts = match &file {
            Some(file) => file.metadata().clone(),
            // What cannot be got has no length either: an upload that was cut is for its sender to go on with.
            None => self.vfs.stat_committed(self.path).await?,
        };
        if facts.kind == Kind::Folder {
            return Err(VfsError::IsFolder(self.path.clone()).into());
        }
        let mut response = Response::new(empty());
        describe(response.headers_mut(), &facts);
        match judge(self.headers, Access::Reads, Some((&facts).into())) {
            Verdict::Proceed => {}
            Verdict::Failed => return Err(NotSent::Precondition),
            Verdict::NotModified => {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return Ok(response);
            }
        }
        let (first, length) = match wanted(self.method, self.headers, &facts) {
            Wanted::Whole => (0, facts.size),
            Wanted::Part { first, last } => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let range = content_range(format_args!("{first}-{last}"), &facts);
                response.headers_mut().insert(header::CONTENT_RANGE, range);
                (first, last - first + 1)
            }
            Wanted::Unsatisfiable => return Err(NotSent::Range(content_range(format_args!("*"), &facts))),
        };
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        if let Some(file) = file {
            if wishes.any() {
                response.headers_mut().extend(wishes.told(&file, watch()).await?);
            }
            if is_head {
                return Ok(response);
            }
            *response.body_mut() = bytes(file, first, length, self.secure, watch).await?;
        }
        Ok(response)
    }
}

fn content_range(part: std::fmt::Arguments<'_>, facts: &Metadata) -> HeaderValue {
    HeaderValue::try_from(format!("bytes {part}/{}", facts.size)).unwrap_or(HeaderValue::from_static("bytes */*"))
}

fn describe(headers: &mut HeaderMap, facts: &Metadata) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, "sandbox; default-src 'none'; frame-ancestors 'none'"),
        (header::ACCEPT_RANGES, "bytes"),
        (header::CACHE_CONTROL, "private, no-cache"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.extend(entity_tag(facts).map(|value| (header::ETAG, value)));
    headers.extend(last_modified(facts).map(|value| (header::LAST_MODIFIED, value)));
}

async fn bytes<W: FnMut() -> bool + Send + 'static>(
    file: FileReader,
    first: u64,
    length: u64,
    secure: bool,
    watch: impl Fn() -> W,
) -> Result<Body, VfsError> {
    if length <= SMALL {
        let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
        if file.read_at(first, &mut bytes).await? < bytes.len() {
            return Err(VfsError::Interrupted);
        }
        return Ok(full(bytes));
    }
    let source = Source {
        file,
        goes_on: watch(),
        pool: Arc::default(),
        piece: if secure { SECURE_PIECE } else { CLEAR_PIECE },
        at: first,
        end: first + length,
    };
    Ok(FileBody { pieces: Box::pin(futures_util::stream::unfold(source, Source::next)), left: length }.boxed_unsync())
}

/// Where the pieces come from. Buffers come back when the connection is done with them.
struct Source<W> {
    file: FileReader,
    goes_on: W,
    pool: Arc<Mutex<Vec<Vec<u8>>>>,
    piece: usize,
    at: u64,
    end: u64,
}

impl<W: FnMut() -> bool> Source<W> {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        let left = self.end - self.at;
        if left == 0 {
            return None;
        }
        if !(self.goes_on)() {
            return Some((Err(io::ErrorKind::ConnectionAborted.into()), self.over()));
        }
        let length = usize::try_from(left).unwrap_or(usize::MAX).min(self.piece);
        let spare = self.pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut buffer = spare.unwrap_or_else(|| vec![0; self.piece.min(length.next_power_of_two())]);
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let target = buffer.get_mut(..length).unwrap_or_default();
        match self.file.read_at(self.at, target).await {
            Ok(count) if count == length => {
                self.at += count as u64;
                let lease = Lease { buffer, length, pool: Arc::clone(&self.pool) };
                Some((Ok(Bytes::from_owner(lease)), self))
            }
            // The file became shorter under us: better a cut reply than one that is made up.
            Ok(_) => Some((Err(io::ErrorKind::UnexpectedEof.into()), self.over())),
            Err(error) => {
                tracing::error!(%error, "reading for a download failed");
                Some((Err(io::Error::other("storage error")), self.over()))
            }
        }
    }

    fn over(mut self) -> Self {
        self.at = self.end;
        self
    }
}

struct Lease {
    buffer: Vec<u8>,
    length: usize,
    pool: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        self.buffer.get(..self.length).unwrap_or_default()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.buffer);
        self.pool.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// Pieces with a length known beforehand.
struct FileBody {
    pieces: Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>,
    left: u64,
}

impl http_body::Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        this.pieces.as_mut().poll_next(cx).map(|item| {
            item.map(|result| {
                result.map(|bytes| {
                    this.left = this.left.saturating_sub(bytes.len() as u64);
                    Frame::data(bytes)
                })
            })
        })
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{House, path};
    use http::HeaderName;

    async fn asked(house: &House, method: Method, pairs: &[(HeaderName, &str)]) -> Result<Response<Body>, NotSent> {
        let headers = pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
        let fetch = Fetch { vfs: &house.vfs, path: &path("/a"), method: &method, headers: &headers, secure: false };
        fetch.reply(|| || true).await
    }

    async fn bytes_of(response: Response<Body>) -> Vec<u8> {
        response.into_body().collect().await.unwrap().to_bytes().to_vec()
    }

    #[tokio::test]
    async fn head_says_what_get_says_and_sends_nothing() {
        let house = House::new().await;
        house.put("a", b"0123456789");
        let get = asked(&house, Method::GET, &[]).await.unwrap();
        for pairs in [&[][..], &[(header::RANGE, "bytes=0-1")]] {
            let head = asked(&house, Method::HEAD, pairs).await.unwrap();
            assert_eq!((head.status(), head.headers()), (StatusCode::OK, get.headers()));
            assert!(bytes_of(head).await.is_empty());
        }
        assert_eq!((get.status(), &get.headers()[header::CONTENT_LENGTH]), (StatusCode::OK, &HeaderValue::from(10)));
        assert!(get.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("sandbox"));
        assert_eq!(bytes_of(get).await, b"0123456789");
    }

    #[tokio::test]
    async fn a_part_is_sent_with_its_place_and_the_same_validators() {
        let house = House::new().await;
        house.put("a", b"0123456789");
        let whole = asked(&house, Method::GET, &[]).await.unwrap();
        for (range, place, text) in [
            ("bytes=2-4", "bytes 2-4/10", "234"),
            ("bytes=7-", "bytes 7-9/10", "789"),
            ("bytes=-2", "bytes 8-9/10", "89"),
            ("bytes=-30", "bytes 0-9/10", "0123456789"),
            ("bytes=0-1,2-3", "bytes 0-3/10", "0123"),
        ] {
            let part = asked(&house, Method::GET, &[(header::RANGE, range)]).await.unwrap();
            assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
            assert_eq!(part.headers()[header::CONTENT_RANGE], place);
            assert_eq!(part.headers()[header::CONTENT_LENGTH], text.len().to_string());
            for name in [header::ETAG, header::LAST_MODIFIED, header::CACHE_CONTROL, header::ACCEPT_RANGES] {
                assert_eq!(part.headers()[&name], whole.headers()[&name], "{name}");
            }
            assert_eq!(bytes_of(part).await, text.as_bytes(), "{range}");
        }
        let scattered = asked(&house, Method::GET, &[(header::RANGE, "bytes=0-1,8-9")]).await.unwrap();
        assert_eq!((scattered.status(), bytes_of(scattered).await), (StatusCode::OK, b"0123456789".to_vec()));
    }

    #[tokio::test]
    async fn the_digest_that_is_wanted_is_of_the_whole_file_whatever_is_sent_of_it() {
        const SHA_256: &str = "hNiYd/DUBB77a/kaFvAkjy/Vc+avBcGflr7bn4gveII=";
        const MD5: &str = "eB5eJF1ptWaXm4bijSPyxw==";
        let house = House::new().await;
        house.put("a", b"0123456789");
        let (repr, old) = (HeaderName::from_static("repr-digest"), HeaderName::from_static("digest"));
        let wishes = [
            (HeaderName::from_static("want-repr-digest"), "sha-256=1"),
            (HeaderName::from_static("want-digest"), "md5"),
        ];
        let tag = asked(&house, Method::HEAD, &[]).await.unwrap().headers()[header::ETAG].clone();
        for (method, range, text) in
            [(Method::GET, "bytes=2-4", "234"), (Method::GET, "lines=1", "0123456789"), (Method::HEAD, "bytes=2-4", "")]
        {
            let [current, older] = wishes.clone();
            let reply = asked(&house, method, &[(header::RANGE, range), current, older]).await.unwrap();
            assert_eq!(reply.headers()[&repr], format!("sha-256=:{SHA_256}:"));
            assert_eq!(reply.headers()[&old], format!("MD5={MD5}"));
            assert_eq!(bytes_of(reply).await, text.as_bytes());
        }
        let [current, _] = wishes;
        for unasked in [(header::ACCEPT, "*/*"), (header::IF_NONE_MATCH, tag.to_str().unwrap())] {
            let wishes = if unasked.0 == header::ACCEPT { vec![unasked] } else { vec![unasked, current.clone()] };
            let reply = asked(&house, Method::GET, &wishes).await.unwrap();
            assert!(!reply.headers().contains_key(&repr) && !reply.headers().contains_key(&old));
        }
    }

    #[tokio::test]
    async fn a_digest_ends_with_the_session_and_with_a_file_that_shrinks() {
        let house = House::new().await;
        house.put("a", &vec![1; 3 * CLEAR_PIECE]);
        let headers = HeaderMap::from_iter([(HeaderName::from_static("want-digest"), HeaderValue::from_static("md5"))]);
        let at = path("/a");
        for shrinks in [false, true] {
            let file = house.vfs.open(&at).await.unwrap();
            let goes_on = || {
                if shrinks {
                    house.put("a", b"short");
                }
                shrinks
            };
            let over = Wishes::read(&headers).told(&file, goes_on).await;
            assert!(matches!(over, Err(VfsError::Interrupted)), "{shrinks}");
        }
    }

    #[tokio::test]
    async fn a_part_that_is_not_there_is_refused_with_the_length() {
        let house = House::new().await;
        house.put("a", b"0123456789");
        let refused = asked(&house, Method::GET, &[(header::RANGE, "bytes=10-")]).await;
        assert!(matches!(refused, Err(NotSent::Range(value)) if value == "bytes */10"));
    }

    #[tokio::test]
    async fn whoever_goes_on_with_another_state_gets_the_whole_of_this_one() {
        let house = House::new().await;
        house.put("a", b"0123456789");
        let tag = asked(&house, Method::HEAD, &[]).await.unwrap().headers()[header::ETAG].clone();
        let range = (header::RANGE, "bytes=5-");
        for (value, status) in [(tag.to_str().unwrap(), 206), ("\"another\"", 200), ("W/\"another\"", 200)] {
            let reply = asked(&house, Method::GET, &[range.clone(), (header::IF_RANGE, value)]).await.unwrap();
            assert_eq!(reply.status(), status, "{value}");
        }
        // A condition comes before the range.
        let same = asked(&house, Method::GET, &[range, (header::IF_NONE_MATCH, tag.to_str().unwrap())]).await.unwrap();
        assert_eq!(same.status(), StatusCode::NOT_MODIFIED);
    }

    #[tokio::test]
    async fn what_the_client_has_is_said_in_its_validators_alone() {
        let house = House::new().await;
        house.put("a", b"0123456789");
        let whole = asked(&house, Method::GET, &[]).await.unwrap();
        let tag = whole.headers()[header::ETAG].to_str().unwrap();
        let time = whole.headers()[header::LAST_MODIFIED].to_str().unwrap();
        for method in [Method::GET, Method::HEAD] {
            for condition in [(header::IF_NONE_MATCH, tag), (header::IF_MODIFIED_SINCE, time)] {
                let reply = asked(&house, method.clone(), &[condition]).await.unwrap();
                assert_eq!(reply.status(), StatusCode::NOT_MODIFIED);
                for name in [header::ETAG, header::LAST_MODIFIED, header::CACHE_CONTROL] {
                    assert_eq!(reply.headers()[&name], whole.headers()[&name], "{name}");
                }
                assert!(!reply.headers().contains_key(header::CONTENT_LENGTH));
                assert!(bytes_of(reply).await.is_empty());
            }
            let failed = asked(&house, method, &[(header::IF_MATCH, "\"another\"")]).await;
            assert!(matches!(failed, Err(NotSent::Precondition)));
        }
    }

    #[tokio::test]
    async fn a_large_file_comes_in_pieces_and_a_part_of_it_from_its_place() {
        let house = House::new().await;
        let all: Vec<u8> = (0..3 * CLEAR_PIECE + 5).map(|place| (place % 251) as u8).collect();
        house.put("a", &all);
        let whole = asked(&house, Method::GET, &[]).await.unwrap();
        assert_eq!(http_body::Body::size_hint(whole.body()).exact(), Some(all.len() as u64));
        assert!(bytes_of(whole).await == all);
        let part = asked(&house, Method::GET, &[(header::RANGE, "bytes=100-1200000")]).await.unwrap();
        assert!(bytes_of(part).await == all[100..=1_200_000]);
    }

    #[tokio::test]
    async fn a_large_file_that_shrinks_or_whose_session_ends_is_cut_and_not_made_up() {
        let house = House::new().await;
        for shrinks in [true, false] {
            house.put("a", &vec![1; 3 * CLEAR_PIECE]);
            let headers = HeaderMap::new();
            let at = path("/a");
            let fetch = Fetch { vfs: &house.vfs, path: &at, method: &Method::GET, headers: &headers, secure: false };
            let mut pieces = 0;
            let watch = move || {
                pieces += 1;
                shrinks || pieces < 2
            };
            let mut body = fetch.reply(|| watch).await.unwrap().into_body();
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().len(), CLEAR_PIECE);
            if shrinks {
                house.put("a", b"short");
            }
            assert!(body.frame().await.unwrap().is_err());
            assert!(body.frame().await.is_none());
        }
    }

    #[tokio::test]
    async fn a_folder_is_no_file_and_an_upload_that_was_cut_is_none_yet() {
        let house = House::new().await;
        for method in [Method::GET, Method::HEAD] {
            house.interrupted("/a", b"half").await;
            assert!(matches!(asked(&house, method.clone(), &[]).await, Err(NotSent::Tree(VfsError::NotFound(_)))));
        }
        house.vfs.remove_file(&path("/a")).await.unwrap();
        std::fs::create_dir(house.on_disk("a")).unwrap();
        for method in [Method::GET, Method::HEAD] {
            assert!(matches!(asked(&house, method, &[]).await, Err(NotSent::Tree(VfsError::IsFolder(_)))));
        }
    }
}
