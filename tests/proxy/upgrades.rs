//! Connections that stop being HTTP, such as WebSockets.

use crate::harness::eventually;
use crate::harness::node::Node;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::proxy::post;
use crate::harness::wire::End;
use crate::harness::wire::Wire;
use std::time::Duration;

const UPGRADE: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n\
                       Sec-WebSocket-Version: 13\r\nX-Key: room\r\n";
const SWITCHED: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                        Sec-WebSocket-Accept: eQ==\r\n\r\n";

/// A node that switches and then says everything back, until the client has finished.
async fn echoing(name: &'static str) -> Node {
    Node::script(name, |mut wire| async move {
        let request = wire.head().await;
        assert_eq!((request.field("connection"), request.field("upgrade")), (Some("upgrade"), Some("websocket")));
        assert_eq!(request.field("sec-websocket-key"), Some("eA=="));
        wire.write(SWITCHED).await;
        while let Some(bytes) = wire.piece().await {
            wire.write(&bytes).await;
        }
        wire.write("bye").await;
        wire.finish().await;
    })
    .await
}

async fn open(client: &mut Wire) {
    client.write(get("/ws", UPGRADE)).await;
    let head = client.head().await;
    assert_eq!(head.status(), 101);
    assert_eq!((head.field("connection"), head.field("upgrade")), (Some("upgrade"), Some("websocket")));
    assert_eq!(head.field("sec-websocket-accept"), Some("eQ=="));
}

#[tokio::test]
async fn what_is_no_longer_http_may_be_silent_for_as_long_as_it_likes() {
    let node = echoing("a").await;
    let short = "idle-timeout = '50ms'\nbody-timeout = '50ms'\nwrite-timeout = '50ms'\nmin-body-rate = 1000000";
    let proxy = Setup::of(&[&node]).limits(short).pool("timeouts = { idle = '50ms' }").start();
    let mut client = proxy.connect().await;
    open(&mut client).await;
    for _ in 0..3 {
        // Several times what any of these limits allows.
        tokio::time::sleep(Duration::from_millis(250)).await;
        client.write("still").await;
        assert_eq!(client.exactly(5).await, b"still");
    }
}

#[tokio::test]
async fn bytes_flow_both_ways_until_each_side_has_finished() {
    let node = echoing("a").await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    open(&mut client).await;
    for number in 0..100 {
        let frame = format!("\u{81}frame {number}");
        client.write(&frame).await;
        assert_eq!(client.exactly(frame.len()).await, frame.as_bytes());
    }
    proxy.metric_is("ringway_inflight_requests", &[], 1.0).await;
    proxy.metric_is("ringway_connections", &[], 1.0).await;
    client.finish().await;
    assert_eq!(client.rest().await, (b"bye".to_vec(), End::Closed), "the other half stays open");
    proxy.metric_is("ringway_inflight_requests", &[], 0.0).await;
    proxy.metric_is("ringway_connections", &[], 0.0).await;
    proxy.metric_is("ringway_upstream_connections", &[], 0.0).await;
    proxy.metric_is("ringway_requests_total", &["code=\"1xx\"", "node=\"a\""], 1.0).await;
}

#[tokio::test]
async fn a_large_frame_passes_whole() {
    let node = echoing("a").await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    open(&mut client).await;
    let frame: Vec<u8> = (0..4 << 20).map(|index: u32| index.to_le_bytes()[1]).collect();
    for piece in frame.chunks(64 << 10) {
        client.write(piece).await;
        assert!(client.exactly(piece.len()).await == piece, "another frame comes back");
    }
}

#[tokio::test]
async fn bytes_sent_right_behind_the_handshake_are_not_lost() {
    let node = Node::script("a", |mut wire| async move {
        wire.head().await;
        wire.write(format!("{SWITCHED}greetings")).await;
        assert_eq!(wire.exactly(5).await, b"early");
        wire.write("thanks").await;
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.write(get("/ws", UPGRADE) + "early").await;
    assert_eq!(client.head().await.status(), 101);
    assert_eq!(client.exactly(15).await, b"greetingsthanks");
}

#[tokio::test]
async fn a_refusal_to_switch_is_an_ordinary_response() {
    let node = Node::script("a", |mut wire| async move {
        while let Some(request) = wire.try_request().await {
            let status = request.head.target().trim_start_matches('/').to_owned();
            wire.write(format!("HTTP/1.1 {status} Whatever\r\nContent-Length: 2\r\n\r\nno")).await;
        }
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    for status in [200, 403, 426] {
        let reply = client.ask(get(&format!("/{status}"), UPGRADE)).await;
        assert_eq!((reply.status(), reply.text().as_str()), (status, "no"));
    }
    // It is still HTTP: what follows is parsed, not tunnelled.
    assert_eq!(client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: zz\r\n\r\n").await.status(), 400);
}

#[tokio::test]
async fn a_request_behind_one_that_was_not_switched_is_as_strictly_read() {
    let node = Node::script("a", |mut wire| async move {
        while wire.try_request().await.is_some() {
            wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno").await;
        }
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.write(get("/", UPGRADE) + &get("/second", "") + &get("/third", "").replace("\r\n", "\n")).await;
    for (target, status) in [("/", 200), ("/second", 200), ("/third", 400)] {
        assert_eq!(client.response(true).await.status(), status, "{target}");
    }
    client.closed().await;
}

#[tokio::test]
async fn a_client_that_leaves_before_the_answer_is_noticed() {
    let (left, mut is_left) = tokio::sync::mpsc::unbounded_channel();
    let node = Node::script("a", move |mut wire| {
        let left = left.clone();
        async move {
            wire.head().await;
            left.send(()).unwrap();
            wire.closed().await;
            left.send(()).unwrap();
        }
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.write(get("/", UPGRADE)).await;
    is_left.recv().await;
    drop(client);
    is_left.recv().await;
}

#[tokio::test]
async fn a_tunnel_outlives_every_change_of_the_membership() {
    let (node, other) = (echoing("a").await, echoing("b").await);
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    open(&mut client).await;
    let add = ringway::control::settings::parse_node_argument(&format!("b={}", other.address)).unwrap();
    proxy.change(ringway::cluster::membership::Change::Add(add)).await;
    proxy.remove(&node).await;
    client.write("still there").await;
    assert_eq!(client.exactly(11).await, b"still there");
    let mut late = proxy.connect().await;
    open(&mut late).await;
    assert_eq!((node.accepted(), other.accepted()), (1, 1));
    client.finish().await;
    assert_eq!(client.rest().await.0, b"bye");
}

#[tokio::test]
async fn either_side_that_vanishes_takes_the_other_along() {
    let node = echoing("a").await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    open(&mut client).await;
    client.reset();
    eventually("the node's side ends", || node.ended() == 1).await;
    let vanishing = Node::script("a", |mut wire| async move {
        wire.head().await;
        wire.write(SWITCHED).await;
        wire.exactly(2).await;
        wire.reset();
    })
    .await;
    let proxy = Setup::of(&[&vanishing]).start();
    let mut client = proxy.connect().await;
    open(&mut client).await;
    client.write("go").await;
    client.closed().await;
    proxy.metric_is("ringway_connections", &[], 0.0).await;
}

#[tokio::test]
async fn a_node_switches_to_what_was_asked_for_or_not_at_all() {
    let node = Node::script("a", |mut wire| async move {
        wire.head().await;
        wire.write(SWITCHED.replace("websocket", "other")).await;
    })
    .await;
    let proxy = Setup::of(&[&node]).start();
    assert_eq!(proxy.ask(get("/ws", UPGRADE)).await.status(), 502);
}

#[tokio::test]
async fn a_request_with_a_body_switches_to_nothing() {
    let node = Node::echo("a").await;
    let proxy = Setup::of(&[&node]).start();
    assert_eq!(proxy.ask(post("/ws", UPGRADE, "hello")).await.text(), "hello");
    let request = node.request();
    assert_eq!((request.field("upgrade"), request.field("connection")), (None, None));
}
