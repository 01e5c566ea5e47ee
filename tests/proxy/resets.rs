//! Clients of HTTP/2 that ask and take it back at once, which costs them less than it costs others.

use crate::frames;
use crate::frames::frame;
use crate::harness::h2;
use crate::harness::h2::H2;
use crate::harness::node::Node;
use crate::harness::proxy::Proxy;
use crate::harness::proxy::Setup;
use crate::harness::within;
use std::time::Duration;

/// A node that never answers `/hang`, answers `/half` by halves, and anything else with "ok".
async fn node() -> Node {
    Node::script("a", |mut wire| async move {
        while let Some(head) = wire.try_head().await {
            match head.target() {
                "/hang" => drop(wire.rest().await),
                "/half" => {
                    wire.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok").await;
                    wire.rest().await;
                }
                _ => wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await,
            }
        }
    })
    .await
}

fn cut(proxy: &Proxy) -> f64 {
    proxy.metric("ringway_limit_hits_total", &["limit=\"max-resets\""])
}

/// Asks so many times, each time until the request is at the node, and takes it back.
async fn reset(client: &mut H2, proxy: &Proxy, target: &str, times: usize) {
    for _ in 0..times {
        let stream = client.begin(h2::get(&format!("http://a.test{target}")));
        proxy.metric_is("ringway_inflight_requests", &[], 1.0).await;
        if target == "/half" {
            drop(within("the head of the answer", stream).await.unwrap());
        } else {
            stream.abort();
        }
        proxy.metric_is("ringway_inflight_requests", &[], 0.0).await;
    }
}

#[tokio::test]
async fn a_client_that_takes_too_many_requests_back_is_cut() {
    for target in ["/hang", "/half"] {
        let node = node().await;
        let proxy = Setup::of(&[&node]).limits("max-resets = 5").start();
        let mut client = proxy.connect_h2().await;
        reset(&mut client, &proxy, target, 5).await;
        assert_eq!(client.ask(h2::get("http://a.test/")).await.body, b"ok", "{target}");
        assert!(cut(&proxy) < 0.5);
        let mut other = proxy.connect_h2().await;
        reset(&mut client, &proxy, target, 1).await;
        client.closed().await;
        assert!(cut(&proxy) > 0.5, "{target}");
        assert_eq!(other.ask(h2::get("http://a.test/")).await.body, b"ok", "{target}");
    }
}

#[tokio::test]
async fn requests_that_are_taken_back_now_and_then_add_up_for_no_longer_than_the_config_says() {
    let node = node().await;
    let proxy = Setup::of(&[&node]).limits("max-resets = 1\nresets-period = \"1ms\"").start();
    let mut client = proxy.connect_h2().await;
    for _ in 0..5 {
        reset(&mut client, &proxy, "/hang", 1).await;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(client.ask(h2::get("http://a.test/")).await.body, b"ok");
    assert!(cut(&proxy) < 0.5);
}

#[tokio::test]
async fn what_a_node_breaks_off_is_not_held_against_the_client() {
    let node = Node::script("a", |mut wire| async move {
        wire.head().await;
        wire.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nok").await;
    })
    .await;
    let proxy = Setup::of(&[&node]).limits("max-resets = 1").pool("ejection = { failures = 0 }").start();
    let mut client = proxy.connect_h2().await;
    for _ in 0..4 {
        let response = client.send(h2::get("http://a.test/")).await.unwrap();
        assert!(h2::read(response).await.is_err());
    }
    assert!(cut(&proxy) < 0.5);
}

const ENHANCE_YOUR_CALM: u32 = 0xb;

#[tokio::test]
async fn a_client_that_makes_the_proxy_reset_its_streams_is_cut_too() {
    let node = node().await;
    let proxy = Setup::of(&[&node]).limits("max-resets = 5").start();
    let mut client = proxy.connect().await;
    client.write(frames::preface(&[])).await;
    for number in 0..20 {
        let stream = 2 * number + 1;
        // More than a window can be, which is an error of the stream alone (RFC 9113 section 6.9.1).
        let too_much = frames::window_update(stream, 0x7fff_ffff);
        let sent = [frames::request(stream, b"GET", b"/hang"), too_much].concat();
        // It is cut somewhere on the way.
        client.try_write(&sent).await.unwrap_or_default();
    }
    let (came, _) = client.rest().await;
    let came = frames::frames(&came);
    let farewells: Vec<_> =
        came.iter().filter(|frame| frame.kind == frames::GOAWAY).map(|frame| &frame.payload[4..8]).collect();
    assert_eq!(farewells, [ENHANCE_YOUR_CALM.to_be_bytes()]);
    proxy.metric_is("ringway_inflight_requests", &[], 0.0).await;
    assert_eq!(proxy.connect_h2().await.ask(h2::get("http://a.test/")).await.body, b"ok");
}

#[tokio::test]
async fn a_client_that_says_much_and_asks_nothing_is_cut() {
    let node = node().await;
    let proxy = Setup::of(&[&node]).limits("max-control-frames = 100").start();
    let mut client = proxy.connect().await;
    client.write(frames::preface(&[])).await;
    for _ in 0..100 {
        // What is written once the connection is closed goes nowhere.
        drop(client.try_write(&frame(frames::PING, 0, 0, &[0; 8])).await);
    }
    client.rest().await;
    proxy.metric_is("ringway_limit_hits_total", &["limit=\"max-control-frames\""], 1.0).await;
    assert_eq!(proxy.connect_h2().await.ask(h2::get("http://a.test/")).await.body, b"ok");
}

#[tokio::test]
async fn frames_for_nothing_wait_for_other_clients_and_none_is_lost() {
    let node = node().await;
    let proxy = Setup::of(&[&node]).limits("max-control-frames = 1000").start();
    let mut client = proxy.connect().await;
    // More than one turn's, in one piece, with a request in their midst and one behind.
    let pings = frame(frames::PING, 0, 0, &[7; 8]).repeat(95);
    let sent = [
        frames::preface(&[]),
        pings.clone(),
        frames::request(1, b"GET", b"/"),
        pings,
        frames::request(3, b"GET", b"/"),
    ];
    client.write(sent.concat()).await;
    let mut came = Vec::new();
    let is_answered = |came: &[u8], stream: u32| {
        frames::frames(came).iter().any(|frame| frame.stream == stream && frame.flags & frames::END_STREAM != 0)
    };
    while !(is_answered(&came, 1) && is_answered(&came, 3)) {
        came.extend(client.piece().await.unwrap());
    }
    let pongs =
        frames::frames(&came).iter().filter(|frame| frame.kind == frames::PING && frame.flags == frames::ACK).count();
    assert_eq!(pongs, 190);
}
