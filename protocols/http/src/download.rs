//! `GET` and `HEAD` of a file. What a user stored is never shown as a page of ours: always an attachment, never sniffed, in a sandbox.

use crate::{
    body::{Body, empty, full},
    names,
    precondition::{self, Access, Verdict},
    range::{self, Wanted},
    refusal::Refusal,
    visit::{Ask, Watch},
};
use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use lockgate_access::Session;
use lockgate_model::VPath;
use lockgate_vfs::{FileReader, Kind, Metadata, VfsError};
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
/// Pieces in clear.
const CLEAR_PIECE: usize = 1024 * 1024;

impl Ask {
    /// `GET` and `HEAD /api/v1/files/PATH`.
    pub(crate) async fn fetch(self, raw: &str) -> Result<Response<Body>, Refusal> {
        let caller = self.caller().await?;
        let path = names::from_url(raw)?;
        let vfs = caller.session.vfs();
        // A question about a file is not a fetch of it.
        let file = if self.parts.method == Method::HEAD { None } else { Some(vfs.open(&path).await?) };
        let facts = match &file {
            Some(file) => file.metadata().clone(),
            // What cannot be got has no length either: an upload that was cut is for its sender to go on with.
            None => vfs.stat_committed(&path).await?,
        };
        if facts.kind == Kind::Folder {
            return Err(VfsError::IsFolder(path).into());
        }
        let headers = &self.parts.headers;
        let verdict = precondition::judge(headers, Access::Reads, Some(&facts));
        if verdict == Verdict::Failed {
            return Err(Refusal::precondition());
        }
        let mut response = Response::new(empty());
        describe(response.headers_mut(), &path, &facts);
        if verdict == Verdict::NotModified {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return Ok(response);
        }
        let (first, length) = match wanted(&self.parts.method, headers, &facts) {
            Wanted::Whole => (0, facts.size),
            Wanted::Part { first, last } => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                response
                    .headers_mut()
                    .insert(header::CONTENT_RANGE, text(format!("bytes {first}-{last}/{}", facts.size)));
                (first, last - first + 1)
            }
            Wanted::Unsatisfiable => {
                return Err(Refusal::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", "the file has no such part")
                    .with(header::CONTENT_RANGE, text(format!("bytes */{}", facts.size))));
            }
        };
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        if let Some(file) = file {
            *response.body_mut() = self.bytes(file, &caller.session, first, length).await?;
        }
        Ok(response)
    }

    async fn bytes(&self, file: FileReader, session: &Session, first: u64, length: u64) -> Result<Body, Refusal> {
        if length <= SMALL {
            let mut bytes = vec![0; usize::try_from(length).unwrap_or_default()];
            if file.read_at(first, &mut bytes).await? < bytes.len() {
                return Err(Refusal::from(VfsError::Interrupted));
            }
            return Ok(full(bytes));
        }
        let piece = if self.visit.secure { SECURE_PIECE } else { CLEAR_PIECE };
        let source = Source {
            file,
            session: session.clone(),
            _watch: self.visit.watch(session),
            pool: Arc::default(),
            piece,
            at: first,
            end: first + length,
        };
        Ok(FileBody { pieces: Box::pin(futures_util::stream::unfold(source, Source::next)), left: length }
            .boxed_unsync())
    }
}

fn wanted(method: &Method, headers: &HeaderMap, facts: &Metadata) -> Wanted {
    let mut values = headers.get_all(header::RANGE).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if method == Method::GET && precondition::range_applies(headers, facts) => {
            value.to_str().map_or(Wanted::Whole, |text| range::wanted(text, facts.size))
        }
        _ => Wanted::Whole,
    }
}

fn describe(headers: &mut HeaderMap, path: &VPath, facts: &Metadata) {
    let name = path.components().last().unwrap_or_default();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(header::CONTENT_DISPOSITION, text(names::attachment(name)));
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("sandbox; default-src 'none'; frame-ancestors 'none'"),
    );
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.extend(precondition::etag(facts).map(|value| (header::ETAG, value)));
    headers.extend(precondition::last_modified(facts).map(|value| (header::LAST_MODIFIED, value)));
}

fn text(value: String) -> HeaderValue {
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("attachment"))
}

/// Where the pieces come from. Buffers come back when the connection is done with them.
struct Source {
    file: FileReader,
    session: Session,
    _watch: Watch,
    pool: Arc<Mutex<Vec<Vec<u8>>>>,
    piece: usize,
    at: u64,
    end: u64,
}

impl Source {
    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        let left = self.end - self.at;
        if left == 0 {
            return None;
        }
        if self.session.is_over().is_some() {
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
    use crate::precondition::tests::facts;

    #[test]
    fn what_a_user_stored_is_an_attachment_in_a_sandbox() {
        let mut headers = HeaderMap::new();
        describe(&mut headers, &VPath::parse("/a/evil\r\n.html").unwrap(), &facts("abc", 1000));
        assert_eq!(headers[header::CONTENT_TYPE], "application/octet-stream");
        assert!(
            headers[header::CONTENT_DISPOSITION].to_str().unwrap().starts_with("attachment; filename=\"evil__.html\"")
        );
        assert!(headers[header::CONTENT_SECURITY_POLICY].to_str().unwrap().starts_with("sandbox"));
        assert_eq!(headers[header::ETAG], "\"abc\"");
    }

    #[test]
    fn a_range_counts_only_for_get_and_only_once() {
        let facts = facts("abc", 1000);
        let mut headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static("bytes=0-1"))]);
        assert_eq!(wanted(&Method::GET, &headers, &facts), Wanted::Part { first: 0, last: 1 });
        assert_eq!(wanted(&Method::HEAD, &headers, &facts), Wanted::Whole);
        headers.append(header::RANGE, HeaderValue::from_static("bytes=4-5"));
        assert_eq!(wanted(&Method::GET, &headers, &facts), Wanted::Whole);
    }
}
