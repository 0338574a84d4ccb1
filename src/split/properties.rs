//! What "Splitting" promises, held over whole choices. Called by the test runner alone.

use std::net::{IpAddr, Ipv4Addr};

use http::header::{COOKIE, HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

use crate::config::model::Name;
use crate::split::{
    BUCKETS, Bucket, Choice, ChosenBy, FreshBuckets, Pin, Policy, Sequence, Sticky, Visitor, Weights, choose,
    cookie,
};

/// A worker's view of one route.
struct Route {
    weights: Weights,
    sticky: Sticky,
    pin: Pin,
    names: Vec<Name>,
    sequence: Sequence,
    fresh: FreshBuckets,
}

/// A route over as many backends as there are shares, the last of them stable.
fn route(shares: &[f64], sticky: Sticky) -> Route {
    Route {
        weights: weights(shares),
        sticky,
        pin: Pin::default(),
        names: (0..shares.len()).map(|place| Name::parse(&format!("b{place}")).unwrap()).collect(),
        sequence: Sequence::new(shares.len(), 0.0),
        fresh: FreshBuckets::new(4711),
    }
}

impl Route {
    fn choose(&mut self, headers: &HeaderMap, client: IpAddr) -> Choice {
        let policy = Policy {
            weights: &self.weights,
            sticky: &self.sticky,
            pin: &self.pin,
            route: "web",
            names: &self.names,
        };
        choose(&policy, &Visitor { headers, client }, &mut self.sequence, &mut self.fresh)
    }
}

fn weights(shares: &[f64]) -> Weights {
    Weights::new(shares, shares.len() - 1).unwrap()
}

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(number).into()
}

fn with_bucket(bucket: Bucket) -> HeaderMap {
    let set = cookie::set_cookie(bucket, true);
    let sent = set.to_str().unwrap().split(';').next().unwrap();
    HeaderMap::from_iter([(COOKIE, sent.parse().unwrap())])
}

fn account(number: u32) -> HeaderMap {
    HeaderMap::from_iter([(HeaderName::from_static("x-account"), HeaderValue::from(number))])
}

#[test]
fn a_ramp_moves_each_visitor_at_most_once_up_and_once_down() {
    let ramp = [0.0, 1.0, 5.0, 25.0, 100.0, 0.0];
    let mut route = route(&[0.0, 100.0], Sticky::Cookie);
    for number in 0..BUCKETS {
        let headers = with_bucket(Bucket::new(number).unwrap());
        let seen = ramp.map(|percent| {
            route.weights = weights(&[percent, 100.0 - percent]);
            route.choose(&headers, address(1)).position
        });
        assert_eq!((seen[0], seen[4], seen[5]), (1, 0, 1), "0 % is nobody and 100 % is everybody");
        let moves = seen.windows(2).filter(|pair| pair[0] != pair[1]).count();
        assert_eq!(moves, 2, "bucket {number}: {seen:?}");
    }
}

#[test]
fn weight_zero_means_none_but_pins_for_every_kind_of_sticky() {
    let header = HeaderName::from_static("x-account");
    let kinds = [
        Sticky::None,
        Sticky::Cookie,
        Sticky::Header(header),
        Sticky::UserCookie("s".into()),
        Sticky::ClientAddress,
    ];
    for sticky in kinds {
        let mut route = route(&[0.0, 60.0, 0.0, 40.0], sticky);
        route.pin.header = Some(HeaderName::from_static("x-pin"));
        for number in 0..20_000 {
            let mut headers = account(number);
            headers.insert(COOKIE, format!("s={number}").parse().unwrap());
            let choice = route.choose(&headers, address(number));
            assert!(matches!(choice.position, 1 | 3), "{choice:?}");
        }
        let pinned = route.choose(
            &HeaderMap::from_iter([(HeaderName::from_static("x-pin"), HeaderValue::from_static("b2"))]),
            address(1),
        );
        assert_eq!((pinned.position, pinned.by), (2, ChosenBy::Pin));
    }
}

#[test]
fn new_visitors_are_split_by_the_weights() {
    for candidate in [0, 1, 5, 25, 100] {
        let mut route = route(&[f64::from(candidate), f64::from(100 - candidate)], Sticky::Cookie);
        let turns: Vec<usize> =
            (0..10_000).map(|_| route.choose(&HeaderMap::new(), address(1)).position).collect();
        let count = |run: &[usize]| run.iter().filter(|&&turn| turn == 0).count() as i32;
        assert_eq!(count(&turns), candidate * 100);
        assert!(turns.windows(100).all(|run| (count(run) - candidate).abs() <= 2), "{candidate} %");
    }
}

#[test]
fn visitors_with_keys_are_split_near_the_weights() {
    let mut route = route(&[10.0, 30.0, 60.0], Sticky::ClientAddress);
    let mut counts = [0u32; 3];
    for number in 0..100_000 {
        counts[route.choose(&HeaderMap::new(), address(number)).position] += 1;
    }
    // Five standard deviations of a fair draw.
    for (count, expected, most) in
        [(counts[0], 10_000, 475), (counts[1], 30_000, 725), (counts[2], 60_000, 775)]
    {
        assert!(count.abs_diff(expected) < most, "{counts:?}");
    }
}

#[test]
fn two_routes_of_one_worker_split_apart() {
    let (mut first, mut second) = (route(&[1.0, 99.0], Sticky::None), route(&[30.0, 70.0], Sticky::None));
    let mut counts = [0, 0];
    for _ in 0..10_000 {
        counts[0] += usize::from(first.choose(&HeaderMap::new(), address(1)).position == 0);
        counts[1] += usize::from(second.choose(&HeaderMap::new(), address(1)).position == 0);
    }
    assert_eq!(counts, [100, 3000]);
}

proptest! {
    #[test]
    fn a_visitor_moves_only_when_a_border_crosses_them(
        steps in prop::collection::vec(0..=100u32, 2..12), visitor: u32, kind in 0..3usize,
    ) {
        let sticky = match kind {
            0 => Sticky::Cookie,
            1 => Sticky::Header(HeaderName::from_static("x-account")),
            _ => Sticky::ClientAddress,
        };
        let mut route = route(&[0.0, 100.0], sticky);
        let mut headers = account(visitor);
        if let Some(given) = route.choose(&headers, address(visitor)).set_cookie {
            headers.extend(with_bucket(given));
        }
        // The one border that explains all: the visitor is a candidate's from some percent on, and below
        // never.
        let (mut lowest_in, mut highest_out) = (101, 0);
        for percent in steps {
            route.weights = weights(&[f64::from(percent), f64::from(100 - percent)]);
            let choice = route.choose(&headers, address(visitor));
            prop_assert_eq!((choice.by, choice.set_cookie), (ChosenBy::Bucket, None));
            match choice.position {
                0 => lowest_in = lowest_in.min(percent),
                _ => highest_out = highest_out.max(percent),
            }
        }
        prop_assert!(highest_out < lowest_in);
    }

    #[test]
    fn a_request_with_a_bucket_or_pin_never_moves_the_sequence(kinds in prop::collection::vec(0..3u8, 1..300)) {
        let mut mixed = route(&[30.0, 70.0], Sticky::Header(HeaderName::from_static("x-account")));
        mixed.pin.cookie = Some("pin".into());
        let mut alone = route(&[30.0, 70.0], Sticky::None);
        let pin = HeaderMap::from_iter([(COOKIE, HeaderValue::from_static("pin=b0"))]);
        for (number, kind) in (0..).zip(kinds) {
            let headers = match kind {
                0 => HeaderMap::new(),
                1 => account(number),
                _ => pin.clone(),
            };
            let choice = mixed.choose(&headers, address(1));
            if kind == 0 {
                prop_assert_eq!(choice, alone.choose(&headers, address(1)));
            }
        }
    }
}
