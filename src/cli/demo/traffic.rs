//! The demo's clients: steady traffic with hot keys and cold ones, and surveys that send every key once.

use crate::cli::demo::KEYS;
use crate::cli::demo::SURVEY_HEADER;
use crate::proxy::headers::X_RINGWAY_DECISION;
use crate::simulation::Zipf;
use bytes::Bytes;
use http::Request;
use http::Response;
use http_body_util::BodyExt;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio::time::MissedTickBehavior;

/// Requests of the steady traffic in a second: enough for live figures, and little for any machine.
pub(super) const REQUESTS_PER_SECOND: u32 = 1_000;

/// One of so many requests of the steady traffic has no key.
pub(super) const KEYLESS_ONE_IN: u32 = 50;

/// The exponent of Zipf's law by which keys are drawn: that of the YCSB benchmark (Cooper et al. 2010), from Gray et
/// al. 1994. Requests for web pages were found to follow 0.64 to 0.83 (Breslau et al. 1999).
const EXPONENT: f64 = 0.99;

/// Connections of the steady traffic.
const STEADY_CONNECTIONS: u32 = 10;

/// Connections that make a survey.
const SURVEY_CONNECTIONS: usize = 16;

/// What the clients have experienced.
#[derive(Default)]
pub(super) struct Tally {
    /// Requests that were answered with success.
    pub(super) answered: Cell<u64>,
    /// All others.
    pub(super) failed: Cell<u64>,
    /// Requests that a later candidate answered, because the owner of their key could not.
    pub(super) failovers: Cell<u64>,
    /// The longest that a request took, since somebody set this to zero.
    pub(super) slowest: Cell<Duration>,
}

/// The clients.
pub(super) struct Traffic {
    proxy: SocketAddr,
    pub(super) tally: Rc<Tally>,
    steady: JoinSet<()>,
    is_over: Rc<Cell<bool>>,
}

impl Traffic {
    /// Starts the steady traffic.
    pub(super) fn start(proxy: SocketAddr) -> Traffic {
        let mut traffic = Traffic { proxy, tally: Rc::default(), steady: JoinSet::new(), is_over: Rc::default() };
        let zipf = Rc::new(law());
        for number in 0..STEADY_CONNECTIONS {
            let (client, zipf, is_over) = (traffic.client(), Rc::clone(&zipf), Rc::clone(&traffic.is_over));
            traffic.steady.spawn_local(client.send_steadily(number, zipf, is_over));
        }
        traffic
    }

    /// Ends the steady traffic, once everything is answered.
    pub(super) async fn stop(&mut self) {
        self.is_over.set(true);
        while self.steady.join_next().await.is_some() {}
    }

    /// Sends every key once.
    pub(super) async fn survey(&self) {
        let mut clients = JoinSet::new();
        for first in 0..SURVEY_CONNECTIONS {
            let mut client = self.client();
            clients.spawn_local(async move {
                for key in (first..KEYS).step_by(SURVEY_CONNECTIONS) {
                    client.send(Some(key), true).await;
                }
            });
        }
        while clients.join_next().await.is_some() {}
    }

    fn client(&self) -> Client {
        Client { proxy: self.proxy, tally: Rc::clone(&self.tally), kept: None }
    }
}

/// What part of the requests with a key the hottest one gets, 0 to 1.
pub(super) fn hottest() -> f64 {
    law().first()
}

/// A key as the proxy sees it.
pub(super) fn name(key: usize) -> String {
    format!("room-{key}")
}

fn law() -> Zipf {
    Zipf::new(EXPONENT, KEYS)
}

/// One client with one connection.
struct Client {
    proxy: SocketAddr,
    tally: Rc<Tally>,
    kept: Option<SendRequest<Empty<Bytes>>>,
}

impl Client {
    /// Sends at its pace until it is over; behind its time it does not hurry.
    async fn send_steadily(mut self, number: u32, zipf: Rc<Zipf>, is_over: Rc<Cell<bool>>) {
        let pause = Duration::from_secs(1) * STEADY_CONNECTIONS / REQUESTS_PER_SECOND;
        let mut pace = tokio::time::interval_at(Instant::now() + pause * number / STEADY_CONNECTIONS, pause);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !is_over.get() {
            pace.tick().await;
            let has_key = fastrand::u32(..KEYLESS_ONE_IN) > 0;
            self.send(has_key.then(|| zipf.rank(fastrand::f64())), false).await;
        }
    }

    /// Sends one request and counts what becomes of it.
    async fn send(&mut self, key: Option<usize>, is_survey: bool) {
        let tally = Rc::clone(&self.tally);
        let begun = Instant::now();
        let response = self.get(key, is_survey).await.filter(|response| response.status().is_success());
        tally.slowest.set(tally.slowest.get().max(begun.elapsed()));
        let cell = if response.is_some() { &tally.answered } else { &tally.failed };
        cell.set(cell.get() + 1);
        let decision = response.as_ref().and_then(|response| response.headers().get(X_RINGWAY_DECISION));
        let is_failover = decision.is_some_and(|decision| decision == "failover");
        tally.failovers.set(tally.failovers.get() + u64::from(is_failover));
    }

    /// The response to a request over the kept connection, or over a new one; none when it breaks.
    async fn get(&mut self, key: Option<usize>, is_survey: bool) -> Option<Response<Bytes>> {
        let request = request(key, is_survey)?;
        let mut connection = match self.kept.take() {
            Some(connection) => connection,
            None => connect(self.proxy).await?,
        };
        connection.ready().await.ok()?;
        let response = whole(connection.send_request(request).await.ok()?).await?;
        self.kept = Some(connection);
        Some(response)
    }
}

fn request(key: Option<usize>, is_survey: bool) -> Option<Request<Empty<Bytes>>> {
    let path = key.map_or_else(|| "/".to_owned(), |key| format!("/{}", name(key)));
    let mut request = Request::get(path).header("host", "demo");
    if let Some(key) = key {
        request = request.header("x-room", name(key));
    }
    if let Some(key) = key.filter(|_| is_survey) {
        request = request.header(SURVEY_HEADER, key);
    }
    request.body(Empty::new()).ok()
}

async fn whole(response: Response<Incoming>) -> Option<Response<Bytes>> {
    let (head, body) = response.into_parts();
    Some(Response::from_parts(head, body.collect().await.ok()?.to_bytes()))
}

async fn connect(proxy: SocketAddr) -> Option<SendRequest<Empty<Bytes>>> {
    let stream = TcpStream::connect(proxy).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    // How it ends shows in the next request.
    tokio::task::spawn_local(async move { connection.await.unwrap_or_default() });
    Some(sender)
}
