//! Why a membership refuses a change: the reasons, what each is about, and their texts.

use crate::cluster::networks::Forbidden;
use crate::cluster::node::NodeName;
use crate::cluster::node::PLACEMENT_ID_BYTES_MAX;
use crate::cluster::node::ZONE_CHARS_MAX;
use crate::placement::BuildError;
use crate::placement::MAX_NODES;
use crate::placement::WEIGHT_MAX;

/// Why a membership refuses a change. The text names the node and the way out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// Which of the changes it is about, from 0; none when it is about their result as a whole.
    pub index: Option<usize>,
    /// What is wrong.
    pub reason: Reason,
}

impl From<BuildError> for Refused {
    fn from(error: BuildError) -> Refused {
        Refused { index: None, reason: Reason::Build(error) }
    }
}

/// The reasons of [`Refused`].
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Reason {
    /// A placement-id of a length that is not accepted.
    #[error("the placement-id of node `{name}` has {bytes} bytes; it must have 1 to {PLACEMENT_ID_BYTES_MAX}")]
    BadPlacementId {
        /// The node.
        name: NodeName,
        /// The length it came with.
        bytes: usize,
    },
    /// A weight over the limit.
    #[error("the weight {weight} of node `{name}` is over {WEIGHT_MAX}; give a weight from 0 to {WEIGHT_MAX}")]
    BadWeight {
        /// The node.
        name: NodeName,
        /// The weight it came with.
        weight: u32,
    },
    /// A zone that is empty, too long or holds a control character.
    #[error("the zone {zone:?} of node `{name}` must be 1 to {ZONE_CHARS_MAX} printable characters")]
    BadZone {
        /// The node.
        name: NodeName,
        /// The zone it came with.
        zone: String,
    },
    /// The placement cannot be built from the nodes.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// The name to add is taken.
    #[error("node `{name}` exists; change its weight, address or zone, or remove it first")]
    DuplicateName {
        /// The node.
        name: NodeName,
    },
    /// Two nodes would own the same points.
    #[error("node `{name}` has the placement-id {id:?} of node `{holder}`; give one of them another placement-id")]
    DuplicatePlacementId {
        /// The later node.
        name: NodeName,
        /// What both would hash.
        id: String,
        /// The earlier node.
        holder: NodeName,
    },
    /// An address that no node may have.
    #[error("node `{name}` may not be there: {why}")]
    ForbiddenAddress {
        /// The node.
        name: NodeName,
        /// The rule against it.
        why: Forbidden,
    },
    /// An undrain that would not bring the node back.
    #[error("node `{name}` has weight 0, so an undrain would not bring it back; set a weight from 1")]
    NoWeight {
        /// The node.
        name: NodeName,
    },
    /// More nodes than a pool holds.
    #[error("a pool holds at most {MAX_NODES} nodes; remove nodes or split the pool")]
    TooManyNodes,
    /// A node that is not there.
    #[error("there is no node `{name}`{}", did_you_mean(.nearest.as_ref()))]
    UnknownNode {
        /// The name asked for.
        name: NodeName,
        /// The most similar name there is.
        nearest: Option<NodeName>,
    },
    /// The pool would be left without a node to send to.
    #[error("this takes out the last node with keys, `{name}`; add another first, or force it")]
    UnsafeLastNode {
        /// The last node of the placement, or one of them.
        name: NodeName,
    },
    /// Too much is taken out at once.
    #[error("this takes out {:.1} % of the weight at once, more than half; go in steps, or force it", .ratio * 100.0)]
    UnsafeOwnership {
        /// The share of the weight that is taken out, 0 to 1.
        ratio: f64,
    },
    /// A placement switch that moves too much.
    #[error(
        "switching the placement moves {:.1} % of the keys, more than half; force it if that is meant",
        .ratio * 100.0
    )]
    UnsafePlacement {
        /// The share of the keys that move, 0 to 1.
        ratio: f64,
    },
}

impl Refused {
    /// Whether it is only a precaution, which `--force` or `"force": true` overrules.
    pub fn is_unsafe(&self) -> bool {
        match self.reason {
            Reason::UnsafeLastNode { .. } | Reason::UnsafeOwnership { .. } | Reason::UnsafePlacement { .. } => true,
            Reason::BadPlacementId { .. }
            | Reason::BadWeight { .. }
            | Reason::BadZone { .. }
            | Reason::Build(_)
            | Reason::DuplicateName { .. }
            | Reason::DuplicatePlacementId { .. }
            | Reason::ForbiddenAddress { .. }
            | Reason::NoWeight { .. }
            | Reason::TooManyNodes
            | Reason::UnknownNode { .. } => false,
        }
    }

    /// The field of the change it is about, such as `name` or `weight`; none when it is about the change itself.
    pub fn field(&self) -> Option<&'static str> {
        match self.reason {
            Reason::BadPlacementId { .. } | Reason::DuplicatePlacementId { .. } => Some("placement_id"),
            Reason::BadWeight { .. } => Some("weight"),
            Reason::BadZone { .. } => Some("zone"),
            Reason::Build(BuildError::BadVnodes { .. } | BuildError::TooManyPoints { .. }) => Some("vnodes"),
            Reason::Build(BuildError::TooFewSlots { .. } | BuildError::TooManyScores { .. }) => Some("slots"),
            Reason::ForbiddenAddress { .. } => Some("address"),
            Reason::DuplicateName { .. } | Reason::NoWeight { .. } | Reason::UnknownNode { .. } => Some("name"),
            Reason::Build(_)
            | Reason::TooManyNodes
            | Reason::UnsafeLastNode { .. }
            | Reason::UnsafeOwnership { .. }
            | Reason::UnsafePlacement { .. } => None,
        }
    }
}

fn did_you_mean(nearest: Option<&NodeName>) -> String {
    nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}
