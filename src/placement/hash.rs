//! Turns bytes into positions under frozen algorithms: another one is a new kind of placement.

use xxhash_rust::xxh3::xxh3_64;

/// The position of a key under the native placements: XXH3, 64 bits, seed 0.
pub fn position(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// The positions of a node's first `count` points: XXH3 of the placement-id, a zero byte and the point's
/// number as four bytes, little-endian.
pub(crate) fn ring_points(placement_id: &str, count: u32) -> impl Iterator<Item = u64> {
    let mut bytes = [placement_id.as_bytes(), &[0; 5]].concat();
    let number_at = placement_id.len() + 1;
    (0..count).map(move |number| {
        bytes[number_at..].copy_from_slice(&number.to_le_bytes());
        xxh3_64(&bytes)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_key_has_the_published_xxh3_digest() {
        assert_eq!(position(b""), 0x2d06_8005_38d3_94c2);
    }

    #[test]
    fn a_point_is_the_hash_of_id_zero_and_number() {
        let points: Vec<u64> = ring_points("node-a", 300).collect();
        assert_eq!(points[0], position(b"node-a\0\0\0\0\0"));
        assert_eq!(points[258], position(b"node-a\0\x02\x01\0\0"));
    }
}
