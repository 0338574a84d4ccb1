//! What one request leaves behind: one access record and one set of counts, however it ends.
//!
//! `handle` begins it with the request's head; it rides in the response's body and ends when that is dropped,
//! so a visitor's hanging up is recorded too. It must never be cloned, and never count twice.

use std::net::IpAddr;
use std::rc::Rc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::ACCEPT;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, StatusCode, Version};
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;

use crate::config::limits::{FAST_READ, FAST_READER, SCARCE_READ, SLOW_READ};
use crate::config::model::BackendIndex;
use crate::headers::outgoing;
use crate::memory::Level;
use crate::proxy::downstream::Downstream;
use crate::proxy::error::{Error, Failure};
use crate::proxy::gate::Permit;
use crate::proxy::refusal::Refusal;
use crate::proxy::retry::{FAILOVER, Fate};
use crate::proxy::view::View;
use crate::split::ChosenBy;
use crate::telemetry::record::Record;
use crate::telemetry::series::{InFlight, MethodLabel, Series};
use crate::upstream::upload::{UploadFault, UploadState};

/// nginx's code for a visitor who hung up before a response; never sent.
const VISITOR_GONE: u16 = 499;

/// One request from its first byte to its response's last.
#[derive(Debug)]
pub struct Exchange {
    /// The connection it came on.
    pub downstream: Rc<Downstream>,
    /// The one snapshot it sees.
    pub view: Rc<View>,
    /// When its head was whole.
    pub started: Instant,
    /// The same in unix milliseconds.
    pub started_ms: u64,
    /// Its id: the visitor's own where that is sane.
    pub request_id: HeaderValue,
    /// Attempts made so far.
    pub attempts: u32,
    /// Whether it asks for a WebSocket.
    pub upgrades: bool,
    /// The bytes to come of its stream, where that is to be a tunnel in HTTP/2.
    pub stream: Option<OnUpgrade>,
    method: Method,
    version: Version,
    target: Option<PathAndQuery>,
    host: Option<HeaderValue>,
    accept: Option<HeaderValue>,
    location: Option<HeaderValue>,
    client: IpAddr,
    place: Option<Place>,
    /// Its place at the backend, until that answers.
    permit: Option<Permit>,
    upload: Option<Rc<UploadState>>,
    status: u16,
    reason: Option<&'static str>,
    first_byte: Option<Duration>,
    connect: Option<Duration>,
    bytes_in: u64,
    bytes_out: u64,
    /// How long it took to the switch, if it has become a tunnel.
    switched: Option<Duration>,
    whole: bool,
}

#[derive(Debug)]
struct Place {
    route: usize,
    position: usize,
    by: ChosenBy,
    _open: InFlight,
}

impl Exchange {
    /// Begins with a request's head.
    pub fn begin(downstream: Rc<Downstream>, parts: &Parts) -> Self {
        let worker = &downstream.worker;
        worker.budget.earn();
        let logged = worker.log.borrow().enabled();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            view: worker.view(),
            started: Instant::now(),
            started_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            request_id: outgoing::request_id(&parts.headers).unwrap_or_else(|| worker.request_id()),
            attempts: 0,
            upgrades: false,
            stream: None,
            method: parts.method.clone(),
            version: parts.version,
            target: logged.then(|| parts.uri.path_and_query().cloned()).flatten(),
            host: None,
            accept: parts.headers.get(ACCEPT).cloned(),
            location: None,
            client: downstream.peer.address,
            place: None,
            permit: None,
            upload: None,
            status: VISITOR_GONE,
            reason: None,
            first_byte: None,
            connect: None,
            bytes_in: 0,
            bytes_out: 0,
            switched: None,
            whole: false,
            downstream,
        }
    }

    /// Its bytes were refused: what stands in their place says nothing of it.
    pub fn is_unreadable(&mut self) {
        self.target = None;
    }

    /// Whose request it is, as far as believed.
    pub fn comes_from(&mut self, client: IpAddr, host: &HeaderValue) {
        self.client = client;
        self.host = Some(host.clone());
    }

    /// Where it goes: place of the route, position of the backend in it.
    pub fn goes_to(&mut self, route: usize, position: usize, by: ChosenBy) {
        let in_flight = self.view.routes[route].series[position].in_flight();
        self.place = Some(Place { route, position, by, _open: in_flight });
    }

    /// Where it goes instead, now that its backend couldn't be reached and knows nothing of it: as the route says, and
    /// once. Who has pinned it wants that backend or none.
    pub fn falls_back(&mut self, failure: Failure) -> Option<BackendIndex> {
        let &Place { route, position, by, .. } = self.place.as_ref()?;
        let model = &self.view.snapshot.config.routes[route];
        let to = match by {
            ChosenBy::Bucket | ChosenBy::Sequence => model.fallback(position)?,
            ChosenBy::Pin | ChosenBy::Failover | ChosenBy::Challenge => return None,
        };
        let backend = model.backends[to];
        self.series().failure(failure.reason());
        self.series().retry(FAILOVER);
        self.goes_to(route, to, ChosenBy::Failover);
        Some(backend)
    }

    /// Whether the budget has another attempt for it, which is counted then.
    pub fn tries_again(&self, fate: Fate, failure: Failure) -> bool {
        let worker = &self.downstream.worker;
        let may = worker.budget.spend(u64::try_from(worker.born.elapsed().as_millis()).unwrap_or(u64::MAX));
        if may {
            match fate {
                Fate::NotConnected | Fate::Reset => self.series().failure(failure.reason()),
                // The backend did nothing wrong: it closed an idle connection, or said what it left undone.
                Fate::Unsent | Fate::LostOnReused | Fate::Failed => {}
            }
            self.series().retry(fate.reason());
        }
        may
    }

    /// The backend works on it from now on.
    pub fn enters(&mut self, permit: Permit) {
        self.permit = Some(permit);
    }

    /// No backend works on it any more.
    pub fn leaves(&mut self) {
        if let (Some(permit), Some(sent)) = (self.permit.take(), self.sent_by()) {
            permit.unanswered(sent);
        }
    }

    /// Whether its place is another's, until its visitor has sent all of it.
    pub fn is_paused(&self) -> bool {
        self.permit.as_ref().is_some_and(Permit::is_paused)
    }

    /// While the backend waits for the visitor, its place is another's.
    pub fn counts_or_pauses(&self) {
        let (Some(permit), Some(upload)) = (&self.permit, &self.upload) else { return };
        if upload.ended().is_some() {
            permit.resumes();
        } else if upload.is_awaited() {
            permit.pauses();
        }
    }

    /// Where it goes at once, since its backend is known to be down: as it would if it couldn't be reached. Nothing
    /// where the other one is down as well, or nobody but its own backend will do.
    pub fn leaves_out(&mut self) -> Option<BackendIndex> {
        let &Place { route, position, .. } = self.place.as_ref()?;
        let model = &self.view.snapshot.config.routes[route];
        let is_down = |position: usize| {
            let BackendIndex(at) = model.backends[position];
            self.view.backends[at].is_down()
        };
        if !is_down(position) || is_down(model.fallback(position)?) {
            return None;
        }
        self.falls_back(Failure::Unhealthy)
    }

    /// The backend that it goes to; nothing before that is known.
    pub fn backend(&self) -> Option<BackendIndex> {
        let place = self.place.as_ref()?;
        Some(self.view.snapshot.config.routes[place.route].backends[place.position])
    }

    /// The counts of its route and backend, or of requests without.
    pub fn series(&self) -> &Series {
        match &self.place {
            Some(place) => &self.view.routes[place.route].series[place.position],
            None => &self.view.unrouted,
        }
    }

    /// It has a body.
    pub fn uploads(&mut self, state: Rc<UploadState>) {
        self.upload = Some(state);
    }

    /// How its body goes, where it has one.
    pub fn upload(&self) -> Option<&Rc<UploadState>> {
        self.upload.as_ref()
    }

    /// A new connection was made for it.
    pub fn connected(&mut self, took: Duration) {
        self.connect = Some(took);
    }

    /// The backend's head came.
    pub fn responded(&mut self, status: StatusCode) {
        self.status = status.as_u16();
        self.upload.iter().for_each(|upload| upload.converse());
        let took = self.started.elapsed();
        self.first_byte = Some(took);
        self.series().first_byte(took);
        // How long the rest takes is for the visitor to say, who may read as slowly as they like.
        match (self.permit.take(), self.sent_by()) {
            (Some(permit), Some(sent)) if status.is_server_error() => permit.unanswered(sent),
            (Some(permit), Some(sent)) => permit.answered(sent),
            _ => {}
        }
    }

    /// It is a tunnel from now on: no request in flight, and as one it took until now.
    pub fn switched(&mut self) {
        self.switched = Some(self.started.elapsed());
        self.leaves();
        let open = self.series().tunnel();
        if let Some(place) = &mut self.place {
            place._open = open;
        }
    }

    /// So many bytes have passed through the tunnel since the last time, in and out. Counted at once: a tunnel may be
    /// open for days.
    pub fn tunnelled(&mut self, bytes_in: u64, bytes_out: u64) {
        self.bytes_in += bytes_in;
        self.bytes_out += bytes_out;
        let series = self.series();
        series.bytes_in(bytes_in);
        series.bytes_out(bytes_out);
    }

    /// We ended it, for a reason that is no failure.
    pub fn was_ended(&mut self, reason: &'static str) {
        self.reason = Some(reason);
    }

    /// It is answered by us, as it should be.
    pub fn answered(&mut self, status: StatusCode) {
        self.status = status.as_u16();
    }

    /// It can't be served, and is answered by us.
    pub fn failed(&mut self, error: Error) {
        self.status = error.status().as_u16();
        self.reason = Some(error.reason());
        self.leaves();
        self.blame(error);
    }

    /// The response broke off after its head had gone.
    pub fn broke_off(&mut self, error: Error) {
        self.reason = Some(error.reason());
        self.blame(error);
    }

    /// What the visitor did wrong with the body: what comes of it then is no failure of the backend.
    pub fn upload_fault(&self) -> Option<Error> {
        Some(Error::Refused(match self.upload.as_ref()?.fault()? {
            UploadFault::TooLarge => Refusal::BodyTooLarge,
            UploadFault::Stalled => Refusal::BodyTimeout,
            UploadFault::Broken => self.downstream.link.body_refusal().unwrap_or(Refusal::BodyBroken),
        }))
    }

    /// So many bytes of the response's body have gone.
    pub fn sent(&mut self, bytes: u64) {
        self.bytes_out += bytes;
    }

    /// Its visitor was given so many bytes; how many of the backend's are read for it at a time, as fast as it is and
    /// as much memory as there is.
    pub fn takes(&self, bytes: u64) -> usize {
        let taken = self.downstream.link.takes(bytes);
        match self.downstream.worker.memory.level() {
            Level::Calm if taken >= FAST_READER => FAST_READ,
            Level::Calm => SLOW_READ,
            Level::Tight | Level::Short => SCARCE_READ,
        }
    }

    /// The response is whole.
    pub fn complete(&mut self) {
        self.whole = true;
    }

    /// Whether its visitor speaks HTTP/1.
    pub fn is_http1(&self) -> bool {
        self.version < Version::HTTP_2
    }

    /// Where the visitor is sent.
    pub fn moves_to(&mut self, location: Option<HeaderValue>) {
        self.location = location;
    }

    /// Where the visitor is sent, if anywhere.
    pub fn location(&self) -> Option<&HeaderValue> {
        self.location.as_ref()
    }

    /// Whether its visitor knows informational responses (RFC 9110 section 15.2).
    pub fn takes_interim(&self) -> bool {
        self.version == Version::HTTP_11
    }

    /// Whether an answer of ours is better JSON than a page.
    pub fn prefers_json(&self) -> bool {
        let accept = self.accept.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        let names = |kind: &[u8]| memchr::memmem::find(accept, kind).is_some();
        names(b"json") && !names(b"text/html")
    }

    /// When `timeouts.request` has passed.
    pub fn deadline(&self) -> Instant {
        self.started + self.view.snapshot.config.timeouts.request
    }

    fn blame(&self, error: Error) {
        match error {
            Error::Refused(refusal) => self.downstream.worker.metrics.rejected(refusal.reason()),
            Error::Shed(shed) => self.downstream.worker.metrics.rejected(shed.reason()),
            Error::Backend(failure) => self.series().failure(failure.reason()),
            Error::Moved | Error::Maintenance => {}
        }
    }

    /// When its last byte had gone, where it has a body; nothing while the visitor still sends.
    fn sent_by(&self) -> Option<Option<Instant>> {
        match &self.upload {
            Some(upload) => upload.ended().map(Some),
            None => Some(None),
        }
    }

    fn end(&mut self) {
        self.leaves();
        let now = Instant::now();
        let took = now.saturating_duration_since(self.started);
        if !self.whole && self.reason.is_none() {
            self.reason = Some(self.end_of_visitor());
        }
        let bytes_in = self.upload.as_ref().map_or(self.bytes_in, |upload| upload.bytes());
        let series = self.series();
        series.request(MethodLabel::from(&self.method), self.status);
        series.duration(self.switched.unwrap_or(took));
        if self.switched.is_none() {
            series.bytes_in(bytes_in);
            series.bytes_out(self.bytes_out);
        }
        self.downstream.link.end(now);
        let mut log = self.downstream.worker.log.borrow_mut();
        if log.enabled() {
            if log.is_empty() {
                self.downstream.worker.log_pending.notify_one();
            }
            log.push(&self.record(took, bytes_in));
        }
    }

    /// Why it ends without having failed: by whom it came.
    fn end_of_visitor(&self) -> &'static str {
        match (self.downstream.worker.has_ended(), self.downstream.link.is_stalled()) {
            (true, _) => "drained",
            (false, true) => Refusal::SlowReader.reason(),
            (false, false) => "visitor_gone",
        }
    }

    fn record(&self, took: Duration, bytes_in: u64) -> Record {
        let snapshot = &self.view.snapshot;
        let place = self.place.as_ref();
        Record {
            started_ms: self.started_ms,
            method: self.method.clone(),
            version: self.version,
            host: self.host.clone(),
            path: self.target.clone(),
            status: self.status,
            reason: self.reason,
            route: place.map(|place| snapshot.config.routes[place.route].name.clone()),
            backend: place.map(|place| snapshot.routes[place.route].names[place.position].clone()),
            chosen_by: place.map(|place| place.by.as_str()),
            client: self.client,
            request_id: Some(self.request_id.clone()),
            bytes_in,
            bytes_out: self.bytes_out,
            duration: took,
            first_byte: self.first_byte,
            connect: self.connect,
            attempts: u8::try_from(self.attempts).unwrap_or(u8::MAX),
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.end();
    }
}
