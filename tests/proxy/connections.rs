//! Connections to nodes: kept, found stale, refused, slow; and which node is tried next.

use crate::harness::eventually;
use crate::harness::h2;
use crate::harness::node::Node;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::proxy::key_of;
use crate::harness::proxy::keyed;
use crate::harness::proxy::post;
use ringway::cluster::membership::Change;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use tokio::sync::Semaphore;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[tokio::test]
async fn the_last_response_of_a_connection_comes_whole() {
    // With bytes behind the request that nobody reads, the connection ends with a reset.
    for (size, behind) in [(0, 0), (10, 0), (5_000_000, 0), (10, 100_000)] {
        let node = Node::script("a", move |mut wire| async move {
            while wire.try_request().await.is_some() {
                wire.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n{}", "x".repeat(size))).await;
            }
        })
        .await;
        let proxy = Setup::of(&[&node]).start();
        let requests =
            ["Connection: close\r\n", "Connection: close\r\nConnection: keep-alive\r\n"].map(|field| get("/", field));
        for request in requests.into_iter().chain([get("/", "").replace("HTTP/1.1", "HTTP/1.0")]) {
            let mut client = proxy.connect().await;
            client.write(format!("{request}{}", "y".repeat(behind))).await;
            let reply = client.response(true).await;
            assert_eq!((reply.status(), reply.body.len()), (200, size), "{behind} bytes behind {request:?}");
            client.closed().await;
        }
    }
}

#[tokio::test]
async fn a_client_that_rested_is_served_as_before() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.ask(get("/", "")).await;
    proxy.metric_is("ringway_resting_connections", &[], 1.0).await;
    client.write("GET / HTTP/1.1\r\nHo").await;
    proxy.metric_is("ringway_resting_connections", &[], 0.0).await;
    client.write("st: a.test\r\n\r\n").await;
    assert_eq!(client.response(true).await.status(), 200);
    assert_eq!(client.ask(get("/", "")).await.status(), 200);
}

#[tokio::test]
async fn many_requests_share_few_connections_to_a_node() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(proxy.connect().await);
    }
    for _ in 0..20 {
        for client in &mut clients {
            assert_eq!(client.ask(get("/", "")).await.status(), 200);
        }
    }
    assert_eq!((node.requests().len(), node.accepted()), (200, 1));
    proxy.metric_is("ringway_upstream_connections", &["state=\"idle\""], 1.0).await;
}

#[tokio::test]
async fn a_kept_connection_that_the_node_closed_is_never_noticed() {
    let node = Node::script("a", |mut wire| async move {
        wire.request().await;
        wire.write(OK).await;
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    for number in 1..=10 {
        assert_eq!(client.ask(get("/", "")).await.status(), 200, "GET {number}");
        eventually("the node has closed", || node.ended() == 2 * number - 1).await;
        proxy.metric_is("ringway_upstream_connections", &["state=\"active\""], 0.0).await;
        assert_eq!(client.ask(post("/", "", "hello")).await.status(), 200, "POST {number}");
        eventually("the node has closed", || node.ended() == 2 * number).await;
        proxy.metric_is("ringway_upstream_connections", &["state=\"active\""], 0.0).await;
    }
}

#[tokio::test]
async fn requests_of_http2_share_connections_too() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect_h2().await;
    for _ in 0..20 {
        assert_eq!(client.ask(h2::get("http://a.test/")).await.head.status, 200);
    }
    assert_eq!((node.requests().len(), node.accepted()), (20, 1));
}

/// A node that answers once per connection, then reads one more request and hangs up.
async fn hanging_up() -> Node {
    Node::script("a", |mut wire| async move {
        wire.request().await;
        wire.write(OK).await;
        // Whatever follows on this connection has been sent by the time it ends.
        wire.try_request().await;
    })
    .await
}

#[tokio::test]
async fn a_get_whose_reused_connection_dies_is_sent_once_more() {
    let node = hanging_up().await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    assert_eq!(client.ask(get("/", "")).await.status(), 200);
    let reply = client.ask(get("/", "")).await;
    assert_eq!((reply.status(), node.accepted()), (200, 2));
    proxy.metric_is("ringway_retries_total", &["reason=\"stale-connection\""], 1.0).await;
}

#[tokio::test]
async fn a_post_that_may_have_been_done_is_not_sent_again() {
    let node = hanging_up().await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    assert_eq!(client.ask(get("/", "")).await.status(), 200);
    let reply = client.ask(post("/", "", "hello")).await;
    assert_eq!((reply.status(), node.accepted()), (502, 1));
    assert_eq!(reply.field("proxy-status"), Some("ringway; error=connection_terminated; next-hop=\"a\""));
    assert_eq!(client.ask(get("/", "")).await.status(), 200, "the client's connection is as good as before");
    proxy.metric_is("ringway_retries_total", &[], 0.0).await;
}

#[tokio::test]
async fn a_get_that_a_new_connection_loses_is_not_sent_again() {
    let node = Node::script("a", |mut wire| async move {
        wire.request().await;
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    assert_eq!(proxy.ask(get("/", "")).await.status(), 502);
    assert_eq!(node.accepted(), 1);
}

#[tokio::test]
async fn a_node_that_refuses_is_passed_over_for_the_next_candidate() {
    let (down, up, third) = (Node::refusing("down"), Node::echo("up").await, Node::echo("third").await);
    let proxy = Setup::of(&[&down, &up, &third]).pool("decision-headers = true").start();
    for request in [
        keyed(&key_of(&proxy, &["down", "up"])),
        post("/", &format!("X-Key: {}\r\n", key_of(&proxy, &["down", "up"])), "hello"),
    ] {
        let reply = proxy.ask(&request).await;
        assert_eq!((reply.status(), reply.field("x-node")), (200, Some("up")), "{request:?}");
        assert_eq!(reply.field("x-ringway-decision"), Some("failover"));
    }
    assert_eq!(up.requests()[1].body, b"hello");
    let reply = proxy.ask(keyed(&key_of(&proxy, &["up"]))).await;
    assert_eq!(reply.field("x-ringway-decision"), Some("owner"), "others are as before");
    proxy.metric_is("ringway_retries_total", &["reason=\"connect\""], 2.0).await;
    proxy.metric_is("ringway_decisions_total", &["decision=\"failover\""], 2.0).await;
    proxy.metric_is("ringway_decisions_total", &["decision=\"owner\""], 1.0).await;
    assert_eq!(third.accepted(), 0);
}

#[tokio::test]
async fn no_more_nodes_are_tried_than_allowed() {
    let nodes = [Node::refusing("d1"), Node::refusing("d2"), Node::echo("up").await];
    let setup = Setup::of(&nodes.iter().collect::<Vec<_>>());
    let two = setup.clone().pool("max-attempts = 2").start();
    let key = key_of(&two, &["d1", "d2", "up"]);
    let reply = two.ask(keyed(&key)).await;
    assert_eq!(reply.status(), 502);
    assert_eq!(reply.field("proxy-status"), Some("ringway; error=connection_refused; next-hop=\"d2\""));
    two.metric_is("ringway_retries_total", &[], 1.0).await;
    let three = setup.pool("max-attempts = 3").start();
    assert_eq!(three.ask(keyed(&key)).await.status(), 200);
    three.metric_is("ringway_retries_total", &[], 2.0).await;
}

#[tokio::test]
async fn requests_without_a_key_pass_over_a_dead_node_too() {
    let (down, up) = (Node::refusing("down"), Node::echo("up").await);
    let proxy = Setup::of(&[&down, &up]).start();
    for _ in 0..20 {
        assert_eq!(proxy.ask(get("/", "")).await.status(), 200);
    }
}

#[tokio::test]
async fn a_node_that_cannot_be_reached_in_time_is_passed_over() {
    let (deaf, up) = (Node::deaf("deaf").await, Node::echo("up").await);
    let timeouts = "timeouts = { connect = \"50ms\" }";
    let alone = Setup::of(&[&deaf]).pool(timeouts).start();
    let reply = alone.ask(get("/", "")).await;
    assert_eq!(reply.status(), 504);
    assert_eq!(reply.field("proxy-status"), Some("ringway; error=connection_timeout; next-hop=\"deaf\""));
    let both = Setup::of(&[&deaf, &up]).pool(timeouts).start();
    assert_eq!(both.ask(keyed(&key_of(&both, &["deaf"]))).await.status(), 200);
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_given_up_and_the_request_not_repeated() {
    let silent = Node::script("silent", |mut wire| async move {
        wire.request().await;
        wire.closed().await;
    })
    .await;
    for (timeouts, request) in [
        ("timeouts = { head = \"50ms\" }", get("/", "")),
        ("timeouts = { head = \"50ms\" }", post("/", "", "hello")),
        ("timeouts = { total = \"50ms\" }", get("/", "")),
    ] {
        let before = silent.accepted();
        let proxy = Setup::of(&[&silent]).pool(timeouts).start();
        let reply = proxy.ask(request).await;
        assert_eq!(reply.status(), 504, "{timeouts}");
        assert!(reply.field("proxy-status").unwrap().contains("http_response_timeout"), "{timeouts}");
        eventually("the node sees the end", || silent.ended() == before + 1).await;
        assert_eq!(silent.accepted(), before + 1, "{timeouts}");
    }
}

#[tokio::test]
async fn a_response_that_falls_silent_is_cut() {
    let node = Node::script("a", |mut wire| async move {
        wire.request().await;
        wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
        wire.closed().await;
    })
    .await;
    let proxy = Setup::of(&[&node]).pool("timeouts = { idle = \"50ms\" }").start();
    let mut client = proxy.connect().await;
    client.write(get("/", "")).await;
    client.head().await;
    assert_eq!(client.chunk().await.unwrap(), b"hello");
    client.closed().await;
    eventually("the node sees the end", || node.ended() == 1).await;
}

#[tokio::test]
async fn a_node_may_listen_on_a_unix_socket() {
    let folder = std::env::temp_dir().join(format!("ringway-unix-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let node = Node::echo_on("a", &folder.join("node.sock"));
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    for _ in 0..3 {
        assert_eq!(client.ask(post("/", "", "hello")).await.text(), "hello");
    }
    assert_eq!(node.accepted(), 1);
    std::fs::remove_dir_all(folder).unwrap();
}

#[tokio::test]
async fn a_changed_address_gets_new_connections_and_the_old_one_none() {
    let (before, after) = (Node::echo("a").await, Node::echo("a").await);
    let proxy = Setup::of(&[&before]).start();
    let mut client = proxy.connect().await;
    assert_eq!(client.ask(get("/", "")).await.status(), 200);
    let address = after.address.clone().try_into().unwrap();
    proxy.change(Change::Address { name: "a".to_owned().try_into().unwrap(), address }).await;
    for _ in 0..5 {
        assert_eq!(client.ask(get("/", "")).await.status(), 200);
    }
    assert_eq!((before.requests().len(), after.requests().len()), (1, 5));
    eventually("the idle connection to the old address is closed", || before.ended() == 1).await;
    proxy.metric_is("ringway_upstream_connections", &["node=\"a\"", "state=\"idle\""], 1.0).await;
}

#[tokio::test]
async fn a_removed_node_finishes_what_it_has_and_gets_nothing_new() {
    let go_on = Arc::new(Semaphore::new(0));
    let (gate, asked) = (Arc::clone(&go_on), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&asked);
    let slow = Node::script("slow", move |mut wire| {
        let (gate, count) = (Arc::clone(&gate), Arc::clone(&count));
        async move {
            while wire.try_request().await.is_some() {
                count.fetch_add(1, SeqCst);
                gate.acquire().await.unwrap().forget();
                wire.write(OK).await;
            }
        }
    })
    .await;
    let other = Node::echo("other").await;
    let proxy = Setup::of(&[&slow, &other]).start();
    let key = key_of(&proxy, &["slow"]);
    let mut client = proxy.connect().await;
    client.write(keyed(&key)).await;
    eventually("the request is at the node", || asked.load(SeqCst) == 1).await;
    proxy.remove(&slow).await;
    let mut late = proxy.connect().await;
    for _ in 0..5 {
        assert_eq!(late.ask(keyed(&key)).await.field("x-node"), Some("other"));
    }
    go_on.add_permits(10);
    assert_eq!(client.response(true).await.text(), "ok");
    assert_eq!(client.ask(keyed(&key)).await.field("x-node"), Some("other"));
    assert_eq!(asked.load(SeqCst), 1);
    eventually("its connection is closed", || slow.ended() == 1).await;
}

#[tokio::test]
async fn requests_follow_the_membership_without_one_failing() {
    let nodes = [Node::echo("a").await, Node::echo("b").await, Node::echo("c").await];
    let proxy = Setup::of(&[&nodes[0], &nodes[1], &nodes[2]]).workers(2).start();
    let mut client = proxy.connect().await;
    let name = |node: &Node| node.name.to_owned().try_into().unwrap();
    for round in 0..10 {
        let node = &nodes[round % 3];
        proxy.change(Change::Drain { name: name(node) }).await;
        let mut seen = BTreeSet::new();
        for number in 0..30 {
            let reply = client.ask(keyed(&format!("{round}-{number}"))).await;
            assert_eq!(reply.status(), 200);
            seen.insert(reply.field("x-node").unwrap().to_owned());
        }
        assert!(!seen.contains(node.name), "{} is drained: {seen:?}", node.name);
        proxy.change(Change::Undrain { name: name(node) }).await;
    }
}
