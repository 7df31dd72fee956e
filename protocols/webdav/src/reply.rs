//! Replies, and the table from what went wrong in the tree to a status.

use crate::{Body, address};
use http::{HeaderValue, Response, StatusCode, header};
pub(crate) use lockgate_http_semantics::full;
use lockgate_http_semantics::{Malformed, UPLOAD_OFFSET, empty};
use lockgate_vfs::VfsError;

/// Everything ends as a response; `Err` only says that it came early.
pub(crate) type Reply = Result<Response<Body>, Response<Body>>;

/// A status and nothing else.
pub(crate) fn bare(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(empty());
    *response.status_mut() = status;
    response
}

/// A status with a line for the person who looks at the wire.
pub(crate) fn said(status: StatusCode, text: &str) -> Response<Body> {
    let mut response = Response::new(full(format!("{text}\n")));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// A status with the element that RFC 4918 section 16 has for it.
pub(crate) fn element(status: StatusCode, inner: &str) -> Response<Body> {
    let text = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:error xmlns:D=\"DAV:\">{inner}</D:error>\n");
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8"));
    response
}

/// The reply after which the connection ends: what follows on it is the rest of a body that nobody wants.
pub(crate) fn closing(mut response: Response<Body>) -> Response<Body> {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// What is said of a request that cannot be read.
pub(crate) fn malformed(error: Malformed) -> Response<Body> {
    said(error.status(), &error.to_string())
}

/// What a failure of the tree says here. `NotFound` is the one of the name itself; callers that mean a parent say 409.
pub(crate) fn failed(error: VfsError) -> Response<Body> {
    use StatusCode as S;
    let status = match &error {
        VfsError::NotFound(_) => S::NOT_FOUND,
        VfsError::Forbidden { .. } | VfsError::ReadOnly(_) | VfsError::Impossible { .. } => S::FORBIDDEN,
        VfsError::Exists(_) | VfsError::IsFolder(_) => S::METHOD_NOT_ALLOWED,
        VfsError::NotEmpty(_) | VfsError::NotFolder(_) | VfsError::PartialExists(_) | VfsError::WrongOffset { .. } => {
            S::CONFLICT
        }
        VfsError::Locked(path) => {
            let href = address::href(path);
            return element(
                S::LOCKED,
                &format!("<D:lock-token-submitted><D:href>{href}</D:href></D:lock-token-submitted>"),
            );
        }
        VfsError::OverQuota { .. } => return element(S::INSUFFICIENT_STORAGE, "<D:quota-not-exceeded/>"),
        VfsError::NoSpace => return element(S::INSUFFICIENT_STORAGE, "<D:sufficient-disk-space/>"),
        VfsError::Changed(_) => S::PRECONDITION_FAILED,
        VfsError::BadName => S::BAD_REQUEST,
        VfsError::Unsupported(_) => S::NOT_IMPLEMENTED,
        VfsError::Backend { action, source } => {
            tracing::error!(%action, error = %source, "storage failed");
            S::INTERNAL_SERVER_ERROR
        }
        _ => S::INTERNAL_SERVER_ERROR,
    };
    let mut response = said(status, &error.to_string());
    // Whoever goes on in the wrong place is told the right one.
    if let VfsError::WrongOffset { expected } = error {
        response.headers_mut().insert(UPLOAD_OFFSET, HeaderValue::from(expected));
    }
    response
}
