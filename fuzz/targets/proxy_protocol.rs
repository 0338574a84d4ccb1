//! A PROXY header is whole at one byte and at no other, whatever follows it; a refusal is never taken back.

#![no_main]

use crossfade_fuzz::server::proxy_protocol::{Header, LONGEST, read};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let whole = read(data);
    let mut refused = false;
    // Long ones differ in their length alone.
    for cut in 0..data.len().min(300) {
        match read(&data[..cut]) {
            Ok(Header::More) => assert!(!refused, "more can't mend what was refused"),
            Ok(header) => {
                assert_eq!(whole, Ok(header), "what follows a header doesn't change it");
                break;
            }
            Err(_) => refused = true,
        }
    }
    assert!(!refused || whole.is_err());
    let Ok(Header::Whole { length, source }) = whole else { return };
    assert!(length <= data.len() && length <= LONGEST);
    assert_eq!(read(&data[..length]), whole);
    assert_eq!(read(&data[..length - 1]), Ok(Header::More));
    let Some(source) = source else { return };
    if data.starts_with(b"PROXY ") {
        let line = std::str::from_utf8(&data[..length]).expect("a line of ASCII");
        let words: Vec<&str> = line.strip_suffix("\r\n").expect("it ends so").split(' ').collect();
        assert_eq!(words.len(), 6);
        assert_eq!(words[1] == "TCP4", source.is_ipv4());
        assert_eq!(words[2].parse().ok(), Some(source.ip()));
        assert_eq!(words[4], source.port().to_string());
    }
});
