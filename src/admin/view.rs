//! Documents made of what is served: pools, nodes and the parts of the ring they own.

use crate::admin::model::DrainStatus;
use crate::admin::model::LastChange;
use crate::admin::model::NodeList;
use crate::admin::model::NodeState;
use crate::admin::model::NodeStatus;
use crate::admin::model::PoolDetail;
use crate::admin::model::PoolOwner;
use crate::admin::model::PoolStatus;
use crate::admin::model::PoolSummary;
use crate::cluster::log::Event;
use crate::cluster::node::Node;
use crate::control::PoolRecord;
use crate::control::settings::Owner;
use crate::metrics::stats::CLASS_NAMES;
use crate::metrics::stats::NodeStats;
use crate::proxy::table::PoolTable;
use http::HeaderValue;

/// The validator of a pool's membership: `"EPOCH-FINGERPRINT"`.
pub(crate) fn etag(pool: &PoolTable) -> HeaderValue {
    let tag = format!("\"{}-{}\"", pool.epoch, pool.fingerprint);
    HeaderValue::try_from(tag).expect("digits, a dash and quotes are a header value")
}

/// A pool in a line.
pub(crate) fn summary(pool: &PoolTable, owner: PoolOwner) -> PoolSummary {
    PoolSummary {
        pool: pool.settings.name.clone(),
        epoch: pool.epoch,
        fingerprint: pool.fingerprint,
        routes: pool.routes,
        owner,
        placement: pool.membership.placement,
        nodes: pool.membership.nodes().len(),
    }
}

/// A pool's membership.
pub(crate) fn detail(pool: &PoolTable, owner: PoolOwner) -> PoolDetail {
    PoolDetail {
        pool: pool.settings.name.clone(),
        epoch: pool.epoch,
        fingerprint: pool.fingerprint,
        routes: pool.routes,
        owner,
        placement: pool.membership.placement,
        key: pool.settings.key.describe(),
        match_host: pool.settings.matches.host.clone(),
        match_path: pool.settings.matches.path.clone(),
        nodes: pool.membership.nodes().to_vec(),
    }
}

/// A pool's nodes as they do now.
pub(crate) fn nodes(pool: &PoolTable) -> NodeList {
    NodeList {
        pool: pool.settings.name.clone(),
        epoch: pool.epoch,
        fingerprint: pool.fingerprint,
        nodes: node_statuses(pool),
    }
}

/// A pool as it does now.
pub(crate) fn status(pool: &PoolTable, record: &PoolRecord) -> PoolStatus {
    PoolStatus {
        pool: pool.settings.name.clone(),
        epoch: pool.epoch,
        fingerprint: pool.fingerprint,
        routes: pool.routes,
        owner: record.owner.into(),
        placement: pool.membership.placement,
        drift: record.drift.clone(),
        imbalance_ratio: pool.imbalance_ratio(),
        moved_ratio: pool.moved_ratio,
        last_change: record.history.events().next_back().map(last_change),
        nodes: node_statuses(pool),
    }
}

/// The node called `name`, as it does now.
pub(crate) fn node(pool: &PoolTable, name: &str) -> Option<NodeStatus> {
    let node = pool.membership.nodes().iter().find(|node| node.name.as_str() == name)?;
    Some(node_status(pool, node, pool.shares().get(name).copied()))
}

fn node_statuses(pool: &PoolTable) -> Vec<NodeStatus> {
    let shares = pool.shares();
    let status = |node: &Node| node_status(pool, node, shares.get(node.name.as_str()).copied());
    pool.membership.nodes().iter().map(status).collect()
}

fn node_status(pool: &PoolTable, node: &Node, share: Option<f64>) -> NodeStatus {
    let upstream = &pool.upstreams()[node.name.as_str()];
    let stats: &NodeStats = &upstream.stats;
    let level = |level: i64| u64::try_from(level).unwrap_or_default();
    let inflight = level(stats.level(|stripe| &stripe.inflight));
    let drain = upstream.leaving.get().map(|leave| DrainStatus {
        since_ms: leave.since_ms,
        deadline_ms: leave.deadline_ms(),
        inflight,
    });
    NodeStatus {
        name: node.name.to_string(),
        address: node.address.to_string(),
        weight: node.weight,
        zone: node.zone.clone(),
        placement_id: node.placement_id.clone(),
        state: node_state(node),
        share: share.unwrap_or_default(),
        inflight,
        connections: level(stats.level(|stripe| &stripe.connections)),
        idle_connections: level(stats.level(|stripe| &stripe.idle_connections)),
        tunnels: level(stats.level(|stripe| &stripe.tunnels)),
        requests: (0..CLASS_NAMES.len()).map(|class| stats.sum(|stripe| stripe.requests.class(class))).sum(),
        drain,
    }
}

/// Whether a node takes keys.
pub(crate) fn node_state(node: &Node) -> NodeState {
    if node.is_placed() { NodeState::Active } else { NodeState::Draining }
}

fn last_change(event: &Event) -> LastChange {
    LastChange { epoch: event.epoch, at_ms: event.at_ms, actor: event.actor.clone(), reason: event.reason.clone() }
}

impl From<Owner> for PoolOwner {
    fn from(owner: Owner) -> PoolOwner {
        match owner {
            Owner::File => PoolOwner::File,
            Owner::Store => PoolOwner::Store,
        }
    }
}
