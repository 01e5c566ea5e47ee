//! Who owns which slot: a stable matching of slots, which want one node each, with nodes, which take so many slots.
//!
//! Found by deferred acceptance (Gale and Shapley, College Admissions and the Stability of Marriage, 1962): a slot asks
//! the nodes in the order of its preference, and a node that is full keeps its cheapest slots and sends the dearest on.
//! In the end no slot and node would both rather have each other than what they have. Since both go by what the slot
//! would pay the node, there is only one such matching, whatever order the slots ask in.

use std::collections::BinaryHeap;

/// The owner of each slot. `caps` is how many slots each node takes, together at least `slots`. `preference` tells
/// which node a slot likes so much, counted from 0 for the most, and what that costs the slot.
pub(super) fn stable(slots: u32, caps: &[u32], mut preference: impl FnMut(u32, usize) -> (u16, u64)) -> Box<[u16]> {
    let mut nodes: Vec<Node> = caps.iter().map(|cap| Node { cap: *cap as usize, taken: BinaryHeap::new() }).collect();
    let mut owners = vec![0; slots as usize].into_boxed_slice();
    let mut asked = vec![0u16; slots as usize];
    for slot in 0..slots {
        let mut asking = Some(slot);
        while let Some(slot) = asking {
            let rank = &mut asked[slot as usize];
            let (node, cost) = preference(slot, usize::from(*rank));
            *rank += 1;
            owners[slot as usize] = node;
            asking = nodes[usize::from(node)].take(cost, slot);
        }
    }
    owners
}

/// A node, with what it has taken so far.
struct Node {
    cap: usize,
    /// Cost and slot; the dearest is on top, of equally dear ones the last.
    taken: BinaryHeap<(u64, u32)>,
}

impl Node {
    /// Takes a slot, and gives back the one that is too many.
    fn take(&mut self, cost: u64, slot: u32) -> Option<u32> {
        if self.taken.len() < self.cap {
            self.taken.push((cost, slot));
            return None;
        }
        match self.taken.peek_mut() {
            Some(mut dearest) if (cost, slot) < *dearest => Some(std::mem::replace(&mut *dearest, (cost, slot)).1),
            _ => Some(slot),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What each slot (a row) pays each node, and who owns it.
    fn matched(costs: &[Vec<u64>], caps: &[u32]) -> Vec<u16> {
        let preference = |slot: u32, rank: usize| {
            let mut order: Vec<(u64, u16)> = costs[slot as usize].iter().copied().zip(0..).collect();
            order.sort_unstable();
            (order[rank].1, order[rank].0)
        };
        stable(costs.len().try_into().unwrap(), caps, preference).into_vec()
    }

    #[test]
    fn a_full_node_sends_its_dearest_slot_on() {
        let costs = [vec![3, 7], vec![2, 9], vec![1, 8]];
        assert_eq!(matched(&costs, &[3, 3]), [0, 0, 0]);
        assert_eq!(matched(&costs, &[2, 3]), [1, 0, 0]);
        assert_eq!(matched(&costs, &[1, 3]), [1, 1, 0]);
    }

    #[test]
    fn of_equally_dear_slots_a_node_keeps_the_first() {
        assert_eq!(matched(&[vec![5, 6], vec![5, 6], vec![5, 6]], &[2, 1]), [0, 0, 1]);
    }

    #[test]
    fn who_is_sent_on_may_displace_others_in_turn() {
        // Slot 2 takes the place of 0 at node 0, which takes that of 1 at node 1.
        assert_eq!(matched(&[vec![2, 3, 9], vec![9, 4, 5], vec![1, 8, 9]], &[1, 1, 1]), [1, 2, 0]);
    }

    /// Costs of slots at nodes, all different, and caps that are enough for all slots.
    fn markets() -> impl Strategy<Value = (Vec<Vec<u64>>, Vec<u32>)> {
        (1..30usize, prop::collection::vec(1..12u32, 1..6), any::<u64>()).prop_map(|(slots, mut caps, seed)| {
            let mut costs: Vec<u64> = (0..).take(slots * caps.len()).collect();
            fastrand::Rng::with_seed(seed).shuffle(&mut costs);
            caps[0] += u32::try_from(slots).unwrap();
            (costs.chunks(caps.len()).map(<[u64]>::to_vec).collect(), caps)
        })
    }

    proptest! {
        #[test]
        fn it_is_as_if_the_cheapest_pairs_were_made_first((costs, caps) in markets()) {
            let mut pairs = Vec::new();
            for (slot, row) in (0u16..).zip(&costs) {
                pairs.extend(row.iter().zip(0u16..).map(|pair| (pair, slot)));
            }
            pairs.sort_unstable();
            let (mut owners, mut left) = (vec![None; costs.len()], caps.clone());
            for ((_, node), slot) in pairs {
                if owners[usize::from(slot)].is_none() && left[usize::from(node)] > 0 {
                    owners[usize::from(slot)] = Some(node);
                    left[usize::from(node)] -= 1;
                }
            }
            let matched: Vec<Option<u16>> = matched(&costs, &caps).into_iter().map(Some).collect();
            prop_assert_eq!(matched, owners);
        }
    }
}
