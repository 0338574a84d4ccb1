//! How the API says no: one status and one [`Refused`] for each reason, and what every answer carries.
//!
//! Every file of the API answers by it. No error may leave the API without a [`Refused`] as its body.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::time::Duration;

use crate::control::command::{Refused, RefusedReason};

/// A request that is refused.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    refused: Refused,
    retry_after: Option<Duration>,
}

impl Refusal {
    /// For this reason, in one clear sentence.
    pub(super) fn new(reason: RefusedReason, error: impl Into<String>) -> Self {
        Self {
            status: status_of(reason),
            refused: Refused { error: error.into(), reason },
            retry_after: None,
        }
    }

    /// The body is larger than anything that makes sense.
    pub(super) fn too_large(error: impl Into<String>) -> Self {
        Self { status: StatusCode::PAYLOAD_TOO_LARGE, ..Self::new(RefusedReason::Unsupported, error) }
    }

    /// Not now, but after `wait`.
    pub(super) fn wait(wait: Duration, error: impl Into<String>) -> Self {
        Self { retry_after: Some(wait), ..Self::new(RefusedReason::RateLimited, error) }
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        Self { status: status_of(refused.reason), refused, retry_after: None }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = json(self.status, &self.refused);
        if self.status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer realm=\"crossfade\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, bearer);
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response
    }
}

/// A value as the body of a response.
pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let text =
        serde_json::to_vec(value).expect("the API's types have names for keys, and nothing that fails");
    (status, [(CONTENT_TYPE, "application/json")], Body::from(text)).into_response()
}

/// What every response carries: it is of this moment, what it says it is, and for this site alone.
pub(super) fn dress(mut response: Response) -> Response {
    let always = [
        (CACHE_CONTROL, "no-store"),
        (HeaderName::from_static("x-content-type-options"), "nosniff"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("referrer-policy"), "no-referrer"),
    ];
    for (name, value) in always {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn status_of(reason: RefusedReason) -> StatusCode {
    match reason {
        RefusedReason::UnknownRoute
        | RefusedReason::UnknownBackend
        | RefusedReason::Invalid
        | RefusedReason::Configuration
        | RefusedReason::UpgradeFailed => StatusCode::UNPROCESSABLE_ENTITY,
        RefusedReason::StaleRevision | RefusedReason::UpgradeUnderWay => StatusCode::CONFLICT,
        RefusedReason::Malformed => StatusCode::BAD_REQUEST,
        RefusedReason::Unauthorized => StatusCode::UNAUTHORIZED,
        RefusedReason::Forbidden => StatusCode::FORBIDDEN,
        RefusedReason::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        RefusedReason::NotFound => StatusCode::NOT_FOUND,
        RefusedReason::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        RefusedReason::Unsupported => StatusCode::UNSUPPORTED_MEDIA_TYPE,
        RefusedReason::Ending => StatusCode::SERVICE_UNAVAILABLE,
    }
}
