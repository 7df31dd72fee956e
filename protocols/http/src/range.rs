//! `Range` and `Content-Range` (RFC 9110 section 14).
//!
//! One part is served. Several parts are served as one where they touch, and otherwise the header is ignored, as section 14.2
//! allows: a multipart reply costs more than it saves anybody here, and many overlapping parts cost the server only.

/// What of a representation is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    /// All of it.
    Whole,
    /// From `first` to `last`, both included, both inside.
    Part { first: u64, last: u64 },
    /// Nothing that is there: 416.
    Unsatisfiable,
}

/// More parts than this are not looked at.
const PARTS: usize = 16;

/// What a `Range` header asks of a representation of `length` bytes.
pub(crate) fn wanted(header: &str, length: u64) -> Wanted {
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
        let count = number(to)?;
        let satisfiable = count > 0 && length > 0;
        return Some(satisfiable.then(|| (length.saturating_sub(count), length - 1)));
    }
    let first = number(from)?;
    let last = if to.is_empty() { u64::MAX } else { number(to)? };
    if last < first {
        return None;
    }
    Some((first < length).then(|| (first, last.min(length - 1))))
}

/// Digits only: the signs and blanks that `parse` might take are none. A number past 64 bits is "the end".
fn number(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

/// Where the bytes of a partial `PUT` belong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placed {
    /// Offset of the first byte.
    pub(crate) first: u64,
    /// How many there are.
    pub(crate) count: u64,
    /// How long the whole file is to be, where the client knows.
    pub(crate) total: Option<u64>,
}

impl Placed {
    /// Whether the file is not whole with these bytes.
    pub(crate) fn more_follows(self) -> bool {
        self.total.is_some_and(|total| self.first.saturating_add(self.count) < total)
    }
}

/// Reads `Content-Range: bytes FIRST-LAST/TOTAL`, where TOTAL may be `*`. `None` for anything else.
pub(crate) fn placed(header: &str) -> Option<Placed> {
    let (unit, rest) = header.trim().split_once(' ')?;
    let (range, total) = rest.trim().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (number(first)?, number(last)?);
    let total = if total == "*" { None } else { Some(number(total)?) };
    let inside = total.is_none_or(|total| last < total);
    if !unit.eq_ignore_ascii_case("bytes") || last < first || last == u64::MAX || !inside {
        return None;
    }
    Some(Placed { first, count: last - first + 1, total })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn one_part_is_cut_to_what_is_there() {
        assert_eq!(wanted("bytes=0-3", 10), Wanted::Part { first: 0, last: 3 });
        assert_eq!(wanted("bytes=4-", 10), Wanted::Part { first: 4, last: 9 });
        assert_eq!(wanted("bytes=-3", 10), Wanted::Part { first: 7, last: 9 });
        assert_eq!(wanted("bytes=-30", 10), Wanted::Part { first: 0, last: 9 });
        assert_eq!(wanted("bytes=8-99999999999999999999999", 10), Wanted::Part { first: 8, last: 9 });
    }

    #[test]
    fn a_part_outside_the_file_is_not_satisfiable() {
        for header in ["bytes=10-", "bytes=10-12", "bytes=-0"] {
            assert_eq!(wanted(header, 10), Wanted::Unsatisfiable, "{header}");
        }
        assert_eq!(wanted("bytes=0-", 0), Wanted::Unsatisfiable);
    }

    #[test]
    fn what_is_no_range_is_ignored() {
        for header in
            ["", "bytes", "bytes=", "bytes=a-b", "bytes=3-1", "lines=0-3", "bytes=+1-2", "bytes=0-3,x", "bytes=1 -2"]
        {
            assert_eq!(wanted(header, 10), Wanted::Whole, "{header}");
        }
    }

    #[test]
    fn parts_that_touch_are_one_and_others_are_the_whole() {
        assert_eq!(wanted("bytes=0-3, 2-5,6-6", 10), Wanted::Part { first: 0, last: 6 });
        assert_eq!(wanted("bytes=0-1,8-9", 10), Wanted::Whole);
        assert_eq!(wanted(&format!("bytes={}", ["0-"; 5000].join(",")), 10), Wanted::Whole);
    }

    #[test]
    fn a_partial_upload_says_where_it_belongs() {
        assert_eq!(placed("bytes 3-5/10"), Some(Placed { first: 3, count: 3, total: Some(10) }));
        assert_eq!(placed("bytes 0-0/*"), Some(Placed { first: 0, count: 1, total: None }));
        let more = |header| placed(header).unwrap().more_follows();
        assert!(more("bytes 3-5/10") && !more("bytes 3-9/10") && !more("bytes 3-5/*"));
        for header in
            ["bytes 5-3/10", "bytes 0-10/10", "bytes */10", "bytes=0-1/2", "bytes 0-18446744073709551615/*", ""]
        {
            assert_eq!(placed(header), None, "{header}");
        }
    }

    proptest! {
        #[test]
        fn a_part_always_lies_inside_the_file(header in "bytes=[0-9,\\- ]{0,40}", length in 0u64..1000) {
            if let Wanted::Part { first, last } = wanted(&header, length) {
                prop_assert!(first <= last && last < length);
            }
        }

        #[test]
        fn any_text_is_survived(header in "\\PC{0,60}", length: u64) {
            let _ = wanted(&header, length);
            let _ = placed(&header);
        }
    }
}
