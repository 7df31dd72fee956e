//! One connection's requests: what all of them share, what each must be before it is looked at, and what every reply carries.

use crate::{
    body::{BODY_IDLE, Body, Ends, empty, full, patient},
    caller::same_site,
    door::Front,
    forwarded, pages,
    refusal::Refusal,
    routes::{self, Place},
    tus,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header, request::Parts};
use http_body::Body as _;
use hyper::body::Incoming;
use lockgate_access::{LedgerHealth, Session};
use lockgate_http_semantics::address::host;
use lockgate_model::{Conversation, Door, Origin, Protocol};
use lockgate_net::{Stop, Stranger};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

/// The largest head of a request, in bytes of names and values.
pub(crate) const HEAD_LIMIT: usize = 32 * 1024;

/// One connection.
pub(crate) struct Visit {
    pub(crate) front: Arc<Front>,
    /// The client by the socket or the PROXY header; a trusted proxy's own headers come on top for each request.
    pub(crate) socket: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) stranger: Arc<Stranger>,
    pub(crate) stop: Stop,
    pub(crate) secure: bool,
    /// Told when a session that is in use on the connection has ended.
    pub(crate) cut: CancellationToken,
    /// Told by the wire that a head said its length in two ways.
    pub(crate) framing: Arc<crate::wire::Framing>,
    /// Requests begun so far, and those that are not at their end.
    pub(crate) requests: AtomicUsize,
    pub(crate) running: AtomicUsize,
    /// Requests that the client took back before they were answered.
    pub(crate) abandoned: AtomicUsize,
}

/// One request, with what is known of where it comes from.
pub(crate) struct Ask {
    pub(crate) visit: Arc<Visit>,
    pub(crate) parts: Parts,
    pub(crate) origin: Origin,
}

impl Visit {
    /// Answers one request. Never fails: what goes wrong is a reply.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Body> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut promise = Promise { running: Running::new(&self), kept: false };
        let (mut parts, incoming) = request.into_parts();
        let head = parts.method == Method::HEAD;
        let chunked = parts.version < Version::HTTP_2 && parts.headers.contains_key(header::TRANSFER_ENCODING);
        let mut response = match self.check(&mut parts) {
            Ok(origin) => {
                let method = parts.method.clone();
                let route = routes::place(parts.uri.path()).name();
                let peer = origin.peer;
                let streams = parts.version == Version::HTTP_2;
                let ends = if streams { Ends::ByFlag } else { Ends::ByLength };
                let (body, held) = patient(incoming, ends, BODY_IDLE);
                let response = Arc::clone(&self).dispatch(parts, body, origin).await;
                tracing::debug!(%peer, %method, route, status = response.status().as_u16(), "request");
                // Over HTTP/1 the wire does the same when the connection ends.
                if let Some(held) = held.filter(|_| streams && response.status().as_u16() >= 400) {
                    tokio::spawn(held.let_run_out());
                }
                response
            }
            Err(refusal) => refusal.closing().into_response(),
        };
        if head {
            let length = response.body().size_hint().exact();
            *response.body_mut() = empty();
            if let Some(length) = length.filter(|length| *length > 0) {
                response.headers_mut().entry(header::CONTENT_LENGTH).or_insert(HeaderValue::from(length));
            }
        }
        // After a chunked body nothing that follows is taken for a request: what two readers may cut apart in two ways ends here.
        if chunked {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        promise.kept = true;
        self.dress(response)
    }

    /// What a request must be before anything of it is believed.
    fn check(&self, parts: &mut Parts) -> Result<Origin, Refusal> {
        let size: usize = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 4).sum();
        if size > HEAD_LIMIT {
            return Err(Refusal::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_large",
                "the headers are too large",
            ));
        }
        if self.framing.is_ambiguous() {
            return Err(Refusal::bad_request("the length of the body is given in two ways"));
        }
        if parts.version < Version::HTTP_2 {
            framed(&parts.method, &parts.headers)?;
        }
        let hosts = parts.headers.get_all(header::HOST).iter().count();
        if hosts > 1 || (hosts == 0 && parts.version == Version::HTTP_11) {
            return Err(Refusal::bad_request("a request has one Host header"));
        }
        let peer = forwarded::settle(&mut parts.headers, self.socket, &self.front.settings.trusted_proxies);
        let door = self.front.door;
        let protocol = if door == Door::Https { Protocol::Https } else { Protocol::Http };
        Ok(Origin {
            door,
            protocol,
            peer,
            local: self.local,
            client_certificate: None,
            conversation: Conversation::Interactive,
        })
    }

    async fn dispatch(self: Arc<Self>, mut parts: Parts, body: Body, origin: Origin) -> Response<Body> {
        let path = parts.uri.path().to_owned();
        let place = routes::place(&path);
        match place {
            Place::Dav => return self.dav(parts, body, origin).await,
            Place::Nowhere => return plain(StatusCode::NOT_FOUND, "not found\n"),
            Place::NoSuchCall => return Refusal::not_found().into_response(),
            _ => {}
        }
        parts.method = tus::method(place, &parts.method, &parts.headers);
        let methods = place.methods();
        if !methods.contains(&parts.method.as_str()) {
            let mut response = refuse_method(&parts.method, methods);
            if matches!(place, Place::Uploads | Place::Upload(_)) {
                tus::offer(&parts.method, response.headers_mut());
            }
            return response;
        }
        if let Err(refusal) = same_site(&parts.method, &parts.headers, host(&parts.headers, &parts.uri)) {
            return refusal.into_response();
        }
        let method = parts.method.clone();
        let ask = Ask { visit: Arc::clone(&self), parts, origin };
        let result = match place {
            Place::Page(page) => pages::serve(page, &method, &ask.parts.headers),
            Place::Healthz => Ok(plain(StatusCode::OK, "ok")),
            Place::Readyz => Ok(self.readiness()),
            Place::Login => ask.log_in(body).await,
            Place::Challenge(id) => ask.answer_challenge(id, body).await,
            Place::Channel(id) => ask.switch_channel(id, body).await,
            Place::Session => ask.log_out().await,
            Place::Me => ask.me().await,
            Place::File(rest) => match method {
                Method::PUT => ask.put(rest, body).await,
                Method::DELETE => ask.delete(rest).await,
                _ => ask.fetch(rest).await,
            },
            Place::List(rest) => ask.list(rest).await,
            Place::MakeFolder(rest) => ask.make_folder(rest).await,
            Place::Move => ask.move_entry(body).await,
            Place::Copy => ask.copy_entry(body).await,
            Place::Uploads | Place::Upload(_) => ask.upload(place, body).await,
            Place::Dav | Place::NoSuchCall | Place::Nowhere => Err(Refusal::not_found()),
        };
        result.unwrap_or_else(Refusal::into_response)
    }

    async fn dav(&self, parts: Parts, body: Body, origin: Origin) -> Response<Body> {
        let Some(dav) = self.front.dav.as_ref().filter(|_| self.front.settings.allow_webdav) else {
            return plain(StatusCode::NOT_FOUND, "not found\n");
        };
        let origin = Origin { protocol: Protocol::Webdav, conversation: Conversation::SingleShot, ..origin };
        dav(Request::from_parts(parts, body), origin, Arc::clone(&self.stranger), self.cut.clone()).await
    }

    fn readiness(&self) -> Response<Body> {
        if self.stop.is_stopping() || self.front.gate.ledger_health() == LedgerHealth::Failing {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "not ready");
        }
        plain(StatusCode::OK, "ok")
    }

    /// What every reply carries. A reply that has a stricter policy of its own keeps it.
    fn dress(&self, mut response: Response<Body>) -> Response<Body> {
        const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                              form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
        let headers = response.headers_mut();
        headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(POLICY));
        for (name, value) in [
            (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (header::X_FRAME_OPTIONS, "DENY"),
            (header::REFERRER_POLICY, "no-referrer"),
            (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
            (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if self.secure {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000"));
        }
        response
    }

    /// Ends the connection when `session` ends while what is returned lives: a reply that nobody reads would otherwise stand still
    /// past the end of the right to it.
    pub(crate) fn watch(self: &Arc<Self>, session: &Session) -> Watch {
        let ended = session.ended();
        let cut = self.cut.clone();
        let task = tokio::spawn(async move {
            ended.await;
            cut.cancel();
        });
        Watch { task: task.abort_handle(), _running: Running::new(self) }
    }
}

/// Watches a session while it lives; see [`Visit::watch`].
pub(crate) struct Watch {
    task: AbortHandle,
    _running: Running,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Counts as something under way on the connection.
struct Running(Arc<Visit>);

impl Running {
    fn new(visit: &Arc<Visit>) -> Self {
        visit.running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(visit))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer that is owed. A client that takes back most of what it asks for wants our work and not the answers (rapid reset).
struct Promise {
    running: Running,
    kept: bool,
}

impl Drop for Promise {
    fn drop(&mut self) {
        const TOO_MANY: usize = 100;
        if !self.kept {
            let visit = &self.running.0;
            let abandoned = visit.abandoned.fetch_add(1, Ordering::Relaxed) + 1;
            if abandoned >= TOO_MANY && abandoned * 2 > visit.requests.load(Ordering::Relaxed) {
                visit.cut.cancel();
            }
        }
    }
}

/// How a request over HTTP/1 says where its body ends (RFC 9112 section 6).
///
/// # Errors
/// 501 for a coding besides `chunked`, under which the bytes would be stored as they came; 411 for an upload without an end: its
/// missing body would be taken for an empty file.
fn framed(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) if *method == Method::PUT && !headers.contains_key(header::CONTENT_LENGTH) => Err(Refusal::new(
            StatusCode::LENGTH_REQUIRED,
            "length_required",
            "an upload says its length in Content-Length, or comes in chunks",
        )),
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "transfer_encoding",
            "the only transfer coding here is chunked, once",
        )),
    }
}

fn refuse_method(method: &Method, methods: &[&str]) -> Response<Body> {
    let allow = HeaderValue::from_str(&methods.join(", ")).unwrap_or(HeaderValue::from_static("GET"));
    if method == Method::OPTIONS {
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(header::ALLOW, allow);
        return response;
    }
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", "this address does not take this method")
        .with(header::ALLOW, allow)
        .into_response()
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let headers: &mut HeaderMap = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(method: Method, pairs: &[(header::HeaderName, &'static str)]) -> Option<u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.clone(), HeaderValue::from_static(value));
        }
        framed(&method, &headers).err().map(|refusal| refusal.status.as_u16())
    }

    #[test]
    fn an_upload_over_http_1_says_where_it_ends() {
        assert_eq!(status(Method::PUT, &[]), Some(411));
        assert_eq!(status(Method::PUT, &[(header::CONTENT_LENGTH, "0")]), None);
        assert_eq!(status(Method::PUT, &[(header::TRANSFER_ENCODING, "Chunked")]), None);
        assert_eq!(status(Method::GET, &[]), None);
    }

    #[test]
    fn no_transfer_coding_is_stored_as_if_it_were_the_file() {
        for coding in ["gzip, chunked", "gzip", "chunked, chunked", "identity", "xchunked", ""] {
            assert_eq!(status(Method::PUT, &[(header::TRANSFER_ENCODING, coding)]), Some(501), "{coding}");
        }
        let twice = [(header::TRANSFER_ENCODING, "gzip"), (header::TRANSFER_ENCODING, "chunked")];
        assert_eq!(status(Method::POST, &twice), Some(501));
    }
}
