//! `Authorization` with HTTP Basic (RFC 7617), and what the gate says to it.
//!
//! Clients repeat it with each request; the gate remembers, not the doors. A code that is due comes behind the password, since there is
//! no second prompt. Never: tells one refusal from another, but for a server that is too busy to look.

use crate::Malformed;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header};
use lockgate_access::{Evidence, Gate, Outcome, Session};
use lockgate_model::{Conversation, Origin, Secret};
use zeroize::Zeroizing;

/// `WWW-Authenticate` for programs.
pub const REALM: &str =
    "Basic realm=\"Lockgate: where a code is due, the password is password:CODE\", charset=\"UTF-8\"";

/// The longest Basic credentials, in characters of base64: a password is no place for more.
const LONGEST: usize = 8 * 1024;

/// What a request shows.
pub enum Credentials {
    /// No `Authorization`.
    None,
    /// One that is not ours: another scheme, or Basic that cannot be read. It is a wrong one, not a missing one.
    Unknown,
    /// A name and a password.
    Basic(String, Secret<String>),
}

/// Reads `Authorization`.
///
/// # Errors
/// [`Malformed::Doubled`].
pub fn credentials(headers: &HeaderMap) -> Result<Credentials, Malformed> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(Credentials::None) };
    if values.next().is_some() {
        return Err(Malformed::Doubled("Authorization"));
    }
    Ok(basic(value).map_or(Credentials::Unknown, |(name, password)| Credentials::Basic(name, password)))
}

/// RFC 7617: the name ends at the first colon; UTF-8.
fn basic(value: &HeaderValue) -> Option<(String, Secret<String>)> {
    let (scheme, coded) = value.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") || coded.len() > LONGEST {
        return None;
    }
    let bytes = Zeroizing::new(STANDARD.decode(coded.trim()).ok()?);
    let (name, password) = std::str::from_utf8(&bytes).ok()?.split_once(':')?;
    Some((name.to_owned(), Secret::new(password.to_owned())))
}

/// Why credentials opened nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginRefused {
    /// They are wrong, or a code is due: the next request brings it behind the password.
    Denied,
    /// Too many logins are under way to look.
    Busy,
}

/// The session of a name and a password: the one that is remembered for them, or a new one.
///
/// Dropping the future is an attempt that was not finished; the gate counts it as it counts others.
///
/// # Errors
/// [`LoginRefused`].
pub async fn log_in(
    gate: &Gate,
    origin: &Origin,
    name: &str,
    password: Secret<String>,
) -> Result<Session, LoginRefused> {
    let origin = Origin { conversation: Conversation::SingleShot, ..origin.clone() };
    let evidence = Evidence::Password(password);
    if let Some(session) = gate.resume(&origin, name, &evidence).await {
        return Ok(session);
    }
    match gate.knock(origin, name).submit(evidence).await {
        Outcome::Granted(session) => Ok(session),
        Outcome::Challenge(challenge) => {
            // The code is on its way; the next request proves both factors again.
            challenge.park().await;
            Err(LoginRefused::Denied)
        }
        Outcome::Denied(denied) if denied.busy => Err(LoginRefused::Busy),
        Outcome::Denied(_) => Err(LoginRefused::Denied),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(values: &[&str]) -> Result<Credentials, Malformed> {
        let values = values.iter().map(|value| (header::AUTHORIZATION, HeaderValue::from_str(value).unwrap()));
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(name, value);
        }
        credentials(&headers)
    }

    fn read(value: &str) -> Option<(String, String)> {
        match shown(&[value]).unwrap() {
            Credentials::Basic(name, password) => Some((name, password.expose().clone())),
            _ => None,
        }
    }

    #[test]
    fn basic_is_split_at_the_first_colon() {
        let coded = STANDARD.encode("alice:pass:word:123456");
        for scheme in ["Basic", "bAsIc"] {
            assert_eq!(read(&format!("{scheme} {coded}")), Some(("alice".into(), "pass:word:123456".into())));
        }
    }

    #[test]
    fn any_other_scheme_is_a_wrong_credential_and_not_a_missing_one() {
        let long = format!("Basic {}", STANDARD.encode(format!("a:{}", "b".repeat(LONGEST))));
        let values =
            ["Bearer abc", "AWS4-HMAC-SHA256 x", "Basic", "Basic !!!", "Basic YWxpY2U=", "Digest a=b", "", &long];
        for value in values {
            assert!(matches!(shown(&[value]), Ok(Credentials::Unknown)), "{value}");
        }
        assert!(matches!(shown(&[]), Ok(Credentials::None)));
    }

    #[test]
    fn two_authorization_headers_are_never_one_of_them() {
        let coded = format!("Basic {}", STANDARD.encode("a:b"));
        for pair in [[coded.as_str(), &coded], [&coded, "Bearer x"], ["Bearer x", &coded]] {
            let error = shown(&pair).err().unwrap();
            assert_eq!((error, error.status().as_u16()), (Malformed::Doubled("Authorization"), 400));
        }
    }

    proptest! {
        #[test]
        fn what_a_client_encodes_is_what_the_gate_is_asked(name in "[^:\\x00]{0,40}", password in "\\PC{0,40}") {
            let coded = STANDARD.encode(format!("{name}:{password}"));
            prop_assert_eq!(read(&format!("Basic {coded}")), Some((name, password)));
        }

        #[test]
        fn any_value_is_survived(scheme in "[Bb]asic|[A-Za-z]{0,8}", rest in "[ -~]{0,60}") {
            let _ = shown(&[&format!("{scheme} {rest}")]);
        }
    }
}
