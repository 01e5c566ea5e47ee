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

    /// The node that a request was first sent to: the one that the other program's hash chose. `text` is an address, a
    /// name, `backend/server` as in HAProxy, a path as Envoy logs unix sockets, or nginx's list of all that were tried.
    pub fn find(&self, text: &[u8]) -> Option<usize> {
        let first = first_tried(std::str::from_utf8(text).ok()?);
        self.exactly(first)
            .or_else(|| self.exactly(&first.parse::<NodeAddress>().ok()?.to_string()))
            .or_else(|| self.exactly(&format!("unix:{first}")))
            .or_else(|| self.exactly(first.rsplit_once('/')?.1))
    }

    fn exactly(&self, text: &str) -> Option<usize> {
        self.nodes.get(text).copied().flatten()
    }
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
            ("a", Some(0)),
            ("static/a", Some(0)),
            ("10.0.0.1:80", Some(0)),
            ("10.0.0.1:80, 10.0.0.4:80", Some(0)),
            ("10.0.0.1:80 : unix:/run/c.sock", Some(0)),
            ("[2001:DB8:0::2]:80", Some(1)),
            ("unix:/run/c.sock", Some(2)),
            ("/run/c.sock", Some(2)),
            ("D.example:80", Some(3)),
            ("10.0.0.5:80", Some(4)),
            ("10.0.0.1", None),
            ("10.0.0.9:80, 10.0.0.1:80", None),
            ("static/<NOSRV>", None),
            ("", None),
        ] {
            assert_eq!(upstreams.find(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn an_address_of_several_nodes_means_none_of_them() {
        let upstreams = Upstreams::of(&[node("a", "10.0.0.1:80"), node("b", "10.0.0.1:80")]);
        assert_eq!((upstreams.find(b"10.0.0.1:80"), upstreams.find(b"b")), (None, Some(1)));
    }
}
