//! Host and path to route.
//!
//! A snapshot compiles one [`Router`], the request's handler asks it once a request; `config` asks
//! [`duplicates`] about a file. It must never allocate for a usual host, nor decode or tidy a path: the
//! backend sees the same one.
//!
//! The most specific host wins: an exact one, then the longest wildcard, then a route without hosts. Within a
//! host the longest path wins, then the first in the file. Where the most specific host has no route for the
//! path, the next less specific host is asked, so that `www.example.com/api` can be taken out of a route for
//! everything.

use std::collections::HashMap;

pub use pattern::{HostPattern, PathPrefix, PatternError};

pub mod pattern;

/// The routes of a snapshot, arranged for finding.
#[derive(Debug, Clone, Default)]
pub struct Router {
    /// By host as [`HostPattern::Exact`] spells it.
    exact: HashMap<String, Paths>,
    /// By suffix as [`HostPattern::Wildcard`] spells it, with its leading dot.
    wildcards: HashMap<String, Paths>,
    /// Routes without hosts.
    any: Paths,
}

impl Router {
    /// A router over routes in the order of the file, each by its hosts (none: any) and its path.
    pub fn new<'a>(routes: impl Iterator<Item = (&'a [HostPattern], &'a PathPrefix)>) -> Self {
        let mut router = Self::default();
        for (route, (hosts, path)) in routes.enumerate() {
            if hosts.is_empty() {
                router.any.add(path, route);
            }
            for host in hosts {
                let (map, key) = match host {
                    HostPattern::Exact(name) => (&mut router.exact, name),
                    HostPattern::Wildcard(suffix) => (&mut router.wildcards, suffix),
                };
                map.entry(key.clone()).or_default().add(path, route);
            }
        }
        let named = router.exact.values_mut().chain(router.wildcards.values_mut());
        named.chain([&mut router.any]).for_each(Paths::arrange);
        router
    }

    /// The index of the route for `host` (without a port; of any case, a dot at its end doesn't count) and
    /// `path` (as it stands in the target, with or without a query).
    pub fn find(&self, host: &str, path: &str) -> Option<usize> {
        self.find_by_host(host, path).or_else(|| self.any.find(path))
    }

    fn find_by_host(&self, host: &str, path: &str) -> Option<usize> {
        // Most configurations have one route for any host: nothing to look up.
        if self.exact.is_empty() && self.wildcards.is_empty() {
            return None;
        }
        let host = pattern::normal(host);
        let exact = self.exact.get(&*host).and_then(|paths| paths.find(path));
        exact.or_else(|| self.find_by_suffix(&host, path))
    }

    /// Asks the wildcards from the longest suffix of `host` to the shortest.
    fn find_by_suffix(&self, host: &str, path: &str) -> Option<usize> {
        if self.wildcards.is_empty() {
            return None;
        }
        // From the second byte, since the star stands for something.
        let dots = host.bytes().enumerate().skip(1).filter(|&(_, byte)| byte == b'.');
        dots.filter_map(|(dot, _)| self.wildcards.get(&host[dot..])).find_map(|paths| paths.find(path))
    }
}

/// Two routes of which the second never serves, because the first has the same host and path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// The index of the route that serves.
    pub first: usize,
    /// The index of the route that doesn't.
    pub second: usize,
    /// The host they share; nothing where both are for any host.
    pub host: Option<HostPattern>,
}

/// Every route that shares a host pattern and path with one before it, in the order of the file: one entry
/// for each such host, naming the first route that has it. A host that one route names twice is none.
pub fn duplicates<'a>(routes: impl Iterator<Item = (&'a [HostPattern], &'a PathPrefix)>) -> Vec<Duplicate> {
    let mut seen: HashMap<(Option<&HostPattern>, &PathPrefix), usize> = HashMap::new();
    let mut found = Vec::new();
    for (second, (hosts, path)) in routes.enumerate() {
        let any = hosts.is_empty().then_some(None);
        for host in any.into_iter().chain(hosts.iter().map(Some)) {
            let first = *seen.entry((host, path)).or_insert(second);
            let duplicate = Duplicate { first, second, host: host.cloned() };
            if first != second && !found.contains(&duplicate) {
                found.push(duplicate);
            }
        }
    }
    found
}

/// The routes of one host.
#[derive(Debug, Clone, Default)]
struct Paths {
    /// The route for `/`, which has every target.
    all: Option<usize>,
    /// The other routes, by the text of their paths once arranged, each path once.
    below: Vec<Below>,
}

#[derive(Debug, Clone)]
struct Below {
    path: PathPrefix,
    route: usize,
    /// The place of the longest other path that this one's text begins with.
    shorter: Option<usize>,
}

impl Paths {
    fn add(&mut self, path: &PathPrefix, route: usize) {
        if path.as_str() == "/" {
            self.all.get_or_insert(route);
        } else {
            self.below.push(Below { path: path.clone(), route, shorter: None });
        }
    }

    /// Call it after the last `add`, before the first `find`.
    fn arrange(&mut self) {
        // It keeps the order of the file among equal ones.
        self.below.sort_by(|one, other| one.path.as_str().cmp(other.path.as_str()));
        self.below.dedup_by(|later, first| later.path == first.path);
        for place in 1..self.below.len() {
            let (before, rest) = self.below.split_at_mut(place);
            let text = rest[0].path.as_str();
            let begins = |&at: &usize| text.starts_with(before[at].path.as_str());
            rest[0].shorter = chain(before, Some(place - 1)).find(begins);
        }
    }

    /// As many comparisons of text as the number of paths has binary digits, and one for each path that another one
    /// continues: a path that `target` begins with sorts before it, and everything between the two begins with it too.
    fn find(&self, target: &str) -> Option<usize> {
        let after = self.below.partition_point(|below| below.path.as_str() <= target);
        let longest =
            chain(&self.below, after.checked_sub(1)).find(|&at| self.below[at].path.matches(target));
        longest.map(|at| self.below[at].route).or(self.all)
    }
}

/// A place and those of the paths that its text begins with, the longest first.
fn chain(below: &[Below], from: Option<usize>) -> impl Iterator<Item = usize> {
    std::iter::successors(from, |&at| below[at].shorter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Routes = Vec<(Vec<HostPattern>, PathPrefix)>;

    fn routes<'t>(routes: impl IntoIterator<Item = (&'t [&'t str], &'t str)>) -> Routes {
        let route = |(hosts, path): (&[&str], &str)| {
            let hosts = hosts.iter().map(|host| HostPattern::parse(host).unwrap()).collect();
            (hosts, PathPrefix::parse(path).unwrap())
        };
        routes.into_iter().map(route).collect()
    }

    fn borrowed(routes: &Routes) -> impl Iterator<Item = (&[HostPattern], &PathPrefix)> {
        routes.iter().map(|(hosts, path)| (&**hosts, path))
    }

    /// How specific a route is for a request, nothing where it doesn't match: host, path, place in the file.
    fn rank(hosts: &[HostPattern], path: &PathPrefix, host: &str, target: &str) -> Option<(usize, usize)> {
        let of_host = |pattern: &HostPattern| match pattern {
            HostPattern::Exact(_) => usize::MAX,
            HostPattern::Wildcard(suffix) => suffix.len(),
        };
        let matching = hosts.iter().filter(|pattern| pattern.matches(host)).map(of_host).max();
        let host_rank = if hosts.is_empty() { Some(0) } else { matching };
        host_rank.filter(|_| path.matches(target)).map(|rank| (rank, path.as_str().len()))
    }

    /// The rule of the module head, said as plainly as can be.
    fn reference(routes: &Routes, host: &str, target: &str) -> Option<usize> {
        let mut best: Option<((usize, usize), usize)> = None;
        for (index, (hosts, path)) in routes.iter().enumerate() {
            let Some(rank) = rank(hosts, path, host, target) else { continue };
            if best.is_none_or(|(least, _)| rank > least) {
                best = Some((rank, index));
            }
        }
        best.map(|(_, index)| index)
    }

    #[test]
    fn the_most_specific_host_then_the_longest_path_wins() {
        let routes = routes([
            (&[][..], "/"),
            (&["*.example.com"], "/"),
            (&["*.eu.example.com"], "/"),
            (&["www.eu.example.com", "www.example.com"], "/shop"),
            (&["www.example.com"], "/shop/cart"),
            (&[], "/shop/cart/items"),
            (&["*.example.com"], "/shop/cart/items"),
            (&["[::1]"], "/"),
        ]);
        let router = Router::new(borrowed(&routes));
        let table = [
            ("other.test", "/", 0),
            ("", "/", 0),
            ("example.com", "/", 0),
            (".example.com", "/", 0),
            ("a.example.com", "/", 1),
            ("a.b.example.com.", "/x", 1),
            ("A.eu.Example.com", "/", 2),
            ("eu.example.com", "/", 1),
            ("www.eu.example.com", "/shop", 3),
            ("www.eu.example.com", "/shopping", 2),
            ("www.example.com", "/shop?x=/cart", 3),
            ("www.example.com", "/shop/cart/items", 4),
            ("www.example.com", "/", 1),
            ("x.example.com", "/shop/cart/items/1", 6),
            ("other.test", "/shop/cart/items?x", 5),
            ("[::1]", "/", 7),
            ("[0::1]", "/", 7),
        ];
        for (host, path, route) in table {
            assert_eq!(router.find(host, path), Some(route), "{host}{path}");
            assert_eq!(reference(&routes, host, path), Some(route), "{host}{path}");
        }
    }

    #[test]
    fn nothing_is_found_where_nothing_matches() {
        let routes = routes([(&["www.example.com"][..], "/"), (&[], "/api")]);
        let router = Router::new(borrowed(&routes));
        assert_eq!(router.find("example.com", "/"), None);
        assert_eq!(router.find("example.com", "/apiary"), None);
        assert_eq!(Router::default().find("a", "/"), None);
    }

    #[test]
    fn of_equal_routes_the_first_serves_and_the_others_are_named() {
        let routes = routes([
            (&["a.test", "b.test"][..], "/"),
            (&[], "/x"),
            (&["B.test", "b.test", "*.b.test"], "/"),
            (&[], "/x"),
            (&["a.test"], "/x"),
            (&["b.test"], "/"),
            (&["c.test", "c.test"], "/"),
        ]);
        let router = Router::new(borrowed(&routes));
        assert_eq!((router.find("b.test", "/"), router.find("z", "/x")), (Some(0), Some(1)));

        let b = Some(HostPattern::Exact("b.test".into()));
        let expected = [
            Duplicate { first: 0, second: 2, host: b.clone() },
            Duplicate { first: 1, second: 3, host: None },
            Duplicate { first: 0, second: 5, host: b },
        ];
        assert_eq!(duplicates(borrowed(&routes)), expected);
    }

    /// Each of 1000 and what is below it, with neighbours that sort between.
    #[test]
    fn of_many_paths_the_longest_wins() {
        let texts: Vec<String> =
            (0..1000).flat_map(|n| [format!("/a{n}"), format!("/a{n}/b"), format!("/a{n}-b")]).collect();
        let routes: Routes = texts.iter().map(|text| (vec![], PathPrefix::parse(text).unwrap())).collect();
        let router = Router::new(borrowed(&routes));
        for (route, text) in texts.iter().enumerate() {
            for below in ["", "/", "/c", "?d"] {
                assert_eq!(router.find("", &format!("{text}{below}")), Some(route), "{text}{below}");
            }
            assert_ne!(router.find("", &format!("{text}x")), Some(route), "{text}x");
        }
    }

    fn some_host() -> impl Strategy<Value = String> {
        prop::collection::vec(prop_oneof!["a", "b", "A"], 1..5).prop_map(|labels| labels.join("."))
    }

    fn some_path() -> impl Strategy<Value = String> {
        prop::collection::vec(prop_oneof!["/", "/a", "/ab", "a", "-"], 0..5)
            .prop_map(|parts| format!("/{}", parts.concat()))
    }

    fn some_routes() -> impl Strategy<Value = Routes> {
        let host = (any::<bool>(), some_host()).prop_map(|(wild, host)| {
            HostPattern::parse(&if wild { format!("*.{host}") } else { host }).unwrap()
        });
        let path = some_path().prop_map(|path| PathPrefix::parse(&path).unwrap());
        prop::collection::vec((prop::collection::vec(host, 0..3), path), 0..24)
    }

    proptest! {
        #[test]
        fn the_router_agrees_with_the_reference(
            routes in some_routes(),
            requests in prop::collection::vec((some_host(), "\\.?", some_path(), "(\\?a/)?"), 20),
        ) {
            let router = Router::new(borrowed(&routes));
            for (host, dot, path, query) in requests {
                let (host, target) = (host + &dot, path + &query);
                let expected = reference(&routes, &host, &target);
                prop_assert_eq!(router.find(&host, &target), expected, "{} {}", host, target);
            }
        }

        #[test]
        fn of_two_duplicates_the_first_serves(routes in some_routes()) {
            let router = Router::new(borrowed(&routes));
            for Duplicate { first, second, host } in duplicates(borrowed(&routes)) {
                prop_assert!(first < second);
                if let Some(HostPattern::Exact(name)) = host {
                    prop_assert_eq!(router.find(&name, routes[first].1.as_str()), Some(first));
                }
            }
        }

        #[test]
        fn any_host_and_path_are_served_without_a_panic(
            host in "\\PC{0,40}|[.:\\[\\]*]{0,10}", path in "\\PC{0,40}",
        ) {
            let routes = routes([(&["*.a"][..], "/a"), (&["::1"], "/"), (&["a.b"], "/")]);
            let _ = Router::new(borrowed(&routes)).find(&host, &path);
            let _ = (HostPattern::parse(&host), PathPrefix::parse(&path));
        }
    }
}
