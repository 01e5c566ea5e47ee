//! The process: how it does, what it measures, whether it is ready, and reading its config file again.

use crate::admin::api::Api;
use crate::admin::auth::Role;
use crate::admin::auth::Writer;
use crate::admin::extract::Json;
use crate::admin::extract::Query;
use crate::admin::extract::flag;
use crate::admin::figures;
use crate::admin::model::ReloadRequest;
use crate::admin::model::Reloaded;
use crate::admin::model::Status;
use crate::admin::problem::Fault;
use crate::admin::problem::Kind;
use crate::admin::responses::AnyProblem;
use crate::admin::responses::ReloadProblem;
use crate::metrics::Metrics;
use crate::proxy::worker::Phase;
use axum::Extension;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::response::Response;
use http::StatusCode;
use http::header;
use serde::Deserialize;
use std::fmt::Write;
use std::sync::Arc;
use utoipa::IntoParams;

/// How this proxy does
#[utoipa::path(
    get,
    path = "/v1/status",
    tag = "process",
    responses((status = 200, description = "How it does", body = Status), AnyProblem)
)]
pub(crate) async fn status(State(api): State<Arc<Api>>, Extension(role): Extension<Role>) -> axum::Json<Status> {
    axum::Json(figures::status(&api, role.into(), None))
}

/// Read the config file again
///
/// It is put in force whole or not at all.
#[utoipa::path(
    post,
    path = "/v1/reload",
    tag = "process",
    request_body = ReloadRequest,
    responses((status = 200, description = "It is in force", body = Reloaded), ReloadProblem)
)]
pub(crate) async fn reload(
    State(api): State<Arc<Api>>,
    _: Writer,
    Json(ReloadRequest {}): Json<ReloadRequest>,
) -> Result<axum::Json<Reloaded>, Fault> {
    match api.reload.reload().await {
        Ok(warnings) => Ok(axum::Json(Reloaded { warnings })),
        Err(why) if api.phase() != Phase::Running => Err(Fault::new(Kind::Stopping, why)),
        Err(why) => Err(Fault::new(Kind::Config, why)),
    }
}

/// All metrics in the text format of Prometheus
#[utoipa::path(
    get,
    path = "/metrics",
    tag = "process",
    responses((status = 200, description = "The metrics", body = String, content_type = "text/plain"), AnyProblem)
)]
pub(crate) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    render(&api.metrics)
}

/// All metrics as a response.
pub(crate) fn render(metrics: &Metrics) -> Response {
    let (text, content_type) = metrics.render();
    ([(header::CONTENT_TYPE, content_type)], text).into_response()
}

/// Whether the process is alive
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "process",
    responses((status = 200, description = "It is", body = String, content_type = "text/plain")),
    security(())
)]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// How readiness is told.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ReadyQuery {
    /// List every check.
    #[serde(default, deserialize_with = "flag")]
    verbose: bool,
}

/// Whether this proxy should get traffic
///
/// It should while it is running and every pool has a node that takes keys.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "process",
    params(ReadyQuery),
    responses(
        (status = 200, description = "It should", body = String, content_type = "text/plain"),
        (
            status = 400,
            description = "The query cannot be read",
            body = crate::admin::model::Problem,
            content_type = "application/problem+json"
        ),
        (status = 503, description = "It should not", body = String, content_type = "text/plain")
    ),
    security(())
)]
pub(crate) async fn readyz(State(api): State<Arc<Api>>, Query(query): Query<ReadyQuery>) -> Response {
    let checks = checks(&api);
    let is_ready = checks.iter().all(|check| check.failure.is_none());
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut text = String::new();
    for check in checks.iter().filter(|check| query.verbose || check.failure.is_some()) {
        let written = match &check.failure {
            None => writeln!(text, "[+] {} ok", check.name),
            Some(why) => writeln!(text, "[-] {} failed: {why}", check.name),
        };
        written.expect("a String takes any text");
    }
    text.push_str(if is_ready { "ready\n" } else { "not ready\n" });
    (status, text).into_response()
}

/// One condition of readiness.
struct Check {
    name: String,
    failure: Option<String>,
}

fn checks(api: &Api) -> Vec<Check> {
    let phase = api.phase();
    let stopping = (phase != Phase::Running).then(|| "this proxy is shutting down".to_owned());
    let mut checks = vec![Check { name: "running".to_owned(), failure: stopping }];
    checks.extend(api.controller.table().pools().iter().map(|pool| Check {
        name: format!("pool {}", pool.settings.name),
        failure: pool.placement.nodes().is_empty().then(|| "it has no node that takes keys".to_owned()),
    }));
    checks
}

/// This API as OpenAPI 3.1
#[utoipa::path(
    get,
    path = "/openapi.json",
    tag = "process",
    responses(
        (status = 200, description = "The description", body = serde_json::Value, content_type = "application/json"),
        AnyProblem
    )
)]
pub(crate) async fn openapi(State(api): State<Arc<Api>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], api.document.clone()).into_response()
}
