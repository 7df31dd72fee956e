//! What a trusted proxy says of the client, and what anybody else says: nothing.
//!
//! `X-Forwarded-For` and `X-Forwarded-Host` count only where the connection itself comes from an address in `trusted_proxies`. Of the
//! list the right-most address that is not itself a trusted proxy is the client: everything left of it was written by the client.

use http::{HeaderMap, HeaderName, HeaderValue, header};
use ipnet::IpNet;
use std::net::{IpAddr, SocketAddr};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Headers that tell about the client or come from inside: taken off every request once they are judged.
const INTERNAL: [&str; 6] =
    ["x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-forwarded-user", "x-real-ip", "forwarded"];

/// The client's address. Takes what proxies wrote off the headers, so that nothing behind this can believe it; a trusted proxy's
/// `X-Forwarded-Host` becomes `Host`.
pub(crate) fn settle(headers: &mut HeaderMap, socket: SocketAddr, trusted: &[IpNet]) -> SocketAddr {
    let mut peer = socket;
    if trusts(trusted, socket.ip()) {
        if let Some(address) = client(headers, trusted) {
            peer = address;
        }
        if let Some(host) = headers.get(FORWARDED_HOST).filter(|value| single(value)).cloned() {
            headers.insert(header::HOST, host);
        }
    }
    for name in INTERNAL {
        headers.remove(name);
    }
    let own: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("x-lockgate-")).cloned().collect();
    for name in own {
        headers.remove(name);
    }
    peer
}

fn client(headers: &HeaderMap, trusted: &[IpNet]) -> Option<SocketAddr> {
    let values: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    let mut nearest = None;
    for text in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        // What cannot be read was not written by a proxy that is trusted: the walk ends at the last address that was.
        let Some(address) = address(text.trim()) else { break };
        nearest = Some(address);
        if !trusts(trusted, address.ip()) {
            break;
        }
    }
    nearest
}

/// `203.0.113.7`, `203.0.113.7:4711`, `2001:db8::1` or `[2001:db8::1]:4711`.
fn address(text: &str) -> Option<SocketAddr> {
    if let Ok(ip) = text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
        return Some(SocketAddr::new(ip, 0));
    }
    text.parse().ok()
}

fn trusts(networks: &[IpNet], ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    networks.iter().any(|network| network.contains(&ip))
}

fn single(value: &HeaderValue) -> bool {
    !value.is_empty() && value.as_bytes().iter().all(|b| b.is_ascii_graphic() && *b != b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(socket: &str, forwarded: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(value).unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "2001:db8:1::/48".parse().unwrap()];
        let peer = settle(&mut headers, socket.parse().unwrap(), &trusted);
        assert!(headers.is_empty());
        peer.to_string()
    }

    #[test]
    fn a_stranger_cannot_say_where_it_comes_from() {
        assert_eq!(settled("192.0.2.1:9", &["203.0.113.7"]), "192.0.2.1:9");
    }

    #[test]
    fn the_right_most_address_that_is_no_proxy_counts() {
        assert_eq!(settled("10.0.0.1:9", &["198.51.100.1, 203.0.113.7, 10.1.1.1"]), "203.0.113.7:0");
        assert_eq!(settled("10.0.0.1:9", &["198.51.100.1", "203.0.113.7:4711"]), "203.0.113.7:4711");
        assert_eq!(settled("[2001:db8:1::5]:9", &["[2001:db8:9::1]:7"]), "[2001:db8:9::1]:7");
        assert_eq!(settled("[::ffff:10.0.0.1]:9", &["203.0.113.7"]), "203.0.113.7:0");
    }

    #[test]
    fn nonsense_ends_the_walk_at_the_last_proxy() {
        assert_eq!(settled("10.0.0.1:9", &["203.0.113.7, unknown, 10.1.1.1"]), "10.1.1.1:0");
        assert_eq!(settled("10.0.0.1:9", &["unknown"]), "10.0.0.1:9");
        assert_eq!(settled("10.0.0.1:9", &[]), "10.0.0.1:9");
    }

    #[test]
    fn headers_of_the_house_are_taken_off() {
        let mut headers = HeaderMap::new();
        headers.insert("x-lockgate-user", HeaderValue::from_static("admin"));
        headers.insert("x-real-ip", HeaderValue::from_static("1.2.3.4"));
        settle(&mut headers, "192.0.2.1:9".parse().unwrap(), &[]);
        assert!(headers.is_empty());
    }
}
