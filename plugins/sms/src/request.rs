//! The request that an operator describes, with each value encoded for the place it stands in.
//!
//! Scheme, host and port are fixed when the settings are read: no value has a place in them, and a request whose address
//! came out with another origin or another number of path segments is not made. A value in the path or the query is
//! percent-encoded down to letters and digits, in a form likewise, in JSON escaped; a place outside a JSON string is refused.
//!
//! Never: a value that adds a parameter, a field, a header or a path segment.

use std::net::IpAddr;

use lockgate_plugin::Failure;
use lockgate_plugin::template::{Piece, Template};
use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use reqwest::{Method, Url};

/// What stands in braces in the operator's settings.
pub(crate) const PLACES: [&str; 7] =
    ["otp_username", "otp_password", "otp_to", "otp_from", "otp_token", "otp_extra1", "otp_extra2"];

/// The operator's request, taken apart.
pub(crate) struct Request {
    method: Method,
    credentials: Option<(Template, Template)>,
    /// `https://host:port`
    origin: String,
    /// With its `/`, without the query.
    path: Template,
    query: Option<Template>,
    body: Body,
    /// What an address has to look like once the values are in.
    shape: Shape,
}

enum Body {
    None,
    Form(Template),
    Json(Template),
}

#[derive(PartialEq, Eq)]
struct Shape {
    origin: String,
    segments: usize,
}

/// The request with the values of one call in it.
pub(crate) struct Filled {
    pub(crate) method: Method,
    pub(crate) address: Url,
    pub(crate) basic: Option<(String, String)>,
    pub(crate) body: Option<(&'static str, String)>,
}

impl Request {
    /// Reads `otp_url`, `otp_url_verb` and `otp_post`.
    ///
    /// # Errors
    /// Names the key and what is wrong with it, without the value.
    pub(crate) fn parse(url: &str, verb: &str, post: &str) -> Result<Self, Failure> {
        let method = match verb {
            "GET" => Method::GET,
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            "PATCH" => Method::PATCH,
            _ => return Err(Failure::error("otp_url_verb is none of GET, POST, PUT, PATCH")),
        };
        let url = Template::parse(url.trim(), &PLACES).map_err(|error| of("otp_url", &error))?;
        let post = Template::parse(post, &PLACES).map_err(|error| of("otp_post", &error))?;
        let body = if method == Method::GET || post.is_empty() { Body::None } else { Body::parse(post)? };

        let (scheme, rest) = if let Some(rest) = url.strip_prefix("https://") {
            ("https", rest)
        } else if let Some(rest) = url.strip_prefix("http://") {
            ("http", rest)
        } else {
            return Err(Failure::error("otp_url does not begin with https://"));
        };
        let (authority, path, query) = parts(&rest)?;
        let (credentials, host) = match authority.rsplit_once(&['@']) {
            Some((credentials, _, host)) => (Some(credentials), host),
            None => (None, authority),
        };
        let host = host.fixed().filter(|host| !host.is_empty());
        let host = host.ok_or_else(|| Failure::error("otp_url has no fixed host; no placeholder can stand in it"))?;
        let origin = format!("{scheme}://{host}");
        let credentials = credentials.map(|both| match both.split_once(&[':']) {
            Some((user, _, password)) => (user, password),
            None => (both, Template::default()),
        });

        let mut request = Self {
            method,
            credentials,
            origin,
            path,
            query,
            body,
            shape: Shape { origin: String::new(), segments: 0 },
        };
        let example = request.address(&|_| "x".to_owned())?;
        if example.username() != "" || example.password().is_some() || example.host_str().is_none() {
            return Err(Failure::error("otp_url has no host that reads"));
        }
        if scheme == "http" && !is_loopback(&example) {
            return Err(Failure::error(
                "otp_url is http:// to another machine, which shows codes to the network; use https://",
            ));
        }
        request.shape = Shape::of(&example);
        if !request.carries_the_code() {
            return Err(Failure::error("neither otp_url nor otp_post has a place for {otp_token}"));
        }
        Ok(request)
    }

    /// Whether the request goes to this very machine.
    pub(crate) fn stays_here(&self) -> bool {
        Url::parse(&self.origin).is_ok_and(|url| is_loopback(&url))
    }

    /// Puts the values of one call in.
    ///
    /// # Errors
    /// Where a value would change what the operator described.
    pub(crate) fn fill(&self, value: impl Fn(&str) -> String) -> Result<Filled, Failure> {
        let address = self.address(&value)?;
        if Shape::of(&address) != self.shape {
            return Err(Failure::unavailable("a value would change the path of otp_url"));
        }
        let plain = |template: &Template| {
            template.fill(|text| percent_decode_str(text).decode_utf8_lossy().into_owned(), &value)
        };
        let basic = self.credentials.as_ref().map(|(user, password)| (plain(user), plain(password)));
        let body = match &self.body {
            Body::None => None,
            Body::Form(form) => {
                let filled =
                    form.fill(|text| utf8_percent_encode(text, FORM_TEXT).to_string(), |name| strict(&value(name)));
                Some(("application/x-www-form-urlencoded", filled))
            }
            Body::Json(json) => Some(("application/json", json.fill(str::to_owned, |name| in_json(&value(name))))),
        };
        Ok(Filled { method: self.method.clone(), address, basic, body })
    }

    fn address(&self, value: &impl Fn(&str) -> String) -> Result<Url, Failure> {
        let filled = |template: &Template| template.fill(str::to_owned, |name| strict(&value(name)));
        let mut address = format!("{}{}", self.origin, filled(&self.path));
        if let Some(query) = &self.query {
            address.push('?');
            address.push_str(&filled(query));
        }
        // The error is not passed on: it may quote the address.
        Url::parse(&address).map_err(|_| Failure::error("otp_url is no address"))
    }

    fn carries_the_code(&self) -> bool {
        let body = match &self.body {
            Body::None => None,
            Body::Form(body) | Body::Json(body) => Some(body),
        };
        [Some(&self.path), self.query.as_ref(), body].into_iter().flatten().any(|part| part.mentions("otp_token"))
    }
}

impl Body {
    fn parse(post: Template) -> Result<Self, Failure> {
        let first = match post.pieces().first() {
            Some(Piece::Text(text)) => text.trim_start().chars().next(),
            _ => None,
        };
        if !matches!(first, Some('{' | '[')) {
            return Ok(Self::Form(post));
        }
        if places_stand_in_strings(&post) {
            Ok(Self::Json(post))
        } else {
            Err(Failure::error("otp_post is JSON with a placeholder outside a string; put \"quotes\" around it"))
        }
    }
}

impl Shape {
    fn of(address: &Url) -> Self {
        let segments = address.path_segments().map_or(0, Iterator::count);
        Self { origin: address.origin().ascii_serialization(), segments }
    }
}

/// Authority, path (with its `/`) and query of what follows `://`.
fn parts(rest: &Template) -> Result<(Template, Template, Option<Template>), Failure> {
    if rest.split_once(&['#', '\\']).is_some() {
        return Err(Failure::error("otp_url has a # or a \\; write it as %23 or %5C"));
    }
    let slash = || Template::parse("/", &[]);
    let Some((authority, separator, after)) = rest.split_once(&['/', '?']) else {
        return Ok((rest.clone(), slash()?, None));
    };
    if separator == '?' {
        return Ok((authority, slash()?, Some(after)));
    }
    let (path, query) = match after.split_once(&['?']) {
        Some((path, _, query)) => (path, Some(query)),
        None => (after, None),
    };
    // The `/` was the separator; the path is put behind the host as it is.
    let mut with_slash = slash()?;
    with_slash.append(&path);
    Ok((authority, with_slash, query))
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether every place is between quotes, as JSON counts them.
fn places_stand_in_strings(json: &Template) -> bool {
    let (mut inside, mut escaped) = (false, false);
    for piece in json.pieces() {
        match piece {
            Piece::Place(_) if !inside || escaped => return false,
            Piece::Place(_) => {}
            Piece::Text(text) => {
                for letter in text.chars() {
                    (inside, escaped) = match letter {
                        _ if escaped => (inside, false),
                        '\\' => (inside, inside),
                        '"' => (!inside, false),
                        _ => (inside, false),
                    };
                }
            }
        }
    }
    true
}

fn in_json(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for letter in value.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            control if u32::from(control) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => out.push(other),
        }
    }
    out
}

fn strict(value: &str) -> String {
    utf8_percent_encode(value, UNRESERVED).to_string()
}

fn of(key: &str, error: &Failure) -> Failure {
    Failure::error(format!("{key}: {}", error.why()))
}

/// What RFC 3986 section 2.3 leaves as it is.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What may not stand in a form as it is; the operator's own `&`, `=`, `+` and `%` may.
const FORM_TEXT: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'#').add(b'{').add(b'}');
