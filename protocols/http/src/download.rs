//! `GET` and `HEAD` of a file, as an attachment under its own name.

use crate::{body::Body, names, refusal::Refusal, visit::Ask};
use http::{HeaderValue, Response, header};
use lockgate_http_semantics::Fetch;
use lockgate_model::VPath;

impl Ask {
    /// `GET` and `HEAD /api/v1/files/PATH`.
    pub(crate) async fn fetch(self, raw: &str) -> Result<Response<Body>, Refusal> {
        let caller = self.caller().await?;
        let path = names::from_url(raw)?;
        let session = &caller.session;
        let fetch = Fetch {
            vfs: session.vfs(),
            path: &path,
            method: &self.parts.method,
            headers: &self.parts.headers,
            secure: self.visit.secure,
        };
        let mut response = fetch.reply_in(session, || self.visit.watch(session)).await?;
        name(&mut response, &path);
        Ok(response)
    }
}

/// Says what kind of thing the bytes are: nothing that a browser would show.
fn name(response: &mut Response<Body>, path: &VPath) {
    if !response.status().is_success() {
        return;
    }
    let attachment = names::attachment(path.file_name().unwrap_or_default());
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(
        header::CONTENT_DISPOSITION,
        HeaderValue::try_from(attachment).unwrap_or(HeaderValue::from_static("attachment")),
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::empty;
    use http::StatusCode;

    #[test]
    fn what_a_user_stored_is_an_attachment_of_no_type() {
        let mut response = Response::new(empty());
        name(&mut response, &VPath::parse("/a/evil\r\n.html").unwrap());
        let headers = response.headers();
        assert_eq!(headers[header::CONTENT_TYPE], "application/octet-stream");
        let disposition = headers[header::CONTENT_DISPOSITION].to_str().unwrap();
        assert!(disposition.starts_with("attachment; filename=\"evil"), "{disposition}");
        assert!(!disposition.contains(['\r', '\n']), "{disposition}");
    }

    #[test]
    fn what_the_client_has_keeps_its_type_and_name() {
        let mut response = Response::new(empty());
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        name(&mut response, &VPath::parse("/a").unwrap());
        assert!(response.headers().is_empty());
    }
}
