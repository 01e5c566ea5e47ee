//! Start and stop, in order: parse, bind, open the store, serve; then drain under a deadline.

use crate::admin;
use crate::admin::AdminState;
use crate::config::Config;
use crate::control::ControlError;
use crate::control::Controller;
use crate::control::ReloadHandle;
use crate::control::ReloadReply;
use crate::control::Start;
use crate::metrics::Metrics;
use crate::metrics::stats::ServerStats;
use crate::proxy::access_log::AccessLog;
use crate::proxy::health_report;
use crate::proxy::worker::Phase;
use crate::proxy::worker::Shared;
use crate::proxy::worker::Workers;
use socket2::Domain;
use socket2::Protocol;
use socket2::Socket;
use socket2::Type;
use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread;
use std::thread::JoinHandle;
use std::time::Duration;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::mpsc;
use tokio::sync::watch;

/// How long the end waits for the last lines of the access log.
const LOG_PATIENCE: Duration = Duration::from_secs(5);

/// Connections that may wait to be accepted, per listening socket.
const LISTEN_BACKLOG: i32 = 4096;

/// Why the proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address, as it was configured.
        address: String,
        /// The answer of the operating system.
        source: io::Error,
    },
    /// The control plane cannot start.
    #[error("{0}")]
    Control(#[from] ControlError),
    /// The admin API cannot start, such as for want of a readable token.
    #[error("{0}")]
    Admin(String),
    /// The operating system refused something else.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// The answer of the operating system.
        source: io::Error,
    },
}

/// A running proxy.
pub struct App {
    config: Config,
    file: Option<PathBuf>,
    controller: Controller,
    control_thread: JoinHandle<()>,
    workers: Workers,
    access_log: Option<AccessLog>,
    phase: watch::Sender<Phase>,
    stats: Arc<ServerStats>,
    reloads: mpsc::Receiver<ReloadReply>,
    admin: admin::Server,
    addresses: Addresses,
}

/// Where a running proxy listens, with the ports that were really bound.
#[derive(Clone, Debug)]
pub struct Addresses {
    /// Client listeners.
    pub http: Vec<SocketAddr>,
    /// The admin listener, as `host:port` or `unix:/path`.
    pub admin: String,
    /// The listener that serves only `/metrics`, where there is one.
    pub metrics: Option<String>,
}

impl App {
    /// Binds every listener, opens the store, and starts all threads. `file` is where a reload reads the config from.
    /// Must be called within a tokio runtime, which carries the admin API.
    ///
    /// # Errors
    /// When something cannot be had; nothing keeps running then.
    pub async fn start(config: Config, file: Option<PathBuf>) -> Result<App, StartError> {
        let listeners = config.server.listen.iter().map(bind).collect::<Result<Vec<_>, _>>()?;
        let admin_listeners = admin::bind(&config.admin).await.map_err(StartError::Admin)?;
        let worker_count = worker_count(config.server.workers);
        let stats = Arc::new(ServerStats::new(worker_count));
        let metrics = Arc::new(Metrics::new(Arc::clone(&stats)));
        let access_log = config.access_log.path.as_deref().map(AccessLog::open).transpose();
        let access_log = access_log.map_err(|source| StartError::Io { doing: "open the access log", source })?;
        let start = Start {
            server: config.server.clone(),
            pools: config.pools.clone(),
            store: &config.store,
            workers: worker_count,
            metrics: Arc::clone(&metrics),
        };
        let (controller, control_thread, warnings) = Controller::start(start)?;
        warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        let (phase, phases) = watch::channel(Phase::Running);
        let (reports, reported) = health_report::channel();
        controller
            .watch_health(reported)
            .map_err(|source| StartError::Io { doing: "start the health thread", source })?;
        let shared = Arc::new(Shared {
            tables: Arc::clone(controller.tables()),
            stats: Arc::clone(&stats),
            access_log: access_log.clone(),
            phase: phases.clone(),
            reports,
        });
        let workers = Workers::start(worker_count, &listeners, &shared)
            .map_err(|source| StartError::Io { doing: "start the workers", source })?;
        let (reload, reloads) = ReloadHandle::new();
        let state = AdminState {
            controller: controller.clone(),
            metrics,
            reload,
            phase: phases,
            workers: worker_count,
            store: config.store.kind,
        };
        let addresses = Addresses {
            http: listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect(),
            admin: admin_listeners.address(),
            metrics: admin_listeners.metrics_address(),
        };
        let admin = admin::Server::start(admin_listeners, state);
        let app = App {
            config,
            file,
            controller,
            control_thread,
            workers,
            access_log,
            phase,
            stats,
            reloads,
            admin,
            addresses,
        };
        app.note_reload(true);
        app.announce();
        Ok(app)
    }

    /// Where it listens.
    pub fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// The way to its control plane.
    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// Serves until SIGTERM or SIGINT, then drains: `drain-delay` while telling clients to leave, then up to `grace`
    /// for what is open. A second signal ends it at once. SIGHUP reloads the config.
    ///
    /// # Errors
    /// When signals cannot be received.
    pub async fn run(mut self) -> io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut stop = StopSignals::new()?;
        loop {
            tokio::select! {
                () = stop.received() => break,
                _ = hangup.recv() => drop(self.reload().await),
                Some(reply) = self.reloads.recv() => {
                    // Nobody waits for the answer any more when this fails.
                    drop(reply.send(self.reload().await));
                }
            }
        }
        self.stop(stop.received()).await;
        Ok(())
    }

    /// Drains and ends; `hurry` cuts it short.
    pub async fn stop(self, hurry: impl Future<Output = ()>) {
        let server = &self.config.server;
        tracing::info!(drain_delay = ?server.drain_delay, grace = ?server.grace, "stopping");
        let phase = self.phase;
        let workers = self.workers;
        let (ended, joined) = tokio::sync::oneshot::channel();
        let draining = async {
            phase.send_replace(Phase::Draining);
            tokio::time::sleep(server.drain_delay).await;
            phase.send_replace(Phase::Closing);
            thread::spawn(move || {
                workers.join();
                // The receiver is gone when the deadline has passed.
                ended.send(()).unwrap_or_default();
            });
            if tokio::time::timeout(server.grace, joined).await.is_err() {
                tracing::warn!("the grace period is over; open requests are cut");
            }
        };
        tokio::select! {
            () = draining => {}
            () = hurry => tracing::warn!("second signal; open requests are cut"),
        }
        phase.send_replace(Phase::Ended);
        self.admin.stop().await;
        drop(self.controller);
        // The control thread ends by itself once every handle is dropped; a write in progress is finished first.
        match tokio::task::spawn_blocking(|| self.control_thread.join()).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => tracing::error!("the control thread had panicked"),
            Err(error) => tracing::error!(%error, "the control thread could not be waited for"),
        }
        if let Some(log) = self.access_log {
            log.flush(LOG_PATIENCE);
        }
        tracing::info!("stopped");
    }

    async fn reload(&mut self) -> Result<Vec<String>, String> {
        let applied = self.read_and_apply().await;
        self.note_reload(applied.is_ok());
        match &applied {
            Ok(warnings) => {
                warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
                tracing::info!("config reloaded");
            }
            Err(error) => tracing::error!("config not reloaded, the old one stays in force:\n{error}"),
        }
        applied
    }

    async fn read_and_apply(&mut self) -> Result<Vec<String>, String> {
        if let Some(log) = &self.access_log {
            log.reopen();
        }
        let file = self.file.as_ref().ok_or("this proxy was started without a config file")?;
        let new = Config::load(file).map_err(|errors| errors.to_string())?;
        let fixed = self.config.differences_that_need_restart(&new);
        if !fixed.is_empty() {
            return Err(format!("these settings need a restart to change: {}", fixed.join(", ")));
        }
        let applied = self.controller.reload(new.server.clone(), new.pools.clone()).await;
        let warnings = applied.map_err(|error| error.to_string())?;
        self.config = new;
        Ok(warnings)
    }

    fn note_reload(&self, successful: bool) {
        self.stats.reload_successful.store(u64::from(successful), Relaxed);
        if successful {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.stats.reload_success_seconds.store(now.as_secs(), Relaxed);
        }
    }

    fn announce(&self) {
        for address in &self.addresses.http {
            tracing::info!(%address, "serving HTTP");
        }
        tracing::info!(address = %self.addresses.admin, "serving the admin API");
        if let Some(address) = &self.addresses.metrics {
            tracing::info!(%address, "serving metrics");
        }
        for pool in self.controller.table().pools() {
            let (name, epoch, fingerprint) = (&pool.settings.name, pool.epoch, pool.fingerprint);
            let nodes = pool.membership.nodes().len();
            tracing::info!(pool = %name, nodes, epoch, %fingerprint, "pool ready");
        }
    }
}

/// SIGTERM and SIGINT mean the same.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn new() -> io::Result<StopSignals> {
        Ok(StopSignals { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for either.
    async fn received(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// The number of data-plane threads: one per core unless the config says otherwise.
fn worker_count(configured: usize) -> usize {
    match configured {
        0 => thread::available_parallelism().map_or(1, usize::from),
        count => count,
    }
}

fn bind(address: &SocketAddr) -> Result<TcpListener, StartError> {
    let bound = || -> io::Result<TcpListener> {
        let socket = Socket::new(Domain::for_address(*address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&(*address).into())?;
        socket.listen(LISTEN_BACKLOG)?;
        Ok(socket.into())
    };
    bound().map_err(|source| StartError::Bind { address: address.to_string(), source })
}
