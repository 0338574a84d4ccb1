//! What right files mean.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use super::{BACKEND, ROUTE, SERVER, backend, env, route, server, top};
use crate::config::limits::{Capacity, Limits, Timeouts};
use crate::config::load;
use crate::config::model::{
    AccessFormat, AccessLog, BackendIndex, Config, EndpointUrl, HostPolicy, LogTarget, Platform, Scheme,
};
use crate::headers::origin::Trust;
use crate::split::Sticky;

fn config(text: &str) -> Config {
    load(text, &env).unwrap_or_else(|problems| panic!("{}", problems.render("x.toml", text, false))).config
}

#[test]
fn what_is_left_out_is_the_default() {
    let config = config(&top(""));
    assert_eq!(config.server.http, ["127.0.0.1:8080".parse().unwrap()]);
    assert_eq!(config.server.metrics, None);
    assert_eq!(config.server.drain_timeout, Duration::from_secs(30));
    assert_eq!(config.forwarded, Trust::default());
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.timeouts, Timeouts::default());
    assert_eq!(config.access_log, AccessLog { format: AccessFormat::Json, target: Some(LogTarget::Stdout) });
    let (backend, route) = (&config.backends[0], &config.routes[0]);
    assert_eq!((backend.platform, &backend.host), (Platform::Generic, &HostPolicy::Backend));
    assert_eq!((route.stable, &route.backends[..]), (BackendIndex(0), &[BackendIndex(0)][..]));
    assert_eq!((&route.sticky, route.weights.parts()), (&Sticky::None, &[1_000_000][..]));
    assert!(route.hosts.is_empty());
}

#[test]
fn platforms_bring_their_timeouts_and_the_file_overrules_them() {
    let timeouts = |lines: &str| config(&backend(lines)).backends[0].timeouts;
    assert_eq!(timeouts("platform = \"fly\"").first_byte, Duration::from_secs(60));
    assert_eq!(timeouts("platform = \"heroku\"").first_byte, Duration::from_secs(35));
    assert_eq!(timeouts("platform = \"heroku\"").pool_idle, Duration::from_secs(50));
    let own = timeouts("platform = \"heroku\"\nfirst_byte_timeout = \"3s\"\nconnect_timeout = \"250ms\"");
    assert_eq!((own.first_byte, own.connect), (Duration::from_secs(3), Duration::from_millis(250)));
}

#[test]
fn a_backends_capacity_is_what_it_says_and_else_the_default() {
    let capacity = |lines: &str| config(&backend(lines)).backends[0].capacity;
    assert_eq!(capacity(""), Capacity::default());
    let own = "max_in_flight = 7\nmax_queue = 0\nqueue_timeout = \"50ms\"\nadaptive_concurrency = true";
    let queue_timeout = Duration::from_millis(50);
    assert_eq!(capacity(own), Capacity { in_flight: 7, queue: 0, queue_timeout, adaptive: true });
}

#[test]
fn backends_are_in_the_order_of_names_and_routes_in_that_of_the_file() {
    let text = format!(
        "{SERVER}[backends.b]\nurls = [\"http://10.0.0.1\", \"http://10.0.0.2:81\"]\n{BACKEND}\
         [[routes]]\nname = \"z\"\nhosts = [\"z.example\"]\nstable = \"b\"\nweights = {{ a = 0.5, b = 1.5 }}\n{ROUTE}"
    );
    let config = config(&text);
    let names: Vec<_> = config.backends.iter().map(|backend| backend.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    let authorities: Vec<_> = config.backends[1].endpoints.iter().map(EndpointUrl::authority).collect();
    assert_eq!(authorities, ["10.0.0.1", "10.0.0.2:81"]);
    assert_eq!(config.backends[1].endpoints[0].scheme(), Scheme::Http);
    let first = &config.routes[0];
    assert_eq!((first.name.as_str(), first.stable), ("z", BackendIndex(1)));
    assert_eq!(first.weights.parts(), [250_000, 750_000]);
    assert_eq!(first.weights.stable(), 1);
}

#[test]
fn stable_is_the_only_weight_where_it_is_left_out() {
    let text = format!("{SERVER}{BACKEND}[[routes]]\nname = \"web\"\nweights = {{ a = 1 }}\n");
    assert_eq!(config(&text).routes[0].stable, BackendIndex(0));
}

#[test]
fn stable_joins_the_split_with_nothing_where_weights_leave_it_out() {
    let text =
        format!("{SERVER}{BACKEND}[backends.b]\nurl = \"https://b.example\"\n{ROUTE}weights = {{ b = 7 }}\n");
    let route = &config(&text).routes[0];
    assert_eq!(route.weights.parts(), [0, 1_000_000]);
    assert_eq!((route.stable, route.weights.stable()), (BackendIndex(0), 0));
}

#[test]
fn the_same_port_on_addresses_of_their_own_is_two_listeners() {
    let server = config(&server("metrics = \"127.0.0.2:8080\"")).server;
    assert_eq!((server.http.len(), server.metrics), (1, "127.0.0.2:8080".parse().ok()));
    let http = top("").replace("\"127.0.0.1:8080\"", "[\"[::1]:8080\", \"0.0.0.0:8080\"]");
    assert_eq!(config(&http).server.http.len(), 2);
}

#[test]
fn an_app_on_the_proxys_port_but_another_address_is_not_the_proxy() {
    for url in ["http://127.0.0.2:8080", "http://10.0.0.1:8080", "http://0.0.0.0:8081"] {
        config(&backend("").replace("https://a.example", url));
    }
}

#[test]
fn every_sticky_and_pin_has_its_form() {
    let sticky = |value: &str| config(&route(&format!("sticky = {value}"))).routes[0].sticky.clone();
    assert_eq!(sticky("\"none\""), Sticky::None);
    assert_eq!(sticky("\"cookie\""), Sticky::Cookie);
    assert_eq!(sticky("\"client-address\""), Sticky::ClientAddress);
    assert_eq!(sticky("{ header = \"X-Account\" }"), Sticky::Header("x-account".parse().unwrap()));
    assert_eq!(sticky("{ cookie = \"Session\" }"), Sticky::UserCookie("Session".to_owned()));
    let pin = config(&route("pin = { header = \"X-Pin\", cookie = \"pin\" }")).routes[0].pin.clone();
    assert_eq!((pin.header, pin.cookie), (Some("x-pin".parse().unwrap()), Some("pin".to_owned())));
}

#[test]
fn hosts_are_taken_as_a_list_or_alone() {
    let hosts = |lines: &str| {
        let config = config(&route(lines));
        config.routes[0].hosts.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(
        hosts("hosts = [\"WWW.example.com\", \"*.example.com\"]"),
        ["www.example.com", "*.example.com"]
    );
    assert_eq!(hosts("hosts = \"${HOST}\""), ["app.example"]);
}

#[test]
fn the_host_that_a_backend_gets_is_its_own_the_visitors_or_a_fixed_one() {
    let host = |value: &str| config(&backend(&format!("host = \"{value}\""))).backends[0].host.clone();
    assert_eq!(host("backend"), HostPolicy::Backend);
    assert_eq!(host("preserve"), HostPolicy::Preserve);
    assert_eq!(host("backend1"), HostPolicy::Fixed("backend1".to_owned()));
    assert_eq!(host("WWW.example.com"), HostPolicy::Fixed("www.example.com".to_owned()));
}

#[test]
fn sections_may_be_written_as_inline_tables_too() {
    let text = "server.http = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nserver.metrics = \"127.0.0.1:0\"\n\
                backends.a = { url = \"https://${HOST}\" }\nroutes = [{ name = \"web\", stable = \"a\" }]\n";
    let config = config(text);
    assert_eq!(config.server.http.len(), 2);
    assert_eq!(config.backends[0].endpoints[0].host(), Some("app.example"));
}

#[test]
fn bounds_are_what_the_file_says() {
    let config = config(&top(
        "[limits]\nhead_size = \"4KiB\"\nbody_size = \"1GB\"\nconnections = 10\n[timeouts]\nrequest = \"2h\"\n",
    ));
    assert_eq!((config.limits.head_size, config.limits.target_size), (4096, 4096));
    assert_eq!((config.limits.body_size, config.limits.connections), (Some(1_000_000_000), 10));
    assert_eq!(config.timeouts.request, Duration::from_secs(7200));
}

#[test]
fn records_go_where_the_file_says() {
    let target = |value: &str| config(&top(&format!("[access_log]\ntarget = \"{value}\""))).access_log.target;
    assert_eq!(target("stdout"), Some(LogTarget::Stdout));
    assert_eq!(target("off"), None);
    assert_eq!(target("/tmp/access.log"), Some(LogTarget::File(PathBuf::from("/tmp/access.log"))));
}

#[test]
fn workers_and_drain_are_taken_from_the_server_section() {
    let config = config(&server("workers = 3\ndrain_timeout = \"0s\"\nproxy_protocol = false"));
    assert_eq!((config.server.workers, config.server.drain_timeout), (NonZeroUsize::new(3), Duration::ZERO));
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_problem() {
    config(&format!("\u{feff}{}", top("").replace('\n', "\r\n")));
}
