//! One request from its head to the last byte of its response: counted, logged and settled exactly once.

mod at_node;

use crate::cluster::health::LiveFailure;
use crate::cluster::health::Note;
use crate::metrics::limit::Limit;
use crate::proxy::access_log::Entry;
use crate::proxy::admission::InFlight;
use crate::proxy::alarm::Alarm;
use crate::proxy::client::Order;
use crate::proxy::decision::Decision;
use crate::proxy::error::ProxyError;
use crate::proxy::error::RetryReason;
use crate::proxy::exchange::at_node::AtNode;
use crate::proxy::exchange::at_node::Verdict;
use crate::proxy::files::Files;
use crate::proxy::lane::Lane;
use crate::proxy::linger::Linger;
use crate::proxy::local::LocalPool;
use crate::proxy::memory::Charge;
use crate::proxy::pace::UploadFailure;
use crate::proxy::pick::Chosen;
use crate::proxy::pick::Way;
use crate::proxy::request_body::Upload;
use crate::proxy::server::Client;
use crate::proxy::settings::PoolSettings;
use crate::proxy::streams::Turn;
use crate::proxy::upstream::Connection;
use crate::proxy::upstream::LocalNode;
use crate::proxy::via::Via;
use crate::proxy::worker::Worker;
use crate::routing::attempts::BudgetSettings;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Context;
use std::task::Poll;
use std::task::ready;
use std::thread;
use std::time::Duration;
use tokio::time::Instant;

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
    /// The owner of its key, where that had enough to do.
    spilled_from: Option<Rc<LocalNode>>,
    pub(crate) log: Option<Box<Entry>>,
    pub(crate) memory: Charge,
    /// The timer of the client's connection, for as long as this request needs one.
    alarm: Alarm,
    pub(crate) started: Instant,
    /// Since when nothing but a node is needed: from the start, unless the key was in the body.
    pub(crate) ready: Instant,
    upstream_duration: Option<Duration>,
    status: u16,
    bytes_out: u64,
    is_tunnel: bool,
    /// Whether it has been at a node, or waited for one: its time there is not that since its beginning.
    is_under_way: bool,
    /// Whether it had to wait for a node.
    has_waited: bool,
    /// Whether its client logs in to a connection, which then is no other client's.
    pub(crate) is_bound: bool,
}

impl Exchange {
    /// Begins with the request head.
    pub(crate) fn begin(worker: &Rc<Worker>, client: &Rc<Client>, log: Option<Box<Entry>>) -> Box<Exchange> {
        client.state.request_began();
        let now = Instant::now();
        Box::new(Exchange {
            worker: Rc::clone(worker),
            client: Rc::clone(client),
            pool: None,
            node: None,
            upload: None,
            decision: None,
            spilled_from: None,
            log,
            memory: Charge::new(client),
            alarm: client.alarm.take(),
            started: now,
            ready: now,
            upstream_duration: None,
            status: CLIENT_LEFT,
            bytes_out: 0,
            is_tunnel: false,
            is_under_way: false,
            has_waited: false,
            is_bound: false,
        })
    }

    /// Counts the request as in flight at the node that was chosen, `node` to this worker, from now on (and no longer
    /// at the node before).
    pub(crate) fn enter_node(&mut self, node: &Rc<LocalNode>, chosen: Chosen<'_>, settings: &PoolSettings) {
        self.leave_node();
        node.stats().inflight.add(1);
        let is_first = !std::mem::replace(&mut self.is_under_way, true);
        let since = if is_first { self.ready } else { Instant::now() };
        self.node = Some(AtNode {
            node: Rc::clone(node),
            connection: None,
            since,
            is_trial: chosen.is_trial,
            in_flight: chosen.in_flight,
            verdict: None,
            max_failures: settings.ejection.failures,
            max_idle: if self.is_bound { 0 } else { settings.max_idle_connections },
            idle_for: settings.timeouts.idle_connection,
        });
    }

    /// The connection to the node is not kept for another request: what comes next on it may be no response.
    pub(crate) fn trusts_no_more(&mut self) {
        if let Some(at) = &mut self.node {
            at.max_idle = 0;
        }
    }

    /// There is no file for a connection to a node: whether one that was idle could be closed.
    pub(crate) fn makes_room(&self) -> bool {
        self.worker.make_room(1)
    }

    /// There was none either: all workers make room, and the request waits for a file. Returns those of the process.
    pub(crate) fn is_short(&self) -> Arc<Files> {
        self.worker.stats().limit_hits.hit(Limit::Files);
        self.worker.files().note_shortage();
        Arc::clone(self.worker.files())
    }

    /// The request is at no node, and waits for one.
    pub(crate) fn wait(&mut self) {
        self.leave_node();
        self.is_under_way = true;
        if !std::mem::replace(&mut self.has_waited, true)
            && let Some(pool) = &self.pool
        {
            pool.of(self.worker.id()).held.increment();
        }
    }

    /// When the request came to the node it is at.
    pub(crate) fn entered(&self) -> Instant {
        self.node.as_ref().map_or(self.ready, |at| at.since)
    }

    /// How the request comes to the node that it enters next. One without a key came there for want of one.
    pub(crate) fn comes(&mut self, way: Way<'_>) {
        match self.decision {
            None | Some(Decision::NoKey) => return,
            Some(Decision::Failover | Decision::Owner | Decision::Spill) => {}
        }
        let (decision, owner_was, spilled_from) = match way {
            Way::Straight => (Decision::Owner, None, None),
            Way::Failover { owner_was } => (Decision::Failover, Some(owner_was), None),
            Way::Spill { owner } => (Decision::Spill, Some("full"), Some(self.worker.node(owner))),
        };
        (self.decision, self.spilled_from) = (Some(decision), spilled_from);
        if let Some(log) = &mut self.log {
            log.owner_was = owner_was;
        }
    }

    /// Takes note that the node failed this request by its own fault.
    pub(crate) fn blame(&mut self, failure: LiveFailure) {
        let Some(at) = self.node.as_mut().filter(|at| at.verdict != Some(Verdict::Failed)) else { return };
        at.verdict = Some(Verdict::Failed);
        at.node.stats().failures.increment();
        let in_a_row = at.node.upstream.vital.failed();
        let is_limit = at.max_failures != 0 && in_a_row >= at.max_failures;
        let note = match at.is_trial {
            true => Note::TrialFailed(failure),
            false if is_limit => Note::FailedInARow(failure),
            false => return,
        };
        self.worker.report(at.node.upstream.id, note);
    }

    /// Takes note of an answer, whose status may count as a failure of the node. One that `is_open_ended`, such as a
    /// stream or a tunnel, is a success as soon as it begins, because it may never end.
    pub(crate) fn judge(&mut self, is_failure: bool, is_open_ended: bool) {
        if is_failure {
            return self.blame(LiveFailure::Status(self.status));
        }
        if is_open_ended {
            self.succeeded();
        }
        if let Some(at) = self.node.as_ref().filter(|at| at.is_trial) {
            self.worker.report(at.node.upstream.id, Note::TrialPassed);
        }
    }

    fn succeeded(&mut self) {
        self.node.iter_mut().for_each(AtNode::succeeded);
    }

    /// The response broke off, or nothing of it came for too long. While the client was still sending, that may be its
    /// fault; once the connection was cut here, it is nobody's.
    pub(crate) fn broke_off(&mut self, failure: LiveFailure) {
        if self.connection().is_some_and(|connection| connection.is_cut()) {
            return;
        }
        if self.upload.as_ref().is_none_or(|upload| upload.complete.get()) {
            self.blame(failure);
        }
    }

    /// There is no time left for an answer. It is the fault of the node if that had at least half of the `total`, with
    /// nothing more to come from the client.
    pub(crate) fn ran_out(&mut self, total: Duration) {
        let progress = self.upload.as_ref().and_then(|upload| upload.progress.get());
        let since = self.entered().max(progress.unwrap_or(self.started));
        let is_client_slow = self.upload.as_ref().is_some_and(|upload| upload.awaits_client.get());
        if !is_client_slow && since.elapsed() >= total / 2 {
            self.blame(LiveFailure::TimedOut);
        }
    }

    /// Whether the budget of the pool allows to send a request again that may have reached a node; takes from it.
    pub(crate) fn may_repeat(&self, budget: BudgetSettings) -> bool {
        let Some(pool) = &self.pool else { return false };
        let is_allowed = self.worker.spend(pool, budget);
        if !is_allowed {
            pool.of(self.worker.id()).retries_refused.increment();
        }
        is_allowed
    }

    /// Counts an attempt after one that failed.
    pub(crate) fn count_retry(&mut self, reason: RetryReason) {
        if let Some(log) = &mut self.log {
            log.attempts += 1;
        }
        let Some(pool) = &self.pool else { return };
        let stats = pool.of(self.worker.id());
        let counter = match reason {
            RetryReason::Closed => &stats.retries_closed,
            RetryReason::Connect => &stats.retries_connect,
            RetryReason::StaleConnection => &stats.retries_stale,
            RetryReason::Status => &stats.retries_status,
            RetryReason::Timeout => &stats.retries_timeout,
        };
        counter.increment();
    }

    /// What counts the request at the node it is at, for another attempt there.
    pub(crate) fn take_in_flight(&mut self) -> Option<InFlight> {
        self.node.as_mut().and_then(|at| at.in_flight.take())
    }

    /// The request found no connection to the node it is at.
    pub(crate) fn undo_in_flight(&mut self) {
        if let Some(in_flight) = self.take_in_flight() {
            in_flight.undo();
        }
    }

    /// Takes the request off the node it was counted at.
    pub(crate) fn leave_node(&mut self) {
        if let Some(at) = self.node.take() {
            at.node.stats().inflight.add(-1);
            at.node.stats().tunnels.add(-i64::from(self.is_tunnel));
        }
    }

    /// Ready when the node has not begun its response within `patience`, from the last piece of the request on: `since`
    /// is when that was, as far as is known. A long upload is no silence of the node, nor is a slow one, which has a
    /// timeout of its own.
    pub(crate) fn poll_silent(&mut self, since: &mut Instant, patience: Duration, cx: &mut Context<'_>) -> Poll<()> {
        if !self.alarm.is_set() {
            // Another request on the same connection has its timer.
            self.alarm = self.worker.spares.take_alarm();
        }
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

    /// The timer, for who waits for the rest of the response.
    pub(crate) fn take_alarm(&mut self) -> Alarm {
        std::mem::take(&mut self.alarm)
    }

    /// The name of the node that the request is at.
    pub(crate) fn node_name(&self) -> Option<&str> {
        self.node.as_ref().map(|at| at.node.upstream.name.as_str())
    }

    /// The node answered: remembers the connection, which is kept once both bodies are complete.
    pub(crate) fn answered(&mut self, lane: Lane, status: u16, after: Duration) {
        self.status = status;
        self.upstream_duration = Some(after);
        if let Some(upload) = &self.upload {
            upload.answered(matches!(lane, Lane::Own(_)));
        }
        if let Some(at) = &mut self.node {
            at.node.stats().upstream_duration.observe(after);
            at.connection = Some(lane);
        }
    }

    /// How this process names itself.
    pub(crate) fn via(&self) -> &Via {
        &self.worker.via
    }

    /// The proxy answers itself; the answer still counts as the node's where one had been reached.
    pub(crate) fn refused(&mut self, error: &ProxyError) {
        self.status = error.status().as_u16();
        if let Some(limit) = error.limit() {
            self.worker.stats().limit_hits.hit(limit);
        }
    }

    /// The connection that the response comes over, until that is complete.
    pub(crate) fn connection(&mut self) -> Option<&mut Lane> {
        self.node.as_mut().and_then(|at| at.connection.as_mut())
    }

    /// Whether the response goes over HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.client.state.is_http2()
    }

    /// Whether the response, if it is long, need not go by way of hyper: over HTTP/1 from the socket of a node to a
    /// client that has nothing more to send.
    pub(crate) fn is_relayable(&mut self) -> bool {
        let own = self.connection().and_then(Lane::as_own);
        own.is_some_and(|connection| connection.is_relayable()) && !self.is_http2() && self.upload.is_none()
    }

    /// Whether it is the first one of its client.
    pub(crate) fn is_first(&self) -> bool {
        self.client.state.is_first()
    }

    /// Whose turn it is in the response, which is polled.
    pub(crate) fn pass_turn(&self, turn: Turn) {
        self.client.state.turn.set(Some(turn));
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
        at.succeeded();
        let unfinished = self.upload.as_ref().filter(|upload| !upload.complete.get()).map(Rc::clone);
        let linger = || Linger::of(&self.worker.table().table.server.limits);
        match (connection, unfinished) {
            (Lane::Own(connection), Some(upload)) => connection.linger(upload, linger()),
            (Lane::Own(connection), None) => at.node.keep(connection, at.max_idle, at.idle_for),
            (Lane::Shared(_), Some(upload)) => upload.linger(linger()),
            (Lane::Shared(_), None) => {}
        }
    }

    /// The request turned into a tunnel, over the connection of its node.
    pub(crate) fn switch(&mut self) -> Option<Box<Connection>> {
        self.is_tunnel = true;
        let connection = self.take_connection()?;
        self.node.as_ref().inspect(|at| at.node.stats().tunnels.add(1));
        Some(connection)
    }

    /// The connection of its own that the response comes over, for who takes the rest of it.
    pub(crate) fn take_connection(&mut self) -> Option<Box<Connection>> {
        let at = self.node.as_mut()?;
        let lane = at.connection.take()?;
        if let Lane::Own(connection) = lane { Some(connection) } else { None }
    }

    /// The response has come over this connection, which was taken for that.
    pub(crate) fn give_back(&mut self, connection: Box<Connection>) {
        if let Some(at) = &mut self.node {
            at.connection = Some(Lane::Own(connection));
        }
    }

    /// Whether it ends before its response is complete, and that is not the fault of the node.
    fn is_abandoned(&self) -> bool {
        let is_unanswered = self.status == CLIENT_LEFT && self.upstream_duration.is_none();
        let at = self.node.as_ref().filter(|at| at.connection.is_some());
        is_unanswered || at.is_some_and(|at| at.verdict != Some(Verdict::Failed))
    }

    /// Counts a stream that its client has reset, or that had to be reset; a client that makes a habit of it is cut.
    fn count_reset(&self, now: Instant) {
        let table = self.worker.table();
        let limits = &table.table.server.limits;
        let is_habit = self.client.state.resets.note(now, limits.max_resets, limits.resets_period);
        if is_habit && self.client.state.order(Order::Abort) {
            self.worker.stats().limit_hits.hit(Limit::MaxResets);
        }
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
            Some(Decision::Spill) => stats.decision_spill.increment(),
            None => {}
        }
        if let (Some(owner), Some(at)) = (&self.spilled_from, &self.node) {
            owner.stats().spilled_out.increment();
            at.node.stats().spilled_in.increment();
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
        self.worker.spares.leave_alarm(self.client.alarm.replace(std::mem::take(&mut self.alarm)));
        self.client.state.request_ended(now);
        if self.is_http2() && self.is_abandoned() {
            self.count_reset(now);
        }
        let is_unread = self.upload.as_ref().is_some_and(|upload| !upload.complete.get());
        if self.worker.awaited_bodies.are_many() && !is_unread && !self.is_http2() {
            // The body of the next request is to be gathered, if it has one.
            self.client.state.order(Order::Rest);
        }
        if let Some(upload) = &self.upload {
            upload.settled();
            // A connection of HTTP/2 goes on without this request, and would go on with its body.
            if self.node.as_ref().is_some_and(|at| matches!(at.connection, Some(Lane::Shared(_)))) {
                upload.give_up();
            }
            self.client.state.leaves_unread(is_unread);
            if let Some(limit) = upload.failure.get().and_then(UploadFailure::limit) {
                self.worker.stats().limit_hits.hit(limit);
            }
        }
        self.leave_node();
    }
}
