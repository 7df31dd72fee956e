//! From addresses to paths in the tree and back: `/dav/` exactly, decoded once.

use http::{HeaderMap, StatusCode, Uri, header};
use lockgate_model::{PathError, VPath};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

const PREFIX: &str = "/dav/";
/// Everything but the unreserved characters of RFC 3986, and the slash between names.
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'/');

/// A path, and whether it was written as that of a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) path: VPath,
    pub(crate) slash: bool,
}

impl Address {
    /// Reads the path of a request.
    ///
    /// # Errors
    /// The status that says what is wrong with it.
    pub(crate) fn parse(raw: &str) -> Result<Self, StatusCode> {
        if raw == "/dav" {
            return Ok(Self { path: VPath::root(), slash: true });
        }
        let rest = raw.strip_prefix(PREFIX).ok_or(StatusCode::NOT_FOUND)?;
        let mut path = Vec::with_capacity(rest.len());
        for part in rest.split('/') {
            let name = decode(part).filter(|name| !name.contains(&b'/')).ok_or(StatusCode::BAD_REQUEST)?;
            path.push(b'/');
            path.extend_from_slice(&name);
        }
        let path = VPath::parse(&path).map_err(|error| match error {
            PathError::Above => StatusCode::NOT_FOUND,
            PathError::TooLong => StatusCode::URI_TOO_LONG,
            PathError::Nul | PathError::NotAName => StatusCode::BAD_REQUEST,
        })?;
        let slash = path.is_root() || rest.ends_with('/');
        Ok(Self { path, slash })
    }

    /// The one spelling of the address that the library is shown.
    pub(crate) fn uri(&self) -> Option<Uri> {
        let text = href(&self.path);
        let slash = if self.slash && !text.ends_with('/') { "/" } else { "" };
        format!("{text}{slash}").parse().ok()
    }
}

/// The address of a path, encoded.
pub(crate) fn href(path: &VPath) -> String {
    format!("/dav{}", percent_encode(path.as_bytes(), PATH))
}

/// The folder that a path is in; `None` for the root.
pub(crate) fn parent(path: &VPath) -> Option<VPath> {
    if path.is_root() {
        return None;
    }
    path.join("..").ok()
}

/// Reads `Destination` (RFC 4918 section 10.3).
///
/// # Errors
/// 400 where there is none or it cannot be read; 502 where it is another server's, or outside of `/dav/`.
pub(crate) fn destination(headers: &HeaderMap, host: Option<&str>) -> Result<Address, StatusCode> {
    let mut values = headers.get_all("destination").iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(StatusCode::BAD_REQUEST) };
    let uri: Uri = value.to_str().ok().and_then(|text| text.parse().ok()).ok_or(StatusCode::BAD_REQUEST)?;
    own(&uri, host)
}

/// The address in a URI that must be ours.
///
/// # Errors
/// As [`destination`].
pub(crate) fn own(uri: &Uri, host: Option<&str>) -> Result<Address, StatusCode> {
    if let Some(authority) = uri.authority() {
        let default = if uri.scheme_str() == Some("https") { ":443" } else { ":80" };
        let plain = |text: &str| text.strip_suffix(default).unwrap_or(text).to_ascii_lowercase();
        if host.is_none_or(|host| plain(host) != plain(authority.as_str())) {
            return Err(StatusCode::BAD_GATEWAY);
        }
    }
    Address::parse(uri.path())
        .map_err(|status| if status == StatusCode::NOT_FOUND { StatusCode::BAD_GATEWAY } else { status })
}

/// The host that the client meant.
pub(crate) fn host<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .or_else(|| uri.authority().map(|authority| authority.as_str()))
}

fn decode(part: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(part.len());
    let mut rest = part.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let (digits, tail) = tail.split_at_checked(2)?;
            let text = std::str::from_utf8(digits).ok().filter(|text| !text.contains('+'))?;
            bytes.push(u8::from_str_radix(text, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn path(raw: &str) -> Result<String, StatusCode> {
        Address::parse(raw).map(|address| address.path.to_string())
    }

    #[test]
    fn only_the_exact_prefix_is_ours() {
        assert_eq!(path("/dav/a%20b/").unwrap(), "/a b");
        assert_eq!(path("/dav").unwrap(), "/");
        for raw in ["/davx", "/dav%2f", "/DAV/", "//dav/", "/x/../dav/", "dav/"] {
            assert_eq!(path(raw), Err(StatusCode::NOT_FOUND), "{raw}");
        }
    }

    #[test]
    fn a_path_is_decoded_once_and_never_climbs() {
        assert_eq!(path("/dav/a/%2e%2e/b").unwrap(), "/b");
        assert_eq!(path("/dav/%252e%252e/b").unwrap(), "/%2e%2e/b");
        assert_eq!(path("/dav/../api/v1/me"), Err(StatusCode::NOT_FOUND));
        for raw in ["/dav/a%2fb", "/dav/..%2f..", "/dav/a%00", "/dav/%", "/dav/%+1"] {
            assert_eq!(path(raw), Err(StatusCode::BAD_REQUEST), "{raw}");
        }
    }

    #[test]
    fn a_destination_on_another_server_is_a_bad_gateway() {
        let check = |value: &str| {
            let headers = HeaderMap::from_iter([(
                http::HeaderName::from_static("destination"),
                HeaderValue::from_str(value).unwrap(),
            )]);
            destination(&headers, Some("files.example:8443")).map(|address| address.path.to_string())
        };
        assert_eq!(check("https://files.example:8443/dav/b").unwrap(), "/b");
        assert_eq!(check("/dav/b").unwrap(), "/b");
        for foreign in [
            "https://evil.example/dav/b",
            "https://files.example/dav/b",
            "https://files.example:8443/b",
            "/davx/b",
            "/dav/../b",
        ] {
            assert_eq!(check(foreign), Err(StatusCode::BAD_GATEWAY), "{foreign}");
        }
        assert_eq!(destination(&HeaderMap::new(), None), Err(StatusCode::BAD_REQUEST));
    }

    proptest! {
        #[test]
        fn any_address_is_a_clean_path_or_a_status(rest in "[ -~]{0,60}") {
            if let Ok(address) = Address::parse(&format!("/dav/{rest}")) {
                prop_assert!(address.path.components().all(|part| part != b".."));
                let again = Address::parse(address.uri().unwrap().path()).unwrap();
                prop_assert_eq!(again.path, address.path);
            }
        }
    }
}
