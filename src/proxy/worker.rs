//! One data-plane thread: its runtime, its share of the clients, its own connections to nodes.

mod sweep;

pub use crate::proxy::phase::Phase;

use crate::cluster::health::Note;
use crate::metrics::limit::Limit;
use crate::metrics::pulse::BEAT_EVERY;
use crate::metrics::stats::ServerStats;
use crate::metrics::stats::ServerStripe;
use crate::proxy::access_log::AccessLog;
use crate::proxy::access_log::Entry;
use crate::proxy::addresses::Counted;
use crate::proxy::awaited::AwaitedBodies;
use crate::proxy::client::ClientState;
use crate::proxy::contain;
use crate::proxy::entrance::Handshakes;
use crate::proxy::files;
use crate::proxy::files::Files;
use crate::proxy::health_report::HealthReport;
use crate::proxy::local::LocalPool;
use crate::proxy::local::LocalTable;
use crate::proxy::phase::until;
use crate::proxy::relay::RelayBuffer;
use crate::proxy::server;
use crate::proxy::server::Arrival;
use crate::proxy::server::Spares;
use crate::proxy::spread::Newcomer;
use crate::proxy::spread::Place;
use crate::proxy::spread::Spread;
use crate::proxy::table::RoutingTable;
use crate::proxy::table::Upstream;
use crate::proxy::transport;
use crate::proxy::upstream::LocalNode;
use crate::proxy::via::Via;
use crate::routing::attempts::BudgetSettings;
use arc_swap::ArcSwap;
use arc_swap::Cache;
use slab::Slab;
use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::future::poll_fn;
use std::io;
use std::net::IpAddr;
use std::net::TcpListener;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::runtime::LocalOptions;
use tokio::sync::Notify;
use tokio::sync::mpsc;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// What all workers are started with.
pub struct Shared {
    /// The one table, swapped by `control`.
    pub tables: Arc<ArcSwap<RoutingTable>>,
    /// Counters of the process, with a stripe for each worker.
    pub stats: Arc<ServerStats>,
    /// The access log, when there is one.
    pub access_log: Option<AccessLog>,
    /// The life of the process.
    pub phase: watch::Receiver<Phase>,
    /// Where what is learned about nodes is told.
    pub reports: mpsc::Sender<HealthReport>,
    /// A number that tells this process from others, for `Via`.
    pub instance: u64,
}

/// The running data plane.
pub struct Workers {
    threads: Vec<JoinHandle<()>>,
}

/// Connections handed over to another worker that may wait for it.
const HANDOVER_QUEUE: usize = 1024;

impl Workers {
    /// Starts `count` workers that all accept from all `listeners`.
    ///
    /// # Errors
    /// When a listener cannot be prepared or duplicated, or a thread not be started.
    pub fn start(count: usize, listeners: &[TcpListener], shared: &Arc<Shared>) -> io::Result<Workers> {
        for listener in listeners {
            transport::prepare(listener)?;
        }
        let queues: Vec<_> = (0..count).map(|_| mpsc::channel(HANDOVER_QUEUE)).collect();
        let (senders, receivers): (Vec<_>, Vec<_>) = queues.into_iter().unzip();
        let spread = Arc::new(Spread::new(senders, Files::of_process(count)));
        let (failed, failures) = std::sync::mpsc::channel();
        let mut threads = Vec::with_capacity(count);
        for (id, handed_over) in receivers.into_iter().enumerate() {
            let listeners = listeners.iter().map(TcpListener::try_clone).collect::<io::Result<Vec<_>>>()?;
            let (shared, spread, failed) = (Arc::clone(shared), Arc::clone(&spread), failed.clone());
            let thread = thread::Builder::new().name(format!("worker-{id}"));
            threads.push(thread.spawn(move || {
                // A local runtime stays on the thread that made it.
                let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                    Ok(runtime) => runtime,
                    Err(error) => return failed.send(error).unwrap_or_default(),
                };
                drop(failed);
                // The first one by itself comes only after a first round of the runtime.
                shared.stats.pulses.beat(id);
                runtime.block_on(async move {
                    let worker = Rc::new(Worker::new(id, &shared, spread));
                    worker.run(listeners, handed_over, shared.phase.clone()).await;
                    shared.stats.pulses.end(id);
                });
            })?);
        }
        drop(failed);
        match failures.recv() {
            Ok(error) => Err(error),
            // Nobody is left that could fail to start.
            Err(_) => Ok(Workers { threads }),
        }
    }

    /// Waits until all workers have ended.
    pub fn join(self) {
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    }
}

/// The state of one data-plane thread.
pub(crate) struct Worker {
    id: usize,
    tables: RefCell<Cache<Arc<ArcSwap<RoutingTable>>, Arc<RoutingTable>>>,
    current: RefCell<Rc<LocalTable>>,
    nodes: RefCell<BTreeMap<u64, Rc<LocalNode>>>,
    clients: RefCell<Slab<Rc<ClientState>>>,
    pub(crate) spares: Spares,
    pub(crate) relay_buffer: RelayBuffer,
    pub(crate) awaited_bodies: AwaitedBodies,
    pub(crate) via: Via,
    pub(crate) handshakes: Handshakes,
    phase: Cell<Phase>,
    spread: Arc<Spread>,
    closed_one: Notify,
    /// How often files were short when that was last looked at.
    shortages: Cell<usize>,
    /// How often a client was not admitted by then.
    refusals: Cell<usize>,
    /// When idle clients were last closed for that.
    idle_closed: Cell<Option<Instant>>,
    stats: Arc<ServerStats>,
    access_log: Option<AccessLog>,
    random: RefCell<fastrand::Rng>,
    reports: mpsc::Sender<HealthReport>,
    started: Instant,
}

impl Worker {
    fn new(id: usize, shared: &Shared, spread: Arc<Spread>) -> Worker {
        let table = shared.tables.load_full();
        Worker {
            id,
            tables: RefCell::new(Cache::new(Arc::clone(&shared.tables))),
            current: RefCell::new(Rc::new(LocalTable::new(table, &[]))),
            nodes: RefCell::default(),
            clients: RefCell::default(),
            spares: Spares::default(),
            relay_buffer: RelayBuffer::new(),
            awaited_bodies: AwaitedBodies::default(),
            via: Via::new(shared.instance),
            handshakes: Handshakes::default(),
            phase: Cell::new(Phase::Starting),
            spread,
            closed_one: Notify::new(),
            shortages: Cell::new(0),
            idle_closed: Cell::new(None),
            refusals: Cell::new(0),
            stats: Arc::clone(&shared.stats),
            access_log: shared.access_log.clone(),
            random: RefCell::new(fastrand::Rng::new()),
            reports: shared.reports.clone(),
            started: Instant::now(),
        }
    }

    /// The number of this worker, for its stripe of every counter.
    pub(crate) fn id(&self) -> usize {
        self.id
    }

    /// Where the process is in its life.
    pub(crate) fn phase(&self) -> Phase {
        self.phase.get()
    }

    /// This worker's counters of the process.
    pub(crate) fn stats(&self) -> &ServerStripe {
        self.stats.stripes.of(self.id)
    }

    /// The counters of all workers.
    pub(crate) fn all_stats(&self) -> &Arc<ServerStats> {
        &self.stats
    }

    /// A uniformly random number.
    pub(crate) fn random(&self) -> u64 {
        self.random.borrow_mut().u64(..)
    }

    /// Tells what was learned about a node. When nobody listens fast enough it is lost, and learned again.
    pub(crate) fn report(&self, node: u64, note: Note) {
        self.reports.try_send(HealthReport { node, note }).unwrap_or_default();
    }

    /// Takes from the retry budget of a pool; `false` when nothing is left.
    pub(crate) fn spend(&self, pool: &LocalPool, budget: BudgetSettings) -> bool {
        pool.spend(self.id, self.started.elapsed(), budget, self.spread.workers())
    }

    /// The files of all workers.
    pub(crate) fn files(&self) -> &Arc<Files> {
        &self.spread.files
    }

    /// Whether requests are logged.
    pub(crate) fn logs_access(&self) -> bool {
        self.access_log.is_some()
    }

    /// Hands a finished entry to the access log.
    pub(crate) fn write_log(&self, entry: &Entry) {
        if let Some(log) = &self.access_log
            && !log.write(entry)
        {
            self.stats().log_lines_dropped.increment();
        }
    }

    /// The routing table of the moment: one comparison when it has not changed.
    pub(crate) fn table(&self) -> Rc<LocalTable> {
        let mut tables = self.tables.borrow_mut();
        let latest = tables.load();
        if !Arc::ptr_eq(latest, &self.current.borrow().table) {
            let next = LocalTable::new(Arc::clone(latest), self.current.borrow().pools());
            self.current.replace(Rc::new(next));
        }
        Rc::clone(&self.current.borrow())
    }

    /// This worker's connections to a node.
    pub(crate) fn node(&self, upstream: &Arc<Upstream>) -> Rc<LocalNode> {
        let mut nodes = self.nodes.borrow_mut();
        let new = || Rc::new(LocalNode::new(Arc::clone(upstream), self.id, &self.spread.files));
        Rc::clone(nodes.entry(upstream.id).or_insert_with(new))
    }

    /// Counts an open client until the guard is dropped.
    pub(crate) fn open(self: &Rc<Self>, place: Place) -> OpenGuard {
        self.stats().connections.add(1);
        OpenGuard { worker: Rc::clone(self), _place: place }
    }

    /// Registers a client, so that it can be told to leave, until the guard is dropped.
    pub(crate) fn register(self: &Rc<Self>, state: &Rc<ClientState>) -> Registration {
        let id = self.clients.borrow_mut().insert(Rc::clone(state));
        Registration { worker: Rc::clone(self), id }
    }

    async fn run(
        self: Rc<Self>,
        listeners: Vec<TcpListener>,
        handed_over: mpsc::Receiver<Newcomer>,
        mut phase: watch::Receiver<Phase>,
    ) {
        let mut intake = JoinSet::new();
        for (index, listener) in listeners.into_iter().enumerate() {
            intake.spawn_local(Rc::clone(&self).listen(index, listener, phase.clone()));
        }
        intake.spawn_local(Rc::clone(&self).take_over(handed_over, phase.clone()));
        tokio::task::spawn_local(Rc::clone(&self).look_after());
        loop {
            let now = *phase.borrow_and_update();
            self.enter(now);
            let is_empty = intake.is_empty() && self.spread.open(self.id) == 0;
            if now == Phase::Ended || (now >= Phase::HandedOver && is_empty) {
                return;
            }
            tokio::select! {
                changed = phase.changed() => if changed.is_err() { return },
                Some(ended) = intake.join_next() => if let Err(error) = ended {
                    tracing::error!(%error, "a worker takes no more clients");
                },
                () = self.closed_one.notified() => {}
            }
        }
    }

    fn enter(&self, phase: Phase) {
        if self.phase.replace(phase) != phase {
            self.clients.borrow().iter().for_each(|(_, client)| client.wake());
        }
    }

    /// Accepts from a socket, also after a panic.
    async fn listen(self: Rc<Self>, index: usize, listener: TcpListener, phase: watch::Receiver<Phase>) {
        match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => contain::again(|| self.accept_from(index, &listener, phase.clone())).await,
            Err(error) => tracing::error!(%error, "a worker cannot listen"),
        }
    }

    /// Accepts while the process does. When it closes, so does the socket, which resets what the kernel has connected
    /// already, so that is accepted first; when it hands over, the socket stays open for the process that accepts now.
    async fn accept_from(
        self: &Rc<Self>,
        index: usize,
        listener: &tokio::net::TcpListener,
        mut phase: watch::Receiver<Phase>,
    ) {
        if until(Phase::Running, &mut phase).await.is_none() {
            return;
        }
        let mut over = pin!(async {
            if until(Phase::HandedOver, &mut phase).await != Some(Phase::HandedOver) {
                tokio::time::sleep(LAST_ACCEPTS).await;
            }
        });
        for turn in 1_usize.. {
            if turn.is_multiple_of(ACCEPTS_PER_TURN) {
                tokio::task::yield_now().await;
            }
            // Polled by hand, because a future for every client takes longer than asking for one.
            let accepted = poll_fn(|cx| match over.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(None),
                Poll::Pending => listener.poll_accept(cx).map(Some),
            });
            let Some(accepted) = accepted.await else { return };
            match accepted {
                Ok((stream, peer)) => {
                    let Some(counted) = self.count_address(peer.ip(), index) else { continue };
                    self.wait_for_room().await;
                    self.settle(Arrival { stream, peer: peer.ip(), listener: index }, counted);
                }
                Err(error) => {
                    // Out of file descriptors or memory: the queue of the kernel holds the client until some are free.
                    if self.spread.may_complain(Instant::now()) {
                        tracing::warn!(%error, "cannot accept a connection");
                    }
                    if files::is_shortage(&error) {
                        self.stats().limit_hits.hit(Limit::Files);
                        self.spread.files.note_shortage();
                        self.make_room(usize::MAX);
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// As [`Worker::count_client`], unless it has yet to be said who the client is.
    fn count_address(&self, peer: IpAddr, listener: usize) -> Option<Option<Counted>> {
        let is_introduced = self.table().table.server.listen[listener].proxy_protocol.is_some();
        if is_introduced { Some(None) } else { self.count_client(peer) }
    }

    /// Counts a new client for its address, if there is a limit; `None` when that has as many connections as it may.
    /// Whose word is taken for other addresses is no single client.
    pub(crate) fn count_client(&self, address: IpAddr) -> Option<Option<Counted>> {
        let table = self.table();
        let server = &table.table.server;
        let max = server.limits.max_connections_per_address;
        if max == 0 || server.trusted_proxies.iter().any(|network| network.contains(&address.to_canonical())) {
            return Some(None);
        }
        let counted = self.spread.addresses.try_count(address, max);
        if counted.is_none() {
            self.stats().limit_hits.hit(Limit::MaxConnectionsPerAddress);
        }
        counted.map(Some)
    }

    /// Waits while the process has `limits.max-connections` clients, or as many as there are files for: then those that
    /// have been idle for longest make room, on all workers, and where it is files, the others leave with their next
    /// response. A client waits here, the others in the listen backlog.
    async fn wait_for_room(&self) {
        let files = &self.spread.files;
        let (mut is_counted, mut crowding) = (false, None);
        while !files.try_admit(self.table().table.server.limits.max_connections) {
            let is_full = files.is_full() && files.clients() < self.table().table.server.limits.max_connections;
            if !std::mem::replace(&mut is_counted, true) {
                self.stats().limit_hits.hit(if is_full { Limit::Files } else { Limit::MaxConnections });
            }
            crowding = crowding.filter(|_| is_full);
            if is_full {
                crowding.get_or_insert_with(|| files.crowd());
                files.note_shortage();
            }
            self.close_idle_clients();
            files.until_one_left(ACCEPT_PAUSE).await;
        }
    }

    /// Serves a new client here, or hands it to a worker that has fewer, so that few long connections spread evenly.
    fn settle(self: &Rc<Self>, arrival: Arrival<tokio::net::TcpStream>, counted: Option<Counted>) {
        let taker = self.spread.taker(self.id, &self.stats.pulses);
        // A full queue means that the other is the busier one after all.
        let way = if taker == self.id { None } else { self.spread.way_to(taker) };
        let Some(permit) = way else {
            return server::spawn(self, arrival, self.spread.place(self.id, counted));
        };
        let place = self.spread.place(taker, counted);
        let Arrival { stream, peer, listener } = arrival;
        match stream.into_std() {
            Ok(stream) => permit.send(Newcomer { arrival: Arrival { stream, peer, listener }, place }),
            Err(error) => tracing::warn!(%error, "a connection cannot be handed over"),
        }
    }

    /// Serves what other workers hand over. Once nobody is accepted they keep their clients, and those on their way end
    /// this.
    async fn take_over(self: Rc<Self>, mut handed_over: mpsc::Receiver<Newcomer>, mut phase: watch::Receiver<Phase>) {
        loop {
            let next = tokio::select! {
                next = handed_over.recv() => next,
                _ = until(Phase::HandedOver, &mut phase), if !handed_over.is_closed() => {
                    handed_over.close();
                    continue;
                }
            };
            let Some(Newcomer { arrival: Arrival { stream, peer, listener }, place }) = next else { return };
            match tokio::net::TcpStream::from_std(stream) {
                Ok(stream) => contain::survive(|| server::spawn(&self, Arrival { stream, peer, listener }, place)),
                Err(error) => tracing::warn!(%error, "a handed-over connection is lost"),
            }
        }
    }

    /// Says twice a second that this worker is alive, sweeps every second, and makes room whenever files are short.
    async fn look_after(self: Rc<Self>) {
        let mut tick = tokio::time::interval(BEAT_EVERY);
        for is_sweep in [true, false].into_iter().cycle() {
            while tokio::select! { _ = tick.tick() => false, () = self.spread.files.until_short() => true } {
                contain::survive(|| self.sweep_files());
            }
            self.stats.pulses.beat(self.id);
            if is_sweep {
                contain::survive(|| self.sweep());
            }
        }
    }
}

/// How many clients are accepted before those who are here already get their turn: a burst of new ones is not to delay
/// the requests of others. HAProxy takes 4 (`tune.maxaccept`), nginx one (`multi_accept off`).
const ACCEPTS_PER_TURN: usize = 8;

/// How long to wait before accepting again when the process is full.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// How long clients are still accepted when the process closes: enough to learn who was connected before.
const LAST_ACCEPTS: Duration = Duration::from_millis(20);

/// A client that can be told to leave.
pub(crate) struct Registration {
    worker: Rc<Worker>,
    id: usize,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.worker.clients.borrow_mut().remove(self.id);
    }
}

/// Counts an open client.
pub(crate) struct OpenGuard {
    worker: Rc<Worker>,
    _place: Place,
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.worker.stats().connections.add(-1);
        // Before, nobody waits for the last one to go, and waking the worker for each costs a round of its runtime.
        if self.worker.phase() >= Phase::HandedOver {
            self.worker.closed_one.notify_one();
        }
    }
}
