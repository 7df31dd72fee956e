//! The page at the root: files of `ui/`, built in. It uses nothing but the REST interface.

use crate::{
    body::{Body, empty, full},
    refusal::Refusal,
};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header};
use lockgate_http_semantics::{Access, Validators, Verdict, judge};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// One file of the page.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Page {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

const PAGES: [Page; 4] = [
    Page { path: "/", content_type: "text/html; charset=utf-8", text: include_str!("../ui/index.html") },
    Page { path: "/ui/app.js", content_type: "text/javascript; charset=utf-8", text: include_str!("../ui/app.js") },
    Page { path: "/ui/style.css", content_type: "text/css; charset=utf-8", text: include_str!("../ui/style.css") },
    Page { path: "/favicon.svg", content_type: "image/svg+xml", text: include_str!("../ui/favicon.svg") },
];

/// The file at `path`.
pub(crate) fn page(path: &str) -> Option<&'static Page> {
    PAGES.iter().find(|page| page.path == path)
}

/// Serves a file of the page, or says that the browser has it.
///
/// # Errors
/// 412.
pub(crate) fn serve(page: &'static Page, method: &Method, headers: &HeaderMap) -> Result<Response<Body>, Refusal> {
    let tag = tag(page.text);
    let state = Validators { tag: &tag, modified: None };
    let verdict = judge(headers, Access::Reads, Some(state));
    if verdict == Verdict::Failed {
        return Err(Refusal::precondition());
    }
    let fresh = verdict == Verdict::NotModified;
    let bare = fresh || method == Method::HEAD;
    let mut response = Response::new(if bare { empty() } else { full(Bytes::from_static(page.text.as_bytes())) });
    let out = response.headers_mut();
    out.insert(header::CONTENT_TYPE, HeaderValue::from_static(page.content_type));
    out.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{tag}\"")) {
        out.insert(header::ETAG, tag);
    }
    if fresh {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else if bare {
        out.insert(header::CONTENT_LENGTH, HeaderValue::from(page.text.len()));
    }
    Ok(response)
}

fn tag(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_the_browser_has_is_not_sent_again() {
        let page = page("/").unwrap();
        let ask = |method: Method, pairs: &[(header::HeaderName, &str)]| {
            let headers = pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap()));
            serve(page, &method, &headers.collect())
        };
        let whole = ask(Method::GET, &[]).unwrap();
        let tag = whole.headers()[header::ETAG].to_str().unwrap();
        let length = HeaderValue::from(page.text.len());
        assert_eq!(ask(Method::HEAD, &[]).unwrap().headers()[header::CONTENT_LENGTH], length);
        for value in [tag, &format!("\"another\", W/{tag}"), "*"] {
            let same = ask(Method::GET, &[(header::IF_NONE_MATCH, value)]).unwrap();
            assert_eq!(
                (same.status(), &same.headers()[header::ETAG]),
                (StatusCode::NOT_MODIFIED, &whole.headers()[header::ETAG])
            );
        }
        assert_eq!(
            ask(Method::GET, &[(header::IF_MATCH, "\"another\"")]).unwrap_err().status,
            StatusCode::PRECONDITION_FAILED
        );
    }

    #[test]
    fn the_page_has_no_inline_script_or_style() {
        let html = page("/").unwrap().text;
        assert!(!html.contains("<style") && !html.contains(" style=") && !html.contains("javascript:"));
        for tag in html.split("<script").skip(1) {
            assert!(tag.starts_with(" src=\"/ui/"), "{tag}");
        }
        let handlers = html.split_whitespace().filter(|word| word.starts_with("on") && word.contains('='));
        assert_eq!(handlers.count(), 0);
    }

    #[test]
    fn the_script_puts_no_name_into_markup() {
        let script = page("/ui/app.js").unwrap().text;
        for way in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
            assert!(!script.contains(way), "{way}");
        }
    }
}
