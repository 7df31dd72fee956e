//! `PUT` and `PATCH`: what the request means, and what is said once it is stored.
//!
//! The library opens the target, truncates it, and calls `flush` before it compares lengths; here a short body never touches what is
//! under the name ([`lockgate_http_semantics::Receive`]).

use crate::{
    Body,
    address::Address,
    condition::{If, proceeds},
    edge::Ask,
    reply::{Reply, bare, failed, malformed, said},
};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use lockgate_http_semantics::{
    Claims, Malformed, NotStored, Plan, Receive, Stored, UPLOAD_OFFSET, as_they_are, committed, content_length,
    counted, digits, entity_tag, is_conditional,
};
use lockgate_vfs::{Committed, Kind, Metadata, Vfs, VfsError};
use std::{
    borrow::Cow,
    future::Future,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const MTIME: &str = "x-oc-mtime";

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
    let doing =
        ask.session.activity().begin(if ask.parts.method == Method::PATCH { "PATCH" } else { "PUT" }, &ask.at.path);
    order.store(ask.session.ended(), counted(body, doing)).await
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
        as_they_are(headers).map_err(malformed)?;
        // What everybody sees: an upload that was cut is nothing that a condition can be about.
        let current = committed(vfs, &at.path).await.map_err(refused)?;
        if current.as_ref().is_some_and(|facts| facts.kind == Kind::Folder) {
            return Err(said(StatusCode::METHOD_NOT_ALLOWED, "a collection cannot be written to"));
        }
        self.holds(current.as_ref()).await?;
        // Only who goes on with such an upload has to know where it stands.
        let size = match *method {
            Method::PATCH => match vfs.stat(&at.path).await {
                Ok(facts) => Some(facts.size),
                Err(VfsError::NotFound(_)) => None,
                Err(error) => return Err(refused(error)),
            },
            _ => None,
        };
        let plan = plan(method, headers, size).map_err(|(status, why)| said(status, &why))?;
        let judged = is_conditional(headers) || self.condition.is_some_and(If::names_a_state);
        let over = current.filter(|_| judged).map(|facts| facts.etag);
        let modified = mtime(headers);
        let receive = Receive { vfs, path: &at.path, plan, over, modified, claims: Claims::of(headers) };
        Ok(stored(&receive.take(body, ended).await.map_err(unstored)?, modified.is_some()))
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
}

fn stored(done: &Stored, took_time: bool) -> Response<Body> {
    let Committed { metadata, created, .. } = match done {
        Stored::Committed(committed) => committed,
        Stored::Kept(length) => {
            let mut response = bare(StatusCode::ACCEPTED);
            response.headers_mut().insert(UPLOAD_OFFSET, HeaderValue::from(*length));
            return response;
        }
    };
    let mut response = bare(if *created { StatusCode::CREATED } else { StatusCode::NO_CONTENT });
    let headers = response.headers_mut();
    headers.extend(entity_tag(metadata).map(|value| (header::ETAG, value)));
    if took_time {
        headers.insert(MTIME, HeaderValue::from_static("accepted"));
    }
    response
}

/// What the request means: a whole file, or a part by `Content-Range` or by `X-Update-Range` of the partial update that sabre/dav
/// brought up. `size` is how long the file is that a `PATCH` goes on with.
///
/// # Errors
/// 400, 404, 411, 415 and 416, each with its reason.
fn plan(method: &Method, headers: &HeaderMap, size: Option<u64>) -> Result<Plan, (StatusCode, Cow<'static, str>)> {
    let malformed = |error: Malformed| (error.status(), error.to_string().into());
    let length = announced(headers).map_err(malformed)?;
    if *method != Method::PATCH {
        return Plan::of_put(headers, length).map_err(malformed);
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.eq_ignore_ascii_case("application/x-sabredav-partialupdate") {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "a PATCH is application/x-sabredav-partialupdate".into()));
    }
    let length = length.ok_or((StatusCode::LENGTH_REQUIRED, "a PATCH says its length in Content-Length".into()))?;
    let size = size.ok_or((StatusCode::NOT_FOUND, "there is no such file".into()))?;
    let range = headers.get("x-update-range").and_then(|value| value.to_str().ok());
    let start = range.ok_or(StatusCode::BAD_REQUEST).and_then(|range| update_start(range, length, size));
    start
        .map(|start| Plan::part(start, Some(length)))
        .map_err(|status| (status, "X-Update-Range cannot be used".into()))
}

/// `Content-Length`; in its absence what the macOS Finder announces beside a chunked body.
fn announced(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    const FINDER: &str = "x-expected-entity-length";
    if let Some(length) = content_length(headers)? {
        return Ok(Some(length));
    }
    let value = headers.get(FINDER);
    value.map(|value| value.to_str().ok().and_then(digits).ok_or(Malformed::Length(FINDER))).transpose()
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
        return digits(last).and_then(|count| size.checked_sub(count)).ok_or(unusable);
    }
    let first = digits(first).ok_or(StatusCode::BAD_REQUEST)?;
    if !last.is_empty() {
        let last = digits(last).ok_or(StatusCode::BAD_REQUEST)?;
        if last.checked_sub(first).and_then(|gap| gap.checked_add(1)) != Some(length) {
            return Err(unusable);
        }
    }
    first.checked_add(length).map(|_| first).ok_or(unusable)
}

/// The time that the client wants the file to have, in seconds since 1970.
fn mtime(headers: &HeaderMap) -> Option<SystemTime> {
    let text = headers.get(MTIME)?.to_str().ok()?;
    let seconds = digits(text.split('.').next()?)?;
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

fn unstored(error: NotStored) -> Response<Body> {
    match error {
        NotStored::Tree(error) => refused(error),
        NotStored::Ended => said(StatusCode::UNAUTHORIZED, "the session has ended"),
        NotStored::Longer | NotStored::Shorter | NotStored::Mismatch => {
            said(StatusCode::BAD_REQUEST, &error.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;
    use lockgate_http_semantics::testing::{House, body, body_while, path};
    use std::future::{pending, ready};

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
        assert_eq!(
            (response.status(), &response.headers()[UPLOAD_OFFSET]),
            (StatusCode::ACCEPTED, &HeaderValue::from(6))
        );
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
        assert_eq!((again.status(), &again.headers()[UPLOAD_OFFSET]), (StatusCode::CONFLICT, &HeaderValue::from(6)));
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
            let body = body_while(b"mine", move || std::fs::write(&other, b"somebody else's").unwrap());
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
        let late = sent(&house, Method::PUT, &[], ended, body_while(b"mine", move || drop(end.take()))).await;
        assert_eq!((late.status(), house.bytes("a")), (StatusCode::UNAUTHORIZED, None));
    }

    fn planned(method: Method, pairs: &[(&'static str, &'static str)]) -> Result<Plan, StatusCode> {
        let headers = pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        plan(&method, &headers, Some(10)).map_err(|(status, _)| status)
    }

    #[test]
    fn the_length_that_the_finder_announces_counts_where_there_is_no_other() {
        let put = |pairs: &[(&'static str, &'static str)]| planned(Method::PUT, pairs);
        let finder = ("x-expected-entity-length", "7");
        assert_eq!(put(&[finder]), put(&[("content-length", "7")]));
        assert_eq!(put(&[finder, ("content-length", "5")]), put(&[("content-length", "5")]));
        assert_eq!(put(&[("x-expected-entity-length", "many")]), Err(StatusCode::BAD_REQUEST));
        assert_eq!(put(&[finder, ("content-range", "bytes 3-5/*")]), Err(StatusCode::BAD_REQUEST));
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
            .map(|plan| plan.start())
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
