//! Passive data connections: the ports, and the address that clients are told.
//!
//! Which address that is may depend on where a client comes from: one server is often reached from the world behind a
//! translated address and from its own network without.

use super::{Kind, Mistake, network, number, words};
use crate::{error::shorten, url::is_host};
use ipnet::IpNet;
use std::{net::IpAddr, ops::RangeInclusive};

/// The ports of passive data connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassivePorts {
    /// Whatever the system gives.
    Any,
    /// One of these.
    Range(RangeInclusive<u16>),
}

/// The address that a passive client is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PassiveAddress {
    /// The one the control connection came in on.
    FromConnection,
    /// This one.
    Ip(IpAddr),
    /// What this name resolves to.
    Host(String),
}

/// The addresses that passive clients are told, by where they come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PassiveAddresses {
    /// To whoever is in none of the networks.
    pub otherwise: PassiveAddress,
    /// To clients of a network; of several that fit, the smallest counts.
    pub by_network: Vec<(IpNet, PassiveAddress)>,
}

impl PassiveAddresses {
    /// The same to everybody.
    #[must_use]
    pub const fn all(otherwise: PassiveAddress) -> Self {
        Self { otherwise, by_network: Vec::new() }
    }
}

/// `ADDRESS`, `NETWORK=ADDRESS`, or several of them with commas; at most one without a network.
pub(super) fn advertised(text: &str) -> Result<PassiveAddresses, Mistake> {
    let unfit = |advice: String| Mistake::advise(Kind::Advertised.expected(), advice);
    let mut otherwise = None;
    let mut by_network: Vec<(IpNet, PassiveAddress)> = Vec::new();
    for entry in words(text)? {
        let (net, told) = match entry.split_once('=') {
            Some((net, told)) => (Some(network(net.trim())?), told.trim()),
            None => (None, entry.as_str()),
        };
        let told = address(told).ok_or_else(|| unfit(format!("{:?} is no address", shorten(told))))?;
        match net {
            None if otherwise.is_some() => {
                return Err(unfit("give one address without a network: the others need NETWORK= before them".into()));
            }
            None => otherwise = Some(told),
            Some(net) if by_network.iter().any(|(known, _)| *known == net) => {
                return Err(unfit(format!("{net} stands there twice")));
            }
            Some(net) => by_network.push((net, told)),
        }
    }
    if by_network.len() > MOST_NETWORKS {
        return Err(unfit(format!("at most {MOST_NETWORKS} networks")));
    }
    Ok(PassiveAddresses { otherwise: otherwise.unwrap_or(PassiveAddress::FromConnection), by_network })
}

fn address(text: &str) -> Option<PassiveAddress> {
    if ["auto", "lookup"].iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return Some(PassiveAddress::FromConnection);
    }
    match text.parse() {
        Ok(ip) => Some(PassiveAddress::Ip(ip)),
        Err(_) => is_host(text).then(|| PassiveAddress::Host(text.to_ascii_lowercase())),
    }
}

pub(super) fn ports(text: &str) -> Option<PassivePorts> {
    if text == "0" {
        return Some(PassivePorts::Any);
    }
    let port = |part: &str| number(part.trim(), 1, 65_535).and_then(|port| u16::try_from(port).ok());
    let (low, high) = match text.split_once('-') {
        Some((low, high)) => (port(low)?, port(high)?),
        None => (port(text)?, port(text)?),
    };
    (low <= high).then_some(PassivePorts::Range(low..=high))
}

/// Networks of one listener: each is looked at for every PASV.
const MOST_NETWORKS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_depends_on_the_network_of_the_client() {
        let told =
            advertised("198.51.100.7, 10.0.0.0/8=10.1.2.3,192.0.2.5=auto, 2001:db8::/32=FTP.example.com").unwrap();
        assert_eq!(told.otherwise, PassiveAddress::Ip("198.51.100.7".parse().unwrap()));
        assert_eq!(
            told.by_network,
            [
                ("10.0.0.0/8".parse().unwrap(), PassiveAddress::Ip("10.1.2.3".parse().unwrap())),
                ("192.0.2.5/32".parse().unwrap(), PassiveAddress::FromConnection),
                ("2001:db8::/32".parse().unwrap(), PassiveAddress::Host("ftp.example.com".into())),
            ]
        );
        assert_eq!(advertised("auto").unwrap(), PassiveAddresses::all(PassiveAddress::FromConnection));
        assert_eq!(advertised("10.0.0.0/8=auto").unwrap().otherwise, PassiveAddress::FromConnection);
    }

    #[test]
    fn what_could_mean_two_things_is_refused() {
        for text in [
            "192.0.2.1,192.0.2.2",
            "10.0.0.0/8=10.1.2.3,10.0.0.0/8=10.1.2.4",
            "10.0.0.1/8=10.1.2.3",
            "10.0.0.0/8=",
            "=10.1.2.3",
            "net=10.1.2.3",
            "10.0.0.0/8=10.1.2.3=x",
            "not a host",
        ] {
            assert!(advertised(text).is_err(), "{text}");
        }
        let many: Vec<String> = (0..=MOST_NETWORKS).map(|n| format!("10.{n}.0.0/16=auto")).collect();
        assert!(advertised(&many.join(",")).is_err());
    }
}
