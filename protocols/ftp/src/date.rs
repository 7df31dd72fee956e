//! Times as FTP writes them: `YYYYMMDDHHMMSS[.sss]` in UTC (RFC 3659 section 2.3), and the column of `ls -l`.

use std::time::{Duration, SystemTime};
use time::{Date, Month, OffsetDateTime, PrimitiveDateTime, Time};

/// As `MDTM` and the fact `modify` tell it: whole seconds, as clients compare them.
pub(crate) fn stamp(time: SystemTime) -> String {
    let t = utc(time);
    format!("{:04}{:02}{:02}{:02}{:02}{:02}", t.year(), u8::from(t.month()), t.day(), t.hour(), t.minute(), t.second())
}

/// The time that a stamp means; seconds may be left out (`SITE UTIME` of some clients), a fraction is understood.
pub(crate) fn read_stamp(text: &[u8]) -> Option<SystemTime> {
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(dot) => (text.get(..dot)?, text.get(dot + 1..)?),
        None => (text, &b""[..]),
    };
    if ![12, 14].contains(&whole.len()) || !whole.iter().chain(fraction).all(u8::is_ascii_digit) || fraction.len() > 9 {
        return None;
    }
    let number =
        |from: usize, to: usize| -> Option<u16> { std::str::from_utf8(whole.get(from..to)?).ok()?.parse().ok() };
    let small = |from: usize| number(from, from + 2).and_then(|n| u8::try_from(n).ok());
    let month = Month::try_from(small(4)?).ok()?;
    let date = Date::from_calendar_date(i32::from(number(0, 4)?), month, small(6)?).ok()?;
    let second = if whole.len() == 14 { small(12)? } else { 0 };
    // A leap second is the last second of its minute.
    let time = Time::from_hms(small(8)?, small(10)?, second.min(if second == 60 { 59 } else { second })).ok()?;
    let seconds = PrimitiveDateTime::new(date, time).assume_utc().unix_timestamp();
    let nanos =
        fraction.iter().chain(std::iter::repeat(&b'0')).take(9).fold(0_u64, |n, d| n * 10 + u64::from(d - b'0'));
    let since = Duration::from_secs(u64::try_from(seconds).ok()?) + Duration::from_nanos(nanos);
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// `Nov 24 10:32`, or `Nov 24  2024` where it is half a year ago or in the future. UTC.
pub(crate) fn column(time: SystemTime, now: SystemTime) -> String {
    let t = utc(time);
    let month = t.month().to_string();
    let month = month.get(..3).unwrap_or("Jan");
    if now.duration_since(time).is_ok_and(|age| age < HALF_A_YEAR) {
        format!("{month} {:>2} {:02}:{:02}", t.day(), t.hour(), t.minute())
    } else {
        format!("{month} {:>2} {:>5}", t.day(), t.year())
    }
}

/// A time that no calendar holds is shown as the beginning of time.
fn utc(time: SystemTime) -> OffsetDateTime {
    let seconds = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).ok(),
        Err(before) => i64::try_from(before.duration().as_secs()).ok().map(|seconds| -seconds),
    };
    let found = seconds.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    found.filter(|t| (0..=9999).contains(&t.year())).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

const HALF_A_YEAR: Duration = Duration::from_secs(86_400 * 365 / 2);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn stamps_and_columns_are_in_utc() {
        assert_eq!(stamp(at(1_732_444_320)), "20241124103200");
        assert_eq!(column(at(1_732_444_320), at(1_732_444_400)), "Nov 24 10:32");
        assert_eq!(column(at(1_732_444_320), at(1_832_444_400)), "Nov 24  2024");
        assert_eq!(read_stamp(b"20241124103200.5"), Some(at(1_732_444_320) + Duration::from_millis(500)));
        assert_eq!(read_stamp(b"202411241032"), Some(at(1_732_444_320)));
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "2024",
            "20240230000000",
            "20241324000000",
            "20241124250000",
            "2024112410320x",
            "19691231235959",
            "20241124103200.x",
        ] {
            assert_eq!(read_stamp(text.as_bytes()), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_stamp_is_read_back(seconds in 0_u64..4_000_000_000) {
            prop_assert_eq!(read_stamp(stamp(at(seconds)).as_bytes()), Some(at(seconds)));
        }

        #[test]
        fn any_bytes_are_a_time_or_none(bytes in proptest::collection::vec(any::<u8>(), 0..24)) {
            let _ = read_stamp(&bytes);
        }

        #[test]
        fn any_time_can_be_shown(seconds in any::<u32>(), far in any::<bool>()) {
            let time = if far { SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::from(seconds) << 30)) } else { Some(at(u64::from(seconds))) };
            if let Some(time) = time {
                prop_assert_eq!(stamp(time).len(), 14);
            }
        }
    }
}
