//! A backend that speaks HTTP/2, by the `h2` crate: one async closure per request, every head kept.
//!
//! It must never answer anything that its script doesn't say.

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;

use super::DEADLINE;

/// A running backend; it ends when dropped.
pub(crate) struct Http2Backend {
    pub(crate) address: SocketAddr,
    scheme: &'static str,
    seen: Receiver<Seen>,
    counts: Arc<Counts>,
    /// How often every connection there is has been told to go away.
    shut_down: watch::Sender<usize>,
    words: Arc<Semaphore>,
}

#[derive(Default)]
struct Counts {
    accepted: AtomicUsize,
    open: AtomicUsize,
    running: AtomicUsize,
}

/// A request's head, and which of the backend's connections it came on.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) head: Request<()>,
    pub(crate) connection: usize,
}

/// One request on its stream.
pub(crate) struct Call {
    pub(crate) head: Request<()>,
    /// Which of the backend's connections this is, from 0.
    pub(crate) connection: usize,
    body: RecvStream,
    respond: SendResponse<Bytes>,
    words: Arc<Semaphore>,
}

impl Http2Backend {
    /// Plays `script` for each request, with prior knowledge, allowing `streams` at a time.
    pub(crate) fn start<F>(streams: u32, script: impl Fn(Call) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self::serve(None, streams, script)
    }

    /// The same over TLS, where only HTTP/2 can be chosen.
    pub(crate) fn start_tls<F>(
        config: &Arc<ServerConfig>,
        streams: u32,
        script: impl Fn(Call) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let mut config = ServerConfig::clone(config);
        config.alpn_protocols = vec![b"h2".to_vec()];
        Self::serve(Some(Arc::new(config)), streams, script)
    }

    fn serve<F>(
        tls: Option<Arc<ServerConfig>>,
        streams: u32,
        script: impl Fn(Call) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (tell, seen) = channel();
        let (shut_down, going) = watch::channel(0);
        let (counts, words) = (Arc::new(Counts::default()), Arc::new(Semaphore::new(0)));
        let (counted, waited) = (Arc::clone(&counts), Arc::clone(&words));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let server = Server { tls, streams, script, tell, counts: counted, words: waited };
            tokio::task::LocalSet::new().block_on(&runtime, accept(listener, Rc::new(server), going));
        });
        Self { address, scheme, seen, counts, shut_down, words }
    }

    /// Its URL for a configuration.
    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// Waits for the next request.
    pub(crate) fn next(&self) -> Seen {
        self.seen.recv_timeout(DEADLINE).expect("a request reaches the backend")
    }

    /// Lets `calls` go on that wait for it in [`Call::await_word`].
    pub(crate) fn go_on(&self, calls: usize) {
        self.words.add_permits(calls);
    }

    /// Tells every connection that there is to go away (GOAWAY), finishing what it has.
    pub(crate) fn go_away(&self) {
        self.shut_down.send_modify(|times| *times += 1);
    }

    /// How many connections were opened to it.
    pub(crate) fn accepted(&self) -> usize {
        self.counts.accepted.load(SeqCst)
    }

    /// How many connections are open now.
    pub(crate) fn open(&self) -> usize {
        self.counts.open.load(SeqCst)
    }

    /// How many requests are running now.
    pub(crate) fn running(&self) -> usize {
        self.counts.running.load(SeqCst)
    }
}

impl Call {
    /// Answers 200 with this body.
    pub(crate) fn answer(mut self, body: impl Into<Bytes>) {
        let mut stream = self.begin();
        let _ = stream.send_data(body.into(), true);
    }

    /// Answers 200 with a body to come.
    pub(crate) fn begin(&mut self) -> SendStream<Bytes> {
        self.begin_with(Response::new(()))
    }

    /// Answers with this head and a body to come.
    pub(crate) fn begin_with(&mut self, head: Response<()>) -> SendStream<Bytes> {
        self.respond.send_response(head, false).expect("the stream is open")
    }

    /// Refuses the stream: nothing was done.
    pub(crate) fn refuse(mut self) {
        self.respond.send_reset(Reason::REFUSED_STREAM);
    }

    /// The next piece of the request's body; nothing at its end or where it breaks off.
    pub(crate) async fn data(&mut self) -> Option<Bytes> {
        let data = self.body.data().await?.ok()?;
        self.body.flow_control().release_capacity(data.len()).unwrap();
        Some(data)
    }

    /// The whole rest of the request's body.
    pub(crate) async fn body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(data) = self.data().await {
            body.extend_from_slice(&data);
        }
        body
    }

    /// The request's trailers, behind its body.
    pub(crate) async fn trailers(&mut self) -> Option<HeaderMap> {
        self.body.trailers().await.ok().flatten()
    }

    /// Waits for [`Http2Backend::go_on`].
    pub(crate) async fn await_word(&self) {
        self.words.acquire().await.unwrap().forget();
    }

    /// Waits until the proxy resets the stream; says why.
    pub(crate) async fn await_reset(&mut self) -> Option<Reason> {
        std::future::poll_fn(|cx| self.respond.poll_reset(cx)).await.ok()
    }
}

struct Server<S> {
    tls: Option<Arc<ServerConfig>>,
    streams: u32,
    script: S,
    tell: Sender<Seen>,
    counts: Arc<Counts>,
    words: Arc<Semaphore>,
}

/// Ends with the backend, which holds the other side of `going`.
async fn accept<S, F>(
    listener: std::net::TcpListener,
    server: Rc<Server<S>>,
    mut going: watch::Receiver<usize>,
) where
    S: Fn(Call) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let number = server.counts.accepted.fetch_add(1, SeqCst);
                let (server, going) = (Rc::clone(&server), going.clone());
                tokio::task::spawn_local(connection(accepted.unwrap().0, server, number, going));
            }
            changed = going.changed() => if changed.is_err() { return },
        }
    }
}

async fn connection<S, F>(
    socket: TcpStream,
    server: Rc<Server<S>>,
    number: usize,
    going: watch::Receiver<usize>,
) where
    S: Fn(Call) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    socket.set_nodelay(true).unwrap();
    server.counts.open.fetch_add(1, SeqCst);
    match server.tls.clone() {
        None => streams(socket, &server, number, going).await,
        Some(tls) => {
            if let Ok(stream) = TlsAcceptor::from(tls).accept(socket).await {
                streams(stream, &server, number, going).await;
            }
        }
    }
    server.counts.open.fetch_sub(1, SeqCst);
}

async fn streams<I, S, F>(io: I, server: &Rc<Server<S>>, connection: usize, mut going: watch::Receiver<usize>)
where
    I: AsyncRead + AsyncWrite + Unpin,
    S: Fn(Call) -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let mut builder = Builder::new();
    let Ok(mut calls) = builder.max_concurrent_streams(server.streams).handshake::<_, Bytes>(io).await else {
        return;
    };
    let words = &server.words;
    loop {
        let accepted = tokio::select! {
            accepted = calls.accept() => accepted,
            changed = going.changed() => {
                if changed.is_err() {
                    return;
                }
                calls.graceful_shutdown();
                continue;
            }
        };
        let Some(Ok((request, respond))) = accepted else { return };
        let (parts, body) = request.into_parts();
        let head = Request::from_parts(parts, ());
        let _ = server.tell.send(Seen { head: head.clone(), connection });
        let call = Call { head, connection, body, respond, words: Arc::clone(words) };
        server.counts.running.fetch_add(1, SeqCst);
        let server = Rc::clone(server);
        tokio::task::spawn_local(async move {
            (server.script)(call).await;
            server.counts.running.fetch_sub(1, SeqCst);
        });
    }
}
