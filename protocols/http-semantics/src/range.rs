//! `Range`, `Content-Range` (RFC 9110 section 14) and `Content-Length`: which bytes of a file, and how many.
//!
//! One part is served. Several parts are served as one where they touch, and otherwise the header is ignored, as section 14.2
//! allows: a multipart reply costs more than it saves anybody here, and many overlapping parts cost the server only.

use crate::{Malformed, Validators, condition};
use http::{HeaderMap, Method, header};
use lockgate_vfs::Metadata;

/// What of a representation is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All of it.
    Whole,
    /// From `first` to `last`, both included, both inside.
    Part {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte.
        last: u64,
    },
    /// Nothing that is there: 416.
    Unsatisfiable,
}

/// More parts than this are not looked at.
const PARTS: usize = 16;

/// What a request wants of a file. Ranges are for `GET` alone (section 14.2), and only for the state that `If-Range` names.
#[must_use]
pub fn wanted(method: &Method, headers: &HeaderMap, facts: &Metadata) -> Wanted {
    let mut values = headers.get_all(header::RANGE).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if method == Method::GET && condition::range_applies(headers, Validators::from(facts)) => {
            value.to_str().map_or(Wanted::Whole, |text| ranges(text, facts.size))
        }
        _ => Wanted::Whole,
    }
}

/// What a `Range` header asks of a representation of `length` bytes. What is no range is no header.
fn ranges(header: &str, length: u64) -> Wanted {
    let Some(list) =
        header.trim().split_once('=').filter(|(unit, _)| unit.eq_ignore_ascii_case("bytes")).map(|(_, list)| list)
    else {
        return Wanted::Whole;
    };
    if list.split(',').count() > PARTS {
        return Wanted::Whole;
    }
    let mut parts = Vec::new();
    let mut seen = false;
    for text in list.split(',').map(str::trim).filter(|text| !text.is_empty()) {
        seen = true;
        match part(text, length) {
            Some(Some(range)) => parts.push(range),
            Some(None) => {}
            None => return Wanted::Whole,
        }
    }
    if !seen {
        return Wanted::Whole;
    }
    parts.sort_unstable();
    let mut parts = parts.into_iter();
    let Some((first, mut last)) = parts.next() else { return Wanted::Unsatisfiable };
    for (start, end) in parts {
        if start > last.saturating_add(1) {
            return Wanted::Whole;
        }
        last = last.max(end);
    }
    Wanted::Part { first, last }
}

/// One part: `None` for bad syntax, `Some(None)` for one that lies outside.
#[expect(clippy::option_option, reason = "bad syntax and an empty part are answered differently")]
fn part(text: &str, length: u64) -> Option<Option<(u64, u64)>> {
    let (from, to) = text.split_once('-')?;
    if from.is_empty() {
        let count = digits(to)?;
        let satisfiable = count > 0 && length > 0;
        return Some(satisfiable.then(|| (length.saturating_sub(count), length - 1)));
    }
    let first = digits(from)?;
    let last = if to.is_empty() { u64::MAX } else { digits(to)? };
    if last < first {
        return None;
    }
    Some((first < length).then(|| (first, last.min(length - 1))))
}

/// A number of digits only: the signs and blanks that `parse` might take are none. One past 64 bits is the largest.
#[must_use]
pub fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// Where the bytes of a partial `PUT` belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Offset of the first byte.
    pub first: u64,
    /// How many there are.
    pub count: u64,
    /// How long the whole file is to be, where the client knows.
    pub total: Option<u64>,
}

impl Placed {
    /// Reads `Content-Range`; `None` where there is none.
    ///
    /// # Errors
    /// [`Malformed::Doubled`], [`Malformed::ContentRange`].
    pub fn read(headers: &HeaderMap) -> Result<Option<Self>, Malformed> {
        let mut values = headers.get_all(header::CONTENT_RANGE).iter();
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None) => value.to_str().ok().and_then(Self::parse).map(Some).ok_or(Malformed::ContentRange),
            _ => Err(Malformed::Doubled("Content-Range")),
        }
    }

    /// Reads `bytes FIRST-LAST/TOTAL`, where TOTAL may be `*`. `None` for anything else.
    fn parse(text: &str) -> Option<Self> {
        let (unit, rest) = text.trim().split_once(' ')?;
        let (range, total) = rest.trim().split_once('/')?;
        let (first, last) = range.split_once('-')?;
        let (first, last) = (digits(first)?, digits(last)?);
        let total = if total == "*" { None } else { Some(digits(total)?) };
        let inside = total.is_none_or(|total| last < total);
        if !unit.eq_ignore_ascii_case("bytes") || last < first || last == u64::MAX || !inside {
            return None;
        }
        Some(Self { first, count: last - first + 1, total })
    }

    /// Whether the file is not whole with these bytes.
    #[must_use]
    pub fn more_follows(self) -> bool {
        self.total.is_some_and(|total| self.first.saturating_add(self.count) < total)
    }
}

/// Reads `Content-Length`; `None` where there is none (the body comes in chunks, or over HTTP/2).
///
/// # Errors
/// [`Malformed::Doubled`], [`Malformed::Length`].
pub fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Malformed> {
    let mut values = headers.get_all(header::CONTENT_LENGTH).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => {
            value.to_str().ok().and_then(digits).map(Some).ok_or(Malformed::Length("Content-Length"))
        }
        _ => Err(Malformed::Doubled("Content-Length")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::facts;
    use http::HeaderValue;
    use proptest::{collection::vec, prelude::*};

    #[test]
    fn one_part_is_cut_to_what_is_there() {
        assert_eq!(ranges("bytes=0-3", 10), Wanted::Part { first: 0, last: 3 });
        assert_eq!(ranges("Bytes=4-", 10), Wanted::Part { first: 4, last: 9 });
        assert_eq!(ranges("bytes=-3", 10), Wanted::Part { first: 7, last: 9 });
        assert_eq!(ranges("bytes=-30", 10), Wanted::Part { first: 0, last: 9 });
        assert_eq!(ranges("bytes=8-99999999999999999999999", 10), Wanted::Part { first: 8, last: 9 });
    }

    #[test]
    fn a_part_outside_the_file_is_not_satisfiable() {
        for header in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=10-,20-"] {
            assert_eq!(ranges(header, 10), Wanted::Unsatisfiable, "{header}");
        }
        for header in ["bytes=0-", "bytes=-1"] {
            assert_eq!(ranges(header, 0), Wanted::Unsatisfiable, "{header}");
        }
    }

    #[test]
    fn what_is_no_range_is_ignored() {
        for header in
            ["", "bytes", "bytes=", "bytes=a-b", "bytes=3-1", "lines=0-3", "bytes=+1-2", "bytes=0-3,x", "bytes=1 -2"]
        {
            assert_eq!(ranges(header, 10), Wanted::Whole, "{header}");
        }
    }

    #[test]
    fn parts_that_touch_are_one_and_others_are_the_whole() {
        assert_eq!(ranges("bytes=0-3, 2-5,6-6", 10), Wanted::Part { first: 0, last: 6 });
        assert_eq!(ranges("bytes=5-6,20-", 10), Wanted::Part { first: 5, last: 6 });
        assert_eq!(ranges("bytes=0-1,8-9", 10), Wanted::Whole);
        assert_eq!(ranges(&format!("bytes={}", ["0-"; 5000].join(",")), 10), Wanted::Whole);
    }

    #[test]
    fn a_range_counts_only_for_get_and_only_once() {
        let facts = facts("abc", 1000);
        let mut headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static("bytes=0-1"))]);
        assert_eq!(wanted(&Method::GET, &headers, &facts), Wanted::Part { first: 0, last: 1 });
        assert_eq!(wanted(&Method::HEAD, &headers, &facts), Wanted::Whole);
        headers.insert(header::IF_RANGE, HeaderValue::from_static("\"another\""));
        assert_eq!(wanted(&Method::GET, &headers, &facts), Wanted::Whole);
        headers.remove(header::IF_RANGE);
        headers.append(header::RANGE, HeaderValue::from_static("bytes=4-5"));
        assert_eq!(wanted(&Method::GET, &headers, &facts), Wanted::Whole);
    }

    #[test]
    fn a_partial_upload_says_where_it_belongs() {
        assert_eq!(Placed::parse("bytes 3-5/10"), Some(Placed { first: 3, count: 3, total: Some(10) }));
        assert_eq!(Placed::parse("bytes 0-0/*"), Some(Placed { first: 0, count: 1, total: None }));
        let more = |header| Placed::parse(header).unwrap().more_follows();
        assert!(more("bytes 3-5/10") && !more("bytes 3-9/10") && !more("bytes 3-5/*"));
        for header in
            ["bytes 5-3/10", "bytes 0-10/10", "bytes */10", "bytes=0-1/2", "bytes 0-18446744073709551615/*", ""]
        {
            assert_eq!(Placed::parse(header), None, "{header}");
        }
    }

    #[test]
    fn a_length_is_said_once_and_in_digits() {
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_LENGTH, HeaderValue::from_static(value));
            }
            content_length(&headers)
        };
        assert_eq!((read(&[]), read(&["17"])), (Ok(None), Ok(Some(17))));
        for values in [&["+1"][..], &["1, 1"], &[""], &["0x1"], &["-1"], &["1", "1"]] {
            assert!(read(values).is_err(), "{values:?}");
        }
    }

    /// One part as a client may write it, and the bytes of a file of `length` that it means.
    fn one(first: u64, last: Option<u64>, length: u64) -> (String, Option<(u64, u64)>) {
        let end = last.map_or(String::new(), |last| last.to_string());
        let inside = (first < length).then(|| (first, last.unwrap_or(u64::MAX).min(length - 1)));
        (format!("{first}-{end}"), inside)
    }

    proptest! {
        #[test]
        fn what_is_served_holds_every_part_and_only_parts(
            parts in vec((0_u64..60, proptest::option::of(0_u64..60)), 1..5),
            length in 1_u64..50,
        ) {
            let parts: Vec<_> = parts.into_iter().map(|(from, more)| one(from, more.map(|more| from + more), length)).collect();
            let text: Vec<_> = parts.iter().map(|(text, _)| text.as_str()).collect();
            let held: std::collections::BTreeSet<u64> = parts.iter().filter_map(|(_, range)| *range).flat_map(|(from, to)| from..=to).collect();
            match ranges(&format!("bytes={}", text.join(", ")), length) {
                Wanted::Part { first, last } => prop_assert!(held.into_iter().eq(first..=last)),
                Wanted::Unsatisfiable => prop_assert!(held.is_empty()),
                Wanted::Whole => {
                    let (first, last) = (*held.first().unwrap(), *held.last().unwrap());
                    prop_assert!(held.len() as u64 != last - first + 1, "one run of bytes is served as such");
                }
            }
        }

        #[test]
        fn the_last_bytes_are_the_last_bytes(count in 1_u64..100, length in 1_u64..100) {
            let expected = Wanted::Part { first: length.saturating_sub(count), last: length - 1 };
            prop_assert_eq!(ranges(&format!("bytes=-{count}"), length), expected);
        }

        #[test]
        fn a_part_always_lies_inside_the_file(header in "bytes=[0-9,\\- ]{0,40}", length in 0_u64..1000) {
            if let Wanted::Part { first, last } = ranges(&header, length) {
                prop_assert!(first <= last && last < length);
            }
        }

        #[test]
        fn a_place_is_read_as_it_is_written(first: u32, count in 1_u64..1000, rest in proptest::option::of(0_u64..1000)) {
            let first = u64::from(first);
            let total = rest.map(|rest| first + count + rest);
            let shown = total.map_or("*".to_owned(), |total| total.to_string());
            let placed = Placed::parse(&format!("bytes {first}-{}/{shown}", first + count - 1)).unwrap();
            prop_assert_eq!(placed, Placed { first, count, total });
            prop_assert_eq!(placed.more_follows(), rest.is_some_and(|rest| rest > 0));
        }

        #[test]
        fn any_text_is_survived(header in "\\PC{0,60}", length: u64) {
            let _ = ranges(&header, length);
            let _ = Placed::parse(&header);
        }

        #[test]
        fn no_place_runs_past_the_largest_file(header in "bytes [0-9]{1,21}-[0-9]{1,21}/([0-9]{1,21}|\\*)") {
            if let Some(placed) = Placed::parse(&header) {
                prop_assert!(placed.count > 0 && placed.first.checked_add(placed.count).is_some());
            }
        }
    }
}
