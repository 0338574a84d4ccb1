//! Puts the demo together: platforms, file, visitors, conductor and screen, around a proxy that `cli::demo`
//! runs.
//!
//! The order is everything: platforms serve before the proxy and after it, visitors leave before it drains,
//! and the folder goes last. It must never outlive the proxy, nor let it wait.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval};

use super::conductor::{Conductor, Scene};
use super::meter::Meter;
use super::platform::{Platforms, Trouble};
use super::screen::{FRAME, Screen};
use super::script::WHOLE;
use super::steering::{Folder, Steering};
use super::view::{Places, View};
use super::visitors::Visitors;
use super::wheel::Wheel;
use super::{DemoError, Side};

/// How long the end of the script stays to be seen.
const CURTAIN: Duration = Duration::from_millis(250);

/// Everything but the proxy and its visitors.
#[derive(Debug)]
pub struct Stage {
    runtime: Runtime,
    signals: Signals,
    folder: Folder,
    platforms: Platforms,
    steering: Steering,
    length: Option<Duration>,
}

/// Where the proxy is reached.
#[derive(Debug, Clone, Copy)]
pub struct Doors {
    /// The visitors' address.
    pub http: SocketAddr,
    /// That of the metrics.
    pub metrics: SocketAddr,
    /// That of the dashboard and the admin API.
    pub admin: SocketAddr,
}

/// The demo while it plays.
#[derive(Debug)]
pub struct Playing {
    /// Takes where the proxy is reached, once it is.
    pub doors: oneshot::Sender<Doors>,
    /// Comes when the proxy should end: its time is up, or somebody ended the demo.
    pub ended: oneshot::Receiver<()>,
    /// To be kept until the proxy has ended.
    pub backstage: Backstage,
}

/// What has to last as long as the proxy. Dropped, it waits for the demo's threads and leaves nothing behind.
#[derive(Debug)]
pub struct Backstage {
    thread: Option<JoinHandle<()>>,
    _platforms: Platforms,
    _folder: Folder,
}

impl Stage {
    /// Starts the sample platforms and writes the configuration file. The demo ends by itself after `length`;
    /// without one, when it is told to.
    ///
    /// # Errors
    /// When the machine has no thread, socket, signal handler or place for temporary files.
    pub fn set(length: Option<Duration>) -> Result<Self, DemoError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(DemoError::Machine)?;
        // Before there is anything that an early Ctrl-C could leave behind.
        let signals = {
            let _inside = runtime.enter();
            Signals::listen().map_err(DemoError::Machine)?
        };
        let platforms = Platforms::start().map_err(DemoError::Machine)?;
        let folder = Folder::create()?;
        let steering = Steering::take(&folder, platforms.addresses)?;
        Ok(Self { runtime, signals, folder, platforms, steering, length })
    }

    /// The configuration file that the proxy is to run by.
    pub fn file(&self) -> &Path {
        self.steering.path()
    }

    /// Begins on a thread of its own, once it is told where the proxy is reached.
    ///
    /// # Errors
    /// When the machine has no thread left.
    pub fn play(self) -> Result<Playing, DemoError> {
        let Self { runtime, mut signals, folder, platforms, steering, length } = self;
        let (doors, opened) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let trouble = platforms.trouble.clone();
        let thread = std::thread::Builder::new().name("demo-stage".to_owned()).spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                // Not opened: the proxy couldn't start, and says so itself.
                if let Ok(doors) = opened.await {
                    let folder = steering.path().parent().map(Path::to_owned).unwrap_or_default();
                    let token = steering.token().to_owned();
                    let places = Places { doors, folder, token, length };
                    // A screen that is gone ends the demo like everything else does.
                    let _ = perform(&places, steering, trouble, &mut signals).await;
                }
                // Nobody waits where the proxy has ended by itself.
                let _ = end.send(());
            });
        });
        let thread = Some(thread.map_err(DemoError::Machine)?);
        Ok(Playing { doors, ended, backstage: Backstage { thread, _platforms: platforms, _folder: folder } })
    }
}

impl Drop for Backstage {
    fn drop(&mut self) {
        // A panic in there has been told by itself.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

async fn perform(
    places: &Places,
    steering: Steering,
    trouble: Trouble,
    signals: &mut Signals,
) -> io::Result<()> {
    let mut screen = Screen::open(places)?;
    let scene = Scene::begin();
    let visitors = Visitors::new(places.doors.http);
    let wheel = Wheel::new(places.doors.admin, places.token.clone());
    let meter = Meter::new(places.doors.metrics);
    let conductor = Conductor { scene: Rc::clone(&scene), steering, wheel, meter, trouble };
    let length = places.length.map_or(WHOLE, |length| length.saturating_sub(CURTAIN).min(WHOLE));
    let mut meter = Meter::new(places.doors.metrics);
    tokio::task::spawn_local(Rc::clone(&visitors).come());
    let watched = tokio::select! {
        () = conductor.play(length) => Ok(()),
        () = signals.any() => Ok(()),
        () = over(places.length) => Ok(()),
        lost = project(&mut screen, &mut meter, &scene, &visitors, places) => lost,
    };
    visitors.leave().await;
    look(&mut meter, &scene).await;
    watched?;
    let view = view(&scene, &visitors);
    screen.show(&view, places)?;
    screen.close(&view)
}

/// Looks at the metrics and shows them, until nobody watches any more.
async fn project(
    screen: &mut Screen,
    meter: &mut Meter,
    scene: &Scene,
    visitors: &Visitors,
    places: &Places,
) -> io::Result<()> {
    let mut frames = interval(FRAME);
    frames.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        frames.tick().await;
        look(meter, scene).await;
        screen.show(&view(scene, visitors), places)?;
    }
}

async fn look(meter: &mut Meter, scene: &Scene) {
    if let Some(scrape) = meter.read().await {
        scene.readings.borrow_mut().push(scene.now(), scrape);
    }
}

fn view(scene: &Scene, visitors: &Visitors) -> View {
    let readings = scene.readings.borrow();
    View {
        now: scene.now(),
        scrape: readings.last(),
        readings: Side::BOTH.map(|side| readings.shown(side)),
        tally: visitors.tally(),
        habits: visitors.habits(),
        chronicle: scene.chronicle.borrow().clone(),
    }
}

async fn over(length: Option<Duration>) {
    match length {
        Some(length) => tokio::time::sleep(length).await,
        None => std::future::pending().await,
    }
}

/// What ends the demo from outside.
#[derive(Debug)]
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
