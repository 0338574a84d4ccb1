//! What names the backend in an answer is brought home, and nothing else is touched.

#![no_main]

use crossfade_fuzz::headers::hop_by_hop;
use crossfade_fuzz::headers::origin::Scheme;
use crossfade_fuzz::headers::response::{Public, rewrite};
use http::header::{CONTENT_LENGTH, CONTENT_LOCATION, LOCATION, REFRESH, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};

const OWN: &str = "app-1.herokuapp.com";

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let public = Public { scheme: Scheme::Https, host: "www.example.com" };
    let rewritten = |name: HeaderName, value: &HeaderValue, own: &str| {
        let mut headers = HeaderMap::from_iter([(name.clone(), value.clone())]);
        rewrite(&mut headers, &public, &[own.to_owned()]);
        headers[&name].clone()
    };
    let begins = |value: &HeaderValue, start: &str| {
        value.as_bytes().get(..start.len()).is_some_and(|it| it.eq_ignore_ascii_case(start.as_bytes()))
    };
    for name in [LOCATION, CONTENT_LOCATION, REFRESH, SET_COOKIE] {
        let home = rewritten(name.clone(), &value, OWN);
        assert_eq!(rewritten(name.clone(), &home, OWN), home, "once is enough: {name}");
        assert_eq!(
            rewritten(name.clone(), &value, "other.example"),
            rewritten(name, &value, "another.example")
        );
    }
    let home = rewritten(LOCATION, &value, OWN);
    if home != value {
        assert!(begins(&home, "https://www.example.com"));
        let rest = |value: &HeaderValue| {
            let slashes =
                value.as_bytes().windows(2).position(|two| two == b"//").expect("it is absolute") + 2;
            let rest = &value.as_bytes()[slashes..];
            let end = rest.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(rest.len());
            rest[end..].to_vec()
        };
        assert_eq!(rest(&home), rest(&value), "the path is the app's");
    }
    for start in [format!("http://{OWN}/"), format!("https://{OWN}/"), format!("//{OWN}/")] {
        assert!(!begins(&home, &start), "it names the backend");
    }
    let mut headers = HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from(7))]);
    headers.insert("connection", value.clone());
    headers.insert("keep-alive", value.clone());
    let _ = hop_by_hop::keep_alive_timeout(&headers);
    hop_by_hop::strip_response(&mut headers);
    assert_eq!(headers.len(), 1, "no word of a backend takes its own framing away: {headers:?}");
});
