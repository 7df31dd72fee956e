//! `If` of RFC 4918 section 10.4, beside the conditions of RFC 9110.

use crate::address;
use http::{HeaderMap, StatusCode, Uri};
use lockgate_http_semantics::{Access, Verdict, judge};
use lockgate_model::VPath;
use lockgate_vfs::{LockToken, Metadata, Vfs};

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
    judge(headers, Access::Changes, current.map(Into::into)) == Verdict::Proceed
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parsed(text: &str) -> Option<If> {
        lists(text)
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

    proptest! {
        #[test]
        fn any_text_is_survived(text in "[()<>\\[\\]\"a Not:/]{0,80}") {
            let _ = parsed(&text);
        }
    }
}
