//! Who is asking: HTTP Basic and nothing else, since clients of WebDAV keep no cookies.

use crate::{
    Body,
    reply::{closing, malformed, said},
};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use lockgate_access::{Gate, Session};
use lockgate_http_semantics::{Credentials, LoginRefused, REALM, credentials, log_in};
use lockgate_model::Origin;

/// The session of whoever sent the request.
///
/// # Errors
/// 400 for two `Authorization` headers, 401 for none, for another scheme and for what the gate denies, 429 where too much is going on.
pub(crate) async fn session(gate: &Gate, headers: &HeaderMap, origin: &Origin) -> Result<Session, Response<Body>> {
    let shown = credentials(headers).map_err(|error| closing(malformed(error)))?;
    let Credentials::Basic(name, password) = shown else { return Err(unauthorised()) };
    log_in(gate, origin, &name, password).await.map_err(|refused| match refused {
        LoginRefused::Denied => unauthorised(),
        LoginRefused::Busy => {
            let mut response = said(StatusCode::TOO_MANY_REQUESTS, "too many logins under way, try again in a moment");
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
            closing(response)
        }
    })
}

/// The same answer to everybody who is not let in.
fn unauthorised() -> Response<Body> {
    let mut response =
        said(StatusCode::UNAUTHORIZED, "log in with HTTP Basic; where a code is due, the password is password:CODE");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(REALM));
    response
}
