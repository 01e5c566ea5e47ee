//! The vnode ring: nodes put points on a circle of 2^64 positions, and a key belongs to the closest one.
//!
//! The closest-point rule is HAProxy's; it halves the variance of the shares at no cost. A node's points
//! depend on its own placement-id and weight alone, so that adding and removing nodes moves no key it need
//! not.

use crate::placement::Arc;
use crate::placement::BuildError;
use crate::placement::MAX_POINTS;
use crate::placement::PlacedNode;
use crate::placement::hash;
use crate::placement::settings::VNODES_MAX;
use std::fmt;
use std::iter::FusedIterator;
use std::iter::repeat_n;
use std::ops::Range;
use std::sync::OnceLock;

/// Points sorted by position, then by owner, in parallel arrays. A run of equal positions speaks through its
/// first point, which belongs to the smallest placement-id.
pub struct Ring {
    vnodes: u32,
    nodes: Box<[PlacedNode]>,
    points: Box<[u64]>,
    owners: Box<[u16]>,
    /// For each value of a position's top bits, the first point that has it or a larger one.
    index: Box<[u32]>,
    /// How far to shift a position right to keep its top bits.
    index_shift: u32,
    /// Made when first asked for: plans and shares need them, requests do not.
    arcs: OnceLock<Box<[Arc]>>,
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
        let points = Ring::point_count(vnodes, &nodes)?;
        let mut owned_points = Vec::with_capacity(usize::try_from(points).expect("at most MAX_POINTS"));
        for (owner, node) in (0u16..).zip(&nodes) {
            let positions = hash::ring_points(&node.placement_id, vnodes * node.weight);
            owned_points.extend(positions.into_iter().map(|position| (position, owner)));
        }
        Ok(Ring::from_points(vnodes, nodes, &owned_points))
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

    /// `owned_points` come in any order, and every node has at least one.
    fn from_points(vnodes: u32, nodes: Box<[PlacedNode]>, owned_points: &[(u64, u16)]) -> Ring {
        let buckets = owned_points.len().next_power_of_two().max(2);
        let index_shift = u64::BITS - buckets.ilog2();
        let (sorted, index) = sort_into_buckets(owned_points, buckets, index_shift);
        let points = sorted.iter().map(|point| point.0).collect();
        let owners = sorted.iter().map(|point| point.1).collect();
        Ring { vnodes, nodes, points, owners, index, index_shift, arcs: OnceLock::new() }
    }

    pub(crate) fn vnodes(&self) -> u32 {
        self.vnodes
    }

    pub(crate) fn nodes(&self) -> &[PlacedNode] {
        &self.nodes
    }

    /// The position of every point, ascending.
    pub(crate) fn points(&self) -> &[u64] {
        &self.points
    }

    /// The owner of every point, as a node index.
    pub(crate) fn owners(&self) -> &[u16] {
        &self.owners
    }

    /// The owner of the point closest to `position`; of two equally close ones the predecessor, of points at
    /// one position the smallest placement-id.
    pub(crate) fn owner(&self, position: u64) -> Option<usize> {
        if self.points.is_empty() {
            return None;
        }
        let right = self.first_at_or_after(position);
        let left = self.before(right);
        let distance_left = position.wrapping_sub(self.points[left]);
        let distance_right = self.points[right].wrapping_sub(position);
        let closest = if distance_left <= distance_right { left } else { right };
        Some(usize::from(self.owners[self.run_start(closest)]))
    }

    pub(crate) fn candidates(&self, position: u64) -> Candidates<'_> {
        Candidates::new(self, position)
    }

    /// Each point owns up to the middle of the gap to the next one, the middle included.
    pub(crate) fn arcs(&self) -> &[Arc] {
        self.arcs.get_or_init(|| self.make_arcs().into_boxed_slice())
    }

    fn make_arcs(&self) -> Vec<Arc> {
        let mut arcs = Vec::with_capacity(self.points.len());
        let mut left = self.points.len().checked_sub(1).map_or(0, |last| self.run_start(last));
        for right in (0..self.points.len()).filter(|point| self.run_start(*point) == *point) {
            if self.owners[left] != self.owners[right] {
                let gap = self.points[right].wrapping_sub(self.points[left]);
                let start = self.points[left].wrapping_add(gap / 2).wrapping_add(1);
                arcs.push(Arc { start, node: usize::from(self.owners[right]) });
            }
            left = right;
        }
        // The first arc begins in the gap around zero, so that its start may be the largest of all.
        if arcs.first().map(|arc| arc.start) > arcs.last().map(|arc| arc.start) {
            arcs.rotate_left(1);
        }
        match self.owners.first() {
            Some(sole) if arcs.is_empty() => vec![Arc { start: 0, node: usize::from(*sole) }],
            _ => arcs,
        }
    }

    /// The first point at or clockwise after `position`. The ring has points.
    fn first_at_or_after(&self, position: u64) -> usize {
        let bucket = usize::try_from(position >> self.index_shift).expect("fewer buckets than memory");
        let mut point = self.index[bucket] as usize;
        while point < self.points.len() && self.points[point] < position {
            point += 1;
        }
        if point == self.points.len() { 0 } else { point }
    }

    /// The point before `point`, around the circle.
    fn before(&self, point: usize) -> usize {
        point.checked_sub(1).unwrap_or(self.points.len() - 1)
    }

    /// The first of the points at the same position as `point`.
    fn run_start(&self, mut point: usize) -> usize {
        while point > 0 && self.points[point - 1] == self.points[point] {
            point -= 1;
        }
        point
    }
}

/// Sorts points, and says where each bucket of positions, told by their bits above `shift`, begins.
///
/// One counting pass does most of both: positions are hashes, so that a bucket holds about one point and little is
/// left to sort within it.
fn sort_into_buckets(owned_points: &[(u64, u16)], buckets: usize, shift: u32) -> (Vec<(u64, u16)>, Box<[u32]>) {
    let bucket_of = |position: u64| usize::try_from(position >> shift).expect("fewer buckets than memory");
    // Zeroed here: of the allocator, memory this large would come fresh from the system, page fault by page fault.
    let mut index: Box<[u32]> = repeat_n(0, buckets).collect();
    for (position, _) in owned_points {
        index[bucket_of(*position)] += 1;
    }
    let mut end = 0;
    for bucket in &mut index {
        end += *bucket;
        *bucket = end;
    }
    // Each bucket is filled from its end, which so moves down to its beginning.
    let mut sorted = vec![(0, 0); owned_points.len()];
    for point in owned_points {
        let place = &mut index[bucket_of(point.0)];
        *place -= 1;
        sorted[*place as usize] = *point;
    }
    for bucket in index.windows(2) {
        sorted[bucket[0] as usize..bucket[1] as usize].sort_unstable();
    }
    sorted[index[buckets - 1] as usize..].sort_unstable();
    (sorted, index)
}

/// All nodes by the distance of their closest point, each once: two walks leave the position to both sides,
/// and the shorter step goes first, to the left where both are equal.
#[derive(Clone, Debug)]
pub struct Candidates<'a> {
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
        let seen = Seen::Few { nodes: [0; SEEN_INLINE], count: 0 };
        let unseen = ring.nodes.len();
        let right = if unseen == 0 { 0 } else { ring.first_at_or_after(position) };
        Candidates { ring, position, left: 0..0, left_run: right, right, seen, unseen }
    }

    /// The owner of the closest point not yet visited.
    fn step(&mut self) -> u16 {
        let ring = self.ring;
        if self.left.is_empty() {
            let last = ring.before(self.left_run);
            self.left_run = ring.run_start(last);
            self.left = self.left_run..last + 1;
        }
        let distance_left = self.position.wrapping_sub(ring.points[self.left.start]);
        let distance_right = ring.points[self.right].wrapping_sub(self.position);
        let point = if distance_left <= distance_right { &mut self.left.start } else { &mut self.right };
        let owner = ring.owners[*point];
        *point += 1;
        if self.right == ring.points.len() {
            self.right = 0;
        }
        owner
    }
}

impl Iterator for Candidates<'_> {
    type Item = usize;

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

/// A set of node indexes that allocates only when it outgrows its inline part.
#[derive(Clone, Debug)]
enum Seen {
    Few { nodes: [u16; SEEN_INLINE], count: usize },
    Many { bits: Box<[u64]> },
}

impl Seen {
    /// Whether `node`, one of `nodes_total`, was not in the set yet.
    fn insert(&mut self, node: u16, nodes_total: usize) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A ring of explicit points; the nodes are 0, 1, 2 ... up to the largest owner.
    fn ring(owned_points: &[(u64, u16)]) -> Ring {
        let nodes = owned_points.iter().map(|point| point.1 + 1).max().unwrap_or(0);
        let node = |name: String| PlacedNode { placement_id: name.clone(), name, weight: 1 };
        Ring::from_points(1, (0..nodes).map(|index| node(index.to_string())).collect(), owned_points)
    }

    fn candidates(ring: &Ring, position: u64) -> Vec<usize> {
        ring.candidates(position).collect()
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
        assert_eq!(ring(&[(10, 0), (20, 1)]).arcs(), [arc(16, 1), arc((1 << 63) + 16, 0)]);
        let (high, low) = (u64::MAX - 9, 30);
        assert_eq!(ring(&[(high, 0), (low, 1)]).arcs(), [arc(11, 1), arc((1 << 63) + 11, 0)]);
    }

    #[test]
    fn neighbouring_points_of_one_node_share_an_arc() {
        let ring = ring(&[(10, 0), (20, 0), (30, 1), (u64::MAX, 0)]);
        let arcs = ring.arcs();
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
        fn crowded_arcs_name_the_owner_of_their_first_and_last_position(
            positions in prop::collection::vec(crowded_position(), 1..40),
        ) {
            let owned_points: Vec<_> = (0u16..).zip(positions).map(|(owner, position)| (position, owner)).collect();
            let ring = ring(&owned_points);
            let arcs = ring.arcs();
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
