//! Takes connections from a listening socket, for this worker or the one with fewer.
//!
//! One task per worker and listener. It must never spin, and never end but by a drain: what goes wrong with
//! one connection, or for lack of descriptors, is waited out.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use tokio::net::{TcpListener, UnixListener};

use crate::config::limits::{ACCEPT_PAUSE, MEMORY_PACE};
use crate::memory::{Level, Pressure};
use crate::proxy::worker::Worker;
use crate::server::balance::{Accepted, Balance};
use crate::server::drain::{Draining, Phase};
use crate::server::listener::{Listener, Listening};
use crate::server::socket::{Idle, LOCAL};
use crate::telemetry::events::Event;

/// Accepts until the drain begins, then takes what waits in the kernel's queue, and closes. `take` gets what
/// is this worker's.
pub async fn accept(
    listener: Listener,
    place: usize,
    own: usize,
    worker: Rc<Worker>,
    balance: Balance,
    mut draining: Draining,
    take: impl Fn(Accepted),
) {
    let label = listener.place.to_string();
    let socket = match Acceptor::of(listener.into_socket()) {
        Ok(socket) => socket,
        Err(error) => return Event::AcceptFailed { listener: &label, error: &error }.log(),
    };
    let seated = |socket, peer| {
        let accepted = Accepted { socket, peer, listener: place, seat: balance.seat(own) };
        balance.hand_on(accepted, own).into_iter().for_each(&take);
    };
    let (mut failing, mut memory) = (false, worker.memory.clone());
    loop {
        let outcome = tokio::select! {
            biased;
            () = draining.reached(Phase::Draining) => break,
            outcome = next(&socket, &worker, &balance, &mut memory) => outcome,
        };
        match outcome {
            Ok((socket, peer)) => {
                failing = false;
                seated(socket, peer);
                // Thousands may come at once: between two of them everybody else has a turn.
                tokio::task::yield_now().await;
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    Event::AcceptFailed { listener: &label, error: &error }.log();
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    let Ok(socket) = socket.into_std() else { return };
    loop {
        match waiting(&socket) {
            Ok((socket, peer)) => seated(socket, peer),
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => break,
        }
    }
}

/// The next connection, once there is room for it.
async fn next(
    socket: &Acceptor,
    worker: &Worker,
    balance: &Balance,
    memory: &mut Pressure,
) -> io::Result<(Idle, SocketAddr)> {
    loop {
        if memory.level() == Level::Tight {
            tokio::time::sleep(MEMORY_PACE).await;
        }
        let has_room = || balance.has_room(worker.snapshot().config.limits.connections);
        while !has_room() || memory.level() == Level::Short {
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
        tokio::select! {
            biased;
            () = memory.changed() => {}
            outcome = socket.accept() => return outcome,
        }
    }
}

/// A listening socket of this thread's runtime.
enum Acceptor {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Acceptor {
    fn of(socket: Listening) -> io::Result<Self> {
        match socket {
            Listening::Tcp(socket) => TcpListener::from_std(socket).map(Self::Tcp),
            Listening::Unix(socket) => UnixListener::from_std(socket).map(Self::Unix),
        }
    }

    async fn accept(&self) -> io::Result<(Idle, SocketAddr)> {
        match self {
            Self::Tcp(socket) => {
                let (socket, peer) = socket.accept().await?;
                Ok((Idle::Tcp(socket.into_std()?), peer))
            }
            Self::Unix(socket) => {
                let (socket, _) = socket.accept().await?;
                Ok((Idle::Unix(socket.into_std()?), LOCAL))
            }
        }
    }

    fn into_std(self) -> io::Result<Listening> {
        match self {
            Self::Tcp(socket) => socket.into_std().map(Listening::Tcp),
            Self::Unix(socket) => socket.into_std().map(Listening::Unix),
        }
    }
}

/// One that waits in the kernel's queue, which the runtime may not have heard of.
fn waiting(socket: &Listening) -> io::Result<(Idle, SocketAddr)> {
    match socket {
        Listening::Tcp(socket) => {
            let (socket, peer) = socket.accept()?;
            socket.set_nonblocking(true)?;
            Ok((Idle::Tcp(socket), peer))
        }
        Listening::Unix(socket) => {
            let (socket, _) = socket.accept()?;
            socket.set_nonblocking(true)?;
            Ok((Idle::Unix(socket), LOCAL))
        }
    }
}

/// Errors of a connection that ended before it was accepted; the listener is as well as before (accept(2)).
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}
