//! Which nodes a walk over a placement has met.

/// A set of node indexes that allocates only when it outgrows its inline part.
#[derive(Clone, Debug)]
pub(crate) enum Seen {
    /// The first few, in the order in which they were met.
    Few { nodes: [u16; SEEN_INLINE], count: usize },
    /// A bit for each node.
    Many { bits: Box<[u64]> },
}

impl Seen {
    /// The empty set.
    pub(crate) fn nothing() -> Seen {
        Seen::Few { nodes: [0; SEEN_INLINE], count: 0 }
    }

    /// Whether `node`, one of `nodes_total`, was not in the set yet.
    pub(crate) fn insert(&mut self, node: u16, nodes_total: usize) -> bool {
        match self {
            Seen::Few { nodes, count } => {
                if nodes[..*count].contains(&node) {
                    return false;
                }
                if *count < SEEN_INLINE {
                    nodes[*count] = node;
                    *count += 1;
                    return true;
                }
                let mut bits = vec![0; nodes_total.div_ceil(64)].into_boxed_slice();
                for node in nodes {
                    set_bit(&mut bits, *node);
                }
                set_bit(&mut bits, node);
                *self = Seen::Many { bits };
                true
            }
            Seen::Many { bits } => set_bit(bits, node),
        }
    }
}

/// Whether the bit was clear before.
fn set_bit(bits: &mut [u64], node: u16) -> bool {
    let word = &mut bits[usize::from(node / 64)];
    let bit = 1 << (node % 64);
    let was_clear = *word & bit == 0;
    *word |= bit;
    was_clear
}

/// How many candidates a request can look at without an allocation.
const SEEN_INLINE: usize = 8;
