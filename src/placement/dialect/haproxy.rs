//! HAProxy's `hash-type consistent` and `hash-type map-based`.
//!
//! Checked against HAProxy 2.6, 3.0 and 3.4.

use crate::placement::PlacedNode;
use crate::placement::dialect::Refusal;
use crate::placement::dialect::circle::Circle;
use crate::placement::dialect::circle::Lookup;
use crate::placement::dialect::hash::Width;
use crate::placement::dialect::hash::full_hash;
use crate::placement::dialect::points_limit;
use crate::placement::dialect::settings::HashKey;
use crate::placement::dialect::slots::Slots;
use crate::placement::dialect::slots::slots_limit;
use crate::placement::greatest_common_divisor;
use std::net::IpAddr;
use std::net::SocketAddr;
use xxhash_rust::xxh32::xxh32;

/// What a server's points are hashed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerHash {
    /// As every HAProxy does it but those of [`ServerHash::Of30`].
    Of(HashKey),
    /// As 3.0 does until the fix of October 2025: an id is hashed once too often.
    Of30(HashKey),
}

impl ServerHash {
    /// The number that a server's points count up from.
    fn base(self, node: &PlacedNode) -> Result<u32, Refusal> {
        match self {
            ServerHash::Of(HashKey::Id) => Ok(id(node)?.wrapping_mul(IDS_APART)),
            ServerHash::Of30(HashKey::Id) => Ok(full_hash(id(node)?)),
            ServerHash::Of(HashKey::Id32) => Ok(full_hash(id(node)?.swap_bytes())),
            ServerHash::Of(HashKey::Guid) if node.placement_id.is_empty() => {
                Err(Refusal::NoGuid { name: node.name.clone() })
            }
            ServerHash::Of(HashKey::Guid) => Ok(xxh32(node.placement_id.as_bytes(), 0)),
            ServerHash::Of(HashKey::Addr) | ServerHash::Of30(HashKey::Addr) => Ok(address_hash(address(node)?.0, 0)),
            ServerHash::Of(HashKey::AddrPort) | ServerHash::Of30(HashKey::AddrPort) => {
                let (ip, port) = address(node)?;
                let port = port.ok_or_else(|| Refusal::no_address(node))?;
                Ok(address_hash(ip, full_hash(u32::from(port))))
            }
            ServerHash::Of30(HashKey::Guid | HashKey::Id32) => Err(Refusal::HashKeyOf34),
        }
    }
}

/// Refuses weights that HAProxy does not take, servers without what is hashed for them, and too many points.
pub(super) fn check_circle(server_hash: ServerHash, nodes: &[PlacedNode]) -> Result<(), Refusal> {
    check_weights(nodes)?;
    for node in nodes {
        server_hash.base(node)?;
    }
    points_limit(nodes.iter().map(|node| u64::from(node.weight * POINTS_PER_WEIGHT)).sum())
}

/// Every point is a number hashed, counted up from the server's; the closest point is a key's.
pub(super) fn circle(server_hash: ServerHash, nodes: &[PlacedNode]) -> Result<Circle, Refusal> {
    let mut points = Vec::new();
    for (owner, node) in (0..).zip(nodes) {
        let base = server_hash.base(node)?;
        let numbers = (0..node.weight * POINTS_PER_WEIGHT).map(|number| base.wrapping_add(number));
        points.extend(numbers.map(|number| (u64::from(full_hash(number)) << 32, owner)));
    }
    Ok(Circle::new(&points, Lookup::Closest, Width::Bits32))
}

/// Refuses weights that HAProxy does not take, and maps that take too long to fill.
pub(super) fn check_map(nodes: &[PlacedNode]) -> Result<(), Refusal> {
    check_weights(nodes)?;
    let slots: u64 = weights(nodes).iter().map(|weight| u64::from(*weight)).sum();
    slots_limit(slots)?;
    let steps = slots * nodes.len() as u64;
    if steps > MAP_STEPS_MAX {
        return Err(Refusal::MapTooLarge { slots, nodes: nodes.len() });
    }
    Ok(())
}

/// Fills the map step by step: every server's score grows by its weight, the first of those with the most whole rounds
/// gets the slot and pays a round.
pub(super) fn map(nodes: &[PlacedNode]) -> Slots {
    let weights: Vec<i64> = weights(nodes).into_iter().map(i64::from).collect();
    let round: i64 = weights.iter().sum();
    let mut scores = vec![0; weights.len()];
    let mut slots = Vec::new();
    for _ in 0..round {
        for (score, weight) in scores.iter_mut().zip(&weights) {
            *score += weight;
        }
        let whole_rounds = |score: &i64| (score + round) / round;
        let best = (0..).zip(&scores).min_by_key(|(_, score)| -whole_rounds(score));
        let (owner, _) = best.expect("a round has weights");
        scores[usize::from(owner)] -= round;
        slots.push(owner);
    }
    Slots::new(slots, Width::Bits32)
}

/// The weights in their lowest terms.
fn weights(nodes: &[PlacedNode]) -> Vec<u32> {
    let divisor = nodes.iter().fold(0, |divisor, node| greatest_common_divisor(divisor, node.weight));
    nodes.iter().map(|node| node.weight / divisor.max(1)).collect()
}

fn check_weights(nodes: &[PlacedNode]) -> Result<(), Refusal> {
    match nodes.iter().find(|node| node.weight > WEIGHT_MAX) {
        Some(node) => Err(Refusal::HaproxyWeight { name: node.name.clone(), weight: node.weight }),
        None => Ok(()),
    }
}

/// A server's `id`, in the digits that HAProxy writes.
fn id(node: &PlacedNode) -> Result<u32, Refusal> {
    let id = node.placement_id.parse().ok().filter(|id: &i32| *id > 0 && id.to_string() == node.placement_id);
    id.map(i32::cast_unsigned)
        .ok_or_else(|| Refusal::NoId { name: node.name.clone(), placement_id: node.placement_id.clone() })
}

/// A server's address, and its port where there is one.
fn address(node: &PlacedNode) -> Result<(IpAddr, Option<u16>), Refusal> {
    let text = node.placement_id.as_str();
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok((address.ip(), Some(address.port())));
    }
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse().map_err(|_| Refusal::no_address(node))?;
    Ok((ip, None))
}

/// An IPv4 address is taken as a number in the byte order of x86.
fn address_hash(address: IpAddr, seed: u32) -> u32 {
    match address {
        IpAddr::V4(address) => full_hash(seed.wrapping_add(u32::from_le_bytes(address.octets()))),
        IpAddr::V6(address) => xxh32(&address.octets(), seed),
    }
}

const POINTS_PER_WEIGHT: u32 = 16;

/// The largest weight of HAProxy.
pub(super) const WEIGHT_MAX: u32 = 256;

/// How far the points of servers with neighbouring ids are apart before they are hashed.
const IDS_APART: u32 = 4_096;

/// Filling a map looks at every node for every slot; so many looks take about a second.
const MAP_STEPS_MAX: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;

    fn node(placement_id: &str, weight: u32) -> PlacedNode {
        PlacedNode { name: "a".to_owned(), placement_id: placement_id.to_owned(), weight }
    }

    fn base(server_hash: ServerHash, placement_id: &str) -> Result<u32, String> {
        server_hash.base(&node(placement_id, 1)).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn twenty_bits_of_an_id_count() {
        let by_id = ServerHash::Of(HashKey::Id);
        assert_eq!(base(by_id, "2"), Ok(8192));
        assert_eq!(base(by_id, "1048577"), base(by_id, "1"));
        assert_ne!(base(ServerHash::Of(HashKey::Id32), "1048577"), base(ServerHash::Of(HashKey::Id32), "1"));
    }

    #[test]
    fn addresses_are_read_with_and_without_a_port() {
        let [by_address, by_both] = [HashKey::Addr, HashKey::AddrPort].map(ServerHash::Of);
        let expected = full_hash(u32::from_le_bytes([10, 0, 0, 1]));
        for text in ["10.0.0.1", "10.0.0.1:80", "10.0.0.1:81"] {
            assert_eq!(base(by_address, text), Ok(expected), "{text}");
        }
        assert_eq!(base(by_address, "[::1]"), base(by_address, "[::1]:80"));
        assert_eq!(base(by_address, "::1"), base(by_address, "[::1]:80"));
        assert_ne!(base(by_both, "10.0.0.1:80"), base(by_both, "10.0.0.1:81"));
    }

    #[test]
    fn what_haproxy_hashes_for_a_server_must_be_there() {
        for (hash_key, placement_id, answer) in [
            (HashKey::Id, "", "give node `a` its own, such as `placement-id = \"1\"`"),
            (HashKey::Id32, "0", "give node `a` its own instead of `0`"),
            (HashKey::Id, "007", "instead of `007`"),
            (HashKey::Guid, "", "the guid of a server; give node `a` its own as `placement-id`"),
            (HashKey::Addr, "cache.example:80", "give node `a` those that it uses instead of `cache.example:80`"),
            (HashKey::AddrPort, "10.0.0.1", "such as `placement-id = \"10.0.0.1:80\"`"),
        ] {
            let refusal = base(ServerHash::Of(hash_key), placement_id).unwrap_err();
            assert!(refusal.contains(answer), "{placement_id}: {refusal}");
        }
        let refusal = base(ServerHash::Of30(HashKey::Guid), "a").unwrap_err();
        assert!(refusal.contains("`haproxy-3.0` has no `hash-key`"), "{refusal}");
    }

    #[test]
    fn weights_are_those_of_haproxy() {
        let refusal = check_map(&[node("1", 256), node("2", 257)]).unwrap_err().to_string();
        assert!(refusal.contains("node `a` has weight 257; those of HAProxy go up to 256"), "{refusal}");
    }

    #[test]
    fn a_map_takes_turns_by_weight() {
        let slots = map(&[node("1", 20), node("2", 40), node("3", 10)]);
        let mut owners = slots.owners().to_vec();
        assert_eq!(owners.len(), 7);
        owners.sort_unstable();
        assert_eq!(owners, [0, 0, 1, 1, 1, 1, 2]);
    }
}
