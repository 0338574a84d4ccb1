//! The two doors of the admin API: the unix socket, whose file is the key, and TCP, which takes a token.
//!
//! `api` asks before it looks at anything else of a request. Nothing but the page and the document may be reached
//! without a key, no token may be told by how long it took to refuse it, and none may get into the log.

// The control thread alone takes it, for a look into a table.
#![expect(clippy::disallowed_types, reason = "no request of a visitor comes here")]

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use axum::http::header::AUTHORIZATION;
use axum::http::request::Parts;
use tokio::time::Instant;

use super::failures::{Failures, Paced};
use super::hosts;
use super::listen::Peer;
use super::refusal::Refusal;
use super::token::Token;
use crate::control::command::{Driver, RefusedReason};
use crate::telemetry::events::Event;

/// What opens the API over TCP.
#[derive(Debug, Clone)]
pub struct Key {
    /// The bearer token.
    pub token: Token,
    /// Names that may stand in `Host`, beside addresses and `localhost`.
    pub hosts: Vec<String>,
}

/// Where a request came in.
#[derive(Debug, Clone)]
pub(super) enum Door {
    /// The unix socket.
    Socket,
    /// TCP.
    Token(Arc<Gate>),
}

impl Door {
    /// Of TCP.
    pub(super) fn locked(key: &Key) -> Self {
        let gate = Gate {
            token: digest(&SHA256, key.token.reveal().as_bytes()).as_ref().to_vec(),
            hosts: key.hosts.clone(),
            began: Instant::now(),
            record: Mutex::default(),
        };
        Self::Token(Arc::new(gate))
    }

    /// Lets a request in, or says why not. `is_open`: what it asks for needs no key.
    pub(super) fn admit(&self, head: &Parts, peer: Peer, is_open: bool) -> Result<Guest, Refusal> {
        let foreign = |error| Refusal::new(RefusedReason::Forbidden, error);
        match self {
            // Forwarded to a port, the socket is within reach of a browser.
            Self::Socket if hosts::is_of_a_page(&head.headers) => {
                hosts::check(&head.uri, &head.headers, &[]).map_err(foreign)?;
            }
            Self::Socket => {}
            Self::Token(gate) => {
                hosts::check(&head.uri, &head.headers, &gate.hosts).map_err(foreign)?;
                if is_open {
                    return Ok(Guest { peer, has_key: false });
                }
                gate.open(head, peer)?;
            }
        }
        Ok(Guest { peer, has_key: true })
    }
}

/// Somebody who was let in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guest {
    peer: Peer,
    /// They have shown it; nobody asked where it isn't needed.
    pub(super) has_key: bool,
}

impl Guest {
    /// The same as whoever a change is by; `name` is what they call themselves.
    pub(super) fn driver(self, name: Option<String>) -> Driver {
        match (self.peer, name) {
            (Peer::User(uid), Some(name)) => Driver { actor: format!("{name} (uid {uid})"), via: "socket" },
            (Peer::User(uid), None) => Driver { actor: format!("uid {uid}"), via: "socket" },
            (Peer::Address(_), name) => {
                Driver { actor: name.unwrap_or_else(|| "token".to_owned()), via: "admin" }
            }
        }
    }
}

/// What stands behind the door of TCP.
pub(super) struct Gate {
    /// Its hash: of one length, whatever is compared with it.
    token: Vec<u8>,
    hosts: Vec<String>,
    began: Instant,
    record: Mutex<Record>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

impl Gate {
    /// The right token always passes: behind a tunnel or a proxy, who guesses has the same address as who knows it.
    fn open(&self, head: &Parts, peer: Peer) -> Result<(), Refusal> {
        let mut given = head.headers.get_all(AUTHORIZATION).iter();
        let (first, second) = (given.next(), given.next());
        let token = first.and_then(|first| bearer(first.as_bytes()));
        if second.is_none() && token.is_some_and(|token| self.is_right(token)) {
            return Ok(());
        }
        if second.is_none() && (first.is_none() || token.is_some_and(<[u8]>::is_empty)) {
            // Who has none guesses nothing.
            return Err(Refusal::new(
                RefusedReason::Unauthorized,
                "this needs the admin token: send `Authorization: Bearer TOKEN`",
            ));
        }
        let (address, now) = (address(peer), self.began.elapsed());
        let mut record = self.record.lock().unwrap_or_else(PoisonError::into_inner);
        record.failures.check(address, now).map_err(|wait| {
            let seconds = wait.as_secs() + 1;
            Refusal::wait(wait, format!("too many wrong tokens from {address}: wait {seconds} s"))
        })?;
        record.fail(address, now);
        Err(Refusal::new(RefusedReason::Unauthorized, "this isn't the admin token"))
    }

    fn is_right(&self, token: &[u8]) -> bool {
        verify_slices_are_equal(digest(&SHA256, token).as_ref(), &self.token).is_ok()
    }
}

#[derive(Debug, Default)]
struct Record {
    failures: Failures,
    log: Paced,
}

impl Record {
    fn fail(&mut self, peer: IpAddr, now: Duration) {
        self.failures.note(peer, now);
        if self.log.take(now) {
            Event::WrongToken { peer }.log();
        }
    }
}

/// A user of this machine who comes by TCP is at an address like all others.
fn address(peer: Peer) -> IpAddr {
    match peer {
        Peer::Address(address) => address,
        Peer::User(_) => IpAddr::from([127, 0, 0, 1]),
    }
}

/// The token of `Bearer TOKEN` (RFC 6750 section 2.1); an empty one where there is but the word.
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(6)?;
    let is_apart = token.first().is_none_or(|&byte| byte == b' ');
    (scheme.eq_ignore_ascii_case(b"bearer") && is_apart).then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bearer_token_is_found_whatever_its_case() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("BEARER abc", Some("abc")),
            ("Bearer", Some("")),
            ("Bearer ", Some("")),
            ("Basic abc", None),
            ("Bearerabc", None),
            ("", None),
        ] {
            assert_eq!(bearer(value.as_bytes()), token.map(str::as_bytes), "{value}");
        }
    }

    #[test]
    fn who_changes_something_has_a_name() {
        let (user, other) = (Peer::User(1000), Peer::Address(IpAddr::from([127, 0, 0, 1])));
        for (peer, name, actor, via) in [
            (user, None, "uid 1000", "socket"),
            (user, Some("Kim"), "Kim (uid 1000)", "socket"),
            (other, None, "token", "admin"),
            (other, Some("Kim"), "Kim", "admin"),
        ] {
            let driver = Guest { peer, has_key: true }.driver(name.map(str::to_owned));
            assert_eq!(driver, Driver { actor: actor.to_owned(), via });
        }
    }
}
