//! Moves the bounds of backends with `adaptive_concurrency`, on the control thread.
//!
//! `app` starts it. A request reads the bound and leaves word of its answer, each by one atomic operation; what follows
//! from that is decided here, some times a second. It must never hold a bound where none is asked for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

use crate::config::limits::overload::ADAPTIVE_LOOK;
use crate::snapshot::publish::Published;
use crate::telemetry::loads::Carried;
use crate::upstream::adaptive::Adaptive;
use crate::upstream::load::Load;

/// Looks at all backends, for ever.
pub async fn adapt_bounds(published: Published) {
    let began = Instant::now();
    let mut ticks = tokio::time::interval(ADAPTIVE_LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut adapting = Adapting::default();
    loop {
        ticks.tick().await;
        adapting.look(began.elapsed(), published.current().loads());
    }
}

/// Those that adapt, by name.
#[derive(Default)]
struct Adapting(HashMap<String, (Arc<Load>, Adaptive)>);

impl Adapting {
    /// Looks once at all there are; whoever is gone or adapts no more begins anew if it comes back.
    fn look(&mut self, now: Duration, all: impl Iterator<Item = Carried>) {
        let mut before = std::mem::take(&mut self.0);
        for Carried { backend, load, capacity } in all.filter(|carried| carried.capacity.adaptive) {
            let known = before.remove(&backend).filter(|(known, _)| Arc::ptr_eq(known, &load));
            let (_, mut adaptive) = known.unwrap_or_else(|| {
                // Answers of a time before don't count.
                load.look();
                (Arc::clone(&load), Adaptive::new())
            });
            let bound = adaptive.look(now, load.look(), load.count().in_flight, capacity.in_flight);
            load.bound_to(bound);
            adaptive.late_after().into_iter().for_each(|time| load.late_after(time));
            self.0.insert(backend, (load, adaptive));
        }
        before.into_values().for_each(|(load, _)| load.bound_to(usize::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::limits::Capacity;

    #[test]
    fn only_who_asks_for_it_has_a_bound_that_adapts_and_only_as_long() {
        let load = Arc::new(Load::new(std::time::Instant::now()));
        let capacity = Capacity { adaptive: true, ..Capacity::default() };
        let carried = |capacity| Carried { backend: "a".to_owned(), load: Arc::clone(&load), capacity };
        let mut adapting = Adapting::default();
        adapting.look(Duration::ZERO, [carried(Capacity::default())].into_iter());
        assert_eq!(load.most(&capacity), capacity.in_flight);
        adapting.look(Duration::from_millis(100), [carried(capacity)].into_iter());
        assert_eq!((load.most(&capacity), load.most(&Capacity::default())), (32, capacity.in_flight));
        adapting.look(Duration::from_millis(200), std::iter::empty());
        assert_eq!(load.bound(), u32::MAX as usize);
    }
}
