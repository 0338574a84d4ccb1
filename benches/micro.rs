//! How long the steps of a request take, and a whole exchange, by criterion.
//!
//! `cargo bench --bench micro` runs it, by hand: times depend on the machine, so nothing is held by them. What is held
//! are `icount`'s counts of the same work. It must never measure what isn't among the subjects.

mod subjects;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use crossfade::split::Sticky;

use subjects::choosing::Choosing;
use subjects::exchange::Exchange;
use subjects::heads::{Answer, Reply, Request};
use subjects::origins::{Leaving, Resolving};
use subjects::routing::Routing;
use subjects::series::Counting;

fn decisions(criterion: &mut Criterion) {
    let stickies =
        [("none", Sticky::None), ("cookie", Sticky::Cookie), ("client_address", Sticky::ClientAddress)];
    for (name, sticky) in stickies {
        let mut choosing = Choosing::new(sticky);
        criterion.bench_function(&format!("choose/{name}"), |bencher| bencher.iter(|| choosing.choose()));
    }
    for routes in [10, 1000] {
        let mut routing = Routing::new(routes);
        criterion.bench_function(&format!("route/of_{routes}"), |bencher| bencher.iter(|| routing.find()));
    }
}

fn headers(criterion: &mut Criterion) {
    for (name, hops) in [("unbelieved", 0), ("believed", 1)] {
        let resolving = Resolving::new(hops);
        let resolve = || black_box(&resolving).resolve();
        criterion.bench_function(&format!("origin/{name}"), |bencher| bencher.iter(resolve));
    }
    criterion.bench_function("outgoing/browser", |bencher| {
        bencher.iter_batched_ref(Leaving::new, Leaving::rewrite, BatchSize::SmallInput);
    });
}

fn heads(criterion: &mut Criterion) {
    let request = Request::new();
    criterion.bench_function("request_head/read", |bencher| bencher.iter(|| black_box(&request).read()));
    criterion.bench_function("response_head/parse", |bencher| {
        bencher.iter_batched_ref(Answer::new, Answer::parse, BatchSize::SmallInput);
    });
    let reply = Reply::new();
    criterion.bench_function("reply_head/begin", |bencher| bencher.iter(|| black_box(&reply).begin()));
}

fn exchanges(criterion: &mut Criterion) {
    let counting = Counting::new();
    criterion.bench_function("metrics/exchange", |bencher| bencher.iter(|| black_box(&counting).count()));
    let mut exchange = Exchange::new();
    criterion.bench_function("exchange/whole", |bencher| bencher.iter(|| exchange.exchange(1)));
}

criterion_group!(benches, decisions, headers, heads, exchanges);
criterion_main!(benches);
