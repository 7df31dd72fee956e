//! Sockets before anyone is known.
//!
//! Every connection passes here first: bans, limits on strangers, the PROXY header, and the grace time within which a
//! stranger must have logged in, are rules of the listener, kept once for all doors. It parses no protocol and knows no names.
//!
//! Binding and serving are two steps, so that a port in use is told before anything starts.

mod address_book;
mod arrivals;
mod frontend;
mod listener;
mod proxy;
mod stop;
mod stranger;
mod tls;

pub use address_book::AddressBook;
pub use arrivals::ConnectionBan;
pub use frontend::{Connection, Frontend};
pub use listener::{BindError, Bound, House, ListenerControl, ListenerSettings, NetLimits};
pub use proxy::announced_client;
pub use stop::{Stop, StopSource};
pub use stranger::{Eviction, Stranger};
pub use tls::{ClientTrust, OldestTls, TlsError, TlsMaterial};
