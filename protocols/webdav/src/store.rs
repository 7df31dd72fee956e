//! `PUT` and `PATCH`: staged, and committed only when the announced length or the last chunk is here.
//!
//! The library opens the target, truncates it, and calls `flush` before it compares lengths; here a short body never touches what is
//! under the name.

use crate::{
    Body,
    address::Address,
    condition::{If, etag, is_conditional, proceeds, wants_new},
    edge::Ask,
    reply::{Reply, bare, failed, said},
};
use futures_util::FutureExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use lockgate_vfs::{Facts, Intent, Kind, Metadata, OnAbort, Upload, Vfs, VfsError};
use std::{
    future::Future,
    pin::{Pin, pin},
    time::{Duration, UNIX_EPOCH},
};

const MTIME: &str = "x-oc-mtime";
/// How much of an unfinished upload is kept.
const OFFSET: HeaderName = HeaderName::from_static("upload-offset");
/// Bytes of one write: a frame over HTTP/2 has 16 KiB, which is too little for a call each.
const PIECE: usize = 256 * 1024;

/// Where the bytes belong, and how many are announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    intent: Intent,
    start: u64,
    announced: Option<u64>,
    /// Whether the client says that the file is not whole with these bytes.
    more_follows: bool,
}

/// Answers `PUT` and `PATCH`.
pub(crate) async fn put(ask: Ask, body: Body) -> Reply {
    let order = Order {
        vfs: &ask.vfs,
        at: &ask.at,
        method: &ask.parts.method,
        headers: &ask.parts.headers,
        condition: ask.condition.as_ref(),
        host: ask.host.as_deref(),
    };
    order.store(ask.session.ended(), body).await
}

/// What an upload goes by: the request without its session.
#[derive(Clone, Copy)]
struct Order<'a> {
    vfs: &'a Vfs,
    at: &'a Address,
    method: &'a Method,
    headers: &'a HeaderMap,
    condition: Option<&'a If>,
    host: Option<&'a str>,
}

impl Order<'_> {
    async fn store<E>(self, ended: impl Future<Output = E>, body: Body) -> Reply {
        let Self { vfs, at, method, headers, .. } = self;
        if at.slash {
            return Err(said(StatusCode::METHOD_NOT_ALLOWED, "a collection cannot be written to"));
        }
        if headers.get(header::CONTENT_ENCODING).is_some_and(|value| value != "identity") {
            return Err(said(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the file as it is, without Content-Encoding"));
        }
        // What everybody sees: an upload that was cut is nothing that a condition can be about.
        let current = found(vfs.stat_committed(&at.path).await).map_err(refused)?;
        if current.as_ref().is_some_and(|facts| facts.kind == Kind::Folder) {
            return Err(said(StatusCode::METHOD_NOT_ALLOWED, "a collection cannot be written to"));
        }
        self.holds(current.as_ref()).await?;
        // Only who goes on with such an upload has to know where it stands.
        let here = match *method {
            Method::PATCH => found(vfs.stat(&at.path).await).map_err(refused)?,
            _ => current.clone(),
        };
        let plan = plan(method, headers, here.as_ref())
            .map_err(|status| said(status, "the range of the upload cannot be used"))?;
        let on_abort = if matches!(plan.intent, Intent::Patch { .. }) { OnAbort::Keep } else { OnAbort::Discard };
        let mut upload = vfs.create(&at.path, plan.intent, on_abort).await.map_err(refused)?;
        if let Some(length) = plan.announced {
            upload.check_room(plan.start.saturating_add(length)).await.map_err(failed)?;
        }
        // In a file that is there already a part is written in its place, and there is nothing to keep.
        let goes_on = plan.more_follows && current.is_none();
        // Somebody else may be faster while the bytes come.
        let judged = is_conditional(headers) || self.condition.is_some_and(If::names_a_state);
        if let Some(facts) = current.filter(|_| judged) {
            upload.only_over(facts.etag);
        }
        let end = fill(&mut upload, pin!(ended), body, plan).await?;
        if goes_on { self.keep(upload, end).await } else { commit(upload, headers).await }
    }

    async fn holds(self, current: Option<&Metadata>) -> Result<(), Response<Body>> {
        let fits = match self.condition {
            Some(condition) => condition.holds(self.vfs, &self.at.path, self.host).await,
            None => true,
        };
        if fits && proceeds(self.headers, current) {
            Ok(())
        } else {
            Err(said(StatusCode::PRECONDITION_FAILED, "a condition of the request does not hold"))
        }
    }

    /// Leaves an upload as the user's partial, and says so only once it is one.
    async fn keep(self, mut upload: Upload, length: u64) -> Reply {
        upload.sync().await.map_err(failed)?;
        drop(upload);
        if !self.vfs.stat(&self.at.path).await.is_ok_and(|facts| facts.size == length) {
            return Err(failed(VfsError::Interrupted));
        }
        let mut response = bare(StatusCode::ACCEPTED);
        response.headers_mut().insert(OFFSET, HeaderValue::from(length));
        Ok(response)
    }
}

async fn commit(mut upload: Upload, headers: &HeaderMap) -> Reply {
    let mtime = mtime(headers);
    if let Some(modified) = mtime {
        upload.set_facts(Facts { modified: Some(modified), ..Facts::default() });
    }
    let committed = upload.commit().await.map_err(refused)?;
    let mut response = bare(if committed.created { StatusCode::CREATED } else { StatusCode::NO_CONTENT });
    let out = response.headers_mut();
    out.extend(etag(&committed.metadata).map(|value| (header::ETAG, value)));
    if mtime.is_some() {
        out.insert(MTIME, HeaderValue::from_static("accepted"));
    }
    Ok(response)
}

fn found(facts: Result<Metadata, VfsError>) -> Result<Option<Metadata>, VfsError> {
    match facts {
        Ok(facts) => Ok(Some(facts)),
        Err(VfsError::NotFound(_)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes the body, and says where it ended. `Ok` only on the proof of its end, in a session that lives.
async fn fill<E>(
    upload: &mut Upload,
    mut ended: Pin<&mut impl Future<Output = E>>,
    body: Body,
    plan: Plan,
) -> Result<u64, Response<Body>> {
    let over = || said(StatusCode::UNAUTHORIZED, "the session has ended");
    let mut body = pin!(body);
    let mut gathered = Gathered { at: plan.start, bytes: Vec::new() };
    let mut left = plan.announced;
    loop {
        let frame = tokio::select! {
            biased;
            _ = ended.as_mut() => return Err(over()),
            frame = body.frame() => frame,
        };
        match frame {
            // A body ends in order only after its whole length, its last chunk, or the stream's own end.
            None => break,
            Some(Err(error)) => {
                tracing::debug!(%error, "upload cut");
                gathered.flush(upload).await.map_err(failed)?;
                return Err(failed(VfsError::Interrupted));
            }
            Some(Ok(frame)) => {
                let Ok(data) = frame.into_data() else { continue };
                if let Some(left) = &mut left {
                    *left = left
                        .checked_sub(data.len() as u64)
                        .ok_or_else(|| said(StatusCode::BAD_REQUEST, "the body is longer than announced"))?;
                }
                gathered.add(upload, &data).await.map_err(failed)?;
            }
        }
    }
    gathered.flush(upload).await.map_err(failed)?;
    if left.is_some_and(|left| left > 0) {
        return Err(said(StatusCode::BAD_REQUEST, "the body is shorter than announced"));
    }
    // The last bytes may have come together with the end of the right to send them.
    if ended.now_or_never().is_some() { Err(over()) } else { Ok(gathered.at) }
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

/// What the request means: a whole file, or a part by `Content-Range` or by `X-Update-Range` of the partial update that sabre/dav
/// brought up.
fn plan(method: &Method, headers: &HeaderMap, current: Option<&Metadata>) -> Result<Plan, StatusCode> {
    let announced = announced(headers)?;
    let patch = |start, announced, more_follows| {
        let intent = Intent::Patch { offset: Some(start), append: false };
        Plan { intent, start, announced, more_follows }
    };
    if *method == Method::PATCH {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !kind.eq_ignore_ascii_case("application/x-sabredav-partialupdate") {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let length = announced.ok_or(StatusCode::LENGTH_REQUIRED)?;
        let size = current.map(|facts| facts.size).ok_or(StatusCode::NOT_FOUND)?;
        let text =
            headers.get("x-update-range").and_then(|value| value.to_str().ok()).ok_or(StatusCode::BAD_REQUEST)?;
        return Ok(patch(update_start(text, length, size)?, Some(length), false));
    }
    if let Some(value) = headers.get(header::CONTENT_RANGE) {
        let (first, count, total) = value.to_str().ok().and_then(content_range).ok_or(StatusCode::BAD_REQUEST)?;
        if announced.is_some_and(|length| length != count) {
            return Err(StatusCode::BAD_REQUEST);
        }
        return Ok(patch(first, Some(count), total.is_some_and(|total| first + count < total)));
    }
    let intent = if wants_new(headers) { Intent::CreateNew } else { Intent::Create };
    Ok(Plan { intent, start: 0, announced, more_follows: false })
}

/// `Content-Length`; in its absence what the macOS Finder announces beside a chunked body.
fn announced(headers: &HeaderMap) -> Result<Option<u64>, StatusCode> {
    let value = headers.get(header::CONTENT_LENGTH).or_else(|| headers.get("x-expected-entity-length"));
    value.map(|value| value.to_str().ok().and_then(number).ok_or(StatusCode::BAD_REQUEST)).transpose()
}

/// `bytes=FIRST-LAST`, `bytes=FIRST-`, `bytes=-COUNT` from the end, or `append`.
fn update_start(text: &str, length: u64, size: u64) -> Result<u64, StatusCode> {
    if text.eq_ignore_ascii_case("append") {
        return Ok(size);
    }
    let unusable = StatusCode::RANGE_NOT_SATISFIABLE;
    let (first, last) =
        text.strip_prefix("bytes=").and_then(|range| range.split_once('-')).ok_or(StatusCode::BAD_REQUEST)?;
    if first.is_empty() {
        return number(last).and_then(|count| size.checked_sub(count)).ok_or(unusable);
    }
    let first = number(first).ok_or(StatusCode::BAD_REQUEST)?;
    if !last.is_empty() {
        let last = number(last).ok_or(StatusCode::BAD_REQUEST)?;
        if last.checked_sub(first).and_then(|gap| gap.checked_add(1)) != Some(length) {
            return Err(unusable);
        }
    }
    first.checked_add(length).map(|_| first).ok_or(unusable)
}

/// The first byte, how many there are, and the length of the whole where it is said.
fn content_range(text: &str) -> Option<(u64, u64, Option<u64>)> {
    let (range, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let total = if total == "*" { None } else { Some(number(total)?) };
    let inside = total.is_none_or(|total| last < total);
    (inside && last >= first && last < u64::MAX).then(|| (first, last - first + 1, total))
}

fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// The time that the client wants the file to have, in seconds since 1970.
fn mtime(headers: &HeaderMap) -> Option<std::time::SystemTime> {
    let text = headers.get(MTIME)?.to_str().ok()?;
    let seconds = number(text.split('.').next()?)?;
    UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}

/// A missing name is the folder's here: 409 (RFC 4918 section 9.7.1); a taken one is a failed condition; whoever goes on in the
/// wrong place is told the right one.
fn refused(error: VfsError) -> Response<Body> {
    match error {
        VfsError::WrongOffset { expected } => {
            let mut response = failed(error);
            response.headers_mut().insert(OFFSET, HeaderValue::from(expected));
            response
        }
        VfsError::NotFound(_) | VfsError::NotFolder(_) => said(StatusCode::CONFLICT, "the folder does not exist"),
        VfsError::Exists(_) => said(StatusCode::PRECONDITION_FAILED, "the name exists by now"),
        other => failed(other),
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

    /// One piece, with which something else happens.
    fn body_while(mut happens: impl FnMut() + Send + 'static) -> Body {
        let pieces = stream::iter([b"mine".as_slice()]).map(move |piece| {
            happens();
            Ok(Frame::data(Bytes::from_static(piece)))
        });
        StreamBody::new(pieces).boxed_unsync()
    }

    async fn sent<E>(
        house: &House,
        method: Method,
        pairs: &[(&'static str, &str)],
        ended: impl Future<Output = E>,
        body: Body,
    ) -> Response<Body> {
        let headers: HeaderMap = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect();
        let condition = If::parse(&headers).unwrap();
        let at = Address { path: path("/a"), slash: false };
        let order = Order {
            vfs: &house.vfs,
            at: &at,
            method: &method,
            headers: &headers,
            condition: condition.as_ref(),
            host: None,
        };
        order.store(ended, body).await.unwrap_or_else(|early| early)
    }

    async fn status(house: &House, pairs: &[(&'static str, &str)], body: Body) -> StatusCode {
        sent(house, Method::PUT, pairs, pending::<()>(), body).await.status()
    }

    #[tokio::test]
    async fn a_new_name_can_be_demanded_while_an_upload_that_was_cut_is_kept() {
        let house = House::new().await;
        house.interrupted("/a", b"half").await;
        assert_eq!(status(&house, &[("if-match", "*")], body(&[Some(b"x")])).await, StatusCode::PRECONDITION_FAILED);
        assert_eq!(house.kept("a").await, Some(4));
        assert_eq!(status(&house, &[("if-none-match", "*")], body(&[Some(b"whole")])).await, StatusCode::CREATED);
        assert_eq!(house.bytes("a").unwrap(), b"whole");
    }

    #[tokio::test]
    async fn a_part_that_is_not_the_last_is_kept_and_never_committed() {
        let house = House::new().await;
        house.interrupted("/a", b"0123").await;
        let part = [("content-range", "bytes 4-5/8")];
        let response = sent(&house, Method::PUT, &part, pending::<()>(), body(&[Some(b"45")])).await;
        assert_eq!((response.status(), &response.headers()[OFFSET]), (StatusCode::ACCEPTED, &HeaderValue::from(6)));
        assert_eq!((house.bytes("a"), house.kept("a").await), (None, Some(6)));
        assert_eq!(
            status(&house, &[("content-range", "bytes 6-7/8")], body(&[Some(b"67")])).await,
            StatusCode::CREATED
        );
        assert_eq!(house.bytes("a").unwrap(), b"01234567");
    }

    #[tokio::test]
    async fn a_resumed_upload_that_is_cut_again_can_be_resumed_again() {
        let house = House::new().await;
        house.interrupted("/a", b"0123").await;
        let cut = status(&house, &[("content-range", "bytes 4-9/10")], body(&[Some(b"45"), None])).await;
        assert_eq!((cut, house.kept("a").await), (StatusCode::INTERNAL_SERVER_ERROR, Some(6)));
        let again = sent(&house, Method::PUT, &[("content-range", "bytes 4-9/10")], pending::<()>(), body(&[])).await;
        assert_eq!((again.status(), &again.headers()[OFFSET]), (StatusCode::CONFLICT, &HeaderValue::from(6)));
        let update = [
            ("content-type", "application/x-sabredav-partialupdate"),
            ("content-length", "4"),
            ("x-update-range", "append"),
        ];
        let rest = sent(&house, Method::PATCH, &update, pending::<()>(), body(&[Some(b"6789")])).await;
        assert_eq!((rest.status(), house.bytes("a").unwrap()), (StatusCode::CREATED, b"0123456789".to_vec()));
    }

    #[tokio::test]
    async fn a_file_that_changed_while_the_bytes_came_is_not_replaced_by_a_conditional_upload() {
        for condition in ["if", "if-match", "if-unmodified-since", "if-none-match"] {
            let house = House::new().await;
            house.put("a", b"first");
            let etag = house.vfs.stat(&path("/a")).await.unwrap().etag;
            let value = match condition {
                "if" => format!("([\"{etag}\"])"),
                "if-match" => format!("\"{etag}\""),
                "if-none-match" => "\"another\"".to_owned(),
                _ => httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(60)),
            };
            let other = house.on_disk("a");
            let body = body_while(move || std::fs::write(&other, b"somebody else's").unwrap());
            assert_eq!(
                status(&house, &[(condition, &value)], body).await,
                StatusCode::PRECONDITION_FAILED,
                "{condition}"
            );
            assert_eq!(house.bytes("a").unwrap(), b"somebody else's");
        }
    }

    #[tokio::test]
    async fn no_upload_is_committed_after_the_end_of_its_session() {
        let house = House::new().await;
        let early = sent(&house, Method::PUT, &[], ready(()), body(&[Some(b"all")])).await;
        assert_eq!(early.status(), StatusCode::UNAUTHORIZED);
        let (end, ended) = tokio::sync::oneshot::channel::<()>();
        let mut end = Some(end);
        let late = sent(&house, Method::PUT, &[], ended, body_while(move || drop(end.take()))).await;
        assert_eq!((late.status(), house.bytes("a")), (StatusCode::UNAUTHORIZED, None));
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
        status(&house, &[], StreamBody::new(stream::iter(pieces)).boxed_unsync()).await;
        assert!(house.bytes("a").unwrap() == all);
    }

    fn facts(size: u64) -> Metadata {
        Metadata {
            kind: Kind::File,
            size,
            modified: UNIX_EPOCH,
            accessed: UNIX_EPOCH,
            mode: 0o644,
            uid: 0,
            gid: 0,
            links: 1,
            unique: (0, 0),
            etag: "x".into(),
        }
    }

    fn planned(method: Method, pairs: &[(&'static str, &'static str)]) -> Result<Plan, StatusCode> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        plan(&method, &headers, Some(&facts(10)))
    }

    #[test]
    fn a_put_is_a_whole_new_state_unless_it_says_otherwise() {
        let plan = planned(Method::PUT, &[("content-length", "5")]).unwrap();
        assert_eq!(plan, Plan { intent: Intent::Create, start: 0, announced: Some(5), more_follows: false });
        assert_eq!(planned(Method::PUT, &[("if-none-match", "*")]).unwrap().intent, Intent::CreateNew);
        let finder = planned(Method::PUT, &[("x-expected-entity-length", "7")]).unwrap();
        assert_eq!(finder.announced, Some(7));
        let part = planned(Method::PUT, &[("content-range", "bytes 3-5/*"), ("content-length", "3")]).unwrap();
        assert_eq!(
            part,
            Plan {
                intent: Intent::Patch { offset: Some(3), append: false },
                start: 3,
                announced: Some(3),
                more_follows: false,
            }
        );
        assert!(planned(Method::PUT, &[("content-range", "bytes 3-5/*"), ("content-length", "4")]).is_err());
    }

    #[test]
    fn a_patch_starts_where_its_range_says() {
        let start = |range: &'static str| {
            planned(
                Method::PATCH,
                &[
                    ("content-type", "application/x-sabredav-partialupdate"),
                    ("content-length", "4"),
                    ("x-update-range", range),
                ],
            )
            .map(|plan| plan.start)
        };
        assert_eq!(start("append"), Ok(10));
        assert_eq!(start("bytes=2-5"), Ok(2));
        assert_eq!(start("bytes=2-"), Ok(2));
        assert_eq!(start("bytes=-3"), Ok(7));
        assert_eq!(start("bytes=2-9"), Err(StatusCode::RANGE_NOT_SATISFIABLE));
        assert_eq!(start("bytes=-11"), Err(StatusCode::RANGE_NOT_SATISFIABLE));
        assert_eq!(start("bytes=18446744073709551615-"), Err(StatusCode::RANGE_NOT_SATISFIABLE));
        assert_eq!(planned(Method::PATCH, &[]), Err(StatusCode::UNSUPPORTED_MEDIA_TYPE));
    }
}
