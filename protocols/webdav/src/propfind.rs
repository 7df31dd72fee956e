//! `PROPFIND`: what is asked, and what is known of each resource.
//!
//! The library's own answer leaves out what RFC 4918 section 9.1 demands (a 404 for each property that is not there), spells tags
//! without their quotes, and ends a listing that fails as if it were complete: a client that mirrors would delete what it did not see.
//! Here a listing that fails is cut, so that nobody takes it for whole.

use crate::{
    address::{self, Address},
    edge::{Ask, Depth, depth},
    fetch, locks,
    reply::{Reply, failed, said},
    xml::{self, Bound, Name},
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
/// A reply goes out whenever so much of it is there, in bytes.
const FRAME: usize = 64 * 1024;
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
    if wish.named().len() > xml::PROPERTIES {
        return Err(said(StatusCode::PAYLOAD_TOO_LARGE, "a request names at most 100 properties"));
    }
    let path = ask.at.path.clone();
    // An interrupted upload has no resource yet: one would have to be got whole.
    let facts = ask.vfs.stat_committed(&path).await.map_err(missing)?;
    let folder = facts.kind == Kind::Folder;
    let listing = match depth(&ask.parts.headers) {
        Some(Depth::One) if folder => Some(ask.vfs.list(&path).await.map_err(failed)?),
        _ => None,
    };
    let space = if wish.asks(DAV, &QUOTA) { ask.vfs.space(&path).await.ok() } else { None };
    let teller = Teller { vfs: ask.vfs.clone(), bound: Bound::of(wish.named()), wish, space };
    let first = opening(&teller.bound) + &teller.response(&path, &facts).await;
    let walk = Walk { teller, folder: path, listing, rows: Vec::new().into_iter(), text: first };
    let body = StreamBody::new(stream::unfold(Some((walk, ask.session.clone())), frames));
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

fn opening(bound: &Bound) -> String {
    format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<D:multistatus xmlns:D=\"DAV:\"{}>\n", bound.attributes())
}

/// The reply piece by piece, as long as the session lives.
async fn frames(state: Option<(Walk, Session)>) -> Option<(io::Result<Frame<Bytes>>, Option<(Walk, Session)>)> {
    let (mut walk, session) = state?;
    if session.is_over().is_some() {
        return Some((Err(io::ErrorKind::ConnectionAborted.into()), None));
    }
    match walk.frame().await {
        Ok((text, More::Yes)) => Some((Ok(Frame::data(text.into())), Some((walk, session)))),
        Ok((text, More::No)) => Some((Ok(Frame::data(text.into())), None)),
        Err(error) => {
            tracing::error!(%error, "a listing failed on the way");
            Some((Err(io::Error::other("storage error")), None))
        }
    }
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
                "prop" => Self::Named(once(xml::children(child).map(xml::name))),
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
            Self::All(_) => {
                // What is said anyway is not said twice.
                let more =
                    include.into_iter().filter(|name| name.namespace != DAV || !ALL.contains(&name.local.as_str()));
                Some(Self::All(once(more)))
            }
            other => Some(other),
        }
    }

    /// What is asked for by name.
    fn named(&self) -> &[Name] {
        match self {
            Self::Named(names) | Self::All(names) => names,
            Self::Names => &[],
        }
    }

    fn asks(&self, namespace: &str, locals: &[&str]) -> bool {
        self.named().iter().any(|name| name.namespace == namespace && locals.contains(&name.local.as_str()))
    }
}

/// Each name once: a question put a hundred times is answered as one. More than may be asked for are not looked through.
fn once(names: impl Iterator<Item = Name>) -> Vec<Name> {
    let mut seen: Vec<Name> = Vec::new();
    for name in names {
        if seen.len() > xml::PROPERTIES {
            break;
        }
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

/// Tells of one resource after the other.
struct Teller {
    vfs: Vfs,
    wish: Wish,
    bound: Bound,
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
                        None => lacking.push_str(&self.bound.empty(name)),
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
            "getcontenttype" if self.is_file() => Some(xml::escaped(fetch::content_type(self.path))),
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
    folder: VPath,
    listing: Option<Listing>,
    /// What is listed and not yet said.
    rows: std::vec::IntoIter<Entry>,
    /// What is said and not yet sent.
    text: String,
}

/// Whether more of the reply follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum More {
    Yes,
    No,
}

impl Walk {
    /// The next piece of the reply, and whether there is more.
    async fn frame(&mut self) -> Result<(String, More), VfsError> {
        loop {
            // Rows are written one by one: how long one is, the client decides.
            while self.text.len() < FRAME
                && let Some(row) = self.rows.next()
            {
                let text = self.row(row).await;
                self.text.push_str(&text);
            }
            if self.text.len() >= FRAME {
                return Ok((std::mem::take(&mut self.text), More::Yes));
            }
            let rows = match &mut self.listing {
                None => Vec::new(),
                Some(listing) => listing.next_batch(BATCH).await?,
            };
            if rows.is_empty() {
                self.text.push_str("</D:multistatus>\n");
                return Ok((std::mem::take(&mut self.text), More::No));
            }
            self.rows = rows.into_iter();
        }
    }

    /// WebDAV knows no links: one that can be followed is what it leads to, any other is left out.
    async fn row(&self, row: Entry) -> String {
        let Ok(path) = self.folder.join(&row.name) else { return String::new() };
        if row.metadata.kind != Kind::Link {
            return self.teller.response(&path, &row.metadata).await;
        }
        match self.teller.vfs.stat_committed(&path).await {
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
    use lockgate_http_semantics::testing::{House, path};

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

    /// The frames of the answer for the root, one deep.
    async fn answer(house: &House, body: &str) -> Vec<String> {
        let wish = wish(body).unwrap();
        let teller = Teller { vfs: house.vfs.clone(), bound: Bound::of(wish.named()), wish, space: None };
        let root = VPath::root();
        let text = opening(&teller.bound) + &teller.response(&root, &house.vfs.stat(&root).await.unwrap()).await;
        let listing = Some(house.vfs.list(&root).await.unwrap());
        let mut walk = Walk { teller, folder: root, listing, rows: Vec::new().into_iter(), text };
        let mut frames = Vec::new();
        loop {
            let (text, more) = walk.frame().await.unwrap();
            frames.push(text);
            if more == More::No {
                return frames;
            }
        }
    }

    #[tokio::test]
    async fn a_listing_goes_out_in_bounded_frames_and_is_whole() {
        let house = House::new().await;
        for place in 0..300 {
            house.put(&format!("file-{place}"), b"x");
        }
        let names: String = (0..100).map(|place| format!("<x:p{place}/>")).collect();
        let space = format!("urn:{}", "n".repeat(1000));
        let body =
            format!("<D:propfind xmlns:D=\"DAV:\" xmlns:x=\"{space}\"><D:prop>{names}<x:p1/></D:prop></D:propfind>");
        assert!(xml::acceptable(body.as_bytes()));
        let frames = answer(&house, &body).await;
        assert!(frames.len() > 1 && frames.iter().all(|frame| frame.len() < 2 * FRAME));
        let all = frames.concat();
        assert_eq!(all.matches(&space).count(), 1);
        assert_eq!(all.matches("<n0:p1/>").count(), 301, "asked twice, and told once for each resource");
        assert_eq!(all.matches("<D:response>").count(), 301);
        assert!(xml::parse(all.as_bytes()).is_some());
    }

    #[tokio::test]
    async fn an_interrupted_upload_is_in_no_listing() {
        let house = House::new().await;
        house.interrupted("/half", b"half of it").await;
        house.put("whole", b"x");
        let all = answer(&house, "").await.concat();
        assert!(all.contains("/dav/whole") && !all.contains("half"), "{all}");
        assert!(house.vfs.stat_committed(&path("/half")).await.is_err());
    }

    #[test]
    fn more_names_than_may_be_asked_for_are_seen_as_such() {
        let names: String = (0..500).map(|place| format!("<p{place}/>")).collect();
        let body = format!("<D:propfind xmlns:D=\"DAV:\"><D:prop>{names}</D:prop></D:propfind>");
        assert!(wish(&body).unwrap().named().len() > xml::PROPERTIES);
    }
}
