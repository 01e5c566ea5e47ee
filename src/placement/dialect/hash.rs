//! The hash functions of other programs, over the bytes of a key.

use crate::placement::dialect::memcached;
use crate::placement::dialect::settings::HaproxyHash;
use crate::placement::dialect::settings::TwemproxyHash;
use std::net::IpAddr;
use xxhash_rust::xxh64::xxh64;

/// What makes a position of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyHash {
    function: Function,
    /// Whether HAProxy's [`full_hash`] goes over the result.
    avalanche: bool,
}

/// The functions; those that several programs have are here once, so that equal ones can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Function {
    Crc32,
    Haproxy(HaproxyHash),
    Memcached(TwemproxyHash),
    Xxh64,
}

/// How many bits a program's hashes have. Where they have 32, they are the upper half of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Bits32,
    Bits64,
}

impl KeyHash {
    /// CRC-32 as in zlib: nginx.
    pub(super) const CRC32: KeyHash = KeyHash { function: Function::Crc32, avalanche: false };

    /// The first four bytes of the MD5: libketama.
    pub(super) const MD5: KeyHash = KeyHash { function: Function::Memcached(TwemproxyHash::Md5), avalanche: false };

    /// XXH64: Envoy.
    pub(super) const XXH64: KeyHash = KeyHash { function: Function::Xxh64, avalanche: false };

    pub(super) fn haproxy(hash: HaproxyHash, avalanche: bool) -> KeyHash {
        let function = match hash {
            HaproxyHash::Crc32 => Function::Crc32,
            other => Function::Haproxy(other),
        };
        KeyHash { function, avalanche }
    }

    pub(super) fn twemproxy(hash: TwemproxyHash) -> KeyHash {
        let function = match hash {
            TwemproxyHash::Crc32a => Function::Crc32,
            other => Function::Memcached(other),
        };
        KeyHash { function, avalanche: false }
    }

    pub(super) fn width(self) -> Width {
        match self.function {
            Function::Xxh64 => Width::Bits64,
            Function::Crc32 | Function::Haproxy(_) | Function::Memcached(_) => Width::Bits32,
        }
    }

    /// The hash of a key, in the upper bits.
    pub(super) fn of(self, key: &[u8]) -> u64 {
        let hash = match self.function {
            Function::Crc32 => crc32fast::hash(key),
            Function::Haproxy(hash) => haproxy(hash, key),
            Function::Memcached(hash) => memcached::hash(hash, key),
            Function::Xxh64 => return policies(key),
        };
        Width::Bits32.widen(u64::from(if self.avalanche { full_hash(hash) } else { hash }))
    }
}

impl Width {
    /// How many hashes there are.
    pub(super) fn hashes(self) -> u128 {
        match self {
            Width::Bits32 => 1 << 32,
            Width::Bits64 => 1 << 64,
        }
    }

    /// The hash that stands in the upper bits of `position`, in the lower bits.
    #[inline]
    pub(super) fn narrow(self, position: u64) -> u64 {
        match self {
            Width::Bits32 => position >> 32,
            Width::Bits64 => position,
        }
    }

    /// The first position of a hash, which stands in the lower bits.
    #[inline]
    pub(super) fn widen(self, hash: u64) -> u64 {
        match self {
            Width::Bits32 => hash << 32,
            Width::Bits64 => hash,
        }
    }

    /// The first position that has the same hash as `position`.
    #[inline]
    pub(super) fn hash_at(self, position: u64) -> u64 {
        position & !(self.step() - 1)
    }

    /// The last position that has the same hash as `position`.
    pub(super) fn last_at(self, position: u64) -> u64 {
        position | (self.step() - 1)
    }

    /// How many positions each hash has.
    #[inline]
    pub(super) fn step(self) -> u64 {
        self.widen(1)
    }
}

/// Envoy's combination of several hash policies, each a part of the key, in their order; of one it is that one's XXH64.
fn policies(key: &[u8]) -> u64 {
    let parts = key.split(|byte| *byte == POLICY_JOINT);
    parts.fold(0_u64, |hash, part| hash.rotate_left(1) ^ xxh64(part, 0))
}

fn haproxy(hash: HaproxyHash, key: &[u8]) -> u32 {
    match hash {
        HaproxyHash::Crc32 => crc32fast::hash(key),
        HaproxyHash::Djb2 => {
            key.iter().fold(5381, |hash: u32, byte| hash.wrapping_mul(33).wrapping_add(u32::from(*byte)))
        }
        HaproxyHash::None => number(key),
        HaproxyHash::Sdbm => sdbm(key),
        HaproxyHash::Source => source(key),
        HaproxyHash::Wt6 => wt6(key),
    }
}

/// The hash of the SDBM database library: a polynomial in 65599.
fn sdbm(key: &[u8]) -> u32 {
    key.iter().fold(0, |hash: u32, byte| hash.wrapping_mul(65_599).wrapping_add(u32::from(*byte)))
}

/// A hash of HAProxy's own: two words, rotated by amounts that depend on them.
fn wt6(key: &[u8]) -> u32 {
    let (mut left, mut right) = (0xa53c_965a_u32, 0x5ca6_953a_u32);
    let (mut shift_left, mut shift_right) = (6, 18);
    for byte in key {
        let (mixed_left, mixed_right) = (!(left ^ u32::from(*byte)), !right.wrapping_add(u32::from(*byte)));
        left = mixed_right.rotate_left(shift_left);
        right = mixed_left.rotate_left(shift_right);
        let shifts = ((left >> 16) ^ right) & 0xffff;
        (shift_left, shift_right) = (shifts & 31, shifts >> 11);
    }
    left ^ right
}

/// The number that a key begins with, as a 64-bit one of which the lower half counts; 0 where it begins with none.
fn number(key: &[u8]) -> u32 {
    let (is_negative, digits) = match key {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] | digits => (false, digits),
    };
    let digits = digits.iter().take_while(|byte| byte.is_ascii_digit());
    let magnitude =
        digits.fold(0_u64, |number, digit| number.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    let number = match is_negative {
        true => 0_i64.saturating_sub_unsigned(magnitude),
        false => 0_i64.saturating_add_unsigned(magnitude),
    };
    lower_half(number as u64)
}

/// `balance source`: the 32-bit words of the address, in network order, one on top of another. What is no address is
/// hashed as text, because HAProxy has no answer for it.
fn source(key: &[u8]) -> u32 {
    match std::str::from_utf8(key).ok().and_then(|text| text.parse().ok()) {
        Some(IpAddr::V4(address)) => address.to_bits(),
        Some(IpAddr::V6(address)) => {
            let words = address.octets();
            let words = words.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
            words.fold(0, |hash, word| hash ^ word)
        }
        None => sdbm(key),
    }
}

/// HAProxy's full avalanche of a 32-bit number, after Bob Jenkins: every bit depends on every other.
pub(super) fn full_hash(number: u32) -> u32 {
    let mut hash = number;
    hash = hash.wrapping_add(0x7ed5_5d16).wrapping_add(hash << 12);
    hash = (hash ^ 0xc761_c23c) ^ (hash >> 19);
    hash = hash.wrapping_add(0x1656_67b1).wrapping_add(hash << 5);
    hash = hash.wrapping_add(0xd3a2_646c) ^ (hash << 9);
    hash = hash.wrapping_add(0xfd70_46c5).wrapping_add(hash << 3);
    hash = (hash ^ 0xb55a_4f09) ^ (hash >> 16);
    hash.wrapping_mul(3_221_225_473)
}

/// MurmurHash2 of Austin Appleby for 64-bit machines, with the seed of libstdc++: Envoy's `MURMUR_HASH_2`.
pub(super) fn murmur2(bytes: &[u8]) -> u64 {
    const FACTOR: u64 = 0xc6a4_a793_5bd1_e995;
    const SEED: u64 = 0xc70f_6907;
    let mix = |word: u64| (word ^ word >> 47).wrapping_mul(FACTOR);
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(FACTOR);
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let word = word.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ mix(word.wrapping_mul(FACTOR))).wrapping_mul(FACTOR);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        let word = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
        hash = (hash ^ word).wrapping_mul(FACTOR);
    }
    hash = mix(hash);
    hash ^ hash >> 47
}

fn lower_half(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).expect("32 bits")
}

/// What stands between the parts of a key that Envoy hashes by several policies: no header field, path or cookie can
/// hold it.
pub(crate) const POLICY_JOINT: u8 = 0x1f;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_function_of_haproxy_has_its_known_values() {
        for (hash, key, expected) in [
            (HaproxyHash::Crc32, "123456789", 0xcbf4_3926),
            (HaproxyHash::Djb2, "", 5381),
            (HaproxyHash::Djb2, "a", 177_670),
            (HaproxyHash::Sdbm, "ab", 97 * 65_599 + 98),
            (HaproxyHash::Source, "192.0.2.7", 0xc000_0207),
            (HaproxyHash::Source, "2001:db8::7", 0x2001_0db8 ^ 7),
            (HaproxyHash::Source, "localhost", sdbm(b"localhost")),
        ] {
            assert_eq!(haproxy(hash, key.as_bytes()), expected, "{hash:?} {key}");
        }
    }

    #[test]
    fn a_number_is_read_up_to_what_is_none() {
        for (key, expected) in [
            ("42", 42),
            ("+42x", 42),
            ("-1", u32::MAX),
            ("x", 0),
            ("-", 0),
            ("4294967297", 1),
            ("9223372036854775808", u32::MAX),
            ("-9223372036854775809", 0),
        ] {
            assert_eq!(number(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn several_policies_are_one_on_top_of_another() {
        let (user, page) = (xxh64(b"ann", 0), xxh64(b"/p|q", 0));
        assert_eq!(KeyHash::XXH64.of(b"ann"), user);
        assert_eq!(KeyHash::XXH64.of(b"ann\x1f/p|q"), user.rotate_left(1) ^ page);
    }

    #[test]
    fn equal_functions_of_several_programs_are_equal() {
        assert_eq!(KeyHash::haproxy(HaproxyHash::Crc32, false), KeyHash::CRC32);
        assert_eq!(KeyHash::twemproxy(TwemproxyHash::Crc32a), KeyHash::CRC32);
        assert_eq!(KeyHash::twemproxy(TwemproxyHash::Md5), KeyHash::MD5);
        assert_ne!(KeyHash::haproxy(HaproxyHash::Crc32, true), KeyHash::CRC32);
    }

    #[test]
    fn murmur2_is_what_libstdcxx_hashes_strings_with() {
        for (text, expected) in [
            ("", 0x553e_9390_1e46_2a6e),
            ("a", 0x454d_dee4_88c1_ed6b),
            ("1234567", 0x6d7a_4e79_e8a2_cbf6),
            ("12345678", 0x8c5b_90a3_3a04_dca5),
            ("127.0.0.1:18101_7", 0xbd7e_dec0_d2c2_a12e),
        ] {
            assert_eq!(murmur2(text.as_bytes()), expected, "{text}");
        }
    }
}
