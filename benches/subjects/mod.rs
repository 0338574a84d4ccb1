//! What `micro` and `icount` measure: the steps of a request, each with what it needs at hand.
//!
//! Both benches include it, so that a time and a count are of the same work. It must never do within a step what the
//! proxy doesn't do there: what a step is given is made before.

pub(crate) mod choosing;
pub(crate) mod exchange;
pub(crate) mod heads;
pub(crate) mod origins;
pub(crate) mod routing;
pub(crate) mod series;

use http::{HeaderMap, HeaderName, HeaderValue};

/// The program's own: what is allocated costs what it costs there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// What a browser sends for a page, of a visitor whom we have given a cookie.
pub(crate) const BROWSER: [(&str, &str); 15] = [
    ("host", "shop.example.com"),
    ("connection", "keep-alive"),
    ("cache-control", "max-age=0"),
    ("sec-ch-ua", "\"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\", \"Google Chrome\";v=\"140\""),
    ("sec-ch-ua-mobile", "?0"),
    ("sec-ch-ua-platform", "\"Linux\""),
    ("upgrade-insecure-requests", "1"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0"),
    ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"),
    ("sec-fetch-site", "same-origin"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "de-DE,de;q=0.9,en;q=0.8"),
    ("cookie", "_session=kx3JvE0q9mB7; theme=dark; crossfade=4711"),
];

/// Fields as the proxy has them.
pub(crate) fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let field = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    fields.iter().map(field).collect()
}

/// The head of a request or a response: its first line, then the fields.
pub(crate) fn head(first: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let lines = fields.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
    format!("{first}\r\n{}\r\n", lines.collect::<String>()).into_bytes()
}
