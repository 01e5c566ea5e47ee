//! The control plane: the only writer of the routing table and of the store.
//!
//! One thread takes writes one after another, so every write is decided on the state that the one before it left.
//! Writes that wait together are checked in order, made durable by one append and served by one new table; only then
//! are they answered.

mod batch;
pub mod explain;
pub mod health;
mod lending;
pub mod news;
pub mod pool_at;
mod probe;
mod resolve;
pub mod settings;
mod state;
pub mod write;

use crate::cluster::log::History;
use crate::cluster::membership::Change;
use crate::cluster::membership::Refused;
use crate::cluster::node::NodeAddress;
use crate::control::health::IllNode;
use crate::control::news::News;
use crate::control::news::Teller;
use crate::control::pool_at::PoolAt;
use crate::control::settings::Owner;
use crate::control::settings::PoolConfig;
use crate::control::state::State;
use crate::control::write::Write;
use crate::control::write::WriteError;
use crate::control::write::Written;
use crate::metrics::Metrics;
use crate::proxy::health_report::HealthReport;
use crate::proxy::node_gate::NodeGate;
use crate::proxy::settings::ServerSettings;
use crate::proxy::table::PoolTable;
use crate::proxy::table::RoutingTable;
use crate::store::Store;
use crate::store::StoreError;
use crate::store::settings::StoreSettings;
use crate::tls::TlsError;
use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::io;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::thread;
use std::thread::JoinHandle;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;
use tokio::sync::Notify;
use tokio::sync::broadcast;
use tokio::sync::mpsc;
use tokio::sync::oneshot;

/// Writes that may wait; more wait to be allowed to wait.
const QUEUE_WRITES: usize = 1024;

/// Writes that may share one append and one table.
const BATCH_WRITES_MAX: usize = 256;

/// What the control plane is started with.
pub struct Start<'a> {
    /// The data plane's settings.
    pub server: ServerSettings,
    /// The pools of the config.
    pub pools: Vec<PoolConfig>,
    /// Where events live.
    pub store: &'a StoreSettings,
    /// Data-plane threads, for the size of counters.
    pub workers: usize,
    /// Where tables are made visible.
    pub metrics: Arc<Metrics>,
    /// What the process before this one held in memory alone; counts only for a store that is nowhere else.
    pub histories: Vec<History>,
    /// Where this process listens, so that no node is there.
    pub own: Vec<NodeAddress>,
}

/// Why the control plane cannot start or reload.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The operating system refused a thread.
    #[error("cannot start the control thread: {0}")]
    Thread(#[from] io::Error),
    /// A pool's nodes cannot be placed or changed to what the file says.
    #[error("pool {pool}: {why}")]
    Pool {
        /// The pool.
        pool: String,
        /// What is wrong.
        why: String,
    },
    /// The store failed.
    #[error("{0}")]
    Store(Arc<StoreError>),
    /// A certificate, key or CA cannot be used.
    #[error("{0}")]
    Tls(#[from] TlsError),
    /// The control plane has a bug, which this has met.
    #[error("this proxy failed in the middle of it; its log says where")]
    Panicked,
    /// The process is ending.
    #[error("this proxy is shutting down")]
    Stopping,
}

/// The way to the control plane. Cheap to clone; when the last one is dropped the control thread ends.
#[derive(Clone)]
pub struct Controller {
    commands: mpsc::Sender<Command>,
    shared: Arc<Shared>,
}

/// What is read without asking the control thread.
struct Shared {
    tables: Arc<ArcSwap<RoutingTable>>,
    /// Told after every new table.
    changed: Arc<Notify>,
    /// Told of what happens.
    teller: Teller,
    /// Where nodes may be.
    gate: Arc<NodeGate>,
    /// Never read by the data plane.
    pools: RwLock<BTreeMap<String, PoolRecord>>,
}

/// What the control plane knows of a pool besides its table.
#[derive(Clone, Debug)]
pub struct PoolRecord {
    /// Who may change its membership.
    pub owner: Owner,
    /// Its past.
    pub history: History,
    /// How the file's `initial-nodes` and `placement` differ from what the store holds, if they do.
    pub drift: Option<String>,
}

enum Command {
    Write(Box<Write>, oneshot::Sender<Result<Written, WriteError>>),
    Reload(Box<(ServerSettings, Vec<PoolConfig>)>, oneshot::Sender<Result<Vec<String>, ControlError>>),
    Lend(oneshot::Sender<Result<Vec<History>, ControlError>>),
    Reclaim,
    Follow,
}

impl Controller {
    /// Opens the store, brings every pool to what the file and the store say, publishes the first table and starts the
    /// control thread. Also returns the thread, which ends when the last `Controller` is dropped, and warnings.
    ///
    /// # Errors
    /// When the store cannot be opened or written, or a pool's placement cannot be built.
    pub fn start(start: Start<'_>) -> Result<(Controller, JoinHandle<()>, Vec<String>), ControlError> {
        let (store, histories) = Store::open(start.store).map_err(|error| ControlError::Store(Arc::new(error)))?;
        let histories = match store {
            Store::File(_) => histories,
            Store::Memory(_) => start.histories,
        };
        let empty = RoutingTable::new(Arc::new(start.server.clone()), None, Vec::new());
        let shared = Arc::new(Shared {
            tables: Arc::new(ArcSwap::from_pointee(empty)),
            changed: Arc::default(),
            teller: Teller::new(),
            gate: Arc::new(NodeGate::new(start.own)),
            pools: RwLock::default(),
        });
        let mut state = State::new(store, histories, start.workers, start.metrics, Arc::clone(&shared));
        let warnings = state.configure(start.server, start.pools)?;
        let (commands, queue) = mpsc::channel(QUEUE_WRITES);
        let thread = thread::Builder::new().name("control".into()).spawn(move || run(state, queue))?;
        Ok((Controller { commands, shared }, thread, warnings))
    }

    /// The swap that workers read.
    pub fn tables(&self) -> &Arc<ArcSwap<RoutingTable>> {
        &self.shared.tables
    }

    /// Starts the thread that checks nodes and hears `reports` of them; it ends when all senders of those are gone.
    /// Nodes that `were_ill` in the process before this one are skipped from the beginning.
    ///
    /// # Errors
    /// When the operating system refuses it.
    pub fn watch_health(&self, reports: mpsc::Receiver<HealthReport>, were_ill: Vec<IllNode>) -> io::Result<()> {
        let Shared { tables, changed, teller, .. } = &*self.shared;
        health::start(Arc::clone(tables), Arc::clone(changed), teller.clone(), reports, were_ill)
    }

    /// The nodes that are ill at the moment.
    pub fn ill_nodes(&self) -> Vec<IllNode> {
        health::ill_nodes(&self.table())
    }

    /// Hears what happens from now on. Whoever is too slow misses the oldest, and is told how many.
    pub fn listen(&self) -> broadcast::Receiver<Arc<News>> {
        self.shared.teller.listen()
    }

    /// The table of the moment.
    pub fn table(&self) -> Arc<RoutingTable> {
        self.shared.tables.load_full()
    }

    /// One pool as it is served now.
    pub fn pool(&self, name: &str) -> Option<Arc<PoolTable>> {
        self.table().pool(name).cloned()
    }

    /// Asks something of what is known of a pool besides its table; `None` for a pool that does not exist.
    pub fn record<T>(&self, pool: &str, ask: impl FnOnce(&PoolRecord) -> T) -> Option<T> {
        self.shared.pools.read().unwrap_or_else(PoisonError::into_inner).get(pool).map(ask)
    }

    /// Whether nodes may have the addresses that changes give them, as a write would be asked.
    ///
    /// # Errors
    /// The first that may not be.
    pub fn check_addresses(&self, changes: &[Change]) -> Result<(), Refused> {
        self.shared.gate.check_changes(changes)
    }

    /// Makes a write; returns once it is durable and served.
    ///
    /// # Errors
    /// When it was not made; nothing of it was stored, unless the control plane panicked.
    pub async fn write(&self, write: Write) -> Result<Written, WriteError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(Command::Write(Box::new(write), reply)).await;
        sent.map_err(|_| WriteError::Stopping)?;
        answer.await.unwrap_or(Err(WriteError::Panicked))
    }

    /// Applies an edited config whole or not at all; returns warnings. Also reopens a store that refused writes after
    /// a failed one.
    ///
    /// # Errors
    /// When it was not applied.
    pub async fn reload(&self, server: ServerSettings, pools: Vec<PoolConfig>) -> Result<Vec<String>, ControlError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(Command::Reload(Box::new((server, pools)), reply)).await;
        sent.map_err(|_| ControlError::Stopping)?;
        answer.await.unwrap_or(Err(ControlError::Panicked))
    }
}

/// The verbs of a take-over, in the process that is taken over from.
impl Controller {
    /// Refuses writes and reloads from here on, and lets another process open the store. Returns the histories that the
    /// other one cannot read from there.
    ///
    /// # Errors
    /// When the store cannot be left in a state that another process may read; then this one keeps it.
    pub async fn lend(&self) -> Result<Vec<History>, ControlError> {
        let (reply, answer) = oneshot::channel();
        let sent = self.commands.send(Command::Lend(reply)).await;
        sent.map_err(|_| ControlError::Stopping)?;
        answer.await.unwrap_or(Err(ControlError::Panicked))
    }

    /// Takes the store back, now or as soon as the other process has let go of it.
    pub async fn reclaim(&self) {
        // A control thread that has ended needs no store.
        self.commands.send(Command::Reclaim).await.unwrap_or_default();
    }

    /// Serves what the other process has written to the store since.
    pub async fn follow(&self) {
        self.commands.send(Command::Follow).await.unwrap_or_default();
    }
}

impl PoolAt {
    /// The pool as it is served.
    pub fn of(pool: &PoolTable) -> PoolAt {
        PoolAt {
            pool: pool.settings.name.clone(),
            epoch: pool.epoch,
            membership: pool.membership.clone(),
            placement: Arc::clone(&pool.placement),
            key: pool.settings.key.clone(),
            fingerprint: pool.fingerprint,
        }
    }
}

/// The way to ask for the config file to be read again; `app` is at the other end.
#[derive(Clone, Debug)]
pub struct ReloadHandle {
    requests: mpsc::Sender<ReloadReply>,
}

/// Where the warnings of an applied reload go, or why it was not applied.
pub type ReloadReply = oneshot::Sender<Result<Vec<String>, String>>;

impl ReloadHandle {
    /// A handle and the receiver that serves it.
    pub fn new() -> (ReloadHandle, mpsc::Receiver<ReloadReply>) {
        let (requests, served) = mpsc::channel(1);
        (ReloadHandle { requests }, served)
    }

    /// Reads the config file again and applies it whole or not at all; returns warnings.
    ///
    /// # Errors
    /// A text for people when it was not applied: then everything is as before.
    pub async fn reload(&self) -> Result<Vec<String>, String> {
        let (reply, answer) = oneshot::channel();
        let stopping = || "this proxy is shutting down".to_owned();
        self.requests.send(reply).await.map_err(|_| stopping())?;
        answer.await.unwrap_or_else(|_| Err(stopping()))
    }
}

/// The control thread: everything here may block, nothing in the data plane waits for it. A panic costs the commands in
/// which it happens; before the next one, the state is what is stored.
fn run(mut state: State, mut queue: mpsc::Receiver<Command>) {
    let mut next = queue.blocking_recv();
    while let Some(command) = next.take() {
        // Counted and logged already.
        if catch_unwind(AssertUnwindSafe(|| next = obey(&mut state, command, &mut queue))).is_err() {
            catch_unwind(AssertUnwindSafe(|| state.recover())).unwrap_or_default();
        }
        if next.is_none() {
            next = queue.blocking_recv();
        }
    }
}

/// Does what a command says, with the writes that wait behind a write; returns the command behind those, if any.
fn obey(state: &mut State, command: Command, queue: &mut mpsc::Receiver<Command>) -> Option<Command> {
    match command {
        Command::Reload(config, reply) => {
            let (server, pools) = *config;
            // Nobody waits for the answer any more when this fails.
            drop(reply.send(state.reload(server, pools)));
        }
        Command::Lend(reply) => drop(reply.send(state.lend())),
        Command::Reclaim => state.reclaim(),
        Command::Follow => state.follow(),
        Command::Write(write, reply) => {
            let (mut writes, mut behind) = (vec![(*write, reply)], None);
            while writes.len() < BATCH_WRITES_MAX && behind.is_none() {
                match queue.try_recv() {
                    Ok(Command::Write(write, reply)) => writes.push((*write, reply)),
                    Ok(other) => behind = Some(other),
                    Err(_) => break,
                }
            }
            state.write(writes);
            return behind;
        }
    }
    None
}

/// The time of the moment, in milliseconds since 1970.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
