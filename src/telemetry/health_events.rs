//! What changes in the health of backends, told with why and what helps.
//!
//! `health::watch` tells it. As for all events, a name is fixed once it is there.

use std::fmt::Display;
use std::time::Duration;

use tracing::{error, info, warn};

use super::events::Event;

/// Something that changed in the health of a backend.
#[derive(Clone, Copy)]
#[allow(missing_docs, reason = "the fields are the log's own, and named for it")]
pub enum HealthEvent<'a> {
    /// An endpoint fails its probes.
    EndpointDown { backend: &'a str, endpoint: &'a dyn Display, why: &'a str },
    /// An endpoint is left out for a while for what requests met there.
    EndpointEjected { backend: &'a str, endpoint: &'a dyn Display, why: &'a str, lasts: Duration },
    /// An endpoint can't be connected to, time and again.
    EndpointUnreachable { backend: &'a str, endpoint: &'a dyn Display, why: &'a str },
    /// An endpoint is used again.
    EndpointUp { backend: &'a str, endpoint: &'a dyn Display, was: &'a str, out: Duration },
    /// No endpoint of a backend is fit for requests.
    BackendDown { backend: &'a str, requests: &'a str },
    /// One is again.
    BackendUp { backend: &'a str, out: Duration },
    /// An app sends probes to https of the same.
    SentToHttps { backend: &'a str, endpoint: &'a dyn Display },
}

impl HealthEvent<'_> {
    pub(super) fn log(self) {
        match self {
            Self::EndpointDown { backend, endpoint, why } => {
                warn!(event = "backend.endpoint-down", backend, %endpoint, why, "fails its probes, and is left out");
            }
            Self::EndpointEjected { backend, endpoint, why, lasts } => {
                let for_s = lasts.as_secs_f64();
                warn!(event = "backend.endpoint-ejected", backend, %endpoint, why, for_s, "left out for a while");
            }
            Self::EndpointUnreachable { backend, endpoint, why } => {
                warn!(
                    event = "backend.endpoint-unreachable",
                    backend, %endpoint, why,
                    "can't be connected to; tried every second: is the app running, is the url right?"
                );
            }
            Self::EndpointUp { backend, endpoint, was, out } => {
                let out_s = out.as_secs_f64();
                info!(event = "backend.endpoint-up", backend, %endpoint, was, out_s, "used again");
            }
            Self::BackendDown { backend, requests } => {
                error!(event = "backend.down", backend, requests, "no endpoint of it is fit for requests");
            }
            Self::BackendUp { backend, out } => {
                info!(event = "backend.up", backend, out_s = out.as_secs_f64(), "it gets its requests again");
            }
            Self::SentToHttps { backend, endpoint } => {
                warn!(
                    event = "backend.probe-sent-to-https",
                    backend, %endpoint,
                    "it lives, but sends https to https: it doesn't believe X-Forwarded-Proto, and visitors may be \
                     sent round in circles; have the app trust its proxy, or write the url with https://"
                );
            }
        }
    }
}

impl<'a> From<HealthEvent<'a>> for Event<'a> {
    fn from(event: HealthEvent<'a>) -> Self {
        Self::Health(event)
    }
}
