//! Nodes on their way out: new requests go elsewhere, open ones have until the deadline, and then they are visibly cut.

use crate::harness::eventually;
use crate::harness::node::Node;
use crate::harness::proxy::Proxy;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::proxy::post;
use crate::harness::wire::End;
use crate::harness::wire::Wire;
use ringway::cluster::membership::Change;
use ringway::placement::Fingerprint;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A node that says the beginning of something, and the rest when it is let.
async fn slow(beginning: &'static str, rest: &'static str) -> (Node, Arc<Semaphore>) {
    let release = Arc::new(Semaphore::new(0));
    let gate = Arc::clone(&release);
    let node = Node::script("a", move |mut wire| {
        let gate = Arc::clone(&gate);
        async move {
            while wire.try_head().await.is_some() {
                wire.write(beginning).await;
                gate.acquire().await.unwrap().forget();
                // Nobody may listen any more.
                drop(wire.try_write(rest.as_bytes()).await);
            }
        }
    });
    (node.await, release)
}

/// A proxy before that node and another one, `b`, which answers at once.
async fn before(node: &Node, deadline: &str) -> (Proxy, Node) {
    let other = Node::echo("b").await;
    let pool = format!("drain-deadline = \"{deadline}\"\nejection = {{ failures = 1 }}");
    (Setup::of(&[node, &other]).pool(&pool).start(), other)
}

async fn drain(proxy: &Proxy) {
    proxy.change(Change::Drain { name: "a".parse().unwrap() }).await;
}

async fn undrain(proxy: &Proxy) {
    proxy.change(Change::Undrain { name: "a".parse().unwrap() }).await;
}

fn fingerprint(proxy: &Proxy) -> Fingerprint {
    proxy.controller.pool("p").unwrap().fingerprint
}

/// A key of node `a`.
fn key(proxy: &Proxy) -> String {
    let pool = ringway::control::pool_at::PoolAt::of(&proxy.controller.pool("p").unwrap());
    let mut keys = (0..1000).map(|number| format!("key-{number}"));
    keys.find(|key| pool.locate(key.as_bytes()).owner.as_deref() == Some("a")).expect("one of so many keys")
}

/// A client that has sent a request to node `a`, and what follows it.
async fn asked(proxy: &Proxy, fields: &str) -> Wire {
    let mut client = proxy.connect().await;
    client.write(get("/", &format!("X-Key: {}\r\n{fields}", key(proxy)))).await;
    proxy.metric_is("ringway_inflight_requests", &["node=\"a\""], 1.0).await;
    client
}

/// Nothing is held against a node that was cut.
fn assert_not_blamed(proxy: &Proxy) {
    let failures = proxy.metric("ringway_node_failures_total", &[]);
    let (up, falls) = (proxy.metric("ringway_node_up", &["node=\"a\""]), proxy.metric("ringway_node_falls_total", &[]));
    assert_eq!((failures, up, falls), (0.0, 1.0, 0.0), "failures, up, falls");
}

#[tokio::test]
async fn open_requests_finish_at_a_draining_node_while_new_ones_go_to_the_next_owner() {
    let (node, release) = slow("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf", "full").await;
    let (proxy, other) = before(&node, "10m").await;
    let key = key(&proxy);
    let mut client = asked(&proxy, "").await;
    drain(&proxy).await;
    assert_eq!(proxy.ask(get("/", &format!("X-Key: {key}\r\n"))).await.field("x-node"), Some("b"));
    release.add_permits(1);
    assert_eq!(client.response(true).await.text(), "halffull");
    assert_eq!((node.accepted(), other.requests().len()), (1, 1));
    proxy.metric_is("ringway_upstream_connections", &["node=\"a\""], 0.0).await;
    assert_eq!(proxy.metric("ringway_drain_cut_connections_total", &[]), 0.0);
}

#[tokio::test]
async fn a_response_that_is_cut_never_looks_complete() {
    for (framing, begun) in [
        ("Content-Length: 8\r\n\r\nhalf", "half"),
        ("Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "half"),
        // Without a length it would be complete when the connection ends.
        ("Connection: close\r\n\r\nhalf", "half"),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\n{framing}").leak();
        let (node, _release) = slow(head, "").await;
        let (proxy, _other) = before(&node, "0s").await;
        let mut client = asked(&proxy, "").await;
        let head = client.head().await;
        assert_eq!(head.status(), 200);
        drain(&proxy).await;
        let (bytes, end) = client.rest().await;
        let text = String::from_utf8_lossy(&bytes);
        assert!(text.contains(begun), "{framing:?}: {text:?}");
        let looks_complete =
            text.ends_with("0\r\n\r\n") || (head.field("transfer-encoding").is_none() && text.len() >= 8);
        assert!(!looks_complete, "{framing:?}: {text:?}, {end:?}");
        proxy.metric_is("ringway_inflight_requests", &[], 0.0).await;
        proxy.metric_is("ringway_drain_cut_connections_total", &["node=\"a\""], 1.0).await;
        assert_not_blamed(&proxy);
    }
}

#[tokio::test]
async fn a_request_that_is_cut_before_its_answer_is_not_sent_again() {
    let (node, _release) = slow("", "").await;
    let (proxy, other) = before(&node, "0s").await;
    let key = key(&proxy);
    for request in [get("/", &format!("X-Key: {key}\r\n")), post("/", &format!("X-Key: {key}\r\n"), "x")] {
        let mut client = proxy.connect().await;
        client.write(&request).await;
        proxy.metric_is("ringway_inflight_requests", &["node=\"a\""], 1.0).await;
        drain(&proxy).await;
        let reply = client.response(true).await;
        let status = "ringway; error=connection_terminated; next-hop=\"a\"";
        assert_eq!((reply.status(), reply.field("proxy-status")), (502, Some(status)), "{request}");
        undrain(&proxy).await;
    }
    assert_eq!((node.accepted(), other.requests().len()), (2, 0));
    assert_not_blamed(&proxy);
}

#[tokio::test]
async fn a_tunnel_is_closed_at_the_deadline() {
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let (node, _release) = slow(switched, "").await;
    let (proxy, _other) = before(&node, "0s").await;
    let mut client = asked(&proxy, "Connection: Upgrade\r\nUpgrade: websocket\r\n").await;
    assert_eq!(client.head().await.status(), 101);
    proxy.metric_is("ringway_tunnels", &["node=\"a\""], 1.0).await;
    drain(&proxy).await;
    assert_eq!(client.rest().await, (Vec::new(), End::Closed));
    proxy.metric_is("ringway_tunnels", &["node=\"a\""], 0.0).await;
    proxy.metric_is("ringway_upstream_connections", &["node=\"a\""], 0.0).await;
    assert_not_blamed(&proxy);
}

#[tokio::test]
async fn a_removed_node_has_the_same_time_for_what_is_open() {
    for (deadline, is_cut) in [("0s", true), ("10m", false)] {
        let (node, release) = slow("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf", "full").await;
        let (proxy, _other) = before(&node, deadline).await;
        let mut client = asked(&proxy, "").await;
        assert_eq!(client.head().await.status(), 200);
        proxy.remove(&node).await;
        if is_cut {
            assert_eq!(client.rest().await.0, b"half", "{deadline}");
        } else {
            release.add_permits(1);
            assert_eq!(client.exactly(8).await, b"halffull", "{deadline}");
        }
    }
}

#[tokio::test]
async fn undrain_restores_the_very_placement_and_takes_the_deadline_back() {
    let (node, release) = slow("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf", "full").await;
    let (proxy, _other) = before(&node, "2s").await;
    let (placement, key) = (fingerprint(&proxy), key(&proxy));
    let mut client = asked(&proxy, "").await;
    drain(&proxy).await;
    let upstream = Arc::clone(&proxy.controller.pool("p").unwrap().upstreams()["a"]);
    let leave = upstream.leaving.get().expect("it is on its way out");
    assert_ne!(fingerprint(&proxy), placement);
    undrain(&proxy).await;
    assert_eq!((fingerprint(&proxy), upstream.leaving.get()), (placement, None));
    // Past the deadline that was, and a sweep beyond it.
    eventually("the deadline has passed", || leave.is_over(tokio::time::Instant::now())).await;
    proxy.ask(get("/", "X-Key: other\r\n")).await;
    release.add_permits(2);
    assert_eq!(client.response(true).await.text(), "halffull");
    let reply = proxy.ask(get("/", &format!("X-Key: {key}\r\n"))).await;
    assert_eq!((reply.text().as_str(), proxy.metric("ringway_drain_cut_connections_total", &[])), ("halffull", 0.0));
}

#[tokio::test]
async fn a_node_of_weight_zero_leaves_like_a_drained_one() {
    let (node, _release) = slow("HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf", "").await;
    let (proxy, _other) = before(&node, "0s").await;
    let mut client = asked(&proxy, "").await;
    proxy.change(Change::Weight { name: "a".parse().unwrap(), weight: 0 }).await;
    drop(client.rest().await);
    proxy.metric_is("ringway_drain_cut_connections_total", &["node=\"a\""], 1.0).await;
}
