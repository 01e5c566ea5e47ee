//! Documents made of what is served: pools, nodes and the parts of the ring they own.

use crate::admin::model::DrainStatus;
use crate::admin::model::LastChange;
use crate::admin::model::NodeHealth;
use crate::admin::model::NodeList;
use crate::admin::model::NodeState;
use crate::admin::model::NodeStatus;
use crate::admin::model::PoolDetail;
use crate::admin::model::PoolOwner;
use crate::admin::model::PoolStatus;
use crate::admin::model::PoolSummary;
use crate::admin::model::Wellness;
use crate::cluster::health::Mark;
use crate::cluster::log::Action;
use crate::cluster::log::Event;
use crate::cluster::log::History;
use crate::cluster::membership::Change;
use crate::cluster::node::Node;
use crate::control::PoolRecord;
use crate::control::settings::Owner;
use crate::metrics::stats::NodeStats;
use crate::metrics::vital::NodeVital;
use crate::placement::PlacedNode;
use crate::placement::seed::Seed;
use crate::proxy::table::PoolTable;
use http::HeaderValue;
use std::collections::HashMap;

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
        seed_digest: pool.settings.key.seed().map(Seed::digest),
        match_host: pool.settings.matches.host.clone(),
        match_path: pool.settings.matches.path.clone(),
        nodes: pool.membership.nodes().to_vec(),
    }
}

/// A pool's nodes as they do now.
pub(crate) fn nodes(pool: &PoolTable, changes: &LastChanges) -> NodeList {
    NodeList {
        pool: pool.settings.name.clone(),
        epoch: pool.epoch,
        fingerprint: pool.fingerprint,
        nodes: node_statuses(pool, changes),
    }
}

/// A pool as it does now, with its nodes or without.
pub(crate) fn status(pool: &PoolTable, record: &PoolRecord, with_nodes: bool) -> PoolStatus {
    let rates = pool.vital.rates(&pool.stats);
    let is_up = |node: &&PlacedNode| pool.upstreams()[&node.name].vital.mark() != Mark::Ill;
    let nodes = || node_statuses(pool, &last_changes(&record.history));
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
        requests_per_second: rates.requests_per_second,
        spill_ratio: rates.spill_ratio,
        no_key_ratio: rates.no_key_ratio,
        is_panicking: pool.vital.is_panicking(),
        nodes_active: pool.placement.nodes().len(),
        nodes_up: pool.placement.nodes().iter().filter(is_up).count(),
        nodes: if with_nodes { nodes() } else { Vec::new() },
    }
}

/// The node called `name`, as it does now.
pub(crate) fn node(pool: &PoolTable, name: &str, changes: &LastChanges) -> Option<NodeStatus> {
    let node = pool.membership.nodes().iter().find(|node| node.name.as_str() == name)?;
    let status = node_status(pool, node, changes);
    Some(NodeStatus { share: share_of(&pool.shares(), name), bound: pool.caps().get(name).copied(), ..status })
}

/// The last event that concerns each node, by its name.
pub(crate) type LastChanges = HashMap<String, LastChange>;

/// The last event that names each node. A rollback counts for every node that it leads back to.
pub(crate) fn last_changes(history: &History) -> LastChanges {
    let mut last: HashMap<&str, &Event> = HashMap::new();
    for event in history.events() {
        match &event.action {
            Action::Changes(changes) => {
                let names = changes.iter().filter_map(Change::node);
                last.extend(names.map(|name| (name.as_str(), event)));
            }
            Action::Rollback { membership, .. } => {
                last.extend(membership.nodes().iter().map(|node| (node.name.as_str(), event)));
            }
        }
    }
    last.into_iter().map(|(name, event)| (name.to_owned(), last_change(event))).collect()
}

fn node_statuses(pool: &PoolTable, changes: &LastChanges) -> Vec<NodeStatus> {
    let (shares, caps) = (pool.shares(), pool.caps());
    let status = |node: &Node| {
        let name = node.name.as_str();
        NodeStatus {
            share: share_of(&shares, name),
            bound: caps.get(name).copied(),
            ..node_status(pool, node, changes)
        }
    };
    pool.membership.nodes().iter().map(status).collect()
}

fn share_of(shares: &HashMap<&str, f64>, name: &str) -> f64 {
    shares.get(name).copied().unwrap_or_default()
}

/// A node without what is worked out for all nodes at once.
fn node_status(pool: &PoolTable, node: &Node, changes: &LastChanges) -> NodeStatus {
    let upstream = &pool.upstreams()[node.name.as_str()];
    let stats: &NodeStats = &upstream.stats;
    let level = |level: i64| u64::try_from(level).unwrap_or_default();
    let inflight = level(stats.level(|stripe| &stripe.inflight));
    let drain = upstream.leaving.get().map(|leave| DrainStatus {
        since_ms: leave.since_ms,
        deadline_ms: leave.deadline_ms(),
        inflight,
    });
    let (requests_per_second, failure_ratio) = upstream.vital.requests_per_second(stats);
    let durations = upstream.vital.recent_durations(stats);
    NodeStatus {
        name: node.name.to_string(),
        address: node.address.to_string(),
        weight: node.weight,
        zone: node.zone.clone(),
        placement_id: node.placement_id.clone(),
        state: node_state(node),
        health: health(&upstream.vital),
        share: 0.0,
        requests_per_second,
        failure_ratio,
        inflight,
        bound: None,
        spilled_in: stats.sum(|stripe| &stripe.spilled_in),
        spilled_out: stats.sum(|stripe| &stripe.spilled_out),
        connections: level(stats.level(|stripe| &stripe.connections)),
        idle_connections: level(stats.level(|stripe| &stripe.idle_connections)),
        tunnels: level(stats.level(|stripe| &stripe.tunnels)),
        requests: stats.finished(),
        p50_seconds: durations.quantile(0.5),
        p99_seconds: durations.quantile(0.99),
        last_change: changes.get(node.name.as_str()).cloned(),
        drain,
    }
}

fn health(vital: &NodeVital) -> NodeHealth {
    let is = match vital.mark() {
        Mark::Well => Wellness::Well,
        Mark::Trial | Mark::OpenTrial => Wellness::Trial,
        Mark::Ill => Wellness::Ill,
    };
    NodeHealth { is, cause: vital.cause().map(|cause| cause.to_string()), since_ms: vital.flipped_ms() }
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
