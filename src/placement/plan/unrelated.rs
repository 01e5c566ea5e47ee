//! Placements that put keys at different positions, so that no position can be looked up in both.
//!
//! Mostly the two hash keys in different ways. Which node a key has in one then says nothing about which it has in the
//! other, and what is to be expected of many keys is the product of the shares. Where both divide the same hash, its
//! remainders tell.

use crate::placement::POSITIONS;
use crate::placement::Placement;
use crate::placement::greatest_common_divisor;
use crate::placement::indexes_in;
use std::collections::HashMap;

/// What the positions of a key in two placements have to do with each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    /// Both divide the same hash, by these two numbers, and their positions are ranks by the remainder.
    Divided(usize, usize),
    /// Nothing.
    None,
    /// They are the same.
    Same,
}

/// How two placements relate. One without nodes relates to any.
pub(super) fn relation(before: &Placement, after: &Placement) -> Relation {
    if before.nodes().is_empty() || after.nodes().is_empty() || before.key_space() == after.key_space() {
        return Relation::Same;
    }
    let (Placement::Dialect(_, before), Placement::Dialect(_, after)) = (before, after) else {
        return Relation::None;
    };
    let (nodes, spaces) = (before.nodes().len() * after.nodes().len(), [before.key_space(), after.key_space()]);
    match spaces.map(|space| space.divisor) {
        [Some(first), Some(second)] if spaces[0].hash == spaces[1].hash => {
            let common = greatest_common_divisor(first, second);
            let pairs = common * nodes.min((first / common) * (second / common));
            // Many pairs are next to all of them, which is what is to be expected without any relation.
            if pairs > PAIRS_MAX { Relation::None } else { Relation::Divided(first, second) }
        }
        _ => Relation::None,
    }
}

/// Tells of pairs of nodes, by their indexes before and after, and how many positions go from one to the other, where
/// both placements divide the same hash. Two remainders are those of one hash when they agree on the largest common
/// divisor of both.
pub(super) fn for_each_divided(
    [before, after]: [&Placement; 2],
    [first, second]: [usize; 2],
    mut tell: impl FnMut(usize, usize, u128),
) {
    let common = greatest_common_divisor(first, second);
    // One position in so many belongs to each pair of slots that have hashes in common.
    let pairs_of_slots = (first / common) as u128 * second as u128;
    let owners = [before, after].map(|side| match side {
        Placement::Dialect(_, dialect) => dialect.owners(),
        Placement::Ring(_) | Placement::Table(_) => &[],
    });
    for remainder in 0..common {
        let counts = owners.map(|owners| count(owners.iter().skip(remainder).step_by(common)));
        for (from, slots_before) in &counts[0] {
            for (to, slots_after) in &counts[1] {
                let pairs = u128::from(slots_before * slots_after);
                tell(usize::from(*from), usize::from(*to), pairs * (POSITIONS / pairs_of_slots));
            }
        }
    }
}

/// What moves between placements that have nothing to do with each other.
pub(super) struct Expected {
    /// Positions owned before and after, by index.
    shares: [Vec<u128>; 2],
    /// The index before of each node after.
    former: Vec<Option<usize>>,
}

impl Expected {
    pub(super) fn between(before: &Placement, after: &Placement) -> Expected {
        let shares = [before, after].map(Placement::shares);
        Expected { shares, former: indexes_in(before.nodes(), after.nodes()) }
    }

    /// How many positions change their owner.
    pub(super) fn moved(&self) -> u128 {
        POSITIONS - self.staying(|_| true)
    }

    /// How many of them do between nodes of which `is_among`, by the index after, is true.
    pub(super) fn moved_among(&self, is_among: impl Fn(usize) -> bool) -> u128 {
        let [before, after] = &self.shares;
        let pairs = || self.former.iter().zip(0..).filter(|(_, to)| is_among(*to));
        let had: u128 = pairs().filter_map(|(from, _)| Some(before[(*from)?])).sum();
        let have: u128 = pairs().map(|(_, to)| after[to]).sum();
        product(had, have).saturating_sub(self.staying(&is_among))
    }

    /// Tells of the flows between the largest nodes, all of them unless there are very many.
    pub(super) fn for_each_flow(&self, mut tell: impl FnMut(usize, usize, u128)) {
        let [before, after] = &self.shares;
        for from in largest(before) {
            for to in largest(after) {
                if self.former[to] != Some(from) {
                    tell(from, to, product(before[from], after[to]));
                }
            }
        }
    }

    /// The positions that the same node has before and after, of which `is_among` is true.
    fn staying(&self, is_among: impl Fn(usize) -> bool) -> u128 {
        let [before, after] = &self.shares;
        let pairs = self.former.iter().zip(0..).filter(|(_, to)| is_among(*to));
        pairs.filter_map(|(from, to)| Some(product(before[(*from)?], after[to]))).sum()
    }
}

/// The part of one share that lies within another, when they have nothing to do with each other.
fn product(share: u128, other: u128) -> u128 {
    if share == POSITIONS { other } else { share * other / POSITIONS }
}

/// The indexes of the largest shares, the largest first.
fn largest(shares: &[u128]) -> Vec<usize> {
    let mut indexes: Vec<usize> = (0..shares.len()).collect();
    indexes.sort_by_key(|index| std::cmp::Reverse(shares[*index]));
    indexes.truncate(NODES_LISTED);
    indexes
}

/// How many slots each node has.
fn count<'a>(owners: impl Iterator<Item = &'a u16>) -> HashMap<u16, u64> {
    let mut counts = HashMap::new();
    for owner in owners {
        *counts.entry(*owner).or_insert(0) += 1;
    }
    counts
}

/// So many nodes of each side are listed with what moves between them.
const NODES_LISTED: usize = 1_000;

/// So many pairs of nodes are told of one by one.
const PAIRS_MAX: usize = 1 << 22;
