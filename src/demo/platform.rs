//! The two sample platforms: small web servers on loopback, on a thread of their own.
//!
//! `stage` starts them before the proxy and ends them after it. They must never know that a proxy is there:
//! the old one is quick and right, the new one slower and wrong now and then, as new platforms are.

use std::convert::Infallible;
use std::fmt::Write;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

use super::Side;

/// How often the new platform fails when all is well …
const USUAL_ERRORS: f64 = 0.02;
/// … and when it isn't.
const TROUBLED_ERRORS: f64 = 0.35;

/// The response header that says which platform answered.
pub(super) const PLATFORM: &str = "x-platform";

/// Both platforms, until dropped.
#[derive(Debug)]
pub(super) struct Platforms {
    /// Where they listen.
    pub(super) addresses: [SocketAddr; 2],
    /// Whether the new one is in trouble.
    pub(super) trouble: Trouble,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Platforms {
    /// Listens on two free ports and serves.
    ///
    /// # Errors
    /// When the machine has no port or thread left.
    pub(super) fn start() -> io::Result<Self> {
        let listen = |_| std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let sockets = [listen(Side::Old)?, listen(Side::New)?];
        let addresses = [sockets[0].local_addr()?, sockets[1].local_addr()?];
        sockets.iter().try_for_each(|socket| socket.set_nonblocking(true))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let trouble = Trouble::default();
        let (end, ended) = oneshot::channel();
        let shared = trouble.clone();
        let thread = std::thread::Builder::new().name("demo-platforms".to_owned()).spawn(move || {
            runtime.block_on(async {
                for (side, socket) in Side::BOTH.into_iter().zip(sockets) {
                    tokio::spawn(serve(side, socket, shared.clone()));
                }
                // The sender says nothing; it is dropped.
                let _ = ended.await;
            });
        })?;
        Ok(Self { addresses, trouble, end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Platforms {
    fn drop(&mut self) {
        drop(self.end.take());
        // A panic in there has ended its connection and been seen.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Whether the new platform is in trouble. Clones are the same.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble(Arc<AtomicBool>);

impl Trouble {
    /// It fails often from now on, or is repaired.
    pub(super) fn set(&self, is_on: bool) {
        self.0.store(is_on, Relaxed);
    }

    fn errors(&self, side: Side) -> f64 {
        match side {
            Side::Old => 0.0,
            Side::New if self.0.load(Relaxed) => TROUBLED_ERRORS,
            Side::New => USUAL_ERRORS,
        }
    }
}

/// How long a platform takes for an answer, in microseconds.
const fn pace(side: Side) -> RangeInclusive<u64> {
    match side {
        Side::Old => 3_000..=7_000,
        Side::New => 16_000..=34_000,
    }
}

async fn serve(side: Side, socket: std::net::TcpListener, trouble: Trouble) {
    let Ok(listener) = TcpListener::from_std(socket) else { return };
    loop {
        let Ok((socket, _)) = listener.accept().await else {
            // Out of descriptors, most likely: some may be free in a moment.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let trouble = trouble.clone();
        tokio::spawn(async move {
            // Without it answers wait for acknowledgements; where it fails they do.
            let _ = socket.set_nodelay(true);
            let service = service_fn(|request| answer(side, trouble.errors(side), request));
            // A connection that breaks is the other end's to notice.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
        });
    }
}

async fn answer(
    side: Side,
    errors: f64,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    tokio::time::sleep(Duration::from_micros(fastrand::u64(pace(side)))).await;
    let (status, text) = if fastrand::f64() < errors {
        (StatusCode::INTERNAL_SERVER_ERROR, format!("{} fails\n", side.name()))
    } else {
        (StatusCode::OK, greeting(side, &request))
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(PLATFORM, http::HeaderValue::from_static(side.name()));
    Ok(response)
}

/// A page for who looks by hand: which platform it is, and what it was told.
fn greeting(side: Side, request: &Request<Incoming>) -> String {
    let mut text = format!("Hello from {}, {}. This is what I was told:\n\n", side.name(), side.role());
    // A String takes everything.
    let _ = writeln!(text, "  {} {}", request.method(), request.uri());
    for (name, value) in request.headers() {
        let _ = writeln!(text, "  {name}: {}", value.to_str().unwrap_or("…"));
    }
    text
}
