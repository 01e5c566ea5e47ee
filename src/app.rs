//! Start and stop, in order: parse, bind, open the store, serve; then drain under a deadline.

mod departure;
mod service_manager;
mod start;
mod watchdog;

use crate::admin;
use crate::app::departure::Departure;
use crate::app::departure::HandOver;
use crate::app::departure::knock;
use crate::config::Config;
use crate::control::ControlError;
use crate::control::Controller;
use crate::control::ReloadReply;
use crate::handover::Door;
use crate::handover::HandoverError;
use crate::handover::Predecessor;
use crate::metrics::stats::ServerStats;
use crate::proxy::access_log::AccessLog;
use crate::proxy::files;
use crate::proxy::worker::Phase;
use crate::proxy::worker::Workers;
use crate::sockets::SocketError;
use crate::sockets::unix;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::JoinHandle;
use std::time::SystemTime;
use std::time::UNIX_EPOCH;
use tokio::signal::unix::Signal;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tokio::sync::mpsc;
use tokio::sync::watch;

/// Why the proxy could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An address cannot be listened on, or a socket that was passed in not be used.
    #[error("{0}")]
    Socket(#[from] SocketError),
    /// The running process has not handed over: it goes on.
    #[error("cannot take over, the running process goes on: {0}")]
    TakeOver(#[from] HandoverError),
    /// A process serves already that this one could take over from.
    #[error("another process serves and listens on {}; start with `--take-over` to take over from it", door.display())]
    Served {
        /// Its `take-over-socket`.
        door: PathBuf,
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
    door: Option<Door>,
    /// Whether another process served before this one did.
    took_over: bool,
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
    /// Binds every listener or takes the socket that the service manager has passed for it, opens the store, and starts
    /// all threads. `file` is where a reload reads the config from. Must be called within a tokio runtime, which
    /// carries the admin API.
    ///
    /// # Errors
    /// When something cannot be had; nothing keeps running then.
    pub async fn start(config: Config, file: Option<PathBuf>) -> Result<App, StartError> {
        if let Some(door) = &config.handover.socket
            && unix::is_served(door).await.unwrap_or(false)
        {
            return Err(StartError::Served { door: door.clone() });
        }
        start::start(config, file, None).await
    }

    /// As [`App::start`], with the sockets and the store of the process that listens on `take-over-socket`; where there
    /// is none, just the same.
    ///
    /// # Errors
    /// When something cannot be had, or not from that process; it goes on then as if nothing had been.
    pub async fn take_over(config: Config, file: Option<PathBuf>) -> Result<App, StartError> {
        let asked = match &config.handover.socket {
            Some(door) => Predecessor::ask(door).await?,
            None => None,
        };
        if asked.is_none() {
            tracing::info!("there is no process to take over from");
        }
        start::start(config, file, asked).await
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
    /// for what is open. A second signal ends it at once. SIGHUP reloads the config. A process that takes over ends it
    /// as well, without `drain-delay`.
    ///
    /// # Errors
    /// When signals cannot be received.
    pub async fn run(mut self) -> io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let mut stop = StopSignals::new()?;
        // Not before the signals are received: who hears of it may send one at once.
        match self.took_over {
            true => service_manager::took_over(),
            false => service_manager::ready("serving"),
        }
        watchdog::watch(Arc::clone(&self.stats), service_manager::patience(), service_manager::alive);
        let departure = loop {
            tokio::select! {
                () = stop.received() => break Departure::Stop,
                _ = hangup.recv() => drop(self.reload().await),
                Some(reply) = self.reloads.recv() => {
                    // Nobody waits for the answer any more when this fails.
                    drop(reply.send(self.reload().await));
                }
                (door, successor) = knock(self.door.as_ref()) => {
                    match self.hand_over(door, successor, stop.received()).await {
                        HandOver::Failed => {}
                        HandOver::Interrupted => break Departure::Stop,
                        HandOver::Done => break Departure::HandOver,
                    }
                }
            }
        };
        let hurry = async {
            if departure == Departure::HandOver {
                // The first one only says what is going on anyway.
                stop.received().await;
                tracing::info!("stopping as soon as open requests are finished");
            }
            stop.received().await;
        };
        self.leave(departure, hurry).await;
        Ok(())
    }

    /// Drains and ends; `hurry` cuts it short.
    pub async fn stop(self, hurry: impl Future<Output = ()>) {
        self.leave(Departure::Stop, hurry).await;
    }

    async fn reload(&mut self) -> Result<Vec<String>, String> {
        service_manager::reloading();
        let applied = self.read_and_apply().await;
        self.note_reload(applied.is_ok());
        service_manager::ready(match &applied {
            Ok(_) => "config reloaded",
            Err(_) => "config not reloaded, the old one stays in force",
        });
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
        let certificates = self.admin.renew(&new.admin)?;
        let applied = self.controller.reload(new.server.clone(), new.pools.clone()).await;
        let mut warnings = applied.map_err(|error| error.to_string())?;
        certificates.put();
        warnings.extend(files::warning(&new.server));
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
