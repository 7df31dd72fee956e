//! Wrong codes on one connection of a client that cannot be asked (N7a): its one string is its whole challenge. And, in a table
//! of its own, keys that a connection offers.
//!
//! Kept in memory: a connection does not outlive the process. Bounded, and the oldest are forgotten first; the account's own
//! count stands behind it.

use crate::locked;
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::Mutex,
    time::{Duration, Instant},
};

/// How long a connection's wrong codes are remembered after the last.
const MEMORY: Duration = Duration::from_secs(600);
const CAPACITY: usize = 16_384;

/// See the module.
#[derive(Default)]
pub(crate) struct Connections {
    missed: Mutex<HashMap<(SocketAddr, String), (u32, Instant)>>,
}

impl Connections {
    /// Whether this connection has had its wrong codes for this user. A peer without a port is no connection.
    pub(crate) fn is_spent(&self, peer: SocketAddr, user: &str, allowed: u32) -> bool {
        let missed = locked(&self.missed);
        missed
            .get(&(peer, user.to_owned()))
            .is_some_and(|(count, last)| *count >= allowed.max(1) && last.elapsed() < MEMORY)
    }

    /// One more.
    pub(crate) fn missed(&self, peer: SocketAddr, user: &str) {
        if peer.port() == 0 {
            return;
        }
        let mut missed = locked(&self.missed);
        if missed.len() >= CAPACITY {
            missed.retain(|_, (_, last)| last.elapsed() < MEMORY);
        }
        if missed.len() >= CAPACITY
            && let Some(oldest) = missed.iter().min_by_key(|(_, (_, last))| *last).map(|(key, _)| key.clone())
        {
            missed.remove(&oldest);
        }
        let now = Instant::now();
        let (count, last) = missed.entry((peer, user.to_owned())).or_insert((0, now));
        if last.elapsed() >= MEMORY {
            *count = 0;
        }
        *count = count.saturating_add(1);
        *last = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_has_its_wrong_codes_and_no_more() {
        let connections = Connections::default();
        let peer = "192.0.2.1:1000".parse().unwrap();
        for _ in 0..3 {
            assert!(!connections.is_spent(peer, "alice", 3));
            connections.missed(peer, "alice");
        }
        assert!(connections.is_spent(peer, "alice", 3));
        assert!(!connections.is_spent("192.0.2.1:1001".parse().unwrap(), "alice", 3));
        assert!(!connections.is_spent(peer, "bob", 3));
    }

    #[test]
    fn the_memory_of_connections_is_bounded() {
        let connections = Connections::default();
        for n in 0..CAPACITY + 100 {
            connections.missed("192.0.2.1:1000".parse().unwrap(), &n.to_string());
        }
        assert_eq!(locked(&connections.missed).len(), CAPACITY);
    }
}
