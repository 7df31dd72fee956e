//! Which port and address passive data connections get.

use libunftp::options::Binder;
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
};
use tokio::net::TcpSocket;

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

/// Binds data listeners. The port is drawn by the system's random source, so that a stranger cannot guess the next one.
#[derive(Debug)]
pub(crate) struct PassiveBinder(pub(crate) PassivePorts);

#[async_trait::async_trait]
impl Binder for PassiveBinder {
    async fn bind(&mut self, local: IpAddr, _ports: RangeInclusive<u16>) -> io::Result<TcpSocket> {
        match &self.0 {
            PassivePorts::Any => bound(local, 0),
            PassivePorts::Range(range) => {
                let (first, last) = (*range.start(), *range.end());
                let count = u32::from(last.saturating_sub(first)) + 1;
                let mut seed = [0_u8; 4];
                aws_lc_rs::rand::fill(&mut seed).map_err(|_| io::Error::other("no random numbers"))?;
                let begin = u32::from_ne_bytes(seed) % count;
                // From a random port on, each once: a range with one free port left still serves.
                for step in 0..count {
                    let port = u32::from(first) + (begin + step) % count;
                    if let Ok(socket) = u16::try_from(port).map_err(io::Error::other).and_then(|port| bound(local, port)) {
                        return Ok(socket);
                    }
                }
                tracing::warn!(first, last, "every passive port is in use: widen pasv_ports");
                Err(io::ErrorKind::AddrInUse.into())
            }
        }
    }
}

/// Without SO_REUSEADDR's port sharing two transfers cannot be given one port; TIME_WAIT does not stop a bind with it.
fn bound(local: IpAddr, port: u16) -> io::Result<TcpSocket> {
    let socket = if local.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::new(local, port))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_of_the_range_is_taken_and_a_full_range_is_an_error() {
        let taken = bound(Ipv4Addr::LOCALHOST.into(), 0).unwrap();
        let port = taken.local_addr().unwrap().port();
        let listening = taken.listen(1).unwrap();
        let mut binder = PassiveBinder(PassivePorts::Range(port..=port));
        assert!(binder.bind(Ipv4Addr::LOCALHOST.into(), 0..=0).await.is_err());
        drop(listening);
        let again = binder.bind(Ipv4Addr::LOCALHOST.into(), 0..=0).await.unwrap();
        assert_eq!(again.local_addr().unwrap().port(), port);
    }
}
