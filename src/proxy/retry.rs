//! Whether a failed attempt may be followed by another. Pure.
//!
//! `forward` asks it after each failure. It must never let a request that a backend may have acted on be sent
//! twice, unless the method says that twice is as good as once (RFC 9110 section 9.2.2).

use http::Method;

use crate::config::limits::ATTEMPTS;

/// What is known of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// How many there have been, this one with them.
    pub number: u32,
    /// What became of it.
    pub fate: Fate,
    /// Whether the whole request is still at hand: it had no body, or none of it was taken.
    pub whole: bool,
    /// Whether its method may be repeated.
    pub idempotent: bool,
}

/// What became of a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// There was no connection; another endpoint of the backend may have one.
    NotConnected,
    /// Nothing of the request left us, or the backend says that it did nothing with it (RFC 9113 section 8.7).
    Unsent,
    /// A connection that had carried another exchange closed before a whole response head: most likely it
    /// was closed as the request went out (RFC 9112 section 9.3.1).
    LostOnReused,
    /// The backend took it on a new connection and closed that without a byte of an answer: it crashed, or restarts.
    Reset,
    /// Anything else: the backend had its chance.
    Failed,
}

impl Fate {
    /// The label of a further attempt that it leads to.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotConnected => "not_connected",
            Self::Unsent => "unsent",
            Self::LostOnReused => "reused_connection_closed",
            Self::Reset => "reset",
            Self::Failed => "failed",
        }
    }
}

/// The label of a further attempt at another backend.
pub const FAILOVER: &str = "failover";

/// Every label of a further attempt.
pub const REASONS: [&str; 5] = [
    Fate::NotConnected.reason(),
    Fate::Unsent.reason(),
    Fate::LostOnReused.reason(),
    Fate::Reset.reason(),
    FAILOVER,
];

/// Whether to try again, always on a fresh connection.
pub fn may_follow(attempt: Attempt) -> bool {
    let safe = match attempt.fate {
        Fate::NotConnected | Fate::Unsent => true,
        Fate::LostOnReused | Fate::Reset => attempt.idempotent,
        Fate::Failed => false,
    };
    safe && attempt.whole && attempt.number < ATTEMPTS
}

/// Methods that may be repeated (RFC 9110 section 9.2.2). Unknown ones may not.
pub fn is_idempotent(method: &Method) -> bool {
    matches!(
        *method,
        Method::GET | Method::HEAD | Method::OPTIONS | Method::PUT | Method::DELETE | Method::TRACE
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_can_do_no_harm_is_sent_again() {
        let attempt = |number, fate, whole, idempotent| Attempt { number, fate, whole, idempotent };
        for (attempt, again) in [
            (attempt(1, Fate::NotConnected, true, false), true),
            (attempt(1, Fate::Unsent, true, false), true),
            (attempt(1, Fate::Unsent, false, false), false),
            (attempt(1, Fate::LostOnReused, true, true), true),
            (attempt(1, Fate::LostOnReused, true, false), false),
            (attempt(1, Fate::LostOnReused, false, true), false),
            (attempt(1, Fate::Failed, true, true), false),
            (attempt(ATTEMPTS - 1, Fate::Unsent, true, true), true),
            (attempt(ATTEMPTS, Fate::Unsent, true, true), false),
        ] {
            assert_eq!(may_follow(attempt), again, "{attempt:?}");
        }
    }

    #[test]
    fn writing_methods_are_not_idempotent() {
        for method in ["POST", "PATCH", "CONNECT", "BREW", "get"] {
            assert!(!is_idempotent(&Method::from_bytes(method.as_bytes()).unwrap()), "{method}");
        }
    }
}
