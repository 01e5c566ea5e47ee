//! The operator's HTTP API: shows, explains, plans and changes where keys go.

mod api;
pub(crate) mod audit;
mod auth;
mod donut;
mod extract;
mod figures;
mod listener;
pub mod model;
mod page;
mod precondition;
mod problem;
mod responses;
mod routes;
pub mod settings;
mod stream;
pub(crate) mod svg;
pub(crate) mod tls;
mod view;

use crate::admin::auth::Gate;
use crate::admin::listener::Listener;
use crate::admin::listener::Service;
use crate::admin::listener::Stage;
use crate::admin::model::RingView;
use crate::admin::settings::AdminLimits;
use crate::admin::settings::AdminSettings;
use crate::admin::tls::AdminTls;
use crate::control::Controller;
use crate::control::ReloadHandle;
use crate::metrics::Metrics;
use crate::proxy::table::PoolTable;
use crate::proxy::worker::Phase;
use crate::sockets::Inherited;
use crate::sockets::Role;
use crate::sockets::address::ListenAddress;
use crate::store::settings::StoreKind;
use crate::tls::server::ServerTls;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the API answers from.
#[derive(Clone)]
pub struct AdminState {
    /// The control plane.
    pub controller: Controller,
    /// What /metrics renders.
    pub metrics: Arc<Metrics>,
    /// What POST /v1/reload asks.
    pub reload: ReloadHandle,
    /// /readyz is 503 unless this is Running.
    pub phase: watch::Receiver<Phase>,
    /// Data-plane threads, for the status.
    pub workers: usize,
    /// Where events live, for the status.
    pub store: StoreKind,
}

/// Bound listeners with their tokens and certificates read.
pub struct Listeners {
    admin: Listener,
    tls: Option<Arc<AdminTls>>,
    metrics: Option<Listener>,
    gate: Gate,
    limits: AdminLimits,
    /// The file of the admin listener's Unix socket comes with the socket.
    inherits_file: bool,
}

impl Listeners {
    /// `host:port` or `unix:/path`, as really bound.
    pub fn address(&self) -> String {
        shown(&self.admin)
    }

    /// `host:port` of the listener that serves only `/metrics`, where there is one.
    pub fn metrics_address(&self) -> Option<String> {
        self.metrics.as_ref().map(shown)
    }

    /// Each socket once more, to hand it over, and whether a file goes with it.
    ///
    /// # Errors
    /// When the process is out of file descriptors.
    pub fn duplicate(&self) -> io::Result<Vec<(Role, OwnedFd, bool)>> {
        let metrics = self.metrics.iter().map(|listener| (Role::Metrics, listener));
        let all = std::iter::once((Role::Admin, &self.admin)).chain(metrics);
        let has_file = |listener: &Listener| listener.owns_file() || (listener.is_unix() && self.inherits_file);
        all.map(|(role, listener)| Ok((role, listener.duplicate()?, has_file(listener)))).collect()
    }

    /// The process before this one has let go: a file that it would have removed in the end is this one's to remove.
    ///
    /// # Errors
    /// When the file is gone.
    pub fn inherit_file(&mut self) -> io::Result<()> {
        if self.inherits_file { self.admin.own_file() } else { Ok(()) }
    }
}

fn shown(listener: &Listener) -> String {
    listener.address().map_or_else(|| "?".to_owned(), |address| address.to_string())
}

/// Reads the token files and certificates and binds the admin and metrics listeners, on the sockets that were passed in
/// for them or on new ones.
///
/// # Errors
/// A text for people; nothing is bound then.
pub async fn bind(settings: &AdminSettings, inherited: &mut Inherited) -> Result<Listeners, String> {
    let (admin, inherits_file) = listen(Role::Admin, &settings.listen, inherited).await?;
    let listen_at = admin.address().unwrap_or_else(|| settings.listen.clone());
    // A socket may be passed in by its name, and then listen elsewhere than the config says.
    if !listen_at.is_local() && !settings.is_guarded() {
        return Err(settings::unguarded(&listen_at));
    }
    let gate = Gate::new(settings, &listen_at)?;
    let tls = settings.tls.as_ref().map(AdminTls::load).transpose()?.map(Arc::new);
    let metrics = match settings.metrics_listen {
        Some(address) => Some(listen(Role::Metrics, &ListenAddress::Tcp(address), inherited).await?.0),
        None => None,
    };
    Ok(Listeners { admin, tls, metrics, gate, limits: settings.limits, inherits_file })
}

/// A listener, and whether it inherits the file of its socket.
async fn listen(role: Role, address: &ListenAddress, inherited: &mut Inherited) -> Result<(Listener, bool), String> {
    match inherited.claim(role, address) {
        Some(passed) => {
            let inherits_file = passed.owns_file();
            Ok((Listener::adopt(passed.socket, &passed.address)?, inherits_file))
        }
        None => Ok((Listener::bind(address).await?, false)),
    }
}

/// The description of the API as an OpenAPI document in JSON.
pub fn openapi() -> String {
    api::openapi()
}

/// The ring of a pool as the API shows it.
pub fn ring_view(pool: &PoolTable) -> RingView {
    routes::ring::ring_view(pool)
}

/// The ring of a pool as a picture, in SVG.
pub fn ring_picture(view: &RingView) -> String {
    donut::draw(view)
}

/// Certificates of the API that were read again and are not in force yet.
#[must_use]
pub struct Renewal(Option<(Arc<AdminTls>, Arc<ServerTls>)>);

impl Renewal {
    /// They count for all handshakes from now on.
    pub fn put(self) {
        if let Some((tls, read)) = self.0 {
            tls.put(read);
        }
    }
}

/// The running API.
pub struct Server {
    stage: watch::Sender<Stage>,
    tls: Option<Arc<AdminTls>>,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// Serves on the current tokio runtime.
    pub fn start(listeners: Listeners, state: AdminState) -> Server {
        let (stage, stages) = watch::channel(Stage::Serving);
        let Listeners { admin, tls, metrics, gate, limits, .. } = listeners;
        let metrics = metrics.map(|listener| (listener, None, api::metrics_router(Arc::clone(&state.metrics))));
        let admin = (admin, tls.clone(), api::router(state, gate, limits.body_timeout));
        let served = metrics.into_iter().chain([admin]);
        let tasks = served.map(|(listener, tls, router)| {
            let service = Service { tls, router, limits };
            tokio::spawn(listener.serve(service, stages.clone()))
        });
        Server { tasks: tasks.collect(), stage, tls }
    }

    /// Reads the certificates again that the settings name, which are those of the start.
    ///
    /// # Errors
    /// A text for people; nothing has changed then, as it has not before [`Renewal::put`].
    pub fn renew(&self, settings: &AdminSettings) -> Result<Renewal, String> {
        let both = self.tls.as_ref().zip(settings.tls.as_ref());
        let read = both.map(|(tls, settings)| Ok((Arc::clone(tls), tls.read_again(settings)?)));
        read.transpose().map(Renewal)
    }

    /// Accepts no more, because another process does from the same sockets; who is connected is still answered.
    pub fn hand_over(&self) {
        self.stage.send_replace(Stage::HandedOver);
    }

    /// Accepts no more, lets requests finish for at most a second, and drops what it holds of the control plane.
    pub async fn stop(self) {
        self.stage.send_replace(Stage::Stopping);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a listener of the admin API ended badly");
            }
        }
    }
}
