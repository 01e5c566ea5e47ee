//! Which pool and which node a request goes to, and what the client is told about it.

use crate::harness::node::Node;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use ringway::control::pool_at::PoolAt;
use std::collections::BTreeSet;

#[tokio::test]
async fn host_and_path_choose_the_pool_and_nothing_else_is_404() {
    let (chat, api, rest) = (Node::echo("chat").await, Node::echo("api").await, Node::echo("rest").await);
    let proxy = Setup::of(&[&rest])
        .pool("match = { host = \"a.test\" }")
        .another_pool("name = \"chat\"\nkey = \"path\"\nmatch = { host = \"a.test\", path = \"/ws/\" }", &[&chat])
        .another_pool("name = \"api\"\nkey = \"path\"\nmatch = { host = \"*.api.test\" }", &[&api])
        .start();
    for (host, path, node) in [
        ("a.test", "/ws/room", "chat"),
        ("a.test", "/ws", "rest"),
        ("A.TEST:8080", "/ws/room", "chat"),
        ("v1.api.test", "/ws/room", "api"),
    ] {
        let reply = proxy.ask(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).await;
        assert_eq!(reply.field("x-node"), Some(node), "{host}{path}");
    }
    let reply = proxy.ask("GET / HTTP/1.1\r\nHost: other.test\r\n\r\n").await;
    assert_eq!(reply.status(), 404);
    assert_eq!(reply.field("content-type"), Some("application/problem+json"));
    assert_eq!(reply.field("proxy-status"), Some("ringway; error=destination_not_found"));
    let problem: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(problem["status"], 404, "{problem}");
}

#[tokio::test]
async fn requests_without_a_key_spread_over_all_nodes() {
    let nodes = [Node::echo("a").await, Node::echo("b").await, Node::echo("c").await];
    let proxy = Setup::of(&[&nodes[0], &nodes[1], &nodes[2]]).pool("decision-headers = true").start();
    let mut client = proxy.connect().await;
    let mut seen = BTreeSet::new();
    // That one of three is missed by all of these is as likely as 3 * (2/3)^100.
    for _ in 0..100 {
        let reply = client.ask(get("/", "")).await;
        assert_eq!(reply.field("x-ringway-decision"), Some("no-key"));
        assert_eq!(reply.field("x-ringway-node"), reply.field("x-node"));
        seen.insert(reply.field("x-node").unwrap().to_owned());
    }
    assert_eq!(seen.len(), 3, "{seen:?}");
    proxy.metric_is("ringway_keyless_requests_total", &[], 100.0).await;
    proxy.metric_is("ringway_decisions_total", &["decision=\"no-key\""], 100.0).await;
}

#[tokio::test]
async fn a_request_without_a_key_is_refused_where_the_pool_says_so() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).pool("no-key = \"reject\"").start();
    let reply = proxy.ask(get("/", "")).await;
    assert_eq!(reply.status(), 400);
    assert!(reply.text().contains("header:x-key"), "{}", reply.text());
    assert_eq!(node.accepted(), 0);
    assert_eq!(proxy.ask(get("/", "X-Key: k\r\n")).await.status(), 200);
    proxy.metric_is("ringway_keyless_requests_total", &[], 1.0).await;
}

#[tokio::test]
async fn a_pool_without_placed_nodes_is_unavailable_for_now() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    proxy.remove(&node).await;
    for fields in ["", "X-Key: k\r\n"] {
        let reply = proxy.ask(get("/", fields)).await;
        assert_eq!(reply.status(), 503, "{fields:?}");
        assert_eq!(reply.field("retry-after"), Some("1"));
        assert_eq!(reply.field("proxy-status"), Some("ringway; error=destination_unavailable"));
    }
}

#[tokio::test]
async fn decisions_are_told_only_where_asked_for_and_never_believed() {
    let (quiet, open) = (Node::echo("quiet").await, Node::echo("open").await);
    let proxy = Setup::of(&[&quiet])
        .another_pool(
            "name = \"open\"\nkey = \"path\"\ndecision-headers = true\nmatch = { path = \"/open\" }",
            &[&open],
        )
        .start();
    let reply = proxy.ask(get("/quiet", "X-Ringway-Node: forged\r\n")).await;
    assert!(reply.head.fields.iter().all(|field| !field.0.starts_with("x-ringway")), "{:?}", reply.head);
    let reply = proxy.ask(get("/open", "X-Ringway-Node: forged\r\n")).await;
    let told = ["x-ringway-node", "x-ringway-decision", "x-ringway-epoch"].map(|name| reply.field(name));
    assert_eq!(told, [Some("open"), Some("owner"), Some("1")]);
    for node in [&quiet, &open] {
        assert_eq!(node.request().field("x-ringway-node"), None, "{}", node.name);
    }
}

#[tokio::test]
async fn a_thousand_keys_go_where_locate_says() {
    let nodes = [Node::echo("a").await, Node::echo("b").await, Node::echo("c").await, Node::echo("d").await];
    let proxy = Setup::of(&nodes.iter().collect::<Vec<_>>()).workers(2).start();
    let pool = PoolAt::of(&proxy.controller.pool("p").unwrap());
    let mut client = proxy.connect().await;
    for number in 0..1_000 {
        let key = format!("room-{number}");
        let reply = client.ask(get("/", &format!("X-Key: {key}\r\n"))).await;
        assert_eq!(reply.field("x-node"), pool.locate(key.as_bytes()).owner.as_deref(), "{key}");
    }
}

#[tokio::test]
async fn the_same_key_from_any_source_goes_to_the_same_node() {
    let nodes = [Node::echo("a").await, Node::echo("b").await, Node::echo("c").await];
    let rule = "key = [\"header:x-key\", \"query:room\", \"cookie:sid\", \"path:2\"]";
    let proxy = Setup::of(&nodes.iter().collect::<Vec<_>>()).pool(rule).start();
    let pool = PoolAt::of(&proxy.controller.pool("p").unwrap());
    for key in ["one", "two", "three", "four", "five"] {
        let owner = pool.locate(key.as_bytes()).owner;
        for request in [
            get("/", &format!("X-Key: {key}\r\n")),
            get(&format!("/rooms?x=1&room={key}"), ""),
            get("/", &format!("Cookie: theme=dark; sid={key}\r\n")),
            get(&format!("/rooms/{key}/members"), ""),
        ] {
            let reply = proxy.ask(&request).await;
            assert_eq!(reply.field("x-node"), owner.as_deref(), "{request:?}");
        }
    }
}

#[tokio::test]
async fn the_client_address_is_the_forwarded_one_only_behind_a_trusted_proxy() {
    let nodes = [Node::echo("a").await, Node::echo("b").await, Node::echo("c").await];
    let setup = Setup::of(&nodes.iter().collect::<Vec<_>>()).pool("key = \"client-ip\"");
    let strict = setup.clone().start();
    let trusting = setup.server("trusted-proxies = [\"127.0.0.0/8\"]").start();
    let pool = PoolAt::of(&trusting.controller.pool("p").unwrap());
    for number in 1..20 {
        let client = format!("192.0.2.{number}");
        let request = get("/", &format!("X-Forwarded-For: 10.6.6.6, {client}\r\n"));
        let (strict, trusting) = (strict.ask(&request).await, trusting.ask(&request).await);
        assert_eq!(strict.field("x-node"), pool.locate(b"127.0.0.1").owner.as_deref(), "{client}");
        assert_eq!(trusting.field("x-node"), pool.locate(client.as_bytes()).owner.as_deref(), "{client}");
    }
}
