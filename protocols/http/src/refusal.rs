//! Why a request got no: one table from what went wrong to status, word and text.

use crate::{body::Body, json};
use http::{HeaderValue, Response, StatusCode, header};
use lockgate_http_semantics::{Malformed, NotSent, NotStored, UPLOAD_OFFSET};
use lockgate_model::PathError;
use lockgate_vfs::VfsError;
use std::borrow::Cow;

/// A refused request. Becomes `{"error":{"code","message","field"?}}`.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) code: &'static str,
    pub(crate) message: Cow<'static, str>,
    pub(crate) field: Option<&'static str>,
    /// Headers that belong to the status: `Allow`, `Retry-After`, `Content-Range`, `WWW-Authenticate`.
    pub(crate) headers: Vec<(header::HeaderName, HeaderValue)>,
    /// Whether the connection ends after the reply, because what follows on it cannot be trusted to be a request.
    pub(crate) close: bool,
}

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code, message: message.into(), field: None, headers: Vec::new(), close: false }
    }

    pub(crate) fn bad_request(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this address")
    }

    /// The one answer to every login that did not succeed.
    pub(crate) fn denied() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "denied", "the login was refused")
    }

    pub(crate) fn busy() -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", "too many logins under way, try again in a moment")
            .with(header::RETRY_AFTER, HeaderValue::from_static("10"))
    }

    pub(crate) fn precondition() -> Self {
        Self::new(StatusCode::PRECONDITION_FAILED, "precondition_failed", "a condition of the request does not hold")
    }

    #[must_use]
    pub(crate) fn about(mut self, field: &'static str) -> Self {
        self.field = Some(field);
        self
    }

    #[must_use]
    pub(crate) fn with(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    #[must_use]
    pub(crate) fn closing(mut self) -> Self {
        self.close = true;
        self
    }

    pub(crate) fn into_response(self) -> Response<Body> {
        let mut error = serde_json::Map::new();
        error.insert("code".into(), self.code.into());
        error.insert("message".into(), self.message.into());
        if let Some(field) = self.field {
            error.insert("field".into(), field.into());
        }
        let mut response = json::reply(self.status, &serde_json::json!({ "error": error }));
        for (name, value) in self.headers {
            response.headers_mut().append(name, value);
        }
        if self.close {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<VfsError> for Refusal {
    /// The table of "what each failure says"; the text is the tree's own.
    fn from(error: VfsError) -> Self {
        use StatusCode as S;
        let (status, code) = match &error {
            VfsError::NotFound(_) => (S::NOT_FOUND, "not_found"),
            VfsError::Forbidden { .. } => (S::FORBIDDEN, "forbidden"),
            VfsError::ReadOnly(_) => (S::FORBIDDEN, "read_only"),
            VfsError::Exists(_) => (S::CONFLICT, "exists"),
            VfsError::NotEmpty(_) => (S::CONFLICT, "not_empty"),
            VfsError::IsFolder(_) => (S::CONFLICT, "is_folder"),
            VfsError::NotFolder(_) => (S::CONFLICT, "not_folder"),
            VfsError::Impossible { .. } => (S::CONFLICT, "impossible"),
            VfsError::PartialExists(_) => (S::CONFLICT, "partial_exists"),
            VfsError::WrongOffset { .. } => (S::CONFLICT, "wrong_offset"),
            VfsError::Locked(_) => (S::LOCKED, "locked"),
            VfsError::OverQuota { .. } => (S::INSUFFICIENT_STORAGE, "over_quota"),
            VfsError::NoSpace => (S::INSUFFICIENT_STORAGE, "no_space"),
            VfsError::Changed(_) => (S::PRECONDITION_FAILED, "changed"),
            VfsError::BadName => (S::BAD_REQUEST, "bad_name"),
            VfsError::Unsupported(_) => (S::NOT_IMPLEMENTED, "not_supported"),
            VfsError::Interrupted => (S::INTERNAL_SERVER_ERROR, "interrupted"),
            VfsError::Backend { action, source } => {
                tracing::error!(%action, error = %source, "storage failed");
                (S::INTERNAL_SERVER_ERROR, "storage_error")
            }
            _ => (S::INTERNAL_SERVER_ERROR, "storage_error"),
        };
        let refusal = Self::new(status, code, error.to_string());
        match error {
            // Whoever goes on in the wrong place is told the right one.
            VfsError::WrongOffset { expected } => refusal.with(UPLOAD_OFFSET, HeaderValue::from(expected)),
            _ => refusal,
        }
    }
}

impl From<Malformed> for Refusal {
    fn from(error: Malformed) -> Self {
        let code = match error {
            Malformed::Encoded => "encoded",
            // The same answer as for a name that is not there: nothing is said about what lies above the root.
            Malformed::Path(PathError::Above) => {
                return Self::new(error.status(), "not_found", "no such file or folder");
            }
            Malformed::Escape | Malformed::Slash | Malformed::Path(_) => "bad_path",
            _ => "bad_request",
        };
        Self::new(error.status(), code, error.to_string())
    }
}

impl From<NotStored> for Refusal {
    fn from(error: NotStored) -> Self {
        match error {
            // `If-None-Match: *` fails as a condition, whenever the name turned up.
            NotStored::Tree(VfsError::Exists(_)) => Self::precondition(),
            NotStored::Tree(error) => error.into(),
            NotStored::Ended => Self::denied(),
            NotStored::Longer | NotStored::Shorter => Self::bad_request(error.to_string()),
            NotStored::Mismatch => Self::new(StatusCode::BAD_REQUEST, "digest_mismatch", error.to_string()),
        }
    }
}

impl From<NotSent> for Refusal {
    fn from(error: NotSent) -> Self {
        match error {
            NotSent::Tree(error) => error.into(),
            NotSent::Precondition => Self::precondition(),
            NotSent::Range(value) => Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "range", "the file has no such part")
                .with(header::CONTENT_RANGE, value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_model::VPath;

    #[test]
    fn a_name_taken_meanwhile_is_a_failed_condition() {
        let status = |error: VfsError| Refusal::from(NotStored::from(error)).status;
        assert_eq!(status(VfsError::Exists(VPath::root())), StatusCode::PRECONDITION_FAILED);
        assert_eq!(status(VfsError::NotFound(VPath::root())), StatusCode::NOT_FOUND);
    }

    #[test]
    fn whoever_goes_on_in_the_wrong_place_is_told_the_right_one() {
        let refusal = Refusal::from(NotStored::from(VfsError::WrongOffset { expected: 6 }));
        assert_eq!(
            (refusal.status, refusal.headers),
            (StatusCode::CONFLICT, vec![(UPLOAD_OFFSET, HeaderValue::from(6))])
        );
    }
}
