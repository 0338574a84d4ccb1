//! WebSockets as bytes: the handshake, and frames as either side writes them (RFC 6455).
//!
//! It must never be a library: tests say which bytes they send.

/// A visitor's handshake for `path`, with further fields.
pub(crate) fn handshake(path: &str, more: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// A backend's agreement, with further fields.
pub(crate) fn agreed(more: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n{more}\r\n"
    )
}

/// A whole frame of up to 125 bytes as a backend sends it.
pub(crate) fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("it is short");
    assert!(length < 126, "it is short");
    [&[0x80 | opcode, length], payload].concat()
}

/// The same as a visitor sends it, under a key of zeros.
pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = frame(opcode, payload);
    bytes[1] |= 0x80;
    bytes.splice(2..2, [0; 4]);
    bytes
}

/// A close frame's payload.
pub(crate) const RESTART: [u8; 2] = 1012u16.to_be_bytes();
/// The opcode of a text.
pub(crate) const TEXT: u8 = 1;
/// The opcode of a close.
pub(crate) const CLOSE: u8 = 8;
