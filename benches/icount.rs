//! How many instructions the steps of a request take, and a whole exchange: a hundred of each, by valgrind's callgrind.
//!
//! `benches/counts` runs it and holds `benches/icount.txt` against it. A count hardly depends on the machine, so that
//! little more work than before is seen at once. What a step makes is dropped within the count, as the proxy has to. It
//! must never count what makes a subject ready.

#![allow(
    missing_docs,
    unused_qualifications,
    reason = "gungraun's macros make of each function a module in ours"
)]

mod subjects;

use std::hint::black_box;

use crossfade::split::Sticky;
use gungraun::{library_benchmark, library_benchmark_group, main};

use subjects::choosing::Choosing;
use subjects::exchange::Exchange;
use subjects::heads::{Answer, Reply, Request};
use subjects::origins::{Leaving, Resolving};
use subjects::routing::Routing;
use subjects::series::Counting;

/// Of each, so that what a first one costs, or chance does to one, is little of the whole.
const TIMES: usize = 100;

/// A subject that is done with after one use, so many times.
fn many<T>(new: impl Fn() -> T) -> Vec<T> {
    (0..TIMES).map(|_| new()).collect()
}

#[library_benchmark]
#[bench::none(Choosing::new(Sticky::None))]
#[bench::cookie(Choosing::new(Sticky::Cookie))]
#[bench::client_address(Choosing::new(Sticky::ClientAddress))]
fn choose(mut choosing: Choosing) -> Choosing {
    for _ in 0..TIMES {
        black_box(choosing.choose());
    }
    choosing
}

#[library_benchmark]
#[bench::of_10(Routing::new(10))]
#[bench::of_1000(Routing::new(1000))]
fn route(mut routing: Routing) -> Routing {
    for _ in 0..TIMES {
        black_box(routing.find());
    }
    routing
}

#[library_benchmark]
#[bench::unbelieved(Resolving::new(0))]
#[bench::believed(Resolving::new(1))]
fn origin(resolving: Resolving) -> Resolving {
    for _ in 0..TIMES {
        black_box(black_box(&resolving).resolve());
    }
    resolving
}

#[library_benchmark]
#[bench::browser(many(Leaving::new))]
fn outgoing(mut leaving: Vec<Leaving>) -> Vec<Leaving> {
    for one in &mut leaving {
        black_box(one.rewrite());
    }
    leaving
}

#[library_benchmark]
#[bench::read(Request::new())]
fn request_head(request: Request) -> Request {
    for _ in 0..TIMES {
        black_box(black_box(&request).read());
    }
    request
}

#[library_benchmark]
#[bench::parse(many(Answer::new))]
fn response_head(mut answers: Vec<Answer>) -> Vec<Answer> {
    for answer in &mut answers {
        black_box(answer.parse());
    }
    answers
}

#[library_benchmark]
#[bench::begin(Reply::new())]
fn reply_head(reply: Reply) -> Reply {
    for _ in 0..TIMES {
        black_box(black_box(&reply).begin());
    }
    reply
}

#[library_benchmark]
#[bench::exchange(Counting::new())]
fn metrics(counting: Counting) -> Counting {
    for _ in 0..TIMES {
        black_box(&counting).count();
    }
    counting
}

#[library_benchmark]
#[bench::whole(Exchange::new())]
fn exchange(mut exchange: Exchange) -> Exchange {
    exchange.exchange(TIMES);
    exchange
}

library_benchmark_group!(
    name = steps,
    benchmarks =
        [choose, route, origin, outgoing, request_head, response_head, reply_head, metrics, exchange]
);

main!(library_benchmark_groups = steps);
