//! Which node a log means by what it calls an upstream.

use crate::cluster::node::Node;
use crate::cluster::node::NodeAddress;
use std::collections::HashMap;

/// The names and addresses of a pool's nodes.
#[derive(Clone, Debug)]
pub struct Upstreams {
    /// `None` where several nodes share a text.
    nodes: HashMap<String, Option<usize>>,
}

/// What a log says of where a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// To this node, by its place in `nodes`.
    Node(usize),
    /// To no server at all: none could be chosen.
    Nobody,
    /// To an address that several nodes share.
    Shared,
    /// To a server that is no node of the pool.
    Unknown,
}

impl Upstreams {
    /// Finds nodes by their place in `nodes`.
    pub fn of(nodes: &[Node]) -> Upstreams {
        let mut found = HashMap::new();
        for (index, node) in nodes.iter().enumerate() {
            found.entry(node.address.to_string()).and_modify(|shared| *shared = None).or_insert(Some(index));
        }
        // Names are unique, and win over an address of the same text.
        found.extend(nodes.iter().enumerate().map(|(index, node)| (node.name.to_string(), Some(index))));
        Upstreams { nodes: found }
    }

    /// Where a request was first sent: what the other program's hash chose. `text` is an address, a name,
    /// `backend/server` as in HAProxy, a path as Envoy logs unix sockets, or nginx's list of all that were tried.
    pub fn find(&self, text: &[u8]) -> Upstream {
        let Ok(text) = std::str::from_utf8(text) else { return Upstream::Unknown };
        let first = first_tried(text);
        let server = first.rsplit_once('/').map(|(_, server)| server);
        // HAProxy writes <NOSRV>, and <STATS> and the like, where it sent a request to no server.
        if server.is_some_and(|server| server.starts_with('<') && server.ends_with('>')) {
            return Upstream::Nobody;
        }
        let node = self
            .exactly(first)
            .or_else(|| self.exactly(&first.parse::<NodeAddress>().ok()?.to_string()))
            .or_else(|| self.exactly(&format!("unix:{first}")))
            .or_else(|| self.exactly(server?));
        match node {
            Some(Some(node)) => Upstream::Node(node),
            Some(None) => Upstream::Shared,
            None => Upstream::Unknown,
        }
    }

    fn exactly(&self, text: &str) -> Option<Option<usize>> {
        self.nodes.get(text).copied()
    }
}

/// Whether a log has the address of a server here, as nginx and Envoy write it.
pub(super) fn is_address(text: &[u8]) -> bool {
    text.contains(&b':') || text.starts_with(b"/")
}

/// Whether it may be the name of a group: nginx logs that instead of an address when no server of the group is live.
pub(super) fn is_bare_name(text: &[u8]) -> bool {
    !text.contains(&b':') && !text.contains(&b'/')
}

/// nginx sets servers of one group apart by commas, and groups by colons.
fn first_tried(text: &str) -> &str {
    let group = text.split(" : ").next().unwrap_or(text);
    group.split(',').next().unwrap_or(group).trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, address: &str) -> Node {
        serde_json::from_str(&format!(r#"{{"name":"{name}","address":"{address}"}}"#)).unwrap()
    }

    #[test]
    fn nodes_go_by_many_names() {
        let nodes = [
            node("a", "10.0.0.1:80"),
            node("b", "[2001:db8::2]:80"),
            node("c", "unix:/run/c.sock"),
            node("d", "d.example:80"),
            node("10.0.0.5:80", "10.0.0.4:80"),
            node("f", "10.0.0.5:80"),
        ];
        let upstreams = Upstreams::of(&nodes);
        for (text, expected) in [
            ("a", Upstream::Node(0)),
            ("static/a", Upstream::Node(0)),
            ("10.0.0.1:80", Upstream::Node(0)),
            ("10.0.0.1:80, 10.0.0.4:80", Upstream::Node(0)),
            ("10.0.0.1:80 : unix:/run/c.sock", Upstream::Node(0)),
            ("[2001:DB8:0::2]:80", Upstream::Node(1)),
            ("unix:/run/c.sock", Upstream::Node(2)),
            ("/run/c.sock", Upstream::Node(2)),
            ("D.example:80", Upstream::Node(3)),
            ("10.0.0.5:80", Upstream::Node(4)),
            ("10.0.0.1", Upstream::Unknown),
            ("10.0.0.9:80, 10.0.0.1:80", Upstream::Unknown),
            ("static/<NOSRV>", Upstream::Nobody),
            ("static/x", Upstream::Unknown),
            ("", Upstream::Unknown),
        ] {
            assert_eq!(upstreams.find(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn an_address_of_several_nodes_means_none_of_them() {
        let upstreams = Upstreams::of(&[node("a", "10.0.0.1:80"), node("b", "10.0.0.1:80")]);
        assert_eq!((upstreams.find(b"10.0.0.1:80"), upstreams.find(b"b")), (Upstream::Shared, Upstream::Node(1)));
    }
}
