//! What the API answers about how a proxy, its pools and their nodes do.

use crate::admin::model::PoolOwner;
use crate::placement::Fingerprint;
use crate::placement::PlacementSettings;
use serde::Deserialize;
use serde::Serialize;
use utoipa::ToSchema;

/// `GET /v1/pools/{pool}/nodes`: the nodes as they do now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeList {
    /// The pool's name.
    pub pool: String,
    /// The number of its last event.
    pub epoch: u64,
    /// Equal fingerprints place every key alike.
    pub fingerprint: Fingerprint,
    /// Its nodes, in the order in which they were added.
    pub nodes: Vec<NodeStatus>,
}

/// A node and how it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeStatus {
    /// The node's identity.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Its share relative to the other nodes; 0 keeps it out of the placement.
    pub weight: u32,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What the placement hashes for it instead of its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement_id: Option<String>,
    /// Whether it takes keys.
    pub state: NodeState,
    /// Whether requests are sent to it.
    pub health: NodeHealth,
    /// The part of the keys that it owns, 0 to 1.
    pub share: f64,
    /// Requests that it answered a second, over the last ten seconds.
    pub requests_per_second: f64,
    /// The part of these that failed by its own fault, 0 to 1; null without requests.
    pub failure_ratio: Option<f64>,
    /// Requests that are at the node now.
    pub inflight: u64,
    /// As many may be, at the load of this moment; null without a bound.
    pub bound: Option<u64>,
    /// Requests that it took for owners of their keys that had enough to do (`load-bound` and limits).
    pub spilled_in: u64,
    /// Requests for its own keys that others took, because it had enough to do.
    pub spilled_out: u64,
    /// Connections to the node, idle ones included.
    pub connections: u64,
    /// Of these, the ones kept for the next request.
    pub idle_connections: u64,
    /// Upgraded connections, such as WebSockets, that go through this proxy now.
    pub tunnels: u64,
    /// Requests it has answered since it joined, or since the start of this proxy.
    pub requests: u64,
    /// As `p99_seconds`, for half of the requests.
    pub p50_seconds: Option<f64>,
    /// How many seconds 99 of 100 requests of the last minute waited at most for the head of their response; null
    /// without requests. Interpolated between the bounds of `ringway_upstream_duration_seconds`.
    pub p99_seconds: Option<f64>,
    /// The last event that names it, or that returned to an earlier epoch; absent when that is compacted away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_change: Option<LastChange>,
    /// Its way out, while it is draining.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drain: Option<DrainStatus>,
}

/// Whether requests are sent to a node, and why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NodeHealth {
    /// How it is.
    pub is: Wellness,
    /// Why it is no better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// When it last went from well to ill or back, in milliseconds since 1970; absent while it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
}

/// How a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Wellness {
    /// It gets requests.
    Well,
    /// One request is to find out whether it is well again.
    Trial,
    /// It is skipped.
    Ill,
}

/// How far a node is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DrainStatus {
    /// When this proxy saw it begin to drain, in milliseconds since 1970.
    pub since_ms: u64,
    /// When what is still open at it is closed, in milliseconds since 1970.
    pub deadline_ms: u64,
    /// Requests that are at the node still, tunnels included.
    pub inflight: u64,
}

/// Whether a node takes keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeState {
    /// It owns its share of the keys.
    Active,
    /// It is drained, or of weight 0: it finishes what it has and gets nothing new.
    Draining,
}

/// `GET /v1/status`, and the event `status` of `GET /v1/events`: how this proxy does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Status {
    /// The version of this proxy.
    pub version: String,
    /// What whoever asks may do.
    pub role: RoleName,
    /// Where the process is in its life.
    pub phase: PhaseName,
    /// Seconds since the start of the process's API.
    pub uptime_seconds: f64,
    /// Data-plane threads.
    pub workers: usize,
    /// Where events live: `file` or `memory`.
    pub store: String,
    /// Open client connections.
    pub connections: u64,
    /// The last time that the config file was read.
    pub reload: ReloadState,
    /// Every pool, in the order of the config.
    pub pools: Vec<PoolStatus>,
}

/// What a caller may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RoleName {
    /// Everything.
    Operate,
    /// Ask and plan.
    Read,
}

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PhaseName {
    /// Not serving yet: the process before this one still does.
    Starting,
    /// Serving.
    Running,
    /// Still serving, but telling clients to leave.
    Draining,
    /// Another process has taken over; open requests finish.
    HandedOver,
    /// Accepting no more; open requests finish.
    Closing,
    /// Out of time.
    Ended,
}

/// How the last reading of the config file went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReloadState {
    /// Whether the file as it was read last is in force.
    pub successful: bool,
    /// When a file was last put in force: seconds since the Unix epoch.
    pub success_timestamp_seconds: u64,
}

/// A pool and how it does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolStatus {
    /// The pool's name.
    pub pool: String,
    /// The number of its last event.
    pub epoch: u64,
    /// Equal fingerprints place every key alike.
    pub fingerprint: Fingerprint,
    /// Digest of name to address of all nodes.
    pub routes: Fingerprint,
    /// Who may change its membership.
    pub owner: PoolOwner,
    /// How keys are placed on its nodes.
    pub placement: PlacementSettings,
    /// How the file differs from what the store holds, if it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<String>,
    /// The largest share over what the weight entitles to; 1 is perfect, 0 without nodes.
    pub imbalance_ratio: f64,
    /// Share of the keys that the last change moved, 0 to 1.
    pub moved_ratio: f64,
    /// Its last event; absent when that is compacted away.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_change: Option<LastChange>,
    /// Requests a second, over the last ten seconds.
    pub requests_per_second: f64,
    /// The part of these that another node took because the owner of the key had enough to do, 0 to 1; null without
    /// requests.
    pub spill_ratio: Option<f64>,
    /// The part of these in which no key was found, 0 to 1; null without requests.
    pub no_key_ratio: Option<f64>,
    /// Whether so few nodes are well that all of them are used.
    pub is_panicking: bool,
    /// How many nodes take keys.
    pub nodes_active: usize,
    /// How many of these get requests.
    pub nodes_up: usize,
    /// Its nodes, in the order in which they were added; none where only those of another pool are asked for.
    pub nodes: Vec<NodeStatus>,
}

/// An event without what it changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LastChange {
    /// Its number.
    pub epoch: u64,
    /// When it was made: milliseconds since the Unix epoch.
    pub at_ms: u64,
    /// Who made it.
    pub actor: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
