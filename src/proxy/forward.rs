//! Carries one request: finds its pool and key, tries candidates in order, passes the response on.

use crate::placement::Placement;
use crate::proxy::body::RequestBody;
use crate::proxy::body::ResponseBody;
use crate::proxy::body::Upload;
use crate::proxy::body::UploadFailure;
use crate::proxy::error::ProxyError;
use crate::proxy::error::RetryReason;
use crate::proxy::exchange::Decision;
use crate::proxy::exchange::Exchange;
use crate::proxy::headers;
use crate::proxy::inbound;
use crate::proxy::inbound::Inbound;
use crate::proxy::server::Client;
use crate::proxy::settings::NoKey;
use crate::proxy::table::PoolTable;
use crate::proxy::tunnel;
use crate::proxy::upstream::Connection;
use crate::proxy::upstream::LocalNode;
use crate::proxy::upstream::SendFailure;
use crate::proxy::worker::LocalTable;
use crate::proxy::worker::Phase;
use crate::proxy::worker::Worker;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::StatusCode;
use http::Version;
use http::header;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use serde_json::json;
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// Answers one request; failures are answers too.
pub(crate) async fn serve(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    request: Request<Incoming>,
) -> Response<ResponseBody> {
    let version = request.version();
    let log = worker.logs_access().then(|| Box::new(inbound::log_entry(client, &request)));
    let exchange = Exchange::begin(worker, &client.state, log);
    let mut response = match carry(worker, client, request, exchange).await {
        Ok(response) => response,
        Err(failed) => {
            let (error, mut exchange) = *failed;
            exchange.refused(error.status().as_u16());
            problem(&error)
        }
    };
    // HTTP/1 clients are told to leave response by response; HTTP/2 has GOAWAY.
    if worker.phase() != Phase::Running
        && version != Version::HTTP_2
        && response.status() != StatusCode::SWITCHING_PROTOCOLS
    {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// An error and the account it is to be settled on.
type Failed = Box<(ProxyError, Exchange)>;

async fn carry(
    worker: &Rc<Worker>,
    client: &Client,
    request: Request<Incoming>,
    mut exchange: Exchange,
) -> Result<Response<ResponseBody>, Failed> {
    let table = worker.table();
    let mut inbound = match Inbound::accept(client, request, &table.table.server) {
        Ok(inbound) => inbound,
        Err(error) => return Err(Box::new((error, exchange))),
    };
    let choice = match choose(worker, &table, &inbound, &mut exchange) {
        Ok(choice) => choice,
        Err(error) => return Err(Box::new((error, exchange))),
    };
    let pool = &table.table.pools()[choice.pool];
    let outbound = inbound.outbound(&pool.settings, &exchange.upload, table.table.server.limits.body_timeout);
    let sent = attempt(worker, pool, choice, outbound, &mut exchange);
    let answered = match pool.settings.timeouts.total {
        None => sent.await,
        Some(total) => tokio::time::timeout(total, sent).await.unwrap_or(Err(ProxyError::TotalTimeout)),
    };
    match answered {
        Ok(answer) => {
            let decided = pool.settings.decision_headers.then_some(pool.epoch);
            let idle = pool.settings.timeouts.idle;
            drop(table);
            respond(answer, inbound.upgrade, exchange, &Passing { decided, idle, worker })
        }
        Err(error) => Err(Box::new((error, exchange))),
    }
}

/// Which nodes to try, in which order.
struct Choice {
    pool: usize,
    order: Order,
}

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
    inbound: &Inbound,
    exchange: &mut Exchange,
) -> Result<Choice, ProxyError> {
    let head = inbound.head();
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

/// A node's answer, and what it came over.
struct Answer {
    response: Response<Incoming>,
    node: Rc<LocalNode>,
}

/// Tries the candidates in order until one answers or the request may not be tried again.
async fn attempt(
    worker: &Worker,
    pool: &PoolTable,
    choice: Choice,
    mut request: Request<RequestBody>,
    exchange: &mut Exchange,
) -> Result<Answer, ProxyError> {
    let settings = &pool.settings;
    let mut failure = None;
    for index in choice.order.candidates(&pool.placement).take(settings.max_attempts) {
        let node = worker.node(pool.placed(index));
        if failure.is_some() {
            count_retry(worker, exchange, RetryReason::Connect);
            if exchange.decision == Some(Decision::Owner) {
                exchange.decision = Some(Decision::Failover);
            }
        }
        exchange.enter_node(&node, settings.max_idle_connections);
        match try_node(worker, pool, &node, request, exchange).await {
            Tried::Answered(response) => return Ok(Answer { response, node }),
            Tried::Failed(error) => return Err(error),
            Tried::Unsent(back, error) => (request, failure) = (*back, Some(error)),
        }
    }
    exchange.leave_node();
    Err(failure.unwrap_or_else(|| ProxyError::NoNode { pool: settings.name.clone() }))
}

/// How it went with one node.
enum Tried {
    /// A response head.
    Answered(Response<Incoming>),
    /// The request may have reached the node and must not be sent again.
    Failed(ProxyError),
    /// Nothing reached the node; the request is as it was.
    Unsent(Box<Request<RequestBody>>, ProxyError),
}

/// Sends a request to one node: over a kept connection while there is one, else over a new one.
///
/// A kept connection may turn out closed. What was not sent then goes over the next connection, and so does what may
/// have been sent if its method is idempotent and it has no body (RFC 9110 section 9.2.2), once.
async fn try_node(
    worker: &Worker,
    pool: &PoolTable,
    node: &Rc<LocalNode>,
    mut request: Request<RequestBody>,
    exchange: &mut Exchange,
) -> Tried {
    let name = || node.upstream.name.clone();
    loop {
        let mut connection = match node.kept_connection(pool.settings.timeouts.connect).await {
            Some(connection) => connection,
            None => match node.connect(&pool.settings.timeouts).await {
                Ok(connection) => connection,
                Err(cause) => {
                    return Tried::Unsent(Box::new(request), ProxyError::Connect { node: name(), cause });
                }
            },
        };
        let spare = if connection.is_reused { replay_of(&request) } else { None };
        let sent = Instant::now();
        match send(&mut connection, request, &exchange.upload, pool.settings.timeouts.head).await {
            Ok(response) => {
                exchange.answered(connection, response.status().as_u16(), sent.elapsed());
                return Tried::Answered(response);
            }
            Err(Sent::Unsent(back)) if connection.is_reused => request = *back,
            Err(Sent::Unsent(back)) => return Tried::Unsent(back, ProxyError::NodeClosed { node: name() }),
            Err(Sent::Broken(error)) => match (spare, exchange.upload.failure.get()) {
                (Some(spare), _) => request = spare,
                (None, Some(UploadFailure::Broken)) => return Tried::Failed(ProxyError::ClientBody),
                (None, Some(UploadFailure::Silent)) => return Tried::Failed(ProxyError::ClientBodyTimeout),
                (None, None) if error.is_parse() => {
                    return Tried::Failed(ProxyError::NodeProtocol { node: name() });
                }
                (None, None) => return Tried::Failed(ProxyError::NodeClosed { node: name() }),
            },
            Err(Sent::TimedOut) => return Tried::Failed(ProxyError::HeadTimeout { node: name() }),
        }
        count_retry(worker, exchange, RetryReason::StaleConnection);
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

/// A copy of a request that may safely be sent twice.
fn replay_of(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let is_upgrade = request.headers().contains_key(header::UPGRADE);
    if !request.method().is_idempotent() || !request.body().is_replayable() || is_upgrade {
        return None;
    }
    let mut copy = Request::new(RequestBody::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

/// How sending over one connection failed.
enum Sent {
    Broken(hyper::Error),
    TimedOut,
    Unsent(Box<Request<RequestBody>>),
}

/// Waits for the response head for at most `patience` after the last piece of the request went out.
async fn send(
    connection: &mut Connection,
    request: Request<RequestBody>,
    upload: &Upload,
    patience: Duration,
) -> Result<Response<Incoming>, Sent> {
    let mut response = std::pin::pin!(connection.send(request));
    let mut since = Instant::now();
    loop {
        match tokio::time::timeout_at(since + patience, response.as_mut()).await {
            Ok(Ok(response)) => return Ok(response),
            Ok(Err(SendFailure::Unsent(request))) => return Err(Sent::Unsent(request)),
            Ok(Err(SendFailure::MaybeSent(error))) => return Err(Sent::Broken(error)),
            // A long upload is no silence of the node, nor is a slow one, which has a timeout of its own.
            Err(_) => match upload.progress.get() {
                _ if upload.awaits_client.get() => since = Instant::now(),
                Some(progress) if progress > since => since = progress,
                _ => return Err(Sent::TimedOut),
            },
        }
    }
}

/// What passing a response on needs to know besides the response.
struct Passing<'a> {
    /// The epoch to tell the client, if it is to be told.
    decided: Option<u64>,
    idle: Duration,
    worker: &'a Rc<Worker>,
}

/// Makes a node's response the client's.
fn respond(
    answer: Answer,
    upgrade: Option<(HeaderValue, OnUpgrade)>,
    mut exchange: Exchange,
    passing: &Passing<'_>,
) -> Result<Response<ResponseBody>, Failed> {
    let Answer { mut response, node } = answer;
    let received = response.version();
    if !headers::is_plainly_framed(response.headers()) {
        let error = ProxyError::NodeProtocol { node: node.upstream.name.clone() };
        return Err(Box::new((error, exchange)));
    }
    let switched = response.status() == StatusCode::SWITCHING_PROTOCOLS;
    let protocol = response.headers().get(header::UPGRADE).cloned();
    let node_side = switched.then(|| hyper::upgrade::on(&mut response));
    let (mut parts, body) = response.into_parts();
    headers::strip_hop_by_hop(&mut parts.headers);
    headers::add_via(&mut parts.headers, received);
    // The version is this proxy's own (RFC 9110 section 6.2): an HTTP/1.0 node takes nothing from its clients.
    parts.version = Version::HTTP_11;
    if let Some(epoch) = passing.decided {
        let decision = exchange.decision.map_or("", Decision::label);
        parts.headers.insert(headers::X_RINGWAY_DECISION, HeaderValue::from_static(decision));
        parts.headers.insert(headers::X_RINGWAY_EPOCH, HeaderValue::from(epoch));
        if let Ok(name) = HeaderValue::from_str(&node.upstream.name) {
            parts.headers.insert(headers::X_RINGWAY_NODE, name);
        }
    }
    let Some(node_side) = node_side else {
        let is_grpc = parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        let patience = (!is_grpc).then_some(passing.idle);
        return Ok(Response::from_parts(parts, ResponseBody::node(body, patience, exchange)));
    };
    // A switch that nobody asked for would turn the connection into something no rule of this proxy applies to.
    let (Some((_, client_side)), Some(protocol)) = (upgrade, protocol) else {
        let error = ProxyError::NodeProtocol { node: node.upstream.name.clone() };
        return Err(Box::new((error, exchange)));
    };
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    parts.headers.insert(header::UPGRADE, protocol);
    exchange.tunnel();
    tunnel::spawn(passing.worker, client_side, node_side, exchange);
    Ok(Response::from_parts(parts, ResponseBody::local("")))
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
