//! JSON in and out. Input is small, must say that it is JSON, and is wiped after reading: it may hold a password.

use crate::{
    body::{Body, full},
    refusal::Refusal,
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use serde::{Serialize, de::DeserializeOwned};
use std::{pin::pin, time::Duration};
use zeroize::Zeroizing;

/// The largest JSON body, in bytes.
pub(crate) const JSON_LIMIT: usize = 64 * 1024;
/// The time within which a JSON body must be here, the whole of it.
const JSON_TIME: Duration = Duration::from_secs(15);

/// A reply with `value` as its body, not to be kept by any cache.
pub(crate) fn reply(status: StatusCode, value: &impl Serialize) -> Response<Body> {
    let text = serde_json::to_vec(value).unwrap_or_default();
    let mut response = Response::new(full(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Reads a body as JSON of the form `T`.
///
/// # Errors
/// 415 where the request does not say `application/json` (a form of another site cannot say so), 413 past [`JSON_LIMIT`], 408 past
/// the time, 400 for anything that is not a `T`.
pub(crate) async fn read<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Refusal> {
    if !says_json(headers) {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "not_json",
            "send the body as Content-Type: application/json",
        )
        .closing());
    }
    let bytes = tokio::time::timeout(JSON_TIME, collect(body)).await.map_err(|_| {
        Refusal::new(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not arrive in time").closing()
    })??;
    // The words of serde name fields and places, never values of strings.
    serde_json::from_slice(&bytes).map_err(|error| {
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "bad_json",
            format!("the body cannot be used: line {}, column {}", error.line(), error.column()),
        )
    })
}

fn says_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return false };
    let Ok(text) = value.to_str() else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

async fn collect(body: Body) -> Result<Zeroizing<Vec<u8>>, Refusal> {
    let too_large =
        || Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", "the body has more than 64 KiB").closing();
    if body.size_hint().lower() > JSON_LIMIT as u64 {
        return Err(too_large());
    }
    let mut bytes = Zeroizing::new(Vec::with_capacity(1024));
    let mut body = pin!(body);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::bad_request("the body ended early").closing())?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > JSON_LIMIT {
                return Err(too_large());
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize, Debug)]
    struct Named {
        #[expect(dead_code, reason = "only whether it parses is looked at")]
        name: String,
    }

    fn typed(text: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(text))])
    }

    #[tokio::test]
    async fn only_what_says_json_is_read_as_json() {
        for text in
            ["text/plain", "application/x-www-form-urlencoded", "application/jsonp", "text/plain; application/json"]
        {
            let refusal = read::<Named>(&typed(text), full("{\"name\":\"a\"}")).await.unwrap_err();
            assert_eq!(refusal.status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{text}");
        }
        assert!(read::<Named>(&typed("Application/JSON; charset=utf-8"), full("{\"name\":\"a\"}")).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_past_the_limit_is_refused_and_the_connection_closed() {
        let body = format!("{{\"name\":\"{}\"}}", "a".repeat(JSON_LIMIT));
        let refusal = read::<Named>(&typed("application/json"), full(body)).await.unwrap_err();
        assert_eq!(refusal.status, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(refusal.close);
    }

    #[tokio::test]
    async fn a_refused_body_is_not_quoted_in_the_answer() {
        let refusal = read::<Named>(&typed("application/json"), full("{\"name\":[\"secret\"]}")).await.unwrap_err();
        assert!(!refusal.message.contains("secret"));
    }
}
