//! What the process tells over HTTP: metrics, health, readiness.
//!
//! Served by the control thread on `server.metrics`, so that a slow scrape never costs a visitor anything. It
//! must never change anything.

use std::io;
use std::net::TcpListener;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;

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
    axum::serve(tokio::net::TcpListener::from_std(socket)?, router).await
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
