//! Whether a data connection under TLS belongs to its control connection.
//!
//! Anybody who can use the client's address could come in by its data port. A TLS ticket alone would prove only that its
//! holder spoke to this server once; so each control connection puts a tag of its own into its tickets ([`crate::marks`]),
//! and a data connection that resumes a session with that very tag is *its* data connection.
//!
//! Not every client can show it each time: some never resume; some use a ticket once, and have none left after an upload, on
//! whose connection they read nothing and so miss the next one; some share what they hold among all their connections. So
//! unless an operator decides for all ([`SessionReuse`]), it is demanded of a client from the moment on when it has shown that
//! it goes on using one ticket: the control connection's came back more often than there are of them. Then a ticket of
//! another control connection of the same user at the same address will do as well. The demand ends with the life of the
//! tickets, after which no client could meet it.

use crate::marks::Mark;
use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Whether data connections under TLS must resume the session of their control connection (`require_session_reuse`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SessionReuse {
    /// Once the client has shown that it keeps using its tickets.
    #[default]
    Auto,
    /// Always, and of their own control connection: no other will do.
    Always,
    /// Never.
    Never,
}

/// What tells one control connection's tickets from another's.
type Tag = [u8; 16];

/// The tags of logged-in control connections, and whose they are.
#[derive(Clone, Default)]
pub(crate) struct Kin(Arc<Mutex<HashMap<Tag, Owner>>>);

#[derive(Clone, PartialEq, Eq)]
struct Owner {
    user: String,
    address: IpAddr,
}

impl Kin {
    fn known(&self) -> MutexGuard<'_, HashMap<Tag, Owner>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What ties the data connections of one control connection to it. Dropped, its tickets are nobody's.
pub(crate) struct Ties {
    tag: Tag,
    made: Instant,
    demand: SessionReuse,
    /// How many tickets the control connection sends.
    tickets: usize,
    /// How often one of them came back.
    returned: AtomicUsize,
    kin: Kin,
}

/// The end of the tag in tickets of the control connection, and in those of data connections.
const OF_CONTROL: u8 = 0;
const OF_DATA: u8 = 1;

impl Ties {
    /// Ties of a new control connection that will send so many tickets.
    pub(crate) fn new(demand: SessionReuse, tickets: usize, kin: &Kin) -> io::Result<Self> {
        let mut tag = [0; 16];
        aws_lc_rs::rand::fill(&mut tag).map_err(|_| io::Error::other("no random numbers"))?;
        Ok(Self { tag, made: Instant::now(), demand, tickets, returned: AtomicUsize::new(0), kin: kin.clone() })
    }

    /// What the tickets of the control connection hold.
    pub(crate) fn in_control_tickets(&self) -> Mark {
        self.marked(OF_CONTROL)
    }

    /// What the tickets of its data connections hold.
    pub(crate) fn in_data_tickets(&self) -> Mark {
        self.marked(OF_DATA)
    }

    fn marked(&self, end: u8) -> Mark {
        let mut marked = [end; 17];
        if let Some((tag, _)) = marked.split_first_chunk_mut::<16>() {
            *tag = self.tag;
        }
        marked
    }

    /// Somebody has logged in on the control connection.
    pub(crate) fn belong_to(&self, user: &str, address: IpAddr) {
        let owner = Owner { user: user.to_owned(), address: address.to_canonical() };
        self.kin.known().insert(self.tag, owner);
    }

    /// Whether a data connection is let in that has shown this ticket; `None`: it shook hands in full.
    pub(crate) fn admits(&self, shown: Option<Mark>) -> bool {
        let shown = shown.as_ref().and_then(|shown| shown.split_first_chunk::<16>());
        let own = shown.is_some_and(|(tag, _)| *tag == self.tag);
        match self.demand {
            SessionReuse::Never => true,
            SessionReuse::Always => own,
            SessionReuse::Auto => {
                let demanded = self.returned.load(Ordering::Relaxed) > self.tickets && self.made.elapsed() < LIFE;
                if own && shown.is_some_and(|(_, end)| *end == [OF_CONTROL]) {
                    self.returned.fetch_add(1, Ordering::Relaxed);
                }
                own || !demanded || shown.is_some_and(|(tag, _)| self.is_kin(tag))
            }
        }
    }

    fn is_kin(&self, tag: &Tag) -> bool {
        let known = self.kin.known();
        known.get(&self.tag).is_some_and(|owner| known.get(tag) == Some(owner))
    }
}

impl Drop for Ties {
    fn drop(&mut self) {
        self.kin.known().remove(&self.tag);
    }
}

/// How long rustls takes a ticket at least: its keys change every six hours, and the one before is kept.
const LIFE: Duration = Duration::from_secs(6 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn ties(demand: SessionReuse, kin: &Kin) -> Ties {
        Ties::new(demand, 2, kin).unwrap()
    }

    #[test]
    fn always_means_the_own_control_connection_and_never_means_anybody() {
        let kin = Kin::default();
        let (own, other) = (ties(SessionReuse::Always, &kin), ties(SessionReuse::Always, &kin));
        own.belong_to("alice", HERE);
        other.belong_to("alice", HERE);
        assert!(own.admits(Some(own.in_control_tickets())) && own.admits(Some(own.in_data_tickets())));
        assert!(!own.admits(None) && !own.admits(Some(other.in_control_tickets())));
        let open = ties(SessionReuse::Never, &kin);
        assert!(open.admits(None) && open.admits(Some(other.in_control_tickets())));
    }

    #[test]
    fn a_client_that_uses_each_ticket_once_is_never_asked_for_more() {
        let own = ties(SessionReuse::Auto, &Kin::default());
        for _ in 0..2 {
            assert!(own.admits(Some(own.in_control_tickets())));
        }
        for _ in 0..10 {
            assert!(own.admits(Some(own.in_data_tickets())) && own.admits(None));
        }
    }

    #[test]
    fn a_client_that_keeps_using_its_tickets_must_go_on_doing_so() {
        let kin = Kin::default();
        let own = ties(SessionReuse::Auto, &kin);
        own.belong_to("alice", HERE);
        for _ in 0..3 {
            assert!(own.admits(Some(own.in_control_tickets())));
        }
        assert!(!own.admits(None), "a stranger at the client's address");
        assert!(own.admits(Some(own.in_control_tickets())) && own.admits(Some(own.in_data_tickets())));
        let of = |user: &str, address: &str| {
            let ties = ties(SessionReuse::Auto, &kin);
            ties.belong_to(user, address.parse().unwrap());
            ties
        };
        let (second, bob) = (of("alice", "::ffff:127.0.0.1"), of("bob", "127.0.0.1"));
        let elsewhere = of("alice", "127.0.0.2");
        assert!(own.admits(Some(second.in_data_tickets())), "the same user's other connection");
        for other in [&bob, &elsewhere, &ties(SessionReuse::Auto, &kin)] {
            assert!(!own.admits(Some(other.in_control_tickets())));
        }
        let gone = second.in_control_tickets();
        drop(second);
        assert!(!own.admits(Some(gone)));
        drop((own, bob, elsewhere));
        assert!(kin.known().is_empty());
    }
}
