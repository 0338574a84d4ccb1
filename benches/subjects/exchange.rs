//! Whole exchanges: a visitor, the proxy and a backend, all on one thread.
//!
//! `micro` and `icount` call it. It must never wait for a clock, nor for another thread: what the visitor awaits is
//! done by the time the thread has nothing else to do.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use crossfade::config;
use crossfade::memory::{Pressure, Telling};
use crossfade::proxy::worker::Worker;
use crossfade::server::connection;
use crossfade::server::opening::Manner;
use crossfade::server::socket::Socket;
use crossfade::snapshot::Snapshot;
use crossfade::snapshot::publish::Publisher;
use crossfade::snapshot::registry::Registry;
use crossfade::telemetry::access_log::{AccessLog, Buffer};
use crossfade::telemetry::metrics::Metrics;
use crossfade::telemetry::series::Reasons;
use crossfade::tls::challenges::Challenges;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{LocalSet, spawn_local};

use super::{BROWSER, head};

/// After so many, nothing is done for the first time any more.
const WARM: usize = 50;
/// What the backend says.
const FIELDS: [(&str, &str); 5] = [
    ("server", "gunicorn"),
    ("date", "Fri, 02 Jan 2026 10:00:00 GMT"),
    ("content-type", "text/plain; charset=utf-8"),
    ("cache-control", "private"),
    ("content-length", "12"),
];
const BODY: &[u8] = b"Hello there\n";

/// A visitor of a proxy that has served it before.
pub(crate) struct Exchange {
    runtime: Runtime,
    tasks: LocalSet,
    request: Vec<u8>,
    answer: Vec<u8>,
    visitor: TcpStream,
    _kept: Kept,
}

/// What would change something for the proxy if it were gone.
type Kept = (Publisher, Telling, AccessLog);

impl Exchange {
    /// Everything is started, and has had a few exchanges.
    pub(crate) fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a thread is enough");
        let tasks = LocalSet::new();
        let (visitor, kept) = tasks.block_on(&runtime, start());
        let request = head("GET /basket/items?page=2 HTTP/1.1", &BROWSER);
        let mut this = Self { runtime, tasks, request, answer: vec![0; 4096], visitor, _kept: kept };
        this.exchange(WARM);
        this
    }

    /// So many exchanges, one after the other on one connection.
    pub(crate) fn exchange(&mut self, times: usize) {
        let Self { runtime, tasks, request, answer, visitor, .. } = self;
        tasks.block_on(runtime, async {
            for _ in 0..times {
                ask(visitor, request, answer).await;
            }
        });
    }
}

/// Writes a request, and reads until the body's end.
async fn ask(visitor: &mut TcpStream, request: &[u8], answer: &mut [u8]) {
    visitor.write_all(request).await.expect("the proxy reads");
    let mut length = 0;
    while !answer[..length].ends_with(BODY) {
        let read = visitor.read(&mut answer[length..]).await.expect("the proxy writes");
        assert!(read > 0, "{}", String::from_utf8_lossy(&answer[..length]));
        length += read;
    }
    assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
}

/// Backend, proxy and visitor.
async fn start() -> (TcpStream, Kept) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let backend = listener.local_addr().expect("it is bound");
    spawn_local(serve_backend(listener));
    let (worker, kept) = worker(backend);
    let lane = Rc::clone(&worker.lane);
    spawn_local(async move { lane.run().await });
    let entrance = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let visitor = TcpStream::connect(entrance.local_addr().expect("it is bound"));
    let (visitor, accepted) = tokio::join!(visitor, entrance.accept());
    let (socket, peer) = accepted.expect("somebody comes");
    let manner = Manner { tls: false, proxy_protocol: false };
    spawn_local(connection::serve(worker, Socket::from(socket), peer, manner, Rc::default()));
    let visitor = visitor.expect("it listens");
    visitor.set_nodelay(true).expect("it is a socket of TCP");
    (visitor, kept)
}

/// A worker with a route of two backends, which are the same one; its records are written, and lost.
fn worker(backend: SocketAddr) -> (Rc<Worker>, Kept) {
    let text = format!(
        "server.http = \"127.0.0.1:0\"\naccess_log.target = \"/dev/null\"\n\
         backends.fly.url = \"http://{backend}\"\nbackends.heroku.url = \"http://{backend}\"\n\
         [[routes]]\nname = \"web\"\nweights = {{ fly = 50, heroku = 50 }}\nstable = \"heroku\"\n"
    );
    let config = config::load(&text, &|_| None).expect("a valid configuration").config;
    let metrics = Metrics::new("0", Reasons::default());
    let log = AccessLog::open(config.access_log.target.as_ref(), &metrics).expect("there is a null device");
    let buffer = Buffer::new(log.sink(), config.access_log.format);
    let snapshot = Snapshot::compile(config, 1, &mut Registry::default()).expect("nothing to be read");
    for endpoint in snapshot.endpoints() {
        endpoint.publish(vec![backend], Instant::now());
    }
    reconcile(&metrics, &snapshot);
    let publisher = Publisher::new(Arc::new(snapshot));
    let (telling, memory) = Pressure::new();
    let worker = Worker::new(0, 1, publisher.published(), Challenges::default(), metrics, memory, buffer);
    (Rc::new(worker), (publisher, telling, log))
}

/// As the Controller does: what isn't told of counts nowhere.
fn reconcile(metrics: &Metrics, snapshot: &Snapshot) {
    metrics.reconcile(&snapshot.shares().collect::<Vec<_>>());
}

/// Answers every request alike, whatever it asks for, on any connection.
async fn serve_backend(listener: TcpListener) {
    let mut answer = head("HTTP/1.1 200 OK", &FIELDS);
    answer.extend_from_slice(BODY);
    while let Ok((mut socket, _)) = listener.accept().await {
        let answer = answer.clone();
        spawn_local(async move {
            socket.set_nodelay(true).expect("it is a socket of TCP");
            let (mut request, mut length) = ([0; 4096], 0);
            while let Ok(read @ 1..) = socket.read(&mut request[length..]).await {
                length += read;
                if request[..length].ends_with(b"\r\n\r\n") {
                    length = 0;
                    socket.write_all(&answer).await.expect("the proxy reads");
                }
            }
        });
    }
}
