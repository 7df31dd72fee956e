//! Which declared name someone probably meant.

use super::KEYS;

/// Farther apart than this, two names are two names.
const FARTHEST: usize = 2;
/// Names shorter than this are near only at a distance of one.
const SHORT: usize = 12;

/// The declared name nearest to `name`, if one is near enough to be meant. Case and the kind of separator do not count.
/// `only` picks the names that come into question.
pub(crate) fn closest(name: &str, only: impl Fn(&str) -> bool) -> Option<&'static str> {
    let plain = fold(name);
    KEYS.iter()
        .map(|key| key.name())
        .filter(|known| only(known))
        .filter_map(|known| {
            let other = fold(known);
            let limit = if plain.len().min(other.len()) < SHORT { 1 } else { FARTHEST };
            let apart = distance(&plain, &other);
            (apart <= limit).then_some((apart, known))
        })
        .min_by_key(|(apart, _)| *apart)
        .map(|(_, known)| known)
}

fn fold(name: &str) -> Vec<char> {
    name.chars()
        .take(256)
        .map(|c| if matches!(c, '-' | '.' | ':' | ' ') { '_' } else { c.to_ascii_lowercase() })
        .collect()
}

/// How many letters to insert, drop, change or swap with a neighbour to make one name of the other.
fn distance(a: &[char], b: &[char]) -> usize {
    if a.len().abs_diff(b.len()) > FARTHEST {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (row, &left) in a.iter().enumerate() {
        let mut next = vec![row + 1];
        for (column, &right) in b.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX - 1);
            let changed = at(&last, column) + usize::from(left != right);
            let mut best = changed.min(at(&last, column + 1) + 1).min(at(&next, column) + 1);
            let swapped = row > 0 && column > 0 && a.get(row - 1) == Some(&right) && b.get(column - 1) == Some(&left);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut last, next);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_missing_doubled_wrong_or_swapped_is_near() {
        for name in [
            "otp_validated_login",
            "opt_validated_logins",
            "otp_validatedd_logins",
            "otp_validated_logims",
            "OTP_VALIDATED_LOGINS",
            "otp-validated-logins",
            "x:otp_validated_logins",
        ] {
            assert_eq!(closest(name, |_| true), Some("otp_validated_logins"), "{name}");
        }
    }

    #[test]
    fn another_word_is_not_near() {
        for name in ["max_threads", "otp_colour", "x", "", "port_forwarding", "http_post", "ftp_port"] {
            assert_eq!(closest(name, |_| true), None, "{name}");
        }
    }
}
