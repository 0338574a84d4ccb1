//! Tests of `events`: what a stream tells, and what happens to a reader that goes, comes back or stands still.

use std::time::{Duration, UNIX_EPOCH};

use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, timeout};

use super::events;
use super::stage::{Events, PATIENCE, Stage, TOKEN, request, with_token};
use crate::config::limits::{ADMIN_HEAD, ADMIN_STREAMS};

async fn stream(stage: &Stage, query: &str, fields: &str) -> Events<UnixStream> {
    Events::of(UnixStream::connect(&stage.socket).await.unwrap(), query, fields).await
}

#[tokio::test]
async fn the_status_comes_at_once_and_with_every_second_and_change() {
    let stage = Stage::begin();
    let mut events = stream(&stage, "", "").await;
    let (name, id, status) = events.next().await;
    assert_eq!((&*name, id, &status["revision"]), ("status", None, &3.into()));
    stage.sampler.look(Duration::ZERO, UNIX_EPOCH);
    let (name, _, _) = events.next().await;
    assert_eq!(name, "status", "a second has passed");
    stage.publish(4);
    let (name, id, record) = events.next().await;
    assert_eq!((&*name, id, &record["command"]), ("revision", Some(4), &"shift fly 4%".into()));
    let (name, _, status) = events.next().await;
    assert_eq!((&*name, &status["revision"]), ("status", &4.into()));
    stage.statuses.send_modify(|status| status.refused = Some("error: x".to_owned()));
    let (_, status) = events.next_of("status").await;
    assert_eq!(status["config_refused"], "error: x");
}

#[tokio::test]
async fn a_sample_comes_with_each_new_point() {
    let stage = Stage::begin();
    stage.sampler.look(Duration::ZERO, UNIX_EPOCH);
    let mut events = stream(&stage, "", "").await;
    events.next_of("status").await;
    for second in 1..=5 {
        stage.sampler.look(Duration::from_secs(second), UNIX_EPOCH + Duration::from_secs(second));
    }
    let (id, sample) = events.next_of("sample").await;
    assert_eq!((id, &sample["at"]), (None, &5.0.into()));
    let fly = &sample["lines"][0];
    assert_eq!(
        (&fly["backend"], &fly["weight"], &fly["requests_per_second"]),
        (&"fly".into(), &5.0.into(), &0.0.into())
    );
    assert!(fly["p50"].is_null());
}

#[tokio::test]
async fn who_comes_back_misses_no_revision() {
    let stage = Stage::begin();
    for (query, fields, expected) in [
        ("?after=1", "", &[2, 3][..]),
        ("?after=0", "", &[1, 2, 3]),
        ("", "Last-Event-ID: 2\r\n", &[3]),
        ("?after=0", "Last-Event-ID: 2\r\n", &[3]),
        ("?after=3", "", &[]),
        ("", "", &[]),
    ] {
        let mut events = stream(&stage, query, fields).await;
        for revision in expected {
            let (name, id, record) = events.next().await;
            assert_eq!((&*name, id, &record["revision"]), ("revision", Some(*revision), &(*revision).into()));
        }
        assert_eq!(events.next().await.0, "status", "{query} {fields}");
    }
}

#[tokio::test]
async fn a_number_of_another_life_is_no_reason_to_miss_what_comes() {
    let stage = Stage::begin();
    let mut events = stream(&stage, "?after=900", "").await;
    assert_eq!(events.next().await.0, "status");
    stage.publish(4);
    assert_eq!(events.next_of("revision").await.0, Some(4));
}

#[tokio::test]
async fn what_is_no_number_is_refused() {
    let stage = Stage::begin();
    for (query, fields) in [
        ("?after=x", ""),
        ("?after=-1", ""),
        ("?before=1", ""),
        ("", "Last-Event-ID: x\r\n"),
        ("", "Last-Event-ID:\r\n"),
    ] {
        let request =
            request("GET", &format!("/api/v1/events{query}"), &format!("Host: localhost\r\n{fields}"));
        let answer = stage.unix(&request).await;
        assert_eq!((answer.status, &*answer.reason()), (400, "malformed"), "{query} {fields}");
    }
}

#[tokio::test]
async fn streams_are_bounded_and_leave_their_place_when_they_end() {
    let stage = Stage::begin();
    let mut open = Vec::new();
    for _ in 0..ADMIN_STREAMS {
        open.push(stream(&stage, "", "").await);
    }
    let one_more = request("GET", "/api/v1/events", "Host: localhost\r\n");
    let answer = stage.unix(&one_more).await;
    assert_eq!(
        (answer.status, &*answer.reason(), answer.field("Retry-After")),
        (429, "rate_limited", Some("5"))
    );
    let (over_tcp, status) = (stage.tcp(&with_token("/api/v1/events")).await, with_token("/api/v1/status"));
    assert_eq!((over_tcp.status, stage.tcp(&status).await.status), (429, 200), "commands get through");
    open.pop();
    while !stage.has_places(1).await {}
    stream(&stage, "", "").await;
}

/// The status of many routes takes the control thread a while; it must not take it once for each reader.
#[tokio::test]
async fn what_all_are_told_is_made_once() {
    let stage = Stage::begin();
    let told = stage.source(Instant::now()).told;
    let status = || String::from_utf8(told.status().to_vec()).unwrap();
    let place = || told.status().as_ptr();
    let (first, at) = (told.status(), place());
    assert_eq!((first.as_ptr(), status().contains("\"revision\":3")), (at, true));
    stage.publish(4);
    assert!(status().contains("\"revision\":4") && place() != at, "a change is told at once");
    let second = told.status();
    stage.sampler.look(Duration::ZERO, UNIX_EPOCH);
    assert!(place() != second.as_ptr() && place() == place(), "and each second");
    assert_eq!(told.sample(), None);
    (1..=5).for_each(|second| stage.sampler.look(Duration::from_secs(second), UNIX_EPOCH));
    let sample = told.sample().unwrap();
    assert_eq!(told.sample().unwrap().as_ptr(), sample.as_ptr());
    (6..=10).for_each(|second| stage.sampler.look(Duration::from_secs(second), UNIX_EPOCH));
    assert_ne!(told.sample().unwrap().as_ptr(), sample.as_ptr());
}

#[tokio::test]
async fn a_stream_ends_whole_when_its_time_is_over() {
    let stage = Stage::begin();
    let answer = events::stream(stage.source(Instant::now() + Duration::from_millis(50)));
    let whole = timeout(PATIENCE, answer.into_body().collect()).await.expect("it ends").unwrap().to_bytes();
    assert!(whole.starts_with(b"retry: 1000\n\nevent: status\n") && whole.ends_with(b"\n\n"), "{whole:?}");
    assert!(stage.has_places(u32::try_from(ADMIN_STREAMS).unwrap()).await, "and leaves its place");
}

/// A dashboard on a laptop that was shut must not fill the memory, nor keep its place.
#[tokio::test]
async fn a_reader_that_stands_still_is_cut_off() {
    let stage = Stage::begin();
    let mut socket = TcpStream::connect(stage.address).await.unwrap();
    let fields = format!("Host: localhost\r\nAuthorization: Bearer {TOKEN}\r\n");
    socket.write_all(request("GET", "/api/v1/events", &fields).as_bytes()).await.unwrap();
    while stage.places() == ADMIN_STREAMS {
        tokio::task::yield_now().await;
    }
    stage.statuses.send_modify(|status| status.refused = Some("x".repeat(256 * 1024)));
    let began = std::time::Instant::now();
    // Each look is another status; the kernel takes a few megabytes of them.
    while !stage.has_places(u32::try_from(ADMIN_STREAMS).unwrap()).await {
        stage.sampler.look(began.elapsed(), UNIX_EPOCH);
        assert!(began.elapsed() < ADMIN_HEAD * 3, "it holds its place");
    }
    assert!(began.elapsed() >= ADMIN_HEAD);
}
