//! Carries one request: finds its pool and key, tries candidates in order, passes the response on.

use crate::cluster::health::LiveFailure;
use crate::proxy::attempt;
use crate::proxy::attempt::Outbound;
use crate::proxy::body::ResponseBody;
use crate::proxy::client;
use crate::proxy::contain;
use crate::proxy::decision::Decision;
use crate::proxy::error::ProxyError;
use crate::proxy::exchange::Exchange;
use crate::proxy::framing;
use crate::proxy::headers;
use crate::proxy::headers::Presence;
use crate::proxy::headers::Survey;
use crate::proxy::inbound;
use crate::proxy::inbound::Inbound;
use crate::proxy::key_body;
use crate::proxy::local::LocalTable;
use crate::proxy::memory;
use crate::proxy::pick::Order;
use crate::proxy::relay;
use crate::proxy::relay::Relay;
use crate::proxy::request_body::BodyTerms;
use crate::proxy::server::Client;
use crate::proxy::settings::NoKey;
use crate::proxy::settings::Protocol;
use crate::proxy::streams::Turn;
use crate::proxy::table::PoolTable;
use crate::proxy::trailers;
use crate::proxy::trailers::TrailerTerms;
use crate::proxy::worker::Phase;
use crate::proxy::worker::Worker;
use crate::routing::body_search::BodySearch;
use crate::routing::key::Extracted;
use crate::routing::key::Key;
use http::HeaderValue;
use http::Request;
use http::Response;
use http::StatusCode;
use http::Version;
use http::header;
use http_body::Body;
use hyper::body::Incoming;
use serde_json::json;
use std::convert::Infallible;
use std::future::Future;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Answers one request; failures are answers too.
///
/// All that needs no waiting is done before there is a future, so that this is small: a future is moved about whole,
/// and whatever an async function is given by value takes room in it twice. In HTTP/2 it happens in the task of the
/// connection, with the streams of others.
pub(crate) fn serve(
    worker: &Rc<Worker>,
    client: &Rc<Client>,
    request: Request<Incoming>,
) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + use<> {
    let version = request.version();
    let log = worker.logs_access().then(|| Box::new(inbound::log_entry(client, &request)));
    client.state.leaves_unread(!request.body().is_end_stream());
    // Whoever speaks HTTP/1 only says that it is gRPC.
    let is_grpc = version == Version::HTTP_2 && trailers::is_grpc(request.headers());
    let mut exchange = Exchange::begin(worker, client, log);
    let mut prepared = contain::call(|| Prepared::new(worker, client, request, &mut exchange));
    let (worker, client) = (Rc::clone(worker), Rc::clone(client));
    async move {
        let mut response = match &mut prepared {
            Ok(prepared) => {
                let carried = {
                    let mut carrying = pin!(prepared.carry(&worker, &mut exchange));
                    poll_fn(|cx| contain::poll(carrying.as_mut(), cx)).await
                };
                match carried {
                    Ok(carried) => carried.deliver(&client, exchange, version),
                    Err(error) => refuse(&error, is_grpc, &mut exchange),
                }
            }
            Err(error) => refuse(error, is_grpc, &mut exchange),
        };
        // HTTP/1 clients are told to leave response by response; HTTP/2 has GOAWAY.
        if version == Version::HTTP_2 {
            headers::detach(response.headers_mut(), &mut client.last_values.borrow_mut());
            client.state.turn.set(Some(Turn::Client));
        } else if is_leaving(&worker, &client) && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            client.state.relay_is_last();
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        Ok(response)
    }
}

/// Whether a client of HTTP/1 is to leave after this response; hyper tells those that it was told to.
fn is_leaving(worker: &Worker, client: &Client) -> bool {
    let phase = worker.phase();
    phase != Phase::Running || worker.files().is_crowded() || client.state.order_in(phase) >= client::Order::Finish
}

fn refuse(error: &ProxyError, is_grpc: bool, exchange: &mut Exchange) -> Response<ResponseBody> {
    exchange.refused(error);
    if is_grpc { grpc_problem(error) } else { problem(error) }
}

/// An error as clients of gRPC understand it: a response that is nothing but its trailers ("Trailers-Only" in gRPC's
/// protocol over HTTP/2).
fn grpc_problem(error: &ProxyError) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::local(""));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(error.grpc_status()));
    if let Ok(message) = HeaderValue::try_from(error.to_string()) {
        headers.insert("grpc-message", message);
    }
    if let Ok(value) = HeaderValue::try_from(error.proxy_status()) {
        headers.insert("proxy-status", value);
    }
    if error.poisons_client_connection() {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// What a node answered, made fit for the client.
enum Carried {
    /// An ordinary response, whose body may be silent for `patience`, or for as long as it likes.
    Response { response: Response<Incoming>, patience: Option<Duration>, trailers: TrailerTerms },
    /// The node switches to the protocol that the client asked for.
    Switch(Response<Incoming>),
}

impl Carried {
    /// The response as hyper gets it to a request of this version. A long one is relayed where that is possible.
    fn deliver(self, client: &Client, mut exchange: Box<Exchange>, version: Version) -> Response<ResponseBody> {
        // What keeps a connection of HTTP/1.0 open is left to hyper.
        let may_relay = version == Version::HTTP_11 || client.state.is_last();
        match self {
            Carried::Response { response, patience: Some(patience), .. }
                if may_relay && relay::is_long(response.body(), exchange.is_first()) && exchange.is_relayable() =>
            {
                let (head, body) = response.into_parts();
                let relay = Relay::new(body, patience, exchange);
                let body = ResponseBody::Relayed(relay.length());
                client.relay(relay);
                Response::from_parts(head, body)
            }
            Carried::Response { response, patience, trailers } => {
                response.map(|body| ResponseBody::node(body, patience, trailers, exchange))
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
    /// The protocol that the client asks to switch to.
    upgrade: Option<HeaderValue>,
    /// Whether it is a call of gRPC, in which silence is normal.
    is_call: bool,
}

impl Prepared {
    fn new(
        worker: &Worker,
        client: &Rc<Client>,
        mut request: Request<Incoming>,
        exchange: &mut Exchange,
    ) -> Result<Prepared, ProxyError> {
        let table = worker.table();
        let limits = &table.table.server.limits;
        if !memory::has_room(worker, limits.max_request_memory) {
            return Err(ProxyError::Overloaded);
        }
        let inbound = Inbound::accept(client, &mut request, &table.table.server)?;
        client.state.expect_end(inbound.is_last);
        if let Some(log) = &mut exchange.log {
            log.host = inbound::cut(inbound.host().to_str().unwrap_or_default());
        }
        let choice = choose(worker, &table, &inbound, &request, exchange)?;
        let pool = &table.table.pools()[choice.pool];
        let upgrade = inbound.upgrade.clone();
        let may_repeat = request.method().is_idempotent() && upgrade.is_none();
        // Nodes of HTTP/2 say what they did not look at.
        let may_refuse = pool.settings.protocol == Protocol::H2;
        let is_in_body = matches!(choice.aim, Aim::InBody(_));
        let may_be_call = client.state.is_http2() && pool.settings.protocol == Protocol::H2;
        let trailers = inbound.trailers(&mut request, limits, may_be_call);
        let is_call = trailers == TrailerTerms::Grpc;
        let terms = BodyTerms {
            // HTTP/2 finds out by itself whether the client is still there.
            patience: (!is_call || is_in_body).then_some(limits.body_timeout),
            min_rate: limits.min_body_rate,
            replay_max: if may_repeat || may_refuse { pool.settings.max_replay_body } else { 0 },
            reads_ahead: is_in_body,
            trailers,
            is_http2: client.state.is_http2(),
        };
        exchange.memory.add(memory::head_bytes(&request, inbound.text_bytes()));
        exchange.is_bound = inbound.logs_in;
        let (request, upload) = inbound.outbound(client, request, &pool.settings, terms);
        exchange.upload = upload;
        Ok(Prepared { table, choice, outbound: Outbound::new(request, may_repeat), upgrade, is_call })
    }

    async fn carry(&mut self, worker: &Worker, exchange: &mut Exchange) -> Result<Carried, ProxyError> {
        if let Some(failure) = exchange.upload.as_ref().and_then(|upload| upload.failure.get()) {
            return Err(failure.into());
        }
        let order = match &self.choice.aim {
            Aim::At(order) => *order,
            // In a box, because few requests need what that takes.
            Aim::InBody(_) => Box::pin(self.look_into_body(worker, exchange)).await?,
        };
        let pool = &self.table.table.pools()[self.choice.pool];
        let answer = {
            let attempts = pin!(attempt::attempt(worker, pool, order, &mut self.outbound, exchange));
            match pool.settings.timeouts.total {
                None => attempts.await,
                // In a box, because few pools have such a limit.
                Some(total) => {
                    let limited = Box::pin(tokio::time::timeout(total, attempts));
                    limited.await.unwrap_or(Err(ProxyError::TotalTimeout))
                }
            }
        };
        if let (Err(ProxyError::TotalTimeout), Some(total)) = (&answer, pool.settings.timeouts.total) {
            exchange.ran_out(total);
        }
        let answer = answer?;
        self.outbound.settle();
        let passed_on = self.pass_on(answer, pool, exchange);
        if passed_on.is_err() {
            exchange.blame(LiveFailure::Protocol);
        }
        passed_on
    }

    /// Finds the key of the request in its body. That may take its time, in which nodes come and go: the request then
    /// goes by the table of the moment, unless the pool has other settings there.
    async fn look_into_body(&mut self, worker: &Worker, exchange: &mut Exchange) -> Result<Order, ProxyError> {
        let index = self.choice.pool;
        let pool = &self.table.table.pools()[index];
        let key = match (&mut self.choice.aim, self.outbound.client_body()) {
            (Aim::InBody(search), Some(body)) => key_body::find(search, body, &pool.settings).await?,
            (Aim::InBody(search), None) => search.end(),
            (Aim::At(order), _) => return Ok(*order),
        };
        exchange.ready = Instant::now();
        let latest = worker.table();
        let later = latest.table.pools().get(index);
        let is_same = later.is_some_and(|later| Arc::ptr_eq(&later.settings, &pool.settings));
        let table = if is_same { latest } else { Rc::clone(&self.table) };
        let order = order_of(key, worker, &table.table.pools()[index], exchange)?;
        self.table = table;
        Ok(order)
    }

    /// Makes a node's response the client's.
    fn pass_on(
        &self,
        mut response: Response<Incoming>,
        pool: &PoolTable,
        exchange: &mut Exchange,
    ) -> Result<Carried, ProxyError> {
        let received = response.version();
        // The version is this proxy's own (RFC 9110 section 6.2): an HTTP/1.0 node takes nothing from its clients.
        *response.version_mut() = Version::HTTP_11;
        let status = response.status();
        let switched = status == StatusCode::SWITCHING_PROTOCOLS;
        let is_long = relay::is_long(response.body(), exchange.is_first());
        let headers = response.headers_mut();
        let found = Survey::of(headers);
        let framing = framing::settle_response(headers, found, status);
        // A node that says two things may mean the one that does not count.
        let contradicts_itself = found.transfer_encoding && found.content_length.is_any();
        let logs_in = found.authenticate && headers::binds_connection(headers, &header::WWW_AUTHENTICATE);
        // Of others hyper knows it, and of what HTTP/1.0 means by `Connection`.
        let closes = is_long && (received != Version::HTTP_11 || headers::forbids_another(headers, found, received));
        if contradicts_itself || logs_in || closes {
            exchange.trusts_no_more();
        }
        let node = exchange.node_name().unwrap_or_default();
        let not_plain = || ProxyError::NodeProtocol { node: node.to_owned() };
        framing.map_err(|_| not_plain())?;
        if found.connection == Presence::Other && !headers::is_connection_readable(headers) {
            return Err(not_plain());
        }
        let protocol = if switched { headers.get(header::UPGRADE).cloned() } else { None };
        headers::strip_hop_by_hop(headers, found);
        exchange.via().add(headers, received);
        if pool.settings.decision_headers {
            let decision = exchange.decision.map_or("", Decision::label);
            headers.insert(headers::X_RINGWAY_DECISION, HeaderValue::from_static(decision));
            headers.insert(headers::X_RINGWAY_EPOCH, HeaderValue::from(pool.epoch));
            if let Ok(name) = HeaderValue::from_str(node) {
                headers.insert(headers::X_RINGWAY_NODE, name);
            }
        }
        if !switched {
            let trailers = TrailerTerms::settle(headers, found, &self.table.table.server.limits, self.is_call);
            let patience = (trailers != TrailerTerms::Grpc).then_some(pool.settings.timeouts.idle);
            return Ok(Carried::Response { response, patience, trailers });
        }
        // A switch that nobody asked for would turn the connection into something no rule of this proxy applies to.
        let is_asked =
            |protocol: &HeaderValue| self.upgrade.as_ref().is_some_and(|asked| headers::is_among(protocol, asked));
        let Some(protocol) = protocol.filter(is_asked) else {
            return Err(not_plain());
        };
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
        Ok(Carried::Switch(response))
    }
}

/// Where a request goes.
struct Choice {
    pool: usize,
    aim: Aim,
}

/// Which nodes to try, in which order, if that is known before the body has come.
enum Aim {
    At(Order),
    InBody(Box<BodySearch>),
}

/// Finds the pool and the key of a request.
fn choose(
    worker: &Worker,
    table: &LocalTable,
    inbound: &Inbound,
    request: &Request<Incoming>,
    exchange: &mut Exchange,
) -> Result<Choice, ProxyError> {
    let head = inbound.head(request);
    let index = table.table.find(head.host, head.path).ok_or(ProxyError::NoPool)?;
    let pool = &table.table.pools()[index];
    exchange.pool = Some(Rc::clone(table.pool(index)));
    let key = match pool.settings.key.extract(&head) {
        Extracted::Absent => None,
        Extracted::Key(key) => Some(key),
        Extracted::InBody(mut search) if request.body().is_end_stream() => search.end(),
        Extracted::InBody(search) => return Ok(Choice { pool: index, aim: Aim::InBody(Box::new(search)) }),
    };
    Ok(Choice { pool: index, aim: Aim::At(order_of(key, worker, pool, exchange)?) })
}

/// Which nodes a request with this key is for.
fn order_of(
    key: Option<Key<'_>>,
    worker: &Worker,
    pool: &PoolTable,
    exchange: &mut Exchange,
) -> Result<Order, ProxyError> {
    let settings = &pool.settings;
    let counts = exchange.pool.as_ref().map(|local| local.of(worker.id()));
    if let Some(key) = key {
        if let Some(counts) = counts {
            counts.keys.of(key.source).increment();
        }
        exchange.decision = Some(Decision::Owner);
        let position = pool.placement.position(settings.key.hashed(&key.bytes));
        if let Some(log) = &mut exchange.log {
            log.key_source = Some(settings.key.source_name(key.source).to_owned());
            log.key_hash = Some(format!("{position:016x}"));
        }
        return Ok(Order::Key(position));
    }
    if let Some(counts) = counts {
        counts.keyless.increment();
    }
    if settings.no_key == NoKey::Reject {
        return Err(ProxyError::KeyMissing { expected: settings.key.describe() });
    }
    exchange.decision = Some(Decision::NoKey);
    let first = pool.draw(worker.random());
    let no_node = || ProxyError::NoNode { pool: settings.name.clone() };
    Ok(Order::Spread { first: first.ok_or_else(no_node)?, position: worker.random() })
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
