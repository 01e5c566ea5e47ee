//! The API put together: routes, their description, and what all handlers answer from.

use crate::admin::AdminState;
use crate::admin::audit;
use crate::admin::audit::Audit;
use crate::admin::auth::Gate;
use crate::admin::auth::authenticate;
use crate::admin::auth::send_on;
use crate::admin::extract::BODY_BYTES_MAX;
use crate::admin::figures::Figures;
use crate::admin::model::PoolOwner;
use crate::admin::page;
use crate::admin::problem::Fault;
use crate::admin::problem::Kind;
use crate::admin::routes::keys;
use crate::admin::routes::membership;
use crate::admin::routes::news;
use crate::admin::routes::nodes;
use crate::admin::routes::pools;
use crate::admin::routes::process;
use crate::admin::routes::ring;
use crate::admin::view;
use crate::admin::view::LastChanges;
use crate::cluster::membership::Change;
use crate::cluster::membership::Refused;
use crate::control::Controller;
use crate::control::ReloadHandle;
use crate::control::pool_at::Plan;
use crate::control::pool_at::PoolAt;
use crate::control::write::Write;
use crate::control::write::WriteError;
use crate::control::write::Written;
use crate::metrics::Metrics;
use crate::proxy::table::PoolTable;
use crate::proxy::worker::Phase;
use crate::store::settings::StoreKind;
use axum::Router;
use axum::body::Bytes;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::get;
use http::Method;
use http::Uri;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use tokio::sync::Semaphore;
use tokio::sync::watch;
use utoipa::Modify;
use utoipa::OpenApi;
use utoipa::openapi::security::HttpAuthScheme;
use utoipa::openapi::security::HttpBuilder;
use utoipa::openapi::security::SecurityScheme;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// What all handlers answer from.
pub(crate) struct Api {
    pub(crate) controller: Controller,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) reload: ReloadHandle,
    pub(crate) gate: Gate,
    pub(crate) started: Instant,
    pub(crate) workers: usize,
    pub(crate) store: StoreKind,
    /// The description of this API, as JSON.
    pub(crate) document: Bytes,
    /// How the proxy does, for those who watch.
    pub(crate) figures: Figures,
    /// Room for those.
    pub(crate) watchers: Arc<Semaphore>,
    /// How long a client may take to send its body.
    pub(crate) body_timeout: Duration,
    phase: watch::Receiver<Phase>,
    /// Room for work that takes a core for long, such as planning.
    heavy: Arc<Semaphore>,
}

impl Api {
    /// Where the process is in its life.
    pub(crate) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// The same as it changes.
    pub(crate) fn phases(&self) -> watch::Receiver<Phase> {
        self.phase.clone()
    }

    /// The pool called `name`, as it is served now.
    pub(crate) fn pool(&self, name: &str) -> Result<Arc<PoolTable>, Fault> {
        self.controller.pool(name).ok_or_else(|| Fault::unknown_pool(name, std::iter::empty()))
    }

    /// Who may change the membership of a pool. A pool that a reload has just removed counts as the store's.
    pub(crate) fn owner(&self, pool: &PoolTable) -> PoolOwner {
        let owner = self.controller.record(&pool.settings.name, |record| record.owner.into());
        owner.unwrap_or(PoolOwner::Store)
    }

    /// The last change of each node of a pool; none of a pool that a reload has just removed.
    pub(crate) fn last_changes(&self, pool: &PoolTable) -> LastChanges {
        let changes = self.controller.record(&pool.settings.name, |record| view::last_changes(&record.history));
        changes.unwrap_or_default()
    }

    /// Makes a write, and tells the audit what it was and what came of it.
    pub(crate) async fn write(&self, write: Write, audit: &Audit) -> Result<Written, WriteError> {
        audit.write(&write);
        let written = self.controller.write(write).await;
        audit.written(&written);
        written
    }

    /// What changes of a pool would move.
    pub(crate) async fn plan(&self, pool: &Arc<PoolTable>, changes: Vec<Change>) -> Result<Plan, Refused> {
        self.controller.check_addresses(&changes)?;
        let pool = Arc::clone(pool);
        self.heavy(move || PoolAt::of(&pool).plan(&changes)).await
    }

    /// What a return to the membership of an earlier epoch would move.
    pub(crate) async fn plan_rollback(&self, pool: &Arc<PoolTable>, to_epoch: u64) -> Result<Plan, WriteError> {
        let (pool, controller) = (Arc::clone(pool), self.controller.clone());
        self.heavy(move || {
            let after = pool_at(&controller, &pool, to_epoch)?;
            let changes = pool.membership.changes_to(&after.membership);
            controller.check_addresses(&changes).map_err(WriteError::Refused)?;
            Ok(PoolAt::of(&pool).plan_to(&after))
        })
        .await
    }

    /// Asks something of a pool as it is, or was at an epoch.
    pub(crate) async fn ask_at<T: Send + 'static>(
        &self,
        pool: &Arc<PoolTable>,
        epoch: Option<u64>,
        ask: impl FnOnce(&PoolAt) -> T + Send + 'static,
    ) -> Result<T, Fault> {
        let (pool, controller) = (Arc::clone(pool), self.controller.clone());
        let asked = self.heavy(move || match epoch {
            None => Ok(ask(&PoolAt::of(&pool))),
            Some(epoch) => pool_at(&controller, &pool, epoch).map(|pool| ask(&pool)),
        });
        asked.await.map_err(|error| match error {
            WriteError::UnknownEpoch(unknown) => unknown.into(),
            error => Fault::of_write(error),
        })
    }

    /// Does work that takes a core for long beside the runtime, at most [`HEAVY_MAX`] at a time.
    pub(crate) async fn heavy<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let room = Arc::clone(&self.heavy).acquire_owned().await.expect("nobody closes this semaphore");
        let done = tokio::task::spawn_blocking(move || {
            // Kept until the work ends, also when the client has gone by then.
            let _room = room;
            work()
        });
        match done.await.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(done) => done,
            Err(Ok(panic)) => resume_unwind(panic),
            // The runtime is going away, and this task with it.
            Err(Err(_)) => std::future::pending().await,
        }
    }
}

/// A pool as it was at an epoch, with the key rule of today.
fn pool_at(controller: &Controller, pool: &PoolTable, epoch: u64) -> Result<PoolAt, WriteError> {
    let name = &pool.settings.name;
    let history = controller.record(name, |record| record.history.at(epoch));
    let history = history.ok_or_else(|| WriteError::UnknownPool { pool: name.clone() })?;
    let membership = history.map_err(WriteError::UnknownEpoch)?;
    PoolAt::build(name, epoch, membership, pool.settings.key.clone()).map_err(WriteError::Refused)
}

/// The description of this API as an OpenAPI document in JSON, made from the handlers themselves.
pub(crate) fn openapi() -> String {
    let document = routes().split_for_parts().1;
    document.to_pretty_json().expect("a description holds strings, numbers and lists only")
}

/// The routes of the admin listener.
pub(crate) fn router(state: AdminState, gate: Gate, body_timeout: Duration) -> Router {
    let router = routes().split_for_parts().0;
    let api = Arc::new(Api {
        controller: state.controller,
        metrics: state.metrics,
        reload: state.reload,
        gate,
        started: Instant::now(),
        workers: state.workers,
        store: state.store,
        document: Bytes::from(openapi()),
        figures: Figures::default(),
        watchers: Arc::new(Semaphore::new(WATCHERS_MAX)),
        body_timeout,
        phase: state.phase,
        heavy: Arc::new(Semaphore::new(HEAVY_MAX)),
    });
    router
        .merge(page::routes())
        .fallback(no_route)
        .method_not_allowed_fallback(no_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), authenticate))
        .layer(middleware::from_fn(audit::keep))
        .layer(middleware::from_fn_with_state(Arc::clone(&api), send_on))
        .with_state(api)
}

/// The routes of the metrics listener, which asks for no token.
pub(crate) fn metrics_router(metrics: Arc<Metrics>) -> Router {
    let render = move || std::future::ready(process::render(&metrics));
    Router::new().route("/metrics", get(render)).fallback(no_route).method_not_allowed_fallback(no_method)
}

fn routes() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(pools::list))
        .routes(routes!(pools::read))
        .routes(routes!(pools::nodes))
        .routes(routes!(pools::node, nodes::put, nodes::patch, nodes::delete))
        .routes(routes!(ring::ring))
        .routes(routes!(keys::locate, keys::locate_many))
        .routes(routes!(keys::explain_one))
        .routes(routes!(membership::plan))
        .routes(routes!(membership::apply))
        .routes(routes!(membership::rollback))
        .routes(routes!(pools::events))
        .routes(routes!(news::follow))
        .routes(routes!(process::status))
        .routes(routes!(process::reload))
        .routes(routes!(process::metrics))
        .routes(routes!(process::healthz))
        .routes(routes!(process::readyz))
        .routes(routes!(process::openapi))
}

async fn no_route(uri: Uri) -> Fault {
    let path = uri.path().escape_debug();
    Fault::new(Kind::NotFound, format!("there is no `{path}` here; `/openapi.json` lists the routes"))
}

async fn no_method(method: Method, uri: Uri) -> Fault {
    let path = uri.path().escape_debug();
    Fault::new(Kind::MethodNotAllowed, format!("`{path}` has no {method}; the field `Allow` lists its methods"))
}

/// What the description says besides the operations.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Ringway admin API",
        description = "Shows, explains, plans and changes where the keys of a Ringway proxy go.",
    ),
    components(schemas(crate::admin::model::Problem)),
    security(("token" = [])),
    modifiers(&Token),
)]
struct Description;

/// The bearer token, which is asked for only where a token file is configured.
struct Token;

impl Modify for Token {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let token = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(token));
    }
}

/// Most plans, locates and rings that are worked on at a time; more wait. Each may take a core and 100 MB.
const HEAVY_MAX: usize = 4;

/// Most listeners that are sent how the proxy does, each on one of the connections of the API.
const WATCHERS_MAX: usize = 64;
