//! HTTP Basic, and what the gate says to it. Clients send it with each request; the gate remembers, not this door.

use crate::{
    Body,
    reply::{closing, said},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use lockgate_access::{Evidence, Gate, Outcome, Session};
use lockgate_model::{Origin, Secret};
use zeroize::Zeroizing;

const REALM: &str = "Basic realm=\"Lockgate: where a code is due, the password is password:CODE\", charset=\"UTF-8\"";

/// The session of whoever sent the request.
///
/// # Errors
/// 400 for two `Authorization` headers, 401 for none, for another scheme and for what the gate denies, 503 where too much is going on.
pub(crate) async fn session(gate: &Gate, headers: &HeaderMap, origin: &Origin) -> Result<Session, Response<Body>> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let shown = match (values.next(), values.next()) {
        (_, Some(_)) => return Err(closing(said(StatusCode::BAD_REQUEST, "two Authorization headers"))),
        (Some(value), None) => basic(value),
        (None, None) => None,
    };
    let Some((name, password)) = shown else { return Err(unauthorised()) };
    let evidence = Evidence::Password(password);
    if let Some(session) = gate.resume(origin, &name, &evidence).await {
        return Ok(session);
    }
    match gate.knock(origin.clone(), &name).submit(evidence).await {
        Outcome::Granted(session) => Ok(session),
        Outcome::Challenge(challenge) => {
            // The code is on its way; the next request brings it behind the password, and proves both again.
            challenge.park().await;
            Err(unauthorised())
        }
        Outcome::Denied(denied) if denied.busy => {
            let mut response = said(StatusCode::TOO_MANY_REQUESTS, "too many logins under way, try again in a moment");
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("10"));
            Err(closing(response))
        }
        Outcome::Denied(_) => Err(unauthorised()),
    }
}

/// The same answer to everybody who is not let in.
fn unauthorised() -> Response<Body> {
    let mut response =
        said(StatusCode::UNAUTHORIZED, "log in with HTTP Basic; where a code is due, the password is password:CODE");
    response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(REALM));
    response
}

/// RFC 7617: the name ends at the first colon; UTF-8.
fn basic(value: &HeaderValue) -> Option<(String, Secret<String>)> {
    let (scheme, coded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || coded.len() > 8 * 1024 {
        return None;
    }
    let bytes = Zeroizing::new(STANDARD.decode(coded.trim()).ok()?);
    let (name, password) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
    Some((name.to_owned(), Secret::new(password.to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_keeps_its_colons() {
        let value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode("alice:pass:123456"))).unwrap();
        let (name, password) = basic(&value).unwrap();
        assert_eq!((name.as_str(), password.expose().as_str()), ("alice", "pass:123456"));
    }

    #[test]
    fn other_schemes_are_no_credentials() {
        for text in ["Bearer x", "Digest a", "Basic", "Basic ~"] {
            assert!(basic(&HeaderValue::from_static(text)).is_none(), "{text}");
        }
    }
}
