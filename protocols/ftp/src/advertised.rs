//! The address that `PASV` tells, by where the client comes from.
//!
//! A host name is looked up when the door opens and now and then after, beside the conversations: none of them waits for a
//! name server but the ones that come before the first answer. What was found last stays in use while a look-up fails.

use ipnet::IpNet;
use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};
use tokio::{runtime::Handle, sync::watch, time::timeout};

/// The address that `PASV` tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PassiveHost {
    /// The one that the control connection came in by.
    #[default]
    FromConnection,
    /// This one: the outside of a network address translation.
    Ip(Ipv4Addr),
    /// What this name resolves to.
    Name(String),
}

/// The addresses that `PASV` tells, by the client's network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassiveHosts {
    /// To whoever is in none of the networks.
    pub otherwise: PassiveHost,
    /// To clients of a network; of several that fit, the smallest counts.
    pub by_network: Vec<(IpNet, PassiveHost)>,
}

/// The same, with names looked up.
pub(crate) struct Advertised {
    otherwise: Told,
    by_network: Vec<(IpNet, Told)>,
}

enum Told {
    FromConnection,
    Ip(Ipv4Addr),
    Name(watch::Receiver<Option<Ipv4Addr>>),
}

impl Advertised {
    /// Begins to look names up, until dropped.
    pub(crate) fn new(hosts: &PassiveHosts) -> Self {
        let mut by_network: Vec<_> = hosts.by_network.iter().map(|(net, host)| (*net, Told::new(host))).collect();
        by_network.sort_by_key(|(net, _)| std::cmp::Reverse(net.prefix_len()));
        Self { otherwise: Told::new(&hosts.otherwise), by_network }
    }

    /// The address to tell a client at `peer` that came in by `local`; `None` where there is no IPv4 address to tell.
    pub(crate) async fn address(&self, peer: IpAddr, local: IpAddr) -> Option<Ipv4Addr> {
        let peer = peer.to_canonical();
        let fitting = self.by_network.iter().find(|(net, _)| net.contains(&peer));
        match fitting.map_or(&self.otherwise, |(_, told)| told) {
            Told::Ip(address) => Some(*address),
            Told::FromConnection => match local.to_canonical() {
                IpAddr::V4(address) => Some(address),
                IpAddr::V6(_) => None,
            },
            Told::Name(found) => {
                let mut found = found.clone();
                let first = timeout(FIRST_ANSWER, found.wait_for(Option::is_some)).await;
                first.ok().and_then(Result::ok).and_then(|found| *found)
            }
        }
    }
}

impl Told {
    fn new(host: &PassiveHost) -> Self {
        match host {
            PassiveHost::FromConnection => Self::FromConnection,
            PassiveHost::Ip(address) => Self::Ip(*address),
            PassiveHost::Name(name) => {
                let (found, told) = watch::channel(None);
                match Handle::try_current() {
                    Ok(runtime) => drop(runtime.spawn(follow(name.clone(), found))),
                    Err(error) => tracing::error!(name, %error, "server_ip cannot be looked up"),
                }
                Self::Name(told)
            }
        }
    }
}

/// Looks the name up again and again, until nobody wants to know.
async fn follow(name: String, found: watch::Sender<Option<Ipv4Addr>>) {
    loop {
        let looked = tokio::select! {
            () = found.closed() => return,
            looked = timeout(LOOK_UP, look_up(&name)) => looked,
        };
        let pause = match looked {
            Ok(Ok(address)) => {
                found.send_if_modified(|known| known.replace(address) != Some(address));
                AGAIN
            }
            Ok(Err(error)) => {
                tracing::warn!(name, %error, "the name in server_ip is not found");
                AFTER_A_FAILURE
            }
            Err(_) => {
                tracing::warn!(name, "the name in server_ip is not found: no name server answers");
                AFTER_A_FAILURE
            }
        };
        let _ = timeout(pause, found.closed()).await;
    }
}

async fn look_up(name: &str) -> std::io::Result<Ipv4Addr> {
    let mut all = tokio::net::lookup_host((name, 0)).await?;
    let found = all.find_map(|address| match address.ip() {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    });
    found.ok_or_else(|| std::io::Error::new(std::io::ErrorKind::NotFound, "it has no IPv4 address"))
}

/// How long a client waits for the first answer of a name server.
const FIRST_ANSWER: Duration = Duration::from_secs(5);
/// How long a name server has.
const LOOK_UP: Duration = Duration::from_secs(10);
/// How long an answer is used.
const AGAIN: Duration = Duration::from_secs(5 * 60);
/// How long a failure is waited out.
const AFTER_A_FAILURE: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test]
    async fn the_smallest_network_of_the_client_decides() {
        let to = |address: &str| PassiveHost::Ip(address.parse().unwrap());
        let advertised = Advertised::new(&PassiveHosts {
            otherwise: to("198.51.100.7"),
            by_network: vec![
                ("10.0.0.0/8".parse().unwrap(), to("10.0.0.1")),
                ("10.1.0.0/16".parse().unwrap(), to("10.1.0.1")),
                ("192.0.2.0/24".parse().unwrap(), PassiveHost::FromConnection),
            ],
        });
        let local = ip("127.0.0.1");
        for (peer, told) in [
            ("203.0.113.9", "198.51.100.7"),
            ("10.2.0.9", "10.0.0.1"),
            ("10.1.0.9", "10.1.0.1"),
            ("::ffff:10.1.0.9", "10.1.0.1"),
            ("192.0.2.9", "127.0.0.1"),
            ("2001:db8::1", "198.51.100.7"),
        ] {
            assert_eq!(advertised.address(ip(peer), local).await.map(IpAddr::V4), Some(ip(told)), "{peer}");
        }
        let plain = Advertised::new(&PassiveHosts::default());
        assert_eq!(plain.address(ip("::1"), ip("::1")).await, None);
    }

    #[tokio::test]
    async fn a_name_is_looked_up_beside_the_conversations() {
        let hosts = PassiveHosts { otherwise: PassiveHost::Name("localhost".into()), by_network: Vec::new() };
        let advertised = Advertised::new(&hosts);
        for _ in 0..2 {
            assert_eq!(advertised.address(ip("203.0.113.9"), ip("192.0.2.1")).await, Some(Ipv4Addr::LOCALHOST));
        }
    }
}
