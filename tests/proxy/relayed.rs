//! Long responses whose length is known, which pass from socket to socket once hyper has written the head.

use crate::harness::eventually;
use crate::harness::node::Node;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::proxy::key_of;
use crate::harness::site;
use crate::harness::tls;
use crate::harness::tls::Ca;
use crate::harness::tls::Files;
use crate::harness::tls_client;
use crate::harness::wire::End;
use crate::harness::wire::Wire;
use ringway::cluster::membership::Change;
use ringway::proxy::worker::Phase;
use std::future::Future;

/// More than is passed on at a time, and no multiple of anything.
const LONG: usize = (3 << 20) + 77;

/// So many times that is more than the sockets of a client that takes nothing have room for.
const TIMES: usize = 10;

/// A long body in which nothing is where anything else is.
fn body() -> Vec<u8> {
    (0_u32..).flat_map(u32::to_le_bytes).take(LONG).collect()
}

fn long_head(fields: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {LONG}\r\n{fields}\r\n")
}

/// A node that answers `/long` with a long body, `/longer` with `TIMES` as much, and everything else with
/// its target.
async fn librarian() -> Node {
    Node::script("a", move |mut wire| async move {
        while let Some(request) = wire.try_request().await {
            let target = request.head.target();
            let answer = match target {
                "/long" => [long_head("").as_bytes(), &body()].concat(),
                "/longer" => {
                    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", TIMES * LONG);
                    [head.as_bytes(), &body().repeat(TIMES)].concat()
                }
                _ => format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{target}", target.len()).into_bytes(),
            };
            if wire.try_write(&answer).await.is_err() {
                return;
            }
        }
    })
    .await
}

/// A node that begins a long answer, with so many bytes of its body, and then does what is said.
async fn beginning<F>(length: usize, then: impl Fn(Wire) -> F + Clone + Send + Sync + 'static) -> Node
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    Node::script("a", move |mut wire| {
        let then = then.clone();
        async move {
            wire.request().await;
            wire.write([long_head("").as_bytes(), &body()[..length]].concat()).await;
            then(wire).await;
        }
    })
    .await
}

#[tokio::test]
async fn requests_that_come_together_are_answered_in_turn_over_the_same_connections() {
    let node = librarian().await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.write([get("/long", ""), get("/a", ""), get("/long", ""), get("/b", "")].concat()).await;
    for expected in [body(), b"/a".to_vec(), body(), b"/b".to_vec()] {
        assert!(client.response(true).await.body == expected, "an answer of {} bytes", expected.len());
    }
    assert_eq!(node.accepted(), 1);
    proxy.metric_is("ringway_inflight_requests", &[], 0.0).await;
    assert_eq!(client.ask(get("/c", "")).await.text(), "/c");
}

#[tokio::test]
async fn a_request_that_comes_in_pieces_during_a_long_response_is_answered_after_it() {
    let node = librarian().await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.write(get("/long", "")).await;
    client.head().await;
    client.write("GET /late HTTP/1.1\r\nHo").await;
    assert!(client.exactly(LONG).await == body());
    client.write("st: a\r\n\r\n").await;
    assert_eq!(client.response(true).await.text(), "/late");
}

#[tokio::test]
async fn a_switch_of_protocols_that_is_answered_at_length_is_none() {
    let node = librarian().await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.write(get("/long", "Connection: upgrade\r\nUpgrade: other\r\n")).await;
    client.head().await;
    client.write(get("/late", "")).await;
    assert!(client.exactly(LONG).await == body());
    assert_eq!(client.response(true).await.text(), "/late");
}

#[tokio::test]
async fn whoever_has_the_last_response_of_a_connection_finds_its_end() {
    let node = librarian().await;
    let proxy = Setup::of(&[&node]).start();
    for request in ["GET /long HTTP/1.0\r\n\r\n".to_owned(), get("/long", "Connection: close\r\n")] {
        let mut client = proxy.connect().await;
        client.write(&request).await;
        client.head().await;
        let (rest, end) = client.rest().await;
        assert!((rest == body(), end) == (true, End::Closed), "{request}: {} bytes, {end:?}", rest.len());
    }
    // HTTP/1.0 may be asked to go on.
    let mut client = proxy.connect().await;
    client.write("GET /long HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
    assert!(client.response(true).await.body == body());
    assert_eq!(client.ask(get("/a", "")).await.text(), "/a");
    assert_eq!(node.accepted(), 1);
}

#[tokio::test]
async fn while_the_proxy_drains_the_connection_ends_with_the_response_as_it_says() {
    let node = librarian().await;
    let proxy = Setup::of(&[&node]).start();
    proxy.enter(Phase::Draining);
    let mut client = proxy.connect().await;
    client.write(get("/long", "")).await;
    assert_eq!(client.head().await.field("connection"), Some("close"));
    let (rest, end) = client.rest().await;
    assert!((rest == body(), end) == (true, End::Closed), "{} bytes, {end:?}", rest.len());
}

#[tokio::test]
async fn a_connection_that_the_node_ends_with_the_response_is_not_kept() {
    for (version, field) in
        [("HTTP/1.1", "Connection: close\r\n"), ("HTTP/1.0", "Connection: close\r\n"), ("HTTP/1.0", "")]
    {
        let node = Node::script("a", move |mut wire| async move {
            while wire.try_request().await.is_some() {
                let head = long_head(field).replace("HTTP/1.1", version);
                wire.write([head.as_bytes(), &body()].concat()).await;
            }
        });
        let node = node.await;
        let proxy = Setup::of(&[&node]).start();
        for expected in 1..=2 {
            assert!(proxy.ask(get("/long", "")).await.body == body());
            assert_eq!(node.accepted(), expected, "{version}, {field:?}");
        }
    }
}

#[tokio::test]
async fn a_switch_of_protocols_that_waits_behind_a_long_response_takes_place() {
    let node = Node::script("a", |mut wire| async move {
        wire.head().await;
        wire.write([long_head("").as_bytes(), &body()].concat()).await;
        wire.head().await;
        wire.write("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: other\r\n\r\n").await;
        assert_eq!(wire.exactly(9).await, b"no\nHTTP/1");
        wire.write("yes").await;
    });
    let node = node.await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    let switch = get("/switch", "Connection: upgrade\r\nUpgrade: other\r\n");
    client.write([get("/", ""), switch, "no\nHTTP/1".to_owned()].concat()).await;
    assert!(client.response(true).await.body == body());
    assert_eq!(client.head().await.status(), 101);
    assert_eq!(client.exactly(3).await, b"yes");
}

#[tokio::test]
async fn what_a_node_sends_behind_a_long_response_reaches_nobody() {
    let poison = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison";
    let node = beginning(LONG, move |mut wire: Wire| async move {
        drop(wire.try_write(poison.as_bytes()).await);
        wire.rest().await
    });
    let node = node.await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    for _ in 0..3 {
        assert!(client.ask(get("/", "")).await.body == body());
    }
    assert_eq!(node.accepted(), 3);
}

#[tokio::test]
async fn a_long_response_that_breaks_off_never_looks_complete_and_is_its_nodes_fault() {
    for (length, end) in [(0, End::Closed), (LONG - 1, End::Closed), (LONG / 2, End::Reset)] {
        let node = beginning(length, move |wire: Wire| async move {
            if end == End::Reset {
                wire.reset();
            }
        });
        let node = node.await;
        let proxy = Setup::of(&[&node]).start();
        let mut client = proxy.connect().await;
        client.write(get("/", "")).await;
        client.head().await;
        let (rest, _) = client.rest().await;
        assert!(rest.len() <= length && rest == body()[..rest.len()], "{} of {length} bytes, {end:?}", rest.len());
        proxy.metric_is("ringway_node_failures_total", &[], 1.0).await;
        proxy.metric_is("ringway_inflight_requests", &[], 0.0).await;
    }
}

#[tokio::test]
async fn a_long_response_that_falls_silent_is_cut_once_it_has_been_so_for_too_long() {
    let node = beginning(LONG / 2, |mut wire: Wire| async move { wire.closed().await }).await;
    let proxy = Setup::of(&[&node]).pool("timeouts = { idle = \"50ms\" }").start();
    let mut client = proxy.connect().await;
    client.write(get("/", "")).await;
    client.head().await;
    assert_eq!(client.rest().await.0.len(), LONG / 2);
    eventually("the node sees the end", || node.ended() == 1).await;
    proxy.metric_is("ringway_node_failures_total", &[], 1.0).await;
}

#[tokio::test]
async fn a_client_that_leaves_in_a_long_response_takes_its_connection_to_the_node_along() {
    let node = beginning(LONG / 2, |mut wire: Wire| async move { wire.closed().await }).await;
    let proxy = Setup::of(&[&node]).start();
    for leaves_with_reset in [false, true] {
        let mut client = proxy.connect().await;
        client.write(get("/", "")).await;
        client.head().await;
        client.exactly(LONG / 2).await;
        proxy.metric_is("ringway_inflight_requests", &[], 1.0).await;
        if leaves_with_reset {
            client.reset();
        } else {
            drop(client);
        }
        proxy.metric_is("ringway_inflight_requests", &[], 0.0).await;
        proxy.metric_is("ringway_upstream_connections", &[], 0.0).await;
    }
    proxy.metric_is("ringway_node_failures_total", &[], 0.0).await;
}

#[tokio::test]
async fn at_the_drain_deadline_a_long_response_is_cut_and_its_node_not_blamed() {
    let node = beginning(LONG / 2, |mut wire: Wire| async move { wire.closed().await }).await;
    let other = Node::echo("b").await;
    let proxy = Setup::of(&[&node, &other]).pool("drain-deadline = \"0s\"").start();
    let mut client = proxy.connect().await;
    client.write(get("/", &format!("X-Key: {}\r\n", key_of(&proxy, &["a"])))).await;
    client.head().await;
    client.exactly(LONG / 2).await;
    proxy.change(Change::Drain { name: "a".parse().unwrap() }).await;
    client.closed().await;
    proxy.metric_is("ringway_drain_cut_connections_total", &["node=\"a\""], 1.0).await;
    proxy.metric_is("ringway_inflight_requests", &[], 0.0).await;
    assert_eq!(proxy.metric("ringway_node_failures_total", &[]), 0.0);
}

#[tokio::test]
async fn of_a_client_that_takes_nothing_nothing_is_held() {
    let node = librarian().await;
    let proxy = Setup::of(&[&node]).start();
    let mut client = proxy.connect().await;
    client.shrink_buffers();
    client.write(get("/longer", "")).await;
    client.head().await;
    // Both sides stand still by now, and go on when the client does.
    proxy.metric_is("ringway_inflight_requests", &[], 1.0).await;
    let held = proxy.metric("ringway_request_memory_bytes", &[]);
    assert!(held < 8_192.0, "{held} bytes are held");
    assert!(client.exactly(TIMES * LONG).await == body().repeat(TIMES));
}

#[tokio::test]
async fn nor_is_the_system_given_much_for_it_while_others_wait() {
    let node = librarian().await;
    let proxy = Setup::of(&[&node]).start();
    let (mut client, mut other) = (proxy.connect().await, proxy.connect().await);
    client.shrink_buffers();
    // Having taken one tells nothing of the next.
    for response in ["first", "second"] {
        client.write(get("/longer", "")).await;
        client.head().await;
        eventually("a piece is on its way", || client.queued_at_peer() > 32 << 10).await;
        for _ in 0..100 {
            assert_eq!(other.ask(get("/a", "")).await.text(), "/a");
        }
        let queued = client.queued_at_peer();
        assert!(queued < 1 << 20, "the system holds {queued} bytes of the {response} response");
        assert!(client.exactly(TIMES * LONG).await == body().repeat(TIMES));
    }
}

#[tokio::test]
async fn in_tls_a_long_response_comes_whole_too_and_as_far_as_the_node_has_come() {
    let (node, files, ca) = (librarian().await, Files::new(), Ca::new());
    let certificate = files.identity("site", &ca.issue(&["a.test"]));
    let proxy = site::setup(&[&node], &site::certificates(&[&certificate])).start();
    let client = tls_client::client(&ca, None, &["http/1.1"]);
    let mut client = Wire::encrypted(tls::connect(proxy.address, &client, "a.test").await.unwrap());
    for _ in 0..2 {
        assert!(client.ask(get("/long", "")).await.body == body());
        assert_eq!(client.ask(get("/a", "")).await.text(), "/a");
    }
    let half = beginning(LONG / 2, |mut wire: Wire| async move { wire.closed().await }).await;
    let proxy = site::setup(&[&half], &site::certificates(&[&certificate])).start();
    let client = tls_client::client(&ca, None, &["http/1.1"]);
    let mut client = Wire::encrypted(tls::connect(proxy.address, &client, "a.test").await.unwrap());
    client.write(get("/", "")).await;
    client.head().await;
    assert!(client.exactly(LONG / 2).await == body()[..LONG / 2]);
}
