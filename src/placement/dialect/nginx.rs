//! nginx's `hash ... consistent`, the same as ingress-nginx does it, and `hash` without `consistent`.
//!
//! After `ngx_http_upstream_hash_module` (1.22.1 and later), and `chash` of lua-resty-balancer 0.05.

use crate::placement::PlacedNode;
use crate::placement::dialect::Refusal;
use crate::placement::dialect::UNIX;
use crate::placement::dialect::circle::Circle;
use crate::placement::dialect::circle::Lookup;
use crate::placement::dialect::hash::KeyHash;
use crate::placement::dialect::points_limit;
use crate::placement::dialect::slots::Slots;
use crate::placement::dialect::slots::slots_limit;

/// How a server's text is hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServerText {
    /// As one text: ingress-nginx.
    Whole,
    /// The host, a zero byte, and the port: nginx.
    HostAndPort,
}

/// Refuses more points than fit.
pub(super) fn check_circle(nodes: &[PlacedNode]) -> Result<(), Refusal> {
    points_limit(POINTS_PER_WEIGHT * weights(nodes))
}

/// Refuses more slots than fit.
pub(super) fn check_modulo(nodes: &[PlacedNode]) -> Result<(), Refusal> {
    slots_limit(weights(nodes))
}

/// A point is the CRC-32 of the server's text and the point before it, so that a larger weight goes on where a smaller
/// one ends. nginx drops the later ones of several points at one position.
pub(super) fn circle(text: ServerText, nodes: &[PlacedNode]) -> Circle {
    let mut points = Vec::new();
    for (owner, node) in (0..).zip(nodes) {
        let server = server_bytes(text, &node.placement_id);
        let count = u64::from(node.weight) * POINTS_PER_WEIGHT;
        points.extend(chain(&server, count).map(|point| (u64::from(point) << 32, owner)));
    }
    match text {
        ServerText::HostAndPort => Circle::without_twins(&points, Lookup::Clockwise, KeyHash::CRC32.width()),
        ServerText::Whole => Circle::new(&points, Lookup::Clockwise, KeyHash::CRC32.width()),
    }
}

/// As many slots for each node as its weight says, in the order of the nodes.
pub(super) fn modulo(nodes: &[PlacedNode]) -> Slots {
    let slots = (0..).zip(nodes).flat_map(|(owner, node)| std::iter::repeat_n(owner, node.weight as usize));
    Slots::of_crc15(slots.collect())
}

fn weights(nodes: &[PlacedNode]) -> u64 {
    nodes.iter().map(|node| u64::from(node.weight)).sum()
}

/// Each point from the one before it, beginning with that from zero.
fn chain(server: &[u8], count: u64) -> impl Iterator<Item = u32> {
    let mut text = crc32fast::Hasher::new();
    text.update(server);
    let mut last = 0_u32;
    (0..count).map(move |_| {
        let mut point = text.clone();
        point.update(&last.to_le_bytes());
        last = point.finalize();
        last
    })
}

fn server_bytes(text: ServerText, server: &str) -> Vec<u8> {
    if text == ServerText::Whole {
        return server.as_bytes().to_owned();
    }
    let (host, port) = host_and_port(server);
    [host.as_bytes(), &[0], port.as_bytes()].concat()
}

/// What nginx takes for host and port: the port is what follows the last colon if that is all digits. The path of a
/// socket is a host.
fn host_and_port(server: &str) -> (&str, &str) {
    if let Some((scheme, path)) = server.split_at_checked(UNIX.len())
        && scheme.eq_ignore_ascii_case(UNIX)
    {
        return (path, "");
    }
    match server.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
        _ => (server, ""),
    }
}

const POINTS_PER_WEIGHT: u64 = 160;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_and_port_are_what_nginx_takes_for_them() {
        for (server, host, port) in [
            ("10.0.0.1:80", "10.0.0.1", "80"),
            ("10.0.0.1", "10.0.0.1", ""),
            ("[::1]:80", "[::1]", "80"),
            ("[::1]", "[::1]", ""),
            ("cache.example:80", "cache.example", "80"),
            ("cache.example:", "cache.example", ""),
            ("cache:http", "cache:http", ""),
            ("unix:/run/a:80", "/run/a:80", ""),
            ("UNIX:/run/a", "/run/a", ""),
            ("a", "a", ""),
        ] {
            assert_eq!(host_and_port(server), (host, port), "{server}");
        }
    }

    #[test]
    fn a_larger_weight_goes_on_where_a_smaller_one_ends() {
        let points = |count| chain(b"10.0.0.1\x0080", count).collect::<Vec<_>>();
        assert_eq!(points(320)[..160], points(160));
        assert_eq!(points(1), [crc32fast::hash(b"10.0.0.1\x0080\0\0\0\0")]);
    }
}
