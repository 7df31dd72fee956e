//! Which port and address passive data connections get, and who may come in by them.
//!
//! The port is drawn by the system's random source and bound by number: a stranger cannot guess the next one, and the search
//! of the kernel for a free port, slow once many connections are in TIME_WAIT, is not needed. Only the address of the
//! control connection is let in; others are closed unheard, and do not keep the right one out.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Ports for passive data connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassivePorts {
    /// Whatever the system gives.
    Any,
    /// One of these, chosen at random.
    Range(RangeInclusive<u16>),
}

/// The address that `PASV` tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassiveHost {
    /// The one that the control connection came in by.
    FromConnection,
    /// This one: the outside of a network address translation.
    Ip(Ipv4Addr),
    /// What this name resolves to.
    Name(String),
}

impl PassiveHost {
    /// The address to tell a client that came in by `local`; `None` where there is no IPv4 address to tell.
    pub(crate) async fn address(&self, local: IpAddr) -> Option<Ipv4Addr> {
        match self {
            Self::Ip(address) => Some(*address),
            Self::FromConnection => match local.to_canonical() {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            },
            Self::Name(name) => {
                let mut found = match tokio::net::lookup_host((name.as_str(), 0)).await {
                    Ok(found) => found,
                    Err(error) => {
                        tracing::warn!(name, %error, "the name in server_ip is not found");
                        return None;
                    }
                };
                found.find_map(|address| match address.ip() {
                    IpAddr::V4(address) => Some(address),
                    IpAddr::V6(_) => None,
                })
            }
        }
    }
}

/// A port that waits for its one data connection.
pub(crate) struct Waiting {
    listener: Option<TcpListener>,
    arrived: Option<TcpStream>,
    peer: IpAddr,
}

impl Waiting {
    /// Opens a port at `local` for a client at `peer`.
    pub(crate) fn open(ports: &PassivePorts, local: IpAddr, peer: IpAddr) -> io::Result<Self> {
        let listener = match ports {
            PassivePorts::Any => listen(local, 0)?,
            PassivePorts::Range(range) => listen_within(range, local)?,
        };
        Ok(Self { listener: Some(listener), arrived: None, peer: peer.to_canonical() })
    }

    /// The port that was opened.
    pub(crate) fn port(&self) -> io::Result<u16> {
        let listener = self.listener.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        Ok(listener.local_addr()?.port())
    }

    /// Lets the client in, whenever it comes, and closes the port behind it; never resolves once it is in. Cancel safe.
    pub(crate) async fn arrive(&mut self) {
        while let Some(listener) = &self.listener {
            match listener.accept().await {
                Ok((stream, from)) if from.ip().to_canonical() == self.peer => {
                    self.arrived = Some(stream);
                    self.listener = None;
                    return;
                }
                Ok((stream, from)) => {
                    drop(stream);
                    tracing::warn!(from = %from.ip(), peer = %self.peer, "a data connection from another address was closed");
                }
                Err(error) => {
                    // No descriptor left, or the caller was gone before its turn.
                    tracing::debug!(%error, "a data connection was not accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
                }
            }
        }
        std::future::pending().await
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

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    #[tokio::test]
    async fn a_port_of_the_range_is_taken_and_a_full_range_is_an_error() {
        let taken = Waiting::open(&PassivePorts::Any, HERE, HERE).unwrap();
        let port = taken.port().unwrap();
        assert!(Waiting::open(&PassivePorts::Range(port..=port), HERE, HERE).is_err());
        drop(taken);
        let again = Waiting::open(&PassivePorts::Range(port..=port), HERE, HERE).unwrap();
        assert_eq!(again.port().unwrap(), port);
    }

    #[tokio::test]
    async fn a_caller_from_another_address_is_closed_and_the_right_one_still_comes_in() {
        let waiting = Waiting::open(&PassivePorts::Any, HERE, HERE).unwrap();
        let at = SocketAddr::new(HERE, waiting.port().unwrap());
        let thief = TcpSocket::new_v4().unwrap();
        thief.bind("127.0.0.9:0".parse().unwrap()).unwrap();
        let thief = thief.connect(at).await.unwrap();
        let client = TcpStream::connect(at).await.unwrap();
        let stream = waiting.take().await;
        assert_eq!(stream.peer_addr().unwrap(), client.local_addr().unwrap());
        let mut byte = [0];
        thief.readable().await.unwrap();
        assert!(!matches!(thief.try_read(&mut byte), Ok(1..)), "the thief got a byte");
    }

    #[tokio::test]
    async fn ports_of_a_range_are_drawn_and_not_counted() {
        let ports: Vec<_> = (0..20)
            .filter_map(|_| Waiting::open(&PassivePorts::Range(40_000..=49_999), HERE, HERE).ok()?.port().ok())
            .collect();
        assert!(ports.windows(2).any(|pair| pair[1] < pair[0]) && ports.windows(2).any(|pair| pair[1] > pair[0] + 1));
    }
}
