//! Addresses of one endpoint that took no connection a moment ago: they are tried last for a while, so that a dead one
//! among several doesn't cost each connection its time.
//!
//! `upstream::connect` and `upstream::dial` note them. It must never keep an address from being tried, nor remember
//! more than [`SHUNNED`] of them.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::config::limits::health::{SHUNNED, SHUNNED_FOR};

/// Addresses and until when each is tried last.
#[derive(Debug, Default)]
pub struct Shunned(ArcSwap<Vec<(SocketAddr, Instant)>>);

impl Shunned {
    /// An address that took no connection, `now`.
    pub fn note(&self, address: SocketAddr, now: Instant) {
        self.0.rcu(|before| {
            let others = before.iter().filter(|(other, until)| *other != address && *until > now);
            // The oldest goes where there are too many.
            let most = SHUNNED - 1;
            let skipped = others.clone().count().saturating_sub(most);
            let kept = others.skip(skipped).copied();
            Arc::new(kept.chain([(address, now + SHUNNED_FOR)]).collect::<Vec<_>>())
        });
    }

    /// An address that took one.
    pub fn forget(&self, address: SocketAddr) {
        if self.0.load().iter().any(|(other, _)| *other == address) {
            self.0.rcu(|before| {
                let others = before.iter().filter(|(other, _)| *other != address);
                Arc::new(others.copied().collect::<Vec<_>>())
            });
        }
    }

    /// Puts those that are shunned `now` behind the others; else the order stays.
    pub fn put_last(&self, candidates: &mut VecDeque<SocketAddr>, now: Instant) {
        let shunned = self.0.load();
        if !shunned.is_empty() {
            let is_shunned =
                |address: &SocketAddr| shunned.iter().any(|(other, until)| other == address && *until > now);
            candidates.make_contiguous().sort_by_key(is_shunned);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(last: u8) -> SocketAddr {
        SocketAddr::new([192, 0, 2, last].into(), 443)
    }

    fn order(shunned: &Shunned, now: Instant) -> Vec<u8> {
        let mut candidates: VecDeque<SocketAddr> = (1..=4).map(address).collect();
        shunned.put_last(&mut candidates, now);
        let last = |address: &SocketAddr| address.to_string()["192.0.2.".len()..][..1].parse().unwrap();
        candidates.iter().map(last).collect()
    }

    #[test]
    fn what_took_no_connection_is_tried_last_for_a_while() {
        let (shunned, now) = (Shunned::default(), Instant::now());
        assert_eq!(order(&shunned, now), [1, 2, 3, 4]);
        shunned.note(address(3), now);
        shunned.note(address(1), now + Duration::from_secs(1));
        assert_eq!(order(&shunned, now), [2, 4, 1, 3]);
        shunned.forget(address(1));
        assert_eq!(order(&shunned, now), [1, 2, 4, 3]);
        assert_eq!(order(&shunned, now + SHUNNED_FOR), [1, 2, 3, 4]);
        (1..=4).for_each(|last| shunned.note(address(last), now));
        assert_eq!(order(&shunned, now), [1, 2, 3, 4], "all are tried");
    }

    #[test]
    fn few_are_remembered() {
        let (shunned, now) = (Shunned::default(), Instant::now());
        (0..=255).for_each(|last| shunned.note(address(last), now));
        (0..=255).for_each(|_| shunned.note(address(7), now));
        assert_eq!(shunned.0.load().len(), SHUNNED);
        let later = now + SHUNNED_FOR;
        shunned.note(address(8), later);
        assert_eq!(shunned.0.load().len(), 1);
    }
}
