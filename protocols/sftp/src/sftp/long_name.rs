//! The line that version 3 wants beside each name of a listing: what `ls -l` prints.
//!
//! Clients show it or take it apart by columns, so the columns are those of OpenSSH's server. Owner and group are numbers:
//! the host's account names are nobody's business.

use super::attrs::full_mode;
use lockgate_vfs::{Kind, Metadata};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The line for `name`, UTC, seen at `now`.
pub(crate) fn long_name(name: &[u8], metadata: &Metadata, now: SystemTime) -> Vec<u8> {
    let mut line = format!(
        "{} {:>3} {:<8} {:<8} {:>8} {} ",
        letters(metadata),
        metadata.links,
        metadata.uid,
        metadata.gid,
        metadata.size,
        date(metadata.modified, now),
    )
    .into_bytes();
    line.extend_from_slice(name);
    line
}

fn letters(metadata: &Metadata) -> String {
    let mode = full_mode(metadata);
    let kind = match metadata.kind {
        Kind::File => '-',
        Kind::Folder => 'd',
        Kind::Link => 'l',
    };
    let mut text = String::with_capacity(10);
    text.push(kind);
    for (shift, special, plain) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => plain,
            (true, false) => plain.to_ascii_uppercase(),
        });
    }
    text
}

/// `Nov 24 10:32`, or `Nov 24  2024` where it is half a year ago or in the future.
fn date(time: SystemTime, now: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (year, month, day) = civil(seconds / DAY);
    let name = usize::try_from(month).ok().and_then(|month| MONTHS.get(month.saturating_sub(1))).unwrap_or(&"Jan");
    let recent = now.duration_since(time).is_ok_and(|age| age < HALF_A_YEAR);
    if recent {
        let minutes = seconds % DAY / 60;
        format!("{name} {day:>2} {:02}:{:02}", minutes / 60, minutes % 60)
    } else {
        format!("{name} {day:>2} {year:>5}")
    }
}

/// Year, month and day of a number of days since 1970, by counting in years that begin in March, so that the leap day is
/// the last of its year.
fn civil(days: u64) -> (u64, u64, u64) {
    // From 1 March of the year 0.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    (year_of_era + era * 400 + u64::from(month <= 2), month, day)
}

const DAY: u64 = 86_400;
const HALF_A_YEAR: Duration = Duration::from_secs(DAY * 365 / 2);
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

#[cfg(test)]
mod tests {
    use super::*;

    fn file(mode: u32, seconds: u64) -> Metadata {
        Metadata {
            kind: Kind::File,
            size: 1234,
            modified: UNIX_EPOCH + Duration::from_secs(seconds),
            accessed: UNIX_EPOCH,
            mode,
            uid: 1000,
            gid: 100,
            links: 1,
            unique: (0, 0),
            etag: String::new(),
        }
    }

    #[test]
    fn the_line_has_the_columns_of_ls() {
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let line = long_name(b"a b", &file(0o644, 1_699_999_999), now);
        assert_eq!(String::from_utf8(line).unwrap(), "-rw-r--r--   1 1000     100          1234 Nov 14 22:13 a b");
        let line = long_name(b"x", &file(0o4751, 951_782_400), now);
        assert_eq!(String::from_utf8(line).unwrap(), "-rwsr-x--x   1 1000     100          1234 Feb 29  2000 x");
    }

    #[test]
    fn days_become_dates_over_leap_years_and_centuries() {
        assert_eq!(civil(0), (1970, 1, 1));
        assert_eq!(civil(11_016), (2000, 2, 29));
        assert_eq!(civil(19_782), (2024, 2, 29));
        assert_eq!(civil(47_540), (2100, 2, 28));
        assert_eq!(civil(47_541), (2100, 3, 1));
    }
}
