//! Questions about keys: where they live, and why a request goes where it goes.

use crate::admin::api::Api;
use crate::admin::extract::Json;
use crate::admin::extract::PoolOf;
use crate::admin::extract::Query;
use crate::admin::model::LocateRequest;
use crate::admin::model::LocatedKeys;
use crate::admin::problem::Fault;
use crate::admin::problem::Kind;
use crate::admin::responses::EpochProblem;
use crate::admin::responses::ManyKeysProblem;
use crate::admin::responses::QuestionProblem;
use crate::control::explain::Explanation;
use crate::control::explain::Question;
use crate::control::explain::explain;
use crate::control::pool_at::Located;
use crate::control::pool_at::PoolAt;
use axum::extract::State;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

/// Which key.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct KeyQuery {
    /// The key, percent-encoded.
    key: String,
    /// The epoch to look at; absent: now.
    epoch: Option<u64>,
}

/// Where a key lives
#[utoipa::path(
    get,
    path = "/v1/pools/{pool}/locate",
    tag = "keys",
    params(("pool" = String, Path, description = "Name of the pool"), KeyQuery),
    responses((status = 200, description = "Where it lives", body = Located), EpochProblem)
)]
pub(crate) async fn locate(
    State(api): State<Arc<Api>>,
    PoolOf(pool): PoolOf,
    Query(KeyQuery { key, epoch }): Query<KeyQuery>,
) -> Result<axum::Json<Located>, Fault> {
    let located = api.ask_at(&pool, epoch, move |pool| pool.locate(key.as_bytes())).await?;
    Ok(axum::Json(located))
}

/// Where many keys live
#[utoipa::path(
    post,
    path = "/v1/pools/{pool}/locate",
    tag = "keys",
    params(("pool" = String, Path, description = "Name of the pool")),
    request_body = LocateRequest,
    responses((status = 200, description = "Where they live", body = LocatedKeys), ManyKeysProblem)
)]
pub(crate) async fn locate_many(
    State(api): State<Arc<Api>>,
    PoolOf(pool): PoolOf,
    Json(request): Json<LocateRequest>,
) -> Result<axum::Json<LocatedKeys>, Fault> {
    let LocateRequest { keys, epoch } = request;
    if keys.len() > KEYS_MAX {
        let detail = format!("{} keys are more than {KEYS_MAX}; ask in parts", keys.len());
        return Err(Fault::new(Kind::Refused, detail).at("/keys"));
    }
    let located = api.ask_at(&pool, epoch, move |pool| locate_all(pool, &keys)).await??;
    Ok(axum::Json(LocatedKeys { located }))
}

fn locate_all(pool: &PoolAt, keys: &[String]) -> Result<Vec<Located>, Fault> {
    let nodes = pool.placement.nodes().len().max(1);
    if keys.len().saturating_mul(nodes) > CANDIDATES_MAX {
        let fitting = CANDIDATES_MAX / nodes;
        let detail =
            format!("each answer names all {nodes} nodes of this pool; ask for at most {fitting} keys at once");
        return Err(Fault::new(Kind::Refused, detail).at("/keys"));
    }
    Ok(keys.iter().map(|key| pool.locate(key.as_bytes())).collect())
}

/// Why a key or a request goes where it goes
#[utoipa::path(
    post,
    path = "/v1/pools/{pool}/explain",
    tag = "keys",
    params(("pool" = String, Path, description = "Name of the pool")),
    request_body = Question,
    responses((status = 200, description = "The explanation", body = Explanation), QuestionProblem)
)]
pub(crate) async fn explain_one(
    State(api): State<Arc<Api>>,
    PoolOf(pool): PoolOf,
    Json(question): Json<Question>,
) -> Result<axum::Json<Explanation>, Fault> {
    let table = api.controller.table();
    let explained = api.heavy(move || {
        let settings: Vec<_> = table.pools().iter().map(|pool| &*pool.settings).collect();
        explain(&settings, &PoolAt::of(&pool), &question).map(|explained| explained.with_health(&pool))
    });
    let explained = explained.await;
    explained.map(axum::Json).map_err(|bad| Fault::new(Kind::BadRequest, bad.message).at(bad.field))
}

/// Most keys of one question.
const KEYS_MAX: usize = 10_000;

/// Most node names in one answer: they are what makes it large.
const CANDIDATES_MAX: usize = 1_000_000;
