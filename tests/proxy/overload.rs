//! What requests hold in memory, in all, and what becomes of those that come when it is too much.

use crate::frames;
use crate::harness::eventually;
use crate::harness::node::Node;
use crate::harness::proxy::Proxy;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::wire::End;
use crate::harness::wire::Wire;
use crate::harness::within;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

const LIMIT: f64 = 1_048_576.0;

const PAUSE: Duration = Duration::from_millis(5);

fn held(proxy: &Proxy) -> f64 {
    proxy.metric("ringway_request_memory_bytes", &[])
}

/// A node that answers as soon as there is a permit, `/long` with more than any buffer takes, and so `/chunks` in long
/// chunks and `/crumbs` in chunks of 2 kB; `/whole` it answers once it has all of the request.
async fn patient(release: &Arc<Semaphore>) -> Node {
    let release = Arc::clone(release);
    Node::script("a", move |mut wire| {
        let release = Arc::clone(&release);
        async move {
            while let Some(head) = wire.try_head().await {
                release.acquire().await.unwrap().forget();
                match head.target() {
                    "/long" => return pour(wire).await,
                    "/chunks" => return crumble(wire, 1 << 20).await,
                    "/crumbs" => return crumble(wire, 2 << 10).await,
                    "/whole" => drop(wire.exactly(head.field("content-length").unwrap().parse().unwrap()).await),
                    _ => {}
                }
                wire.write("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await
}

async fn pour(mut wire: Wire) {
    let piece = vec![b'x'; 1 << 20];
    wire.write(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 1_u64 << 40)).await;
    while wire.try_write(&piece).await.is_ok() {}
}

async fn crumble(mut wire: Wire, length: usize) {
    let chunk = [format!("{length:x}\r\n").as_bytes(), &vec![b'x'; length], b"\r\n"].concat();
    let piece = chunk.repeat((1 << 20) / length);
    wire.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
    while wire.try_write(&piece).await.is_ok() {}
}

/// Requests that wait at a node, until the next one is turned away.
async fn fill(proxy: &Proxy) -> Vec<Wire> {
    let hits = || proxy.metric("ringway_limit_hits_total", &["limit=\"max-request-memory\""]);
    let large = get("/", &format!("X-Large: {}\r\n", "x".repeat(20_000)));
    let (mut waiting, before) = (Vec::new(), proxy.metric("ringway_inflight_requests", &[]));
    while hits() < 0.5 {
        let mut client = proxy.connect().await;
        client.write(&large).await;
        let at_node = || proxy.metric("ringway_inflight_requests", &[]) > before + waiting.len() as f64;
        eventually("it is at the node or turned away", || at_node() || hits() > 0.5).await;
        waiting.push(client);
    }
    waiting
}

/// Asks on so many streams, whose windows are as wide as can be.
async fn ask_for_much(client: &mut Wire, streams: u32, target: &str) {
    let begin = frames::preface(&[(frames::INITIAL_WINDOW_SIZE, 0x7fff_ffff)]);
    let gets = (0..streams).map(|number| frames::request(2 * number + 1, b"GET", target.as_bytes()));
    client.write([vec![begin, frames::window_update(0, 0x7000_0000)], gets.collect()].concat().concat()).await;
}

#[tokio::test]
async fn requests_are_turned_away_before_they_hold_too_much() {
    for workers in [1, 3] {
        let release = Arc::new(Semaphore::new(0));
        let node = patient(&release).await;
        let proxy = Setup::of(&[&node]).limits("max-request-memory = \"1MiB\"").workers(workers).start();
        let mut waiting = fill(&proxy).await;
        let reply = waiting.pop().unwrap().response(true).await;
        assert_eq!((reply.status(), reply.field("retry-after")), (503, Some("1")), "{reply:?}");
        assert!(waiting.len() >= 5 && held(&proxy) > 0.9 * LIMIT && held(&proxy) < LIMIT, "{} held", held(&proxy));
        assert_eq!(proxy.ask(get("/", "")).await.status(), 503, "however small");
        release.add_permits(waiting.len() + 1);
        for mut client in waiting {
            assert_eq!(client.response(true).await.status(), 200);
        }
        proxy.metric_is("ringway_request_memory_bytes", &[], 0.0).await;
        assert_eq!(proxy.ask(get("/", "")).await.status(), 200);
    }
}

#[tokio::test]
async fn bodies_that_may_be_sent_again_and_responses_that_nobody_takes_count_as_they_come() {
    let release = Arc::new(Semaphore::new(0));
    let node = patient(&release).await;
    let proxy = Setup::of(&[&node]).start();
    for length in ["Transfer-Encoding: chunked", "Content-Length: 30000"] {
        let mut client = proxy.connect().await;
        client.write(format!("PUT / HTTP/1.1\r\nHost: a\r\n{length}\r\n\r\n")).await;
        proxy.metric_is("ringway_inflight_requests", &[], 1.0).await;
        assert!(held(&proxy) < 8_192.0, "{} for the head with {length}", held(&proxy));
        let size = if length.contains("chunked") { "7530\r\n" } else { "" };
        client.write([size.as_bytes(), &[b'x'; 30_000]].concat()).await;
        eventually("the body counts", || held(&proxy) >= 30_000.0).await;
        assert!(held(&proxy) < 70_000.0, "{} for 30,000 bytes with {length}", held(&proxy));
        drop(client);
        proxy.metric_is("ringway_request_memory_bytes", &[], 0.0).await;
    }
    // Two are for those that have left.
    release.add_permits(3);
    let mut client = proxy.connect().await;
    client.write(get("/chunks", "")).await;
    eventually("a piece counts", || held(&proxy) > 16_384.0).await;
    drop(client);
    proxy.metric_is("ringway_request_memory_bytes", &[], 0.0).await;
}

#[tokio::test]
async fn bodies_that_do_not_come_turn_nobody_away() {
    const STREAMS: u32 = 100;
    let release = Arc::new(Semaphore::new(0));
    let node = patient(&release).await;
    let proxy = Setup::of(&[&node]).limits("max-request-memory = \"1MiB\"").start();
    let mut client = proxy.connect().await;
    let put: [(&[u8], &[u8]); 4] =
        [(b":method", b"PUT"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"a")];
    let puts = (0..STREAMS).map(|number| frames::headers(2 * number + 1, frames::END_HEADERS, &put));
    client.write([vec![frames::preface(&[])], puts.collect()].concat().concat()).await;
    proxy.metric_is("ringway_inflight_requests", &[], f64::from(STREAMS)).await;
    release.add_permits(STREAMS as usize + 1);
    assert_eq!(proxy.ask(get("/", "")).await.status(), 200, "{} held", held(&proxy));
}

#[tokio::test]
async fn without_room_a_body_passes_and_is_not_held() {
    let release = Arc::new(Semaphore::new(0));
    let node = patient(&release).await;
    let proxy = Setup::of(&[&node]).limits("max-request-memory = \"1MiB\"").start();
    let mut client = proxy.connect().await;
    client.write("PUT /whole HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n").await;
    proxy.metric_is("ringway_inflight_requests", &[], 1.0).await;
    let _waiting = fill(&proxy).await;
    let before = held(&proxy);
    client.write([b'x'; 60_000]).await;
    release.add_permits(1_000);
    assert_eq!(client.response(true).await.status(), 200);
    assert!(held(&proxy) <= before, "{} held, and before the body {before}", held(&proxy));
}

#[tokio::test]
async fn without_room_no_key_is_looked_for() {
    let release = Arc::new(Semaphore::new(0));
    let node = patient(&release).await;
    let proxy = Setup::of(&[&node]).pool("key = \"json:/user\"").limits("max-request-memory = \"1MiB\"").start();
    let mut client = proxy.connect().await;
    client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 60000\r\n\r\n{").await;
    eventually("the head counts", || held(&proxy) > 0.0).await;
    let _waiting = fill(&proxy).await;
    client.write([b' '; 30_000]).await;
    let reply = client.response(true).await;
    assert_eq!((reply.status(), reply.field("retry-after")), (503, Some("1")), "{reply:?}");
}

#[tokio::test]
async fn clients_who_take_nothing_of_what_is_held_for_them_are_cut_when_it_is_too_much() {
    const STREAMS: u32 = 20;
    for target in ["/long", "/crumbs"] {
        let release = Arc::new(Semaphore::new(STREAMS as usize));
        let node = patient(&release).await;
        let limits = "write-timeout = \"1h\"\nmax-request-memory = \"1MiB\"";
        let proxy = Setup::of(&[&node]).limits(limits).start();
        let mut client = proxy.connect().await;
        client.shrink_buffers();
        ask_for_much(&mut client, STREAMS, target).await;
        let hits = || proxy.metric("ringway_limit_hits_total", &["limit=\"max-request-memory\""]);
        eventually("it is too much", || hits() > 0.5).await;
        proxy.metric_is("ringway_connections", &[], 0.0).await;
        assert_eq!(client.rest().await.1, End::Reset, "{target}");
        proxy.metric_is("ringway_request_memory_bytes", &[], 0.0).await;
        proxy.metric_is("ringway_upstream_connections", &[], 0.0).await;
    }
}

#[tokio::test]
async fn a_client_for_whom_nothing_is_held_is_not_cut_when_it_is_too_much() {
    // Too much for two clients, and for none so much that it is cut before it has stood still.
    const STREAMS: u32 = 5;
    let release = Arc::new(Semaphore::new(100));
    let node = patient(&release).await;
    let proxy = Setup::of(&[&node]).limits("write-timeout = \"1h\"\nmax-request-memory = \"1MiB\"").start();
    let mut relayed = proxy.connect().await;
    relayed.shrink_buffers();
    relayed.write(get("/long", "")).await;
    relayed.head().await;
    let hits = || proxy.metric("ringway_limit_hits_total", &["limit=\"max-request-memory\""]);
    let mut greedy = Vec::new();
    // By the second time it has stood still for long enough to be cut itself.
    for _ in 0..3 {
        let before = hits();
        for _ in 0..2 {
            let mut client = proxy.connect().await;
            ask_for_much(&mut client, STREAMS, "/long").await;
            greedy.push(client);
        }
        eventually("it is too much", || hits() > before).await;
    }
    // More than the system may have held for it.
    relayed.exactly(16 << 20).await;
}

#[tokio::test]
async fn a_client_who_takes_little_of_very_much_is_cut_when_it_is_too_much_and_no_smaller_one() {
    const STREAMS: u32 = 20;
    let release = Arc::new(Semaphore::new(STREAMS as usize + 10));
    let node = patient(&release).await;
    let limits = "write-timeout = \"1h\"\nmax-request-memory = \"2MiB\"";
    let proxy = Setup::of(&[&node]).limits(limits).start();
    let (mut small, mut large) = (proxy.connect().await, proxy.connect().await);
    small.write(get("/long", "")).await;
    small.head().await;
    large.shrink_buffers();
    ask_for_much(&mut large, STREAMS, "/long").await;
    // Neither ever stands still.
    let read_on = async {
        while large.piece().await.is_some() {
            small.exactly(64 << 10).await;
            tokio::time::sleep(PAUSE).await;
        }
    };
    within("the larger one is cut", read_on).await;
    assert!(proxy.metric("ringway_limit_hits_total", &["limit=\"max-request-memory\""]) > 0.5);
    proxy.metric_is("ringway_connections", &[], 1.0).await;
    small.exactly(1 << 20).await;
    assert_eq!(proxy.ask(get("/", "")).await.status(), 200);
}
