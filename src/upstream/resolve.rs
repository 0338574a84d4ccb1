//! Keeps the addresses of backends' names fresh: platforms change theirs under a TTL of a minute.
//!
//! Runs on the control thread; workers see the outcome by `Endpoint::addresses`. A failing lookup keeps the
//! addresses there are: stale ones mostly work, none never do.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::upstream::endpoint::Endpoint;

/// Looks one endpoint's name up, at most for `limit`. Says whether its addresses changed.
///
/// # Errors
/// The resolver's own error, a timeout, or a name without addresses; the addresses stay.
pub async fn refresh(endpoint: &Endpoint, limit: Duration) -> Result<bool, LookupError> {
    let Some((host, port)) = endpoint.name() else { return Ok(false) };
    let name = || host.to_owned();
    let lookup = tokio::net::lookup_host((host, port));
    let found = match tokio::time::timeout(limit, lookup).await {
        Ok(Ok(found)) => found.collect::<Vec<SocketAddr>>(),
        Ok(Err(error)) => return Err(LookupError::Failed(name(), error)),
        Err(_) => return Err(LookupError::Timeout(name(), limit)),
    };
    if found.is_empty() {
        return Err(LookupError::Empty(name()));
    }
    Ok(endpoint.publish(found, Instant::now()))
}

/// Looks all of them up at once; returns what went wrong, and whose addresses changed.
pub async fn refresh_all(
    endpoints: &[Arc<Endpoint>],
    limit: Duration,
) -> Vec<(Arc<Endpoint>, Result<bool, LookupError>)> {
    let mut lookups = tokio::task::JoinSet::new();
    for endpoint in endpoints.iter().filter(|endpoint| endpoint.name().is_some()).cloned() {
        lookups.spawn(async move {
            let outcome = refresh(&endpoint, limit).await;
            (endpoint, outcome)
        });
    }
    lookups.join_all().await
}

/// Why a name has no new addresses.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// The resolver said no.
    #[error("the name {0} can't be resolved: {1}; check the backend's url and this machine's DNS")]
    Failed(String, #[source] std::io::Error),
    /// The resolver didn't answer.
    #[error("the name {0} wasn't resolved within {1:?}; check this machine's DNS")]
    Timeout(String, Duration),
    /// The name exists and has no address.
    #[error("the name {0} has no address; check the backend's url")]
    Empty(String),
}
