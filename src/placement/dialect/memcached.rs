//! The key hashes that twemproxy offers, most of them as libmemcached has them, with their quirks.
//!
//! Some of them read bytes as signed, as C does on x86: those over 127 count as negative there.

use crate::placement::dialect::settings::TwemproxyHash;

/// The hash of a key.
pub(super) fn hash(function: TwemproxyHash, key: &[u8]) -> u32 {
    match function {
        TwemproxyHash::Crc16 => crc16(key),
        // libmemcached keeps 15 bits only.
        TwemproxyHash::Crc32 => crc32fast::hash(key) >> 16 & 0x7fff,
        TwemproxyHash::Crc32a => crc32fast::hash(key),
        TwemproxyHash::Fnv132 => fnv1(key, FNV_32_BASIS, FNV_32_PRIME),
        TwemproxyHash::Fnv164 => fnv1(key, FNV_64_BASIS, FNV_64_PRIME),
        TwemproxyHash::Fnv1a32 => fnv1a(key, FNV_32_BASIS, FNV_32_PRIME),
        TwemproxyHash::Fnv1a64 => fnv1a(key, FNV_64_BASIS, FNV_64_PRIME),
        TwemproxyHash::Hsieh => hsieh(key),
        TwemproxyHash::Jenkins => jenkins(key),
        TwemproxyHash::Md5 => md5_points(key)[0],
        TwemproxyHash::Murmur => murmur(key),
        TwemproxyHash::OneAtATime => one_at_a_time(key),
    }
}

/// The MD5 of some bytes as four numbers of 32 bits, little-endian: ketama's points.
pub(super) fn md5_points(bytes: &[u8]) -> [u32; 4] {
    let digest = md5::compute(bytes).0;
    [0, 4, 8, 12].map(|at| u32::from_le_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]]))
}

/// CRC-16 with the polynomial of CCITT, whose shift register is left 32 bits wide.
fn crc16(key: &[u8]) -> u32 {
    let table = |index: u32| {
        let step = |crc: u32, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1 ^ 0x1021) & 0xffff };
        (0..8).fold(index << 8, step) & 0xffff
    };
    key.iter().fold(0, |crc: u32, byte| crc << 8 ^ table((crc >> 8 ^ u32::from(*byte)) & 0xff))
}

/// FNV-1. The lower 32 bits do not depend on the upper ones, so those of 64 bits are left out.
fn fnv1(key: &[u8], basis: u32, prime: u32) -> u32 {
    key.iter().fold(basis, |hash, byte| hash.wrapping_mul(prime) ^ signed(*byte))
}

/// FNV-1a, likewise.
fn fnv1a(key: &[u8], basis: u32, prime: u32) -> u32 {
    key.iter().fold(basis, |hash, byte| (hash ^ signed(*byte)).wrapping_mul(prime))
}

/// Bob Jenkins's one-at-a-time hash.
fn one_at_a_time(key: &[u8]) -> u32 {
    let mut hash = 0_u32;
    for byte in key {
        hash = hash.wrapping_add(signed(*byte));
        hash = hash.wrapping_add(hash << 10);
        hash ^= hash >> 6;
    }
    hash = hash.wrapping_add(hash << 3);
    hash ^= hash >> 11;
    hash.wrapping_add(hash << 15)
}

/// Paul Hsieh's SuperFastHash, from zero.
fn hsieh(key: &[u8]) -> u32 {
    let pair = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]));
    let mut hash = 0_u32;
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        hash = hash.wrapping_add(pair(word[0], word[1]));
        hash = hash << 16 ^ pair(word[2], word[3]) << 11 ^ hash;
        hash = hash.wrapping_add(hash >> 11);
    }
    match *words.remainder() {
        [low, high, last] => {
            hash = hash.wrapping_add(pair(low, high));
            hash ^= hash << 16 ^ signed(last) << 18;
            hash = hash.wrapping_add(hash >> 11);
        }
        [low, high] => {
            hash = hash.wrapping_add(pair(low, high));
            hash ^= hash << 11;
            hash = hash.wrapping_add(hash >> 17);
        }
        [last] => {
            hash = hash.wrapping_add(u32::from(last));
            hash ^= hash << 10;
            hash = hash.wrapping_add(hash >> 1);
        }
        _ => {}
    }
    for (left, right) in [(3, 5), (4, 17), (25, 6)] {
        hash ^= hash << left;
        hash = hash.wrapping_add(hash >> right);
    }
    hash
}

/// MurmurHash2 of 32 bits with a seed that depends on the length.
fn murmur(key: &[u8]) -> u32 {
    const FACTOR: u32 = 0x5bd1_e995;
    let length = low_bits(key.len());
    let mut hash = length.wrapping_mul(0xdead_beef) ^ length;
    let mut words = key.chunks_exact(4);
    for word in &mut words {
        let word = little_endian(word).wrapping_mul(FACTOR);
        hash = hash.wrapping_mul(FACTOR) ^ (word ^ word >> 24).wrapping_mul(FACTOR);
    }
    if !words.remainder().is_empty() {
        hash = (hash ^ little_endian(words.remainder())).wrapping_mul(FACTOR);
    }
    hash = (hash ^ hash >> 13).wrapping_mul(FACTOR);
    hash ^ hash >> 15
}

/// Bob Jenkins's lookup3 with the start value of libmemcached.
fn jenkins(key: &[u8]) -> u32 {
    let start = 0xdead_beef_u32.wrapping_add(low_bits(key.len())).wrapping_add(13);
    let mut state = [start; 3];
    let mut rest = key;
    while rest.len() > 12 {
        let (block, after) = rest.split_at(12);
        add_block(&mut state, block);
        jenkins_mix(&mut state);
        rest = after;
    }
    if rest.is_empty() {
        return state[2];
    }
    add_block(&mut state, rest);
    jenkins_end(state)
}

/// Adds up to 12 bytes to the three words, a word of four bytes to each.
fn add_block(state: &mut [u32; 3], block: &[u8]) {
    for (word, bytes) in state.iter_mut().zip(block.chunks(4)) {
        *word = word.wrapping_add(little_endian(bytes));
    }
}

fn jenkins_mix(state: &mut [u32; 3]) {
    let [mut a, mut b, mut c] = *state;
    for rotations in [[4, 6, 8], [16, 19, 4]] {
        a = a.wrapping_sub(c) ^ c.rotate_left(rotations[0]);
        c = c.wrapping_add(b);
        b = b.wrapping_sub(a) ^ a.rotate_left(rotations[1]);
        a = a.wrapping_add(c);
        c = c.wrapping_sub(b) ^ b.rotate_left(rotations[2]);
        b = b.wrapping_add(a);
    }
    *state = [a, b, c];
}

fn jenkins_end(state: [u32; 3]) -> u32 {
    let [mut a, mut b, mut c] = state;
    let step = |word: u32, other: u32, rotation| (word ^ other).wrapping_sub(other.rotate_left(rotation));
    c = step(c, b, 14);
    a = step(a, c, 11);
    b = step(b, a, 25);
    c = step(c, b, 16);
    a = step(a, c, 4);
    b = step(b, a, 14);
    step(c, b, 24)
}

/// Up to four bytes as a number.
fn little_endian(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// A byte as C's `char` of x86 is widened.
fn signed(byte: u8) -> u32 {
    i32::from(byte.cast_signed()).cast_unsigned()
}

fn low_bits(length: usize) -> u32 {
    u32::try_from(length & 0xffff_ffff).expect("32 bits")
}

const FNV_32_BASIS: u32 = 0x811c_9dc5;
const FNV_32_PRIME: u32 = 0x0100_0193;

/// The lower halves of the basis and the prime of 64 bits.
const FNV_64_BASIS: u32 = 0x8422_2325;
const FNV_64_PRIME: u32 = 0x0000_01b3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn published_values_come_out() {
        for (function, key, expected) in [
            (TwemproxyHash::Crc16, "123456789", 0x31c3),
            (TwemproxyHash::Crc32, "123456789", 0xcbf4_3926 >> 16 & 0x7fff),
            (TwemproxyHash::Fnv132, "foobar", 0x31f0_b262),
            (TwemproxyHash::Fnv1a32, "foobar", 0xbf9c_f968),
            (TwemproxyHash::Fnv1a64, "foobar", 0xf739_67e8),
            (TwemproxyHash::Md5, "", 0xd98c_1dd4),
            (TwemproxyHash::OneAtATime, "a", 0xca2e_9442),
        ] {
            let found = hash(function, key.as_bytes());
            // The register of CRC-16 is wider than the value.
            let found = if function == TwemproxyHash::Crc16 { found & 0xffff } else { found };
            assert_eq!(found, expected, "{function:?} {key}: {found:08x}");
        }
    }
}
