//! What requests hold in memory, in all, and what becomes of those that come when it is too much.

use crate::frames;
use crate::harness::eventually;
use crate::harness::node::Node;
use crate::harness::proxy::Proxy;
use crate::harness::proxy::Setup;
use crate::harness::proxy::get;
use crate::harness::wire::End;
use crate::harness::wire::Wire;
use std::sync::Arc;
use tokio::sync::Semaphore;

const LIMIT: f64 = 1_048_576.0;

fn held(proxy: &Proxy) -> f64 {
    proxy.metric("ringway_request_memory_bytes", &[])
}

/// A node that answers as soon as there is a permit, `/long` with more than any buffer takes.
async fn patient(release: &Arc<Semaphore>) -> Node {
    let release = Arc::clone(release);
    Node::script("a", move |mut wire| {
        let release = Arc::clone(&release);
        async move {
            while let Some(head) = wire.try_head().await {
                release.acquire().await.unwrap().forget();
                if head.target() == "/long" {
                    return pour(wire).await;
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

#[tokio::test]
async fn requests_are_turned_away_before_they_hold_too_much() {
    for workers in [1, 3] {
        let release = Arc::new(Semaphore::new(0));
        let node = patient(&release).await;
        let proxy = Setup::of(&[&node]).limits("max-request-memory = \"1MiB\"").workers(workers).start();
        let hits = || proxy.metric("ringway_limit_hits_total", &["limit=\"max-request-memory\""]);
        let large = get("/", &format!("X-Large: {}\r\n", "x".repeat(20_000)));
        let mut waiting = Vec::new();
        let mut turned_away = loop {
            let mut client = proxy.connect().await;
            client.write(&large).await;
            let before = waiting.len();
            let at_node = || proxy.metric("ringway_inflight_requests", &[]) > before as f64;
            eventually("it is at the node or turned away", || at_node() || hits() > 0.0).await;
            if hits() > 0.0 {
                break client;
            }
            waiting.push(client);
        };
        let reply = turned_away.response(true).await;
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
async fn bodies_that_may_be_sent_again_and_responses_that_nobody_takes_count() {
    let release = Arc::new(Semaphore::new(0));
    let node = patient(&release).await;
    let proxy = Setup::of(&[&node]).start();
    for (request, least) in [
        ("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 65_536.0),
        ("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000\r\n\r\n", 30_000.0),
    ] {
        let mut client = proxy.connect().await;
        client.write(request).await;
        eventually("the body counts", || held(&proxy) >= least).await;
        assert!(held(&proxy) < least + 8_192.0, "{} for {request}", held(&proxy));
        drop(client);
        proxy.metric_is("ringway_request_memory_bytes", &[], 0.0).await;
    }
    // Two are for those that have left.
    release.add_permits(3);
    let mut client = proxy.connect().await;
    client.write(get("/long", "")).await;
    eventually("a piece counts", || held(&proxy) > 16_384.0).await;
    drop(client);
    proxy.metric_is("ringway_request_memory_bytes", &[], 0.0).await;
}

#[tokio::test]
async fn clients_who_take_nothing_of_what_is_held_for_them_are_cut_when_it_is_too_much() {
    const STREAMS: u32 = 20;
    let release = Arc::new(Semaphore::new(STREAMS as usize));
    let node = patient(&release).await;
    let limits = "write-timeout = \"1h\"\nmax-request-memory = \"1MiB\"";
    let proxy = Setup::of(&[&node]).limits(limits).start();
    let mut client = proxy.connect().await;
    client.shrink_buffers();
    // Windows as wide as can be, of which nothing is read.
    let wide = frames::preface(&[(frames::INITIAL_WINDOW_SIZE, 0x7fff_ffff)]);
    let connection = frames::window_update(0, 0x7000_0000);
    let streams = (0..STREAMS).map(|number| frames::request(2 * number + 1, b"GET", b"/long"));
    client.write([vec![wide, connection], streams.collect()].concat().concat()).await;
    eventually("it is too much", || held(&proxy) > LIMIT).await;
    proxy.metric_is("ringway_connections", &[], 0.0).await;
    assert!(proxy.metric("ringway_limit_hits_total", &["limit=\"max-request-memory\""]) > 0.5);
    assert_eq!(client.rest().await.1, End::Reset);
    proxy.metric_is("ringway_request_memory_bytes", &[], 0.0).await;
    proxy.metric_is("ringway_upstream_connections", &[], 0.0).await;
}
