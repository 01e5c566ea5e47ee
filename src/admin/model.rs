//! What the API takes and answers: every JSON document of it that is not a type of the control plane itself.

pub mod status;

pub use crate::admin::model::status::DrainStatus;
pub use crate::admin::model::status::LastChange;
pub use crate::admin::model::status::NodeHealth;
pub use crate::admin::model::status::NodeList;
pub use crate::admin::model::status::NodeState;
pub use crate::admin::model::status::NodeStatus;
pub use crate::admin::model::status::PhaseName;
pub use crate::admin::model::status::PoolStatus;
pub use crate::admin::model::status::ReloadState;
pub use crate::admin::model::status::RoleName;
pub use crate::admin::model::status::Status;
pub use crate::admin::model::status::Wellness;

use crate::cluster::log::Event;
use crate::cluster::membership::Change;
use crate::cluster::node::Node;
use crate::cluster::node::NodeAddress;
use crate::control::pool_at::Located;
use crate::control::pool_at::Plan;
use crate::placement::Fingerprint;
use crate::placement::PlacementSettings;
use crate::section::is_printable;
use serde::Deserialize;
use serde::Deserializer;
use serde::Serialize;
use utoipa::ToSchema;

/// `GET /v1/pools`: every pool, in the order of the config.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolList {
    /// The pools.
    pub pools: Vec<PoolSummary>,
}

/// A pool in a line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolSummary {
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
    /// How many nodes it has, the ones out of the placement too.
    pub nodes: usize,
}

/// Who may change the membership of a pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PoolOwner {
    /// The config file (`nodes`): writes are refused with 409.
    File,
    /// The store (`initial-nodes`): this API writes to it.
    Store,
}

/// `GET /v1/pools/{pool}`: the membership, which its ETag stands for, and what the config says of the pool. No traffic
/// figures, so that it changes with a write or a reload only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PoolDetail {
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
    /// Where the key of a request comes from, such as `query:room, header:x-room`.
    pub key: String,
    /// A digest of the secret seed that keys are hashed with; absent: there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed_digest: Option<Fingerprint>,
    /// The host that requests must be for; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_host: Option<String>,
    /// The path that requests must be under; absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub match_path: Option<String>,
    /// Its nodes, in the order in which they were added.
    pub nodes: Vec<Node>,
}

/// `PUT /v1/pools/{pool}/nodes/{node}`: the whole node. Whether it is drained stays as it is, and so does its
/// placement-id when none is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeSpec {
    /// Where it listens: `IP:port`, `[IPv6]:port`, `host:port` or `unix:/path`.
    #[schema(value_type = String)]
    pub address: NodeAddress,
    /// Its share relative to the other nodes: 1 to 1,000, or 0 to keep it out of the placement.
    #[serde(default = "weight_default")]
    pub weight: u32,
    /// Where it stands; absent: nowhere in particular.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// What the placement hashes for it instead of its name. Cannot be changed once the node exists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub placement_id: Option<String>,
}

/// `PATCH /v1/pools/{pool}/nodes/{node}`: any of the fields (RFC 7396: absent is unchanged).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NodePatch {
    /// Where it listens from now on; moves no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub address: Option<NodeAddress>,
    /// 1 to 1,000, or 0 to take it out of the placement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// Where it stands; null to forget it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub zone: Option<Option<String>>,
}

/// What a write of one node came to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NodeWritten {
    /// The pool's name.
    pub pool: String,
    /// The epoch of the write, or the epoch as it was when nothing changed.
    pub epoch: u64,
    /// Whether anything changed; a write that changes nothing makes no event.
    pub changed: bool,
    /// Of the pool as it is served now.
    pub fingerprint: Fingerprint,
    /// The node as it is now; absent once it is removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeStatus>,
}

/// What a write of one node answers: what it did, or with `?dry-run` what it would move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum NodeAnswer {
    /// It was made.
    Written(Box<NodeWritten>),
    /// It was only planned.
    Planned(Box<Plan>),
}

/// `POST /v1/pools/{pool}/plan`: the changes to look at; nothing is changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanRequest {
    /// What would be changed, in this order, as one step.
    pub changes: Vec<Change>,
}

/// `POST /v1/pools/{pool}/apply`: several changes as one event and one swap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyRequest {
    /// The epoch that the changes were planned at; refused with 412 when the pool has moved on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_epoch: Option<u64>,
    /// What to change, in this order: all of it or nothing.
    pub changes: Vec<Change>,
    /// Why, for the history: at most 500 printable characters.
    #[serde(default, deserialize_with = "reason", skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub reason: Option<String>,
    /// Do it although it is unsafe.
    #[serde(default)]
    pub force: bool,
}

/// `POST /v1/pools/{pool}/rollback`: back to the membership of an earlier epoch, as a new event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RollbackRequest {
    /// The epoch whose membership is to be in force again.
    pub to_epoch: u64,
    /// The epoch that this was decided at; refused with 412 when the pool has moved on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_epoch: Option<u64>,
    /// Why, for the history: at most 500 printable characters.
    #[serde(default, deserialize_with = "reason", skip_serializing_if = "Option::is_none")]
    #[schema(max_length = 500)]
    pub reason: Option<String>,
    /// Do it although it is unsafe.
    #[serde(default)]
    pub force: bool,
}

/// What an apply or a rollback came to: durable, and served by this proxy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    /// The pool's name.
    pub pool: String,
    /// The epoch of the write, or the epoch as it was when nothing changed.
    pub epoch: u64,
    /// Whether anything changed; a write that changes nothing makes no event.
    pub changed: bool,
    /// The epoch served now: higher than `epoch` when other writes were made together with this one.
    pub served_epoch: u64,
    /// Of the pool as it is served now.
    pub fingerprint: Fingerprint,
    /// Share of the keys that this write moved, 0 to 1.
    pub moved_ratio: f64,
}

/// What an apply or a rollback answers: what it did, or with `?dry-run` what it would move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum ApplyAnswer {
    /// It was made.
    Applied(Box<Applied>),
    /// It was only planned.
    Planned(Box<Plan>),
}

/// `POST /v1/pools/{pool}/locate`: where many keys live.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LocateRequest {
    /// At most 10,000 keys, and at most 1,000,000 for keys times nodes of the pool.
    pub keys: Vec<String>,
    /// The epoch to look at; absent: now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
}

/// Where many keys live, in the order in which they were asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LocatedKeys {
    /// One answer for each key.
    pub located: Vec<Located>,
}

/// `GET /v1/pools/{pool}/events`: a page of the history, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// The pool's name.
    pub pool: String,
    /// The first epoch that `locate` and `rollback` can still name; its event and those before it are compacted away.
    pub oldest_epoch: u64,
    /// The number of the last event.
    pub newest_epoch: u64,
    /// The events after the epoch asked for.
    pub events: Vec<Event>,
    /// What to give as `after` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_after: Option<u64>,
}

/// `GET /v1/pools/{pool}/ring`: who owns which part of the key space.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RingView {
    /// The pool's name.
    pub pool: String,
    /// The number of its last event.
    pub epoch: u64,
    /// Equal fingerprints place every key alike.
    pub fingerprint: Fingerprint,
    /// How keys are placed on the nodes.
    pub placement: PlacementSettings,
    /// How many points the nodes have on the ring, or how many slots the table has.
    pub points: usize,
    /// The largest share over what the weight entitles to; 1 is perfect, 0 without nodes.
    pub imbalance_ratio: f64,
    /// All nodes, in the order in which they were added.
    pub nodes: Vec<RingNode>,
    /// Stretches of the key space from their start up to the next one's, at most 1,024.
    pub arcs: Vec<RingArc>,
    /// How many stretches there really are. When that is more than `arcs` holds, `arcs` is a picture: of each 1,024th
    /// part of the key space the node that owns its middle.
    pub arcs_exact: usize,
}

/// A node's part of the ring.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RingNode {
    /// The node's name.
    pub name: String,
    /// Its weight.
    pub weight: u32,
    /// Where it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// Whether it takes keys.
    pub state: NodeState,
    /// The part of the keys that it owns, 0 to 1.
    pub share: f64,
    /// The part that its weight entitles it to, 0 to 1.
    pub entitlement: f64,
    /// In how many stretches of the key space its keys lie.
    #[serde(default)]
    pub stretches: usize,
}

/// A stretch of the key space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RingArc {
    /// Its first position: 16 hex digits.
    pub start: String,
    /// The node that owns it.
    pub node: String,
}

/// `POST /v1/reload`: takes nothing; the body may be empty or `{}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ReloadRequest {}

/// The config file was read again and is in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Reloaded {
    /// What an operator should look at all the same.
    pub warnings: Vec<String>,
}

/// Why a request was not answered as asked: a problem document (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:ringway:problem:` and the kind, which programs tell problems apart by.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind for people; the same for all problems of a kind.
    pub title: String,
    /// The status of the response.
    pub status: u16,
    /// What is wrong here, and what to do instead.
    pub detail: String,
    /// The field of the request's body that it is about, as a JSON pointer (RFC 6901).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// With 412: the pool's epoch now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// With 412: the pool's fingerprint now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
}

fn weight_default() -> u32 {
    1
}

/// Tells a field that is null from one that is absent.
fn present<'de, D: Deserializer<'de>>(field: D) -> Result<Option<Option<String>>, D::Error> {
    Option::deserialize(field).map(Some)
}

/// Refuses a reason that would not fit a line of the history.
pub(crate) fn reason<'de, D: Deserializer<'de>>(field: D) -> Result<Option<String>, D::Error> {
    let reason = Option::<String>::deserialize(field)?;
    let is_bad = |reason: &String| reason.chars().count() > REASON_CHARS_MAX || !reason.chars().all(is_printable);
    if reason.as_ref().is_some_and(is_bad) {
        let message = format!("a reason has at most {REASON_CHARS_MAX} printable characters");
        return Err(serde::de::Error::custom(message));
    }
    Ok(reason)
}

/// Longest reason, in characters.
const REASON_CHARS_MAX: usize = 500;
