//! Who is shut out.
//!
//! One list for all listeners, asked before the first byte of a connection, so that a banned address costs an accept and
//! nothing more. It is bounded: where more addresses are banned than it holds, the bans that would end soonest go first.
//! It never decides about a ban: the gate does, for wrong logins, and the listener, for connecting too often. The gate's
//! ledger outlives the process, so what the listener banned waits here until the gate has taken it over.

use ipnet::IpNet;
use lockgate_model::address_key;
use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::{SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// The addresses that get no answer. Filled by the gate (and from its ledger at start), asked by every listener before the
/// first byte. IPv6 addresses are shut out by their /64.
#[derive(Clone, Debug)]
pub struct AddressBook {
    bans: Arc<RwLock<Bans>>,
    exempt: Arc<RwLock<Vec<IpNet>>>,
    unrecorded: Arc<Mutex<Vec<(IpAddr, u64)>>>,
    changes: Arc<watch::Sender<()>>,
}

impl AddressBook {
    /// The most addresses it holds.
    pub const CAPACITY: usize = 65_536;

    /// Nobody is shut out.
    #[must_use]
    pub fn new() -> Self {
        Self {
            bans: Arc::default(),
            exempt: Arc::default(),
            unrecorded: Arc::default(),
            changes: Arc::new(watch::Sender::new(())),
        }
    }

    /// Networks that are never shut out, whatever the list says (`ban_exempt`).
    pub fn exempt(&self, networks: Vec<IpNet>) {
        *self.exempt.write().unwrap_or_else(PoisonError::into_inner) = networks;
        self.changes.send_replace(());
    }

    /// Whether the address is never shut out.
    #[must_use]
    pub fn is_exempt(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        let exempt = self.exempt.read().unwrap_or_else(PoisonError::into_inner);
        exempt.iter().any(|network| network.contains(&address))
    }

    /// A listener's own ban: as [`AddressBook::ban`], and kept for whoever records bans.
    pub(crate) fn ban_and_note(&self, address: IpAddr, until_ms: u64) {
        self.ban(address, until_ms);
        let mut unrecorded = self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner);
        if unrecorded.len() < Self::CAPACITY {
            unrecorded.push((address, until_ms));
        }
    }

    /// The bans that listeners made since the last call, with their ends (Unix ms): for the ledger.
    #[must_use]
    pub fn take_unrecorded(&self) -> Vec<(IpAddr, u64)> {
        std::mem::take(&mut *self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Shuts an address out until a time (Unix ms), over an earlier entry. Strangers from it are told to go.
    pub fn ban(&self, address: IpAddr, until_ms: u64) {
        self.change(|bans| bans.put(address_key(address), until_ms, now_ms()));
    }

    /// Lets an address in again.
    pub fn clear(&self, address: IpAddr) {
        self.change(|bans| bans.remove(&address_key(address)));
    }

    /// Puts the whole list in the place of the present one (another process may have changed the ledger). Bans that are not
    /// recorded yet stay.
    pub fn replace(&self, list: Vec<(IpAddr, u64)>) {
        let now = now_ms();
        let mut fresh = Bans::default();
        let unrecorded = self.unrecorded.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (address, until_ms) in list.into_iter().chain(unrecorded) {
            fresh.put(address_key(address), until_ms, now);
        }
        self.change(|bans| *bans = fresh);
    }

    /// Whether the address is shut out now.
    #[must_use]
    pub fn is_banned(&self, address: IpAddr) -> bool {
        let bans = self.bans.read().unwrap_or_else(PoisonError::into_inner);
        // The usual list is empty, and then no text has to be made of the address.
        !bans.until.is_empty()
            && bans.until.get(&address_key(address)).is_some_and(|until| *until > now_ms())
            && !self.is_exempt(address)
    }

    /// Wakes at each change of the list.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    fn change(&self, act: impl FnOnce(&mut Bans)) {
        act(&mut self.bans.write().unwrap_or_else(PoisonError::into_inner));
        self.changes.send_replace(());
    }
}

impl Default for AddressBook {
    fn default() -> Self {
        Self::new()
    }
}

/// The list, found by address and by end.
#[derive(Debug, Default)]
struct Bans {
    until: HashMap<String, u64>,
    ends: BTreeSet<(u64, String)>,
}

impl Bans {
    fn put(&mut self, key: String, until_ms: u64, now: u64) {
        self.remove(&key);
        while self.ends.first().is_some_and(|(end, _)| *end <= now) || self.until.len() >= AddressBook::CAPACITY {
            let Some((_, ended)) = self.ends.pop_first() else { break };
            self.until.remove(&ended);
        }
        if until_ms > now {
            self.ends.insert((until_ms, key.clone()));
            self.until.insert(key, until_ms);
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some((key, until)) = self.until.remove_entry(key) {
            self.ends.remove(&(until, key));
        }
    }
}

/// Unix time in milliseconds. A clock before 1970 counts as 1970: bans then hold.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_ban_holds_until_its_end_and_can_be_lifted() {
        let book = AddressBook::new();
        book.ban(address("192.0.2.1"), now_ms() + 60_000);
        book.ban(address("192.0.2.2"), now_ms().saturating_sub(1));
        assert!(book.is_banned(address("192.0.2.1")) && book.is_banned(address("::ffff:192.0.2.1")));
        assert!(!book.is_banned(address("192.0.2.2")), "a ban of the past holds nobody");
        book.clear(address("192.0.2.1"));
        assert!(!book.is_banned(address("192.0.2.1")));
    }

    #[test]
    fn an_ipv6_network_is_shut_out_as_a_whole() {
        let book = AddressBook::new();
        book.ban(address("2001:db8:1:2::7"), now_ms() + 60_000);
        assert!(book.is_banned(address("2001:db8:1:2:ffff::1")));
        assert!(!book.is_banned(address("2001:db8:1:3::7")));
    }

    #[test]
    fn the_list_can_be_replaced_as_a_whole() {
        let book = AddressBook::new();
        book.ban(address("192.0.2.1"), now_ms() + 60_000);
        book.replace(vec![(address("192.0.2.9"), now_ms() + 60_000)]);
        assert!(!book.is_banned(address("192.0.2.1")) && book.is_banned(address("192.0.2.9")));
    }

    #[test]
    fn an_exempt_network_is_never_shut_out() {
        let book = AddressBook::new();
        book.exempt(vec!["192.0.2.0/24".parse().unwrap()]);
        book.ban(address("192.0.2.1"), u64::MAX);
        book.ban(address("198.51.100.1"), u64::MAX);
        assert!(!book.is_banned(address("192.0.2.1")) && !book.is_banned(address("::ffff:192.0.2.1")));
        assert!(book.is_banned(address("198.51.100.1")));
        book.exempt(Vec::new());
        assert!(book.is_banned(address("192.0.2.1")), "the ban was there all the time");
    }

    #[test]
    fn a_listeners_ban_outlives_a_new_list_until_it_is_recorded() {
        let book = AddressBook::new();
        book.ban_and_note(address("192.0.2.1"), u64::MAX);
        book.replace(Vec::new());
        assert!(book.is_banned(address("192.0.2.1")));
        assert_eq!(book.take_unrecorded(), [(address("192.0.2.1"), u64::MAX)]);
        book.replace(Vec::new());
        assert!(!book.is_banned(address("192.0.2.1")), "lifted by whoever keeps the record");
    }

    #[test]
    fn a_flood_of_bans_keeps_the_longest_and_stays_bounded() {
        let mut bans = Bans::default();
        for n in 0..AddressBook::CAPACITY as u64 + 10 {
            bans.put(format!("unit {n}"), 1_000 + n, 1);
        }
        assert_eq!(bans.until.len(), AddressBook::CAPACITY);
        assert_eq!(bans.ends.len(), AddressBook::CAPACITY);
        assert!(!bans.until.contains_key("unit 9") && bans.until.contains_key("unit 10"));
    }
}
