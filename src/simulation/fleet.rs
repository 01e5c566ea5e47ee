//! The nodes of a simulated pool: given, or made up.

use crate::cluster::node::Node;
use crate::cluster::node::NodeAddress;
use crate::cluster::node::NodeName;
use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::net::SocketAddr;
use std::ops::RangeInclusive;

/// Who the nodes are.
#[derive(Clone, Debug)]
pub enum Fleet {
    /// These, whatever the seed; it only decides which of them change, and who comes instead.
    Given(Vec<Node>),
    /// So many, whose names, addresses and ids follow from the seed.
    MadeUp {
        /// How many, 2 to [`crate::placement::MAX_NODES`].
        count: u32,
        /// Their weights, over and over again.
        weights: RangeInclusive<u32>,
    },
}

impl Fleet {
    /// How many nodes there are.
    pub fn len(&self) -> usize {
        match self {
            Fleet::Given(nodes) => nodes.len(),
            Fleet::MadeUp { count, .. } => *count as usize,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them.
    pub(super) fn nodes(&self, seed: u32) -> Vec<Node> {
        match self {
            Fleet::Given(nodes) => nodes.clone(),
            Fleet::MadeUp { count, weights } => {
                (0..*count).zip(weights.clone().cycle()).map(|(number, weight)| made_up(seed, number, weight)).collect()
            }
        }
    }

    /// One that is none of them.
    pub(super) fn newcomer(&self, seed: u32) -> Node {
        match self {
            // Of the addresses that RFC 2544 sets aside for tests, and of names, the first that nobody has.
            Fleet::Given(nodes) => {
                let is_free = |new: &Node| nodes.iter().all(|old| old.name != new.name && old.address != new.address);
                let mut newcomers = (0..=u8::MAX).map(|attempt| newcomer(seed, attempt));
                newcomers.find(is_free).unwrap_or_else(|| newcomer(seed, 0))
            }
            Fleet::MadeUp { count, .. } => made_up(seed, *count, 1),
        }
    }

    /// The ids of all nodes and, as the last, of one that comes to them, for programs that hash one. Nodes that were
    /// given one keep it; the others are numbered from 1 by what is free, as HAProxy numbers servers, and so is the one
    /// that comes, by the seed. Where nodes are made up, other seeds count on from somewhere else.
    pub(super) fn ids(&self, seed: u32) -> Vec<String> {
        let seeds_before = seed.saturating_sub(1);
        match self {
            Fleet::Given(nodes) => {
                let taken: HashSet<&str> = nodes.iter().filter_map(|node| node.placement_id.as_deref()).collect();
                let mut free = (1_u32..).map(|id| id.to_string()).filter(|id| !taken.contains(id.as_str()));
                let mut id = |node: &Node| node.placement_id.clone().or_else(|| free.next());
                let mut ids: Vec<String> = nodes.iter().filter_map(&mut id).collect();
                ids.extend(free.nth(seeds_before as usize));
                ids
            }
            Fleet::MadeUp { count, .. } => {
                let id = |number| 1 + seeds_before.wrapping_mul(IDS_APART).wrapping_add(number) % IDS;
                (0..=*count).map(|number| id(number).to_string()).collect()
            }
        }
    }
}

/// A made-up node: one of a subnet, under the usual port of an application.
fn made_up(seed: u32, number: u32, weight: u32) -> Node {
    let name = match seed {
        0 | 1 => format!("node-{:04}", number + 1),
        seed => format!("node-{:04}.{seed}", number + 1),
    };
    // A subnet of its own for each of 256 seeds, then the next port.
    let made = node(name, [10, low(seed), high(number), low(number)], PORT + u16::from(high(seed)));
    Node { weight, ..made }
}

/// One that comes to given nodes; other attempts make up others.
fn newcomer(seed: u32, attempt: u8) -> Node {
    let name = match attempt {
        0 => format!("newcomer-{seed}"),
        attempt => format!("newcomer-{seed}.{attempt}"),
    };
    node(name, [198, 18 + high(seed) % 2, low(seed), attempt], PORT)
}

fn node(name: String, address: [u8; 4], port: u16) -> Node {
    Node {
        name: NodeName::try_from(name).expect("letters, digits and dashes"),
        address: NodeAddress::Ip(SocketAddr::from((Ipv4Addr::from(address), port))),
        weight: 1,
        zone: None,
        placement_id: None,
        draining: false,
    }
}

fn low(number: u32) -> u8 {
    number.to_le_bytes()[0]
}

fn high(number: u32) -> u8 {
    number.to_le_bytes()[1]
}

const PORT: u16 = 8080;

/// How many server ids HAProxy tells apart: it hashes 20 bits of them.
const IDS: u32 = (1 << 20) - 1;

/// So far apart are the ids of two seeds; a prime.
const IDS_APART: u32 = 104_729;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_nodes_are_all_different_in_every_seed() {
        let fleet = Fleet::MadeUp { count: 300, weights: 1..=1 };
        let mut seen = HashSet::new();
        for seed in 1..=300 {
            let nodes = fleet.nodes(seed).into_iter().chain([fleet.newcomer(seed)]);
            for (node, id) in nodes.zip(fleet.ids(seed)) {
                assert!(seen.insert(node.name.to_string()), "{} at seed {seed}", node.name);
                assert!(seen.insert(node.address.to_string()), "{} at seed {seed}", node.address);
                let is_new = seen.insert(id.clone());
                // Ids come back after a while, but not within a seed: HAProxy has a million of them.
                assert!(is_new || seed > 10, "id {id} at seed {seed}");
            }
        }
    }

    #[test]
    fn a_newcomer_takes_no_name_address_or_id_of_a_given_node() {
        let same = Fleet::Given(Vec::new()).newcomer(1);
        let by_address = Node { name: NodeName::try_from("b".to_owned()).unwrap(), ..same.clone() };
        let of_id = |id: u32| Node { placement_id: Some(id.to_string()), ..made_up(1, id, 1) };
        let given: Vec<Node> = [2, 4, 5].map(of_id).into_iter().chain([same, by_address]).collect();
        let fleet = Fleet::Given(given.clone());
        for seed in 1..=10 {
            let newcomer = fleet.newcomer(seed);
            for node in &given {
                let is_other = node.name != newcomer.name && node.address != newcomer.address;
                assert!(is_other, "{newcomer:?} beside {node:?}");
            }
        }
        // Two nodes were given no id, and get the first that are free.
        assert_eq!(fleet.ids(1), ["2", "4", "5", "1", "3", "6"]);
        assert_eq!(fleet.ids(3), ["2", "4", "5", "1", "3", "8"]);
    }

    #[test]
    fn ids_begin_as_haproxy_counts() {
        let fleet = Fleet::MadeUp { count: 3, weights: 1..=1 };
        assert_eq!(fleet.ids(1), ["1", "2", "3", "4"]);
    }

    #[test]
    fn weights_begin_again_when_they_are_used_up() {
        let fleet = Fleet::MadeUp { count: 5, weights: 1..=2 };
        let weights: Vec<u32> = fleet.nodes(1).iter().map(|node| node.weight).collect();
        assert_eq!(weights, [1, 2, 1, 2, 1]);
    }
}
