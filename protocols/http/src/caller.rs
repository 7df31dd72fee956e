//! Who is asking: a cookie of the web login, or HTTP Basic. Nothing else is a credential.
//!
//! `Authorization` is looked at first and alone: a request that brings one in a form that is not ours brings none, and is not saved
//! by a cookie. A cookie is only good for a change together with its CSRF token.

use crate::{refusal::Refusal, routes, visit::Ask};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use lockgate_access::{Session, WebSession, WebToken};
use lockgate_http_semantics::{Credentials, LoginRefused, REALM, credentials, log_in};
use lockgate_model::Secret;
use zeroize::Zeroizing;

/// Who may go on.
pub(crate) struct Caller {
    pub(crate) session: Session,
    /// The CSRF token, where a cookie opened the door.
    pub(crate) csrf: Option<Secret<String>>,
}

const CSRF: &str = "x-csrf-token";
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
        let caller = match credentials(headers).map_err(|error| Refusal::from(error).closing())? {
            Credentials::None => self.by_cookie().await?,
            Credentials::Unknown => return Err(self.unauthorised()),
            Credentials::Basic(name, password) => self.by_basic(&name, password).await?,
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
        match log_in(&self.visit.front.gate, &self.origin, name, password).await {
            Ok(session) => Ok(Caller { session, csrf: None }),
            Err(LoginRefused::Busy) => Err(Refusal::busy()),
            Err(LoginRefused::Denied) => Err(self.unauthorised()),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

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
