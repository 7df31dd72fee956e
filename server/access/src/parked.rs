//! Challenges that wait for a later request of their client (HTTP): found by id, handed out once, to that client alone.
//!
//! In memory and bounded, by address, by user and in all; what is pushed out is a login abandoned.

use crate::{Challenge, challenge::Client, locked, reason::Reason};
use lockgate_model::{Origin, address_key};
use std::{collections::HashMap, sync::Mutex};

const OF_A_USER: usize = 8;
const OF_AN_ADDRESS: usize = 64;
const IN_ALL: usize = 4096;

/// See the module.
#[derive(Default)]
pub(crate) struct Parked {
    waiting: Mutex<HashMap<String, Challenge>>,
}

impl Parked {
    /// Keeps a challenge; the oldest of its user, its address or of all makes room.
    pub(crate) fn put(&self, challenge: Challenge, now_ms: u64) {
        let mut waiting = locked(&self.waiting);
        waiting.retain(|_, other| other.pending.until_ms > now_ms);
        let user = challenge.pending.who.key.clone();
        let address = address_key(challenge.pending.client.address);
        make_room(&mut waiting, OF_A_USER, |other| other.pending.who.key == user);
        make_room(&mut waiting, OF_AN_ADDRESS, |other| address_key(other.pending.client.address) == address);
        make_room(&mut waiting, IN_ALL, |_| true);
        waiting.insert(challenge.id().as_str().to_owned(), challenge);
    }

    /// Takes a challenge out, where it is this client's. Of many that ask at once, one gets it; anybody else takes nothing, and
    /// gets the reason and the name that it was put for, for the record.
    pub(crate) fn take(&self, origin: &Origin, id: &str, now_ms: u64) -> Result<Challenge, (Reason, String)> {
        let mut waiting = locked(&self.waiting);
        let Some(found) = waiting.get(id) else {
            return Err((Reason::ChallengeUnknown, String::new()));
        };
        let said = found.pending.who.said.clone();
        if found.pending.client != Client::of(origin) {
            return Err((Reason::ChallengeForeign, said));
        }
        let over = (Reason::ChallengeExpired, said);
        waiting.remove(id).filter(|challenge| challenge.pending.until_ms > now_ms).ok_or(over)
    }

    /// Drops what has passed.
    pub(crate) fn sweep(&self, now_ms: u64) {
        locked(&self.waiting).retain(|_, challenge| challenge.pending.until_ms > now_ms);
    }
}

fn make_room(waiting: &mut HashMap<String, Challenge>, limit: usize, mut counts: impl FnMut(&Challenge) -> bool) {
    let mut own: Vec<(u64, String)> = waiting
        .iter()
        .filter(|(_, challenge)| counts(challenge))
        .map(|(id, challenge)| (challenge.pending.until_ms, id.clone()))
        .collect();
    if own.len() < limit {
        return;
    }
    own.sort_unstable();
    for (_, id) in own.iter().take(own.len() + 1 - limit) {
        waiting.remove(id);
    }
}
