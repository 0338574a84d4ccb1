//! A backend is chosen, by each thing that can decide but the app's own cookies and headers.
//!
//! `micro` and `icount` call it. It must never be pinned: a pin is for testers.

use std::net::{IpAddr, Ipv4Addr};

use crossfade::config::model::Name;
use crossfade::split::{Choice, FreshBuckets, Pin, Policy, Sequence, Sticky, Visitor, Weights, choose};
use http::HeaderMap;

use super::{BROWSER, fields};

/// A route of two backends, and a visitor.
pub(crate) struct Choosing {
    weights: Weights,
    sticky: Sticky,
    pin: Pin,
    names: Vec<Name>,
    headers: HeaderMap,
    sequence: Sequence,
    fresh: FreshBuckets,
}

impl Choosing {
    /// By `sticky`, with 5 % for the new platform.
    pub(crate) fn new(sticky: Sticky) -> Self {
        let name = |name| Name::parse(name).expect("a name of letters");
        Self {
            weights: Weights::new(&[5.0, 95.0], 1).expect("shares of 100 %"),
            sticky,
            pin: Pin { header: Some(http::HeaderName::from_static("x-crossfade-backend")), cookie: None },
            names: vec![name("fly"), name("heroku")],
            headers: fields(&BROWSER),
            sequence: Sequence::new(2, 0.5),
            fresh: FreshBuckets::new(0),
        }
    }

    /// One request's backend.
    pub(crate) fn choose(&mut self) -> Choice {
        let Self { weights, sticky, pin, names, headers, sequence, fresh } = self;
        let policy = Policy { weights, sticky, pin, route: "web", names };
        let visitor = Visitor { headers, client: IpAddr::V4(Ipv4Addr::new(203, 0, 113, 7)) };
        choose(&policy, &visitor, sequence, fresh)
    }
}
