//! Who is asking: a cookie of the web login, or HTTP Basic. Nothing else is a credential.
//!
//! `Authorization` is looked at first and alone: a request that brings one in a form that is not ours brings none, and is not saved
//! by a cookie. A cookie is only good for a change together with its CSRF token.

use crate::{refusal::Refusal, routes, visit::Ask};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use lockgate_access::{Evidence, Outcome, Session, WebSession, WebToken};
use lockgate_model::{Conversation, Origin, Secret};
use zeroize::Zeroizing;

/// Who may go on.
pub(crate) struct Caller {
    pub(crate) session: Session,
    /// The CSRF token, where a cookie opened the door.
    pub(crate) csrf: Option<Secret<String>>,
}

const CSRF: &str = "x-csrf-token";
const REALM: &str = "Basic realm=\"Lockgate: where a code is due, the password is password:CODE\", charset=\"UTF-8\"";
/// For pages: a browser that does not know the scheme shows no dialogue of its own.
const PAGE_REALM: &str = "Lockgate realm=\"log in at /\"";

impl Ask {
    /// Finds out who is asking, and lets the connection in.
    ///
    /// # Errors
    /// 400 for two `Authorization` headers, 401 for no or wrong credentials, 403 for a change with a cookie and without its token,
    /// 429 where too much is going on.
    pub(crate) async fn caller(&self) -> Result<Caller, Refusal> {
        let headers = &self.parts.headers;
        let caller = match credentials(headers)? {
            Shown::Nothing => self.by_cookie().await?,
            Shown::Unknown => return Err(self.unauthorised()),
            Shown::Basic(name, password) => self.by_basic(&name, password).await?,
        };
        self.visit.stranger.admit();
        if let Some(csrf) = &caller.csrf
            && !routes::reads(&self.parts.method)
        {
            let mut shown = headers.get_all(CSRF).iter();
            let right = matches!((shown.next(), shown.next()), (Some(value), None) if csrf.matches(value.as_bytes()));
            if !right {
                return Err(Refusal::new(
                    StatusCode::FORBIDDEN,
                    "csrf",
                    "a change needs the token of the login in X-CSRF-Token",
                ));
            }
        }
        Ok(caller)
    }

    async fn by_cookie(&self) -> Result<Caller, Refusal> {
        let found = match self.cookie() {
            Some(token) => self.visit.front.gate.by_cookie(&self.origin, token.expose()).await,
            None => None,
        };
        match found {
            Some(WebSession { session, csrf }) if session.is_over().is_none() => {
                Ok(Caller { session, csrf: Some(csrf) })
            }
            _ => Err(self.unauthorised()),
        }
    }

    async fn by_basic(&self, name: &str, password: Secret<String>) -> Result<Caller, Refusal> {
        let gate = &self.visit.front.gate;
        let origin = Origin { conversation: Conversation::SingleShot, ..self.origin.clone() };
        let evidence = Evidence::Password(password);
        let session = match gate.resume(&origin, name, &evidence).await {
            Some(session) => session,
            None => match gate.knock(origin, name).submit(evidence).await {
                Outcome::Granted(session) => session,
                Outcome::Challenge(challenge) => {
                    // The code is on its way; the next request brings it behind the password, and proves both again.
                    challenge.park().await;
                    return Err(self.unauthorised());
                }
                Outcome::Denied(denied) if denied.busy => return Err(Refusal::busy()),
                Outcome::Denied(_) => return Err(self.unauthorised()),
            },
        };
        Ok(Caller { session, csrf: None })
    }

    /// The value of our own cookie, where there is exactly one: two would mean that somebody planted one.
    pub(crate) fn cookie(&self) -> Option<WebToken> {
        let name = cookie_name(self.visit.secure);
        let mut found = self
            .parts
            .headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok())
            .flat_map(|text| text.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(key, _)| *key == name);
        match (found.next(), found.next()) {
            (Some((_, value)), None) if (1..=256).contains(&value.len()) => Some(Secret::new(value.to_owned())),
            _ => None,
        }
    }

    /// 401 with the challenge that fits who is asking: programs are told of Basic, the page is not.
    fn unauthorised(&self) -> Refusal {
        let page =
            self.parts.headers.contains_key("sec-fetch-mode") || self.parts.headers.contains_key("x-requested-with");
        Refusal::new(StatusCode::UNAUTHORIZED, "denied", "the login was refused, or there was none")
            .with(header::WWW_AUTHENTICATE, HeaderValue::from_static(if page { PAGE_REALM } else { REALM }))
    }
}

/// The name of the cookie. The prefix makes browsers refuse one that did not come over TLS from this very host.
pub(crate) const fn cookie_name(secure: bool) -> &'static str {
    if secure { "__Host-lockgate_session" } else { "lockgate_session" }
}

/// `Set-Cookie` for a fresh login (`Some`), or to take the cookie back.
pub(crate) fn set_cookie(secure: bool, token: Option<&WebToken>) -> Option<HeaderValue> {
    let name = cookie_name(secure);
    let value = Zeroizing::new(match token {
        Some(token) => format!("{name}={}; Path=/; HttpOnly; SameSite=Strict", token.expose()),
        None => format!("{name}=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0"),
    });
    let text = Zeroizing::new(if secure { format!("{}; Secure", *value) } else { value.to_string() });
    let mut value = HeaderValue::from_str(&text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// A change that a page of another site started, which the browser tells us of.
///
/// # Errors
/// 403.
pub(crate) fn same_site(method: &Method, headers: &HeaderMap, host: Option<&str>) -> Result<(), Refusal> {
    if routes::reads(method) {
        return Ok(());
    }
    let own = match headers.get("sec-fetch-site").map(HeaderValue::as_bytes) {
        Some(site) => matches!(site, b"same-origin" | b"none"),
        None => match headers.get(header::ORIGIN) {
            Some(origin) => is_own(origin, host),
            None => true,
        },
    };
    if own {
        Ok(())
    } else {
        Err(Refusal::new(StatusCode::FORBIDDEN, "foreign_origin", "a page of another site may not do this"))
    }
}

fn is_own(origin: &HeaderValue, host: Option<&str>) -> bool {
    let Some(authority) =
        origin.to_str().ok().and_then(|text| text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")))
    else {
        return false;
    };
    host.is_some_and(|host| host.eq_ignore_ascii_case(authority))
}

enum Shown {
    Nothing,
    Unknown,
    Basic(String, Secret<String>),
}

/// Reads `Authorization`.
///
/// # Errors
/// 400 where there are two: which of them counts would be for the client to choose.
fn credentials(headers: &HeaderMap) -> Result<Shown, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(Shown::Nothing) };
    if values.next().is_some() {
        return Err(Refusal::bad_request("two Authorization headers").closing());
    }
    Ok(basic(value).map_or(Shown::Unknown, |(name, password)| Shown::Basic(name, password)))
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

    fn shown(values: &[&str]) -> Result<Shown, Refusal> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        credentials(&headers)
    }

    #[test]
    fn basic_is_split_at_the_first_colon() {
        let coded = STANDARD.encode("alice:pass:word:123456");
        let Ok(Shown::Basic(name, password)) = shown(&[&format!("bAsIc {coded}")]) else { panic!() };
        assert_eq!((name.as_str(), password.expose().as_str()), ("alice", "pass:word:123456"));
    }

    #[test]
    fn any_other_scheme_is_no_credential() {
        for value in ["Bearer abc", "AWS4-HMAC-SHA256 x", "Basic", "Basic !!!", "Basic YWxpY2U=", "Digest a=b", ""] {
            assert!(matches!(shown(&[value]), Ok(Shown::Unknown)), "{value}");
        }
        assert!(matches!(shown(&[]), Ok(Shown::Nothing)));
    }

    #[test]
    fn two_authorization_headers_are_a_bad_request() {
        let coded = format!("Basic {}", STANDARD.encode("a:b"));
        assert_eq!(shown(&[&coded, &coded]).err().unwrap().status, StatusCode::BAD_REQUEST);
    }

    #[test]
    fn the_cookie_is_bound_to_the_host_and_hidden_from_scripts() {
        let token = Secret::new("abc".to_owned());
        let secure = set_cookie(true, Some(&token)).unwrap();
        assert_eq!(secure, "__Host-lockgate_session=abc; Path=/; HttpOnly; SameSite=Strict; Secure");
        assert_eq!(set_cookie(false, Some(&token)).unwrap(), "lockgate_session=abc; Path=/; HttpOnly; SameSite=Strict");
        assert!(set_cookie(true, None).unwrap().to_str().unwrap().contains("Max-Age=0"));
    }

    #[test]
    fn a_change_from_another_site_is_refused() {
        let check = |pairs: &[(&'static str, &str)]| {
            let headers: HeaderMap = pairs
                .iter()
                .map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
                .collect();
            same_site(&Method::POST, &headers, Some("files.example:8443")).is_ok()
        };
        assert!(check(&[]));
        assert!(check(&[("sec-fetch-site", "same-origin"), ("origin", "https://behind.a.proxy")]));
        assert!(check(&[("origin", "https://FILES.example:8443")]));
        for foreign in
            ["https://evil.example", "null", "https://files.example", "https://files.example:8443.evil", "file://"]
        {
            assert!(!check(&[("origin", foreign)]), "{foreign}");
        }
        assert!(!check(&[("sec-fetch-site", "cross-site")]));
        assert!(!check(&[("sec-fetch-site", "same-site"), ("origin", "https://files.example:8443")]));
        assert!(
            same_site(&Method::GET, &HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static("null"))]), None)
                .is_ok()
        );
    }
}
