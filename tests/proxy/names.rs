//! Host names as addresses of nodes: what a new answer of the resolver does to connections, and not to keys.

use crate::harness::eventually;
use crate::harness::node::Node;
use crate::harness::proxy::Proxy;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use ringway::proxy::resolved::Answer;
use ringway::proxy::table::Upstream;
use std::net::SocketAddr;
use std::sync::Arc;

/// The node `a` by the name that every machine has for itself, looked up once.
async fn named() -> (Node, Proxy, Arc<Upstream>) {
    let mut node = Node::echo("a").await;
    node.address = node.address.replace("127.0.0.1", "localhost");
    let proxy = Setup::of(&[&node]).pool("decision-headers = true\nresolve = { every = \"1h\" }").start();
    let upstream = Arc::clone(&proxy.controller.pool("p").unwrap().upstreams()["a"]);
    eventually("the name is resolved", || upstream.resolved.addresses().is_some()).await;
    (node, proxy, upstream)
}

async fn elsewhere() -> (Node, Vec<SocketAddr>) {
    let node = Node::echo("elsewhere").await;
    let address = node.address.parse().unwrap();
    (node, vec![address])
}

#[tokio::test]
async fn a_name_is_resolved_when_its_node_joins() {
    let (node, _proxy, upstream) = named().await;
    let addresses = upstream.resolved.addresses().unwrap();
    let port = node.address.rsplit(':').next().unwrap();
    assert!(addresses.iter().all(|address| address.ip().is_loopback()), "{addresses:?}");
    assert!(addresses.iter().all(|address| address.port().to_string() == port), "{addresses:?}");
    assert_eq!(node.accepted(), 0, "nobody had to ask for it");
}

#[tokio::test]
async fn a_new_answer_takes_new_connections_and_leaves_the_key_at_its_node() {
    let (node, proxy, upstream) = named().await;
    let (other, addresses) = elsewhere().await;
    let mut client = proxy.connect().await;
    let before = client.ask(get("/", "X-Key: room\r\n")).await;
    let fingerprint = proxy.controller.pool("p").unwrap().fingerprint;
    proxy.metric_is("ringway_upstream_connections", &["state=\"idle\""], 1.0).await;

    assert_eq!(upstream.resolved.set(&addresses), Answer::Changed);
    let after = client.ask(get("/", "X-Key: room\r\n")).await;
    let served = [&before, &after].map(|reply| (reply.field("x-node"), reply.field("x-ringway-node")));
    assert_eq!(served, [(Some("a"), Some("a")), (Some("elsewhere"), Some("a"))]);
    assert_eq!((node.requests().len(), other.requests().len()), (1, 1));
    assert_eq!(proxy.controller.pool("p").unwrap().fingerprint, fingerprint);
    assert_eq!(proxy.metric("ringway_retries_total", &[]), 0.0, "a kept connection of before is not even tried");
}

#[tokio::test]
async fn kept_connections_of_an_older_answer_are_closed() {
    let (node, proxy, upstream) = named().await;
    let (_other, addresses) = elsewhere().await;
    proxy.ask(get("/", "X-Key: room\r\n")).await;
    proxy.metric_is("ringway_upstream_connections", &["state=\"idle\""], 1.0).await;
    upstream.resolved.set(&addresses);
    eventually("the node sees its connection end", || node.ended() == 1).await;
    proxy.metric_is("ringway_upstream_connections", &[], 0.0).await;
}

#[tokio::test]
async fn a_name_of_several_addresses_is_tried_in_order() {
    let (_node, proxy, upstream) = named().await;
    let (other, addresses) = elsewhere().await;
    let refusing = Node::refusing("refusing").address.parse().unwrap();
    upstream.resolved.set(&[vec![refusing], addresses].concat());
    let reply = proxy.ask(get("/", "X-Key: room\r\n")).await;
    assert_eq!((reply.status(), other.requests().len()), (200, 1));
}

#[tokio::test]
async fn a_name_that_never_resolved_is_no_fault_of_its_node() {
    let mut node = Node::echo("a").await;
    // RFC 6761 section 6.4: it never resolves.
    node.address = "node.invalid:80".to_owned();
    let proxy = Setup::of(&[&node]).start();
    let reply = proxy.ask(get("/", "X-Key: room\r\n")).await;
    assert_eq!((reply.status(), reply.field("proxy-status")), (502, Some("ringway; error=dns_error; next-hop=\"a\"")));
    eventually("it is counted", || proxy.metric("ringway_resolve_failures_total", &["node=\"a\""]) >= 1.0).await;
    assert_eq!(proxy.metric("ringway_node_failures_total", &[]), 0.0);
}

#[tokio::test]
async fn a_name_that_leads_where_no_node_may_be_is_not_followed() {
    let (node, proxy, upstream) = named().await;
    for forbidden in ["169.254.169.254:80", "0.0.0.0:80", "[::ffff:169.254.169.254]:80", "224.0.0.1:80"] {
        upstream.resolved.set(&[forbidden.parse().unwrap()]);
        let reply = proxy.ask(get("/", "X-Key: room\r\n")).await;
        let expected = Some("ringway; error=destination_ip_prohibited; next-hop=\"a\"");
        assert_eq!((reply.status(), reply.field("proxy-status")), (502, expected), "{forbidden}");
    }
    assert_eq!(node.accepted(), 0);
}

#[tokio::test]
async fn of_the_addresses_of_a_name_only_those_that_nodes_may_have_are_tried() {
    let (_node, proxy, upstream) = named().await;
    let (other, addresses) = elsewhere().await;
    upstream.resolved.set(&[vec!["169.254.169.254:80".parse().unwrap()], addresses].concat());
    let reply = proxy.ask(get("/", "X-Key: room\r\n")).await;
    assert_eq!((reply.status(), other.requests().len()), (200, 1));
}

#[tokio::test]
async fn a_node_outside_the_allowed_networks_is_not_even_checked() {
    let mut node = Node::echo("a").await;
    node.address = node.address.replace("127.0.0.1", "localhost");
    let health = "health = { tcp = true, every = \"100ms\" }";
    let proxy = Setup::of(&[&node]).server("allowed-node-networks = [\"10.0.0.0/8\"]").pool(health).start();
    proxy.metric_is("ringway_node_up", &["node=\"a\""], 0.0).await;
    assert_eq!(node.accepted(), 0);
}
