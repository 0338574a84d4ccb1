//! The header names that `http` has no constant for.
//!
//! The modules of `headers` and the proxy use them; statics, so that a name is made once and cloned for
//! nothing. Never a place for names that are only compared as text.

use http::HeaderName;

/// The believed visitor's address, alone.
pub static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The scheme that the visitor used: `http` or `https`.
pub static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The host that the visitor asked for, without the scheme's own port.
pub static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
/// The port that the visitor asked for.
pub static X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
/// The path that a proxy in front of us took away.
pub static X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
/// The believed visitor's address once more, for those that read this one.
pub static X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
/// The request's id, the same on every leg.
pub static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// When we received the request: `t=` and unix milliseconds.
pub static X_REQUEST_START: HeaderName = HeaderName::from_static("x-request-start");
/// Hop-by-hop: idle time and count of a persistent connection, from before HTTP/1.1.
pub static KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
/// Why an answer is ours and not the backend's.
pub static X_CROSSFADE_ERROR: HeaderName = HeaderName::from_static("x-crossfade-error");
/// Network error logging: where browsers report failures to.
pub static NEL: HeaderName = HeaderName::from_static("nel");
/// Where browsers send reports, first edition.
pub static REPORT_TO: HeaderName = HeaderName::from_static("report-to");
/// Where browsers send reports, second edition.
pub static REPORTING_ENDPOINTS: HeaderName = HeaderName::from_static("reporting-endpoints");
