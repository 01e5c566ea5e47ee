//! The start: everything that can fail, then the word of the process before this one, then clients.

use crate::admin;
use crate::admin::AdminState;
use crate::admin::Listeners;
use crate::app::Addresses;
use crate::app::App;
use crate::app::StartError;
use crate::cluster::log::History;
use crate::cluster::node::NodeAddress;
use crate::config::Config;
use crate::control::Controller;
use crate::control::ReloadHandle;
use crate::control::Start;
use crate::control::health::IllNode;
use crate::handover::Door;
use crate::handover::Legacy;
use crate::handover::Predecessor;
use crate::metrics::Metrics;
use crate::metrics::stats::ServerStats;
use crate::proxy::access_log::AccessLog;
use crate::proxy::files;
use crate::proxy::health_report;
use crate::proxy::worker::Phase;
use crate::proxy::worker::Shared;
use crate::proxy::worker::Workers;
use crate::sockets;
use crate::sockets::Inherited;
use crate::sockets::Label;
use crate::sockets::Role;
use crate::sockets::address::ListenAddress;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::watch;

/// Starts a proxy, in the place of another one where there is one.
pub(super) async fn start(
    config: Config,
    file: Option<PathBuf>,
    asked: Option<(Predecessor, Legacy)>,
) -> Result<App, StartError> {
    if let Err(error) = files::raise_limit() {
        tracing::warn!(%error, "the limit of open files cannot be raised");
    }
    let mut inherited = Inherited::from_service_manager()?;
    let (predecessor, histories, health) = match asked {
        Some((predecessor, legacy)) => {
            inherited.extend(legacy.sockets);
            (Some(predecessor), legacy.histories, legacy.health)
        }
        None => (None, Vec::new(), Vec::new()),
    };
    let were_ill = health.into_iter().filter_map(|mark| serde_json::from_value(mark).ok()).collect();
    let listening = Listening::on(&config, inherited).await?;
    let ready = Ready::new(config, listening, histories, were_ill)?;
    let took_over = predecessor.is_some();
    if let Some(predecessor) = predecessor {
        predecessor.acknowledge().await?;
    }
    let app = ready.serve(file);
    if took_over {
        tracing::info!("took over from the process before this one");
    }
    Ok(App { took_over, ..app })
}

/// A proxy that could serve: everything that can fail has been done, and nobody is accepted yet.
struct Ready {
    config: Config,
    listening: Listening,
    controller: Controller,
    control_thread: JoinHandle<()>,
    workers: Workers,
    worker_count: usize,
    access_log: Option<AccessLog>,
    phase: watch::Sender<Phase>,
    stats: Arc<ServerStats>,
    metrics: Arc<Metrics>,
}

impl Ready {
    /// Opens the store and starts all threads. `histories` are those that a process before this one held in
    /// memory, and of its nodes these `were_ill`.
    fn new(
        config: Config,
        listening: Listening,
        histories: Vec<History>,
        were_ill: Vec<IllNode>,
    ) -> Result<Ready, StartError> {
        let worker_count = config.server.worker_count();
        let stats = Arc::new(ServerStats::new(worker_count));
        let metrics = Arc::new(Metrics::new(Arc::clone(&stats)));
        let access_log = config.access_log.path.as_deref().map(AccessLog::open).transpose();
        let access_log = access_log.map_err(|source| StartError::Io { doing: "open the access log", source })?;
        let (controller, control_thread, warnings) = Controller::start(Start {
            server: config.server.clone(),
            pools: config.pools.clone(),
            store: &config.store,
            workers: worker_count,
            metrics: Arc::clone(&metrics),
            histories,
            own: listening.own(&config),
        })?;
        let files = files::warning(&config.server);
        warnings.iter().chain(&files).for_each(|warning| tracing::warn!("{warning}"));
        let (phase, phases) = watch::channel(Phase::Starting);
        let tables = Arc::clone(controller.tables());
        let (reports, reported) = health_report::channel();
        let watching = controller.watch_health(reported, were_ill);
        watching.map_err(|source| StartError::Io { doing: "start the health thread", source })?;
        let shared = Shared {
            tables,
            stats: Arc::clone(&stats),
            access_log: access_log.clone(),
            phase: phases,
            reports,
            instance: fastrand::u64(..),
        };
        let workers = Workers::start(worker_count, &listening.clients, &Arc::new(shared));
        let workers = workers.map_err(|source| StartError::Io { doing: "start the workers", source })?;
        Ok(Ready {
            config,
            listening,
            controller,
            control_thread,
            workers,
            worker_count,
            access_log,
            phase,
            stats,
            metrics,
        })
    }

    /// Accepts clients and operators. Nobody else serves any more, so what goes wrong here is only told.
    fn serve(self, file: Option<PathBuf>) -> App {
        let Listening { clients, mut operators, mut door } = self.listening;
        self.phase.send_replace(Phase::Running);
        if let Err(error) = operators.inherit_file() {
            tracing::error!(%error, "the file of the admin socket is gone");
        }
        if let Some(Err(error)) = door.as_mut().map(Door::open) {
            tracing::error!(%error, "no process can take over from this one: its socket cannot be put in place");
        }
        let addresses = Addresses::of(&clients, &operators);
        let (reload, reloads) = ReloadHandle::new();
        let state = AdminState {
            controller: self.controller.clone(),
            metrics: self.metrics,
            reload,
            phase: self.phase.subscribe(),
            workers: self.worker_count,
            store: self.config.store.kind,
        };
        let app = App {
            config: self.config,
            file,
            controller: self.controller,
            control_thread: self.control_thread,
            workers: self.workers,
            access_log: self.access_log,
            phase: self.phase,
            stats: self.stats,
            reloads,
            admin: admin::Server::start(operators, state),
            addresses,
            door,
            took_over: false,
        };
        app.note_reload(true);
        app.announce();
        app
    }
}

/// All sockets of a process.
struct Listening {
    clients: Vec<TcpListener>,
    operators: Listeners,
    door: Option<Door>,
}

impl Listening {
    /// Where this process listens, as a node that is there would have it.
    fn own(&self, config: &Config) -> Vec<NodeAddress> {
        let Addresses { http, admin, metrics } = Addresses::of(&self.clients, &self.operators);
        let door = config.handover.socket.clone().map(NodeAddress::Unix);
        let operators = std::iter::once(admin).chain(metrics).filter_map(|address| address.parse().ok());
        http.into_iter().map(NodeAddress::Ip).chain(operators).chain(door).collect()
    }

    /// Listens wherever the config says, on the sockets that were passed in where they suit.
    async fn on(config: &Config, mut inherited: Inherited) -> Result<Listening, StartError> {
        let clients = config.server.listen.iter().map(|listen| sockets::bind(&listen.address, &mut inherited));
        let clients = clients.collect::<Result<Vec<_>, _>>()?;
        let operators = admin::bind(&config.admin, &mut inherited).await.map_err(StartError::Admin)?;
        inherited.close_rest()?;
        let door = match &config.handover.socket {
            Some(path) => {
                let sockets = duplicates(config, &clients, &operators);
                let sockets =
                    sockets.map_err(|source| StartError::Io { doing: "duplicate the listening sockets", source })?;
                let door = Door::build(path, sockets).await;
                Some(door.map_err(|source| StartError::Io { doing: "listen on `take-over-socket`", source })?)
            }
            None => None,
        };
        Ok(Listening { clients, operators, door })
    }
}

/// Every listening socket once more, for the process after this one.
fn duplicates(config: &Config, clients: &[TcpListener], operators: &Listeners) -> io::Result<Vec<(Label, OwnedFd)>> {
    let clients = config.server.listen.iter().zip(clients).map(|(listen, listener)| {
        let configured = ListenAddress::Tcp(listen.address).to_string();
        Ok((Label { role: Role::Http, configured, owns_file: false }, listener.try_clone()?.into()))
    });
    let operators = operators.duplicate()?.into_iter().map(|(role, socket, owns_file)| {
        let configured = match (role, config.admin.metrics_listen) {
            (Role::Metrics, Some(address)) => ListenAddress::Tcp(address),
            _ => config.admin.listen.clone(),
        };
        Ok((Label { role, configured: configured.to_string(), owns_file }, socket))
    });
    clients.chain(operators).collect()
}

impl Addresses {
    fn of(clients: &[TcpListener], operators: &Listeners) -> Addresses {
        Addresses {
            http: clients.iter().filter_map(|listener| listener.local_addr().ok()).collect(),
            admin: operators.address(),
            metrics: operators.metrics_address(),
        }
    }
}
