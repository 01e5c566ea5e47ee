//! What a change of placement moves, exactly: ownership is compared stretch by stretch, not sampled.

mod unrelated;

use crate::placement::PlacedNode;
use crate::placement::Placement;
use crate::placement::indexes_in;
use crate::placement::plan::unrelated::Expected;
use crate::placement::plan::unrelated::Relation;
use crate::placement::ratio;
use crate::placement::ring;
use crate::placement::table;
use serde::Deserialize;
use serde::Serialize;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::ops::RangeInclusive;

/// The exact difference between two placements. Ratios are of the whole key space, 0 to 1. A node is the same
/// node when it has the same name.
///
/// A position without an owner on one side (an empty placement) does not move: nothing can be carried from or
/// to nowhere.
///
/// Where the two placements hash keys differently, so that a key has another position in each, it is what is to be
/// expected of many keys: which node one has before says nothing about the one it has after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Movement {
    /// The positions whose owner differs.
    pub moved_ratio: f64,
    /// The least that any placement would have to move between the shares the weights entitle to: half the
    /// sum of the differences. Luck may bring `moved_ratio` below it.
    pub optimal_ratio: f64,
    /// What moves between two nodes that are unchanged, each with the name, placement-id and weight it had; the
    /// placement-id does not count where the two placements hash keys differently.
    pub collateral_ratio: f64,
    /// `moved_ratio` over the least that can move between the actual shares. 1, the best, when no node both
    /// gains and loses, or nothing moves.
    pub structural_excess: f64,
    /// What moves from where to where, the largest first.
    pub flows: Vec<Flow>,
    /// Every node of either side, by name.
    pub nodes: Vec<NodeShare>,
}

/// The positions that move from one node to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Flow {
    /// Name of the node that owned them.
    pub from: String,
    /// Name of the node that will.
    pub to: String,
    /// Their part of the key space.
    pub ratio: f64,
}

/// What one node owns on both sides; 0 where it is absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct NodeShare {
    /// The node.
    pub name: String,
    /// Its part of the key space before.
    pub before: f64,
    /// Its part of the key space after.
    pub after: f64,
}

/// A [`Movement`] in numbers of positions, of which there are 2^64.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactMovement {
    /// Positions by the names of their owner before and after; only those that move.
    pub flows: BTreeMap<(String, String), u128>,
    /// Positions owned before and after, by name; 0 where a node is absent.
    pub shares: BTreeMap<String, (u128, u128)>,
    /// The sum of the flows between unchanged nodes.
    pub collateral: u128,
    /// Positions that move and are in no flow: of placements with over 1,000 nodes that hash keys differently, only
    /// what moves between the largest is listed.
    pub unlisted: u128,
}

impl ExactMovement {
    /// How many positions change their owner.
    pub fn moved(&self) -> u128 {
        self.flows.values().sum::<u128>() + self.unlisted
    }

    /// The least that any map with these shares before and after moves: the sum of the nodes' gains. 0 when
    /// one side is empty.
    pub fn least(&self) -> u128 {
        let gained: u128 = self.shares.values().map(|(before, after)| after.saturating_sub(*before)).sum();
        let lost: u128 = self.shares.values().map(|(before, after)| before.saturating_sub(*after)).sum();
        gained.min(lost)
    }

    fn structural_excess(&self) -> f64 {
        match self.moved() {
            0 => 1.0,
            // Equal shares may still trade places; one position then stands for the nothing that had to move.
            moved => moved as f64 / self.least().max(1) as f64,
        }
    }
}

/// Compares two placements, whatever their settings.
pub fn movement(before: &Placement, after: &Placement) -> Movement {
    let exact = exact(before, after);
    let mut flows: Vec<Flow> = exact
        .flows
        .iter()
        .map(|((from, to), positions)| Flow { from: from.clone(), to: to.clone(), ratio: ratio(*positions) })
        .collect();
    // The sort is stable, so flows of one size stay in the order of their names.
    flows.sort_by(|a, b| b.ratio.total_cmp(&a.ratio));
    let node_share = |(name, (before, after)): (&String, &(u128, u128))| NodeShare {
        name: name.clone(),
        before: ratio(*before),
        after: ratio(*after),
    };
    Movement {
        moved_ratio: ratio(exact.moved()),
        optimal_ratio: optimal_ratio(before.nodes(), after.nodes()),
        collateral_ratio: ratio(exact.collateral),
        structural_excess: exact.structural_excess(),
        nodes: exact.shares.iter().map(node_share).collect(),
        flows,
    }
}

/// Compares two placements position by position; where they hash keys differently, it is what is to be expected of keys
/// that know nothing of either.
pub fn exact(before: &Placement, after: &Placement) -> ExactMovement {
    let [stay, stayed] = unchanged(before, after);
    let (mut flows, mut collateral, mut unlisted) = (BTreeMap::new(), 0, 0);
    if unrelated::relation(before, after) == Relation::None {
        let expected = Expected::between(before, after);
        expected.for_each_flow(|from, to, positions| *flows.entry((from, to)).or_default() += positions);
        unlisted = expected.moved().saturating_sub(flows.values().sum());
        collateral = expected.moved_among(|to| stayed[to]);
    } else {
        for_each_move(before, after, |from, to, positions| {
            *flows.entry((from, to)).or_default() += positions;
            collateral += if stay[from] && stayed[to] { positions } else { 0 };
        });
    }
    let name = |side: &Placement, index: usize| side.nodes()[index].name.clone();
    let flows = flows.into_iter().map(|((from, to), positions)| ((name(before, from), name(after, to)), positions));
    ExactMovement { flows: flows.collect(), shares: shares_by_name(before, after), collateral, unlisted }
}

/// What a change of placement comes to, apart from what moves where.
#[derive(Clone, Debug, PartialEq)]
pub struct Shift {
    /// As [`Movement::moved_ratio`].
    pub moved_ratio: f64,
    /// As [`Placement::shares`] of the placement after it.
    pub shares: Vec<u128>,
}

/// What [`exact`] finds, in short, from the shares before; where few nodes differ, most of the ring is not looked at.
pub fn shift(before: &Placement, shares_before: &[u128], after: &Placement) -> Shift {
    if before.nodes().is_empty() || unrelated::relation(before, after) != Relation::Same {
        return Shift { moved_ratio: moved_ratio(before, after), shares: after.shares() };
    }
    let next = indexes_in(after.nodes(), before.nodes());
    let mut shares = vec![0; after.nodes().len()];
    for (share, next) in shares_before.iter().zip(&next) {
        if let Some(next) = next {
            shares[*next] = *share;
        }
    }
    let mut moved = 0;
    for_each_move(before, after, |from, to, positions| {
        moved += positions;
        shares[to] += positions;
        if let Some(from) = next[from] {
            shares[from] -= positions;
        }
    });
    Shift { moved_ratio: ratio(moved), shares }
}

/// Only the [`Movement::moved_ratio`].
pub fn moved_ratio(before: &Placement, after: &Placement) -> f64 {
    if unrelated::relation(before, after) == Relation::None {
        return ratio(Expected::between(before, after).moved());
    }
    let mut moved = 0;
    for_each_move(before, after, |_, _, positions| moved += positions);
    ratio(moved)
}

/// Tells of every stretch whose owner differs the index it had before, the one it has after, and its length; of none
/// where one side has no nodes.
fn for_each_move(before: &Placement, after: &Placement, mut tell: impl FnMut(usize, usize, u128)) {
    if before.nodes().is_empty() || after.nodes().is_empty() {
        return;
    }
    let former = indexes_in(before.nodes(), after.nodes());
    if let Relation::Divided(first, second) = unrelated::relation(before, after) {
        return unrelated::for_each_divided([before, after], [first, second], |from, to, positions| {
            if former[to] != Some(from) {
                tell(from, to, positions);
            }
        });
    }
    for range in touched(before, after) {
        let (mut start, end) = range.into_inner();
        let mut sides = [before, after].map(|side| side.stretches(start).peekable());
        // Cut wherever one of the sides is, so that each piece has one owner before and one after.
        while let [Some((last_before, from)), Some((last_after, to))] =
            sides.each_mut().map(|side| side.peek().copied())
        {
            let last = last_before.min(last_after).min(end);
            if former[to] != Some(from) {
                tell(from, to, u128::from(last - start) + 1);
            }
            if last == end {
                break;
            }
            start = last + 1;
            for side in &mut sides {
                side.next_if(|stretch| stretch.0 == last);
            }
        }
    }
}

/// Ranges, ascending and apart, that hold every position whose owner differs: everything where the kinds cannot say
/// better.
fn touched(before: &Placement, after: &Placement) -> Vec<RangeInclusive<u64>> {
    match (before, after) {
        (Placement::Ring(before), Placement::Ring(after)) => ring::touched(before, after),
        (Placement::Table(before), Placement::Table(after)) => table::touched(before, after),
        _ => vec![0..=u64::MAX],
    }
}

/// Of each node before and after, whether it has the same name and weight on both sides, and is hashed alike: that its
/// address rather than its name is hashed, or the other way round, is the doing of the placement.
pub(crate) fn unchanged(before: &Placement, after: &Placement) -> [Vec<bool>; 2] {
    let is_same_space = before.key_space() == after.key_space();
    let [by_name, by_name_after] = [before, after].map(|side| nodes_by_name(side.nodes()));
    let is_in = |others: &HashMap<&str, &PlacedNode>, node: &PlacedNode| {
        let other = others.get(node.name.as_str());
        let is_as_heavy = other.is_some_and(|other| other.weight == node.weight);
        is_as_heavy && (!is_same_space || other.is_some_and(|other| other.placement_id == node.placement_id))
    };
    [(before, by_name_after), (after, by_name)]
        .map(|(side, others)| side.nodes().iter().map(|node| is_in(&others, node)).collect())
}

/// What each node owns before and after.
fn shares_by_name(before: &Placement, after: &Placement) -> BTreeMap<String, (u128, u128)> {
    let mut shares: BTreeMap<String, (u128, u128)> = BTreeMap::new();
    for (node, share) in before.nodes().iter().zip(before.shares()) {
        shares.entry(node.name.clone()).or_default().0 = share;
    }
    for (node, share) in after.nodes().iter().zip(after.shares()) {
        shares.entry(node.name.clone()).or_default().1 = share;
    }
    shares
}

/// Half the L1 distance between what the weights before and after entitle the nodes to, by name; 0 when one
/// side is empty. In integers over the product of both sums, so that equal entitlements cancel exactly.
pub(crate) fn optimal_ratio(before: &[PlacedNode], after: &[PlacedNode]) -> f64 {
    let total = |nodes: &[PlacedNode]| -> u64 { nodes.iter().map(|node| u64::from(node.weight)).sum() };
    let (total_before, total_after) = (total(before), total(after));
    let by_name = nodes_by_name(before);
    let gains = after.iter().map(|node| {
        let weight_before = by_name.get(node.name.as_str()).map_or(0, |node| u64::from(node.weight));
        (u64::from(node.weight) * total_before).saturating_sub(weight_before * total_after)
    });
    match total_before * total_after {
        0 => 0.0,
        whole => gains.sum::<u64>() as f64 / whole as f64,
    }
}

fn nodes_by_name(nodes: &[PlacedNode]) -> HashMap<&str, &PlacedNode> {
    nodes.iter().map(|node| (node.name.as_str(), node)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::PlacementSettings;

    fn node(name: &str, placement_id: &str, weight: u32) -> PlacedNode {
        PlacedNode { name: name.to_owned(), placement_id: placement_id.to_owned(), weight }
    }

    fn placement(nodes: &[(&str, u32)]) -> Placement {
        let nodes = nodes.iter().map(|(name, weight)| node(name, name, *weight)).collect();
        Placement::build(PlacementSettings::default(), nodes).unwrap()
    }

    #[test]
    fn nothing_moves_between_equal_placements() {
        let same = movement(&placement(&[("a", 1), ("b", 2)]), &placement(&[("b", 2), ("a", 1)]));
        assert_eq!((same.moved_ratio, same.optimal_ratio, same.structural_excess), (0.0, 0.0, 1.0));
        assert_eq!(same.flows, []);
    }

    #[test]
    fn an_added_node_takes_from_all_and_nobody_else_gains() {
        let plan = movement(&placement(&[("a", 1), ("b", 1)]), &placement(&[("a", 1), ("b", 1), ("c", 2)]));
        assert_eq!(plan.optimal_ratio, 0.5);
        assert!((plan.moved_ratio - 0.5).abs() < 0.05, "{plan:?}");
        assert_eq!((plan.collateral_ratio, plan.structural_excess), (0.0, 1.0));
        assert!(plan.flows.iter().all(|flow| flow.to == "c"), "{plan:?}");
        assert!(plan.flows.is_sorted_by(|a, b| a.ratio >= b.ratio), "{plan:?}");
        let names: Vec<_> = plan.nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(plan.nodes[2].before, 0.0);
        assert_eq!(plan.nodes[2].after, plan.moved_ratio);
    }

    #[test]
    fn an_empty_side_moves_nothing() {
        for (before, after) in [(vec![], vec![("a", 1)]), (vec![("a", 1)], vec![]), (vec![], vec![])] {
            let plan = movement(&placement(&before), &placement(&after));
            assert_eq!((plan.moved_ratio, plan.optimal_ratio, plan.collateral_ratio), (0.0, 0.0, 0.0));
            assert_eq!((plan.structural_excess, plan.flows.len()), (1.0, 0));
        }
        let filled = movement(&placement(&[]), &placement(&[("a", 1)]));
        assert_eq!(filled.nodes, [NodeShare { name: "a".to_owned(), before: 0.0, after: 1.0 }]);
    }

    #[test]
    fn a_renamed_node_moves_its_share_and_no_more() {
        let build = |nodes| Placement::build(PlacementSettings::default(), nodes).unwrap();
        let before = build(vec![node("a", "x", 1), node("b", "y", 1)]);
        let after = build(vec![node("c", "x", 1), node("b", "y", 1)]);
        let plan = exact(&before, &after);
        let share = before.shares()[0];
        assert_eq!(plan.flows, BTreeMap::from([(("a".to_owned(), "c".to_owned()), share)]));
        assert_eq!(plan.least(), share);
    }

    #[test]
    fn other_settings_move_keys_between_unchanged_nodes() {
        let nodes = || vec![node("a", "a", 1), node("b", "b", 1), node("c", "c", 1)];
        let before = Placement::build(PlacementSettings::Ring { vnodes: 512 }, nodes()).unwrap();
        let after = Placement::build(PlacementSettings::Ring { vnodes: 511 }, nodes()).unwrap();
        let plan = movement(&before, &after);
        assert_eq!(plan.optimal_ratio, 0.0);
        assert!(plan.moved_ratio > 0.0);
        assert_eq!(plan.collateral_ratio, plan.moved_ratio);
    }

    #[test]
    fn equal_shares_that_trade_places_stay_a_finite_excess() {
        let exact = ExactMovement {
            flows: BTreeMap::from([(("a".to_owned(), "b".to_owned()), 8), (("b".to_owned(), "a".to_owned()), 8)]),
            shares: BTreeMap::from([("a".to_owned(), (9, 9)), ("b".to_owned(), (9, 9))]),
            collateral: 16,
            unlisted: 0,
        };
        assert_eq!((exact.moved(), exact.least(), exact.structural_excess()), (16, 0, 16.0));
    }
}
