//! Keeps the addresses of backends' names fresh, on the control thread.
//!
//! The Controller has new names looked up before it publishes; a task of `app` goes on looking. It must never hold up a
//! change for longer than a bounded time.

use std::sync::Arc;

use tokio::time::Instant;

use crate::config::limits::{DNS_FIRST, DNS_REFRESH, DNS_RETRY};
use crate::snapshot::Snapshot;
use crate::snapshot::publish::Published;
use crate::telemetry::events::{ConfigEvent, Event};
use crate::upstream::endpoint::Endpoint;
use crate::upstream::resolve::{LookupError, refresh_all};

/// Looks new names up, for a bounded time: a new backend should be ready when it is live, and one that can't be
/// resolved must not hold back the others. Nor may it hold back a rollback: names that failed before are left to
/// [`keep_addresses_fresh`].
pub async fn resolve_new(snapshot: Arc<Snapshot>) {
    let new: Vec<Arc<Endpoint>> =
        snapshot.endpoints().filter(|endpoint| endpoint.is_new()).cloned().collect();
    tell_of_lookups(&snapshot, refresh_all(&new, DNS_FIRST).await);
}

/// Keeps the addresses of all names fresh, for ever; names without any are asked for more often.
pub async fn keep_addresses_fresh(published: Published) {
    let mut last = Instant::now();
    loop {
        tokio::time::sleep(DNS_RETRY).await;
        let all = last.elapsed() >= DNS_REFRESH;
        if all {
            last = Instant::now();
        }
        let snapshot = published.current();
        let due = snapshot.endpoints().filter(|endpoint| all || endpoint.is_unresolved());
        let due: Vec<Arc<Endpoint>> = due.cloned().collect();
        tell_of_lookups(&snapshot, refresh_all(&due, DNS_REFRESH).await);
    }
}

fn tell_of_lookups(snapshot: &Snapshot, outcomes: Vec<(Arc<Endpoint>, Result<bool, LookupError>)>) {
    for (endpoint, outcome) in outcomes {
        let (backend, host) = (backend_of(snapshot, &endpoint), endpoint.url.host().unwrap_or_default());
        let news = endpoint.looked_up(outcome.is_ok());
        match outcome {
            // Told once, not with each lookup.
            Err(_) if !news => {}
            Ok(false) => {}
            Ok(true) => {
                let addresses: Vec<_> = endpoint.addresses().iter().map(std::net::SocketAddr::ip).collect();
                Event::from(ConfigEvent::Addresses { backend, host, addresses: &addresses }).log();
            }
            Err(error) => Event::from(ConfigEvent::LookupFailed { backend, host, error: &error }).log(),
        }
    }
}

fn backend_of<'a>(snapshot: &'a Snapshot, endpoint: &Arc<Endpoint>) -> &'a str {
    let holds =
        |backend: &crate::snapshot::Backend| backend.endpoints.iter().any(|e| Arc::ptr_eq(e, endpoint));
    let at = snapshot.backends.iter().position(holds);
    at.map_or("", |at| snapshot.config.backends[at].name.as_str())
}
