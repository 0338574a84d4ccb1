//! Asks one endpoint how it does: again and again, one question at a time.
//!
//! `watch` starts a task for each endpoint on the control thread and ends it with the endpoint. It must never wait
//! longer than the question says, nor read more of an answer than [`PROBE_BODY`].

use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::HeaderValue;
use tokio::time::{Instant, sleep, timeout_at};

use crate::config::health::Probe;
use crate::config::limits::health::{KNOCK_FIRST, KNOCK_MOST, PROBE_BODY};
use crate::health::probe::Course;
use crate::health::question::{Finding, Question};
use crate::health::vitals::Mark;
use crate::proxy::wire;
use crate::upstream::connect::ConnectError;
use crate::upstream::endpoint::Endpoint;
use crate::upstream::http1::request::Besides;
use crate::upstream::lease::Lease;
use crate::upstream::pool::Pool;

/// Asks for ever. Each finding is told with how it stands then.
pub async fn ask_on(
    endpoint: Arc<Endpoint>,
    question: Question,
    probe: Probe,
    found: impl Fn(Finding, Course),
) {
    let mut random = fastrand::Rng::new();
    let mut course = Course::from_before(endpoint.vitals.has(Mark::Down));
    loop {
        // Nothing found is nothing against it: this machine couldn't ask.
        if let Some(finding) = ask(&endpoint, &question, &probe, random.u128(..)).await {
            course.hear(finding.is_good(), &probe);
            found(finding, course);
        }
        sleep(course.pause(&probe, random.f64())).await;
    }
}

/// Tries to connect until that succeeds: requests are sent elsewhere meanwhile, and find out nothing.
pub async fn knock_on(endpoint: Arc<Endpoint>, question: Question) {
    let mut pause = KNOCK_FIRST;
    loop {
        sleep(pause).await;
        if connected(&endpoint, &question).await.is_ok() {
            endpoint.vitals.reached();
        }
        pause = (pause * 2).min(KNOCK_MOST);
    }
}

/// A fresh connection: whether one can be had is a part of the question. The pool has room for the one that was opened
/// to be shared and isn't.
async fn connected(endpoint: &Arc<Endpoint>, question: &Question) -> Result<Lease, ConnectError> {
    let pool = Rc::new(Pool::new(Arc::clone(endpoint), 1));
    pool.open(question.server_name.as_ref(), question.limits()).await
}

async fn ask(endpoint: &Arc<Endpoint>, question: &Question, probe: &Probe, id: u128) -> Option<Finding> {
    let deadline = Instant::now() + probe.timeout;
    let exchange = async {
        let mut lease = connected(endpoint, question).await.map_err(|error| Finding::of_connect(&error))?;
        let id = HeaderValue::try_from(format!("{id:032x}")).expect("hex digits are a field value");
        let mut request = question.request(probe, &id, now_ms());
        wire::fit(&mut request, lease.version(), &question.host, endpoint.url.scheme(), false);
        let to = Besides { host: &question.host, ours: None };
        let response = lease.send(request, to, |_| true).await.map_err(|_| Some(Finding::Broken))?;
        Ok((response, lease))
    };
    match timeout_at(deadline, exchange).await {
        Err(_) => Some(Finding::Silent(probe.timeout)),
        Ok(Err(finding)) => finding,
        Ok(Ok((response, lease))) => {
            let finding = question.judge(probe, response.status(), response.headers());
            // Whether the rest comes is no matter; an app that is hung up on might log it.
            let _ = timeout_at(deadline, read(lease)).await;
            Some(finding)
        }
    }
}

async fn read(mut lease: Lease) {
    let mut bytes = 0;
    while let Some(Ok(frame)) = poll_fn(|cx| lease.poll_frame(cx)).await {
        bytes += frame.data_ref().map_or(0, Bytes::len);
        if bytes > PROBE_BODY {
            return;
        }
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
