//! A configuration from command-line words: two backends, one route, no file.
//!
//! `crossfade run --listen … --stable … --candidate …` calls it. It must never mean anything that a file
//! couldn't say.

use std::fmt;
use std::path::Path;

use crate::config::address;
use crate::config::health::Health;
use crate::config::limits::{self, Capacity, Limits, Timeouts};
use crate::config::lower::{is_ourselves, overlap, platform_of_host, timeouts_of_platform};
use crate::config::model::{
    AccessFormat, AccessLog, Backend, BackendIndex, Config, EndpointUrl, Failover, HostPolicy, Http2,
    LogTarget, Mode, Name, Route, Server, Tls,
};
use crate::config::problem::Fault;
use crate::headers::origin::Trust;
use crate::routing::pattern::PathPrefix;
use crate::split::{Pin, Sticky, Weights};

/// The words as they were given.
#[derive(Debug, Clone, Copy)]
pub struct QuickStart<'a> {
    /// Where to listen: `127.0.0.1:8080`.
    pub listen: &'a str,
    /// Where to serve metrics, if anywhere: `127.0.0.1:9902`.
    pub metrics: Option<&'a str>,
    /// URL of the backend that rollback returns to.
    pub stable: &'a str,
    /// URL of the backend that is being tried.
    pub candidate: &'a str,
    /// The candidate's share of the requests, 0 to 100.
    pub percent: f64,
    /// Where overrides, history and the admin socket are kept, if anywhere.
    pub state: Option<&'a Path>,
}

/// Every word that can't be used: the option it was given with, and what is wrong with it. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuickStartError(pub Vec<(&'static str, Fault)>);

impl fmt::Display for QuickStartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (option, fault)) in self.0.iter().enumerate() {
            let end = if i > 0 { "\n" } else { "" };
            write!(f, "{end}{option}: {fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for QuickStartError {}

/// The configuration that the words mean, or every word that can't be used.
///
/// The backends are called `stable` and `candidate`, their platform follows from their domain; everything
/// else is the file's default.
pub fn quick_start(words: &QuickStart<'_>) -> Result<Config, QuickStartError> {
    let mut errors = QuickStartError(Vec::new());
    let listen = errors.keep("--listen", address::listen(words.listen));
    let metrics = words.metrics.and_then(|text| errors.keep("--metrics", address::listen(text)));
    let stable = errors.keep("--stable", address::endpoint(words.stable));
    let candidate = errors.keep("--candidate", address::endpoint(words.candidate));
    let weights = errors.keep("--percent", weights(words.percent));
    let (Some(listen), Some(stable), Some(candidate), Some(weights)) = (listen, stable, candidate, weights)
    else {
        return Err(errors);
    };
    if metrics.is_some_and(|metrics| overlap(&metrics, &listen)) {
        let fault =
            Fault::new(format!("{listen} is where visitors come in"), "give metrics a port of their own");
        errors.0.push(("--metrics", fault));
    }
    for (option, url) in [("--stable", &stable), ("--candidate", &candidate)] {
        if metrics.iter().chain([&listen]).any(|listener| is_ourselves(url, listener)) {
            let message = "this is the proxy's own address: requests would never reach the app";
            errors.0.push((option, Fault::new(message, "write the app's address, or listen elsewhere")));
        }
    }
    if !errors.0.is_empty() {
        return Err(errors);
    }
    let (http, drain_timeout) = (vec![listen], limits::DRAIN);
    let told = format!("{stable} {candidate}");
    Ok(Config {
        server: Server {
            http,
            unix: Vec::new(),
            https: Vec::new(),
            proxy_protocol: false,
            metrics,
            workers: None,
            drain_timeout,
            admin: None,
        },
        tls: Tls::default(),
        forwarded: Trust::default(),
        backends: vec![backend("candidate", candidate), backend("stable", stable)],
        routes: vec![route(weights)],
        limits: Limits::default(),
        timeouts: Timeouts::default(),
        access_log: AccessLog { format: AccessFormat::Json, target: Some(LogTarget::Stdout) },
        acme: None,
        words: Some(told),
        state_dir: words.state.map(Path::to_owned),
    })
}

/// Where the two backends stand in the order of their names.
const CANDIDATE: BackendIndex = BackendIndex(0);
const STABLE: BackendIndex = BackendIndex(1);

impl QuickStartError {
    fn keep<T>(&mut self, option: &'static str, parsed: Result<T, Fault>) -> Option<T> {
        parsed.map_err(|fault| self.0.push((option, fault))).ok()
    }
}

fn weights(percent: f64) -> Result<Weights, Fault> {
    const FORM: &str = "write a number from 0 to 100";
    if !(0.0..=100.0).contains(&percent) {
        return Err(Fault::new(format!("the candidate's share can't be {percent} percent"), FORM));
    }
    Weights::new(&[percent, 100.0 - percent], STABLE.0).map_err(|error| Fault::of_sentence(&error, FORM))
}

fn backend(name: &'static str, url: EndpointUrl) -> Backend {
    let platform = platform_of_host(url.host().unwrap_or_default());
    Backend {
        name: literal(name),
        endpoints: vec![url],
        platform,
        host: HostPolicy::Backend,
        ca_file: None,
        http2: Http2::default(),
        timeouts: timeouts_of_platform(platform),
        capacity: Capacity::default(),
        health: Health::default(),
    }
}

fn route(weights: Weights) -> Route {
    Route {
        name: literal("default"),
        hosts: Vec::new(),
        path: PathPrefix::default(),
        stable: STABLE,
        backends: vec![CANDIDATE, STABLE],
        weights,
        sticky: Sticky::None,
        pin: Pin::default(),
        mode: Mode::Open,
        failover: Failover::default(),
    }
}

fn literal(name: &'static str) -> Name {
    Name::parse(name).expect("the names in this file are short and plain")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::model::Platform;

    const WORDS: QuickStart<'_> = QuickStart {
        listen: "127.0.0.1:8080",
        metrics: None,
        stable: "https://myapp-1a2b3c.herokuapp.com",
        candidate: "https://myapp.fly.dev",
        percent: 5.0,
        state: None,
    };

    #[test]
    fn means_what_the_same_words_in_a_file_mean() {
        let text = r#"
            [server]
            http = "127.0.0.1:8080"
            [backends.stable]
            url = "https://myapp-1a2b3c.herokuapp.com"
            platform = "heroku"
            [backends.candidate]
            url = "https://myapp.fly.dev"
            platform = "fly"
            [[routes]]
            name = "default"
            stable = "stable"
            weights = { candidate = 5, stable = 95 }
        "#;
        let file = crate::config::load(text, &|_| None).unwrap();
        let words = quick_start(&WORDS).unwrap();
        assert_eq!(words, Config { words: words.words.clone(), ..file.config });
    }

    #[test]
    fn shares_are_percent_and_platforms_follow_from_domains() {
        let config = quick_start(&QuickStart { percent: 2.5, ..WORDS }).unwrap();
        let weights = &config.routes[0].weights;
        assert!((weights.ratio(CANDIDATE.0) - 0.025).abs() < 1e-9);
        assert_eq!(weights.stable(), STABLE.0);
        let platforms: Vec<_> = config.backends.iter().map(|backend| backend.platform).collect();
        assert_eq!(platforms, [Platform::Fly, Platform::Heroku]);
    }

    #[test]
    fn every_wrong_word_is_named() {
        let words = QuickStart {
            listen: ":8080",
            metrics: Some("9902"),
            stable: "a.example",
            candidate: "",
            state: None,
            percent: f64::NAN,
        };
        let error = quick_start(&words).unwrap_err();
        let options: Vec<_> = error.0.iter().map(|(option, _)| *option).collect();
        assert_eq!(options, ["--listen", "--metrics", "--stable", "--candidate", "--percent"]);
        let first =
            "--listen: `:8080` isn't an address to listen on; write \"0.0.0.0:8080\" or \"[::]:8080\"\n";
        assert!(error.to_string().starts_with(first), "{error}");
    }

    #[test]
    fn a_proxy_to_itself_is_refused() {
        let error = quick_start(&QuickStart { stable: "http://localhost:8080", ..WORDS }).unwrap_err();
        assert_eq!(error.0[0].0, "--stable");
        let own = QuickStart { metrics: Some("127.0.0.1:9902"), candidate: "http://0.0.0.0:9902", ..WORDS };
        assert_eq!(quick_start(&own).unwrap_err().0[0].0, "--candidate");
        for metrics in ["127.0.0.1:8080", "0.0.0.0:8080", "[::]:8080"] {
            let error = quick_start(&QuickStart { metrics: Some(metrics), ..WORDS }).unwrap_err();
            assert_eq!(error.0[0].0, "--metrics");
        }
    }
}
