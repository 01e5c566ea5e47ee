//! ketama as libketama has it, which Last.fm published, and as twemproxy has it.
//!
//! Both compute in single precision how many points a server gets, and so do these: 61 servers of one weight get 39
//! groups of four points each in libketama, rather than 40.

use crate::placement::PlacedNode;
use crate::placement::dialect::Refusal;
use crate::placement::dialect::UNIX;
use crate::placement::dialect::circle::Circle;
use crate::placement::dialect::circle::Lookup;
use crate::placement::dialect::hash::Width;
use crate::placement::dialect::memcached::md5_points;
use crate::placement::dialect::points_limit;
use crate::placement::dialect::whole;

/// Whose rounding it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rounding {
    Libketama,
    Twemproxy,
}

/// Refuses more points than fit, and texts that twemproxy reads beyond their end.
pub(super) fn check(rounding: Rounding, nodes: &[PlacedNode]) -> Result<(), Refusal> {
    let counts = digest_counts(rounding, nodes);
    for (node, count) in nodes.iter().zip(&counts) {
        let longest = format!("{}-{}", node.placement_id, count.saturating_sub(1)).len();
        if rounding == Rounding::Twemproxy && longest > TEXT_BYTES_MAX {
            return Err(Refusal::TextTooLong { name: node.name.clone(), bytes: node.placement_id.len() });
        }
    }
    points_limit(4 * counts.iter().sum::<u64>())
}

/// Every MD5 of a server's text and a number makes four points.
pub(super) fn circle(rounding: Rounding, nodes: &[PlacedNode]) -> Circle {
    let mut points = Vec::new();
    for ((owner, node), count) in (0..).zip(nodes).zip(digest_counts(rounding, nodes)) {
        for number in 0..count {
            let digest = md5_points(format!("{}-{number}", node.placement_id).as_bytes());
            points.extend(digest.map(|point| (u64::from(point) << 32, owner)));
        }
    }
    Circle::new(&points, Lookup::Clockwise, Width::Bits32)
}

/// What twemproxy calls a server whose line gives no name: libmemcached leaves out its own port, and of a unix socket
/// the colon before the weight is part of it.
pub(super) fn name_in_twemproxy(address: &str) -> String {
    if let Some(path) = address.strip_prefix(UNIX) {
        return format!("{path}:");
    }
    address.strip_suffix(":11211").unwrap_or(address).to_owned()
}

/// How many digests each node has: about 40 times its part of all weights times the number of nodes.
fn digest_counts(rounding: Rounding, nodes: &[PlacedNode]) -> Vec<u64> {
    let total = single(nodes.iter().map(|node| node.weight).sum());
    let servers = single(u32::try_from(nodes.len()).expect("fewer nodes than MAX_NODES"));
    let count = |node: &PlacedNode| {
        let part = single(node.weight) / total;
        let digests = match rounding {
            Rounding::Libketama => f64::from(part) * 40.0 * f64::from(servers),
            Rounding::Twemproxy => f64::from(part * 160.0 / 4.0 * servers) + 0.000_000_000_1,
        };
        // Both round to single precision before they round down.
        whole(f64::from(rounded(digests).floor()))
    };
    nodes.iter().map(count).collect()
}

/// A whole number in single precision, rounded as C does it.
fn single(number: u32) -> f32 {
    number as f32
}

/// The closest number of single precision.
#[expect(clippy::cast_possible_truncation, reason = "rounding is what it is for")]
fn rounded(number: f64) -> f32 {
    number as f32
}

/// twemproxy puts a server's text and the number of a digest into 86 bytes with a zero at the end.
const TEXT_BYTES_MAX: usize = 85;

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rounding: Rounding, weights: &[u32]) -> Vec<u64> {
        let node = |weight: &u32| PlacedNode { name: "a".to_owned(), placement_id: "a".to_owned(), weight: *weight };
        digest_counts(rounding, &weights.iter().map(node).collect::<Vec<_>>())
    }

    #[test]
    fn equal_weights_lose_a_digest_to_rounding_at_some_numbers_of_servers() {
        for (servers, digests) in [(60, 40), (61, 39), (122, 39), (237, 39), (244, 39), (474, 39), (475, 40)] {
            assert_eq!(counts(Rounding::Libketama, &vec![1; servers])[0], digests, "{servers}");
        }
    }

    #[test]
    fn digests_follow_the_weights_of_all() {
        assert_eq!(counts(Rounding::Libketama, &[1, 2, 3, 5, 10]), [9, 19, 28, 47, 95]);
        assert_eq!(counts(Rounding::Twemproxy, &[1, 2, 3, 5, 10]), [9, 19, 28, 47, 95]);
    }

    #[test]
    fn twemproxy_has_names_for_servers_without() {
        for (address, name) in [
            ("10.0.0.1:11211", "10.0.0.1"),
            ("10.0.0.1:11212", "10.0.0.1:11212"),
            ("cache.example:11211", "cache.example"),
            ("unix:/run/cache.sock", "/run/cache.sock:"),
        ] {
            assert_eq!(name_in_twemproxy(address), name);
        }
    }

    #[test]
    fn twemproxy_reads_texts_of_85_bytes() {
        let node = |length: usize| PlacedNode { name: "a".to_owned(), placement_id: "i".repeat(length), weight: 1 };
        assert_eq!(check(Rounding::Twemproxy, &[node(82)]).map_err(|refusal| refusal.to_string()), Ok(()));
        let refusal = check(Rounding::Twemproxy, &[node(83)]).unwrap_err().to_string();
        assert!(refusal.contains("node `a` has a placement-id of 83 bytes"), "{refusal}");
        assert!(check(Rounding::Libketama, &[node(83)]).is_ok());
    }
}
