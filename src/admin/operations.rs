//! What the API can be asked, path by path: each operation beside what its document says of it.
//!
//! `api` builds its router from [`ROUTES`], `document` the OpenAPI document. Only `POST` may change something, and only
//! by asking the Controller.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderMap, Request, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};

use super::api::Api;
use super::auth::Guest;
use super::body;
use super::document::{Locked, Open};
use super::events::{self, Source};
use super::listen::Caller;
use super::refusal::{Refusal, json};
use super::told;
use super::types::{ConfigText, Diff, History, Series, Status};
use crate::config::limits::{ADMIN_STREAMS, HISTORY};
use crate::control::command::{Applied, CommandBody, Refused, RefusedReason};

/// One path and what it takes.
pub(super) struct Route {
    pub(super) path: &'static str,
    pub(super) methods: fn() -> MethodRouter<Api>,
    /// It needs no key.
    pub(super) is_open: bool,
}

impl Route {
    const fn locked(path: &'static str, methods: fn() -> MethodRouter<Api>) -> Self {
        Self { path, methods, is_open: false }
    }

    const fn open(path: &'static str, methods: fn() -> MethodRouter<Api>) -> Self {
        Self { path, methods, is_open: true }
    }
}

/// Every path there is.
pub(super) const ROUTES: [Route; 9] = [
    Route::open("/", || get(page)),
    Route::open("/api/v1/openapi.json", || get(openapi)),
    Route::locked("/api/v1/status", || get(status)),
    Route::locked("/api/v1/history", || get(history)),
    Route::locked("/api/v1/diff", || get(diff)),
    Route::locked("/api/v1/config", || get(config)),
    Route::locked("/api/v1/series", || get(series)),
    Route::locked("/api/v1/events", || get(events)),
    Route::locked("/api/v1/commands", || post(commands)),
];

async fn page(State(api): State<Api>) -> Response {
    api.0.page.answer()
}

/// This document.
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    security(()),
    responses((status = 200, description = "This document.", body = serde_json::Value), Open)
)]
pub(super) async fn openapi(State(api): State<Api>) -> Response {
    ([(CONTENT_TYPE, "application/json")], api.0.document.clone()).into_response()
}

/// What is live, route by route, and how each backend does.
#[utoipa::path(
    get,
    path = "/api/v1/status",
    responses((status = 200, description = "As it is now.", body = Status), Locked)
)]
pub(super) async fn status(State(api): State<Api>) -> Response {
    let control = api.0.status.borrow().clone();
    json(StatusCode::OK, &told::status(&api.0.process, &control, &api.0.readings))
}

/// The last revisions: who changed what, when and why.
#[utoipa::path(
    get,
    path = "/api/v1/history",
    params(
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "So many at most; else 1000.")
    ),
    responses(
        (status = 200, description = "The newest first.", body = History),
        (status = 400, description = "The query isn't understood.", body = Refused),
        Locked
    )
)]
pub(super) async fn history(State(api): State<Api>, request: Request<Body>) -> Result<Response, Refusal> {
    let limit = match body::number(request.uri().query(), "limit")? {
        None => HISTORY,
        Some(limit) => usize::try_from(limit).unwrap_or(usize::MAX),
    };
    if !(1..=HISTORY).contains(&limit) {
        return Err(body::malformed(format!("`limit` is 1 to {HISTORY}")));
    }
    let control = api.0.status.borrow().clone();
    Ok(json(StatusCode::OK, &told::history(&control, limit)))
}

/// What commands have changed on top of the file.
#[utoipa::path(
    get,
    path = "/api/v1/diff",
    responses((status = 200, description = "From the file to what is live.", body = Diff), Locked)
)]
pub(super) async fn diff(State(api): State<Api>) -> Response {
    let control = api.0.status.borrow().clone();
    json(StatusCode::OK, &told::diff(&control))
}

/// The configuration file with what commands have changed folded in.
#[utoipa::path(
    get,
    path = "/api/v1/config",
    responses((status = 200, description = "As it is live.", body = ConfigText), Locked)
)]
pub(super) async fn config(State(api): State<Api>) -> Response {
    let control = api.0.status.borrow().clone();
    json(StatusCode::OK, &told::config(&control))
}

/// Rates, errors, latencies and weights of the last fifteen minutes.
#[utoipa::path(
    get,
    path = "/api/v1/series",
    responses((status = 200, description = "A point for every five seconds.", body = Series), Locked)
)]
pub(super) async fn series(State(api): State<Api>) -> Response {
    json(StatusCode::OK, &told::series(&api.0.readings))
}

/// What happens, as it happens: server-sent events.
///
/// `revision` with a `Record` for each revision, whose number is the event's id; `status` with a `Status`, at once,
/// with every change and once a second; `sample` with a `Sample` every five seconds. A stream ends after minutes: come
/// back with the last id, and no revision is missed.
#[utoipa::path(
    get,
    path = "/api/v1/events",
    params(
        ("after" = Option<u64>, Query, description = "Begin with the revisions above this one."),
        ("Last-Event-ID" = Option<u64>, Header, description = "The same, as browsers send it; it goes before `after`.")
    ),
    responses(
        (status = 200, description = "Events without end.", body = String, content_type = "text/event-stream"),
        (status = 400, description = "The query or `Last-Event-ID` isn't understood.", body = Refused),
        Locked
    )
)]
pub(super) async fn events(
    State(api): State<Api>,
    Extension((_, caller)): Extension<(Guest, Caller)>,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let after = match last_event(request.headers())? {
        Some(id) => Some(id),
        None => body::number(request.uri().query(), "after")?,
    };
    let Ok(place) = Arc::clone(&api.0.streams).try_acquire_owned() else {
        let error = format!("{ADMIN_STREAMS} event streams are open already: close one");
        return Err(Refusal::wait(STREAM_WAIT, error));
    };
    let (told, status, readings) = (Arc::clone(&api.0.told), api.0.status.clone(), api.0.readings.clone());
    Ok(events::stream(Source { told, status, readings, after, ends: caller.ends, place }))
}

/// Changes something. The answer comes when the change is live on every worker.
#[utoipa::path(
    post,
    path = "/api/v1/commands",
    request_body = CommandBody,
    responses(
        (status = 200, description = "It is live; or with `dry_run`, would be.", body = Applied),
        (status = 400, description = "The body isn't a command.", body = Refused),
        (status = 409, description = "Another revision is live, or an upgrade under way.", body = Refused),
        (status = 413, description = "The body is larger than any command.", body = Refused),
        (status = 415, description = "The body isn't `application/json`.", body = Refused),
        (status = 422, description = "What is asked for can't be. Nothing has changed.", body = Refused),
        (status = 503, description = "The process is about to end.", body = Refused),
        Locked
    )
)]
pub(super) async fn commands(
    State(api): State<Api>,
    Extension((guest, _)): Extension<(Guest, Caller)>,
    request: Request<Body>,
) -> Result<Response, Refusal> {
    let (steer, name) = body::command(request).await?;
    let applied = api.carry_out(steer, guest.driver(name)).await?;
    Ok(json(StatusCode::OK, &applied))
}

/// Nothing is at this path.
pub(super) async fn not_found() -> Refusal {
    Refusal::new(RefusedReason::NotFound, "there is nothing here; /api/v1/openapi.json says what there is")
}

/// Something is at this path, for another method.
pub(super) async fn wrong_method() -> Refusal {
    Refusal::new(RefusedReason::MethodNotAllowed, "this takes another method; `Allow` says which")
}

/// When a stream's place may be free again.
const STREAM_WAIT: Duration = Duration::from_secs(5);

fn last_event(headers: &HeaderMap) -> Result<Option<u64>, Refusal> {
    let Some(id) = headers.get(HeaderName::from_static("last-event-id")) else { return Ok(None) };
    let number = id.to_str().ok().filter(|id| !id.is_empty()).and_then(body::digits);
    number.map(Some).ok_or_else(|| body::malformed("`Last-Event-ID` isn't the number of a revision"))
}
