//! `PROPFIND`: what is asked, and what is known of each resource.
//!
//! The library's own answer leaves out what RFC 4918 section 9.1 demands (a 404 for each property that is not there), spells tags
//! without their quotes, and ends a listing that fails as if it were complete: a client that mirrors would delete what it did not see.
//! Here a listing that fails is cut, so that nobody takes it for whole.

use crate::{
    address::{self, Address},
    edge::{Ask, Depth, depth},
    locks,
    reply::{Reply, failed, said},
    xml::{self, Name},
};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use lockgate_access::Session;
use lockgate_model::VPath;
use lockgate_vfs::{Entry, Kind, Listing, Metadata, Space, Vfs, VfsError};
use std::{
    fmt::Write as _,
    io,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

const BATCH: usize = 128;
const DAV: &str = "DAV:";
const MICROSOFT: &str = "urn:schemas-microsoft-com:";
const APACHE: &str = "http://apache.org/dav/props/";
/// What `allprop` means, besides what the user set. Quota is left out: it costs a question to the store (RFC 4331 section 2).
const ALL: [&str; 9] = [
    "creationdate",
    "displayname",
    "getcontentlength",
    "getcontenttype",
    "getetag",
    "getlastmodified",
    "lockdiscovery",
    "resourcetype",
    "supportedlock",
];
const QUOTA: [&str; 2] = ["quota-available-bytes", "quota-used-bytes"];
/// What Windows keeps with a file, and asks for by asking for all.
const WINDOWS: [&str; 4] = ["Win32CreationTime", "Win32FileAttributes", "Win32LastAccessTime", "Win32LastModifiedTime"];

/// Answers `PROPFIND` of depth 0 or 1.
pub(crate) async fn propfind(ask: Ask, body: &[u8]) -> Reply {
    let wish =
        Wish::parse(body, &ask.parts.headers).ok_or_else(|| said(StatusCode::BAD_REQUEST, "this is no propfind"))?;
    let path = ask.at.path.clone();
    let facts = ask.vfs.stat(&path).await.map_err(missing)?;
    let folder = facts.kind == Kind::Folder;
    let listing = match depth(&ask.parts.headers) {
        Some(Depth::One) if folder => Some(ask.vfs.list(&path).await.map_err(failed)?),
        _ => None,
    };
    let space = if wish.asks(DAV, &QUOTA) { ask.vfs.space(&path).await.ok() } else { None };
    let teller = Teller { vfs: ask.vfs.clone(), wish, space };
    let first = teller.response(&path, &facts).await;
    let walk = Walk { teller, session: ask.session.clone(), folder: path, listing, next: Some(opening(first)) };
    let body = StreamBody::new(stream::unfold(Some(walk), Walk::step));
    let mut response = Response::new(crate::edge::held(body.boxed_unsync(), ask.session.clone(), ask.cut.clone()));
    *response.status_mut() = StatusCode::MULTI_STATUS;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if folder && !ask.at.slash {
        let at = Address { path: ask.at.path, slash: true };
        headers.extend(
            at.uri()
                .and_then(|uri| HeaderValue::from_str(uri.path()).ok())
                .map(|value| (header::CONTENT_LOCATION, value)),
        );
    }
    Ok(response)
}

fn missing(error: VfsError) -> Response<crate::Body> {
    match error {
        VfsError::NotFolder(path) => failed(VfsError::NotFound(path)),
        other => failed(other),
    }
}

fn opening(first: String) -> String {
    format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\">\n{first}")
}

/// What is asked.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    /// These, each with its value or a 404.
    Named(Vec<Name>),
    /// All that are there, and these.
    All(Vec<Name>),
    /// The names of all that are there.
    Names,
}

impl Wish {
    fn parse(body: &[u8], headers: &HeaderMap) -> Option<Self> {
        let windows = headers
            .get(header::USER_AGENT)
            .is_some_and(|value| value.as_bytes().windows(9).any(|word| word == b"Microsoft"));
        let extra =
            || if windows { WINDOWS.iter().map(|name| Name::new(MICROSOFT, name)).collect() } else { Vec::new() };
        if body.iter().all(u8::is_ascii_whitespace) {
            return Some(Self::All(extra()));
        }
        let root = xml::parse(body)?;
        if xml::name(&root) != Name::new(DAV, "propfind") {
            return None;
        }
        let mut include = extra();
        let mut wish = None;
        for child in xml::children(&root) {
            let name = xml::name(child);
            if name.namespace != DAV {
                continue;
            }
            let found = match name.local.as_str() {
                "prop" => Self::Named(xml::children(child).map(xml::name).collect()),
                "allprop" => Self::All(Vec::new()),
                "propname" => Self::Names,
                "include" => {
                    include.extend(xml::children(child).map(xml::name));
                    continue;
                }
                _ => continue,
            };
            // One of the three, once (RFC 4918 section 14.20).
            if wish.replace(found).is_some() {
                return None;
            }
        }
        match wish? {
            Self::All(_) => Some(Self::All(include)),
            other => Some(other),
        }
    }

    fn asks(&self, namespace: &str, locals: &[&str]) -> bool {
        match self {
            Self::Named(names) | Self::All(names) => {
                names.iter().any(|name| name.namespace == namespace && locals.contains(&name.local.as_str()))
            }
            Self::Names => false,
        }
    }
}

/// Tells of one resource after the other.
struct Teller {
    vfs: Vfs,
    wish: Wish,
    space: Option<Space>,
}

impl Teller {
    async fn response(&self, path: &VPath, facts: &Metadata) -> String {
        let dead = self.dead(path).await;
        let subject = Subject { teller: self, path, facts, dead: &dead };
        let mut found = String::new();
        let mut lacking = String::new();
        match &self.wish {
            Wish::Named(names) => {
                for name in names {
                    match subject.value(name) {
                        Some(element) => found.push_str(&element),
                        None => lacking.push_str(&name.empty()),
                    }
                }
            }
            Wish::All(include) => {
                let plain = ALL.iter().map(|local| Name::new(DAV, local));
                let unsaid = |name: &Name| !dead.iter().any(|(known, _)| known == name);
                found.extend(
                    plain.chain(include.iter().cloned()).filter(unsaid).filter_map(|name| subject.value(&name)),
                );
                found.extend(dead.iter().filter_map(|(_, element)| xml::embed(element)));
            }
            Wish::Names => {
                let plain = ALL.iter().chain(&QUOTA).map(|local| Name::new(DAV, local));
                let there = plain.filter(|name| QUOTA.contains(&name.local.as_str()) || subject.value(name).is_some());
                found.extend(there.map(|name| name.empty()));
                found.extend(dead.iter().filter(|(name, _)| name.namespace != DAV).map(|(name, _)| name.empty()));
            }
        }
        let at = Address { path: path.clone(), slash: facts.kind == Kind::Folder };
        let href = at.uri().map_or_else(|| address::href(path), |uri| uri.path().to_owned());
        let mut text = format!("<D:response><D:href>{href}</D:href>");
        if !found.is_empty() || lacking.is_empty() {
            let _ =
                write!(text, "<D:propstat><D:prop>{found}</D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat>");
        }
        if !lacking.is_empty() {
            let _ = write!(
                text,
                "<D:propstat><D:prop>{lacking}</D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>"
            );
        }
        text.push_str("</D:response>\n");
        text
    }

    /// The dead properties, where any of them can be of interest. One that cannot be read is as if it were not there.
    async fn dead(&self, path: &VPath) -> Vec<(Name, Vec<u8>)> {
        let wanted = match &self.wish {
            Wish::Named(names) => names.iter().any(|name| !name.is_live()),
            Wish::All(_) | Wish::Names => true,
        };
        if !wanted {
            return Vec::new();
        }
        let kept = self.vfs.properties(path).await.unwrap_or_default();
        kept.into_iter().filter_map(|(key, element)| Name::from_key(&key).map(|name| (name, element))).collect()
    }
}

impl Name {
    /// Whether the server alone knows the value, so that nothing that a user set can stand in its place.
    fn is_live(&self) -> bool {
        self.namespace == DAV && !matches!(self.local.as_str(), "displayname" | "getcontentlanguage")
            || self.namespace == MICROSOFT
            || self.namespace == APACHE
    }
}

/// One resource.
struct Subject<'a> {
    teller: &'a Teller,
    path: &'a VPath,
    facts: &'a Metadata,
    dead: &'a [(Name, Vec<u8>)],
}

impl Subject<'_> {
    /// The whole element of a property, where there is one.
    fn value(&self, name: &Name) -> Option<String> {
        if !name.is_live()
            && let Some((_, element)) = self.dead.iter().find(|(known, _)| known == name)
        {
            return xml::embed(element);
        }
        match name.namespace.as_str() {
            DAV => self.dav(&name.local).map(|inner| format!("<D:{0}>{inner}</D:{0}>", name.local)),
            MICROSOFT => self
                .windows(&name.local)
                .map(|inner| format!("<Z:{0} xmlns:Z=\"{MICROSOFT}\">{inner}</Z:{0}>", name.local)),
            APACHE if name.local == "executable" && self.is_file() => {
                let mark = if self.facts.mode & 0o100 == 0 { "F" } else { "T" };
                Some(format!("<A:executable xmlns:A=\"{APACHE}\">{mark}</A:executable>"))
            }
            _ => None,
        }
    }

    fn dav(&self, local: &str) -> Option<String> {
        let facts = self.facts;
        match local {
            "creationdate" => seconds(facts.modified).map(rfc3339),
            "displayname" => {
                Some(xml::escaped(&String::from_utf8_lossy(self.path.components().last().unwrap_or(b"/"))))
            }
            "getcontentlength" => self.is_file().then(|| facts.size.to_string()),
            "getcontenttype" if self.is_file() => {
                let name = String::from_utf8_lossy(self.path.components().last().unwrap_or_default()).into_owned();
                Some(xml::escaped(mime_guess::from_path(name).first_raw().unwrap_or("application/octet-stream")))
            }
            "getcontenttype" => Some("httpd/unix-directory".to_owned()),
            "getetag" => self.is_file().then(|| format!("\"{}\"", xml::escaped(&facts.etag))),
            "getlastmodified" => http_date(facts.modified),
            "lockdiscovery" => Some(self.teller.vfs.locks().discover(self.path).iter().map(locks::active).collect()),
            "resourcetype" => Some(if self.is_file() { String::new() } else { "<D:collection/>".to_owned() }),
            "supportedlock" => Some(locks::SUPPORTED.to_owned()),
            "quota-available-bytes" => self.teller.space.map(|space| space.free.to_string()),
            "quota-used-bytes" => self.teller.space.map(|space| space.used.to_string()),
            _ => None,
        }
    }

    fn windows(&self, local: &str) -> Option<String> {
        match local {
            "Win32CreationTime" | "Win32LastModifiedTime" => http_date(self.facts.modified),
            "Win32LastAccessTime" => http_date(self.facts.accessed),
            "Win32FileAttributes" => {
                let hidden = self.path.components().last().is_some_and(|name| name.starts_with(b"."));
                let kind = if self.is_file() { 0x20 } else { 0x10 };
                Some(format!("{:08x}", kind | if hidden { 0x02 } else { 0 }))
            }
            _ => None,
        }
    }

    fn is_file(&self) -> bool {
        self.facts.kind == Kind::File
    }
}

/// The walk over a folder, piece by piece.
struct Walk {
    teller: Teller,
    session: Session,
    folder: VPath,
    listing: Option<Listing>,
    next: Option<String>,
}

impl Walk {
    async fn step(state: Option<Self>) -> Option<(io::Result<Frame<Bytes>>, Option<Self>)> {
        let mut walk = state?;
        if walk.session.is_over().is_some() {
            return Some((Err(io::ErrorKind::ConnectionAborted.into()), None));
        }
        if let Some(text) = walk.next.take() {
            return Some((Ok(Frame::data(text.into())), Some(walk)));
        }
        let rows = match &mut walk.listing {
            None => Ok(Vec::new()),
            Some(listing) => listing.next_batch(BATCH).await,
        };
        match rows {
            Ok(rows) if rows.is_empty() => Some((Ok(Frame::data(Bytes::from_static(b"</D:multistatus>\n"))), None)),
            Ok(rows) => {
                let mut text = String::new();
                for row in rows {
                    text.push_str(&walk.row(row).await);
                }
                Some((Ok(Frame::data(text.into())), Some(walk)))
            }
            Err(error) => {
                tracing::error!(%error, "a listing failed on the way");
                Some((Err(io::Error::other("storage error")), None))
            }
        }
    }

    /// WebDAV knows no links: one that can be followed is what it leads to, any other is left out.
    async fn row(&self, row: Entry) -> String {
        let Ok(path) = self.folder.join(&row.name) else { return String::new() };
        if row.metadata.kind != Kind::Link {
            return self.teller.response(&path, &row.metadata).await;
        }
        match self.teller.vfs.stat(&path).await {
            Ok(facts) => self.teller.response(&path, &facts).await,
            Err(_) => String::new(),
        }
    }
}

/// Whole seconds since 1970, for times that both formats can say.
fn seconds(time: SystemTime) -> Option<u64> {
    const YEAR_9999: u64 = 253_402_300_799;
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs()).filter(|seconds| *seconds <= YEAR_9999)
}

fn http_date(time: SystemTime) -> Option<String> {
    seconds(time).map(|seconds| httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds)))
}

fn rfc3339(seconds: u64) -> String {
    time::OffsetDateTime::from_unix_timestamp(seconds.cast_signed())
        .ok()
        .and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(body: &str) -> Option<Wish> {
        Wish::parse(body.as_bytes(), &HeaderMap::new())
    }

    #[test]
    fn an_empty_body_asks_for_all() {
        assert_eq!(wish(""), Some(Wish::All(Vec::new())));
        let windows =
            HeaderMap::from_iter([(header::USER_AGENT, HeaderValue::from_static("Microsoft-WebDAV-MiniRedir/10.0"))]);
        assert!(Wish::parse(b"", &windows).unwrap().asks(MICROSOFT, &["Win32FileAttributes"]));
    }

    #[test]
    fn names_are_read_with_their_namespaces() {
        let body = "<propfind xmlns=\"DAV:\"><odd xmlns=\"urn:x\"/><prop><getetag/><c:colour xmlns:c=\"urn:c\"/><n xmlns=\"\"/></prop></propfind>";
        let names = [Name::new(DAV, "getetag"), Name::new("urn:c", "colour"), Name::new("", "n")];
        assert_eq!(wish(body), Some(Wish::Named(names.to_vec())));
        let all = "<D:propfind xmlns:D=\"DAV:\"><D:allprop/><D:include><D:quota-used-bytes/></D:include></D:propfind>";
        assert!(wish(all).unwrap().asks(DAV, &QUOTA));
    }

    #[test]
    fn what_is_no_propfind_is_refused() {
        for body in [
            "<propfind/>",
            "<D:propfind xmlns:D=\"DAV:\"/>",
            "<D:propertyupdate xmlns:D=\"DAV:\"><D:prop/></D:propertyupdate>",
            "<D:propfind xmlns:D=\"DAV:\"><D:prop/><D:allprop/></D:propfind>",
            "<D:propfind xmlns:D=\"DAV:\"><D:prop><b:x xmlns:b=\"\"/></D:prop></D:propfind>",
            "nonsense",
        ] {
            assert_eq!(wish(body), None, "{body}");
        }
    }
}
