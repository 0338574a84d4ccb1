//! Reading what a request says: the query, and the body of a command.
//!
//! `api` calls it. Nothing may be guessed here: what isn't understood whole is refused.

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Request};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::time::timeout;

use super::refusal::Refusal;
use super::steer;
use crate::config::limits::{ADMIN_BODY, ADMIN_HEAD};
use crate::control::command::{CommandBody, RefusedReason, Steer};

/// The command in a request's body, and the name of who asks, where it says it.
pub(super) async fn command(request: Request<Body>) -> Result<(Steer, Option<String>), Refusal> {
    if !is_json(request.headers()) {
        let error = "a command is JSON: send `Content-Type: application/json`";
        return Err(Refusal::new(RefusedReason::Unsupported, error));
    }
    let bytes = whole(request.into_body()).await?;
    let body: CommandBody = serde_json::from_slice(&bytes)
        .map_err(|error| malformed(format!("the body isn't a command: {error}")))?;
    steer::parse(body).map_err(|error| Refusal::new(RefusedReason::Invalid, error))
}

/// The number that a query gives to `name`, its only parameter.
pub(super) fn number(query: Option<&str>, name: &str) -> Result<Option<u64>, Refusal> {
    let mut found = None;
    for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        if key != name {
            return Err(malformed(format!("the query knows `{name}` alone")));
        }
        let number = digits(value).ok_or_else(|| malformed(format!("`{name}` isn't a whole number")))?;
        if found.replace(number).is_some() {
            return Err(malformed(format!("`{name}` is there twice")));
        }
    }
    Ok(found)
}

/// A number of digits alone: no sign, no spaces.
pub(super) fn digits(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

/// The request says what can't be understood.
pub(super) fn malformed(error: impl Into<String>) -> Refusal {
    Refusal::new(RefusedReason::Malformed, error)
}

fn is_json(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let value = values.next().and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = value.split(';').next().unwrap_or_default().trim();
    values.next().is_none() && essence.eq_ignore_ascii_case("application/json")
}

async fn whole(body: Body) -> Result<Bytes, Refusal> {
    match timeout(ADMIN_HEAD, Limited::new(body, ADMIN_BODY).collect()).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            Err(Refusal::too_large(format!("a command has {ADMIN_BODY} bytes at most")))
        }
        Ok(Err(_)) => Err(malformed("the body broke off")),
        Err(_) => Err(malformed(format!("the body didn't come within {} s", ADMIN_HEAD.as_secs()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_has_one_number_or_none() {
        let of = |query| number(query, "limit").ok();
        for (query, expected) in [
            (None, Some(None)),
            (Some(""), Some(None)),
            (Some("limit=5"), Some(Some(5))),
            (Some("limit=0"), Some(Some(0))),
            (Some("limit"), None),
            (Some("limit="), None),
            (Some("limit=-1"), None),
            (Some("limit=+1"), None),
            (Some("limit=1.0"), None),
            (Some("limit=99999999999999999999"), None),
            (Some("limit=1&limit=1"), None),
            (Some("limits=1"), None),
        ] {
            assert_eq!(of(query), expected, "{query:?}");
        }
    }

    #[test]
    fn json_is_told_by_its_type_alone() {
        for (value, is_one) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/json-seq", false),
            ("application/x-www-form-urlencoded", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
            assert_eq!(is_json(&headers), is_one, "{value}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
