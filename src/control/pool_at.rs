//! A pool at one epoch, and the questions operators ask of it: where does a key live, and what would a change move.

use crate::cluster::membership::Change;
use crate::cluster::membership::Membership;
use crate::cluster::membership::Refused;
use crate::cluster::membership::check_safe;
use crate::placement::Fingerprint;
use crate::placement::Placement;
use crate::placement::plan;
use crate::placement::plan::Flow;
use crate::placement::plan::Movement;
use crate::placement::plan::NodeShare;
use crate::routing::key::KeyRule;
use serde::Deserialize;
use serde::Serialize;
use std::sync::Arc;

/// One pool's membership, placement and key rule at one epoch: of a running proxy or of a store read offline.
#[derive(Clone, Debug)]
pub struct PoolAt {
    /// The pool's name.
    pub pool: String,
    /// The epoch it is looked at.
    pub epoch: u64,
    /// Who the nodes are.
    pub membership: Membership,
    /// Where keys belong.
    pub placement: Arc<Placement>,
    /// How keys are found and hashed.
    pub key: KeyRule,
    /// Digest of the placement and the key rule.
    pub fingerprint: Fingerprint,
}

/// Where a key lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Located {
    /// The pool asked.
    pub pool: String,
    /// The key, as UTF-8 (bytes that are not are replaced).
    pub key: String,
    /// Its position: 16 hex digits.
    pub hash: String,
    /// The node it belongs to; none in a pool without nodes.
    pub owner: Option<String>,
    /// All nodes in the order in which they would be tried.
    pub candidates: Vec<String>,
    /// The epoch that this is true for.
    pub epoch: u64,
    /// The fingerprint of that epoch.
    pub fingerprint: Fingerprint,
}

/// What a change would move.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Plan {
    /// The pool asked.
    pub pool: String,
    /// The epoch it starts from.
    pub epoch: u64,
    /// Share of the keys that move, 0 to 1.
    pub moved_ratio: f64,
    /// The least that any placement would have to move, from the weights alone.
    pub optimal_ratio: f64,
    /// Share of the keys that move between two unchanged nodes.
    pub collateral_ratio: f64,
    /// Moved over the least possible between the actual shares; 1 is perfect.
    pub structural_excess: f64,
    /// What moves from where to where, the largest first.
    pub flows: Vec<Flow>,
    /// Every node's share before and after.
    pub nodes: Vec<NodeShare>,
    /// The fingerprint now.
    pub fingerprint_before: Fingerprint,
    /// The fingerprint it leads to.
    pub fingerprint_after: Fingerprint,
    /// Why the change would be refused without force, if it would.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsafe_reason: Option<String>,
}

impl PoolAt {
    /// Builds the placement of `membership`.
    ///
    /// # Errors
    /// When it cannot be built, such as with too many points, or a seed where none may be.
    pub fn build(pool: &str, epoch: u64, membership: Membership, key: KeyRule) -> Result<PoolAt, Refused> {
        let placement = membership.build()?.seeded(key.seed())?;
        Ok(PoolAt::placed(pool, epoch, membership, placement, key))
    }

    /// `placement` is that of `membership`.
    fn placed(pool: &str, epoch: u64, membership: Membership, placement: Placement, key: KeyRule) -> PoolAt {
        let fingerprint = placement.fingerprint(&key.describe());
        PoolAt { pool: pool.to_owned(), epoch, membership, placement: Arc::new(placement), key, fingerprint }
    }

    /// Where `key` lives.
    pub fn locate(&self, key: &[u8]) -> Located {
        let position = self.placement.position(self.key.hashed(key));
        let names = self.placement.candidates(position).map(|node| self.placement.nodes()[node].name.clone());
        let candidates: Vec<String> = names.collect();
        Located {
            pool: self.pool.clone(),
            key: String::from_utf8_lossy(key).into_owned(),
            hash: format!("{position:016x}"),
            owner: candidates.first().cloned(),
            candidates,
            epoch: self.epoch,
            fingerprint: self.fingerprint,
        }
    }

    /// What `changes` would move.
    ///
    /// # Errors
    /// When the membership refuses them. What is merely unsafe is planned, with the reason beside it.
    pub fn plan(&self, changes: &[Change]) -> Result<Plan, Refused> {
        let membership = self.membership.apply(changes)?;
        let placement = membership.rebuild(&self.placement)?.seeded(self.key.seed())?;
        Ok(self.plan_to(&PoolAt::placed(&self.pool, self.epoch, membership, placement, self.key.clone())))
    }

    /// What going from here to `after` moves.
    pub fn plan_to(&self, after: &PoolAt) -> Plan {
        let movement: Movement = plan::movement(&self.placement, &after.placement);
        let safe = check_safe((&self.membership, &self.placement), (&after.membership, &after.placement));
        Plan {
            pool: self.pool.clone(),
            epoch: self.epoch,
            moved_ratio: movement.moved_ratio,
            optimal_ratio: movement.optimal_ratio,
            collateral_ratio: movement.collateral_ratio,
            structural_excess: movement.structural_excess,
            flows: movement.flows,
            nodes: movement.nodes,
            fingerprint_before: self.fingerprint,
            fingerprint_after: after.fingerprint,
            unsafe_reason: safe.err().map(|refused| refused.to_string()),
        }
    }
}
