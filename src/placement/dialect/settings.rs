//! What can be set about the placements of other programs, under the names that those programs use.

use crate::placement::dialect::slots::SLOTS_MAX;
use serde::Deserialize;
use serde::Serialize;

/// Envoy's `MAGLEV`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EnvoyMaglev {
    /// Envoy's `table_size`: how many slots there are, a prime up to 5,000,011.
    #[schema(default = 65_537)]
    pub table_size: u32,
}

/// Envoy's `RING_HASH`, which Istio's `consistentHash` is too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EnvoyRingHash {
    /// Envoy's `hash_function`, of the points; keys are hashed by XXH64 in any case.
    #[schema(default = "xxhash")]
    pub hash: EnvoyHash,
    /// Envoy's `minimum_ring_size`: how many points there are at least.
    #[schema(default = 1_024)]
    pub minimum_size: u32,
    /// Envoy's `maximum_ring_size`, up to 8,388,608.
    #[schema(default = 8_388_608)]
    pub maximum_size: u32,
}

/// HAProxy's `hash-type consistent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(from = "WrittenHaproxy")]
pub struct Haproxy {
    /// The function over the key; `sdbm` where nothing is said.
    #[schema(required = false)]
    pub hash: HaproxyHash,
    /// Whether `avalanche` stands behind the function. Where nothing is said it is so as long as no function is named.
    #[schema(required = false)]
    pub avalanche: bool,
    /// HAProxy's `hash-key`: what is hashed for a server; `id` where nothing is said.
    #[schema(required = false)]
    pub hash_key: HashKey,
}

/// HAProxy's `hash-type map-based`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HaproxyMap {
    /// The function over the key.
    #[schema(default = "sdbm")]
    pub hash: HaproxyHash,
    /// Whether `avalanche` stands behind the function.
    #[schema(default = false)]
    pub avalanche: bool,
}

/// twemproxy's `distribution: ketama`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Twemproxy {
    /// twemproxy's `hash`: the function over the key.
    #[schema(default = "fnv1a_64")]
    pub hash: TwemproxyHash,
}

/// A function over the points of Envoy's ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EnvoyHash {
    /// `MURMUR_HASH_2`.
    Murmur2,
    /// `XX_HASH`.
    Xxhash,
}

/// A function over the keys of HAProxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HaproxyHash {
    /// CRC-32 as in zlib.
    Crc32,
    /// Daniel Bernstein's.
    Djb2,
    /// None: the key is a number.
    None,
    /// That of the SDBM library.
    Sdbm,
    /// Not a function of `hash-type`, but `balance source`, which ignores those: the key is an IP address, whose 32-bit
    /// words are put one on top of another.
    Source,
    /// One of HAProxy's own.
    Wt6,
}

/// What HAProxy hashes for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HashKey {
    /// Its IP address (HAProxy 3.0).
    Addr,
    /// Its IP address and port (HAProxy 3.0).
    AddrPort,
    /// Its `guid` (HAProxy 3.4).
    Guid,
    /// Its `id`, of which 20 bits count.
    Id,
    /// All bits of its `id` (HAProxy 3.4).
    Id32,
}

/// A function over the keys of twemproxy, by the name that it has there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each says its name, and memcached.rs what it is")]
pub enum TwemproxyHash {
    Crc16,
    Crc32,
    Crc32a,
    #[serde(rename = "fnv1_32")]
    Fnv132,
    #[serde(rename = "fnv1_64")]
    Fnv164,
    #[serde(rename = "fnv1a_32")]
    Fnv1a32,
    #[serde(rename = "fnv1a_64")]
    Fnv1a64,
    Hsieh,
    Jenkins,
    Md5,
    Murmur,
    #[serde(rename = "one_at_a_time")]
    OneAtATime,
}

impl HaproxyHash {
    /// All of them; the default is first.
    pub const ALL: [HaproxyHash; 6] = [
        HaproxyHash::Sdbm,
        HaproxyHash::Djb2,
        HaproxyHash::Wt6,
        HaproxyHash::Crc32,
        HaproxyHash::Source,
        HaproxyHash::None,
    ];
}

impl HashKey {
    /// All of them; the default is first.
    pub const ALL: [HashKey; 5] = [HashKey::Id, HashKey::Addr, HashKey::AddrPort, HashKey::Guid, HashKey::Id32];
}

impl TwemproxyHash {
    /// All of them; the default is first.
    pub const ALL: [TwemproxyHash; 12] = [
        TwemproxyHash::Fnv1a64,
        TwemproxyHash::Fnv164,
        TwemproxyHash::Fnv1a32,
        TwemproxyHash::Fnv132,
        TwemproxyHash::OneAtATime,
        TwemproxyHash::Md5,
        TwemproxyHash::Crc16,
        TwemproxyHash::Crc32,
        TwemproxyHash::Crc32a,
        TwemproxyHash::Hsieh,
        TwemproxyHash::Murmur,
        TwemproxyHash::Jenkins,
    ];
}

impl Default for EnvoyMaglev {
    fn default() -> EnvoyMaglev {
        EnvoyMaglev { table_size: 65_537 }
    }
}

impl Default for EnvoyRingHash {
    fn default() -> EnvoyRingHash {
        EnvoyRingHash { hash: EnvoyHash::Xxhash, minimum_size: 1_024, maximum_size: RING_SIZE_MAX }
    }
}

impl Default for Haproxy {
    fn default() -> Haproxy {
        Haproxy { hash: HaproxyHash::Sdbm, avalanche: true, hash_key: HashKey::Id }
    }
}

impl Default for HaproxyMap {
    fn default() -> HaproxyMap {
        HaproxyMap { hash: HaproxyHash::Sdbm, avalanche: false }
    }
}

impl Default for Twemproxy {
    fn default() -> Twemproxy {
        Twemproxy { hash: TwemproxyHash::Fnv1a64 }
    }
}

/// [`Haproxy`] as people write it: whether there is an avalanche depends on whether a function is named.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct WrittenHaproxy {
    hash: Option<HaproxyHash>,
    avalanche: Option<bool>,
    hash_key: Option<HashKey>,
}

impl From<WrittenHaproxy> for Haproxy {
    fn from(written: WrittenHaproxy) -> Haproxy {
        // `source` names no function of `hash-type`, so what HAProxy does without one holds.
        let names_function = written.hash.is_some_and(|hash| hash != HaproxyHash::Source);
        Haproxy {
            hash: written.hash.unwrap_or(HaproxyHash::Sdbm),
            avalanche: written.avalanche.unwrap_or(!names_function),
            hash_key: written.hash_key.unwrap_or(HashKey::Id),
        }
    }
}

/// The largest ring that Envoy takes.
pub const RING_SIZE_MAX: u32 = 8_388_608;

/// The largest table that Envoy takes.
pub const TABLE_SIZE_MAX: u32 = SLOTS_MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn haproxy(json: &str) -> Haproxy {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn haproxy_has_an_avalanche_until_a_function_is_named() {
        for (json, avalanche) in [
            ("{}", true),
            (r#"{"hash":"sdbm"}"#, false),
            (r#"{"hash":"sdbm","avalanche":true}"#, true),
            (r#"{"hash":"source"}"#, true),
            (r#"{"hash_key":"addr"}"#, true),
            (r#"{"avalanche":false}"#, false),
        ] {
            assert_eq!(haproxy(json).avalanche, avalanche, "{json}");
            assert_eq!(haproxy(&serde_json::to_string(&haproxy(json)).unwrap()), haproxy(json), "{json}");
        }
        assert_eq!(haproxy("{}"), Haproxy::default());
    }

    #[test]
    fn functions_have_the_names_of_the_original() {
        assert_eq!(serde_json::to_string(&TwemproxyHash::Fnv1a64).unwrap(), r#""fnv1a_64""#);
        assert_eq!(serde_json::to_string(&HashKey::AddrPort).unwrap(), r#""addr-port""#);
        assert_eq!(serde_json::to_string(&HaproxyHash::Wt6).unwrap(), r#""wt6""#);
    }
}
