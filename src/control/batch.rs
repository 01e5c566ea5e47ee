//! Decides a batch of writes, each on the state that the one before it leaves; stores and publishes nothing.

use crate::cluster::log::Action;
use crate::cluster::log::Event;
use crate::cluster::membership::Membership;
use crate::cluster::membership::check_safe;
use crate::control::PoolRecord;
use crate::control::settings::Owner;
use crate::control::write::Write;
use crate::control::write::WriteAction;
use crate::control::write::WriteError;
use crate::placement::Fingerprint;
use crate::placement::Placement;
use crate::placement::plan;
use crate::placement::plan::Shift;
use crate::proxy::node_gate::NodeGate;
use crate::proxy::table::PoolTable;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The state of one pool as the writes so far leave it.
pub(crate) struct Draft {
    pub(crate) epoch: u64,
    pub(crate) membership: Membership,
    pub(crate) placement: Arc<Placement>,
    /// How many positions each placed node owns, by its index in the placement.
    pub(crate) shares: Vec<u128>,
    /// Share of keys that the last write moved.
    pub(crate) moved_ratio: f64,
    pub(crate) fingerprint: Fingerprint,
    key_rule: String,
}

/// All that a batch has come to so far.
pub(crate) struct Batch {
    gate: Arc<NodeGate>,
    /// The events to store, in order.
    pub(crate) events: Vec<Event>,
    /// The pools that were looked at, by name.
    pub(crate) drafts: BTreeMap<String, Draft>,
}

/// What a write will be answered with once the batch is stored.
#[derive(Debug)]
pub(crate) struct Decided {
    pub(crate) epoch: u64,
    pub(crate) changed: bool,
    pub(crate) moved_ratio: f64,
}

impl Draft {
    /// The pool as it is served.
    pub(crate) fn of(pool: &PoolTable) -> Draft {
        Draft {
            epoch: pool.epoch,
            membership: pool.membership.clone(),
            placement: Arc::clone(&pool.placement),
            shares: pool.exact_shares().to_vec(),
            moved_ratio: pool.moved_ratio,
            fingerprint: pool.fingerprint,
            key_rule: pool.settings.key.describe(),
        }
    }
}

impl Batch {
    /// Nothing yet; nodes may be where `gate` lets them.
    pub(crate) fn new(gate: Arc<NodeGate>) -> Batch {
        Batch { gate, events: Vec::new(), drafts: BTreeMap::new() }
    }

    /// Decides one write on top of those before it. A refused write leaves the batch as it was.
    pub(crate) fn decide(
        &mut self,
        write: Write,
        served: Option<&PoolTable>,
        record: Option<&PoolRecord>,
        at_ms: u64,
    ) -> Result<Decided, WriteError> {
        let (Some(served), Some(record)) = (served, record) else {
            return Err(WriteError::UnknownPool { pool: write.pool });
        };
        // Before the guard, which counts only where the write would be made without it (RFC 9110 section 13.2.1).
        if record.owner == Owner::File {
            return Err(WriteError::OwnedByFile { pool: write.pool });
        }
        let draft = self.drafts.entry(write.pool.clone()).or_insert_with(|| Draft::of(served));
        check_guard(&write, draft)?;
        let (membership, action) = match write.action {
            WriteAction::Changes(changes) => {
                self.gate.check_changes(&changes).map_err(WriteError::Refused)?;
                let membership = draft.membership.apply(&changes).map_err(WriteError::Refused)?;
                (membership, Action::Changes(changes))
            }
            WriteAction::Rollback { to_epoch } => {
                let membership = record.history.at(to_epoch).map_err(WriteError::UnknownEpoch)?;
                let changes = draft.membership.changes_to(&membership);
                self.gate.check_changes(&changes).map_err(WriteError::Refused)?;
                (membership.clone(), Action::Rollback { to_epoch, membership })
            }
        };
        if membership == draft.membership {
            return Ok(Decided { epoch: draft.epoch, changed: false, moved_ratio: 0.0 });
        }
        let built = membership.rebuild(&draft.placement).and_then(|built| built.seeded(served.settings.key.seed()));
        let placement = built.map_err(|error| WriteError::Refused(error.into()))?;
        if !write.force {
            let (before, after) = ((&draft.membership, &*draft.placement), (&membership, &placement));
            check_safe(before, after).map_err(WriteError::Refused)?;
        }
        let Shift { moved_ratio, shares } = plan::shift(&draft.placement, &draft.shares, &placement);
        draft.moved_ratio = moved_ratio;
        draft.shares = shares;
        draft.fingerprint = placement.fingerprint(&draft.key_rule);
        draft.placement = Arc::new(placement);
        draft.membership = membership;
        draft.epoch += 1;
        let (epoch, actor, reason) = (draft.epoch, write.actor, write.reason);
        self.events.push(Event { pool: write.pool, epoch, at_ms, actor, reason, action });
        Ok(Decided { epoch, changed: true, moved_ratio })
    }
}

fn check_guard(write: &Write, draft: &Draft) -> Result<(), WriteError> {
    let Some(guard) = write.guard else { return Ok(()) };
    let is_same = guard.epoch == draft.epoch && guard.fingerprint.is_none_or(|known| known == draft.fingerprint);
    if is_same {
        return Ok(());
    }
    Err(WriteError::Stale { pool: write.pool.clone(), epoch: draft.epoch, fingerprint: draft.fingerprint })
}
