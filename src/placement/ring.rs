//! The vnode ring: nodes put points on a circle of 2^64 positions, and a key belongs to the closest one.
//!
//! The closest-point rule is HAProxy's; it halves the variance of the shares at no cost. A node's points
//! depend on its own placement-id and weight alone, so that adding and removing nodes moves no key it need
//! not.

use crate::placement::BuildError;
use crate::placement::MAX_POINTS;
use crate::placement::PlacedNode;
use crate::placement::hash;
use crate::placement::points;
use crate::placement::points::Points;
use crate::placement::seed::Seed;
use crate::placement::seen::Seen;
use crate::placement::settings::VNODES_MAX;
use std::collections::HashMap;
use std::collections::HashSet;
use std::fmt;
use std::iter::FusedIterator;
use std::ops::Range;
use std::ops::RangeInclusive;

/// Points sorted by position, then by owner. A run of equal positions speaks through its first point, which belongs to
/// the smallest placement-id.
pub struct Ring {
    vnodes: u32,
    nodes: Box<[PlacedNode]>,
    points: Points,
    /// What keys are hashed with.
    pub(super) seed: Option<Seed>,
}

/// Without the points: there may be millions, and a log line must stay readable.
impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ring = f.debug_struct("Ring");
        ring.field("vnodes", &self.vnodes).field("nodes", &self.nodes).field("points", &self.points.len());
        ring.finish_non_exhaustive()
    }
}

impl Ring {
    /// Puts `vnodes` points times its weight on the circle for every node. `nodes` are sorted by
    /// placement-id, all different, with weights in range.
    pub(crate) fn build(vnodes: u32, nodes: Box<[PlacedNode]>) -> Result<Ring, BuildError> {
        let count = usize::try_from(Ring::point_count(vnodes, &nodes)?).expect("at most MAX_POINTS");
        let mut points = Vec::with_capacity(count);
        for (owner, node) in (0..).zip(&nodes) {
            points.extend(points_of(vnodes, node, owner));
        }
        let (points, owners) = points::sort(&points).into_iter().unzip();
        Ok(Ring::new(vnodes, nodes, points, owners))
    }

    /// What [`Ring::build`] makes, in a fraction of the time where `self` has most of the nodes: their points are
    /// taken over in order, and only those of the other nodes are hashed and sorted.
    pub(crate) fn rebuild(&self, vnodes: u32, nodes: Box<[PlacedNode]>) -> Result<Ring, BuildError> {
        let count = usize::try_from(Ring::point_count(vnodes, &nodes)?).expect("at most MAX_POINTS");
        let known: HashMap<_, _> = self.nodes.iter().map(|node| point_set(self.vnodes, node)).zip(0..).collect();
        let mut next_owners: Vec<Option<u16>> = vec![None; self.nodes.len()];
        let mut new_points = Vec::new();
        for (owner, node) in (0..).zip(&nodes) {
            match known.get(&point_set(vnodes, node)) {
                Some(former) => next_owners[*former] = Some(owner),
                None => new_points.extend(points_of(vnodes, node, owner)),
            }
        }
        let mut merged = (Vec::with_capacity(count), Vec::with_capacity(count));
        self.merge(&points::sort(&new_points), &next_owners, &mut merged);
        Ok(Ring::new(vnodes, nodes, merged.0, merged.1))
    }

    /// Puts the points whose node stays, with its next index, together with sorted new ones.
    fn merge(&self, new_points: &[(u64, u16)], next_owners: &[Option<u16>], merged: &mut (Vec<u64>, Vec<u16>)) {
        let mut former = 0;
        for new_point in new_points {
            let before = self.points_before(*new_point, next_owners);
            self.take_over(former..before, next_owners, merged);
            former = before;
            merged.0.push(new_point.0);
            merged.1.push(new_point.1);
        }
        self.take_over(former..self.points.len(), next_owners, merged);
    }

    /// How many points come before `new_point`, of which none has its owner. Nodes that stay keep their order, so that
    /// their points do too.
    fn points_before(&self, new_point: (u64, u16), next_owners: &[Option<u16>]) -> usize {
        let mut point = self.points.first_from(new_point.0);
        let next_owner = |point: usize| next_owners[self.points.owner(point)];
        while self.points.positions().get(point) == Some(&new_point.0)
            && next_owner(point).is_none_or(|owner| owner < new_point.1)
        {
            point += 1;
        }
        point
    }

    /// Copies those of the points in `range` whose node stays.
    fn take_over(&self, range: Range<usize>, next_owners: &[Option<u16>], to: &mut (Vec<u64>, Vec<u16>)) {
        let next_owner = |owner: &u16| next_owners[usize::from(*owner)];
        let mut rest = range;
        while !rest.is_empty() {
            let gone = self.points.owners()[rest.clone()].iter().position(|owner| next_owner(owner).is_none());
            let kept = rest.start..gone.map_or(rest.end, |gone| rest.start + gone);
            to.0.extend_from_slice(&self.points.positions()[kept.clone()]);
            to.1.extend(self.points.owners()[kept.clone()].iter().map(|owner| next_owner(owner).unwrap_or_default()));
            rest.start = rest.end.min(kept.end + 1);
        }
    }

    /// How many points these nodes have, when that is not too many.
    pub(crate) fn point_count(vnodes: u32, nodes: &[PlacedNode]) -> Result<u64, BuildError> {
        if !(1..=VNODES_MAX).contains(&vnodes) {
            return Err(BuildError::BadVnodes { vnodes });
        }
        let weights: u64 = nodes.iter().map(|node| u64::from(node.weight)).sum();
        let points = weights * u64::from(vnodes);
        if points > MAX_POINTS {
            let fitting = u32::try_from(MAX_POINTS / weights).ok().filter(|fitting| *fitting > 0);
            return Err(BuildError::TooManyPoints { points, vnodes_that_fit: fitting });
        }
        Ok(points)
    }

    /// `points` and their `owners` are sorted by position, then by owner, and every node has at least one.
    fn new(vnodes: u32, nodes: Box<[PlacedNode]>, points: Vec<u64>, owners: Vec<u16>) -> Ring {
        Ring { vnodes, nodes, points: Points::new(points, owners), seed: None }
    }

    pub(crate) fn vnodes(&self) -> u32 {
        self.vnodes
    }

    pub(crate) fn nodes(&self) -> &[PlacedNode] {
        &self.nodes
    }

    /// The position of every point, ascending.
    pub(crate) fn points(&self) -> &[u64] {
        self.points.positions()
    }

    /// The owner of every point, as a node index.
    pub(crate) fn owners(&self) -> &[u16] {
        self.points.owners()
    }

    /// The owner of the point closest to `position`; of two equally close ones the predecessor, of points at
    /// one position the smallest placement-id.
    pub(crate) fn owner(&self, position: u64) -> Option<usize> {
        if self.points.is_empty() {
            return None;
        }
        Some(self.points.owner(self.closest(position)))
    }

    /// The closest point, of a run the first. The ring has points.
    // Inlined, it saves every lookup of a request a tenth of its instructions.
    #[inline(always)]
    fn closest(&self, position: u64) -> usize {
        let right = self.points.first_at_or_after(position);
        let left = self.points.before(right);
        let distance_left = position.wrapping_sub(self.points.at(left));
        let distance_right = self.points.at(right).wrapping_sub(position);
        self.points.run_start(if distance_left <= distance_right { left } else { right })
    }

    pub(crate) fn candidates(&self, position: u64) -> Candidates<'_> {
        Candidates::new(self, position)
    }

    /// What is owned from `start` to the largest position. Each point owns up to the middle of the gap to the next
    /// one, the middle included.
    pub(crate) fn stretches(&self, start: u64) -> Stretches<'_> {
        let from = (!self.points.is_empty()).then(|| (start, self.closest(start)));
        Stretches { ring: self, from }
    }

    /// The points of each node that `other` lacks, or has under another name or with other points.
    fn sets_not_in(&self, other: &Ring) -> Vec<(&str, u32)> {
        let known: HashSet<_> = other.nodes.iter().map(|node| (&node.name, point_set(other.vnodes, node))).collect();
        let sets = self.nodes.iter().map(|node| (&node.name, point_set(self.vnodes, node)));
        sets.filter(|set| !known.contains(set)).map(|(_, set)| set).collect()
    }

    /// The ranges from each of `points`, which are points of the ring, up to those beside it.
    fn surroundings(&self, points: impl IntoIterator<Item = u64>) -> Vec<RangeInclusive<u64>> {
        let mut ranges = Vec::new();
        for here in points {
            let run = self.points.first_from(here);
            let (left, right) = (self.points.before(run), self.points.next_run(run));
            let (left, right) = (self.points.at(left), self.points.at(right));
            match left < here && here < right {
                true => ranges.push(left..=right),
                false => ranges.extend([left..=u64::MAX, 0..=right]),
            }
        }
        ranges
    }
}

/// What decides which points a node has, and how many.
fn point_set(vnodes: u32, node: &PlacedNode) -> (&str, u32) {
    (&node.placement_id, vnodes * node.weight)
}

/// The points of one node, in the order of their numbers, each with its owner.
fn points_of(vnodes: u32, node: &PlacedNode, owner: u16) -> impl Iterator<Item = (u64, u16)> {
    let (placement_id, count) = point_set(vnodes, node);
    hash::ring_points(placement_id, count).into_iter().map(move |position| (position, owner))
}

/// The ranges, ascending and apart, outside of which every position has the same owner in both rings.
///
/// Who owns a position depends on the points to both sides of it. So the owner differs only next to a point of a node
/// that the other ring lacks, or has under another name or with other points.
pub(crate) fn touched(before: &Ring, after: &Ring) -> Vec<RangeInclusive<u64>> {
    let sets = [before.sets_not_in(after), after.sets_not_in(before)];
    let differing: u64 = sets.iter().flatten().map(|(_, count)| u64::from(*count)).sum();
    if differing * 2 > u64::try_from(before.points.len() + after.points.len()).unwrap_or(u64::MAX) {
        // The ranges would be many, and all but cover the circle.
        return vec![0..=u64::MAX];
    }
    let [gone, new] = sets.map(|sets| sets.into_iter().flat_map(|(id, count)| hash::ring_points(id, count)));
    united([before.surroundings(gone), after.surroundings(new)].concat())
}

/// The same positions in ranges ascending and apart.
fn united(mut ranges: Vec<RangeInclusive<u64>>) -> Vec<RangeInclusive<u64>> {
    ranges.sort_unstable_by_key(|range| *range.start());
    let mut apart: Vec<RangeInclusive<u64>> = Vec::new();
    for range in ranges {
        match apart.last_mut() {
            Some(last) if range.start() <= last.end() => *last = *last.start()..=*last.end().max(range.end()),
            _ => apart.push(range),
        }
    }
    apart
}

/// Pieces of the circle in order, each with its last position and its owner; neighbours may have the same owner. They
/// end with the largest position.
#[derive(Debug)]
pub(crate) struct Stretches<'a> {
    ring: &'a Ring,
    /// Where the next one starts, and the point that owns it.
    from: Option<(u64, usize)>,
}

impl Iterator for Stretches<'_> {
    type Item = (u64, usize);

    #[inline]
    fn next(&mut self) -> Option<(u64, usize)> {
        let (start, point) = self.from?;
        let points = &self.ring.points;
        let next = points.next_run(point);
        let gap = points.at(next).wrapping_sub(points.at(point));
        let middle = points.at(point).wrapping_add(gap / 2);
        // Before the start lies a middle beyond zero; without a second position there is no middle.
        let last = if next == point || middle < start { u64::MAX } else { middle };
        self.from = last.checked_add(1).map(|start| (start, next));
        Some((last, points.owner(point)))
    }
}

impl FusedIterator for Stretches<'_> {}

/// All nodes by the distance of their closest point, each once: two walks leave the position to both sides,
/// and the shorter step goes first, to the left where both are equal.
#[derive(Clone, Debug)]
pub(crate) struct Candidates<'a> {
    ring: &'a Ring,
    position: u64,
    /// What the left walk has still to visit of its run: within one it goes up, smallest placement-id first.
    left: Range<usize>,
    /// Where the left walk's run starts.
    left_run: usize,
    /// The next point of the right walk.
    right: usize,
    seen: Seen,
    /// Nodes not yet returned. While there are any, neither walk has met the other, so no point is visited
    /// twice.
    unseen: usize,
}

impl<'a> Candidates<'a> {
    fn new(ring: &'a Ring, position: u64) -> Candidates<'a> {
        let unseen = ring.nodes.len();
        let right = if unseen == 0 { 0 } else { ring.points.first_at_or_after(position) };
        Candidates { ring, position, left: 0..0, left_run: right, right, seen: Seen::nothing(), unseen }
    }

    /// The owner of the closest point not yet visited.
    fn step(&mut self) -> u16 {
        let points = &self.ring.points;
        if self.left.is_empty() {
            let last = points.before(self.left_run);
            self.left_run = points.run_start(last);
            self.left = self.left_run..last + 1;
        }
        let distance_left = self.position.wrapping_sub(points.at(self.left.start));
        let distance_right = points.at(self.right).wrapping_sub(self.position);
        let point = if distance_left <= distance_right { &mut self.left.start } else { &mut self.right };
        let owner = points.owners()[*point];
        *point += 1;
        if self.right == points.len() {
            self.right = 0;
        }
        owner
    }
}

impl Iterator for Candidates<'_> {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        while self.unseen > 0 {
            let owner = self.step();
            if self.seen.insert(owner, self.ring.nodes.len()) {
                self.unseen -= 1;
                return Some(usize::from(owner));
            }
        }
        None
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.unseen, Some(self.unseen))
    }
}

impl ExactSizeIterator for Candidates<'_> {}

impl FusedIterator for Candidates<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::Arc;
    use crate::placement::Placement;
    use proptest::prelude::*;

    /// A ring of explicit points; the nodes are 0, 1, 2 ... up to the largest owner.
    fn ring(owned_points: &[(u64, u16)]) -> Ring {
        let nodes = owned_points.iter().map(|point| point.1 + 1).max().unwrap_or(0);
        let node = |name: String| PlacedNode { placement_id: name.clone(), name, weight: 1 };
        let (points, owners) = points::sort(owned_points).into_iter().unzip();
        Ring::new(1, (0..nodes).map(|index| node(index.to_string())).collect(), points, owners)
    }

    fn candidates(ring: &Ring, position: u64) -> Vec<usize> {
        ring.candidates(position).collect()
    }

    fn arcs(ring: Ring) -> Vec<Arc> {
        Placement::Ring(ring).arcs()
    }

    /// The rule read aloud: nodes by distance of their closest point, then left before right, then index.
    fn by_the_rule(owned_points: &[(u64, u16)], position: u64) -> Vec<usize> {
        let mut closest = std::collections::BTreeMap::new();
        for (point, owner) in owned_points {
            let (left, right) = (position.wrapping_sub(*point), point.wrapping_sub(position));
            let rank = (left.min(right), right < left);
            let best = closest.entry(*owner).or_insert(rank);
            *best = rank.min(*best);
        }
        let mut order: Vec<_> = closest.into_iter().map(|(owner, rank)| (rank, usize::from(owner))).collect();
        order.sort_unstable();
        order.into_iter().map(|(_, owner)| owner).collect()
    }

    #[test]
    fn of_two_equally_close_points_the_predecessor_wins() {
        let ring = ring(&[(10, 1), (20, 0)]);
        assert_eq!(candidates(&ring, 14), [1, 0]);
        assert_eq!(candidates(&ring, 15), [1, 0]);
        assert_eq!(candidates(&ring, 16), [0, 1]);
    }

    #[test]
    fn of_points_at_one_position_the_smallest_id_wins_from_both_sides() {
        let ring = ring(&[(10, 2), (10, 0), (10, 1), (30, 3)]);
        for position in [9, 10, 11] {
            assert_eq!(candidates(&ring, position), [0, 1, 2, 3], "{position}");
            assert_eq!(ring.owner(position), Some(0), "{position}");
        }
    }

    #[test]
    fn the_closest_point_may_lie_across_zero() {
        let ring = ring(&[(5, 0), (u64::MAX - 10, 1), (1 << 63, 2)]);
        assert_eq!(candidates(&ring, u64::MAX), [0, 1, 2]);
        assert_eq!(candidates(&ring, 0), [0, 1, 2]);
        assert_eq!(candidates(&ring, u64::MAX - 3), [1, 0, 2]);
        assert_eq!(candidates(&ring, u64::MAX - 2), [1, 0, 2], "as far from both: the predecessor");
    }

    #[test]
    fn arcs_meet_in_the_middle_of_gaps_even_across_zero() {
        let arc = |start, node| Arc { start, node };
        assert_eq!(arcs(ring(&[(10, 0), (20, 1)])), [arc(16, 1), arc((1 << 63) + 16, 0)]);
        let (high, low) = (u64::MAX - 9, 30);
        assert_eq!(arcs(ring(&[(high, 0), (low, 1)])), [arc(11, 1), arc((1 << 63) + 11, 0)]);
    }

    #[test]
    fn neighbouring_points_of_one_node_share_an_arc() {
        let arcs = arcs(ring(&[(10, 0), (20, 0), (30, 1), (u64::MAX, 0)]));
        assert_eq!(arcs.iter().map(|arc| arc.node).collect::<Vec<_>>(), [1, 0]);
    }

    #[test]
    fn more_candidates_than_the_inline_part_holds_come_once_each() {
        let ring = ring(&(0..200).map(|node| (u64::from(node) << 32, node)).collect::<Vec<_>>());
        let mut seen = candidates(&ring, 77 << 32);
        assert_eq!(seen[..5], [77, 76, 78, 75, 79]);
        assert_eq!(ring.candidates(0).len(), 200);
        seen.sort_unstable();
        assert_eq!(seen, (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn the_first_eight_candidates_allocate_nothing() {
        let ring = ring(&(0..20).map(|node| (u64::from(node) << 32, node)).collect::<Vec<_>>());
        let mut candidates = ring.candidates(0);
        assert_eq!(candidates.by_ref().take(8).count(), 8);
        assert!(matches!(candidates.seen, Seen::Few { count: 8, .. }), "{:?}", candidates.seen);
        assert_eq!(candidates.count(), 12);
    }

    /// Positions that make collisions, ties and wrapping likely.
    fn crowded_position() -> impl Strategy<Value = u64> {
        (0..4u64, 0..6u64).prop_map(|(quarter, offset)| (quarter << 62).wrapping_add(offset).wrapping_sub(3))
    }

    proptest! {
        #[test]
        fn crowded_rings_follow_the_rule(
            positions in prop::collection::vec((crowded_position(), 0..12u16), 0..40),
            asked in crowded_position(),
        ) {
            // One point each, so that no node of the ring is without.
            let present = positions.iter().map(|point| point.1 + 1).max().unwrap_or(0);
            let filler = (0..present).map(|owner| (u64::from(owner) << 40, owner));
            let owned_points: Vec<_> = positions.iter().copied().chain(filler).collect();
            let ring = ring(&owned_points);
            let expected = by_the_rule(&owned_points, asked);
            prop_assert_eq!(ring.owner(asked), expected.first().copied());
            prop_assert_eq!(candidates(&ring, asked), expected);
        }

        #[test]
        fn crowded_points_merge_as_they_sort(
            former in prop::collection::vec((crowded_position(), 0..12u16), 0..30),
            new in prop::collection::vec((crowded_position(), 0..12u16), 0..30),
            stays in prop::array::uniform12(any::<bool>()),
        ) {
            // Nodes that stay take the even indexes, in their order, new ones the odd ones between them.
            let next_owners: Vec<_> = (0u16..).zip(stays).map(|(owner, stays)| stays.then_some(owner * 2)).collect();
            let new: Vec<_> = new.iter().map(|(position, owner)| (*position, owner * 2 + 1)).collect();
            let kept = former.iter().filter(|(_, owner)| stays[usize::from(*owner)]);
            let kept = kept.map(|(position, owner)| (*position, owner * 2));
            let mut expected: Vec<(u64, u16)> = kept.chain(new.iter().copied()).collect();
            expected.sort_unstable();
            let mut merged = (Vec::new(), Vec::new());
            ring(&former).merge(&points::sort(&new), &next_owners, &mut merged);
            let merged: Vec<_> = merged.0.into_iter().zip(merged.1).collect();
            prop_assert_eq!(merged, expected);
        }

        #[test]
        fn where_crowded_rings_differ_is_touched(
            common in prop::collection::vec(crowded_position(), 0..12),
            [only_before, only_after] in prop::array::uniform2(prop::collection::vec(crowded_position(), 0..4)),
            asked in crowded_position(),
        ) {
            // Nodes 0 to 11 are alike in both; node 12 has points of its own in each.
            let owned = |own: &[u64]| -> Vec<(u64, u16)> {
                let filler = (0..13).map(|owner| (u64::from(owner) << 40, owner));
                let common = (0u16..).zip(&common).map(|(owner, position)| (*position, owner));
                filler.chain(common).chain(own.iter().map(|position| (*position, 12))).collect()
            };
            let (before, after) = (ring(&owned(&only_before)), ring(&owned(&only_after)));
            let ranges = united([before.surroundings(only_before), after.surroundings(only_after)].concat());
            prop_assert!(ranges.is_sorted_by(|a, b| a.end() < b.start()), "{:?}", ranges);
            let is_touched = ranges.iter().any(|range| range.contains(&asked));
            prop_assert!(before.owner(asked) == after.owner(asked) || is_touched, "{:?}", ranges);
        }

        #[test]
        fn crowded_arcs_name_the_owner_of_their_first_and_last_position(
            positions in prop::collection::vec(crowded_position(), 1..40),
        ) {
            let owned_points: Vec<_> = (0u16..).zip(positions).map(|(owner, position)| (position, owner)).collect();
            let (ring, arcs) = (ring(&owned_points), arcs(ring(&owned_points)));
            prop_assert!(arcs.is_sorted_by(|a, b| a.start < b.start), "{:?}", arcs);
            let ends = arcs.iter().cycle().skip(1);
            for (arc, end) in arcs.iter().zip(ends) {
                prop_assert_eq!(ring.owner(arc.start), Some(arc.node));
                prop_assert_eq!(ring.owner(end.start.wrapping_sub(1)), Some(arc.node));
                prop_assert!(arcs.len() == 1 || arc.node != end.node);
            }
        }
    }
}
