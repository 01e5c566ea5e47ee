//! The operator's HTTP API: shows, explains, plans and changes where keys go.

mod api;
mod auth;
mod donut;
mod extract;
mod listener;
pub mod model;
mod precondition;
mod problem;
mod responses;
mod routes;
pub mod settings;
mod view;

use crate::admin::auth::Gate;
use crate::admin::listener::Listener;
use crate::admin::model::RingView;
use crate::admin::settings::AdminSettings;
use crate::control::Controller;
use crate::control::ReloadHandle;
use crate::metrics::Metrics;
use crate::proxy::table::PoolTable;
use crate::proxy::worker::Phase;
use crate::store::settings::StoreKind;
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

/// Bound listeners with their tokens read.
pub struct Listeners {
    admin: Listener,
    metrics: Option<Listener>,
    gate: Gate,
}

impl Listeners {
    /// `host:port` or `unix:/path`, as really bound.
    pub fn address(&self) -> String {
        self.admin.address()
    }

    /// `host:port` of the listener that serves only `/metrics`, where there is one.
    pub fn metrics_address(&self) -> Option<String> {
        self.metrics.as_ref().map(Listener::address)
    }
}

/// Reads the token files and binds the admin and metrics listeners.
///
/// # Errors
/// A text for people; nothing is bound then.
pub async fn bind(settings: &AdminSettings) -> Result<Listeners, String> {
    let gate = Gate::new(settings)?;
    let admin = Listener::bind(&settings.listen).await?;
    let metrics = match settings.metrics_listen {
        Some(address) => Some(Listener::bind(&settings::ListenAddress::Tcp(address)).await?),
        None => None,
    };
    Ok(Listeners { admin, metrics, gate })
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

/// The running API.
pub struct Server {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Server {
    /// Serves on the current tokio runtime.
    pub fn start(listeners: Listeners, state: AdminState) -> Server {
        let (stop, stopping) = watch::channel(false);
        let metrics = listeners.metrics.map(|listener| (listener, api::metrics_router(Arc::clone(&state.metrics))));
        let admin = (listeners.admin, api::router(state, listeners.gate));
        let served = metrics.into_iter().chain([admin]);
        let tasks = served.map(|(listener, router)| tokio::spawn(listener.serve(router, stopping.clone())));
        Server { tasks: tasks.collect(), stop }
    }

    /// Accepts no more, lets requests finish for at most a second, and drops what it holds of the control plane.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            if let Err(error) = task.await {
                tracing::error!(%error, "a listener of the admin API ended badly");
            }
        }
    }
}
