//! Changes of a whole pool: look at them, make them, take them back.

use crate::admin::api::Api;
use crate::admin::auth::Writer;
use crate::admin::extract::Json;
use crate::admin::extract::PoolOf;
use crate::admin::extract::Query;
use crate::admin::extract::flag;
use crate::admin::model::Applied;
use crate::admin::model::ApplyAnswer;
use crate::admin::model::ApplyRequest;
use crate::admin::model::PlanRequest;
use crate::admin::model::RollbackRequest;
use crate::admin::problem::Fault;
use crate::admin::problem::Kind;
use crate::admin::responses::ApplyProblem;
use crate::admin::responses::PlanProblem;
use crate::admin::view;
use crate::control::pool_at::Plan;
use crate::control::write::Guard;
use crate::control::write::Write;
use crate::control::write::WriteAction;
use crate::control::write::WriteError;
use crate::control::write::Written;
use crate::proxy::table::PoolTable;
use axum::extract::State;
use axum::response::AppendHeaders;
use axum::response::IntoResponse;
use axum::response::Response;
use http::header;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

/// Whether a write is made.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub(crate) struct WriteQuery {
    /// Answer what would move, and change nothing.
    #[serde(default, deserialize_with = "flag")]
    dry_run: bool,
}

/// What changes would move
#[utoipa::path(
    post,
    path = "/v1/pools/{pool}/plan",
    tag = "changes",
    params(("pool" = String, Path, description = "Name of the pool")),
    request_body = PlanRequest,
    responses((status = 200, description = "What would move", body = Plan), PlanProblem)
)]
pub(crate) async fn plan(
    State(api): State<Arc<Api>>,
    PoolOf(pool): PoolOf,
    Json(request): Json<PlanRequest>,
) -> Result<axum::Json<Plan>, Fault> {
    let plan = api.plan(&pool, request.changes.clone()).await;
    plan.map(axum::Json).map_err(|refused| Fault::of_refusal(&refused, &request.changes))
}

/// Make several changes as one step
///
/// Answers once the store has it durably and this proxy serves it.
#[utoipa::path(
    post,
    path = "/v1/pools/{pool}/apply",
    tag = "changes",
    params(("pool" = String, Path, description = "Name of the pool"), WriteQuery),
    request_body = ApplyRequest,
    responses(
        (
            status = 200,
            description = "What was done, or with `dry-run` what would move",
            body = ApplyAnswer,
            headers(("etag" = String, description = "Of the pool's membership"))
        ),
        ApplyProblem
    )
)]
pub(crate) async fn apply(
    State(api): State<Arc<Api>>,
    writer: Writer,
    PoolOf(pool): PoolOf,
    Query(query): Query<WriteQuery>,
    Json(request): Json<ApplyRequest>,
) -> Result<Response, Fault> {
    let changes = request.changes;
    if query.dry_run {
        writer.audit.dry_run(&pool.settings.name, request.reason.as_deref());
        check_epoch(&pool, request.if_epoch)?;
        let plan = api.plan(&pool, changes.clone()).await;
        return plan.map(planned).map_err(|refused| Fault::of_refusal(&refused, &changes));
    }
    let write = Write {
        pool: pool.settings.name.clone(),
        action: WriteAction::Changes(changes.clone()),
        guard: request.if_epoch.map(at_epoch),
        force: request.force,
        actor: writer.actor,
        reason: request.reason,
    };
    api.write(write, &writer.audit).await.map(|written| answer(&written)).map_err(|error| match error {
        WriteError::Refused(refused) => Fault::of_refusal(&refused, &changes),
        error => Fault::of_write(error),
    })
}

/// Return to the membership of an earlier epoch
///
/// This is a new event: nothing is lost from the history.
#[utoipa::path(
    post,
    path = "/v1/pools/{pool}/rollback",
    tag = "changes",
    params(("pool" = String, Path, description = "Name of the pool"), WriteQuery),
    request_body = RollbackRequest,
    responses(
        (
            status = 200,
            description = "What was done, or with `dry-run` what would move",
            body = ApplyAnswer,
            headers(("etag" = String, description = "Of the pool's membership"))
        ),
        ApplyProblem
    )
)]
pub(crate) async fn rollback(
    State(api): State<Arc<Api>>,
    writer: Writer,
    PoolOf(pool): PoolOf,
    Query(query): Query<WriteQuery>,
    Json(request): Json<RollbackRequest>,
) -> Result<Response, Fault> {
    if query.dry_run {
        writer.audit.dry_run(&pool.settings.name, request.reason.as_deref());
        check_epoch(&pool, request.if_epoch)?;
        let plan = api.plan_rollback(&pool, request.to_epoch).await;
        return plan.map(planned).map_err(Fault::of_write);
    }
    let write = Write {
        pool: pool.settings.name.clone(),
        action: WriteAction::Rollback { to_epoch: request.to_epoch },
        guard: request.if_epoch.map(at_epoch),
        force: request.force,
        actor: writer.actor,
        reason: request.reason,
    };
    api.write(write, &writer.audit).await.map(|written| answer(&written)).map_err(Fault::of_write)
}

fn at_epoch(epoch: u64) -> Guard {
    Guard { epoch, fingerprint: None }
}

fn check_epoch(pool: &PoolTable, expected: Option<u64>) -> Result<(), Fault> {
    if expected.is_none_or(|epoch| epoch == pool.epoch) {
        return Ok(());
    }
    let detail = format!("pool {} is at epoch {} now", pool.settings.name, pool.epoch);
    Err(Fault::new(Kind::Stale, detail).with_state(pool.epoch, pool.fingerprint))
}

fn planned(plan: Plan) -> Response {
    axum::Json(ApplyAnswer::Planned(Box::new(plan))).into_response()
}

fn answer(written: &Written) -> Response {
    let pool = &written.pool;
    let answer = ApplyAnswer::Applied(Box::new(Applied {
        pool: pool.settings.name.clone(),
        epoch: written.epoch,
        changed: written.changed,
        served_epoch: pool.epoch,
        fingerprint: pool.fingerprint,
        moved_ratio: written.moved_ratio,
    }));
    (AppendHeaders([(header::ETAG, view::etag(pool))]), axum::Json(answer)).into_response()
}
