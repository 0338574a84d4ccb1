//! Pure: the header of HAProxy's PROXY protocol, versions 1 and 2, with which a load balancer says who the visitor is
//! (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>).
//!
//! `server::opening` reads it, from peers that are trusted alone, before any other byte of a connection. It must never
//! guess: what isn't a header by the letter ends the connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str;

/// What the bytes of a connection begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Header {
    /// A part of a header; more has to come.
    More,
    /// A whole one.
    Whole {
        /// Its bytes.
        length: usize,
        /// Who the visitor is; nothing where the load balancer speaks for itself (a health check).
        source: Option<SocketAddr>,
    },
}

/// Bytes that are no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a PROXY header was expected")]
pub struct NoHeader;

/// The longest header of version 1 (section 2.1), and what of version 2 is taken: its addresses and some 2 KiB of
/// further facts, which are skipped.
pub const LONGEST: usize = 2048;

const LINE: usize = 107;
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Reads the header that `bytes` begin with.
///
/// # Errors
/// Says so where no bytes to come could make one of them.
pub fn read(bytes: &[u8]) -> Result<Header, NoHeader> {
    let begins = |start: &[u8]| {
        let length = start.len().min(bytes.len());
        bytes[..length] == start[..length]
    };
    if begins(SIGNATURE) {
        binary(bytes)
    } else if begins(b"PROXY ") {
        text(bytes)
    } else {
        Err(NoHeader)
    }
}

/// Version 1: a line such as `PROXY TCP4 203.0.113.7 10.0.0.1 51234 443` (section 2.1).
fn text(bytes: &[u8]) -> Result<Header, NoHeader> {
    let Some(end) = memchr::memchr(b'\n', &bytes[..bytes.len().min(LINE)]) else {
        return if bytes.len() < LINE { Ok(Header::More) } else { Err(NoHeader) };
    };
    let line = bytes[..end].strip_suffix(b"\r").ok_or(NoHeader)?;
    let line = str::from_utf8(line).map_err(|_| NoHeader)?;
    let mut words = line.split(' ').skip(1);
    let mut word = || words.next().ok_or(NoHeader);
    let length = end + 1;
    let source = match word()? {
        "UNKNOWN" => return Ok(Header::Whole { length, source: None }),
        "TCP4" => addresses::<Ipv4Addr>(word()?, word()?)?,
        "TCP6" => addresses::<Ipv6Addr>(word()?, word()?)?,
        _ => return Err(NoHeader),
    };
    let (from, to) = (port(word()?)?, port(word()?)?);
    if words.next().is_some() || to == 0 {
        return Err(NoHeader);
    }
    Ok(Header::Whole { length, source: Some(SocketAddr::new(source, from)) })
}

/// The visitor's address, where both are of one family.
fn addresses<A: str::FromStr + Into<IpAddr>>(from: &str, to: &str) -> Result<IpAddr, NoHeader> {
    to.parse::<A>().map_err(|_| NoHeader)?;
    from.parse::<A>().map(Into::into).map_err(|_| NoHeader)
}

/// Digits without a leading zero.
fn port(word: &str) -> Result<u16, NoHeader> {
    let plain = word.bytes().all(|b| b.is_ascii_digit()) && (word == "0" || !word.starts_with('0'));
    if plain { word.parse().map_err(|_| NoHeader) } else { Err(NoHeader) }
}

/// Version 2 (section 2.2).
fn binary(bytes: &[u8]) -> Result<Header, NoHeader> {
    let Some((fixed, rest)) = bytes.split_at_checked(16) else { return Ok(Header::More) };
    let announced = usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let length = 16 + announced;
    if length > LONGEST {
        return Err(NoHeader);
    }
    let Some(body) = rest.get(..announced) else { return Ok(Header::More) };
    let source = match (fixed[12], fixed[13]) {
        // LOCAL: the load balancer itself.
        (0x20, _) => None,
        // TCP over IPv4 and IPv6: addresses, then ports, the visitor's first.
        (0x21, 0x11) => Some(of_octets::<4>(body)?),
        (0x21, 0x21) => Some(of_octets::<16>(body)?),
        // Of another family nothing can be said that we would understand.
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => None,
        _ => return Err(NoHeader),
    };
    Ok(Header::Whole { length, source })
}

fn of_octets<const N: usize>(body: &[u8]) -> Result<SocketAddr, NoHeader>
where
    IpAddr: From<[u8; N]>,
{
    let address = body.first_chunk::<N>().ok_or(NoHeader)?;
    let ports = body.get(2 * N..2 * N + 4).ok_or(NoHeader)?;
    Ok(SocketAddr::new(IpAddr::from(*address), u16::from_be_bytes([ports[0], ports[1]])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, body].concat()
    }

    #[test]
    fn the_visitor_is_who_the_header_says() {
        let four = [203, 0, 113, 7, 10, 0, 0, 1, 0xc8, 0x22, 1, 187];
        let mut six = [0; 36 + 4];
        six[15] = 1;
        six[32..34].copy_from_slice(&51_234_u16.to_be_bytes());
        for (bytes, source) in [
            (b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\r\n".to_vec(), Some("203.0.113.7:51234")),
            (b"PROXY TCP6 2001:db8::1 ::1 51234 443\r\n".to_vec(), Some("[2001:db8::1]:51234")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n".to_vec(), None),
            (v2(0x21, 0x11, &four), Some("203.0.113.7:51234")),
            (v2(0x21, 0x21, &six), Some("[::1]:51234")),
            (v2(0x20, 0x00, b""), None),
            (v2(0x20, 0x11, &four), None),
            (v2(0x21, 0x31, &[0; 216]), None),
        ] {
            let expected =
                Header::Whole { length: bytes.len(), source: source.map(|it| it.parse().unwrap()) };
            let with_more = [&bytes[..], b"GET /"].concat();
            assert_eq!(read(&with_more), Ok(expected));
            for cut in 0..bytes.len() {
                assert_eq!(read(&bytes[..cut]), Ok(Header::More), "{cut} of {bytes:?}");
            }
        }
    }

    #[test]
    fn what_is_no_header_is_refused() {
        for bytes in [
            b"GET / HTTP/1.1\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 443\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 10.0.0.1 51234\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 10.0.0.1 51234 443 5\r\n".to_vec(),
            b"PROXY TCP4  203.0.113.7 10.0.0.1 51234 443\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::1 10.0.0.1 51234 443\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 10.0.0.1 65536 443\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 10.0.0.1 +1 443\r\n".to_vec(),
            b"PROXY TCP4 203.0.113.7 10.0.0.1 01 443\r\n".to_vec(),
            b"PROXY UDP4 203.0.113.7 10.0.0.1 1 443\r\n".to_vec(),
            [b"PROXY UNKNOWN ".to_vec(), vec![b'a'; 200]].concat(),
            v2(0x11, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x41, &[0; 12]),
            v2(0x21, 0x11, &[0; 2100]),
        ] {
            assert_eq!(read(&bytes), Err(NoHeader), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_get_a_verdict(start in 0..3_usize, rest: Vec<u8>) {
            let bytes = [[&b""[..], b"PROXY TCP4 ", SIGNATURE][start], &rest].concat();
            if let Ok(Header::Whole { length, .. }) = read(&bytes) {
                prop_assert!(length <= bytes.len() && length <= LONGEST);
            }
        }
    }
}
