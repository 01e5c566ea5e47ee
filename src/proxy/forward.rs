//! Carries one request: finds its pool and key, tries candidates in order, passes the response on.

use crate::placement::Placement;
use crate::proxy::body::RequestBody;
use crate::proxy::body::ResponseBody;
use crate::proxy::body::UploadFailure;
use crate::proxy::error::ProxyError;
use crate::proxy::error::RetryReason;
use crate::proxy::exchange::Decision;
use crate::proxy::exchange::Exchange;
use crate::proxy::headers;
use crate::proxy::headers::Survey;
use crate::proxy::inbound;
use crate::proxy::inbound::Inbound;
use crate::proxy::server::Client;
use crate::proxy::settings::NoKey;
use crate::proxy::table::PoolTable;
use crate::proxy::upstream::LocalNode;
use crate::proxy::worker::LocalTable;
use crate::proxy::worker::Phase;
use crate::proxy::worker::Worker;
use crate::routing::key::RequestHead;
use http::HeaderName;
use http::HeaderValue;
use http::Method;
use http::Request;
use http::Response;
use http::StatusCode;
use http::Uri;
use http::Version;
use http::header;
use hyper::body::Incoming;
use serde_json::json;
use std::convert::Infallible;
use std::future::Future;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::Waker;
use std::time::Duration;
use tokio::time::Instant;

/// Answers one request; failures are answers too.
///
/// All that needs no waiting is done before there is a future, so that this is small: a future is moved about whole,
/// and whatever an async function is given by value takes room in it twice.
pub(crate) fn serve(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + use<> {
    let version = request.version();
    let log = worker.logs_access().then(|| Box::new(inbound::log_entry(client, &request)));
    let mut exchange = Exchange::begin(worker, client, log);
    let mut prepared = Prepared::new(worker, client, request, &mut exchange);
    let (worker, client) = (Rc::clone(worker), Rc::clone(client));
    async move {
        let mut response = match &mut prepared {
            Ok(prepared) => match prepared.carry(&worker, &mut exchange).await {
                Ok(carried) => carried.deliver(&client, exchange),
                Err(error) => refuse(&error, &mut exchange),
            },
            Err(error) => refuse(error, &mut exchange),
        };
        // HTTP/1 clients are told to leave response by response; HTTP/2 has GOAWAY.
        if version == Version::HTTP_2 {
            headers::detach(response.headers_mut());
        } else if worker.phase() != Phase::Running && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

fn refuse(error: &ProxyError, exchange: &mut Exchange) -> Response<ResponseBody> {
    exchange.refused(error.status().as_u16());
    problem(error)
}

/// What a node answered, made fit for the client.
enum Carried {
    /// An ordinary response, whose body may be silent for `patience`, or for as long as it likes.
    Response { response: Response<Incoming>, patience: Option<Duration> },
    /// The node switches to the protocol that the client asked for.
    Switch(Response<Incoming>),
}

impl Carried {
    fn deliver(self, client: &Client, exchange: Box<Exchange>) -> Response<ResponseBody> {
        match self {
            Carried::Response { response, patience } => {
                response.map(|body| ResponseBody::node(body, patience, exchange))
            }
            Carried::Switch(response) => {
                client.switch(exchange);
                response.map(|_| ResponseBody::local(""))
            }
        }
    }
}

/// A request that is fit for the nodes of its pool.
struct Prepared {
    table: Rc<LocalTable>,
    choice: Choice,
    outbound: Outbound,
    asks_to_switch: bool,
}

impl Prepared {
    fn new(
        worker: &Worker,
        client: &Client,
        request: Request<Incoming>,
        exchange: &mut Exchange,
    ) -> Result<Prepared, ProxyError> {
        let table = worker.table();
        let inbound = Inbound::accept(client, &request, &table.table.server)?;
        client.state.expect_end(inbound.is_last);
        let choice = choose(worker, &table, inbound.head(&request), exchange)?;
        let pool = &table.table.pools()[choice.pool];
        let patience = table.table.server.limits.body_timeout;
        let asks_to_switch = inbound.upgrade.is_some();
        let is_idempotent = request.method().is_idempotent();
        let (request, upload) = inbound.outbound(client, request, &pool.settings, patience);
        let is_replayable = is_idempotent && !asks_to_switch && upload.is_none();
        exchange.upload = upload;
        Ok(Prepared { table, choice, outbound: Outbound::new(request, is_replayable), asks_to_switch })
    }

    async fn carry(&mut self, worker: &Worker, exchange: &mut Exchange) -> Result<Carried, ProxyError> {
        let pool = &self.table.table.pools()[self.choice.pool];
        let answer = {
            let attempts = pin!(attempt(worker, pool, self.choice.order, &mut self.outbound, exchange));
            match pool.settings.timeouts.total {
                None => attempts.await,
                // In a box, because few pools have such a limit.
                Some(total) => {
                    let limited = Box::pin(tokio::time::timeout(total, attempts));
                    limited.await.unwrap_or(Err(ProxyError::TotalTimeout))
                }
            }
        };
        pass_on(answer?, pool, self.asks_to_switch, exchange)
    }
}

/// Which nodes to try, in which order.
struct Choice {
    pool: usize,
    order: Order,
}

#[derive(Clone, Copy)]
enum Order {
    /// The candidates of a key's position.
    Key(u64),
    /// A node drawn by weight, then the candidates of a random position.
    Spread { first: usize, position: u64 },
}

impl Order {
    fn candidates(self, placement: &Placement) -> impl Iterator<Item = usize> {
        let (first, position) = match self {
            Order::Key(position) => (None, position),
            Order::Spread { first, position } => (Some(first), position),
        };
        let rest = placement.candidates(position).filter(move |node| Some(*node) != first);
        first.into_iter().chain(rest)
    }
}

/// Finds the pool and the key of a request.
fn choose(
    worker: &Worker,
    table: &LocalTable,
    head: RequestHead<'_>,
    exchange: &mut Exchange,
) -> Result<Choice, ProxyError> {
    let index = table.table.find(head.host, head.path).ok_or(ProxyError::NoPool)?;
    let pool = &table.table.pools()[index];
    let local = table.pool(index);
    exchange.pool = Some(Rc::clone(local));
    let order = match pool.settings.key.extract(&head) {
        Some(key) => {
            exchange.decision = Some(Decision::Owner);
            let position = pool.settings.key.position(&key.bytes);
            if let Some(log) = &mut exchange.log {
                log.key_source = Some(pool.settings.key.source_name(key.source).to_owned());
                log.key_hash = Some(format!("{position:016x}"));
            }
            Order::Key(position)
        }
        None => {
            local.of(worker.id()).keyless.increment();
            if pool.settings.no_key == NoKey::Reject {
                return Err(ProxyError::KeyMissing { expected: pool.settings.key.describe() });
            }
            exchange.decision = Some(Decision::NoKey);
            let first = pool.draw(worker.random());
            let no_node = || ProxyError::NoNode { pool: pool.settings.name.clone() };
            Order::Spread { first: first.ok_or_else(no_node)?, position: worker.random() }
        }
    };
    Ok(Choice { pool: index, order })
}

/// A request that is bound for a node, and is sent as often as it must and may be.
struct Outbound {
    /// Whether what may have been sent may be sent again: its method is idempotent (RFC 9110 section 9.2.2), and it
    /// has no body.
    is_replayable: bool,
    /// `None` while it is under way, and after that unless it may be sent again.
    request: Option<Request<RequestBody>>,
    /// Only while what may be sent again is under way over a connection that carried others before.
    spare: Option<Spare>,
}

impl Outbound {
    fn new(request: Request<RequestBody>, is_replayable: bool) -> Outbound {
        Outbound { is_replayable, request: Some(request), spare: None }
    }

    /// The request to send over a connection that carried others before, or over a new one.
    fn take(&mut self, is_reused: bool) -> Option<Request<RequestBody>> {
        let request = self.request.take()?;
        self.spare = (is_reused && self.is_replayable).then(|| Spare::of(&request));
        Some(request)
    }

    /// It failed: what was `unsent` may be sent again, and so may what has a spare.
    fn failed(&mut self, unsent: Option<Request<RequestBody>>) {
        self.request = unsent.or_else(|| self.spare.take().map(Spare::into_request));
    }
}

/// A copy of a request without its body. Nearly all are thrown away, so that it is quick to make and not to use: a
/// header map costs three times the list of its fields.
struct Spare {
    method: Method,
    uri: Uri,
    fields: Vec<(HeaderName, HeaderValue)>,
}

impl Spare {
    fn of(request: &Request<RequestBody>) -> Spare {
        let fields = request.headers().iter().map(|(name, value)| (name.clone(), value.clone()));
        Spare { method: request.method().clone(), uri: request.uri().clone(), fields: fields.collect() }
    }

    fn into_request(self) -> Request<RequestBody> {
        let mut request = Request::new(RequestBody::Empty);
        *request.method_mut() = self.method;
        *request.uri_mut() = self.uri;
        request.headers_mut().extend(self.fields);
        request
    }
}

/// Tries the candidates in order until one answers or the request may not be tried again.
async fn attempt(
    worker: &Worker,
    pool: &PoolTable,
    order: Order,
    outbound: &mut Outbound,
    exchange: &mut Exchange,
) -> Result<Response<Incoming>, ProxyError> {
    let mut failure = None;
    for index in order.candidates(&pool.placement).take(pool.settings.max_attempts) {
        let node = worker.node(pool.placed(index));
        if failure.is_some() {
            count_retry(worker, exchange, RetryReason::Connect);
            if exchange.decision == Some(Decision::Owner) {
                exchange.decision = Some(Decision::Failover);
            }
        }
        exchange.enter_node(&node, &pool.settings);
        match try_node(worker, pool, &node, outbound, exchange).await {
            Err(error) if outbound.request.is_some() => failure = Some(error),
            answer => return answer,
        }
    }
    exchange.leave_node();
    Err(failure.unwrap_or_else(|| ProxyError::NoNode { pool: pool.settings.name.clone() }))
}

/// Sends a request to one node: over a kept connection while there is one, else over a new one.
///
/// A kept connection may turn out closed. What was not sent then goes over the next connection, and so does what may
/// have been sent if it is replayable. After an error, a request that is still there may go to another node.
async fn try_node(
    worker: &Worker,
    pool: &PoolTable,
    node: &Rc<LocalNode>,
    outbound: &mut Outbound,
    exchange: &mut Exchange,
) -> Result<Response<Incoming>, ProxyError> {
    let name = || node.upstream.name.clone();
    let timeouts = &pool.settings.timeouts;
    let mut now = exchange.started;
    loop {
        let mut connection = match node.ready_connection(now) {
            Some(connection) => connection,
            None => {
                // In a box, because few requests need what that takes.
                let connected = Box::pin(node.connection(timeouts.connect)).await;
                now = Instant::now();
                connected.map_err(|cause| ProxyError::Connect { node: name(), cause })?
            }
        };
        let Some(request) = outbound.take(connection.is_reused) else {
            return Err(ProxyError::NodeClosed { node: name() });
        };
        let mut answer = pin!(connection.send(request));
        let mut since = now;
        let answered = poll_fn(|cx| {
            // The answer only ever comes while the connection is driven, so that it need wake nobody.
            connection.drive(cx);
            if let Poll::Ready(answer) = answer.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                connection.wake_nobody();
                return Poll::Ready(Some(answer));
            }
            exchange.poll_silent(&mut since, timeouts.head, cx).map(|()| None)
        });
        match answered.await {
            Some(Ok(response)) => {
                exchange.answered(connection, response.status().as_u16(), now.elapsed());
                return Ok(response);
            }
            Some(Err(mut error)) => {
                let unsent = error.take_message();
                let is_unsent = unsent.is_some();
                outbound.failed(unsent);
                if is_unsent && !connection.is_reused {
                    return Err(ProxyError::NodeClosed { node: name() });
                }
                if outbound.request.is_none() {
                    return Err(broken(&error.into_error(), exchange, name()));
                }
            }
            None => return Err(ProxyError::HeadTimeout { node: name() }),
        }
        count_retry(worker, exchange, RetryReason::StaleConnection);
        now = Instant::now();
    }
}

/// Whose fault it is that the connection to `node` failed with some of the request sent.
fn broken(error: &hyper::Error, exchange: &Exchange, node: String) -> ProxyError {
    match exchange.upload.as_ref().and_then(|upload| upload.failure.get()) {
        Some(UploadFailure::Broken) => ProxyError::ClientBody,
        Some(UploadFailure::Silent) => ProxyError::ClientBodyTimeout,
        None if error.is_parse() => ProxyError::NodeProtocol { node },
        None => ProxyError::NodeClosed { node },
    }
}

fn count_retry(worker: &Worker, exchange: &mut Exchange, reason: RetryReason) {
    if let Some(log) = &mut exchange.log {
        log.attempts += 1;
    }
    let Some(pool) = &exchange.pool else { return };
    let stats = pool.of(worker.id());
    match reason {
        RetryReason::Connect => stats.retries_connect.increment(),
        RetryReason::StaleConnection => stats.retries_stale.increment(),
    }
}

/// Makes a node's response the client's.
fn pass_on(
    mut response: Response<Incoming>,
    pool: &PoolTable,
    asked_to_switch: bool,
    exchange: &Exchange,
) -> Result<Carried, ProxyError> {
    let received = response.version();
    // The version is this proxy's own (RFC 9110 section 6.2): an HTTP/1.0 node takes nothing from its clients.
    *response.version_mut() = Version::HTTP_11;
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    let found = Survey::of(headers);
    let node = exchange.node_name().unwrap_or_default();
    let not_plain = || ProxyError::NodeProtocol { node: node.to_owned() };
    if found.transfer_encoding && !headers::is_plainly_framed(headers) {
        return Err(not_plain());
    }
    let protocol = if switched { headers.get(header::UPGRADE).cloned() } else { None };
    headers::strip_hop_by_hop(headers, found);
    headers::add_via(headers, received);
    if pool.settings.decision_headers {
        let decision = exchange.decision.map_or("", Decision::label);
        headers.insert(headers::X_RINGWAY_DECISION, HeaderValue::from_static(decision));
        headers.insert(headers::X_RINGWAY_EPOCH, HeaderValue::from(pool.epoch));
        if let Ok(name) = HeaderValue::from_str(node) {
            headers.insert(headers::X_RINGWAY_NODE, name);
        }
    }
    if !switched {
        let kind = headers.get(header::CONTENT_TYPE);
        let is_grpc = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        let patience = (!is_grpc).then_some(pool.settings.timeouts.idle);
        return Ok(Carried::Response { response, patience });
    }
    // A switch that nobody asked for would turn the connection into something no rule of this proxy applies to.
    let Some(protocol) = protocol.filter(|_| asked_to_switch) else {
        return Err(not_plain());
    };
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, protocol);
    Ok(Carried::Switch(response))
}

/// The problem document (RFC 9457) of an error, with its Proxy-Status (RFC 9209).
fn problem(error: &ProxyError) -> Response<ResponseBody> {
    let status = error.status();
    let document = json!({
        "type": "about:blank",
        "title": status.canonical_reason().unwrap_or("Error"),
        "status": status.as_u16(),
        "detail": error.to_string(),
    });
    let mut response = Response::new(ResponseBody::local(document.to_string()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if let Ok(value) = HeaderValue::try_from(error.proxy_status()) {
        headers.insert("proxy-status", value);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        // RFC 9110 section 15.5.6 asks for it; any other method is the node's to judge.
        headers.insert(header::ALLOW, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    if error.poisons_client_connection() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spare_is_the_request_again_with_repeated_fields_in_order() {
        let request = Request::builder().method("DELETE").uri("/a?b=c").header("x-one", "1").header("x-two", "2");
        let request = request.header("x-one", "3").body(RequestBody::Empty).unwrap();
        let again = Spare::of(&request).into_request();
        assert_eq!((again.method(), again.uri()), (request.method(), request.uri()));
        assert_eq!(again.headers(), request.headers());
    }
}
