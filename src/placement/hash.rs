//! Turns bytes into positions under frozen algorithms: another one is a new kind of placement.

use xxhash_rust::xxh3::xxh3_64;

/// The position of a key under the native placements: XXH3, 64 bits, seed 0.
pub fn position(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The positions of a node's first `count` points: XXH3 of the placement-id, a zero byte and the point's
/// number as four bytes, little-endian.
pub(crate) fn ring_points(placement_id: &str, count: u32) -> Vec<u64> {
    let point = [placement_id.as_bytes(), &[0; 5]].concat();
    let number_at = placement_id.len() + 1;
    let mut block = point.repeat(BLOCK);
    let mut positions = Vec::with_capacity(count as usize);
    for first in (0..count).step_by(BLOCK) {
        // A load wider than a store just before it waits until the store has left the processor's pipeline. So all
        // numbers of a block are written before any of them is hashed, which takes a quarter of the time.
        for (point, number) in block.chunks_exact_mut(point.len()).zip(first..count) {
            point[number_at..].copy_from_slice(&number.to_le_bytes());
        }
        positions.extend(block.chunks_exact(point.len()).zip(first..count).map(|(point, _)| xxh3_64(point)));
    }
    positions
}

/// Points hashed at a time.
const BLOCK: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_key_has_the_published_xxh3_digest() {
        assert_eq!(position(b""), 0x2d06_8005_38d3_94c2);
    }

    #[test]
    fn a_point_is_the_hash_of_id_zero_and_number() {
        let points = ring_points("node-a", 300);
        assert_eq!(points[0], position(b"node-a\0\0\0\0\0"));
        assert_eq!(points[258], position(b"node-a\0\x02\x01\0\0"));
    }

    #[test]
    fn a_node_has_as_many_points_as_asked_for() {
        let many = ring_points("node-a", 128);
        for count in [0, 1, 31, 32, 33, 64, 100] {
            assert_eq!(ring_points("node-a", count), many[..count as usize], "{count}");
        }
    }
}
