//! Conditions: `If` of RFC 4918 section 10.4, and those of RFC 9110 that `PUT`, `DELETE`, `COPY` and `MOVE` know.

use crate::address;
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use lockgate_model::VPath;
use lockgate_vfs::{LockToken, Metadata, Vfs};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// More conditions than this in one request are refused: each may cost a look at the disk.
const CONDITIONS: usize = 64;

/// A parsed `If` header.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct If(Vec<List>);

#[derive(Debug, PartialEq, Eq)]
struct List {
    resource: Option<String>,
    conditions: Vec<Condition>,
}

#[derive(Debug, PartialEq, Eq)]
struct Condition {
    not: bool,
    item: Item,
}

#[derive(Debug, PartialEq, Eq)]
enum Item {
    Token(String),
    Tag(String),
}

impl If {
    /// Reads the header; `None` where there is none.
    ///
    /// # Errors
    /// 400 where it cannot be read, or holds too much.
    pub(crate) fn parse(headers: &HeaderMap) -> Result<Option<Self>, StatusCode> {
        let mut values = headers.get_all("if").iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().ok().and_then(lists).map(Some).ok_or(StatusCode::BAD_REQUEST),
            _ => Err(StatusCode::BAD_REQUEST),
        }
    }

    /// Every state token in the header: they count as submitted, whichever list they stand in.
    pub(crate) fn tokens(&self) -> Vec<LockToken> {
        let mut tokens: Vec<LockToken> = Vec::new();
        for condition in self.0.iter().flat_map(|list| &list.conditions) {
            if let Item::Token(token) = &condition.item
                && !tokens.iter().any(|known| known.0 == *token)
            {
                tokens.push(LockToken(token.clone()));
            }
        }
        tokens
    }

    /// Whether any condition is about what the bytes are, and not only about locks.
    pub(crate) fn names_a_state(&self) -> bool {
        self.0.iter().flat_map(|list| &list.conditions).any(|condition| matches!(condition.item, Item::Tag(_)))
    }

    /// Whether one of the lists holds.
    pub(crate) async fn holds(&self, vfs: &Vfs, path: &VPath, host: Option<&str>) -> bool {
        for list in &self.0 {
            let about = match &list.resource {
                None => Some(path.clone()),
                Some(url) => {
                    url.parse::<Uri>().ok().and_then(|uri| address::own(&uri, host).ok()).map(|address| address.path)
                }
            };
            let mut all = true;
            for condition in &list.conditions {
                let met = match (&about, &condition.item) {
                    (None, _) => false,
                    (Some(path), Item::Token(token)) => {
                        vfs.locks().discover(path).iter().any(|lock| lock.token.0 == *token)
                    }
                    (Some(path), Item::Tag(tag)) => {
                        vfs.stat_committed(path).await.is_ok_and(|facts| facts.etag == *tag)
                    }
                };
                if met == condition.not {
                    all = false;
                    break;
                }
            }
            if all {
                return true;
            }
        }
        false
    }
}

fn lists(text: &str) -> Option<If> {
    let mut rest = text.trim();
    let mut lists = Vec::new();
    let mut resource: Option<String> = None;
    let mut count = 0;
    while !rest.is_empty() {
        if let Some(tail) = rest.strip_prefix('<') {
            let (url, tail) = tail.split_once('>')?;
            resource = Some(url.to_owned());
            rest = tail.trim_start();
        }
        let mut inner = rest.strip_prefix('(')?.trim_start();
        let mut conditions = Vec::new();
        while !inner.starts_with(')') {
            let (condition, tail) = condition(inner)?;
            conditions.push(condition);
            count += 1;
            if count > CONDITIONS {
                return None;
            }
            inner = tail.trim_start();
        }
        if conditions.is_empty() {
            return None;
        }
        lists.push(List { resource: resource.clone(), conditions });
        rest = inner.get(1..)?.trim_start();
    }
    (!lists.is_empty()).then_some(If(lists))
}

fn condition(text: &str) -> Option<(Condition, &str)> {
    let (not, text) = match text.get(..3) {
        Some(word) if word.eq_ignore_ascii_case("not") => (true, text.get(3..)?.trim_start()),
        _ => (false, text),
    };
    if let Some(tail) = text.strip_prefix('<') {
        let (token, tail) = tail.split_once('>')?;
        return Some((Condition { not, item: Item::Token(token.to_owned()) }, tail));
    }
    let (tag, tail) = text.strip_prefix('[')?.split_once(']')?;
    // A weak tag is kept with its mark, and so equals none of ours.
    let tag = if tag.starts_with("W/") { tag } else { tag.strip_prefix('"')?.strip_suffix('"')? };
    Some((Condition { not, item: Item::Tag(tag.to_owned()) }, tail))
}

/// The conditions of RFC 9110 for a request that changes something: whether they hold.
pub(crate) fn proceeds(headers: &HeaderMap, current: Option<&Metadata>) -> bool {
    if headers.contains_key(header::IF_MATCH) {
        if !listed(headers, &header::IF_MATCH, current) {
            return false;
        }
    } else if let Some(limit) = headers
        .get(header::IF_UNMODIFIED_SINCE)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| httpdate::parse_http_date(text).ok())
        && current.is_none_or(|facts| whole_seconds(facts.modified) > limit)
    {
        return false;
    }
    !(headers.contains_key(header::IF_NONE_MATCH) && listed(headers, &header::IF_NONE_MATCH, current))
}

/// Whether any of these conditions is there.
pub(crate) fn is_conditional(headers: &HeaderMap) -> bool {
    [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_UNMODIFIED_SINCE].iter().any(|name| headers.contains_key(name))
}

/// Whether `If-None-Match: *` is there: the name must be new, also at the moment of the commit.
pub(crate) fn wants_new(headers: &HeaderMap) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().any(|value| value.as_bytes().trim_ascii() == b"*")
}

fn listed(headers: &HeaderMap, name: &http::HeaderName, current: Option<&Metadata>) -> bool {
    let Some(facts) = current else { return false };
    let weak_counts = *name == header::IF_NONE_MATCH;
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).any(|text| {
        text.trim() == "*"
            || text.split(',').map(str::trim).any(|tag| {
                let tag = tag.strip_prefix("W/").filter(|_| weak_counts).unwrap_or(tag);
                tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"')) == Some(&facts.etag)
            })
    })
}

fn whole_seconds(time: SystemTime) -> SystemTime {
    time.duration_since(UNIX_EPOCH).map_or(time, |since| UNIX_EPOCH + Duration::from_secs(since.as_secs()))
}

/// `ETag` of a file.
pub(crate) fn etag(facts: &Metadata) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("\"{}\"", facts.etag)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lockgate_vfs::Kind;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Option<If> {
        lists(text)
    }

    fn headers(name: http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_examples_of_the_standard_are_read() {
        let both = parsed("(<urn:uuid:1> [\"I am an ETag\"]) ([\"I am another ETag\"])").unwrap();
        assert_eq!(both.0.len(), 2);
        assert_eq!(both.tokens(), [LockToken("urn:uuid:1".into())]);
        let not = parsed("(Not <urn:uuid:1> <urn:uuid:2>)").unwrap();
        assert!(not.0[0].conditions[0].not && !not.0[0].conditions[1].not);
        let tagged = parsed("<http://a/dav/x> (<urn:uuid:1> [W/\"weak\"]) ([\"strong\"])").unwrap();
        assert_eq!(tagged.0[1].resource.as_deref(), Some("http://a/dav/x"));
        assert!(parsed("(Not <DAV:no-lock>)").is_some());
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for text in ["", "()", "(<a)", "<a>", "(<a>) x", "<a> <b> (<c>)", "([\"x\"", "(Not)", "([\"])", "([x])"] {
            assert_eq!(parsed(text), None, "{text}");
        }
        assert_eq!(parsed(&"(<a>)".repeat(65)), None);
    }

    #[test]
    fn a_change_goes_on_only_from_the_state_it_names() {
        let facts = Metadata {
            kind: Kind::File,
            size: 1,
            modified: UNIX_EPOCH + Duration::from_secs(1000),
            accessed: UNIX_EPOCH,
            mode: 0o644,
            uid: 0,
            gid: 0,
            links: 1,
            unique: (0, 0),
            etag: "abc".into(),
        };
        assert!(proceeds(&headers(header::IF_MATCH, "\"x\", \"abc\""), Some(&facts)));
        assert!(!proceeds(&headers(header::IF_MATCH, "W/\"abc\""), Some(&facts)));
        assert!(!proceeds(&headers(header::IF_MATCH, "*"), None));
        assert!(!proceeds(&headers(header::IF_NONE_MATCH, "W/\"abc\""), Some(&facts)));
        assert!(!proceeds(&headers(header::IF_NONE_MATCH, "*"), Some(&facts)));
        assert!(proceeds(&headers(header::IF_NONE_MATCH, "*"), None));
        assert!(!proceeds(&headers(header::IF_UNMODIFIED_SINCE, "Thu, 01 Jan 1970 00:00:01 GMT"), Some(&facts)));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[()<>\\[\\]\"a Not:/]{0,80}") {
            let _ = parsed(&text);
        }
    }
}
