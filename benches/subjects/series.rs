//! What is counted of one exchange.
//!
//! `micro` and `icount` call it. It must never count a status for the first time, which takes memory once in a
//! process, nor let the compiler know what is counted.

use std::hint::black_box;
use std::time::Duration;

use crossfade::telemetry::metrics::{Metrics, Share};
use crossfade::telemetry::series::{MethodLabel, Reasons, Series};

/// The counts of a route and backend.
pub(crate) struct Counting(Series);

impl Counting {
    /// Of a backend that has answered before.
    pub(crate) fn new() -> Self {
        let metrics = Metrics::new("0", Reasons::default());
        metrics.reconcile(&[Share {
            route: "web",
            backend: "fly",
            weight_ratio: 1.0,
            is_stable: false,
            mode: "open",
        }]);
        let this = Self(metrics.series("web", "fly"));
        this.count();
        this
    }

    /// One exchange, from its begin to its end.
    pub(crate) fn count(&self) {
        let Self(series) = self;
        let in_flight = series.in_flight();
        series.first_byte(black_box(Duration::from_micros(12_345)));
        series.bytes_in(black_box(0));
        series.bytes_out(black_box(5120));
        series.duration(black_box(Duration::from_micros(23_456)));
        series.request(black_box(MethodLabel::Get), black_box(200));
        drop(in_flight);
    }
}
