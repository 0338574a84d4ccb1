//! Who is connected to a listener of the control thread: a bounded number, of whom those without a key make room.
//!
//! `listen` asks for a place for each connection that it takes. Whoever has shown a key must never lose their place to
//! somebody who comes, nor whoever comes with one wait for people who have none.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::failures::network;
use crate::config::limits::{ADMIN_CONNECTIONS, ADMIN_HEAD};

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    /// Those who have shown no key, in the order in which they came; some of them have gone.
    keyless: Vec<(IpAddr, Weak<Stay>)>,
}

impl Room {
    /// An empty one.
    pub(super) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(ADMIN_CONNECTIONS)), keyless: Vec::new() }
    }

    /// A place, as soon as there is one, for somebody at this address who has to show a key.
    pub(super) async fn enter(&mut self, address: IpAddr) -> Arc<Stay> {
        let stay = Arc::new(Stay::new(self.place().await, false));
        self.keyless.push((network(address), Arc::downgrade(&stay)));
        stay
    }

    /// The same for somebody who needs none.
    pub(super) async fn admit(&mut self) -> Arc<Stay> {
        Arc::new(Stay::new(self.place().await, true))
    }

    async fn place(&mut self) -> OwnedSemaphorePermit {
        self.keyless.retain(|(_, stay)| stay.upgrade().is_some_and(|stay| !stay.has_key()));
        if self.places.available_permits() == 0 {
            self.make_room();
        }
        Arc::clone(&self.places).acquire_owned().await.expect("nobody closes the room")
    }

    /// Sends away who came first of those at the address that has the most.
    fn make_room(&mut self) {
        let addresses = || self.keyless.iter().map(|(address, _)| *address);
        let count = |of: &IpAddr| addresses().filter(|address| address == of).count();
        let Some(most) = addresses().max_by_key(count) else { return };
        let Some(first) = addresses().position(|address| address == most) else { return };
        if let Some(stay) = self.keyless.remove(first).1.upgrade() {
            stay.leave.notify_one();
        }
    }
}

/// Somebody's place, until this is dropped.
#[derive(Debug)]
pub(super) struct Stay {
    has_key: AtomicBool,
    leave: Notify,
    _place: OwnedSemaphorePermit,
}

impl Stay {
    fn new(place: OwnedSemaphorePermit, has_key: bool) -> Self {
        Self { has_key: AtomicBool::new(has_key), leave: Notify::new(), _place: place }
    }

    /// Whoever is here has shown a key: from now on nobody sends them away.
    pub(super) fn show_key(&self) {
        self.has_key.store(true, Ordering::Relaxed);
    }

    /// Waits until they have to go: their place is wanted, or they had [`ADMIN_HEAD`] to show a key.
    pub(super) async fn is_over(&self) {
        let asked = timeout(ADMIN_HEAD, self.leave.notified()).await;
        if asked.is_err() && self.has_key() {
            std::future::pending::<()>().await;
        }
    }

    fn has_key(&self) -> bool {
        self.has_key.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether they are told to go.
    async fn has_to_go(stay: &Stay) -> bool {
        timeout(std::time::Duration::from_millis(1), stay.is_over()).await.is_ok()
    }

    #[tokio::test]
    async fn who_comes_takes_the_oldest_place_of_the_address_that_has_the_most() {
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let mut room = Room::new();
        let first = room.enter(other).await;
        let mut stays = vec![room.enter(one).await, room.enter(one).await, room.enter(one).await];
        stays[0].show_key();
        while stays.len() < ADMIN_CONNECTIONS - 1 {
            stays.push(room.admit().await);
        }
        let comes = async { room.enter(other).await };
        let goes = async {
            assert!(has_to_go(&stays[1]).await);
            drop(stays.remove(1));
        };
        let (_, ()) = tokio::join!(comes, goes);
        for stay in [&first, &stays[0], &stays[1]] {
            assert!(!has_to_go(stay).await);
        }
    }
    #[tokio::test]
    async fn who_shows_no_key_has_to_go_after_a_while() {
        let mut room = Room::new();
        let address = IpAddr::from([192, 0, 2, 1]);
        let (one, other, third) = (room.enter(address).await, room.enter(address).await, room.admit().await);
        other.show_key();
        let goes = async {
            one.is_over().await;
            assert_eq!((has_to_go(&other).await, has_to_go(&third).await), (false, false));
        };
        tokio::select! {
            gone = timeout(ADMIN_HEAD * 2, goes) => gone.expect("they had their time"),
            () = other.is_over() => panic!("they have shown it"),
            () = third.is_over() => panic!("they need none"),
        }
    }
}
