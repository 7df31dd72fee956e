//! What stands in front: credentials first, then bounds, then the method's own way.

use crate::{
    Body,
    address::{self, Address},
    condition::{If, proceeds},
    credentials, fetch,
    files::Files,
    locks::TreeLocks,
    propfind, relocate,
    reply::{Reply, bare, closing, element, failed, said},
    store, xml,
};
use bytes::Bytes;
use dav_server::DavHandler;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header, request::Parts};
use http_body::Body as _;
use http_body_util::{BodyExt, Full};
use lockgate_access::{Gate, Session};
use lockgate_http_semantics::{committed, is_conditional};
use lockgate_model::Origin;
use lockgate_net::Stranger;
use lockgate_vfs::{Kind, LockToken, Vfs};
use std::{future::Future, pin::pin, time::Duration};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

/// The time within which a body that is no file must be here.
const BODY_TIME: Duration = Duration::from_secs(15);
/// The largest body of a `LOCK`, in bytes: what its owner says of themself is kept, and told with every resource below.
const LOCK_LIMIT: usize = 2 * 1024;
const METHODS: &str = "OPTIONS, GET, HEAD, PUT, PATCH, DELETE, COPY, MOVE, MKCOL, PROPFIND, PROPPATCH, LOCK, UNLOCK";
const METHODS_OF_A_FILE: &str = "OPTIONS, GET, HEAD, PUT, PATCH, DELETE, COPY, MOVE, PROPFIND, PROPPATCH, LOCK, UNLOCK";
const METHODS_OF_A_FOLDER: &str = "OPTIONS, DELETE, COPY, MOVE, PROPFIND, PROPPATCH, LOCK, UNLOCK";
const METHODS_OF_A_NEW_NAME: &str = "OPTIONS, PUT, MKCOL, LOCK";
const DEPTH: HeaderName = HeaderName::from_static("depth");

/// One request of somebody who is known.
pub(crate) struct Ask {
    pub(crate) parts: Parts,
    pub(crate) session: Session,
    /// The tree with the lock tokens that the request shows.
    pub(crate) vfs: Vfs,
    pub(crate) at: Address,
    pub(crate) host: Option<String>,
    pub(crate) condition: Option<If>,
    pub(crate) cut: CancellationToken,
}

/// Answers one request. Never fails: what goes wrong is a reply.
pub(crate) async fn answer(
    gate: &Gate,
    request: Request<Body>,
    origin: Origin,
    stranger: &Stranger,
    cut: CancellationToken,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let session = match credentials::session(gate, &parts.headers, &origin).await {
        Ok(session) => session,
        Err(response) => return response,
    };
    stranger.admit();
    let mut response = match Ask::new(parts, session, cut) {
        Ok(ask) => ask.finished(body).await,
        Err(status) => closing(bare(status)),
    };
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("private, no-cache"));
    response
}

impl Ask {
    fn new(mut parts: Parts, session: Session, cut: CancellationToken) -> Result<Self, StatusCode> {
        let at = Address::parse(parts.uri.path())?;
        let host = address::host(&parts.headers, &parts.uri).map(str::to_owned);
        let condition = If::parse(&parts.headers)?;
        let vfs = match &condition {
            Some(condition) => session.vfs().with_tokens(condition.tokens()),
            None => session.vfs().clone(),
        };
        settle(&parts.method, &mut parts.headers)?;
        parts.uri = at.uri().ok_or(StatusCode::BAD_REQUEST)?;
        Ok(Self { parts, session, vfs, at, host, condition, cut })
    }

    /// The reply; a 405 says what the resource takes instead (RFC 9110 section 15.5.6).
    async fn finished(self, body: Body) -> Response<Body> {
        let (vfs, at) = (self.vfs.clone(), self.at.clone());
        let mut response = self.answer(body).await.unwrap_or_else(|early| early);
        if response.status() == StatusCode::METHOD_NOT_ALLOWED {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed(&vfs, &at).await));
        }
        response
    }

    async fn answer(self, body: Body) -> Reply {
        match self.parts.method.as_str() {
            "OPTIONS" => Ok(options()),
            "PUT" | "PATCH" => store::put(self, body).await.map_err(closing),
            "DELETE" => until(self.session.ended(), relocate::delete(self)).await,
            "COPY" => until(self.session.ended(), relocate::copy(self)).await,
            "MOVE" => until(self.session.ended(), relocate::rename(self)).await,
            "GET" | "HEAD" => {
                self.holds().await?;
                fetch::fetch(self).await
            }
            "PROPFIND" if depth(&self.parts.headers) == Some(Depth::Infinity) => {
                Ok(closing(element(StatusCode::FORBIDDEN, "<D:propfind-finite-depth/>")))
            }
            "PROPFIND" => {
                let body = read(body).await.map_err(closing)?;
                propfind::propfind(self, &body).await
            }
            "PROPPATCH" | "MKCOL" | "LOCK" | "UNLOCK" => {
                let body = read(body).await.map_err(closing)?;
                bounded(&self.parts.method, &body).map_err(|why| said(StatusCode::PAYLOAD_TOO_LARGE, why))?;
                self.holds().await?;
                self.proceeds().await?;
                self.through(body).await
            }
            _ => Err(closing(said(StatusCode::METHOD_NOT_ALLOWED, "this method is not known here"))),
        }
    }

    /// Whether the conditions of the request hold for `path`.
    ///
    /// # Errors
    /// 412.
    pub(crate) async fn holds(&self) -> Result<(), Response<Body>> {
        match &self.condition {
            Some(condition) if !condition.holds(&self.vfs, &self.at.path, self.host.as_deref()).await => {
                Err(said(StatusCode::PRECONDITION_FAILED, "the If header does not hold"))
            }
            _ => Ok(()),
        }
    }

    /// Whether the conditions of RFC 9110 hold for a change of the resource itself.
    ///
    /// # Errors
    /// 412.
    async fn proceeds(&self) -> Result<(), Response<Body>> {
        if !is_conditional(&self.parts.headers) {
            return Ok(());
        }
        let current = committed(&self.vfs, &self.at.path).await.map_err(failed)?;
        if proceeds(&self.parts.headers, current.as_ref()) {
            return Ok(());
        }
        Err(said(StatusCode::PRECONDITION_FAILED, "a condition of the request does not hold"))
    }

    /// The library's part: what is said in XML. The conditions have been judged, and are not shown to it.
    async fn through(self, body: Bytes) -> Reply {
        let Self { mut parts, session, vfs, condition, cut, .. } = self;
        let tokens = condition.map(|condition| condition.tokens()).unwrap_or_default();
        parts.headers = plain(&parts.headers, &tokens);
        let locks = TreeLocks::new(vfs.clone(), tokens);
        let files = Files::new(vfs, locks.clone());
        let handler = DavHandler::builder()
            .strip_prefix("/dav/")
            .filesystem(Box::new(files))
            .locksystem(Box::new(locks))
            .hide_symlinks(false)
            .autoindex(false)
            .build_handler();
        let response = handler.handle(Request::from_parts(parts, Full::new(body))).await;
        let (head, body) = response.into_parts();
        Ok(Response::from_parts(head, held(body.boxed_unsync(), session, cut)))
    }
}

/// The methods that fit what is at an address.
async fn allowed(vfs: &Vfs, at: &Address) -> &'static str {
    match committed(vfs, &at.path).await.ok().flatten().map(|facts| facts.kind) {
        Some(Kind::Folder) => METHODS_OF_A_FOLDER,
        None if at.slash => METHODS_OF_A_FOLDER,
        Some(Kind::File | Kind::Link) => METHODS_OF_A_FILE,
        None => METHODS_OF_A_NEW_NAME,
    }
}

/// Work that may take long, as long as its session lives.
async fn until<E>(ended: impl Future<Output = E>, work: impl Future<Output = Reply>) -> Reply {
    tokio::select! {
        biased;
        _ = ended => Err(closing(said(StatusCode::UNAUTHORIZED, "the session has ended"))),
        reply = work => reply,
    }
}

/// A body that ends with the session: its connection is cut where nobody reads on.
pub(crate) fn held(body: Body, session: Session, cut: CancellationToken) -> Body {
    if body.is_end_stream() {
        return body;
    }
    let watch = Watch::new(&session, cut);
    body.map_frame(move |frame| {
        let _held = (&watch, &session);
        frame
    })
    .boxed_unsync()
}

/// Ends the connection when a session ends while this lives: a reply that nobody reads would otherwise outlast the right to it.
pub(crate) struct Watch(AbortHandle);

impl Watch {
    pub(crate) fn new(session: &Session, cut: CancellationToken) -> Self {
        let ended = session.ended();
        let task = tokio::spawn(async move {
            ended.await;
            cut.cancel();
        });
        Self(task.abort_handle())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn options() -> Response<Body> {
    let mut response = bare(StatusCode::OK);
    let headers = response.headers_mut();
    headers.insert(header::ALLOW, HeaderValue::from_static(METHODS));
    headers.insert("dav", HeaderValue::from_static("1, 2, 3, sabredav-partialupdate"));
    headers.insert("ms-author-via", HeaderValue::from_static("DAV"));
    response
}

/// How deep a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Depth {
    Zero,
    One,
    Infinity,
}

/// The `Depth` header; `None` where there is none. [`settle`] has refused what is no depth.
pub(crate) fn depth(headers: &HeaderMap) -> Option<Depth> {
    match headers.get(DEPTH)?.as_bytes() {
        b"0" => Some(Depth::Zero),
        b"1" => Some(Depth::One),
        _ => Some(Depth::Infinity),
    }
}

/// Refuses what is no depth, and fills in the one that is meant where a listing has none.
fn settle(method: &Method, headers: &mut HeaderMap) -> Result<(), StatusCode> {
    let mut values = headers.get_all(DEPTH).iter();
    match (values.next(), values.next()) {
        (None, _) if method.as_str() == "PROPFIND" => {
            headers.insert(DEPTH, HeaderValue::from_static("1"));
        }
        (None, _) => {}
        (Some(value), None) => {
            let word = value.as_bytes();
            if word.eq_ignore_ascii_case(b"infinity") {
                headers.insert(DEPTH, HeaderValue::from_static("infinity"));
            } else if word != b"0" && word != b"1" {
                return Err(StatusCode::BAD_REQUEST);
            }
        }
        _ => return Err(StatusCode::BAD_REQUEST),
    }
    Ok(())
}

/// The headers that the library is shown: those it needs, and only in forms that cannot trip it. Conditions and ranges are none of
/// them.
fn plain(headers: &HeaderMap, tokens: &[LockToken]) -> HeaderMap {
    const AS_THEY_ARE: [HeaderName; 4] =
        [DEPTH, HeaderName::from_static("timeout"), HeaderName::from_static("lock-token"), header::USER_AGENT];
    let mut shown = HeaderMap::new();
    for name in AS_THEY_ARE {
        shown.extend(headers.get(&name).cloned().map(|value| (name, value)));
    }
    // The one use that is left for the header: which lock is to be given a new life.
    if let [LockToken(token)] = tokens {
        shown.extend(
            HeaderValue::from_str(&format!("(<{token}>)")).ok().map(|value| (HeaderName::from_static("if"), value)),
        );
    }
    shown
}

/// What a request may ask to be kept.
///
/// # Errors
/// Why not, for a 413.
fn bounded(method: &Method, body: &[u8]) -> Result<(), &'static str> {
    match method.as_str() {
        "LOCK" if body.len() > LOCK_LIMIT => Err("a lock says at most 2 KiB of its owner"),
        "PROPPATCH" if xml::updates(body) > xml::PROPERTIES => Err("a request names at most 100 properties"),
        _ => Ok(()),
    }
}

/// Reads a body that is XML or nothing.
async fn read(body: Body) -> Result<Bytes, Response<Body>> {
    let bytes = tokio::time::timeout(BODY_TIME, collect(body))
        .await
        .map_err(|_| said(StatusCode::REQUEST_TIMEOUT, "the body did not arrive in time"))??;
    if !xml::acceptable(&bytes) {
        return Err(said(
            StatusCode::BAD_REQUEST,
            "the body is not plain XML in UTF-8 without a DTD, or it is too deep or has too long tags",
        ));
    }
    Ok(bytes)
}

async fn collect(body: Body) -> Result<Bytes, Response<Body>> {
    let mut bytes = Vec::new();
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| said(StatusCode::BAD_REQUEST, "the body ended early"))?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > xml::LIMIT {
                return Err(said(StatusCode::PAYLOAD_TOO_LARGE, "the body has more than 64 KiB"));
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::full;
    use lockgate_http_semantics::testing::House;

    fn settled(method: &'static str, pairs: &[(HeaderName, &'static str)]) -> Result<HeaderMap, StatusCode> {
        let mut headers: HeaderMap = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        settle(&Method::from_bytes(method.as_bytes()).unwrap(), &mut headers).map(|()| headers)
    }

    #[test]
    fn a_listing_without_depth_is_one_deep() {
        assert_eq!(depth(&settled("PROPFIND", &[]).unwrap()), Some(Depth::One));
        assert_eq!(depth(&settled("LOCK", &[]).unwrap()), None);
        assert_eq!(depth(&settled("PROPFIND", &[(DEPTH, "INFINITY")]).unwrap()), Some(Depth::Infinity));
    }

    #[test]
    fn an_unknown_depth_is_refused_and_not_taken_for_none() {
        for value in ["2", "", "-1", "0,1", "1,noroot", "infinite"] {
            assert_eq!(settled("PROPFIND", &[(DEPTH, value)]).unwrap_err(), StatusCode::BAD_REQUEST, "{value}");
        }
        assert!(settled("PROPFIND", &[(DEPTH, "0"), (DEPTH, "infinity")]).is_err());
    }

    #[test]
    fn the_library_sees_only_what_it_needs_in_forms_that_cannot_trip_it() {
        let shown = |name: HeaderName, value: &'static str| {
            plain(&HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(value))]), &[]).remove(name)
        };
        assert_eq!(shown(HeaderName::from_static("x-litmus"), "x"), None);
        assert_eq!(shown(HeaderName::from_static("if"), "([\""), None);
        for name in
            [header::RANGE, header::IF_RANGE, header::IF_MATCH, header::IF_NONE_MATCH, header::IF_MODIFIED_SINCE]
        {
            assert_eq!(shown(name.clone(), "\"a\""), None, "{name}");
        }
        assert_eq!(shown(DEPTH, "0").unwrap(), "0");
        let lock = plain(&HeaderMap::new(), &[LockToken("urn:uuid:1".into())]);
        assert_eq!(lock["if"], "(<urn:uuid:1>)");
    }

    #[tokio::test]
    async fn a_method_that_does_not_fit_is_answered_with_those_that_do() {
        let house = House::new().await;
        house.put("file", b"x");
        std::fs::create_dir(house.on_disk("folder")).unwrap();
        for (raw, methods) in [
            ("/dav/", METHODS_OF_A_FOLDER),
            ("/dav/folder", METHODS_OF_A_FOLDER),
            ("/dav/file", METHODS_OF_A_FILE),
            ("/dav/new", METHODS_OF_A_NEW_NAME),
            ("/dav/new/", METHODS_OF_A_FOLDER),
        ] {
            assert_eq!(allowed(&house.vfs, &Address::parse(raw).unwrap()).await, methods, "{raw}");
        }
    }

    #[test]
    fn what_is_to_be_kept_is_bounded() {
        let fits = |method: &str, body: &str| {
            bounded(&Method::from_bytes(method.as_bytes()).unwrap(), body.as_bytes()).is_ok()
        };
        let update = |count: usize| {
            let props: String = (0..count).map(|place| format!("<p{place}/>")).collect();
            format!("<D:propertyupdate xmlns:D=\"DAV:\"><D:set><D:prop>{props}</D:prop></D:set></D:propertyupdate>")
        };
        assert!(fits("PROPPATCH", &update(100)) && !fits("PROPPATCH", &update(101)));
        let lock = |length: usize| format!("<owner>{}</owner>", "n".repeat(length));
        assert!(fits("LOCK", &lock(1000)) && !fits("LOCK", &lock(2100)));
    }

    #[tokio::test]
    async fn long_work_ends_with_its_session() {
        use std::future::{pending, ready};
        assert_eq!(until(ready(()), pending()).await.unwrap_err().status(), StatusCode::UNAUTHORIZED);
        assert_eq!(
            until(pending::<()>(), ready(Ok(bare(StatusCode::CREATED)))).await.unwrap().status(),
            StatusCode::CREATED
        );
    }

    #[tokio::test]
    async fn a_body_past_the_limit_is_refused() {
        let status = read(full(vec![b' '; xml::LIMIT + 1])).await.unwrap_err().status();
        assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    }
}
