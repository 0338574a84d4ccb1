//! A route is found by its host, among few and among many.
//!
//! `micro` and `icount` call it. It must never ask for one host alone: which others lie in its way is chance, anew with
//! each process, and only over many hosts and routers it comes to the same.

use crossfade::routing::{HostPattern, PathPrefix, Router};

/// So many hosts are asked for before the first comes again.
const HOSTS: usize = 100;

/// Routers, and hosts to ask them for.
pub(crate) struct Routing {
    routers: Vec<Router>,
    hosts: Vec<String>,
    turn: usize,
}

impl Routing {
    /// Over so many routes, each of a host of its own.
    pub(crate) fn new(routes: usize) -> Self {
        let hosts: Vec<String> = (0..routes).map(|route| format!("shop-{route}.example.com")).collect();
        let pattern = |host: &String| [HostPattern::parse(host).expect("a host")];
        let patterns: Vec<[HostPattern; 1]> = hosts.iter().map(pattern).collect();
        let path = PathPrefix::parse("/").expect("a path");
        let router = || Router::new(patterns.iter().map(|hosts| (&hosts[..], &path)));
        let asked = (0..HOSTS).map(|at| hosts[at * routes / HOSTS].clone()).collect();
        Self { routers: (0..HOSTS.div_ceil(routes)).map(|_| router()).collect(), hosts: asked, turn: 0 }
    }

    /// The route of the next host.
    pub(crate) fn find(&mut self) -> Option<usize> {
        self.turn = (self.turn + 1) % HOSTS;
        let router = &self.routers[self.turn % self.routers.len()];
        router.find(&self.hosts[self.turn], "/basket/items?page=2")
    }
}
