//! What can go wrong with an exchange, in one table: status, reason, and whose fault it is.
//!
//! `forward` and `admit` make errors, `reply` answers them, metrics and records carry their reasons. It must
//! never hold bytes of a request or response: reasons are labels.

use std::error::Error as _;
use std::io;

use http::StatusCode;

use crate::proxy::refusal::Refusal;
use crate::proxy::shed::Shed;
use crate::upstream::connect::ConnectError;
use crate::upstream::http1::Fault;
use crate::upstream::http2::is_malformed;
use crate::upstream::unanswered::Cause;

/// Why a request has no answer from a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is the visitor's request.
    #[error("the request was refused: {}", .0.reason())]
    Refused(Refusal),
    /// The visitor is sent elsewhere: to TLS.
    #[error("the visitor is sent to https")]
    Moved,
    /// The route is in maintenance.
    #[error("the route is in maintenance")]
    Maintenance,
    /// There is no room for it.
    #[error("the request was shed: {}", .0.reason())]
    Shed(Shed),
    /// It is the backend.
    #[error("the backend failed: {}", .0.reason())]
    Backend(Failure),
}

/// Every reason for which we answer instead of a backend, as it is counted for the process.
pub const REJECTIONS: [&str; Refusal::REASONS.len() + Shed::ALL.len()] = {
    let mut reasons = [""; Refusal::REASONS.len() + Shed::ALL.len()];
    let mut at = 0;
    while at < reasons.len() {
        reasons[at] = match at.checked_sub(Refusal::REASONS.len()) {
            Some(shed) => Shed::ALL[shed].reason(),
            None => Refusal::REASONS[at],
        };
        at += 1;
    }
    reasons
};

impl Error {
    /// The status it is answered with.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Refused(refusal) => refusal.status(),
            // The method and the body are to come again (RFC 9110 section 15.4.9).
            Self::Moved => StatusCode::PERMANENT_REDIRECT,
            Self::Maintenance | Self::Shed(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Backend(failure) => failure.status(),
        }
    }

    /// The label in metrics, access records and `X-Crossfade-Error`.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Refused(refusal) => refusal.reason(),
            Self::Moved => "https",
            Self::Maintenance => "maintenance",
            Self::Shed(shed) => shed.reason(),
            Self::Backend(failure) => failure.reason(),
        }
    }

    /// Whether the connection can't be used further.
    pub fn closes(self) -> bool {
        match self {
            Self::Refused(refusal) => refusal.closes(),
            // What the connection holds is what is wanting.
            Self::Shed(shed) => shed == Shed::Memory,
            Self::Moved | Self::Maintenance | Self::Backend(_) => false,
        }
    }
}

/// How a backend fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// Its name has never been resolved.
    Unresolved,
    /// It refuses connections.
    ConnectRefused,
    /// It can't be reached.
    ConnectFailed,
    /// No connection within `connect_timeout`.
    ConnectTimeout,
    /// The TLS handshake failed: a certificate that isn't believed, most often.
    Tls,
    /// It doesn't speak the version of HTTP that `http2` of the backend asks for.
    Alpn,
    /// It closed or reset the connection before a response.
    Closed,
    /// What it sent isn't a response of HTTP.
    BadResponse,
    /// No response within `first_byte_timeout`.
    FirstByteTimeout,
    /// The whole exchange took longer than `timeouts.request`.
    RequestTimeout,
    /// It doesn't read the request.
    WriteTimeout,
    /// It closed within the response's body.
    BodyBroken,
    /// It stalled within the response's body.
    BodyTimeout,
    /// It broke a tunnel off.
    TunnelBroken,
    /// It was left out because it is known to be down: the request goes elsewhere.
    Unhealthy,
    /// The platform has answered with an error page of its own, in place of the app.
    Platform,
}

impl Failure {
    /// Every reason, for metrics that exist before the first failure.
    pub const REASONS: [&str; 16] = [
        Self::Unresolved.reason(),
        Self::ConnectRefused.reason(),
        Self::ConnectFailed.reason(),
        Self::ConnectTimeout.reason(),
        Self::Tls.reason(),
        Self::Alpn.reason(),
        Self::Closed.reason(),
        Self::BadResponse.reason(),
        Self::FirstByteTimeout.reason(),
        Self::RequestTimeout.reason(),
        Self::WriteTimeout.reason(),
        Self::BodyBroken.reason(),
        Self::BodyTimeout.reason(),
        Self::TunnelBroken.reason(),
        Self::Unhealthy.reason(),
        Self::Platform.reason(),
    ];

    /// The status it is answered with, where none has been sent yet.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Unresolved
            | Self::ConnectRefused
            | Self::ConnectFailed
            | Self::Tls
            | Self::Alpn
            | Self::Closed
            | Self::BadResponse
            | Self::BodyBroken
            | Self::TunnelBroken
            | Self::Platform => StatusCode::BAD_GATEWAY,
            Self::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
            Self::ConnectTimeout
            | Self::FirstByteTimeout
            | Self::RequestTimeout
            | Self::WriteTimeout
            | Self::BodyTimeout => StatusCode::GATEWAY_TIMEOUT,
        }
    }

    /// The label in metrics, access records and `X-Crossfade-Error`.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Unresolved => "unresolved",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectFailed => "connect_failed",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::Alpn => "alpn",
            Self::Closed => "closed",
            Self::BadResponse => "bad_response",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::RequestTimeout => "request_timeout",
            Self::WriteTimeout => "write_timeout",
            Self::BodyBroken => "response_body_broken",
            Self::BodyTimeout => "response_body_timeout",
            Self::TunnelBroken => "tunnel_broken",
            Self::Unhealthy => "unhealthy",
            Self::Platform => "platform",
        }
    }

    /// What an error of connecting means; nothing where it is no failure of the backend's.
    pub fn of_connect(error: &ConnectError) -> Option<Self> {
        Some(match error {
            ConnectError::Descriptors => return None,
            ConnectError::Unresolved => Self::Unresolved,
            ConnectError::Tcp(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                Self::ConnectRefused
            }
            ConnectError::Tcp(_) => Self::ConnectFailed,
            ConnectError::Tls(_) => Self::Tls,
            ConnectError::Alpn => Self::Alpn,
            ConnectError::Timeout => Self::ConnectTimeout,
        })
    }

    /// What it means that there is no response's head.
    pub fn of_exchange(cause: &Cause) -> Self {
        let io = match cause {
            Cause::Http1(Fault::Malformed(_) | Fault::Endless) => return Self::BadResponse,
            Cause::Http1(Fault::Closed | Fault::Upload | Fault::Unlike(_)) => return Self::Closed,
            Cause::Http1(Fault::Io(error)) => Some(error.kind()),
            Cause::Http2(error) if error.is_parse() || is_malformed(error) => return Self::BadResponse,
            Cause::Http2(error) => io_kind(error),
        };
        match io {
            Some(io::ErrorKind::TimedOut) => Self::WriteTimeout,
            // rustls reports a stream that isn't TLS, or ends without its close, as data.
            Some(io::ErrorKind::InvalidData) => Self::BadResponse,
            _ => Self::Closed,
        }
    }
}

fn io_kind(error: &hyper::Error) -> Option<io::ErrorKind> {
    error.source()?.downcast_ref::<io::Error>().map(io::Error::kind)
}
