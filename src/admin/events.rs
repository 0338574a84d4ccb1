//! Server-sent events: every revision, the status once a second and with every change, the points of the charts.
//!
//! `api` begins a stream for each reader; all are told the same. One that reads slowly must never cost more than a few
//! events of memory, nor hold up anybody else; one that comes back misses no revision that is kept.

// The control thread alone takes it, to make an event.
#![expect(clippy::disallowed_types, reason = "no request of a visitor comes here")]

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use http_body::Frame;
use serde::Serialize;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Instant, interval_at, timeout_at};

use super::told::{self, Process};
use crate::config::limits::{ADMIN_EVENTS, ADMIN_KEEP_ALIVE};
use crate::control::status::Watching;
use crate::telemetry::readings::Readings;

/// What a stream is made from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) told: Arc<Told>,
    pub(super) status: Watching,
    pub(super) readings: Readings,
    /// The revision that the reader has seen.
    pub(super) after: Option<u64>,
    /// When the stream ends; the reader comes back.
    pub(super) ends: Instant,
    /// Its place among the streams.
    pub(super) place: OwnedSemaphorePermit,
}

/// Begins a stream.
pub(super) fn stream(source: Source) -> Response {
    let (feed, events) = mpsc::channel(ADMIN_EVENTS);
    tokio::spawn(async move {
        // It ends with its time, or with its reader: nothing else is to be said of it.
        let _ = timeout_at(source.ends, tell(&source, feed)).await;
        drop(source.place);
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::new(Stream(events))).into_response()
}

/// Tells everything until nobody reads any more.
async fn tell(source: &Source, feed: Sender<Bytes>) -> Result<(), Gone> {
    let (mut status, mut readings) = (source.status.clone(), source.readings.from_now_on());
    let mut quiet = interval_at(Instant::now() + ADMIN_KEEP_ALIVE, ADMIN_KEEP_ALIVE);
    let live = status.borrow().revision;
    // Whoever has seen more than there is has seen it of another life.
    let mut seen = source.after.map_or(live, |after| after.min(live));
    let mut pointed = readings.pointed();
    feed.send(Bytes::from_static(b"retry: 1000\n\n")).await?;
    loop {
        let records = told::above(&status.borrow_and_update(), seen);
        for record in records {
            seen = record.revision;
            feed.send(event("revision", Some(seen), &*record)).await?;
        }
        feed.send(source.told.status()).await?;
        if pointed != readings.pointed() {
            pointed = readings.pointed();
            if let Some(sample) = source.told.sample() {
                feed.send(sample).await?;
            }
        }
        quiet.reset();
        loop {
            tokio::select! {
                changed = status.changed() => break changed?,
                () = readings.second() => break,
                _ = quiet.tick() => feed.send(Bytes::from_static(b": still here\n\n")).await?,
                () = feed.closed() => return Err(Gone),
            }
        }
    }
}

/// What all streams tell alike: made once for each second and change, and only while somebody reads.
#[derive(Debug)]
pub(super) struct Told(Mutex<Made>);

impl Told {
    /// Of this process.
    pub(super) fn new(process: Arc<Process>, status: Watching, readings: Readings) -> Self {
        Self(Mutex::new(Made { process, status, readings, event: None, sample: (0, None) }))
    }

    /// The event of the status as it is now.
    pub(super) fn status(&self) -> Bytes {
        let made = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = made.status.has_changed().unwrap_or(true) || made.readings.has_second();
        if let Some(event) = made.event.as_ref().filter(|_| !is_over) {
            return event.clone();
        }
        made.readings = made.readings.from_now_on();
        let status = told::status(&made.process, &made.status.borrow_and_update(), &made.readings);
        made.event.insert(event("status", None, &status)).clone()
    }

    /// The event of the newest point; nothing before there is one.
    pub(super) fn sample(&self) -> Option<Bytes> {
        let made = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let pointed = made.readings.pointed();
        if made.sample.0 != pointed {
            made.sample =
                (pointed, told::sample(&made.readings).map(|sample| event("sample", None, &sample)));
        }
        made.sample.1.clone()
    }
}

/// What was made last, and of what.
#[derive(Debug)]
struct Made {
    process: Arc<Process>,
    status: Watching,
    readings: Readings,
    event: Option<Bytes>,
    /// The number of its point.
    sample: (u64, Option<Bytes>),
}

/// One event. JSON has no line ends of its own.
fn event(name: &str, id: Option<u64>, data: &impl Serialize) -> Bytes {
    let data =
        serde_json::to_string(data).expect("the API's types have names for keys, and nothing that fails");
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    format!("event: {name}\n{id}data: {data}\n\n").into()
}

/// The reader has gone, or the Controller.
struct Gone;

impl From<mpsc::error::SendError<Bytes>> for Gone {
    fn from(_: mpsc::error::SendError<Bytes>) -> Self {
        Self
    }
}

impl From<watch::error::RecvError> for Gone {
    fn from(_: watch::error::RecvError) -> Self {
        Self
    }
}

/// The body of a stream.
struct Stream(Receiver<Bytes>);

impl http_body::Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(cx).map(|event| event.map(|event| Ok(Frame::data(event))))
    }
}
