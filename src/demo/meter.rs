//! Asks the proxy for `/metrics`, as Prometheus would, and takes from the text what the demo shows.
//!
//! `stage` and `conductor` have one each. It must never look anywhere else for a figure: what it shows is what
//! an operator has.

use std::net::SocketAddr;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::Side;

/// A connection to the proxy's listener for metrics.
#[derive(Debug)]
pub(super) struct Meter {
    address: SocketAddr,
    sender: Option<SendRequest<Empty<Bytes>>>,
}

impl Meter {
    /// One that connects when asked.
    pub(super) fn new(address: SocketAddr) -> Self {
        Self { address, sender: None }
    }

    /// What the metrics say now; nothing where the listener doesn't answer.
    pub(super) async fn read(&mut self) -> Option<Scrape> {
        let text = self.text().await;
        if text.is_none() {
            self.sender = None;
        }
        Some(parse(&text?))
    }

    async fn text(&mut self) -> Option<String> {
        let sender = match &mut self.sender {
            Some(sender) => sender,
            none => none.insert(connect(self.address).await?),
        };
        let request = Request::get("/metrics").header(http::header::HOST, self.address.to_string());
        let request = request.body(Empty::new()).expect("a path and an address are a request");
        let response = sender.send_request(request).await.ok()?;
        let bytes = response.into_body().collect().await.ok()?.to_bytes();
        String::from_utf8(bytes.into()).ok()
    }
}

/// What one look at the metrics found.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Scrape {
    /// The live revision.
    pub(super) revision: u64,
    /// Whether the file was refused when it was read last.
    pub(super) is_refused: bool,
    /// The backends' figures, both at zero where the file no longer names them.
    pub(super) sides: [Counts; 2],
}

/// One backend's figures since the start, all routes together.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Counts {
    /// Its share, 0 to 1.
    pub(super) weight: f64,
    /// Requests that ended.
    pub(super) requests: f64,
    /// Those of them with a status from 500.
    pub(super) errors: f64,
    /// Upper bounds in seconds, and how many requests took no longer.
    pub(super) buckets: Vec<(f64, f64)>,
}

async fn connect(address: SocketAddr) -> Option<SendRequest<Empty<Bytes>>> {
    let socket = TcpStream::connect(address).await.ok()?;
    let (sender, connection) = http1::handshake(TokioIo::new(socket)).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}

fn parse(text: &str) -> Scrape {
    let mut scrape = Scrape::default();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((sample, value)) = line.rsplit_once(' ') else { continue };
        let Ok(value) = value.parse::<f64>() else { continue };
        let (name, labels) = sample.split_once('{').unwrap_or((sample, ""));
        match name {
            "crossfade_revision" => scrape.revision = value as u64,
            "crossfade_config_last_reload_successful" => scrape.is_refused = value == 0.0,
            _ => {
                let side = label(labels, "backend").and_then(Side::named);
                side.map(|side| count(&mut scrape.sides[side as usize], name, labels, value)).unwrap_or(());
            }
        }
    }
    scrape
}

fn count(counts: &mut Counts, name: &str, labels: &str, value: f64) {
    match name {
        "crossfade_weight_ratio" => counts.weight = value,
        "crossfade_requests_total" => {
            counts.requests += value;
            if label(labels, "code").is_some_and(|code| code.starts_with('5')) {
                counts.errors += value;
            }
        }
        "crossfade_request_duration_seconds_bucket" => {
            let bound = label(labels, "le").and_then(|bound| bound.parse().ok()).unwrap_or(f64::INFINITY);
            match counts.buckets.iter_mut().find(|(known, _)| *known == bound) {
                Some((_, below)) => *below += value,
                None => counts.buckets.push((bound, value)),
            }
        }
        _ => {}
    }
}

/// The value of a label. No name or value of ours has a quote or a comma in it.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    let labels = labels.trim_end_matches('}').split(',');
    labels
        .filter_map(|pair| pair.split_once('='))
        .find(|(key, _)| *key == name)
        .map(|(_, v)| v.trim_matches('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# TYPE crossfade_requests_total counter
crossfade_requests_total{route="web",backend="fly",method="GET",code="200"} 40
crossfade_requests_total{route="web",backend="fly",method="GET",code="500"} 2
crossfade_requests_total{route="api",backend="fly",method="GET",code="502"} 1
crossfade_requests_total{route="none",backend="none",method="GET",code="400"} 9
crossfade_request_duration_seconds_bucket{route="web",backend="heroku",le="0.01"} 5
crossfade_request_duration_seconds_bucket{route="api",backend="heroku",le="0.01"} 1
crossfade_request_duration_seconds_bucket{route="web",backend="heroku",le="+Inf"} 7
crossfade_weight_ratio{route="web",backend="fly"} 0.25
crossfade_config_last_reload_successful 0
crossfade_revision 12
"#;

    #[test]
    fn figures_are_taken_from_the_text_by_backend() {
        let scrape = parse(TEXT);
        let [heroku, fly] = &scrape.sides;
        assert_eq!((scrape.revision, scrape.is_refused, fly.weight), (12, true, 0.25));
        assert_eq!((fly.requests, fly.errors), (43.0, 3.0));
        assert_eq!(heroku.buckets, [(0.01, 6.0), (f64::INFINITY, 7.0)]);
    }

    #[test]
    fn text_that_is_something_else_gives_nothing() {
        assert_eq!(parse("<html>\ncrossfade_revision x\n{} 1\nfoo{backend= 1"), Scrape::default());
    }
}
