//! Conditional requests (RFC 9110 section 13), decided on what the tree says now.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use lockgate_vfs::{Kind, Metadata};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the conditions come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Go on.
    Proceed,
    /// 304: the client has it.
    NotModified,
    /// 412.
    Failed,
}

/// Whether the request only reads (a match of `If-None-Match` is then 304 and not 412).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// `GET`, `HEAD`.
    Reads,
    /// Everything else.
    Changes,
}

/// The order of section 13.2.2. `current` is `None` where nothing has the name.
pub(crate) fn judge(headers: &HeaderMap, access: Access, current: Option<&Metadata>) -> Verdict {
    if headers.contains_key(header::IF_MATCH) {
        if !lists(headers, &header::IF_MATCH, current, Compare::Strong) {
            return Verdict::Failed;
        }
    } else if let Some(limit) = date(headers, &header::IF_UNMODIFIED_SINCE)
        && current.is_none_or(|facts| whole_seconds(facts.modified) > limit)
    {
        return Verdict::Failed;
    }
    if headers.contains_key(header::IF_NONE_MATCH) {
        if lists(headers, &header::IF_NONE_MATCH, current, Compare::Weak) {
            return if access == Access::Reads { Verdict::NotModified } else { Verdict::Failed };
        }
    } else if access == Access::Reads
        && let Some(limit) = date(headers, &header::IF_MODIFIED_SINCE)
        && current.is_some_and(|facts| whole_seconds(facts.modified) <= limit)
    {
        return Verdict::NotModified;
    }
    Verdict::Proceed
}

/// Whether `If-None-Match: *` is there: the name must be new, also at the moment of the commit.
pub(crate) fn wants_new(headers: &HeaderMap) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().any(|value| value.as_bytes().trim_ascii() == b"*")
}

/// Whether a `Range` may be honoured: there is no `If-Range`, or it names exactly the present state.
pub(crate) fn range_applies(headers: &HeaderMap, current: &Metadata) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else { return true };
    let Ok(text) = value.to_str() else { return false };
    if text.contains('"') {
        return text == format!("\"{}\"", current.etag);
    }
    httpdate::parse_http_date(text).is_ok_and(|time| time == whole_seconds(current.modified))
}

/// `ETag` of a file; folders have none.
pub(crate) fn etag(facts: &Metadata) -> Option<HeaderValue> {
    (facts.kind == Kind::File).then(|| HeaderValue::from_str(&format!("\"{}\"", facts.etag)).ok()).flatten()
}

/// `Last-Modified`; none for times that the format cannot say.
pub(crate) fn last_modified(facts: &Metadata) -> Option<HeaderValue> {
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

fn lists(headers: &HeaderMap, name: &HeaderName, current: Option<&Metadata>, compare: Compare) -> bool {
    let Some(facts) = current else { return false };
    headers.get_all(name).iter().any(|value| {
        let Ok(text) = value.to_str() else { return false };
        text.trim() == "*" || tags(text).any(|(weak, tag)| tag == facts.etag && (!weak || compare == Compare::Weak))
    })
}

/// The tags of a list, without quotes, each with its mark of weakness. Ends at the first thing that is no tag.
fn tags(list: &str) -> impl Iterator<Item = (bool, &str)> {
    let mut rest = list;
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (weak, quoted) = rest.strip_prefix("W/").map_or((false, rest), |tail| (true, tail));
        let (tag, tail) = quoted.strip_prefix('"')?.split_once('"')?;
        rest = tail;
        Some((weak, tag))
    })
}

fn date(headers: &HeaderMap, name: &HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

/// HTTP dates have whole seconds.
fn whole_seconds(time: SystemTime) -> SystemTime {
    time.duration_since(UNIX_EPOCH).map_or(time, |since| UNIX_EPOCH + Duration::from_secs(since.as_secs()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn facts(etag: &str, seconds: u64) -> Metadata {
        let time = UNIX_EPOCH + Duration::from_millis(seconds * 1000 + 250);
        Metadata {
            kind: Kind::File,
            size: 10,
            modified: time,
            accessed: time,
            mode: 0o644,
            uid: 0,
            gid: 0,
            links: 1,
            unique: (0, 0),
            etag: etag.into(),
        }
    }

    fn headers(pairs: &[(HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn http(seconds: u64) -> String {
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn a_change_goes_on_only_from_the_state_it_names() {
        let now = facts("abc", 1000);
        let judge = |value: &str, current| judge(&headers(&[(header::IF_MATCH, value)]), Access::Changes, current);
        assert_eq!(judge("\"abc\"", Some(&now)), Verdict::Proceed);
        assert_eq!(judge("\"x\", \"abc\"", Some(&now)), Verdict::Proceed);
        assert_eq!(judge("*", Some(&now)), Verdict::Proceed);
        assert_eq!(judge("W/\"abc\"", Some(&now)), Verdict::Failed);
        assert_eq!(judge("\"x\"", Some(&now)), Verdict::Failed);
        assert_eq!(judge("*", None), Verdict::Failed);
        assert_eq!(judge("abc", Some(&now)), Verdict::Failed);
    }

    #[test]
    fn what_the_client_has_is_not_sent_again() {
        let now = facts("abc", 1000);
        let none_match = headers(&[(header::IF_NONE_MATCH, "W/\"abc\"")]);
        assert_eq!(judge(&none_match, Access::Reads, Some(&now)), Verdict::NotModified);
        assert_eq!(judge(&none_match, Access::Changes, Some(&now)), Verdict::Failed);
        let since = headers(&[(header::IF_MODIFIED_SINCE, &http(1000))]);
        assert_eq!(judge(&since, Access::Reads, Some(&now)), Verdict::NotModified);
        let earlier = headers(&[(header::IF_MODIFIED_SINCE, &http(999))]);
        assert_eq!(judge(&earlier, Access::Reads, Some(&now)), Verdict::Proceed);
    }

    #[test]
    fn a_new_name_is_demanded_by_a_star() {
        let star = headers(&[(header::IF_NONE_MATCH, "*")]);
        assert!(wants_new(&star));
        assert_eq!(judge(&star, Access::Changes, Some(&facts("abc", 1))), Verdict::Failed);
        assert_eq!(judge(&star, Access::Changes, None), Verdict::Proceed);
    }

    #[test]
    fn a_tag_comes_before_a_date() {
        let now = facts("abc", 1000);
        let both = headers(&[(header::IF_MATCH, "\"abc\""), (header::IF_UNMODIFIED_SINCE, &http(1))]);
        assert_eq!(judge(&both, Access::Changes, Some(&now)), Verdict::Proceed);
        let only = headers(&[(header::IF_UNMODIFIED_SINCE, &http(1))]);
        assert_eq!(judge(&only, Access::Changes, Some(&now)), Verdict::Failed);
    }

    #[test]
    fn a_range_is_honoured_only_for_the_state_it_was_asked_of() {
        let now = facts("abc", 1000);
        assert!(range_applies(&HeaderMap::new(), &now));
        assert!(range_applies(&headers(&[(header::IF_RANGE, "\"abc\"")]), &now));
        assert!(range_applies(&headers(&[(header::IF_RANGE, &http(1000))]), &now));
        for value in ["W/\"abc\"", "\"x\"", "nonsense", &http(999)] {
            assert!(!range_applies(&headers(&[(header::IF_RANGE, value)]), &now), "{value}");
        }
    }

    #[test]
    fn a_time_that_http_cannot_say_is_left_out() {
        let mut old = facts("abc", 0);
        old.modified = UNIX_EPOCH - Duration::from_secs(5);
        assert_eq!(last_modified(&old), None);
        assert!(last_modified(&facts("abc", 1000)).is_some());
    }
}
