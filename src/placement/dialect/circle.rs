//! A circle of points under the lookup rules of other programs: the next point clockwise, or the closest one.

use crate::placement::dialect::hash::Width;
use crate::placement::points;
use crate::placement::points::Points;

/// Points, at least one, and which of them a position belongs to.
#[derive(Debug)]
pub(super) struct Circle {
    points: Points,
    lookup: Lookup,
    width: Width,
}

/// Which point a position belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    /// The first at the position or after it, of points at one position the first: nginx, Envoy, ketama.
    Clockwise,
    /// The closest, of two equally close ones the one before: HAProxy. Of points at one position the last is the one
    /// before what comes after them, the first the one after what comes before them.
    Closest,
}

impl Circle {
    /// Points at one position are kept in the order of their owners, which is that of the original's insertions.
    pub(super) fn new(owned_points: &[(u64, u16)], lookup: Lookup, width: Width) -> Circle {
        let (positions, owners) = points::sort(owned_points).into_iter().unzip();
        Circle { points: Points::new(positions, owners), lookup, width }
    }

    /// The same without all but the first of the points at one position, as nginx has it.
    pub(super) fn without_twins(owned_points: &[(u64, u16)], lookup: Lookup, width: Width) -> Circle {
        let mut sorted = points::sort(owned_points);
        sorted.dedup_by_key(|point| point.0);
        let (positions, owners) = sorted.into_iter().unzip();
        Circle { points: Points::new(positions, owners), lookup, width }
    }

    pub(super) fn positions(&self) -> &[u64] {
        self.points.positions()
    }

    /// The owner of every point, in the order of the circle.
    pub(super) fn owners(&self) -> &[u16] {
        self.points.owners()
    }

    /// The point that `position` belongs to.
    #[inline]
    pub(super) fn point(&self, position: u64) -> usize {
        let hash = self.width.hash_at(position);
        let right = self.points.first_at_or_after(hash);
        match self.lookup {
            Lookup::Clockwise => right,
            Lookup::Closest => self.closest(hash, right),
        }
    }

    /// The last position of the stretch that begins at `start` and belongs to one point.
    pub(super) fn stretch_end(&self, start: u64) -> u64 {
        let hash = self.width.hash_at(start);
        let right = self.points.first_at_or_after(hash);
        let end = match self.lookup {
            Lookup::Clockwise => self.points.at(right),
            Lookup::Closest => self.end_of_closest(hash, right),
        };
        // What reaches across zero ends, for now, at the largest position.
        if end < hash { u64::MAX } else { self.width.last_at(end) }
    }

    /// `right` is the first point at `hash` or after it.
    #[inline]
    fn closest(&self, hash: u64, right: usize) -> usize {
        let left = self.points.before(right);
        let distance_left = hash.wrapping_sub(self.points.at(left));
        let distance_right = self.points.at(right).wrapping_sub(hash);
        if distance_left <= distance_right { left } else { right }
    }

    fn end_of_closest(&self, hash: u64, right: usize) -> u64 {
        let left = self.points.before(right);
        let (before, after) = (self.points.at(left), self.points.at(right));
        if self.closest(hash, right) == left {
            let half = match after.wrapping_sub(before) {
                // The circle has one position only.
                0 => 1 << (u64::BITS - 1),
                gap => self.width.hash_at(gap / 2),
            };
            return before.wrapping_add(half);
        }
        // At a sole position the point on the left is as close as the one on the right, so it is the left one's.
        if before == after { after.wrapping_sub(self.width.step()) } else { after }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Hashes of 32 bits that make collisions, ties and wrapping likely.
    fn crowded_hash() -> impl Strategy<Value = u32> {
        (0..4u32, 0..6u32).prop_map(|(quarter, offset)| (quarter << 30).wrapping_add(offset).wrapping_sub(3))
    }

    fn scaled(points: &[(u32, u16)]) -> Vec<(u64, u16)> {
        points.iter().map(|(hash, owner)| (u64::from(*hash) << 32, *owner)).collect()
    }

    fn circle(points: &[(u32, u16)], lookup: Lookup) -> Circle {
        Circle::new(&scaled(points), lookup, Width::Bits32)
    }

    /// The owner of a hash, and that of every position that has it.
    fn owner(circle: &Circle, hash: u32) -> u16 {
        let [first, last] = [0, u32::MAX].map(|low| circle.point(u64::from(hash) << 32 | u64::from(low)));
        assert_eq!(first, last);
        circle.owners()[first]
    }

    /// The rules read aloud over points in the order of their owners.
    fn by_the_rule(points: &[(u32, u16)], lookup: Lookup, hash: u32) -> u16 {
        let clockwise = |point: &&(u32, u16)| point.0.wrapping_sub(hash);
        let next = points.iter().min_by_key(clockwise).expect("there are points");
        if lookup == Lookup::Clockwise {
            return next.1;
        }
        // Before the next position stands the last point of the position before it; a sole position is before itself.
        let others = points.iter().filter(|point| point.0 != next.0).max_by_key(clockwise);
        let before = others.map_or(next.0, |point| point.0);
        let last = points.iter().rfind(|point| point.0 == before).expect("that very point");
        if hash.wrapping_sub(before) <= next.0.wrapping_sub(hash) { last.1 } else { next.1 }
    }

    #[test]
    fn of_equally_close_points_the_one_before_wins() {
        let circle = circle(&[(10, 1), (20, 0)], Lookup::Closest);
        let owners = [10, 15, 16, 20, 21].map(|hash| owner(&circle, hash));
        assert_eq!(owners, [1, 1, 0, 0, 0]);
    }

    #[test]
    fn of_points_at_one_position_the_first_and_the_last_get_keys() {
        let circle = circle(&[(10, 0), (10, 1), (10, 2), (30, 3)], Lookup::Closest);
        assert_eq!([9, 10, 11, 20, 21].map(|hash| owner(&circle, hash)), [0, 0, 2, 2, 3]);
    }

    #[test]
    fn nginx_keeps_one_of_the_points_at_one_position() {
        let points = scaled(&[(10, 1), (10, 0), (20, 1)]);
        let circle = Circle::without_twins(&points, Lookup::Clockwise, Width::Bits32);
        assert_eq!(circle.owners(), [0, 1]);
    }

    proptest! {
        #[test]
        fn crowded_circles_follow_the_rule(
            mut points in prop::collection::vec((crowded_hash(), 0..12u16), 1..40),
            asked in crowded_hash(),
            is_closest: bool,
        ) {
            points.sort_by_key(|point| point.1);
            let lookup = if is_closest { Lookup::Closest } else { Lookup::Clockwise };
            let circle = circle(&points, lookup);
            prop_assert_eq!(owner(&circle, asked), by_the_rule(&points, lookup, asked));
        }

        #[test]
        fn a_stretch_ends_where_the_owner_changes_or_before(
            mut points in prop::collection::vec((crowded_hash(), 0..12u16), 1..40),
            start in crowded_hash(),
            is_closest: bool,
        ) {
            points.sort_by_key(|point| point.1);
            let lookup = if is_closest { Lookup::Closest } else { Lookup::Clockwise };
            let circle = circle(&points, lookup);
            let start = u64::from(start) << 32;
            let end = circle.stretch_end(start);
            prop_assert!(end >= start && end & u64::from(u32::MAX) == u64::from(u32::MAX));
            let length = (end - start) >> 32;
            for step in (0..=length.min(20)).chain(length.saturating_sub(20)..=length) {
                prop_assert_eq!(circle.point(start + (step << 32)), circle.point(start), "step {}", step);
            }
        }
    }
}
