//! Which request means what: exact spellings, decided on the raw path before anything is decoded.
//!
//! `//api`, `/API`, `/%61pi`, `/api/v1/./me`: each is another address than the one it resembles, and nothing lives there.

use http::Method;

/// What a path names. Rests of paths are still percent-encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    Page(&'static crate::pages::Page),
    Healthz,
    Readyz,
    Dav,
    Login,
    Challenge(&'a str),
    Channel(&'a str),
    Session,
    Me,
    File(&'a str),
    List(&'a str),
    MakeFolder(&'a str),
    Move,
    Copy,
    Uploads,
    Upload(&'a str),
    /// Below `/api/`, and nothing.
    NoSuchCall,
    Nowhere,
}

/// Every place of the REST interface with its methods: what documents and tests of all routes go by.
pub(crate) const TABLE: &[(&str, &[&str])] = &[
    ("/api/v1/login", &["POST"]),
    ("/api/v1/login/{id}", &["POST"]),
    ("/api/v1/login/{id}/channel", &["POST"]),
    ("/api/v1/session", &["DELETE"]),
    ("/api/v1/me", &["GET", "HEAD"]),
    ("/api/v1/files/{path}", &["GET", "HEAD", "PUT", "DELETE"]),
    ("/api/v1/list/{path}", &["GET", "HEAD"]),
    ("/api/v1/mkdir/{path}", &["POST"]),
    ("/api/v1/move", &["POST"]),
    ("/api/v1/copy", &["POST"]),
    ("/api/v1/uploads", &["POST"]),
    ("/api/v1/uploads/{id}", &["HEAD", "PATCH", "DELETE"]),
];

/// What `path` names.
pub(crate) fn place(path: &str) -> Place<'_> {
    if let Some(page) = crate::pages::page(path) {
        return Place::Page(page);
    }
    match path {
        "/healthz" => return Place::Healthz,
        "/readyz" => return Place::Readyz,
        "/dav" => return Place::Dav,
        _ => {}
    }
    if path.starts_with("/dav/") {
        return Place::Dav;
    }
    path.strip_prefix("/api/").map_or(Place::Nowhere, |rest| rest.strip_prefix("v1/").map_or(Place::NoSuchCall, call))
}

fn call(rest: &str) -> Place<'_> {
    match rest {
        "login" => return Place::Login,
        "session" => return Place::Session,
        "me" => return Place::Me,
        "move" => return Place::Move,
        "copy" => return Place::Copy,
        "uploads" => return Place::Uploads,
        "list" => return Place::List(""),
        _ => {}
    }
    match rest.split_once('/') {
        Some(("files", path)) => Place::File(path),
        Some(("list", path)) => Place::List(path),
        Some(("mkdir", path)) => Place::MakeFolder(path),
        Some(("uploads", id)) if is_text(id) => Place::Upload(id),
        Some(("login", id)) => match id.split_once('/') {
            None if is_id(id) => Place::Challenge(id),
            Some((id, "channel")) if is_id(id) => Place::Channel(id),
            _ => Place::NoSuchCall,
        },
        _ => Place::NoSuchCall,
    }
}

/// A challenge id is plain letters and digits; anything else is not worth a question to the gate.
fn is_id(text: &str) -> bool {
    text.len() <= 128 && is_text(text)
}

/// What ids are made of; those of uploads are long.
fn is_text(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

impl Place<'_> {
    /// The methods that the place takes.
    pub(crate) fn methods(self) -> &'static [&'static str] {
        match self {
            Self::Page(_) | Self::Healthz | Self::Readyz => &["GET", "HEAD"],
            _ => TABLE.iter().find(|(path, _)| *path == self.name()).map_or(&[], |(_, methods)| methods),
        }
    }

    /// What logs call the place. The path itself stays out of them: in one part of it stands a secret, in others the names of files.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Page(_) => "/{page}",
            Self::Healthz => "/healthz",
            Self::Readyz => "/readyz",
            Self::Dav => "/dav/{path}",
            Self::Login => "/api/v1/login",
            Self::Challenge(_) => "/api/v1/login/{id}",
            Self::Channel(_) => "/api/v1/login/{id}/channel",
            Self::Session => "/api/v1/session",
            Self::Me => "/api/v1/me",
            Self::File(_) => "/api/v1/files/{path}",
            Self::List(_) => "/api/v1/list/{path}",
            Self::MakeFolder(_) => "/api/v1/mkdir/{path}",
            Self::Move => "/api/v1/move",
            Self::Copy => "/api/v1/copy",
            Self::Uploads => "/api/v1/uploads",
            Self::Upload(_) => "/api/v1/uploads/{id}",
            Self::NoSuchCall => "/api/{unknown}",
            Self::Nowhere => "/{unknown}",
        }
    }
}

/// Whether a method only reads. State changes on no other.
pub(crate) fn reads(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_resembling_spelling_is_another_address() {
        for path in [
            "//api/v1/me",
            "/API/v1/me",
            "/%61pi/v1/me",
            "/api//v1/me",
            "/api/./v1/me",
            "/x/../api/v1/me",
            "/api/v1/me/",
            "/api/v1/me;x",
            "/api/v1/ME",
            "/api/v2/me",
            "/api/v1",
            "/davx",
            "/dav%2f",
            "/DAV/",
            "/dav;/",
            "/./dav/",
            "/healthz/",
            "/index.html/..",
            "/api/v1/filesx/a",
            "/api/v1/login/../me",
            "/api/v1/login/a/b",
            "/api/v1/login/",
            "/api/v1/uploads/",
            "/api/v1/uploads/a/b",
            "/api/v1/uploads/a%2d",
        ] {
            assert!(matches!(place(path), Place::NoSuchCall | Place::Nowhere), "{path}: {:?}", place(path));
        }
    }

    #[test]
    fn each_call_has_its_place() {
        assert_eq!(place("/api/v1/files/a/b%20c"), Place::File("a/b%20c"));
        assert_eq!(place("/api/v1/list/"), Place::List(""));
        assert_eq!(place("/api/v1/login/0f"), Place::Challenge("0f"));
        assert_eq!(place("/api/v1/login/0f/channel"), Place::Channel("0f"));
        assert_eq!(place("/dav/"), Place::Dav);
        assert!(matches!(place("/"), Place::Page(_)));
        for (template, methods) in TABLE {
            let path = template.replace("{id}", "0f").replace("{path}", "a");
            assert_eq!(place(&path).methods(), *methods, "{template}");
            assert_eq!(place(&path).name(), *template);
        }
    }

    proptest! {
        #[test]
        fn any_path_has_a_place_whose_name_says_nothing_of_the_path(rest in "[a-z0-9]{12,40}") {
            for prefix in ["", "login/", "files/", "login/0f/"] {
                let path = format!("/api/v1/{prefix}{rest}");
                prop_assert!(!place(&path).name().contains(&rest));
            }
        }

        #[test]
        fn any_path_has_a_place(path in "\\PC{0,60}") {
            let _ = place(&path);
        }
    }
}
