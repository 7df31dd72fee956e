//! From addresses to paths in the tree and back: `/dav/` exactly, decoded once.

use http::{HeaderMap, StatusCode, Uri};
pub(crate) use lockgate_http_semantics::address::host;
use lockgate_http_semantics::{Malformed, address};
use lockgate_model::VPath;
use std::borrow::Cow;

const PREFIX: &str = "/dav/";

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
        let path = address::path(rest, |name| Cow::Borrowed(name)).map_err(Malformed::status)?;
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
    format!("/dav{}", address::encoded(path))
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
    fn no_address_leaves_the_tree() {
        let read = |raw: &str| Address::parse(&format!("/dav/{raw}")).ok().map(|address| address.path);
        lockgate_http_semantics::testing::no_address_leaves_the_tree(read);
        assert_eq!(path("/dav/../api/v1/me"), Err(StatusCode::NOT_FOUND));
        assert_eq!(path("/dav/a%2fb"), Err(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn no_destination_leaves_the_tree() {
        lockgate_http_semantics::testing::no_address_leaves_the_tree(|raw| {
            let uri: Uri = format!("http://files.example/dav/{raw}").parse().ok()?;
            own(&uri, Some("files.example")).ok().map(|address| address.path)
        });
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
