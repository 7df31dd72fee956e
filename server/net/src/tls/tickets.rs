//! Session tickets for the connections of one FTP session: the first handshake hands them out, all of them take them.
//!
//! rustls has one configuration for what FTP has two kinds of connections for, and libunftp takes one; what tells the kinds
//! apart is that the control connection's handshake comes first. The keys stay those of the door.

use rustls::server::ProducesTickets;
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// Hands out a number of tickets, then none.
#[derive(Debug)]
pub(super) struct FirstHandshakeOnly {
    shared: Arc<dyn ProducesTickets>,
    left: AtomicUsize,
}

impl FirstHandshakeOnly {
    /// As many as one handshake sends.
    pub(super) fn new(shared: Arc<dyn ProducesTickets>, in_one_handshake: usize) -> Self {
        Self { shared, left: AtomicUsize::new(in_one_handshake) }
    }
}

impl ProducesTickets for FirstHandshakeOnly {
    fn enabled(&self) -> bool {
        self.shared.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.shared.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let one_less = |left: usize| left.checked_sub(1);
        self.left.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_less).ok()?;
        self.shared.encrypt(plain)
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.shared.decrypt(cipher)
    }
}
