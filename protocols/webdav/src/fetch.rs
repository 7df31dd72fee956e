//! `GET` and `HEAD`: sent as on the HTTP door, with the type that clients of WebDAV expect.

use crate::{
    Body,
    edge::{Ask, Watch},
    reply::{Reply, failed, said},
};
use http::{HeaderValue, Response, StatusCode, header};
use lockgate_http_semantics::{Fetch, NotSent};
use lockgate_model::{Door, VPath};
use lockgate_vfs::VfsError;

/// Answers `GET` and `HEAD`. A collection has no bytes.
pub(crate) async fn fetch(ask: Ask) -> Reply {
    let fetch = Fetch {
        vfs: &ask.vfs,
        path: &ask.at.path,
        method: &ask.parts.method,
        headers: &ask.parts.headers,
        secure: ask.session.origin().door == Door::Https,
    };
    let watch = || Watch::new(&ask.session, ask.cut.clone());
    let mut response = fetch.reply_in(&ask.session, watch).await.map_err(unsent)?;
    name(&mut response, &ask.at.path);
    Ok(response)
}

/// What clients are told that a file is, by its name.
pub(crate) fn content_type(path: &VPath) -> &'static str {
    let name = String::from_utf8_lossy(path.file_name().unwrap_or_default()).into_owned();
    mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream")
}

/// Never a page of ours, whatever its type.
fn name(response: &mut Response<Body>, path: &VPath) {
    if response.status().is_success() {
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
        headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
}

fn unsent(error: NotSent) -> Response<Body> {
    match error {
        // A name below a file is a name that is not there.
        NotSent::Tree(VfsError::NotFolder(path)) => failed(VfsError::NotFound(path)),
        NotSent::Tree(error) => failed(error),
        NotSent::Precondition => said(StatusCode::PRECONDITION_FAILED, "a condition of the request does not hold"),
        NotSent::Range(value) => {
            let mut response = said(StatusCode::RANGE_NOT_SATISFIABLE, "the file has no such part");
            response.headers_mut().insert(header::CONTENT_RANGE, value);
            response
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::bare;

    #[test]
    fn what_a_user_stored_is_an_attachment_whatever_its_type() {
        let mut response = bare(StatusCode::PARTIAL_CONTENT);
        name(&mut response, &VPath::parse("/a/page.html").unwrap());
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html");
        assert_eq!(response.headers()[header::CONTENT_DISPOSITION], "attachment");
    }

    #[test]
    fn what_is_not_sent_has_the_status_of_its_reason() {
        let path = VPath::parse("/a").unwrap();
        for (error, status) in [
            (NotSent::Precondition, 412),
            (NotSent::Tree(VfsError::NotFolder(path.clone())), 404),
            (NotSent::Tree(VfsError::IsFolder(path)), 405),
        ] {
            assert_eq!(unsent(error).status(), status);
        }
        let range = unsent(NotSent::Range(HeaderValue::from_static("bytes */10")));
        assert_eq!(
            (range.status().as_u16(), range.headers()[header::CONTENT_RANGE].as_bytes()),
            (416, &b"bytes */10"[..])
        );
    }
}
