//! One request from its head to the last byte of its response: counted, logged and settled exactly once.

use crate::proxy::access_log::Entry;
use crate::proxy::alarm::Alarm;
use crate::proxy::body::Upload;
use crate::proxy::server::Client;
use crate::proxy::settings::PoolSettings;
use crate::proxy::upstream::Connection;
use crate::proxy::upstream::LocalNode;
use crate::proxy::worker::LocalPool;
use crate::proxy::worker::Worker;
use std::rc::Rc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

/// Where a request went, and why there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// To a later candidate, because an earlier one failed.
    Failover,
    /// To any node, for want of a key.
    NoKey,
    /// To the owner of its key.
    Owner,
}

impl Decision {
    /// The word in metrics, logs and the `x-ringway-decision` header.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Decision::Failover => "failover",
            Decision::NoKey => "no-key",
            Decision::Owner => "owner",
        }
    }
}

/// What the log shows for a request whose client left before an answer, as nginx does.
const CLIENT_LEFT: u16 = 499;

/// What counts and the log show for a request in which this proxy panicked; its client sees the connection close.
const PANICKED: u16 = 500;

/// The account of one request. Dropping it settles it: whoever holds it last decides how long the request lasted.
pub(crate) struct Exchange {
    worker: Rc<Worker>,
    client: Rc<Client>,
    pub(crate) pool: Option<Rc<LocalPool>>,
    node: Option<AtNode>,
    pub(crate) upload: Option<Rc<Upload>>,
    pub(crate) decision: Option<Decision>,
    pub(crate) log: Option<Box<Entry>>,
    /// The timer of the client's connection, for as long as this request needs one.
    alarm: Alarm,
    pub(crate) started: Instant,
    upstream_duration: Option<Duration>,
    status: u16,
    bytes_out: u64,
    is_tunnel: bool,
}

/// The node that answers, and the connection it answers on.
struct AtNode {
    node: Rc<LocalNode>,
    connection: Option<Box<Connection>>,
    /// Connections that are kept for the next request.
    max_idle: usize,
    /// How long an upload may go on that the node has answered early.
    linger: Duration,
}

impl Exchange {
    /// Begins with the request head.
    pub(crate) fn begin(worker: &Rc<Worker>, client: &Rc<Client>, log: Option<Box<Entry>>) -> Box<Exchange> {
        client.state.request_began();
        Box::new(Exchange {
            worker: Rc::clone(worker),
            client: Rc::clone(client),
            pool: None,
            node: None,
            upload: None,
            decision: None,
            log,
            alarm: client.alarm.take(),
            started: Instant::now(),
            upstream_duration: None,
            status: CLIENT_LEFT,
            bytes_out: 0,
            is_tunnel: false,
        })
    }

    /// Counts the request as in flight at `node` from now on (and no longer at the node before).
    pub(crate) fn enter_node(&mut self, node: &Rc<LocalNode>, settings: &PoolSettings) {
        self.leave_node();
        node.stats().inflight.add(1);
        let (max_idle, linger) = (settings.max_idle_connections, settings.timeouts.idle);
        self.node = Some(AtNode { node: Rc::clone(node), connection: None, max_idle, linger });
    }

    /// Takes the request off the node it was counted at.
    pub(crate) fn leave_node(&mut self) {
        if let Some(at) = self.node.take() {
            at.node.stats().inflight.add(-1);
        }
    }

    /// Ready when the node has not begun its response within `patience`, from the last piece of the request on: `since`
    /// is when that was, as far as is known. A long upload is no silence of the node, nor is a slow one, which has a
    /// timeout of its own.
    pub(crate) fn poll_silent(&mut self, since: &mut Instant, patience: Duration, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.alarm.poll(*since + patience, cx));
            match &self.upload {
                Some(upload) if upload.awaits_client.get() => *since = Instant::now(),
                Some(upload) if upload.progress.get() > Some(*since) => {
                    *since = upload.progress.get().unwrap_or(*since);
                }
                _ => return Poll::Ready(()),
            }
        }
    }

    /// The name of the node that the request is at.
    pub(crate) fn node_name(&self) -> Option<&str> {
        self.node.as_ref().map(|at| at.node.upstream.name.as_str())
    }

    /// The node answered: remembers the connection, which is kept once both bodies are complete.
    pub(crate) fn answered(&mut self, connection: Box<Connection>, status: u16, after: Duration) {
        self.status = status;
        self.upstream_duration = Some(after);
        if let Some(upload) = &self.upload {
            upload.answered();
        }
        if let Some(at) = &mut self.node {
            at.node.stats().upstream_duration.observe(after);
            at.connection = Some(connection);
        }
    }

    /// The proxy answers itself; the answer still counts as the node's where one had been reached.
    pub(crate) fn refused(&mut self, status: u16) {
        self.status = status;
    }

    /// The connection that the response comes over, until that is complete.
    pub(crate) fn connection(&mut self) -> Option<&mut Connection> {
        self.node.as_mut().and_then(|at| at.connection.as_deref_mut())
    }

    /// `length` more bytes of the response body went to the client.
    pub(crate) fn sent(&mut self, length: usize) {
        self.bytes_out += length as u64;
    }

    /// The response body is complete: the connection is kept for the next request, unless the answer came before the
    /// whole request was sent, which leaves it in the middle of that request.
    pub(crate) fn complete(&mut self) {
        let Some(at) = &mut self.node else { return };
        let Some(connection) = at.connection.take() else { return };
        if self.upload.as_ref().is_none_or(|upload| upload.complete.get()) {
            at.node.keep(connection, at.max_idle);
        } else {
            connection.linger(at.linger);
        }
    }

    /// The request turned into a tunnel, over the connection of its node.
    pub(crate) fn switch(&mut self) -> Option<Box<Connection>> {
        self.is_tunnel = true;
        self.node.as_mut().and_then(|at| at.connection.take())
    }

    fn count(&self, duration: Duration) {
        let worker = self.worker.id();
        let Some(pool) = &self.pool else {
            self.worker.stats().requests_without_pool.count(self.status);
            return;
        };
        let stats = pool.of(worker);
        // How long a tunnel lives says nothing about how fast anything was.
        if !self.is_tunnel {
            stats.request_duration.observe(duration);
        }
        match &self.node {
            Some(at) => at.node.stats().requests.count(self.status),
            None => stats.requests_without_node.count(self.status),
        }
        match self.decision {
            Some(Decision::Failover) => stats.decision_failover.increment(),
            Some(Decision::NoKey) => stats.decision_no_key.increment(),
            Some(Decision::Owner) => stats.decision_owner.increment(),
            None => {}
        }
    }

    fn write_log(&mut self, duration: Duration) {
        let Some(mut entry) = self.log.take() else { return };
        entry.pool = self.pool.as_ref().map(|pool| pool.name.clone());
        entry.node = self.node.as_ref().map(|at| at.node.upstream.name.clone());
        entry.decision = self.decision.map(Decision::label);
        entry.status = self.status;
        entry.bytes_in = self.upload.as_ref().map_or(0, |upload| upload.bytes.get());
        entry.bytes_out = self.bytes_out;
        entry.duration_s = duration.as_secs_f64();
        entry.upstream_s = self.upstream_duration.map(|duration| duration.as_secs_f64());
        self.worker.write_log(&entry);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // A bug here is no client that left: the panic has taken the answer along.
        if thread::panicking() {
            self.status = PANICKED;
        }
        let now = Instant::now();
        let duration = now.saturating_duration_since(self.started);
        self.count(duration);
        self.write_log(duration);
        self.client.alarm.set(std::mem::take(&mut self.alarm));
        self.client.state.request_ended(now);
        if let Some(upload) = &self.upload {
            upload.settled();
        }
        self.leave_node();
    }
}
