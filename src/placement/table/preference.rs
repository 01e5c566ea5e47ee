//! Which nodes each slot likes best, and, where that is not enough, all of them in order.

use crate::placement::PlacedNode;
use crate::placement::settings::Slots;
use crate::placement::table::score::Score;
use crate::placement::table::score::Scorer;
use crate::placement::table::score::Sieve;
use crate::placement::table::score::limit_for;
use crate::placement::table::score::slot_hash;
use std::collections::HashMap;

/// The preferences of all slots among the same nodes, which are known by their indexes.
pub(super) struct Preferences {
    slots: Slots,
    scorers: Box<[Scorer]>,
    /// How many nodes are kept for each slot: [`KEPT`], or all where there are fewer.
    width: usize,
    /// Slot by slot, the best first.
    kept: Box<[u16]>,
}

impl Preferences {
    /// `nodes` are in index order.
    pub(super) fn among(nodes: &[PlacedNode], slots: Slots) -> Preferences {
        Preferences::new(nodes, slots, Search::best_of_all)
    }

    /// As [`Preferences::among`] of `nodes`, where `self` are those of `former`, with as many slots: what a slot likes
    /// best is looked for among the new nodes only, unless it has lost one of its best.
    pub(super) fn renewed(&self, former: &[PlacedNode], nodes: &[PlacedNode]) -> Preferences {
        let (next, new) = compare(former, nodes);
        Preferences::new(nodes, self.slots, |search, slot, kept| {
            let start = kept.len();
            kept.extend(self.kept(slot).iter().filter_map(|node| next[usize::from(*node)]));
            if kept.len() - start == KEPT {
                search.best_with(slot, &new, kept);
            } else {
                kept.truncate(start);
                search.best_of_all(slot, kept);
            }
        })
    }

    /// Keeps what `find` adds for each slot.
    fn new(nodes: &[PlacedNode], slots: Slots, find: impl Fn(&mut Search, u32, &mut Vec<u16>)) -> Preferences {
        let scorer = |(index, node): (u16, &PlacedNode)| Scorer::new(index, &node.placement_id, node.weight);
        let width = nodes.len().min(KEPT);
        let mut kept = Vec::with_capacity(slots.count() as usize * width);
        let mut search = Search::among((0..).zip(nodes).map(scorer).collect());
        slots.all().for_each(|slot| find(&mut search, slot, &mut kept));
        Preferences { slots, scorers: search.scorers, width, kept: kept.into_boxed_slice() }
    }

    /// The nodes that `slot` likes best, the best first: [`KEPT`] or all.
    #[inline]
    pub(super) fn kept(&self, slot: u32) -> &[u16] {
        let start = slot as usize * self.width;
        &self.kept[start..start + self.width]
    }

    /// All nodes in the order in which `slot` likes them, which has to be worked out.
    pub(super) fn all(&self, slot: u32) -> Vec<u16> {
        let slot_hash = slot_hash(slot);
        let mut scores: Vec<Score> = self.scorers.iter().map(|scorer| scorer.score(slot_hash)).collect();
        scores.sort_unstable();
        scores.into_iter().map(Score::node).collect()
    }

    /// What `node` costs `slot`.
    pub(super) fn cost(&self, slot: u32, node: u16) -> u64 {
        self.scorers[usize::from(node)].score(slot_hash(slot)).cost()
    }
}

/// The index that each of `former` has among `nodes`, if it costs every slot the same there; and those of the others.
fn compare(former: &[PlacedNode], nodes: &[PlacedNode]) -> (Vec<Option<u16>>, Vec<u16>) {
    let scored_by = |node: &PlacedNode| (node.placement_id.clone(), node.weight);
    let mut new: HashMap<_, u16> = nodes.iter().map(scored_by).zip(0..).collect();
    let next = former.iter().map(|node| new.remove(&scored_by(node))).collect();
    (next, new.into_values().collect())
}

/// Looks for the nodes that slots like best, without sorting all of them.
struct Search {
    scorers: Box<[Scorer]>,
    /// A cost that most slots' best nodes do not exceed, and not many others.
    limit: u64,
    /// Of each node, for that limit.
    sieves: Vec<Sieve>,
    /// Room for the indexes of all nodes.
    passed: Vec<u16>,
    /// Those of the nodes in question.
    scores: Vec<Score>,
}

impl Search {
    fn among(scorers: Box<[Scorer]>) -> Search {
        let limit = limit_for(EXPECTED, &scorers);
        let sieves = scorers.iter().map(|scorer| scorer.sieve(limit)).collect();
        let passed = vec![0; scorers.len()];
        Search { scorers, limit, sieves, passed, scores: Vec::new() }
    }

    /// Adds the best of all nodes to `kept`, the best first.
    fn best_of_all(&mut self, slot: u32, kept: &mut Vec<u16>) {
        let slot_hash = slot_hash(slot);
        let count = pass(&self.sieves, slot_hash, &mut self.passed);
        let passed = self.passed[..count].iter().map(|node| &self.scorers[usize::from(*node)]);
        sort(&mut self.scores, slot_hash, passed);
        // Nodes that were held back cost more than the limit.
        let is_certain = |last: &Score| last.cost() <= self.limit;
        if count < self.scorers.len() && !self.scores.get(KEPT - 1).is_some_and(is_certain) {
            sort(&mut self.scores, slot_hash, self.scorers.iter());
        }
        kept.extend(self.scores.iter().take(KEPT).map(|score| score.node()));
    }

    /// Makes the last [`KEPT`] of `kept`, the best among some nodes, the best among these and `new` ones.
    fn best_with(&mut self, slot: u32, new: &[u16], kept: &mut Vec<u16>) {
        let (slot_hash, start) = (slot_hash(slot), kept.len() - KEPT);
        let limit = self.scorers[usize::from(kept[start + KEPT - 1])].score(slot_hash).cost();
        let new = new.iter().map(|node| &self.scorers[usize::from(*node)]);
        let mut better = new.filter(|scorer| scorer.sieve(limit).lets_pass(slot_hash)).peekable();
        if better.peek().is_some() {
            let stay = kept[start..].iter().map(|node| &self.scorers[usize::from(*node)]);
            sort(&mut self.scores, slot_hash, better.chain(stay));
            kept.truncate(start);
            kept.extend(self.scores.iter().take(KEPT).map(|score| score.node()));
        }
    }
}

/// Writes the indexes of the nodes that pass their sieves to the start of `passed`, and tells how many there are.
// Not inlined, it has the registers for itself, which saves a fifth of the time.
#[inline(never)]
fn pass(sieves: &[Sieve], slot_hash: u64, passed: &mut [u16]) -> usize {
    let mut count = 0;
    for (node, sieve) in (0..).zip(sieves) {
        // Without a branch: nobody could foretell which nodes pass.
        passed[count] = node;
        count += usize::from(sieve.lets_pass(slot_hash));
    }
    count
}

/// Makes `scores` what these nodes cost a slot, the best first.
fn sort<'s>(scores: &mut Vec<Score>, slot_hash: u64, scorers: impl Iterator<Item = &'s Scorer>) {
    scores.clear();
    scores.extend(scorers.map(|scorer| scorer.score(slot_hash)));
    scores.sort_unstable();
}

/// How many nodes are kept for each slot: enough for as many candidates as may be asked for without an allocation, and
/// for all but a few slots to find their owner.
pub(super) const KEPT: usize = 8;

/// How many nodes are looked at more closely for each slot: with so many expected, in 99 of 100 slots there are
/// [`KEPT`].
const EXPECTED: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn slots() -> Slots {
        Slots::try_from(256).unwrap()
    }

    /// Nodes in index order, by number and weight.
    fn nodes(weights: &[(u16, u32)]) -> Vec<PlacedNode> {
        let node = |(number, weight): &(u16, u32)| {
            let name = format!("node-{number:05}");
            PlacedNode { placement_id: name.clone(), name, weight: *weight }
        };
        weights.iter().map(node).collect()
    }

    /// Up to 40 nodes, the numbers of which two such lists have in common.
    fn weights() -> impl Strategy<Value = Vec<(u16, u32)>> {
        prop::collection::btree_map(0..50u16, prop_oneof![1..=3u32, Just(1_000)], 0..40)
            .prop_map(|weights| weights.into_iter().collect())
    }

    proptest! {
        #[test]
        fn what_is_kept_is_what_a_sort_puts_first(weights in weights()) {
            let preferences = Preferences::among(&nodes(&weights), slots());
            for slot in slots().all() {
                let all = preferences.all(slot);
                prop_assert_eq!(preferences.kept(slot), &all[..all.len().min(KEPT)], "slot {}", slot);
            }
        }

        #[test]
        fn preferences_renewed_are_those_found_anew(former in weights(), weights in weights()) {
            let (former, nodes) = (nodes(&former), nodes(&weights));
            let renewed = Preferences::among(&former, slots()).renewed(&former, &nodes);
            prop_assert_eq!(&renewed.kept, &Preferences::among(&nodes, slots()).kept);
        }
    }
}
