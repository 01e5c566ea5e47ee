//! Serves one client connection: finds out its protocol, then lets hyper speak it under the configured limits.

use crate::metrics::limit::Limit;
use crate::proxy::access_log::Entry;
use crate::proxy::alarm::Alarm;
use crate::proxy::client::ClientState;
use crate::proxy::client::ClientStream;
use crate::proxy::client::Order;
use crate::proxy::entrance;
use crate::proxy::entrance::Admitted;
use crate::proxy::exchange::Exchange;
use crate::proxy::forward;
use crate::proxy::inbound::Host;
use crate::proxy::limits::Limits;
use crate::proxy::linger;
use crate::proxy::linger::Linger;
use crate::proxy::pace::Pace;
use crate::proxy::relay::Relay;
use crate::proxy::spread::Place;
use crate::proxy::streams::StreamExecutor;
use crate::proxy::transport::Transport;
use crate::proxy::tunnel::Tunnel;
use crate::proxy::via::Via;
use crate::proxy::worker::Worker;
use http::HeaderValue;
use http::StatusCode;
use hyper::server::conn::http1;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::rt::TokioTimer;
use std::cell::Cell;
use std::cell::RefCell;
use std::future::Future;
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;

/// Bytes of a body that may wait to be written on one stream of HTTP/2, besides a piece that waits for room there: what
/// is held for each stream of a peer that reads nothing.
pub(crate) const STREAM_SEND_BYTES: usize = 64 << 10;
/// A peer of HTTP/2 that leaves a ping unanswered for this long is gone.
pub(crate) const PING_EVERY: Duration = Duration::from_secs(20);
pub(crate) const PING_PATIENCE: Duration = Duration::from_secs(20);

/// Who is at the other end of a connection.
pub(crate) struct Client {
    /// The address the connection comes from.
    pub(crate) peer: IpAddr,
    /// The same in its canonical form, for `X-Forwarded-For`.
    pub(crate) forwarded_for: HeaderValue,
    /// The state of the connection.
    pub(crate) state: Rc<ClientState>,
    /// The host of the last request here, or before the first one on the worker.
    pub(crate) last_host: RefCell<Option<Rc<Host>>>,
    /// What the fields of the last response over HTTP/2 said.
    pub(crate) last_values: RefCell<Vec<HeaderValue>>,
    /// The timer of requests to nodes, while none has it.
    pub(crate) alarm: Cell<Alarm>,
    /// Who has the connection once hyper has written the head of the answer.
    onward: Cell<Option<Onward>>,
    worker: Rc<Worker>,
}

impl Client {
    /// How this process names itself.
    pub(crate) fn via(&self) -> &Via {
        &self.worker.via
    }

    /// Who serves it.
    pub(crate) fn worker(&self) -> &Worker {
        &self.worker
    }

    fn new(worker: &Rc<Worker>, peer: IpAddr, state: &Rc<ClientState>) -> Client {
        let address = HeaderValue::from_bytes(&address_text(peer.to_canonical()));
        let (last_host, alarm) = worker.spares.take();
        Client {
            peer,
            forwarded_for: address.expect("addresses are visible ASCII"),
            state: Rc::clone(state),
            last_host: RefCell::new(last_host),
            last_values: RefCell::default(),
            alarm: Cell::new(alarm),
            onward: Cell::default(),
            worker: Rc::clone(worker),
        }
    }

    /// Turns the connection into a tunnel once its answer is written.
    pub(crate) fn switch(&self, mut exchange: Box<Exchange>) {
        self.onward
            .set(exchange.switch().map(|connection| Onward::Tunnel(Box::new(Tunnel::new(connection, exchange)))));
    }

    /// Has the rest of the response relayed once its head is written.
    pub(crate) fn relay(&self, relay: Relay) {
        self.state.expect_relay();
        self.onward.set(Some(Onward::Relay(Box::new(relay))));
    }
}

/// Drops what a client has of its own exchange, which has the client in turn, so that neither is ever held for nobody.
struct Parting<'a>(&'a Client);

impl Drop for Parting<'_> {
    fn drop(&mut self) {
        self.0.onward.take();
    }
}

/// What a connection is used for behind the head of an answer. In boxes, because few connections come to that and all
/// would be as large.
enum Onward {
    /// The other protocol that the node has switched to.
    Tunnel(Box<Tunnel>),
    /// A long body.
    Relay(Box<Relay>),
}

impl Drop for Client {
    fn drop(&mut self) {
        self.worker.spares.leave(self.last_host.take(), self.alarm.take());
    }
}

/// What clients and requests leave to those that come later: where every request has a connection of its own, checking
/// its host and setting a timer would be done for each, and so would setting a timer where requests share a connection.
#[derive(Default)]
pub(crate) struct Spares {
    last_host: RefCell<Option<Rc<Host>>>,
    alarms: RefCell<Vec<Alarm>>,
}

/// How many timers wait for a client; each may keep the memory of a task that has ended.
const SPARE_ALARMS_MAX: usize = 64;

impl Spares {
    /// The host that the last client asked for, and a timer.
    fn take(&self) -> (Option<Rc<Host>>, Alarm) {
        (self.last_host.borrow().clone(), self.take_alarm())
    }

    /// A timer, which is set for whatever deadline if one was left.
    pub(crate) fn take_alarm(&self) -> Alarm {
        self.alarms.borrow_mut().pop().unwrap_or_default()
    }

    fn leave(&self, last_host: Option<Rc<Host>>, alarm: Alarm) {
        if last_host.is_some() {
            self.last_host.replace(last_host);
        }
        self.leave_alarm(alarm);
    }

    /// Keeps a timer for who needs one next.
    pub(crate) fn leave_alarm(&self, alarm: Alarm) {
        if alarm.is_set() && self.alarms.borrow().len() < SPARE_ALARMS_MAX {
            self.alarms.borrow_mut().push(alarm);
        }
    }
}

/// An address as the standard library writes it. Its formatter takes ten times as long for IPv4, which is noticed where
/// every request comes on a new connection.
fn address_text(address: IpAddr) -> Vec<u8> {
    let IpAddr::V4(address) = address else {
        return address.to_string().into_bytes();
    };
    let mut text = Vec::with_capacity("255.255.255.255.".len());
    for octet in address.octets() {
        if octet >= 100 {
            text.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            text.push(b'0' + octet / 10 % 10);
        }
        text.extend([b'0' + octet % 10, b'.']);
    }
    text.pop();
    text
}

/// A connection, and where it came from.
pub(crate) struct Arrival<S> {
    pub(crate) stream: S,
    pub(crate) peer: IpAddr,
    /// Which of the addresses in `listen` it came to.
    pub(crate) listener: usize,
}

/// Serves a connection in a task of its own on this worker, where it has its `place`.
pub(crate) fn spawn(worker: &Rc<Worker>, arrival: Arrival<TcpStream>, place: Place) {
    let worker = Rc::clone(worker);
    let guard = worker.open(place);
    // In a box, because each future that hands it on has room for it twice.
    let arrival = Box::new(arrival);
    tokio::task::spawn_local(async move {
        // Guards, because a panic costs one client but not the worker.
        let _open = guard;
        let state = ClientState::new();
        let _registered = worker.register(&state);
        if let Err(error) = serve(&worker, arrival, &state).await {
            tracing::debug!(%error, "client connection ended");
        }
    });
}

/// Anything that ends a connection early; only debug logs care.
type ServeError = Box<dyn std::error::Error + Send + Sync>;

async fn serve(
    worker: &Rc<Worker>,
    arrival: Box<Arrival<TcpStream>>,
    state: &Rc<ClientState>,
) -> Result<(), ServeError> {
    poll_fn(|cx| state.remember(cx)).await;
    let is_plain = worker.table().table.server.listen[arrival.listener].is_plain();
    let admitted = if is_plain {
        Admitted { transport: Transport::Plain(arrival.stream), peer: arrival.peer, counted: None }
    } else {
        let admission = pin!(entrance::admit(worker, arrival, state));
        match obey(worker, state, admission, |order, _| order < Order::Finish).await.flatten() {
            Some(admitted) => admitted,
            None => return Ok(()),
        }
    };
    let Admitted { transport, peer, counted: _counted } = admitted;
    let mut stream = ClientStream::new(transport, state, &worker.table().table.server.limits);
    let sniffed = obey(worker, state, pin!(stream.speaks_http2()), |order, _| order < Order::Finish).await;
    let Some(is_http2) = sniffed.transpose()? else {
        return Ok(());
    };
    // What speaks HTTP is in a box, so that an idle connection is without it.
    if is_http2 {
        return Box::pin(serve_http2(worker, Rc::new(Client::new(worker, peer, state)), stream)).await;
    }
    loop {
        if !gather(worker, peer, state, &mut stream).await? {
            return Ok(());
        }
        state.rested();
        let client = Rc::new(Client::new(worker, peer, state));
        let (onward, left) = match Box::pin(serve_http1(worker, client, stream)).await? {
            Http1::Over => return Ok(()),
            Http1::Resting(stream) => (None, stream),
            Http1::Left(onward, stream) => (Some(onward), stream),
        };
        stream = left;
        match onward {
            None => {}
            Some(Onward::Tunnel(tunnel)) => {
                Box::pin(tunnel.join(stream)).await;
                return Ok(());
            }
            Some(Onward::Relay(relay)) => {
                let mut relaying = Box::pin(relay.run(&mut stream));
                let goes_on = obey(worker, state, relaying.as_mut(), |order, _| order < Order::Abort).await;
                drop(relaying);
                if goes_on != Some(true) {
                    return Ok(());
                }
                continue;
            }
        }
        worker.stats().resting_connections.add(1);
        let woken = obey(worker, state, pin!(stream.readable()), |order, _| order < Order::Finish).await;
        worker.stats().resting_connections.add(-1);
        if woken.transpose()?.is_none() {
            return Ok(());
        }
    }
}

/// Reads as much of a request of HTTP/1 as is read before hyper is there. Returns whether the connection goes on.
async fn gather(
    worker: &Rc<Worker>,
    peer: IpAddr,
    state: &Rc<ClientState>,
    stream: &mut ClientStream,
) -> Result<bool, ServeError> {
    // Whoever is within a head when the process closes may end it.
    let may_end = |order| order < Order::Finish || (order == Order::Finish && !state.is_idle());
    let max_head = worker.table().table.server.limits.max_header_bytes;
    let gathered = obey(worker, state, pin!(stream.gather_head(max_head)), |order, _| may_end(order)).await;
    if gathered.transpose()?.is_none() {
        return Ok(false);
    }
    if !stream.awaits_body() {
        return Ok(true);
    }
    if !worker.awaited_bodies.are_many() {
        state.await_body(worker.awaited_bodies.count());
        return Ok(true);
    }
    let pace = {
        let limits = &worker.table().table.server.limits;
        Pace::new(limits.body_timeout, limits.min_body_rate)
    };
    // In a box, because few connections come to that.
    let mut gathering = Box::pin(stream.gather_body(pace));
    let gathered = obey(worker, state, gathering.as_mut(), |order, _| may_end(order)).await;
    if matches!(gathered, Some(Ok(false) | Err(_))) {
        note_unseen(worker, peer, StatusCode::BAD_REQUEST);
    }
    Ok(matches!(gathered, Some(Ok(true))))
}

/// Why HTTP/1 is no longer spoken on a connection.
enum Http1 {
    Over,
    Resting(ClientStream),
    Left(Onward, ClientStream),
}

async fn serve_http1(worker: &Rc<Worker>, client: Rc<Client>, stream: ClientStream) -> Result<Http1, ServeError> {
    let (state, limits) = (Rc::clone(&client.state), worker.table().table.server.limits.clone());
    let _parting = Parting(&client);
    let service = service_fn(|request| forward::serve(worker, &client, request));
    let mut connection = http1_settings(&limits).serve_connection(TokioIo::new(stream), service);
    let follow = |order, connection: Pin<&mut http1::Connection<_, _>>| match order {
        Order::Serve => true,
        Order::Rest if state.is_idle() => false,
        Order::Rest => {
            // A request has come since the connection was told to.
            state.rested();
            true
        }
        Order::Finish => {
            connection.graceful_shutdown();
            true
        }
        Order::Abort => false,
    };
    let ended = obey(worker, &state, Pin::new(&mut connection), follow).await.transpose();
    let onward = client.onward.take();
    let is_relaying = state.is_relaying();
    state.relayed();
    note_limit(worker, &state);
    let refusal = ended.as_ref().err().filter(|error| error.is_parse());
    if let Some(error) = refusal {
        note_refusal(worker, &client, error);
    }
    // One that was told to go at once is not waited for.
    if refusal.is_some() || (matches!(ended, Ok(Some(()))) && state.has_unread()) {
        let mut stream = connection.into_parts().io.into_inner();
        Box::pin(linger::close(&mut stream, Linger::of(&limits))).await;
        return ended.map(|_| Http1::Over).map_err(ServeError::from);
    }
    let is_over = ended?.is_some();
    let onward = onward.filter(|onward| match onward {
        Onward::Tunnel(_) => is_over,
        Onward::Relay(_) => is_relaying && !is_over,
    });
    if onward.is_none() && (is_over || !state.is_idle()) {
        return Ok(Http1::Over);
    }
    let parts = connection.into_parts();
    let mut stream = parts.io.into_inner();
    stream.unread(parts.read_buf);
    Ok(match onward {
        Some(onward) => Http1::Left(onward, stream),
        None => Http1::Resting(stream),
    })
}

/// Counts the limit that has ended a connection below hyper, if one has.
fn note_limit(worker: &Worker, state: &ClientState) {
    if let Some(limit) = state.struck.take() {
        worker.stats().limit_hits.hit(limit);
    }
}

/// Counts and logs a request whose head hyper refused, so that this proxy has seen nothing of it.
fn note_refusal(worker: &Worker, client: &Client, error: &hyper::Error) {
    let status = if error.is_parse_too_large() {
        worker.stats().limit_hits.hit(Limit::MaxHeaderBytes);
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE
    } else {
        StatusCode::BAD_REQUEST
    };
    note_unseen(worker, client.peer, status);
}

/// Counts and logs a request that never came as far as being one.
fn note_unseen(worker: &Worker, peer: IpAddr, status: StatusCode) {
    worker.stats().requests_without_pool.count(status.as_u16());
    if worker.logs_access() {
        worker.write_log(&Entry { status: status.as_u16(), ..Entry::now(peer) });
    }
}

async fn serve_http2(worker: &Rc<Worker>, client: Rc<Client>, stream: ClientStream) -> Result<(), ServeError> {
    let (state, limits) = (Rc::clone(&client.state), worker.table().table.server.limits.clone());
    let executor = StreamExecutor::new(worker, &state, limits.write_timeout);
    // From the first frame on, which may come before there is a request.
    state.sent_ahead(worker);
    // In a box, because hyper moves it several times until the stream has a task of its own.
    let service = service_fn(|request| Box::pin(forward::serve(worker, &client, request)));
    let connection = pin!(http2_settings(&limits, executor).serve_connection(TokioIo::new(stream), service));
    let follow = |order, connection: Pin<&mut http2::Connection<_, _, _>>| match order {
        Order::Serve | Order::Rest => true,
        Order::Finish => {
            connection.graceful_shutdown();
            true
        }
        Order::Abort => false,
    };
    let ended = obey(worker, &state, connection, follow).await.transpose();
    note_limit(worker, &state);
    ended?;
    Ok(())
}

fn http1_settings(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.max_headers(limits.max_headers).max_buf_size(limits.max_header_bytes).half_close(false);
    builder
}

fn http2_settings(limits: &Limits, executor: StreamExecutor) -> http2::Builder<StreamExecutor> {
    let mut builder = http2::Builder::new(executor);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_streams)
        .max_header_list_size(limits.max_header_list_bytes)
        .initial_stream_window_size(limits.stream_window)
        .initial_connection_window_size(limits.connection_window)
        // In all that the connection lives: a client that makes no mistakes has none.
        .max_local_error_reset_streams(Some(limits.max_resets as usize))
        .max_send_buf_size(STREAM_SEND_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_PATIENCE);
    builder
}

/// Drives a connection that follows the orders given to its client: `follow` is told of each stricter one, and answers
/// whether the connection goes on. `None` when it does not. What has come before an order is seen before it is told, so
/// that a request on its way is answered. Once a response is to be relayed, whatever else speaks is done.
async fn obey<C: Future>(
    worker: &Worker,
    state: &ClientState,
    mut connection: Pin<&mut C>,
    follow: impl Fn(Order, Pin<&mut C>) -> bool,
) -> Option<C::Output> {
    let mut followed = Order::Serve;
    poll_fn(|cx| {
        let polled = connection.as_mut().poll(cx);
        if polled.is_ready() {
            return polled.map(Some);
        }
        state.bytes_seen();
        if state.is_relaying() {
            return Poll::Ready(None);
        }
        let order = state.order_in(worker.phase());
        if order <= followed {
            return Poll::Pending;
        }
        if !follow(order, connection.as_mut()) {
            return Poll::Ready(None);
        }
        followed = state.order_in(worker.phase());
        connection.as_mut().poll(cx).map(Some)
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_client_finds_what_others_left_and_no_more_timers_wait_than_may() {
        let spares = Spares::default();
        for _ in 0..SPARE_ALARMS_MAX + 2 {
            let mut alarm = Alarm::default();
            let set = poll_fn(|cx| Poll::Ready(alarm.poll(Instant::now() + PING_EVERY, cx))).await;
            assert!(set.is_pending());
            spares.leave(None, alarm);
        }
        spares.leave(None, Alarm::default());
        let taken = (0..SPARE_ALARMS_MAX).filter(|_| spares.take().1.is_set()).count();
        assert_eq!(taken, SPARE_ALARMS_MAX);
        assert!(!spares.take().1.is_set(), "and the next one sets its own");
    }

    #[test]
    fn addresses_are_written_as_the_standard_library_does() {
        let of_every_octet = (0..=255).map(|octet| IpAddr::from([octet, 255 - octet, 0, octet / 2]));
        let of_ipv6 = ["::1", "2001:db8::ff00:42:8329"].map(|address| address.parse().unwrap());
        for address in of_every_octet.chain(of_ipv6) {
            assert_eq!(address_text(address), address.to_string().into_bytes(), "{address}");
        }
    }
}
