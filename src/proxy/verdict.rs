//! What an attempt says of the endpoint it went to, and of its backend: counted where health is judged.
//!
//! `forward` calls it with each outcome, `Exchange` asks it which backends are left out. It must never wait, nor count
//! against a backend what the visitor or this machine is to blame for.

use http::{HeaderMap, StatusCode};

use crate::config::model::BackendIndex;
use crate::health::platform::is_own_page;
use crate::health::vitals::How;
use crate::proxy::error::{Error, Failure};
use crate::proxy::exchange::Exchange;
use crate::upstream::connect::ConnectError;
use crate::upstream::pool::Pool;

/// The head of an answer came. A platform's own error page goes to the visitor as it is, and is the platform's failure.
pub fn answered(exchange: &mut Exchange, pool: &Pool, status: StatusCode, headers: &HeaderMap) {
    if !status.is_client_error() && !status.is_server_error() {
        return pool.did_well();
    }
    let config = &exchange.view.snapshot.config;
    let platform = exchange.backend().map(|BackendIndex(at)| config.backends[at].platform);
    let own = platform.is_some_and(|platform| is_own_page(platform, status, headers));
    if own {
        exchange.broke_off(Error::Backend(Failure::Platform));
        return pool.failed(how(Failure::Platform));
    }
    match status {
        StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            pool.failed(How::by_status(status));
        }
        _ => pool.did_well(),
    }
}

/// No answer came, or none of HTTP.
pub fn failed(pool: &Pool, error: Error) {
    match error {
        // A request that takes an hour says nothing of who is asked next.
        Error::Backend(Failure::RequestTimeout) => {}
        Error::Backend(failure) => pool.failed(how(failure)),
        _ => {}
    }
}

/// No connection could be had.
pub fn unreached(pool: &Pool, error: &ConnectError) {
    if !error.is_our_own()
        && let Some(failure) = Failure::of_connect(error)
    {
        pool.unreached(how(failure));
    }
}

fn how(failure: Failure) -> How {
    How::by_reason(failure as u8)
}
