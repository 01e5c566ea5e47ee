//! What may be asked of the control plane, and what it answers.

use crate::cluster::log::UnknownEpoch;
use crate::cluster::membership::Change;
use crate::cluster::membership::Refused;
use crate::placement::Fingerprint;
use crate::proxy::table::PoolTable;
use crate::store::StoreError;
use std::sync::Arc;

/// A change of one pool's membership.
#[derive(Clone, Debug)]
pub struct Write {
    /// The pool to change.
    pub pool: String,
    /// What to do.
    pub action: WriteAction,
    /// The state it was decided on; refused as stale when the pool has moved on.
    pub guard: Option<Guard>,
    /// Whether to do what is unsafe all the same.
    pub force: bool,
    /// Who asks, for the history.
    pub actor: String,
    /// Why, for the history.
    pub reason: Option<String>,
}

/// What a write does.
#[derive(Clone, Debug)]
pub enum WriteAction {
    /// Several changes as one event.
    Changes(Vec<Change>),
    /// Back to the membership of an epoch, as a new event.
    Rollback {
        /// The epoch to return to.
        to_epoch: u64,
    },
}

/// The state of a pool that a write was decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Its epoch.
    pub epoch: u64,
    /// Its fingerprint, where the client gave that too (`If-Match`).
    pub fingerprint: Option<Fingerprint>,
}

/// A write that is durable and served.
#[derive(Clone, Debug)]
pub struct Written {
    /// The epoch of its event, or the epoch as it was when nothing changed.
    pub epoch: u64,
    /// Whether it changed anything.
    pub changed: bool,
    /// Share of the keys that it moved, 0 to 1.
    pub moved_ratio: f64,
    /// The pool as it is served now; newer than `epoch` when other writes joined this one.
    pub pool: Arc<PoolTable>,
}

/// Why a write was not made. Nothing of it was stored, unless it says so.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WriteError {
    /// The file owns the pool.
    #[error("the nodes of pool {pool} are listed in the config file under `nodes`; edit the file and reload")]
    OwnedByFile {
        /// The pool.
        pool: String,
    },
    /// The membership refuses the change, or it is unsafe and not forced.
    #[error("{0}")]
    Refused(Refused),
    /// The pool has moved on since the write was decided on.
    #[error("pool {pool} is at epoch {epoch} with fingerprint {fingerprint}, not where this change was planned")]
    Stale {
        /// The pool.
        pool: String,
        /// Its epoch now.
        epoch: u64,
        /// Its fingerprint now.
        fingerprint: Fingerprint,
    },
    /// The control plane has a bug, which the write has met: it is made whole or not at all, but nobody knows which.
    #[error(
        "this proxy failed in the middle of the change; its log says where, and the history of the pool whether it \
         was made"
    )]
    Panicked,
    /// The process is ending.
    #[error("this proxy is shutting down")]
    Stopping,
    /// The store failed.
    #[error("{0}")]
    Store(Arc<StoreError>),
    /// The epoch to roll back to is not known.
    #[error("{0}")]
    UnknownEpoch(UnknownEpoch),
    /// There is no such pool.
    #[error("there is no pool {pool}")]
    UnknownPool {
        /// The name asked for.
        pool: String,
    },
}
