//! Whether a failed attempt may be followed by another. Pure.
//!
//! `forward` asks it after each failure. It must never let a request that a backend may have acted on be sent
//! twice, unless the method says that twice is as good as once (RFC 9110 section 9.2.2); and to another backend, which
//! may have another database, only where it says that even once changes nothing (section 9.2.1).

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
    pub repeat: Repeat,
}

/// What a method says of being sent more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// It asks for nothing but an answer (RFC 9110 section 9.2.1).
    Safe,
    /// Twice is as good as once (RFC 9110 section 9.2.2).
    Idempotent,
    /// Twice may be once too often. Unknown methods are so.
    Never,
}

impl Repeat {
    /// Of a method.
    pub fn of(method: &Method) -> Self {
        match *method {
            Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE => Self::Safe,
            Method::PUT | Method::DELETE => Self::Idempotent,
            _ => Self::Never,
        }
    }

    /// Whether the same backend may get it again.
    pub fn may(self) -> bool {
        match self {
            Self::Safe | Self::Idempotent => true,
            Self::Never => false,
        }
    }
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
    /// Whether the backend may have acted on the request all the same.
    pub const fn may_have_acted(self) -> bool {
        match self {
            Self::NotConnected | Self::Unsent => false,
            Self::LostOnReused | Self::Reset | Self::Failed => true,
        }
    }

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
        Fate::LostOnReused | Fate::Reset => attempt.repeat.may(),
        Fate::Failed => false,
    };
    safe && attempt.whole && attempt.number < ATTEMPTS
}

/// Whether another backend is a better place for the next: this one has lost the request twice.
pub fn had_its_chance(attempt: Attempt) -> bool {
    attempt.fate == Fate::Reset && attempt.number > 1
}

/// Whether another backend may get it: after this fate, and where one `may_have_acted` on it before.
pub fn may_leave(fate: Fate, may_have_acted: bool, repeat: Repeat) -> bool {
    fate != Fate::Failed && (repeat == Repeat::Safe || !may_have_acted && !fate.may_have_acted())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAFE: Repeat = Repeat::Safe;
    const IDEMPOTENT: Repeat = Repeat::Idempotent;
    const NEVER: Repeat = Repeat::Never;

    #[test]
    fn only_what_can_do_no_harm_is_sent_again() {
        let attempt = |number, fate, whole, repeat| Attempt { number, fate, whole, repeat };
        for (attempt, again, chance) in [
            (attempt(1, Fate::NotConnected, true, NEVER), true, false),
            (attempt(1, Fate::Unsent, true, NEVER), true, false),
            (attempt(1, Fate::Unsent, false, NEVER), false, false),
            (attempt(1, Fate::LostOnReused, true, SAFE), true, false),
            (attempt(1, Fate::LostOnReused, true, IDEMPOTENT), true, false),
            (attempt(1, Fate::LostOnReused, true, NEVER), false, false),
            (attempt(1, Fate::LostOnReused, false, SAFE), false, false),
            (attempt(1, Fate::Reset, true, SAFE), true, false),
            (attempt(2, Fate::Reset, true, SAFE), true, true),
            (attempt(ATTEMPTS, Fate::Reset, true, SAFE), false, true),
            (attempt(2, Fate::Reset, false, SAFE), false, true),
            (attempt(2, Fate::Reset, true, IDEMPOTENT), true, true),
            (attempt(2, Fate::Reset, true, NEVER), false, true),
            (attempt(2, Fate::LostOnReused, true, SAFE), true, false),
            (attempt(1, Fate::Failed, true, SAFE), false, false),
            (attempt(ATTEMPTS - 1, Fate::Unsent, true, SAFE), true, false),
            (attempt(ATTEMPTS, Fate::Unsent, true, SAFE), false, false),
        ] {
            assert_eq!((may_follow(attempt), had_its_chance(attempt)), (again, chance), "{attempt:?}");
        }
    }

    #[test]
    fn another_platform_gets_only_what_none_has_acted_on_or_asks_for_nothing_else() {
        for (fate, acted, methods) in [
            (Fate::NotConnected, false, [true, true, true]),
            (Fate::Unsent, false, [true, true, true]),
            (Fate::LostOnReused, false, [true, false, false]),
            (Fate::Reset, false, [true, false, false]),
            (Fate::Failed, false, [false, false, false]),
            (Fate::NotConnected, true, [true, false, false]),
            (Fate::Unsent, true, [true, false, false]),
        ] {
            let may = [SAFE, IDEMPOTENT, NEVER].map(|repeat| may_leave(fate, acted, repeat));
            assert_eq!(may, methods, "{fate:?} {acted}");
        }
    }

    #[test]
    fn methods_say_how_often() {
        for (methods, repeat) in [
            ("GET HEAD OPTIONS TRACE", SAFE),
            ("PUT DELETE", IDEMPOTENT),
            ("POST PATCH CONNECT BREW get", NEVER),
        ] {
            for method in methods.split(' ') {
                assert_eq!(Repeat::of(&Method::from_bytes(method.as_bytes()).unwrap()), repeat, "{method}");
            }
        }
    }
}
