//! Pure: who has sent too many wrong tokens, and how long they have to wait.
//!
//! `auth` asks when a token is wrong: a right one always passes. It must never grow without bound, nor let an address
//! of IPv6 count as another than its neighbours, of which anybody has 2^64.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use crate::config::limits::{ADMIN_FAILURES, ADMIN_FORGIVE, ADMIN_PEERS};

/// When all failures of each peer will be forgiven.
#[derive(Debug, Default)]
pub(super) struct Failures(BTreeMap<IpAddr, Duration>);

impl Failures {
    /// Whether `peer` may be told at `now` that a token is wrong; else how long it has to wait.
    pub(super) fn check(&self, peer: IpAddr, now: Duration) -> Result<(), Duration> {
        let forgiven = self.0.get(&network(peer)).copied().unwrap_or_default();
        over(forgiven, now)
    }

    /// `peer` has sent a wrong one at `now`.
    pub(super) fn note(&mut self, peer: IpAddr, now: Duration) {
        let peer = network(peer);
        if !self.0.contains_key(&peer) && self.0.len() >= ADMIN_PEERS {
            self.make_room(now);
        }
        let forgiven = self.0.entry(peer).or_default();
        *forgiven = now.max(*forgiven) + ADMIN_FORGIVE;
    }

    fn make_room(&mut self, now: Duration) {
        self.0.retain(|_, forgiven| *forgiven > now);
        if self.0.len() >= ADMIN_PEERS
            && let Some(first) = self.0.iter().min_by_key(|(_, forgiven)| **forgiven).map(|(peer, _)| *peer)
        {
            self.0.remove(&first);
        }
    }
}

/// The same bound for something that there is one of: the log.
#[derive(Debug, Default)]
pub(super) struct Paced(Duration);

impl Paced {
    /// Whether it may be done at `now`, and that it is.
    pub(super) fn take(&mut self, now: Duration) -> bool {
        let may = over(self.0, now).is_ok();
        if may {
            self.0 = now.max(self.0) + ADMIN_FORGIVE;
        }
        may
    }
}

/// Whether one more fits, where what was before will be forgiven by `forgiven`.
fn over(forgiven: Duration, now: Duration) -> Result<(), Duration> {
    let owed = forgiven.saturating_sub(now);
    match owed.checked_sub(ADMIN_FORGIVE * (ADMIN_FAILURES - 1)) {
        None | Some(Duration::ZERO) => Ok(()),
        Some(wait) => Err(wait),
    }
}

/// What counts as one peer.
pub(super) fn network(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn at(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// How many wrong tokens `peer` may send at `now`.
    fn tries(failures: &mut Failures, peer: &str, now: Duration) -> usize {
        let mut count = 0;
        while failures.check(at(peer), now).is_ok() && count < 100 {
            failures.note(at(peer), now);
            count += 1;
        }
        count
    }

    #[test]
    fn ten_at_once_and_then_one_a_second() {
        let (mut failures, peer) = (Failures::default(), "192.0.2.1");
        assert_eq!(tries(&mut failures, peer, SECOND), 10);
        assert_eq!(failures.check(at(peer), SECOND), Err(SECOND));
        assert_eq!(failures.check(at(peer), SECOND * 3 / 2), Err(SECOND / 2));
        assert_eq!(tries(&mut failures, peer, SECOND * 2), 1);
        assert_eq!(tries(&mut failures, peer, SECOND * 5), 3);
        assert_eq!(tries(&mut failures, peer, SECOND * 1000), 10, "and never more");
    }

    #[test]
    fn peers_count_apart_and_networks_of_ipv6_together() {
        for (one, other, together) in [
            ("192.0.2.1", "192.0.2.2", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("2001:db8::1", "2001:db8::ffff:1", true),
            ("2001:db8:0:1::1", "2001:db8:0:2::1", false),
        ] {
            let mut failures = Failures::default();
            tries(&mut failures, one, SECOND);
            assert_eq!(failures.check(at(other), SECOND).is_err(), together, "{one} {other}");
        }
    }

    #[test]
    fn the_table_is_bounded_and_forgets_who_may_try_first() {
        let mut failures = Failures::default();
        tries(&mut failures, "192.0.2.1", SECOND);
        for number in 0..5000 {
            failures.note(IpAddr::from(u32::to_be_bytes(0x0a00_0000 + number)), SECOND);
        }
        assert_eq!(failures.0.len(), ADMIN_PEERS);
        assert!(failures.check(at("192.0.2.1"), SECOND).is_err());
        failures.note(at("198.51.100.1"), SECOND * 100);
        assert_eq!(failures.0.len(), 1, "all others are forgiven");
    }

    #[test]
    fn the_log_is_paced() {
        let mut paced = Paced::default();
        let told = |paced: &mut Paced, now| (0..50).filter(|_| paced.take(now)).count();
        assert_eq!((told(&mut paced, SECOND), told(&mut paced, SECOND * 3)), (10, 2));
    }
}
