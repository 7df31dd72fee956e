//! The PROXY protocol, versions 1 and 2, from trusted addresses only, within a time limit and a size limit.
//!
//! A balancer tells the client's address in front of the client's bytes. The header is read to its last byte and not one
//! further, so that nothing of the payload is swallowed; what is malformed, too long or too late ends the connection. Who
//! may send one is the listener's rule, not this module's. The format is HAProxy's `proxy-protocol.txt`, sections 2.1 and
//! 2.2; TLVs are skipped, since nothing here acts on what they say.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::TcpStream,
    time::timeout,
};

/// Reads the header in front of a connection that comes from a proxy, to its last byte and not one further, within the time
/// that a listener gives it: the client's address, or `None` where the proxy speaks for itself. For doors that open ports of
/// their own; whether the caller may be believed is for them to know.
///
/// # Errors
/// What is malformed, too long or too late; the connection is then of no use.
pub async fn announced_client(stream: &mut TcpStream) -> io::Result<Option<SocketAddr>> {
    match timeout(HEADER_TIME, read_header(stream)).await {
        Ok(Ok(Told::Addresses { from, .. })) => Ok(Some(from)),
        Ok(Ok(Told::Nothing)) => Ok(None),
        Ok(Err(cause)) => Err(io::Error::new(io::ErrorKind::InvalidData, cause)),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the PROXY header came too late")),
    }
}

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// The proxy speaks for itself (a health check), or does not know: the socket's own addresses count.
    Nothing,
    /// The client's address, and the one it dialled.
    Addresses {
        /// The client.
        from: SocketAddr,
        /// What it dialled.
        to: SocketAddr,
    },
}

/// Why a header is no header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("the connection ended before its PROXY header did")]
    Read(#[from] io::Error),
    #[error("no PROXY header stands at the beginning")]
    Missing,
    #[error("the PROXY header is malformed")]
    Malformed,
    #[error("the PROXY header is too long")]
    TooLong,
    #[error("the PROXY header tells of something other than a TCP connection")]
    Family,
}

/// How long a header may take.
pub(crate) const HEADER_TIME: Duration = Duration::from_secs(5);
/// The first twelve bytes of version 2.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// The longest line of version 1, CRLF included (section 2.1).
const LONGEST_LINE: usize = 107;
/// The longest address block of version 2 taken: room for every TLV in use, certificates included.
const LONGEST_BLOCK: usize = 4096;

/// Reads exactly one header. The caller limits the time.
///
/// # Errors
/// [`ProxyError`]; the connection is then of no use.
pub(crate) async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> Result<Told, ProxyError> {
    // Every header of either version is longer than these twelve bytes.
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        let mut rest = [0; 4];
        stream.read_exact(&mut rest).await?;
        let [command, family, high, low] = rest;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > LONGEST_BLOCK {
            return Err(ProxyError::TooLong);
        }
        let mut block = vec![0; length];
        stream.read_exact(&mut block).await?;
        return binary(command, family, &block);
    }
    if !start.starts_with(b"PROXY ") {
        return Err(ProxyError::Missing);
    }
    let mut line = Vec::with_capacity(LONGEST_LINE);
    line.extend_from_slice(&start);
    while !line.ends_with(b"\r\n") {
        if line.len() == LONGEST_LINE {
            return Err(ProxyError::TooLong);
        }
        line.push(stream.read_u8().await?);
    }
    text(&line)
}

/// Version 1: one line, `CRLF` included.
fn text(line: &[u8]) -> Result<Told, ProxyError> {
    let line = std::str::from_utf8(line).map_err(|_| ProxyError::Malformed)?;
    let line = line.strip_suffix("\r\n").ok_or(ProxyError::Malformed)?;
    let mut words = line.split(' ');
    if words.next() != Some("PROXY") {
        return Err(ProxyError::Missing);
    }
    let family = words.next();
    if family == Some("UNKNOWN") {
        // Whatever else stands on the line is to be ignored.
        return Ok(Told::Nothing);
    }
    let (from, to) = (words.next().ok_or(ProxyError::Malformed)?, words.next().ok_or(ProxyError::Malformed)?);
    let (from, to): (IpAddr, IpAddr) = match family {
        Some("TCP4") => (parse::<Ipv4Addr>(from)?.into(), parse::<Ipv4Addr>(to)?.into()),
        Some("TCP6") => (parse::<Ipv6Addr>(from)?.into(), parse::<Ipv6Addr>(to)?.into()),
        _ => return Err(ProxyError::Family),
    };
    let (from_port, to_port) = (port(words.next())?, port(words.next())?);
    if words.next().is_some() {
        return Err(ProxyError::Malformed);
    }
    Ok(told(from, from_port, to, to_port))
}

/// Version 2: command, family, and the address block.
fn binary(command: u8, family: u8, block: &[u8]) -> Result<Told, ProxyError> {
    match command {
        0x20 => return Ok(Told::Nothing),
        0x21 => {}
        _ => return Err(ProxyError::Malformed),
    }
    match family {
        0x00 => Ok(Told::Nothing),
        0x11 => {
            let (from, rest) = block.split_first_chunk::<4>().ok_or(ProxyError::Malformed)?;
            let (to, rest) = rest.split_first_chunk::<4>().ok_or(ProxyError::Malformed)?;
            with_ports(IpAddr::from(*from), IpAddr::from(*to), rest)
        }
        0x21 => {
            let (from, rest) = block.split_first_chunk::<16>().ok_or(ProxyError::Malformed)?;
            let (to, rest) = rest.split_first_chunk::<16>().ok_or(ProxyError::Malformed)?;
            with_ports(IpAddr::from(*from), IpAddr::from(*to), rest)
        }
        _ => Err(ProxyError::Family),
    }
}

fn with_ports(from: IpAddr, to: IpAddr, rest: &[u8]) -> Result<Told, ProxyError> {
    let ([a, b, c, d], _tlvs) = rest.split_first_chunk::<4>().ok_or(ProxyError::Malformed)?;
    Ok(told(from, u16::from_be_bytes([*a, *b]), to, u16::from_be_bytes([*c, *d])))
}

/// IPv4 in IPv6 is unwrapped, so that one client is one address however the proxy spells it.
fn told(from: IpAddr, from_port: u16, to: IpAddr, to_port: u16) -> Told {
    Told::Addresses {
        from: SocketAddr::new(from.to_canonical(), from_port),
        to: SocketAddr::new(to.to_canonical(), to_port),
    }
}

fn parse<T: std::str::FromStr>(word: &str) -> Result<T, ProxyError> {
    word.parse().map_err(|_| ProxyError::Malformed)
}

/// Decimal digits only: `parse` alone would take a sign and leading zeros.
fn port(word: Option<&str>) -> Result<u16, ProxyError> {
    let word = word.ok_or(ProxyError::Malformed)?;
    let padded = word.len() > 1 && word.starts_with('0');
    if padded || !word.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ProxyError::Malformed);
    }
    parse(word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The outcome, and what was left unread.
    fn read(bytes: &[u8]) -> (Result<Told, ProxyError>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut rest = bytes;
        let outcome = runtime.block_on(read_header(&mut rest));
        (outcome, rest.to_vec())
    }

    fn addresses(from: &str, to: &str) -> Told {
        Told::Addresses { from: from.parse().unwrap(), to: to.parse().unwrap() }
    }

    fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend(u16::try_from(block.len()).unwrap().to_be_bytes());
        bytes.extend(block);
        bytes
    }

    #[test]
    fn a_header_is_read_to_its_last_byte_and_not_one_further() {
        let mut six = [0u8; 36];
        six[15] = 1;
        six[31] = 2;
        six[33] = 80;
        six[35] = 22;
        let cases = [
            (b"PROXY TCP4 203.0.113.7 192.0.2.1 56324 21\r\n".to_vec(), addresses("203.0.113.7:56324", "192.0.2.1:21")),
            (
                b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n".to_vec(),
                addresses("[2001:db8::7]:1", "[2001:db8::1]:65535"),
            ),
            (b"PROXY TCP6 ::ffff:203.0.113.7 ::1 1 2\r\n".to_vec(), addresses("203.0.113.7:1", "[::1]:2")),
            (b"PROXY UNKNOWN\r\n".to_vec(), Told::Nothing),
            (b"PROXY UNKNOWN ff:: whatever\r\n".to_vec(), Told::Nothing),
            (
                v2(0x21, 0x11, &[203, 0, 113, 7, 192, 0, 2, 1, 0x1f, 0x90, 0, 21]),
                addresses("203.0.113.7:8080", "192.0.2.1:21"),
            ),
            (
                v2(0x21, 0x11, &[203, 0, 113, 7, 192, 0, 2, 1, 0, 1, 0, 2, 4, 0, 1, 9]),
                addresses("203.0.113.7:1", "192.0.2.1:2"),
            ),
            (v2(0x21, 0x21, &six), addresses("[::1]:80", "[::2]:22")),
            (v2(0x20, 0x00, &[]), Told::Nothing),
            (v2(0x20, 0x11, &[0; 12]), Told::Nothing),
            (v2(0x21, 0x00, &[1, 2, 3]), Told::Nothing),
        ];
        for (header, expected) in cases {
            let mut bytes = header.clone();
            bytes.extend(b"SSH-2.0-payload\r\n");
            let (outcome, rest) = read(&bytes);
            assert_eq!(outcome.unwrap(), expected, "{}", header.escape_ascii());
            assert_eq!(rest, b"SSH-2.0-payload\r\n", "{}", header.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_exact_header_ends_the_connection() {
        let too_long = [b"PROXY TCP4 ".as_slice(), &[b'1'; 200]].concat();
        let cases: [&[u8]; 16] = [
            b"GET / HTTP/1.1\r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 +1 21\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 01 21\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 21\r\n",
            b"PROXY TCP4 203.0.113.07 192.0.2.1 1 21\r\n",
            b"PROXY TCP4  203.0.113.7 192.0.2.1 1 21\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1 21 x\r\n",
            b"PROXY TCP4 2001:db8::7 192.0.2.1 1 21\r\n",
            b"PROXY TCP6 203.0.113.7 192.0.2.1 1 21\r\n",
            b"PROXY UDP4 203.0.113.7 192.0.2.1 1 21\r\n",
            b"PROXY TCP4 203.0.113.7\r\n",
            b"PROXY TCP4 203.0.113.7 192.0.2.1 1 21",
            b"",
            b"\r\n\r\n\0\r\nQUI",
            &too_long,
        ];
        for bytes in cases {
            assert!(read(bytes).0.is_err(), "{}", bytes.escape_ascii());
        }
        for bytes in [
            v2(0x11, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x21, 0x12, &[0; 12]),
            v2(0x21, 0x31, &[0; 216]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x11, &[0; LONGEST_BLOCK + 1]),
        ] {
            assert!(read(&bytes).0.is_err(), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_give_a_verdict_and_never_a_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..256), kind in 0u8..3) {
            match kind {
                0 => {}
                1 => { bytes.splice(0..0, SIGNATURE); }
                _ => { bytes.splice(0..0, *b"PROXY TCP4 "); }
            }
            let _ = read(&bytes);
        }

        #[test]
        fn any_address_survives_the_way_through_a_header(from: u128, to: u128, from_port: u16, to_port: u16) {
            let (from, to) = (Ipv6Addr::from(from), Ipv6Addr::from(to));
            let line = format!("PROXY TCP6 {from} {to} {from_port} {to_port}\r\n");
            let expected = told(from.into(), from_port, to.into(), to_port);
            prop_assert_eq!(read(line.as_bytes()).0.unwrap(), expected);
            let block = [from.octets().as_slice(), &to.octets(), &from_port.to_be_bytes(), &to_port.to_be_bytes()].concat();
            prop_assert_eq!(read(&v2(0x21, 0x21, &block)).0.unwrap(), expected);
        }
    }
}
