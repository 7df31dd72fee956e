//! Where a login comes from: measured by the listener and the door, never told by the client.

use crate::Protocol;
use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

/// The kind of listener that a connection came in by. `ftps` is implicit TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Door {
    /// FTP, with explicit TLS where offered.
    Ftp,
    /// FTP under TLS from the first byte.
    Ftps,
    /// SSH.
    Sftp,
    /// HTTP in clear: REST, pages and WebDAV.
    Http,
    /// HTTP under TLS: REST, pages and WebDAV.
    Https,
}

impl Door {
    /// The word in `lockgate status` and `serverType` (lower case).
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ftp => "ftp",
            Self::Ftps => "ftps",
            Self::Sftp => "sftp",
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Whether the client can be asked a second question in this conversation.
///
/// A property of the conversation, not of the user: FTP and HTTP Basic cannot ask, SSH and the web login can.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Conversation {
    /// Evidence comes once; password and code may stand in one string.
    SingleShot,
    /// The client can be asked for more.
    Interactive,
}

/// Where a login comes from and over what.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// The listener's kind.
    pub door: Door,
    /// What the session speaks: the word the policy looks at.
    pub protocol: Protocol,
    /// The client's true address and port, after a trusted PROXY header.
    pub peer: SocketAddr,
    /// The listener's own address.
    pub local: SocketAddr,
    /// Subject of a verified client certificate, where there is one.
    pub client_certificate: Option<Arc<str>>,
    /// Whether a second question can be put.
    pub conversation: Conversation,
}

impl Origin {
    /// The client's address with IPv4-in-IPv6 unwrapped: what counters, bans and bindings use.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.peer.ip().to_canonical()
    }

    /// The unit in which strangers are counted: an IPv4 address, or the /64 of an IPv6 address, as text.
    #[must_use]
    pub fn address_key(&self) -> String {
        address_key(self.peer.ip())
    }
}

/// The counting unit of an address: itself for IPv4, its /64 for IPv6.
#[must_use]
pub fn address_key(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_ipv6_network_count_as_one() {
        assert_eq!(
            address_key("2001:db8:1:2::7".parse().unwrap()),
            address_key("2001:db8:1:2:ffff::1".parse().unwrap())
        );
        assert_eq!(address_key("::ffff:10.0.0.1".parse().unwrap()), "10.0.0.1");
    }
}
