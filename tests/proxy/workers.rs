//! Connections land evenly on the workers, and each worker serves the whole of them.

use crate::kit::{Backend, Config, Proxy, ok};

const OPEN: &str = "crossfade_worker_connections_open";

#[test]
fn sixty_four_connections_are_even_over_four_workers() {
    let backend = Backend::answering(ok("hello"));
    let proxy = Proxy::start(&Config::of(&backend).server("workers = 4"));
    let mut visitors: Vec<_> = (0..64).map(|_| proxy.visit()).collect();
    visitors.iter_mut().for_each(|visitor| assert_eq!(visitor.get("/").status(), 200));
    let of = |worker: usize| proxy.metric(OPEN, &[("worker", &worker.to_string())]);
    let open: Vec<f64> = (0..4).map(of).collect();
    let busiest = open.iter().copied().fold(0.0, f64::max);
    println!("connections of the workers: {open:?}");
    assert!((open.iter().sum::<f64>() - 64.0).abs() < 1e-9 && busiest <= 16.0 * 1.1, "{open:?}");
    let listener = proxy.address.to_string();
    assert_eq!(proxy.metric("crossfade_connections_open", &[("listener", &listener)]) as u64, 64);
    // Half of them leave, others come: still even.
    visitors.drain(..32);
    proxy.wait_for_metric("crossfade_connections_open", &[("listener", &listener)], 32.0);
    visitors.extend((0..32).map(|_| proxy.visit()));
    visitors.iter_mut().for_each(|visitor| assert_eq!(visitor.get("/").status(), 200));
    let open: Vec<f64> = (0..4).map(of).collect();
    assert!(open.iter().all(|open| *open <= 16.0 * 1.1), "{open:?}");
    drop(visitors);
    proxy.wait_for_metric(OPEN, &[], 0.0);
}

#[test]
fn no_more_connections_are_served_than_the_limit_and_the_next_waits() {
    let backend = Backend::answering(ok("hello"));
    let proxy = Proxy::start(&Config::of(&backend).section("[limits]\nconnections = 2"));
    let (mut first, mut second) = (proxy.visit(), proxy.visit());
    assert_eq!((first.get("/").status(), second.get("/").status()), (200, 200));
    let mut third = proxy.visit();
    third.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    assert!(third.is_silent_for(std::time::Duration::from_millis(100)), "it waits in the kernel's queue");
    drop(first);
    assert_eq!(third.response().status(), 200, "and is served when there is room");
}
