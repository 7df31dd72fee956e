//! Addresses of services as prefs.xml holds them, looked at only as far as safety needs it.
//!
//! `otp_url` is a template: variables stand in its path, its query and its credentials. What no variable may decide is
//! where the request goes, so scheme and host are fixed here, before anything is put in (CWE-918). The one who sends
//! parses the finished address properly; this is the check that comes before.
//!
//! Never: sends, resolves a name, or shows credentials.

use std::{fmt, net::IpAddr, net::Ipv4Addr, net::Ipv6Addr};
use zeroize::Zeroizing;

/// An address with a fixed scheme and host. `Debug` and [`ServiceUrl::redacted`] hide credentials.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceUrl {
    text: Zeroizing<String>,
    scheme: String,
    host: String,
}

impl ServiceUrl {
    /// Parses `text`, whose scheme must be one of `schemes` (lower case).
    ///
    /// # Errors
    /// What was expected, for a message.
    pub(crate) fn parse(text: &str, schemes: &[&str]) -> Result<Self, String> {
        let wanted = || format!("an address that begins with {}", any_of(schemes, "://"));
        // A backslash is a slash to some parsers and none to others: two of them would see two hosts.
        if text.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
            return Err("an address without blanks, backslashes or control characters".to_owned());
        }
        let (scheme, rest) = text.split_once("://").ok_or_else(wanted)?;
        let scheme = scheme.to_ascii_lowercase();
        if !schemes.contains(&scheme.as_str()) {
            return Err(wanted());
        }
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host_and_port = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let host = split_host(host_and_port)
            .ok_or_else(|| "an address with a plain host name, no variable in it, and at most a port".to_owned())?;
        Ok(Self { host: host.to_ascii_lowercase(), scheme, text: Zeroizing::new(text.to_owned()) })
    }

    /// The address as written, credentials included. Not for messages.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The scheme, in lower case.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// The host, in lower case, an IPv6 address without its brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Whether the host is this machine whatever a name server says: `localhost` or a loopback address.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    /// The address without what may be secret in it: credentials, and values of the query that are not variables.
    #[must_use]
    pub fn redacted(&self) -> String {
        let Some((scheme, rest)) = self.text.split_once("://") else { return String::new() };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let authority = match authority.rsplit_once('@') {
            Some((user, host)) if user.split(':').all(is_variable) => format!("{user}@{host}"),
            Some((_, host)) => format!("…@{host}"),
            None => authority.to_owned(),
        };
        let tail = match tail.split_once('?') {
            None => tail.to_owned(),
            Some((path, query)) => {
                let shown: Vec<_> = query
                    .split('&')
                    .map(|pair| match pair.split_once('=') {
                        Some((_, value)) if value.is_empty() || is_variable(value) => pair.to_owned(),
                        Some((name, _)) => format!("{name}=…"),
                        None => "…".to_owned(),
                    })
                    .collect();
                format!("{path}?{}", shown.join("&"))
            }
        };
        format!("{scheme}://{authority}{tail}")
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceUrl({})", self.redacted())
    }
}

/// Whether a host name is this machine, whatever a name server says.
pub(crate) fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

/// Whether a text can be the name or address of a host.
pub(crate) fn is_host(host: &str) -> bool {
    let label = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    host.len() <= 253
        && (host.parse::<Ipv6Addr>().is_ok()
            || host.parse::<Ipv4Addr>().is_ok()
            || host.strip_suffix('.').unwrap_or(host).split('.').all(label))
}

fn split_host(text: &str) -> Option<&str> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        let port_is_sound = after.is_empty() || after.strip_prefix(':').is_some_and(is_port);
        return (host.parse::<Ipv6Addr>().is_ok() && port_is_sound).then_some(host);
    }
    let host = match text.split_once(':') {
        Some((host, port)) => is_port(port).then_some(host)?,
        None => text,
    };
    (!host.contains(':') && is_host(host)).then_some(host)
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok_and(|port| port > 0) && text.bytes().all(|b| b.is_ascii_digit())
}

fn is_variable(text: &str) -> bool {
    text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).is_some_and(|name| !name.contains(['{', '}']))
}

/// `a, b or c`, each with `suffix`.
pub(crate) fn any_of(words: &[&str], suffix: &str) -> String {
    match words.split_last() {
        None => String::new(),
        Some((only, [])) => format!("{only}{suffix}"),
        Some((last, others)) => {
            let list: Vec<_> = others.iter().map(|word| format!("{word}{suffix}")).collect();
            format!("{} or {last}{suffix}", list.join(", "))
        }
    }
}
