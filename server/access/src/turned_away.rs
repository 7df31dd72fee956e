//! Logins that were turned away for want of room, and how they are recorded: the first of an address and a minute in full, the
//! rest of that minute as one line with their number. Whoever is turned away costs no hash, so a record for each would let a
//! stranger write the disk full faster than anything else here.
//!
//! Never: decides who is turned away, or keeps more than a few thousand addresses; the oldest makes room and gets its line.

use crate::{gate::Inner, locked};
use lockgate_events::Event;
use lockgate_model::Origin;
use std::{collections::HashMap, net::IpAddr, sync::Mutex};

const MINUTE_MS: u64 = 60_000;
const ADDRESSES: usize = 4096;

/// See the module.
#[derive(Default)]
pub(crate) struct TurnedAway {
    minutes: Mutex<HashMap<String, Minute>>,
}

struct Minute {
    address: IpAddr,
    began_ms: u64,
    more: u64,
}

/// Logins of one address that have no record of their own.
pub(crate) struct Rest {
    address: IpAddr,
    count: u64,
}

impl Minute {
    fn rest(self) -> Option<Rest> {
        (self.more > 0).then_some(Rest { address: self.address, count: self.more })
    }
}

impl TurnedAway {
    /// One more: `true` where it gets a record of its own; and what of others is to be told now.
    pub(crate) fn note(&self, origin: &Origin, now_ms: u64) -> (bool, Option<Rest>) {
        let key = origin.address_key();
        let mut minutes = locked(&self.minutes);
        if let Some(minute) = minutes.get_mut(&key).filter(|minute| now_ms.abs_diff(minute.began_ms) < MINUTE_MS) {
            minute.more = minute.more.saturating_add(1);
            return (false, None);
        }
        let mut passed = minutes.insert(key, Minute { address: origin.address(), began_ms: now_ms, more: 0 });
        if minutes.len() > ADDRESSES
            && let Some(oldest) = minutes.iter().min_by_key(|(_, minute)| minute.began_ms).map(|(key, _)| key.clone())
        {
            passed = minutes.remove(&oldest);
        }
        (true, passed.and_then(Minute::rest))
    }

    /// Takes out the minutes that are over.
    pub(crate) fn over(&self, now_ms: u64) -> Vec<Rest> {
        let is_over = |_: &String, minute: &mut Minute| now_ms.abs_diff(minute.began_ms) >= MINUTE_MS;
        locked(&self.minutes).extract_if(is_over).filter_map(|(_, minute)| minute.rest()).collect()
    }

    /// Takes out everything.
    pub(crate) fn all(&self) -> Vec<Rest> {
        locked(&self.minutes).drain().filter_map(|(_, minute)| minute.rest()).collect()
    }
}

impl Inner {
    pub(crate) fn tell_rest(&self, rest: impl IntoIterator<Item = Rest>) {
        for Rest { address, count } in rest {
            self.events.announce(&Event::TurnedAway { address, count });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::origin;
    use lockgate_model::Protocol;

    #[test]
    fn the_first_of_a_minute_stands_alone_and_the_rest_are_one_number() {
        let away = TurnedAway::default();
        let here = origin(Protocol::Ftp, "192.0.2.1");
        assert!(away.note(&here, 1000).0);
        for _ in 0..99 {
            assert!(!away.note(&here, 2000).0);
        }
        assert!(away.note(&origin(Protocol::Ftp, "192.0.2.2"), 2000).0);
        assert!(away.over(60_999).is_empty());
        let rest: Vec<(String, u64)> =
            away.over(61_000).into_iter().map(|rest| (rest.address.to_string(), rest.count)).collect();
        assert_eq!(rest, [("192.0.2.1".to_owned(), 99)]);
        assert!(away.note(&here, 62_000).0);
    }

    #[test]
    fn the_memory_of_those_turned_away_is_bounded_and_loses_no_number() {
        let away = TurnedAway::default();
        let mut told = 0;
        for n in 0..ADDRESSES as u64 + 100 {
            let from = origin(Protocol::Ftp, &format!("10.{}.{}.1", n / 250, n % 250));
            for _ in 0..3 {
                told += away.note(&from, n).1.map_or(0, |rest| rest.count);
            }
        }
        assert_eq!(locked(&away.minutes).len(), ADDRESSES);
        assert_eq!(told, 200);
        assert_eq!(away.all().iter().map(|rest| rest.count).sum::<u64>(), 2 * ADDRESSES as u64);
    }
}
