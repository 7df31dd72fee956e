//! Which port passive data connections get, and who may come in by it.
//!
//! The port is drawn by the system's random source and bound by number: a stranger cannot guess the next one, and the search
//! of the kernel for a free port, slow once many connections are in TIME_WAIT, is not needed. Only the address of the
//! control connection is let in; others are closed unheard, and do not keep the right one out. Behind a proxy that address is
//! told by the PROXY header with which the data connection begins too; a header from anybody else is not read.

use ipnet::IpNet;
use lockgate_net::announced_client;
use std::{
    io,
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};

/// Ports for passive data connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassivePorts {
    /// Whatever the system gives.
    Any,
    /// One of these, chosen at random.
    Range(RangeInclusive<u16>),
}

/// Who may come in by a port.
#[derive(Clone)]
pub(crate) struct Callers {
    /// The client: the address of its control connection.
    pub(crate) peer: IpAddr,
    /// Where there are some, the client's connections come from these, each with a header that tells its address.
    pub(crate) proxies: Arc<[IpNet]>,
    /// Whether it may come past them, too.
    pub(crate) direct: bool,
}

/// What is to be done with a caller.
#[derive(Debug, PartialEq, Eq)]
enum Caller {
    Client,
    Proxy,
    Stranger,
}

impl Callers {
    fn is_peer(&self, from: IpAddr) -> bool {
        from.to_canonical() == self.peer.to_canonical()
    }

    /// Judged by nothing but the socket.
    fn look(&self, from: IpAddr) -> Caller {
        let from = from.to_canonical();
        if self.proxies.iter().any(|network| network.contains(&from)) {
            Caller::Proxy
        } else if self.is_peer(from) && (self.proxies.is_empty() || self.direct) {
            Caller::Client
        } else {
            Caller::Stranger
        }
    }

    /// Reads the header that a proxy begins with; nothing where it does not tell of the client.
    async fn hear(self, mut stream: TcpStream, proxy: SocketAddr) -> Option<TcpStream> {
        let told = match announced_client(&mut stream).await {
            Ok(told) => told.unwrap_or(proxy),
            Err(error) => {
                tracing::debug!(%proxy, %error, "a data connection of a proxy was closed");
                return None;
            }
        };
        if !self.is_peer(told.ip()) {
            tracing::warn!(from = %told.ip(), peer = %self.peer, "a data connection from another address was closed");
            return None;
        }
        Some(stream)
    }
}

/// A port that waits for its one data connection.
pub(crate) struct Waiting {
    listener: Option<TcpListener>,
    arrived: Option<TcpStream>,
    callers: Callers,
    /// Connections of proxies that have not told yet for whom; closed when dropped.
    heard: JoinSet<Option<TcpStream>>,
}

impl Waiting {
    /// Opens a port at `local`.
    pub(crate) fn open(ports: &PassivePorts, local: IpAddr, callers: Callers) -> io::Result<Self> {
        let listener = match ports {
            PassivePorts::Any => listen(local, 0)?,
            PassivePorts::Range(range) => listen_within(range, local)?,
        };
        Ok(Self { listener: Some(listener), arrived: None, callers, heard: JoinSet::new() })
    }

    /// The port that was opened.
    pub(crate) fn port(&self) -> io::Result<u16> {
        let listener = self.listener.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        Ok(listener.local_addr()?.port())
    }

    /// Lets the client in, whenever it comes, and closes the port behind it; never resolves once it is in. Cancel safe.
    pub(crate) async fn arrive(&mut self) {
        while let Some(listener) = &self.listener {
            let accepted = tokio::select! {
                accepted = listener.accept(), if self.heard.len() < MOST_HEARD => accepted,
                Some(heard) = self.heard.join_next() => {
                    if let Ok(Some(stream)) = heard {
                        return self.let_in(stream);
                    }
                    continue;
                }
            };
            match accepted {
                Ok((stream, from)) => match self.callers.look(from.ip()) {
                    Caller::Client => return self.let_in(stream),
                    Caller::Proxy => {
                        self.heard.spawn(self.callers.clone().hear(stream, from));
                    }
                    Caller::Stranger => {
                        drop(stream);
                        tracing::warn!(from = %from.ip(), peer = %self.callers.peer, "a data connection from another address was closed");
                    }
                },
                Err(error) => {
                    // No descriptor left, or the caller was gone before its turn.
                    tracing::debug!(%error, "a data connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
        std::future::pending().await
    }

    fn let_in(&mut self, stream: TcpStream) {
        self.arrived = Some(stream);
        self.listener = None;
        self.heard = JoinSet::new();
    }

    /// The client's connection, once it is there.
    pub(crate) async fn take(mut self) -> TcpStream {
        loop {
            if let Some(stream) = self.arrived.take() {
                return stream;
            }
            self.arrive().await;
        }
    }
}

/// From a random port of the range on, each once: a range with one free port left still serves.
fn listen_within(range: &RangeInclusive<u16>, local: IpAddr) -> io::Result<TcpListener> {
    let (first, last) = (*range.start(), *range.end());
    let count = u32::from(last.saturating_sub(first)) + 1;
    let mut seed = [0_u8; 4];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| io::Error::other("no random numbers"))?;
    let begin = u32::from_ne_bytes(seed) % count;
    for step in 0..count {
        let port = u32::from(first) + (begin + step) % count;
        if let Ok(listener) = u16::try_from(port).map_err(io::Error::other).and_then(|port| listen(local, port)) {
            return Ok(listener);
        }
    }
    tracing::warn!(first, last, "every passive port is in use: widen pasv_ports");
    Err(io::ErrorKind::AddrInUse.into())
}

/// TIME_WAIT does not stop a bind with address reuse; a listener on the port does, at `listen`.
fn listen(local: IpAddr, port: u16) -> io::Result<TcpListener> {
    let socket = if local.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::new(local, port))?;
    socket.listen(BACKLOG)
}

/// Callers that may wait while nobody looks; strangers among them are closed as soon as somebody does.
const BACKLOG: u32 = 16;
/// Connections of proxies whose headers are waited for at once.
const MOST_HEARD: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    use std::net::Ipv4Addr;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn callers() -> Callers {
        Callers { peer: HERE, proxies: Arc::new([]), direct: false }
    }

    /// The client is at 203.0.113.7, and 127.0.0.1 is its proxy.
    fn proxied() -> Callers {
        Callers {
            peer: "203.0.113.7".parse().unwrap(),
            proxies: Arc::new(["127.0.0.1/32".parse().unwrap()]),
            direct: false,
        }
    }

    async fn call(from: &str, to: SocketAddr) -> TcpStream {
        let caller = TcpSocket::new_v4().unwrap();
        caller.bind(format!("{from}:0").parse().unwrap()).unwrap();
        caller.connect(to).await.unwrap()
    }

    async fn says(from: &str, to: SocketAddr, words: &[u8]) -> TcpStream {
        let mut stream = call(from, to).await;
        stream.write_all(words).await.unwrap();
        stream
    }

    #[tokio::test]
    async fn a_port_of_the_range_is_taken_and_a_full_range_is_an_error() {
        let taken = Waiting::open(&PassivePorts::Any, HERE, callers()).unwrap();
        let port = taken.port().unwrap();
        assert!(Waiting::open(&PassivePorts::Range(port..=port), HERE, callers()).is_err());
        drop(taken);
        let again = Waiting::open(&PassivePorts::Range(port..=port), HERE, callers()).unwrap();
        assert_eq!(again.port().unwrap(), port);
    }

    #[tokio::test]
    async fn a_caller_from_another_address_is_closed_and_the_right_one_still_comes_in() {
        let waiting = Waiting::open(&PassivePorts::Any, HERE, callers()).unwrap();
        let at = SocketAddr::new(HERE, waiting.port().unwrap());
        let thief = call("127.0.0.9", at).await;
        let client = TcpStream::connect(at).await.unwrap();
        let stream = waiting.take().await;
        assert_eq!(stream.peer_addr().unwrap(), client.local_addr().unwrap());
        let mut byte = [0];
        thief.readable().await.unwrap();
        assert!(!matches!(thief.try_read(&mut byte), Ok(1..)), "the thief got a byte");
    }

    #[tokio::test]
    async fn behind_a_proxy_the_header_tells_who_comes_and_nothing_of_the_data_is_swallowed() {
        let mut six = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c".to_vec();
        six.extend([203, 0, 113, 7, 192, 0, 2, 1, 1, 2, 3, 4]);
        for header in [&b"PROXY TCP4 203.0.113.7 192.0.2.1 5000 6000\r\n"[..], &six] {
            let waiting = Waiting::open(&PassivePorts::Any, HERE, proxied()).unwrap();
            let at = SocketAddr::new(HERE, waiting.port().unwrap());
            let _silent = call("127.0.0.1", at).await;
            let _other = says("127.0.0.1", at, b"PROXY TCP4 203.0.113.8 192.0.2.1 5000 6000\r\n").await;
            let _none = says("127.0.0.1", at, b"the bytes of a file").await;
            let _thief = says("127.0.0.9", at, b"PROXY TCP4 203.0.113.7 192.0.2.1 5000 6000\r\n").await;
            let mut client = says("127.0.0.1", at, header).await;
            client.write_all(b"data").await.unwrap();
            client.shutdown().await.unwrap();
            let mut came = Vec::new();
            let mut stream = waiting.take().await;
            assert_eq!(stream.peer_addr().unwrap(), client.local_addr().unwrap());
            stream.read_to_end(&mut came).await.unwrap();
            assert_eq!(came, b"data");
        }
    }

    #[test]
    fn past_the_proxy_comes_only_who_may() {
        let client: IpAddr = "203.0.113.7".parse().unwrap();
        let mixed: IpAddr = "::ffff:203.0.113.7".parse().unwrap();
        assert_eq!(proxied().look(client), Caller::Stranger);
        let direct = Callers { direct: true, ..proxied() };
        assert_eq!((direct.look(client), direct.look(mixed)), (Caller::Client, Caller::Client));
        assert_eq!(direct.look("203.0.113.8".parse().unwrap()), Caller::Stranger);
        assert_eq!(direct.look(HERE), Caller::Proxy, "a proxy's word is asked for in any case");
        assert_eq!(callers().look(HERE), Caller::Client);
    }

    #[tokio::test]
    async fn ports_of_a_range_are_drawn_and_not_counted() {
        let ports: Vec<_> = (0..20)
            .filter_map(|_| Waiting::open(&PassivePorts::Range(40_000..=49_999), HERE, callers()).ok()?.port().ok())
            .collect();
        assert!(ports.windows(2).any(|pair| pair[1] < pair[0]) && ports.windows(2).any(|pair| pair[1] > pair[0] + 1));
    }
}
