//! Writes of one node: create or replace, edit, remove; each guarded by `If-Match` where a client gives it.

use crate::admin::api::Api;
use crate::admin::auth::Writer;
use crate::admin::extract::Json;
use crate::admin::extract::NodeOf;
use crate::admin::extract::PoolOf;
use crate::admin::extract::Query;
use crate::admin::extract::flag;
use crate::admin::model::NodeAnswer;
use crate::admin::model::NodePatch;
use crate::admin::model::NodeSpec;
use crate::admin::model::NodeWritten;
use crate::admin::model::PoolOwner;
use crate::admin::model::reason;
use crate::admin::precondition;
use crate::admin::precondition::Precondition;
use crate::admin::problem::Fault;
use crate::admin::problem::Kind;
use crate::admin::responses::DeleteNodeProblem;
use crate::admin::responses::PatchNodeProblem;
use crate::admin::responses::PutNodeProblem;
use crate::admin::view;
use crate::cluster::membership::Change;
use crate::cluster::membership::Reason;
use crate::cluster::node::Node;
use crate::cluster::node::NodeName;
use crate::control::pool_at::Plan;
use crate::control::write::Guard;
use crate::control::write::Write;
use crate::control::write::WriteAction;
use crate::control::write::WriteError;
use crate::control::write::Written;
use crate::proxy::table::PoolTable;
use axum::extract::FromRequestParts;
use axum::extract::State;
use axum::response::AppendHeaders;
use axum::response::IntoResponse;
use axum::response::Response;
use http::StatusCode;
use http::header;
use http::request::Parts;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;

/// How a node is written.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
#[into_params(parameter_in = Query)]
pub(crate) struct NodeQuery {
    /// Answer what would move, and change nothing.
    #[serde(default, deserialize_with = "flag")]
    dry_run: bool,
    /// Do it although it is unsafe.
    #[serde(default, deserialize_with = "flag")]
    force: bool,
    /// Why, for the history: at most 500 printable characters.
    #[serde(default, deserialize_with = "reason")]
    reason: Option<String>,
}

/// A write of one node, apart from what it changes.
pub(crate) struct Order {
    pool: Arc<PoolTable>,
    node: NodeName,
    precondition: Precondition,
    query: NodeQuery,
    writer: Writer,
}

impl FromRequestParts<Arc<Api>> for Order {
    type Rejection = Fault;

    async fn from_request_parts(parts: &mut Parts, api: &Arc<Api>) -> Result<Order, Fault> {
        let writer = Writer::from_request_parts(parts, api).await?;
        let PoolOf(pool) = PoolOf::from_request_parts(parts, api).await?;
        let NodeOf(node) = NodeOf::from_request_parts(parts, api).await?;
        let Query(query) = Query::<NodeQuery>::from_request_parts(parts, api).await?;
        // Before the precondition, which counts only where the write would be made without it (RFC 9110 section
        // 13.2.1): with a fresh ETag it would be refused all the same.
        if !query.dry_run && api.owner(&pool) == PoolOwner::File {
            return Err(Fault::of_write(WriteError::OwnedByFile { pool: pool.settings.name.clone() }));
        }
        let precondition = Precondition::from_request_parts(parts, api).await?;
        let node = NodeName::try_from(node).map_err(|why| Fault::new(Kind::BadRequest, why))?;
        Ok(Order { pool, node, precondition, query, writer })
    }
}

/// Create or replace a node
///
/// The same request twice changes nothing the second time. Whether the node is drained stays as it is.
#[utoipa::path(
    put,
    operation_id = "put_node",
    path = "/v1/pools/{pool}/nodes/{node}",
    tag = "nodes",
    params(
        ("pool" = String, Path, description = "Name of the pool"),
        ("node" = String, Path, description = "Name of the node"),
        ("if-match" = Option<String>, Header, description = "The pool's ETag; `*`: the node must exist"),
        ("if-none-match" = Option<String>, Header, description = "`*`: the node must not exist"),
        NodeQuery
    ),
    request_body = NodeSpec,
    responses(
        (
            status = 200,
            description = "What was done, or with `dry-run` what would move",
            body = NodeAnswer,
            headers(("etag" = String, description = "Of the pool's membership"))
        ),
        (
            status = 201,
            description = "It is new",
            body = NodeAnswer,
            headers(("etag" = String, description = "Of the pool's membership"))
        ),
        PutNodeProblem
    )
)]
pub(crate) async fn put(
    State(api): State<Arc<Api>>,
    mut order: Order,
    Json(spec): Json<NodeSpec>,
) -> Result<Response, Fault> {
    for _ in 0..ATTEMPTS_MAX {
        let changes = changes_to(&order, &spec)?;
        let is_new = order.pool.membership.node(&order.node).is_none();
        // The changes make the node what it is to be whatever became of it or the others, and are refused if it came or
        // went meanwhile. That it has the wanted placement-id is right for this state only.
        let is_bound = order.precondition.names_a_state() || (!is_new && spec.placement_id.is_some());
        let guard = is_bound.then(|| precondition::state(&order.pool));
        match carry_out(&api, &order, changes, guard).await {
            Err(error) if !order.precondition.names_a_state() && is_overtaken(&error, &order.node) => {
                order.pool = api.pool(&order.pool.settings.name)?;
            }
            done => return done.map(|done| answer(&api, &order, done, is_new)).map_err(Fault::of_node_write),
        }
    }
    let (epoch, fingerprint) = (order.pool.epoch, order.pool.fingerprint);
    let detail = "the pool changes faster than this write can follow; try again";
    Err(Fault::new(Kind::Stale, detail).with_state(epoch, fingerprint))
}

/// Edit a node
#[utoipa::path(
    patch,
    operation_id = "patch_node",
    path = "/v1/pools/{pool}/nodes/{node}",
    tag = "nodes",
    params(
        ("pool" = String, Path, description = "Name of the pool"),
        ("node" = String, Path, description = "Name of the node"),
        ("if-match" = Option<String>, Header, description = "The pool's ETag"),
        NodeQuery
    ),
    request_body = NodePatch,
    responses(
        (
            status = 200,
            description = "What was done, or with `dry-run` what would move",
            body = NodeAnswer,
            headers(("etag" = String, description = "Of the pool's membership"))
        ),
        PatchNodeProblem
    )
)]
pub(crate) async fn patch(
    State(api): State<Arc<Api>>,
    order: Order,
    Json(patch): Json<NodePatch>,
) -> Result<Response, Fault> {
    let name = || order.node.clone();
    let changes = [
        patch.address.map(|address| Change::Address { name: name(), address }),
        patch.zone.map(|zone| Change::Zone { name: name(), zone }),
        patch.weight.map(|weight| Change::Weight { name: name(), weight }),
    ];
    write_existing(&api, &order, changes.into_iter().flatten().collect()).await
}

/// Remove a node
#[utoipa::path(
    delete,
    operation_id = "delete_node",
    path = "/v1/pools/{pool}/nodes/{node}",
    tag = "nodes",
    params(
        ("pool" = String, Path, description = "Name of the pool"),
        ("node" = String, Path, description = "Name of the node"),
        ("if-match" = Option<String>, Header, description = "The pool's ETag"),
        NodeQuery
    ),
    responses(
        (
            status = 200,
            description = "What was done, or with `dry-run` what would move",
            body = NodeAnswer,
            headers(("etag" = String, description = "Of the pool's membership"))
        ),
        DeleteNodeProblem
    )
)]
pub(crate) async fn delete(State(api): State<Arc<Api>>, order: Order) -> Result<Response, Fault> {
    let changes = vec![Change::Remove { name: order.node.clone() }];
    write_existing(&api, &order, changes).await
}

async fn write_existing(api: &Api, order: &Order, changes: Vec<Change>) -> Result<Response, Fault> {
    if order.pool.membership.node(&order.node).is_none() {
        let names = order.pool.membership.nodes().iter().map(|node| node.name.as_str());
        return Err(Fault::unknown_node(order.node.as_str(), names));
    }
    order.precondition.check(&order.pool, true)?;
    let guard = order.precondition.names_a_state().then(|| precondition::state(&order.pool));
    let done = carry_out(api, order, changes, guard).await;
    done.map(|done| answer(api, order, done, false)).map_err(Fault::of_node_write)
}

/// The changes that make the node what `spec` says.
fn changes_to(order: &Order, spec: &NodeSpec) -> Result<Vec<Change>, Fault> {
    let present = order.pool.membership.node(&order.node);
    order.precondition.check(&order.pool, present.is_some())?;
    let name = || order.node.clone();
    let Some(present) = present else {
        return Ok(vec![Change::Add(Node {
            name: name(),
            address: spec.address.clone(),
            weight: spec.weight,
            zone: spec.zone.clone(),
            placement_id: spec.placement_id.clone(),
            draining: false,
        })]);
    };
    let placement_id = present.placement_id(order.pool.membership.placement);
    if let Some(wanted) = spec.placement_id.as_deref().filter(|wanted| *wanted != placement_id) {
        let detail = format!(
            "node `{}` has the placement-id {placement_id:?}, not {wanted:?}; it cannot be changed: remove the node \
             and add it",
            present.name
        );
        return Err(Fault::new(Kind::Refused, detail).at("/placement_id"));
    }
    let NodeSpec { address, weight, zone, .. } = spec.clone();
    // All of them, those that change nothing too: somebody else may edit the node meanwhile.
    Ok(vec![
        Change::Address { name: name(), address },
        Change::Zone { name: name(), zone },
        Change::Weight { name: name(), weight },
    ])
}

/// Whether a write was decided on a state in which `node` was not what it is now.
fn is_overtaken(error: &WriteError, node: &NodeName) -> bool {
    match error {
        WriteError::Stale { .. } => true,
        WriteError::Refused(refused) => match &refused.reason {
            Reason::DuplicateName { name } | Reason::UnknownNode { name, .. } => name == node,
            _ => false,
        },
        _ => false,
    }
}

/// What came of a write that was not refused.
enum Done {
    Planned(Box<Plan>),
    Written(Box<Written>),
}

/// Plans or makes the changes.
async fn carry_out(api: &Api, order: &Order, changes: Vec<Change>, guard: Option<Guard>) -> Result<Done, WriteError> {
    if order.query.dry_run {
        order.writer.audit.dry_run(&order.pool.settings.name, order.query.reason.as_deref());
        let plan = api.plan(&order.pool, changes).await;
        return plan.map(|plan| Done::Planned(Box::new(plan))).map_err(WriteError::Refused);
    }
    let write = Write {
        pool: order.pool.settings.name.clone(),
        action: WriteAction::Changes(changes),
        guard,
        force: order.query.force,
        actor: order.writer.actor.clone(),
        reason: order.query.reason.clone(),
    };
    api.write(write, &order.writer.audit).await.map(|written| Done::Written(Box::new(written)))
}

fn answer(api: &Api, order: &Order, done: Done, is_new: bool) -> Response {
    let written = match done {
        Done::Planned(plan) => return axum::Json(NodeAnswer::Planned(plan)).into_response(),
        Done::Written(written) => written,
    };
    let pool = &written.pool;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    let answer = NodeAnswer::Written(Box::new(NodeWritten {
        pool: pool.settings.name.clone(),
        epoch: written.epoch,
        changed: written.changed,
        fingerprint: pool.fingerprint,
        node: view::node(pool, order.node.as_str(), &api.last_changes(pool)),
    }));
    (status, AppendHeaders([(header::ETAG, view::etag(pool))]), axum::Json(answer)).into_response()
}

/// How often a PUT follows a pool that others write to as well.
const ATTEMPTS_MAX: usize = 16;
