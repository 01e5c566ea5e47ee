//! One worker's HTTP/2 connections to one node, each shared by many requests (RFC 9113).
//!
//! A connection has a task of its own here: its streams belong to requests that come and go, and its flow control has
//! to go on while any of them waits. A piece is taken from the other side only as it is taken here, in both directions.

use crate::metrics::load::NodeLoad;
use crate::proxy::dial;
use crate::proxy::error::ConnectFailure;
use crate::proxy::files::NodeFile;
use crate::proxy::request_body::RequestBody;
use crate::proxy::server::PING_EVERY;
use crate::proxy::server::PING_PATIENCE;
use crate::proxy::server::STREAM_SEND_BYTES;
use crate::proxy::settings::PoolSettings;
use crate::proxy::upstream::Answer;
use crate::proxy::upstream::LocalNode;
use crate::proxy::upstream::Slot;
use crate::proxy::upstream_socket::SharedSocket;
use http::HeaderValue;
use http::Request;
use http::Uri;
use http::Version;
use http::header;
use http::uri::Authority;
use http::uri::Parts;
use http::uri::Scheme;
use hyper::client::conn::http2;
use hyper::client::conn::http2::SendRequest;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use std::cell::Cell;
use std::cell::RefCell;
use std::error;
use std::future::Future;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// The connections of one worker to one node.
#[derive(Default)]
pub(crate) struct SharedConnections {
    all: RefCell<Vec<Rc<SharedConnection>>>,
    /// Held by the one request that connects, so that those behind it find its connection.
    connecting: Mutex<()>,
    /// How often that was tried.
    attempts: Cell<u64>,
    /// Why it failed the last time, if it did.
    failure: Cell<Option<ConnectFailure>>,
    /// Whether none is opened until the next sweep, so that another worker gets what this one gave up.
    yields: Cell<bool>,
}

/// A connection that carries many requests.
struct SharedConnection {
    sender: SendRequest<RequestBody>,
    /// Streams now open.
    streams: Cell<usize>,
    /// How many there may be: the node's word, bounded by [`STREAMS_MAX`].
    max_streams: Cell<usize>,
    /// Whether it carried a request before.
    has_served: Cell<bool>,
    /// Whether it takes no more requests.
    is_over: Cell<bool>,
    /// Whether it takes none for the moment, so that it gets idle.
    rests: Cell<bool>,
    idle_since: Cell<Instant>,
    /// Whether it is counted as idle.
    is_idle: Cell<bool>,
    idle_max: Duration,
    /// Which answer of the resolver it was made by.
    generation: u64,
    is_encrypted: bool,
    socket: SharedSocket,
    node: Rc<LocalNode>,
}

/// The place of one request on a connection.
pub(crate) struct NodeStreamLease {
    place: Rc<StreamPlace>,
    is_reused: bool,
}

/// Counts one stream of a connection, until both the request and its body are done with: a response may be over while
/// the body is still on its way.
pub(crate) struct StreamPlace {
    connection: Rc<SharedConnection>,
}

impl SharedConnections {
    /// A place for one more request: on a connection that has one, else on a new one, unless there are
    /// `max-connections`. Who waited for another request to connect shares what came of it, success or failure, so that
    /// nobody waits for more than that and an attempt of its own.
    pub(crate) async fn lease(
        &self,
        node: &Rc<LocalNode>,
        settings: &PoolSettings,
        may_reuse: bool,
        file: Option<NodeFile>,
    ) -> Result<NodeStreamLease, ConnectFailure> {
        let found = || self.all.borrow().iter().find(|one| one.has_room()).map(NodeStreamLease::take);
        if let Some(lease) = may_reuse.then(found).flatten() {
            return Ok(lease);
        }
        let attempts = self.attempts.get();
        let _connecting = self.connecting.lock().await;
        let has_waited = self.attempts.get() != attempts;
        let failure = self.failure.get().filter(|_| has_waited);
        // What was connected in the meantime is as good as new.
        let newest = || self.all.borrow().last().filter(|one| one.has_room()).map(NodeStreamLease::take);
        let ready = match may_reuse {
            true => found(),
            false if has_waited && failure.is_none() => newest(),
            false => None,
        };
        match (ready, failure) {
            (Some(lease), _) => Ok(lease),
            (None, Some(failure)) => Err(failure),
            (None, None) => self.connect(node, settings, file).await,
        }
    }

    async fn connect(
        &self,
        node: &Rc<LocalNode>,
        settings: &PoolSettings,
        file: Option<NodeFile>,
    ) -> Result<NodeStreamLease, ConnectFailure> {
        if self.yields.get() {
            return Err(ConnectFailure::Limit);
        }
        let connected = connect(node, settings, file).await;
        // Nobody waits for what fails at once.
        if !matches!(connected, Err(ConnectFailure::Files | ConnectFailure::Limit)) {
            self.attempts.set(self.attempts.get() + 1);
            self.failure.set(connected.as_ref().err().copied());
        }
        let connection = connected?;
        let lease = NodeStreamLease::take(&connection);
        self.all.borrow_mut().push(connection);
        Ok(lease)
    }

    /// Whether there is no connection that takes requests.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.borrow().is_empty()
    }

    /// Lets go of connections that are over, lead elsewhere by now or were idle for too long, or of all of them: each
    /// ends with its last stream. Where it `gives_way` to other workers, it lets go of those that are idle. If none is
    /// and requests wait for one, the one with the fewest streams rests until the next sweep, but not twice in a row:
    /// most get idle so, and one whose streams last for hours does not lock its own worker out.
    pub(crate) fn sweep(&self, load: &NodeLoad, is_leaving: bool, gives_way: bool) {
        let (now, mut all) = (Instant::now(), self.all.borrow_mut());
        all.retain(|one| !is_leaving && one.is_of_use(now));
        let has_rested = self.yields.replace(false);
        all.iter().for_each(|one| one.rests.set(false));
        if !gives_way {
            return;
        }
        let idle = all.extract_if(.., |one| one.streams.get() == 0).count();
        let quietest = all.iter().min_by_key(|one| one.streams.get());
        let rests = quietest.filter(|_| idle == 0 && !has_rested && load.is_queued());
        rests.into_iter().for_each(|one| one.rests.set(true));
        self.yields.set(load.is_queued() && (idle > 0 || rests.is_some()));
    }

    /// Lets go of a connection for another worker, which gets it unless nobody waits for one any more.
    fn give(&self, connection: &Rc<SharedConnection>) {
        self.all.borrow_mut().retain(|one| !Rc::ptr_eq(one, connection));
        self.yields.set(connection.node.upstream.load.is_queued());
    }

    /// Until when the connection without streams would be kept that has been so for longest, if there is any.
    pub(super) fn idle_until(&self) -> Option<Instant> {
        self.longest_idle().map(|one| one.idle_until())
    }

    /// Closes that one at once.
    pub(super) fn close_one_idle(&self) {
        self.longest_idle().into_iter().for_each(|one| one.close());
    }

    fn longest_idle(&self) -> Option<Rc<SharedConnection>> {
        let all = self.all.borrow();
        all.iter().filter(|one| one.is_idle.get()).min_by_key(|one| one.idle_until()).cloned()
    }
}

impl SharedConnection {
    fn is_of_use(&self, now: Instant) -> bool {
        let is_idle = self.streams.get() == 0 && now.saturating_duration_since(self.idle_since.get()) > self.idle_max;
        let leads_to_node = self.generation == self.node.upstream.resolved.generation();
        !self.is_over.get() && !self.sender.is_closed() && leads_to_node && !is_idle
    }

    fn has_room(&self) -> bool {
        let has_room = self.streams.get() < self.max_streams.get() && !self.rests.get();
        has_room && self.is_of_use(self.idle_since.get())
    }

    fn idle_until(&self) -> Instant {
        self.idle_since.get() + self.idle_max
    }

    /// Closes it now, with all its streams.
    fn close(&self) {
        self.is_over.set(true);
        self.count_idle(false);
        self.socket.close();
    }

    fn count_idle(&self, is_idle: bool) {
        if self.is_idle.replace(is_idle) != is_idle {
            self.node.stats().idle_connections.add(if is_idle { 1 } else { -1 });
        }
    }
}

impl Drop for SharedConnection {
    fn drop(&mut self) {
        self.count_idle(false);
    }
}

impl NodeStreamLease {
    fn take(connection: &Rc<SharedConnection>) -> NodeStreamLease {
        connection.streams.set(connection.streams.get() + 1);
        connection.count_idle(false);
        let is_reused = connection.has_served.get();
        NodeStreamLease { place: Rc::new(StreamPlace { connection: Rc::clone(connection) }), is_reused }
    }

    /// Sends one request. An error holds the request if nothing of it was sent.
    pub(crate) fn send(&self, mut request: Request<RequestBody>) -> impl Future<Output = Answer> + use<> {
        let connection = Rc::clone(&self.place.connection);
        to_http2(&mut request, &connection);
        request.body_mut().take_place(&self.place);
        let answer = connection.sender.clone().try_send_request(request);
        async move {
            let answer = answer.await;
            connection.has_served.set(true);
            if answer.as_ref().is_err_and(|error| Refusal::of(error.error()) == Some(Refusal::Goodbye)) {
                connection.is_over.set(true);
            }
            answer
        }
    }

    /// Whether the connection carried a request before.
    pub(crate) fn is_reused(&self) -> bool {
        self.is_reused
    }

    /// The node that it leads to.
    pub(crate) fn node_name(&self) -> &str {
        &self.place.connection.node.upstream.name
    }

    /// Whether it was cut because the time of its node was over.
    pub(crate) fn is_cut(&self) -> bool {
        self.place.connection.socket.is_cut()
    }
}

impl Drop for StreamPlace {
    fn drop(&mut self) {
        let (connection, node) = (&self.connection, &self.connection.node);
        connection.streams.set(connection.streams.get() - 1);
        connection.idle_since.set(Instant::now());
        if connection.streams.get() > 0 {
            return;
        }
        if node.gives_way() {
            node.shared.give(connection);
            connection.close();
        } else {
            connection.count_idle(!connection.is_over.get());
        }
    }
}

/// How a node says that it did not look at a request, which is then as good as unsent (RFC 9113 section 8.7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It takes no more requests on this connection: GOAWAY, whose last stream came before that of the request. h2
    /// gives that error to no other stream.
    Goodbye,
    /// It does not take this one: REFUSED_STREAM.
    Stream,
}

impl Refusal {
    /// What a node has said, if that is what an error comes of.
    pub(crate) fn of(error: &hyper::Error) -> Option<Refusal> {
        let mut cause: Option<&(dyn error::Error + 'static)> = Some(error);
        while let Some(error) = cause {
            if let Some(error) = error.downcast_ref::<h2::Error>() {
                return match error.reason() {
                    _ if !error.is_remote() => None,
                    _ if error.is_go_away() => Some(Refusal::Goodbye),
                    Some(h2::Reason::REFUSED_STREAM) => Some(Refusal::Stream),
                    _ => None,
                };
            }
            cause = error.source();
        }
        None
    }
}

async fn connect(
    node: &Rc<LocalNode>,
    settings: &PoolSettings,
    file: Option<NodeFile>,
) -> Result<Rc<SharedConnection>, ConnectFailure> {
    let slot = Slot::take(node, settings.load.max_connections, file)?;
    let generation = node.upstream.resolved.generation();
    let stream = dial::open_within(&node.upstream, settings.timeouts.connect).await?;
    let is_encrypted = dial::is_encrypted(&stream);
    let socket = SharedSocket::new(stream, slot);
    let (sender, mut driver) =
        http2_settings().handshake(TokioIo::new(socket.clone())).await.map_err(|_| ConnectFailure::Refused)?;
    let connection = Rc::new(SharedConnection {
        sender,
        streams: Cell::new(0),
        max_streams: Cell::new(STREAMS_MAX as usize),
        has_served: Cell::new(false),
        is_over: Cell::new(false),
        rests: Cell::new(false),
        idle_since: Cell::new(Instant::now()),
        is_idle: Cell::new(false),
        idle_max: settings.timeouts.idle_connection,
        generation,
        is_encrypted,
        socket,
        node: Rc::clone(node),
    });
    let driven = Rc::downgrade(&connection);
    // It takes requests to the connection, which has a task of its own and outlives it until its last stream ends.
    tokio::task::spawn_local(async move {
        poll_fn(|cx| {
            let polled = Pin::new(&mut driver).poll(cx);
            if let Some(connection) = driven.upgrade() {
                connection.max_streams.set(driver.current_max_send_streams().min(STREAMS_MAX as usize));
                connection.is_over.set(connection.is_over.get() || polled.is_ready());
            }
            polled.map(drop)
        })
        .await;
    });
    Ok(connection)
}

fn http2_settings() -> http2::Builder<LocalExecutor> {
    let mut builder = http2::Builder::new(LocalExecutor);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_send_buf_size(STREAM_SEND_BYTES)
        .max_header_list_size(HEAD_BYTES_MAX)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE);
    builder
}

/// Rewrites the head of an HTTP/1.1 request: scheme and authority stand before the path, and nothing is said of the
/// connection (RFC 9113 sections 8.2.2 and 8.3.1).
fn to_http2(request: &mut Request<RequestBody>, connection: &SharedConnection) {
    let authority = authority_of(request, connection);
    for name in [header::CONNECTION, header::HOST, header::TRANSFER_ENCODING, header::UPGRADE] {
        request.headers_mut().remove(name);
    }
    *request.version_mut() = Version::HTTP_2;
    let mut parts = Parts::default();
    parts.scheme = Some(if connection.is_encrypted { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(authority);
    parts.path_and_query = request.uri().path_and_query().cloned();
    if let Ok(uri) = Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}

/// What the request is for, which its target says when it comes back from another connection unsent; of a client that
/// did not say, the node itself. Every other host that was let in is an authority (`inbound`).
fn authority_of(request: &Request<RequestBody>, connection: &SharedConnection) -> Authority {
    let host = request.headers().get(header::HOST).map(HeaderValue::as_bytes);
    let named = host.and_then(|host| Authority::try_from(host).ok());
    let named = named.or_else(|| request.uri().authority().cloned());
    let address = || Authority::try_from(connection.node.upstream.address.to_string()).ok();
    named.or_else(address).unwrap_or(Authority::from_static("localhost"))
}

/// Runs hyper's tasks on this thread.
#[derive(Clone, Copy)]
pub(crate) struct LocalExecutor;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// Streams open at once on one connection, whatever more the node allows: one connection is one core's work there.
const STREAMS_MAX: u32 = 100;
/// What a node may send ahead of its client on one stream.
const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// The same on one connection: what all its streams may, so that no client that takes nothing holds up another one.
const CONNECTION_WINDOW_BYTES: u32 = STREAMS_MAX * STREAM_WINDOW_BYTES;
/// A response head, as long as one of HTTP/1.1 may be.
const HEAD_BYTES_MAX: u32 = 256 << 10;
