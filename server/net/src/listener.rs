//! Binding, and the loop that accepts.
//!
//! Two steps: [`Bound::bind`] takes the port and can fail, [`Bound::serve`] accepts and cannot. Each connection gets a task
//! of its own, whose panic is that connection's alone. In front of the door stand, in this order: the ban list (before a
//! byte is read), the PROXY header where the listener expects one, the connections of the listener and of the address,
//! and the place among strangers. Where the system has no descriptor left the loop waits instead of spinning.
//!
//! A listener with `proxy_protocol` networks serves nobody else: a connection from outside them, or without a header, is
//! closed. So a balancer's rules cannot be walked around, and no address is ever taken from a stranger's word. The balancer's
//! own address is never judged: a ban on it would close the listener for everybody. Where it speaks for itself (a health
//! check), it is served as itself, and the limits on strangers and connections hold for it, but neither bans nor their count.

use crate::{
    AddressBook, Connection, ConnectionBan, Eviction, Frontend, Stop,
    address_book::now_ms,
    arrivals::Arrivals,
    proxy::{HEADER_TIME, Told, read_header},
    stranger::Crowd,
};
use ipnet::IpNet;
use lockgate_model::Door;
use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};
use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{debug, error, warn};

/// Why a listener could not be bound.
#[derive(Debug, thiserror::Error)]
#[error("{door} cannot listen on {address}: {source}")]
pub struct BindError {
    /// The door.
    pub door: Door,
    /// The address wanted.
    pub address: SocketAddr,
    /// What the system says.
    pub source: io::Error,
}

/// One entry of `server_list`, as far as sockets go.
#[derive(Clone, Debug)]
pub struct ListenerSettings {
    /// The kind.
    pub door: Door,
    /// Where; port 0 takes any free port.
    pub address: SocketAddr,
    /// Networks whose PROXY header is believed (and demanded). Where there is one, connections from elsewhere are closed.
    pub proxy_protocol: Vec<IpNet>,
    /// Connections at once on this listener.
    pub max_connections: usize,
}

/// Limits over all listeners. A zero counts as one.
#[derive(Clone, Copy, Debug)]
pub struct NetLimits {
    /// Strangers at once from one address (N3: 10).
    pub strangers_per_address: usize,
    /// Strangers at once in all (N3: 200).
    pub strangers: usize,
    /// Connections at once from one address.
    pub connections_per_address: usize,
    /// When an address is banned for connecting too often; `None`: never.
    pub connection_ban: Option<ConnectionBan>,
    /// Time from accept to a finished login (N1: 60 s).
    pub login_grace: Duration,
}

/// A bound listener that does not accept yet: the port is taken, and clients wait in the backlog.
#[derive(Debug)]
pub struct Bound {
    door: Door,
    listener: std::net::TcpListener,
    address: SocketAddr,
    control: ListenerControl,
}

/// What of a listener can change while it accepts. Clones share it.
#[derive(Clone, Debug)]
pub struct ListenerControl(Arc<RwLock<Terms>>);

/// On which terms connections come in.
#[derive(Clone, Debug)]
struct Terms {
    proxies: Arc<[IpNet]>,
    max_connections: usize,
}

impl ListenerControl {
    /// Takes over changed terms for connections to come; those that are in stay.
    pub fn change(&self, proxy_protocol: Vec<IpNet>, max_connections: usize) {
        let terms = Terms { proxies: proxy_protocol.into(), max_connections };
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = terms;
    }

    fn terms(&self) -> Terms {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Bound {
    /// Binds. Needs no runtime.
    ///
    /// # Errors
    /// [`BindError`].
    pub fn bind(settings: ListenerSettings) -> Result<Self, BindError> {
        let address = settings.address;
        let bound = listen(address).and_then(|listener| {
            let address = listener.local_addr()?;
            Ok((listener, address))
        });
        match bound {
            Ok((listener, address)) => {
                let terms =
                    Terms { proxies: settings.proxy_protocol.into(), max_connections: settings.max_connections };
                let control = ListenerControl(Arc::new(RwLock::new(terms)));
                Ok(Self { door: settings.door, listener, address, control })
            }
            Err(source) => Err(BindError { door: settings.door, address, source }),
        }
    }

    /// Where it listens, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The door.
    #[must_use]
    pub fn door(&self) -> Door {
        self.door
    }

    /// What can be changed while it accepts.
    #[must_use]
    pub fn control(&self) -> ListenerControl {
        self.control.clone()
    }

    /// Accepts until `stop`, handing each connection to `frontend` in a task of its own; then waits up to `grace` for the
    /// tasks and drops the rest. `house` is shared by all listeners: limits count over all of them.
    ///
    /// Dropping the future closes the listener and every connection of it.
    pub async fn serve(self, frontend: Arc<dyn Frontend>, house: House, stop: Stop, grace: Duration) {
        self.serve_with(frontend, house, stop, move || grace).await;
    }

    /// The same with a grace that is asked for when it begins.
    pub async fn serve_with(
        self,
        frontend: Arc<dyn Frontend>,
        house: House,
        stop: Stop,
        grace: impl FnOnce() -> Duration + Send,
    ) {
        let door = self.door;
        let listener = match TcpListener::from_std(self.listener) {
            Ok(listener) => listener,
            Err(cause) => {
                error!(%door, address = %self.address, %cause, "the listener could not be put to use");
                return;
            }
        };
        let entrance = Arc::new(Entrance {
            door,
            control: self.control,
            taken: Arc::default(),
            frontend,
            house,
            stop: stop.clone(),
        });
        let mut tasks = JoinSet::new();
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::select! {
                biased;
                () = stop.stopping() => break,
                Some(ended) = tasks.join_next() => report(door, ended),
                accepted = listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        pause = FIRST_PAUSE;
                        if let Some(turn) = entrance.turn(stream, peer) {
                            tasks.spawn(Arc::clone(&entrance).welcome(turn));
                        }
                    }
                    Err(cause) if is_exhaustion(&cause) => {
                        warn!(%door, %cause, ms = pause.as_millis(), "no connection can be accepted: waiting");
                        // The oldest stranger's descriptor is worth less than a newcomer's chance.
                        entrance.house.crowd.evict_oldest();
                        tokio::select! {
                            () = stop.stopping() => break,
                            () = sleep(pause) => {}
                        }
                        pause = (pause * 2).min(LONGEST_PAUSE);
                    }
                    // A client that was gone before its turn.
                    Err(cause) => debug!(%door, %cause, "a connection ended before it was accepted"),
                },
            }
        }
        drop(listener);
        drain(door, tasks, grace()).await;
    }
}

/// Waits for the tasks up to the end of `grace`, then drops them.
async fn drain(door: Door, mut tasks: JoinSet<()>, grace: Duration) {
    let end = Instant::now() + grace;
    loop {
        match timeout_at(end, tasks.join_next()).await {
            Ok(Some(ended)) => report(door, ended),
            Ok(None) => return,
            Err(_) => break,
        }
    }
    warn!(%door, connections = tasks.len(), "connections were closed at the end of the shutdown grace");
    tasks.shutdown().await;
}

fn report(door: Door, ended: Result<(), tokio::task::JoinError>) {
    if ended.is_err_and(|cause| cause.is_panic()) {
        error!(%door, "a connection's task panicked; the connection is closed and the server goes on");
    }
}

/// What all listeners share: the address book and the counts of strangers.
#[derive(Clone, Debug)]
pub struct House {
    limits: Arc<RwLock<NetLimits>>,
    book: AddressBook,
    crowd: Arc<Crowd>,
    arrivals: Arc<Arrivals>,
    /// Strangers that were sent away and have their last word.
    parting: Arc<AtomicUsize>,
    farewell: Duration,
}

impl House {
    /// An empty house.
    #[must_use]
    pub fn new(limits: NetLimits, book: AddressBook) -> Self {
        Self {
            limits: Arc::new(RwLock::new(limits)),
            book,
            crowd: Arc::default(),
            arrivals: Arc::default(),
            parting: Arc::default(),
            farewell: FAREWELL,
        }
    }

    /// Takes over changed limits for connections to come.
    pub fn reconfigure(&self, limits: NetLimits) {
        *self.limits.write().unwrap_or_else(PoisonError::into_inner) = limits;
    }

    /// Whether the address is banned, or is from now on because this connection is one too many.
    fn turns_away(&self, address: IpAddr) -> bool {
        if self.book.is_banned(address) {
            return true;
        }
        let Some(rule) = self.limits().connection_ban else { return false };
        if self.book.is_exempt(address) || !self.arrivals.is_one_too_many(address, rule) {
            return false;
        }
        let life = u64::try_from(rule.ban.as_millis()).unwrap_or(u64::MAX);
        self.book.ban_and_note(address, now_ms().saturating_add(life));
        true
    }

    /// Waits for the eviction and then for as long as a last word may take. No more than `most` have one at once, so that a
    /// flood of strangers cannot pile up on the way out; the others go without.
    async fn farewell_after(&self, evicted: impl Future<Output = Eviction>, most: usize) -> Eviction {
        let why = evicted.await;
        if let Some(_word) = Room::take(&self.parting, most) {
            sleep(self.farewell).await;
        }
        why
    }

    fn limits(&self) -> NetLimits {
        *self.limits.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One listener's way in.
struct Entrance {
    door: Door,
    control: ListenerControl,
    frontend: Arc<dyn Frontend>,
    house: House,
    stop: Stop,
    taken: Arc<AtomicUsize>,
}

/// One of so many, until dropped.
struct Room(Arc<AtomicUsize>);

impl Room {
    /// Room for one more, where fewer than `limit` (a zero counts as one) are in.
    fn take(taken: &Arc<AtomicUsize>, limit: usize) -> Option<Self> {
        let one_more = |count: usize| (count < limit.max(1)).then_some(count + 1);
        taken.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).ok()?;
        Some(Self(Arc::clone(taken)))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// An accepted connection that may go on.
struct Turn {
    stream: TcpStream,
    peer: SocketAddr,
    room: Room,
    /// Whether a PROXY header comes first, and tells whom bans and counts are about.
    proxied: bool,
}

impl Entrance {
    /// What can be said without reading a byte. Dropping the stream closes it.
    fn turn(&self, stream: TcpStream, peer: SocketAddr) -> Option<Turn> {
        let door = self.door;
        let peer = canonical(peer);
        let Terms { proxies, max_connections } = self.control.terms();
        let proxied = !proxies.is_empty();
        if proxied && !proxies.iter().any(|network| network.contains(&peer.ip())) {
            debug!(%door, %peer, "an address outside the trusted proxies was turned away");
            return None;
        }
        if !proxied && self.house.turns_away(peer.ip()) {
            debug!(%door, %peer, "a banned address was turned away");
            return None;
        }
        let Some(room) = Room::take(&self.taken, max_connections) else {
            debug!(%door, %peer, limit = max_connections, "the listener has its fill of connections");
            // Whoever waits without logging in makes room for the next.
            self.house.crowd.evict_oldest();
            return None;
        };
        Some(Turn { stream, peer, room, proxied })
    }

    /// One connection, from here to its end.
    async fn welcome(self: Arc<Self>, turn: Turn) {
        let door = self.door;
        let Turn { mut stream, peer: socket_peer, room: _room, proxied: header_first } = turn;
        let Ok(local) = ready(&stream) else { return };
        let (peer, local, proxied) = if !header_first {
            (socket_peer, local, false)
        } else {
            match timeout(HEADER_TIME, read_header(&mut stream)).await {
                Ok(Ok(Told::Addresses { from, to })) => (from, to, true),
                Ok(Ok(Told::Nothing)) => (socket_peer, local, false),
                Ok(Err(cause)) => return debug!(%door, peer = %socket_peer, %cause, "a proxy's connection was closed"),
                Err(_) => return debug!(%door, peer = %socket_peer, "a proxy's header came too late"),
            }
        };
        if proxied && self.house.turns_away(peer.ip()) {
            return debug!(%door, %peer, "a banned address was turned away");
        }
        let limits = self.house.limits();
        let Some(_seat) = self.house.crowd.sit(peer.ip(), &limits) else {
            return debug!(%door, %peer, limit = limits.connections_per_address, "the address has its fill of connections");
        };
        let itself = header_first && !proxied;
        let book = (!itself).then_some(&self.house.book);
        let stranger = self.house.crowd.enter(peer.ip(), &limits, book);
        let evicted = stranger.evicted();
        let connection = Connection { stream, peer, local, proxied, stranger, stop: self.stop.clone() };
        tokio::select! {
            () = self.frontend.serve(connection) => {}
            why = self.house.farewell_after(evicted, limits.strangers) => {
                debug!(%door, %peer, reason = ?why, "a stranger's connection was closed");
            }
        }
    }
}

/// Binds and listens in one go: with address reuse, a port that is taken shows at `listen` and not before.
fn listen(address: SocketAddr) -> io::Result<std::net::TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
    // A restart does not wait for the last connections of the process before it.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Sets what every connection has, and says by which address it came in.
fn ready(stream: &TcpStream) -> io::Result<SocketAddr> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    stream.local_addr().map(canonical)
}

/// IPv4 in IPv6, as a dual-stack listener tells it, is IPv4.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Whether the system, rather than the one client, is why nothing could be accepted.
fn is_exhaustion(cause: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM]
        .iter()
        .any(|errno| cause.raw_os_error() == Some(errno.raw_os_error()))
}

/// Connections that the system keeps waiting.
const BACKLOG: i32 = 1024;
/// What a door has between an eviction and the end of its connection, for a last word.
const FAREWELL: Duration = Duration::from_millis(if cfg!(test) { 50 } else { 2000 });
/// The pauses after an accept that failed for want of anything.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// A peer that vanished is noticed after three minutes.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(90);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_PROBES: u32 = 3;

#[cfg(test)]
mod tests;
