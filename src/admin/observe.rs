//! `/metrics`, `/healthz`, `/readyz` on `server.metrics`, for Prometheus, load balancers and probes.
//!
//! `app` starts it. It must never change anything, nor tell what needs a token.

use std::io;
use std::net::TcpListener;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::service::Service;
use hyper_util::service::TowerToHyperService;

use super::gate::Gate;
use super::listen::{self, Keys};
use crate::control::status::{Status, Watching};
use crate::server::listener::Listening;
use crate::telemetry::metrics::{self, Metrics};

/// Serves `/metrics`, `/healthz` and `/readyz` until the process ends.
///
/// # Errors
/// When the socket can't be used.
pub async fn serve(socket: TcpListener, metrics: Metrics, status: Watching, gate: Gate) -> io::Result<()> {
    let router = Router::new()
        .route("/metrics", get(scrape))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(Told { metrics, status });
    let service = TowerToHyperService::new(router);
    listen::serve(Listening::Tcp(socket), Keys::None, gate, move |request, _| {
        let response = service.call(request);
        async { response.await.unwrap_or_else(|never| match never {}) }
    })
    .await
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

/// The process takes visitors; a refused configuration or a full disk doesn't change that, but is told.
async fn readyz(State(told): State<Told>) -> Response {
    let status = told.status.borrow().clone();
    let code = if status.draining { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    (code, ready_text(&status)).into_response()
}

fn ready_text(status: &Status) -> String {
    let state = if status.draining { "draining" } else { "ready" };
    let revision = status.revision;
    let mut text = format!("{state}\nrevision {revision}\n");
    if let Some(trouble) = &status.state_trouble {
        text += &format!("a restart would forget changes: {trouble}\n");
    }
    if let Some(report) = &status.refused {
        text += &format!("the configuration was refused; revision {revision} serves on:\n{report}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_told_without_being_unready() {
        let well = Status { revision: 7, ..Status::default() };
        assert_eq!(ready_text(&well), "ready\nrevision 7\n");
        let ill = Status {
            draining: true,
            state_trouble: Some("No space left on device".to_owned()),
            refused: Some("error: x".to_owned()),
            ..well
        };
        let told = "draining\nrevision 7\na restart would forget changes: No space left on device\n\
                    the configuration was refused; revision 7 serves on:\nerror: x\n";
        assert_eq!(ready_text(&ill), told);
    }
}
