//! How dear a node is to a slot: weighted rendezvous hashing in integers, so that every machine finds the same.
//!
//! A node of weight `w` costs a slot `-log2(u) / w`, where `u` between 0 and 1 is drawn from the hashes of both. Each
//! node is then the cheapest of all with a probability in proportion to its weight, and neither a node that comes nor
//! one that goes changes what the others cost. This is the logarithmic method of Schindelhauer and Schomaker (Weighted
//! Distributed Hash Tables, 2005).
//!
//! Costs are counted in units of 2^-56 and wrong by less than 2^-49. How many bits are needed follows from what an
//! error can decide: what the two best nodes of a slot cost differs by less than `d` with a probability under `W * d`,
//! where `W` is the sum of the weights, 2^23.3 at most, and `d` twice the error. So of the most slots of a table, 2^22,
//! less than one is to be expected whose best node is an error. Four bits less would make it a few, which would not
//! shift a share yet. Errors favour nobody either: between equal costs hashes decide.

use xxhash_rust::xxh3::xxh3_64;

/// What decides what a node costs each slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scorer {
    hash: u64,
    /// What decides between equal costs.
    tie: u64,
    weight: u64,
    /// 2^64 over the weight.
    reciprocal: u64,
}

/// What a node costs a slot: the cost, then the first 48 bits of the node's hash, then its index. Their order is that
/// of the slot's preference, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Score(u128);

impl Score {
    pub(super) fn cost(self) -> u64 {
        (self.0 >> 64) as u64
    }

    /// The node's index.
    pub(super) fn node(self) -> u16 {
        let [low, high, ..] = self.0.to_le_bytes();
        u16::from_le_bytes([low, high])
    }
}

impl Scorer {
    /// `node` is the index of a node, `weight` at least 1.
    pub(super) fn new(node: u16, placement_id: &str, weight: u32) -> Scorer {
        let (hash, weight) = (xxh3_64(placement_id.as_bytes()), u64::from(weight));
        let tie = hash & !u64::from(u16::MAX) | u64::from(node);
        Scorer { hash, tie, weight, reciprocal: u64::MAX / weight }
    }

    /// What the node costs a slot.
    #[inline]
    pub(super) fn score(&self, slot_hash: u64) -> Score {
        let cost = upper_half(minus_log2(draw(slot_hash, self.hash) | 1), self.reciprocal);
        Score(u128::from(cost) << 64 | u128::from(self.tie))
    }

    /// Tells slots that the node costs more than `limit`, at little cost.
    pub(super) fn sieve(&self, limit: u64) -> Sieve {
        // From `-log2(u) / w <= limit` follows `1 - u <= limit * w * ln 2`, because `ln(u) <= u - 1`.
        let reach = (u128::from(limit + ERROR) * u128::from(self.weight * LN_2)) >> 46;
        Sieve { hash: self.hash, reach: u64::try_from(reach).unwrap_or(u64::MAX) }
    }
}

/// Holds back a node where it is certain that it costs a slot more than a limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sieve {
    /// That of the node.
    hash: u64,
    /// The largest `1 - u` that lets it pass, in units of 2^-64.
    reach: u64,
}

impl Sieve {
    /// Whether the node may cost the slot the limit or less.
    #[inline]
    pub(super) fn lets_pass(&self, slot_hash: u64) -> bool {
        !draw(slot_hash, self.hash) <= self.reach
    }
}

/// `u` of a slot and a node, in units of 2^-64: the finalizer of SplitMix64 (Stafford's variant 13) makes every bit of
/// it depend on every bit of both hashes.
#[inline]
fn draw(slot_hash: u64, node_hash: u64) -> u64 {
    let bits = slot_hash ^ node_hash;
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// The hash of a slot: XXH3 of its number as four bytes, little-endian.
#[inline]
pub(super) fn slot_hash(slot: u32) -> u64 {
    xxh3_64(&slot.to_le_bytes())
}

/// A cost that so many nodes, or all, may be expected not to exceed.
pub(super) fn limit_for(count: usize, scorers: &[Scorer]) -> u64 {
    if scorers.len() <= count {
        return u64::MAX / 2;
    }
    // What passes a sieve is a part of all draws.
    let reach = |scorer: &Scorer, limit: u64| u128::from(scorer.sieve(limit).reach);
    let expected = |limit: u64| scorers.iter().map(|scorer| reach(scorer, limit)).sum::<u128>() >> 64;
    let mut limit = LOG2_E / scorers.iter().map(|scorer| scorer.weight).sum::<u64>();
    while expected(limit) < count as u128 {
        limit += limit / 16;
    }
    limit
}

/// `-log2(number / 2^64)` in units of 2^-56, for a number that is not 0; wrong by less than 2^-49.
fn minus_log2(number: u64) -> u64 {
    let zeros = number.leading_zeros();
    // From 1 to 2, in units of 2^-63: the first bit is set, the next eight choose the segment.
    let mantissa = number << zeros;
    let segment = &SEGMENTS[usize::from((mantissa << 1).to_be_bytes()[0])];
    // How far it lies behind the start of the segment, over that start, in units of 2^-64: less than 2^-8.
    let r = upper_half(mantissa << 9, segment.reciprocal);
    let ln = upper_half(r, LN_SERIES.iter().fold(0, |sum, term| term - upper_half(r, sum)));
    let log2 = segment.log2 + upper_half(ln, LOG2_E);
    // Next to 1 the error may be more than the logarithm.
    (u64::from(zeros + 1) << UNIT_BITS).saturating_sub(log2)
}

/// The upper 64 bits of a product.
#[inline]
fn upper_half(a: u64, b: u64) -> u64 {
    ((u128::from(a) * u128::from(b)) >> 64) as u64
}

/// One of 256 equal parts of the numbers from 1 to 2.
#[derive(Clone, Copy)]
struct Segment {
    /// The logarithm of its start, in units of 2^-56.
    log2: u64,
    /// 2^64 over its start, of which 256 make 1.
    reciprocal: u64,
}

const fn segments() -> [Segment; 256] {
    let mut segments = [Segment { log2: 0, reciprocal: 0 }; 256];
    let (mut index, mut start) = (0, 256);
    while index < segments.len() {
        segments[index] = Segment { log2: log2(start), reciprocal: u64::MAX / start };
        (index, start) = (index + 1, start + 1);
    }
    segments
}

/// The logarithm of `start / 256`, which is from 1 to 2, in units of 2^-56: each time that a number is squared its
/// logarithm doubles, and the next bit is whether the number exceeds 2.
const fn log2(start: u64) -> u64 {
    // In units of 2^-63. What is cut off changes the logarithm by 2^-62 in all.
    let mut power = (start as u128) << 55;
    let (mut log2, mut bits) = (0, 0);
    while bits < UNIT_BITS {
        power = (power * power) >> 63;
        log2 <<= 1;
        if power >> 64 != 0 {
            power >>= 1;
            log2 |= 1;
        }
        bits += 1;
    }
    log2
}

/// Computed by the compiler with integers alone.
static SEGMENTS: [Segment; 256] = segments();

/// `ln(1 + r) / r` is 1 - r (1/2 - r (1/3 - r (1/4 - r/5))) and less than 2^-50 for an `r` under 2^-8: the last factor
/// first, in units of 2^-64.
const LN_SERIES: [u64; 5] = [u64::MAX / 5, u64::MAX / 4, u64::MAX / 3, u64::MAX / 2, u64::MAX];

/// 1 / ln 2 in units of 2^-56.
const LOG2_E: u64 = 0x0171_5476_52b8_2fe1;

/// ln 2 in units of 2^-54, rounded up.
const LN_2: u64 = 0x002c_5c85_fdf4_73df;

/// Bits of the fraction of a cost.
const UNIT_BITS: u32 = 56;

/// What a cost may be wrong by, with what rounding adds: 2^-48.
const ERROR: u64 = 1 << (UNIT_BITS - 48);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same in floating point, by way of what is missing to 1 where that is little.
    fn minus_log2_of(number: u64) -> f64 {
        let missing = (u64::MAX - number) as f64 + 1.0;
        match number {
            0xff00_0000_0000_0000.. => -(-missing / 2f64.powi(64)).ln_1p() / std::f64::consts::LN_2,
            _ => -(number as f64 / 2f64.powi(64)).log2(),
        }
    }

    fn error_of(number: u64) -> f64 {
        minus_log2(number) as f64 / 2f64.powi(56) - minus_log2_of(number)
    }

    #[test]
    fn powers_of_two_have_whole_logarithms() {
        for power in 0..u64::BITS {
            assert_eq!(minus_log2(1 << power), u64::from(64 - power) << UNIT_BITS, "2^{power}");
        }
    }

    #[test]
    fn every_segment_is_right_from_end_to_end() {
        for start in (256..512).map(|segment: u64| segment << 55) {
            for offset in [0, 1, 1 << 20, 1 << 54, (1 << 55) - 1] {
                let error = error_of(start + offset);
                assert!(error.abs() < 2f64.powi(-49), "{start:x} + {offset:x}: {error:e}");
            }
        }
    }

    #[test]
    fn the_table_of_logarithms_is_that_of_fifty_digits_rounded_down() {
        let bytes: Vec<u8> = SEGMENTS.iter().flat_map(|segment| segment.log2.to_le_bytes()).collect();
        // The digest of floor(2^56 * log2(1 + i / 256)), found with Python's `decimal`.
        assert_eq!(xxh3_64(&bytes), 11_679_429_103_036_704_458);
    }

    proptest! {
        #[test]
        fn logarithms_are_those_of_floating_point(number in 1u64.., shift in 0..64u32) {
            let number = number >> shift | 1;
            // A double of up to 64 is itself off by up to 2^-47.
            prop_assert!(error_of(number).abs() < 2f64.powi(-46), "{:x}: {:e}", number, error_of(number));
        }

        #[test]
        fn no_node_is_dismissed_that_is_better(hash in any::<u64>(), weight in 1..=1_000u32, shift in 0..64u32) {
            let scorer = Scorer::new(0, "a", weight);
            // Draws of every size.
            let slot_hash = unmixed(!(hash >> shift)) ^ scorer.hash;
            let score = scorer.score(slot_hash);
            prop_assert!(scorer.sieve(score.cost()).lets_pass(slot_hash), "{:?}", score);
        }
    }

    /// The hashes, by exclusive or, that give this draw.
    fn unmixed(bits: u64) -> u64 {
        let unshifted = |bits: u64, by: u32| bits ^ (bits >> by) ^ (bits >> (2 * by));
        let bits = unshifted(bits, 31).wrapping_mul(0x3196_42b2_d24d_8ec3);
        let bits = unshifted(bits, 27).wrapping_mul(0x96de_1b17_3f11_9089);
        unshifted(bits, 30)
    }

    #[test]
    fn mixing_is_undone_by_the_published_inverse() {
        for bits in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            assert_eq!(unmixed(draw(bits, 0)), bits, "{bits:x}");
        }
    }
}
