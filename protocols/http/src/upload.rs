//! `PUT` of a file: what the request means, and what is said once it is stored.

use crate::{
    body::{Body, empty},
    names,
    refusal::Refusal,
    visit::Ask,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use lockgate_http_semantics::{
    Access, Claims, Plan, Receive, Stored, UPLOAD_OFFSET, Verdict, as_they_are, committed, content_length, counted,
    entity_tag, is_conditional, judge, last_modified,
};
use lockgate_model::VPath;
use lockgate_vfs::{Committed, Vfs};
use std::future::Future;

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
        let body = counted(body, caller.session.activity().begin("PUT", &path));
        // An upload that is refused has its body still under way: it is not read to the end for nothing.
        let stored = store(vfs, ended, &path, &self.parts.headers, body).await.map_err(Refusal::closing)?;
        Ok(said(&stored, self.parts.uri.path()))
    }
}

async fn store<E>(
    vfs: &Vfs,
    ended: impl Future<Output = E>,
    path: &VPath,
    headers: &HeaderMap,
    body: Body,
) -> Result<Stored, Refusal> {
    as_they_are(headers)?;
    let plan = Plan::of_put(headers, content_length(headers)?)?;
    let over = conditions(vfs, path, headers).await?;
    let claims = Claims::of(headers);
    Ok(Receive { vfs, path, plan, over, modified: None, claims }.take(body, ended).await?)
}

/// Whether the conditions hold now; the tag of the state that must still be there at the end, where there is one.
async fn conditions(vfs: &Vfs, path: &VPath, headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    if !is_conditional(headers) {
        return Ok(None);
    }
    let current = committed(vfs, path).await?;
    match judge(headers, Access::Changes, current.as_ref().map(Into::into)) {
        Verdict::Proceed => Ok(current.map(|facts| facts.etag)),
        Verdict::NotModified | Verdict::Failed => Err(Refusal::precondition()),
    }
}

fn said(stored: &Stored, address: &str) -> Response<Body> {
    let mut response = Response::new(empty());
    let (status, headers) = match stored {
        Stored::Kept(length) => (StatusCode::ACCEPTED, vec![(UPLOAD_OFFSET, Some(HeaderValue::from(*length)))]),
        Stored::Committed(Committed { metadata, created, .. }) => {
            let mut headers =
                vec![(header::ETAG, entity_tag(metadata)), (header::LAST_MODIFIED, last_modified(metadata))];
            if *created {
                headers.push((header::LOCATION, HeaderValue::from_str(address).ok()));
            }
            (if *created { StatusCode::CREATED } else { StatusCode::NO_CONTENT }, headers)
        }
    };
    *response.status_mut() = status;
    response.headers_mut().extend(headers.into_iter().filter_map(|(name, value)| Some((name, value?))));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_http_semantics::testing::{House, body, body_while, path};
    use std::future::{pending, ready};

    async fn put(house: &House, pairs: &[(header::HeaderName, &str)], body: Body) -> Response<Body> {
        let headers: HeaderMap =
            pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect();
        match store(&house.vfs, pending::<()>(), &path("/a"), &headers, body).await {
            Ok(stored) => said(&stored, "/api/v1/files/a"),
            Err(refusal) => refusal.into_response(),
        }
    }

    #[tokio::test]
    async fn a_new_file_is_told_from_a_replaced_one() {
        let house = House::new().await;
        let new = put(&house, &[], body(&[Some(b"one")])).await;
        assert_eq!((new.status().as_u16(), new.headers()[header::LOCATION].as_bytes()), (201, &b"/api/v1/files/a"[..]));
        let replaced = put(&house, &[], body(&[Some(b"two")])).await;
        assert_eq!(replaced.status(), StatusCode::NO_CONTENT);
        let etag = house.vfs.stat(&path("/a")).await.unwrap().etag;
        assert_eq!(replaced.headers()[header::ETAG], format!("\"{etag}\""));
    }

    #[tokio::test]
    async fn a_new_name_can_be_demanded_while_an_upload_that_was_cut_is_kept() {
        let house = House::new().await;
        house.interrupted("/a", b"half").await;
        let star = [(header::IF_NONE_MATCH, "*")];
        assert_eq!(put(&house, &star, body(&[Some(b"whole")])).await.status(), StatusCode::CREATED);
        assert_eq!(house.bytes("a").unwrap(), b"whole");
        assert_eq!(put(&house, &star, body(&[])).await.status(), StatusCode::PRECONDITION_FAILED);
    }

    #[tokio::test]
    async fn no_condition_holds_on_an_upload_that_was_cut() {
        let house = House::new().await;
        house.interrupted("/a", b"half").await;
        let result = put(&house, &[(header::IF_MATCH, "*")], body(&[Some(b"x")])).await;
        assert_eq!((result.status(), house.kept("a").await), (StatusCode::PRECONDITION_FAILED, Some(4)));
    }

    #[tokio::test]
    async fn whoever_goes_on_is_told_how_much_is_there() {
        let house = House::new().await;
        house.interrupted("/a", b"0123").await;
        let part = put(&house, &[(header::CONTENT_RANGE, "bytes 4-5/8")], body(&[Some(b"45")])).await;
        assert_eq!((part.status(), &part.headers()[UPLOAD_OFFSET]), (StatusCode::ACCEPTED, &HeaderValue::from(6)));
        let wrong = put(&house, &[(header::CONTENT_RANGE, "bytes 4-5/8")], body(&[Some(b"45")])).await;
        assert_eq!((wrong.status(), &wrong.headers()[UPLOAD_OFFSET]), (StatusCode::CONFLICT, &HeaderValue::from(6)));
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
            let body = body_while(b"mine", move || std::fs::write(&other, b"somebody else's").unwrap());
            let result = put(&house, &[(condition.clone(), &value)], body).await;
            assert_eq!(result.status(), StatusCode::PRECONDITION_FAILED, "{condition}");
            assert_eq!(house.bytes("a").unwrap(), b"somebody else's");
        }
    }

    #[tokio::test]
    async fn an_upload_in_a_session_that_has_ended_is_denied() {
        let house = House::new().await;
        let result = store(&house.vfs, ready(()), &path("/a"), &HeaderMap::new(), body(&[Some(b"all")])).await;
        assert_eq!((result.unwrap_err().status, house.bytes("a")), (StatusCode::UNAUTHORIZED, None));
    }
}
