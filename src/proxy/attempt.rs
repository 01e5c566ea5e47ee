//! The attempts at one request: sends it to the nodes that are picked, until one answers or it may not be sent again.

use crate::cluster::health::LiveFailure;
use crate::cluster::health::settings::StatusRange;
use crate::proxy::admission;
use crate::proxy::admission::Queued;
use crate::proxy::admission::Waiting;
use crate::proxy::error::ConnectFailure;
use crate::proxy::error::ProxyError;
use crate::proxy::error::RetryReason;
use crate::proxy::exchange::Exchange;
use crate::proxy::files::NodeFile;
use crate::proxy::lane::Lane;
use crate::proxy::pick;
use crate::proxy::pick::Chosen;
use crate::proxy::pick::Order;
use crate::proxy::pick::Pick;
use crate::proxy::request_body::ClientBody;
use crate::proxy::request_body::RequestBody;
use crate::proxy::request_body::Upload;
use crate::proxy::settings::PoolSettings;
use crate::proxy::settings::Protocol;
use crate::proxy::table::PoolTable;
use crate::proxy::upstream::LocalNode;
use crate::proxy::upstream_h2::Refusal;
use crate::proxy::worker::Worker;
use crate::routing::attempts::Attempts;
use crate::routing::attempts::Failure;
use crate::routing::attempts::Next;
use crate::routing::attempts::Situation;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http::Uri;
use http::header;
use http::uri::PathAndQuery;
use http_body::Body;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;
use tokio::time::Instant;

/// A request that is bound for a node, and is sent as often as it must and may be.
pub(crate) struct Outbound {
    /// Whether doing it twice is as good as once (RFC 9110 section 9.2.2).
    is_idempotent: bool,
    /// `None` while it is under way, and after that unless it may be sent again.
    request: Option<Request<RequestBody>>,
    /// Only while what may be sent again is under way.
    spare: Option<Spare>,
}

impl Outbound {
    /// A request that has not been sent yet.
    pub(crate) fn new(request: Request<RequestBody>, is_idempotent: bool) -> Outbound {
        Outbound { is_idempotent, request: Some(request), spare: None }
    }

    /// What its client sends, if anything.
    pub(crate) fn client_body(&self) -> Option<&ClientBody> {
        self.request.as_ref().and_then(|request| request.body().client())
    }

    /// Whether it may be sent again after it may have reached a node: it is idempotent, and its body, if any, is held
    /// for that.
    fn may_repeat(&self) -> bool {
        self.is_idempotent && self.request.as_ref().is_some_and(|request| request.body().is_replayable())
    }

    /// The request to send, to a node that `may_refuse` it unseen or not: what was refused so is sent again whatever it
    /// does.
    fn take(&mut self, may_refuse: bool) -> Option<Request<RequestBody>> {
        self.spare = self.request.as_ref().filter(|_| may_refuse || self.may_repeat()).map(Spare::of);
        self.request.take()
    }

    /// Whether it can be sent again now that it is under way or has failed.
    fn is_held(&self) -> bool {
        self.request.is_some() || self.spare.as_ref().is_some_and(|spare| spare.body.is_whole())
    }

    /// It is answered, and not sent again whatever happens.
    pub(crate) fn settle(&mut self) {
        self.spare.take().iter().for_each(|spare| spare.body.forget());
    }

    /// It failed: what was `unsent` may be sent again, and so may what has a spare.
    fn failed(&mut self, unsent: Option<Request<RequestBody>>) {
        self.request = unsent.or_else(|| self.spare.take().and_then(Spare::into_request));
    }

    /// It is not sent again, such as because its client has failed and it can never be complete.
    fn give_up(&mut self) {
        (self.request, self.spare) = (None, None);
    }
}

/// A copy of a request, but for its body, which is shared. Nearly all are thrown away, so that it is quick to make and
/// to forget, and slow to use: a header map, or a list of clones, takes longer than the text of the fields.
struct Spare {
    method: Method,
    /// All that is left of the target on the way to a node.
    target: Option<PathAndQuery>,
    /// The fields as HTTP/1.1 writes them, each in a line. No name has a colon, and no value the end of a line.
    fields: Vec<u8>,
    body: RequestBody,
}

impl Spare {
    fn of(request: &Request<RequestBody>) -> Spare {
        let mut fields = Vec::with_capacity(SPARE_BYTES);
        for (name, value) in request.headers() {
            fields.extend_from_slice(name.as_str().as_bytes());
            fields.push(b':');
            fields.extend_from_slice(value.as_bytes());
            fields.push(b'\n');
        }
        let target = request.uri().path_and_query().cloned();
        Spare { method: request.method().clone(), target, fields, body: request.body().clone() }
    }

    /// The request once more; `None` when its body is no longer held.
    fn into_request(self) -> Option<Request<RequestBody>> {
        let mut request = Request::new(self.body.again()?);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.target.map(Uri::from).unwrap_or_default();
        let lines = self.fields.split(|byte| *byte == b'\n');
        let fields = lines.filter_map(|line| line.split_at_checked(line.iter().position(|byte| *byte == b':')?));
        for (name, value) in fields {
            let name = HeaderName::from_bytes(name).expect("it was one");
            let value = HeaderValue::from_bytes(&value[1..]).expect("it was one");
            request.headers_mut().append(name, value);
        }
        // The body is not held back again, so that there is nothing for the node to say about it.
        request.headers_mut().remove(header::EXPECT);
        Some(request)
    }
}

/// Room for the fields of most requests.
const SPARE_BYTES: usize = 512;

/// An attempt that brought no answer.
struct Failed {
    failure: Failure,
    error: ProxyError,
    /// What the node is blamed for, if it was its fault.
    blame: Option<LiveFailure>,
}

impl Failed {
    /// No connection came about. That a name does not resolve, or that this process has no more files or is not to open
    /// more, says nothing of the node.
    fn to_connect(node: String, cause: ConnectFailure) -> Failed {
        let blame = match cause {
            ConnectFailure::Certificate
            | ConnectFailure::Forbidden
            | ConnectFailure::Refused
            | ConnectFailure::Tls
            | ConnectFailure::TimedOut
            | ConnectFailure::Unreachable => Some(LiveFailure::Connect),
            ConnectFailure::Files | ConnectFailure::Limit | ConnectFailure::Local | ConnectFailure::Name => None,
        };
        Failed { failure: Failure::Unsent, error: ProxyError::Connect { node, cause }, blame }
    }

    /// The connection ended before an answer came.
    fn to_answer(
        lane: &Lane,
        mut error: TrySendError<Request<RequestBody>>,
        outbound: &mut Outbound,
        upload: Option<&Upload>,
    ) -> Failed {
        let (node, is_reused) = (lane.node_name().to_owned(), lane.is_reused());
        let unsent = error.take_message();
        let is_unsent = unsent.is_some();
        let refusal = Refusal::of(error.error());
        outbound.failed(unsent);
        let client = upload.and_then(|upload| upload.failure.get());
        let is_all_sent = upload.is_none_or(|upload| upload.complete.get());
        let closed = ProxyError::NodeClosed { node: node.clone() };
        let (failure, error, blame) = match client {
            _ if is_unsent && is_reused => (Failure::UnsentOnKept, closed, None),
            // The node may only be closing the connection, and take it on another one.
            _ if is_reused && refusal == Some(Refusal::Goodbye) => (Failure::UnsentOnKept, closed, None),
            _ if refusal.is_some() => (Failure::Unsent, closed, None),
            _ if is_unsent => (Failure::Unsent, closed, Some(LiveFailure::Closed).filter(|_| !lane.is_cut())),
            // The node had all its time for it, which another one is not given again.
            _ if lane.is_cut() => {
                outbound.give_up();
                (Failure::Lost, closed, None)
            }
            Some(failed) => {
                outbound.give_up();
                (Failure::Lost, failed.into(), None)
            }
            None if error.into_error().is_parse() => {
                (Failure::Lost, ProxyError::NodeProtocol { node }, Some(LiveFailure::Protocol))
            }
            None if is_reused => (Failure::LostOnKept, closed, None),
            // A node that closes while it is sent a body may have found fault with that.
            None => (Failure::Lost, closed, is_all_sent.then_some(LiveFailure::Closed)),
        };
        Failed { failure, error, blame }
    }

    /// The node was silent for too long.
    fn in_time(node: String, outbound: &mut Outbound) -> Failed {
        outbound.failed(None);
        let error = ProxyError::HeadTimeout { node };
        Failed { failure: Failure::Lost, error, blame: Some(LiveFailure::TimedOut) }
    }

    /// Whether no more connections may be open to the node, so that there was no attempt at all.
    fn is_at_limit(&self) -> bool {
        matches!(self.error, ProxyError::Connect { cause: ConnectFailure::Limit, .. })
    }

    fn reason(&self) -> RetryReason {
        match (self.failure, &self.error) {
            (Failure::UnsentOnKept | Failure::LostOnKept, _) => RetryReason::StaleConnection,
            (_, ProxyError::Connect { .. }) => RetryReason::Connect,
            (_, ProxyError::HeadTimeout { .. }) => RetryReason::Timeout,
            (_, _) => RetryReason::Closed,
        }
    }
}

/// Tries the candidates in order until one answers or the request may not be sent again.
pub(crate) async fn attempt(
    worker: &Worker,
    pool: &PoolTable,
    order: Order,
    outbound: &mut Outbound,
    exchange: &mut Exchange,
) -> Result<Response<Incoming>, ProxyError> {
    let settings = &*pool.settings;
    let may_repeat = outbound.may_repeat();
    let mut attempts = Attempts::new(settings.max_attempts, settings.timeouts.total, outbound.is_idempotent);
    let mut picker = pick::picker(worker, pool, order, may_repeat, false);
    let mut pick = picker.pick();
    let mut turn = Turn { may_reuse: true, queued: None, waiting: None, short_until: None };
    let mut before = None;
    loop {
        let chosen = match pick {
            Pick::Node(chosen) => chosen,
            Pick::Hold { until } => {
                exchange.wait();
                Box::pin(admission::hold(pool, until, &mut turn.waiting)).await?;
                pick = picker.pick();
                continue;
            }
            Pick::Queue => {
                exchange.wait();
                Box::pin(Queued::wait(&mut turn.queued, pool)).await?;
                // By now any node may have room, the owner of the key first.
                picker = pick::picker(worker, pool, order, may_repeat, true);
                pick = picker.pick();
                continue;
            }
            Pick::Nobody(error) => {
                exchange.leave_node();
                return Err(before.unwrap_or(error));
            }
        };
        let (upstream, is_trial) = (chosen.node, chosen.is_trial);
        let node = worker.node(upstream);
        exchange.comes(picker.way());
        exchange.enter_node(&node, chosen, settings);
        // What is nearly always returned is moved about as little as can be.
        let sent = match send(&node, pool, outbound, exchange, &mut turn).await {
            Ok(response) if !is_any(&settings.retry_on, response.status()) => return Ok(response),
            Err(failed) if failed.is_at_limit() => {
                exchange.undo_in_flight();
                turn.may_reuse = true;
                pick = picker.pick_past_limit();
                continue;
            }
            sent => sent,
        };
        let (failure, reason) = verdict(&sent, exchange);
        let (now, is_held) = (exchange.ready.elapsed(), outbound.is_held());
        let situation = Situation { now, is_held, detour: picker.detour() };
        let next = attempts.after(failure, situation, || exchange.may_repeat(settings.retry_budget));
        // What failed is at no node; what was answered still comes from one.
        let in_flight = if sent.is_err() { exchange.take_in_flight() } else { None };
        let onward = match next {
            Next::SameNode => Some(Pick::Node(Chosen { node: upstream, is_trial, in_flight })),
            Next::NextNode => {
                drop(in_flight);
                Some(picker.pick_next()).filter(|pick| is_better(pick, &sent))
            }
            Next::Wait => Some(Pick::Hold { until: picker.held_until() }),
            Next::GiveUp => None,
        };
        let Some(onward) = onward else {
            if failure == Failure::Unsent {
                exchange.leave_node();
            }
            return sent.map_err(|failed| failed.error);
        };
        pick = onward;
        turn.may_reuse = next != Next::SameNode;
        before = leave(sent, outbound);
        exchange.count_retry(reason);
    }
}

/// How a request gets a connection to a node.
struct Turn<'a> {
    /// Whether a kept one will do.
    may_reuse: bool,
    /// Its place in the queue, until it has one.
    queued: Option<Queued<'a>>,
    /// Its place among those that wait for the owner of their key, likewise.
    waiting: Option<Waiting<'a>>,
    /// Until when it waits for a file, once there was none.
    short_until: Option<Instant>,
}

/// How an attempt failed that brought no answer for the client; the node is blamed for what is its fault.
fn verdict(sent: &Result<Response<Incoming>, Failed>, exchange: &mut Exchange) -> (Failure, RetryReason) {
    match sent {
        Ok(_) => (Failure::Status, RetryReason::Status),
        Err(failed) => {
            failed.blame.into_iter().for_each(|blame| exchange.blame(blame));
            (failed.failure, failed.reason())
        }
    }
}

/// Goes on from what was sent; returns how it failed. Only now is the body taken away from an answer, because one that
/// is the client's after all may still be in the middle of it.
fn leave(sent: Result<Response<Incoming>, Failed>, outbound: &mut Outbound) -> Option<ProxyError> {
    match sent {
        Ok(_) => {
            outbound.failed(None);
            None
        }
        Err(failed) => Some(failed.error),
    }
}

/// Whether a pick promises more than what was sent came to. An answer is better than a place in the queue.
fn is_better(pick: &Pick<'_>, sent: &Result<Response<Incoming>, Failed>) -> bool {
    match pick {
        Pick::Node(_) | Pick::Hold { .. } => true,
        Pick::Queue => sent.is_err(),
        Pick::Nobody(_) => false,
    }
}

/// Sends a request to one node, over a kept connection if that will do and there is one, else over a new one.
async fn send<'a>(
    node: &Rc<LocalNode>,
    pool: &'a PoolTable,
    outbound: &mut Outbound,
    exchange: &mut Exchange,
    turn: &mut Turn<'a>,
) -> Result<Response<Incoming>, Failed> {
    let settings = &*pool.settings;
    let timeouts = &settings.timeouts;
    let name = || node.upstream.name.clone();
    let mut now = exchange.entered();
    let is_shared = settings.protocol == Protocol::H2;
    let kept = if turn.may_reuse && !is_shared { node.ready_connection(now) } else { None };
    let mut lane = match kept {
        Some(connection) => Lane::Own(connection),
        None => {
            // In a box, because few requests need what that takes.
            let mut connected = Box::pin(lane_to(node, settings, turn.may_reuse, None)).await;
            if matches!(connected, Err(ConnectFailure::Files)) {
                connected = Box::pin(lane_in_shortage(node, pool, exchange, turn)).await;
            }
            now = Instant::now();
            connected.map_err(|cause| Failed::to_connect(name(), cause))?
        }
    };
    (turn.queued, turn.waiting) = (None, None);
    let request = outbound.take(is_shared).expect("a request is only sent while it is held");
    let mut answer = pin!(lane.send(request));
    let mut since = now;
    let answered = poll_fn(|cx| {
        if let Poll::Ready(answer) = lane.poll_answer(answer.as_mut(), cx) {
            return Poll::Ready(Some(answer));
        }
        exchange.poll_silent(&mut since, timeouts.head, cx).map(|()| None)
    });
    match answered.await {
        Some(Ok(response)) => {
            exchange.answered(lane, response.status().as_u16(), now.elapsed());
            let is_open_ended = response.body().size_hint().exact().is_none();
            exchange
                .judge(is_any(&settings.ejection.statuses, response.status()), is_open_ended || is_switch(&response));
            Ok(response)
        }
        Some(Err(error)) => Err(Failed::to_answer(&lane, error, outbound, exchange.upload.as_deref())),
        None => Err(Failed::in_time(name(), outbound)),
    }
}

async fn lane_to(
    node: &Rc<LocalNode>,
    settings: &PoolSettings,
    may_reuse: bool,
    file: Option<NodeFile>,
) -> Result<Lane, ConnectFailure> {
    match settings.protocol {
        Protocol::H1 => node.connection(settings, may_reuse, file).await.map(Lane::Own),
        Protocol::H2 => node.shared.lease(node, settings, may_reuse, file).await.map(Lane::Shared),
    }
}

/// As [`lane_to`], when there was no file for it: a connection that is idle makes room. Where there is none, the
/// request waits until a file comes free, for as long as connecting may take.
async fn lane_in_shortage<'a>(
    node: &Rc<LocalNode>,
    pool: &'a PoolTable,
    exchange: &Exchange,
    turn: &mut Turn<'a>,
) -> Result<Lane, ConnectFailure> {
    let settings = &*pool.settings;
    if exchange.makes_room() {
        let connected = lane_to(node, settings, turn.may_reuse, None).await;
        if !matches!(connected, Err(ConnectFailure::Files)) {
            return connected;
        }
    }
    if turn.waiting.is_none() {
        turn.waiting = Some(Waiting::enter(pool).map_err(|_| ConnectFailure::Files)?);
    }
    let files = exchange.is_short();
    let until = *turn.short_until.get_or_insert_with(|| Instant::now() + settings.timeouts.connect);
    loop {
        let file = files.for_node_by(until).await.ok_or(ConnectFailure::Files)?;
        let connected = lane_to(node, settings, turn.may_reuse, Some(file)).await;
        if !matches!(connected, Err(ConnectFailure::Files)) || Instant::now() >= until {
            return connected;
        }
        // It is the system that has none, which tells nobody when it has.
        tokio::time::sleep(SHORTAGE_STEP).await;
    }
}

/// How soon a request asks again for a file that the system did not have.
const SHORTAGE_STEP: Duration = Duration::from_millis(50);

fn is_switch(response: &Response<Incoming>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
}

fn is_any(statuses: &[StatusRange], status: StatusCode) -> bool {
    statuses.iter().any(|range| range.contains(status.as_u16()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spare_is_the_request_again_with_repeated_fields_in_order() {
        let request = Request::builder().method("DELETE").uri("/a?b=c").header("x-one", "a:1").header("x-two", "");
        let value = HeaderValue::from_bytes(b"\t\xff: 3").unwrap();
        let request = request.header("x-one", value).body(RequestBody::Empty).unwrap();
        let again = Spare::of(&request).into_request().unwrap();
        assert_eq!((again.method(), again.uri()), (request.method(), request.uri()));
        assert_eq!(again.headers(), request.headers());
    }
}
