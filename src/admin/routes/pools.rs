//! Reads of pools, their nodes and their history.

use crate::admin::api::Api;
use crate::admin::extract::NodeOf;
use crate::admin::extract::PoolOf;
use crate::admin::extract::Query;
use crate::admin::model::EventPage;
use crate::admin::model::NodeList;
use crate::admin::model::NodeStatus;
use crate::admin::model::PoolDetail;
use crate::admin::model::PoolList;
use crate::admin::problem::Fault;
use crate::admin::problem::Kind;
use crate::admin::responses::AnyProblem;
use crate::admin::responses::NodeProblem;
use crate::admin::responses::PoolProblem;
use crate::admin::responses::QueryProblem;
use crate::admin::view;
use axum::Json;
use axum::extract::State;
use axum::response::AppendHeaders;
use axum::response::IntoResponse;
use http::header;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

/// All pools
#[utoipa::path(
    get,
    operation_id = "list_pools",
    path = "/v1/pools",
    tag = "pools",
    responses((status = 200, description = "The pools", body = PoolList), AnyProblem)
)]
pub(crate) async fn list(State(api): State<Arc<Api>>) -> Json<PoolList> {
    let table = api.controller.table();
    let pools = table.pools().iter().map(|pool| view::summary(pool, api.owner(pool)));
    Json(PoolList { pools: pools.collect() })
}

/// The membership of a pool
#[utoipa::path(
    get,
    operation_id = "read_pool",
    path = "/v1/pools/{pool}",
    tag = "pools",
    params(("pool" = String, Path, description = "Name of the pool")),
    responses(
        (
            status = 200,
            description = "The membership",
            body = PoolDetail,
            headers(("etag" = String, description = "\"EPOCH-FINGERPRINT\""))
        ),
        PoolProblem
    )
)]
pub(crate) async fn read(State(api): State<Arc<Api>>, PoolOf(pool): PoolOf) -> impl IntoResponse {
    let detail = view::detail(&pool, api.owner(&pool));
    (AppendHeaders([(header::ETAG, view::etag(&pool))]), Json(detail))
}

/// The nodes of a pool, and how they do
#[utoipa::path(
    get,
    operation_id = "list_nodes",
    path = "/v1/pools/{pool}/nodes",
    tag = "nodes",
    params(("pool" = String, Path, description = "Name of the pool")),
    responses(
        (
            status = 200,
            description = "The nodes",
            body = NodeList,
            headers(("etag" = String, description = "Of the pool's membership"))
        ),
        PoolProblem
    )
)]
pub(crate) async fn nodes(State(api): State<Arc<Api>>, PoolOf(pool): PoolOf) -> impl IntoResponse {
    let nodes = view::nodes(&pool, &api.last_changes(&pool));
    (AppendHeaders([(header::ETAG, view::etag(&pool))]), Json(nodes))
}

/// One node, and how it does
#[utoipa::path(
    get,
    operation_id = "read_node",
    path = "/v1/pools/{pool}/nodes/{node}",
    tag = "nodes",
    params(
        ("pool" = String, Path, description = "Name of the pool"),
        ("node" = String, Path, description = "Name of the node")
    ),
    responses(
        (
            status = 200,
            description = "The node",
            body = NodeStatus,
            headers(("etag" = String, description = "Of the pool's membership"))
        ),
        NodeProblem
    )
)]
pub(crate) async fn node(
    State(api): State<Arc<Api>>,
    PoolOf(pool): PoolOf,
    NodeOf(name): NodeOf,
) -> Result<impl IntoResponse, Fault> {
    let names = || pool.membership.nodes().iter().map(|node| node.name.as_str());
    let node = view::node(&pool, &name, &api.last_changes(&pool)).ok_or_else(|| Fault::unknown_node(&name, names()))?;
    Ok((AppendHeaders([(header::ETAG, view::etag(&pool))]), Json(node)))
}

/// Which page of the history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// The epoch after which the page begins; default 0, the beginning.
    #[serde(default)]
    after: u64,
    /// At most how many events: 1 to 1,000, default 100.
    #[serde(default = "limit_default")]
    limit: usize,
}

/// The history of a pool, a page at a time
#[utoipa::path(
    get,
    path = "/v1/pools/{pool}/events",
    tag = "pools",
    params(("pool" = String, Path, description = "Name of the pool"), PageQuery),
    responses((status = 200, description = "A page of events", body = EventPage), QueryProblem)
)]
pub(crate) async fn events(
    State(api): State<Arc<Api>>,
    PoolOf(pool): PoolOf,
    Query(page): Query<PageQuery>,
) -> Result<Json<EventPage>, Fault> {
    if !(1..=LIMIT_MAX).contains(&page.limit) {
        let detail = format!("`limit` is {}; give 1 to {LIMIT_MAX}", page.limit);
        return Err(Fault::new(Kind::BadRequest, detail));
    }
    let name = &pool.settings.name;
    let read = api.controller.record(name, |record| {
        let history = &record.history;
        let later = || history.events().filter(|event| event.epoch > page.after);
        let events: Vec<_> = later().take(page.limit).cloned().collect();
        let has_more = later().nth(page.limit).is_some();
        EventPage {
            pool: name.clone(),
            oldest_epoch: history.oldest_epoch(),
            newest_epoch: history.epoch(),
            next_after: events.last().map(|event| event.epoch).filter(|_| has_more),
            events,
        }
    });
    read.map(Json).ok_or_else(|| Fault::unknown_pool(name, std::iter::empty()))
}

fn limit_default() -> usize {
    100
}

/// Most events of a page.
const LIMIT_MAX: usize = 1_000;
