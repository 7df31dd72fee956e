//! Conditional requests (RFC 9110 section 13), decided on what the tree says now.
//!
//! A condition that cannot be read holds for nothing: a change that came with one is not made.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use lockgate_vfs::{Kind, Metadata};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the conditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Go on.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412.
    Failed,
}

/// Whether the request only reads (a match of `If-None-Match` is then 304 and not 412).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `GET`, `HEAD`.
    Reads,
    /// Everything else.
    Changes,
}

/// What conditions are about: how the present state is told from others.
#[derive(Clone, Copy, Debug)]
pub struct Validators<'a> {
    /// The strong validator, without quotes.
    pub tag: &'a str,
    /// When the bytes were changed last; `None` where nobody knows.
    pub modified: Option<SystemTime>,
}

impl<'a> From<&'a Metadata> for Validators<'a> {
    fn from(facts: &'a Metadata) -> Self {
        Self { tag: &facts.etag, modified: Some(facts.modified) }
    }
}

impl Validators<'_> {
    /// Whether it was changed after `limit`, in the whole seconds of HTTP dates.
    fn is_newer(&self, limit: SystemTime) -> Option<bool> {
        self.modified.map(|time| whole_seconds(time) > limit)
    }
}

/// Judges the conditions in the order of section 13.2.2. `current` is `None` where nothing has the name.
#[must_use]
pub fn judge(headers: &HeaderMap, access: Access, current: Option<Validators<'_>>) -> Verdict {
    if headers.contains_key(header::IF_MATCH) {
        if listed(headers, &header::IF_MATCH, current, Compare::Strong) != Listed::Yes {
            return Verdict::Failed;
        }
    } else if let Some(limit) = date(headers, &header::IF_UNMODIFIED_SINCE)
        && current.is_none_or(|state| state.is_newer(limit) == Some(true))
    {
        return Verdict::Failed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        match (listed(headers, &header::IF_NONE_MATCH, current, Compare::Weak), access) {
            (Listed::Yes, Access::Reads) => return Verdict::NotModified,
            (Listed::Yes | Listed::Unreadable, Access::Changes) => return Verdict::Failed,
            _ => {}
        }
    } else if access == Access::Reads
        && let Some(limit) = date(headers, &header::IF_MODIFIED_SINCE)
        && current.is_some_and(|state| state.is_newer(limit) == Some(false))
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether there is any condition that a change must heed, and whose state must still be there at its end.
#[must_use]
pub fn is_conditional(headers: &HeaderMap) -> bool {
    [header::IF_MATCH, header::IF_NONE_MATCH, header::IF_UNMODIFIED_SINCE].iter().any(|name| headers.contains_key(name))
}

/// Whether `If-None-Match: *` is there: the name must be new, also at the moment of the commit.
#[must_use]
pub fn wants_new(headers: &HeaderMap) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().any(|value| value.as_bytes().trim_ascii() == b"*")
}

/// Whether a `Range` may be honoured: there is no `If-Range`, or one that names exactly the present state (section 13.1.5).
pub(crate) fn range_applies(headers: &HeaderMap, current: Validators<'_>) -> bool {
    let mut values = headers.get_all(header::IF_RANGE).iter();
    let text = match (values.next(), values.next()) {
        (None, _) => return true,
        (Some(value), None) => value.to_str().unwrap_or_default().trim(),
        _ => return false,
    };
    if text.contains('"') {
        return text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) == Some(current.tag);
    }
    let time = httpdate::parse_http_date(text).ok();
    time.is_some() && time == current.modified.map(whole_seconds)
}

/// `ETag` of a file; folders have none.
#[must_use]
pub fn entity_tag(facts: &Metadata) -> Option<HeaderValue> {
    (facts.kind == Kind::File).then(|| HeaderValue::from_str(&format!("\"{}\"", facts.etag)).ok()).flatten()
}

/// `Last-Modified`; none for times that the format cannot say.
#[must_use]
pub fn last_modified(facts: &Metadata) -> Option<HeaderValue> {
    const YEAR_9999: Duration = Duration::from_secs(253_402_300_799);
    let since = facts.modified.duration_since(UNIX_EPOCH).ok()?;
    (since <= YEAR_9999).then(|| HeaderValue::from_str(&httpdate::fmt_http_date(facts.modified)).ok()).flatten()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Compare {
    /// Weak tags match nothing (`If-Match`).
    Strong,
    /// The mark of weakness is looked past (`If-None-Match`).
    Weak,
}

/// Whether a list of tags names the present state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listed {
    Yes,
    No,
    Unreadable,
}

fn listed(headers: &HeaderMap, name: &HeaderName, current: Option<Validators<'_>>, compare: Compare) -> Listed {
    let mut result = Listed::No;
    for value in headers.get_all(name) {
        let Ok(text) = value.to_str() else { return Listed::Unreadable };
        if text.trim() == "*" {
            if current.is_some() {
                result = Listed::Yes;
            }
            continue;
        }
        let mut tags = Tags(text);
        for (weak, tag) in tags.by_ref() {
            if current.is_some_and(|state| state.tag == tag) && (!weak || compare == Compare::Weak) {
                result = Listed::Yes;
            }
        }
        if !tags.is_at_end() {
            return Listed::Unreadable;
        }
    }
    result
}

/// The tags of a list, without quotes, each with its mark of weakness. Ends at the first thing that is no tag.
struct Tags<'a>(&'a str);

impl Tags<'_> {
    fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> Iterator for Tags<'a> {
    type Item = (bool, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        self.0 = self.0.trim_start_matches([' ', '\t', ',']);
        let (weak, quoted) = self.0.strip_prefix("W/").map_or((false, self.0), |tail| (true, tail));
        let (tag, tail) = quoted.strip_prefix('"')?.split_once('"')?;
        self.0 = tail;
        Some((weak, tag))
    }
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// HTTP dates have whole seconds.
fn whole_seconds(time: SystemTime) -> SystemTime {
    time.duration_since(UNIX_EPOCH).map_or(time, |since| UNIX_EPOCH + Duration::from_secs(since.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::facts;
    use proptest::{collection::vec, prelude::*};

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn http(seconds: u64) -> String {
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    /// What one condition comes to for a file with the tag `abc`, changed at 1000 s; for none without `there`.
    fn verdict(name: HeaderName, value: &str, access: Access, there: bool) -> Verdict {
        let facts = facts("abc", 1000);
        judge(&headers(&[(name, value)]), access, there.then_some(&facts).map(Into::into))
    }

    #[test]
    fn a_change_goes_on_only_from_the_state_it_names() {
        let judge = |value: &str, there| verdict(header::IF_MATCH, value, Access::Changes, there);
        for value in ["\"abc\"", "\"x\", \"abc\"", "\"x\",,\t\"abc\" ,", "*"] {
            assert_eq!(judge(value, true), Verdict::Proceed, "{value}");
            assert_eq!(judge(value, false), Verdict::Failed, "{value}");
        }
        for value in ["W/\"abc\"", "\"x\"", "abc", "", "\"abc", "\"abc\" or so", "\"a\"bc\""] {
            assert_eq!(judge(value, true), Verdict::Failed, "{value}");
        }
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        for value in ["W/\"abc\"", "\"abc\"", "\"x\", W/\"abc\"", "*"] {
            assert_eq!(verdict(header::IF_NONE_MATCH, value, Access::Reads, true), Verdict::NotModified, "{value}");
            assert_eq!(verdict(header::IF_NONE_MATCH, value, Access::Changes, true), Verdict::Failed, "{value}");
            assert_eq!(verdict(header::IF_NONE_MATCH, value, Access::Changes, false), Verdict::Proceed, "{value}");
        }
        let since = |seconds| verdict(header::IF_MODIFIED_SINCE, &http(seconds), Access::Reads, true);
        assert_eq!((since(1000), since(999)), (Verdict::NotModified, Verdict::Proceed));
    }

    #[test]
    fn a_list_that_cannot_be_read_lets_no_change_through_and_hides_nothing_from_a_reader() {
        for value in ["abc", "\"x", "\"x\" abc"] {
            assert_eq!(verdict(header::IF_NONE_MATCH, value, Access::Changes, true), Verdict::Failed, "{value}");
            assert_eq!(verdict(header::IF_NONE_MATCH, value, Access::Reads, true), Verdict::Proceed, "{value}");
        }
        let odd = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_bytes(b"\"\xff\"").unwrap())]);
        assert_eq!(judge(&odd, Access::Changes, None), Verdict::Failed);
    }

    #[test]
    fn a_new_name_is_demanded_by_a_star() {
        assert!(wants_new(&headers(&[(header::IF_NONE_MATCH, " * ")])));
        assert!(!wants_new(&headers(&[(header::IF_NONE_MATCH, "\"*\"")])));
    }

    #[test]
    fn a_tag_comes_before_a_date() {
        let now = facts("abc", 1000);
        let both = headers(&[(header::IF_MATCH, "\"abc\""), (header::IF_UNMODIFIED_SINCE, &http(1))]);
        assert_eq!(judge(&both, Access::Changes, Some((&now).into())), Verdict::Proceed);
        assert_eq!(verdict(header::IF_UNMODIFIED_SINCE, &http(1), Access::Changes, true), Verdict::Failed);
        let both = headers(&[(header::IF_NONE_MATCH, "\"x\""), (header::IF_MODIFIED_SINCE, &http(2000))]);
        assert_eq!(judge(&both, Access::Reads, Some((&now).into())), Verdict::Proceed);
    }

    #[test]
    fn what_has_no_date_is_judged_by_its_tag_alone() {
        let page = Some(Validators { tag: "p", modified: None });
        let since = [(header::IF_MODIFIED_SINCE, http(2000)), (header::IF_UNMODIFIED_SINCE, http(1))];
        for (name, value) in since {
            assert_eq!(judge(&headers(&[(name, &value)]), Access::Reads, page), Verdict::Proceed);
        }
        assert_eq!(judge(&headers(&[(header::IF_NONE_MATCH, "\"p\"")]), Access::Reads, page), Verdict::NotModified);
    }

    #[test]
    fn a_range_is_honoured_only_for_the_state_it_was_asked_of() {
        let now = facts("abc", 1000);
        let applies = |pairs: &[(HeaderName, &str)]| range_applies(&headers(pairs), (&now).into());
        assert!(applies(&[]));
        for value in ["\"abc\"", &http(1000)] {
            assert!(applies(&[(header::IF_RANGE, value)]), "{value}");
        }
        for value in ["W/\"abc\"", "\"x\"", "nonsense", "", "\"", "*", "\"abc\", \"x\"", &http(999), &http(1001)] {
            assert!(!applies(&[(header::IF_RANGE, value)]), "{value}");
        }
        let mut twice = headers(&[(header::IF_RANGE, "\"abc\"")]);
        twice.append(header::IF_RANGE, HeaderValue::from_static("\"abc\""));
        assert!(!range_applies(&twice, (&now).into()));
    }

    #[test]
    fn a_time_that_http_cannot_say_is_left_out() {
        let mut old = facts("abc", 0);
        old.modified = UNIX_EPOCH - Duration::from_secs(5);
        assert_eq!(last_modified(&old), None);
        assert!(last_modified(&facts("abc", 1000)).is_some());
    }

    /// A tag as it may be written, and whether it is weak.
    fn tag() -> impl Strategy<Value = (bool, String)> {
        (any::<bool>(), "[!#-~]{0,8}")
    }

    proptest! {
        #[test]
        fn a_list_names_its_tags_and_no_others(tags in vec(tag(), 0..6), gap in "[ \t]{0,2}", sought in "[!#-~]{0,3}") {
            let written: Vec<_> =
                tags.iter().map(|(weak, tag)| format!("{}\"{tag}\"", if *weak { "W/" } else { "" })).collect();
            let text = written.join(&format!("{gap},{gap}"));
            let mut read = Tags(&text);
            let all: Vec<_> = read.by_ref().map(|(weak, tag)| (weak, tag.to_owned())).collect();
            prop_assert!(read.is_at_end());
            prop_assert_eq!(&all, &tags);
            let state = Some(Validators { tag: &sought, modified: None });
            let strong = tags.iter().any(|(weak, tag)| !weak && *tag == sought);
            let weakly = tags.iter().any(|(_, tag)| *tag == sought);
            let match_ = judge(&headers(&[(header::IF_MATCH, &text)]), Access::Changes, state);
            prop_assert_eq!(match_ == Verdict::Proceed, strong);
            let none = judge(&headers(&[(header::IF_NONE_MATCH, &text)]), Access::Changes, state);
            prop_assert_eq!(none == Verdict::Failed, weakly);
        }

        #[test]
        fn any_value_is_survived_and_never_both_holds_and_fails(text in "[ -~]{0,60}") {
            let facts = facts("abc", 1000);
            for there in [None, Some(Validators::from(&facts))] {
                let if_match = judge(&headers(&[(header::IF_MATCH, &text)]), Access::Changes, there);
                let none_match = judge(&headers(&[(header::IF_NONE_MATCH, &text)]), Access::Changes, there);
                prop_assert!((if_match, none_match) != (Verdict::Proceed, Verdict::Proceed));
                let _ = range_applies(&headers(&[(header::IF_RANGE, &text)]), (&facts).into());
            }
        }
    }
}
