//! Why a placement cannot be built, each with the way out.

use crate::placement::MAX_NODES;
use crate::placement::MAX_POINTS;
use crate::placement::WEIGHT_MAX;
use crate::placement::dialect;
use crate::placement::settings::Slots;
use crate::placement::settings::VNODES_MAX;
use crate::placement::table::SCORES_MAX;
use crate::placement::table::SLOTS_OF_LIGHTEST;

/// Why a placement cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// A setting out of its range.
    #[error("`vnodes` is {vnodes}; it must be 1 to {VNODES_MAX}")]
    BadVnodes {
        /// What was asked for.
        vnodes: u32,
    },
    /// A weight out of its range.
    #[error("node `{name}` has weight {weight}; a placed node has 1 to {WEIGHT_MAX}")]
    BadWeight {
        /// The node.
        name: String,
        /// What was asked for.
        weight: u32,
    },
    /// What another program's placement cannot be given.
    #[error(transparent)]
    Dialect(#[from] dialect::Refusal),
    /// Two nodes of one identity.
    #[error("two nodes are named `{name}`; give each a name of its own")]
    DuplicateName {
        /// The name they share.
        name: String,
    },
    /// Two nodes that would own the same positions.
    #[error(
        "nodes `{first}` and `{second}` have the same placement-id `{placement_id}` (a node's name, or \
         its address where the placement hashes that, unless set); give one of them another"
    )]
    DuplicatePlacementId {
        /// The placement-id they share.
        placement_id: String,
        /// The first of them by name.
        first: String,
        /// The second of them by name.
        second: String,
    },
    /// A secret seed for a placement that has to put keys where another program does.
    #[error(
        "`{kind}` puts keys where another program does, so it hashes them as that does and takes no seed; leave \
         `seed-file` out, or use `ring` or `table`"
    )]
    Seeded {
        /// The kind of the placement.
        kind: &'static str,
    },
    /// Fewer slots than give the lightest node a fair share.
    #[error("`slots` is {slots}, of which node `{node}` is entitled to {entitled}, fewer than {SLOTS_OF_LIGHTEST}; {}",
        slots_way_out(*slots_that_fit))]
    TooFewSlots {
        /// How many there are in all.
        slots: u32,
        /// The lightest node.
        node: String,
        /// How many its weight entitles it to, rounded down.
        entitled: u64,
        /// The fewest that fit; `None` when none do.
        slots_that_fit: Option<Slots>,
    },
    /// More nodes than an index can tell apart.
    #[error("{nodes} nodes are too many for one pool; the limit is {MAX_NODES}")]
    TooManyNodes {
        /// How many there are.
        nodes: usize,
    },
    /// More points than the memory of one pool may hold.
    #[error("`vnodes` times the sum of the weights is {points} points, more than {MAX_POINTS}; {}",
        way_out(*vnodes_that_fit))]
    TooManyPoints {
        /// How many points there would be.
        points: u64,
        /// The largest `vnodes` that fits these weights; `None` when not even 1 does.
        vnodes_that_fit: Option<u32>,
    },
    /// More scores than can be worked out in reasonable time.
    #[error("`slots` times the nodes is {scores}, more than {SCORES_MAX}; {}", slots_way_out(*slots_that_fit))]
    TooManyScores {
        /// How many there would be, one for each slot and node.
        scores: u64,
        /// The most slots that fit; `None` when none do.
        slots_that_fit: Option<Slots>,
    },
}

fn way_out(vnodes_that_fit: Option<u32>) -> String {
    match vnodes_that_fit {
        Some(vnodes) => format!("`vnodes = {vnodes}` would fit"),
        None => "no `vnodes` fits: divide all weights by a common factor".to_owned(),
    }
}

fn slots_way_out(slots_that_fit: Option<Slots>) -> String {
    match slots_that_fit {
        Some(slots) => format!("`slots = {slots}` would fit"),
        None => "no `slots` fits: make the weights less different, or use `ring`".to_owned(),
    }
}
