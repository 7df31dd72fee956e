//! The listeners (`server_list`).
//!
//! Implicit FTPS and the DMZ's end are carried like the others: whether this build can open them is the daemon's to say.

use super::{items, reader::Findings, reader::Reader, survey::survey, words::ListenerKind};
use crate::{
    tree::{Element, Place},
    values::{PassiveAddress, PassiveAddresses, PassivePorts},
};
use ipnet::IpNet;
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

/// One listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// `serverType`.
    pub kind: ListenerKind,
    /// `ip` and `port`; port 0 takes any free one.
    pub address: SocketAddr,
    /// `enabled`.
    pub enabled: bool,
    /// `explicit_tls` (FTP).
    pub explicit_tls: bool,
    /// `require_secure` (FTP).
    pub require_secure: bool,
    /// `pasv_ports` (FTP, FTPS).
    pub passive_ports: PassivePorts,
    /// `server_ip` (FTP, FTPS).
    pub passive_addresses: PassiveAddresses,
    /// `pasv_direct` (FTP, FTPS): whether data connections may come past the proxy.
    pub passive_direct: bool,
    /// `ftp_welcome_message` (FTP, FTPS); `None` takes the server's.
    pub welcome: Option<String>,
    /// `allow_webdav` (HTTP, HTTPS).
    pub allow_webdav: bool,
    /// `scp_legacy` (SFTP).
    pub scp_legacy: bool,
    /// `proxy_protocol`: who is believed.
    pub proxy_protocol: Vec<IpNet>,
    /// `trusted_proxies` (HTTP, HTTPS): whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `tls_cert` and `tls_key`; `None` takes the server's.
    pub certificate: Option<(PathBuf, PathBuf)>,
    /// `tls_client_ca` and `tls_client_crl` (FTP, FTPS): whose certificates of clients count.
    pub client_trust: Option<(PathBuf, Option<PathBuf>)>,
    /// `max_connections`; `None` sets no limit of its own.
    pub max_connections: Option<u32>,
    /// `ciphers`; empty takes the safe ones of the library.
    pub ciphers: Vec<String>,
}

pub(super) fn read(root: &Element, findings: &mut Findings) -> Vec<Listener> {
    let mut listeners: Vec<(Listener, Option<Place>)> = Vec::new();
    for (index, item) in items(root, "server_list", findings).into_iter().enumerate() {
        survey(item, Some("server_list"), &format!("server_list[{index}]."), findings);
        let mut reader = Reader::item(item, "server_list", index, findings);
        let listener = read_one(&mut reader);
        check_security(&listener, &mut reader);
        warn_of_what_is_void(&listener, &mut reader);
        reader.warn_of_idle_keys(listener.kind);
        let place = reader.place("port").or(Some(item.place()));
        check_ports(index, &listener, place, &listeners, findings);
        listeners.push((listener, place));
    }
    if !listeners.iter().any(|(listener, _)| listener.enabled) {
        let place = root.child("server_list").map(Element::place);
        findings.warn(place, "server_list", "has no enabled listener: nobody can log in");
    }
    listeners.into_iter().map(|(listener, _)| listener).collect()
}

fn read_one(reader: &mut Reader<'_>) -> Listener {
    let certificate = match (reader.path_value("tls_cert"), reader.path_value("tls_key")) {
        (Some(chain), Some(key)) => Some((chain, key)),
        (None, None) => None,
        (Some(_), None) => incomplete(reader, "tls_cert", "tls_key"),
        (None, Some(_)) => incomplete(reader, "tls_key", "tls_cert"),
    };
    let client_trust = match (reader.path_value("tls_client_ca"), reader.path_value("tls_client_crl")) {
        (Some(authorities), revoked) => Some((authorities, revoked)),
        (None, None) => None,
        (None, Some(_)) => {
            let (place, key) = (reader.place("tls_client_crl"), reader.path("tls_client_crl"));
            reader.findings.conflict(place, key, "is set without tls_client_ca", "name the authorities, or remove it");
            None
        }
    };
    let limit: u32 = reader.count("max_connections");
    Listener {
        kind: reader.word("serverType", ListenerKind::Dmz),
        address: SocketAddr::new(reader.address("ip"), reader.count("port")),
        enabled: reader.switch("enabled"),
        explicit_tls: reader.switch("explicit_tls"),
        require_secure: reader.switch("require_secure"),
        passive_ports: reader.ports("pasv_ports"),
        passive_addresses: reader.advertised("server_ip"),
        passive_direct: reader.switch("pasv_direct"),
        welcome: reader.text("ftp_welcome_message"),
        allow_webdav: reader.switch("allow_webdav"),
        scp_legacy: reader.switch("scp_legacy"),
        proxy_protocol: reader.networks("proxy_protocol"),
        trusted_proxies: reader.networks("trusted_proxies"),
        certificate,
        client_trust,
        max_connections: (limit > 0).then_some(limit),
        ciphers: reader.list("ciphers"),
    }
}

fn incomplete(reader: &mut Reader<'_>, given: &str, wanted: &str) -> Option<(PathBuf, PathBuf)> {
    let (place, key) = (reader.place(given), reader.path(given));
    reader.findings.conflict(place, key, format!("is set without {wanted}"), "set both or neither");
    None
}

/// `require_secure` must be a demand that is met, or the file is refused: one that is quietly void is worse than none.
fn check_security(listener: &Listener, reader: &mut Reader<'_>) {
    if !listener.require_secure {
        return;
    }
    let (problem, advice) = match listener.kind {
        ListenerKind::Ftp if !listener.explicit_tls => {
            ("is true, but explicit_tls is false: nobody could log in", "set explicit_tls to true")
        }
        ListenerKind::Http => ("is true, but HTTP has no TLS", "use an HTTPS listener, or set it to false"),
        ListenerKind::Dmz => ("is true, but nobody logs in at a DMZ listener", "remove it"),
        _ => return,
    };
    let (place, key) = (reader.place("require_secure"), reader.path("require_secure"));
    reader.findings.conflict(place, key, problem, advice);
}

/// Keys of FTP that are right by themselves and say nothing beside the others.
fn warn_of_what_is_void(listener: &Listener, reader: &mut Reader<'_>) {
    if !is_ftp(listener.kind) {
        return;
    }
    let told = &listener.passive_addresses;
    let six = |address: &PassiveAddress| matches!(address, PassiveAddress::Ip(IpAddr::V6(_)));
    let void = [
        (
            "tls_client_ca",
            listener.client_trust.is_some() && listener.kind == ListenerKind::Ftp && !listener.explicit_tls,
            "has no effect while explicit_tls is false",
        ),
        (
            "pasv_direct",
            listener.passive_direct && listener.proxy_protocol.is_empty(),
            "has no effect without proxy_protocol: data connections come from the client's address anyhow",
        ),
        (
            "server_ip",
            six(&told.otherwise) || told.by_network.iter().any(|(_, address)| six(address)),
            "has an IPv6 address, which PASV cannot tell: it counts as auto",
        ),
    ];
    for (key, _, text) in void.into_iter().filter(|(_, holds, _)| *holds) {
        let (place, path) = (reader.place(key), reader.path(key));
        reader.findings.warn(place, path, text);
    }
}

fn check_ports(
    index: usize,
    listener: &Listener,
    place: Option<Place>,
    others: &[(Listener, Option<Place>)],
    findings: &mut Findings,
) {
    let port = listener.address.port();
    if port == 0 || !listener.enabled {
        return;
    }
    let key = format!("server_list[{index}].port");
    for (other, (earlier, _)) in others.iter().enumerate().filter(|(_, (other, _))| other.enabled) {
        if earlier.address.port() == port && share(earlier.address.ip(), listener.address.ip()) {
            let problem = format!("is {port}, where server_list[{other}] listens too");
            findings.conflict(place, key.clone(), problem, "change one of the ports, or switch one listener off");
        }
    }
    let everyone = others.iter().map(|(other, _)| other).chain([listener]);
    let inside = |ports: &PassivePorts| matches!(ports, PassivePorts::Range(range) if range.contains(&port));
    if everyone.filter(|other| other.enabled && is_ftp(other.kind)).any(|other| inside(&other.passive_ports)) {
        findings.warn(place, key, format!("is {port}, which pasv_ports of an FTP listener may take"));
    }
}

const fn is_ftp(kind: ListenerKind) -> bool {
    matches!(kind, ListenerKind::Ftp | ListenerKind::Ftps)
}

/// Whether two listeners on these addresses get in each other's way on one port.
fn share(a: IpAddr, b: IpAddr) -> bool {
    a == b || (a.is_ipv4() == b.is_ipv4() && (a.is_unspecified() || b.is_unspecified()))
}
