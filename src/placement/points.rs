//! Points on a circle of 2^64 positions: sorted, found by their top bits, each with its owner.

/// Points sorted by position, in parallel arrays. The points at one position are a *run*, which keeps the order that
/// they were given in.
#[derive(Debug)]
pub(crate) struct Points {
    positions: Box<[u64]>,
    owners: Box<[u16]>,
    /// For each value of a position's top bits, the first point that has it or a larger one.
    index: Box<[u32]>,
    /// How far to shift a position right to keep its top bits.
    index_shift: u32,
}

impl Points {
    /// `positions` ascend, and each has its owner at the same place of `owners`.
    pub(crate) fn new(positions: Vec<u64>, owners: Vec<u16>) -> Points {
        let buckets = buckets_for(positions.len());
        let index = first_of_buckets(positions.iter().copied(), buckets);
        let (positions, owners) = (positions.into_boxed_slice(), owners.into_boxed_slice());
        Points { positions, owners, index, index_shift: bucket_shift(buckets) }
    }

    /// The position of every point, ascending.
    pub(crate) fn positions(&self) -> &[u64] {
        &self.positions
    }

    /// The owner of every point, as a node index.
    pub(crate) fn owners(&self) -> &[u16] {
        &self.owners
    }

    /// Where a point is.
    #[inline]
    pub(crate) fn at(&self, point: usize) -> u64 {
        self.positions[point]
    }

    /// The node that a point belongs to, as an index.
    #[inline]
    pub(crate) fn owner(&self, point: usize) -> usize {
        usize::from(self.owners[point])
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.positions.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.positions.len()
    }

    /// The first point at or clockwise after `position`. There are points.
    #[inline]
    pub(crate) fn first_at_or_after(&self, position: u64) -> usize {
        let point = self.first_from(position);
        if point == self.len() { 0 } else { point }
    }

    /// The first point at `position` or a larger one; the number of points if there is none.
    #[inline]
    pub(crate) fn first_from(&self, position: u64) -> usize {
        let mut point = self.index[bucket_of(position, self.index_shift)] as usize;
        while point < self.len() && self.positions[point] < position {
            point += 1;
        }
        point
    }

    /// The point before `point`, around the circle.
    #[inline]
    pub(crate) fn before(&self, point: usize) -> usize {
        point.checked_sub(1).unwrap_or(self.len() - 1)
    }

    /// The first point at the next position after that of `point`, around the circle.
    #[inline]
    pub(crate) fn next_run(&self, point: usize) -> usize {
        let mut next = point + 1;
        while next < self.len() && self.positions[next] == self.positions[point] {
            next += 1;
        }
        if next == self.len() { 0 } else { next }
    }

    /// The first of the points at the same position as `point`.
    #[inline]
    pub(crate) fn run_start(&self, mut point: usize) -> usize {
        while point > 0 && self.positions[point - 1] == self.positions[point] {
            point -= 1;
        }
        point
    }
}

/// Sorts points by position, then by owner: a counting pass does most of it, since positions are hashes, so that a
/// bucket holds about one.
pub(crate) fn sort(owned_points: &[(u64, u16)]) -> Vec<(u64, u16)> {
    let buckets = buckets_for(owned_points.len());
    let mut ends = first_of_buckets(owned_points.iter().map(|point| point.0), buckets);
    let mut sorted = vec![(0, 0); owned_points.len()];
    for point in owned_points {
        let place = &mut ends[bucket_of(point.0, bucket_shift(buckets))];
        sorted[*place as usize] = *point;
        *place += 1;
    }
    let mut start = 0;
    for end in ends {
        sorted[start..end as usize].sort_unstable();
        start = end as usize;
    }
    sorted
}

/// For each of `buckets` buckets, how many positions are in those before it.
fn first_of_buckets(positions: impl Iterator<Item = u64>, buckets: usize) -> Box<[u32]> {
    let shift = bucket_shift(buckets);
    // Counted from 1, because memory asked for as zeroed would come fresh from the system, page fault by page fault.
    let mut index = vec![1; buckets].into_boxed_slice();
    for position in positions {
        index[bucket_of(position, shift)] += 1;
    }
    let mut first = 0;
    for bucket in &mut index {
        let count = std::mem::replace(bucket, first) - 1;
        first += count;
    }
    index
}

/// How many buckets hold about one of `points` points each: a power of two.
fn buckets_for(points: usize) -> usize {
    points.next_power_of_two().max(2)
}

/// How far to shift a position right to have its bucket.
fn bucket_shift(buckets: usize) -> u32 {
    u64::BITS - buckets.ilog2()
}

fn bucket_of(position: u64, shift: u32) -> usize {
    usize::try_from(position >> shift).expect("fewer buckets than memory")
}
