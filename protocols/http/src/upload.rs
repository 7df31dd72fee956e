//! `PUT` of a file: staged, and committed only when the announced length or the last chunk is here and nothing else was said.

use crate::{
    body::{Body, empty},
    names,
    precondition::{self, Access, Verdict},
    range::{self, Placed},
    refusal::Refusal,
    visit::Ask,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use lockgate_access::Session;
use lockgate_model::VPath;
use lockgate_vfs::{Committed, Intent, OnAbort, Upload, VfsError};
use std::pin::pin;

impl Ask {
    /// `PUT /api/v1/files/PATH`: 201 for a new name, 204 for a replaced file.
    pub(crate) async fn put(self, raw: &str, body: Body) -> Result<Response<Body>, Refusal> {
        let caller = self.caller().await?;
        if raw.is_empty() || raw.ends_with('/') {
            return Err(
                Refusal::new(StatusCode::CONFLICT, "is_folder", "the name of a file does not end in a slash").closing()
            );
        }
        let path = names::from_url(raw).map_err(Refusal::closing)?;
        // An upload that is refused has its body still under way: it is not read to the end for nothing.
        let committed = self.store(&caller.session, &path, body).await.map_err(Refusal::closing)?;
        let mut response = Response::new(empty());
        *response.status_mut() = if committed.created { StatusCode::CREATED } else { StatusCode::NO_CONTENT };
        let headers = response.headers_mut();
        headers.extend(precondition::etag(&committed.metadata).map(|value| (header::ETAG, value)));
        headers.extend(precondition::last_modified(&committed.metadata).map(|value| (header::LAST_MODIFIED, value)));
        if committed.created {
            headers.extend(HeaderValue::from_str(self.parts.uri.path()).ok().map(|value| (header::LOCATION, value)));
        }
        Ok(response)
    }

    async fn store(&self, session: &Session, path: &VPath, body: Body) -> Result<Committed, Refusal> {
        let headers = &self.parts.headers;
        if headers.get(header::CONTENT_ENCODING).is_some_and(|value| value != "identity") {
            return Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "encoded",
                "send the file as it is, without Content-Encoding",
            ));
        }
        let placed = placement(headers)?;
        let announced = announced(headers, placed)?;
        let over = conditions(session, path, headers).await?;
        let intent = match placed {
            Some(Placed { first, .. }) => Intent::Patch { offset: Some(first), append: false },
            None if precondition::wants_new(headers) => Intent::CreateNew,
            None => Intent::Create,
        };
        let mut upload = session.vfs().create(path, intent, OnAbort::Discard).await.map_err(taken)?;
        let start = placed.map_or(0, |placed| placed.first);
        if let Some(length) = announced {
            upload.check_room(start.saturating_add(length)).await?;
        }
        // Somebody else may be faster while the bytes come.
        if let Some(etag) = over {
            upload.only_over(etag);
        }
        fill(&mut upload, session, body, start, announced).await?;
        upload.commit().await.map_err(taken)
    }
}

/// Writes the body. `Ok` only on the proof of its end.
async fn fill(
    upload: &mut Upload,
    session: &Session,
    body: Body,
    start: u64,
    announced: Option<u64>,
) -> Result<(), Refusal> {
    let mut body = pin!(body);
    let mut ended = pin!(session.ended());
    let mut at = start;
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            _ = &mut ended => return Err(Refusal::denied()),
        };
        match frame {
            // hyper ends a body in order only after its whole length, its last chunk, or the stream's own end.
            None => break,
            Some(Err(error)) => {
                tracing::debug!(%error, "upload cut");
                return Err(Refusal::from(VfsError::Interrupted));
            }
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    if announced.is_some_and(|length| at - start + data.len() as u64 > length) {
                        return Err(Refusal::bad_request("the body is longer than announced"));
                    }
                    upload.write_at(at, &data).await?;
                    at += data.len() as u64;
                }
            }
        }
    }
    if announced.is_some_and(|length| length != at - start) {
        return Err(Refusal::bad_request("the body is shorter than announced"));
    }
    Ok(())
}

/// Whether the conditions hold now; the tag of the state that must still be there at the end, where one was named.
async fn conditions(session: &Session, path: &VPath, headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let any = [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_UNMODIFIED_SINCE]
        .iter()
        .any(|name| headers.contains_key(name));
    if !any {
        return Ok(None);
    }
    let current = match session.vfs().stat(path).await {
        Ok(facts) => Some(facts),
        Err(VfsError::NotFound(_)) => None,
        Err(error) => return Err(error.into()),
    };
    match precondition::judge(headers, Access::Changes, current.as_ref()) {
        Verdict::Proceed if headers.contains_key(header::IF_NONE_MATCH) => Ok(None),
        Verdict::Proceed => Ok(current.map(|facts| facts.etag)),
        Verdict::NotModified | Verdict::Failed => Err(Refusal::precondition()),
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

/// `If-None-Match: *` fails as a condition, whenever the name turned up.
fn taken(error: VfsError) -> Refusal {
    match error {
        VfsError::Exists(_) => Refusal::precondition(),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
