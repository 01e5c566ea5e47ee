//! Envoy's `RING_HASH` and `MAGLEV`.
//!
//! Checked against Envoy 1.40. Its sums are of floating-point numbers, whose rounding decides about points: they are
//! taken in the same order here, that of the nodes.

use crate::placement::PlacedNode;
use crate::placement::dialect::Refusal;
use crate::placement::dialect::circle::Circle;
use crate::placement::dialect::circle::Lookup;
use crate::placement::dialect::hash::Width;
use crate::placement::dialect::hash::murmur2;
use crate::placement::dialect::points_limit;
use crate::placement::dialect::settings::EnvoyHash;
use crate::placement::dialect::settings::EnvoyRingHash;
use crate::placement::dialect::settings::RING_SIZE_MAX;
use crate::placement::dialect::settings::TABLE_SIZE_MAX;
use crate::placement::dialect::slots::Slots;
use crate::placement::dialect::whole;
use xxhash_rust::xxh64::xxh64;

/// Refuses sizes that Envoy refuses, and more points than fit.
pub(super) fn check_ring(settings: EnvoyRingHash, nodes: &[PlacedNode]) -> Result<(), Refusal> {
    let (minimum, maximum) = (settings.minimum_size, settings.maximum_size);
    if minimum == 0 || minimum > maximum || maximum > RING_SIZE_MAX {
        return Err(Refusal::RingSizes { minimum, maximum });
    }
    // Up to the maximum, which is a whole number, and one more by rounding.
    points_limit(whole(scale(settings, &weights(nodes)).ceil()))
}

/// As many points as the lightest node needs for a whole number of them; where a node's share is not a whole number
/// itself, what is left over goes on to the next node.
pub(super) fn ring(settings: EnvoyRingHash, nodes: &[PlacedNode]) -> Circle {
    let weights = weights(nodes);
    let scale = scale(settings, &weights);
    let mut points = Vec::new();
    let (mut current, mut target) = (0.0, 0.0);
    for ((owner, node), weight) in (0..).zip(nodes).zip(weights) {
        target += scale * weight;
        let mut number = 0;
        while current < target {
            let text = format!("{}_{number}", node.placement_id);
            let point = match settings.hash {
                EnvoyHash::Murmur2 => murmur2(text.as_bytes()),
                EnvoyHash::Xxhash => xxh64(text.as_bytes(), 0),
            };
            points.push((point, owner));
            number += 1;
            current += 1.0;
        }
    }
    Circle::new(&points, Lookup::Clockwise, Width::Bits64)
}

/// Refuses a table that Envoy refuses.
pub(super) fn check_maglev(table_size: u32) -> Result<(), Refusal> {
    if is_prime(table_size) && table_size <= TABLE_SIZE_MAX {
        return Ok(());
    }
    let largest = table_size.min(TABLE_SIZE_MAX);
    let below = (2..=largest).rev().find(|size| is_prime(*size));
    let above = (largest..=TABLE_SIZE_MAX).find(|size| is_prime(*size));
    let near = [below, above].into_iter().flatten().collect();
    Err(Refusal::TableSize { table_size, near })
}

/// Node by node in the order of their texts, each takes the next free slot of its own sequence through the table, one
/// with half the weight of the heaviest in every second round.
pub(super) fn maglev(table_size: u32, nodes: &[PlacedNode]) -> Slots {
    let heaviest = weights(nodes).into_iter().fold(0.0, f64::max);
    let mut turns: Vec<Turn> = (0..)
        .zip(nodes)
        .zip(weights(nodes))
        .map(|((owner, node), weight)| Turn::new(owner, node, weight, table_size))
        .collect();
    turns.sort_by_key(|turn| &nodes[usize::from(turn.owner)].placement_id);
    let mut slots: Vec<Option<u16>> = vec![None; table_size as usize];
    let mut free = slots.len();
    let mut round = 0.0;
    while free > 0 {
        round += 1.0;
        for turn in &mut turns {
            if free == 0 || round * turn.weight < turn.target {
                continue;
            }
            turn.target += heaviest;
            let slot = turn.next_free(&slots);
            slots[slot] = Some(turn.owner);
            free -= 1;
        }
    }
    Slots::new(slots.into_iter().flatten().collect(), Width::Bits64)
}

/// One node while a Maglev table is filled.
struct Turn {
    owner: u16,
    weight: f64,
    /// How much weight it must have come to before it takes another slot.
    target: f64,
    /// Where its sequence has come to, and how far its steps go.
    slot: usize,
    skip: usize,
}

impl Turn {
    fn new(owner: u16, node: &PlacedNode, weight: f64, table_size: u32) -> Turn {
        let hash = |seed, divisor: u32| xxh64(node.placement_id.as_bytes(), seed) % u64::from(divisor);
        let index = |slot: u64| usize::try_from(slot).expect("a slot of the table");
        let skip = index(hash(1, table_size - 1) + 1);
        Turn { owner, weight, target: 0.0, slot: index(hash(0, table_size)), skip }
    }

    /// The next slot of the sequence that nobody has.
    fn next_free(&mut self, slots: &[Option<u16>]) -> usize {
        loop {
            let slot = self.slot;
            self.slot = (self.slot + self.skip) % slots.len();
            if slots[slot].is_none() {
                return slot;
            }
        }
    }
}

/// Each node's part of all weights.
fn weights(nodes: &[PlacedNode]) -> Vec<f64> {
    let total: u32 = nodes.iter().map(|node| node.weight).sum();
    nodes.iter().map(|node| f64::from(node.weight) / f64::from(total)).collect()
}

/// How many points all nodes have together, before rounding.
fn scale(settings: EnvoyRingHash, weights: &[f64]) -> f64 {
    let lightest = weights.iter().copied().fold(1.0, f64::min);
    let wanted = (lightest * f64::from(settings.minimum_size)).ceil() / lightest;
    wanted.min(f64::from(settings.maximum_size))
}

fn is_prime(number: u32) -> bool {
    let divisors = (2..).take_while(|divisor| divisor * divisor <= number);
    number >= 2 && divisors.into_iter().all(|divisor| !number.is_multiple_of(divisor))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(weights: &[u32]) -> Vec<PlacedNode> {
        let node = |(index, weight): (usize, &u32)| {
            let name = format!("10.0.0.{index}:80");
            PlacedNode { placement_id: name.clone(), name, weight: *weight }
        };
        weights.iter().enumerate().map(node).collect()
    }

    /// How many points or slots each of two nodes has.
    fn counts(owners: &[u16]) -> [usize; 2] {
        [0, 1].map(|node| owners.iter().filter(|owner| **owner == node).count())
    }

    #[test]
    fn the_lightest_node_has_a_whole_number_of_points() {
        let ring = |weights: &[u32]| ring(EnvoyRingHash::default(), &nodes(weights));
        assert_eq!(counts(ring(&[1, 1]).owners()), [512, 512]);
        assert_eq!(counts(ring(&[1, 2]).owners()), [342, 684]);
        assert_eq!(counts(ring(&[1, 1_000]).owners()), [2, 2_000]);
    }

    #[test]
    fn a_maglev_table_is_shared_by_weight() {
        assert_eq!(counts(maglev(503, &nodes(&[1, 1])).owners()), [252, 251]);
        assert_eq!(counts(maglev(503, &nodes(&[1, 2])).owners()), [168, 335]);
    }

    #[test]
    fn sizes_that_envoy_refuses_are_refused() {
        let sizes = |minimum_size, maximum_size| {
            let settings = EnvoyRingHash { minimum_size, maximum_size, ..EnvoyRingHash::default() };
            check_ring(settings, &nodes(&[1, 1])).map_err(|refusal| refusal.to_string())
        };
        assert_eq!(sizes(1_024, 1_024), Ok(()));
        assert!(sizes(0, 9).unwrap_err().contains("`minimum-size` is 0"));
        assert!(sizes(10, 9).unwrap_err().contains("`minimum-size` is 10 and `maximum-size` 9"));
        assert!(sizes(8_388_608, 8_388_608).unwrap_err().contains("8388608 points"));
        let table = |size| check_maglev(size).map_err(|refusal| refusal.to_string());
        assert_eq!(table(65_537), Ok(()));
        assert_eq!(table(5_000_011), Ok(()));
        assert!(table(65_536).unwrap_err().contains("65521 or 65537"), "{:?}", table(65_536));
        assert!(table(0).unwrap_err().contains("2"), "{:?}", table(0));
        assert!(table(5_000_077).unwrap_err().contains("5000011"), "{:?}", table(5_000_077));
    }
}
