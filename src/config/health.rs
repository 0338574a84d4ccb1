//! What `[backends.NAME.health]` means: how a backend is asked how it does, and when an endpoint is left out for what
//! its answers say.
//!
//! `lower` builds it, `health` goes by it. It must never know how it was written down.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::uri::PathAndQuery;
use http::{HeaderName, HeaderValue, StatusCode};

use crate::config::limits::health as limits;

/// How a backend's health is found out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// How it is asked; nothing asks it nothing.
    pub probe: Option<Probe>,
    /// When what requests meet takes an endpoint out.
    pub ejection: Ejection,
}

/// How each endpoint of a backend is asked how it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is asked for.
    pub path: PathAndQuery,
    /// How often.
    pub interval: Duration,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Good answers in a row that bring an endpoint back.
    pub rise: u32,
    /// Bad ones in a row that take it out.
    pub fall: u32,
    /// Which statuses are good.
    pub expected: Expected,
    /// Which `Host` it carries; nothing means that of a visitor's request.
    pub host: Option<String>,
    /// What else it carries.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl Probe {
    /// Of a path, and as usual otherwise.
    pub fn of(path: PathAndQuery) -> Self {
        Self {
            path,
            interval: limits::PROBE_INTERVAL,
            timeout: limits::PROBE_TIMEOUT,
            rise: limits::PROBE_RISE,
            fall: limits::PROBE_FALL,
            expected: Expected::default(),
            host: None,
            headers: Vec::new(),
        }
    }
}

/// When an endpoint is left out for what requests meet there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ejection {
    /// Gateway failures in a row; 0 for never.
    pub after: u32,
    /// The share of failures, in percent; 0 for never.
    pub error_percent: u32,
    /// The answers that a share takes.
    pub min_requests: u64,
    /// How long the first ejection lasts.
    pub first: Duration,
}

impl Ejection {
    /// The longest ejection.
    pub fn most(&self) -> Duration {
        self.first.max(limits::EJECT_MOST)
    }
}

impl Default for Ejection {
    fn default() -> Self {
        Self {
            after: limits::EJECT_AFTER,
            error_percent: limits::EJECT_PERCENT,
            min_requests: limits::EJECT_REQUESTS,
            first: limits::EJECT_FOR,
        }
    }
}

/// Which statuses are good: never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected(Vec<RangeInclusive<u16>>);

impl Expected {
    /// A status (`204`) or a class of them (`2xx`).
    pub fn parse(text: &str) -> Option<Self> {
        let range = match *text.as_bytes() {
            [class @ b'1'..=b'5', b'x', b'x'] => {
                let first = u16::from(class - b'0') * 100;
                first..=first + 99
            }
            [b'1'..=b'5', b'0'..=b'9', b'0'..=b'9'] => {
                let status = text.parse().ok()?;
                status..=status
            }
            _ => return None,
        };
        Some(Self(vec![range]))
    }

    /// These and those.
    pub fn or(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether a status is among them.
    pub fn has(&self, status: StatusCode) -> bool {
        self.0.iter().any(|range| range.contains(&status.as_u16()))
    }
}

impl Default for Expected {
    fn default() -> Self {
        Self(vec![200..=299])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_codes_and_classes() {
        for (text, good, bad) in [("2xx", 204, 301), ("204", 204, 200), ("5xx", 599, 499)] {
            let expected = Expected::parse(text).unwrap();
            let has = |status| expected.has(StatusCode::from_u16(status).unwrap());
            assert!(has(good) && !has(bad), "{text}");
        }
        for text in ["", "xx", "0xx", "6xx", "99", "600", "20", "2XX", "+200", "0200", "+2xx", "2xxx"] {
            assert_eq!(Expected::parse(text), None, "{text}");
        }
        let mut both = Expected::default();
        both.or(Expected::parse("401").unwrap());
        assert!(both.has(StatusCode::OK) && both.has(StatusCode::UNAUTHORIZED));
    }
}
