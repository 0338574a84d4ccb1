//! Which worker gets a connection: the one with the fewest.
//!
//! Every worker accepts; one that has more than another hands the connection on. With kernel hashing instead,
//! 64 keep-alive connections can land 40 to 24. It must never lose a connection: what can't be handed on is
//! kept.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::mpsc;

use crate::config::limits::HANDED;
use crate::server::socket::Idle;

/// A connection that was accepted.
#[derive(Debug)]
pub struct Accepted {
    /// The socket.
    pub socket: Idle,
    /// Who opened it.
    pub peer: SocketAddr,
    /// Which listener, by place.
    pub listener: usize,
    /// Its place in a worker, given back when dropped.
    pub seat: Seat,
}

/// What all workers know of each other.
#[derive(Debug, Clone)]
pub struct Balance {
    seats: Arc<[AtomicUsize]>,
    others: Arc<[mpsc::Sender<Accepted>]>,
    most: usize,
}

impl Balance {
    /// Among `workers`; with the receiving end of each. The machine has descriptors for `most` connections.
    pub fn among(workers: usize, most: usize) -> (Self, Vec<mpsc::Receiver<Accepted>>) {
        let (others, receivers): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(HANDED)).unzip();
        let seats = (0..workers).map(|_| AtomicUsize::new(0)).collect();
        (Self { seats, others: others.into(), most }, receivers)
    }

    /// Whether there may be one more, where `allowed` are.
    pub fn has_room(&self, allowed: usize) -> bool {
        self.open() < allowed.min(self.most)
    }

    /// Connections of all workers.
    pub fn open(&self) -> usize {
        self.seats.iter().map(|seats| seats.load(Ordering::Relaxed)).sum()
    }

    /// A seat at the worker with the fewest connections, `own` where that has no more than the others.
    pub fn seat(&self, own: usize) -> Seat {
        let of = |worker: usize| self.seats[worker].load(Ordering::Relaxed);
        let fewest = (0..self.seats.len()).min_by_key(|worker| (of(*worker), *worker != own)).unwrap_or(own);
        self.seats[fewest].fetch_add(1, Ordering::Relaxed);
        Seat { seats: Arc::clone(&self.seats), worker: fewest }
    }

    /// Hands a connection to the worker of its seat. Comes back if it is `own`'s, or that worker takes none.
    pub fn hand_on(&self, accepted: Accepted, own: usize) -> Option<Accepted> {
        if accepted.seat.worker == own {
            return Some(accepted);
        }
        let sent = self.others[accepted.seat.worker].try_send(accepted);
        sent.err().map(|error| match error {
            mpsc::error::TrySendError::Full(mut back) | mpsc::error::TrySendError::Closed(mut back) => {
                back.seat.move_to(own);
                back
            }
        })
    }
}

/// One connection's place among a worker's.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<[AtomicUsize]>,
    worker: usize,
}

impl Seat {
    fn move_to(&mut self, worker: usize) {
        self.seats[self.worker].fetch_sub(1, Ordering::Relaxed);
        self.seats[worker].fetch_add(1, Ordering::Relaxed);
        self.worker = worker;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats[self.worker].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worker_with_the_fewest_connections_gets_the_next() {
        let (balance, _receivers) = Balance::among(4, 65);
        let seats: Vec<Seat> = (0..64).map(|_| balance.seat(0)).collect();
        for worker in 0..4 {
            assert_eq!(balance.seats[worker].load(Ordering::Relaxed), 16);
        }
        assert_eq!(balance.open(), 64);
        assert!(balance.has_room(100) && !balance.has_room(64));
        let last = balance.seat(0);
        assert!(!balance.has_room(100), "the machine has no more");
        drop(last);
        drop(seats);
        assert_eq!(balance.open(), 0);
        assert_eq!(balance.seat(3).worker, 3, "where all have the same, the accepting worker keeps it");
    }
}
