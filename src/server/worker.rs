//! A worker: one thread, one single-threaded runtime, and the connections it owns for life.
//!
//! `app` starts one per core. Nothing in it is shared with another thread but the published snapshot, atomics
//! and channels. It must never run anything that isn't a visitor's.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::thread::JoinHandle;

use tokio::sync::{Notify, mpsc};
use tokio::task::LocalSet;
use tokio::time::Instant;

use crate::config::limits::{ACCESS_LOG_AGE, PARKED_SWEEP, POOL_SWEEP};
use crate::memory::{Level, Pressure};
use crate::proxy::worker::Worker;
use crate::server::accept::accept;
use crate::server::balance::{Accepted, Balance, Seat};
use crate::server::connection;
use crate::server::drain::{Closing, Draining, Phase};
use crate::server::http1::parked::Parked;
use crate::server::listener::Listener;
use crate::server::opening::Manner;
use crate::server::parking::{Parking, Watch};
use crate::snapshot::publish::{Attendance, Published};
use crate::telemetry::access_log::{Buffer, Sink};
use crate::telemetry::events::Event;
use crate::telemetry::metrics::{Connections, Metrics, OpenConnection};
use crate::tls::challenges::Challenges;

/// Everything a worker starts with.
#[derive(Debug)]
pub struct Seed {
    /// Its number, from 0.
    pub index: usize,
    /// How many there are.
    pub workers: usize,
    /// Its duplicates of the listening sockets.
    pub listeners: Vec<Listener>,
    /// Who has how many connections.
    pub balance: Balance,
    /// What others hand to it.
    pub handed: mpsc::Receiver<Accepted>,
    /// The live snapshot.
    pub published: Published,
    /// The word that it routes by it.
    pub attendance: Attendance,
    /// Our proofs to certificate authorities.
    pub challenges: Challenges,
    /// Where it counts.
    pub metrics: Metrics,
    /// Where its access records go.
    pub sink: Sink,
    /// How scarce memory is.
    pub memory: Pressure,
    /// When to end.
    pub draining: Draining,
}

/// A connection that has been silent for a while, and its place among the worker's.
#[derive(Debug)]
struct Kept {
    parked: Parked,
    place: Place,
}

impl AsFd for Kept {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.parked.as_fd()
    }
}

/// Starts a worker's thread. It ends with the drain; the handle gives the number of connections cut off.
///
/// # Errors
/// When the machine has no thread or descriptor left.
pub fn start(seed: Seed) -> io::Result<JoinHandle<usize>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let watch = Watch::new()?;
    drop(entered);
    std::thread::Builder::new()
        .name(format!("worker-{}", seed.index))
        .spawn(move || LocalSet::new().block_on(&runtime, run(seed, watch)))
}

async fn run(seed: Seed, watch: Watch) -> usize {
    let Seed {
        index,
        workers,
        listeners,
        balance,
        handed,
        published,
        attendance,
        challenges,
        metrics,
        sink,
        memory,
        mut draining,
    } = seed;
    let format = published.current().config.access_log.format;
    let log = Buffer::new(sink, format);
    let worker = Rc::new(Worker::new(index, workers, published, challenges, metrics.clone(), memory, log));
    let counts: Vec<Connections> =
        listeners.iter().map(|listener| metrics.connections(&listener.place.to_string(), index)).collect();
    let manners = listeners.iter().map(|listener| listener.manner).collect();
    let open = Rc::new(Open::default());
    let room = Rc::new(Room {
        worker: Rc::clone(&worker),
        counts,
        manners,
        open: Rc::clone(&open),
        closing: Rc::default(),
        parking: Parking::new(watch),
    });

    for (place, listener) in listeners.into_iter().enumerate() {
        let (room, held) = (Rc::clone(&room), open.hold());
        let accepting = accept(
            listener,
            place,
            index,
            Rc::clone(&worker),
            balance.clone(),
            draining.clone(),
            move |accepted| room.admit(accepted),
        );
        tokio::task::spawn_local(async move {
            accepting.await;
            drop(held);
        });
    }
    tokio::task::spawn_local(take_handed(handed, Rc::clone(&room), draining.clone()));
    tokio::task::spawn_local(close(Rc::clone(&room), draining.clone()));
    tokio::task::spawn_local(wake(Rc::clone(&room)));
    tokio::task::spawn_local(attend(attendance, Rc::clone(&worker)));
    tokio::task::spawn_local(sweep(Rc::clone(&worker)));
    tokio::task::spawn_local(relieve(Rc::clone(&room)));
    tokio::task::spawn_local(flush(Rc::clone(&worker)));
    let lane = Rc::clone(&worker.lane);
    tokio::task::spawn_local(async move { lane.run().await });

    draining.reached(Phase::Draining).await;
    worker.drain();
    tokio::select! {
        () = open.none() => {}
        () = draining.reached(Phase::Ended) => worker.end(),
    }
    worker.log.borrow_mut().flush();
    open.count.get()
}

/// Where a worker's connections are begun.
struct Room {
    worker: Rc<Worker>,
    /// By place of the listener.
    counts: Vec<Connections>,
    manners: Vec<Manner>,
    open: Rc<Open>,
    closing: Rc<Closing>,
    parking: Parking<Kept>,
}

impl Room {
    fn admit(self: &Rc<Self>, accepted: Accepted) {
        let Accepted { socket, peer, listener, seat } = accepted;
        let Ok(socket) = socket.wake() else { return };
        let place = Place {
            _counted: self.counts[listener].open(),
            _held: self.open.hold(),
            _seat: seat,
            _witness: Witness(Rc::clone(&self.worker)),
        };
        let (worker, closing) = (Rc::clone(&self.worker), Rc::clone(&self.closing));
        self.serve(connection::serve(worker, socket, peer, self.manners[listener], closing), place);
    }

    fn resume(self: &Rc<Self>, kept: Kept) {
        let (worker, closing) = (Rc::clone(&self.worker), Rc::clone(&self.closing));
        self.serve(connection::resume(worker, kept.parked, closing), kept.place);
    }

    fn serve(self: &Rc<Self>, serving: impl Future<Output = Option<Parked>> + 'static, place: Place) {
        let room = Rc::clone(self);
        tokio::task::spawn_local(async move {
            let parked = serving.await;
            let kept = parked.and_then(|parked| room.parking.park(Kept { parked, place }).err());
            // Whom the kernel can't watch stays the runtime's.
            kept.into_iter().for_each(|kept| room.resume(kept));
        });
    }

    /// Closes those whose time is over, or whose next request would be refused.
    fn sweep(self: &Rc<Self>) {
        let (now, short) = (Instant::now(), self.worker.memory.level() == Level::Short);
        self.close_parked(|kept| short || kept.parked.due() <= now);
    }

    /// Closes those that are `over`, but for whoever has asked meanwhile.
    fn close_parked(self: &Rc<Self>, over: impl Fn(&Kept) -> bool) {
        loop {
            let woken = self.parking.woken_now();
            if woken.is_empty() {
                return self.parking.close(over);
            }
            woken.into_iter().for_each(|kept| self.resume(kept));
        }
    }
}

/// What a connection holds from its first byte to its last.
#[derive(Debug)]
struct Place {
    _counted: OpenConnection,
    _held: Held,
    _seat: Seat,
    _witness: Witness,
}

/// Counts a panic that ends a connection or a stream; the runtime keeps it from ending more.
#[derive(Debug)]
pub(super) struct Witness(pub(super) Rc<Worker>);

impl Drop for Witness {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.metrics.panicked();
            Event::Panicked { worker: self.0.index, message: &"see the report before this line" }.log();
        }
    }
}

/// How many things a drain has to wait for.
#[derive(Debug, Default)]
struct Open {
    count: Cell<usize>,
    none: Notify,
}

impl Open {
    fn hold(self: &Rc<Self>) -> Held {
        self.count.set(self.count.get() + 1);
        Held(Rc::clone(self))
    }

    async fn none(&self) {
        while self.count.get() > 0 {
            self.none.notified().await;
        }
    }
}

#[derive(Debug)]
struct Held(Rc<Open>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        if self.0.count.get() == 0 {
            self.0.none.notify_one();
        }
    }
}

/// Until the drain begins; what is on its way then is taken, what comes later goes back to who sent it.
async fn take_handed(mut handed: mpsc::Receiver<Accepted>, room: Rc<Room>, mut draining: Draining) {
    let _held = room.open.hold();
    loop {
        tokio::select! {
            accepted = handed.recv() => {
                accepted.into_iter().for_each(|accepted| room.admit(accepted));
                // As in `accept`.
                tokio::task::yield_now().await;
            }
            () = draining.reached(Phase::Draining) => break,
        }
    }
    handed.close();
    while let Some(accepted) = handed.recv().await {
        room.admit(accepted);
    }
}

/// Has those served again of which a byte has come.
async fn wake(room: Rc<Room>) {
    let mut sweep = tokio::time::interval(PARKED_SWEEP);
    loop {
        tokio::select! {
            woken = room.parking.woken() => woken.into_iter().for_each(|kept| room.resume(kept)),
            _ = sweep.tick() => room.sweep(),
        }
        // As in `accept`.
        tokio::task::yield_now().await;
    }
}

async fn close(room: Rc<Room>, mut draining: Draining) {
    for phase in [Phase::Moving, Phase::Closing, Phase::Leaving] {
        draining.reached(phase).await;
        room.closing.reach(phase);
        if phase == Phase::Closing {
            room.close_parked(|_| true);
        }
    }
}

/// Says of each revision that it is seen. A request takes its view and is routed without a pause, so none is under way
/// by an older one while this task runs.
async fn attend(mut attendance: Attendance, worker: Rc<Worker>) {
    loop {
        attendance.has_seen(worker.snapshot().revision);
        attendance.changed().await;
    }
}

async fn sweep(worker: Rc<Worker>) {
    loop {
        tokio::time::sleep(POOL_SWEEP).await;
        worker.sweep(Instant::now());
    }
}

/// Gives back what is only kept for later when memory grows scarce, and has every connection look with each change
/// whether it may stay, or may read on.
async fn relieve(room: Rc<Room>) {
    let mut memory = room.worker.memory.clone();
    loop {
        memory.changed().await;
        if memory.level() != Level::Calm {
            room.worker.sweep(Instant::now());
            room.sweep();
        }
        room.closing.look();
    }
}

/// Gives records to the writer when they are old enough to be missed; a full buffer goes by itself.
async fn flush(worker: Rc<Worker>) {
    loop {
        worker.log_pending.notified().await;
        tokio::time::sleep(ACCESS_LOG_AGE).await;
        worker.log.borrow_mut().flush();
    }
}
