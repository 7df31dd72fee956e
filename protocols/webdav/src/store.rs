//! `PUT` and `PATCH`: staged, and committed only when the announced length or the last chunk is here.
//!
//! The library opens the target, truncates it, and calls `flush` before it compares lengths; here a short body never touches what is
//! under the name.

use crate::{
    Body,
    condition::{etag, proceeds, wants_new},
    edge::Ask,
    reply::{Reply, bare, failed, said},
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use lockgate_vfs::{Facts, Intent, Kind, Metadata, OnAbort, Upload, VfsError};
use std::{
    pin::pin,
    time::{Duration, UNIX_EPOCH},
};

const MTIME: &str = "x-oc-mtime";

/// Where the bytes belong, and how many are announced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Plan {
    intent: Intent,
    start: u64,
    announced: Option<u64>,
}

/// Answers `PUT` and `PATCH`.
pub(crate) async fn put(ask: Ask, body: Body) -> Reply {
    let headers = &ask.parts.headers;
    if ask.at.slash {
        return Err(said(StatusCode::METHOD_NOT_ALLOWED, "a collection cannot be written to"));
    }
    if headers.get(header::CONTENT_ENCODING).is_some_and(|value| value != "identity") {
        return Err(said(StatusCode::UNSUPPORTED_MEDIA_TYPE, "send the file as it is, without Content-Encoding"));
    }
    let current = current(&ask).await?;
    if current.as_ref().is_some_and(|facts| facts.kind == Kind::Folder) {
        return Err(said(StatusCode::METHOD_NOT_ALLOWED, "a collection cannot be written to"));
    }
    if !proceeds(headers, current.as_ref()) {
        return Err(said(StatusCode::PRECONDITION_FAILED, "a condition of the request does not hold"));
    }
    ask.holds().await?;
    let plan = plan(&ask.parts.method, headers, current.as_ref())
        .map_err(|status| said(status, "the range of the upload cannot be used"))?;
    let mut upload = ask.vfs.create(&ask.at.path, plan.intent, OnAbort::Discard).await.map_err(refused)?;
    if let Some(length) = plan.announced {
        upload.check_room(plan.start.saturating_add(length)).await.map_err(failed)?;
    }
    // Somebody else may be faster while the bytes come.
    if let Some(facts) = current.filter(|_| headers.contains_key(header::IF_MATCH)) {
        upload.only_over(facts.etag);
    }
    fill(&mut upload, &ask, body, plan).await?;
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

async fn current(ask: &Ask) -> Result<Option<Metadata>, Response<Body>> {
    match ask.vfs.stat(&ask.at.path).await {
        Ok(facts) => Ok(Some(facts)),
        Err(VfsError::NotFound(_)) => Ok(None),
        Err(error) => Err(refused(error)),
    }
}

async fn fill(upload: &mut Upload, ask: &Ask, body: Body, plan: Plan) -> Result<(), Response<Body>> {
    let mut body = pin!(body);
    let mut ended = pin!(ask.session.ended());
    let mut at = plan.start;
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            _ = &mut ended => return Err(said(StatusCode::UNAUTHORIZED, "the session has ended")),
        };
        match frame {
            // A body ends in order only after its whole length, its last chunk, or the stream's own end.
            None => break,
            Some(Err(error)) => {
                tracing::debug!(%error, "upload cut");
                return Err(failed(VfsError::Interrupted));
            }
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    if plan.announced.is_some_and(|length| at - plan.start + data.len() as u64 > length) {
                        return Err(said(StatusCode::BAD_REQUEST, "the body is longer than announced"));
                    }
                    upload.write_at(at, &data).await.map_err(failed)?;
                    at += data.len() as u64;
                }
            }
        }
    }
    if plan.announced.is_some_and(|length| length != at - plan.start) {
        return Err(said(StatusCode::BAD_REQUEST, "the body is shorter than announced"));
    }
    Ok(())
}

/// What the request means: a whole file, or a part by `Content-Range` or by `X-Update-Range` of the partial update that sabre/dav
/// brought up.
fn plan(method: &Method, headers: &HeaderMap, current: Option<&Metadata>) -> Result<Plan, StatusCode> {
    let announced = announced(headers)?;
    let patch =
        |start, announced| Plan { intent: Intent::Patch { offset: Some(start), append: false }, start, announced };
    if *method == Method::PATCH {
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !kind.eq_ignore_ascii_case("application/x-sabredav-partialupdate") {
            return Err(StatusCode::UNSUPPORTED_MEDIA_TYPE);
        }
        let length = announced.ok_or(StatusCode::LENGTH_REQUIRED)?;
        let size = current.map(|facts| facts.size).ok_or(StatusCode::NOT_FOUND)?;
        let text =
            headers.get("x-update-range").and_then(|value| value.to_str().ok()).ok_or(StatusCode::BAD_REQUEST)?;
        return Ok(patch(update_start(text, length, size)?, Some(length)));
    }
    if let Some(value) = headers.get(header::CONTENT_RANGE) {
        let (first, count) = value.to_str().ok().and_then(content_range).ok_or(StatusCode::BAD_REQUEST)?;
        if announced.is_some_and(|length| length != count) {
            return Err(StatusCode::BAD_REQUEST);
        }
        return Ok(patch(first, Some(count)));
    }
    let intent = if wants_new(headers) { Intent::CreateNew } else { Intent::Create };
    Ok(Plan { intent, start: 0, announced })
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

fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let inside = total == "*" || number(total).is_some_and(|total| last < total);
    (inside && last >= first && last < u64::MAX).then(|| (first, last - first + 1))
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

/// A missing name is the folder's here: 409 (RFC 4918 section 9.7.1); a taken one is a failed condition.
fn refused(error: VfsError) -> Response<Body> {
    match error {
        VfsError::NotFound(_) | VfsError::NotFolder(_) => said(StatusCode::CONFLICT, "the folder does not exist"),
        VfsError::Exists(_) => said(StatusCode::PRECONDITION_FAILED, "the name exists by now"),
        other => failed(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

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
        assert_eq!(plan, Plan { intent: Intent::Create, start: 0, announced: Some(5) });
        assert_eq!(planned(Method::PUT, &[("if-none-match", "*")]).unwrap().intent, Intent::CreateNew);
        let finder = planned(Method::PUT, &[("x-expected-entity-length", "7")]).unwrap();
        assert_eq!(finder.announced, Some(7));
        let part = planned(Method::PUT, &[("content-range", "bytes 3-5/*"), ("content-length", "3")]).unwrap();
        assert_eq!(
            part,
            Plan { intent: Intent::Patch { offset: Some(3), append: false }, start: 3, announced: Some(3) }
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
