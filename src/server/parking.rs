//! Where connections are that have been silent for a while: the kernel says which of them has a byte.
//!
//! `server::worker` has one. A place here is some hundred bytes, where a task of the runtime with its socket there and
//! its timer takes more than a thousand. It must never keep one of which a byte has come.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use slab::Slab;
use tokio::io::unix::AsyncFd;

use crate::config::limits::PARKED_WOKEN;

/// The kernel's list of sockets, itself a descriptor that can be waited for (epoll(7)).
#[derive(Debug)]
pub struct Watch(AsyncFd<OwnedFd>);

impl Watch {
    /// An empty one, of the runtime that is entered.
    ///
    /// # Errors
    /// When the machine has no descriptor left.
    #[expect(
        deprecated,
        reason = "its successor is unsafe for kinds that don't own their descriptor; this one does"
    )]
    pub fn new() -> io::Result<Self> {
        Ok(Self(AsyncFd::new(kernel::watch()?)?))
    }
}

/// Those that are parked.
#[derive(Debug)]
pub struct Parking<T> {
    watch: Watch,
    /// By the number that the kernel knows each by.
    places: RefCell<Slab<T>>,
}

impl<T: AsFd> Parking<T> {
    /// An empty one.
    pub fn new(watch: Watch) -> Self {
        Self { watch, places: RefCell::default() }
    }

    /// Keeps one until a byte of it comes, or its end. Comes back where the kernel can't watch it.
    pub fn park(&self, one: T) -> Result<(), T> {
        let mut places = self.places.borrow_mut();
        let place = places.vacant_entry();
        if kernel::add(self.watch.0.get_ref(), &one, place.key() as u64).is_err() {
            return Err(one);
        }
        place.insert(one);
        Ok(())
    }

    /// Waits for some of which a byte has come.
    pub async fn woken(&self) -> Vec<T> {
        loop {
            let Ok(mut ready) = self.watch.0.readable().await else {
                // The runtime is about to end, and so is whoever waits.
                std::future::pending().await
            };
            let woken = self.woken_now();
            if woken.len() < PARKED_WOKEN {
                ready.clear_ready();
            }
            if !woken.is_empty() {
                return woken;
            }
        }
    }

    /// Some of which a byte has come; none where that is of none.
    pub fn woken_now(&self) -> Vec<T> {
        let mut places = self.places.borrow_mut();
        let ready = kernel::ready(self.watch.0.get_ref()).unwrap_or_default();
        let woken: Vec<T> = ready.into_iter().filter_map(|at| places.try_remove(at as usize)).collect();
        woken.iter().for_each(|one| kernel::delete(self.watch.0.get_ref(), one));
        tidy(&mut places);
        woken
    }

    /// Closes those that are `over`.
    pub fn close(&self, over: impl Fn(&T) -> bool) {
        let mut places = self.places.borrow_mut();
        places.retain(|_, one| !over(one));
        tidy(&mut places);
    }
}

/// Gives the memory back once nobody is here.
fn tidy<T>(places: &mut Slab<T>) {
    if places.is_empty() {
        *places = Slab::new();
    }
}

/// What the kernel is asked.
#[cfg(target_os = "linux")]
mod kernel {
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};

    use rustix::buffer::spare_capacity;
    use rustix::event::Timespec;
    use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

    use crate::config::limits::PARKED_WOKEN;

    pub(super) fn watch() -> io::Result<OwnedFd> {
        Ok(epoll::create(CreateFlags::CLOEXEC)?)
    }

    pub(super) fn add(watched: &OwnedFd, socket: impl AsFd, number: u64) -> io::Result<()> {
        Ok(epoll::add(watched, socket, EventData::new_u64(number), EventFlags::IN | EventFlags::RDHUP)?)
    }

    /// One that is closed is forgotten by itself.
    pub(super) fn delete(watched: &OwnedFd, socket: impl AsFd) {
        let _ = epoll::delete(watched, socket);
    }

    pub(super) fn ready(watched: &OwnedFd) -> io::Result<Vec<u64>> {
        let mut events = Vec::with_capacity(PARKED_WOKEN);
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        epoll::wait(watched, spare_capacity(&mut events), Some(&at_once))?;
        Ok(events.iter().map(|event| event.data.u64()).collect())
    }
}

/// Nothing is parked elsewhere: [`Stream::can_rest`](crate::server::socket::Stream::can_rest).
#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};

    pub(super) fn watch() -> io::Result<OwnedFd> {
        Ok(std::os::unix::net::UnixStream::pair()?.0.into())
    }

    pub(super) fn add(_watched: &OwnedFd, _socket: impl AsFd, _number: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn delete(_watched: &OwnedFd, _socket: impl AsFd) {}

    pub(super) fn ready(_watched: &OwnedFd) -> io::Result<Vec<u64>> {
        Ok(Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pairs(count: usize) -> (Vec<UnixStream>, Vec<UnixStream>) {
        (0..count).map(|_| UnixStream::pair().unwrap()).unzip()
    }

    #[tokio::test]
    async fn whoever_says_something_or_leaves_is_woken_and_nobody_else() {
        let parking = Parking::new(Watch::new().unwrap());
        let (mut visitors, ours) = pairs(200);
        visitors[7].write_all(b"before").unwrap();
        ours.into_iter().for_each(|one| parking.park(one).unwrap());
        let mut text = [0; 6];
        assert_eq!(parking.woken().await[0].read(&mut text).unwrap(), 6);
        assert!(parking.woken_now().is_empty());

        visitors[3].write_all(b"x").unwrap();
        assert_eq!(parking.woken().await[0].read(&mut text).unwrap(), 1);
        drop(visitors.remove(9));
        assert_eq!(parking.woken().await[0].read(&mut text).unwrap(), 0);

        // Of those who spoke before, our end is closed.
        visitors.iter_mut().for_each(|visitor| drop(visitor.write_all(b"y")));
        let mut woken = 0;
        while woken < 197 {
            woken += parking.woken().await.len();
        }
        assert_eq!((woken, parking.places.borrow().capacity()), (197, 0));
    }

    #[tokio::test]
    async fn a_place_is_used_again_and_what_is_over_is_closed() {
        let parking = Parking::new(Watch::new().unwrap());
        let (mut visitors, ours) = pairs(3);
        ours.into_iter().for_each(|one| parking.park(one).unwrap());
        visitors[1].write_all(b"x").unwrap();
        let one = parking.woken().await.remove(0);
        let number = std::os::fd::AsRawFd::as_raw_fd(&one);
        visitors[1].write_all(b"x").unwrap();
        parking.park(one).unwrap();
        assert_eq!((parking.places.borrow().len(), parking.places.borrow().vacant_key()), (3, 3));
        parking.close(|one| std::os::fd::AsRawFd::as_raw_fd(one) != number);
        assert_eq!(visitors[0].read(&mut [0]).unwrap(), 0, "it is closed");
        assert_eq!(parking.woken().await.len(), 1);
    }
}
