//! `PUT` of a file: staged, and committed only when the announced length or the last chunk is here and nothing else was said.

use crate::{
    body::{Body, empty},
    names,
    precondition::{self, Access, Verdict},
    range::{self, Placed},
    refusal::Refusal,
    visit::Ask,
};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use lockgate_model::VPath;
use lockgate_vfs::{Committed, Intent, Metadata, OnAbort, Upload, Vfs, VfsError};
use std::{
    future::Future,
    pin::{Pin, pin},
};

/// Bytes of one write: a frame over HTTP/2 has 16 KiB, which is too little for a call each.
const PIECE: usize = 256 * 1024;
/// How much of an unfinished upload is kept.
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");

impl Ask {
    /// `PUT /api/v1/files/PATH`: 201 for a new name, 204 for a replaced file; 202 for a part of an upload that goes on.
    pub(crate) async fn put(self, raw: &str, body: Body) -> Result<Response<Body>, Refusal> {
        let caller = self.caller().await?;
        if raw.is_empty() || raw.ends_with('/') {
            return Err(
                Refusal::new(StatusCode::CONFLICT, "is_folder", "the name of a file does not end in a slash").closing()
            );
        }
        let path = names::from_url(raw).map_err(Refusal::closing)?;
        let (vfs, ended) = (caller.session.vfs(), caller.session.ended());
        // An upload that is refused has its body still under way: it is not read to the end for nothing.
        let stored = store(vfs, ended, &path, &self.parts.headers, body).await.map_err(Refusal::closing)?;
        let mut response = Response::new(empty());
        let committed = match stored {
            Stored::Committed(committed) => committed,
            Stored::Kept(length) => {
                *response.status_mut() = StatusCode::ACCEPTED;
                response.headers_mut().insert(OFFSET, HeaderValue::from(length));
                return Ok(response);
            }
        };
        *response.status_mut() = if committed.created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
        let headers = response.headers_mut();
        headers.extend(precondition::etag(&committed.metadata).map(|value| (header::ETAG, value)));
        headers.extend(precondition::last_modified(&committed.metadata).map(|value| (header::LAST_MODIFIED, value)));
        if committed.created {
            headers.extend(HeaderValue::from_str(self.parts.uri.path()).ok().map(|value| (header::LOCATION, value)));
        }
        Ok(response)
    }
}

/// What became of an upload.
#[derive(Debug)]
enum Stored {
    /// It is the file now.
    Committed(Committed),
    /// The client said that more follows: it is the user's partial, of this length.
    Kept(u64),
}

async fn store<E>(
    vfs: &Vfs,
    ended: impl Future<Output = E>,
    path: &VPath,
    headers: &HeaderMap,
    body: Body,
) -> Result<Stored, Refusal> {
    if headers.get(header::CONTENT_ENCODING).is_some_and(|value| value != "identity") {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "encoded",
            "send the file as it is, without Content-Encoding",
        ));
    }
    let placed = placement(headers)?;
    let announced = announced(headers, placed)?;
    let over = conditions(vfs, path, headers).await?;
    let (intent, on_abort) = match placed {
        // What was there before a cut is still there after the next.
        Some(Placed { first, .. }) => (Intent::Patch { offset: Some(first), append: false }, OnAbort::Keep),
        None if precondition::wants_new(headers) => (Intent::CreateNew, OnAbort::Discard),
        None => (Intent::Create, OnAbort::Discard),
    };
    // In a file that is there already a part is written in its place, and there is nothing to keep.
    let goes_on = match placed {
        Some(placed) if placed.more_follows() => committed(vfs, path).await?.is_none(),
        _ => false,
    };
    let mut upload = vfs.create(path, intent, on_abort).await.map_err(taken)?;
    let start = placed.map_or(0, |placed| placed.first);
    if let Some(length) = announced {
        upload.check_room(start.saturating_add(length)).await?;
    }
    // Somebody else may be faster while the bytes come.
    if let Some(etag) = over {
        upload.only_over(etag);
    }
    let end = fill(&mut upload, pin!(ended), body, start, announced).await?;
    if goes_on {
        return keep(upload, vfs, path, end).await;
    }
    upload.commit().await.map(Stored::Committed).map_err(taken)
}

/// Leaves an upload as the user's partial, and says so only once it is one.
async fn keep(mut upload: Upload, vfs: &Vfs, path: &VPath, length: u64) -> Result<Stored, Refusal> {
    upload.sync().await?;
    drop(upload);
    match vfs.stat(path).await {
        Ok(facts) if facts.size == length => Ok(Stored::Kept(length)),
        _ => Err(VfsError::Interrupted.into()),
    }
}

/// Writes the body, and says where it ended. `Ok` only on the proof of its end, in a session that lives.
async fn fill<E>(
    upload: &mut Upload,
    mut ended: Pin<&mut impl Future<Output = E>>,
    body: Body,
    start: u64,
    announced: Option<u64>,
) -> Result<u64, Refusal> {
    let mut body = pin!(body);
    let mut gathered = Gathered { at: start, bytes: Vec::new() };
    let mut left = announced;
    loop {
        let frame = tokio::select! {
            biased;
            _ = ended.as_mut() => return Err(Refusal::denied()),
            frame = body.frame() => frame,
        };
        match frame {
            // hyper ends a body in order only after its whole length, its last chunk, or the stream's own end.
            None => break,
            Some(Err(error)) => {
                tracing::debug!(%error, "upload cut");
                gathered.flush(upload).await?;
                return Err(Refusal::from(VfsError::Interrupted));
            }
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if let Some(left) = &mut left {
                    *left = left
                        .checked_sub(data.len() as u64)
                        .ok_or_else(|| Refusal::bad_request("the body is longer than announced"))?;
                }
                gathered.add(upload, &data).await?;
            }
        }
    }
    gathered.flush(upload).await?;
    if left.is_some_and(|left| left > 0) {
        return Err(Refusal::bad_request("the body is shorter than announced"));
    }
    // The last bytes may have come together with the end of the right to send them.
    if ended.now_or_never().is_some() {
        return Err(Refusal::denied());
    }
    Ok(gathered.at)
}

/// Bytes that wait until they are worth a write: never more than [`PIECE`].
struct Gathered {
    /// Where they belong.
    at: u64,
    bytes: Vec<u8>,
}

impl Gathered {
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

    async fn flush(&mut self, upload: &mut Upload) -> Result<(), VfsError> {
        upload.write_at(self.at, &self.bytes).await?;
        self.at += self.bytes.len() as u64;
        self.bytes.clear();
        Ok(())
    }
}

/// Whether the conditions hold now; the tag of the state that must still be there at the end, where there is one.
async fn conditions(vfs: &Vfs, path: &VPath, headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let any = [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_UNMODIFIED_SINCE]
        .iter()
        .any(|name| headers.contains_key(name));
    if !any {
        return Ok(None);
    }
    let current = committed(vfs, path).await?;
    match precondition::judge(headers, Access::Changes, current.as_ref()) {
        Verdict::Proceed => Ok(current.map(|facts| facts.etag)),
        Verdict::NotModified | Verdict::Failed => Err(Refusal::precondition()),
    }
}

/// What everybody sees under the name: an upload that was cut is nothing that a condition can be about.
async fn committed(vfs: &Vfs, path: &VPath) -> Result<Option<Metadata>, Refusal> {
    match vfs.stat_committed(path).await {
        Ok(facts) => Ok(Some(facts)),
        Err(VfsError::NotFound(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Where a partial upload belongs, where there is one.
fn placement(headers: &HeaderMap) -> Result<Option<Placed>, Refusal> {
    let mut values = headers.get_all(header::CONTENT_RANGE).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value
            .to_str()
            .ok()
            .and_then(range::placed)
            .map(Some)
            .ok_or_else(|| Refusal::bad_request("Content-Range is not of the form bytes FIRST-LAST/TOTAL")),
        _ => Err(Refusal::bad_request("two Content-Range headers")),
    }
}

/// How many bytes the request says it brings. Both ways of saying it must agree.
fn announced(headers: &HeaderMap, placed: Option<Placed>) -> Result<Option<u64>, Refusal> {
    let length =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()).and_then(|text| text.parse().ok());
    match (length, placed.map(|placed| placed.count)) {
        (Some(length), Some(count)) if length != count => {
            Err(Refusal::bad_request("Content-Range and Content-Length disagree"))
        }
        (length, count) => Ok(length.or(count)),
    }
}

/// `If-None-Match: *` fails as a condition, whenever the name turned up; whoever goes on in the wrong place is told the right one.
fn taken(error: VfsError) -> Refusal {
    match error {
        VfsError::Exists(_) => Refusal::precondition(),
        VfsError::WrongOffset { expected } => Refusal::from(error).with(OFFSET, HeaderValue::from(expected)),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::house::{House, path};
    use bytes::Bytes;
    use futures_util::{StreamExt as _, stream};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use std::{
        future::{pending, ready},
        io,
    };

    /// A body of these pieces; `None` is a cut.
    fn body(pieces: &[Option<&'static [u8]>]) -> Body {
        let pieces: Vec<io::Result<Frame<Bytes>>> = pieces
            .iter()
            .map(|piece| piece.map(|bytes| Frame::data(bytes.into())).ok_or(io::ErrorKind::UnexpectedEof.into()))
            .collect();
        StreamBody::new(stream::iter(pieces)).boxed_unsync()
    }

    async fn put(house: &House, pairs: &[(HeaderName, &str)], body: Body) -> Result<Stored, Refusal> {
        let headers: HeaderMap =
            pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
        store(&house.vfs, pending::<()>(), &path("/a"), &headers, body).await
    }

    fn status(result: Result<Stored, Refusal>) -> StatusCode {
        result.unwrap_err().status
    }

    #[tokio::test]
    async fn a_new_name_can_be_demanded_while_an_upload_that_was_cut_is_kept() {
        let house = House::new().await;
        house.interrupted("/a", b"half").await;
        let stored = put(&house, &[(header::IF_NONE_MATCH, "*")], body(&[Some(b"whole")])).await.unwrap();
        assert!(matches!(stored, Stored::Committed(Committed { created: true, .. })));
        assert_eq!(house.bytes("a").unwrap(), b"whole");
        assert_eq!(
            status(put(&house, &[(header::IF_NONE_MATCH, "*")], body(&[])).await),
            StatusCode::PRECONDITION_FAILED
        );
    }

    #[tokio::test]
    async fn no_condition_holds_on_an_upload_that_was_cut() {
        let house = House::new().await;
        house.interrupted("/a", b"half").await;
        let result = put(&house, &[(header::IF_MATCH, "*")], body(&[Some(b"x")])).await;
        assert_eq!(status(result), StatusCode::PRECONDITION_FAILED);
        assert_eq!(house.kept("a").await, Some(4));
    }

    #[tokio::test]
    async fn a_part_that_is_not_the_last_is_kept_and_never_committed() {
        let house = House::new().await;
        house.interrupted("/a", b"0123").await;
        let part = put(&house, &[(header::CONTENT_RANGE, "bytes 4-5/8")], body(&[Some(b"45")])).await.unwrap();
        assert!(matches!(part, Stored::Kept(6)));
        assert_eq!((house.bytes("a"), house.kept("a").await), (None, Some(6)));
        let last = put(&house, &[(header::CONTENT_RANGE, "bytes 6-7/8")], body(&[Some(b"67")])).await.unwrap();
        assert!(matches!(last, Stored::Committed(Committed { created: true, .. })));
        assert_eq!(house.bytes("a").unwrap(), b"01234567");
        // In a file that is there, any part has its place.
        put(&house, &[(header::CONTENT_RANGE, "bytes 1-2/8")], body(&[Some(b"xy")])).await.unwrap();
        assert_eq!(house.bytes("a").unwrap(), b"0xy34567");
    }

    #[tokio::test]
    async fn a_resumed_upload_that_is_cut_again_can_be_resumed_again() {
        let house = House::new().await;
        house.interrupted("/a", b"0123").await;
        let range = [(header::CONTENT_RANGE, "bytes 4-9/10")];
        assert_eq!(status(put(&house, &range, body(&[Some(b"45"), None])).await), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(house.kept("a").await, Some(6));
        let again = put(&house, &range, body(&[Some(b"45")])).await.unwrap_err();
        assert_eq!((again.status, again.headers), (StatusCode::CONFLICT, vec![(OFFSET, HeaderValue::from(6))]));
        put(&house, &[(header::CONTENT_RANGE, "bytes 6-9/10")], body(&[Some(b"6789")])).await.unwrap();
        assert_eq!(house.bytes("a").unwrap(), b"0123456789");
    }

    #[tokio::test]
    async fn an_upload_that_is_cut_leaves_nothing_behind() {
        let house = House::new().await;
        assert_eq!(status(put(&house, &[], body(&[Some(b"half"), None])).await), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!((house.bytes("a"), house.kept("a").await), (None, None));
    }

    #[tokio::test]
    async fn a_file_that_changed_while_the_bytes_came_is_not_replaced_by_a_conditional_upload() {
        for condition in [header::IF_MATCH, header::IF_UNMODIFIED_SINCE, header::IF_NONE_MATCH] {
            let house = House::new().await;
            house.put("a", b"first");
            let etag = house.vfs.stat(&path("/a")).await.unwrap().etag;
            let value = match condition {
                header::IF_MATCH => format!("\"{etag}\""),
                header::IF_NONE_MATCH => "\"another\"".to_owned(),
                _ => httpdate::fmt_http_date(std::time::SystemTime::now() + std::time::Duration::from_secs(60)),
            };
            let other = house.on_disk("a");
            let pieces = stream::iter([b"mine".as_slice()]).map(move |piece| {
                std::fs::write(&other, b"somebody else's").unwrap();
                Ok(Frame::data(Bytes::from_static(piece)))
            });
            let result = put(&house, &[(condition.clone(), &value)], StreamBody::new(pieces).boxed_unsync()).await;
            assert_eq!(status(result), StatusCode::PRECONDITION_FAILED, "{condition}");
            assert_eq!(house.bytes("a").unwrap(), b"somebody else's");
        }
    }

    #[tokio::test]
    async fn no_upload_is_committed_after_the_end_of_its_session() {
        let house = House::new().await;
        let result = store(&house.vfs, ready(()), &path("/a"), &HeaderMap::new(), body(&[Some(b"all")])).await;
        assert_eq!(status(result), StatusCode::UNAUTHORIZED);
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let mut end = Some(end);
        let pieces = stream::iter([b"all".as_slice()]).map(move |piece| {
            drop(end.take());
            Ok(Frame::data(Bytes::from_static(piece)))
        });
        let body = StreamBody::new(pieces).boxed_unsync();
        let result = store(&house.vfs, ended, &path("/a"), &HeaderMap::new(), body).await;
        assert_eq!((status(result), house.bytes("a")), (StatusCode::UNAUTHORIZED, None));
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
        put(&house, &[], StreamBody::new(stream::iter(pieces)).boxed_unsync()).await.unwrap();
        assert!(house.bytes("a").unwrap() == all);
    }

    fn headers(pairs: &[(http::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_partial_upload_must_say_one_length() {
        let both = headers(&[(header::CONTENT_RANGE, "bytes 5-9/20"), (header::CONTENT_LENGTH, "5")]);
        assert_eq!(announced(&both, placement(&both).unwrap()).unwrap(), Some(5));
        let odd = headers(&[(header::CONTENT_RANGE, "bytes 5-9/20"), (header::CONTENT_LENGTH, "6")]);
        assert_eq!(announced(&odd, placement(&odd).unwrap()).unwrap_err().status, StatusCode::BAD_REQUEST);
        assert!(placement(&headers(&[(header::CONTENT_RANGE, "bytes 9-5/20")])).is_err());
        assert_eq!(placement(&HeaderMap::new()).unwrap(), None);
    }

    #[test]
    fn a_name_taken_meanwhile_is_a_failed_condition() {
        assert_eq!(taken(VfsError::Exists(VPath::root())).status, StatusCode::PRECONDITION_FAILED);
        assert_eq!(taken(VfsError::NotFound(VPath::root())).status, StatusCode::NOT_FOUND);
    }
}
