//! The PROXY protocol: what a load balancer says of a client before the client's first byte.
//!
//! Versions 1 (a line) and 2 (binary), as in HAProxy's document "The PROXY protocol", 2020/03/05. Only the client's
//! address counts; everything else that version 2 may add is skipped.

use std::io;
use std::net::IpAddr;
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The client's address.
    Client(IpAddr),
    /// That the balancer itself connects, such as for a health check, or that it does not know.
    Balancer,
}

/// Why there is no header.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoHeader {
    /// What came is none.
    #[error("what came first is no header of the PROXY protocol")]
    Malformed,
    /// The connection ended or broke.
    #[error("the connection ended within the header of the PROXY protocol: {0}")]
    Io(#[from] io::Error),
}

/// Takes the header off a connection, and not a byte more.
pub(crate) async fn read(stream: &mut TcpStream) -> Result<Source, NoHeader> {
    let mut header = Vec::with_capacity(V1_BYTES_MAX);
    let mut peeked = [0; V1_BYTES_MAX];
    loop {
        // What is only looked at is either the header or a part of it, which is taken at once, so that the next look
        // waits for more.
        let length = stream.peek(&mut peeked).await?;
        if length == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let before = header.len();
        header.extend_from_slice(&peeked[..length]);
        let parsed = parse(&header).ok_or(NoHeader::Malformed)?;
        let end = match parsed {
            Parsed::Whole { length, .. } => length,
            Parsed::Part => header.len(),
        };
        header.truncate(before);
        header.resize(end, 0);
        stream.read_exact(&mut header[before..]).await?;
        if let Parsed::Whole { source, .. } = parsed {
            return Ok(source);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parsed {
    /// The header is over after `length` bytes.
    Whole { length: usize, source: Source },
    /// All that there is belongs to the header, and more has to come.
    Part,
}

/// What a connection begins with; `None` when it is no header.
fn parse(bytes: &[u8]) -> Option<Parsed> {
    if is_begun(bytes, V2_SIGNATURE) {
        parse_v2(bytes)
    } else if is_begun(bytes, V1_BEGIN) {
        parse_v1(bytes)
    } else {
        None
    }
}

fn is_begun(bytes: &[u8], beginning: &[u8]) -> bool {
    bytes.starts_with(beginning) || beginning.starts_with(bytes)
}

/// Section 2.1: `PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n`.
fn parse_v1(bytes: &[u8]) -> Option<Parsed> {
    let Some(end) = bytes.windows(2).take(V1_BYTES_MAX - 1).position(|pair| pair == b"\r\n") else {
        return (bytes.len() < V1_BYTES_MAX).then_some(Parsed::Part);
    };
    let line = str::from_utf8(&bytes[V1_BEGIN.len()..end]).ok()?;
    let length = end + 2;
    if line == "UNKNOWN" || line.starts_with("UNKNOWN ") {
        return Some(Parsed::Whole { length, source: Source::Balancer });
    }
    let [family, source, destination, source_port, destination_port] =
        line.split(' ').collect::<Vec<_>>().try_into().ok()?;
    let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u16>().is_ok();
    if !is_port(source_port) || !is_port(destination_port) {
        return None;
    }
    let address = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    address(destination)?;
    Some(Parsed::Whole { length, source: Source::Client(address(source)?) })
}

/// Section 2.2: the signature, version and command, family, length; then the addresses and what is skipped.
fn parse_v2(bytes: &[u8]) -> Option<Parsed> {
    let Some([command, family, high, low]) = bytes.get(V2_SIGNATURE.len()..V2_HEAD_BYTES) else {
        return Some(Parsed::Part);
    };
    let length = V2_HEAD_BYTES + usize::from(u16::from_be_bytes([*high, *low]));
    if length > V2_BYTES_MAX || !matches!(command, 0x20 | 0x21) || family >> 4 > 3 || family & 15 > 2 {
        return None;
    }
    if bytes.len() < length {
        return Some(Parsed::Part);
    }
    let rest = &bytes[V2_HEAD_BYTES..length];
    let source = match (command, family >> 4) {
        // LOCAL: whatever else it says, it is the balancer's own.
        (0x20, _) => Source::Balancer,
        (_, 1) => Source::Client(IpAddr::from(*rest.get(..12)?.first_chunk::<4>()?)),
        (_, 2) => Source::Client(IpAddr::from(*rest.get(..36)?.first_chunk::<16>()?)),
        // Unspecified, or a Unix socket, which has no address that anybody could go by.
        _ => Source::Balancer,
    };
    Some(Parsed::Whole { length, source })
}

const V1_BEGIN: &[u8] = b"PROXY ";
/// The longest line, its end included.
const V1_BYTES_MAX: usize = 107;
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_HEAD_BYTES: usize = 16;
/// Addresses take 216 at most; the rest is for what balancers add, such as names and certificates of clients.
const V2_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [V2_SIGNATURE, &[command, family], &length, rest].concat()
    }

    fn client(address: &str) -> Option<Source> {
        Some(Source::Client(address.parse().unwrap()))
    }

    fn source_of(header: &[u8]) -> Option<Source> {
        match parse(header)? {
            Parsed::Whole { length, source } if length == header.len() => Some(source),
            _ => None,
        }
    }

    #[test]
    fn a_line_says_who_the_client_is() {
        let longest = "PROXY TCP6 ffff:f...f:ffff:ffff:ffff:ffff:ffff".len();
        assert!(longest < V1_BYTES_MAX);
        for (line, expected) in [
            ("PROXY TCP4 192.0.2.7 192.0.2.1 56324 443\r\n", client("192.0.2.7")),
            ("PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\n", client("2001:db8::7")),
            ("PROXY UNKNOWN\r\n", Some(Source::Balancer)),
            ("PROXY UNKNOWN ffff::1 whatever\r\n", Some(Source::Balancer)),
            ("PROXY TCP4 2001:db8::7 192.0.2.1 1 2\r\n", None),
            ("PROXY TCP4 192.0.2.7 nobody 1 2\r\n", None),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 1 65536\r\n", None),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 +1 2\r\n", None),
            ("PROXY TCP4  192.0.2.7 192.0.2.1 1 2\r\n", None),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 1\r\n", None),
            ("PROXY TCP4 192.0.2.07 192.0.2.1 1 2\r\n", None),
            ("PROXY UDP4 192.0.2.7 192.0.2.1 1 2\r\n", None),
            ("PROXY TCP4 192.0.2.7 192.0.2.1 1 2\n", None),
            ("proxy TCP4 192.0.2.7 192.0.2.1 1 2\r\n", None),
            ("GET / HTTP/1.1\r\n", None),
        ] {
            assert_eq!(source_of(line.as_bytes()), expected, "{line:?}");
        }
    }

    #[test]
    fn a_binary_header_says_who_the_client_is() {
        let (v4, v6) = ([192, 0, 2, 7, 192, 0, 2, 1, 0, 1, 0, 2], [[0x20; 16], [0; 16]].concat());
        let v6 = [&v6[..], &[0; 4]].concat();
        let with_more = [&v4[..], &[0x04, 0, 3, 1, 2, 3]].concat();
        for (header, expected) in [
            (v2(0x21, 0x11, &v4), client("192.0.2.7")),
            (v2(0x21, 0x12, &v4), client("192.0.2.7")),
            (v2(0x21, 0x11, &with_more), client("192.0.2.7")),
            (v2(0x21, 0x21, &v6), client("2020:2020:2020:2020:2020:2020:2020:2020")),
            (v2(0x21, 0x31, &[1; 216]), Some(Source::Balancer)),
            (v2(0x21, 0x00, &[]), Some(Source::Balancer)),
            (v2(0x20, 0x00, &[]), Some(Source::Balancer)),
            (v2(0x20, 0x11, &v4), Some(Source::Balancer)),
            (v2(0x21, 0x11, &v4[1..]), None),
            (v2(0x21, 0x21, &v6[1..]), None),
            (v2(0x22, 0x11, &v4), None),
            (v2(0x11, 0x11, &v4), None),
            (v2(0x21, 0x41, &v4), None),
            (v2(0x21, 0x13, &v4), None),
            (v2(0x21, 0x11, &[0; 5000]), None),
        ] {
            assert_eq!(source_of(&header), expected, "{:?}", &header[12..]);
        }
    }

    proptest! {
        #[test]
        fn what_is_cut_short_asks_for_more_and_what_follows_is_left(cut in 0_usize..28, more in ".{0,20}") {
            let header = v2(0x21, 0x11, &[192, 0, 2, 7, 192, 0, 2, 1, 0, 1, 0, 2]);
            prop_assert_eq!(parse(&header[..cut]), Some(Parsed::Part));
            let whole = Parsed::Whole { length: 28, source: Source::Client(IpAddr::from([192, 0, 2, 7])) };
            prop_assert_eq!(parse(&[&header[..], more.as_bytes()].concat()), Some(whole));
        }

        #[test]
        fn bytes_of_strangers_never_panic_and_never_ask_for_more_than_may_be(bytes: Vec<u8>, kind in 0..3) {
            let beginning: &[u8] = [V2_SIGNATURE, V1_BEGIN, b""][kind as usize];
            let bytes = [beginning, &bytes].concat();
            match parse(&bytes) {
                Some(Parsed::Whole { length, .. }) => prop_assert!(length <= bytes.len()),
                Some(Parsed::Part) => prop_assert!(bytes.len() < V2_BYTES_MAX),
                None => {}
            }
        }
    }
}
