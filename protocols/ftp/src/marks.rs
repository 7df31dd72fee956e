//! Marks inside TLS tickets: which connection made one, told when it comes back.
//!
//! The library keeps words of its user in tickets of TLS 1.3 alone, while half of the clients of FTP speak TLS 1.2. So the mark
//! is put around whatever the library seals, and around what it keeps of sessions without tickets, and taken off when the
//! library opens it. A client sees and forges neither.

use rustls::{
    HandshakeKind, ServerConfig, ServerConnection,
    server::{ProducesTickets, StoresServerSessions},
};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

/// What marks a connection.
pub(crate) type Mark = [u8; 17];

/// The tickets of one connection: those that it makes, and the one that was shown to it.
pub(crate) struct Marks {
    own: Mark,
    shown: Mutex<Option<Mark>>,
    tickets: Arc<dyn ProducesTickets>,
    sessions: Arc<dyn StoresServerSessions>,
}

impl Marks {
    /// The configuration for one connection that marks its tickets so. Sessions of `config` as it is do not resume under it.
    pub(crate) fn put_on(config: &ServerConfig, own: Mark) -> (Arc<ServerConfig>, Arc<Self>) {
        let mut config = config.clone();
        let (tickets, sessions) = (Arc::clone(&config.ticketer), Arc::clone(&config.session_storage));
        let marks = Arc::new(Self { own, shown: Mutex::new(None), tickets, sessions });
        config.ticketer = Arc::clone(&marks) as Arc<dyn ProducesTickets>;
        config.session_storage = Arc::clone(&marks) as Arc<dyn StoresServerSessions>;
        (Arc::new(config), marks)
    }

    /// The mark of the session that the connection resumed; `None` where it shook hands in full.
    pub(crate) fn resumed(&self, connection: &ServerConnection) -> Option<Mark> {
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        // The last one that was opened is the one that the library took.
        resumed.then(|| *self.shown.lock().unwrap_or_else(PoisonError::into_inner)).flatten()
    }

    fn marked(&self, plain: &[u8]) -> Vec<u8> {
        [self.own.as_slice(), plain].concat()
    }

    fn unmarked(&self, mut plain: Vec<u8>) -> Option<Vec<u8>> {
        let mark = *plain.first_chunk()?;
        plain.drain(..mark.len());
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = Some(mark);
        Some(plain)
    }
}

impl ProducesTickets for Marks {
    fn enabled(&self) -> bool {
        self.tickets.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        self.tickets.encrypt(&self.marked(plain))
    }

    fn decrypt(&self, cipher: &[u8]) -> Option<Vec<u8>> {
        self.tickets.decrypt(cipher).and_then(|plain| self.unmarked(plain))
    }
}

impl StoresServerSessions for Marks {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.sessions.put(key, self.marked(&value))
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.sessions.get(key).and_then(|value| self.unmarked(value))
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.sessions.take(key).and_then(|value| self.unmarked(value))
    }

    fn can_cache(&self) -> bool {
        self.sessions.can_cache()
    }
}

impl fmt::Debug for Marks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Marks(..)")
    }
}
