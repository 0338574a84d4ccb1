//! The bounds of ordering certificates (RFC 8555, RFC 9773).

use std::time::Duration;

/// `[acme] directory` unless said: Let's Encrypt, which issues to everybody.
pub const ACME_DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// Names in one certificate: Let's Encrypt's own bound.
pub const ACME_DOMAINS: usize = 100;
/// How long the certificate authority may take for one answer, connecting included.
pub const ACME_REQUEST: Duration = Duration::from_secs(30);
/// Bytes of one of its answers: the longest, a chain of certificates, has a few KiB.
pub const ACME_ANSWER: usize = 256 * 1024;
/// How long it may take to look at our proofs, and then to sign: minutes on a bad day.
pub const ACME_WAIT: Duration = Duration::from_mins(2);
/// How long a whole order may take, with a hundred names.
pub const ACME_ORDER: Duration = Duration::from_mins(15);
/// The pause after the first order that failed; it doubles with each further one.
pub const ACME_RETRY: Duration = Duration::from_mins(1);
/// … up to this: a failing authority is asked four times a day.
pub const ACME_RETRY_MOST: Duration = Duration::from_hours(6);
/// The clock is looked at this often, since a machine may sleep, or be set right.
pub const ACME_LOOK: Duration = Duration::from_hours(1);
/// Between two questions for the renewal window (RFC 9773 section 4.3), whatever the authority says: at least …
pub const ACME_WINDOW_LEAST: Duration = Duration::from_mins(1);
/// … at most …
pub const ACME_WINDOW_MOST: Duration = Duration::from_hours(24);
/// … and where it says nothing of use.
pub const ACME_WINDOW: Duration = Duration::from_hours(6);
