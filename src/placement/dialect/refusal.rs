//! What a dialect cannot reproduce, and the way out.

use crate::placement::MAX_POINTS;
use crate::placement::PlacedNode;
use crate::placement::dialect::haproxy;
use crate::placement::dialect::settings::RING_SIZE_MAX;
use crate::placement::dialect::settings::TABLE_SIZE_MAX;
use crate::placement::dialect::slots::SLOTS_MAX;

/// Why the placement of another program cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// HAProxy has no such weight.
    #[error(
        "node `{name}` has weight {weight}; those of HAProxy go up to {}, so give it the weight that it has there",
        haproxy::WEIGHT_MAX
    )]
    HaproxyWeight {
        /// The node.
        name: String,
        /// What was asked for.
        weight: u32,
    },
    /// The version has no such setting.
    #[error("`haproxy-3.0` has no `hash-key` of `guid` or `id32`, which came with HAProxy 3.4; use the kind `haproxy`")]
    HashKeyOf34,
    /// A map would take long to fill, in HAProxy too.
    #[error(
        "a map of {slots} slots for {nodes} nodes takes too long to fill; use weights with a larger common divisor, \
         or fewer nodes"
    )]
    MapTooLarge {
        /// The sum of the weights in their lowest terms.
        slots: u64,
        /// How many nodes there are.
        nodes: usize,
    },
    /// HAProxy hashes an address and there is none.
    #[error(
        "HAProxy hashes the IP address of a server, and its port under `addr-port`; give node `{name}` those that it \
         uses instead of `{placement_id}`, such as `placement-id = \"10.0.0.1:80\"`"
    )]
    NoAddress {
        /// The node.
        name: String,
        /// What would be hashed for it.
        placement_id: String,
    },
    /// HAProxy hashes a guid and there is none.
    #[error("HAProxy hashes the guid of a server; give node `{name}` its own as `placement-id`")]
    NoGuid {
        /// The node.
        name: String,
    },
    /// HAProxy hashes a server id, which is not derived: numbered by their place in a list, all nodes behind one that
    /// leaves would get another.
    #[error(
        "HAProxy hashes the id of a server; give node `{name}` its own{}, such as `placement-id = \"1\"`: that behind \
         `id` on its line, else the number of its line",
        instead_of(placement_id)
    )]
    NoId {
        /// The node.
        name: String,
        /// What would be hashed for it; empty when there is nothing.
        placement_id: String,
    },
    /// Envoy has no such ring.
    #[error(
        "`minimum-size` is {minimum} and `maximum-size` {maximum}; Envoy takes 1 to {RING_SIZE_MAX}, the minimum not \
         over the maximum"
    )]
    RingSizes {
        /// The smallest number of points.
        minimum: u32,
        /// The largest.
        maximum: u32,
    },
    /// Envoy has no such table.
    #[error("`table-size` is {table_size}; Envoy takes primes up to {TABLE_SIZE_MAX}, such as {}", either(near))]
    TableSize {
        /// What was asked for.
        table_size: u32,
        /// The primes next to it.
        near: Vec<u32>,
    },
    /// twemproxy reads such a text beyond its end, so that nobody knows what it hashes.
    #[error(
        "node `{name}` has a placement-id of {bytes} bytes; twemproxy reads beyond the end of texts that have over 85 \
         with `-` and a number, so that no other program can do the same"
    )]
    TextTooLong {
        /// The node.
        name: String,
        /// The length of its text.
        bytes: usize,
    },
    /// More points than the memory of one pool may hold.
    #[error(
        "these weights make {points} points, more than the {MAX_POINTS} that fit; use fewer nodes or smaller weights"
    )]
    TooManyPoints {
        /// How many points there would be.
        points: u64,
    },
    /// More slots than the memory of one pool may hold.
    #[error("these weights make {slots} slots, more than the {SLOTS_MAX} that fit; use fewer nodes or smaller weights")]
    TooManySlots {
        /// How many slots there would be.
        slots: u64,
    },
}

impl Refusal {
    pub(super) fn no_address(node: &PlacedNode) -> Refusal {
        Refusal::NoAddress { name: node.name.clone(), placement_id: node.placement_id.clone() }
    }
}

fn instead_of(placement_id: &str) -> String {
    if placement_id.is_empty() { String::new() } else { format!(" instead of `{placement_id}`") }
}

fn either(sizes: &[u32]) -> String {
    sizes.iter().map(u32::to_string).collect::<Vec<_>>().join(" or ")
}
