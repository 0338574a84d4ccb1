//! An authority that is taken is written back as the same bytes, and nothing in it can mean a second thing.

#![no_main]

use crossfade_fuzz::headers::authority::{parse_authority, parse_port};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some(port) = parse_port(data) {
        assert_eq!(port.to_string().as_bytes(), data);
        assert_ne!(port, 0);
    }
    let Some(authority) = parse_authority(data) else { return };
    let port = authority.port.map(|port| format!(":{port}")).unwrap_or_default();
    assert_eq!(format!("{}{port}", authority.host).as_bytes(), data);
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~[]:".contains(byte);
    assert!(
        !authority.host.is_empty() && data.iter().all(plain),
        "nothing that starts a path, userinfo or list"
    );
    let shape = authority.host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match shape {
        Some(address) => assert_eq!(authority.address(), address.parse().ok(), "brackets are an address's"),
        None => assert!(!authority.host.contains(['[', ']', ':'])),
    }
    // The parser of everything behind us agrees.
    let uri: http::uri::Authority =
        std::str::from_utf8(data).expect("ASCII").parse().expect("`http` reads it");
    assert_eq!((uri.host(), uri.port_u16()), (authority.host, authority.port));
});
