//! What the process tells over HTTP: metrics, health, readiness.
//!
//! Served by the control thread on `server.metrics`, so that a slow scrape never costs a visitor anything. It
//! must never change anything.

pub mod types;

use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use crate::config::limits::{ACCEPT_PAUSE, ADMIN_CONNECTIONS, ADMIN_HEAD, ADMIN_LIFE};
use crate::control::status::{Status, Watching};
use crate::telemetry::metrics::{self, Metrics};

/// Serves `/metrics`, `/healthz` and `/readyz` until the process ends.
///
/// # Errors
/// When the socket can't be used.
pub async fn serve(socket: TcpListener, metrics: Metrics, status: Watching) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(Told { metrics, status });
    let service = TowerToHyperService::new(router);
    let socket = tokio::net::TcpListener::from_std(socket)?;
    let room = Arc::new(Semaphore::new(ADMIN_CONNECTIONS));
    while let Ok(place) = Arc::clone(&room).acquire_owned().await {
        match socket.accept().await {
            Ok((visitor, _)) => {
                let service = service.clone();
                tokio::spawn(async move {
                    converse(visitor, service).await;
                    drop(place);
                });
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
    Ok(())
}

/// One connection, for a bounded time: half a head must not keep a descriptor that a visitor needs.
async fn converse(visitor: TcpStream, service: TowerToHyperService<Router>) {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(ADMIN_HEAD);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(visitor), service));
    // How it ends concerns nobody: whoever asked is gone, or has the answer.
    if tokio::time::timeout(ADMIN_LIFE, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = tokio::time::timeout(ADMIN_HEAD, connection).await;
    }
}

#[derive(Clone)]
struct Told {
    metrics: Metrics,
    status: Watching,
}

async fn scrape(State(told): State<Told>) -> Response {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], told.metrics.encode()).into_response()
}

/// The process lives.
async fn healthz() -> &'static str {
    "ok\n"
}

/// The process takes visitors; a refused configuration doesn't change that, but is told.
async fn readyz(State(told): State<Told>) -> Response {
    let status = told.status.borrow().clone();
    let code = if status.draining { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, ready_text(&status)).into_response()
}

fn ready_text(status: &Status) -> String {
    let state = if status.draining { "draining" } else { "ready" };
    let revision = status.revision;
    match &status.refused {
        None => format!("{state}\nrevision {revision}\n"),
        Some(report) => format!(
            "{state}\nrevision {revision}\nthe configuration was refused; revision {revision} serves on:\n{report}\n"
        ),
    }
}
