//! Which backend serves a request: pin, then bucket, then sequence.
//!
//! The request's handler calls [`choose`] once it knows the route; `config` builds the [`Weights`],
//! [`Sticky`] and [`Pin`] it goes by. It must never see the clock or a source of chance, and a backend of
//! weight 0 must never be chosen but by a pin.

use std::net::IpAddr;

use http::header::{HeaderMap, HeaderName, HeaderValue};

pub use bucket::{BUCKETS, Bucket, FreshBuckets};
pub use sequence::Sequence;
pub use weights::{TOTAL, Weights, WeightsError};

use crate::config::model::Name;

pub mod bucket;
pub mod cookie;
#[cfg(test)]
mod properties;
pub mod sequence;
pub mod weights;

/// What a visitor's bucket is taken from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sticky {
    /// Nothing: each request is split anew, exactly by the weights.
    None,
    /// Our own cookie, which a visitor without one is given.
    Cookie,
    /// The value of a request header, such as an account's number; its first line where there are several.
    Header(HeaderName),
    /// The value of a cookie the app sets, such as its session.
    UserCookie(String),
    /// The believed address of the visitor.
    ClientAddress,
}

/// What may name a route's backend in a request, so that testers reach the new platform at 0 %.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pin {
    /// A request header; it goes before the cookie.
    pub header: Option<HeaderName>,
    /// A cookie.
    pub cookie: Option<String>,
}

/// What is asked of a visitor.
#[derive(Debug, Clone, Copy)]
pub struct Visitor<'a> {
    /// The request's headers as they came.
    pub headers: &'a HeaderMap,
    /// The visitor's believed address.
    pub client: IpAddr,
}

/// A route's rules for choosing.
#[derive(Debug, Clone, Copy)]
pub struct Policy<'a> {
    /// The shares.
    pub weights: &'a Weights,
    /// What buckets are taken from.
    pub sticky: &'a Sticky,
    /// What may name a backend.
    pub pin: &'a Pin,
    /// The route's name, which buckets depend on.
    pub route: &'a str,
    /// The names of the route's backends, by position.
    pub names: &'a [Name],
}

/// The backend chosen, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Its position among the route's backends.
    pub position: usize,
    /// What decided.
    pub by: ChosenBy,
    /// The bucket the response has to give the visitor, see [`cookie::set_cookie`].
    pub set_cookie: Option<Bucket>,
}

/// What decided a choice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChosenBy {
    /// The request named the backend.
    Pin,
    /// The visitor's bucket.
    Bucket,
    /// The exact sequence.
    Sequence,
    /// Another backend was chosen, and couldn't be reached.
    Failover,
    /// Nothing: a certificate authority asks for a proof, and each backend is asked until one has it.
    Challenge,
}

impl ChosenBy {
    /// The word for it in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pin => "pin",
            Self::Bucket => "bucket",
            Self::Sequence => "sequence",
            Self::Failover => "failover",
            Self::Challenge => "challenge",
        }
    }
}

/// Chooses the backend of a request. Only a request without pin and bucket moves the sequence, and only a
/// visitor who is given a cookie draws a fresh bucket.
pub fn choose(
    policy: &Policy<'_>,
    visitor: &Visitor<'_>,
    sequence: &mut Sequence,
    fresh: &mut FreshBuckets,
) -> Choice {
    let weights = policy.weights;
    if let Some(position) = pinned(policy, visitor.headers) {
        return Choice { position, by: ChosenBy::Pin, set_cookie: None };
    }
    match find_bucket(policy, visitor, fresh) {
        Found::Known(bucket) => by_bucket(weights, bucket, None),
        Found::Fresh(bucket) => by_bucket(weights, bucket, Some(bucket)),
        Found::None => Choice { position: sequence.next(weights), by: ChosenBy::Sequence, set_cookie: None },
    }
}

/// Whether a request has a bucket.
enum Found {
    /// It brought one, or a key to it.
    Known(Bucket),
    /// It gets this one, to keep.
    Fresh(Bucket),
    /// There is nothing to take one from.
    None,
}

fn by_bucket(weights: &Weights, bucket: Bucket, set_cookie: Option<Bucket>) -> Choice {
    Choice { position: weights.of_bucket(bucket), by: ChosenBy::Bucket, set_cookie }
}

/// The position of the backend that the request names: the first value that is a backend's name, header
/// first. A name that isn't one of the route's pins nothing.
fn pinned(policy: &Policy<'_>, headers: &HeaderMap) -> Option<usize> {
    let named = |value: &[u8]| policy.names.iter().position(|name| name.as_str().as_bytes() == value);
    let in_header = policy.pin.header.as_ref().and_then(|header| {
        let mut lines = headers.get_all(header).iter();
        lines.find_map(|line| named(line.as_bytes()))
    });
    in_header
        .or_else(|| policy.pin.cookie.as_ref().and_then(|name| cookie::find(headers, name).find_map(named)))
}

/// The visitor's bucket. An empty key is none: else everybody who isn't logged in would share one bucket.
fn find_bucket(policy: &Policy<'_>, visitor: &Visitor<'_>, fresh: &mut FreshBuckets) -> Found {
    let of_key = |key: Option<&[u8]>| match key {
        Some(key) if !key.is_empty() => Found::Known(Bucket::of(key, policy.route)),
        Some(_) | None => Found::None,
    };
    match policy.sticky {
        Sticky::None => Found::None,
        Sticky::Cookie => {
            cookie::bucket(visitor.headers).map_or_else(|| Found::Fresh(fresh.draw()), Found::Known)
        }
        Sticky::Header(header) => of_key(visitor.headers.get(header).map(HeaderValue::as_bytes)),
        Sticky::UserCookie(name) => {
            of_key(cookie::find(visitor.headers, name).find(|value| !value.is_empty()))
        }
        Sticky::ClientAddress => Found::Known(of_address(visitor.client, policy.route)),
    }
}

/// The bucket of an address by its 4 or 16 octets; an IPv4 address mapped into IPv6 is the IPv4 address.
fn of_address(client: IpAddr, route: &str) -> Bucket {
    match client.to_canonical() {
        IpAddr::V4(address) => Bucket::of(&address.octets(), route),
        IpAddr::V6(address) => Bucket::of(&address.octets(), route),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A route called `web` over `fly` and `heroku`, the latter stable.
    struct Web {
        weights: Weights,
        sticky: Sticky,
        names: Vec<Name>,
        sequence: Sequence,
        fresh: FreshBuckets,
    }

    fn web(fly: f64, sticky: Sticky) -> Web {
        Web {
            weights: Weights::new(&[fly, 100.0 - fly], 1).unwrap(),
            sticky,
            names: ["fly", "heroku"].map(|name| Name::parse(name).unwrap()).into(),
            sequence: Sequence::new(2, 0.0),
            fresh: FreshBuckets::new(0),
        }
    }

    impl Web {
        fn choose(&mut self, headers: &[(&str, &str)], client: &str) -> Choice {
            let name = |name: &str| HeaderName::from_bytes(name.as_bytes()).unwrap();
            let headers = headers.iter().map(|(n, value)| (name(n), value.parse().unwrap())).collect();
            let pin = Pin { header: Some(name("x-crossfade-backend")), cookie: Some("crossfade-pin".into()) };
            let policy = Policy {
                weights: &self.weights,
                sticky: &self.sticky,
                pin: &pin,
                route: "web",
                names: &self.names,
            };
            let visitor = Visitor { headers: &headers, client: client.parse().unwrap() };
            choose(&policy, &visitor, &mut self.sequence, &mut self.fresh)
        }

        fn by(&mut self, headers: &[(&str, &str)]) -> (usize, &'static str) {
            let choice = self.choose(headers, "192.0.2.1");
            (choice.position, choice.by.as_str())
        }
    }

    #[test]
    fn a_pin_names_its_backend_even_at_weight_zero() {
        let mut web = web(0.0, Sticky::Cookie);
        assert_eq!(web.by(&[("x-crossfade-backend", "fly")]), (0, "pin"));
        assert_eq!(web.by(&[("cookie", "a=b; crossfade-pin=fly")]), (0, "pin"));
        assert_eq!(web.by(&[("cookie", "crossfade=0; crossfade-pin=\"fly\"")]), (0, "pin"));
        assert_eq!(web.choose(&[("x-crossfade-backend", "fly")], "::1").set_cookie, None);
    }

    #[test]
    fn the_header_pins_before_the_cookie() {
        let mut web = web(0.0, Sticky::None);
        assert_eq!(web.by(&[("x-crossfade-backend", "heroku"), ("cookie", "crossfade-pin=fly")]), (1, "pin"));
        assert_eq!(web.by(&[("x-crossfade-backend", "nobody"), ("cookie", "crossfade-pin=fly")]), (0, "pin"));
    }

    #[test]
    fn an_unknown_name_pins_nothing() {
        let mut web = web(0.0, Sticky::None);
        for name in ["", "Fly", "fly ferry", "fly,heroku", "aws"] {
            assert_eq!(web.by(&[("x-crossfade-backend", name)]), (1, "sequence"), "{name:?}");
        }
    }

    #[test]
    fn a_pin_leaves_the_sequence_alone() {
        let mut web = web(50.0, Sticky::None);
        for expected in [0, 1, 0, 1] {
            assert_eq!(web.by(&[("x-crossfade-backend", "heroku")]), (1, "pin"));
            assert_eq!(web.by(&[]), (expected, "sequence"));
        }
    }

    #[test]
    fn our_cookie_decides_and_is_not_set_again() {
        let mut web = web(25.0, Sticky::Cookie);
        for (cookie, position) in [("crossfade=2499", 0), ("crossfade=2500", 1), ("x=1; crossfade=0", 0)] {
            let choice = web.choose(&[("cookie", cookie)], "::1");
            assert_eq!(choice, Choice { position, by: ChosenBy::Bucket, set_cookie: None });
        }
    }

    #[test]
    fn a_visitor_without_a_valid_cookie_is_given_one() {
        let mut web = web(25.0, Sticky::Cookie);
        for headers in [&[][..], &[("cookie", "crossfade=")], &[("cookie", "crossfade=99999")]] {
            let choice = web.choose(headers, "::1");
            let given = choice.set_cookie.expect("a cookie");
            assert_eq!(choice.position, web.weights.of_bucket(given));
            assert_eq!(choice.by, ChosenBy::Bucket);
        }
    }

    #[test]
    fn a_header_or_cookie_of_the_app_is_a_key_unless_missing_or_empty() {
        let header = Sticky::Header(HeaderName::from_static("x-account"));
        let mut by_header = web(50.0, header);
        let mut by_cookie = web(50.0, Sticky::UserCookie("session".into()));
        for account in ["1", "2", "3", "alice@example.com"] {
            let expected = by_header.weights.of_bucket(Bucket::of(account.as_bytes(), "web"));
            assert_eq!(by_header.by(&[("x-account", account)]), (expected, "bucket"));
            assert_eq!(by_cookie.by(&[("cookie", &format!("session={account}"))]), (expected, "bucket"));
        }
        assert_eq!(by_header.by(&[]).1, "sequence");
        assert_eq!(by_header.by(&[("x-account", "")]).1, "sequence");
        assert_eq!(by_cookie.by(&[("cookie", "session=; other=1")]).1, "sequence");
        assert_eq!(by_cookie.by(&[("cookie", "sessions=1")]).1, "sequence");
    }

    #[test]
    fn an_address_is_its_octets_and_a_mapped_one_the_same() {
        let mut web = web(50.0, Sticky::ClientAddress);
        for last in 0..64 {
            let expected = web.weights.of_bucket(Bucket::of(&[192, 0, 2, last], "web"));
            for client in [format!("192.0.2.{last}"), format!("::ffff:192.0.2.{last}")] {
                let choice = web.choose(&[], &client);
                assert_eq!((choice.position, choice.by), (expected, ChosenBy::Bucket), "{client}");
            }
        }
        let loopback = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
        assert_eq!(of_address("::1".parse().unwrap(), "web"), Bucket::of(&loopback, "web"));
    }
}
