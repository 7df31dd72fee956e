//! How often an address connects, for the ban of one that does so too often.
//!
//! A count within a window that begins with the first connection in it, kept in memory: a restart forgives a flood that has
//! no record anyway. Bounded: where more addresses come within their windows than it holds, all begin anew.
//!
//! Never: bans by itself, or counts for longer than one window.

use lockgate_model::address_key;
use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// When an address is banned for connecting too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionBan {
    /// So many connections …
    pub connections: u32,
    /// … within this time …
    pub window: Duration,
    /// … bring a ban of so long.
    pub ban: Duration,
}

/// The most addresses that are counted.
const CAPACITY: usize = 65_536;

/// Connections by address, each within its window.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    seen: Mutex<HashMap<String, (Instant, u32)>>,
}

impl Arrivals {
    /// Counts one connection; `true` where it is the one too many. The count begins anew then.
    pub(crate) fn is_one_too_many(&self, address: IpAddr, rule: ConnectionBan) -> bool {
        let now = Instant::now();
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= CAPACITY {
            seen.retain(|_, (since, _)| now.duration_since(*since) < rule.window);
            if seen.len() >= CAPACITY {
                seen.clear();
            }
        }
        let key = address_key(address);
        let (since, count) = seen.entry(key.clone()).or_insert((now, 0));
        if now.duration_since(*since) >= rule.window {
            (*since, *count) = (now, 0);
        }
        *count = count.saturating_add(1);
        let over = *count > rule.connections;
        if over {
            seen.remove(&key);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: ConnectionBan =
        ConnectionBan { connections: 3, window: Duration::from_secs(60), ban: Duration::from_secs(1) };

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn the_connection_past_the_limit_is_one_too_many_for_its_address_alone() {
        let arrivals = Arrivals::default();
        let four: Vec<bool> = (0..4).map(|_| arrivals.is_one_too_many(address(1), RULE)).collect();
        assert_eq!(four, [false, false, false, true]);
        assert!(!arrivals.is_one_too_many(address(2), RULE));
    }

    #[test]
    fn a_window_that_has_passed_counts_for_nothing() {
        let arrivals = Arrivals::default();
        let rule = ConnectionBan { window: Duration::ZERO, ..RULE };
        assert!((0..10).all(|_| !arrivals.is_one_too_many(address(1), rule)));
    }

    #[test]
    fn the_counts_are_bounded() {
        let arrivals = Arrivals::default();
        for n in 0..u32::try_from(CAPACITY).unwrap() + 10 {
            arrivals.is_one_too_many(IpAddr::from(n.to_be_bytes()), RULE);
        }
        assert!(arrivals.seen.lock().unwrap().len() <= CAPACITY);
    }
}
