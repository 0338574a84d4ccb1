//! One attempt: the request goes out, and the response's head is waited for.
//!
//! `proxy::forward` calls it with a connection. It must never wait for ever, nor let a request whose visitor takes
//! their time over its body keep a place at the backend that others wait for.

use std::pin::pin;

use http::{Request, Response};
use tokio::time::Instant;

use crate::config::limits::overload::UPLOAD_COUNTS;
use crate::proxy::error::{Error, Failure};
use crate::proxy::exchange::Exchange;
use crate::proxy::interim::Prelude;
use crate::proxy::patience::Patience;
use crate::proxy::verdict;
use crate::upstream::http1::request::Besides;
use crate::upstream::lease::Lease;
use crate::upstream::unanswered::Unanswered;
use crate::upstream::upload::{Upload, UploadState};

/// One attempt. The outer error ends the exchange, the inner one may be followed by another attempt.
///
/// # Errors
/// When there is no answer.
pub async fn send(
    exchange: &Exchange,
    lease: &mut Lease,
    request: Request<Upload>,
    to: Besides<'_>,
    patience: Patience,
    prelude: Prelude,
) -> Result<Result<Response<()>, Unanswered>, Error> {
    let outcome = answer(exchange, lease, request, to, patience, prelude).await;
    outcome.map_err(|Late { error, cut }| {
        if !cut {
            verdict::failed(lease.pool(), error);
        }
        error
    })
}

/// Why nobody waits any more for an answer.
struct Late {
    error: Error,
    /// Whether the backend had less time than it may have.
    cut: bool,
}

async fn answer(
    exchange: &Exchange,
    lease: &mut Lease,
    request: Request<Upload>,
    to: Besides<'_>,
    patience: Patience,
    mut prelude: Prelude,
) -> Result<Result<Response<()>, Unanswered>, Late> {
    let late = |failure, cut| Err(Late { error: Error::Backend(failure), cut });
    let mut sending = pin!(lease.send(request, to, |head| prelude.hear(head)));
    let upload = exchange.upload().map(|upload| &**upload);
    let limit = patience.first_byte();
    let sent = Instant::now();
    let first = if is_under_way(upload) { limit.min(UPLOAD_COUNTS) } else { limit };
    let mut timer = pin!(tokio::time::sleep_until((sent + first).min(exchange.deadline())));
    loop {
        let pauses = exchange.is_paused();
        tokio::select! {
            biased;
            outcome = &mut sending => return Ok(outcome),
            () = ends(upload), if pauses => {}
            () = &mut timer => {}
        }
        let now = Instant::now();
        if now >= exchange.deadline() {
            return late(Failure::RequestTimeout, false);
        }
        exchange.counts_or_pauses();
        // While the visitor still sends, the backend has nothing to answer; the upload has a deadline of its
        // own.
        let since = upload.map_or(Some(sent), UploadState::ended);
        let (due, cut) = patience.to_answer(since.map_or(now, |since| since.max(sent)), exchange.upload());
        if since.is_some() && now >= due {
            return late(Failure::FirstByteTimeout, cut);
        }
        let looks = is_under_way(upload) && !exchange.is_paused();
        let next = if looks { due.min(now + UPLOAD_COUNTS) } else { due };
        timer.as_mut().reset(next.min(exchange.deadline()));
    }
}

fn is_under_way(upload: Option<&UploadState>) -> bool {
    upload.is_some_and(|upload| upload.ended().is_none())
}

async fn ends(upload: Option<&UploadState>) {
    if let Some(upload) = upload {
        upload.ends().await;
    }
}
